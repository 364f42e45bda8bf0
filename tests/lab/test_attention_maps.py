"""What pixels look at: taken from a network that runs, without a change to what it answers."""

import pytest
import torch

from labkit.conditioning import Conditioning
from labkit.denoiser import Denoiser
from labkit.lab.attention_maps import Looked, looked_at, over_text
from labkit.nets.unet import UNet, UNetConfig
from labkit.schedule import linear

TINY = UNetConfig(
    size=8, width=8, multipliers=(1, 2), blocks=1, attention=(8,), groups=4, head_channels=4,
    tokens=6,
)  # fmt: skip


def denoiser(config=TINY):
    torch.manual_seed(0)
    net = UNet(config)
    for weight in net.parameters():  # zero at first: nothing would be looked at
        torch.nn.init.normal_(weight, std=0.2)
    return Denoiser(net, linear(50))


def test_each_layer_says_what_its_pixels_look_at_text_first():
    denoise, x = denoiser(), torch.randn(2, 3, 8, 8)
    cond = Conditioning(tokens=torch.randn(2, 5, 6))
    found = looked_at(denoise, x, 20, cond)
    assert [(each.name, each.side) for each in found] == [
        ("down.0.1", 8), ("middle.1", 4), ("up.2.1", 8), ("up.3.1", 8),
    ]  # fmt: skip
    for each in found:
        heads = each.weights.shape[1]
        assert each.weights.shape == (2, heads, each.side**2, 5 + each.side**2)
        torch.testing.assert_close(each.weights.sum(3), torch.ones(2, heads, each.side**2))


def test_watching_changes_no_answer_and_leaves_nothing_behind():
    denoise, x = denoiser(), torch.randn(1, 3, 8, 8)
    cond = Conditioning(tokens=torch.randn(1, 5, 6))
    before = denoise(x, 20, cond).x0
    looked_at(denoise, x, 20, cond)
    torch.testing.assert_close(denoise(x, 20, cond).x0, before, rtol=0, atol=0)
    assert not any(module._forward_pre_hooks for module in denoise.net.modules())


def test_hidden_tokens_are_not_looked_at():
    mask = torch.tensor([[True, True, False, True, False]])
    cond = Conditioning(tokens=torch.randn(1, 5, 6), mask=mask)
    for each in looked_at(denoiser(), torch.randn(1, 3, 8, 8), 20, cond):
        to_text = each.weights[..., :5]
        assert (to_text[..., ~mask[0]] == 0).all() and (to_text[..., mask[0]] > 0).all()


def test_maps_over_the_text_are_the_mean_over_heads_and_layers_in_one_size():
    weights = torch.zeros(1, 2, 4, 2 + 4)
    weights[0, 0, 3, 1] = 1  # one head's last pixel looks at the second token
    layers = [Looked("a", 2, weights), Looked("b", 2, torch.zeros_like(weights))]
    maps = over_text(layers, 2)
    assert maps.shape == (1, 2, 2, 2)
    assert maps[0, 1, 1, 1] == pytest.approx(0.25) and maps.sum() == pytest.approx(0.25)


def test_a_network_whose_pixels_do_not_look_around_gets_a_sentence():
    class Plain(torch.nn.Module):
        def forward(self, x, t, cond=None):
            return x

    with pytest.raises(ValueError, match="no pixels that look at each other"):
        looked_at(Denoiser(Plain(), linear(50)), torch.randn(1, 3, 8, 8), 20)
    with pytest.raises(ValueError, match="nothing to average"):
        over_text([], 8)
