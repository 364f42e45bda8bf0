"""The editor of transition matrices, and the drawings of chains."""

import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import same_color
from PIL import Image

from labkit.lab import plots
from labkit.lab.chain_plot import (
    Graph,
    cat_cloud,
    cloud_picture,
    draw_approach,
    draw_band,
    draw_chain,
    draw_cloud,
    draw_distributions,
    draw_target,
    draw_walk,
)
from labkit.lab.widgets.chain_editor import STEP, ChainEditor, rescaled, verdict
from labkit.markov import Chain

P = [[0.9, 0.075, 0.025], [0.15, 0.8, 0.05], [0.25, 0.25, 0.5]]
CAT = Chain(P, ("sleep", "play", "eat"))
IDENTITY = Chain(torch.eye(3), CAT.states)

share = st.floats(0, 1)


@settings(deadline=None)  # a busy machine is no fault of the row
@given(st.lists(share, min_size=2, max_size=4), st.integers(0, 3), share)
def test_a_changed_row_stays_a_row_of_probabilities(weights, j, value):
    row = torch.tensor(weights, dtype=torch.float64) + 1e-3
    new = rescaled(row / row.sum(), j % len(row), value)
    assert new.min() >= 0
    assert abs(new.sum() - 1) < 1e-12
    assert abs(new[j % len(row)] - value) <= STEP / 2 + 1e-9
    torch.testing.assert_close(new / STEP, (new / STEP).round())  # what a slider can show


def test_the_other_entries_of_a_row_keep_their_proportions():
    new = rescaled(CAT.P[0], 0, 0.6)
    torch.testing.assert_close(new, torch.tensor([0.6, 0.3, 0.1]).double(), rtol=0, atol=1e-7)


def test_a_certain_step_gives_way_evenly():
    new = rescaled(torch.tensor([1.0, 0, 0]).double(), 0, 0.5)
    assert new.tolist() == [0.5, 0.25, 0.25]


def test_a_slider_drawn_to_its_end_and_back_finds_what_it_left():
    editor = ChainEditor(CAT)
    for value in (0.95, 1.0, 0.4, 0.9):
        editor.sliders[0][0].value = value
    torch.testing.assert_close(editor.chain.P, CAT.P)


def test_moving_a_slider_moves_its_row_the_curves_and_the_words():
    editor = ChainEditor(CAT)
    before = editor.picture.image, editor.picture.alt
    editor.sliders[2][2].value = 0.95
    torch.testing.assert_close(editor.chain.P.sum(1), torch.ones(3).double())
    shown = [slider.value for slider in editor.sliders[2]]
    assert shown == pytest.approx(editor.chain.P[2].tolist(), abs=1e-12)
    torch.testing.assert_close(editor.chain.P[:2], CAT.P[:2])
    assert editor.picture.image != before[0]
    assert editor.picture.alt != before[1]
    expected = editor.chain.distribution("sleep", 40)
    torch.testing.assert_close(editor.distributions()[-1], expected)


def test_sliders_only_hold_numbers_that_the_browser_gives_back_unchanged():
    editor = ChainEditor(Chain(torch.full((3, 3), 1 / 3)))
    for move in (None, 0.88, 0.07, 0.335):
        if move is not None:
            editor.sliders[1][1].value = move
        for slider in (slider for row in editor.sliders for slider in row):
            assert slider.value == round(slider.value * 200) / 200  # to the last bit
    torch.testing.assert_close(editor.chain.P[0], torch.full((3,), 1 / 3).double())


def test_every_slider_can_go_to_both_ends_and_leaves_a_chain():
    editor = ChainEditor(CAT, steps=10)
    for row in editor.sliders:
        for slider in row:
            for value in (0.0, 1.0, 0.3):
                slider.value = value
                assert abs(editor.chain.P.sum(1) - 1).max() < 1e-12


def test_the_menus_choose_the_start_and_the_matrix():
    editor = ChainEditor(CAT, presets={"prisons": IDENTITY})
    editor.start.value = 2
    assert editor.distributions()[0].tolist() == [0, 0, 1]
    editor.start.value = 3
    torch.testing.assert_close(editor.distributions()[0], torch.full((3,), 1 / 3).double())
    editor.preset.value = IDENTITY
    assert editor.chain is IDENTITY
    assert editor.sliders[0][0].value == 1
    assert "3 groups" in editor.picture.alt
    editor.preset.value = CAT
    assert editor.sliders[0][1].value == 0.075
    editor.sliders[0][1].value = 0.5
    assert editor.preset.value is None
    editor.preset.value = CAT
    assert editor.sliders[0][1].value == 0.075


def test_an_edited_picture_is_the_one_that_a_fresh_editor_draws():
    edited = ChainEditor(IDENTITY)
    edited.show(CAT)
    a, b = (np.asarray(Image.open(io.BytesIO(e.picture.image))) for e in (edited, ChainEditor(CAT)))
    assert np.abs(a.astype(int) - b).mean() < 0.5


def test_a_rendered_notebook_shows_the_picture_with_its_words():
    bundle = ChainEditor(CAT)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "halves every 2.3 steps" in bundle["text/html"]


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (P, "0.741: halves every 2.3 steps"),
        ([[0, 1], [1, 0]], "periodic"),
        ([[1, 0], [0, 1]], "2 groups"),
        ([[0.5, 0.5], [0.5, 0.5]], "after 1 step"),
        ([[0.5, 0.5, 0], [0.3, 0.3, 0.4], [0.4, 0.4, 0.2]], "after 2 steps"),
        ([[0, 1, 0], [0, 0, 1], [1, 0, 0]], "periodic"),
    ],
)
def test_the_verdict_says_what_becomes_of_the_start(matrix, words):
    assert words in verdict(Chain(matrix))


