"""The U-Net: the papers' parameter counts, and every route of a condition."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch.utils.checkpoint import checkpoint

from labkit.conditioning import Conditioning
from labkit.nets.layers import Residual, Upsample
from labkit.nets.unet import UNet, UNetConfig

IDDPM = {
    "blocks": 3,
    "attention": (16, 8),
    "heads": 4,
    "scale_shift_norm": True,
    "learned_variance": True,
}
ADM = {
    "width": 256, "attention": (32, 16, 8), "head_channels": 64, "scale_shift_norm": True,
    "residual_resampling": True, "learned_variance": True, "vector": 1000,
}  # fmt: skip
DEEP = (1, 1, 2, 2, 4, 4)
PAPERS = {
    "DDPM, CIFAR-10": ("35.746", UNetConfig()),
    "DDIM, CelebA-64": ("78.701", UNetConfig(size=64, multipliers=(1, 2, 2, 2, 4))),
    "DDPM, 256 x 256": ("113.673", UNetConfig(size=256, multipliers=DEEP)),
    "Improved DDPM, CIFAR-10": ("52.5", UNetConfig(**IDDPM)),
    "Improved DDPM, ImageNet-64": ("121.06", UNetConfig(64, multipliers=(1, 2, 3, 4), **IDDPM)),
    "ADM, ImageNet-64": (
        "295.9",
        UNetConfig(64, multipliers=(1, 2, 3, 4), blocks=3, **ADM | {"width": 192}),
    ),
    "ADM, ImageNet-128": ("421.5", UNetConfig(128, multipliers=(1, 1, 2, 3, 4), **ADM)),
    "ADM, ImageNet-256": ("553.8", UNetConfig(256, multipliers=DEEP, **ADM)),
    "ADM, ImageNet-512": ("559.0", UNetConfig(512, multipliers=(0.5, *DEEP), **ADM)),
    "ADM, LSUN-256": ("552.8", UNetConfig(256, multipliers=DEEP, **ADM | {"vector": None})),
    "ADM upsampler, 64 to 256": (
        "312",
        UNetConfig(256, multipliers=DEEP, image=3, **ADM | {"width": 192}),
    ),
}
TINY = UNetConfig(
    size=8, channels=2, width=8, multipliers=(1, 2), blocks=1, attention=(4,), groups=4
)


def awake(config: UNetConfig, seed: int = 0) -> UNet:
    """A network whose layers that start at zero are drawn at random, so that everything counts."""
    torch.manual_seed(seed)
    net = UNet(config).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1)
    return net


def batch(config: UNetConfig, n: int = 3):
    x = torch.randn(n, config.channels, config.size, config.size)
    return x, torch.randint(1, 1001, (n,))


@pytest.mark.parametrize("name", PAPERS)
def test_a_papers_configuration_has_the_papers_number_of_parameters(name):
    millions, config = PAPERS[name]
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in UNet(config).parameters())
    decimals = len(millions.partition(".")[2])
    assert f"{count / 1e6:.{decimals}f}" == millions


def count(net: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_latent_diffusion_s_u_net_has_as_many_parameters_as_stable_diffusion_1():
    config = UNetConfig(
        size=64, channels=4, width=320, multipliers=(1, 2, 4, 4), attention=(64, 32, 16), heads=8,
        mixer="spatial", tokens=768, first_time=0,
    )  # fmt: skip
    with torch.device("meta"):
        assert count(UNet(config)) == 859_520_964


def test_a_level_may_have_blocks_of_its_own_number():
    config = replace(TINY, blocks=(1, 3))
    net = awake(config)
    assert [len(net.down), len(net.up)] == [1 + 1 + 3, 4 + 2]
    assert net(*batch(config)).shape == (3, 2, 8, 8)
    assert replace(TINY, blocks=np.int64(2)) == replace(TINY, blocks=2)
    same = replace(TINY, blocks=(2, 2))
    assert count(UNet(same)) == count(UNet(replace(TINY, blocks=2)))


def test_the_cleanest_time_may_have_another_name():
    one, zero = awake(TINY), awake(replace(TINY, first_time=0))
    zero.load_state_dict(one.state_dict())
    x, t = batch(TINY)
    torch.testing.assert_close(zero(x, t), one(x, t - 1))


def test_the_spatial_transformer_hears_tokens_and_hides_masked_ones():
    config = replace(TINY, mixer="spatial", tokens=6, depth=2)
    net = awake(config)
    x, t = batch(config)
    tokens, mask = torch.randn(3, 4, 6), torch.tensor([[True, True, False, False]]).expand(3, 4)
    heard = net(x, t, Conditioning(tokens=tokens, mask=mask))
    torch.testing.assert_close(heard, net(x, t, Conditioning(tokens=tokens[:, :2])))
    assert (heard - net(x, t, Conditioning(tokens=tokens))).abs().max() > 1e-5


def test_activations_can_be_computed_again_instead_of_kept():
    net = awake(replace(TINY, vector=5))
    x, t = batch(TINY)
    cond = Conditioning(vector=torch.randn(3, 5))
    kept = torch.autograd.grad(net(x, t, cond).sum(), net.conv_in.weight)
    out = checkpoint(net, x, t, cond, use_reentrant=False)
    torch.testing.assert_close(torch.autograd.grad(out.sum(), net.conv_in.weight), kept)


def test_a_fresh_network_returns_zeros():
    assert not UNet(TINY)(*batch(TINY)).any()


@pytest.mark.parametrize("fold", [1, 2])
@pytest.mark.parametrize("adagn", [False, True])
@pytest.mark.parametrize("residual_resampling", [False, True])
def test_the_output_has_the_shape_of_x(fold, adagn, residual_resampling):
    config = replace(
        TINY, fold=fold, scale_shift_norm=adagn, residual_resampling=residual_resampling
    )
    x, t = batch(config)
    assert awake(config)(x, t).shape == x.shape


def test_learned_variance_doubles_the_channels():
    config = replace(TINY, learned_variance=True)
    assert awake(config)(*batch(config)).shape == (3, 4, 8, 8)


def test_another_size_than_the_configs_works_if_it_can_be_halved():
    net = awake(TINY)
    assert net(torch.randn(2, 2, 12, 20), torch.tensor([1, 2])).shape == (2, 2, 12, 20)


def test_rows_do_not_see_each_other():
    config = replace(TINY, fold=2, scale_shift_norm=True, dropout=0.5)
    net = awake(config)
    x, t = batch(config)
    torch.testing.assert_close(net(x, t)[1:2], net(x[1:2], t[1:2]))


def test_time_and_vector_change_the_output_and_a_zero_vector_says_nothing():
    config = replace(TINY, vector=5)
    net = awake(config)
    x, t = batch(config)
    plain = net(x, t)
    assert (net(x, t % 1000 + 1) - plain).abs().max() > 1e-4
    assert (net(x, t, Conditioning(vector=torch.randn(3, 5))) - plain).abs().max() > 1e-4
    assert torch.equal(net(x, t, Conditioning(vector=torch.zeros(3, 5))), plain)


def test_image_is_laid_beside_x():
    config = replace(TINY, image=1)
    net = awake(config)
    x, t = batch(config)
    one, two = (net(x, t, Conditioning(image=torch.full((3, 1, 8, 8), v))) for v in (0.0, 1.0))
    assert (one - two).abs().max() > 1e-4


def test_tokens_are_attended_to_in_any_order_and_masked_ones_are_not():
    config = replace(TINY, tokens=6)
    net = awake(config)
    x, t = batch(config)
    tokens = torch.randn(3, 4, 6)
    mask = torch.tensor([[True, True, False, False]]).expand(3, 4)
    heard = net(x, t, Conditioning(tokens=tokens, mask=mask))
    assert (heard - net(x, t)).abs().max() > 1e-5
    torch.testing.assert_close(heard, net(x, t, Conditioning(tokens=tokens[:, :2])))
    torch.testing.assert_close(heard, net(x, t, Conditioning(tokens=tokens[:, [1, 0]])))
    nobody = Conditioning(tokens=tokens, mask=torch.zeros(3, 4, dtype=torch.bool))
    torch.testing.assert_close(net(x, t, nobody), net(x, t))


def test_pixels_and_tokens_share_one_softmax():
    net = awake(replace(TINY, tokens=6))
    layer = net.middle[1]
    x, tokens = torch.randn(1, 16, 2, 2), torch.randn(1, 3, 6)
    pixels = layer.norm(x).flatten(2).transpose(1, 2)
    q, k, v = layer.qkv(pixels).chunk(3, dim=2)
    k2, v2 = layer.token_kv(tokens).chunk(2, dim=2)
    weights = (q @ torch.cat([k2, k], dim=1).transpose(1, 2) / 16**0.5).softmax(2)  # (1, 4, 7)
    expected = x + layer.out(weights @ torch.cat([v2, v], dim=1)).transpose(1, 2).view_as(x)
    torch.testing.assert_close(layer(x, None, Conditioning(tokens=tokens)), expected)


def test_folding_is_a_network_on_squares_of_pixels():
    folded = awake(replace(TINY, fold=2))
    plain = awake(replace(TINY, size=4, channels=8))
    plain.load_state_dict(folded.state_dict())
    x, t = batch(folded.config)
    squares = torch.nn.functional.pixel_unshuffle(x, 2)
    torch.testing.assert_close(
        torch.nn.functional.pixel_unshuffle(folded(x, t), 2), plain(squares, t)
    )


def test_a_configuration_survives_json():
    assert UNetConfig(**json.loads(json.dumps(asdict(TINY)))) == TINY


@pytest.mark.parametrize(
    "change",
    [
        {"size": 9},
        {"size": 0},
        {"fold": 0},
        {"fold": 3},
        {"width": 9},
        {"groups": 3},
        {"heads": 3},
        {"blocks": (1, 1, 1)},
        {"blocks": ()},
        {"depth": 0},
    ],  # fmt: skip
)
def test_an_impossible_configuration_is_refused_in_one_sentence(change):
    with pytest.raises(ValueError, match=r"^[A-Z].*\.$"):
        replace(TINY, **change)


def test_an_image_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="multiples of 2"):
        UNet(TINY)(torch.randn(1, 2, 8, 7), torch.tensor([1]))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head_channels": 6}, "heads of 6"),
        ({"depth": 3}, 'mixer is "pixels"'),
        ({"depth": 3, "mixer": "cross", "tokens": 4}, 'mixer is "cross"'),
        ({"blocks": 0}, "number of blocks is 0, .* at least 1"),
        ({"blocks": (1, 1.5)}, "number of blocks is 1.5"),
        ({"blocks": 2.5}, "number of blocks is 2.5"),
        ({"skip_scale": "half"}, "skip_scale is 'half'"),
        ({"skip_scale": float("nan")}, "skip_scale is nan"),
        ({"first_time": -500}, "0 or 1"),
        ({"width": 9, "groups": 3}, "must be even"),
    ],
)
def test_what_would_be_ignored_or_built_otherwise_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(TINY, **change)


def test_heads_must_divide_only_where_there_is_attention():
    config = UNetConfig(
        size=16, width=32, multipliers=(1, 2), blocks=1, attention=(8,), head_channels=64, groups=8
    )
    assert awake(config)(*batch(config)).shape == (3, 3, 16, 16)


EFFICIENT = replace(TINY, size=16, resample_first=True, skip_scale=0.5**0.5, blocks=(1, 2))


def test_imagens_efficient_u_net_halves_first_and_doubles_last():
    """No residual block works at the full resolution, and each level has its own number."""
    net, sides = awake(EFFICIENT), []
    for part in net.modules():
        if isinstance(part, Residual):
            part.register_forward_hook(lambda part, inputs, out: sides.append(out.shape[-1]))
    x, t = batch(EFFICIENT)
    assert net(x, t).shape == x.shape
    assert EFFICIENT.level_sides == [8, 4] and max(sides) == 8
    assert sides == [8] + [4, 4] + [4, 4] + [4, 4, 4] + [8, 8]
    assert [type(layers[0]).__name__ for layers in net.down] == [
        "Downsample", "Residual", "Downsample", "Residual", "Residual",
    ]  # fmt: skip
    assert net.down[2][0].conv.weight.shape[:2] == (16, 8)  # the convolution widens, too
    assert [type(layers[-1]).__name__ for layers in net.up].count("Upsample") == 2
    assert isinstance(net.up[-1][-1], Upsample)


def test_what_a_skip_connection_brings_is_scaled():
    plain = awake(replace(EFFICIENT, skip_scale=1.0))
    scaled = awake(EFFICIENT)
    scaled.load_state_dict(plain.state_dict())
    heard = []
    scaled.up[0].register_forward_pre_hook(lambda part, args: heard.append(args[0]))
    scaled.middle.register_forward_hook(lambda part, args, out: heard.extend([args[0], out]))
    x, t = batch(EFFICIENT)
    out = scaled(x, t)
    before, after, joined = heard
    torch.testing.assert_close(joined, torch.cat([after, 0.5**0.5 * before], dim=1))
    assert (out - plain(x, t)).abs().max() > 1e-4


def test_a_network_that_halves_first_needs_sides_that_can_be_halved_once_more():
    with pytest.raises(ValueError, match="multiples of 4"):
        replace(TINY, resample_first=True, size=10)
    assert replace(TINY, size=12).level_sides == [12, 6]
    crops = awake(EFFICIENT)(torch.randn(2, 2, 8, 8), torch.tensor([1, 2]))  # learned on crops
    assert crops.shape == (2, 2, 8, 8)


def test_residual_resampling_may_stand_first_too():
    config = replace(EFFICIENT, residual_resampling=True)
    assert awake(config)(*batch(config)).shape == (3, 2, 16, 16)


def test_the_cross_mixer_looks_at_tokens_and_at_no_other_pixel():
    config = replace(TINY, mixer="cross", tokens=6, attention=(8,))
    layer = awake(config).down[0][1]
    x, tokens = torch.randn(1, 8, 4, 4), torch.randn(1, 3, 6)
    mask = torch.tensor([[True, True, False]])
    cond = Conditioning(tokens=tokens, mask=mask)
    heard = layer(x, None, cond) - x
    torch.testing.assert_close(heard, layer(x, None, Conditioning(tokens=tokens[:, :2])) - x)
    attention, pixels = layer.attention, layer.norm(x).flatten(2).transpose(1, 2)
    k, v = attention.kv(tokens[:, :2]).chunk(2, dim=2)
    weights = (attention.q(pixels) @ k.transpose(1, 2) / 8**0.5).softmax(2)  # (1, 16, 2)
    expected = attention.out(weights @ v).transpose(1, 2).view_as(x)
    torch.testing.assert_close(heard, expected)
    nobody = cond._replace(mask=torch.zeros_like(mask))
    bias = attention.out.bias[None, :, None, None].expand_as(x)
    torch.testing.assert_close(layer(x, None, nobody) - x, bias)


def test_the_cross_mixer_needs_tokens():
    with pytest.raises(ValueError, match="looks at tokens alone"):
        replace(TINY, mixer="cross")
    config = replace(TINY, mixer="cross", tokens=6)
    with pytest.raises(ValueError, match="no tokens"):
        awake(config)(*batch(config))
