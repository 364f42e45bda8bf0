"""Scenes of 64 pixels from a sentence, drawn in latents and in pixels, as a table in Markdown.

    python -m benchmarks.latent_diffusion NAME[=FILE] … [--samples 200] [--seeds 3] [--steps 25]
                                          [--scale 3] [--grid PICTURE]

NAME: of a recipe, such as ldm-scenes and glide-scenes-64; FILE: what `labkit train` wrote for it,
or the ``.run`` of a training that goes on; without it, the shipped weights. Each seed has its own
sentences, the same for all models, and its own noise.

*Parts*: the share of what is said that the attribute reader sees in pictures halved to the 32
pixels that it knows; *whole*: of sentences with all of it; *scenes*: of pictures that are scenes at
all; *pictures/s*: drawn and decoded, per second of one core. *Real* is the ceiling: real pictures
of the same sentences; *shuffled* compares those of the last model with the sentences of others.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks import tables, text_to_scenes
from benchmarks.text_to_scenes import system_of
from labkit import checkpoint, scenes
from labkit.lab import plots

COLUMNS = ("parts", "whole", "scenes", "pictures/s")
FIRST = 30_011  # the seed of the first sentences
ROWS = 50  # drawn at a time


def evaluate(pictures: Tensor, captions: list[str], rate: float = math.nan) -> list[float]:
    """The figures of one seed, in the order of the columns."""
    small = F.avg_pool2d(pictures, pictures.shape[-1] // 32)
    return [*text_to_scenes.evaluate(small, captions)[:3], rate]


def draw(system: nn.Module, captions: list[str], seed: int, **options) -> tuple[Tensor, float]:
    """Pictures (N, 3, 64, 64) of the sentences, and how many came per second of one core."""
    started, drawn = time.process_time(), []
    if hasattr(system, "stages"):  # of a cascade the base; its upsamplers as they usually are
        options = {key: {next(iter(system.stages)): value} for key, value in options.items()}
    for first in range(0, len(captions), ROWS):
        own = 10_000 * seed + first
        *_, last = system.generate(captions[first : first + ROWS], seed=own, **options)
        drawn.append(last.pictures)
    return torch.cat(drawn), len(captions) / (time.process_time() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+")
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--scale", type=float, default=3.0)
    parser.add_argument("--grid", type=Path, help="a row of the first twelve pictures by each name")
    given = parser.parse_args()
    truths = [scenes.draw(given.samples, FIRST + seed, "train") for seed in range(given.seeds)]
    asked = [scenes.captions(truth, seed) for seed, truth in enumerate(truths)]
    print(tables.head("", *COLUMNS))
    real = [scenes.render(truth, 64) for truth in truths]
    print(tables.row("real", [evaluate(*pair) for pair in zip(real, asked)], 3), flush=True)
    grid, rows = [real[0][:12]], []
    for name in given.names:
        name, _, path = name.partition("=")
        system = system_of(Path(path) if path else None, name)
        options = {"steps": given.steps, "scale": given.scale}
        rows = [draw(system, captions, seed, **options) for seed, captions in enumerate(asked)]
        found = [evaluate(made, said, rate) for (made, rate), said in zip(rows, asked)]
        print(tables.row(name, found, 3), flush=True)
        grid.append(rows[0][0][:12])
    others = [
        evaluate(made, said[1:] + said[:1]) for (made, _), said in zip(rows, asked, strict=True)
    ]
    print(tables.row(f"{name}, shuffled", others, 3))
    if given.grid:
        picture = plots.image_grid(torch.cat(grid), columns=len(grid[0]))
        checkpoint.write_whole(given.grid, plots.in_format(picture, "PNG"))


if __name__ == "__main__":
    main()
