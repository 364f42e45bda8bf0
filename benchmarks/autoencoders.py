"""What an autoencoder keeps of a scene, and at what rate, as a table in Markdown.

    python -m benchmarks.autoencoders NAME[=FILE] … [--scenes 400] [--seeds 3] [--grid PICTURE]

NAME: of a recipe, such as autoencoder-scenes-f4; FILE: what `labkit train` wrote for it, or the
``.run`` of a training that goes on; without it, the shipped weights. Each seed has its own scenes,
none of which any training saw. The first line is what real pictures score.

*numbers*: how many a latent has, of the 12,288 of a picture; *nats*: of KL(q ‖ N(0, I)), each, or
the entropy of the entries that are used, which is small where most of a codebook is dead; *misfit*:
the root of the mean squared difference between a picture and its reconstruction, 0 … 2; *shape* …
*everything*: the share of objects, and of scenes, that the attribute reader still sees rightly, in
pictures halved to the 32 pixels that it knows; *neighbors*: the correlation of neighbors in a
latent: at 0 it looks like noise, and is hard to draw for a diffusion model; *pictures/s*: encoded
and decoded again, by the clock of this machine.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import tables
from benchmarks.text_to_scenes import system_of
from labkit import scenes, zoo
from labkit.lab import plots
from labkit.scenes.scores import agreement
from labkit.systems.autoencoder import FirstStage

KINDS = ("shape", "color", "fill", "size", "everything")
COLUMNS = ("numbers", "nats", "misfit", *KINDS, "neighbors", "pictures/s")
FIRST = 30_011  # the seed of the first scenes


def read(pictures: Tensor, truth: scenes.Scenes) -> list[float]:
    """The shares that the reader sees rightly."""
    seen = zoo.load("reader-scenes").read(F.avg_pool2d(pictures, pictures.shape[-1] // 32))
    scores = agreement(seen, truth)
    return [scores[kind] for kind in KINDS]


def neighbors(z: Tensor) -> float:
    """The correlation of each place of latents (N, C, h, w) with the next one in its row."""
    z = (z - z.mean((0, 2, 3), keepdim=True)) / z.std((0, 2, 3), keepdim=True)
    return (z[..., 1:] * z[..., :-1]).mean().item()


def entropy(entries: Tensor) -> float:
    """How much each of the entries (…,) long says, in nats: 0 if all are the same, log n if n of
    them are equally frequent."""
    shares = entries.unique(return_counts=True)[1] / entries.numel()
    return -(shares * shares.log()).sum().item()


@torch.no_grad()
def evaluate(stage: FirstStage, truth: scenes.Scenes) -> list[float]:
    """The figures of one seed, in the order of the columns."""
    net = stage.autoencoder
    pictures = scenes.render(truth, net.config.size)
    started = time.perf_counter()
    again = torch.cat([stage.reconstruct(part) for part in pictures.split(50)])
    spent = time.perf_counter() - started
    z = torch.cat([net.mean(part) for part in pictures.split(50)])
    if net.codebook:
        nats = entropy(net.codebook.nearest(z)) / net.config.latent
    else:
        kl = torch.cat([net.posterior(part).kl() for part in pictures.split(50)])
        nats = kl.mean().item() / z[0].numel()
    misfit = (again - pictures).square().mean().sqrt().item()
    rate = len(pictures) / spent
    return [z[0].numel(), nats, misfit, *read(again, truth), neighbors(z), rate]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="+")
    parser.add_argument("--scenes", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--grid", type=Path, help="a row of pictures, then theirs by each name")
    given = parser.parse_args()
    drawn = [scenes.draw(given.scenes, FIRST + seed, "all") for seed in range(given.seeds)]
    print(tables.head("", *COLUMNS))
    none = math.nan
    real = [[12_288, none, 0, *read(scenes.render(t, 64), t), none, none] for t in drawn]
    print(tables.row("real", real, 3))
    rows = [scenes.render(drawn[0].take(slice(0, 12)), 64)]
    for name in given.names:
        name, _, path = name.partition("=")
        stage = system_of(Path(path) if path else None, name)
        print(tables.row(name, [evaluate(stage, truth) for truth in drawn], 3), flush=True)
        rows.append(stage.reconstruct(rows[0]))
    if given.grid:
        grid = plots.image_grid(torch.cat(rows), columns=12)
        given.grid.write_bytes(plots.in_format(grid, "PNG"))


if __name__ == "__main__":
    main()
