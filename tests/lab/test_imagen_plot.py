"""The drawings of lesson 11."""

import pytest
import torch
from matplotlib.figure import Figure

from labkit.lab import imagen_plot, plots
from labkit.nets.t5 import DistanceBias, T5Config


def title(axes):
    """Wherever the style of the process has put it."""
    return axes.get_title(loc="left") or axes.get_title()


def test_the_diagram_names_the_reader_and_all_three_models():
    (axis,) = imagen_plot.one_cascade().axes
    said = " ".join(text.get_text() for text in axis.texts)
    assert all(name in said for name in ("T5, frozen", "base", "sr64", "sr128", "noise"))


def test_the_drawn_buckets_are_of_both_sides_and_the_biases_those_of_each_head():
    bias = DistanceBias(T5Config(width=8, heads=3))
    buckets, learned = imagen_plot.distances(bias).axes
    distance, bucket = buckets.lines[0].get_data()
    assert (distance[0], bucket[0]) == (-128, 15) and (distance[-1], bucket[-1]) == (128, 31)
    assert len(learned.lines) == 3
    at_zero = [line.get_ydata()[16] for line in learned.lines]
    assert at_zero == pytest.approx(bias.bias.weight[0].tolist())


def test_a_map_of_cosines_has_the_words_at_both_sides():
    figure = imagen_plot.word_cosines({"one": torch.zeros(2, 3)}, ["a", "b"], ["c", "d", "e"])
    axis = figure.axes[0]
    assert [text.get_text() for text in axis.get_yticklabels()] == ["a", "b"]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["c", "d", "e"]
    assert axis.images[0].get_clim() == (-0.8, 0.8)


def test_the_meeting_of_words_is_two_curves_over_the_updates():
    figure = Figure()
    imagen_plot.draw_meeting(figure, [(0, 0.0, -0.1), (50, 0.5, -0.2)])
    same, other = figure.axes[0].lines
    assert same.get_xdata().tolist() == [0, 50] and same.get_ydata().tolist() == [0, 0.5]
    assert other.get_ydata().tolist() == [-0.1, -0.2]


def test_shares_outside_are_drawn_in_percent_for_each_scale():
    figure = imagen_plot.outside({1.0: torch.tensor([0.0, 0.1])}, (200, 800))
    (line,) = figure.axes[0].lines
    assert line.get_ydata().tolist() == pytest.approx([0, 10]) and line.get_label() == "scale 1"


def test_each_way_has_a_curve_over_the_scales_with_its_error():
    runs = {"none": torch.tensor([[0.1, 0.3], [0.2, 0.2]]), "static": torch.zeros(2, 2)}
    figure = imagen_plot.over_scales({"parts": runs}, (1, 10))
    (axis,) = figure.axes
    assert title(axis) == "parts"
    assert axis.lines[0].get_ydata().tolist() == pytest.approx([0.2, 0.2])
    assert [text.get_text() for text in axis.get_xticklabels()] == ["1", "10"]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["none", "static"]
    assert plots.png(figure)
