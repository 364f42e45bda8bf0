"""Recipes of GLIDE and its relatives: scenes from a sentence, what was erased from them painted
anew, and scenes made twice as large."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import torch
import torch.nn.functional as F

from labkit import scenes
from labkit import train as training
from labkit.data import masks
from labkit.nets.transformer import TextConfig
from labkit.nets.unet import UNetConfig
from labkit.recipes.recipe import Recipe
from labkit.scenes.descriptions import descriptions
from labkit.scenes.reader import augmented
from labkit.systems.cascade import Cascade
from labkit.systems.glide import GLIDE, GLIDEConfig


def captioned_scene_batches(batch: int = 64, size: int = 32) -> training.Batches:
    """New scenes, size x size pixels, none of the combinations that are held out. Half of
    them come with what people might say of them, half with a sentence that leaves nothing out."""

    def batches(generator: torch.Generator):
        drawn = scenes.draw(batch, generator, "train")
        random = Random(int(torch.randint(2**62, (), generator=generator)))
        said, whole = scenes.captions(drawn, random), descriptions(drawn, random)
        return scenes.render(drawn, size), [random.choice(pair) for pair in zip(said, whole)]

    return batches


def erased_scene_batches() -> training.Batches:
    """The same, and what is erased from each: rectangles, halves, strokes, now and then all."""
    draw = captioned_scene_batches()

    def batches(generator: torch.Generator):
        pictures, captions = draw(generator)
        return pictures, captions, masks.erased(len(pictures), 32, generator)

    return batches


def small_and_large_scene_batches(batch: int = 32) -> training.Batches:
    """New captioned scenes, 64 x 64 pixels, and the same at half the side, a third of
    these blurred and a third noisy: what the base model draws is not quite clean either."""
    draw = captioned_scene_batches(batch, 64)

    def batches(generator: torch.Generator):
        pictures, captions = draw(generator)
        return pictures, captions, augmented(F.avg_pool2d(pictures, 2), generator)

    return batches


BASE = GLIDEConfig(
    UNetConfig(
        size=32,
        width=64,
        multipliers=(1, 1.25, 1.5),
        blocks=1,
        attention=(8, 4),
        groups=8,
        head_channels=16,
        scale_shift_norm=True,
        residual_resampling=True,
        fold=2,
        vector=128,
        vector_bias=True,
        tokens=128,
    ),
    predicts="x0",
    text=TextConfig(vocabulary=1009, context=32, width=128, depth=3, heads=4, end=1008),
    p_uncond=0.15,
)
MUON = {
    "optimizer": "muon",
    "lr": 2e-3,
    "decay": "late",
    "weight_decay": 0.01,
    "precision": "bf16-mixed",
}

RECIPES = {
    "glide-scenes": Recipe(
        about="scenes of 32 x 32 pixels from a sentence",
        system=GLIDE,
        config=BASE,
        batches=captioned_scene_batches,
        training={"steps": 6_250, "ema": 0.998, **MUON},
        minutes=96,
        perceptual={"clip-scenes": 0.2},
    ),
    # It drops as many captions as the paper says (section 4.2).
    "glide-scenes-inpaint": Recipe(
        about="paints what was erased from a scene of 32 x 32 pixels, from a sentence",
        system=GLIDE,
        config=replace(BASE, net=replace(BASE.net, image=4), inpaints=True, p_uncond=0.2),
        batches=erased_scene_batches,
        training={"steps": 1_200, "ema": 0.995, **MUON},
        minutes=19,
        begins_from="glide-scenes",
        perceptual={"clip-scenes": 0.2},
    ),
    "glide-scenes-upsample": Recipe(
        about="makes scenes of 32 x 32 pixels twice as large, with their sentence",
        system=GLIDE,
        config=GLIDEConfig(
            UNetConfig(
                size=64,
                width=32,
                multipliers=(1, 1, 2),
                blocks=1,
                attention=(),
                groups=8,
                head_channels=16,
                scale_shift_norm=True,
                residual_resampling=True,
                fold=2,
                vector=64,
                vector_bias=True,
                tokens=64,
                image=3,
            ),
            predicts="x0",
            text=TextConfig(vocabulary=1009, context=32, width=64, depth=2, heads=4, end=1008),
            p_uncond=0.1,
            upsamples=32,
        ),
        batches=small_and_large_scene_batches,
        training={"steps": 3_000, "ema": 0.998, **MUON},
        minutes=24,
    ),
    "glide-scenes-64": Recipe(
        about="scenes of 64 x 64 pixels from a sentence",
        system=Cascade,
        parts={"base": "glide-scenes", "upsampler": "glide-scenes-upsample"},
    ),
}
