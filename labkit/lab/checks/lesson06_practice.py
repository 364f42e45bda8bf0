"""The checks of lesson 06 on practice: dropped labels, a learned variance, and clipping."""

import torch
from torch import Tensor

from labkit.conditioning import Conditioning
from labkit.denoiser import MapX0, Prediction, clip
from labkit.guidance import ClassifierFree
from labkit.lab.checks.framework import Check
from labkit.lab.checks.lesson06_formula import NULL, Fixed
from labkit.lab.checks.random_inputs import Given, between, size, sizes, turn, whole
from labkit.schedule import NoiseSchedule, linear

# Dropping the label, row by row.


def _drop_labels(vector: Tensor, null: Tensor, p: float, u: Tensor) -> Tensor:
    with Given(rand=u):
        return Conditioning(vector=vector).drop(Conditioning(vector=null[None]), vector=p).vector


def _draw_drop(g: torch.Generator):
    """Rows of which some stay and some go; one number is p itself, and p may also be 0. A vector
    need not be one-hot."""
    classes, rows = size(g, 2, 7) + 10 * turn(g, 2), size(g, 4, 12)
    vector = torch.randn(rows, classes, generator=g)
    u = torch.rand(rows, generator=g)
    order = torch.randperm(rows, generator=g)
    edge = 0.0 if turn(g, 4) == 0 else between(0.2, 0.4, g)
    u[order[:4]] = torch.tensor([0.1, 0.5, 0.9, edge])
    return vector, torch.randn(classes, generator=g), u[order[3]].item(), u


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


def _wrong_channels(keep=lambda c, u, s: c, axis: int = 1, eps=lambda c, u, s: u + s * (c - u)):
    """Guided channels in which one thing can be wrong; keep: what becomes of the variance."""

    def guide_channels(out_c, out_u, scale):
        (eps_c, var_c), (eps_u, var_u) = out_c.chunk(2, dim=axis), out_u.chunk(2, dim=axis)
        return torch.cat([eps(eps_c, eps_u, scale), keep(var_c, var_u, scale)], dim=axis)

    return guide_channels


def _eps_alone(c: Tensor, u: Tensor, s: float) -> Tensor:
    half = c.shape[1] // 2
    return u[:, :half] + s * (c[:, :half] - u[:, :half])


def _second_half(c: Tensor, u: Tensor, s: float) -> Tensor:
    half = c.shape[1] // 2
    return torch.cat([c[:, :half], u[:, half:] + s * (c[:, half:] - u[:, half:])], 1)


def _rgb_only(c: Tensor, u: Tensor, s: float) -> Tensor:
    return torch.cat([u[:, :3] + s * (c[:, :3] - u[:, :3]), c[:, 3:]], 1)


def _draw_channels(g: torch.Generator):
    B, C, H, W = sizes(g, 4)
    return *torch.randn(2, B, 2 * C, H, W, generator=g), between(1.5, 5, g)


guide_channels = Check(
    "guide_channels",
    reference=_guide_channels,
    draw_inputs=_draw_channels,
    mistakes={
        "You guide the variance as well; only the first half of the channels, eps, is guided. "
        "The rest says how large the noise of a step is, and must stay in its range.": (
            _wrong_channels(lambda c, u, s: u + s * (c - u))
        ),
        "You keep the unconditional variance; keep the conditional one, as the released code "
        "does.": _wrong_channels(lambda c, u, s: u),
        "You average the two variances; keep the conditional one.": (
            _wrong_channels(lambda c, u, s: (c + u) / 2)
        ),
        "You return eps alone; the variance's channels have to come along.": _eps_alone,
        "You count on three channels of eps; there may be any number: half of those that come.": (
            _rgb_only
        ),
        "You guide the second half of the channels and keep the first; eps comes first.": (
            _second_half
        ),
        "You split the rows of the picture, not its channels: those are dimension 1.": (
            _wrong_channels(axis=2)
        ),
        "Your scale is the paper's w: here 1 means just the condition, eps_u + s(eps_c − eps_u).": (
            _wrong_channels(eps=lambda c, u, s: (1 + s) * c - s * u)
        ),
    },
    against=ClassifierFree,
)


# First guide, then clip, then be consistent.


def _guide_then_clip(
    schedule: NoiseSchedule, x: Tensor, t: int, eps_c: Tensor, eps_u: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    cond = Conditioning(vector=torch.ones(1, 1))
    guided = ClassifierFree(Fixed(eps_c, eps_u, schedule), NULL, scale)
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
    against=MapX0,
)
