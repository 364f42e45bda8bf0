"""Regions of pictures: where the objects are, what is seen in each, and nothing where none is."""

import pytest
import torch

from labkit import scenes, zoo
from labkit.metrics.pointing import object_regions
from labkit.scenes.regions import Regions, propose

READER = zoo.load("reader-scenes")
DRAWN = scenes.draw(40, 5, "all")
FOUND = propose(READER, scenes.render(DRAWN, 32))


def test_every_object_is_a_region_and_the_first_is_the_whole_picture():
    assert FOUND.features.shape == (40, 4, 2112) and FOUND.places.shape == (40, 4, 4)
    assert torch.equal(FOUND.mask.sum(1), 1 + DRAWN.count)
    assert (FOUND.places[:, 0, :2] == 0.5).all() and (FOUND.places[:, 0, 3] == 0).all()
    at = object_regions(FOUND, DRAWN)
    assert torch.equal(at > 0, DRAWN.present)
    rows, slots = DRAWN.present.nonzero().unbind(1)
    there = FOUND.places[rows, at[rows, slots]]
    assert (there[:, 0] - DRAWN.x[rows, slots]).abs().max() < 0.03
    assert (there[:, 2] - DRAWN.radius[rows, slots]).abs().max() < 0.03
    assert torch.equal(there[:, 3] > 0, DRAWN.inside[rows, slots] >= 0)
    assert all(len(set(row[row > 0].tolist())) == (row > 0).sum() for row in at)


@torch.no_grad()
def test_what_is_seen_in_a_region_names_the_object_by_the_reader_s_last_layer():
    at = object_regions(FOUND, DRAWN)
    rows, slots = DRAWN.present.nonzero().unbind(1)
    close = FOUND.features[rows, at[rows, slots], :2048]
    shape, color, fill = READER.second[-1](close).split([8, 8, 4], 1)
    for logits, table in ((shape, DRAWN.shape), (color, DRAWN.color), (fill, DRAWN.fill)):
        assert (logits.argmax(1) == table[rows, slots]).double().mean() > 0.97
    ground = READER.background(FOUND.features[:, 0, 2048:])
    assert torch.equal(ground.argmax(1), DRAWN.background)


def test_where_no_region_is_all_is_zero_and_masked():
    assert not FOUND.features[~FOUND.mask].any() and not FOUND.places[~FOUND.mask].any()
    assert (~FOUND.mask).any()


def test_a_picture_s_regions_do_not_depend_on_the_others():
    one = propose(READER, scenes.render(DRAWN.take(slice(3, 4)), 32))
    M = one.mask.shape[1]
    assert torch.allclose(one.features, FOUND.take(slice(3, 4)).features[:, :M], atol=1e-4)
    parts = propose(READER, scenes.render(DRAWN, 32), batch=7)
    assert torch.allclose(parts.features, FOUND.features, atol=1e-4)


@pytest.mark.parametrize(
    "pictures, words",
    [(torch.zeros(2, 3, 16, 16), "(B, 3, 32, 32)"), (torch.full((1, 3, 32, 32), 9.0), "9"),
     ("cat.png", "cat.png")],
)  # fmt: skip
def test_pictures_that_do_not_fit_get_a_sentence(pictures, words):
    with pytest.raises(ValueError, match="^[^\n]+$") as caught:
        propose(READER, pictures)
    assert words in str(caught.value)


def test_objects_of_other_pictures_get_a_sentence():
    with pytest.raises(ValueError, match="40 pictures for 3 scenes"):
        object_regions(FOUND, DRAWN.take(slice(0, 3)))
    assert isinstance(FOUND.take(torch.tensor([1])), Regions)
