"""The doctor: sound here, and each fault found, in one line that says how to mend it."""

import hashlib
import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import jupyter_core.paths
import psutil
import pytest
import torch
from click.testing import CliRunner

from labkit.cli import main
from labkit.lab import doctor


def assert_fault(finding, *words):
    """A fault, in one line, that says what was found and what to do."""
    assert finding.verdict == "fault"
    assert finding.mend and "\n" not in str(finding)
    for word in words:
        assert word in str(finding)


@pytest.mark.parametrize("check", doctor.CHECKS, ids=lambda check: check.__name__)
def test_this_environment_has_no_fault(check, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finding = check()
    assert finding.verdict in ("ok", "note"), str(finding)


def test_the_command_prints_every_finding_and_succeeds():
    answer = CliRunner().invoke(main, ["doctor"])
    assert answer.exit_code == 0, answer.output
    assert len(answer.output.splitlines()) == len(doctor.CHECKS) + 2
    assert answer.output.endswith("The set-up is sound.\n")


def test_the_command_fails_on_a_fault_and_names_the_mend(monkeypatch):
    broken = doctor.Finding("fault", "thing", "is broken", "mend it")
    monkeypatch.setattr(doctor, "CHECKS", (lambda: broken,))
    answer = CliRunner().invoke(main, ["doctor"])
    assert answer.exit_code == 1
    assert "fault thing         is broken: mend it" in answer.output
    assert "1 to mend" in answer.output


def test_a_check_that_breaks_down_is_a_finding_and_no_traceback(monkeypatch):
    def widgets():
        raise RuntimeError("no such thing")

    monkeypatch.setattr(doctor, "CHECKS", (widgets,))
    assert_fault(doctor.examine()[0], "widgets", "RuntimeError: no such thing")


@pytest.mark.parametrize(("version", "verdict"), [("3.10.13", "fault"), ("3.11.0", "ok")])
def test_a_python_that_is_too_old_is_a_fault(monkeypatch, version, verdict):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: version)
    assert doctor.python().verdict == verdict


def test_a_missing_and_an_old_package_are_named(monkeypatch):
    real = metadata.version

    def version(name):
        if name == "tqdm":
            raise metadata.PackageNotFoundError(name)
        return "7.8.1" if name == "ipywidgets" else real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    assert_fault(doctor.packages(), "tqdm is missing", "ipywidgets is 7.8.1")


def test_a_torch_that_does_not_load_is_a_fault(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert_fault(doctor.torch(), "ModuleNotFoundError")


def test_a_torch_that_computes_wrongly_is_a_fault(monkeypatch):
    monkeypatch.setattr(torch, "eye", lambda n: torch.zeros(n, n))
    assert_fault(doctor.torch(), "wrongly")


def test_one_core_and_little_memory_are_notes(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    assert doctor.cores().verdict == "note"
    little = psutil.virtual_memory()._replace(total=2_000_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: little)
    assert doctor.memory().verdict == "note"


def test_a_kernel_of_another_environment_that_hides_ours_is_a_fault(monkeypatch, tmp_path):
    folder = tmp_path / "kernels" / "labkit"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text('{"argv": ["python"], "display_name": "x"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert_fault(doctor.kernel(), "hides ours", str(folder))


def test_a_kernel_that_is_not_registered_is_a_fault(monkeypatch, tmp_path):
    monkeypatch.setattr(jupyter_core.paths, "ENV_JUPYTER_PATH", [str(tmp_path)])
    assert_fault(doctor.kernel(), "not registered")


def test_a_lab_of_another_environment_above_the_kernel_is_a_fault(monkeypatch, tmp_path):
    other = tmp_path / "bin" / "python"
    other.parent.mkdir()
    other.symlink_to(sys.executable)
    with subprocess.Popen([other, "-c", "input()"], stdin=subprocess.PIPE) as lab:
        try:
            while not psutil.Process(lab.pid).cmdline():
                pass  # a process that has just begun has none for a moment
            monkeypatch.setenv("JPY_PARENT_PID", str(lab.pid))
            assert_fault(doctor.kernel(), "another environment", str(tmp_path))
        finally:
            lab.communicate(b"\n")


@pytest.mark.parametrize("extension", doctor.BROWSER_HALVES.values())
def test_a_browser_half_of_another_installation_is_a_fault(monkeypatch, tmp_path, extension):
    folder = tmp_path / "labextensions" / extension
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"version": "0.0.1"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))
    assert_fault(doctor.widgets(), "0.0.1", str(folder))


def test_a_missing_browser_half_is_a_fault(monkeypatch, tmp_path):
    monkeypatch.setattr(jupyter_core.paths, "jupyter_path", lambda *names: [str(tmp_path)])
    assert_fault(doctor.widgets(), "no half for the browser", "reload the page")


def test_shipped_files_are_compared_with_their_checksums(tmp_path):
    assert doctor.shipped_files(tmp_path).verdict == "ok"  # nothing shipped, nothing wrong
    sums = []
    for name in ("a.safetensors", "b.safetensors", "c.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
        sums.append(f"{hashlib.sha256(name.encode()).hexdigest()}  {name}\n")
    (tmp_path / doctor.MANIFEST).write_text("".join(sums))
    assert doctor.shipped_files(tmp_path).found == "3 of 3 as shipped"
    (tmp_path / "a.safetensors").unlink()
    (tmp_path / "b.safetensors").write_bytes(b"version https")
    finding = doctor.shipped_files(tmp_path)
    assert_fault(finding, "a.safetensors is missing", "b.safetensors is not the file")
    assert "c.safetensors" not in str(finding)


def test_every_file_in_the_weights_folder_is_in_the_manifest():
    shipped = {path.name for path in doctor.WEIGHTS.glob("*.safetensors")}
    manifest = doctor.WEIGHTS / doctor.MANIFEST
    lines = manifest.read_text().splitlines() if manifest.exists() else []
    listed = {line.split(maxsplit=1)[1] for line in lines}
    assert shipped == listed, "in labkit/weights: sha256sum *.safetensors > SHA256SUMS"


def test_a_folder_that_cannot_be_written_is_a_fault(tmp_path):
    assert doctor.writing(tmp_path).verdict == "ok"
    assert_fault(doctor.writing(tmp_path / "nowhere"), "labkit lab --to")
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_says_where_it_stands_without_a_path_of_the_machine(capsys):
    assert doctor.report() is None  # so that a notebook shows the lines and nothing after them
    said = capsys.readouterr().out
    assert "The set-up is sound." in said and str(Path(sys.prefix)) not in said