def test_an_editor_refuses_what_it_cannot_show():
    with pytest.raises(ValueError, match="2 to 4"):
        ChainEditor(Chain(torch.eye(5)))
    with pytest.raises(ValueError, match="same|states of the chain"):
        ChainEditor(CAT, presets={"rain": Chain([[0.7, 0.3], [0.1, 0.9]])})


def test_the_graph_has_an_arrow_for_each_possible_step_and_wider_ones_for_likelier():
    figure, axes = plots.subplots()
    draw_chain(axes, Chain([[0.7, 0.3], [0, 1]], ("rain", "dry")), torch.tensor([0.2, 0.8]))
    arrows = [patch for patch in axes.patches if hasattr(patch, "get_arrowstyle")]
    assert [arrow.get_visible() for arrow in arrows] == [True, True, False, True]
    assert arrows[0].get_linewidth() > arrows[1].get_linewidth()
    written = {text.get_text() for text in axes.texts}
    assert {"0.7", "0.3", "1", "rain\n0.200", "dry\n0.800"} <= written


@pytest.mark.parametrize("n", [2, 3])
def test_each_number_of_the_graph_stands_on_its_own_arrow_in_its_color(n):
    figure, axes = plots.subplots()
    graph = Graph(axes, tuple("abc"[:n]))
    graph.update(torch.full((n, n), 1 / n))
    for here, label in graph.labels.items():
        place = axes.transData.transform(label.get_position())
        gaps = {}
        for pair, arrow in graph.arrows.items():
            curve = axes.transData.transform(arrow.get_path().to_polygons(closed_only=False)[0])
            gaps[pair] = np.linalg.norm(curve - place, axis=1).min()
        assert min(gaps, key=gaps.get) == here
        assert same_color(label.get_color(), graph.arrows[here].get_edgecolor())


def test_a_drawn_walk_fills_every_hour_once():
    figure, axes = plots.subplots()
    path = CAT.walk(50, 0, torch.Generator().manual_seed(0))
    draw_walk(axes, path, CAT.states, hours=0.5)
    widths = [p.get_extents().width for c in axes.collections for p in c.get_paths()]
    assert sum(widths) == pytest.approx(len(path) * 0.5)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["eat", "play", "sleep"]


def test_the_bars_of_a_start_are_the_distribution_from_there():
    figure, axes = plots.subplots()
    draw_distributions(axes, CAT, 2)
    for start, bars in zip(CAT.states, axes.containers, strict=True):
        heights = [bar.get_height() for bar in bars]
        assert heights == pytest.approx(CAT.distribution(start, 2).tolist())
    assert [bars.get_label() for bars in axes.containers] == ["from sleep", "from play", "from eat"]


def test_the_curves_of_an_approach_end_near_their_dashed_levels():
    figure, axes = plots.subplots()
    draw_approach(axes, CAT, "eat", steps=40)
    for curve, level in zip(axes.lines[::2], axes.lines[1::2], strict=True):
        assert len(curve.get_ydata()) == 41
        assert curve.get_ydata()[-1] == pytest.approx(level.get_ydata()[0], abs=1e-4)


def test_a_band_is_two_standard_deviations_wide_on_each_side():
    figure, axes = plots.subplots()
    draw_band(axes, torch.zeros(3, 2), torch.tensor([[1.0, 4.0], [0.5, 1.0], [0.0, 0.25]]))
    corners = axes.collections[0].get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (-3, 5)


def test_bars_under_a_target_are_moved_and_the_target_stays():
    figure, axes = plots.subplots()
    move = draw_target(axes, CAT.stationary(), "goal")
    bars, line, title = move(CAT.P[0], "words")
    assert bars.get_data().values.tolist() == CAT.P[0].tolist()
    assert line.get_data().values.tolist() == CAT.stationary().tolist()
    assert title.get_text() == "words"


def test_a_drawn_cloud_holds_all_points():
    figure, axes = plots.subplots()
    draw_cloud(axes, torch.randn(50, 2))
    assert len(axes.collections[0].get_offsets()) == 50


def test_the_cloud_is_a_cat_with_eyes_and_off_center():
    points = cat_cloud(5000, torch.Generator().manual_seed(0))
    assert points.shape == (5000, 2)
    center = (points - torch.tensor([1.9, 1.4])) / 1.25
    for eye in (-0.42, 0.42):  # empty, while the cheek below is not
        assert not ((center - torch.tensor([eye, 0.08])).norm(dim=1) < 0.12).any()
        assert ((center - torch.tensor([eye, -0.5])).norm(dim=1) < 0.12).sum() > 20
    again = cat_cloud(5000, torch.Generator().manual_seed(0))
    assert torch.equal(points, again)


def test_a_cloud_picture_puts_dots_where_the_points_are():
    points = torch.tensor([[0.0, 0.0], [3.0, -2.0], [100.0, 0.0]])
    picture = np.asarray(Image.open(io.BytesIO(cloud_picture(points, scale=10))).convert("RGB"))
    assert picture.shape == (70, 80, 3)
    black = {tuple(place) for place in np.argwhere((picture == 0).all(2)).tolist()}
    assert {(35, 40), (55, 70)} <= black
    assert len(black) == 8
