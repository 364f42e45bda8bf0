"""Lesson 12: what autoencoders keep, the sweep over f at equal compute, latents beside pixels.

    python -m benchmarks.latent_table autoencoders [NAME=FILE …] [--samples 200] [--seeds 3]
    python -m benchmarks.latent_table sweep [NAME=FILE …] [--only ROW …] [--seconds 240]
                                            [--updates N]
    python -m benchmarks.latent_table models [NAME=FILE …] [--samples 100] [--seeds 3]

FILE: weights of a recipe that are not the shipped ones. Each row is stored when it is done, in
--out, and takes the place of an older one. All seconds are of one core, by its own clock.

The sweep: latent diffusion models of 64-pixel scenes with a sentence, which differ in their latents
alone, each trained anew for so many seconds: *f = 1*, the pixels themselves; *f = 2, 4, 8*, by the
autoencoder of that f; *pixels, folded by 4*: squares of 4 x 4 pixels are the channels of one
place, which costs what f = 4 costs and needs no autoencoder; *f = 4, not scaled*: its latents as
they come, several times larger than the noise. As in the paper (tables 13, 14), the networks have
the same levels at 8 and 4 places a side, and one more for each doubling above.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import autoencoders, latent_diffusion
from benchmarks.scene_figures import COLUMNS, measured
from benchmarks.text_to_scenes import system_of
from labkit import denoiser, scenes, train
from labkit.lab import latent_table
from labkit.nets.autoencoder import AutoencoderConfig
from labkit.recipes.glide import captioned_scene_batches
from labkit.recipes.ldm import F2, F4, F8, RECIPES, SIZE
from labkit.systems.ldm import LDM, LDMConfig

STAGES = tuple(f"autoencoder-scenes-{kind}" for kind in ("f2", "f4", "f8", "f4-vq"))
SWEPT = ("parameters", "updates", "seconds", "training pictures/s", "sampled pictures/s")
PIXELS = AutoencoderConfig(SIZE, 3, 8, (1,), 1, latent=3, attention=False, groups=8)  # f = 1
FOLDED, UNSCALED = "pixels, folded by 4", "f = 4, not scaled"
ROWS = {"f = 1": PIXELS, "f = 2": F2, "f = 4": F4, "f = 8": F8, FOLDED: PIXELS, UNSCALED: F4}
SEED = 1_012  # of the sweep's weights and batches
BATCH = 64
SAMPLES, STEPS, SCALE = 72, 25, 3.0  # more pictures than the 64 features of the distance


class Identity(nn.Module):
    """Stands for the autoencoder of a model of pixels."""

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config = config

    def encode(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return x

    def decode(self, z: Tensor) -> Tensor:
        return z


def config_of(row: str) -> LDMConfig:
    """The recipe's configuration, of other latents."""
    own, stage = RECIPES["ldm-scenes"].config, ROWS[row]
    side = stage.latent_shape[1]
    levels = {8: (1.25, 1.5), 16: (1, 1.25, 1.5), 32: (1, 1, 1.25, 1.5), 64: (1, 1, 1, 1.25, 1.5)}
    net = replace(own.net, size=side, channels=stage.latent, multipliers=levels[side])
    if row == FOLDED:
        net = replace(net, fold=4, multipliers=levels[16])
    return replace(own, autoencoder=stage, net=net)


def built(row: str, files: dict[str, Path]) -> LDM:
    """The model before its training, with its autoencoder."""
    torch.manual_seed(SEED)
    system = LDM(config_of(row))
    stage = system.config.autoencoder
    if stage == PIXELS:
        system.autoencoder = Identity(stage)
        system.scale.fill_(1.0)
    else:
        name = f"autoencoder-scenes-f{stage.f}"
        system.begin_from(system_of(files.get(name), name))
    if row == UNSCALED:
        system.scale.fill_(1.0)
    return system


@contextmanager
def loss_of(row: str) -> Iterator[None]:
    """Inside it, the row that is not scaled may have its loss, which refuses such large latents:
    shown is what that spares a learner."""
    before = denoiser.LARGEST
    denoiser.LARGEST = 100.0 if row == UNSCALED else before
    try:
        yield
    finally:
        denoiser.LARGEST = before


