"""What a classifier's probabilities say of samples: how many classes, how surely."""

from __future__ import annotations

import torch
from torch import Tensor

from labkit.inputs import number, whole_number
from labkit.metrics.features import rows


def distributions(probs: Tensor) -> Tensor:
    """`probs` in float64 if each row is a distribution over the classes."""
    probs = rows(probs, "probs", 1)
    if probs.min() < 0 or (probs.sum(1) - 1).abs().max() > 1e-4:
        raise ValueError("each row of probs must be a distribution: nothing below 0, sum 1")
    return probs


def entropy(probs: Tensor) -> Tensor:
    """In nats, over the last dimension; 0 log 0 = 0."""
    return torch.special.entr(probs).sum(-1)


def class_use(probs: Tensor) -> float:
    """How many classes the samples use: exp of the entropy of the mean class distribution, from 1
    (all the same) to K (all equally often). probs: (N, K)."""
    return float(entropy(distributions(probs).mean(0)).exp())


def confidence(probs: Tensor, above: float = 0.9) -> float:
    """The share of pictures that the classifier recognizes with a probability over `above`."""
    above = number(above, "above", 0, 1)
    return float((distributions(probs).max(1).values > above).double().mean())


def inception_score(probs: Tensor, splits: int = 1) -> float:
    """exp E KL(p(y|x) ‖ p(y)), the mean over `splits` (Salimans et al. 2016), from 1 to K. Only by
    its formula the published score: that one uses Inception's 1,000 classes and splits of 5,000."""
    probs = distributions(probs)
    parts = probs.tensor_split(whole_number(splits, "splits", 1, len(probs)))
    gains = [entropy(part.mean(0)) - entropy(part).mean() for part in parts]
    return float(torch.stack(gains).exp().mean())
