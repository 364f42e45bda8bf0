"""The checks of lesson 07 on training: the loss, its temperature, and captions that come twice."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between
from labkit.systems.clip import LAST_SCALE, contrastive_loss


def _unit(features: Tensor) -> Tensor:
    return F.normalize(features, dim=1)


def _rows(logits: Tensor) -> Tensor:
    return F.cross_entropy(logits, torch.arange(len(logits)))


def _halves(logits: Tensor) -> Tensor:
    return (_rows(logits) + _rows(logits.T)) / 2


# The loss.


def _clip_loss(image: Tensor, text: Tensor, scale: float) -> Tensor:
    return contrastive_loss(_unit(image), _unit(text), scale)


def _wrong_loss(ask=_halves, image_unit=_unit, text_unit=_unit, use=lambda scale: scale):
    """The loss in which one thing can be wrong."""
    return lambda image, text, scale: ask(use(scale) * image_unit(image) @ text_unit(text).T)


def _draw_pairs(g: torch.Generator):
    image, text = torch.randn(2, 6, 5, generator=g)
    return 2 * image + text, text + 0.5 * image, between(3, 8, g)


clip_loss = Check(
    "clip_loss",
    reference=_clip_loss,
    draw_inputs=_draw_pairs,
    mistakes={
        "You ask in one direction only, which text belongs to each picture; the columns ask which "
        "picture belongs to each text. Take the mean of both.": _wrong_loss(_rows),
        "You ask in one direction only, which picture belongs to each text; the rows ask which "
        "text belongs to each picture. Take the mean of both.": (
            _wrong_loss(lambda logits: _rows(logits.T))
        ),
        "The two halves are added; take their mean, so that chance stays at ln N.": (
            _wrong_loss(lambda logits: _rows(logits) + _rows(logits.T))
        ),
        "Nothing is normalized: bring every row of both matrices to length 1 first, or long "
        "features win whatever they say.": (
            _wrong_loss(image_unit=lambda rows: rows, text_unit=lambda rows: rows)
        ),
        "The pictures' features are not normalized; every row needs length 1.": (
            _wrong_loss(image_unit=lambda rows: rows)
        ),
        "The texts' features are not normalized; every row needs length 1.": (
            _wrong_loss(text_unit=lambda rows: rows)
        ),
        "You normalize down the batch; each row is a vector, and its length is what must be 1: "
        "dimension 1.": _wrong_loss(
            image_unit=lambda rows: F.normalize(rows, dim=0),
            text_unit=lambda rows: F.normalize(rows, dim=0),
        ),
        "You divide by the scale, as if it were the temperature τ; the scale is 1/τ: multiply.": (
            _wrong_loss(use=lambda scale: 1 / scale)
        ),
        "The scale is missing: multiply the cosines by it, or no softmax can be sure.": (
            _wrong_loss(use=lambda scale: 1.0)
        ),
        "cross_entropy takes logits and makes its own softmax; yours is the second one.": (
            _wrong_loss(lambda logits: (_rows(logits.softmax(1)) + _rows(logits.T.softmax(1))) / 2)
        ),
        "You only pull pairs together, −mean of the diagonal; without the sum over the others "
        "below the fraction, putting everything in one place would be perfect.": (
            _wrong_loss(lambda logits: -logits.diagonal().mean())
        ),
    },
    against="labkit.systems.clip.contrastive_loss",
)


# The temperature.


def _step_scale(log_scale: Tensor, gradient: Tensor, lr: float) -> Tensor:
    return (log_scale - lr * gradient).clamp(max=math.log(LAST_SCALE))


def _draw_scales(g: torch.Generator):
    """Some of them far below the cap, some that the step takes beyond it, some that come back."""
    near = math.log(LAST_SCALE) - torch.tensor([2.0, 1.0, 0.01, 0.01, 0.3, -0.05])
    push = torch.tensor([-1.0, 1.0, -1.0, 1.0, 1.0, 1.0]) * (0.5 + torch.rand(6, generator=g))
    return near, push, between(0.15, 0.25, g)


step_scale = Check(
    "step_scale",
    reference=_step_scale,
    draw_inputs=_draw_scales,
    mistakes={
        "Nothing is clamped: after the step the logarithm may be at most ln 100. (A logarithm of "
        "100 is no bound at all: that scale would be e¹⁰⁰.)": (
            lambda log_scale, gradient, lr: log_scale - lr * gradient
        ),
        "You clamp first and step then, so the step leaves the range again; clamp what comes "
        "out.": lambda log_scale, gradient, lr: (
            log_scale.clamp(max=math.log(LAST_SCALE)) - lr * gradient
        ),
        "You step on the scale itself; what is learned is its logarithm, so that every step "
        "changes it by a share, and it stays positive.": lambda log_scale, gradient, lr: (
            (log_scale.exp() - lr * gradient).clamp(max=LAST_SCALE).log()
        ),
        "You return the scale; the logarithm was asked for.": lambda log_scale, gradient, lr: (
            _step_scale(log_scale, gradient, lr).exp()
        ),
        "You climb the loss; a step goes against the gradient: minus.": (
            lambda log_scale, gradient, lr: _step_scale(log_scale, -gradient, lr)
        ),
        "You bound the logarithm from below; the cap is a largest scale: clamp(max=…).": (
            lambda log_scale, gradient, lr: (log_scale - lr * gradient).clamp(
                min=math.log(LAST_SCALE)
            )
        ),
        "You clamp at ln(1/0.07), where training starts; the cap is ln 100.": (
            lambda log_scale, gradient, lr: (log_scale - lr * gradient).clamp(
                max=math.log(1 / 0.07)
            )
        ),
    },
    against="an update followed by the clamp of labkit.systems.clip.CLIP",
)


# Captions that come twice.


def _others(same: Tensor) -> Tensor:
    """Where another row of the batch has the same caption, (N, N) bool, False on the diagonal."""
    return same & ~torch.eye(len(same), dtype=torch.bool)


def _distinct_loss(image: Tensor, text: Tensor, scale: float, same: Tensor) -> Tensor:
    return _halves((scale * image @ text.T).masked_fill(_others(same), -torch.inf))


def _wrong_distinct(ask):
    return lambda image, text, scale, same: ask(scale * image @ text.T, same)


def _draw_twice(g: torch.Generator):
    """Eight pairs; two captions come twice, and one three times."""
    said = torch.tensor([0, 0, 1, 1, 2, 2, 2, 3])[torch.randperm(8, generator=g)]
    text = _unit(torch.randn(4, 5, generator=g))[said]
    image = _unit(text + 0.7 * torch.randn(8, 5, generator=g))
    return image, text, between(3, 8, g), said[:, None] == said


distinct_loss = Check(
    "distinct_loss",
    reference=_distinct_loss,
    draw_inputs=_draw_twice,
    mistakes={
        "Captions that come twice still count as wrong answers: this is the plain loss.": (
            _wrong_distinct(lambda logits, same: _halves(logits))
        ),
        "You set the doubles' logits to 0, but e⁰ = 1 still counts below the fraction; −∞ leaves "
        "them out.": _wrong_distinct(
            lambda logits, same: _halves(logits.masked_fill(_others(same), 0.0))
        ),
        "You leave the doubles out of the rows only; the columns have them as well.": (
            _wrong_distinct(
                lambda logits, same: (
                    (_rows(logits.masked_fill(_others(same), -torch.inf)) + _rows(logits.T)) / 2
                )
            )
        ),
        "Your mask takes the diagonal too, the one right answer of each row: leave it in.": (
            _wrong_distinct(lambda logits, same: _halves(logits.masked_fill(same, -1e4)))
        ),
        "The mask is the wrong way round: you leave out all who say something else, and the "
        "doubles stay.": _wrong_distinct(
            lambda logits, same: _halves(logits.masked_fill(~same, -torch.inf))
        ),
        "You multiply the logits by the mask, which makes 0 of them, and e⁰ = 1 still counts; "
        "fill in −∞.": _wrong_distinct(lambda logits, same: _halves(logits * ~same)),
        "You take the rows with doubles out of the batch; their own pair is still worth learning: "
        "leave out only the pairs that are no mistake.": _wrong_distinct(
            lambda logits, same: _halves(logits[same.sum(1) == 1][:, same.sum(1) == 1])
        ),
    },
    against="two cross-entropies without the doubles",
)
