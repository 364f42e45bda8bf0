"""Lessons on a machine with accelerators: they leave them alone, and say how to use them."""

import re

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from labkit.lab import plots
from notebooks import build
from tests.machines import lessons

HELLO = """
import torch
assert torch.cuda.is_available() and torch.backends.mps.is_available()
assert torch.accelerator.is_available()
"""
LEARNS = (
    HELLO
    + """
from torch import nn
from labkit.train import shuffled, train
from tests.machines import tiny
system = tiny.system("ddpm")
*_, last = train(system, shuffled(tiny.pictures(8), batch=4), steps=2)
assert last.ema.denoiser.net.conv_in.weight.device.type == "cpu"
"""
)
GUESSES = HELLO + 'torch.ones(2, device="cuda" if torch.cuda.is_available() else "cpu")'


def run(source: str) -> None:
    """Runs a notebook of that one cell as `make test` runs the lessons."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    with lessons.accelerators_for_kernels():
        client = NotebookClient(
            notebook, kernel_name="python3", resources={"metadata": {"path": str(lessons.ROOT)}}
        )
        client.execute()


def test_this_run_tells_its_notebooks_that_there_are_accelerators(request):
    plugins = request.config.pluginmanager.get_plugins()
    assert any(isinstance(plugin, lessons.Notebooks) for plugin in plugins)


def test_a_lesson_that_stays_on_the_cpu_runs():
    run(LEARNS)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a real GPU is here")
def test_a_lesson_that_takes_an_accelerator_is_stopped():
    with pytest.raises(CellExecutionError, match="(not compiled with CUDA|no NVIDIA driver)"):
        run(GUESSES)


def test_the_lines_of_lesson_00_generate_on_whatever_is_there(place):
    text = "\n".join(cell.source for cell in build.read_source("00_start_here").cells)
    (lines,) = re.findall(r"```python\n(.*?)```", text, re.S)
    names: dict = {}
    exec("import torch\nfrom labkit import zoo\n" + lines, names)
    assert names["device"] == place.device
    assert names["final"].x.device.type == place.device
    plots.image_grid(names["final"].x)
