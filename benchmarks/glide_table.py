"""Lesson 09: classifier-free against CLIP guidance, and what the base model of GLIDE fails at.

    python -m benchmarks.glide_table [--weights FILE] [--samples 100] [--seeds 3] [--steps 20]
                                     [--scales 1 1.5 2 3 5] [--guided 30 100 300 1000] [--out FILE]

FILE of the weights: what `labkit train glide-scenes` wrote; without it, the shipped ones. All ways
of one seed have the same sentences and begin with the same noise. The other rows, at the scale with
the most parts: sentences with combinations that training never showed, sentences of others
(shuffled), and real pictures with their own. FILE is written after each row; the defaults take
about a quarter of an hour of one core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from labkit import zoo
from labkit.lab import glide_table
from labkit.lab.glide_table import BY_CLIP, FREE, Measure


def rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]


def run(
    weights: Path | None, samples: int, seeds: int, steps: int, scales, guided, file: Path
) -> dict:
    model, reader = zoo.load("glide-scenes", weights), zoo.load("reader-scenes")
    clip, guide = zoo.load("clip-scenes"), zoo.load("noisy-clip-scenes")
    measure = Measure(reader, clip, guide, samples)
    every = [glide_table.asked(samples, seed) for seed in range(seeds)]
    result = {"samples": samples, "steps": steps, "seeds": seeds, "guidance": {}, "rows": {}}
    result["kinds"] = {}

    def keep() -> None:
        file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")

    drawn = {}  # by scale, all seeds
    for scale in scales:
        drawn[scale] = [
            glide_table.free(model, captions, scale, steps, seed)
            for seed, (_, captions) in enumerate(every)
        ]
        add(result["guidance"], FREE, scale, drawn[scale], every, measure)
        keep()
    for weight in guided:
        made = []
        for seed, (_, captions) in enumerate(every):
            with torch.no_grad():
                vectors = clip.encode_text(captions)
            made.append(glide_table.by_clip(model, captions, weight, steps, seed, guide, vectors))
        add(result["guidance"], BY_CLIP, weight, made, every, measure)
        keep()
    own = result["guidance"][FREE]
    best = own["scales"][glide_table.column(own["runs"], "parts").mean(1).argmax()]
    result["best"] = best
    unseen = [glide_table.asked(samples, seed, "unseen") for seed in range(seeds)]
    rows = {
        "train": [(made, said) for made, (_, said) in zip(drawn[best], every)],
        "held out": [
            (glide_table.free(model, said, best, steps, seed), said)
            for seed, (_, said) in enumerate(unseen)
        ],
        "shuffled": [(made, said[1:] + said[:1]) for made, (_, said) in zip(drawn[best], every)],
        "real": every,
        "real, held out": unseen,
    }
    for name, pairs in rows.items():
        result["rows"][name] = [rounded(measure(*pair)) for pair in pairs]
        pictures = torch.cat([made for made, _ in pairs])
        shown = measure.kinds(pictures, sum((said for _, said in pairs), []))
        result["kinds"][name] = {kind: round(share, 4) for kind, share in shown.kinds.items()}
        result.setdefault("said", {})[name] = shown.said
        print(name, result["rows"][name], flush=True)
        keep()
    return result


def add(table: dict, way: str, scale: float, made: list, every: list, measure: Measure) -> None:
    """One row of the table, a list of figures for each seed."""
    row = table.setdefault(way, {"scales": [], "runs": []})
    row["scales"].append(scale)
    row["runs"].append([rounded(measure(own, said)) for own, (_, said) in zip(made, every)])
    print(way, scale, row["runs"][-1], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0, 1.5, 2.0, 3.0, 5.0])
    parser.add_argument("--guided", type=float, nargs="+", default=[30.0, 100.0, 300.0, 1000.0])
    parser.add_argument("--out", type=Path, default=glide_table.STORED)
    given = parser.parse_args()
    run(
        given.weights, given.samples, given.seeds, given.steps, given.scales, given.guided,
        given.out,
    )  # fmt: skip


if __name__ == "__main__":
    main()
