"""What `labkit.systems.glide` is given, checked once: prompts, known pixels, smaller pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from labkit.data.pictures import quantize
from labkit.inputs import number, picture_batch, short
from labkit.nets.autoencoder import AutoencoderConfig
from labkit.nets.unet import UNetConfig
from labkit.schedule import section_spacing

SECTIONS = (10, 10, 3, 2, 2)  # how often the upsampler looks at each fifth of the times


def fast27(T: int) -> list[int]:
    """The falling times of the authors' upsampler, their "fast27": many near the picture, few in
    the noise, and T − 2 for T, since the noisiest time of all left artifacts. Raises ValueError for
    T < 46, which has too few times."""
    _, *others = section_spacing(T, SECTIONS)
    return [T - 2, *others]


Prompt = str | Mapping[str, float] | None  # a sentence, several with their scales, or the null


def listed(prompts: object) -> Sequence:
    """The prompts as a list. Raises ValueError if there is none."""
    prompts = [prompts] if isinstance(prompts, str | Mapping) else prompts
    if not isinstance(prompts, Sequence) or not len(prompts):
        raise ValueError(
            f"prompts is {short(prompts)}, but must be a list of at least one sentence"
        )
    return prompts


def scaled_terms(
    prompts: str | Sequence[Prompt], scale: float | Tensor
) -> list[tuple[list[str | None], float | Tensor]]:
    """For each condition that is guided by: a sentence, or None, for each picture, and the scale,
    or one for each picture. Raises ValueError for an empty mapping."""
    prompts = listed(prompts)
    if isinstance(scale, Tensor) and scale.ndim:
        if tuple(scale.shape) != (len(prompts),):
            raise ValueError(
                f"scale has shape {tuple(scale.shape)} for {len(prompts)} prompts: give one "
                "number, or one for each"
            )
    else:
        scale = number(scale, "scale")
    if not any(isinstance(prompt, Mapping) for prompt in prompts):
        return [(list(prompts), scale)]
    by = scale.tolist() if isinstance(scale, Tensor) else [scale] * len(prompts)
    rows = [
        list(prompt.items()) if isinstance(prompt, Mapping) else [(prompt, own)]
        for prompt, own in zip(prompts, by, strict=True)
    ]
    if not all(rows):
        raise ValueError("a prompt is an empty mapping, but must give at least one sentence")
    most = max(map(len, rows))
    rows = [row + [(None, 0.0)] * (most - len(row)) for row in rows]
    return [
        ([text for text, _ in term], torch.tensor([number(own, "a scale") for _, own in term]))
        for term in zip(*rows, strict=True)
    ]


def negatives(negative: str | Sequence[str | None] | None, rows: int) -> list[str | None]:
    """What stands for the null: one for all pictures, or one for each. Raises ValueError for
    another number."""
    away = [negative] if negative is None or isinstance(negative, str) else negative
    if not isinstance(away, Sequence) or len(away) not in (1, rows):
        raise ValueError(
            f"negative is {short(negative)}, but must be a sentence, or one for each of {rows}"
        )
    return list(away)


def expanded(x: Tensor, shape: tuple[int, ...], rows: int, name: str) -> Tensor:
    """Pictures of that shape (C, S, S), a row for each. Raises ValueError for others."""
    picture_batch(x, name)
    if tuple(x.shape[1:]) != shape or len(x) not in (1, rows):
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}, but must be ({rows} or 1, "
            f"{', '.join(map(str, shape))})"
        )
    return x.expand(rows, *shape)


def masks_of(given: Sequence, pictures: Tensor) -> Tensor:
    """The masks of a batch. Raises ValueError if there are none."""
    wanted = (len(pictures), 1, *pictures.shape[2:])
    if not given or not isinstance(given[0], Tensor) or tuple(given[0].shape) != wanted:
        raise ValueError(
            f"a model that inpaints learns from (pictures, captions, masks), with masks {wanted}, "
            f"but got {short(given[0] if given else None)}"
        )
    return binary(given[0].to(pictures), "masks")


def binary(mask: Tensor, name: str) -> Tensor:
    """The mask itself. Raises ValueError unless it holds 1 and 0 alone."""
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError(f"the {name} must hold 1 for known and 0 for free, and nothing between")
    return mask


def known_pictures(
    known: tuple[Tensor, Tensor] | None, net: UNetConfig | AutoencoderConfig, rows: int
) -> tuple[Tensor, Tensor]:
    """Image (rows, C, S, S) and mask (rows, 1, S, S); nothing known if none are given. Raises
    ValueError for others, and for a mask that is neither 1 nor 0."""
    if known is None:
        image = torch.zeros(rows, net.channels, net.size, net.size)
        return image, image[:, :1]
    if not isinstance(known, Sequence) or len(known) != 2:
        raise ValueError(f"known is {short(known)}, but must be (image, mask)")
    image = expanded(known[0], (net.channels, net.size, net.size), rows, "the known picture")
    mask = known[1].float() if isinstance(known[1], Tensor) else known[1]
    return image, binary(expanded(mask, (1, net.size, net.size), rows, "the mask"), "mask")


def low_pictures(low: Tensor | None, side: int | None, channels: int, rows: int) -> Tensor | None:
    """The smaller pictures (rows, C, side, side), rounded as a file rounds them. Raises ValueError
    if a model that makes them larger has none, or another has some."""
    if side is None and low is not None:
        raise ValueError("low was given, but this model makes no picture larger: leave it out")
    if side is not None and low is None:
        raise ValueError(f"this model makes pictures of {side} pixels a side larger: give some low")
    return None if low is None else quantize(expanded(low, (channels, side, side), rows, "low"))
