"""The checks of lesson 02: the forward process, its jump, and schedules."""

import math

import torch
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.mixture import GaussianMixture
from labkit.schedule import NoiseSchedule, from_betas

# 1. One step of the chain.


def _noising_step(x: Tensor, beta: float, generator: torch.Generator) -> Tensor:
    return math.sqrt(1 - beta) * x + math.sqrt(beta) * _normal(x, generator)


def _normal(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, dtype=x.dtype)


def _uniform(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(x.shape, generator=generator, dtype=x.dtype)


def _one_number(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn((), generator=generator, dtype=x.dtype)


noising_step = Check(
    "noising_step",
    reference=_noising_step,
    draw_inputs=lambda g: (
        2 * torch.randn(4, 3, generator=g),
        # far from ½, where √β and √(1−β) are one number
        0.1 + 0.2 * torch.rand((), generator=g).item(),
        torch.Generator().manual_seed(int(torch.randint(10_000, (), generator=g))),
    ),
    mistakes={
        "The noise has the standard deviation β: β is a variance, so multiply by √β.": (
            lambda x, beta, generator: math.sqrt(1 - beta) * x + beta * _normal(x, generator)
        ),
        "The noise comes from rand, which is uniform on 0 … 1 and never negative; draw it with "
        "randn.": (
            lambda x, beta, generator: (
                math.sqrt(1 - beta) * x + math.sqrt(beta) * _uniform(x, generator)
            )
        ),
        "You add noise without shrinking x first, so the variance grows without end; multiply x "
        "by √(1−β).": (lambda x, beta, generator: x + math.sqrt(beta) * _normal(x, generator)),
        "You shrink x by 1−β, without the root: the variance of x then shrinks by (1−β)².": (
            lambda x, beta, generator: (1 - beta) * x + math.sqrt(beta) * _normal(x, generator)
        ),
        "Signal and noise have changed places: √(1−β) belongs to x, √β to the noise.": (
            lambda x, beta, generator: (
                math.sqrt(beta) * x + math.sqrt(1 - beta) * _normal(x, generator)
            )
        ),
        "You add noise twice, which doubles its variance; once is enough.": (
            lambda x, beta, generator: (
                math.sqrt(1 - beta) * x
                + math.sqrt(beta) * (_normal(x, generator) + _normal(x, generator))
            )
        ),
        "You draw one number for the whole batch; every entry needs noise of its own: give randn "
        "the shape of x.": (
            lambda x, beta, generator: (
                math.sqrt(1 - beta) * x + math.sqrt(beta) * _one_number(x, generator)
            )
        ),
    },
    law=400,
    against="labkit's forward process",
)


# 2. The table of the schedule.


def _alpha_bar_table(beta: Tensor) -> Tensor:
    return from_betas(beta).alpha_bar


def _with_one(alpha_bar: Tensor) -> Tensor:
    return torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar.double()])


alpha_bar_table = Check(
    "alpha_bar_table",
    reference=_alpha_bar_table,
    draw_inputs=lambda g: (0.001 + 0.02 * torch.rand(1000, generator=g, dtype=torch.float64),),
    tolerance=1e-12,
    mistakes={
        "Your table begins at t = 1, so every time is off by one: put ᾱ_0 = 1 in front.": (
            lambda beta: torch.cumprod(1 - beta, 0)
        ),
        "The product is taken in float32, which loses half of the digits over 1000 factors; stay "
        "in float64.": (lambda beta: _with_one(torch.cumprod(1 - beta.float(), 0))),
        "You multiply the β's themselves; what is left after a step is 1−β.": (
            lambda beta: _with_one(torch.cumprod(beta, 0))
        ),
        "You add up the β's (1 − Σβ), but each step takes its share of what is left: multiply the "
        "(1−β)'s.": (lambda beta: _with_one(1 - torch.cumsum(beta, 0))),
        "This is e^(−Σβ), the limit for tiny β: close, but the product of the (1−β)'s is exact.": (
            lambda beta: _with_one(torch.exp(-torch.cumsum(beta, 0)))
        ),
        "This is the product of the √(1−β)'s, the signal √ᾱ; the table holds its square, ᾱ.": (
            lambda beta: _with_one(torch.cumprod((1 - beta).sqrt(), 0))
        ),
    },
    against="labkit.schedule.from_betas",
)


# 3. The jump.


def _jump(x0: Tensor, t: Tensor, alpha_bar: Tensor, eps: Tensor) -> Tensor:
    return NoiseSchedule(alpha_bar).diffuse(x0, t, eps)


def _mix(signal: Tensor, x0: Tensor, noise: Tensor, eps: Tensor) -> Tensor:
    signal, noise = (part.view(-1, 1, 1, 1).to(x0.dtype) for part in (signal, noise))
    return signal * x0 + noise * eps


def _random_table(g: torch.Generator) -> Tensor:
    return _alpha_bar_table(0.01 + 0.1 * torch.rand(50, generator=g, dtype=torch.float64))


