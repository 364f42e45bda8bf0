"""The check of lesson 11 on one vector for all that is said of a text, by attention whose query is
the mean of the tokens."""

import torch
from torch import Tensor
from torch.func import functional_call

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import is_odd, sizes
from labkit.nets.attention import TokenPool


def _pool_text(tokens: Tensor, mask: Tensor, W_q: Tensor, W_k: Tensor, W_v: Tensor) -> Tensor:
    D = tokens.shape[2]
    with torch.device("meta"):  # the weights are those that are given
        pool = TokenPool(D, 1, D)
    weights = {
        "attention.q.weight": W_q, "attention.kv.weight": torch.cat([W_k, W_v]),
        "attention.out.weight": torch.eye(D), "out.weight": torch.eye(D),
    }  # fmt: skip
    weights |= {
        name: torch.zeros(given.shape)
        for name, given in pool.named_parameters()
        if name.endswith("bias")
    }
    return functional_call(pool, weights, (tokens, mask))


def _mean(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of the real rows, (B, D); 0 where there is none."""
    return (x * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)


def _hidden(logits: Tensor, mask: Tensor) -> Tensor:
    """The shares of the tokens, (B, L); 0 for all of them where none is real."""
    least = torch.finfo(logits.dtype).min
    return logits.masked_fill(~mask, least).softmax(1) * mask


def _logits(query: Tensor, tokens: Tensor, W_q: Tensor, W_k: Tensor) -> Tensor:
    """Of one query (B, D) with every token, (B, L), divided by √D."""
    return ((query @ W_q.T)[:, None] * (tokens @ W_k.T)).sum(2) / len(W_q) ** 0.5


def _by_query(query):
    """The answer with another query(tokens, mask) → (B, D)."""

    def answer(tokens, mask, W_q, W_k, W_v):
        weights = _hidden(_logits(query(tokens, mask), tokens, W_q, W_k), mask)
        return (weights[..., None] * (tokens @ W_v.T)).sum(1)

    return answer


def _by_shares(shares, factor=lambda D: 1.0):
    """The answer with other shares(logits, mask) → (B, L), of logits times a factor."""

    def answer(tokens, mask, W_q, W_k, W_v):
        logits = _logits(_mean(tokens, mask), tokens, W_q, W_k) * factor(len(W_q))
        return (shares(logits, mask)[..., None] * (tokens @ W_v.T)).sum(1)

    return answer


def _all_count(tokens, mask, W_q, W_k, W_v):
    weights = _logits(tokens.mean(1), tokens, W_q, W_k).softmax(1)
    return (weights[..., None] * (tokens @ W_v.T)).sum(1)


def _values_hidden(tokens, mask, W_q, W_k, W_v):
    weights = _logits(_mean(tokens, mask), tokens, W_q, W_k).softmax(1)
    return (weights[..., None] * (tokens * mask[..., None] @ W_v.T)).sum(1)


def _with_the_mean(tokens, mask, W_q, W_k, W_v):
    mean = _mean(tokens, mask)[:, None]
    both = torch.cat([mean, tokens], 1), torch.cat([torch.ones_like(mask[:, :1]), mask], 1)
    weights = _hidden(_logits(mean[:, 0], both[0], W_q, W_k), both[1])
    return (weights[..., None] * (both[0] @ W_v.T)).sum(1)


def _empty_is(fill):
    """The right answer, but with fill(values (B, L, D)) → (B, D) for rows without a token."""

    def answer(tokens, mask, W_q, W_k, W_v):
        right = _pool_text(tokens, mask, W_q, W_k, W_v)
        return torch.where(mask.any(1, keepdim=True), right, fill(tokens @ W_v.T))

    return answer


def _draw_tokens(g: torch.Generator):
    """Tokens of which some are padding, which holds large numbers; in turn one row has no text."""
    B, L, D = sizes(g, 3, 3, 8)
    tokens = torch.randn(B, L, D, generator=g)
    lengths = torch.randint(2, L, (B,), generator=g)
    lengths[0] = L - 1
    mask = torch.arange(L) < lengths[:, None]
    tokens = torch.where(mask[..., None], tokens, 1.5 * tokens + 0.5)
    mask[-1] &= is_odd(g)  # in every other draw there is no text at all for it
    W = 1.2 * torch.randn(3, D, D, generator=g) / D**0.5
    return tokens.requires_grad_(), mask, *(each.clone().requires_grad_() for each in W)


pool_text = Check(
    "pool_text",
    reference=_pool_text,
    draw_inputs=_draw_tokens,
    mistakes={
        "A row without any token becomes NaN, as 0/0 in the mean or as a softmax over nothing but "
        "−inf. The null is such a row: it has to be 0.": _empty_is(
            lambda values: torch.full_like(values[:, 0], torch.nan)
        ),
        "A row without any token looks at its padding; it has to be 0: set the shares of padding "
        "to 0 after the softmax as well.": _empty_is(lambda values: values.mean(1)),
        "Padding counts in the mean that asks: add up the real tokens and divide by their "
        "number.": _by_query(lambda tokens, mask: tokens.mean(1)),
        "Padding is 0 in the mean that asks, but still counted: divide by the number of real "
        "tokens.": _by_query(lambda tokens, mask: (tokens * mask[..., None]).mean(1)),
        "The mean that asks is a sum: divide it by the number of real tokens.": _by_query(
            lambda tokens, mask: (tokens * mask[..., None]).sum(1)
        ),
        "The first token asks; the mean of the real tokens has to.": _by_query(
            lambda tokens, mask: tokens[:, 0]
        ),
        "The mask is ignored in the softmax: padding is looked at.": _by_shares(
            lambda logits, mask: logits.softmax(1)
        ),
        "The mask is ignored throughout: padding counts in the mean, and is looked at.": _all_count,
        "The mask is turned round: True is a real token.": (
            lambda tokens, mask, W_q, W_k, W_v: _pool_text(tokens, ~mask, W_q, W_k, W_v)
        ),
        "The logits of padding are 0, which a softmax gives weight: hide it with a very small "
        "number.": _by_shares(lambda logits, mask: (logits * mask).softmax(1)),
        "The shares of padding are set to 0 after a softmax that counted it, so that the others "
        "sum to less than 1: hide it before, too.": [
            _by_shares(lambda logits, mask: logits.softmax(1) * mask),
            _values_hidden,
        ],
        "The softmax runs over the batch; the shares of each row's tokens have to sum to 1.": [
            _by_shares(lambda logits, mask: logits.softmax(0) * mask),
            _by_shares(lambda logits, mask: logits.masked_fill(~mask, -1e30).softmax(0)),
        ],
        "The softmax runs over the queries, of which there is one: each share is 1. It has to run "
        "over the tokens, the last dimension.": [
            _by_shares(lambda logits, mask: torch.ones_like(logits)),
            _by_shares(lambda logits, mask: mask.to(logits.dtype)),
        ],
        "That is the mean of the values: without attention every token counts the same.": (
            lambda tokens, mask, W_q, W_k, W_v: _mean(tokens, mask) @ W_v.T
        ),
        "There is no softmax: the products themselves are no shares.": _by_shares(
            lambda logits, mask: logits * mask
        ),
        "The factor 1/√D is missing. (T5 leaves it out; this attention is Imagen's.)": _by_shares(
            _hidden, lambda D: D**0.5
        ),
        "You divide by D; divide by its root.": _by_shares(_hidden, lambda D: D**-0.5),
        "The mean stands among the keys, as in CLIP's pooling; here it only asks.": _with_the_mean,
        "Your weights are not transposed: a linear map is tokens @ W.T.": (
            lambda tokens, mask, W_q, W_k, W_v: _pool_text(tokens, mask, W_q.T, W_k.T, W_v.T)
        ),
        "One of your weights is not transposed: each linear map is tokens @ W.T.": [
            lambda tokens, mask, W_q, W_k, W_v: _pool_text(tokens, mask, W_q.T, W_k, W_v),
            lambda tokens, mask, W_q, W_k, W_v: _pool_text(tokens, mask, W_q, W_k.T, W_v),
            lambda tokens, mask, W_q, W_k, W_v: _pool_text(tokens, mask, W_q, W_k, W_v.T),
        ],
        "One weight is used twice: the query has W_q, the keys W_k, the values W_v.": [
            lambda tokens, mask, W_q, W_k, W_v: _pool_text(tokens, mask, W_q, W_k, W_k),
            lambda tokens, mask, W_q, W_k, W_v: _pool_text(tokens, mask, W_q, W_q, W_v),
            lambda tokens, mask, W_q, W_k, W_v: _pool_text(tokens, mask, W_k, W_k, W_v),
        ],
        "Keys and values have changed places.": lambda tokens, mask, W_q, W_k, W_v: _pool_text(
            tokens, mask, W_q, W_v, W_k
        ),
    },
    against=TokenPool,
)
