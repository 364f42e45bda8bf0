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


def by_split(real: list[Tensor], fake: list[Tensor] | None = None) -> list[list[float]]:
    """For each split, the Fréchet distance in each space to a random half of the real ones: of
    `fake`, or of the half that is held out, which is the floor."""
    found = []
    for split in range(SPLITS):
        reference, held_out = half_rows(len(real[0]), split)
        others = [known[held_out] for known in real] if fake is None else fake
        pairs = zip(real, others, strict=True)
        found.append([metrics.frechet_distance(known[reference], new) for known, new in pairs])
    return found


def distances(real: list[Tensor], fake: list[Tensor]) -> list[float]:
    """Fréchet distance in each space to a random half of the real ones: means over the splits."""
    return torch.tensor(by_split(real, fake), dtype=torch.float64).mean(0).tolist()


def stored(file: Path = STORED) -> dict:
    """The stored table: floor (splits, 2), and cells by sampler and steps, each (seeds, 2); the
    columns are the classifier's features and the pixels."""
    return json.loads(file.read_text("utf-8"))


def spread(runs: Sequence[Sequence[float]], space: int) -> str:
    """Mean ± standard deviation in one space; of one run only the number."""
    values = torch.tensor(runs, dtype=torch.float64)[:, space]
    return f"{values.mean():.4f}" + (f" ±{values.std():.4f}" if len(values) > 1 else "")


def standard_errors_apart(
    one: Sequence[Sequence[float]], other: Sequence[Sequence[float]], space: int
) -> float:
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
