"""The tables of latent diffusion, on tiny models."""

import math
import sys

import pytest
import torch

from benchmarks import autoencoders, latent_diffusion, latent_table, scene_figures
from labkit import denoiser, scenes
from labkit.lab import latent_table as stored
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


def test_the_rows_of_the_sweep_differ_in_their_latents_alone():
    configs = {row: latent_table.config_of(row) for row in latent_table.ROWS}
    sides = {row: config.net.size // config.net.fold for row, config in configs.items()}
    assert [*sides.values()] == [64, 32, 16, 8, 16, 16]
    for config in configs.values():
        deepest = (config.net.size // config.net.fold) >> (len(config.net.multipliers) - 1)
        assert deepest == 4 and config.net.multipliers[-2:] == (1.25, 1.5)
        assert config.text == configs["f = 4"].text
    model = latent_table.built("f = 1", {})
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    assert model.latents(x).equal(x) and model.decode(x).equal(x)


def test_what_was_stored_keeps_its_other_rows_and_says_nothing_of_what_was_not_measured(tmp_path):
    path = tmp_path / "table.json"
    for name, runs in {"real": [[math.nan, 0.5]], "f = 4": [[3.0, 0.25], [5.0, 0.75]]}.items():
        file = latent_table.File(path)
        file.table("sweep", ("updates", "parts"), seconds=8)
        file.row("sweep", name, runs)
    table = stored.stored(path)["sweep"]
    assert table["seconds"] == 8 and [*table["rows"]] == ["real", "f = 4"]
    assert stored.column(table, "f = 4", "updates").tolist() == [3, 5]
    assert stored.column(table, "f = 4", "parts").tolist() == [0.25, 0.75]
    assert stored.column(table, "real", "updates").isnan().all()


def test_only_while_the_unscaled_row_trains_may_its_loss_be_of_large_latents():
    with pytest.raises(RuntimeError), latent_table.loss_of(latent_table.UNSCALED):
        assert denoiser.LARGEST == 100
        raise RuntimeError
    assert denoiser.LARGEST == 3
    with latent_table.loss_of("f = 4"):
        assert denoiser.LARGEST == 3


def test_real_scenes_are_near_the_real_ones_and_gray_is_not():
    pictures, captions = latent_table.asked(70, 0)
    own = scene_figures.measured(pictures, captions, 64)
    gray = scene_figures.measured(torch.rand_like(pictures) * 2 - 1, captions, 64)
    assert own[0] > 0.95 and own[2] > 0.9 and gray[3] > 20 * own[3]
