"""T5's network: the paper's buckets and sizes, what a mask hides, what the decoder may see."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from labkit.nets.t5 import PAPER, DistanceBias, T5Config, T5Net, distance_buckets

SMALL = T5Config(
    vocabulary=40, width=16, hidden=24, depth=2, heads=3, head_width=8, decoder=2, sentinel=39
)


def awake(config: T5Config = SMALL, seed: int = 0) -> T5Net:
    torch.manual_seed(seed)
    return T5Net(config).eval()


def words(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randint(1, 30, shape, generator=torch.Generator().manual_seed(seed))


def bucket(distance: int, causal: bool = False) -> int:
    return int(distance_buckets(torch.tensor(distance), causal=causal))


@pytest.mark.parametrize(
    ("distances", "expected"),
    [
        (range(0, -8, -1), range(8)),
        ((-8, -11), (8, 8)), ((-12, -15), (9, 9)), ((-16, -22), (10, 10)), ((-23, -31), (11, 11)),
        ((-32, -45), (12, 12)), ((-46, -63), (13, 13)), ((-64, -90), (14, 14)),
        ((-91, -128, -9999), (15, 15, 15)),
        ((1, 8, 91, 9999), (17, 24, 31, 31)),
    ],
)  # fmt: skip
def test_distances_share_buckets_as_in_the_authors_code(distances, expected):
    assert [bucket(r) for r in distances] == list(expected)


def test_bucket_16_is_never_used_and_all_others_are():
    used = set(distance_buckets(torch.arange(-300, 301)).tolist())
    assert used == set(range(32)) - {16}


@pytest.mark.parametrize(
    ("far", "expected"), [(15, 15), (16, 16), (18, 16), (99, 30), (112, 30), (113, 31), (9999, 31)]
)
def test_a_decoder_s_earlier_tokens_have_all_buckets_and_later_ones_the_first(far, expected):
    assert bucket(-far, causal=True) == expected
    assert bucket(far, causal=True) == 0


def test_the_bias_is_one_number_for_each_head_and_distance():
    layer = DistanceBias(SMALL)
    bias = layer(6)  # queries before keys
    assert bias.shape == (1, 3, 6, 6)
    assert torch.equal(bias[0, :, 4, 2], layer.bias.weight[2])
    assert torch.equal(bias[0, :, 2, 4], layer.bias.weight[18])
    assert torch.equal(bias[..., 1:, 1:], bias[..., :-1, :-1])
    assert not torch.equal(bias[0, :, 0, 1], bias[0, :, 1, 0])


@pytest.mark.parametrize(
    ("name", "millions"),
    [("small", 35.3), ("base", 109.6), ("large", 341.2), ("xl", 1223.5), ("xxl", 4762.3)],
)
def test_an_encoder_of_the_paper_s_size_has_as_many_parameters(name, millions):
    with torch.device("meta"):
        count = sum(weight.numel() for weight in T5Net(PAPER[name]).parameters())
    assert round(count / 1e6, 1) == millions
    if name == "small":
        assert count == 35_332_800


def test_no_part_but_the_norms_has_a_vector_and_no_part_a_bias():
    net = awake()
    vectors = {name for name, weight in net.named_parameters() if weight.ndim < 2}
    norms = {f"{name}.weight" for name, part in net.named_modules() if isinstance(part, nn.RMSNorm)}
    assert vectors == norms


def test_all_layers_share_one_table_of_distances():
    tables = [name for name, _ in awake().encoder.named_parameters() if "distance" in name]
    assert tables == ["distance.bias.weight"]


def test_what_stands_where_the_mask_is_false_changes_nothing():
    net, ids = awake(), words(2, 9)
    mask = torch.arange(9) < torch.tensor([[9], [5]])
    other = torch.where(mask, ids, 3)
    assert torch.allclose(net(ids, mask)[mask], net(other, mask)[mask], atol=1e-6)
    alone = net(ids[1:, :5], mask[1:, :5])
    assert torch.allclose(net(ids, mask)[1, :5], alone[0], atol=1e-5)


def test_every_token_hears_all_others_and_their_order():
    net, ids = awake(), words(1, 7)
    every = torch.ones_like(ids, dtype=torch.bool)
    changed = ids.clone()
    changed[0, 3] = 31
    assert ((net(ids, every) - net(changed, every)).abs().amax(2) > 1e-5).all()
    swapped = ids[:, [0, 2, 1, 3, 4, 5, 6]]
    assert not torch.allclose(net(ids, every)[0, 6], net(swapped, every)[0, 6], atol=1e-4)


def test_the_decoder_sees_what_was_said_before_and_the_text_and_no_more():
    net, ids, said = awake(), words(1, 6), words(1, 5, seed=2)
    mask = torch.tensor([[True] * 4 + [False] * 2])
    text = net(ids, mask)
    later = said.clone()
    later[0, 3:] = 35
    one, other = net.next(said, text, mask), net.next(later, text, mask)
    assert one.shape == (1, 5, 40)
    assert torch.allclose(one[:, :3], other[:, :3], atol=1e-5)
    assert not torch.allclose(one[:, 3:], other[:, 3:], atol=1e-3)
    hidden = torch.where(mask[..., None], text, 7.0)
    assert torch.allclose(net.next(said, hidden, mask), one, atol=1e-5)
    assert not torch.allclose(net.next(said, text.flip(1), mask), one, atol=1e-3)


def test_at_first_logits_are_of_unit_size_without_a_scale():
    """The queries are drawn smaller, in place of 1 / √d."""
    net = awake(T5Config(vocabulary=64, width=256, hidden=64, depth=1, heads=4, sentinel=63))
    attention, x = net.encoder.blocks[0].attention, torch.randn(1, 400, 256)
    q, k, _ = attention.qkv(x).unflatten(2, (3, 4, 64)).unbind(2)
    logits = torch.einsum("blhd,bmhd->bhlm", q, k)
    assert attention.scale == 1.0 and logits.std().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": 0}, "T5's width is 0"), ({"heads": 2.5}, "T5's heads is 2.5"),
        ({"decoder": -1}, "T5's decoder is -1"), ({"sentinel": 40}, "first sentinel is 40"),
        ({"buckets": 2}, "number of buckets is 2"), ({"reach": 8}, "T5's reach is 8"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_refused_in_one_sentence(change, says):
    with pytest.raises(ValueError, match=f"^[^\n]*{says}[^\n]*$"):
        replace(SMALL, **change)
