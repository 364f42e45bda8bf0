"""The checks of lesson 01 on a few states: n steps, and their matrix."""

from functools import partial

import torch
from torch import Generator, Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import size, turn, whole
from labkit.markov import Chain


def random_rows(generator: Generator, *shape: int) -> Tensor:
    """Probabilities along the last axis, none of them small."""
    rows = 0.1 + torch.rand(*shape, generator=generator, dtype=torch.float64)
    return rows / rows.sum(-1, keepdim=True)


def _power(S: Tensor, P: Tensor, n: int) -> Tensor:
    return S @ torch.linalg.matrix_power(P, n)


def _draw_start(generator: Generator):
    """A start, a chain that often stays, so that it mixes slowly, and n: 0, 1, a few or many."""
    k = size(generator, 2, 5)
    low, high = ((0, 0), (1, 1), (2, 6), (2, 6), (12, 24), (120, 200))[turn(generator, 6)]
    stays = 100 if low == 120 else 2  # after many steps the start must still be seen
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


def _begun_above_0(path: list[int], k: int, first: float) -> Tensor:
    return _shares(_count(path, k) + first)


def _softened(path: list[int], k: int, eps: float) -> Tensor:
    counts = _count(path, k)
    return counts / (counts.sum(1, keepdim=True) + eps)


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
    tolerance=1e-12,
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
            partial(_begun_above_0, first=first) for first in (1, 0.5, 0.01, 1e-3, 1e-6)
        ],
        "You add a small number to the sums, so that your rows sum to less than 1; each state is "
        "left at least once, and no sum is 0.": [
            partial(_softened, eps=10.0**-n) for n in range(3, 10)
        ],
        "You leave out the last step of the walk, or the first; a walk of m states has m − 1 "
        "steps: zip(path, path[1:]).": [
            lambda path, k: _frequencies(path[:-1], k),
            lambda path, k: _frequencies(path[1:], k),
        ],
        "Your rows have length 1; probabilities sum to 1: divide every row by its own sum.": (
            lambda path, k: torch.nn.functional.normalize(_count(path, k), dim=1)
        ),
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
