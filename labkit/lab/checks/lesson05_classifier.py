"""The checks of lesson 05 on the classifier: sharper, and among noisy points."""

import math

import torch
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, sizes
from labkit.mixture import GaussianMixture
from labkit.schedule import NoiseSchedule

# The sharpened classifier.


def _sharpen(log_probs: Tensor, scale: float) -> Tensor:
    return (scale * log_probs).log_softmax(1)


def _draw_sure(g: torch.Generator):
    """Log-probabilities of a classifier that is sure of its first row: one class has e⁻⁹⁰ there."""
    logits = 2 * torch.randn(*sizes(g, 2), generator=g)
    logits[0, 0] = logits[0].max() + 90
    logits = logits[:, torch.randperm(logits.shape[1], generator=g)]
    return logits.log_softmax(1).requires_grad_(), between(1.5, 4, g)


def _powers(log_probs: Tensor, scale: float) -> Tensor:
    return log_probs.exp() ** scale


sharpen = Check(
    "sharpen",
    reference=_sharpen,
    draw_inputs=_draw_sure,
    mistakes={
        "The rows do not sum to 1: this is log p^s without its 1/Z. Subtract the log of the sum "
        "(log_softmax does).": lambda log_probs, scale: scale * log_probs,
        "You return probabilities; the log was asked for.": (
            lambda log_probs, scale: (scale * log_probs).softmax(1)
        ),
        "That is p^s: divide by the sum Z of its row, and return the log.": _powers,
        "That is log p^s by way of the powers, and without 1/Z; subtract the log of their sum.": (
            lambda log_probs, scale: _powers(log_probs, scale).log()
        ),
        "Your formula is right, but where the classifier is sure, p^s underflows to 0, and its log "
        "is −∞: stay in logs, s log p and log_softmax.": lambda log_probs, scale: (
            _powers(log_probs, scale) / _powers(log_probs, scale).sum(1, keepdim=True)
        ).log(),
        "You multiply the probabilities by s, and dividing by their sum undoes it; s is a power, "
        "so it multiplies the logs.": lambda log_probs, scale: log_probs.log_softmax(1),
        "You divide by s, which flattens; to sharpen, multiply the logs by s.": (
            lambda log_probs, scale: (log_probs / scale).log_softmax(1)
        ),
        "You normalize down the batch; the classes of a row are what must sum to 1: dimension 1.": (
            lambda log_probs, scale: (scale * log_probs).log_softmax(0)
        ),
        "You raise the log to the power s; it is p that has the power: log p^s = s log p.": (
            lambda log_probs, scale: (-((-log_probs) ** scale)).log_softmax(1)
        ),
        "Z sums over the whole batch; each row has its own sum, over its classes: dimension 1.": (
            lambda log_probs, scale: scale * log_probs - (scale * log_probs).flatten().logsumexp(0)
        ),
        "The power is s itself, not s − 1: log p^s = s log p.": (
            lambda log_probs, scale: ((scale - 1) * log_probs).log_softmax(1)
        ),
        "You add a small number before the log, which changes small probabilities and their "
        "gradients: stay in logs, s log p and log_softmax.": lambda log_probs, scale: (
            scale * (log_probs.exp() + 1e-8).log()
        ).log_softmax(1),
    },
    against="log_softmax of s log p",
)


# The exact classifier of noisy points.


def _noisy_log_posterior(
    means: Tensor, std: Tensor, weights: Tensor, x: Tensor, alpha_bar: float
) -> Tensor:
    schedule = NoiseSchedule(torch.tensor([1.0, alpha_bar], dtype=torch.float64))
    noisy = GaussianMixture(means, std, weights).diffused(schedule, 1)
    return noisy.log_joint(x).log_softmax(1)


def _square(x: Tensor, centers: Tensor) -> Tensor:
    """The squared distances of the points from the centers, (B, K)."""
    return (x[:, None] - centers).square().sum(2)


def _variance(std: Tensor, alpha_bar: float) -> Tensor:
    return alpha_bar * std**2 + 1 - alpha_bar  # (K,)


def _joint(weights: Tensor, x: Tensor, centers: Tensor, variance: Tensor) -> Tensor:
    """log p(k, x) but for a constant, (B, K)."""
    volume = -x.shape[1] / 2 * variance.log()
    return weights.log() + volume - _square(x, centers) / (2 * variance)


def _right_joint(means, std, weights, x, alpha_bar) -> Tensor:
    return _joint(weights, x, math.sqrt(alpha_bar) * means, _variance(std, alpha_bar))


def _of_variance(means, weights, x, alpha_bar, variance: Tensor) -> Tensor:
    return _joint(weights, x, math.sqrt(alpha_bar) * means, variance).log_softmax(1)


def _of_volume(means, std, weights, x, alpha_bar, volume: Tensor) -> Tensor:
    """The posterior with this in the place of −D/2 log variance."""
    square = _square(x, math.sqrt(alpha_bar) * means)
    joint = weights.log() + volume - square / (2 * _variance(std, alpha_bar))
    return joint.log_softmax(1)


def _of_exponent(means, std, weights, x, alpha_bar, exponent: Tensor) -> Tensor:
    """The posterior with this in the place of −‖x_t − √ᾱ means‖² / (2 variance)."""
    volume = -x.shape[1] / 2 * _variance(std, alpha_bar).log()
    return (weights.log() + volume + exponent).log_softmax(1)


def _draw_posterior(g: torch.Generator):
    """Classes, and points, the first of which is far away from all of them."""
    B, K, D = sizes(g, 3)
    means, x = (torch.randn(n, D, generator=g, dtype=torch.float64) for n in (K, B))
    std, weights = torch.rand(2, K, generator=g, dtype=torch.float64)
    weights = 0.2 + weights
    x[0] *= 100 / x[0].norm()
    return means, 0.3 + std, weights / weights.sum(), x.requires_grad_(), between(0.2, 0.8, g)


