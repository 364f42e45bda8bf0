"""The drawings of lesson 07: who goes with whom, as a matrix, as a row of pictures, as bars."""

import math
import textwrap
from collections.abc import Sequence

import torch
from torch import Tensor

from labkit.lab import plots
from labkit.lab.forward_plot import pixels, show_picture

COLORS = "cividis"  # reads the same to eyes of every kind of color vision
OWN, OTHER = "#F3CE85", "#C9E4F6"  # bars light enough to write on: what belongs, and the others
LETTERS = 66  # of a line beside a picture


def wrapped(text: str, letters: int = LETTERS, lines: int = 2) -> str:
    """A sentence on at most that many lines; of one that is longer the end is cut off."""
    rows = textwrap.wrap(text, letters)
    if len(rows) > lines:
        rows = [*rows[: lines - 1], textwrap.shorten(" ".join(rows[lines - 1 :]), letters - 2)]
        rows[-1] = rows[-1].removesuffix("[...]").rstrip(" ,") + " …"
    return "\n".join(rows)


def draw_matrix(axes, matrix: Tensor, title: str = "", low: float = 0.0, high: float = 1.0):
    """A matrix (N, M) as colors, pictures down and sentences across; of a large one the cells
    have no numbers. Returns the image, for a color bar."""
    image = axes.imshow(matrix.detach().cpu().numpy(), cmap=COLORS, vmin=low, vmax=high)
    axes.set(xlabel="sentence", ylabel="picture", title=title)
    axes.grid(False)
    return image


def write_cells(axes, matrix: Tensor, low: float = 0.0, high: float = 1.0) -> None:
    """The numbers of a small matrix into its cells, light on dark and dark on light."""
    for (row, column), value in zip(torch.cartesian_prod(*map(torch.arange, matrix.shape)).tolist(),
                                    matrix.flatten().tolist()):  # fmt: skip
        ink = "black" if (value - low) / (high - low) > 0.55 else "white"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=9)


def draw_pairs(figure, pictures: Tensor, sentences: Sequence[str], matrix: Tensor) -> None:
    """N pictures down the left, M sentences across the top, and in each cell how well they go
    together, (N, M), between 0 and 1; the cells of the pairs, on the diagonal, are framed."""
    left, axes = figure.subplots(1, 2, width_ratios=(1, 7.5))
    count = len(pictures)
    column = torch.cat(list(pictures), dim=1)  # (3, N S, S)
    left.imshow(pixels(column), extent=(0, 1, count, 0), aspect="equal")
    left.axis("off")
    image = draw_matrix(axes, matrix)
    write_cells(axes, matrix)
    axes.set(xlabel="", ylabel="", yticks=[], aspect="auto")
    axes.set_xticks(range(len(sentences)), [wrapped(text, 15, 4) for text in sentences], fontsize=9)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    for place in range(min(matrix.shape)):
        axes.add_patch(
            plots.matplotlib.patches.Rectangle(
                (place - 0.5, place - 0.5), 1, 1, fill=False, edgecolor=plots.VERMILLION, lw=2.5
            )
        )
    figure.colorbar(image, ax=axes, label="cosine (below 0: as 0)", extend="min")


def draw_found(figure, pictures: Tensor, similarity: Tensor):
    """Pictures (K, 3, S, S) in a row, over each its similarity (K,). Returns what shows others:
    update(pictures, similarity)."""
    axes = figure.subplots(1, len(pictures), squeeze=False)[0]
    shown = [show_picture(axis, picture) for axis, picture in zip(axes, pictures)]
    for axis in axes:
        axis.set_title("0.00", loc="center")

    def update(pictures, similarity):
        for axis, image, picture, value in zip(axes, shown, pictures, similarity.tolist()):
            image.set_data(pixels(picture))
            axis.title.set_text(f"{value:.2f}")
        return [*shown, *(axis.title for axis in axes)]

    update(pictures, similarity)
    return update


def draw_said(figure, picture: Tensor, sentences: Sequence[str], similarity: Tensor, own: int):
    """A picture (3, S, S), and beside it K sentences on bars as long as their similarity (K,).

    own: which of them belongs to the picture; its bar has another color. -1: none of them. Returns
    what shows others: update(picture, sentences, similarity, own).
    """
    left, right = figure.subplots(1, 2, width_ratios=(1, 4))
    image = show_picture(left, picture)
    places = range(len(sentences))
    bars = right.barh(places, [1.0] * len(sentences), height=0.9, color=OTHER)
    texts = [right.text(0.012, place, "a", va="center", fontsize=9) for place in places]
    values = [right.text(1.01, place, "0.00", va="center", fontsize=9) for place in places]
    right.set(xlim=(0, 1.06), ylim=(len(sentences) - 0.5, -0.5), xticks=[], yticks=[])
    right.spines[:].set_visible(False)
    right.grid(False)

    def update(picture, sentences, similarity, own):
        image.set_data(pixels(picture))
        rows = zip(bars, texts, values, sentences, similarity.tolist())
        for place, (bar, text, number, sentence, value) in enumerate(rows):
            bar.set_width(max(value, 0.0))
            bar.set_facecolor(OWN if place == own else OTHER)
            text.set_text(wrapped(sentence))
            number.set_text(f"{value:.2f}")
        return [image, *bars, *texts, *values]

    update(picture, sentences, similarity, own)
    return update


