"""BERT: a text transformer in which every token looks at all others, to its left and to its right.

Source: Devlin et al. 2019, section 3, and the authors' code. Unlike CLIP's, its norms stand behind
the sums, as in the first transformer, and its GELU is the exact one.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from labkit.inputs import whole_number
from labkit.nets.attention import SelfAttention
from labkit.nets.transformer import Block, check_transformer, mlp

EPS = 1e-12  # of every norm, as in the authors' code


@dataclass(frozen=True)
class BertConfig:
    """All that there is to choose about a `Bert`. The defaults are those of BERT-base."""

    vocabulary: int = 30_522  # the token that hides another one is among them
    context: int = 512  # most tokens of one text, its start and end included
    width: int = 768
    depth: int = 12
    heads: int = 12

    def __post_init__(self):
        check_transformer(self, "a BERT")
        whole_number(self.vocabulary, "the vocabulary", 2)
        whole_number(self.context, "the context", 2)


class Bert(nn.Module):
    """A vector for each token of a text: net(ids, mask) → (B, L, width).

    ids: (B, L) long, L up to the context; mask: (B, L) bool, True = a token. What stands where the
    mask is False changes no token's vector; its own vectors mean nothing.

    BERT also tells two sentences apart, by an embedding of each that is added to all its tokens.
    Of one sentence, that is the same vector at every position, and is part of ``pos_emb`` here.
    """

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = c = config
        self.tokens = nn.Embedding(c.vocabulary, c.width)
        self.pos_emb = nn.Embedding(c.context, c.width)
        self.norm = nn.LayerNorm(c.width, EPS)
        self.blocks = nn.ModuleList(
            Block(
                nn.LayerNorm(c.width, EPS),
                SelfAttention(c.width, c.heads),
                mlp(c.width, nn.GELU()),
                post=True,
            )
            for _ in range(c.depth)
        )
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.norm(self.tokens(ids) + self.pos_emb.weight[: ids.shape[1]])  # (B, L, width)
        for block in self.blocks:
            x = block(x, mask[:, None, None])
        return x
