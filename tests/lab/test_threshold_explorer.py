"""The sliders over guidance scale and threshold: what a threshold does to a guess."""

import base64
import time

import pytest
import torch

from labkit.denoiser import clip, dynamic_threshold
from labkit.lab.widgets.threshold_explorer import (
    ThresholdExplorer,
    bars,
    saturation,
    thresholds,
    walked,
)
from labkit.systems.imagen_stage import ImagenStage
from tests.systems.test_imagen import BASE, SR32, awake, text

SAID = "a red star"


@pytest.fixture(scope="module")
def stage():
    return awake(ImagenStage(BASE)).requires_grad_(False)


@pytest.fixture(scope="module")
def explorer(stage):
    return ThresholdExplorer(stage, text(SAID), scales=(1, 30), p=(0.9,), steps=3, seed=2)


def choose(explorer, **values):
    for name, value in values.items():
        explorer.controls[name].value = value


def test_each_walk_is_the_stages_own_with_that_scale_and_threshold(stage):
    rules = thresholds((0.9,))
    walks = walked(stage, text(SAID), (1, 30), rules, 3, 2)
    near = {"atol": 2e-3, "rtol": 2e-3}  # a batch of another size rounds otherwise
    assert walks.before.shape == walks.after.shape == (3, 2, 3, 3, 16, 16)
    for row, map_x0 in enumerate((lambda x0: x0, clip, dynamic_threshold(0.9))):
        for column, scale in enumerate((1, 30)):
            states = stage.generate(text(SAID), steps=3, scale=scale, seed=2, map_x0=map_x0)
            for step, state in enumerate(states):
                torch.testing.assert_close(walks.after[row, column, step], state.x0[0], **near)
            torch.testing.assert_close(walks.final[row, column], state.x[0], **near)
            again = torch.stack([map_x0(x0[None])[0] for x0 in walks.before[row, column]])
            torch.testing.assert_close(walks.after[row, column], again)


def test_it_begins_with_the_largest_scale_and_no_threshold(explorer):
    choose(explorer, scale="30", threshold="none", step=1)
    said = explorer.picture.alt
    assert said.startswith("Guidance scale 30, threshold none, step 1 of 3: the guess, ")
    assert explorer.picture.image.startswith(b"\x89PNG")
    assert list(explorer.controls["threshold"].options) == ["none", "static", "dynamic, p = 90 %"]
    assert explorer.controls["scale"].description == "guidance scale"


def test_what_is_said_is_the_saturation_of_the_walk_that_is_shown(explorer):
    walks = explorer._walks
    for row, threshold in enumerate(("none", "static", "dynamic, p = 90 %")):
        choose(explorer, scale="30", threshold=threshold, step=2)
        before, after = (part[row, 1, 1] for part in walks[:2])
        assert f"beyond: {saturation(before):.1%} of the guess before" in explorer.picture.alt
        assert f"{saturation(after):.1%} after it (largest {after.abs().max():.2f})" in (
            explorer.picture.alt
        )
        assert explorer.picture.alt.endswith(f"at the end {saturation(walks.final[row, 1]):.1%}")


def test_the_shares_of_the_histogram_are_those_of_all_numbers_and_none_is_lost():
    x0 = torch.tensor([-50.0, -1.0, 0.01, 0.02, 7.0]).view(1, 1, 5)
    shares = bars(x0)
    assert shares.shape == (61,)
    assert shares[0] == shares[-1] == pytest.approx(0.2)
    assert shares[30] == pytest.approx(0.4)
    assert shares[shares > 0.01].sum() == pytest.approx(1)
    assert saturation(x0) == pytest.approx(0.6)


def test_going_there_and_back_gives_the_same_figure(explorer):
    choose(explorer, scale="30", threshold="none", step=2)
    before = explorer.picture.image
    for values in ({"scale": "1"}, {"threshold": "static"}, {"step": 3}):
        choose(explorer, **values)
        assert explorer.message.value == "" and explorer.picture.image != before
    choose(explorer, scale="30", threshold="none", step=2)
    assert explorer.picture.image == before


def test_a_frame_needs_no_network_and_less_than_100_ms(explorer, stage, monkeypatch):
    monkeypatch.setattr(stage.denoiser, "forward", None)
    spent = []
    for step, scale in ((1, "1"), (2, "30"), (3, "1"), (1, "30")):
        began = time.process_time()
        choose(explorer, step=step)
        spent.append(time.process_time() - began)
        choose(explorer, scale=scale)
    assert sorted(spent)[len(spent) // 2] < 0.1


def test_a_notebook_without_a_kernel_shows_every_scale_and_threshold(explorer):
    bundle = explorer._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    for name in ("none", "static", "dynamic, p = 90 %"):
        assert f"{name}, scale 30: " in bundle["text/plain"]


def test_what_cannot_be_explored_gets_a_sentence(stage):
    for fails, says in (
        (lambda: ThresholdExplorer(stage, text(SAID), scales=(3,)), "there are 1 scales"),
        (lambda: ThresholdExplorer(stage, text(SAID, SAID)), "2 sentences, but one is"),
        (lambda: ThresholdExplorer(stage, text(SAID), p=(0,)), "p is 0, but must be"),
        (lambda: ThresholdExplorer(stage, text(SAID), steps=1), "number of steps"),
        (lambda: ThresholdExplorer(stage, SAID), "hears embeddings"),
        (
            lambda: ThresholdExplorer(awake(ImagenStage(SR32)), text(SAID)),
            "makes pictures of 16 pixels larger; give the base",
        ),
    ):
        with pytest.raises(ValueError, match=says):
            fails()
