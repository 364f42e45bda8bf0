"""The feature network: its shapes, what it refuses, and the shifts that it is trained on."""

import pytest
import torch
from click.testing import CliRunner

from labkit import metrics, zoo
from labkit.cli import main
from labkit.data import digits
from labkit.nets.classifier import Classifier, ClassifierConfig, shifted

SHIPPED = ["classifier-digits", "classifier-digits-b"]


@pytest.mark.parametrize("features, length", [(5, 5), (None, 8)])
def test_it_answers_with_a_logit_for_each_class_and_shows_its_features(features, length):
    config = ClassifierConfig(size=12, channels=3, classes=4, widths=(4, 8), features=features)
    net = Classifier(config).eval()
    x = torch.randn(7, 3, 12, 12)
    assert net(x).shape == (7, 4)
    assert net.features(x).shape == (7, length)
    assert torch.allclose(net.decide(net.features(x)), net(x))


def test_it_learns_to_tell_left_from_right():
    torch.manual_seed(0)
    net = Classifier(ClassifierConfig(size=8, classes=2, widths=(4, 4), features=4))
    labels = torch.randint(0, 2, (64,))
    x = torch.full((64, 1, 8, 8), -1.0)
    x[labels == 0, :, :, :4] = 1
    x[labels == 1, :, :, 4:] = 1
    x = x + 0.1 * torch.randn_like(x)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(60):
        loss = net.loss((x, labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    assert (net(x).argmax(1) == labels).all()


def test_a_shift_moves_the_whole_picture_and_lets_background_in():
    image = torch.full((1, 2, 5, 5), -1.0)
    image[:, :, 2, 2] = 0.7
    generator = torch.Generator().manual_seed(0)
    moved = shifted(image.repeat(400, 1, 1, 1), 1, generator)
    assert moved.shape == (400, 2, 5, 5)
    assert torch.equal(moved.amax((2, 3)), torch.full((400, 2), 0.7))
    assert torch.equal(moved.sum((2, 3)), torch.full((400, 2), 0.7 - 24))
    places = {tuple(place.tolist()) for place in (moved[:, 0] > 0).nonzero()[:, 1:]}
    assert places == {(row, column) for row in (1, 2, 3) for column in (1, 2, 3)}


def test_a_shift_by_nothing_changes_nothing():
    x = torch.randn(3, 1, 6, 6)
    assert torch.equal(shifted(x, 0), x)


@pytest.mark.parametrize(
    "options",
    [
        {"widths": ()},
        {"widths": (8, 0)},
        {"kernel": 4},
        {"kernel": 0},
        {"size": 10, "widths": (4, 4, 4)},
        {"classes": 0},
        {"features": 2.5},
        {"features": 0},
        {"dropout": 1.0},
    ],
)
def test_a_network_that_cannot_be_built_is_refused_in_one_sentence(options):
    with pytest.raises(ValueError, match="^[^\n]+$"):
        ClassifierConfig(**options)


def test_pictures_of_another_size_are_refused():
    net = Classifier(ClassifierConfig(size=16, widths=(4, 4), features=4))
    with pytest.raises(ValueError, match="do not fit this classifier"):
        net(torch.randn(2, 1, 8, 8))


# The shipped ones


def answers(name, images):
    return metrics.see(zoo.load(name), images).probs.argmax(1)


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_classifier_knows_digits_that_it_never_saw(name):
    images, labels = digits.load(16, "test")
    assert (answers(name, images) == labels).double().mean() >= 0.985
    assert (zoo.WEIGHTS / f"{name}.safetensors").stat().st_size < 300_000


def test_the_two_shipped_classifiers_agree_though_they_are_built_apart():
    images, _ = digits.load(16, "test")
    assert (answers(SHIPPED[0], images) == answers(SHIPPED[1], images)).double().mean() > 0.98
    first, second = (zoo.load(name) for name in SHIPPED)
    assert first.config != second.config
    assert metrics.see(first, images[:1]).features.shape[1] <= 64


@pytest.mark.parametrize("name", SHIPPED)
def test_the_floor_is_low_and_the_distance_grows_with_damage(name):
    images, _ = digits.load(16)
    blends = images.clone()
    blends[::4] = (images[::4] + images.flip(0)[::4]) / 2  # every fourth is two digits at once
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    damaged = {"grainy": images + 0.3 * noise, "noise": images + noise, "blends": blends}
    report = metrics.evaluate(zoo.load(name), name, images, same=images, **damaged)
    distance = {row: scores.frechet for row, scores in report.rows.items()}
    assert distance["same"] < distance["real, held out"] < 0.01
    # "grainy" holds the reference's own pictures, so its floor is "same", not the held-out half.
    assert distance["same"] < distance["grainy"] < distance["noise"]
    assert distance["blends"] > max(1.2 * distance["real, held out"], 3 * distance["same"])
    assert report.rows["real, held out"].class_use > 9.9
    assert report.rows["real, held out"].confidence > 0.98


def test_asked_for_pictures_the_command_says_that_a_classifier_draws_none(tmp_path):
    out = tmp_path / "grid.png"
    answer = CliRunner().invoke(main, ["sample", SHIPPED[0], "--out", str(out)])
    assert answer.exit_code == 1 and not out.exists()
    assert "draws none" in answer.output and "Traceback" not in answer.output
