"""The checks of lesson 08 on guidance: a norm that hears the time, a classifier, and the shift."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labkit.conditioning import Conditioning
from labkit.denoiser import Prediction, from_eps
from labkit.guidance import ScoreGuidance
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between
from labkit.schedule import NoiseSchedule
from labkit.systems.sdg import FIXED_SCALE

# A norm that hears the time.


def _hear_time(h: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return h * (1 + gamma[:, :, None, None]) + beta[:, :, None, None]


hear_time = Check(
    "hear_time",
    reference=_hear_time,
    # as many rows as channels as pixels a side, so that a wrong place for None runs without error
    draw_inputs=lambda g: (
        torch.randn(4, 4, 4, 4, generator=g),
        *torch.randn(2, 4, 4, generator=g),
    ),
    mistakes={
        "The 1 is missing: with γ = β = 0 the norm would give nothing at all, and the encoder "
        "would not begin as CLIP's own.": lambda h, gamma, beta: (
            h * gamma[:, :, None, None] + beta[:, :, None, None]
        ),
        "γ and β have changed places: γ scales, β shifts.": lambda h, gamma, beta: _hear_time(
            h, beta, gamma
        ),
        "You shift first and scale the shift as well; scale first.": lambda h, gamma, beta: (
            (h + beta[:, :, None, None]) * (1 + gamma[:, :, None, None])
        ),
        "γ and β stretch along the pixels of a row instead of along the channels: the two None "
        "belong at the end.": lambda h, gamma, beta: (
            h * (1 + gamma[:, None, None]) + beta[:, None, None]
        ),
        "γ and β stretch along the rows of the picture instead of along the channels: the two "
        "None belong at the end.": lambda h, gamma, beta: (
            h * (1 + gamma[:, None, :, None]) + beta[:, None, :, None]
        ),
        "Without None, γ and β are laid over the pixels, the same for every picture; give them "
        "two more dimensions at the end.": lambda h, gamma, beta: h * (1 + gamma) + beta,
        "All pictures get the time of the first; each row has its own.": lambda h, gamma, beta: (
            _hear_time(h, gamma[:1], beta[:1])
        ),
        "β is missing.": lambda h, gamma, beta: h * (1 + gamma[:, :, None, None]),
        "γ is missing.": lambda h, gamma, beta: h + beta[:, :, None, None],
        "You scale by e^γ, which is near 1 + γ for small γ only; the paper's scale is 1 + γ.": (
            lambda h, gamma, beta: h * gamma[:, :, None, None].exp() + beta[:, :, None, None]
        ),
    },
    against="labkit.nets.noisy_resnet.NoisyResNet.told",
)


# A classifier made of sentences.


def _class_score(images: Tensor, sentences: Tensor, labels: Tensor) -> Tensor:
    logits = FIXED_SCALE * images @ sentences.T  # (B, K)
    return logits.log_softmax(1).gather(1, labels[:, None])[:, 0]


def _wrong_class(turn=lambda logits: logits.log_softmax(1), scale=lambda s: s, pick=None):
    """The score of a class in which one thing can be wrong."""
    pick = pick or (lambda table, labels: table.gather(1, labels[:, None])[:, 0])
    return lambda images, sentences, labels: pick(
        turn(scale(FIXED_SCALE) * images @ sentences.T), labels
    )


def _draw_class(g: torch.Generator):
    """As many pictures as classes, and their cosines close together, as CLIP's are."""
    sentences = torch.nn.functional.normalize(torch.randn(5, 8, generator=g), dim=1)
    middle = sentences.mean(0)
    images = middle + 0.05 * torch.randn(5, 8, generator=g)
    labels = torch.randperm(5, generator=g)
    labels = labels.roll(1) if (labels == torch.arange(5)).all() else labels
    return torch.nn.functional.normalize(images, dim=1), sentences, labels


class_score = Check(
    "class_score",
    reference=_class_score,
    draw_inputs=_draw_class,
    mistakes={
        "The scale of 100 is missing: cosines lie so close together that their softmax hardly "
        "tells the classes apart.": _wrong_class(scale=lambda s: 1.0),
        "You divide by 100; the temperature is 1/100, so multiply.": (
            _wrong_class(scale=lambda s: 1 / s)
        ),
        "This is the probability; a score stands in an exponent already: take its logarithm, "
        "log_softmax.": _wrong_class(lambda logits: logits.softmax(1)),
        "This is 100 times the cosine with the sentence alone; a classifier also says what the "
        "picture is not: log_softmax over the sentences.": _wrong_class(lambda logits: logits),
        "The softmax runs over the pictures of the batch, so that they compete with each other; "
        "it is the sentences that compete, dimension 1.": (
            _wrong_class(lambda logits: logits.log_softmax(0))
        ),
        "You take the diagonal, as in CLIP's training; here row b has the class labels[b].": (
            _wrong_class(pick=lambda table, labels: table.diagonal())
        ),
        "This is the surprise, −log p; a score grows with the likeness.": (
            _wrong_class(lambda logits: -logits.log_softmax(1))
        ),
        "You average over the batch; give one number per row.": _wrong_class(
            pick=lambda table, labels: table.gather(1, labels[:, None]).mean()
        ),
        "You give all classes; pick the row's own, labels[b].": _wrong_class(
            pick=lambda table, labels: table
        ),
        "table[:, labels] picks all the labels in every row, (B, B); gather picks one for each.": (
            _wrong_class(pick=lambda table, labels: table[:, labels])
        ),
    },
    against="log_softmax of labkit.systems.clip.CLIP's similarities",
)


