"""The U-Net of DDPM, with the options that later papers added. There is no subclass.

Sources: Ho et al. 2020, appendix B; Nichol and Dhariwal 2021 (scale-shift norm, learned variance);
Dhariwal and Nichol 2021, section 3 (heads, residual resampling, classes); Nichol et al. 2021,
GLIDE, section 4.1 (tokens). `UNetConfig` names every option once.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.conditioning import Conditioning, heard
from labkit.inputs import autocasts, number, one_of, same_dtype, whole_number
from labkit.nets.attention import PixelAttention, PixelCrossAttention
from labkit.nets.layers import (
    Downsample,
    Residual,
    Upsample,
    conv,
    double,
    halve,
    linear,
    sinusoid,
    zero,
)
from labkit.nets.spatial import SpatialTransformer

MIXERS = ("pixels", "spatial", "cross")


@dataclass(frozen=True)
class UNetConfig:
    """All that there is to choose about a `UNet`. The defaults are DDPM's for CIFAR-10.

    ``size`` is the side of the square image; ``fold`` > 1 turns each square of fold x fold pixels
    into channels at the entrance, so that the network works at size/fold. ``attention`` lists the
    resolutions, as the network sees them, at which pixels look at each other, with ``heads`` heads
    or, if given, ``head_channels`` channels in each. What stands there is the ``mixer``: "pixels"
    is `PixelAttention`, with the condition's tokens before the pixels (ADM, GLIDE, Imagen's base);
    "spatial" is a `SpatialTransformer` of that ``depth``, with attention to the tokens of its own
    (latent diffusion); "cross" is `PixelCrossAttention`, which looks at the tokens alone (Imagen's
    largest stage). Imagen's Efficient U-Net (appendix B.1) has ``resample_first``: each level
    begins with its strided convolution, the finest one too, and ends with upsampling on the way
    back, so that no residual block works at the full resolution; its skips count 1/√2.
    """

    size: int = 32
    channels: int = 3
    width: int = 128  # channels of the first level
    multipliers: tuple[float, ...] = (1, 2, 2, 2)  # of the width, one for each level
    blocks: int | tuple[int, ...] = 2  # residual blocks of each level, or of all
    attention: tuple[int, ...] = (16,)
    heads: int = 1
    head_channels: int | None = None
    groups: int = 32  # of every GroupNorm
    dropout: float = 0.0
    norm_eps: float = 1e-5  # of every GroupNorm outside the mixer
    mixer: str = "pixels"
    depth: int = 1  # blocks of each spatial transformer
    scale_shift_norm: bool = False  # time scales and shifts (AdaGN) where DDPM adds
    residual_resampling: bool = False  # ADM's "BigGAN" up and down
    resample_first: bool = False  # a level halves before its blocks and doubles behind them
    skip_scale: float = 1.0  # a factor of what skip connections bring
    learned_variance: bool = False  # twice the output channels
    image: int = 0  # channels of cond.image, which is laid beside x
    vector: int | None = None  # length of cond.vector, which joins the time embedding
    vector_bias: bool = False  # of the map that does so; without one, zeros say nothing
    tokens: int | None = None  # length of each of cond.tokens, which attention looks at
    fold: int = 1
    asymmetric_pad: bool = False  # of strided convolutions, as in DDPM's own code
    sin_first: bool = False  # in the waves of time, as in DDPM's own code
    first_time: int = 1  # what the network calls the cleanest time, 1 of the schedule; released: 0

    def __post_init__(self):
        each = isinstance(self.blocks, list | tuple)  # JSON knows only lists
        blocks = self.blocks if each else [self.blocks]
        blocks = [whole_number(count, "A U-Net's number of blocks", 1) for count in blocks]
        object.__setattr__(self, "blocks", tuple(blocks) if each else blocks[0])
        number(self.skip_scale, "A U-Net's skip_scale")
        for name in ("multipliers", "attention"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        one_of(self.mixer, MIXERS, "mixer")
        sizes = {name: getattr(self, name) for name in ("size", "channels", "width", "fold")}
        sizes |= {"groups": self.groups, "depth": self.depth}
        for name, value in sizes.items():
            if value < 1:
                raise ValueError(f"A U-Net's {name} must be at least 1, not {value}.")
        if len(self.level_blocks) != len(self.multipliers):
            raise ValueError(
                f"A U-Net of {len(self.multipliers)} levels needs one number of blocks for all, or "
                f"one for each, not {self.blocks}."
            )
        self.check_size(self.size, self.size)
        if self.width % 2 or self.first_time not in (0, 1):
            raise ValueError(
                f"A U-Net of width {self.width} whose first time is {self.first_time} cannot be "
                f"built; its width must be even, for sines and cosines, and its first time 0 or 1."
            )
        if self.depth != 1 and self.mixer != "spatial":
            raise ValueError(
                f'A U-Net whose mixer is "{self.mixer}" has no depth, but {self.depth} was given; '
                f'leave it out, or give mixer="spatial".'
            )
        if self.mixer == "cross" and not self.tokens:
            raise ValueError(
                'A U-Net whose mixer is "cross" looks at tokens alone, but has none; give their '
                'length as tokens, or mixer="pixels".'
            )
        for level, channels in enumerate(self.level_widths):
            last = level == len(self.level_widths) - 1  # the middle looks around in any case
            looks = last or self.level_sides[level] in self.attention
            if self.head_channels and looks and channels % self.head_channels:
                raise ValueError(
                    f"A level of {channels} channels cannot be split into heads of "
                    f"{self.head_channels}; choose head_channels that divide."
                )
            if channels < 1 or channels % self.groups or channels % self.heads_of(channels):
                raise ValueError(
                    f"A level of {channels} channels cannot be split into {self.groups} groups and "
                    f"{self.heads_of(channels)} heads of equal size; choose a width, groups and "
                    f"heads that divide."
                )

    @property
    def level_blocks(self) -> tuple[int, ...]:
        """Residual blocks of each level, the finest first."""
        return (
            (self.blocks,) * len(self.multipliers) if isinstance(self.blocks, int) else self.blocks
        )

    @property
    def level_widths(self) -> list[int]:
        """Channels of each level, the finest first."""
        return [int(multiplier * self.width) for multiplier in self.multipliers]

    @property
    def level_sides(self) -> list[int]:
        """Pixels a side at which each level's blocks work, the finest first."""
        finest = self.size // self.fold // (2 if self.resample_first else 1)
        return [finest // 2**level for level in range(len(self.multipliers))]

    def heads_of(self, channels: int) -> int:
        """How many heads attention has on that many channels."""
        return max(1, channels // self.head_channels) if self.head_channels else self.heads

    def check_size(self, height: int, width: int) -> None:
        """ValueError unless the image can be folded and halved down to the last level."""
        step = self.fold * 2 ** (len(self.multipliers) - (not self.resample_first))
        if height % step or width % step:
            raise ValueError(
                f"An image of {height} x {width} pixels cannot be halved evenly by a U-Net of "
                f"{len(self.multipliers)} levels that folds {self.fold} x {self.fold} pixels; "
                f"give sides that are multiples of {step}."
            )


class Layers(nn.ModuleList):
    """Layers one after another, each of them called with the embedding and the condition."""

    def forward(self, h: Tensor, emb: Tensor, cond=None) -> Tensor:
        for layer in self:
            h = layer(h, emb, cond)
        return h


def residual(c: UNetConfig, inputs: int, outputs: int, resample=None) -> Residual:
    emb = 4 * c.width
    return Residual(
        inputs, outputs, emb, c.groups, c.dropout, c.scale_shift_norm, resample, c.norm_eps
    )


def mixer(c: UNetConfig, channels: int) -> nn.Module:
    """Where pixels look at each other, and at the condition's tokens."""
    heads = c.heads_of(channels)
    if c.mixer == "spatial":
        return SpatialTransformer(channels, heads, c.groups, c.tokens, c.depth)
    if c.mixer == "cross":
        return PixelCrossAttention(channels, heads, c.groups, c.tokens, c.norm_eps)
    return PixelAttention(channels, heads, c.groups, c.tokens, c.norm_eps)


def time_embedding(c: UNetConfig) -> nn.Sequential:
    """From the waves of `sinusoid`, (B, width), to the embedding that every block hears."""
    return nn.Sequential(linear(c.width, 4 * c.width), nn.SiLU(), linear(4 * c.width, 4 * c.width))


def encoder(c: UNetConfig) -> tuple[nn.Conv2d, nn.ModuleList, list[int]]:
    """The first convolution, the layers down to the coarsest level, and the channels of all the
    feature maps on the way, which the skip connections bring to the other side."""
    h = c.level_widths[0]
    conv_in, down, skips = conv((c.channels + c.image) * c.fold**2, h), nn.ModuleList(), [h]

    def halved(outputs: int) -> None:
        layer = residual(c, h, outputs, halve) if c.residual_resampling else None
        down.append(Layers([layer or Downsample(h, c.asymmetric_pad, outputs)]))
        skips.append(outputs)

    for level, channels in enumerate(c.level_widths):
        if c.resample_first:
            halved(channels)
            h = channels
        for _ in range(c.level_blocks[level]):
            down.append(Layers([residual(c, h, channels)]))
            if c.level_sides[level] in c.attention:
                down[-1].append(mixer(c, channels))
            h = channels
            skips.append(h)
        if not c.resample_first and level < len(c.level_widths) - 1:
            halved(h)
    return conv_in, down, skips


class UNet(nn.Module):
    """Down through the levels, through the middle, and up again with skip connections.

    Called as ``net(x, t, cond)``: x (B, C, H, W), t (B,) times in 1..T, cond a `Conditioning` or
    None. Returns (B, C, H, W), or (B, 2C, H, W) with learned variance. At first it returns zeros.
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = c = config
        emb = 4 * c.width
        self.time = time_embedding(c)
        self.vector = linear(c.vector, emb, bias=c.vector_bias) if c.vector else None

        self.conv_in, self.down, skips = encoder(c)
        h = skips[-1]
        self.middle = Layers([residual(c, h, h), mixer(c, h), residual(c, h, h)])

        self.up = nn.ModuleList()
        for level, channels in reversed(list(enumerate(c.level_widths))):
            for block in range(c.level_blocks[level] + 1):
                self.up.append(Layers([residual(c, h + skips.pop(), channels)]))
                if c.level_sides[level] in c.attention:
                    self.up[-1].append(mixer(c, channels))
                h = channels
                if (level > 0 or c.resample_first) and block == c.level_blocks[level]:
                    layer = residual(c, h, h, double) if c.residual_resampling else Upsample(h)
                    self.up[-1].append(layer)

        outputs = c.channels * (2 if c.learned_variance else 1) * c.fold**2
        norm = nn.GroupNorm(c.groups, h, c.norm_eps)
        self.conv_out = nn.Sequential(norm, nn.SiLU(), zero(conv(h, outputs)))
        # Channels last in memory: the convolutions run a quarter faster on a CPU.
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor, t: Tensor, cond: Conditioning | None = None) -> Tensor:
        cond = self.fitted(x, cond)
        c = self.config
        emb = self.time(sinusoid(t + c.first_time - 1, c.width, c.sin_first).to(x.dtype))
        if cond.vector is not None:
            emb = emb + self.vector(cond.vector)
        if cond.image is not None:
            x = torch.cat([x, cond.image], dim=1)
        x = F.pixel_unshuffle(x, c.fold).contiguous(memory_format=torch.channels_last)

        h = self.conv_in(x)
        skips = [h]
        for layers in self.down:
            h = layers(h, emb, cond)
            skips.append(h)
        h = self.middle(h, emb, cond)
        for layers in self.up:
            skip = skips.pop() if c.skip_scale == 1 else c.skip_scale * skips.pop()
            h = layers(torch.cat([h, skip], dim=1), emb, cond)
        return F.pixel_shuffle(self.conv_out(h), c.fold)

    def fitted(self, x: Tensor, cond: Conditioning | None) -> Conditioning:
        """`cond` with a row for each picture. Raises ValueError for pictures or a condition that
        this network cannot take."""
        c = self.config
        if x.ndim != 4 or x.shape[1] != c.channels:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, but this U-Net takes (B, {c.channels}, H, W): "
                "give a single picture its batch by x[None]"
            )
        c.check_size(*x.shape[2:])
        same_dtype(x, self.conv_in.weight, "this U-Net")
        image = (c.image, *x.shape[2:]) if c.image else None
        needed = ["image"] * bool(c.image) + ["tokens"] * bool(c.tokens and c.mixer != "pixels")
        dtype = None if autocasts(x.device) else x.dtype
        routes = {"vector": c.vector, "tokens": c.tokens, "image": image}
        return heard(cond, len(x), **routes, needed=needed, dtype=dtype)
