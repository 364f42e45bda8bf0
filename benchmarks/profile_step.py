"""Where the time of a training step goes, and how far it is from this machine's best.

    python -m benchmarks.profile_step [NAME]     NAME as in `labkit list`, ddpm-digits if left out

The step's floating-point operations are counted by torch; the machine's rate is that of a square
matrix product in float32, with the same number of threads.
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from labkit import train, zoo

# What an operation of torch's profile belongs to: the first part of a name that fits.
PARTS = {
    "convolution_backward": "convolutions, backward",
    "convolution": "convolutions, forward",
    "conv2d": "convolutions, forward",
    "mkldnn": "convolutions, forward",
    "mkl": "convolutions, forward",
    "group_norm": "group norm",
    "silu": "SiLU",
    "addmm": "linear layers",
    "mm": "linear layers",
    "attention": "attention",
    "adam": "optimizer",
    "lerp": "averaging",
    "norm": "clipping",
    "cat": "concatenation",
    "copy_": "copies and conversions",
    "mul": "arithmetic",
    "add": "arithmetic",
    "sum": "sums",
}


def matmul_rate(side: int = 1024, seconds: float = 1.0) -> float:
    """The best GFLOP/s of a float32 matrix product, over that many seconds."""
    a, b = torch.randn(2, side, side)
    best, end = 1e9, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * side**3 / best / 1e9


def part(operation: str) -> str:
    """Which row of the table an operation is counted in."""
    return next((name for key, name in PARTS.items() if key in operation), "everything else")


def measure(name: str, steps: int = 30) -> dict:
    """Seconds and operations of a step of that recipe, and the share of each part."""
    made = zoo.recipe(name)
    system, batches = zoo.build(name), zoo.batches_of(made)
    running = train.train(system, batches, **{**made.training, "steps": 10 * steps})
    for _ in range(3):
        next(running)
    with FlopCounterMode(display=False) as counter:
        next(running)
    taken = []
    for _ in range(steps):
        start = time.perf_counter()
        next(running)
        taken.append(time.perf_counter() - start)
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        for _ in range(5):
            next(running)
    times: dict[str, float] = {}
    for event in watched.key_averages():
        times[part(event.key)] = times.get(part(event.key), 0.0) + event.self_cpu_time_total
    total = sum(times.values())
    images = batches(torch.Generator().manual_seed(0))
    return {
        "images": len(images[0]) if isinstance(images, tuple) else len(images),
        "seconds": median(taken),
        "gflop": counter.get_total_flops() / 1e9,
        "matmul": matmul_rate(),
        "shares": {key: value / total for key, value in sorted(times.items(), key=by_time)},
    }


def by_time(item: tuple[str, float]) -> float:
    return -item[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", default="ddpm-digits")
    name = parser.parse_args().name
    found = measure(name)
    rate = found["gflop"] / found["seconds"]
    print(f"{name}: a step of {found['images']} images takes {1000 * found['seconds']:.1f} ms")
    print(f"({found['images'] / found['seconds']:.0f} images/s, {torch.get_num_threads()} threads)")
    print(f"{found['gflop']:.2f} GFLOP a step, {rate:.0f} GFLOP/s;")
    print(f"a matrix product reaches {found['matmul']:.0f}: {rate / found['matmul']:.0%} of it")
    for key, share in found["shares"].items():
        print(f"{share:6.1%}  {key}")


if __name__ == "__main__":
    main()
