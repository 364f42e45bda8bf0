"""BERT: words look both ways, padding is nothing, and the paper's size."""

import pytest
import torch

from labkit.nets.bert import Bert, BertConfig

SMALL = BertConfig(vocabulary=20, context=8, width=16, depth=2, heads=2)


def bert() -> Bert:
    torch.manual_seed(0)
    net = Bert(SMALL).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return net


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(1, 20, (3, 6), generator=torch.Generator().manual_seed(1))
    return ids, torch.arange(6) < torch.tensor([[6], [4], [2]])


@torch.no_grad()
def test_every_word_hears_of_every_other_before_and_behind_it():
    net, (ids, mask) = bert(), texts()
    said = net(ids, mask)
    for changed in range(4):
        other = ids.clone()
        other[1, changed] = (other[1, changed] + 1) % 20
        assert ((net(other, mask) - said)[1, :4].abs().amax(1) > 1e-4).all()
        assert torch.equal(net(other, mask)[[0, 2]], said[[0, 2]])


@torch.no_grad()
def test_what_stands_in_the_padding_makes_no_difference_nor_does_how_much_of_it_there_is():
    net, (ids, mask) = bert(), texts()
    said, other = net(ids, mask), torch.where(mask, ids, 7)
    assert torch.equal(net(other, mask)[mask], said[mask])
    assert torch.allclose(net(ids[2:, :2], mask[2:, :2])[0], said[2, :2], atol=1e-6)


def test_the_same_word_at_another_place_is_another_vector():
    ids = torch.full((1, 4), 3)
    said = bert()(ids, torch.ones_like(ids, dtype=torch.bool))[0]
    assert torch.pdist(said).min() > 1e-3


def test_at_the_paper_s_size_it_has_the_parameters_of_bert_base():
    with torch.device("meta"):
        net = Bert(BertConfig())
    pooler, second_sentence_and_first = 768 * 768 + 768, 2 * 768  # which it does without
    assert sum(p.numel() for p in net.parameters()) == (
        109_482_240 - pooler - second_sentence_and_first
    )


@pytest.mark.parametrize(
    "wrong, words",
    [({"heads": 5}, "5 heads"), ({"depth": 0}, "depth is 0"), ({"vocabulary": 1}, "vocabulary"),
     ({"context": 1}, "context")],
)  # fmt: skip
def test_a_size_that_cannot_be_built_gets_a_sentence(wrong, words):
    with pytest.raises(ValueError, match=words):
        BertConfig(**wrong)
