"""The words of the course: what each means, and the lesson in which it is met first.

    for word in glossary.terms():
        print(word.term, word.lesson, word.meaning)

`glossary.json` is their only source.
"""

import json
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from labkit.lab.course_map import ROWS

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


class Words:
    """Terms with their meanings, for a notebook: a list that unfolds for each lesson, or one list
    that is open."""

    def __init__(self, found: tuple[Term, ...], titles: dict[int, str], folded: bool):
        self.found, self.titles, self.folded = found, titles, folded

    def _repr_html_(self) -> str:
        lists = []
        for number, title in self.titles.items():
            own = [word for word in self.found if word.lesson == number]
            lines = "".join(f"<li><b>{escape(w.term)}</b>: {escape(w.meaning)}</li>" for w in own)
            head = f"<summary>{number:02} {escape(title)} ({len(own)})</summary>"
            opened = "" if self.folded else " open"
            lists += [f"<details{opened}>{head}<ul>{lines}</ul></details>"] if own else []
        return "".join(lists) or "No term has that in its name or meaning."

    def __repr__(self) -> str:
        return "\n".join(f"{w.term} (lesson {w.lesson:02}): {w.meaning}" for w in self.found)


def show(search: str = "") -> Words:
    """The glossary for a notebook; with ``search``, only the terms that have these letters in
    their name or meaning."""
    titles = {0: "Start here"} | {int(n): name for row in ROWS.values() for n, name, _ in row}
    asked = search.strip().lower()
    found = tuple(word for word in terms() if asked in f"{word.term} {word.meaning}".lower())
    return Words(found, titles, folded=not asked)
