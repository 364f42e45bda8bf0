"""Recipes of DALL·E 2 on the captioned scenes: both priors and the decoder, each by itself."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import torch
from torch import Tensor

from labkit import devices, scenes
from labkit import train as training
from labkit.nets.prior import CodesConfig, PriorConfig
from labkit.recipes.glide import BASE, MUON, captioned_scene_batches
from labkit.recipes.recipe import Recipe
from labkit.scenes.descriptions import descriptions
from labkit.systems.autoregressive_prior import AutoregressivePrior, AutoregressivePriorConfig
from labkit.systems.clip import CLIP
from labkit.systems.dalle2 import DALLE2
from labkit.systems.diffusion_prior import DiffusionPrior, DiffusionPriorConfig
from labkit.systems.prior_inputs import Texts, read
from labkit.systems.unclip_decoder import UnCLIPDecoder, UnCLIPDecoderConfig

CHUNK = 512  # pictures embedded at once


@torch.no_grad()
def embedded_scenes(
    clip: CLIP, number: int, seed: int = 0, split: str = "train"
) -> tuple[Tensor, Texts]:
    """What that CLIP makes of 2 · number pictures, (2N, D), and of a sentence for each. Each scene
    comes twice: with what people might say of it, and, in the second half, with a sentence that
    leaves nothing out."""
    generator, pictures = torch.Generator().manual_seed(seed), []
    said, whole = [], []
    for start in range(0, number, CHUNK):
        drawn = scenes.draw(min(CHUNK, number - start), generator, split)
        random = Random(seed + start)
        seen = scenes.render(drawn, clip.config.image.size).to(clip.logit_scale.device)
        pictures.append(clip.encode_image(seen).cpu())
        said.append(read(clip, scenes.captions(drawn, random)))
        whole.append(read(clip, descriptions(drawn, random)))
    texts = (torch.cat(fields).cpu() for fields in zip(*said, *whole, strict=True))
    return torch.cat(pictures).repeat(2, 1), Texts(*texts)


def embedding_batches(clip: CLIP, number: int = 32_768) -> training.Batches:
    """128 embeddings of pictures and their sentences at a time, of that many scenes, which are
    drawn, and read by that CLIP, once."""
    image, texts = embedded_scenes(clip, number)
    return training.shuffled(image, *texts, batch=128)


def embeddings(clip: CLIP, number: int = 4_096) -> tuple[Tensor, Tensor]:
    """Of the pictures and the sentences of that many scenes, (2N, D) each: in these the
    autoregressive prior finds its components and buckets."""
    image, texts = embedded_scenes(clip, number)
    return image, texts.embedding


def embedded_scene_batches(clip: CLIP) -> training.Batches:
    """64 new captioned scenes at a time, and what that CLIP sees in them."""
    draw = captioned_scene_batches()

    def batches(generator: torch.Generator):
        pictures, captions = draw(generator)
        with torch.no_grad():
            return pictures, captions, clip.encode_image(pictures.to(devices.of(clip)))

    return batches


PRIOR = MUON | {"ema": 0.998}

RECIPES = {
    "diffusion-prior-scenes": Recipe(
        about="from a sentence to what clip-scenes would see in a picture of it (lesson 10)",
        system=DiffusionPrior,
        config=DiffusionPriorConfig(
            PriorConfig(dim=128, tokens=64, context=32, width=128, depth=4, heads=4),
            vocabulary=1009,
        ),
        batches=embedding_batches,
        training={"steps": 1_200, **PRIOR},
        minutes=7,
        teacher="clip-scenes",
        fits=lambda clip: (clip,),
    ),
    "autoregressive-prior-scenes": Recipe(
        about="the same, one code after the other (lesson 10)",
        system=AutoregressivePrior,
        config=AutoregressivePriorConfig(
            CodesConfig(
                dim=128,
                vocabulary=1009,
                context=32,
                codes=17,
                buckets=64,
                dots=16,
                width=128,
                depth=4,
                heads=4,
            )
        ),
        batches=embedding_batches,
        training={"steps": 1_000, **PRIOR},
        minutes=8,
        teacher="clip-scenes",
        fits=lambda clip: (clip, *embeddings(clip)),
    ),
    "unclip-decoder-scenes": Recipe(
        about="scenes of 32 x 32 pixels from a CLIP embedding, a sentence, or both (lesson 10)",
        system=UnCLIPDecoder,
        config=UnCLIPDecoderConfig(replace(BASE, p_uncond=0.5), dim=128),
        batches=embedded_scene_batches,
        training=MUON | {"steps": 3_400, "lr": 1e-3, "ema": 0.999},
        minutes=61,
        begins_from="glide-scenes",
        teacher="clip-scenes",
        fits=lambda clip: (clip,),
        perceptual={"clip-scenes": 0.2},
    ),
    "dalle2-scenes": Recipe(
        about="scenes from a sentence by way of a CLIP embedding; varies and mixes pictures",
        system=DALLE2,
        parts={
            "clip": "clip-scenes",
            "decoder": "unclip-decoder-scenes",
            "diffusion": "diffusion-prior-scenes",
            "autoregressive": "autoregressive-prior-scenes",
        },
    ),
}
