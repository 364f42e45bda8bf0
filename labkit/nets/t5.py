"""T5, the language model whose encoder reads for Imagen: version 1.1, of any size.

Source: Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
Transformer", section 2.1, and version 1.1 of the authors' code. Notable choices:

- Norms stand before the branches, subtract no mean and have no bias (RMSNorm).
- No linear map has a bias, and logits are not divided by √d: the first weights are drawn smaller.
- Nothing says where a token stands. How far a key is from a query is added to their logit instead,
  one number for each head and distance, the same in all layers; far distances share a number.
- The MLP is gated: a hidden layer times the GELU, in its tanh form, of another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labkit.casting import moved
from labkit.inputs import whole_number
from labkit.nets.attention import CrossAttention, SelfAttention, causal
from labkit.nets.spatial import GEGLU
from labkit.nets.transformer import Block

EPS = 1e-6  # of every norm


@dataclass(frozen=True)
class T5Config:
    """All that there is to choose about a T5. The defaults are those of v1.1-small's encoder."""

    vocabulary: int = 32_128  # rows of the embedding: pieces, sentinels, filling
    width: int = 512
    hidden: int = 1024  # units of the MLP
    depth: int = 8
    heads: int = 6
    head_width: int = 64  # all heads together may be wider or narrower than the width
    decoder: int = 0  # layers of the decoder; 0: there is none, as Imagen needs none
    buckets: int = 32  # of distances
    reach: int = 128  # all distances from here on share a bucket
    sentinel: int = 32_099  # the token that marks the first blank; the next one is one less, …

    def __post_init__(self):
        whole_number(self.decoder, "T5's decoder", 0)
        for name in ("width", "hidden", "depth", "heads", "head_width"):
            whole_number(getattr(self, name), f"T5's {name}", 1)
        whole_number(self.vocabulary, "T5's vocabulary", 2)
        whole_number(self.sentinel, "T5's first sentinel", 1, self.vocabulary - 1)
        whole_number(self.buckets, "T5's number of buckets", 4)
        whole_number(self.reach, "T5's reach", self.buckets)


PAPER = {  # released as T5 v1.1, and, with other weights, as FLAN-T5
    "small": T5Config(),
    "base": T5Config(width=768, hidden=2048, depth=12, heads=12),
    "large": T5Config(width=1024, hidden=2816, depth=24, heads=16),
    "xl": T5Config(width=2048, hidden=5120, depth=24, heads=32),
    "xxl": T5Config(width=4096, hidden=10_240, depth=24, heads=64),
}


def distance_buckets(
    distance: Tensor, buckets: int = 32, reach: int = 128, causal: bool = False
) -> Tensor:
    """Distances (…) long, key − query, as numbers of buckets in 0 … buckets − 1 (section 2.1).

    Half of the buckets hold one distance each; the others grow by a constant factor up to ``reach``
    and hold all that is beyond. Where keys may stand on both sides each side has half of the
    buckets, those of later keys the upper half; ``causal``: earlier keys have all of them.
    """
    upper = 0
    if causal:
        far = (-distance).clamp(min=0)
    else:
        buckets = buckets // 2
        upper, far = buckets * (distance > 0).long(), distance.abs()
    exact = buckets // 2
    growth = (far.clamp(min=1).double() / exact).log() / math.log(reach / exact)
    shared = (exact + (growth * (buckets - exact)).long()).clamp(max=buckets - 1)
    return upper + torch.where(far < exact, far, shared)


class DistanceBias(nn.Module):
    """What the distance of a key adds to its logits, (1, heads, L, L), for L tokens."""

    def __init__(self, config: T5Config, causal: bool = False):
        super().__init__()
        self.causal = causal
        self.buckets, self.reach = config.buckets, config.reach
        self.bias = nn.Embedding(config.buckets, config.heads)
        nn.init.normal_(self.bias.weight, std=config.width**-0.5)

    def forward(self, length: int) -> Tensor:
        places = torch.arange(length)
        distance = places[None, :] - places[:, None]  # key − query, (L, L)
        found = distance_buckets(distance, self.buckets, self.reach, self.causal)
        return self.bias(moved(found, self.bias.weight.device)).permute(2, 0, 1)[None]


def norm(c: T5Config) -> nn.RMSNorm:
    return nn.RMSNorm(c.width, eps=EPS)


