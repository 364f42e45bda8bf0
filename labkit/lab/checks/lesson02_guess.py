"""The check of lesson 02 on the posterior mean, the best guess of the clean picture."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from labkit.lab.checks import compare, sentences
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, sizes
from labkit.mixture import GaussianMixture
from labkit.schedule import NoiseSchedule


def _best_guess(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    two_times = torch.tensor([1.0, alpha_bar_t], dtype=torch.float64)
    return GaussianMixture(points, 0.0).denoiser(NoiseSchedule(two_times))(x, 1).x0


def _averaged(
    signal: Callable = math.sqrt,
    exponent: Callable = lambda distance, variance: -(distance**2) / (2 * variance),
    dim: int = 1,
    shrunk: bool = False,
) -> Callable:
    """The average of the points, with weights exp(exponent) of the distance to signal(ᾱ) x_i."""

    def best_guess(x, alpha_bar_t, points):
        distance = (x[:, None] - signal(alpha_bar_t) * points).norm(dim=-1)  # (B, N)
        weight = exponent(distance, 1 - alpha_bar_t).softmax(dim)
        return weight @ (signal(alpha_bar_t) * points if shrunk else points)

    return best_guess


def _underflowing(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    square = (x[:, None] - math.sqrt(alpha_bar_t) * points).square().sum(-1)
    weight = (-square / (2 * (1 - alpha_bar_t))).exp()
    return weight @ points / weight.sum(1, keepdim=True)


def _not_normalized(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    square = (x[:, None] - math.sqrt(alpha_bar_t) * points).square().sum(-1)
    return (-square / (2 * (1 - alpha_bar_t))).exp() @ points


def _of_mean_squares(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    square = (x[:, None] - math.sqrt(alpha_bar_t) * points).square().mean(-1)
    return (-square / (2 * (1 - alpha_bar_t))).softmax(1) @ points


def _of_divided_dots(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    return _averaged(signal=lambda left: 1)(x / math.sqrt(alpha_bar_t), alpha_bar_t, points)


def _nearest(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    return points[torch.cdist(x, math.sqrt(alpha_bar_t) * points).argmin(1)]


def _is_of_float32(right: Tensor, yours: Tensor) -> bool:
    """Whether these float64 numbers are nearly right and have the digits of float32 only: far from
    all points it is off by more than its seventh digit."""
    return compare.difference(right, yours) < 0.01 and torch.equal(yours, yours.float().double())


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
    tolerance=1e-9,
    mistakes={
        "You compare x_t with the points themselves, but by time t they have shrunk: measure the "
        "distance to √ᾱ_t times each point.": _averaged(signal=lambda left: 1),
        "By time t the points have shrunk by √ᾱ_t; you shrink them by ᾱ_t: the root is missing.": (
            _averaged(signal=lambda left: left)
        ),
        "You divide x_t by √ᾱ_t, so its noise now has the variance (1−ᾱ_t)/ᾱ_t: the exponent needs "
        "that one.": _of_divided_dots,
        "You take the mean over the D coordinates; the squared distance is their sum: sum(-1).": (
            _of_mean_squares
        ),
        "You take ᾱ_t for the variance of the noise; that is 1−ᾱ_t.": (
            _averaged(exponent=lambda d, variance: -(d**2) / (2 * (1 - variance)))
        ),
        "You divide by √(1−ᾱ_t); the exponent of a Gaussian holds the variance, 1−ᾱ_t.": (
            _averaged(exponent=lambda d, variance: -(d**2) / (2 * math.sqrt(variance)))
        ),
        "You take 1−ᾱ_t for the standard deviation; it is the variance.": (
            _averaged(exponent=lambda d, variance: -(d**2) / (2 * variance**2))
        ),
        "The distance is not squared: a Gaussian falls with the square of the distance.": (
            _averaged(exponent=lambda d, variance: -d / (2 * variance))
        ),
        "The ½ in the exponent is missing: −‖x_t − √ᾱ_t x_i‖² / (2 (1−ᾱ_t)).": (
            _averaged(exponent=lambda d, variance: -(d**2) / variance)
        ),
        "The minus sign is missing: the farthest point gets the largest weight.": (
            _averaged(exponent=lambda d, variance: d**2 / (2 * variance))
        ),
        "The softmax runs over the batch; the weights of the points must sum to 1 in every row: "
        "dim=1.": _averaged(dim=0),
        "Your weights do not sum to 1: divide each by their sum, or let softmax do it.": (
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
    symptoms={sentences.FEW_DIGITS: _is_of_float32},
    against=GaussianMixture.denoiser,
)
