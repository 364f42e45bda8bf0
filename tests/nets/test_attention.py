"""`attend` against its formula and torch's own; what masks, biases and scales do."""

import math

import pytest
import torch
from torch import nn

from labkit.nets.attention import (
    CrossAttention,
    SelfAttention,
    TokenPool,
    attend,
    causal,
    slow,
)


def drawn(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


Q, K, V = drawn(2, 5, 12), drawn(2, 7, 12), drawn(2, 7, 6)
MASK = torch.rand(2, 7, generator=torch.Generator().manual_seed(1)) > 0.3
BIAS = drawn(1, 3, 5, 7)


@pytest.mark.parametrize("mask", [None, MASK[:, None, None], causal(7)[:, :, :5]])
@pytest.mark.parametrize("bias", [None, BIAS])
@pytest.mark.parametrize("scale", [None, 1.0])
def test_it_is_the_formula_with_and_without_its_weights(mask, bias, scale):
    expected = torch.zeros(2, 5, 6)
    for head in range(3):
        at, to = slice(4 * head, 4 * head + 4), slice(2 * head, 2 * head + 2)
        logits = (1 / math.sqrt(4) if scale is None else scale) * Q[..., at] @ K[..., at].mT
        if bias is not None:
            logits = logits + bias[0, head]
        if mask is not None:
            logits = logits.masked_fill(~mask[:, 0], -torch.inf)
        expected[..., to] = logits.softmax(2) @ V[..., to]
    torch.testing.assert_close(attend(Q, K, V, 3, mask, bias, scale), expected)
    h, looked = attend(Q, K, V, 3, mask, bias, scale, weights=True)
    torch.testing.assert_close(h, expected)
    torch.testing.assert_close(looked.sum(-1), torch.ones(2, 3, 5))
    if mask is not None:
        assert looked.masked_select(~mask.expand(2, 3, 5, 7)).eq(0).all()


def test_the_heads_may_be_wider_than_the_tokens():
    layer = SelfAttention(12, 3, head_width=8, bias=False, out_bias=False)
    assert layer.qkv.weight.shape == (72, 12) and layer.out.weight.shape == (12, 24)
    assert layer(drawn(2, 4, 12)).shape == (2, 4, 12)
    assert [name for name, _ in layer.named_parameters()] == ["qkv.weight", "out.weight"]


def test_looking_at_others_is_what_torch_s_own_layer_does():
    torch.manual_seed(0)
    ours, their = CrossAttention(12, 3, 10, bias=True), nn.MultiheadAttention(
        12, 3, kdim=10, vdim=10, batch_first=True
    )  # fmt: skip
    with torch.no_grad():
        their.in_proj_bias.normal_()
        ours.q.weight.copy_(their.q_proj_weight)
        ours.kv.weight.copy_(torch.cat([their.k_proj_weight, their.v_proj_weight]))
        ours.q.bias.copy_(their.in_proj_bias[:12])
        ours.kv.bias.copy_(their.in_proj_bias[12:])
        ours.out.load_state_dict(their.out_proj.state_dict())
    x, context = drawn(2, 5, 12), drawn(2, 7, 10)
    expected, _ = their(x, context, context, key_padding_mask=~MASK)
    torch.testing.assert_close(ours(x, context, MASK[:, None, None]), expected)


def test_who_may_look_at_nothing_gets_zeros_and_spoils_nobody_s_gradient():
    mask = MASK.clone()
    mask[0] = False
    q = Q.clone().requires_grad_()
    for weights in (False, True):
        answer = attend(q, K, V, 3, mask[:, None, None], weights=weights)
        h = answer[0] if weights else answer
        assert not h[0].any() and h[1].any()
        (gradient,) = torch.autograd.grad(h[1].sum(), q)
        assert gradient.isfinite().all() and gradient[1].any()
        if weights:
            assert not answer[1][0].any()


@pytest.mark.parametrize(
    "mask", [MASK, MASK[:, None], MASK[:, None, None].float(), MASK[:, None, None].long()]
)
def test_a_mask_that_could_mean_something_else_is_refused(mask):
    with pytest.raises(ValueError, match="must be torch.bool of shape"):
        attend(Q, K, V, 3, mask)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="10 cannot be split into 4 heads"):
        SelfAttention(10, 4)


@pytest.mark.parametrize("masked", [False, True])
def test_in_bfloat16_on_a_cpu_what_learns_takes_the_plain_steps_with_the_same_result(masked):
    mask = causal(7) if masked else None
    exact = [drawn(2, 7, n).requires_grad_() for n in (16, 16, 20)]
    rough = [part.detach().bfloat16().requires_grad_() for part in exact]
    assert slow(*rough[:2]) and not slow(*exact[:2]) and not slow(rough[0].detach(), rough[1])
    there, here = attend(*exact, 4, mask), attend(*rough, 4, mask)
    assert here.dtype == torch.bfloat16
    assert torch.allclose(here.float(), there, atol=0.05)
    there.square().sum().backward(), here.float().square().sum().backward()
    for one, other in zip(exact, rough, strict=True):
        assert (one.grad - other.grad.float()).norm() < 0.05 * one.grad.norm()


def test_a_pooled_text_is_what_its_mean_looks_at_padding_apart():
    torch.manual_seed(0)
    pool, tokens = TokenPool(6, heads=1, outputs=4), drawn(2, 5, 6)
    mask = torch.tensor([[True] * 3 + [False] * 2, [False] * 5])
    looks = pool.attention
    k, v = looks.kv(tokens[:1, :3]).chunk(2, dim=2)
    q = looks.q(tokens[:1, :3].mean(1, keepdim=True))
    h = looks.out((q @ k.mT / 6**0.5).softmax(-1) @ v)
    pooled = pool(tokens, mask)
    assert pooled.shape == (2, 4) and torch.allclose(pooled[:1], pool.out(h)[:, 0], atol=1e-6)
    other = torch.where(mask[..., None], tokens, 9.0)
    assert torch.allclose(pool(other, mask), pooled, atol=1e-6)  # a text of no token says its bias
    assert torch.allclose(pooled[1], pool.out(looks.out.bias), atol=1e-6)
