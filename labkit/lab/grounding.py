"""Two separate things in a picture, and where each is: for asking what attention gives to the
words of one and of the other (lessons 09 and 12)."""

from __future__ import annotations

import torch
from torch import Tensor

from labkit import scenes
from labkit.lab.hard_negatives import two_objects
from labkit.scenes import Scenes, holes

CORE = 0.8  # of the radius, to stay off the edge


def two_apart(number: int, seed: int, most: int) -> tuple[Scenes, list[str]]:
    """Of `number` scenes the first, at most that many, with two things of different shape and
    color, neither in the other; and of each "the red star and the blue moon", the first thing
    first."""
    drawn = two_objects(number, seed, "train")
    drawn = drawn.take((holes.alone(drawn).sum(1) == 2).nonzero()[:most, 0])
    said = [
        [f"the {scenes.COLORS[c]} {scenes.SHAPES[s]}" for c, s in zip(*row)]
        for row in zip(drawn.color[:, :2].tolist(), drawn.shape[:, :2].tolist())
    ]
    return drawn, [" and ".join(both) for both in said]


def inside(drawn: Scenes, size: int) -> Tensor:
    """1 at the pixels around the middle of each of the two things, 0 elsewhere, (N, 2, size, size)
    float: within `CORE` of its radius."""
    at = (torch.arange(size) + 0.5) / size
    x, y, radius = (each[:, :2, None, None] for each in (drawn.x, drawn.y, drawn.radius))
    return (torch.hypot(at - x, at[:, None] - y) < CORE * radius).float()
