"""The drawings of lesson 12: both stages in a diagram, a latent's channels, what is lost at which
rate, what noise leaves of latents, and the sweep over f. And the simplest autoencoder to compare
with: principal components of squares of pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor

from labkit.inputs import picture_batch, whole_number
from labkit.lab import plots
from labkit.lab.diagram import arrow, box, canvas
from labkit.lab.glide_plot import WINDOW, draw_training
from labkit.schedule import NoiseSchedule


def squares_pca(pictures: Tensor, f: int, kept: int) -> Callable[[Tensor], Tensor]:
    """The linear autoencoder of the least squared error that looks at f x f pixels at a time and
    keeps so many numbers of each: fitted to pictures (N, C, S, S), to be called on others; what
    comes back has their shape. Raises ValueError for an f that does not divide S."""
    whole_number(f, "f", 1)
    if (side := picture_batch(pictures, "pictures").shape[-1]) % f:
        raise ValueError(f"pictures of {side} pixels a side have no squares of {f}: choose others")
    rows = F.unfold(pictures, f, stride=f).mT.flatten(0, 1).double()  # (squares, C · f²)
    whole_number(kept, "kept", 1, rows.shape[1])
    mean = rows.mean(0)
    axes = torch.linalg.eigh((rows - mean).T @ (rows - mean)).eigenvectors[:, -kept:]

    def again(pictures: Tensor) -> Tensor:
        own = F.unfold(pictures, f, stride=f).mT.double() - mean
        back = ((own @ axes) @ axes.T + mean).mT.to(pictures.dtype)
        return F.fold(back, pictures.shape[-2:], f, stride=f)

    return again


def two_stages() -> Figure:
    """Latent diffusion in a diagram: the encoder, diffusion among latents with a sentence, the
    decoder."""
    figure, axis = canvas(8.1, 2.7, 3.4)
    box(axis, 0.05, 1.0, 1.35, 1.35, "picture\n64 × 64 × 3", plots.BLACK)
    box(axis, 1.85, 1.25, 1.0, 0.85, "encoder", plots.BLUE)
    box(axis, 3.35, 0.75, 3.3, 1.85, "", plots.ORANGE)
    axis.text(5.0, 2.36, "diffusion of latents, 16 × 16 × 4", ha="center", va="center", fontsize=9)
    box(axis, 3.6, 1.0, 0.95, 0.95, "noise", plots.ORANGE)
    box(axis, 5.45, 1.0, 0.95, 0.95, "latent", plots.ORANGE)
    arrow(axis, (4.55, 1.48), (5.45, 1.48))
    axis.text(5.0, 1.64, "U-Net", ha="center", fontsize=9)
    box(axis, 7.15, 1.25, 1.0, 0.85, "decoder", plots.BLUE)
    box(axis, 8.6, 1.0, 1.35, 1.35, "picture\n64 × 64 × 3", plots.BLACK)
    box(axis, 3.6, 0.02, 2.8, 0.48, "a sentence's tokens", plots.GREEN)
    arrow(axis, (5.0, 0.5), (5.0, 1.42), plots.GREEN)
    axis.text(5.1, 0.56, "cross-attention", fontsize=8.5, color=plots.GREEN)
    for start, end in ((1.4, 1.85), (2.85, 3.35), (6.65, 7.15), (8.15, 8.6)):
        arrow(axis, (start, 1.67), (end, 1.67))
    axis.text(2.35, 2.3, "1st stage", ha="center", fontsize=9, color=plots.BLUE)
    axis.text(2.35, 0.95, "in training", ha="center", fontsize=9, color=plots.BLUE)
    axis.text(5.0, 2.85, "2nd stage", ha="center", fontsize=9, color=plots.ORANGE)
    axis.text(7.65, 2.3, "1st stage", ha="center", fontsize=9, color=plots.BLUE)
    return figure


def channels(pictures: Tensor, latents: Tensor) -> Figure:
    """In each row a picture (3, S, S) and the channels of its latent (C, s, s), from the smallest
    number of that channel, black, to its largest, white, in all rows together."""
    low, high = latents.amin((0, 2, 3), keepdim=True), latents.amax((0, 2, 3), keepdim=True)
    gray = 2 * (latents - low) / (high - low).clamp(min=1e-9) - 1
    gray = F.interpolate(gray, size=pictures.shape[-2:], mode="nearest")
    tiles = [torch.cat([own[None], each[:, None].expand(-1, 3, -1, -1)])
             for own, each in zip(pictures, gray, strict=True)]  # fmt: skip
    titles = ["picture", *(f"channel {n}" for n in range(1, latents.shape[1] + 1))]
    return plots.image_grid(torch.cat(tiles), columns=len(titles), titles=titles)


def signal_left(schedules: Mapping[str, NoiseSchedule], sizes: Mapping[str, float]) -> Figure:
    """A panel for each schedule; in it, for each size of the latents, their correlation with what
    noise makes of them, over t."""
    figure, axes = plots.subplots(1, len(schedules), size=(8.1, 2.9), squeeze=False)
    for axis, (title, schedule) in zip(axes[0], schedules.items()):
        signal = schedule.alpha_bar
        for (name, std), color in zip(sizes.items(), plots.COLORS):
            share = std**2 * signal / (std**2 * signal + 1 - signal)
            axis.plot(share.sqrt().tolist(), color=color, label=name)
        axis.set(title=title, xlabel="t", ylabel="correlation with the latent", ylim=(0, 1.02))
    axes[0][0].legend(loc="lower left", fontsize=9)
    return figure


def draw_losses(figure: Figure, seen: Sequence, window: int = WINDOW) -> None:
    """The losses of the steps that were seen, and their running mean at the window's middle."""
    draw_training(figure, seen, window, "loss")


def over_f(panels: Mapping[str, Mapping[str, Tensor]], logarithmic: Sequence[str] = ()) -> Figure:
    """A panel for each measure: points for each name, such as "4", with their standard errors over
    the seeds (S,). logarithmic: the panels whose axis is."""
    figure, axes = plots.subplots(1, len(panels), size=(8.1, 2.8), squeeze=False)
    for axis, (title, rows), color in zip(axes[0], panels.items(), plots.COLORS):
        means = [runs.mean().item() for runs in rows.values()]
        errors = [
            runs.std().item() / len(runs) ** 0.5 if len(runs) > 1 else 0 for runs in rows.values()
        ]
        axis.errorbar(range(len(rows)), means, errors, fmt="o-", capsize=3, color=color)
        axis.set_xticks(range(len(rows)), list(rows))
        axis.set(title=title, xlabel="f")
        if title in logarithmic:
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
    return figure
