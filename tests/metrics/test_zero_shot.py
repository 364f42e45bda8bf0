"""Zero-shot classifiers, probes and recall, against worked examples."""

import math

import pytest
import torch

from labkit.metrics.retrieval import recall_at
from labkit.metrics.zero_shot import class_vectors, classify, linear_probe


class Known:
    """Stands for a CLIP whose vectors are known: each word has a direction, a text is their sum."""

    words = ("a", "photo", "of", "cat", "dog", "drawing")
    scale = torch.tensor(10.0)

    def encode_text(self, texts):
        rows = torch.zeros(len(texts), len(self.words))
        for row, text in enumerate(texts):
            for word in text.split():
                rows[row, self.words.index(word)] += 1
        return torch.nn.functional.normalize(rows, dim=1)

    def encode_image(self, pictures):
        return torch.nn.functional.normalize(pictures.flatten(1), dim=1)


def test_a_class_is_the_mean_of_its_prompts_brought_back_to_length_one():
    clip = Known()
    vectors = class_vectors(clip, ["cat", "dog"], ["{}", "a photo of a {}"])
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2))
    # The prompts have length one before they are averaged: a long one does not weigh more.
    long = torch.tensor([2.0, 1, 1, 1, 0, 0]) / math.sqrt(7)
    mean = torch.tensor([0.0, 0, 0, 1, 0, 0]) + long
    assert torch.allclose(vectors[0], mean / mean.norm())
    one = class_vectors(clip, ["cat"], "a drawing of a {}")
    assert torch.allclose(one, clip.encode_text(["a drawing of a cat"]))


def test_probabilities_are_the_softmax_of_scaled_cosines():
    clip = Known()
    vectors = class_vectors(clip, ["cat", "dog"])
    pictures = torch.zeros(2, 1, 2, 3)
    pictures[0, 0, 1, 0], pictures[1, 0, 1, 1] = 3.0, 0.5  # a cat, a dog; length does not matter
    probs = classify(clip, pictures, vectors)
    sure = math.exp(10) / (math.exp(10) + 1)
    assert torch.allclose(probs, torch.tensor([[sure, 1 - sure], [1 - sure, sure]]))


def test_a_probe_finds_what_a_straight_line_can_find_and_nothing_else():
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (300,))
    features = torch.randn(300, 5)
    features[:, 0] += 6.0 * labels
    probe = linear_probe(features[:200], labels[:200])
    assert probe.score(features[200:].numpy(), labels[200:].numpy()) > 0.97
    noise = linear_probe(torch.randn(200, 5), labels[:200])
    assert noise.score(torch.randn(100, 5).numpy(), labels[200:].numpy()) < 0.55


def test_recall_counts_rows_whose_own_column_is_among_the_best():
    similarity = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.5, 0.1], [0.7, 0.6, 0.5]])
    assert recall_at(similarity, 1) == pytest.approx(1 / 3)
    assert recall_at(similarity, 2) == pytest.approx(2 / 3)
    assert recall_at(similarity, 3) == 1
    assert recall_at(similarity.T, 1) == pytest.approx(2 / 3)  # columns 0 and 2 find their row


def test_recall_with_several_that_belong_asks_for_any_of_them():
    similarity = torch.tensor([[0.1, 0.9, 0.3, 0.4], [0.9, 0.2, 0.8, 0.1]])
    belongs = torch.tensor([[True, True, False, False], [False, False, True, True]])
    assert recall_at(similarity, 1, belongs) == 0.5
    assert recall_at(similarity, 2, belongs) == 1


def test_a_network_that_says_the_same_everywhere_finds_nothing():
    assert recall_at(torch.zeros(50, 50), 1) == 0
    assert recall_at(torch.zeros(50, 50), 50) == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda: class_vectors(Known(), []),
        lambda: class_vectors(Known(), "cat"),
        lambda: class_vectors(Known(), ["cat"], "a photo"),
        lambda: class_vectors(Known(), ["cat"], []),
        lambda: class_vectors(Known(), [0, 1]),
        lambda: linear_probe(torch.randn(4, 2), torch.zeros(4)),
        lambda: linear_probe(torch.randn(4, 2), torch.arange(3)),
        lambda: linear_probe(torch.randn(4, 2), torch.arange(4), C=-1),
        lambda: recall_at(torch.randn(3, 4)),
        lambda: recall_at(torch.randn(3, 3), 4),
        lambda: recall_at(torch.randn(3, 3), 1, torch.zeros(3, 3, dtype=torch.bool)),
        lambda: recall_at(torch.randn(3)),
        lambda: recall_at(torch.full((3, 3), float("nan"))),
    ],
)
def test_nonsense_is_refused_in_one_sentence(call):
    with pytest.raises(ValueError, match="^[^\n]+$"):
        call()
