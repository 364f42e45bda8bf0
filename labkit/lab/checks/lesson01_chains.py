"""The exercises of lesson 01: chains on a few states, and the Gaussian one."""

import itertools

import torch
from torch import Generator, Tensor

from labkit.lab.checks.framework import Check
from labkit.markov import Chain, by_linear_solve, metropolis_hastings, total_variation


def random_rows(generator: Generator, *shape: int) -> Tensor:
    """Probabilities along the last axis, none of them small."""
    rows = 0.1 + torch.rand(*shape, generator=generator, dtype=torch.float64)
    return rows / rows.sum(-1, keepdim=True)


def _power(S: Tensor, P: Tensor, n: int) -> Tensor:
    return S @ torch.linalg.matrix_power(P, n)


def _draw_start(generator: Generator):
    P = random_rows(generator, 4, 4) + 2 * torch.eye(4)  # it stays often, so it mixes slowly
    n = int(torch.randint(2, 7, (), generator=generator))
    return random_rows(generator, 4), P / P.sum(1, keepdim=True), n


after_n_steps = Check(
    "after_n_steps",
    reference=_power,
    draw_inputs=_draw_start,
    tolerance=1e-9,
    mistakes={
        "You multiply P @ S, which sums over where the chain goes instead of where it comes from; "
        "a row vector stands on the left: S @ P.": lambda S, P, n: _power(S, P.T, n),
        "P ** n raises every entry on its own; the n-th power of a matrix multiplies it with "
        "itself: torch.linalg.matrix_power(P, n).": lambda S, P, n: S @ P**n,
        "You take one step too many; after n = 0 steps the answer must still be S.": (
            lambda S, P, n: _power(S, P, n + 1)
        ),
        "You take one step too few; after n = 1 step the answer must be S @ P.": (
            lambda S, P, n: _power(S, P, n - 1)
        ),
        "You take a single step; n of them are asked for.": lambda S, P, n: S @ P,
    },
    against="labkit.markov.Chain.distribution",
)


def _count(path: list[int], k: int) -> Tensor:
    """(k, k): how often the path steps from i to j."""
    steps = torch.tensor(path[:-1]) * k + torch.tensor(path[1:])
    return torch.bincount(steps, minlength=k * k).view(k, k).double()


def _frequencies(path: list[int], k: int) -> Tensor:
    counts = _count(path, k)
    return counts / counts.sum(1, keepdim=True)


def _draw_walk(generator: Generator):
    chain = Chain(random_rows(generator, 3, 3))
    # it starts with every state once, so that no row stays empty
    return [0, 1, 2, *chain.walk(200, 0, generator)], 3


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
        "You count from new to old: row and column are mixed up. P[i, j] belongs to the step from "
        "i to j.": lambda path, k: _frequencies(path[::-1], k),
        "You divide by the number of all steps; that is how often a pair occurs, not how often j "
        "follows once the chain is in i.": lambda path, k: _count(path, k) / (len(path) - 1),
        "You divide by the sums without keepdim=True, so column j is divided by the sum of row j."
        "": lambda path, k: _count(path, k) / _count(path, k).sum(1),
    },
)


def _unit_length(P: Tensor) -> Tensor:
    pi = by_linear_solve(P)
    return pi / pi.norm()


def _right_eigenvector(P: Tensor) -> Tensor:
    values, vectors = torch.linalg.eig(P)
    return vectors[:, (values - 1).abs().argmin()].real


def _iterate(P: Tensor, row: Tensor, steps: int) -> Tensor:
    return row @ torch.linalg.matrix_power(P, steps)


_kinds = itertools.cycle(("mixing", "periodic"))  # every check sees both, whatever the seed


def _draw_any_chain(generator: Generator):
    if next(_kinds) == "mixing":
        return (random_rows(generator, 4, 4),)
    # from state 0 to one of 1, 2, 3 and back: the period is 2, and no usual start settles
    P = torch.zeros(4, 4, dtype=torch.float64)
    P[0, 1:] = random_rows(generator, 3)
    P[1:, 0] = 1
    return (P,)


_NEVER = "You iterate S ← S P {}: a periodic chain never settles, and the check draws one; {}."
_ADVICE = "solve π P = π instead, which has an answer all the same"

stationary_law = Check(
    "stationary_law",
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
        "Your vector points the right way but has length 1; probabilities sum to 1: divide by the "
        "sum.": _unit_length,
        "Your vector has length 1 and the sign that the eigenvector came with; divide by its sum, "
        "which mends both.": lambda P: -_unit_length(P),
    }
    | {
        _NEVER.format(f"from {name}, and an {parity} number of times", _ADVICE): (
            lambda P, start=start, steps=steps: _iterate(P, start(P), steps)
        )
        for name, start in {
            "state 0": lambda P: torch.eye(len(P), dtype=P.dtype)[0],
            "an even spread": lambda P: torch.full_like(P[0], 1 / len(P)),
        }.items()
        for parity, steps in {"even": 10_000, "odd": 10_001}.items()
    },
    against="labkit.markov.by_linear_solve",
)


