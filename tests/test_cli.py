"""The command's own decisions: where it computes, what it goes on with, what it calls a class."""

import errno
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from labkit import checkpoint, devices, zoo
from labkit.cli import main
from labkit.lab import plots
from labkit.nets.unet import UNetConfig
from labkit.prompts import numbered
from labkit.recipes import Recipe
from labkit.recipes.digits import digit_class_batches
from labkit.systems.adm import ADM, ADMConfig

NET = UNetConfig(size=8, channels=3, width=8, multipliers=(1,), blocks=1, groups=4, vector=2)


def run(*line):
    return CliRunner().invoke(main, [str(word) for word in line])


@pytest.fixture
def flowers(monkeypatch, tmp_path):
    """A recipe of two classes, and two folders of pictures to train it on."""
    made = Recipe(
        about="flowers", system=ADM, config=ADMConfig(NET, T=20), batches=digit_class_batches,
        training={"steps": 4, "lr": 1e-3},
    )  # fmt: skip
    monkeypatch.setitem(zoo.RECIPES, "flowers", made)
    monkeypatch.chdir(tmp_path)
    for folder, colors in (("mine", ("red", "pink")), ("yours", ("blue", "white"))):
        for name, color in zip(("rose", "tulip"), colors):
            (tmp_path / folder / name).mkdir(parents=True)
            Image.new("RGB", (8, 8), color).save(tmp_path / folder / name / "1.png")
    return tmp_path


def stop_after(step: int, pictures: str) -> None:
    """What a run leaves that was stopped there."""
    for done in zoo.train("flowers", "flowers.safetensors", save_every=1, pictures=pictures):
        if done.step == step:
            return


def test_a_stopped_run_goes_on_says_so_and_ends_in_a_file_that_says_all(flowers):
    stop_after(2, "mine")
    done = run("train", "flowers", "--pictures", "mine")
    assert done.exit_code == 0, done.output
    assert "going on with flowers.safetensors.run" in done.output and "4/4" in done.output
    assert "labkit sample flowers.safetensors" in done.output
    assert zoo.load(path="flowers.safetensors").names == ("rose", "tulip")


def test_a_run_on_other_pictures_is_not_gone_on_with(flowers):
    stop_after(2, "mine")
    refused = run("train", "flowers", "--pictures", "yours")
    assert refused.exit_code == 1 and "other data" in refused.output, refused.output
    assert checkpoint.read_about("flowers.safetensors.run")["step"] >= 1


def test_classes_of_other_names_are_other_data(flowers):
    stop_after(2, "mine")
    (flowers / "mine" / "tulip").rename(flowers / "mine" / "violet")
    refused = run("train", "flowers", "--pictures", "mine")
    assert refused.exit_code == 1 and "tulip" in refused.output and "violet" in refused.output


def test_overwriting_begins_anew_and_what_it_began_can_go_on(flowers):
    (flowers / "flowers.safetensors").write_text("old")
    stop_after(2, "mine")
    done = run("train", "flowers", "--pictures", "yours", "--overwrite")
    assert done.exit_code == 0, done.output
    assert not (flowers / "flowers.safetensors.run").exists()
    before = (flowers / "flowers.safetensors").read_bytes()
    stop_after(2, "mine")  # as an --overwrite that was stopped leaves it
    done = run("train", "flowers", "--pictures", "mine")
    assert done.exit_code == 0, done.output
    assert (flowers / "flowers.safetensors").read_bytes() != before


def test_a_mistake_beside_overwrite_destroys_no_run(flowers):
    stop_after(2, "mine")
    assert run("train", "flowers", "--pictures", "nowhere", "--overwrite").exit_code == 1
    assert run("train", "flowers", "--device", "cudda", "--overwrite").exit_code == 1
    assert checkpoint.read_about("flowers.safetensors.run")["step"] >= 1


