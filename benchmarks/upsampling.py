"""What an upsampler makes of small pictures of scenes, as two tables in Markdown.

    python -m benchmarks.upsampling [--weights FILE] [--base FILE] [--samples 100] [--seeds 3]
                                    [--steps 8] [--grid PICTURE]

FILE: what `labkit train` wrote for glide-scenes-upsample and glide-scenes, or the ``.run`` of a
training that goes on; without it, the shipped weights. Each seed has its own scenes and noise.

First, scenes at 32 pixels are made twice as large. *Misfit*: the root of the mean squared
difference from the same scenes rendered at 64, 0 … 2; *of bilinear*: that over the misfit
of bilinear interpolation. Then, the same with pictures that the base model drew. Nobody knows how
they would look at 64 pixels, so the scene that the attribute reader sees in each is rendered
instead, where what it sees is a scene at all; *parts*: the share of the sentence that the reader
finds in the large picture, halved again. *Not rounded* is told the small picture as it is, not as
a file holds it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import tables
from benchmarks.text_to_scenes import system_of
from labkit import checkpoint, scenes, zoo
from labkit.denoiser import MapX0, clip
from labkit.lab import plots
from labkit.sampler import from_noise
from labkit.scenes.scores import caption_accuracy, misfit, valid
from labkit.systems.cascade import Cascade
from labkit.systems.glide import GLIDE
from labkit.systems.glide_inputs import fast27

Enlarges = Callable[[Tensor, list[str], int], Tensor]  # small pictures, sentences, a seed


def interpolated(mode: str) -> Enlarges:
    """Twice the side by that kind of interpolation."""
    return lambda low, captions, seed: F.interpolate(low, scale_factor=2, mode=mode).clamp(-1, 1)


def upsampled(system: GLIDE, **options) -> Enlarges:
    """Twice the side by the upsampler, as it is usually sampled."""

    def draw(low: Tensor, captions: list[str], seed: int) -> Tensor:
        *_, last = system.generate(captions, low=low, seed=seed, **options)
        return last.x

    return draw


def not_rounded(system: GLIDE) -> Enlarges:
    """The same, but the upsampler sees more of the small picture than a file would hold."""

    def draw(low: Tensor, captions: list[str], seed: int) -> Tensor:
        cond = system.encode(captions)._replace(image=system.beside(low, None, None))
        size, times = system.config.net.size, fast27(system.config.T)
        *_, last = from_noise(
            MapX0(system.denoiser, clip), (len(low), 3, size, size), times, seed=seed,
            temperature=0.997, cond=cond,
        )  # fmt: skip
        return last.x

    return draw


def ways(system: GLIDE, steps: list[int]) -> dict[str, Enlarges]:
    """All that is compared, by name."""
    found = {mode: interpolated(mode) for mode in ("bilinear", "bicubic")}
    found["upsampler, the authors' 27 steps"] = upsampled(system)
    for each in [27, *steps]:
        found[f"{each} steps, evenly"] = upsampled(system, steps=each)
    found["not rounded"] = not_rounded(system)
    found["guided, scale 3"] = upsampled(system, scale=3.0)
    silent, plain = upsampled(system), upsampled(system)
    found["no sentence"] = lambda low, captions, seed: silent(low, [None] * len(low), seed)
    found["another's sentence"] = lambda low, captions, seed: plain(
        low, captions[1:] + captions[:1], seed
    )
    return found


def rms(pictures: Tensor, others: Tensor) -> float:
    """The mean over pictures of the root of the mean squared difference."""
    return (pictures - others).square().mean((1, 2, 3)).sqrt().mean().item()


def of_real(enlarge: Enlarges, samples: int, seed: int) -> list[float]:
    """Misfit, and its share of that of bilinear interpolation, for small pictures of scenes."""
    truth = scenes.draw(samples, 20_011 + seed, "train")
    low, high, captions = (
        scenes.render(truth, 32),
        scenes.render(truth, 64),
        scenes.captions(truth, seed),
    )
    found = rms(enlarge(low, captions, seed), high)
    return [found, found / rms(interpolated("bilinear")(low, captions, seed), high)]


def of_drawn(enlarge: Enlarges, low: Tensor, captions: list[str], seed: int) -> list[float]:
    """Misfit to what was seen, its share of the bilinear one's, parts and valid scenes."""
    reader = zoo.load("reader-scenes")
    seen = reader.read(low)
    rows = valid(seen, low)
    large = enlarge(low, captions, seed)
    bilinear = interpolated("bilinear")(low, captions, seed)
    own, theirs = (misfit(seen, each)[rows].mean().item() for each in (large, bilinear))
    small = F.avg_pool2d(large, 2)
    again = reader.read(small)
    share = valid(again, small).double().mean().item()
    return [own, own / theirs, caption_accuracy(again, captions).parts, share]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, action="append", help="further numbers of them")
    parser.add_argument("--grid", type=Path, help="base, bilinear and upsampled, four of each")
    given = parser.parse_args()
    system = system_of(given.weights, "glide-scenes-upsample")
    base = system_of(given.base)
    seeds = range(given.seeds)
    every = ways(system, given.steps or [4, 8])

    print(tables.head("32 to 64 pixels", "misfit", "of bilinear"))
    for name, enlarge in every.items():
        started = time.process_time()
        runs = [of_real(enlarge, given.samples, seed) for seed in seeds]
        spent = (time.process_time() - started) / given.samples / given.seeds
        print(tables.row(f"{name} ({spent:.3f} s a picture)", runs, 4), flush=True)

    asked = [scenes.captions(scenes.draw(given.samples, 30_011 + s, "train"), s) for s in seeds]
    drawn = [
        list(base.generate(row, seed=seed, eta=1.0))[-1].pictures for seed, row in enumerate(asked)
    ]
    print(
        "\n" + tables.head("what the base model drew", "misfit", "of bilinear", "parts", "scenes")
    )
    for name, enlarge in every.items():
        runs = [of_drawn(enlarge, *pair, seed) for seed, pair in enumerate(zip(drawn, asked))]
        print(tables.row(name, runs, 4), flush=True)

    started = time.perf_counter()
    list(Cascade(base=base, upsampler=system).generate(asked[0][:4]))
    spent = time.perf_counter() - started
    print(f"\nfour pictures by both: {spent:.2f} s on {torch.get_num_threads()} threads")
    if given.grid:
        rows = [interpolated("nearest"), interpolated("bilinear"), upsampled(system)]
        made = torch.cat([enlarge(drawn[0][:8], asked[0][:8], 0) for enlarge in rows])
        checkpoint.write_whole(given.grid, plots.in_format(plots.image_grid(made, 8), "PNG"))


if __name__ == "__main__":
    main()
