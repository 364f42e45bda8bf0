"""The checks of lesson 05 on the classifier: sharper, among noisy points, and its gradient."""

import math

import torch
from torch import Tensor

from labkit import guidance
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between
from labkit.mixture import GaussianMixture
from labkit.schedule import NoiseSchedule

# The sharpened classifier.


def _sharpen(log_probs: Tensor, scale: float) -> Tensor:
    return (scale * log_probs).log_softmax(1)


sharpen = Check(
    "sharpen",
    reference=_sharpen,
    draw_inputs=lambda g: (
        (2 * torch.randn(4, 5, generator=g)).log_softmax(1),
        between(1.5, 4, g),
    ),
    mistakes={
        "The rows do not sum to 1: this is log p^s without its 1/Z. Subtract the log of the sum "
        "(log_softmax does).": lambda log_probs, scale: scale * log_probs,
        "You return probabilities; the log was asked for.": (
            lambda log_probs, scale: (scale * log_probs).softmax(1)
        ),
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
    },
    against="log_softmax of s log p",
)


# The exact classifier of noisy points.


def _noisy_log_posterior(
    means: Tensor, std: Tensor, weights: Tensor, x: Tensor, alpha_bar: float
) -> Tensor:
    schedule = NoiseSchedule(torch.tensor([1.0, alpha_bar]))
    law = GaussianMixture(means, std, weights).diffused(schedule, 1)
    return law.log_joint(x).log_softmax(1)


def _wrong_posterior(
    shrink=math.sqrt,
    variance=lambda alpha_bar, std: alpha_bar * std**2 + 1 - alpha_bar,
    prior=True,
    volume=True,
    half=0.5,
    end=lambda joint: joint.log_softmax(1),
):
    """The posterior of the noisy mixture in which one thing can be wrong."""

    def log_posterior(means, std, weights, x, alpha_bar):
        spread = variance(alpha_bar, std)  # (K,)
        square = (x[:, None] - shrink(alpha_bar) * means).square().sum(2)  # (B, K)
        joint = -half * square / spread
        joint = joint - 0.5 * x.shape[1] * spread.log() if volume else joint
        return end(joint + weights.log() if prior else joint)

    return log_posterior


def _draw_posterior(g: torch.Generator):
    means = torch.randn(3, 2, generator=g, dtype=torch.float64)
    std = 0.3 + torch.rand(3, generator=g, dtype=torch.float64)
    weights = 0.2 + torch.rand(3, generator=g, dtype=torch.float64)
    x = torch.randn(6, 2, generator=g, dtype=torch.float64)
    return means, std, weights / weights.sum(), x, between(0.2, 0.8, g)


noisy_log_posterior = Check(
    "noisy_log_posterior",
    reference=_noisy_log_posterior,
    draw_inputs=_draw_posterior,
    tolerance=1e-6,
    mistakes={
        "This is the classifier of clean points: x_t is noisy, so its classes lie at √ᾱ·means, "
        "with variance ᾱ·std² + 1 − ᾱ.": _wrong_posterior(
            lambda alpha_bar: 1.0, lambda alpha_bar, std: std**2
        ),
        "The means have not shrunk: at time t class k lies at √ᾱ·means[k].": (
            _wrong_posterior(lambda alpha_bar: 1.0)
        ),
        "The means shrink by ᾱ; the root is missing: √ᾱ.": _wrong_posterior(
            lambda alpha_bar: alpha_bar
        ),
        "The variance lacks the noise: it is ᾱ·std² + 1 − ᾱ.": (
            _wrong_posterior(variance=lambda alpha_bar, std: alpha_bar * std**2)
        ),
        "You multiply std², by √ᾱ or by nothing; a variance shrinks by the square of √ᾱ: "
        "ᾱ·std² + 1 − ᾱ.": _wrong_posterior(variance=lambda alpha_bar, std: std**2 + 1 - alpha_bar),
        "Bayes' prior is missing: add log weights[k] before you normalize.": (
            _wrong_posterior(prior=False)
        ),
        "The classes differ in width, so the factor in front of each Gaussian does not cancel: "
        "subtract D/2 times the log of its variance.": _wrong_posterior(volume=False),
        "The ½ in the exponent is missing.": _wrong_posterior(half=1.0),
        "You return probabilities; the log was asked for.": (
            _wrong_posterior(end=lambda joint: joint.softmax(1))
        ),
        "This is log p(k, x_t), the numerator of Bayes' rule; normalize over the classes "
        "(log_softmax over dimension 1).": _wrong_posterior(
            end=lambda joint: joint - math.log(2 * math.pi)
        ),
    },
    against="labkit.mixture.GaussianMixture.diffused",
)


