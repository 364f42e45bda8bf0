"""Scenes that lesson 07 tests CLIP on: of a single object, and all different."""

import torch

from labkit import scenes


def single(number: int, split: str, seed: int) -> scenes.Scenes:
    """`number` scenes with one object each."""
    drawn = scenes.draw(6 * number, seed, split)
    return drawn.take(drawn.count == 1).take(slice(0, number))


def distinct(number: int, seed: int, split: str = "all") -> scenes.Scenes:
    """`number` scenes, no two of which have the same objects on the same background."""
    drawn, rows, known = scenes.draw(2 * number, seed, split), [], set()
    for row, scene in enumerate(drawn.words()):
        objects = [(one.shape, one.color, one.size, one.fill) for one in scene.objects]
        key = (scene.background, *sorted(objects))
        if key not in known:
            rows.append(row)
        known.add(key)
    return drawn.take(torch.tensor(rows[:number]))
