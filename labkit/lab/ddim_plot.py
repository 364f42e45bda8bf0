"""The drawings of lesson 04: paths from noise to data, and what a sampler makes of its steps."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from labkit.lab import plots
from labkit.mixture import GaussianMixture
from labkit.schedule import NoiseSchedule

PLANE = {"xlim": (-3, 3), "ylim": (-3, 3), "xticks": [], "yticks": [], "aspect": "equal"}
NAMED = PLANE | {"xlabel": "x, first coordinate", "ylabel": "x, second coordinate"}
MARKERS = "osD^vPX*"
HEIGHTS = torch.linspace(-3, 3, 200)[:, None]


def density(data: GaussianMixture, schedule: NoiseSchedule, t: int) -> Tensor:
    """The exact density of x_t at HEIGHTS, for data in 1-D."""
    return data.diffused(schedule, t).log_prob(HEIGHTS).exp()


def over_density(data: GaussianMixture, schedule: NoiseSchedule, paths: dict[str, Tensor]):
    """Paths (N, T + 1) from T down to 0, a panel for each name, over the density of every time."""
    gray = torch.stack([density(data, schedule, t) for t in range(0, schedule.T + 1, 10)], 1)
    gray = gray / gray.max(0).values
    figure, axes = plots.subplots(1, len(paths), size=(10, 3.4), sharey=True)
    for each, (name, path) in zip(axes, paths.items()):
        frame = {"extent": (0, schedule.T, -3, 3), "origin": "lower", "aspect": "auto"}
        each.imshow(gray, cmap="Greys", alpha=0.6, **frame)
        each.plot(range(schedule.T, -1, -1), path.T, linewidth=0.9, color=plots.BLUE, alpha=0.8)
        each.set(xlabel="time t", ylabel="x", title=name)
    return figure


def histograms(data: GaussianMixture, schedule: NoiseSchedule, seen: dict, times: Sequence[int]):
    """A row for each eta, a column for each time: samples seen[eta, t] under the density."""
    etas = list(dict.fromkeys(eta for eta, _ in seen))
    figure, axes = plots.subplots(len(etas), len(times), size=(10, 4.6), sharex=True)
    for row, eta in zip(axes, etas):
        for each, t in zip(row, times):
            each.hist(seen[eta, t].flatten().numpy(), bins=80, density=True, color=plots.SKY)
            each.plot(HEIGHTS, density(data, schedule, t), color=plots.BLACK, linewidth=1.5)
            each.set(title=f"η = {eta:g}, t = {t}", yticks=[], xlim=(-3, 3))
    return figure


def clouds(pairs: dict[str, tuple[Tensor, Tensor]], xlabel: str, ylabel: str):
    """A scatter plot of each pair (N, 1), with its correlation."""
    figure, axes = plots.subplots(1, len(pairs), size=(10, 3), sharex=True, sharey=True)
    for each, (name, (a, b)) in zip(axes, pairs.items()):
        each.scatter(a, b, s=2, color=plots.BLUE)
        correlation = torch.corrcoef(torch.cat([a, b], 1).T)[0, 1]
        each.set(title=f"{name}\ncorrelation {correlation:.2f}", xlabel=xlabel)
    axes[0].set_ylabel(ylabel)
    return figure


def plane(data: Tensor, paths: dict[str, Tensor], thin: Sequence[str] = ()):
    """Paths (steps + 1, N, 2) through the plane, a panel for each name, over the data in gray. The
    points of short walks are marked; the panels named in `thin` have thin lines."""
    figure, axes = plots.subplots(1, len(paths), size=(10, 3.6))
    for each, (name, path) in zip(axes, paths.items()):
        each.scatter(*data.T, s=1, color="#BBBBBB")
        style = {"marker": "o", "markersize": 3} if len(path) < 30 else {}
        for k, color in zip(range(path.shape[1]), plots.COLORS):
            width = 0.5 if name in thin else 1.5
            each.plot(*path[:, k].T, linewidth=width, color=color, **style)
        each.plot(*path[0].T, "k.", markersize=6, zorder=5)
        each.set(title=name, **NAMED)
    return figure


def dial(figure, data: Tensor, walks: Callable, eta: float, steps: int) -> Callable:
    """Some paths on the left, all final points on the right, colored by the direction in which
    they started. walks: (eta, steps) → paths (steps + 1, N, 2) and the share that kept their side.
    Returns the function that moves both to another setting."""
    left, right = figure.subplots(1, 2, subplot_kw=NAMED)
    starts = walks(eta, steps)[0][0]
    hue = torch.atan2(starts[:, 1], starts[:, 0]) / (2 * torch.pi) % 1
    left.scatter(*data.T, s=1, color="#CCCCCC")
    left.scatter(*starts[:7].T, s=25, color=plots.COLORS[:7])
    lines = [left.plot([], [], linewidth=1.2, color=color)[0] for color in plots.COLORS[:7]]
    dots = right.scatter(*starts.T, s=14, c=hue, cmap="twilight_shifted", vmin=0, vmax=1)
    dots.set(edgecolor="#888888", linewidth=0.4)  # some of the colors are pale
    titles = [each.set_title(" ") for each in (left, right)]

    def update(eta, steps):
        paths, kept = walks(eta, steps)
        paths = paths.numpy()  # of a tensor matplotlib looks into each point
        for k, line in enumerate(lines):
            line.set_data(*paths[:, k].T)
        dots.set_offsets(paths[-1])
        titles[0].set_text(f"η = {eta:.2f} in {steps} steps")
        titles[1].set_text(f"{kept:.0%} end on the side where they began")
        return [*lines, dots, *titles]

    update(eta, steps)
    return update


def training(figure, losses: Sequence[float], points: Tensor, window: int = 20) -> None:
    """The loss, each mean at the middle of its window, and the samples (N, 2) of this moment."""
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    whole = len(losses) // window
    means = torch.tensor(losses[: whole * window]).view(whole, window).mean(1)
    left.plot(window * torch.arange(whole) + window / 2, means)
    left.set(xlabel="training step", ylabel=f"loss, mean of {window}", title="Loss")
    right.scatter(*points.T, s=3, color=plots.BLUE)
    right.set(title="DDIM, 20 steps", **PLANE)


def rings(samples: dict[str, Tensor]):
    """Points (N, 2) of several samplers side by side."""
    figure, axes = plots.subplots(1, len(samples), size=(10.5, 2.1))
    for each, (name, points) in zip(axes, samples.items()):
        each.scatter(*points.T, s=0.6, color=plots.BLUE)
        each.set_title(name, fontsize=9)
        each.set(**PLANE | {"xlim": (-2.2, 2.2), "ylim": (-2.2, 2.2)})
    return figure


def by_steps(panels: dict[str, tuple[dict[str, tuple], str, Tensor | None]]):
    """Distance against the number of steps. A panel: rows by name, each (steps, means, standard
    deviations or None), the label of the y axis, and the floor's runs, if there is one."""
    figure, axes = plots.subplots(1, len(panels), size=(10.5, 3.4))
    for each, (title, (rows, label, floor)) in zip(axes, panels.items()):
        for (name, (steps, means, sds)), color, marker in zip(rows.items(), plots.COLORS, MARKERS):
            style = {"fmt": f"{marker}-", "color": color, "markersize": 5, "capsize": 3}
            each.errorbar(steps, means, sds, label=name, **style)
        each.set(title=title, xlabel="steps S", ylabel=label, xscale="log", yscale="log")
        ticks = sorted({s for steps, *_ in rows.values() for s in steps})
        each.set_xticks(ticks, ticks)
        low, high = each.get_ylim()
        marks = [m * 10.0**k for k in range(-4, 4) for m in (1, 2, 5) if low <= m * 10.0**k <= high]
        each.set_yticks(marks, [f"{mark:g}" for mark in marks])
        each.minorticks_off()
        if floor is not None:
            each.axhline(floor.mean(), color="#666666", linestyle=":", label="held-out digits")
    figure.legend(*axes[-1].get_legend_handles_labels(), loc="outside right center")
    return figure


def code_lengths(shares: Sequence[float], lengths: dict[str, Tensor], shell: tuple[float, float]):
    """Lengths (shares, pairs) of codes along ways between two noises, over the shell of noise."""
    figure, axes = plots.subplots(size=(8, 3))
    for (name, values), color in zip(lengths.items(), (plots.VERMILLION, plots.BLUE)):
        lines = axes.plot(shares, values, color=color, linewidth=1)
        lines[0].set_label(name)
    axes.axhspan(*shell, color="#DDDDDD", label="95 % of all noise")
    axes.legend(loc="lower left")
    axes.set(xlabel="share a", ylabel="length of the code", title="Length between two noises")
    return figure


def spacings(times: dict[str, Sequence[int]]):
    """A row of marks for each list of times."""
    figure, axes = plots.subplots(size=(9, 1.9))
    for height, each in enumerate(reversed(times.values())):
        axes.plot(each, [height] * len(each), "|", markersize=16, markeredgewidth=2)
    axes.set_yticks(range(len(times)), list(reversed(times)))
    axes.set(xlabel="time t", ylim=(-0.6, len(times) - 0.4), title="Twenty steps, three spacings")
    return figure
