"""The spatial transformer: pixels as tokens that look at each other, then at a text.

Source: Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models",
section 3.3 and appendix E.2.1, and the authors' code.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from labkit.nets.attention import CrossAttention, SelfAttention
from labkit.nets.layers import zero
from labkit.nets.transformer import Block


class GEGLU(nn.Module):
    """x (B, L, width) through hidden units, 4 · width unless said, each multiplied by the GELU of
    a gate (Shazeer 2020); returns (B, L, width). approximate: of the GELU, as torch names it."""

    def __init__(
        self, width: int, hidden: int | None = None, bias: bool = True, approximate: str = "none"
    ):
        super().__init__()
        hidden, self.approximate = hidden or 4 * width, approximate
        self.inner = nn.Linear(width, 2 * hidden, bias)
        self.out = nn.Linear(hidden, width, bias)

    def forward(self, x: Tensor) -> Tensor:
        h, gate = self.inner(x).chunk(2, dim=2)
        return self.out(h * F.gelu(gate, approximate=self.approximate))


class SpatialTransformer(nn.Module):
    """What stands at attention's place in latent diffusion's U-Net: a norm, ``depth`` blocks over
    the pixels of x (B, C, H, W), and a projection that starts at zero and is added to x.

    context: the length of each of cond.tokens, which the pixels look at; None: they have none.
    """

    def __init__(
        self, channels: int, heads: int, groups: int, context: int | None = None, depth: int = 1
    ):
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, channels)
        self.blocks = nn.ModuleList(
            Block(
                nn.LayerNorm(channels),
                SelfAttention(channels, heads, bias=False),
                GEGLU(channels),
                cross=CrossAttention(channels, heads, context or channels),
            )
            for _ in range(depth)
        )
        self.proj_out = zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor, emb: Tensor | None = None, cond=None) -> Tensor:
        B, C, H, W = x.shape
        tokens = cond.tokens if cond is not None else None
        mask = cond.mask[:, None, None] if tokens is not None and cond.mask is not None else None
        h = self.proj_in(self.norm(x).permute(0, 2, 3, 1).reshape(B, H * W, C))
        for block in self.blocks:
            h = block(h, context=tokens, context_mask=mask)
        return x + self.proj_out(h).reshape(B, H, W, C).permute(0, 3, 1, 2)
