"""The style of every file, lessons included."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("command", ["check", "format --check"])
def test_ruff_has_nothing_to_say(command):
    ruff = [sys.executable, "-m", "ruff", *command.split(), "--no-cache", str(ROOT)]
    answer = subprocess.run(ruff, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr
