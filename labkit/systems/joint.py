"""Pictures and sentences, each encoded by itself, and what they look at when they meet."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from labkit.casting import moved


class Encoded(NamedTuple):
    """B pictures, or B sentences, each looked at by itself."""

    vector: Tensor  # (B, D) unit vectors, i0 or c0: the self-attention branch
    tokens: Tensor  # (B, L, D) regions or words, for the cross-attention branch
    mask: Tensor  # (B, L) bool, True = a region or word
    lengths: Tensor  # (B,) long, how many there are; always on the CPU

    def take(self, rows: Tensor | slice) -> Encoded:
        """Those alone. rows: numbers on the CPU, or a slice."""
        there = rows if isinstance(rows, slice) else moved(rows, self.tokens.device)
        return Encoded(*(table[there] for table in self[:3]), self.lengths[rows])

    def trimmed(self) -> Encoded:
        """Without the places that none of them reaches."""
        longest = int(self.lengths.max())
        return self._replace(tokens=self.tokens[:, :longest], mask=self.mask[:, :longest])


class Blocks(NamedTuple):
    """The four parts of an attention matrix over M regions and L words: who looks at whom."""

    RR: Tensor  # (B, heads, M, M) regions at regions
    RE: Tensor  # (B, heads, M, L) regions at words
    ER: Tensor  # (B, heads, L, M) words at regions
    EE: Tensor  # (B, heads, L, L) words at words


def blocks(attention: Tensor, regions: int) -> Blocks:
    """The four blocks of an attention matrix (B, heads, M + L, M + L) over so many regions."""
    over, under = attention.split([regions, attention.shape[2] - regions], 2)
    at = [regions, attention.shape[3] - regions]
    return Blocks(*over.split(at, 3), *under.split(at, 3))
