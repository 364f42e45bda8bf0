"""What lesson 13 measures: where attention goes, galleries with the truth, swapped sentences."""

import json

import pytest
import torch

from labkit import scenes
from labkit.lab import matching
from labkit.metrics.retrieval import own_captions
from labkit.scenes.meaning import parts
from labkit.scenes.reading import read
from labkit.scenes.regions import Regions
from labkit.systems.matcher import Matcher


def test_the_shares_of_the_blocks_leave_padding_out():
    attention = torch.tensor([[[[0.5, 0.2, 0.3], [0.1, 0.6, 0.3], [1.0, 0.0, 0.0]]]])
    mask = torch.tensor([[True, True, False]])
    shares = matching.block_shares(attention, mask, 1)
    assert torch.allclose(shares, torch.tensor([[[0.5, 0.5], [0.1, 0.9]]]))


def true_of(text, scene):
    return all(part.shown for part in parts(read(text), scene.objects, scene.background))


def test_a_gallery_knows_which_captions_are_true_of_other_pictures():
    found = matching.gallery(12, seed=3)
    assert found.pictures.shape == (12, 3, 32, 32) and len(found.captions) == 60
    assert not (found.neutral & own_captions(12)).any() and found.neutral.any()
    drawn = found.scenes.words()
    for row, column in found.neutral.nonzero()[:8].tolist():
        assert true_of(found.captions[column], drawn[row])
    assert found.captions == matching.gallery(12, seed=3).captions


def test_a_gallery_of_lookalikes_comes_in_fours_of_one_background():
    found = matching.gallery(13, seed=3, alike=True)
    assert found.pictures.shape == (12, 3, 32, 32) and len(found.captions) == 60
    fours = found.scenes.background.view(3, 4)
    assert (fours == fours[:, :1]).all()


def test_of_two_swapped_sentences_the_first_is_true_and_the_second_has_the_same_words():
    tests = matching.swapped(30, seed=5)
    assert set(tests) == {"left of, right of", "above, below", "which color on which shape"}
    for name, (drawn, right, wrong) in tests.items():
        assert 10 < len(right) == len(wrong) == len(drawn.background) <= 30
        for scene, yes, no in zip(drawn.words(), right, wrong):
            assert true_of(yes, scene) and not true_of(no, scene)
            assert sorted(yes.replace("an ", "a ").split()) == sorted(
                no.replace("an ", "a ").split()
            )
            assert name.startswith("which") or any(word in yes for word in name.split(", "))


def test_what_is_preferred_is_what_scores_higher():
    torch.manual_seed(0)
    matcher = Matcher(matching.small()).eval()
    regions = Regions(torch.randn(3, 2, 2112), torch.rand(3, 2, 4), torch.ones(3, 2).bool())
    right, wrong = ["a star", "two moons", "a red box"], ["a moon", "two stars", "a blue box"]
    found = matching.prefers(matcher, regions, right, wrong)
    images = matcher.encode_image(regions)
    scores = [matcher.pair_scores(images, matcher.encode_text(t)) for t in (right, wrong)]
    assert found.tolist() == (scores[0] > scores[1]).tolist()


def test_a_region_taken_away_is_as_if_it_had_never_been_there():
    torch.manual_seed(0)
    matcher = Matcher(matching.small()).eval()
    mask = torch.tensor([[True, True, True], [True, True, False]])
    regions = Regions(torch.randn(2, 3, 2112), torch.rand(2, 3, 4), mask)
    falls = matching.occluded(matcher, regions, ["a star", "two moons"])
    assert falls.isinf().tolist() == [[True, False, False], [True, False, True]]
    fewer = Regions(*(table[:1, [0, 2]] for table in regions))
    scores = [matcher.pair_scores(matcher.encode_image(each), matcher.encode_text("a star"))
              for each in (regions.take(slice(0, 1)), fewer)]  # fmt: skip
    assert falls[0, 1].item() == pytest.approx((scores[0] - scores[1]).item(), abs=1e-5)


@pytest.mark.parametrize("branches", ["self", "cross", "both"])
def test_the_small_matcher_is_small_with_any_branches(branches):
    matcher = Matcher(matching.small(branches))
    assert sum(weight.numel() for weight in matcher.parameters()) < 400_000


def test_the_stored_result_holds_every_kind_of_training_for_three_seeds():
    stored = matching.stored()
    assert stored["steps"] == matching.STEPS
    assert set(stored["runs"]) == {"self", "cross", "both", "both, truth ignored"}
    for seeds in stored["runs"].values():
        assert len(seeds) == 3
        for each in seeds.values():
            assert len(each["image_to_text"]) == len(each["text_to_image"]) == 3
            assert set(each["swapped"]) == set(stored["pairs"]) and 0 < each["true"] < 1


def test_a_result_is_read_from_its_file(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps({"steps": 3}))
    assert matching.stored(tmp_path / "mine.json") == {"steps": 3}


def test_recall_at_1_is_taken_out_of_a_result_by_kind_and_seed():
    run = {"image_to_text": [40.0, 70.0, 90.0], "text_to_image": [30.0, 60.0, 80.0]}
    found = matching.recall_at_1({"runs": {"self": {"1": run, "2": run}}})
    assert found["self"].tolist() == [[40.0, 30.0], [40.0, 30.0]]


def test_scenes_of_one_seed_are_the_same():
    first, second = (matching.swapped(10, seed=1)["above, below"][0] for _ in range(2))
    assert torch.equal(first.x, second.x) and isinstance(first, scenes.Scenes)
