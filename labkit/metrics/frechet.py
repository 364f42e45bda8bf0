"""The Fréchet distance: how far two sets of pictures are apart, by means and covariances."""

from __future__ import annotations

import torch
from torch import Tensor

from labkit.metrics.features import pair


def frechet_distance(real: Tensor, fake: Tensor, normalized: bool = True) -> float:
    """The squared Fréchet (2-Wasserstein) distance of two Gaussians fitted to the features:

        ‖μ_1 − μ_2‖² + Tr(Σ_1 + Σ_2 − 2 (Σ_1^½ Σ_2 Σ_1^½)^½)        (Heusel et al. 2017, equation 6)

    real: (N, D); fake: (M, D); float. Both need more rows than columns, else Σ is singular.
    normalized: divided by Tr Σ_1, the total variance of the real features, so that networks with
    features of different size can be compared: 1 is as far as all real pictures from their mean.
    Without it the number is the one known as FID, only in this network's features.
    Two sets of N rows of one distribution are not at 0: for N(0, I_D) they stand about
    2D/N + D(D+1)/(2N) apart (unnormalized), so compare at equal N and name the floor.
    """
    needed = real.shape[-1] + 1 if isinstance(real, Tensor) and real.ndim == 2 else 2
    real, fake = pair(real, fake, needed)
    cov_1, cov_2 = (torch.atleast_2d(torch.cov(rows.T)) for rows in (real, fake))  # (D, D)
    if normalized and cov_1.trace() <= 0:
        raise ValueError("all real features are equal, so there is no variance to normalize by")
    values, vectors = torch.linalg.eigh(cov_1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # Σ_1^½, symmetric
    overlap = torch.linalg.eigvalsh(root @ cov_2 @ root).clamp(min=0).sqrt().sum()
    means = (real.mean(0) - fake.mean(0)).square().sum()
    distance = (means + cov_1.trace() + cov_2.trace() - 2 * overlap).clamp(min=0)
    return float(distance / cov_1.trace() if normalized else distance)
