"""The checks of lesson 04 on the DDIM family: its noise, and its step."""

import math

import torch
from torch import Tensor

from labkit import sampler
from labkit.denoiser import Prediction, clip, from_eps
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import (
    Given,
    between,
    random_schedule,
    random_times,
    sizes,
    turn,
    whole,
)
from labkit.schedule import NoiseSchedule


def draw_sigma(g: torch.Generator) -> tuple[float, float, float]:
    """ᾱ_t, ᾱ_s and η."""
    alpha_bar_s = between(0.5, 0.9, g)
    return alpha_bar_s * between(0.3, 0.8, g), alpha_bar_s, between(0.2, 0.9, g)


# The noise of a step.


def _by_a_step(alpha_bar_t: float, alpha_bar_s: float, eta: float) -> float:
    """σ as the step from 0 to a noise of ones, with nothing predicted, shows it."""
    schedule = NoiseSchedule(torch.tensor([1.0, alpha_bar_s, alpha_bar_t], dtype=torch.float64))
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    with Given(randn=nothing + 1):
        return sampler.ddim(schedule, Prediction(nothing, nothing), nothing, 2, 1, eta=eta).item()


def _sigma(alpha_bar_t: float, alpha_bar_s: float, eta: float) -> float:
    left = (1 - alpha_bar_s) / (1 - alpha_bar_t)
    return eta * math.sqrt(left * (1 - alpha_bar_t / alpha_bar_s))


sigma = Check(
    "sigma",
    reference=_by_a_step,
    draw_inputs=draw_sigma,
    tolerance=1e-6,  # float32 is good enough for a number that multiplies pictures
    mistakes={
        "This is σ², the variance; take its root.": lambda t, s, eta: _sigma(t, s, eta) ** 2,
        "You take the root of η too; η stands in front of the roots.": (
            lambda t, s, eta: math.sqrt(eta) * _sigma(t, s, 1)
        ),
        "η is missing: this is the σ of the ancestral step, η = 1.": (
            lambda t, s, eta: _sigma(t, s, 1)
        ),
        "η is squared; it is σ² that has η², σ has η.": (
            lambda t, s, eta: eta**2 * _sigma(t, s, 1)
        ),
        "This is η times σ̂: the factor √((1−ᾱ_s)/(1−ᾱ_t)) is missing.": (
            lambda t, s, eta: eta * math.sqrt(1 - t / s)
        ),
        "The first ratio is upside down: it is (1−ᾱ_s)/(1−ᾱ_t), below 1, since s is the "
        "cleaner time.": (lambda t, s, eta: eta * math.sqrt((1 - t) / (1 - s) * (1 - t / s))),
        "The factor √(1−ᾱ_t/ᾱ_s) is missing: without it, even a step of no length adds noise.": (
            lambda t, s, eta: eta * math.sqrt((1 - s) / (1 - t))
        ),
        "The last factor is √(1−ᾱ_t/ᾱ_s); you have 1−ᾱ_t there, the noise since time 0, not since "
        "s.": lambda t, s, eta: eta * math.sqrt(1 - s),
        "The first factor lacks its root: √((1−ᾱ_s)/(1−ᾱ_t)).": (
            lambda t, s, eta: eta * (1 - s) / (1 - t) * math.sqrt(1 - t / s)
        ),
        "The last factor lacks its root: √(1−ᾱ_t/ᾱ_s).": (
            lambda t, s, eta: eta * math.sqrt((1 - s) / (1 - t)) * (1 - t / s)
        ),
        "In the last factor ᾱ_s and ᾱ_t have changed places: it is √(1−ᾱ_t/ᾱ_s), since ᾱ_t is the "
        "smaller one.": (lambda t, s, eta: eta * math.sqrt((1 - s) / (1 - t) * abs(1 - s / t))),
        "ᾱ_t and ᾱ_s have changed places everywhere; s is the cleaner time, with the larger ᾱ.": (
            lambda t, s, eta: eta * math.sqrt(abs((1 - t) / (1 - s) * (1 - s / t)))
        ),
    },
    against=sampler.ddim,
)


# The step.


