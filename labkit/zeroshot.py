"""What can be done with CLIP's space without training it further: name, probe, find.

Source: Radford et al. 2021, section 3.1 (zero-shot classifiers, prompts and their ensembles) and
3.2 (linear probes); recall at K as in all work on retrieval, such as section 3.1 of VSE++.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.inputs import float_batch, number, short, whole_number


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


def recall_at(similarity: Tensor, k: int = 1, belongs: Tensor | None = None) -> float:
    """R@K: the share of rows for which one that belongs is among the K most similar columns.

    similarity: (N, M), such as ``clip(pictures, captions)``; transpose it to search the other way
    round. belongs: (N, M) bool, what belongs together; None: row n and column n, N = M. Of equal
    similarities none counts as better than another, so a network that says the same everywhere
    finds nothing.
    """
    float_batch(similarity, "similarity")
    if similarity.ndim != 2 or (belongs is None and similarity.shape[0] != similarity.shape[1]):
        raise ValueError(
            f"similarity has shape {tuple(similarity.shape)}, but must be (N, M), and N = M "
            "unless `belongs` says what belongs together"
        )
    if not torch.isfinite(similarity).all():
        raise ValueError("similarity holds NaN or infinity, so nothing in it is most similar")
    k = whole_number(k, "k", 1, similarity.shape[1])
    if belongs is None:
        belongs = torch.eye(len(similarity), dtype=torch.bool, device=similarity.device)
    if belongs.shape != similarity.shape or belongs.dtype != torch.bool or not belongs.any(1).all():
        raise ValueError(
            f"belongs is {short(belongs)}, but must be bool of shape {tuple(similarity.shape)} "
            "with a True in every row"
        )
    best = similarity.masked_fill(~belongs, -torch.inf).amax(1, keepdim=True)  # (N, 1)
    ahead = ((similarity >= best) & ~belongs).sum(1)  # wrong ones that are at least as similar
    return float((ahead < k).float().mean())
