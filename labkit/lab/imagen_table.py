"""What `benchmarks/imagen_table.py` stored for lesson 11: readers, thresholds, noise conditioning
augmentation, the cascade, and a small DrawBench."""

from __future__ import annotations

import json
from pathlib import Path

from labkit.lab.latent_table import column  # of tables of the same kind

__all__ = ["STORED", "column", "stored"]

STORED = Path(__file__).with_name("imagen_table.json")


def stored(file: Path = STORED) -> dict:
    """The stored tables: `readers`, `thresholds`, `augmentation`, `enlarged`, `cascade` and
    `drawbench`. Each has `columns`, and `rows`: by name a list of runs, each a list of figures.
    What was asked (samples a run, updates of training, steps of sampling) stands beside them.
    Numbers that a row does not have are None."""
    return json.loads(file.read_text("utf-8"))
