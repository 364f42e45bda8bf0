"""Section 8.3 of lesson 07: CLIP's loss for a batch in which captions occur more than once."""

import torch
import torch.nn.functional as F
from torch import Tensor


def distinct_loss(image: Tensor, text: Tensor, scale: float, same: Tensor) -> Tensor:
    """The contrastive loss of unit vectors (N, D) in which another pair with the same caption is
    neither right nor wrong; same: which rows have the same caption, (N, N) bool."""
    others = same & ~torch.eye(len(same), dtype=torch.bool)
    logits = (scale * image @ text.T).masked_fill(others, -torch.inf)
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
