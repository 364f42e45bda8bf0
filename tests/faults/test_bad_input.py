"""Nonsense at the doors of training, checkpoints, the zoo and the command: one sentence each."""

import threading
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner

from labkit import checkpoint, zoo
from labkit.cli import main
from labkit.nets.unet import UNet
from labkit.train import shuffled, train
from tests.faults.tiny import CONFIG, batches, system

ONE_SENTENCE = r"^[^\n]+$"


def refused(call, *words, error=ValueError):
    with pytest.raises(error, match=ONE_SENTENCE) as caught:
        call()
    for word in words:
        assert word in str(caught.value)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "run.safetensors"
    list(train(system(), batches(), 1, checkpoint=path))
    return path


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.99, 0.999999])
def test_a_cut_checkpoint_says_so_and_is_left_alone(saved, share):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * share)])
    refused(lambda: checkpoint.load(saved), "cut short", saved.name)
    refused(lambda: list(train(system(), batches(), 1, checkpoint=saved)), "cut short")
    assert saved.read_bytes() == data[: int(len(data) * share)]


def test_a_pickle_is_never_opened(tmp_path):
    opened = []

    class Trap:
        def __reduce__(self):
            return opened.append, (1,)

    for old_format in (True, False):
        path = tmp_path / f"model{old_format}.pt"
        torch.save(Trap(), path, _use_new_zipfile_serialization=not old_format)
        refused(lambda path=path: checkpoint.load(path), "pickle", "safetensors")
    assert not opened


def test_foreign_files_are_named_for_what_they_are(tmp_path):
    text, foreign = tmp_path / "a.txt", tmp_path / "b.safetensors"
    text.write_text("weights, honestly" * 10)
    safetensors.torch.save_file({"x": torch.ones(2)}, foreign)
    refused(lambda: checkpoint.load(text), "not a safetensors file")
    refused(lambda: checkpoint.load(foreign), "not one of labkit's")
    refused(lambda: checkpoint.load(tmp_path / "c"), "no checkpoint", error=FileNotFoundError)


def test_a_run_of_other_settings_is_not_gone_on_with(saved):
    before = saved.read_bytes()
    for other in ({"steps": 2}, {"seed": 1}, {"lr": 1e-4}, {"decay": "linear"}):
        settings = {"steps": 1} | other
        (name,) = other
        refused(
            lambda settings=settings: list(
                train(system(), batches(), checkpoint=saved, **settings)
            ),
            "another run",
            name,
        )
    assert saved.read_bytes() == before


def test_a_run_of_another_network_is_not_gone_on_with(saved):
    other = system()
    other.net = UNet(replace(CONFIG, width=16))
    refused(lambda: list(train(other, batches(), 1, checkpoint=saved)), "another configuration")


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"steps": 0}, ["steps", "0"]),
        ({"steps": -5}, ["steps", "-5"]),
        ({"steps": 2.5}, ["steps"]),
        ({"steps": 2, "lr": -1.0}, ["lr"]),
        ({"steps": 2, "lr": float("nan")}, ["lr"]),
        ({"steps": 2, "ema": 1.5}, ["ema"]),
        ({"steps": 2, "save_every": 0}, ["save_every"]),
        ({"steps": 2, "seed": -1}, ["seed"]),
        ({"steps": 2, "decay": "cosin"}, ["decay", "'cosine'"]),
        ({"steps": 2, "clip": -1.0}, ["clip"]),
        ({"steps": 2, "clip": True}, ["clip"]),
        ({"steps": 2, "betas": 0.9}, ["betas", "two numbers"]),
        ({"steps": 2, "betas": (0.9, 1.0)}, ["beta", "1.0"]),
        ({"steps": 2, "batches": [1, 2]}, ["batches", "shuffled"]),
    ],
)
def test_impossible_settings_are_refused_at_the_call(settings, words):
    refused(lambda: train(system(), **{"batches": batches()} | settings), *words)


