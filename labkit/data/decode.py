"""The one reader of pictures: whatever a file holds becomes an upright, opaque, 8-bit picture.

Folders, zips and `labkit.hub.look` all read here, so the same file is the same picture everywhere:

- of an animation, a burst or a scan of many pages, the first picture;
- turned upright as its EXIF says; damaged EXIF is ignored;
- transparent parts lie on white, whatever color is hidden under them;
- gray of 16 bits is scaled to 8 bits, not cut at 255;
- color profiles (ICC) are ignored, as torchvision and CLIP's code ignore them.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

LIMIT = 64_000_000  # pixels; a decoded picture takes 4 bytes for each
BACKGROUND = (255, 255, 255)
# What counts as a picture by its name. Pillow cannot read all of them on every machine.
SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".gif", ".bmp", ".dib",
    ".tif", ".tiff", ".avif", ".heic", ".heif", ".jxl", ".jp2", ".j2k", ".qoi",
    ".ppm", ".pgm", ".pbm", ".pnm",
}  # fmt: skip
TURNS = {  # by the value of EXIF's Orientation; 1 is upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def readable() -> dict[str, str]:
    """The suffixes of pictures that Pillow reads on this machine, and the format of each."""
    formats = Image.registered_extensions()  # those of plug-ins such as pillow-heif as well
    return {suffix: formats[suffix] for suffix in SUFFIXES if formats.get(suffix) in Image.OPEN}


@contextmanager
def named(name: object, hint: str = "mend or remove it") -> Iterator[None]:
    """Whatever goes wrong inside becomes a ValueError that names the picture, with that hint."""
    try:
        yield
    except Exception as error:  # decoders raise errors of every kind for damaged files
        reason = str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "it is damaged or of a format that Pillow does not read here"
        raise ValueError(f"{name} cannot be read as a picture ({reason[:200]}): {hint}") from None


def decode(
    source: str | Path | BinaryIO | Image.Image, side: int, mode: str = "RGB", exact: bool = False
) -> Image.Image:
    """The picture in a file, as a PIL image of that mode, "RGB" or "L", at its own size.

    A JPEG may come at a half, a quarter or an eighth of its size, as long as its shorter side keeps
    four times the `side` that the caller needs: that takes a fraction of the memory and the time.
    With `exact`, only a JPEG beyond the LIMIT does.

    Raises what Pillow raises, and ValueError for more than LIMIT pixels: call it within `named`.
    """
    if isinstance(source, Image.Image):
        source.load()
        return flat(upright(source), mode)
    is_file = hasattr(source, "read")
    with nullcontext(source) if is_file else Path(source).open("rb") as file, quiet():
        image = header(file)
        large = image.width * image.height > LIMIT
        # A progressive JPEG is held whole while it is decoded, at whatever size it comes.
        if image.format in ("JPEG", "MPO") and not (large and image.info.get("progressive")):
            enough = side if large else 4 * side
            if large or not exact:
                image.draft(None, (enough, enough))
        if image.width * image.height > LIMIT:
            raise ValueError(
                f"it has {image.width:,} × {image.height:,} pixels, but at most "
                f"{LIMIT // 10**6} million are read: make it smaller"
            )
        image.load()
        return flat(upright(image), mode)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Pillow's warnings, which are about metadata that is not used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def header(file: BinaryIO) -> Image.Image:
    """The picture in a file, not decoded yet."""
    formats = set(readable().values())  # others may start programs: EPS is drawn by Ghostscript
    try:
        return Image.open(file, formats=[name for name in Image.ID if name in formats])
    except Image.DecompressionBombError:  # Pillow's limit holds for a JPEG of any scale, too
        file.seek(0)
        try:
            return JpegImageFile(file)
        except SyntaxError:
            raise ValueError(
                f"it has far more than the {LIMIT // 10**6} million pixels that are read at most: "
                "make it smaller"
            ) from None


def upright(image: Image.Image) -> Image.Image:
    """The image, turned or mirrored as its EXIF says."""
    try:
        turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # damaged EXIF raises errors of every kind
        return image
    return image if turn is None else image.transpose(turn)


def flat(image: Image.Image, mode: str) -> Image.Image:
    """The image in that mode, on the background where it is transparent."""
    if 0 in image.size:
        raise ValueError("it has no pixels")
    if image.mode.startswith(("I", "F")):
        image = eight_bits(image)
    if image.has_transparency_data:
        layer, image = as_mode(image, "RGBA"), Image.new("RGB", image.size, BACKGROUND)
        image.paste(layer, mask=layer)
    return as_mode(image, mode)


def as_mode(image: Image.Image, mode: str) -> Image.Image:
    """The image in that mode; itself, not a copy, if it is in that mode already."""
    return image if image.mode == mode else image.convert(mode)


def eight_bits(image: Image.Image) -> Image.Image:
    """Gray of more than 8 bits as 8 bits, with the gray that counts as transparent as such: 16 bits
    run from 0 to 65,535; 32 bits too, but to 255 if none is larger; floats from 0 to 1, or to 255
    if one is larger. Raises ValueError for values outside."""
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind == "f":
        top = 1 if high <= 1 else 255
    else:
        top = 255 if values.dtype.itemsize > 2 and high <= 255 else 65535
    if not 0 <= low <= high <= top:  # nor NaN
        raise ValueError(
            f"its gray runs from {low:g} to {high:g}, but may only run from 0 to 65535, or from 0 "
            "to 1 in floating point: save it with 8 bits"
        )
    if values.dtype.kind == "f":
        gray = Image.fromarray((values * (255 / top)).round().astype(np.uint8))
    else:
        table = np.round(np.arange(top + 1) * (255 / top)).astype(np.uint8)
        gray = Image.fromarray(table[values])
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        gray.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    return gray
