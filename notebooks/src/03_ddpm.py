# %% [markdown]
# # 03 · DDPM: learning the reverse process
#
# **The question.** For lesson 02's petals, the best prediction of the clean point was known.
# For handwriting it is not. Can a network learn it, and what exactly must it learn?
#
# **Afterwards you can**
# - derive DDPM's reverse step and its loss, and check each formula by number;
# - train a U-Net from random weights to readable digits in under a minute;
# - read a noise prediction as a score;
# - say what clipping, the kind of prediction, a step's variance and averaged weights change;
# - recognize four classic mistakes by their looks, and know a fifth that ancestral steps hide.
#
# **Before:** lesson 02.
#
# **Time:** 55 minutes to read and play, 110 for all exercises; about 80 seconds to run.
#
# **On the map:** 02 forward diffusion → **03 DDPM** → 04 DDIM.

# %%
import math
from copy import deepcopy
from functools import partial

import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from labkit import likelihood, metrics, sampler, zoo
from labkit import schedule as schedules
from labkit.data import digits
from labkit.denoiser import Denoiser, MapX0, clip, from_eps, from_x0
from labkit.lab import checks, ddpm_plot, plots, quiz, show_source, widgets
from labkit.mixture import GaussianMixture
from labkit.nets.layers import sinusoid
from labkit.nets.unet import UNet, UNetConfig
from labkit.sampler import ddim, ddpm, sample
from labkit.schedule import NoiseSchedule, from_betas, trailing_spacing
from labkit.train import shuffled, train

plots.use_style()
torch.manual_seed(0)
linear, T = schedules.linear(), 1000  # the schedule of the DDPM paper

# %% [markdown]
# We use real handwriting, the shipped network, and a small classifier, in whose features we compare pictures. After a restart, run these cells, then any section.

# %%
handwriting = digits.load(16)[0]  # (1797, 1, 16, 16), real digits in [-1, 1]
denoiser = zoo.load("ddpm-digits").denoiser
table, clipped = denoiser.schedule, MapX0(denoiser, clip)
classifier = zoo.load("classifier-digits")
real = metrics.see(classifier, handwriting)
halves = [metrics.halves(real, seed) for seed in range(4)]
peaks = GaussianMixture([[-1.0], [1.0]], std=[0.15, 0.3], weights=[0.4, 0.6])  # data in 1-D


# %%
def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def final(states):
    """The pictures at the end of sampling."""
    *_, state = states
    return state.x


def generate(denoise, n, steps, seed, shape=(1, 16, 16), **options):
    """The states of n samples; the start and all step noise come from one generator."""
    generator = seeded(seed)
    x = torch.randn(n, *shape, generator=generator)
    return sample(denoise, x, table.timesteps(steps), generator=generator, **options)


def distance(images, seed):
    """Fréchet distance to a random half of the real digits, over their variance."""
    return metrics.frechet_distance(
        halves[seed][0].features, metrics.see(classifier, images).features
    )


def floor(n):
    """What n real digits of the held-out half get, for each of the four splits."""
    pairs = [(reference.features, held_out.features[:n]) for reference, held_out in halves]
    return torch.tensor([metrics.frechet_distance(*pair) for pair in pairs])


# %% [markdown]
# ## 1 · See it first
#
# Ten of these digits were written by people; ten were generated in a hundred steps. Which ones are real?
# Decide before you run the second cell. (All samples in this lesson are uncurated.)

# %%
made = final(generate(clipped, 10, steps=100, seed=1))
both = torch.cat([handwriting[1000:1010], made])
order = torch.randperm(20, generator=seeded(5))
plots.show(
    plots.image_grid(both[order], columns=10),
    "Twenty handwritten digits, ten of them real and ten generated, in random order.",
)

# %%
names = ["real" if i < 10 else "made" for i in order.tolist()]
plots.show(
    plots.image_grid(both[order], columns=10, titles=names),
    "The same twenty digits, each marked as real or made.",
)

# %% [markdown]
# ## 2 · The idea
#
# Noising is a chain $x_0 \to x_1 \to \dots \to x_T$ of small steps that ends in noise. To generate, go back by **reverse steps** (steps back):
# given $x_t$, draw $x_s$, for $s < t$. Bayes' rule says how:
#
# $$q(x_s \mid x_t) \;=\; \frac{q(x_t \mid x_s)\; q(x_s)}{q(x_t)} .$$
#
# The first factor is the noising step, which is known. The second, the distribution of slightly noised pictures, is not. Two facts help:
#
# 1. **If the step is small, $q(x_s\mid x_t)$ is nearly a Gaussian.** A network can learn its mean.
# 2. **If $x_0$ is known, $q(x_s\mid x_t,x_0)$ is exactly a Gaussian**, and we can compute it.
#
# First, fact 1. The data are one number $x_0$ with two peaks (background or ink), so Bayes' rule can be computed on a grid.
# Gray is $q(x_s)$. **How long may a step be?** Move `steps at once` from 300 down to 1.


# %%
def step_back(figure, t=400, steps=300, x_t=0.1):
    return ddpm_plot.draw_step_back(figure, peaks, linear, t, steps, x_t)


widgets.Redraw(
    step_back,
    t=(20, 1000, 5),
    steps=(1, 400),
    x_t=(-2.0, 2.0, 0.05),
    labels={"t": "time t", "steps": "steps at once"},
    alt=lambda t, steps, x_t: (
        f"The exact distribution of x at time {max(0, t - steps)}, given that x is {x_t:.2f} at time {t}, and the Gaussian of the same mean and variance, over the distribution of all data at the earlier time in gray."
    ),
)

# %%
grid = torch.linspace(-6, 6, 4801, dtype=torch.float64)
times, wrong = (1000, 600, 300, 200, 150, 100), {}


def misfit(t, steps, x_t):
    density = ddpm_plot.reverse_density(peaks, linear, t, t - steps, x_t, grid)
    return ddpm_plot.misplaced(density, grid)


print("total variation distance to the Gaussian of the same mean and variance, x_t = 0.1\n")
print("from t =       " + "".join(f"{t:8}" for t in times))
for steps in (100, 10, 1):
    wrong |= {(steps, t): misfit(t, steps, 0.1) for t in times}
    print(f"{steps:4} at once   " + "".join(f"{wrong[steps, t]:8.4f}" for t in times))
worst = {x: max(range(100, 1001, 25), key=lambda t: misfit(t, 100, x)) for x in (-0.5, 0.1, 1.0)}
print("\nthe worst t for 100 at once:", ", ".join(f"{t} (x_t = {x})" for x, t in worst.items()))
assert max(wrong[10, t] for t in times) < 0.05 < 0.2 < wrong[100, 200]
assert wrong[10, 1000] < 1e-3 and max(worst.values()) < 400

# %% [markdown]
# (0: equal distributions; 1: no overlap.) At small times and between the peaks, $q(x_s\mid x_t)$ of a long step has two peaks; a Gaussian has one. A step with $s=t-10$ changes $x$ only a little, and the Gaussian fits better.
# **This is one reason for many small steps.**
#
# ## 3 · The derivation
#
# ### 3.1 The posterior, by completing the square
#
# Now the second fact: $x_0$ is known. Write $\alpha = \bar\alpha_t/\bar\alpha_s$ for what the step $s \to t$ keeps, and $\beta = 1-\alpha$ for the
# noise that it adds. (The papers take $s = t-1$.) Both factors are known Gaussians:
#
# $$q(x_s \mid x_t, x_0) \;\propto\; \underbrace{\mathcal N\!\left(x_t;\ \sqrt{\alpha}\,x_s,\ \beta\right)}_{q(x_t\mid x_s)}\;\cdot\;\underbrace{\mathcal N\!\left(x_s;\ \sqrt{\bar\alpha_s}\,x_0,\ 1-\bar\alpha_s\right)}_{q(x_s\mid x_0)}.$$
#
# Take $-2\log$ and sort by powers of $x_s$. The rest is a constant:
#
# $$\frac{(x_t-\sqrt{\alpha}\,x_s)^2}{\beta} + \frac{(x_s-\sqrt{\bar\alpha_s}\,x_0)^2}{1-\bar\alpha_s}
#  \;=\; \underbrace{\Big(\frac{\alpha}{\beta}+\frac{1}{1-\bar\alpha_s}\Big)}_{\Lambda}x_s^2 \;-\; 2\underbrace{\Big(\frac{\sqrt{\alpha}}{\beta}x_t+\frac{\sqrt{\bar\alpha_s}}{1-\bar\alpha_s}x_0\Big)}_{h}x_s + \text{const}.$$
#
# Complete the square: $\Lambda x_s^2 - 2hx_s = \Lambda\,(x_s - h/\Lambda)^2 + \text{const}$, a Gaussian with mean $h/\Lambda$ and variance $1/\Lambda$.
# Over one denominator, the numerator of $\Lambda$ is $\alpha - \alpha\bar\alpha_s + \beta$. This is $1-\bar\alpha_t$, since $\alpha\bar\alpha_s = \bar\alpha_t$ and $\alpha+\beta=1$:
#
# $$\boxed{\;\tilde\beta = \frac1\Lambda = \frac{1-\bar\alpha_s}{1-\bar\alpha_t}\,\beta,\qquad
#   \tilde\mu = \frac h\Lambda = \underbrace{\frac{\sqrt{\bar\alpha_s}\,\beta}{1-\bar\alpha_t}}_{c_1}x_0 + \underbrace{\frac{\sqrt{\alpha}\,(1-\bar\alpha_s)}{1-\bar\alpha_t}}_{c_2}x_t\;}\qquad\text{(DDPM, equations 6 and 7)}$$
#
# Check, without algebra: on a grid, multiply the factors and divide by the sum.

