"""Are painted photographs recognised by their class? An evaluator trained on real ones says.

    python -m benchmarks.photos_by_class CIFAR.zip [--weights FILE] [--samples 500] ...

CIFAR.zip: real pictures in a folder for each class. FILE: what `labkit train adm-cifar10` wrote;
without it, the shipped weights are tried. The evaluator, a `Classifier`, is trained on nine tenths
of the real pictures (a quarter of an hour of one core; a stopped run goes on where it was).
How often it is right about the tenth that it never saw is what a perfect model would reach.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import tables
from labkit import metrics, zoo
from labkit import train as training
from labkit.data import folders
from labkit.data.pictures import Pictures
from labkit.lab.plots import image_grid
from labkit.nets.classifier import Classifier, ClassifierConfig
from labkit.systems.adm import ADM

SCALES = (1.0, 2.0, 3.0, 5.0)
CHUNK = 100  # pictures sampled at once


def split(real: Pictures) -> tuple[Pictures, Pictures]:
    """Nine tenths to train on, and every tenth picture to be asked about."""
    kept = torch.arange(len(real.labels)) % 10 == 0
    return tuple(Pictures(real.bytes[p], real.labels[p], real.names) for p in (~kept, kept))


def evaluator_of(real: Pictures, steps: int, folder: Path) -> nn.Module:
    """A classifier of such pictures, with averaged weights."""
    config = ClassifierConfig(32, 3, len(real.names), widths=(32, 64, 128))
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    settings = {"lr": 2e-3, "weight_decay": 0.05, "ema": 0.995}
    run = folder / f"evaluator-of-photos-{steps}.run"
    batches = real.batches(128, flip=True)
    *_, last = training.train(Classifier(config), batches, steps, checkpoint=run, **settings)
    return last.ema


def paint(system: ADM, labels: Tensor, scale: float, steps: int, seed: int) -> Tensor:
    """A picture for each label, (B, 3, 32, 32)."""
    parts = []
    for number, part in enumerate(labels.split(CHUNK)):
        *_, last = system.generate(part, steps=steps, scale=scale, seed=1000 * seed + number)
        parts.append(last.x)
    return torch.cat(parts)


def recognised(evaluator: nn.Module, pictures: Tensor, labels: Tensor) -> list[float]:
    """The share of the right class, and the evaluator's mean confidence."""
    probs = metrics.see(evaluator, pictures).probs
    right = (probs.argmax(1) == labels).double().mean().item()
    return [right, probs.max(1).values.mean().item()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--steps", type=int, default=50, help="of sampling")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--evaluator-steps", type=int, default=1500)
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    parser.add_argument(
        "--grid", type=Path, help="where ten samples of each class go, as a picture"
    )
    given = parser.parse_args()

    system = zoo.load("adm-cifar10", given.weights)
    known, unseen = split(folders.load(given.pictures, 32))
    evaluator = evaluator_of(known, given.evaluator_steps, given.folder)
    print(tables.head("scale", "right class", "confidence"))
    right = recognised(evaluator, unseen.floats(slice(None)), unseen.labels)
    print(tables.row("real pictures", [right], digits=3), flush=True)
    labels = torch.arange(given.samples) % system.classes
    for scale in SCALES:
        painted = [paint(system, labels, scale, given.steps, seed) for seed in range(given.seeds)]
        runs = [recognised(evaluator, each, labels) for each in painted]
        print(tables.row(f"{scale:g}", runs, digits=3), flush=True)
        if given.grid:
            ten = painted[0][: 10 * system.classes]
            image_grid(ten, columns=system.classes, titles=known.names).savefig(
                given.grid.with_stem(f"{given.grid.stem}-{scale:g}")
            )


if __name__ == "__main__":
    main()
