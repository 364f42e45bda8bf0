"""The two transformers of DALL·E 2's priors: both read a caption and then tell of a picture.

Source: Ramesh et al. 2022, "Hierarchical Text-Conditional Image Generation with CLIP Latents",
section 2.2 and appendix C. Both are causal: every token looks at itself and at those before it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labkit.conditioning import Conditioning, heard
from labkit.inputs import autocasts, whole_number
from labkit.nets.attention import attend, causal
from labkit.nets.layers import linear, sinusoid
from labkit.nets.transformer import Transformer, check_transformer

AFTER_TEXT = 4  # what follows the caption: its CLIP embedding, the time, the picture, the query


@dataclass(frozen=True)
class PriorConfig:
    """All that there is to choose about a `PriorTransformer`. The defaults are those of diffusers'
    class of that name."""

    dim: int = 768  # of CLIP's space
    tokens: int = 768  # length of the vector of each token of the caption
    context: int = 77  # most tokens of a caption
    width: int = 2048
    depth: int = 20
    heads: int = 32
    causal: bool = True

    def __post_init__(self):
        check_transformer(self, "a prior")
        for part in ("dim", "tokens", "context"):
            whole_number(getattr(self, part), f"a prior's {part}", 1)


class PriorTransformer(nn.Module):
    """Which image embedding hides in a noisy one, given a caption: the net of the diffusion prior.

    Called as net(x, t, cond): x (B, dim) the noisy image embedding, t (B,) times in 1 … T;
    cond.tokens (B, L, tokens) and cond.mask (B, L) the caption, cond.vector (B, dim) its CLIP
    embedding. Returns (B, dim). In one sequence stand the caption, its embedding, the time, x, and
    a learned query, from whose place the answer is read: there everything has been seen.
    """

    def __init__(self, config: PriorConfig):
        super().__init__()
        self.config = c = config
        self.tokens, self.text = nn.Linear(c.tokens, c.width), nn.Linear(c.dim, c.width)
        self.time = nn.Sequential(linear(c.width, c.width), nn.SiLU(), linear(c.width, c.width))
        self.image = nn.Linear(c.dim, c.width)
        self.query = nn.Parameter(0.02 * torch.randn(c.width))
        self.pos_emb = nn.Parameter(0.01 * torch.randn(c.context + AFTER_TEXT, c.width))
        self.transformer = Transformer(c.width, c.depth, c.heads, nn.GELU())
        self.norm = nn.LayerNorm(c.width)
        self.out = nn.Linear(c.width, c.dim)

    def forward(self, x: Tensor, t: Tensor, cond: Conditioning | None = None) -> Tensor:
        c = self.config
        dtype = None if autocasts(x.device) else x.dtype
        needed = ("vector", "tokens")
        cond = heard(cond, len(x), vector=c.dim, tokens=c.tokens, needed=needed, dtype=dtype)
        fits(cond.tokens, c.context)
        text = self.tokens(cond.tokens)  # (B, L, width)
        time = self.time(sinusoid(t, c.width).to(x.dtype))
        after = (self.text(cond.vector), time, self.image(x), self.query.expand_as(time))
        sequence = torch.cat([text, torch.stack(after, 1)], 1)  # (B, L + 4, width)
        L = text.shape[1]
        pos_emb = torch.cat([self.pos_emb[:L], self.pos_emb[c.context :]])
        h = self.transformer(sequence + pos_emb, seen(cond.mask, text, L + AFTER_TEXT, c.causal))
        return self.out(self.norm(h[:, -1]))


def fits(text: Tensor, context: int) -> None:
    """Raises ValueError for captions (B, L, …) longer than the context: their last tokens would
    get the positions of what comes after."""
    if text.shape[1] > context:
        raise ValueError(
            f"the captions have {text.shape[1]} tokens, but this prior reads at most {context}: "
            "cut them off there, or read them with the CLIP of its training"
        )


def seen(mask: Tensor | None, text: Tensor, length: int, past_only: bool = True) -> Tensor | None:
    """Which of the tokens may be looked at, for `attend`: those of the past, and of a text
    (B, L, width) those that its mask (B, L) calls real."""
    before = causal(length, text.device) if past_only else None
    if mask is None:
        return before
    rest = mask.new_ones(len(mask), length - mask.shape[1])
    real = torch.cat([mask, rest], 1)[:, None, None]  # (B, 1, 1, length)
    return real if before is None else real & before


@dataclass(frozen=True)
class CodesConfig:
    """All that there is to choose about a `CodesTransformer`. The defaults are the paper's (section
    2.2, and table 3's decoder), which does not say how many heads and dot products it has."""

    dim: int = 1024  # of CLIP's space
    vocabulary: int = 49_408
    context: int = 77  # most tokens of a caption
    codes: int = 319  # of an embedding
    buckets: int = 1024  # values that each of them may have
    dots: int = 1024  # values of the dot product of picture and caption
    width: int = 1664
    depth: int = 24
    heads: int = 26

    def __post_init__(self):
        check_transformer(self, "an autoregressive prior")
        for part in ("dim", "vocabulary", "context", "codes", "buckets", "dots"):
            whole_number(getattr(self, part), f"an autoregressive prior's {part}", 1)
        if self.dots > 1 and self.dots % 2:
            raise ValueError(
                f"an autoregressive prior's dots is {self.dots}, but must be even: the upper half "
                "of them is asked for"
            )


