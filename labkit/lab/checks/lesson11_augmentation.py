"""The check of lesson 11 on noise conditioning augmentation: the smaller picture, enlarged, with
noise of a level that the network is told."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import is_odd, random_schedule, size, sizes, turn
from labkit.schedule import NoiseSchedule
from labkit.systems.imagen_stage import ImagenStage


def _augmented_low(
    low: Tensor, side: int, levels: Tensor, schedule: NoiseSchedule, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    config = SimpleNamespace(T=schedule.T, net=SimpleNamespace(size=side))
    stage = SimpleNamespace(config=config, denoiser=SimpleNamespace(schedule=schedule))
    return ImagenStage.noised(stage, ImagenStage.enlarged(stage, low), levels, generator)


def _larger(low: Tensor, side: int, mode: str = "bilinear", **options) -> Tensor:
    return F.interpolate(low, size=(side, side), mode=mode, **options)


def _times(levels: Tensor, schedule: NoiseSchedule) -> Tensor:
    return (levels * schedule.T).round().long()


def _randn(shape: torch.Size, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator)


def _diffuse(seen, eps, levels, times, schedule):
    return schedule.diffuse(seen, times, eps)


def _with(larger=_larger, times=_times, draw=_randn, mix=_diffuse):
    """The answer with another larger(low, side), times(levels, schedule), which it tells,
    draw(shape, generator), or mix(seen, eps, levels (B, 1, 1, 1), times (B,), schedule)."""

    def answer(low, side, levels, schedule, generator):
        seen, own = larger(low, side), times(levels, schedule)
        eps = draw(seen.shape, generator)
        return mix(seen, eps, levels.view(-1, 1, 1, 1), own, schedule), own

    return answer


def _telling(times):
    """The answer that tells the network other times: times(levels, schedule)."""

    def answer(low, side, levels, schedule, generator):
        seen, _ = _augmented_low(low, side, levels, schedule, generator)
        return seen, times(levels, schedule)

    return answer


def _noised_small(low, side, levels, schedule, generator):
    times = _times(levels, schedule)
    return _larger(schedule.diffuse(low, times, _randn(low.shape, generator)), side), times


def _clipped_after(low, side, levels, schedule, generator):
    seen, times = _augmented_low(low, side, levels, schedule, generator)
    return seen.clamp(-1, 1), times


def _draw_low(g: torch.Generator):
    """Small pictures, each with a level of its own, one of them without noise."""
    B, C, _ = sizes(g, 3)
    small, times = size(g, 3, 6), 2 + turn(g, 2)
    levels = 0.05 + 0.9 * torch.rand(B, generator=g)
    levels[int(torch.randint(B, (), generator=g))] = 0.0 if is_odd(g) else 1.0
    low = torch.rand(B, C, small, small, generator=g) * 2 - 1
    own = torch.Generator().manual_seed(g.initial_seed())
    return low, times * small, levels, random_schedule(g), own


augmented_low = Check(
    "augmented_low",
    reference=_augmented_low,
    draw_inputs=_draw_low,
    samples=300,  # noise that pictures share shows in how they vary together
    mistakes={
        "You enlarge after noising, so that the noise comes in soft squares: enlarge first, then "
        "draw noise for every pixel of the large picture.": _noised_small,
        "You do not tell the network the level: the times are all 0.": _telling(
            lambda levels, schedule: torch.zeros(len(levels), dtype=torch.long)
        ),
        "You return the levels; the network is told the time of each, round(level · T).": _telling(
            lambda levels, schedule: levels
        ),
        "You tell the network 1000 · level; the times here are those of the schedule, up to T.": [
            _telling(lambda levels, schedule: (1000 * levels).round().long()),
            _telling(lambda levels, schedule: (1000 * levels).long()),
        ],
        "The times you return are one too small or too large: level 0 is time 0, level 1 is T.": [
            _telling(lambda levels, schedule: _times(levels, schedule) - 1),
            _telling(lambda levels, schedule: _times(levels, schedule) + 1),
            _telling(lambda levels, schedule: (levels * (schedule.T - 1)).round().long()),
            _with(times=lambda levels, schedule: (levels * (schedule.T - 1)).round().long()),
            _with(
                times=lambda levels, schedule: _times(levels, schedule).clamp(max=schedule.T - 1)
            ),
        ],
        "Level 0 is time 0, which is no noise at all: leave out clamp(min=1).": _with(
            times=lambda levels, schedule: _times(levels, schedule).clamp(min=1)
        ),
        "You round level · T up; round it to the nearest time.": [
            _with(times=lambda levels, schedule: (levels * schedule.T).ceil().long()),
            _telling(lambda levels, schedule: (levels * schedule.T).ceil().long()),
        ],
        "You cut the fraction of level · T off; round it to the nearest time.": [
            _with(times=lambda levels, schedule: (levels * schedule.T).long()),
            _telling(lambda levels, schedule: (levels * schedule.T).long()),
        ],
        "The level is turned round: 0 is no noise, 1 is nothing but noise.": [
            _with(times=lambda levels, schedule: _times(1 - levels, schedule)),
            _telling(lambda levels, schedule: _times(1 - levels, schedule)),
        ],
        "You take the level as the variance of the noise; it is a time of the schedule: "
        "schedule.diffuse(seen, times, eps).": _with(
            mix=lambda seen, eps, levels, times, schedule: (
                (1 - levels).sqrt() * seen + levels.sqrt() * eps
            )
        ),
        "You take the level as the standard deviation of the noise; it is a time of the schedule: "
        "schedule.diffuse(seen, times, eps).": _with(
            mix=lambda seen, eps, levels, times, schedule: (
                (1 - levels**2).sqrt() * seen + levels * eps
            )
        ),
        "You mix picture and noise by 1 − level and level; the level is a time of the schedule: "
        "schedule.diffuse(seen, times, eps).": _with(
            mix=lambda seen, eps, levels, times, schedule: (1 - levels) * seen + levels * eps
        ),
        "You add the noise and leave the picture as large as it is; √ᾱ makes it smaller.": [
            _with(
                mix=lambda seen, eps, levels, times, schedule: (
                    seen + schedule.noise(times, seen) * eps
                )
            ),
            _with(mix=lambda seen, eps, levels, times, schedule: seen + levels * eps),
        ],
        "You take ᾱ and 1 − ᾱ; their roots belong there.": _with(
            mix=lambda seen, eps, levels, times, schedule: (
                schedule.signal(times, seen) ** 2 * seen + schedule.noise(times, seen) ** 2 * eps
            )
        ),
        "Signal and noise are exchanged: √ᾱ belongs to the picture, √(1 − ᾱ) to the noise.": (
            _with(mix=lambda seen, eps, levels, times, schedule: schedule.diffuse(eps, times, seen))
        ),
        "All pictures have the same noise; draw it for each: torch.randn(seen.shape, …).": (
            _with(draw=lambda shape, g: torch.randn(1, *shape[1:], generator=g).expand(shape))
        ),
        "The channels of a picture share their noise; each number has its own.": _with(
            draw=lambda shape, g: torch.randn(shape[0], 1, *shape[2:], generator=g).expand(shape)
        ),
        "Your noise is uniform: torch.rand draws from 0 … 1, torch.randn from N(0, 1).": _with(
            draw=lambda shape, g: torch.rand(shape, generator=g)
        ),
        "All pictures have the same level; each row has its own.": [
            _with(times=lambda levels, schedule: _times(levels[:1].expand_as(levels), schedule)),
            _with(times=lambda levels, schedule: _times(levels.mean().expand_as(levels), schedule)),
        ],
        "With align_corners=True the outer pixels' centers meet, which shifts the picture; leave "
        "it out.": _with(larger=lambda low, side: _larger(low, side, align_corners=True)),
        "You repeat pixels (nearest); enlarge by bilinear interpolation.": _with(
            larger=lambda low, side: _larger(low, side, "nearest")
        ),
        "You interpolate by cubic curves, which overshoot; enlarge by bilinear interpolation.": (
            _with(larger=lambda low, side: _larger(low, side, "bicubic"))
        ),
        "You clip what is seen: with noise it leaves [−1, 1], and it may.": _clipped_after,
    },
    against=ImagenStage.noised,
)
