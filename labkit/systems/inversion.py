"""From a picture to the noise that a diffusion model draws it from, for a model that predicts x0.

Sources: Song et al. 2021 (DDIM), section 4.3, and Ramesh et al. 2022 (DALL·E 2), section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from labkit.conditioning import Conditioning
from labkit.denoiser import Denoises
from labkit.inputs import whole_number
from labkit.sampler import APART, invert, noise_like


def times_through(t0: int | None, steps: int, T: int) -> tuple[list[int], list[int]]:
    """As many falling steps, nearly even ones: from T to t0, and from there to 0. None: t0 is a
    tenth of T. Raises ValueError for t0 outside 1 … T − 1, and fewer than two steps or more than
    T."""
    t0 = whole_number(max(T // 10, 1) if t0 is None else t0, "t0", 1, T - 1)
    steps = whole_number(steps, "the number of steps", 2, T)
    first = min(max(round(steps * (T - t0) / T), 1), steps - 1)
    above = [T - (T - t0) * step // first for step in range(first + 1)]
    rest = steps - first
    return above, [t0 - t0 * step // rest for step in range(rest + 1)]


def inverted(
    denoise: Denoises,
    x0: Tensor,
    times: tuple[list[int], list[int]],
    cond: Conditioning | None = None,
    seed: int = 0,
) -> Tensor:
    """The noise x_T (B, …) from which `sample` comes back to the pictures x0 (B, …) by the times
    T … t0 … 0, those of `times_through`.

    Inversion asks for the noise (x − √ᾱ_t x̂0) / √(1−ᾱ_t). Of a clean picture it would begin at
    t = 1, where √(1−ᾱ_t) is tiny, but the x̂0 of a network that predicts x0 no better than a little
    later: an error of 0.03 becomes noise of standard deviation 5, and so x_T is none that the
    network knows. Therefore inversion begins at t0, where the noise is larger than that error. One
    jump leads there, x_t0 = √ᾱ x0 + √(1−ᾱ) eps, with noise that the seed draws, so that it need not
    be guessed; a picture without noise would lead to an x_T that is too small. On the way back the
    network draws anew what this noise covers: small details.

    A network that predicts eps or v divides by nothing: for it t0 = 1 is best.
    """
    above, (t0, *_) = times
    generator = torch.Generator().manual_seed(whole_number(seed, "seed", 0, 2**62) + APART)
    *_, last = invert(
        denoise, denoise.schedule.diffuse(x0, t0, noise_like(x0, generator)), above, cond
    )
    return last.x
