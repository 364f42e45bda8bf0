"""The check of lesson 04 on inversion, from the picture up to its noise."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from labkit import sampler
from labkit.denoiser import clip
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import random_schedule, sizes, whole
from labkit.mixture import GaussianMixture
from labkit.schedule import NoiseSchedule


class _AnswersAtZero:
    """A denoiser that answers at time 0 as at 1, so that an answer which keeps the 0 of the list
    gives numbers, and its mistake can be named."""

    def __init__(self, denoise):
        self.denoise, self.schedule = denoise, denoise.schedule

    def __call__(self, x: Tensor, t: int | Tensor, cond=None):
        return self.denoise(x, t + (t == 0), cond)


def _encode(denoise, x0: Tensor, times: list[int]) -> Tensor:
    *_, last = sampler.invert(denoise, x0, times)
    return last.x


def _rising(times: list[int]) -> list[int]:
    """The times of the inversion, from the smallest above 0 up."""
    return [t for t in reversed(times) if t > 0]


def _climb(denoise, x0: Tensor, times: list[int], step: Callable) -> Tensor:
    """From time to time by step(schedule, x, prediction at t, t, u)."""
    x, rising = x0, _rising(times)
    for t, u in zip(rising, rising[1:]):
        x = step(denoise.schedule, x, denoise(x, t), t, u)
    return x


def _mix(schedule: NoiseSchedule, u: int, guess: Tensor, eps: Tensor) -> Tensor:
    return schedule.signal(u, guess) * guess + schedule.noise(u, eps) * eps


def _encode_asking_above(denoise, x0: Tensor, times: list[int]) -> Tensor:
    x, rising = x0, _rising(times)
    for u in rising[1:]:
        pred = denoise(x, u)
        x = _mix(denoise.schedule, u, pred.x0, pred.eps)
    return x


def _encode_by_the_true_x0(denoise, x0: Tensor, times: list[int]) -> Tensor:
    x, rising = x0, _rising(times)
    for t, u in zip(rising, rising[1:]):
        x = _mix(denoise.schedule, u, x0, denoise(x, t).eps)
    return x


def _encode_from_zero(denoise, x0: Tensor, times: list[int]) -> Tensor:
    x, rising = x0, times[::-1]
    for t, u in zip(rising, rising[1:]):
        pred = denoise(x, max(t, 1))  # a learner may have met the error at 0
        x = _mix(denoise.schedule, u, pred.x0, pred.eps)
    return x


def _encode_downwards(denoise, x0: Tensor, times: list[int]) -> Tensor:
    x, falling = x0, times[:-1]
    for t, u in zip(falling, falling[1:]):
        pred = denoise(x, t)
        x = _mix(denoise.schedule, u, pred.x0, pred.eps)
    return x


def _clip_in_inversion(schedule, x, pred, t, u):
    return _mix(schedule, u, clip(pred.x0), pred.eps)


def _draw_fresh_noise(schedule, x, pred, t, u):
    return _mix(schedule, u, pred.x0, torch.randn_like(x))


def _scale_x_itself(schedule, x, pred, t, u):
    return _mix(schedule, u, x, pred.eps)


def _keep_the_signal_of_t(schedule, x, pred, t, u):
    return schedule.signal(t, x) * pred.x0 + schedule.noise(u, x) * pred.eps


def _keep_the_noise_of_t(schedule, x, pred, t, u):
    return schedule.signal(u, x) * pred.x0 + schedule.noise(t, x) * pred.eps


def _mix_by_variances(schedule, x, pred, t, u):
    return schedule.signal(u, x) ** 2 * pred.x0 + schedule.noise(u, x) ** 2 * pred.eps


def _draw_encode(g: torch.Generator):
    """Clean points, the denoiser that knows them, and falling times, which need not begin at T,
    nor lead over 1."""
    B, K, D = sizes(g, 3)
    data = GaussianMixture(2 * torch.randn(K, D, generator=g), 0.3)
    schedule = random_schedule(g)
    inside = torch.randperm(schedule.T, generator=g)[: whole(4, 8, g)] + 1
    times = sorted(inside.tolist(), reverse=True)
    return _AnswersAtZero(data.denoiser(schedule)), data.sample(B, g)[0], [*times, 0]


encode = Check(
    "encode",
    reference=_encode,
    draw_inputs=_draw_encode,
    tolerance=1e-9,
    mistakes={
        "You ask the denoiser about the time that the step leads to; x still stands at the lower "
        "one: denoise(x, t), then go up to the next.": _encode_asking_above,
        "You clip the guess x̂_0, which sampling cannot undo; do not clip in inversion.": (
            partial(_climb, step=_clip_in_inversion)
        ),
        "You keep the true x0 as the guess in every step; sampling will not know it, so use "
        "pred.x0.": _encode_by_the_true_x0,
        "You draw fresh noise in every step, which is the forward process of lesson 02; here the "
        "noise is the predicted one, pred.eps.": partial(_climb, step=_draw_fresh_noise),
        "In each step you scale x itself where the guess x̂_0 belongs: √ᾱ_u · pred.x0.": (
            partial(_climb, step=_scale_x_itself)
        ),
        "You walk the list as it falls, from noise to picture; turn it around, and leave out 0.": (
            _encode_downwards
        ),
        "The 0 stays in the list; the clean picture stands for x at the smallest time above 0, so "
        "leave it out.": _encode_from_zero,
        "The factor of x̂_0 is that of the time you leave; the step leads to u: √ᾱ_u.": (
            partial(_climb, step=_keep_the_signal_of_t)
        ),
        "The factor of ε̂ is that of the time you leave; the step leads to u: √(1−ᾱ_u).": (
            partial(_climb, step=_keep_the_noise_of_t)
        ),
        "The roots are missing: √ᾱ_u · pred.x0 + √(1−ᾱ_u) · pred.eps.": (
            partial(_climb, step=_mix_by_variances)
        ),
        "You stop one step early: the last step leads up to times[0] itself.": (
            lambda denoise, x0, times: _encode(denoise, x0, times[1:])
        ),
    },
    against=sampler.invert,
)
