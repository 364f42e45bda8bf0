"""The framework that marks exercises: what passes, what is named, and what never escapes."""

import math
from typing import NamedTuple

import pytest
import torch

from labkit.lab import checks
from labkit.lab.checks.framework import Check
from tests.lab.check_soundness import assert_check_is_sound


class Moments(NamedTuple):
    mean: torch.Tensor
    variance: torch.Tensor


def draw_vectors(generator):
    return torch.randn(3, 4, generator=generator), 0.1 + torch.rand(1, generator=generator).item()


noised = Check(
    "noised",
    reference=lambda x, beta: math.sqrt(1 - beta) * x,
    draw_inputs=lambda g: (torch.randn(3, 4, generator=g), torch.rand(1, generator=g).item()),
    mistakes={
        "You multiply by β where √(1−β) belongs.": lambda x, beta: beta * x,
        "You sum over the batch.": lambda x, beta: (math.sqrt(1 - beta) * x).sum(0),
    },
)
moments = Check(
    "moments",
    reference=lambda x: Moments(x.mean(0), x.var(0)),
    draw_inputs=lambda g: (torch.randn(8, 3, generator=g),),
    mistakes={"Value 2 is σ, not σ².": lambda x: (x.mean(0), x.std(0))},
)
times = Check(
    "times",
    reference=lambda T, n: [T * (n - i) // n for i in range(n + 1)],
    draw_inputs=lambda g: {"T": 1000, "n": int(torch.randint(2, 30, (), generator=g))},
    mistakes={"The list must end at 0.": lambda T, n: [T * (n - i) // n for i in range(n)]},
)
walk = Check(
    "walk",
    reference=lambda x, generator: 0.5 * x + torch.randn(x.shape, generator=generator),
    draw_inputs=lambda g: (torch.randn(4, generator=g), torch.Generator().manual_seed(5)),
    mistakes={
        "You draw with rand where randn belongs.": lambda x, generator: (
            0.5 * x + torch.rand(x.shape, generator=generator)
        )
    },
    samples=400,
)


@pytest.mark.parametrize(
    ("check", "right"),
    [
        (noised, lambda x, beta: x * (1 - beta) ** 0.5),
        (moments, lambda data: (data.sum(0) / len(data), data.var(dim=0))),
        (times, lambda T, n: tuple(T * i // n for i in range(n, -1, -1))),
        (walk, lambda x, generator: x / 2 - torch.randn(x.shape, generator=generator)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_check_is_sound(check, right):
    assert_check_is_sound(check, [right])


def test_soundness_notices_a_mistake_that_equals_the_right_answer():
    blind = Check(
        "blind", torch.sqrt, lambda g: (torch.ones(3),), mistakes={"No root.": lambda x: x}
    )
    with pytest.raises(AssertionError, match="No root"):
        assert_check_is_sound(blind)


def test_every_call_draws_other_inputs():
    seen = []

    def right(x, beta):
        seen.append(x)
        return noised.reference(x, beta)

    noised(right)
    noised(right)
    assert len(seen) == 2 * noised.rounds
    assert all(not torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])


def test_a_fresh_check_in_a_kernel_seeded_alike_draws_the_same_inputs():
    def inputs():
        torch.manual_seed(3)
        seen = []
        check = Check("same", lambda x, beta: x, draw_vectors)
        check(lambda x, beta: seen.append(x) or x)
        return torch.stack(seen)

    assert torch.equal(inputs(), inputs())


def test_a_check_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    walk(walk.reference)
    walk(lambda x, generator: torch.randn_like(x))
    assert torch.equal(torch.rand(3), expected)


def test_wrong_answers_are_told_apart():
    def verdict(function):
        return noised(function).message

    root = noised.reference
    assert "torch.float64" in verdict(lambda x, beta: root(x, beta).double())
    assert "(3, 4)" in verdict(lambda x, beta: root(x, beta)[:2])
    assert "nan or infinite" in verdict(lambda x, beta: x / 0)
    assert "meta" in verdict(lambda x, beta: root(x, beta).to("meta"))
    assert "torch.Tensor" in verdict(lambda x, beta: root(x, beta).numpy())
    assert "tuple of 2" in verdict(lambda x, beta: (x, x))
    assert "takes (x)" in verdict(lambda x: x)
    assert "differ by more than 1e-05" in verdict(lambda x, beta: x)
    assert "'right'" in verdict(lambda x, beta: "right")


def test_a_missing_value_of_a_pair_is_named():
    message = moments(lambda x: (x.mean(0),)).message
    assert "2 values (mean, variance)" in message


def test_an_error_names_the_line_of_the_learner():
    def broken(x, beta):
        y = x.nonsense
        return y

    message = noised(broken).message
    assert "AttributeError" in message
    assert message.endswith("y = x.nonsense")


def test_changing_an_argument_in_place_is_refused_by_its_name():
    def impolite(x, beta):
        x *= math.sqrt(1 - beta)
        return x

    assert "'x' in place" in noised(impolite).message


def test_dots_inside_a_computation_are_still_to_do():
    def half_done(x, beta):
        return x * ...

    assert noised(half_done).status == "todo"


def test_a_result_is_shown_as_text_and_as_html():
    result = noised(noised.reference)
    assert repr(result).startswith("Passed: noised.")
    assert "largest difference" in repr(result) or "no difference" in repr(result)
    assert "<code>noised</code>" in result._repr_html_()


def test_require_fails_with_the_message():
    with pytest.raises(AssertionError, match="noised: You multiply by β"):
        noised(lambda x, beta: beta * x).require()


def test_a_random_function_of_another_spread_is_refused():
    result = walk(lambda x, generator: 0.5 * x + 0.7 * torch.randn(x.shape, generator=generator))
    assert result.status == "failed"
    assert "standard deviation" in result.message


def test_an_unknown_check_is_answered_by_a_sentence():
    with pytest.raises(AttributeError, match="There is no check named 'nonsense'"):
        _ = checks.nonsense
