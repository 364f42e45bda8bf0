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
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import devices
from labkit.casting import moved
from labkit.conditioning import Conditioning
from labkit.data.pictures import quantize
from labkit.denoiser import MapX0, clip, keep_known
from labkit.inputs import number, picture_batch, short, whole_number
from labkit.likelihood import training_loss
from labkit.nets.transformer import BidirectionalTextTransformer, TextConfig
from labkit.sampler import State, ddim, from_noise
from labkit.scenes.tokenizer import Tokenizer, Tokens, words_of
from labkit.scenes.tokenizer import load as course_tokenizer
from labkit.systems.captions import caption_tokens, guided, padding
from labkit.systems.ddpm import DDPMConfig, build_denoiser
from labkit.systems.glide_inputs import (
    Prompt,
    fast27,
    known_pictures,
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
        net = self.net
        if self.upsamples is not None:
            whole_number(self.upsamples, "upsamples", 1, net.size - 1)
        for what, given, needed in (
            ("vector", net.vector, self.text.width),
            ("tokens", net.tokens, self.text.width),
            ("image", net.image, sum(self.beside.values())),
        ):
            if given != needed:
                raise ValueError(f"net.{what} is {given}, but must be {needed} for this model")

    @property
    def beside(self) -> dict[str, int]:
        """The channels of what the U-Net sees beside x, in their order: that of the authors."""
        known = {"known": self.net.channels, "mask": 1} if self.inpaints else {}
        return known | ({"low": self.net.channels} if self.upsamples is not None else {})


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

    def extra_repr(self) -> str:
        """What a run that goes on is compared by, besides the configuration."""
        return " ".join(filter(None, (words_of(self.tokenizer), repr(self.perceptual or ""))))

    def begin_from(self, base: GLIDE) -> None:
        """Takes over the weights of a model that sees fewer pictures beside x, or smaller ones;
        those for the new channels are zero, so that at first nothing changes (section 4.3). Raises
        ValueError for a model that differs in anything else."""
        free = {"p_uncond": 0.0, "inpaints": False, "upsamples": None}
        size = max(self.config.net.size, base.config.net.size)
        rest = []
        for each in (self.config, base.config):
            net = replace(each.net, image=0, dropout=0.0, size=size)
            rest.append(replace(each, net=net, **free))
        missing = set(base.config.beside) - set(self.config.beside)
        if rest[0] != rest[1] or missing or words_of(self.tokenizer) != words_of(base.tokenizer):
            raise ValueError(
                f"this model cannot begin from the other one, since they differ in more than what "
                f"they see beside x: {short(base.config)} for {short(self.config)}; give a model "
                "of the same network, text, schedule and prediction"
            )
        own, weights = self.state_dict(), base.state_dict()
        name = "denoiser.net.conv_in.weight"
        wider = torch.zeros_like(own[name])
        wider[:, self.channels("x")] = weights[name][:, base.channels("x")]
        for part in base.config.beside:
            wider[:, self.channels(part)] = weights[name][:, base.channels(part)]
        self.load_state_dict(weights | {name: wider})

    def channels(self, part: str) -> slice:
        """Which inputs of the first convolution belong to x, or to what is beside it."""
        sizes = {"x": self.config.net.channels} | self.config.beside
        names = list(sizes)
        first = sum(sizes[name] for name in names[: names.index(part)])
        return slice(
            first * self.config.net.fold**2, (first + sizes[part]) * self.config.net.fold**2
        )

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
        tokenizer = self.tokenizer or course_tokenizer()
        return caption_tokens(prompts, tokenizer, self.config.text, padding(tokenizer), "GLIDE")

    # The pictures beside x

    def beside(
        self, low: Tensor | None, known: Tensor | None, mask: Tensor | None
    ) -> Tensor | None:
        """What the U-Net sees beside x, (B, net.image, S, S): the known pixels, 0 elsewhere; the
        mask, 1 = known; and the smaller picture, made large by bilinear interpolation."""
        parts, size = {"known": known, "mask": mask}, self.config.net.size
        if self.config.inpaints:
            parts["known"] = known * mask
        if self.config.upsamples is not None:
            parts["low"] = F.interpolate(low, size=(size, size), mode="bilinear")
        chosen = [parts[name] for name in self.config.beside]
        return torch.cat(chosen, dim=1) if chosen else None

    def shrunk(self, pictures: Tensor) -> Tensor | None:
        """The smaller pictures of training: means of squares, rounded as a file rounds them."""
        side = self.config.upsamples
        return side and quantize(F.interpolate(pictures, size=(side, side), mode="area"))

    # Training

    def loss(self, batch: tuple[Tensor, Sequence[str]] | tuple[Tensor, Sequence[str], Tensor]):
        """A scalar, for pictures (B, C, S, S) in [−1, 1] and their captions: L_simple, or L_hybrid
        with learned variance; each row loses its caption with probability p_uncond. A model that
        inpaints takes masks, too, (B, 1, S, S): 1 = known, 0 = erased; one that upsamples may take
        the smaller pictures, (B, C, s, s), last: without them, it sees what `shrunk` makes."""
        pictures, captions = batch[:2]
        picture_batch(pictures, "pictures")
        tokens = self.tokens(captions)
        if len(tokens.ids) != len(pictures):
            raise ValueError(
                f"the batch has {len(pictures)} pictures and {len(tokens.ids)} captions, but each "
                "picture must come with its own"
            )
        others = [each for each in batch[2:] if isinstance(each, Tensor)]
        mask = masks_of(others, pictures) if self.config.inpaints else None
        low, side = self.shrunk(pictures), self.config.upsamples
        if side is not None and len(others) > self.config.inpaints:
            low = low_pictures(others[-1], side, pictures.shape[1], len(pictures))
        gone = torch.rand(len(pictures)) < self.config.p_uncond
        cond = self.condition(Tokens(tokens.ids, tokens.mask & ~gone[:, None]))
        cond = cond._replace(image=self.beside(low, pictures, mask))
        return training_loss(self.denoiser, pictures, cond, also=self.perceptual)

    # Sampling

    def generate(
        self,
        prompts: str | Sequence[Prompt],
        *,
        steps: int | Sequence[int] | None = None,
        scale: float | Tensor | None = None,
        temperature: float | None = None,
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
        steps: how many, or the falling times themselves. None: 25; an upsampler's are `fast27`.
        scale: of classifier-free guidance in GLIDE's convention: 1 is none. None: 3, which people
            preferred (table 2); for an upsampler 1, as the authors use theirs.
        temperature: a factor of the noise at the start. None: 1; for an upsampler .997, theirs.
        negative: a sentence to be led away from, or one for each picture, in place of the null.
        known: (image, mask) to inpaint: image (1 or B, C, S, S) in [−1, 1], mask (1 or B, 1, S, S),
            1 = known, 0 = free. Known pixels stay as they are. A model that never learned to
            inpaint is only held to them; its seams show.
        low: (1 or B, C, s, s) in [−1, 1], the smaller pictures, for a model that upsamples.
        step: `ddim`, `ddpm` or your own; ``options``, such as eta=1.0, are for it.
        Raises ValueError for what it cannot read, pictures of another size or range, and guidance
        by a null that was never trained.
        """
        upsamples = self.config.upsamples is not None
        if steps is None:
            steps = fast27(self.config.T) if upsamples else 25
        if scale is None:
            scale = 1.0 if upsamples else 3.0
        if temperature is None:
            temperature = 0.997 if upsamples else 1.0
        terms = scaled_terms(prompts, scale)
        rows, net = len(terms[0][0]), self.config.net
        image, mask = (part.to(self.text.pos_emb) for part in known_pictures(known, net, rows))
        small = low_pictures(low, self.config.upsamples, net.channels, rows)
        seen = self.beside(small if small is None else small.to(image), image, mask)
        denoise, cond = guided(self, terms, negative, seen)
        denoise = MapX0(denoise, map_x0)
        if known is not None:
            denoise = MapX0(denoise, keep_known(image, mask))
        return from_noise(
            denoise,
            (rows, net.channels, net.size, net.size),
            steps,
            seed=seed,
            temperature=temperature,
            cond=cond,
            step=step,
            **devices.placed(self),
            **options,
        )
