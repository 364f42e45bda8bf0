"""All metrics of a set of samples in one table, with all that a reader needs to weigh them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from labkit.inputs import short
from labkit.metrics.classes import class_use, confidence, inception_score
from labkit.metrics.features import Seen, see
from labkit.metrics.frechet import frechet_distance
from labkit.metrics.neighbors import precision_recall


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