def _stds_added(means, std, weights, x, alpha_bar) -> Tensor:
    spread = math.sqrt(alpha_bar) * std + math.sqrt(1 - alpha_bar)
    return _of_variance(means, weights, x, alpha_bar, spread**2)


def _distance_unsquared(means, std, weights, x, alpha_bar) -> Tensor:
    distance = _square(x, math.sqrt(alpha_bar) * means).sqrt()
    exponent = -distance / (2 * _variance(std, alpha_bar))
    return _of_exponent(means, std, weights, x, alpha_bar, exponent)


def _mean_square(means, std, weights, x, alpha_bar) -> Tensor:
    square = (x[:, None] - math.sqrt(alpha_bar) * means).square().mean(2)
    exponent = -square / (2 * _variance(std, alpha_bar))
    return _of_exponent(means, std, weights, x, alpha_bar, exponent)


def _half_missing(means, std, weights, x, alpha_bar) -> Tensor:
    exponent = -_square(x, math.sqrt(alpha_bar) * means) / _variance(std, alpha_bar)
    return _of_exponent(means, std, weights, x, alpha_bar, exponent)


def _weights_as_they_are(means, std, weights, x, alpha_bar) -> Tensor:
    joint = _right_joint(means, std, weights, x, alpha_bar)
    return (joint - weights.log() + weights).log_softmax(1)


def _no_prior(means, std, weights, x, alpha_bar) -> Tensor:
    return (_right_joint(means, std, weights, x, alpha_bar) - weights.log()).log_softmax(1)


def _softmax_and_log(means, std, weights, x, alpha_bar) -> Tensor:
    return _right_joint(means, std, weights, x, alpha_bar).softmax(1).log()


def _underflowing(means, std, weights, x, alpha_bar) -> Tensor:
    joint = _right_joint(means, std, weights, x, alpha_bar).exp()
    return (joint / joint.sum(1, keepdim=True)).log()


noisy_log_posterior = Check(
    "noisy_log_posterior",
    reference=_noisy_log_posterior,
    draw_inputs=_draw_posterior,
    tolerance=1e-9,
    mistakes={
        "This is the classifier of clean points: x_t is noisy, so its classes lie at √ᾱ·means, "
        "with variance ᾱ·std² + 1 − ᾱ.": (
            lambda means, std, weights, x, a: _joint(weights, x, means, std**2).log_softmax(1)
        ),
        "The means have not shrunk: at time t class k lies at √ᾱ·means[k].": (
            lambda means, std, weights, x, a: _joint(
                weights, x, means, _variance(std, a)
            ).log_softmax(1)
        ),
        "The means shrink by ᾱ; the root is missing: √ᾱ.": (
            lambda means, std, weights, x, a: _joint(
                weights, x, a * means, _variance(std, a)
            ).log_softmax(1)
        ),
        "The variance lacks the noise: it is ᾱ·std² + 1 − ᾱ.": (
            lambda means, std, weights, x, a: _of_variance(means, weights, x, a, a * std**2)
        ),
        "You multiply std², by √ᾱ or by nothing; a variance shrinks by the square of √ᾱ: "
        "ᾱ·std² + 1 − ᾱ.": (
            lambda means, std, weights, x, a: _of_variance(means, weights, x, a, std**2 + 1 - a)
        ),
        "Bayes' prior is missing: add log weights[k] before you normalize.": _no_prior,
        "The classes differ in width, so the factor in front of each Gaussian does not cancel: "
        "subtract D/2 times the log of its variance.": (
            lambda means, std, weights, x, a: _of_volume(means, std, weights, x, a, 0.0)
        ),
        "You add the standard deviations, √ᾱ·std + √(1−ᾱ); of independent parts the variances add: "
        "ᾱ·std² + 1 − ᾱ.": _stds_added,
        "The factor in front of each Gaussian has the power D: subtract D/2 times the log of its "
        "variance, in any number D of dimensions.": [
            (
                lambda means, std, weights, x, a: _of_volume(
                    means, std, weights, x, a, -_variance(std, a).log()
                )
            ),
            (
                lambda means, std, weights, x, a: _of_volume(
                    means, std, weights, x, a, -0.5 * _variance(std, a).log()
                )
            ),
            (
                lambda means, std, weights, x, a: _of_volume(
                    means, std, weights, x, a, -x.shape[1] * _variance(std, a).log()
                )
            ),
        ],
        "You add the weights as they are; a log-probability needs their logs.": (
            _weights_as_they_are
        ),
        "Your formula is right, but far from the classes densities and probabilities underflow to "
        "0, whose log is −∞: stay in logs to the end, with log_softmax.": [
            _underflowing,
            _softmax_and_log,
        ],
        "You normalize down the batch; the classes of a row must sum to 1: dimension 1.": (
            lambda means, std, weights, x, a: _right_joint(means, std, weights, x, a).log_softmax(0)
        ),
        "The distance in the exponent is not squared.": _distance_unsquared,
        "You take the mean of the squares over the dimensions; a squared distance is their sum.": (
            _mean_square
        ),
        "The ½ in the exponent is missing.": _half_missing,
        "You return probabilities; the log was asked for.": (
            lambda means, std, weights, x, a: _right_joint(means, std, weights, x, a).softmax(1)
        ),
        "This is log p(k, x_t), the numerator of Bayes' rule; normalize over the classes "
        "(log_softmax over dimension 1).": (
            lambda means, std, weights, x, a: (
                _right_joint(means, std, weights, x, a) - math.log(2 * math.pi)
            )
        ),
    },
    against=GaussianMixture.diffused,
)
