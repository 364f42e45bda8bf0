"""The drawings of lesson 09: attention over a sentence, guidance over its scale, seams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from labkit.lab import plots

WINDOW = 20  # updates over which a loss is averaged


def over_sentence(pictures: Sequence[Tensor], maps: Sequence[Tensor], words: Sequence[str],
                  rows: Sequence[str] = ()) -> Figure:  # fmt: skip
    """In each row a picture (3, S, S) and, for each word, where its pixels look at it: maps
    (words, S, S), each as bright as the brightest of its own; black is no attention at all."""
    tiles = []
    for picture, own in zip(pictures, maps, strict=True):
        bright = 2 * own / own.amax((1, 2), keepdim=True).clamp(min=1e-9) - 1
        tiles += [picture[None], bright[:, None].expand(-1, 3, -1, -1)]
    return plots.image_grid(
        torch.cat(tiles), columns=len(words) + 1, titles=["", *words], rows=rows
    )


def of_one_pixel(picture: Tensor, weights: Tensor, words: Sequence[str], at: tuple[int, int],
                 side: int) -> Figure:  # fmt: skip
    """What one pixel of a layer looks at: at left the picture (3, S, S), the pixel framed, in the
    middle how much it gives to each word, at right to each other pixel.

    weights: (L + side²,), the text's positions first; words: one for each of the L positions, ""
    for padding at the end; at: row and column of the pixel among side x side.
    """
    figure, axes = plots.subplots(1, 3, size=(8.1, 2.7), width_ratios=(1, 2.2, 1))
    cell = picture.shape[-1] / side
    axes[0].imshow(((picture.permute(1, 2, 0) + 1) / 2).clamp(0, 1).numpy())
    corner = (at[1] * cell - 0.5, at[0] * cell - 0.5)
    axes[0].add_patch(_frame(corner, cell))
    to_words = weights[: len(words)]
    axes[1].bar(range(len(words)), to_words.tolist(), color=plots.BLUE)
    axes[1].set_xticks(range(len(words)), words, rotation=90, fontsize=8)
    axes[1].set(ylabel="weight", title=f"to the text: {to_words.sum():.0%}")
    if padding := len(words) - sum(map(bool, words)):
        first = len(words) - padding
        axes[1].axvspan(first - 0.5, len(words) - 0.5, color=plots.BLACK, alpha=0.08, linewidth=0)
        place = (first + (padding - 1) / 2, 0.98)  # at the top of the axis
        over = {"transform": axes[1].get_xaxis_transform(), "va": "top", "ha": "center"}
        axes[1].text(*place, "padding", fontsize=8, **over)
    pixels = weights[len(words) :].view(side, side)
    axes[2].imshow(pixels.numpy(), vmin=0)
    axes[2].add_patch(_frame((at[1] - 0.5, at[0] - 0.5), 1))
    axes[0].set_title("the pixel")
    axes[2].set_title(f"to pixels: {pixels.sum():.0%}")
    for axis in (axes[0], axes[2]):
        axis.set(xticks=[], yticks=[])
    return figure


def _frame(corner: tuple[float, float], size: float) -> Rectangle:
    return Rectangle(corner, size, size, fill=False, edgecolor=plots.VERMILLION, linewidth=2)


def against_scale(
    panels: Mapping[str, Mapping[str, tuple[Sequence[float], Tensor]]],
    ceilings: Mapping[str, float] | None = None,
) -> Figure:
    """A panel for each measure; in it a curve for each way of guidance: its scales, and runs
    (scales, seeds). Scales stand at equal distances, from the weakest to the strongest, since the
    two ways count in other units. ceilings: what real pictures score, dotted."""
    figure, axes = plots.subplots(1, len(panels), size=(8.1, 2.9), squeeze=False)
    for axis, (title, ways) in zip(axes[0], panels.items()):
        for (name, (scales, runs)), color in zip(ways.items(), plots.COLORS):
            places = range(len(scales))
            error = runs.std(1) / runs.shape[1] ** 0.5
            axis.errorbar(
                places,
                runs.mean(1).tolist(),
                error.tolist(),
                fmt="o-",
                capsize=3,
                color=color,
                label=name,
            )
        if ceilings and title in ceilings:
            axis.axhline(ceilings[title], linestyle=":", color=plots.BLACK, linewidth=1)
        axis.set(title=title, xlabel="weak → strong")
        axis.set_xticks([])
    axes[0][0].legend(fontsize=8, loc="center left", bbox_to_anchor=(0.02, 0.75))
    return figure


def draw_training(
    figure: Figure, seen: Sequence, window: int = WINDOW, loss: str = "loss, squared error of x0"
) -> None:
    """The losses of the steps that were seen, and their running mean at the window's middle.
    loss: what they are, as the axis says."""
    axis, losses = figure.subplots(), torch.tensor([step.loss for step in seen])
    window = min(window, len(losses))
    means = losses.unfold(0, window, 1).mean(1)
    axis.plot(losses, color=plots.SKY, linewidth=0.8)
    axis.plot(torch.arange(len(means)) + (window - 1) / 2, means, color=plots.BLUE)
    axis.set(title=f"{seen[-1].step} updates", xlabel="update", ylabel=loss)
    axis.set_yscale("log")


def by_kind(shares: Mapping[str, Mapping[str, float]], kinds: Sequence[str]) -> Figure:
    """Bars of the share that is shown, for each kind of part, a color for each of the names; a
    kind that nobody said has no bar."""
    figure, axis = plots.subplots(size=(8.1, 3))
    width = 0.8 / len(shares)
    for number, (name, own) in enumerate(shares.items()):
        places = [k + (number - (len(shares) - 1) / 2) * width for k in range(len(kinds))]
        heights = [own.get(kind, 0.0) for kind in kinds]
        axis.bar(places, heights, width, label=name, color=plots.COLORS[number])
    axis.set_xticks(range(len(kinds)), kinds)
    axis.set(ylabel="share shown", ylim=(0, 1.02))
    figure.legend(ncols=len(shares), loc="outside upper center", fontsize=8)
    return figure


def two_routes() -> Figure:
    """GLIDE's text in a diagram: tokens and padding, the text transformer, and its two ways into
    the U-Net."""
    figure, axis = plots.subplots(size=(8.1, 3.2))
    axis.set(xlim=(0, 10), ylim=(0, 4))
    axis.axis("off")

    def box(x, y, width, height, text, color):
        axis.add_patch(Rectangle((x, y), width, height, facecolor=color, alpha=0.25))
        axis.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=color, linewidth=1.5))
        axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9)

    def arrow(start, end, color, text=""):
        way = {"arrowstyle": "-|>", "color": color, "linewidth": 2}
        axis.annotate("", end, xytext=start, arrowprops=way)
        x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.22
        side = "center" if start[1] == end[1] else "right"  # beside a slope
        axis.text(x, y, text, ha=side, fontsize=9, color=color)

    for k, word in enumerate(("a", "red", "star", "pad", "pad")):
        color = plots.GREEN if word != "pad" else plots.BLACK
        box(0.1 + 0.62 * k, 1.7, 0.56, 0.6, word, color)
        arrow((0.38 + 0.62 * k, 1.68), (0.38 + 0.62 * k, 1.25), color)
    box(0.1, 0.5, 3.05, 0.75, "text transformer", plots.ORANGE)
    axis.text(1.6, 2.55, "tokens, then padding", ha="center", fontsize=9)
    box(5.3, 2.7, 1.7, 0.8, "time embedding", plots.SKY)
    box(5.3, 0.5, 1.7, 0.8, "keys and values", plots.SKY)
    box(8.2, 0.3, 1.6, 3.4, "U-Net", plots.BLUE)
    arrow((3.15, 1.1), (5.3, 3.0), plots.VERMILLION, "last position")
    arrow((3.15, 0.8), (5.3, 0.8), plots.PURPLE, "all positions")
    arrow((7.0, 3.1), (8.2, 3.1), plots.VERMILLION, "every block")
    arrow((7.0, 0.9), (8.2, 0.9), plots.PURPLE, "attention")
    return figure
