"""The U-Net against the one of diffusers, with the same weights."""

import pytest
import torch

from labkit.nets.layers import Residual
from labkit.nets.unet import UNet, UNetConfig

diffusers = pytest.importorskip("diffusers")


def theirs(config: UNetConfig):
    """The diffusers network of that configuration, with every parameter drawn at random."""
    levels = range(len(config.multipliers))
    attends = [config.size // 2**level in config.attention for level in levels]
    net = diffusers.UNet2DModel(
        sample_size=config.size,
        in_channels=config.channels,
        out_channels=config.channels,
        block_out_channels=tuple(config.level_widths),
        layers_per_block=config.blocks,
        down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
        up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
        attention_head_dim=config.head_channels,
        norm_num_groups=config.groups,
        norm_eps=1e-5,
        resnet_time_scale_shift="scale_shift" if config.scale_shift_norm else "default",
        downsample_padding=0 if config.asymmetric_pad else 1,
        flip_sin_to_cos=not config.sin_first,
        freq_shift=1 if config.sin_first else 0,
    )
    with torch.no_grad():
        for parameter in net.parameters():
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
            parameter.normal_(0, fan_in**-0.5)
    return net.eval()


def same(ours: torch.nn.Module, their: torch.nn.Module) -> None:
    ours.load_state_dict(their.state_dict())


def copy_residual(ours, their) -> None:
    same(ours.norm1, their.norm1)
    same(ours.conv1, their.conv1)
    same(ours.emb, their.time_emb_proj)
    same(ours.norm2, their.norm2)
    same(ours.conv2, their.conv2)
    if their.conv_shortcut is not None:
        same(ours.skip, their.conv_shortcut)


def copy_attention(ours, their) -> None:
    parts = (their.to_q, their.to_k, their.to_v)
    same(ours.norm, their.group_norm)
    ours.qkv.weight.copy_(torch.cat([part.weight for part in parts]))
    ours.qkv.bias.copy_(torch.cat([part.bias for part in parts]))
    same(ours.out, their.to_out[0])


def copy_block(ours: list, their) -> None:
    """The stages of one level: a residual block each, perhaps attention and a resampling."""
    attentions = getattr(their, "attentions", None) or [None] * len(their.resnets)
    for stage, residual, attention in zip(ours, their.resnets, attentions, strict=False):
        copy_residual(stage[0], residual)
        if attention is not None:
            copy_attention(stage[1], attention)
    resamplers = getattr(their, "downsamplers", None) or getattr(their, "upsamplers", None)
    if resamplers:
        same(ours[-1][-1].conv, resamplers[0].conv)


@torch.no_grad()
def copy(ours: UNet, their) -> None:
    same(ours.time[0], their.time_embedding.linear_1)
    same(ours.time[2], their.time_embedding.linear_2)
    same(ours.conv_in, their.conv_in)
    down, up = iter(ours.down), iter(ours.up)
    for block in their.down_blocks:
        size = len(block.resnets) + (1 if block.downsamplers else 0)
        copy_block([next(down) for _ in range(size)], block)
    copy_residual(ours.middle[0], their.mid_block.resnets[0])
    copy_attention(ours.middle[1], their.mid_block.attentions[0])
    copy_residual(ours.middle[2], their.mid_block.resnets[1])
    for block in their.up_blocks:
        copy_block([next(up) for _ in block.resnets], block)
    same(ours.conv_out[0], their.conv_norm_out)
    same(ours.conv_out[2], their.conv_out)


CONFIGS = {
    "DDPM for CIFAR-10, narrow": UNetConfig(
        width=32, head_channels=None, asymmetric_pad=True, sin_first=True
    ),
    "three levels, attention at two": UNetConfig(
        size=16, width=32, multipliers=(1, 2, 4), blocks=1, attention=(8, 4), groups=8
    ),
    "heads of 16 channels": UNetConfig(
        size=16, channels=1, width=32, multipliers=(1, 2), attention=(8,), head_channels=16
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_weights_give_the_output_of_diffusers(name):
    torch.manual_seed(0)
    config = CONFIGS[name]
    if config.head_channels is None:  # diffusers counts channels a head, the paper heads
        assert config.heads == 1
    their = theirs(config)
    ours = UNet(config).eval()
    copy(ours, their)
    x = torch.randn(3, config.channels, config.size, config.size)
    t = torch.tensor([1, 400, 1000])
    with torch.no_grad():
        expected, actual = their(x, t).sample, ours(x, t)
    assert expected.std() > 0.1
    assert (actual - expected).abs().max() < 1e-5 * max(1, expected.abs().max())


def test_every_parameter_of_the_comparison_is_copied():
    config = CONFIGS["DDPM for CIFAR-10, narrow"]
    ours = UNet(config)
    assert sum(p.numel() for p in ours.parameters()) == sum(
        p.numel() for p in theirs(config).parameters()
    )


def test_a_residual_block_scales_and_shifts_as_that_of_diffusers():
    torch.manual_seed(0)
    their = diffusers.models.resnet.ResnetBlock2D(
        in_channels=16, out_channels=32, temb_channels=24, groups=8, eps=1e-5,
        time_embedding_norm="scale_shift",
    )  # fmt: skip
    ours = Residual(16, 32, emb=24, groups=8, scale_shift_norm=True)
    copy_residual(ours, their)
    x, emb = torch.randn(3, 16, 8, 8), torch.randn(3, 24)
    with torch.no_grad():
        assert (ours(x, emb) - their(x, emb)).abs().max() < 1e-5
