"""Recipes of latent diffusion: autoencoders of scenes, and what draws in their latents."""

from __future__ import annotations

from dataclasses import replace

import torch

from labkit import scenes
from labkit import train as training
from labkit.nets.autoencoder import AutoencoderConfig
from labkit.nets.transformer import TextConfig
from labkit.nets.unet import UNetConfig
from labkit.recipes.glide import MUON, captioned_scene_batches
from labkit.recipes.recipe import Recipe
from labkit.systems.autoencoder import FirstStage, FirstStageConfig
from labkit.systems.ldm import LDM, LDMConfig

SIZE = 64


def large_scene_batches(batch: int = 8) -> training.Batches:
    """New scenes, 64 x 64 pixels, none of the combinations that are held out."""

    def batches(generator: torch.Generator):
        return scenes.render(scenes.draw(batch, generator, "train"), SIZE)

    return batches


# Small pictures do not pay for convolutions at full size: squares of pixels become channels at the
# entrance. After 22 s of one core the loss of f = 4 was .049 with squares of 4 x 4, and .078 with
# squares of 2 x 2 and a level more; batches of 8 learned faster than batches of 32. Each f keeps
# half as many numbers of a picture as the one before it. The second level of f = 8 has 96 channels,
# not 128, with which Muon would take a third of each step.
F4 = AutoencoderConfig(
    size=SIZE, width=64, multipliers=(1,), blocks=1, latent=4, attention=False, groups=8, fold=4
)
F2 = replace(F4, width=32, latent=2, fold=2)
# After 200 steps of 4 pictures, of entries that began close to 0 33 were in use, and the misfit was
# .175; of entries that began as large as the first latents 246, and it was .124.
F4_VQ = replace(F4, codebook=1024, entries_std=1.0)
F8 = replace(F4, width=64, multipliers=(1, 1.5), latent=8)


def autoencoder(about: str, net: AutoencoderConfig, steps: int, minutes: float) -> Recipe:
    return Recipe(
        about=about,
        system=FirstStage,
        config=FirstStageConfig(net),
        batches=large_scene_batches,
        training={"steps": steps, "ema": 0.998, **MUON, "lr": 4e-3},
        minutes=minutes,
    )


RECIPES = {
    "autoencoder-scenes-f2": autoencoder(
        "scenes of 64 x 64 pixels as 32 x 32 x 2 numbers, and back", F2, steps=6_000, minutes=12
    ),
    "autoencoder-scenes-f4": autoencoder(
        "scenes of 64 x 64 pixels as 16 x 16 x 4 numbers, and back", F4, steps=10_000, minutes=19
    ),
    "autoencoder-scenes-f8": autoencoder(
        "scenes of 64 x 64 pixels as 8 x 8 x 8 numbers, and back", F8, steps=10_000, minutes=22
    ),
    "autoencoder-scenes-f4-vq": autoencoder(
        "scenes of 64 x 64 pixels as 16 x 16 entries of a codebook, and back",
        F4_VQ,
        steps=6_000,
        minutes=12,
    ),
    # Attention among all 256 latents would double the time of a step; GLIDE's base learns without.
    "ldm-scenes": Recipe(
        about="scenes of 64 x 64 pixels from a sentence, drawn as 16 x 16 x 4 latents",
        system=LDM,
        config=LDMConfig(
            net=UNetConfig(
                size=16,
                channels=4,
                width=64,
                multipliers=(1, 1.25, 1.5),
                blocks=1,
                attention=(8, 4),
                head_channels=16,
                groups=8,
                scale_shift_norm=True,
                mixer="spatial",
                tokens=128,
            ),
            autoencoder=F4,
            schedule="cosine",
            predicts="v",
            text=TextConfig(vocabulary=1009, context=32, width=128, depth=3, heads=4, end=1008),
            p_uncond=0.15,
        ),
        batches=lambda: captioned_scene_batches(64, SIZE),
        training={"steps": 5_500, "ema": 0.999, **MUON},
        minutes=100,
        begins_from="autoencoder-scenes-f4",
    ),
}
