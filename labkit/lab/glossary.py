"""The words of the course: what each means, and the lesson in which it is met first.

    for word in glossary.terms():
        print(word.term, word.lesson, word.meaning)

`glossary.json` is their only source.
"""

import json
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

SOURCE = Path(__file__).with_name("glossary.json")


class Term(NamedTuple):
    """One word of the course."""

    term: str  # as the lessons write it
    lesson: int  # the number of the lesson that introduces it
    meaning: str  # one plain sentence, at most 25 words
    named: tuple[int, ...] = ()  # lessons before that one which only name it


@cache
def terms() -> tuple[Term, ...]:
    """All of them, in the order of the course."""
    rows = json.loads(SOURCE.read_text("utf-8"))
    return tuple(Term(**row | {"named": tuple(row.get("named", ()))}) for row in rows)


def occurs(term: str, text: str) -> bool:
    """Whether a text has that term as a whole word, also in the plural. Upper and lower case are
    the same, except for abbreviations: to clip is not CLIP."""
    abbreviation = sum(map(str.isupper, term)) > 1
    words = r"\s+".join(map(re.escape, term.split()))
    return bool(re.search(rf"(?<![\w.]){words}s?(?!\w)", text, 0 if abbreviation else re.I))
