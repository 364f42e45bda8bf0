"""The distances of lesson 04: how they are measured, and what `benchmarks/ddim_table.py` stored."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from labkit import metrics
from labkit.metrics.report import half_rows

STORED = Path(__file__).with_name("ddim_table.json")
SPLITS = 5


def views(classifier, images: Tensor) -> list[Tensor]:
    """The two spaces of a distance: a classifier's features, and the pixels, each (N, D)."""
    return [metrics.see(classifier, images).features, metrics.quantize(images).flatten(1)]


def distances(real: list[Tensor], fake: list[Tensor]) -> list[float]:
    """Fréchet distance in each space to a random half of the real ones: means over the splits."""
    found = []
    for split in range(SPLITS):
        reference, _ = half_rows(len(real[0]), split)
        pairs = zip(real, fake, strict=True)
        found.append([metrics.frechet_distance(known[reference], new) for known, new in pairs])
    return torch.tensor(found, dtype=torch.float64).mean(0).tolist()


def floor(real: list[Tensor]) -> list[list[float]]:
    """What the half scores that is held out, for each split."""
    found = []
    for split in range(SPLITS):
        reference, held_out = half_rows(len(real[0]), split)
        found.append([metrics.frechet_distance(x[reference], x[held_out]) for x in real])
    return found


def stored(file: Path = STORED) -> dict:
    """The stored table: floor (splits, 2), and cells by sampler and steps, each (seeds, 2); the
    columns are the classifier's features and the pixels."""
    return json.loads(file.read_text("utf-8"))


def spread(runs: Sequence[Sequence[float]], space: int) -> str:
    """Mean ± standard deviation in one space; of one run only the number."""
    values = torch.tensor(runs, dtype=torch.float64)[:, space]
    return f"{values.mean():.4f}" + (f" ±{values.std():.4f}" if len(values) > 1 else "")


def gap(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]], space: int) -> float:
    """How many standard errors `one` lies above `other`. Run by run: a run of both rows starts
    from the same noise, so its difference is known better than the two means."""
    pairs = zip(one, other, strict=False)
    apart = torch.tensor([a[space] - b[space] for a, b in pairs], dtype=torch.float64)
    return (apart.mean() / (apart.std() / len(apart) ** 0.5)).item()


def show(head: str, columns: Sequence, rows: dict[str, Sequence], width: int = 10) -> None:
    """Prints a table: a name and its cells in each line."""
    print(f"{head:16}" + "".join(f"{column:>{width}}" for column in columns))
    for name, cells in rows.items():
        room = 16 + name.count("\u0302")  # the hat of σ̂ takes no room
        print(f"{name:{room}}" + "".join(f"{cell:>{width}}" for cell in cells))
