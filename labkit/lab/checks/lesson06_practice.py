"""The checks of lesson 06 on practice: dropped labels, a learned variance, and clipping."""

import torch
from torch import Tensor

from labkit.conditioning import Conditioning
from labkit.denoiser import MapX0, clip
from labkit.guidance import ClassifierFree
from labkit.lab.checks.framework import Check
from labkit.lab.checks.lesson06_formula import NULL, Says, guide
from labkit.lab.checks.random_inputs import between
from labkit.schedule import NoiseSchedule, linear

# Dropping the label, row by row.


def _drop_labels(vector: Tensor, null: Tensor, p: float, dice: Tensor) -> Tensor:
    return torch.where((dice < p)[:, None], null, vector)


def _draw_drop(g: torch.Generator):
    """Rows of which some stay and some go, the first row either way."""
    classes, rows = 4, 12
    vector = torch.eye(classes)[1 + torch.randint(3, (rows,), generator=g)]  # never class 0
    p, dice = between(0.2, 0.4, g), torch.rand(rows, generator=g)
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


# A network that also answers how unsure it is.


def _guide_channels(out_c: Tensor, out_u: Tensor, scale: float) -> Tensor:
    (eps_c, variance), (eps_u, _) = out_c.chunk(2, dim=1), out_u.chunk(2, dim=1)
    return torch.cat([guide(eps_c, eps_u, scale), variance], dim=1)


def _wrong_channels(keep=lambda c, u, s: c, axis: int = 1, eps=lambda c, u, s: u + s * (c - u)):
    """Guided channels in which one thing can be wrong; keep: what becomes of the variance."""

    def guide_channels(out_c, out_u, scale):
        (eps_c, var_c), (eps_u, var_u) = out_c.chunk(2, dim=axis), out_u.chunk(2, dim=axis)
        return torch.cat([eps(eps_c, eps_u, scale), keep(var_c, var_u, scale)], dim=axis)

    return guide_channels


guide_channels = Check(
    "guide_channels",
    reference=_guide_channels,
    draw_inputs=lambda g: (*torch.randn(2, 4, 6, 4, 4, generator=g), between(1.5, 5, g)),
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


# First guide, then clip, then be consistent.


def _guide_then_clip(
    schedule: NoiseSchedule, x: Tensor, t: int, eps_c: Tensor, eps_u: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    cond = Conditioning(vector=torch.ones(1, 1))
    guided = ClassifierFree(Says(eps_c, eps_u, schedule), NULL, scale)
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
    against="labkit.denoiser.MapX0 around ClassifierFree",
)
