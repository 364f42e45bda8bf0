"""The family tree of the course's systems, drawn."""

from matplotlib.patches import FancyBboxPatch

from labkit.lab import plots
from labkit.lab.arc import STEPS

# where each lesson stands: column and row
PLACES = {
    1: (1, 0), 2: (1, 1), 3: (1, 2), 4: (0, 3), 5: (1, 3), 6: (1, 4), 7: (3, 2), 8: (2, 4),
    9: (1, 5), 10: (2, 6), 11: (1, 6), 12: (0, 6), 13: (3, 6),
}  # fmt: skip
KINDS = {  # the color of each box, by the lessons
    "chains and models": (1, 2, 3, 4),
    "guidance": (5, 6, 8),
    "text to image": (9, 10, 11, 12),
    "pictures and words": (7, 13),
}
WIDTH, HEIGHT = 0.95, 0.6  # of a box


def draw_family(axes) -> None:
    """A box for each lesson from 01 on, with what it changed, under the lessons that it changed."""
    axes.set(xlim=(-0.55, 3.55), ylim=(6.75, -0.6))
    axes.axis("off")
    colors = {n: plots.COLORS[k] for k, numbers in enumerate(KINDS.values()) for n in numbers}
    for step in STEPS:
        column, row = PLACES[step.lesson]
        for before in step.before:
            _line(axes, PLACES[before], (column, row))
        box = FancyBboxPatch(
            (column - WIDTH / 2, row - HEIGHT / 2), WIDTH, HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.08", facecolor="white",
            edgecolor=colors[step.lesson], linewidth=1.8,
        )  # fmt: skip
        axes.add_patch(box)
        centered = {"ha": "center", "va": "center"}
        axes.text(column, row - 0.12, f"{step.lesson:02} {step.name}", fontsize=8.5,
                  weight="bold", color=colors[step.lesson], **centered)  # fmt: skip
        axes.text(column, row + 0.14, step.changed, fontsize=7.5, **centered)


def _line(axes, start: tuple[int, int], end: tuple[int, int]) -> None:
    """From under one box to the top of another, at the side from which it comes."""
    aside = 0.25 * max(-1, min(1, start[0] - end[0]))
    tail, head = (start[0], start[1] + HEIGHT / 2), (end[0] + aside, end[1] - HEIGHT / 2)
    arrow = {"arrowstyle": "->", "color": "#777777", "linewidth": 1.4, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", head, tail, arrowprops=arrow, zorder=0)
