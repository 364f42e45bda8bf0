"""The drawings of lesson 09: attention over a sentence, guidance over its scale, a training."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

from labkit.lab import glide_plot, plots


def title(axes):
    """Wherever the style of the process has put it."""
    return axes.get_title(loc="left") or axes.get_title()


def test_each_word_s_map_is_as_bright_as_its_own_brightest_pixel():
    maps = torch.zeros(2, 4, 4)
    maps[0, 1, 2], maps[1, 3, 3] = 0.5, 0.01
    figure = glide_plot.over_sentence([torch.zeros(3, 4, 4)], [maps], ["a", "star"])
    texts = [text.get_text() for text in figure.texts]
    assert texts == ["", "a", "star"]
    (canvas,) = figure.images
    shown = np.asarray(canvas.get_array())
    white = (shown == 255).all(2)
    black = (shown == 0).all(2)
    assert white.any() and black.sum() > 20 * 96**2 // 16  # two maps, each with 15 of 16 black


def test_a_pixel_s_weights_are_shared_between_text_and_pixels():
    weights = torch.cat([torch.full((3,), 0.2), torch.full((4,), 0.1)])
    picture = torch.zeros(3, 8, 8)
    figure = glide_plot.of_one_pixel(picture, weights, ["<begin>", "star", "<end>"], (1, 0), 2)
    _, middle, right = map(title, figure.axes)
    assert (middle, right) == ("to the text: 60%", "to pixels: 40%")
    heights = [bar.get_height() for bar in figure.axes[1].patches]
    assert heights == pytest.approx([0.2] * 3)
    frames = [[p for p in axis.patches if isinstance(p, Rectangle)][0] for axis in figure.axes[::2]]
    assert [frame.get_xy() for frame in frames] == [(-0.5, 3.5), (-0.5, 0.5)]


def test_padding_is_named_once_under_its_bars():
    figure = glide_plot.of_one_pixel(torch.zeros(3, 8, 8), torch.full((8,), 1 / 8),
                                     ["<begin>", "<end>", "", ""], (0, 0), 2)  # fmt: skip
    (label,) = figure.axes[1].texts
    assert label.get_text() == "padding" and label.get_position()[0] == 2.5


def test_two_ways_of_guidance_stand_side_by_side_with_the_ceiling():
    runs = {"free": ((1, 3, 5), torch.rand(3, 4)), "CLIP": ((50, 400), torch.rand(2, 4))}
    panels = {"parts": runs, "valid": runs}
    figure = glide_plot.against_scale(panels, {"parts": 0.97})
    assert [title(axis) for axis in figure.axes] == ["parts", "valid"]
    for axis in figure.axes:
        curves = list(axis.containers)
        assert [each.get_label() for each in curves] == ["free", "CLIP"]
        assert list(curves[1].lines[0].get_xdata()) == [0, 1]
        heights = [float(height) for height in curves[0].lines[0].get_ydata()]
        assert heights == pytest.approx(runs["free"][1].mean(1).tolist())
    dotted = [line for line in figure.axes[0].lines if line.get_linestyle() == ":"]
    assert [set(line.get_ydata()) for line in dotted] == [{0.97}]
    assert not [line for line in figure.axes[1].lines if line.get_linestyle() == ":"]


def test_a_training_s_mean_stands_in_the_middle_of_its_window():
    seen = [SimpleNamespace(step=k + 1, loss=2.0**-k) for k in range(5)]
    figure, axis = plots.subplots()
    axis.remove()
    glide_plot.draw_training(figure, seen, window=3)
    raw, mean = figure.axes[0].lines
    assert (len(raw.get_ydata()), list(mean.get_xdata())) == (5, [1, 2, 3])
    assert mean.get_ydata()[0] == pytest.approx(1.75 / 3)
    assert title(figure.axes[0]) == "5 updates"


def test_shares_of_each_kind_stand_side_by_side_and_what_nobody_said_has_no_height():
    shares = {"model": {"color": 0.9, "shape": 0.6}, "real": {"color": 1.0}}
    figure = glide_plot.by_kind(shares, ["color", "shape"])
    (axis,) = figure.axes
    heights = [[bar.get_height() for bar in each] for each in axis.containers]
    assert heights == [[0.9, 0.6], [1.0, 0.0]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["model", "real"]
    left, right = (each[0].get_x() for each in axis.containers)
    assert left < right


def test_both_ways_of_the_text_lead_from_the_transformer_into_the_network():
    (axis,) = glide_plot.two_routes().axes
    texts = [text.get_text() for text in axis.texts]
    for name in ("text transformer", "last position", "time embedding", "all positions", "U-Net"):
        assert texts.count(name) == 1
    assert texts.count("pad") == 2
