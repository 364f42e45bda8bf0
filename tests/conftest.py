"""What holds for the whole run: who may run beside whom, and the time of each part at the end."""

import os
import tempfile
from collections import defaultdict
from pathlib import Path

import pytest

from labkit.lab import course
from tests.machines import lessons

try:
    import fcntl
except ImportError:  # Windows: tests run, only not kept apart
    fcntl = None

ROOT = Path(__file__).resolve().parents[1]


def part(nodeid: str) -> str:
    """The part of `make test` that a test belongs to."""
    path = nodeid.split("::")[0]
    if path.endswith(".ipynb"):
        return f"notebook {Path(path).stem}"
    folders = Path(path).parts[1:-1]
    names = {name: name for name in ("browser", "site", "parity", "faults", "lab", "machines")}
    names["notebooks"] = "source and notebook in step"
    if folders and folders[0] in names:
        return names[folders[0]]
    return "style" if path.endswith("test_style.py") else "unit, exact and property"


class Apart:
    """A test marked `browser` measures time, so no other test of this run computes beside it."""

    def __init__(self, run: str):
        self.path = Path(tempfile.gettempdir(), f"labkit-tests-{run}.lock")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item):
        if fcntl is None:
            return (yield)
        alone = item.get_closest_marker("browser") is not None
        with self.path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            return (yield)

    def pytest_sessionfinish(self):
        if "PYTEST_XDIST_WORKER" not in os.environ:
            self.path.unlink(missing_ok=True)


class Parts:
    """Adds up the seconds of each part, over all workers, and prints them."""

    def __init__(self):
        self.seconds = defaultdict(float)
        self.tests = defaultdict(set)
        self.measured = []

    def pytest_runtest_logreport(self, report):
        self.seconds[part(report.nodeid)] += report.duration
        self.tests[part(report.nodeid)].add(report.nodeid)
        if report.when == "call":
            self.measured += [words for name, words in report.user_properties if name == "browser"]

    def pytest_terminal_summary(self, terminalreporter):
        terminalreporter.section("seconds of each part, added up over the workers")
        for name in sorted(self.seconds):
            count, seconds = len(self.tests[name]), self.seconds[name]
            terminalreporter.write_line(f"{seconds:7.1f} s  {name} ({count})")
        for line in self.measured:
            terminalreporter.write_line(line)


def pytest_configure(config):
    os.environ.pop(course.PROGRESS, None)  # in a terminal of JupyterLab it is a learner's
    # As plugins, so that they also see the notebooks, which lie outside of tests/.
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    config.pluginmanager.register(Apart(run))
    config.pluginmanager.register(lessons.Notebooks())
    if "PYTEST_XDIST_WORKER" not in os.environ:
        config.pluginmanager.register(Parts())


def pytest_collection_modifyitems(items):
    """Notebooks first, since they take longest; what must run alone last."""

    def rank(item):
        if item.get_closest_marker("browser"):
            return 2
        return 0 if item.path.suffix == ".ipynb" else 1

    items.sort(key=rank)
