"""The checks of lesson 04 on the ODE: Euler's step, and the arc between two noises."""

import math

import torch
from torch import Tensor

from labkit import interpolate, sampler
from labkit.denoiser import from_eps
from labkit.lab.checks.framework import Check
from labkit.lab.checks.lesson04_steps import draw_sigma
from labkit.lab.checks.random_inputs import between, is_odd, sizes, whole
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
        "Your ς is upside down: it is noise over signal, √((1−ᾱ)/ᾱ).": (
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


# The arc between two noises.


def _slerp(z1: Tensor, z2: Tensor, a: float) -> Tensor:
    return interpolate.slerp(z1, z2, a)


def _dot(z1: Tensor, z2: Tensor, dims: tuple[int, ...]) -> Tensor:
    return (z1 * z2).sum(dims, keepdim=True)


def _angle(z1: Tensor, z2: Tensor, dims: tuple[int, ...] = (1, 2, 3)) -> Tensor:
    """The angle of the vectors that lie along these axes; of each row, (B, 1, 1, 1)."""
    lengths = _dot(z1, z1, dims) * _dot(z2, z2, dims)
    return (_dot(z1, z2, dims) / lengths.sqrt()).arccos()


def _arc(z1: Tensor, z2: Tensor, a: float, angle: Tensor) -> Tensor:
    """The arc with this angle."""
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
    tolerance=1e-9,
    mistakes={
        "This is the straight line, whose middle is too short to be noise; walk along the arc.": (
            interpolate.lerp
        ),
        "This is the straight line at the right length: its points lie on the arc, but not at "
        "equal steps of the angle. The weights are sines.": _line_at_length,
        "The angle is taken per channel; a picture is one vector: flatten it whole.": (
            lambda z1, z2, a: _arc(z1, z2, a, _angle(z1, z2, (2, 3)))
        ),
        "The angle is taken along one axis of the picture only; a picture is one vector: flatten "
        "it whole.": [
            lambda z1, z2, a: _arc(z1, z2, a, _angle(z1, z2, (2,))),
            lambda z1, z2, a: _arc(z1, z2, a, _angle(z1, z2, (3,))),
        ],
        "The angle is taken across the batch, one for each number of a picture; it must be one for "
        "each row: flatten from axis 1.": lambda z1, z2, a: _arc(z1, z2, a, _angle(z1, z2, (0,))),
        "The angle is taken over the channels of each pixel, as cosine_similarity does by itself; "
        "a picture is one vector: flatten it whole.": lambda z1, z2, a: _arc(
            z1, z2, a, _angle(z1, z2, (1,))
        ),
        "One angle is shared by the whole batch; each row has its own: flatten from axis 1.": [
            lambda z1, z2, a: _arc(z1, z2, a, _angle(z1, z2, (0, 1, 2, 3))),
            lambda z1, z2, a: _arc(z1, z2, a, _angle(z1, z2).mean()),
            lambda z1, z2, a: _arc(z1, z2, a, _angle(z1, z2)[:1]),
        ],
        "The angle is in degrees; torch.sin wants it as arccos gives it, in radians.": (
            lambda z1, z2, a: _arc(z1, z2, a, _angle(z1, z2).rad2deg())
        ),
        "You take the angle for a right one, which it is only on average; compute it from z1 and "
        "z2.": [
            lambda z1, z2, a: _arc(z1, z2, a, z1.new_tensor(math.pi / 2)),
            lambda z1, z2, a: (1 - a) ** 0.5 * z1 + a**0.5 * z2,
        ],
        "The product z1·z2 is not a cosine before you divide it by the lengths |z1||z2|.": (
            lambda z1, z2, a: _arc(z1, z2, a, _dot(z1, z2, (1, 2, 3)).arccos())
        ),
        "The two weights have changed places: at a = 0 the arc begins at z1.": (
            lambda z1, z2, a: _slerp(z2, z1, a)
        ),
        "The weights are not divided by sin θ, so the arc is too short.": (
            lambda z1, z2, a: _slerp(z1, z2, a) * torch.sin(_angle(z1, z2))
        ),
        "You scale the noises to length 1; noise in D dimensions is √D long, and must stay so.": (
            lambda z1, z2, a: _slerp(_to_unit(z1), _to_unit(z2), a)
        ),
    },
    against=interpolate.slerp,
)
