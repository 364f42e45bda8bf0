"""The checks of lesson 05 pass what is right, however it is written, and name what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal

from labkit.lab import checks
from tests.lab.check_soundness import assert_check_is_sound


def sharpen_by_powers(log_probs, scale):
    powers = log_probs.exp() ** scale
    return (powers / powers.sum(1, keepdim=True)).log()


def sharpen_by_logsumexp(log_probs, scale):
    return scale * log_probs - torch.logsumexp(scale * log_probs, 1, keepdim=True)


def log_densities(means, std, weights, x, alpha_bar):
    spread = (alpha_bar * std**2 + 1 - alpha_bar).sqrt()[None, :, None]
    noisy = Normal(math.sqrt(alpha_bar) * means[None], spread)
    return noisy.log_prob(x[:, None]).sum(2)


def posterior_by_densities(means, std, weights, x, alpha_bar):
    joint = weights * log_densities(means, std, weights, x, alpha_bar).exp()
    return (joint / joint.sum(1, keepdim=True)).log()


def posterior_by_log_densities(means, std, weights, x, alpha_bar):
    joint = weights.log() + log_densities(means, std, weights, x, alpha_bar)
    return joint - joint.logsumexp(1, keepdim=True)


def posterior_solution(means, std, weights, x, alpha_bar):
    variance = alpha_bar * std**2 + 1 - alpha_bar
    square = (x[:, None] - alpha_bar**0.5 * means).square().sum(2)
    log_joint = weights.log() - x.shape[1] / 2 * variance.log() - square / (2 * variance)
    return log_joint.log_softmax(1)


def gradient_by_cross_entropy(classifier, x, y):
    with torch.enable_grad():
        x = x.clone().requires_grad_(True)
        total = -F.cross_entropy(classifier(x), y, reduction="sum")
    return torch.autograd.grad(total, x)[0]


def gradient_by_backward(classifier, x, y):
    with torch.enable_grad():
        x = x.clone().requires_grad_(True)
        (-F.cross_entropy(classifier(x), y, reduction="sum")).backward()
    return x.grad


def gradient_row_by_row(classifier, x, y):
    rows = []
    for point, label in zip(x, y):
        point = point.detach().requires_grad_(True)
        log_prob = classifier(point[None]).log_softmax(1)[0, label]
        rows.append(torch.autograd.grad(log_prob, point)[0])
    return torch.stack(rows)


def shift_through_the_score(eps, gradient, alpha_bar, scale):
    sigma = math.sqrt(1 - alpha_bar)
    return -sigma * (-eps / sigma + scale * gradient)


def mean_by_hand(schedule, x0, x, t, s, gradient, scale):
    at_t, at_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    alpha = at_t / at_s
    mean = math.sqrt(at_s) * (1 - alpha) * x0 + math.sqrt(alpha) * (1 - at_s) * x
    return mean / (1 - at_t) + scale * (1 - alpha) * gradient


def either_by_probabilities(logits, a, b):
    probs = logits.softmax(1)
    return (probs[:, a] + probs[:, b]).log()


def either_by_logaddexp(logits, a, b):
    return torch.logaddexp(logits[:, a], logits[:, b]) - logits.logsumexp(1)


RIGHT = {
    "sharpen": [sharpen_by_logsumexp],
    "noisy_log_posterior": [posterior_by_log_densities, posterior_solution],
    "class_gradient": [gradient_by_cross_entropy, gradient_row_by_row],
    "shift_eps": [shift_through_the_score],
    "guided_mean": [mean_by_hand],
    "either_class": [either_by_logaddexp],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_check_passes_what_is_right_and_names_each_known_mistake(name):
    assert_check_is_sound(getattr(checks, name), RIGHT[name])


@pytest.mark.parametrize(
    ("check", "poor"),
    [
        (checks.sharpen, sharpen_by_powers),
        (checks.noisy_log_posterior, posterior_by_densities),
        (checks.either_class, either_by_probabilities),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_right_formula_that_underflows_is_told_so_each_time(check, poor):
    verdicts = {check(poor).mistake for _ in range(20)}
    assert len(verdicts) == 1
    assert "underflow" in verdicts.pop()


def test_backward_is_told_that_it_leaves_gradients_in_the_classifier():
    assert (
        "leaves gradients behind in 'classifier'"
        in checks.class_gradient(gradient_by_backward).message
    )


def test_the_gradient_of_an_x_without_one_is_told_where_it_comes_from():
    def empty(classifier, x, y):
        classifier(x).log_softmax(1).gather(1, y[:, None]).sum().backward()
        return x.grad

    assert "x.grad that is None" in checks.class_gradient(empty).mistake


def test_all_classes_of_the_batch_in_every_row_are_told_from_one_for_each():
    def crossed(classifier, x, y):
        x = x.detach().requires_grad_(True)
        total = classifier(x).log_softmax(1)[:, y].sum()
        return torch.autograd.grad(total, x)[0]

    assert "(B, B)" in checks.class_gradient(crossed).mistake


def test_powers_without_their_logarithm_are_told_what_is_missing():
    assert "return the log" in checks.sharpen(lambda log_probs, s: log_probs.exp() ** s).mistake


@pytest.mark.parametrize(
    ("volume", "prior", "words"),
    [
        (lambda variance, D: -variance.log(), torch.log, "any number D of dimensions"),
        (lambda variance, D: -0.5 * variance.log(), torch.log, "any number D of dimensions"),
        (lambda variance, D: -D / 2 * variance.log(), lambda weights: weights, "as they are"),
    ],
)
def test_a_posterior_with_a_wrong_factor_is_told_which(volume, prior, words):
    def wrong(means, std, weights, x, alpha_bar):
        variance = alpha_bar * std**2 + 1 - alpha_bar
        square = (x[:, None] - math.sqrt(alpha_bar) * means).square().sum(2)
        joint = prior(weights) + volume(variance, x.shape[1]) - square / (2 * variance)
        return joint.log_softmax(1)

    assert words in checks.noisy_log_posterior(wrong).mistake


def test_added_standard_deviations_are_told_from_added_variances():
    def added(means, std, weights, x, alpha_bar):
        spread = alpha_bar**0.5 * std + (1 - alpha_bar) ** 0.5
        noisy = Normal(alpha_bar**0.5 * means, spread[:, None])
        return (noisy.log_prob(x[:, None]).sum(2) + weights.log()).log_softmax(1)

    assert "the variances add" in checks.noisy_log_posterior(added).mistake


def test_a_gradient_cut_off_by_no_grad_is_answered_with_a_sentence():
    def under_no_grad(classifier, x, y):
        with torch.no_grad():
            x = x.detach().requires_grad_(True)
            log_prob = classifier(x).log_softmax(1)
        return torch.autograd.grad(log_prob.sum(), x)[0]

    result = checks.class_gradient(under_no_grad)
    assert result.status == "failed"
    assert "RuntimeError" in result.message and "torch.autograd.grad" in result.message


def test_a_shifted_eps_in_double_precision_is_told_the_dtype():
    def double(*args):
        return shift_through_the_score(*args).double()

    assert "float64" in checks.shift_eps(double).message