# %% tags=["nbval-check-output"]
t, s, x_t, x0 = 300, 250, 0.4, -0.7
at_t, at_s = linear.alpha_bar[t], linear.alpha_bar[s]
alpha = at_t / at_s
grid = torch.linspace(-5, 5, 200_001, dtype=torch.float64)
log_step = -((x_t - alpha.sqrt() * grid) ** 2) / (2 * (1 - alpha))
log_jump = -((grid - at_s.sqrt() * x0) ** 2) / (2 * (1 - at_s))
share = (log_step + log_jump).softmax(0)
mean = (share * grid).sum()
variance = (share * (grid - mean) ** 2).sum()

one = torch.ones(1, 1, dtype=torch.float64)
formula_mean, formula_variance = linear.posterior(x0 * one, x_t * one, t, s)
print(f"mean       grid {mean:.10f}   formula {formula_mean.item():.10f}")
print(f"variance   grid {variance:.10f}   formula {formula_variance.item():.10f}")

# %% [markdown]
# The product is narrower than both factors:

# %%
factors = {
    "q(x_t | x_s)": log_step,
    "q(x_s | x_0)": log_jump,
    "the posterior": log_step + log_jump,
}
plots.show(
    ddpm_plot.densities(grid, factors, "Two factors, and the posterior"),
    "Three bell curves over x_s: the factor q(x_t | x_s) on the right, the factor q(x_s | x_0) on the left, and between them the posterior, which is narrower and higher than both.",
)

# %% [markdown]
# Three tests. Averaged over $x_t$, the posterior gives the jump again: $c_1 + c_2\sqrt{\bar\alpha_t} = \sqrt{\bar\alpha_s}$ for the mean, $c_2^2(1-\bar\alpha_t) + \tilde\beta = 1-\bar\alpha_s$ for the variance.
# At $s = 0$ the picture is known: $c_1 = 1$, $c_2 = 0$, $\tilde\beta = 0$.

# %% tags=["nbval-check-output"]
zero = torch.zeros_like(one)
for t, s in ((1000, 999), (600, 300), (2, 1), (1, 0)):
    c1, tilde = linear.posterior(one, zero, t, s)
    c2, _ = linear.posterior(zero, one, t, s)
    at_t, at_s = linear.alpha_bar[t], linear.alpha_bar[s]
    mean_off = (c1 + c2 * at_t.sqrt() - at_s.sqrt()).abs().item()
    variance_off = (c2**2 * (1 - at_t) + tilde - (1 - at_s)).abs().item()
    print(
        f"{t:4} → {s:3}   c1 {c1.item():.6f}   c2 {c2.item():.6f}   β̃ {tilde.item():.6f}"
        f"   both identities hold: {max(mean_off, variance_off) < 1e-12}"
    )

# %% [markdown]
# ### 3.2 If $x_0$ is not known
#
# Many pictures can give the same $x_t$. We average their posteriors. The mean is linear in $x_0$, so only $\mathbb E[x_0\mid x_t]$ is needed.
# The *law of total variance* adds the mean of the variances and the variance of the means:
#
# $$\mathbb E[x_s\mid x_t] = c_1\,\mathbb E[x_0\mid x_t] + c_2\,x_t,\qquad
#   \operatorname{Var}[x_s\mid x_t] = \tilde\beta + c_1^2\,\operatorname{Var}[x_0\mid x_t].$$
#
# **For the mean of a reverse step, the network needs only the best prediction of the clean picture.** The variance should be
#
# - $\tilde\beta$ ("fixed small" in DDPM's code) if $x_0$ is certain, and never less;
# - $\beta$ ("fixed large") if the data are standard normal: then $\operatorname{Var}[x_0\mid x_t] = 1-\bar\alpha_t$, and $\tilde\beta + c_1^2(1-\bar\alpha_t) = \beta$.
#
# Data of variance at most 1 need at most $\beta$ *on average over $x_t$*. At a single $x_t$ they may need more:

# %% tags=["nbval-check-output"]
grid = torch.linspace(-6, 6, 48_001, dtype=torch.float64)
print("   t →   s    x_t    mean of x_s            variance of x_s           β̃         β       β̃/β")
above = []
for t, s, x_t in ((600, 590, 0.1), (600, 590, 1.5), (300, 200, 0.1), (900, 600, -0.5)):
    here, clean = (
        ddpm_plot.moments(ddpm_plot.reverse_density(peaks, linear, t, to, x_t, grid), grid)
        for to in (s, 0)
    )
    c1, tilde = (v.item() for v in linear.posterior(one, zero, t, s))
    c2 = linear.posterior(zero, one, t, s)[0].item()
    mean, variance = c1 * clean[0] + c2 * x_t, tilde + c1**2 * clean[1]
    beta = 1 - (linear.alpha_bar[t] / linear.alpha_bar[s]).item()
    above.append(here[1] > beta)
    assert abs(here[0] - mean) < 1e-6 and abs(here[1] - variance) < 1e-6
    print(
        f"{t:4} → {s:3}  {x_t:+.1f}   grid {here[0]:+.4f}, here {mean:+.4f}"
        f"   grid {here[1]:.5f}, here {variance:.5f}   {tilde:.5f}   {beta:.5f}   {tilde / beta:.3f}"
    )
assert above == [True, False, True, True]

# %% [markdown]
# In rows 1, 3 and 4 the true variance is above $\beta$. (These data have variance 1.02, only a little above 1.)
#
# ### 3.3 A bound that can be trained
#
# Our model is a chain of Gaussians, $p_\theta(x_{0:T}) = p(x_T)\prod_t p_\theta(x_{t-1}\mid x_t)$ with $p(x_T)=\mathcal N(0, I)$. For real pictures,
# $-\log p_\theta(x_0)$ should be small. Write $p_\theta(x_0)$, an integral over all paths, as an average over noising paths. Jensen ($\log$ of a mean ≥ mean of $\log$) gives
#
# $$-\log p_\theta(x_0) = -\log\ \mathbb E_{q(x_{1:T}\mid x_0)}\!\left[\frac{p_\theta(x_{0:T})}{q(x_{1:T}\mid x_0)}\right] \;\le\; \mathbb E_q\!\left[-\log p(x_T) - \sum_{t=1}^T \log\frac{p_\theta(x_{t-1}\mid x_t)}{q(x_t\mid x_{t-1})}\right].$$
#
# Rewrite $q$ by Bayes' rule, with $x_0$ known, for $t\ge2$:
#
# $$q(x_t\mid x_{t-1}) = q(x_t\mid x_{t-1}, x_0) = \frac{q(x_{t-1}\mid x_t,x_0)\;q(x_t\mid x_0)}{q(x_{t-1}\mid x_0)} .$$
#
# In the sum, the fractions $q(x_t\mid x_0)/q(x_{t-1}\mid x_0)$ cancel, except $q(x_T\mid x_0)/q(x_1\mid x_0)$. There, $q(x_1\mid x_0)$
# cancels against the step $t=1$:
#
# $$\boxed{\;\begin{aligned}-\log p_\theta(x_0) \;\le\;& \underbrace{\mathrm{KL}\big(q(x_T\mid x_0)\,\|\,p(x_T)\big)}_{L_T} \;+\; \underbrace{\mathbb E\big[-\log p_\theta(x_0\mid x_1)\big]}_{L_0}\\ &+\; \sum_{t=2}^T \underbrace{\mathbb E\,\mathrm{KL}\big(q(x_{t-1}\mid x_t,x_0)\,\|\,p_\theta(x_{t-1}\mid x_t)\big)}_{L_{t-1}}\end{aligned}\;}\quad\text{(equation 5)}$$
#
# - $L_T$: what is left of the picture at $T$. It contains no network.
# - $L_{t-1}$: the model's reverse step against the one with $x_0$ known. Both are Gaussians: closed form.
# - $L_0$: the last step, to the picture itself.
#
# Can the bound be reached? For data $x_0\sim\mathcal N(0, c^2)$ every reverse step *is* a Gaussian. The truth, the average of
# $-\log p(x_0)$, is the entropy $\tfrac12\log(2\pi e c^2)$.

# %%
c2 = 0.5**2  # the data: N(0, 0.25)
entropy = 0.5 * math.log(2 * math.pi * math.e * c2)


