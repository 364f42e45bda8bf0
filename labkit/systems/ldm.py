"""Latent diffusion: an autoencoder makes pictures small, a diffusion model draws the small ones.

Source: Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models", and the
authors' code. Latents are multiplied by one over the standard deviation of the first training
batch, so that they are as large as the noise, and divided by it before they are decoded (appendix
G). What the model hears it looks at: a sentence's tokens, of a transformer that is trained along,
or a class's. A smaller picture or known pixels are laid beside the latents (appendix E).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import devices
from labkit.conditioning import Conditioning
from labkit.data.masks import filled
from labkit.denoiser import MapX0, keep_known
from labkit.inputs import float_batch, picture_batch, short, whole_number
from labkit.likelihood import training_loss
from labkit.nets.autoencoder import Autoencoder
from labkit.sampler import State, ddim, from_noise
from labkit.scenes.tokenizer import Tokenizer, words_of
from labkit.systems.autoencoder import FirstStage
from labkit.systems.captions import guided
from labkit.systems.ddpm import build_denoiser
from labkit.systems.glide_inputs import (
    Prompt,
    known_pictures,
    low_pictures,
    masks_of,
    scaled_terms,
)
from labkit.systems.ldm_condition import Classes, Sentences
from labkit.systems.ldm_config import LDMConfig


class LDM(nn.Module):
    """A latent diffusion model of pictures (B, C, S, S) in [−1, 1].

    tokenizer: the one whose tokens it reads; None: the course's own, `labkit.scenes.tokenizer`.
    """

    def __init__(self, config: LDMConfig, tokenizer: Tokenizer | None = None):
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.denoiser = build_denoiser(config)
        self.autoencoder = Autoencoder(config.autoencoder).requires_grad_(False)
        self.condition = None
        if config.text is not None:
            self.condition = Sentences(config.text, config.clip_text, tokenizer)
        elif config.classes is not None:
            self.condition = Classes(config.classes, config.net.tokens)
        # Infinite until a first batch has been seen: no average takes that up.
        self.register_buffer("scale", torch.tensor(torch.inf))

    def extra_repr(self) -> str:
        """What a run that goes on is compared by, besides the configuration."""
        return words_of(self.tokenizer)

    @property
    def hears(self) -> str | None:
        """What kind of condition."""
        return None if self.condition is None else self.condition.hears

    @property
    def classes(self) -> int:
        """How many there are."""
        return self.config.classes or 0

    def begin_from(self, first: FirstStage) -> None:
        """Takes over a trained autoencoder. Raises ValueError for one of another size or f."""
        mine, other = self.config.autoencoder, first.config.net
        if odd := mine.differences(other):
            raise ValueError(
                f"this model's latents are {mine.latent_shape}, 1/{mine.f} of {mine.size} pixels, "
                f"and the autoencoder's {other.latent_shape}, 1/{other.f} of {other.size}, of "
                f"another network ({odd}): give the one that belongs to this model"
            )
        self.autoencoder.load_state_dict(first.autoencoder.state_dict())

    # Pictures and latents

    def latents(self, pictures: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What is diffused, (B, latent, S / f, S / f), of about unit size: draws from the
        autoencoder's posterior, scaled. Raises ValueError for pictures of another size."""
        self.check_measured()
        return self.scale * self.autoencoder.encode(pictures, generator)

    def decode(self, latents: Tensor) -> Tensor:
        """The pictures of scaled latents, (B, C, S, S). Raises ValueError for another shape."""
        self.check_measured()
        return self.autoencoder.decode(float_batch(latents, "the latents") / self.scale)

    def check_measured(self) -> None:
        """Raises ValueError as long as no training has measured the scale."""
        if not self.scale.isfinite():
            raise ValueError(
                "this model has not been trained, so it does not know how large its latents are: "
                "train it, or set model.scale to one over their standard deviation"
            )

    def measure(self, z: Tensor) -> None:
        """The first batch of training says how large latents are."""
        self.scale.copy_(torch.where(self.scale.isfinite(), self.scale, 1 / z.float().std()))

    def known_latents(self, image: Tensor, mask: Tensor) -> Tensor:
        """The scaled latents of the known pixels, gray elsewhere, (B, latent, S / f, S / f)."""
        return self.scale * self.autoencoder.mean(image * mask)

    def beside(self, known: Tensor | None, mask: Tensor | None, low: Tensor | None):
        """What the U-Net sees beside the latents, (B, net.image, S / f, S / f): the latents of the
        known pixels, gray elsewhere; where all of them are known, 1; and the smaller picture."""
        net, parts = self.config.net, {}
        if self.config.inpaints:
            parts["known"] = self.known_latents(known, mask)
            parts["mask"] = self.known_places(mask)
        if self.config.upsamples is not None:
            small = F.pixel_unshuffle(low, self.config.squares)
            parts["low"] = F.interpolate(small, size=(net.size, net.size), mode="bilinear")
        chosen = [parts[name] for name in self.config.beside]
        return torch.cat(chosen, dim=1) if chosen else None

    def known_places(self, mask: Tensor) -> Tensor:
        """1 where all pixels of a place of the latents are known, (B, 1, S / f, S / f)."""
        return (F.avg_pool2d(mask, self.config.autoencoder.f) == 1).to(mask.dtype)

    def encode(self, prompts: str | Sequence | Tensor | int) -> Conditioning:
        """Sentences or classes as the U-Net hears them, one row for each; None is the null. A model
        that hears nothing is only told how many. Raises ValueError for what it cannot read."""
        if self.condition is None:
            whole_number(prompts, "the number of pictures", 1)
            return Conditioning()
        with torch.no_grad():
            return self.condition(prompts)

    # Training

    def loss(self, batch: Tensor | tuple) -> Tensor:
        """A scalar, for pictures (B, C, S, S) in [−1, 1], or (pictures, captions or labels (B,),
        masks (B, 1, S, S), smaller pictures (B, C, s, s)), of these what the model takes: L_simple
        of the scaled latents. Each row loses its caption or class with probability p_uncond. masks:
        1 = known. Without smaller pictures, the means of squares are seen. Raises ValueError for
        what is missing, does not fit, or would not be heard."""
        pictures, *given = [batch] if isinstance(batch, Tensor) else batch
        picture_batch(pictures, "pictures")
        cond = self.training_condition(given, len(pictures))
        mask = masks_of([given.pop(0)] if given else [], pictures) if self.config.inpaints else None
        low, side = None, self.config.upsamples
        if side is not None:
            small = given.pop(0) if given else F.interpolate(pictures, (side, side), mode="area")
            low = low_pictures(small, side, pictures.shape[1], len(pictures))
        if given:
            raise ValueError(
                f"the batch also has {short(given[0])}, which this model does not take: give "
                f"{self.takes} alone"
            )
        with torch.no_grad():
            z = self.autoencoder.encode(pictures)
            if self.training:
                self.measure(z)
            else:
                self.check_measured()
            seen = self.beside(pictures, mask, low)
        return training_loss(self.denoiser, self.scale * z, cond._replace(image=seen))

    @property
    def takes(self) -> str:
        """What a batch of training holds, in words."""
        others = {"masks": self.config.inpaints, "smaller pictures": self.config.upsamples}
        kinds = {"pictures": True, self.hears: self.hears} | others
        return ", ".join(kind for kind, there in kinds.items() if there)

    def training_condition(self, given: list, rows: int) -> Conditioning:
        """What the first of the given says, which is taken from them."""
        if self.condition is None:
            return Conditioning()
        if not given or len(given[0]) != rows:
            raise ValueError(
                f"the batch has {rows} pictures and {len(given[0]) if given else 'no'} "
                f"{self.hears}, but each picture must come with its own"
            )
        return self.condition(given.pop(0), gone=torch.rand(rows) < self.config.p_uncond)

    # Sampling

    def generate(
        self,
        prompts: str | Sequence[Prompt] | Sequence[int | None] | Tensor | int,
        *,
        steps: int | Sequence[int] = 50,
        scale: float | Tensor | None = None,
        seed: int | torch.Generator = 0,
        negative: str | Sequence[str | None] | None = None,
        known: tuple[Tensor, Tensor] | None = None,
        low: Tensor | None = None,
        step: Callable = ddim,
        map_x0: Callable[[Tensor], Tensor] | None = None,
        **options,
    ) -> Iterator[State]:
        """A picture for each prompt: yields a `State` after each step, whose x and x0 are scaled
        latents, and whose ``pictures`` are their pictures (B, C, S, S) in [−1, 1]. The same seed
        gives the same pictures.

        prompts, scale, negative, known, low: as in `labkit.systems.glide.GLIDE.generate`; labels or
            a number for a model that hears no sentences. Known pixels stay as they are. scale None:
            3, or 1 where there is no null.
        map_x0: None: latents are not clipped, since they have no bounds.
        Raises ValueError for what it cannot read, pictures of another size or range, guidance by a
        null that was never trained, and a model whose scale no training has measured.
        """
        self.check_measured()
        terms, rows = self.terms(prompts, scale, negative)
        pixels, place = self.config.autoencoder, devices.placed(self)
        image, mask = (part.to(**place) for part in known_pictures(known, pixels, rows))
        small = low_pictures(low, self.config.upsamples, pixels.channels, rows)
        with torch.no_grad():
            seen = self.beside(image, mask, small if small is None else small.to(**place))
        denoise, cond = self.denoiser, Conditioning(image=seen)
        if terms:
            denoise, cond = guided(self, terms, negative, seen)
        if map_x0 is not None:
            denoise = MapX0(denoise, map_x0)
        if known is not None:
            with torch.no_grad():  # beside gray, the encoder would see an edge at the seam
                z = self.scale * self.autoencoder.mean(filled(image, mask))
            denoise = MapX0(denoise, keep_known(z, self.known_places(mask)))
        states = from_noise(
            denoise,
            (rows, *pixels.latent_shape),
            steps,
            seed=seed,
            cond=cond,
            step=step,
            **place,
            **options,
        )
        keep = keep_known(image, mask)  # where nothing is known, all is as decoded
        return (state._replace(decode=lambda x0: keep(self.decode(x0))) for state in states)

    def terms(self, prompts, scale: float | Tensor | None, negative=None) -> tuple[list, int]:
        """What guides and by how much, as `scaled_terms`, and for how many pictures. Raises
        ValueError for a scale or a negative where nothing is heard."""
        if self.condition is None:
            if scale is not None or negative is not None:
                name = "negative" if scale is None else "scale"
                raise ValueError(f"this model hears no condition to guide it: leave out {name}")
            return [], whole_number(prompts, "the number of pictures", 1)
        if scale is None:
            scale = 3.0 if self.config.p_uncond else 1.0
        prompts = prompts.tolist() if hasattr(prompts, "tolist") else prompts
        if self.hears == "classes" and isinstance(prompts, int):
            raise ValueError(f"prompts is {prompts}, but must be a class for each: [{prompts}]")
        terms = scaled_terms(prompts, scale)
        return terms, len(terms[0][0])
