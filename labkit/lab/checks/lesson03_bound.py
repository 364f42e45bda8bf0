"""The check of lesson 03 on a term of the bound, with a learned variance."""

import math

import torch
from torch import Tensor

from labkit import likelihood
from labkit.denoiser import Prediction
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import random_table, random_times, sizes
from labkit.schedule import NoiseSchedule


def _bound_term(
    x0: Tensor, guess: Tensor, x: Tensor, o: Tensor, t: int, s: int, alpha_bar: Tensor
) -> Tensor:
    schedule = NoiseSchedule(alpha_bar[[0, s, t]])  # in which s is time 1 and t is time 2
    return likelihood.term(schedule, Prediction(guess, x, (o + 1) / 2), x0, x, 2).to(x.dtype)


def _variances(t: int, s: int, alpha_bar: Tensor) -> tuple[Tensor, Tensor]:
    """β̃ of the posterior and β of the noising step."""
    large = 1 - alpha_bar[t] / alpha_bar[s]
    return large * (1 - alpha_bar[s]) / (1 - alpha_bar[t]), large


def _log_variance(v: Tensor, t: int, s: int, alpha_bar: Tensor) -> Tensor:
    """log σ² of the model, (B, C, H, W)."""
    small, large = _variances(t, s, alpha_bar)
    return v * large.log() + (1 - v) * small.log()


def _gap(x0: Tensor, guess: Tensor, share: Tensor, t: int, s: int, alpha_bar: Tensor) -> Tensor:
    """By how much the means differ, if the share is √ᾱ_s."""
    return share * _variances(t, s, alpha_bar)[1] / (1 - alpha_bar[t]) * (x0 - guess)


def _right_gap(x0: Tensor, guess: Tensor, t: int, s: int, alpha_bar: Tensor) -> Tensor:
    return _gap(x0, guess, alpha_bar[s].sqrt(), t, s, alpha_bar)


def _bits(nats: Tensor) -> Tensor:
    return nats.flatten(1).mean(1) / math.log(2)


def _kl(log_first: Tensor, log_second: Tensor, gap: Tensor) -> Tensor:
    """KL of two Gaussians by the logarithms of their variances and the gap of their means."""
    ratio = (log_first - log_second).exp()
    return _bits((log_second - log_first + ratio - 1 + gap**2 / log_second.exp()) / 2)


def _term(gap: Tensor, log_model: Tensor, t: int, s: int, alpha_bar: Tensor) -> Tensor:
    return _kl(_variances(t, s, alpha_bar)[0].log(), log_model, gap)


def _of_mixed_variances(x0, guess, x, o, t, s, alpha_bar):
    small, large = _variances(t, s, alpha_bar)
    v = (o + 1) / 2
    log_model = (v * large + (1 - v) * small).abs().log()
    return _term(_right_gap(x0, guess, t, s, alpha_bar), log_model, t, s, alpha_bar)


def _reversed(x0, guess, x, o, t, s, alpha_bar):
    log_model = _log_variance((o + 1) / 2, t, s, alpha_bar)
    log_small = _variances(t, s, alpha_bar)[0].log()
    return _kl(log_model, log_small, _right_gap(x0, guess, t, s, alpha_bar))


def _only_means(x0, guess, x, o, t, s, alpha_bar):
    variance = _log_variance((o + 1) / 2, t, s, alpha_bar).exp()
    return _bits(_right_gap(x0, guess, t, s, alpha_bar) ** 2 / (2 * variance))


def _above_the_small(x0, guess, x, o, t, s, alpha_bar):
    small = _variances(t, s, alpha_bar)[0]
    means = _bits(_right_gap(x0, guess, t, s, alpha_bar) ** 2 / (2 * small))
    return means + _bound_term(x0, x0, x, o, t, s, alpha_bar)


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
        "You use the network's output as v itself; it runs from −1 to 1: v = (o+1)/2.": (
            lambda x0, guess, x, o, t, s, a: _term(
                _right_gap(x0, guess, t, s, a), _log_variance(o, t, s, a), t, s, a
            )
        ),
        "You squash the output with a sigmoid; Improved DDPM reads it as v = (o+1)/2.": (
            lambda x0, guess, x, o, t, s, a: _term(
                _right_gap(x0, guess, t, s, a), _log_variance(o.sigmoid(), t, s, a), t, s, a
            )
        ),
        "You mix the variances; mix their logarithms: log σ² = v log β + (1−v) log β̃.": (
            _of_mixed_variances
        ),
        "v and 1−v have changed places: v = 1 is the large variance β.": (
            lambda x0, guess, x, o, t, s, a: _term(
                _right_gap(x0, guess, t, s, a), _log_variance((1 - o) / 2, t, s, a), t, s, a
            )
        ),
        "You mix the logarithms to σ, not σ²: drop the ½, the formula takes variances.": (
            lambda x0, guess, x, o, t, s, a: _term(
                _right_gap(x0, guess, t, s, a), _log_variance((o + 1) / 2, t, s, a) / 2, t, s, a
            )
        ),
        "The term is reversed: KL(posterior ‖ model), the average is over the posterior.": (
            _reversed
        ),
        "The ½ in front of the bracket is missing.": lambda *given: 2 * _bound_term(*given),
        "The ½ stands before the first part only; it halves the gap of the means, too.": (
            lambda *given: _bound_term(*given) + _only_means(*given)
        ),
        "The −1 is forgotten: with equal Gaussians the term must be 0.": (
            lambda *given: _bound_term(*given) + 0.5 / math.log(2)
        ),
        "The weight of x0 − guess holds ᾱ_s; the root is missing: c₁ = √ᾱ_s β/(1−ᾱ_t).": (
            lambda x0, guess, x, o, t, s, a: _term(
                _gap(x0, guess, a[s], t, s, a), _log_variance((o + 1) / 2, t, s, a), t, s, a
            )
        ),
        "The weight of x0 − guess holds ᾱ_t; it is c₁ = √ᾱ_s β/(1−ᾱ_t).": [
            lambda x0, guess, x, o, t, s, a: _term(
                _gap(x0, guess, a[t].sqrt(), t, s, a), _log_variance((o + 1) / 2, t, s, a), t, s, a
            ),
            lambda x0, guess, x, o, t, s, a: _term(
                _gap(x0, guess, a[t], t, s, a), _log_variance((o + 1) / 2, t, s, a), t, s, a
            ),
        ],
        "You multiply by log 2; nats over log 2 are bits.": (
            lambda *given: _bound_term(*given) * math.log(2) ** 2
        ),
        "You add up the pixels; bits per dimension are their mean.": (
            lambda x0, *rest: _bound_term(x0, *rest) * x0[0].numel()
        ),
        "Those are nats; divide by log 2 for bits.": (
            lambda *given: _bound_term(*given) * math.log(2)
        ),
        "You average over the batch as well; each picture has a term of its own: shape (B,).": (
            lambda *given: _bound_term(*given).mean()
        ),
        "The weight of x0 is forgotten: the means differ by c₁ (x0 − guess), not by x0 − guess.": (
            lambda x0, guess, x, o, t, s, a: _term(
                x0 - guess, _log_variance((o + 1) / 2, t, s, a), t, s, a
            )
        ),
        "You divide the gap of the means by β̃; below it stands the model's variance σ².": (
            _above_the_small
        ),
        "The term holds only the means; what a wrong variance costs is missing.": _only_means,
    },
    against=likelihood.term,
)
