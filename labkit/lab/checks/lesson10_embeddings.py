"""The checks of lesson 10 on embeddings as what a prior learns: their size, their codes, and which
of several draws is kept."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, random_schedule, size, sizes, whole
from labkit.schedule import NoiseSchedule
from labkit.systems import diffusion_prior
from labkit.systems.autoregressive_prior import AutoregressivePrior
from labkit.systems.embedding_codes import PCA, Buckets

PAPER = 17.2  # the paper's factor, for its 1024 dimensions


def _unit(rows: int, D: int, g: torch.Generator) -> Tensor:
    return F.normalize(torch.randn(rows, D, generator=g), dim=1)


# As large as noise.


def _noised_embedding(
    schedule: NoiseSchedule, z: Tensor, t: int, eps: Tensor, std: float
) -> Tensor:
    return schedule.diffuse(std * z.shape[1] ** 0.5 * z, t, eps)


def _wrong_noised(
    scaled=lambda z, std: std * z.shape[1] ** 0.5 * z,
    signal=lambda a: a**0.5,
    noise=lambda a: (1 - a) ** 0.5,
    after=lambda x, z, std: x,
):
    """A noised embedding in which one thing can be wrong; a: ᾱ_t."""

    def noised_embedding(schedule, z, t, eps, std):
        a = schedule.alpha_bar[t].item()
        return after(signal(a) * scaled(z, std) + noise(a) * eps, z, std)

    return noised_embedding


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
        "left of it beside noise of 1. Multiply them by std · √D first.": _wrong_noised(
            lambda z, std: z
        ),
        "You multiply by std alone, which makes small entries smaller: the factor is std · √D.": (
            _wrong_noised(lambda z, std: std * z)
        ),
        "You multiply by √D alone, so that the entries have a standard deviation of 1; asked for "
        "is std, as that of pixels.": _wrong_noised(lambda z, std: z.shape[1] ** 0.5 * z),
        "You multiply by std · D; the entries of a unit vector are about 1/√D, so the factor has "
        "a root: std · √D.": _wrong_noised(lambda z, std: std * z.shape[1] * z),
        "You divide by √D; the entries are that small already: multiply.": _wrong_noised(
            lambda z, std: std * z / z.shape[1] ** 0.5
        ),
        "17.2 is the paper's factor for 1024 dimensions; here it is std · √D.": _wrong_noised(
            lambda z, std: PAPER * z
        ),
        "Your √D is that of the batch: D is the last dimension.": _wrong_noised(
            lambda z, std: std * z.shape[0] ** 0.5 * z
        ),
        "Each dimension is brought to that standard deviation over the batch by itself. One factor "
        "for all leaves the angles as they are.": _wrong_noised(
            lambda z, std: std * z / z.std(0, correction=0)
        ),
        "You multiply noise and all: first the embedding is scaled, then noised.": _wrong_noised(
            lambda z, std: z, after=lambda x, z, std: std * z.shape[1] ** 0.5 * x
        ),
        "The result is brought to unit length, and with it the noise: x_t stays as it is.": (
            _wrong_noised(after=lambda x, z, std: F.normalize(x, dim=1))
        ),
        "You took ᾱ_t where √ᾱ_t belongs.": _wrong_noised(signal=lambda a: a),
        "You took 1 − ᾱ_t where its root belongs.": _wrong_noised(noise=lambda a: 1 - a),
    },
    against=NoiseSchedule.diffuse,
)


# Codes and back.


def _codes_and_back(
    z: Tensor, mean: Tensor, axes: Tensor, low: Tensor, high: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    pca, buckets = PCA(len(mean), len(axes)), Buckets(len(axes), count)
    pca.mean, pca.axes, buckets.low, buckets.high = mean, axes, low, high
    prior = SimpleNamespace(pca=pca, buckets=buckets)
    codes = AutoregressivePrior.codes(prior, z)
    return codes, AutoregressivePrior.embedding(prior, codes)


def _wrong_codes(
    centered=lambda z, mean: z - mean,
    cut=lambda at, count: at.floor().clamp(0, count - 1),
    ranges=lambda low, high: (low, high),
    number=lambda count: count,
    middle=0.5,
    moved=lambda x, mean: x + mean,
    end=lambda x: F.normalize(x, dim=1),
):
    """Codes and back in which one thing can be wrong."""

    def codes_and_back(z, mean, axes, low, high, count):
        low, high = ranges(low, high)
        width = (high - low) / number(count)
        codes = cut((centered(z, mean) @ axes.T - low) / width, count).long()
        return codes, end(moved((low + (codes + middle) * width) @ axes, mean))

    return codes_and_back


def _draw_codes(g: torch.Generator):
    """Embeddings around a mean that is not 0, of which a few leave the range that was found: those
    of later pictures do. No value is near the edge of a bucket."""
    N, D, K = size(g, 6, 10), size(g, 7, 12), size(g, 3, 6)
    mean = 0.3 * torch.randn(D, generator=g)
    axes = torch.linalg.qr(torch.randn(D, D, generator=g)).Q[:, :K].T.contiguous()
    count = whole(8, 20, g)
    high = 0.3 + 0.3 * torch.rand(K, generator=g)
    low = -0.3 - 0.3 * torch.rand(K, generator=g)
    codes = torch.randint(0, count, (N, K), generator=g)
    codes[0, 0], codes[1, 1] = count + 1, -3
    inside = codes + 0.1 + 0.8 * torch.rand(N, K, generator=g)
    values = low + inside * (high - low) / count
    return mean + values @ axes, mean, axes, low, high, count


codes_and_back = Check(
    "codes_and_back",
    reference=_codes_and_back,
    draw_inputs=_draw_codes,
    mistakes={
        "The mean is not taken away before the projection.": _wrong_codes(
            centered=lambda z, mean: z
        ),
        "The mean is not added again on the way back.": _wrong_codes(moved=lambda x, mean: x),
        "On the way back you take the lower edge of each bucket, so all errors go one way; its "
        "middle is never further away than half a bucket.": _wrong_codes(middle=0.0),
        "On the way back you take the upper edge of each bucket; take its middle.": _wrong_codes(
            middle=1.0
        ),
        "You round to the nearest edge; the number of a bucket is how many whole widths lie below: "
        "floor.": _wrong_codes(cut=lambda at, count: at.round().clamp(0, count - 1)),
        "You cut the range into count − 1 buckets, as if the codes were the edges.": _wrong_codes(
            number=lambda count: count - 1
        ),
        "A value outside the range gets a code that does not exist; it belongs to the first or the "
        "last bucket: clamp.": _wrong_codes(cut=lambda at, count: at.floor()),
        "The last code that you allow is `count`, which does not exist: 0 … count − 1.": (
            _wrong_codes(cut=lambda at, count: at.floor().clamp(0, count))
        ),
        "The codes begin at 1; they are 0 … count − 1.": _wrong_codes(
            cut=lambda at, count: at.floor().clamp(0, count - 1) + 1, middle=-0.5
        ),
        "All components share one range; the later ones vary less, and would fall into few "
        "buckets.": _wrong_codes(
            ranges=lambda low, high: (low.amin().expand_as(low), high.amax().expand_as(high))
        ),
        "The embedding that comes back is no unit vector; bring it to length 1.": _wrong_codes(
            end=lambda x: x
        ),
    },
    against=AutoregressivePrior.embedding,
)


# The best of several draws.


def _best_of(candidates: Tensor, text: Tensor) -> Tensor:
    return diffusion_prior.nearest(F.normalize(candidates, dim=2), text)


def _kept(
    score=lambda candidates, text: (F.normalize(candidates, dim=2) * text).sum(2),
    best=lambda scores: scores.argmax(0),
    end=lambda z: F.normalize(z, dim=1),
):
    """The best of several in which one thing can be wrong."""

    def best_of(candidates, text):
        index = best(score(candidates, text)).expand(len(text))
        return end(candidates[index, torch.arange(len(text))])

    return best_of


def _farther(candidates: Tensor, text: Tensor) -> Tensor:
    return -(candidates - text).square().sum(2)


def _draw_candidates(g: torch.Generator):
    """Candidates of different lengths, as a sampler leaves them; for some rows the longest is not
    the nearest, nor the same one for all."""
    n, B, D = size(g, 2, 4), size(g, 5, 8), size(g, 6, 11)
    text = _unit(B, D, g)
    candidates = torch.randn(n, B, D, generator=g)
    candidates = candidates / candidates.norm(dim=2, keepdim=True)
    rows = torch.arange(B)
    cosine = (candidates * text).sum(2)
    candidates = torch.where(cosine[..., None] < 0, -candidates, candidates)  # (n, B, D)
    cosine = cosine.abs()
    length = 0.5 + torch.rand(n, B, generator=g)
    longest = cosine.argmin(0)  # of these the dot product is the largest, and also the distance
    length[longest, rows] = 1.5 * (cosine.amax(0) / cosine[longest, rows]).clamp(max=40)
    length[:, ::2] = 0.8  # and here no length decides
    return length[..., None] * candidates, text


best_of = Check(
    "best_of",
    reference=_best_of,
    draw_inputs=_draw_candidates,
    mistakes={
        "The candidates are compared at their own lengths, so that a long one wins; bring each to "
        "length 1 before the dot product, the text as well.": [
            _kept(lambda candidates, text: (candidates * text).sum(2)),
            _kept(_farther),
        ],
        "What you return has not length 1: CLIP's embeddings are unit vectors.": _kept(
            end=lambda z: z
        ),
        "You keep the farthest candidate.": _kept(best=lambda scores: scores.argmin(0)),
        "You decide once for the whole batch; each row keeps its own best.": [
            _kept(best=lambda scores: scores.mean(1).argmax()),
            _kept(best=lambda scores: scores.amax(1).argmax()),
        ],
        "You always keep the first candidate.": _kept(best=lambda scores: 0 * scores.argmax(0)),
        "You average the candidates; that is a mean, which is no embedding of a picture. Keep one "
        "of them.": lambda candidates, text: F.normalize(
            F.normalize(candidates, dim=2).mean(0), dim=1
        ),
        "You keep the longest candidate; the nearest is asked for.": _kept(
            lambda candidates, text: candidates.norm(dim=2)
        ),
    },
    against=diffusion_prior.nearest,
)