def _ddim_step(
    schedule: NoiseSchedule,
    pred: Prediction,
    x: Tensor,
    t: int,
    s: int,
    generator: torch.Generator,
    eta: float,
) -> Tensor:
    return sampler.ddim(schedule, pred, x, t, s, generator, eta)


def _normal(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator)


def _sigma_at(schedule: NoiseSchedule, t: int, s: int, eta: float) -> float:
    return _sigma(schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item(), eta)


def _large(schedule: NoiseSchedule, t: int, s: int, eta: float) -> float:
    """η σ̂, with σ̂ of the noising step."""
    return eta * math.sqrt(1 - schedule.alpha_bar[t].item() / schedule.alpha_bar[s].item())


def _mix(schedule, pred: Prediction, s: int, sigma: float, noise: Tensor) -> Tensor:
    """The family's mean for this σ, and this noise on top."""
    at_s = schedule.alpha_bar[s].item()
    return math.sqrt(at_s) * pred.x0 + math.sqrt(max(1 - at_s - sigma**2, 0)) * pred.eps + noise


def _sigma_of_one_step(schedule, pred, x, t, s, generator, eta):
    at_t, at_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    sigma = eta * math.sqrt((1 - at_s) / (1 - at_t) * schedule.beta[t].item())
    return _mix(schedule, pred, s, sigma, sigma * _normal(x, generator))


def _with_sigma_hat(schedule, pred, x, t, s, generator, eta):
    sigma = _large(schedule, t, s, eta)
    return _mix(schedule, pred, s, sigma, sigma * _normal(x, generator))


def _too_noisy(schedule, pred, x, t, s, generator, eta):
    noise = _sigma_at(schedule, t, s, eta) * _normal(x, generator)
    return _mix(schedule, pred, s, 0.0, noise)


def _sigma_subtracted(schedule, pred, x, t, s, generator, eta):
    at_s, sigma = schedule.alpha_bar[s].item(), _sigma_at(schedule, t, s, eta)
    mean = math.sqrt(at_s) * pred.x0 + math.sqrt(abs(1 - at_s - sigma)) * pred.eps
    return mean + sigma * _normal(x, generator)


def _direction_without_root(schedule, pred, x, t, s, generator, eta):
    at_s, sigma = schedule.alpha_bar[s].item(), _sigma_at(schedule, t, s, eta)
    mean = math.sqrt(at_s) * pred.x0 + (1 - at_s - sigma**2) * pred.eps
    return mean + sigma * _normal(x, generator)


def _guess_without_root(schedule, pred, x, t, s, generator, eta):
    at_s, sigma = schedule.alpha_bar[s].item(), _sigma_at(schedule, t, s, eta)
    mean = at_s * pred.x0 + math.sqrt(max(1 - at_s - sigma**2, 0)) * pred.eps
    return mean + sigma * _normal(x, generator)


def _noise_by_variance(schedule, pred, x, t, s, generator, eta):
    sigma = _sigma_at(schedule, t, s, eta)
    return _mix(schedule, pred, s, sigma, sigma**2 * _normal(x, generator))


def _noise_from_rand(schedule, pred, x, t, s, generator, eta):
    sigma = _sigma_at(schedule, t, s, eta)
    return _mix(schedule, pred, s, sigma, sigma * torch.rand(x.shape, generator=generator))


def _noise_missing(schedule, pred, x, t, s, generator, eta):
    return _mix(schedule, pred, s, _sigma_at(schedule, t, s, eta), 0.0)


def _large_noise_on_the_mean(schedule, pred, x, t, s, generator, eta):
    noise = _large(schedule, t, s, eta) * _normal(x, generator)
    return _mix(schedule, pred, s, _sigma_at(schedule, t, s, eta), noise)


def _large_noise_but_in_the_last_step(schedule, pred, x, t, s, generator, eta):
    noise = (s > 0) * _large(schedule, t, s, eta) * _normal(x, generator)
    return _mix(schedule, pred, s, _sigma_at(schedule, t, s, eta), noise)


