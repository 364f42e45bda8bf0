"""The checks of lesson 09 on the text: in the attention, as the null, and as a negative prompt."""

import torch
from torch import Tensor

from labkit.conditioning import Conditioning
from labkit.guidance import ClassifierFree
from labkit.lab.checks.framework import Check
from labkit.lab.checks.lesson06_formula import says_both
from labkit.lab.checks.random_inputs import between, chances, is_odd, size, sizes, turn
from labkit.nets.attention import attend

# Attention over the text and the pixels at once.


def _one_softmax(q: Tensor, k: Tensor, v: Tensor, text_k: Tensor, text_v: Tensor) -> Tensor:
    return attend(q, torch.cat([text_k, k], dim=1), torch.cat([text_v, v], dim=1), heads=1)


def _look(weights: Tensor, text_v: Tensor, v: Tensor) -> Tensor:
    """What the pixels find with these weights (B, N, L + N), the text's first."""
    return weights @ torch.cat([text_v, v], dim=1)


def _logits(q: Tensor, k: Tensor, text_k: Tensor) -> Tensor:
    """q · k of every pixel with all keys, not yet divided: (B, N, L + N)."""
    return q @ torch.cat([text_k, k], dim=1).mT


def _scaled(q: Tensor, k: Tensor, text_k: Tensor) -> Tensor:
    return _logits(q, k, text_k) / q.shape[2] ** 0.5


def _two_softmaxes(q, k, v, text_k, text_v):
    logits, L = _scaled(q, k, text_k), text_k.shape[1]
    return logits[..., :L].softmax(2) @ text_v + logits[..., L:].softmax(2) @ v


def _earlier_only(q, k, v, text_k, text_v):
    N, L = q.shape[1], text_k.shape[1]
    hidden = torch.ones(N, L + N, dtype=torch.bool).triu(L + 1)
    logits = _scaled(q, k, text_k).masked_fill(hidden, -torch.inf)
    return _look(logits.softmax(2), text_v, v)


def _values_exchanged(q, k, v, text_k, text_v):
    return _look(_scaled(q, k, text_k).softmax(2), v, text_v)


def _text_alone(q, k, v, text_k, text_v):
    if text_k.shape[1] == 0:
        return torch.zeros_like(q)
    return attend(q, text_k, text_v, heads=1)


def _draw_attention(g: torch.Generator):
    """Pixels and text; once in each check without a text, which is ADM's self-attention."""
    B, N, L, D = sizes(g, 4)
    L = 0 if turn(g, 5) == 0 else L
    pixels, text = torch.randn(3, B, N, D, generator=g), torch.randn(2, B, L, D, generator=g)
    return tuple(part.clone().requires_grad_() for part in (*pixels, *text))


one_softmax = Check(
    "one_softmax",
    reference=_one_softmax,
    draw_inputs=_draw_attention,
    mistakes={
        "You take two softmaxes and add what both find, so that each pixel's weights sum to 2, and "
        "it cannot leave the text out. One softmax runs over all keys.": _two_softmaxes,
        "You take two softmaxes and the mean of what both find: the text always gets half. One "
        "softmax runs over all keys.": lambda *given: _two_softmaxes(*given) / 2,
        "The pixels do not see the text: put its keys and values before theirs.": (
            lambda q, k, v, text_k, text_v: attend(q, k, v, heads=1)
        ),
        "The pixels see the text alone, which is cross-attention; their own keys and values stay "
        "beside it.": _text_alone,
        "The factor 1/√D is missing.": (
            lambda q, k, v, text_k, text_v: _look(_logits(q, k, text_k).softmax(2), text_v, v)
        ),
        "You divide by D; divide by its root.": (
            lambda q, k, v, text_k, text_v: _look(
                (_logits(q, k, text_k) / q.shape[2]).softmax(2), text_v, v
            )
        ),
        "You multiply by √D; divide by it.": (
            lambda q, k, v, text_k, text_v: _look(
                (_logits(q, k, text_k) * q.shape[2] ** 0.5).softmax(2), text_v, v
            )
        ),
        "The softmax runs over the queries; what each pixel gives to all keys has to sum to 1, the "
        "last dimension.": (
            lambda q, k, v, text_k, text_v: _look(_scaled(q, k, text_k).softmax(1), text_v, v)
        ),
        "There is no softmax: the products themselves are no weights.": (
            lambda q, k, v, text_k, text_v: _look(_scaled(q, k, text_k), text_v, v)
        ),
        "You hide the later pixels, as a language model hides later words; a picture has no such "
        "order.": _earlier_only,
        "Keys and values have changed places.": lambda q, k, v, text_k, text_v: _one_softmax(
            q, v, k, text_v, text_k
        ),
        "The text's values are put behind those of the pixels, and its keys before theirs: each "
        "weight meets the value of another key.": _values_exchanged,
    },
    against=attend,
)


# The null: a caption of padding alone, for some of the rows.


