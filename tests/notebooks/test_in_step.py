"""The published notebooks are what their sources say, executed once, in order, without debris."""

import json

import nbformat
import pytest

from notebooks import build

LESSONS = build.names()


@pytest.fixture(params=LESSONS)
def lesson(request):
    """The name of a lesson, its source, and its published notebook."""
    path = build.FOLDER / f"{request.param}.ipynb"
    assert path.exists(), f"run `make notebooks NAME={request.param}`"
    return request.param, build.read_source(request.param), nbformat.read(path, as_version=4)


def test_every_notebook_has_a_source():
    assert sorted(path.stem for path in build.FOLDER.glob("*.ipynb")) == LESSONS


def test_source_and_notebook_are_in_step(lesson):
    name, source, published = lesson
    advice = f"run `make notebooks NAME={name}`"
    assert build.comparable(source) == build.comparable(published), advice
    assert [cell.id for cell in source.cells] == [cell.id for cell in published.cells], advice


def test_the_notebook_ran_once_in_order_and_left_no_debris(lesson):
    _, _, published = lesson
    assert build.faults(published) == []


def test_the_notebook_asks_for_our_kernel_and_holds_no_widget_state(lesson):
    _, _, published = lesson
    assert published.metadata.kernelspec == build.KERNEL
    assert "widgets" not in published.metadata
    assert "version" not in published.metadata.language_info


def test_the_notebook_is_stored_as_the_builder_writes_it(lesson):
    name, _, published = lesson
    stored = (build.FOLDER / f"{name}.ipynb").read_text("utf-8")
    assert stored == nbformat.writes(published) + "\n"
    assert json.loads(stored)["nbformat_minor"] == 5
