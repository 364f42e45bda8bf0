"""Words to point at: where in the picture each is looked at, over the steps of a sampling."""

import time

import pytest
import torch

from labkit.lab import plots
from labkit.lab.attention_maps import over_text, over_words, sampled
from labkit.lab.widgets.attention_explorer import (
    AttentionExplorer,
    draw_looked,
    lit,
    where,
)
from tests.systems.test_ldm import attentive

SAID = "a red star and a blue moon"


@pytest.fixture(scope="module")
def model():
    return attentive()


@pytest.fixture
def explorer(model):
    return AttentionExplorer(model, SAID, steps=4, seed=1, scale=2)


def test_it_begins_in_the_middle_with_a_word_that_some_places_look_at_more(explorer):
    assert explorer.words.words == SAID.split()
    assert explorer.words.chosen == explorer.word.value
    assert (explorer.step.value, explorer.step.max) == (2, 4)
    assert explorer.picture.alt.startswith(f"Step 2 of 4 of “{SAID}”: the guess, and where ")
    assert explorer.picture.image.startswith(b"\x89PNG")


def test_what_is_shown_is_what_the_sampling_looked_at(explorer, model):
    found = list(sampled(model, SAID, steps=4, seed=1, scale=2))
    for step, (state, looked) in enumerate(found, 1):
        own = over_words(over_text(looked, 16)[0], SAID).maps[5]
        explorer.step.value, explorer.word.value = step, 5
        torch.testing.assert_close(explorer._pictures[step - 1], state.pictures[0])
        says = f"“blue” is looked at, from {own.min():.3f} to {own.max():.3f}, most at "
        assert says in explorer.picture.alt
        assert f"it gets {own.mean():.1%} of all attention" in explorer.picture.alt


def test_a_word_pointed_at_and_a_word_moved_to_are_the_same(explorer):
    explorer.words.chosen = 1
    assert explorer.word.value == 1 and "“red”" in explorer.picture.alt
    pointed = explorer.picture.image, explorer.picture.alt
    explorer.word.value = 6
    assert explorer.words.chosen == 6 and "“moon”" in explorer.picture.alt
    assert explorer.picture.image != pointed[0]
    explorer.word.value = 1
    assert (explorer.picture.image, explorer.picture.alt) == pointed


def test_another_step_keeps_the_word(explorer):
    explorer.words.chosen = 2
    before = explorer.picture.image
    explorer.step.value = 4
    assert explorer.picture.alt.startswith("Step 4 of 4") and "“star”" in explorer.picture.alt
    assert explorer.words.chosen == 2 and explorer.picture.image != before


def test_a_sentence_of_one_word_can_be_seen_too(model):
    alone = AttentionExplorer(model, "star", steps=2)
    alone.word.value = 1  # a slider needs two places
    assert alone.words.chosen == 0 and "“star”" in alone.picture.alt
    assert alone.word.value == 0


def test_a_frame_needs_no_sampling_and_less_than_100_ms(explorer, model):
    spent = []
    for step, word in ((1, 0), (2, 1), (3, 2), (4, 3), (1, 4), (2, 5)):
        began = time.process_time()
        explorer.step.value, explorer.words.chosen = step, word
        spent.append((time.process_time() - began) / 2)
    assert sorted(spent)[len(spent) // 2] < 0.1


def test_a_notebook_without_a_kernel_shows_every_word(explorer):
    bundle = explorer._repr_mimebundle_()
    assert bundle["image/png"] and "<img" in bundle["text/html"]
    assert "for each word" in bundle["text/plain"] and "Step 2 of 4" in bundle["text/plain"]


def test_the_picture_is_bright_where_the_word_is_looked_at_most():
    looked = torch.tensor([[0.1, 0.2], [0.1, 0.1]])
    assert where(looked) == (0.75, 0.25)
    light = lit(torch.ones(3, 2, 2), looked)
    assert light[0, 0, 1] == 1 and light[0, 1, 1] == pytest.approx(2 * 0.15 - 1)
    assert lit(torch.ones(3, 2, 2), torch.ones(2, 2)).isfinite().all()


def test_each_word_has_a_bar_and_the_chosen_one_another_color():
    figure, _ = plots.subplots()
    figure.clear()
    shares = torch.tensor([0.1, 0.4, 0.2])
    draw_looked(
        figure, ["a", "red", "star"], torch.zeros(3, 4, 4), torch.rand(4, 4), shares, 0.3, 1
    )
    bars = figure.axes[2].patches
    assert [round(bar.get_width(), 3) for bar in bars] == [0.2, 0.8, 0.4]
    assert len({bar.get_facecolor() for bar in bars}) == 2
    assert bars[0].get_facecolor() == bars[2].get_facecolor()


def test_what_cannot_be_sampled_gets_a_sentence(model):
    for options, says in (
        ({"steps": 1}, "the number of steps is 1"),
        ({"scale": 0}, "scale is 0"),
        ({"eto": 1.0}, "eto"),
    ):
        with pytest.raises(ValueError, match=says):
            AttentionExplorer(model, SAID, **{"steps": 3} | options)
    with pytest.raises(ValueError, match="never read"):
        AttentionExplorer(model, "a zebra", steps=3)