jump = Check(
    "jump",
    reference=_jump,
    draw_inputs=lambda g: (
        torch.rand(4, 3, 4, 4, generator=g) * 2 - 1,
        # one time of a single step back, where ᾱ and α are the furthest apart, and never 0
        torch.randint(2, 51, (4,), generator=g),
        _random_table(g),
        torch.randn(4, 3, 4, 4, generator=g),
    ),
    tolerance=1e-5,
    mistakes={
        "You multiply by ᾱ_t and 1−ᾱ_t, which are variances; x takes their roots.": (
            lambda x0, t, alpha_bar, eps: _mix(alpha_bar[t], x0, 1 - alpha_bar[t], eps)
        ),
        "The signal is multiplied by ᾱ_t; the root is missing: √ᾱ_t.": (
            lambda x0, t, alpha_bar, eps: _mix(alpha_bar[t], x0, (1 - alpha_bar[t]).sqrt(), eps)
        ),
        "The noise is multiplied by 1−ᾱ_t; the root is missing: √(1−ᾱ_t).": (
            lambda x0, t, alpha_bar, eps: _mix(alpha_bar[t].sqrt(), x0, 1 - alpha_bar[t], eps)
        ),
        "The noise is 1−√ᾱ_t; signal and noise do not add up to 1, their squares do: √(1−ᾱ_t).": (
            lambda x0, t, alpha_bar, eps: _mix(
                alpha_bar[t].sqrt(), x0, 1 - alpha_bar[t].sqrt(), eps
            )
        ),
        "Your times are off by one: alpha_bar[0] is ᾱ_0 = 1, so ᾱ_t is alpha_bar[t], not "
        "alpha_bar[t − 1].": (
            lambda x0, t, alpha_bar, eps: _mix(
                alpha_bar[t - 1].sqrt(), x0, (1 - alpha_bar[t - 1]).sqrt(), eps
            )
        ),
        "You use α_t = ᾱ_t/ᾱ_{t−1}, a single step; the jump from 0 to t needs the whole product "
        "ᾱ_t.": (
            lambda x0, t, alpha_bar, eps: _mix(
                (alpha_bar[t] / alpha_bar[t - 1]).sqrt(),
                x0,
                (1 - alpha_bar[t] / alpha_bar[t - 1]).sqrt(),
                eps,
            )
        ),
        "Signal and noise have changed places: √ᾱ_t belongs to x0, √(1−ᾱ_t) to eps.": (
            lambda x0, t, alpha_bar, eps: _mix(
                (1 - alpha_bar[t]).sqrt(), x0, alpha_bar[t].sqrt(), eps
            )
        ),
        "Torch matches shapes from the right, so your ᾱ_t multiplies the columns of the pictures, "
        "not the rows of the batch: give it the shape (B, 1, 1, 1).": (
            lambda x0, t, alpha_bar, eps: (
                alpha_bar[t].sqrt().float() * x0 + (1 - alpha_bar[t]).sqrt().float() * eps
            )
        ),
    },
    against="labkit's NoiseSchedule.diffuse",
)


# 4. A schedule for larger pictures.


def _shifted_alpha_bar(alpha_bar: Tensor, k: float) -> Tensor:
    return torch.sigmoid(torch.logit(alpha_bar) - 2 * math.log(k))


shifted_alpha_bar = Check(
    "shifted_alpha_bar",
    reference=_shifted_alpha_bar,
    draw_inputs=lambda g: (
        _random_table(g),
        float(2 ** int(torch.randint(1, 4, (), generator=g))),
    ),
    tolerance=1e-9,
    mistakes={
        "You shift by log k; averaging k × k pixels divides the variance of the noise by k², so "
        "the shift is 2 log k.": (
            lambda alpha_bar, k: torch.sigmoid(torch.logit(alpha_bar) - math.log(k))
        ),
        "You shift the wrong way: a larger picture needs more noise, so its log-SNR goes down.": (
            lambda alpha_bar, k: torch.sigmoid(torch.logit(alpha_bar) + 2 * math.log(k))
        ),
        "You divide ᾱ by k²; it is the ratio ᾱ/(1−ᾱ) that must fall by k², and ᾱ_0 must stay 1.": (
            lambda alpha_bar, k: alpha_bar / k**2
        ),
        "That is the shifted log-SNR; go back from it to ᾱ, with torch.sigmoid.": (
            lambda alpha_bar, k: torch.logit(alpha_bar) - 2 * math.log(k)
        ),
        "That is the shifted ratio ᾱ/(1−ᾱ); go back from it to ᾱ = SNR/(1+SNR).": (
            lambda alpha_bar, k: alpha_bar / (1 - alpha_bar) / k**2
        ),
        "You shift by 2 log₂ k or 2 log₁₀ k; the log-SNR is a natural logarithm, math.log.": (
            lambda alpha_bar, k: torch.sigmoid(torch.logit(alpha_bar) - 2 * math.log2(k))
        ),
    },
    against="the log-SNR moved down by 2 log k",
)


