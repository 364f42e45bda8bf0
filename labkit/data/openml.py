"""MNIST, Fashion-MNIST and CIFAR-10 from OpenML, fetched once, then from scikit-learn's cache.

The cache is the one of scikit-learn's `fetch_openml` (`~/scikit_learn_data`, or the environment
variable SCIKIT_LEARN_DATA): what that has fetched is found here, and the other way round. But it
makes 64-bit floats of every pixel, twice, 3 GB for CIFAR-10. Here the rows become bytes at once.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import os
import secrets
import shutil
import urllib.request
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import torch

from labkit.data.pictures import Pictures
from labkit.fetch import failure
from labkit.inputs import one_of, short

ABOUT = "https://www.openml.org/api/v1/json/data/{}"  # where each file lies, and its checksum
PATIENCE = 30.0  # seconds without a byte
WRONG = (ValueError, LookupError, TypeError, EOFError, gzip.BadGzipFile, zlib.error)  # the content
OWN = "use your own pictures (labkit.data.folders; --pictures on the command line)"


class Source(NamedTuple):
    """Where a set lies and what its rows mean."""

    number: int  # at OpenML
    rows: int
    shape: tuple[int, int, int]  # (C, S, S) of a row
    names: tuple[str, ...]
    bytes: int  # of the download, about


SETS = {
    "mnist": Source(554, 70_000, (1, 28, 28), tuple("0123456789"), 15_000_000),
    "fashion-mnist": Source(
        40996, 70_000, (1, 28, 28),
        ("t-shirt", "trouser", "pullover", "dress", "coat",
         "sandal", "shirt", "sneaker", "bag", "ankle boot"),
        30_000_000,
    ),
    "cifar10": Source(
        40927, 60_000, (3, 32, 32),
        ("airplane", "automobile", "bird", "cat", "deer",
         "dog", "frog", "horse", "ship", "truck"),
        180_000_000,
    ),
}  # fmt: skip


def load(name: str) -> Pictures:
    """The whole set of that name, "mnist", "fashion-mnist" or "cifar10", at its own size.

    The first call needs a network; later ones take it from the cache. Raises ValueError for an
    unknown name, or if what came is not the set (it is removed, so that the next call fetches it);
    ConnectionError, saying what to do, if it can be neither fetched nor found; OSError if there is
    no room to keep it.
    """
    source, files = SETS[one_of(name, SETS, "set of pictures")], []
    try:
        files.append(kept(ABOUT.format(source.number)))
        about = json.loads(gzip.decompress(files[0].read_bytes()))["data_set_description"]
        files.append(kept(about["url"]))
        pixels, labels = read(files[1], source, about["md5_checksum"])
    except WRONG as error:
        for file in files:
            file.unlink()
        raise ValueError(
            f"{name} of OpenML was cut short or changed on the way ({short(error)}) and has been "
            f"removed: call again to fetch it anew, or {OWN}"
        ) from None
    except Exception as error:  # of the transport
        trouble = failure(error, f"{name} of OpenML", source.bytes, cache(), "SCIKIT_LEARN_DATA")
        raise type(trouble)(f"{trouble}; or {OWN}") from None
    return Pictures(pixels, labels, source.names)


def cache() -> Path:
    from sklearn.datasets import get_data_home  # takes half a second: only when asked for

    return Path(get_data_home(), "openml", "openml.org")


def kept(url: str) -> Path:
    """What lies at that address, in the cache, packed by gzip; fetched first if it is not there."""
    place = Path(urlsplit(url).path.strip("/") + ".gz")
    path = cache() / place
    if ".." in place.parts:  # the address comes from a file that was fetched
        raise ValueError(f"the address {short(url)} leads out of the cache")
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            packed = answer.headers.get("Content-Encoding") == "gzip"
            write = open if packed else partial(gzip.open, compresslevel=1)
            with write(part, "wb") as file:
                shutil.copyfileobj(answer, file)
        os.replace(part, path)  # whole or not at all
    finally:
        part.unlink(missing_ok=True)
    return path


def read(path: Path, source: Source, md5: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (N, C, S, S) uint8 and labels (N,) of a packed ARFF file: names of columns, then a
    row of numbers for each picture. Raises one of WRONG for another file."""
    pixels = np.empty((source.rows, *source.shape), np.uint8)
    labels = np.empty(source.rows, np.int64)
    row = 0
    with gzip.open(path) as file:
        lines = hashed(file, checksum := hashlib.md5())
        head = itertools.takewhile(lambda line: line.strip().lower() != b"@data", lines)
        columns = [line.split()[1] for line in head if line.lower().startswith(b"@attribute")]
        label = [column.strip(b"'\"").lower() for column in columns].index(b"class")
        rows = (line for line in lines if line.strip() and not line.startswith(b"%"))
        while block := list(itertools.islice(rows, 1000)):
            table = numbers(block)
            labels[row : row + len(table)] = table[:, label]
            pixels[row : row + len(table)] = np.delete(table, label, 1).reshape(-1, *source.shape)
            row += len(table)
    if row != source.rows or checksum.hexdigest() != md5:
        raise ValueError(f"{row:,} rows of {source.rows:,}, checksum {checksum.hexdigest()}")
    return torch.from_numpy(pixels), torch.from_numpy(labels)


def numbers(lines: list[bytes]) -> np.ndarray:
    """The numbers of some rows as bytes, (rows, columns)."""
    try:
        return np.loadtxt(lines, np.uint8, delimiter=",", ndmin=2)
    except ValueError:  # whole numbers may be written as "59.0", which takes seven times as long
        floats = np.loadtxt(lines, np.float32, delimiter=",", ndmin=2)
        if not ((floats >= 0) & (floats <= 255)).all():
            raise
        return floats.astype(np.uint8)


def hashed(lines, checksum) -> Iterator[bytes]:
    """Those lines, which are added to the checksum on the way."""
    for line in lines:
        checksum.update(line)
        yield line
