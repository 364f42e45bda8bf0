"""`make test` runs the notebooks on a machine that says it has accelerators.

Lessons stay on the CPU everywhere, since their times and texts are measured there. So the kernel
that runs a notebook is told that both kinds of accelerator are here, and a cell that takes one gets
torch's error. The notebooks run in any case, and whole: this costs no time and skips nothing. They
run without it when they are built, and in the browser.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest

ROOT = Path(__file__).resolve().parents[2]
# IPython runs this before the first cell. What it says must last as long as the kernel.
STARTUP = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
import tests.machines.pretended
del sys.path[0]
sys.lasting = tests.machines.pretended.available("mps", "cuda")
sys.lasting.__enter__()
del sys, tests
"""


@contextmanager
def accelerators_for_kernels() -> Iterator[None]:
    """The kernels that are started inside believe that there are accelerators."""
    with TemporaryDirectory() as folder:
        startup = Path(folder, "profile_default", "startup")
        startup.mkdir(parents=True)
        (startup / "accelerators.py").write_text(STARTUP, "utf-8")
        with patch.dict(os.environ, IPYTHONDIR=folder):
            yield


class Notebooks:
    """For pytest: every notebook is run by such a kernel."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item):
        if item.path.suffix != ".ipynb":
            return (yield)
        with accelerators_for_kernels():  # the kernel starts before a notebook's first cell
            return (yield)
