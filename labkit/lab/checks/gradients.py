"""Compare the gradients of two results: a loss or a score without one teaches nobody anything.

The gradient is taken of one number, a fixed weighted sum of all that was returned, so that a
function that returns a tensor is compared like one that returns a loss.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from labkit.lab.checks.calling import Outcome

TOLERANCE = 1e-3  # of the largest entry; what is wrong with a gradient is no rounding
NO_GRADIENT = (
    "The numbers are right, but they carry no gradient, so nothing can follow them. Compute with "
    "torch from beginning to end: no .item(), float(), .detach(), .data, torch.no_grad() or NumPy."
)
BACKWARD = (
    "The numbers are right, but backward() has been called on them inside your function, which "
    "uses up their gradient: return them, and leave backward() to the training loop."
)


def problem(expected: Outcome, got: Outcome) -> str | None:
    """How the gradient of a right result differs from that of the expected one, in a sentence, or
    None; also where the expected one has none. The results agree in shape."""
    wanted = _slopes(expected)
    if not any(slope is not None for slope in wanted):
        return None
    if not any(output.requires_grad for output in _tensors(got.value)):
        return NO_GRADIENT
    try:
        mine = _slopes(got)
    except RuntimeError:  # the graph is gone
        return BACKWARD
    for (name, _), right, slope in zip(expected.leaves, wanted, mine, strict=True):
        if right is None or not right.any():
            continue
        if slope is None:
            return (
                f"The numbers are right, but no gradient reaches {name}: something on the way is "
                "detached, under no_grad, or computed outside torch."
            )
        if not torch.isfinite(slope).all():
            return (
                f"The numbers are right, but their gradient by {name} is nan or infinite: "
                "somewhere on the way is the root, the logarithm or the quotient of a 0."
            )
        if (slope - right).abs().max() > TOLERANCE * right.abs().max():
            return (
                f"The numbers are right, but their gradient by {name} is not: a part of the "
                "computation is detached, or done outside torch."
            )
    return None


def agree(one: Outcome, other: Outcome) -> bool:
    """Whether two results, of which one may be refused for its gradient, carry the same."""
    try:
        pairs = list(zip(_slopes(one), _slopes(other), strict=True))
    except RuntimeError:  # the graph is gone
        return False
    return all(_same(a, b) for a, b in pairs)


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether two gradients are the same; none at all is one of 0."""
    if a is None or b is None:
        return all(each is None or not each.any() for each in (a, b))
    return bool((a - b).abs().max() <= TOLERANCE * torch.maximum(a.abs().max(), b.abs().max()))


def _slopes(outcome: Outcome) -> list[Tensor | None]:
    """The gradient by each leaf, None where none arrives."""
    leaves = [leaf for _, leaf in outcome.leaves]
    total = sum(
        (output.double() * torch.arange(output.numel()).cos().view(output.shape)).sum()
        for output in _tensors(outcome.value)
        if output.requires_grad
    )
    if not leaves or not isinstance(total, Tensor):
        return [None] * len(leaves)
    return list(torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True))


def _tensors(value) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
