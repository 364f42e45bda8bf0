"""The eraser: a rectangle of a picture is erased, and filled in for a sentence."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.lab.widgets.eraser import Eraser
from labkit.sampler import State

seen = []
PICTURES = {"a dark one": -torch.ones(3, 8, 8), "a light one": torch.ones(3, 8, 8)}
SENTENCES = ["a red star", "two moons"]


def generate(prompts, *, known, seed):
    """Fills the hole with gray in three steps."""
    seen.append((prompts, known, seed))
    image, mask = known
    for t in (2, 1, 0):
        x = (image * mask).expand(len(prompts), -1, -1, -1)
        yield State(t, x, x)


@pytest.fixture
def eraser():
    seen.clear()
    return Eraser(generate, PICTURES, SENTENCES, box=(1, 2, 5, 4), columns=2)


def test_the_first_sentence_is_filled_in_beforehand_where_the_box_is(eraser):
    ((prompts, (image, mask), _),) = seen
    assert prompts == ["a red star"] * 2
    assert torch.equal(image, PICTURES["a dark one"][None])
    assert mask.shape == (1, 1, 8, 8)
    assert (mask[0, 0, 2:4, 1:5] == 0).all() and mask.sum() == 64 - 8


def test_a_dragged_rectangle_and_a_typed_sentence_are_filled_in_with_progress(eraser):
    eraser.button.click()
    eraser.erased.box = [0, 0, 8, 4]  # as the browser says it
    assert eraser.button.button_style == "primary"
    assert "columns 0–7, rows 0–3 of a dark one" in eraser.message.value
    eraser.sentence.value, eraser.reference.value, eraser.seed.value = "a blue moon", 1, 7
    heard = []
    eraser.progress.observe(lambda change: heard.append(change["new"]), "value")
    eraser.button.click()
    prompts, (image, mask), seed = seen[-1]
    assert (prompts, seed) == (["a blue moon"] * 2, 7)
    assert torch.equal(image, PICTURES["a light one"][None])
    assert (mask[0, 0, :4] == 0).all() and (mask[0, 0, 4:] == 1).all()
    assert heard == sorted(heard) and heard[-1] == 1
    assert eraser.picture.image.startswith(b"\x89PNG")
    assert (eraser.button.button_style, eraser.message.value) == ("", "")


def test_another_picture_comes_under_the_rectangle(eraser):
    def pixels():
        return np.asarray(Image.open(io.BytesIO(eraser.erased.image)).convert("RGB"))

    assert pixels().shape == (8, 8, 3) and (pixels() == 0).all()
    eraser.reference.value = 1
    assert (pixels() == 255).all()
    assert (eraser.erased.alt, eraser.erased.side) == ("a light one", 8)


def test_a_sentence_that_cannot_be_read_is_one_line_and_the_button_works_again(eraser):
    def picky(prompts, **options):
        raise ValueError("no such word: <zebra>")

    eraser._generate = picky
    eraser.button.click()
    assert "no such word: &lt;zebra&gt;" in eraser.message.value
    assert not eraser.button.disabled


def test_a_notebook_without_a_kernel_shows_what_was_filled_in(eraser):
    bundle = eraser._repr_mimebundle_()
    assert bundle["text/plain"].startswith("Filled in: “a red star” in columns 1–4, rows 2–3")
    assert bundle["image/png"] and "<img" in bundle["text/html"]


@pytest.mark.parametrize(
    ("pictures", "sentences", "box", "words"),
    [
        ({}, SENTENCES, (0, 0, 4, 4), "at least one of each"),
        (PICTURES, [], (0, 0, 4, 4), "at least one of each"),
        (PICTURES, "a star", (0, 0, 4, 4), "no list of sentences"),
        (PICTURES, SENTENCES, (4, 0, 4, 4), "left < right"),
        (PICTURES, SENTENCES, (0, 0, 9, 4), "inside the picture"),
    ],
)
def test_nothing_to_erase_gets_a_sentence(pictures, sentences, box, words):
    with pytest.raises(ValueError, match=words):
        Eraser(generate, pictures, sentences, box)
