"""What makes text to scenes learn fastest: candidates trained for equal processor time, judged by
what they draw.

    python -m benchmarks.scenes_race --seconds 600 --seeds 2 --only adamw --only muon
    python -m benchmarks.scenes_race --table            # of all that was run

Each candidate changes one thing of a first recipe, AdamW at 1e-3, on the network of `glide-scenes`.
It trains on one thread (start two commands on two cores) until that much processor time is used,
then draws new captions; the attribute reader says what is in the pictures. Rows are added to
``scenes_race.json``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from labkit import scenes, zoo
from labkit.ema import Average
from labkit.optimizers import optimizer_for
from labkit.recipes import Recipe
from labkit.sampler import ddim
from labkit.scenes.descriptions import descriptions
from labkit.scenes.scores import caption_accuracy, misfit, valid
from labkit.schedule import NoiseSchedule
from labkit.systems.glide import GLIDE
from labkit.systems.perceptual import PerceptualLoss
from labkit.train import Batches

RESULTS = Path(__file__).with_name("scenes_race.json")


@dataclass(frozen=True, eq=False)
class Drawn(NoiseSchedule):
    """A schedule by which training draws other times and noise."""

    other: Callable

    def draw(self, x0, generator=None):
        t, eps = self.other(self, x0, *super().draw(x0, generator)[:2])
        return t, eps, self.diffuse(x0, t, eps)


def nearest_noise(schedule, x0, t, eps):
    """Immiscible diffusion (Li et al. 2024): within the batch each picture gets near noise."""
    from scipy.optimize import linear_sum_assignment

    _, columns = linear_sum_assignment(torch.cdist(x0.flatten(1), eps.flatten(1)).numpy())
    return t, eps[torch.as_tensor(columns)]


def lognormal(schedule, x0, t, eps, mean: float = 0.0, std: float = 2.0):
    """Times whose log-SNR is normal (Karras et al. 2022 in spirit)."""
    wanted = mean + std * torch.randn(len(x0), dtype=torch.float64)
    log_snr = schedule.log_snr[1:].flip(0).contiguous()
    return (schedule.T - torch.searchsorted(log_snr, wanted)).clamp(1, schedule.T), eps


def min_snr(predicted: Tensor, x0: Tensor, alpha_bar: Tensor, most: float = 5.0) -> Tensor:
    """What makes of the mean squared error in x0 one of weights min(SNR, 5) (Hang et al. 2023), but
    at least .1, so that all times count."""
    weights = (alpha_bar / (1 - alpha_bar)).clamp(0.1, most)
    return ((weights - 1) * (predicted - x0).square().mean((1, 2, 3))).mean()


@dataclass(frozen=True)
class Candidate:
    """One change of the recipe."""

    about: str
    net: dict = field(default_factory=dict)
    text: dict = field(default_factory=dict)
    config: dict = field(default_factory=dict)
    batch: int = 64
    lr: float = 1e-3
    ema: float = 0.999
    perceptual: float = 0.2
    optimizer: str = "adamw"
    draw: Callable | None = None  # other times and noise, see `Drawn`
    also: Callable | None = None  # a further loss, see `Denoiser.loss`


CANDIDATES = {
    "adamw": Candidate("where the race began: AdamW at 1e-3"),
    "muon": Candidate("Muon for matrices", optimizer="muon"),
    "muon 2e-3": Candidate("the same, twice the rate", optimizer="muon", lr=2e-3),
    "muon 4e-3": Candidate("four times the rate", optimizer="muon", lr=4e-3),
    "lr 2e-3": Candidate("AdamW, twice the rate", lr=2e-3),
    "batch 32": Candidate("half the batch", batch=32),
    "batch 128": Candidate("twice the batch", batch=128),
    "attention 16": Candidate("pixels look around at 16 x 16, too", net={"attention": (16, 8, 4)}),
    "wide below": Candidate("levels of 64, 96, 128", net={"multipliers": (1, 1.5, 2)}),
    "even": Candidate("levels of 64, 64, 64", net={"multipliers": (1, 1, 1)}),
    "width 48": Candidate("48, 64, 64", net={"width": 48, "multipliers": (1, 4 / 3, 4 / 3)}),
    "two blocks below": Candidate("1, 2, 2 blocks a level", net={"blocks": (1, 2, 2)}),
    "fold 4": Candidate("8 x 8, wider", net={"fold": 4, "width": 96, "multipliers": (1, 1.5)}),
    "no perceptual": Candidate("the paper's loss alone", perceptual=0),
    "perceptual 0.5": Candidate("more of it", perceptual=0.5),
    "nearest noise": Candidate("immiscible", draw=nearest_noise),
    "lognormal": Candidate("log-SNR ~ N(0, 2)", draw=lognormal),
    "min-snr": Candidate("min(SNR, 5) weights", also=min_snr),
    "v": Candidate("predicts v", config={"predicts": "v"}),
    "deeper text": Candidate("six text blocks", text={"depth": 6}),
}  # fmt: skip


# The changes of the network once more, for what won among the optimizers.
CANDIDATES |= {
    f"muon 2e-3, {name}": replace(CANDIDATES[name], optimizer="muon", lr=2e-3)
    for name in ("batch 32", "wide below", "even", "width 48", "attention 16", "two blocks below")
}


def built(candidate: Candidate, seed: int) -> tuple[GLIDE, Batches]:
    """The untrained system and its data."""
    recipe: Recipe = zoo.recipe("glide-scenes")
    config = replace(
        recipe.config,
        net=replace(recipe.config.net, **candidate.net),
        text=replace(recipe.config.text, **candidate.text),
        **candidate.config,
    )
    torch.manual_seed(seed)
    system = GLIDE(config)
    terms = [candidate.also] if candidate.also else []
    if candidate.perceptual:
        terms.append(PerceptualLoss(zoo.load("clip-scenes"), candidate.perceptual))
    if terms:
        system.perceptual = lambda *args: sum(term(*args) for term in terms)
    if candidate.draw:
        schedule = system.denoiser.schedule
        system.denoiser.schedule = Drawn(schedule.alpha_bar, candidate.draw)
    return system, partial(recipe.batches, candidate.batch)()


def trained(candidate: Candidate, seconds: float, seed: int) -> tuple[GLIDE, int]:
    """The averaged system after that much processor time, and how many pictures it saw."""
    system, batches = built(candidate, seed)
    optimizer = optimizer_for(system, candidate.optimizer, (0.9, 0.99), 0.01)
    average = Average(system, candidate.ema)
    generator, started, step = torch.Generator().manual_seed(seed), time.process_time(), 0
    while (progress := (time.process_time() - started) / seconds) < 1:
        # The rate falls to zero by the end, so that each is at its best there.
        rate = candidate.lr * min(1, (step + 1) / 200) * min(1, 2.5 * (1 - progress))
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = batches(generator)
        with torch.autocast("cpu", torch.bfloat16):
            loss = system.loss(batch)
        loss.backward()
        nn.utils.clip_grad_norm_(system.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update(step)
        step += 1
    return average.system, step * candidate.batch


@torch.no_grad()
def judged(system: GLIDE, number: int, seed: int = 12_345) -> dict[str, float]:
    """What its pictures show: captions of the training split's combinations, drawn anew."""
    reader = zoo.load("reader-scenes")
    drawn = scenes.draw(number, seed, "train")
    captions = scenes.captions(drawn, 7)
    found = {}
    for scale in (1.0, 3.0):
        with torch.autocast("cpu", torch.bfloat16):
            *_, last = system.generate(captions, steps=25, scale=scale, seed=3, step=ddim, eta=1.0)
        pictures = last.x.float().clamp(-1, 1)
        seen = reader.read(pictures)
        shown = caption_accuracy(seen, captions)
        found |= {
            f"parts {scale:g}": shown.parts,
            f"shapes {scale:g}": shown.kinds["shape"],
            f"valid {scale:g}": valid(seen, pictures).double().mean().item(),
            f"misfit {scale:g}": misfit(seen, pictures).mean().item(),
        }
    return found | {"caption": advantage(system, drawn)}


