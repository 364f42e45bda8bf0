"""The drawings of lesson 13: regions, words, the attention between them, and what it is worth."""

from collections.abc import Mapping, Sequence

from matplotlib.patches import ConnectionPatch, Rectangle
from torch import Tensor

from labkit.lab import plots
from labkit.lab.clip_plot import COLORS, wrapped
from labkit.lab.forward_plot import pixels, show_picture
from labkit.scenes.reader import FRAME

WHOLE = "#777777"  # the region that is the whole picture
INKS = (WHOLE, *(plots.COLORS[k] for k in (0, 1, 2, 3, 4, 5)))  # of each region
MOST = len(INKS)  # regions that can be shown


def box_of(place: Tensor) -> tuple[float, float, float]:
    """The left, the top and the side of a region's box, shares of the picture's side; its place is
    (x, y, radius, …)."""
    x, y, radius = place[:3].tolist()
    half = FRAME * radius
    return x - half, y - half, 2 * half


def shown_box(place: Tensor) -> tuple[float, float, float, float]:
    """The left, top, right and bottom of what the picture shows of a region's box; all four lie
    between 0 and 1, or the axes would cut its lines away."""
    x, y, side = box_of(place)
    return max(x, 0), max(y, 0), min(x + side, 1), min(y + side, 1)


def framed(axes, picture: Tensor):
    """A picture (3, S, S) whose axes run from 0 to 1, from the top left, so that boxes fit."""
    image = show_picture(axes, picture)
    image.set_extent((0, 1, 1, 0))
    axes.set(xlim=(-0.03, 1.03), ylim=(1.03, -0.03))
    return image


def draw_links(figure, picture: Tensor, places: Tensor, words: Sequence[str], weights: Tensor):
    """A picture with its regions in boxes, and beside it words or phrases (L,), each with a line to
    its strongest region; the stronger, the thicker. No line: that is the whole picture.

    places: (M, 4) of the regions; weights: (L, M), rows summing to 1.
    """
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1))
    framed(left, picture)
    for number, place in enumerate(places):
        x, y, end, low = shown_box(place)
        box = Rectangle((x, y), end - x, low - y, fill=False, edgecolor=INKS[number], lw=2)
        left.add_patch(box)
    right.set(xlim=(0, 1), ylim=(len(words) - 0.5, -0.5))
    right.axis("off")
    for row, (word, given) in enumerate(zip(words, weights)):
        best = int(given.argmax())
        right.text(0.36, row, word, va="center", color=INKS[best])
        if best == 0:
            continue
        _, y, end, low = shown_box(places[best])
        line = {"linewidth": 4 * given[best].item(), "color": INKS[best], "alpha": 0.8}
        ends = (0.34, row), (end, (y + low) / 2)
        link = ConnectionPatch(*ends, "data", "data", axesA=right, axesB=left, **line)
        link.set_in_layout(False)  # or the axes would shrink to make room for it
        right.add_artist(link)


def draw_regions(
    figure, picture: Tensor, places: Tensor, words: Sequence[str], weights: Tensor, chosen: int = 0
):
    """A picture with its regions in boxes, numbered, and beside it how much each word (L,) attends
    to each region, weights (L, M): bright is large. The row of the chosen word is framed and bears
    its numbers, and a thicker box means more attention. places: (M, 4); a radius of 0: no such
    region.

    Returns what shows another picture or word: update(picture, places, weights, chosen).
    """
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.25))
    image = framed(left, picture)
    boxes = [left.add_patch(Rectangle((0, 0), 1, 1, fill=False, edgecolor=ink, clip_on=False))
             for ink, _ in zip(INKS, places)]  # fmt: skip
    numbers = [left.text(0, 0, f" {k}" if k else "", color=INKS[k], va="top", weight="bold")
               for k in range(len(places))]  # fmt: skip
    table = right.imshow(weights.detach().cpu().numpy(), cmap=COLORS, vmin=0, vmax=1, aspect="auto")
    right.set_xticks(range(len(places)), ["whole", *range(1, len(places))])
    right.set_yticks(range(len(words)), words, fontsize=min(10, 200 / len(words)))
    right.set(xlabel="region (bright: more attention)")
    right.tick_params(length=0)
    frame = Rectangle((-0.5, -0.5), len(places), 1, fill=False, edgecolor=plots.VERMILLION, lw=3)
    right.add_patch(frame).set_clip_on(False)
    shares = [right.text(k, 0, "", ha="center", va="center", fontsize=min(9, 180 / len(words)))
              for k in range(len(places))]  # fmt: skip

    def update(picture, places, weights, chosen):
        image.set_data(pixels(picture))
        table.set_data(weights.detach().cpu().numpy())
        high = max(0.5, weights.max().item())  # few weights come near 1
        table.set_clim(0, high)
        frame.set_y(chosen - 0.5)
        for box, number, place, weight in zip(boxes, numbers, places, weights[chosen].tolist()):
            x, y, end, low = shown_box(place)
            box.set(xy=(x, y), width=end - x, height=low - y, visible=end > x)
            box.set(linewidth=0.5 + 5 * weight, alpha=0.25 + 0.75 * min(1, 2 * weight))
            number.set(position=(x, y), visible=end > x)
        for number, (share, weight) in enumerate(zip(shares, weights[chosen].tolist())):
            share.set(position=(number, chosen), text=f"{weight:.2f}")
            share.set_color("black" if weight > 0.6 * high else "white")
        return [image, table, *boxes, *numbers, frame, *shares]

    update(picture, places, weights, chosen)
    return update


