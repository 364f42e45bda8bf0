"""The shipped weights of GLIDE: pictures show their sentence, holes get what is asked for, and a
larger picture is nearer to the scene than interpolation."""

import pytest
import torch

from benchmarks import inpainting, text_to_scenes, upsampling
from labkit import scenes, zoo
from labkit.scenes import holes
from labkit.scenes.descriptions import descriptions


@torch.no_grad()
def test_pictures_show_most_of_their_own_sentence_and_little_of_another_s():
    truth = scenes.draw(48, 10_007, "train")
    captions = scenes.captions(truth, 0)
    *_, last = zoo.load("glide-scenes").generate(captions, steps=15, scale=3.0, eta=1.0)
    for reader in text_to_scenes.READERS:
        own, _, scene, *_ = text_to_scenes.evaluate(last.x, captions, reader)
        other, *_ = text_to_scenes.evaluate(last.x, captions[1:] + captions[:1], reader)
        assert own > 0.6 and scene > 0.5 and other < own - 0.3


@pytest.fixture(scope="module")
def erased():
    truth = inpainting.drawn(24, seed=40_009)
    mask, chosen = holes.around_one(truth, 32)
    return truth, scenes.render(truth, 32), mask, chosen


@torch.no_grad()
def test_what_is_asked_for_is_painted_into_a_hole_and_known_pixels_stay(erased):
    truth, real, mask, chosen = erased
    captions, system = descriptions(truth, 0), zoo.load("glide-scenes-inpaint")
    *_, last = system.generate(captions, known=(real, mask), steps=15, eta=1.0)
    assert torch.equal(last.x * mask, real * mask)
    seen = zoo.load("reader-scenes").read(last.x)
    assert holes.shown(seen, truth, chosen).double().mean() > 0.6
    assert inpainting.seam(last.x, real, mask) < 2.7  # the base, held to known pixels: 3.4


def test_an_upsampled_scene_is_nearer_to_the_scene_than_an_interpolated_one():
    enlarge = upsampling.upsampled(zoo.load("glide-scenes-upsample"), steps=8)
    _, share = upsampling.of_real(enlarge, 24, 0)
    assert share < 0.35  # of bilinear interpolation's misfit
