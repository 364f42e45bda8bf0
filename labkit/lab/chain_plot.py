"""Drawings of Markov chains: their graphs, walks and distributions, and a cloud like a cat."""

import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.font_manager import findfont
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.path import Path
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from labkit.lab.plots import BLACK, BLUE, COLORS, ORANGE, SKY, encode
from labkit.markov import Chain

NODE = 0.36  # radius of a state's circle; the circles stand on a ring of this radius:
RING = 1.12
LABEL = {  # on its arrow, in the arrow's color
    "ha": "center",
    "va": "center",
    "fontsize": 9.5,
    "weight": "bold",
    "bbox": {"facecolor": "white", "edgecolor": "none", "pad": 0.8},
}


def draw_chain(axes: Axes, chain: Chain, share: Tensor | None = None) -> None:
    """The transition graph: an arrow per possible step, as wide as the step is likely.

    share: a distribution over the states, (n,), written into the circles.
    The k-th state has the k-th color of the lessons' palette, here and in the other drawings.
    """
    Graph(axes, chain.states).update(chain.P, share)


class Graph:
    """A transition graph on `axes` that can be changed without being drawn anew."""

    def __init__(self, axes: Axes, states: tuple[str, ...]):
        axes.set(xlim=(-2.15, 2.15), ylim=(-2.05, 1.75), aspect="equal")
        axes.axis("off")
        for spine in axes.spines.values():
            spine.set_visible(False)
        self.states, n = states, len(states)
        turn = 150 if n != 2 else 180
        angles = [math.radians(turn - 360 * k / n) for k in range(n)]
        places = [RING * np.array([math.cos(angle), math.sin(angle)]) for angle in angles]
        self.arrows, self.labels, self.names = {}, {}, []
        for i in range(n):
            for j in range(n):
                ends = (places[i], angles[i]) if i == j else (places[i], places[j])
                path, label = _loop(*ends) if i == j else _bend(*ends)
                arrow = FancyArrowPatch(
                    path=path, color=_color(i), arrowstyle="-|>", shrinkA=0, shrinkB=0
                )
                self.arrows[i, j] = axes.add_patch(arrow)
                self.labels[i, j] = axes.text(*label, "", color=_color(i), **LABEL)
        for k, place in enumerate(places):
            circle = Circle(place, NODE, facecolor=_color(k), edgecolor="white", linewidth=2)
            axes.add_patch(circle)
            self.names.append(
                axes.text(
                    *place,
                    states[k],
                    color="white",
                    weight="bold",
                    fontsize=10,
                    ha="center",
                    va="center",
                )
            )

    def update(self, P: Tensor, share: Tensor | None = None) -> None:
        """Show the probabilities P (n, n), and a distribution (n,) in the circles."""
        for (i, j), arrow in self.arrows.items():
            probability = P[i, j].item()
            arrow.set(linewidth=0.7 + 4.5 * probability, mutation_scale=9 + 8 * probability)
            arrow.set_visible(probability > 0)
            self.labels[i, j].set_text(f"{round(probability, 3):g}" if probability > 0 else "")
        for k, text in enumerate(self.names if share is not None else []):
            text.set_text(f"{self.states[k]}\n{share[k].item():.3f}")

    def artists(self) -> list:
        """What `update` changes."""
        return [*self.arrows.values(), *self.labels.values(), *self.names]


def draw_walk(axes: Axes, path: list[int], states: tuple[str, ...], hours: float = 1) -> None:
    """A walk as a band of colored pieces, one lane per state; `hours` is the length of a step."""
    for k in range(len(states)):
        pieces = [(n * hours, hours) for n, state in enumerate(path) if state == k]
        axes.broken_barh(pieces, (len(states) - 1 - k - 0.4, 0.8), color=_color(k))
    axes.set_yticks(range(len(states)), states[::-1])
    axes.set_xlim(0, len(path) * hours)
    axes.grid(False)


