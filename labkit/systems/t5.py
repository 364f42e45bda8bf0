"""T5, the whole system: a language model that reads a text with blanks and writes what fills them.

Source: Raffel et al. 2020. It never sees a picture. Imagen (Saharia et al. 2022, section 2.1) keeps
the encoder alone, frozen: what it says of each token is the text that the diffusion models hear.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from labkit import devices
from labkit.casting import moved
from labkit.conditioning import Conditioning
from labkit.inputs import short, whole_number
from labkit.nets.t5 import T5Config, T5Net
from labkit.scenes.tokenizer import Tokenizer, Tokens, spaced, words_of
from labkit.scenes.tokenizer import load as course_tokenizer

BLANK = "___"  # in a text that `T5.fill` is given


class Blanks(NamedTuple):
    """N texts with blanks, and what fills them: what T5 learns from."""

    ids: Tensor  # (N, L) long: the texts, sentinels at the blanks, filled up with padding
    mask: Tensor  # (N, L) bool: True = not padding
    filling: Tensor  # (N, M) long: sentinel, tokens, sentinel, tokens, …, end; then padding


class T5(nn.Module):
    """Texts become a vector for each of their tokens; with a decoder it also fills blanks.

    tokenizer: the one whose tokens it reads; None: the course's own, `labkit.scenes.tokenizer`.
    """

    def __init__(self, config: T5Config, tokenizer: Tokenizer | None = None):
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.net = T5Net(config)

    def extra_repr(self) -> str:
        """What a run that goes on is compared by, besides the configuration."""
        return words_of(self.tokenizer)

    @property
    def reads(self) -> Tokenizer:
        """The tokenizer. Raises ValueError for one with ids that this T5 does not have."""
        tokenizer = self.tokenizer or course_tokenizer()
        if len(tokenizer) > self.config.vocabulary:
            raise ValueError(
                f"this T5 knows {self.config.vocabulary} tokens and its tokenizer has "
                f"{len(tokenizer)}: build it as T5(config, tokenizer)"
            )
        return tokenizer

    @property
    def sentinels(self) -> int:
        """How many blanks it can tell apart: tokens down from the first sentinel that are no piece
        of any text. A released tokenizer numbers them along, under names of their own."""
        numbers = self.reads.pieces.get_vocab()
        pieces = (number for name, number in numbers.items() if not name.startswith("<extra_id_"))
        return self.config.sentinel - max(pieces)

    def encode(self, texts: str | Sequence[str]) -> Conditioning:
        """Texts as Imagen hears them: tokens (B, L, width), 0 where the mask (B, L) is False, which
        is behind the end of each; L is that of the longest. Without gradients.

        Any word may be in a text: one that it never read comes apart into pieces. Raises ValueError
        for no list, an empty text, and one that is too long.
        """
        with torch.no_grad():
            return self.read(self.reads.encode(texts))

    def read(self, tokens: Tokens) -> Conditioning:
        """`encode` of tokens (B, L), with gradients."""
        device, longest = devices.of(self), int(tokens.mask.sum(1).max())
        ids, mask = (moved(part[:, :longest], device) for part in tokens)
        return Conditioning(tokens=self.net(ids, mask) * mask[..., None], mask=mask)

    def pooled(self, texts: str | Sequence[str]) -> Tensor:
        """One vector for each text, (B, width): the mean over its tokens."""
        cond = self.encode(texts)
        return cond.tokens.sum(1) / cond.mask.sum(1, keepdim=True)

    def loss(self, batch: Blanks) -> Tensor:
        """The mean cross-entropy of the tokens that fill the blanks, sentinels and end included, a
        scalar: each is guessed from the text and from what was filled in before it."""
        self.needs_decoder()
        pad = self.reads.pad
        text = self.net(batch.ids, batch.mask)
        logits = self.net.next(shifted(batch.filling, pad), text, batch.mask)  # (N, M, vocabulary)
        return F.cross_entropy(logits.flatten(0, 1), batch.filling.flatten(), ignore_index=pad)

    @torch.no_grad()
    def fill(self, text: str, most: int = 16) -> str:
        """The text with its blanks, written ___, filled by what is likeliest, word for word.

        most: tokens that are written in all. Raises ValueError for a text without a blank, one with
        more than there are sentinels, one that is too long, and for a T5 without a decoder.
        """
        self.needs_decoder()
        most = whole_number(most, "most", 1)
        parts = spaced(text).split(BLANK) if isinstance(text, str) else []
        if len(parts) < 2:
            raise ValueError(f"text is {short(text)}, but must be a sentence with a blank, {BLANK}")
        tokenizer, device, sentinel = self.reads, devices.of(self), self.config.sentinel
        blanks = len(parts) - 1
        if blanks > self.sentinels:
            raise ValueError(
                f"{short(text)} has {blanks} blanks, but this T5 can tell {self.sentinels} apart: "
                "give a text with fewer"
            )
        row: list[int] = []
        for blank, part in enumerate(parts):
            row += tokenizer.pieces.encode(part.strip()).ids if part.strip() else []
            row += [sentinel - blank] * (blank < blanks)
        row = tokenizer.framed(row)
        if len(row) > tokenizer.context:
            raise ValueError(
                f"{short(text)} has {len(row)} tokens with its blanks and its end, but at most "
                f"{tokenizer.context} fit; say it in fewer words"
            )
        ids = torch.tensor([row], device=device)
        mask = torch.ones_like(ids, dtype=torch.bool)
        said, read = torch.tensor([[tokenizer.pad]], device=device), self.net(ids, mask)
        for _ in range(most):
            following = self.net.next(said, read, mask)[:, -1].argmax(1, keepdim=True)
            if int(following) in (tokenizer.end, sentinel - blanks):  # all blanks are filled
                break
            said = torch.cat([said, following], dim=1)
        return self.filled(parts, said[0, 1:].tolist())

    def filled(self, parts: list[str], said: list[int]) -> str:
        """The parts of a text with what was said for the blanks between them."""
        first = self.config.sentinel
        fillings = {first - blank: [] for blank in range(len(parts) - 1)}
        marks = range(first - self.sentinels + 1, first + 1)
        blank: list[int] = []  # what is said before any sentinel fills nothing
        for token in said:
            if token in marks:  # one that the text does not have is filled in vain
                blank = fillings.get(token, [])
            else:
                blank.append(token)
        words = [self.reads.text_of(filling) for filling in fillings.values()]
        pairs = zip(parts, [*words, ""], strict=True)
        return " ".join(" ".join(f"{part} {word}" for part, word in pairs).split())

    def needs_decoder(self) -> None:
        if self.net.decoder is None:
            raise ValueError(
                "this T5 has no decoder, so it reads texts and fills no blanks: build it with "
                "T5Config(decoder=...)"
            )


def padded(rows: Sequence[Sequence[int]], pad: int) -> Tokens:
    """Rows of different length as one table, as wide as the longest."""
    ids = pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=pad)
    lengths = torch.tensor([len(row) for row in rows])
    return Tokens(ids, torch.arange(ids.shape[1]) < lengths[:, None])


def shifted(filling: Tensor, pad: int) -> Tensor:
    """What the decoder is shown: padding first, and each token one place later."""
    return F.pad(filling[:, :-1], (1, 0), value=pad)
