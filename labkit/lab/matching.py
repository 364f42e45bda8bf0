"""What lesson 13 measures on attention: how much of it goes where."""

import torch
from torch import Tensor

from labkit.systems.matcher import average, blocks


def block_shares(attention: Tensor, mask: Tensor, regions: int) -> Tensor:
    """How much of its attention each modality gives to each, (B, 2, 2): row 0 is what regions look
    at, row 1 what words look at; column 0 is regions, column 1 words; every row sums to 1.

    attention: (B, heads, L, L), rows summing to 1; its first `regions` positions are regions, the
    others words. mask: (B, L) bool, False is padding, whose rows do not count.
    """
    parts = blocks(attention, regions)
    RR, RE, ER, EE = (part.sum(3).mean(1) for part in parts)  # (B, M) and (B, L), of each row
    looks = torch.stack([RR, RE], 2), torch.stack([ER, EE], 2)
    masks = mask[:, :regions], mask[:, regions:]
    return torch.stack([average(*pair) for pair in zip(looks, masks)], 1)
