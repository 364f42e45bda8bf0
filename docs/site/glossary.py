"""The glossary: each term of `labkit.lab.glossary` leads to the paragraph that explains it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from docutils.nodes import make_id

from labkit.lab.glossary import Term, occurs

SET_OFF = re.compile(r"^#+ .*|\*[^*\n]+\*", re.M)
NOT_A_PLACE = (" ", "<", "|", "```", "$$")  # how a paragraph begins that may not bear a target


def label(term: Term) -> str:
    """The target of links to the place where the term is met."""
    return make_id(f"term-{term.term}")


def paragraphs(source: str) -> list[tuple[int, str]]:
    """The paragraphs of a Markdown cell that may bear a target, each with where it begins: not
    what is folded, in a fence, or set in."""
    found, fence, folded = [], False, False
    for match in re.finditer(r"(?:^.+$\n?)+", source, re.M):
        text = match[0]
        was_fence, was_folded = fence, folded
        fence ^= text.count("```") % 2 == 1
        folded = (folded or "<details" in text) and "</details>" not in text
        if not (was_fence or was_folded or text.startswith(NOT_A_PLACE)):
            found.append((match.start(), text))
    return found


def place(term: Term, sources: list[str]) -> tuple[int, int] | None:
    """The cell and the position in it of the paragraph that explains the term: the first that
    sets it off (in a heading, bold, italic), else the first that has it.

    sources: the Markdown of each cell, "" for code. The cell with the references does not count,
    and of the opening cell only the title. None if no paragraph has the term.
    """
    found = []
    for cell, source in enumerate(sources):
        if "**References" in source:
            continue
        for start, text in paragraphs(source)[: None if cell else 1]:
            if occurs(term.term, text):
                set_off = any(occurs(term.term, part) for part in SET_OFF.findall(text))
                found.append((not set_off, cell, start))
    return min(found)[1:] if found else None


def mark(terms: Iterable[Term], notebook: dict) -> set[Term]:
    """Puts targets for the terms of one lesson into its cells; returns those that have one."""
    cells = notebook["cells"]
    sources = [cell["source"] * (cell["cell_type"] == "markdown") for cell in cells]
    places = {term: at for term in terms if (at := place(term, sources))}
    for term, (cell, start) in sorted(places.items(), key=lambda item: item[1], reverse=True):
        source = cells[cell]["source"]
        cells[cell]["source"] = f"{source[:start]}({label(term)})=\n{source[start:]}"
    return set(places)


def page(
    terms: Iterable[Term], marked: set[Term], names: Mapping[str, str], titles: Mapping[str, str]
) -> str:
    """The page, in Markdown.

    marked: the terms that have a target; the others lead to the top of their lesson. names and
    titles: of the lessons that are there, by number. Terms of other lessons are left out.
    """
    lines = [
        "# Glossary",
        "",
        "Each term leads to the lesson where you meet it first, and there to the paragraph.",
        "",
        "```{glossary}",
    ]
    for term in sorted(terms, key=lambda each: each.term.lower()):
        if name := names.get(number := f"{term.lesson:02}"):
            target = f"#{label(term)}" if term in marked else f"notebooks/{name}.ipynb"
            lines += [term.term, f"  {term.meaning} → [{titles[number]}]({target})", ""]
    return "\n".join([*lines, "```", ""])
