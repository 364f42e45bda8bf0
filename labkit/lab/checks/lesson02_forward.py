"""The checks of lesson 02 on the forward process: a step, and the jump."""

import math

import torch
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, is_odd, random_table, sizes, whole
from labkit.markov import GaussianChain
from labkit.schedule import NoiseSchedule

# One step of the chain.


def _normal(x: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(x.shape, generator=generator, dtype=x.dtype)


def _noised(x: Tensor, beta: float, noise: Tensor) -> Tensor:
    return math.sqrt(1 - beta) * x + math.sqrt(beta) * noise


noising_step = Check(
    "noising_step",
    reference=lambda x, beta, generator: GaussianChain(beta).step(x, generator),
    draw_inputs=lambda g: (
        # large enough that noise which is cut off at ±2 is refused each time
        2 * torch.randn(*sizes(g, 2, 6, 12), generator=g),
        # far from ½, where √β and √(1−β) are one number
        between(0.1, 0.3, g) if is_odd(g) else between(0.7, 0.9, g),
        torch.Generator().manual_seed(whole(0, 10_000, g)),
    ),
    mistakes={
        "The noise has the standard deviation β: β is a variance, so multiply by √β.": (
            lambda x, beta, g: math.sqrt(1 - beta) * x + beta * _normal(x, g)
        ),
        "The noise comes from rand, which is uniform on 0 … 1, not normal; draw it with randn.": [
            lambda x, beta, g: _noised(x, beta, torch.rand(x.shape, generator=g)),
            lambda x, beta, g: _noised(x, beta, torch.rand(x.shape, generator=g) - 0.5),
            lambda x, beta, g: _noised(x, beta, 2 * torch.rand(x.shape, generator=g) - 1),
        ],
        "You do not scale the noise: it takes √β.": (
            lambda x, beta, g: math.sqrt(1 - beta) * x + _normal(x, g)
        ),
        "You multiply the noise by √(1−β), too; only x shrinks, and the noise is added after.": (
            lambda x, beta, g: math.sqrt(1 - beta) * (x + math.sqrt(beta) * _normal(x, g))
        ),
        "You shrink x by 1−β/2 or exp(−β/2), which is √(1−β) only for a β near 0.": [
            lambda x, beta, g: (1 - beta / 2) * x + math.sqrt(beta) * _normal(x, g),
            lambda x, beta, g: math.exp(-beta / 2) * x + math.sqrt(beta) * _normal(x, g),
        ],
        "You add noise without shrinking x first, so the variance grows without end; multiply x "
        "by √(1−β).": lambda x, beta, g: x + math.sqrt(beta) * _normal(x, g),
        "You shrink x by 1−β, without the root: the variance of x then shrinks by (1−β)².": (
            lambda x, beta, g: (1 - beta) * x + math.sqrt(beta) * _normal(x, g)
        ),
        "Signal and noise have changed places: √(1−β) belongs to x, √β to the noise.": (
            lambda x, beta, g: math.sqrt(beta) * x + math.sqrt(1 - beta) * _normal(x, g)
        ),
        "You take β for a standard deviation; it is a variance: √β times the noise, √(1−β) times "
        "x.": lambda x, beta, g: math.sqrt(1 - beta**2) * x + beta * _normal(x, g),
        "Both roots are missing: x takes √(1−β), and the noise √β.": (
            lambda x, beta, g: (1 - beta) * x + beta * _normal(x, g)
        ),
        "You add no noise: √β times a fresh draw of randn is missing.": (
            lambda x, beta, g: math.sqrt(1 - beta) * x
        ),
        "You add noise twice, which doubles its variance; once is enough.": (
            lambda x, beta, g: _noised(x, beta, _normal(x, g) + _normal(x, g))
        ),
        "You take two steps, each with its own noise; this function is one step.": (
            lambda x, beta, g: _noised(_noised(x, beta, _normal(x, g)), beta, _normal(x, g))
        ),
        "You draw one row of noise for all rows of the batch, or one number for each row; give "
        "randn the whole shape of x.": [
            lambda x, beta, g: _noised(x, beta, _normal(x[0], g)),
            lambda x, beta, g: _noised(x, beta, _normal(x[:, :1], g)),
        ],
        "You draw one number for the whole batch; every entry needs noise of its own: give randn "
        "the shape of x.": lambda x, beta, g: _noised(x, beta, _normal(x[0, 0], g)),
    },
    samples=1000,
    against=GaussianChain.step,
)


# The jump.


def _jump(x0: Tensor, t: Tensor, alpha_bar: Tensor, eps: Tensor) -> Tensor:
    return NoiseSchedule(alpha_bar).diffuse(x0, t, eps)


def _left(alpha_bar: Tensor, t: Tensor) -> Tensor:
    return alpha_bar[t].view(-1, 1, 1, 1)  # ᾱ_t of each picture


def _signal(alpha_bar: Tensor, t: Tensor) -> Tensor:
    return _left(alpha_bar, t).sqrt()


def _noise(alpha_bar: Tensor, t: Tensor) -> Tensor:
    return (1 - _left(alpha_bar, t)).sqrt()


def _of_one_step(x0: Tensor, t: Tensor, alpha_bar: Tensor, eps: Tensor) -> Tensor:
    alpha = torch.cat([alpha_bar[:1], alpha_bar[1:] / alpha_bar[:-1]])
    return _signal(alpha, t) * x0 + _noise(alpha, t) * eps


def _draw_jump(g: torch.Generator):
    """Pictures; in turn one of them is at the last time, and none."""
    x0, eps = torch.randn(2, *sizes(g, 4), generator=g)
    table = random_table(g)
    t = torch.randint(0, len(table) - 1, x0.shape[:1], generator=g)
    if is_odd(g):
        t[whole(0, len(t) - 1, g)] = len(table) - 1
    return x0.clamp(-1, 1), t, table, eps


jump = Check(
    "jump",
    reference=_jump,
    draw_inputs=_draw_jump,
    tolerance=1e-5,
    mistakes={
        "You multiply by ᾱ_t and 1−ᾱ_t, which are variances; x takes their roots.": (
            lambda x0, t, a, eps: _left(a, t) * x0 + (1 - _left(a, t)) * eps
        ),
        "The signal is multiplied by ᾱ_t; the root is missing: √ᾱ_t.": (
            lambda x0, t, a, eps: _left(a, t) * x0 + _noise(a, t) * eps
        ),
        "The noise is multiplied by 1−ᾱ_t; the root is missing: √(1−ᾱ_t).": (
            lambda x0, t, a, eps: _signal(a, t) * x0 + (1 - _left(a, t)) * eps
        ),
        "The noise is 1−√ᾱ_t; signal and noise do not add up to 1, their squares do: √(1−ᾱ_t).": (
            lambda x0, t, a, eps: _signal(a, t) * x0 + (1 - _signal(a, t)) * eps
        ),
        "Your times are off by one: alpha_bar[0] is ᾱ_0 = 1, so ᾱ_t is alpha_bar[t], not "
        "alpha_bar[t − 1].": lambda x0, t, a, eps: _signal(a, t - 1) * x0 + _noise(a, t - 1) * eps,
        "Your times are off by one: ᾱ_t is alpha_bar[t], not alpha_bar[t + 1].": [
            lambda x0, t, a, eps: _signal(a, t + 1) * x0 + _noise(a, t + 1) * eps,
            lambda x0, t, a, eps: _jump(x0, (t + 1).clamp(max=len(a) - 1), a, eps),
        ],
        "You use the time of the first picture for all; each picture has its own: alpha_bar[t].": (
            lambda x0, t, a, eps: _signal(a, t[:1]) * x0 + _noise(a, t[:1]) * eps
        ),
        "The factor of the noise is missing: √(1−ᾱ_t) times eps.": (
            lambda x0, t, a, eps: _signal(a, t) * x0 + eps
        ),
        "You add the noise without shrinking x0 first; x0 takes √ᾱ_t.": (
            lambda x0, t, a, eps: x0 + _noise(a, t) * eps
        ),
        "You leave out the noise: √(1−ᾱ_t) times eps.": lambda x0, t, a, eps: _signal(a, t) * x0,
        "You subtract the noise.": lambda x0, t, a, eps: _signal(a, t) * x0 - _noise(a, t) * eps,
        "You clamp the result; with noise in it, x_t may leave [−1, 1].": (
            lambda x0, t, a, eps: (_signal(a, t) * x0 + _noise(a, t) * eps).clamp(-1, 1)
        ),
        "You use α_t = ᾱ_t/ᾱ_{t−1}, a single step; the jump from 0 to t needs the whole product "
        "ᾱ_t.": _of_one_step,
        "Signal and noise have changed places: √ᾱ_t belongs to x0, √(1−ᾱ_t) to eps.": (
            lambda x0, t, a, eps: _noise(a, t) * x0 + _signal(a, t) * eps
        ),
        "Torch matches shapes from the right, so with the shape (B, 1) your ᾱ_t multiplies the "
        "rows inside each picture, not the rows of the batch: give it the shape (B, 1, 1, 1).": (
            lambda x0, t, a, eps: a[t, None].sqrt() * x0 + (1 - a[t, None]).sqrt() * eps
        ),
        "Torch matches shapes from the right, so your ᾱ_t multiplies the columns of the pictures, "
        "not the rows of the batch: give it the shape (B, 1, 1, 1).": (
            lambda x0, t, a, eps: a[t].sqrt() * x0 + (1 - a[t]).sqrt() * eps
        ),
    },
    against=NoiseSchedule.diffuse,
)
