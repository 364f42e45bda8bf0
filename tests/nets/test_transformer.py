"""The transformer of CLIP: against torch's own, what causal means, where a text is read."""

import pytest
import torch
from torch import nn

from labkit.nets.attention import CrossAttention, SelfAttention, causal
from labkit.nets.transformer import (
    Block,
    QuickGELU,
    TextConfig,
    TextTransformer,
    Transformer,
    mlp,
)

SMALL = TextConfig(vocabulary=20, context=8, width=16, depth=2, heads=4, end=19)


def reader(seed: int = 0) -> TextTransformer:
    torch.manual_seed(seed)
    net = TextTransformer(SMALL, dim=5)
    for parameter in net.parameters():  # nothing silent, so that everything is seen
        nn.init.normal_(parameter, std=0.5)
    return net.eval()


@pytest.mark.parametrize("post", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_a_block_computes_what_the_encoder_layer_of_torch_does(masked, post):
    torch.manual_seed(0)
    their = nn.TransformerEncoderLayer(
        24, 4, 96, dropout=0, activation=QuickGELU(), batch_first=True, norm_first=not post
    )
    for parameter in their.parameters():
        nn.init.normal_(parameter, std=0.4)
    ours = Block(nn.LayerNorm(24), SelfAttention(24, 4), mlp(24, QuickGELU()), post)
    pairs = {
        "attention.qkv": their.self_attn.in_proj_weight,
        "attention.out": their.self_attn.out_proj.weight,
        "mlp.0": their.linear1.weight,
        "mlp.2": their.linear2.weight,
        "norm1": their.norm1.weight,
        "norm2": their.norm2.weight,
    }
    biases = {
        "attention.qkv": their.self_attn.in_proj_bias,
        "attention.out": their.self_attn.out_proj.bias,
        "mlp.0": their.linear1.bias,
        "mlp.2": their.linear2.bias,
        "norm1": their.norm1.bias,
        "norm2": their.norm2.bias,
    }
    state = {f"{name}.weight": tensor for name, tensor in pairs.items()}
    ours.load_state_dict(state | {f"{name}.bias": tensor for name, tensor in biases.items()})
    x = torch.randn(3, 7, 24)
    mask = causal(7) if masked else None
    expected = their(x, src_mask=None if mask is None else ~mask[0, 0])  # theirs: True = hidden
    assert expected.std() > 0.3
    assert torch.allclose(ours(x, mask), expected, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("post", [False, True])
def test_a_block_that_looks_at_a_context_computes_what_the_decoder_layer_of_torch_does(post):
    torch.manual_seed(0)
    their = nn.TransformerDecoderLayer(
        24, 4, 96, dropout=0, activation=QuickGELU(), batch_first=True, norm_first=not post
    )
    for parameter in their.parameters():
        nn.init.normal_(parameter, std=0.4)
    cross = CrossAttention(24, 4, 24, bias=True)
    ours = Block(nn.LayerNorm(24), SelfAttention(24, 4), mlp(24, QuickGELU()), post, cross)
    own, other = their.self_attn, their.multihead_attn
    q_weight, kv_weight = other.in_proj_weight.split((24, 48))
    q_bias, kv_bias = other.in_proj_bias.split((24, 48))
    parts = {
        "norm1": their.norm1.state_dict(),
        "norm_cross": their.norm2.state_dict(),
        "norm2": their.norm3.state_dict(),
        "attention.qkv": {"weight": own.in_proj_weight, "bias": own.in_proj_bias},
        "attention.out": own.out_proj.state_dict(),
        "cross.q": {"weight": q_weight, "bias": q_bias},
        "cross.kv": {"weight": kv_weight, "bias": kv_bias},
        "cross.out": other.out_proj.state_dict(),
        "mlp.0": their.linear1.state_dict(),
        "mlp.2": their.linear2.state_dict(),
    }
    ours.load_state_dict(
        {f"{name}.{key}": part[key] for name, part in parts.items() for key in part}
    )
    x, context, mask = torch.randn(2, 5, 24), torch.randn(2, 7, 24), causal(5)
    may = torch.tensor([[True] * 7, [True] * 3 + [False] * 4])
    expected = their(x, context, tgt_mask=~mask[0, 0], memory_key_padding_mask=~may)
    assert expected.std() > 0.3
    actual = ours(x, mask, context=context, context_mask=may[:, None, None])
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_block_without_a_context_looks_at_its_own_tokens_once_more():
    torch.manual_seed(0)
    cross = CrossAttention(24, 4, 24)
    block = Block(nn.LayerNorm(24), SelfAttention(24, 4), nn.Identity(), cross=cross)
    x = torch.randn(2, 5, 24)
    seen = x + block.attention(block.norm1(x))
    seen = seen + cross(block.norm_cross(seen), block.norm_cross(seen))
    torch.testing.assert_close(block(x), seen + block.norm2(seen))


def test_quick_gelu_is_near_gelu_but_not_gelu():
    x = torch.linspace(-4, 4, 101)
    difference = (QuickGELU()(x) - nn.functional.gelu(x)).abs().max()
    assert 0.01 < difference < 0.03
    assert QuickGELU()(torch.tensor(1.0)).item() == pytest.approx(0.845796, abs=1e-6)


def test_causal_tokens_see_only_what_came_before():
    torch.manual_seed(0)
    net, mask = Transformer(16, 2, 4), causal(6)
    x, other = torch.randn(2, 6, 16), torch.randn(2, 6, 16)
    other[:, :4] = x[:, :4]
    assert torch.allclose(net(x, mask)[:, :4], net(other, mask)[:, :4], atol=1e-6)
    assert not torch.allclose(net(x, mask)[:, 4:], net(other, mask)[:, 4:], atol=1e-2)
    assert not torch.allclose(net(x)[:, :4], net(other)[:, :4], atol=1e-2)


def test_what_stands_behind_the_end_of_a_text_changes_nothing():
    net = reader()
    short = torch.tensor([[1, 4, 7, 19]])
    for tail in ([0, 0, 0, 0], [19, 19, 19, 19], [5, 3, 2, 19]):
        padded = torch.cat([short, torch.tensor([tail])], dim=1)
        assert torch.allclose(net(padded), net(short), atol=1e-6)


def test_texts_of_different_length_do_not_disturb_each_other_in_a_batch():
    net = reader()
    rows = torch.tensor([[1, 4, 19, 0, 0, 0], [1, 2, 3, 5, 6, 19], [1, 9, 9, 19, 0, 0]])
    alone = torch.cat([net(row[None]) for row in rows])
    assert torch.allclose(net(rows), alone, atol=1e-6)
    assert (alone[0] - alone[1]).abs().max() > 0.1


def test_order_matters_to_the_reader():
    net = reader()
    assert (net(torch.tensor([[1, 2, 3, 19]])) - net(torch.tensor([[1, 3, 2, 19]]))).norm() > 0.1


def test_the_first_weights_are_drawn_as_the_paper_s_code_draws_them():
    torch.manual_seed(0)
    net = TextTransformer(TextConfig(vocabulary=500, context=60, width=128, depth=8, end=499), 64)
    block = net.transformer[3]
    expected = {
        net.tokens.weight: 0.02,
        net.pos_emb: 0.01,
        net.project.weight: 128**-0.5,
        block.attention.qkv.weight: 128**-0.5,
        block.attention.out.weight: 128**-0.5 / 4,
        block.mlp[0].weight: 256**-0.5,
        block.mlp[2].weight: 128**-0.5 / 4,
    }
    for weight, std in expected.items():
        assert weight.std().item() == pytest.approx(std, rel=0.05)


@pytest.mark.parametrize(
    "options", [{"heads": 3}, {"depth": 0}, {"context": 1}, {"end": 20}, {"vocabulary": 1}]
)
def test_a_reader_that_cannot_be_built_is_refused_in_one_sentence(options):
    with pytest.raises(ValueError, match="^[^\n]+$"):
        TextConfig(**{"vocabulary": 20, "width": 16, "heads": 4, "end": 19} | options)
