"""A condition is heard whole, by a network that has a route for it, or refused in one sentence."""

import pytest
import torch

from labkit.conditioning import Conditioning
from labkit.guidance import ClassifierFree
from labkit.nets.unet import UNet, UNetConfig
from labkit.systems.ddpm import DDPM, DDPMConfig

SMALL = {
    "size": 8, "channels": 1, "width": 8, "multipliers": (1, 2), "blocks": 1, "attention": (4,),
    "groups": 4,
}  # fmt: skip
PLAIN = UNet(UNetConfig(**SMALL))
HEARS = UNet(UNetConfig(**SMALL, vector=3, tokens=5, image=2))
X, T = torch.randn(2, 1, 8, 8), torch.tensor([3, 4])
SEEN = torch.zeros(2, 2, 8, 8)
ALL = Conditioning(torch.ones(2, 3), torch.ones(2, 4, 5), torch.ones(2, 4).bool(), SEEN)


@pytest.mark.parametrize("route", ["vector", "tokens", "image"])
def test_a_condition_without_a_route_is_refused(route):
    cond = Conditioning(**{route: getattr(ALL, route)})
    with pytest.raises(ValueError, match=f"{route!r}, for which this network has no route"):
        PLAIN(X, T, cond)


def test_guidance_of_a_model_that_hears_nothing_is_refused_not_ignored():
    model = DDPM(DDPMConfig(UNetConfig(**SMALL)))
    cond = Conditioning(vector=torch.ones(2, 3))
    with pytest.raises(ValueError, match="no route"):
        ClassifierFree(model.denoiser, Conditioning(vector=torch.zeros(1, 3)), 5.0)(X, 3, cond)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": None}, "has no image, without which"),
        ({"image": SEEN[:, :1]}, "needs \\(2, 2, 8, 8\\)"),
        ({"image": torch.zeros(2, 2, 4, 4)}, "needs \\(2, 2, 8, 8\\)"),
        ({"vector": torch.ones(2, 4)}, "needs \\(2, 3\\)"),
        ({"vector": torch.ones(3, 3)}, "single row for all"),
        ({"tokens": torch.ones(2, 4, 6)}, "needs \\(2, 4, 5\\)"),
        ({"mask": torch.ones(2, 3).bool()}, "need torch.bool of shape \\(2, 4\\)"),
        ({"mask": torch.ones(2, 4)}, "mask is torch.float32"),
        ({"mask": torch.ones(2, 4).long()}, "mask is torch.int64"),
        ({"image": SEEN.byte()}, "image is torch.uint8"),
        ({"vector": torch.ones(2, 3).double()}, "vector is torch.float64"),
        ({"tokens": None}, "mask, but no tokens"),
    ],
)
def test_a_condition_of_another_shape_gets_a_sentence(change, words):
    with pytest.raises(ValueError, match=words):
        HEARS(X, T, ALL._replace(**change))


def test_no_condition_at_all_gets_a_sentence_where_a_picture_is_needed():
    with pytest.raises(ValueError, match="has no image"):
        HEARS(X, T, None)


def test_one_row_of_a_condition_serves_the_whole_batch():
    torch.manual_seed(0)
    net = UNet(HEARS.config)
    torch.nn.init.normal_(net.conv_out[2].weight)
    one = Conditioning(*(field[:1] for field in ALL))
    assert net(X, T, one).abs().max() > 0
    assert torch.equal(net(X, T, one), net(X, T, ALL))


def test_a_network_that_looks_at_tokens_only_needs_some():
    config = UNetConfig(**SMALL, mixer="spatial", tokens=8)
    with pytest.raises(ValueError, match="has no tokens, without which"):
        UNet(config)(X, T)


def test_rows_are_dropped_one_by_one_though_one_route_has_a_single_row():
    cond = Conditioning(vector=torch.ones(1, 3), tokens=torch.ones(64, 2, 3).half())
    null = Conditioning(vector=torch.zeros(1, 3), tokens=torch.zeros(1, 2, 3))
    kept = cond.drop(null, tokens=0.5, generator=torch.Generator().manual_seed(0)).tokens
    assert kept.dtype == torch.half and 16 < kept[:, 0, 0].sum() < 48
