"""The zoo: a name stands for a recipe, and for the weights that it gave, which come with labkit.

    system = zoo.load("ddpm-digits")
    for step in zoo.train("ddpm-digits", "mine.safetensors"): ...

The recipes themselves stand in `labkit.recipes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import torch
from torch import nn

from labkit import checkpoint, devices, model_file
from labkit import train as training
from labkit.data import folders
from labkit.data.pictures import Pictures
from labkit.inputs import one_of
from labkit.recipes import RECIPES, Recipe
from labkit.systems.perceptual import PerceptualLoss

WEIGHTS = Path(__file__).parent / "weights"


def names() -> list[str]:
    """What there is to load, sorted."""
    return sorted(RECIPES)


def recipe(name: str) -> Recipe:
    """The recipe of that name. ValueError, with the nearest name, if there is none."""
    return RECIPES[one_of(name, RECIPES, "system")]


def build(name: str) -> nn.Module:
    """The system of that name, untrained: its initial weights are drawn with the recipe's seed, or
    taken from the system that it begins from."""
    made = trainable(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(made.training.get("seed", 0))
        system = made.system(made.config)
    if made.names:
        system.names = made.names
    if made.begins_from:
        system.begin_from(load(made.begins_from))
    if made.fits:
        system.fit(*made.fits(load(made.teacher)))
    for other, weight in made.perceptual.items():
        system.perceptual = PerceptualLoss(load(other), weight)
    return system


def load(name: str | None = None, path: str | Path | None = None) -> nn.Module:
    """The system of that name with trained weights, on the CPU, ready to use: the shipped ones, or
    those that `save` or `labkit train` wrote to ``path``. With a path alone, the system is built
    from what the file says (`labkit.model_file`). One that knows classes has their ``names``; one
    of several parts is put together from those that are shipped, unless it has a file of its own.

    Raises ValueError for an unknown name or a file that does not belong to it, and
    FileNotFoundError where no weights are.
    """
    if name is None and path is not None:
        return model_file.load(path)
    made = recipe(name)
    if made.parts and path is None:
        loaded = {other: load(other) for other in set(made.parts.values())}  # each but once
        return made.system(**{part: loaded[other] for part, other in made.parts.items()}).eval()
    if path is None and not (WEIGHTS / f"{name}.safetensors").exists():
        raise FileNotFoundError(
            f"{name} comes without weights; train it with `labkit train {name}` and give the file "
            "that this writes"
        )
    path = Path(path or WEIGHTS / f"{name}.safetensors")
    tensors, about = checkpoint.load(path)
    if about.get("name") != name:
        raise ValueError(
            f"{path} holds {about.get('name') or model_file.what(about)}, not {name}; give "
            f"the file that `labkit train {name}` or zoo.save wrote."
        )
    if not follows(made, about, path):
        raise ValueError(
            f"{path} was trained with another configuration of {name} than this version of labkit "
            "has; train it again, or load it by its path alone: zoo.load(path=...)"
        )
    return model_file.built(tensors, about, path)


def follows(made: Recipe, about: dict, path: str | Path) -> bool:
    """Whether a file describes the system of that recipe, configurations and all."""
    if about.get("system") != made.system.__name__:
        return False
    if made.parts:
        described = about.get("parts", {})
        return described.keys() == made.parts.keys() and all(
            follows(recipe(other), described[part], path) for part, other in made.parts.items()
        )
    return model_file.config_of(made.system, about, path) == made.config


def save(name: str, system: nn.Module, path: str | Path, **facts) -> None:
    """Writes the weights in half precision, with the recipe and whatever else there is to say."""
    model_file.save(path, system, name=name, training=recipe(name).training, **facts)


def run_of(path: str | Path) -> Path:
    """Where `train` keeps what is needed to go on after a stop, until ``path`` is written."""
    return Path(path).with_name(Path(path).name + ".run")


def train(
    name: str,
    path: str | Path,
    save_every: int = 500,
    pictures: str | Path | Pictures | None = None,
    device: str | torch.device = "cpu",
    overwrite: bool = False,
) -> Iterator[training.Step]:
    """Follows the recipe on that device and writes the result to ``path``. What is needed to go on
    after a stop lies beside it (``.run``) until then; starting again goes on from there, and with
    ``overwrite`` begins anew.

    pictures: a folder or zip of your own pictures to train on, or what `own_pictures` made of it.
    """
    made, path, device = trainable(name), Path(path).expanduser(), devices.named(device)
    if path.is_dir():  # as "" is
        raise ValueError(f"{path} is a folder, but must be the file to write the weights to")
    state, system = run_of(path), build(name)
    if pictures:
        found = pictures if isinstance(pictures, Pictures) else own_pictures(name, pictures)
        batches, system.names = found.batches(128), found.names
    else:
        batches = batches_of(made, device)
    steps = training.train(
        system.to(device), batches, checkpoint=state, save_every=save_every, **made.training
    )
    if overwrite:
        state.unlink(missing_ok=True)
    with closing(steps):  # what it has done is saved, however this ends
        for step in steps:
            if step.step == made.training["steps"]:
                save(name, step.ema, path, step=step.step, loss=step.loss)
                state.unlink(missing_ok=True)
            yield step


def trainable(name: str) -> Recipe:
    """The recipe of that name. ValueError for a system that is made of others."""
    made = recipe(name)
    if made.parts:
        raise ValueError(
            f"{name} is not trained as a whole: train its parts, {', '.join(made.parts.values())}"
        )
    return made


def batches_of(made: Recipe, device: str | torch.device = "cpu") -> training.Batches:
    """What the recipe shows to its system; its teacher, if it has one, works on that device."""
    return made.batches(load(made.teacher).to(device)) if made.teacher else made.batches()


def own_pictures(name: str, path: str | Path) -> Pictures:
    """The pictures in a folder or zip, for a class-conditional system.

    Raises ValueError for another system, and unless there is a folder for each of its classes.
    """
    made = recipe(name)
    able = [other for other in names() if getattr(RECIPES[other].system, "hears", "") == "classes"]
    if getattr(made.system, "hears", None) != "classes":
        raise ValueError(
            f"{name} does not learn from pictures by class; these do: {', '.join(able)}"
        )
    net = made.config.net
    found = folders.load(path, net.size, net.channels)
    if len(found.names) != net.vector:
        raise ValueError(
            f"{path} holds {len(found.names)} classes, but {name} tells {net.vector} apart: give a "
            f"folder of pictures for each. Found in {found.report}"
        )
    return found
