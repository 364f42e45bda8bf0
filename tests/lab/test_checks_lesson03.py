"""The checks of lesson 03 pass what is right, however it is written, and name what is wrong."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from labkit import sampler
from labkit.denoiser import Prediction
from labkit.lab import checks
from labkit.schedule import NoiseSchedule
from tests.lab.check_soundness import assert_check_is_sound


def mean_by_completing_the_square(x0, x, t, s, alpha_bar):
    alpha, left = (alpha_bar[t] / alpha_bar[s]).item(), alpha_bar[s].item()
    precision = alpha / (1 - alpha) + 1 / (1 - left)
    return (alpha**0.5 / (1 - alpha) * x + left**0.5 / (1 - left) * x0) / precision


def mean_as_a_walk_towards_x0(x0, x, t, s, alpha_bar):
    from_x = (alpha_bar[t] / alpha_bar[s]).sqrt() * (1 - alpha_bar[s]) / (1 - alpha_bar[t])
    from_x0 = alpha_bar[s].sqrt() - from_x * alpha_bar[t].sqrt()
    return (from_x0 * x0 + from_x * x).float()


def loss_row_by_row(net, x0, t, alpha_bar, eps):
    total = 0.0
    for row in range(len(x0)):
        left = alpha_bar[t[row]].item()
        x = math.sqrt(left) * x0[row] + math.sqrt(1 - left) * eps[row]
        total = total + ((net(x[None], t[row : row + 1])[0] - eps[row]) ** 2).mean()
    return total / len(x0)


def loss_by_torch(net, x0, t, alpha_bar, eps):
    x = NoiseSchedule(alpha_bar).diffuse(x0, t, eps)
    return torch.nn.functional.mse_loss(eps, net(x, t))


def step_by_labkit(x, eps, t, s, alpha_bar, z):
    schedule = NoiseSchedule(alpha_bar)
    x0 = (x - schedule.noise(t, x) * eps) / schedule.signal(t, x)
    still = Prediction(x0.clamp(-1, 1), eps)
    mean, _ = schedule.posterior(still.x0, x, t, s)
    large = 1 - alpha_bar[t] / alpha_bar[s]
    return mean if s == 0 else mean + large.sqrt().float() * z


def betas_by_a_loop(alpha_bar, times):
    betas = []
    for s, t in zip(times, times[1:]):
        kept = 1.0
        for step in range(s + 1, t + 1):
            kept *= (alpha_bar[step] / alpha_bar[step - 1]).item()
        betas.append(1 - kept)
    return torch.tensor(betas, dtype=torch.float64)


def average_by_a_small_step(average, weights, step, decay):
    share = 1 - min((1 + step) / (10 + step), decay)
    return average + share * (weights - average)


def term_by_torch(x0, guess, x, o, t, s, alpha_bar):
    schedule = NoiseSchedule(alpha_bar)
    true_mean, small = schedule.posterior(x0.double(), x.double(), t, s)
    mean, _ = schedule.posterior(guess.double(), x.double(), t, s)
    large, v = 1 - alpha_bar[t] / alpha_bar[s], (o.double() + 1) / 2
    model = Normal(mean, (large**v * small ** (1 - v)).sqrt())
    kl = kl_divergence(Normal(true_mean, small.sqrt()), model)
    return (kl.mean(dim=(1, 2, 3)) / math.log(2)).float()


RIGHT = {
    "posterior_mean": [mean_by_completing_the_square, mean_as_a_walk_towards_x0],
    "simple_loss": [loss_row_by_row, loss_by_torch],
    "ancestral_step": [step_by_labkit],
    "respaced_betas": [betas_by_a_loop],
    "ema_update": [average_by_a_small_step],
    "bound_term": [term_by_torch],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_check_passes_what_is_right_and_names_each_known_mistake(name):
    assert_check_is_sound(getattr(checks, name), RIGHT[name])


def test_the_mean_written_with_eps_is_told_that_it_forgets_the_clipping():
    def by_eps(x, eps, t, s, alpha_bar, z):
        alpha, beta = alpha_bar[t] / alpha_bar[s], 1 - alpha_bar[t] / alpha_bar[s]
        mean = (x - beta / (1 - alpha_bar[t]).sqrt() * eps) / alpha.sqrt()
        return (mean + (s > 0) * beta.sqrt() * z).float()

    assert "never sees a clipped x0" in checks.ancestral_step(by_eps).message


def test_the_step_asked_for_is_the_one_of_the_sampler():
    g = torch.Generator().manual_seed(0)
    x, eps, t, _, alpha_bar, _ = checks.ancestral_step.draw_inputs(g)
    schedule = NoiseSchedule(alpha_bar)
    x0 = ((x - schedule.noise(t, x) * eps) / schedule.signal(t, x)).clamp(-1, 1)
    for s in (0, 5):
        drawn = sampler.ddpm(
            schedule, Prediction(x0, eps), x, t, s, torch.Generator().manual_seed(1), v=1.0
        )
        z = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
        asked = checks.ancestral_step.reference(x, eps, t, s, alpha_bar, z)
        torch.testing.assert_close(asked, drawn)


def test_respaced_betas_rebuild_the_table_at_the_kept_times():
    g = torch.Generator().manual_seed(0)
    alpha_bar, times = checks.respaced_betas.draw_inputs(g)
    kept = torch.cumprod(1 - checks.respaced_betas.reference(alpha_bar, times), 0)
    torch.testing.assert_close(kept, alpha_bar[times][1:])


def test_a_loss_for_each_picture_is_told_that_one_number_is_asked_for():
    def by_row(net, x0, t, alpha_bar, eps):
        x = NoiseSchedule(alpha_bar).diffuse(x0, t, eps)
        return (net(x, t) - eps).square().flatten(1).mean(1)

    assert "single number" in checks.simple_loss(by_row).message


def test_an_average_that_changes_the_old_one_in_place_is_refused():
    def in_place(average, weights, step, decay):
        return average.lerp_(weights, 1 - min(decay, (1 + step) / (10 + step)))

    assert "'average'" in checks.ema_update(in_place).message


def test_a_warm_up_that_the_decay_bounds_only_late_is_refused():
    def only_late(average, weights, step, decay):
        return torch.lerp(weights, average, decay if step > 100 else (1 + step) / (10 + step))

    def only_early(average, weights, step, decay):
        return torch.lerp(weights, average, (1 + step) / (10 + step) if step < 100 else decay)

    assert not checks.ema_update(only_late).passed
    assert not checks.ema_update(only_early).passed


def plain_step(x, eps, t, s, alpha_bar, z, quiet=0, spread=None):
    """A right step, written out; without noise up to the time `quiet`."""
    at_t, at_s = alpha_bar[t].item(), alpha_bar[s].item()
    alpha = at_t / at_s
    x0 = ((x - math.sqrt(1 - at_t) * eps) / math.sqrt(at_t)).clamp(-1, 1)
    mean = math.sqrt(at_s) * (1 - alpha) * x0 + math.sqrt(alpha) * (1 - at_s) * x
    noise = math.sqrt(1 - alpha if spread is None else spread) * z
    return mean / (1 - at_t) + (noise if s > quiet else 0)


def test_a_step_without_noise_at_time_one_is_refused_by_its_name():
    assert checks.ancestral_step(plain_step).passed
    for _ in range(5):
        said = checks.ancestral_step(lambda *args: plain_step(*args, quiet=1))
        assert "at s = 1 too" in said.message


def test_a_step_that_goes_to_another_time_or_takes_other_noise_is_named():
    def one_back(x, eps, t, s, alpha_bar, z):
        return plain_step(x, eps, t, t - 1, alpha_bar, z if s > 0 else 0 * z)

    def all_noise(x, eps, t, s, alpha_bar, z):
        return plain_step(x, eps, t, s, alpha_bar, z, spread=1 - alpha_bar[t].item())

    assert "time t−1" in checks.ancestral_step(one_back).message
    assert "√(1−ᾱ_t)" in checks.ancestral_step(all_noise).message
    assert "clip the guess" in checks.ancestral_step(lambda *a: plain_step(*a).clip(-1, 1)).message


def test_betas_cut_off_at_0_999_are_refused_by_their_name():
    for _ in range(5):
        said = checks.respaced_betas(
            lambda alpha_bar, times: betas_by_a_loop(alpha_bar, times).clip(max=0.999)
        )
        assert "at 0.999" in said.message


def test_a_mean_with_weights_of_single_precision_is_told_the_numerical_reason():
    def narrow(x0, x, t, s, alpha_bar):
        return mean_as_a_walk_towards_x0(x0, x, t, s, alpha_bar.float())

    def narrow_root(x0, x, t, s, alpha_bar):
        at_t, at_s = alpha_bar.float()[t], alpha_bar.float()[s]
        alpha = at_t / at_s
        return (at_s**0.5 * (1 - alpha) * x0 + alpha**0.5 * (1 - at_s) * x) / (1 - at_t)

    for _ in range(5):
        assert not checks.posterior_mean(narrow).passed
        assert not checks.posterior_mean(narrow_root).passed


@pytest.mark.parametrize("limit", [0.99, 0.999, 0.9999])
def test_a_limit_of_the_average_that_is_hard_coded_is_named(limit):
    def hard(average, weights, step, decay):
        return average_by_a_small_step(average, weights, step, limit)

    assert "argument `decay`" in checks.ema_update(hard).message


def test_a_warm_up_without_brackets_is_told_about_them():
    def bare(average, weights, step, decay):
        return torch.lerp(weights, average, min(decay, 1 + step / 10 + step))

    assert "brackets" in checks.ema_update(bare).message
