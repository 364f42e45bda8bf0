"""Captioned scenes: the pictures with text that half of the course stands on.

    scenes = draw(64, seed=0)                # what is in them, as tensors: the truth
    pictures = render(scenes, size=32)       # (64, 3, 32, 32) in [-1, 1]; any size, the same scenes
    sentences = captions(scenes, seed=0)     # "a tiny scarlet star above a plain disc"

Nothing is stored: scenes come from a seed, without end, and everything about them is known, so
that a generated picture can be scored against its sentence (`labkit.scenes.scores`).
"""

from labkit.scenes.captioned import Captioned, batches
from labkit.scenes.captioning import captions
from labkit.scenes.drawing import SPLITS, UNSEEN, draw, unseen
from labkit.scenes.rendering import render
from labkit.scenes.world import (
    ATTRIBUTES,
    BACKGROUNDS,
    COLORS,
    FILLS,
    RELATIONS,
    SHAPES,
    SIZES,
    Object,
    Scene,
    Scenes,
    tensors,
)

__all__ = [
    "ATTRIBUTES", "BACKGROUNDS", "COLORS", "FILLS", "RELATIONS", "SHAPES", "SIZES", "SPLITS",
    "UNSEEN", "Captioned", "Object", "Scene", "Scenes", "batches", "captions", "draw", "render",
    "tensors", "unseen",
]  # fmt: skip
