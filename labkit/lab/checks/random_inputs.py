"""What the checks of several lessons share: random sizes, numbers, tables, schedules, and noise
that is given to functions that draw their own."""

import torch
from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode

from labkit.schedule import NoiseSchedule, from_betas

# Numbers that are added to a divisor, or clamp a number, so that nothing is divided by 0.
SMALL = [*(10.0**-n for n in range(3, 13)), torch.finfo(torch.float32).eps]
STEPS = 50  # of a random table, or some more; each β large enough to tell mistakes apart


def between(low: float, high: float, g: Generator) -> float:
    return low + (high - low) * torch.rand((), generator=g).item()


def whole(low: int, high: int, g: Generator) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=g))


def turn(g: Generator, kinds: int) -> int:
    """0 … kinds − 1, another one with every draw, so that each kind of case comes in each check
    of at least so many rounds."""
    return g.initial_seed() % kinds


def is_odd(g: Generator) -> bool:
    return turn(g, 2) == 1


def size(g: Generator, low: int, high: int) -> int:
    """A size from low to high, another one with every draw."""
    return low + turn(g, high - low + 1)


def sizes(g: Generator, n: int, low: int = 2, high: int = 6) -> list[int]:
    """n sizes, in turn all the same (so that a mistake in broadcasting runs without an error; other
    ones each time) and all different (so that no size can stand for another)."""
    if is_odd(g):
        low = max(low, 3)
        return [low + g.initial_seed() // 2 % (high - low + 1)] * n
    return (torch.randperm(high - low + 1, generator=g)[:n] + low).tolist()


def random_schedule(g: Generator) -> NoiseSchedule:
    """One with STEPS to STEPS + 10 times."""
    T = size(g, STEPS, STEPS + 10)
    return from_betas(0.02 + 0.1 * torch.rand(T, generator=g, dtype=torch.float64))


def random_table(g: Generator) -> Tensor:
    """ᾱ of such a schedule, (T + 1,) float64."""
    return random_schedule(g).alpha_bar


def random_times(g: Generator, last: int = STEPS) -> tuple[int, int]:
    """t > s > 0; in turn far apart, so that a step of one time is another step, and neighbors."""
    s = whole(3, 15, g)
    return (s + 1 if turn(g, 5) == 0 else whole(s + 5, last, g)), s


def chances(g: Generator, rows: int) -> tuple[Tensor, float]:
    """u (rows,) in [0, 1) and p: at least one number is below p, in turn but for p = 0, some are
    above it, and one is p itself."""
    u, order = torch.rand(rows, generator=g), torch.randperm(rows, generator=g)
    edge = 0.0 if turn(g, 4) == 0 else between(0.2, 0.4, g)
    u[order[:4]] = torch.tensor([0.1, 0.5, 0.9, edge])
    return u, u[order[3]].item()


class Given(TorchFunctionMode):
    """Inside `with Given(randn=z):` torch.randn gives z, so that a function of labkit that draws
    its own noise can be compared with one that is given it. Likewise rand and randint."""

    def __init__(self, **numbers: Tensor):
        super().__init__()
        self.numbers = numbers

    def __torch_function__(self, func, types, args=(), kwargs=None):
        given = self.numbers.get(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {})) if given is None else given
