"""Without Chromium the browser tests are skipped and say how to get it; if required, they fail."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser.lab import NO_CHROMIUM

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("required", "outcome"), [("0", "skipped"), ("1", "error")])
def test_a_missing_chromium_is_a_skip_or_where_required_a_failure(required, outcome, tmp_path):
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    command += ["tests/browser/test_lessons.py", "-k", "trial_moves"]
    # a run of its own, that knows nothing of the run and the worker that it is started from
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment |= {"PATH": str(tmp_path), "LABKIT_REQUIRE_BROWSER": required}
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert f"1 {outcome}" in answer.stdout.splitlines()[-1]
    assert NO_CHROMIUM in answer.stdout and "apt install chromium" in NO_CHROMIUM
    assert (answer.returncode == 0) == (outcome == "skipped")
