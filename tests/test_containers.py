"""The files for containers hold together; no engine is needed, so none of them is built here."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.lab import course

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
LINES = [tuple(line.split(" ", 1)) for line in re.findall(r"^(?!#)(\S.*)$", DOCKERFILE, flags=re.M)]
DEVCONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
RUNS = [rest for word, rest in LINES if word == "RUN"] + [DEVCONTAINER["onCreateCommand"]]


def test_the_dockerfile_has_only_instructions_that_exist():
    known = {"FROM", "ARG", "COPY", "WORKDIR", "RUN", "USER", "ENV", "EXPOSE", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in LINES} == known and LINES[0][0] == "FROM"
    assert "root" not in [rest for word, rest in LINES if word == "USER"][-1]


@pytest.mark.parametrize("command", RUNS)
def test_what_is_run_is_valid_for_the_shell_and_installs_the_versions_that_are_tested(command):
    subprocess.run(["sh", "-n", "-c", command], check=True)
    for part in command.split("&&"):
        words = shlex.split(part)
        if "install" in words:
            assert words[:4] == ["python", "-m", "pip", "install"]
            assert words[words.index("--constraint") + 1] == "constraints.txt"
    used = set(re.findall(r"\$(\w+)", command))
    assert used <= {rest.split("=")[0] for word, rest in LINES if word == "ARG"}


def test_the_progress_is_where_the_lessons_are():
    (variable,) = (rest for word, rest in LINES if word == "ENV")
    homes = [rest for word, rest in LINES if word == "WORKDIR"]
    assert variable == f"{course.PROGRESS}={homes[-1]}/diffusion-course/{course.PROGRESS_FILE}"
    theirs = DEVCONTAINER["containerEnv"][course.PROGRESS]
    assert theirs == f"${{containerWorkspaceFolder}}/notebooks/{course.PROGRESS_FILE}"
    assert (ROOT / DEVCONTAINER["customizations"]["codespaces"]["openFiles"][0]).exists()


def test_a_container_copies_the_lessons_and_then_runs_what_it_is_told(tmp_path):
    start, command = (json.loads(dict(LINES)[word]) for word in ("ENTRYPOINT", "CMD"))
    assert command[:2] == ["labkit", "lab"]
    mine = tmp_path / "01_markov_chains.ipynb"
    mine.write_text("my answers")
    start[2] = start[2].replace("labkit copy", f"labkit copy --to {shlex.quote(str(tmp_path))}")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    answer = subprocess.run(
        [*start, "echo", "two words"],
        env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert answer.stdout.splitlines() == [f"the lessons are in {tmp_path}", "two words"]
    assert (tmp_path / course.FIRST_LESSON).exists() and mine.read_text() == "my answers"


def test_the_image_gets_what_it_is_built_from_and_nothing_of_the_environment():
    ignored = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert {".venv", ".git", "runs"} <= set(ignored)
    assert not {"labkit", "notebooks", "constraints.txt", "pyproject.toml", "README.md"} & set(
        ignored
    )
