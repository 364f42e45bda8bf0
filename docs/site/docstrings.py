"""labkit's docstrings, which are plain text, as reStructuredText for autodoc.

A line that begins with names and a colon describes these arguments, as does a line that begins with
Raises or Returns; each becomes a paragraph of its own. Lines that are set in are code.
"""

from __future__ import annotations

import ast
import re
import textwrap

from sphinx.application import Sphinx

NAME = r"\*{0,2}\w+(?:\[[^\]]*\])?"
ARGUMENT = re.compile(rf"^({NAME}(?:(?:, | and ){NAME})*): ")
STARTS = re.compile(r"^(Raises|Returns|Source)\b|^- ")
LITERAL = re.compile(r"(``.+?``|`[^`]+`)")
SPECIAL = re.compile(r"([\\*_|`])")


def text(line: str) -> str:
    """Prose with nothing in it that reStructuredText would take for markup, except code."""
    parts = LITERAL.split(line)
    parts[::2] = [SPECIAL.sub(r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"``{part.strip('`')}``" for part in parts[1::2]]
    return "".join(parts)


def code(lines: list[str]) -> list[str]:
    source = textwrap.dedent("\n".join(lines))
    try:
        ast.parse(source)
        language = "python"
    except SyntaxError:
        language = "text"
    return [f".. code-block:: {language}", "", *textwrap.indent(source, "   ").splitlines(), ""]


def paragraph(lines: list[str]) -> list[str]:
    """A chunk without empty lines: its sentences, and its arguments one by one."""
    items: list[str] = []
    for line in lines:
        own = not line.startswith(" ") and (ARGUMENT.match(line) or STARTS.match(line))
        if own or not items:
            items.append(line)
        else:
            items[-1] += " " + line.strip()
    made = []
    for item in items:
        if match := ARGUMENT.match(item):
            item = f"**{text(match[1])}**: {text(item[match.end() :])}"
        else:
            item = "- " * item.startswith("- ") + text(item.removeprefix("- "))
        made += [item, ""]
    return made


def restructured(lines: list[str]) -> list[str]:
    """The lines of a docstring, set out as inspect.cleandoc does, as reStructuredText."""
    made, chunk = [], []
    for line in [*lines, ""]:
        if line.strip():
            chunk.append(line)
        elif chunk:
            example = all(each.startswith("    ") for each in chunk)
            made += code(chunk) if example else paragraph(chunk)
            chunk = []
    return made


def process(app: Sphinx, what: str, name: str, obj, options, lines: list[str]) -> None:
    lines[:] = restructured(lines)


def skip(app: Sphinx, what: str, name: str, obj, skipped: bool, options) -> bool | None:
    """The fields of a named tuple say nothing but their number."""
    if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number"):
        return True
    return None


def setup(app: Sphinx) -> dict:
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