def draw_distributions(axes: Axes, chain: Chain, n: int) -> None:
    """The distribution after n steps from each start: a group of bars a state, a color a start."""
    states = range(len(chain.states))
    width = 0.8 / len(states)
    for k, start in enumerate(chain.states):
        places = [j + width * (k - (len(states) - 1) / 2) for j in states]
        heights = chain.distribution(start, n).tolist()
        axes.bar(places, heights, 0.93 * width, color=_color(k), label=f"from {start}")
    axes.set_xticks(states, chain.states)
    axes.set_title(f"n = {n}")


def draw_approach(axes: Axes, chain: Chain, start: str, steps: int) -> None:
    """The probability of each state over the steps from `start`; dashed: the stationary one."""
    rows = torch.stack([chain.distribution(start, n) for n in range(steps + 1)])
    for k, (name, level) in enumerate(zip(chain.states, chain.stationary().tolist(), strict=True)):
        axes.plot(rows[:, k], color=_color(k), label=name)
        axes.axhline(level, color=_color(k), linewidth=1, linestyle="--")
    axes.set(title=f"starting in {start}", xlabel="steps n")


def draw_band(axes: Axes, paths: Tensor, moments: Tensor) -> None:
    """Paths (steps, N) under the mean and two standard deviations around it, of `moments`
    (steps, 2): mean and variance."""
    mean, std = moments[:, 0], moments[:, 1].sqrt()
    axes.plot(paths, color=SKY, linewidth=0.8)
    axes.fill_between(range(len(mean)), mean - 2 * std, mean + 2 * std, color=BLUE, alpha=0.15)
    axes.plot(mean, color=BLUE)


def draw_target(axes: Axes, target: Tensor, name: str) -> Callable[[Tensor, str], list]:
    """A distribution (n,) as a line over bars. Returns `update(row, title)`, which sets the bars to
    another distribution and gives back what it changed."""
    edges = torch.arange(len(target) + 1) - 0.5
    bars = axes.stairs(target, edges, fill=True, color=ORANGE, label="the chain")
    line = axes.stairs(target, edges, color=BLACK, linewidth=2, zorder=2, label=name)
    heading = axes.set_title(" ")
    axes.legend(loc="upper left")

    def update(row: Tensor, title: str) -> list:
        bars.set_data(row)
        heading.set_text(title)
        return [bars, line, heading]

    return update


def draw_cloud(axes: Axes, points: Tensor) -> None:
    """Points (n, 2) as dots within ±4 by ±3.5."""
    axes.scatter(*points.T, s=0.6, color=BLACK, linewidths=0)
    axes.set(xlim=(-4, 4), ylim=(-3.5, 3.5), aspect="equal", xticks=(-2, 0, 2), yticks=(-2, 0, 2))
    axes.set_xlabel("$x_1$")


def cat_cloud(n: int, generator: torch.Generator | None = None) -> Tensor:
    """n points (n, 2) in the shape of a cat's face, 3.6 wide, its middle at (1.9, 1.4)."""
    x, y = np.meshgrid(np.linspace(-1.5, 1.5, 301), np.linspace(-1.3, 1.3, 261))

    def ellipse(a, b, width, height):
        return ((x - a) / width) ** 2 + ((y - b) / height) ** 2 < 1

    ears = (abs(abs(x) - 0.35 - 0.28 * (y + 0.1)) < (1.2 - y) * 0.36) & (y > 0) & (y < 1.2)
    eyes = ellipse(-0.42, 0.08, 0.17, 0.24) | ellipse(0.42, 0.08, 0.17, 0.24)
    nose = (abs(x) < (y + 0.46) * 0.9) & (y < -0.22)
    rise = [abs(y + 0.3 - 0.25 * turn * (abs(x) - 0.7)) < 0.012 for turn in (-1, 0, 1)]
    whiskers = np.any(rise, 0) & (abs(x) > 0.9) & (abs(x) < 1.45)
    face = (ellipse(0, -0.15, 1.05, 0.85) | ears) & ~(eyes | nose)
    weight = torch.from_numpy(face + 3.0 * whiskers)
    chosen = torch.multinomial(weight.flatten(), n, replacement=True, generator=generator)
    points = torch.from_numpy(np.stack([x.flat, y.flat], 1))[chosen]  # (n, 2)
    jitter = torch.rand(n, 2, generator=generator, dtype=torch.float64) - 0.5
    return 1.25 * (points + 0.01 * jitter) + torch.tensor([1.9, 1.4])


