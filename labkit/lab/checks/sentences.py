"""What is said of a function that cannot be called, or does not come to an end, in a sentence."""

import inspect
import linecache
import traceback
from collections.abc import Callable

from labkit.lab.checks.calling import TooSlow

EMPTY_GRAD = (
    "Your function returns an x.grad that is None: backward() fills it only in an x that you made "
    "by x.detach().requires_grad_(True) and computed with. torch.autograd.grad(total, x)[0] "
    "returns the gradient itself."
)
OWN_NOISE = (
    "You draw your own noise, or other random numbers; use those that are given, so that your "
    "result can be compared, and repeated."
)
OWN_GENERATOR = (
    "What you draw is right, but it does not come from the generator that is given: pass it on, "
    "generator=generator, or no run can be repeated."
)
SAME_NOISE = (
    "You draw the same noise at every call, as from a generator that is made and seeded inside the "
    "function; take the one that is given, generator=generator."
)
NO_NOISE = (
    "You draw no noise with torch: two calls give the same result. Draw it in every call, by "
    "torch.randn(..., generator=generator) where a generator is given."
)
FEW_DIGITS = (
    "Your numbers are right in their first digits only: somewhere they went through float32, which "
    "keeps seven of them (stay in float64 from beginning to end), or an iteration stopped early."
)
OVERFLOW = (
    "Your formula is right in float64, but in the float32 of its inputs the numbers get too small "
    "or too large on the way: look for exp or softmax with a log behind it (logsumexp and "
    "log_softmax do both at once), or for a difference of two large numbers."
)

# What torch and Python say, and what it means to somebody who writes an exercise.
MEANINGS = {
    "does not require grad": (
        "it asks for a gradient, but nothing that it computed with carries one: begin with "
        "x = x.detach().requires_grad_(True), and stay in torch, without no_grad"
    ),
    "math domain error": (
        "a root of a negative number, or a logarithm of one that is not above 0; which of two "
        "numbers is the larger one"
    ),
    "call numpy() on": "NumPy knows no gradients: compute with torch from beginning to end",
    "maximum recursion depth": (
        "it calls itself without end: give the function that you mean another name, or the "
        "recursion an end"
    ),
}


def of_error(error: BaseException, function: Callable) -> str:
    """What the function raised and in which of its lines, in one sentence."""
    line = _line(error, function)
    if isinstance(error, SystemExit):
        return (
            "Your function calls exit(), which would end Python and with it the whole notebook; "
            "leave it out and `return` the result." + _at("It stands", line)
        )
    if isinstance(error, TooSlow):
        return (
            "Your function takes too long and was stopped; is there a loop that never ends?"
            + _at("It was", line)
        )
    text = text_of(error)
    meaning = next((words for sign, words in MEANINGS.items() if sign in text), None)
    text = text if len(text) <= 160 else text[:157] + "..."
    what = f"{type(error).__name__}" + (f" ({text})" if text else "")
    meaning = f": {meaning}" if meaning else ""
    where = f", in the line: {line}" if line else "."
    return f"Your function stops with {what}{meaning}{where}"


def _at(begin: str, line: str) -> str:
    return f" {begin} in the line: {line}" if line else ""


def forgets_its_gradient(function: Callable, value: object) -> bool:
    """Whether what came as None is an x.grad that backward() did not fill."""
    code = getattr(function, "__code__", None)
    return value is None and code is not None and "grad" in code.co_names


def of_litter(name: str) -> str:
    """What backward() does besides, in a sentence."""
    return (
        f"The numbers are right, but your backward() leaves gradients behind in {name!r}, which "
        "the next training step would find there and add up; torch.autograd.grad(total, x)[0] "
        "returns the gradient and touches nothing else."
    )


def of_recording(name: str) -> str:
    """What requires_grad_() on an argument does besides, in a sentence."""
    return (
        f"The numbers are right, but you switch on the gradient of {name!r} itself, so that torch "
        f"records all that the caller computes with it afterwards; begin with {name} = "
        f"{name}.detach().requires_grad_(True), which is a tensor of your own."
    )


def text_of(error: BaseException | None) -> str:
    """What an error says for itself, in one line."""
    try:
        return " ".join(str(error).split("\n\n")[0].split())
    except Exception:  # an error of the learner's own, with an error in it
        return ""


def _line(error: BaseException, function: Callable) -> str:
    """The innermost line of the learner's own in which it happened."""
    own = getattr(getattr(function, "__code__", None), "co_filename", None)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename == own:
            return linecache.getline(frame.filename, frame.lineno).strip()
    return ""


def of_signature(function: Callable, case, reference: Callable) -> str | None:
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
