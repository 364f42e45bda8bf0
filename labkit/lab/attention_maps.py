"""What each pixel of a U-Net looks at, for lessons: the weights that attention usually keeps to
itself, at the network's own inputs."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.conditioning import Conditioning
from labkit.denoiser import Denoiser
from labkit.nets.attention import PixelAttention, attend


class Looked(NamedTuple):
    """What one layer's pixels looked at."""

    name: str  # of the layer in the network, such as "down.3.1"
    side: int  # pixels a side, as the layer sees them
    weights: Tensor  # (B, heads, side², L + side²): L tokens, then the pixels; rows sum to 1


@torch.no_grad()
def looked_at(
    denoiser: Denoiser, x: Tensor, t: int | Tensor, cond: Conditioning | None = None
) -> list[Looked]:
    """What the pixels of every `PixelAttention` look at while the denoiser answers for x_t, from
    the first layer to the last. x: (B, C, S, S); t, cond: as `Denoiser` takes them. Raises
    ValueError for a network without such a layer."""
    layers = {
        name: layer
        for name, layer in denoiser.net.named_modules()
        if isinstance(layer, PixelAttention)
    }
    if not layers:
        raise ValueError(
            "this network has no pixels that look at each other; give one whose mixer is "
            '"pixels", such as glide-scenes'
        )
    found = []

    def watch(name: str):
        def note(layer: PixelAttention, given: tuple) -> None:
            h, _, heard = given  # as every layer of the U-Net is called
            q, k, v, mask = layer.queries(h, heard)
            _, weights = attend(q, k, v, layer.heads, mask, weights=True)
            found.append(Looked(name, h.shape[-1], weights))

        return note

    handles = [layer.register_forward_pre_hook(watch(name)) for name, layer in layers.items()]
    try:
        denoiser(x, t, cond)
    finally:
        for handle in handles:
            handle.remove()
    return found


def over_text(looked: list[Looked], size: int) -> Tensor:
    """How much of its attention each pixel gives to each position of the text: (B, L, size, size),
    the mean over heads and layers, each enlarged to that size. Raises ValueError for none."""
    if not looked:
        raise ValueError("no layers were given, so there is nothing to average: give some")
    maps = []
    for layer in looked:
        to_text = layer.weights.mean(1)[..., : -(layer.side**2)]  # (B, side², L)
        to_text = to_text.mT.unflatten(2, (layer.side, layer.side))  # (B, L, side, side)
        maps.append(F.interpolate(to_text, size=(size, size), mode="bilinear"))
    return torch.stack(maps).mean(0)
