"""Recall where pictures have several captions, in both directions and in folds; pointing."""

import pytest
import torch

from labkit.metrics.pointing import pointing_game
from labkit.metrics.retrieval import own_captions, recall_at, recalls


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_score_that_knows_the_owner_of_each_caption_finds_all():
    found = recalls(own_captions(12).float() + 1e-3 * normal(12, 60))
    assert found.image_to_text == found.text_to_image == (100, 100, 100) and found.rsum == 600


def test_random_scores_of_1000_pictures_find_a_thousandth_in_both_directions():
    """5 of 5,000 captions belong to a picture, and 1 of 1,000 pictures to a caption."""
    found = [recalls(normal(1000, 5000, seed=seed)) for seed in range(2)]
    for direction, slack in (("image_to_text", 3), ("text_to_image", 1)):
        means = torch.tensor([getattr(one, direction) for one in found]).mean(0)
        assert means[0] == pytest.approx(0.1, abs=0.06 * slack)
        assert means[1] == pytest.approx(0.5, abs=0.13 * slack)
        assert means[2] == pytest.approx(1.0, abs=0.18 * slack)


def test_any_of_its_captions_is_a_hit_for_a_picture_and_each_caption_has_one_picture():
    similarity = torch.zeros(10, 20)
    similarity[range(10), range(0, 20, 2)] = 1.0  # the second caption of each is never understood
    found = recalls(similarity, each=2)
    assert found.image_to_text[0] == 100 and found.text_to_image[0] == 50


def test_what_is_true_but_another_s_stands_in_nobody_s_way():
    similarity = torch.tensor([[0.5, 0.9, 0.1], [0.2, 0.8, 0.7], [0.3, 0.1, 0.6]])
    neutral = torch.zeros(3, 3, dtype=torch.bool)
    assert recall_at(similarity, 1) == pytest.approx(2 / 3)
    neutral[0, 1] = True
    assert recall_at(similarity, 1, neutral=neutral) == 1
    neutral[0, 0] = True  # what belongs still counts
    assert recall_at(similarity, 1, neutral=neutral) == 1


def test_a_share_that_is_exactly_met_is_met():
    """In single precision 90 of 100 would be a little less than 90 %."""
    similarity = torch.eye(100)
    similarity[:10] = 0.5  # nothing is found there
    found = recalls(similarity, each=1)
    assert found.image_to_text[0] == 90 and recall_at(similarity) == 0.9


def test_folds_are_galleries_of_their_own():
    similarity = normal(40, 80)
    parts = [recalls(similarity[at : at + 10, 2 * at : 2 * at + 20], each=2)
             for at in range(0, 40, 10)]  # fmt: skip
    whole = recalls(similarity, each=2, folds=4)
    means = torch.tensor([one.image_to_text for one in parts]).mean(0).tolist()
    assert whole.image_to_text == pytest.approx(tuple(means))
    assert whole.rsum == pytest.approx(sum(one.rsum for one in parts) / 4)
    assert whole.rsum > recalls(similarity, each=2).rsum  # a smaller gallery is easier


def refused(call, *words):
    with pytest.raises(ValueError, match="^[^\n]+$") as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value


def test_tables_that_do_not_fit_get_a_sentence():
    refused(lambda: recalls(normal(12, 59)), "(12, 59)", "N · 5")
    refused(lambda: recalls(normal(1, 5)), "at least 10")
    refused(lambda: recalls(normal(20, 100), folds=3), "3 galleries")
    refused(lambda: recalls(normal(20, 100), folds=4), "at least 10")
    refused(lambda: recall_at(normal(3, 3), 1, neutral=torch.zeros(3, 2)), "neutral", "(3, 3)")
    refused(lambda: own_captions(0), "pictures is 0")


def test_the_pointing_game_counts_words_whose_strongest_region_is_the_one_they_name():
    maps = torch.tensor([[[0.1, 0.7, 0.2], [0.3, 0.3, 0.4]], [[0.9, 0.1, 0.0], [0.2, 0.5, 0.3]]])
    words = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])
    assert pointing_game(maps, words, torch.tensor([1, 2, 0, 1])) == 1
    assert pointing_game(maps, words, torch.tensor([1, 2, 1, 0])) == 0.5
    refused(lambda: pointing_game(maps, words[:0], words[:0, 0]), "at least one")
