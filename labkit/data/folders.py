"""Your own pictures: a folder, or a zip of one, with a folder of pictures for each class.

flowers/rose/001.jpg
flowers/tulip/17.png
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from labkit.data.pictures import Pictures
from labkit.inputs import short, whole_number

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif"}


def load(path: str | Path, size: int = 32, channels: int = 3) -> Pictures:
    """All pictures below `path`, each cut to its central square and resized, in a stable order.

    The class is the name of the folder that a picture lies in; classes are numbered by alphabet.
    size: pixels a side, 4 … 1024; channels: 3 for color, 1 for gray.
    Raises ValueError if there is no such folder or zip, nothing in it is a picture, or one of the
    pictures cannot be read (it is named).
    """
    size = whole_number(size, "size", 4, 1024)
    if channels not in (1, 3):
        raise ValueError(f"channels is {short(channels)}, but must be 3 (color) or 1 (gray)")
    mode = "RGB" if channels == 3 else "L"
    with _opened(Path(path)) as (files, read):
        found = sorted(filter(_is_picture, files))
        if not found:
            raise ValueError(
                f"{path} holds no pictures ({', '.join(sorted(SUFFIXES))}) in folders, but must "
                "hold a folder of pictures for each class"
            )
        pixels = np.empty((len(found), size, size, channels), np.uint8)
        for row, name in enumerate(found):
            pixels[row] = _decode(name, read(name), size, mode).reshape(size, size, channels)
    names = tuple(sorted({name.parent.name for name in found}))
    labels = torch.tensor([names.index(name.parent.name) for name in found])
    return Pictures(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), labels, names)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[list[PurePosixPath], Callable]]:
    """The names of all files in a folder or zip, and a function that reads one of them."""
    if path.is_dir():
        path = path.resolve()
        files = (file.relative_to(path.parent) for file in path.rglob("*") if file.is_file())
        names = [PurePosixPath(file.as_posix()) for file in files]
        yield names, lambda name: (path.parent / name).read_bytes()
    elif path.is_file() and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            yield (
                [PurePosixPath(name) for name in archive.namelist()],
                (lambda name: archive.read(str(name))),
            )
    else:
        raise ValueError(f"{path} is no folder and no zip file: give the path of one or the other")


def _is_picture(name: PurePosixPath) -> bool:
    hidden = any(part.startswith((".", "__MACOSX")) for part in name.parts)
    return not hidden and name.suffix.lower() in SUFFIXES and name.parent.name != ""


def _decode(name: PurePosixPath, data: bytes, size: int, mode: str) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(data)) as image:
            square = ImageOps.exif_transpose(image).convert(mode)
            if square.size != (size, size):  # resampling at the same size would only blur
                square = ImageOps.fit(square, (size, size), Image.Resampling.LANCZOS)
            return np.asarray(square)
    except (UnidentifiedImageError, OSError, ValueError, zipfile.BadZipFile, SyntaxError) as error:
        raise ValueError(
            f"{name} cannot be read as a picture ({error}): mend or remove it"
        ) from None
