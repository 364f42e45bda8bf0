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
