"""What each pixel of a U-Net looks at, for lessons: the weights that attention usually keeps to
itself, at the network's own inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.conditioning import Conditioning
from labkit.denoiser import Denoiser
from labkit.inputs import short
from labkit.nets.attention import CrossAttention, PixelAttention, attend
from labkit.nets.spatial import SpatialTransformer
from labkit.sampler import State
from labkit.scenes.tokenizer import Tokenizer, spaced
from labkit.scenes.tokenizer import load as course_tokenizer


class Looked(NamedTuple):
    """What one layer's pixels looked at; in a latent diffusion model, the places of its latents."""

    name: str  # of the layer in the network, such as "down.3.1", or "down.3.1.blocks.0"
    side: int  # pixels a side, as the layer sees them
    weights: Tensor  # (B, heads, side², L + side²): L tokens, then the pixels; rows sum to 1
    pixels: bool = True  # False: of cross attention, which sees tokens alone, (B, heads, side², L)

    @property
    def to_text(self) -> Tensor:
        """The tokens' share, (B, heads, side², L)."""
        return self.weights[..., : -(self.side**2)] if self.pixels else self.weights


def cross_layers(net: nn.Module) -> dict[str, CrossAttention]:
    """The cross attention of every block of every `SpatialTransformer`, by the block's name."""
    return {
        f"{name}.blocks.{number}": block.cross
        for name, layer in net.named_modules()
        if isinstance(layer, SpatialTransformer)
        for number, block in enumerate(layer.blocks)
    }


def watched_layers(net: nn.Module) -> dict[str, nn.Module]:
    """All layers of a network whose pixels look around. Raises ValueError for none."""
    pixels = {
        name: layer for name, layer in net.named_modules() if isinstance(layer, PixelAttention)
    }
    if not (layers := pixels | cross_layers(net)):
        raise ValueError(
            "this network has no pixels that look at each other, or at a text; give one whose "
            'mixer is "pixels" or "spatial", such as glide-scenes or ldm-scenes'
        )
    return layers


def cross_weights(layer: CrossAttention, x: Tensor, context: Tensor, mask: Tensor | None):
    """What tokens x (B, N, width) look at, (B, heads, N, L), and the values that they find there,
    (B, heads, L, width of a head)."""
    k, v = layer.kv(context).chunk(2, dim=2)
    _, weights = attend(layer.q(x), k, v, layer.heads, mask, scale=layer.scale, weights=True)
    return weights, v.unflatten(2, (layer.heads, -1)).transpose(1, 2)


@contextmanager
def noted(net: nn.Module) -> Iterator[list[Looked]]:
    """Inside it, a list of what all layers look at, in the order in which they do; afterwards
    nothing is left behind. Raises ValueError for a network without such layers."""
    found: list[Looked] = []

    def watch(name: str):
        def note(layer: nn.Module, given: tuple) -> None:
            if isinstance(layer, PixelAttention):
                h, _, heard = given  # as every layer of the U-Net is called
                q, k, v, mask = layer.queries(h, heard)
                _, weights = attend(q, k, v, layer.heads, mask, weights=True)
                found.append(Looked(name, h.shape[-1], weights))
            else:
                x, context, mask = given  # as `labkit.nets.transformer.Block` calls it
                weights, _ = cross_weights(layer, x, context, mask)
                found.append(Looked(name, math.isqrt(x.shape[1]), weights, pixels=False))

        return note

    layers = watched_layers(net).items()
    handles = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def looked_at(
    denoiser: Denoiser, x: Tensor, t: int | Tensor, cond: Conditioning | None = None
) -> list[Looked]:
    """What the pixels of every `PixelAttention`, and of every cross attention, look at while the
    denoiser answers for x_t, from the first layer to the last. x: (B, C, S, S); t, cond: as
    `Denoiser` takes them. Raises ValueError for a network without such a layer, and for cross
    attention without tokens, whose pixels would look at pixels."""
    if cross_layers(denoiser.net) and (cond is None or cond.tokens is None):
        raise ValueError(
            "there are no tokens that this network could look at: give cond, such as "
            'model.encode("a red star")'
        )
    with noted(denoiser.net) as found:
        denoiser(x, t, cond)
    return found


