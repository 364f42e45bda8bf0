"""The checks of lesson 07 on what CLIP is used for: read a text, name, and find."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import is_odd, size, sizes, turn, whole
from labkit.metrics import retrieval, zero_shot
from labkit.nets.transformer import TextConfig, TextTransformer

# The state that stands for a text.


class _Read(nn.Module):
    """A transformer that has read its text already."""

    def __init__(self, states: Tensor):
        super().__init__()
        self.states = states

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.states[:, : x.shape[1]]


def _end_state(states: Tensor, tokens: Tensor, end: int) -> Tensor:
    D = states.shape[2]
    config = TextConfig(int(tokens.max()) + 1, tokens.shape[1], width=D, depth=1, heads=1, end=end)
    net = TextTransformer(config, D)
    net.transformer, net.norm, net.project = _Read(states), nn.Identity(), nn.Identity()
    return net(tokens)


def _pick(states: Tensor, places: Tensor) -> Tensor:
    return states[torch.arange(len(states)), places]


def _last_end(states: Tensor, tokens: Tensor, end: int) -> Tensor:
    return _pick(states, tokens.shape[1] - 1 - (tokens == end).flip(1).int().argmax(1))


def _mean_to_end(states: Tensor, tokens: Tensor, end: int) -> Tensor:
    real = torch.arange(tokens.shape[1]) <= (tokens == end).int().argmax(1)[:, None]
    return (states * real[..., None]).sum(1) / real.sum(1, keepdim=True)


def _draw_texts(g: torch.Generator):
    """Texts between begin and end, in turn one of them up to the edge, filled up with 0 or, as some
    tokenizers do, with the end token again. The numbers of words lie below and above the end's.
    Once in each check there is a single text."""
    B, L, D = 1 if turn(g, 5) == 0 else size(g, 3, 5), size(g, 8, 11), size(g, 3, 7)
    end = whole(10, 40, g)
    tokens = torch.full((B, L), end if is_odd(g) else 0)
    lengths = torch.randperm(L - 3, generator=g)[:B] + 1  # of words
    if turn(g, 3) == 0:
        lengths[whole(0, B - 1, g)] = L - 2
    for row, n in enumerate(lengths.tolist()):
        words = torch.randint(2, 50, (n,), generator=g)
        words[words == end] += 1
        words[whole(0, n - 1, g)] = end + 5
        tokens[row, : n + 2] = torch.tensor([1, *words.tolist(), end])
    return torch.randn(B, L, D, generator=g).requires_grad_(), tokens, end


end_state = Check(
    "end_state",
    reference=_end_state,
    draw_inputs=_draw_texts,
    mistakes={
        "You take the last position of every row, which is padding in all but the longest text; "
        "take the position of the end token.": lambda states, tokens, end: states[:, -1],
        "You take the first position; attention is causal, so the start token has seen no word. "
        "Take the end token's. (If you look for a fixed id, it does not occur: use `end`.)": (
            lambda states, tokens, end: states[:, 0]
        ),
        "You take the last end token, or the last one that is not 0; some tokenizers fill up with "
        "the end token, so the first one counts.": _last_end,
        "You take the position before the end, the last word's; CLIP reads the end token's own "
        "state.": lambda states, tokens, end: _pick(states, (tokens == end).int().argmax(1) - 1),
        "You take the position after the end: padding.": [
            lambda states, tokens, end: _pick(states, (tokens == end).int().argmax(1) + 1),
            lambda states, tokens, end: _pick(
                states, ((tokens == end).int().argmax(1) + 1).clamp(max=tokens.shape[1] - 1)
            ),
        ],
        "You take the largest token; in OpenAI's tokenizer that is the end token, here it is any: "
        "look for `end`.": lambda states, tokens, end: _pick(states, tokens.argmax(1)),
        "You average all positions, padding included.": lambda states, tokens, end: states.mean(1),
        "You average the text's positions; CLIP takes one of them, the end token's, which has seen "
        "all the others.": _mean_to_end,
        "squeeze() also removes the batch dimension of a single text, (D,); keep (1, D).": (
            lambda states, tokens, end: _end_state(states, tokens, end).squeeze()
        ),
        "You average the states of all end tokens; the first one counts.": (
            lambda states, tokens, end: (
                (states * (tokens == end)[..., None]).sum(1) / (tokens == end).sum(1, keepdim=True)
            )
        ),
    },
    against=TextTransformer.forward,
)


# A vector for each class.


class _Encoded:
    """A CLIP whose texts are numbers: those of its features, at class and template."""

    def __init__(self, features: Tensor):
        self.features = features

    def encode_text(self, texts: list[str]) -> Tensor:
        rows = torch.tensor([[int(part) for part in text.split()] for text in texts])
        return F.normalize(self.features[rows[:, 0], rows[:, 1]], dim=1)


def _ensemble(features: Tensor) -> Tensor:
    K, T = features.shape[:2]
    templates = [f"{{}} {template}" for template in range(T)]
    return zero_shot.class_vectors(_Encoded(features), [str(k) for k in range(K)], templates)


def _mean_of_unit(features: Tensor) -> Tensor:
    return F.normalize(features, dim=2).mean(1)  # (K, D)


def _draw_features(g: torch.Generator):
    """Prompts of very different lengths, so that it matters to normalize them first."""
    K, T, D = sizes(g, 3)
    return (torch.randn(K, T, D, generator=g) * (0.3 + 3 * torch.rand(K, T, 1, generator=g)),)


ensemble = Check(
    "ensemble",
    reference=_ensemble,
    draw_inputs=_draw_features,
    mistakes={
        "The average is not brought back to length 1: a mean of unit vectors is shorter than "
        "they are, the more they disagree, and such a class would lose unfairly.": _mean_of_unit,
        "The prompts are averaged at their own lengths, so the longest feature weighs most; "
        "bring each to length 1 first.": (lambda features: F.normalize(features.mean(1), dim=1)),
        "Nothing is normalized: neither the prompts, nor the average.": (
            lambda features: features.mean(1)
        ),
        "You average over the classes; the templates are dimension 1.": (
            lambda features: F.normalize(F.normalize(features, dim=2).mean(0), dim=1)
        ),
        "You keep the first template only.": lambda features: F.normalize(features[:, 0], dim=1),
        "You normalize the templates against each other; a vector runs along the last dimension.": (
            lambda features: F.normalize(F.normalize(features, dim=1).mean(1), dim=1)
        ),
        "The average is normalized down the classes; each class needs length 1: dimension 1.": (
            lambda features: F.normalize(_mean_of_unit(features), dim=0)
        ),
        "You divide by the sum, as if the numbers were probabilities; length 1 means that their "
        "squares sum to 1.": (
            lambda features: _mean_of_unit(features) / _mean_of_unit(features).sum(1, keepdim=True)
        ),
    },
    against=zero_shot.class_vectors,
)


# What is found.


def _find(similarity: Tensor, k: int) -> float:
    return retrieval.recall_at(similarity, k)


def _hits(similarity: Tensor, k: int, largest: bool = True) -> Tensor:
    own = torch.arange(len(similarity))[:, None]
    return (similarity.topk(k, dim=1, largest=largest).indices == own).any(1)


def _draw_similarity(g: torch.Generator):
    """Rows whose right answers take the places 1 to 5, unevenly, so that every K counts another
    share; the columns give other shares. In turn K is 1, N, or between; in one of the rounds all
    similarities of a row are equal."""
    N = size(g, 12, 16)
    places = torch.tensor([0, 1, 1, 2, 2, 2, 2, 3, 3, 4, 4, 4, 0, 0, 0, 0][:N])
    places = places[torch.randperm(N, generator=g)]
    kind, rows = turn(g, 5), torch.arange(N)
    K = (1, whole(2, 4, g), whole(2, 4, g), whole(2, 4, g), N)[kind]
    while True:
        order = torch.rand(N, N, generator=g).argsort(1)
        at = (order == rows[:, None]).int().argmax(1)  # where the own number stands in its order
        order[rows, at], order[rows, places] = order[rows, places], rows
        ranked = -torch.arange(float(N)) - 0.5 * torch.rand(N, N, generator=g)
        similarity = torch.empty(N, N).scatter_(1, order, ranked / N)
        if kind == 2:  # as a network that says the same everywhere: any sort finds K / N of them
            return similarity[:, :1].repeat(1, N), K
        if K == N or retrieval.recall_at(similarity, K) != retrieval.recall_at(similarity.T, K):
            return similarity, K


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
        "You look at one candidate too many: K of them count.": [
            lambda similarity, k: _hits(similarity, k + 1).double().mean().item(),
            lambda similarity, k: (
                _hits(similarity, min(k + 1, len(similarity))).double().mean().item()
            ),
        ],
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
        "A tie counts as wrong: an answer is found if fewer than K others are at least as similar. "
        "A sort puts equal ones in any order.": [
            lambda similarity, k: (
                ((similarity > similarity.diagonal()[:, None]).sum(1) < k).double().mean().item()
            ),
            lambda similarity, k: _hits(similarity, k).double().mean().item(),
            lambda similarity, k: (
                (
                    similarity.argsort(1, descending=True)[:, :k]
                    == torch.arange(len(similarity))[:, None]
                )
                .any(1)
                .double()
                .mean()
                .item()
            ),
        ],
        "You ask whether the right one is exactly the K-th; it may be anywhere among the K best.": (
            lambda similarity, k: (
                (similarity.argsort(1, descending=True)[:, k - 1] == torch.arange(len(similarity)))
                .double()
                .mean()
                .item()
            )
        ),
    },
    against=retrieval.recall_at,
)
