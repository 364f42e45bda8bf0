"""Lesson 07: the shipped `clip-scenes` trained on with swapped sentences as hard negatives.

    python -m benchmarks.hard_negatives [--steps 300] [--seeds 1 2 3] [--out FILE]

Each seed has new scenes and new batches. The control gets the same, without the swapped sentences.
Measured is, on held-out scenes, how often the true sentence is nearer than the swapped one, and
after the last step what else CLIP can do. FILE is written after every seed; what it holds of other
seeds, with the same steps, stays. The defaults take about three minutes of one core.
"""

import argparse
import json
from pathlib import Path

from labkit import zoo
from labkit.lab import hard_negatives
from labkit.train import shuffled, train


def rounded(found: dict) -> dict:
    return {name: round(value, 4) for name, value in found.items()}


def run(steps: int, seeds: list[int], scenes: int, file: Path) -> None:
    clip = zoo.load("clip-scenes").requires_grad_(False)
    held_out = hard_negatives.placed(clip, scenes // 4, 40, "all")
    skills = hard_negatives.Skills(clip)
    at = sorted({1, *range(max(steps // 6, 1), steps + 1, max(steps // 6, 1))})
    old = hard_negatives.stored(file) if file.exists() else {}
    result = {"steps": at, "held_out": len(held_out[0]), "scenes": 0}
    if any(old.get(name) != result[name] for name in ("steps", "held_out")):
        old = {}
    result["runs"] = old.get("runs", {"hard": [], "control": []})
    before = rounded(skills.measure(hard_negatives.Tuned(clip, hard=True).eval()))
    result["skills"] = {"hard": {}, "control": {}, **old.get("skills", {}), "before": before}
    for seed in seeds:
        known = hard_negatives.placed(clip, scenes, 40 + seed, "train")
        result["scenes"], batches = len(known[0]), shuffled(*known, batch=48)
        for name, runs in result["runs"].items():
            tuned, shares = hard_negatives.Tuned(clip, hard=name == "hard"), []
            for state in train(tuned, batches, steps, lr=4e-3, warmup=20, ema=0.9, seed=seed):
                if state.step in at:
                    shares.append(round(hard_negatives.share_right(state.ema, held_out), 4))
            runs[seed - 1 : seed] = [shares]
            result["skills"][name][str(seed)] = rounded(skills.measure(state.ema))
            print(f"{name}, seed {seed}: {shares}", result["skills"][name][str(seed)], flush=True)
        file.write_text(json.dumps(result, indent=1) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="from 1 upwards")
    parser.add_argument("--scenes", type=int, default=48_000, help="drawn before the selection")
    parser.add_argument("--out", type=Path, default=hard_negatives.STORED)
    given = parser.parse_args()
    run(given.steps, given.seeds, given.scenes, given.out)


if __name__ == "__main__":
    main()
