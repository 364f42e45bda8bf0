"""What a learner has passed and answered, in a file beside their copy of the lessons.

It is written only by a kernel of a JupyterLab that `labkit lab` opened: that one says in the
environment variable LABKIT_PROGRESS which file. Without it, as in the tests, in a build, or in
another Jupyter, nothing is read and nothing written. Nothing ever leaves the machine.
"""

import ast
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from labkit.checkpoint import write_whole
from labkit.lab import course

PASSED, ANSWERED = "passed", "answered"
PATIENCE = 5  # seconds to wait for another notebook that writes
EMPTY = {PASSED: [], ANSWERED: []}
TITLE = re.compile(r"# \d\d · ([^:\n]+)")  # of a lesson's first line, without what explains it
CHECKED = re.compile(r"\bchecks\.(\w+)\(\w")  # `checks.jump(jump)`
_said: set[str] = set()


def kept_in() -> Path | None:
    """The file that this process keeps its marks in; None where it keeps none."""
    path = os.environ.get(course.PROGRESS)
    return Path(path) if path else None


def find(folder: Path | None = None) -> Path:
    """The file of the copy in `folder`; for None of the one that `labkit lab` would open here.

    Raises FileNotFoundError if there is no such folder.
    """
    if folder is None:
        here = Path.cwd() / course.PROGRESS_FILE
        path = kept_in() or (here if here.exists() else course.place() / course.PROGRESS_FILE)
    else:
        path = Path(folder) / course.PROGRESS_FILE
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {path.parent}; `labkit lab` makes your copy")
    return path


def read(path: Path | None) -> dict[str, list[str]]:
    """The names of the checks passed and the questions answered, in the order of their days.

    path: the file, which need not exist yet; None for no marks.
    Raises ValueError if it holds something else, OSError if it cannot be read.
    """
    try:
        text = path.read_text("utf-8") if path else "{}"
    except FileNotFoundError:
        text = "{}"
    except ValueError:  # bytes that are no text
        text = ""
    try:
        marks = EMPTY | json.loads(text)
        whole = all(isinstance(name, str) for kind in EMPTY for name in marks[kind])
        whole = whole and all(isinstance(marks[kind], list) for kind in EMPTY)
    except (ValueError, TypeError):
        whole = False
    if not whole:
        raise ValueError(f"{path.name}, the file of your progress, is damaged")
    return marks


def add(path: Path, kind: str, name: str) -> None:
    """Adds a mark to the file; other notebooks that add theirs at the same time wait.

    A damaged file is kept under another name, and a new one begun. Raises ValueError, which says
    so, when that was done, and OSError if the file cannot be written.
    """
    with locked(path):
        damaged = None
        try:
            marks = read(path)
        except ValueError as error:
            aside = path.with_suffix(".damaged.json")
            os.replace(path, aside)
            marks = EMPTY
            damaged = ValueError(f"{error}; it is now {aside.name}, and a new one is begun")
        if name not in marks[kind]:
            if path.exists() and not path.stat().st_mode & 0o222:
                raise PermissionError(f"{path.name} is read-only")  # it could be replaced, though
            marks = marks | {kind: [*marks[kind], name]}
            write_whole(path, json.dumps(marks, ensure_ascii=False, indent=1).encode())
    if damaged:
        raise damaged


def reset(path: Path) -> None:
    """Forgets all marks. Raises OSError if the file cannot be removed."""
    if path.exists():
        with locked(path):
            path.unlink(missing_ok=True)


def locked(path: Path) -> FileLock:
    """While it is held, no other process of this machine writes the file."""
    return FileLock(path.with_name(f".{path.name}.lock"), timeout=PATIENCE)


def passed(name: str, function: Callable) -> None:
    """Keeps that the check `name` was passed, unless by a solution of the lesson itself."""
    if "solution" not in getattr(function, "__name__", "") and (trouble := _keep(PASSED, name)):
        print(trouble)


def answered(question: str) -> str:
    """Keeps that a question was answered rightly; returns a sentence if that went wrong."""
    return _keep(ANSWERED, question)


def _keep(kind: str, name: str) -> str:
    """A sentence where it could not be kept, once for each reason; else nothing."""
    path = kept_in()
    if path is None:
        return ""
    try:
        add(path, kind, name)
        return ""
    except (OSError, ValueError) as error:
        reason = error if isinstance(error, ValueError) else f"it could not be kept: {error}"
    sentence = f"About your progress: {reason}. The lesson goes on as before."
    if sentence in _said:
        return ""
    _said.add(sentence)
    return sentence


@dataclass(frozen=True)
class Lesson:
    """A lesson's number and title, its checks by name, and the questions of its quiz."""

    number: str
    title: str
    checks: tuple[str, ...]
    questions: tuple[str, ...]

    def done(self, marks: dict[str, list[str]]) -> tuple[list[bool], list[bool]]:
        """For each check whether it was passed, and for each question whether it was answered."""
        return (
            [name in marks[PASSED] for name in self.checks],
            [question in marks[ANSWERED] for question in self.questions],
        )


def lessons() -> list[Lesson]:
    """All lessons that came with this labkit, in the order of the course."""
    return [_read_lesson(path) for path in course.originals()]


def _read_lesson(path: Path) -> Lesson:
    """In a checkout the learner writes into the very file, so that nothing in it is sure."""
    try:
        cells = json.loads(path.read_text("utf-8"))["cells"]
        code = [
            "".join(cell["source"])
            for cell in cells
            if cell["cell_type"] == "code" and "solution" not in cell["metadata"].get("tags", ())
        ]
        heading = TITLE.match("".join(cells[0]["source"]))
    except (ValueError, LookupError, TypeError):
        code, heading = [], None
    checks = dict.fromkeys(name for text in code for name in CHECKED.findall(text))
    questions = dict.fromkeys(question for text in code for question in _questions(text))
    title = heading[1] if heading else path.stem[3:].replace("_", " ")
    return Lesson(path.name[:2], title, tuple(checks), tuple(questions))


def _questions(code: str) -> list[str]:
    """The questions that a cell asks with `quiz.ask`; none where its code is broken."""
    if "quiz.ask" not in code:
        return []
    try:
        calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    except SyntaxError:
        return []
    asked = [call.args[0] for call in calls if ast.unparse(call.func) == "quiz.ask" and call.args]
    return [each.value for each in asked if isinstance(each, ast.Constant)]
