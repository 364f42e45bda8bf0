"""Scenes of two separate things, their sentences, and where each thing is."""

import torch

from labkit import scenes
from labkit.lab import grounding
from labkit.scenes import holes


def test_two_things_differ_and_lie_apart_and_the_sentence_names_them_in_order():
    drawn, said = grounding.two_apart(120, seed=3, most=5)
    assert len(said) == len(drawn.count) == 5
    assert (drawn.count == 2).all() and (holes.alone(drawn).sum(1) == 2).all()
    for color, shape, words in zip(drawn.color.tolist(), drawn.shape.tolist(), said):
        (c, d), (s, t) = ([list_of[i] for i in own[:2]] for list_of, own in (
            (scenes.COLORS, color), (scenes.SHAPES, shape)))  # fmt: skip
        assert words == f"the {c} {s} and the {d} {t}" and c != d and s != t
    again, _ = grounding.two_apart(120, seed=3, most=1000)
    assert len(again.count) > 5 and torch.equal(again.x[:5], drawn.x)


def test_the_middle_of_each_thing_is_inside_and_the_other_thing_is_not():
    drawn, _ = grounding.two_apart(200, seed=3, most=20)
    within = grounding.inside(drawn, 32)
    assert within.shape == (len(drawn.count), 2, 32, 32)
    assert (within.sum(1) <= 1).all() and (within.sum((2, 3)) > 4).all()
    column, row = ((each[:, :2] * 32).long() for each in (drawn.x, drawn.y))
    for thing in range(2):
        n = torch.arange(len(within))
        assert (within[n, thing, row[:, thing], column[:, thing]] == 1).all()
