"""The small parts of a U-Net: time as waves, the residual block, and the two changes of resolution.

Everything that stands inside the U-Net is called the same way, ``layer(h, emb, cond)``, whether it
looks at the time embedding and the condition or not. So the network itself is a plain list.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sinusoid(t: Tensor, dim: int, sin_first: bool = False) -> Tensor:
    """Times as waves of ``dim`` frequencies from 1 down to 1/10000: (B,) -> (B, dim), in [-1, 1].

    Cosines come first and the frequencies stop just before 1/10000, as in the code of Improved
    DDPM; with ``sin_first`` sines come first and the last frequency is exactly 1/10000, as in
    the code of DDPM. A network can learn from either; released weights fit only their own.
    """
    half = dim // 2
    last = half - 1 if sin_first else half
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, device=t.device) / last)
    angles = t.float()[:, None] * frequencies  # (B, dim/2)
    waves = (angles.sin(), angles.cos()) if sin_first else (angles.cos(), angles.sin())
    return torch.cat(waves, dim=1)  # (B, dim)


def zero(layer: nn.Module) -> nn.Module:
    """The same layer with its parameters at zero, so that a branch it ends starts out silent."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def conv(inputs: int, outputs: int, size: int = 3, **options) -> nn.Conv2d:
    """A convolution that keeps the resolution, drawn as DDPM draws it (uniform, fan-average)."""
    layer = nn.Conv2d(inputs, outputs, size, **{"padding": size // 2, **options})
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A linear map with the same initial distribution as `conv`."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class Residual(nn.Module):
    """GroupNorm, SiLU, convolution, twice; the time embedding enters in between.

    DDPM adds a projection of the embedding after the first convolution (appendix B). With
    ``scale_shift_norm`` the embedding scales and shifts the second norm instead (AdaGN: ADM,
    section 3). With ``resample``, a function that halves or doubles the resolution, both the branch
    and the shortcut go through it before the first convolution (the "BigGAN" block of ADM). With
    ``emb`` None, the length of the embedding, there is no time, as in an autoencoder.
    """

    def __init__(
        self, inputs, outputs, emb, groups, dropout=0.0, scale_shift_norm=False, resample=None,
        eps=1e-5,
    ):  # fmt: skip
        super().__init__()
        self.scale_shift_norm, self.resample = scale_shift_norm, resample or nn.Identity()
        self.norm1 = nn.GroupNorm(groups, inputs, eps)
        self.conv1 = conv(inputs, outputs)
        self.emb = linear(emb, 2 * outputs if scale_shift_norm else outputs) if emb else None
        self.norm2 = nn.GroupNorm(groups, outputs, eps)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zero(conv(outputs, outputs))
        self.skip = conv(inputs, outputs, size=1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor | None = None, cond=None) -> Tensor:
        h = self.conv1(self.resample(F.silu(self.norm1(x))))  # (B, C', H', W')
        modulation = None if self.emb is None else self.emb(F.silu(emb))[:, :, None, None]
        if modulation is None:
            h = self.norm2(h)
        elif self.scale_shift_norm:
            scale, shift = modulation.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + modulation)
        h = self.conv2(self.dropout(F.silu(h)))
        return self.skip(self.resample(x)) + h


def halve(x: Tensor) -> Tensor:
    """The mean of each 2 x 2 square: (B, C, H, W) -> (B, C, H/2, W/2)."""
    return F.avg_pool2d(x, 2)


def double(x: Tensor) -> Tensor:
    """Each pixel four times: (B, C, H, W) -> (B, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2, mode="nearest")


class Downsample(nn.Module):
    """A convolution of stride two. TensorFlow, and so DDPM's own code, pads only on the right and
    below (``asymmetric_pad``), torch all round."""

    def __init__(self, channels: int, asymmetric_pad: bool = False, outputs: int | None = None):
        super().__init__()
        self.padding = (0, 1, 0, 1) if asymmetric_pad else (1, 1, 1, 1)
        self.conv = conv(channels, outputs or channels, stride=2, padding=0)

    def forward(self, x: Tensor, emb: Tensor | None = None, cond=None) -> Tensor:
        return self.conv(F.pad(x, self.padding))


class Upsample(nn.Module):
    """Each pixel four times, then a convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = conv(channels, channels)

    def forward(self, x: Tensor, emb: Tensor | None = None, cond=None) -> Tensor:
        return self.conv(double(x))
