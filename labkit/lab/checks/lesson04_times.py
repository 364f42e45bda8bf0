"""The check of lesson 04 on the times that a sampler visits."""

import math

import torch

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import turn, whole
from labkit.schedule import trailing_spacing, uniform_spacing


def _trailing_times(T: int, n: int) -> list[int]:
    return trailing_spacing(T, n)


def _draw_times(g: torch.Generator) -> tuple[int, int]:
    """T and an odd n that does not divide it: no gap is a whole number, and none ends in ½. In
    turn also a single step."""
    if turn(g, 5) == 0:
        return whole(100, 999, g), 1
    while True:
        T = 100 + int(torch.randint(0, 900, (), generator=g))
        n = 7 + 2 * int(torch.randint(0, 15, (), generator=g))
        if T % n and T // (T // n) != n:
            return T, n


trailing_times = Check(
    "trailing_times",
    reference=_trailing_times,
    draw_inputs=_draw_times,
    tolerance=0,
    mistakes={
        "range(0, T, T // n) gives more than n steps when n does not divide T, never reaches T, "
        "and rises: compute the n + 1 times i·T/n, rounded, from i = n down to 0.": (
            lambda T, n: list(range(0, T, T // n))
        ),
        "range(T, 0, −T // n) gives the wrong number of steps when n does not divide T: compute "
        "the n + 1 times i·T/n, rounded, from i = n down to 0.": (
            lambda T, n: [*range(T, 0, -(T // n)), 0]
        ),
        "The final 0 is missing, so the picture is never finished: n steps need n + 1 times.": (
            lambda T, n: trailing_spacing(T, n)[:-1]
        ),
        "The first time T is missing: pure noise is x_T, and sampling has to begin there.": (
            lambda T, n: trailing_spacing(T, n)[1:]
        ),
        "Your times rise; sampling runs from T down to 0.": (
            lambda T, n: trailing_spacing(T, n)[::-1]
        ),
        "You cut off the decimals (int or //) where the recipe rounds.": (
            lambda T, n: [T * i // n for i in reversed(range(n + 1))]
        ),
        "You round up (ceil) where the recipe rounds.": (
            lambda T, n: [math.ceil(T * i / n) for i in reversed(range(n + 1))]
        ),
        "You begin at T − 1; the times run from T, pure noise, down to 0.": (
            lambda T, n: [round((T - 1) * i / n) for i in reversed(range(n + 1))]
        ),
        "These are n points, so n − 1 steps; n steps need n + 1 times: i·T/n.": [
            lambda T, n: [round(T * i / (n - 1)) for i in reversed(range(n))],
            lambda T, n: torch.linspace(T, 0, n).round().int().tolist(),
            lambda T, n: torch.linspace(T, 0, n).int().tolist(),
            lambda T, n: torch.linspace(T, 0, n, dtype=torch.float64).round().int().tolist(),
        ],
        "You round the gap T/n, so the errors add up and the first time is not T; round each time "
        "i·T/n.": [
            lambda T, n: [round(T / n) * i for i in reversed(range(n + 1))],
            lambda T, n: [T // n * i for i in reversed(range(n + 1))],
        ],
        "The times are not rounded; they are indices of a table, so round them to whole numbers.": (
            lambda T, n: [T * i / n for i in reversed(range(n + 1))]
        ),
        "These are the uniform times, whose last step is a short one from 1 to 0; here all gaps "
        "are equal: i·T/n.": [
            uniform_spacing,
            lambda T, n: [1 + round(i * (T - 1) / (n - 1)) for i in reversed(range(n))] + [0],
        ],
    },
    against=trailing_spacing,
)
