"""What a sentence about a scene says, apart from how it says it, and whether a scene shows it.

    "a big crimson star above two discs"  ->  Meaning(
        things=(Thing(shape="star", color="red", size="large"), Thing(shape="circle", number=2)),
        relations=(Relation(0, "above", 1),))

A sentence is made of parts: each attribute, each number, each relation, the background. A picture
may show some of them and not others, so that "which parts?" is a better question than "right?".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from typing import NamedTuple

from labkit.scenes.world import Object


@dataclass(frozen=True)
class Thing:
    """What a sentence says about one object, or about several alike; None where it says nothing.

    number: exactly so many objects fit; None, as in "a star": at least one.
    """

    shape: str | None = None
    color: str | None = None
    size: str | None = None
    fill: str | None = None
    row: str | None = None  # "top", "middle", "bottom"
    column: str | None = None  # "left", "middle", "right"
    number: int | None = None

    def attributes(self) -> dict[str, str]:
        """All that is said of each object, by name."""
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: word for name, word in said.items() if word and name != "number"}

    def fits(self, seen: Object) -> bool:
        """Whether all that is said is true of that object."""
        return all(fact(seen, name) == word for name, word in self.attributes().items())


class Relation(NamedTuple):
    """Thing number ``subject`` is, say, "left of" thing number ``object``."""

    subject: int
    name: str
    object: int


@dataclass(frozen=True)
class Meaning:
    """All that a sentence says."""

    things: tuple[Thing, ...] = ()
    relations: tuple[Relation, ...] = ()
    background: str | None = None
    total: int | None = None  # how many objects there are in all


class Part(NamedTuple):
    """One thing that a sentence says, and whether the picture shows it."""

    kind: str  # "shape", "color", "size", "fill", "place", "number", "relation", "background"
    said: str
    shown: bool


def fact(seen: Object, name: str) -> str:
    """The word for that attribute of an object."""
    if name in ("row", "column"):
        return seen.place[name == "column"]
    return getattr(seen, name)


def holds(name: str, objects: Sequence[Object], a: int, b: int) -> bool:
    """Whether object a is "left of", … object b. Sentences claim a relation only where it is
    clear (`Scenes.relation`); it is granted up to the diagonal."""
    if name == "inside":
        return objects[a].inside == b
    if name == "around":
        return objects[b].inside == a
    if objects[a].inside == b or objects[b].inside == a:
        return False
    right, down = objects[b].x - objects[a].x, objects[b].y - objects[a].y
    way = {"left of": right, "right of": -right, "above": down, "below": -down}[name]
    across = down if name in ("left of", "right of") else right
    return way > abs(across)


def parts(meaning: Meaning, objects: Sequence[Object], background: str) -> list[Part]:
    """The parts of what is said, each with whether a picture with these objects shows it.

    Which object is meant by which words is not given, so that reading counts which shows most:
    every thing gets objects of its own, as many as its number says.
    """
    needed = [thing.number or 1 for thing in meaning.things]
    best: list[Part] = []
    for groups in assignments(needed, range(len(objects))):
        found = list(judged(meaning, objects, background, groups))
        if not best or score(found) > score(best):
            best = found
        if all(part.shown for part in best):
            break
    return best


def assignments(needed: Sequence[int], free: Sequence[int]) -> Iterator[list[tuple]]:
    """All ways to give each thing so many of the free objects, or None: there is no such object.

    Objects come first everywhere, so that a tie goes to the reading that leaves none out. In which
    order one thing has its objects makes no difference, so they are always given in theirs.
    """
    if not needed:
        yield []
        return
    for group in dict.fromkeys(combinations([*free, *[None] * needed[0]], needed[0])):
        left = [index for index in free if index not in group]
        for others in assignments(needed[1:], left):
            yield [group, *others]


def score(found: list[Part]) -> tuple[int, int]:
    """How much is shown; of two readings that show as much, the one with the right shapes."""
    shapes = sum(part.shown for part in found if part.kind == "shape")
    return sum(part.shown for part in found), shapes


def judged(meaning, objects, background, groups) -> Iterator[Part]:
    """The parts, if the things that are spoken of are these groups of objects."""
    for thing, group in zip(meaning.things, groups):
        seen = [None if slot is None else objects[slot] for slot in group]
        for name, word in thing.attributes().items():
            kind = "place" if name in ("row", "column") else name
            yield Part(kind, word, all(one is not None and fact(one, name) == word for one in seen))
        if thing.number is not None:
            fitting = sum(thing.fits(one) for one in objects)
            yield Part("number", str(thing.number), fitting == thing.number)
        elif not thing.attributes():  # "something"
            yield Part("number", "some", None not in group)
    for a, name, b in meaning.relations:
        pairs = [(i, j) for i in groups[a] for j in groups[b]]
        shown = all(None not in pair and holds(name, objects, *pair) for pair in pairs)
        yield Part("relation", name, shown)
    if meaning.total is not None:
        yield Part("number", f"{meaning.total} in all", len(objects) == meaning.total)
    if meaning.background is not None:
        yield Part("background", meaning.background, background == meaning.background)
