"""What an import costs: seconds in fresh processes, taken in turns, and the ratio to torch alone.

python -m benchmarks.imports [--runs 9]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from math import nan
from statistics import median

STATEMENTS = {
    "torch": "import torch",
    "labkit.sampler": "import labkit.sampler",
    "labkit.train": "import labkit.train",
    "labkit.zoo": "import labkit.zoo",
    "diffusers": "from diffusers import UNet2DModel, DDPMScheduler, DDIMScheduler",
    "denoising-diffusion-pytorch": (
        "from benchmarks.contenders import without_torchvision; without_torchvision(); "
        "from denoising_diffusion_pytorch import Unet, GaussianDiffusion"
    ),
}
TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def seconds(statement: str) -> float:
    """How long the import takes in a new process; not a number where there is nothing to import."""
    command = [sys.executable, "-c", TIMED.format(statement)]
    answer = subprocess.run(command, capture_output=True, text=True)
    return nan if answer.returncode else float(answer.stdout.split()[-1])


def measure(runs: int = 9, statements: dict[str, str] = STATEMENTS) -> dict[str, float]:
    """The median of each. A first round, which fills the disk's cache, does not count."""
    taken = {name: [] for name in statements}
    for run in range(runs + 1):
        for name, statement in statements.items():
            took = seconds(statement)
            if run > 0:
                taken[name].append(took)
    return {name: median(values) for name, values in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    medians = measure(parser.parse_args().runs)
    for name, value in medians.items():
        print(f"{name:30s} {value:6.3f} s   {value / medians['torch']:.3f} x torch")


if __name__ == "__main__":
    main()
