"""Random scenes, a batch at a time, and the combinations that are kept from training.

A split is a rule about combinations. "train" never shows, say, a purple star, though it is full of
purple things and of stars: whoever draws or recognizes one has put the two ideas together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from labkit.inputs import one_of, short, whole_number
from labkit.scenes.rendering import COLOR_TABLE
from labkit.scenes.world import (
    BACKGROUNDS,
    COLORS,
    FILLS,
    MARGIN,
    MOST,
    RADII,
    RELATIONS,
    SHAPES,
    SIZES,
    THIRDS,
    Scenes,
    scene_batch,
    together,
)

# Every word below also occurs in "train", with other partners.
UNSEEN = {
    "colors": (("purple", "star"), ("orange", "heart"), ("green", "triangle"),
               ("blue", "cross"), ("pink", "square"), ("yellow", "moon")),
    "fills": (("dotted", "diamond"), ("outlined", "moon"), ("striped", "circle")),
    "relations": (("striped triangle", "left of"), ("outlined star", "above"),
                  ("plain heart", "below"), ("dotted cross", "right of")),
}  # fmt: skip
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
SPLITS = ("train", "all", "unseen", *(f"unseen-{kind}" for kind in UNSEEN))

COUNTS = (0.25, 0.4, 0.35)  # of one, two and three objects
ALIKE = 0.2  # how often the objects of a scene share their shape; and, apart from that, their color
NESTED = 0.45  # how often the second object lies inside the first
HOLDERS, QUIET = ("circle", "square", "diamond"), ("plain", "outlined")  # what has room for it
LIGHTNESS = COLOR_TABLE @ torch.tensor([0.299, 0.587, 0.114])  # of each color, 0 … 1
TRIES = 48  # arrangements proposed for each scene at once


def draw(number: int, seed: int | torch.Generator = 0, split: str = "train") -> Scenes:
    """That many random scenes; the same seed gives the same ones.

    seed: a whole number, or a generator (of the CPU) that goes on where it stands, without end.
    split: "train" holds no combination of `UNSEEN`, "unseen" one kind of them in every scene,
    "unseen-colors" (a purple star), "unseen-fills" (a dotted diamond) and "unseen-relations"
    (a striped triangle left of something) that kind alone, "all" everything as it comes.
    Raises ValueError for others.
    """
    number = whole_number(number, "the number of scenes", 1)
    split = one_of(split, SPLITS, "split")
    if not isinstance(seed, torch.Generator):
        seed = torch.Generator().manual_seed(whole_number(seed, "seed", 0, 2**63 - 1))
    elif seed.device.type != "cpu":
        raise ValueError(f"the generator is on {short(seed.device)}, but scenes are drawn on a CPU")
    if split == "unseen":  # a third of each kind, in turn
        sizes = [(number + extra) // 3 for extra in (2, 1, 0)]
        kinds = [kind for kind, size in zip(UNSEEN, sizes) if size]
        parts = [draw(size, seed, f"unseen-{kind}") for kind, size in zip(kinds, sizes)]
        return together(parts).take(torch.randperm(number, generator=seed))
    kind = split.removeprefix("unseen-")
    parts, missing = [], number
    while missing > 0:
        made = propose(missing + missing // 2 + 8, seed, kind if kind in UNSEEN else None)
        if split != "all":
            shown = unseen(made)
            wanted = torch.stack([shown[name] == (name == kind) for name in UNSEEN]).all(0)
            made = made.take(wanted)
        parts.append(made.take(slice(0, missing)))
        missing -= len(parts[-1].background)
    return together(parts)


def unseen(scenes: Scenes) -> dict[str, Tensor]:
    """Which scenes show a combination of each kind of `UNSEEN`: (N,) bool."""
    scene_batch(scenes)
    found = {kind: torch.zeros(len(scenes.background), dtype=torch.bool) for kind in UNSEEN}
    for kind, table, words in (("colors", scenes.color, COLORS), ("fills", scenes.fill, FILLS)):
        for word, shape in UNSEEN[kind]:
            found[kind] |= has(scenes, table, words.index(word), shape).any(1)
    relation = scenes.relation  # (N, i, j)
    for thing, name in UNSEEN["relations"]:
        fill, shape = thing.split()
        subject = has(scenes, scenes.fill, FILLS.index(fill), shape)  # (N, 3)
        holds = (relation == RELATIONS.index(name)).any(2)  # of i to something
        found["relations"] |= (subject & holds).any(1)
    return found


def has(scenes: Scenes, table: Tensor, value: int, shape: str) -> Tensor:
    """Which objects are of that shape and have that value in the table: (N, 3) bool."""
    return (scenes.shape == SHAPES.index(shape)) & (table == value)


def propose(number: int, generator: torch.Generator, plant: str | None) -> Scenes:
    """About that many scenes, fewer if some cannot be arranged. ``plant``: a kind of `UNSEEN` that
    one object of each is made to show (a relation may still fail, by where things stand)."""

    def chance(share: float) -> Tensor:
        return torch.rand(number, generator=generator) < share

    def choice(options, *shape: int) -> Tensor:
        return torch.randint(len(options), (number, *shape), generator=generator)

    slots = torch.arange(MOST)
    count = torch.multinomial(torch.tensor(COUNTS), number, True, generator=generator) + 1
    shape, color, size, fill = (choice(t, MOST) for t in (SHAPES, COLORS, SIZES, FILLS))
    nested = chance(NESTED) & (count > 1)
    shape = torch.where(chance(ALIKE)[:, None], shape[:, :1], shape)
    color = torch.where(chance(ALIKE)[:, None], color[:, :1], color)
    # An outer object must have room, must not be too busy to look at, and must stand out.
    holders = torch.tensor([SHAPES.index(name) for name in HOLDERS])
    quiet = torch.tensor([FILLS.index(name) for name in QUIET])
    shape[:, 0] = torch.where(nested, holders[choice(HOLDERS)], shape[:, 0])
    fill[:, 0] = torch.where(nested, quiet[choice(QUIET)], fill[:, 0])
    if plant:
        combinations = UNSEEN[plant]
        which = choice(combinations)
        count = count.clamp(min=2 if plant == "relations" else 1)
        where = (torch.rand(number, generator=generator) * count).long()
        rows = torch.arange(number)
        pairs = [(a.split() if plant == "relations" else (a, b)) for a, b in combinations]
        table, words = (color, COLORS) if plant == "colors" else (fill, FILLS)
        table[rows, where] = torch.tensor([words.index(word) for word, _ in pairs])[which]
        shape[rows, where] = torch.tensor([SHAPES.index(name) for _, name in pairs])[which]
    fits = torch.isin(shape[:, 0], holders) & torch.isin(fill[:, 0], quiet)
    nested &= fits & (LIGHTNESS[color[:, 0]] - LIGHTNESS[color[:, 1]]).abs().ge(0.1)
    size[:, 0] = torch.where(nested, SIZES.index("large"), size[:, 0])
    size[:, 1] = torch.where(nested, SIZES.index("small"), size[:, 1])
    inside = torch.where(nested[:, None] & (slots == 1), 0, -1)

    present = slots < count[:, None]  # (N, 3)
    radius = radii(size, count, nested, generator)
    x, y, found = arrange(radius, present, nested, generator)
    background = choice(BACKGROUNDS)
    words = (torch.where(present, t, -1) for t in (shape, color, size, fill, inside))
    lengths = (torch.where(present, t, 0) for t in (x, y, radius))
    return Scenes(*words, *lengths, background).take(found)


def radii(size: Tensor, count: Tensor, nested: Tensor, generator) -> Tensor:
    """The radius of every object, (N, 3): what is alone may be larger, what holds another is."""
    at = torch.rand(size.shape, generator=generator)
    small, (least, most) = RADII["small"], RADII["large"]
    crowd = torch.where(count == 1, least + 0.07, least + 0.03)[:, None]
    large = least + at * (crowd - least)
    radius = torch.where(size == 0, small[0] + at * (small[1] - small[0]), large)
    radius[:, 0] = torch.where(nested, most - 0.01 * at[:, 0], radius[:, 0])
    radius[:, 1] = torch.where(nested, small[0] + 0.004 * at[:, 1], radius[:, 1])
    return radius


def arrange(radius: Tensor, present: Tensor, nested: Tensor, generator):
    """Centers (N, 3) such that nothing overlaps, is cut off, or stands between two thirds of the
    picture; and (N,) bool, whether such an arrangement was found."""
    N, room = len(radius), 0.04  # from a center to the end of its third
    edge = (radius + MARGIN)[:, None]  # (N, 1, 3)
    low = torch.stack([edge, torch.full_like(edge, THIRDS[0] + room),
                       torch.full_like(edge, THIRDS[1] + room)])  # fmt: skip
    high = torch.stack([torch.full_like(edge, THIRDS[0] - room),
                        torch.full_like(edge, THIRDS[1] - room), 1 - edge])  # fmt: skip
    centers = []
    for _ in range(2):
        cell = torch.randint(3, (1, N, TRIES, MOST), generator=generator)
        start, end = (t.expand(3, N, TRIES, MOST).gather(0, cell)[0] for t in (low, high))
        at = start + torch.rand(start.shape, generator=generator) * (end - start)
        wobble = 0.016 * torch.rand(at.shape[:2], generator=generator) - 0.008
        at[:, :, 1] = torch.where(nested[:, None], at[:, :, 0] + wobble, at[:, :, 1])
        centers.append(at)  # (N, TRIES, 3)
    x, y = centers
    good = torch.ones(N, TRIES, dtype=torch.bool)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        far = torch.hypot(x[..., i] - x[..., j], y[..., i] - y[..., j])
        alone = ~(present[:, i] & present[:, j])
        free = alone | nested if (i, j) == (0, 1) else alone
        good &= (far >= (radius[:, i] + radius[:, j] + MARGIN)[:, None]) | free[:, None]
    first = good.int().argmax(1)[:, None, None].expand(-1, 1, MOST)
    return x.gather(1, first)[:, 0], y.gather(1, first)[:, 0], good.any(1)
