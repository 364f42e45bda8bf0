"""What only a real GPU can show; the other tests of this folder run on it as well, where one is."""

import re
import subprocess
import sys
from signal import SIGINT

import numpy as np
import pytest
import torch
from PIL import Image

from tests.machines.test_pretended import ALLOWED, REFUSED, given

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.mark.parametrize("name", REFUSED)
def test_it_refuses_what_the_pretended_one_refuses(name):
    with pytest.raises(RuntimeError):
        REFUSED[name](*given("cuda"))


@pytest.mark.parametrize("name", ALLOWED)
def test_it_allows_what_the_pretended_one_allows(name):
    ALLOWED[name](*given("cuda"))


def labkit(folder, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "labkit", *arguments], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_labkit_train_runs_there_stops_and_goes_on(tmp_path):
    """For a few steps: as soon as one is told of, it is stopped as Ctrl-C does."""
    for _ in range(2):
        running, told = labkit(tmp_path, "train", "ddpm-digits", "--device", "cuda"), ""
        while not re.search(r"loss=\d", told):
            told += running.stderr.read(1) or pytest.fail(f"it ended and said {told}")
        running.send_signal(SIGINT)
        said = told + running.communicate(timeout=60)[1]
        assert running.returncode == 1 and "stopped; start again" in said
    assert "going on with" in said
    assert (tmp_path / "ddpm-digits.safetensors.run").exists()


def test_labkit_sample_draws_there_what_a_cpu_draws(tmp_path):
    for device in ("cuda", "cpu"):
        drawn = labkit(
            tmp_path, "sample", "ddpm-digits", "--number", "8", "--steps", "5",
            "--device", device, "--out", f"{device}.png",
        )  # fmt: skip
        assert drawn.wait(300) == 0, drawn.stderr.read()
    ours, theirs = (
        np.asarray(Image.open(tmp_path / f"{device}.png").convert("L"), dtype=int)
        for device in ("cuda", "cpu")
    )
    assert abs(ours - theirs).max() <= 3  # of 255 levels
