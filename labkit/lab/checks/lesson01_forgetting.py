"""The checks of lesson 01 on what a chain forgets: the step of the Gaussian one, and the time."""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Generator, Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.lesson01_chains import random_rows
from labkit.lab.checks.random_inputs import Given, between, size, sizes, turn
from labkit.markov import Chain, GaussianChain, by_linear_solve, total_variation


def _draw_noise(generator: Generator):
    x, eps = torch.randn(2, *sizes(generator, 2), generator=generator)
    return 3 + x, between(0.02, 0.42, generator), eps


def _gaussian_step(x: Tensor, beta: float, eps: Tensor) -> Tensor:
    with Given(randn=eps):
        return GaussianChain(beta).step(x)


gaussian_step = Check(
    "gaussian_step",
    reference=_gaussian_step,
    draw_inputs=_draw_noise,
    mistakes={
        "β is a variance, and you multiply the noise by it; the noise takes its root, √β.": (
            lambda x, beta, eps: (1 - beta) ** 0.5 * x + beta * eps
        ),
        "You shrink x by 1 − β; it takes the root, √(1 − β), for the squares to sum to 1.": (
            lambda x, beta, eps: (1 - beta) * x + beta**0.5 * eps
        ),
        "You mix with weights 1 − β and β; variances add, so it is their roots that belong here.": (
            lambda x, beta, eps: (1 - beta) * x + beta * eps
        ),
        "You add noise without shrinking x: the variance grows for ever; x takes √(1 − β).": (
            lambda x, beta, eps: x + beta**0.5 * eps
        ),
        "The two roots are swapped: a small β keeps most of x and adds little noise.": (
            lambda x, beta, eps: beta**0.5 * x + (1 - beta) ** 0.5 * eps
        ),
        "You do not scale the noise: eps takes √β.": lambda x, beta, eps: (
            (1 - beta) ** 0.5 * x + eps
        ),
        "You shrink x by 1 − √β; it is the squares of the two factors that sum to 1: √(1 − β).": (
            lambda x, beta, eps: (1 - beta**0.5) * x + beta**0.5 * eps
        ),
        "You subtract the noise.": lambda x, beta, eps: (1 - beta) ** 0.5 * x - beta**0.5 * eps,
        "You leave out the noise, √β eps.": lambda x, beta, eps: (1 - beta) ** 0.5 * x,
        "You take β for a standard deviation; it is a variance, so its root stands before the "
        "noise, and x takes √(1 − β).": lambda x, beta, eps: (1 - beta**2) ** 0.5 * x + beta * eps,
        "You multiply the noise by √(1 − β), too; only x shrinks, and the noise is added after.": (
            lambda x, beta, eps: (1 - beta) ** 0.5 * (x + beta**0.5 * eps)
        ),
        "You shrink x by 1 − β/2 or exp(−β/2), which is √(1 − β) only for a β near 0; then the "
        "squares of the two factors do not sum to 1.": [
            lambda x, beta, eps: (1 - beta / 2) * x + beta**0.5 * eps,
            lambda x, beta, eps: math.exp(-beta / 2) * x + beta**0.5 * eps,
        ],
        "You add β times the noise and do not shrink x; the noise takes √β, and x takes √(1−β).": (
            lambda x, beta, eps: x + beta * eps
        ),
        "You draw your own noise, and with rand, which lies between 0 and 1; use eps.": (
            lambda x, beta, eps: (1 - beta) ** 0.5 * x + beta**0.5 * torch.rand_like(x)
        ),
    },
    against=GaussianChain.step,
)


def _twice(rows: Tensor, P: Tensor) -> Tensor:
    """P⁰, P¹, … P²ⁿ⁻¹ from the first n of them, in few calls of torch."""
    return torch.cat([rows, rows @ (rows[-1] @ P)])


def _steps(P: Tensor, tolerance: float, distance: Callable, near: Callable = torch.le) -> int:
    """The first n at which the distance is near enough; distance(rows, pi) gives it, (n,), for
    rows (n, k, k) = P⁰, P¹, … and π (k,)."""
    pi, rows = by_linear_solve(P), torch.eye(len(P), dtype=P.dtype)[None]
    for _ in range(5):  # most chains of this check need no more
        rows = _twice(rows, P)
    while not (done := near(distance(rows, pi), tolerance)).any():
        rows = _twice(rows, P)
    return int(done.nonzero()[0])


