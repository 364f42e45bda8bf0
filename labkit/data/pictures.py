"""A set of labeled pictures in memory, as bytes: a quarter of what floats would take."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from labkit.inputs import float_batch, whole_number


class Pictures(NamedTuple):
    """N pictures of one size, with a class each."""

    bytes: Tensor  # (N, C, S, S) uint8
    labels: Tensor  # (N,) long, a row of `names`
    names: tuple[str, ...]  # of the classes
    report: str = ""  # what was found where the pictures lie, and what was left out

    def floats(self, rows: Tensor | slice) -> Tensor:
        """Those pictures as float32 in [−1, 1], (n, C, S, S)."""
        return self.bytes[rows].float() / 127.5 - 1

    def batches(self, batch: int, flip: bool = False):
        """For `labkit.train.train`: a function that draws (pictures, labels) at random.

        flip: half of them are mirrored, for things that may face either way (no letters).
        """
        whole_number(batch, "the batch", 1)

        def draw(generator: torch.Generator) -> tuple[Tensor, Tensor]:
            rows = torch.randint(len(self.labels), (batch,), generator=generator)
            pictures = self.floats(rows)
            if flip:
                mirrored = torch.rand(batch, generator=generator) < 0.5
                pictures[mirrored] = pictures[mirrored].flip(-1)
            return pictures, self.labels[rows]

        draw.rows = (self.bytes, self.labels)  # by which a run knows its data again
        return draw


def quantize(images: Tensor) -> Tensor:
    """Pictures in [−1, 1] rounded to the 256 levels that a file would hold; what lies outside is
    cut off. What saw more would use, or judge, what nobody can see."""
    levels = ((float_batch(images, "images") + 1) * 127.5).round().clamp(0, 255)
    return levels / 127.5 - 1
