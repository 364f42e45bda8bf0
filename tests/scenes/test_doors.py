"""Every public door of the scenes answers nonsense with one sentence, a ValueError."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from labkit import scenes
from labkit.scenes import corpus, reading, tokenizer
from labkit.scenes import scores as metrics
from labkit.scenes.reader import Reader, ReaderConfig
from tests.test_bad_input import junk

DRAWN = scenes.draw(2, 0)
PICTURES = scenes.render(DRAWN, 16)
LOADED = tokenizer.load()
READER = Reader(ReaderConfig(16, 4, 4, 4))
few = junk.filter(lambda a: not isinstance(a, int) or a < 50)  # a billion scenes are no nonsense

DOORS = {
    "draw number": scenes.draw,
    "draw seed": lambda a: scenes.draw(1, a),
    "draw split": lambda a: scenes.draw(1, 0, a),
    "unseen": scenes.unseen,
    "tensors": scenes.tensors,
    "scene": lambda a: scenes.Scene(a, "mint"),
    "background": lambda a: scenes.Scene(DRAWN.words()[0].objects, a),
    "object shape": lambda a: scenes.Object(a, "red", "small", "plain", 0.5, 0.5, 0.15),
    "object x": lambda a: scenes.Object("star", "red", "small", "plain", a, 0.5, 0.15),
    "object radius": lambda a: scenes.Object("star", "red", "small", "plain", 0.5, 0.5, a),
    "object inside": lambda a: scenes.Object("star", "red", "small", "plain", 0.5, 0.5, 0.15, a),
    "render scenes": scenes.render,
    "render size": lambda a: scenes.render(DRAWN, a),
    "captions": scenes.captions,
    "captions seed": lambda a: scenes.captions(DRAWN, a),
    "batches": scenes.batches,
    "batches size": lambda a: scenes.batches(1, a),
    "read": reading.read,
    "corpus number": corpus.sentences,
    "corpus seed": lambda a: corpus.sentences(1, a),
    "corpus split": lambda a: corpus.sentences(1, 0, a),
    "encode": LOADED.encode,
    "null": LOADED.null,
    "decode": LOADED.decode,
    "split": LOADED.split,
    "unknown": LOADED.unknown,
    "reader size": ReaderConfig,
    "reader read": READER.read,
    "reader batch": lambda a: READER.read(PICTURES, a),
    "accuracy seen": lambda a: metrics.caption_accuracy(a, ["a star", "a star"]),
    "accuracy said": lambda a: metrics.caption_accuracy(DRAWN, a),
    "agreement": lambda a: metrics.agreement(a, DRAWN),
    "misfit": lambda a: metrics.misfit(DRAWN, a),
    "valid": lambda a: metrics.valid(DRAWN, PICTURES, a),
}


@pytest.mark.parametrize("name", DOORS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(value=few)
def test_nonsense_gets_a_sentence_or_an_answer_and_nothing_else(name, value):
    try:
        DOORS[name](value)
    except ValueError as error:
        assert 10 < len(str(error)) < 400
        assert "\n" not in str(error)


@pytest.mark.parametrize("text", ["\ud800 star", "a \udcff star"])
def test_half_a_character_is_refused_in_one_sentence(text):
    with pytest.raises(ValueError, match="half of a character"):
        LOADED.encode(text)


def test_pictures_of_another_range_or_on_no_background_do_not_stop_a_reader():
    for fill in (-1.0, 0.0, 1.0):
        seen = READER.read(torch.full((2, 3, 16, 16), fill))
        assert metrics.misfit(seen, torch.full((2, 3, 16, 16), fill)).shape == (2,)
