"""The drawings of lesson 06."""

import pytest
import torch

from labkit.lab import classifier_free_plot, plots

POINTS = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))


def test_a_window_of_the_loss_is_drawn_at_its_middle():
    figure, _ = plots.subplots()
    figure.clear()
    classifier_free_plot.training(figure, [float(k) for k in range(60)], "p = 0.1", window=25)
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [12.5, 37.5]
    assert line.get_ydata().tolist() == [12, 37]


def test_only_the_difference_is_drawn_around_zero():
    pictures = {name: torch.zeros(1, 1, 4, 4) for name in ("a", "difference")}
    figure = classifier_free_plot.predictions(pictures, signed="difference")
    assert [each.images[0].get_cmap().name for each in figure.axes] == ["gray", "PuOr"]


def test_the_guided_prediction_lies_beyond_the_conditional_one():
    eps_u, eps_c = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.5])
    (axes,) = classifier_free_plot.extrapolation(eps_u, eps_c, 3.0).axes
    drawn = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines]
    assert drawn == [(0, 0), (1, 0.5), (3, 1.5)]


def test_scales_stand_at_equal_distances_with_their_floor():
    runs = torch.rand(3, 2) / 100 + 0.002
    columns = {"Fréchet": (runs, 0.003), "right class": (runs, None)}
    first, second = classifier_free_plot.against_scale((0, 1, 8), columns).axes
    assert first.get_yscale() == "log" and second.get_yscale() == "linear"
    assert [tick.get_text() for tick in first.get_xticklabels()] == ["0", "1", "8"]
    assert first.lines[-1].get_ydata()[0] == pytest.approx(0.003)


def test_the_right_samples_are_blue():
    panels = {"right": POINTS, "wrong": POINTS}
    figure = classifier_free_plot.clouds(POINTS, panels, right="right")
    colors = [each.collections[1].get_facecolor()[0].tolist() for each in figure.axes]
    assert colors[0] != colors[1]


def test_six_panels_stand_in_two_rows():
    panels = dict.fromkeys("abcdef", POINTS)
    axes = classifier_free_plot.clouds(POINTS, panels, right="a").axes
    assert [each.get_title() for each in axes] == [*"abcdef"]
    assert axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 3)
