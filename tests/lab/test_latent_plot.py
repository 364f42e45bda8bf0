"""The drawings of lesson 12, and the linear autoencoder that it compares with."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from labkit import schedule
from labkit.lab import latent_plot, plots


def title(axes):
    """Wherever the style of the process has put it."""
    return axes.get_title(loc="left") or axes.get_title()


def random(*shape):
    return 2 * torch.rand(shape, generator=torch.Generator().manual_seed(0)) - 1


def test_all_components_of_a_square_give_the_picture_back():
    pictures = random(6, 3, 8, 8)
    again = latent_plot.squares_pca(pictures, 4, 48)(pictures)
    assert torch.allclose(again, pictures, atol=1e-5)


def test_components_keep_what_varies_along_them():
    flat = random(9, 1, 1, 1).expand(9, 1, 8, 8)  # gray pictures need one number
    again = latent_plot.squares_pca(flat, 4, 1)
    assert torch.allclose(again(flat), flat, atol=1e-5)
    noise = random(2, 1, 8, 8)
    means = torch.nn.functional.avg_pool2d(noise, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.allclose(again(noise), means, atol=1e-5)


def test_fewer_components_fit_worse():
    pictures = random(20, 3, 8, 8)
    misfits = [
        (latent_plot.squares_pca(pictures, 2, kept)(pictures) - pictures).square().mean()
        for kept in (1, 4, 12)
    ]
    assert misfits[0] > misfits[1] > misfits[2]


@pytest.mark.parametrize(("f", "kept"), [(3, 1), (0, 1), (2, 13), (2, 0)])
def test_squares_that_do_not_fit_are_refused(f, kept):
    with pytest.raises(ValueError):
        latent_plot.squares_pca(random(2, 3, 8, 8), f, kept)


def test_the_diagram_names_both_stages():
    (axis,) = latent_plot.two_stages().axes
    words = " ".join(text.get_text() for text in axis.texts)
    assert all(name in words for name in ("encoder", "decoder", "U-Net", "cross-attention"))


def test_a_latent_s_channels_stand_beside_its_picture():
    latents = random(2, 4, 2, 2)
    figure = latent_plot.channels(random(2, 3, 8, 8), latents)
    names = [text.get_text() for text in figure.texts]
    assert names == ["picture", *(f"channel {n}" for n in range(1, 5))]
    shown = np.asarray(figure.images[0].get_array())
    assert (shown == 0).all(2).any() and (shown == 255).all(2).any()


def test_larger_latents_last_longer_in_noise():
    sizes = {"unit": 1.0, "raw": 5.0}
    figure = latent_plot.signal_left({"cosine": schedule.cosine(100)}, sizes)
    (axis,) = figure.axes
    unit, raw = (np.asarray(line.get_ydata()) for line in axis.lines)
    assert unit[0] == raw[0] == 1 and (raw[1:] > unit[1:]).all()
    half = schedule.cosine(100).alpha_bar[50].sqrt().item()
    assert unit[50] == pytest.approx(half) and title(axis) == "cosine"


def test_a_training_s_losses_have_their_mean_over_them():
    seen = [SimpleNamespace(step=n + 1, loss=1 / (n + 1)) for n in range(30)]
    figure = plots.Figure()
    latent_plot.draw_losses(figure, seen)
    (axis,) = figure.axes
    assert [len(line.get_ydata()) for line in axis.lines] == [30, 11]
    assert title(axis) == "30 updates"


def test_the_sweep_has_a_point_for_each_f():
    rows = {"1": torch.tensor([0.4]), "2": torch.tensor([0.5, 0.7])}
    figure = latent_plot.over_f({"parts": rows, "pictures/s": rows}, logarithmic=["pictures/s"])
    left, right = figure.axes
    assert [label.get_text() for label in left.get_xticklabels()] == ["1", "2"]
    heights = left.containers[0].lines[0].get_ydata()
    assert list(heights) == pytest.approx([0.4, 0.6])
    assert right.get_yscale() == "log" and left.get_yscale() == "linear"
