"""Metrics of what lies on a device: the same numbers as on a CPU."""

from dataclasses import asdict

import pytest
import torch

from labkit import metrics, scenes
from labkit.metrics import retrieval, zero_shot
from labkit.scenes import scores
from tests.machines import tiny

CLASSES, TEMPLATES = ["circle", "star", "heart"], ["a {}", "a red {}"]


def features(count, device, seed=0):
    return tiny.normal(count, 4, device=device, seed=seed)


def test_what_a_classifier_sees(alike):
    def work(device):
        classifier = tiny.system("classifier", device)
        seen = metrics.see(classifier, tiny.pictures(12, device=device), batch=5)
        assert classifier.training
        return [each.tolist() for each in seen], metrics.quantize(tiny.pictures(2)).tolist()

    alike(work)


def test_pictures_on_the_cpu_are_seen_by_a_classifier_that_lies_elsewhere(alike):
    def work(device):
        seen = metrics.see(tiny.system("classifier", device), tiny.pictures(12), batch=5)
        return [each.tolist() for each in seen]

    alike(work)


@pytest.mark.parametrize("kind", ["classifier", "classifier, features"])
def test_a_judgement(alike, kind):
    def work(device):
        real, fake = (tiny.pictures(40, device=device, seed=seed) for seed in (1, 2))
        report = metrics.evaluate(tiny.system(kind, device), kind, real, mine=fake, same=real)
        return {name: asdict(row) for name, row in report.rows.items()}

    alike(work)


def test_distances_between_features(alike):
    def work(device):
        real, fake = features(30, device), features(25, device, seed=1)
        distances = [metrics.frechet_distance(real, fake, normalized) for normalized in (0, 1)]
        return distances, metrics.precision_recall(real, fake)

    alike(work)


def test_features_of_two_places_meet(alike):
    """Those of real pictures may have been kept on the CPU."""

    def work(device):
        real, fake = features(30, "cpu"), features(25, device, seed=1)
        return metrics.frechet_distance(real, fake), metrics.precision_recall(real, fake)

    alike(work)


def test_scores_of_class_probabilities(alike):
    def work(device):
        probs = features(30, device).softmax(1)
        return (
            metrics.class_use(probs), metrics.confidence(probs, 0.5),
            metrics.inception_score(probs, splits=3),
        )  # fmt: skip

    alike(work)


def test_zero_shot_classes(alike):
    def work(device):
        clip = tiny.system("clip", device).eval()
        vectors = zero_shot.class_vectors(clip, CLASSES, TEMPLATES)
        made, _, _ = tiny.drawn(5, device)
        return vectors, zero_shot.classify(clip, made, vectors)

    alike(work)


def test_a_linear_probe(alike):
    def work(device):
        x, labels = features(30, device), (torch.arange(30) % 3).to(device)
        probe = zero_shot.linear_probe(x, labels)
        return probe.score(x.cpu().numpy(), labels.cpu().numpy())

    alike(work)


def test_retrieval(alike):
    def work(device):
        similarity = tiny.normal(8, 8, device=device)
        belongs = (similarity > 0.5) | torch.eye(8, dtype=torch.bool, device=device)
        return retrieval.recall_at(similarity, 2), retrieval.recall_at(similarity, 2, belongs)

    alike(work)


def test_how_much_of_their_sentences_pictures_show(alike):
    def work(device):
        _, captions, truth = tiny.drawn(6, device)
        _, _, other = tiny.drawn(6, device, seed=1)
        shown = scores.caption_accuracy(other, captions)
        return shown.parts, shown.complete, scores.agreement(other, truth)

    alike(work)


def test_what_a_reader_saw_is_compared_with_a_truth_on_the_cpu(alike):
    def work(device):
        _, _, seen = tiny.drawn(6, device, seed=1)
        return scores.agreement(seen, tiny.drawn(6)[2])

    alike(work)


def test_whether_pictures_look_like_what_was_seen_in_them(alike):
    def work(device):
        made, _, truth = tiny.drawn(6, device)
        _, _, other = tiny.drawn(6, device, seed=1)
        misfits = scores.misfit(other, made)
        return misfits, scores.valid(truth, made), scores.valid(other, made)

    alike(work)


def test_how_different_pictures_are(alike):
    def work(device):
        return scores.spread(tiny.system("reader", device), tiny.drawn(6, device)[0])

    alike(work)


def test_scenes_that_lie_on_a_device_are_drawn(alike):
    def work(device):
        return scenes.render(tiny.drawn(3, device)[2], 16).tolist()

    alike(work)
