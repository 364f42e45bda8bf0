"""The zoo: a name stands for a recipe, and for the weights that it gave, which come with labkit.

    system = zoo.load("ddpm-digits")
    for step in zoo.train("ddpm-digits", "mine.safetensors"): ...

A recipe is data: what is built, what it is shown, for how long. Training it again with the same
seed on the same machine gives the shipped file again.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from labkit import checkpoint
from labkit import train as training
from labkit.data import digits, folders, openml, pairs, scenes
from labkit.inputs import one_of
from labkit.nets.classifier import Classifier, ClassifierConfig, shifted
from labkit.nets.noisy_classifier import NoisyClassifierConfig
from labkit.nets.reader import Reader, ReaderConfig, weathered
from labkit.nets.resnet import ResNetConfig
from labkit.nets.transformer import TextConfig
from labkit.nets.unet import UNetConfig
from labkit.systems.adm import ADM, ADMConfig, NoisyGuide, NoisyGuideConfig
from labkit.systems.clip import CLIP, CLIPConfig
from labkit.systems.ddpm import DDPM, DDPMConfig

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Recipe:
    """What it takes to make one of the shipped systems."""

    about: str  # one line for a list
    system: type[nn.Module]  # built as system(config)
    config: Any  # a frozen dataclass
    batches: Callable[[], training.Batches]
    training: dict[str, Any] = field(default_factory=dict)  # what `labkit.train.train` is told
    minutes: float = 0.0  # of processor time that training took, measured; two cores share it


def digit_batches() -> training.Batches:
    """128 real digits at a time, 16 x 16 pixels."""
    images, _ = digits.load(16)
    return training.shuffled(images, batch=128)


def digit_class_batches(split: str = "all") -> training.Batches:
    """128 real digits and their labels at a time, 16 x 16 pixels."""
    return training.shuffled(*digits.load(16, split), batch=128)


def photo_batches() -> training.Batches:
    """128 of CIFAR-10's photographs and their labels at a time, half of them mirrored."""
    return openml.load("cifar10").batches(128, flip=True)


def labeled_digit_batches() -> training.Batches:
    """64 real digits and their labels at a time, each digit shifted by up to a pixel; the last 360
    are held out, so that what the classifier knows can be checked."""
    draw = training.shuffled(*digits.load(16, "train"), batch=64)

    def batches(generator: torch.Generator):
        images, labels = draw(generator)
        return shifted(images, 1, generator), labels

    return batches


def weathered_scene_batches() -> training.Batches:
    """64 new scenes at a time, 32 x 32 pixels, some of them blurred or noisy, as samples are."""
    draw = scenes.batches(64, 32, "all")

    def batches(generator: torch.Generator):
        made = draw(generator)
        return made._replace(pictures=weathered(made.pictures, generator))

    return batches


SMALL = UNetConfig(
    size=16, channels=1, width=48, multipliers=(1, 1), blocks=1, attention=(), groups=8,
    film=True, fold=4,
)  # fmt: skip