def bound(chain, large):
    at, terms = chain.alpha_bar.tolist(), []
    kl = (1 - at[-1]) + at[-1] * c2 - 1 - math.log(1 - at[-1])
    terms.append(0.5 * kl)  # L_T
    for t in range(chain.T, 0, -1):
        spread = c2 * (1 - at[t]) / (at[t] * c2 + 1 - at[t])  # Var[x_0 | x_t]
        c1, tilde = (v.item() for v in chain.posterior(one, zero, t, t - 1))
        variance = chain.beta[t].item() if large else tilde + c1**2 * spread
        wrong_mean = c1**2 * spread / variance
        if t == 1:
            terms.append(0.5 * (math.log(2 * math.pi * variance) + wrong_mean))  # L_0
        else:
            ratio = tilde / variance
            terms.append(0.5 * (ratio - 1 - math.log(ratio) + wrong_mean))
    return sum(terms)


# %% tags=["nbval-check-output"]
print(f"the truth: {entropy:.5f} nats")
for n in (10, 100, 1000):
    chain = schedules.cosine(n)
    right, large = bound(chain, False), bound(chain, True)
    assert abs(right - entropy) < 1e-6
    print(f"T = {n:4}   bound with the right variance {right:.5f}   with σ² = β {large:.5f}")

# %% [markdown]
# With the right mean *and* variance the bound is the truth for each of these $T$. With $\sigma^2=\beta$ it is higher, by less if steps are many.
#
# ### 3.4 From the bound to the loss
#
# The KL of two Gaussians with variances $\tilde\beta$ (posterior) and $\sigma^2$ (model) is
#
# $$\mathrm{KL} = \underbrace{\tfrac12\Big(\tfrac{\tilde\beta}{\sigma^2} - 1 - \log\tfrac{\tilde\beta}{\sigma^2}\Big)}_{\text{cost of a wrong variance}} + \underbrace{\frac{(\tilde\mu-\mu_\theta)^2}{2\sigma^2}}_{\text{cost of a wrong mean}} .$$
#
# DDPM fixes $\sigma^2$, so the first cost is constant. In the second, both means contain the same $c_2x_t$: they differ by $c_1(x_0-\hat x_0)$. Let the network predict
# the noise, $\hat\varepsilon$, and solve the jump for the picture, $\hat x_0 = (x_t-\sqrt{1-\bar\alpha_t}\,\hat\varepsilon)/\sqrt{\bar\alpha_t}$. Then
# $x_0-\hat x_0 = \sqrt{\tfrac{1-\bar\alpha_t}{\bar\alpha_t}}\,(\hat\varepsilon-\varepsilon)$, and with $s=t-1$
#
# $$L_{t-1} = \frac{c_1^2}{2\sigma^2}\cdot\frac{1-\bar\alpha_t}{\bar\alpha_t}\,\|\varepsilon-\hat\varepsilon\|^2
#   = \underbrace{\frac{\beta_t^2}{2\sigma_t^2\,\alpha_t\,(1-\bar\alpha_t)}}_{w_t}\,\|\varepsilon-\hat\varepsilon\|^2 \qquad\text{(equation 12)}.$$
#
# Check with wrong predictions: torch computes the KL; we divide by the squared error.

# %% tags=["nbval-check-output"]
x0 = handwriting[:4].double()
eps, wrong = (torch.randn(2, *x0.shape, generator=seeded(), dtype=torch.float64)).unbind()
weights = likelihood.eps_weights(linear)
for t in (2, 3, 10, 100, 500, 1000):
    x = linear.diffuse(x0, t, eps)
    pred = from_eps(linear, x, t, wrong)
    mean, tilde = linear.posterior(x0, x, t, t - 1)
    mean_hat, _ = linear.posterior(pred.x0, x, t, t - 1)
    kl = kl_divergence(Normal(mean, tilde.sqrt()), Normal(mean_hat, tilde.sqrt())).sum()
    print(
        f"t = {t:4}   KL / ‖ε − ε̂‖² = {kl / (eps - wrong).square().sum():.6f}   w_t = {weights[t]:.6f}"
    )
half = kl_divergence(Normal(0.0, 1.0), Normal(0.0, math.sqrt(2.0)))
print(f"a variance twice too large costs {half:.6f} nats for each pixel")

# %% [markdown]
# The weight at $t = 2$ is about a hundred times that at $t = 500$. DDPM **sets all weights to 1**:
#
# $$\boxed{\;L_{\text{simple}} = \mathbb E_{t,\,x_0,\,\varepsilon}\;\big\|\varepsilon-\varepsilon_\theta\big(\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\varepsilon,\ t\big)\big\|^2\;}\qquad\text{(equation 14)}$$
#
# This is no longer a bound.

# %%
plots.show(
    ddpm_plot.weights_of_times(weights),
    "Left, on a logarithmic scale: the bound's weight for the linear schedule is over fifty times its mean at t = 2, falls below the mean near t = 100 and comes back to it at the end; that of L_simple is constant. Right: the bound has over a quarter of this weight up to t = 30.",
)

# %%
eps = torch.randn(8, 1, 16, 16, generator=seeded())
pairs = torch.cat([handwriting[:8], linear.diffuse(handwriting[:8], 30, eps)])
plots.show(
    plots.image_grid(pairs, columns=8, rows=["t = 0", "t = 30"]),
    "Eight clean digits, and below them the same with the noise of time 30, which is barely visible.",
)
share = weights[2:31].sum() / weights[2:].sum()
print(f"share of the bound's weight at t = 2 … 30: {share:.0%}; of L_simple's: {29 / (T - 1):.0%}")
assert weights[2] > 50 * weights[2:].mean() and share > 0.25

# %% [markdown]
# The bound counts bits, and most bits are spent on the last steps (section 8.4). With the linear schedule, over a quarter of its weight lies at $t\le30$; $L_{\text{simple}}$ has 3 % there. The class of most digits is decided at large $t$ (section 6). In the paper's Table 1 (CIFAR-10), the bound gives FID 13.51 at ≤ 3.70 bits per dimension. $L_{\text{simple}}$ gives FID **3.17** at ≤ 3.75 bits.
#
# A network may also predict $x_0$, as our small one does. Since $\|x_0-\hat x_0\|^2 = \frac{1-\bar\alpha_t}{\bar\alpha_t}\|\varepsilon-\hat\varepsilon\|^2$, this is the same loss with other weights.
#
# **The other two terms.** $L_0$ is minus the log-probability of the right gray level, one of 256: the Gaussian's mass between two neighboring half levels (equation 13).
# $L_T$ is constant, and tiny if the schedule ends in noise:

# %% tags=["nbval-check-output"]
for name in ("linear", "cosine", "scaled_linear"):
    prior = likelihood.prior_term(schedules.by_name(name), handwriting).mean()
    print(f"L_T of the digits, {name:13}  {prior:.1e} bits per dimension")

# %% [markdown]
# ### 3.5 A noise prediction is also a score
#
# The gradient $\nabla\log q(x_t)$ with respect to $x_t$ is called the **score**. It points to where noised pictures are more likely. Differentiate $q(x_t)=\int q(x_0)\,\mathcal N(x_t;\sqrt{\bar\alpha_t}\,x_0,\,1-\bar\alpha_t)\,dx_0$:
# the gradient of each Gaussian is the Gaussian times $-(x_t-\sqrt{\bar\alpha_t}\,x_0)/(1-\bar\alpha_t)$. Divide by $q(x_t)$, and the integral becomes an average over $q(x_0\mid x_t)$:
#
# $$\boxed{\;\nabla\log q(x_t) \;=\; -\frac{x_t-\sqrt{\bar\alpha_t}\,\mathbb E[x_0\mid x_t]}{1-\bar\alpha_t} \;=\; -\frac{\mathbb E[\varepsilon\mid x_t]}{\sqrt{1-\bar\alpha_t}}\;}$$
#
# Solved for $\mathbb E[x_0\mid x_t]$, the first equation is **Tweedie's formula**. A network that minimizes $L_{\text{simple}}$ predicts $\mathbb E[\varepsilon\mid x_t]$, so it has learned the score, too:
# $\nabla\log q(x_t)\approx-\hat\varepsilon/\sqrt{1-\bar\alpha_t}$. Check: torch differentiates $\log q$ of the two peaks.

# %%
for t in (100, 300, 600):
    x = torch.linspace(-2.5, 2.5, 501, dtype=torch.float64)[:, None].requires_grad_()
    (slope,) = torch.autograd.grad(peaks.diffused(linear, t).log_prob(x).sum(), x)
    pred = peaks.denoiser(linear)(x.detach(), t)
    at = linear.alpha_bar[t]
    torch.testing.assert_close(slope, -pred.eps / (1 - at).sqrt())
    tweedie = (x.detach() + (1 - at) * slope) / at.sqrt()
    torch.testing.assert_close(tweedie, pred.x0)
plots.show(
    ddpm_plot.scores(peaks, linear, [100, 300, 600]),
    "Top: the density of two peaks at three times; at the later times they merge into one bell. Bottom: the score, steep at t = 100, where it falls, jumps up between the peaks and falls again; nearly a straight falling line at t = 600.",
)

# %% [markdown]
# With Tweedie's formula for $x_0$ in $\tilde\mu$, the mean of a reverse step is
# $\frac{1}{\sqrt\alpha}\big(x_t+\beta\,\nabla\log q(x_t)\big)$: a move towards more likely pictures. Lesson 05 adds the gradient of a classifier to the score.

