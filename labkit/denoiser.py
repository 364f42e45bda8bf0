"""A denoiser: a network, read through a noise schedule.

Whatever the network predicts, a denoiser answers with both x0 and eps, so that samplers and
guidance never ask which. Wrappers take a denoiser and give a denoiser: they have `schedule` and are
called as `denoise(x, t, cond)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from labkit.casting import like
from labkit.conditioning import Conditioning
from labkit.inputs import float_batch, number, one_of, same_shape
from labkit.schedule import NoiseSchedule


class Prediction(NamedTuple):
    """What a denoiser believes about x_t. Both views always agree: x_t = √ᾱ_t x0 + √(1−ᾱ_t) eps."""

    x0: Tensor  # (B, …)  the clean picture
    eps: Tensor  # (B, …)  the noise in x_t, of unit variance
    var_frac: Tensor | None = None  # (B, …)  v of Improved DDPM's equation 15, if learned


class Denoises(Protocol):
    """The contract of every denoiser and wrapper; t is one time for all rows, or (B,)."""

    schedule: NoiseSchedule

    def __call__(
        self, x: Tensor, t: int | Tensor, cond: Conditioning | None = None
    ) -> Prediction: ...


def from_x0(schedule: NoiseSchedule, x: Tensor, t: int | Tensor, x0: Tensor) -> Prediction:
    """The prediction that says `x0`; eps follows. Needs t ≥ 1: at t = 0 there is no noise."""
    signal, noise = schedule.signal_and_noise(t, x)
    return Prediction(x0, (x - signal * x0) / noise)


def from_eps(schedule: NoiseSchedule, x: Tensor, t: int | Tensor, eps: Tensor) -> Prediction:
    """The prediction that says `eps`; x0 follows."""
    signal, noise = schedule.signal_and_noise(t, x)
    return Prediction((x - noise * eps) / signal, eps)


def from_v(schedule: NoiseSchedule, x: Tensor, t: int | Tensor, v: Tensor) -> Prediction:
    """The prediction that says v = √ᾱ_t eps − √(1−ᾱ_t) x0 (Salimans and Ho 2022, section 4)."""
    signal, noise = schedule.signal_and_noise(t, x)
    return Prediction(signal * x - noise * v, noise * x + signal * v)


LARGEST = 3.0  # root mean square of x0: of unit size, where bytes reach 100 and raw digits 7

READ = {"eps": from_eps, "x0": from_x0, "v": from_v}


class Denoiser(nn.Module):
    """A network and how to read it.

    net: called as net(x, t, cond), x (B, C, …), t (B,) long in 1 … T, always the schedule's own
        times; returns (B, C, …), or (B, 2C, …) with learned_variance.
    predicts: what the first C channels mean: "eps", "x0" or "v".
    learned_variance: the last C channels o give var_frac = (o + 1) / 2, unsquashed, as in the
        code of Improved DDPM.
    """

    def __init__(
        self,
        net: nn.Module,
        schedule: NoiseSchedule,
        predicts: str = "eps",
        learned_variance: bool = False,
    ):
        super().__init__()
        self.net, self.schedule = net, schedule
        self.predicts = one_of(predicts, READ, "prediction")
        self.learned_variance = learned_variance

    def extra_repr(self) -> str:
        """What printing it shows, and what a run that goes on is compared by."""
        T, level = self.schedule.T, self.schedule.alpha_bar.mean()
        return f"predicts={self.predicts!r}, T={T}, mean of alpha_bar={level:.6f}"

    def forward(self, x: Tensor, t: int | Tensor, cond: Conditioning | None = None) -> Prediction:
        """x: (B, C, …) float; t: 1 … T, one for all or (B,) long. Raises ValueError otherwise."""
        t = self.schedule.times(t, float_batch(x, "x"), 1)
        out, raw = self.answer(x, t, cond)
        var_frac = None if raw is None else (raw + 1) / 2
        return READ[self.predicts](self.schedule, x, t, out)._replace(var_frac=var_frac)

    def answer(
        self, x: Tensor, t: int | Tensor, cond: Conditioning | None
    ) -> tuple[Tensor, Tensor | None]:
        """What the network says of x, (B, C, …), and of the variance, if it has learned that.
        Raises ValueError for a network whose answer has another shape."""
        out, raw = self.net(x, self.schedule.for_network(t, x), cond), None
        if self.learned_variance:
            out, raw = out[:, : x.shape[1]], out[:, x.shape[1] :]
            same_shape(raw, x, "what the network says of the variance and x")
        same_shape(out, x, "the network's prediction and x")
        return out, raw

    def target(self, x0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """(B, …) what the network should answer for x_t = diffuse(x0, t, eps)."""
        if self.predicts == "v":
            signal, noise = self.schedule.signal_and_noise(t, x0)
            return signal * eps - noise * x0
        return eps if self.predicts == "eps" else x0

    def loss(
        self,
        x0: Tensor,
        cond: Conditioning | None = None,
        generator: torch.Generator | None = None,
        also: Callable[[Tensor, Tensor, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """L_simple, a scalar: the mean squared error in what the network predicts, at uniform t in
        1 … T (DDPM, equation 14 and algorithm 1).

        x0: (B, C, …) float of about unit size, pictures in [−1, 1]. Raises ValueError for bytes.
        also: a further loss, called as also(predicted x0, x0, ᾱ_t (B,)), added to the first, such
            as `labkit.systems.perceptual.PerceptualLoss`.
        """
        unit_size(float_batch(x0, "x0"))
        t, eps, x = self.schedule.draw(x0, generator)
        out, _ = self.answer(x, t, cond)
        loss = (out - self.target(x0, t, eps)).square().mean()
        if also is not None:
            pred = READ[self.predicts](self.schedule, x, t, out)
            loss = loss + also(pred.x0.to(x0.dtype), x0, like(self.schedule.alpha_bar[t], x0))
        return loss


def unit_size(x0: Tensor) -> None:
    """Raises ValueError unless the data are about as large as the noise."""
    size = float(x0.detach().float().square().mean().sqrt())
    if not size <= LARGEST:  # also true of NaN
        raise ValueError(
            f"x0 has a root mean square of {size:g}, but the noise has unit variance: "
            "scale pictures to [-1, 1] and latents to unit variance"
        )


@dataclass(frozen=True)
class MapX0:
    """A denoiser whose x0 goes through `fn`; eps is derived again, so that both views still agree
    (without it, DDIM's direction would point to the unclipped picture).

    fn: (B, …) → (B, …), such as `clip`, `dynamic_threshold(0.995)`, `keep_known(image, mask)`.
    """

    denoise: Denoises
    fn: Callable[[Tensor], Tensor]

    @property
    def schedule(self) -> NoiseSchedule:
        return self.denoise.schedule

    def __call__(self, x: Tensor, t: int | Tensor, cond: Conditioning | None = None) -> Prediction:
        pred = self.denoise(x, t, cond)
        x0 = self.fn(pred.x0)
        same_shape(x0, pred.x0, "what MapX0's function gave and the x0 that it was given")
        return from_x0(self.schedule, x, t, x0.to(x.dtype))._replace(var_frac=pred.var_frac)


def clip(x0: Tensor) -> Tensor:
    """Static thresholding: to the pictures' own range, [−1, 1]."""
    return x0.clamp(-1, 1)


def dynamic_threshold(p: float = 0.995) -> Callable[[Tensor], Tensor]:
    """Imagen's dynamic thresholding (section 2.3): each picture is clipped at its own p-quantile s
    of |x0|, but at least 1, and divided by s. p: a share in (0, 1]."""
    if number(p, "p", 0, 1) == 0:
        raise ValueError("p is 0, but must be a share above 0, such as 0.995")

    def threshold(x0: Tensor) -> Tensor:
        s = torch.quantile(x0.abs().flatten(1).float(), p, dim=1).clamp(min=1)  # (B,)
        s = s.to(x0.dtype).view(-1, *[1] * (x0.ndim - 1))
        return x0.clamp(-s, s) / s

    return threshold


def keep_known(image: Tensor, mask: Tensor) -> Callable[[Tensor], Tensor]:
    """Inpainting: where mask is 1 the picture is known and stays (GLIDE's `denoised_fn`).

    image: (B, C, H, W) in [−1, 1]; mask: broadcasting to it, 1 or True = known, 0 = free.
    """

    def keep(x0: Tensor) -> Tensor:
        known = like(mask, x0)
        return known * like(image, x0) + (1 - known) * x0

    return keep
