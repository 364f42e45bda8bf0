"""The check of lesson 13 on the loss: the hardest negative, and what is none."""

import torch
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, is_odd, size
from labkit.systems.hinge import hardest_hinge, sum_hinge


def _negatives(scores: Tensor, true: Tensor) -> Tensor:
    return scores.masked_fill(true, -torch.inf)


def _only_itself(scores: Tensor) -> Tensor:
    return scores.masked_fill(torch.eye(len(scores), dtype=torch.bool), -torch.inf)


def _both(wrong: Tensor) -> Tensor:
    return torch.stack([wrong.amax(1), wrong.amax(0)])


def _finite_mean(wrong: Tensor, dim: int) -> Tensor:
    real = wrong.isfinite()
    total = torch.where(real, wrong, 0.0).sum(dim)
    return torch.where(real.any(dim), total / real.sum(dim).clamp(min=1), -torch.inf)


def _hinge(scores: Tensor, margin: float, hardest: Tensor) -> Tensor:
    """The loss by the hardest negatives, (2, B): of each picture, and of each caption."""
    return torch.relu(margin - scores.diagonal() + hardest)


def _without_the_hinge(scores: Tensor, margin: float, true: Tensor) -> Tensor:
    return margin - scores.diagonal() + _both(_negatives(scores, true))


def _rows_exchanged(scores: Tensor, margin: float, true: Tensor) -> Tensor:
    return _hinge(scores, margin, _both(_negatives(scores, true)).flip(0))


def _rows_twice(scores: Tensor, margin: float, true: Tensor) -> Tensor:
    wrong = _negatives(scores, true)
    return _hinge(scores, margin, torch.stack([wrong.amax(1), wrong.amax(1)]))


def _mean_of_negatives(scores: Tensor, margin: float, true: Tensor) -> Tensor:
    wrong = _negatives(scores, true)
    return _hinge(scores, margin, torch.stack([_finite_mean(wrong, 1), _finite_mean(wrong, 0)]))


def _transposed_mask(scores: Tensor, margin: float, true: Tensor) -> Tensor:
    hardest = _negatives(scores, true).amax(1), _negatives(scores, true.T).amax(0)
    return _hinge(scores, margin, torch.stack(hardest))


def _own_of_rows(scores: Tensor, margin: float, true: Tensor) -> Tensor:
    costs = (margin - scores.diagonal()[:, None] + scores).clamp(min=0).masked_fill(true, 0)
    return torch.stack([costs.amax(1), costs.amax(0)])


def _draw_scores(g: torch.Generator):
    """Scores of a batch, all below 0 in turn; some captions are true of other pictures, among them
    the nearest wrong one; the last picture's captions are true of all others in turn."""
    B, margin = size(g, 4, 7), between(0.1, 0.4, g)
    scores = 0.4 * torch.randn(B, B, generator=g)
    scores.diagonal().add_(0.3)
    true = torch.eye(B, dtype=torch.bool)
    true[0, 1] = true[2, 0] = true[1, 3] = True
    scores[0, 1] = scores[2, 0] = scores.max() + 0.3
    if is_odd(g):
        scores -= scores.max() + 30  # below any number to fill in
    else:
        true[-1] = True
    return scores.requires_grad_(), margin, true


hardest_costs = Check(
    "hardest_costs",
    reference=hardest_hinge,
    draw_inputs=_draw_scores,
    mistakes={
        "Captions that are true of the other picture still count as negatives: leave out all "
        "of `true`, not the diagonal alone.": (
            lambda scores, margin, true: _hinge(scores, margin, _both(_only_itself(scores)))
        ),
        "Nothing is left out: the own pair is its own hardest negative, and the loss is at least "
        "the margin.": (lambda scores, margin, true: _hinge(scores, margin, _both(scores))),
        "You add up all negatives; only the hardest one of each row and column counts.": (
            sum_hinge
        ),
        "You set the true pairs to 0, but where all scores are below 0 that is the largest; fill "
        "in −∞.": (
            lambda scores, margin, true: _hinge(
                scores, margin, _both(scores.masked_fill(true, 0.0))
            )
        ),
        "You fill in a number that is too large: where all scores are below it, it is the "
        "largest; fill in −∞.": [
            lambda scores, margin, true: _hinge(
                scores, margin, _both(scores.masked_fill(true, -1.0))
            ),
            lambda scores, margin, true: _hinge(
                scores, margin, _both(scores.masked_fill(true, -10.0))
            ),
        ],
        "The loss falls below 0 where the margin is kept: a hinge stops at 0, or easy pairs are "
        "pushed apart without end.": _without_the_hinge,
        "Your two rows are exchanged: first each picture with its hardest caption (along its row), "
        "then each caption with its hardest picture (down its column).": _rows_exchanged,
        "You look along the rows twice; for a caption, look down its column.": _rows_twice,
        "Down the columns you use `true` transposed: true[i, j] belongs to scores[i, j], for rows "
        "and for columns.": _transposed_mask,
        "For a caption you subtract the own score of each row; its own score is that of its "
        "column.": _own_of_rows,
        "Your numbers are (B, 2); (2, B) was asked for: a row for the pictures, one for the "
        "captions.": lambda scores, margin, true: hardest_hinge(scores, margin, true).mT,
        "Your mask is the wrong way round: you look for the hardest negative among the true "
        "pairs.": (
            lambda scores, margin, true: _hinge(
                scores, margin, _both(scores.masked_fill(~true, -torch.inf))
            )
        ),
        "The signs are exchanged: the loss must fall when the own score rises.": (
            lambda scores, margin, true: (
                margin + scores.diagonal() - _both(_negatives(scores, true))
            ).clamp(min=0)
        ),
        "The margin is missing: the right pair must win by the margin.": (
            lambda scores, margin, true: hardest_hinge(scores, 0.0, true)
        ),
        "You take the mean of the negatives; only the hardest one counts.": _mean_of_negatives,
    },
    against=hardest_hinge,
)
