"""The checks of lesson 04: the DDIM family, its times, its ODE, inversion and interpolation."""

import math
from functools import partial

import torch
from torch import Tensor

from labkit import interpolate, sampler, spacing
from labkit.denoiser import Prediction, clip, from_eps
from labkit.lab.checks.framework import Check
from labkit.mixture import GaussianMixture
from labkit.schedule import NoiseSchedule, from_betas, linear


def _random_schedule(g: torch.Generator) -> NoiseSchedule:
    return from_betas(0.02 + 0.08 * torch.rand(40, generator=g, dtype=torch.float64))


def _two_times(g: torch.Generator) -> tuple[int, int]:
    """(t, s), far enough apart that a step of one time is another step."""
    s = int(torch.randint(5, 15, (), generator=g))
    return s + int(torch.randint(5, 20, (), generator=g)), s


def _between(low: float, high: float, g: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=g).item()


# 1. The noise of a step.


def _sigma(alpha_bar_t: float, alpha_bar_s: float, eta: float) -> float:
    left = (1 - alpha_bar_s) / (1 - alpha_bar_t)
    return eta * math.sqrt(left * (1 - alpha_bar_t / alpha_bar_s))


def _draw_sigma(g: torch.Generator) -> tuple[float, float, float]:
    alpha_bar_s = _between(0.5, 0.9, g)
    return alpha_bar_s * _between(0.3, 0.8, g), alpha_bar_s, _between(0.2, 0.9, g)


sigma = Check(
    "sigma",
    reference=_sigma,
    draw_inputs=_draw_sigma,
    tolerance=1e-9,
    mistakes={
        "This is σ², the variance; take its root.": lambda t, s, eta: _sigma(t, s, eta) ** 2,
        "You take the root of η too; η stands in front of the roots.": (
            lambda t, s, eta: math.sqrt(eta) * _sigma(t, s, 1)
        ),
        "η is missing: this is the σ of the ancestral step, η = 1.": (
            lambda t, s, eta: _sigma(t, s, 1)
        ),
        "η is squared; it is σ² that has η², σ has η.": (
            lambda t, s, eta: eta**2 * _sigma(t, s, 1)
        ),
        "This is η times σ̂: the factor √((1−ᾱ_s)/(1−ᾱ_t)) is missing.": (
            lambda t, s, eta: eta * math.sqrt(1 - t / s)
        ),
        "The first ratio stands on its head: it is (1−ᾱ_s)/(1−ᾱ_t), below 1, since s is the "
        "cleaner time.": (lambda t, s, eta: eta * math.sqrt((1 - t) / (1 - s) * (1 - t / s))),
        "The factor √(1−ᾱ_t/ᾱ_s) is missing: without it, even a step of no length adds noise.": (
            lambda t, s, eta: eta * math.sqrt((1 - s) / (1 - t))
        ),
        "The last factor is √(1−ᾱ_t/ᾱ_s); you have 1−ᾱ_t there, the noise since time 0, not since "
        "s.": lambda t, s, eta: eta * math.sqrt(1 - s),
    },
    against="equation 16 of the paper",
)


# 2. The step.


def _ddim_step(
    schedule: NoiseSchedule,
    pred: Prediction,
    x: Tensor,
    t: int,
    s: int,
    generator: torch.Generator,
    eta: float,
) -> Tensor:
    return sampler.ddim(schedule, pred, x, t, s, generator, eta)


def _wrong_step(
    std=lambda sigma: sigma,
    direction=lambda alpha_bar_s, sigma: math.sqrt(max(1 - alpha_bar_s - sigma**2, 0)),
    signal=math.sqrt,
    beta=False,
    one_step=False,
    towards="eps",
    use_eta=lambda eta: eta,
    draw=torch.randn,
    hat=False,
):
    """A DDIM step in which one thing can be wrong."""

    def step(schedule, pred, x, t, s, generator, eta):
        at_t = schedule.alpha_bar[t].item()
        at_s = schedule.alpha_bar[t - 1 if one_step else s].item()
        ratio = 1 - schedule.beta[t].item() if beta else at_t / at_s
        left = 1 if hat else (1 - at_s) / (1 - at_t)
        sigma = use_eta(eta) * math.sqrt(left * (1 - ratio))
        noise = draw(x.shape, generator=generator, dtype=x.dtype)
        arrow = x if towards == "x" else pred.eps
        return signal(at_s) * pred.x0 + direction(at_s, sigma) * arrow + std(sigma) * noise

    return step


