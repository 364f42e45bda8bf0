"""Call a learner's function and labkit's own on the same inputs, with the same noise.

Whatever happens inside the function, an `Outcome` comes back: a value, or the error that it ended
with. Only the learner's own Ctrl-C passes through.
"""

import copy
import dataclasses
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

LIMIT = 5.0  # seconds for one call, a thousand times what a right answer needs
IMPORTS = 20  # so many new modules at once are a library's
LIBRARIES = (
    *(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<frozen",
)


class TooSlow(BaseException):
    """Raised inside a function that ran out of time; no `except Exception` of its own stops it."""


class Outcome(NamedTuple):
    """What came of one call."""

    value: object = None
    error: BaseException | None = None
    leaves: tuple[tuple[str, Tensor], ...] = ()  # what a gradient can be taken by, with its name
    changed: str | None = None  # the argument that the function changed in place
    littered: str | None = None  # the argument in which backward() left a gradient behind
    recorded: str | None = None  # the argument on which the function switched the gradient on


def call(function: Callable, case, seed: int = 0):
    """The value for copies of the arguments, under a fixed global seed; errors pass through."""
    with _apart(seed):
        return _apply(function, _fresh(case)[0])


def attempt(
    function: Callable, case, names: list[str] = (), limit: float | None = None, seed: int = 0
) -> Outcome:
    """One call as an `Outcome`; `names` are those of the arguments that come by position, `limit`
    the seconds after which the function is stopped."""
    given, leaves = _fresh(case, names)
    loaded = len(sys.modules)
    try:
        with _apart(seed), no_way_out(function), time_limit(limit):
            value = _apply(function, given)
    except TooSlow as error:
        # Torch loads parts of itself at their first use: seconds that are not the function's.
        if len(sys.modules) - loaded > IMPORTS:
            return attempt(function, case, names, limit, seed)
        return Outcome(error=error)
    except (Exception, SystemExit) as error:
        return Outcome(error=error)
    changed = littered = recorded = None
    for name, before, after in _named(case, given, names):
        changed = changed or (None if _same(before, after) else name)
        littered = littered or (name if _has_new_gradient(before, after) else None)
        recorded = recorded or (name if _is_newly_recorded(before, after) else None)
    return Outcome(value, None, leaves, changed, littered, recorded)


def many(
    function: Callable, case, count: int, stream: int, limit: float | None = None
) -> list[object]:
    """Many results for the same arguments, each with its own noise; errors pass through."""
    results, fresh = [], _fresh(case)[0]
    values = fresh.values() if isinstance(fresh, dict) else fresh
    generators = [value for value in values if isinstance(value, torch.Generator)]
    with _apart(0), no_way_out(function), time_limit(limit):
        for index in range(count):
            for generator in (torch.default_generator, *generators):
                generator.manual_seed(7919 * stream + 104729 * index)
            results.append(_apply(function, fresh))
    return results


def _apply(function: Callable, case):
    return function(**case) if isinstance(case, dict) else function(*case)


@contextmanager
def _apart(seed: int) -> Iterator[None]:
    """Global noise from `seed`, gradients on, and both as they were afterwards."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        # torch.manual_seed would also write down the whole stack, for each kind of accelerator
        torch.default_generator.manual_seed(seed)
        yield


@contextmanager
def time_limit(seconds: float | None) -> Iterator[None]:
    """Raises TooSlow where Python code still runs after so many seconds: only in code that is no
    installed library's, since one that is stopped while it is loaded stays broken. A debugger that
    watches the code already is left alone."""
    if seconds is None or sys.gettrace() is not None:
        yield
        return
    end = time.monotonic() + seconds

    def watch(frame, event, argument):
        if _is_a_library_s(frame):
            return None
        if time.monotonic() > end:
            raise TooSlow
        return watch

    sys.settrace(watch)
    try:
        yield
    finally:
        sys.settrace(None)


def _is_a_library_s(frame) -> bool:
    """Also what a library makes of a string and calls, as named tuples and data classes do, of
    which an import is full."""
    while frame is not None and frame.f_code.co_filename == "<string>":
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(LIBRARIES)


@contextmanager
def no_way_out(function: Callable) -> Iterator[None]:
    """In a notebook exit() ends the kernel, whatever catches it: here it only raises."""
    names = getattr(function, "__globals__", {})
    before = {name: names[name] for name in ("exit", "quit") if name in names}
    names.update(exit=_leave, quit=_leave)
    try:
        yield
    finally:
        for name in ("exit", "quit"):
            names.pop(name, None)
        names.update(before)


def _leave(*_):
    raise SystemExit


# Copies of arguments, and what became of them.


def _fresh(case, names: list[str] = ()):
    """Copies of the arguments, and the leaves among them that a gradient can be taken by."""
    leaves = []

    def own(value, name: str):
        if isinstance(value, torch.Generator):
            return torch.Generator(value.device).set_state(value.get_state())
        if isinstance(value, Tensor):
            leaf = value.detach().clone()
            if not value.requires_grad:
                return leaf
            leaves.append((f"`{name}`", leaf.requires_grad_()))
            return leaf.clone()  # no leaf itself, so that torch allows a change in place
        if isinstance(value, nn.Module):
            module = copy.deepcopy(value)
            weights = [weight for weight in module.parameters() if weight.requires_grad]
            leaves.extend((f"the weights of `{name}`", weight) for weight in weights)
            return module
        if isinstance(value, dict):
            return {key: own(item, name) for key, item in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*(own(item, name) for item in value))
        if isinstance(value, (list, tuple)):
            return type(value)(own(item, name) for item in value)
        return copy.deepcopy(value) if dataclasses.is_dataclass(value) else value

    if isinstance(case, dict):
        given = {key: own(value, key) for key, value in case.items()}
    else:
        given = tuple(own(value, _name(i, names)) for i, value in enumerate(case))
    return given, tuple(leaves)


def _name(index: int, names: list[str]) -> str:
    return names[index] if index < len(names) else str(index)


def _named(case, given, names: list[str]) -> list[tuple]:
    """(name, as it was, as it is now) of each argument."""
    if isinstance(case, dict):
        return [(key, case[key], given[key]) for key in case]
    return [(_name(i, names), *pair) for i, pair in enumerate(zip(case, given, strict=True))]


def _same(before, after) -> bool:
    if isinstance(before, Tensor):
        return before.shape == after.shape and torch.equal(
            torch.nan_to_num(before), torch.nan_to_num(after)
        )
    if isinstance(before, (list, tuple)):
        return len(before) == len(after) and all(map(_same, before, after))
    if isinstance(before, dict):
        return list(before) == list(after) and all(map(_same, before.values(), after.values()))
    if dataclasses.is_dataclass(before):
        names = [each.name for each in dataclasses.fields(before)]
        return all(_same(getattr(before, name), getattr(after, name)) for name in names)
    return before == after if isinstance(before, (int, float, str)) else True


def _has_new_gradient(before, after) -> bool:
    """Whether an argument came back with a gradient in it, as after backward()."""
    if isinstance(after, nn.Module):
        return any(weight.grad is not None for weight in after.parameters())
    if not isinstance(after, Tensor) or before.requires_grad:
        return False
    return after.requires_grad and after.grad is not None


def _is_newly_recorded(before, after) -> bool:
    """Whether a tensor asks for a gradient that it did not ask for before."""
    return isinstance(after, Tensor) and after.requires_grad and not before.requires_grad
