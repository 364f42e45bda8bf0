"""The checks of lesson 07 on training: the loss, its temperature, and duplicate captions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, is_odd, size, sizes, turn, whole
from labkit.systems.clip import LAST_SCALE, contrastive_loss
from labkit.systems.clip import distinct_loss as _distinct_loss


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features, dim=1)


def _rows(logits: Tensor) -> Tensor:
    return F.cross_entropy(logits, torch.arange(len(logits)))


def _halves(logits: Tensor) -> Tensor:
    return (_rows(logits) + _rows(logits.T)) / 2


# The loss.


def _clip_loss(image: Tensor, text: Tensor, scale: float) -> Tensor:
    return contrastive_loss(_unit(image), _unit(text), scale)


def _logits(image: Tensor, text: Tensor, scale: float) -> Tensor:
    return scale * _unit(image) @ _unit(text).T


def _exp_and_log(logits: Tensor) -> Tensor:
    e = logits.exp()
    return -((e.diagonal() / e.sum(1)).log() + (e.diagonal() / e.sum(0)).log()).mean() / 2


def _softmax_and_log(logits: Tensor) -> Tensor:
    both = logits.softmax(1).diagonal().log() + logits.softmax(0).diagonal().log()
    return -both.mean() / 2


def _summed(logits: Tensor) -> Tensor:
    own = torch.arange(len(logits))
    parts = [F.cross_entropy(each, own, reduction="sum") for each in (logits, logits.T)]
    return sum(parts) / 2


def last_scale(g: torch.Generator) -> float:
    """In turn a scale of the beginning of training, and one of its end, near the cap of 100."""
    return between(3, 8, g) if is_odd(g) else between(90, 100, g)


def _draw_pairs(g: torch.Generator):
    """Pairs, in the first of which picture and text are each other's opposite, with others nearer
    by: at the scales of the end of training its probability is below what float32 can hold."""
    image, text = torch.randn(2, *sizes(g, 2, 3), generator=g)
    image, text = 2 * image + text, text + 0.5 * image
    text[0], text[1] = -image[0], image[0] + 0.1 * text[1]
    return image.requires_grad_(), text.requires_grad_(), last_scale(g)


clip_loss = Check(
    "clip_loss",
    reference=_clip_loss,
    draw_inputs=_draw_pairs,
    mistakes={
        "You ask in one direction only, which text belongs to each picture; the columns ask which "
        "picture belongs to each text. Take the mean of both.": (
            lambda image, text, scale: _rows(_logits(image, text, scale))
        ),
        "You ask in one direction only, which picture belongs to each text; the rows ask which "
        "text belongs to each picture. Take the mean of both.": (
            lambda image, text, scale: _rows(_logits(image, text, scale).T)
        ),
        "The two halves are added; take their mean, so that chance stays at ln N.": (
            lambda image, text, scale: 2 * _halves(_logits(image, text, scale))
        ),
        "Nothing is normalized: bring every row of both matrices to length 1 first, or long "
        "features get large logits in any direction.": (
            lambda image, text, scale: _halves(scale * image @ text.T)
        ),
        "The pictures' features are not normalized; every row needs length 1.": (
            lambda image, text, scale: _halves(scale * image @ _unit(text).T)
        ),
        "The texts' features are not normalized; every row needs length 1.": (
            lambda image, text, scale: _halves(scale * _unit(image) @ text.T)
        ),
        "You normalize down the batch; each row is a vector, and its length is what must be 1: "
        "dimension 1.": (
            lambda image, text, scale: _halves(
                scale * F.normalize(image, dim=0) @ F.normalize(text, dim=0).T
            )
        ),
        "You divide by the scale, as if it were the temperature T; the scale is 1/T: multiply.": (
            lambda image, text, scale: _halves(_logits(image, text, 1 / scale))
        ),
        "You take the exponential of the scale, as if it were its logarithm; it is the number "
        "itself.": (lambda image, text, scale: _halves(_logits(image, text, math.exp(scale)))),
        "You add up the rows; take their mean, so that chance stays at ln N.": (
            lambda image, text, scale: _summed(_logits(image, text, scale))
        ),
        "Your formula is right, but at a scale near 100 the exponentials leave float32 and their "
        "log is infinite or nan: cross_entropy on the logits, or logsumexp, does both at once.": [
            (lambda image, text, scale: _exp_and_log(_logits(image, text, scale))),
            (lambda image, text, scale: _softmax_and_log(_logits(image, text, scale))),
        ],
        "The scale is missing: multiply the cosines by it, or no probability is near 1.": (
            lambda image, text, scale: _halves(_logits(image, text, 1.0))
        ),
        "cross_entropy takes logits and makes its own softmax; yours is the second one.": (
            lambda image, text, scale: (
                (
                    _rows(_logits(image, text, scale).softmax(1))
                    + _rows(_logits(image, text, scale).T.softmax(1))
                )
                / 2
            )
        ),
        "You only pull pairs together, −mean of the diagonal; without the sum over the others "
        "below the fraction, equal vectors would have the best loss.": (
            lambda image, text, scale: -_logits(image, text, scale).diagonal().mean()
        ),
    },
    against=contrastive_loss,
)


# The temperature.


def _step_scale(logit_scale: Tensor, gradient: Tensor, lr: float) -> Tensor:
    return (logit_scale - lr * gradient).clamp(max=math.log(LAST_SCALE))


def _draw_scales(g: torch.Generator):
    """Some of them far below the cap, some below 0 (a scale below 1), some that the step takes
    beyond the cap, some that come back."""
    near = math.log(LAST_SCALE) - torch.tensor([2.0, 6.5, 0.01, 0.01, 0.3, -0.05])
    push = torch.tensor([-1.0, 1.0, -1.0, 1.0, 1.0, 1.0]) * (0.5 + torch.rand(6, generator=g))
    shape, one = ((6,), (2, 3), (3, 2, 1), ())[turn(g, 4)], whole(0, 5, g)
    near, push = (row.view(shape) if shape else row[one] for row in (near, push))
    return near, push, between(0.15, 0.25, g)


step_scale = Check(
    "step_scale",
    reference=_step_scale,
    draw_inputs=_draw_scales,
    mistakes={
        "Nothing is clamped: after the step the logarithm may be at most ln 100. (A logarithm of "
        "100 is no bound at all: that scale would be e¹⁰⁰.)": (
            lambda logit_scale, gradient, lr: logit_scale - lr * gradient
        ),
        "You clamp first and step then, so the step leaves the range again; clamp what comes "
        "out.": lambda logit_scale, gradient, lr: (
            logit_scale.clamp(max=math.log(LAST_SCALE)) - lr * gradient
        ),
        "You step on the scale itself; what is learned is its logarithm, so that every step "
        "changes it by a share, and it stays positive.": lambda logit_scale, gradient, lr: (
            (logit_scale.exp() - lr * gradient).clamp(max=LAST_SCALE).log()
        ),
        "You return the scale; the logarithm was asked for.": lambda logit_scale, gradient, lr: (
            _step_scale(logit_scale, gradient, lr).exp()
        ),
        "You climb the loss; a step goes against the gradient: minus.": (
            lambda logit_scale, gradient, lr: _step_scale(logit_scale, -gradient, lr)
        ),
        "You bound the logarithm from below; the cap is a largest scale: clamp(max=…).": (
            lambda logit_scale, gradient, lr: (logit_scale - lr * gradient).clamp(
                min=math.log(LAST_SCALE)
            )
        ),
        "You clamp at ln(1/0.07), where training starts; the cap is ln 100.": (
            lambda logit_scale, gradient, lr: (logit_scale - lr * gradient).clamp(
                max=math.log(1 / 0.07)
            )
        ),
    },
    against="a step of gradient descent, and then the cap at ln 100",
)


# Duplicate captions.


def _others(same: Tensor) -> Tensor:
    """Where another row of the batch has the same caption, (N, N) bool, False on the diagonal."""
    return same & ~torch.eye(len(same), dtype=torch.bool)


def _products(image: Tensor, text: Tensor, scale: float) -> Tensor:
    return scale * image @ text.T


def _masked(logits: Tensor, same: Tensor) -> Tensor:
    return logits.masked_fill(_others(same), -torch.inf)


def _of_single_captions(image: Tensor, text: Tensor, scale: float, same: Tensor) -> Tensor:
    single = same.sum(1) == 1
    return _halves(_products(image[single], text[single], scale))


def _draw_twice(g: torch.Generator):
    """Six to ten pairs; one caption comes twice, one three times, the others once. The picture of
    the last caption is its opposite, and lies on the first caption, as in `clip_loss`."""
    N, D = size(g, 6, 10), whole(3, 7, g)
    texts = _unit(torch.randn(N - 3, D, generator=g))
    texts[-1] = -texts[0]
    said = torch.tensor([0, 0, 1, 1, 1, *range(2, N - 3)])[torch.randperm(N, generator=g)]
    image = _unit(texts[said] + 0.7 * torch.randn(N, D, generator=g))
    image[said == N - 4] = texts[0]
    text = texts[said].requires_grad_()
    return image.requires_grad_(), text, last_scale(g), said[:, None] == said


distinct_loss = Check(
    "distinct_loss",
    reference=_distinct_loss,
    draw_inputs=_draw_twice,
    mistakes={
        "Duplicate captions still count as wrong answers: this is the plain loss.": (
            lambda image, text, scale, same: _halves(_products(image, text, scale))
        ),
        "You set the duplicates' logits to 0, but e⁰ = 1 still counts below the fraction; −∞ "
        "leaves them out.": (
            lambda image, text, scale, same: _halves(
                _products(image, text, scale).masked_fill(_others(same), 0.0)
            )
        ),
        "You leave the duplicates out of the rows only; the columns have them too.": (
            lambda image, text, scale, same: (
                (
                    _rows(_masked(_products(image, text, scale), same))
                    + _rows(_products(image, text, scale).T)
                )
                / 2
            )
        ),
        "Your mask takes the diagonal too, the one right answer of each row: leave it in.": [
            (
                lambda image, text, scale, same: _halves(
                    _products(image, text, scale).masked_fill(same, -1e4)
                )
            ),
            (
                lambda image, text, scale, same: _halves(
                    _products(image, text, scale).masked_fill(same, -torch.inf)
                )
            ),
        ],
        "You leave the duplicates out of the columns only; the rows have them too.": (
            lambda image, text, scale, same: (
                (
                    _rows(_products(image, text, scale))
                    + _rows(_masked(_products(image, text, scale), same).T)
                )
                / 2
            )
        ),
        "Your formula is right, but at a scale near 100 the exponentials leave float32 and their "
        "log is infinite or nan: cross_entropy on the logits, or logsumexp, does both at once.": [
            (
                lambda image, text, scale, same: _exp_and_log(
                    _masked(_products(image, text, scale), same)
                )
            ),
            (
                lambda image, text, scale, same: _softmax_and_log(
                    _masked(_products(image, text, scale), same)
                )
            ),
        ],
        "The mask is the wrong way round: you leave out all other captions, and the "
        "duplicates stay.": (
            lambda image, text, scale, same: _halves(
                _products(image, text, scale).masked_fill(~same, -torch.inf)
            )
        ),
        "You multiply the logits by the mask, which makes 0 of them, and e⁰ = 1 still counts; "
        "fill in −∞.": (
            lambda image, text, scale, same: _halves(_products(image, text, scale) * ~same)
        ),
        "You take the rows with duplicates out of the batch; their own pair still counts: "
        "leave out only the pairs that are no mistake.": _of_single_captions,
    },
    against=_distinct_loss,
)
