"""A photograph as the released models expect it."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from labkit.data import decode
from labkit.inputs import short, whole_number


def look(photo: str | Path | BinaryIO | Image.Image, size: int = 224) -> Tensor:
    """A photograph as the released models expect it: (1, 3, size, size) in [−1, 1].

    `labkit.data.decode` says how it is read. Its shorter side is resized to ``size`` by bicubic
    interpolation, and the center is cut out, as CLIP's code does. Raises ValueError for what is
    no picture.
    """
    size = whole_number(size, "size", 1, 4096)
    hint = "give the path of a JPEG or PNG file, or a PIL image"
    with decode.named(f"photo is {short(photo)}, which", hint):
        image = decode.decode(photo, size, exact=True)
    reach = 10 * min(image.size)
    if max(image.size) > reach:  # long and thin: the ends would only be resized to be cut off
        image = middle(image, *(min(side, reach) for side in image.size))
    shorter = min(image.size)
    sides = tuple(int(size * side / shorter) for side in image.size)
    image = middle(image.resize(sides, Image.Resampling.BICUBIC), size, size)
    pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)
    return pixels[None].float() / 127.5 - 1


def middle(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))