def _draw_step(g: torch.Generator):
    schedule, (t, s) = _random_schedule(g), _two_times(g)
    x, eps = torch.randn(2, 4, 3, generator=g)
    noise = torch.Generator().manual_seed(int(torch.randint(10_000, (), generator=g)))
    eta = 0.0 if g.initial_seed() % 2 else _between(0.3, 0.8, g)  # without and with noise
    return schedule, from_eps(schedule, x, t, eps), x, t, s, noise, eta


ddim_step = Check(
    "ddim_step",
    reference=_ddim_step,
    draw_inputs=_draw_step,
    mistakes={
        "Your σ uses β_t, the noise of a single step, where this step is longer: the ratio "
        "1 − ᾱ_t/ᾱ_s belongs there.": _wrong_step(beta=True),
        "You go to ᾱ_{t−1}, but the step leads to s, which may be far below t − 1: use "
        "schedule.alpha_bar[s].": _wrong_step(one_step=True),
        "Your σ is η times σ̂: the factor √((1−ᾱ_s)/(1−ᾱ_t)) is missing, and the radicand of the "
        "direction may even fall below 0.": _wrong_step(hat=True),
        "The direction keeps its full length √(1−ᾱ_s), and the noise σz comes on top, so x_s is "
        "too noisy: √(1−ᾱ_s−σ²).": _wrong_step(direction=lambda at_s, sigma: math.sqrt(1 - at_s)),
        "In the direction you subtract σ; variances add, so subtract σ²: √(1−ᾱ_s−σ²).": (
            _wrong_step(direction=lambda at_s, sigma: math.sqrt(abs(1 - at_s - sigma)))
        ),
        "The direction lacks its root: √(1−ᾱ_s−σ²).": (
            _wrong_step(direction=lambda at_s, sigma: 1 - at_s - sigma**2)
        ),
        "The noise is multiplied by σ², its variance; multiply by σ.": (
            _wrong_step(std=lambda sigma: sigma**2)
        ),
        "The noise σz is missing: you left room for it in the direction, but never added it.": (
            _wrong_step(std=lambda sigma: 0.0)
        ),
        "You ignore η and always take the deterministic step, η = 0.": (
            _wrong_step(use_eta=lambda eta: 0.0)
        ),
        "You ignore η and always take the ancestral step, η = 1.": (
            _wrong_step(use_eta=lambda eta: 1.0)
        ),
        "The guess x̂_0 is multiplied by ᾱ_s; the root is missing: √ᾱ_s.": (
            _wrong_step(signal=lambda at_s: at_s)
        ),
        "The direction points along x_t, which still holds the picture; it must be the noise ε̂, "
        "pred.eps.": _wrong_step(towards="x"),
        "The noise comes from rand, which is uniform on 0 … 1 and never negative; draw it with "
        "randn.": _wrong_step(draw=torch.rand),
    },
    law=1000,
    against="labkit.sampler.ddim",
)


# 3. The times.


def _trailing_times(T: int, n: int) -> list[int]:
    return spacing.trailing(T, n)


def _draw_times(g: torch.Generator) -> tuple[int, int]:
    """T and an odd n that does not divide it: no gap is a whole number, and none ends in ½."""
    while True:
        T = 100 + int(torch.randint(0, 900, (), generator=g))
        n = 7 + 2 * int(torch.randint(0, 15, (), generator=g))
        if T % n and T // (T // n) != n:
            return T, n


