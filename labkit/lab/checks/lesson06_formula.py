"""The checks of lesson 06 on the formula: its w, what hides in it, and several conditions."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labkit.conditioning import Conditioning
from labkit.denoiser import Prediction, from_eps
from labkit.guidance import ClassifierFree, Composed
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, sizes, turn, whole
from labkit.schedule import NoiseSchedule, linear


class Fixed:
    """A denoiser that has answered already: eps_c for the first rows of a batch, eps_u after it."""

    schedule = linear(100)

    def __init__(self, eps_c: Tensor, eps_u: Tensor, schedule: NoiseSchedule | None = None):
        self.answers, self.schedule = torch.cat([eps_c, eps_u]), schedule or self.schedule

    def __call__(self, x: Tensor, t: int, cond: Conditioning | None = None) -> Prediction:
        return from_eps(self.schedule, x, t, self.answers)


NULL = Conditioning(vector=torch.zeros(1, 1))


def guide(eps_c: Tensor, eps_u: Tensor, scale: float) -> Tensor:
    cond = Conditioning(vector=torch.ones(1, 1))
    return ClassifierFree(Fixed(eps_c, eps_u), NULL, scale)(torch.zeros_like(eps_c), 50, cond).eps


# The paper's formula, with the paper's w.


def _guide_by_w(eps_c: Tensor, eps_u: Tensor, w: float) -> Tensor:
    return guide(eps_c, eps_u, 1 + w)


guide_by_w = Check(
    "guide_by_w",
    reference=_guide_by_w,
    draw_inputs=lambda g: (*torch.randn(2, *sizes(g, 4), generator=g), between(1.5, 5, g)),
    mistakes={
        "The difference is the wrong way round: c + w(u − c) leads back to the unconditional "
        "prediction, and beyond it; guidance leads away from it, eps_c + w(eps_c − eps_u).": (
            lambda c, u, w: c + w * (u - c)
        ),
        "You took w for the scale: eps_u + w(eps_c − eps_u) is GLIDE's convention, where the "
        "number is the paper's w plus 1.": lambda c, u, w: u + w * (c - u),
        "The two predictions have changed places: this leads away from the condition.": (
            lambda c, u, w: (1 + w) * u - w * c
        ),
        "You use w − 1 as the scale; it is the other way round: the scale is w + 1.": (
            lambda c, u, w: u + (w - 1) * (c - u)
        ),
        "You add w·eps_u; subtract it: we go away from the unconditional answer.": (
            lambda c, u, w: (1 + w) * c + w * u
        ),
        "The 1 in (1 + w) is missing, so the two weights do not sum to 1.": (
            lambda c, u, w: w * c - w * u
        ),
        "You go on from eps_c by w + 1 times the difference; w times is right: at w = 0 nothing "
        "may change.": lambda c, u, w: c + (1 + w) * (c - u),
        "This is a mean of the two, between them; guidance goes beyond eps_c, away from eps_u.": (
            lambda c, u, w: (c + w * u) / (1 + w)
        ),
    },
    against=ClassifierFree,
)


# The classifier that is hidden in the difference.


def _implicit_gradient(eps_c: Tensor, eps_u: Tensor, alpha_bar: float) -> Tensor:
    return -(eps_c - eps_u) / math.sqrt(1 - alpha_bar)


def _wrong_implicit(divide=lambda alpha_bar: math.sqrt(1 - alpha_bar), sign=-1):
    return lambda eps_c, eps_u, alpha_bar: sign * (eps_c - eps_u) / divide(alpha_bar)


implicit_gradient = Check(
    "implicit_gradient",
    reference=_implicit_gradient,
    draw_inputs=lambda g: (*torch.randn(2, *sizes(g, 4), generator=g), between(0.1, 0.7, g)),
    mistakes={
        "The sign is wrong: a score is minus eps over √(1−ᾱ_t).": _wrong_implicit(sign=1),
        "You forgot to divide by √(1−ᾱ_t): this is a difference of noises, not yet of scores.": (
            _wrong_implicit(lambda alpha_bar: 1.0)
        ),
        "This is the difference as it is: a score is minus eps over √(1−ᾱ_t), so the sign is wrong "
        "and the root is missing.": _wrong_implicit(lambda alpha_bar: 1.0, sign=1),
        "You multiply by √(1−ᾱ_t); to turn noise into a score, divide.": (
            _wrong_implicit(lambda alpha_bar: 1 / math.sqrt(1 - alpha_bar))
        ),
        "The root is missing: √(1−ᾱ_t).": _wrong_implicit(lambda alpha_bar: 1 - alpha_bar),
        "You divide by √ᾱ_t, the share of the picture; the noise's share is √(1−ᾱ_t).": (
            _wrong_implicit(math.sqrt)
        ),
        "This is the conditional score, ∇log p(x_t|y); the classifier's is its difference from "
        "the unconditional one.": lambda c, u, alpha_bar: -c / math.sqrt(1 - alpha_bar),
    },
    against="Bayes' rule on the two scores",
)


# Several conditions, some of them unwanted.


def _compose(eps_u: Tensor, wanted: list[Tensor], scales: list[float]) -> Tensor:
    cond = Conditioning(vector=torch.ones(1, 1))
    composed = Composed(Fixed(eps_u, torch.cat(wanted)), NULL, [(cond, s) for s in scales])
    return composed(torch.zeros_like(eps_u), 50).eps


def _wrong_compose(end: Callable):
    """end: (eps_u, sum of scaled eps, sum of scales, number, sum of |scale| differences)."""

    def compose(eps_u, wanted, scales):
        total = sum(scale * eps for scale, eps in zip(scales, wanted))
        absolute = sum(abs(scale) * (eps - eps_u) for scale, eps in zip(scales, wanted))
        return end(eps_u, total, sum(scales), len(scales), absolute)

    return compose


def _one_after_another(eps_u, wanted, scales):
    eps = eps_u
    for each, scale in zip(wanted, scales):
        eps = eps + scale * (each - eps)
    return eps


def _last_for_unconditional(eps_u, wanted, scales):
    *others, last = wanted
    start = last if others else eps_u
    return start + sum(s * (e - start) for s, e in zip(scales, others or wanted))


def _draw_compose(g: torch.Generator):
    """One to five conditions; any of them may be unwanted, and of several one is."""
    n = turn(g, 5) + 1
    eps_u, *wanted = torch.randn(n + 1, *sizes(g, 4), generator=g)
    scales = [between(1.2, 4, g) for _ in range(n)]
    unwanted = torch.rand(n, generator=g) < 0.4
    if n > 1:
        unwanted[whole(0, n - 1, g)] = True
    return eps_u, wanted, [-0.5 * s if flip else s for s, flip in zip(scales, unwanted)]


compose = Check(
    "compose",
    reference=_compose,
    draw_inputs=_draw_compose,
    mistakes={
        "You never subtract eps_u: each condition contributes s(eps_i − eps_u), its difference.": (
            _wrong_compose(lambda u, total, scales, n, absolute: u + total)
        ),
        "You count eps_u once for each condition; it is the start, and counts once.": (
            _wrong_compose(lambda u, total, scales, n, absolute: n * u + total - scales * u)
        ),
        "You take the mean of the differences; each has its scale already, so take their sum.": (
            _wrong_compose(lambda u, total, scales, n, absolute: u + (total - scales * u) / n)
        ),
        "You lose the sign of a negative scale: it is what pushes away.": (
            _wrong_compose(lambda u, total, scales, n, absolute: u + absolute)
        ),
        "eps_u is missing at the front: this is the sum of the differences alone.": (
            _wrong_compose(lambda u, total, scales, n, absolute: total - scales * u)
        ),
        "You use the first condition only.": (
            lambda u, wanted, scales: u + scales[0] * (wanted[0] - u)
        ),
        "You use the last condition only; add to what the loop has so far.": (
            lambda u, wanted, scales: u + scales[-1] * (wanted[-1] - u)
        ),
        "You leave out the negative scales; they count too, and push away.": (
            lambda u, wanted, scales: u + sum(s * (e - u) for s, e in zip(scales, wanted) if s > 0)
        ),
        "You take the last condition in the place of eps_u, as some programs do with a negative "
        "prompt; here every difference starts from eps_u.": _last_for_unconditional,
        "You guide one after another, so that each starts from what the last one left; all "
        "start from eps_u.": _one_after_another,
        "Every difference starts from the first condition; all start from eps_u.": (
            lambda u, wanted, scales: u + sum(s * (e - wanted[0]) for s, e in zip(scales, wanted))
        ),
    },
    against=Composed,
)
