"""The transformer of CLIP, and its reader of text.

Source: Radford et al. 2021, section 2.4, and the authors' code, which is GPT-2's transformer (norms
before the branches) with a cheaper GELU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.inputs import whole_number


class QuickGELU(nn.Module):
    """x σ(1.702 x): close to GELU, but not GELU; released weights know the difference."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class SelfAttention(nn.Module):
    """Every token looks at all tokens; if causal, only at those before it and at itself."""

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=2)  # (B, L, width) each
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        h = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)  # (B, heads, L, ·)
        return self.out(h.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Tokens look at each other, then each thinks for itself; both are added to what was there."""

    def __init__(self, width: int, heads: int, causal: bool):
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), SelfAttention(width, heads, causal)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), QuickGELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Sequential):
    """``depth`` blocks, (B, L, width) → the same shape, drawn as CLIP's are.

    What ends a branch is drawn smaller the deeper the transformer, so that the sum of all branches
    starts out no larger than one (GPT-2; here also for the vision transformer).
    """

    def __init__(self, width: int, depth: int, heads: int, causal: bool = False):
        super().__init__(*(Block(width, heads, causal) for _ in range(depth)))
        end = width**-0.5 * (2 * depth) ** -0.5
        for block in self:
            nn.init.normal_(block.attention.qkv.weight, std=width**-0.5)
            nn.init.normal_(block.attention.out.weight, std=end)
            nn.init.normal_(block.mlp[0].weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp[2].weight, std=end)
            nn.init.zeros_(block.attention.qkv.bias)
            nn.init.zeros_(block.attention.out.bias)


def check_transformer(config, name: str) -> None:
    """ValueError unless width, depth and heads of that configuration can be built."""
    for part in ("width", "depth", "heads"):
        whole_number(getattr(config, part), f"{name}'s {part}", 1)
    if config.width % config.heads:
        raise ValueError(
            f"{name}'s width is {config.width}, which cannot be split into {config.heads} heads of "
            "equal size: choose heads that divide the width"
        )


@dataclass(frozen=True)
class TextConfig:
    """All that there is to choose about a `TextTransformer`. The defaults are CLIP's own, whose
    paper counts 49,152 tokens and 76 places where its code has these."""

    vocabulary: int = 49_408
    context: int = 77  # most tokens of one text, its start and end included
    width: int = 512
    depth: int = 12
    heads: int = 8
    end: int = 49_407  # the token that ends every text

    def __post_init__(self):
        check_transformer(self, "a text transformer")
        whole_number(self.vocabulary, "the vocabulary", 2)
        whole_number(self.context, "the context", 2)
        whole_number(self.end, "the token that ends a text", 0, self.vocabulary - 1)


class TextTransformer(nn.Module):
    """One vector for a text: what its last token has understood, having looked at all the others.

    Called as net(tokens): tokens (B, L) long, L up to the context, each row with the end token in
    it; returns (B, dim). Whatever stands behind the end of a text makes no difference.
    """

    def __init__(self, config: TextConfig, dim: int):
        super().__init__()
        self.config = c = config
        self.tokens = nn.Embedding(c.vocabulary, c.width)
        self.places = nn.Parameter(0.01 * torch.randn(c.context, c.width))
        self.transformer = Transformer(c.width, c.depth, c.heads, causal=True)
        self.norm = nn.LayerNorm(c.width)
        self.project = nn.Linear(c.width, dim, bias=False)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.project.weight, std=c.width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        # The first end counts: where texts are padded with the end token there are many.
        ends = (tokens == self.config.end).int().argmax(1)  # (B,)
        x = self.tokens(tokens) + self.places[: tokens.shape[1]]  # (B, L, width)
        x = self.transformer(x)
        last = x[torch.arange(len(x), device=x.device), ends]  # (B, width)
        return self.project(self.norm(last))
