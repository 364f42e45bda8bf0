"""Your own pictures: a folder, or a zip of one, with a folder of pictures for each class.

flowers/rose/001.jpg
flowers/tulip/17.png
"""

from __future__ import annotations

import io
import os
import re
import unicodedata
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from posixpath import commonpath
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps

from labkit.data import decode
from labkit.data.pictures import Pictures
from labkit.inputs import listed, short, whole_number

# What macOS, Windows and storage devices put into folders by themselves, beside hidden files.
LITTER = {
    "__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "icon\r", "@eadir",
    "system volume information",
}  # fmt: skip
MEMBER = 100_000_000  # bytes of one file in a zip, unpacked: a small zip can hold huge ones

Sources = dict[PurePosixPath, Path | zipfile.ZipInfo | None]  # by name; None is a folder


def load(path: str | Path, size: int = 32, channels: int = 3) -> Pictures:
    """All pictures below `path`, each cut to its central square and resized, in a stable order.

    The class is the name of the folder that a picture lies in; classes and pictures are ordered by
    alphabet, and numbers in their names by value: "img2" before "img10".
    size: pixels a side, 4 … 1024; channels: 3 for color, 1 for gray.

    `labkit.data.decode` says how a picture is read. Hidden files and what operating systems leave
    behind (.DS_Store, Thumbs.db, __MACOSX) do not count. Whatever else is left out is named in the
    result's `report` and in a warning: files that are no pictures or that Pillow cannot read here,
    pictures that lie beside the folders of the classes, folders without a picture.

    Raises ValueError if there is no such folder or zip, nothing in it is a picture, or one of the
    pictures cannot be read (it is named).
    """
    size = whole_number(size, "size", 4, 1024)
    if isinstance(channels, bool) or channels not in (1, 3):
        raise ValueError(f"channels is {short(channels)}, but must be 3 (color) or 1 (gray)")
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"path is {short(path)}, but must be the path of a folder or zip file")
    mode, channels = ("RGB", 3) if channels == 3 else ("L", 1)
    with _opened(Path(path)) as (sources, read):
        found, left_out = _sorted_out(sources)
        if not found:
            raise ValueError(
                f"{path} holds no pictures that can be read here "
                f"({listed(sorted(decode.readable()), most=30)}), but must hold a folder of "
                f"pictures for each class{left_out}"
            )
        pixels = np.empty((len(found), channels, size, size), np.uint8)
        for row, name in enumerate(found):
            with decode.named(_text(name)), read(sources[name]) as file:
                image = decode.decode(file, size, mode)
            if image.size != (size, size):  # resampling at the same size would only blur
                image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
            pixels[row] = np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)
    if left_out:
        warnings.warn(f"{path}{left_out}", stacklevel=2)
    classes = [_text(name.parent.name) for name in found]
    count = Counter(classes)
    names = tuple(sorted(count, key=natural))
    parts = (f"{name} ({count[name]})" for name in names)
    report = f"{path}: {len(found)} pictures of {len(names)} classes, {listed(parts, most=20)}"
    labels = torch.tensor([names.index(name) for name in classes])
    return Pictures(torch.from_numpy(pixels), labels, names, report + left_out)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Sources, Callable]]:
    """What lies in a folder or zip, and a function that opens the source of a file."""
    if path.is_dir():
        path = path.resolve()
        yield dict(_below(path, PurePosixPath(path.name))), lambda file: file.open("rb")
    elif path.is_file() and zipfile.is_zipfile(path):
        try:
            archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise ValueError(f"{path} is a damaged zip file ({error}): make it anew") from None
        with archive:
            sources = dict(_members(archive, PurePosixPath(path.stem)))
            yield sources, partial(_member, archive)
    else:
        raise ValueError(
            f"{path} is no folder and no zip file (or one that was cut short): give the path of "
            "one or the other"
        )


def _below(folder: Path, name: PurePosixPath, above: tuple[Path, ...] = ()) -> Iterator:
    """All folders and files below, through symbolic links too, but not around in circles."""
    real = folder.resolve()
    if real in above:
        return
    yield name, None
    for entry in folder.iterdir():
        if _is_litter(entry.name):
            continue
        if entry.is_dir():
            yield from _below(entry, name / entry.name, (*above, real))
        elif entry.is_file() or entry.is_symlink():  # a link to nothing is named when it is read
            yield name / entry.name, entry


def _members(archive: zipfile.ZipFile, top: PurePosixPath) -> Iterator:
    """The same of a zip. Its names may have backslashes, "./" in front, or an unmarked UTF-8."""
    for info in archive.infolist():
        text = info.filename
        if not info.flag_bits & 0x800:  # zipfile took it for the old code page of DOS
            with suppress(UnicodeError):
                text = text.encode("cp437").decode("utf-8")
        parts = [part for part in re.split(r"[\\/]", text) if part not in ("", ".", "..")]
        if not any(map(_is_litter, parts)):
            yield top.joinpath(*parts), None if text.endswith(("/", "\\")) else info


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> BinaryIO:
    if info.flag_bits & 0x1:
        raise ValueError("it is encrypted: unpack the zip and give the folder")
    if info.file_size > MEMBER:
        raise ValueError(
            f"it unpacks to {info.file_size / 1e6:,.0f} MB, but a file in a zip may have "
            f"{MEMBER / 1e6:.0f}: make it smaller, or unpack the zip and give the folder"
        )
    with archive.open(info) as stream, decode.quiet():
        decode.header(stream)  # raises for what is no picture, before it is unpacked
    return io.BytesIO(archive.read(info))  # whole, so that its checksum is compared


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def _sorted_out(sources: Sources) -> tuple[list[PurePosixPath], str]:
    """The names of the pictures in order, and what is left out, in words."""
    readable = decode.readable()
    files = [name for name, source in sources.items() if source is not None]
    found = [name for name in files if name.suffix.lower() in readable]
    others = set(files).difference(found)
    unread = {name for name in others if name.suffix.lower() in decode.SUFFIXES}
    top = PurePosixPath(commonpath(name.parent for name in found)) if found else None
    stray = {name for name in found if name.parent == top}
    if len(stray) == len(found):  # no folders of classes: this one is the class
        stray = set()
    found = sorted(set(found) - stray, key=natural)
    folders = {name.parent for name in files} | {name for name in sources if not sources[name]}
    empty = folders.difference({top}, *(name.parents for name in found))
    parts = {
        "files that Pillow cannot read here, so save them as JPEG or PNG": unread,
        "files that are no pictures": others - unread,
        "pictures beside the folders of the classes": stray,
        "folders without a picture": empty,
    }
    words = [
        f"{what} ({len(names)}: {listed(map(_text, sorted(names, key=natural)), most=4)})"
        for what, names in parts.items()
        if names
    ]
    return found, f"; left out: {'; '.join(words)}" if words else ""


def _text(name: object) -> str:
    """A name in one form: "é" is one letter or two to a file system; odd bytes and what controls a
    terminal become \\x.."""
    text = str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)
    return unicodedata.normalize("NFC", text)


def natural(name: object) -> list:
    """What to sort names by so that the numbers in them come by their value."""
    pieces = re.findall("([^0-9]*)([0-9]*)", _text(name))
    numbers = [(word, number.lstrip("0")) for word, number in pieces]
    return [[(word, len(number), number) for word, number in numbers], str(name)]