def _worst(rows: Tensor, pi: Tensor) -> Tensor:
    return total_variation(rows, pi).amax(-1)


def _from_the_mean(rows: Tensor, pi: Tensor) -> Tensor:
    """The distance from the mean of the rows, which is not π."""
    return _worst(rows, rows.mean(-2, keepdim=True))


def _from_the_rarest(rows: Tensor, pi: Tensor) -> Tensor:
    """The distance from the least likely state, which need not be the worst start."""
    return total_variation(rows[:, pi.argmin()], pi)


def _between_the_rows(rows: Tensor, pi: Tensor) -> Tensor:
    """The largest distance of two starts from each other: at most twice that from π."""
    return total_variation(rows[:, :, None], rows[:, None]).amax((-2, -1))


def _of_a_step(rows: Tensor, pi: Tensor) -> Tensor:
    """How much the next step changes."""
    return _worst(rows[1:], rows[:-1])


def _by_the_first_distance(P: Tensor, tolerance: float) -> int:
    """The smallest n with max TV(S_0, π) |λ₂|ⁿ ≤ tolerance."""
    first = _worst(torch.eye(len(P), dtype=P.dtype), by_linear_solve(P)).item()
    return max(math.ceil(_by_the_slope(P, tolerance / first)), 0)


def _gap(P: Tensor) -> float:
    return 1 - Chain(P).eigenvalues()[1].abs().item()


def _by_the_slope(P: Tensor, tolerance: float) -> float:
    """The n with |λ₂|ⁿ = tolerance, which leaves out the constant C."""
    return math.log(tolerance) / math.log(Chain(P).eigenvalues()[1].abs())


def _draw_sticky(generator: Generator):
    """A chain, and a tolerance: at times one that every start meets at once, one that the worst
    start meets exactly, or a slow chain."""
    kind = turn(generator, 8)
    if kind == 0:
        return _sticky(generator), 1.0
    if kind == 1:  # after a step TV is 5/16, exactly; and not more for a π found in another way
        return torch.tensor([[11, 5], [3, 13]]).double() / 16, 5 / 16
    for _ in range(20):
        P, tolerance = _sticky(generator), between(0.003, 0.03, generator)
        others = (_from_the_rarest, _from_the_mean)
        right = _steps(P, tolerance, _worst)
        if all(_steps(P, tolerance, other) != right for other in others):
            break
    if kind == 2:  # it takes hundreds of steps
        P = P / 12 + 11 / 12 * torch.eye(len(P), dtype=P.dtype)
    return P, tolerance


def _sticky(generator: Generator) -> Tensor:
    # Two of the states, never the first or last, are rarely entered and hard to leave: the worst
    # place to start, from which the distance is spread over both of them.
    k = size(generator, 5, 7)
    P = random_rows(generator, k, k)
    P[:, -2:] *= 0.02
    P /= P.sum(1, keepdim=True)
    P[-2:] *= 0.1 / P[-2:].sum(1, keepdim=True)
    P[-2:, -2:] += 0.9 * random_rows(generator, 2, 2)
    P[1] = by_linear_solve(P)  # the start that is nearest to π: one step forgets nearly all
    inner = torch.tensor([1, *range(3, k)])[torch.randperm(k - 2, generator=generator)]
    order = torch.tensor([0, *inner, 2])
    return P[order][:, order]


