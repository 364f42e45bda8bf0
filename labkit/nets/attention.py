"""Self-attention over the pixels of a feature map, which may also look at the tokens of a text."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.nets.layers import linear, zero


class Attention(nn.Module):
    """Every pixel looks at every pixel, and at the condition's tokens where there are any.

    The tokens' keys and values are put before those of the pixels, so that one softmax runs over
    both (GLIDE, section 4.1). Tokens whose mask is False are not looked at; without any token the
    result is the self-attention of DDPM and ADM. The branch starts at zero and is added to x.
    """

    def __init__(self, channels: int, heads: int, groups: int, tokens: int | None = None):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = linear(channels, 3 * channels)
        self.token_kv = linear(tokens, 2 * channels) if tokens else None
        self.out = zero(linear(channels, channels))

    def forward(self, x: Tensor, emb: Tensor | None = None, cond=None) -> Tensor:
        B, C, H, W = x.shape
        pixels = self.norm(x).permute(0, 2, 3, 1).reshape(B, H * W, C)
        q, k, v = self.qkv(pixels).chunk(3, dim=2)  # (B, HW, C) each
        visible = None
        if self.token_kv is not None and cond is not None and cond.tokens is not None:
            token_k, token_v = self.token_kv(cond.tokens).chunk(2, dim=2)  # (B, L, C) each
            k, v = torch.cat([token_k, k], dim=1), torch.cat([token_v, v], dim=1)
            if cond.mask is not None:
                every_pixel = cond.mask.new_ones(B, H * W)
                visible = torch.cat([cond.mask, every_pixel], dim=1)[:, None, None, :]
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)  # (B, heads, HW, C/heads)
        h = self.out(h.transpose(1, 2).reshape(B, H * W, C))
        return x + h.reshape(B, H, W, C).permute(0, 3, 1, 2)