def sampled(
    model: nn.Module, prompts: str | Sequence[str], **options
) -> Iterator[tuple[State, list[Looked]]]:
    """``model.generate(prompts, **options)``, each state with what the pixels looked at in the
    step that led to it: of a guided model those that hear the sentence, not the null.

    model: an `LDM` or `GLIDE`. The layers are as in `looked_at`, with a row for each prompt. A step
    that asks the denoiser more than once shows the first answer. Raises ValueError, at the call,
    for what is no sentence, and at scale 0, where no sentence is heard.
    """
    rows, layers = rows_of(prompts, options), len(watched_layers(model.denoiser.net))
    states = model.generate(prompts, **options)

    def walk():
        while True:
            with noted(model.denoiser.net) as found:  # not between the steps, where others may look
                state = next(states, None)
            if state is None:
                return
            yield state, [own._replace(weights=own.weights[:rows]) for own in found[:layers]]

    return walk()


def rows_of(prompts: str | Sequence[str], options: Mapping) -> int:
    """How many sentences these are: the first rows of each batch in a guided sampling (see
    `labkit.guidance.ClassifierFree`). Raises ValueError for others, and for scale 0."""
    listed = [prompts] if isinstance(prompts, str) else prompts
    if not isinstance(listed, Sequence) or not all(isinstance(each, str) for each in listed):
        raise ValueError(
            f"prompts is {short(prompts)}, but must be a sentence, or a list of them: only of "
            "these it can be said where each word is looked at"
        )
    scale = options.get("scale")
    if isinstance(scale, int | float) and scale == 0:
        raise ValueError("scale is 0, where no sentence is heard: choose 1 or more")
    return len(listed)


def over_text(looked: list[Looked], size: int, heads: bool = False) -> Tensor:
    """How much of its attention each pixel gives to each position of the text: (B, L, size, size),
    the mean over heads and layers, each enlarged to that size. heads: each head for itself,
    (B, heads, L, size, size). Raises ValueError for no layers, and for heads of layers that have
    different numbers of them."""
    if not looked:
        raise ValueError("no layers were given, so there is nothing to average: give some")
    numbers = [layer.weights.shape[1] for layer in looked]
    if heads and len(set(numbers)) > 1:
        raise ValueError(
            f"the layers have {', '.join(map(str, numbers))} heads, which do not belong together: "
            "give layers with the same number, or leave out heads"
        )
    maps = []
    for layer in looked:
        weights = layer.to_text if heads else layer.to_text.mean(1, keepdim=True)
        flat = weights.mT.unflatten(3, (layer.side, layer.side))  # (B, heads or 1, L, side, side)
        large = F.interpolate(flat.flatten(0, 1), size=(size, size), mode="bilinear")
        maps.append(large.unflatten(0, flat.shape[:2]))
    found = torch.stack(maps).mean(0)
    return found if heads else found[:, 0]


class WordMaps(NamedTuple):
    """Where each word of a sentence is looked at; at each place the words and the others sum to 1
    (in `PixelAttention` to less: the rest goes to pixels)."""

    words: list[str]
    maps: Tensor  # (…, words, S, S)
    others: Tensor  # (…, S, S): what the begin, the end and the padding get


def positions_of(sentence: str, tokenizer: Tokenizer | None = None) -> list[tuple[str, list[int]]]:
    """The words of a sentence, each with the positions of its tokens; position 0 is the begin.
    tokenizer: None is the course's own."""
    text, found = spaced(sentence), {}
    pieces = (tokenizer or course_tokenizer()).pieces.encode(text)
    for position, word in enumerate(pieces.word_ids, 1):
        found.setdefault(word, []).append(position)
    ends = [(pieces.offsets[at[0] - 1][0], pieces.offsets[at[-1] - 1][1]) for at in found.values()]
    return [(text[slice(*end)].strip(), at) for end, at in zip(ends, found.values(), strict=True)]


def over_words(maps: Tensor, sentence: str, tokenizer: Tokenizer | None = None) -> WordMaps:
    """Maps (…, L, S, S) of the text's positions, such as a row of `over_text`, word by word: those
    of a word's tokens are added up. tokenizer: ``model.tokenizer``; None is the course's own.
    Raises ValueError for maps of fewer positions than the sentence has."""
    words = positions_of(sentence, tokenizer)
    needed, positions = words[-1][1][-1] + 1, maps.shape[-3]
    if positions < needed:
        raise ValueError(
            f"the maps are of {positions} positions, but {short(sentence)} needs {needed}: give "
            "those of this sentence, (…, positions, S, S)"
        )
    own = torch.stack([maps[..., at, :, :].sum(-3) for _, at in words], -3)
    return WordMaps([word for word, _ in words], own, maps.sum(-3) - own.sum(-3))