class CodesTransformer(nn.Module):
    """An image embedding as a text of its codes, one after the other, given a caption.

    Called as net(ids, mask, text, dot, codes): the caption's ids (B, L) long and mask (B, L) bool,
    its CLIP embedding (B, dim), the bucket of its dot product with the picture (B,) long, and the
    codes (B, K) long. Returns the logits of each code, (B, K, buckets), of which number k knows
    only the codes before it.
    """

    def __init__(self, config: CodesConfig):
        super().__init__()
        self.config = c = config
        self.tokens, self.text = nn.Embedding(c.vocabulary, c.width), nn.Linear(c.dim, c.width)
        self.dots, self.codes = nn.Embedding(c.dots, c.width), nn.Embedding(c.buckets, c.width)
        # The last code is asked for, and never looked at.
        self.pos_emb = nn.Parameter(0.01 * torch.randn(c.context + 1 + c.codes, c.width))
        self.transformer = Transformer(c.width, c.depth, c.heads, nn.GELU())
        self.norm = nn.LayerNorm(c.width)
        self.out = nn.Linear(c.width, c.buckets)
        for table in (self.tokens, self.dots, self.codes):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, ids: Tensor, mask: Tensor, text: Tensor, dot: Tensor, codes: Tensor):
        prefix = self.prefix(ids, text, dot)
        known = self.codes(codes[:, :-1]) + self.pos_emb[self.config.context + 2 :]
        x = torch.cat([prefix, known], 1)
        h = self.transformer(x, seen(mask, x, x.shape[1]))
        return self.out(self.norm(h[:, ids.shape[1] + 1 :]))

    def prefix(self, ids: Tensor, text: Tensor, dot: Tensor) -> Tensor:
        """What stands before the codes, (B, L + 2, width)."""
        fits(ids, self.config.context)
        words = self.tokens(ids) + self.pos_emb[: ids.shape[1]]
        after = torch.stack([self.text(text), self.dots(dot)], 1)
        context = self.config.context
        return torch.cat([words, after + self.pos_emb[context : context + 2]], 1)

    def walk(self, ids: Tensor, mask: Tensor, text: Tensor, dot: Tensor, choose) -> Tensor:
        """Codes (B, K) long, drawn one after the other: choose(logits (B, buckets)) → (B,) long.
        What earlier tokens have for later ones to look at is kept, so each costs one token."""
        past: list[tuple[Tensor, Tensor]] = []
        codes: list[Tensor] = []
        x = self.prefix(ids, text, dot)
        may = seen(mask, x, x.shape[1])
        for place in range(self.config.context + 2, self.config.context + 2 + self.config.codes):
            if codes:
                x = (self.codes(codes[-1]) + self.pos_emb[place - 1])[:, None]
                may = seen(mask, x, past[0][0].shape[1] + 1, past_only=False)
            x = extend(self.transformer, x, past, may)
            codes.append(choose(self.out(self.norm(x[:, -1]))))
        return torch.stack(codes, 1)


def extend(transformer: Transformer, x: Tensor, past: list, mask: Tensor) -> Tensor:
    """The transformer on further tokens x (B, N, width), behind those that it has seen already.

    past: keys and values of each block, (B, L, width) each; empty at first, and added to here.
    mask: what the new tokens may look at, among all, for `attend`."""
    kept, past[:] = list(past), []

    def look(h: Tensor, block) -> Tensor:
        q, k, v = block.attention.qkv(h).chunk(3, dim=2)
        if kept:
            k, v = (torch.cat([a, b], 1) for a, b in zip(kept[len(past)], (k, v), strict=True))
        past.append((k, v))
        return block.attention.out(attend(q, k, v, block.attention.heads, mask))

    for block in transformer:
        x = block.add(x, block.norm1, lambda h, block=block: look(h, block))
        x = block.add(x, block.norm2, block.mlp)
    return x
