"""The drawings and the stored table of lesson 04."""

import pytest
import torch

from labkit import sampler
from labkit.data import digits
from labkit.denoiser import from_x0
from labkit.lab import ddim_plot, ddim_table, plots
from labkit.lab.second_order import multistep
from labkit.metrics.report import half_rows
from labkit.mixture import GaussianMixture
from labkit.schedule import linear, trailing_spacing

PIXEL = GaussianMixture([[0.0]], std=0.5)
POINTS = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))


def test_a_window_of_the_loss_is_drawn_at_its_middle():
    figure, _ = plots.subplots()
    figure.clear()
    ddim_plot.training(figure, [float(k) for k in range(45)], POINTS, window=20)
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [10, 30]
    assert line.get_ydata().tolist() == [9.5, 29.5]


def test_the_dial_moves_paths_and_final_points():
    def walks(eta, steps):
        return torch.stack([POINTS * (1 + eta * k) for k in range(steps + 1)]), 0.5

    figure, _ = plots.subplots()
    figure.clear()
    update = ddim_plot.dial(figure, POINTS, walks, 0.0, 3)
    update(1.0, 2)
    left, right = figure.axes
    assert right.collections[-1].get_offsets() == pytest.approx(3 * POINTS.numpy())
    assert len(left.lines[0].get_xdata()) == 3
    assert "50%" in right.get_title()


def test_every_panel_and_row_is_drawn():
    data, schedule = PIXEL, linear(100)
    starts = torch.zeros(4, 101)
    assert len(ddim_plot.over_density(data, schedule, {"a": starts, "b": starts}).axes) == 2
    seen = {(eta, t): torch.randn(50, 1) for eta in (0.0, 1.0) for t in (10, 20, 30)}
    assert len(ddim_plot.histograms(data, schedule, seen, (10, 30)).axes) == 4
    pairs = {"same": (POINTS[:, :1], POINTS[:, :1]), "other": (POINTS[:, :1], POINTS[:, 1:])}
    assert "1.00" in ddim_plot.clouds(pairs, "x", "y").axes[0].get_title()
    paths = {"long": POINTS.expand(40, 30, 2), "short": POINTS.expand(5, 30, 2)}
    widths = [
        each.lines[0].get_linewidth() for each in ddim_plot.plane(POINTS, paths, ["long"]).axes
    ]
    assert widths == [0.5, 1.5]
    assert ddim_plot.plane(POINTS, paths).axes[0].get_ylabel() == "x, second coordinate"
    assert len(ddim_plot.rings({"a": POINTS, "b": POINTS}).axes) == 2
    rows = {"one": ((5, 10), (2.0, 1.0), None), "two": ((5, 10), (3.0, 2.0), (0.1, 0.1))}
    figure = ddim_plot.by_steps({"a": (rows, "d", None), "b": (rows, "d", torch.tensor([1.0]))})
    assert len(figure.axes) == 2
    markers = [each.get_marker() for each in figure.axes[0].lines if each.get_marker() in "osD^"]
    assert len(set(markers)) == 2
    lengths = {"lerp": torch.ones(3, 2), "slerp": torch.ones(3, 2)}
    assert ddim_plot.code_lengths((0, 0.5, 1), lengths, (0.5, 1.5)).axes
    (axes,) = ddim_plot.spacings({"top": [3, 2, 0], "bottom": [3, 1, 0]}).axes
    assert [each.get_text() for each in axes.get_yticklabels()] == ["bottom", "top"]


def test_the_second_order_solver_is_of_second_order():
    """The error of the gain falls by four where that of DDIM falls by two."""
    schedule, one = linear(), torch.ones(1, 1, dtype=torch.float64)
    exact = 0.5 / (1 - 0.75 * schedule.alpha_bar[-1]).sqrt()

    def error(step, steps):
        times = [t for t in schedule.timesteps(steps, trailing_spacing) if t > 100] + [100]
        *_, last = sampler.sample(PIXEL.denoiser(schedule), one, times, step=step)
        at = schedule.alpha_bar[100]
        return abs(last.x.item() - 2 * exact * (0.25 * at + 1 - at).sqrt()).item()

    first = error(sampler.ddim, 50) / error(sampler.ddim, 200)
    second = error(multistep(), 50) / error(multistep(), 200)
    assert 3 < first < 5 and second > 9


def test_a_second_walk_with_the_same_step_starts_afresh():
    schedule, step = linear(), multistep()
    x = torch.ones(2, 1, dtype=torch.float64)
    first = list(sampler.sample(PIXEL.denoiser(schedule), x, (1000, 500, 20, 0), step=step))
    again = list(sampler.sample(PIXEL.denoiser(schedule), x, (1000, 500, 20, 0), step=step))
    assert torch.equal(first[-1].x, again[-1].x)
    pred = from_x0(schedule, x, 1000, x)
    plain = sampler.ddim(schedule, pred, x, 1000, 500)
    assert torch.equal(multistep()(schedule, pred, x, 1000, 500), plain)


def test_the_stored_table_is_what_the_lesson_says_it_is():
    table = ddim_table.stored()
    assert table["real"] == len(digits.load(16)[0]) and table["samples"] == 898
    assert len(table["floor"]) == ddim_table.SPLITS
    for row in ("η = 0", "η = 0.2", "η = 0.5", "η = 1", "σ̂", "2M"):
        for steps in ("5", "10", "20"):
            assert len(table["cells"][row][steps]) == 10
        assert len(table["cells"][row]["50"]) == (10 if row in ("η = 0", "η = 1") else 5)


def test_the_reference_never_meets_what_is_held_out():
    reference, held_out = half_rows(11, 3)
    assert sorted([*reference.tolist(), *held_out.tolist()]) == list(range(11))


def test_a_gap_counts_standard_errors_of_the_paired_difference():
    one, other = [[3.0], [5.0], [4.0]], [[1.0], [2.0], [3.0]]
    assert ddim_table.standard_errors_apart(one, other, 0) == pytest.approx(2 / (1 / 3**0.5))
    assert ddim_table.spread([[1.0], [3.0]], 0) == "2.0000 ±1.4142"
    assert ddim_table.spread([[1.0]], 0) == "1.0000"