def _accepted(target: Tensor, Q: Tensor, accept: Tensor) -> Tensor:
    P = Q * accept
    return P + torch.diag(1 - P.sum(1))


def _draw_target(generator: Generator):
    # known up to a factor only, and a proposal that is not symmetric
    return 5 * random_rows(generator, 4), random_rows(generator, 4, 4)


def _flow(target: Tensor, Q: Tensor) -> Tensor:
    return target[:, None] * Q  # (n, n): π_i q_ij


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
        "Your correction for the proposal is upside down: π_j / π_i is multiplied by "
        "q_ji / q_ij.": lambda target, Q: _accepted(
            target, Q, (target / target[:, None] * Q / Q.T).clamp(max=1)
        ),
        "Your rows do not sum to 1: whoever is refused stays, so the refused probability belongs "
        "on the diagonal.": lambda target, Q: (
            Q * (_flow(target, Q).T / _flow(target, Q)).clamp(max=1)
        ),
        "You do not cap the acceptance at 1: a probability above 1 is none, and rows get negative "
        "entries on the diagonal.": lambda target, Q: _accepted(
            target, Q, _flow(target, Q).T / _flow(target, Q)
        ),
        "This is the matrix of acceptances; P[i, j] is the probability to propose j and to accept "
        "it, and what is refused stays on the diagonal.": lambda target, Q: (
            _flow(target, Q).T / _flow(target, Q)
        ).clamp(max=1),
    },
    against="labkit.markov.metropolis_hastings",
)


def _draw_noise(generator: Generator):
    shape = (8, 2)
    x, eps = (torch.randn(*shape, generator=generator) for _ in range(2))
    return 3 + x, 0.02 + 0.4 * torch.rand((), generator=generator).item(), eps


gaussian_step = Check(
    "gaussian_step",
    reference=lambda x, beta, eps: (1 - beta) ** 0.5 * x + beta**0.5 * eps,
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
        "You draw your own noise; use eps, which is given, so that the step can be compared.": (
            lambda x, beta, eps: (1 - beta) ** 0.5 * x + beta**0.5 * torch.randn_like(x)
        ),
        "You draw your own noise, and with rand, which lies between 0 and 1; use eps.": (
            lambda x, beta, eps: (1 - beta) ** 0.5 * x + beta**0.5 * torch.rand_like(x)
        ),
    },
    against="labkit.markov.GaussianChain.step",
)


def _steps(P: Tensor, tolerance: float, distance) -> int:
    pi, rows, n = by_linear_solve(P), torch.eye(len(P), dtype=P.dtype), 0
    while distance(rows, pi) > tolerance:
        rows, n = rows @ P, n + 1
    return n


def _worst(rows: Tensor, pi: Tensor) -> float:
    return total_variation(rows, pi).max().item()


def _draw_sticky(generator: Generator):
    # one state, never state 0, is hard to leave and rarely entered: the worst place to start
    P = random_rows(generator, 4, 4)
    corner = 1 + int(torch.randint(3, (), generator=generator))
    P[:, corner] *= 0.05
    P /= P.sum(1, keepdim=True)
    P[corner] *= 0.1 / P[corner].sum()
    P[corner, corner] += 0.9
    return P, 0.01


steps_to_forget = Check(
    "steps_to_forget",
    reference=lambda P, tolerance: _steps(P, tolerance, _worst),
    draw_inputs=_draw_sticky,
    rounds=8,
    mistakes={
        "You forgot the ½ of total variation: ½ Σ |p − q|.": lambda P, tolerance: _steps(
            P, tolerance, lambda rows, pi: 2 * _worst(rows, pi)
        ),
        "You start in state 0 only; from another state the chain may take longer, and the worst "
        "start counts.": lambda P, tolerance: _steps(
            P, tolerance, lambda rows, pi: total_variation(rows[0], pi)
        ),
        "You wait for the luckiest start, not for the worst: take the maximum over the rows.": (
            lambda P, tolerance: _steps(
                P, tolerance, lambda rows, pi: total_variation(rows, pi).min()
            )
        ),
        "You average over the starts; the worst of them counts.": lambda P, tolerance: _steps(
            P, tolerance, lambda rows, pi: total_variation(rows, pi).mean()
        ),
        "You are one step too late: with the starts themselves, n = 0, the count begins.": (
            lambda P, tolerance: _steps(P, tolerance, _worst) + 1
        ),
        "You are one step too early: at the n that you return, the worst start is still too far "
        "away.": lambda P, tolerance: _steps(P, tolerance, _worst) - 1,
    },
)
