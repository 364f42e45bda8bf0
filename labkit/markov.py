"""Markov chains: on finitely many states, and the Gaussian one that diffusion is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor

from labkit.inputs import float_batch, number, numbers, one_of, short, whole_number

TOLERANCE = 1e-6  # how far a row's sum may be from 1: float32 rows miss it by about 1e-7


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain on n states: P[i, j] is the probability of going from i to j.

    P: (n, n), no negative entries, rows summing to 1 (to 1e-6, then scaled to do so
    exactly); kept in float64.
    states: n different names; "0", "1", … when left out. Raises ValueError otherwise.
    """

    P: Tensor  # (n, n)
    states: tuple[str, ...] | None = None

    def __post_init__(self):
        P = numbers(self.P, "P", 2)
        if P.shape[0] != P.shape[1]:
            raise ValueError(f"P has shape {tuple(P.shape)}, but must be square, (n, n)")
        if P.min() < 0:
            raise ValueError(
                f"P holds the entry {P.min().item():g}, but probabilities are never negative"
            )
        worst = int((P.sum(1) - 1).abs().argmax())
        if abs((total := P[worst].sum().item()) - 1) > TOLERANCE:
            raise ValueError(
                f"row {worst} of P sums to {total:.7g}, but each row must sum to 1: from every "
                "state the chain goes somewhere (did you put the columns where the rows belong?)"
            )
        states = range(len(P)) if self.states is None else self.states
        states = tuple(map(str, states)) if isinstance(states, Iterable) else ()
        if len(states) != len(P) or len(set(states)) != len(states):
            raise ValueError(
                f"P has {len(P)} rows, so states must be {len(P)} different names, but it is "
                f"{short(self.states)}"
            )
        object.__setattr__(self, "P", P / P.sum(1, keepdim=True))
        object.__setattr__(self, "states", states)

    def index(self, state: str | int) -> int:
        """The row of a state given by name or number. Raises ValueError for an unknown one."""
        if isinstance(state, str):
            return self.states.index(one_of(state, self.states, "state"))
        return whole_number(state, "state", 0, len(self.states) - 1)

    def walk(self, n: int, start: str | int, generator: torch.Generator | None = None) -> list[int]:
        """n steps from `start`: n + 1 state numbers, the start first."""
        path = [self.index(start)]
        for _ in range(whole_number(n, "the number of steps", 0)):
            path.append(torch.multinomial(self.P[path[-1]], 1, generator=generator).item())
        return path

    def distribution(self, start: str | int | Tensor, n: int) -> Tensor:
        """S_n = S_0 Pⁿ, (n_states,): where the chain is after n steps.

        start: a state, or a distribution over the states.
        """
        row = self.start(start)
        return row @ torch.linalg.matrix_power(self.P, whole_number(n, "the number of steps", 0))

    def start(self, start: str | int | Tensor) -> Tensor:
        """A starting distribution, (n,): of a state all in one place, of a distribution itself."""
        if isinstance(start, str | int):
            return torch.eye(len(self.P), dtype=torch.float64)[self.index(start)]
        row = numbers(start, "the starting distribution", 1)
        if len(row) != len(self.P) or row.min() < 0 or abs(row.sum() - 1) > TOLERANCE:
            raise ValueError(
                f"the starting distribution is {short(row.tolist())}, but must be {len(self.P)} "
                "probabilities that sum to 1"
            )
        return row / row.sum()

    def stationary(self, method: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """π with π P = π, (n,), by `by_linear_solve` or the method given.

        Raises ValueError if more than one exists (several closed classes of states).
        """
        if (many := self.closed_classes()) > 1:
            raise ValueError(
                f"this chain has {many} closed classes of states, so infinitely many "
                "stationary distributions: make it possible to leave all of them but one"
            )
        pi = (method or by_linear_solve)(self.P).clamp(min=0)  # a rounding error may be −1e-16
        return pi / pi.sum()

    def reachable(self) -> Tensor:
        """(n, n) bool: can j be reached from i, in any number of steps, zero included? All of it is
        True where the chain is irreducible."""
        n = len(self.P)
        return torch.linalg.matrix_power((self.P > 0).double() + torch.eye(n).double(), n) > 0

    def closed_classes(self) -> int:
        """How many sets of states the chain can never leave once inside (1 is enough for one π)."""
        reach = self.reachable()
        mutual = reach & reach.T
        closed = (reach == mutual).all(1)  # whatever i reaches leads back to i
        return len({tuple(row.tolist()) for row in mutual[closed]})

    def period(self) -> int:
        """The greatest common divisor of all return times to state 0; 1 is aperiodic. Meant for
        irreducible chains, where all states share it; 0 if the chain never comes back."""
        steps, here, divisor = self.P > 0, torch.eye(len(self.P))[0] > 0, 0
        for n in range(1, 2 * len(self.P) ** 2):
            here = (here[:, None] & steps).any(0)
            divisor = gcd(divisor, n) if here[0] else divisor
        return divisor

    def eigenvalues(self) -> Tensor:
        """(n,) complex, the largest first: 1, then λ₂, whose size sets the pace of mixing."""
        values = torch.linalg.eigvals(self.P)
        return values[values.abs().argsort(descending=True)]


def by_linear_solve(P: Tensor) -> Tensor:
    """π from (Pᵀ − I) π = 0 with one equation replaced by Σ π = 1."""
    equations = P.T - torch.eye(len(P), dtype=P.dtype)
    equations[-1] = 1
    right = torch.zeros(len(P), dtype=P.dtype)
    right[-1] = 1
    return torch.linalg.solve(equations, right)


def by_eigenvector(P: Tensor) -> Tensor:
    """π as the left eigenvector of eigenvalue 1, scaled to sum to 1."""
    values, vectors = torch.linalg.eig(P.T)
    vector = vectors[:, (values - 1).abs().argmin()].real
    return vector / vector.sum()


def by_power_iteration(P: Tensor, steps: int = 20_000, tolerance: float = 1e-13) -> Tensor:
    """π as what any start becomes; raises ValueError if it does not settle (a periodic chain)."""
    row = torch.zeros(len(P), dtype=P.dtype)
    row[0] = 1
    for _ in range(steps):
        row, before = row @ P, row
        if total_variation(row, before) < tolerance:
            return row
    raise ValueError(
        f"the distribution still moves after {steps} steps: the chain is periodic, or mixes too "
        "slowly; solve for it instead (by_linear_solve)"
    )


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    """½ Σ |p − q| over the last axis: the largest difference in probability of any event, 0 … 1."""
    return (p - q).abs().sum(-1) / 2


def metropolis_hastings(target: object, proposal: Chain) -> Chain:
    """The chain that proposes by `proposal` and accepts i → j with min(1, π_j q_ji / π_i q_ij), so
    that `target` (n,), positive and known up to a factor, is stationary. Raises ValueError else."""
    target = numbers(target, "target", 1)
    if len(target) != len(proposal.P) or target.min() <= 0:
        raise ValueError(
            f"target is {short(target.tolist())}, but must be {len(proposal.P)} numbers above 0"
        )
    flow = target[:, None] * proposal.P  # (n, n) π_i q_ij
    accept = torch.where(flow > 0, flow.T / flow.clamp(min=1e-300), 0.0).clamp(max=1)
    P = proposal.P * accept
    P = P + torch.diag(1 - P.sum(1))  # what is refused stays
    return Chain(P.clamp(min=0), proposal.states)


@dataclass(frozen=True)
class GaussianChain:
    """x_n = √(1−β) x_{n−1} + √β ε: the AR(1) chain, which leaves N(0, I) as it is. 0 < β < 1."""

    beta: float

    def __post_init__(self):
        if not 0 < number(self.beta, "beta") < 1:
            raise ValueError(f"beta is {self.beta}, but must lie strictly between 0 and 1")

    def step(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """One step of every row of x, (B, …) float."""
        noise = torch.randn(float_batch(x, "x").shape, generator=generator, dtype=x.dtype)
        return (1 - self.beta) ** 0.5 * x + self.beta**0.5 * noise

    def moments(self, mean: float, std: float, n: int) -> tuple[float, float]:
        """Mean and variance after n steps from N(mean, std²): the mean decays as (1−β)^{n/2}, the
        variance goes to 1 as 1 + (1−β)ⁿ (std² − 1)."""
        kept = (1 - self.beta) ** whole_number(n, "the number of steps", 0)
        return number(mean, "mean") * kept**0.5, 1 + kept * (number(std, "std", 0) ** 2 - 1)
