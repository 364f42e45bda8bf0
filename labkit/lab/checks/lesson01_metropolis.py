"""The check of lesson 01 on a chain to order: the Metropolis–Hastings matrix."""

import torch
from torch import Generator, Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.lesson01_chains import random_rows
from labkit.lab.checks.random_inputs import between, size
from labkit.markov import Chain, metropolis_hastings


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


def _towards(flow: Tensor, divided_by: Tensor) -> Tensor:
    """The chain that carries the smaller of two flows, and stays otherwise."""
    P = torch.minimum(flow, flow.T) / divided_by
    return P + torch.diag(1 - P.sum(1))


def _stay_replaced(target: Tensor, Q: Tensor) -> Tensor:
    """What is refused in place of the proposal to stay, not on top of it."""
    P = torch.minimum(_flow(target, Q), _flow(target, Q).T) / target[:, None]
    return P.diagonal_scatter(1 - P.sum(1))


def _off_the_diagonal(target: Tensor, Q: Tensor) -> Tensor:
    return _towards(_flow(target, Q), target[:, None]).fill_diagonal_(0)


def _refused_by_columns(target: Tensor, Q: Tensor) -> Tensor:
    P = torch.minimum(_flow(target, Q), _flow(target, Q).T) / target[:, None]
    return P + torch.diag(1 - P.sum(0))


def _scaled_rows(target: Tensor, Q: Tensor) -> Tensor:
    P = Q * (_flow(target, Q).T / _flow(target, Q)).clamp(max=1)
    return P / P.sum(1, keepdim=True)


def _barker(target: Tensor, Q: Tensor) -> Tensor:
    """The chain with another acceptance, π_j q_ji / (π_i q_ij + π_j q_ji): balanced, but slower."""
    flow = _flow(target, Q)
    return _accepted(target, Q, flow.T / (flow + flow.T))


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
        "You write what is refused over the diagonal, where the proposal to stay stands already; "
        "add it to the diagonal.": _stay_replaced,
        "A weight is on the wrong axis: π_i belongs to the row, target[:, None]; target alone is "
        "spread along the columns, π_j.": [
            lambda target, Q: _towards(target * Q, target[:, None]),
            lambda target, Q: _towards(target * Q, target),
            lambda target, Q: _towards(_flow(target, Q), target),
            lambda target, Q: _accepted(target, Q, ((target * Q).T / (target * Q)).clamp(max=1)),
        ],
        "Your rows do not sum to 1: a refused step stays, so its probability belongs "
        "on the diagonal.": [
            lambda target, Q: Q * (_flow(target, Q).T / _flow(target, Q)).clamp(max=1),
            _off_the_diagonal,
        ],
        "You take what is refused from the sums of the columns; it is what the row of a state "
        "lacks: 1 − P.sum(1).": _refused_by_columns,
        "This is the proposal itself; a move is accepted with min(1, π_j q_ji / π_i q_ij) only.": (
            lambda target, Q: Q
        ),
        "You do not cap the acceptance at 1: no probability is above 1, and rows get negative "
        "entries on the diagonal.": lambda target, Q: _accepted(
            target, Q, _flow(target, Q).T / _flow(target, Q)
        ),
        "That is the flow π_i q_ij a_ij, which is the same in both directions; divide it by "
        "π_i for the probability of the step from i.": [
            lambda target, Q: torch.minimum(_flow(target, Q), _flow(target, Q).T),
            lambda target, Q: _towards(_flow(target, Q), torch.ones_like(Q)),
        ],
        "You accept with π_j q_ji / (π_i q_ij + π_j q_ji), which is Barker's rule; it has the same "
        "π, but refuses more: the acceptance here is min(1, π_j q_ji / π_i q_ij).": _barker,
        "This is the matrix of acceptances; P[i, j] is the probability to propose j and to accept "
        "it, and what is refused stays on the diagonal.": lambda target, Q: (
            _flow(target, Q).T / _flow(target, Q)
        ).clamp(max=1),
    },
    against=metropolis_hastings,
)
