"""The ResNet that hears how noisy its picture is."""

import pytest
import torch
from torch import nn

from labkit.nets.noisy_resnet import NoisyResNet
from labkit.nets.resnet import ResNet, ResNetConfig

SMALL = ResNetConfig(size=32, width=8, blocks=(1, 2), heads=4, stem=2)


@pytest.fixture
def net():
    torch.manual_seed(0)
    made = NoisyResNet(SMALL, dim=6, hidden=16).eval()
    for parameter in made.net.parameters():  # branches that are silent at first would hide much
        nn.init.normal_(parameter, std=0.2)
    return made


def test_it_begins_as_the_net_that_it_listens_for(net):
    plain = ResNet(SMALL, 6).eval()
    plain.load_state_dict(net.net.state_dict())
    x = torch.randn(3, 3, 32, 32)
    for t in (1, 500, 1000):
        assert torch.equal(net(x, torch.full((3,), t)), plain(x))


def test_scale_and_shift_reach_every_norm_on_the_main_way_in_order(net):
    """By the formula, written a second time: a plain net whose norms are scaled and shifted."""
    nn.init.normal_(net.time[-1].weight, std=0.2)
    nn.init.normal_(net.time[-1].bias, std=0.2)
    t = torch.tensor([300])
    plain = ResNet(SMALL, 6).eval()
    plain.load_state_dict(net.net.state_dict())
    told = net.time(torch.cat([wave(t).cos(), wave(t).sin()], 1))[0]
    blocks = [block for level in plain.levels for block in level]
    norms = [plain.stem[1], plain.stem[4], plain.stem[7]]
    norms += [norm for block in blocks for norm in (block.norm1, block.norm2, block.norm3)]
    counts = [norm.num_features for norm in norms]
    assert len(told) == 2 * sum(counts)
    with torch.no_grad():
        for norm, scale, shift in zip(norms, *(half.split(counts) for half in told.chunk(2))):
            norm.weight.mul_(1 + scale)
            norm.bias.copy_(norm.bias * (1 + scale) + shift)
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(net(x, t), plain(x), rtol=1e-4, atol=1e-5)
    *_, last = net.maps(x, t)
    *_, expected = plain.maps(x)
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-5)


def wave(t: torch.Tensor) -> torch.Tensor:
    return t[:, None] * 10_000 ** (-torch.arange(64) / 64)


def test_every_row_hears_its_own_time(net):
    nn.init.normal_(net.time[-1].weight, std=0.2)
    x = torch.randn(1, 3, 32, 32).expand(2, -1, -1, -1)
    both = net(x, torch.tensor([10, 900]))
    torch.testing.assert_close(both[:1], net(x[:1], torch.tensor([10])), rtol=1e-4, atol=1e-5)
    assert (both[0] - both[1]).abs().max() > 1e-3


def test_a_width_of_zero_gets_a_sentence():
    with pytest.raises(ValueError, match="the network that hears the time"):
        NoisyResNet(SMALL, 6, hidden=0)
