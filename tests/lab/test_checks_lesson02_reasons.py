"""The checks of lesson 02 answer a wrong function, however it is written, with its reason."""

import math

import pytest
import torch

from labkit.lab import checks
from labkit.lab.checks import sentences
from labkit.lab.checks.framework import Check
from labkit.schedule import from_alpha_bar


def table_of_alphas(beta):
    return torch.cat([torch.ones(1, dtype=torch.float64), 1 - beta])


def table_from_zero(beta):
    return torch.nn.functional.pad(torch.cumprod(1 - beta, 0), (1, 0))


def shift_with_eps(alpha_bar, k):
    return torch.sigmoid(torch.logit(alpha_bar, eps=1e-6) - 2 * math.log(k))


def shift_without_nan(alpha_bar, k):
    ratio = alpha_bar / (1 - alpha_bar) / k**2
    return torch.nan_to_num(ratio / (1 + ratio))


def shift_by_log2(alpha_bar, k):
    return 1 / (1 + math.exp(2 * math.log2(k)) * (1 - alpha_bar) / alpha_bar)


def shift_with_a_soft_divisor(alpha_bar, k):
    ratio = alpha_bar / (1 - alpha_bar + 1e-8) / k**2
    return ratio / (ratio + 1)


def shift_by_a_square(alpha_bar, k):
    return torch.sigmoid(torch.logit(alpha_bar) - math.log(k) ** 2)


def shift_without_logarithm(alpha_bar, k):
    return torch.sigmoid(torch.logit(alpha_bar) - 2 * k)


def table_of_products_of_beta(beta):
    return torch.cat([torch.ones(1, dtype=torch.float64), 1 - beta.cumprod(0)])


def table_of_noise(beta):
    return torch.nn.functional.pad(1 - torch.cumprod(1 - beta, 0), (1, 0))


def table_padded_first(beta):
    return torch.nn.functional.pad(1 - beta, (1, 0)).cumprod(0)


def rescale(alpha_bar):
    signal = alpha_bar.sqrt()
    return ((signal - signal[-1]) / (1 - signal[-1])) ** 2


def rescale_with_a_last_beta(alpha_bar):
    right = rescale(alpha_bar)
    return torch.cat([right[:-1], 0.001 * right[-2:-1]])


def rescale_with_a_tiny_end(alpha_bar):
    return torch.cat([rescale(alpha_bar)[:-1], torch.full((1,), 4e-5).double()])


def rescale_with_a_clamp(alpha_bar):
    return rescale(alpha_bar).clamp(min=1e-10)


def shift_with_a_tiny_eps(alpha_bar, k):
    return torch.sigmoid(torch.logit(alpha_bar, eps=1e-12) - 2 * math.log(k))


def rescale_into_a_schedule(alpha_bar):
    return from_alpha_bar(rescale(alpha_bar)).alpha_bar


def rescale_as_the_paper(alpha_bar):
    signal = alpha_bar.sqrt()
    first, last = signal[1].clone(), signal[-1].clone()
    return ((signal - last) * first / (first - last)) ** 2


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        ("alpha_bar_table", table_of_alphas, "single steps"),
        ("alpha_bar_table", table_from_zero, "0 stands in front"),
        ("shifted_alpha_bar", shift_with_eps, "You clamp ᾱ"),
        ("shifted_alpha_bar", shift_with_a_tiny_eps, "You clamp ᾱ"),
        ("shifted_alpha_bar", shift_without_nan, "replace nan by 0"),
        ("shifted_alpha_bar", shift_by_log2, "natural logarithm"),
        ("shifted_alpha_bar", shift_with_a_soft_divisor, "small number to 1−ᾱ"),
        ("shifted_alpha_bar", shift_by_a_square, "(log k)²"),
        ("shifted_alpha_bar", shift_without_logarithm, "subtract 2k"),
        ("alpha_bar_table", table_of_products_of_beta, "You multiply the β's"),
        ("alpha_bar_table", table_of_noise, "the variance of the noise"),
        ("alpha_bar_table", table_padded_first, "every product is 0"),
        ("rescaled_alpha_bar", rescale_with_a_last_beta, "just above 0"),
        ("rescaled_alpha_bar", rescale_with_a_tiny_end, "just above 0"),
        ("rescaled_alpha_bar", rescale_with_a_clamp, "just above 0"),
        ("rescaled_alpha_bar", rescale_into_a_schedule, "just above 0"),
        ("rescaled_alpha_bar", rescale_as_the_paper, "as the paper does"),
    ],
)
def test_a_wrong_table_is_answered_with_its_own_reason(name, wrong, words):
    for seed in range(5):
        torch.manual_seed(seed)
        assert words in (getattr(checks, name)(wrong).mistake or "")


