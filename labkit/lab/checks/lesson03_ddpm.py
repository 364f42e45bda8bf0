"""The checks of lesson 03 on DDPM: the posterior, the loss, one step back."""

import math

import torch
from torch import Tensor, nn

from labkit import sampler
from labkit.denoiser import Denoiser, Prediction, clip, from_eps
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import (
    Given,
    is_odd,
    mistaken,
    random_table,
    random_times,
    sizes,
    whole,
)
from labkit.schedule import NoiseSchedule

# The mean of the posterior.


def _posterior_mean(x0: Tensor, x: Tensor, t: int, s: int, alpha_bar: Tensor) -> Tensor:
    return NoiseSchedule(alpha_bar).posterior(x0, x, t, s)[0]


def _mean(x0, x, t, s, alpha_bar, alpha=None, below=None, root_s=0.5, root_alpha=0.5, off=0):
    """The posterior's mean, with every piece of the formula open to a mistake."""
    at_t, at_s = alpha_bar[t - off], alpha_bar[s - off]
    alpha = at_t / at_s if alpha is None else alpha
    below = 1 - at_t if below is None else below
    from_x0 = at_s**root_s * (1 - alpha) / below
    from_x = alpha**root_alpha * (1 - at_s) / below
    return (from_x0 * x0 + from_x * x).to(x.dtype)


def _mean_with_arrival_at_t(x0, x, t, s, alpha_bar):
    factor = (alpha_bar[t] / alpha_bar[s]).sqrt().item()  # √ᾱ_t in place of √ᾱ_s
    return _mean(factor * x0, x, t, s, alpha_bar)


posterior_mean = Check(
    "posterior_mean",
    reference=_posterior_mean,
    draw_inputs=lambda g: (
        *torch.randn(2, *sizes(g, whole(2, 4, g)), generator=g),
        *random_times(g),
        random_table(g),
    ),
    mistakes={
        "The weights of x0 and x have changed places: near the end of the walk nearly all the "
        "weight must go to x0.": (lambda x0, x, t, s, alpha_bar: _mean(x, x0, t, s, alpha_bar)),
        "The weight of x0 holds ᾱ_s; the root is missing: √ᾱ_s (1−α)/(1−ᾱ_t).": (
            mistaken(_mean, root_s=1)
        ),
        "The weight of x holds α; the root is missing: √α (1−ᾱ_s)/(1−ᾱ_t).": (
            mistaken(_mean, root_alpha=1)
        ),
        "You take ᾱ_t for α; the step from s to t keeps only α = ᾱ_t/ᾱ_s.": (
            mistaken(_mean, alpha=lambda x0, x, t, s, alpha_bar: alpha_bar[t])
        ),
        "You take α from the single step t−1 → t; here the step may be long: α = ᾱ_t/ᾱ_s.": (
            mistaken(_mean, alpha=lambda x0, x, t, s, table: table[t] / table[t - 1])
        ),
        "You divide by 1−ᾱ_s; both weights have the noise of x_t below them: 1−ᾱ_t.": (
            mistaken(_mean, below=lambda x0, x, t, s, alpha_bar: 1 - alpha_bar[s])
        ),
        "The weight of x0 holds √ᾱ_t; it is the picture's share where you arrive, √ᾱ_s.": (
            _mean_with_arrival_at_t
        ),
        "You go to the time t−1, whatever s is; the step may be long: take alpha_bar[s].": (
            lambda x0, x, t, s, alpha_bar: _mean(x0, x, t, t - 1, alpha_bar)
        ),
        "Your times are off by one: alpha_bar[0] is ᾱ_0 = 1, so ᾱ_t is alpha_bar[t].": [
            mistaken(_mean, off=1),
            lambda x0, x, t, s, alpha_bar: _mean(x0, x, t - 1, s, alpha_bar),
            lambda x0, x, t, s, alpha_bar: _mean(x0, x, t, s - 1, alpha_bar),
        ],
        "That is E[x_s | x_0], which does not look at x_t at all.": (
            lambda x0, x, t, s, alpha_bar: (alpha_bar[s].sqrt() * x0).to(x.dtype)
        ),
        "That is the clean picture itself, as if s were 0; at s there is noise left.": (
            lambda x0, x, t, s, alpha_bar: x0
        ),
    },
    against=NoiseSchedule.posterior,
)


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


