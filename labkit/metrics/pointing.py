"""The pointing game: does a map point at the object that it was asked for?

Source: Zhang et al. 2016, "Top-down Neural Attention by Excitation Backprop", section 4.1: a hit is
a map whose highest point lies on the object.
"""

from __future__ import annotations

import torch
from torch import Tensor

from labkit.inputs import short
from labkit.scenes.regions import Regions
from labkit.scenes.scores import NEAR
from labkit.scenes.world import Scenes, scene_batch


def object_regions(regions: Regions, scenes: Scenes) -> Tensor:
    """Which region each true object of N scenes is, (N, 3) long: the nearest of its kind (inside
    another object or not), -1 where none is near. Raises ValueError for a different number."""
    if len(scene_batch(scenes, "scenes").background) != len(regions.mask):
        raise ValueError(
            f"there are regions of {len(regions.mask)} pictures for {len(scenes.background)} "
            "scenes, but there must be as many"
        )
    places, there = regions.places.cpu().float(), regions.mask.cpu().clone()
    there[:, 0] = False  # the whole picture is no object
    gap = torch.hypot(scenes.x.cpu()[:, :, None] - places[:, None, :, 0],
                      scenes.y.cpu()[:, :, None] - places[:, None, :, 1])  # fmt: skip
    same = (scenes.inside.cpu() >= 0)[:, :, None] == (places[:, None, :, 3] > 0.5)
    distance, nearest = gap.masked_fill(~(same & there[:, None]), torch.inf).min(2)  # (N, 3)
    return torch.where((distance < NEAR) & scenes.present.cpu(), nearest, -1)


def pointing_game(maps: Tensor, words: Tensor, wanted: Tensor) -> float:
    """The share of words whose strongest region is the object that they name.

    maps: (B, L, M), how strongly each word points at each region. words: (K, 2) long, a row and a
    place in its sentence for each word asked; wanted: (K,) long, the region that it names. Of
    equal regions the first counts. Raises ValueError for no word.
    """
    if not isinstance(words, Tensor) or words.ndim != 2 or not len(words):
        raise ValueError(
            f"words is {short(words)}, but must be (K, 2): the row and the place of each word that "
            "is asked, at least one"
        )
    strongest = maps.argmax(2).cpu()[words[:, 0], words[:, 1]]
    return (strongest == wanted).double().mean().item()
