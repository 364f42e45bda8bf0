"""What the command says about the pictures that it is given, and how it saves those it draws."""

from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from labkit import zoo
from labkit.cli import main
from labkit.systems.adm import ADMConfig


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def flowers(tmp_path, monkeypatch):
    """A folder of two classes with odds and ends, and a recipe that is quick to follow."""
    monkeypatch.chdir(tmp_path)
    for name in ("tulip/1.png", "tulip/2.png", "rose/1.png", "cover.png", "oak/1.HEIC"):
        path = tmp_path / "flowers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 12), "red").save(path, "PNG")
    made = zoo.recipe("adm-cifar10")
    net = replace(made.config.net, size=8, width=8, multipliers=(1,), vector=2, head_channels=8)
    made = replace(made, config=ADMConfig(net, T=20), training={"steps": 1, "lr": 1e-3})
    monkeypatch.setitem(zoo.RECIPES, "tiny", made)
    return tmp_path / "flowers"


def test_training_says_which_classes_it_found_and_what_it_left_out(flowers):
    done = run("train", "tiny", "--pictures", "flowers")
    assert done.exit_code == 0, done.output
    told = next(line for line in done.output.splitlines() if line.startswith("flowers: "))
    for words in (
        "3 pictures of 2 classes, rose (1), tulip (2)",
        "cannot read here, so save them as JPEG or PNG (1: flowers/oak/1.HEIC)",
        "beside the folders of the classes (1: flowers/cover.png)",
        "folders without a picture (1: flowers/oak)",
    ):
        assert words in told
    assert "Warning" not in done.output


def test_a_number_of_classes_that_does_not_fit_is_explained_by_what_was_found(flowers):
    refused = run("train", "adm-cifar10", "--pictures", "flowers")
    assert refused.exit_code == 1
    (told,) = [line for line in refused.output.splitlines() if line.startswith("Error")]
    assert "holds 2 classes, but adm-cifar10 tells 10 apart" in told and "1.HEIC" in told


@pytest.mark.parametrize(
    "name, kind", [("a.jpg", "JPEG"), ("a.JPEG", "JPEG"), ("a.webp", "WEBP"), ("a.PNG", "PNG")]
)
def test_the_suffix_says_the_format(tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    line = ["sample", "ddpm-digits", "--number", 2, "--steps", 1, "--out"]
    for out in ("right.png", name):
        done = run(*line, out)
        assert done.exit_code == 0, done.output
    with Image.open(name) as drawn, Image.open("right.png") as right:
        assert drawn.format == kind
        away = np.asarray(drawn.convert("RGB"), int) - np.asarray(right.convert("RGB"), int)
    assert away.shape[2] == 3 and np.abs(away).mean() < 3


@pytest.mark.parametrize("name", ["a.mp4", "a", "a.jpg.part", ".png"])
def test_a_suffix_of_no_picture_is_refused_before_anything_is_drawn(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo, "load", None)
    refused = run("sample", "ddpm-digits", "--out", name)
    assert refused.exit_code == 1 and refused.output.startswith(f"Error: {name} ")
    assert ".png, .jpg, .jpeg, .webp" in refused.output and refused.output.count("\n") == 1
