"""The pages of labkit's own documentation: one for each module or package at its top."""

from __future__ import annotations

import ast
from pathlib import Path

LEFT_OUT = {"__main__", "cli"}  # the terminal's; `labkit --help` says what they do


def module(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root.parent).with_suffix("").parts).removesuffix(".__init__")


def summary(path: Path) -> str:
    """The first sentence of the module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def rooms(root: Path) -> dict[str, list[Path]]:
    """The files of each module or package right under `root`, sorted, packages first."""
    found = {}
    for path in sorted(root.iterdir()):
        name = path.stem
        if path.is_dir() and (path / "__init__.py").exists():
            found[name] = sorted(path.rglob("*.py"), key=lambda p: (p.name != "__init__.py", p))
        elif path.suffix == ".py" and name not in LEFT_OUT and not name.startswith("__"):
            found[name] = [path]
    return found


def page(name: str, files: list[Path], root: Path) -> str:
    """The reStructuredText of one of them."""
    title = f"labkit.{name}"
    lines = [title, "=" * len(title), ""]
    for path in files:
        whole = module(path, root)
        if whole != title:
            lines += [whole, "-" * len(whole), ""]
        lines += [f".. automodule:: {whole}", ""]
    return "\n".join(lines)


def table(root: Path) -> str:
    """What there is, with a link to each page, in Markdown."""
    rows = ["| module | what it is |", "|---|---|"]
    for name, files in rooms(root).items():
        says = summary(files[0]).replace("|", r"\|") or f"{len(files) - 1} modules"
        rows.append(f"| [labkit.{name}](labkit.{name}.rst) | {says} |")
    return "\n".join(rows)
