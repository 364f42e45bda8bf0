"""How good samples are, in numbers: distance to the real pictures, fidelity, diversity.

All of it happens in the features of a classifier, so a number means nothing without the name of
that network, the number of pictures, and what held-out real pictures score (the floor).
`evaluate` never leaves these out.
"""

from labkit.data.pictures import quantize
from labkit.metrics.classes import class_use, confidence, inception_score
from labkit.metrics.features import Seen, see
from labkit.metrics.frechet import frechet_distance
from labkit.metrics.neighbors import precision_recall
from labkit.metrics.report import Report, Scores, evaluate, floor, halves, score

__all__ = [
    "Report", "Scores", "Seen", "class_use", "confidence", "evaluate", "floor", "frechet_distance",
    "halves", "inception_score", "precision_recall", "quantize", "score", "see",
]  # fmt: skip
