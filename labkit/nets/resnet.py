"""The ResNet as CLIP changed it: a stem of three convolutions, averages wherever the resolution
halves, and at the end attention where others take the mean.

Sources: Radford et al. 2021, section 2.4 (ResNet-D of He et al. 2019, anti-aliasing of Zhang 2019,
attention pooling), and the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.inputs import whole_number
from labkit.nets.attention import AttentionPool
from labkit.nets.layers import zero


@dataclass(frozen=True)
class ResNetConfig:
    """All that there is to choose about a `ResNet`. The defaults are those of CLIP's RN50.

    ``stem`` is by how much the stem shrinks the picture: 4 in CLIP. Pictures of 32 pixels have
    nothing to waste: 2 leaves out the stem's average, 1 its stride as well.
    """

    size: int = 224  # side of the square picture
    width: int = 64  # channels after the stem; level k has 4 · 2^k times as many
    blocks: tuple[int, ...] = (3, 4, 6, 3)  # of each level; each level but the first halves
    heads: int = 32  # of the attention pool
    stem: int = 4

    def __post_init__(self):
        object.__setattr__(self, "blocks", tuple(self.blocks))  # JSON knows only lists
        for name in ("size", "width", "heads"):
            whole_number(getattr(self, name), f"a ResNet's {name}", 1)
        for count in self.blocks:
            whole_number(count, "a ResNet's blocks of a level", 1)
        if not self.blocks or self.stem not in (1, 2, 4) or self.size % self.shrinks:
            raise ValueError(
                f"a ResNet with stem {self.stem} and blocks {self.blocks} cannot look at pictures "
                f"of {self.size} pixels a side: give at least one level, a stem of 1, 2 or 4, and "
                "a size that can be halved as often as stem and levels ask"
            )
        if self.width % 2 or self.outputs % self.heads:
            raise ValueError(
                f"a ResNet of width {self.width} ends in {self.outputs} channels, which must "
                f"split into {self.heads} heads of equal size, and half of its width must be "
                "whole: choose an even width, and heads that divide"
            )

    @property
    def shrinks(self) -> int:
        """How many pixels a side meet in one place of the last level."""
        return self.stem * 2 ** (len(self.blocks) - 1)

    @property
    def outputs(self) -> int:
        """Channels of the last level."""
        return self.width * 4 * 2 ** (len(self.blocks) - 1)


class ConditionalBatchNorm2d(nn.BatchNorm2d):
    """Batch norm (B, C, H, W) whose result an embedding (B, emb) scales and shifts, channel by
    channel: h (1 + γ) + β, both zero at first. With emb None it is plain batch norm, and hears
    nothing."""

    def __init__(self, channels: int, emb: int | None = None):
        super().__init__(channels)
        self.modulation = None
        if emb:  # begun without a draw, so that the rest begins as without it
            self.modulation = zero(nn.utils.skip_init(nn.Linear, emb, 2 * channels))

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        h = super().forward(x)
        if self.modulation is None:
            return h
        scale, shift = self.modulation(emb)[:, :, None, None].chunk(2, dim=1)
        return h * (1 + scale) + shift


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    """Without bias, since a norm follows."""
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False)


class Bottleneck(nn.Module):
    """Fewer channels, a look around, more channels. Where the resolution halves, an average does
    it, before a convolution of stride one: a plain stride would let fine stripes pass for coarse
    ones, or for nothing."""

    def __init__(self, inputs: int, inner: int, halves: bool, emb: int | None = None):
        super().__init__()
        outputs = 4 * inner
        self.conv1, self.norm1 = convolution(inputs, inner, 1), ConditionalBatchNorm2d(inner, emb)
        self.conv2, self.norm2 = convolution(inner, inner, 3), ConditionalBatchNorm2d(inner, emb)
        self.conv3 = convolution(inner, outputs, 1)
        self.norm3 = ConditionalBatchNorm2d(outputs, emb)
        self.pool = nn.AvgPool2d(2) if halves else nn.Identity()
        self.skip = None
        if halves or inputs != outputs:
            self.skip = nn.Sequential(convolution(inputs, outputs, 1), nn.BatchNorm2d(outputs))
        nn.init.zeros_(self.norm3.weight)  # every branch starts silent

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        h = F.relu(self.norm1(self.conv1(x), emb))
        h = self.pool(F.relu(self.norm2(self.conv2(h), emb)))
        h = self.norm3(self.conv3(h), emb)  # (B, 4 inner, H', W')
        return F.relu(h + (x if self.skip is None else self.skip(self.pool(x))))


class ResNet(nn.Module):
    """One vector for a picture: called as net(x), x (B, 3, S, S); returns (B, dim).

    emb: the length of an embedding that every norm on the main way hears, such as of how noisy the
    picture is (`labkit.nets.noisy_resnet`); None: there is none.
    """

    def __init__(self, config: ResNetConfig, dim: int, emb: int | None = None):
        super().__init__()
        self.config = c = config
        half = c.width // 2
        self.stem = nn.Sequential(
            convolution(3, half, 3, stride=min(c.stem, 2)), ConditionalBatchNorm2d(half, emb),
            nn.ReLU(),
            convolution(half, half, 3), ConditionalBatchNorm2d(half, emb), nn.ReLU(),
            convolution(half, c.width, 3), ConditionalBatchNorm2d(c.width, emb), nn.ReLU(),
            nn.AvgPool2d(2) if c.stem == 4 else nn.Identity(),
        )  # fmt: skip
        self.levels, inputs = nn.ModuleList(), c.width
        for level, blocks in enumerate(c.blocks):
            inner = c.width * 2**level
            first = Bottleneck(inputs, inner, halves=level > 0, emb=emb)
            rest = (Bottleneck(4 * inner, inner, halves=False, emb=emb) for _ in range(blocks - 1))
            self.levels.append(nn.Sequential(first, *rest))
            inputs = 4 * inner
        self.pool = AttentionPool(inputs, c.size // c.shrinks, c.heads, dim)
        for layer in (self.pool.qkv, self.pool.out):
            nn.init.normal_(layer.weight, std=inputs**-0.5)
        # Channels last in memory: the convolutions run faster on a CPU.
        self.to(memory_format=torch.channels_last)

    def maps(self, x: Tensor, emb: Tensor | None = None) -> Iterator[Tensor]:
        """The feature maps on the way, (B, C, H, W) each: that of the stem, then of every level."""
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.stem:
            x = layer(x, emb) if isinstance(layer, ConditionalBatchNorm2d) else layer(x)
        yield x
        for level in self.levels:
            for block in level:
                x = block(x, emb)
            yield x

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        *_, last = self.maps(x, emb)
        return self.pool(last)