def test_a_file_alone_is_sampled_by_the_names_of_its_classes(flowers):
    assert run("train", "flowers", "--pictures", "mine").exit_code == 0
    for label in ("tulip", "1"):
        line = ["sample", "flowers.safetensors", "--label", label, "--number", 2, "--steps", 2]
        drawn = run(*line, "--out", f"{label}.png")
        assert drawn.exit_code == 0, drawn.output
    assert (flowers / "tulip.png").read_bytes() == (flowers / "1.png").read_bytes()
    refused = run("sample", "flowers.safetensors", "--label", "tulp", "--out", "none.png")
    assert refused.exit_code == 1 and "did you mean 'tulip'" in refused.output


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cudda", "did you mean 'cuda'"),
        ("gpu", "choose one of cpu, cuda, mps"),
        ("cuda:x", "unknown device"),
        ("cuda:1", "has 1 of that kind"),
        ("mps", "has none"),
        ("cpu:1", "has 1 of that kind"),
    ],
)
def test_a_device_that_is_misspelt_or_not_here_gets_one_sentence(name, words, monkeypatch):
    monkeypatch.setitem(devices.COUNTS, "cuda", lambda: 1)
    monkeypatch.setitem(devices.COUNTS, "mps", lambda: 0)
    with pytest.raises(ValueError, match=words):
        devices.named(name)
    assert devices.named("cuda:0") == torch.device("cuda", 0)
    refused = run("sample", "ddpm-digits", "--device", name)
    assert refused.exit_code == 1 and words in refused.output
    assert len(refused.output.splitlines()) == 1


def test_the_cpu_is_the_default_and_something_faster_is_only_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    line = ["sample", "ddpm-digits", "--number", 1, "--steps", 1, "--overwrite"]
    assert "faster" not in run(*line).output
    monkeypatch.setitem(devices.COUNTS, "mps", lambda: 1)
    told = run(*line)
    assert told.exit_code == 0 and "mps is here and faster: --device mps" in told.output
    assert "faster" not in run(*line, "--device", "cpu").output


