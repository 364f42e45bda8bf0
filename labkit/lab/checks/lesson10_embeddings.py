"""The checks of lesson 10 on embeddings as what a prior learns: their size, and which of several
draws is kept."""

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, random_schedule, size, sizes, whole
from labkit.schedule import NoiseSchedule
from labkit.systems import diffusion_prior


def _unit(rows: int, D: int, g: torch.Generator) -> Tensor:
    return F.normalize(torch.randn(rows, D, generator=g), dim=1)


# As large as noise.


def _larger(z: Tensor, std: float) -> Tensor:
    return std * z.shape[1] ** 0.5 * z


def _noised_embedding(
    schedule: NoiseSchedule, z: Tensor, t: int, eps: Tensor, std: float
) -> Tensor:
    return schedule.diffuse(_larger(z, std), t, eps)


def _draw_noised(g: torch.Generator):
    B, D = sizes(g, 2, 3, 9)
    schedule = random_schedule(g)
    z, eps = _unit(B, D, g), torch.randn(B, D, generator=g)
    return schedule, z, whole(5, 30, g), eps, between(0.4, 0.7, g)


noised_embedding = Check(
    "noised_embedding",
    reference=_noised_embedding,
    draw_inputs=_draw_noised,
    mistakes={
        "The unit vectors are noised as they are: an entry of theirs is about 1/√D, and little is "
        "left of it beside noise of 1. Multiply them by std · √D first.": (
            lambda schedule, z, t, eps, std: schedule.diffuse(z, t, eps)
        ),
        "You multiply by std alone, which makes small entries smaller: the factor is std · √D.": (
            lambda schedule, z, t, eps, std: schedule.diffuse(std * z, t, eps)
        ),
        "You multiply by √D alone, so that the entries have a standard deviation of 1; asked for "
        "is std, as that of pixels.": (
            lambda schedule, z, t, eps, std: schedule.diffuse(_larger(z, 1.0), t, eps)
        ),
        "You multiply by std · D; the entries of a unit vector are about 1/√D, so the factor has "
        "a root: std · √D.": (
            lambda schedule, z, t, eps, std: schedule.diffuse(std * z.shape[1] * z, t, eps)
        ),
        "You divide by √D; the entries are that small already: multiply.": (
            lambda schedule, z, t, eps, std: schedule.diffuse(std * z / z.shape[1] ** 0.5, t, eps)
        ),
        "17.2 is the paper's factor for 1024 dimensions; here it is std · √D.": (
            lambda schedule, z, t, eps, std: schedule.diffuse(17.2 * z, t, eps)
        ),
        "You take the lesson's own numbers, .5375 or 6.08; the standard deviation is `std`, and "
        "the factor std · √D.": [
            lambda schedule, z, t, eps, std: schedule.diffuse(_larger(z, 0.5375), t, eps),
            lambda schedule, z, t, eps, std: schedule.diffuse(0.5375 * 128**0.5 * z, t, eps),
            lambda schedule, z, t, eps, std: schedule.diffuse(6.08 * z, t, eps),
        ],
        "√128 is that of this lesson's CLIP; D is the last dimension of z, z.shape[1].": (
            lambda schedule, z, t, eps, std: schedule.diffuse(std * 128**0.5 * z, t, eps)
        ),
        "Your √D is that of the batch: D is the last dimension.": (
            lambda schedule, z, t, eps, std: schedule.diffuse(std * len(z) ** 0.5 * z, t, eps)
        ),
        "Each dimension is brought to that standard deviation over the batch by itself. One factor "
        "for all leaves the angles as they are.": (
            lambda schedule, z, t, eps, std: schedule.diffuse(
                std * z / z.std(0, correction=0), t, eps
            )
        ),
        "The noise is scaled as well, by std or by std · √D; it keeps its standard deviation of 1. "
        "Only the embedding is scaled.": [
            lambda schedule, z, t, eps, std: schedule.diffuse(_larger(z, std), t, std * eps),
            lambda schedule, z, t, eps, std: _larger(schedule.diffuse(z, t, eps), std),
        ],
        "The noise is subtracted; x_t is √ᾱ_t of the embedding plus √(1 − ᾱ_t) of eps.": (
            lambda schedule, z, t, eps, std: schedule.diffuse(_larger(z, std), t, -eps)
        ),
        "Signal and noise are exchanged: √ᾱ_t belongs to the embedding, √(1 − ᾱ_t) to eps.": (
            lambda schedule, z, t, eps, std: schedule.diffuse(eps, t, _larger(z, std))
        ),
        "You noise to time t − 1 or t + 1: ᾱ has an entry for time 0, so that of time t stands at "
        "t.": [
            lambda schedule, z, t, eps, std: schedule.diffuse(_larger(z, std), t - 1, eps),
            lambda schedule, z, t, eps, std: schedule.diffuse(_larger(z, std), t + 1, eps),
        ],
        "The result is brought to unit length, and with it the noise: x_t stays as it is.": (
            lambda schedule, z, t, eps, std: F.normalize(
                schedule.diffuse(_larger(z, std), t, eps), dim=1
            )
        ),
        "You took ᾱ_t where √ᾱ_t belongs.": (
            lambda schedule, z, t, eps, std: (
                schedule.signal(t, z) ** 2 * _larger(z, std) + schedule.noise(t, z) * eps
            )
        ),
        "You took 1 − ᾱ_t where its root belongs.": (
            lambda schedule, z, t, eps, std: (
                schedule.signal(t, z) * _larger(z, std) + schedule.noise(t, z) ** 2 * eps
            )
        ),
    },
    against=NoiseSchedule.diffuse,
)


