"""The arc of the course as a table: what each system is conditioned on, what is trained for it,
what that costs, what it reached here and what in its paper.

    for row in arc.rows():
        print(row.step.name, row.minutes, row.reached)

Costs are computed from the recipes; what was reached here comes from stored measurements. What the
papers reached stands here alone, each with its table.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import torch

from labkit import zoo
from labkit.lab import capstone, ddim_table

STORED = Path(__file__).with_name("arc.json")  # by `benchmarks/arc.py`


class Step(NamedTuple):
    """One lesson of the arc."""

    lesson: int
    name: str
    changed: str  # of what came before, for the drawing
    before: tuple[int, ...] = ()  # the lessons that it changes
    systems: tuple[str, ...] = ()  # in the zoo
    condition: str = ""
    trained: str = ""
    paper: str = ""


STEPS = (
    Step(1, "Markov chains", "a chain forgets its start"),
    Step(2, "Forward diffusion", "the chain adds noise to data", (1,)),
    Step(
        3, "DDPM", "a network learns the way back", (2,), ("ddpm-digits",),
        "nothing", "a U-Net", "FID 3.17, CIFAR-10 (Ho et al. 2020, table 1)",
    ),
    Step(
        4, "DDIM", "the same network, fewer steps", (3,), ("ddpm-digits",),
        "nothing", "nothing new: DDPM's network",
        "FID 13.36 in 10 steps; with η = 1 41.07; CIFAR-10 (Song et al. 2021, table 1)",
    ),
    Step(
        5, "Classifier guidance", "+ the gradient of a classifier", (3,),
        ("ddpm-digits", "noisy-classifier-digits"),
        "a class, through a classifier's gradient", "a classifier of noisy pictures",
        "FID 26.21 without, 12.00 with scale 10, ImageNet 256, unconditional model (Dhariwal and "
        "Nichol 2021, table 3)",
    ),
    Step(
        6, "Classifier-free guidance", "the model is its own classifier", (5,), ("adm-digits",),
        "a class, or null", "one U-Net, with and without the class",
        "FID 1.80 with scale 1, 1.55 with scale 1.1, ImageNet 64 (Ho and Salimans 2022, table 1)",
    ),
    Step(
        7, "CLIP", "pictures and words, one space", (), ("clip-scenes",),
        "it generates nothing", "two encoders, contrastive",
        "76.2 % zero-shot, ImageNet (Radford et al. 2021, table 1)",
    ),
    Step(
        8, "Semantic guidance", "any score guides, also CLIP's", (5, 7), ("sdg-scenes",),
        "a sentence or a picture, through CLIP's gradient",
        "a U-Net without text input, begun from GLIDE; a CLIP encoder that knows noise",
        "no number that we could verify (Liu et al. 2023)",
    ),
    Step(
        9, "GLIDE", "the U-Net reads the sentence", (6,), ("glide-scenes-64",),
        "a sentence, inside the network", "U-Net and text transformer together; an upsampler",
        "FID 12.24, COCO, zero-shot (Nichol et al. 2021, table 2)",
    ),
    Step(
        10, "DALL·E 2", "a CLIP vector in between", (7, 9), ("dalle2-scenes",),
        "a CLIP vector that a prior makes from the sentence, and the sentence",
        "two priors; a decoder, begun from GLIDE",
        "FID 10.39, COCO, zero-shot (Ramesh et al. 2022, table 2)",
    ),
    Step(
        11, "Imagen", "a frozen language model reads", (9,), ("imagen-scenes",),
        "a frozen language model's vectors of the sentence",
        "the language model, on text alone; then three U-Nets, one begun from GLIDE",
        "FID 7.27, COCO, zero-shot (Saharia et al. 2022, table 1)",
    ),
    Step(
        12, "Latent diffusion", "diffusion of latents, not pixels", (9,), ("ldm-scenes",),
        "a sentence, by cross-attention", "an autoencoder; then U-Net and text transformer",
        "FID 12.63 with scale 1.5, COCO (Rombach et al. 2022, table 2)",
    ),
    Step(
        13, "Cross attention", "regions and words attend", (7,), ("mmca-scenes",),
        "it generates nothing", "BERT, a region reader, and a matcher of both",
        "R@1 74.2 and 54.8 %, Flickr30K (Wei et al. 2020)",
    ),
)  # fmt: skip


class Row(NamedTuple):
    """One line of the table."""

    step: Step
    ready: bool  # whether labkit has weights of all of it
    minutes: float  # of one core, all trainings that it rests on; expected where it is not ready
    parameters: int  # of all networks that it needs to work
    reached: str


def rows() -> list[Row]:
    """The table, the lessons with a system in the order of the course."""
    found = []
    for step in STEPS:
        if step.systems:
            ready = all(map(capstone.trained, step.systems))
            minutes = sum(zoo.recipe(name).minutes for name in rests_on(step.systems))
            size = sum(map(parameters, dict.fromkeys(leaves(step.systems))))
            said = reached(step) if ready else "not trained yet"
            found.append(Row(step, ready, minutes, size, said))
    return found


def leaves(names: Iterable[str]) -> list[str]:
    """The systems that are trained as a whole, of which these are made."""
    found: list[str] = []
    for name in names:
        parts = zoo.recipe(name).parts
        found += leaves(parts.values()) if parts else [name]
    return found


def rests_on(names: Iterable[str]) -> list[str]:
    """Every training that has to come before these systems work, once each: their parts, what they
    begin from, and what teaches them."""
    found: dict[str, None] = {}
    for name in leaves(names):
        made = zoo.recipe(name)
        others = [made.begins_from, made.teacher, *made.perceptual]
        found |= dict.fromkeys(rests_on(other for other in others if other)) | {name: None}
    return list(found)


@cache
def parameters(name: str) -> int:
    """The number of parameters of a system that is trained as a whole."""
    made = zoo.recipe(name)
    with torch.device("meta"):
        return sum(weight.numel() for weight in made.system(made.config).parameters())


def reached(step: Step) -> str:
    """What that system reached here, from the stored measurements."""
    measured = json.loads(STORED.read_text("utf-8"))
    if step.lesson in (3, 4):
        return _digits(step.lesson)
    if step.lesson in (5, 6):
        without, guided = right_class(step.systems[-1])
        scale = measured[step.systems[-1]]["scale"]
        return f"right class: {without:.0%} with scale 0, {guided:.0%} with scale {scale:g}"
    if step.lesson in (7, 13):
        row = measured[step.systems[0]]
        there, back = row["recall"]
        return f"R@1 {100 * there:.1f} and {100 * back:.1f} % among {row['pictures']} scenes"
    number = capstone.NUMBER
    for name, marks in capstone.stored(number).items():
        if capstone.PIPELINES[name][0] == step.systems[0]:
            return f"{marks.parts:.1%} ± {marks.error:.1%} of what {number} sentences say"
    return "not measured yet"


def right_class(name: str) -> tuple[float, float]:
    """The stored share of digits of the class that was asked for, without guidance and with it;
    name: of the system that guides."""
    row = json.loads(STORED.read_text("utf-8"))[name]
    without, guided = (torch.tensor(row[key]).mean().item() for key in ("without", "guided"))
    return without, guided


def distances(sampler: str, steps: str) -> list[float]:
    """The Fréchet distances of lesson 04's stored table, in a classifier's features, by seed."""
    return [run[0] for run in ddim_table.stored()["cells"][sampler][steps]]


def _digits(lesson: int) -> str:
    floor = mean(run[0] for run in ddim_table.stored()["floor"])
    if lesson == 3:
        many = mean(distances("η = 1", "1000"))
        return f"digits: Fréchet {many:.4f} in 1,000 steps (floor {floor:.4f})"
    few, noisy = (mean(distances(sampler, "10")) for sampler in ("η = 0", "η = 1"))
    return f"digits: Fréchet {few:.4f} in 10 steps; with η = 1 {noisy:.4f} (floor {floor:.4f})"


class Table:
    """Lines for a notebook, as Markdown."""

    def __init__(self, head: Sequence[str], lines: Iterable[Sequence[str]]):
        self.head, self.lines = head, [*lines]

    def _repr_markdown_(self) -> str:
        rule = ["---"] * len(self.head)
        return "\n".join(f"| {' | '.join(line)} |" for line in (self.head, rule, *self.lines))

    def __repr__(self) -> str:
        return "\n".join(" · ".join(line) for line in (self.head, *self.lines))


def costs() -> Table:
    """What each system is conditioned on, what is trained, and what that costs."""
    head = ["lesson", "conditioned on", "trained", "minutes of one core", "million parameters"]
    lines = []
    for step, ready, minutes, size, _ in rows():
        spent = f"{minutes:.0f}" if ready else f"about {minutes:.0f}, not trained yet"
        name = f"{step.lesson:02} {step.name}"
        lines.append([name, step.condition, step.trained, spent, f"{size / 1e6:.1f}"])
    return Table(head, lines)


def results() -> Table:
    """What each system reached here, beside what its paper reports."""
    lines = [[f"{r.step.lesson:02} {r.step.name}", r.reached, r.step.paper] for r in rows()]
    return Table(["lesson", "reached here", "in the paper"], lines)
