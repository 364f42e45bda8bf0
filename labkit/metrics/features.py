"""Pictures as a classifier sees them: the space in which samples are compared."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from labkit import devices
from labkit.data.pictures import quantize
from labkit.inputs import float_batch, short, whole_number


class Seen(NamedTuple):
    """What a classifier makes of N pictures; on the CPU, where all metrics are computed."""

    features: Tensor  # (N, D) float64
    probs: Tensor  # (N, K) float64, rows sum to 1


@torch.no_grad()
def see(classifier, images: Tensor, batch: int = 512) -> Seen:
    """Features and class probabilities of pictures (N, C, H, W) in [−1, 1], quantized first.

    classifier: a `labkit.nets.classifier.Classifier`, or anything with `features(x)` and
    `decide(features)`. It looks where it lies, and is set to evaluation and back again.
    """
    parts = quantize(images).split(whole_number(batch, "batch", 1))
    device = devices.of(classifier)
    with devices.evaluating(classifier):
        features = torch.cat([classifier.features(part.to(device)) for part in parts])  # (N, D)
        logits = classifier.decide(features)  # (N, K)
    return Seen(features.cpu().double(), logits.cpu().double().softmax(1))


def rows(values: Tensor, name: str, needed: int) -> Tensor:
    """`values` in float64 on the CPU if they are finite, of shape (N, D), and N ≥ needed rows."""
    float_batch(values, name)
    if values.ndim != 2 or len(values) < needed or not torch.isfinite(values).all():
        raise ValueError(
            f"{name} is {short(values)}, but must be finite numbers of shape (N, D) with N at "
            f"least {needed}: one row for each picture"
        )
    return values.detach().cpu().double()


def pair(real: Tensor, fake: Tensor, needed: int = 1) -> tuple[Tensor, Tensor]:
    """Two sets of features, (N, D) and (M, D), checked against each other."""
    real, fake = rows(real, "real", needed), rows(fake, "fake", needed)
    if real.shape[1] != fake.shape[1]:
        raise ValueError(
            f"real and fake have {real.shape[1]} and {fake.shape[1]} features, but must come from "
            "the same network"
        )
    return real, fake
