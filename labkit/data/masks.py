"""What is erased from a picture for learning to inpaint: rectangles, halves and strokes; and what
can stand in its place."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.inputs import whole_number

KINDS = ("rectangle", "half", "strokes", "everything")


def erased(number: int, size: int, generator: torch.Generator | None = None) -> Tensor:
    """Random masks (number, 1, size, size), float: 1 = known, 0 = erased.

    Of ten masks about five erase a rectangle, two a half, two some strokes, and one everything, so
    that a model that has learned from them can also draw a whole picture. Raises ValueError for a
    number below 1, or a size below 4.
    """
    number, size = whole_number(number, "the number of masks", 1), whole_number(size, "size", 4)
    at = (torch.arange(size) + 0.5) / size  # the centers of the pixels, 0 … 1
    y, x = at[:, None], at[None, :]
    masks = torch.ones(number, 1, size, size)
    for mask in masks[:, 0]:
        u = torch.rand(8, generator=generator).tolist()
        kind = KINDS[(u[0] > 0.5) + (u[0] > 0.7) + (u[0] > 0.9)]
        if kind == "rectangle":
            height, width = 0.25 + 0.5 * u[1], 0.25 + 0.5 * u[2]
            top, left = u[3] * (1 - height), u[4] * (1 - width)
            gone = (y > top) & (y < top + height) & (x > left) & (x < left + width)
        elif kind == "half":
            along, cut = (y, x)[u[1] > 0.5], 0.35 + 0.3 * u[2]
            gone = ((along < cut) if u[3] > 0.5 else (along > cut)).expand(size, size)
        elif kind == "strokes":
            gone = strokes(x, y, generator)
        else:
            gone = torch.ones(size, size, dtype=torch.bool)
        mask[gone] = 0
    return masks


def strokes(x: Tensor, y: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One to three straight strokes as a brush leaves them, bool: True = erased. x (1, S) and
    y (S, 1): the places of the pixels, 0 … 1."""
    gone = torch.zeros(len(y), x.shape[1], dtype=torch.bool)
    for _ in range(int(torch.randint(1, 4, (), generator=generator))):
        x1, y1, x2, y2, thick = torch.rand(5, generator=generator).tolist()
        length = max((x2 - x1) ** 2 + (y2 - y1) ** 2, 1e-6)
        share = (((x - x1) * (x2 - x1) + (y - y1) * (y2 - y1)) / length).clamp(0, 1)
        near = torch.hypot(x - x1 - share * (x2 - x1), y - y1 - share * (y2 - y1))
        gone |= near < 0.06 + 0.1 * thick
    return gone


def filled(image: Tensor, mask: Tensor) -> Tensor:
    """The image (B, C, S, S) with each erased pixel replaced, ring by ring from the known ones on,
    by the mean of its neighbors that have a value; 0 where nothing is known. mask: (B, 1, S, S),
    1 = known. What the image has at erased pixels makes no difference."""
    values, there = image * mask, mask
    for _ in range(image.shape[-1]):
        total, count = (F.avg_pool2d(each, 3, stride=1, padding=1) for each in (values, there))
        next_ring = (there == 0) & (count > 0)
        if not next_ring.any():
            break
        values = torch.where(next_ring, total / count.clamp(min=1e-6), values)
        there = torch.where(next_ring, 1.0, there)
    return values