# The best of several draws.


def _best_of(candidates: Tensor, text: Tensor) -> Tensor:
    return diffusion_prior.nearest(F.normalize(candidates, dim=2), text)


def _cosines(candidates: Tensor, text: Tensor) -> Tensor:
    return (F.normalize(candidates, dim=2) * text).sum(2)  # (n, B)


def _rows(candidates: Tensor, index: Tensor) -> Tensor:
    """Candidate index[b] of each row b, at its own length."""
    return candidates[index, torch.arange(candidates.shape[1])]


def _kept(candidates: Tensor, index: Tensor) -> Tensor:
    return F.normalize(_rows(candidates, index), dim=1)


def _for_all(candidates: Tensor, scores: Tensor) -> Tensor:
    """The same candidate for every row, that of the largest score, (n,)."""
    return F.normalize(candidates[scores.argmax()], dim=1)


def _draw_candidates(g: torch.Generator):
    """Candidates of different lengths, as a sampler leaves them. In every other row the length
    decides, if it may, for the one that lies farthest from the text."""
    n, B, D = size(g, 2, 4), size(g, 5, 8), size(g, 6, 11)
    text, rows = _unit(B, D, g), torch.arange(B)
    candidates = F.normalize(torch.randn(n, B, D, generator=g), dim=2)
    cosine = (candidates * text).sum(2, keepdim=True)
    candidates, cosine = torch.where(cosine < 0, -candidates, candidates), cosine[..., 0].abs()
    length, farthest = 0.5 + torch.rand(n, B, generator=g), cosine.argmin(0)
    enough = 1.5 * cosine.amax(0) / cosine[farthest, rows]
    length[farthest, rows] = enough.clamp(max=40)
    length[:, ::2] = 0.8
    return length[..., None] * candidates, text


best_of = Check(
    "best_of",
    reference=_best_of,
    draw_inputs=_draw_candidates,
    mistakes={
        "The candidates are compared at their own lengths, so that a long one wins; bring each to "
        "length 1 before the dot product, the text as well.": [
            lambda candidates, text: _kept(candidates, (candidates * text).sum(2).argmax(0)),
            lambda candidates, text: _kept(candidates, (candidates - text).norm(dim=2).argmin(0)),
        ],
        "What you return has not length 1: CLIP's embeddings are unit vectors.": (
            lambda candidates, text: _rows(candidates, _cosines(candidates, text).argmax(0))
        ),
        "You keep the farthest candidate.": (
            lambda candidates, text: _kept(candidates, _cosines(candidates, text).argmin(0))
        ),
        "You decide once for the whole batch; each row keeps its own best.": [
            lambda candidates, text: _for_all(candidates, _cosines(candidates, text).mean(1)),
            lambda candidates, text: _for_all(candidates, _cosines(candidates, text).amax(1)),
        ],
        "You always keep the first candidate.": (
            lambda candidates, text: F.normalize(candidates[0], dim=1)
        ),
        "You average the candidates; that is a mean, which is no embedding of a picture. Keep one "
        "of them.": (
            lambda candidates, text: F.normalize(F.normalize(candidates, dim=2).mean(0), dim=1)
        ),
        "You keep the longest candidate; the nearest is asked for.": (
            lambda candidates, text: _kept(candidates, candidates.norm(dim=2).argmax(0))
        ),
    },
    against=diffusion_prior.nearest,
)
