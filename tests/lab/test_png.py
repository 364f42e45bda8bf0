"""The quick writer of PNG files: what Pillow reads back is what was written."""

import io

import numpy as np
import pytest
from PIL import Image

from labkit.lab import png


def read(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as picture:
        picture.verify()  # the checksums
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (1, 1), (1, 9, 3), (300, 1)])
def test_a_picture_comes_back_as_it_was(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(read(png.write(image)), image)


def test_a_part_of_a_picture_is_written_without_the_rest():
    whole = np.random.default_rng(1).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    part = whole[3:17:2, ::-1, :3]
    assert np.array_equal(read(png.write(part)), part)


def test_even_areas_take_next_to_nothing():
    assert len(png.write(np.full((400, 800, 3), 255, np.uint8))) < 10_000
