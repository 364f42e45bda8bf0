"""The checks of lesson 06 on practice: dropped labels, a learned variance, and clipping."""

import torch
from torch import Tensor

from labkit.conditioning import Conditioning
from labkit.denoiser import MapX0, Prediction, clip, from_eps, from_x0
from labkit.guidance import ClassifierFree
from labkit.lab.checks.framework import Check
from labkit.lab.checks.lesson06_formula import NULL, says_both
from labkit.lab.checks.random_inputs import Given, between, chances, size, sizes, turn, whole
from labkit.schedule import NoiseSchedule, linear

# Dropping the label, row by row.


def _drop_labels(vector: Tensor, null: Tensor, p: float, u: Tensor) -> Tensor:
    with Given(rand=u):
        return Conditioning(vector=vector).drop(Conditioning(vector=null[None]), vector=p).vector


def _draw_drop(g: torch.Generator):
    """Rows of which some stay and some go. A vector need not be one-hot."""
    classes, rows = size(g, 2, 7) + 10 * turn(g, 2), size(g, 4, 12)
    vector = torch.randn(rows, classes, generator=g)
    u, p = chances(g, rows)
    return vector, torch.randn(classes, generator=g), p, u


drop_labels = Check(
    "drop_labels",
    reference=_drop_labels,
    draw_inputs=_draw_drop,
    mistakes={
        "You decide once for the whole batch, by the first number; every row has its own: "
        "(u < p)[:, None].": lambda vector, null, p, u: (
            null.expand_as(vector) if u[0] < p else vector
        ),
        "You drop the row when its number is over p, so 1 − p of the labels are lost.": (
            lambda vector, null, p, u: torch.where((u >= p)[:, None], null, vector)
        ),
        "A row with exactly p stays: a row is dropped below p, u < p, so that p = 0 drops "
        "none.": lambda vector, null, p, u: torch.where((u <= p)[:, None], null, vector),
        "You put class 0 where the null belongs: the network would learn that nothing in "
        "particular looks like class 0.": lambda vector, null, p, u: torch.where(
            (u < p)[:, None], torch.eye(vector.shape[1])[0], vector
        ),
        "You put zeros where the null belongs. In some models the null is zeros; here it is the "
        "row that you were given: data, not a constant.": lambda vector, null, p, u: (
            vector * (u >= p)[:, None]
        ),
        "You add the null to the label; it has to take its place.": (
            lambda vector, null, p, u: vector + (u < p)[:, None] * null
        ),
        "You leave the dropped rows out; they have to stay, with the null in their place: they "
        "are what teaches the network the unconditional score.": (
            lambda vector, null, p, u: vector[u >= p]
        ),
    },
    against=Conditioning.drop,
)


# A network with a learned variance.


class _WithVariance:
    """A denoiser that has answered already, with a variance: the condition's half first."""

    schedule = linear(100)

    def __init__(self, out_c: Tensor, out_u: Tensor):
        self.eps, self.variance = torch.cat([out_c, out_u]).chunk(2, dim=1)

    def __call__(self, x: Tensor, t: int, cond: Conditioning | None = None) -> Prediction:
        return Prediction(x, self.eps, self.variance)


def _guide_channels(out_c: Tensor, out_u: Tensor, scale: float) -> Tensor:
    x, cond = out_c.chunk(2, dim=1)[0], Conditioning(vector=torch.ones(1, 1))
    pred = ClassifierFree(_WithVariance(out_c, out_u), NULL, scale)(x, 50, cond)
    return torch.cat([pred.eps, pred.var_frac], dim=1)


def _guided(c: Tensor, u: Tensor, scale: float) -> Tensor:
    return u + scale * (c - u)


def _halves(out: Tensor, dim: int = 1) -> tuple[Tensor, Tensor]:
    """What stands for eps, and what for the variance."""
    return out.chunk(2, dim=dim)


def _unconditional_variance(out_c, out_u, scale):
    eps = _guided(_halves(out_c)[0], _halves(out_u)[0], scale)
    return torch.cat([eps, _halves(out_u)[1]], dim=1)


def _average_variance(out_c, out_u, scale):
    eps = _guided(_halves(out_c)[0], _halves(out_u)[0], scale)
    return torch.cat([eps, (_halves(out_c)[1] + _halves(out_u)[1]) / 2], dim=1)


def _by_the_paper_s_w(out_c, out_u, scale):
    eps = (1 + scale) * _halves(out_c)[0] - scale * _halves(out_u)[0]
    return torch.cat([eps, _halves(out_c)[1]], dim=1)


def _second_half(out_c, out_u, scale):
    variance = _guided(_halves(out_c)[1], _halves(out_u)[1], scale)
    return torch.cat([_halves(out_c)[0], variance], dim=1)


def _split_rows(out_c, out_u, scale):
    eps = _guided(_halves(out_c, 2)[0], _halves(out_u, 2)[0], scale)
    return torch.cat([eps, _halves(out_c, 2)[1]], dim=2)


