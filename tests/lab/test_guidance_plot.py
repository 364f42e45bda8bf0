"""The drawings of lesson 05."""

import pytest
import torch

from labkit.lab import guidance_plot, plots
from labkit.mixture import GaussianMixture

POINTS = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
PAIR = GaussianMixture([[-0.7], [0.7]], 0.5)


def title(axes):
    """At the left in the lessons' style, in the middle without it."""
    return axes.get_title("left") or axes.get_title()


def test_a_window_of_the_loss_is_drawn_at_its_middle():
    figure, _ = plots.subplots()
    figure.clear()
    guidance_plot.training(figure, [float(k) for k in range(1, 23)], "22 updates", window=20)
    every, means, chance = figure.axes[0].lines
    assert every.get_xdata().tolist() == list(range(1, 23))
    assert means.get_xdata().tolist() == pytest.approx(means.get_ydata().tolist())
    assert chance.get_ydata()[0] == pytest.approx(2.3026, abs=1e-4)


def test_a_loss_shorter_than_the_window_has_no_mean_yet():
    figure, _ = plots.subplots()
    figure.clear()
    guidance_plot.training(figure, [2.0, 1.0], "2 updates")
    assert len(figure.axes[0].lines) == 2


def test_at_scale_1_both_gradients_are_equal_and_at_scale_4_they_are_not():
    line = torch.linspace(-2.5, 2.5, 101, dtype=torch.float64)[:, None]
    left, right = guidance_plot.scaled(PAIR, line, (1, 4)).axes
    one, sharp_one, four, sharp_four = (each.get_ydata() for each in left.lines)
    assert sharp_one == pytest.approx(one)
    assert abs(sharp_four - four).max() > 1
    width = (line[1] - line[0]).item()
    assert [each.get_ydata().sum() * width for each in right.lines] == pytest.approx(
        [1, 1, 1], 0.01
    )


def test_the_last_field_lies_over_the_one_under_it():
    arrows = {"score": POINTS, "sum": 2 * POINTS}
    first, last = guidance_plot.fields(POINTS, POINTS, arrows, under=POINTS).axes
    assert (len(first.collections), len(last.collections)) == (2, 3)


def test_samples_have_a_panel_for_each_title_and_a_legend_where_two_are_compared():
    one = guidance_plot.samples(POINTS, {"a": {"x": POINTS}, "b": {"x": POINTS}}, (-2, 2), (-2, 2))
    assert [title(each) for each in one.axes] == ["a", "b"]
    assert one.axes[0].get_legend() is None
    two = {name: {"x": POINTS, "y": POINTS} for name in "ab"}
    figure = guidance_plot.samples(POINTS, two, (-2, 2), (-2, 2))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["x", "y"]


def test_pictures_stand_over_their_gradients():
    images = torch.randn(3, 4, 4)
    figure = guidance_plot.ink(images, 2 * images, ["a", "b", "c"], ["d", "e", "f"])
    assert [title(each) for each in figure.axes] == list("abcdef")
    assert figure.axes[3].images[0].get_clim()[1] == pytest.approx(2 * images[0].abs().max().item())


def test_curves_and_trades_have_a_panel_for_each_number():
    figure = guidance_plot.readings((1, 2), {"a": torch.ones(3, 2)}, ("x", "y", "z"), "pqr")
    assert [title(each) for each in figure.axes] == ["x", "y", "z"]
    assert [each.get_ylabel() for each in figure.axes] == ["p", "q", "r"]
    results = {("a", 0): torch.ones(2, 3), ("a", 1): torch.ones(2, 3), ("b", 0): torch.ones(2, 3)}
    figure = guidance_plot.trade(results, ("p", "q", "r"), [0.5, 0.5])
    assert [len(each.containers) for each in figure.axes] == [2, 2, 2]
    floors = [any(set(line.get_ydata()) == {0.5} for line in each.lines) for each in figure.axes]
    assert floors == [True, True, False]
