"""The check of lesson 08 on guidance by any score, from the score itself to eps."""

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.guidance import ScoreGuidance
from labkit.lab.checks.answered import SaysEps
from labkit.lab.checks.calling import LIMIT
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, sizes, whole
from labkit.schedule import NoiseSchedule


def _guided_eps(
    eps: Tensor, x: Tensor, t: int, score: Callable, scale: float, alpha_bar: float
) -> Tensor:
    table = torch.linspace(1, alpha_bar, t + 1, dtype=torch.float64)
    return ScoreGuidance(SaysEps(NoiseSchedule(table), eps), score, scale)(x, t).eps


def _slope(score: Callable, x: Tensor, t: int) -> Tensor:
    """The gradient of all scores together by x."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        return torch.autograd.grad(score(x, t).sum(), x)[0]


def _guess(x: Tensor, eps: Tensor, alpha_bar: float) -> Tensor:
    return (x - math.sqrt(1 - alpha_bar) * eps) / math.sqrt(alpha_bar)


def _only_the_first(eps, x, t, score, scale, alpha_bar):
    first = _slope(score, x[:1], t)
    slope = torch.cat([first, torch.zeros_like(x[1:])])
    return eps - scale * math.sqrt(1 - alpha_bar) * slope


def _of_length_one(eps, x, t, score, scale, alpha_bar, whole_batch=False):
    slope = _slope(score, x, t)
    length = slope.norm() if whole_batch else slope.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    return eps - scale * math.sqrt(1 - alpha_bar) * slope / length


def _turned(eps, x, t, score, scale, alpha_bar, change):
    """The answer with another gradient, change(gradient)."""
    return eps - scale * math.sqrt(1 - alpha_bar) * change(_slope(score, x, t))


class ToyScore(nn.Module):
    """A score whose slope depends on the point, the row and the time, with weights as an encoder
    has them."""

    def __init__(self, D: int, g: torch.Generator):
        super().__init__()
        self.way = nn.Parameter(torch.randn(D, generator=g) / 2)

    def forward(self, x: Tensor, t: int) -> Tensor:
        return torch.sin(x.flatten(1) @ self.way + t / 7) - 0.1 * x.flatten(1).square().sum(1)


def _draw_guided(g: torch.Generator):
    eps, x = torch.randn(2, *sizes(g, 4), generator=g)
    score = ToyScore(x[0].numel(), g)
    return eps, x, whole(5, 40, g), score, between(1.5, 5, g), between(0.1, 0.7, g)


class _UnderNoGrad(Check):
    """Calls a right answer once more under no_grad, as a sampler does."""

    def _judge(self, function: Callable, cases: list, got: list):
        verdict = super()._judge(function, cases, got)
        if verdict and self._attempt(torch.no_grad()(function), cases[0], LIMIT).error is not None:
            return self._named(
                "The numbers are right, but samplers run under torch.no_grad(), and there your "
                "function fails: put the gradient into `with torch.enable_grad():`.",
                verdict.difference,
            )
        return verdict


guided_eps = _UnderNoGrad(
    "guided_eps",
    reference=_guided_eps,
    draw_inputs=_draw_guided,
    mistakes={
        "√(1−ᾱ_t) is missing: the gradient is that of a score, and eps is −√(1−ᾱ_t) "
        "times a score.": (lambda eps, x, t, score, scale, a: eps - scale * _slope(score, x, t)),
        "The root is missing: √(1−ᾱ_t), not 1−ᾱ_t.": (
            lambda eps, x, t, score, scale, a: eps - scale * (1 - a) * _slope(score, x, t)
        ),
        "You take √ᾱ_t, the share of the picture; eps is measured in noise: √(1−ᾱ_t).": (
            lambda eps, x, t, score, scale, a: eps - scale * math.sqrt(a) * _slope(score, x, t)
        ),
        "You divide by √(1−ᾱ_t), which turns eps into a score; here a score becomes eps: "
        "multiply.": (
            lambda eps, x, t, score, scale, a: eps - scale / math.sqrt(1 - a) * _slope(score, x, t)
        ),
        "The sign is wrong: this lowers the score. eps points away from the picture, so a "
        "gradient towards it is subtracted.": (
            lambda eps, x, t, score, scale, a: eps + scale * math.sqrt(1 - a) * _slope(score, x, t)
        ),
        "You took the mean over the batch before the gradient: each gradient is divided by B, so "
        "it depends on the batch size. Take the sum.": (
            lambda eps, x, t, score, scale, a: (
                eps - scale * math.sqrt(1 - a) * _slope(score, x, t) / len(x)
            )
        ),
        "Only the first picture gets a gradient; sum the scores of all rows.": _only_the_first,
        "You divide the gradient by its length; that length says how much the score changes: near "
        "a good picture the guide must get weak. Take the gradient as it is.": [
            _of_length_one,
            partial(_of_length_one, whole_batch=True),
        ],
        "You bring the gradient of each pixel to length 1 over its channels (dim=1), so that all "
        "pixels count alike. Take the gradient as it is.": partial(_turned, change=F.normalize),
        "You divide the gradient by its standard deviation; its size says how much the score "
        "changes. Take the gradient as it is.": [
            partial(_turned, change=lambda slope: slope / slope.std()),
            partial(_turned, change=lambda slope: slope / slope.std((1, 2, 3), keepdim=True)),
        ],
        "You take the sign of the gradient alone, so that all numbers count alike. Take the "
        "gradient as it is.": partial(_turned, change=torch.sign),
        "The scale is missing.": (
            lambda eps, x, t, score, scale, a: eps - math.sqrt(1 - a) * _slope(score, x, t)
        ),
        "The score is asked at time 0; it has to know how noisy x_t is: score(x, t).": (
            lambda eps, x, t, score, scale, a: eps - scale * math.sqrt(1 - a) * _slope(score, x, 0)
        ),
        "You take the gradient at the guess x̂_0; this score was made for x_t, and its gradient is "
        "with respect to x_t.": (
            lambda eps, x, t, score, scale, a: (
                eps - scale * math.sqrt(1 - a) * _slope(score, _guess(x, eps, a), t)
            )
        ),
    },
    tolerance=1e-4,  # a sum over a row may be taken in any order
    against=ScoreGuidance,
)
