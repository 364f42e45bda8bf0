"""The drawings of lesson 13: regions and words, the four blocks, and what is measured."""

import pytest
import torch

from labkit.lab import matching_plot, plots
from labkit.scenes.regions import WHOLE


def figure_alone():
    figure, _ = plots.subplots(size=(8.1, 3))
    figure.clear()
    return figure


PLACES = torch.tensor([[0.5, 0.5, WHOLE, 0.0], [0.25, 0.25, 0.1, 0.0], [0.75, 0.5, 0.2, 0.0]])
LOOKS = torch.tensor([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6]])
WORDS = ["a", "star", "moon"]


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_the_first_region_is_the_whole_picture():
    assert matching_plot.box_of(PLACES[0]) == pytest.approx((0, 0, 1), abs=1e-6)
    assert matching_plot.box_of(PLACES[1]) == pytest.approx((0.12, 0.12, 0.26))


def test_each_word_has_a_line_to_its_region_unless_that_is_the_whole_picture():
    figure = figure_alone()
    matching_plot.draw_links(figure, pictures(1)[0], PLACES, WORDS, LOOKS)
    left, right = figure.axes
    assert len(left.patches) == 3
    assert [text.get_text() for text in right.texts] == WORDS
    lines = right.patches
    assert [line.xy1[1] for line in lines] == [1, 2]
    assert [line.get_linewidth() for line in lines] == pytest.approx([2.8, 2.4])
    assert plots.pixels(figure).shape[2] == 3


def test_a_box_that_leaves_the_picture_ends_at_its_edge():
    places = PLACES.clone()
    places[1] = torch.tensor([0.95, 0.02, 0.1, 0.0])
    assert matching_plot.shown_box(places[1]) == pytest.approx((0.82, 0, 1, 0.15))
    figure = figure_alone()
    matching_plot.draw_links(figure, pictures(1)[0], places, WORDS, LOOKS)
    left, right = figure.axes
    assert left.patches[1].get_extents().xmax <= left.bbox.xmax
    assert right.patches[0].xy2 == pytest.approx((1, 0.075))  # the line ends at the middle of it
    figure = figure_alone()
    update = matching_plot.draw_regions(figure, pictures(1)[0], places, WORDS, LOOKS, 1)
    assert figure.axes[0].patches[1].get_bbox().extents == pytest.approx((0.82, 0, 1, 0.15))
    update(pictures(1)[0], PLACES, 0.1 * LOOKS, 0)
    assert figure.axes[0].patches[1].get_bbox().extents == pytest.approx((0.12, 0.12, 0.38, 0.38))
    assert figure.axes[1].images[0].get_clim() == (0, 0.5)  # small weights stay dark


def test_the_boxes_are_thicker_where_the_chosen_word_attends_more():
    figure = figure_alone()
    update = matching_plot.draw_regions(figure, pictures(1)[0], PLACES, WORDS, LOOKS, 1)
    left, right = figure.axes
    assert [box.get_linewidth() for box in left.patches] == pytest.approx([1.0, 4.0, 1.5])
    assert right.patches[0].get_y() == 0.5
    assert [label.get_text() for label in right.get_yticklabels()] == WORDS
    assert [text.get_text() for text in right.texts] == ["0.10", "0.70", "0.20"]
    assert right.images[0].get_clim() == pytest.approx((0, 0.8))  # the largest weight
    fewer = PLACES.clone()
    fewer[2] = 0
    moved = update(pictures(2)[1], fewer, LOOKS.flip(0), 2)
    assert right.patches[0].get_y() == 1.5
    assert [box.get_visible() for box in left.patches] == [True, True, False]
    assert left.patches[0].get_linewidth() == pytest.approx(4.5)
    assert set(left.patches) <= set(moved)


def test_the_chosen_one_of_the_ranked_pictures_is_framed():
    figure = figure_alone()
    update = matching_plot.draw_ranked(figure, pictures(3), torch.tensor([1.5, 0.9, -0.2]), 0)
    titles = [axes.get_title(loc="center") for axes in figure.axes]
    assert titles == ["1: 1.50", "2: 0.90", "3: -0.20"]
    update(pictures(3).flip(0), torch.tensor([1.0, 0.5, 0.1]), 2)
    edges = [axes.patches[0].get_edgecolor()[3] for axes in figure.axes]
    assert edges == [0, 0, 1]


def test_the_four_blocks_bear_their_names_and_are_parted_where_the_words_begin():
    figure, axes = plots.subplots()
    attention = torch.rand(5, 5).softmax(1)
    matching_plot.draw_blocks(axes, attention, ["whole", "1", "a", "red", "star"], 2)
    assert [text.get_text() for text in axes.texts] == ["RR", "RE", "ER", "EE"]
    assert axes.texts[1].get_position() == (3, 0.5)  # regions attend to words: on the right, above
    assert [list(line.get_xdata()) for line in axes.lines][1] == [1.5, 1.5]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("query", "key")


def test_training_is_a_loss_with_its_bound_and_what_is_found():
    figure = figure_alone()
    matching_plot.draw_training(figure, [2.0, 1.0, 0.5], 0.2, [(1, 0.1), (3, 0.6)], warmup=2)
    left, right = figure.axes
    assert list(left.lines[0].get_xdata()) == [1, 2, 3]
    assert left.lines[1].get_ydata()[0] == pytest.approx(0.4)
    assert list(right.lines[0].get_ydata()) == [0.1, 0.6]


def test_a_collapse_lies_at_twice_the_margin():
    figure, axes = plots.subplots()
    matching_plot.draw_collapse(axes, {0.2: [0.5, 0.4], 0.1: [0.3, 0.2]})
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["m = 0.2", "m = 0.1"]
    assert [line.get_ydata()[0] for line in axes.lines[1::2]] == pytest.approx([0.4, 0.2])


def test_branches_have_a_dot_for_each_seed_and_top_k_its_two_bounds():
    figure, (left, right) = plots.subplots(1, 2)
    matching_plot.draw_branches(left, {"self": [60.0, 62.0], "both": [80.0, 81.0]})
    assert list(left.lines[1].get_ydata()) == [61, 61]
    assert [label.get_text() for label in left.get_xticklabels()] == ["self", "both"]
    matching_plot.draw_top(right, (1, 10, 100), [60.0, 75.0, 80.0], full=80.5, cheap=59.0)
    assert {line.get_ydata()[0] for line in right.lines[1:]} == {80.5, 59.0}
