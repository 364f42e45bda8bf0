"""Gaussian mixtures: the measuring rod.

For a mixture every marginal of the forward process, its score and the posterior over components
are exact, so a sampler, a guidance rule or a learner's function can be tested before any network
exists.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from labkit.casting import back, like
from labkit.conditioning import Conditioning, heard
from labkit.denoiser import Prediction, from_x0
from labkit.inputs import float_batch, numbers, short, whole_number
from labkit.schedule import NoiseSchedule


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """Σ_k weights_k N(means_k, std_k² I) in D dimensions.

    means: (K, D); std: (K,) or one number, ≥ 0 (0 is a single point, an empirical data set);
    weights: (K,), positive, normalized here; even when left out. Everything is kept and computed
    in float64 on the CPU; what comes back lies where x does, in float64 if its device knows that.
    Raises ValueError for shapes that disagree, a negative std, weights not above 0.
    """

    means: Tensor  # (K, D)
    std: Tensor | float = 0.0  # (K,)
    weights: Tensor | None = None  # (K,)

    def __post_init__(self):
        means = numbers(self.means, "means", 2)
        K = len(means)
        one_std = isinstance(self.std, Real)
        std = numbers([self.std] * K if one_std else self.std, "std", 1)
        weights = numbers([1.0] * K if self.weights is None else self.weights, "weights", 1)
        if len(std) != K or len(weights) != K or std.min() < 0 or weights.min() <= 0:
            raise ValueError(
                f"a mixture of {K} components needs {K} stds, none negative, and {K} weights above "
                f"0, but std is {short(std.tolist())} and weights is {short(weights.tolist())}"
            )
        for name, value in (("means", means), ("std", std), ("weights", weights / weights.sum())):
            object.__setattr__(self, name, value)

    def sample(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """n draws (n, D), float64, and the component of each, (n,) long."""
        n = whole_number(n, "the number of draws", 1)
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)  # (n,)
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        return self.means[k] + self.std[k, None] * noise, k

    def log_joint(self, x: Tensor) -> Tensor:
        """log p(x, component), (B, K) float64, for x (B, D). Raises ValueError if a std is 0: a
        point has no density."""
        return back(self.log_joint_on_cpu(x), x)

    def log_joint_on_cpu(self, x: Tensor) -> Tensor:
        """`log_joint`, where it is computed."""
        if not (self.std > 0).all():
            raise ValueError(
                "a component has std 0, so it is a point and has no density: give every component "
                "a std above 0, or diffuse the mixture first"
            )
        D = self.means.shape[1]
        if float_batch(x, "x").ndim != 2 or x.shape[1] != D:
            raise ValueError(f"x has shape {tuple(x.shape)}, but this mixture lives in (B, {D})")
        # Differences, not ‖x‖² − 2x·m + ‖m‖²: near a mean that form loses half its digits.
        square = (x.cpu().double()[:, None] - self.means).square().sum(-1)  # (B, K)
        log_normalizer = D * (self.std.log() + 0.5 * math.log(2 * math.pi))  # (K,)
        return self.weights.log() - log_normalizer - square / (2 * self.std**2)

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x), (B,) float64."""
        return self.log_joint(x).logsumexp(1)

    def posterior(self, x: Tensor) -> Tensor:
        """p(component | x), (B, K) float64; rows sum to 1."""
        return self.log_joint(x).softmax(1)

    def score(self, x: Tensor) -> Tensor:
        """∇_x log p(x), (B, D), in x's dtype: each component pulls to its mean, by its share."""
        share = self.log_joint_on_cpu(x).softmax(1)  # (B, K)
        pull = (self.means - x.cpu().double()[:, None]) / self.std[:, None] ** 2  # (B, K, D)
        return like((share[..., None] * pull).sum(1), x)

    def diffused(self, schedule: NoiseSchedule, t: int) -> GaussianMixture:
        """The marginal q(x_t): means shrink by √ᾱ_t, variances become ᾱ_t std² + 1 − ᾱ_t."""
        alpha_bar = schedule.at(t, self.means)
        std = (alpha_bar * self.std**2 + 1 - alpha_bar).sqrt()
        return GaussianMixture(alpha_bar.sqrt() * self.means, std, self.weights)

    def denoiser(self, schedule: NoiseSchedule) -> MixtureDenoiser:
        """The exact denoiser of this data: what a perfect network would learn."""
        return MixtureDenoiser(self, schedule)


@dataclass(frozen=True, eq=False)
class MixtureDenoiser:
    """E[x_0 | x_t] of a mixture, exactly. x: (B, …), flattened to D; t: one time for all, 1 … T.

    cond.vector (B, K), not negative, reweights the components per row: a one-hot row conditions on
    a component, all ones is the null.
    """

    mixture: GaussianMixture
    schedule: NoiseSchedule

    def __call__(self, x: Tensor, t: int, cond: Conditioning | None = None) -> Prediction:
        flat = float_batch(x, "x").flatten(1).cpu().double()  # (B, D)
        t = whole_number(t, "time t", 1, self.schedule.T)
        alpha_bar = self.schedule.alpha_bar[t]
        noised = self.mixture.diffused(self.schedule, t)
        log_joint = noised.log_joint(flat)  # (B, K)
        if cond is not None:
            log_joint = log_joint + self.log_weights(cond, len(x))
        share = log_joint.softmax(1)  # (B, K)
        # Within a component, x_0 given x_t is Gaussian; its mean is a straight line in x_t.
        gain = alpha_bar.sqrt() * self.mixture.std**2 / noised.std**2  # (K,)
        x0 = share @ (self.mixture.means - gain[:, None] * noised.means)
        x0 = x0 + (share @ gain)[:, None] * flat
        return from_x0(self.schedule, x, t, like(x0.view(x.shape), x))

    def log_weights(self, cond: Conditioning, n: int) -> Tensor:
        """log cond.vector, (n, K); raises ValueError for another shape or a weight below 0."""
        K = len(self.mixture.means)
        vector = heard(cond, n, vector=K).vector
        if vector is None or not (vector >= 0).all() or not (vector.sum(1) > 0).all():
            raise ValueError(
                f"the condition's vector is {short(vector)}, but a mixture of {K} components needs "
                f"{K} weights per row, none negative and not all 0"
            )
        return vector.cpu().double().log()
