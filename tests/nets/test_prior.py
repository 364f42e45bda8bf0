"""The priors' transformers: who sees whom, and that writing code by code is one pass over all."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from labkit.conditioning import Conditioning
from labkit.nets.prior import CodesConfig, CodesTransformer, PriorConfig, PriorTransformer

SMALL = PriorConfig(dim=6, tokens=5, context=7, width=16, depth=2, heads=2)
CODES = CodesConfig(
    dim=6, vocabulary=20, context=7, codes=5, buckets=8, dots=4, width=16, depth=2, heads=2
)


def drawn(net: nn.Module) -> nn.Module:
    """Every weight drawn anew, large enough that nothing is without effect."""
    torch.manual_seed(0)
    for weight in net.parameters():
        nn.init.normal_(weight, std=0.3)
    return net.eval()


def inputs(rows=3, L=7):
    torch.manual_seed(1)
    mask = torch.arange(L) < torch.tensor([[L], [4], [2]])[:rows]
    cond = Conditioning(torch.randn(rows, 6), torch.randn(rows, L, 5), mask)
    return torch.randn(rows, 6), torch.tensor([1, 7, 20])[:rows], cond


@torch.no_grad()
def outputs(net, x, t, cond):
    """What the transformer makes of every token, before the answer is read from the last."""
    found = []
    hook = net.transformer.register_forward_hook(lambda module, args, out: found.append(out))
    answer = net(x, t, cond)
    hook.remove()
    return answer, found[0]


def test_everything_that_the_prior_is_given_reaches_its_answer():
    net, (x, t, cond) = drawn(PriorTransformer(SMALL)), inputs()
    answer = net(x, t, cond)
    assert answer.shape == (3, 6)
    others = [
        (x + 1, t, cond),
        (x, t + 1, cond),
        (x, t, cond._replace(vector=cond.vector + 1)),
        (x, t, cond._replace(tokens=cond.tokens + 1)),
        (x, t, cond._replace(mask=~cond.mask)),
    ]
    for other in others:
        assert ((net(*other) - answer).abs().amax(1) > 1e-4).all()


def test_padding_is_not_looked_at_and_a_shorter_text_is_the_same_text():
    net, (x, t, cond) = drawn(PriorTransformer(SMALL)), inputs()
    answer = net(x, t, cond)
    noise = torch.where(cond.mask[..., None], cond.tokens, 9.0)
    assert torch.allclose(net(x, t, cond._replace(tokens=noise)), answer, atol=1e-5)
    short = cond.map(lambda field: field[1:])
    short = short._replace(tokens=short.tokens[:, :4], mask=short.mask[:, :4])
    assert torch.allclose(net(x[1:], t[1:], short), answer[1:], atol=1e-5)


def test_the_query_sees_all_and_what_stands_before_it_does_not_see_the_query():
    net, given = drawn(PriorTransformer(SMALL)), inputs()
    answer, before = outputs(net, *given)
    with torch.no_grad():
        net.query[0] += 3
    moved, after = outputs(net, *given)
    assert not torch.allclose(answer, moved, atol=1e-3)
    assert torch.equal(before[:, :-1], after[:, :-1])
    both_ways = drawn(PriorTransformer(replace(SMALL, causal=False)))
    _, before = outputs(both_ways, *given)
    with torch.no_grad():
        both_ways.query[0] += 3
    assert not torch.allclose(before[:, :-1], outputs(both_ways, *given)[1][:, :-1], atol=1e-3)


def test_what_the_prior_cannot_hear_is_refused():
    net, (x, t, cond) = PriorTransformer(SMALL), inputs()
    for bad, says in (
        (None, "has no vector"),
        (cond._replace(vector=torch.zeros(3, 4)), "needs .3, 6."),
        (cond._replace(tokens=None, mask=None), "has no tokens"),
        (cond._replace(image=torch.zeros(3, 3, 8, 8)), "no route"),
    ):
        with pytest.raises(ValueError, match=says):
            net(x, t, bad)
    with pytest.raises(ValueError, match="4 heads"):
        replace(SMALL, width=18, heads=4)
    with pytest.raises(ValueError, match="codes is 0"):
        replace(CODES, codes=0)


@torch.no_grad()
def test_a_caption_longer_than_the_context_is_refused_and_one_as_long_is_not():
    net, codes = PriorTransformer(SMALL), torch.zeros(3, 5, dtype=torch.long)
    assert net(*inputs(L=7)).shape == (3, 6)
    with pytest.raises(ValueError, match="have 8 tokens, but this prior reads at most 7"):
        net(*inputs(L=8))
    written = CodesTransformer(CODES)
    for call in (
        lambda *given: written(*given, codes),
        lambda *given: written.walk(*given, lambda logits: logits.argmax(1)),
    ):
        call(*text(L=7))
        with pytest.raises(ValueError, match="have 8 tokens, but this prior reads at most 7"):
            call(*text(L=8))


def test_the_upper_half_of_the_dot_products_must_be_a_half():
    with pytest.raises(ValueError, match="dots is 3, but must be even"):
        replace(CODES, dots=3)
    replace(CODES, dots=1)


def text(rows=3, L=7):
    torch.manual_seed(2)
    mask = torch.arange(L) < torch.tensor([[L], [4], [2]])[:rows]
    ids = torch.randint(20, (rows, L))
    return ids, mask, torch.randn(rows, 6), torch.tensor([0, 3, 1])[:rows]


def test_each_code_is_told_of_the_text_and_of_earlier_codes_alone():
    net, given = drawn(CodesTransformer(CODES)), text()
    codes = torch.randint(8, (3, 5))
    logits = net(*given, codes)
    assert logits.shape == (3, 5, 8)
    changed = codes.clone()
    changed[:, 2] = (changed[:, 2] + 1) % 8
    moved = (net(*given, changed) - logits).abs().amax((0, 2))
    assert (moved[:3] == 0).all() and (moved[3:] > 1e-4).all()
    ids, mask, vector, dot = given
    for other in ((ids, mask, vector + 1, dot), (ids, mask, vector, (dot + 1) % 4),
                  ((ids + 1) % 20, mask, vector, dot), (ids, ~mask, vector, dot)):  # fmt: skip
        assert ((net(*other, codes) - logits).abs().amax(2) > 1e-5).all()


@torch.no_grad()
def test_writing_one_code_after_the_other_asks_for_the_logits_of_one_pass():
    net, given, asked = drawn(CodesTransformer(CODES)), text(), []

    def choose(logits):
        asked.append(logits)
        return (logits * torch.linspace(1, 2, 8)).argmax(1)

    codes = net.walk(*given, choose)
    assert codes.shape == (3, 5) and len(codes.unique()) > 2
    assert torch.allclose(torch.stack(asked, 1), net(*given, codes), atol=1e-4)
