"""Words that the corpus uses and some captions avoid, each with the one that means the same.

    plainly("a pair of crimson discs")  ->  "two red circles"

A model of pictures whose captions all went through `plainly` has never met a picture of "crimson".
Whether it draws one all the same depends on what reads the text for it (lesson 11).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

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


AVOIDED = re.compile(rf"\b{any_of(PLAIN)}", re.IGNORECASE)
# Before words that come in alone: "an hour" and "a unicorn" are right as they are.
ARTICLE = re.compile(rf"\b(a)n? (?={any_of(set(PLAIN.values()))})", re.IGNORECASE)


def plainly(text: str) -> str:
    """The sentence in plain words for colors, shapes and numbers, large letters or small; its
    meaning is the same. Raises ValueError for what is no text."""
    if not isinstance(text, str):
        raise ValueError(f"a text is {short(text)}, but must be a string")
    text = AVOIDED.sub(lambda match: PLAIN[match[1].lower()], text)
    return ARTICLE.sub(lambda match: f"{match[1]}{'n' if match[2][0] in VOWELS else ''} ", text)