class Held(torch.nn.Linear):
    """Holds something that cannot be copied."""

    def __init__(self, held):
        super().__init__(1, 1)
        self.held = held

    def loss(self, batch):
        return self(batch).sum()


def test_a_system_that_cannot_be_trained_is_refused_in_a_sentence():
    refused(lambda: train(lambda x: x, batches(), 1), "function", "torch module")
    refused(lambda: train(torch.nn.Linear(1, 1), batches(), 1), "Linear", "loss(batch)")
    refused(lambda: train(system().requires_grad_(False), batches(), 1), "requires_grad")
    lazy = system()
    lazy.more = torch.nn.LazyLinear(3)
    refused(lambda: train(lazy, batches(), 1), "without a shape")
    for held in (threading.Lock(), torch.ones(1, requires_grad=True) * 2):
        refused(lambda held=held: next(train(Held(held), batches(), 1)), "cannot be copied")


def test_an_empty_batch_is_refused():
    refused(lambda: shuffled(torch.ones(3), batch=0), "batch", "0")
    refused(lambda: shuffled(torch.ones(0), batch=1), "0 rows")
    refused(lambda: shuffled(batch=1), "no rows")
    refused(lambda: shuffled(torch.ones(3), torch.ones(4), batch=2), "3", "4")


def test_an_unknown_system_gets_the_nearest_name():
    for call in (zoo.load, zoo.recipe, zoo.build):
        refused(lambda call=call: call("dpm-digits"), "'ddpm-digits'")


def test_a_file_of_another_system_is_refused(saved, tmp_path):
    refused(lambda: zoo.load("ddpm-digits", saved), "not ddpm-digits")
    path = tmp_path / "other.safetensors"
    about = {"name": "ddpm-digits", "system": "DDPM", "config": {"width": 1}}
    checkpoint.save(path, {"x": torch.ones(1)}, about)
    refused(lambda: zoo.load("ddpm-digits", path), "a configuration that this labkit cannot build")
    about["config"] = replace(zoo.recipe("ddpm-digits").config, T=50)
    checkpoint.save(path, {"x": torch.ones(1)}, about)
    refused(lambda: zoo.load("ddpm-digits", path), "another configuration")


def test_an_option_that_came_later_than_a_file_has_its_default(tmp_path):
    shipped = zoo.WEIGHTS / "ddpm-digits.safetensors"
    tensors, about = checkpoint.load(shipped)
    del about["config"]["net"]["dropout"], about["config"]["T"]  # an older file would lack both
    path = tmp_path / "older.safetensors"
    checkpoint.save(path, tensors, about)
    assert zoo.load("ddpm-digits", path).config == zoo.recipe("ddpm-digits").config
    assert zoo.load(path=path).config == zoo.recipe("ddpm-digits").config


def test_more_steps_than_times_and_no_pictures_are_refused():
    model = zoo.build("ddpm-digits")
    refused(lambda: model.generate(1, steps=1001), "1001", "1000")
    refused(lambda: model.generate(1, steps=0), "steps", "0")
    refused(lambda: model.generate(0), "0")
    refused(lambda: model.generate(-2), "-2")


@pytest.mark.parametrize(
    "line, words",
    [
        ("train dppm-digits", ["'ddpm-digits'"]),
        ("sample nonsense --out x.png", ["nonsense"]),
        ("sample ddpm-digits --weights none.safetensors", ["none.safetensors"]),
        ("sample ddpm-digits --weights taken.safetensors", ["cut short"]),
        ("train ddpm-digits --out taken.safetensors", ["exists", "--overwrite"]),
        ("sample ddpm-digits --out taken.safetensors", ["exists", "--overwrite"]),
    ],
)
def test_the_command_answers_in_one_line_and_overwrites_nothing(line, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    taken = tmp_path / "taken.safetensors"
    taken.write_text("mine")
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 1
    (told,) = [row for row in result.output.splitlines() if row.startswith("Error")]
    assert all(word in told for word in words), told
    assert taken.read_text() == "mine"
