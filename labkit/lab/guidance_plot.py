"""The figures of lesson 05: scores as arrows, guided samples beside the data, what a classifier of
noisy digits knows and where its gradient points. A function that draws all of a figure gives it
back, for `plots.show`."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labkit.guidance import gradient
from labkit.lab import plots
from labkit.mixture import GaussianMixture


def fields(points: Tensor, grid: Tensor, arrows: dict[str, Tensor], under: Tensor) -> Figure:
    """Fields of arrows (G, 2) at the points of `grid`, each over the same cloud of points; the last
    field lies, thin and black, over the field `under`, which is blue and broad."""
    figure, axes = plots.subplots(1, len(arrows), size=(10, 4), sharex=True, sharey=True)
    for each, (name, field) in zip(axes, arrows.items(), strict=True):
        each.scatter(*points.T, s=3, color=plots.SKY, alpha=0.5)
        if name == list(arrows)[-1]:
            each.quiver(*grid.T, *under.T, color=plots.BLUE, scale=60, width=0.012)
        each.quiver(*grid.T, *field.T, color=plots.BLACK, scale=60, width=0.005)
        each.set(title=name, xlabel="x₁", xlim=(-2.1, 2.1), ylim=(-2.1, 2.1), aspect="equal")
    axes[0].set(ylabel="x₂")
    return figure


def scaled(pair: GaussianMixture, line: Tensor, scales: Sequence[float]) -> Figure:
    """Two classes in 1-D. Left: s ∇log p(1 | x), and the gradient of the classifier p^s / Z(x),
    normalized at every x. Right: p(x) p(1 | x)^s, normalized over x. line: (N, 1), evenly."""

    def log_probs(x: Tensor) -> Tensor:
        return pair.log_joint(x).log_softmax(1)

    figure, (left, right) = plots.subplots(1, 2, size=(10, 3.1))
    for s, color in zip(scales, plots.COLORS, strict=False):
        slope = s * gradient(lambda x, _: log_probs(x)[:, 1], line, 0)
        sharp = gradient(lambda x, _, s=s: (s * log_probs(x)).log_softmax(1)[:, 1], line, 0)
        left.plot(line, slope, color=color, label=f"s = {s}")
        left.plot(line, sharp, "--", color=color)
        share = (pair.log_prob(line) + s * log_probs(line)[:, 1]).softmax(0)
        right.plot(line, share / (line[1] - line[0]), color=color, label=f"s = {s}")
    right.plot(line, pair.log_prob(line).exp(), ":", color=plots.BLACK, label="p(x)")
    left.set(title="s ∇ log p  (dashed: ∇ log p^s/Z(x))", xlabel="x", ylabel="gradient")
    right.set(title="p(x) p(right | x)^s, normalized over x", xlabel="x", ylabel="density")
    left.legend()
    right.legend()
    return figure


def samples(
    data: Tensor,
    panels: dict[str, dict[str, Tensor]],
    xlim: tuple[float, float],
    ylim: tuple[float, float],
    height: float = 3.4,
) -> Figure:
    """Samples (N, 2) over the data in gray, a panel for each title. Each panel has one or more sets
    of samples by name; two or more get a legend."""
    figure, axes = plots.subplots(1, len(panels), size=(10, height), sharex=True, sharey=True)
    for each, (title, sets) in zip(axes, panels.items(), strict=True):
        each.scatter(*data.T, s=4, color="#DDDDDD")
        for (name, points), color in zip(sets.items(), plots.COLORS, strict=False):
            each.scatter(*points.T, s=5, color=color, alpha=0.7, label=name)
        each.set(title=title, xlabel="x₁", aspect="equal", xlim=xlim, ylim=ylim)
    axes[0].set(ylabel="x₂")
    if len(sets) > 1:
        axes[0].legend(loc="lower left", markerscale=3)
    return figure


def ink(pictures: Tensor, gradients: Tensor, above: list[str], below: list[str]) -> Figure:
    """Noisy pictures (N, H, W), and under each the gradient of a classifier (N, H, W): purple where
    it adds ink, orange where it takes ink away. Each gradient has its own color scale."""
    figure, axes = plots.subplots(2, len(pictures), size=(10, 3.6))
    for (top, bottom), picture, slope in zip(axes.T, pictures, gradients, strict=True):
        top.imshow(picture.numpy(), cmap="gray", vmin=-1.5, vmax=1.5)
        largest = slope.abs().max()
        bottom.imshow(slope.numpy(), cmap="PuOr", vmin=-largest, vmax=largest)
    for row, titles in zip(axes, (above, below), strict=True):
        for each, title in zip(row, titles, strict=True):
            each.set_title(title)
            each.set(xticks=[], yticks=[])
    return figure


def training(figure: Figure, losses: list[float], title: str, window: int = 20) -> None:
    """The loss of a classifier of ten classes, and its mean over a window, at the window's middle;
    dashed: the loss of a classifier that gives every class the same probability."""
    axes, values = figure.subplots(), torch.tensor(losses)
    axes.plot(range(1, len(values) + 1), values, color=plots.SKY, linewidth=0.8)
    if len(values) >= window:
        means = values.unfold(0, window, 1).mean(1)
        at = [k + (window + 1) / 2 for k in range(len(means))]
        axes.plot(at, means, color=plots.BLUE)
    axes.axhline(torch.log(torch.tensor(10.0)), linestyle="--", color=plots.BLACK, linewidth=1)
    axes.set(title=title, xlabel="update", ylabel="cross-entropy", ylim=(0, 2.6))


def readings(
    times: Sequence[int], curves: dict[str, Tensor], titles: Sequence[str], units: Sequence[str]
) -> Figure:
    """One panel for each title, with its unit at the left, and one curve for each classifier:
    curves (titles, times) by name."""
    figure, axes = plots.subplots(1, len(titles), size=(10, 3.2))
    for color, (name, rows) in zip(plots.COLORS, curves.items(), strict=False):
        for each, row in zip(axes, rows, strict=True):
            each.plot(times, row, "o-", markersize=4, color=color, label=name)
    for each, title, unit in zip(axes, titles, units, strict=True):
        each.set(title=title, xlabel="time t", ylabel=unit, ylim=(0, None))
    axes[0].legend(loc="lower left")
    return figure


def trade(
    results: dict[tuple[str, float], Tensor], names: Sequence[str], floor: Sequence[float]
) -> Figure:
    """A panel for each number: mean and sd over seeds against the scale, a line for each model.
    The scales stand at equal distances.

    results: (model, scale) → (seeds, numbers). floor: what held-out real pictures get, for the
    first numbers; dotted."""
    figure, axes = plots.subplots(1, len(names), size=(10, 3))
    kinds = list(dict.fromkeys(kind for kind, _ in results))
    scales = sorted({scale for _, scale in results})
    for column, (each, name) in enumerate(zip(axes, names, strict=True)):
        for kind, color in zip(kinds, plots.COLORS, strict=False):
            own = [scale for model, scale in results if model == kind]
            runs = torch.stack([results[kind, scale][:, column] for scale in own])
            at = [scales.index(scale) for scale in own]
            each.errorbar(
                at, runs.mean(1), runs.std(1), fmt="o-", color=color, capsize=3, label=kind
            )
        if column < len(floor):
            each.axhline(floor[column], linestyle=":", color=plots.BLACK, linewidth=1)
        each.set(title=name, xlabel="scale")
        each.set_xticks(range(len(scales)), scales)
    axes[-1].legend(loc="lower right")
    return figure
