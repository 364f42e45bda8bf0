"""Span corruption: T5's own numbers, and that nothing is lost between text and filling."""

from collections import Counter
from random import Random

import pytest

from labkit.systems.span_corruption import corrupted, noise_spans, segments


def restored(text: list[int], filling: list[int], sentinel: int) -> list[int]:
    """The text that was corrupted, from both parts, by looking each sentinel up."""
    parts: dict[int, list[int]] = {}
    for token in filling[:-1]:
        if token > sentinel - 100:
            parts[token] = []
        else:
            parts[list(parts)[-1]].append(token)
    return [word for token in text[:-1] for word in parts.get(token, [token])]


@pytest.mark.parametrize(
    ("length", "inputs", "targets", "gone", "count"),
    [(568, 512, 114, 85, 28), (284, 256, 58, 43, 14)],
)
def test_lengths_are_those_of_the_authors_code(length, inputs, targets, gone, count):
    spans = noise_spans(length, Random(0))
    assert sum(end - first for first, end in spans) == gone and len(spans) == count
    text, filling = corrupted(range(length), spans, sentinel=32_099, end=1)
    assert (len(text), len(filling)) == (inputs, targets)
    marks = [32_099 - blank for blank in range(count)]
    assert [token for token in text if token > 32_000] == marks
    assert [token for token in filling if token > 32_000] == marks
    assert text[-1] == filling[-1] == 1


def test_a_kept_part_comes_first_and_a_lost_one_last_and_no_two_spans_touch():
    for seed in range(200):
        spans = noise_spans(30, Random(seed), density=0.4, mean=2)
        assert spans[0][0] > 0 and spans[-1][1] == 30
        assert all(end < first for (_, end), (first, _) in zip(spans, spans[1:]))


@pytest.mark.parametrize("roll", [False, True])
def test_text_and_filling_together_are_the_text(roll):
    random = Random(1)
    for length in (2, 3, 5, 12, 40):
        for _ in range(50):
            row = [random.randrange(900) for _ in range(length)]
            spans = noise_spans(length, random, density=0.3, mean=2, roll=roll)
            text, filling = corrupted(row, spans, sentinel=1024, end=1008)
            assert restored(text, filling, 1024) == row


def test_rolled_every_token_goes_about_equally_often_otherwise_the_last_always():
    random, rolled, plain = Random(2), Counter(), Counter()
    for _ in range(4000):
        for count, roll in ((rolled, True), (plain, False)):
            for first, end in noise_spans(10, random, density=0.3, mean=1.5, roll=roll):
                count.update(range(first, end))
    assert plain[9] == 4000 and plain[0] == 0
    assert all(abs(rolled[place] - 1200) < 150 for place in range(10))


def test_every_way_to_split_a_length_comes_equally_often():
    random = Random(3)
    found = Counter(tuple(segments(6, 3, random)) for _ in range(5000))
    assert len(found) == 10  # 6 as an ordered sum of three
    assert max(found.values()) - min(found.values()) < 150


def test_something_goes_and_something_stays_however_short_a_text_is():
    for density in (0.0, 0.15, 1.0):
        for length in range(2, 9):
            gone = sum(end - first for first, end in noise_spans(length, Random(0), density))
            assert 1 <= gone <= length - 1


@pytest.mark.parametrize(
    ("given", "says"),
    [((1,), "length is 1"), ((9, 1.5), "density is 1.5"), ((9, 0.15, 0.5), "mean is 0.5")],
)
def test_what_is_out_of_range_is_refused_in_one_sentence(given, says):
    length, *others = given
    with pytest.raises(ValueError, match=f"^[^\n]*{says}[^\n]*$"):
        noise_spans(length, Random(0), *others)
