"""The check of lesson 11 on dynamic thresholding."""

import torch
from torch import Tensor

from labkit.denoiser import dynamic_threshold
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, sizes


def _dynamic_thresholding(x0: Tensor, p: float) -> Tensor:
    return dynamic_threshold(p)(x0)


def _clipped(x0: Tensor, s: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(x0, -s), s)


def _quantile(x0: Tensor, p: float, axes: int = 1, **options) -> Tensor:
    """The p-quantile over all but the first axes, (B, 1, 1, 1) or (B, C, 1, 1)."""
    found = torch.quantile(x0.flatten(axes), p, dim=axes, **options)
    return found.view(*found.shape, *[1] * (x0.ndim - axes))


def _by(s):
    """The answer with another s(x0, p), not yet held at 1 or above."""

    def answer(x0: Tensor, p: float) -> Tensor:
        limit = s(x0, p).clamp(min=1)
        return _clipped(x0, limit) / limit

    return answer


def _with(finish):
    """The answer that uses the right s in another way: finish(x0, s)."""
    return lambda x0, p: finish(x0, _quantile(x0.abs(), p).clamp(min=1))


def _below_one(x0: Tensor, p: float) -> Tensor:
    s = _quantile(x0.abs(), p)
    return _clipped(x0, s) / s


def _at_most_one(x0: Tensor, p: float) -> Tensor:
    s = _quantile(x0.abs(), p).clamp(max=1)
    return _clipped(x0, s) / s


def _draw_guess(g: torch.Generator):
    """Guesses that reach farther below 0 than above it: one within [−1, 1], and one of which every
    number lies outside."""
    B, C, H, W = sizes(g, 4, 3, 7)
    width = 0.8 + 1.5 * torch.rand(B, C, 1, 1, generator=g)
    x0 = width * torch.randn(B, C, H, W, generator=g) - 0.7
    inside, outside = torch.randperm(B, generator=g)[:2]
    x0[inside] *= 0.15
    x0[outside] += 1.5 * x0[outside].sign()
    return x0, between(0.75, 0.95, g)


dynamic_thresholding = Check(
    "dynamic_thresholding",
    reference=_dynamic_thresholding,
    draw_inputs=_draw_guess,
    mistakes={
        "Your s is that of the whole batch, so that a picture depends on those beside it. Each "
        "picture has its own quantile.": _by(
            lambda x0, p: torch.quantile(x0.abs().flatten(), p).view(1, 1, 1, 1)
        ),
        "Each channel has its own s, which changes the colors. One s is for all numbers of a "
        "picture.": _by(lambda x0, p: _quantile(x0.abs(), p, axes=2)),
        "Your quantiles are those of the pixels over the batch: flatten all but the first axis, "
        "and take the quantile along the last.": _by(
            lambda x0, p: torch.quantile(x0.abs(), p, dim=0, keepdim=True)
        ),
        "You do not divide by s: the picture still leaves [−1, 1].": _with(_clipped),
        "You divide by s and do not clip: what lies beyond s still leaves [−1, 1].": _with(
            lambda x0, s: x0 / s
        ),
        "You clip at 1 and then divide by s: clip at s, so that only what lies beyond s is lost.": (
            _with(lambda x0, s: x0.clamp(-1, 1) / s)
        ),
        "You divide by s and then clip at s; after the division the limit is 1.": _with(
            lambda x0, s: _clipped(x0 / s, s)
        ),
        "s may fall below 1, so that a picture within [−1, 1] is stretched: s is at least 1.": (
            _below_one
        ),
        "Your s is at most 1; it has to be at least 1: clamp(min=1).": _at_most_one,
        "You take the quantile of x0, not of |x0|: what lies below −1 is overlooked.": _by(
            lambda x0, p: _quantile(x0, p)
        ),
        "That is static thresholding: a clip at ±1, without s.": lambda x0, p: x0.clamp(-1, 1),
        "Your s is the largest |x0|, so that one pixel decides; it is the p-quantile.": _by(
            lambda x0, p: x0.abs().amax((1, 2, 3), keepdim=True)
        ),
        "Your s is the quantile of x0², which is not of the size of x0: take that of |x0|.": _by(
            lambda x0, p: _quantile(x0.square(), p)
        ),
        "Your s comes from the standard deviation; it is the p-quantile of |x0|.": [
            _by(lambda x0, p, times=times: times * x0.std((1, 2, 3), keepdim=True))
            for times in (1, 2, 3)
        ],
        "You take the quantile 1 − p: the share p of the numbers lies below s.": _by(
            lambda x0, p: _quantile(x0.abs(), 1 - p)
        ),
        "p is a share in (0, 1] already; you divide it by 100.": _by(
            lambda x0, p: _quantile(x0.abs(), p / 100)
        ),
        "Your p is fixed at the paper's 99.5 %; take the p that is given.": _by(
            lambda x0, p: _quantile(x0.abs(), 0.995)
        ),
        "Your quantile is one of the numbers; torch.quantile lies between two of them, unless it "
        "is told otherwise.": [
            _by(lambda x0, p, way=way: _quantile(x0.abs(), p, interpolation=way))
            for way in ("lower", "higher", "nearest")
        ],
    },
    against=dynamic_threshold,
)
