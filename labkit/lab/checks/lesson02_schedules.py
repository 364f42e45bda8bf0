"""The checks of lesson 02 on schedules: the table, larger pictures, and zero terminal SNR."""

import math
from functools import partial

import torch
from torch import Tensor

from labkit.lab.checks import compare
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import SMALL, between, is_odd, random_table, size
from labkit.schedule import from_alpha_bar, from_betas

# The table of the schedule.


def _alpha_bar_table(beta: Tensor) -> Tensor:
    return from_betas(beta).alpha_bar


def _with_one(alpha_bar: Tensor) -> Tensor:
    return torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar.double()])


def _draw_betas(g: torch.Generator):
    """In turn more than the lesson's 1000 steps and fewer, so that this number is not built in."""
    T = size(g, 300, 900) if is_odd(g) else size(g, 1100, 1300)
    return (0.001 + 0.02 * torch.rand(T, generator=g, dtype=torch.float64),)


alpha_bar_table = Check(
    "alpha_bar_table",
    reference=_alpha_bar_table,
    draw_inputs=_draw_betas,
    tolerance=1e-12,
    mistakes={
        "Your table begins at t = 1, so every time is off by one: put ᾱ_0 = 1 in front.": (
            lambda beta: torch.cumprod(1 - beta, 0)
        ),
        "0 stands in front of your table; ᾱ_0 is 1, since no step has been taken.": (
            lambda beta: torch.cat([torch.zeros(1).double(), torch.cumprod(1 - beta, 0)])
        ),
        "These are the α_t = 1−β_t of single steps; ᾱ_t is their product up to t.": [
            lambda beta: _with_one(1 - beta),
            lambda beta: 1 - beta,
        ],
        "You multiply the β's; what each step keeps is 1−β: the product of those.": [
            lambda beta: _with_one(torch.cumprod(beta, 0)),
            lambda beta: _with_one(1 - torch.cumprod(beta, 0)),
        ],
        "This is 1−ᾱ, the variance of the noise; the table holds ᾱ, the share of the picture.": (
            lambda beta: 1 - _alpha_bar_table(beta)
        ),
        "You put the 0 in front before you multiply, so every product is 0; ᾱ_0 is 1.": (
            lambda beta: torch.zeros(len(beta) + 1, dtype=torch.float64)
        ),
        "You subtract the sum of the β's; each step takes its share of what is left, so the "
        "(1−β)'s are multiplied.": lambda beta: _with_one(1 - torch.cumsum(beta, 0)),
        "ᾱ_0 = 1 stands at the end of your table; it belongs to time 0, in front.": (
            lambda beta: _with_one(torch.cumprod(1 - beta, 0)).roll(-1)
        ),
        "The last time is missing: T steps have T + 1 times, 0 … T.": (
            lambda beta: _with_one(torch.cumprod(1 - beta, 0))[:-1]
        ),
        "This is e^(−Σβ), the limit for tiny β: close, but the product of the (1−β)'s is exact.": (
            lambda beta: _with_one(torch.exp(-torch.cumsum(beta, 0)))
        ),
        "This is the product of the √(1−β)'s, the signal √ᾱ; the table holds its square, ᾱ.": (
            lambda beta: _with_one(torch.cumprod((1 - beta).sqrt(), 0))
        ),
    },
    against=from_betas,
)


# A schedule for larger pictures.


def _shifted_alpha_bar(alpha_bar: Tensor, k: float) -> Tensor:
    return torch.sigmoid(torch.logit(alpha_bar) - 2 * math.log(k))


def _by_ratio(snr: Tensor) -> Tensor:
    return snr / (1 + snr)


def _clamped(alpha_bar: Tensor, k: float, eps: float) -> Tensor:
    return _shifted_alpha_bar(alpha_bar.clamp(eps, 1 - eps), k)


def _softened(alpha_bar: Tensor, k: float, eps: float) -> Tensor:
    return _by_ratio(alpha_bar / (1 - alpha_bar + eps) / k**2)


