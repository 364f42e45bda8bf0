"""The checks of lesson 03 on the loss and on a term of the bound that it comes from."""

import math

import torch
from torch import Tensor, nn

from labkit import likelihood
from labkit.denoiser import Denoiser, Prediction
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import (
    Given,
    mistaken,
    random_table,
    random_times,
    sizes,
    whole,
)
from labkit.schedule import NoiseSchedule

# The loss.


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


def _loss(net, x0, t, alpha_bar, eps, root=0.5, shape=(-1, 1, 1, 1), mixed=0, late=0, **other):
    """The loss, with every piece open to a mistake."""
    left = alpha_bar[t - mixed].view(shape)
    x = (left**root).to(x0.dtype) * x0 + ((1 - left) ** root).to(x0.dtype) * eps
    error = net(other.get("x", x), t - late) - other.get("target", eps)
    return error.abs().mean() if "size" in other else error.square().mean()


def _noised_by_the_rest(net, x0, t, alpha_bar, eps):
    signal = alpha_bar[t].view(-1, 1, 1, 1).sqrt()
    return (signal * x0 + (1 - signal) * eps).to(x0.dtype)


def _velocity(net, x0, t, alpha_bar, eps):
    left = alpha_bar[t].view(-1, 1, 1, 1)
    return (left.sqrt() * eps - (1 - left).sqrt() * x0).to(x0.dtype)


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
        "everything is asked for.": (lambda net, x0, *rest: _loss(net, x0, *rest) * x0[0].numel()),
        "You add the squares up; their mean is asked for, so that the learning rate does not "
        "depend on the size of the picture: .mean(), not .sum().": (
            lambda net, x0, *rest: _loss(net, x0, *rest) * x0.numel()
        ),
        "You compare with x0; this network predicts the noise: compare with eps.": (
            mistaken(_loss, target=lambda net, x0, *rest: x0)
        ),
        "The network is shown the clean x0, and has nothing to find out; show it x_t.": (
            mistaken(_loss, x=lambda net, x0, *rest: x0)
        ),
        "x_t is mixed with ᾱ_t and 1−ᾱ_t, which are variances; take their roots.": (
            mistaken(_loss, root=1)
        ),
        "The two roots have changed places: √ᾱ_t belongs to x0, √(1−ᾱ_t) to eps.": (
            lambda net, x0, t, alpha_bar, eps: _loss(net, x0, t, 1 - alpha_bar, eps)
        ),
        "The noise is multiplied by 1−√ᾱ_t; its factor is √(1−ᾱ_t), the root of the variance.": (
            mistaken(_loss, x=_noised_by_the_rest)
        ),
        "All rows get one time; each picture has a time of its own, t[i].": [
            lambda net, x0, t, *rest: _loss(net, x0, t[:1].expand_as(t), *rest),
            lambda net, x0, t, *rest: _loss(lambda x, _: net(x, t), x0, t[:1].expand_as(t), *rest),
            lambda net, x0, t, *rest: _loss(lambda x, t: net(x, t[:1].expand_as(t)), x0, t, *rest),
        ],
        "You compare with v; this network predicts the noise: compare with eps.": (
            mistaken(_loss, target=_velocity)
        ),
        "You take the distance |·|; L_simple is the mean of the squares.": (
            mistaken(_loss, size="distances")
        ),
        "You take the root of the mean square; leave it out, the bound holds squares.": (
            lambda *args: _loss(*args).sqrt()
        ),
        "The network gets t−1; in labkit its times are those of the table, 1 … T.": (
            mistaken(_loss, late=1)
        ),
        "You mix with ᾱ_{t−1}: alpha_bar[0] is ᾱ_0 = 1, so ᾱ_t is alpha_bar[t].": (
            mistaken(_loss, mixed=1)
        ),
        "Torch matches shapes from the right, so your ᾱ_t multiplies the columns of the pictures, "
        "not the rows of the batch: give it the shape (B, 1, 1, 1).": (
            mistaken(_loss, shape=(-1,))
        ),
    },
    against=Denoiser.loss,
)


# One term of the bound, with a learned variance.


def _term(
    x0, guess, x, o, t, s, alpha_bar, v=None, mix="logarithms", turned=False, half=0.5, **other
) -> Tensor:
    """KL(posterior ‖ model) per row, with every piece open to a mistake."""
    schedule = NoiseSchedule(alpha_bar)
    true_mean, small = schedule.posterior(x0, x, t, s)
    mean, _ = schedule.posterior(guess, x, t, s)
    large = 1 - alpha_bar[t] / alpha_bar[s]
    v = (o + 1) / 2 if v is None else v
    log_model = MIXES[mix](small.log(), large.log(), v.double())  # (B, C, H, W)
    log_true = small.log().expand_as(log_model)
    first, second = (log_model, log_true) if turned else (log_true, log_model)
    square = other.get("gap", true_mean - mean).double().square()
    kl = half * (
        second - first + (first - second).exp() - 1 + square / other.get("below", second.exp())
    )
    bits = kl.flatten(1).mean(1) / math.log(2)
    return (bits * other.get("unit", 1)).to(x.dtype)


