"""The prompt explorer: a strip of scales sampled beforehand, and a sentence sampled live."""

import pytest
import torch

from labkit.lab.widgets.prompt_explorer import PromptExplorer
from labkit.sampler import State

seen = []
SENTENCES = ["a red star", "two moons"]


def generate(prompts, *, scale, steps, seed, negative):
    """Pictures whose gray says what the scale is, in so many steps."""
    seen.append((prompts, scale, steps, seed, negative))
    x = torch.randn(len(prompts), 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    for t in reversed(range(steps)):
        yield State(t, 0.1 * x + scale / 20, x)


@pytest.fixture
def explorer():
    seen.clear()
    return PromptExplorer(generate, SENTENCES, scales=(1, 3, 6), steps=5, columns=2)


def test_each_scale_is_sampled_beforehand_from_the_same_seed(explorer):
    assert seen == [(["a red star"] * 2, scale, 5, 0, None) for scale in (1, 3, 6)]
    assert explorer.strip._labels == ["scale 1", "scale 3", "scale 6"]
    assert len(set(explorer.strip._frames[0])) == 3


def test_a_typed_sentence_is_sampled_with_progress(explorer):
    explorer.sentence.value, explorer.negative.value = "a blue moon", "a star"
    explorer.scale.value, explorer.steps.value, explorer.seed.value = 4.5, 8, 7
    heard = []
    explorer.progress.observe(lambda change: heard.append(change["new"]), "value")
    explorer.button.click()
    assert seen[-1] == (["a blue moon"] * 2, 4.5, 8, 7, "a star")
    assert heard == sorted(heard) and len(heard) >= 8 and heard[-1] == 1
    assert explorer.picture.image.startswith(b"\x89PNG")
    chosen = "“a blue moon”, not “a star”: scale 4.5, 8 steps, seed 7"
    assert explorer.picture.alt == f"2 pictures: {chosen}"


def test_a_line_of_spaces_is_no_negative_prompt(explorer):
    explorer.negative.value = "  "
    explorer.button.click()
    assert seen[-1][-1] is None and ", not" not in explorer.chosen


def test_the_button_is_lit_while_the_choice_is_not_what_is_sampled(explorer):
    explorer.button.click()
    assert (explorer.button.button_style, explorer.message.value) == ("", "")
    explorer.steps.value = 9
    assert explorer.button.button_style == "primary"
    assert "press Sample for" in explorer.message.value


def test_a_sentence_that_cannot_be_read_is_one_line_and_the_button_works_again(explorer):
    def picky(prompts, **options):
        raise ValueError(f"'{prompts[0]}' has words that this model has never read (<zebra>)")

    explorer._generate = picky
    explorer.sentence.value = "a <zebra>"
    explorer.button.click()
    assert "ValueError: &#x27;a &lt;zebra&gt;&#x27; has words" in explorer.message.value
    assert not explorer.button.disabled


def test_a_notebook_without_a_kernel_shows_the_strip_s_still(explorer):
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == "2 pictures, one per noise, of “a red star” (scale 3)"
    assert bundle["image/png"] and "<img" in bundle["text/html"]


@pytest.mark.parametrize(
    ("sentences", "scales"), [([], (1, 3)), ("a star", (1, 3)), (SENTENCES, (1,))]
)
def test_nothing_to_explore_gets_a_sentence(sentences, scales):
    with pytest.raises(ValueError, match="at least one sentence, and two scales"):
        PromptExplorer(generate, sentences, scales)
