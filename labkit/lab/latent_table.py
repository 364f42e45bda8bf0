"""What `benchmarks/latent_table.py` stored for lesson 12: autoencoders, the sweep over f, and
latent diffusion beside pixels."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

STORED = Path(__file__).with_name("latent_table.json")


def stored(file: Path = STORED) -> dict:
    """The stored tables: `autoencoders`, `sweep` and `models`. Each has `columns`, and `rows`: by
    name a list of runs, each a list of figures. What was asked (scenes or samples, seconds of
    training, steps and scale of sampling) stands beside them. Numbers that a row does not have are
    None."""
    return json.loads(file.read_text("utf-8"))


def column(table: dict, row: str, name: str) -> Tensor:
    """One figure of one row, of each of its runs, (runs,). Raises KeyError, ValueError for a row or
    a column that is not there."""
    place = table["columns"].index(name)
    runs = [run[place] for run in table["rows"][row]]
    return torch.tensor([float("nan") if x is None else x for x in runs], dtype=torch.float64)
