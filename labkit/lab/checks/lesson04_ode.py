"""The checks of lesson 04 on the ODE: Euler's step, inversion and interpolation."""

import math
from functools import partial

import torch
from torch import Tensor

from labkit import interpolate, sampler
from labkit.denoiser import clip, from_eps
from labkit.lab.checks.framework import Check
from labkit.lab.checks.lesson04_steps import draw_sigma
from labkit.lab.checks.random_inputs import between, is_odd, random_schedule, sizes, whole
from labkit.mixture import GaussianMixture
from labkit.schedule import NoiseSchedule

# The step as Euler's.


def _ode_step(x: Tensor, eps: Tensor, alpha_bar_t: float, alpha_bar_s: float) -> Tensor:
    schedule = NoiseSchedule(torch.tensor([1.0, alpha_bar_s, alpha_bar_t]))
    return sampler.ddim(schedule, from_eps(schedule, x, 2, eps), x, 2, 1)


def _noise_ratio(alpha_bar: float) -> float:
    return math.sqrt((1 - alpha_bar) / alpha_bar)


def _change(alpha_bar_t: float, alpha_bar_s: float) -> float:
    return _noise_ratio(alpha_bar_s) - _noise_ratio(alpha_bar_t)


def _euler(x, eps, t: float, s: float, change: float) -> Tensor:
    """The step with a change of ς that may be a wrong one; t and s stand for ᾱ_t and ᾱ_s."""
    return math.sqrt(s) * (x / math.sqrt(t) + change * eps)


def _draw_euler(g: torch.Generator):
    alpha_bar_t, alpha_bar_s, _ = draw_sigma(g)
    x, eps = torch.randn(2, *sizes(g, whole(2, 4, g)), generator=g)
    return x, eps, alpha_bar_t, alpha_bar_s


ode_step = Check(
    "ode_step",
    reference=_ode_step,
    draw_inputs=_draw_euler,
    mistakes={
        "You return x̄_s; multiply by √ᾱ_s to come back to x_s.": (
            lambda x, eps, t, s: x / math.sqrt(t) + _change(t, s) * eps
        ),
        "You start from x_t itself; the ODE lives in x̄ = x/√ᾱ_t.": (
            lambda x, eps, t, s: math.sqrt(s) * (x + _change(t, s) * eps)
        ),
        "You divide x_t by √ᾱ_s; x belongs to time t, so x̄_t = x_t/√ᾱ_t.": (
            lambda x, eps, t, s: x + math.sqrt(s) * _change(t, s) * eps
        ),
        "The step goes the wrong way: dς = ς_s − ς_t, which is negative, since s is cleaner.": (
            lambda x, eps, t, s: _euler(x, eps, t, s, -_change(t, s))
        ),
        "You use ς², the ratio of the variances; ς = √((1−ᾱ)/ᾱ).": (
            lambda x, eps, t, s: _euler(x, eps, t, s, (1 - s) / s - (1 - t) / t)
        ),
        "Your ς is √(1−ᾱ); x was divided by √ᾱ, and the noise in it with it: ς = √((1−ᾱ)/ᾱ).": (
            lambda x, eps, t, s: _euler(x, eps, t, s, math.sqrt(1 - s) - math.sqrt(1 - t))
        ),
        "Your ς stands on its head: it is noise over signal, √((1−ᾱ)/ᾱ).": (
            lambda x, eps, t, s: _euler(x, eps, t, s, 1 / _noise_ratio(s) - 1 / _noise_ratio(t))
        ),
        "You come back by √ᾱ_t; the step has led to s, so multiply by √ᾱ_s.": (
            lambda x, eps, t, s: math.sqrt(t) * (x / math.sqrt(t) + _change(t, s) * eps)
        ),
        "The roots of ᾱ are missing: x̄_t = x_t/√ᾱ_t, and x_s = √ᾱ_s · x̄_s.": [
            lambda x, eps, t, s: s * (x / t + _change(t, s) * eps),
            lambda x, eps, t, s: math.sqrt(s) * (x / t + _change(t, s) * eps),
            lambda x, eps, t, s: s * (x / math.sqrt(t) + _change(t, s) * eps),
        ],
        "t and s have changed places: x comes at time t, and the step leads to s.": (
            lambda x, eps, t, s: _euler(x, eps, s, t, _change(s, t))
        ),
        "You multiply by √ᾱ_t on the way in; x̄_t = x_t/√ᾱ_t.": (
            lambda x, eps, t, s: math.sqrt(s) * (x * math.sqrt(t) + _change(t, s) * eps)
        ),
        "You divide by √ᾱ_s on the way back; x_s = √ᾱ_s · x̄_s.": (
            lambda x, eps, t, s: (x / math.sqrt(t) + _change(t, s) * eps) / math.sqrt(s)
        ),
        "You add ς_s ε̂, which belongs to x̂_0; to x̄_t belongs the change, (ς_s − ς_t) ε̂.": (
            lambda x, eps, t, s: _euler(x, eps, t, s, _noise_ratio(s))
        ),
    },
    against=sampler.ddim,
)


