"""Metrics against closed forms, an independent square root, and sets whose answer is known."""

import math

import numpy as np
import pytest
import torch

from labkit import metrics
from labkit.nets.classifier import Classifier, ClassifierConfig

NET = ClassifierConfig(size=8, widths=(4, 4), features=6)


def normal(n, d, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=generator, dtype=torch.float64)


def correlated(n, d, seed):
    mix = normal(d, d, seed + 100)
    return normal(n, d, seed) @ mix + normal(1, d, seed + 200)


# Fréchet distance


def test_the_distance_between_a_set_and_itself_is_zero():
    real = correlated(500, 16, 0)
    assert metrics.frechet_distance(real, real) == pytest.approx(0, abs=1e-9)


def test_a_shift_costs_its_square_and_a_stretch_the_difference_of_deviations():
    real = normal(400, 5, 0)
    std = real.std(0)
    assert metrics.frechet_distance(real, real + 3, normalized=False) == pytest.approx(45)
    centered = real - real.mean(0)
    expected = float(std.square().sum())  # (2 σ − σ)² on each axis, since the axes stretch alike
    stretched = metrics.frechet_distance(centered, 2 * centered, normalized=False)
    assert stretched == pytest.approx(expected)
    assert metrics.frechet_distance(centered, 2 * centered) == pytest.approx(1)


def test_the_distance_agrees_with_the_matrix_square_root_of_scipy():
    linalg = pytest.importorskip("scipy.linalg")
    real, fake = correlated(300, 24, 1), correlated(200, 24, 2)
    cov_1, cov_2 = np.cov(real.numpy().T), np.cov(fake.numpy().T)
    root = linalg.sqrtm(cov_1 @ cov_2).real
    gap = (real.mean(0) - fake.mean(0)).square().sum().item()
    expected = gap + np.trace(cov_1 + cov_2 - 2 * root)
    assert metrics.frechet_distance(real, fake, normalized=False) == pytest.approx(expected)
    expected /= np.trace(cov_1)
    assert metrics.frechet_distance(real, fake) == pytest.approx(expected)


def test_the_distance_does_not_care_which_set_comes_first_until_it_is_normalized():
    real, fake = correlated(300, 8, 1), correlated(200, 8, 2)
    there = metrics.frechet_distance(real, fake, normalized=False)
    assert metrics.frechet_distance(fake, real, normalized=False) == pytest.approx(there)
    ratio = metrics.frechet_distance(real, fake) / metrics.frechet_distance(fake, real)
    assert ratio == pytest.approx(float(torch.cov(fake.T).trace() / torch.cov(real.T).trace()))


@pytest.mark.parametrize("d, n", [(16, 1000), (64, 2000)])
def test_two_samples_of_one_law_are_apart_by_the_known_bias(d, n):
    seeds = range(0, 20, 2)
    distances = [
        metrics.frechet_distance(normal(n, d, seed), normal(n, d, seed + 1), normalized=False)
        for seed in seeds
    ]
    expected = 2 * d / n + d * (d + 1) / (2 * n)
    assert sum(distances) / len(distances) == pytest.approx(expected, rel=0.06)


def test_features_that_do_not_vary_in_some_direction_give_no_nan():
    real = correlated(100, 6, 0)
    real[:, 3] = 1
    fake = correlated(100, 6, 1)
    assert math.isfinite(metrics.frechet_distance(real, fake))
    single = metrics.frechet_distance(real[:, :1], fake[:, :1], normalized=False)
    gap = (real[:, 0].mean() - fake[:, 0].mean()) ** 2
    assert single == pytest.approx(float(gap + (real[:, 0].std() - fake[:, 0].std()) ** 2))


# Precision and recall


def precision_recall_mean(scale):
    pairs = [
        metrics.precision_recall(normal(1000, 8, seed), scale * normal(1000, 8, seed + 50))
        for seed in range(3)
    ]
    return torch.tensor(pairs).mean(0).tolist()