steps_to_forget = Check(
    "steps_to_forget",
    reference=lambda P, tolerance: _steps(P, tolerance, _worst),
    draw_inputs=_draw_sticky,
    rounds=8,
    mistakes={
        "You forgot the ½ of total variation: ½ Σ |p − q|.": partial(
            _steps, distance=lambda rows, pi: 2 * _worst(rows, pi)
        ),
        "You take the largest difference in a single state; total variation is half the sum of all "
        "the differences.": partial(
            _steps, distance=lambda rows, pi: (rows - pi).abs().amax((1, 2))
        ),
        "You take the root of the sum of squares; total variation is half the sum of the sizes of "
        "the differences.": [
            partial(_steps, distance=lambda rows, pi: (rows - pi).norm(dim=2).amax(1)),
            partial(_steps, distance=lambda rows, pi: (rows - pi).norm(dim=2).amax(1) / 2),
        ],
        "You start in one state only; from another state the chain may take longer, and the worst "
        "start counts.": [
            partial(_steps, distance=lambda rows, pi: total_variation(rows[:, 0], pi)),
            partial(_steps, distance=lambda rows, pi: total_variation(rows[:, -1], pi)),
        ],
        "You start in the least likely state, which need not be the worst start; take the maximum "
        "over all of them.": partial(_steps, distance=_from_the_rarest),
        "You wait for the start that is nearest to π, not for the worst: take the maximum over the "
        "rows.": partial(_steps, distance=lambda rows, pi: total_variation(rows, pi).amin(1)),
        "You average over the starts; the worst of them counts.": partial(
            _steps, distance=lambda rows, pi: total_variation(rows, pi).mean(1)
        ),
        "You add up the distances of all the starts; sum along a row, .sum(1), and then take the "
        "maximum over the rows.": [
            partial(_steps, distance=lambda rows, pi: (rows - pi).abs().sum((1, 2)) / 2),
            partial(_steps, distance=lambda rows, pi: (rows - pi).abs().sum((1, 2))),
        ],
        "You sum down the columns, over the starts; total variation sums over the states, along a "
        "row: .sum(1).": [
            partial(_steps, distance=lambda rows, pi: (rows - pi).abs().sum(1).amax(1) / 2),
            partial(_steps, distance=lambda rows, pi: (rows - pi).abs().sum(1).amax(1)),
        ],
        "You compute with the gap 1 − |λ₂|, which tells only roughly how long it takes, and leaves "
        "out the constant C: count the steps instead.": [
            lambda P, tolerance: math.ceil(1 / _gap(P)),
            lambda P, tolerance: math.ceil(math.log(1 / tolerance) / _gap(P)),
        ],
        "You compare the starts with each other; TV(S_n, π) is the distance of each from π.": (
            partial(_steps, distance=_between_the_rows)
        ),
        "You solve |λ₂|ⁿ = tolerance; the distance is about C |λ₂|ⁿ, with a constant C that is not "
        "1: count the steps instead.": [
            lambda P, tolerance: math.ceil(_by_the_slope(P, tolerance)),
            lambda P, tolerance: int(_by_the_slope(P, tolerance)),
            lambda P, tolerance: int(_by_the_slope(P, tolerance)) + 1,
            lambda P, tolerance: round(_by_the_slope(P, tolerance)),
        ],
        "You let the first distance shrink by |λ₂| a step; it does so only after some steps, with "
        "another constant C: count the steps instead.": _by_the_first_distance,
        "You start with all states equally likely; the worst start counts, and that is a start in "
        "a single state: take the maximum over all of them.": partial(
            _steps, distance=lambda rows, pi: total_variation(rows.mean(1), pi)
        ),
        "You stop when a step changes little; a slow chain is still far from π then: compare the "
        "rows with π.": [
            lambda P, tolerance: _steps(P, tolerance, _of_a_step) + 1,
            partial(_steps, distance=_of_a_step),
        ],
        "You wait until the distance is below the tolerance; it may be equal to it: ≤.": (
            partial(_steps, distance=_worst, near=torch.lt)
        ),
        "You look at the first distance after one step; where the starts themselves, n = 0, are "
        "near enough, the answer is 0.": (
            lambda P, tolerance: max(_steps(P, tolerance, _worst), 1)
        ),
        "You are one step too late: with the starts themselves, n = 0, the count begins.": (
            lambda P, tolerance: _steps(P, tolerance, _worst) + 1
        ),
        "You are one step too early: at the n that you return, the worst start is still too far "
        "away.": [
            lambda P, tolerance: _steps(P, tolerance, _worst) - 1,
            lambda P, tolerance: max(_steps(P, tolerance, _worst) - 1, 0),
        ],
    },
    against=total_variation,
)
