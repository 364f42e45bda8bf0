"""The drawings of lessons 00 and 02 show what they say."""

import io

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from labkit import schedule
from labkit.lab import course_map, forward_plot

SCHEDULES = {"linear": schedule.linear(), "cosine": schedule.cosine()}


def explorer():
    figure = Figure()
    photo, digits = torch.zeros(1, 3, 8, 8), torch.zeros(9, 1, 4, 4)
    points = torch.zeros(5, 2)
    return figure, forward_plot.draw_explorer(figure, SCHEDULES, "cosine", photo, digits, points)


def test_one_seed_gives_one_noise_and_another_seed_another():
    like = torch.zeros(3, 4)
    assert torch.equal(forward_plot.normal(like), forward_plot.normal(like))
    assert not torch.equal(forward_plot.normal(like), forward_plot.normal(like, seed=1))


def test_nine_pictures_become_a_square_in_reading_order():
    nine = torch.arange(9.0).view(9, 1, 1, 1).expand(9, 1, 2, 2)
    square = forward_plot.tiles(nine)
    assert square.shape == (1, 6, 6)
    assert square[0, ::2, ::2].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_the_explorer_moves_its_dots_along_the_chosen_schedule():
    figure, move = explorer()
    curve = figure.axes[0]
    for t in (0, 300, 1000):
        move(t)
        (dot,) = [line for line in curve.lines if line.get_marker() == "o"]
        assert dot.get_xdata() == [t]
        assert dot.get_ydata() == SCHEDULES["cosine"].alpha_bar[t]
        assert f"{SCHEDULES['cosine'].alpha_bar[t]:.4f}" in curve.get_title()


def test_the_ending_shows_how_much_signal_is_left():
    figure = Figure()
    move = forward_plot.draw_end(figure, torch.zeros(1, 3, 8, 8), 0.02)
    assert "0.0064" in figure.axes[0].get_title()
    move(0.001)
    left = schedule.linear(first=1e-4, last=0.001).alpha_bar[-1].sqrt()
    assert f"{left:.4f}" in figure.axes[0].get_title()


def test_a_film_has_a_frame_for_each_moment_whether_it_moves_or_is_drawn_anew():
    def drawn(figure, t):
        figure.subplots().plot([0, t])

    def moved(figure, t):
        (line,) = figure.subplots().plot([0, 1], [0, t])

        def update(t):
            line.set_ydata([0, t])
            return [line]

        return update

    for draw in (drawn, moved):
        frames = forward_plot.film(draw, (2, 1), t=[1, 2, 3])
        pictures = [np.asarray(Image.open(io.BytesIO(frame))) for frame in frames]
        assert len(pictures) == 3
        assert pictures[0].shape == (96, 192, 3)
    assert not np.array_equal(pictures[0], pictures[1])


def test_the_arc_keeps_the_dots_of_a_schedule_at_distance_one():
    figure = Figure()
    forward_plot.draw_arc(figure, SCHEDULES, torch.zeros(3, 8, 8), torch.zeros(3, 8, 8))
    dots = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(dots) == 2
    for dot, radius in zip(dots, (1, 1.09)):
        lengths = np.hypot(*(np.asarray(values) for values in dot.get_data()))
        assert np.allclose(lengths, radius)


def test_averaging_brings_pictures_of_any_size_to_one_size_and_contrast():
    figure = Figure()
    axes = figure.subplots(2, 2)
    noised = {32: torch.full((3, 32, 32), 0.1), 64: torch.full((3, 64, 64), -0.1)}
    forward_plot.show_sizes(axes, noised, {32: "small", 64: "large"})
    below = [each.images[0].get_array() for each in axes[1]]
    assert [each.shape for each in below] == [(32, 32, 3)] * 2
    assert below[0].min() == 1 and below[1].max() == 0  # a root mean square of 1
    assert axes[0, 1].get_title() == "large"


def test_each_dot_has_the_color_of_its_label():
    figure = Figure()
    clouds = {"one": torch.zeros(2, 2), "two": torch.ones(2, 2)}
    forward_plot.draw_dots(figure, clouds, [torch.tensor([0, 1]), torch.tensor([1, 0])])
    first, second = (axes.collections[0].get_facecolors() for axes in figure.axes)
    assert np.array_equal(first, second[::-1]) and not np.array_equal(first[0], first[1])
    assert figure.axes[1].get_title() == "two"


def test_the_smooth_loss_stands_at_the_middle_of_its_window():
    figure = Figure()
    forward_plot.draw_loss(figure, [*range(1, 46)], floor=0.2, window=20)
    smooth, floor = figure.axes[0].lines
    assert list(smooth.get_xdata()) == list(smooth.get_ydata()) == [10.5, 30.5]
    assert set(floor.get_ydata()) == {0.2}


def test_mean_and_standard_deviation_of_seeds():
    assert forward_plot.mean_sd([1, 2, 3]) == "2.00 ± 1.00"
    assert forward_plot.mean_sd(iter([0.5, 0.5]), 1) == "0.5 ± 0.0"


def test_the_map_fills_the_lessons_that_are_there_and_names_all_thirteen():
    figure = Figure()
    course_map.draw_map(figure, {"00", "02"})
    words = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert all(f"{number:02} · " in words for number in range(1, 14))
    white = [patch for patch in figure.axes[0].patches if patch.get_facecolor()[:3] == (1, 1, 1)]
    boxes = [patch for patch in figure.axes[0].patches if hasattr(patch, "get_boxstyle")]
    assert len(boxes) - len([box for box in boxes if box in white]) == 1
