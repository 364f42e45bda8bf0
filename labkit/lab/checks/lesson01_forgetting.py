"""The checks of lesson 01 on what a chain forgets: a chain to order, the Gaussian one, the time."""

import torch
from torch import Generator, Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.lesson01_chains import random_rows
from labkit.lab.checks.random_inputs import Given, between, size, sizes, turn
from labkit.markov import (
    Chain,
    GaussianChain,
    by_linear_solve,
    metropolis_hastings,
    total_variation,
)


def _accepted(target: Tensor, Q: Tensor, accept: Tensor) -> Tensor:
    P = Q * accept
    return P + torch.diag(1 - P.sum(1))


def _draw_target(generator: Generator):
    # known up to a factor only, and a proposal that is not symmetric
    k = size(generator, 3, 6)
    target = between(2, 9, generator) * random_rows(generator, k)
    return target, random_rows(generator, k, k)


def _flow(target: Tensor, Q: Tensor) -> Tensor:
    return target[:, None] * Q  # (n, n): π_i q_ij


def _scaled_rows(target: Tensor, Q: Tensor) -> Tensor:
    P = Q * (_flow(target, Q).T / _flow(target, Q)).clamp(max=1)
    return P / P.sum(1, keepdim=True)


metropolis_matrix = Check(
    "metropolis_matrix",
    reference=lambda target, Q: metropolis_hastings(target, Chain(Q)).P,
    draw_inputs=_draw_target,
    tolerance=1e-9,
    mistakes={
        "Your acceptance ratio is upside down: it should be π_j q_ji over π_i q_ij, so that a step "
        "to a likelier state is always accepted.": lambda target, Q: _accepted(
            target, Q, (_flow(target, Q) / _flow(target, Q).T).clamp(max=1)
        ),
        "Your ratio is π_j / π_i alone, which is right only for a symmetric proposal; Hastings' "
        "correction multiplies it by q_ji / q_ij.": lambda target, Q: _accepted(
            target, Q, (target / target[:, None]).clamp(max=1)
        ),
        "Your ratio is π_i / π_j, upside down and without Hastings' correction: it is π_j q_ji "
        "over π_i q_ij.": lambda target, Q: _accepted(
            target, Q, (target[:, None] / target).clamp(max=1)
        ),
        "You divide the rows by their sums, which changes every flow between two states; what is "
        "refused stays where it is, on the diagonal.": _scaled_rows,
        "Your correction for the proposal is upside down: π_j / π_i is multiplied by "
        "q_ji / q_ij.": lambda target, Q: _accepted(
            target, Q, (target / target[:, None] * Q / Q.T).clamp(max=1)
        ),
        "Your rows do not sum to 1: a refused step stays, so its probability belongs "
        "on the diagonal.": lambda target, Q: (
            Q * (_flow(target, Q).T / _flow(target, Q)).clamp(max=1)
        ),
        "You do not cap the acceptance at 1: no probability is above 1, and rows get negative "
        "entries on the diagonal.": lambda target, Q: _accepted(
            target, Q, _flow(target, Q).T / _flow(target, Q)
        ),
        "This is the matrix of acceptances; P[i, j] is the probability to propose j and to accept "
        "it, and what is refused stays on the diagonal.": lambda target, Q: (
            _flow(target, Q).T / _flow(target, Q)
        ).clamp(max=1),
    },
    against=metropolis_hastings,
)


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
        "You subtract the noise.": lambda x, beta, eps: (1 - beta) ** 0.5 * x - beta**0.5 * eps,
        "You leave out the noise, √β eps.": lambda x, beta, eps: (1 - beta) ** 0.5 * x,
        "You take β for a standard deviation; it is a variance, so its root stands before the "
        "noise, and x takes √(1 − β).": lambda x, beta, eps: (1 - beta**2) ** 0.5 * x + beta * eps,
        "You draw your own noise, and with rand, which lies between 0 and 1; use eps.": (
            lambda x, beta, eps: (1 - beta) ** 0.5 * x + beta**0.5 * torch.rand_like(x)
        ),
    },
    against=GaussianChain.step,
)


def _steps(P: Tensor, tolerance: float, distance) -> int:
    pi, rows, n = by_linear_solve(P), torch.eye(len(P), dtype=P.dtype), 0
    while distance(rows, pi) > tolerance:
        rows, n = rows @ P, n + 1
    return n


def _worst(rows: Tensor, pi: Tensor) -> float:
    return total_variation(rows, pi).max().item()


def _from_the_mean(rows: Tensor, pi: Tensor) -> float:
    """The distance from the mean of the rows, which is not π."""
    return _worst(rows, rows.mean(0))


def _from_the_rarest(P: Tensor, tolerance: float) -> int:
    """How long it takes from the least likely state, which need not be the worst start."""
    return _steps(
        P, tolerance, lambda rows, pi: total_variation(rows[by_linear_solve(P).argmin()], pi)
    )


def _draw_sticky(generator: Generator):
    """A chain, and a tolerance: at times one that every start meets at once."""
    if turn(generator, 8) == 0:
        return _sticky(generator), 1.0
    for _ in range(20):
        P, tolerance = _sticky(generator), between(0.003, 0.03, generator)
        right = _steps(P, tolerance, _worst)
        if right not in (_from_the_rarest(P, tolerance), _steps(P, tolerance, _from_the_mean)):
            break
    return P, tolerance


def _sticky(generator: Generator) -> Tensor:
    # Two of the states, never state 0, are rarely entered and hard to leave: the worst place to
    # start, from which the distance is spread over both of them.
    k = size(generator, 4, 6)
    P = random_rows(generator, k, k)
    P[:, -2:] *= 0.02
    P /= P.sum(1, keepdim=True)
    P[-2:] *= 0.1 / P[-2:].sum(1, keepdim=True)
    P[-2:, -2:] += 0.9 * random_rows(generator, 2, 2)
    P[1] = by_linear_solve(P)  # a lucky start: after one step nearly all is forgotten
    order = torch.cat([torch.zeros(1).long(), 1 + torch.randperm(k - 1, generator=generator)])
    return P[order][:, order]


steps_to_forget = Check(
    "steps_to_forget",
    reference=lambda P, tolerance: _steps(P, tolerance, _worst),
    draw_inputs=_draw_sticky,
    rounds=8,
    mistakes={
        "You forgot the ½ of total variation: ½ Σ |p − q|.": lambda P, tolerance: _steps(
            P, tolerance, lambda rows, pi: 2 * _worst(rows, pi)
        ),
        "You take the largest difference in a single state; total variation is half the sum of all "
        "the differences.": lambda P, tolerance: _steps(
            P, tolerance, lambda rows, pi: (rows - pi).abs().max()
        ),
        "You start in state 0 only; from another state the chain may take longer, and the worst "
        "start counts.": lambda P, tolerance: _steps(
            P, tolerance, lambda rows, pi: total_variation(rows[0], pi)
        ),
        "You start in the least likely state, which need not be the worst start; take the maximum "
        "over all of them.": _from_the_rarest,
        "You wait for the luckiest start, not for the worst: take the maximum over the rows.": (
            lambda P, tolerance: _steps(
                P, tolerance, lambda rows, pi: total_variation(rows, pi).min()
            )
        ),
        "You average over the starts; the worst of them counts.": lambda P, tolerance: _steps(
            P, tolerance, lambda rows, pi: total_variation(rows, pi).mean()
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
