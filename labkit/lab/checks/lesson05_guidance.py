"""The checks of lesson 05 on following the gradient: Algorithm 2 and Algorithm 1."""

import math

import torch
from torch import Tensor

from labkit import guidance
from labkit.conditioning import Conditioning
from labkit.denoiser import Prediction, from_eps, from_x0
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


class _Says:
    """A denoiser that has already answered."""

    def __init__(self, schedule: NoiseSchedule, eps: Tensor):
        self.schedule, self.eps = schedule, eps

    def __call__(self, x: Tensor, t: int, cond: Conditioning | None = None) -> Prediction:
        return from_eps(self.schedule, x, t, self.eps)


def _shift_eps(eps: Tensor, gradient: Tensor, alpha_bar: float, scale: float) -> Tensor:
    says = _Says(NoiseSchedule(torch.tensor([1.0, alpha_bar])), eps)
    guide = guidance.ScoreGuidance(says, lambda x, t: (x * gradient).flatten(1).sum(1), scale)
    return guide(torch.zeros_like(eps), 1).eps


def _wrong_shift(factor=lambda alpha_bar: math.sqrt(1 - alpha_bar), sign=-1, use=lambda s: s):
    """Algorithm 2's line in which one thing can be wrong."""
    return lambda eps, gradient, alpha_bar, scale: (
        eps + sign * use(scale) * factor(alpha_bar) * gradient
    )


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
            _wrong_shift(lambda alpha_bar: 1.0)
        ),
        "The root is missing: √(1−ᾱ_t), not 1−ᾱ_t.": _wrong_shift(lambda alpha_bar: 1 - alpha_bar),
        "You take √ᾱ_t, the share of the picture; eps is measured in noise: √(1−ᾱ_t).": (
            _wrong_shift(math.sqrt)
        ),
        "You divide by √(1−ᾱ_t), which turns eps into a score; here a score becomes eps: "
        "multiply.": _wrong_shift(lambda alpha_bar: (1 - alpha_bar) ** -0.5),
        "This is the change of x̂0, (1−ᾱ_t)/√ᾱ_t; eps changes by √(1−ᾱ_t).": (
            _wrong_shift(lambda alpha_bar: (1 - alpha_bar) / math.sqrt(alpha_bar))
        ),
        "You divide by √ᾱ_t as well; the factor is √(1−ᾱ_t) alone.": (
            _wrong_shift(lambda alpha_bar: math.sqrt((1 - alpha_bar) / alpha_bar))
        ),
        "You multiply eps by the scale too; the scale belongs to the gradient alone.": (
            lambda eps, gradient, alpha_bar, scale: (
                scale * (eps - math.sqrt(1 - alpha_bar) * gradient)
            )
        ),
        "The sign is wrong: this moves away from the class. eps points away from the picture, so "
        "a gradient towards the class is subtracted.": _wrong_shift(sign=1),
        "The scale is missing, as it is in the paper's printed line; multiply the gradient by s.": (
            _wrong_shift(use=lambda scale: 1.0)
        ),
        "You took the scale for w + 1: here 1 means the classifier as it is, not twice.": (
            _wrong_shift(use=lambda scale: scale + 1)
        ),
        "You use scale − 1, which is for a model that knows the class already; this eps does "
        "not.": _wrong_shift(use=lambda scale: scale - 1),
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


def _wrong_mean(spread=lambda beta: beta, sign=1, use=lambda s: s, kind="stride", plus=True):
    """The shifted mean in which one thing can be wrong."""

    def guided_mean(schedule, x0, x, t, s, gradient, scale):
        mean, small = schedule.posterior(x0, x, t, s)
        beta = 1 - schedule.alpha_bar[t] / schedule.alpha_bar[s]
        beta = {
            "stride": beta,
            "step": schedule.beta[t],
            "small": small,
            "marginal": 1 - schedule.alpha_bar[t],
            "difference": schedule.alpha_bar[s] - schedule.alpha_bar[t],
            "eps": beta / (1 - beta).sqrt(),
        }[kind].item()
        return plus * mean + sign * use(scale) * spread(beta) * gradient

    return guided_mean


def _shift_of(which: str):
    """The shift, added to what is not the posterior's mean."""
    shift = _wrong_mean(plus=False)
    return lambda schedule, x0, x, *rest: {"x": x, "x0": x0}[which] + shift(schedule, x0, x, *rest)


def _draw_mean(g: torch.Generator):
    x0, x, gradient = torch.randn(3, *sizes(g, whole(2, 4, g)), generator=g)
    return random_schedule(g), x0, x, *random_times(g), gradient, between(1.5, 5, g)


guided_mean = Check(
    "guided_mean",
    reference=_guided_mean,
    draw_inputs=_draw_mean,
    mistakes={
        "You multiply the gradient by σ, the standard deviation; completing the square gives Σ, "
        "the variance.": _wrong_mean(math.sqrt),
        "Σ is the variance of one single step, β_t; this step leads to s: Σ = 1 − ᾱ_t/ᾱ_s.": (
            _wrong_mean(kind="step")
        ),
        "You take the posterior's own variance, β̃; here Σ = 1 − ᾱ_t/ᾱ_s was asked for.": (
            _wrong_mean(kind="small")
        ),
        "You move the mean as Algorithm 2 does, by β/√α times the gradient; Algorithm 1 moves it "
        "by Σ.": _wrong_mean(kind="eps"),
        "The sign is wrong: the mean moves up the gradient of log p(y|x).": _wrong_mean(sign=-1),
        "The scale is missing.": _wrong_mean(use=lambda scale: 1.0),
        "The gradient is not multiplied by Σ: a step with little noise would move as far as one "
        "with much noise.": _wrong_mean(lambda beta: 1.0),
        "Σ = 1 − ᾱ_t is the variance of x_t given x_0; the step from t to s has 1 − ᾱ_t/ᾱ_s.": (
            _wrong_mean(kind="marginal")
        ),
        "You subtract ᾱ_t from ᾱ_s; the variance of the step has their quotient: 1 − ᾱ_t/ᾱ_s.": (
            _wrong_mean(kind="difference")
        ),
        "You multiply the gradient by √β̃, a standard deviation, and of the posterior; here "
        "Σ = 1 − ᾱ_t/ᾱ_s.": _wrong_mean(math.sqrt, kind="small"),
        "You add the shift to x; it moves the posterior's mean.": _shift_of("x"),
        "You add the shift to x0; it moves the posterior's mean.": _shift_of("x0"),
        "This is the shift alone; add it to the posterior's mean.": _wrong_mean(plus=False),
    },
    against=guidance.mean_shift,
)
