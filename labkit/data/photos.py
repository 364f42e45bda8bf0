"""Two real photographs that come with scikit-learn."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from labkit.inputs import one_of, whole_number

NAMES = ("china", "flower")


def photo(name: str = "flower", size: int = 64) -> Tensor:
    """One photograph, (1, 3, size, size) float32 in [−1, 1]: the central square, anti-aliased.

    name: "china" (a temple, by danielbuechele) or "flower" (a dahlia, by vultilion), CC BY 2.0.
    size: 4 … 427 pixels a side. Raises ValueError for others.
    """
    from sklearn.datasets import load_sample_image

    file = one_of(name, NAMES, "photograph") + ".jpg"
    pixels = torch.tensor(load_sample_image(file)).permute(2, 0, 1)[None].float()
    side = min(pixels.shape[2:])
    top, left = ((length - side) // 2 for length in pixels.shape[2:])
    square = pixels[:, :, top : top + side, left : left + side] / 127.5 - 1
    size = whole_number(size, "size", 4, 427)
    return interpolate(square, size=(size, size), mode="bilinear", antialias=True)
