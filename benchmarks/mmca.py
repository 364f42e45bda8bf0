"""Lesson 13: matching by self-attention, by cross attention and by both, as tables in Markdown.

    python -m benchmarks.mmca [--weights FOLDER] [--seeds 0 1 2] [--steps N] [--pictures 200]

Trains what FOLDER does not hold yet by the recipe of `matcher-scenes`, one file for each choice of
branches and each seed, and goes on with a training that was stopped. Without it, the shipped
matcher alone is measured, with several galleries for seeds.

The seeds of a kind of branches differ in the first weights, the order of the batches and the
gallery. The pool of scenes and the BERT they begin from are the same, so that the spread says less
than that of trainings from the ground up.

The gallery: new scenes of the training split with five captions each. *R@K*: recall in %, where a
caption that is true of a picture but was written for another is neither right nor wrong (where
photographs are searched it counts as wrong, which gives lower figures). *True@1*: how often the
best caption of a picture is true, whoever it was written for. *Swapped*: of two sentences that
differ in which of two objects comes first, how often the true one scores higher (lesson 07's test;
chance is 50 %). *Occlusion*: for "a red star", of each of two objects, how often the score falls
most when the object that is named is taken away (chance is 50 %). *Attention*: how often the region
at which a color or shape word of a swapped pair's true sentence looks most is the object that it
names (chance is a third: the whole picture is a region, too). The second table: the cross branch
for the top K of each query alone.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks import tables
from labkit import checkpoint, model_file, scenes, zoo
from labkit.lab import hard_negatives, matching
from labkit.metrics.pointing import object_regions, pointing_game
from labkit.metrics.retrieval import RANKS, Recalls, recall_at, recalls
from labkit.recipes.mmca import match_batches
from labkit.scenes.matches import captioned
from labkit.scenes.regions import Regions, propose
from labkit.scenes.truth import shows
from labkit.systems.matcher import DIRECTIONS, Matcher
from labkit.train import train

COLUMNS = (
    *(f"{way} R@{k}" for way in ("i2t", "t2i") for k in RANKS),
    "true@1",
    "swapped",
    "occlusion",
    "attention",
)
TOPS = (1, 3, 10, 30)


class Gallery(NamedTuple):
    """Pictures of new scenes with five captions each."""

    pictures: Tensor
    regions: Regions
    captions: list[str]
    neutral: Tensor  # (N, 5 N) bool: true, whoever it was written for


class Swapped(NamedTuple):
    """Pictures of two objects, and what is true and false of how they lie to each other."""

    drawn: scenes.Scenes
    pictures: Tensor
    regions: Regions
    right: list[str]
    wrong: list[str]


def gallery(reader, pictures: int, seed: int, split: str = "train") -> Gallery:
    made = captioned(scenes.draw(pictures, 50_000 + seed, split), seed)
    drawn = scenes.render(made.scenes, 32)
    neutral = shows(made.scenes, made.claims)
    return Gallery(drawn, propose(reader, drawn), made.captions, neutral)


def swapped(reader, number: int) -> Swapped:
    """Those of lesson 07: scenes that nobody was trained on, of all combinations."""
    drawn = hard_negatives.two_objects(number, 40, "all")
    relation = drawn.relation[:, 0, 1]
    drawn = drawn.take((relation >= 0) & (relation < 4))
    pictures = scenes.render(drawn, 32)
    right, wrong = hard_negatives.true_and_swapped(drawn)
    return Swapped(drawn, pictures, propose(reader, pictures), right, wrong)


@torch.no_grad()
def share_right(matcher: Matcher, pairs: Swapped) -> float:
    images = matcher.encode_image(pairs.regions)
    right, wrong = (
        matcher.pair_scores(images, matcher.encode_text(texts))
        for texts in (pairs.right, pairs.wrong)
    )
    return (right > wrong).double().mean().item()


def names(drawn: scenes.Scenes, slot: int) -> list[tuple[str, str]]:
    """Color and shape of that object of each scene."""
    color, shape = drawn.color[:, slot].tolist(), drawn.shape[:, slot].tolist()
    return [(scenes.COLORS[c], scenes.SHAPES[s]) for c, s in zip(color, shape)]


@torch.no_grad()
def attention_points(matcher: Matcher, pairs: Swapped) -> float:
    maps = matcher.word_regions(
        matcher.encode_image(pairs.regions), matcher.encode_text(pairs.right)
    )
    at, tokens = object_regions(pairs.regions, pairs.drawn), map(matcher.words, pairs.right)
    words, wanted = [], []
    for row, (said, *named) in enumerate(zip(tokens, *(names(pairs.drawn, k) for k in (0, 1)))):
        for slot, object in enumerate(named):
            words += [(row, said.index(word)) for word in object]
            wanted += [int(at[row, slot])] * len(object)
    return pointing_game(maps, torch.tensor(words), torch.tensor(wanted))


@torch.no_grad()
def occlusion_points(matcher: Matcher, pairs: Swapped) -> float:
    at, hits = object_regions(pairs.regions, pairs.drawn), []
    for slot in (0, 1):
        texts = [
            f"{'an' if color[0] in 'aeiou' else 'a'} {color} {shape}"
            for color, shape in names(pairs.drawn, slot)
        ]
        falls = matching.occluded(matcher, pairs.regions, texts)  # (N, M)
        hits.append(falls.argmax(1) == at[:, slot])
    return torch.cat(hits).double().mean().item()


def first_is_true(scores: Tensor, given: Gallery) -> float:
    """The share of pictures, in %, whose best caption is true, whoever it was written for."""
    return 100 * recall_at(scores, 1, belongs=given.neutral)


def flat(found: Recalls) -> list[float]:
    return [*found.image_to_text, *found.text_to_image]


@torch.no_grad()
def figures(matcher: Matcher, given: Gallery, pairs: Swapped) -> list[float]:
    """One row of the table, in the order of `COLUMNS`."""
    scores = matcher.scores(
        matcher.encode_image(given.regions), matcher.encode_text(given.captions)
    )
    found = [*flat(recalls(scores, neutral=given.neutral)), first_is_true(scores, given)]
    points = [share_right(matcher, pairs), occlusion_points(matcher, pairs)]
    alone = matcher.config.branches == "self"
    points.append(float("nan") if alone else attention_points(matcher, pairs))
    return [*found, *(100 * point for point in points)]


@torch.no_grad()
def clip_figures(given: Gallery, pairs: Swapped) -> list[float]:
    clip = zoo.load("clip-scenes")
    scores = clip.encode_image(given.pictures) @ clip.encode_text(given.captions).T
    image = clip.encode_image(pairs.pictures)
    right, wrong = (
        (image * clip.encode_text(texts)).sum(1) for texts in (pairs.right, pairs.wrong)
    )
    share = (right > wrong).double().mean().item()
    found = [*flat(recalls(scores, neutral=given.neutral)), first_is_true(scores, given)]
    return [*found, 100 * share, float("nan"), float("nan")]


@torch.no_grad()
def costs(matcher: Matcher, given: Gallery) -> list[tuple]:
    """For each K: joint passes, processor seconds and R@K of both directions."""
    images, texts = matcher.encode_image(given.regions), matcher.encode_text(given.captions)
    found = []
    for top in (0, *TOPS, None):  # 0: the cheap score alone; None: a pass for each pair
        started, row, passes = time.process_time(), [], 0
        for axis, of in enumerate(DIRECTIONS):
            if not top:
                if axis == 0:
                    score = matcher.scores if top is None else matcher.cheap_scores
                    scores = score(images, texts)
                    passes = scores.numel() if top is None else 0
            else:
                scores = matcher.scores(images, texts, top, of)
                passes += scores.shape[axis] * top
            row += flat(recalls(scores, neutral=given.neutral))[3 * axis : 3 * axis + 3]
        spent = time.process_time() - started
        found.append(("all" if top is None else str(top), passes, spent, row))
    return found


def trained(folder: Path, branches: str, seed: int, steps: int | None, batches) -> Matcher:
    """The matcher of that file, trained first if it is not there. Raises ValueError for one that
    was trained for another number of steps."""
    path = folder / f"{branches}-{seed}.safetensors"
    made = zoo.recipe("matcher-scenes")
    settings = made.training | ({"steps": steps} if steps else {})
    if path.exists():
        done, wanted = checkpoint.read_about(path).get("step"), settings["steps"]
        if done != wanted:
            raise ValueError(
                f"{path.name} was trained for {done} steps, but {wanted} are wanted: take --steps "
                f"{done}, or another folder"
            )
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            matcher = Matcher(replace(made.config, branches=branches))
        matcher.begin_from(zoo.load(made.begins_from))
        run = path.with_suffix(".run")
        for step in train(
            matcher,
            batches(),
            checkpoint=run,
            save_every=100,
            seed=seed,
            **{name: value for name, value in settings.items() if name != "seed"},
        ):
            last = step  # fmt: skip
        model_file.save(path, last.ema, step=last.step, loss=last.loss)
        run.unlink()
    return model_file.load(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--branches", nargs="+", default=["self", "cross", "both"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int)
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument(
        "--pairs",
        type=int,
        default=2_000,
        help="scenes drawn for swapped pairs, of which an eighth or so serves",
    )
    given = parser.parse_args()
    reader, made = zoo.load("reader-scenes"), []

    def batches():
        made.extend([] if made else [match_batches(reader)])  # for all trainings the same
        return made[0]

    pairs = swapped(reader, given.pairs)
    galleries = {seed: gallery(reader, given.pictures, seed) for seed in given.seeds}
    print(f"{given.pictures} pictures, {len(pairs.right)} swapped pairs, {len(galleries)} seeds\n")
    print(tables.head("model", *COLUMNS))
    if given.weights:
        for branches in given.branches:
            rows = []
            for seed in given.seeds:
                matcher = trained(given.weights, branches, seed, given.steps, batches)
                rows.append(figures(matcher, galleries[seed], pairs))
            print(tables.row(branches, rows, 1), flush=True)
    shipped = zoo.load("matcher-scenes")
    runs = [figures(shipped, each, pairs) for each in galleries.values()]
    print(tables.row("matcher-scenes", runs, 1), flush=True)
    runs = [clip_figures(each, pairs) for each in galleries.values()]
    print(tables.row("clip-scenes", runs, 1) + "\n", flush=True)
    print(tables.head("K", "joint passes", "seconds", *COLUMNS[:6]))
    for name, passes, spent, row in costs(shipped, galleries[given.seeds[0]]):
        cells = " | ".join(f"{value:.1f}" for value in row)
        print(f"| {name} | {passes:,} | {spent:.1f} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
