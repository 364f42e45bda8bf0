"""The guidance mixer: a grid of two weights sampled beforehand, and a free mixture sampled live."""

import time

import pytest
import torch

from labkit.lab.widgets.guidance_mixer import GuidanceMixer
from labkit.sampler import State

seen = []
SENTENCES = ["a red star", "two moons"]
REFERENCES = {"a dark one": -torch.ones(3, 8, 8), "a light one": torch.ones(3, 8, 8)}
GRID = {"text": (0, 50), "content": (0, 40, 80)}


def sample(sentence, reference, weights, x):
    """Pictures whose gray says what the weights are, in four steps."""
    seen.append((sentence, reference, {name: row.tolist() for name, row in weights.items()}, x))
    gray = sum(weights.values()).view(-1, 1, 1, 1) / 200
    for t in (75, 50, 25, 0):
        yield State(t, 0.1 * x + gray, x)


@pytest.fixture
def mixer():
    seen.clear()
    return GuidanceMixer(sample, SENTENCES, REFERENCES, GRID, {"style": 9.0}, columns=2)


def test_every_pair_of_weights_is_sampled_in_one_batch_from_the_same_noises(mixer):
    assert len(seen) == 1
    sentence, reference, weights, x = seen[0]
    assert sentence == "a red star" and torch.equal(reference, REFERENCES["a dark one"][None])
    assert weights["text"] == [0] * 6 + [50] * 6
    assert weights["content"] == [0, 0, 40, 40, 80, 80] * 2
    assert weights["style"] == [0] * 12
    assert torch.equal(x, x[:2].repeat(6, 1, 1, 1)) and not torch.equal(x[0], x[1])
    assert mixer.strip._names == ["0", "50"]
    assert mixer.strip._labels == ["content 0", "content 40", "content 80"]
    assert len({frame for strip in mixer.strip._frames for frame in strip}) == 6


def test_a_free_mixture_is_sampled_with_progress(mixer):
    mixer.sentence.value, mixer.reference.value, mixer.seed.value = "a blue moon", 1, 7
    mixer.weights["text"].value, mixer.weights["style"].value = 25, 4.5
    heard = []
    mixer.progress.observe(lambda change: heard.append(change["new"]), "value")
    mixer.button.click()
    sentence, reference, weights, x = seen[-1]
    assert sentence == "a blue moon" and torch.equal(reference, REFERENCES["a light one"][None])
    assert weights == {"text": [25, 25], "content": [40, 40], "style": [4.5, 4.5]}
    assert x.shape == (2, 3, 8, 8) and not torch.equal(x, seen[0][3][:2])
    assert heard == sorted(heard) and len(heard) >= 4 and heard[-1] == 1
    assert mixer.picture.image.startswith(b"\x89PNG")
    chosen = "“a blue moon”, like a light one; text 25, content 40, style 4.5; seed 7"
    assert mixer.picture.alt == f"2 pictures: {chosen}"
    assert not mixer.button.disabled


def test_the_button_is_lit_while_the_mixture_is_not_what_is_sampled(mixer):
    assert mixer.button.button_style == "primary" and "press Sample for" in mixer.message.value
    mixer.button.click()
    assert (mixer.button.button_style, mixer.message.value) == ("", "")
    mixer.weights["style"].value = 9
    assert mixer.button.button_style == "primary" and "style 9" in mixer.message.value
    mixer.weights["style"].value = 0
    assert (mixer.button.button_style, mixer.message.value) == ("", "")


def test_with_all_weights_at_zero_it_says_so(mixer):
    mixer.weights["text"].value = mixer.weights["content"].value = 0
    assert "all weights 0" in mixer.chosen


def test_turning_to_another_pair_of_weights_needs_no_sampling(mixer):
    began = time.perf_counter()
    mixer.strip.row, mixer.strip.index = 0, 2
    assert time.perf_counter() - began < 0.1
    assert len(seen) == 1


def test_a_sentence_that_cannot_be_read_is_one_line_and_the_button_works_again(mixer):
    def picky(sentence, reference, weights, x):
        raise ValueError(f"'{sentence}' has words that this CLIP has never read (<zebra>)")
        yield

    mixer._sample = picky
    mixer.sentence.value = "a <zebra>"
    assert "a &lt;zebra&gt;" in mixer.message.value
    mixer.button.click()
    assert "ValueError: &#x27;a &lt;zebra&gt;&#x27; has words" in mixer.message.value
    assert not mixer.button.disabled


def test_a_notebook_without_a_kernel_shows_the_strip_s_still(mixer):
    bundle = mixer._repr_mimebundle_()
    assert bundle["text/plain"].endswith(
        "for “a red star”, weights of text and content (50, content 40)"
    )
    assert bundle["image/png"] and "<img" in bundle["text/html"]


@pytest.mark.parametrize(
    ("sentences", "references", "grid", "words"),
    [
        ([], REFERENCES, GRID, "at least one of each"),
        ("a star", REFERENCES, GRID, "no list of sentences"),
        (SENTENCES, {}, GRID, "at least one of each"),
        (SENTENCES, REFERENCES, {"text": (0, 1)}, "two weights by name"),
        (SENTENCES, REFERENCES, {"text": (0, 1), "content": (0,)}, "at least two values"),
    ],
)
def test_nothing_to_mix_gets_a_sentence(sentences, references, grid, words):
    with pytest.raises(ValueError, match=words):
        GuidanceMixer(sample, sentences, references, grid)
