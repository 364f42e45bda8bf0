"""The checks of lesson 06 on the formula: its w, what hides in it, and several conditions."""

import math

import torch
from torch import Tensor

from labkit.conditioning import Conditioning
from labkit.guidance import ClassifierFree, Composed
from labkit.lab.checks.answered import SaysEps
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, sizes, turn, whole
from labkit.schedule import NoiseSchedule, linear


def says_both(eps_c: Tensor, eps_u: Tensor, schedule: NoiseSchedule | None = None) -> SaysEps:
    """Says eps_c for the first rows of a batch, and eps_u for those after it."""
    return SaysEps(schedule or linear(100), torch.cat([eps_c, eps_u]))


NULL = Conditioning(vector=torch.zeros(1, 1))


def guide(eps_c: Tensor, eps_u: Tensor, scale: float) -> Tensor:
    cond = Conditioning(vector=torch.ones(1, 1))
    return ClassifierFree(says_both(eps_c, eps_u), NULL, scale)(
        torch.zeros_like(eps_c), 50, cond
    ).eps


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


implicit_gradient = Check(
    "implicit_gradient",
    reference=_implicit_gradient,
    draw_inputs=lambda g: (*torch.randn(2, *sizes(g, 4), generator=g), between(0.1, 0.7, g)),
    mistakes={
        "The sign is wrong: a score is minus eps over √(1−ᾱ_t).": (
            lambda c, u, a: (c - u) / math.sqrt(1 - a)
        ),
        "You forgot to divide by √(1−ᾱ_t): this is a difference of noises, not yet of scores.": (
            lambda c, u, a: u - c
        ),
        "This is the difference as it is: a score is minus eps over √(1−ᾱ_t), so the sign is wrong "
        "and the root is missing.": (lambda c, u, a: c - u),
        "You multiply by √(1−ᾱ_t); to turn noise into a score, divide.": (
            lambda c, u, a: (u - c) * math.sqrt(1 - a)
        ),
        "The root is missing: √(1−ᾱ_t).": (lambda c, u, a: (u - c) / (1 - a)),
        "You divide by √ᾱ_t, the share of the picture; the noise's share is √(1−ᾱ_t).": (
            lambda c, u, a: (u - c) / math.sqrt(a)
        ),
        "This is the conditional score, ∇log p(x_t|y); the classifier's is its difference from "
        "the unconditional one.": (lambda c, u, a: -c / math.sqrt(1 - a)),
    },
    against="Bayes' rule on the two scores",
)


# Several conditions, some of them unwanted.


def _compose(eps_u: Tensor, wanted: list[Tensor], scales: list[float]) -> Tensor:
    cond = Conditioning(vector=torch.ones(1, 1))
    composed = Composed(says_both(eps_u, torch.cat(wanted)), NULL, [(cond, s) for s in scales])
    return composed(torch.zeros_like(eps_u), 50).eps


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
            lambda u, wanted, scales: u + sum(s * e for s, e in zip(scales, wanted))
        ),
        "You count eps_u once for each condition; it is the start, and counts once.": (
            lambda u, wanted, scales: sum(u + s * (e - u) for s, e in zip(scales, wanted))
        ),
        "You take the mean of the differences; each has its scale already, so take their sum.": (
            lambda u, wanted, scales: (
                u + sum(s * (e - u) for s, e in zip(scales, wanted)) / len(scales)
            )
        ),
        "You lose the sign of a negative scale: it is what pushes away.": (
            lambda u, wanted, scales: u + sum(abs(s) * (e - u) for s, e in zip(scales, wanted))
        ),
        "eps_u is missing at the front: this is the sum of the differences alone.": (
            lambda u, wanted, scales: sum(s * (e - u) for s, e in zip(scales, wanted))
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