# The gradient.


def _class_gradient(classifier, x: Tensor, y: Tensor) -> Tensor:
    def log_prob(x, t):
        return classifier(x).log_softmax(1).gather(1, y[:, None])[:, 0]

    return guidance.gradient(log_prob, x, 1)


def _wrong_gradient(read, total=torch.sum):
    """The gradient of another number than log p(y|x)."""

    def class_gradient(classifier, x, y):
        x = x.detach().requires_grad_(True)
        return torch.autograd.grad(total(read(classifier(x), y)), x)[0]

    return class_gradient


def _pick(values: Tensor, y: Tensor) -> Tensor:
    return values.gather(1, y[:, None])[:, 0]


def _draw_classifier(g: torch.Generator):
    first, second = torch.randn(3, 8, generator=g), torch.randn(8, 4, generator=g)

    def classifier(x):
        return torch.tanh(x @ first) @ second

    x, y = torch.randn(5, 3, generator=g), torch.randperm(4, generator=g)[[0, 1, 2, 3, 0]]
    return classifier, x, y


class_gradient = Check(
    "class_gradient",
    reference=_class_gradient,
    draw_inputs=_draw_classifier,
    mistakes={
        "You take softmax where log_softmax belongs: the gradient of p is p times the gradient of "
        "log p, so it dies exactly where the classifier is sure that it is not y.": (
            _wrong_gradient(lambda logits, y: _pick(logits.softmax(1), y))
        ),
        "You take the logit itself, not its log_softmax: without the denominator nothing pushes "
        "away from the other classes.": _wrong_gradient(_pick),
        "The sign is wrong: this is the gradient of the cross-entropy, which trains away from "
        "mistakes; guidance climbs log p(y|x).": _wrong_gradient(
            lambda logits, y: -_pick(logits.log_softmax(1), y)
        ),
        "You take the mean over the batch, so every row's gradient is divided by the number of "
        "rows; take the sum: rows do not know of each other.": (
            _wrong_gradient(lambda logits, y: _pick(logits.log_softmax(1), y), torch.mean)
        ),
        "You sum log p over all the classes; pick the one in y for each row.": (
            _wrong_gradient(lambda logits, y: logits.log_softmax(1))
        ),
        "Every row climbs towards y[0]; each has its own class: gather, or [range(B), y].": (
            _wrong_gradient(lambda logits, y: logits.log_softmax(1)[:, y[0]])
        ),
        "You climb towards the class that each point looks most like already, not towards y.": (
            _wrong_gradient(lambda logits, y: logits.log_softmax(1).max(1).values)
        ),
        "The softmax runs down the batch; the classes are dimension 1.": (
            _wrong_gradient(lambda logits, y: _pick(logits.log_softmax(0), y))
        ),
    },
    against="labkit.guidance.gradient",
)


# This class or that one.


def _either_class(logits: Tensor, a: int, b: int) -> Tensor:
    return logits.log_softmax(1)[:, [a, b]].logsumexp(1)


def _wrong_either(join, read=lambda logits: logits.log_softmax(1)):
    return lambda logits, a, b: join(read(logits)[:, a], read(logits)[:, b])


def _draw_either(g: torch.Generator):
    a, b = torch.randperm(5, generator=g)[:2].tolist()
    return 2 * torch.randn(6, 5, generator=g), a, b


either_class = Check(
    "either_class",
    reference=_either_class,
    draw_inputs=_draw_either,
    mistakes={
        "You add the logs, which multiplies the probabilities: that asks for both at once. Add "
        "the probabilities, then take the log.": _wrong_either(lambda a, b: a + b),
        "You take the mean of the logs, half of asking for both at once; add the probabilities, "
        "then take the log.": _wrong_either(lambda a, b: (a + b) / 2),
        "You return the probability; guidance climbs its log.": (
            _wrong_either(lambda a, b: a.exp() + b.exp())
        ),
        "You take the larger of the two, which jumps where they cross; add the probabilities.": (
            _wrong_either(torch.maximum)
        ),
        'You take the mean of the probabilities: "a or b" is their sum (its gradient is the '
        "same, its value is not).": _wrong_either(lambda a, b: ((a.exp() + b.exp()) / 2).log()),
        "You add up logits that were never normalized: log_softmax first, over all the classes.": (
            _wrong_either(torch.logaddexp, lambda logits: logits)
        ),
        "You normalize over the two classes only, so nothing pushes away from the others.": (
            lambda logits, a, b: logits[:, [a, b]].log_softmax(1).logsumexp(1)
        ),
    },
    against="logsumexp of the two log-probabilities",
)
