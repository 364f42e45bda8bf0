"""The checks of lesson 04 pass what is right, however it is written, and name what is wrong."""

import math

import numpy as np
import pytest
import torch

from labkit import sampler
from labkit.lab import checks
from labkit.lab.checks import sentences
from tests.lab.check_soundness import assert_check_is_sound


def sigma_as_the_posterior_says(alpha_bar_t, alpha_bar_s, eta):
    alpha = alpha_bar_t / alpha_bar_s
    return eta * ((1 - alpha_bar_s) * (1 - alpha) / (1 - alpha_bar_t)) ** 0.5


def sigma_by_torch(alpha_bar_t, alpha_bar_s, eta):
    t, s = torch.tensor([alpha_bar_t, alpha_bar_s], dtype=torch.float64)
    return eta * ((1 - s) / (1 - t)).sqrt() * (1 - t / s).sqrt()


def step_in_plain_numbers(schedule, pred, x, t, s, generator=None, eta=0.0):
    at_t, at_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    sigma = eta * math.sqrt((1 - at_s) / (1 - at_t) * (1 - at_t / at_s))
    mean = math.sqrt(at_s) * pred.x0 + math.sqrt(max(1 - at_s - sigma**2, 0)) * pred.eps
    return mean + sigma * torch.randn(x.shape, generator=generator)


def step_by_torch_normal(schedule, pred, x, t, s, generator=None, eta=0.0):
    at_t, at_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    variance = eta**2 * (1 - at_s) / (1 - at_t) * (1 - at_t / at_s)
    mean = at_s.sqrt() * pred.x0 + (1 - at_s - variance).sqrt() * pred.eps
    return torch.normal(mean.float(), variance.sqrt().item(), generator=generator)


def times_by_linspace(T, n):
    return [round(t) for t in torch.linspace(T, 0, n + 1, dtype=torch.float64).tolist()]


def times_by_counting_down(T, n):
    times = [T]
    while times[-1] > 0:
        times.append(math.floor(T * (n - len(times)) / n + 0.5))
    return times


def euler_in_one_line(x, eps, alpha_bar_t, alpha_bar_s):
    ratio = (alpha_bar_s / alpha_bar_t) ** 0.5
    return ratio * x + ((1 - alpha_bar_s) ** 0.5 - ratio * (1 - alpha_bar_t) ** 0.5) * eps


def encode_by_steps(denoise, x0, times):
    rising = sorted(set(times) - {0})
    x = x0
    for t, u in zip(rising, rising[1:]):
        x = sampler.ddim(denoise.schedule, denoise(x, t), x, t, u)
    return x


def encode_along_the_ode(denoise, x0, times):
    x, table = x0, denoise.schedule.alpha_bar
    rising = [t for t in reversed(times) if t]
    for t, u in zip(rising, rising[1:]):
        x = euler_in_one_line(x, denoise(x, t).eps, table[t].item(), table[u].item())
    return x


def slerp_row_by_row(z1, z2, a):
    rows = []
    for p, q in zip(z1, z2):
        angle = torch.arccos(p.flatten() @ q.flatten() / p.norm() / q.norm())
        rows.append((torch.sin((1 - a) * angle) * p + torch.sin(a * angle) * q) / angle.sin())
    return torch.stack(rows)


def slerp_through_a_right_angle(z1, z2, a):
    p, q = z1.flatten(1), z2.flatten(1)
    unit = p / p.norm(dim=1, keepdim=True)
    along = (q * unit).sum(1, keepdim=True)
    across = (q - along * unit).norm(dim=1, keepdim=True)
    angle = torch.atan2(across, along)
    mixed = torch.sin((1 - a) * angle) * p + torch.sin(a * angle) * q
    return (mixed / angle.sin()).view_as(z1)


def sigma_in_float32(alpha_bar_t, alpha_bar_s, eta):
    at_t, at_s = torch.tensor([alpha_bar_t, alpha_bar_s])
    return eta * ((1 - at_s) / (1 - at_t) * (1 - at_t / at_s)).sqrt()


