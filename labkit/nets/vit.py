"""The vision transformer as CLIP has it: a picture is cut into patches, and each is a word.

Sources: Dosovitskiy et al. 2021; Radford et al. 2021, section 2.4, which adds a norm before the
transformer; the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labkit.inputs import whole_number
from labkit.nets.transformer import Transformer, check_transformer


@dataclass(frozen=True)
class ViTConfig:
    """All that there is to choose about a `ViT`. The defaults are those of CLIP's ViT-B/32."""

    size: int = 224  # side of the square picture
    patch: int = 32  # side of a patch
    width: int = 768
    depth: int = 12
    heads: int = 12

    def __post_init__(self):
        check_transformer(self, "a vision transformer")
        for name in ("size", "patch"):
            whole_number(getattr(self, name), f"a vision transformer's {name}", 1)
        if self.size % self.patch:
            raise ValueError(
                f"a picture of {self.size} pixels a side cannot be cut into patches of "
                f"{self.patch}: choose a patch that divides the size"
            )


class ViT(nn.Module):
    """One vector for a picture: called as net(x), x (B, 3, S, S); returns (B, dim)."""

    def __init__(self, config: ViTConfig, dim: int):
        super().__init__()
        self.config = c = config
        patches = (c.size // c.patch) ** 2
        self.patches = nn.Conv2d(3, c.width, c.patch, stride=c.patch, bias=False)
        # One token stands for no patch; it looks at all of them, and ends as the picture's vector.
        self.cls_token = nn.Parameter(c.width**-0.5 * torch.randn(c.width))
        self.pos_emb = nn.Parameter(c.width**-0.5 * torch.randn(1 + patches, c.width))
        self.norm_in = nn.LayerNorm(c.width)
        self.transformer = Transformer(c.width, c.depth, c.heads)
        self.norm_out = nn.LayerNorm(c.width)
        self.project = nn.Linear(c.width, dim, bias=False)
        nn.init.normal_(self.project.weight, std=c.width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2)  # (B, HW, width)
        cls_token = self.cls_token.expand(len(x), 1, -1)
        x = torch.cat([cls_token, patches], dim=1) + self.pos_emb  # (B, 1 + HW, width)
        x = self.transformer(self.norm_in(x))
        return self.project(self.norm_out(x[:, 0]))
