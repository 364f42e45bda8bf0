"""The blocks that later systems are made of, against transformers and diffusers at random weights:
T5's, the prior's, the spatial transformer's, and the whole U-Net of Stable Diffusion, made small.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.conditioning import Conditioning
from labkit.nets.attention import SelfAttention, causal
from labkit.nets.spatial import SpatialTransformer
from labkit.nets.transformer import Block, mlp
from labkit.nets.unet import UNet, UNetConfig
from tests.parity.test_unet_diffusers import copy_residual, same

diffusers = pytest.importorskip("diffusers")
BasicTransformerBlock = pytest.importorskip("diffusers.models.attention").BasicTransformerBlock
transformers = pytest.importorskip("transformers")


def drawn(net: nn.Module) -> nn.Module:
    """The network with every parameter drawn at random, so that nothing is silent."""
    for parameter in net.parameters():
        fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
        nn.init.normal_(parameter, std=fan_in**-0.5)
    return net.eval()


def joined(*layers: nn.Linear) -> dict:
    """Several linear maps of one input as one."""
    state = {"weight": torch.cat([layer.weight for layer in layers])}
    if layers[0].bias is not None:
        state["bias"] = torch.cat([layer.bias for layer in layers])
    return state


class GatedMLP(nn.Module):
    """T5 v1.1's: a hidden layer times the GELU of a gate, no biases."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.gate, self.inner = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.out = nn.Linear(hidden, width, bias=False)

    def forward(self, x):
        return self.out(F.gelu(self.gate(x), approximate="tanh") * self.inner(x))


