"""Pictures as regions, and sentences about them, for learning which belongs to which.

    known = pool(1_000, seed=0)                                 # 4,000 scenes, five captions each
    seen = regions.propose(reader, render(known.scenes, 32))    # once
    draw = batches(known, seen, groups=8)                       # 32 pairs at a time

Scenes come in groups of four that look alike: a scene, the same in a mirror, with the colors of two
objects exchanged, and with one object changed or left out. To tell these apart one has to know what
is left of what, which color belongs to which shape, and how many there are. Random scenes can
mostly be told apart without.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.inputs import one_of, whole_number
from labkit.scenes.captioning import captions, phrase
from labkit.scenes.drawing import SPLITS, draw, unseen
from labkit.scenes.meaning import Meaning, Relation, Thing
from labkit.scenes.regions import Regions
from labkit.scenes.truth import Claims, claims, shows
from labkit.scenes.world import COLORS, FILLS, MOST, RELATIONS, SHAPES, Scenes, together

GROUP = 4  # scenes that look alike
EACH = 5  # captions of a picture, as in Flickr30K and COCO
RELATED = 2  # of these, in a pool, say how two objects lie to each other, if that is clear
FIRST = 0.4  # of the groups of a batch take the first captions, the plainest; the others any
BESIDE = range(4)  # relations that a mirror turns round: left of, right of, above, below


class Matches(NamedTuple):
    """B pictures, a caption of each, and which other captions are true of them as well."""

    regions: Regions
    captions: list[str]
    true: Tensor  # (B, B) bool: caption j is true of picture i; True on the diagonal


class Pool(NamedTuple):
    """N scenes with captions, in groups of `GROUP` neighbors that look alike."""

    scenes: Scenes
    captions: list[str]  # N · EACH, those of one scene after the other
    claims: Claims  # what each of them says


def pool(groups: int, seed: int = 0, split: str = "train") -> Pool:
    """That many groups of scenes; the same seed gives the same ones. split: see `draw`. What a
    change makes of a scene belongs to the split, too; a group whose scenes do not is left out and
    another one drawn. Raises ValueError for others."""
    groups = whole_number(groups, "the number of groups", 1)
    one_of(split, SPLITS, "split")
    generator = torch.Generator().manual_seed(whole_number(seed, "seed", 0))
    found, missing = [], groups
    while missing > 0:
        made = lookalikes(draw(missing + missing // 2 + 8, generator, split), generator)
        if split == "train":
            new = torch.stack(list(unseen(made).values())).any(0)
            whole = ~new.view(-1, GROUP).any(1)
            made = made.take(whole.repeat_interleave(GROUP))
        found.append(made.take(slice(0, missing * GROUP)))
        missing -= len(found[-1].background) // GROUP
    scenes = together(found)
    made = captioned(scenes, seed)
    texts = related(made, Random(seed))
    return Pool(scenes, texts, claims(texts))


def related(known: Pool, random: Random) -> list[str]:
    """The captions of groups, of which the first `RELATED` of each scene say how two objects lie to
    each other, and little else, where the group's first scene has two of which that is clear. In
    the mirror the same two lie the other way, so one needs to know what is where."""
    texts, objects = list(known.captions), known.scenes.objects()
    relations = known.scenes.relation.tolist()
    for start in range(0, len(objects), GROUP):
        first, mirror = relations[start : start + 2]
        pairs = [(a, b) for a in range(MOST) for b in range(a)
                 if first[a][b] in BESIDE and first[a][b] != mirror[a][b]]  # fmt: skip
        if not pairs:
            continue
        a, b = random.choice(pairs)
        for row in range(start, start + GROUP):
            if relations[row][a][b] in BESIDE:
                for number in range(RELATED):
                    said = relation(objects[row], relations[row], a, b, random)
                    text = plain(said) if number == 0 else phrase(said, random)
                    texts[row * EACH + number] = text
    return texts


def relation(objects, relations, a: int, b: int, random: Random) -> Meaning:
    """How object a lies to b, or b to a, by their shapes and perhaps colors."""
    if random.random() < 0.5:
        a, b = b, a
    color = random.random() < 0.5 or objects[a].shape == objects[b].shape
    things = [Thing(one.shape, one.color if color else None) for one in (objects[a], objects[b])]
    return Meaning(tuple(things), (Relation(0, RELATIONS[relations[a][b]], 1),))


def plain(said: Meaning) -> str:
    """A relation in the plainest words, which is where to begin: "a red star left of a moon"."""
    names = [" ".join(filter(None, (thing.color, thing.shape))) for thing in said.things]
    one, other = (f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in names)
    return f"{one} {said.relations[0].name} {other}"


def captioned(scenes: Scenes, seed: int = 0) -> Pool:
    """Scenes with five captions each; the same seed gives the same ones."""
    random = Random(whole_number(seed, "seed", 0))
    five = scenes.take(torch.arange(len(scenes.background)).repeat_interleave(EACH))
    texts = captions(five, random)
    return Pool(scenes, texts, claims(texts))


def lookalikes(scenes: Scenes, generator: torch.Generator) -> Scenes:
    """Of N scenes N groups of four, (4 N): each followed by its changed forms."""
    forms = (scenes, mirrored(scenes, generator), exchanged(scenes), changed(scenes, generator))
    return Scenes(*(torch.stack(tables, 1).flatten(0, 1) for tables in zip(*forms)))


def mirrored(scenes: Scenes, generator: torch.Generator) -> Scenes:
    """Each scene with left and right, or above and below, turned round: if only one of these is
    clear of two of its objects, then that one."""
    fact = scenes.relation.flatten(1)  # (N, 9)
    beside, over = (torch.isin(fact, torch.tensor(rows)).any(1) for rows in ((0, 1), (2, 3)))
    either = torch.rand(len(fact), generator=generator) < 0.5
    across = torch.where(beside == over, either, beside)[:, None]  # (N, 1)
    there = scenes.present
    return scenes._replace(
        x=torch.where(there & across, 1 - scenes.x, scenes.x),
        y=torch.where(there & ~across, 1 - scenes.y, scenes.y),
    )


def exchanged(scenes: Scenes) -> Scenes:
    """The first two objects have each other's colors; a single object the next color."""
    color = scenes.color.clone()
    two = scenes.count > 1
    color[:, 0] = torch.where(two, scenes.color[:, 1], (scenes.color[:, 0] + 1) % len(COLORS))
    color[:, 1] = torch.where(two, scenes.color[:, 0], scenes.color[:, 1])
    return scenes._replace(color=color)


