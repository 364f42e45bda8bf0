"""CLIP's ResNet: its maps, its averages in place of strides, its silent branches, its pool."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.nets.resnet import Bottleneck, ResNet, ResNetConfig

SMALL = ResNetConfig(size=32, width=8, blocks=(1, 2), heads=4, stem=2)


def test_the_maps_of_the_paper_s_net_have_the_shapes_that_the_paper_says():
    with torch.device("meta"):
        net, x = ResNet(ResNetConfig(), dim=1024), torch.empty(1, 3, 224, 224)
        shapes = [tuple(feature.shape[1:]) for feature in net.maps(x)]
        assert net(x).shape == (1, 1024)
    assert shapes == [(64, 56, 56), (256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)]
    assert sum(p.numel() for p in net.parameters()) == 38_316_896
    assert len(net.pool.pos_emb) == 7 * 7 + 1


@pytest.mark.parametrize("stem, side", [(1, 32), (2, 16), (4, 8)])
def test_small_pictures_can_be_shrunk_less(stem, side):
    net = ResNet(ResNetConfig(size=32, width=8, blocks=(1, 1), heads=4, stem=stem), dim=6)
    first, *_, last = net.maps(torch.randn(2, 3, 32, 32))
    assert first.shape == (2, 8, side, side) and last.shape == (2, 64, side // 2, side // 2)
    assert net(torch.randn(2, 3, 32, 32)).shape == (2, 6)


def test_where_the_resolution_halves_it_averages_so_that_no_phase_of_a_fine_pattern_is_lost():
    torch.manual_seed(0)
    block = Bottleneck(4, 4, halves=True).eval()
    nn.init.ones_(block.norm3.weight)
    nn.init.zeros_(block.conv2.weight)
    block.conv2.weight.data[:, :, 1, 1] = torch.rand(4, 4)
    stripes = torch.zeros(1, 4, 8, 8)
    stripes[:, :, :, ::2] = 1
    # A stride of two would see stripes in the one case and nothing in the other.
    assert torch.allclose(block(stripes), block(stripes.roll(1, 3)), atol=1e-6)
    assert block(stripes).abs().sum() > 0
    assert block(stripes).shape == (1, 16, 4, 4)


def test_every_branch_starts_silent():
    torch.manual_seed(0)
    block, x = Bottleneck(16, 4, halves=False), torch.randn(2, 16, 6, 6)
    assert torch.equal(block(x), F.relu(x))


def test_a_block_adds_three_convolutions_to_what_was_there():
    torch.manual_seed(0)
    block, x = Bottleneck(16, 4, halves=False).double(), torch.randn(3, 16, 6, 6).double()
    nn.init.normal_(block.norm3.weight)

    def normed(h):  # as a batch is normed in training
        mean, var = h.mean((0, 2, 3), keepdim=True), h.var((0, 2, 3), keepdim=True, correction=0)
        return (h - mean) / (var + 1e-5).sqrt()

    h = normed(torch.einsum("oi,bihw->bohw", block.conv1.weight[:, :, 0, 0], x)).clamp(min=0)
    windows = F.unfold(h, 3, padding=1).unflatten(2, (6, 6))  # (B, 4 · 9, 6, 6)
    h = normed(torch.einsum("oi,bihw->bohw", block.conv2.weight.flatten(1), windows)).clamp(min=0)
    h = normed(torch.einsum("oi,bihw->bohw", block.conv3.weight[:, :, 0, 0], h))
    expected = (x + h * block.norm3.weight[:, None, None]).clamp(min=0)
    assert torch.allclose(block(x), expected, atol=1e-9)


def test_the_pool_asks_with_the_mean_and_is_drawn_as_the_paper_s_code_draws_it():
    torch.manual_seed(0)
    net = ResNet(SMALL, dim=5).double()
    last = torch.randn(2, 64, 8, 8).double()
    pixels = last.flatten(2).permute(2, 0, 1)  # (HW, B, C)
    tokens = torch.cat([pixels.mean(0, keepdim=True), pixels]) + net.pool.pos_emb[:, None]
    q, k, v = net.pool.qkv.weight.chunk(3)
    expected, _ = F.multi_head_attention_forward(
        tokens[:1], tokens, tokens, 64, 4, None, net.pool.qkv.bias, None, None, False, 0.0,
        net.pool.out.weight, net.pool.out.bias, use_separate_proj_weight=True,
        q_proj_weight=q, k_proj_weight=k, v_proj_weight=v,
    )  # fmt: skip
    assert torch.allclose(net.pool(last), expected[0])
    assert net.pool.qkv.weight.std().item() == pytest.approx(1 / 8, rel=0.05)


@pytest.mark.parametrize(
    "options",
    [{"blocks": ()}, {"blocks": (1, 0)}, {"stem": 3}, {"size": 30}, {"heads": 5}, {"width": 7}],
)
def test_a_network_that_cannot_be_built_is_refused_in_one_sentence(options):
    with pytest.raises(ValueError, match="^[^\n]+$"):
        ResNetConfig(**{"size": 32, "width": 8, "blocks": (1, 1, 1), "heads": 4} | options)
