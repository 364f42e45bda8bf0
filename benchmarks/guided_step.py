"""What guidance costs: a denoiser's step alone, by classifier-free guidance, by a classifier.

    python -m benchmarks.guided_step [--batch 100] [--rounds 30]

All three use the shipped `adm-digits` and take turns, so that a busy machine slows them alike.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from labkit import zoo
from labkit.guidance import ClassifierFree, ScoreGuidance
from labkit.sampler import ddim


def steps(batch: int) -> dict:
    """The three denoisers, as functions of (x, t)."""
    system, guide = zoo.load("adm-digits"), zoo.load("noisy-classifier-digits")
    labels = torch.arange(batch) % system.classes
    cond = system.encode(labels)
    plain = system.denoiser
    free = ClassifierFree(plain, system.null, 2.0)
    steered = ScoreGuidance(plain, guide.log_prob(labels), 2.0)
    kinds = {"plain": plain, "classifier-free": free, "classifier": steered}
    return {name: lambda x, t, by=by: by(x, t, cond) for name, by in kinds.items()}


def measure(batch: int = 100, rounds: int = 30) -> dict[str, float]:
    """The median seconds of a DDIM step of each kind, for a batch of 16 × 16 digits."""
    kinds = steps(batch)
    schedule = zoo.load("adm-digits").denoiser.schedule
    x, taken = torch.randn(batch, 1, 16, 16), {name: [] for name in kinds}
    with torch.no_grad():
        for turn in range(rounds + 3):  # the first three warm up
            for name, denoise in kinds.items():
                start = time.perf_counter()
                ddim(schedule, denoise(x, 500), x, 500, 480)
                if turn >= 3:
                    taken[name].append(time.perf_counter() - start)
    return {name: median(seconds) for name, seconds in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    medians = measure(given.batch, given.rounds)
    print(f"a step of {given.batch} digits, {torch.get_num_threads()} threads")
    for name, seconds in medians.items():
        ratio = seconds / medians["plain"]
        print(f"{name:16} {1000 * seconds:6.1f} ms   {ratio:.2f} x plain")


if __name__ == "__main__":
    main()
