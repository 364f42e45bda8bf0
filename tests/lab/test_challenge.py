"""The open challenge: a sampler within its budget is scored, and all else gets one sentence."""

import json
import re
from pathlib import Path
from statistics import mean

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from benchmarks import challenge as benchmark
from labkit import zoo
from labkit.cli import main
from labkit.conditioning import Conditioning
from labkit.denoiser import Denoiser
from labkit.lab import challenge
from labkit.schedule import cosine

ROUND = challenge.drawn(challenge.FIXED[0])
EXAMPLE = (Path(__file__).resolve().parents[2] / "docs" / "challenge.md").read_text("utf-8")


class Tiny(nn.Module):
    """A denoiser with a condition, in the place of GLIDE."""

    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(3, 3, 1)
        self.denoiser = Denoiser(
            lambda x, t, cond: self.net(x) + cond.vector.mean(), cosine(20), "x0"
        )
        self.null = self.encode([None])

    def encode(self, prompts):
        return Conditioning(vector=torch.full((len(prompts), 1), 0.1))


MODEL = Tiny()


def plain(denoise, noise, evaluations):
    """One evaluation, and pictures."""
    return denoise(noise, denoise.schedule.T, denoise.cond).x0


@pytest.fixture
def example(tmp_path):
    """The file that docs/challenge.md begins with."""
    file = tmp_path / "mine.py"
    file.write_text(re.search(r"```python\n(.*?)```", EXAMPLE, re.S)[1], "utf-8")
    return file


def test_the_first_file_of_the_docs_is_scored_in_fixed_rounds_and_a_hidden_one(example):
    sample = challenge.load(example)
    one, again = (challenge.score(sample, [2], MODEL)["2"] for _ in range(2))
    assert [one[name] == again[name] for name in challenge.COLUMNS] == [True] * 3
    assert all(len(one[name]) == len(challenge.FIXED) for name in challenge.COLUMNS)
    assert one["hidden"] != again["hidden"]
    assert "| mine | 0." in challenge.table({"mine": {"2": one}})


def trains(denoise, noise, evaluations):
    with torch.no_grad():
        MODEL.net.bias += 1
    return plain(denoise, noise, evaluations)


def fails(denoise, noise, evaluations):
    return noise.reshape(7)


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (lambda d, x, n: [plain(d, x, n) for _ in range(3)][0], "240 rows where 160 are allowed"),
        (lambda d, x, n: plain(d, torch.cat([x, x, x]), n), "240 rows where 160 are allowed"),
        (lambda d, x, n: MODEL.net(x), r"a network of your own ran \(Conv2d\)"),
        (lambda d, x, n: nn.Conv2d(3, 3, 1)(x), "only `denoise` may be asked"),
        (trains, "weights were changed"),
        (fails, "sample failed in line .*: RuntimeError: shape"),
        (lambda d, x: x, "sample failed: TypeError"),
        (lambda d, x, n: None, "returned None, but must return pictures of shape"),
        (lambda d, x, n: x[:4], r"must return pictures of shape \(80, 3, 32, 32\)"),
        (lambda d, x, n: x * torch.nan, "NaN"),
        (lambda d, x, n: x.long(), "whole numbers"),
    ],
)
def test_what_breaks_the_rules_is_refused_in_one_sentence(sample, said):
    with pytest.raises(challenge.Refused, match=said):
        challenge.play(sample, ROUND, 2, MODEL)


def test_pictures_are_cut_off_and_the_noise_of_others_is_not_touched():
    loud = challenge.play(lambda d, x, n: x.mul_(9), ROUND, 1, MODEL)
    assert loud.abs().max() == 1 and ROUND.noise.std() < 1.1
    draws = [challenge.play(lambda d, x, n: torch.randn_like(x), ROUND, 1, MODEL) for _ in range(2)]
    assert draws[0].equal(draws[1])  # also what a sampler draws itself is the same again


def entered(*line):
    return CliRunner().invoke(main, ["challenge", *map(str, line)])


def test_the_command_keeps_entries_beside_the_copy_and_shows_all(example, tmp_path, monkeypatch):
    monkeypatch.setattr(challenge, "score", lambda sample: {"1": challenge.cell([[0.5] * 3] * 6)})
    done = entered(example, "--in", tmp_path)
    assert done.exit_code == 0 and "| mine | 0.500 ± 0.000 |" in done.output, done.output
    entered(example, "--name", "second", "--in", tmp_path)
    assert list(challenge.entries(tmp_path / "challenge.json")) == ["mine", "second"]
    alone = entered("--in", tmp_path).output
    assert "| second |" in alone and "| real pictures |" in alone
    (tmp_path / "challenge.json").write_text('{"mine": 3}')
    assert "is damaged" in entered(example, "--in", tmp_path).output


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        (None, (), "cannot be read: No such file"),
        ("def sample(:", (), "no Python file that runs: SyntaxError"),
        ("raise SystemExit", (), "no Python file that runs: SystemExit"),
        ("sample = 3", (), "has no function `sample"),
        ("def sample(d, x, n): ...", ("--name", "DDIM"), "cannot be called 'DDIM'"),
        ("def sample(d, x, n): ...", ("--name", "a|b"), "choose another --name"),
        ("def sample(d, x, n): ...", ("--in", "nowhere"), "there is no folder nowhere"),
    ],
)
def test_a_bad_file_or_name_gets_one_sentence(text, more, said, tmp_path):
    file = tmp_path / "mine.py"
    if text:
        file.write_text(text)
    refused = entered(file, "--in", tmp_path, *more)
    assert refused.exit_code == 1 and said in refused.output
    assert len(refused.output.splitlines()) == 1 and not (tmp_path / "challenge.json").exists()


def test_the_stored_board_has_the_course_s_samplers_between_ceiling_and_floor():
    stored = challenge.entries(challenge.STORED)
    assert {*benchmark.SAMPLERS} < {*stored}
    for title, *rows in (part.splitlines() for part in challenge.table(stored).split("\n\n")):
        assert "evaluation" in title and rows[1].startswith("| real pictures |"), rows
    for budget in map(str, challenge.BUDGETS):
        cells = [stored[name][budget] for name in benchmark.SAMPLERS if budget in stored[name]]
        assert f"{max(mean(cell['parts']) for cell in cells):.3f}" in EXAMPLE  # the mark to beat


def test_the_benchmark_chooses_scores_and_stores(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "SAMPLERS", {"guided": ("η = 0", True, (2,))})
    monkeypatch.setattr(
        zoo, "load", lambda name, load=zoo.load: MODEL if name == "glide-scenes" else load(name)
    )
    benchmark.run(1, tmp_path / "board.json")
    cell = json.loads((tmp_path / "board.json").read_text("utf-8"))["guided"]["2"]
    assert cell["chosen"]["scale"] in benchmark.SCALES and len(cell["parts"]) == 5
