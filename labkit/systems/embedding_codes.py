"""Embeddings as short rows of whole numbers, for a transformer that writes one after the other.

Source: Ramesh et al. 2022, section 2.2: principal components, in the order of their eigenvalues,
and buckets for each.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from labkit.inputs import number, numbers, whole_number


class PCA(nn.Module):
    """The first K principal components of vectors (N, D), the largest eigenvalue first."""

    def __init__(self, dim: int, components: int):
        super().__init__()
        whole_number(components, "the number of components", 1, dim)
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("axes", torch.eye(components, dim))  # rows of length one

    def fit(self, vectors: Tensor) -> None:
        """Finds mean and axes in vectors (N, D). Raises ValueError unless N > K."""
        vectors = numbers(vectors, "vectors", 2)
        if len(vectors) <= len(self.axes):
            raise ValueError(
                f"there are {len(vectors)} vectors to find {len(self.axes)} components in, but "
                "there must be more of them than components"
            )
        _, axes = torch.linalg.eigh(torch.cov(vectors.T))  # rising
        self.mean.copy_(vectors.mean(0))
        self.axes.copy_(axes.flip(1).T[: len(self.axes)])

    def forward(self, vectors: Tensor) -> Tensor:
        """The coordinates (B, K) of vectors (B, D)."""
        with exactly(vectors):
            return (vectors.to(self.mean) - self.mean) @ self.axes.T

    def back(self, coordinates: Tensor) -> Tensor:
        """The vectors (B, D) of the first coordinates, (B, k), k ≤ K; the others count as 0."""
        with exactly(coordinates):
            return self.mean + coordinates.to(self.mean) @ self.axes[: coordinates.shape[1]]


def exactly(x: Tensor) -> torch.autocast:
    """Autocast shall not round here: the codes are what training learns, not what it computes."""
    return torch.autocast(x.device.type, enabled=False)


def pca_error(vectors: Tensor) -> Tensor:
    """What share of the variance of vectors (N, D) is lost with 0, 1, … D components, (D + 1,)
    float64: the sum of the eigenvalues that are left out, over the sum of all. Raises ValueError
    for vectors without variance."""
    values = torch.linalg.eigvalsh(torch.cov(numbers(vectors, "vectors", 2).T)).clamp(min=0)
    left = torch.cat([values.cumsum(0).flip(0), values.new_zeros(1)])
    if not left[0] > 0:
        raise ValueError("all vectors are equal, so there is no variance to lose: give others")
    return left / left[0]


def components_for(vectors: Tensor, error: float = 0.01) -> int:
    """The least number of components of vectors (N, D) that lose no more of their variance."""
    return int((pca_error(vectors) > number(error, "the error", 0, 1)).sum())


class Buckets(nn.Module):
    """Numbers (B, K) as whole numbers from 0 to count − 1: each column's range is cut into as many
    equal buckets, and the middle of a bucket stands for all that is in it."""

    def __init__(self, columns: int, count: int):
        super().__init__()
        self.count = whole_number(count, "the number of buckets", 2)
        self.register_buffer("low", torch.zeros(columns))
        self.register_buffer("high", torch.ones(columns))

    def fit(self, values: Tensor) -> None:
        """Finds the range of each column of values (N, K)."""
        self.low.copy_(values.amin(0))
        self.high.copy_(values.amax(0))

    def forward(self, values: Tensor) -> Tensor:
        """The bucket of each value, (B, K) long; what lies outside goes to the first or last."""
        at = (values - self.low) / (self.high - self.low) * self.count
        return at.floor().long().clamp(0, self.count - 1)

    def back(self, codes: Tensor) -> Tensor:
        """The middle of each bucket, (B, K)."""
        share = ((codes + 0.5) / self.count).to(self.low)
        return self.low + share * (self.high - self.low)