def cloud_picture(points: Tensor, scale: int = 52) -> bytes:
    """Points (n, 2) as black dots within ±4 by ±3.5, with a dashed circle of radius 2 around 0.

    scale: pixels a unit. Returns a PNG file of 8 · scale by 7 · scale; fast enough for film strips.
    """
    picture = _empty_axes(scale).copy()
    angles = torch.arange(0, 2 * math.pi, 0.004)
    circle = 2 * torch.stack([angles.cos(), angles.sin()], 1)[(angles * 12 / math.pi) % 2 < 1]
    for dots, color in ((circle, (213, 94, 0)), (points, (0, 0, 0))):
        column, row = ((4 + dots[:, 0]) * scale).long(), ((3.5 - dots[:, 1]) * scale).long()
        inside = (column > 0) & (column < 8 * scale) & (row > 0) & (row < 7 * scale)
        column, row = column[inside].numpy(), row[inside].numpy()
        for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
            picture[row - y, column - x] = color
    return encode(picture, fast=True)


@functools.cache
def _empty_axes(scale: int) -> np.ndarray:
    """White, (7 · scale, 8 · scale, 3), with ticks at −2, 0 and 2 and the names of the axes."""
    picture = Image.new("RGB", (8 * scale, 7 * scale), "white")
    draw, grey = ImageDraw.Draw(picture), (110, 110, 110)
    font = ImageFont.truetype(findfont("DejaVu Sans"), round(0.27 * scale))
    right, bottom = picture.width - 1, picture.height - 1
    for tick in (-2, 0, 2):
        x, y, name = (4 + tick) * scale, (3.5 - tick) * scale, str(tick).replace("-", "−")
        draw.line((x, bottom - 5, x, bottom), grey)
        draw.line((0, y, 5, y), grey)
        draw.text((x, bottom - 7), name, grey, font, anchor="mb")
        draw.text((14, y), name, grey, font, anchor="lm")
    draw.text((right - 8, bottom - 7), "x₁", grey, font, anchor="rb")
    draw.text((9, 7), "x₂", grey, font, anchor="lt")
    return np.asarray(picture)


def _color(k: int) -> str:
    return COLORS[k % len(COLORS)]


def _bend(start, end):
    """A curve between the rims of two circles, bent to the left, and the place of its label."""
    along = (end - start) / np.linalg.norm(end - start)
    left = np.array([-along[1], along[0]])
    a = start + NODE * (0.9 * along + 0.44 * left)
    b = end + NODE * (-0.9 * along + 0.44 * left) - 0.02 * along
    middle = (a + b) / 2 + 0.24 * left
    path = Path([a, middle, b], [Path.MOVETO, Path.CURVE3, Path.CURVE3])
    t = 0.42  # on the curve, nearer to its start: the labels of two crossing arrows stay apart
    return path, (1 - t) ** 2 * a + 2 * t * (1 - t) * middle + t**2 * b


def _loop(place, angle: float):
    """A loop on the outer side of a circle, and the place of its label."""
    out = np.array([math.cos(angle), math.sin(angle)])
    side = np.array([-out[1], out[0]])
    a, b = (place + NODE * (0.88 * out + sign * 0.48 * side) for sign in (1, -1))
    handles = [place + NODE * (2.6 * out + sign * 1.5 * side) for sign in (1, -1)]
    path = Path([a, *handles, b], [Path.MOVETO] + [Path.CURVE4] * 3)
    return path, place + NODE * 2.3 * out
