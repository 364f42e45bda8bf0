"""The builder: the same bytes from the same source, and nothing unfit is published."""

import subprocess
import sys
from types import SimpleNamespace

import nbformat
import pytest

from labkit.lab import course
from notebooks import build

SOURCE = """\
# %% [markdown]
# # A small lesson

# %%
import matplotlib.pyplot as plt
import ipywidgets
from IPython.display import display

# %% tags=["nbval-check-output"]
print("one")
print("two")

# %%
figure, axes = plt.subplots(figsize=(2, 1))
axes.plot([0, 1]);

# %%
class Slider(ipywidgets.FloatSlider):
    def _repr_mimebundle_(self, **kwargs):
        return super()._repr_mimebundle_(**kwargs) | {"image/png": "iVBORw0KGgo="}

Slider()

# %%
print("two")

# %%
print("two")
"""


@pytest.fixture
def write_source(monkeypatch, tmp_path):
    monkeypatch.setattr(build, "SOURCES", tmp_path)

    def write(text):
        (tmp_path / "lesson.py").write_text(text, "utf-8")

    return write


def test_two_builds_give_the_same_bytes_without_widget_views_and_versions(write_source):
    write_source(SOURCE)
    first, second = build.render("lesson"), build.render("lesson")
    assert first == second
    notebook = nbformat.reads(first, as_version=4)
    assert build.WIDGET_VIEW not in first and "image/png" in first
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    assert notebook.cells[2].metadata.tags == ["nbval-check-output"]
    assert notebook.cells[2].outputs[0].text == "one\ntwo\n"


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; print('careful', file=sys.stderr)", "wrote to stderr: careful"),
        ("import warnings; warnings.warn('old')", "wrote to stderr"),
        ("import os; print(os.__file__)", "prints "),
        ("object()", "prints an address at 0x"),
        ("print('/home/' + 'somebody/lesson')", "prints /home/somebody"),
        ("import ipywidgets; ipywidgets.FloatSlider()", "no still picture"),
    ],
)
def test_an_unfit_cell_stops_the_build_and_is_named(write_source, cell, complaint):
    write_source(f"# %%\n{cell}\n")
    with pytest.raises(build.BuildError, match=complaint):
        build.render("lesson")


def test_a_notebook_that_was_not_run_whole_is_a_fault(write_source):
    write_source("# %%\nprint(1)\n\n# %%\nprint(2)\n")
    notebook = build.read_source("lesson")
    build.execute(notebook)
    assert build.faults(notebook) == []
    notebook.cells[1].execution_count = 7
    assert "counts are [1, 7]" in build.faults(notebook)[0]


def test_a_changed_cell_or_tag_is_not_in_step(write_source):
    write_source("# %%\nprint(1)\n")
    before = build.comparable(build.read_source("lesson"))
    for changed in ("# %%\nprint(2)\n", '# %% tags=["x"]\nprint(1)\n', "# %% [markdown]\n# 1\n"):
        write_source(changed)
        assert build.comparable(build.read_source("lesson")) != before


ADDRESS = "https://example.org/somebody/diffusion"


def test_no_lesson_has_a_cell_for_colab_while_the_address_is_not_known(write_source, monkeypatch):
    write_source(SOURCE)
    monkeypatch.setattr(course, "repository", lambda: None)
    assert not any("colab" in cell.source for cell in build.read_source("lesson").cells)


def test_with_an_address_the_first_code_cell_installs_labkit_on_colab_alone(
    write_source, monkeypatch
):
    write_source(SOURCE)
    monkeypatch.setattr(course, "repository", lambda: None)
    plain = build.read_source("lesson")
    monkeypatch.setattr(course, "repository", lambda: ADDRESS)
    notebook = build.read_source("lesson")
    nbformat.validate(notebook)
    cell = notebook.cells.pop(1)
    assert build.comparable(notebook) == build.comparable(plain)
    assert cell.metadata.tags == ["colab"] and len(cell.source.splitlines()) <= 20

    ran = []
    monkeypatch.setattr(subprocess, "run", lambda command, check: ran.append(command))
    exec(cell.source, {})
    assert ran == []
    managers = []
    output = SimpleNamespace(enable_custom_widget_manager=lambda: managers.append(1))
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace(output=output))
    exec(cell.source, {})
    labkit, needed = ran
    assert labkit[-2:] == ["--no-deps", f"git+{ADDRESS}"] and managers
    assert any(each.startswith("anywidget") for each in needed)
    assert not any(each.startswith(("torch", "ipykernel", "jupyterlab")) for each in needed)
