"""BERT's training: words of a text are hidden, and it guesses them from the words on both sides.

Source: Devlin et al. 2019, section 3.1 and appendix A.1 and C.2. (Its other task, whether two
sentences follow each other, is left out: RoBERTa, Liu et al. 2019, found it to be of no use.)
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import devices
from labkit.inputs import short, whole_number
from labkit.nets.bert import EPS, Bert, BertConfig
from labkit.scenes import tokenizer as course
from labkit.scenes.tokenizer import Tokens

MASK = "<mask>"  # how a text writes a hidden word
SHARE = 0.15  # of the words of a text are guessed
HIDDEN, REPLACED = 0.8, 0.1  # of these are hidden, replaced by any other word; the rest stays
NONE = -100  # in place of a target: nothing to guess there


class Masked(NamedTuple):
    """Texts with words hidden."""

    ids: Tensor  # (B, L) long
    mask: Tensor  # (B, L) bool, True = not padding
    positions: Tensor  # (B, P) long, where a word is to be guessed
    targets: Tensor  # (B, P) long, the word that stood there; -100 where a text has fewer than P


def hide(tokens: Tokens, vocabulary: int, generator: torch.Generator) -> Masked:
    """Hides words of texts of the course's tokenizer, whose ids are 0 … vocabulary − 2; the last
    id stands for a hidden one. Begin and end are never guessed; every text has at least one word
    to guess."""
    words = course.load()
    L = int(tokens.mask.sum(1).max())  # what no text reaches need not be computed
    ids, mask = tokens.ids[:, :L], tokens.mask[:, :L]
    usual = mask & (ids != words.begin) & (ids != words.end)  # (B, L)
    draw = torch.rand(ids.shape, generator=generator).masked_fill(~usual, 2.0)
    draw = draw.scatter(1, draw.argmin(1, keepdim=True), 0.0)  # the first to be chosen
    chosen = draw < SHARE
    P = int(chosen.sum(1).max())
    positions = draw.argsort(1)[:, :P]
    targets = torch.where(chosen, ids, NONE).gather(1, positions)
    fate = torch.rand(ids.shape, generator=generator)
    others = torch.randint(1, vocabulary - 1, ids.shape, generator=generator)
    hidden, replaced = fate < HIDDEN, fate >= 1 - REPLACED
    shown = torch.where(chosen & hidden, vocabulary - 1, ids)
    return Masked(torch.where(chosen & replaced, others, shown), mask, positions, targets)


class MaskedLM(nn.Module):
    """BERT with the head that guesses hidden words. Its vocabulary is the course's tokenizer's and
    one more, the last, for a hidden word."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = c = config
        self.encoder = Bert(config)
        self.dense = nn.Linear(c.width, c.width)
        self.norm = nn.LayerNorm(c.width, EPS)
        self.bias = nn.Parameter(torch.zeros(c.vocabulary))  # how frequent each word is

    @property
    def mask_id(self) -> int:
        """The token of a hidden word."""
        return self.config.vocabulary - 1

    def forward(self, ids: Tensor, mask: Tensor, positions: Tensor) -> Tensor:
        """Logits of all words at those positions (B, P), (B, P, vocabulary)."""
        h = self.encoder(ids, mask)  # (B, L, width)
        h = h.gather(1, positions[..., None].expand(-1, -1, h.shape[2]))  # (B, P, width)
        h = self.norm(F.gelu(self.dense(h)))
        return h @ self.encoder.tokens.weight.T + self.bias  # words are judged by their embeddings

    def loss(self, batch: Masked) -> Tensor:
        """How surprising the hidden words are, a scalar: the mean over them, in nats. About the
        logarithm of the vocabulary before training."""
        logits = self(batch.ids, batch.mask, batch.positions)
        return F.cross_entropy(logits.flatten(0, 1), batch.targets.flatten(), ignore_index=NONE)

    @torch.no_grad()
    def guess(self, text: str, k: int = 5) -> list[list[tuple[str, float]]]:
        """The ``k`` most likely words for each "<mask>" of a text, each with its probability.

        Raises ValueError for a text without one, or that is too long.
        """
        words = course.load()
        k = whole_number(k, "k", 1, len(words))
        parts = text.split(MASK) if isinstance(text, str) else []
        if len(parts) < 2:
            raise ValueError(
                f"the text is {short(text)}, but must hold a word to guess, written {MASK}, such "
                f"as 'a red {MASK} above a moon'"
            )
        row = [words.begin]
        for index, part in enumerate(parts):
            row += [self.mask_id] * (index > 0) + words.pieces.encode(part.strip()).ids
        row.append(words.end)
        if len(row) > self.config.context:
            raise ValueError(
                f"{short(text)} has {len(row) - 2} tokens, but at most {self.config.context - 2} "
                "fit: say it in fewer words"
            )
        ids = torch.tensor([row], device=devices.of(self))
        hidden = torch.tensor([[at for at, token in enumerate(row) if token == self.mask_id]])
        logits = self(ids, torch.ones_like(ids, dtype=torch.bool), hidden.to(ids.device))[0].cpu()
        best = logits[:, : len(words)].softmax(1).topk(k)
        return [
            [(words.text_of([word]), share) for word, share in zip(*row)]
            for row in zip(best.indices.tolist(), best.values.tolist())
        ]
