"""The expressions that a sentence about a scene is made of, and how to find them in it.

    scan("two crimson stars")
    ->  [("number", 2), ("adjective", ("color", "red")), ("noun", "star")]

What they mean together is for `labkit.scenes.reading` to say.
"""

from __future__ import annotations

import re

from labkit.inputs import nearest, short
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
    linking = ("and", "with", "also", "there is", "there are", ",", ":", ";")
    known |= {word: ("also", word) for word in (*OPENINGS, *BESIDE, *linking)}
    known |= {word: ("verb", word) for word in ("is", "are")}
    return known | dict.fromkeys(("that is", "that are"), ("that", None))


KNOWN = lexicon()
WORDS = sorted({word for expression in KNOWN for word in expression.split() if word.isalpha()})
LONGEST_FIRST = sorted(KNOWN, key=len, reverse=True)
EXPRESSION = re.compile(
    "|".join(
        (re.escape(words) + r"(?![\w-])" * words[-1].isalnum()).replace(r"\ ", r"\s+")
        for words in LONGEST_FIRST
    )
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
