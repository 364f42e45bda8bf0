"""The checks of lesson 03 on DDPM: the posterior, one step back."""

import torch
from torch import Tensor

from labkit import sampler
from labkit.denoiser import Prediction, clip, from_eps
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import (
    Given,
    is_odd,
    random_table,
    random_times,
    sizes,
    turn,
    whole,
)
from labkit.schedule import NoiseSchedule, from_betas

# The mean of the posterior.


def _posterior_mean(x0: Tensor, x: Tensor, t: int, s: int, alpha_bar: Tensor) -> Tensor:
    return NoiseSchedule(alpha_bar).posterior(x0, x, t, s)[0]


def _mean(x0: Tensor, x: Tensor, alpha: Tensor, at_s: Tensor, below: Tensor) -> Tensor:
    """The mean of these α, ᾱ_s and 1 − ᾱ_t, each a number in float64."""
    return (at_s.sqrt() * (1 - alpha) * x0 + alpha.sqrt() * (1 - at_s) * x) / below


def _mean_with_arrival_at_t(x0, x, t, s, alpha_bar):
    from_x0 = alpha_bar[t].sqrt() * (1 - alpha_bar[t] / alpha_bar[s])
    from_x = (alpha_bar[t] / alpha_bar[s]).sqrt() * (1 - alpha_bar[s])
    return (from_x0 * x0 + from_x * x) / (1 - alpha_bar[t])


def _mean_without_the_root_of_x0(x0, x, t, s, alpha_bar):
    from_x0 = alpha_bar[s] * (1 - alpha_bar[t] / alpha_bar[s])
    from_x = (alpha_bar[t] / alpha_bar[s]).sqrt() * (1 - alpha_bar[s])
    return (from_x0 * x0 + from_x * x) / (1 - alpha_bar[t])


def _mean_without_the_root_of_x(x0, x, t, s, alpha_bar):
    from_x0 = alpha_bar[s].sqrt() * (1 - alpha_bar[t] / alpha_bar[s])
    from_x = alpha_bar[t] / alpha_bar[s] * (1 - alpha_bar[s])
    return (from_x0 * x0 + from_x * x) / (1 - alpha_bar[t])


def _mean_without_roots(x0, x, t, s, alpha_bar):
    from_x0 = alpha_bar[s] * (1 - alpha_bar[t] / alpha_bar[s])
    from_x = alpha_bar[t] / alpha_bar[s] * (1 - alpha_bar[s])
    return (from_x0 * x0 + from_x * x) / (1 - alpha_bar[t])


def _mean_in_float32(x0, x, t, s, alpha_bar):
    at_t, at_s = alpha_bar[t].float(), alpha_bar[s].float()
    return _mean(x0, x, at_t / at_s, at_s, 1 - at_t)


def _draw_posterior(g: torch.Generator):
    """Pictures, times and a table; in turn one of small steps, where ᾱ is nearly 1."""
    x0, x = torch.randn(2, *sizes(g, whole(2, 4, g)), generator=g)
    t, s = random_times(g)
    small = is_odd(g)  # at least two of five
    fine = from_betas(4e-6 * (1 + torch.rand(60, generator=g, dtype=torch.float64))).alpha_bar
    return x0, x, t, s, fine if small else random_table(g)


