"""Batches for learning by comparison: true, seen combinations only, and half of them close."""

from random import Random

import pytest
import torch

from labkit import scenes
from labkit.scenes import pairs, tokenizer
from labkit.scenes.meaning import parts
from labkit.scenes.reading import read


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_scenes_that_look_alike_differ_in_what_their_sentence_says(monkeypatch):
    monkeypatch.setattr(pairs, "unseen", lambda drawn: {"none": torch.zeros(64, dtype=torch.bool)})
    drawn, kinds = pairs.lookalikes(64, generator())
    drawn = drawn.words()
    for start in range(0, 64, pairs.GROUP):
        group, kind = drawn[start : start + pairs.GROUP], kinds[start]
        things = [scene.objects[0] for scene in group]
        assert all(len(scene.objects) == 1 for scene in group)
        assert len({scene.background for scene in group}) == 1
        assert kinds[start : start + pairs.GROUP] == [start // 8 % 4] * pairs.GROUP
        shapes, fills, colors = (
            len({getattr(thing, name) for thing in things}) for name in ("shape", "fill", "color")
        )
        assert shapes == (8, 2, 4, 4)[kind]
        assert fills == (1, 4, fills, 1)[kind] and colors == (1, 1, 1, colors)[kind]
        assert len({(thing.shape, thing.fill, thing.color) for thing in things}) == pairs.GROUP
        if kind >= 2:  # each shape twice: the shape alone would not be enough
            assert all(a.shape == b.shape for a, b in zip(things[::2], things[1::2]))


def test_a_hint_says_what_is_in_question():
    drawn, kinds = pairs.lookalikes(200, generator(1))
    gray = [kind < 3 and row % 2 == 0 for row, kind in enumerate(kinds)]
    texts = pairs.hints(drawn, kinds, gray, Random(0))
    for text, kind, colorless in zip(texts, kinds, gray, strict=True):
        (thing,) = read(text).things
        said = [name for name in ("shape", "fill", "color") if getattr(thing, name)]
        assert any(set(question) <= set(said) for question in pairs.SAID[kind]), text
        assert not (colorless and thing.color)


def test_gray_pictures_are_as_bright_as_the_colored_ones_and_say_no_color():
    pictures, ids = pairs.batches(64)(generator(2))
    gray = (pictures.amax(1) - pictures.amin(1)).amax((1, 2)) < 1e-6
    assert 8 <= gray.sum() <= 24 and not gray[32:].any()
    for text, colorless in zip(tokenizer.load().decode(ids), gray, strict=True):
        assert not colorless or not any(thing.color for thing in read(text).things)


def test_nothing_that_training_leaves_out_is_ever_drawn():
    for seed in range(5):
        drawn, _ = pairs.lookalikes(100, generator(seed))
        assert len(drawn.background) > 60
        assert not any(found.any() for found in scenes.unseen(drawn).values())


def test_a_batch_holds_pictures_and_true_sentences_and_comes_from_the_generator(monkeypatch):
    seen = []

    def look(drawn, size):
        seen.append(drawn)
        return torch.zeros(len(drawn.background), 3, 1, 1)

    monkeypatch.setattr(pairs, "render", look)
    make = pairs.batches(40)
    _, ids = make(generator(3))
    for text, scene in zip(tokenizer.load().decode(ids), seen[0].words(), strict=True):
        said = parts(read(text), scene.objects, scene.background)
        assert all(part.shown for part in said), (text, scene)
    _, again = make(generator(3))
    assert torch.equal(ids, again)
    assert not torch.equal(ids, make(generator(4))[1])


def test_pictures_have_the_size_that_was_asked_for():
    pictures, ids = pairs.batches(16, size=16)(generator())
    assert pictures.shape == (16, 3, 16, 16) and ids.shape == (16, 32)
    assert pictures.min() >= -1 and pictures.max() <= 1
    for share in (0, 1):
        assert len(pairs.batches(16, 16, alike=share)(generator())[0]) == 16


@pytest.mark.parametrize("options", [{"batch": 1}, {"batch": 8, "alike": 2}])
def test_nonsense_is_refused_in_one_sentence(options):
    with pytest.raises(ValueError, match="^[^\n]+$"):
        pairs.batches(**options)