def test_a_table_of_at_most_1000_steps_is_refused_each_time():
    def cut(beta):
        return torch.cat([torch.ones(1).double(), torch.cumprod(1 - beta, 0)])[:1001]

    for seed in range(5):
        torch.manual_seed(seed)
        assert not checks.alpha_bar_table(cut).passed


def test_a_number_that_should_be_0_is_not_called_right_in_its_first_digits():
    check = Check(
        "line",
        reference=lambda x: x - x[0],
        draw_inputs=lambda g: (torch.randn(3, generator=g, dtype=torch.float64),),
        tolerance=1e-9,
    )

    def above_0(x):
        return (x - x[0]) + 4e-5 * (x == x[0])

    assert "right 0" in check(above_0).message


def jump_with(factors):
    """A jump with the factors (of x0, of eps) of factors(ᾱ, t), each (B,)."""

    def jump(x0, t, alpha_bar, eps):
        signal, noise = (each.float()[:, None, None, None] for each in factors(alpha_bar, t))
        return signal * x0 + noise * eps

    return jump


def at_the_next_time(alpha_bar, t):
    return alpha_bar[t + 1].sqrt(), (1 - alpha_bar[t + 1]).sqrt()


def at_the_next_time_or_the_last(alpha_bar, t):
    return at_the_next_time(torch.cat([alpha_bar, alpha_bar[-1:]]), t)


def at_the_first_time(alpha_bar, t):
    left = alpha_bar[t[0]].expand(len(t))
    return left.sqrt(), (1 - left).sqrt()


def with_all_the_noise(alpha_bar, t):
    return alpha_bar[t].sqrt(), torch.ones(len(t))


def without_noise(alpha_bar, t):
    return alpha_bar[t].sqrt(), torch.zeros(len(t))


def with_less_noise(alpha_bar, t):
    return alpha_bar[t].sqrt(), -(1 - alpha_bar[t]).sqrt()


def test_a_jump_that_is_clamped_is_named():
    right = jump_with(lambda alpha_bar, t: (alpha_bar[t].sqrt(), (1 - alpha_bar[t]).sqrt()))
    for seed in range(5):
        torch.manual_seed(seed)
        result = checks.jump(lambda *given: right(*given).clamp(-1, 1))
        assert "You clamp the result" in (result.mistake or "")


@pytest.mark.parametrize(
    ("factors", "words"),
    [
        (at_the_next_time, "alpha_bar[t + 1]"),
        (at_the_next_time_or_the_last, "alpha_bar[t + 1]"),
        (at_the_first_time, "first picture for all"),
        (with_all_the_noise, "factor of the noise is missing"),
        (without_noise, "leave out the noise"),
        (with_less_noise, "subtract the noise"),
    ],
)
def test_a_jump_at_another_time_or_with_all_the_noise_is_named(factors, words):
    for seed in range(5):
        torch.manual_seed(seed)
        assert words in (checks.jump(jump_with(factors)).mistake or "")


def guess_with(exponent):
    """An average of the points with the weights of exponent(x, ᾱ, points), (B, N)."""
    return lambda x, left, points: torch.softmax(exponent(x, left, points), 1) @ points


