"""One contender, in a process of its own: python -m benchmarks.race NAME [options] → one JSON line.

The clock runs while the contender trains, and stops while its weights are copied. Afterwards the
copies are judged: 1,000 samples of 50 DDIM steps each, in the features of `classifier-digits`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import sys
import time
from contextlib import redirect_stderr

THRESHOLDS = (0.05, 0.02, 0.01)


class Evaluator:
    """Fréchet distances to the real digits, and seconds of sampling, each computed once."""

    def __init__(self, contender, real, samples: int, patience: float, clock):
        from labkit import metrics, zoo

        self.contender, self.samples, self.clock, self.metrics = contender, samples, clock, metrics
        self.patience = patience
        self.nets = {name: zoo.load(name) for name in ("classifier-digits", "classifier-digits-b")}
        self.real = {name: metrics.see(net, real) for name, net in self.nets.items()}
        self.known = {}

    def __call__(self, snapshot, at: float) -> dict:
        """Scores by classifier, and the seconds that sampling took; only an estimate of these, if
        a few pictures show that all would take longer than the patience."""
        if at not in self.known:
            _, probe = self.sample(snapshot, 20)
            estimate = probe * self.samples / 20
            if estimate > self.patience:
                self.known[at] = {"sampling": estimate}  # and nothing known of quality
            else:
                self.known[at] = self.score(snapshot)
        return self.known[at]

    def sample(self, snapshot, n: int):
        start = self.clock()
        with open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):  # progress bars
            images = self.contender.sample(snapshot, n, steps=50, seed=0)
        return images, self.clock() - start

    def score(self, snapshot) -> dict:
        images, seconds = self.sample(snapshot, self.samples)
        found = {"sampling": seconds}
        for name, net in self.nets.items():
            found[name] = vars(self.metrics.score(self.real[name], self.metrics.see(net, images)))
        return found

    def distance(self, snapshot, at: float) -> float:
        return self(snapshot, at).get("classifier-digits", {"frechet": math.inf})["frechet"]


def train(make, images, seconds: float, marks: list[float], clock) -> tuple[object, dict, dict]:
    """Trains what `make` builds for that many seconds. Returns it, facts, and a copy of the
    averaged weights at each mark (in seconds), as near as steps allow."""
    import torch

    # A few steps on a first copy show how fast it is, so that the rate can fall to 0 in time.
    trial = make()
    trial.start(images, 10_000)
    for _ in range(3):
        trial.step()
    start, first = clock(), trial.count
    while clock() - start < min(3, seconds):
        trial.step()
    speed = (trial.count - first) / (clock() - start)

    torch.manual_seed(0)
    contender = make()
    steps = max(1, round(speed * seconds))
    contender.start(images, steps)
    snapshots, spent = {}, 0.0
    while contender.count < steps and spent < 1.1 * seconds:
        start = clock()
        contender.step()
        spent += clock() - start
        while marks and spent >= marks[0]:
            snapshots[marks.pop(0)] = contender.averaged()
    snapshots[round(spent, 1)] = contender.averaged()  # the end, whatever it is
    rate = contender.count * contender.batch / spent
    return contender, {"steps": contender.count, "seconds": spent, "images/s": rate}, snapshots


def first_below(evaluator, snapshots: dict, threshold: float) -> float | None:
    """The earliest snapshot not above the threshold, by halving: distances fall, but for noise."""
    times = sorted(snapshots)
    if evaluator.distance(snapshots[times[-1]], times[-1]) > threshold:
        return None
    low, high = -1, len(times) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if evaluator.distance(snapshots[times[middle]], times[middle]) <= threshold:
            high = middle
        else:
            low = middle
    return times[high]


def race(name: str, seconds: float, samples: int, patience: float, clock_name: str) -> dict:
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[clock_name]
    import torch

    from benchmarks.contenders import CONTENDERS
    from labkit.data import digits

    images, _ = digits.load(16)
    marks = [mark for mark in (5, 8, 12, 18, 25, 35, 45) if mark < 0.9 * seconds]
    contender, facts, snapshots = train(CONTENDERS[name], images, seconds, marks, clock)
    evaluator = Evaluator(contender, images, samples, patience, clock)
    end = max(snapshots)
    result = {
        "name": name,
        "parameters": sum(parameter.numel() for parameter in contender.net.parameters()),
        "batch": contender.batch,
        "threads": torch.get_num_threads(),
        **facts,
        "final": evaluator(snapshots[end], end),
        "reached": {str(mark): first_below(evaluator, snapshots, mark) for mark in THRESHOLDS},
    }
    result["curve"] = {str(at): evaluator.known[at] for at in sorted(evaluator.known)}
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result["peak MB"] = kilobytes / (1024**2 if sys.platform == "darwin" else 1024)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--patience", type=float, default=600)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    given = parser.parse_args()
    result = race(given.name, given.seconds, given.samples, given.patience, given.clock)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
