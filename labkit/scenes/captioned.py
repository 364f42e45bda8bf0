"""Scenes for training: pictures, a true sentence for each, and what is really in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.inputs import one_of, whole_number
from labkit.scenes.captioning import captions
from labkit.scenes.drawing import SPLITS, draw
from labkit.scenes.rendering import render
from labkit.scenes.world import Scenes


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
