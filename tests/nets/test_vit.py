"""The vision transformer: patches, positions, and the class token."""

import pytest
import torch
from torch import nn

from labkit.nets.vit import ViT, ViTConfig

SMALL = ViTConfig(size=12, patch=4, width=16, depth=2, heads=4)


def looker() -> ViT:
    torch.manual_seed(0)
    net = ViT(SMALL, dim=5)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.8)
    return net.eval()


def swapped(x: torch.Tensor) -> torch.Tensor:
    """The patch at the top left and the one at the bottom right change places."""
    y = x.clone()
    y[:, :, :4, :4], y[:, :, 8:, 8:] = x[:, :, 8:, 8:], x[:, :, :4, :4]
    return y


def test_only_the_position_embedding_tells_it_where_a_patch_lies():
    net, x = looker(), torch.randn(2, 3, 12, 12)
    assert net(x).shape == (2, 5)
    assert (net(x) - net(swapped(x))).abs().max() > 0.01
    with torch.no_grad():
        net.pos_emb[1:] = net.pos_emb[1]
    assert torch.allclose(net(x), net(swapped(x)), atol=1e-5)


def test_every_patch_reaches_the_answer():
    net = looker()
    x = torch.randn(1, 3, 12, 12, requires_grad=True)
    net(x).square().sum().backward()
    assert (x.grad.abs().amax(1) > 0).all()


def test_it_looks_through_one_linear_map_without_bias_at_each_patch():
    net, x = looker(), torch.randn(2, 3, 12, 12)
    assert net.patches.bias is None
    patch = x[:, :, 4:8, 8:12].flatten(1)  # second row, third column
    expected = patch @ net.patches.weight.flatten(1).T
    assert torch.allclose(net.patches(x)[:, :, 1, 2], expected, atol=1e-5)


@pytest.mark.parametrize("options", [{"patch": 5}, {"heads": 3}, {"size": 0}, {"depth": 1.5}])
def test_a_network_that_cannot_be_built_is_refused_in_one_sentence(options):
    with pytest.raises(ValueError, match="^[^\n]+$"):
        ViTConfig(**{"size": 12, "patch": 4, "width": 16, "depth": 2, "heads": 4} | options)
