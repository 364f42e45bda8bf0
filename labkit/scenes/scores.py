"""How well pictures show scenes: which parts of their sentences, and how well a scene was read.

    seen = zoo.load("reader-scenes").read(pictures)
    caption_accuracy(seen, captions)     # Shown(parts=0.93, complete=0.81, ...)

All of it rests on what a reader sees (`labkit.scenes.reader`), which is wrong now and then: say its
name, the number of pictures, and what real pictures score with their own sentences (the ceiling).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit import devices
from labkit.inputs import number, picture_batch, short
from labkit.scenes.meaning import Meaning, Part, parts
from labkit.scenes.reading import read
from labkit.scenes.rendering import render
from labkit.scenes.world import ATTRIBUTES, BACKGROUNDS, MOST, Scenes, scene_batch

NEAR = 0.1  # a true object was found if one was seen that near, a share of the picture's side


class Shown(NamedTuple):
    """How much of N sentences their pictures show."""

    parts: float  # share of all parts: attributes, numbers, places, relations, backgrounds
    complete: float  # share of pictures that show every part of their sentence
    kinds: dict[str, float]  # the share of each kind of part, where any was said
    said: dict[str, int]  # how many parts of each kind that is
    number: int  # of pictures

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {share:.1%}" for kind, share in self.kinds.items())
        return (
            f"{self.parts:.1%} of what is said is shown, {self.complete:.1%} of {self.number} "
            f"pictures show all of it ({kinds})"
        )


def shown_parts(seen: Scenes, captions: Sequence[str | Meaning]) -> list[list[Part]]:
    """For each picture the parts of its sentence, each with whether it is shown.

    seen: what is in the pictures, read or true. captions: a sentence, or its meaning, for each.
    Raises ValueError for a different number of them, and for a sentence that cannot be read.
    """
    scene_batch(seen, "seen")
    if not isinstance(captions, Sequence):
        raise ValueError(f"captions is {short(captions)}, but must be a list of sentences")
    if isinstance(captions, str) or len(captions) != len(seen.background):
        given = "one sentence" if isinstance(captions, str) else f"{len(captions)} sentences"
        raise ValueError(f"{given} for {len(seen.background)} pictures, but each needs its own")
    meanings = [said if isinstance(said, Meaning) else read(said) for said in captions]
    backgrounds = [BACKGROUNDS[index] for index in seen.background.tolist()]
    return [parts(*one) for one in zip(meanings, seen.objects(), backgrounds)]


def caption_accuracy(seen: Scenes, captions: Sequence[str | Meaning]) -> Shown:
    """How much of their sentences the pictures show. See `shown_parts` for what is given.
    Raises ValueError for no pictures, and where the sentences say nothing."""
    found = shown_parts(seen, captions)
    if not any(found):
        given = f"the {len(found)} captions say nothing" if found else "there are no pictures"
        raise ValueError(f"{given}, so there is no share of what is said: give at least one part")
    votes: dict[str, list[bool]] = defaultdict(list)
    for row in found:
        for part in row:
            votes[part.kind].append(part.shown)
    shares = {kind: sum(row) / len(row) for kind, row in sorted(votes.items())}
    return Shown(
        parts=sum(map(sum, votes.values())) / sum(map(len, votes.values())),
        complete=sum(all(part.shown for part in row) for row in found) / len(found),
        kinds=shares,
        said={kind: len(votes[kind]) for kind in shares},
        number=len(found),
    )


def agreement(seen: Scenes, truth: Scenes) -> dict[str, float]:
    """How well scenes were read: for each attribute and for place the share of true objects that
    were found and have it right; the share of scenes with the right count and background, of true
    relations between two objects ("inside" is one of them; NaN where no scene has any), and of
    scenes in which all that is so. Raises ValueError for no scenes."""
    scene_batch(seen, "seen"), scene_batch(truth, "truth")
    seen, truth = (Scenes(*(field.cpu() for field in scenes)) for scenes in (seen, truth))
    if not len(truth.background):
        raise ValueError("truth holds no scenes, so there is nothing to agree with: give some")
    if len(seen.background) != len(truth.background):
        raise ValueError(
            f"{len(seen.background)} scenes were seen and {len(truth.background)} are true, but "
            "there must be as many"
        )
    gap = torch.hypot(truth.x[:, :, None] - seen.x[:, None], truth.y[:, :, None] - seen.y[:, None])
    sheet = (truth.inside >= 0)[:, :, None] == (seen.inside >= 0)[:, None]  # (N, 3, M)
    there = truth.present[:, :, None] & seen.present[:, None]
    distance, match = torch.where(sheet & there, gap, torch.inf).min(2)  # (N, 3)
    found, here = distance < NEAR, truth.present
    right = {
        name: found & (getattr(seen, name).gather(1, match) == getattr(truth, name))
        for name in (*ATTRIBUTES, "place")
    } | {"found": found}  # fmt: skip
    rows = torch.arange(len(match))[:, None, None]
    pairs = truth.relation >= 0  # (N, 3, 3)
    related = seen.relation[rows, match[:, :, None], match[:, None]] == truth.relation
    related &= found[:, :, None] & found[:, None]
    whole = {"count": seen.count == truth.count, "background": seen.background == truth.background}
    everything = [(ok | ~here).all(1) for ok in right.values()] + [*whole.values()]
    everything.append((related | ~pairs).flatten(1).all(1))
    scores = {name: ok[here] for name, ok in right.items()} | whole
    scores |= {"relation": related[pairs], "everything": torch.stack(everything).all(0)}
    return {name: ok.double().mean().item() for name, ok in scores.items()}


def square_colors(pictures: Tensor) -> None:
    """Raises ValueError unless pictures (N, C, H, W) are of three channels and square."""
    shape = tuple(pictures.shape)
    if shape[1] != 3 or shape[2] != shape[3]:
        raise ValueError(
            f"pictures has shape {shape}, but pictures of scenes are (N, 3, S, S): "
            "red, green and blue, and as high as wide"
        )


def misfit(seen: Scenes, pictures: Tensor) -> Tensor:
    """How far each picture is from a clean one of what was seen in it, (N,): the root of the mean
    squared difference, 0 … 2. A smear that the reader took for a star does not look like one."""
    picture_batch(pictures, "pictures")
    if len(scene_batch(seen, "seen").background) != len(pictures):
        raise ValueError(
            f"{len(seen.background)} scenes for pictures of shape {tuple(pictures.shape)}, "
            "but there must be as many of each"
        )
    square_colors(pictures)
    again = render(seen, pictures.shape[-1]).to(pictures)
    return (again - pictures).square().mean((1, 2, 3)).sqrt()


def valid(seen: Scenes, pictures: Tensor, most: float = 0.12) -> Tensor:
    """Which pictures show a scene of this world, (N,) bool: one to three objects, no more than
    one of them inside another, and as drawn by `render` up to a misfit of ``most``."""
    number(most, "the largest misfit", 0)
    nested = (seen.inside >= 0).sum(1)
    tidy = (seen.count >= 1) & (seen.count <= MOST) & (nested <= 1)
    return tidy & (misfit(seen, pictures) <= most)


@torch.no_grad()
def spread(reader, pictures: Tensor) -> float:
    """How different pictures (N, 3, S, S) in [−1, 1] are from each other: half the mean squared
    distance of what the reader sees at the same place in two of them, as unit vectors; 0: all are
    alike. So does LPIPS (Zhang et al. 2018), there with another network and learned weights.

    reader: a `labkit.scenes.reader.Reader`. Raises ValueError for fewer than two pictures, and for
    pictures of another shape.
    """
    if len(picture_batch(pictures, "pictures")) < 2:
        raise ValueError("one picture has no other to differ from: give at least two pictures")
    square_colors(pictures)
    seen = F.normalize(reader.first(pictures.to(devices.of(reader))), dim=1)  # (N, D, G, G)
    return torch.pdist(seen.flatten(1).cpu()).square().mean().item() / (2 * seen[0, 0].numel())
