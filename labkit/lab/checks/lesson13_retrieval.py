"""The checks of lesson 13 on search: R@K with several captions, and ranking the best again."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import size, turn, whole
from labkit.metrics import retrieval

# R@K with several captions of each picture.


def _belongs(similarity: Tensor) -> Tensor:
    N, M = similarity.shape
    return torch.arange(M) // (M // N) == torch.arange(N)[:, None]  # (N, M)


def _recall_both(similarity: Tensor, k: int) -> tuple[float, float]:
    belongs = _belongs(similarity)
    return (
        retrieval.recall_at(similarity, k, belongs),
        retrieval.recall_at(similarity.T, k, belongs.T.contiguous()),
    )


def _found(similarity: Tensor, own: Tensor, belongs: Tensor, k: int) -> float:
    """The share of rows in which fewer than k wrong ones are at least as similar as `own`."""
    ahead = ((similarity >= own[:, None]) & ~belongs).sum(1)
    return (ahead < k).double().mean().item()


def _of_pictures(similarity: Tensor) -> Tensor:
    """The similarities of each picture with its own captions, (N, c)."""
    return similarity[_belongs(similarity)].view(len(similarity), -1)


def _by_all_captions(similarity: Tensor, k: int) -> tuple[float, float]:
    own = _of_pictures(similarity).amin(1)
    return _found(similarity, own, _belongs(similarity), k), _recall_both(similarity, k)[1]


def _by_the_first_caption(similarity: Tensor, k: int) -> tuple[float, float]:
    own = _of_pictures(similarity)[:, 0]
    return _found(similarity, own, _belongs(similarity), k), _recall_both(similarity, k)[1]


def _each_caption(similarity: Tensor, k: int) -> tuple[float, float]:
    """The share of all captions that come among the k best of their picture."""
    belongs, top = _belongs(similarity), similarity.topk(k, dim=1).indices
    found = belongs.gather(1, top).double().sum().item()
    return found / belongs.sum().item(), _recall_both(similarity, k)[1]


def _interleaved(similarity: Tensor, k: int) -> tuple[float, float]:
    N, M = similarity.shape
    belongs = torch.arange(M) % N == torch.arange(N)[:, None]
    return (
        retrieval.recall_at(similarity, k, belongs),
        retrieval.recall_at(similarity.T, k, belongs.T.contiguous()),
    )


def _by_pictures(similarity: Tensor, k: int) -> tuple[float, float]:
    """Counts the pictures that are ahead, each by its best caption, in place of the captions."""
    N = len(similarity)
    best = similarity.view(N, N, -1).amax(2)
    first = _found(best, best.diagonal(), torch.eye(N, dtype=torch.bool), k)
    return first, _recall_both(similarity, k)[1]


def _ties(similarity: Tensor, k: int) -> tuple[float, float]:
    """A search that counts an equal similarity as found."""
    belongs, found = _belongs(similarity), []
    for s, own in ((similarity, belongs), (similarity.T, belongs.T)):
        best = s.masked_fill(~own, -torch.inf).amax(1, keepdim=True)
        found.append(((s > best) & ~own).sum(1).lt(k).double().mean().item())
    return found[0], found[1]


def _draw_captions(g: torch.Generator):
    """Similarities of N pictures and c captions of each, c from 2 to 6, of which some are near
    their picture; in turn all are equal, as from a network that says the same everywhere."""
    N, c = size(g, 7, 11), whole(2, 6, g)
    kind = turn(g, 5)
    k = 1 if kind == 0 else whole(2, 4, g)
    while True:
        similarity = torch.randn(N, N * c, generator=g)
        similarity += 1.1 * _belongs(similarity)
        if kind == 3:
            return 0 * similarity, k
        first, second = _recall_both(similarity, k)
        if k > 1 and abs(_by_pictures(similarity, k)[0] - first) < 1e-3:
            continue  # at K = 1 both are the same
        if first != second and 0 < first < 1 and _recall_both(similarity, k + 1)[1] != second:
            return similarity, k


recall_both = Check(
    "recall_both",
    reference=_recall_both,
    draw_inputs=_draw_captions,
    mistakes={
        "You ask that all captions of a picture come first; any of them is enough.": (
            _by_all_captions
        ),
        "You look for the first caption of each picture only; any of its captions counts.": (
            _by_the_first_caption
        ),
        "You count which captions are found; a picture counts once, as soon as one of its captions "
        "is among the K best.": _each_caption,
        "You rank pictures by their best caption; the K best are captions, and every wrong caption "
        "counts.": _by_pictures,
        "The captions of a picture stand side by side: c of the first picture, then c of the "
        "second. You take every N-th.": _interleaved,
        "Your two directions are exchanged: from picture to sentence comes first.": (
            lambda similarity, k: _recall_both(similarity, k)[::-1]
        ),
        "This is R@1, whatever K is.": lambda similarity, k: _recall_both(similarity, 1),
        "You look at one candidate too many: K of them count.": (
            lambda similarity, k: _recall_both(similarity, k + 1)
        ),
        "A tie counts as wrong: an answer is found if fewer than K wrong ones are at least as "
        "similar.": _ties,
        "You return the same direction twice; from sentence to picture, each of the c N sentences "
        "looks for its one picture, down the columns.": lambda similarity, k: (
            (_recall_both(similarity, k)[0],) * 2
        ),
        "You return percent; a share between 0 and 1 was asked for.": lambda similarity, k: tuple(
            100 * each for each in _recall_both(similarity, k)
        ),
    },
    against=retrieval.recall_at,
)


# The cheap score finds the best, the joint one ranks them.


def _rerank(cheap: Tensor, joint: Callable[[Tensor], Tensor], top: int) -> Tensor:
    order = cheap.argsort(descending=True)
    best = order[:top]
    return torch.cat([best[joint(best).argsort(descending=True)], order[top:]])


def _rank_all(cheap: Tensor, joint: Callable[[Tensor], Tensor], top: int) -> Tensor:
    return joint(torch.arange(len(cheap))).argsort(descending=True)


def _places(cheap: Tensor, joint: Callable[[Tensor], Tensor], top: int) -> Tensor:
    """Orders the best, but forgets that they are numbers among the best."""
    order = cheap.argsort(descending=True)
    return torch.cat([joint(order[:top]).argsort(descending=True), order[top:]])


def _worst_first(cheap: Tensor, joint: Callable[[Tensor], Tensor], top: int) -> Tensor:
    found = _rerank(cheap, joint, top)
    return torch.cat([found[:top].flip(0), found[top:]])


def _others_by_row(cheap: Tensor, joint: Callable[[Tensor], Tensor], top: int) -> Tensor:
    found = _rerank(cheap, joint, top)
    return torch.cat([found[:top], found[top:].sort().values])


@dataclass(eq=False)
class _Joint:
    """The joint scores of a query with the rows that are asked for, (K,). It is made for at most
    `limit` rows, all calls together, and says so."""

    scores: Tensor
    limit: int

    def __post_init__(self):
        self.asked = 0  # no field: that it grows is no change of what was given

    def __call__(self, rows: Tensor) -> Tensor:
        self.asked += len(rows)
        if self.asked > self.limit:
            raise ValueError(
                f"joint was asked for {self.asked} rows, but only the best {self.limit} by the "
                "cheap score may cost a joint pass"
            )
        return self.scores[rows]


def _draw_gallery(g: torch.Generator):
    """A gallery of 8 to 14, whose joint scores disagree with the cheap ones: among the best, and
    beyond them, where one would be the very best. In turn the best are all, and one alone."""
    N = size(g, 8, 14)
    top = (N, 1, whole(3, 5, g), whole(3, 5, g), whole(3, 5, g))[turn(g, 5)]
    cheap, scores = torch.rand(N, generator=g), torch.rand(N, generator=g)
    order = cheap.argsort(descending=True)
    ranked = scores[order[:top]].sort().values  # the last by the cheap score is the best,
    ranked[:2] = ranked[:2].flip(0)  # and the first is not the worst
    scores[order[:top]] = ranked
    if top < N:
        scores[order[-1]] = 3.0
    return cheap, _Joint(scores, top), top


rerank = Check(
    "rerank",
    reference=_rerank,
    draw_inputs=_draw_gallery,
    mistakes={
        "You score the whole gallery jointly, which is what the cheap score is there to save: ask "
        "joint for the best `top` rows only.": _rank_all,
        "You never ask joint: this is the cheap order.": (
            lambda cheap, joint, top: cheap.argsort(descending=True)
        ),
        "The order among the best is their place among the best, 0 … top − 1; look up which row of "
        "the gallery stands at that place: best[order].": _places,
        "The best `top` are in order from the smallest joint score up; the largest comes first.": (
            _worst_first
        ),
        "You sort the cheap scores from the smallest up, so that the worst are scored jointly.": (
            lambda cheap, joint, top: _rerank(-cheap, joint, top)
        ),
        "You return the best `top` alone; the others follow, in the order of the cheap score.": (
            lambda cheap, joint, top: _rerank(cheap, joint, top)[:top]
        ),
        "The others are in the order of the gallery; they follow in the order of the cheap "
        "score.": _others_by_row,
    },
    against="the best by the cheap score, ranked by the joint one, and then all others",
)
