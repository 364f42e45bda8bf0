"""Hinge losses of matching: whatever belongs together shall score a margin more than what does not.

Source: VSE++ (Faghri et al. 2018), equations 3 and 5, of which SAEM and MMCA take the second.
"""

from __future__ import annotations

import torch
from torch import Tensor


def violations(scores: Tensor, margin: float, true: Tensor | None) -> tuple[Tensor, Tensor]:
    """[m − S(I, T) + S(I, T')]₊ of all wrong pairs (I, T'), and the same of (I', T), (B, B) each,
    0 where a pair is no negative."""
    own = scores.diag()
    neutral = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
    neutral = neutral if true is None else neutral | true
    texts = (margin - own[:, None] + scores).clamp(min=0).masked_fill(neutral, 0)
    images = (margin - own[None, :] + scores).clamp(min=0).masked_fill(neutral, 0)
    return texts, images


def sum_hinge(scores: Tensor, margin: float = 0.2, true: Tensor | None = None) -> Tensor:
    """What each pair costs by the hinge over all negatives, (2, B): first by the captions that are
    wrong for its picture, then by the pictures that are wrong for its caption.

    scores: (B, B), picture i with caption j; row and column i belong together. true: (B, B) bool,
    whether caption j is true of picture i, too: such a pair is no negative.
    """
    texts, images = violations(scores, margin, true)
    return torch.stack([texts.sum(1), images.sum(0)])


def hardest_hinge(scores: Tensor, margin: float = 0.2, true: Tensor | None = None) -> Tensor:
    """The same with the one negative that scores highest, (2, B) (VSE++, Faghri et al. 2018). A
    network that gives the same score to everything pays 2 · margin a pair, and may stay there."""
    texts, images = violations(scores, margin, true)
    return torch.stack([texts.amax(1), images.amax(0)])
