"""The film of a cascade: what every stage sees and draws, step by step."""

import base64

import pytest
import torch
import torch.nn.functional as F

from labkit.lab.widgets import cascade_film
from labkit.lab.widgets.cascade_film import CascadeFilm, filmed, labels
from tests.systems.test_imagen import whole

SAID = "a red star"
OPTIONS = {"steps": {"base": 3, "sr32": 2, "sr64": 2}, "level": {"sr32": 0.0, "sr64": 0.3}}


@pytest.fixture(scope="module")
def model():
    return whole().requires_grad_(False)


@pytest.fixture(scope="module")
def film(model):
    return CascadeFilm(model, SAID, seed=3, **OPTIONS)


def test_every_step_of_every_stage_is_a_frame_and_says_so(film):
    assert labels(film.film) == film._labels
    assert film._labels[0].startswith("base, step 1 of 3 (t = ")
    assert film._labels[3].startswith("sr32, step 1 of 2 (t = ")
    assert film._labels[-1] == "sr64, step 2 of 2 (t = 0)"
    assert len(film._frames[0]) == 7 and len(set(film._frames[0])) == 7
    assert [frame.side for frame in film.film] == [16] * 3 + [32] * 2 + [64] * 2


def test_the_pictures_are_those_of_the_model(film, model):
    states = list(model.generate([SAID], seed=3, **OPTIONS))
    for frame, state in zip(film.film, states, strict=True):
        assert (frame.stage, frame.t) == (state.stage, state.t)
        assert torch.equal(frame.x, state.x[0]) and torch.equal(frame.x0, state.pictures[0])


def test_a_stage_sees_what_the_one_before_drew_enlarged_and_with_its_noise(film):
    base, sr32, sr64 = film.film[2], film.film[3], film.film[-1]
    assert base.seen is None
    larger = F.interpolate(base.x0[None], (32, 32), mode="bilinear")[0]
    torch.testing.assert_close(sr32.seen, larger, atol=1 / 127, rtol=0)  # rounded as a file is
    larger = F.interpolate(film.film[4].x0[None], (64, 64), mode="bilinear")[0]
    assert (sr64.seen - larger).std() > 0.1
    assert torch.equal(film.film[-2].seen, sr64.seen)  # the same noise in every step


def test_nothing_is_left_behind_in_the_model(model):
    filmed(model, SAID, seed=0, **OPTIONS)
    assert not any(module._forward_pre_hooks for module in model.modules())
    with pytest.raises(ValueError):
        filmed(model, SAID, level=2.0)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_notebook_without_a_kernel_shows_each_stage_in_a_row(film):
    bundle = film._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert "base, 16 × 16, sr32, 32 × 32, sr64, 64 × 64 pixels" in bundle["text/plain"]
    assert SAID in bundle["text/html"]


def test_guidance_asks_twice_and_the_film_has_one_picture(model):
    frames = filmed(model, SAID, scale=2.0, steps=2)
    assert all(frame.x.ndim == 3 for frame in frames)
    assert frames[-1].seen.shape == frames[-1].x.shape == (3, 64, 64)
    assert cascade_film.SIZE[0] * 96 <= 780
