r"""DDIM's table 1 on the shipped `ddpm-digits`: distance by sampler and number of steps.

    python -m benchmarks.ddim_table [--steps 5 10 20 50] [--seeds 5] [--rows NAME ...] [--out FILE]

Each cell samples half as many digits as there are real ones, once for each seed. They are compared
with a random half of the real digits, and so is the other half, which is the floor: all distances
are of equal N, and means over the same five splits. FILE is written after every run, and what it
holds is not run again. The defaults take about ten minutes of one core. The stored table has more
runs of some cells, which take another five minutes, and one of 1000 steps in two, three minutes
each:

    python -m benchmarks.ddim_table --seeds 10 --steps 5 10 20 \
        --rows "η = 0" "η = 0.2" "η = 0.5" "η = 1" "σ̂" 2M
    python -m benchmarks.ddim_table --seeds 10 --steps 50 --rows "η = 0" "η = 1"
    python -m benchmarks.ddim_table --seeds 1 --steps 1000 --rows "η = 1" "σ̂"
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from labkit import sampler, zoo
from labkit.data import digits
from labkit.denoiser import MapX0, clip
from labkit.lab import ddim_table
from labkit.lab.second_order import multistep
from labkit.schedule import trailing_spacing, uniform_spacing

FAMILY = {f"η = {eta:g}": partial(sampler.ddim, eta=eta) for eta in (0.0, 0.2, 0.5, 1.0)}
FAMILY["σ̂"] = partial(sampler.ddpm, v=1.0)
# a step, made afresh for each walk, and the spacing of its times
ROWS: dict[str, tuple[Callable, Callable]] = {
    **{name: (lambda step=step: step, uniform_spacing) for name, step in FAMILY.items()},
    "2M": (multistep, uniform_spacing),
    "η = 0, trailing": (lambda: FAMILY["η = 0"], trailing_spacing),
    "2M, trailing": (multistep, trailing_spacing),
}


def draw(denoise, count: int, steps: int, row: str, seed: int) -> Tensor:
    """That many digits (count, 1, 16, 16); start and noise of the steps come from the seed."""
    make, spacing = ROWS[row]
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(count, 1, 16, 16, generator=generator)
    times = denoise.schedule.timesteps(steps, spacing)
    *_, last = sampler.sample(denoise, start, times, step=make(), generator=generator)
    return last.x


def fill(file: Path, rows: list[str], steps: list[int], seeds: int, pictures: int | None) -> dict:
    """Measures what the file lacks, and writes each run down at once; the whole table."""
    images = digits.load(16)[0][:pictures]
    classifier = zoo.load("classifier-digits")
    denoise = MapX0(zoo.load("ddpm-digits").denoiser, clip)
    real, count = ddim_table.views(classifier, images), len(images) // 2
    table = ddim_table.stored(file) if file.exists() else {"cells": {}}
    table |= {"real": len(images), "samples": count, "floor": ddim_table.by_split(real)}
    for budget in steps:
        for seed in range(seeds):
            for row in rows:
                cell = table["cells"].setdefault(row, {}).setdefault(str(budget), [])
                if len(cell) <= seed:
                    made = draw(denoise, count, budget, row, 1000 + seed)
                    cell.append(ddim_table.distances(real, ddim_table.views(classifier, made)))
                    file.write_text(json.dumps(table, ensure_ascii=False, indent=1) + "\n", "utf-8")
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20, 50])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pictures", type=int, help="real ones; all by default")
    parser.add_argument("--out", type=Path, default=ddim_table.STORED)
    given = parser.parse_args()
    table = fill(given.out, given.rows, given.steps, given.seeds, given.pictures)
    for space, name in enumerate(("classifier-digits", "pixels")):
        print(f"{name}: floor {ddim_table.spread(table['floor'], space)}")
        for row, cells in table["cells"].items():
            found = (f"S = {s}: {ddim_table.spread(cell, space)}" for s, cell in cells.items())
            print(row, *found, sep="  ")


if __name__ == "__main__":
    main()