@pytest.mark.parametrize(
    "scale, precision, recall", [(1.0, 0.89, 0.90), (0.5, 1.0, 0.17), (2.0, 0.17, 1.0)]
)
def test_precision_and_recall_tell_narrow_samples_from_wide_ones(scale, precision, recall):
    assert precision_recall_mean(scale) == pytest.approx([precision, recall], abs=0.03)


def test_a_set_against_itself_has_precision_and_recall_one():
    real = normal(1200, 8, 0)
    assert metrics.precision_recall(real, real) == (1.0, 1.0)


def test_one_mode_repeated_is_precise_and_recalls_nothing():
    real = normal(1000, 8, 0)
    fake = real[:1] + 1e-6 * normal(1000, 8, 1)
    assert metrics.precision_recall(real, fake)[0] == 1.0
    assert metrics.precision_recall(real, fake)[1] <= 0.001  # the copied picture itself


def test_precision_and_recall_do_what_a_loop_over_all_pairs_does():
    real, fake, k = normal(40, 3, 0), 1.5 * normal(30, 3, 1), 3

    def share_inside(points, centers):
        radii = []
        for center in centers:
            others = sorted(float((center - other).norm()) for other in centers)
            radii.append(others[k])  # others[0] is the center itself
        hit = [
            any(float((point - c).norm()) <= r for c, r in zip(centers, radii)) for point in points
        ]
        return sum(hit) / len(hit)

    expected = (share_inside(fake, real), share_inside(real, fake))
    assert metrics.precision_recall(real, fake, k) == pytest.approx(expected)


# What the classifier says


def test_ten_equal_classes_count_as_ten_and_one_class_as_one():
    each = torch.eye(10).repeat(20, 1)
    assert metrics.class_use(each) == pytest.approx(10)
    assert metrics.inception_score(each) == pytest.approx(10)
    assert metrics.class_use(each[:1].repeat(9, 1)) == pytest.approx(1)
    assert metrics.inception_score(each[:1].repeat(9, 1)) == pytest.approx(1)


def test_unsure_samples_use_all_classes_but_gain_nothing():
    unsure = torch.full((50, 10), 0.1)
    assert metrics.class_use(unsure) == pytest.approx(10)
    assert metrics.inception_score(unsure) == pytest.approx(1)
    assert metrics.confidence(unsure) == 0


def test_the_inception_score_is_the_mean_over_its_splits():
    probs = normal(60, 4, 0).softmax(1)
    parts = [metrics.inception_score(part) for part in probs.chunk(3)]
    assert metrics.inception_score(probs, splits=3) == pytest.approx(sum(parts) / 3)


def test_confidence_is_the_share_over_the_bar():
    probs = torch.tensor([[0.95, 0.05], [0.5, 0.5], [0.08, 0.92], [0.9, 0.1]])
    assert metrics.confidence(probs.double()) == 0.5
    assert metrics.confidence(probs.double(), above=0.4) == 1.0


# Seeing, and the report


def test_what_no_file_could_hold_is_not_seen():
    levels = torch.arange(256) / 127.5 - 1
    images = levels.view(1, 1, 16, 16)
    assert torch.allclose(metrics.quantize(images), images, atol=1e-6)
    nudged = images + 0.3 / 127.5
    assert torch.equal(metrics.quantize(nudged), metrics.quantize(images))
    assert torch.equal(metrics.quantize(images * 300).unique(), torch.tensor([-1.0, 1.0]))


def test_features_are_those_of_the_quantized_pictures_and_the_mode_is_restored():
    net = Classifier(NET).train()
    images = torch.rand(70, 1, 8, 8) * 2 - 1
    seen = metrics.see(net, images, batch=32)
    assert net.training
    net.eval()
    with torch.no_grad():
        features = net.features(metrics.quantize(images))
        assert torch.allclose(seen.features.float(), features, atol=1e-6)
        assert torch.allclose(seen.probs.float(), net(metrics.quantize(images)).softmax(1))
    assert seen.features.dtype == torch.float64


