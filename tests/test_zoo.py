"""The zoo: names, recipes, and that what ships draws digits; the commands over it."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from benchmarks import valid_scenes
from labkit import checkpoint, metrics, zoo
from labkit.cli import main
from labkit.data import digits
from labkit.nets.unet import UNetConfig
from labkit.recipes import Recipe
from labkit.recipes.digits import digit_batches
from labkit.systems.adm import ADM, ADMConfig
from labkit.systems.ddpm import DDPM, DDPMConfig

DDPMS = ["ddpm-digits", "ddpm-digits-learned-variance"]
TINY = Recipe(
    about="nothing much",
    system=DDPM,
    config=DDPMConfig(
        UNetConfig(size=16, channels=1, width=8, multipliers=(1,), blocks=1, groups=4, fold=4), T=20
    ),
    batches=digit_batches,
    training={"steps": 4, "lr": 1e-3},
)


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    monkeypatch.setitem(zoo.RECIPES, "tiny", TINY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def weights(system) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in system.parameters()])


def test_every_recipe_ships_its_weights_and_loads():
    trained = {name for name in zoo.names() if not zoo.recipe(name).parts}
    assert {file.stem for file in zoo.WEIGHTS.glob("*.safetensors")} == trained
    for name in zoo.names():
        system = zoo.load(name)
        assert isinstance(system, zoo.recipe(name).system)
        assert not system.training and weights(system).isfinite().all()


def test_a_recipe_without_weights_says_how_to_get_them(tiny):
    with pytest.raises(FileNotFoundError, match="labkit train tiny"):
        zoo.load("tiny")


def test_most_pictures_drawn_by_the_shipped_model_with_fresh_noise_are_scenes():
    model, reader = zoo.load("ddpm-scenes"), zoo.load("reader-scenes")
    share, _ = valid_scenes.evaluate(model, reader, eta=1.0, steps=25, samples=160, seed=0)
    assert share > 0.85


def test_the_shipped_photographs_take_after_their_classes():
    labels = [8] * 12 + [6] * 12
    *_, last = zoo.load("adm-cifar10").generate(labels, steps=10, scale=2.0, seed=0)
    ships, frogs = (last.x.mean((2, 3)) + 1).split(12)  # (12, 3) each: mean red, green and blue
    bluer = lambda colors: (colors[:, 2] / colors.sum(1)).mean()  # noqa: E731
    assert bluer(ships) > bluer(frogs) + 0.03


def test_all_shipped_weights_together_stay_small():
    """About half of the download of torch's small build, for thirty networks."""
    assert sum(file.stat().st_size for file in zoo.WEIGHTS.glob("*.safetensors")) < 100e6


@pytest.mark.parametrize("name", DDPMS)
def test_the_shipped_weights_draw_all_ten_digits_so_that_they_are_recognized(name):
    *_, last = zoo.load(name).generate(250, steps=25, seed=0)
    seen = metrics.see(zoo.load("classifier-digits"), last.x)
    real = metrics.see(zoo.load("classifier-digits"), digits.load(16)[0])
    assert metrics.confidence(seen.probs) > 0.9
    assert metrics.class_use(seen.probs) > 9.5
    assert metrics.frechet_distance(real.features, seen.features) < 0.03


@pytest.mark.parametrize("name", DDPMS)
def test_the_file_says_how_it_was_made(name):
    about = checkpoint.read_about(zoo.WEIGHTS / f"{name}.safetensors")
    made = zoo.recipe(name)
    assert about["name"] == name and about["training"] == made.training
    assert about["step"] == made.training["steps"]
    assert DDPMConfig(**about["config"]) == made.config