def draw_scales(figure, scales: Tensor, curves: dict, learned: float, pairs: int) -> None:
    """Loss and its slope along the logarithm of the scale, one curve of each for every name in
    `curves`, {name: (losses, slopes)}. Vertical lines: the learned scale, and the cap of 100."""
    left, right = figure.subplots(1, 2)
    for (name, (losses, slopes)), color in zip(curves.items(), plots.COLORS):
        left.loglog(scales, losses, color=color, label=name)
        right.semilogx(scales, slopes, color=color)
    left.axhline(math.log(pairs), linestyle=":", color=plots.BLACK, linewidth=1)
    for axis in (left, right):
        axis.axvline(learned, color="#999999", linewidth=1)
        axis.axvline(100, linestyle="--", color="#999999", linewidth=1)
    left.set(title=f"loss of {pairs} pairs; dotted: ln {pairs}", xlabel="scale", ylabel="loss")
    right.set(title="its slope along ln scale", xlabel="scale", ylim=(-3, 3))
    right.text(learned, -2.8, "learned ", ha="right", fontsize=8)
    right.text(100, -2.8, " limit", fontsize=8)
    left.legend(fontsize=8)


def draw_training(figure, before: Tensor, now: Tensor, losses: Sequence[float], pairs: int) -> None:
    """The test matrix before training and now, and the loss of every step so far."""
    left, middle, right = figure.subplots(1, 3)
    draw_matrix(left, before, "before")
    draw_matrix(middle, now, f"after {len(losses)} steps")
    right.plot(range(len(losses)), losses, color=plots.BLUE)
    right.axhline(math.log(pairs), linestyle=":", color=plots.BLACK, linewidth=1)
    right.set(title=f"loss; dotted: ln {pairs}", xlabel="step", ylim=(0, 5.5))


def draw_probes(axes, shots: Sequence[int], probed: dict) -> None:
    """Accuracy against labels a class: of each name in `probed`, {name: (scores (draws, K), zero)},
    the mean of the draws with bars of one standard deviation, and a dotted line at zero-shot's."""
    for (name, (scores, zero)), color in zip(probed.items(), plots.COLORS):
        axes.errorbar(shots, scores.mean(0), scores.std(0), fmt="o-", capsize=2, color=color,
                      label=f"{name}: probe")  # fmt: skip
        axes.axhline(zero, color=color, linestyle=":", linewidth=1.5)
    axes.set_xscale("log")
    axes.set_xticks(shots, shots)
    axes.minorticks_off()
    axes.set(title="probe with k labels a class; dotted: zero-shot", xlabel="k",
             ylabel="share right")  # fmt: skip
    axes.legend()


def draw_duplicates(figure, scales: Tensor, curves: dict, floor: float) -> None:
    """The loss against the scale, a panel for each name in `curves`, {name: losses}, with a line
    where it is smallest; `floor`, dotted, is drawn into the first panel."""
    panels = figure.subplots(1, len(curves))
    for axis, (name, losses) in zip(panels, curves.items()):
        axis.semilogx(scales, losses, color=plots.BLUE)
        place = int(losses.argmin())
        inside = place < len(losses) - 1
        if inside:
            axis.axvline(scales[place], color=plots.VERMILLION, linewidth=1)
        where = f"smallest at scale {scales[place]:.0f}" if inside else "falls up to 300"
        axis.set(title=f"{name}: {where}", xlabel="scale", ylabel="loss")
    panels[0].axhline(floor, linestyle=":", color=plots.BLACK, linewidth=1)


def draw_hard_negatives(axes, steps: Sequence[int], shares: dict) -> None:
    """The share of right answers on held-out scenes against training steps, a curve for each seed
    of each name in `shares`, {name: (seeds, K)}; dotted: chance."""
    for (name, runs), color in zip(shares.items(), plots.COLORS):
        for seed, share in enumerate(runs):
            label = {"hard": "with hard negatives"}.get(name, name) if seed == 0 else None
            axes.plot(list(steps), share, "o-", color=color, label=label)
    axes.axhline(0.5, linestyle=":", color=plots.BLACK, linewidth=1)
    axes.set(xlabel="step", ylabel="share right", ylim=(0.4, 1.02),
             title="true sentence nearer than the swapped one; dotted: chance")  # fmt: skip
    axes.legend()