# %%
for t, s in ((600, 590), (300, 200)):
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    mean, _ = linear.posterior(peaks.denoiser(linear)(x, t).x0, x, t, s)
    alpha = linear.alpha_bar[t] / linear.alpha_bar[s]
    uphill = (x + (1 - alpha) * peaks.diffused(linear, t).score(x)) / alpha.sqrt()
    torch.testing.assert_close(mean, uphill)
print("the mean of a step back is a move along the score")

# %% [markdown]
# ## 4 · The real code
#
# The posterior, for any pair of times:

# %%
show_source(NoiseSchedule.posterior_weights, NoiseSchedule.posterior, docstring=False)

# %% [markdown]
# Algorithm 2, one ancestral step. `v` chooses between $\tilde\beta$ (0) and $\beta$ (1). At $s=0$ it adds no noise.

# %%
show_source(sampler.ddpm, sampler.ancestral, docstring=False)

# %% [markdown]
# Algorithm 1, the loss: draw a time for each picture, noise it by one jump, compare the prediction with the target.

# %%
show_source(NoiseSchedule.draw, Denoiser.loss, Denoiser.target, docstring=False)

# %% [markdown]
# ## 5 · The network
#
# A picture and a time go in, a picture of the same size comes out. In a **U-Net**, coarse maps cover the whole digit, fine maps keep the
# edges. Every feature map of the encoder is concatenated with the decoder's map of the same size. Numbers are channels.

# %%
ours = ddpm_plot.feature_maps(denoiser.net, torch.zeros(1, 1, 16, 16))
with torch.device("meta"):  # shapes without numbers: no memory, no time
    paper = UNet(UNetConfig())  # the defaults are DDPM's for CIFAR-10
    theirs = ddpm_plot.feature_maps(paper, torch.zeros(1, 3, 32, 32))
count = [sum(p.numel() for p in net.parameters()) for net in (denoiser.net, paper)]
figure, (top, bottom) = plots.subplots(2, 1, size=(10, 6.6), height_ratios=[3, 4])
ddpm_plot.draw_unet(top, ours, f"ours, for digits: {count[0]:,} parameters")
ddpm_plot.draw_unet(
    bottom, theirs, f"the same class at the size of the paper: {count[1]:,} parameters"
)
ddpm_plot.key(bottom)
plots.show(
    figure,
    "Two U-Nets, drawn as rows of boxes that descend to coarser maps and climb again, with gray lines from each map of the encoder to its partner in the decoder. Ours goes from 16 to 4 pixels a side by folding, and to 2; the paper's goes from 32 down to 4.",
)

# %% [markdown]
# Ours first *folds*: the 16 pixels of a 4 × 4 square become 16 channels. The forward pass:

# %%
show_source(UNet.forward, denoiser.net.middle[0].forward)

# %% [markdown]
# Every residual block receives the time, as sines and cosines.

# %%
plots.show(
    ddpm_plot.time_embedding(sinusoid(torch.arange(1, T + 1), 48)),
    "The 48 entries of the time embedding over all times, as colors from −1 to 1: fast waves in the first rows of each half, slower and slower ones below.",
)

# %% [markdown]
# ## 6 · Play: sampling, frame by frame
#
# Eight noises become eight digits, in 125 ancestral steps. Above is $x_t$, below the prediction $\hat x_0$ from the time before. **When is it decided which digit it becomes?** Find the first frame where you are sure.

# %%
frames, labels = [], []
for i, state in enumerate(generate(clipped, 8, steps=125, seed=3)):
    if i % 4 == 0 or state.t == 0:
        pair = torch.cat([state.x / state.x.abs().amax().clamp(min=1), state.x0])
        rows = ["x_t (scaled)", "x0, before"]
        frames.append(plots.image_grid(pair, columns=8, rows=rows, scale=5))
        labels.append(f"t = {state.t}, log-SNR {table.log_snr[max(state.t, 1)]:+.1f}")
widgets.Filmstrip(
    frames,
    labels,
    alt="Eight samples between noise and digits: above the noisy picture, below the network's prediction of the clean one",
    start=len(frames) * 5 // 9,
)

# %% [markdown]
# How many of 100 samples already have their final class in the prediction?

# %%
states = [*generate(clipped, 100, steps=50, seed=4)]
chosen = [*range(0, 50, 2), 49]  # every second, and the final one
read = [metrics.see(classifier, states[i].x0).probs.argmax(1) for i in chosen]
shares = [(each == read[-1]).float().mean().item() for each in read]
times = [table.timesteps(50)[i] for i in chosen]  # where each prediction was made
plots.show(
    ddpm_plot.decided(times, shares),
    "The share of samples that have their final class in the prediction, from t = 1000 on the left to the last step on the right: about 0.1 until t = 900, it rises above 0.8 near t = 650 and to 1 at the end.",
)
middle = len(times) // 2 - 1
mean_digit = handwriting.mean(0)
gap = (states[0].x0 - mean_digit).square().mean() / (handwriting - mean_digit).square().mean()
print(f"{shares[middle]:.0%} of the samples have their final class at t = {times[middle]}")
print(f"the first prediction differs from the mean digit by {gap:.2%} of the digits' variance")
assert shares[middle] > 0.75 and gap < 0.01

# %% [markdown]
# We go on from that $x_t$ with other noise:

# %%
here = states[chosen[middle] - 1]  # what that prediction was made from
rest = [t for t in table.timesteps(50) if t <= here.t]
same = []
for seed in (50, 51, 52):
    ends = final(sample(clipped, here.x, rest, generator=seeded(seed)))
    again = metrics.see(classifier, ends).probs.argmax(1)
    same.append((again == read[-1]).float().mean().item())
texts = ", ".join(f"{share:.0%}" for share in same)
print(f"from t = {here.t} on with other noise, {texts} end in the same class")
assert here.t == times[middle] and min(same) > 0.75

# %% [markdown]
# The first prediction is nearly the same for all: the average digit. For over eight of ten samples the first half of sampling decides the class: other noise in the second half does not change it.
#
# ## 7 · Train it
#
# ### 7.1 From nothing to digits
#
# How low can the loss get? If the 1,797 digits are all the data, lesson 02's mixture of points, a *memorizer*, predicts best: no network has a lower loss on them.

# %%
memorizer = GaussianMixture(handwriting.flatten(1)).denoiser(table)
generator, losses = seeded(), []
for t in range(10, T + 1, 20):
    x0 = handwriting[torch.randperm(1797, generator=generator)[:16]]
    x = table.diffuse(x0, t, torch.randn(x0.shape, generator=generator))
    with torch.no_grad():
        pair = memorizer(x, t), denoiser(x, t)
    losses.append(torch.stack([(p.x0 - x0).square().mean(dim=(1, 2, 3)) for p in pair]))
each = torch.stack(losses).mean(0)  # (2, 16): 16 estimates of both losses
levels = {"shipped": each[1].mean().item(), "memorizer": each[0].mean().item()}
gap = each[1] - each[0]
for name, values in zip((*levels, "difference"), (*each.flip(0), gap)):
    print(f"{name:10} {values.mean():.4f} ± {values.std() / 4:.4f} (standard error)")
assert gap.mean() > 4 * gap.std() / 4

# %% [markdown]
# Now train: 512 updates with batches of 128 digits. The samples use
# twelve DDIM steps (lesson 04) and averaged weights (section 7.2).

