"""The check of lesson 01 on the stationary distribution, of periodic chains as well."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Generator, Tensor

from labkit.lab.checks.calling import TooSlow
from labkit.lab.checks.framework import Check
from labkit.lab.checks.lesson01_chains import random_rows
from labkit.lab.checks.random_inputs import size, turn
from labkit.markov import by_linear_solve


def _unit_length(P: Tensor) -> Tensor:
    pi = by_linear_solve(P)
    return pi / pi.norm()


def _right_eigenvector(P: Tensor) -> Tensor:
    values, vectors = torch.linalg.eig(P)
    return vectors[:, (values - 1).abs().argmin()].real


def _unscaled(P: Tensor) -> Tensor:
    return _right_eigenvector(P.T)


def _unscaled_by_numpy(P: Tensor) -> Tensor:
    values, vectors = np.linalg.eig(P.T.numpy())
    return torch.from_numpy(vectors[:, np.abs(values - 1).argmin()].real)


def _column(P: Tensor, choose: Callable, eig: Callable, part: Callable = torch.real) -> Tensor:
    """The eigenvector of P.T in the column that `choose` finds by the eigenvalues."""
    values, vectors = map(torch.as_tensor, eig(P.T))
    vector = part(vectors[:, choose(values)])
    return vector / vector.sum()


def _by_sizes(P: Tensor, eig: Callable) -> Tensor:
    """The right eigenvector, divided by a sum that is positive whatever its sign."""
    values, vectors = map(torch.as_tensor, eig(P.T))
    vector = vectors[:, (values - 1).abs().argmin()].real
    return vector / vector.abs().sum()


def _by_numpy(P: Tensor):
    return np.linalg.eig(P.numpy())


EIGS = (torch.linalg.eig, _by_numpy)


def _first(values: Tensor) -> int:
    return 0


def _last(values: Tensor) -> int:
    return -1


def _largest(values: Tensor) -> int:
    return int(values.abs().argmax())


def _state_0(P: Tensor) -> Tensor:
    return torch.eye(len(P), dtype=P.dtype)[0]


def _even_spread(P: Tensor) -> Tensor:
    return torch.full_like(P[0], 1 / len(P))


def _iterate(P: Tensor, start: Callable, steps: int) -> Tensor:
    return start(P) @ torch.linalg.matrix_power(P, steps)


def _mean_of_several(P: Tensor, start: Callable, steps: int, many: int) -> Tensor:
    return sum(_iterate(P, start, steps + i) for i in range(many)) / many


def _hides_one(P: Tensor) -> bool:
    """Whether 1 is neither the first eigenvalue nor the last, nor, in a periodic chain, by
    rounding the largest; and in the other chains its eigenvector comes with the negative sign."""
    if P[0, 0] > 0 and any(_by_sizes(P, eig).sum() > 0 for eig in EIGS):
        return False
    spectra = [torch.as_tensor(eig(P.T)[0]) for eig in EIGS]
    ways = (_first, _last, _largest) if P[0, 0] == 0 else (_first, _last)
    return all(abs(values[way(values)] - 1) > 0.01 for values in spectra for way in ways)


def _draw_any_chain(generator: Generator):
    """In turn a chain that mixes, one of period 2 and one of period 7, so that the mean of a few
    successive steps, or of 10, 12 or 60 of them, is not π."""
    period = (1, 2, 7)[turn(generator, 3)]
    k = 8 if period == 7 else size(generator, 4, 6)
    P = torch.zeros(k, k, dtype=torch.float64)
    if period == 1:  # one state is rarely entered and hard to leave
        P = random_rows(generator, k, k) * torch.tensor([0.05] + [1.0] * (k - 1))
        P[0, 0] = 2
    else:  # from state 0 to one of the others, at once or over further groups, and back: groups of
        # unequal size, so that no usual start settles
        groups = list(pairwise([0, 1, *(range(3, k) if period == 7 else ()), k]))
        for (a, b), (c, d) in zip(groups, groups[1:] + groups[:1]):
            P[a:b, c:d] = random_rows(generator, b - a, d - c)
    for _ in range(200):  # the names of the states decide in which order eigenvalues come
        order = torch.randperm(k, generator=generator)
        shuffled = P[order][:, order] / P[order].sum(1, keepdim=True)
        if _hides_one(shuffled):
            break
    return (shuffled,)


def _all_ones(P: Tensor, replaced: int = -1) -> Tensor:
    equations = P.T - torch.eye(len(P), dtype=P.dtype)
    equations[replaced] = 1
    return torch.linalg.solve(equations, torch.ones_like(P[0]))


def _until_it_settles(P: Tensor) -> Tensor:
    if P[0, 0] == 0:  # the periodic chains of this check
        raise TooSlow
    return by_linear_solve(P)


# The last step decides where a periodic chain is: all remainders for the periods 2 and 7.
LATE = range(9_996, 9_996 + 14)

stationary_distribution = Check(
    "stationary_distribution",
    reference=by_linear_solve,
    draw_inputs=_draw_any_chain,
    tolerance=1e-9,
    rounds=6,
    mistakes={
        "This is a right eigenvector of P (all of its entries are equal), of length 1; π is a left "
        "one, a right eigenvector of P.T, scaled to sum to 1.": _right_eigenvector,
        "This is a right eigenvector of P (for a matrix whose rows sum to 1 it is constant); π is "
        "a left one, a right eigenvector of P.T.": lambda P: torch.full_like(P[0], 1 / len(P)),
        "All ones is the right eigenvector of P; π is a left one, a right eigenvector of P.T, "
        "scaled to sum to 1.": lambda P: torch.ones_like(P[0]),
        "Your vector has length 1, and the sign that the eigenvector came with; probabilities sum "
        "to 1: divide by its sum, which mends both.": [
            _unit_length,
            lambda P: -_unit_length(P),
            _unscaled,
            _unscaled_by_numpy,
        ],
        "You take the wrong column of eig: eigenvalues come in no order, and in a periodic chain "
        "several are of the largest size; take the column whose eigenvalue is nearest to 1.": [
            partial(_column, choose=choose, eig=eig, part=part)
            for choose in (_first, _last, _largest)
            for eig in EIGS
            for part in (torch.real, torch.abs)
            if part is torch.real or choose is not _largest  # else it is right
        ],
        "You divide by the sum of the sizes; an eigenvector may come with negative entries only, "
        "and keeps them: divide by the sum itself, which turns the sign as well.": [
            partial(_by_sizes, eig=eig) for eig in EIGS
        ],
        "Your right-hand side is all ones; only the equation of the sum has a 1 there, the others "
        "are π (P − I) = 0.": [_all_ones, lambda P: _all_ones(P, 0)],
        "You average the rows of P: that is where a single step leads from an even spread.": (
            lambda P: P.mean(0)
        ),
        "You iterate until nothing changes any more: a periodic chain never settles, the check "
        "draws some, and your loop does not end; solve π P = π instead, which has an answer all "
        "the same.": _until_it_settles,
        "You iterate S ← S P from state 0: a periodic chain never settles, and the check draws "
        "some; solve π P = π instead, which has an answer all the same.": [
            partial(_iterate, start=_state_0, steps=steps) for steps in LATE
        ],
        "You iterate S ← S P from an even spread: a periodic chain never settles, and the check "
        "draws some; solve π P = π instead, which has an answer all the same.": [
            partial(_iterate, start=_even_spread, steps=steps) for steps in LATE
        ],
        "You average a few successive steps, which is right only if the period divides their "
        "number; the check draws chains of several periods: solve π P = π instead, which has an "
        "answer all the same.": [
            partial(_mean_of_several, start=start, steps=steps, many=many)
            for many in (2, 6)
            for start in (_state_0, _even_spread)
            for steps in LATE[:7]
        ],
    },
    against=by_linear_solve,
)
