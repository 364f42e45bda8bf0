"""The checks of lesson 01 on a few states: n steps, their matrix, what is stationary."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Generator, Tensor

from labkit.lab.checks.calling import TooSlow
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import size, turn, whole
from labkit.markov import Chain, by_linear_solve


def random_rows(generator: Generator, *shape: int) -> Tensor:
    """Probabilities along the last axis, none of them small."""
    rows = 0.1 + torch.rand(*shape, generator=generator, dtype=torch.float64)
    return rows / rows.sum(-1, keepdim=True)


def _power(S: Tensor, P: Tensor, n: int) -> Tensor:
    return S @ torch.linalg.matrix_power(P, n)


def _draw_start(generator: Generator):
    """A start, a chain that often stays, so that it mixes slowly, and n: 0, 1, a few or many."""
    k = size(generator, 2, 5)
    low, high = ((0, 0), (1, 1), (2, 6), (2, 6), (12, 24), (60, 200))[turn(generator, 6)]
    stays = 100 if low == 60 else 2  # after many steps the start must still be seen
    P = random_rows(generator, k, k) + stays * torch.eye(k)
    return random_rows(generator, k), P / P.sum(1, keepdim=True), whole(low, high, generator)


after_n_steps = Check(
    "after_n_steps",
    reference=lambda S, P, n: Chain(P).distribution(S, n),
    draw_inputs=_draw_start,
    tolerance=1e-9,
    rounds=6,
    mistakes={
        "You multiply P @ S, which sums over where the chain goes instead of where it comes from; "
        "a row vector stands on the left: S @ P.": lambda S, P, n: _power(S, P.T, n),
        "P ** n raises every entry on its own; the n-th power of a matrix multiplies it with "
        "itself: torch.linalg.matrix_power(P, n).": lambda S, P, n: S @ P**n,
        "You take one step too many; after n = 0 steps the answer must still be S.": (
            lambda S, P, n: _power(S, P, n + 1)
        ),
        "You take one step too few; after n = 1 step the answer must be S @ P.": [
            lambda S, P, n: _power(S, P, max(n - 1, 0)),
            lambda S, P, n: _power(S, P, n - 1),
        ],
        "You take a single step; n of them are asked for.": lambda S, P, n: S @ P,
        "After n = 0 steps you have taken one already; then the answer is S itself.": (
            lambda S, P, n: _power(S, P, max(n, 1))
        ),
        "That is Pⁿ; its rows are the answers for the starts in a single state. Multiply by S.": (
            lambda S, P, n: torch.linalg.matrix_power(P, n)
        ),
        "That is row 0 of Pⁿ, the answer for a start in state 0; the start is S: S @ Pⁿ.": (
            lambda S, P, n: torch.linalg.matrix_power(P, n)[0]
        ),
        "That is the mean of the rows of Pⁿ, as if every state were an equally likely start; S "
        "says how likely each of them is: S @ Pⁿ.": (
            lambda S, P, n: torch.linalg.matrix_power(P, n).mean(0)
        ),
    },
    against=Chain.distribution,
)


def _count(path: list[int], k: int) -> Tensor:
    """(k, k): how often the path steps from i to j."""
    steps = torch.tensor(path[:-1]) * k + torch.tensor(path[1:])
    return torch.bincount(steps, minlength=k * k).view(k, k).double()


def _shares(counts: Tensor) -> Tensor:
    return counts / counts.sum(1, keepdim=True)


def _frequencies(path: list[int], k: int) -> Tensor:
    return _shares(_count(path, k))


def _every_second(path: list[int], k: int) -> Tensor:
    return _shares(sum(_count(path[n : n + 2], k) for n in range(0, len(path) - 1, 2)))


def _draw_walk(generator: Generator):
    k = size(generator, 2, 5)
    chain = Chain(random_rows(generator, k, k))
    # it starts with every state once, so that no row stays empty, and ends elsewhere than it began,
    # so that a state is not entered as often as it is left
    walk = chain.walk(whole(100, 200, generator), 0, generator)
    return [*range(k), *walk, k - 1], k


count_transitions = Check(
    "count_transitions",
    reference=_frequencies,
    draw_inputs=_draw_walk,
    tolerance=1e-9,
    mistakes={
        "Your rows do not sum to 1: these are counts; divide every row by its own sum.": _count,
        "You divide by the sums of the columns, so yours says where a step came from; divide every "
        "row by its own sum (keepdim=True keeps it a column).": (
            lambda path, k: _count(path, k) / _count(path, k).sum(0, keepdim=True)
        ),
        "Row and column are mixed up, or you count from new to old. P[i, j] belongs to the step "
        "from i to j.": [
            lambda path, k: _frequencies(path[::-1], k),
            lambda path, k: _frequencies(path, k).T,
        ],
        "You divide by the number of all steps; that is how often a pair occurs, not how often j "
        "follows once the chain is in i.": [
            lambda path, k: _count(path, k) / (len(path) - 1),
            lambda path, k: _count(path, k) / len(path),
        ],
        "You count each pair once, however often it occurs: counts[i, j] += 1 with tensors i, j "
        "adds only once to an entry that is named several times; count in a loop.": (
            lambda path, k: _shares((_count(path, k) > 0).double())
        ),
        "You count a step from the last state of the walk back to the first, which nobody saw; a "
        "walk of m states has m − 1 steps: zip(path, path[1:]).": (
            lambda path, k: _frequencies([*path, path[0]], k)
        ),
        "You divide by the sums without keepdim=True, so column j is divided by the sum of row j."
        "": lambda path, k: _count(path, k) / _count(path, k).sum(1),
        "You divide by the number of visits; but the walk ends in its last state, and does not "
        "leave it any more: divide every row by its own sum.": lambda path, k: (
            _count(path, k) / torch.tensor([[path.count(i)] for i in range(k)])
        ),
        "You begin to count above 0 (at 1, or a small number), so that what never happened seems "
        "possible; the most likely matrix counts only what was seen.": [
            lambda path, k, first=first: _shares(_count(path, k) + first)
            for first in (1, 0.5, 0.01, 1e-3, 1e-6)
        ],
        "You count each step in both directions; only the step from i to j belongs in P[i, j].": (
            lambda path, k: _shares(_count(path, k) + _count(path, k).T)
        ),
        "You leave out the steps that stay: P[i, i] is the share of the steps from i to i.": (
            lambda path, k: _shares(_count(path, k).fill_diagonal_(0))
        ),
        "You count every second step: the pairs overlap, and the end of one step is the start of "
        "the next: zip(path, path[1:]).": _every_second,
    },
    against="the share of each step among all steps from its state",
)


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


def _column(P: Tensor, choose: Callable, eig: Callable = torch.linalg.eig) -> Tensor:
    """The eigenvector of P.T in the column that `choose` finds by the eigenvalues."""
    values, vectors = map(torch.as_tensor, eig(P.T))
    vector = vectors[:, choose(values)].real
    return vector / vector.sum()


def _by_numpy(P: Tensor):
    return np.linalg.eig(P.numpy())


def _first(values: Tensor) -> int:
    return 0


def _last(values: Tensor) -> int:
    return -1


def _largest(values: Tensor) -> int:
    return int(values.abs().argmax())


def _iterate(P: Tensor, row: Tensor, steps: int) -> Tensor:
    return row @ torch.linalg.matrix_power(P, steps)


def _hides_one(P: Tensor) -> bool:
    """Whether 1 is neither the first eigenvalue nor the last, nor, in a periodic chain, by
    rounding the largest."""
    spectra = [torch.as_tensor(eig(P.T)[0]) for eig in (torch.linalg.eig, _by_numpy)]
    ways = (_first, _last, _largest) if P[0, 0] == 0 else (_first, _last)
    return all(abs(values[way(values)] - 1) > 0.01 for values in spectra for way in ways)


def _draw_any_chain(generator: Generator):
    """In turn a chain that mixes, one of period 2 and one of period 3."""
    k, period = size(generator, 4, 6), 1 + turn(generator, 3)
    P = torch.zeros(k, k, dtype=torch.float64)
    if period == 1:  # one state is rarely entered and hard to leave
        P = random_rows(generator, k, k) * torch.tensor([0.05] + [1.0] * (k - 1))
        P[0, 0] = 3
    else:  # from state 0 to one of the others, at once or over a third group, and back: groups of
        # unequal size, so that no usual start settles
        first = k if period == 2 else whole(2, k - 1, generator)
        P[0, 1:first] = random_rows(generator, first - 1)
        P[1:first, first:] = random_rows(generator, first - 1, k - first)
        P[first if period == 3 else 1 :, 0] = 1
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


_NEVER = (
    "You iterate S ← S P from {}: a periodic chain never settles, and the check draws some; {}."
)
_STARTS = {
    "state 0": lambda P: torch.eye(len(P), dtype=P.dtype)[0],
    "an even spread": lambda P: torch.full_like(P[0], 1 / len(P)),
}
_ADVICE = "solve π P = π instead, which has an answer all the same"

stationary_distribution = Check(
    "stationary_distribution",
    reference=by_linear_solve,
    draw_inputs=_draw_any_chain,
    tolerance=1e-6,
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
            lambda P, choose=choose, eig=eig: _column(P, choose, eig)
            for choose in (_first, _last, _largest)
            for eig in (torch.linalg.eig, _by_numpy)
        ],
        "Your right-hand side is all ones; only the equation of the sum has a 1 there, the others "
        "are π (P − I) = 0.": [_all_ones, lambda P: _all_ones(P, 0)],
        "You average the rows of P: that is where a single step leads from an even spread.": (
            lambda P: P.mean(0)
        ),
        "You iterate until nothing changes any more: a periodic chain never settles, the check "
        "draws some, and your loop does not end; " + _ADVICE + ".": _until_it_settles,
    }
    | {
        # the last step decides where a periodic chain is: all remainders for the periods 2 and 3
        _NEVER.format(name, _ADVICE): [
            lambda P, start=start, steps=steps: _iterate(P, start(P), steps)
            for steps in range(9_996, 10_002)
        ]
        for name, start in _STARTS.items()
    }
    | {
        "You average two successive steps, which is right for the period 2 only; the check draws "
        "chains of period 3, too; " + _ADVICE + ".": [
            lambda P, start=start, steps=steps: _iterate(P, start(P) + start(P) @ P, steps) / 2
            for start in _STARTS.values()
            for steps in range(9_996, 9_999)
        ],
    },
    against=by_linear_solve,
)
