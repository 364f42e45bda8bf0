"""What the checks of several lessons share: random numbers, tables and schedules."""

import torch
from torch import Tensor

from labkit.schedule import NoiseSchedule, from_betas

STEPS = 50  # of a random table; each β large enough to tell mistakes apart


def between(low: float, high: float, g: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=g).item()


def whole(low: int, high: int, g: torch.Generator) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=g))


def is_odd(g: torch.Generator) -> bool:
    """Turns with every draw, so that both kinds of case come in each round of a check."""
    return g.initial_seed() % 2 == 1


def random_schedule(g: torch.Generator) -> NoiseSchedule:
    return from_betas(0.02 + 0.1 * torch.rand(STEPS, generator=g, dtype=torch.float64))


def random_table(g: torch.Generator) -> Tensor:
    """ᾱ of such a schedule, (STEPS + 1,) float64."""
    return random_schedule(g).alpha_bar


def mistaken(function, **changes):
    """`function` with some of its pieces exchanged; a piece may be computed from the arguments."""

    def mistake(*args):
        return function(*args, **{k: v(*args) if callable(v) else v for k, v in changes.items()})

    return mistake
