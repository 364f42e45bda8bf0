"""The checks of lesson 08 on its encoder: a norm of the time, and a classifier of sentences."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import sizes, turn
from labkit.nets.resnet import ConditionalBatchNorm2d
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


def _logits(images: Tensor, sentences: Tensor, scale: float = FIXED_SCALE) -> Tensor:
    return scale * images @ sentences.T


def _pick(table: Tensor, labels: Tensor) -> Tensor:
    return table.gather(1, labels[:, None])[:, 0]


def _class_score(images: Tensor, sentences: Tensor, labels: Tensor) -> Tensor:
    return _pick(_logits(images, sentences).log_softmax(1), labels)


def _of_scale(images: Tensor, sentences: Tensor, labels: Tensor, scale: float) -> Tensor:
    return _pick(_logits(images, sentences, scale).log_softmax(1), labels)


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
    Rows and classes need not be equally many, and no row has its own number as its class; once in
    each check there is a single row."""
    B, K, D = sizes(g, 3)
    B, K, D = 1 if turn(g, 5) == 0 else B, max(K, 3), D + 4
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
        "tells the classes apart.": (
            lambda images, sentences, labels: _of_scale(images, sentences, labels, 1.0)
        ),
        "The factor of 100 stands in front of the log_softmax, as the weight of a score would; the "
        "scale belongs to the cosines, inside it.": (
            lambda images, sentences, labels: 100 * _of_scale(images, sentences, labels, 1.0)
        ),
        "You take the scale of another encoder; that of noisy pictures was trained at 100.": [
            partial(_of_scale, scale=scale) for scale in OTHERS
        ],
        "Your formula is right, but the softmax of a class that the picture does not show "
        "underflows to 0, and its log is −∞: log_softmax does both at once.": [
            (
                lambda images, sentences, labels: _pick(
                    _log_of_softmax(_logits(images, sentences)), labels
                )
            ),
            (
                lambda images, sentences, labels: _pick(
                    _log_of_exp(_logits(images, sentences)), labels
                )
            ),
            (
                lambda images, sentences, labels: _pick(
                    _without_the_largest(_logits(images, sentences)), labels
                )
            ),
            (
                lambda images, sentences, labels: _pick(
                    _minus_log_sum(_logits(images, sentences)), labels
                )
            ),
        ],
        "You divide by 100; the temperature is 1/100, so multiply.": (
            lambda images, sentences, labels: _of_scale(images, sentences, labels, 1 / FIXED_SCALE)
        ),
        "This is the probability; a score is a log-probability: take the logarithm, log_softmax.": (
            lambda images, sentences, labels: _pick(_logits(images, sentences).softmax(1), labels)
        ),
        "This is 100 times the cosine with the sentence alone; a classifier also says what the "
        "picture is not: log_softmax over the sentences.": (
            lambda images, sentences, labels: _pick(_logits(images, sentences), labels)
        ),
        "The softmax runs over the pictures of the batch, so that they compete with each other; "
        "it is the sentences that compete, dimension 1.": (
            lambda images, sentences, labels: _pick(
                _logits(images, sentences).log_softmax(0), labels
            )
        ),
        "You take the diagonal, as in CLIP's training; here row b has the class labels[b].": (
            lambda images, sentences, labels: _logits(images, sentences).log_softmax(1).diagonal()
        ),
        "This is −log p; a score grows with the likeness.": (
            lambda images, sentences, labels: -_class_score(images, sentences, labels)
        ),
        "You average over the batch; give one number per row.": (
            lambda images, sentences, labels: _class_score(images, sentences, labels).mean()
        ),
        "You give the log-probability of the most probable class; the guide's target is the row's "
        "own, labels[b].": (
            lambda images, sentences, labels: _logits(images, sentences).log_softmax(1).amax(1)
        ),
        "You give all classes; pick the row's own, labels[b].": (
            lambda images, sentences, labels: _logits(images, sentences).log_softmax(1)
        ),
        "squeeze() also removes the batch dimension of a single picture, (); keep (1,).": (
            lambda images, sentences, labels: _class_score(images, sentences, labels).squeeze()
        ),
        "table[:, labels] picks all the labels in every row, (B, B); gather picks one for each.": (
            lambda images, sentences, labels: _logits(images, sentences).log_softmax(1)[:, labels]
        ),
    },
    against="log_softmax of 100 times the cosines",
)
