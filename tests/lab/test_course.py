"""`labkit lab` finds the lessons: in the checkout where they are, else as the learner's copy."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from labkit.cli import main
from labkit.lab import course

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """As if labkit came from a wheel: two lessons inside the package, and an empty folder."""
    package = tmp_path / "site-packages" / "labkit"
    (package / "notebooks").mkdir(parents=True)
    for name in ("00_start_here", "01_markov_chains"):
        (package / "notebooks" / f"{name}.ipynb").write_text(name)
    monkeypatch.setattr(course, "PACKAGE", package)
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def test_in_a_checkout_the_lessons_open_where_they_are():
    assert course.folder() == ROOT / "notebooks"
    command = course.lab_command(ROOT / "notebooks", ["--no-browser"])
    assert f"--ServerApp.root_dir={ROOT}" in command
    assert command[-2:] == [str(ROOT / "notebooks" / "00_start_here.ipynb"), "--no-browser"]
    assert not any("token" in word or "ip=" in word for word in command)


def test_an_installed_labkit_copies_the_lessons_and_spares_the_learners_work(installed):
    target = course.folder()
    assert target == installed / "diffusion-course"
    assert (target / "01_markov_chains.ipynb").read_text() == "01_markov_chains"
    (target / "00_start_here.ipynb").write_text("my answers")
    assert course.folder() == target
    assert (target / "00_start_here.ipynb").read_text() == "my answers"
    assert f"--ServerApp.root_dir={target}" in course.lab_command(target)


def test_the_command_opens_the_copy_and_passes_jupyters_arguments_on(installed, monkeypatch):
    called = []
    monkeypatch.setattr(course.subprocess, "call", lambda *a, **k: called.append((a, k)) or 3)
    answer = CliRunner().invoke(main, ["lab", "--to", "mine", "--no-browser"])
    assert answer.exit_code == 3
    ((command,), options) = called[0]
    assert command[-2:] == [str(installed / "mine" / "00_start_here.ipynb"), "--no-browser"]
    assert options["cwd"] == installed / "mine"


def test_jupyterlab_asks_for_no_news_and_no_updates_and_keeps_the_learners_settings(monkeypatch):
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", "theirs")
    paths = course.environment()["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert paths == [str(course.SETTINGS), "theirs"]
    asked = "from jupyterlab_server.settings_utils import _get_overrides; import json\n"
    asked += "print(json.dumps(_get_overrides('nowhere')[0]))"
    answer = subprocess.run(
        [sys.executable, "-c", asked], env=course.environment(), capture_output=True, check=True
    )
    settings = json.loads(answer.stdout)["@jupyterlab/apputils-extension:notification"]
    assert settings == {"fetchNews": "false", "checkForUpdates": False}


def test_the_extensions_of_autograders_are_not_loaded():
    enabled = Path(sys.prefix, "etc", "jupyter", "jupyter_server_config.d", "nbgrader.json")
    theirs = json.loads(enabled.read_text())["ServerApp"]["jpserver_extensions"]
    ours = json.loads((course.SETTINGS / "jupyter_server_config.d" / "labkit.json").read_text())
    off = ours["ServerApp"]["jpserver_extensions"]
    assert not any(off[name] for name in theirs)
    asked = "from jupyterlab_server.config import get_page_config\n"
    asked += "print(*get_page_config([])['disabledExtensions'])"
    answer = subprocess.run(
        [sys.executable, "-c", asked], env=course.environment(), capture_output=True, text=True
    )
    assert {"@jupyter/nbgrader", "ipylab"} <= set(answer.stdout.split())


def test_no_lessons_and_an_impossible_folder_get_one_sentence(installed):
    Path("file").write_text("in the way")
    answer = CliRunner().invoke(main, ["lab", "--to", "file/mine"])
    assert answer.exit_code == 1 and "choose a folder of yours with --to" in answer.output
    for lesson in (course.PACKAGE / "notebooks").iterdir():
        lesson.unlink()
    answer = CliRunner().invoke(main, ["lab"])
    assert answer.exit_code == 1 and "install it once more" in answer.output


def test_the_wheel_carries_lessons_weights_and_kernel(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("labkit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    assert any(name.endswith("share/jupyter/kernels/labkit/kernel.json") for name in inside)
    for lesson in (ROOT / "notebooks").glob("*.ipynb"):
        assert f"labkit/notebooks/{lesson.name}" in inside
    for file in (ROOT / "labkit").rglob("*"):
        if file.suffix in (".py", ".safetensors", ".js", ".json") or file.name == "SHA256SUMS":
            assert file.relative_to(ROOT).as_posix() in inside
    assert not any(name.startswith(("tests/", "notebooks/")) for name in inside)


def test_python_m_labkit_is_the_command():
    answer = subprocess.run(
        [sys.executable, "-m", "labkit", "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert answer.returncode == 0 and answer.stdout.startswith("Usage: labkit ")


@pytest.mark.parametrize(
    ("table", "address"),
    [
        ("", None),
        ('[project.urls]\nDocumentation = "https://example.org/docs"', None),
        (
            '[project.urls]\nRepository = "https://example.org/one/two/"',
            "https://example.org/one/two",
        ),
    ],
)
def test_the_address_of_the_repository_stands_in_pyproject_or_is_not_known(
    table, address, tmp_path
):
    (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "labkit"\n{table}\n', "utf-8")
    assert course.repository(tmp_path / "pyproject.toml") == address
