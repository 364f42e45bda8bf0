"""How good samples are, in numbers: distance to the real pictures, fidelity, diversity.

All of it happens in the features of a classifier, so a number means nothing without the name of
that network, the number of pictures, and what real pictures themselves score (the floor). `judge`
never leaves these out.
"""

from labkit.metrics.classes import class_use, confidence, inception_score
from labkit.metrics.features import Seen, quantize, see
from labkit.metrics.frechet import frechet_distance
from labkit.metrics.neighbors import precision_recall
from labkit.metrics.report import Report, Scores, floor, judge, score

__all__ = [
    "Report", "Scores", "Seen", "class_use", "confidence", "floor", "frechet_distance",
    "inception_score", "judge", "precision_recall", "quantize", "score", "see",
]  # fmt: skip
