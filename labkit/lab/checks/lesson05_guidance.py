"""The checks of lesson 05 on following the gradient: Algorithm 2 and Algorithm 1."""

import math

import torch
from torch import Tensor

from labkit import guidance
from labkit.denoiser import from_x0
from labkit.lab.checks.answered import SaysEps
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import (
    Given,
    between,
    random_schedule,
    random_times,
    sizes,
    whole,
)
from labkit.schedule import NoiseSchedule

# Algorithm 2.


def _shift_eps(eps: Tensor, gradient: Tensor, alpha_bar: float, scale: float) -> Tensor:
    says = SaysEps(NoiseSchedule(torch.tensor([1.0, alpha_bar])), eps)
    guide = guidance.ScoreGuidance(says, lambda x, t: (x * gradient).flatten(1).sum(1), scale)
    return guide(torch.zeros_like(eps), 1).eps


shift_eps = Check(
    "shift_eps",
    reference=_shift_eps,
    draw_inputs=lambda g: (
        *torch.randn(2, *sizes(g, 4), generator=g),
        between(0.1, 0.7, g),
        between(1.5, 5, g),
    ),
    mistakes={
        "√(1−ᾱ_t) is missing: the gradient is a score, and eps is −√(1−ᾱ_t) times a score.": (
            lambda eps, gradient, a, scale: eps - scale * gradient
        ),
        "The root is missing: √(1−ᾱ_t), not 1−ᾱ_t.": (
            lambda eps, gradient, a, scale: eps - scale * (1 - a) * gradient
        ),
        "You take √ᾱ_t, the share of the picture; eps is measured in noise: √(1−ᾱ_t).": (
            lambda eps, gradient, a, scale: eps - scale * math.sqrt(a) * gradient
        ),
        "You divide by √(1−ᾱ_t), which turns eps into a score; here a score becomes eps: "
        "multiply.": (lambda eps, gradient, a, scale: eps - scale / math.sqrt(1 - a) * gradient),
        "This is the change of x̂0, (1−ᾱ_t)/√ᾱ_t; eps changes by √(1−ᾱ_t).": (
            lambda eps, gradient, a, scale: eps - scale * (1 - a) / math.sqrt(a) * gradient
        ),
        "You divide by √ᾱ_t as well; the factor is √(1−ᾱ_t) alone.": (
            lambda eps, gradient, a, scale: eps - scale * math.sqrt((1 - a) / a) * gradient
        ),
        "You multiply eps by the scale too; the scale belongs to the gradient alone.": (
            lambda eps, gradient, a, scale: scale * (eps - math.sqrt(1 - a) * gradient)
        ),
        "The sign is wrong: this moves away from the class. eps points away from the picture, so "
        "a gradient towards the class is subtracted.": (
            lambda eps, gradient, a, scale: eps + scale * math.sqrt(1 - a) * gradient
        ),
        "The scale is missing, as it is in the paper's printed line; multiply the gradient by s.": (
            lambda eps, gradient, a, scale: eps - math.sqrt(1 - a) * gradient
        ),
        "You took the scale for w + 1: here 1 means the classifier as it is, not twice.": (
            lambda eps, gradient, a, scale: eps - (scale + 1) * math.sqrt(1 - a) * gradient
        ),
        "You use scale − 1, which is for a model that knows the class already; this eps does "
        "not.": (lambda eps, gradient, a, scale: eps - (scale - 1) * math.sqrt(1 - a) * gradient),
    },
    against=guidance.ScoreGuidance,
)


# Algorithm 1.


def _guided_mean(
    schedule: NoiseSchedule, x0: Tensor, x: Tensor, t: int, s: int, gradient: Tensor, scale: float
) -> Tensor:
    pred = from_x0(schedule, x, t, x0)
    with Given(randn=torch.zeros_like(x)):
        return guidance.mean_shift(
            schedule,
            pred,
            x,
            t,
            s,
            log_prob=lambda x, t: (x * gradient).flatten(1).sum(1),
            scale=scale,
            v=1.0,
        )


def _beta(schedule: NoiseSchedule, t: int, s: int) -> float:
    return 1 - (schedule.alpha_bar[t] / schedule.alpha_bar[s]).item()


