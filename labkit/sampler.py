"""Samplers: time runs backwards, from noise to a picture.

A step is a pure function of a pair of times (t, s), s < t: the last noise vanishes by algebra, and
any falling list of times is a sampler. `sample` is a generator: a plot or a progress bar watches.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.casting import like, moved
from labkit.conditioning import Conditioning
from labkit.denoiser import Denoises, Prediction
from labkit.inputs import float_batch, nearest, number, short, whole_number
from labkit.schedule import NoiseSchedule

STEP = ("schedule", "pred", "x", "t", "s", "generator")  # what every step is called with
APART = 1_000_003  # between the seeds of what shall not have the same noise


class State(NamedTuple):
    """Where sampling stands."""

    t: int  # the time of x; 0 at the end
    x: Tensor  # (B, …)
    x0: Tensor  # (B, …)  the guess of the clean picture that led here
    stage: str = ""  # of a system that samples several times in turn: which, such as "base"
    decode: Callable[[Tensor], Tensor] | None = None  # what makes pictures of x0, if it is none

    @property
    def pictures(self) -> Tensor:
        """The guess as pictures (B, C, H, W) in [−1, 1]: what can be shown of any system."""
        with torch.no_grad():
            return (self.decode(self.x0) if self.decode else self.x0).clamp(-1, 1)


def ddpm(
    schedule: NoiseSchedule,
    pred: Prediction,
    x: Tensor,
    t: int,
    s: int,
    generator: torch.Generator | None = None,
    v: float = 0.0,
) -> Tensor:
    """One ancestral step x_t → x_s, (B, …): the posterior q(x_s | x_t, x0) with the guess for x0
    (DDPM, algorithm 2), over a step of any length (Improved DDPM, section 4).

    v: the variance is β^v β̃^(1−v), 0 ≤ v ≤ 1: 0 is the posterior's own ("fixed small"), 1 the
        noising step's ("fixed large", σ̂ of DDIM's table 1). A learned pred.var_frac wins.
    """
    mean, variance = ancestral(schedule, pred, x, t, s, v)
    if s == 0:  # nothing is left to draw
        return mean
    return mean + like(variance.sqrt(), x) * noise_like(x, generator)


def ancestral(
    schedule: NoiseSchedule, pred: Prediction, x: Tensor, t: int, s: int, v: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Mean (B, …) and variance (broadcasting; `labkit.casting.like` makes it fit x) of the model's
    p(x_s | x_t), as in `ddpm`.

    At s = 0 the posterior is the point x0, so the variance is 0 whatever v says.
    """
    mean, small = schedule.posterior(pred.x0, x, t, s)
    large = 1 - schedule.at(t, x) / schedule.at(s, x)
    if pred.var_frac is None:
        v = number(v, "v", 0, 1)
        return mean, torch.where(small > 0, large**v * small ** (1 - v), 0.0)
    log_small = small.clamp(min=torch.finfo(small.dtype).tiny).log()
    log_large, log_small = like(large.log(), x), like(log_small, x)
    v = like(pred.var_frac, x)
    variance = (v * log_large + (1 - v) * log_small).exp()
    return mean, variance * like((small > 0).double(), x)


def ddim(
    schedule: NoiseSchedule,
    pred: Prediction,
    x: Tensor,
    t: int,
    s: int,
    generator: torch.Generator | None = None,
    eta: float = 0.0,
) -> Tensor:
    """One step x_t → x_s of the DDIM family (Song et al. 2021, equations 12 and 16), (B, …).

    eta: 0 is deterministic, 1 is the ancestral step of `ddpm`; with eta = 0 s may also be noisier
    than t, which is inversion. Raises ValueError outside [0, 1].
    """
    eta = number(eta, "eta", 0, 1)
    at_t, at_s = schedule.at(t, x), schedule.at(s, x)
    if eta == 0:
        return like(at_s.sqrt(), x) * pred.x0 + like((1 - at_s).sqrt(), x) * pred.eps
    if (at_s <= at_t).any():
        raise ValueError(f"with eta > 0 a step must lead to a cleaner time, but t = {t}, s = {s}")
    variance = eta**2 * (1 - at_s) / (1 - at_t) * (1 - at_t / at_s)
    direction = (1 - at_s - variance).clamp(min=0).sqrt()  # 0 at eta = 1 and s = 0
    mean = like(at_s.sqrt(), x) * pred.x0 + like(direction, x) * pred.eps
    return mean + like(variance.sqrt(), x) * noise_like(x, generator)


