"""The capstone of lesson 14: what a pipeline from sentences to pictures shows of its sentences.

    marks = benchmark(pipeline, number=20)
    leaderboard(marks, number=20)

A pipeline is a function of captions and a seed; it returns a picture for each caption. It is asked
ten captions at a time, so that the first sentences of a short and of a long run are the same, with
the same seeds. Every second ten are about combinations that training never showed. Pictures are
read by `reader-scenes`, which guides none of the shipped systems.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit import scenes, zoo
from labkit.data.pictures import quantize
from labkit.inputs import short, whole_number
from labkit.scenes.scores import shown_parts, valid

STORED = Path(__file__).with_name("capstone.json")  # by `benchmarks/capstone.py`
TEN = 10  # captions at a time
SIDE = 32  # pixels that the reader looks at
NUMBER = 60  # of sentences that the stored marks are about
PIPELINES = {  # the course's own: the system, and how it is sampled
    "08 semantic guidance": ("sdg-scenes", {"steps": 50, "eta": 1.0}),
    "09 GLIDE, 32 pixels": ("glide-scenes", {"steps": 25, "scale": 3.0, "eta": 1.0}),
    "09 GLIDE, 64 pixels": ("glide-scenes-64", {"scale": 3.0, "eta": 1.0}),
    "10 DALL·E 2": ("dalle2-scenes", {"scale": 3.0, "eta": 1.0}),
    "11 Imagen": (
        "imagen-scenes",
        {"steps": {"base": 25, "sr64": 8, "sr128": 8}, "eta": {"base": 1.0}},
    ),
    "12 latent diffusion": ("ldm-scenes", {"steps": 25, "scale": 3.0, "eta": 1.0}),
}

Pipeline = Callable[[list[str], int], Tensor]


class NoPictures(ValueError):
    """What a pipeline returned is not a picture for each caption."""


class Asked(NamedTuple):
    """Ten sentences, and a real picture of each."""

    captions: list[str]
    real: Tensor  # (10, 3, 32, 32) in [−1, 1]


class Marks(NamedTuple):
    """What the pictures of N sentences show, one number for each sentence."""

    shown: Tensor  # (N,) parts of the sentence that the reader finds
    said: Tensor  # (N,) parts of the sentence
    valid: Tensor  # (N,) bool, whether the picture is a scene at all
    seconds: float  # of processor time a picture

    @property
    def parts(self) -> float:
        """The share of all parts that is shown."""
        return (self.shown.sum() / self.said.sum()).item()

    @property
    def error(self) -> float:
        """Its standard error over the sentences."""
        return _error(self.shown - self.parts * self.said, self.said)

    @property
    def whole(self) -> float:
        """The share of sentences with all parts shown."""
        return (self.shown == self.said).double().mean().item()


@cache
def asked(ten: int) -> Asked:
    """The ten sentences of that number, 0 the first."""
    drawn = scenes.draw(TEN, 90_000 + ten, "unseen" if ten % 2 else "train")
    return Asked(scenes.captions(drawn, ten), scenes.render(drawn, SIDE))


def benchmark(pipeline: Pipeline, number: int = 20) -> Marks | None:
    """Asks the pipeline for pictures of the first ``number`` sentences, a multiple of ten; None if
    it returns None. Raises NoPictures for what is no picture for each caption, ValueError for
    another number."""
    if whole_number(number, "number", TEN) % TEN:
        raise ValueError(f"number is {number}, but the sentences come in tens: give a multiple")
    spent, pictures, captions = 0.0, [], []
    for ten in range(number // TEN):
        before = time.process_time()
        made = pipeline(list(asked(ten).captions), ten)
        spent += time.process_time() - before
        if made is None:
            return None
        pictures.append(small(made, TEN))
        captions += asked(ten).captions
    return _marks(torch.cat(pictures), captions, spent / number)


def small(pictures: Tensor, number: int) -> Tensor:
    """That number of pictures as the reader takes them, (number, 3, 32, 32), as if from a file.
    Raises NoPictures for what is none."""
    if not isinstance(pictures, Tensor) or pictures.dim() != 4 or pictures.shape[1] != 3:
        raise NoPictures(f"a pipeline returns pictures (B, 3, S, S), but got {short(pictures)}")
    count, _, height, width = pictures.shape
    if count != number or height != width or height % SIDE:
        raise NoPictures(
            f"the pictures have shape {tuple(pictures.shape)} for {number} captions: return one "
            f"for each, square, with a multiple of {SIDE} pixels a side"
        )
    pictures = pictures.detach().float().cpu()
    if not pictures.isfinite().all() or pictures.abs().max() > 1 + 1e-4:
        raise NoPictures("the pictures leave [−1, 1]: clamp them, pictures.clamp(-1, 1)")
    return quantize(F.avg_pool2d(pictures, height // SIDE))


def ceiling(number: int = 20) -> Marks:
    """The marks of real pictures of the sentences."""
    return benchmark(lambda captions, ten: asked(ten).real, number)


def floor(number: int = 20) -> Marks:
    """The marks of real pictures of other sentences: those of the ten, each one place further."""
    return benchmark(lambda captions, ten: asked(ten).real.roll(1, 0), number)


def course(name: str) -> Pipeline:
    """One of `PIPELINES`. Raises FileNotFoundError where its weights are not there yet."""
    system, options = PIPELINES[name]
    model = zoo.load(system).requires_grad_(False)

    def pipeline(captions: list[str], seed: int) -> Tensor:
        *_, final = model.generate(captions, seed=seed, **options)
        return final.pictures

    return pipeline


def mark(pipeline: Pipeline, number: int = 20) -> Marks | None:
    """Prints the leaderboard with that pipeline, or what is wrong with its pictures."""
    try:
        yours = benchmark(pipeline, number)
    except NoPictures as wrong:
        print(f"✗ {wrong}")
        return None
    if yours is None:
        print("… still to do: the pipeline returns None. Return a picture for each caption.")
        return None
    leaderboard(yours, number)
    best = max(stored(number).items(), key=lambda row: row[1].parts, default=None)
    if best:
        gained, error = ahead(yours, best[1])
        print(f"\nyours − {best[0]}: {gained:+.3f} ± {error:.3f}, on the same sentences")
    return yours


def trained(system: str) -> bool:
    """Whether labkit has weights of that system, of all of its parts."""
    made = zoo.recipe(system)
    if made.parts:
        return all(map(trained, made.parts.values()))
    return (zoo.WEIGHTS / f"{system}.safetensors").exists()


def stored(number: int, file: Path = STORED) -> dict[str, Marks]:
    """The stored marks of the course's pipelines in the first ``number`` sentences."""
    found = {}
    for name, row in json.loads(file.read_text("utf-8")).items():
        shown, said, scene = (torch.tensor(row[key][:number]) for key in ("shown", "said", "valid"))
        if len(said) == number:
            found[name] = Marks(shown.double(), said.double(), scene.bool(), row["seconds"])
    return found


