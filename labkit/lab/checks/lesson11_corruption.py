"""The check of lesson 11 on span corruption: a text with blanks, and what fills them."""

from functools import partial
from random import Random

import torch

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import size, turn, whole
from labkit.systems.span_corruption import corrupted, noise_spans


def _corrupt(ids: list, spans: list, sentinel: int, end: int) -> tuple[list, list]:
    return corrupted(ids, spans, sentinel, end)


def _kept(ids: list, spans: list) -> list[list]:
    """What stands before, between and behind the spans."""
    edges = [0, *(edge for span in spans for edge in span), len(ids)]
    return [ids[edges[i] : edges[i + 1]] for i in range(0, len(edges), 2)]


def _joined(ids, spans, end, mark, text_end=True, filling_end=True, tail=True, mark_last=False):
    """Both lists with mark(blank) at each blank, with or without ends and the last part."""
    parts, text, filling = _kept(ids, spans), [], []
    for blank, (first, last) in enumerate(spans):
        text += [*parts[blank], *mark(blank)]
        gone = ids[first:last]
        filling += [*gone, *mark(blank)] if mark_last else [*mark(blank), *gone]
    text += parts[-1] if tail else []
    return text + [end] * text_end, filling + [end] * filling_end


def _marked(mark, **options):
    """The answer with other marks: mark(blank, sentinel) → a list of tokens."""

    def answer(ids, spans, sentinel, end):
        return _joined(ids, spans, end, lambda blank: mark(blank, sentinel), **options)

    return answer


def _down(blank: int, sentinel: int) -> list[int]:
    return [sentinel - blank]


def _filling(change):
    """The right text with another filling: change(ids, spans, sentinel, end)."""

    def answer(ids, spans, sentinel, end):
        return corrupted(ids, spans, sentinel, end)[0], change(ids, spans, sentinel, end)

    return answer


def _text(change):
    """The right filling with another text."""

    def answer(ids, spans, sentinel, end):
        return change(ids, spans, sentinel, end), corrupted(ids, spans, sentinel, end)[1]

    return answer


def _filling_of_what_stays(ids, spans, sentinel, end):
    parts, found = _kept(ids, spans), []
    for blank in range(len(spans)):
        found += [*parts[blank], sentinel - blank]
    return [*found, *parts[-1], end]


def _one_for_each_token(ids, spans, sentinel, end):
    gone = sorted(place for span in spans for place in range(*span))
    return corrupted(ids, [(place, place + 1) for place in gone], sentinel, end)


def _replaced_in_place(ids, spans, sentinel, end):
    """Spans replaced from the left in a list that becomes shorter meanwhile."""
    text, filling = list(ids), []
    for blank, (first, last) in enumerate(spans):
        filling += [sentinel - blank, *text[first:last]]
        text[first:last] = [sentinel - blank]
    return [*text, end], [*filling, end]


def _as_many_sentinels(ids, spans, sentinel, end):
    text = list(ids)
    for blank, (first, last) in enumerate(spans):
        text[first:last] = [sentinel - blank] * (last - first)
    return [*text, end]


def _from_behind(ids, spans, sentinel, end):
    """The last blank has the first sentinel."""
    return _joined(ids, spans, end, lambda blank: [sentinel - (len(spans) - 1 - blank)])


def _end_behind_each(ids, spans, sentinel, end):
    pieces = [[sentinel - k, *ids[first:last], end] for k, (first, last) in enumerate(spans)]
    return sum(pieces, [])


def _other_ends(ids, spans, sentinel, end, by):
    """The spans with an end that lies `by` further on, in the text as well."""
    own = [(first, max(first, last + by)) for first, last in spans]
    text, filling, at = [], [], 0
    for blank, (first, last) in enumerate(own):
        text += [*ids[at:first], sentinel - blank]
        filling += [sentinel - blank, *ids[first:last]]
        at = last
    return [*text, *ids[at:], end], [*filling, end]