# 5. Mending the end of a schedule.


def _rescaled_alpha_bar(alpha_bar: Tensor) -> Tensor:
    signal = alpha_bar.sqrt()
    return ((signal - signal[-1]) / (1 - signal[-1])) ** 2


def _rescaled_without_root(alpha_bar: Tensor) -> Tensor:
    return (alpha_bar - alpha_bar[-1]) / (1 - alpha_bar[-1])


rescaled_alpha_bar = Check(
    "rescaled_alpha_bar",
    reference=_rescaled_alpha_bar,
    draw_inputs=lambda g: (_random_table(g),),
    tolerance=1e-9,
    mistakes={
        "You move and stretch ᾱ itself; the recipe moves the signal √ᾱ: take the root first, and "
        "square at the end.": _rescaled_without_root,
        "This is the new signal √ᾱ; square it to get ᾱ.": (
            lambda alpha_bar: (alpha_bar.sqrt() - alpha_bar[-1].sqrt()) / (1 - alpha_bar[-1].sqrt())
        ),
        "The end is 0 now, but the start is no longer 1: stretch the signal by 1/(1−√ᾱ_T) too.": (
            lambda alpha_bar: (alpha_bar.sqrt() - alpha_bar[-1].sqrt()) ** 2
        ),
        "You only set the last entry to 0, so that the whole rest of the signal goes in a single "
        "step; move the whole table down, then stretch it.": (
            lambda alpha_bar: torch.cat([alpha_bar[:-1], torch.zeros(1, dtype=torch.float64)])
        ),
    },
    against="the signal moved to end at 0 and stretched to start at 1",
)


# 6. The best guess of the clean picture.


def _best_guess(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    data = GaussianMixture(points)
    return data.denoiser(NoiseSchedule(torch.tensor([1.0, alpha_bar_t])))(x, 1).x0


def _share(x: Tensor, points: Tensor, variance: float, factor: float = -0.5, dim: int = 1):
    square = (x[:, None] - points).square().sum(-1)  # (B, N)
    return (factor * square / variance).softmax(dim)


def _scaled(points: Tensor, alpha_bar_t: float) -> Tensor:
    return math.sqrt(alpha_bar_t) * points


def _nearest(x: Tensor, alpha_bar_t: float, points: Tensor) -> Tensor:
    return points[_share(x, _scaled(points, alpha_bar_t), 1.0).argmax(1)]


best_guess = Check(
    "best_guess",
    reference=_best_guess,
    draw_inputs=lambda g: (
        torch.randn(6, 2, generator=g, dtype=torch.float64),
        0.2 + 0.5 * torch.rand((), generator=g).item(),
        torch.randn(6, 2, generator=g, dtype=torch.float64),
    ),
    tolerance=1e-6,
    mistakes={
        "You compare x_t with the points themselves, but by time t they have shrunk: measure the "
        "distance to √ᾱ_t times each point.": (
            lambda x, alpha_bar_t, points: _share(x, points, 1 - alpha_bar_t) @ points
        ),
        "You scale the points by ᾱ_t; the signal is √ᾱ_t.": (
            lambda x, alpha_bar_t, points: _share(x, alpha_bar_t * points, 1 - alpha_bar_t) @ points
        ),
        "You divide by √(1−ᾱ_t); the exponent of a Gaussian holds the variance, 1−ᾱ_t.": (
            lambda x, alpha_bar_t, points: (
                _share(x, _scaled(points, alpha_bar_t), math.sqrt(1 - alpha_bar_t)) @ points
            )
        ),
        "The ½ in the exponent is missing: −‖x_t − √ᾱ_t x_i‖² / (2 (1−ᾱ_t)).": (
            lambda x, alpha_bar_t, points: (
                _share(x, _scaled(points, alpha_bar_t), 1 - alpha_bar_t, factor=-1) @ points
            )
        ),
        "The minus sign is missing: the farthest point gets the largest share.": (
            lambda x, alpha_bar_t, points: (
                _share(x, _scaled(points, alpha_bar_t), 1 - alpha_bar_t, factor=0.5) @ points
            )
        ),
        "The softmax runs over the batch; the shares of the points must sum to 1 in every row: "
        "dim=1.": (
            lambda x, alpha_bar_t, points: (
                _share(x, _scaled(points, alpha_bar_t), 1 - alpha_bar_t, dim=0) @ points
            )
        ),
        "You average the shrunken points √ᾱ_t x_i, which guesses √ᾱ_t x_0; average the points.": (
            lambda x, alpha_bar_t, points: (
                _share(x, _scaled(points, alpha_bar_t), 1 - alpha_bar_t)
                @ _scaled(points, alpha_bar_t)
            )
        ),
        "You return the nearest point; the best guess is the average over all of them, each with "
        "its share.": _nearest,
    },
    against="labkit.mixture's exact denoiser",
)
