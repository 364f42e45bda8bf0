"""GLIDE, text-guided diffusion: a text transformer whose words the U-Net can look at.

Source: Nichol et al. 2021, "GLIDE: Towards Photorealistic Image Generation and Editing with
Text-Guided Diffusion Models", sections 4.1 to 4.3, and the authors' code. A caption enters twice:
its last position joins the time embedding, as a class would; and all its positions stand before
the pixels in every attention, one softmax over both. The empty caption is the null, so guidance is
classifier-free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from labkit import devices
from labkit.casting import moved
from labkit.conditioning import Conditioning
from labkit.denoiser import MapX0, clip
from labkit.guidance import ClassifierFree
from labkit.inputs import number, picture_batch, short
from labkit.likelihood import hybrid_loss
from labkit.nets.transformer import BidirectionalTextTransformer, TextConfig
from labkit.sampler import State, ddim, from_noise
from labkit.scenes.tokenizer import Tokenizer, Tokens
from labkit.scenes.tokenizer import load as course_tokenizer
from labkit.systems.ddpm import DDPMConfig, build_denoiser
from labkit.systems.perceptual import PerceptualLoss


@dataclass(frozen=True, kw_only=True)
class GLIDEConfig(DDPMConfig):
    """All that there is to choose about a `GLIDE`: net.vector and net.tokens are the text's
    width."""

    text: TextConfig
    p_uncond: float = 0.2  # of the training rows that lose their caption (section 4.2)

    def __post_init__(self):
        super().__post_init__()
        if isinstance(self.text, dict):  # from JSON
            object.__setattr__(self, "text", TextConfig(**self.text))
        number(self.p_uncond, "p_uncond", 0, 1)
        routes = {"vector": self.net.vector, "tokens": self.net.tokens}
        for route, length in routes.items():
            if length != self.text.width:
                raise ValueError(
                    f"net.{route} is {length}, but must be the text's width, {self.text.width}"
                )


class GLIDE(nn.Module):
    """A text-conditional diffusion model of pictures (B, C, H, W) in [−1, 1].

    tokenizer: the one whose tokens it reads; None: the course's own, `labkit.scenes.tokenizer`.
    """

    hears = "sentences"

    def __init__(self, config: GLIDEConfig, tokenizer: Tokenizer | None = None):
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.denoiser = build_denoiser(config)
        self.text = BidirectionalTextTransformer(config.text)
        self.perceptual: PerceptualLoss | None = None  # set for training alone

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
        prompts = [prompts] if isinstance(prompts, str) else prompts
        if not isinstance(prompts, Sequence) or not len(prompts):
            raise ValueError(
                f"prompts is {short(prompts)}, but must be a list of at least one sentence"
            )
        tokenizer, context = self.tokenizer or course_tokenizer(), self.config.text.context
        if len(tokenizer) != self.config.text.vocabulary or tokenizer.context != context:
            raise ValueError(
                f"this model knows {self.config.text.vocabulary} tokens and texts of {context}, "
                f"but its tokenizer has {len(tokenizer)} and makes texts of {tokenizer.context}: "
                "build it as GLIDE(config, tokenizer)"
            )
        rows = [row for row, prompt in enumerate(prompts) if prompt is not None]
        for row in rows:
            if unknown := tokenizer.unknown(prompts[row]):
                raise ValueError(
                    f"{short(prompts[row])} has words that this model has never read "
                    f"({', '.join(unknown)}): say it in words of the captions that it learned from"
                )
        ids = torch.full((len(prompts), context), tokenizer.pad)
        mask = torch.zeros(len(prompts), context, dtype=torch.bool)
        if rows:
            ids[rows], mask[rows] = tokenizer.encode([prompts[row] for row in rows])
        return Tokens(ids, mask)

    def loss(self, batch: tuple[Tensor, Sequence[str]]) -> Tensor:
        """A scalar, for pictures (B, C, H, W) in [−1, 1] and their captions: L_simple, or L_hybrid
        with learned variance; each row loses its caption with probability p_uncond."""
        pictures, captions = batch[:2]
        picture_batch(pictures, "pictures")
        tokens = self.tokens(captions)
        if len(tokens.ids) != len(pictures):
            raise ValueError(
                f"the batch has {len(pictures)} pictures and {len(tokens.ids)} captions, but each "
                "picture must come with its own"
            )
        gone = torch.rand(len(pictures)) < self.config.p_uncond
        cond = self.condition(Tokens(tokens.ids, tokens.mask & ~gone[:, None]))
        if self.denoiser.learned_variance:
            return hybrid_loss(self.denoiser, pictures, cond)
        return self.denoiser.loss(pictures, cond, also=self.perceptual)

    def generate(
        self,
        prompts: str | Sequence[str | None],
        *,
        steps: int = 25,
        scale: float | Tensor = 3.0,
        seed: int = 0,
        step: Callable = ddim,
        map_x0: Callable[[Tensor], Tensor] = clip,
        **options,
    ) -> Iterator[State]:
        """A picture for each sentence: yields a `State` after each step; the last one's ``x`` are
        the pictures, (B, C, H, W) in [−1, 1]. The same seed gives the same pictures.

        scale: of classifier-free guidance in GLIDE's convention: 1 is none; 3 is what people
            preferred (table 2).
        step: `ddim`, `ddpm` or your own; ``options``, such as eta=1.0, are for it.
        Raises ValueError for sentences that it cannot read, or a scale without a null.
        """
        cond, denoise, net = self.encode(prompts), self.denoiser, self.config.net
        if isinstance(scale, Tensor) or scale != 1:
            if self.config.p_uncond == 0:
                raise ValueError(
                    f"scale is {short(scale)}, but this model was never trained without a caption "
                    "(p_uncond = 0), so it has nothing to guide away from: use scale = 1"
                )
            denoise = ClassifierFree(denoise, self.null, scale)
        return from_noise(
            MapX0(denoise, map_x0),
            (len(cond.vector), net.channels, net.size, net.size),
            steps,
            seed=seed,
            cond=cond,
            step=step,
            device=cond.vector.device,
            dtype=cond.vector.dtype,
            **options,
        )
