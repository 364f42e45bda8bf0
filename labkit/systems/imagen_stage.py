"""One diffusion model of Imagen's cascade: the base, or one that makes pictures larger.

Source: Saharia et al. 2022, "Photorealistic Text-to-Image Diffusion Models with Deep Language
Understanding", sections 2.3 to 2.5, appendices B.1 and D, and Ho et al. 2021 for the noise
conditioning augmentation. The text comes as embeddings, which somebody else made: what a frozen
encoder says of each token. The tokens, behind a norm, are what the U-Net's attention looks at; one
vector for all of them, pooled by attention, joins the time embedding. The null is no token at all.

A model that makes pictures larger sees the smaller one enlarged, with noise of a level that it is
told. In training levels are drawn from [0, 1]: so it learns to trust what it is given as far as the
level says, and mends what the stage before it drew wrong. The paper draws them uniformly; here they
are squares of uniform numbers, so that levels up to .3, with which pictures are sampled, are 55 %
of a far shorter training, and not 30 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import devices
from labkit.casting import moved
from labkit.conditioning import Conditioning, heard
from labkit.data.pictures import quantize
from labkit.denoiser import MapX0, dynamic_threshold
from labkit.guidance import ClassifierFree
from labkit.inputs import number, picture_batch, short, sized_pictures, whole_number
from labkit.likelihood import training_loss
from labkit.nets.attention import TokenPool
from labkit.nets.layers import linear, sinusoid
from labkit.sampler import State, ddim, from_noise, generator_of
from labkit.systems.ddpm import DDPMConfig, build_denoiser
from labkit.systems.glide_inputs import low_pictures
from labkit.systems.perceptual import PerceptualLoss


@dataclass(frozen=True, kw_only=True)
class ImagenConfig(DDPMConfig):
    """All that there is to choose about an `ImagenStage`: net.tokens is the length of each of the
    text's tokens, net.vector that of their one vector, net.image the channels of the smaller
    picture beside x."""

    p_uncond: float = 0.1  # of the training rows that lose their text (section 4.1)
    upsamples: int | None = None  # sees a picture of that many pixels a side, which it makes larger
    crop: int | None = None  # pixels a side of what it learns from; None: of whole pictures
    pool_heads: int = 4  # of the attention that makes one vector of the text

    def __post_init__(self):
        super().__post_init__()
        net = self.net
        number(self.p_uncond, "p_uncond", 0, 1)
        for name in ("vector", "tokens"):
            whole_number(getattr(net, name), f"net.{name}", 1)
        whole_number(self.pool_heads, "pool_heads", 1)
        if net.tokens % self.pool_heads:
            raise ValueError(
                f"tokens of length {net.tokens} cannot be split into {self.pool_heads} heads of "
                "equal size: choose pool_heads that divide it"
            )
        if self.upsamples is not None:
            whole_number(self.upsamples, "upsamples", 1, net.size - 1)
        if self.crop is not None:
            whole_number(self.crop, "crop", 1, net.size)
            net.check_size(self.crop, self.crop)
        beside = 0 if self.upsamples is None else net.channels
        if net.image != beside:
            raise ValueError(f"net.image is {net.image}, but must be {beside} for this model")


class ImagenStage(nn.Module):
    """A diffusion model of pictures (B, C, S, S) in [−1, 1] that hears the embeddings of a text,
    Conditioning(tokens (B, L, D), mask (B, L)), such as `labkit.systems.t5.T5.encode` gives."""

    hears = "embeddings"

    def __init__(self, config: ImagenConfig):
        super().__init__()
        self.config, net = config, config.net
        self.denoiser = build_denoiser(config)
        self.norm = nn.LayerNorm(net.tokens)
        self.pool = TokenPool(net.tokens, config.pool_heads, net.vector)
        self.level = None
        if config.upsamples is not None:
            self.level = nn.Sequential(
                linear(net.width, net.vector), nn.SiLU(), linear(net.vector, net.vector)
            )
        self.perceptual: PerceptualLoss | None = None  # set for training alone

    def extra_repr(self) -> str:
        """What a run that goes on is compared by, besides the configuration."""
        return repr(self.perceptual or "")

    def begin_from(self, base: nn.Module) -> None:
        """Takes over the U-Net of another model, such as a `labkit.systems.glide.GLIDE`, which
        knows the pictures, but heard its text from somebody else. Raises ValueError for one of
        another network, schedule or prediction."""
        for name in ("net", "schedule", "T", "predicts"):
            own, other = getattr(self.config, name), getattr(base.config, name)
            if own != other:
                raise ValueError(
                    f"this model cannot begin from the other one, whose {name} is {short(other)} "
                    f"and not {short(own)}: give a model of the same network, schedule and "
                    "prediction"
                )
        self.denoiser.load_state_dict(base.denoiser.state_dict())

    # What the U-Net hears

    def condition(
        self, text: Conditioning, seen: Tensor | None = None, times: Tensor | None = None
    ) -> Conditioning:
        """All that the U-Net hears: the text, and, for a model that makes pictures larger, what it
        sees beside x, (B, C, S, S), and how noisy that is, times (B,) long in 0 … T."""
        tokens = self.norm(text.tokens.to(self.norm.weight))  # such as a cache in half precision
        mask = moved(text.mask, tokens.device)
        vector = self.pool(tokens, mask)
        if times is not None:
            noisy = moved(1000 * times / self.config.T, tokens.device)
            vector = vector + self.level(sinusoid(noisy, self.config.net.width).to(tokens))
        return Conditioning(vector, tokens, mask, seen)

    def enlarged(self, low: Tensor) -> Tensor:
        """Smaller pictures in the size of this model's, by bilinear interpolation."""
        size = self.config.net.size
        return F.interpolate(low, size=(size, size), mode="bilinear")

    def shrunk(self, pictures: Tensor) -> Tensor:
        """The smaller pictures of training: means of squares, rounded as a file rounds them."""
        side = self.config.upsamples
        return quantize(F.interpolate(pictures, size=(side, side), mode="area"))

    def noised(
        self, seen: Tensor, levels: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Noise conditioning augmentation: enlarged pictures (B, C, S, S) with noise of levels (B,)
        in [0, 1], 0 = none, 1 = nothing but noise; and the times (B,) long of these levels."""
        times = (levels * self.config.T).round().long()
        eps = moved(torch.randn(seen.shape, generator=generator).to(seen.dtype), seen.device)
        return self.denoiser.schedule.diffuse(seen, times, eps), times

    # Training

    def loss(self, batch: tuple[Tensor, Conditioning]) -> Tensor:
        """A scalar, for pictures (B, C, S, S) in [−1, 1] and the embeddings of their texts; each
        row loses its text with probability p_uncond. A model that makes pictures larger sees what
        `shrunk` makes of them with noise of a random level; with a crop it learns from one square
        of each picture, cut out anywhere. Raises ValueError for pictures of another size or range,
        and for what is no embedding."""
        pictures, text = batch
        net, weight = self.config.net, self.denoiser.net.conv_in.weight
        sized_pictures(
            picture_batch(pictures, "pictures"), net.channels, net.size, weight, "this model"
        )
        text = embeddings(text, net.tokens)
        if len(pictures) != len(text.tokens):
            raise ValueError(
                f"the batch has {len(pictures)} pictures and {len(text.tokens)} texts, but each "
                "picture must come with its own"
            )
        text = text.drop(silence(text), together=self.config.p_uncond)
        if self.config.upsamples is None:
            (pictures,) = self.cropped(pictures)
            return training_loss(self.denoiser, pictures, self.condition(text), self.perceptual)
        pictures, seen = self.cropped(pictures, self.enlarged(self.shrunk(pictures)))
        levels = torch.rand(len(pictures)).square()  # more of the small ones, which sampling uses
        cond = self.condition(text, *self.noised(seen, levels))
        return training_loss(self.denoiser, pictures, cond, self.perceptual)

    def cropped(self, *pictures: Tensor) -> list[Tensor]:
        """The same random square of each batch of pictures, another one for each row."""
        side, size = self.config.crop, self.config.net.size
        if side is None:
            return list(pictures)
        corners = torch.randint(size - side + 1, (len(pictures[0]), 2)).tolist()
        return [
            torch.stack([x[:, i : i + side, j : j + side] for x, (i, j) in zip(batch, corners)])
            for batch in pictures
        ]

    # Sampling

    def generate(
        self,
        text: Conditioning,
        *,
        steps: int | None = None,
        scale: float | Tensor | None = None,
        seed: int | torch.Generator = 0,
        low: Tensor | None = None,
        level: float | None = None,
        step: Callable = ddim,
        map_x0: Callable[[Tensor], Tensor] | None = None,
        **options,
    ) -> Iterator[State]:
        """A picture for each text: yields a `State` after each step; the last one's ``x`` are the
        pictures, (B, C, S, S) in [−1, 1]. The same seed gives the same pictures.

        text: embeddings; a row whose mask is False everywhere is without a text.
        steps: None is 25. scale: of classifier-free guidance, 1 is none. None: 3, or, for a model
            that makes pictures larger, 1.
        low: (1 or B, C, s, s) in [−1, 1], the smaller pictures, for such a model.
        level: of the noise that the enlarged picture gets, and of which the model is told, in
            [0, 1]; None is .1. The paper samples with .1 to .3.
        map_x0: what the guess at the picture goes through: `dynamic_threshold(p)`, with which None
            is p = .995; `labkit.denoiser.clip` is the paper's static thresholding.
        step: `ddim`, `ddpm` or your own; ``options``, such as eta=1.0, are for it.
        Raises ValueError for what is no embedding, pictures of another size or range, a level or
        scale that this model cannot use, and guidance by a null that was never trained.
        """
        text = embeddings(text, self.config.net.tokens)
        upsamples = self.config.upsamples is not None
        if scale is None:
            scale = 1.0 if upsamples else 3.0
        if self.config.p_uncond == 0 and (isinstance(scale, Tensor) or scale != 1):
            raise ValueError(
                "this model was never trained without a text (p_uncond = 0), so it has no null to "
                "guide away from: use scale = 1"
            )
        if level is not None and not upsamples:
            raise ValueError(
                "level was given, but this model sees no smaller picture: leave it out"
            )
        level = number(0.1 if level is None else level, "level", 0, 1)
        generator, net, placed = generator_of(seed), self.config.net, devices.placed(self)
        rows = len(text.tokens)
        small = low_pictures(low, self.config.upsamples, net.channels, rows)
        seen = ()
        if small is not None:
            levels = torch.full((rows,), level)
            seen = self.noised(self.enlarged(small.to(**placed)), levels, generator)
        with torch.no_grad():
            cond, null = (self.condition(each, *seen) for each in (text, silence(text)))
        denoise = MapX0(ClassifierFree(self.denoiser, null, scale), map_x0 or dynamic_threshold())
        return from_noise(
            denoise,
            (rows, net.channels, net.size, net.size),
            25 if steps is None else steps,
            seed=generator,
            cond=cond,
            step=step,
            **placed,
            **options,
        )


def embeddings(text: Conditioning, length: int) -> Conditioning:
    """The text itself. Raises ValueError unless it is embeddings, tokens (B, L, length) and a mask
    (B, L) bool, and nothing else, which nobody would hear."""
    if not isinstance(text, Conditioning) or text.tokens is None or text.mask is None:
        raise ValueError(
            f"the text is {short(text)}, but this model hears embeddings, Conditioning(tokens=..., "
            "mask=...), as the encoder's encode gives them: it draws sentences as a part of "
            "Imagen(encoder, base=...)"
        )
    return heard(text, len(text.tokens), tokens=length)


def silence(text: Conditioning) -> Conditioning:
    """No text, for as many rows and tokens: zeros, of which none may be looked at."""
    return Conditioning(tokens=torch.zeros_like(text.tokens), mask=torch.zeros_like(text.mask))
