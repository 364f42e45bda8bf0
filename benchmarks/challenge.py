"""The open challenge: the course's own samplers, each with its best times and scale.

    python -m benchmarks.challenge [--tuning 1] [--out FILE]

For each sampler and budget, all spacings and scales below are played in as many rounds whose seeds
rank nobody; the one with the most parts shown is scored. FILE holds the scores, and what was
chosen; a sampler that it holds already stays as it is. The defaults take about two minutes of one
core.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import mean

from torch import Tensor

from labkit import zoo
from labkit.guidance import ClassifierFree
from labkit.lab import challenge
from labkit.lab.second_order import multistep
from labkit.sampler import ddim, sample
from labkit.schedule import quadratic_spacing, trailing_spacing

TUNING = 94_000  # the first seed of the rounds that choose
SPACINGS = {"trailing": trailing_spacing, "quadratic": quadratic_spacing}
SCALES = (2.0, 3.0)
STEPS: dict[str, Callable] = {  # made afresh for each walk
    "η = 0": lambda: ddim,
    "η = 1": lambda: partial(ddim, eta=1.0),
    "2M": multistep,
}
SAMPLERS = {  # its step, whether it is guided, and the budgets at which it is not another one
    "DDIM": ("η = 0", False, (1, 2, 4)),
    "DDPM (η = 1)": ("η = 1", False, (2, 4)),
    "DPM-Solver++ (2M)": ("2M", False, (4,)),
    "DDIM, guided": ("η = 0", True, (2, 4)),
}


def walk(denoise, noise: Tensor, evaluations: int, *, step: str, spacing: str, scale: float):
    """A submission, once all options are given."""
    steps = evaluations if scale == 1 else evaluations // 2
    times = denoise.schedule.timesteps(steps, SPACINGS[spacing])
    guided = ClassifierFree(denoise, denoise.null, scale)
    *_, last = sample(guided, noise, times, denoise.cond, step=STEPS[step]())
    return last.x


def options(budget: int, guided: bool) -> Iterator[tuple[str, float]]:
    """The spacings and scales that a sampler may have. One step has one spacing."""
    scales = SCALES if guided else (1.0,)
    spacings = SPACINGS if budget > (2 if guided else 1) else ("trailing",)
    return ((spacing, scale) for scale in scales for spacing in spacings)


def best(step: str, guided: bool, budget: int, model, rounds: list) -> dict:
    def shown(choice) -> float:
        way = partial(walk, step=step, spacing=choice[0], scale=choice[1])
        made = (challenge.play(way, asked, budget, model) for asked in rounds)
        return mean(challenge.measure(*pair)[0] for pair in zip(rounds, made))

    choices = list(options(budget, guided))
    spacing, scale = max(choices, key=shown) if len(choices) > 1 else choices[0]
    return {"step": step, "spacing": spacing, "scale": scale}


def real(rolled: int) -> challenge.Entry:
    """Real pictures: of the sentences, or of those that many places further."""
    rounds = map(challenge.drawn, (*challenge.FIXED, TUNING))
    rows = [challenge.measure(asked, asked.real.roll(rolled, 0)) for asked in rounds]
    return dict.fromkeys(map(str, challenge.BUDGETS), challenge.cell(rows))


def run(tuning: int, file: Path) -> None:
    model = zoo.load(challenge.MODEL).requires_grad_(False)
    rounds = [challenge.drawn(TUNING + number) for number in range(tuning)]
    found = challenge.entries(file)
    found |= {"real pictures": real(0), "real pictures of other sentences": real(1)}
    for name, (step, guided, budgets) in SAMPLERS.items():
        if name in found:
            continue
        found[name] = {}
        for budget in budgets:
            chosen = best(step, guided, budget, model, rounds)
            scored = challenge.score(partial(walk, **chosen), [budget], model)[str(budget)]
            found[name][str(budget)] = scored | {"chosen": chosen}
        file.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", "utf-8")
    print(challenge.table(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tuning", type=int, default=1, help="rounds that choose")
    parser.add_argument("--out", type=Path, default=challenge.STORED)
    given = parser.parse_args()
    run(given.tuning, given.out)


if __name__ == "__main__":
    main()
