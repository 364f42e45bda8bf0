"""What lesson 13 trains and measures: where attention goes, a small matcher, swapped sentences."""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from labkit import scenes
from labkit.lab.hard_negatives import pair_sentences, true_and_swapped, two_objects
from labkit.metrics.retrieval import own_captions
from labkit.nets.bert import BertConfig
from labkit.nets.pooling import average
from labkit.scenes import Scenes, matches
from labkit.scenes.regions import Regions
from labkit.scenes.truth import shows
from labkit.systems.joint import blocks
from labkit.systems.matcher import Matcher, MatcherConfig

STORED = Path(__file__).with_name("branches.json")


def block_shares(attention: Tensor, mask: Tensor, regions: int) -> Tensor:
    """How much of its attention each modality gives to each, (B, 2, 2): row 0 is what regions
    attend to, row 1 what words attend to; column 0 is regions, column 1 words; every row sums to 1.

    attention: (B, heads, L, L), rows summing to 1; its first `regions` positions are regions, the
    others words. mask: (B, L) bool, False is padding, whose rows do not count.
    """
    parts = blocks(attention, regions)
    RR, RE, ER, EE = (part.sum(3).mean(1) for part in parts)  # (B, M) and (B, L), of each row
    given = torch.stack([RR, RE], 2), torch.stack([ER, EE], 2)
    masks = mask[:, :regions], mask[:, regions:]
    return torch.stack([average(*pair) for pair in zip(given, masks)], 1)


# The small matcher of section 6, and what section 7 measures with it.

GROUPS, STEPS = 250, 300  # of lookalikes in its pool, and updates
SUM = 200  # updates with the sum over all negatives, before the hardest alone counts
TRAINING = {"optimizer": "muon", "lr": 3e-3, "warmup": 20, "ema": 0.97}


def small(branches: str = "both", warmup: int = SUM) -> MatcherConfig:
    """A matcher that learns in half a minute; its text encoder starts from nothing."""
    text = BertConfig(vocabulary=1010, context=32, width=48, depth=1, heads=4)
    return MatcherConfig(
        text, width=48, heads=4, hidden=64, filters=32, branches=branches, warmup=warmup
    )


class Gallery(NamedTuple):
    """Pictures, five captions of each, and which of these are true of another picture, too."""

    scenes: Scenes
    pictures: Tensor  # (N, 3, 32, 32)
    captions: list[str]  # 5 N, those of one picture after the other
    neutral: Tensor  # (N, 5 N) bool, true of a picture but written for another


def gallery(number: int, seed: int, alike: bool = False) -> Gallery:
    """New scenes of every kind, and what people might say of them. alike: they come in groups of
    four that look alike (see `labkit.scenes.matches`), so `number` is rounded down to fours."""
    if alike:
        known = matches.pool(number // matches.GROUP, seed, "all")
    else:
        known = matches.captioned(scenes.draw(number, seed, "all"), seed)
    own = own_captions(len(known.scenes.background))
    neutral = shows(known.scenes, known.claims) & ~own
    return Gallery(known.scenes, scenes.render(known.scenes, 32), known.captions, neutral)


def swapped(number: int, seed: int) -> dict[str, tuple[Scenes, list[str], list[str]]]:
    """Scenes with a true sentence for each, and a false one in which two words have changed places;
    at most `number` of each kind."""
    drawn = two_objects(12 * number, seed, "all")
    relation, found = drawn.relation[:, 0, 1], {}
    for name, kinds in {"left of, right of": (0, 1), "above, below": (2, 3)}.items():
        part = drawn.take(torch.isin(relation, torch.tensor(kinds))).take(slice(0, number))
        found[name] = part, *true_and_swapped(part)
    part = drawn.take(slice(0, number))
    said = ["and"] * len(part.background)
    right, wrong = pair_sentences(part, said), pair_sentences(part, said, colors=(1, 0))
    return {**found, "which color on which shape": (part, right, wrong)}


@torch.no_grad()
def prefers(matcher: Matcher, regions: Regions, right: list[str], wrong: list[str]) -> Tensor:
    """For each picture whether the right sentence scores higher than the wrong one, (N,) bool."""
    images = matcher.encode_image(regions)
    first, second = (matcher.pair_scores(images, matcher.encode_text(t)) for t in (right, wrong))
    return first > second


@torch.no_grad()
def occluded(matcher: Matcher, regions: Regions, captions: list[str]) -> Tensor:
    """By how much the score of picture n with caption n falls if one region is taken away, (N, M).
    -inf for the whole picture, which stays, and where there is no region."""
    texts = matcher.encode_text(captions)
    score = matcher.pair_scores(matcher.encode_image(regions), texts)
    falls = torch.full(regions.mask.shape, -torch.inf)
    for number in range(1, regions.mask.shape[1]):
        mask = regions.mask.clone()
        mask[:, number] = False
        without = matcher.encode_image(regions._replace(mask=mask))
        fall = score - matcher.pair_scores(without, texts)
        falls[:, number] = torch.where(regions.mask[:, number], fall, -torch.inf)
    return falls


def stored(file: Path = STORED) -> dict:
    """The stored result of `benchmarks/branches.py`: for each kind of training and each seed R@K in
    both directions, in %, and the share of right sentences among two, by kind."""
    return json.loads(file.read_text("utf-8"))


def recall_at_1(result: dict) -> dict[str, Tensor]:
    """Of a stored result R@1 in % of each kind of training, (seeds, 2): from picture to sentence,
    and from sentence to picture."""
    return {
        name: torch.tensor([[run["image_to_text"][0], run["text_to_image"][0]] for run in each])
        for name, each in ((name, runs.values()) for name, runs in result["runs"].items())
    }
