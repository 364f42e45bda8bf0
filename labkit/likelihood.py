"""How many bits a diffusion model needs for a picture: the variational bound, term by term.

Noising is fixed, denoising is learned; the bound compares them step by step (DDPM, equation 5):

    L_T     what of the picture is left in the noise at time T     `prior_term`
    L_{t−1} the posterior q(x_{t−1} | x_t, x_0) against the model  `term`, t ≥ 2
    L_0     the picture itself, from x_1, as 256 gray levels       `term`, t = 1

All terms are in bits per dimension (nats / (D ln 2)); their sum, for pictures of 8 bits, is at
least what the best code needs, and 8 is what no model at all needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.casting import back, like, moved, wide, widest
from labkit.conditioning import Conditioning
from labkit.denoiser import Denoiser, Denoises, Prediction, unit_size
from labkit.inputs import float_batch, number
from labkit.sampler import noise_like
from labkit.schedule import NoiseSchedule

HALF_BIN = 1 / 255  # half the distance of two of the 256 levels, which lie at −1 … 1


class Bound(NamedTuple):
    """The variational bound of some pictures, each number a mean in bits per dimension."""

    total: float
    prior: float  # L_T
    steps: Tensor  # (T+1,) float64: steps[t] is L_{t−1}, so steps[1] the decoder; steps[0] = 0


def bits(nats: Tensor) -> Tensor:
    """(B, …) nats for each value → (B,) bits per dimension."""
    return nats.flatten(1).mean(1) / math.log(2)


def kl(mean_1: Tensor, log_var_1: Tensor, mean_2: Tensor, log_var_2: Tensor) -> Tensor:
    """KL(N(mean_1, var_1) ‖ N(mean_2, var_2)) in nats, value by value."""
    ratio, gap = log_var_1 - log_var_2, (mean_1 - mean_2).square()
    return 0.5 * (ratio.exp() - 1 - ratio + gap * (-log_var_2).exp())


def decoder_log_prob(x0: Tensor, mean: Tensor, log_var: Tensor) -> Tensor:
    """log of the Gaussian's mass on the bin around each of the levels x0, in nats, (B, …), in the
    widest dtype of the device (DDPM, equation 13). The bins at −1 and 1 are open, so that all 256
    add up to 1.

    The exact Gaussian, where the code of Improved DDPM has an approximation by tanh, and cut off
    only where the numbers end, not at 1e-12.
    """
    there = mean
    if widest(there.device) != torch.float64:  # float32 ends at 87 nats, far from enough
        x0, mean, log_var = x0.cpu(), mean.cpu(), log_var.cpu()
    x0, mean, std = x0.double(), mean.double(), (log_var.double() / 2).exp()
    low = (x0 - HALF_BIN - mean) / std
    high = (x0 + HALF_BIN - mean) / std
    low = torch.where(x0 < -0.999, -math.inf, low)
    high = torch.where(x0 > 0.999, math.inf, high)
    # Far above the mean both are 1 but for rounding: look at the bin from the other side there.
    above = low + high > 0
    low, high = torch.where(above, -high, low), torch.where(above, -low, high)
    # erfc, since torch's ndtr is already 0 at 9 standard deviations.
    mass = (torch.erfc(-high / math.sqrt(2)) - torch.erfc(-low / math.sqrt(2))) / 2
    return back(mass.clamp(min=torch.finfo(mass.dtype).tiny).log(), there)


def log_variance(
    schedule: NoiseSchedule, x: Tensor, t: int | Tensor, pred: Prediction, v: float = 0.0
) -> Tensor:
    """log of the model's variance for the step t → t − 1, to multiply x in its widest dtype: of
    β^v β̃^(1−v), with a learned pred.var_frac in place of v. β̃_1 would be 0 and its log not a
    number, so β̃_2 stands in."""
    later = t.clamp(min=2) if isinstance(t, Tensor) else max(t, 2)
    large = (1 - schedule.at(t, x) / schedule.at(t - 1, x)).log()
    small = large if schedule.T == 1 else schedule.posterior_weights(later, later - 1, x)[2].log()
    if pred.var_frac is None:
        return like(v * large + (1 - v) * small, wide(x))
    v = wide(pred.var_frac)
    return v * like(large, v) + (1 - v) * like(small, v)


def term(
    schedule: NoiseSchedule,
    pred: Prediction,
    x0: Tensor,
    x: Tensor,
    t: int | Tensor,
    v: float = 0.0,
) -> Tensor:
    """L_{t−1}, (B,) bits per dimension: what the step from x = x_t costs, given what is believed
    there. t: a whole number or (B,) long in 1 … T; v as in `labkit.sampler.ddpm`."""
    t = schedule.times(t, x, 1)
    from_x0, from_x, true_var = schedule.posterior_weights(t, t - 1, x)
    from_x0, from_x = like(from_x0, x), like(from_x, x)
    true_mean, mean = (wide(from_x0 * clean + from_x * x) for clean in (x0, pred.x0))
    log_var = log_variance(schedule, x, t, pred, v)
    # At t = 1 the posterior is a point: no KL, but the decoder. The clamp keeps its log finite.
    step = kl(true_mean, like(true_var.clamp(min=1e-30).log(), mean), mean, log_var)
    first = torch.as_tensor(t == 1)  # on the CPU: whether any is costs no look at the device
    if first.any():
        first = moved(first.view(-1, *[1] * (x.ndim - 1)), x.device)  # (B, 1, …) or (1, 1, …)
        step = torch.where(first, -decoder_log_prob(x0, mean, log_var), step)
    return bits(step)


def prior_term(schedule: NoiseSchedule, x0: Tensor) -> Tensor:
    """L_T, (B,) bits per dimension: q(x_T | x_0) against N(0, I). No network has a part in it."""
    alpha_bar = schedule.alpha_bar[-1]
    x0 = wide(x0)
    zero = torch.zeros((), dtype=x0.dtype)
    mean, log_var = like(alpha_bar.sqrt(), x0) * x0, like(torch.log1p(-alpha_bar), x0)
    return bits(kl(mean, log_var, zero, zero))


def terms(
    denoise: Denoises,
    x0: Tensor,
    cond: Conditioning | None = None,
    v: float = 0.0,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Every term of the sum, from t = T down to 1: yields t and L_{t−1}, (B,) bits per dimension,
    each with fresh noise and without gradients.

    x0: (B, …) on the 256 levels of 8 bits in [−1, 1], as `labkit.metrics.quantize` gives them.
    v: the fixed variance, as in `labkit.sampler.ddpm`; a learned one wins. Raises ValueError.
    """
    float_batch(x0, "x0")
    number(v, "v", 0, 1)
    levels = (x0 + 1) * 127.5
    if not (x0.abs().max() <= 1 + 1e-5 and (levels - levels.round()).abs().max() < 1e-2):
        raise ValueError(
            "x0 holds values between the 256 levels of 8-bit pictures in [-1, 1], where no number "
            "of bits exists: give labkit.metrics.quantize(x0)"
        )
    return _walk(denoise, x0, cond, v, generator)


