"""The scenes: reproducible, tidy, true to their tensors, and split by combinations."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit import scenes
from labkit.scenes.world import MARGIN, MOST, RADII, THIRDS, together

seeds = st.integers(0, 2**62)
WORD = {"colors": ("color", scenes.COLORS), "fills": ("fill", scenes.FILLS)}


def same(a, b) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@settings(max_examples=15, deadline=None)
@given(seed=seeds, number=st.integers(1, 40), split=st.sampled_from(scenes.SPLITS))
def test_the_same_seed_gives_the_same_scenes_and_another_seed_others(seed, number, split):
    drawn = scenes.draw(number, seed, split)
    assert len(drawn.background) == number
    assert same(drawn, scenes.draw(number, seed, split))
    assert not same(drawn, scenes.draw(number, seed + 1, split))


def test_a_generator_goes_on_without_end():
    generator = torch.Generator().manual_seed(3)
    first, second = scenes.draw(20, generator), scenes.draw(20, generator)
    assert not same(first, second)
    again = torch.Generator().manual_seed(3)
    assert same(together([first, second]), together([scenes.draw(20, again) for _ in range(2)]))


@settings(max_examples=15, deadline=None)
@given(seed=seeds, split=st.sampled_from(scenes.SPLITS))
def test_nothing_overlaps_or_is_cut_off_or_stands_between_two_places(seed, split):
    s = scenes.draw(60, seed, split)
    here = s.present
    for at in (s.x, s.y):
        assert (at - s.radius - MARGIN > -1e-5)[here].all()
        assert (at + s.radius + MARGIN < 1 + 1e-5)[here].all()
        assert all(((at - end).abs() > 0.015)[here].all() for end in THIRDS)
    far = torch.hypot(s.x[:, :, None] - s.x[:, None], s.y[:, :, None] - s.y[:, None])
    free = far - s.radius[:, :, None] - s.radius[:, None]  # (N, 3, 3)
    pairs = here[:, :, None] & here[:, None] & ~torch.eye(MOST, dtype=torch.bool)
    index = scenes.RELATIONS.index
    nested = (s.relation == index("inside")) | (s.relation == index("around"))
    assert (free > MARGIN - 1e-5)[pairs & ~nested].all()
    assert (far < (s.radius[:, :, None] - s.radius[:, None]).abs())[pairs & nested].all()


@settings(max_examples=10, deadline=None)
@given(seed=seeds)
def test_words_and_tensors_say_the_same(seed):
    drawn = scenes.draw(20, seed)
    back = scenes.tensors(drawn.words())
    for name, tensor in drawn._asdict().items():
        assert torch.allclose(tensor, getattr(back, name)), name
    for row, scene in enumerate(drawn.words()):
        for slot, thing in enumerate(scene.objects):
            place = int(drawn.place[row, slot])
            assert thing.place == (
                ("top", "middle", "bottom")[place // 3],
                ("left", "middle", "right")[place % 3],
            )
            least, most = RADII[thing.size]
            assert least - 1e-6 <= thing.radius <= most + 1e-6


def test_every_attribute_occurs_about_as_often_as_it_should():
    s = scenes.draw(6000, 0, "all")
    here = s.present
    for name, words in scenes.ATTRIBUTES.items():
        share = torch.bincount(getattr(s, name)[here], minlength=len(words)) / here.sum()
        assert (share * len(words) > 0.7).all() and (share * len(words) < 1.4).all(), name
    share = torch.bincount(s.background) / 6000
    assert (share * len(scenes.BACKGROUNDS) - 1).abs().max() < 0.15
    assert all((s.count == count).double().mean() > 0.2 for count in (1, 2, 3))
    assert 0.1 < (s.inside >= 0).any(1).double().mean() < 0.3
    relation = torch.bincount(s.relation[s.relation >= 0], minlength=6) / 6000
    assert (relation > 0.1).all()
    assert torch.bincount(s.place[here]).min() > 300


def test_a_relation_and_its_opposite_belong_together():
    relation = scenes.draw(500, 1).relation
    for a, b in (("left of", "right of"), ("above", "below"), ("inside", "around")):
        one, other = (relation == scenes.RELATIONS.index(name) for name in (a, b))
        assert one.any() and torch.equal(one, other.mT)


def hand_made(*objects) -> scenes.Scene:
    return scenes.Scene(objects, "mint")


def thing(shape="star", x=0.5, y=0.5, **other):
    options = {"color": "red", "size": "small", "fill": "plain", "radius": 0.15} | other
    return scenes.Object(shape, x=x, y=y, **options)


def test_relations_by_hand():
    left, right = thing(x=0.2, y=0.4), thing(x=0.8, y=0.6)
    outer = thing("circle", size="large", radius=0.3)
    relation = scenes.tensors([
        hand_made(left, right), hand_made(thing(x=0.2, y=0.2), thing(x=0.8, y=0.8)),
        hand_made(outer, thing(inside=0)), hand_made(thing(y=0.2), thing(y=0.8)),
    ]).relation  # fmt: skip
    names = [[None if k < 0 else scenes.RELATIONS[k] for k in row[0]] for row in relation.tolist()]
    assert [row[1] for row in names] == ["left of", None, "around", "above"]
    assert all(row[0] is None and row[2] is None for row in names)


# What is kept from training


def test_train_holds_no_combination_that_is_kept_from_it():
    shown = scenes.unseen(scenes.draw(5000, 4, "train"))
    assert set(shown) == set(scenes.UNSEEN) and not any(mask.any() for mask in shown.values())
    assert all(mask.any() for mask in scenes.unseen(scenes.draw(5000, 4, "all")).values())


@pytest.mark.parametrize("kind", scenes.UNSEEN)
def test_every_unseen_scene_shows_its_kind_alone_and_each_combination_comes(kind):
    drawn = scenes.draw(600, 0, f"unseen-{kind}")
    for name, mask in scenes.unseen(drawn).items():
        assert mask.all() if name == kind else not mask.any()
    found = set()
    for scene, relations in zip(drawn.words(), drawn.relation.tolist()):
        for row, one in zip(relations, scene.objects):
            if kind == "relations":
                names = {scenes.RELATIONS[k] for k in row if k >= 0}
                found |= {(f"{one.fill} {one.shape}", name) for name in names}
            else:
                found.add((getattr(one, WORD[kind][0]), one.shape))
    assert set(scenes.UNSEEN[kind]) <= found


def test_unseen_mixes_the_three_kinds():
    masks = scenes.unseen(scenes.draw(301, 0, "unseen"))
    assert sorted(int(mask.sum()) for mask in masks.values()) == [100, 100, 101]
    assert scenes.draw(1, 0, "unseen").count.sum() >= 1


def test_each_half_of_an_unseen_combination_is_common_in_train():
    s = scenes.draw(4000, 2)
    for color, shape in scenes.UNSEEN["colors"]:
        assert (s.color == scenes.COLORS.index(color)).sum() > 500
        assert (s.shape == scenes.SHAPES.index(shape)).sum() > 500
    for words, name in scenes.UNSEEN["relations"]:
        fill, shape = (
            table.index(word) for table, word in zip((scenes.FILLS, scenes.SHAPES), words.split())
        )
        assert ((s.fill == fill) & (s.shape == shape)).sum() > 50
        assert (s.relation == scenes.RELATIONS.index(name)).sum() > 500


# Doors


BAD = [
    (lambda: scenes.draw(0), "number of scenes is 0"),
    (lambda: scenes.draw(4, -1), "seed is -1"),
    (lambda: scenes.draw(4, 0, "unseen-color"), "did you mean 'unseen-colors'"),
    (lambda: scenes.tensors([]), "at least one Scene"),
    (lambda: scenes.tensors(["a star"]), "at least one Scene"),
    (lambda: hand_made(), "one to 3"),
    (lambda: hand_made(*[thing()] * 4), "one to 3"),
    (lambda: hand_made(thing(inside=0)), "list the outer object first"),
    (lambda: scenes.Scene((thing(),), "grey"), "did you mean 'gray'"),
    (lambda: thing("stars"), "did you mean 'star'"),
    (lambda: thing(x=1.5), "an object's x is 1.5"),
    (lambda: thing(radius=0.2), "radius of a small object"),
    (lambda: scenes.batches(0), "the batch is 0"),
    (lambda: scenes.batches(4, 4), "size is 4"),
    (lambda: scenes.batches(4, 32, "test"), "unknown split"),
]


@pytest.mark.parametrize(("door", "words"), BAD)
def test_bad_input_gets_one_sentence(door, words):
    with pytest.raises(ValueError, match=words) as caught:
        door()
    assert "\n" not in str(caught.value)


def test_a_batch_for_training_is_drawn_from_its_generator_alone():
    make = scenes.batches(6, 16, "unseen")
    a, b = (make(torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(a.pictures, b.pictures) and a.captions == b.captions
    assert a.pictures.shape == (6, 3, 16, 16) and len(a.captions) == len(a.scenes.background) == 6
    assert torch.equal(a.pictures, scenes.render(a.scenes, 16))