# One ancestral step.


def _step(x, eps, t, s, alpha_bar, z, clip=True, guess=None, small=False, square=False, last=0.0):
    """The step x_t → x_s, with every choice open to a mistake."""
    at_t, at_s = alpha_bar[t].item(), alpha_bar[s].item()
    x0 = (x - math.sqrt(1 - at_t) * eps) / math.sqrt(at_t) if guess is None else guess
    x0 = x0.clamp(-1, 1) if clip else x0
    mean, tilde = NoiseSchedule(alpha_bar).posterior(x0, x, t, s)
    variance = tilde.item() if small else 1 - at_t / at_s
    size = variance if square else math.sqrt(variance)
    return mean + size * (last if s == 0 else 1.0) * z


def _ancestral_step(x: Tensor, eps: Tensor, t: int, s: int, alpha_bar: Tensor, z: Tensor) -> Tensor:
    schedule = NoiseSchedule(alpha_bar)
    x0 = clip(from_eps(schedule, x, t, eps).x0)
    with Given(randn=z):
        return sampler.ddpm(schedule, Prediction(x0, eps), x, t, s, v=1.0)


def _guess_by_variances(x, eps, t, s, alpha_bar, z):
    at_t = alpha_bar[t].item()
    return (x - (1 - at_t) * eps) / at_t


def _draw_ancestral(g: torch.Generator):
    """A step, in turn to a noisy time and to the clean picture."""
    x, eps, z = torch.randn(3, *sizes(g, 4), generator=g)
    t, s = random_times(g)
    return 1.5 * x, eps, t, 0 if is_odd(g) else s, random_table(g), z


ancestral_step = Check(
    "ancestral_step",
    reference=_ancestral_step,
    draw_inputs=_draw_ancestral,
    mistakes={
        "You add noise in the last step too, and the finished picture stays grainy: where s = 0, "
        "return the mean.": (mistaken(_step, last=1.0)),
        "The guess of x0 that reaches the mean is not clipped to [−1, 1]. (The mean written with "
        "eps never sees a clipped x0: put the clipped one into the posterior's mean.)": (
            mistaken(_step, clip=False)
        ),
        "The noise has the standard deviation β: that is the variance; multiply z by √β.": (
            mistaken(_step, square=True)
        ),
        "Your noise has the posterior's variance β̃; this exercise asks for the large one, "
        "β = 1 − ᾱ_t/ᾱ_s.": (mistaken(_step, small=True)),
        "You take the noise out of x and stop there: x_s is not x0 with noise β, its mean lies "
        "between x0 and x.": (
            lambda x, eps, t, s, alpha_bar, z: (
                ((x - (1 - alpha_bar[t]).sqrt() * eps) / alpha_bar[t].sqrt()).clamp(-1, 1)
                + (0 if s == 0 else 1) * (1 - alpha_bar[t] / alpha_bar[s]).sqrt() * z
            ).to(x.dtype)
        ),
        "The guess of x0 is made with ᾱ_t and 1−ᾱ_t; take their roots: (x − √(1−ᾱ_t) eps)/√ᾱ_t.": (
            mistaken(_step, guess=_guess_by_variances)
        ),
        "No noise is added at all: this finds the mean of x_s, not a draw of it.": (
            lambda x, eps, t, s, alpha_bar, z: _step(x, eps, t, s, alpha_bar, 0 * z)
        ),
        "You add eps, the noise that the network saw, once more; the step draws noise of its "
        "own: z.": (lambda x, eps, t, s, alpha_bar, z: _step(x, eps, t, s, alpha_bar, eps)),
    },
    against=sampler.ddpm,
)