# %%
torch.manual_seed(0)
fresh = zoo.build("ddpm-digits")  # untrained: random weights
updates, every, probe = 512, 32, torch.randn(16, 1, 16, 16, generator=seeded(4))
marks = [updates // 4, updates]  # where copies are kept for section 7.2
plain = deepcopy(fresh)  # an average without warm-up, for section 7.2
kept = {}


def training():
    """Trains; yields now and then what a watcher needs: update, mean loss, 16 samples."""
    losses = []
    for each in train(fresh, shuffled(handwriting, batch=128), steps=updates, lr=2e-3):
        losses.append(each.loss)
        with torch.no_grad():
            torch._foreach_lerp_([*plain.parameters()], [*fresh.parameters()], 0.001)
        if each.step in marks:
            kept[each.step] = [deepcopy(m.denoiser) for m in (fresh, each.ema, plain)]
        if each.step % every == 0:
            network = MapX0(each.ema.denoiser, clip)
            x = final(sample(network, probe, table.timesteps(12), step=ddim))
            yield each.step - every / 2, sum(losses) / every, x  # at the middle of its window
            losses = []


# %%
seen = widgets.watch(
    training(),
    partial(ddpm_plot.draw_training, updates=updates, levels=levels),
    alt="Left: the training loss falls from about 0.5 to 0.09 in the first third and little after it; dashed lines mark the lower losses of the shipped network and of the memorizer. Right: sixteen samples, readable digits at the end.",
    size=(10, 2.9),
)
print(f"each digit seen about {updates * 128 / len(handwriting):.0f} times")
assert seen[-1][1] < 0.3 * seen[0][1]
assert levels["memorizer"] > 0.5 * seen[-1][1]

# %% [markdown]
# (The loss is the mean squared error in $x_0$.) No network can remove
# most of what is left: $x_t$ does not determine $x_0$. So **a small change of the loss can be a large change of the samples** (the table of section 7.2). The next picture adds the shipped network: the same recipe, 12,000 updates.

# %%
rows = {"just now": MapX0(kept[updates][1], clip), "shipped": clipped}
made = {name: final(generate(network, 200, steps=20, seed=7)) for name, network in rows.items()}
images = torch.cat([*(each[:10] for each in made.values()), handwriting[200:210]])
plots.show(
    plots.image_grid(images, columns=10, rows=[*rows, "real"]),
    "Three rows of ten digits: from the network trained in this notebook, from the one that ships, and real ones.",
)

# %% [markdown]
# **Copies?** How far is each sample from the nearest training digit, and a real digit from the nearest *other* one?

# %%
flat = handwriting.flatten(1)
among = torch.cdist(flat, flat).fill_diagonal_(math.inf)
near = {name: torch.cdist(each.flatten(1), flat) for name, each in made.items()} | {"real": among}
print("distance to the nearest training digit, and that over the second smallest distance\n")
print("              N    mean ± s.e.    smallest    ratio, mean ± s.e.")
ratios = {}
for name, each in near.items():
    d, second = each.topk(2, largest=False).values.T
    ratios[name], root = d / second, len(d) ** 0.5
    print(
        f"{name:10} {len(d):5}    {d.mean():.2f} ± {d.std() / root:.2f}    {d.min():.2f}"
        f"        {ratios[name].mean():.3f} ± {ratios[name].std() / root:.3f}"
    )
assert ratios["shipped"].min() > ratios["real"].min()

# %%
some = torch.randperm(1797, generator=seeded())[:200]
shown = {"sample": (made["shipped"], near["shipped"]), "real": (handwriting[some], among[some])}
strips, rows = [], []
for name, (images, distances) in shown.items():
    order = distances.amin(1).argsort()[:10]
    strips += [images[order], handwriting[distances[order].argmin(1)]]
    rows += [name, "its nearest"]
    d = distances.amin(1)[order]
    print(f"{name:7} the ten smallest of 200 distances: {d[0]:.2f} … {d[-1]:.2f}")
plots.show(
    plots.image_grid(torch.cat(strips), columns=10, rows=rows, title="The ten nearest of 200"),
    "Four rows: the ten samples of the shipped network that lie nearest to a training digit; that digit; the ten of 200 real digits that lie nearest to another real digit; that digit. Samples and real digits alike resemble their nearest digit closely.",
)
assert near["shipped"].amin(1).mean() < among.amin(1).mean() - 0.2

# %% [markdown]
# A copy would be far nearer to its original than to any other digit: its ratio would be near 0. The shipped network's samples have on average the ratio of real digits, about 0.9, and none is below the smallest real one. So we find no copy. The ten nearest look like slightly changed training digits; so do the ten nearest real digits. On average its samples lie closer to the training digits (3.18) than real digits to one another (3.54).
#
# ### 7.2 Averaged weights
#
# These samples did not use the optimizer's weights, but a running average (EMA): $\bar\theta \leftarrow d\,\bar\theta + (1-d)\,\theta$ after every update. It starts at *random*
# weights. With $d = 0.999$, after 512 updates it still holds $0.999^{512} = 60\,\%$ of them. So labkit lets $d$ grow (warm-up): $\min(d, \frac{1+n}{10+n})$ after $n$ updates.
#
# We measure Fréchet distances to a random half of the digits, in the features of `classifier-digits`, divided by the variance of these features. The floor is the distance of as many digits
# of the other half. Papers' FIDs use other features: compare rankings, not values.

# %%
kinds, emas = ("raw", "average", "average, no warm-up"), {}
for mark, networks in kept.items():
    for kind, network in zip(kinds, networks):
        images = [
            final(generate(MapX0(network, clip), 100, steps=12, seed=i, step=ddim))
            for i in range(3)
        ]
        emas[mark, kind] = torch.tensor([distance(each, i) for i, each in enumerate(images)])
print("Fréchet distance, N = 100, 12 DDIM steps, one training, mean ± sd of 3 sampling seeds;")
print(f"100 real digits, held out: {floor(100).mean():.3f} ± {floor(100).std():.3f} (4 splits)\n")
print("updates   " + "".join(f"{kind:>22}" for kind in kinds))
for mark in kept:
    cells = [f"{emas[mark, kind].mean():14.3f} ± {emas[mark, kind].std():.3f}" for kind in kinds]
    print(f"{mark:7}   " + "".join(cells))

# %%
images = [
    final(sample(MapX0(each, clip), probe[:10], table.timesteps(12), step=ddim))
    for each in kept[marks[0]]
]
plots.show(
    plots.image_grid(torch.cat(images), columns=10, rows=kinds, title=f"After {marks[0]} updates"),
    "Three rows of ten samples early in training: raw weights, the average with warm-up, and the average without warm-up, which gives nothing but gray squares.",
)
assert emas[updates, kinds[2]].mean() > 2 * emas[updates, kinds[1]].mean()
assert emas[updates, kinds[1]].mean() < 0.6 * emas[marks[0], kinds[1]].mean()

# %% [markdown]
# Without warm-up, the distance stays high. In this one training, the average beats the raw weights after 128 updates; after 512 the two are equal within the spread.
#
# ## 8 · Measure
#
# ### 8.1 Three predictions: eps, x0 or v
#
# From $x_t$ and any one of $\varepsilon$, $x_0$ and $v = \sqrt{\bar\alpha_t}\,\varepsilon-\sqrt{1-\bar\alpha_t}\,x_0$ the others follow. For a real network, converting
# multiplies an error: from $\varepsilon$ to $x_0$ by $\sqrt{(1-\bar\alpha_t)/\bar\alpha_t}$, huge at the noisy end; from $x_0$ to $\varepsilon$ by its inverse, huge at the clean end.
#
# To know the exact answer, take six blobs in 2-D and a small network: three seeds for each prediction.

# %%
angle = torch.arange(6) / 6 * 2 * math.pi
ring = GaussianMixture(1.2 * torch.stack([angle.cos(), angle.sin()], 1), std=0.15)


class Small(nn.Module):
    """Three layers that see a point and the time."""

    def __init__(self):
        super().__init__()
        sizes = (2 + 16, 64, 64, 64)
        hidden = [m for a, b in zip(sizes, sizes[1:]) for m in (nn.Linear(a, b), nn.SiLU())]
        self.layers = nn.Sequential(*hidden, nn.Linear(64, 2))

    def forward(self, x, t, cond=None):
        return self.layers(torch.cat([x, sinusoid(t, 16)], dim=1))


trained = {}
for predicts in ("eps", "x0", "v"):
    for seed in range(3):
        torch.manual_seed(seed)
        points = ring.sample(5000, seeded(seed))[0].float()  # (5000, 2)
        network = Denoiser(Small(), table, predicts=predicts)
        *_, last = train(network, shuffled(points, batch=256), steps=600, lr=1e-2, seed=seed)
        trained[predicts, seed] = last.ema

# %%
exact, errors = ring.denoiser(table), {}
times = [5, 20, 50, 100, 200, 350, 500, 650, 800, 900, 950, 980, 995]
for predicts in ("eps", "x0", "v"):
    errors[predicts] = torch.zeros(2, 3, len(times))  # in x0 and in eps
    for seed in range(3):
        generator = seeded(10 + seed)
        points = ring.sample(5000, generator)[0].float()
        for i, t in enumerate(times):
            x = table.diffuse(points, t, torch.randn(5000, 2, generator=generator))
            right = exact(x, t)
            with torch.no_grad():
                pred = trained[predicts, seed](x, t)
            errors[predicts][0, seed, i] = (pred.x0 - right.x0).square().mean()
            errors[predicts][1, seed, i] = (pred.eps - right.eps).square().mean()
    print(f"{predicts:4} error in x0 at t = 20, 500, 980: ", end="")
    print(
        ", ".join(f"{c.mean():.1e} ± {c.std():.0e}" for c in errors[predicts][0, :, [1, 6, 11]].T)
    )
plots.show(
    ddpm_plot.errors_over_time(times, errors, ("x0", "eps")),
    "Squared error against the exact answer over time, for networks that predict eps, x0 and v, bands from three seeds: in x0 the eps network is far the worst at the noisy end; in eps the x0 network is the worst at the clean end; v has neither peak.",
)
assert errors["eps"][0, :, 11].min() > 1000 * errors["v"][0, :, 11].max()
assert errors["x0"][1, :, 1].min() > 10 * errors["v"][1, :, 1].max()

# %% [markdown]
# In $x_0$, the network that predicts eps has more than a thousand times the squared error of the others at $t=980$. In eps, the one that predicts $x_0$ is the worst at the clean end. v has neither peak. This holds for one small network.
#
# ### 8.2 Why the prediction is clipped
#
# Pixels lie in $[-1,1]$; does the prediction? The nine networks of section 8.1 generate in 10 and 50 ancestral steps. Nearly all data lie within $\pm1.7$: we clip there. A point is *lost* if it is
# more than four standard deviations from every blob, like 1 in 3,000 of the data.


# %%
def box(x0):
    return x0.clamp(-1.7, 1.7)


networks = {}
for predicts in ("eps", "x0", "v"):
    networks[f"{predicts}, clipped"] = [MapX0(trained[predicts, i], box) for i in range(3)]
    networks[f"{predicts}, not clipped"] = [trained[predicts, i] for i in range(3)]
networks["exact"] = [exact] * 3
lost, clouds, largest = {}, {}, {}
for name, three in networks.items():
    for n in (10, 50):
        for seed, network in enumerate(three):
            states = list(generate(network, 1000, n, seed, shape=(2,)))
            nearest = torch.cdist(states[-1].x.double(), ring.means).amin(1)  # (1000,)
            lost[name, n, seed] = (nearest > 4 * 0.15).double().mean().item()
            largest[name, seed] = states[0].x0.abs().max().item()
        if n == 10:
            clouds[name] = states[-1].x

# %%
print("share of lost points, mean ± sd of 3 seeds, N = 1,000 points each\n")
print("the network predicts   largest first prediction      10 steps           50 steps")
for name in networks:
    shares = torch.tensor([[lost[name, n, seed] for n in (10, 50)] for seed in range(3)])
    cells = [f"{m:9.1%} ± {sd:5.1%}" for m, sd in zip(shares.mean(0), shares.std(0))]
    peak = sum(largest[name, seed] for seed in range(3)) / 3
    print(f"{name:20} {peak:23.1f}   " + "   ".join(cells))
plots.show(
    ddpm_plot.clouds(clouds, 2.4),
    "Seven clouds of a thousand samples in ten steps. Of the eps network without clipping almost no point is in the picture. The x0 networks give a closed ring, the others blurred clouds, most points near the ring; all have points inside. The exact denoiser gives six blobs, with few points between them.",
)
assert all(lost["eps, not clipped", 10, seed] > 0.5 for seed in range(3))
assert all(lost["exact", 10, seed] < 0.01 < lost["eps, clipped", 10, seed] for seed in range(3))

# %% [markdown]
# At $t=T$ the error of the eps network is divided by $\sqrt{\bar\alpha_T}\approx 0.00005$. Its first prediction is up to thousands of units away, and nearly all points are lost in ten steps. Clipping saves most of them. What is
# still lost comes from the small networks: the exact denoiser loses under 1 %. Predicting $x_0$ or v needs no such division, and clipping changes almost nothing here.
#
# ### 8.3 Few steps: which variance?
#
# Improved DDPM lets the network choose, for each pixel, a *learned variance* on the logarithmic scale of $\tilde\beta$ and $\beta$:
# $\sigma^2 = \beta^{v}\,\tilde\beta^{\,1-v}$. $L_{\text{simple}}$ contains no variance, so the bound is added with a small weight: $L_{\text{simple}} + 0.001\,L_{\text{vlb}}$. The gradient of the added term reaches only $v$.

# %%
flexible = zoo.load("ddpm-digits-learned-variance").denoiser
times, chosen, generator = torch.arange(2, T + 1, 20), [], seeded()
for t in times.tolist():
    eps = torch.randn(16, 1, 16, 16, generator=generator)
    with torch.no_grad():
        chosen.append(flexible(table.diffuse(handwriting[:16], t, eps), t).var_frac.flatten())
chosen = torch.stack(chosen)  # (50, 4096)
plots.show(
    ddpm_plot.chosen_fractions(times, chosen),
    "The fraction v that the network chooses for its variance, over time: the median falls from 0.8 at t = 2 to 0.33 at t = 100, crosses 0 near t = 400 and stays near −0.2 at the noisy end; nine tenths of the pixels lie within 0.2 to 0.4 of it.",
)
print("median v at t = 2, 102, 402, 902:", chosen[[0, 5, 20, 45]].median(1).values)

# %% [markdown]
# At small $t$ it chooses values towards $\beta$. At large $t$ the curve is below 0 (nothing limits it), but there $\tilde\beta$ and $\beta$ of a
# single step are nearly equal. Now three samplers with that network's means: only the variance differs.


# %%
class Fixed:
    """A denoiser without its learned variance."""

    def __init__(self, denoise):
        self.denoise, self.schedule = denoise, denoise.schedule

    def __call__(self, x, t, cond=None):
        return self.denoise(x, t, cond)._replace(var_frac=None)


network = MapX0(flexible, clip)
kinds = {
    "fixed small": (Fixed(network), partial(ddpm, v=0.0)),
    "fixed large": (Fixed(network), partial(ddpm, v=1.0)),
    "learned": (network, ddpm),
}

# %%
found, ten = {}, []
for n in (5, 10):
    for kind, (denoise, step) in kinds.items():
        images = [final(generate(denoise, 200, n, seed, step=step)) for seed in range(4)]
        found[n, kind] = torch.tensor([distance(each, seed) for seed, each in enumerate(images)])
        ten += [images[0][:10]] if n == 10 else []
plots.show(
    plots.image_grid(torch.cat(ten), columns=10, rows=list(kinds), title="10 steps"),
    "Three rows of ten samples in ten steps: with the small and the learned variance smooth strokes, with the large variance grain over every digit.",
)

# %%
print("Fréchet distance, N = 200, mean ± sd of 4 seeds;", end=" ")
print(f"200 real digits, held out: {floor(200).mean():.3f} ± {floor(200).std():.3f}\n")
print("steps" + "".join(f"{kind:>17}" for kind in kinds), "      large − small    learned − small")
for n in (5, 10):
    cells = [f"{found[n, kind].mean():9.3f} ± {found[n, kind].std():.3f}" for kind in kinds]
    for kind in ("fixed large", "learned"):
        gap = found[n, kind] - found[n, "fixed small"]  # the same noise for a seed
        cells.append(f"{gap.mean():+9.4f} ± {gap.std() / 2:.4f}")
    print(f"{n:5}  " + "".join(cells))
print("\nthe last two columns: mean ± standard error of the differences, seed by seed")
for n in (5, 10):
    small, large, learned = (found[n, kind] for kind in kinds)
    assert (large - small).mean() > 3 * (large - small).std() / 2
    assert (learned - small).mean().abs() < 0.05 * small.mean()

# %% [markdown]
# The large variance adds the noise that standard normal data would need. It leaves grain, and is
# worst at both numbers of steps: by 0.064 at 5, and by 0.007, about five standard errors, at 10. The learned variance is ahead by 0.003 and 0.001, two to three standard errors: with four seeds weak evidence, and a small gain.
#
# In a thousand steps the large variance is better in DDIM's Table 1 (CIFAR-10; lesson 04): FID **3.17** against 4.73.
#
# ### 8.4 Bits per dimension
#
# The bound of section 3.3 in bits for each pixel, $L/(D\ln 2)$, for 16 digits. Above $t = 50$ we take every tenth time, and count it ten times.
#
# A fourth variance needs no training (Analytic-DPM). Average the right equation of section 3.2 over $x_t$. The best $\hat\varepsilon$ has $\mathbb E\operatorname{Var}[\varepsilon\mid x_t] = 1-\mathbb E\,\hat\varepsilon^2$, so
#
# $$\sigma_t^2 = \tilde\beta + c_1^2\,\frac{1-\bar\alpha_t}{\bar\alpha_t}\,\big(1-\mathbb E\,\hat\varepsilon^2\big).$$
#
# This is one number per time, measured on 64 other digits. In `learned, one v` all pixels of a time get the mean of the learned $v$.

# %%
x0, others = metrics.quantize(handwriting[:16]), handwriting[16:80]


def noised(pictures, times, seed):
    """All pictures at all times: clean, noised, the times, and the network's predictions."""
    t = times.repeat_interleave(len(pictures))
    clean = pictures.repeat(len(times), 1, 1, 1)
    x = table.diffuse(clean, t, torch.randn(clean.shape, generator=seeded(seed)))
    with torch.no_grad():
        return clean, x, t, network(x, t)


def analytic(times):
    """Analytic-DPM's variance at each time, from the mean square of the predicted noise."""
    *_, pred = noised(others, times, seed=1)
    square = pred.eps.square().view(len(times), -1).mean(1)
    at_t, at_s = table.alpha_bar[times], table.alpha_bar[times - 1]
    beta = 1 - at_t / at_s
    c1, tilde = at_s.sqrt() * beta / (1 - at_t), beta * (1 - at_s) / (1 - at_t)
    spread = (1 - at_t) / at_t * (1 - square)  # the mean of Var[x_0 | x_t]
    return tilde + c1**2 * spread.clamp(0, 1)  # pixels in [-1, 1] have variance at most 1


# %%
kinds = ("fixed small", "fixed large", "learned", "learned, one v", "analytic")
costs = {kind: torch.zeros(T + 1, 16) for kind in kinds}
for times, weight in ((torch.arange(1, 51), 1), (torch.arange(55, T + 1, 10), 10)):
    clean, x, t, pred = noised(x0, times, seed=0)
    fixed = pred._replace(var_frac=None)
    small, large = (likelihood.log_variance(table, x, t, fixed, v) for v in (0.0, 1.0))
    wanted = analytic(times).log().repeat_interleave(16).view(-1, 1, 1, 1)
    fraction = (wanted - small) / (large - small)  # the v that gives this variance
    once = pred._replace(var_frac=fraction.expand(x.shape))
    mean_v = pred.var_frac.view(len(times), -1).mean(1).repeat_interleave(16)  # over all pixels
    one_v = pred._replace(var_frac=mean_v.view(-1, 1, 1, 1).expand(x.shape))
    beliefs = (fixed, fixed, pred, one_v, once)
    for kind, belief, v in zip(kinds, beliefs, (0.0, 1.0, 0.0, 0.0, 0.0)):
        cost = likelihood.term(table, belief, clean, x, t, v)
        costs[kind][times] = weight * cost.view(len(times), 16).float()

# %%
prior = likelihood.prior_term(table, x0).mean()
learned = costs["learned"].sum(0)  # (16,)
print("bits per dimension    L_0   L_1 … L_49  the rest       L_T    total   minus learned")
for kind, each in costs.items():
    parts = each[1].mean(), each[2:51].sum(0).mean(), each[51:].sum(0).mean(), prior
    gap = each.sum(0) - learned
    print(
        f"{kind:15} {parts[0]:10.3f} {parts[1]:12.3f} {parts[2]:9.3f} {parts[3]:9.1e}"
        f" {sum(parts):8.3f}   {gap.mean():+.3f} ± {gap.std() / 4:.3f}"
    )
    assert 0.85 < (parts[0] + parts[1]) / sum(parts) < 0.95
    assert gap.mean() > 0.05 or kind in kinds[2:]
    assert gap.mean().abs() < 0.02 or kind in kinds[:2]

# %%
bounds = {kind: costs[kind].mean(1) for kind in kinds[:3]}
plots.show(
    ddpm_plot.bits_added_up(bounds, 50),
    "The bits of the steps from 1 to t, added up, for three variances, over a logarithmic time axis: all begin near 1.4 bits at the very first step, rise above 3 by t = 50 and less and less after it; the small variance is always highest, the learned one lowest.",
)

# %% [markdown]
# (± is the standard error over 16 digits.) About nine tenths of the bits are spent on the last fifty steps; we think on fine grain. **The analytic variance costs the same as the learned one, within the error,** without training. One $v$ for each time costs the same, too, within the error. So here one variance *for each time* is enough.
#
# Do not compare these bits with a paper's: our digits were enlarged from 8 × 8 pixels, and the network was trained on them.
#
# ## 9 · Break it
#
# Five classic mistakes, one wrong line each, in ten steps. What is wrong in each row?

# %%
times = table.timesteps(10, trailing_spacing)  # [1000, 900, …, 100, 0]
rising = times[::-1]


class Respaced:
    """Our network on a schedule of ten steps, k = 10 … 0; at step k it gets network_times[k]."""

    def __init__(self, schedule, network_times):
        self.schedule, self.network_times = schedule, network_times

    def __call__(self, x, k, cond=None):
        eps = denoiser(x, self.network_times[k]).eps
        x0 = from_eps(self.schedule, x, k, eps).x0
        return from_x0(self.schedule, x, k, x0.clamp(-1, 1))


def noise_in_the_last_step(schedule, pred, x, t, s, generator):
    mean, variance = schedule.posterior(pred.x0, x, t, s)
    if s == 0:  # here the right variance is 0
        variance = 1 - schedule.at(t, x) / schedule.at(s, x)
    return mean + math.sqrt(variance) * torch.randn(x.shape, generator=generator)


def only_the_prediction(schedule, pred, x, t, s, generator):
    variance = schedule.posterior(pred.x0, x, t, s)[1].item()
    return pred.x0 + math.sqrt(variance) * torch.randn(x.shape, generator=generator)


# %%
kept_betas = from_betas(1 - table.alpha_bar[rising][1:] / table.alpha_bar[rising][:-1])
sliced_betas = from_betas(table.beta[rising[1:]])
start = torch.randn(8, 1, 16, 16, generator=seeded(2))
uniform, tens = torch.rand(start.shape, generator=seeded(2)), list(range(10, -1, -1))
rows = {
    "right": sample(clipped, start, times, generator=seeded(3)),
    "A": sample(clipped, start, times, step=noise_in_the_last_step, generator=seeded(3)),
    "B": sample(clipped, start, times, step=only_the_prediction, generator=seeded(3)),
    "C": sample(Respaced(sliced_betas, rising), start, tens, generator=seeded(3)),
    "D": sample(Respaced(kept_betas, range(11)), start, tens, generator=seeded(3)),
    "E": sample(clipped, uniform, times, generator=seeded(3)),
    "E, DDIM": sample(clipped, uniform, times, step=ddim),
}
images = {name: final(states) for name, states in rows.items()}
plots.show(
    plots.image_grid(torch.cat([*images.values()]), columns=8, rows=list(images)),
    "Seven rows of eight samples in ten steps: right ones, then A: grain; B: clean digits, but most of them a plain stroke; C: gray noise; D: black and white noise; E: like the right ones; E with DDIM: eight times the same bright blob.",
)
assert 0.14 < (images["A"] - images["right"]).std() < 0.19
assert (images["E"] - images["right"]).abs().mean() < 0.02

# %% [markdown]
# <details><summary>What the five did</summary>
#
# - **A: noise at the last step.** Grain of size $\sqrt{\beta}=0.17$. With a thousand steps it is $\sqrt{\beta_1}=0.006$, less than one of 256 gray levels, and can stay unseen.
# - **B: the mean is the prediction itself,** not $c_1\hat x_0+c_2x_t$. We think that the network gets pictures too clean for their time, and keeps the early, blurred prediction.
# - **C: respaced by picking every hundredth $\beta$.** A long step must remove the noise of a hundred short ones, but removes that of one.
# - **D: the network got the new index.** At step 10 it got $t = 10$, where pictures are almost clean, and took the noise for the picture.
# - **E: `rand` for `randn`** at the start. Ancestral steps hide it: at $t=T$ the prediction depends very little on $x_T$, and the next step adds the right noise. DDIM (lesson 04) adds none: there it shows. **You cannot see every mistake: compare numbers**, as the checks below do.
#
# </details>

# %%
right_schedule = sample(Respaced(kept_betas, rising), start, tens, generator=seeded(3))
torch.testing.assert_close(final(right_schedule), images["right"], atol=0.01, rtol=0)
print("ten steps on a schedule of their own, done right, are the ten long steps of `right`")

# %% [markdown]
# ## 10 · Exercises
#
# Write your function where it says `...`, run the cell, then the check below it. Hints and solutions are folded (three dots).
#
# ### 1 · The posterior's mean ● 10 minutes
#
# Given are `x0` and `x` (= $x_t$) of the same shape, whole numbers `t` > `s` > 0, and the float64 table `alpha_bar` (T+1,). Return the mean of $q(x_s\mid x_t,x_0)$, in the dtype of `x`.
# The step may be long: $\alpha=\bar\alpha_t/\bar\alpha_s$.


# %%
def posterior_mean(x0, x, t, s, alpha_bar): ...


# %%
checks.posterior_mean(posterior_mean)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The box of section 3.1. Compute $c_1$ and $c_2$ as plain numbers (`.item()`): this keeps the dtype of the pictures.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def posterior_mean_solution(x0, x, t, s, alpha_bar):
    at_t, at_s = alpha_bar[t].item(), alpha_bar[s].item()
    alpha = at_t / at_s
    from_x0 = math.sqrt(at_s) * (1 - alpha) / (1 - at_t)
    from_x = math.sqrt(alpha) * (1 - at_s) / (1 - at_t)
    return from_x0 * x0 + from_x * x


checks.posterior_mean(posterior_mean_solution).require()

# %% [markdown]
# ### 2 · The loss ● 10 minutes
#
# $L_{\text{simple}}$ for one batch: pictures `x0` (B, C, H, W), a time `t` (B,) for each, the noise `eps`. The network is called as `net(x, t)` and predicts the noise. Return one number, the mean over everything.


# %%
def simple_loss(net, x0, t, alpha_bar, eps): ...


# %%
checks.simple_loss(simple_loss)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Take the root of `alpha_bar[t]`, (B,) in float64. Then `.view(-1, 1, 1, 1).to(x0.dtype)`: so it multiplies pictures row by row.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def simple_loss_solution(net, x0, t, alpha_bar, eps):
    left = alpha_bar[t].view(-1, 1, 1, 1)  # (B, 1, 1, 1)
    x = left.sqrt().to(x0.dtype) * x0 + (1 - left).sqrt().to(x0.dtype) * eps
    return (net(x, t) - eps).square().mean()


checks.simple_loss(simple_loss_solution).require()

# %% [markdown]
# ### 3 · One ancestral step ●● 20 minutes
#
# Algorithm 2 with the *large* variance $\sigma^2=\beta$. Given `x` at time `t`, the prediction `eps`, and noise `z`, return `x` at time `s`. Predict $x_0$ and clip it to
# $[-1,1]$; take the posterior's mean; add $\sqrt\beta\,z$, but nothing if `s` is 0.


# %%
def ancestral_step(x, eps, t, s, alpha_bar, z): ...


# %%
checks.ancestral_step(ancestral_step)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `x0 = ((x - √(1−ᾱ_t) * eps) / √ᾱ_t).clamp(-1, 1)`; then the mean of exercise 1; then the noise. $\beta = 1-\bar\alpha_t/\bar\alpha_s$.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def ancestral_step_solution(x, eps, t, s, alpha_bar, z):
    at_t, at_s = alpha_bar[t].item(), alpha_bar[s].item()
    x0 = ((x - math.sqrt(1 - at_t) * eps) / math.sqrt(at_t)).clamp(-1, 1)
    mean = posterior_mean_solution(x0, x, t, s, alpha_bar)
    return mean if s == 0 else mean + math.sqrt(1 - at_t / at_s) * z


checks.ancestral_step(ancestral_step_solution).require()

# %% [markdown]
# Now fifty of *your* steps generate with the trained network. (Until it is right, the solution is used.)

# %%
ready = checks.ancestral_step(ancestral_step).passed
step = ancestral_step if ready else ancestral_step_solution
generator, times = seeded(6), table.timesteps(50)
x = torch.randn(10, 1, 16, 16, generator=generator)
for t, s in zip(times, times[1:]):
    with torch.no_grad():
        eps = denoiser(x, t).eps
    z = torch.randn(x.shape, generator=generator)
    x = step(x, eps, t, s, table.alpha_bar, z)
plots.show(plots.image_grid(x, columns=10), "Ten digits, generated by the step of exercise 3.")

# %% [markdown]
# ### 4 · Fewer, longer steps ●● 10 minutes
#
# Keep only the times in `times`, a rising list from 0 to T. Return the variances of the longer steps, float64, one for each gap. `from_betas` of them must give the old table at the kept
# times.


# %%
def respaced_betas(alpha_bar, times): ...


# %%
checks.respaced_betas(respaced_betas)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A long step keeps $\bar\alpha_t/\bar\alpha_s$. `alpha_bar[times]` picks the kept entries; divide the later ones `[1:]` by the earlier ones `[:-1]`.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def respaced_betas_solution(alpha_bar, times):
    kept = alpha_bar[times]
    return 1 - kept[1:] / kept[:-1]


checks.respaced_betas(respaced_betas_solution).require()

# %% [markdown]
# ### 5 · The average of the weights ● 10 minutes
#
# Write one update of the running average, for one tensor. `step` is the number of earlier updates. The share of the old average is the smaller one of
# `decay` and $\frac{1+\text{step}}{10+\text{step}}$. Return a new tensor; do not change the old one.


# %%
def ema_update(average, weights, step, decay): ...


# %%
checks.ema_update(ema_update)

# %% [markdown]
# <details><summary>Hint</summary>
#
# At `step = 0` the share of the old average is 0.1. After many updates it is `decay`.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def ema_update_solution(average, weights, step, decay):
    share = min(decay, (1 + step) / (10 + step))
    return share * average + (1 - share) * weights


checks.ema_update(ema_update_solution).require()

# %% [markdown]
# ### 6 · A term of the bound ●●● 50 minutes
#
# One term, $L_s = \mathrm{KL}\big(q(x_s\mid x_t,x_0)\,\|\,p_\theta(x_s\mid x_t)\big)$ with a learned variance, for each picture of a batch, in bits per dimension.
#
# You get the true `x0`, its prediction `guess`, `x` at time `t`, and the network's second output `o`, all (B, C, H, W); `t` > `s` > 0. Both means follow the posterior's formula, with `x0` and with `guess`. The
# posterior has the variance $\tilde\beta$. The model has $\log\sigma^2 = v\log\beta + (1-v)\log\tilde\beta$ with $v = (o+1)/2$. Average over each picture: return (B,).


# %%
def bound_term(x0, guess, x, o, t, s, alpha_bar): ...


# %%
checks.bound_term(bound_term)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The KL of section 3.4, value by value. The means differ by $c_1(x_0-\hat x_0)$ alone. Nats over $\ln 2$ are bits; `.flatten(1).mean(1)` averages each picture.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def bound_term_solution(x0, guess, x, o, t, s, alpha_bar):
    at_t, at_s = alpha_bar[t].item(), alpha_bar[s].item()
    beta = 1 - at_t / at_s
    tilde = beta * (1 - at_s) / (1 - at_t)
    v = (o + 1) / 2
    variance = torch.exp(v * math.log(beta) + (1 - v) * math.log(tilde))
    gap = math.sqrt(at_s) * beta / (1 - at_t) * (x0 - guess)
    kl = 0.5 * (tilde / variance - 1 - torch.log(tilde / variance) + gap**2 / variance)
    return kl.flatten(1).mean(1) / math.log(2)


checks.bound_term(bound_term_solution).require()

# %% [markdown]
# ## Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    r"A network predicts perfectly: its answer is always $\mathbb E[\varepsilon\mid x_t]$. Is its loss $L_{\text{simple}}$ zero?",
    {
        "Yes, it makes no mistake": r"It makes none that can be avoided, but $\varepsilon$ itself cannot be known from $x_t$: several pictures with several noises give the same $x_t$.",
        "No, and no network can bring it to zero": r"What remains is the spread of $\varepsilon$ around its mean. This is why the loss changes little while the samples improve.",
        "It depends on the number of steps of the sampler": "The sampler is not in the loss. It only uses what was learned.",
    },
    answer="No, and no network can bring it to zero",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    r"Why is $\tilde\beta \le \sigma^2 \le \beta$ the sensible range for the variance of a step back?",
    {
        "Smaller ones make sampling too slow": "The variance does not decide how far the mean moves.",
        "The lower end is for data that are known, the upper for data that are standard normal": r"$\operatorname{Var}[x_s\mid x_t]=\tilde\beta+c_1^2\operatorname{Var}[x_0\mid x_t]$. On average over $x_t$, data of variance at most 1, such as pixels in $[-1,1]$, need no more than $\beta$.",
        "Otherwise the KL divergence is negative": "A KL divergence is never negative, whatever the variances are.",
    },
    answer="The lower end is for data that are known, the upper for data that are standard normal",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    r"A network has learned $\hat\varepsilon(x_t,t)$. What is the best estimate of the score $\nabla\log q(x_t)$?",
    {
        "ε̂": r"The noise points away from likely pictures, so the sign is wrong, and the size depends on the noise level.",
        "−ε̂ / √(1−ᾱ_t)": r"From Tweedie's formula: $\nabla\log q(x_t)=-\mathbb E[\varepsilon\mid x_t]/\sqrt{1-\bar\alpha_t}$.",
        "None: a second network must be trained": r"The network that predicts $\mathbb E[\varepsilon\mid x_t]$ needs only a factor.",
    },
    answer="−ε̂ / √(1−ᾱ_t)",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Your samples look right, except for a fine grain over everything. Which line do you look at?",
    {
        "The learning rate": "A bad learning rate spoils shapes, or everything; an even grain over good shapes comes from the sampler.",
        "The last step of the sampler": "Noise was added once more, and no step follows that removes it.",
        "The noise schedule's start at T": "A wrong start changes brightness and shapes. Grain comes from the last steps.",
    },
    answer="The last step of the sampler",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    r"You clip the prediction $\hat x_0$ to $[-1,1]$ and then compute $\mu = \frac{1}{\sqrt{\alpha_t}}\big(x_t-\frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\hat\varepsilon\big)$. What has the clipping done?",
    {
        "Nothing at all": r"This mean is made of $\hat\varepsilon$, which was not clipped. Use $c_1\hat x_0+c_2x_t$, or derive $\hat\varepsilon$ again from the clipped prediction.",
        "It kept the pixels in range": "It would have, if the mean had used the clipped prediction.",
        "It made the sampler deterministic": "Noise is drawn as before.",
    },
    answer="Nothing at all",
)

