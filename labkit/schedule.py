"""Noise schedules: how much of the picture is left at each time.

t = 0 is the clean picture, t = T is noise. One table says everything: `alpha_bar[t]`, the share of
the variance that still belongs to the picture; the noise has the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.casting import like, moved
from labkit.inputs import float_batch, number, numbers, one_of, same_shape, short, whole_number

# Spacings: which n of the T times a sampler visits, as a falling list that ends in 0.


def uniform_spacing(T: int, n: int) -> list[int]:
    """[T, …, 1, 0]: evenly from the last time to the first (Improved DDPM's stride)."""
    if n == 1:
        return [T, 0]
    return [1 + round(i * (T - 1) / (n - 1)) for i in reversed(range(n))] + [0]


def trailing_spacing(T: int, n: int) -> list[int]:
    """[T, …, T/n, 0]: even gaps, the last one as long as the others (Lin et al. 2024, table 2)."""
    return [round(T * i / n) for i in reversed(range(n + 1))]


def quadratic_spacing(T: int, n: int) -> list[int]:
    """[T, …, T/n², 0]: denser near the picture (DDIM, appendix D.2), never standing still."""
    return [max(round(T * i * i / (n * n)), i) for i in reversed(range(n + 1))]


def section_spacing(T: int, counts: Sequence[int]) -> list[int]:
    """[T, …, 1, 0]: the times are cut into sections of equal length, the first one nearest to the
    picture, and each is visited evenly, ends included, as often as its count says (the code of
    Improved DDPM). Raises ValueError for a section that has fewer times than that."""
    length, rest = divmod(T, len(counts))
    times, first = [0], 1
    for section, count in enumerate(counts):
        size = length + (section < rest)
        if not 1 <= count <= size:
            raise ValueError(
                f"a section of {size} of the {T} times cannot be visited {count} times: give "
                f"counts from 1 to {size}"
            )
        stride = (size - 1) / (count - 1) if count > 1 else 0
        times += [first + round(i * stride) for i in range(count)]
        first += size
    return times[::-1]


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """A variance-preserving schedule (DDPM, Ho et al. 2020, section 2).

    alpha_bar: (T+1,) float64 on the CPU, alpha_bar[0] = 1, falling, every entry in (0, 1].
    Raises ValueError for any other table.
    """

    alpha_bar: Tensor  # (T+1,)

    def __post_init__(self):
        alpha_bar = numbers(self.alpha_bar, "alpha_bar", 1)
        if len(alpha_bar) < 2 or alpha_bar[0] != 1:
            raise ValueError(
                f"alpha_bar has {len(alpha_bar)} entries, the first {alpha_bar[0]:g}, but needs at "
                "least two and must start with 1: time 0 is the clean picture"
            )
        if alpha_bar.min() <= 0 or (alpha_bar.diff() >= 0).any():
            raise ValueError(
                f"alpha_bar must fall at every step and stay above 0, but its lowest entry is "
                f"{alpha_bar.min():g} and its largest rise {alpha_bar.diff().max():g}"
            )
        object.__setattr__(self, "alpha_bar", alpha_bar)

    @property
    def T(self) -> int:
        """The last time: T steps lead from the picture to noise."""
        return len(self.alpha_bar) - 1

    @property
    def beta(self) -> Tensor:
        """(T+1,) variance added by the step t−1 → t; beta[0] = 0, since no step leads to time 0."""
        ratio = self.alpha_bar[1:] / self.alpha_bar[:-1]
        return torch.cat([torch.zeros(1, dtype=torch.float64), 1 - ratio])

    @property
    def log_snr(self) -> Tensor:
        """(T+1,) natural log of signal variance over noise variance; +inf at t = 0."""
        return torch.log(self.alpha_bar) - torch.log1p(-self.alpha_bar)

    def times(self, t: int | Tensor, x: Tensor, first: int = 0) -> int | Tensor:
        """`t` itself, checked: a whole number for all rows of `x`, or (B,) long, which lies on the
        CPU from here on; each in first … T. Raises ValueError otherwise.

        Times are cheapest on the CPU: from another device they have to be fetched.
        """
        if not isinstance(t, Tensor) or t.ndim == 0:
            return whole_number(t, "time t", first, self.T)
        if t.dtype not in (torch.int64, torch.int32) or t.shape != x.shape[:1]:
            raise ValueError(
                f"t has dtype {t.dtype} and shape {tuple(t.shape)}, but must be one whole "
                f"number or a torch.long tensor of shape ({len(x)},), one time per row"
            )
        t = t.to("cpu", torch.int64)
        low, high = (int(end) for end in t.aminmax())
        if low < first or high > self.T:
            raise ValueError(
                f"t runs from {low} to {high}, but times go from {first} to T = {self.T}"
            )
        return t

    def for_network(self, t: int | Tensor, x: Tensor) -> Tensor:
        """Times as networks take them: (B,) long in 1 … T, where `x` lies. Raises ValueError as
        `times` does."""
        t = self.times(t, x, 1)
        if isinstance(t, Tensor):
            return moved(t, x.device)
        return x.new_full(x.shape[:1], t, dtype=torch.long)

    def at(self, t: int | Tensor, x: Tensor) -> Tensor:
        """ᾱ_t in float64 on the CPU, shaped to multiply `x`: (B, 1, …) for t of shape (B,), or ()
        for a whole number. Raises ValueError if t is not in 0 … T, or does not fit the batch."""
        t = self.times(t, x)
        alpha_bar = self.alpha_bar[t]
        return alpha_bar.view(-1, *[1] * (x.ndim - 1)) if isinstance(t, Tensor) else alpha_bar

    def signal_and_noise(self, t: int | Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """√ᾱ_t and √(1−ᾱ_t), the factors of picture and noise in x_t, to multiply `x`."""
        alpha_bar = self.at(t, x)
        return like(alpha_bar.sqrt(), x), like((1 - alpha_bar).sqrt(), x)

    def signal(self, t: int | Tensor, x: Tensor) -> Tensor:
        """√ᾱ_t, the factor of the picture in x_t, shaped and typed to multiply `x`."""
        return like(self.at(t, x).sqrt(), x)

    def noise(self, t: int | Tensor, x: Tensor) -> Tensor:
        """√(1−ᾱ_t), the factor of the noise in x_t, shaped and typed to multiply `x`."""
        return like((1 - self.at(t, x)).sqrt(), x)

    def diffuse(self, x0: Tensor, t: int | Tensor, eps: Tensor) -> Tensor:
        """x_t ~ q(x_t | x_0) in one jump: √ᾱ_t x0 + √(1−ᾱ_t) eps (DDPM, equation 4).

        x0, eps: (B, …) of the same shape, float; t: a whole number or (B,) long, in 0 … T.
        """
        same_shape(float_batch(x0, "x0"), float_batch(eps, "eps"), "x0 and eps")
        signal, noise = self.signal_and_noise(t, x0)
        return signal * x0 + noise * eps

    def draw(
        self, x0: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What every loss draws for clean data x0 (B, …): times t (B,) long, uniform in 1 … T, on
        the CPU; noise eps (B, …); and x_t (B, …). Drawn on the CPU, or where the generator lives,
        so that a seed gives the same on any device."""
        device = "cpu" if generator is None else generator.device
        t = torch.randint(1, self.T + 1, (len(x0),), generator=generator, device=device)
        eps = torch.randn(x0.shape, dtype=x0.dtype, generator=generator, device=device)
        t, eps = t.cpu(), moved(eps, x0.device)
        return t, eps, self.diffuse(x0, t, eps)

    def posterior_weights(
        self, t: int | Tensor, s: int | Tensor, x: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """q(x_s | x_t, x_0) is normal: the weights of x_0 and of x_t in its mean, and its variance,
        each in float64 on the CPU, shaped to multiply `x` (DDPM, equations 6 and 7, for any pair
        of times). Raises ValueError unless s < t."""
        at_t, at_s = self.at(t, x), self.at(s, x)
        if (at_s <= at_t).any():
            raise ValueError(f"a step must lead to a cleaner time s < t, but t = {t}, s = {s}")
        alpha = at_t / at_s  # of the noising jump s → t
        from_x0 = at_s.sqrt() * (1 - alpha) / (1 - at_t)
        from_x = alpha.sqrt() * (1 - at_s) / (1 - at_t)
        return from_x0, from_x, (1 - at_s) / (1 - at_t) * (1 - alpha)

    def posterior(
        self, x0: Tensor, x: Tensor, t: int | Tensor, s: int | Tensor
    ) -> tuple[Tensor, Tensor]:
        """Mean (B, …) and variance (float64 on the CPU, broadcasting) of q(x_s | x_t = x, x_0 = x0)
        for s < t. At s = 0 it is the point x0: variance 0."""
        same_shape(float_batch(x0, "x0"), float_batch(x, "x"), "x0 and x")
        from_x0, from_x, variance = self.posterior_weights(t, s, x)
        return like(from_x0, x) * x0 + like(from_x, x) * x, variance

    def timesteps(self, n: int, spacing: Callable = uniform_spacing) -> list[int]:
        """n falling steps as n + 1 of the schedule's own times, ending in 0.

        spacing: (T, n) → list, one of those above. Raises ValueError unless 1 ≤ n ≤ T.
        """
        return spacing(self.T, whole_number(n, "the number of steps", 1, self.T))


# Makers.

MAX_T = 1_000_000  # more is a typing error, and would fill the memory


def from_betas(beta: object) -> NoiseSchedule:
    """A schedule from the variances β_1 … β_T of its single steps, shape (T,), each in (0, 1)."""
    beta = numbers(beta, "beta", 1)
    if beta.min() <= 0 or beta.max() >= 1:
        raise ValueError(
            f"beta runs from {beta.min():g} to {beta.max():g}, but each must lie strictly between "
            "0 (no noise) and 1 (nothing left)"
        )
    one = torch.ones(1, dtype=torch.float64)
    return NoiseSchedule(torch.cat([one, torch.cumprod(1 - beta, 0)]))


def from_alpha_bar(alpha_bar: object, max_beta: float = 0.999) -> NoiseSchedule:
    """A schedule from a falling table (T+1,), divided by its first entry; no step adds more than
    max_beta, so a table may end at 0 and what is left of the picture still is not nothing."""
    alpha_bar = numbers(alpha_bar, "alpha_bar", 1)
    if len(alpha_bar) < 2 or alpha_bar.min() < 0 or (alpha_bar.diff() >= 0).any():
        raise ValueError(
            f"alpha_bar is {short(alpha_bar.tolist())}, but must be at least two numbers, "
            "none negative, each below the one before"
        )
    beta = 1 - alpha_bar[1:] / alpha_bar[:-1]
    return from_betas(beta.clamp(max=number(max_beta, "max_beta", 0, 1)))


def linear(T: int = 1000, first: float = 1e-4, last: float = 0.02) -> NoiseSchedule:
    """DDPM's schedule: β rises evenly. For T ≠ 1000 the ends are rescaled by 1000/T, so that the
    noise at the end stays the same (Improved DDPM's code); needs T > 20 with the default ends."""
    T = whole_number(T, "T", 1, MAX_T)
    ends = number(first, "first"), number(last, "last")
    return from_betas(torch.linspace(*ends, T, dtype=torch.float64) * (1000 / T))


def scaled_linear(T: int = 1000, first: float = 0.00085, last: float = 0.012) -> NoiseSchedule:
    """Latent diffusion's schedule: √β rises evenly; ends rescaled by 1000/T as in `linear`.

    The default ends are those of the text-to-image model; even at T some signal is left.
    """
    T = whole_number(T, "T", 1, MAX_T)
    ends = number(first, "first", 0) ** 0.5, number(last, "last", 0) ** 0.5
    return from_betas(torch.linspace(*ends, T, dtype=torch.float64) ** 2 * (1000 / T))


def cosine(T: int = 1000, s: float = 0.008, max_beta: float = 0.999) -> NoiseSchedule:
    """Improved DDPM's schedule (Nichol and Dhariwal 2021, equation 17), β clipped at max_beta."""
    T = whole_number(T, "T", 1, MAX_T)
    u = torch.linspace(0, 1, T + 1, dtype=torch.float64)
    angle = (u + number(s, "s", 0)) / (1 + s) * math.pi / 2
    return from_alpha_bar(torch.cos(angle) ** 2, max_beta)


def sigmoid(
    T: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0
) -> NoiseSchedule:
    """ᾱ falls along a sigmoid from `start` to `end`, steeper for small tau (Jabri et al. 2022,
    algorithm 1); its last step is clipped, since the formula itself ends at 0."""
    T = whole_number(T, "T", 1, MAX_T)
    if number(start, "start") >= number(end, "end") or number(tau, "tau") <= 0:
        raise ValueError(
            f"start = {start}, end = {end}, tau = {tau}, but must be start < end and tau > 0"
        )
    u = torch.linspace(start, end, T + 1, dtype=torch.float64) / tau
    return from_alpha_bar(torch.sigmoid(u[-1]) - torch.sigmoid(u))


MAKERS = {"linear": linear, "cosine": cosine, "scaled_linear": scaled_linear, "sigmoid": sigmoid}


def by_name(name: str, T: int = 1000) -> NoiseSchedule:
    """The schedule of that name with its default settings: a config file's way in."""
    with torch.device("cpu"):  # also of a network that is built elsewhere, such as on "meta"
        return MAKERS[one_of(name, MAKERS, "schedule")](T)
