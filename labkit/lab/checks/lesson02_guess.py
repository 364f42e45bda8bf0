"""The check of lesson 02 on the posterior mean, the best guess of the clean picture."""

import math
from functools import partial

import torch
from torch import Tensor

from labkit.lab.checks import compare, sentences
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import SMALL, between, sizes
from labkit.mixture import GaussianMixture
from labkit.schedule import NoiseSchedule


def _best_guess(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    two_times = torch.tensor([1.0, alpha_bar_t], dtype=torch.float64)
    return GaussianMixture(points, 0.0).denoiser(NoiseSchedule(two_times))(x, 1).x0


def _squares(x: Tensor, centers: Tensor) -> Tensor:
    """The squared distances of the dots from the centers, (B, N)."""
    return (x[:, None] - centers).square().sum(-1)


def _exponent(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    return -_squares(x, math.sqrt(alpha_bar_t) * points) / (2 * (1 - alpha_bar_t))


def _underflowing(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    weight = _exponent(x, alpha_bar_t, points).exp()
    return weight @ points / weight.sum(1, keepdim=True)


def _softened(x: Tensor, alpha_bar_t: float, points: Tensor, eps: float) -> Tensor:
    weight = _exponent(x, alpha_bar_t, points).exp()
    return weight @ points / (weight.sum(1, keepdim=True) + eps)


def _of_mean_squares(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    square = (x[:, None] - math.sqrt(alpha_bar_t) * points).square().mean(-1)
    return (-square / (2 * (1 - alpha_bar_t))).softmax(1) @ points


def _of_divided_dots(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    square = _squares(x / math.sqrt(alpha_bar_t), points)
    return (-square / (2 * (1 - alpha_bar_t))).softmax(1) @ points


def _unsquared(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    distance = _squares(x, math.sqrt(alpha_bar_t) * points).sqrt()
    return (-distance / (2 * (1 - alpha_bar_t))).softmax(1) @ points


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
        "distance to √ᾱ_t times each point.": (
            lambda x, a, points: (-_squares(x, points) / (2 * (1 - a))).softmax(1) @ points
        ),
        "By time t the points have shrunk by √ᾱ_t; you shrink them by ᾱ_t: the root is missing.": (
            lambda x, a, points: (-_squares(x, a * points) / (2 * (1 - a))).softmax(1) @ points
        ),
        "You divide x_t by √ᾱ_t, so its noise now has the variance (1−ᾱ_t)/ᾱ_t: the exponent needs "
        "that one.": _of_divided_dots,
        "You take the mean over the D coordinates; the squared distance is their sum: sum(-1).": (
            _of_mean_squares
        ),
        "You take ᾱ_t for the variance of the noise; that is 1−ᾱ_t.": (
            lambda x, a, points: (-_squares(x, math.sqrt(a) * points) / (2 * a)).softmax(1) @ points
        ),
        "You divide by √(1−ᾱ_t); the exponent of a Gaussian holds the variance, 1−ᾱ_t.": (
            lambda x, a, points: (
                (-_squares(x, math.sqrt(a) * points) / (2 * math.sqrt(1 - a))).softmax(1) @ points
            )
        ),
        "You take 1−ᾱ_t for the standard deviation; it is the variance.": (
            lambda x, a, points: (
                (-_squares(x, math.sqrt(a) * points) / (2 * (1 - a) ** 2)).softmax(1) @ points
            )
        ),
        "The distance is not squared: a Gaussian falls with the square of the distance.": (
            _unsquared
        ),
        "The ½ in the exponent is missing: −‖x_t − √ᾱ_t x_i‖² / (2 (1−ᾱ_t)).": (
            lambda x, a, points: (2 * _exponent(x, a, points)).softmax(1) @ points
        ),
        "The minus sign is missing: the farthest point gets the largest weight.": (
            lambda x, a, points: (-_exponent(x, a, points)).softmax(1) @ points
        ),
        "The softmax runs over the batch; the weights of the points must sum to 1 in every row: "
        "dim=1.": lambda x, a, points: _exponent(x, a, points).softmax(0) @ points,
        "Your weights do not sum to 1: divide each by their sum, or let softmax do it.": (
            lambda x, a, points: _exponent(x, a, points).exp() @ points
        ),
        "You take the nearest point; the guess is an average of all, near ones with most weight.": (
            _nearest
        ),
        "Far from all points every exp underflows to 0, and 0/0 is nan: softmax of the exponents "
        "is the same, and does not.": _underflowing,
        "Far from all points every exp underflows to 0; the small number that you add to their sum "
        "makes the guess 0 there: softmax of the exponents needs none.": [
            partial(_softened, eps=eps) for eps in (*SMALL, 1e-16, 1e-20, 1e-30)
        ],
        "You leave out the variance of the noise: −‖x_t − √ᾱ_t x_i‖² / (2 (1−ᾱ_t)).": [
            lambda x, a, points: (-_squares(x, math.sqrt(a) * points)).softmax(1) @ points,
            lambda x, a, points: (-_squares(x, math.sqrt(a) * points) / 2).softmax(1) @ points,
        ],
        "You take the variance (1−ᾱ_t)/ᾱ_t, which belongs to x_t/√ᾱ_t; that of x_t is 1−ᾱ_t.": (
            lambda x, a, points: (a * _exponent(x, a, points)).softmax(1) @ points
        ),
        "You average the shrunken points √ᾱ_t x_i, which guesses √ᾱ_t x_0; average the points.": (
            lambda x, a, points: _exponent(x, a, points).softmax(1) @ (math.sqrt(a) * points)
        ),
    },
    symptoms={sentences.FEW_DIGITS: _is_of_float32},
    against=GaussianMixture.denoiser,
)
