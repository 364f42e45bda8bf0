"""The classifier of noisy pictures: the way down of a U-Net, and one glance at what it found.

Source: Dhariwal and Nichol 2021, section 4 and table 12, and the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.inputs import sized_pictures, whole_number
from labkit.nets.layers import linear, sinusoid
from labkit.nets.unet import Layers, UNetConfig, attention, residual, time_embedding, way_down


@dataclass(frozen=True)
class NoisyClassifierConfig:
    """All that there is to choose about a `NoisyClassifier`."""

    unet: UNetConfig = field(default_factory=UNetConfig)  # whose way down it is
    classes: int = 10
    pool_channels: int = 64  # of each head of the attention pool

    def __post_init__(self):
        if isinstance(self.unet, dict):  # JSON knows no dataclass
            object.__setattr__(self, "unet", UNetConfig(**self.unet))
        whole_number(self.classes, "a classifier's classes", 2)
        last = self.unet.level_widths[-1]
        if last % whole_number(self.pool_channels, "pool_channels", 1):
            raise ValueError(
                f"the last level has {last} channels, which cannot be split into heads of "
                f"{self.pool_channels}: choose pool_channels that divide"
            )


class AttentionPool(nn.Module):
    """One vector for a feature map: its mean, with a place of its own, looks at all pixels.

    (B, C, H, W) → (B, outputs); H and W are fixed, since every place has a learned embedding.
    """

    def __init__(self, channels: int, side: int, heads: int, outputs: int):
        super().__init__()
        self.heads = heads
        self.places = nn.Parameter(torch.randn(side * side + 1, channels) / channels**0.5)
        self.qkv, self.out = linear(channels, 3 * channels), linear(channels, outputs)

    def forward(self, x: Tensor) -> Tensor:
        pixels = x.flatten(2).transpose(1, 2)  # (B, HW, C)
        pixels = torch.cat([pixels.mean(1, keepdim=True), pixels], dim=1) + self.places
        q, k, v = self.qkv(pixels).chunk(3, dim=2)  # (B, 1 + HW, C) each
        q = q[:, :1]  # only what the mean asks for is answered
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(1))


class NoisyClassifier(nn.Module):
    """What is on a picture that is partly noise: called as net(x, t), gives logits (B, classes).

    x: (B, C, S, S), noised to time t; t: (B,) long, the same times that the diffusion model hears.
    """

    def __init__(self, config: NoisyClassifierConfig):
        super().__init__()
        self.config, c = config, config.unet
        self.time = time_embedding(c)
        self.door, self.down, kept = way_down(c)
        h = kept[-1]
        self.middle = Layers([residual(c, h, h), attention(c, h), residual(c, h, h)])
        self.norm = nn.GroupNorm(c.groups, h)
        side = c.size // c.fold // 2 ** (len(c.multipliers) - 1)
        self.pool = AttentionPool(h, side, h // config.pool_channels, config.classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        c = self.config.unet
        sized_pictures(x, c.channels, c.size, self.door.weight, "this classifier")
        emb = self.time(sinusoid(t, c.width, c.tensorflow).to(x.dtype))
        h = F.pixel_unshuffle(x, c.fold).contiguous(memory_format=torch.channels_last)
        h = self.door(h)
        for layers in self.down:
            h = layers(h, emb)
        return self.pool(F.silu(self.norm(self.middle(h, emb))))