def ahead(one: Marks, other: Marks) -> tuple[float, float]:
    """By how much `one` shows more than `other` of the same sentences, and the standard error of
    that difference over the sentences."""
    gained = one.shown - other.shown
    mean = (gained.sum() / one.said.sum()).item()
    return mean, _error(gained - mean * one.said, one.said)


def leaderboard(yours: Marks | None = None, number: int = 20) -> dict[str, Marks]:
    """Prints the pipelines, best first, between the ceiling and the floor; returns their marks.

    yours: of your pipeline, in the first ``number`` sentences.
    """
    rows = stored(number) | ({} if yours is None else {"yours": yours})
    ranked = dict(sorted(rows.items(), key=lambda row: -row[1].parts))
    ranked = {"ceiling: real pictures": ceiling(number), **ranked}
    ranked["floor: of other sentences"] = floor(number)
    print(f"{number} sentences              parts shown       whole   scenes   seconds a picture")
    for name, marks in ranked.items():
        scene = marks.valid.double().mean()
        cells = f"{marks.parts:.3f} ± {marks.error:.3f}   {marks.whole:8.2f} {scene:8.2f}"
        drawn = name in PIPELINES or name == "yours"
        print(f"{name:26}{cells}" + (f"{marks.seconds:12.2f}" if drawn else ""))
    for name, (system, _) in PIPELINES.items():
        if name not in ranked:
            why = "not measured yet" if trained(system) else "not trained yet"
            print(f"{name:26}{why}")
    return ranked


def _marks(pictures: Tensor, captions: Sequence[str], seconds: float) -> Marks:
    seen = zoo.load("reader-scenes").read(pictures)
    rows = shown_parts(seen, captions)
    shown = [sum(part.shown for part in row) for row in rows]
    said = [len(row) for row in rows]
    counts = (torch.tensor(each, dtype=torch.float64) for each in (shown, said))
    return Marks(*counts, valid(seen, pictures), seconds)


def _error(rest: Tensor, said: Tensor) -> float:
    """The standard error of a ratio of sums, from what is left of each sentence, (N,)."""
    N = len(said)
    return ((rest.square().sum() / (N * (N - 1))).sqrt() / said.mean()).item()
