"""What is painted into a hole in a scene, and how well it fits, as a table in Markdown.

    python -m benchmarks.inpainting [--weights FILE] [--base FILE] [--samples 100] [--seeds 3]
                                    [--scale 3] [--grid PICTURE]

FILE: what `labkit train` wrote for glide-scenes-inpaint and glide-scenes, or the ``.run`` of a
training that goes on; without it, the shipped weights. One object of each scene is cut out with a
square around it, and the sentence that leaves nothing out asks for it again. Columns:

- *parts*: the share of its shape, color, size and fill that the attribute reader sees there.
- *scenes*: of pictures that are scenes at all.
- *kept*: of pictures whose known pixels are equal bit for bit.
- *seam*: the mean jump from a known pixel to a painted neighbor, over the mean jump at the same
  place in the real picture: 1 is as smooth as real.
- *seam, any*: the same for the masks of training (`labkit.data.masks`), which cut objects in two.

The rows below the trained model do without training: the base model is held to the known pixels in
x0 (`keep_known`); or x_s gets them with their noise after each step ("blended", as SDEdit and
Blended Diffusion); or that, and each step is taken several times (RePaint, Lugmayr et al. 2022).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import tables
from benchmarks.text_to_scenes import system_of
from labkit import checkpoint, scenes, zoo
from labkit.casting import like
from labkit.data import masks
from labkit.denoiser import MapX0, clip
from labkit.guidance import ClassifierFree
from labkit.lab import plots
from labkit.sampler import ddim, noise_like
from labkit.scenes import holes
from labkit.scenes.descriptions import descriptions
from labkit.scenes.scores import valid
from labkit.systems.glide import GLIDE

STEPS, SIZE = 25, 32
Paints = Callable[[list[str], Tensor, Tensor, int], Tensor]  # sentences, pictures, masks, a seed


def trained(system: GLIDE, scale: float) -> Paints:
    """As `GLIDE.generate` does it: a model that learned to, or the base model held in x0."""

    def paint(captions: list[str], image: Tensor, mask: Tensor, seed: int) -> Tensor:
        options = {"steps": STEPS, "scale": scale, "seed": seed, "eta": 1.0}
        *_, last = system.generate(captions, known=(image, mask), **options)
        return last.x

    return paint


def repainted(system: GLIDE, scale: float, times: int = 1) -> Paints:
    """After each step, known pixels are those of the picture with their noise; each step is taken
    so many times, with noise in between that leads back to where it began."""

    def paint(captions: list[str], image: Tensor, mask: Tensor, seed: int) -> Tensor:
        schedule, generator = system.denoiser.schedule, torch.Generator().manual_seed(seed)
        denoise = MapX0(ClassifierFree(system.denoiser, system.null, scale), clip)
        cond, x = system.encode(captions), noise_like(image, generator)
        walk = schedule.timesteps(STEPS)
        for t, s in zip(walk, walk[1:]):
            for turn in reversed(range(times if s else 1)):
                free = ddim(schedule, denoise(x, t, cond), x, t, s, generator, eta=1.0)
                known = schedule.diffuse(image, s, noise_like(image, generator)) if s else image
                x = torch.where(mask.bool(), known, free)
                if turn:
                    share = schedule.at(t, x) / schedule.at(s, x)
                    noise = noise_like(x, generator)
                    x = like(share.sqrt(), x) * x + like((1 - share).sqrt(), x) * noise
        return x

    return paint


def drawn(samples: int, seed: int) -> scenes.Scenes:
    """Scenes of which one object can be erased without touching another."""
    return holes.with_room(scenes.draw(2 * samples + 20, seed, "train")).take(slice(samples))


def seam(painted: Tensor, real: Tensor, mask: Tensor) -> float:
    """How much more pictures jump at the border of what is known than real ones do there."""
    return (holes.jump(painted, mask).mean() / holes.jump(real, mask).mean()).item()


def evaluate(paint: Paints, samples: int, seed: int) -> list[float]:
    """The figures of one seed, in the order of the columns."""
    truth = drawn(samples, 40_009 + seed)
    real, captions = scenes.render(truth, SIZE), descriptions(truth, seed)
    mask, chosen = holes.around_one(truth, SIZE)
    painted = paint(captions, real, mask, seed)
    seen = zoo.load("reader-scenes").read(painted)
    kept = (painted == real) | (mask == 0)
    erased = masks.erased(samples, SIZE, torch.Generator().manual_seed(seed))
    rows = (erased.mean((1, 2, 3)) > 0).nonzero()[:, 0]  # where something is known
    few = [captions[row] for row in rows]
    other = paint(few, real[rows], erased[rows], seed)
    return [
        holes.shown(seen, truth, chosen).double().mean().item(),
        valid(seen, painted).double().mean().item(),
        kept.all((1, 2, 3)).double().mean().item(),
        seam(painted, real, mask),
        seam(other, real[rows], erased[rows]),
    ]


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=3.0)
    parser.add_argument("--times", type=int, default=4, help="of each of RePaint's steps")
    parser.add_argument("--grid", type=Path, help="real, its hole, and what each row paints")
    given = parser.parse_args()
    system, base = system_of(given.weights, "glide-scenes-inpaint"), system_of(given.base)
    free = trained(system, given.scale)
    rows: dict[str, Paints] = {
        "trained to inpaint": free,
        "the same, no sentence": lambda captions, *rest: free([None] * len(captions), *rest),
        "base, held in x0": trained(base, given.scale),
        "base, blended": repainted(base, given.scale),
        f"base, RePaint, {given.times} times": repainted(base, given.scale, given.times),
        "real": lambda captions, image, mask, seed: image,
    }
    print(
        tables.head(
            "scale " + format(given.scale, "g"), "parts", "scenes", "kept", "seam", "seam, any"
        )
    )
    for name, paint in rows.items():
        started = time.process_time()
        runs = [evaluate(paint, given.samples, seed) for seed in range(given.seeds)]
        spent = (time.process_time() - started) / given.samples / given.seeds / 2
        print(tables.row(f"{name} ({spent:.2f} s a picture)", runs, 3), flush=True)
    if given.grid:
        truth = drawn(8, 40_009)
        image, captions, (mask, _) = (
            scenes.render(truth, SIZE),
            descriptions(truth, 0),
            holes.around_one(truth, SIZE),
        )
        made = [image, image * mask, *(paint(captions, image, mask, 0) for paint in rows.values())]
        grid = plots.image_grid(torch.cat(made), 8)
        checkpoint.write_whole(given.grid, plots.in_format(grid, "PNG"))


if __name__ == "__main__":
    main()
