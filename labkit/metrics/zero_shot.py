"""What CLIP can name without training it further, and what a linear probe finds in its features.

Source: Radford et al. 2021, sections 3.1 (zero-shot classifiers, prompts and their ensembles) and
3.2 (linear probes).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.inputs import float_batch, number, short


@torch.no_grad()
def class_vectors(clip, classes: Sequence[str], templates: str | Sequence[str] = "{}") -> Tensor:
    """A unit vector for each class, (K, D): the classifier that CLIP has without any picture.

    templates: prompts with {} where the class goes, such as "a photo of a {}". Of several the
    vectors are averaged and brought back to length one: an ensemble of prompts, at the price of
    one. Raises ValueError where nothing, or nothing to fill in, is given.
    """
    templates = [templates] if isinstance(templates, str) else list(templates)
    if not classes or isinstance(classes, str):
        raise ValueError(f"classes is {short(classes)}, but must be a list of at least one name")
    if not all(isinstance(name, str) for name in classes):
        raise ValueError(f"classes is {short(classes)}, but a class is named by a text")
    if not templates or not all("{}" in template for template in templates):
        raise ValueError(
            f"templates is {short(templates)}, but must be at least one text, each with {{}} where "
            'the class goes, such as "a photo of a {}"'
        )
    vectors = [clip.encode_text([t.replace("{}", name) for name in classes]) for t in templates]
    return F.normalize(torch.stack(vectors).mean(0), dim=1)  # (K, D)


@torch.no_grad()
def classify(clip, pictures: Tensor, vectors: Tensor) -> Tensor:
    """Probabilities of the classes, (B, K), for pictures (B, 3, S, S) in [−1, 1]; vectors (K, D)
    from `class_vectors`."""
    return (clip.scale * clip.encode_image(pictures) @ vectors.T).softmax(1)


def linear_probe(features: Tensor, labels: Tensor, C: float = 1.0):
    """A logistic regression on frozen features (N, D) with labels (N,): how much of the classes a
    straight line finds in them (section 3.2; the paper tunes C on held-out data).

    Returns scikit-learn's classifier: ``probe.score(features, labels)``, ``probe.predict(…)``.
    C: larger trusts the data more. Raises ValueError for unequal lengths or a single class.
    """
    from sklearn.linear_model import LogisticRegression

    float_batch(features, "features")
    labels = torch.as_tensor(labels)
    if features.ndim != 2 or labels.shape != features.shape[:1] or len(labels.unique()) < 2:
        raise ValueError(
            f"features have shape {tuple(features.shape)} and labels {tuple(labels.shape)}, but "
            "must be (N, D) and (N,), of at least two classes"
        )
    C = number(C, "C", 1e-9)
    probe = LogisticRegression(C=C, max_iter=1000)
    return probe.fit(features.detach().cpu().double().numpy(), labels.cpu().numpy())