def _bound_term(
    x0: Tensor, guess: Tensor, x: Tensor, o: Tensor, t: int, s: int, alpha_bar: Tensor
) -> Tensor:
    schedule = NoiseSchedule(alpha_bar[[0, s, t]])  # in which s is time 1 and t is time 2
    return likelihood.term(schedule, Prediction(guess, x, (o + 1) / 2), x0, x, 2).to(x.dtype)


MIXES = {
    "logarithms": torch.lerp,
    "variances": lambda small, large, v: (v * large.exp() + (1 - v) * small.exp()).abs().log(),
    "swapped": lambda small, large, v: torch.lerp(large, small, v),
    "roots": lambda small, large, v: torch.lerp(small, large, v) / 2,
}


def _small(x0, guess, x, o, t, s, alpha_bar) -> Tensor:
    return NoiseSchedule(alpha_bar).posterior(x0, x, t, s)[1]  # β̃


def _only_means(x0, guess, x, o, t, s, alpha_bar) -> Tensor:
    same = _term(x0, x0, x, o, t, s, alpha_bar)
    return _term(x0, guess, x, o, t, s, alpha_bar) - same


def _gap(share):
    """The gap of the means with a wrong weight, in which `share` stands for √ᾱ_s."""

    def gap(x0, guess, x, o, t, s, alpha_bar):
        beta = 1 - alpha_bar[t] / alpha_bar[s]
        return share(alpha_bar, t, s) * beta / (1 - alpha_bar[t]) * (x0 - guess)

    return gap


def _draw_term(g: torch.Generator):
    """Pictures and an answer; what is learned is the variance, so it is o that has a gradient."""
    x0, guess, o = torch.rand(3, *sizes(g, 4), generator=g) * 2 - 1
    x = torch.randn(x0.shape, generator=g)
    return x0, guess, x, o.requires_grad_(), *random_times(g), random_table(g)


bound_term = Check(
    "bound_term",
    reference=_bound_term,
    draw_inputs=_draw_term,
    mistakes={
        "You use the network's output as v itself; it runs from −1 to 1: v = (o+1)/2.": mistaken(
            _term, v=lambda *args: args[3]
        ),
        "You squash the output with a sigmoid; Improved DDPM reads it as v = (o+1)/2.": mistaken(
            _term, v=lambda *args: torch.sigmoid(args[3])
        ),
        "You mix the variances; mix their logarithms: log σ² = v log β + (1−v) log β̃.": mistaken(
            _term, mix="variances"
        ),
        "v and 1−v have changed places: v = 1 is the large variance β.": mistaken(
            _term, mix="swapped"
        ),
        "You mix the logarithms to σ, not σ²: drop the ½, the formula takes variances.": mistaken(
            _term, mix="roots"
        ),
        "The term is reversed: KL(posterior ‖ model), the average is over the posterior.": (
            mistaken(_term, turned=True)
        ),
        "The ½ in front of the bracket is missing.": mistaken(_term, half=1.0),
        "The ½ stands before the first part only; it halves the gap of the means, too.": (
            lambda *args: _term(*args) + _only_means(*args)
        ),
        "The −1 is forgotten: with equal Gaussians the term must be 0.": (
            lambda *args: _term(*args) + 0.5 / math.log(2)
        ),
        "The weight of x0 − guess holds ᾱ_s; the root is missing: c₁ = √ᾱ_s β/(1−ᾱ_t).": (
            mistaken(_term, gap=_gap(lambda alpha_bar, t, s: alpha_bar[s]))
        ),
        "The weight of x0 − guess holds ᾱ_t; it is c₁ = √ᾱ_s β/(1−ᾱ_t).": [
            mistaken(_term, gap=_gap(lambda alpha_bar, t, s: alpha_bar[t].sqrt())),
            mistaken(_term, gap=_gap(lambda alpha_bar, t, s: alpha_bar[t])),
        ],
        "You multiply by log 2; nats over log 2 are bits.": mistaken(_term, unit=math.log(2) ** 2),
        "You add up the pixels; bits per dimension are their mean.": mistaken(
            _term, unit=lambda *args: args[0][0].numel()
        ),
        "Those are nats; divide by log 2 for bits.": mistaken(_term, unit=math.log(2)),
        "You average over the batch as well; each picture has a term of its own: shape (B,).": (
            lambda *args: _term(*args).mean()
        ),
        "The weight of x0 is forgotten: the means differ by c₁ (x0 − guess), not by x0 − guess.": (
            mistaken(_term, gap=lambda x0, guess, *rest: x0 - guess)
        ),
        "You divide the gap of the means by β̃; below it stands the model's variance σ².": (
            mistaken(_term, below=_small)
        ),
        "The term holds only the means; what a wrong variance costs is missing.": _only_means,
    },
    against=likelihood.term,
)
