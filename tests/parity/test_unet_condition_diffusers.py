"""The whole U-Net of Stable Diffusion 1.x, with small widths, against the one of diffusers: under
the names of released files, with the times of each."""

from dataclasses import replace

import pytest
import torch

from labkit.conditioning import Conditioning
from labkit.hub.diffusers import as_today, unet_names
from labkit.hub.files import translated
from labkit.nets.unet import UNet, UNetConfig
from tests.parity.test_blocks import drawn

diffusers = pytest.importorskip("diffusers")

STABLE = UNetConfig(
    size=16, channels=4, width=32, multipliers=(1, 2, 4, 4), attention=(16, 8, 4), heads=8,
    groups=8, mixer="spatial", tokens=24, first_time=0,
)  # fmt: skip
CONFIGS = {
    "as Stable Diffusion 1.x": STABLE,
    "spatial transformers of two blocks": replace(STABLE, multipliers=(1, 2), depth=2, blocks=1),
    "attention at the coarsest level as well": replace(STABLE, multipliers=(1, 2), blocks=1),
    "attention at the coarsest level alone": replace(STABLE, multipliers=(1, 2), attention=(8,)),
}


def theirs(c: UNetConfig) -> torch.nn.Module:
    """The diffusers network of that configuration, every parameter drawn at random."""
    looks = [c.size // 2**level in c.attention for level in range(len(c.multipliers))]
    return drawn(
        diffusers.UNet2DConditionModel(
            sample_size=c.size,
            in_channels=c.channels,
            out_channels=c.channels,
            block_out_channels=tuple(c.level_widths),
            down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in looks),
            up_block_types=tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in looks[::-1]),
            layers_per_block=c.blocks,
            transformer_layers_per_block=c.depth,
            attention_head_dim=c.heads,  # of that number, whatever it is called
            norm_num_groups=c.groups,
            cross_attention_dim=c.tokens,
        )
    )


@torch.no_grad()
@pytest.mark.parametrize("name", CONFIGS)
def test_the_same_weights_give_the_output_of_diffusers_at_times_counted_from_one(name):
    torch.manual_seed(0)
    config = CONFIGS[name]
    their, ours = theirs(config), UNet(config).eval()
    names = unet_names(ours)
    assert sorted(names) == sorted(ours.state_dict())
    ours.load_state_dict(translated(as_today(their.state_dict()), names, ours, "theirs"))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in their.parameters())
    x, tokens = torch.randn(3, 4, 16, 16), torch.randn(3, 7, 24)
    t = torch.tensor([1, 500, 1000])
    expected = their(x, t - 1, encoder_hidden_states=tokens).sample
    assert expected.std() > 0.1
    actual = ours(x, t, Conditioning(tokens=tokens))
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)
    ours.config = replace(config, first_time=1)  # unshifted, it is wrong by more than rounding
    assert (ours(x, t, Conditioning(tokens=tokens)) - expected).abs().max() > 1e-3
