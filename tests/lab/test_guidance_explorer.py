"""The guidance explorer: strips sampled beforehand, and a free choice sampled live."""

import time

import pytest
import torch

from labkit.lab.widgets.guidance_explorer import GuidanceExplorer
from labkit.sampler import State

seen = []


def sample(labels, scale, x):
    """Pictures whose gray is the label and whose spread is the noise's, in four steps."""
    seen.append((list(labels), scale.tolist(), x))
    gray = torch.tensor(labels).float().div(9).view(-1, 1, 1, 1)
    for t in (75, 50, 25, 0):
        yield State(t, (gray + scale.view(-1, 1, 1, 1) * 0.01 * x), x)


@pytest.fixture
def explorer():
    seen.clear()
    return GuidanceExplorer(sample, range(3), (0, 1, 4), shape=(1, 8, 8), columns=2)


def test_every_class_and_scale_is_sampled_in_one_batch_from_the_same_noises(explorer):
    assert len(seen) == 1
    labels, scales, x = seen[0]
    assert labels == [0] * 6 + [1] * 6 + [2] * 6
    assert scales == [0, 0, 1, 1, 4, 4] * 3
    assert torch.equal(x, explorer.noise(0).repeat(9, 1, 1, 1))
    assert explorer.strip._names == ["0", "1", "2"]
    assert [len(strip) for strip in explorer.strip._frames] == [3, 3, 3]
    assert len({frame for strip in explorer.strip._frames for frame in strip}) == 9


def test_a_free_choice_is_sampled_with_progress(explorer):
    explorer.choice.value, explorer.scale.value, explorer.seed.value = 2, 2.5, 7
    heard = []
    explorer.progress.observe(lambda change: heard.append(change["new"]), "value")
    explorer.button.click()
    labels, scales, x = seen[-1]
    assert (labels, scales) == ([2, 2], [2.5, 2.5])
    assert torch.equal(x, explorer.noise(7))
    assert heard == sorted(heard) and len(heard) >= 4 and heard[-1] == 1
    assert explorer.picture.image.startswith(b"\x89PNG")
    assert "class 2 at scale 2.5 from seed 7" in explorer.picture.alt
    assert not explorer.button.disabled


def test_the_button_is_lit_while_the_choice_is_not_what_is_sampled(explorer):
    lit = "primary", "press Sample for class 0 at scale 1 from seed 1"
    assert (explorer.button.button_style, explorer.message.value) == lit
    assert explorer.progress.value == 0
    explorer.button.click()
    assert (explorer.button.button_style, explorer.message.value) == ("", "")
    assert explorer.progress.value == 1
    explorer.scale.value = 4
    assert explorer.button.button_style == "primary" and "at scale 4 " in explorer.message.value
    assert explorer.progress.value == 0
    explorer.scale.value = 1
    assert (explorer.button.button_style, explorer.message.value) == ("", "")


def test_turning_to_another_class_needs_no_sampling(explorer):
    began = time.perf_counter()
    explorer.strip.row, explorer.strip.index = 2, 1
    assert time.perf_counter() - began < 0.1
    assert len(seen) == 1


def test_what_goes_wrong_while_sampling_is_one_line_and_the_button_works_again(explorer):
    def broken(labels, scale, x):
        raise ValueError("no <sample> left")
        yield

    explorer._sample = broken
    explorer.button.click()
    assert "ValueError: no &lt;sample&gt; left" in explorer.message.value
    assert not explorer.button.disabled


def test_a_notebook_without_a_kernel_shows_one_class_at_every_scale(explorer):
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"].startswith("Class 1: a row for each scale, from 0 to 4; each of")
    assert bundle["image/png"] and "<img" in bundle["text/html"]


@pytest.mark.parametrize(("classes", "scales"), [((), (0, 1)), (range(3), (1,))])
def test_nothing_to_explore_gets_a_sentence(classes, scales):
    with pytest.raises(ValueError, match="at least one class, and two scales"):
        GuidanceExplorer(sample, classes, scales, shape=(1, 8, 8))
