"""The functions that the published notebooks show are those that run today."""

import importlib
import inspect
import re

import nbformat
import pytest

from labkit.lab.source import Source
from notebooks import build

LESSONS = build.names()
HEAD = re.compile(r"`(labkit/\S+)\.py`\n\n`+python\n")  # of what `show_source` displays
NAME = re.compile(r"^(?:async )?(?:def|class) (\w+)", re.MULTILINE)


def shown(lesson: str) -> list[str]:
    """What `show_source` displayed in the published notebook, as Markdown."""
    notebook = nbformat.read(build.FOLDER / f"{lesson}.ipynb", as_version=4)
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", []))
    texts = (output.get("data", {}).get("text/markdown", "") for output in outputs)
    return [text for text in texts if HEAD.match(text)]


def today(module: str, name: str) -> list[Source]:
    """Everything of that name in the module or in one of its classes, as `show_source` would
    display it now, with and without its docstring."""
    module = importlib.import_module(module)
    kinds = [kind for kind in vars(module).values() if inspect.isclass(kind)]
    kinds = [kind for kind in kinds if kind.__module__ == module.__name__]  # not what it imports
    found = [vars(place)[name] for place in (module, *kinds) if name in vars(place)]
    found = [getattr(each, "__func__", each) for each in found]  # of a class or static method
    return [Source(each, docstring) for each in found for docstring in (True, False)]


def outdated(lesson: str) -> list[str]:
    """The functions and classes that look otherwise in the published notebook than today."""
    found = []
    for text in shown(lesson):
        module, name = HEAD.match(text)[1].replace("/", "."), NAME.search(text)[1]
        if text not in [source._repr_markdown_() for source in today(module, name)]:
            found.append(f"{module}.{name}")
    return found


@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_shows_the_functions_that_run_today(lesson):
    assert not outdated(lesson), f"run `make notebooks NAME={lesson}`"


def test_a_function_that_has_changed_since_is_found(monkeypatch):
    assert outdated("04_ddim") == []
    monkeypatch.setattr(Source, "_repr_markdown_", lambda self: f"`{self.file}` is another")
    assert "labkit.sampler.ddim" in outdated("04_ddim")


def test_lessons_show_source_at_all():
    assert sum(len(shown(lesson)) for lesson in LESSONS) > 30