def _small(schedule: NoiseSchedule, t: int, s: int) -> float:
    at_t, at_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    return (1 - at_s) / (1 - at_t) * _beta(schedule, t, s)


def _mean(schedule: NoiseSchedule, x0: Tensor, x: Tensor, t: int, s: int) -> Tensor:
    return schedule.posterior(x0, x, t, s)[0]


def _draw_mean(g: torch.Generator):
    x0, x, gradient = torch.randn(3, *sizes(g, whole(2, 4, g)), generator=g)
    return random_schedule(g), x0, x, *random_times(g), gradient, between(1.5, 5, g)


guided_mean = Check(
    "guided_mean",
    reference=_guided_mean,
    draw_inputs=_draw_mean,
    mistakes={
        "You multiply the gradient by σ, the standard deviation; completing the square gives Σ, "
        "the variance.": (
            lambda schedule, x0, x, t, s, slope, scale: (
                _mean(schedule, x0, x, t, s) + scale * math.sqrt(_beta(schedule, t, s)) * slope
            )
        ),
        "Σ is the variance of one single step, β_t; this step leads to s: Σ = 1 − ᾱ_t/ᾱ_s.": (
            lambda schedule, x0, x, t, s, slope, scale: (
                _mean(schedule, x0, x, t, s) + scale * schedule.beta[t].item() * slope
            )
        ),
        "You take the posterior's own variance, β̃; here Σ = 1 − ᾱ_t/ᾱ_s was asked for.": (
            lambda schedule, x0, x, t, s, slope, scale: (
                _mean(schedule, x0, x, t, s) + scale * _small(schedule, t, s) * slope
            )
        ),
        "You move the mean as Algorithm 2 does, by β/√α times the gradient; Algorithm 1 moves it "
        "by Σ.": (
            lambda schedule, x0, x, t, s, slope, scale: (
                _mean(schedule, x0, x, t, s)
                + scale * _beta(schedule, t, s) / math.sqrt(1 - _beta(schedule, t, s)) * slope
            )
        ),
        "The sign is wrong: the mean moves up the gradient of log p(y|x).": (
            lambda schedule, x0, x, t, s, slope, scale: (
                _mean(schedule, x0, x, t, s) - scale * _beta(schedule, t, s) * slope
            )
        ),
        "The scale is missing.": (
            lambda schedule, x0, x, t, s, slope, scale: (
                _mean(schedule, x0, x, t, s) + _beta(schedule, t, s) * slope
            )
        ),
        "The gradient is not multiplied by Σ: a step with little noise would move as far as one "
        "with much noise.": (
            lambda schedule, x0, x, t, s, slope, scale: _mean(schedule, x0, x, t, s) + scale * slope
        ),
        "Σ = 1 − ᾱ_t is the variance of x_t given x_0; the step from t to s has 1 − ᾱ_t/ᾱ_s.": (
            lambda schedule, x0, x, t, s, slope, scale: (
                _mean(schedule, x0, x, t, s) + scale * (1 - schedule.alpha_bar[t].item()) * slope
            )
        ),
        "You subtract ᾱ_t from ᾱ_s; the variance of the step has their quotient: 1 − ᾱ_t/ᾱ_s.": (
            lambda schedule, x0, x, t, s, slope, scale: (
                _mean(schedule, x0, x, t, s)
                + scale * (schedule.alpha_bar[s] - schedule.alpha_bar[t]).item() * slope
            )
        ),
        "You multiply the gradient by √β̃, a standard deviation, and of the posterior; here "
        "Σ = 1 − ᾱ_t/ᾱ_s.": (
            lambda schedule, x0, x, t, s, slope, scale: (
                _mean(schedule, x0, x, t, s) + scale * math.sqrt(_small(schedule, t, s)) * slope
            )
        ),
        "You add the shift to x; it moves the posterior's mean.": (
            lambda schedule, x0, x, t, s, slope, scale: x + scale * _beta(schedule, t, s) * slope
        ),
        "You add the shift to x0; it moves the posterior's mean.": (
            lambda schedule, x0, x, t, s, slope, scale: x0 + scale * _beta(schedule, t, s) * slope
        ),
        "This is the shift alone; add it to the posterior's mean.": (
            lambda schedule, x0, x, t, s, slope, scale: scale * _beta(schedule, t, s) * slope
        ),
    },
    against=guidance.mean_shift,
)
