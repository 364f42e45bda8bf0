"""What was passed and answered is kept beside the learner's copy, and nowhere else."""

import json
import multiprocessing
import re
import sys

import pytest
from click.testing import CliRunner

from labkit.cli import main
from labkit.lab import checks, course, progress, progress_strip, quiz
from notebooks import build

QUESTION, RIGHT = "What does eta = 0 do?", "Nothing is drawn"


@pytest.fixture
def copy(monkeypatch, tmp_path):
    """A learner's copy that `labkit lab` has opened: the file that its kernels write."""
    path = tmp_path / "progress.json"
    monkeypatch.setenv(course.PROGRESS, str(path))
    monkeypatch.setattr(progress, "_said", set())
    return path


def asked():
    return quiz.ask(QUESTION, {RIGHT: "So it is.", "All is drawn": "No."}, answer=RIGHT)


def jump(x):
    return x


def jump_solution(x):
    return x


def test_a_right_answer_and_a_passed_check_are_kept_in_a_plain_file(copy):
    question = asked()
    question.choose("All is drawn")
    assert not copy.exists()
    question.choose(RIGHT)
    progress.passed("jump", jump)
    progress.passed("jump", jump)  # run again
    assert json.loads(copy.read_text("utf-8")) == {"passed": ["jump"], "answered": [QUESTION]}
    assert progress.read(copy) == {"passed": ["jump"], "answered": [QUESTION]}  # after a restart


def test_a_check_keeps_what_passes_and_nothing_else(copy):
    assert not checks.noise_share(lambda signal: 1 - signal) and not copy.exists()
    assert checks.noise_share(lambda signal: (1 - signal**2) ** 0.5)
    assert progress.read(copy)[progress.PASSED] == ["noise_share"]


def test_the_solutions_of_a_lesson_are_not_the_learners(copy):
    progress.passed("jump", jump_solution)
    assert not copy.exists()
    for name in build.names():
        source = (build.SOURCES / f"{name}.py").read_text("utf-8")
        given = re.findall(r"checks\.\w+\((\w+)\)\.require\(\)", source)
        assert given and all("solution" in function for function in given)


def test_where_labkit_lab_opened_nothing_nothing_is_kept(monkeypatch, tmp_path):
    monkeypatch.delenv(course.PROGRESS, raising=False)
    monkeypatch.chdir(tmp_path)
    progress.passed("jump", jump)
    asked().choose(RIGHT)
    assert not list(tmp_path.iterdir())


def test_labkit_lab_tells_its_kernels_where_and_a_build_tells_them_nowhere(monkeypatch, copy):
    told = []
    monkeypatch.setattr(course.subprocess, "call", lambda *a, **k: told.append(k["env"]) or 0)
    course.open_lab(copy.parent)
    assert told[0][course.PROGRESS] == str(copy)

    class Client:
        def __init__(self, notebook, **options):
            notebook.metadata.language_info = {}

        def execute(self, env):
            told.append(env)

    monkeypatch.setattr(build, "NotebookClient", Client)
    build.execute(build.read_source("00_start_here"))
    assert not told[1][course.PROGRESS]


def add_many(path, prefix):
    for number in range(15):
        progress.add(path, progress.PASSED, f"{prefix}{number}")


