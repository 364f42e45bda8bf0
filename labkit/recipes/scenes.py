"""Recipes of the systems that know the captioned scenes."""

from __future__ import annotations

from dataclasses import replace

import torch

from labkit import devices, scenes
from labkit import train as training
from labkit.nets.resnet import ResNetConfig
from labkit.nets.transformer import TextConfig
from labkit.recipes.glide import BASE, MUON
from labkit.recipes.recipe import Recipe
from labkit.scenes import pairs
from labkit.scenes.reader import Reader, ReaderConfig, augmented
from labkit.systems.clip import CLIP, CLIPConfig
from labkit.systems.ddpm import DDPM, DDPMConfig
from labkit.systems.sdg import SDG, NoisyCLIP, NoisyCLIPConfig


def augmented_scene_batches() -> training.Batches:
    """64 new scenes at a time, 32 x 32 pixels, some of them blurred or noisy, as samples are."""
    draw = scenes.batches(64, 32, "all")

    def batches(generator: torch.Generator):
        made = draw(generator)
        return made._replace(pictures=augmented(made.pictures, generator))

    return batches


def scene_batches() -> training.Batches:
    """64 new scenes at a time, 32 x 32 pixels, none of the combinations that are held out."""

    def batches(generator: torch.Generator):
        return scenes.render(scenes.draw(64, generator, "train"), 32)

    return batches


def taught_scene_batches(teacher: CLIP) -> training.Batches:
    """128 new scenes at a time, 32 x 32 pixels, and what the teacher sees in them."""

    def batches(generator: torch.Generator):
        pictures = scenes.render(scenes.draw(128, generator, "train"), 32)
        with torch.no_grad():
            return pictures, teacher.encode_image(pictures.to(devices.of(teacher)))

    return batches


SCENE_TOWER = ResNetConfig(size=32, width=16, blocks=(1, 1, 1), heads=8, stem=2)

RECIPES = {
    "ddpm-scenes": Recipe(
        about="scenes of 32 x 32 pixels, from noise; any score can steer it (lesson 08)",
        system=DDPM,
        config=DDPMConfig(
            replace(BASE.net, vector=None, vector_bias=False, tokens=None), predicts="x0"
        ),
        batches=scene_batches,
        training=MUON | {"steps": 1_000, "lr": 1e-3, "ema": 0.995},
        minutes=16,
        begins_from="glide-scenes",
        perceptual={"clip-scenes": 0.2},
    ),
    "clip-scenes": Recipe(
        about="which sentence belongs to which picture of a scene (lesson 07)",
        system=CLIP,
        config=CLIPConfig(
            SCENE_TOWER,
            TextConfig(vocabulary=1009, context=32, width=64, depth=2, heads=4, end=1008),
            dim=128,
        ),
        batches=lambda: pairs.batches(128),
        training={"steps": 3_600, "lr": 3e-3, "ema": 0.998},
        minutes=16,
    ),
    "noisy-clip-scenes": Recipe(
        about="sees through noise what clip-scenes sees in a clean picture (lesson 08)",
        system=NoisyCLIP,
        config=NoisyCLIPConfig(SCENE_TOWER, dim=128, hidden=256),
        batches=taught_scene_batches,
        training={"steps": 1_500, "lr": 2e-3, "ema": 0.995},
        minutes=7,
        begins_from="clip-scenes",
        teacher="clip-scenes",
    ),
    "sdg-scenes": Recipe(
        about="scenes that a sentence or a picture steers (lesson 08)",
        system=SDG,
        parts={"model": "ddpm-scenes", "guide": "noisy-clip-scenes", "clip": "clip-scenes"},
    ),
    "reader-scenes": Recipe(
        about="sees what is in a picture of a scene; captions are scored by it",
        system=Reader,
        config=ReaderConfig(),
        batches=augmented_scene_batches,
        training={"steps": 1_000, "lr": 4e-3, "weight_decay": 0.05, "ema": 0.995},
        minutes=4,
    ),
    "reader-scenes-b": Recipe(
        about="a second reader, built and trained apart, that must agree with the first",
        system=Reader,
        config=ReaderConfig(width=24, deep=48, close=48),
        batches=augmented_scene_batches,
        training={"steps": 1_500, "lr": 3e-3, "weight_decay": 0.02, "ema": 0.996, "seed": 1},
        minutes=4,
    ),
}
