"""DALL·E 2's diffusion prior: from a sentence to the CLIP embedding of a picture of it.

Source: Ramesh et al. 2022, section 2.2 and appendix C. It is a diffusion model of vectors, not of
pictures: it has no U-Net but a transformer, it predicts the clean embedding itself, and embeddings
are made as large as pixels are, or there would be nothing left of them at nearly every time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import devices, schedule
from labkit.conditioning import Conditioning
from labkit.denoiser import Denoiser, MapX0
from labkit.guidance import ClassifierFree
from labkit.inputs import number, whole_number
from labkit.nets.prior import PriorConfig, PriorTransformer
from labkit.sampler import State, ddim, from_noise
from labkit.systems.clip import CLIP
from labkit.systems.prior_inputs import (
    SENTENCES,
    Texts,
    check_null,
    check_options,
    mark_of,
    unit_vectors,
)


@dataclass(frozen=True)
class DiffusionPriorConfig:
    """All that there is to choose about a `DiffusionPrior`."""

    net: PriorConfig
    vocabulary: int  # of the captions' tokens
    schedule: str = "cosine"
    T: int = 1000
    predicts: str = "x0"
    p_uncond: float = 0.1  # of the training rows that lose their sentence
    # Of each entry of an embedding: the paper multiplies unit vectors of 1024 by 17.2, so that they
    # vary as ImageNet's pixels do.
    std: float = 0.5375

    def __post_init__(self):
        if isinstance(self.net, dict):  # from JSON
            object.__setattr__(self, "net", PriorConfig(**self.net))
        whole_number(self.vocabulary, "the vocabulary", 2)
        number(self.p_uncond, "p_uncond", 0, 1)
        number(self.std, "std", 1e-9)


class DiffusionPrior(nn.Module):
    """A diffusion model of CLIP's image embeddings, unit vectors (B, D), given sentences."""

    def __init__(self, config: DiffusionPriorConfig):
        super().__init__()
        self.config = config
        self.factor = config.std * config.net.dim**0.5
        self.words = nn.Embedding(config.vocabulary, config.net.tokens)
        table = schedule.by_name(config.schedule, config.T)
        self.denoiser = Denoiser(PriorTransformer(config.net), table, predicts=config.predicts)
        self.register_buffer("clip_mark", torch.zeros(2, config.net.dim))

    def fit(self, clip: CLIP) -> None:
        """Notes in which CLIP's space it learns."""
        self.clip_mark.copy_(mark_of(clip))

    @property
    def null(self) -> Conditioning:
        """No sentence, one row: no token to look at, and an embedding that no sentence has."""
        net, like = self.config.net, self.words.weight
        mask = torch.zeros(1, net.context, dtype=torch.bool, device=like.device)
        tokens = like.new_zeros(1, net.context, net.tokens)
        return Conditioning(like.new_zeros(1, net.dim), tokens, mask)

    def encode(self, texts: Texts) -> Conditioning:
        """Sentences as the network hears them: their embeddings, as large as those of pictures, and
        their words."""
        return Conditioning(self.factor * texts.embedding, self.words(texts.ids), texts.mask)

    def loss(self, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """The mean squared error of the predicted embedding, a scalar. batch: image embeddings
        (B, D), and the three fields of their `Texts`. Each row loses its sentence, embedding and
        words at once, with probability p_uncond."""
        image, *texts = batch
        unit_vectors(image, self.config.net.dim, "the batch of image embeddings")
        unit_vectors(texts[0], self.config.net.dim, SENTENCES)
        cond = self.encode(Texts(*texts)).drop(self.null, together=self.config.p_uncond)
        return self.denoiser.loss(self.factor * image, cond)

    def walk(
        self,
        texts: Texts,
        *,
        steps: int = 64,
        scale: float | Tensor = 1.0,
        temperature: float = 1.0,
        seed: int | torch.Generator = 0,
        step: Callable = ddim,
        map_x0: Callable[[Tensor], Tensor] | None = None,
        **options,
    ) -> Iterator[State]:
        """An embedding for each sentence: yields a `State` after each step, whose x and x0 are
        embeddings (B, D) times `factor`. scale: of classifier-free guidance, 1: none, (B,): each
        row's own. temperature, step, options: as in `labkit.sampler.from_noise`; map_x0: for
        `labkit.denoiser.MapX0`. Raises ValueError for embeddings that are no unit vectors, and for
        guidance by a null that was never trained."""
        unit_vectors(texts.embedding, self.config.net.dim, SENTENCES)
        check_null(self.config.p_uncond > 0, scale)
        with torch.no_grad():
            cond = self.encode(texts)
        denoise = ClassifierFree(self.denoiser, self.null, scale)
        if map_x0 is not None:
            denoise = MapX0(denoise, map_x0)
        return from_noise(
            denoise,
            texts.embedding.shape,
            steps,
            seed=seed,
            temperature=temperature,
            cond=cond,
            step=step,
            **devices.placed(self),
            **options,
        )

    def draw(
        self, texts: Texts, *, candidates: int = 2, scale: float | Tensor = 1.0, **options
    ) -> Tensor:
        """An image embedding for each sentence, unit vectors (B, D): of that many candidates the
        one that lies nearest to the sentence (section 2.2 draws two). scale, options: of `walk`.
        Raises ValueError as that does, and for options that it does not have."""
        candidates = whole_number(candidates, "the number of candidates", 1)
        check_options(options, self.draw, self.walk, options.get("step", ddim))
        if isinstance(scale, Tensor) and scale.ndim:
            scale = scale.repeat(candidates)
        unit_vectors(texts.embedding, self.config.net.dim, SENTENCES)  # as many as were given
        *_, last = self.walk(texts.repeat(candidates), scale=scale, **options)
        drawn = F.normalize(last.x, dim=1).unflatten(0, (candidates, -1))  # (n, B, D)
        return nearest(drawn, texts.embedding)


def nearest(candidates: Tensor, text: Tensor) -> Tensor:
    """Of candidates (n, B, D) the one of the largest dot product with its text (B, D), (B, D); unit
    vectors on both sides."""
    best = (candidates * text).sum(2).argmax(0)  # (B,)
    return candidates.gather(0, best[None, :, None].expand(1, *text.shape))[0]
