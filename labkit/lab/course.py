"""Where the lessons are, and JupyterLab opened on them."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

FIRST_LESSON = "00_start_here.ipynb"
PACKAGE = Path(__file__).resolve().parents[1]
# JupyterLab's settings for the course, under the learner's own: no news and no look for updates,
# which would ask the network, and none of the extensions that autograders bring,
# which take long to load.
SETTINGS = Path(__file__).with_name("jupyter")
PROGRESS = "LABKIT_PROGRESS"  # the environment variable that says where the learner's marks are
PROGRESS_FILE = "progress.json"  # their name beside the lessons


def in_checkout() -> bool:
    """Whether this labkit lies in a checkout of the course."""
    return (PACKAGE.parent / "notebooks" / "build.py").exists()


def repository(project: Path = PACKAGE.parent / "pyproject.toml") -> str | None:
    """The address of the course's repository, such as https://HOST/OWNER/NAME, or None while it
    is not known. Whatever links to it asks here.

    project: the pyproject.toml of the checkout; its table [project.urls] has the address as
    Repository. Raises FileNotFoundError outside of a checkout.
    """
    urls = tomllib.loads(project.read_text("utf-8"))["project"].get("urls", {})
    return urls["Repository"].rstrip("/") if "Repository" in urls else None


def originals() -> list[Path]:
    """The lessons that came with this labkit, in the order of the course.

    Raises FileNotFoundError if it came without lessons.
    """
    lessons = PACKAGE.parent / "notebooks" if in_checkout() else PACKAGE / "notebooks"
    if not (found := sorted(lessons.glob("[0-9][0-9]_*.ipynb"))):
        raise FileNotFoundError("This labkit came without its lessons; install it once more")
    return found


def place(copy_to: Path | None = None) -> Path:
    """The folder that `folder` makes where need be, and opens."""
    if in_checkout() and copy_to is None:
        return PACKAGE.parent / "notebooks"
    return (copy_to or Path("diffusion-course")).absolute()


def folder(copy_to: Path | None = None) -> Path:
    """The folder whose lessons to open; without a checkout, a copy that belongs to the learner.

    copy_to: where the copy goes, ./diffusion-course if None; in a checkout None means no copy.
    Files that are there already stay as they are: they hold the learner's work.
    Raises FileNotFoundError if this labkit came without lessons, OSError if the folder cannot be
    written.
    """
    target = place(copy_to)
    if target == PACKAGE.parent / "notebooks":
        return target
    lessons = originals()
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


def environment(lessons: Path | None = None) -> dict[str, str]:
    """The environment variables for JupyterLab: those of this process, where SETTINGS are, and,
    given the folder that is opened, where its kernels keep the learner's marks."""
    others = os.environ.get("JUPYTER_CONFIG_PATH")
    paths = [str(SETTINGS), *([others] if others else [])]
    kept = {PROGRESS: str(lessons / PROGRESS_FILE)} if lessons else {}
    return os.environ | {"JUPYTER_CONFIG_PATH": os.pathsep.join(paths)} | kept


def open_lab(lessons: Path, arguments: Sequence[str] = ()) -> int:
    """Runs JupyterLab until it is stopped, and returns its exit code."""
    try:
        command = lab_command(lessons, arguments)
        return subprocess.call(command, cwd=lessons, env=environment(lessons))
    except KeyboardInterrupt:
        return 0