# Guidance by any score, from the score itself to eps.


class _Says:
    """A denoiser that has already answered."""

    def __init__(self, schedule: NoiseSchedule, eps: Tensor):
        self.schedule, self.eps = schedule, eps

    def __call__(self, x: Tensor, t: int, cond: Conditioning | None = None) -> Prediction:
        return from_eps(self.schedule, x, t, self.eps)


def _guided_eps(
    eps: Tensor, x: Tensor, t: int, score: Callable, scale: float, alpha_bar: float
) -> Tensor:
    table = torch.linspace(1, alpha_bar, t + 1, dtype=torch.float64)
    return ScoreGuidance(_Says(NoiseSchedule(table), eps), score, scale)(x, t).eps


def _wrong_guidance(
    factor=lambda alpha_bar: math.sqrt(1 - alpha_bar),
    sign=-1,
    total=lambda values: values.sum(),
    where=lambda x, eps, alpha_bar: x,
    use=lambda scale: scale,
    time=lambda t: t,
):
    """The shifted eps in which one thing can be wrong."""

    def guided_eps(eps, x, t, score, scale, alpha_bar):
        with torch.enable_grad():
            at = where(x, eps, alpha_bar).detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(total(score(at, time(t))), at)
        return eps + sign * use(scale) * factor(alpha_bar) * slope

    return guided_eps


def _guess(x: Tensor, eps: Tensor, alpha_bar: float) -> Tensor:
    return (x - math.sqrt(1 - alpha_bar) * eps) / math.sqrt(alpha_bar)


def _draw_guided(g: torch.Generator):
    """A score whose slope depends on the point, the row and the time."""
    way = torch.randn(12, generator=g) / 2
    t = int(torch.randint(5, 40, (), generator=g))

    def score(x: Tensor, t: int) -> Tensor:
        return torch.sin(x.flatten(1) @ way + t / 7) - 0.1 * x.flatten(1).square().sum(1)

    eps, x = torch.randn(2, 4, 3, 2, 2, generator=g)
    return eps, x, t, score, between(1.5, 5, g), between(0.1, 0.7, g)


guided_eps = Check(
    "guided_eps",
    reference=_guided_eps,
    draw_inputs=_draw_guided,
    mistakes={
        "√(1−ᾱ_t) is missing: the gradient lives in the world of scores, and eps is −√(1−ᾱ_t) "
        "times a score.": _wrong_guidance(lambda alpha_bar: 1.0),
        "The root is missing: √(1−ᾱ_t), not 1−ᾱ_t.": (
            _wrong_guidance(lambda alpha_bar: 1 - alpha_bar)
        ),
        "You take √ᾱ_t, the share of the picture; eps is measured in noise: √(1−ᾱ_t).": (
            _wrong_guidance(math.sqrt)
        ),
        "You divide by √(1−ᾱ_t), which turns eps into a score; here a score becomes eps: "
        "multiply.": _wrong_guidance(lambda alpha_bar: (1 - alpha_bar) ** -0.5),
        "The sign is wrong: you walk down the score. eps points away from the picture, so what "
        "pulls towards it is subtracted.": _wrong_guidance(sign=1),
        "You took the mean over the batch before the gradient: each picture is pulled with the "
        "B-th part, and the harder the fewer there are. Take the sum.": (
            _wrong_guidance(total=lambda values: values.mean())
        ),
        "Only the first picture gets a gradient; sum the scores of all rows.": (
            _wrong_guidance(total=lambda values: values[0])
        ),
        "The scale is missing.": _wrong_guidance(use=lambda scale: 1.0),
        "The score is asked at time 0; it has to know how noisy x_t is: score(x, t).": (
            _wrong_guidance(time=lambda t: 0)
        ),
        "You take the gradient at the guess x̂_0; this score was made for x_t, and its gradient is "
        "with respect to x_t.": _wrong_guidance(where=_guess),
    },
    against="labkit.guidance.ScoreGuidance",
)