posterior_mean = Check(
    "posterior_mean",
    reference=_posterior_mean,
    draw_inputs=_draw_posterior,
    mistakes={
        "The weights of x0 and x have changed places: near the end of sampling nearly all "
        "the weight must go to x0.": lambda x0, x, t, s, a: _posterior_mean(x, x0, t, s, a),
        "The weight of x0 holds ᾱ_s; the root is missing: √ᾱ_s (1−α)/(1−ᾱ_t).": (
            _mean_without_the_root_of_x0
        ),
        "The weight of x holds α; the root is missing: √α (1−ᾱ_s)/(1−ᾱ_t).": (
            _mean_without_the_root_of_x
        ),
        "Both roots are missing: x0 gets √ᾱ_s, and x gets √α.": _mean_without_roots,
        "The ratio is upside down: a step keeps α = ᾱ_t/ᾱ_s, which is below 1.": (
            lambda x0, x, t, s, a: _mean(x0, x, a[s] / a[t], a[s], 1 - a[t])
        ),
        "You divide by √(1−ᾱ_t); below both weights stands the variance, 1−ᾱ_t, without a root.": (
            lambda x0, x, t, s, a: _mean(x0, x, a[t] / a[s], a[s], (1 - a[t]).sqrt())
        ),
        "Your weights are computed in float32, where 1−ᾱ and 1−α lose their digits if ᾱ is near 1; "
        "compute them in float64, as the table is, and round last.": [
            _mean_in_float32,
            lambda x0, x, t, s, a: _posterior_mean(x0, x, t, s, a.float().double()),
        ],
        "You take ᾱ_t for α; the step from s to t keeps only α = ᾱ_t/ᾱ_s.": (
            lambda x0, x, t, s, a: _mean(x0, x, a[t], a[s], 1 - a[t])
        ),
        "You take α from the single step t−1 → t; here the step may be long: α = ᾱ_t/ᾱ_s.": (
            lambda x0, x, t, s, a: _mean(x0, x, a[t] / a[t - 1], a[s], 1 - a[t])
        ),
        "You divide by 1−ᾱ_s; both weights have the noise of x_t below them: 1−ᾱ_t.": (
            lambda x0, x, t, s, a: _mean(x0, x, a[t] / a[s], a[s], 1 - a[s])
        ),
        "The weight of x0 holds √ᾱ_t; it is the picture's share where you arrive, √ᾱ_s.": (
            _mean_with_arrival_at_t
        ),
        "You go to the time t−1, whatever s is; the step may be long: take alpha_bar[s].": (
            lambda x0, x, t, s, a: _posterior_mean(x0, x, t, t - 1, a)
        ),
        "Your times are off by one: alpha_bar[0] is ᾱ_0 = 1, so ᾱ_t is alpha_bar[t].": [
            lambda x0, x, t, s, a: _posterior_mean(x0, x, t - 1, s - 1, a),
            lambda x0, x, t, s, a: _mean(x0, x, a[t - 1] / a[s], a[s], 1 - a[t - 1]),
            lambda x0, x, t, s, a: _posterior_mean(x0, x, t, s - 1, a),
        ],
        "That is E[x_s | x_0], which does not look at x_t at all.": (
            lambda x0, x, t, s, a: a[s].sqrt() * x0
        ),
        "That is the clean picture itself, as if s were 0; at s there is noise left.": (
            lambda x0, x, t, s, a: x0
        ),
    },
    against=NoiseSchedule.posterior,
)


# One ancestral step.


def _ancestral_step(x: Tensor, eps: Tensor, t: int, s: int, alpha_bar: Tensor, z: Tensor) -> Tensor:
    schedule = NoiseSchedule(alpha_bar)
    x0 = clip(from_eps(schedule, x, t, eps).x0)
    with Given(randn=z):
        return sampler.ddpm(schedule, Prediction(x0, eps), x, t, s, v=1.0)


def _guess(x: Tensor, eps: Tensor, t: int, alpha_bar: Tensor) -> Tensor:
    return from_eps(NoiseSchedule(alpha_bar), x, t, eps).x0


def _noise(t: int, s: int, alpha_bar: Tensor, z: Tensor) -> Tensor:
    """√β z, and none in the last step."""
    return (s > 0) * (1 - alpha_bar[t] / alpha_bar[s]).sqrt() * z


def _step(x: Tensor, eps: Tensor, t: int, s: int, alpha_bar: Tensor, noise: Tensor) -> Tensor:
    """The step with this noise, none of it in the last step."""
    mean = _posterior_mean(clip(_guess(x, eps, t, alpha_bar)), x, t, s, alpha_bar)
    return mean + (s > 0) * noise


def _grainy(x, eps, t, s, alpha_bar, z):
    mean = _posterior_mean(clip(_guess(x, eps, t, alpha_bar)), x, t, s, alpha_bar)
    return mean + (1 - alpha_bar[t] / alpha_bar[s]).sqrt() * z


def _unclipped(x, eps, t, s, alpha_bar, z):
    mean = _posterior_mean(_guess(x, eps, t, alpha_bar), x, t, s, alpha_bar)
    return mean + _noise(t, s, alpha_bar, z)


def _small_noise(x, eps, t, s, alpha_bar, z):
    _, small = NoiseSchedule(alpha_bar).posterior(x, x, t, s)
    return _step(x, eps, t, s, alpha_bar, small.sqrt() * z)


def _guess_by_variances(x, eps, t, s, alpha_bar, z):
    guess = clip((x - (1 - alpha_bar[t]) * eps) / alpha_bar[t])
    return _posterior_mean(guess, x, t, s, alpha_bar) + _noise(t, s, alpha_bar, z)


