"""How good samples are, in numbers: distance to the real pictures, fidelity, diversity.

All of it happens in the features of a classifier, so a number means nothing without the name of
that network, the number of pictures, and what real pictures themselves score (the floor). `judge`
never leaves these out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from labkit import devices
from labkit.inputs import float_batch, number, short, whole_number


class Seen(NamedTuple):
    """What a classifier makes of N pictures; on the CPU, where all metrics are computed."""

    features: Tensor  # (N, D) float64
    probs: Tensor  # (N, K) float64, rows sum to 1


def quantize(images: Tensor) -> Tensor:
    """Pictures in [−1, 1] rounded to the 256 levels that a file would hold; what lies outside is
    cut off. A metric that saw more would reward or punish what nobody can see."""
    levels = ((float_batch(images, "images") + 1) * 127.5).round().clamp(0, 255)
    return levels / 127.5 - 1


@torch.no_grad()
def see(classifier, images: Tensor, batch: int = 512) -> Seen:
    """Features and class probabilities of pictures (N, C, H, W) in [−1, 1], quantized first.

    classifier: a `labkit.nets.classifier.Classifier`, or anything with `features(x)` and
    `decide(features)`. It looks where it lies, and is set to evaluation and back again.
    """
    parts = quantize(images).split(whole_number(batch, "batch", 1))
    training, device = classifier.training, devices.of(classifier)
    classifier.eval()
    features = torch.cat([classifier.features(part.to(device)) for part in parts])  # (N, D)
    logits = classifier.decide(features)  # (N, K)
    classifier.train(training)
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


def frechet_distance(real: Tensor, fake: Tensor, normalized: bool = True) -> float:
    """The squared Fréchet (2-Wasserstein) distance of two Gaussians fitted to the features:

        ‖μ_1 − μ_2‖² + Tr(Σ_1 + Σ_2 − 2 (Σ_1^½ Σ_2 Σ_1^½)^½)        (Heusel et al. 2017, equation 6)

    real: (N, D); fake: (M, D); float. Both need more rows than columns, else Σ is singular.
    normalized: divided by Tr Σ_1, the total variance of the real features, so that networks with
    features of different size can be compared: 1 is as far as all real pictures from their mean.
    Without it the number is the one known as FID, only in this network's features.
    Two sets of N rows of one law are not at 0: for N(0, I_D) they stand about 2D/N + D(D+1)/(2N)
    apart (unnormalized), so compare at equal N and name the floor.
    """
    needed = real.shape[-1] + 1 if isinstance(real, Tensor) and real.ndim == 2 else 2
    real, fake = pair(real, fake, needed)
    cov_1, cov_2 = (torch.atleast_2d(torch.cov(rows.T)) for rows in (real, fake))  # (D, D)
    if normalized and cov_1.trace() <= 0:
        raise ValueError("all real features are equal, so there is no variance to normalize by")
    values, vectors = torch.linalg.eigh(cov_1)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T  # Σ_1^½, symmetric
    overlap = torch.linalg.eigvalsh(root @ cov_2 @ root).clamp(min=0).sqrt().sum()
    means = (real.mean(0) - fake.mean(0)).square().sum()
    distance = (means + cov_1.trace() + cov_2.trace() - 2 * overlap).clamp(min=0)
    return float(distance / cov_1.trace() if normalized else distance)


def precision_recall(real: Tensor, fake: Tensor, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019): each picture owns the ball that
    reaches to its k-th nearest neighbor among its own kind. Precision is the share of fakes in the
    ball of some real picture (fidelity), recall the share of real ones in the ball of some fake
    (diversity). real: (N, D), fake: (M, D), N and M above k. Both fall as N grows: say N.
    """
    k = whole_number(k, "k", 1)
    real, fake = pair(real, fake, k + 1)
    return inside(fake, real, k), inside(real, fake, k)