def trained(
    row: str, files: dict[str, Path], seconds: float, updates: int | None
) -> tuple[LDM, int, float]:
    """The averaged model after that many seconds, or updates; how many, and how long they took."""
    options = RECIPES["ldm-scenes"].training | {"ema": 0.98, "seed": SEED}
    batches = captioned_scene_batches(BATCH, SIZE)

    def run(steps: int) -> tuple[LDM, float]:
        system, started = built(row, files), time.process_time()
        made = options | {"steps": steps, "warmup": min(100, max(1, steps // 10))}
        with loss_of(row):
            *_, last = train.train(system.train(), batches, **made)
        return last.ema.eval(), time.process_time() - started

    if updates is None:
        _, spent = run(3)
        _, longer = run(8)  # the first updates are slower
        updates = max(10, round(seconds / ((longer - spent) / 5)))
    system, spent = run(updates)
    return system, updates, spent


def asked(samples: int, seed: int) -> tuple[Tensor, list[str]]:
    """Real pictures of 64 pixels, and their sentences."""
    drawn = scenes.draw(samples, latent_diffusion.FIRST + seed, "train")
    return scenes.render(drawn, SIZE), scenes.captions(drawn, seed)


class File:
    """The stored tables, written after each row."""

    def __init__(self, path: Path):
        self.path = path
        self.tables = latent_table.stored(path) if path.exists() else {}

    def table(self, name: str, columns: Sequence[str], **facts) -> None:
        found = self.tables.setdefault(name, {"rows": {}})
        found |= {"columns": list(columns), **facts}

    def row(self, table: str, name: str, runs: Sequence[Sequence[float]]) -> None:
        """None for what is not a number."""
        kept = [[None if x != x else round(float(x), 4) for x in run] for run in runs]
        self.tables[table]["rows"][name] = kept
        print(name, kept, flush=True)
        text = json.dumps(self.tables, indent=1, ensure_ascii=False)
        self.path.write_text(text + "\n", "utf-8")


def measure_autoencoders(file: File, files: dict[str, Path], samples: int, seeds: int) -> None:
    file.table("autoencoders", autoencoders.COLUMNS, samples=samples, seeds=seeds)
    truths = [scenes.draw(samples, autoencoders.FIRST + seed, "all") for seed in range(seeds)]
    none = float("nan")
    real = [[12_288, none, 0, *autoencoders.read(scenes.render(t, SIZE), t), none, none]
            for t in truths]  # fmt: skip
    file.row("autoencoders", "real", real)
    for name in STAGES:
        stage = system_of(files.get(name), name)
        file.row("autoencoders", name, [autoencoders.evaluate(stage, t) for t in truths])


def measure_sweep(
    file: File, files: dict[str, Path], only: Sequence[str], seconds: float, updates: int | None
) -> None:
    facts = {"steps": STEPS, "scale": SCALE, "eta": 0.0}
    file.table("sweep", SWEPT + COLUMNS, seconds=seconds, samples=SAMPLES, **facts)
    _, captions = asked(SAMPLES, 0)
    none = [float("nan")] * len(SWEPT)
    # so few real pictures are at other distances in each set
    floor = [[*none, *measured(*asked(SAMPLES, seed), SIZE)] for seed in range(8)]
    file.row("sweep", "real", floor)
    for row in only:
        system, steps, spent = trained(row, files, seconds, updates)
        bounds = denoiser.clip if system.config.autoencoder == PIXELS else None
        pictures, sampled = latent_diffusion.draw(system, captions, 0, **facts, map_x0=bounds)
        size = sum(weight.numel() for weight in system.denoiser.parameters())
        figures = [size, steps, spent, BATCH * steps / spent, sampled]
        file.row("sweep", row, [[*figures, *measured(pictures, captions, SIZE)]])


def measure_models(file: File, files: dict[str, Path], samples: int, seeds: int) -> None:
    columns = ("sampled pictures/s", *COLUMNS)
    facts = {"steps": STEPS, "scale": SCALE, "eta": 1.0}
    file.table("models", columns, samples=samples, seeds=seeds, **facts)
    every = [asked(samples, seed) for seed in range(seeds)]
    none = float("nan")
    file.row("models", "real", [[none, *measured(*pair, SIZE)] for pair in every])
    for name in ("ldm-scenes", "glide-scenes-64"):
        system, runs, others = system_of(files.get(name), name), [], []
        for seed, (_, captions) in enumerate(every):
            made, rate = latent_diffusion.draw(system, captions, seed, **facts)
            runs.append([rate, *measured(made, captions, SIZE)])
            others.append([none, *measured(made, captions[1:] + captions[:1], SIZE)])
        file.row("models", name, runs)
        file.row("models", f"{name}, shuffled", others)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=("autoencoders", "sweep", "models"))
    parser.add_argument("files", nargs="*")
    parser.add_argument("--samples", type=int)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seconds", type=float, default=240)
    parser.add_argument("--updates", type=int, help="where a few updates told the time wrongly")
    parser.add_argument("--out", type=Path, default=latent_table.STORED)
    given = parser.parse_args()
    files = {name: Path(path) for name, _, path in (each.partition("=") for each in given.files)}
    file = File(given.out)
    if given.table == "sweep":
        measure_sweep(file, files, given.only, given.seconds, given.updates)
    elif given.table == "models":
        measure_models(file, files, given.samples or 100, given.seeds)
    else:
        measure_autoencoders(file, files, given.samples or 200, given.seeds)


if __name__ == "__main__":
    main()
