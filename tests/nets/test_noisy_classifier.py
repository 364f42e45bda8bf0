"""The noisy classifier against the published sizes, and what an attention pool must do."""

import pytest
import torch

from labkit.nets.attention import AttentionPool
from labkit.nets.noisy_classifier import NoisyClassifier, NoisyClassifierConfig
from labkit.nets.unet import UNetConfig

SMALL = NoisyClassifierConfig(
    UNetConfig(
        size=8, channels=1, width=16, multipliers=(1, 2), blocks=1, attention=(4,), groups=8
    ),
    classes=3,
    pool_channels=16,
)


@pytest.mark.parametrize(
    ("size", "multipliers", "blocks", "millions"),
    [
        (64, (1, 2, 3, 4), 4, 65.4),
        (128, (1, 1, 2, 3, 4), 2, 42.6),
        (256, (1, 1, 2, 2, 4, 4), 2, 54.1),
        (512, (0.5, 1, 1, 2, 2, 4, 4), 2, 54.5),
    ],
)
def test_at_the_paper_s_settings_it_has_the_paper_s_size(size, multipliers, blocks, millions):
    config = UNetConfig(
        size=size, width=128, multipliers=multipliers, blocks=blocks, attention=(32, 16, 8),
        head_channels=64, scale_shift_norm=True, residual_resampling=True,
    )  # fmt: skip
    with torch.device("meta"):
        net = NoisyClassifier(NoisyClassifierConfig(config, classes=1000))
    count = sum(parameter.numel() for parameter in net.parameters())
    assert count / 1e6 == pytest.approx(millions, rel=1e-3)


def test_it_hears_the_time():
    net = NoisyClassifier(SMALL)
    for parameter in net.parameters():  # zero-initialised branches hear nothing yet
        torch.nn.init.normal_(parameter, std=0.2)
    x = torch.randn(1, 1, 8, 8)
    early, late = net(x, torch.tensor([1])), net(x, torch.tensor([900]))
    assert early.shape == (1, 3)
    assert (early - late).abs().max() > 1e-3


def test_the_pool_answers_the_mean_and_nothing_else():
    torch.manual_seed(0)
    pool = AttentionPool(8, 4, heads=2, outputs=5).double()
    x = torch.randn(2, 8, 4, 4, dtype=torch.float64)
    tokens = torch.cat([x.flatten(2).mean(2, keepdim=True), x.flatten(2)], 2).transpose(1, 2)
    q, k, v = pool.qkv(tokens + pool.pos_emb).chunk(3, 2)  # (B, 17, 8)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        weight = (q[:, :1, part] @ k[..., part].transpose(1, 2) / 4**0.5).softmax(-1)
        heads.append(weight @ v[..., part])
    expected = pool.out(torch.cat(heads, 2)[:, 0])
    torch.testing.assert_close(pool(x), expected, rtol=1e-10, atol=1e-10)


def test_its_config_comes_back_from_json():
    from dataclasses import asdict

    assert NoisyClassifierConfig(**asdict(SMALL)) == SMALL


def test_pictures_of_another_size_and_odd_heads_get_a_sentence():
    with pytest.raises(ValueError, match="do not fit this classifier"):
        NoisyClassifier(SMALL)(torch.zeros(1, 1, 16, 16), torch.tensor([1]))
    with pytest.raises(ValueError, match="choose pool_channels that divide"):
        NoisyClassifierConfig(SMALL.unet, 3, pool_channels=20)
