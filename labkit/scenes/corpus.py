"""Text alone, about the same world: what a language model reads that never sees a picture.

    sentences(3, seed=0)  ->  ["mira glued a crimson star above two dotted boxes", ...]

People make and move things, questions are asked and answered, what left means for right is said,
and what a lemon has to do with yellow. The captions' words occur among many others, so a model of
these sentences has learned something that no pair of picture and caption could tell it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

from labkit.inputs import one_of, whole_number
from labkit.scenes.captioning import caption, describe, mention, noun_phrase, phrase, pick
from labkit.scenes.drawing import SPLITS, draw
from labkit.scenes.meaning import Thing
from labkit.scenes.words import ANY, BESIDE, COLOR_WORDS, NOUNS, NUMBERS, RELATION_WORDS
from labkit.scenes.world import RELATIONS, SHAPES, Object, Scene

MOST_WORDS = 30  # of a sentence, punctuation included

PEOPLE = ("mira", "tom", "ada", "jun", "leila", "oskar", "nina", "paul", "grandmother", "a painter",
          "my brother", "our teacher", "the baker", "the sailor", "her friend")  # fmt: skip
MADE = ("painted", "drew", "cut out", "glued", "printed", "carved", "sewed", "sketched", "found",
        "framed", "dreamed of", "baked", "folded", "chose", "lost", "bought")  # fmt: skip
WHERE = ("on a card", "on the wall", "in a notebook", "at school", "for a friend", "on a flag",
         "in the dust", "on a cookie", "in the snow", "for the poster", "on a kite",
         "by candlelight", "in the garden", "on her sleeve", "at the market",
         "before breakfast")  # fmt: skip
WHEN = ("yesterday", "this morning", "last winter", "today", "once", "on sunday", "every summer",
        "after lunch")  # fmt: skip
LIKED = ("likes", "prefers", "is proud of", "cannot find", "remembers", "is looking at",
         "wants to copy", "laughs about")  # fmt: skip

# What everybody knows about shapes and colors, in whole sentences; {} takes any of its words.
SHAPE_LORE = {
    "circle": ("a {} has no corners at all", "a {} is round like a coin, a plate or a wheel",
               "a {} rolls down a hill"),
    "square": ("a {} has four equal sides and four corners", "a {} looks like a window or a tile",
               "all sides of a {} are equally long"),
    "triangle": ("a {} has three sides and three corners", "a {} looks like a tent or a roof",
                 "no other shape has as few corners as a {}"),
    "diamond": ("a {} is a square that stands on its tip", "a {} looks like a kite without a tail"),
    "star": ("a {} has five points", "a {} shines at night", "sailors steer by a {}"),
    "heart": ("a {} stands for love", "a {} has one tip below and two round halves above",
              "people send a {} to those they love"),
    "cross": ("a {} has four equal arms", "a {} marks the spot on a treasure map",
              "a {} means that two numbers are added"),
    "moon": ("a {} is thin and curved like a banana", "a {} is what is left of a full circle",
             "a {} rises in the evening"),
}  # fmt: skip
COLOR_LORE = {
    "red": ("cherries and fire engines are {}", "{} is the color of a stop sign"),
    "orange": ("carrots and pumpkins are {}", "red and yellow mixed give {}"),
    "yellow": ("the sun and the lemon are {}", "{} is the lightest of all colors"),
    "green": ("grass and frogs are {}", "blue and yellow mixed give {}"),
    "blue": ("the sea and the evening sky are {}", "{} is a cold color"),
    "purple": ("plums and violets are {}", "red and blue mixed give {}"),
    "pink": ("flamingos are {}", "red with a lot of white becomes {}"),
    "brown": ("bread, wood and bears are {}", "{} is a very dark orange"),
}  # fmt: skip
OPPOSITES = {name: other for a, b in zip(RELATIONS[::2], RELATIONS[1::2])
             for name, other in ((a, b), (b, a))}  # fmt: skip


def sentences(number: int, seed: int | Random = 0, split: str = "train") -> list[str]:
    """That many random sentences; the same seed gives the same ones.

    split: as in `labkit.scenes.draw`; in "train" no sentence speaks of an object that shows
    a combination kept from training. Raises ValueError for others.
    """
    number = whole_number(number, "the number of sentences", 1)
    split = one_of(split, SPLITS, "split")
    random = seed if isinstance(seed, Random) else Random(whole_number(seed, "seed", 0))
    scenes = draw(number, random.getrandbits(62), split)
    return [
        sentence(scene, relations, random)
        for scene, relations in zip(scenes.words(), scenes.relation.tolist())
    ]


def sentence(scene: Scene, relations: list[list[int]], random: Random) -> str:
    """One sentence that has to do with that scene, and is true of it where it speaks of it."""
    facts = [(a, RELATIONS[relations[a][b]], b) for a in range(len(relations))
             for b in range(len(relations)) if relations[a][b] >= 0]  # fmt: skip
    while True:
        kind = random.choices(KINDS, WEIGHTS)[0]
        text = kind(scene, relations, facts, random)
        if text and len(re.findall(r"\w+|[^\w\s]", text)) <= MOST_WORDS:
            return text


def named(one: Object, random: Random, article: str = "a") -> str:
    return noun_phrase(mention(one, random, place=False), random, article)


def captioned(scene, relations, facts, random) -> str:
    return caption(scene, random, relations)


def story(scene, relations, facts, random) -> str:
    who, did = random.choice(PEOPLE), random.choice(MADE)
    what = phrase(describe(scene, relations, random), random).split(" on ")[0]
    if not what.startswith(("a ", "an ", "two ", "three ", "one ")) or " is " in what:
        what = named(random.choice(scene.objects), random)
    text = f"{who} {did} {what} {random.choice(WHERE)}"
    return f"{random.choice(WHEN)} {text}" if random.random() < 0.4 else text


def taste(scene, relations, facts, random) -> str:
    one = random.choice(scene.objects)
    text = f"{random.choice(PEOPLE)} {random.choice(LIKED)} {named(one, random, 'the')}"
    if len(scene.objects) > 1 and random.random() < 0.6:
        other = random.choice([other for other in scene.objects if other is not one])
        other = named(other, random, "the")
        text += f" but not {other}" if not text.endswith(other) else ""
    return text


def turned(scene, relations, facts, random) -> str:
    """What a relation means for its opposite."""
    if not facts:
        return ""
    a, name, b = random.choice(facts)
    one, other = (named(scene.objects[k], random, "the") for k in (a, b))
    here, back = (pick(RELATION_WORDS[word], random) for word in (name, OPPOSITES[name]))
    return random.choice((
        f"if {one} is {here} {other}, then {other} is {back} {one}",
        f"{one} is {here} {other}, so {other} must be {back} {one}",
        f"because {other} is {back} {one}, {one} is {here} {other}",
    ))  # fmt: skip


def question(scene, relations, facts, random) -> str:
    one = random.choice(scene.objects)
    noun = pick(NOUNS[one.shape], random)[0]
    color = pick(COLOR_WORDS[one.color], random)
    if facts and random.random() < 0.4:
        a, name, b = random.choice(facts)
        words = pick(RELATION_WORDS[name], random)
        asked, answer = named(scene.objects[b], random, "the"), named(scene.objects[a], random)
        return f"what is {words} {asked}? {answer}"
    same = sum(other.shape == one.shape for other in scene.objects)
    if random.random() < 0.4:
        plural = pick(NOUNS[one.shape], random)[1]
        return f"how many {plural} are there? {('one', 'two', 'three')[same - 1]}"
    if same > 1:
        return ""
    if random.random() < 0.5:
        return f"is the {noun} {color}? yes, it is {color} and {one.fill}"
    return f"what color is the {noun}? it is {color}"


def missing(scene, relations, facts, random) -> str:
    absent = [shape for shape in SHAPES if shape not in {one.shape for one in scene.objects}]
    noun = pick(NOUNS[random.choice(absent)], random)[0]
    there = named(random.choice(scene.objects), random)
    return random.choice((
        f"there is no {noun} here, only {there}", f"look, not a {noun} but {there}",
        f"instead of a {noun} we see {there}",
    ))  # fmt: skip


def task(scene, relations, facts, random) -> str:
    one = named(scene.objects[0], random)
    verb = random.choice(("draw", "imagine", "place", "color", "print"))
    if facts:
        a, name, b = random.choice(facts)
        one, other = (named(scene.objects[k], random) for k in (b, a))
        words = pick(RELATION_WORDS[name], random)
        return f"{verb} {one}, then put {other} {words} it"
    if len(scene.objects) == 1:
        return f"{verb} {one} and nothing else"
    other = named(scene.objects[1], random)
    return f"{verb} {one} first, and {other} {random.choice(BESIDE)} it afterwards"


def compared(scene, relations, facts, random) -> str:
    sizes = {one.size: one for one in scene.objects}
    if len(sizes) < 2 or len({(one.shape, one.color) for one in sizes.values()}) < 2:
        return ""
    small, large = (
        noun_phrase(Thing(sizes[size].shape, sizes[size].color), random, "the")
        for size in ("small", "large")
    )
    return random.choice((
        f"{large} is bigger than {small}", f"{small} is smaller than {large}",
        f"{small} would fit into {large}, but not the other way round",
    ))  # fmt: skip


def sums(scene, relations, facts, random) -> str:
    singular, plural = pick(NOUNS[random.choice(scene.objects).shape], random)
    if random.random() < 0.5:
        return f"one {singular} and {('one', 'two')[k := random.randrange(2)]} more make " + (
            f"{('two', 'three')[k]} {plural}"
        )
    much = random.choice((2, 3))
    word = pick(NUMBERS[much], random)
    return f"take one away from {word} {plural} and {('one is', 'two are')[much - 2]} left"


def lore(scene, relations, facts, random) -> str:
    one = random.choice(scene.objects)
    choice = random.random()
    if choice < 0.4:
        word = pick(NOUNS[one.shape], random)[0]
        return random.choice(SHAPE_LORE[one.shape]).format(word)
    words = COLOR_WORDS[one.color]
    if choice < 0.8 or len(words) == 1:
        return random.choice(COLOR_LORE[one.color]).format(pick(words, random))
    if choice < 0.9:
        return f"{random.choice(words[1:])} is another word for {words[0]}"
    return f"every {random.choice(words[1:])} {random.choice(ANY)[0]} is {words[0]}"


def rewordings(number: int, seed: int | Random = 0, split: str = "train") -> list[str]:
    """Sentences that say the same of a thing twice, each time in words of their own: "every tiny
    crimson disc is a small red circle". Arguments and errors as of `sentences`, among which they do
    not occur: whoever wants them adds them."""
    number = whole_number(number, "the number of sentences", 1)
    split = one_of(split, SPLITS, "split")
    random = seed if isinstance(seed, Random) else Random(whole_number(seed, "seed", 0))
    scenes = draw(number, random.getrandbits(62), split)
    return [reworded(random.choice(scene.objects), random) for scene in scenes.words()]


def reworded(one: Object, random: Random) -> str:
    while True:
        said = mention(one, random, place=False)
        several = replace(said, number=random.choice((2, 3))) if random.random() < 0.25 else said
        first, second = (noun_phrase(several, random) for _ in range(2))
        if first != second and said.shape:
            break
    if several.number:
        return random.choice((f"{first} are {second}", f"{first}, so {second}"))
    plain = first.removeprefix("an ").removeprefix("a ")
    return random.choice((
        f"every {plain} is {second}", f"if it is {first}, then it is {second}",
        f"{first} is {second}", f"it is {first}, so it is {second}",
    ))  # fmt: skip


KINDS = (captioned, story, taste, turned, question, missing, task, compared, sums, lore)
WEIGHTS = (5, 4, 1, 2, 3, 1, 2, 1, 0.5, 1)
