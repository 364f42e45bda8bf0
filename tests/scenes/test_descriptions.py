"""Sentences that leave nothing out: complete, true, varied, short enough."""

from random import Random

import pytest

from labkit import scenes
from labkit.scenes import tokenizer
from labkit.scenes.descriptions import MOST_WORDS, descriptions
from labkit.scenes.reading import read


def test_every_attribute_of_every_object_and_the_background_are_said():
    drawn = scenes.draw(150, 3, "all")
    for text, scene in zip(descriptions(drawn, 0), drawn.words()):
        meaning = read(text)
        said = sorted((t.shape, t.color, t.size, t.fill) for t in meaning.things)
        assert said == sorted((o.shape, o.color, o.size, o.fill) for o in scene.objects), text
        assert meaning.background == scene.background
        assert len(text.replace(",", " ,").split()) <= MOST_WORDS


def test_the_same_seed_says_the_same_and_another_says_it_in_other_words():
    drawn = scenes.draw(40, 0)
    assert descriptions(drawn, 5) == descriptions(drawn, 5)
    assert sum(a == b for a, b in zip(descriptions(drawn, 5), descriptions(drawn, 6))) < 4


def test_every_description_fits_the_tokenizer():
    assert tokenizer.load().encode(descriptions(scenes.draw(300, 1, "all"), 1)).ids.shape[1] == 32


def test_a_seed_is_a_whole_number_or_a_random():
    drawn = scenes.draw(4, 0)
    assert descriptions(drawn, Random(5)) == descriptions(drawn, 5)
    for seed in (None, [1], -1, 0.5, "5", True):
        with pytest.raises(ValueError, match="^seed is .* whole number"):
            descriptions(drawn, seed)


def test_what_are_no_scenes_gets_a_sentence():
    with pytest.raises(ValueError, match="^scenes is .*$"):
        descriptions(["a red star"])
