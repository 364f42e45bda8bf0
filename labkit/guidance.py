"""Guidance: a denoiser that is steered. No sampler and no network knows of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from labkit.casting import like
from labkit.conditioning import Conditioning
from labkit.denoiser import Denoises, Prediction, from_eps
from labkit.inputs import number
from labkit.sampler import ancestral, noise_like
from labkit.schedule import NoiseSchedule


@dataclass(frozen=True)
class ClassifierFree:
    """Classifier-free guidance (Ho and Salimans 2022): eps_u + scale (eps_c − eps_u).

    null: the condition that means "none", one row or B rows: data, not a flag.
    scale: GLIDE's convention: 0 is unconditional, 1 conditional, more exaggerates the condition.
        The paper's w is scale − 1 (equation 6). A tensor (B,) gives every row its own.
    At scale 0 and 1 one network call does and the answer is the plain one, bit for bit; otherwise
    both conditions go through the network as one batch. var_frac stays the conditional one: only
    eps is guided. Raises ValueError for a scale that is not finite, or a condition unlike the null.
    """

    denoise: Denoises
    null: Conditioning
    scale: float | Tensor

    def __post_init__(self):
        check_scale(self.scale)

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoise.schedule

    def __call__(self, x: Tensor, t: int | Tensor, cond: Conditioning | None = None) -> Prediction:
        null = self.null.rows(len(x))
        if cond is None or (not isinstance(self.scale, Tensor) and self.scale == 0):
            return self.denoise(x, t, null)
        if not isinstance(self.scale, Tensor) and self.scale == 1:
            return self.denoise(x, t, cond)
        both_t = torch.cat([t, t]) if isinstance(t, Tensor) and t.ndim else t
        both = self.denoise(torch.cat([x, x]), both_t, cond.rows(len(x)).cat(null))
        eps_c, eps_u = both.eps.chunk(2)
        pred = from_eps(self.schedule, x, t, eps_u + per_row(self.scale, x) * (eps_c - eps_u))
        if both.var_frac is not None:
            pred = pred._replace(var_frac=both.var_frac.chunk(2)[0])
        return pred


@dataclass(frozen=True)
class Composed:
    """Several conditions at once: eps_u + Σ_i scale_i (eps_i − eps_u), "composable diffusion" (Liu
    et al. 2022, equation 11). With one term it is `ClassifierFree`.

    null: the condition that means "none", one row or B rows. terms: pairs of a condition, one row
        or B rows, and its scale, a number or (B,); a negative one leads away from it.
    Called without a condition of its own. One network call for null and all terms together, in
    which a row whose scale is 0 takes part only in the first term, whose var_frac is the answer's.
    Raises ValueError for no term, and for a further condition.
    """

    denoise: Denoises
    null: Conditioning
    terms: Sequence[tuple[Conditioning, float | Tensor]]

    def __post_init__(self):
        if not self.terms:
            raise ValueError("there is no condition to compose: give at least one (cond, scale)")
        for _, scale in self.terms:
            check_scale(scale)

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoise.schedule

    def __call__(self, x: Tensor, t: int | Tensor, cond: Conditioning | None = None) -> Prediction:
        if cond is not None:
            raise ValueError("a composed denoiser has its conditions already: leave out cond")
        scales = [per_row(scale, x) for _, scale in self.terms]
        rows = [torch.arange(len(x))] * 2  # which take part: in the null and in the first term all
        rows += [taking_part(scale, len(x)) for _, scale in self.terms[1:]]
        conds = [self.null, *(term for term, _ in self.terms)]
        conds = [own.rows(len(x)).take(these) for own, these in zip(conds, rows, strict=True)]
        every = torch.cat(rows)
        every_t = t[every] if isinstance(t, Tensor) and t.ndim else t
        pred = self.denoise(x[every], every_t, reduce(Conditioning.cat, conds))
        sizes = [len(these) for these in rows]
        eps_u, *others = pred.eps.split(sizes)
        guided = eps_u
        for eps, these, scale in zip(others, rows[1:], scales, strict=True):
            difference = torch.zeros_like(eps_u)
            difference[these] = eps - eps_u[these]
            guided = guided + scale * difference
        var_frac = None if pred.var_frac is None else pred.var_frac.split(sizes)[1]
        return from_eps(self.schedule, x, t, guided)._replace(var_frac=var_frac)


@dataclass(frozen=True)
class ScoreGuidance:
    """Guidance by any differentiable score: eps − scale √(1−ᾱ_t) ∇_x log_prob(x, t).

    log_prob: (x (B, …), t) → (B,), such as log p(y | x_t) of a classifier that knows noise.
    This is ADM's Algorithm 2 (Dhariwal and Nichol 2021), with the scale that its printed line
    forgot. Raises ValueError if log_prob does not give one number per row, or gives
    one that does not depend on x by differentiable steps.
    """

    denoise: Denoises
    log_prob: Callable[[Tensor, int | Tensor], Tensor]
    scale: float | Tensor = 1.0

    def __post_init__(self):
        check_scale(self.scale)

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoise.schedule

    def __call__(self, x: Tensor, t: int | Tensor, cond: Conditioning | None = None) -> Prediction:
        pred = self.denoise(x, t, cond)
        shift = per_row(self.scale, x) * self.schedule.noise(t, x) * gradient(self.log_prob, x, t)
        return from_eps(self.schedule, x, t, pred.eps - shift)._replace(var_frac=pred.var_frac)


def mean_shift(
    schedule: NoiseSchedule,
    pred: Prediction,
    x: Tensor,
    t: int,
    s: int,
    generator: torch.Generator | None = None,
    *,
    log_prob: Callable[[Tensor, int], Tensor],
    scale: float | Tensor = 1.0,
    v: float = 0.0,
) -> Tensor:
    """ADM's Algorithm 1, an ancestral step whose mean moves by scale Σ ∇_x log_prob(x, t), (B, …).

    A step for `sample`, by functools.partial(mean_shift, log_prob=..., scale=...). Σ is the model's
    own variance of the step, by v or learned, as in `ddpm`; the gradient is taken at the noisy x,
    as the authors' code does. ScoreGuidance moves the same mean by β_t/√α_t times the gradient: the
    two agree where Σ is near β_t, and part over long steps. Raises ValueError as it does.
    """
    check_scale(scale)
    mean, variance = ancestral(schedule, pred, x, t, s, v)
    shift = per_row(scale, x) * like(variance, x) * gradient(log_prob, x, t)
    noise = noise_like(x, generator) if s > 0 else torch.zeros_like(x)
    return mean + shift + like(variance.sqrt(), x) * noise


def check_scale(scale: float | Tensor) -> None:
    """Raises ValueError unless `scale` is a finite number or a tensor (B,) of them."""
    if not isinstance(scale, Tensor) or scale.ndim == 0:
        number(scale, "scale")
    elif scale.ndim != 1 or not torch.isfinite(scale).all():
        raise ValueError(
            f"scale has shape {tuple(scale.shape)}, but must be one finite number, or a tensor "
            "(B,) of finite numbers, one per row"
        )


def per_row(scale: float | Tensor, x: Tensor) -> float | Tensor:
    """`scale` shaped to multiply x, (B, 1, …) if every row has its own."""
    if not isinstance(scale, Tensor) or scale.ndim == 0:
        return scale
    if len(scale) != len(x):
        raise ValueError(f"scale has {len(scale)} rows, but the batch has {len(x)}")
    return like(scale, x).view(-1, *[1] * (x.ndim - 1))


def taking_part(scale: float | Tensor, rows: int) -> Tensor:
    """The rows whose scale is not 0, (R,) long on the CPU; all of them where one scale is for
    all."""
    if not isinstance(scale, Tensor) or scale.ndim == 0:
        return torch.arange(rows)
    return scale.cpu().nonzero()[:, 0]


def of_x0(
    denoise: Denoises, score: Callable[[Tensor], Tensor], cond: Conditioning | None = None
) -> Callable[[Tensor, int | Tensor], Tensor]:
    """A score of clean pictures, (B, …) → (B,), as a score of (x, t): it is asked about the
    denoiser's x0, and its gradient goes back through the denoiser.

    So a network that never saw noise can guide (diffusion posterior sampling, Chung et al. 2023;
    universal guidance, Bansal et al. 2023). log p(y | x_t) becomes log p(y | x0 = E[x0 | x_t]),
    which is no longer exact: it forgets how uncertain x0 still is.
    """
    return lambda x, t: score(denoise(x, t, cond).x0)


def gradient(log_prob: Callable, x: Tensor, t: int | Tensor) -> Tensor:
    """∇_x log_prob(x, t), (B, …); summing over the batch keeps each row's gradient its own."""
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        values = log_prob(x, t)
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        if shape != (len(x),):
            raise ValueError(
                f"log_prob gave {shape}, but must give one number per row, shape ({len(x)},): "
                "sum over everything but the batch"
            )
        pull = None
        if values.requires_grad:  # of x, or only of a network behind a detach
            (pull,) = torch.autograd.grad(values.sum(), x, allow_unused=True)
        if pull is None:
            raise ValueError(
                "log_prob gave numbers without a gradient to x: compute them with torch, without "
                "no_grad, inference_mode, detach, argmax or a round trip through numpy"
            )
        return pull
