"""The transformer's block, of any modules, and the text transformers of CLIP and GLIDE.

Source: Radford et al. 2021, section 2.4, and the authors' code, which is GPT-2's transformer (norms
before the branches) with a cheaper GELU.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labkit.inputs import whole_number
from labkit.nets.attention import SelfAttention, causal


class QuickGELU(nn.Module):
    """x σ(1.702 x): close to GELU, but not GELU; released weights know the difference."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def mlp(width: int, activation: nn.Module) -> nn.Sequential:
    """Two linear maps with four times as many units between them."""
    return nn.Sequential(nn.Linear(width, 4 * width), activation, nn.Linear(4 * width, width))


class Block(nn.Module):
    """Tokens look at each other, then each thinks for itself; both are added to what was there.

    norm: a norm of tokens (B, L, width), of which each branch has its own; attention: called as
    attention(x, mask, bias); mlp: called as mlp(x). post: the norms stand behind the sums, as in
    the first transformers and BERT, not before the branches. cross: between the two, the tokens
    look at a context (B, M, C), called as cross(x, context, context_mask), as in the first
    transformer's decoder; where no context is given, at each other once more.
    """

    def __init__(
        self,
        norm: nn.Module,
        attention: nn.Module,
        mlp: nn.Module,
        post: bool = False,
        cross: nn.Module | None = None,
    ):
        super().__init__()
        self.norm1, self.attention = norm, attention
        self.norm_cross, self.cross = None if cross is None else deepcopy(norm), cross
        self.norm2, self.mlp = deepcopy(norm), mlp
        self.post = post

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        bias: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
    ) -> Tensor:
        def look(h: Tensor) -> Tensor:
            return self.cross(h, h if context is None else context, context_mask)

        x = self.add(x, self.norm1, lambda h: self.attention(h, mask, bias))
        if self.cross is not None:
            x = self.add(x, self.norm_cross, look)
        return self.add(x, self.norm2, self.mlp)

    def add(self, x: Tensor, norm: nn.Module, branch: Callable[[Tensor], Tensor]) -> Tensor:
        return norm(x + branch(x)) if self.post else x + branch(norm(x))


class Transformer(nn.ModuleList):
    """``depth`` blocks, (B, L, width) → the same shape, built and drawn as CLIP's are. activation:
    of each block's mlp, None: `QuickGELU`.

    What ends a branch is drawn smaller the deeper the transformer, so that the sum of all branches
    starts out no larger than one (GPT-2; here also for the vision transformer).
    """

    def __init__(self, width: int, depth: int, heads: int, activation: nn.Module | None = None):
        activation = activation or QuickGELU()
        super().__init__(
            Block(nn.LayerNorm(width), SelfAttention(width, heads), mlp(width, activation))
            for _ in range(depth)
        )
        end = width**-0.5 * (2 * depth) ** -0.5
        for block in self:
            nn.init.normal_(block.attention.qkv.weight, std=width**-0.5)
            nn.init.normal_(block.attention.out.weight, std=end)
            nn.init.normal_(block.mlp[0].weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp[2].weight, std=end)
            nn.init.zeros_(block.attention.qkv.bias)
            nn.init.zeros_(block.attention.out.bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        for block in self:
            x = block(x, mask)
        return x


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
    paper counts 49,152 tokens and 76 positions where its code has these."""

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
    it; returns (B, dim). Whatever stands behind the end of a text makes no difference. With dim
    None it returns what every token has understood, (B, L, width), as Stable Diffusion reads it.
    """

    def __init__(self, config: TextConfig, dim: int | None):
        super().__init__()
        self.config = c = config
        self.tokens = nn.Embedding(c.vocabulary, c.width)
        self.pos_emb = nn.Parameter(0.01 * torch.randn(c.context, c.width))
        self.transformer = Transformer(c.width, c.depth, c.heads)
        self.norm = nn.LayerNorm(c.width)
        self.project = nn.Linear(c.width, dim, bias=False) if dim else None
        nn.init.normal_(self.tokens.weight, std=0.02)
        if self.project is not None:
            nn.init.normal_(self.project.weight, std=c.width**-0.5)

    def states(self, tokens: Tensor) -> Tensor:
        """What each token has understood of itself and of those before it, (B, L, width)."""
        x = self.tokens(tokens) + self.pos_emb[: tokens.shape[1]]
        return self.norm(self.transformer(x, causal(x.shape[1], x.device)))

    def ends(self, tokens: Tensor) -> Tensor:
        """Where each text ends, (B,) long. The first end counts: where texts are padded with the
        end token there are many."""
        return (tokens == self.config.end).int().argmax(1)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.states(tokens)
        if self.project is None:
            return x
        return self.project(x[torch.arange(len(x), device=x.device), self.ends(tokens)])


class BidirectionalTextTransformer(nn.Module):
    """A vector for each position of a text, each having looked at all others, earlier and later
    (GLIDE, section 4.1, and its code).

    Called as net(ids, mask): ids (B, L) long, mask (B, L) bool, L the whole context; returns
    (B, L, width). Where the mask is False stands padding: not a token, but a vector that was
    learned for that position, so that the last position is there for a text of any length.
    """

    def __init__(self, config: TextConfig):
        super().__init__()
        self.config = c = config
        self.tokens = nn.Embedding(c.vocabulary, c.width)
        self.pos_emb = nn.Parameter(0.01 * torch.randn(c.context, c.width))
        self.padding_emb = nn.Parameter(0.01 * torch.randn(c.context, c.width))
        self.transformer = Transformer(c.width, c.depth, c.heads, nn.GELU())
        self.norm = nn.LayerNorm(c.width)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = torch.where(mask[..., None], self.tokens(ids) + self.pos_emb, self.padding_emb)
        return self.norm(self.transformer(x))
