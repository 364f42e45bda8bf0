"""Attention, once: `attend` is all of it, and every network of the course calls it.

Source: Vaswani et al. 2017, section 3.2. The modules below only make queries, keys and values.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.nets.layers import linear, zero


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    heads: int,
    mask: Tensor | None = None,
    bias: Tensor | None = None,
    scale: float | None = None,
    weights: bool = False,
) -> Tensor | tuple[Tensor, Tensor]:
    """softmax(scale q kᵀ + bias) v in each of the heads, (B, Lq, C).

    q: (B, Lq, D); k: (B, Lk, D); v: (B, Lk, C); D and C split evenly into the heads.
    mask: bool of four axes, broadcasting to (B, heads, Lq, Lk): True = may be looked at. Of padding
        (B, Lk) it is ``mask[:, None, None]``; `causal` makes one. A query that may look at nothing
        gets zeros.
    bias: of four axes, broadcasting likewise, added to the logits, such as T5's.
    scale: None is 1 / √(D / heads).
    weights: also returns what each query looked at, (B, heads, Lq, Lk), rows summing to 1; this
        needs the whole matrix in memory.
    Raises ValueError for a mask of another dtype or number of axes, which would hide other things.
    """
    if mask is not None and (mask.dtype != torch.bool or mask.ndim != 4):
        raise ValueError(
            f"mask is {mask.dtype} of shape {tuple(mask.shape)}, but must be torch.bool of shape "
            "(B, heads, Lq, Lk), or 1 in place of some: padding (B, Lk) is mask[:, None, None]"
        )
    q, k, v = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    if not weights and not slow(q, k):
        if mask is not None and bias is not None:
            bias = bias.masked_fill(~mask, -torch.inf)
        either = mask if bias is None else bias
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=either, scale=scale)
        return h.transpose(1, 2).flatten(2)
    logits = (q.shape[-1] ** -0.5 if scale is None else scale) * q @ k.mT  # (B, heads, Lq, Lk)
    if bias is not None:
        logits = logits + bias
    if mask is None:
        looked = logits.softmax(-1)
    else:  # the least number, not -inf, which would make NaN where nothing may be looked at
        looked = logits.masked_fill(~mask, torch.finfo(logits.dtype).min).softmax(-1) * mask
    h = (looked.to(v.dtype) @ v).transpose(1, 2).flatten(2)
    return (h, looked) if weights else h


def slow(q: Tensor, k: Tensor) -> bool:
    """Whether torch's own fused attention would be slow: in bfloat16 on a CPU, for up to some
    hundred keys, its gradient takes two to ten times as long as the three plain steps (torch 2.13,
    ``python -m benchmarks.attention``). In float32 it is the faster one."""
    on_cpu = q.device.type == "cpu" and q.dtype == torch.bfloat16
    return on_cpu and q.requires_grad and k.shape[-2] <= 512


def causal(length: int, device: torch.device | None = None) -> Tensor:
    """A mask (1, 1, L, L) for `attend`: each token looks at those before it and at itself."""
    return torch.ones(1, 1, length, length, dtype=torch.bool, device=device).tril()


def inner_width(width: int, heads: int, head_width: int | None) -> int:
    """Of all heads together. Raises ValueError if the width cannot be split among them."""
    if head_width is None and width % heads:
        raise ValueError(
            f"a width of {width} cannot be split into {heads} heads of equal size: choose heads "
            "that divide it, or give head_width"
        )
    return heads * (head_width or width // heads)


class SelfAttention(nn.Module):
    """Tokens (B, L, width) look at each other; returns (B, L, width).

    head_width: of each head, None: width / heads. bias: of queries, keys and values; out_bias: of
    what comes out. scale: see `attend`. Raises ValueError for heads that do not divide the width.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        head_width: int | None = None,
        bias: bool = True,
        out_bias: bool = True,
        scale: float | None = None,
    ):
        super().__init__()
        inner = inner_width(width, heads, head_width)
        self.heads, self.scale = heads, scale
        self.qkv = nn.Linear(width, 3 * inner, bias=bias)
        self.out = nn.Linear(inner, width, bias=out_bias)

    def forward(self, x: Tensor, mask: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=2)
        return self.out(attend(q, k, v, self.heads, mask, bias, self.scale))


