"""Recipes of the systems that know handwritten digits."""

from __future__ import annotations

from dataclasses import replace

import torch

from labkit import train as training
from labkit.data import digits
from labkit.nets.classifier import Classifier, ClassifierConfig, shifted
from labkit.nets.noisy_classifier import NoisyClassifierConfig
from labkit.recipes.recipe import SMALL, Recipe
from labkit.systems.adm import ADM, ADMConfig, NoisyGuide, NoisyGuideConfig
from labkit.systems.ddpm import DDPM, DDPMConfig


def digit_batches() -> training.Batches:
    """128 real digits at a time, 16 x 16 pixels."""
    images, _ = digits.load(16)
    return training.shuffled(images, batch=128)


def digit_class_batches(split: str = "all") -> training.Batches:
    """128 real digits and their labels at a time, 16 x 16 pixels."""
    return training.shuffled(*digits.load(16, split), batch=128)


def labeled_digit_batches() -> training.Batches:
    """64 real digits and their labels at a time, each digit shifted by up to a pixel; the last 360
    are held out, so that what the classifier knows can be checked."""
    draw = training.shuffled(*digits.load(16, "train"), batch=64)

    def batches(generator: torch.Generator):
        images, labels = draw(generator)
        return shifted(images, 1, generator), labels

    return batches


TEN = tuple("0123456789")  # what the digits are called

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
}
