"""The check of lesson 10 on an embedding as a short sequence of codes, and back."""

from functools import partial
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import size, whole
from labkit.systems.autoregressive_prior import AutoregressivePrior
from labkit.systems.embedding_codes import PCA, Buckets


def _codes_and_back(
    z: Tensor, mean: Tensor, axes: Tensor, low: Tensor, high: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    pca, buckets = PCA(len(mean), len(axes)), Buckets(len(axes), count)
    pca.mean, pca.axes, buckets.low, buckets.high = mean, axes, low, high
    prior = SimpleNamespace(pca=pca, buckets=buckets)
    codes = AutoregressivePrior.codes(prior, z)
    return codes, AutoregressivePrior.embedding(prior, codes)


def _place(z: Tensor, mean: Tensor, axes: Tensor, low: Tensor, width: Tensor) -> Tensor:
    """How many buckets of those widths lie below each coordinate, with a fraction."""
    return ((z - mean) @ axes.T - low) / width


def _middles(codes: Tensor, low: Tensor, width: Tensor) -> Tensor:
    return low + (codes + 0.5) * width


def _back(coordinates: Tensor, axes: Tensor, mean: Tensor) -> Tensor:
    return F.normalize(coordinates @ axes + mean, dim=1)


def _mean_left_out(z, mean, axes, low, high, count):
    codes, _ = _codes_and_back(z, mean, axes, low, high, count)
    return codes, F.normalize(_middles(codes, low, (high - low) / count) @ axes, dim=1)


def _edge(z, mean, axes, low, high, count, further):
    codes, _ = _codes_and_back(z, mean, axes, low, high, count)
    return codes, _back(low + (codes + further) * (high - low) / count, axes, mean)


def _rounded(z, mean, axes, low, high, count):
    width = (high - low) / count
    codes = _place(z, mean, axes, low, width).round().long().clamp(0, count - 1)
    return codes, _back(_middles(codes, low, width), axes, mean)


def _fewer(z, mean, axes, low, high, count):
    width = (high - low) / (count - 1)
    codes = _place(z, mean, axes, low, width).floor().long().clamp(0, count - 1)
    return codes, _back(_middles(codes, low, width), axes, mean)


def _not_clamped(z, mean, axes, low, high, count):
    width = (high - low) / count
    codes = _place(z, mean, axes, low, width).floor().long()
    return codes, _back(_middles(codes, low, width), axes, mean)


def _one_too_many(z, mean, axes, low, high, count):
    width = (high - low) / count
    codes = _place(z, mean, axes, low, width).floor().long().clamp(0, count)
    return codes, _back(_middles(codes, low, width), axes, mean)


def _from_one(z, mean, axes, low, high, count):
    codes, back = _codes_and_back(z, mean, axes, low, high, count)
    return codes + 1, back


def _one_range(z, mean, axes, low, high, count):
    low, high = low.amin().expand_as(low), high.amax().expand_as(high)
    return _codes_and_back(z, mean, axes, low, high, count)


def _of_any_length(z, mean, axes, low, high, count):
    codes, _ = _codes_and_back(z, mean, axes, low, high, count)
    return codes, _middles(codes, low, (high - low) / count) @ axes + mean


def _before_the_mean(z, mean, axes, low, high, count, again=False):
    codes, _ = _codes_and_back(z, mean, axes, low, high, count)
    back = F.normalize(_middles(codes, low, (high - low) / count) @ axes, dim=1) + mean
    return codes, F.normalize(back, dim=1) if again else back


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
    return mean + (low + inside * (high - low) / count) @ axes, mean, axes, low, high, count


codes_and_back = Check(
    "codes_and_back",
    reference=_codes_and_back,
    draw_inputs=_draw_codes,
    mistakes={
        "The mean is not taken away before the projection.": (
            lambda z, mean, *found: _codes_and_back(z + mean, mean, *found)
        ),
        "The mean is not added again on the way back.": _mean_left_out,
        "On the way back you take the lower edge of each bucket, so all errors go one way; its "
        "middle is never further away than half a bucket.": partial(_edge, further=0),
        "On the way back you take the upper edge of each bucket; take its middle.": partial(
            _edge, further=1
        ),
        "You round to the nearest edge; the number of a bucket is how many whole widths lie below: "
        "floor.": _rounded,
        "You cut the range into count − 1 buckets, as if the codes were the edges.": _fewer,
        "A value outside the range gets a code that does not exist; it belongs to the first or the "
        "last bucket: clamp.": _not_clamped,
        "The last code that you allow is `count`, which does not exist: 0 … count − 1.": (
            _one_too_many
        ),
        "The codes begin at 1; they are 0 … count − 1.": _from_one,
        "All components share one range; the later ones vary less, and would fall into few "
        "buckets.": _one_range,
        "The embedding that comes back is no unit vector; bring it to length 1.": _of_any_length,
        "You bring the coordinates to length 1 before the mean is added, which makes the mean too "
        "small or too large: add it first.": [
            _before_the_mean,
            partial(_before_the_mean, again=True),
        ],
    },
    against=AutoregressivePrior.embedding,
)
