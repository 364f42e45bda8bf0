"""Words that the corpus uses and some captions avoid, each with the one that means the same.

    plainly("a pair of crimson discs")  ->  "two red circles"
    rarely("two red circles", Random(0))  ->  "a pair of scarlet discs"

A model of pictures whose captions all went through `plainly` has never met a picture of "crimson".
Whether it draws one all the same depends on what reads the text for it (lesson 11).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from random import Random

from labkit.inputs import short
from labkit.scenes.words import COLOR_WORDS, NOUNS, NUMBERS

# By what they speak of: each word that plain captions avoid, and the one that they use.
SYNONYMS: dict[str, dict[str, str]] = {
    "color": {word: plain for plain, *others in COLOR_WORDS.values() for word in others},
    "shape": {
        word: plain for plain, *others in NOUNS.values() for pair in others
        for word, plain in zip(pair, plain, strict=True)
    },
    "number": {NUMBERS[2][1]: NUMBERS[2][0], NUMBERS[3][1]: NUMBERS[3][0]},
}  # fmt: skip
VOWELS = "aeiouAEIOU"
PLAIN = {word: plain for table in SYNONYMS.values() for word, plain in table.items()}


def any_of(words: Iterable[str]) -> str:
    """The pattern of any of the words, whole, the longest first."""
    return rf"({'|'.join(sorted(words, key=len, reverse=True))})\b"


def articles_before(words: Iterable[str]) -> re.Pattern:
    """Articles before these words alone: "an hour" and "a unicorn" are right as they are."""
    return re.compile(rf"\b(a)n? (?={any_of(words)})", re.IGNORECASE)


OTHERS: dict[str, list[str]] = {}  # of each plain word
for _word, _plain in PLAIN.items():
    OTHERS.setdefault(_plain, []).append(_word)
AVOIDED = re.compile(rf"\b{any_of(PLAIN)}", re.IGNORECASE)
# "Pale blue" is a background, and has no other word for its blue.
USED = re.compile(rf"(?<!pale )\b{any_of(OTHERS)}", re.IGNORECASE)
BEFORE_PLAIN, BEFORE_OTHERS = articles_before(OTHERS), articles_before(PLAIN)


def plainly(text: str) -> str:
    """The sentence in plain words for colors, shapes and numbers, large letters or small; its
    meaning is the same. Raises ValueError for what is no text."""
    if not isinstance(text, str):
        raise ValueError(f"a text is {short(text)}, but must be a string")
    text = AVOIDED.sub(lambda match: PLAIN[match[1].lower()], text)
    return BEFORE_PLAIN.sub(article, text)


def rarely(text: str, random: Random) -> str:
    """The sentence with every plain word that has others replaced by one of them, drawn at random;
    its meaning is the same. Raises ValueError for what is no text."""
    if not isinstance(text, str):
        raise ValueError(f"a text is {short(text)}, but must be a string")
    text = USED.sub(lambda match: random.choice(OTHERS[match[1].lower()]), text)
    return BEFORE_OTHERS.sub(article, text)


def article(match: re.Match) -> str:
    """The article that fits the word behind it, and the space between them."""
    return f"{match[1]}{'n' if match[2][0] in VOWELS else ''} "
