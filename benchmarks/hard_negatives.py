"""Lesson 07: the shipped `clip-scenes` trained on with swapped sentences as hard negatives.

    python -m benchmarks.hard_negatives [--steps 300] [--seeds 3] [--out FILE]

Each seed has new scenes and new batches. The control gets the same, without the swapped sentences.
Measured is, on held-out scenes, how often the true sentence is nearer than the swapped one. FILE is
written after every run. The defaults take about two minutes of one core.
"""

import argparse
import json
from pathlib import Path

from labkit import zoo
from labkit.lab import hard_negatives
from labkit.train import shuffled, train


def run(steps: int, seeds: int, scenes: int, file: Path) -> None:
    clip = zoo.load("clip-scenes").requires_grad_(False)
    held_out = hard_negatives.placed(clip, scenes // 4, 40, "all")
    at = sorted({1, *range(max(steps // 6, 1), steps + 1, max(steps // 6, 1))})
    result = {"steps": at, "held_out": len(held_out[0]), "runs": {"hard": [], "control": []}}
    for seed in range(1, seeds + 1):
        known = hard_negatives.placed(clip, scenes, 40 + seed, "train")
        result["scenes"], batches = len(known[0]), shuffled(*known, batch=48)
        for name, runs in result["runs"].items():
            tuned = hard_negatives.Tuned(clip, hard=name == "hard")
            walk = train(tuned, batches, steps, lr=4e-3, warmup=20, ema=0.9, seed=seed)
            shares = [hard_negatives.share_right(s.ema, held_out) for s in walk if s.step in at]
            runs.append([round(share, 4) for share in shares])
            print(f"{name}, seed {seed}: {runs[-1]}", flush=True)
            file.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scenes", type=int, default=48_000, help="drawn before the selection")
    parser.add_argument("--out", type=Path, default=hard_negatives.STORED)
    given = parser.parse_args()
    run(given.steps, given.seeds, given.scenes, given.out)


if __name__ == "__main__":
    main()
