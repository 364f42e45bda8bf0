"""What a scene is: one to three things on a soft background, as words and as tensors.

    Scene(objects=(Object("star", "purple", "large", "striped", x=0.3, y=0.7, radius=0.2),),
          background="sand")

Lengths are shares of the picture's side; x runs from left to right, y from top to bottom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.inputs import number, one_of, short, whole_number

SHAPES = ("circle", "square", "triangle", "diamond", "star", "heart", "cross", "moon")
COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
SIZES = ("small", "large")
FILLS = ("plain", "striped", "dotted", "outlined")
BACKGROUNDS = ("sand", "sky", "mint", "rose", "lilac", "gray")
ATTRIBUTES = {"shape": SHAPES, "color": COLORS, "size": SIZES, "fill": FILLS}

# What one object is to another. Only what nobody would argue about counts: of two objects on a
# diagonal neither is left of the other nor above it.
RELATIONS = ("left of", "right of", "above", "below", "inside", "around")
CLEARLY = 0.05  # how much longer than high (or higher than long) the way between them must be

COLUMNS, ROWS = ("left", "middle", "right"), ("top", "middle", "bottom")
THIRDS = (0.4, 0.6)  # where the left third ends and the right one begins; nothing is drawn near it

MOST = 3  # objects in a scene
RADII = {"small": (0.14, 0.16), "large": (0.21, 0.32)}  # of the circle around an object
MARGIN = 0.03  # free space around every object


@dataclass(frozen=True)
class Object:
    """One thing. ``inside`` is the number of the object that it lies in, if it lies in one."""

    shape: str
    color: str
    size: str
    fill: str
    x: float
    y: float
    radius: float
    inside: int | None = None

    def __post_init__(self):
        for name, words in ATTRIBUTES.items():
            one_of(getattr(self, name), words, name)
        for name in ("x", "y"):
            number(getattr(self, name), f"an object's {name}", 0, 1)
        least, most = RADII[self.size]
        number(self.radius, f"the radius of a {self.size} object", least - 1e-6, most + 1e-6)
        if self.inside is not None:
            whole_number(self.inside, "the number of the object that it lies in", 0)

    @property
    def place(self) -> tuple[str, str]:
        """Row and column of its center: ("top", "left") … ("bottom", "right")."""
        return ROWS[third(self.y)], COLUMNS[third(self.x)]


@dataclass(frozen=True)
class Scene:
    """One to three objects on a background. What lies inside another comes after it, on top."""

    objects: tuple[Object, ...]
    background: str

    def __post_init__(self):
        given = self.objects
        if not isinstance(given, list | tuple) or not all(isinstance(o, Object) for o in given):
            raise ValueError(f"a scene was given {short(given)}; give it a list of Object")
        object.__setattr__(self, "objects", tuple(given))
        one_of(self.background, BACKGROUNDS, "background")
        if not 1 <= len(self.objects) <= MOST:
            raise ValueError(
                f"a scene was given {len(self.objects)} objects; give it one to {MOST}"
            )
        for index, thing in enumerate(self.objects):
            if thing.inside is not None and thing.inside >= index:
                raise ValueError(
                    f"object {index} lies inside object {thing.inside}, which is not drawn before "
                    "it; list the outer object first"
                )


def third(value: float) -> int:
    """0, 1 or 2: which third of the picture that is."""
    return int(value > THIRDS[0]) + int(value > THIRDS[1])


class Scenes(NamedTuple):
    """N scenes as tensors: what to draw, and the truth to score or to train against.

    Words are numbers, rows of `SHAPES`, `COLORS`, `SIZES`, `FILLS` and `BACKGROUNDS`; -1 (and 0
    for lengths) stands where a scene has fewer objects than others. There are three slots, or
    more where somebody saw more.
    """

    shape: Tensor  # (N, 3) long
    color: Tensor  # (N, 3) long
    size: Tensor  # (N, 3) long
    fill: Tensor  # (N, 3) long
    inside: Tensor  # (N, 3) long, the object that this one lies in; -1: none
    x: Tensor  # (N, 3) float, the center, 0 … 1 from the left
    y: Tensor  # (N, 3) float, 0 … 1 from the top
    radius: Tensor  # (N, 3) float
    background: Tensor  # (N,) long

    @property
    def present(self) -> Tensor:
        """(N, 3) bool: where there is an object."""
        return self.shape >= 0

    @property
    def count(self) -> Tensor:
        """(N,) long: how many objects there are."""
        return self.present.sum(1)

    @property
    def place(self) -> Tensor:
        """(N, 3) long, 3 row + column of each center, 0 (top left) … 8 (bottom right); -1: none."""
        row, column = ((at > THIRDS[0]).long() + (at > THIRDS[1]).long() for at in (self.y, self.x))
        return torch.where(self.present, 3 * row + column, -1)

    @property
    def relation(self) -> Tensor:
        """(N, 3, 3) long: what object i is to object j, a row of `RELATIONS`; -1: neither."""
        dx = self.x[:, None, :] - self.x[:, :, None]  # (N, i, j), positive: i is left of j
        dy = self.y[:, None, :] - self.y[:, :, None]
        slots = torch.arange(dx.shape[1], device=dx.device)
        inside = self.inside[:, :, None] == slots  # (N, i, j)
        facts = (
            dx > dy.abs() + CLEARLY, -dx > dy.abs() + CLEARLY,
            dy > dx.abs() + CLEARLY, -dy > dx.abs() + CLEARLY,
            inside, inside.mT,
        )  # fmt: skip
        found = torch.full_like(inside, -1, dtype=torch.long)
        for index, holds in enumerate(facts):
            found = torch.where(holds, index, found)
        both = self.present[:, :, None] & self.present[:, None, :]
        return torch.where(both & (slots[:, None] != slots), found, -1)

    def take(self, rows: Tensor | slice) -> Scenes:
        """Those scenes alone."""
        return Scenes(*(tensor[rows] for tensor in self))

    def objects(self) -> list[tuple[Object, ...]]:
        """The objects of every scene in words; none where a scene is empty."""
        rows = {name: tensor.tolist() for name, tensor in self._asdict().items()}
        found = []
        for row, shapes in enumerate(rows["shape"]):
            slots = [slot for slot, shape in enumerate(shapes) if shape >= 0]
            index = {slot: number for number, slot in enumerate(slots)}
            found.append(tuple(
                Object(
                    *(words[rows[name][row][slot]] for name, words in ATTRIBUTES.items()),
                    *(rows[name][row][slot] for name in ("x", "y", "radius")),
                    inside=index.get(rows["inside"][row][slot]),
                )
                for slot in slots
            ))  # fmt: skip
        return found

    def words(self) -> list[Scene]:
        """Every scene in words. Raises ValueError if one of them has no object, or too many."""
        pairs = zip(self.objects(), self.background.tolist())
        return [Scene(objects, BACKGROUNDS[background]) for objects, background in pairs]


def scene_batch(scenes: object, name: str = "scenes") -> Scenes:
    """`scenes` itself if it is a batch of them; raises ValueError otherwise."""
    if not isinstance(scenes, Scenes):
        raise ValueError(
            f"{name} is {short(scenes)}, but must be Scenes: what draw() gives, or tensors() makes "
            "of a list of Scene"
        )
    return scenes


def together(parts: list[Scenes]) -> Scenes:
    """Several batches of scenes as one."""
    return Scenes(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def tensors(scenes: list[Scene]) -> Scenes:
    """Scenes in words as tensors. Raises ValueError if there are none or one is no `Scene`."""
    scenes = list(scenes) if isinstance(scenes, list | tuple) else [scenes]
    if not scenes or not all(isinstance(scene, Scene) for scene in scenes):
        raise ValueError(f"scenes is {short(scenes)}, but must be a list of at least one Scene")
    N = len(scenes)
    made = {
        name: torch.full((N, MOST), -1) for name in (*ATTRIBUTES, "inside")
    } | {name: torch.zeros(N, MOST) for name in ("x", "y", "radius")}  # fmt: skip
    for row, scene in enumerate(scenes):
        for slot, thing in enumerate(scene.objects):
            for name, words in ATTRIBUTES.items():
                made[name][row, slot] = words.index(getattr(thing, name))
            made["inside"][row, slot] = -1 if thing.inside is None else thing.inside
            for name in ("x", "y", "radius"):
                made[name][row, slot] = getattr(thing, name)
    background = torch.tensor([BACKGROUNDS.index(scene.background) for scene in scenes])
    return Scenes(**made, background=background)
