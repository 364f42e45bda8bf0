"""The checks of lesson 08 on guidance: a norm of the time, a classifier, and the shift."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.conditioning import Conditioning
from labkit.denoiser import Prediction, from_eps
from labkit.guidance import ScoreGuidance
from labkit.lab.checks.calling import LIMIT
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, sizes, whole
from labkit.nets.resnet import ConditionalBatchNorm2d
from labkit.schedule import NoiseSchedule
from labkit.systems.sdg import FIXED_SCALE

# A norm that depends on the time.


class _Modulation(nn.Module):
    """The linear map of the time, which has given γ and β already."""

    def __init__(self, gamma: Tensor, beta: Tensor):
        super().__init__()
        self.answer = torch.cat([gamma, beta], dim=1)

    def forward(self, emb: Tensor) -> Tensor:
        return self.answer


def _by_the_norm(h: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    norm = ConditionalBatchNorm2d(h.shape[1], emb=1).eval()
    norm.running_var.fill_(1 - norm.eps)  # h is normed already
    norm.modulation = _Modulation(gamma, beta)
    return norm(h, gamma)


def _time_norm(h: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    return h * (1 + gamma[:, :, None, None]) + beta[:, :, None, None]


def _draw_norm(g: torch.Generator):
    B, C, H, W = sizes(g, 4)
    h, gamma_beta = torch.randn(B, C, H, W, generator=g), torch.randn(2, B, C, generator=g)
    return h.requires_grad_(), *(part.clone().requires_grad_() for part in gamma_beta)


time_norm = Check(
    "time_norm",
    reference=_by_the_norm,
    draw_inputs=_draw_norm,
    mistakes={
        "The 1 is missing: with γ = β = 0 the norm would give nothing at all, and the encoder "
        "would not begin as CLIP's own.": lambda h, gamma, beta: (
            h * gamma[:, :, None, None] + beta[:, :, None, None]
        ),
        "γ and β have changed places: γ scales, β shifts.": lambda h, gamma, beta: _time_norm(
            h, beta, gamma
        ),
        "You shift first and scale the shift as well; scale first.": lambda h, gamma, beta: (
            (h + beta[:, :, None, None]) * (1 + gamma[:, :, None, None])
        ),
        "γ and β are broadcast along the pixels of a row instead of along the channels: the two "
        "None belong at the end.": lambda h, gamma, beta: (
            h * (1 + gamma[:, None, None]) + beta[:, None, None]
        ),
        "γ and β are broadcast along the rows of the picture instead of along the channels: the "
        "two None belong at the end.": lambda h, gamma, beta: (
            h * (1 + gamma[:, None, :, None]) + beta[:, None, :, None]
        ),
        "Without None, γ and β are broadcast over the pixels, the same for every picture; give "
        "them two more dimensions at the end.": lambda h, gamma, beta: h * (1 + gamma) + beta,
        "All pictures get the time of the first; each row has its own.": lambda h, gamma, beta: (
            _time_norm(h, gamma[:1], beta[:1])
        ),
        "β is missing.": lambda h, gamma, beta: h * (1 + gamma[:, :, None, None]),
        "γ is missing.": lambda h, gamma, beta: h + beta[:, :, None, None],
        "You scale by e^γ, which is near 1 + γ for small γ only; the paper's scale is 1 + γ.": (
            lambda h, gamma, beta: h * gamma[:, :, None, None].exp() + beta[:, :, None, None]
        ),
    },
    against=ConditionalBatchNorm2d.forward,
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


OTHERS = [10.0, 1 / 0.07, 20.0, 33.0, 50.0]  # the scales of other encoders, and of other code


def _log_of_softmax(logits: Tensor) -> Tensor:
    return logits.softmax(1).log()


def _log_of_exp(logits: Tensor) -> Tensor:
    return (logits.exp() / logits.exp().sum(1, keepdim=True)).log()


def _without_the_largest(logits: Tensor) -> Tensor:
    return _log_of_exp(logits - logits.max(1, keepdim=True).values)


def _minus_log_sum(logits: Tensor) -> Tensor:
    return logits - logits.exp().sum(1, keepdim=True).log()


def _draw_class(g: torch.Generator):
    """Pictures whose cosines with the sentences lie close together, as CLIP's do; but the first one
    is to become the opposite of what it is, which has a probability below all that float32 holds.
    Rows and classes need not be equally many, and no row has its own number as its class."""
    B, K, D = sizes(g, 3)
    K, D = max(K, 3), D + 4
    sentences = F.normalize(torch.randn(K, D, generator=g), dim=1)
    images = sentences.mean(0) + 0.05 * torch.randn(B, D, generator=g)
    labels = (torch.arange(B) + 1 + torch.randint(K - 1, (B,), generator=g)) % K
    images[0] = sentences[(labels[0] + 1) % K]
    sentences[labels[0]] = -sentences[(labels[0] + 1) % K]
    return F.normalize(images, dim=1).requires_grad_(), sentences, labels


class_score = Check(
    "class_score",
    reference=_class_score,
    draw_inputs=_draw_class,
    mistakes={
        "The scale of 100 is missing: cosines lie so close together that their softmax hardly "
        "tells the classes apart.": _wrong_class(scale=lambda s: 1.0),
        "The factor of 100 stands in front of the log_softmax, as the weight of a score would; the "
        "scale belongs to the cosines, inside it.": (
            _wrong_class(lambda cosines: 100 * cosines.log_softmax(1), lambda s: 1.0)
        ),
        "You take the scale of another encoder; that of noisy pictures was trained at 100.": [
            _wrong_class(scale=lambda s, other=other: other) for other in OTHERS
        ],
        "Your formula is right, but the softmax of a class that the picture does not show "
        "underflows to 0, and its log is −∞: log_softmax does both at once.": [
            _wrong_class(turn)
            for turn in (_log_of_softmax, _log_of_exp, _without_the_largest, _minus_log_sum)
        ],
        "You divide by 100; the temperature is 1/100, so multiply.": (
            _wrong_class(scale=lambda s: 1 / s)
        ),
        "This is the probability; a score is a log-probability: take the logarithm, "
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
        "This is −log p; a score grows with the likeness.": (
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
    against="log_softmax of 100 times the cosines",
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


class ToyScore(nn.Module):
    """A score whose slope depends on the point, the row and the time, with weights as an encoder
    has them."""

    def __init__(self, D: int, g: torch.Generator):
        super().__init__()
        self.way = nn.Parameter(torch.randn(D, generator=g) / 2)

    def forward(self, x: Tensor, t: int) -> Tensor:
        return torch.sin(x.flatten(1) @ self.way + t / 7) - 0.1 * x.flatten(1).square().sum(1)


def _draw_guided(g: torch.Generator):
    eps, x = torch.randn(2, *sizes(g, 4), generator=g)
    score = ToyScore(x[0].numel(), g)
    return eps, x, whole(5, 40, g), score, between(1.5, 5, g), between(0.1, 0.7, g)


class _UnderNoGrad(Check):
    """Calls a right answer once more under no_grad, as a sampler does."""

    def _judge(self, function: Callable, cases: list, got: list):
        verdict = super()._judge(function, cases, got)
        if verdict and self._attempt(torch.no_grad()(function), cases[0], LIMIT).error is not None:
            return self._named(
                "The numbers are right, but samplers run under torch.no_grad(), and there your "
                "function fails: put the gradient into `with torch.enable_grad():`.",
                verdict.difference,
            )
        return verdict


guided_eps = _UnderNoGrad(
    "guided_eps",
    reference=_guided_eps,
    draw_inputs=_draw_guided,
    mistakes={
        "√(1−ᾱ_t) is missing: the gradient is that of a score, and eps is −√(1−ᾱ_t) "
        "times a score.": _wrong_guidance(lambda alpha_bar: 1.0),
        "The root is missing: √(1−ᾱ_t), not 1−ᾱ_t.": (
            _wrong_guidance(lambda alpha_bar: 1 - alpha_bar)
        ),
        "You take √ᾱ_t, the share of the picture; eps is measured in noise: √(1−ᾱ_t).": (
            _wrong_guidance(math.sqrt)
        ),
        "You divide by √(1−ᾱ_t), which turns eps into a score; here a score becomes eps: "
        "multiply.": _wrong_guidance(lambda alpha_bar: (1 - alpha_bar) ** -0.5),
        "The sign is wrong: this lowers the score. eps points away from the picture, so a "
        "gradient towards it is subtracted.": _wrong_guidance(sign=1),
        "You took the mean over the batch before the gradient: each gradient is divided by B, so "
        "it depends on the batch size. Take the sum.": (
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
    tolerance=1e-4,  # a sum over a row may be taken in any order
    against=ScoreGuidance,
)