def _draw_step(g: torch.Generator):
    """Steps without noise; long ones with so much that its distribution tells right from wrong; and
    the last step, which has none even at η = 1."""
    schedule, (t, s) = random_schedule(g), random_times(g)
    kind = turn(g, 6)
    eta = 0.0 if kind in (1, 4) else 1.0 if kind == 3 else between(0.5, 0.85, g)
    if kind in (0, 2, 5):
        t = s + whole(15, 30, g)
    x, eps = torch.randn(2, *sizes(g, whole(2, 4, g)), generator=g)
    noise = torch.Generator().manual_seed(whole(0, 10_000, g))
    return schedule, from_eps(schedule, x, t, eps), x, t, 0 if kind == 3 else s, noise, eta


ddim_step = Check(
    "ddim_step",
    reference=_ddim_step,
    draw_inputs=_draw_step,
    rounds=6,
    mistakes={
        "Your σ uses β_t, the noise of a single step, where this step is longer: the ratio "
        "1 − ᾱ_t/ᾱ_s belongs there.": _sigma_of_one_step,
        "You go to ᾱ_{t−1}, but the step leads to s, which may be far below t − 1: use "
        "schedule.alpha_bar[s].": lambda schedule, pred, x, t, s, g, eta: _ddim_step(
            schedule, pred, x, t, t - 1, g, eta
        ),
        "Your σ is η times σ̂: the factor √((1−ᾱ_s)/(1−ᾱ_t)) is missing, and the radicand of the "
        "direction may even fall below 0.": _with_sigma_hat,
        "The direction keeps its full length √(1−ᾱ_s), and the noise σz comes on top, so x_s is "
        "too noisy: √(1−ᾱ_s−σ²).": _too_noisy,
        "In the direction you subtract σ; variances add, so subtract σ²: √(1−ᾱ_s−σ²).": (
            _sigma_subtracted
        ),
        "The direction lacks its root: √(1−ᾱ_s−σ²).": _direction_without_root,
        "The noise is multiplied by σ², its variance; multiply by σ.": _noise_by_variance,
        "The noise σz is missing: you left room for it in the direction, but never added it.": (
            _noise_missing
        ),
        "You ignore η and always take the deterministic step, η = 0.": (
            lambda schedule, pred, x, t, s, g, eta: _ddim_step(schedule, pred, x, t, s, g, 0.0)
        ),
        "You ignore η and always take the ancestral step, η = 1.": (
            lambda schedule, pred, x, t, s, g, eta: _ddim_step(schedule, pred, x, t, s, g, 1.0)
        ),
        "The guess x̂_0 is multiplied by ᾱ_s; the root is missing: √ᾱ_s.": _guess_without_root,
        "The direction points along x_t, which still holds the picture; it must be the noise ε̂, "
        "pred.eps.": lambda schedule, pred, x, t, s, g, eta: _ddim_step(
            schedule, pred._replace(eps=x), x, t, s, g, eta
        ),
        "The mean is right, but the noise on top is η times σ̂: its factor √((1−ᾱ_s)/(1−ᾱ_t)) is "
        "missing.": [_large_noise_on_the_mean, _large_noise_but_in_the_last_step],
        "You clip the guess x̂_0 in the step, and keep ε̂ as it was; MapX0 clips before the step, "
        "and computes ε̂ again.": lambda schedule, pred, x, t, s, g, eta: _ddim_step(
            schedule, pred._replace(x0=clip(pred.x0)), x, t, s, g, eta
        ),
        "The part along ε̂ is left out: √(1−ᾱ_s−σ²) · pred.eps belongs to the sum.": (
            lambda schedule, pred, x, t, s, g, eta: _ddim_step(
                schedule, pred._replace(eps=0 * pred.eps), x, t, s, g, eta
            )
        ),
        "The direction has the wrong sign: add √(1−ᾱ_s−σ²) · pred.eps.": (
            lambda schedule, pred, x, t, s, g, eta: _ddim_step(
                schedule, pred._replace(eps=-pred.eps), x, t, s, g, eta
            )
        ),
        "You use ᾱ_t where the step leads to s: schedule.alpha_bar[s].": (
            lambda schedule, pred, x, t, *rest: _mix(schedule, pred, t, 0.0, 0.0)
        ),
        "The noise comes from rand, which is uniform on 0 … 1 and never negative; draw it with "
        "randn.": _noise_from_rand,
    },
    samples=1000,
    against=sampler.ddim,
)
