"""What `benchmarks/unclip_table.py` stored for lesson 10, and how its rows are told apart."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from labkit.scenes.drawing import arrange, radii
from labkit.scenes.world import Scenes

STORED = Path(__file__).with_name("dalle2_table.json")


def stored(file: Path = STORED) -> dict:
    """The stored tables: `sentences`, by the embedding's origin, `guidance`, by model and scale,
    `variations` and `changes`; in each row a list of numbers for each column, one a picture. What
    was asked of the models stands beside them: steps, scale, number."""
    return json.loads(file.read_text("utf-8"))


def of(row: dict, name: str) -> Tensor:
    """One column of a row, (N,)."""
    return torch.tensor(row[name], dtype=torch.float64)


def mean_difference(one: Tensor, other: Tensor) -> tuple[float, float]:
    """By how much `one` (N,) is more than `other` on the same sentences, on average, and the
    standard error of that."""
    apart = one - other
    return apart.mean().item(), (apart.std() / len(apart) ** 0.5).item()


def elsewhere(drawn: Scenes, generator: torch.Generator) -> tuple[Scenes, Scenes]:
    """Scenes, and for each another with the same description: everything is in another place, and
    not quite as large. Those few are missing for which no other arrangement is found."""
    nested = (drawn.inside >= 0).any(1)
    radius = torch.where(drawn.present, radii(drawn.size, drawn.count, nested, generator), 0.0)
    x, y, found = arrange(radius, drawn.present, nested, generator)
    x, y = (torch.where(drawn.present, at, 0.0) for at in (x, y))
    return drawn.take(found), drawn._replace(x=x, y=y, radius=radius).take(found)
