"""What a recipe is: data, from which one system of the zoo is built and trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from labkit import train as training
from labkit.nets.unet import UNetConfig


@dataclass(frozen=True)
class Recipe:
    """What it takes to make one of the shipped systems: a training, or parts that have their own
    recipes."""

    about: str  # one line for a list
    system: type[nn.Module]  # built as system(config), or as system(**parts)
    config: Any = None  # a frozen dataclass
    batches: Callable[..., training.Batches] | None = None  # called with the teacher, if any
    training: dict[str, Any] = field(default_factory=dict)  # arguments of `labkit.train.train`
    minutes: float = 0.0  # of processor time that training took, measured; two cores share it
    begins_from: str | None = None  # the system whose weights it takes over, `system.begin_from`
    teacher: str | None = None  # the system that `batches` asks
    fits: Callable[..., tuple] | None = None  # of the teacher: what `system.fit` is given
    perceptual: dict[str, float] = field(default_factory=dict)  # a CLIP → weight of that loss
    names: tuple[str, ...] | None = None  # of the classes, for a system that knows some
    parts: dict[str, str] = field(default_factory=dict)  # argument of the system → name in the zoo


# What the small diffusion models of the course have in common.
SMALL = UNetConfig(
    size=16, channels=1, width=48, multipliers=(1, 1), blocks=1, attention=(), groups=8,
    scale_shift_norm=True, fold=4,
)  # fmt: skip
