"""Lesson 13: the small matcher trained with one branch, with the other, with both, and with both
but without telling it which captions are true of other pictures.

    python -m benchmarks.branches [--seeds 1 2 3] [--steps 300] [--out FILE]

Each seed has its own pool, batches and first weights. Measured are, on a gallery of 100 new scenes
with five captions each, R@K in both directions (captions that are true of a picture but were
written for another count neither way), and how often such a caption scores higher than a false one;
and on new pairs of sentences with two words exchanged, how often the true one scores higher. FILE
is written after every training; what it holds already stays and is not trained again. The defaults
take about five minutes of one core.
"""

import argparse
import json
from pathlib import Path

import torch

from labkit import scenes, zoo
from labkit.lab import matching
from labkit.metrics import retrieval
from labkit.metrics.retrieval import own_captions
from labkit.scenes import matches
from labkit.scenes.regions import propose
from labkit.systems.matcher import Matcher
from labkit.train import train

KINDS = {  # the branches, and whether the batch says what is true of other pictures
    "self": ("self", True), "cross": ("cross", True), "both": ("both", True),
    "both, truth ignored": ("both", False),
}  # fmt: skip
NUMBER = 100  # of scenes in the gallery
PAIRS = 300  # of sentences, at most, of each kind


def measured(matcher: Matcher, held_out, regions, swapped) -> dict:
    with torch.no_grad():
        images = matcher.encode_image(regions)
        scores = matcher.scores(images, matcher.encode_text(held_out.captions))
    found = retrieval.recalls(scores, neutral=held_out.neutral)
    share = {
        name: round(matching.prefers(matcher, seen, right, wrong).double().mean().item(), 4)
        for name, (seen, right, wrong) in swapped.items()
    }
    return {**found._asdict(), "swapped": share, "true": true_before_false(scores, held_out)}


def true_before_false(scores: torch.Tensor, held_out) -> float:
    """Of all pairs of a caption that is true of a picture but was written for another, and one that
    is false of it, the share in which the true one scores higher."""
    right = total = 0
    for row, neutral, own in zip(scores, held_out.neutral, own_captions(len(scores))):
        true, false = row[neutral], row[~neutral & ~own]
        right += (true[:, None] > false).sum().item()
        total += len(true) * len(false)
    return round(right / total, 4)


def run(steps: int, seeds: list[int], file: Path) -> None:
    reader = zoo.load("reader-scenes")
    held_out = matching.gallery(NUMBER, 70)
    regions = propose(reader, held_out.pictures)
    swapped = {
        name: (propose(reader, scenes.render(drawn, 32)), right, wrong)
        for name, (drawn, right, wrong) in matching.swapped(PAIRS, 71).items()
    }
    result = json.loads(file.read_text("utf-8")) if file.exists() else {}
    if result.get("steps") != steps:
        result = {"steps": steps, "gallery": NUMBER, "runs": {}}
    result["pairs"] = {name: len(right) for name, (_, right, _) in swapped.items()}
    for seed in seeds:
        known = matches.pool(matching.GROUPS, seed)
        seen = propose(reader, scenes.render(known.scenes, 32))
        for name, (branches, all_true) in KINDS.items():
            runs = result["runs"].setdefault(name, {})
            if str(seed) in runs:
                continue
            torch.manual_seed(seed)
            matcher = Matcher(matching.small(branches, warmup=2 * steps // 3))
            batches = matches.batches(known, seen, groups=4, all_true=all_true)
            *_, last = train(matcher, batches, steps, seed=seed, **matching.TRAINING)
            runs[str(seed)] = measured(last.ema.eval(), held_out, regions, swapped)
            print(f"{name}, seed {seed}:", runs[str(seed)], flush=True)
            file.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=matching.STEPS)
    parser.add_argument("--out", type=Path, default=matching.STORED)
    given = parser.parse_args()
    run(given.steps, given.seeds, given.out)


if __name__ == "__main__":
    main()