def draw_ranked(figure, pictures: Tensor, scores: Tensor, chosen: int = 0):
    """Pictures (K, 3, S, S) in a row, the best first, over each its score (K,); the chosen one is
    framed. Returns what shows others: update(pictures, scores, chosen)."""
    axes = figure.subplots(1, len(pictures), squeeze=False)[0]
    shown = [framed(axis, picture) for axis, picture in zip(axes, pictures)]
    frames = [axis.add_patch(Rectangle((0, 0), 1, 1, fill=False, lw=3)) for axis in axes]
    for axis in axes:
        axis.set_title("0.00", loc="center")

    def update(pictures, scores, chosen):
        for place, (axis, image, picture, score) in enumerate(
            zip(axes, shown, pictures, scores.tolist())
        ):
            image.set_data(pixels(picture))
            axis.title.set_text(f"{place + 1}: {score:.2f}")
            frames[place].set_edgecolor(plots.VERMILLION if place == chosen else "none")
        return [*shown, *frames, *(axis.title for axis in axes)]

    update(pictures, scores, chosen)
    return update


def draw_blocks(axes, attention: Tensor, labels: Sequence[str], regions: int):
    """The attention matrix (L, L) of regions, which come first, and words; white lines part its
    four blocks, each of which bears its name. A row is a query, a column a key; bright is large.
    Returns the image, for a color bar."""
    high = attention.max().item()
    image = axes.imshow(attention.detach().cpu().numpy(), cmap=COLORS, vmin=0, vmax=high)
    for line in (axes.axhline, axes.axvline):
        line(regions - 0.5, color="white", linewidth=2)
    middle = {"R": (regions - 1) / 2, "E": (regions + len(labels) - 1) / 2}
    for row in "RE":
        for column in "RE":
            axes.text(middle[column], middle[row], row + column, ha="center", va="center",
                      color="white", fontsize=15, weight="bold", alpha=0.85)  # fmt: skip
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set(xlabel="key", ylabel="query")
    axes.tick_params(length=0)
    return image


def draw_training(figure, losses: Sequence[float], margin: float, recalls: Sequence[tuple],
                  warmup: int = 0) -> None:  # fmt: skip
    """Left, the loss of every step, with a dashed line at 2 m, and a dotted one where the sum of
    all negatives gives way to the hardest one; right, R@1, a pair (step, share) each."""
    left, right = figure.subplots(1, 2)
    left.plot(range(1, len(losses) + 1), losses, color=plots.SKY, linewidth=1)
    left.axhline(2 * margin, linestyle="--", color=plots.BLACK, linewidth=1)
    if warmup:
        left.axvline(warmup, linestyle=":", color=plots.BLACK, linewidth=1)
    left.set_yscale("log")
    left.set(title="loss of a pair; dashed: 2m", xlabel="step", ylabel="loss")
    right.plot(*zip(*recalls), "o-", color=plots.BLUE)
    right.set(title="R@1, sentence to picture", xlabel="step", ylabel="R@1", ylim=(0, 1.02))


def draw_collapse(axes, runs: Mapping[float, Sequence[float]]) -> None:
    """The loss of a pair against steps, a curve for each margin m; dashed: 2 m, what a
    pair costs where all scores are equal."""
    for (margin, losses), color in zip(runs.items(), plots.COLORS):
        axes.plot(range(1, len(losses) + 1), losses, color=color, label=f"m = {margin}", lw=1.5)
        axes.axhline(2 * margin, linestyle="--", color=color, linewidth=1)
    axes.set(title="hardest negative from the first step; dashed: 2m", xlabel="step",
             ylabel="loss of a pair", ylim=(0, None))  # fmt: skip
    axes.legend()


def draw_branches(axes, recalls: Mapping[str, Sequence[float]]) -> None:
    """R@1 of each name in percent, a dot for each seed and a line at their mean."""
    for place, (values, color) in enumerate(zip(recalls.values(), plots.COLORS)):
        axes.plot([place] * len(values), values, "o", color=color, alpha=0.7)
        mean = sum(values) / len(values)
        axes.plot([place - 0.25, place + 0.25], [mean, mean], color=color, linewidth=3)
    axes.set_xticks(range(len(recalls)), [wrapped(name, 14) for name in recalls])
    axes.set(ylabel="R@1, %", xlim=(-0.6, len(recalls) - 0.4))


def draw_top(axes, tops: Sequence[int], recalls: Sequence[float], full: float, cheap: float):
    """R@1 in percent against how many of the best by the cheap score are scored jointly; dashed:
    all of them, dotted: none."""
    axes.semilogx(tops, recalls, "o-", color=plots.BLUE)
    axes.axhline(full, linestyle="--", color=plots.BLACK, linewidth=1)
    axes.axhline(cheap, linestyle=":", color=plots.BLACK, linewidth=1)
    axes.set_xticks(tops, tops)
    axes.minorticks_off()
    axes.set(xlabel="joint passes for each query", ylabel="R@1, %",
             title="dashed: all joint; dotted: cheap score alone")  # fmt: skip