trailing_times = Check(
    "trailing_times",
    reference=_trailing_times,
    draw_inputs=_draw_times,
    tolerance=0,
    mistakes={
        "range(0, T, T // n) gives more than n steps when n does not divide T, never reaches T, "
        "and rises: compute the n + 1 times i·T/n, rounded, from i = n down to 0.": (
            lambda T, n: list(range(0, T, T // n))
        ),
        "range(T, 0, −T // n) gives the wrong number of steps when n does not divide T: compute "
        "the n + 1 times i·T/n, rounded, from i = n down to 0.": (
            lambda T, n: [*range(T, 0, -(T // n)), 0]
        ),
        "The final 0 is missing, so the picture is never finished: n steps need n + 1 times.": (
            lambda T, n: spacing.trailing(T, n)[:-1]
        ),
        "The first time T is missing: pure noise is x_T, and sampling has to begin there.": (
            lambda T, n: spacing.trailing(T, n)[1:]
        ),
        "Your times rise; sampling runs from T down to 0.": (
            lambda T, n: spacing.trailing(T, n)[::-1]
        ),
        "You cut off the decimals (int or //) where the recipe rounds.": (
            lambda T, n: [T * i // n for i in reversed(range(n + 1))]
        ),
        "The times are not rounded; they are indices of a table, so round them to whole numbers.": (
            lambda T, n: [T * i / n for i in reversed(range(n + 1))]
        ),
        "These are the uniform times, whose last step is a short one from 1 to 0; here all gaps "
        "are equal: i·T/n.": spacing.uniform,
    },
    against="labkit.spacing.trailing",
)


# 4. The step as Euler's.


def _ode_step(x: Tensor, eps: Tensor, alpha_bar_t: float, alpha_bar_s: float) -> Tensor:
    schedule = NoiseSchedule(torch.tensor([1.0, alpha_bar_s, alpha_bar_t]))
    return sampler.ddim(schedule, from_eps(schedule, x, 2, eps), x, 2, 1)


def _noise_ratio(alpha_bar: float) -> float:
    return math.sqrt((1 - alpha_bar) / alpha_bar)


def _wrong_euler(
    ratio=_noise_ratio, sign: int = 1, into: bool = True, back: bool = True, there: bool = False
):
    """An Euler step in which one thing can be wrong."""

    def step(x, eps, alpha_bar_t, alpha_bar_s):
        x_bar = x / math.sqrt(alpha_bar_s if there else alpha_bar_t) if into else x
        x_bar = x_bar + sign * (ratio(alpha_bar_s) - ratio(alpha_bar_t)) * eps
        return x_bar * math.sqrt(alpha_bar_s) if back else x_bar

    return step


def _draw_euler(g: torch.Generator):
    alpha_bar_t, alpha_bar_s, _ = _draw_sigma(g)
    x, eps = torch.randn(2, 4, 3, generator=g)
    return x, eps, alpha_bar_t, alpha_bar_s


ode_step = Check(
    "ode_step",
    reference=_ode_step,
    draw_inputs=_draw_euler,
    mistakes={
        "You return x̄_s; multiply by √ᾱ_s to come back to x_s.": _wrong_euler(back=False),
        "You start from x_t itself; the ODE lives in x̄ = x/√ᾱ_t.": _wrong_euler(into=False),
        "You divide x_t by √ᾱ_s; x belongs to time t, so x̄_t = x_t/√ᾱ_t.": (
            _wrong_euler(there=True)
        ),
        "The step goes the wrong way: dς = ς_s − ς_t, which is negative, since s is cleaner.": (
            _wrong_euler(sign=-1)
        ),
        "You use ς², the ratio of the variances; ς = √((1−ᾱ)/ᾱ).": (
            _wrong_euler(lambda alpha_bar: (1 - alpha_bar) / alpha_bar)
        ),
        "Your ς is √(1−ᾱ); x was divided by √ᾱ, and the noise in it with it: ς = √((1−ᾱ)/ᾱ).": (
            _wrong_euler(lambda alpha_bar: math.sqrt(1 - alpha_bar))
        ),
        "Your ς stands on its head: it is noise over signal, √((1−ᾱ)/ᾱ).": (
            _wrong_euler(lambda alpha_bar: math.sqrt(alpha_bar / (1 - alpha_bar)))
        ),
    },
    against="labkit.sampler.ddim with η = 0",
)


# 5. From the picture up to its noise.


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
            x = schedule.signal(u, x) * guess + schedule.noise(u, x) * noise
        return x

    return encode


def _draw_encode(g: torch.Generator):
    data = GaussianMixture(2 * torch.randn(3, 2, generator=g), 0.3)
    x0, _ = data.sample(6, g)
    n = int(torch.randint(4, 9, (), generator=g))
    return data.denoiser(linear(100)), x0, linear(100).timesteps(n)


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
        "You stop one step early: the last step leads up to times[0] itself.": (
            _wrong_encode(times_of=lambda times: [t for t in times if t > 0][:0:-1])
        ),
    },
    against="labkit.sampler.invert",
)


# 6. The arc between two noises.


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


def _to_unit(z: Tensor) -> Tensor:
    return z / z.flatten(1).norm(dim=1)[:, None, None, None]


slerp = Check(
    "slerp",
    reference=_slerp,
    draw_inputs=lambda g: (
        *torch.randn(2, 4, 3, 5, 6, generator=g, dtype=torch.float64),
        _between(0.1, 0.4, g),
    ),
    tolerance=1e-6,
    mistakes={
        "This is the straight line, whose middle is too short to be noise; walk along the arc.": (
            interpolate.lerp
        ),
        "The angle is taken per channel; a picture is one vector: flatten it whole.": (
            partial(_arc, dims=(2, 3))
        ),
        "The angle is taken along the last axis only; a picture is one vector: flatten it whole.": (
            partial(_arc, dims=3)
        ),
        "One angle is shared by the whole batch; each row has its own: flatten from axis 1.": (
            partial(_arc, dims=(0, 1, 2, 3))
        ),
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
    against="labkit.interpolate.slerp",
)
