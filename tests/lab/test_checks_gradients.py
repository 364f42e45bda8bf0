"""A loss or a score must carry the gradient that labkit's own carries."""

import numpy as np
import pytest
import torch

from labkit.lab import checks
from labkit.lab.checks import gradients
from labkit.lab.checks.framework import Check

halved = Check(
    "halved",
    reference=lambda x, weights: (x * weights).sum() / 2,
    draw_inputs=lambda g: (
        torch.randn(3, generator=g),
        torch.randn(3, generator=g).requires_grad_(),
    ),
)


def message(function):
    result = halved(function)
    assert not result.passed
    return result.message


def right(x, weights):
    return torch.dot(x, weights) / 2


@pytest.mark.parametrize(
    "cut",
    [
        lambda x, weights: right(x, weights).item(),
        lambda x, weights: float(right(x, weights).detach()),
        lambda x, weights: right(x, weights).detach(),
        lambda x, weights: right(x, weights).data,
        lambda x, weights: right(x, weights.detach()),
        lambda x, weights: torch.tensor(np.dot(x.numpy(), weights.detach().numpy()) / 2),
    ],
)
def test_a_right_number_without_its_gradient_is_refused_in_the_same_words(cut):
    assert message(cut) == gradients.NO_GRADIENT


def test_no_grad_is_refused_in_the_same_words():
    @torch.no_grad()
    def quiet(x, weights):
        return right(x, weights)

    assert message(quiet) == gradients.NO_GRADIENT


def test_a_gradient_that_goes_elsewhere_is_told_what_it_misses():
    def elsewhere(x, weights):
        return right(x, weights).detach() + 0 * x.requires_grad_().sum()

    assert "no gradient reaches `weights`" in message(elsewhere)


def test_half_a_gradient_is_refused():
    def half(x, weights):
        return (right(x, weights) + right(x, weights).detach()) / 2

    assert "gradient by `weights` is not" in message(half)


def test_a_gradient_of_nan_is_told_from_a_wrong_one():
    def dangerous(x, weights):
        return right(x, weights) + (0 * weights[0]).sqrt()

    assert "nan or infinite" in message(dangerous)


def test_a_loss_on_which_backward_was_called_is_told_who_calls_it():
    def eager(x, weights):
        loss = right(x, weights)
        loss.backward()
        return loss

    assert message(eager) == gradients.BACKWARD


def test_the_weights_of_a_network_must_be_reached_by_a_loss():
    def quiet(net, x0, t, alpha_bar, eps):
        with torch.no_grad():
            return checks.simple_loss.reference(net, x0, t, alpha_bar, eps)

    assert checks.simple_loss(quiet).mistake == gradients.NO_GRADIENT


def test_a_check_asks_for_gradients_also_where_the_caller_has_turned_them_off():
    with torch.no_grad():
        assert halved(right).passed


def test_what_a_function_turns_off_is_on_again_afterwards():
    def careless(x, weights):
        torch.set_grad_enabled(False)
        return right(x, weights)

    halved(careless)
    assert torch.is_grad_enabled()


def test_a_check_draws_on_the_cpu_whatever_the_default_device_is():
    before = torch.get_default_device()
    torch.set_default_device("meta")
    try:
        assert halved(right).passed
        assert checks.end_state(checks.end_state.reference).passed
    finally:
        torch.set_default_device(before)


@pytest.mark.parametrize("name", ["class_gradient", "guided_eps"])
def test_a_gradient_that_is_switched_on_for_the_caller_s_own_tensor_is_refused(name):
    check = getattr(checks, name)

    def recording(*given):
        next(each for each in given if isinstance(each, torch.Tensor)).requires_grad_(True)
        return check.reference(*given).detach()

    result = check(recording)
    assert result.status == "mistake" and "switch on the gradient" in result.message
    assert check(check.reference).passed