# From the picture up to its noise.


def _encode(denoise, x0: Tensor, times: list[int]) -> Tensor:
    *_, last = sampler.invert(denoise, x0, times)
    return last.x


def _wrong_encode(ask="here", times_of=lambda times: [t for t in times if t > 0][::-1], **options):
    """Inversion in which one thing can be wrong."""

    def encode(denoise, x0, times):
        x, schedule, rising = x0, denoise.schedule, times_of(times)
        for t, u in zip(rising, rising[1:]):
            pred = denoise(x, u if ask == "there" else t)
            guess = clip(pred.x0) if options.get("clip") else pred.x0
            guess = x0 if options.get("truth") else guess
            noise = torch.randn_like(x) if options.get("forward") else pred.eps
            guess = x if options.get("keep") else guess
            signal = schedule.signal(t if options.get("signal_of_t") else u, x)
            level = schedule.noise(t if options.get("noise_of_t") else u, x)
            if options.get("squared"):
                signal, level = signal**2, level**2
            x = signal * guess + level * noise
        return x

    return encode


def _encode_from_zero(denoise, x0: Tensor, times: list[int]) -> Tensor:
    """Inversion that asks about time 0 as if it were 1, the first time that a network knows."""
    x, rising = x0, times[::-1]
    for t, u in zip(rising, rising[1:]):
        pred = denoise(x, max(t, 1))
        x = sampler.ddim(denoise.schedule, pred, x, max(t, 1), u)
    return x


def _draw_encode(g: torch.Generator):
    """Clean points, the denoiser that knows them, and falling times, which need not begin at T,
    nor lead over 1."""
    B, K, D = sizes(g, 3)
    data = GaussianMixture(2 * torch.randn(K, D, generator=g), 0.3)
    schedule = random_schedule(g)
    inside = torch.randperm(schedule.T, generator=g)[: whole(4, 8, g)] + 1
    times = sorted(inside.tolist(), reverse=True)
    return data.denoiser(schedule), data.sample(B, g)[0], [*times, 0]


encode = Check(
    "encode",
    reference=_encode,
    draw_inputs=_draw_encode,
    tolerance=1e-6,
    mistakes={
        "You ask the denoiser about the time that the step leads to; x still stands at the lower "
        "one: denoise(x, t), then go up to the next.": _wrong_encode(ask="there"),
        "You clip the guess x̂_0 on the way, which the way down will not undo; do not clip here.": (
            _wrong_encode(clip=True)
        ),
        "You keep the true x0 as the guess in every step; the way down will not know it, so use "
        "pred.x0.": _wrong_encode(truth=True),
        "You draw fresh noise in every step, which is the forward process of lesson 02; here the "
        "noise is the predicted one, pred.eps.": _wrong_encode(forward=True),
        "In each step you scale x itself where the guess x̂_0 belongs: √ᾱ_u · pred.x0.": (
            _wrong_encode(keep=True)
        ),
        "You walk the list as it falls, from noise to picture; turn it around, and leave out 0.": (
            _wrong_encode(times_of=lambda times: [t for t in times if t > 0])
        ),
        "The 0 stays in the list; the clean picture stands for x at the smallest time above 0, so "
        "leave it out.": _encode_from_zero,
        "The factor of x̂_0 is that of the time you leave; the step leads to u: √ᾱ_u.": (
            _wrong_encode(signal_of_t=True)
        ),
        "The factor of ε̂ is that of the time you leave; the step leads to u: √(1−ᾱ_u).": (
            _wrong_encode(noise_of_t=True)
        ),
        "The roots are missing: √ᾱ_u · pred.x0 + √(1−ᾱ_u) · pred.eps.": (
            _wrong_encode(squared=True)
        ),
        "You stop one step early: the last step leads up to times[0] itself.": (
            _wrong_encode(times_of=lambda times: [t for t in times if t > 0][:0:-1])
        ),
    },
    against=sampler.invert,
)


