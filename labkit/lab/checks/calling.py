"""Call a learner's function and labkit's own on the same inputs, with the same noise."""

import inspect
import linecache
import traceback
from collections.abc import Callable

import torch


def _copy(value):
    if isinstance(value, torch.Generator):
        return torch.Generator(value.device).set_state(value.get_state())
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_copy(item) for item in value)
    return value


def call(function: Callable, case, seed: int = 0):
    """Call with copies of the arguments and a fixed global seed, which is put back afterwards."""
    case = _copy(case)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return function(**case) if isinstance(case, dict) else function(*case)


def watched_call(function: Callable, case):
    """The value, and the name of an argument that the function changed in place (or None)."""
    given = _copy(case)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        value = function(**given) if isinstance(given, dict) else function(*given)
    pairs = given.items() if isinstance(given, dict) else enumerate(given)
    names = [] if isinstance(given, dict) else parameters(function)
    for key, after in pairs:
        before = case[key]
        if isinstance(after, torch.Tensor) and not torch.equal(
            torch.nan_to_num(after), torch.nan_to_num(before)
        ):
            return value, names[key] if key in range(len(names)) else str(key)
    return value, None


def many(function: Callable, case, count: int, stream: int) -> list:
    """Many results for the same arguments, each with its own noise."""
    results, fresh = [], _copy(case)
    values = fresh.values() if isinstance(fresh, dict) else fresh
    generators = [value for value in values if isinstance(value, torch.Generator)]
    with torch.random.fork_rng(devices=[]):
        for index in range(count):
            for generator in (torch.default_generator, *generators):
                generator.manual_seed(7919 * stream + 104729 * index)
            results.append(function(**fresh) if isinstance(fresh, dict) else function(*fresh))
    return results


def cannot_call(function: Callable, case, reference: Callable) -> str | None:
    """Why the function does not take these arguments, in a sentence, or None."""
    try:
        signature = inspect.signature(function)
        signature.bind(**case) if isinstance(case, dict) else signature.bind(*case)
    except TypeError:
        wanted = ", ".join(parameters(reference))
        return f"Your function takes {signature}; it is called with ({wanted})."
    except ValueError:
        return None
    return None


def parameters(function: Callable) -> list[str]:
    """The names of a function's parameters, as far as it tells them."""
    try:
        return list(inspect.signature(function).parameters)
    except ValueError:  # some built-in functions keep theirs to themselves
        return []


def is_stub(function: Callable) -> bool:
    """Whether nothing was written: a body of a docstring, `...` or `pass` alone, or None in all."""
    code = getattr(function, "__code__", None)
    return code is None or len(code.co_code) <= len(_empty.__code__.co_code) + 4


def _empty(): ...


def sentence_of(error: Exception, function: Callable) -> str:
    """What the function raised and in which of its lines, in one sentence."""
    text = str(error).strip().splitlines()
    what = f"{type(error).__name__}" + (f" ({text[0]})" if text else "")
    own = getattr(getattr(function, "__code__", None), "co_filename", None)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        line = linecache.getline(frame.filename, frame.lineno).strip()
        if frame.filename == own and line:
            return f"Your function stops with {what}, in the line: {line}"
    return f"Your function stops with {what}."
