"""Drawings of Markov chains: the transition graph, the strip of a walk, and a cloud like a cat."""

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.path import Path
from torch import Tensor

from labkit.lab.plots import COLORS, encode
from labkit.markov import Chain

NODE = 0.36  # radius of a state's circle; the circles stand on a ring of this radius:
RING = 1.12
LABEL = {
    "ha": "center",
    "va": "center",
    "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 0.8},
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
                self.labels[i, j] = axes.text(*label, "", fontsize=9.5, **LABEL)
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
    picture = np.full((7 * scale, 8 * scale, 3), 255, np.uint8)
    angles = torch.arange(0, 2 * math.pi, 0.004)
    circle = 2 * torch.stack([angles.cos(), angles.sin()], 1)[(angles * 12 / math.pi) % 2 < 1]
    for dots, color in ((circle, (213, 94, 0)), (points, (0, 0, 0))):
        column, row = ((4 + dots[:, 0]) * scale).long(), ((3.5 - dots[:, 1]) * scale).long()
        inside = (column > 0) & (column < 8 * scale) & (row > 0) & (row < 7 * scale)
        column, row = column[inside].numpy(), row[inside].numpy()
        for x, y in ((0, 0), (1, 0), (0, 1), (1, 1)):
            picture[row - y, column - x] = color
    return encode(picture, fast=True)


def _color(k: int) -> str:
    return COLORS[k % len(COLORS)]


def _bend(start, end):
    """A curve between the rims of two circles, bent to the left, and the place of its label."""
    along = (end - start) / np.linalg.norm(end - start)
    left = np.array([-along[1], along[0]])
    a = start + NODE * (0.9 * along + 0.44 * left)
    b = end + NODE * (-0.9 * along + 0.44 * left) - 0.02 * along
    middle = (a + b) / 2 + 0.15 * left
    path = Path([a, middle, b], [Path.MOVETO, Path.CURVE3, Path.CURVE3])
    # nearer to where it starts, so that the labels of a triangle's inner arrows stay apart
    return path, 0.74 * a + 0.26 * b + 0.226 * left


def _loop(place, angle: float):
    """A loop on the outer side of a circle, and the place of its label."""
    out = np.array([math.cos(angle), math.sin(angle)])
    side = np.array([-out[1], out[0]])
    a, b = (place + NODE * (0.88 * out + sign * 0.48 * side) for sign in (1, -1))
    handles = [place + NODE * (2.6 * out + sign * 1.5 * side) for sign in (1, -1)]
    path = Path([a, *handles, b], [Path.MOVETO] + [Path.CURVE4] * 3)
    return path, place + NODE * 2.75 * out
