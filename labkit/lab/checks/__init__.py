"""The checks of the exercises by name: `checks.ddim_step(ddim_step)`.

Each lesson keeps its own in files here, named `lesson02_forward.py` and so on; a check is known
by the name that it has in its file.

A known mistake is a function of the learner's own arguments, and shows the wrong formula itself. It
stands at the sentence that names it where it is one expression, and above, with a name, where it is
more. What several mistakes share is an ordinary function of the numbers and tensors in the formula,
to which a mistake gives a wrong one: `lambda x, beta, g: _noised(x, beta, _normal(x[0], g))`.
Where only a number or a rule differs, it is `functools.partial` of one function. No function builds
mistakes out of switches, or of pieces to exchange.
"""

import difflib
import importlib
import pkgutil

from labkit.lab.checks.framework import Check, Result

__all__ = ["Check", "Result", "names"]


def names() -> list[str]:
    """Every exercise that has a check, sorted."""
    return sorted(_all())


def _all() -> dict[str, Check]:
    files = [m.name for m in pkgutil.iter_modules(__path__) if m.name.startswith("lesson")]
    found = {}
    for file in sorted(files):
        module = importlib.import_module(f"{__name__}.{file}")
        for name, value in vars(module).items():
            if isinstance(value, Check):
                if name in found:
                    raise ValueError(f"Two lessons have a check named {name!r}; rename one.")
                found[name] = value
    return found


def __getattr__(name: str) -> Check:
    if name.startswith("_"):
        raise AttributeError(name)
    found = _all()
    if name not in found:
        near = difflib.get_close_matches(name, found, 1) or sorted(found)[:1]
        hint = f" Did you mean checks.{near[0]}?" if near else ""
        raise AttributeError(f"There is no check named {name!r}.{hint}")
    return found[name]


def __dir__() -> list[str]:
    return [*names(), *__all__]
