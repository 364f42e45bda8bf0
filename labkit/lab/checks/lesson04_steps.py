"""The checks of lesson 04 on the DDIM family: its noise, its step, its times."""

import math

import torch
from torch import Tensor

from labkit import sampler
from labkit.denoiser import Prediction, from_eps
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import (
    Given,
    between,
    random_schedule,
    random_times,
    sizes,
    turn,
    whole,
)
from labkit.schedule import NoiseSchedule, trailing_spacing, uniform_spacing


def draw_sigma(g: torch.Generator) -> tuple[float, float, float]:
    """ᾱ_t, ᾱ_s and η."""
    alpha_bar_s = between(0.5, 0.9, g)
    return alpha_bar_s * between(0.3, 0.8, g), alpha_bar_s, between(0.2, 0.9, g)


# The noise of a step.


def _by_a_step(alpha_bar_t: float, alpha_bar_s: float, eta: float) -> float:
    """σ as the step from 0 to a noise of ones, with nothing predicted, shows it."""
    schedule = NoiseSchedule(torch.tensor([1.0, alpha_bar_s, alpha_bar_t], dtype=torch.float64))
    nothing = torch.zeros(1, 1, dtype=torch.float64)
    with Given(randn=nothing + 1):
        return sampler.ddim(schedule, Prediction(nothing, nothing), nothing, 2, 1, eta=eta).item()


def _sigma(alpha_bar_t: float, alpha_bar_s: float, eta: float) -> float:
    left = (1 - alpha_bar_s) / (1 - alpha_bar_t)
    return eta * math.sqrt(left * (1 - alpha_bar_t / alpha_bar_s))


sigma = Check(
    "sigma",
    reference=_by_a_step,
    draw_inputs=draw_sigma,
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
        "The first factor lacks its root: √((1−ᾱ_s)/(1−ᾱ_t)).": (
            lambda t, s, eta: eta * (1 - s) / (1 - t) * math.sqrt(1 - t / s)
        ),
        "The last factor lacks its root: √(1−ᾱ_t/ᾱ_s).": (
            lambda t, s, eta: eta * math.sqrt((1 - s) / (1 - t)) * (1 - t / s)
        ),
        "In the last factor ᾱ_s and ᾱ_t have changed places: it is √(1−ᾱ_t/ᾱ_s), since ᾱ_t is the "
        "smaller one.": (lambda t, s, eta: eta * math.sqrt((1 - s) / (1 - t) * abs(1 - s / t))),
        "ᾱ_t and ᾱ_s have changed places everywhere; s is the cleaner time, with the larger ᾱ.": (
            lambda t, s, eta: eta * math.sqrt(abs((1 - t) / (1 - s) * (1 - s / t)))
        ),
    },
    against=sampler.ddim,
)


# The step.


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
    guess=lambda pred: pred.x0,
    stay=False,
):
    """A DDIM step in which one thing can be wrong."""

    def step(schedule, pred, x, t, s, generator, eta):
        at_t = schedule.alpha_bar[t].item()
        at_s = schedule.alpha_bar[t - 1 if one_step else t if stay else s].item()
        ratio = 1 - schedule.beta[t].item() if beta else at_t / at_s
        left = 1 if hat else (1 - at_s) / (1 - at_t)
        sigma = use_eta(eta) * math.sqrt(left * (1 - ratio))
        noise = draw(x.shape, generator=generator, dtype=x.dtype)
        arrow = x if towards == "x" else pred.eps
        return signal(at_s) * guess(pred) + direction(at_s, sigma) * arrow + std(sigma) * noise

    return step


def _large_noise_on_the_mean_of_eta(last: bool):
    """The family's mean, with σ̂ on top; `last`: also in the step to 0."""

    def step(schedule, pred, x, t, s, generator, eta):
        at_t, at_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
        large = eta * math.sqrt(1 - at_t / at_s) * (last or s > 0)
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        variance = eta**2 * (1 - at_s) / (1 - at_t) * (1 - at_t / at_s)
        direction = math.sqrt(max(1 - at_s - variance, 0))
        return math.sqrt(at_s) * pred.x0 + direction * pred.eps + large * noise

    return step