def test_a_report_always_names_network_count_and_floor():
    images = torch.rand(200, 1, 8, 8) * 2 - 1
    gray = 0 * images[:50] - 1
    report = metrics.evaluate(Classifier(NET), "my-net", images, same=images, gray=gray)
    text = report._repr_markdown_()
    assert "my-net" in text and "200 real pictures" in text
    assert list(report.rows) == ["real, held out", "same", "gray"]
    floor, same, gray = report.rows.values()
    assert (floor.n, same.n, gray.n) == (100, 200, 50)
    assert 0 < same.frechet < floor.frechet < gray.frechet  # "same" holds the reference itself
    assert (same.precision > floor.precision) and same.recall == 1
    for row in text.splitlines()[2:5]:
        assert row.count("|") == 9


def test_the_floor_is_held_out_of_what_all_are_compared_with():
    images = torch.rand(200, 1, 8, 8) * 2 - 1
    seen = metrics.see(Classifier(NET), images)
    reference, held_out = metrics.halves(seen, 3)
    rows = torch.cat([reference.features, held_out.features])
    assert len(reference.features) == 100
    assert torch.equal(rows.sort(0).values, seen.features.sort(0).values)
    pair = [metrics.score(*metrics.halves(seen, seed)) for seed in range(2)]
    both = metrics.floor(seen, splits=2)
    assert both.precision == pytest.approx(sum(one.precision for one in pair) / 2)
    assert both.frechet == pytest.approx(sum(one.frechet for one in pair) / 2)


# Bad input


@pytest.mark.parametrize(
    "real, fake, says",
    [
        (normal(8, 8, 0), normal(100, 8, 1), "at least 9"),
        (normal(100, 8, 0), normal(8, 8, 1), "at least 9"),
        (normal(100, 8, 0), normal(100, 7, 1), "same network"),
        (normal(100, 8, 0) / 0, normal(100, 8, 1), "finite"),
        (torch.ones(100, 8), normal(100, 8, 1), "all real features are equal"),
        (torch.ones(100, 8, dtype=torch.long), normal(100, 8, 1), "floating point"),
        ([[0.0]], normal(100, 8, 1), "torch tensor"),
        (normal(100, 8, 0)[..., None], normal(100, 8, 1), "shape (N, D)"),
    ],
)
def test_features_that_cannot_be_compared_are_refused_in_one_sentence(real, fake, says):
    with pytest.raises(ValueError, match="^[^\n]+$") as error:
        metrics.frechet_distance(real, fake)
    assert says in str(error.value)


@pytest.mark.parametrize("k", [0, -1, 2.5, 100])
def test_precision_and_recall_need_more_pictures_than_neighbors(k):
    with pytest.raises(ValueError, match="must be"):
        metrics.precision_recall(normal(100, 8, 0), normal(100, 8, 1), k)


def test_probabilities_must_be_probabilities():
    for probs in (torch.ones(5, 10), torch.eye(3)[0], -torch.eye(3), torch.eye(3).long()):
        with pytest.raises(ValueError, match="must be"):
            metrics.class_use(probs)
    for bad in ({"above": 2}, {"above": "most"}):
        with pytest.raises(ValueError, match="above"):
            metrics.confidence(torch.eye(3), **bad)
    with pytest.raises(ValueError, match="splits"):
        metrics.inception_score(torch.eye(3), splits=4)


@pytest.mark.parametrize("count, k, least", [(9, 3, 18), (17, 3, 18), (25, 12, 26)])
def test_halves_that_are_too_small_for_a_floor_are_refused_in_one_sentence(count, k, least):
    def seen(count):
        return metrics.Seen(normal(count, 8, 0), torch.full((count, 2), 0.5).double())

    says = f"^there are {count} real pictures[^\n]*give at least {least}$"
    with pytest.raises(ValueError, match=says):
        metrics.floor(seen(count), k)
    assert metrics.floor(seen(least), k).n == least // 2
    with pytest.raises(ValueError, match="splits"):
        metrics.floor(seen(least), splits=0)


def test_an_unnamed_network_is_refused():
    images = torch.rand(20, 1, 8, 8)
    with pytest.raises(ValueError, match="name"):
        metrics.evaluate(Classifier(NET), "", images)
