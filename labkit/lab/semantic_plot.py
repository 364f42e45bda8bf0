"""The drawings of lesson 08: gradients as pictures, guided points, losses, curves over the time."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from labkit.lab import plots

WINDOW = 20  # updates over which a loss is averaged
PLANE = {"xlim": (-2.6, 2.6), "ylim": (-2, 2.4), "aspect": "equal"}
Points = list[tuple[float, float]]  # (x, y) each


def as_picture(gradient: Tensor) -> Tensor:
    """A gradient (B, 3, H, W) as colors around middle gray, as strong as the screen allows."""
    return gradient / gradient.abs().flatten(1).quantile(0.995, 1).view(-1, 1, 1, 1)


def guided_points(panels: Mapping[str, Tensor], data: Tensor, seen_at: Tensor):
    """Points (N, 2), a panel for each name, over the data in gray; a cross where y was seen."""
    figure, axes = plots.subplots(1, len(panels), size=(8.1, 2.5), sharex=True, sharey=True)
    for axis, (name, points), color in zip(axes, panels.items(), plots.COLORS):
        axis.scatter(*data.T, s=3, color="#DDDDDD")
        axis.scatter(*points.T, s=4, color=color)
        axis.plot(*seen_at, "k+", markersize=12, markeredgewidth=2)
        axis.set(title=name, xlabel="$x_1$", **PLANE)
    axes[0].set_ylabel("$x_2$")
    return figure


def smoothed(losses: Tensor, window: int = WINDOW) -> tuple[Tensor, Tensor]:
    """The running mean of losses (N,), and the update in the middle of each window."""
    window = min(window, len(losses))
    means = losses.unfold(0, window, 1).mean(1)
    return torch.arange(len(means)) + (window - 1) / 2, means


def draw_loss(figure, seen: Sequence, guessing: float) -> None:
    """The losses of the steps that were seen, their running mean, and that of a guess."""
    axis, losses = figure.subplots(), torch.tensor([step.loss for step in seen])
    axis.plot(losses, color=plots.SKY, linewidth=0.8)
    axis.plot(*smoothed(losses), color=plots.BLUE)
    axis.axhline(guessing, linestyle="--", color=plots.BLACK, linewidth=1)
    axis.set(
        title=f"{seen[-1].step} updates",
        xlabel="update",
        ylabel="loss (dashed: guessing)",
        ylim=(0, None),
    )


def over_time(panels: Mapping[str, Mapping[str, Points]], ylabel: str, noisy_first: bool = False):
    """Curves of (t, value) over the time, a panel for each title, a color for each name."""
    figure, axes = plots.subplots(1, len(panels), size=(8.1, 3), squeeze=False, sharey=True)
    colors = {}
    for axis, (title, curves) in zip(axes[0], panels.items()):
        for name, curve in curves.items():
            color = colors.setdefault(name, plots.COLORS[len(colors)])
            axis.plot(*zip(*curve), "o-", color=color, label=name)
        axis.set(title=title, xlabel="time t", ylim=(-0.03, 1.03))
        if noisy_first:
            axis.invert_xaxis()
    axes[0][0].set_ylabel(ylabel)
    axes[0][-1].legend()
    return figure
