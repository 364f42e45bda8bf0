"""All metrics of a set of samples in one table, with all that a reader needs to weigh them."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from labkit.inputs import short, whole_number
from labkit.metrics.classes import class_use, confidence, inception_score
from labkit.metrics.features import Seen, see
from labkit.metrics.frechet import frechet_distance
from labkit.metrics.neighbors import precision_recall


@dataclass(frozen=True)
class Scores:
    """What one set of samples scores: a row of the table."""

    n: int  # how many pictures were evaluated
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


def half_rows(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """The row numbers of two random halves of that many pictures."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tensor_split(2)


def halves(seen: Seen, seed: int = 0) -> tuple[Seen, Seen]:
    """Two random halves of the pictures: one to compare with, and one that is held out, for what
    real pictures score against the first."""
    parts = half_rows(len(seen.features), seed)
    return tuple(Seen(seen.features[part], seen.probs[part]) for part in parts)


HEADER = ["samples", "N", "Fréchet", "precision", "recall", "classes", "confident", "IS"]


@dataclass(frozen=True)
class Report:
    """Scores by name, with all that a reader needs to weigh them. Prints as a Markdown table,
    and a notebook shows it as one."""

    network: str  # whose features
    dimension: int  # of the features
    n_real: int
    k: int  # of precision and recall
    splits: int
    rows: dict[str, Scores]  # "real, held out" is the floor

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
            "sure. All are compared with a random half of the real pictures, and the floor is the "
            f"other half; means over {self.splits} such splits."
        )
        return "\n".join(lines)

    def _repr_markdown_(self) -> str:
        return str(self)


def floor(seen: Seen, k: int = 3, splits: int = 5) -> Scores:
    """What real pictures score that are held out: a random half of them against the other half,
    the mean over that many splits. Raises ValueError for too few pictures."""
    splits, k = whole_number(splits, "splits", 1), whole_number(k, "k", 1)
    count, dimension = seen.features.shape
    if count // 2 <= max(dimension, k):
        raise ValueError(
            f"there are {count} real pictures, but the floor compares two halves of them, each of "
            f"which must have more pictures than there are features ({dimension}) and neighbors "
            f"({k}): give at least {2 * max(dimension, k) + 2}"
        )
    return mean([score(*halves(seen, seed), k) for seed in range(splits)])


def mean(scores: list[Scores]) -> Scores:
    """The mean of each number."""
    rows = zip(*map(astuple, scores), strict=True)
    n, *numbers = (sum(row) / len(scores) for row in rows)
    return Scores(round(n), *numbers)


def evaluate(
    classifier, network: str, real: Tensor, k: int = 3, splits: int = 5, **samples: Tensor
) -> Report:
    """Compares each named set of samples with real pictures, all (N, C, H, W) in [−1, 1].

    network: the classifier's name, as in the zoo. The first row is always the `floor`. Half of the
    real pictures are the reference, at random, the mean over that many splits; so give about half
    as many samples as real pictures: distances depend on the number.
    """
    if not isinstance(network, str) or not network:
        raise ValueError(
            f"network is {short(network)}, but must be the classifier's name, such as "
            "'classifier-digits': a distance in features nobody can name says nothing"
        )
    seen = see(classifier, real)
    rows = {"real, held out": floor(seen, k, splits)}
    references = [halves(seen, seed)[0] for seed in range(splits)]
    for name, images in samples.items():
        fake = see(classifier, images)
        rows[name] = mean([score(reference, fake, k) for reference in references])
    return Report(network, seen.features.shape[1], len(real), k, splits, rows)
