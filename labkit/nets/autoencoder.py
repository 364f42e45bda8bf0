"""The autoencoders of latent diffusion: a picture as a smaller one of numbers, and back.

Source: Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models",
section 3.1, appendices E.1 and G, and the authors' code. The network is the U-Net's without time
and without skip connections. What comes out of the encoder is held together in one of two ways:
as a normal distribution near N(0, I) (KL), or by the nearest entry of a codebook (VQ).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.inputs import float_batch, number, same_dtype, sized_pictures, whole_number
from labkit.nets.attention import PixelAttention
from labkit.nets.layers import Downsample, Residual, Upsample, conv

EPS = 1e-6  # of every norm


@dataclass(frozen=True)
class AutoencoderConfig:
    """All that there is to choose about an `Autoencoder`. The defaults are Stable Diffusion's.

    A latent has 1/f of the picture's side, where f = fold · 2^(levels − 1). ``fold`` > 1 turns each
    square of fold x fold pixels into channels at the entrance, and back at the exit: for small
    pictures that costs less than convolutions at full size.
    """

    size: int = 256  # side of the square pictures
    channels: int = 3
    width: int = 128  # channels of the first level
    multipliers: tuple[float, ...] = (1, 2, 4, 4)  # of the width, one for each level
    blocks: int = 2  # residual blocks of each level; the decoder has one more
    latent: int = 4  # channels of the latent
    codebook: int | None = None  # entries; None: a normal distribution in place of one
    entries_std: float | None = None  # of its first entries; None: uniform, ± 1/codebook (VQGAN)
    attention: bool = True  # do the places of the coarsest level look at each other?
    groups: int = 32  # of every GroupNorm
    fold: int = 1

    def __post_init__(self):
        object.__setattr__(self, "multipliers", tuple(self.multipliers))  # JSON knows only lists
        names = ("size", "channels", "width", "blocks", "latent", "groups", "fold")
        for name in names:
            whole_number(getattr(self, name), f"an autoencoder's {name}", 1)
        if self.codebook is not None:
            whole_number(self.codebook, "an autoencoder's codebook", 2)
        if self.entries_std is not None:
            number(self.entries_std, "an autoencoder's entries_std", 0)
        if not self.multipliers or self.size % self.f:
            raise ValueError(
                f"pictures of {self.size} pixels a side have no latent of 1/{self.f} of it: choose "
                "at least one level, and a size that can be folded and halved that often"
            )
        for channels in self.level_widths:
            if channels < 1 or channels % self.groups:
                raise ValueError(
                    f"a level of {channels} channels cannot be split into {self.groups} groups: "
                    "choose a width and groups that divide"
                )

    @property
    def f(self) -> int:
        """How many times smaller than the picture's a latent's side is."""
        return self.fold * 2 ** (len(self.multipliers) - 1)

    @property
    def level_widths(self) -> list[int]:
        """Channels of each level, the finest first."""
        return [int(multiplier * self.width) for multiplier in self.multipliers]

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(channels, side, side) of a latent."""
        return (self.latent, self.size // self.f, self.size // self.f)

    def differences(self, other: AutoencoderConfig) -> str:
        """In what the other one differs, in words."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        odd = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        return ", ".join(
            f"its {name} is {two} instead of {one}" for name, (one, two) in odd.items()
        )


class Posterior(NamedTuple):
    """q(z | x), independent normal distributions: what a KL autoencoder's encoder says of x."""

    mean: Tensor  # (B, C, h, w)
    log_var: Tensor  # (B, C, h, w)  of the variance, −30 … 20

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """A draw, (B, C, h, w): what is diffused (appendix G). Drawn on the CPU, or where the
        generator lives, so that a seed gives the same on any device."""
        device = "cpu" if generator is None else generator.device
        eps = torch.randn(self.mean.shape, generator=generator, device=device).to(self.mean)
        return self.mean + (0.5 * self.log_var).exp() * eps

    def kl(self) -> Tensor:
        """KL(q ‖ N(0, I)) of each row, (B,), in nats: the sum over all numbers of the latent."""
        each = self.mean.square() + self.log_var.exp() - 1 - self.log_var
        return 0.5 * each.sum((1, 2, 3))


class Codebook(nn.Module):
    """Vectors, of which each place of a latent takes the nearest (van den Oord et al. 2017).

    std: of what they are drawn with. None: they begin close to 0, as in the code of VQGAN, where
    only the few that point most outwards are ever the nearest of latents of unit size. Others come
    to use only slowly, as latents and entries meet.
    """

    def __init__(self, entries: int, dim: int, std: float | None = None):
        super().__init__()
        self.entries = nn.Embedding(entries, dim)
        if std is None:
            nn.init.uniform_(self.entries.weight, -1 / entries, 1 / entries)
        else:
            nn.init.normal_(self.entries.weight, std=std)

    def nearest(self, z: Tensor) -> Tensor:
        """The number of the nearest entry at each place, (B, h, w) long. z: (B, C, h, w)."""
        places = z.movedim(1, -1)
        far = torch.cdist(places.flatten(0, 2).float(), self.entries.weight.float())
        return far.argmin(1).view(places.shape[:-1])

    def forward(self, z: Tensor) -> Tensor:
        """The nearest entries themselves, (B, C, h, w)."""
        return self.entries(self.nearest(z)).movedim(-1, 1)


def straight_through(z: Tensor, entries: Tensor) -> Tensor:
    """`entries`, through which a gradient flows to z as if they were z."""
    return z + (entries - z).detach()


def middle(c: AutoencoderConfig, channels: int) -> list[nn.Module]:
    """The layers of the coarsest level."""
    layers = [Residual(channels, channels, None, c.groups, eps=EPS)]
    if c.attention:
        layers.append(PixelAttention(channels, heads=1, groups=c.groups, eps=EPS))
    return [*layers, Residual(channels, channels, None, c.groups, eps=EPS)]


def ending(c: AutoencoderConfig, channels: int, outputs: int) -> list[nn.Module]:
    return [nn.GroupNorm(c.groups, channels, EPS), nn.SiLU(), conv(channels, outputs)]


def encoder(c: AutoencoderConfig, outputs: int) -> nn.Sequential:
    """(B, channels · fold², S / fold, S / fold) → (B, outputs, S / f, S / f)."""
    h = c.level_widths[0]
    layers = [conv(c.channels * c.fold**2, h)]
    for level, channels in enumerate(c.level_widths):
        for _ in range(c.blocks):
            layers.append(Residual(h, channels, None, c.groups, eps=EPS))
            h = channels
        if level < len(c.level_widths) - 1:
            layers.append(Downsample(h, asymmetric_pad=True))
    return nn.Sequential(*layers, *middle(c, h), *ending(c, h, outputs))


def decoder(c: AutoencoderConfig) -> nn.Sequential:
    """(B, latent, S / f, S / f) → (B, channels · fold², S / fold, S / fold)."""
    h = c.level_widths[-1]
    layers = [conv(c.latent, h), *middle(c, h)]
    for level, channels in reversed(list(enumerate(c.level_widths))):
        for _ in range(c.blocks + 1):
            layers.append(Residual(h, channels, None, c.groups, eps=EPS))
            h = channels
        if level > 0:
            layers.append(Upsample(h))
    return nn.Sequential(*layers, *ending(c, h, c.channels * c.fold**2))


class Autoencoder(nn.Module):
    """Pictures x (B, C, S, S) in [−1, 1] become latents z (B, latent, S / f, S / f), and back."""

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config = c = config
        said = c.latent if c.codebook else 2 * c.latent  # means, and logarithms of variances
        self.encoder, self.decoder = encoder(c, said), decoder(c)
        self.quant_conv = conv(said, said, size=1)
        self.post_quant_conv = conv(c.latent, c.latent, size=1)
        self.codebook = None
        if c.codebook:
            self.codebook = Codebook(c.codebook, c.latent, c.entries_std)
        # Channels last in memory: the convolutions run faster on a CPU.
        self.to(memory_format=torch.channels_last)

    def moments(self, x: Tensor) -> Tensor:
        """What the encoder says of pictures, (B, latent or 2 · latent, S / f, S / f), in their own
        dtype: where autocast computes in bfloat16, whose 8 bits would also be those of the noise
        and of all that is learned from it. Raises ValueError for pictures of another shape."""
        c = self.config
        sized_pictures(x, c.channels, c.size, self.quant_conv.weight, "this autoencoder")
        h = F.pixel_unshuffle(x, c.fold).contiguous(memory_format=torch.channels_last)
        return self.quant_conv(self.encoder(h)).to(x.dtype)

    def posterior(self, x: Tensor) -> Posterior:
        """q(z | x) of a KL autoencoder. Raises ValueError for one with a codebook."""
        if self.codebook is not None:
            raise ValueError(
                "an autoencoder with a codebook has no posterior: ask it to encode(pictures)"
            )
        mean, log_var = self.moments(x).chunk(2, dim=1)
        return Posterior(mean, log_var.clamp(-30, 20))

    def encode(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The latents that are diffused, (B, latent, S / f, S / f): a draw from q(z | x), or what
        the codebook has not yet rounded, since `decode` begins with that (appendix G)."""
        return self.moments(x) if self.codebook else self.posterior(x).sample(generator)

    def mean(self, x: Tensor) -> Tensor:
        """What `encode` gives on average, the same each time."""
        return self.moments(x) if self.codebook else self.posterior(x).mean

    def decode(self, z: Tensor) -> Tensor:
        """The pictures of latents z (B, latent, S / f, S / f), (B, C, S, S), about in [−1, 1].
        Raises ValueError for latents of another shape."""
        c = self.config
        if tuple(float_batch(z, "the latents").shape[1:]) != c.latent_shape:
            raise ValueError(
                f"the latents have shape {tuple(z.shape)}, but this autoencoder, which makes "
                f"pictures of {c.size} pixels from 1/{c.f} of their side, takes "
                f"(B, {', '.join(map(str, c.latent_shape))})"
            )
        same_dtype(z, self.quant_conv.weight, "this autoencoder")
        return self.expand(self.codebook(z) if self.codebook else z)

    def expand(self, z: Tensor) -> Tensor:
        """`decode` without rounding to the codebook."""
        h = self.decoder(self.post_quant_conv(z.contiguous(memory_format=torch.channels_last)))
        return F.pixel_shuffle(h, self.config.fold)
