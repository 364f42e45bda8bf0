"""Reads a sentence about a scene: the way back from `captioning`, written apart from it.

    read("a big crimson star above two discs on a pale blue background")

So any sentence, a learner's own too, can be compared with what a picture shows. Both share the
words (`labkit.scenes.words`) and no rule: a mistake in one shows where the other does not agree.
"""

from __future__ import annotations

from dataclasses import replace

from labkit.inputs import short
from labkit.scenes.lexicon import scan
from labkit.scenes.meaning import Meaning, Relation, Thing
from labkit.scenes.words import BESIDE, PLACE_WORDS

STARTS = ("article", "number", "adjective", "noun")  # the kinds that a thing's name begins with
AND = (("also", "and"), ("also", ","))
ANNOUNCES = ("there is", "there are", "you can see", "here we have")  # a thing comes next


def read(text: str) -> Meaning:
    """What a sentence says. Raises ValueError for a word that is not in the captions' vocabulary
    (the nearest is offered), for a sentence that says nothing, for one that says two colors,
    shapes, … of one thing, and for one that leaves open which thing it says something of."""
    return Reading(text).meaning()


class Reading:
    """A sentence, and how far it is read."""

    def __init__(self, text: str):
        self.text, self.tokens = text, scan(text)
        self.kinds = [kind for kind, _ in self.tokens] + [None]
        self.things: list[Thing] = []
        self.relations: list[Relation] = []
        self.background = None
        self.at = 0  # the token that comes next
        self.near, self.end = 0, 0  # the thing that was named last, and where its name ended
        self.joined = None  # "and", "with", … whichever came last
        # What waits for the next thing: "a above …", "above b is …", "on the left is …"
        self.pending, self.turned, self.where = None, None, None

    def meaning(self) -> Meaning:
        while self.at < len(self.tokens):
            kind, value = self.tokens[self.at]
            if kind in STARTS:
                if not (kind == "adjective" and self.again()):
                    self.name()
                continue
            if kind == "relation":
                self.relate(value)
            elif kind == "background":
                if self.background not in (None, value):
                    raise ValueError(f"{short(self.text)} says two backgrounds: give it one")
                self.background = value
            elif kind == "place":
                self.place(value)
            elif kind == "verb" and self.things:
                self.describe()
            elif kind == "also":
                self.joined = value
            self.at += 1
        lost = self.pending[1] if self.pending else self.turned
        if lost:
            raise ValueError(f"{short(self.text)} does not say of what something is {lost}: add it")
        if self.where:
            raise ValueError(f"{short(self.text)} does not say what is {spot(self.where)}: add it")
        return totaled(self.things, self.relations, self.background, self.text)

    def name(self) -> None:
        """A thing's name starts here."""
        thing, self.at = noun_phrase(self.tokens, self.at, self.text)
        things, last = self.things, len(self.things)
        things.append(placed(thing, self.where, self.text) if self.where else thing)
        self.near = last
        if self.pending:
            self.relations.append(Relation(*self.pending, last))
        elif self.turned and last and self.kinds[self.at] != "verb":
            # "above b is a": what came first is the object; it goes after its subject
            things[last - 1], things[last] = things[last], things[last - 1]
            self.relations.append(Relation(last - 1, self.turned, last))
            self.turned, self.near = None, last - 1
        self.pending, self.where, self.end = None, None, self.at

    def relate(self, name: str) -> None:
        """A relation, in front of its object."""
        ahead, last = self.kinds[self.at + 1] in STARTS, len(self.things) - 1
        if ahead and not self.things:
            if self.where:
                raise self.unclear(spot(self.where))
            self.turned = name
        elif ahead and self.things:
            self.pending = (self.subject(name), name)
        elif name == "inside" and self.joined == "with" and last > 0:  # "b with a inside"
            self.relations.append(Relation(last - 1, "around", last))
        else:
            raise ValueError(f"{short(self.text)} does not say of what something is {name}: add it")

    def place(self, value: tuple) -> None:
        """A place that is no part of a name: of the next thing, or of the one before."""
        kind, word = (*self.tokens, (None, None))[self.at + 1]
        leads = kind in (*STARTS, "verb") or (kind == "also" and word in ANNOUNCES)
        behind = self.at == self.end or self.kinds[self.at - 1] == "verb"
        if not self.things or (leads and not behind):  # "on the left is a star"
            if self.where:
                raise ValueError(f"{short(self.text)} says two places of one thing: give it one")
            self.where = value
        else:  # "the star is on the left"
            index = self.subject(spot(value))
            self.things[index] = placed(self.things[index], value, self.text)

    def describe(self) -> None:
        """ "is": adjectives behind it describe the thing before it, as in "the star is red"."""
        words, end = adjectives(self.tokens, self.at + 1)
        if words:
            self.add(words)
            self.at, self.end = end - 1, end
            return
        turned = self.turned or self.where or self.joined in BESIDE  # "above b is a"
        if self.kinds[self.at + 1] in STARTS and not turned:
            raise ValueError(
                f"{short(self.text)} says that one thing is another: say what it is like, as in "
                "'the star is red'"
            )

    def again(self) -> bool:
        """Whether adjectives describe a thing once more, as in "is on the left and red"."""
        words, end = adjectives(self.tokens, self.at)
        if self.pending or not words or not self.things or "verb" not in self.kinds[: self.at]:
            return False
        self.add(words)
        self.at = self.end = end
        return True

    def add(self, words: list[tuple[str, str]]) -> None:
        index = self.subject(words[0][1])
        self.things[index] = Thing(**said(vars(self.things[index]), words, self.text))

    def subject(self, what: str) -> int:
        """The thing of which something is said behind its name. Raises if that is not clear."""
        if len(self.things) == 1:
            return self.near
        clear = self.at == self.end
        if self.kinds[self.end] == "verb" and self.at in (self.end, self.end + 1):
            # not so in "a star above a moon is red" and in "a star and a moon are red"
            second = self.joined in ("with", *BESIDE)
            second |= self.near in [relation.object for relation in self.relations]
            many = (self.things[self.near].number or 1) > 1
            clear = not second and (many or self.tokens[self.end][1] == "is")
        if not clear:
            raise self.unclear(what)
        return self.near

    def unclear(self, what: str) -> ValueError:
        return ValueError(
            f"{short(self.text)} leaves open of which thing it says {what!r}: say it directly "
            "behind that thing"
        )


