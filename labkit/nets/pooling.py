"""One vector for tokens, however many there are; padding has no part in it.

Source of `TextCNN`: Kim 2014, "Convolutional Neural Networks for Sentence Classification", with
windows of one, two and three words, as SAEM (Wu et al. 2019) and MMCA (Wei et al. 2020) put it on
top of BERT.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def average(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of the tokens (B, L, D) that are there, (B, D)."""
    there = mask[..., None].to(x.dtype)
    return (x * there).sum(1) / there.sum(1)


class TextCNN(nn.Module):
    """Words (B, L, width) and their mask (B, L) → (B, dim).

    p_kj = ReLU(W_k e_j:j+k-1 + b_k); q_k = max_j p_kj; the q_k of all window widths k, one after
    the other, go through a linear layer. A window that reaches into padding answers nothing.
    """

    def __init__(self, width: int, filters: int, dim: int, windows: tuple[int, ...] = (1, 2, 3)):
        super().__init__()
        self.windows = windows
        self.filters = nn.ModuleList(nn.Linear(k * width, filters) for k in windows)
        self.out = nn.Linear(len(windows) * filters, dim)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        found = []
        for k, layer in zip(self.windows, self.filters):
            inside = mask.unfold(1, k, 1).all(2)  # (B, L - k + 1)
            answers = layer(x.unfold(1, k, 1).mT.flatten(2)).relu()  # (B, L - k + 1, filters)
            # An answer is at least 0, so 0 in place of a window with padding never wins.
            found.append((answers * inside[..., None]).amax(1))
        return self.out(torch.cat(found, 1))
