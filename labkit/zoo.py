"""The zoo: a name stands for a recipe, and for the weights that it gave, which come with labkit.

    system = zoo.load("ddpm-digits")
    for step in zoo.train("ddpm-digits", "mine.safetensors"): ...

The recipes themselves stand in `labkit.recipes`.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from labkit import checkpoint
from labkit import train as training
from labkit.data import folders
from labkit.inputs import one_of
from labkit.recipes import RECIPES, Recipe
from labkit.systems.adm import ADM

WEIGHTS = Path(__file__).parent / "weights"


def names() -> list[str]:
    """What there is to load, sorted."""
    return sorted(RECIPES)


def recipe(name: str) -> Recipe:
    """The recipe of that name. ValueError, with the nearest name, if there is none."""
    return RECIPES[one_of(name, RECIPES, "system")]


def build(name: str) -> nn.Module:
    """The system of that name, untrained: its initial weights are drawn with the recipe's seed, or
    taken from its teacher."""
    made = recipe(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(made.training.get("seed", 0))
        system = made.system(made.config)
    if made.teacher:
        system.begin_from(load(made.teacher))
    return system


def load(name: str, path: str | Path | None = None) -> nn.Module:
    """The system of that name with trained weights, ready to use: the shipped ones, or those that
    `save` or `labkit train` wrote to ``path``.

    Raises ValueError for an unknown name or a file that does not belong to it, and
    FileNotFoundError where no weights are.
    """
    made = recipe(name)
    if path is None and not (WEIGHTS / f"{name}.safetensors").exists():
        raise FileNotFoundError(
            f"{name} comes without weights; train it with `labkit train {name}` and give the file "
            "that this writes"
        )
    path = Path(path or WEIGHTS / f"{name}.safetensors")
    tensors, about = checkpoint.load(path)
    if about.get("name") != name:
        raise ValueError(
            f"{path} holds {about.get('name') or 'a run that is not finished'}, not {name}; give "
            f"the file that `labkit train {name}` wrote at its end."
        )
    if about["config"] != plain(made.config):
        raise ValueError(
            f"{path} was trained with another configuration of {name} than this version of labkit "
            f"has; train it again with `labkit train {name}`."
        )
    system = made.system(made.config)
    checkpoint.fill(system, {key: tensor.float() for key, tensor in tensors.items()}, path)
    return system.eval()


def save(name: str, system: nn.Module, path: str | Path, **facts) -> None:
    """Writes the weights in half precision, with the recipe and whatever else there is to say."""
    made = recipe(name)
    tensors = {key: tensor.half() for key, tensor in system.state_dict().items()}
    about = {"name": name, "config": plain(made.config), "training": made.training, **facts}
    checkpoint.save(path, tensors, about)


def plain(config) -> dict:
    """A configuration as JSON would give it back: lists for tuples."""
    return {key: unfold(value) for key, value in asdict(config).items()}


def unfold(value):
    if isinstance(value, dict):
        return {key: unfold(inner) for key, inner in value.items()}
    return [unfold(inner) for inner in value] if isinstance(value, list | tuple) else value


def train(
    name: str, path: str | Path, save_every: int = 500, pictures: str | Path | None = None
) -> Iterator[training.Step]:
    """Follows the recipe and writes the result to ``path``. What is needed to go on after a stop
    lies beside it (``.run``) until then; starting again goes on from there.

    pictures: a folder or zip of your own pictures to train on, see `own_pictures`.
    """
    made, path = recipe(name), Path(path)
    state = path.with_name(path.name + ".run")
    batches = own_pictures(name, pictures) if pictures else batches_of(made)
    steps = training.train(
        build(name), batches, checkpoint=state, save_every=save_every, **made.training
    )
    for step in steps:
        if step.step == made.training["steps"]:
            save(name, step.ema, path, step=step.step, loss=step.loss)
            state.unlink()
        yield step


def batches_of(made: Recipe) -> training.Batches:
    """What the recipe shows to its system."""
    return made.batches(load(made.teacher)) if made.teacher else made.batches()


def own_pictures(name: str, path: str | Path) -> training.Batches:
    """128 at a time of the pictures in a folder or zip, for a system that is told classes.

    Raises ValueError for another system, and unless there is a folder for each of its classes.
    """
    made = recipe(name)
    if made.system is not ADM:
        able = [other for other in names() if RECIPES[other].system is ADM]
        raise ValueError(
            f"{name} does not learn from pictures by class; these do: {', '.join(able)}"
        )
    net = made.config.net
    found = folders.load(path, net.size, net.channels)
    if len(found.names) != net.vector:
        raise ValueError(
            f"{path} holds {len(found.names)} classes, but {name} tells {net.vector} apart: give a "
            "folder of pictures for each"
        )
    return found.batches(128)