def _walk(denoise, x0, cond, v, generator) -> Iterator[tuple[int, Tensor]]:
    schedule = denoise.schedule
    for t in range(schedule.T, 0, -1):
        with torch.no_grad():  # not around the yield: the watcher's own gradients are not ours
            x = schedule.diffuse(x0, t, noise_like(x0, generator))
            cost = term(schedule, denoise(x, t, cond), x0, x, t, v)  # (B,)
        yield t, cost


def bits_per_dim(
    denoise: Denoises,
    x0: Tensor,
    cond: Conditioning | None = None,
    v: float = 0.0,
    generator: torch.Generator | None = None,
) -> Bound:
    """The whole bound, averaged over the pictures: T calls of the network. Arguments as `terms`."""
    steps = torch.zeros(denoise.schedule.T + 1, dtype=torch.float64)
    for t, cost in terms(denoise, x0, cond, v, generator):
        steps[t] = float(cost.mean())
    prior = float(prior_term(denoise.schedule, x0).mean())
    return Bound(prior + float(steps.sum()), prior, steps)


def eps_weights(schedule: NoiseSchedule, v: float = 0.0) -> Tensor:
    """(T+1,) float64: what a squared error in eps costs at each t in the bound, in nats,
    β² / (2 σ² α (1 − ᾱ)) (DDPM, equation 12). L_simple sets all of them to 1. Entry 0 is 0."""
    x, t = torch.zeros(schedule.T, 1), torch.arange(1, schedule.T + 1)
    log_var = log_variance(schedule, x, t, Prediction(x, x), number(v, "v", 0, 1)).flatten()
    beta, alpha_bar = schedule.beta[1:], schedule.alpha_bar[1:]
    weights = beta**2 / (2 * log_var.exp() * (1 - beta) * (1 - alpha_bar))
    return torch.cat([torch.zeros(1, dtype=torch.float64), weights])


def hybrid_loss(
    denoiser: Denoiser,
    x0: Tensor,
    cond: Conditioning | None = None,
    generator: torch.Generator | None = None,
    weight: float = 0.001,
    also: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """L_hybrid = L_simple + weight · L_vlb, a scalar (Improved DDPM, equation 16), for a denoiser
    with learned variance. L_vlb, a sum over t, is estimated as T times the term at the drawn t, in
    bits per dimension; its gradient reaches the variance only, never the mean. also: as in
    `Denoiser.loss`.
    """
    unit_size(float_batch(x0, "x0"))
    schedule = denoiser.schedule
    t, eps, x = schedule.draw(x0, generator)
    pred = denoiser(x, t, cond)
    if pred.var_frac is None:
        raise ValueError(
            "the denoiser has no learned variance for the hybrid loss to train: build it with "
            "learned_variance=True, or use its own loss()"
        )
    answer = denoiser.target(pred.x0, t, pred.eps)  # what the network itself said
    simple = (answer - denoiser.target(x0, t, eps)).square().mean()
    still = pred._replace(x0=pred.x0.detach(), eps=pred.eps.detach())
    bound = schedule.T * term(schedule, still, x0, x, t).mean()
    loss = simple + weight * bound.to(simple.dtype)
    if also is not None:
        loss = loss + also(pred.x0.to(x0.dtype), x0, like(schedule.alpha_bar[t], x0))
    return loss


def training_loss(
    denoiser: Denoiser,
    x0: Tensor,
    cond: Conditioning | None = None,
    also: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    """What diffusion models are trained by, a scalar: L_hybrid where the variance is learned,
    L_simple elsewhere. Arguments as `hybrid_loss`."""
    if denoiser.learned_variance:
        return hybrid_loss(denoiser, x0, cond, also=also)
    return denoiser.loss(x0, cond, also=also)