def inside(points: Tensor, centers: Tensor, k: int) -> float:
    """The share of `points` that lie in the ball of at least one of `centers`."""
    # Blocks of rows, so that memory stays small; differences, not ‖a‖² − 2ab + ‖b‖², so that
    # the distance of a point to itself is exactly 0.
    exact = {"compute_mode": "donot_use_mm_for_euclid_dist"}
    blocks = (torch.cdist(block, centers, **exact) for block in centers.split(500))
    # The nearest neighbor of a center is the center itself: the k-th is entry k + 1.
    radius = torch.cat([block.kthvalue(k + 1, dim=1).values for block in blocks])  # (N,)
    blocks = (torch.cdist(block, centers, **exact) for block in points.split(500))
    hits = torch.cat([(block <= radius).any(1) for block in blocks])
    return float(hits.double().mean())


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
    parts = probs.chunk(whole_number(splits, "splits", 1, len(probs)))
    gains = [entropy(part.mean(0)) - entropy(part).mean() for part in parts]
    return float(torch.stack(gains).exp().mean())


@dataclass(frozen=True)
class Scores:
    """What one set of samples scores: a row of the table."""

    n: int  # how many pictures were judged
    frechet: float  # normalized by the variance of the real features
    precision: float
    recall: float
    class_use: float
    confidence: float
    inception_score: float


def score(real: Seen, fake: Seen, k: int = 3) -> Scores:
    """All metrics of `fake` against `real`, both as `see` returns them."""
    return Scores(
        len(fake.features),
        frechet_distance(real.features, fake.features),
        *precision_recall(real.features, fake.features, k),
        class_use(fake.probs),
        confidence(fake.probs),
        inception_score(fake.probs),
    )


def halves(seen: Seen, seed: int = 0) -> tuple[Seen, Seen]:
    """Two random halves of the pictures."""
    order = torch.randperm(len(seen.features), generator=torch.Generator().manual_seed(seed))
    return tuple(Seen(seen.features[part], seen.probs[part]) for part in order.tensor_split(2))


HEADER = ["samples", "N", "Fréchet", "precision", "recall", "classes", "confident", "IS"]


@dataclass(frozen=True)
class Report:
    """Scores by name, with all that a reader needs to weigh them. Prints as a Markdown table,
    and a notebook shows it as one."""

    network: str  # whose features
    dimension: int  # of the features
    n_real: int
    k: int  # of precision and recall
    rows: dict[str, Scores]  # "real half" is the floor

    def __str__(self) -> str:
        lines = ["| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|"]
        for name, row in self.rows.items():
            numbers = f"{row.frechet:.4f} | {row.precision:.3f} | {row.recall:.3f}"
            classes = f"{row.class_use:.2f} | {row.confidence:.3f} | {row.inception_score:.2f}"
            lines.append(f"| {name} | {row.n} | {numbers} | {classes} |")
        lines.append("")
        lines.append(
            f"Features: {self.network} ({self.dimension} dimensions); {self.n_real} real pictures; "
            f"Fréchet distance over the real features' variance; k = {self.k}; confident: over 0.9 "
            "sure. Floor: a random half of the real pictures, against all of them (Fréchet, the "
            "mean of ten) and against the other half (precision, recall)."
        )
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        return str(self)


def floor(seen: Seen, k: int = 3, splits: int = 10) -> Scores:
    """What a random half of the real pictures scores: the Fréchet distance to all of them, the
    mean over that many splits, and precision and recall against the other half."""
    distances = [
        frechet_distance(seen.features, halves(seen, seed)[0].features) for seed in range(splits)
    ]
    half, other = halves(seen, 0)
    return replace(score(other, half, k), frechet=sum(distances) / splits)


def judge(classifier, network: str, real: Tensor, k: int = 3, **samples: Tensor) -> Report:
    """Judges each named set of samples against real pictures, all (N, C, H, W) in [−1, 1].

    network: the classifier's name, as in the zoo. The first row is always the `floor`, what real
    pictures score. Its Fréchet distance is that of a half to all, itself included, so that other
    samples can come close to it but hardly below.
    """
    if not isinstance(network, str) or not network:
        raise ValueError(
            f"network is {short(network)}, but must be the classifier's name, such as "
            "'classifier-digits': a distance in features nobody can name says nothing"
        )
    seen = see(classifier, real)
    rows = {name: score(seen, see(classifier, images), k) for name, images in samples.items()}
    rows = {"real half": floor(seen, k), **rows}
    return Report(network, seen.features.shape[1], len(real), k, rows)