def changed(scenes: Scenes, generator: torch.Generator) -> Scenes:
    """The last object is left out, or has another shape or fill, each as often. A single object is
    never left out."""
    N = len(scenes.background)
    rows, last = torch.arange(N), scenes.count - 1
    what = torch.randint(3, (N,), generator=generator)
    what = torch.where((what == 0) & (last == 0), 1, what)

    def other(table: Tensor, words: tuple, kind: int) -> Tensor:
        step = torch.randint(1, len(words), (N,), generator=generator)
        now, made = table[rows, last], table.clone()
        made[rows, last] = torch.where(what == kind, (now + step) % len(words), now)
        return made

    made = scenes._replace(shape=other(scenes.shape, SHAPES, 1), fill=other(scenes.fill, FILLS, 2))
    gone = torch.zeros_like(scenes.present)
    gone[rows, last] = what == 0
    words = ("shape", "color", "size", "fill", "inside")
    empty = {name: torch.where(gone, -1, getattr(made, name)) for name in words}
    empty |= {name: torch.where(gone, 0, getattr(made, name)) for name in ("x", "y", "radius")}
    return made._replace(**empty)


def batches(
    known: Pool, seen: Regions, groups: int = 8, all_true: bool = True
) -> Callable[[torch.Generator], Matches]:
    """For `labkit.train.train`: a function that draws ``groups`` groups of the pool, and of each
    picture one caption, the same one of the five for all of a group.

    seen: the regions of the pool's pictures, of any floating dtype. all_true: tell which captions
    are true of other pictures of the batch; without it, only its own is said to be true of each.
    """
    number = len(known.scenes.background) // GROUP
    groups = whole_number(groups, "the number of groups in a batch", 1, number)

    def make(generator: torch.Generator) -> Matches:
        chosen = torch.randperm(number, generator=generator)[:groups]
        rows = (chosen[:, None] * GROUP + torch.arange(GROUP)).flatten()  # (B,)
        caption = torch.randint(EACH, (groups,), generator=generator)
        caption[torch.rand(groups, generator=generator) < FIRST] = 0
        texts = rows * EACH + caption.repeat_interleave(GROUP)
        found = seen.take(rows)
        most = int(found.mask.sum(1).max())
        found = Regions(*(table[:, :most] for table in found))
        found = found._replace(features=found.features.float())
        true = torch.eye(len(rows), dtype=torch.bool)
        if all_true:
            true = true | shows(known.scenes.take(rows), known.claims.take(texts))
        return Matches(found, [known.captions[text] for text in texts.tolist()], true)

    return make
