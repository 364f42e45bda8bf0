"""What pictures of sentences show of them, as a table in Markdown.

    python -m benchmarks.text_to_scenes [--weights FILE] [--samples 200] [--seeds 3] [--scale 3]
                                        [--eta 1] [--steps 25] [--grid PICTURE]

FILE: what `labkit train glide-scenes` wrote, or the ``.run`` of a training that goes on; without
it, the shipped weights. Each seed has its own sentences and its own noise. *Parts*: the share of
what is said that the attribute reader sees; *whole*: of sentences with all of it; *scenes*: of
pictures that are scenes at all. The rows *unseen* ask for combinations that training never showed,
*shuffled* compares pictures with the sentences of others, *real* is the ceiling: real pictures of
the same sentences. Under each row, *second* is the same pictures in the eyes of a second reader,
built and trained apart from the first; the last line says how far apart the two are at most.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import tables
from labkit import checkpoint, scenes, zoo
from labkit.lab import plots
from labkit.scenes.scores import caption_accuracy, valid

COLUMNS = ("parts", "whole", "scenes", "shapes", "colors", "relations")
READERS = ("reader-scenes", "reader-scenes-b")


def system_of(path: Path | None, name: str = "glide-scenes") -> nn.Module:
    """The trained system, or the average of a run that goes on."""
    if path is None or "run" not in checkpoint.read_about(path):
        return zoo.load(name, path)
    tensors, about = checkpoint.load(path)
    made = zoo.recipe(name)
    system = made.system(made.config).eval()
    own = {name[4:]: value for name, value in tensors.items() if name.startswith("ema.")}
    checkpoint.fill(system, own, path)
    print(f"a run after {about['step']} steps")
    return system


def evaluate(pictures: Tensor, captions: list[str], reader: str = READERS[0]) -> list[float]:
    """The figures of one seed in the eyes of that reader, in the order of the columns."""
    seen = zoo.load(reader).read(pictures)
    shown = caption_accuracy(seen, captions)
    kinds = [shown.kinds.get(kind, float("nan")) for kind in ("shape", "color", "relation")]
    scene = valid(seen, pictures).double().mean().item()
    return [shown.parts, shown.complete, scene, *kinds]


class Table:
    """Prints rows as both readers see them, and keeps how far apart they were."""

    def __init__(self):
        self.apart = {}  # a row's name and column → points of difference
        print(tables.head("sentences, scale", *COLUMNS))

    def row(self, name: str, pairs: Sequence[tuple[Tensor, list[str]]]) -> None:
        """pairs: for each seed the pictures and their sentences."""
        first, second = ([evaluate(*pair, reader) for pair in pairs] for reader in READERS)
        print(tables.row(name, first, 3))
        print(tables.row("second", second, 3), flush=True)
        gaps = (torch.tensor(first).mean(0) - torch.tensor(second).mean(0)).abs().tolist()
        self.apart |= {(name, column): gap for column, gap in zip(COLUMNS, gaps) if gap == gap}

    def close(self) -> None:
        (name, column), gap = max(self.apart.items(), key=lambda item: item[1])
        print(f"The readers differ most in {column} of {name}: by {100 * gap:.1f} points")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--scale", type=float, action="append")
    parser.add_argument("--eta", type=float, default=1.0)
    parser.add_argument("--grid", type=Path, help="the first 64 pictures of the last row drawn")
    given = parser.parse_args()
    system, drawn = system_of(given.weights), []
    table = Table()
    for split in ("train", "unseen"):
        truths = [scenes.draw(given.samples, 10_007 + seed, split) for seed in range(given.seeds)]
        asked = [scenes.captions(truth, seed) for seed, truth in enumerate(truths)]
        for scale in given.scale or [1.0, 3.0]:
            started, drawn = time.process_time(), []
            for seed, captions in enumerate(asked):
                *_, last = system.generate(
                    captions, steps=given.steps, scale=scale, seed=seed, eta=given.eta
                )
                drawn.append(last.x.clamp(-1, 1))
            spent = (time.process_time() - started) / given.samples / given.seeds
            table.row(f"{split}, scale {scale:g} ({spent:.2f} s a picture)", [*zip(drawn, asked)])
        others = [captions[1:] + captions[:1] for captions in asked]
        table.row(f"{split}, shuffled", [*zip(drawn, others)])
        real = [scenes.render(truth, 32) for truth in truths]
        table.row(f"{split}, real", [*zip(real, asked)])
        if given.grid and split == "train":
            for caption in asked[-1][:16]:
                print("   ", caption)
            grid = plots.image_grid(drawn[-1][:64])
            checkpoint.write_whole(given.grid, plots.in_format(grid, "PNG"))
    table.close()


if __name__ == "__main__":
    main()
