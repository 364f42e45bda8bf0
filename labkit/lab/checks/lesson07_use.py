"""The checks of lesson 07 on what CLIP is used for: read a text, name, and find."""

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit import zeroshot
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import is_odd, whole

# The state that stands for a text.

END = 9  # the end token of the drawn texts


def _end_state(states: Tensor, tokens: Tensor, end: int) -> Tensor:
    return _pick(states, (tokens == end).int().argmax(1))


def _pick(states: Tensor, places: Tensor) -> Tensor:
    return states[torch.arange(len(states)), places]


def _last_end(states: Tensor, tokens: Tensor, end: int) -> Tensor:
    return _pick(states, tokens.shape[1] - 1 - (tokens == end).flip(1).int().argmax(1))


def _mean_to_end(states: Tensor, tokens: Tensor, end: int) -> Tensor:
    real = torch.arange(tokens.shape[1]) <= (tokens == end).int().argmax(1)[:, None]
    return (states * real[..., None]).sum(1) / real.sum(1, keepdim=True)


def _draw_texts(g: torch.Generator):
    """Texts of one to six words between begin and end, filled up with 0, or, as some tokenizers
    do, with the end token again."""
    tokens = torch.full((5, 9), END if is_odd(g) else 0)
    for row, length in enumerate(torch.randperm(6, generator=g)[:5].tolist()):
        words = torch.randint(2, END - 1, (length + 1,), generator=g)
        tokens[row, : length + 3] = torch.tensor([1, *words.tolist(), END])
    return torch.randn(5, 9, 4, generator=g), tokens, END


end_state = Check(
    "end_state",
    reference=_end_state,
    draw_inputs=_draw_texts,
    mistakes={
        "You take the last place of every row, which is filling for all but the longest text; take "
        "the place of the end token.": lambda states, tokens, end: states[:, -1],
        "You take the first place; attention is causal, so the begin token has seen no word. Take "
        "the end token's.": lambda states, tokens, end: states[:, 0],
        "You take the last end token; some tokenizers fill up with it, so the first one counts.": (
            _last_end
        ),
        "You take the place before the end, the last word's; CLIP reads the end token's own "
        "state.": lambda states, tokens, end: _pick(states, (tokens == end).int().argmax(1) - 1),
        "You take the place after the end: filling.": lambda states, tokens, end: _pick(
            states, ((tokens == end).int().argmax(1) + 1).clamp(max=tokens.shape[1] - 1)
        ),
        "You average all places, filling included.": lambda states, tokens, end: states.mean(1),
        "You average the text's places; CLIP takes one of them, the end token's, which has seen "
        "all the others.": _mean_to_end,
        "You average the states of all end tokens; the first one counts.": (
            lambda states, tokens, end: (
                (states * (tokens == end)[..., None]).sum(1) / (tokens == end).sum(1, keepdim=True)
            )
        ),
    },
    against="labkit.nets.transformer.TextTransformer",
)


# A vector for each class.


class _Told:
    """A CLIP whose texts are numbers: those of its features, at class and template."""

    def __init__(self, features: Tensor):
        self.features = features

    def encode_text(self, texts: list[str]) -> Tensor:
        rows = torch.tensor([[int(part) for part in text.split()] for text in texts])
        return F.normalize(self.features[rows[:, 0], rows[:, 1]], dim=1)


def _ensemble(features: Tensor) -> Tensor:
    K, T = features.shape[:2]
    templates = [f"{{}} {template}" for template in range(T)]
    return zeroshot.class_vectors(_Told(features), [str(k) for k in range(K)], templates)


def _wrong_ensemble(first=lambda x: F.normalize(x, dim=2), last=lambda x: F.normalize(x, dim=1)):
    return lambda features: last(first(features).mean(1))


