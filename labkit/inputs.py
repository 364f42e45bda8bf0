"""What the public doors check: a sentence says what was given, what is allowed, how to mend it."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Iterable
from numbers import Integral, Real

import numpy as np
import torch
from torch import Tensor

LARGEST = sys.float_info.max  # also of whole numbers, which may be longer


def nearest(name: object, options: Iterable[str], what: str) -> ValueError:
    """The error for an unknown `name`: lists the `options` and offers the nearest one."""
    options = sorted(options)
    close = difflib.get_close_matches(str(name).lower(), options, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return ValueError(f"unknown {what} {short(name)}: choose one of {', '.join(options)}{hint}")


def one_of(name: object, options: Iterable[str], what: str) -> str:
    """`name` itself if it is one of the `options`; raises ValueError with the nearest otherwise."""
    if not isinstance(name, str) or name not in options:
        raise nearest(name, options, what)
    return name


def whole_number(value: object, name: str, low: int, high: int | None = None) -> int:
    """`value` as an int within [low, high]; raises ValueError otherwise (a bool is no number)."""
    allowed = f"at least {low}" if high is None else f"from {low} to {high}"
    value = value.item() if isinstance(value, Tensor) and value.ndim == 0 else value
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or value < low or (high is not None and value > high):
        raise ValueError(f"{name} is {short(value)}, but must be a whole number {allowed}")
    return int(value)


def number(value: object, name: str, low: float = -math.inf, high: float = math.inf) -> float:
    """`value` as a finite float within [low, high]; raises ValueError otherwise."""
    if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.ndim == 0):
        value = value.item()
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if not is_number or not abs(value) <= LARGEST or not low <= value <= high:
        if math.isinf(low) and math.isinf(high):
            allowed = "a finite number"
        elif math.isinf(high):
            allowed = f"a number of at least {low:g}"
        else:
            allowed = f"a number from {low:g} to {high:g}"
        raise ValueError(f"{name} is {short(value)}, but must be {allowed}")
    return float(value)


def numbers(values: object, name: str, ndim: int) -> Tensor:
    """A copy of `values` as a finite, non-empty float64 tensor of `ndim` axes on the CPU; raises
    ValueError if there is none."""
    try:
        if isinstance(values, Tensor):
            tensor = values.detach().cpu().to(torch.float64, copy=True)
        else:
            values = values.copy() if isinstance(values, np.ndarray) else values  # or reversed
            tensor = torch.tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        tensor = None
    if tensor is None or tensor.ndim != ndim or tensor.numel() == 0:
        what = {0: "one number", 1: "a row of numbers (N,)", 2: "a table of numbers (N, M)"}[ndim]
        raise ValueError(f"{name} is {short(values)}, but must be {what}")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} holds NaN or infinity, but must hold finite numbers only")
    return tensor


def picture_batch(x: object, name: str) -> Tensor:
    """`x` itself if it is (B, C, H, W) float in [−1, 1]; raises ValueError otherwise."""
    if float_batch(x, name).ndim != 4:
        raise ValueError(f"{name} has shape {tuple(x.shape)}, but pictures are (B, C, H, W)")
    low, high = extremes(x)
    if not (low >= -1.01 and high <= 1.01):
        raise ValueError(
            f"{name} runs from {low:g} to {high:g}, but pictures lie in [-1, 1]: "
            "bytes become x / 127.5 - 1, values in [0, 1] become 2 x - 1"
        )
    return x


def sized_pictures(
    x: Tensor, channels: int, size: int, weight: Tensor, who: str, what: str = "pictures"
) -> None:
    """Raises ValueError unless x is (B, channels, size, size), as `who` looks at, in the dtype of
    its weights (any, where autocast chooses)."""
    if not isinstance(x, Tensor) or x.ndim != 4 or x.shape[1:] != (channels, size, size):
        shape = tuple(x.shape) if isinstance(x, Tensor) else short(x)
        raise ValueError(
            f"{what} of shape {shape} do not fit {who}, which looks at "
            f"(B, {channels}, {size}, {size}): resize and crop them, give a single one its batch "
            "by x[None], and repeat gray ones three times for color"
        )
    same_dtype(x, weight, who)


def same_dtype(x: Tensor, weight: Tensor, who: str) -> None:
    """Raises ValueError if x is of another dtype than the weights, unless autocast chooses."""
    if x.dtype != weight.dtype and not autocasts(x.device):
        raise ValueError(
            f"the input is {x.dtype}, but {who} has weights of {weight.dtype}: "
            "bring one to the dtype of the other with .to(dtype)"
        )


def autocasts(device: torch.device) -> bool:
    """Does autocast choose the dtypes there at the moment?"""
    kind = device.type
    return torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)


def class_labels(labels: object, classes: int, pictures: Tensor | None = None) -> Tensor:
    """`labels` as (B,) long, where the pictures lie, or where they are themselves. Raises
    ValueError unless all are whole and in 0 … classes − 1, one for each picture."""
    try:
        tensor = torch.as_tensor(labels.copy() if isinstance(labels, np.ndarray) else labels)
    except (TypeError, ValueError, RuntimeError):
        tensor = torch.empty(0)
    whole = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    ok = tensor.ndim == 1 and tensor.numel() > 0 and whole
    if ok:
        tensor = tensor.long()
        low, high = extremes(tensor)
        ok = low >= 0 and high < classes
    if not ok:
        raise ValueError(
            f"labels is {short(labels)}, but must be whole numbers from 0 to {classes - 1}, one "
            "per picture: the classes that this model was trained on"
        )
    if pictures is None:
        return tensor
    if len(tensor) != len(pictures):
        raise ValueError(
            f"there are {len(tensor)} labels for {len(pictures)} pictures: give one for each"
        )
    return tensor.to(pictures.device)


def float_batch(x: object, name: str) -> Tensor:
    """`x` itself if it is a floating-point tensor (B, …), B ≥ 1; raises ValueError otherwise."""
    if not isinstance(x, Tensor):
        raise ValueError(f"{name} is {short(x)}, but must be a torch tensor of shape (B, ...)")
    if not x.is_floating_point():
        raise ValueError(
            f"{name} has dtype {x.dtype}, but must be floating point: "
            "call .float(), and scale pictures to [-1, 1]"
        )
    if x.ndim < 2 or x.numel() == 0:
        raise ValueError(
            f"{name} has shape {tuple(x.shape)}, but must be a non-empty batch of shape (B, ...)"
        )
    return x


def extremes(x: Tensor) -> tuple[float, float]:
    """The smallest and the largest entry; NaN if there is any. One look at the device, not two."""
    return tuple(torch.stack(x.detach().aminmax()).tolist())


def same_shape(a: Tensor, b: Tensor, names: str) -> None:
    """Raises ValueError unless `a` and `b` agree in shape."""
    if a.shape != b.shape:
        raise ValueError(
            f"{names} have shapes {tuple(a.shape)} and {tuple(b.shape)}, but must have the same"
        )


def short(value: object) -> str:
    """`value` for an error sentence: never a screenful of numbers."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}" if value.ndim else repr(value.item())
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else text[:57] + "..."


def listed(names: Iterable[str], most: int = 8) -> str:
    """Some names for a sentence, in their order: the first ones, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "nothing") + more