def _rgb_only(out_c, out_u, scale):
    return torch.cat([_guided(out_c[:, :3], out_u[:, :3], scale), out_c[:, 3:]], dim=1)


def _draw_channels(g: torch.Generator):
    B, C, H, W = sizes(g, 4)
    return *torch.randn(2, B, 2 * C, H, W, generator=g), between(1.5, 5, g)


guide_channels = Check(
    "guide_channels",
    reference=_guide_channels,
    draw_inputs=_draw_channels,
    mistakes={
        "You guide the variance as well; only the first half of the channels, eps, is guided. "
        "The rest says how large the noise of a step is, and must stay in its range.": _guided,
        "You keep the unconditional variance; keep the conditional one, as the released code "
        "does.": _unconditional_variance,
        "You average the two variances; keep the conditional one.": _average_variance,
        "You return eps alone; the variance's channels have to come along.": (
            lambda c, u, scale: _guided(_halves(c)[0], _halves(u)[0], scale)
        ),
        "You assume three channels of eps; there may be any number: take half of the channels.": (
            _rgb_only
        ),
        "You guide the second half of the channels and keep the first; eps comes first.": (
            _second_half
        ),
        "You split the rows of the picture, not its channels: those are dimension 1.": _split_rows,
        "Your scale is the paper's w: here 1 means just the condition, eps_u + s(eps_c − eps_u).": (
            _by_the_paper_s_w
        ),
    },
    against=ClassifierFree,
)


# First guide, then clip, then be consistent.


def _guide_then_clip(
    schedule: NoiseSchedule, x: Tensor, t: int, eps_c: Tensor, eps_u: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    cond = Conditioning(vector=torch.ones(1, 1))
    guided = ClassifierFree(says_both(eps_c, eps_u, schedule), NULL, scale)
    pred = MapX0(guided, clip)(x, t, cond)
    return pred.x0, pred.eps


def _guess(schedule: NoiseSchedule, x: Tensor, t: int, eps: Tensor) -> Tensor:
    return from_eps(schedule, x, t, eps).x0


def _eps(schedule: NoiseSchedule, x: Tensor, t: int, x0: Tensor) -> Tensor:
    return from_x0(schedule, x, t, x0).eps


def _clip_both_first(schedule, x, t, eps_c, eps_u, scale):
    c, u = (clip(_guess(schedule, x, t, eps)) for eps in (eps_c, eps_u))
    x0 = _guided(c, u, scale)
    return x0, _eps(schedule, x, t, x0)


def _clip_twice(schedule, x, t, eps_c, eps_u, scale):
    c, u = (clip(_guess(schedule, x, t, eps)) for eps in (eps_c, eps_u))
    x0 = clip(_guided(c, u, scale))
    return x0, _eps(schedule, x, t, x0)


def _keep_eps(schedule, x, t, eps_c, eps_u, scale):
    eps = _guided(eps_c, eps_u, scale)
    return clip(_guess(schedule, x, t, eps)), eps


def _clip_nothing(schedule, x, t, eps_c, eps_u, scale):
    eps = _guided(eps_c, eps_u, scale)
    return _guess(schedule, x, t, eps), eps


def _clip_eps(schedule, x, t, eps_c, eps_u, scale):
    eps = clip(_guided(eps_c, eps_u, scale))
    return _guess(schedule, x, t, eps), eps


def _draw_clip(g: torch.Generator):
    T = whole(300, 1000, g)
    schedule, t = linear(T), whole(T // 4, 2 * T // 5, g)
    x0, eps, other = torch.randn(3, *sizes(g, 4, 3, 7), generator=g)
    x0 = 0.7 * x0
    x = schedule.diffuse(x0, t, eps)
    return schedule, x, t, eps + 0.3 * other, eps - 0.3 * other, between(1.5, 4, g)


guide_then_clip = Check(
    "guide_then_clip",
    reference=_guide_then_clip,
    draw_inputs=_draw_clip,
    tolerance=1e-4,
    mistakes={
        "You clip the two guesses before guidance, which then leaves the range again: guide "
        "first, clip what comes out.": _clip_both_first,
        "You clip the two guesses before guidance and the result once more; what guidance would "
        "have done beyond the edge is lost. Clip once, at the end.": _clip_twice,
        "x0 is right, but eps still belongs to the picture before it was clipped; derive it "
        "again: (x − √ᾱ_t x0)/√(1−ᾱ_t).": _keep_eps,
        "Nothing is clipped.": _clip_nothing,
        "You use the paper's w: here 1 means just the condition, so take "
        "eps_u + scale(eps_c − eps_u).": (
            lambda schedule, x, t, c, u, scale: _guide_then_clip(schedule, x, t, c, u, 1 + scale)
        ),
        "x0 and eps have changed places: return (x0, eps).": (
            lambda *given: _guide_then_clip(*given)[::-1]
        ),
        "You clip eps; it is x0 that has a range.": _clip_eps,
    },
    against=MapX0,
)
