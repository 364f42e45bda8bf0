"""A smaller world, for what has to be learned in a minute: one large plain thing on gray.

    pictures, sentences = small.pairs(2_000, size=16)    # "a red circle", "scarlet disc", …
    seen = small.nearest(pictures)                       # what they show, by the most similar one

Of its sixteen combinations of a color and a shape, those that `labkit.scenes.drawing.UNSEEN` keeps
from training are kept here, too: a green triangle, a blue cross and a yellow moon. It has so few
pictures that a generated one can be read by the nearest real one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.inputs import picture_batch, whole_number
from labkit.scenes.captioning import phrase
from labkit.scenes.drawing import UNSEEN
from labkit.scenes.meaning import Meaning, Thing
from labkit.scenes.rendering import render
from labkit.scenes.world import MARGIN, RADII, Object, Scene, Scenes, tensors

SHAPES = ("circle", "triangle", "cross", "moon")
COLORS = ("red", "yellow", "green", "blue")
Pair = tuple[str, str]  # a color and a shape
PAIRS: tuple[Pair, ...] = tuple((color, shape) for color in COLORS for shape in SHAPES)
HELD_OUT = tuple(pair for pair in PAIRS if pair in UNSEEN["colors"])
KNOWN = tuple(pair for pair in PAIRS if pair not in HELD_OUT)
LEAST = 0.28  # of the radius; a large thing may be smaller where it is not alone
GALLERY = 4_000  # real pictures among which the nearest one is looked for


def draw(shown: Sequence[Pair], seed: int | Random = 0) -> Scenes:
    """A scene for each (color, shape), of random place and radius; the same seed gives the same."""
    random = seed if isinstance(seed, Random) else Random(whole_number(seed, "seed", 0))
    return tensors([scene(*pair, random) for pair in shown])


def scene(color: str, shape: str, random: Random) -> Scene:
    """One large plain thing anywhere on gray."""
    radius = random.uniform(LEAST, RADII["large"][1])
    edge = radius + MARGIN
    x, y = (random.uniform(edge, 1 - edge) for _ in range(2))
    return Scene([Object(shape, color, "large", "plain", x, y, radius)], "gray")


def sentences(shown: Sequence[Pair], seed: int | Random = 0) -> list[str]:
    """A random sentence that says each (color, shape), and nothing else."""
    random = seed if isinstance(seed, Random) else Random(whole_number(seed, "seed", 0))
    return [phrase(Meaning((Thing(shape, color),)), random) for color, shape in shown]


def pairs(number: int, seed: int = 0, size: int = 16) -> tuple[Tensor, list[str]]:
    """Random pictures (number, 3, size, size) in [−1, 1] of the combinations that are not held out,
    and a sentence for each."""
    random = Random(whole_number(seed, "seed", 0))
    shown = [random.choice(KNOWN) for _ in range(whole_number(number, "the number of pairs", 1))]
    return render(draw(shown, random), size), sentences(shown, random)


def batches(
    pictures: Tensor, sentences: Sequence[str], batch: int
) -> Callable[[torch.Generator], tuple[Tensor, list[str]]]:
    """For `labkit.train.train`: so many of these pairs at a time, drawn at random."""

    def make(generator: torch.Generator) -> tuple[Tensor, list[str]]:
        rows = torch.randint(len(pictures), (batch,), generator=generator)
        return pictures[rows], [sentences[row] for row in rows.tolist()]

    return make


class Seen(NamedTuple):
    """What the nearest real pictures show."""

    pairs: list[Pair]  # the color and the shape, for each picture
    distance: Tensor  # (N,) to the nearest one, the root of the mean squared difference


@cache
def gallery(size: int) -> tuple[list[Pair], Tensor]:
    """Equally many real pictures of each combination, the held-out ones included: what they show,
    and all of them, (GALLERY, 3, size, size)."""
    shown = [PAIRS[row % len(PAIRS)] for row in range(GALLERY)]
    return shown, render(draw(shown, 2**31), size)


def nearest(pictures: Tensor) -> Seen:
    """Reads pictures (N, 3, S, S) in [−1, 1] by the nearest one of the gallery."""
    shown, real = gallery(picture_batch(pictures, "pictures").shape[-1])
    distance, row = torch.cdist(pictures.flatten(1), real.flatten(1)).min(1)
    return Seen([shown[each] for each in row.tolist()], distance / real[0].numel() ** 0.5)
