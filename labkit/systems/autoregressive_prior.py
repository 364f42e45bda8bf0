"""DALL·E 2's autoregressive prior: a picture's CLIP embedding, written like a text.

Source: Ramesh et al. 2022, section 2.2 and appendix C. Principal components of the embeddings, cut
into buckets, are the letters; a causal transformer that has read the caption writes them, the
component of the largest variance first. Before them stands how near picture and caption are, so
that in use it can be asked for pictures that lie near.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.casting import moved
from labkit.inputs import number, whole_number
from labkit.nets.prior import CodesConfig, CodesTransformer
from labkit.systems.clip import CLIP
from labkit.systems.embedding_codes import PCA, Buckets
from labkit.systems.prior_inputs import SENTENCES, Texts, check_null, mark_of, unit_vectors


@dataclass(frozen=True)
class AutoregressivePriorConfig:
    """All that there is to choose about an `AutoregressivePrior`."""

    net: CodesConfig
    p_uncond: float = 0.1  # of the training rows that lose their sentence

    def __post_init__(self):
        if isinstance(self.net, dict):  # from JSON
            object.__setattr__(self, "net", CodesConfig(**self.net))
        number(self.p_uncond, "p_uncond", 0, 1)


class AutoregressivePrior(nn.Module):
    """A distribution of CLIP's image embeddings, unit vectors (B, D), given sentences."""

    def __init__(self, config: AutoregressivePriorConfig):
        super().__init__()
        self.config, net = config, config.net
        self.pca, self.buckets = PCA(net.dim, net.codes), Buckets(net.codes, net.buckets)
        # Buckets of dot products that are equally full: "the top half" are then the last half.
        self.register_buffer("dot_edges", torch.linspace(-1, 1, net.dots + 1)[1:-1])
        self.net = CodesTransformer(net)
        self.register_buffer("clip_mark", torch.zeros(2, net.dim))

    def fit(self, clip: CLIP, image: Tensor, text: Tensor) -> None:
        """Notes in which CLIP's space it learns, and finds components and buckets in image
        embeddings (N, D) of that CLIP, and the edges of the dot products in those with the
        embeddings of their captions (N, D). To be done once, before training. Raises ValueError for
        what are no unit vectors, and no more of them than components."""
        unit_vectors(image, self.config.net.dim, "the image embeddings")
        unit_vectors(text, self.config.net.dim, SENTENCES)
        self.pca.fit(image)
        self.clip_mark.copy_(mark_of(clip))
        self.buckets.fit(self.pca(image))
        shares = torch.linspace(0, 1, self.config.net.dots + 1, dtype=torch.float64)[1:-1]
        dots = (image * text).sum(1).double()
        self.dot_edges.copy_(torch.quantile(dots, shares))

    def check_fitted(self) -> None:
        """Raises ValueError where `fit` has found no codes yet."""
        if not self.clip_mark.any():
            raise ValueError(
                "this autoregressive prior has no codes yet: call fit(clip, image, text) first, or "
                "load one that was trained"
            )

    def codes(self, image: Tensor) -> Tensor:
        """Embeddings (B, D) as codes (B, K) long."""
        return self.buckets(self.pca(image))

    def embedding(self, codes: Tensor) -> Tensor:
        """Codes (B, K) as embeddings, unit vectors (B, D)."""
        return F.normalize(self.pca.back(self.buckets.back(codes)), dim=1)

    def loss(self, batch: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """The cross-entropy of a code, a scalar, in nats; about the logarithm of the number of
        buckets before training. batch: as `DiffusionPrior.loss` takes it. Raises ValueError
        before `fit`."""
        self.check_fitted()
        image, *texts = batch
        texts = Texts(*texts)
        unit_vectors(image, self.config.net.dim, "the batch of image embeddings")
        unit_vectors(texts.embedding, self.config.net.dim, SENTENCES)
        codes = self.codes(image)
        dot = torch.bucketize((image * texts.embedding).sum(1).contiguous(), self.dot_edges)
        gone = moved(torch.rand(len(image)) < self.config.p_uncond, image.device)[:, None]
        text, mask = texts.embedding.masked_fill(gone, 0.0), texts.mask & ~gone
        logits = self.net(texts.ids, mask, text, dot, codes)  # (B, K, buckets)
        return F.cross_entropy(logits.flatten(0, 1), codes.flatten())

    @torch.no_grad()
    def draw(
        self,
        texts: Texts,
        *,
        temperature: float = 1.0,
        scale: float = 1.0,
        seed: int | torch.Generator = 0,
    ) -> Tensor:
        """An image embedding for each sentence, unit vectors (B, D).

        temperature: above 0; 1 draws as learned, less keeps to what is likely. scale: of
        classifier-free guidance of the logits, 1: none. The dot product that is asked for is drawn
        from the upper half of those of training (appendix C). Raises ValueError before `fit`, for
        a temperature that is not above 0, and for guidance by a null that was never trained.
        """
        self.check_fitted()
        unit_vectors(texts.embedding, self.config.net.dim, SENTENCES)
        if number(temperature, "temperature", 0) == 0:
            raise ValueError("the temperature is 0, but must be above it; 1e-6 is as good as 0")
        scale, rows = number(scale, "scale"), len(texts.ids)
        check_null(self.config.p_uncond > 0, scale)
        generator = seed
        if not isinstance(seed, torch.Generator):
            generator = torch.Generator().manual_seed(whole_number(seed, "seed", 0, 2**63 - 1))
        dots = self.config.net.dots
        dot = torch.randint(dots // 2, dots, (rows,), generator=generator)
        dot = moved(dot, texts.ids.device)
        if guided := scale != 1:  # the same without a sentence, as further rows
            none = Texts(torch.zeros_like(texts.embedding), texts.ids, ~texts.mask & False)
            texts = Texts(*(torch.cat(pair) for pair in zip(texts, none, strict=True)))
            dot = dot.repeat(2)

        def choose(logits: Tensor) -> Tensor:
            logits = logits.float()  # half precision has no room for them over a low temperature
            if guided:
                conditional, null = logits.chunk(2)
                logits = null + scale * (conditional - null)
            # Gumbel's trick: the largest of these is a draw, and random numbers are the CPU's.
            uniform = torch.rand(logits.shape, generator=generator).clamp(min=1e-20)
            gumbel = moved(-torch.log(-torch.log(uniform)), logits.device)
            drawn = (logits / temperature + gumbel).argmax(1)
            return drawn.repeat(2) if guided else drawn

        codes = self.net.walk(texts.ids, texts.mask, texts.embedding, dot, choose)
        return self.embedding(codes[:rows])
