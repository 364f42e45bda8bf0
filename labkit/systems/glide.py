"""GLIDE, text-guided diffusion: a text transformer whose words the U-Net can look at.

Source: Nichol et al. 2021, "GLIDE: Towards Photorealistic Image Generation and Editing with
Text-Guided Diffusion Models", sections 4.1 to 4.3, and the authors' code. A caption enters twice:
its last position joins the time embedding, as a class would; and all its positions stand before
the pixels in every attention, one softmax over both. The empty caption is the null, so guidance is
classifier-free. One class serves for the base model, for its inpainting form, which also sees the
known pixels, and for the upsampler, which also sees a smaller picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import devices
from labkit.casting import moved
from labkit.conditioning import Conditioning
from labkit.data.pictures import quantize
from labkit.denoiser import MapX0, clip, keep_known
from labkit.guidance import ClassifierFree, Composed
from labkit.inputs import number, picture_batch, short
from labkit.likelihood import hybrid_loss
from labkit.nets.transformer import BidirectionalTextTransformer, TextConfig
from labkit.sampler import State, ddim, from_noise
from labkit.scenes.tokenizer import Tokenizer, Tokens
from labkit.scenes.tokenizer import load as course_tokenizer
from labkit.systems.ddpm import DDPMConfig, build_denoiser
from labkit.systems.glide_inputs import (
    Prompt,
    known_pictures,
    listed,
    low_pictures,
    masks_of,
    scaled_terms,
)
from labkit.systems.perceptual import PerceptualLoss


@dataclass(frozen=True, kw_only=True)
class GLIDEConfig(DDPMConfig):
    """All that there is to choose about a `GLIDE`: net.vector and net.tokens are the text's width,
    net.image is how many channels of other pictures the U-Net sees beside x."""

    text: TextConfig
    p_uncond: float = 0.2  # of the training rows that lose their caption (section 4.2)
    inpaints: bool = False  # sees the known pixels, and which they are
    upsamples: int | None = None  # sees a picture of that many pixels a side, which it makes larger

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.text, dict):  # from JSON
            object.__setattr__(self, "text", TextConfig(**self.text))
        number(self.p_uncond, "p_uncond", 0, 1)
        net, colors = self.net, self.net.channels
        image = (colors + 1) * self.inpaints + colors * (self.upsamples is not None)
        for what, given, needed in (
            ("vector", net.vector, self.text.width),
            ("tokens", net.tokens, self.text.width),
            ("image", net.image, image),
        ):
            if given != needed:
                raise ValueError(f"net.{what} is {given}, but must be {needed} for this model")
        if self.upsamples is not None and not 0 < self.upsamples < net.size:
            raise ValueError(f"upsamples is {self.upsamples}, but must be below {net.size}")


class GLIDE(nn.Module):
    """A text-conditional diffusion model of pictures (B, C, S, S) in [−1, 1].

    tokenizer: the one whose tokens it reads; None: the course's own, `labkit.scenes.tokenizer`.
    """

    hears = "sentences"

    def __init__(self, config: GLIDEConfig, tokenizer: Tokenizer | None = None):
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.denoiser = build_denoiser(config)
        self.text = BidirectionalTextTransformer(config.text)
        self.perceptual: PerceptualLoss | None = None  # set for training alone

    def begin_from(self, base: GLIDE) -> None:
        """Takes over the weights of a model that sees fewer pictures beside x; those for the new
        channels are zero, so that at first nothing changes (section 4.3). Raises ValueError for a
        model that differs in anything else."""
        own = self.state_dict()
        for name, weight in base.state_dict().items():
            if name not in own:
                raise ValueError(f"the other model has {name}, and this one has not")
            if name == "denoiser.net.conv_in.weight" and weight.shape[1] <= own[name].shape[1]:
                wider = torch.zeros_like(own[name])
                wider[:, : weight.shape[1]] = weight
                weight = wider
            if weight.shape != own[name].shape:
                raise ValueError(
                    f"{name} has shape {tuple(weight.shape)} in the other model and "
                    f"{tuple(own[name].shape)} in this one: begin from one of the same network"
                )
            own[name] = weight
        self.load_state_dict(own)

    # The text

    @property
    def null(self) -> Conditioning:
        """The empty caption, one row: nothing but padding."""
        return self.encode([None])

    def encode(self, prompts: str | Sequence[str | None]) -> Conditioning:
        """Captions as the U-Net hears them, one row for each; None is the empty one. Raises
        ValueError for what this model cannot read."""
        with torch.no_grad():
            return self.condition(self.tokens(prompts))

    def condition(self, tokens: Tokens) -> Conditioning:
        """What the text transformer makes of tokens (B, L)."""
        device = devices.of(self)
        text = self.text(moved(tokens.ids, device), moved(tokens.mask, device))  # (B, L, width)
        return Conditioning(vector=text[:, -1], tokens=text)

    def tokens(self, prompts: str | Sequence[str | None]) -> Tokens:
        """Captions as tokens, (B, L); None becomes the empty one. Raises ValueError for no list,
        an empty text, one that is too long, and for words that nobody taught this model."""
        prompts = listed(prompts)
        tokenizer, context = self.tokenizer or course_tokenizer(), self.config.text.context
        if len(tokenizer) != self.config.text.vocabulary or tokenizer.context != context:
            raise ValueError(
                f"this model knows {self.config.text.vocabulary} tokens and texts of {context}, "
                f"but its tokenizer has {len(tokenizer)} and makes texts of {tokenizer.context}: "
                "build it as GLIDE(config, tokenizer)"
            )
        rows = [row for row, prompt in enumerate(prompts) if prompt is not None]
        ids = torch.full((len(prompts), context), tokenizer.pad)
        mask = torch.zeros(len(prompts), context, dtype=torch.bool)
        if rows:
            ids[rows], mask[rows] = tokenizer.encode([prompts[row] for row in rows])
        for row in rows:
            if unknown := tokenizer.unknown(prompts[row]):
                raise ValueError(
                    f"{short(prompts[row])} has words that this model has never read "
                    f"({', '.join(unknown)}): say it in words of the captions that it learned from"
                )
        return Tokens(ids, mask)

    # The pictures beside x

    def beside(
        self, low: Tensor | None, known: Tensor | None, mask: Tensor | None
    ) -> Tensor | None:
        """What the U-Net sees beside x, (B, net.image, S, S): the smaller picture, drawn large by
        bilinear interpolation; the known pixels, 0 elsewhere; and the mask, 1 = known."""
        parts, size = [], self.config.net.size
        if self.config.upsamples is not None:
            parts.append(F.interpolate(low, size=(size, size), mode="bilinear"))
        if self.config.inpaints:
            parts += [known * mask, mask]
        return torch.cat(parts, dim=1) if parts else None

    def shrunk(self, pictures: Tensor) -> Tensor | None:
        """The smaller pictures of training: means of squares, rounded as a file rounds them."""
        side = self.config.upsamples
        return side and quantize(F.interpolate(pictures, size=(side, side), mode="area"))

    # Training

    def loss(self, batch: tuple[Tensor, Sequence[str]] | tuple[Tensor, Sequence[str], Tensor]):
        """A scalar, for pictures (B, C, S, S) in [−1, 1] and their captions: L_simple, or L_hybrid
        with learned variance; each row loses its caption with probability p_uncond. A model that
        inpaints takes masks, too, (B, 1, S, S): 1 = known, 0 = erased."""
        pictures, captions = batch[:2]
        picture_batch(pictures, "pictures")
        tokens = self.tokens(captions)
        if len(tokens.ids) != len(pictures):
            raise ValueError(
                f"the batch has {len(pictures)} pictures and {len(tokens.ids)} captions, but each "
                "picture must come with its own"
            )
        mask = masks_of(batch[2:], pictures) if self.config.inpaints else None
        gone = torch.rand(len(pictures)) < self.config.p_uncond
        cond = self.condition(Tokens(tokens.ids, tokens.mask & ~gone[:, None]))
        cond = cond._replace(image=self.beside(self.shrunk(pictures), pictures, mask))
        if self.denoiser.learned_variance:
            return hybrid_loss(self.denoiser, pictures, cond)
        return self.denoiser.loss(pictures, cond, also=self.perceptual)

    # Sampling

    def generate(
        self,
        prompts: str | Sequence[Prompt],
        *,
        steps: int = 25,
        scale: float | Tensor = 3.0,
        seed: int | torch.Generator = 0,
        negative: str | Sequence[str | None] | None = None,
        known: tuple[Tensor, Tensor] | None = None,
        low: Tensor | None = None,
        step: Callable = ddim,
        map_x0: Callable[[Tensor], Tensor] = clip,
        **options,
    ) -> Iterator[State]:
        """A picture for each prompt: yields a `State` after each step; the last one's ``x`` are
        the pictures, (B, C, S, S) in [−1, 1]. The same seed gives the same pictures.

        prompts: sentences; None for one without; or {sentence: its own scale, …} for several at
            once (`labkit.guidance.Composed`).
        scale: of classifier-free guidance in GLIDE's convention: 1 is none; 3 is what people
            preferred (table 2).
        negative: a sentence to be led away from, or one for each picture, in place of the null.
        known: (image, mask) to inpaint: image (1 or B, C, S, S) in [−1, 1], mask (1 or B, 1, S, S),
            1 = known, 0 = free. Known pixels stay as they are. A model that never learned to
            inpaint is only held to them; its seams show.
        low: (1 or B, C, s, s) in [−1, 1], the smaller pictures, for a model that upsamples.
        step: `ddim`, `ddpm` or your own; ``options``, such as eta=1.0, are for it.
        Raises ValueError for what it cannot read, pictures of another size or range, and guidance
        by a null that was never trained.
        """
        terms = scaled_terms(prompts, scale)
        rows, net = len(terms[0][0]), self.config.net
        image, mask = known_pictures(known, net, rows)
        image, mask = image.to(self.text.pos_emb), mask.to(self.text.pos_emb)
        small = low_pictures(low, self.config.upsamples, net.channels, rows)
        seen = self.beside(small if small is None else small.to(image), image, mask)
        null = self.encode(negative if negative is not None else [None]).rows(rows)
        null = null._replace(image=seen)
        conds = [(self.encode(row)._replace(image=seen), scales) for row, scales in terms]
        cond, by = conds[0] if len(conds) == 1 else (None, None)
        plain = not isinstance(by, Tensor) and by == 1
        if self.config.p_uncond == 0 and negative is None and not plain:
            raise ValueError(
                f"scale is {short(scale)}, but this model was never trained without a caption "
                "(p_uncond = 0), so it has nothing to guide away from: use scale = 1"
            )
        if len(conds) == 1:
            denoise = ClassifierFree(self.denoiser, null, by)
        else:
            denoise = Composed(self.denoiser, null, conds)
        denoise = MapX0(denoise, map_x0)
        if known is not None:
            denoise = MapX0(denoise, keep_known(image, mask))
        return from_noise(
            denoise,
            (rows, net.channels, net.size, net.size),
            steps,
            seed=seed,
            cond=cond,
            step=step,
            **devices.placed(self),
            **options,
        )
