"""Recipes of the systems that know photographs."""

from __future__ import annotations

from dataclasses import replace

from labkit import train as training
from labkit.data import openml
from labkit.recipes.recipe import SMALL, Recipe
from labkit.systems.adm import ADM, ADMConfig


def photo_batches() -> training.Batches:
    """128 of CIFAR-10's photographs and their labels at a time, half of them mirrored."""
    return openml.load("cifar10").batches(128, flip=True)


RECIPES = {
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
    ),
}