def test_the_same_seed_draws_the_same_pictures():
    system = zoo.load("ddpm-digits")
    first, again, other = ([*system.generate(2, steps=3, seed=s)][-1].x for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == (2, 1, 16, 16) and first.abs().max() <= 1


def test_building_draws_the_recipes_own_weights_and_leaves_the_random_numbers_alone(tiny):
    before = torch.get_rng_state()
    one, two = zoo.build("tiny"), zoo.build("tiny")
    assert torch.equal(weights(one), weights(two))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_variance_learned_from_the_bound_lies_between_the_two_fixed_ones():
    """Beyond them only a little, and most of all at the first times, where they are far apart."""
    denoiser = zoo.load(DDPMS[1]).denoiser
    real, table = digits.load(16)[0][:64], denoiser.schedule
    for t in (5, 20, 100, 300, 600):
        eps = torch.randn(real.shape, generator=torch.Generator().manual_seed(t))
        with torch.no_grad():
            chosen = denoiser(table.diffuse(real, t, eps), t).var_frac
        assert -0.5 < chosen.mean() < 1.5


def test_training_a_recipe_leaves_one_file_that_loads(tiny):
    losses = [step.loss for step in zoo.train("tiny", "mine.safetensors")]
    assert len(losses) == 4
    assert [file.name for file in tiny.iterdir()] == ["mine.safetensors"]
    assert zoo.load("tiny", "mine.safetensors").generate(1, steps=2)
    tensors, about = checkpoint.load("mine.safetensors")
    assert about["step"] == 4 and {t.dtype for t in tensors.values()} == {torch.float16}


def test_training_goes_on_where_it_was_stopped(tiny):
    list(zoo.train("tiny", "whole.safetensors"))
    for step in zoo.train("tiny", "parts.safetensors", save_every=1):
        if step.step == 2:
            break
    steps = [step.step for step in zoo.train("tiny", "parts.safetensors", save_every=1)]
    assert steps[-1] == 4 and steps[0] in (2, 3)
    whole, parts = (checkpoint.load(f"{n}.safetensors")[0] for n in ("whole", "parts"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def run(*line):
    return CliRunner().invoke(main, [str(word) for word in line])


def test_the_commands_list_train_and_sample(tiny):
    listed = run("list")
    assert listed.exit_code == 0 and all(name in listed.output for name in zoo.names())
    trained = run("train", "tiny")
    assert trained.exit_code == 0 and "4/4" in trained.output, trained.output
    drawn = run("sample", "tiny", "--weights", "tiny.safetensors", "--number", 4, "--steps", 2)
    assert drawn.exit_code == 0, drawn.output
    assert (tiny / "grid.png").read_bytes().startswith(b"\x89PNG")


def test_nothing_is_replaced_unless_told(tiny):
    run("train", "tiny")
    before = (tiny / "tiny.safetensors").read_bytes()
    assert run("train", "tiny").exit_code == 1
    assert (tiny / "tiny.safetensors").read_bytes() == before
    assert run("train", "tiny", "--overwrite").exit_code == 0
    assert (tiny / "tiny.safetensors").read_bytes() == before  # the same recipe, the same bytes


def test_sampling_from_the_command_draws_the_shipped_digits(tiny):
    result = run("sample", "ddpm-digits", "--out", "folder/digits.png", "--number", 9, "--steps", 3)
    assert result.exit_code == 0, result.output
    assert (tiny / "folder/digits.png").exists()


def test_the_conditional_system_draws_the_labels_it_is_asked_for(tiny):
    shown = run("sample", "adm-digits", "--number", 3, "--steps", 2, "--label", 7, "--scale", 2)
    assert shown.exit_code == 0, shown.output
    assert run("sample", "adm-digits", "--number", 0).exit_code == 2
    for wrong in (["adm-digits", "--label", 10], ["ddpm-digits", "--label", 1]):
        refused = run("sample", *wrong, "--out", "none.png")
        assert refused.exit_code == 1 and refused.output.startswith("Error: ")
    assert not (tiny / "none.png").exists()


def test_a_folder_of_your_own_pictures_can_be_trained_on(tiny, monkeypatch):
    net = replace(TINY.config.net, size=8, channels=3, vector=2)
    made = replace(TINY, system=ADM, config=ADMConfig(net, T=20), training={"steps": 2, "lr": 1e-3})
    monkeypatch.setitem(zoo.RECIPES, "tiny-adm", made)
    for name in ("tulip", "rose", "more/tulip"):
        (tiny / "flowers" / name).mkdir(parents=True)
        Image.new("RGB", (9, 12), "red").save(tiny / "flowers" / name / "1.png")
    trained = run("train", "tiny-adm", "--pictures", "flowers")
    assert trained.exit_code == 0, trained.output
    assert zoo.load("tiny-adm", "tiny-adm.safetensors").classes == 2


def test_pictures_that_do_not_fit_the_recipe_are_refused_in_a_sentence(tiny):
    (tiny / "flowers" / "rose").mkdir(parents=True)
    Image.new("RGB", (9, 9)).save(tiny / "flowers" / "rose" / "1.png")
    few = run("train", "adm-cifar10", "--pictures", "flowers")
    assert "holds 1 classes, but adm-cifar10 tells 10 apart" in few.output
    unlabeled = run("train", "tiny", "--pictures", "flowers")
    assert "does not learn from pictures by class" in unlabeled.output
    missing = run("train", "adm-cifar10", "--pictures", "nowhere")
    assert "no folder and no zip" in missing.output
    assert {few.exit_code, unlabeled.exit_code, missing.exit_code} == {1}


def test_importing_the_zoo_imports_no_notebook_or_plotting_library():
    heavy = ["matplotlib", "ipywidgets", "sklearn"]
    code = f"import sys, labkit.zoo; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
