"""DALL·E 2's decoder: GLIDE, which is also told the CLIP embedding of the picture to draw.

Source: Ramesh et al. 2022, section 2.1. The embedding enters twice, as the caption does: projected
it joins the time embedding, and as four further tokens it stands beside the caption's. Both may be
missing, each by itself, so one network draws from a caption, from an embedding, and from both.
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
from labkit.inputs import number, picture_batch, whole_number
from labkit.likelihood import training_loss
from labkit.nets.layers import zero
from labkit.sampler import State, ddim, from_noise
from labkit.scenes.tokenizer import Tokens
from labkit.systems.clip import CLIP
from labkit.systems.glide import GLIDE, GLIDEConfig
from labkit.systems.glide_inputs import listed
from labkit.systems.perceptual import PerceptualLoss
from labkit.systems.prior_inputs import check_null, mark_of, unit_vectors


@dataclass(frozen=True)
class UnCLIPDecoderConfig:
    """All that there is to choose about an `UnCLIPDecoder`. glide.p_uncond is the share of training
    rows that lose their caption, half of them in the paper."""

    glide: GLIDEConfig
    dim: int  # of CLIP's space
    extra: int = 4  # tokens that the embedding becomes
    p_no_embedding: float = 0.1  # of the training rows that lose their embedding

    def __post_init__(self):
        if isinstance(self.glide, dict):  # from JSON
            object.__setattr__(self, "glide", GLIDEConfig(**self.glide))
        whole_number(self.dim, "the dimension of CLIP's space", 1)
        whole_number(self.extra, "the number of extra tokens", 1)
        number(self.p_no_embedding, "p_no_embedding", 0, 1)
        if self.glide.beside:
            raise ValueError(
                f"this GLIDE also sees {', '.join(self.glide.beside)}, which the decoder has not: "
                "give one that neither inpaints nor upsamples"
            )


class UnCLIPDecoder(nn.Module):
    """A diffusion model of pictures (B, C, S, S) in [−1, 1], given their CLIP embeddings (B, D),
    captions, both or neither."""

    hears = "sentences"

    def __init__(self, config: UnCLIPDecoderConfig):
        super().__init__()
        self.config, width = config, config.glide.text.width
        self.glide = GLIDE(config.glide)
        # At zero, so that it begins as the model that it begins from.
        self.vector = zero(nn.Linear(config.dim, width, bias=False))
        self.tokens = nn.Linear(config.dim, config.extra * width)
        self.register_buffer("clip_mark", torch.zeros(2, config.dim))
        self.perceptual: PerceptualLoss | None = None  # set for training alone

    def extra_repr(self) -> str:
        """What a run that goes on is compared by, besides the configuration."""
        return repr(self.perceptual or "")

    def begin_from(self, base: GLIDE) -> None:
        """Takes over the weights of a GLIDE, and draws as that does where it has no embedding.
        Raises ValueError for one of another network."""
        self.glide.begin_from(base)

    def fit(self, clip: CLIP) -> None:
        """Notes in which CLIP's space it learns."""
        self.clip_mark.copy_(mark_of(clip))

    @property
    def guidable(self) -> bool:
        """Whether training ever left out both, so that there is a null to guide away from."""
        return self.config.glide.p_uncond > 0 and self.config.p_no_embedding > 0

    @property
    def null(self) -> Conditioning:
        """Neither caption nor embedding, one row."""
        return self.encode([None])

    def encode(
        self, prompts: str | Sequence[str | None], embedding: Tensor | None = None
    ) -> Conditioning:
        """Captions, None for one without, and their unit vectors (B, D), or no embedding at all, as
        the U-Net hears them. Raises ValueError for what this model cannot read, and for vectors
        that are no embeddings, or not as many."""
        tokens = self.glide.tokens(prompts)
        rows, like = len(tokens.ids), self.vector.weight
        known = torch.full((rows,), embedding is not None)
        if embedding is None:
            embedding = like.new_zeros(rows, self.config.dim)
        else:
            embedding = self.checked(embedding, rows).to(like)
        with torch.no_grad():
            return self.condition(tokens, embedding, known)

    def check_trained(self, prompts: Sequence[str | None], embedding: Tensor | None) -> None:
        """Raises ValueError where a caption or the embedding is missing, and training never left
        it out."""
        config = self.config
        for missing, trained, what, option in (
            (embedding is None, config.p_no_embedding, "an embedding", "p_no_embedding"),
            (None in prompts, config.glide.p_uncond, "a caption", "glide.p_uncond"),
        ):
            if missing and not trained > 0:
                raise ValueError(
                    f"this decoder was never trained without {what}, so it cannot draw without: "
                    f"give one, or train it with {option} above 0"
                )

    def checked(self, embedding: Tensor, rows: int) -> Tensor:
        """The embedding itself. Raises ValueError unless it is one unit vector for each row."""
        unit_vectors(embedding, self.config.dim, "the image embedding")
        if len(embedding) != rows:
            raise ValueError(
                f"there are {len(embedding)} image embeddings for {rows} captions: give one for "
                "each, and None for a picture without a caption"
            )
        return embedding

    def condition(self, tokens: Tokens, embedding: Tensor, known: Tensor) -> Conditioning:
        """Of tokens (B, L), embeddings (B, D), and which of these are known, (B,) bool."""
        text = self.glide.condition(tokens)  # vector (B, W), tokens (B, L, W)
        z = self.config.dim**0.5 * embedding  # entries of about unit size
        known = moved(known, z.device)[:, None]
        extra = self.tokens(z).unflatten(1, (self.config.extra, -1))  # (B, 4, W)
        heard = known.new_ones(text.tokens.shape[:2])
        return Conditioning(
            text.vector + self.vector(z) * known,
            torch.cat([text.tokens, extra], 1),
            torch.cat([heard, known.expand(-1, self.config.extra)], 1),
        )

    def loss(self, batch: tuple[Tensor, Sequence[str], Tensor]) -> Tensor:
        """A scalar, for pictures (B, C, S, S) in [−1, 1], their captions, and their embeddings
        (B, D); as `GLIDE.loss`. Each row loses its caption, and its embedding, by chance; the one
        has nothing to do with the other."""
        pictures, captions, embedding = batch
        rows = len(picture_batch(pictures, "pictures"))
        tokens = self.glide.tokens(captions)
        if len(self.checked(embedding, len(tokens.ids))) != rows:
            raise ValueError(
                f"the batch has {rows} pictures and {len(tokens.ids)} captions, but each picture "
                "must come with its own"
            )
        said = torch.rand(rows) >= self.config.glide.p_uncond
        known = torch.rand(rows) >= self.config.p_no_embedding
        cond = self.condition(Tokens(tokens.ids, tokens.mask & said[:, None]), embedding, known)
        return training_loss(self.glide.denoiser, pictures, cond, also=self.perceptual)

    def generate(
        self,
        prompts: str | Sequence[str | None],
        *,
        embedding: Tensor | None = None,
        steps: int = 25,
        scale: float | Tensor = 3.0,
        seed: int | torch.Generator = 0,
        step: Callable = ddim,
        map_x0: Callable[[Tensor], Tensor] = clip,
        **options,
    ) -> Iterator[State]:
        """A picture for each caption, None for one without, and each embedding (B, D), if there are
        some: yields a `State` after each step; the last one's ``x`` are the pictures. scale: of
        classifier-free guidance by both at once, away from neither. The rest is as in
        `GLIDE.generate`. Raises ValueError as `encode` does, for what is missing and was never so
        in training, and for guidance by a null that was never trained."""
        prompts, net = listed(prompts), self.config.glide.net
        cond = self.encode(prompts, embedding)
        self.check_trained(prompts, embedding)
        check_null(self.guidable, scale)
        return from_noise(
            MapX0(ClassifierFree(self.glide.denoiser, self.null, scale), map_x0),
            (len(cond.vector), net.channels, net.size, net.size),
            steps,
            seed=seed,
            cond=cond,
            step=step,
            **devices.placed(self),
            **options,
        )
