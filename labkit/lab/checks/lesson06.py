"""The checks of lesson 06: guidance without a classifier, and the mistakes that it invites."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labkit.conditioning import Conditioning
from labkit.denoiser import MapX0, Prediction, clip, from_eps
from labkit.guidance import ClassifierFree
from labkit.lab.checks.framework import Check
from labkit.schedule import NoiseSchedule, linear


def _between(low: float, high: float, g: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=g).item()


class _Says:
    """A denoiser that has answered already: eps_c for the first half of a batch, eps_u after it."""

    schedule = linear(100)

    def __init__(self, eps_c: Tensor, eps_u: Tensor, schedule: NoiseSchedule | None = None):
        self.answers, self.schedule = torch.cat([eps_c, eps_u]), schedule or self.schedule

    def __call__(self, x: Tensor, t: int, cond: Conditioning | None = None) -> Prediction:
        return from_eps(self.schedule, x, t, self.answers)


NULL = Conditioning(vector=torch.zeros(1, 1))


def _guided(eps_c: Tensor, eps_u: Tensor, scale: float) -> Tensor:
    cond = Conditioning(vector=torch.ones(1, 1))
    return ClassifierFree(_Says(eps_c, eps_u), NULL, scale)(torch.zeros_like(eps_c), 50, cond).eps


# 1. The paper's formula, with the paper's w.


def _guide_by_w(eps_c: Tensor, eps_u: Tensor, w: float) -> Tensor:
    return _guided(eps_c, eps_u, 1 + w)


guide_by_w = Check(
    "guide_by_w",
    reference=_guide_by_w,
    draw_inputs=lambda g: (*torch.randn(2, 4, 1, 3, 3, generator=g), _between(1.5, 5, g)),
    mistakes={
        "You took w for the scale: eps_u + w(eps_c − eps_u) is GLIDE's convention, where the "
        "number is the paper's w plus 1.": lambda c, u, w: u + w * (c - u),
        "The two predictions have changed places: this flees from the condition.": (
            lambda c, u, w: (1 + w) * u - w * c
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
    against="labkit.guidance.ClassifierFree with scale = 1 + w",
)


# 2. The classifier that is hidden in the difference.


def _implicit_gradient(eps_c: Tensor, eps_u: Tensor, alpha_bar: float) -> Tensor:
    return -(eps_c - eps_u) / math.sqrt(1 - alpha_bar)


def _wrong_implicit(divide=lambda alpha_bar: math.sqrt(1 - alpha_bar), sign=-1):
    return lambda eps_c, eps_u, alpha_bar: sign * (eps_c - eps_u) / divide(alpha_bar)


implicit_gradient = Check(
    "implicit_gradient",
    reference=_implicit_gradient,
    draw_inputs=lambda g: (*torch.randn(2, 4, 1, 3, 3, generator=g), _between(0.1, 0.7, g)),
    mistakes={
        "The sign is wrong: a score is minus eps over √(1−ᾱ_t).": _wrong_implicit(sign=1),
        "You forgot to divide by √(1−ᾱ_t): this is a difference of noises, not yet of scores.": (
            _wrong_implicit(lambda alpha_bar: 1.0)
        ),
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


# 3. Dropping the label, row by row.


def _drop_labels(vector: Tensor, null: Tensor, p: float, dice: Tensor) -> Tensor:
    return torch.where((dice < p)[:, None], null, vector)


def _draw_drop(g: torch.Generator):
    """Rows of which some stay and some go, the first row either way."""
    classes, rows = 4, 12
    vector = torch.eye(classes)[1 + torch.randint(3, (rows,), generator=g)]  # never class 0
    p, dice = _between(0.2, 0.4, g), torch.rand(rows, generator=g)
    dice[:3] = torch.tensor([0.1, 0.5, 0.9])[torch.randperm(3, generator=g)]
    return vector, torch.randn(classes, generator=g), p, dice


drop_labels = Check(
    "drop_labels",
    reference=_drop_labels,
    draw_inputs=_draw_drop,
    mistakes={
        "You decide once for the whole batch, by the first throw; every row has its own: "
        "(dice < p)[:, None].": lambda vector, null, p, dice: (
            null.expand_as(vector) if dice[0] < p else vector
        ),
        "You drop the row when its throw is over p, so 1 − p of the labels are lost.": (
            lambda vector, null, p, dice: torch.where((dice >= p)[:, None], null, vector)
        ),
        "You put class 0 where the null belongs: the network would learn that nothing in "
        "particular looks like class 0.": lambda vector, null, p, dice: torch.where(
            (dice < p)[:, None], torch.eye(vector.shape[1])[0], vector
        ),
        "You put zeros where the null belongs. In some models the null is zeros; here it is the "
        "row that you were given: data, not a constant.": lambda vector, null, p, dice: (
            vector * (dice >= p)[:, None]
        ),
        "You add the null to the label; it has to take its place.": (
            lambda vector, null, p, dice: vector + (dice < p)[:, None] * null
        ),
        "You leave the dropped rows out; they have to stay, with the null in their place: they "
        "are what teaches the network the unconditional score.": (
            lambda vector, null, p, dice: vector[dice >= p]
        ),
    },
    against="labkit.conditioning.Conditioning.drop",
)


# 4. A network that also answers how unsure it is.


def _guide_channels(out_c: Tensor, out_u: Tensor, scale: float) -> Tensor:
    (eps_c, variance), (eps_u, _) = out_c.chunk(2, dim=1), out_u.chunk(2, dim=1)
    return torch.cat([_guided(eps_c, eps_u, scale), variance], dim=1)


def _wrong_channels(keep=lambda c, u, s: c, axis: int = 1, eps=lambda c, u, s: u + s * (c - u)):
    """Guided channels in which one thing can be wrong; keep: what becomes of the variance."""

    def guide_channels(out_c, out_u, scale):
        (eps_c, var_c), (eps_u, var_u) = out_c.chunk(2, dim=axis), out_u.chunk(2, dim=axis)
        return torch.cat([eps(eps_c, eps_u, scale), keep(var_c, var_u, scale)], dim=axis)

    return guide_channels


guide_channels = Check(
    "guide_channels",
    reference=_guide_channels,
    draw_inputs=lambda g: (*torch.randn(2, 4, 6, 4, 4, generator=g), _between(1.5, 5, g)),
    mistakes={
        "You guide the variance as well; only the first half of the channels, eps, is guided. "
        "The rest says how long the dice are, and must stay in its range.": (
            _wrong_channels(lambda c, u, s: u + s * (c - u))
        ),
        "You keep the unconditional variance; keep the conditional one, as the released code "
        "does.": _wrong_channels(lambda c, u, s: u),
        "You average the two variances; keep the conditional one.": (
            _wrong_channels(lambda c, u, s: (c + u) / 2)
        ),
        "You return eps alone; the variance's channels have to come along.": (
            lambda c, u, s: u[:, :3] + s * (c[:, :3] - u[:, :3])
        ),
        "You guide the second half of the channels and keep the first; eps comes first.": (
            lambda c, u, s: torch.cat([c[:, :3], u[:, 3:] + s * (c[:, 3:] - u[:, 3:])], 1)
        ),
        "You split the rows of the picture, not its channels: those are dimension 1.": (
            _wrong_channels(axis=2)
        ),
        "Your scale is the paper's w: here 1 means just the condition, eps_u + s(eps_c − eps_u).": (
            _wrong_channels(eps=lambda c, u, s: (1 + s) * c - s * u)
        ),
    },
    against="labkit.guidance.ClassifierFree",
)


# 5. Several conditions, some of them unwanted.


def _compose(eps_u: Tensor, wanted: list[Tensor], scales: list[float]) -> Tensor:
    shifts = [_guided(eps, eps_u, scale) - eps_u for eps, scale in zip(wanted, scales)]
    return eps_u + sum(shifts)


def _wrong_compose(end: Callable):
    """end: (eps_u, sum of scaled eps, sum of scales, number, sum of |scale| differences)."""

    def compose(eps_u, wanted, scales):
        total = sum(scale * eps for scale, eps in zip(scales, wanted))
        absolute = sum(abs(scale) * (eps - eps_u) for scale, eps in zip(scales, wanted))
        return end(eps_u, total, sum(scales), len(scales), absolute)

    return compose


def _draw_compose(g: torch.Generator):
    eps_u, *wanted = torch.randn(4, 4, 1, 3, 3, generator=g)
    return eps_u, wanted, [_between(2, 4, g), _between(1, 2, g), -_between(0.5, 1.5, g)]


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
        "You take the mean of the pulls; each has its own scale already, so take their sum.": (
            _wrong_compose(lambda u, total, scales, n, absolute: u + (total - scales * u) / n)
        ),
        "You lose the sign of a negative scale: it is what pushes away.": (
            _wrong_compose(lambda u, total, scales, n, absolute: u + absolute)
        ),
        "eps_u is missing at the front: this is the sum of the pulls alone.": (
            _wrong_compose(lambda u, total, scales, n, absolute: total - scales * u)
        ),
        "You use the first condition only.": (
            lambda u, wanted, scales: u + scales[0] * (wanted[0] - u)
        ),
        "Every pull starts from the first condition; all start from eps_u.": (
            lambda u, wanted, scales: u + sum(s * (e - wanted[0]) for s, e in zip(scales, wanted))
        ),
    },
    against="labkit.guidance.ClassifierFree, added up",
)


# 6. First guide, then clip, then be consistent.


def _guide_then_clip(
    schedule: NoiseSchedule, x: Tensor, t: int, eps_c: Tensor, eps_u: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    cond = Conditioning(vector=torch.ones(1, 1))
    guided = ClassifierFree(_Says(eps_c, eps_u, schedule), NULL, scale)
    pred = MapX0(guided, clip)(x, t, cond)
    return pred.x0, pred.eps


def _wrong_clip(first=lambda x0: x0, last=clip, again=True, use=lambda scale: scale):
    """Guidance and clipping in which one thing can be wrong."""

    def guide_then_clip(schedule, x, t, eps_c, eps_u, scale):
        signal, noise = schedule.signal(t, x), schedule.noise(t, x)
        c, u = (first((x - noise * eps) / signal) for eps in (eps_c, eps_u))
        x0 = u + use(scale) * (c - u)
        eps = (x - signal * (last(x0) if again else x0)) / noise
        return last(x0), eps

    return guide_then_clip


def _draw_clip(g: torch.Generator):
    schedule, t = linear(1000), int(torch.randint(250, 400, (), generator=g))
    x0 = 0.7 * torch.randn(4, 1, 4, 4, generator=g)
    eps, other = torch.randn(2, 4, 1, 4, 4, generator=g)
    x = schedule.diffuse(x0, t, eps)
    return schedule, x, t, eps + 0.3 * other, eps - 0.3 * other, _between(1.5, 4, g)


guide_then_clip = Check(
    "guide_then_clip",
    reference=_guide_then_clip,
    draw_inputs=_draw_clip,
    tolerance=1e-4,
    mistakes={
        "You clip the two guesses before guidance, which then leaves the range again: guide "
        "first, clip what comes out.": _wrong_clip(first=clip, last=lambda x0: x0),
        "You clip the two guesses before guidance and the result once more; what guidance would "
        "have done beyond the edge is lost. Clip once, at the end.": _wrong_clip(first=clip),
        "x0 is right, but eps still belongs to the picture before it was clipped; derive it "
        "again: (x − √ᾱ_t x0)/√(1−ᾱ_t).": _wrong_clip(again=False),
        "Nothing is clipped.": _wrong_clip(last=lambda x0: x0),
        "You use the paper's w: here 1 means just the condition, so take "
        "eps_u + scale(eps_c − eps_u).": _wrong_clip(use=lambda scale: 1 + scale),
        "x0 and eps have changed places: return (x0, eps).": (
            lambda *args: _wrong_clip()(*args)[::-1]
        ),
        "You clip eps; it is x0 that has a range.": lambda schedule, x, t, c, u, scale: (
            (x - schedule.noise(t, x) * clip(u + scale * (c - u))) / schedule.signal(t, x),
            clip(u + scale * (c - u)),
        ),
    },
    against="labkit.denoiser.MapX0 around ClassifierFree",
)