def _empty_captions(mask: Tensor, p: float, u: Tensor) -> Tensor:
    return mask & (u >= p)[:, None]


def _draw_captions(g: torch.Generator):
    """Captions of different lengths, of which some are emptied and some stay, in turn the first."""
    rows, length = size(g, 5, 11), size(g, 4, 9)
    lengths = torch.randint(3, length + 1, (rows,), generator=g)
    u, p = chances(g, rows)
    first = u.argmin() if is_odd(g) else u.argmax()  # in turn emptied, and not
    u = u.roll(-int(first))
    lengths[u.argmin()] = 3
    return torch.arange(length) < lengths[:, None], p, u


def _keep_first(mask: Tensor, p: float, u: Tensor, number: int) -> Tensor:
    kept = torch.arange(mask.shape[1]) < number
    return torch.where((u < p)[:, None], kept, mask)


empty_captions = Check(
    "empty_captions",
    reference=_empty_captions,
    draw_inputs=_draw_captions,
    mistakes={
        "You decide once for the whole batch, by the first number; every row has its own.": (
            lambda mask, p, u: mask & (u[0] >= p)
        ),
        "You empty the rows whose number is over p, so 1 − p of the captions are lost.": (
            lambda mask, p, u: mask & (u < p)[:, None]
        ),
        "A row with exactly p keeps its caption: it is emptied below p, u < p, so that p = 0 "
        "empties none.": lambda mask, p, u: mask & (u > p)[:, None],
        "Your empty caption still has begin and end; GLIDE's is padding from the first position "
        "on.": lambda mask, p, u: _keep_first(mask, p, u, 2),
        "Your empty caption still has its first token; GLIDE's is padding from the first position "
        "on.": lambda mask, p, u: _keep_first(mask, p, u, 1),
        "You mark every position of an emptied row as a real token; False stands for padding.": (
            lambda mask, p, u: mask | (u < p)[:, None]
        ),
        "You leave the emptied rows out; they have to stay: from them the network learns what a "
        "picture without a caption is.": lambda mask, p, u: mask[u >= p],
        "All captions are emptied.": lambda mask, p, u: torch.zeros_like(mask),
        "No caption is emptied.": lambda mask, p, u: mask.clone(),
    },
    against="the rule: row b is emptied where u[b] < p",
)


# A sentence to be led away from, for the rows that have one.


def _guide_away(
    eps_text: Tensor, eps_empty: Tensor, eps_negative: Tensor, has: Tensor, scale: float
) -> Tensor:
    away = torch.where(has.view(-1, 1, 1, 1), eps_negative, eps_empty)
    text, null = (Conditioning(vector=torch.full((1, 1), float(row))) for row in (1, 0))
    x = torch.zeros_like(eps_text)
    return ClassifierFree(says_both(eps_text, away), null, scale)(x, 50, text).eps


def _guided(text: Tensor, away: Tensor, scale: float) -> Tensor:
    return away + scale * (text - away)


def _chosen(empty: Tensor, negative: Tensor, has: Tensor) -> Tensor:
    return torch.where(has.view(-1, 1, 1, 1), negative, empty)


def _draw_away(g: torch.Generator):
    """Predictions for rows of which some have a negative prompt, and some have none."""
    B, C, H, W = sizes(g, 4)
    has = torch.rand(B, generator=g) < 0.5
    has[torch.randperm(B, generator=g)[:2]] = torch.tensor([True, False])
    return *torch.randn(3, B, C, H, W, generator=g), has, between(1.5, 5, g)


guide_away = Check(
    "guide_away",
    reference=_guide_away,
    draw_inputs=_draw_away,
    mistakes={
        "Every row is led away from the negative prompt; where `has` is False the empty one stays "
        "the null.": (lambda c, u, n, has, s: _guided(c, n, s)),
        "The negative prompt is not used: where `has` is True it takes the null's place.": (
            lambda c, u, n, has, s: _guided(c, u, s)
        ),
        "You exchanged the two cases: `has` says which rows have a negative prompt.": (
            lambda c, u, n, has, s: _guided(c, _chosen(n, u, has), s)
        ),
        "You begin at the empty prompt: that is composing, with the negative prompt as a second "
        "term. Here its prediction takes the null's place, as the beginning too.": (
            lambda c, u, n, has, s: u + s * (c - _chosen(u, n, has))
        ),
        "The number is GLIDE's scale, 1 = no guidance; you took it for the paper's w, which is one "
        "less.": (lambda c, u, n, has, s: _guided(c, _chosen(u, n, has), s + 1)),
        "The difference is the wrong way round: this leads away from the sentence.": (
            lambda c, u, n, has, s: _guided(c, _chosen(u, n, has), -s)
        ),
        "`has` is broadcast over the columns of the pictures instead of over the rows of the "
        "batch: view(-1, 1, 1, 1).": (
            lambda c, u, n, has, s: _guided(c, torch.where(has, n, u), s)
        ),
    },
    against=ClassifierFree,
)
