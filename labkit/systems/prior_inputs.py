"""What the parts of DALL·E 2 are given, checked once: sentences, embeddings, and whose they are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from labkit import devices
from labkit.inputs import extremes, float_batch, nearest
from labkit.sampler import STEP
from labkit.systems.clip import CLIP
from labkit.systems.glide_inputs import listed

UNIT = 0.02  # how far from 1 the length of an embedding may be: in half precision it is not exact
SENTENCES = "the sentences' embeddings"
SAME = 0.02  # how far apart two marks of one CLIP may be, for the same reason


class Texts(NamedTuple):
    """N sentences as the priors read them."""

    embedding: Tensor  # (N, D) what CLIP makes of each, a unit vector
    ids: Tensor  # (N, L) long, the sentence itself
    mask: Tensor  # (N, L) bool: True = not padding

    def repeat(self, times: int) -> Texts:
        """All of them, and all of them again, that many times."""
        return Texts(*(field.repeat(times, 1) for field in self))


@torch.no_grad()
def read(clip: CLIP, prompts: str | Sequence[str]) -> Texts:
    """Sentences as that CLIP reads them, where it lies. Raises ValueError for what it cannot."""
    ids = clip.read(listed(prompts))
    embedding = clip.encode_text(ids)
    last = (ids == clip.config.text.end).int().argmax(1, keepdim=True)
    mask = torch.arange(ids.shape[1]) <= last
    return Texts(embedding, ids.to(embedding.device), mask.to(embedding.device))


def unit_vectors(z: Tensor, dim: int, what: str) -> Tensor:
    """`z` itself if it is (B, dim) of unit vectors. Raises ValueError otherwise."""
    if float_batch(z, what).ndim != 2 or z.shape[1] != dim:
        raise ValueError(
            f"{what} has shape {tuple(z.shape)}, but must be (B, {dim}), as wide as the space of "
            "this CLIP"
        )
    low, high = extremes(z.norm(dim=1))
    if not (low >= 1 - UNIT and high <= 1 + UNIT):
        raise ValueError(
            f"{what} has rows of length {low:.3g} to {high:.3g}, but CLIP's embeddings are unit "
            "vectors: divide each by its length, as torch.nn.functional.normalize does"
        )
    return z


@torch.no_grad()
def mark_of(clip: CLIP) -> Tensor:
    """By what a part knows again the CLIP that it was trained with, (2, D): where its text tower
    places a text that ends before it has begun, and its image tower a picture that grows brighter
    to the right in red, downwards in green, and darker to the right in blue. Another tower places
    that elsewhere."""
    end = torch.tensor([[clip.config.text.end]])
    ramp = torch.linspace(-1, 1, clip.config.image.size).expand(clip.config.image.size, -1)
    picture = torch.stack([ramp, ramp.T, -ramp])[None].to(clip.logit_scale)
    with devices.evaluating(clip):  # nor shall a batch norm learn from that picture
        return torch.cat([clip.encode_text(end), clip.encode_image(picture)])


def check_clip(part: nn.Module, clip: CLIP, name: str) -> None:
    """Raises ValueError for a part that was trained with another CLIP, be it another in one tower
    alone. One that was not trained knows none, and so fits any of that width."""
    own, other = part.clip_mark.cpu().float(), mark_of(clip).cpu().float()
    same = own.shape == other.shape and torch.allclose(own, other, atol=SAME, rtol=0)
    if not same and (own.any() or own.shape != other.shape):
        raise ValueError(
            f"the {name} was trained with another CLIP, of {own.shape[1]} dimensions, than the one "
            f"of {other.shape[1]} that was given: its embeddings mean something else there; give "
            "the CLIP of its training, or train it again"
        )


def check_reading(clip: CLIP, vocabulary: int, context: int, name: str) -> None:
    """Raises ValueError for a prior that cannot read all captions that its CLIP reads."""
    text = clip.config.text
    if vocabulary < text.vocabulary or context < text.context:
        raise ValueError(
            f"the {name} reads captions of {context} tokens, of {vocabulary} kinds, but this CLIP "
            f"gives it {text.context}, of {text.vocabulary}: give parts that read alike"
        )


def check_options(options: Iterable[str], *takers: Callable) -> None:
    """Raises ValueError for an option that none of these functions takes by its name."""
    known = {
        name
        for taker in takers
        for name, each in inspect.signature(taker).parameters.items()
        if each.kind is not each.VAR_KEYWORD and name not in ("texts", *STEP)
    }
    for name in options:
        if name not in known:
            raise nearest(name, known, "option of the prior")


def check_null(trained: bool, scale: float | Tensor) -> None:
    """Raises ValueError for guidance, where no null was ever trained."""
    plain = not isinstance(scale, Tensor) and scale == 1
    if not trained and not plain:
        raise ValueError(
            "this model was never trained without its condition, so it has no null to guide away "
            "from: use scale = 1, or train it with a probability above 0 of leaving it out"
        )