RIGHT = {
    "sigma": [sigma_as_the_posterior_says, sigma_by_torch, sigma_in_float32],
    "ddim_step": [step_in_plain_numbers, step_by_torch_normal],
    "trailing_times": [times_by_linspace, times_by_counting_down],
    "ode_step": [euler_in_one_line],
    "encode": [encode_by_steps, encode_along_the_ode],
    "slerp": [slerp_row_by_row, slerp_through_a_right_angle],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_check_passes_what_is_right_and_names_each_known_mistake(name):
    assert_check_is_sound(getattr(checks, name), RIGHT[name])


def test_a_step_that_stops_half_way_is_refused():
    def half_way(schedule, pred, x, t, s, generator, eta):
        return sampler.ddim(schedule, pred, x, t, (s + t) // 2, generator, eta)

    assert not checks.ddim_step(half_way)


def test_a_step_that_forgets_the_final_alpha_bar_is_caught_by_its_index():
    def one_too_low(schedule, pred, x, t, s, generator, eta):
        return sampler.ddim(schedule, pred, x, t, s - 1, generator, eta)

    assert not checks.ddim_step(one_too_low)


def test_noise_added_twice_is_refused_by_its_law():
    def noisy(schedule, pred, x, t, s, generator, eta):
        x = sampler.ddim(schedule, pred, x, t, s, generator, eta)
        return x + 3 * torch.randn(x.shape, generator=generator)

    result = checks.ddim_step(noisy)
    assert not result.passed
    assert "standard errors" in result.message


def test_a_negative_radicand_is_told_that_its_numbers_are_broken():
    def negative_radicand(schedule, pred, x, t, s, generator, eta):
        at_t, at_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
        variance = 1 - at_t / at_s + 1 - at_s  # certainly more than there is room for
        return (at_s.sqrt() * pred.x0 + (1 - at_s - variance).sqrt() * pred.eps).float()

    assert "nan" in checks.ddim_step(negative_radicand).message


def test_an_arc_in_float32_is_told_the_dtype():
    def single(z1, z2, a):
        return slerp_row_by_row(z1, z2, a).float()

    assert "float32" in checks.slerp(single).message


def sigma_with_the_ratio_upside_down(alpha_bar_t, alpha_bar_s, eta):
    left = (1 - alpha_bar_s) / (1 - alpha_bar_t)
    return eta * math.sqrt(left * (1 - alpha_bar_s / alpha_bar_t))


def step_without_noise_or_root(schedule, pred, x, t, s, generator=None, eta=0.0):
    at_s = schedule.alpha_bar[s].item()
    return math.sqrt(at_s) * pred.x0 + (1 - at_s) * pred.eps


def step_with_large_noise_on_the_mean_of_eta(schedule, pred, x, t, s, generator=None, eta=0.0):
    at_t, at_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    variance = eta**2 * (1 - at_s) / (1 - at_t) * (1 - at_t / at_s)
    mean = math.sqrt(at_s) * pred.x0 + math.sqrt(1 - at_s - variance) * pred.eps
    large = eta * math.sqrt(1 - at_t / at_s)
    return mean + large * torch.randn(x.shape, generator=generator)


def times_of_n_points(T, n):
    return torch.linspace(T, 0, n).round().int().tolist()


def times_from_a_rounded_gap(T, n):
    gap = round(T / n)
    return [gap * i for i in range(n, -1, -1)]


def euler_without_roots(x, eps, alpha_bar_t, alpha_bar_s):
    ratio_t, ratio_s = (((1 - each) / each) ** 0.5 for each in (alpha_bar_t, alpha_bar_s))
    return (x / alpha_bar_t + (ratio_s - ratio_t) * eps) * alpha_bar_s


def slerp_in_degrees(z1, z2, a):
    cosine = torch.cosine_similarity(z1.flatten(1), z2.flatten(1))
    angle = torch.rad2deg(cosine.arccos())[:, None, None, None]
    return (torch.sin((1 - a) * angle) * z1 + torch.sin(a * angle) * z2) / torch.sin(angle)


def slerp_at_a_right_angle(z1, z2, a):
    return math.cos(a * math.pi / 2) * z1 + math.sin(a * math.pi / 2) * z2


def slerp_by_cosine_similarity(axis):
    def arc(z1, z2, a):
        angle = torch.cosine_similarity(z1, z2, dim=axis).unsqueeze(axis).arccos()
        return (torch.sin((1 - a) * angle) * z1 + torch.sin(a * angle) * z2) / angle.sin()

    return arc


def encode_from_the_whole_list(denoise, x0, times):
    x = x0
    for t, u in zip(times[::-1], times[-2::-1]):
        x = sampler.ddim(denoise.schedule, denoise(x, t), x, t, u)
    return x


def encode_with_the_factors_of_t(denoise, x0, times):
    x, table = x0, denoise.schedule.alpha_bar
    rising = [t for t in reversed(times) if t]
    for t, u in zip(rising, rising[1:]):
        pred = denoise(x, t)
        x = table[t].sqrt() * pred.x0 + (1 - table[u]).sqrt() * pred.eps
    return x


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        ("sigma", sigma_with_the_ratio_upside_down, "a root of a negative number"),
        ("ddim_step", step_without_noise_or_root, "You draw no noise"),
        ("ddim_step", step_with_large_noise_on_the_mean_of_eta, "the noise on top is η times σ̂"),
        ("trailing_times", times_of_n_points, "n − 1 steps"),
        ("trailing_times", times_from_a_rounded_gap, "You round the gap"),
        ("ode_step", euler_without_roots, "The roots of ᾱ are missing"),
        ("slerp", slerp_in_degrees, "in degrees"),
        ("slerp", slerp_at_a_right_angle, "for a right one"),
        ("slerp", slerp_by_cosine_similarity(1), "over the channels of each pixel"),
        ("slerp", slerp_by_cosine_similarity(2), "along one axis of the picture only"),
        ("slerp", slerp_by_cosine_similarity(3), "along one axis of the picture only"),
        ("slerp", slerp_by_cosine_similarity(0), "across the batch"),
        ("encode", encode_with_the_factors_of_t, "The factor of x̂_0"),
        ("encode", encode_from_the_whole_list, "The 0 stays in the list"),
    ],
)
def test_a_wrong_answer_is_met_with_its_own_reason(name, wrong, words):
    for seed in range(5):
        torch.manual_seed(seed)
        assert words in getattr(checks, name)(wrong).message


def test_times_that_are_rounded_but_no_whole_numbers_are_refused():
    def floats(T, n):
        return np.linspace(T, 0, n + 1).round().tolist()

    assert "should be a whole number" in checks.trailing_times(floats).message


@pytest.mark.parametrize("kind", [int, np.int64, torch.tensor])
def test_times_may_be_any_kind_of_whole_number(kind):
    assert checks.trailing_times(lambda T, n: list(map(kind, times_by_linspace(T, n)))).passed


def test_an_arc_that_went_through_float32_is_told_so():
    def short(z1, z2, a):
        return slerp_row_by_row(z1.float(), z2.float(), a).double()

    for seed in range(3):
        torch.manual_seed(seed)
        assert checks.slerp(short).mistake == sentences.FEW_DIGITS


def test_an_inversion_that_went_through_float32_is_told_so():
    def short(denoise, x0, times):
        x, rising = x0, sorted(set(times) - {0})
        for t, u in zip(rising, rising[1:]):
            x = sampler.ddim(denoise.schedule, denoise(x, t), x, t, u).float().double()
        return x

    for seed in range(3):
        torch.manual_seed(seed)
        assert checks.encode(short).mistake == sentences.FEW_DIGITS
