"""Which sentences are true of which scenes, of many at once.

    true = shows(scenes, claims(captions))       # (N, M) bool

`labkit.scenes.meaning.parts` answers the same of one sentence and one scene, and says which part
is wrong; this is for tables of all with all, as retrieval and its training need them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.inputs import short
from labkit.scenes.meaning import Meaning
from labkit.scenes.reading import read
from labkit.scenes.world import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLUMNS,
    MOST,
    RELATIONS,
    ROWS,
    Scenes,
    scene_batch,
)

SAID = ATTRIBUTES | {"row": ROWS, "column": COLUMNS}
NONE = -1  # nothing is said
# Which thing each of the objects is taken for, `MOST` standing for none of them: (R, objects).
READINGS = torch.cartesian_prod(*[torch.arange(MOST + 1)] * MOST)


class Claims(NamedTuple):
    """What M sentences say, words as numbers; -1 where they say nothing."""

    thing: Tensor  # (M, 3, 6) long, of each thing: shape, color, size, fill, row, column
    number: Tensor  # (M, 3) long, how many objects are exactly like that; -1: at least one
    named: Tensor  # (M, 3) bool, whether there is such a thing in the sentence
    relation: Tensor  # (M, 3) long: a thing, what it is to another, the other
    background: Tensor  # (M,) long
    total: Tensor  # (M,) long, how many objects there are in all

    def take(self, rows: Tensor | slice) -> Claims:
        """Those sentences alone."""
        return Claims(*(tensor[rows] for tensor in self))


def claims(captions: Sequence[str | Meaning]) -> Claims:
    """What sentences say, as tensors. Raises ValueError for a sentence that cannot be read, that
    speaks of more than three things, or that says two relations, and for a thing of which nothing
    but its number is said."""
    if isinstance(captions, str) or not isinstance(captions, Sequence) or not captions:
        raise ValueError(
            f"captions is {short(captions)}, but must be a list of at least one sentence"
        )
    meanings = [read(one) if isinstance(one, str) else one for one in captions]
    M = len(meanings)
    found = Claims(
        torch.full((M, MOST, len(SAID)), NONE), torch.full((M, MOST), NONE),
        torch.zeros(M, MOST, dtype=torch.bool), torch.full((M, 3), NONE),
        torch.full((M,), NONE), torch.full((M,), NONE),
    )  # fmt: skip
    for row, (meaning, said) in enumerate(zip(meanings, captions)):
        if len(meaning.things) > MOST or len(meaning.relations) > 1:
            raise ValueError(
                f"{short(said)} speaks of {len(meaning.things)} things and says "
                f"{len(meaning.relations)} relations, but a table of truth takes at most {MOST} "
                "and one: say it in two sentences"
            )
        for index, thing in enumerate(meaning.things):
            if thing.number and not thing.attributes():
                raise ValueError(
                    f"{short(said)} has a thing of which nothing is said but its number, "
                    f"{thing.number}: say what is like that, or give the meaning a total"
                )
            found.named[row, index] = True
            for column, (name, words) in enumerate(SAID.items()):
                if word := getattr(thing, name):
                    found.thing[row, index, column] = words.index(word)
            if thing.number:
                found.number[row, index] = thing.number
        for a, name, b in meaning.relations:
            found.relation[row] = torch.tensor([a, RELATIONS.index(name), b])
        if meaning.background:
            found.background[row] = BACKGROUNDS.index(meaning.background)
        if meaning.total:
            found.total[row] = meaning.total
    return found


def shows(scenes: Scenes, said: Claims, chunk: int = 2**16) -> Tensor:
    """(N, M) bool, on the CPU: whether all that a sentence says is true of a scene. Every thing
    that is spoken of needs objects of its own; "two stars" are all the stars there are.

    scenes: N, of at most three objects each. chunk: pairs looked at together.
    """
    scene_batch(scenes, "scenes")
    scenes = Scenes(*(table.cpu() for table in scenes))
    if scenes.shape.shape[1] > MOST:
        raise ValueError(
            f"the scenes have room for {scenes.shape.shape[1]} objects, but a table of truth "
            f"takes at most {MOST}: give scenes as they were drawn"
        )
    rows = max(1, chunk // len(said.total))
    parts = range(0, len(scenes.background), rows)
    return torch.cat([table(scenes.take(slice(at, at + rows)), said) for at in parts])


def table(scenes: Scenes, said: Claims) -> Tensor:
    place = scenes.place
    facts = torch.stack([*(getattr(scenes, name) for name in ATTRIBUTES), place // 3, place % 3], 2)
    seen, wanted = facts[:, None, None], said.thing[None, :, :, None]  # (N,1,1,3,6), (1,M,3,1,6)
    fits = ((wanted == NONE) | (wanted == seen)).all(4)
    fits &= scenes.present[:, None, None]  # (N, M, things, objects)
    number = said.number
    right = ((fits.sum(3) == number) | (number == NONE)).all(2)  # (N, M)
    right &= (said.total == NONE) | (said.total == scenes.count[:, None])
    right &= (said.background == NONE) | (said.background == scenes.background[:, None])

    takes = READINGS[:, None] == torch.arange(MOST)[:, None]  # (R, things, objects)
    needed = torch.where(said.named, number.clamp(min=1), 0)  # (M, things)
    enough = (takes.sum(2) == needed[:, None]).all(2)  # (M, R)
    # A reading is wrong where it takes an object for a thing that it does not fit.
    wrong = torch.einsum("nmto,rto->nmr", (~fits).float(), takes.float()) > 0  # (N, M, R)
    good = enough & ~wrong
    subject, name, other = said.relation.unbind(1)
    related = subject != NONE
    if related.any():
        clear = granted(scenes)[:, name.clamp(min=0)]  # (N, M, objects, objects)
        a, b = (takes[:, t.clamp(min=0)].float() for t in (subject, other))  # (R, M, objects)
        broken = torch.einsum("nmij,rmi,rmj->nmr", (~clear).float(), a, b) > 0
        good &= ~broken | ~related[:, None]
    return right & good.any(2)


def granted(scenes: Scenes) -> Tensor:
    """(N, relations, i, j) bool: whether object i is "left of", … object j, granted up to the
    diagonal as `labkit.scenes.meaning.holds` grants it."""
    right = scenes.x[:, None, :] - scenes.x[:, :, None]  # (N, i, j)
    down = scenes.y[:, None, :] - scenes.y[:, :, None]
    inside = scenes.inside[:, :, None] == torch.arange(MOST)  # (N, i, j)
    apart = ~(inside | inside.mT)
    ways = ((right, down), (-right, down), (down, right), (-down, right))
    beside = [(way > across.abs()) & apart for way, across in ways]
    return torch.stack([*beside, inside, inside.mT], 1)
