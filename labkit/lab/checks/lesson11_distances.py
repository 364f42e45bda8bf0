"""The check of lesson 11 on T5's buckets in a decoder, where only earlier keys count: near
distances have a bucket each, far ones share."""

import math
from functools import partial

import torch
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import size, whole
from labkit.nets.t5 import distance_buckets


def _causal_bucket(distance: Tensor, buckets: int, reach: int) -> Tensor:
    return distance_buckets(distance, buckets, reach, causal=True)


def _growth(far: Tensor, exact: float, reach: float) -> Tensor:
    """0 at `exact`, 1 at `reach`, along a logarithm."""
    return (far.clamp(min=1).double() / exact).log() / math.log(reach / exact)


def _side(far: Tensor, buckets: int, reach: int, exact=None, growth=_growth, whole=Tensor.floor):
    """The bucket of distances `far`, of which those below `exact` have one each."""
    exact = exact or buckets // 2
    shared = (exact + whole(growth(far, exact, reach) * (buckets - exact))).long()
    return torch.where(far < exact, far, shared.clamp(max=buckets - 1))


def _earlier(side, far=lambda distance: (-distance).clamp(min=0)):
    """The answer with another side(far, buckets, reach), or another far(distance)."""
    return lambda distance, buckets, reach: side(far(distance), buckets, reach)


def _with(exact):
    """The answer in which those below exact(buckets) have a bucket each."""

    def side(far: Tensor, buckets: int, reach: int) -> Tensor:
        return _side(far, buckets, reach, exact(buckets))

    return _earlier(side)


def _not_clamped(far: Tensor, buckets: int, reach: int) -> Tensor:
    exact = buckets // 2
    shared = (exact + _growth(far, exact, reach) * (buckets - exact)).long()
    return torch.where(far < exact, far, shared)


def _last_is_buckets(far: Tensor, buckets: int, reach: int) -> Tensor:
    return _not_clamped(far, buckets, reach).clamp(max=buckets)


def _linear(far: Tensor, exact: float, reach: float) -> Tensor:
    return (far - exact).clamp(min=0).double() / (reach - exact)


def _draw_distances(g: torch.Generator):
    """Distances (N, N) on both sides, 0 and far ones among them; none of those whose logarithm is
    a whole number but for rounding."""
    buckets = 2 * whole(4, 14, g)
    reach = buckets + whole(20, 150, g)
    exact = buckets // 2
    far = torch.arange(2 * reach)
    place = _growth(far, exact, reach) * (buckets - exact)
    sure = ((place - place.round()).abs() > 1e-3) | (far <= exact) | (far >= reach)
    count = size(g, 7, 11) ** 2
    near = torch.randint(exact + 1, (count,), generator=g)
    chosen = far[sure][torch.randint(int(sure.sum()), (count,), generator=g)]
    chosen = torch.where(torch.rand(count, generator=g) < 0.4, near, chosen)
    chosen = chosen * (2 * (torch.rand(count, generator=g) < 0.3).long() - 1)
    chosen[:4] = torch.tensor([0, 1 - exact, exact - 1, 1 - 2 * reach])
    order = torch.randperm(count, generator=g)
    return chosen[order].unflatten(0, (math.isqrt(count), -1)), buckets, reach


causal_bucket = Check(
    "causal_bucket",
    reference=_causal_bucket,
    draw_inputs=_draw_distances,
    mistakes={
        "The sign is turned: a distance is key − query, so that below 0 the key stands earlier. "
        "Only earlier keys count.": _earlier(_side, lambda distance: distance.clamp(min=0)),
        "Later keys count like earlier ones: a decoder cannot see them, all are in bucket 0.": (
            _earlier(_side, Tensor.abs)
        ),
        "Later keys have a bucket below 0; all of them are in bucket 0: clamp(min=0).": _earlier(
            _side, Tensor.neg
        ),
        "That is the encoder's version, where each side has half of the buckets. Here earlier keys "
        "have all of them.": [
            lambda distance, buckets, reach: distance_buckets(distance, buckets, reach),
            lambda distance, buckets, reach: distance_buckets(-distance, buckets, reach),
            lambda distance, buckets, reach: distance_buckets(
                distance.clamp(max=0), buckets, reach
            ),
        ],
        "All distances have a bucket of their own, up to the last. Only half of the buckets hold "
        "one distance each; the others share by a logarithm.": _earlier(
            lambda far, buckets, reach: far.clamp(max=buckets - 1)
        ),
        "A quarter of the buckets hold one distance each, as in the encoder; here it is half of "
        "them.": _with(lambda buckets: buckets // 4),
        "One distance too few has a bucket of its own: those below n = buckets / 2.": _with(
            lambda buckets: buckets // 2 - 1
        ),
        "One distance too many has a bucket of its own: those below n = buckets / 2.": _with(
            lambda buckets: buckets // 2 + 1
        ),
        "No distance has a bucket of its own: those below n = buckets / 2 have.": _with(
            lambda buckets: 1
        ),
        "You round the logarithm; cut its fraction off, by floor() or long().": _earlier(
            partial(_side, whole=Tensor.round)
        ),
        "You round the logarithm up; cut its fraction off, by floor() or long().": _earlier(
            partial(_side, whole=Tensor.ceil)
        ),
        "Distances beyond `reach` have a bucket of their own; they are in the last one, "
        "buckets − 1.": _earlier(_not_clamped),
        "Your last bucket is `buckets`; they count from 0 to buckets − 1.": _earlier(
            _last_is_buckets
        ),
        "The distances that share grow evenly; they grow by a constant factor: a logarithm.": (
            _earlier(partial(_side, growth=_linear))
        ),
        "The logarithm is that of the distance itself; it is that of distance / n, so that it is 0 "
        "at n = buckets / 2.": _earlier(
            partial(
                _side,
                growth=lambda far, exact, reach: (
                    far.clamp(min=1).double().log() / math.log(reach / exact)
                ),
            )
        ),
        "You divide by the logarithm of `reach`; divide by that of reach / n, so that the last "
        "bucket ends at `reach`.": _earlier(
            partial(
                _side,
                growth=lambda far, exact, reach: (
                    (far.clamp(min=1).double() / exact).log() / math.log(reach)
                ),
            )
        ),
        "The two logarithms have different bases: take the same above and below.": [
            _earlier(
                partial(
                    _side,
                    growth=lambda far, exact, reach, log=log: (
                        log(far.clamp(min=1).double() / exact) / math.log(reach / exact)
                    ),
                )
            )
            for log in (torch.log2, torch.log10)
        ],
        "You take T5's own 32 buckets and reach of 128; take those that are given.": (
            lambda distance, buckets, reach: distance_buckets(distance, causal=True)
        ),
    },
    against=distance_buckets,
)
