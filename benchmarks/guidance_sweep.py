"""What the scale of guidance trades, on the shipped `adm-digits`, as a table in Markdown.

    python -m benchmarks.guidance_sweep [--by classifier-free|classifier] [--samples 1000] ...

As many samples of each class; precision, recall and distance in the features of
`classifier-digits`, the class by both classifiers, neither of which ever steers. `classifier`
guides lesson 03's unconditional network by the noisy classifier.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from benchmarks import tables
from labkit import metrics, zoo
from labkit.data import digits
from labkit.denoiser import MapX0, clip
from labkit.guidance import ClassifierFree, ScoreGuidance
from labkit.sampler import from_noise
from labkit.systems.adm import ADM

SCALES = {
    "classifier-free": (0.0, 1.0, 1.15, 1.3, 1.6, 2.0, 3.0, 5.0, 8.0),
    "classifier": (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0),
}
CHUNK = 250  # pictures sampled at once


Guided = Callable[[Tensor, float], tuple]  # (labels, scale) → a denoiser and its condition


def classifier_free(system: ADM) -> Guided:
    """Guidance of a system that was trained with and without the label."""
    return lambda labels, scale: (
        ClassifierFree(system.denoiser, system.null, scale),
        system.encode(labels),
    )


def by_classifier() -> Guided:
    """Lesson 03's unconditional network, guided by the noisy classifier."""
    guide, denoise = zoo.load("noisy-classifier-digits"), zoo.load("ddpm-digits").denoiser
    return lambda labels, scale: (ScoreGuidance(denoise, guide.log_prob(labels), scale), None)


def draw(guided: Guided, labels: Tensor, scale: float, steps: int, seed: int) -> Tensor:
    """A digit for each label, (B, 1, 16, 16), by deterministic DDIM."""
    denoise, cond = guided(labels, scale)
    shape = (len(labels), 1, 16, 16)
    *_, last = from_noise(MapX0(denoise, clip), shape, steps, seed=seed, cond=cond)
    return last.x


def evaluate(guided: Guided, scale: float, samples: int, steps: int, seed: int) -> list[float]:
    """Fréchet distance by both classifiers, precision, recall, inception-like score, and the share
    of the right class by both."""
    labels = torch.arange(samples) % 10
    parts = enumerate(labels.split(CHUNK))
    images = torch.cat([draw(guided, part, scale, steps, 1000 * seed + i) for i, part in parts])
    distances, right = [], []
    for name in ("classifier-digits-b", "classifier-digits"):
        net = zoo.load(name)
        real, fake = metrics.see(net, digits.load(16)[0]), metrics.see(net, images)
        distances.insert(0, metrics.frechet_distance(real.features, fake.features))
        right.insert(0, (fake.probs.argmax(1) == labels).double().mean().item())
    precision, recall = metrics.precision_recall(real.features, fake.features)
    return [*distances, precision, recall, metrics.inception_score(fake.probs), *right]


def table(guided: Guided, scales: Iterable[float], samples: int, steps: int, seeds: int) -> None:
    """Prints what `evaluate` says at each scale: the mean over seeds, and their spread."""
    names = ("distance", "other", "precision", "recall", "score", "right class", "other")
    print(tables.head("scale", *names))
    for scale in scales:
        runs = [evaluate(guided, scale, samples, steps, seed) for seed in range(seeds)]
        print(tables.row(f"{scale:g}", runs, digits=4), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--by", choices=list(SCALES), default="classifier-free")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    free = given.by == "classifier-free"
    guided = classifier_free(zoo.load("adm-digits")) if free else by_classifier()
    table(guided, SCALES[given.by], given.samples, given.steps, given.seeds)


if __name__ == "__main__":
    main()
