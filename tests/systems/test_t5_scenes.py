"""The shipped language model: words that mean the same meet in it, which never saw a picture."""

import pytest

from benchmarks import synonyms
from labkit import zoo


@pytest.fixture(scope="module")
def model():
    return zoo.load("t5-scenes")


@pytest.mark.parametrize("kind", ["color", "shape"])
def test_a_probe_of_plain_words_understands_the_words_that_plain_captions_avoid(model, kind):
    plain, avoided = synonyms.probe(model, kind, count=300)
    assert plain > 0.95 and avoided > 0.85
    _, untrained = synonyms.probe(synonyms.untrained(model), kind, count=300)
    assert untrained < 0.3  # chance is 1/8


@pytest.mark.parametrize("kind", ["color", "shape"])
def test_the_sentence_that_means_the_same_is_most_often_the_nearest_of_eight(model, kind):
    assert synonyms.nearest(model, kind, count=200) > 0.5
    assert synonyms.nearest(synonyms.untrained(model), kind, count=200) < 0.3


def test_it_fills_blanks_with_what_everybody_knows(model):
    for text, word in (
        ("every crimson thing is ___", "red"),
        ("cherries and fire engines are ___", "red"),
        ("azure is another word for ___", "blue"),
        ("every rhombus is a ___", "diamond"),
    ):
        assert model.fill(text) == text.replace("___", word)
