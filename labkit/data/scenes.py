"""Captioned scenes: the pictures with text that half of the course stands on.

    scenes = draw(64, seed=0)                # what is in them, as tensors: the truth
    pictures = render(scenes, size=32)       # (64, 3, 32, 32) in [-1, 1]; any size, the same scenes
    sentences = captions(scenes, seed=0)     # "a tiny scarlet star above a plain disc"

Nothing is stored: scenes come from a seed, without end, and everything about them is known, so
that a generated picture can be scored against its sentence (`labkit.scene_metrics`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.data.captions import captions
from labkit.data.scenes_draw import SPLITS, UNSEEN, draw, unseen
from labkit.data.scenes_render import render
from labkit.data.scenes_world import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLORS,
    FILLS,
    RELATIONS,
    SHAPES,
    SIZES,
    Object,
    Scene,
    Scenes,
    tensors,
)
from labkit.inputs import one_of, whole_number

__all__ = [
    "ATTRIBUTES", "BACKGROUNDS", "COLORS", "FILLS", "RELATIONS", "SHAPES", "SIZES", "SPLITS",
    "UNSEEN", "Captioned", "Object", "Scene", "Scenes", "batches", "captions", "draw", "render",
    "tensors", "unseen",
]  # fmt: skip


class Captioned(NamedTuple):
    """Pictures, a true sentence for each, and what is really in them."""

    pictures: Tensor  # (N, 3, S, S) in [-1, 1]
    captions: list[str]
    scenes: Scenes


def batches(
    batch: int, size: int = 32, split: str = "train"
) -> Callable[[torch.Generator], Captioned]:
    """For `labkit.train.train`: a function that draws new scenes, pictures and sentences of them
    with the generator that it is given.

    size: pixels a side, 8 … 512. split: see `draw`. Raises ValueError for others.
    """
    whole_number(batch, "the batch", 1)
    whole_number(size, "size", 8, 512)
    one_of(split, SPLITS, "split")

    def make(generator: torch.Generator) -> Captioned:
        scenes = draw(batch, generator, split)
        seed = int(torch.randint(2**62, (), generator=generator))
        return Captioned(render(scenes, size), captions(scenes, seed), scenes)

    return make
