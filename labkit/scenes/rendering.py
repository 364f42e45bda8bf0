"""Scenes as pictures: every shape is a signed distance, every edge is as wide as a pixel.

The distance to the outline (negative inside) is known at every point, so a pixel's share of a
shape follows without drawing it large first, and the same scene can be drawn at any size.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.inputs import whole_number
from labkit.scenes.world import BACKGROUNDS, COLORS, FILLS, SHAPES, Scenes, scene_batch

# Chosen so that people who see no red or no green can still tell any two of them apart: they
# differ in lightness where they agree in hue.
PALETTE = {
    "red": "#d62535", "orange": "#f0922b", "yellow": "#f4e22c", "green": "#12b070",
    "blue": "#3a7ad6", "purple": "#7d2190", "pink": "#f68fc0", "brown": "#5c3117",
}  # fmt: skip
SOFT = {
    "sand": "#f6e9cd", "sky": "#cde3fb", "mint": "#dff7df",
    "rose": "#fde3e5", "lilac": "#e4d7f0", "gray": "#dadddf",
}  # fmt: skip

STROKE = 0.022, 0.08  # width of an outline: a share of the picture's side, and one of the radius
RIM = 0.02  # a pattern ends that far inside its object, so that the shape stays whole
STRIPE = 0.14  # from stripe to stripe
SPACING, DOT = 0.125, 0.034  # from dot to dot, and the radius of one
# Where four dots around the center would fall on the outline of a small object, they move aside.
ASIDE = {
    "star": (0, SPACING / 2), "cross": (SPACING / 2, SPACING / 2), "diamond": (SPACING / 2, 0),
    "triangle": (0, SPACING / 4), "moon": (-SPACING / 4, 0),
}  # fmt: skip
TINT = 0.78  # how far the light part of a pattern lies from its color towards white
SHADOW, REACH = 0.13, 0.045  # depth and reach of the soft shadow around an object
FADE = 0.035  # how much lighter a background is at the top than at the bottom


def rgb(codes: dict[str, str], names: tuple[str, ...]) -> Tensor:
    """Color codes as a table (K, 3) in [0, 1], in the order of the names."""
    return torch.tensor(
        [[int(codes[name][i : i + 2], 16) / 255 for i in (1, 3, 5)] for name in names]
    )


COLOR_TABLE, SOFT_TABLE = rgb(PALETTE, COLORS), rgb(SOFT, BACKGROUNDS)
ASIDE_TABLE = torch.tensor([ASIDE.get(name, (0.0, 0.0)) for name in SHAPES])  # (K, 2)


# The shapes. u runs to the right and v upwards, both in radii, so that every shape lies in the unit
# circle; what comes back is the distance to the outline in radii, negative inside.


def disc(u: Tensor, v: Tensor, x: float, y: float, radius: float) -> Tensor:
    return torch.hypot(u - x, v - y) - radius


def box(u: Tensor, v: Tensor, width: float, height: float) -> Tensor:
    return torch.maximum(u.abs() - width, v.abs() - height)


def edge(u: Tensor, v: Tensor, a: tuple[float, float], b: tuple[float, float]) -> Tensor:
    """Distance to the line from a to b, negative on its left."""
    du, dv = b[0] - a[0], b[1] - a[1]
    return ((u - a[0]) * dv - (v - a[1]) * du) / math.hypot(du, dv)


def circle(u, v):
    return disc(u, v, 0, 0, 0.9)


def square(u, v):
    return box(u, v, 0.7, 0.7)


def triangle(u, v):
    u = u.abs()  # left and right are the same
    return torch.maximum(edge(u, v, (0.87, -0.49), (0, 1.0)), -v - 0.49)


def diamond(u, v):
    return edge(u.abs(), v.abs(), (0.84, 0), (0, 1.0))


def star(u, v):
    # Ten times the same edge, from a tip to a notch: fold the plane onto one of them.
    turn = torch.atan2(u, v).abs()  # 0 at the top
    turn = (turn - (turn / (0.4 * math.pi)).round() * 0.4 * math.pi).abs()  # 0 … pi/5
    far = torch.hypot(u, v)
    notch = 0.53
    return edge(
        far * torch.sin(turn), far * torch.cos(turn),
        (notch * math.sin(math.pi / 5), notch * math.cos(math.pi / 5)), (0, 1.0),
    )  # fmt: skip


def heart(u, v):
    # A square on its tip and a half disc on each of its upper sides.
    u, v = u.abs(), v + 0.12
    side = 0.75  # half of the diagonal
    tip = edge(u, v.abs(), (side, 0), (0, side))
    return torch.minimum(tip, disc(u, v, side / 2, side / 2, side / math.sqrt(2)))


def cross(u, v):
    return torch.minimum(box(u, v, 0.92, 0.33), box(u, v, 0.33, 0.92))


def moon(u, v):
    return torch.maximum(disc(u, v, 0, 0, 0.97), -disc(u, v, 0.5, 0.2, 0.7))


DISTANCES = (circle, square, triangle, diamond, star, heart, cross, moon)
assert tuple(distance.__name__ for distance in DISTANCES) == SHAPES


def covered(distance: Tensor, pixel: float) -> Tensor:
    """The share of a pixel that lies within an outline at that distance from its center."""
    return (0.5 - distance / pixel).clamp(0, 1)


def stripes(v: Tensor, pixel: float) -> Tensor:
    """Share of a pixel, 0 … 1, that is stripe and not gap: the mean of the square wave over it.

    The integral of a wave that is 1 for half a period and 0 for the other half is known, so no
    size is too small for the mean to be right (equation: (I(b) - I(a)) / (b - a)).
    """

    def integral(t: Tensor) -> Tensor:
        whole = torch.floor(t)
        return 0.5 * whole + (t - whole).clamp(max=0.5)

    middle, half = v / STRIPE + 0.25, 0.5 * pixel / STRIPE  # a stripe runs through the center
    return (integral(middle + half) - integral(middle - half)) / (2 * half)


def dots(u: Tensor, v: Tensor, pixel: float) -> Tensor:
    """Share of a pixel that is a dot. Four dots stand around the origin."""
    u, v = (t - torch.floor(t / SPACING) * SPACING - SPACING / 2 for t in (u, v))
    return covered(torch.hypot(u, v) - DOT, pixel)


def render(scenes: Scenes, size: int = 32) -> Tensor:
    """Pictures (N, 3, size, size), float32 in [-1, 1], of scenes.

    size: pixels a side, 8 … 512. The same scenes at half the size are, up to the corners of the
    shapes, the means of 2 x 2 pixels. Raises ValueError for another size, and for no scenes.
    """
    size = whole_number(size, "size", 8, 512)
    scene_batch(scenes)
    fine = 2  # what is finer than a pixel (tips, dots) comes out right with four points a pixel
    pixel = 1 / (fine * size)
    at = (torch.arange(fine * size, device=scenes.x.device) + 0.5) * pixel  # (S,)
    soft = SOFT_TABLE.to(at)[scenes.background][:, :, None, None]  # (N, 3, 1, 1)
    canvas = soft + FADE * (0.5 - at[:, None]).expand(fine * size, fine * size)  # (N, 3, S, S)
    for slot in range(scenes.shape.shape[1]):
        rows = scenes.present[:, slot].nonzero()[:, 0]
        if len(rows):
            alpha, shadow, colors = draw(scenes, rows, slot, at, pixel)
            under = canvas[rows] * (1 - shadow)
            canvas[rows] = torch.lerp(under, colors, alpha)
    return F.avg_pool2d(canvas, fine).clamp(0, 1) * 2 - 1


def draw(scenes: Scenes, rows: Tensor, slot: int, at: Tensor, pixel: float):
    """One object of each of those scenes: how much it covers, (R, 1, S, S), how deep its shadow
    is, (R, 1, S, S), and its colors, (R, 3, S, S)."""
    shape, color, fill = (t[rows, slot] for t in (scenes.shape, scenes.color, scenes.fill))
    x, y, radius = (t[rows, slot][:, None, None] for t in (scenes.x, scenes.y, scenes.radius))
    u, v = at[None, None, :] - x, y - at[None, :, None]  # (R, 1, S), (R, S, 1)
    distance = at.new_empty(len(rows), len(at), len(at))  # in shares of the picture's side
    for index, outline in enumerate(DISTANCES):
        these = (shape == index).nonzero()[:, 0]
        if len(these):
            r = radius[these]
            distance[these] = outline(u[these] / r, v[these] / r) * r
    light = torch.zeros_like(distance)  # share of the light part of a pattern
    within = covered(distance + RIM, pixel)
    these = (fill == FILLS.index("striped")).nonzero()[:, 0]
    light[these] = 1 - stripes((u[these] + v[these]) / math.sqrt(2), pixel)
    these = (fill == FILLS.index("dotted")).nonzero()[:, 0]
    right, up = ASIDE_TABLE.to(at)[shape[these]].T[..., None, None]  # (R, 1, 1)
    light[these] = dots(u[these] - right, v[these] - up, pixel)
    light *= within
    alpha = covered(distance, pixel)
    hollow = (fill == FILLS.index("outlined")).nonzero()[:, 0]
    stroke = STROKE[0] + STROKE[1] * radius[hollow]
    alpha[hollow] -= covered(distance[hollow] + stroke, pixel)
    distance[hollow] = distance[hollow].maximum(-stroke - distance[hollow])
    shadow = SHADOW * (1 - distance / REACH).clamp(0, 1).square()
    main = COLOR_TABLE.to(at)[color][:, :, None, None]  # (R, 3, 1, 1)
    colors = main + TINT * (1 - main) * light[:, None]
    return alpha[:, None], shadow[:, None], colors