def noun_phrase(tokens, at: int, text: str) -> tuple[Thing, int]:
    """The thing that is named from there on, and where its name ends."""
    known: dict[str, object] = {}
    noun = False
    while at < len(tokens):
        kind, value = tokens[at]
        if kind == "article" and not known:
            pass
        elif kind == "number" and not known:
            known["number"] = value
        elif kind == "adjective" and (not noun or value[0] == "fill"):
            known = said(known, [value], text)
        elif kind == "noun" and not noun:
            noun = True
            if value:
                known["shape"] = value
        elif kind == "that" and noun:  # "that is red and striped"
            words, end = adjectives(tokens, at + 1)
            known, at = said(known, words, text), end - 1
        elif kind == "place" and noun:
            return placed(Thing(**known), value, text), at + 1
        else:
            break
        at += 1
    return Thing(**known), at


def adjectives(tokens, at: int) -> tuple[list[tuple[str, str]], int]:
    """ "red and striped" from there on, and where it ends; what describes a noun is not of it."""
    parts = [[]]  # between "and"
    ends = [at]
    while at < len(tokens):
        if tokens[at][0] == "adjective":
            parts[-1].append(tokens[at][1])
        elif parts[-1] and tokens[at] in AND:
            ends.append(at)
            parts.append([])
        else:
            break
        at += 1
    if not parts[-1] or (at < len(tokens) and tokens[at][0] == "noun"):
        parts, at = parts[:-1], ends[-1]
    return sum(parts, []), at


def said(known: dict[str, object], words: list[tuple[str, str]], text: str) -> dict[str, object]:
    """What is known of a thing, with these adjectives."""
    known = dict(known)
    for name, idea in words:
        if known.get(name) not in (None, idea):
            raise ValueError(f"{short(text)} says two {name}s of one thing: give it one")
        known[name] = idea
    return known


def spot(place: tuple) -> str:
    return PLACE_WORDS[place][0]


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
            if total:
                raise ValueError(f"{short(text)} says twice how many there are in all: say it once")
            total = thing.number
        else:
            kept.append(index)
    new = {old: index for index, old in enumerate(kept)}
    relations = tuple(Relation(new[a], name, new[b]) for a, name, b in relations)
    if not kept and total is None and background is None:
        raise ValueError(f"{short(text)} names nothing: say, for example, 'a red star'")
    return Meaning(tuple(things[index] for index in kept), relations, background, total)
