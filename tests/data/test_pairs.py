"""Batches for learning by comparison: true, seen combinations only, and half of them close."""

import pytest
import torch

from labkit.data import pairs, scenes, tokenizer
from labkit.data.caption_reader import read
from labkit.data.scenes_meaning import parts


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_scenes_that_look_alike_share_two_colors_and_a_background():
    drawn = pairs.lookalikes(60, generator())
    groups = {}
    for scene in drawn.words():
        groups.setdefault(scene.background, []).append(scene)
    colors = [
        {thing.color for scene in group for thing in scene.objects} for group in groups.values()
    ]
    assert len(drawn.background) == 60 and len(groups) <= pairs.GROUPS
    assert all(len(used) <= 2 * pairs.GROUPS / len(groups) for used in colors)
    assert 0.3 < (drawn.count == 1).double().mean() < 0.7
    shapes = {thing.shape for scene in drawn.words() for thing in scene.objects}
    assert shapes == set(scenes.SHAPES)


def test_nothing_that_training_leaves_out_is_ever_drawn():
    for seed in range(5):
        drawn = pairs.lookalikes(100, generator(seed))
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
    pictures, ids = pairs.batches(6, size=16)(generator())
    assert pictures.shape == (6, 3, 16, 16) and ids.shape == (6, 32)
    assert pictures.min() >= -1 and pictures.max() <= 1
    for share in (0, 1):
        assert len(pairs.batches(6, 16, alike=share)(generator())[0]) == 6


@pytest.mark.parametrize("options", [{"batch": 1}, {"batch": 8, "alike": 2}])
def test_nonsense_is_refused_in_one_sentence(options):
    with pytest.raises(ValueError, match="^[^\n]+$"):
        pairs.batches(**options)