def _draw_step(g: torch.Generator):
    """Steps without noise; long ones with so much that its distribution tells right from wrong; and
    the last step, which has none even at η = 1."""
    schedule, (t, s) = random_schedule(g), random_times(g)
    kind = turn(g, 6)
    eta = 0.0 if kind in (1, 4) else 1.0 if kind == 3 else between(0.5, 0.85, g)
    if kind in (0, 2, 5):
        t = s + whole(15, 30, g)
    x, eps = torch.randn(2, *sizes(g, whole(2, 4, g)), generator=g)
    noise = torch.Generator().manual_seed(whole(0, 10_000, g))
    return schedule, from_eps(schedule, x, t, eps), x, t, 0 if kind == 3 else s, noise, eta


ddim_step = Check(
    "ddim_step",
    reference=_ddim_step,
    draw_inputs=_draw_step,
    rounds=6,
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
        "The mean is right, but the noise on top is η times σ̂: its factor √((1−ᾱ_s)/(1−ᾱ_t)) is "
        "missing.": [_large_noise_on_the_mean_of_eta(True), _large_noise_on_the_mean_of_eta(False)],
        "You clip the guess x̂_0 in the step, and keep ε̂ as it was; MapX0 clips before the step, "
        "and computes ε̂ again.": _wrong_step(guess=lambda pred: pred.x0.clamp(-1, 1)),
        "The part along ε̂ is left out: √(1−ᾱ_s−σ²) · pred.eps belongs to the sum.": (
            _wrong_step(direction=lambda at_s, sigma: 0.0)
        ),
        "The direction has the wrong sign: add √(1−ᾱ_s−σ²) · pred.eps.": (
            _wrong_step(direction=lambda at_s, sigma: -math.sqrt(max(1 - at_s - sigma**2, 0)))
        ),
        "You use ᾱ_t where the step leads to s: schedule.alpha_bar[s].": _wrong_step(stay=True),
        "The noise comes from rand, which is uniform on 0 … 1 and never negative; draw it with "
        "randn.": _wrong_step(draw=torch.rand),
    },
    samples=1000,
    against=sampler.ddim,
)


# The times.


def _trailing_times(T: int, n: int) -> list[int]:
    return trailing_spacing(T, n)


def _draw_times(g: torch.Generator) -> tuple[int, int]:
    """T and an odd n that does not divide it: no gap is a whole number, and none ends in ½. In
    turn also a single step."""
    if turn(g, 5) == 0:
        return whole(100, 999, g), 1
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
            lambda T, n: trailing_spacing(T, n)[:-1]
        ),
        "The first time T is missing: pure noise is x_T, and sampling has to begin there.": (
            lambda T, n: trailing_spacing(T, n)[1:]
        ),
        "Your times rise; sampling runs from T down to 0.": (
            lambda T, n: trailing_spacing(T, n)[::-1]
        ),
        "You cut off the decimals (int or //) where the recipe rounds.": (
            lambda T, n: [T * i // n for i in reversed(range(n + 1))]
        ),
        "You round up (ceil) where the recipe rounds.": (
            lambda T, n: [math.ceil(T * i / n) for i in reversed(range(n + 1))]
        ),
        "You begin at T − 1; the times run from T, pure noise, down to 0.": (
            lambda T, n: [round((T - 1) * i / n) for i in reversed(range(n + 1))]
        ),
        "These are n points, so n − 1 steps; n steps need n + 1 times: i·T/n.": [
            lambda T, n: [round(T * i / (n - 1)) for i in reversed(range(n))],
            lambda T, n: torch.linspace(T, 0, n).round().int().tolist(),
            lambda T, n: torch.linspace(T, 0, n).int().tolist(),
            lambda T, n: torch.linspace(T, 0, n, dtype=torch.float64).round().int().tolist(),
        ],
        "You round the gap T/n, so the errors add up and the first time is not T; round each time "
        "i·T/n.": [
            lambda T, n: [round(T / n) * i for i in reversed(range(n + 1))],
            lambda T, n: [T // n * i for i in reversed(range(n + 1))],
        ],
        "The times are not rounded; they are indices of a table, so round them to whole numbers.": (
            lambda T, n: [T * i / n for i in reversed(range(n + 1))]
        ),
        "These are the uniform times, whose last step is a short one from 1 to 0; here all gaps "
        "are equal: i·T/n.": [
            uniform_spacing,
            lambda T, n: [1 + round(i * (T - 1) / (n - 1)) for i in reversed(range(n))] + [0],
        ],
    },
    against=trailing_spacing,
)
