"""The classifier of noisy pictures: the encoder of a U-Net, and attention over what it found.

Source: Dhariwal and Nichol 2021, section 4 and table 12, and the authors' code.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.inputs import sized_pictures, whole_number
from labkit.nets.attention import AttentionPool
from labkit.nets.layers import sinusoid
from labkit.nets.unet import Layers, UNetConfig, encoder, mixer, residual, time_embedding


@dataclass(frozen=True)
class NoisyClassifierConfig:
    """All that there is to choose about a `NoisyClassifier`."""

    unet: UNetConfig = field(default_factory=UNetConfig)  # whose encoder it is
    classes: int = 10
    pool_channels: int = 64  # of each head of the attention pool

    def __post_init__(self):
        if isinstance(self.unet, dict):  # JSON knows no dataclass
            object.__setattr__(self, "unet", UNetConfig(**self.unet))
        whole_number(self.classes, "a classifier's classes", 2)
        c = self.unet
        if c.vector or c.tokens or c.image or c.learned_variance:
            raise ValueError(
                "the classifier's U-Net has a vector, tokens, an image or a learned variance, of "
                "which an encoder makes no use: leave them out"
            )
        last = self.unet.level_widths[-1]
        if last % whole_number(self.pool_channels, "pool_channels", 1):
            raise ValueError(
                f"the last level has {last} channels, which cannot be split into heads of "
                f"{self.pool_channels}: choose pool_channels that divide"
            )


class NoisyClassifier(nn.Module):
    """What is on a picture that is partly noise: called as net(x, t), gives logits (B, classes).

    x: (B, C, S, S), noised to time t; t: (B,) long, the same times that the diffusion model hears.
    """

    def __init__(self, config: NoisyClassifierConfig):
        super().__init__()
        self.config, c = config, config.unet
        self.time = time_embedding(c)
        self.conv_in, self.down, skips = encoder(c)
        h = skips[-1]
        self.middle = Layers([residual(c, h, h), mixer(c, h), residual(c, h, h)])
        self.norm = nn.GroupNorm(c.groups, h, c.norm_eps)
        side = c.size // c.fold // 2 ** (len(c.multipliers) - 1)
        self.pool = AttentionPool(h, side, h // config.pool_channels, config.classes)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        c = self.config.unet
        sized_pictures(x, c.channels, c.size, self.conv_in.weight, "this classifier")
        emb = self.time(sinusoid(t + c.first_time - 1, c.width, c.sin_first).to(x.dtype))
        h = F.pixel_unshuffle(x, c.fold).contiguous(memory_format=torch.channels_last)
        h = self.conv_in(h)
        for layers in self.down:
            h = layers(h, emb)
        return self.pool(F.silu(self.norm(self.middle(h, emb))))