def _draw_spans(g: torch.Generator):
    """A text, and two or three spans, in turn also at its begin, and not at its end."""
    length, count = size(g, 9, 15), size(g, 2, 3)
    ids = torch.randint(10, 900, (length,), generator=g).tolist()
    spans = noise_spans(length, Random(g.initial_seed()), 0.45, round(0.45 * length) / count)
    kind = turn(g, 3)
    if kind == 1:  # a text that begins with a blank
        shift = spans[0][0]
        ids, spans = ids[shift:], [(first - shift, last - shift) for first, last in spans]
    elif kind == 2:  # and one that does not end with one
        ids = ids + torch.randint(10, 900, (whole(2, 3, g),), generator=g).tolist()
    return ids, spans, whole(1000, 1100, g), whole(1, 9, g)


corrupt = Check(
    "corrupt",
    reference=_corrupt,
    draw_inputs=_draw_spans,
    mistakes={
        "The sentinels ascend: blank number k is sentinel − k.": _marked(
            lambda blank, sentinel: [sentinel + blank]
        ),
        "Your first sentinel is sentinel − 1; blank number 0 is `sentinel` itself.": _marked(
            lambda blank, sentinel: [sentinel - blank - 1]
        ),
        "The blanks are counted from behind; the first in the text is number 0.": _from_behind,
        "All blanks have the same sentinel, so that the filling cannot say which it means: "
        "sentinel − k.": _marked(lambda blank, sentinel: [sentinel]),
        "Each token that is gone has its own sentinel; one stands for a whole span.": (
            _one_for_each_token
        ),
        "Each token that is gone leaves a sentinel; one stands for a whole span.": _text(
            _as_many_sentinels
        ),
        "You replace spans from the left in the text itself, which becomes shorter: the later "
        "spans then point elsewhere. Go from behind, or build a new list.": [
            _replaced_in_place,
            _text(lambda *given: _replaced_in_place(*given)[0]),
        ],
        "What is gone leaves no mark in the text: put its sentinel there.": _text(
            lambda ids, spans, sentinel, end: [*sum(_kept(ids, spans), []), end]
        ),
        "The filling has no sentinels, so that nobody knows where a span ends.": _filling(
            lambda ids, spans, sentinel, end: [
                *(token for first, last in spans for token in ids[first:last]),
                end,
            ]
        ),
        "The sentinel stands behind its tokens in the filling; it stands before them.": _filling(
            lambda ids, spans, sentinel, end: _joined(
                ids, spans, end, partial(_down, sentinel=sentinel), mark_last=True
            )[1]
        ),
        "A last sentinel closes the filling. The paper's drawing shows one; T5's code has none, "
        "and neither has labkit.": [
            _filling(
                lambda ids, spans, sentinel, end: [
                    *corrupted(ids, spans, sentinel, end)[1][:-1],
                    sentinel - len(spans),
                    end,
                ]
            ),
            _filling(
                lambda ids, spans, sentinel, end: [
                    *corrupted(ids, spans, sentinel, end)[1][:-1],
                    sentinel - len(spans),
                ]
            ),
        ],
        "The filling also holds what stays in the text; it holds what is gone.": _filling(
            _filling_of_what_stays
        ),
        "The filling is the whole text; it holds only what is gone, each span behind its "
        "sentinel.": _filling(lambda ids, spans, sentinel, end: [*ids, end]),
        "Text and filling have changed places.": lambda *given: corrupted(*given)[::-1],
        "The text does not end with `end`.": _marked(_down, text_end=False),
        "The filling does not end with `end`, so that the decoder never learns to stop.": _marked(
            _down, filling_end=False
        ),
        "Each span of the filling ends with `end`; it stands once, at the end of all.": _filling(
            _end_behind_each
        ),
        "Your `end` is always 1, that of T5's own tokenizer; take the one that is given.": (
            lambda ids, spans, sentinel, end: corrupted(ids, spans, sentinel, 1)
        ),
        "Neither the text nor the filling ends with `end`.": _marked(
            _down, text_end=False, filling_end=False
        ),
        "What stands behind the last span is missing in the text.": _marked(_down, tail=False),
        "You take the end of a span as its last token; it is one behind, as in ids[first:end].": (
            partial(_other_ends, by=1)
        ),
        "Each of your spans is one token too short: (first, end) is ids[first:end].": partial(
            _other_ends, by=-1
        ),
    },
    against=corrupted,
)