def advantage(system: GLIDE, drawn) -> float:
    """How much larger the error in x0 is with another picture's sentence, as a share: less noisy
    than anything that samples tell, and zero for a model that does not listen."""
    pictures, captions = scenes.render(drawn, 32), descriptions(drawn, 7)
    errors = []
    for row in (captions, captions[1:] + captions[:1]):
        cond, total = system.encode(row), 0.0
        for t in (500, 700, 850, 950):
            eps = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(t))
            x = system.denoiser.schedule.diffuse(pictures, t, eps)
            total += (system.denoiser(x, t, cond).x0 - pictures).square().mean().item()
        errors.append(total)
    return errors[1] / errors[0] - 1


def table(rows: list[dict]) -> str:
    """Markdown: the mean over seeds of each candidate, the best caption advantage first."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault((row["seconds"], row["name"]), []).append(row)
    keys = [k for k in rows[0] if k not in ("name", "about", "seconds", "seed")]
    lines = ["| seconds | candidate | seeds | " + " | ".join(keys) + " |"]
    lines.append("| --- " * (len(keys) + 3) + "|")
    mean = lambda group, key: sum(row[key] for row in group) / len(group)  # noqa: E731
    for (seconds, name), group in sorted(
        groups.items(), key=lambda item: (item[0][0], -mean(item[1], "caption"))
    ):
        cells = [
            f"{mean(group, key):.3f}" if key != "images" else f"{mean(group, key):.0f}"
            for key in keys
        ]
        lines.append(f"| {seconds:g} | {name} | {len(group)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", action="append", choices=CANDIDATES)
    parser.add_argument("--pictures", type=int, default=192)
    parser.add_argument("--table", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    if not chosen.table:
        for seed in range(chosen.seeds):
            for name in chosen.only or CANDIDATES:
                system, images = trained(CANDIDATES[name], chosen.seconds, seed)
                row = {"name": name, "seconds": chosen.seconds, "seed": seed, "images": images}
                row |= judged(system, chosen.pictures)
                print(json.dumps(row), flush=True)
                rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
                RESULTS.write_text(json.dumps([*rows, row], indent=1) + "\n")
    print(table(rows))


if __name__ == "__main__":
    main()
