"""Holes in scenes: one whole thing is erased, nothing else is touched, and the seam is measured."""

import pytest
import torch

from labkit import scenes
from labkit.scenes import holes
from labkit.scenes.world import Object, Scene, tensors

STAR = Object("star", "red", "small", "plain", x=0.3, y=0.3, radius=0.15)
CROSS = Object("cross", "blue", "small", "plain", x=0.75, y=0.75, radius=0.15)
BIG = Object("circle", "green", "large", "plain", x=0.5, y=0.5, radius=0.3)
WITHIN = Object("moon", "red", "small", "plain", x=0.5, y=0.5, radius=0.14, inside=0)


def test_what_lies_in_another_or_around_one_is_not_alone():
    made = tensors([Scene([STAR, CROSS], "sky"), Scene([BIG, WITHIN], "sky")])
    assert holes.alone(made).tolist() == [[True, True, False], [False] * 3]
    assert len(holes.with_room(made).background) == 1


@pytest.mark.parametrize("size", [32, 64])
def test_a_hole_takes_the_whole_thing_with_its_shadow_and_nothing_of_another(size):
    drawn = holes.with_room(scenes.draw(60, 3))
    mask, chosen = holes.around_one(drawn, size)
    shape = drawn.shape.scatter(1, chosen, -1)  # without it; inside stays right, nothing holds it
    with_it, without = (scenes.render(each, size) for each in (drawn, drawn._replace(shape=shape)))
    differ = (with_it - without).abs().amax(
        1, keepdim=True
    ) > 0.03  # of 2; what is less, no eye sees
    assert not (differ & (mask == 1)).any()
    assert (differ & (mask == 0)).flatten(1).any(1).all()


def test_real_pictures_show_all_of_what_was_erased_and_emptied_ones_nothing():
    drawn = holes.with_room(scenes.draw(40, 5))
    _, chosen = holes.around_one(drawn, 32)
    assert holes.shown(drawn, drawn, chosen).all()
    changed = drawn._replace(color=(drawn.color + 1) % len(scenes.COLORS))
    assert holes.shown(changed, drawn, chosen).float().mean(0).tolist() == [1, 0, 1, 1]
    moved = drawn._replace(x=drawn.x + 0.2)
    assert not holes.shown(moved, drawn, chosen)[drawn.count == 1].any()


def test_the_jump_is_that_of_the_border_alone():
    mask = torch.ones(2, 1, 8, 8)
    mask[:, :, :, 4:] = 0
    pictures = torch.zeros(2, 3, 8, 8)
    pictures[0, :, :, 4:] = 0.5  # a step at the border
    pictures[1, :, :, 6:] = 0.5  # and one elsewhere
    assert holes.jump(pictures, mask).tolist() == [0.5, 0.0]
