"""The check of lesson 12 on the discriminator: how much an autoencoder listens to it."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, size, sizes, turn
from labkit.systems.autoencoder import adaptive_weight

EPS, MOST = 1e-4, 1e4


class Discriminator(nn.Module):
    """A discriminator of one convolution: pictures (B, C, H, W) → logits (B, 1, H, W)."""

    def __init__(self, weight: Tensor, bias: Tensor):
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(part, requires_grad=False) for part in (weight, bias)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(torch.einsum("bchw,c->bhw", x, self.weight) + self.bias)[:, None]


def _losses(
    h: Tensor, last: nn.Module, x: Tensor, discriminator: nn.Module
) -> tuple[Tensor, Tensor]:
    """The misfit, and how little the discriminator is fooled."""
    again = last(h)
    return (again - x).abs().mean(), -discriminator(again).mean()


def _adversarial_term(
    h: Tensor, last: nn.Module, x: Tensor, discriminator: nn.Module, factor: float
):
    misfit, fooled = _losses(h, last, x, discriminator)
    return factor * adaptive_weight(misfit, fooled, last.weight) * fooled


def _gradients(h, last, x, discriminator, by=lambda h, last: [last.weight], create=False):
    """The norms of both gradients, all of `by` together, and the loss that fools."""
    misfit, fooled = _losses(h, last, x, discriminator)
    leaves = by(h, last)
    keep = {"retain_graph": True, "create_graph": create}
    norms = [
        torch.cat([own.flatten() for own in torch.autograd.grad(each, leaves, **keep)]).norm()
        for each in (misfit, fooled)
    ]
    return *norms, fooled


def _by_norms(weight, **options):
    """The answer with another weight(‖∇misfit‖, ‖∇fooled‖)."""

    def answer(h, last, x, discriminator, factor):
        one, two, fooled = _gradients(h, last, x, discriminator, **options)
        return factor * weight(one, two) * fooled

    return answer


def _ratio(one: Tensor, two: Tensor) -> Tensor:
    return (one / (two + EPS)).clamp(0, MOST)


def _of_the_losses(h, last, x, discriminator, factor):
    misfit, fooled = _losses(h, last, x, discriminator)
    return factor * _ratio(misfit.abs(), fooled.abs()).detach() * fooled


def _of_another_misfit(h, last, x, discriminator, factor, far):
    """The answer with another misfit, far(reconstruction, picture)."""
    again = last(h)
    misfit, fooled = far(again, x), -discriminator(again).mean()
    return factor * adaptive_weight(misfit, fooled, last.weight) * fooled


def _summed(h, last, x, discriminator, factor):
    misfit, _ = _losses(h, last, x, discriminator)
    fooled = -discriminator(last(h)).sum()
    return factor * adaptive_weight(misfit, fooled, last.weight) * fooled


def _misfit_multiplied(h, last, x, discriminator, factor):
    one, two, _ = _gradients(h, last, x, discriminator)
    return factor * _ratio(one, two) * _losses(h, last, x, discriminator)[0]


def _misfit_added(h, last, x, discriminator, factor):
    return _losses(h, last, x, discriminator)[0] + _adversarial_term(
        h, last, x, discriminator, factor
    )


def _draw_decoder(g: torch.Generator):
    """A decoder's last layer and a discriminator that in turn says next to nothing, so that the
    weight ends at its bound; little, so that 1e-4 counts; and much."""
    B, C, H, W = sizes(g, 4)
    inner, kind = size(g, 2, 6), turn(g, 3)
    large, loud = ((300.0, 1e-9), (1.0, 0.01), (1.0, 1.0))[kind]
    h = large * torch.randn(B, inner, H, W, generator=g)
    x = torch.rand(B, C, H, W, generator=g) * 2 - 1
    last = nn.utils.skip_init(nn.Conv2d, inner, C, 1)  # draws nothing of the notebook's noise
    for part in last.parameters():
        part.data = 0.5 * torch.randn(part.shape, generator=g)
    discriminator = Discriminator(
        loud * torch.randn(C, generator=g), 0.3 + torch.rand((), generator=g)
    )
    return h.requires_grad_(), last, x, discriminator, between(0.3, 0.9, g)


adversarial_term = Check(
    "adversarial_term",
    reference=_adversarial_term,
    draw_inputs=_draw_decoder,
    mistakes={
        "λ is turned round: the norm of the misfit's gradient stands above, so that a loud "
        "discriminator is made quieter.": _by_norms(lambda one, two: _ratio(two, one)),
        "λ carries a gradient itself, so that the decoder also learns to change λ: detach it.": (
            _by_norms(_ratio, create=True)
        ),
        "1e-4 is missing under the fraction: where the discriminator says nothing, you divide by "
        "0.": _by_norms(lambda one, two: (one / two).clamp(0, MOST)),
        "λ has no bound: clamp it to 0 … 1e4, or a discriminator that says next to nothing gets "
        "any weight.": _by_norms(lambda one, two: one / (two + EPS)),
        "1e-4 stands under the root of the sum of squares, or above the fraction as well; it is "
        "added to the norm below.": [
            _by_norms(lambda one, two: (one / (two**2 + EPS).sqrt()).clamp(0, MOST)),
            _by_norms(lambda one, two: ((one + EPS) / (two + EPS)).clamp(0, MOST)),
        ],
        "The gradients are taken by more than the weights of the last layer, last.weight.": [
            _by_norms(_ratio, by=lambda h, last: [last.weight, last.bias]),
            _by_norms(_ratio, by=lambda h, last: [last.weight, last.bias, h]),
            _by_norms(_ratio, by=lambda h, last: [last.weight, h]),
        ],
        "The gradients are taken by what goes into the last layer; take them by its weights, "
        "last.weight.": _by_norms(_ratio, by=lambda h, last: [h]),
        "The gradients are taken by the bias of the last layer; take them by last.weight.": (
            _by_norms(_ratio, by=lambda h, last: [last.bias])
        ),
        "You compare the losses themselves; λ compares their gradients.": _of_the_losses,
        "The norms are squared; ‖·‖ is the root of the sum of squares.": (
            _by_norms(lambda one, two: _ratio(one**2, two**2))
        ),
        "λ is missing: the adversarial loss only has its constant factor.": (
            _by_norms(lambda one, two: 1.0)
        ),
        "The constant factor is missing.": (
            lambda h, last, x, discriminator, factor: _adversarial_term(
                h, last, x, discriminator, 1.0
            )
        ),
        "The sign is turned: the autoencoder wants high logits, so it minimizes −E[D(x̂)].": (
            lambda h, last, x, discriminator, factor: (
                -_adversarial_term(h, last, x, discriminator, factor)
            )
        ),
        "You multiply the misfit by λ; it is the weight of the adversarial loss.": (
            _misfit_multiplied
        ),
        "You add the misfit; asked for is the adversarial term alone.": _misfit_added,
        "Your misfit is the mean of the squared differences; it is that of the absolute ones.": (
            partial(_of_another_misfit, far=F.mse_loss)
        ),
        "You add up the misfit; it is the mean of the absolute differences.": (
            partial(_of_another_misfit, far=partial(F.l1_loss, reduction="sum"))
        ),
        "You add up the logits; E is their mean.": _summed,
    },
    tolerance=1e-4,
    against=adaptive_weight,
)
