"""The ResNet that hears how noisy its picture is."""

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

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


def plain_of(net: NoisyResNet) -> ResNet:
    """The net without the time: what hears it left out."""
    made = ResNet(SMALL, 6).eval()
    state = net.net.state_dict()
    made.load_state_dict({name: state[name] for name in state if "modulation" not in name})
    return made


def modulations(net: NoisyResNet) -> list[nn.Linear]:
    """What hears the time, norm after norm on the main way."""
    blocks = [block for level in net.net.levels for block in level]
    norms = [net.net.stem[1], net.net.stem[4], net.net.stem[7]]
    norms += [norm for block in blocks for norm in (block.norm1, block.norm2, block.norm3)]
    return [norm.modulation for norm in norms]


def test_it_begins_as_the_net_that_it_listens_for():
    torch.manual_seed(0)
    net = NoisyResNet(SMALL, dim=6, hidden=16).eval()
    plain, x = plain_of(net), torch.randn(3, 3, 32, 32)
    for t in (1, 500, 1000):
        assert torch.equal(net(x, torch.full((3,), t)), plain(x))


def test_scale_and_shift_reach_every_norm_on_the_main_way(net):
    """By the formula, written a second time: a plain net whose norms are scaled and shifted."""
    t = torch.tensor([300])
    plain = plain_of(net)
    hidden = net.time(torch.cat([wave(t).cos(), wave(t).sin()], 1))
    blocks = [block for level in plain.levels for block in level]
    norms = [plain.stem[1], plain.stem[4], plain.stem[7]]
    norms += [norm for block in blocks for norm in (block.norm1, block.norm2, block.norm3)]
    with torch.no_grad():
        for norm, modulation in zip(norms, modulations(net), strict=True):
            scale, shift = modulation(hidden)[0].chunk(2)
            norm.weight.mul_(1 + scale)
            norm.bias.copy_(norm.bias * (1 + scale) + shift)
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(net(x, t), plain(x), rtol=1e-4, atol=1e-5)
    *_, last = net.maps(x, t)
    *_, expected = plain.maps(x)
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-5)


def test_activations_can_be_computed_again_instead_of_kept(net):
    x, t = torch.randn(2, 3, 32, 32), torch.tensor([10, 900])
    kept, again = torch.autograd.grad(net(x, t).sum(), net.time[0].weight), []
    for reentrant in (False, True):
        x.requires_grad_(reentrant)
        out = checkpoint(net, x, t, use_reentrant=reentrant)
        if reentrant:
            out.sum().backward()
            again.append(net.time[0].weight.grad)
        else:
            again += torch.autograd.grad(out.sum(), net.time[0].weight)
    assert all(torch.allclose(kept[0], other, rtol=1e-4, atol=1e-6) for other in again)


def wave(t: torch.Tensor) -> torch.Tensor:
    return t[:, None] * 10_000 ** (-torch.arange(64) / 64)


def test_every_row_hears_its_own_time(net):
    x = torch.randn(1, 3, 32, 32).expand(2, -1, -1, -1)
    both = net(x, torch.tensor([10, 900]))
    torch.testing.assert_close(both[:1], net(x[:1], torch.tensor([10])), rtol=1e-4, atol=1e-5)
    assert (both[0] - both[1]).abs().max() > 1e-3


def test_a_width_of_zero_gets_a_sentence():
    with pytest.raises(ValueError, match="the network that hears the time"):
        NoisyResNet(SMALL, 6, hidden=0)
