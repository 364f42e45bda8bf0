"""How many of `ddpm-scenes`' pictures are scenes, by how they are sampled, as a table in Markdown.

    python -m benchmarks.valid_scenes [--samples 300] [--seeds 3]

*A scene at all*: what `labkit.scenes.scores.valid` says of what the attribute reader sees in them.
eta 1 draws new noise in every step (DDPM), eta 0 none (DDIM).
"""

from __future__ import annotations

import argparse

from torch import nn

from benchmarks import tables
from labkit import zoo
from labkit.scenes.scores import misfit, valid

WALKS = ((0.0, 25), (0.0, 50), (1.0, 25), (1.0, 50))


def evaluate(
    model: nn.Module, reader: nn.Module, eta: float, steps: int, samples: int, seed: int
) -> list[float]:
    """The share of scenes, and the median of the misfits."""
    *_, last = model.generate(samples, steps=steps, seed=seed, eta=eta)
    pictures = last.x.clamp(-1, 1)
    seen = reader.read(pictures)
    share = valid(seen, pictures).double().mean().item()
    return [share, misfit(seen, pictures).median().item()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    model, reader = zoo.load("ddpm-scenes"), zoo.load("reader-scenes")
    print(tables.head("eta, steps", "a scene at all", "median misfit"))
    for eta, steps in WALKS:
        runs = [
            evaluate(model, reader, eta, steps, given.samples, seed) for seed in range(given.seeds)
        ]
        print(tables.row(f"{eta:g}, {steps}", runs, digits=3), flush=True)


if __name__ == "__main__":
    main()
