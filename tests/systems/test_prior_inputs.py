"""Sentences and embeddings as the parts of DALL·E 2 are given them."""

import pytest
import torch

from labkit.systems.prior_inputs import mark_of, read, unit_vectors
from tests.systems.test_priors import DISC, STAR, clip, unit


def test_sentences_become_unit_vectors_and_ids_of_which_the_padding_is_masked():
    texts = read(clip(), [STAR, DISC])
    assert torch.allclose(texts.embedding.norm(dim=1), torch.ones(2), atol=1e-5)
    assert texts.ids.shape == texts.mask.shape == (2, 32)
    words = [row[mask].tolist() for row, mask in zip(texts.ids, texts.mask, strict=True)]
    assert [len(row) for row in words] == [5, 10]  # with begin and end
    assert {row[-1] for row in words} == {1008}
    again = read(clip(), STAR)
    assert torch.equal(again.ids[0], texts.ids[0]) and len(again.ids) == 1


@pytest.mark.parametrize(
    ("prompts", "says"),
    [([], "at least one sentence"), (3, "at least one sentence"), (["a zebra"], "zebra")],
)
def test_what_clip_cannot_read_gets_a_sentence(prompts, says):
    with pytest.raises(ValueError, match=says):
        read(clip(), prompts)


@pytest.mark.parametrize(
    ("z", "says"),
    [
        (unit(3)[:, :6], "must be .B, 8."),
        (unit(3)[0], "must be"),
        (2 * unit(3), "unit vectors"),
        (unit(3) * float("nan"), "unit vectors"),
        (unit(3).long(), "floating point"),
        ([1, 2], "torch tensor"),
    ],
)
def test_what_is_no_embedding_of_this_clip_gets_a_sentence(z, says):
    with pytest.raises(ValueError, match=says):
        unit_vectors(z, 8, "the embedding")
    assert unit_vectors(unit(3).half(), 8, "the embedding").dtype == torch.half


@pytest.mark.parametrize("tower", ["text", "image"])
def test_the_mark_of_a_clip_moves_with_each_of_its_towers_alone(tower):
    own, mark = clip(), mark_of(clip())
    assert mark.shape == (2, 8) and torch.allclose(mark.norm(dim=1), torch.ones(2), atol=1e-5)
    with torch.no_grad():
        for weight in getattr(own, tower).parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    moved = (mark_of(own) - mark).abs().amax(1) > 0.02
    assert moved.tolist() == [tower == "text", tower == "image"]


def test_a_clip_in_training_has_the_same_mark_and_learns_nothing_from_its_making():
    own, before = clip().train(), clip().state_dict()
    assert torch.equal(mark_of(own), mark_of(clip()))
    assert own.training and own.image.training
    assert all(torch.equal(part, before[name]) for name, part in own.state_dict().items())