def test_asking_for_help_imports_no_torch():
    code = (
        "import sys; from click.testing import CliRunner; from labkit.cli import main;"
        "CliRunner().invoke(main, ['train', '--help']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_a_system_of_several_parts_draws_what_sentences_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = ["sample", "sdg-scenes", "--number", 2, "--steps", 2, "--prompt", "a red star"]
    drawn = run(*line, "--prompt", "a blue disc", "--scale", 50)
    assert drawn.exit_code == 0, drawn.output
    guide = zoo.load("sdg-scenes")
    *_, last = guide.generate(["a red star", "a blue disc"], steps=2, scale=50.0)
    plots.image_grid(last.pictures).savefig("again.png")
    assert Image.open("grid.png").size == Image.open("again.png").size
    *_, other = guide.generate(["a red star", "a red star"], steps=2, scale=50.0)
    assert torch.equal(other.pictures[0], last.pictures[0])
    assert not torch.equal(other.pictures[1], last.pictures[1])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (["sdg-scenes"], "hears sentences: give one"),
        (["sdg-scenes", "--prompt", "a zebra"], "zebra"),
        (["sdg-scenes", "--prompt", "a star", "--label", "1"], "leave out --label"),
        (["ddpm-digits", "--prompt", "a star"], "hears no condition: leave out --prompt"),
        (["ddpm-digits", "--scale", "2"], "leave out --scale"),
        (["adm-digits", "--prompt", "seven"], "hears classes: leave out --prompt"),
        (["sdg-scenes", "--weights", "mine.safetensors", "--prompt", "a star"], "is not there"),
    ],
)
def test_what_a_system_does_not_hear_is_refused(line, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = run("sample", *line)
    assert refused.exit_code == 1 and words in refused.output
    assert not list(tmp_path.iterdir())


def test_what_is_made_of_parts_is_listed_as_such_and_not_trained_as_a_whole():
    assert "sdg-scenes  (made of ddpm-scenes, noisy-clip-scenes, clip-scenes)" in run("list").output
    refused = run("train", "sdg-scenes")
    assert refused.exit_code == 1 and "train its parts" in refused.output


def sampled(*line, **options):
    words = ["sample", *line, "--steps", 1, "--number", options.pop("number", 2)]
    return CliRunner().invoke(main, [str(word) for word in words], **options)


def told(result) -> str:
    """The one line of an error."""
    (line,) = [row for row in result.output.splitlines() if row.startswith("Error")]
    return line


def test_the_line_that_training_ends_with_can_be_typed_whatever_the_file_is_called(flowers):
    done = run("train", "flowers", "--pictures", "mine", "--out", "my flowers")
    assert done.exit_code == 0, done.output
    line = done.stdout.splitlines()[-1].partition(": labkit ")[2]
    assert shlex.split(line) == ["sample", "my flowers"]
    drawn = run(*shlex.split(line), "--number", 2, "--steps", 1)
    assert drawn.exit_code == 0 and Path("grid.png").exists(), drawn.output


def test_a_system_that_draws_nothing_is_not_offered_for_sampling(flowers, monkeypatch):
    made = replace(zoo.recipe("classifier-digits"), training={"steps": 1})
    monkeypatch.setitem(zoo.RECIPES, "judge", made)
    assert run("train", "judge").stdout.splitlines()[-1] == "judge.safetensors is written"


def test_a_home_folder_may_be_written_with_a_tilde(flowers, monkeypatch):
    monkeypatch.setenv("HOME", str(flowers))
    monkeypatch.setenv("USERPROFILE", str(flowers))
    done = run("train", "flowers", "--pictures", "~/mine", "--out", "~/sub/f.safetensors")
    assert done.exit_code == 0 and (flowers / "sub" / "f.safetensors").exists(), done.output
    done = sampled("flowers", "--weights", "~/sub/f.safetensors", "--out", "~/sub/f.png")
    assert done.exit_code == 0 and (flowers / "sub" / "f.png").exists(), done.output
    assert not (flowers / "~").exists()


@pytest.mark.parametrize(
    "line, words",
    [
        (["train", "flowers", "--out", ""], "is empty"),
        (["train", "flowers", "--pictures", ""], "is empty"),
        (["train", "flowers", "--out", "mine"], "mine is a folder"),
        (["sample", "adm-digits", "--label=3", "--label=4", "--number=1"], "raise --number"),
        (["sample", "sdg-scenes", "--prompt", ""], "--prompt is empty"),
        (["sample", "file", "--weights", "file"], "leave out --weights"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused_before_any_work(flowers, monkeypatch, line, words):
    monkeypatch.setattr(ADM, "loss", lambda *_: pytest.fail("a step was trained"))
    (flowers / "file").write_text("")
    refused = run(*line)
    assert refused.exit_code and words in told(refused), refused.output
    assert not list(flowers.glob("*.run"))


def test_where_names_are_numbers_only_names_count():
    system = zoo.load("adm-digits")
    system.names = tuple(map(str, range(1, 11)))
    assert numbered("1", system) == 0 and numbered("10", system) == 9
    with pytest.raises(ValueError, match="unknown class '0'"):
        numbered("0", system)


def test_a_name_of_a_class_is_found_however_its_accents_are_written():
    system = zoo.load("adm-digits")
    system.names = ("caf\u00e9", *"abcdefghi")
    assert numbered("cafe\u0301", system) == 0


def test_a_disk_that_is_full_leaves_the_old_picture_whole(flowers, monkeypatch):
    def full(path, data):
        path.write_bytes(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    (flowers / "grid.png").write_text("mine")
    monkeypatch.setattr(checkpoint, "write", full)
    refused = sampled("ddpm-digits", "--overwrite")
    assert refused.exit_code == 1 and "grid.png could not be written" in told(refused)
    assert (flowers / "grid.png").read_text() == "mine"


def test_a_terminal_that_cannot_show_a_name_is_no_error_after_the_work(flowers):
    done = CliRunner(charset="cp1252").invoke(
        main, ["sample", "ddpm-digits", "--number", "1", "--steps", "1", "--out", "\u732b.png"]
    )
    assert done.exit_code == 0 and (flowers / "\u732b.png").exists()
    assert done.stdout.splitlines()[-1] == r"\u732b.png holds 1 picture"
