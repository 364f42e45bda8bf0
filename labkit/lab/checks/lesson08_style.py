"""The check of lesson 08 on style: the Gram matrix of feature maps."""

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import sizes, turn
from labkit.systems.sdg import gram

# The Gram matrix, one for each picture.


def _together(maps: Tensor) -> Tensor:
    return maps.flatten(0, 1).flatten(1)  # (B·C, H·W)


def _of_the_batch(maps: Tensor) -> Tensor:
    return _together(maps) @ _together(maps).T / maps[0].numel()


def _of_the_batch_by_its_size(maps: Tensor) -> Tensor:
    return _together(maps) @ _together(maps).T / maps.numel()


def _regrouped(maps: Tensor) -> Tensor:
    rows = maps.reshape(len(maps), -1, maps.shape[1]).mT
    return rows @ rows.mT / maps[0].numel()


def _covariance(maps: Tensor) -> Tensor:
    return gram(maps - maps.mean((2, 3), keepdim=True))


def _cosines_of_channels(maps: Tensor) -> Tensor:
    rows = F.normalize(maps.flatten(2), dim=2)
    return rows @ rows.mT


def _correlations(maps: Tensor) -> Tensor:
    return _cosines_of_channels(maps - maps.mean((2, 3), keepdim=True))


def _draw_maps(g: torch.Generator):
    """Feature maps; once in each check of a single picture."""
    B, C, H, W = sizes(g, 4)
    B = 1 if turn(g, 5) == 0 else B
    return ((0.5 + torch.randn(B, C, H, W, generator=g)).requires_grad_(),)


gram_matrix = Check(
    "gram_matrix",
    reference=gram,
    draw_inputs=_draw_maps,
    mistakes={
        "You make one big matrix of the whole batch, (B·C, B·C), as the authors' released code "
        "does: each picture's gradient would depend on the others in its batch. Keep the batch "
        "apart, (B, C, H·W).": _of_the_batch,
        "You make one big matrix of the whole batch, and divide by the whole batch; each picture "
        "has its own: (B, C, C), divided by C·H·W.": _of_the_batch_by_its_size,
        "You add up the Gram matrices of the batch; each picture has its own: (B, C, C).": (
            lambda maps: gram(maps).sum(0)
        ),
        "You average the Gram matrices of the batch; each picture has its own: (B, C, C).": (
            lambda maps: gram(maps).mean(0)
        ),
        "This compares places with places, (H·W, H·W): it remembers where everything is. F F^T "
        "compares channels, and forgets where.": lambda maps: (
            maps.flatten(2).mT @ maps.flatten(2) / maps[0].numel()
        ),
        "reshape(B, H·W, C) does not transpose a tensor, it only regroups the numbers: the "
        "channels are mixed up. Use flatten(2), which is (B, C, H·W).": _regrouped,
        "The division by C·H·W is missing, so that the scale of the score depends on the size of "
        "the maps.": (lambda maps: maps.flatten(2) @ maps.flatten(2).mT),
        "You divide by H·W; divide by C·H·W.": (
            lambda maps: maps.flatten(2) @ maps.flatten(2).mT / maps[0, 0].numel()
        ),
        "You divide by B·C·H·W: a picture's style does not depend on how many others there are.": (
            lambda maps: gram(maps) / len(maps)
        ),
        "You subtract each channel's mean first: that is a covariance. A Gram matrix keeps how "
        "strong each feature is.": _covariance,
        "You bring each channel to length 1 first, so these are cosines between channels. A Gram "
        "matrix keeps how strong each feature is.": [
            _cosines_of_channels,
            lambda maps: _cosines_of_channels(maps) / maps[0].numel(),
        ],
        "These are correlations between channels, without each channel's mean and size. A Gram "
        "matrix keeps how strong each feature is.": [
            _correlations,
            lambda maps: _correlations(maps) / maps[0].numel(),
        ],
        "squeeze() also removes the batch dimension of a single picture, (C, C); keep (1, C, C).": (
            lambda maps: gram(maps).squeeze()
        ),
    },
    against=gram,
)
