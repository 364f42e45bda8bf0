"""Between two noises: the arc that stays noise, and the chord that does not."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from labkit.casting import wide
from labkit.inputs import float_batch, number, same_shape

NEARLY_PARALLEL = 1e-4  # radians; below, the chord is the arc to better than rounding


def lerp(z1: Tensor, z2: Tensor, a: float) -> Tensor:
    """The point at share a of the straight line from z1 to z2, (B, …)."""
    same_shape(float_batch(z1, "z1"), float_batch(z2, "z2"), "z1 and z2")
    a = number(a, "a")
    return (1 - a) * z1 + a * z2


def slerp(z1: Tensor, z2: Tensor, a: float) -> Tensor:
    """The point at share a of the arc from z1 to z2, (B, …): row by row, over all of a row's
    entries at once (DDIM, section 5.3).

    z1, z2: (B, …) of one shape, no row all zero; a: 0 gives z1, 1 gives z2. Two rows that point the
    same way have no arc: they get the straight line. Raises ValueError for two that point in
    opposite ways: every arc between them is as short as any other.
    """
    straight, a = lerp(z1, z2, a), float(a)
    flat1, flat2 = wide(z1).flatten(1), wide(z2).flatten(1)  # (B, D)
    lengths = flat1.norm(dim=1) * flat2.norm(dim=1)  # (B,)
    if not (lengths > 0).all():
        raise ValueError("z1 or z2 has a row of zeros only, which points nowhere; draw it again")
    cosine = ((flat1 * flat2).sum(1) / lengths).clamp(-1, 1)
    angle = cosine.arccos()  # (B,)
    if (math.pi - angle < NEARLY_PARALLEL).any():
        raise ValueError(
            "z1 and z2 have a row that points in opposite ways, between which no arc is the "
            "shortest; draw one of them again"
        )
    shape = (-1, *[1] * (z1.ndim - 1))
    weight1, weight2 = (
        (torch.sin(share * angle) / torch.sin(angle)).to(z1.dtype).view(shape)
        for share in (1 - a, a)
    )
    near = (angle < NEARLY_PARALLEL).view(shape)
    return torch.where(near, straight, weight1 * z1 + weight2 * z2)
