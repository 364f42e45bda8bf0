"""The check of lesson 09 on a smaller picture beside x."""

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.data.pictures import quantize
from labkit.lab.checks.framework import Check
from labkit.lab.checks.lesson09_pictures import pictures_beside
from labkit.lab.checks.random_inputs import between, size, sizes, turn
from labkit.systems.glide import GLIDE


def _low_beside(x: Tensor, low: Tensor) -> Tensor:
    C, side = x.shape[1], x.shape[-1]
    return torch.cat([x, pictures_beside({"low": C}, side, low=quantize(low))], dim=1)


def _larger(low: Tensor, x: Tensor, mode: str = "bilinear", **options) -> Tensor:
    return F.interpolate(low, size=x.shape[2:], mode=mode, **options)


def _beside_x(x: Tensor, low: Tensor) -> Tensor:
    """x, and a small picture that has its levels already."""
    return torch.cat([x, _larger(low, x)], dim=1)


def _levels(low: Tensor) -> Tensor:
    return (low + 1) * 127.5


def _draw_low(g: torch.Generator):
    """Pictures whose smaller form leaves [−1, 1] here and there, as samples do."""
    B, C, _ = sizes(g, 3)
    side, times = size(g, 3, 6), 2 + turn(g, 2)
    low = torch.rand(B, C, side, side, generator=g) * 2 - 1
    low[0, 0, 0, :2] = torch.tensor([between(1.1, 1.4, g), between(-1.4, -1.1, g)])
    return torch.randn(B, C, times * side, times * side, generator=g), low


low_beside = Check(
    "low_beside",
    reference=_low_beside,
    draw_inputs=_draw_low,
    mistakes={
        "The small picture is not rounded to the 256 levels of a file, as it was in training.": (
            lambda x, low: _beside_x(x, low.clamp(-1, 1))
        ),
        "The small picture is neither rounded nor cut off at [−1, 1].": (
            lambda x, low: _beside_x(x, low)
        ),
        "What lies outside [−1, 1] is not cut off: a file holds the levels 0 … 255.": (
            lambda x, low: _beside_x(x, _levels(low).round() / 127.5 - 1)
        ),
        "You cut the levels' fractions off; round them to the nearest one.": (
            lambda x, low: _beside_x(x, _levels(low).floor().clamp(0, 255) / 127.5 - 1)
        ),
        "You take 128 levels for half of the range, so that 1 becomes 256; 255 levels span "
        "[−1, 1]: (low + 1) · 127.5.": (
            lambda x, low: _beside_x(x, ((low + 1) * 128).round().clamp(0, 255) / 128 - 1)
        ),
        "You round after making the picture large; first it is rounded, as a file of its own "
        "size.": (lambda x, low: torch.cat([x, quantize(_larger(low, x))], dim=1)),
        "You repeat pixels (nearest); make the picture large by bilinear interpolation.": (
            lambda x, low: torch.cat([x, _larger(quantize(low), x, "nearest")], dim=1)
        ),
        "You interpolate by cubic curves, which overshoot; GLIDE interpolates bilinearly.": (
            lambda x, low: torch.cat([x, _larger(quantize(low), x, "bicubic")], dim=1)
        ),
        "With align_corners=True the outer pixels' centers meet, which shifts the picture; leave "
        "it out.": (
            lambda x, low: torch.cat([x, _larger(quantize(low), x, align_corners=True)], dim=1)
        ),
        "The small picture stands before x; x comes first.": (
            lambda x, low: torch.cat([_larger(quantize(low), x), x], dim=1)
        ),
        "You add the small picture to x; it stands beside it, in channels of its own.": (
            lambda x, low: x + _larger(quantize(low), x)
        ),
    },
    against=GLIDE.beside,
)
