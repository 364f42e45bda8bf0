"""The exercises of a lesson as an assignment: nbgrader and otter take it, and grade it rightly."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from labkit import cli
from labkit.lab import assignment, course, exercises
from notebooks import build

ROOT = Path(__file__).resolve().parents[2]
LESSON = "01_markov_chains"
POINTS = {
    "after_n_steps": 1, "count_transitions": 1, "stationary_distribution": 2,
    "metropolis_matrix": 2, "gaussian_step": 1, "steps_to_forget": 3,
}  # fmt: skip
# What a student got wrong, with the words of the feedback, and what was left as it was.
WRONG = "def after_n_steps(S, P, n):\n    return torch.linalg.matrix_power(P, n) @ S"
WORDS, LEFT = "which sums over where the chain goes", "steps_to_forget"
DOCS = (ROOT / "docs" / "for_teachers.md").read_text("utf-8")


def commands(section):
    """The commands of a section of the page, block by block."""
    text = DOCS.split(f"\n## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)
    return [re.sub(r"^pip install .*\n", "", block, flags=re.M) for block in blocks]


def run(block, folder):
    """Runs commands as they stand on the page; gives back what they print."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "JUPYTER_PLATFORM_DIRS": "1"}
    answer = subprocess.run(
        ["bash", "-e", "-c", block], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def source(cell):
    return "".join(cell["source"])


def filled(released, answers):
    """The released notebook with the answers in the cells that are theirs; None leaves a stub."""
    notebook = json.loads(released.read_text("utf-8"))
    for cell in notebook["cells"]:
        for name, answer in answers.items():
            if cell["cell_type"] == "code" and source(cell).startswith(f"def {name}("):
                cell["source"] = answer or cell["source"]
    return json.dumps(notebook)


def answers():
    """(those of a student who is right everywhere, those of one who is not)."""
    right = {each.name: f"{each.stub}\n{each.solution}" for each in exercises.read("01").exercises}
    return right, right | {"after_n_steps": WRONG, LEFT: None}


def hand_in(released, places):
    for place, answer in zip(places, answers()):
        place.parent.mkdir(parents=True)
        place.write_text(filled(released, answer), "utf-8")


@pytest.mark.parametrize("name", build.names())
def test_the_solutions_of_every_lesson_pass_and_its_stubs_are_still_to_do(name):
    taken = exercises.read(name[:2])
    assert taken.lesson == name and taken.title.startswith(f"{name[:2]} · ")
    cells = assignment.nbgrader(taken, seed=3)
    space = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(cell["source"], space)
    for exercise in taken.exercises:
        assert exercise.text and exercise.hint.endswith("</details>")
        assert exercise.points in (1, 2, 3) and "solution" not in exercise.solution
        exec(f"{exercise.stub}\n    raise NotImplementedError()", space)
        with pytest.raises(AssertionError, match="then run this again"):
            exec(f"checks.{exercise.name}({exercise.name}).require()", space)


def test_a_student_sees_neither_solutions_nor_seeds_and_no_cell_is_empty():
    taken = exercises.read("01")
    for cell in assignment.nbgrader(taken, seed=123457):
        open_part = re.sub(r"### BEGIN (\w+).*?### END \1", "", source(cell), flags=re.S)
        assert open_part.strip()
        assert "123457" not in open_part
        assert cell["cell_type"] == "markdown" or "return" not in open_part
    points = [cell["metadata"]["nbgrader"].get("points") for cell in assignment.nbgrader(taken, 0)]
    assert [number for number in points if number] == list(POINTS.values())


def test_nbgrader_releases_grades_and_explains_it_by_the_commands_of_the_page(tmp_path):
    prepare, grade = commands("nbgrader")
    run(prepare, tmp_path)
    course_folder = tmp_path / "course"
    released = course_folder / "release" / LESSON / f"{LESSON}.ipynb"
    assert "manual_seed" not in released.read_text("utf-8")
    submitted = course_folder / "submitted"
    hand_in(released, [submitted / who / LESSON / f"{LESSON}.ipynb" for who in ("anna", "bert")])
    run(grade, course_folder)
    with (course_folder / "grades.csv").open() as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert {row["max_score"] for row in rows.values()} == {"10.0"}
    assert (rows["anna"]["score"], rows["bert"]["score"]) == ("10.0", "6.0")
    feedback = course_folder / "feedback"
    said = [(feedback / who / LESSON / f"{LESSON}.html").read_text("utf-8") for who in rows]
    assert [WORDS in text for text in said] == [who == "bert" for who in rows]


def test_otter_releases_grades_and_explains_it_by_the_commands_of_the_page(tmp_path):
    prepare, grade = commands("otter-grader")
    run(prepare, tmp_path)
    sheet = tmp_path / "sheet"
    released = sheet / "dist" / "student" / f"{LESSON}.ipynb"
    assert "manual_seed" not in released.read_text("utf-8")
    hand_in(released, [sheet / who / f"{LESSON}.ipynb" for who in ("anna", "bert")])
    scores, said = {}, {}
    for who in ("anna", "bert"):
        run(grade.replace("anna", who), sheet)
        tests = json.loads((sheet / who / "results.json").read_text())["tests"]
        scores[who] = {test["name"]: test["score"] for test in tests if test.get("max_score")}
        said[who] = str(tests)
    assert scores == {"anna": POINTS, "bert": POINTS | {"after_n_steps": 0, LEFT: 0}}
    assert WORDS in said["bert"] and WORDS not in said["anna"]


def test_what_cannot_be_an_assignment_gets_one_sentence(tmp_path):
    def command(*words):
        answer = CliRunner().invoke(cli.main, ["assignment", *words])
        return answer.exit_code, answer.output

    there = ("--format", "otter", "--to", str(tmp_path))
    assert command("1", *there)[0] == 1 and "unknown lesson" in command("1", *there)[1]
    assert command("00", *there)[0] == 0
    assert command("00", *there)[0] == 1 and "exists" in command("00", *there)[1]
    assert command("00", "--format", "pdf", "--to", str(tmp_path))[0] == 2
    (option,) = (p for p in cli.main.commands["assignment"].params if p.name == "format")
    assert list(option.type.choices) == list(assignment.FORMATS)


STUB = "def jump(x):\n    ..."
SOLUTION = "def jump_solution(x):\n    return 2 * x\n\n\nchecks.jump(jump_solution).require()"


@pytest.mark.parametrize(
    ("stub", "solution", "words"),
    [
        (STUB.replace("...", "return 3 * x"), SOLUTION, "nobody has worked in"),
        (STUB, SOLUTION.replace("(x)", "(x, y)"), "other arguments"),
        (STUB, SOLUTION.replace("2", "two"), "uses two, which its lesson does not import"),
        ("jump = None", SOLUTION, "no stub"),
    ],
)
def test_an_exercise_that_cannot_be_taken_out_gets_one_sentence(
    monkeypatch, tmp_path, stub, solution, words
):
    write_lesson(monkeypatch, tmp_path, stub, solution)
    with pytest.raises(ValueError, match=words):
        exercises.read("02")


def test_what_an_exercise_consists_of(monkeypatch, tmp_path):
    stub = 'def jump(x):\n    """Twice x."""\n    ...\n\n\nchecks.jump(jump)'
    write_lesson(monkeypatch, tmp_path, stub, SOLUTION.replace("2 *", "math.e +"))
    (exercise,) = exercises.read("02_forward").exercises
    assert exercise.text == "### 1 · Jump ●● 5 minutes\n\nDouble it."
    assert exercise.stub == 'def jump(x):\n    """Twice x."""'
    assert exercise.solution == "    return math.e + x"
    assert exercise.hint == "<details><summary>Hint</summary>Add.</details>"
    assert exercise.points == 2
    assert exercises.read("02").setup == "import math"


def write_lesson(monkeypatch, folder, stub, solution):
    cells = [
        ("markdown", "# 02 · Forward: noise"),
        ("code", "import math\nfrom labkit.lab import checks"),
        ("markdown", "Both help.\n\n### 1 · Jump ●● 5 minutes\n\nDouble it."),
        ("code", stub),
        ("markdown", "<details><summary>Hint</summary>Add.</details>\n\nThe solution is folded."),
        ("code", solution),
    ]
    cells = [{"cell_type": kind, "source": [text], "metadata": {}} for kind, text in cells]
    path = folder / "02_forward.ipynb"
    path.write_text(json.dumps({"cells": cells}))
    monkeypatch.setattr(course, "originals", lambda: [path])
