"""Span corruption: a text with blanks, and what fills them. All that T5 ever learns from.

    "a star shines at night", two words gone  ->  "a <0> shines <1>"   and   "<0> star <1> at night"

Source: Raffel et al. 2020, section 3.1.4, and the authors' code: 15 % of the tokens are gone, in
spans of three on average; each span is a blank, which a sentinel marks on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from labkit.inputs import number, whole_number


def noise_spans(
    length: int, random: Random, density: float = 0.15, mean: float = 3.0, roll: bool = False
) -> list[tuple[int, int]]:
    """Which tokens of a text go, as (first, last + 1) of each span, in order; never all of them.

    length: of the text, at least 2. density: the share of tokens that go, rounded; at least one
    goes. mean: how long a span is on average. As in the authors' code kept and lost parts take
    turns, a kept one first and a lost one last. roll: all spans are pushed on by the same random
    number of places, and what leaves at the end comes back at the start, so that in a short text,
    too, every token goes equally often; a span that is cut by the end counts as two.
    Raises ValueError for what is out of range.
    """
    length = whole_number(length, "the length", 2)
    gone = min(max(round(length * number(density, "density", 0, 1)), 1), length - 1)
    count = min(max(round(gone / number(mean, "mean", 1)), 1), length - gone)
    kept_parts, gone_parts = segments(length - gone, count, random), segments(gone, count, random)
    spans, at = [], 0
    for kept, lost in zip(kept_parts, gone_parts, strict=True):
        spans.append((at + kept, at + kept + lost))
        at += kept + lost
    return rolled(spans, length, random.randrange(length)) if roll else spans


def segments(total: int, parts: int, random: Random) -> list[int]:
    """`total` as a sum of that many whole numbers, none 0, each way equally likely."""
    cuts = [0, *sorted(random.sample(range(1, total), parts - 1)), total]
    return [after - before for before, after in zip(cuts, cuts[1:], strict=False)]


def rolled(spans: list[tuple[int, int]], length: int, by: int) -> list[tuple[int, int]]:
    """The spans pushed on by so many places; what leaves at the end comes back at the start."""
    found = []
    for first, end in ((first + by, end + by) for first, end in spans):
        if first >= length:
            found.append((first - length, end - length))
        elif end > length:
            found += [(first, length), (0, end - length)]
        else:
            found.append((first, end))
    return sorted(found)


def corrupted(
    ids: Sequence[int], spans: Sequence[tuple[int, int]], sentinel: int, end: int
) -> tuple[list[int], list[int]]:
    """The text with blanks, and what fills them; both end with the token ``end``.

    Blank number k is marked by the token sentinel − k, in the text and before its filling.
    """
    text, filling, at = [], [], 0
    for blank, (first, last) in enumerate(spans):
        text += [*ids[at:first], sentinel - blank]
        filling += [sentinel - blank, *ids[first:last]]
        at = last
    return [*text, *ids[at:], end], [*filling, end]
