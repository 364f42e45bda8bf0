"""A lesson's exercises as an assignment for an autograder: nbgrader or otter-grader.

Each function is graded by the lesson's own check, twice: where the student sees it, and in a hidden
test, whose random inputs come from a seed that the student does not know.
"""

import json
import secrets
from pathlib import Path
from textwrap import indent

from labkit.checkpoint import write_whole
from labkit.lab.exercises import Exercise, Exercises, read

KERNEL = {"name": "labkit", "display_name": "labkit (course)", "language": "python"}
NBGRADER_CONFIG = """\
c = get_config()
c.CourseDirectory.course_id = "labkit"
c.ExecutePreprocessor.timeout = 300  # seconds for one cell
"""
OTTER_CONFIG = """\
# ASSIGNMENT CONFIG
name: {name}
export_cell:
  pdf: false
tests:
  ok_format: false
"""


def write(lesson: str, format: str, folder: Path, seed: int | None = None) -> list[Path]:
    """Writes the assignment of a lesson into the folder, and returns the files.

    lesson: its number or name. format: one of FORMATS. seed: of the hidden tests, 0 to 2³¹ − 1; for
    None one that nobody knows.
    Raises ValueError for a lesson that has none, FileExistsError where it has been written already,
    OSError where it cannot be written.
    """
    exercises = read(lesson)
    notebook, name, config = FORMATS[format]
    path = Path(folder) / name.format(name=exercises.lesson)
    if path.exists():
        raise FileExistsError(f"{path} exists; move it away, or choose another folder with --to")
    seed = secrets.randbelow(2**31) if seed is None else seed
    written = [path]
    write_whole(path, _text(notebook(exercises, seed)).encode())
    if config and not (Path(folder) / config[0]).exists():
        written.append(Path(folder) / config[0])
        write_whole(written[-1], config[1].encode())
    return written


def nbgrader(exercises: Exercises, seed: int) -> list[dict]:
    """The cells of the source notebook of nbgrader, with a grade for each exercise."""
    cells = [
        _nbgrader(_markdown(_introduction(exercises)), "introduction", locked=True),
        _nbgrader(_code(_setup(exercises)), "setup", locked=True),
    ]
    for exercise in exercises.exercises:
        name, check = exercise.name, _check(exercise)
        solution = f"    ### BEGIN SOLUTION\n{exercise.solution}\n    ### END SOLUTION"
        tests = (
            f"from labkit.lab import checks\n\n{check}\n### BEGIN HIDDEN TESTS\n"
            f"{_seeded(seed)}\nassert {check}\n### END HIDDEN TESTS"  # a result would be a grade
        )
        cells += [
            _nbgrader(_markdown(_statement(exercise)), f"text-{name}", locked=True),
            _nbgrader(_code(f"{exercise.stub}\n{solution}"), name, solution=True),
            _nbgrader(_code(tests), f"check-{name}", locked=True, points=exercise.points),
        ]
    return cells


def otter(exercises: Exercises, seed: int) -> list[dict]:
    """The cells of the notebook that `otter assign` takes, with a question for each exercise."""
    cells = [
        _cell("raw", OTTER_CONFIG.format(name=exercises.lesson).strip()),
        _markdown(_introduction(exercises)),
        _code(_setup(exercises)),
    ]
    for exercise in exercises.exercises:
        name, points = exercise.name, exercise.points
        solution = f"    # BEGIN SOLUTION\n{exercise.solution}\n    # END SOLUTION"
        inside = indent(f"from labkit.lab import checks\n\n{_check(exercise)}", "    ")
        hidden = f"{indent(_seeded(seed), '    ')}\n{inside}"
        cells += [
            _cell("raw", f"# BEGIN QUESTION\nname: {name}\npoints: {points}"),
            _markdown(_statement(exercise)),
            _cell("raw", "# BEGIN SOLUTION"),
            _code(f"{exercise.stub}\n{solution}"),
            _cell("raw", "# END SOLUTION"),
            _cell("raw", "# BEGIN TESTS"),
            _code(f"{_test_config(False, 0)}\ndef test_check({name}):\n{inside}"),
            _code(f"{_test_config(True, points)}\ndef test_other_inputs({name}):\n{hidden}"),
            _cell("raw", "# END TESTS"),
            _cell("raw", "# END QUESTION"),
        ]
    return cells


# name -> (its cells, where its notebook lies, and a file beside it)
FORMATS = {
    "nbgrader": (nbgrader, "source/{name}/{name}.ipynb", ("nbgrader_config.py", NBGRADER_CONFIG)),
    "otter": (otter, "{name}.ipynb", None),
}


def _introduction(exercises: Exercises) -> str:
    total = sum(exercise.points for exercise in exercises.exercises)
    return (
        f"# {exercises.title}: assignment\n\n"
        "These are the exercises of the lesson. Sections, formulas and solutions that the texts "
        "name are those of the lesson. Questions that ask for no function give no points.\n\n"
        "Write each function in the cell below its text and run the cell. Then run the check "
        "below it: it tries your function on random inputs and says what is wrong. When it is "
        "graded, the same check draws other inputs. Do not change the names and arguments of "
        f"functions. There are {total} points."
    )


def _setup(exercises: Exercises) -> str:
    lines = {*exercises.setup.splitlines(), "from labkit.lab import checks"}
    return "\n".join(sorted(lines, key=lambda line: (line.startswith("from"), line)))


def _statement(exercise: Exercise) -> str:
    points = f"*{exercise.points} point{'s' if exercise.points > 1 else ''}*"
    return "\n\n".join(part for part in (exercise.text, points, exercise.hint) if part)


def _check(exercise: Exercise) -> str:
    return f"checks.{exercise.name}({exercise.name}).require()"


def _seeded(seed: int) -> str:
    return f"import torch\n\ntorch.manual_seed({seed})"


def _test_config(hidden: bool, points: int) -> str:
    settings = f"hidden: {str(hidden).lower()}\npoints: {points}"
    return f'""" # BEGIN TEST CONFIG\n{settings}\n""" # END TEST CONFIG'


def _cell(kind: str, source: str) -> dict:
    return {"cell_type": kind, "metadata": {}, "source": source}


def _markdown(source: str) -> dict:
    return _cell("markdown", source)


def _code(source: str) -> dict:
    return _cell("code", source) | {"execution_count": None, "outputs": []}


def _nbgrader(cell: dict, name: str, points: int | None = None, **flags: bool) -> dict:
    """The cell with what nbgrader wants to know of it; a cell with points is graded."""
    about = {"grade": points is not None, "locked": False, "solution": False, "task": False}
    about |= flags | {"grade_id": name, "schema_version": 3}
    about |= {} if points is None else {"points": points}
    return cell | {"metadata": {"nbgrader": about}}


def _text(cells: list[dict]) -> str:
    cells = [cell | {"id": f"cell-{number}"} for number, cell in enumerate(cells)]
    metadata = {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    notebook = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, ensure_ascii=False, indent=1) + "\n"
