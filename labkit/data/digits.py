"""Real handwritten digits that come with scikit-learn: 1,797 of them, no download.

Source: the test part of the Optical Recognition of Handwritten Digits set (Alpaydin and Kaynak,
UCI repository, 1998), 8×8 pixels with 17 gray levels.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from labkit.inputs import one_of, whole_number

SPLITS = {"all": slice(0, 1797), "train": slice(0, 1437), "test": slice(1437, 1797)}


def load(size: int = 16, split: str = "all") -> tuple[Tensor, Tensor]:
    """Images (N, 1, size, size), float32 in [−1, 1], white ink on black, and labels
    (N,) long, 0 … 9.

    size: pixels a side, from 8 (as they were scanned) to 256; larger ones are bicubic.
    split: "all", "train" (the first 1,437) or "test" (the last 360). Raises ValueError for others.
    """
    from sklearn.datasets import load_digits  # takes half a second: only when asked for

    size = whole_number(size, "size", 8, 256)
    rows = SPLITS[one_of(split, SPLITS, "split")]
    digits = load_digits()
    images = torch.tensor(digits.images[rows], dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target[rows], dtype=torch.long)
    if size != 8:
        images = interpolate(images, size=(size, size), mode="bicubic").clamp(-1, 1)
    return images, labels
