"""Pools of scenes that look alike, and batches of them with what is true of which picture."""

import re

import pytest
import torch

from labkit import scenes
from labkit.scenes.drawing import unseen
from labkit.scenes.matches import EACH, GROUP, RELATED, batches, captioned, pool
from labkit.scenes.regions import Regions
from labkit.scenes.truth import claims, shows

KNOWN = pool(20, 0)
N = len(KNOWN.scenes.background)
SEEN = Regions(torch.arange(N)[:, None, None].half().expand(N, 4, 3), torch.zeros(N, 4, 4),
               torch.arange(4) <= KNOWN.scenes.count[:, None])  # fmt: skip


def test_a_pool_has_groups_of_four_with_five_true_captions_each():
    assert N == 20 * GROUP and len(KNOWN.captions) == N * EACH
    true = shows(KNOWN.scenes, KNOWN.claims).view(N, N, EACH)
    assert true[torch.arange(N), torch.arange(N)].all()
    again = pool(20, 0)
    assert again.captions == KNOWN.captions and torch.equal(again.scenes.x, KNOWN.scenes.x)
    assert pool(20, 1).captions != KNOWN.captions


def test_scenes_of_a_group_differ_in_one_thing_each():
    first, mirror, colors, changed = (
        KNOWN.scenes.take(torch.arange(start, N, GROUP)) for start in range(GROUP)
    )
    here = first.present
    assert torch.equal(mirror.shape, first.shape) and torch.equal(mirror.color, first.color)
    turned = (mirror.x - first.x).abs().amax(1) + (mirror.y - first.y).abs().amax(1)
    assert (turned > 0.01).double().mean() > 0.8  # what is in the middle stays there
    assert torch.equal(mirror.relation == -1, first.relation == -1)
    assert torch.equal(colors.x, first.x) and torch.equal(colors.shape, first.shape)
    two = first.count > 1
    assert torch.equal(colors.color[two].sort(1)[0], first.color[two].sort(1)[0])
    assert torch.equal(colors.color[two, 0], first.color[two, 1])
    fewer = changed.count < first.count
    assert fewer.any() and (changed.count >= 1).all()
    other = (changed.shape != first.shape) | (changed.fill != first.fill)
    assert torch.equal((other & here).sum(1), torch.ones(20).long())


def test_no_scene_of_the_training_split_shows_what_is_kept_from_it():
    assert not torch.stack(list(unseen(KNOWN.scenes).values())).any()
    for scene in KNOWN.scenes.words():
        assert isinstance(scene, scenes.Scene)


def test_a_batch_says_which_captions_are_true_of_which_picture():
    batch = batches(KNOWN, SEEN, groups=5)(torch.Generator().manual_seed(0))
    rows = batch.regions.features[:, 0, 0].long()
    assert batch.regions.features.dtype == torch.float32
    assert len(batch.captions) == 20 and batch.true.diag().all()
    assert torch.equal(rows.view(5, GROUP) // GROUP, (rows[::GROUP] // GROUP)[:, None].expand(5, 4))
    table = shows(KNOWN.scenes.take(rows), claims(batch.captions))
    assert torch.equal(batch.true, table) and batch.true.sum() > 20
    others = batches(KNOWN, SEEN, groups=5, all_true=False)(torch.Generator().manual_seed(0))
    assert others.captions == batch.captions
    assert torch.equal(others.true, torch.eye(20, dtype=torch.bool))


def test_the_plainest_captions_come_most_often():
    draw, generator = batches(KNOWN, SEEN, groups=20), torch.Generator().manual_seed(0)
    first, said = set(KNOWN.captions[::EACH]), []
    for _ in range(20):
        said += draw(generator).captions
    share = sum(text in first for text in said) / len(said)
    assert share == pytest.approx(0.4 + 0.6 / EACH, abs=0.08)


def test_any_scenes_get_five_captions_each():
    drawn = scenes.draw(12, 3)
    made = captioned(drawn, 4)
    assert len(made.captions) == 60 and captioned(drawn, 4).captions == made.captions
    assert shows(drawn, made.claims).view(12, 12, EACH)[range(12), range(12)].all()


def test_the_first_captions_of_a_group_say_what_the_mirror_turns_round():
    said = (KNOWN.claims.relation[:, 0] >= 0).view(20, GROUP, EACH)
    before, after = (KNOWN.scenes.take(torch.arange(start, N, GROUP)) for start in (0, 1))
    beside = (before.relation >= 0) & (before.relation < 4)
    turns = (beside & (before.relation != after.relation)).flatten(1).any(1)  # (20,)
    assert 5 < turns.sum() < 20
    assert said[turns][:, :3, :RELATED].all()  # of the scene, its mirror, and in other colors
    assert not said[~turns][:, :, :RELATED].all()
    plainest = re.compile(r"an? (\w+ )?\w+ (left of|right of|above|below) an? (\w+ )?\w+")
    for group in turns.nonzero()[:, 0].tolist():
        assert plainest.fullmatch(KNOWN.captions[group * GROUP * EACH])
    true = shows(KNOWN.scenes, KNOWN.claims).view(20, GROUP, 20, GROUP, EACH)
    groups = turns.nonzero()[:, 0]
    assert true[groups, 1, groups, 0, 0].double().mean() < 0.3  # what is left of what has changed
    assert true[groups, 0, groups, 1, 0].double().mean() < 0.3


def test_the_mirror_turns_what_is_clear_of_two_objects():
    first, mirror = (KNOWN.scenes.take(torch.arange(start, N, GROUP)) for start in (0, 1))
    beside = (first.relation == 0) | (first.relation == 1)
    over = (first.relation == 2) | (first.relation == 3)
    for clear, other, opposite in ((beside, over, (1, 0)), (over, beside, (3, 2))):
        rows = clear.flatten(1).any(1) & ~other.flatten(1).any(1)
        assert rows.any()
        was, now = first.relation[rows], mirror.relation[rows]
        for relation, turned in zip((opposite[1], opposite[0]), opposite):
            assert (now[was == relation] == turned).all()


@pytest.mark.parametrize(
    "call, words",
    [(lambda: pool(0), "groups is 0"), (lambda: pool(1, split="test"), "test"),
     (lambda: pool(1, seed=-1), "seed is -1"), (lambda: batches(KNOWN, SEEN, 21), "from 1 to 20")],
)  # fmt: skip
def test_pools_and_batches_that_cannot_be_get_a_sentence(call, words):
    with pytest.raises(ValueError, match=f"^[^\n]*{words}[^\n]*$"):
        call()