ensemble = Check(
    "ensemble",
    reference=_ensemble,
    # Prompts of very different lengths, so that it matters to normalize them first.
    draw_inputs=lambda g: (
        torch.randn(4, 4, 5, generator=g) * (0.3 + 3 * torch.rand(4, 4, 1, generator=g)),
    ),
    mistakes={
        "The average is not brought back to length 1: a mean of unit vectors is shorter than "
        "they are, the more they disagree, and such a class would lose unfairly.": (
            _wrong_ensemble(last=lambda mean: mean)
        ),
        "The prompts are averaged at their own lengths, so the longest feature has most to say; "
        "bring each to length 1 first.": _wrong_ensemble(first=lambda x: x),
        "Nothing is normalized: neither the prompts, nor the average.": (
            _wrong_ensemble(first=lambda x: x, last=lambda mean: mean)
        ),
        "You average over the classes; the templates are dimension 1.": (
            lambda features: F.normalize(F.normalize(features, dim=2).mean(0), dim=1)
        ),
        "You keep the first template only.": lambda features: F.normalize(features[:, 0], dim=1),
        "You normalize the templates against each other; a vector runs along the last dimension.": (
            _wrong_ensemble(first=lambda x: F.normalize(x, dim=1))
        ),
        "The average is normalized down the classes; each class needs length 1: dimension 1.": (
            _wrong_ensemble(last=lambda mean: F.normalize(mean, dim=0))
        ),
        "You divide by the sum, as if the numbers were probabilities; length 1 means that their "
        "squares sum to 1.": _wrong_ensemble(last=lambda mean: mean / mean.sum(1, keepdim=True)),
    },
    against="labkit.zeroshot.class_vectors",
)


# What is found.


def _find(similarity: Tensor, k: int) -> float:
    return zeroshot.recall_at(similarity, k)


def _hits(similarity: Tensor, k: int, largest: bool = True) -> Tensor:
    own = torch.arange(len(similarity))[:, None]
    return (similarity.topk(k, dim=1, largest=largest).indices == own).any(1)


def _draw_similarity(g: torch.Generator):
    """Twelve rows whose right answers take the places 1 to 5, unevenly, so that every K counts
    another share; no two similarities are equal, and the columns tell another story."""
    places = torch.tensor([0, 1, 1, 2, 2, 2, 2, 3, 3, 4, 4, 4])[torch.randperm(12, generator=g)]
    order = torch.rand(12, 12, generator=g).argsort(1)
    rows = torch.arange(12)
    at = (order == rows[:, None]).int().argmax(1)  # where the row's own number stands in its order
    order[rows, at], order[rows, places] = order[rows, places], rows
    ranked = -torch.arange(12.0) - 0.5 * torch.rand(12, 12, generator=g)
    return torch.empty(12, 12).scatter_(1, order, ranked / 12), whole(2, 4, g)


recall_at_k = Check(
    "recall_at_k",
    reference=_find,
    draw_inputs=_draw_similarity,
    mistakes={
        "This is R@1, whatever K is: the right one may be anywhere among the K best.": (
            lambda similarity, k: _hits(similarity, 1).double().mean().item()
        ),
        "You look at one candidate too few: K of them count.": (
            lambda similarity, k: _hits(similarity, k - 1).double().mean().item()
        ),
        "You look at one candidate too many: K of them count.": (
            lambda similarity, k: _hits(similarity, k + 1).double().mean().item()
        ),
        "You count rows; the share of them was asked for.": (
            lambda similarity, k: float(_hits(similarity, k).sum())
        ),
        "You divide by K as well; that is precision at K. One right answer among K is enough.": (
            lambda similarity, k: _hits(similarity, k).double().mean().item() / k
        ),
        "You take the K least similar.": (
            lambda similarity, k: _hits(similarity, k, largest=False).double().mean().item()
        ),
        "You search down the columns; each row asks, and looks along itself: dimension 1.": (
            lambda similarity, k: _hits(similarity.T, k).double().mean().item()
        ),
        "You ask whether the right one is exactly the K-th; it may be anywhere among the K best.": (
            lambda similarity, k: (
                (similarity.argsort(1, descending=True)[:, k - 1] == torch.arange(len(similarity)))
                .double()
                .mean()
                .item()
            )
        ),
    },
    against="labkit.zeroshot.recall_at",
)