def _noised_anew(x, eps, t, s, alpha_bar, z):
    x0 = clip(_guess(x, eps, t, alpha_bar))
    return alpha_bar[s].sqrt() * x0 + (1 - alpha_bar[s]).sqrt() * z


def _ddim_with_the_eps_of_the_clipped(x, eps, t, s, alpha_bar, z):
    x0 = clip(_guess(x, eps, t, alpha_bar))
    eps = (x - alpha_bar[t].sqrt() * x0) / (1 - alpha_bar[t]).sqrt()
    return alpha_bar[s].sqrt() * x0 + (1 - alpha_bar[s]).sqrt() * eps


def _draw_ancestral(g: torch.Generator):
    """A step, in turn to a noisy time, to time 1 and to the clean picture."""
    x, eps, z = torch.randn(3, *sizes(g, 4), generator=g)
    t, s = random_times(g)
    return 1.5 * x, eps, t, (s, 0, 1, 0, s)[turn(g, 5)], random_table(g), z


ancestral_step = Check(
    "ancestral_step",
    reference=_ancestral_step,
    draw_inputs=_draw_ancestral,
    mistakes={
        "You add noise in the last step too, and the finished picture stays grainy: where s = 0, "
        "return the mean.": _grainy,
        "The guess of x0 that reaches the mean is not clipped to [−1, 1]. (The mean written with "
        "eps never sees a clipped x0: put the clipped one into the posterior's mean.)": _unclipped,
        "The noise has the standard deviation β: that is the variance; multiply z by √β.": (
            lambda x, eps, t, s, a, z: _step(x, eps, t, s, a, (1 - a[t] / a[s]) * z)
        ),
        "Your noise has the posterior's variance β̃; this exercise asks for the large one, "
        "β = 1 − ᾱ_t/ᾱ_s.": _small_noise,
        "The noise has the size √(1−ᾱ_t), all that x holds; a step takes back the noise of one "
        "step: √β, β = 1 − ᾱ_t/ᾱ_s.": (
            lambda x, eps, t, s, a, z: _step(x, eps, t, s, a, (1 - a[t]).sqrt() * z)
        ),
        "You leave out the noise at s = 1 too; only the step to s = 0 adds none.": (
            lambda x, eps, t, s, a, z: _ancestral_step(x, eps, t, s, a, (s > 1) * z)
        ),
        "You clip the result; clip the guess of x0: x_s holds noise, and may leave [−1, 1].": [
            lambda x, eps, t, s, a, z: clip(_unclipped(x, eps, t, s, a, z)),
            lambda x, eps, t, s, a, z: clip(_ancestral_step(x, eps, t, s, a, z)),
        ],
        "You noise the guess of x0 anew, √ᾱ_s x0 + √(1−ᾱ_s) z, and forget x; take the posterior's "
        "mean, which holds both.": _noised_anew,
        "That is DDIM's step, which keeps eps and draws no noise; take the posterior's mean, and "
        "add √β z.": [
            lambda x, eps, t, s, a, z: _noised_anew(x, eps, t, s, a, eps),
            _ddim_with_the_eps_of_the_clipped,
        ],
        "You go to the time t−1, whatever s is; the step may be long: take alpha_bar[s].": [
            lambda x, eps, t, s, a, z: _ancestral_step(x, eps, t, t - 1, a, (s > 0) * z),
            lambda x, eps, t, s, a, z: _ancestral_step(x, eps, t, t - 1, a, z),
            lambda x, eps, t, s, a, z: _step(x, eps, t, s, a, (1 - a[t] / a[t - 1]).sqrt() * z),
        ],
        "You take the noise out of x and stop there: x_s is not x0 with noise β, its mean lies "
        "between x0 and x.": (
            lambda x, eps, t, s, a, z: clip(_guess(x, eps, t, a)) + _noise(t, s, a, z)
        ),
        "The guess of x0 is made with ᾱ_t and 1−ᾱ_t; take their roots: (x − √(1−ᾱ_t) eps)/√ᾱ_t.": (
            _guess_by_variances
        ),
        "No noise is added at all: this finds the mean of x_s, not a draw of it.": (
            lambda x, eps, t, s, a, z: _ancestral_step(x, eps, t, s, a, 0 * z)
        ),
        "You add eps, the noise that the network saw, once more; the step draws noise of its "
        "own: z.": lambda x, eps, t, s, a, z: _ancestral_step(x, eps, t, s, a, eps),
    },
    against=sampler.ddpm,
)
