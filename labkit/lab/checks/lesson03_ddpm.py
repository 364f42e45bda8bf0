"""The checks of lesson 03 on DDPM: the posterior, one step back."""

import math

import torch
from torch import Tensor

from labkit import sampler
from labkit.denoiser import Prediction, clip, from_eps
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import (
    Given,
    is_odd,
    mistaken,
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


def _mean(x0, x, t, s, alpha_bar, alpha=None, below=None, root_s=0.5, root_alpha=0.5, off=0):
    """The posterior's mean, with every piece of the formula open to a mistake."""
    at_t, at_s = alpha_bar[t - off], alpha_bar[s - off]
    alpha = at_t / at_s if alpha is None else alpha
    below = 1 - at_t if below is None else below
    from_x0 = at_s**root_s * (1 - alpha) / below
    from_x = alpha**root_alpha * (1 - at_s) / below
    return (from_x0 * x0 + from_x * x).to(x.dtype)


def _mean_with_arrival_at_t(x0, x, t, s, alpha_bar):
    factor = (alpha_bar[t] / alpha_bar[s]).sqrt().item()  # √ᾱ_t in place of √ᾱ_s
    return _mean(factor * x0, x, t, s, alpha_bar)


def _mean_in_float32(x0, x, t, s, alpha_bar):
    at_t, at_s = alpha_bar[t].float(), alpha_bar[s].float()
    alpha = at_t / at_s
    from_x0 = at_s.sqrt() * (1 - alpha) / (1 - at_t)
    return from_x0 * x0 + alpha.sqrt() * (1 - at_s) / (1 - at_t) * x


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
        "the weight must go to x0.": (lambda x0, x, t, s, alpha_bar: _mean(x, x0, t, s, alpha_bar)),
        "The weight of x0 holds ᾱ_s; the root is missing: √ᾱ_s (1−α)/(1−ᾱ_t).": (
            mistaken(_mean, root_s=1)
        ),
        "The weight of x holds α; the root is missing: √α (1−ᾱ_s)/(1−ᾱ_t).": (
            mistaken(_mean, root_alpha=1)
        ),
        "Both roots are missing: x0 gets √ᾱ_s, and x gets √α.": (
            mistaken(_mean, root_s=1, root_alpha=1)
        ),
        "The ratio is upside down: a step keeps α = ᾱ_t/ᾱ_s, which is below 1.": (
            mistaken(_mean, alpha=lambda x0, x, t, s, alpha_bar: alpha_bar[s] / alpha_bar[t])
        ),
        "You divide by √(1−ᾱ_t); below both weights stands the variance, 1−ᾱ_t, without a root.": (
            mistaken(_mean, below=lambda x0, x, t, s, alpha_bar: (1 - alpha_bar[t]).sqrt())
        ),
        "Your weights are computed in float32, where 1−ᾱ and 1−α lose their digits if ᾱ is near 1; "
        "compute them in float64, as the table is, and round last.": [
            _mean_in_float32,
            lambda x0, x, t, s, alpha_bar: _mean(x0, x, t, s, alpha_bar.float().double()),
        ],
        "You take ᾱ_t for α; the step from s to t keeps only α = ᾱ_t/ᾱ_s.": (
            mistaken(_mean, alpha=lambda x0, x, t, s, alpha_bar: alpha_bar[t])
        ),
        "You take α from the single step t−1 → t; here the step may be long: α = ᾱ_t/ᾱ_s.": (
            mistaken(_mean, alpha=lambda x0, x, t, s, table: table[t] / table[t - 1])
        ),
        "You divide by 1−ᾱ_s; both weights have the noise of x_t below them: 1−ᾱ_t.": (
            mistaken(_mean, below=lambda x0, x, t, s, alpha_bar: 1 - alpha_bar[s])
        ),
        "The weight of x0 holds √ᾱ_t; it is the picture's share where you arrive, √ᾱ_s.": (
            _mean_with_arrival_at_t
        ),
        "You go to the time t−1, whatever s is; the step may be long: take alpha_bar[s].": (
            lambda x0, x, t, s, alpha_bar: _mean(x0, x, t, t - 1, alpha_bar)
        ),
        "Your times are off by one: alpha_bar[0] is ᾱ_0 = 1, so ᾱ_t is alpha_bar[t].": [
            mistaken(_mean, off=1),
            lambda x0, x, t, s, alpha_bar: _mean(x0, x, t - 1, s, alpha_bar),
            lambda x0, x, t, s, alpha_bar: _mean(x0, x, t, s - 1, alpha_bar),
        ],
        "That is E[x_s | x_0], which does not look at x_t at all.": (
            lambda x0, x, t, s, alpha_bar: (alpha_bar[s].sqrt() * x0).to(x.dtype)
        ),
        "That is the clean picture itself, as if s were 0; at s there is noise left.": (
            lambda x0, x, t, s, alpha_bar: x0
        ),
    },
    against=NoiseSchedule.posterior,
)


# One ancestral step.


def _step(x, eps, t, s, alpha_bar, z, clip=True, guess=None, small=False, last=0.0, **other):
    """The step x_t → x_s, with every choice open to a mistake."""
    at_t, at_s = alpha_bar[t].item(), alpha_bar[s].item()
    x0 = (x - math.sqrt(1 - at_t) * eps) / math.sqrt(at_t) if guess is None else guess
    x0 = x0.clamp(-1, 1) if clip else x0
    mean, tilde = NoiseSchedule(alpha_bar).posterior(x0, x, t, s)
    variance = tilde.item() if small else 1 - at_t / at_s
    size = other.get("size", math.sqrt(variance))
    return mean + size * (last if s == 0 else 1.0) * z


