"""Compare functions that draw at random by what they draw over many calls."""

from collections.abc import Callable

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from labkit.lab.checks import calling, compare, sentences

LIMIT = 6  # standard errors, far beyond what the number of calls and of entries makes likely


def sample(
    function: Callable, cases: list, count: int, stream: int, limit: float | None = None
) -> list[tuple]:
    """`count` results, each a tuple with one value for every case and noise of its own; `limit`
    seconds for each case."""
    return list(
        zip(
            *(
                calling.many(function, case, count, stream + 10 * i, limit)
                for i, case in enumerate(cases)
            )
        )
    )


def is_random(function: Callable, case) -> bool:
    """Whether two calls with different noise give different values."""
    first, second = calling.many(function, case, 2, 4)
    return compare.difference(first, second) > 0


def ignores_generator(function: Callable, case) -> bool:
    """Whether what is drawn changes with the global noise, though a generator is among the
    arguments."""
    values = case.values() if isinstance(case, dict) else case
    if not any(isinstance(value, torch.Generator) for value in values):
        return False
    return compare.difference(*(calling.call(function, case, seed) for seed in (0, 1))) > 0


class _Watch(TorchDispatchMode):
    """Notes whether torch draws at random inside."""

    drew = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.drew |= torch.Tag.nondeterministic_seeded in func.tags
        return func(*args, **(kwargs or {}))


def uses_noise(function: Callable, case) -> bool:
    """Whether a call draws at random with torch, be it the same numbers every time."""
    with _Watch() as watch:
        calling.call(function, case)
    return watch.drew


def problem(expected: list, got: list) -> str | None:
    """How two samples of random results (one per call) differ in mean or spread, or None."""
    wrong = compare.first(compare.shape_problem(a, b) for a, b in zip(expected, got, strict=True))
    if wrong:
        return wrong
    a, b = (np.stack([_flat(value) for value in values]) for values in (expected, got))
    if not np.isfinite(b).all():
        return "Some of the numbers that your function draws are nan or infinite."
    if a.std(0).any() and not b.std(0).any():
        return sentences.SAME_NOISE
    for word, u, v, power in (("mean", a, b, 1), ("standard deviation", *_squares(a, b), 2)):
        z = _standard_errors(u, v)
        index = int(z.argmax())
        if z[index] > LIMIT:
            right, yours = u.mean(0)[index] ** (1 / power), v.mean(0)[index] ** (1 / power)
            return (
                f"Over {len(a)} calls the {word} of what you draw is {yours:.4g} where "
                f"{right:.4g} is right, {z[index]:.0f} standard errors apart."
            )
    together = {
        "the mean of what you draw is off": _shift(a, b),
        "the standard deviation of what you draw is off": _spread(a, b),
        "what you draw is correlated in another way": _ties(a, b),
        "the distribution of what you draw has another shape": _shape(a, b),
    }
    what = max(together, key=together.get)
    if (z := together[what]) <= LIMIT:
        return None
    return f"Over {len(a)} calls {what}, all numbers taken together: by {z:.0f} standard errors."


def distance(expected: list, got: list) -> float:
    """How far two samples that can be compared lie apart, in standard errors."""
    a, b = (np.stack([_flat(value) for value in values]) for values in (expected, got))
    entries = (_standard_errors(a, b).max(), _standard_errors(*_squares(a, b)).max())
    return float(max(*entries, _shift(a, b), _spread(a, b), _ties(a, b)))


def _squares(a, b):
    return (a - a.mean(0)) ** 2, (b - b.mean(0)) ** 2


def _standard_errors(u, v) -> np.ndarray:
    """How far the means of two samples (calls, entries) lie apart, for each entry."""
    noise = np.sqrt((u.var(0) + v.var(0)) / len(u)) + 1e-9
    return np.abs(u.mean(0) - v.mean(0)) / noise


def _shift(a, b) -> float:
    """All entries along one direction. The first half of the calls chooses it and the second half
    is measured, so that chance does not count twice; entries may depend on each other."""
    half = len(a) // 2
    direction = (b[:half].mean(0) - a[:half].mean(0)) / (a.var(0) + b.var(0) + 1e-9)
    return _standard_errors(a[half:] @ direction, b[half:] @ direction).item()


def _spread(a, b) -> float:
    """The squared deviations of all entries together, each on its own scale."""
    u, v = _squares(a, b)
    scale = a.var(0) + b.var(0) + 1e-9
    return _standard_errors((u / scale).mean(1), (v / scale).mean(1)).item()


def _ties(a, b) -> float:
    """The squared sum of all entries, which grows where one draw serves several of them."""
    scale = np.sqrt(a.var(0) + b.var(0)) + 1e-9
    u, v = (((each - each.mean(0)) / scale).sum(1) for each in (a, b))
    return _standard_errors(u**2, v**2).item()


def _shape(a, b) -> float:
    """The fourth powers of all entries, each on its own scale: noise that is uniform, or a sign,
    may have the right mean and standard deviation, but not this."""
    fourth = [(((each - each.mean(0)) / (each.std(0) + 1e-9)) ** 4).mean(1) for each in (a, b)]
    return _standard_errors(*fourth).item()


def _flat(value) -> np.ndarray:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (tuple, list)):
        return np.concatenate([_flat(item) for item in value])
    return compare.array(value).reshape(-1)
