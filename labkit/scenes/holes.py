"""Holes in scenes, and how well they were filled: what the tests of inpainting are made of.

truth = holes.with_room(scenes.draw(300, 7))
mask, chosen = holes.around_one(truth, size=32)     # one whole thing is erased in each picture
holes.shown(reader.read(filled), truth, chosen)     # is it there again?
holes.jump(filled, mask) / holes.jump(real, mask)   # 1: the seam is as smooth as real
"""

from __future__ import annotations

import torch
from torch import Tensor

from labkit.inputs import whole_number
from labkit.scenes.rendering import REACH
from labkit.scenes.scores import NEAR
from labkit.scenes.world import ATTRIBUTES, Scenes, scene_batch


def alone(scenes: Scenes) -> Tensor:
    """Which objects (N, 3) lie neither in another nor around one."""
    slots = torch.arange(scenes.inside.shape[1])
    holds = (scenes.inside[:, :, None] == slots).any(1)
    return scenes.present & (scenes.inside < 0) & ~holds


def with_room(scenes: Scenes) -> Scenes:
    """Those scenes of which one object can be erased without touching another."""
    return scenes.take(alone(scene_batch(scenes)).any(1))


def around_one(scenes: Scenes, size: int) -> tuple[Tensor, Tensor]:
    """A mask (N, 1, size, size) for each scene, 1 = known, 0 in a square around its first object
    that stands alone, shadow included; and which object that is, (N, 1)."""
    whole_number(size, "size", 8, 512)
    chosen = alone(scene_batch(scenes)).long().argmax(1, keepdim=True)
    x, y, radius = (
        field.gather(1, chosen)[..., None] for field in (scenes.x, scenes.y, scenes.radius)
    )  # (N, 1, 1)
    at = (torch.arange(size) + 0.5) / size
    half = radius + REACH + 0.5 / size  # no known pixel sees any of the shadow
    gone = ((at[None, None, :] - x).abs() < half) & ((at[None, :, None] - y).abs() < half)
    return (~gone).float()[:, None], chosen


def shown(seen: Scenes, truth: Scenes, chosen: Tensor) -> Tensor:
    """Which of shape, color, size and fill of the chosen objects were seen where they are:
    (N, 4) bool."""
    wanted = {name: getattr(truth, name).gather(1, chosen) for name in ("x", "y", *ATTRIBUTES)}
    gap = torch.hypot(seen.x - wanted["x"], seen.y - wanted["y"])
    gap, nearest = torch.where(seen.present, gap, torch.inf).min(1, keepdim=True)
    right = [getattr(seen, name).gather(1, nearest) == wanted[name] for name in ATTRIBUTES]
    return torch.cat(right, 1) & (gap < NEAR)


def jump(pictures: Tensor, mask: Tensor) -> Tensor:
    """The mean absolute difference of neighboring pixels of which one is known and the other is
    not, (N,), in pictures (N, C, S, S) with masks (N, 1, S, S). Divide by that of real pictures:
    some borders cross an edge that belongs there."""
    total, pairs = torch.zeros(2, len(pictures), dtype=torch.float64)
    for axis in (2, 3):
        steps = pictures.diff(dim=axis).abs().mean(1, keepdim=True)
        border = (mask.diff(dim=axis) != 0).expand_as(steps)
        total += (steps * border).sum((1, 2, 3))
        pairs += border.sum((1, 2, 3))
    return total / pairs
