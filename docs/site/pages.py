"""All pages of the site, prepared for Sphinx from the project's own files: README.md, docs, the
executed lessons and labkit. What stands in several pages is written once."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from html import escape
from pathlib import Path

from docs.site import api, glossary, lessons
from labkit.lab import course_map
from labkit.lab import glossary as words

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (?P<number>\d\d) \| (?P<name>[^|]+) \|(?P<rest>.*)\|$", re.M)
# The pages at the side, in their order, under their headings; "lessons" is filled in.
CONTENTS = {
    "": ["setup"],
    "Lessons": ["lessons", "challenge"],
    "Look things up": ["notation", "glossary", "labkit"],
    "For teachers": ["teachers", "for_teachers", "containers"],
    "About": ["changes"],
}


def project() -> dict:
    """The table [project] of pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def readme_sections(text: str) -> dict[str, str]:
    """README.md by its headings of the second level; what is above them is ""."""
    parts = re.split(r"^## (.+)\n", text, flags=re.M)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2]))}


def rebased(text: str) -> str:
    """Text of README.md for a page, where docs/ is the root."""
    return text.replace("](docs/", "](")


def lesson_table(table: str, names: dict[str, str]) -> str:
    """README's table of lessons, each that is there as a link; names: by number."""

    def row(match: re.Match) -> str:
        number, name = match["number"], match["name"]
        if number in names:
            name = f"[{name}](notebooks/{names[number]}.ipynb)"
        return f"| {number} | {name} |{match['rest']}|"

    return ROW.sub(row, table)


def lesson_links(text: str, names: dict[str, str]) -> str:
    """Text with a link in the place of each [[NN]], or the number if that lesson is not there."""

    def link(match: re.Match) -> str:
        name = names.get(number := match[1])
        return f"[{number}](notebooks/{name}.ipynb)" if name else number

    return re.sub(r"\[\[(\d\d)\]\]", link, text)


def toctree(names: dict[str, str], titles: dict[str, str]) -> str:
    """What Sphinx reads the order of the pages from, hidden."""
    blocks, there = [], [f"{titles[each]} <notebooks/{name}>" for each, name in names.items()]
    for caption, pages in CONTENTS.items():
        listed = [line for page in pages for line in (there if page == "lessons" else [page])]
        head = f":caption: {caption}\n" if caption else ""
        blocks.append("```{toctree}\n:hidden:\n" + head + "\n" + "\n".join(listed) + "\n```\n")
    return "\n".join(blocks)


def course_map_html(names: dict[str, str]) -> str:
    """The map of the course as lists of links, which fit every screen."""
    parts = []
    for theme, rows in course_map.ROWS.items():
        boxes = []
        for number, name, shows in rows:
            box = f"<strong>{number} · {escape(name)}</strong> <span>{escape(shows)}</span>"
            if number in names:
                boxes.append(f'<li><a href="notebooks/{names[number]}.html">{box}</a></li>')
            else:
                boxes.append(f"<li><div>{box}</div></li>")
        parts.append(f"<p>{escape(theme)}</p>\n<ol>\n" + "\n".join(boxes) + "\n</ol>")
    return '<div class="course-map">\n' + "\n".join(parts) + "\n</div>\n\n"


def stage(target: Path, notebooks: Path = ROOT / "notebooks") -> None:
    """Writes the pages into the new folder `target`, and the lessons' pictures, which are to be
    static files, into its folder _pictures.
    """

    def write(name: str, text: str) -> None:
        (target / name).write_text(text.rstrip() + "\n", "utf-8")

    def docs(name: str) -> str:
        return (ROOT / "docs" / f"{name}.md").read_text("utf-8")

    readme = readme_sections(rebased((ROOT / "README.md").read_text("utf-8")))
    table = readme["The lessons"]
    titles = {row["number"]: f"{row['number']} · {row['name']}" for row in ROW.finditer(table)}
    names = {path.name[:2]: path.stem for path in sorted(notebooks.glob("[0-9][0-9]_*.ipynb"))}
    terms, marked = words.terms(), set()
    (target / "notebooks").mkdir(parents=True)
    for number, name in names.items():
        stored = json.loads((notebooks / f"{name}.ipynb").read_text("utf-8"))
        page = lessons.page(stored, target / "_pictures" / name)
        marked |= glossary.mark([term for term in terms if term.lesson == int(number)], page)
        write(f"notebooks/{name}.ipynb", json.dumps(page))
    write("glossary.md", glossary.page(terms, marked, names, titles))

    there = readme[""] + "## The lessons\n\n" + course_map_html(names)
    there += lesson_table(table, names)
    there += "## How it is kept honest\n" + readme["How it is kept honest"]
    write("index.md", there + toctree(names, titles))
    # the page's title takes the place of the section's
    commands = re.sub("^###", "##", readme["Two commands"], flags=re.M)
    write("setup.md", f"# Set it up\n{commands}\n## Troubleshooting\n{readme['Troubleshooting']}")
    write("teachers.md", f"# Parts for a course of your own\n{readme['For teachers']}")
    version = project()["version"]
    for name in ("for_teachers", "containers", "changes", "notation", "challenge"):
        write(f"{name}.md", lesson_links(docs(name), names).replace("{{ version }}", version))

    root = ROOT / "labkit"
    rooms = api.rooms(root)
    listed = "\n".join(f"labkit.{name}" for name in rooms)
    own = f"# labkit\n{readme['labkit in your own code']}\n## Its modules\n\n{api.table(root)}\n\n"
    write("labkit.md", own + "```{toctree}\n:hidden:\n\n" + listed + "\n```\n")
    for name, files in rooms.items():
        write(f"labkit.{name}.rst", api.page(name, files, root))
    for picture in (ROOT / "docs").glob("*.png"):
        shutil.copy(picture, target)
