"""Two ways of guidance in lesson 09: how their samples are measured, and what
`benchmarks/glide_table.py` stored of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from labkit import scenes
from labkit.data.pictures import quantize
from labkit.guidance import mean_shift
from labkit.metrics import frechet_distance
from labkit.scenes.reader import Reader
from labkit.scenes.scores import Shown, caption_accuracy, valid
from labkit.systems.clip import CLIP
from labkit.systems.glide import GLIDE
from labkit.systems.sdg import NoisyCLIP

STORED = Path(__file__).with_name("glide_table.json")
COLUMNS = ("parts", "whole", "valid", "distance", "CLIP score", "guide's score")
FREE, BY_CLIP = "classifier-free", "CLIP"  # the two ways
REFERENCE = 70_000  # the seed of the real pictures that the distance is to


def asked(number: int, seed: int, split: str = "train") -> tuple[Tensor, list[str]]:
    """Real pictures (number, 3, 32, 32), and the sentences that models are asked for."""
    drawn = scenes.draw(number, 20_011 + seed, split)
    return scenes.render(drawn, 32), scenes.captions(drawn, seed)


def free(model: GLIDE, captions: list[str], scale: float, steps: int, seed: int) -> Tensor:
    """Pictures by classifier-free guidance of that scale, from ancestral steps."""
    *_, last = model.generate(captions, scale=scale, steps=steps, seed=seed, eta=1.0)
    return last.x


def by_clip(
    model: GLIDE, captions: list[str], weight: float, steps: int, seed: int,
    guide: NoisyCLIP, vectors: Tensor,
) -> Tensor:  # fmt: skip
    """Pictures by CLIP guidance (GLIDE, section 2.4): the model hears its sentence, at scale 1, and
    the mean of each ancestral step moves by weight Σ ∇ cosine with `vectors` (B, D) of the
    sentences. The same seed gives the noise that it gives to `free`."""
    step = partial(mean_shift, log_prob=guide.language(vectors), scale=weight)
    *_, last = model.generate(captions, scale=1.0, steps=steps, seed=seed, step=step)
    return last.x


@torch.no_grad()
def features(reader: Reader, pictures: Tensor) -> Tensor:
    """What the distance is measured in: means of the reader's first maps over places, (N, D)."""
    return reader.first(quantize(pictures)).mean((2, 3))


class Measure:
    """Measures pictures by the reader, which guides nothing, by CLIP, and by the guide itself."""

    def __init__(self, reader: Reader, clip: CLIP, guide: NoisyCLIP, number: int):
        """number: of real pictures that the distance is to."""
        self.reader, self.clip, self.guide = reader, clip, guide
        real = scenes.render(scenes.draw(number, REFERENCE), 32)
        self.real = features(reader, real)

    def __call__(self, pictures: Tensor, captions: list[str]) -> list[float]:
        """The figures in the order of `COLUMNS`: the share of all parts that is shown, of whole
        sentences, of valid scenes; the Fréchet distance; and the mean cosine with the sentences,
        of CLIP, and of the guide, which takes the picture for one with the least noise."""
        seen = self.reader.read(pictures)
        shown = caption_accuracy(seen, captions)
        with torch.no_grad():
            text = self.clip.encode_text(captions)
            images = self.clip.encode_image(pictures), self.guide.encode(pictures, 1)
            cosines = [(image * text).sum(1).mean().item() for image in images]
        distance = frechet_distance(self.real, features(self.reader, pictures))
        scene = valid(seen, pictures).double().mean().item()
        return [shown.parts, shown.complete, scene, distance, *cosines]

    def kinds(self, pictures: Tensor, captions: list[str]) -> Shown:
        """The shares of each kind of part."""
        return caption_accuracy(self.reader.read(pictures), captions)


def stored(file: Path = STORED) -> dict:
    """The stored table: its number of pictures a seed, steps and seeds; `guidance`, for each way a
    list of scales and of runs, (scales, seeds, columns); `rows` of other pictures, (seeds,
    columns); `kinds`, the share of each kind of part in each of those."""
    return json.loads(file.read_text("utf-8"))


def column(runs: Sequence, name: str) -> Tensor:
    """One of `COLUMNS` of runs (…, columns): (…)."""
    return torch.tensor(runs, dtype=torch.float64)[..., COLUMNS.index(name)]


def standard_errors_apart(one: Tensor, other: Tensor) -> float:
    """How many standard errors `one` lies above `other`, seed by seed: both (S,)."""
    apart = one - other
    return (apart.mean() / (apart.std() / len(apart) ** 0.5)).item()
