"""Scores of scenes, tried where the answer is known: on the truth, and on the truth made wrong."""

import math

import pytest
import torch

from labkit import scenes, zoo
from labkit.scenes import scores as metrics
from labkit.scenes.meaning import Meaning
from labkit.scenes.reading import read

DRAWN = scenes.draw(300, 5, "all")
SAID = scenes.captions(DRAWN, 5)


def changed(**tensors) -> scenes.Scenes:
    return DRAWN._replace(**tensors)


def test_the_truth_shows_every_part_of_its_sentences():
    shown = metrics.caption_accuracy(DRAWN, SAID)
    assert shown.parts == shown.complete == 1 and shown.number == 300
    assert set(shown.kinds) == {"shape", "color", "size", "fill", "place", "number", "relation",
                                "background"}  # fmt: skip
    assert set(shown.kinds.values()) == {1.0} and min(shown.said.values()) > 20
    assert str(shown).startswith("100.0% of what is said is shown, 100.0% of 300 pictures")


def test_the_order_in_which_objects_are_seen_makes_no_difference():
    order = torch.tensor([2, 0, 1])
    back = order.argsort()
    inside = torch.where(DRAWN.inside >= 0, back[DRAWN.inside.clamp(min=0)], -1)
    moved = scenes.Scenes(*(t[:, order] for t in changed(inside=inside)[:-1]), DRAWN.background)
    assert metrics.caption_accuracy(moved, SAID) == metrics.caption_accuracy(DRAWN, SAID)
    assert metrics.agreement(moved, DRAWN) == dict.fromkeys(metrics.agreement(DRAWN, DRAWN), 1.0)


@pytest.mark.parametrize(("kind", "options"), [
    ("color", scenes.COLORS), ("shape", scenes.SHAPES), ("fill", scenes.FILLS),
    ("size", scenes.SIZES),
])  # fmt: skip
def test_one_wrong_attribute_is_found_under_its_name(kind, options):
    table = getattr(DRAWN, kind)
    wrong = changed(**{kind: torch.where(table >= 0, (table + 1) % len(options), -1)})
    if kind == "size":  # a radius that fits, so that the objects stay possible
        wrong = wrong._replace(radius=torch.where(wrong.size == 1, 0.25, 0.15))
    shown = metrics.caption_accuracy(wrong, SAID)
    assert shown.kinds[kind] < 0.2 and shown.kinds["background"] == 1
    # A number counts what fits, so it goes wrong as well; nothing else does, unless another object
    # fits the words better than the one that was meant.
    assert min(share for name, share in shown.kinds.items() if name not in (kind, "number")) > 0.85
    scores = metrics.agreement(wrong, DRAWN)
    assert scores.pop(kind) == scores.pop("everything") == 0
    assert set(scores.values()) == {1.0}


def pair(dx: float, dy: float) -> scenes.Scenes:
    """A star in the top left, and a moon at that distance from it."""
    objects = [
        scenes.Object(shape, "red", "small", "plain", 0.2 + k * dx, 0.2 + k * dy, 0.15)
        for k, shape in enumerate(("star", "moon"))
    ]
    return scenes.tensors([scenes.Scene(objects, "mint")])


def test_everything_is_not_right_where_only_a_relation_is_wrong():
    truth, seen = pair(0.5, 0.44), pair(0.47, 0.46)
    assert truth.relation.max() >= 0 > seen.relation.max()
    scores = metrics.agreement(seen, truth)
    assert scores.pop("relation") == scores.pop("everything") == 0
    assert set(scores.values()) == {1.0}


def test_the_share_of_relations_is_nan_where_there_are_none():
    alone = pair(0.5, 0.5)
    scores = metrics.agreement(alone, alone)
    assert math.isnan(scores.pop("relation")) and set(scores.values()) == {1.0}


def test_a_mirrored_scene_has_its_sides_exchanged():
    mirrored = changed(x=torch.where(DRAWN.present, 1 - DRAWN.x, 0))
    for said in scenes.RELATIONS:
        rows = [k for k, text in enumerate(SAID) if said in {r.name for r in read(text).relations}]
        sentences = [SAID[k] for k in rows]
        shown = metrics.caption_accuracy(mirrored.take(torch.tensor(rows)), sentences)
        # Now and then other objects fit the words as well, and stand the right way round.
        share, turned = shown.kinds["relation"], said in ("left of", "right of")
        assert len(rows) >= 4 and (share <= 0.05 if turned else share == 1), (said, share)


