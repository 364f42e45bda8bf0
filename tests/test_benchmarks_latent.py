"""The tables of latent diffusion, on tiny models."""

import math
import sys

import pytest
import torch

from benchmarks import autoencoders, latent_diffusion
from labkit import scenes
from tests.machines import tiny


def test_real_scenes_of_64_pixels_show_what_their_sentences_say():
    truth = scenes.draw(20, 0, "all")
    parts, whole, valid, rate = latent_diffusion.evaluate(
        scenes.render(truth, 64), scenes.captions(truth, 0)
    )
    assert parts > 0.95 and whole > 0.8 and valid > 0.9 and math.isnan(rate)


def test_what_a_latent_model_draws_is_measured_in_pictures_not_in_latents(monkeypatch, capsys):
    ldm = tiny.system("ldm").eval()  # of 16 pixels, which the reader of 32 must not get as they are
    large = torch.nn.Upsample(scale_factor=4)
    monkeypatch.setattr(ldm, "decode", lambda z, own=ldm.decode: large(own(z)))
    monkeypatch.setattr("labkit.systems.ldm.keep_known", lambda *_: lambda x: x)
    monkeypatch.setattr(latent_diffusion, "system_of", lambda path, name: ldm)
    monkeypatch.setattr(latent_diffusion, "ROWS", 3)
    options = ["tiny", "--samples", "4", "--seeds", "2", "--steps", "2"]
    monkeypatch.setattr(sys, "argv", ["latent_diffusion", *options])
    latent_diffusion.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| real", "| tiny", "| tiny, shuffled"]
    captions = ["a red star"] * 4
    pictures, rate = latent_diffusion.draw(ldm, captions, 0, steps=2, scale=1.0)
    assert pictures.shape == (4, 3, 64, 64) and pictures.abs().max() <= 1 and rate > 0


def test_a_codebook_says_as_much_as_the_entries_that_are_used():
    assert autoencoders.entropy(torch.tensor([[3, 3], [3, 3]])) == 0
    four = torch.tensor([5, 0, 9, 1022]).repeat(10)
    assert autoencoders.entropy(four) == pytest.approx(math.log(4))
