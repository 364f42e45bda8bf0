"""Batches for learning by comparison: true, seen combinations only, and half of them close."""

import pytest
import torch

from labkit.data import pairs, scenes, tokenizer
from labkit.data.caption_reader import read
from labkit.data.scenes_meaning import parts


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_scenes_that_look_alike_differ_in_shape_or_in_fill_but_not_in_color(monkeypatch):
    monkeypatch.setattr(pairs, "unseen", lambda drawn: {"none": torch.zeros(64, dtype=torch.bool)})
    drawn = pairs.lookalikes(64, generator()).words()
    for start in range(0, 64, pairs.GROUP):
        group = drawn[start : start + pairs.GROUP]
        things = [scene.objects[0] for scene in group]
        assert all(len(scene.objects) == 1 for scene in group)
        assert len({scene.background for scene in group}) == 1
        assert len({thing.color for thing in things}) == 1
        kinds = (len({thing.shape for thing in things}), len({thing.fill for thing in things}))
        assert kinds == ((8, 1) if start % 16 == 0 else (2, 4))
        assert len({(thing.shape, thing.fill) for thing in things}) == pairs.GROUP


def test_nothing_that_training_leaves_out_is_ever_drawn():
    for seed in range(5):
        drawn = pairs.lookalikes(100, generator(seed))
        assert len(drawn.background) > 60
        assert not any(found.any() for found in scenes.unseen(drawn).values())


def test_a_batch_holds_pictures_and_true_sentences_and_comes_from_the_generator(monkeypatch):
    seen = []
    monkeypatch.setattr(pairs, "render", lambda drawn, size: seen.append(drawn) or torch.zeros(1))
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
