"""The drawings of lesson 08: gradients as pictures, guided points, losses, curves over the time."""

from types import SimpleNamespace

import pytest
import torch

from labkit.lab import plots, semantic_plot


def title(axes):
    """Wherever the style of the process has put it."""
    return axes.get_title(loc="left") or axes.get_title()


def test_each_gradient_is_shown_at_its_own_strength_and_zero_stays_gray():
    pulls = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    pulls[0, :, 0] = 0
    weak = pulls * torch.tensor([1.0, 1e-4]).view(2, 1, 1, 1)
    shown = semantic_plot.as_picture(weak)
    torch.testing.assert_close(shown, semantic_plot.as_picture(pulls))
    assert (shown[0, :, 0] == 0).all()
    assert 1 <= shown[1].abs().max() < 2


def test_guided_points_lie_over_the_data_with_a_cross_where_y_was_seen():
    panels = {"left": torch.zeros(5, 2), "right": torch.ones(5, 2)}
    figure = semantic_plot.guided_points(panels, torch.randn(9, 2), torch.tensor([0.7, 0.3]))
    assert [title(axis) for axis in figure.axes] == list(panels)
    for axis in figure.axes:
        assert [len(dots.get_offsets()) for dots in axis.collections] == [9, 5]
        assert axis.lines[0].get_xydata()[0].tolist() == pytest.approx([0.7, 0.3])


def test_a_smoothed_loss_stands_in_the_middle_of_its_window():
    losses = torch.arange(50.0)  # of a straight line the running mean is the line itself
    torch.testing.assert_close(*semantic_plot.smoothed(losses))
    middle, means = semantic_plot.smoothed(losses[:3])  # fewer than a window
    assert (middle.tolist(), means.tolist()) == ([1.0], [1.0])


def test_the_loss_is_drawn_with_its_running_mean_and_that_of_a_guess():
    seen = [SimpleNamespace(step=k + 1, loss=9.0 - k) for k in range(5)]
    figure, axis = plots.subplots()
    axis.remove()
    semantic_plot.draw_loss(figure, seen, guessing=8.3)
    raw, mean, guess = figure.axes[0].lines
    assert (len(raw.get_ydata()), list(mean.get_xdata())) == (5, [2.0])
    assert set(guess.get_ydata()) == {8.3}
    assert title(figure.axes[0]) == "5 updates"


@pytest.mark.parametrize("noisy_first", [False, True])
def test_a_name_keeps_its_color_in_every_panel(noisy_first):
    curves = {"a": [(0, 0.1), (500, 0.9)], "b": [(0, 0.2)]}
    panels = {"one": curves, "two": dict(reversed(curves.items()))}
    figure = semantic_plot.over_time(panels, "share", noisy_first)
    one, two = ({line.get_label(): line.get_color() for line in axis.lines} for axis in figure.axes)
    assert one == two and len(set(one.values())) == 2
    left, right = figure.axes[0].get_xlim()
    assert (left > right) == noisy_first
    assert figure.axes[0].get_ylabel() == "share"
