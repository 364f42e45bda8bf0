"""The checks of lesson 05 on what a classifier is asked: its gradient, and "this or that"."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from labkit import guidance
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import sizes, turn, whole

# The gradient.


def _class_gradient(classifier, x: Tensor, y: Tensor) -> Tensor:
    def log_prob(x, t):
        return classifier(x).log_softmax(1).gather(1, y[:, None])[:, 0]

    return guidance.gradient(log_prob, x, 1)


def _slope(number: Callable, x: Tensor) -> Tensor:
    """The gradient of number(x) by x."""
    x = x.detach().requires_grad_(True)
    return torch.autograd.grad(number(x), x)[0]


def _pick(values: Tensor, y: Tensor) -> Tensor:
    return values.gather(1, y[:, None])[:, 0]


class ToyClassifier(nn.Module):
    """What a check gives in place of a classifier of points (B, D) among K classes. Of its first
    class it is nearly sure that it is not the one: e⁻²⁰⁰."""

    def __init__(self, D: int, K: int, g: torch.Generator):
        super().__init__()
        self.first = nn.Parameter(torch.randn(D, 8, generator=g))
        self.second = nn.Parameter(torch.randn(8, K, generator=g))
        self.register_buffer("bias", torch.tensor([-200.0] + [0.0] * (K - 1)))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.first) @ self.second + self.bias


def _draw_classifier(g: torch.Generator):
    """A classifier, points, and classes, of which the first two rows have different ones."""
    B, K, D = sizes(g, 3)
    y = torch.cat([torch.tensor([0, whole(1, K - 1, g)]), torch.randint(K, (B - 2,), generator=g)])
    y = y[[1, 0, *range(2, B)]] if turn(g, 4) < 2 else y
    return ToyClassifier(D, K, g), torch.randn(B, D, generator=g), y


def _log_p(classifier, x: Tensor) -> Tensor:
    return classifier(x).log_softmax(1)  # (B, K)


class_gradient = Check(
    "class_gradient",
    reference=_class_gradient,
    draw_inputs=_draw_classifier,
    mistakes={
        "You take softmax where log_softmax belongs: the gradient of p is p times the gradient of "
        "log p, so it vanishes where the classifier is sure that it is not y.": (
            lambda f, x, y: _slope(lambda x: _pick(f(x).softmax(1), y).sum(), x)
        ),
        "You take the logit itself, not its log_softmax: without the denominator nothing pushes "
        "away from the other classes.": (lambda f, x, y: _slope(lambda x: _pick(f(x), y).sum(), x)),
        "The sign is wrong: this is the gradient of the cross-entropy, which trains away from "
        "mistakes; guidance climbs log p(y|x).": (
            lambda f, x, y: _slope(lambda x: -_pick(_log_p(f, x), y).sum(), x)
        ),
        "You take the mean over the batch, so every row's gradient is divided by the number of "
        "rows; take the sum: each row's gradient is its own.": (
            lambda f, x, y: _slope(lambda x: _pick(_log_p(f, x), y).mean(), x)
        ),
        "You sum log p over all the classes; pick the one in y for each row.": (
            lambda f, x, y: _slope(lambda x: _log_p(f, x).sum(), x)
        ),
        "Every row climbs towards y[0]; each has its own class: gather, or [range(B), y].": (
            lambda f, x, y: _slope(lambda x: _log_p(f, x)[:, y[0]].sum(), x)
        ),
        "You climb towards the class that each point looks most like already, not towards y.": (
            lambda f, x, y: _slope(lambda x: _log_p(f, x).amax(1).sum(), x)
        ),
        "[:, y] picks all classes of the batch in every row, (B, B); gather, or [range(B), y], "
        "picks one for each.": (lambda f, x, y: _slope(lambda x: _log_p(f, x)[:, y].sum(), x)),
        "Your formula is right, but where the classifier is sure that it is not y, softmax "
        "underflows to 0, and the gradient of log 0 is nan: log_softmax does both at once.": (
            lambda f, x, y: _slope(lambda x: _pick(f(x).softmax(1), y).log().sum(), x)
        ),
        "The softmax runs down the batch; the classes are dimension 1.": (
            lambda f, x, y: _slope(lambda x: _pick(f(x).log_softmax(0), y).sum(), x)
        ),
        "You take the sigmoid of a logit; these classes exclude one another: log_softmax.": (
            lambda f, x, y: _slope(lambda x: nn.functional.logsigmoid(_pick(f(x), y)).sum(), x)
        ),
        "Only the first row gets a gradient; sum log p over all rows.": (
            lambda f, x, y: _slope(lambda x: _pick(_log_p(f, x), y)[0], x)
        ),
        "You add a small number before the log, and the gradient vanishes where the classifier is "
        "sure that it is not y: log_softmax needs none.": (
            lambda f, x, y: _slope(lambda x: (_pick(f(x).softmax(1), y) + 1e-8).log().sum(), x)
        ),
    },
    against=guidance.gradient,
)


# This class or that one.


def _either_class(logits: Tensor, a: int, b: int) -> Tensor:
    return logits.log_softmax(1)[:, [a, b]].logsumexp(1)


def _log(logits: Tensor, k: int) -> Tensor:
    return logits.log_softmax(1)[:, k]


def _p(logits: Tensor, k: int) -> Tensor:
    return logits.softmax(1)[:, k]


def _draw_either(g: torch.Generator):
    """Logits, the first row of which is sure that it is neither a nor b: e⁻²⁰⁰."""
    B, K = sizes(g, 2, 3)
    a, b = torch.randperm(K, generator=g)[:2].tolist()
    logits = 2 * torch.randn(B, K, generator=g)
    logits[0, [a, b]] -= 200
    return logits.requires_grad_(), a, b


either_class = Check(
    "either_class",
    reference=_either_class,
    draw_inputs=_draw_either,
    mistakes={
        "You add the logs, which multiplies the probabilities: that asks for both at once. Add "
        "the probabilities, then take the log.": (
            lambda logits, a, b: _log(logits, a) + _log(logits, b)
        ),
        "You take the mean of the logs, half of asking for both at once; add the probabilities, "
        "then take the log.": (lambda logits, a, b: (_log(logits, a) + _log(logits, b)) / 2),
        "You return the probability; guidance climbs its log.": (
            lambda logits, a, b: _p(logits, a) + _p(logits, b)
        ),
        "You take the larger of the two, which jumps where they cross; add the probabilities.": (
            lambda logits, a, b: torch.maximum(_log(logits, a), _log(logits, b))
        ),
        'You take the mean of the probabilities: "a or b" is their sum (its gradient is the '
        "same, its value is not).": [
            (lambda logits, a, b: _either_class(logits, a, b) - math.log(2)),
            (lambda logits, a, b: ((_p(logits, a) + _p(logits, b)) / 2).log()),
        ],
        "You add up logits that were never normalized: log_softmax first, over all the classes.": (
            lambda logits, a, b: torch.logaddexp(logits[:, a], logits[:, b])
        ),
        "Your formula is right, but where the classifier is sure that it is neither, both "
        "probabilities underflow to 0, and log 0 is −∞: logsumexp of the two log_softmax's.": (
            lambda logits, a, b: (_p(logits, a) + _p(logits, b)).log()
        ),
        "You normalize over the two classes only, so nothing pushes away from the others.": (
            lambda logits, a, b: logits[:, [a, b]].log_softmax(1).logsumexp(1)
        ),
        "Two classes of one classifier exclude one another, so nothing is to be subtracted: "
        "p_a + p_b.": [
            (
                lambda logits, a, b: (
                    _p(logits, a) + _p(logits, b) - _p(logits, a) * _p(logits, b)
                ).log()
            ),
            (lambda logits, a, b: (1 - (1 - _p(logits, a)) * (1 - _p(logits, b))).log()),
        ],
        "The softmax runs down the batch; the classes are dimension 1.": (
            lambda logits, a, b: logits.log_softmax(0)[:, [a, b]].logsumexp(1)
        ),
        "This is a alone; add the probability of b.": (lambda logits, a, b: _log(logits, a)),
    },
    against="logsumexp of the two log-probabilities",
)