def test_sentences_of_other_scenes_are_hardly_shown():
    shown = metrics.caption_accuracy(DRAWN, SAID[1:] + SAID[:1])
    assert shown.complete < 0.1 and shown.parts < 0.6


def test_an_empty_picture_shows_at_most_a_background():
    none = [torch.full_like(t, -1) for t in DRAWN[:5]] + [torch.zeros_like(t) for t in DRAWN[5:8]]
    nothing = scenes.Scenes(*none, DRAWN.background)
    shown = metrics.caption_accuracy(nothing, SAID)
    assert shown.kinds.pop("background") == 1
    assert max(shown.kinds.values()) == 0 and shown.complete < 0.1
    assert metrics.agreement(nothing, DRAWN)["found"] == 0
    assert not metrics.valid(nothing, scenes.render(nothing, 16)).any()


def test_an_object_moved_far_is_not_found():
    moved = changed(x=torch.where(DRAWN.present, (DRAWN.x + 0.3) % 1, 0))
    assert metrics.agreement(moved, DRAWN)["found"] < 0.2


def test_misfit_is_nought_for_the_truth_and_grows_with_what_is_wrong():
    pictures = scenes.render(DRAWN, 32)
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
    assert metrics.misfit(DRAWN, pictures).max() == 0 and metrics.valid(DRAWN, pictures).all()
    misfits = [
        metrics.misfit(DRAWN, (pictures + share * noise).clamp(-1, 1)).mean()
        for share in (0.1, 0.3, 1)
    ]
    assert 0 < misfits[0] < misfits[1] < misfits[2]
    assert not metrics.valid(DRAWN, (pictures + noise).clamp(-1, 1)).any()
    assert metrics.valid(DRAWN, pictures.roll(1, 0)).double().mean() < 0.05


def test_spread_is_nought_for_one_picture_many_times_and_grows_with_what_differs():
    reader, pictures = zoo.load("reader-scenes"), scenes.render(DRAWN.take(slice(0, 40)), 32)
    one = pictures[:1].expand(5, -1, -1, -1)
    assert metrics.spread(reader, one) == pytest.approx(0, abs=1e-9)
    faint = one + 0.05 * torch.randn(one.shape, generator=torch.Generator().manual_seed(0))
    some, all_of_them = metrics.spread(reader, faint.clamp(-1, 1)), metrics.spread(reader, pictures)
    assert 0 < some < all_of_them / 3 and all_of_them < 1
    assert metrics.spread(reader, pictures.flip(0)) == pytest.approx(all_of_them, rel=1e-4)
    with pytest.raises(ValueError, match="at least two pictures"):
        metrics.spread(reader, pictures[:1])


@pytest.mark.parametrize(("call", "message"), [
    (lambda: metrics.caption_accuracy(DRAWN, SAID[:3]), "3 sentences for 300 pictures"),
    (lambda: metrics.caption_accuracy(DRAWN, "a star"), "one sentence for 300 pictures"),
    (lambda: metrics.caption_accuracy(DRAWN.background, SAID), "must be Scenes"),
    (lambda: metrics.caption_accuracy(DRAWN, ["a zebra"] * 300), "no 'zebra'"),
    (lambda: metrics.agreement(DRAWN.take(slice(0, 2)), DRAWN), "2 scenes were seen and 300"),
    (lambda: metrics.misfit(DRAWN, scenes.render(DRAWN, 16) * 3), "pictures lie in"),
    (lambda: metrics.misfit(DRAWN, torch.zeros(300, 1, 16, 16)), r"are \(N, 3, S, S\)"),
    (lambda: metrics.misfit(DRAWN, torch.zeros(300, 3, 16, 24)), "as high as wide"),
    (lambda: metrics.spread(zoo.load("reader-scenes"), torch.zeros(2, 1, 32, 32)), "red, green"),
    (lambda: metrics.caption_accuracy(DRAWN.take(slice(0, 0)), []), "there are no pictures"),
    (lambda: metrics.caption_accuracy(DRAWN.take(slice(0, 1)), [Meaning()]), "say nothing"),
    (lambda: metrics.agreement(*[DRAWN.take(slice(0, 0))] * 2), "no scenes"),
    (lambda: metrics.valid(DRAWN, torch.zeros(3, 3, 16, 16)), "as many of each"),
])  # fmt: skip
def test_bad_input_gets_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
