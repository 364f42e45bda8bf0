"""Words that the corpus uses and some captions avoid, each with the one that means the same.

    plainly("a pair of crimson discs")  ->  "two red circles"

A model of pictures whose captions all went through `plainly` has never met a picture of "crimson".
Whether it draws one all the same depends on what reads the text for it (lesson 11).
"""

from __future__ import annotations

import re

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
PLAIN = {word: plain for table in SYNONYMS.values() for word, plain in table.items()}
AVOIDED = re.compile(r"\b(" + "|".join(sorted(PLAIN, key=len, reverse=True)) + r")\b")
ARTICLE = re.compile(r"\ban? (?=(\w))")


def plainly(text: str) -> str:
    """The sentence in plain words for colors, shapes and numbers; its meaning is the same. Raises
    ValueError for what is no text."""
    if not isinstance(text, str):
        raise ValueError(f"a text is {short(text)}, but must be a string")
    text = AVOIDED.sub(lambda match: PLAIN[match[1]], text)
    return ARTICLE.sub(lambda match: "an " if match[1] in "aeiou" else "a ", text)
