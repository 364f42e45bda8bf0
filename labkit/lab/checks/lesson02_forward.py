"""The checks of lesson 02 on the forward process: a step, the jump, and the best guess back."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, is_odd, random_table, sizes, whole
from labkit.markov import GaussianChain
from labkit.mixture import GaussianMixture
from labkit.schedule import NoiseSchedule

# One step of the chain.


def _normal(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, dtype=x.dtype)


def _step(keep: Callable, add: Callable, draw: Callable = _normal) -> Callable:
    """A step that keeps the share keep(β) of x, and adds add(β) times what `draw` draws."""

    def noising_step(x, beta, generator):
        return keep(beta) * x + add(beta) * draw(x, generator)

    return noising_step


def _kept(beta: float) -> float:
    return math.sqrt(1 - beta)


noising_step = Check(
    "noising_step",
    reference=lambda x, beta, generator: GaussianChain(beta).step(x, generator),
    draw_inputs=lambda g: (
        2 * torch.randn(*sizes(g, 2), generator=g),
        # far from ½, where √β and √(1−β) are one number
        between(0.1, 0.3, g) if is_odd(g) else between(0.7, 0.9, g),
        torch.Generator().manual_seed(whole(0, 10_000, g)),
    ),
    mistakes={
        "The noise has the standard deviation β: β is a variance, so multiply by √β.": (
            _step(_kept, lambda beta: beta)
        ),
        "The noise comes from rand, which is uniform on 0 … 1 and never negative; draw it with "
        "randn.": _step(_kept, math.sqrt, lambda x, g: torch.rand(x.shape, generator=g)),
        "You add noise without shrinking x first, so the variance grows without end; multiply x "
        "by √(1−β).": _step(lambda beta: 1, math.sqrt),
        "You shrink x by 1−β, without the root: the variance of x then shrinks by (1−β)².": (
            _step(lambda beta: 1 - beta, math.sqrt)
        ),
        "Signal and noise have changed places: √(1−β) belongs to x, √β to the noise.": (
            _step(math.sqrt, _kept)
        ),
        "You take β for a standard deviation; it is a variance: √β times the noise, √(1−β) times "
        "x.": _step(lambda beta: math.sqrt(1 - beta**2), lambda beta: beta),
        "You add noise twice, which doubles its variance; once is enough.": (
            _step(_kept, math.sqrt, lambda x, g: _normal(x, g) + _normal(x, g))
        ),
        "You take two steps, each with its own noise; this function is one step.": (
            lambda x, beta, g: _step(_kept, math.sqrt)(_step(_kept, math.sqrt)(x, beta, g), beta, g)
        ),
        "You draw one row of noise for all rows of the batch, or one number for each row; give "
        "randn the whole shape of x.": [
            _step(_kept, math.sqrt, lambda x, g: _normal(x[0], g)),
            _step(_kept, math.sqrt, lambda x, g: _normal(x[:, :1], g)),
        ],
        "You draw one number for the whole batch; every entry needs noise of its own: give randn "
        "the shape of x.": _step(_kept, math.sqrt, lambda x, g: _normal(x[0, 0], g)),
    },
    law=1000,
    against=GaussianChain.step,
)


# The jump.


def _jump(x0: Tensor, t: Tensor, alpha_bar: Tensor, eps: Tensor) -> Tensor:
    return NoiseSchedule(alpha_bar).diffuse(x0, t, eps)


def _mixed(signal: Callable, noise: Callable, shape=(-1, 1, 1, 1), back: int = 0) -> Callable:
    """A jump with the factors signal(ᾱ) and noise(ᾱ), of this shape, at the time t − back."""

    def jump(x0, t, alpha_bar, eps):
        left = alpha_bar[t - back].view(shape)
        return signal(left).to(x0.dtype) * x0 + noise(left).to(x0.dtype) * eps

    return jump


def _of_one_step(x0: Tensor, t: Tensor, alpha_bar: Tensor, eps: Tensor) -> Tensor:
    alpha = torch.cat([alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]])
    return _mixed(torch.sqrt, _noise)(x0, t, alpha, eps)


def _noise(left: Tensor) -> Tensor:
    return (1 - left).sqrt()


def _draw_jump(g: torch.Generator):
    """Pictures, one of them at the last time."""
    x0, eps = torch.randn(2, *sizes(g, 4), generator=g)
    table = random_table(g)
    t = torch.randint(0, len(table), x0.shape[:1], generator=g)
    t[whole(0, len(t) - 1, g)] = len(table) - 1
    return x0.clamp(-1, 1), t, table, eps


jump = Check(
    "jump",
    reference=_jump,
    draw_inputs=_draw_jump,
    tolerance=1e-5,
    mistakes={
        "You multiply by ᾱ_t and 1−ᾱ_t, which are variances; x takes their roots.": (
            _mixed(lambda left: left, lambda left: 1 - left)
        ),
        "The signal is multiplied by ᾱ_t; the root is missing: √ᾱ_t.": (
            _mixed(lambda left: left, _noise)
        ),
        "The noise is multiplied by 1−ᾱ_t; the root is missing: √(1−ᾱ_t).": (
            _mixed(torch.sqrt, lambda left: 1 - left)
        ),
        "The noise is 1−√ᾱ_t; signal and noise do not add up to 1, their squares do: √(1−ᾱ_t).": (
            _mixed(torch.sqrt, lambda left: 1 - left.sqrt())
        ),
        "Your times are off by one: alpha_bar[0] is ᾱ_0 = 1, so ᾱ_t is alpha_bar[t], not "
        "alpha_bar[t − 1].": _mixed(torch.sqrt, _noise, back=1),
        "You add the noise without shrinking x0 first; x0 takes √ᾱ_t.": (
            _mixed(torch.ones_like, _noise)
        ),
        "You use α_t = ᾱ_t/ᾱ_{t−1}, a single step; the jump from 0 to t needs the whole product "
        "ᾱ_t.": _of_one_step,
        "Signal and noise have changed places: √ᾱ_t belongs to x0, √(1−ᾱ_t) to eps.": (
            _mixed(_noise, torch.sqrt)
        ),
        "Torch matches shapes from the right, so with the shape (B, 1) your ᾱ_t multiplies the "
        "rows inside each picture, not the rows of the batch: give it the shape (B, 1, 1, 1).": (
            _mixed(torch.sqrt, _noise, shape=(-1, 1))
        ),
        "Torch matches shapes from the right, so your ᾱ_t multiplies the columns of the pictures, "
        "not the rows of the batch: give it the shape (B, 1, 1, 1).": (
            _mixed(torch.sqrt, _noise, shape=(-1,))
        ),
    },
    against=NoiseSchedule.diffuse,
)


# The best guess of the clean picture.


def _best_guess(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    data = GaussianMixture(points, 0.0)
    return data.denoiser(NoiseSchedule(torch.tensor([1.0, alpha_bar_t])))(x, 1).x0


def _averaged(
    signal: Callable = math.sqrt,
    exponent: Callable = lambda distance, variance: -(distance**2) / (2 * variance),
    dim: int = 1,
    shrunk: bool = False,
) -> Callable:
    """The average of the points, shared out by exp(exponent) of the distance to signal(ᾱ) x_i."""

    def best_guess(x, alpha_bar_t, points):
        distance = (x[:, None] - signal(alpha_bar_t) * points).norm(dim=-1)  # (B, N)
        share = exponent(distance, 1 - alpha_bar_t).softmax(dim)
        return share @ (signal(alpha_bar_t) * points if shrunk else points)

    return best_guess


def _underflowing(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    square = (x[:, None] - math.sqrt(alpha_bar_t) * points).square().sum(-1)
    share = (-square / (2 * (1 - alpha_bar_t))).exp()
    return share @ points / share.sum(1, keepdim=True)


def _not_normalized(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    square = (x[:, None] - math.sqrt(alpha_bar_t) * points).square().sum(-1)
    return (-square / (2 * (1 - alpha_bar_t))).exp() @ points


def _nearest(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    return points[torch.cdist(x, math.sqrt(alpha_bar_t) * points).argmin(1)]


def _draw_points(g: torch.Generator):
    """Dots and points; the first dot is so far away that no exp of its distances is above 0."""
    B, N, D = sizes(g, 3)
    x, points = (torch.randn(n, D, generator=g, dtype=torch.float64) for n in (B, N))
    x[0] *= 100 / x[0].norm()
    return x, between(0.2, 0.7, g), points


best_guess = Check(
    "best_guess",
    reference=_best_guess,
    draw_inputs=_draw_points,
    tolerance=1e-6,
    mistakes={
        "You compare x_t with the points themselves, but by time t they have shrunk: measure the "
        "distance to √ᾱ_t times each point.": _averaged(signal=lambda left: 1),
        "You divide by √(1−ᾱ_t); the exponent of a Gaussian holds the variance, 1−ᾱ_t.": (
            _averaged(exponent=lambda d, variance: -(d**2) / (2 * math.sqrt(variance)))
        ),
        "The distance is not squared: a Gaussian falls with the square of the distance.": (
            _averaged(exponent=lambda d, variance: -d / (2 * variance))
        ),
        "The ½ in the exponent is missing: −‖x_t − √ᾱ_t x_i‖² / (2 (1−ᾱ_t)).": (
            _averaged(exponent=lambda d, variance: -(d**2) / variance)
        ),
        "The minus sign is missing: the farthest point gets the largest share.": (
            _averaged(exponent=lambda d, variance: d**2 / (2 * variance))
        ),
        "The softmax runs over the batch; the shares of the points must sum to 1 in every row: "
        "dim=1.": _averaged(dim=0),
        "Your shares do not sum to 1: divide each by their sum, or let softmax do it.": (
            _not_normalized
        ),
        "You take the nearest point; the guess is an average of all, near ones with most weight.": (
            _nearest
        ),
        "Far from all points every exp underflows to 0, and 0/0 is nan: softmax of the exponents "
        "is the same, and does not.": _underflowing,
        "You average the shrunken points √ᾱ_t x_i, which guesses √ᾱ_t x_0; average the points.": (
            _averaged(shrunk=True)
        ),
    },
    against=GaussianMixture.denoiser,
)