# The arc between two noises.


def _slerp(z1: Tensor, z2: Tensor, a: float) -> Tensor:
    return interpolate.slerp(z1, z2, a)


def _arc(z1: Tensor, z2: Tensor, a: float, dims, unit=True, swap=False, divide=True) -> Tensor:
    """An arc whose angle is taken over the axes `dims`."""
    cosine = (z1 * z2).sum(dims, keepdim=True)
    if unit:
        lengths = z1.square().sum(dims, keepdim=True) * z2.square().sum(dims, keepdim=True)
        cosine = cosine / lengths.sqrt()
    angle = cosine.arccos()
    first, second = torch.sin((1 - a) * angle), torch.sin(a * angle)
    first, second = (second, first) if swap else (first, second)
    return (first * z1 + second * z2) / (torch.sin(angle) if divide else 1)


def _angle(z1: Tensor, z2: Tensor) -> Tensor:
    """The angle of each row, (B, 1, 1, 1)."""
    cosine = torch.cosine_similarity(z1.flatten(1), z2.flatten(1))
    return cosine.arccos()[:, None, None, None]


def _weighted(z1: Tensor, z2: Tensor, a: float, angle: Tensor) -> Tensor:
    """The formula of the arc with this angle."""
    return (torch.sin((1 - a) * angle) * z1 + torch.sin(a * angle) * z2) / torch.sin(angle)


def _to_unit(z: Tensor) -> Tensor:
    return z / z.flatten(1).norm(dim=1)[:, None, None, None]


def _line_at_length(z1: Tensor, z2: Tensor, a: float) -> Tensor:
    """The straight line, brought to the length that lies between those of its ends."""
    lengths = [z.flatten(1).norm(dim=1)[:, None, None, None] for z in (z1, z2)]
    return _to_unit(torch.lerp(z1, z2, a)) * torch.lerp(*lengths, a)


slerp = Check(
    "slerp",
    reference=_slerp,
    draw_inputs=lambda g: (
        *torch.randn(2, *sizes(g, 4, 3, 7), generator=g, dtype=torch.float64),
        between(0.1, 0.4, g) if is_odd(g) else between(0.6, 0.9, g),
    ),
    tolerance=1e-6,
    mistakes={
        "This is the straight line, whose middle is too short to be noise; walk along the arc.": (
            interpolate.lerp
        ),
        "This is the straight line at the right length: its points lie on the arc, but not at "
        "equal steps of the angle. The weights are sines.": _line_at_length,
        "The angle is taken per channel; a picture is one vector: flatten it whole.": (
            partial(_arc, dims=(2, 3))
        ),
        "The angle is taken along the last axis only; a picture is one vector: flatten it whole.": (
            partial(_arc, dims=3)
        ),
        "The angle is taken over the channels of each pixel, as cosine_similarity does by itself; "
        "a picture is one vector: flatten it whole.": partial(_arc, dims=1),
        "One angle is shared by the whole batch; each row has its own: flatten from axis 1.": [
            partial(_arc, dims=(0, 1, 2, 3)),
            lambda z1, z2, a: _weighted(z1, z2, a, _angle(z1, z2).mean()),
            lambda z1, z2, a: _weighted(z1, z2, a, _angle(z1, z2)[:1]),
        ],
        "The angle is in degrees; torch.sin wants it as arccos gives it, in radians.": (
            lambda z1, z2, a: _weighted(z1, z2, a, _angle(z1, z2).rad2deg())
        ),
        "You take the angle for a right one, which it is only on average; compute it from z1 and "
        "z2.": [
            lambda z1, z2, a: _weighted(z1, z2, a, torch.tensor(math.pi / 2)),
            lambda z1, z2, a: (1 - a) ** 0.5 * z1 + a**0.5 * z2,
        ],
        "The product z1·z2 is not a cosine before you divide it by the lengths |z1||z2|.": (
            partial(_arc, dims=(1, 2, 3), unit=False)
        ),
        "The two weights have changed places: at a = 0 the arc begins at z1.": (
            partial(_arc, dims=(1, 2, 3), swap=True)
        ),
        "The weights are not divided by sin θ, so the arc is too short.": (
            partial(_arc, dims=(1, 2, 3), divide=False)
        ),
        "You scale the noises to length 1; noise in D dimensions is √D long, and must stay so.": (
            lambda z1, z2, a: _arc(_to_unit(z1), _to_unit(z2), a, dims=(1, 2, 3))
        ),
    },
    against=interpolate.slerp,
)
