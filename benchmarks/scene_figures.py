"""How pictures of sentences are measured, whatever their size: in the eyes of the attribute reader,
which knows 32 pixels, and by their distance from real pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch.nn.functional as F
from torch import Tensor

from benchmarks.text_to_scenes import evaluate
from labkit import scenes, zoo
from labkit.lab import glide_table
from labkit.metrics import frechet_distance

COLUMNS = ("parts", "whole", "valid", "distance")


def small(pictures: Tensor) -> Tensor:
    """Pictures (N, 3, S, S) as the reader takes them, (N, 3, 32, 32): means of squares."""
    return F.avg_pool2d(pictures, pictures.shape[-1] // 32)


@cache
def reference(size: int) -> Tensor:
    """The features of the real pictures, rendered at that size, that the distance is to."""
    real = scenes.render(scenes.draw(1_000, glide_table.REFERENCE), size)
    return glide_table.features(zoo.load("reader-scenes"), small(real))


def distance(pictures: Tensor, size: int) -> float:
    """The Fréchet distance from real pictures of that size, in the features of lesson 09."""
    found = glide_table.features(zoo.load("reader-scenes"), small(pictures))
    return frechet_distance(reference(size), found)


def measured(pictures: Tensor, captions: Sequence[str], size: int) -> list[float]:
    """The figures of one run, in the order of `COLUMNS`."""
    return [*evaluate(small(pictures), list(captions))[:3], distance(pictures, size)]