shifted_alpha_bar = Check(
    "shifted_alpha_bar",
    reference=_shifted_alpha_bar,
    draw_inputs=lambda g: (random_table(g), between(1.5, 8, g)),
    tolerance=1e-13,
    mistakes={
        "You shift by log k; averaging k × k pixels divides the variance of the noise by k², so "
        "the shift is 2 log k.": (
            lambda alpha_bar, k: torch.sigmoid(torch.logit(alpha_bar) - math.log(k))
        ),
        "You shift the wrong way: a larger picture needs more noise, so its log-SNR goes down.": (
            lambda alpha_bar, k: torch.sigmoid(torch.logit(alpha_bar) + 2 * math.log(k))
        ),
        "You divide the log-SNR by k²; it is moved, by subtracting 2 log k.": (
            lambda alpha_bar, k: torch.sigmoid(torch.logit(alpha_bar) / k**2)
        ),
        "ᾱ_0 comes out as nan: there ᾱ/(1−ᾱ) is infinite, and ∞/(1+∞) is no number. Write "
        "1/(1+1/SNR), or go through the logarithm: torch.logit and torch.sigmoid.": (
            lambda alpha_bar, k: _by_ratio(alpha_bar / (1 - alpha_bar) / k**2)
        ),
        "You replace nan by 0, but the log-SNR at t = 0 is +∞, and ᾱ_0 must stay 1.": (
            lambda alpha_bar, k: _by_ratio(alpha_bar / (1 - alpha_bar) / k**2).nan_to_num()
        ),
        "You clamp ᾱ, so ᾱ_0 is no longer 1; torch.logit and torch.sigmoid handle infinity.": [
            partial(_clamped, eps=eps) for eps in SMALL
        ],
        "You add a small number to 1−ᾱ, so ᾱ_0 is no longer 1; write 1/(1+1/SNR), or go through "
        "the logarithm: torch.logit and torch.sigmoid handle infinity.": [
            partial(_softened, eps=eps) for eps in SMALL
        ],
        "You subtract (log k)²; log k² is 2 log k.": (
            lambda alpha_bar, k: torch.sigmoid(torch.logit(alpha_bar) - math.log(k) ** 2)
        ),
        "You subtract 2k; the logarithm is missing: 2 log k.": (
            lambda alpha_bar, k: torch.sigmoid(torch.logit(alpha_bar) - 2 * k)
        ),
        "Here log is the natural logarithm: math.log, not log2 or log10.": [
            lambda alpha_bar, k: torch.sigmoid(torch.logit(alpha_bar) - 2 * math.log2(k)),
            lambda alpha_bar, k: torch.sigmoid(torch.logit(alpha_bar) - 2 * math.log10(k)),
        ],
        "You divide ᾱ by k²; it is the ratio ᾱ/(1−ᾱ) that must fall by k², and ᾱ_0 must stay 1.": (
            lambda alpha_bar, k: alpha_bar / k**2
        ),
        "That is the shifted log-SNR; go back from it to ᾱ, with torch.sigmoid.": (
            lambda alpha_bar, k: torch.logit(alpha_bar) - 2 * math.log(k)
        ),
        "That is the shifted ratio ᾱ/(1−ᾱ); go back from it to ᾱ = SNR/(1+SNR).": (
            lambda alpha_bar, k: alpha_bar / (1 - alpha_bar) / k**2
        ),
    },
    against="the log-SNR moved down by 2 log k",
)


# Zero terminal SNR.


def _rescaled_alpha_bar(alpha_bar: Tensor) -> Tensor:
    signal = alpha_bar.sqrt()
    return ((signal - signal[-1]) / (1 - signal[-1])) ** 2


def _rescaled_from(first: Tensor, signal: Tensor) -> Tensor:
    """The signal moved to end at 0 and stretched to keep its value at t = 1, after this first."""
    stretched = (signal - signal[-1]) * signal[1] / (signal[1] - signal[-1])
    return torch.cat([first, stretched[1:]]) ** 2


def _keeps_the_first_step(alpha_bar: Tensor) -> Tensor:
    return _rescaled_from(torch.ones(1).double(), alpha_bar.sqrt())


def _keeps_only_the_first_step(alpha_bar: Tensor) -> Tensor:
    signal = alpha_bar.sqrt()
    start = (1 - signal[-1]) * signal[1] / (signal[1] - signal[-1])
    return _rescaled_from(start[None], signal)


def _stops_above_0(alpha_bar: Tensor, eps: float) -> Tensor:
    return _rescaled_alpha_bar(alpha_bar).clamp(min=eps)


def _rescaled_without_root(alpha_bar: Tensor) -> Tensor:
    return (alpha_bar - alpha_bar[-1]) / (1 - alpha_bar[-1])


STOPS_ABOVE_0 = "Your table stops just above 0; it must end at 0."


def _is_right_but_for_the_end(right: Tensor, yours: Tensor) -> bool:
    return bool(yours[-1] > 0) and compare.difference(right[:-1], yours[:-1]) < 1e-13


rescaled_alpha_bar = Check(
    "rescaled_alpha_bar",
    reference=_rescaled_alpha_bar,
    draw_inputs=lambda g: (random_table(g),),
    tolerance=1e-13,
    mistakes={
        "You move and stretch ᾱ itself; the recipe moves the signal √ᾱ: take the root first, and "
        "square at the end.": _rescaled_without_root,
        "This is the new signal √ᾱ; square it to get ᾱ.": (
            lambda alpha_bar: (alpha_bar.sqrt() - alpha_bar[-1].sqrt()) / (1 - alpha_bar[-1].sqrt())
        ),
        "You set the last entry to 0 and leave the rest; the table then jumps at the end. Move "
        "and stretch the whole signal.": lambda alpha_bar: torch.cat(
            [alpha_bar[:-1], torch.zeros(1).double()]
        ),
        STOPS_ABOVE_0: [
            lambda alpha_bar: from_alpha_bar(_rescaled_alpha_bar(alpha_bar)).alpha_bar,
            *(partial(_stops_above_0, eps=eps) for eps in SMALL),
        ],
        "You keep the value at t = 1, as the paper does; our table has a t = 0: keep √ᾱ_0 = 1.": [
            _keeps_the_first_step,
            _keeps_only_the_first_step,
        ],
        "You move ᾱ down, and stretch nothing; the recipe moves and stretches the signal √ᾱ.": (
            lambda alpha_bar: alpha_bar - alpha_bar[-1]
        ),
        "The end is 0 now, but the start is no longer 1: stretch the signal by 1/(1−√ᾱ_T) too.": (
            lambda alpha_bar: (alpha_bar.sqrt() - alpha_bar[-1].sqrt()) ** 2
        ),
    },
    symptoms={STOPS_ABOVE_0: _is_right_but_for_the_end},
    against="the signal moved to end at 0 and stretched to start at 1",
)
