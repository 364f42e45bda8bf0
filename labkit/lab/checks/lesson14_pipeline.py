"""The check of lesson 14: of several drawings for each caption, the one that fits best."""

import torch
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import size, sizes


def _keep_best(pictures: Tensor, match: Tensor) -> Tensor:
    return pictures[match.argmax(0), torch.arange(match.shape[1])]


def _interleaved(pictures: Tensor, match: Tensor) -> Tensor:
    """Takes the drawings of a caption for neighbors."""
    k, B = match.shape
    return pictures.flatten(0, 1)[match.argmax(0) + k * torch.arange(B)]


def _one_for_all(pictures: Tensor, match: Tensor) -> Tensor:
    return pictures[match.mean(1).argmax()]


def _mixed(pictures: Tensor, match: Tensor) -> Tensor:
    return (match.softmax(0)[..., None, None, None] * pictures).sum(0)


def _draw_pictures(g: torch.Generator):
    """k drawings of B captions, all sizes different from each other or all the same; neither the
    first drawing nor one and the same is the best of all captions."""
    k, B, C, S = sizes(g, 4, 2, 7)
    B += size(g, 1, 5)
    while True:
        pictures, match = torch.rand(k, B, C, S, S, generator=g), torch.randn(k, B, generator=g)
        best, worst = match.argmax(0), match.argmin(0)
        if (
            len(best.unique()) > 1
            and (worst != best).all()
            and (best != match.mean(1).argmax()).any()
        ):
            return 2 * pictures - 1, match


keep_best = Check(
    "keep_best",
    reference=_keep_best,
    draw_inputs=_draw_pictures,
    mistakes={
        "You keep the drawing that fits worst; the largest match is the best.": (
            lambda pictures, match: _keep_best(pictures, -match)
        ),
        "You choose one drawing for all captions; each caption has its own best.": _one_for_all,
        "You keep the first drawing of each caption, whatever the match says.": (
            lambda pictures, match: pictures[0]
        ),
        "In the flat list, the drawings of one caption do not stand side by side: number i of "
        "caption b is at i · B + b.": _interleaved,
        "You mix the drawings by their match; keep one, unchanged.": _mixed,
        "You return the drawings' numbers; look up the pictures at these numbers.": (
            lambda pictures, match: match.argmax(0)
        ),
        "You return every picture that any caption likes best, for every caption: index both "
        "dimensions, pictures[best, torch.arange(B)].": (
            lambda pictures, match: pictures[match.argmax(0)]
        ),
    },
    against="the drawing of each caption that has the largest match",
)
