"""Boxes and arrows, for the diagrams of systems in lessons 11 and 12."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from labkit.lab import plots


def canvas(width: float, height: float, top: float) -> tuple[Figure, Axes]:
    """An empty drawing of that size in inches, whose places go from 0 to 10 and from 0 to `top`."""
    figure, axis = plots.subplots(size=(width, height))
    axis.set(xlim=(0, 10), ylim=(0, top))
    axis.axis("off")
    return figure, axis


def box(axis: Axes, x: float, y: float, width: float, height: float, text: str, color: str) -> None:
    """A box with round corners from (x, y), and a text in its middle."""
    shape = {"boxstyle": "round,pad=0,rounding_size=0.08", "edgecolor": color, "linewidth": 1.5}
    axis.add_patch(FancyBboxPatch((x, y), width, height, facecolor=f"{color}33", **shape))
    axis.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9)


def arrow(
    axis: Axes, start: tuple[float, float], end: tuple[float, float], color: str = plots.BLACK
) -> None:
    """An arrow from one place to another."""
    style = {"arrowstyle": "-|>", "color": color, "linewidth": 1.8}
    axis.annotate("", end, xytext=start, arrowprops=style)
