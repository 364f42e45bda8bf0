"""The drawings of lesson 03 show what the network and the mathematics really do."""

import pytest
import torch

from labkit import schedule
from labkit.lab import ddpm_plot, plots
from labkit.mixture import GaussianMixture
from labkit.nets.unet import UNet, UNetConfig


def test_the_maps_of_the_papers_network_are_those_of_the_paper():
    with torch.device("meta"):
        maps = ddpm_plot.feature_maps(UNet(UNetConfig()), torch.zeros(1, 3, 32, 32))
    assert (maps[0].channels, maps[0].size, maps[-1].channels) == (3, 32, 3)
    assert [each.size for each in maps if each.part == "halve"] == [16, 8, 4]
    assert [each.size for each in maps if each.part == "up"] == 3 * [4] + 3 * [8] + 3 * [16] + 3 * [
        32
    ]
    attending = {each.size for each in maps if each.attends and each.part != "middle"}
    assert attending == {16}
    assert sum(each.doubles for each in maps) == 3
    figure, axes = plots.subplots()
    ddpm_plot.draw_unet(axes, maps)
    ddpm_plot.key(axes)
    assert len(axes.patches) == len(maps)


@pytest.mark.parametrize("residual", [False, True])
def test_every_skip_connection_is_joined_again(residual):
    config = UNetConfig(
        size=8, channels=1, width=8, multipliers=(1, 2), blocks=1, attention=(), groups=4,
        residual_resampling=residual,
    )  # fmt: skip
    maps = ddpm_plot.feature_maps(UNet(config), torch.zeros(2, 1, 8, 8))
    skips = [each for each in maps if each.part in ("conv_in", "down", "halve")]
    ups = [each for each in maps if each.part == "up"]
    assert [each.size for each in reversed(skips)] == [each.size for each in ups]


def test_hooks_are_gone_after_looking():
    net = UNet(UNetConfig(size=4, channels=1, width=4, multipliers=(1,), blocks=1, groups=2))
    ddpm_plot.feature_maps(net, torch.zeros(1, 1, 4, 4))
    assert not any(module._forward_hooks for module in net.modules())


def test_the_density_of_a_step_back_is_exact_for_gaussian_data():
    chain, t, s, x_t = schedule.linear(), 400, 150, 0.7
    grid = torch.linspace(-8, 8, 8001, dtype=torch.float64)
    data = GaussianMixture([[0.0]], std=[1.0])  # stays N(0, 1) at every time
    density = ddpm_plot.reverse_density(data, chain, t, s, x_t, grid)
    mean, variance = ddpm_plot.moments(density, grid)
    alpha = (chain.alpha_bar[t] / chain.alpha_bar[s]).item()
    assert mean == pytest.approx(alpha**0.5 * x_t, abs=1e-9)
    assert variance == pytest.approx(1 - alpha, abs=1e-9)


def test_the_drawing_of_a_step_back_moves_and_ends_at_the_data():
    data = GaussianMixture([[-1.0], [1.0]], std=[0.2, 0.3])
    figure, axes = plots.subplots()
    figure.clear()
    update = ddpm_plot.draw_step_back(figure, data, schedule.cosine(), 600, 300, 0.1)
    title = figure.axes[0].get_title(loc="left") or figure.axes[0].get_title()
    moved = update(t=10, steps=400, x_t=0.9)
    assert "back to s = 0" in moved[-1].get_text()
    assert title != moved[-1].get_text()


def test_a_gaussian_density_has_nothing_in_the_wrong_place_and_two_peaks_have():
    grid = torch.linspace(-6, 6, 2401, dtype=torch.float64)
    one = GaussianMixture([[0.3]], std=[0.8]).log_prob(grid[:, None]).exp()
    two = GaussianMixture([[-1.0], [1.0]], std=0.2).log_prob(grid[:, None]).exp()
    assert ddpm_plot.misplaced(one, grid) < 1e-6
    assert ddpm_plot.misplaced(two, grid) > 0.3


def test_each_figure_draws_a_line_for_each_thing_that_it_is_given():
    data, chain = GaussianMixture([[-1.0], [1.0]], std=0.2), schedule.linear(100)
    grid, bounds = torch.linspace(-3, 3, 601), torch.rand(101)
    curves = torch.rand(2, 3, 4) + 0.1
    made = {
        2: ddpm_plot.densities(grid, {"a": -(grid**2), "b": -grid.abs()}, "two"),
        3: ddpm_plot.scores(data, chain, [5, 50, 90]),
        1: ddpm_plot.chosen_fractions(torch.arange(4), torch.rand(4, 7)),
    }
    for lines, figure in made.items():
        assert len(figure.axes[0].lines) == lines
    figure = ddpm_plot.errors_over_time([1, 2, 3, 4], {"x0": curves, "v": curves}, ("x0", "eps"))
    assert [len(axes.lines) for axes in figure.axes] == [2, 2]
    assert ddpm_plot.decided([9, 0], [0.1, 1.0]).axes[0].xaxis_inverted()
    assert len(ddpm_plot.bits_added_up({"a": bounds, "b": bounds}, 50).axes[0].lines) == 3
    assert len(ddpm_plot.weights_of_times(torch.rand(11) + 0.1).axes) == 2
    assert len(ddpm_plot.clouds({"a": torch.rand(5, 2), "b": torch.rand(5, 2)}, 2.0).axes) == 2
    assert ddpm_plot.time_embedding(torch.rand(50, 8)).axes[0].images


def test_a_short_step_from_pure_noise_is_a_gaussian_to_the_edge_of_the_drawing():
    data = GaussianMixture([[-1.0], [1.0]], std=[0.15, 0.3])
    figure, _ = plots.subplots()
    figure.clear()
    update = ddpm_plot.draw_step_back(figure, data, schedule.cosine(), 600, 300, 0.1)
    said = update(t=1000, steps=10, x_t=0.1)[-1].get_text()
    assert float(said.split()[-1]) < 1e-3


def test_times_that_were_not_evaluated_are_not_drawn():
    bound = torch.tensor([0.0, 2.0, 0.0, 3.0])
    line = ddpm_plot.bits_added_up({"a": bound}, 2).axes[0].lines[0]
    assert list(line.get_xdata()) == [1, 3] and list(line.get_ydata()) == [2, 5]


def test_the_weights_of_squared_errors_begin_at_time_two():
    left, right = ddpm_plot.weights_of_times(torch.tensor([0.0, 90.0, 3.0, 1.0])).axes
    assert list(left.lines[0].get_xdata()) == [2, 3]
    assert list(left.lines[0].get_ydata()) == [1.5, 0.5]
    assert right.lines[0].get_ydata()[-1] == 1


def test_the_training_figure_holds_the_losses_the_levels_and_the_samples():
    figure, _ = plots.subplots()
    figure.clear()
    seen = [(16, 0.4, torch.rand(16, 1, 16, 16)), (48, 0.1, torch.rand(16, 1, 16, 16))]
    ddpm_plot.draw_training(figure, seen, 64, {"a": 0.07, "b": 0.06})
    left, right = figure.axes
    assert list(left.lines[0].get_xdata()) == [16, 48] and len(left.lines) == 3
    assert right.images
