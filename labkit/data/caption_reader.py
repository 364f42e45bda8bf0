"""Reads a sentence about a scene: the way back from `labkit.data.captions`, written apart from it.

    read("a big crimson star above two discs on a pale blue background")

So any sentence, a learner's own too, can be compared with what a picture shows.
"""

from __future__ import annotations

import re
from dataclasses import replace

from labkit.data.scenes_meaning import Meaning, Relation, Thing
from labkit.data.scenes_words import (
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
from labkit.inputs import nearest, short


def lexicon() -> dict[str, tuple[str, object]]:
    """Every expression: its kind and what it stands for."""
    known: dict[str, tuple[str, object]] = {}
    for name, table in (("color", COLOR_WORDS), ("size", SIZE_WORDS), ("fill", FILL_WORDS)):
        for idea, words in table.items():
            known |= dict.fromkeys(words, ("adjective", (name, idea)))
    for shape, pairs in NOUNS.items():
        known |= {word: ("noun", shape) for pair in pairs for word in pair}
    known |= {word: ("noun", None) for pair in ANY for word in pair}
    for kind, table in (("number", NUMBERS), ("relation", RELATION_WORDS), ("place", PLACE_WORDS)):
        for idea, words in table.items():
            known |= dict.fromkeys(words, (kind, idea))
    for idea, words in BACKGROUND_WORDS.items():
        for word in words:
            for start in ("on", "against", "on a", "against a", "on the", "against the"):
                known |= {f"{start} {word}{end}": ("background", idea)
                          for end in ("", " background")}  # fmt: skip
    known |= {words: ("adjective", ("fill", fill)) for fill, words in FILL_ENDINGS.items()}
    known |= dict.fromkeys(("a", "an", "the", "something"), ("article", None))
    known |= {
        word: ("also", word)
        for word in (
            *OPENINGS,
            *BESIDE,
            "and",
            "with",
            "also",
            "there is",
            "there are",
            ",",
            ":",
            ";",
        )
    }
    known |= dict.fromkeys(("is", "are"), ("verb", None))
    return known | dict.fromkeys(("that is", "that are"), ("that", None))


KNOWN = lexicon()
WORDS = sorted({word for expression in KNOWN for word in expression.split() if word.isalpha()})
LONGEST_FIRST = sorted(KNOWN, key=len, reverse=True)
EXPRESSION = re.compile(
    "|".join(rf"{re.escape(words)}(?![\w-])".replace(r"\ ", r"\s+") for words in LONGEST_FIRST)
)


def scan(text: str) -> list[tuple[str, object]]:
    """The expressions of a sentence in order. Raises ValueError for a word that is none."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"a sentence is {short(text)}, but must be text that says something")
    text = text.lower().strip().rstrip(".!")
    found, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        match = EXPRESSION.match(text, at)
        if not match:
            word = re.match(r"[\w-]+|.", text[at:]).group()
            if word in WORDS:
                raise ValueError(
                    f"{short(text)} cannot be read from {word!r} on: say, for example, 'a red star "
                    "left of a small circle'"
                )
            error = nearest(word, WORDS, "word")
            raise ValueError(
                f"a scene has no {short(word)}: use words of its captions"
                + str(error).partition(";")[1] + str(error).partition(";")[2]
            ) from None  # fmt: skip
        found.append(KNOWN[" ".join(match.group().split())])
        at = match.end()
    return found


def read(text: str) -> Meaning:
    """What a sentence says. Raises ValueError for a word that is not in the captions' vocabulary
    (the nearest is offered), for a sentence that says nothing, and for one that says two colors,
    shapes, … of one thing."""
    tokens = scan(text)
    things: list[Thing] = []
    relations: list[Relation] = []
    background, turned, pending, kinds = None, None, None, [kind for kind, _ in tokens]
    at, beside = 0, False  # beside: the last thing followed "with"
    while at < len(tokens):
        kind, value = tokens[at]
        if kind in ("article", "number", "adjective", "noun"):
            thing, at = noun_phrase(tokens, at, text)
            things.append(thing)
            last = len(things) - 1
            if pending:
                relations.append(Relation(pending[0], pending[1], last))
            elif turned and last and kinds[at : at + 1] != ["verb"]:
                # "above b is a": what came first is the object; it goes after its subject
                things[last - 1], things[last] = things[last], things[last - 1]
                relations.append(Relation(last - 1, turned, last))
                turned = None
            pending = None
            continue
        if kind == "relation":
            starts_thing = kinds[at + 1 : at + 2] and kinds[at + 1] in (
                "article", "number", "adjective", "noun"
            )  # fmt: skip
            if not things:
                turned = value
            elif starts_thing:
                pending = (len(things) - 1, value)
            elif value == "inside" and beside and len(things) > 1:  # "b with a inside"
                relations.append(Relation(len(things) - 2, "around", len(things) - 1))
            else:
                raise ValueError(f"{short(text)} does not say of what something is {value}: add it")
        elif kind == "background":
            background = value
        elif kind == "place" and things:  # "the star is on the left"
            things[-1] = placed(things[-1], value, text)
        elif kind == "also":
            beside = value == "with"
        at += 1
    if pending or turned:
        lost = pending[1] if pending else turned
        raise ValueError(f"{short(text)} does not say of what something is {lost}: add it")
    return totaled(things, relations, background, text)


def noun_phrase(tokens, at: int, text: str) -> tuple[Thing, int]:
    """The thing that is named from there on, and where its name ends."""
    said: dict[str, object] = {}
    noun = False
    while at < len(tokens):
        kind, value = tokens[at]
        after_that = at and tokens[at - 1][0] == "that"
        if kind == "article" and not said:
            pass
        elif kind == "number" and not said:
            said["number"] = value
        elif kind == "adjective" and (not noun or after_that or value[0] == "fill"):
            if said.setdefault(value[0], value[1]) != value[1]:
                raise ValueError(f"{short(text)} says two {value[0]}s of one thing: give it one")
        elif kind == "noun" and not noun:
            noun = True
            if value:
                said["shape"] = value
        elif kind == "that" and noun:
            pass
        elif (
            (kind, value) == ("also", "and")
            and "that" in [k for k, _ in tokens[:at]]
            and tokens[at - 1][0] == "adjective"
            and tokens[at + 1 : at + 2]
            and tokens[at + 1][0] == "adjective"
        ):
            at += 1  # "that is red and striped"
            name, word = tokens[at][1]
            said[name] = word
        elif kind == "place" and noun:
            return placed(Thing(**said), value, text), at + 1
        else:
            break
        at += 1
    return Thing(**said), at


def placed(thing: Thing, place: tuple, text: str) -> Thing:
    if thing.row or thing.column:
        raise ValueError(f"{short(text)} says two places of one thing: give it one")
    return replace(thing, row=place[0], column=place[1])


def totaled(things, relations, background, text: str) -> Meaning:
    """Takes out "three shapes", which says how many there are in all."""
    total = None
    related = {index for relation in relations for index in (relation.subject, relation.object)}
    kept = []
    for index, thing in enumerate(things):
        if thing.number and not thing.attributes() and index not in related:
            total = thing.number
        else:
            kept.append(index)
    new = {old: index for index, old in enumerate(kept)}
    relations = tuple(Relation(new[a], name, new[b]) for a, name, b in relations)
    if not kept and total is None and background is None:
        raise ValueError(f"{short(text)} names nothing: say, for example, 'a red star'")
    return Meaning(tuple(things[index] for index in kept), relations, background, total)
