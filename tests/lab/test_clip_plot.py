"""The drawings of lesson 07: matrices of pictures and sentences, what is found, what is said."""

import pytest
import torch

from labkit.lab import clip_plot, plots


def figure_alone():
    figure, _ = plots.subplots(size=(8.1, 2))
    figure.clear()
    return figure


def pictures(count: int, size: int = 8) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_long_sentence_is_cut_to_its_lines_and_says_so():
    text = "a large dotted red star and a small blue circle on a mint background"
    assert clip_plot.wrapped("a star") == "a star"
    assert clip_plot.wrapped(text, 40).replace("\n", " ") == text
    cut = clip_plot.wrapped(text, 15, 2)
    assert cut.count("\n") == 1 and cut.endswith(" …")
    assert all(len(line) <= 16 for line in cut.split("\n"))
    assert text.startswith(cut.removesuffix(" …").replace("\n", " "))


def test_a_small_matrix_has_its_numbers_in_its_cells_and_the_pairs_are_framed():
    matrix = torch.tensor([[0.9, 0.1, 0.2], [0.0, 0.8, 0.3]])
    figure = figure_alone()
    clip_plot.draw_pairs(figure, pictures(2), ["a star", "two hearts", "a moon"], matrix)
    axes = figure.axes[1]
    assert [text.get_text() for text in axes.texts] == ["0.90", "0.10", "0.20",
                                                        "0.00", "0.80", "0.30"]  # fmt: skip
    assert [label.get_text() for label in axes.get_xticklabels()] == ["a star", "two hearts",
                                                                      "a moon"]  # fmt: skip
    assert [patch.get_xy() for patch in axes.patches] == [(-0.5, -0.5), (0.5, 0.5)]
    inks = [text.get_color() for text in axes.texts]
    assert (inks[0], inks[1]) == ("black", "white")  # on light yellow, on dark blue
    assert plots.pixels(figure).shape[2] == 3


def test_a_large_matrix_is_colors_alone():
    figure, axes = plots.subplots()
    clip_plot.draw_matrix(axes, torch.eye(64), "before")
    assert not axes.texts
    assert "before" in (axes.get_title(), axes.get_title(loc="left"))


def test_pictures_that_are_found_change_with_their_similarity():
    figure = figure_alone()
    update = clip_plot.draw_found(figure, pictures(3), torch.tensor([0.9, 0.5, 0.1]))
    titles = [[axes.get_title(loc=place) for place in ("left", "center")] for axes in figure.axes]
    assert titles == [["", "0.90"], ["", "0.50"], ["", "0.10"]]
    before = figure.axes[0].images[0].get_array().copy()
    moved = update(pictures(6)[3:], torch.tensor([0.8, 0.7, -0.2]))
    assert [axes.get_title(loc="center") for axes in figure.axes] == ["0.80", "0.70", "-0.20"]
    assert (figure.axes[0].images[0].get_array() != before).any()
    assert len(moved) == 6


@pytest.mark.parametrize("own", [1, -1])
def test_of_the_sentences_that_belongs_to_the_picture_has_another_color(own):
    figure, said = figure_alone(), ["a star", "a moon"]
    update = clip_plot.draw_said(figure, pictures(1)[0], said, torch.tensor([0.7, 0.4]), 0)
    update(pictures(2)[1], ["two hearts", "a cross"], torch.tensor([0.6, -0.3]), own)
    bars = figure.axes[1].patches
    assert [bar.get_width() for bar in bars] == pytest.approx([0.6, 0.0])
    colors = [clip_plot.OWN if place == own else clip_plot.OTHER for place in range(2)]
    assert [plots.matplotlib.colors.to_hex(bar.get_facecolor()).upper() for bar in bars] == colors
    words = [text.get_text() for text in figure.axes[1].texts]
    assert words == ["two hearts", "a cross", "0.60", "-0.30"]


def drawn_by(function, *inputs):
    figure = figure_alone()
    function(figure, *inputs)
    return figure.axes


def test_loss_and_slope_stand_over_the_scale_with_the_learned_one_marked():
    scales, falling = torch.tensor([1.0, 10.0, 200.0]), torch.tensor([3.0, 2.0, 1.0])
    curves = {"shipped": (falling, -falling), "untrained": (falling + 1, falling)}
    left, right = drawn_by(clip_plot.draw_scales, scales, curves, 33.0, 128)
    assert [line.get_xdata()[0] for line in right.lines[-2:]] == [33.0, 100]
    assert list(left.lines[0].get_ydata()) == [3, 2, 1]
    assert left.lines[2].get_ydata()[0] == pytest.approx(4.852, abs=1e-3)  # ln 128
    assert [text.get_text() for text in left.get_legend().get_texts()] == list(curves)


def test_training_is_two_matrices_and_a_loss():
    before, middle, right = drawn_by(
        clip_plot.draw_training, torch.eye(4), torch.ones(4, 4), [4.0, 3.0, 2.0], 64
    )
    assert len(before.images) == len(middle.images) == 1
    assert "after 3 steps" in middle.get_title(loc="left") + middle.get_title()
    assert list(right.lines[0].get_xdata()) == [0, 1, 2]


def test_a_probe_is_the_mean_of_its_draws_beside_zero_shot():
    figure, axes = plots.subplots()
    clip_plot.draw_probes(axes, (1, 4), {"shape": (torch.tensor([[0.2, 0.8], [0.4, 1.0]]), 0.95)})
    assert list(axes.lines[0].get_ydata()) == pytest.approx([0.3, 0.9])
    assert 0.95 in axes.lines[-1].get_ydata()


def test_the_smallest_loss_is_marked_unless_it_is_the_last():
    scales, dip = torch.tensor([1.0, 30.0, 300.0]), torch.tensor([3.0, 2.0, 2.5])
    curves = {"plain": dip, "without duplicates": -scales}
    plain, without = drawn_by(clip_plot.draw_duplicates, scales, curves, 1.9)
    titles = [axis.get_title(loc="left") + axis.get_title() for axis in (plain, without)]
    assert titles == ["plain: smallest at scale 30", "without duplicates: falls up to 300"]
    assert (len(plain.lines), len(without.lines)) == (3, 1)


def test_hard_negatives_have_a_curve_for_each_training():
    figure, axes = plots.subplots()
    shares = {"hard": torch.tensor([[0.5, 0.9], [0.4, 0.8]]), "control": torch.full((2, 2), 0.5)}
    clip_plot.draw_hard_negatives(axes, range(0, 60, 30), shares)
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["with hard negatives", "control"]
    assert [list(line.get_ydata()) for line in axes.lines[:2]] == [
        pytest.approx([0.5, 0.9]), pytest.approx([0.4, 0.8])
    ]  # fmt: skip