class CrossAttention(nn.Module):
    """Tokens x (B, L, width) look at others, (B, M, context); returns (B, L, width).

    bias: of queries, keys and values; out_bias: of what comes out, which has one in latent
    diffusion. scale: see `attend`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        context: int,
        head_width: int | None = None,
        bias: bool = False,
        out_bias: bool = True,
        scale: float | None = None,
    ):
        super().__init__()
        inner = inner_width(width, heads, head_width)
        self.heads, self.scale = heads, scale
        self.q = nn.Linear(width, inner, bias=bias)
        self.kv = nn.Linear(context, 2 * inner, bias=bias)
        self.out = nn.Linear(inner, width, bias=out_bias)

    def forward(self, x: Tensor, context: Tensor, mask: Tensor | None = None) -> Tensor:
        k, v = self.kv(context).chunk(2, dim=2)
        return self.out(attend(self.q(x), k, v, self.heads, mask, scale=self.scale))


class PixelAttention(nn.Module):
    """Every pixel looks at every pixel, and at the condition's tokens where there are any.

    The tokens' keys and values are put before those of the pixels, so that one softmax runs over
    both (GLIDE, section 4.1). Tokens whose mask is False are not looked at; without any token the
    result is the self-attention of DDPM and ADM. The branch starts at zero and is added to x.
    """

    def __init__(
        self, channels: int, heads: int, groups: int, tokens: int | None = None, eps: float = 1e-5
    ):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, channels, eps)
        self.qkv = linear(channels, 3 * channels)
        self.token_kv = linear(tokens, 2 * channels) if tokens else None
        self.out = zero(linear(channels, channels))

    def queries(self, x: Tensor, cond=None) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """What `attend` is called with: q (B, HW, C); k and v (B, L + HW, C), the tokens before the
        pixels; the mask, or None where everything may be looked at."""
        B, C, H, W = x.shape
        pixels = self.norm(x).permute(0, 2, 3, 1).reshape(B, H * W, C)
        q, k, v = self.qkv(pixels).chunk(3, dim=2)  # (B, HW, C) each
        mask = None
        if self.token_kv is not None and cond is not None and cond.tokens is not None:
            token_k, token_v = self.token_kv(cond.tokens).chunk(2, dim=2)  # (B, L, C) each
            k, v = torch.cat([token_k, k], dim=1), torch.cat([token_v, v], dim=1)
            if cond.mask is not None:
                every_pixel = cond.mask.new_ones(B, H * W)
                mask = torch.cat([cond.mask, every_pixel], dim=1)[:, None, None]
        return q, k, v, mask

    def forward(self, x: Tensor, emb: Tensor | None = None, cond=None) -> Tensor:
        B, C, H, W = x.shape
        q, k, v, mask = self.queries(x, cond)
        h = self.out(attend(q, k, v, self.heads, mask))
        return x + h.reshape(B, H, W, C).permute(0, 3, 1, 2)


class PixelCrossAttention(nn.Module):
    """Every pixel looks at the condition's tokens, and at no pixel: what Imagen's largest stage has
    in attention's place (section D.3.1). The branch starts at zero and is added to x (B, C, H, W);
    where no token may be looked at it says only its bias."""

    def __init__(self, channels: int, heads: int, groups: int, tokens: int, eps: float = 1e-5):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps)
        self.attention = CrossAttention(channels, heads, tokens)
        zero(self.attention.out)

    def forward(self, x: Tensor, emb: Tensor | None = None, cond=None) -> Tensor:
        B, C, H, W = x.shape
        mask = None if cond.mask is None else cond.mask[:, None, None]
        pixels = self.norm(x).permute(0, 2, 3, 1).reshape(B, H * W, C)
        h = self.attention(pixels, cond.tokens, mask)
        return x + h.reshape(B, H, W, C).permute(0, 3, 1, 2)


class AttentionPool(nn.Module):
    """One vector for a feature map: its mean looks at all pixels, and at itself.

    (B, C, H, W) → (B, outputs); H and W are fixed, since every position has a learned embedding
    (CLIP, section 2.4; ADM's classifier).
    """

    def __init__(self, channels: int, side: int, heads: int, outputs: int):
        super().__init__()
        self.heads = heads
        self.pos_emb = nn.Parameter(torch.randn(side * side + 1, channels) / channels**0.5)
        self.qkv, self.out = linear(channels, 3 * channels), linear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(2).transpose(1, 2)  # (B, HW, C)
        pixels = torch.cat([pixels.mean(1, keepdim=True), pixels], dim=1) + self.pos_emb
        q, k, v = self.qkv(pixels).chunk(3, dim=2)  # (B, 1 + HW, C) each
        q = q[:, :1]  # only what the mean asks for is answered
        return self.out(attend(q, k, v, self.heads).flatten(1))


class TokenPool(nn.Module):
    """One vector for some tokens, whose mean looks at all of them: (B, L, width) → (B, outputs).

    mask: (B, L) bool, True = a real token; of a row without any only the bias is left (Imagen,
    section 2.5; as in DeepFloyd's IF, the mean is the query).
    """

    def __init__(self, width: int, heads: int, outputs: int):
        super().__init__()
        self.attention = CrossAttention(width, heads, width, bias=True)
        self.out = linear(width, outputs)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        real = mask[..., None].to(tokens.dtype)  # (B, L, 1)
        mean = (tokens * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp(min=1)
        return self.out(self.attention(mean, tokens, mask[:, None, None])[:, 0])