def self_attention(c: T5Config) -> SelfAttention:
    """Queries are drawn 1 / √head_width smaller, in place of the scale that logits lack."""
    made = SelfAttention(c.width, c.heads, c.head_width, bias=False, out_bias=False, scale=1.0)
    nn.init.normal_(made.qkv.weight, std=c.width**-0.5)
    with torch.no_grad():
        made.qkv.weight[: c.heads * c.head_width] *= c.head_width**-0.5
    nn.init.normal_(made.out.weight, std=(c.heads * c.head_width) ** -0.5)
    return made


def cross_attention(c: T5Config) -> CrossAttention:
    made = CrossAttention(c.width, c.heads, c.width, c.head_width, out_bias=False, scale=1.0)
    nn.init.normal_(made.q.weight, std=(c.width * c.head_width) ** -0.5)
    nn.init.normal_(made.kv.weight, std=c.width**-0.5)
    nn.init.normal_(made.out.weight, std=(c.heads * c.head_width) ** -0.5)
    return made


def gated_mlp(c: T5Config) -> GEGLU:
    made = GEGLU(c.width, c.hidden, bias=False, approximate="tanh")
    nn.init.normal_(made.inner.weight, std=c.width**-0.5)
    nn.init.normal_(made.out.weight, std=c.hidden**-0.5)
    return made


class T5Encoder(nn.Module):
    """A vector for each token of a text, each having looked at all others.

    Called as net(x, mask): embedded tokens (B, L, width), and which of them are real, (B, L) bool;
    returns (B, L, width). What stands where the mask is False changes nothing elsewhere.
    """

    def __init__(self, config: T5Config):
        super().__init__()
        self.distance = DistanceBias(config)
        self.blocks = nn.ModuleList(
            Block(norm(config), self_attention(config), gated_mlp(config))
            for _ in range(config.depth)
        )
        self.norm = norm(config)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        bias = self.distance(x.shape[1])
        for block in self.blocks:
            x = block(x, mask[:, None, None], bias)
        return self.norm(x)


class DecoderBlock(Block):
    """A `Block` whose tokens, between the two branches, also look at the text that was read."""

    def __init__(self, c: T5Config):
        super().__init__(norm(c), self_attention(c), gated_mlp(c))
        self.norm_cross, self.cross = norm(c), cross_attention(c)

    def forward(self, x: Tensor, mask: Tensor, bias: Tensor, text: Tensor, real: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x), mask, bias)
        x = x + self.cross(self.norm_cross(x), text, real)
        return x + self.mlp(self.norm2(x))


class T5Decoder(nn.Module):
    """Says for each token what comes next, having looked at those before it and at a text.

    Called as net(x, text, mask): embedded tokens (B, M, width), what the encoder made of a text,
    (B, L, width), and which of its tokens are real, (B, L) bool; returns logits (B, M, vocabulary).
    """

    def __init__(self, config: T5Config):
        super().__init__()
        self.distance = DistanceBias(config, causal=True)
        self.blocks = nn.ModuleList(DecoderBlock(config) for _ in range(config.decoder))
        self.norm = norm(config)
        self.out = nn.Linear(config.width, config.vocabulary, bias=False)  # v1.1: not the embedding
        nn.init.normal_(self.out.weight, std=config.width**-0.5)

    def forward(self, x: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        before, bias = causal(x.shape[1], x.device), self.distance(x.shape[1])
        for block in self.blocks:
            x = block(x, before, bias, text, mask[:, None, None])
        return self.out(self.norm(x))


class T5Net(nn.Module):
    """The embedding, which encoder and decoder share, the encoder, and the decoder if there is one.

    Called as net(ids, mask): ids (B, L) long, mask (B, L) bool, True = a real token; returns what
    the encoder says of each token, (B, L, width).
    """

    def __init__(self, config: T5Config):
        super().__init__()
        self.tokens = nn.Embedding(config.vocabulary, config.width)  # drawn with variance 1
        self.encoder = T5Encoder(config)
        self.decoder = T5Decoder(config) if config.decoder else None

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.encoder(self.tokens(ids), mask)

    def next(self, said: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, M, vocabulary) of what follows each of the tokens said, (B, M) long, about a
        text as the encoder gave it, (B, L, width), with its mask."""
        return self.decoder(self.tokens(said), text, mask)
