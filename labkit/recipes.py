"""Recipes: what is built, what it is shown, for how long. Each makes one system of the zoo.

A recipe is data. Training it again with the same seed on the same machine gives the shipped
weights again (`labkit.zoo`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import torch
from torch import nn

from labkit import devices, scenes
from labkit import train as training
from labkit.data import digits, openml
from labkit.nets.classifier import Classifier, ClassifierConfig, shifted
from labkit.nets.noisy_classifier import NoisyClassifierConfig
from labkit.nets.resnet import ResNetConfig
from labkit.nets.transformer import TextConfig
from labkit.nets.unet import UNetConfig
from labkit.scenes import pairs
from labkit.scenes.descriptions import descriptions
from labkit.scenes.reader import Reader, ReaderConfig, augmented
from labkit.systems.adm import ADM, ADMConfig, NoisyGuide, NoisyGuideConfig
from labkit.systems.clip import CLIP, CLIPConfig
from labkit.systems.ddpm import DDPM, DDPMConfig
from labkit.systems.glide import GLIDE, GLIDEConfig
from labkit.systems.sdg import SDG, NoisyCLIP, NoisyCLIPConfig


@dataclass(frozen=True)
class Recipe:
    """What it takes to make one of the shipped systems: a training, or parts that have their own
    recipes."""

    about: str  # one line for a list
    system: type[nn.Module]  # built as system(config), or as system(**parts)
    config: Any = None  # a frozen dataclass
    batches: Callable[..., training.Batches] | None = None  # called with the teacher, if any
    training: dict[str, Any] = field(default_factory=dict)  # arguments of `labkit.train.train`
    minutes: float = 0.0  # of processor time that training took, measured; two cores share it
    teacher: str | None = None  # the system it begins from, `system.begin_from`, and learns from
    perceptual: dict[str, float] = field(default_factory=dict)  # a CLIP → weight of that loss
    names: tuple[str, ...] | None = None  # of the classes, for a system that knows some
    parts: dict[str, str] = field(default_factory=dict)  # argument of the system → name in the zoo


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


def augmented_scene_batches() -> training.Batches:
    """64 new scenes at a time, 32 x 32 pixels, some of them blurred or noisy, as samples are."""
    draw = scenes.batches(64, 32, "all")

    def batches(generator: torch.Generator):
        made = draw(generator)
        return made._replace(pictures=augmented(made.pictures, generator))

    return batches


def scene_batches() -> training.Batches:
    """64 new scenes at a time, 32 x 32 pixels, none of the combinations that are held out."""

    def batches(generator: torch.Generator):
        return scenes.render(scenes.draw(64, generator, "train"), 32)

    return batches


def captioned_scene_batches(batch: int = 64) -> training.Batches:
    """New scenes, 32 x 32 pixels, none of the combinations that are held out. Half of
    them come with what people might say of them, half with a sentence that leaves nothing out."""

    def batches(generator: torch.Generator):
        drawn = scenes.draw(batch, generator, "train")
        random = Random(int(torch.randint(2**62, (), generator=generator)))
        said, whole = scenes.captions(drawn, random), descriptions(drawn, random)
        return scenes.render(drawn, 32), [random.choice(pair) for pair in zip(said, whole)]

    return batches


def taught_scene_batches(teacher: CLIP) -> training.Batches:
    """128 new scenes at a time, 32 x 32 pixels, and what the teacher sees in them."""

    def batches(generator: torch.Generator):
        pictures = scenes.render(scenes.draw(128, generator, "train"), 32)
        with torch.no_grad():
            return pictures, teacher.encode_image(pictures.to(devices.of(teacher)))

    return batches


SMALL = UNetConfig(
    size=16, channels=1, width=48, multipliers=(1, 1), blocks=1, attention=(), groups=8,
    scale_shift_norm=True, fold=4,
)  # fmt: skip

TEN = tuple("0123456789")  # what the digits are called

SCENE_TOWER = ResNetConfig(size=32, width=16, blocks=(1, 1, 1), heads=8, stem=2)

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
            p_uncond=0.15,
        ),
        batches=digit_class_batches,
        training={"steps": 3_000, "lr": 2e-3},
        minutes=7,
        names=TEN,
    ),
    # The shipped weights saw the 50,000 pictures of CIFAR-10's training set, from a zip of them
    # (`labkit train adm-cifar10 --pictures`), which mirrors none.
    "adm-cifar10": Recipe(
        about="photographs of 32 x 32 pixels by class; training needs CIFAR-10 (lesson 06)",
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
            p_uncond=0.15,
        ),
        batches=photo_batches,
        training={"steps": 8_000, "lr": 1e-3},
        minutes=97,
        names=openml.SETS["cifar10"].names,
    ),  # fmt: skip
    "ddpm-scenes": Recipe(
        about="scenes of 32 x 32 pixels, from noise; any score can steer it (lesson 08)",
        system=DDPM,
        config=DDPMConfig(
            replace(
                SMALL,
                size=32,
                channels=3,
                multipliers=(1, 1, 1),
                attention=(8, 4),
                head_channels=16,
                residual_resampling=True,
                fold=2,
            ),
            predicts="x0",
        ),
        batches=scene_batches,
        training={"steps": 10_000, "lr": 1.5e-3},
        minutes=81,
    ),
    # The training split alone, so that the lesson can ask it about digits that it never saw.
    "noisy-classifier-digits": Recipe(
        about="tells digits apart through any amount of noise; steers a sampler (lesson 05)",
        system=NoisyGuide,
        config=NoisyGuideConfig(NoisyClassifierConfig(SMALL, 10, 16)),
        batches=lambda: digit_class_batches("train"),
        training={"steps": 600, "lr": 2e-3, "ema": 0.99},
        minutes=0.5,
        names=TEN,
    ),
    "clip-scenes": Recipe(
        about="which sentence belongs to which picture of a scene (lesson 07)",
        system=CLIP,
        config=CLIPConfig(
            SCENE_TOWER,
            TextConfig(vocabulary=1009, context=32, width=64, depth=2, heads=4, end=1008),
            dim=128,
        ),
        batches=lambda: pairs.batches(128),
        training={"steps": 3_600, "lr": 3e-3, "ema": 0.998},
        minutes=16,
    ),
    "noisy-clip-scenes": Recipe(
        about="sees through noise what clip-scenes sees in a clean picture (lesson 08)",
        system=NoisyCLIP,
        config=NoisyCLIPConfig(SCENE_TOWER, dim=128, hidden=256),
        batches=taught_scene_batches,
        training={"steps": 1_500, "lr": 2e-3, "ema": 0.995},
        minutes=7,
        teacher="clip-scenes",
    ),
    "glide-scenes": Recipe(
        about="scenes of 32 x 32 pixels from a sentence (lesson 09)",
        system=GLIDE,
        config=GLIDEConfig(
            UNetConfig(
                size=32,
                width=64,
                multipliers=(1, 1.25, 1.5),
                blocks=1,
                attention=(8, 4),
                groups=8,
                head_channels=16,
                scale_shift_norm=True,
                residual_resampling=True,
                fold=2,
                vector=128,
                vector_bias=True,
                tokens=128,
            ),
            predicts="x0",
            text=TextConfig(vocabulary=1009, context=32, width=128, depth=3, heads=4, end=1008),
            p_uncond=0.15,
        ),
        batches=captioned_scene_batches,
        training={"steps": 100_000, "lr": 1e-3, "ema": 0.9995, "precision": "bf16-mixed"},
        perceptual={"clip-scenes": 0.2},
    ),
    "sdg-scenes": Recipe(
        about="scenes that a sentence or a picture steers (lesson 08)",
        system=SDG,
        parts={"model": "ddpm-scenes", "guide": "noisy-clip-scenes", "clip": "clip-scenes"},
    ),
    "classifier-digits": Recipe(
        about="tells digits apart; metrics live in its features",
        system=Classifier,
        config=ClassifierConfig(),
        batches=labeled_digit_batches,
        training={"steps": 750, "lr": 2e-3, "weight_decay": 0.05, "ema": 0.995},
        minutes=0.5,
        names=TEN,
    ),
    "classifier-digits-b": Recipe(
        about="a second classifier, built and trained apart, that must agree with the first",
        system=Classifier,
        config=ClassifierConfig(widths=(16, 32), kernel=5, features=32),
        batches=labeled_digit_batches,
        training={"steps": 750, "lr": 2e-3, "weight_decay": 0.05, "ema": 0.995, "seed": 1},
        minutes=0.5,
        names=TEN,
    ),
    "reader-scenes": Recipe(
        about="sees what is in a picture of a scene; captions are scored by it",
        system=Reader,
        config=ReaderConfig(),
        batches=augmented_scene_batches,
        training={"steps": 1_000, "lr": 4e-3, "weight_decay": 0.05, "ema": 0.995},
        minutes=4,
    ),
}