@torch.no_grad()
def test_a_block_is_t5_s_with_its_norm_its_bias_and_without_a_scale():
    torch.manual_seed(0)
    config = transformers.T5Config(
        d_model=20, d_kv=8, num_heads=3, d_ff=32, feed_forward_proj="gated-gelu",
        is_encoder_decoder=False, num_layers=1, dropout_rate=0.0,
    )  # fmt: skip
    their = drawn(transformers.models.t5.modeling_t5.T5Block(config))
    attention = SelfAttention(20, 3, head_width=8, bias=False, out_bias=False, scale=1.0)
    ours = Block(nn.RMSNorm(20, eps=1e-6), attention, GatedMLP(20, 32))
    look, think = their.layer[0], their.layer[1]
    heads = look.SelfAttention
    attention.qkv.load_state_dict(joined(heads.q, heads.k, heads.v))
    same(attention.out, heads.o)
    same(ours.norm1, look.layer_norm)
    same(ours.norm2, think.layer_norm)
    same(ours.mlp.gate, think.DenseReluDense.wi_0)
    same(ours.mlp.inner, think.DenseReluDense.wi_1)
    same(ours.mlp.out, think.DenseReluDense.wo)
    x, bias = torch.randn(2, 6, 20), torch.randn(1, 3, 6, 6)
    mask = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])[:, None, None]
    theirs = bias.expand(2, -1, -1, -1).masked_fill(~mask, torch.finfo(x.dtype).min)
    expected = their(x, position_bias=theirs)[0]
    assert expected.std() > 0.5
    torch.testing.assert_close(ours(x, mask, bias), expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_a_block_is_the_causal_prior_s():
    torch.manual_seed(0)
    their = drawn(BasicTransformerBlock(24, 4, 6, activation_fn="gelu", attention_bias=True))
    ours = Block(nn.LayerNorm(24), SelfAttention(24, 4), mlp(24, nn.GELU()))
    ours.attention.qkv.load_state_dict(joined(their.attn1.to_q, their.attn1.to_k, their.attn1.to_v))
    same(ours.attention.out, their.attn1.to_out[0])
    same(ours.norm1, their.norm1)
    same(ours.norm2, their.norm3)
    same(ours.mlp[0], their.ff.net[0].proj)
    same(ours.mlp[2], their.ff.net[2])
    x, mask = torch.randn(2, 6, 24), causal(6)
    hidden = torch.zeros(2, 6, 6).masked_fill(~mask[0], -10_000.0)
    expected = their(x, attention_mask=hidden)
    assert expected.std() > 0.5
    torch.testing.assert_close(ours(x, mask), expected, atol=1e-5, rtol=1e-5)


def copy_spatial(ours: SpatialTransformer, their) -> None:
    same(ours.norm, their.norm)
    for name in ("proj_in", "proj_out"):  # theirs may be a convolution of 1 × 1
        source = getattr(their, name)
        getattr(ours, name).load_state_dict(
            {"weight": source.weight.flatten(1), "bias": source.bias}
        )
    for block, other in zip(ours.blocks, their.transformer_blocks, strict=True):
        same(block.norm1, other.norm1)
        same(block.norm_cross, other.norm2)
        same(block.norm2, other.norm3)
        own, cross = other.attn1, other.attn2
        block.attention.qkv.load_state_dict(joined(own.to_q, own.to_k, own.to_v))
        same(block.attention.out, own.to_out[0])
        same(block.cross.q, cross.to_q)
        block.cross.kv.load_state_dict(joined(cross.to_k, cross.to_v))
        same(block.cross.out, cross.to_out[0])
        same(block.mlp.inner, other.ff.net[0].proj)
        same(block.mlp.out, other.ff.net[2])


@torch.no_grad()
@pytest.mark.parametrize("depth", [1, 2])
def test_a_spatial_transformer_is_that_of_diffusers(depth):
    torch.manual_seed(0)
    their = drawn(
        diffusers.Transformer2DModel(
            num_attention_heads=2, attention_head_dim=8, in_channels=16, num_layers=depth,
            norm_num_groups=4, cross_attention_dim=10,
        )
    )  # fmt: skip
    ours = SpatialTransformer(16, heads=2, groups=4, context=10, depth=depth)
    copy_spatial(ours, their)
    x, tokens = torch.randn(2, 16, 4, 4), torch.randn(2, 5, 10)
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    expected = their(x, encoder_hidden_states=tokens, encoder_attention_mask=mask).sample
    actual = ours(x, None, Conditioning(tokens=tokens, mask=mask))
    assert expected.std() > 0.5
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


SMALL = UNetConfig(
    size=16, channels=4, width=32, multipliers=(1, 2), blocks=(1, 1), attention=(16,), heads=4,
    groups=8, mixer="spatial", tokens=12, first_time=0,
)  # fmt: skip


@torch.no_grad()
def test_the_u_net_of_latent_diffusion_is_that_of_diffusers_and_counts_its_times_from_zero():
    torch.manual_seed(0)
    their = drawn(
        diffusers.UNet2DConditionModel(
            sample_size=16, in_channels=4, out_channels=4, block_out_channels=(32, 64),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1, attention_head_dim=4, norm_num_groups=8, cross_attention_dim=12,
        )
    )  # fmt: skip
    ours = UNet(SMALL).eval()
    same(ours.time[0], their.time_embedding.linear_1)
    same(ours.time[2], their.time_embedding.linear_2)
    same(ours.conv_in, their.conv_in)
    first, second = their.down_blocks
    copy_residual(ours.down[0][0], first.resnets[0])
    copy_spatial(ours.down[0][1], first.attentions[0])
    same(ours.down[1][0].conv, first.downsamplers[0].conv)
    copy_residual(ours.down[2][0], second.resnets[0])
    copy_residual(ours.middle[0], their.mid_block.resnets[0])
    copy_spatial(ours.middle[1], their.mid_block.attentions[0])
    copy_residual(ours.middle[2], their.mid_block.resnets[1])
    coarse, fine = their.up_blocks
    for layers, residual in zip(ours.up[:2], coarse.resnets):
        copy_residual(layers[0], residual)
    same(ours.up[1][1].conv, coarse.upsamplers[0].conv)
    for layers, residual, attention in zip(ours.up[2:], fine.resnets, fine.attentions):
        copy_residual(layers[0], residual)
        copy_spatial(layers[1], attention)
    same(ours.conv_out[0], their.conv_norm_out)
    same(ours.conv_out[2], their.conv_out)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in their.parameters())
    x, tokens, t = torch.randn(2, 4, 16, 16), torch.randn(2, 5, 12), torch.tensor([1, 500])
    expected = their(x, t - 1, encoder_hidden_states=tokens).sample
    assert expected.std() > 0.1
    actual = ours(x, t, Conditioning(tokens=tokens))
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)
