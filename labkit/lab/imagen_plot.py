"""The drawings of lesson 11: Imagen in a diagram, T5's distances, words that mean the same, what
guidance does to the guess, and what upsamplers make of clean and of wrong pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from labkit.lab import plots
from labkit.lab.diagram import arrow, box, canvas
from labkit.nets.t5 import DistanceBias, distance_buckets

REACH = 128  # distances that are drawn, to both sides


def one_cascade() -> Figure:
    """Imagen in a diagram: a frozen T5 reads, three diffusion models draw, each larger one sees the
    picture before it under noise of a level that it is told."""
    figure, axis = canvas(8.1, 2.9, 3.6)
    box(axis, 0.05, 2.65, 1.45, 0.7, "a sentence", plots.BLACK)
    box(axis, 2.15, 2.65, 1.75, 0.7, "T5, frozen", plots.GREEN)
    arrow(axis, (1.5, 3.0), (2.15, 3.0))
    axis.plot([3.9, 8.95], [3.0, 3.0], color=plots.GREEN, linewidth=1.8)
    axis.text(4.1, 3.12, "a vector for each token", fontsize=8.5, color=plots.GREEN)
    for x, text in ((2.15, "base\n32 × 32"), (5.1, "sr64\n64 × 64"), (8.05, "sr128\n128 × 128")):
        box(axis, x, 0.75, 1.75, 0.95, text, plots.BLUE)
        arrow(axis, (x + 0.9, 2.65 if x < 3 else 3.0), (x + 0.9, 1.7), plots.GREEN)
    box(axis, 0.05, 0.9, 1.45, 0.65, "noise", plots.VERMILLION)
    arrow(axis, (1.5, 1.22), (2.15, 1.22), plots.VERMILLION)
    for x in (3.9, 6.85):
        arrow(axis, (x, 1.22), (x + 1.2, 1.22))
        axis.text(x + 0.6, 0.42, "enlarged, + noise\nof a known level", ha="center", va="center",
                  fontsize=8, color=plots.VERMILLION)  # fmt: skip
    return figure


def distances(bias: DistanceBias) -> Figure:
    """T5's distances: at left the bucket of each distance, key − query; at right what each head
    adds to the logit there, by what it learned, as far as both sides have a bucket of their own."""
    figure, axes = plots.subplots(1, 2, size=(8.1, 3.1))
    far = torch.arange(-REACH, REACH + 1)
    found = distance_buckets(far, bias.buckets, bias.reach, bias.causal)
    axes[0].plot(far.tolist(), found.tolist(), ".", color=plots.BLUE, markersize=4)
    axes[0].set(title="buckets", xlabel="key − query", ylabel="number of the bucket")
    near = torch.arange(-16, 17)
    with torch.no_grad():
        added = bias.bias.weight[distance_buckets(near, bias.buckets, bias.reach, bias.causal)]
    for head, color in zip(range(added.shape[1]), plots.COLORS):
        axes[1].plot(near.tolist(), added[:, head].tolist(), color=color, label=f"head {head + 1}")
    axes[1].set(title="learned biases", xlabel="key − query", ylabel="added to the logit")
    axes[1].legend(fontsize=8)
    return figure


def word_cosines(tables: Mapping[str, Tensor], rows: Sequence[str], columns: Sequence[str]):
    """A map of cosines (rows, columns) for each encoder, dark where two words are alike."""
    figure, axes = plots.subplots(1, len(tables), size=(8.1, 3.9), squeeze=False)
    for axis, (title, cosines) in zip(axes[0], tables.items()):
        image = axis.imshow(cosines.numpy(), cmap="PuOr", vmin=-0.8, vmax=0.8, aspect="auto")
        axis.set_xticks(range(len(columns)), columns, rotation=60, fontsize=8.5)
        axis.set_yticks(range(len(rows)), rows, fontsize=8.5)
        axis.set_title(title)
    figure.colorbar(image, ax=axes[0].tolist(), label="cosine", shrink=0.85)
    return figure


def draw_meeting(figure: Figure, seen: Sequence[tuple[int, float, float]]) -> None:
    """Over the updates: the mean cosine of words that mean the same, and of words that do not.
    seen: (update, same, other) each."""
    axis, (steps, same, other) = figure.subplots(), zip(*seen, strict=True)
    axis.plot(steps, same, "o-", color=plots.BLUE, label="the same color", markersize=4)
    axis.plot(steps, other, "s-", color=plots.VERMILLION, label="another color", markersize=4)
    axis.set(title="two words for …", xlabel="update", ylabel="mean cosine", ylim=(-0.35, 1))
    axis.legend()


def outside(shares: Mapping[float, Tensor], times: Sequence[int]) -> Figure:
    """For each scale of guidance the share of the guess's numbers outside [−1, 1], over the times,
    (times,)."""
    figure, axis = plots.subplots(size=(6.6, 3))
    for (scale, row), color in zip(shares.items(), plots.COLORS):
        axis.plot(list(times), (100 * row).tolist(), "o-", color=color, label=f"scale {scale:g}")
    axis.set(xlabel="t", ylabel="% of the numbers", title="of the guess, outside [−1, 1]")
    axis.legend(fontsize=9)
    return figure


def over_scales(panels: Mapping[str, Mapping[str, Tensor]], scales: Sequence[float]) -> Figure:
    """A panel for each measure; in it for each way its runs (scales, runs) over the scale of
    guidance, mean and standard error. Scales stand at equal distances."""
    figure, axes = plots.subplots(1, len(panels), size=(8.1, 2.9), squeeze=False)
    for axis, (title, ways) in zip(axes[0], panels.items()):
        for (name, runs), color, mark in zip(ways.items(), plots.COLORS, "osD^v"):
            error = (runs.std(1) / runs.shape[1] ** 0.5).tolist()
            line = {"fmt": f"{mark}-", "capsize": 3, "color": color, "label": name, "markersize": 5}
            axis.errorbar(range(len(scales)), runs.mean(1).tolist(), error, **line)
        axis.set_xticks(range(len(scales)), [f"{scale:g}" for scale in scales])
        axis.set(title=title, xlabel="guidance scale")
        axis.set_ylim(bottom=0)
    axes[0][0].legend(fontsize=9, loc="lower right")
    return figure
