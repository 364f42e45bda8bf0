"""What section 8.2 of lesson 07 trains, and what is stored of it."""

import pytest

from benchmarks import hard_negatives as benchmark
from labkit import zoo
from labkit.lab import hard_negatives


@pytest.fixture(scope="module")
def clip():
    return zoo.load("clip-scenes").requires_grad_(False)


def test_true_and_swapped_sentences_are_made_of_the_same_words():
    drawn = hard_negatives.two_objects(200, 3, "train")
    right, swapped = hard_negatives.true_and_swapped(drawn)
    for one, other in zip(right, swapped):
        assert one != other
        assert sorted(one.replace("an ", "a ").split()) == sorted(
            other.replace("an ", "a ").split()
        )


def test_the_maps_are_the_encoders_own_and_the_swapped_sentences_count(clip):
    batch = hard_negatives.placed(clip, 120, 3, "train")
    assert len({len(part) for part in batch}) == 1 and len(batch[0]) > 10
    hard, control = (hard_negatives.Tuned(clip, hard=hard) for hard in (True, False))
    assert hard.loss(batch) > control.loss(batch)
    assert 0.2 < hard_negatives.share_right(control, batch) < 0.8  # the shipped one: at chance
    hard.loss(batch).backward()
    assert hard.logit_scale.grad is not None and all(w.grad is None for w in clip.parameters())


def test_the_stored_result_is_of_this_benchmark(tmp_path):
    stored = hard_negatives.stored()
    benchmark.run(2, [1], 300, tmp_path / "small.json")
    small = hard_negatives.stored(tmp_path / "small.json")
    assert small.keys() == stored.keys() and small["skills"].keys() == stored["skills"].keys()
    assert small["runs"].keys() == stored["runs"].keys()
    for runs in stored["runs"].values():
        assert len(runs) == 3 and all(len(run) == len(stored["steps"]) for run in runs)
