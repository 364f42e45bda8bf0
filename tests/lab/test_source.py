"""The source that a lesson shows is the source that runs."""

import functools
import inspect
import subprocess
import sys

import pytest

import labkit.sampler
from labkit.lab import plots, show_source
from labkit.lab.source import Source


def test_the_text_is_the_function_that_runs():
    shown = Source(labkit.sampler.ddim)
    assert shown.text == inspect.getsource(labkit.sampler.ddim)
    assert repr(shown).startswith("# labkit/sampler.py\n")


def test_a_notebook_gets_the_same_text_as_python_code():
    shown = Source(labkit.sampler.ddim)
    assert shown._repr_markdown_() == f"`labkit/sampler.py`\n\n```python\n{shown.text}```\n"


def test_code_that_holds_a_fence_stays_inside_its_own():
    shown = Source(labkit.sampler.ddim)
    shown.text += "fence = '```'\n"
    assert shown._repr_markdown_().endswith("'```'\n````\n")


def test_no_path_of_the_machine_is_shown():
    shown = Source(labkit.sampler)
    folder = inspect.getsourcefile(labkit.sampler).rsplit("labkit", 1)[0]
    assert folder not in shown._repr_markdown_() + repr(shown)


def test_the_docstring_can_be_left_out():
    whole, bare = Source(plots.show), Source(plots.show, docstring=False)
    assert "alternative text" in whole.text
    assert "those who cannot see it" not in bare.text
    compile(bare.text, "bare", "exec")
    assert bare.text.splitlines()[-1] == whole.text.splitlines()[-1]


def test_a_method_stands_at_the_margin_and_a_partial_shows_its_function():
    assert Source(Source.__init__).text.startswith("def __init__(")
    step = functools.partial(labkit.sampler.ddim, eta=1.0)
    assert Source(step).text == Source(labkit.sampler.ddim).text


def test_several_objects_are_shown_one_after_the_other(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    show_source(labkit.sampler.ddim, labkit.sampler.ddpm)
    assert [each.text.splitlines()[0][:8] for each in shown] == ["def ddim", "def ddpm"]


def test_what_has_no_source_is_refused_with_a_sentence():
    with pytest.raises(ValueError, match="has no Python source"):
        Source(len)
    with pytest.raises(ValueError, match="give it a function"):
        Source(3)


def test_importing_the_lab_loads_nothing_heavy():
    code = (
        "import sys, labkit.lab; "
        "heavy = {'torch', 'matplotlib', 'ipywidgets', 'IPython', 'numpy'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
