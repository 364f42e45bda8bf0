"""Precision and recall, by who lies among whose nearest neighbors: fidelity and diversity."""

from __future__ import annotations

import torch
from torch import Tensor

from labkit.inputs import whole_number
from labkit.metrics.features import pair


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019): each picture owns the ball that
    reaches to its k-th nearest neighbor among its own kind. Precision is the share of fakes in the
    ball of some real picture (fidelity), recall the share of real ones in the ball of some fake
    (diversity). real: (N, D), fake: (M, D), N and M above k. Both fall as N grows: say N.
    """
    k = whole_number(k, "k", 1)
    real, fake = pair(real, fake, k + 1)
    return inside(fake, real, k), inside(real, fake, k)


def inside(points: Tensor, centers: Tensor, k: int) -> float:
    """The share of `points` that lie in the ball of at least one of `centers`."""
    # Blocks of rows, so that memory stays small; differences, not ‖a‖² − 2ab + ‖b‖², so that
    # the distance of a point to itself is exactly 0.
    exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    blocks = (torch.cdist(block, centers, **exact) for block in centers.split(500))
    # The nearest neighbor of a center is the center itself: the k-th is entry k + 1.
    radius = torch.cat([block.kthvalue(k + 1, dim=1).values for block in blocks])  # (N,)
    blocks = (torch.cdist(block, centers, **exact) for block in points.split(500))
    hits = torch.cat([(block <= radius).any(1) for block in blocks])
    return float(hits.double().mean())