@pytest.mark.skipif(sys.platform == "win32", reason="there processes are not forked")
def test_notebooks_that_write_at_once_lose_nothing(tmp_path):
    path, forked = tmp_path / "progress.json", multiprocessing.get_context("fork")
    writers = [forked.Process(target=add_many, args=(path, prefix)) for prefix in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    marks = progress.read(path)[progress.PASSED]
    assert sorted(marks) == sorted(f"{prefix}{number}" for prefix in "abc" for number in range(15))


@pytest.mark.parametrize(
    "text", [b"", b'{"passed": ["ju', b"[]", b'{"passed": 3}', b'{"answered": [3]}', b"\xff\xfe"]
)
def test_a_damaged_file_is_put_aside_with_one_sentence(copy, capsys, text):
    copy.write_bytes(text)
    progress.passed("jump", jump)
    progress.passed("sigma", jump)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "damaged" in said and "The lesson goes on" in said
    assert (copy.parent / "progress.damaged.json").read_bytes() == text
    assert progress.read(copy)[progress.PASSED] == ["jump", "sigma"]


def test_a_file_that_cannot_be_written_gets_one_sentence_and_stays(copy, capsys):
    progress.add(copy, progress.PASSED, "jump")
    copy.chmod(0o444)
    progress.passed("sigma", jump)
    progress.passed("sigma", jump)
    question = asked()
    assert question.choose(RIGHT)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "read-only" in said
    assert "Right." in question.feedback.value
    assert progress.read(copy)[progress.PASSED] == ["jump"]


def test_a_folder_in_its_place_and_a_full_disk_break_no_quiz(copy, monkeypatch):
    copy.mkdir()
    question = asked()
    assert question.choose(RIGHT) and "could not be kept" in question.feedback.value
    copy.rmdir()

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(progress, "write_whole", full)
    question = asked()
    assert question.choose(RIGHT) and "No space left" in question.feedback.value


def test_every_exercise_and_every_question_of_every_lesson_is_counted():
    found = progress.lessons()
    assert [lesson.number for lesson in found] == [name[:2] for name in build.names()]
    for lesson, name in zip(found, build.names()):
        source = (build.SOURCES / f"{name}.py").read_text("utf-8")
        assert len(lesson.checks) == source.count(").require()") > 0
        assert len(lesson.questions) == source.count("quiz.ask(") > 0


def test_a_lesson_that_its_learner_broke_is_counted_as_far_as_it_goes(monkeypatch, tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["my notes"], "metadata": {}},
        {"cell_type": "code", "source": ["def f(\n", "checks.jump(jump)"], "metadata": {}},
        {"cell_type": "code", "source": ["quiz.ask('Why?', {"], "metadata": {}},
    ]
    (tmp_path / "02_forward.ipynb").write_text(json.dumps({"cells": cells}))
    (tmp_path / "03_ddpm.ipynb").write_text("half a no")
    monkeypatch.setattr(course, "originals", lambda: sorted(tmp_path.iterdir()))
    second, third = progress.lessons()
    assert (second.number, second.title, second.checks) == ("02", "forward", ("jump",))
    assert (third.title, third.checks, third.questions) == ("ddpm", (), ())
    progress_strip.draw([second, third], progress.EMPTY)


def test_the_strip_shows_what_is_kept_and_says_it_in_words(copy, capsys, monkeypatch):
    shown = []
    monkeypatch.setattr(
        progress_strip.plots, "show", lambda figure, alt: shown.append((figure, alt))
    )
    progress_strip.show()
    progress.add(copy, progress.PASSED, "after_n_steps")
    progress.add(copy, progress.ANSWERED, progress.lessons()[1].questions[2])
    progress_strip.show()
    (empty, empty_alt), (figure, alt) = shown
    assert "01: exercises 0 of 6, quiz 0 of 5." in empty_alt
    assert "01: exercises 1 of 6, quiz 1 of 5." in alt

    def filled(figure):
        lines = figure.axes[0].lines
        return sum(line.get_markerfacecolor() != "white" for line in lines)

    assert (filled(empty), filled(figure)) == (0, 2)
    assert "progress.json" in capsys.readouterr().out
    copy.write_text("{")
    progress_strip.show()
    assert capsys.readouterr().out.startswith("Your progress is not shown: ")
    assert shown[-1][1] == empty_alt


def test_the_command_shows_and_forgets(copy, monkeypatch, tmp_path):
    def run(*words):
        return CliRunner().invoke(main, ["progress", *words])

    progress.add(copy, progress.PASSED, "after_n_steps")
    monkeypatch.delenv(course.PROGRESS)
    answer = run("--in", str(tmp_path))
    assert answer.exit_code == 0 and "exercises 1 of 6, quiz 0 of 5" in answer.output
    assert f"kept in {copy}" in answer.output
    monkeypatch.chdir(tmp_path)  # in one's copy nothing need be said
    assert run().output == answer.output
    copy.write_text("{")
    broken = run()
    assert broken.exit_code == 1 and "damaged" in broken.output and "--reset" in broken.output
    assert run("--reset").exit_code == 0 and not copy.exists()
    answer = run("--in", str(tmp_path))
    assert "exercises 0 of 1" in answer.output and "nothing is kept yet" in answer.output
    assert run("--in", "nowhere").exit_code == 1