def sample(
    denoise: Denoises,
    x: Tensor,
    timesteps: Sequence[int],
    cond: Conditioning | None = None,
    step: Callable[..., Tensor] = ddpm,
    generator: torch.Generator | None = None,
) -> Iterator[State]:
    """Walks x down the falling list of times; yields a State after every step, without gradients.

    x: (B, …) float, a draw at time timesteps[0], N(0, I) when that is T.
    timesteps: whole numbers in T … 0, such as schedule.timesteps(50).
    step: ddpm, ddim, or yours: (schedule, pred, x, t, s, generator) → x_s; set v or eta by
        functools.partial.
    Raises ValueError at the call, before any work, for times that do not fall or leave 0 … T.
    """
    float_batch(x, "x")
    times = falling(timesteps, denoise.schedule.T)
    return _walk(denoise, x, times, cond, step, generator)


def from_noise(
    denoise: Denoises,
    shape: Sequence[int],
    steps: int | Sequence[int],
    *,
    seed: int | torch.Generator = 0,
    temperature: float = 1.0,
    cond: Conditioning | None = None,
    step: Callable[..., Tensor] = ddim,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    **options,
) -> Iterator[State]:
    """`sample` from the start: x_T of that shape (B, …) drawn with the seed, evenly spaced.

    steps: how many, or the falling times themselves. temperature: a factor of x_T alone.
    options: for `step`, such as eta=1.0 or v=1.0. The same seed gives the same pictures, on any
    device: what is random is drawn on the CPU. A generator in place of the seed goes on where it
    is, so that two stages of a cascade do not begin from the same noise. dtype: of x, that of the
    network's weights.
    Raises ValueError at the call for an option that the step does not have.
    """
    known = inspect.signature(step).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in known.values())
    for name in options:
        if name not in known and not takes_any:
            raise nearest(name, list(known)[len(STEP) :], "option of the step")

    generator = generator_of(seed)
    x = number(temperature, "temperature", 0) * torch.randn(*shape, generator=generator)
    x = x.to(dtype).to(device)
    step = partial(step, **options) if options else step
    times = steps if isinstance(steps, list | tuple) else denoise.schedule.timesteps(steps)
    return sample(denoise, x, times, cond, step=step, generator=generator)


def generator_of(seed: int | torch.Generator) -> torch.Generator:
    """The generator itself, or one of the CPU that begins from that seed. Raises ValueError for
    what is neither."""
    if isinstance(seed, torch.Generator):
        return seed
    return torch.Generator().manual_seed(whole_number(seed, "seed", 0, 2**63 - 1))


def invert(
    denoise: Denoises, x0: Tensor, timesteps: Sequence[int], cond: Conditioning | None = None
) -> Iterator[State]:
    """DDIM backwards: from a clean picture up to the noise that leads to it (section 4.3).

    x0: (B, …); timesteps: the same falling list that `sample` would walk. The clean picture stands
    for x at the list's smallest time above 0. Yields a State after every step; the last one's x
    goes back into `sample(..., step=ddim)`. Exact as steps grow short; do not clip or guide here.
    """
    float_batch(x0, "x0")
    times = [t for t in falling(timesteps, denoise.schedule.T) if t > 0][::-1]
    if len(times) < 2:
        raise ValueError(
            f"timesteps is {short(timesteps)}, but inversion needs at least two times above 0"
        )
    return _walk(denoise, x0, times, cond, ddim, None)


def _walk(denoise, x, times, cond, step, generator) -> Iterator[State]:
    for t, s in zip(times, times[1:], strict=False):
        with torch.no_grad():  # not around the yield: the watcher's own gradients are not ours
            pred = denoise(x, t, cond)
            x = step(denoise.schedule, pred, x, t, s, generator)
        yield State(s, x, pred.x0)


def falling(timesteps: Sequence[int], T: int) -> list[int]:
    """The list of times, checked: two or more whole numbers in T … 0, each below the one before."""
    try:
        times = [whole_number(t, "a time", 0, T) for t in timesteps]
    except TypeError:
        raise ValueError(f"timesteps is {short(timesteps)}, but must be a list of times") from None
    if len(times) < 2 or any(s >= t for t, s in zip(times, times[1:], strict=False)):
        raise ValueError(
            f"timesteps is {short(timesteps)}, but must be at least two times, each below the one "
            "before, such as schedule.timesteps(50)"
        )
    return times


def noise_like(x: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Standard normal noise, (B, …), drawn where the generator lives and moved to x."""
    device = generator.device if generator is not None else x.device
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=device)
    return moved(noise, x.device)