# %% [markdown]
# ## Recap
#
# - If $x_0$ is known, the reverse step is a Gaussian: $\tilde\mu=c_1x_0+c_2x_t$, variance $\tilde\beta$. For its mean, put in the best prediction of $x_0$.
# - The bound is a sum of KL divergences of Gaussians. With the variance fixed, each is a weighted squared error in $\varepsilon$; with all weights 1 it is $L_{\text{simple}}$.
# - The noise prediction is a score: $\nabla\log q(x_t)=-\mathbb E[\varepsilon\mid x_t]/\sqrt{1-\bar\alpha_t}$.
# - Clip the prediction; derive everything from the clipped one. Average the weights, with warm-up. Respace by ratios of $\bar\alpha$; give the network the original time.
# - The variance of a step changes the bits and the samples, the samples most when steps are few.
#
# **Next.** Lesson 04 samples *this very network* in twenty steps.
#
# **References.** Ho et al., NeurIPS 2020 (DDPM) · Nichol and Dhariwal, ICML 2021 (learned variance, respacing) · Song and Ermon, NeurIPS 2019 (scores) · Efron, JASA 2011 (Tweedie's formula) · Salimans and Ho, ICLR 2022 (v) · Sohl-Dickstein et al., ICML 2015
# (the bound) · Bao et al., ICLR 2022 (Analytic-DPM) · Ronneberger et al., MICCAI 2015 (U-Net).