RECIPES = {
    "ddpm-digits": Recipe(
        about="handwritten digits of 16 x 16 pixels, from noise (lessons 03 and 04)",
        system=DDPM,
        config=DDPMConfig(SMALL, predicts="x0"),
        batches=digit_batches,
        training={"steps": 12_000, "lr": 2e-3},
        minutes=16,
    ),
    # It predicts v: an x0 that is a little wrong at small t would cost the bound so many bits that
    # its gradient ruined the network (we tried).
    "ddpm-digits-learned-variance": Recipe(
        about="the same, but it also learns how much noise each step needs (lesson 03)",
        system=DDPM,
        config=DDPMConfig(replace(SMALL, learned_variance=True), predicts="v"),
        batches=digit_batches,
        training={"steps": 4_000, "lr": 3e-3},
        minutes=6,
    ),
    "adm-digits": Recipe(
        about="handwritten digits by class, or of no class in particular (lessons 05 and 06)",
        system=ADM,
        config=ADMConfig(
            replace(SMALL, vector=10, attention=(4, 2), head_channels=16, residual_resampling=True),
            predicts="x0",
            null_share=0.15,
        ),
        batches=digit_class_batches,
        training={"steps": 3_000, "lr": 2e-3},
        minutes=7,
    ),
    "adm-cifar10": Recipe(
        about="photographs of 32 x 32 pixels by class; its training needs CIFAR-10's pictures",
        system=ADM,
        config=ADMConfig(
            replace(
                SMALL,
                size=32,
                channels=3,
                width=64,
                multipliers=(1, 2),
                vector=10,
                attention=(4,),
                head_channels=16,
                residual_resampling=True,
            ),
            predicts="x0",
            null_share=0.15,
        ),
        batches=photo_batches,
        training={"steps": 8_000, "lr": 1e-3},
        minutes=115,
    ),  # fmt: skip
    # The training split alone, so that the lesson can ask it about digits that it never saw.
    "noisy-classifier-digits": Recipe(
        about="tells digits apart through any amount of noise; steers a sampler (lesson 05)",
        system=NoisyGuide,
        config=NoisyGuideConfig(NoisyClassifierConfig(SMALL, 10, 16)),
        batches=lambda: digit_class_batches("train"),
        training={"steps": 600, "lr": 2e-3, "ema": 0.99},
        minutes=0.5,
    ),
    "clip-scenes": Recipe(
        about="which sentence belongs to which picture of a scene (lesson 07)",
        system=CLIP,
        config=CLIPConfig(
            ResNetConfig(size=32, width=16, blocks=(1, 1, 1), heads=8, stem=2),
            TextConfig(vocabulary=1009, context=32, width=64, depth=2, heads=4, end=1008),
            dim=128,
        ),
        batches=lambda: pairs.batches(128),
        training={"steps": 2_600, "lr": 3e-3, "ema": 0.998},
        minutes=12,
    ),
    "classifier-digits": Recipe(
        about="tells digits apart; metrics live in its features",
        system=Classifier,
        config=ClassifierConfig(),
        batches=labeled_digit_batches,
        training={"steps": 750, "lr": 2e-3, "weight_decay": 0.05, "ema": 0.995},
        minutes=0.5,
    ),
    "classifier-digits-b": Recipe(
        about="a second classifier, built and trained apart, that must agree with the first",
        system=Classifier,
        config=ClassifierConfig(widths=(16, 32), kernel=5, features=32),
        batches=labeled_digit_batches,
        training={"steps": 750, "lr": 2e-3, "weight_decay": 0.05, "ema": 0.995, "seed": 1},
        minutes=0.5,
    ),
    "reader-scenes": Recipe(
        about="sees what is in a picture of a scene; captions are scored by it",
        system=Reader,
        config=ReaderConfig(),
        batches=weathered_scene_batches,
        training={"steps": 1_000, "lr": 4e-3, "weight_decay": 0.05, "ema": 0.995},
        minutes=4,
    ),
}


def names() -> list[str]:
    """What there is to load, sorted."""
    return sorted(RECIPES)


def recipe(name: str) -> Recipe:
    """The recipe of that name. ValueError, with the nearest name, if there is none."""
    return RECIPES[one_of(name, RECIPES, "system")]


def build(name: str) -> nn.Module:
    """The system of that name, untrained, its initial weights drawn with the recipe's seed."""
    made = recipe(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(made.training.get("seed", 0))
        return made.system(made.config)


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
    batches = own_pictures(name, pictures) if pictures else made.batches()
    steps = training.train(
        build(name), batches, checkpoint=state, save_every=save_every, **made.training
    )
    for step in steps:
        if step.step == made.training["steps"]:
            save(name, step.ema, path, step=step.step, loss=step.loss)
            state.unlink()
        yield step


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
