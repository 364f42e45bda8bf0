"""Recall at K: whether what belongs together is found, as in all work on retrieval, such as section
3.1 of VSE++ (Faghri et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from labkit.inputs import float_batch, short, whole_number


def recall_at(similarity: Tensor, k: int = 1, belongs: Tensor | None = None) -> float:
    """R@K: the share of rows for which one that belongs is among the K most similar columns.

    similarity: (N, M), such as ``clip(pictures, captions)``; transpose it to search the other way
    round. belongs: (N, M) bool, what belongs together; None: row n and column n, N = M. Of equal
    similarities none counts as better than another, so a network that says the same everywhere
    finds nothing.
    """
    float_batch(similarity, "similarity")
    if similarity.ndim != 2 or (belongs is None and similarity.shape[0] != similarity.shape[1]):
        raise ValueError(
            f"similarity has shape {tuple(similarity.shape)}, but must be (N, M), and N = M "
            "unless `belongs` says what belongs together"
        )
    if not torch.isfinite(similarity).all():
        raise ValueError("similarity holds NaN or infinity, so nothing in it is most similar")
    k = whole_number(k, "k", 1, similarity.shape[1])
    if belongs is None:
        belongs = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    if belongs.shape != similarity.shape or belongs.dtype != torch.bool or not belongs.any(1).all():
        raise ValueError(
            f"belongs is {short(belongs)}, but must be bool of shape {tuple(similarity.shape)} "
            "with a True in every row"
        )
    best = similarity.masked_fill(~belongs, -torch.inf).amax(1, keepdim=True)  # (N, 1)
    ahead = ((similarity >= best) & ~belongs).sum(1)  # wrong ones that are at least as similar
    return float((ahead < k).float().mean())
