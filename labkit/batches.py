"""What a batch is made of, whatever its shape: tensors, captions, and tuples, lists, dicts or
dataclasses of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labkit import casting

LOOKS = 3  # at a tensor, in directions drawn at random
PART = 2**20  # values looked at together
CLOSE = 1e-3  # of a tensor's scale: rounding is far below, other data far above


def mapped(batch: Any, fn: Callable[[Any], Any]) -> Any:
    """The same batch, with `fn` applied to each tensor, caption or number in it."""
    if isinstance(batch, tuple | list):
        parts = [mapped(part, fn) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    if isinstance(batch, dict):
        return {key: mapped(part, fn) for key, part in batch.items()}
    if is_dataclass(batch):
        parts = {field.name: getattr(batch, field.name) for field in fields(batch) if field.init}
        return replace(batch, **mapped(parts, fn))
    return fn(batch)


def moved(batch: Any, device: torch.device) -> Any:
    """The same batch with its tensors on that device."""
    return mapped(
        batch, lambda leaf: casting.moved(leaf, device) if isinstance(leaf, Tensor) else leaf
    )


def leaves(batch: Any) -> list:
    """All tensors, captions and numbers of a batch, in order."""
    found = []

    def note(leaf: Any) -> Any:
        found.append(leaf)
        return leaf

    mapped(batch, note)
    return found


def rows(batch: Any) -> int:
    """How many samples a batch has: the length of its first tensor or array."""
    return next(
        (
            len(leaf)
            for leaf in leaves(batch)
            if isinstance(leaf, Tensor | np.ndarray) and leaf.ndim
        ),
        0,
    )


def fingerprint(batch: Any) -> list[list]:
    """A few numbers and words by which a batch is known again, as JSON holds them.

    For each tensor or array its kind, and a hash of its whole numbers. A hash of floats would also
    differ where another number of threads rounds otherwise: of them, how far they reach in three
    random directions, on the scale of their own values. All else is hashed.
    """
    found, others = [], hashlib.sha256()
    for leaf in leaves(batch):
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biufc":
            leaf = torch.from_numpy(leaf.astype(leaf.dtype.newbyteorder("=")))
        if isinstance(leaf, Tensor):
            inexact = leaf.is_floating_point() or leaf.is_complex()
            found.append([kind(leaf), *(reaches(leaf) if inexact else [digest(leaf)])])
            continue
        known = leaf.tolist() if isinstance(leaf, np.ndarray | np.generic) else leaf
        if not isinstance(known, str | bytes | int | float | list | None):
            known = type(leaf).__name__
        others.update(repr(known).encode() + b"\n")
    return [*found, ["captions and numbers", others.hexdigest()]]


def digest(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.detach().cpu().contiguous().numpy()).hexdigest()


def kind(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def reaches(tensor: Tensor) -> list[float]:
    """The root mean square of a tensor, and its products with `LOOKS` random directions, which are
    about as large."""
    values = tensor.detach().cpu().flatten()
    values = torch.view_as_real(values).flatten() if values.is_complex() else values
    generator, root = torch.Generator().manual_seed(0), max(1, len(values)) ** 0.5
    square, found = 0.0, torch.zeros(LOOKS, dtype=torch.float64)
    for part in values.split(PART):
        part = part.double().nan_to_num(posinf=1e9, neginf=-1e9)
        square += part.square().sum().item()
        found += torch.randn(LOOKS, len(part), generator=generator).double() @ part
    return [square**0.5 / root, *(found / root).tolist()]


def difference(saved: list[list], own: list[list]) -> str | None:
    """What differs between two fingerprints, in words; None if they are of the same batch."""
    kinds = [", ".join(part[0] for part in parts[:-1]) for parts in (saved, own)]
    if kinds[0] != kinds[1]:
        return f"its batches were {kinds[0] or 'without tensors'}, yours are {kinds[1] or 'not'}"
    for number, (theirs, ours) in enumerate(zip(saved[:-1], own[:-1]), start=1):
        if isinstance(theirs[1], str):
            same = theirs[1] == ours[1]
        else:
            apart = max(abs(a - b) for a, b in zip(theirs[1:], ours[1:]))
            same = apart <= CLOSE * max(theirs[1], ours[1])
        if not same:
            return f"it held other values in tensor {number}, {theirs[0]}, than yours"
    return None if saved[-1] == own[-1] else "it held other captions or numbers than yours"
