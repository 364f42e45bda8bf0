"""Pictures and sentences, each encoded by itself, and what they look at when they meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.casting import moved
from labkit.inputs import short
from labkit.scenes import tokenizer as course
from labkit.scenes.tokenizer import Tokens

FEWEST = 3  # tokens of a text: begin, a word, end; the widest window of a text-CNN needs as many


class Encoded(NamedTuple):
    """B pictures, or B sentences, each looked at by itself."""

    vector: Tensor  # (B, D) unit vectors, i0 or c0: the self-attention branch
    tokens: Tensor  # (B, L, D) regions or words, for the cross-attention branch
    mask: Tensor  # (B, L) bool, True = a region or word
    lengths: Tensor  # (B,) long, up to the last one that is there; always on the CPU

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


def read(captions: str | Sequence[str] | Tokens, context: int) -> Tokens:
    """Captions as tokens of the course's tokenizer, (B, L), L the longest of them. Raises
    ValueError for words that no caption has, for texts that are too long, and for tokens of which
    a row is all padding or has no word between begin and end."""
    tokens = captions if isinstance(captions, Tokens) else known_words(captions)
    ids, mask = tokens.ids.cpu(), tokens.mask.cpu()
    if ids.ndim != 2 or ids.shape != mask.shape or mask.dtype != torch.bool or not len(ids):
        raise ValueError(
            f"tokens have ids of shape {tuple(ids.shape)} and a mask of shape {tuple(mask.shape)} "
            f"and {mask.dtype}, but both must be (B, L), at least one row, the mask of bool"
        )
    lengths = mask.sum(1)
    whole = mask == (torch.arange(mask.shape[1]) < lengths[:, None])
    if not lengths.all() or not whole.all():
        raise ValueError(
            "a row of the mask is all padding, or has padding before a word, but the words of each "
            "text must come first, at least one: take what the tokenizer's encode gives"
        )
    if lengths.min() < FEWEST:
        raise ValueError(
            f"a text has {int(lengths.min())} tokens, but must have at least {FEWEST}, begin, a "
            "word and end: no picture can be matched with no text at all"
        )
    longest = int(lengths.max())
    if longest > context:
        raise ValueError(
            f"a text has {longest} tokens, but this matcher reads at most {context}: say it in "
            "fewer words"
        )
    return Tokens(ids[:, :longest], mask[:, :longest])


def known_words(captions: str | Sequence[str]) -> Tokens:
    """Captions as tokens. Raises ValueError for words that no caption has: they could be spelled
    out, but nobody has seen them with a picture."""
    words = course.load()
    tokens = words.encode(captions)
    for caption in [captions] if isinstance(captions, str) else captions:
        if unknown := words.unknown(caption):
            raise ValueError(
                f"{short(caption)} has words that no picture came with ({', '.join(unknown)}): say "
                "it in words of the captions"
            )
    return tokens
