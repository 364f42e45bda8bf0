"""Recall at K: whether what belongs together is found, as in all work on retrieval, such as section
3.1 of VSE++ (Faghri et al. 2018)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from labkit.inputs import float_batch, short, whole_number


def recall_at(
    similarity: Tensor,
    k: int = 1,
    belongs: Tensor | None = None,
    neutral: Tensor | None = None,
) -> float:
    """R@K: the share of rows for which one that belongs is among the K most similar columns.

    similarity: (N, M), such as ``clip(pictures, captions)``; transpose it to search the other way
    round. belongs: (N, M) bool, what belongs together; None: row n and column n, N = M. neutral:
    (N, M) bool, what is neither right nor wrong where it does not belong, such as captions that
    are true of a picture but were written for another: it stands in nobody's way. Of equal
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
    wrong = ~belongs
    if neutral is not None:
        if neutral.shape != similarity.shape or neutral.dtype != torch.bool:
            raise ValueError(
                f"neutral is {short(neutral)}, but must be bool of shape {tuple(similarity.shape)}"
            )
        wrong = wrong & ~neutral
    best = similarity.masked_fill(~belongs, -torch.inf).amax(1, keepdim=True)  # (N, 1)
    ahead = ((similarity >= best) & wrong).sum(1)  # wrong ones that are at least as similar
    return (ahead < k).sum().item() / len(ahead)


RANKS = (1, 5, 10)


class Recalls(NamedTuple):
    """R@1, R@5 and R@10 in both directions, in %, as papers print them."""

    image_to_text: tuple[float, float, float]
    text_to_image: tuple[float, float, float]

    @property
    def rsum(self) -> float:
        """Their sum, 0 … 600."""
        return sum(self.image_to_text) + sum(self.text_to_image)


def own_captions(pictures: int, each: int = 5) -> Tensor:
    """Which captions belong to which picture where each has as many, those of one picture after
    the other: (N, N · each) bool."""
    pictures = whole_number(pictures, "the number of pictures", 1)
    each = whole_number(each, "the number of captions of each picture", 1)
    return torch.eye(pictures, dtype=torch.bool).repeat_interleave(each, 1)


def recalls(
    similarity: Tensor, each: int = 5, neutral: Tensor | None = None, folds: int = 1
) -> Recalls:
    """Recall in both directions where each picture has several captions. A picture has found what
    it seeks if any of its captions is among the K best; a caption has one picture to find.

    similarity: (N, N · each), pictures with captions, those of one picture after the other.
    neutral: see `recall_at`. folds: the mean over so many galleries, into which the pictures are
    cut in their order (COCO's "1K" figures are the mean over five galleries of 1,000 pictures each,
    its "5K" ones those of the whole). Raises ValueError for another shape, or a gallery of fewer
    than ten pictures, in which R@10 would mean nothing.
    """
    float_batch(similarity, "similarity")
    each = whole_number(each, "the number of captions of each picture", 1)
    N = len(similarity)
    if similarity.shape != (N, N * each):
        raise ValueError(
            f"similarity has shape {tuple(similarity.shape)}, but must be (N, N · {each}): "
            "pictures with captions, all those of one picture after the other"
        )
    folds = whole_number(folds, "the number of folds", 1, N)
    if N % folds or N // folds < max(RANKS):
        raise ValueError(
            f"{N} pictures in {folds} galleries: each must hold as many as the others, and at "
            f"least {max(RANKS)}, or R@{max(RANKS)} means nothing"
        )
    size, found = N // folds, []
    for start in range(0, N, size):
        rows, columns = slice(start, start + size), slice(start * each, (start + size) * each)
        part = similarity[rows, columns]
        belongs = own_captions(size, each).to(part.device)
        also = None if neutral is None else neutral[rows, columns].to(part.device)
        turned = None if also is None else also.T
        found.append([recall_at(part, k, belongs, also) for k in RANKS]
                     + [recall_at(part.T, k, belongs.T, turned) for k in RANKS])  # fmt: skip
    means = (100 * torch.tensor(found, dtype=torch.float64).mean(0)).tolist()
    return Recalls(tuple(means[:3]), tuple(means[3:]))
