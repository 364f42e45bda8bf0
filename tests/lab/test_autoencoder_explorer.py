"""The slider over autoencoders: what comes back of a picture, and what a latent holds."""

import base64
import time
from dataclasses import replace

import pytest
import torch

from labkit import scenes, zoo
from labkit.lab.widgets.autoencoder_explorer import AutoencoderExplorer, tiled
from labkit.nets.autoencoder import AutoencoderConfig
from labkit.systems.autoencoder import FirstStage, FirstStageConfig

F2 = AutoencoderConfig(
    size=64, width=8, multipliers=(1,), blocks=1, latent=2, attention=False, groups=4, fold=2
)


def stage(**changes) -> FirstStage:
    torch.manual_seed(0)
    return FirstStage(FirstStageConfig(replace(F2, **changes))).eval()


@pytest.fixture(scope="module")
def reader():
    return zoo.load("reader-scenes")


@pytest.fixture(scope="module")
def stages():
    return {
        "f = 2": stage(), "f = 4": stage(fold=4, latent=4), "f = 8": stage(fold=8, latent=8),
        "f = 4, VQ": stage(fold=4, latent=4, codebook=16, entries_std=1.0),
    }  # fmt: skip


@pytest.fixture(scope="module")
def drawn():
    return scenes.draw(3, 0, "all")


@pytest.fixture
def explorer(stages, drawn, reader):
    return AutoencoderExplorer(stages, drawn, reader, start="f = 8")


def test_it_begins_with_the_chosen_autoencoder_and_says_what_the_figure_shows(explorer):
    assert explorer.values == {"name": "f = 8", "picture": 1}
    assert explorer.controls["name"].description == "autoencoder"
    assert explorer.picture.alt.startswith("Picture 1, its reconstruction by f = 8, ")
    assert "8 × 8 × 8 = 512 numbers, the picture 12288" in explorer.picture.alt
    assert explorer.picture.image.startswith(b"\x89PNG")


def test_the_misfit_is_that_of_the_picture_and_autoencoder_that_are_shown(explorer, stages, drawn):
    pictures = scenes.render(drawn, 64)
    for name, own in stages.items():
        again = own.reconstruct(pictures)
        for number in (1, 3):
            explorer.controls["name"].value = name
            explorer.controls["picture"].value = number
            gap = again[number - 1] - pictures[number - 1]
            assert f": misfit {gap.square().mean().sqrt():.3f};" in explorer.picture.alt
    assert explorer.picture.alt.startswith("Picture 3, its reconstruction by f = 4, VQ")
    assert "16 × 16 places, each one of 16 entries" in explorer.picture.alt


def test_going_there_and_back_gives_the_same_figure_for_every_shape_of_latent(explorer):
    before = explorer.picture.image
    for name in ("f = 2", "f = 4, VQ", "f = 8"):
        explorer.controls["name"].value = name
        assert explorer.message.value == ""
    assert explorer.picture.image == before


def test_what_the_reader_sees_of_a_good_and_of_a_bad_reconstruction_is_told_apart(
    stages, drawn, reader
):
    good = stage()
    good.reconstruct = lambda pictures: pictures
    explorer = AutoencoderExplorer({"good": good, "bad": stages["f = 8"]}, drawn, reader)
    assert ": all (of the picture itself: all)" in explorer.picture.alt
    assert "misfit 0.000" in explorer.picture.alt
    explorer.controls["name"].value = "bad"
    assert "shape 0, color 0, fill 0, size 0, place 0" in explorer.picture.alt


def test_a_frame_needs_no_network_and_less_than_100_ms(explorer, stages):
    for own in stages.values():
        own.autoencoder.forward = None
    spent = []
    for name in (*stages, *stages):
        began = time.process_time()
        explorer.controls["name"].value = name
        spent.append(time.process_time() - began)
    assert sorted(spent)[len(spent) // 2] < 0.1


def test_a_notebook_without_a_kernel_shows_every_autoencoder(explorer, stages):
    bundle = explorer._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert "<img" in bundle["text/html"]
    assert all(f"{name}: misfit" in bundle["text/plain"] for name in stages)


def test_each_channel_of_a_latent_is_a_tile_and_gray_is_its_mean():
    z = torch.zeros(2, 3, 4, 4)
    z[:, 1, :2], z[:, 1, 2:] = 1, -1
    tiles = tiled(z)
    assert tiles.shape == (2, 3, 68, 68)  # two rows of two, 34 pixels each
    assert tiles[0, 0, 17, 17] == 0  # a channel that never changes
    assert tiles[0, 0, 10, 50] > 0.4 and tiles[0, 0, 25, 50] < -0.4
    assert (tiles[:, :, 34:, 34:] == 1).all()  # there is no fourth
    assert tiled(z[:, :2]).shape == (2, 3, 68, 68) and (tiled(z[:, :2])[..., 34:, :] == 1).all()


def test_what_does_not_fit_together_gets_a_sentence(stages, drawn, reader):
    two = dict(list(stages.items())[:2])
    for fails, says in (
        (lambda: AutoencoderExplorer({"f = 2": stages["f = 2"]}, drawn, reader), "1 autoencoders"),
        (lambda: AutoencoderExplorer(two, scenes.draw(1, 0), reader), "and 1 scenes"),
        (lambda: AutoencoderExplorer(two, drawn, reader, start="f = 3"), "start is 'f = 3'"),
        (
            lambda: AutoencoderExplorer(two | {"small": stage(size=32)}, drawn, reader),
            "pictures of 32, 64 pixels a side; give some of one size",
        ),
    ):
        with pytest.raises(ValueError, match=says):
            fails()
