"""Where the lessons are, and JupyterLab opened on them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FIRST_LESSON = "00_start_here.ipynb"
PACKAGE = Path(__file__).resolve().parents[1]
# JupyterLab's settings for the course, under the learner's own: no news and no look for updates,
# which would ask the network.
SETTINGS = Path(__file__).with_name("jupyter")


def folder(copy_to: Path | None = None) -> Path:
    """The folder whose lessons to open; without a checkout, a copy that belongs to the learner.

    copy_to: where the copy goes, ./diffusion-course if None; in a checkout None means no copy.
    Files that are there already stay as they are: they hold the learner's work.
    Raises FileNotFoundError if this labkit came without lessons, OSError if the folder cannot be
    written.
    """
    checkout = PACKAGE.parent / "notebooks"
    in_checkout = (checkout / "build.py").exists()
    if in_checkout and copy_to is None:
        return checkout
    lessons = sorted((checkout if in_checkout else PACKAGE / "notebooks").glob("*.ipynb"))
    if not lessons:
        raise FileNotFoundError("This labkit came without its lessons; install it once more")
    target = (copy_to or Path("diffusion-course")).absolute()
    target.mkdir(parents=True, exist_ok=True)
    for lesson in lessons:
        if not (target / lesson.name).exists():
            shutil.copyfile(lesson, target / lesson.name)
    return target


def lab_command(lessons: Path, arguments: Sequence[str] = ()) -> list[str]:
    """The command that opens lesson 00; Jupyter's token and loopback address stay the defaults."""
    # In a checkout the file browser also reaches labkit's own files, the ones the lessons show.
    root = lessons.parent if lessons.parent == PACKAGE.parent else lessons
    return [
        *(sys.executable, "-m", "jupyterlab"),
        f"--ServerApp.root_dir={root}",
        str(lessons / FIRST_LESSON),
        *arguments,
    ]


def environment() -> dict[str, str]:
    """The environment variables for JupyterLab: those of this process, and where SETTINGS are."""
    others = os.environ.get("JUPYTER_CONFIG_PATH")
    paths = [str(SETTINGS), *([others] if others else [])]
    return os.environ | {"JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}


def open_lab(lessons: Path, arguments: Sequence[str] = ()) -> int:
    """Runs JupyterLab until it is stopped, and returns its exit code."""
    try:
        return subprocess.call(lab_command(lessons, arguments), cwd=lessons, env=environment())
    except KeyboardInterrupt:
        return 0
