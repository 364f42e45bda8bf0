"""The smaller world: one large plain thing, of which three combinations are kept from training."""

import torch

from labkit.scenes import small
from labkit.scenes.drawing import draw
from labkit.scenes.reading import read
from labkit.scenes.rendering import render


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_three_of_the_sixteen_combinations_are_held_out():
    assert set(small.HELD_OUT) == {("yellow", "moon"), ("green", "triangle"), ("blue", "cross")}
    assert len(small.PAIRS) == 16 and set(small.PAIRS) == {*small.KNOWN, *small.HELD_OUT}


def test_a_scene_is_one_large_plain_thing_inside_the_picture():
    for (one,), pair in zip(small.draw(small.PAIRS, 3).objects(), small.PAIRS, strict=True):
        assert (one.color, one.shape, one.size, one.fill) == (*pair, "large", "plain")
        assert one.radius < min(one.x, 1 - one.x, one.y, 1 - one.y)


def test_a_sentence_says_the_color_and_the_shape_and_nothing_else():
    for text, (color, shape) in zip(small.sentences(small.PAIRS, 4), small.PAIRS, strict=True):
        (thing,) = read(text).things
        assert (thing.color, thing.shape, thing.size, thing.fill) == (color, shape, None, None)


def test_pairs_belong_together_are_never_held_out_and_come_again_by_their_seed():
    pictures, sentences = small.pairs(60, seed=5)
    assert pictures.shape == (60, 3, 16, 16) and pictures.abs().max() <= 1
    seen = small.nearest(pictures).pairs
    said = [(thing.color, thing.shape) for text in sentences for thing in read(text).things]
    assert seen == said and not set(seen) & set(small.HELD_OUT)
    again, the_same = small.pairs(60, seed=5)
    assert torch.equal(again, pictures) and the_same == sentences
    assert not torch.equal(small.pairs(60, seed=6)[0], pictures)


def test_batches_keep_each_picture_with_its_sentence():
    pictures, sentences = torch.arange(5.0).view(5, 1, 1, 1), list("abcde")
    drawn, texts = small.batches(pictures, sentences, 40)(generator())
    assert drawn.shape == (40, 1, 1, 1) and len(set(texts)) == 5
    assert [sentences[int(picture)] for picture in drawn.flatten()] == texts


def test_every_real_picture_is_read_right_the_held_out_ones_too():
    shown = small.PAIRS * 10
    seen = small.nearest(render(small.draw(shown, 8), 16))
    assert seen.pairs == list(shown)
    assert seen.distance.shape == (160,) and seen.distance.max() < 0.2
    assert seen.distance.mean() < 0.07


def test_what_is_no_picture_of_this_world_lies_far_from_all_of_them():
    noise = torch.rand(8, 3, 16, 16, generator=generator()) * 2 - 1
    crowded = draw(60, 2)
    crowded = render(crowded.take(crowded.count == 3), 16)
    assert small.nearest(noise).distance.min() > 0.4
    assert small.nearest(crowded).distance.median() > 0.2
