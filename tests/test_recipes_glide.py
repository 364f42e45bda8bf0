"""Recipes of GLIDE and its relatives: what they show, and that one can begin from the other."""

import torch
from torch.nn import functional as F

from labkit import scenes
from labkit.recipes import glide
from labkit.scenes.scores import shown_parts
from labkit.systems.cascade import Cascade
from labkit.systems.glide import GLIDE


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_a_third_of_the_small_pictures_are_the_large_ones_halved_and_no_other_is_far_from_that():
    large, captions, low = glide.small_and_large_scene_batches(96)(seeded())
    assert large.shape == (96, 3, 64, 64) and low.shape == (96, 3, 32, 32) and len(captions) == 96
    gaps = (low - F.avg_pool2d(large, 2)).square().mean((1, 2, 3)).sqrt()
    assert 0.2 < (gaps < 1e-6).double().mean() < 0.47
    assert 0.02 < gaps.max() < 0.2


def test_masks_of_all_kinds_come_with_pictures_and_their_sentences():
    pictures, captions, masks = glide.erased_scene_batches()(seeded())
    assert pictures.shape == (64, 3, 32, 32) and masks.shape == (64, 1, 32, 32)
    assert len(captions) == 64
    shares = masks.mean((1, 2, 3))
    assert shares.min() == 0 and shares.max() > 0.8


def test_sentences_are_true_of_the_scenes_at_either_size():
    for size in (32, 64):
        pictures, captions = glide.captioned_scene_batches(16, size)(seeded(3))
        drawn = scenes.draw(16, seeded(3), "train")
        assert torch.equal(pictures, scenes.render(drawn, size))
        assert all(part.shown for row in shown_parts(drawn, captions) for part in row)


def test_the_inpainting_model_begins_from_the_base_and_the_upsampler_follows_either():
    base, inpaints, upsamples = (
        GLIDE(glide.RECIPES[f"glide-scenes{name}"].config) for name in ("", "-inpaint", "-upsample")
    )
    inpaints.begin_from(base)
    parts = glide.RECIPES["glide-scenes-64"].parts
    assert [*parts] == ["base", "upsampler"] and set(parts.values()) <= set(glide.RECIPES)
    for first in (base, inpaints):
        assert list(Cascade(base=first, upsampler=upsamples).stages) == ["base", "upsampler"]


def test_each_file_of_weights_will_stay_below_ten_megabytes():
    for recipe in glide.RECIPES.values():
        if recipe.parts:
            continue
        system = GLIDE(recipe.config)
        assert 2 * sum(weight.numel() for weight in system.parameters()) < 10e6
