"""Lesson 14: what the systems reached that no other stored table has.

    python -m benchmarks.arc [--seeds 4] [--pictures 200] [--out FILE]

Of lessons 05 and 06, how many of 100 digits are of the class that was asked for, without guidance
and with it, in the eyes of a classifier that guides nothing; 20 DDIM steps, a set of noises for
each seed. Of lessons 07 and 13, R@1 from picture to sentence and back, among new scenes with five
captions each; captions that are true of another picture count neither way. About half a minute of
one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from labkit import zoo
from labkit.denoiser import MapX0, clip
from labkit.guidance import ScoreGuidance
from labkit.lab import arc, matching
from labkit.metrics import retrieval
from labkit.sampler import ddim, sample

STEPS, N = 20, 100
CLASSES = torch.arange(N) % 10


def right(pictures: Tensor) -> float:
    """The share of digits of the class that was asked for."""
    with torch.no_grad():
        return (zoo.load("classifier-digits")(pictures).argmax(1) == CLASSES).double().mean().item()


def by_classifier(scale: float, seed: int) -> float:
    model, guide = zoo.load("ddpm-digits").denoiser, zoo.load("noisy-classifier-digits")
    x = torch.randn(N, 1, 16, 16, generator=torch.Generator().manual_seed(seed))
    guided = ScoreGuidance(model, guide.log_prob(CLASSES), scale) if scale else model
    *_, final = sample(MapX0(guided, clip), x, model.schedule.timesteps(STEPS), None, step=ddim)
    return right(final.x.detach())


def free(scale: float, seed: int) -> float:
    model = zoo.load("adm-digits")
    *_, final = model.generate(CLASSES.tolist(), steps=STEPS, scale=scale, seed=seed)
    return right(final.x)


@torch.no_grad()
def recall(name: str, pictures: int) -> dict:
    system, held_out = zoo.load(name), matching.gallery(pictures, 70)
    images, texts = system.encode_image(held_out.pictures), system.encode_text(held_out.captions)
    scores = images @ texts.T if isinstance(images, Tensor) else system.scores(images, texts)
    own, neutral = retrieval.own_captions(pictures), held_out.neutral
    there = retrieval.recall_at(scores, 1, own, neutral)
    back = retrieval.recall_at(scores.T, 1, own.T, neutral.T)
    return {"pictures": pictures, "recall": [round(there, 4), round(back, 4)]}


def run(seeds: int, pictures: int, file: Path) -> dict:
    result = {}
    for name, way, scale in (
        ("noisy-classifier-digits", by_classifier, 4.0),
        ("adm-digits", free, 1.5),
    ):
        without, guided = ([way(s, seed) for seed in range(seeds)] for s in (0.0, scale))
        result[name] = {"scale": scale, "without": without, "guided": guided}
    for name in ("clip-scenes", "mmca-scenes"):
        result[name] = recall(name, pictures)
    file.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--out", type=Path, default=arc.STORED)
    given = parser.parse_args()
    print(json.dumps(run(given.seeds, given.pictures, given.out)))


if __name__ == "__main__":
    main()
