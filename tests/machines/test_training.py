"""Training happens where the system lies, stops and goes on there; its files go anywhere."""

from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from labkit import checkpoint, recipes, zoo
from labkit.cli import main
from labkit.train import shuffled, train
from tests.machines import tiny


def batches(name):
    # What is no tensor, or has other rows, comes with its picture.
    if name in ("reader", "glide", "unclip decoder", "t5", "imagen", "ldm"):
        return lambda generator: tiny.batch(name, seed=generator.initial_seed() % 100)
    if name in ("clip", "noisy clip"):
        made, other = tiny.batch(name, count=8)
        other = other if isinstance(other, torch.Tensor) else tiny.system("clip").tokens(other)
        return shuffled(made, other, batch=4)
    made = tiny.batch(name, count=8)
    return shuffled(*(made if isinstance(made, tuple) else (made,)), batch=4)


def everything(module):
    return list(module.state_dict().values())


@pytest.mark.parametrize("name", [name for name in tiny.SYSTEMS if "," not in name])
def test_three_steps(alike, name):
    def work(device):
        system = tiny.system(name, device)
        steps = list(train(system, batches(name), steps=3, warmup=1, ema=0.5))
        losses = [step.loss for step in steps]
        return losses, everything(system), everything(steps[-1].ema)

    alike(work)


def test_a_run_that_was_stopped_goes_on_there(alike, tmp_path):
    def work(device):
        path, settings = tmp_path / f"{device}.safetensors", {"steps": 5, "warmup": 1}
        first = train(
            tiny.system("adm", device), batches("adm"), checkpoint=path, save_every=2, **settings
        )
        for step in first:
            if step.step == 3:  # saved at 2
                break
        again = tiny.system("adm", device)
        *_, last = train(again, batches("adm"), checkpoint=path, save_every=2, **settings)
        straight = tiny.system("adm", device)
        *_, expected = train(straight, batches("adm"), **settings)
        for ours, theirs in zip(everything(again), everything(straight)):
            assert torch.equal(ours, theirs)
        return last.loss, expected.loss, everything(again), everything(last.ema)

    alike(work)


def test_a_run_begun_on_one_device_goes_on_on_another(place, tmp_path):
    for first, second in ((place.device, "cpu"), ("cpu", place.device)):
        path, settings = tmp_path / f"{first}.safetensors", {"steps": 4, "save_every": 2}
        for step in train(tiny.system("ddpm", first), batches("ddpm"), checkpoint=path, **settings):
            if step.step == 3:  # saved at 2
                break
        again = tiny.system("ddpm", second)
        *_, last = train(again, batches("ddpm"), checkpoint=path, **settings)
        assert last.step == 4
        assert {each.device.type for each in everything(again)} == {second}


def test_weights_saved_there_are_read_on_a_cpu(place, tmp_path):
    system = tiny.system("adm", place.device)
    checkpoint.save(tmp_path / "weights.safetensors", system.state_dict(), {})
    tensors, _ = checkpoint.load(tmp_path / "weights.safetensors")
    for name, expected in tiny.system("adm").state_dict().items():
        assert tensors[name].device.type == "cpu" and torch.equal(tensors[name], expected)


def test_a_system_on_the_cpu_is_trained_there_whatever_else_is_here(place):
    system = tiny.system("ddpm")
    *_, last = train(system, batches("ddpm"), steps=2)
    assert {each.device.type for each in everything(system) + everything(last.ema)} == {"cpu"}
    if place.machine:
        assert not place.machine.copies


def test_the_command_line_trains_and_samples_on_the_device_it_is_told(place, tmp_path, monkeypatch):
    short = replace(recipes.RECIPES["adm-digits"], training={"steps": 2, "lr": 1e-3})
    monkeypatch.setitem(recipes.RECIPES, "adm-digits", short)
    there, seen = [], zoo.train

    def watched(*args, **options):
        for step in seen(*args, **options):
            there.append({weight.device.type for weight in step.ema.parameters()})
            yield step

    monkeypatch.setattr(zoo, "train", watched)
    weights, grid = tmp_path / "mine.safetensors", tmp_path / "grid.png"
    for command in (
        ["train", "adm-digits", "--out", weights],
        ["sample", "adm-digits", "--weights", weights, "--number", 4, "--steps", 2, "--out", grid],
    ):
        told = CliRunner().invoke(main, [*map(str, command), "--device", place.device])
        assert told.exit_code == 0, told.output
    assert there == [{place.device}] * 2 and grid.exists()
