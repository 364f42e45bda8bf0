"""One assertion that a check of an exercise does what a check must."""

from collections.abc import Callable, Iterable

import torch

from labkit.lab.checks.framework import Check


def assert_check_is_sound(check: Check, right_answers: Iterable[Callable] = (), times: int = 3):
    """Assert that `check` passes what is right and names what is wrong.

    right_answers: right functions that are written differently from the check's reference; give
    the lesson's own folded solution and at least one more.
    times: how often, each time with other inputs. A verdict never varies.
    """
    for seed in range(times):
        torch.manual_seed(seed)
        for right in (check.reference, *right_answers):
            result = check(right)
            assert result.passed, f"a right answer is refused: {result}"
            assert result.require() is result
        for sentence, mistake in ways(check):
            result = check(mistake)
            assert result.mistake == sentence, f"the mistake {sentence!r} is answered by: {result}"
            assert not result
    _assert_stubs_are_to_do(check)
    _assert_a_gradient_is_asked_for(check)
    _assert_nonsense_gets_a_sentence(check)


def ways(check: Check) -> list[tuple[str, Callable]]:
    """Every known mistake of a check, with its sentence; some are made in several ways."""
    return [
        (sentence, mistake)
        for sentence, known in check.mistakes.items()
        for mistake in ([known] if callable(known) else known)
    ]


def _assert_a_gradient_is_asked_for(check: Check):
    """Where labkit's own result can be learned from, one that cannot is refused, and told why."""
    cut = _Spoiled(check.reference, torch.Tensor.detach)
    check(cut)
    if not cut.had_gradient:
        return
    result = check(cut)
    assert result.status == "mistake", "a result without a gradient passes"
    assert "carry no gradient" in result.message

    def without(*args, **kwargs):
        with torch.no_grad():
            return check.reference(*args, **kwargs)

    # One that takes a gradient inside comes to an end there.
    said = check(without).message
    assert "carry no gradient" in said or "nothing that it computed with carries one" in said


def _assert_stubs_are_to_do(check: Check):
    def untouched(*args, **kwargs): ...

    def raises(*args, **kwargs):
        raise NotImplementedError

    def forgets_return(*args, **kwargs):
        value = check.reference(*args, **kwargs)
        del value

    def returns_dots(*args, **kwargs):
        answer = ...
        return answer

    for stub in (untouched, raises, forgets_return, returns_dots, None):
        assert check(stub).status == "todo", stub
    assert "return" in check(forgets_return).message


def _assert_nonsense_gets_a_sentence(check: Check):
    def fails(*args, **kwargs):
        raise ZeroDivisionError("on purpose")

    result = check(fails)
    assert result.status == "failed"
    assert "ZeroDivisionError" in result.message

    def wants_nothing():
        return 0

    assert check(wants_nothing).status == "failed"
    for name, spoil in (
        ("shape", lambda tensor: tensor[None]),
        ("dtype", lambda tensor: tensor.to(_other(tensor.dtype))),
        ("nan", lambda tensor: tensor * float("nan")),
        ("value", lambda tensor: tensor + 1000),
    ):
        spoiled = _Spoiled(check.reference, spoil)
        result = check(spoiled)
        if not spoiled.touched:
            continue
        assert not result.passed, f"a wrong {name} passes"
        assert result.message.count("\n") == 0
    assert check("not a function").status == "failed"


class _Spoiled:
    """The reference with every tensor that it returns spoiled; `touched` if there was one."""

    def __init__(self, reference: Callable, spoil: Callable):
        self.reference, self.spoil = reference, spoil
        self.touched = self.had_gradient = False

    def __call__(self, *args, **kwargs):
        return self._spoil(self.reference(*args, **kwargs))

    def _spoil(self, value):
        if isinstance(value, torch.Tensor):
            self.touched = True
            self.had_gradient |= value.requires_grad
            return self.spoil(value)
        if isinstance(value, dict):
            return {key: self._spoil(item) for key, item in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self._spoil, value))
        if isinstance(value, (tuple, list)):
            return type(value)(map(self._spoil, value))
        return value


def _other(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype != torch.float64 else torch.float32
