"""What the attribute reader has right, on clean, blurred and noisy pictures that it never saw.

    python -m benchmarks.reader [--scenes 2000] [--reader reader-scenes-b]

The table stands in `labkit.scenes.reader`: every score of generated scenes rests on it.
"""

from __future__ import annotations

import argparse
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit import zoo
from labkit.scenes import draw, render
from labkit.scenes.scores import agreement

COLUMNS = ("shape", "color", "size", "fill", "everything")


def blurred(pictures: Tensor, std: float) -> Tensor:
    """Pictures (N, C, H, W) behind a Gaussian of that many pixels."""
    reach = math.ceil(3 * std)
    bell = torch.exp(-torch.arange(-reach, reach + 1).float().square() / (2 * std**2))
    kernel = (bell[:, None] * bell)[None, None] / bell.sum() ** 2
    N, C, H, W = pictures.shape
    padded = F.pad(pictures, [reach] * 4, mode="replicate")
    return F.conv2d(padded.reshape(N * C, 1, *padded.shape[2:]), kernel).view(N, C, H, W)


def noisy(pictures: Tensor, std: float) -> Tensor:
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(1))
    return (pictures + std * noise).clamp(-1, 1)


def table(name: str, count: int, seed: int = 1_000_003) -> dict[str, dict[str, float]]:
    """The share of each attribute that the reader of that name has right, for each kind of
    picture."""
    scenes, reader = draw(count, seed, "all"), zoo.load(name)
    pictures = render(scenes, 32)
    kinds = {"clean": pictures}
    kinds |= {f"blurred, Gaussian of {std:g} px": blurred(pictures, std) for std in (0.6, 1.0)}
    kinds |= {f"noise of standard dev. {std:g}": noisy(pictures, std) for std in (0.1, 0.2, 0.3)}
    return {kind: agreement(reader.read(seen), scenes) for kind, seen in kinds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=int, default=2_000)
    parser.add_argument("--reader", default="reader-scenes")
    given = parser.parse_args()
    print(f"{'pictures':28}" + "".join(f"{name:>12}" for name in COLUMNS))
    for kind, scores in table(given.reader, given.scenes).items():
        print(f"{kind:28}" + "".join(f"{scores[name]:12.1%}" for name in COLUMNS))


if __name__ == "__main__":
    main()
