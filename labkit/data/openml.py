"""MNIST, Fashion-MNIST and CIFAR-10, fetched once by scikit-learn from OpenML, then from its cache.

scikit-learn checks each download against OpenML's checksum and keeps it in its data folder
(`~/scikit_learn_data`, or the environment variable SCIKIT_LEARN_DATA).
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from labkit.data.pictures import Pictures
from labkit.inputs import one_of


class Source(NamedTuple):
    """Where a set lies and what its rows mean."""

    openml: str
    shape: tuple[int, int, int]  # (C, S, S) of a row
    names: tuple[str, ...]
    megabytes: int  # of the download, about


SETS = {
    "mnist": Source("mnist_784", (1, 28, 28), tuple("0123456789"), 15),
    "fashion-mnist": Source(
        "Fashion-MNIST",
        (1, 28, 28),
        ("t-shirt", "trouser", "pullover", "dress", "coat",
         "sandal", "shirt", "sneaker", "bag", "ankle boot"),
        30,
    ),
    "cifar10": Source(
        "CIFAR_10",
        (3, 32, 32),
        ("airplane", "automobile", "bird", "cat", "deer",
         "dog", "frog", "horse", "ship", "truck"),
        180,
    ),
}  # fmt: skip


def load(name: str) -> Pictures:
    """The whole set of that name, "mnist", "fashion-mnist" or "cifar10", at its own size.

    The first call needs a network; later ones take it from the cache. Raises ValueError for an
    unknown name, ConnectionError, saying what to do, where it can be neither fetched nor found.
    """
    from sklearn.datasets import fetch_openml

    source = SETS[one_of(name, SETS, "set of pictures")]
    try:
        rows, labels = fetch_openml(
            source.openml, version=1, return_X_y=True, as_frame=False, parser="liac-arff"
        )
    except OSError as error:  # urllib's errors are of this kind
        raise ConnectionError(
            f"{name} is not in scikit-learn's cache and OpenML cannot be reached ({error}): "
            f"connect to a network once (it fetches about {source.megabytes} MB), or use your own "
            "pictures (labkit.data.folders; --pictures on the command line)"
        ) from None
    pixels = torch.as_tensor(rows.astype("uint8")).view(-1, *source.shape)
    return Pictures(pixels, torch.tensor([int(label) for label in labels]), source.names)
