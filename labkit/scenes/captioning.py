"""Sentences about scenes: first what to say, then how to say it.

    caption(scene, random.Random(0))  ->  "a tiny scarlet star above a plain disc, on a mint ground"

Sentences are true of their scene but rarely complete: they leave objects and attributes out, as
people do. `labkit.scenes.reading.read` finds out again what a sentence says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from random import Random

from labkit.inputs import short, whole_number
from labkit.scenes.meaning import Meaning, Relation, Thing, fact
from labkit.scenes.words import (
    ANY,
    BACKGROUND_WORDS,
    BESIDE,
    COLOR_WORDS,
    FILL_ENDINGS,
    FILL_WORDS,
    NOUNS,
    NUMBERS,
    OPENINGS,
    PLACE_WORDS,
    RELATION_WORDS,
    SIZE_WORDS,
)
from labkit.scenes.world import RELATIONS, Object, Scene, Scenes, tensors

MOST_WORDS = 26  # of a caption, commas included, so that any text encoder of the course can hold it
# How often an attribute is mentioned; "plain" is what goes without saying.
MENTIONED = {"shape": 0.92, "color": 0.8, "size": 0.4, "fill": 0.55, "place": 0.25, "plain": 0.2}


def captions(scenes: Scenes | Scene | Sequence[Scene], seed: int | Random = 0) -> list[str]:
    """One random sentence for each scene, true of it; the same seed gives the same ones.

    Raises ValueError if scenes are no scenes, or one of them shows nothing.
    """
    if isinstance(scenes, Scene):
        scenes = [scenes]
    if not isinstance(scenes, Scenes):
        scenes = tensors(scenes)
    random = seed if isinstance(seed, Random) else Random(whole_number(seed, "seed", 0))
    relations = scenes.relation.tolist()
    return [caption(scene, random, facts) for scene, facts in zip(scenes.words(), relations)]


def caption(scene: Scene, random: Random, relations: list[list[int]] | None = None) -> str:
    """One random sentence, true of that scene. ``relations``: its rows of `Scenes.relation`."""
    if not isinstance(scene, Scene):
        raise ValueError(f"scene is {short(scene)}, but must be a Scene")
    if relations is None:
        relations = tensors([scene]).relation[0].tolist()
    while True:  # one sentence in thirty is too long
        text = phrase(describe(scene, relations, random), random)
        if len(text.replace(",", " ,").replace(":", " :").split()) <= MOST_WORDS:
            return text


# What to say


def describe(scene: Scene, relations: list[list[int]], random: Random) -> Meaning:
    """Picks some of what is true of a scene."""
    objects = scene.objects
    facts = [(a, RELATIONS[relations[a][b]], b) for a in range(len(objects))
             for b in range(len(objects)) if relations[a][b] >= 0]  # fmt: skip
    background = scene.background if random.random() < 0.25 else None
    total = len(objects) if random.random() < 0.1 else None
    choice = random.random()
    if facts and choice < 0.45:
        a, name, b = random.choice(facts)
        things = [mention(objects[k], random, place=False) for k in (a, b)]
        others = [k for k in range(len(objects)) if k not in (a, b)]
        if others and random.random() < 0.3:
            things.append(mention(objects[others[0]], random))
        return Meaning(tuple(things), (Relation(0, name, 1),), background)
    groups = alike(objects) if 0.45 <= choice < 0.8 else []
    if groups:
        thing, left = random.choice(groups)
        things = [thing]
        if left and random.random() < 0.5:
            things.append(mention(objects[random.choice(left)], random))
        return Meaning(tuple(things), (), background)
    order = random.sample(objects, len(objects))
    if len(order) > 1 and random.random() < 0.3:
        order = order[:-1]
    things = [mention(one, random) for one in order]
    for index, thing in enumerate(things):  # "a single star", where there is one
        unique = sum(thing.fits(one) for one in objects) == 1
        if thing.shape and unique and random.random() < 0.1:
            things[index] = replace(thing, number=1)
    if total == 1 or (total and random.random() < 0.3):
        return Meaning((), (), background, total)
    return Meaning(tuple(things), (), background, total if len(order) == total else None)


def mention(one: Object, random: Random, place: bool = True) -> Thing:
    """Some of what is true of one object."""
    said = {}
    for name in ("shape", "color", "size", "fill"):
        word = getattr(one, name)
        if random.random() < MENTIONED.get(word, MENTIONED[name]):
            said[name] = word
    if place and random.random() < MENTIONED["place"]:
        row, column = one.place
        spots = [spot for spot in ((row, column), (row, None), (None, column))
                 if spot in PLACE_WORDS]  # fmt: skip
        said["row"], said["column"] = random.choice(spots) if spots else (None, None)
    return Thing(**said)


def alike(objects: Sequence[Object]) -> list[tuple[Thing, list[int]]]:
    """What two or three objects have in common, and no other has: "two red stars". With each
    thing come the numbers of the objects that are left."""
    found: dict[Thing, list[int]] = {}
    for many in range(2, len(objects) + 1):
        for group in combinations(range(len(objects)), many):
            common = {
                name: fact(objects[group[0]], name)
                for name in ("shape", "color", "size", "fill")
                if len({fact(objects[k], name) for k in group}) == 1
            }
            for keep in (("shape", "color"), ("shape",), ("color",), tuple(common)):
                said = {name: common[name] for name in keep if name in common}
                if "shape" in said or "color" in said:
                    thing = Thing(**said, number=many)
                    if sum(thing.fits(one) for one in objects) == many:
                        found[thing] = [k for k in range(len(objects)) if k not in group]
    return list(found.items())


# How to say it


def phrase(meaning: Meaning, random: Random) -> str:
    """One of many sentences that say exactly that."""
    background = ""
    if meaning.background:
        word = pick(BACKGROUND_WORDS[meaning.background], random)
        background = random.choice((f" on a {word} background", f" on {word}",
                                    f" against a {word} background"))  # fmt: skip
    if not meaning.things:
        return counted(meaning.total, random) + background
    if meaning.relations:
        return related(meaning, random) + background
    terse = random.random() < 0.15 and not any(thing.number for thing in meaning.things)
    texts = [noun_phrase(thing, random, article="" if terse else "a") for thing in meaning.things]
    if terse:
        body = ", ".join(texts)
    elif len(texts) == 2 and random.random() < 0.3:
        body = f" {random.choice((*BESIDE, 'with'))} ".join(texts)
    else:
        body = " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
    if meaning.total:
        return f"{counted(meaning.total, random)}: {body}{background}"
    return ("" if terse else opening(meaning.things, random)) + body + background


def related(meaning: Meaning, random: Random) -> str:
    """A sentence with one relation: "a above b", "the a is above the b", "above b is a"."""
    if len(meaning.relations) > 1:
        raise ValueError(
            f"{len(meaning.relations)} relations do not go into one sentence: give it one"
        )
    ((subject, name, object),) = meaning.relations
    pair = (subject, object)
    others = [thing for k, thing in enumerate(meaning.things) if k not in pair]
    things = [*(meaning.things[k] for k in pair), *others]
    words = pick(RELATION_WORDS[name], random)
    form = random.choice(("plain", "plain", "is", "turned", "inside"))
    article = "the" if form == "is" else "a"
    a, b = (noun_phrase(thing, random, article) for thing in things[:2])
    if form == "inside" and name == "around":
        text = f"{a} with {b} inside"
    elif form == "is":
        text = f"{a} is {words} {b}"
    elif form == "turned" and name not in ("inside", "around"):
        text = f"{words} {b} is {a}"
    else:
        text = opening(things[:1], random) + f"{a} {words} {b}"
    for thing in things[2:]:
        text += f", and there is also {noun_phrase(thing, random)}"
    return text


def counted(total: int, random: Random) -> str:
    """ "two objects", "a trio of shapes"."""
    return f"{pick(NUMBERS[total], random)} {random.choice(ANY)[total > 1]}"


def opening(things: Sequence[Thing], random: Random) -> str:
    """How a sentence may begin: most often with the thing itself."""
    if random.random() < 0.7:
        return ""
    many = things and (things[0].number or 1) > 1
    begin = random.choice((*OPENINGS, "there are" if many else "there is"))
    return begin + " "


def noun_phrase(thing: Thing, random: Random, article: str = "a") -> str:
    """ "a big red star with stripes in the middle", "two stars", "a shape that is red"."""
    many = (thing.number or 1) > 1
    words = {
        "size": SIZE_WORDS.get(thing.size), "fill": FILL_WORDS.get(thing.fill),
        "color": COLOR_WORDS.get(thing.color),
    }  # fmt: skip
    names = [name for name, options in words.items() if options]
    if random.random() < 0.3:
        names.reverse()
        names.sort(key=lambda name: name != "size")  # the size stays in front
    after, ending = [], ""
    if thing.fill in FILL_ENDINGS and random.random() < 0.25:
        names.remove("fill")
        ending = " " + FILL_ENDINGS[thing.fill]
    elif names and random.random() < 0.1:
        after, names = names[-2:], names[:-2]
    adjectives = [pick(words[name], random) for name in names]
    noun = pick(NOUNS[thing.shape], random) if thing.shape else random.choice(ANY)
    text = " ".join([*adjectives, noun[many]])
    if thing.number:
        text = f"{pick(NUMBERS[thing.number], random)} {text}"
    elif article == "a":
        text = f"{'an' if text[0] in 'aeiou' else 'a'} {text}"
    elif article:
        text = f"{article} {text}"
    if after:
        said = " and ".join(pick(words[name], random) for name in after)
        text += f" that {'are' if many else 'is'} {said}"
    place = PLACE_WORDS.get((thing.row, thing.column))
    return text + ending + (f" {pick(place, random)}" if place else "")


def pick(options: Sequence, random: Random):
    """The first option half of the time, else one of the others."""
    if len(options) == 1 or random.random() < 0.5:
        return options[0]
    return random.choice(options[1:])
