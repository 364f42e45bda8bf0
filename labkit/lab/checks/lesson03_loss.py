"""The check of lesson 03 on the loss."""

import torch
from torch import Tensor, nn

from labkit.denoiser import Denoiser
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import Given, random_table, sizes, whole
from labkit.schedule import NoiseSchedule


class ToyNet(nn.Module):
    """What a check gives in place of a network: it depends on every x and on every t."""

    def __init__(self, g: torch.Generator):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(2, generator=g))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        a, b = self.weights
        return torch.tanh(a * x + b) + 0.03 * t.view(-1, 1, 1, 1).to(x.dtype)


def _simple_loss(net, x0: Tensor, t: Tensor, alpha_bar: Tensor, eps: Tensor) -> Tensor:
    denoiser = Denoiser(lambda x, t, cond: net(x, t), NoiseSchedule(alpha_bar))
    with Given(randint=t, randn=eps):
        return denoiser.loss(x0)


def _loss(net, x: Tensor, t: Tensor, target: Tensor) -> Tensor:
    return (net(x, t) - target).square().mean()


def _left(alpha_bar: Tensor, t: Tensor) -> Tensor:
    return alpha_bar[t].view(-1, 1, 1, 1)  # ᾱ_t of each picture


def _noised(x0: Tensor, t: Tensor, alpha_bar: Tensor, eps: Tensor) -> Tensor:
    return _left(alpha_bar, t).sqrt() * x0 + (1 - _left(alpha_bar, t)).sqrt() * eps


def _for_x0(net, x0, t, alpha_bar, eps):
    return _loss(net, _noised(x0, t, alpha_bar, eps), t, x0)


def _for_v(net, x0, t, alpha_bar, eps):
    v = _left(alpha_bar, t).sqrt() * eps - (1 - _left(alpha_bar, t)).sqrt() * x0
    return _loss(net, _noised(x0, t, alpha_bar, eps), t, v)


def _mixed_by_variances(net, x0, t, alpha_bar, eps):
    x = _left(alpha_bar, t) * x0 + (1 - _left(alpha_bar, t)) * eps
    return _loss(net, x, t, eps)


def _mixed_by_the_rest(net, x0, t, alpha_bar, eps):
    signal = _left(alpha_bar, t).sqrt()
    return _loss(net, signal * x0 + (1 - signal) * eps, t, eps)


def _mixed_along_the_columns(net, x0, t, alpha_bar, eps):
    x = alpha_bar[t].sqrt() * x0 + (1 - alpha_bar[t]).sqrt() * eps
    return _loss(net, x, t, eps)


def _by_distances(net, x0, t, alpha_bar, eps):
    return (net(_noised(x0, t, alpha_bar, eps), t) - eps).abs().mean()


def _draw_loss(g: torch.Generator):
    """A network and pictures, one of them at the last time."""
    x0, eps = torch.randn(2, *sizes(g, 4), generator=g)
    table = random_table(g)
    t = torch.randint(1, len(table), x0.shape[:1], generator=g)
    t[whole(0, len(t) - 1, g)] = len(table) - 1
    return ToyNet(g), x0.clamp(-1, 1), t, table, eps


simple_loss = Check(
    "simple_loss",
    reference=_simple_loss,
    draw_inputs=_draw_loss,
    mistakes={
        "You add up the squares of each picture and average over the batch only; the mean over "
        "everything is asked for.": (
            lambda net, x0, *rest: _simple_loss(net, x0, *rest) * x0[0].numel()
        ),
        "You add the squares up; their mean is asked for, so that the learning rate does not "
        "depend on the size of the picture: .mean(), not .sum().": (
            lambda net, x0, *rest: _simple_loss(net, x0, *rest) * x0.numel()
        ),
        "You compare with x0; this network predicts the noise: compare with eps.": _for_x0,
        "The network is shown the clean x0, and has nothing to find out; show it x_t.": (
            lambda net, x0, t, a, eps: _loss(net, x0, t, eps)
        ),
        "x_t is mixed with ᾱ_t and 1−ᾱ_t, which are variances; take their roots.": (
            _mixed_by_variances
        ),
        "The two roots have changed places: √ᾱ_t belongs to x0, √(1−ᾱ_t) to eps.": (
            lambda net, x0, t, a, eps: _loss(net, _noised(eps, t, a, x0), t, eps)
        ),
        "The noise is multiplied by 1−√ᾱ_t; its factor is √(1−ᾱ_t), the root of the variance.": (
            _mixed_by_the_rest
        ),
        "All rows get one time; each picture has a time of its own, t[i].": [
            lambda net, x0, t, a, eps: _simple_loss(net, x0, t[:1].expand_as(t), a, eps),
            lambda net, x0, t, a, eps: _loss(net, _noised(x0, t[:1], a, eps), t, eps),
            lambda net, x0, t, a, eps: _loss(net, _noised(x0, t, a, eps), t[:1], eps),
        ],
        "You compare with v; this network predicts the noise: compare with eps.": _for_v,
        "You take the distance |·|; L_simple is the mean of the squares.": _by_distances,
        "You take the root of the mean square; leave it out, the bound holds squares.": (
            lambda *given: _simple_loss(*given).sqrt()
        ),
        "The network gets t−1; in labkit its times are those of the table, 1 … T.": (
            lambda net, x0, t, a, eps: _loss(net, _noised(x0, t, a, eps), t - 1, eps)
        ),
        "You mix with ᾱ_{t−1}: alpha_bar[0] is ᾱ_0 = 1, so ᾱ_t is alpha_bar[t].": (
            lambda net, x0, t, a, eps: _loss(net, _noised(x0, t - 1, a, eps), t, eps)
        ),
        "Torch matches shapes from the right, so your ᾱ_t multiplies the columns of the pictures, "
        "not the rows of the batch: give it the shape (B, 1, 1, 1).": _mixed_along_the_columns,
    },
    against=Denoiser.loss,
)