def _ancestral_step(x: Tensor, eps: Tensor, t: int, s: int, alpha_bar: Tensor, z: Tensor) -> Tensor:
    schedule = NoiseSchedule(alpha_bar)
    x0 = clip(from_eps(schedule, x, t, eps).x0)
    with Given(randn=z):
        return sampler.ddpm(schedule, Prediction(x0, eps), x, t, s, v=1.0)


def _guess_by_variances(x, eps, t, s, alpha_bar, z):
    at_t = alpha_bar[t].item()
    return (x - (1 - at_t) * eps) / at_t


def _draw_ancestral(g: torch.Generator):
    """A step, in turn to a noisy time, to time 1 and to the clean picture."""
    x, eps, z = torch.randn(3, *sizes(g, 4), generator=g)
    t, s = random_times(g)
    return 1.5 * x, eps, t, (s, 0, 1, 0, s)[turn(g, 5)], random_table(g), z


def _noised_anew(x, eps, t, s, alpha_bar, z, noise=None):
    """The clipped guess of x0, noised to the time s; with eps as the noise, DDIM's step."""
    x0 = clip(from_eps(NoiseSchedule(alpha_bar), x, t, eps).x0)
    noise = z if noise is None else noise
    return (alpha_bar[s].sqrt() * x0 + (1 - alpha_bar[s]).sqrt() * noise).to(x.dtype)


def _eps_of_the_clipped(x, eps, t, s, alpha_bar, z):
    x0 = clip(from_eps(NoiseSchedule(alpha_bar), x, t, eps).x0)
    return (x - alpha_bar[t].sqrt() * x0) / (1 - alpha_bar[t]).sqrt()


def _one_time_back(x, eps, t, s, alpha_bar, z, last=0):
    return _step(x, eps, t, t - 1, alpha_bar, z if s else last * z)


ancestral_step = Check(
    "ancestral_step",
    reference=_ancestral_step,
    draw_inputs=_draw_ancestral,
    mistakes={
        "You add noise in the last step too, and the finished picture stays grainy: where s = 0, "
        "return the mean.": (mistaken(_step, last=1.0)),
        "The guess of x0 that reaches the mean is not clipped to [−1, 1]. (The mean written with "
        "eps never sees a clipped x0: put the clipped one into the posterior's mean.)": (
            mistaken(_step, clip=False)
        ),
        "The noise has the standard deviation β: that is the variance; multiply z by √β.": (
            mistaken(_step, size=lambda x, eps, t, s, table, z: 1 - (table[t] / table[s]).item())
        ),
        "Your noise has the posterior's variance β̃; this exercise asks for the large one, "
        "β = 1 − ᾱ_t/ᾱ_s.": (mistaken(_step, small=True)),
        "The noise has the size √(1−ᾱ_t), all that x holds; a step takes back the noise of one "
        "step: √β, β = 1 − ᾱ_t/ᾱ_s.": (
            mistaken(_step, size=lambda x, eps, t, s, table, z: math.sqrt(1 - table[t].item()))
        ),
        "You leave out the noise at s = 1 too; only the step to s = 0 adds none.": (
            lambda x, eps, t, s, alpha_bar, z: _step(x, eps, t, s, alpha_bar, z if s > 1 else 0 * z)
        ),
        "You clip the result; clip the guess of x0: x_s holds noise, and may leave [−1, 1].": [
            lambda *args: _step(*args, clip=False).clamp(-1, 1),
            lambda *args: _step(*args).clamp(-1, 1),
        ],
        "You noise the guess of x0 anew, √ᾱ_s x0 + √(1−ᾱ_s) z, and forget x; take the posterior's "
        "mean, which holds both.": _noised_anew,
        "That is DDIM's step, which keeps eps and draws no noise; take the posterior's mean, and "
        "add √β z.": [
            mistaken(_noised_anew, noise=lambda x, eps, *rest: eps),
            mistaken(_noised_anew, noise=_eps_of_the_clipped),
        ],
        "You go to the time t−1, whatever s is; the step may be long: take alpha_bar[s].": [
            _one_time_back,
            mistaken(_one_time_back, last=1),
            mistaken(_step, size=lambda x, eps, t, s, a, z: (1 - a[t] / a[t - 1]).sqrt().item()),
        ],
        "You take the noise out of x and stop there: x_s is not x0 with noise β, its mean lies "
        "between x0 and x.": (
            lambda x, eps, t, s, alpha_bar, z: (
                ((x - (1 - alpha_bar[t]).sqrt() * eps) / alpha_bar[t].sqrt()).clamp(-1, 1)
                + (0 if s == 0 else 1) * (1 - alpha_bar[t] / alpha_bar[s]).sqrt() * z
            ).to(x.dtype)
        ),
        "The guess of x0 is made with ᾱ_t and 1−ᾱ_t; take their roots: (x − √(1−ᾱ_t) eps)/√ᾱ_t.": (
            mistaken(_step, guess=_guess_by_variances)
        ),
        "No noise is added at all: this finds the mean of x_s, not a draw of it.": (
            lambda x, eps, t, s, alpha_bar, z: _step(x, eps, t, s, alpha_bar, 0 * z)
        ),
        "You add eps, the noise that the network saw, once more; the step draws noise of its "
        "own: z.": (lambda x, eps, t, s, alpha_bar, z: _step(x, eps, t, s, alpha_bar, eps)),
    },
    against=sampler.ddpm,
)