def squares(x, centers):
    return (x[:, None] - centers) ** 2


@pytest.mark.parametrize(
    ("exponent", "words"),
    [
        (
            lambda x, a, points: -squares(x, a**0.5 * points).mean(-1) / 2 / (1 - a),
            "mean over the D coordinates",
        ),
        (
            lambda x, a, points: -squares(x, a * points).sum(-1) / 2 / (1 - a),
            "the root is missing",
        ),
        (
            lambda x, a, points: -squares(x, a**0.5 * points).sum(-1) / 2 / a,
            "ᾱ_t for the variance",
        ),
        (
            lambda x, a, points: -squares(x / a**0.5, points).sum(-1) / 2 / (1 - a),
            "(1−ᾱ_t)/ᾱ_t",
        ),
        (
            lambda x, a, points: -squares(x, a**0.5 * points).sum(-1) / 2 / (1 - a) ** 2,
            "for the standard deviation",
        ),
        (
            lambda x, a, points: -squares(x, a**0.5 * points).sum(-1),
            "leave out the variance",
        ),
        (
            lambda x, a, points: -a * squares(x, a**0.5 * points).sum(-1) / 2 / (1 - a),
            "belongs to x_t/√ᾱ_t",
        ),
    ],
)
def test_a_wrong_exponent_of_the_guess_is_named(exponent, words):
    for seed in range(5):
        torch.manual_seed(seed)
        assert words in (checks.best_guess(guess_with(exponent)).mistake or "")


def test_a_guess_that_went_through_float32_is_told_so_each_time():
    def short(x, alpha_bar_t, points):
        x, points = x.float(), points.float()
        distance = torch.cdist(x, alpha_bar_t**0.5 * points)
        weight = torch.softmax(-(distance**2) / (2 - 2 * alpha_bar_t), 1)
        return (weight @ points).double()

    for seed in range(8):
        torch.manual_seed(seed)
        assert checks.best_guess(short).mistake == sentences.FEW_DIGITS


@pytest.mark.parametrize("soften", [lambda total: total + 1e-10, lambda total: total.clamp(1e-30)])
def test_a_guess_with_a_small_number_in_its_divisor_is_named(soften):
    def softened(x, alpha_bar_t, points):
        weight = (-squares(x, alpha_bar_t**0.5 * points).sum(-1) / 2 / (1 - alpha_bar_t)).exp()
        return weight @ points / soften(weight.sum(1, keepdim=True))

    for seed in range(5):
        torch.manual_seed(seed)
        assert "the small number that you add" in (checks.best_guess(softened).mistake or "")


def no_noise(x, beta, generator):
    return (1 - beta) ** 0.5 * x


def no_roots(x, beta, generator):
    return (1 - beta) * x - beta * torch.randn(x.shape, generator=generator)


def unscaled(x, beta, generator):
    return (1 - beta) ** 0.5 * x + torch.randn(x.shape, generator=generator)


def noise_shrunk_too(x, beta, generator):
    return (1 - beta) ** 0.5 * (x + beta**0.5 * torch.randn(x.shape, generator=generator))


def by_euler(x, beta, generator):
    return x - beta / 2 * x + beta**0.5 * torch.randn(x.shape, generator=generator)


def with_rand(x, beta, generator):
    noise = 2 * torch.rand(x.shape, generator=generator) - 1
    return (1 - beta) ** 0.5 * x + beta**0.5 * noise


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (no_noise, "no noise"),
        (no_roots, "Both roots"),
        (unscaled, "do not scale the noise"),
        (noise_shrunk_too, "only x shrinks"),
        (by_euler, "1−β/2"),
        (with_rand, "comes from rand"),
    ],
)
def test_a_step_with_wrong_noise_or_without_roots_is_named(step, words):
    for seed in range(5):
        torch.manual_seed(seed)
        assert words in (checks.noising_step(step).mistake or "")
