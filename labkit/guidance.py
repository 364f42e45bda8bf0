"""Guidance: a denoiser that is steered. No sampler and no network knows of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from labkit.conditioning import Conditioning
from labkit.denoiser import Denoises, Prediction, from_eps
from labkit.inputs import number
from labkit.schedule import NoiseSchedule


@dataclass(frozen=True)
class ClassifierFree:
    """Classifier-free guidance (Ho and Salimans 2022): eps_u + scale (eps_c − eps_u).

    null: the condition that means "none", one row or B rows: data, not a flag.
    scale: GLIDE's convention: 0 is unconditional, 1 conditional, more exaggerates the condition.
        The paper's w is scale − 1 (equation 6).
    At scale 0 and 1 one network call does and the answer is the plain one, bit for bit; otherwise
    both conditions go through the network as one batch. var_frac stays the conditional one: only
    eps is guided. Raises ValueError for a scale that is not finite, or a condition unlike the null.
    """

    denoise: Denoises
    null: Conditioning
    scale: float

    def __post_init__(self):
        number(self.scale, "scale")

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoise.schedule

    def __call__(self, x: Tensor, t: int | Tensor, cond: Conditioning | None = None) -> Prediction:
        null = self.null.rows(len(x))
        if self.scale == 0 or cond is None:
            return self.denoise(x, t, null)
        if self.scale == 1:
            return self.denoise(x, t, cond)
        both_t = torch.cat([t, t]) if isinstance(t, Tensor) and t.ndim else t
        both = self.denoise(torch.cat([x, x]), both_t, cond.rows(len(x)).cat(null))
        eps_c, eps_u = both.eps.chunk(2)
        pred = from_eps(self.schedule, x, t, eps_u + self.scale * (eps_c - eps_u))
        if both.var_frac is not None:
            pred = pred._replace(var_frac=both.var_frac.chunk(2)[0])
        return pred


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
    scale: float = 1.0

    def __post_init__(self):
        number(self.scale, "scale")

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoise.schedule

    def __call__(self, x: Tensor, t: int | Tensor, cond: Conditioning | None = None) -> Prediction:
        pred = self.denoise(x, t, cond)
        shift = self.scale * self.schedule.noise(t, x) * gradient(self.log_prob, x, t)
        return from_eps(self.schedule, x, t, pred.eps - shift)._replace(var_frac=pred.var_frac)


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
        if not values.requires_grad:
            raise ValueError(
                "log_prob gave numbers without a gradient to x: compute them with torch, without "
                "no_grad, detach, argmax or a round trip through numpy"
            )
        return torch.autograd.grad(values.sum(), x)[0]
