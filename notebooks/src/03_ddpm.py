# %% [markdown]
# # 03 · DDPM: learning the way back
#
# **The question.** Lesson 02 turned pictures into noise, and noise back into petals, because for petals we knew the best guess
# of what lies under the noise. Nobody knows it for handwriting. Can a network learn it, and what exactly must it learn?
#
# **Afterwards you can**
# - derive DDPM's step back, its loss, and every weight that was dropped on the way, and check each formula by number;
# - train a U-Net from nothing to readable digits in under a minute, and watch it happen;
# - say what clipping, the choice of eps, x0 or v, the variance of a step, and averaged weights change, with measurements;
# - recognize four classic mistakes by their looks, and know one that cannot be seen.
#
# **Before:** lesson 02 (the jump, log-SNR, the best guess).
#
# **Time:** 70 minutes to read and play, plus 110 for all exercises; about 90 seconds of computing on two cores, a third of them training.
#
# **On the map:** 02 forward diffusion → **03 DDPM** → 04 DDIM (the same network in twenty steps) → 05 classifier guidance.

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
# What the whole lesson uses: real handwriting, the network that ships with the course, and a judge, a small classifier in whose features we
# will compare pictures. After a restart, run these two cells, and then any section you like.

# %%
handwriting = digits.load(16)[0]  # (1797, 1, 16, 16), real digits in [-1, 1]
system = zoo.load("ddpm-digits")
denoiser, table = system.denoiser, system.denoiser.schedule
classifier = zoo.load("classifier-digits")
real = metrics.see(classifier, handwriting).features  # (1797, 32)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def end(states):
    """The pictures at the end of a walk."""
    *_, state = states
    return state.x


def distance(images):
    """Fréchet distance to all the real digits, over their variance, in classifier-digits' features."""
    return metrics.frechet_distance(real, metrics.see(classifier, images).features)


# %% [markdown]
# ## 1 · See it first
#
# Ten of these digits were written by people, and ten were made out of noise by the network of this lesson, in a hundred steps. Which are which?
# Decide before you run the cell after the next.

# %%
made = end(system.generate(10, steps=100, step=ddpm, seed=1))
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
# Noising is a walk $x_0 \to x_1 \to \dots \to x_T$, one small step after the other, and ends in pure noise. To paint, start in noise and take each
# step back: given $x_t$, draw the $x_s$ that it may have come from, for $s < t$. Bayes tells how:
#
# $$q(x_s \mid x_t) \;=\; \frac{q(x_t \mid x_s)\; q(x_s)}{q(x_t)} .$$
#
# The first factor is the noising step, known. The second is the law of all slightly noised pictures, and nobody can write that down. Two facts save us:
#
# 1. **If the step is small, the answer is nearly a Gaussian.** Then only its mean and its variance are needed, and a network can learn a mean.
# 2. **If somebody told us $x_0$, the answer would be exactly a Gaussian**, one that we can compute.
#
# First the first fact. Here the data are one number $x_0$, with two peaks (think of one pixel: background or ink), so that Bayes can be done on a grid. In
# gray is $q(x_s)$, the triangle is the $x_t$ where we stand, and the blue curve is the law of where we came from.
# **How long may a step be, if a Gaussian is to do?** Pull `steps at once` from 300 down to 1, for an $x_t$ between the peaks.

# %%
peaks = GaussianMixture([[-1.0], [1.0]], std=[0.15, 0.3], weights=[0.4, 0.6])


def step_back(figure, t=600, steps=300, x_t=0.1):
    return ddpm_plot.draw_step_back(figure, peaks, table, t, steps, x_t)


widgets.Redraw(
    step_back,
    t=(20, 1000, 5),
    steps=(1, 400),
    x_t=(-2.0, 2.0, 0.05),
    labels={"t": "time t", "steps": "steps at once"},
    alt=lambda t, steps, x_t: (
        f"The exact law of x at time {max(0, t - steps)} given x at time {t} is {x_t:.2f}, and the Gaussian of the same mean and variance, over the data's own law in gray: two peaks against one for a long step, one curve for a short one."
    ),
)

# %% [markdown]
# A step of 300 times must choose between two peaks, and a bell cannot; a step of 10 only has to move a little, and the bell fits. **That is why DDPM takes a
# thousand steps.** Look also where it is hardest: not at the noisy end, but at small $t$, and between the peaks.
#
# ## 3 · The derivation
#
# ### 3.1 The posterior, by completing the square
#
# Now the second fact. Somebody tells us $x_0$. Write $\alpha = \bar\alpha_t/\bar\alpha_s$ for what the step $s \to t$ keeps, $\beta = 1-\alpha$ for the
# noise that it adds. (The papers take $s = t-1$; nothing below needs that.) Both factors of Bayes are known Gaussians:
#
# $$q(x_s \mid x_t, x_0) \;\propto\; \underbrace{\mathcal N\!\left(x_t;\ \sqrt{\alpha}\,x_s,\ \beta\right)}_{\text{it led to } x_t}\;\cdot\;\underbrace{\mathcal N\!\left(x_s;\ \sqrt{\bar\alpha_s}\,x_0,\ 1-\bar\alpha_s\right)}_{\text{it came from } x_0}.$$
#
# Take $-2\log$, and sort by powers of $x_s$; what does not hold $x_s$ is a constant:
#
# $$\frac{(x_t-\sqrt{\alpha}\,x_s)^2}{\beta} + \frac{(x_s-\sqrt{\bar\alpha_s}\,x_0)^2}{1-\bar\alpha_s}
#  \;=\; \underbrace{\Big(\frac{\alpha}{\beta}+\frac{1}{1-\bar\alpha_s}\Big)}_{\Lambda}x_s^2 \;-\; 2\underbrace{\Big(\frac{\sqrt{\alpha}}{\beta}x_t+\frac{\sqrt{\bar\alpha_s}}{1-\bar\alpha_s}x_0\Big)}_{h}x_s + \text{const}.$$
#
# Completing the square, $\Lambda x_s^2 - 2hx_s = \Lambda\,(x_s - h/\Lambda)^2 + \text{const}$: a Gaussian with mean $h/\Lambda$ and variance $1/\Lambda$.
# Put $\Lambda$ over one denominator, and use $\alpha - \alpha\bar\alpha_s + \beta = 1-\bar\alpha_t$ (because $\alpha\bar\alpha_s = \bar\alpha_t$ and $\alpha+\beta=1$):
#
# $$\boxed{\;\tilde\beta = \frac1\Lambda = \frac{1-\bar\alpha_s}{1-\bar\alpha_t}\,\beta,\qquad
#   \tilde\mu = \frac h\Lambda = \underbrace{\frac{\sqrt{\bar\alpha_s}\,\beta}{1-\bar\alpha_t}}_{c_1}x_0 + \underbrace{\frac{\sqrt{\alpha}\,(1-\bar\alpha_s)}{1-\bar\alpha_t}}_{c_2}x_t\;}\qquad\text{(DDPM, equations 6 and 7)}$$
#
# Believe no algebra. Bayes on a grid of 200,001 points needs none of it: multiply the two factors, divide by the sum.

# %% tags=["nbval-check-output"]
t, s, x_t, x0 = 300, 250, 0.4, -0.7
at_t, at_s = linear.alpha_bar[t], linear.alpha_bar[s]
alpha = at_t / at_s
grid = torch.linspace(-5, 5, 200_001, dtype=torch.float64)
log_led_to = -((x_t - alpha.sqrt() * grid) ** 2) / (2 * (1 - alpha))
log_came_from = -((grid - at_s.sqrt() * x0) ** 2) / (2 * (1 - at_s))
share = (log_led_to + log_came_from).softmax(0)
mean = (share * grid).sum()
variance = (share * (grid - mean) ** 2).sum()

one = torch.ones(1, 1, dtype=torch.float64)
formula_mean, formula_variance = linear.posterior(x0 * one, x_t * one, t, s)
print(f"mean       grid {mean:.10f}   formula {formula_mean.item():.10f}")
print(f"variance   grid {variance:.10f}   formula {formula_variance.item():.10f}")

# %% [markdown]
# Ten digits agree. In a picture: two opinions about $x_s$, and their product, which is narrower than both.

# %%
figure, axes = plots.subplots(size=(8, 2.8))
for name, log_density in {
    "it led to x_t": log_led_to,
    "it came from x0": log_came_from,
    "both: the posterior": log_led_to + log_came_from,
}.items():
    density = log_density.softmax(0) / (grid[1] - grid[0])
    axes.plot(grid[::100], density[::100], label=name)
axes.set(
    xlim=(-2.5, 2.5),
    xlabel="x_s",
    ylabel="density",
    title="Two opinions, and what follows from both",
)
axes.legend()
plots.show(
    figure,
    "Three bells over x_s: the one that says where it must have been to lead to x_t, the one that says where it can have come from, and the narrower posterior between them.",
)

# %% [markdown]
# Three quick tests of $c_1$, $c_2$ and $\tilde\beta$, worth remembering, because each catches another slip. A posterior that is averaged over $x_t$ must
# give the jump again: right mean, $c_1 + c_2\sqrt{\bar\alpha_t} = \sqrt{\bar\alpha_s}$; right variance, $c_2^2(1-\bar\alpha_t) + \tilde\beta = 1-\bar\alpha_s$.
# And at $s = 0$ the picture is known: $c_1 = 1$, $c_2 = 0$, $\tilde\beta = 0$.

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
# ### 3.2 Nobody tells us $x_0$. What is the right mean then, and the right variance?
#
# We know only $x_t$. Many $x_0$ may be behind it, each with some probability, each with a posterior of its own. So average over them. The mean is a straight line
# in $x_0$, so the average goes inside; for variances, the *law of total variance* adds the mean of the variances and the variance of the means:
#
# $$\mathbb E[x_s\mid x_t] = c_1\,\mathbb E[x_0\mid x_t] + c_2\,x_t,\qquad
#   \operatorname{Var}[x_s\mid x_t] = \tilde\beta + c_1^2\,\operatorname{Var}[x_0\mid x_t].$$
#
# Read the left one aloud: **to walk back, all a network must know is the best guess of the clean picture.** And the right one says what variance a step should have:
#
# - at least $\tilde\beta$, when $x_0$ is certain ("fixed small" in the DDPM paper);
# - and for data that are themselves standard normal, $\operatorname{Var}[x_0\mid x_t] = 1-\bar\alpha_t$, which gives $\tilde\beta + c_1^2(1-\bar\alpha_t) = \beta$ exactly ("fixed large").
#
# No data of variance 1 or less need more than $\beta$ *on average over $x_t$*. At a single $x_t$ they may: between two peaks nothing is known but "one or the other". Bayes on the grid once more knows the true answer:

# %% tags=["nbval-check-output"]
grid = torch.linspace(-6, 6, 48_001, dtype=torch.float64)
print("   t →   s    x_t     mean of x_s             variance of x_s           between β̃ and β")
for t, s, x_t in ((600, 590, 0.1), (600, 590, 1.5), (300, 200, 0.1), (900, 600, -0.5)):
    mean, variance = ddpm_plot.moments(ddpm_plot.reverse_law(peaks, linear, t, s, x_t, grid), grid)
    x0_mean, x0_variance = ddpm_plot.moments(
        ddpm_plot.reverse_law(peaks, linear, t, 0, x_t, grid), grid
    )
    c1, tilde = (v.item() for v in linear.posterior(one, zero, t, s))
    c2 = linear.posterior(zero, one, t, s)[0].item()
    total = tilde + c1**2 * x0_variance
    beta = 1 - (linear.alpha_bar[t] / linear.alpha_bar[s]).item()
    print(
        f"{t:4} → {s:3}  {x_t:+.1f}    grid {mean:+.4f}, here {c1 * x0_mean + c2 * x_t:+.4f}"
        f"    grid {variance:.5f}, here {total:.5f}    {tilde:.5f} … {beta:.5f}"
    )

# %% [markdown]
# For a jump of ten times, $\tilde\beta$ and $\beta$ are nearly equal, and it hardly matters which one a sampler takes. For a long jump they are far apart, and between the peaks (first and third line) the truth wants even more
# than $\beta$. Keep that in mind for section 8.3, where steps get few.
#
# ### 3.3 A bound that can be trained
#
# Our model is a chain of Gaussians, $p_\theta(x_{0:T}) = p(x_T)\prod_t p_\theta(x_{t-1}\mid x_t)$ with $p(x_T)=\mathcal N(0, I)$. How do we choose $\theta$? Make the real pictures likely:
# $-\log p_\theta(x_0)$ small. That needs an integral over all paths $x_1,\dots,x_T$. Write it as an average over the noising paths, and use Jensen ($\log$ of a mean ≥ mean of $\log$):
#
# $$-\log p_\theta(x_0) = -\log\ \mathbb E_{q(x_{1:T}\mid x_0)}\!\left[\frac{p_\theta(x_{0:T})}{q(x_{1:T}\mid x_0)}\right] \;\le\; \mathbb E_q\!\left[-\log p(x_T) - \sum_{t=1}^T \log\frac{p_\theta(x_{t-1}\mid x_t)}{q(x_t\mid x_{t-1})}\right].$$
#
# As it stands, each fraction compares a step back with a step forth. Turn $q$ round by Bayes, with $x_0$ known, for $t\ge2$:
#
# $$q(x_t\mid x_{t-1}) = q(x_t\mid x_{t-1}, x_0) = \frac{q(x_{t-1}\mid x_t,x_0)\;q(x_t\mid x_0)}{q(x_{t-1}\mid x_0)} .$$
#
# Over all $t$, the fractions $q(x_t\mid x_0)/q(x_{t-1}\mid x_0)$ cancel like the links of a telescope; what is left of them is $q(x_T\mid x_0)/q(x_1\mid x_0)$, and the lower
# end cancels against the step $t=1$. Collect what belongs together:
#
# $$\boxed{\;\begin{aligned}-\log p_\theta(x_0) \;\le\;& \underbrace{\mathrm{KL}\big(q(x_T\mid x_0)\,\|\,p(x_T)\big)}_{L_T} \;+\; \underbrace{\mathbb E\big[-\log p_\theta(x_0\mid x_1)\big]}_{L_0}\\ &+\; \sum_{t=2}^T \underbrace{\mathbb E\,\mathrm{KL}\big(q(x_{t-1}\mid x_t,x_0)\,\|\,p_\theta(x_{t-1}\mid x_t)\big)}_{L_{t-1}}\end{aligned}\;}\quad\text{(equation 5)}$$
#
# - $L_T$: what of the picture is left at the end. No network in it.
# - $L_{t-1}$: the step back that we *take* against the step back that we would take *if we knew $x_0$*. Two Gaussians: closed form.
# - $L_0$: the last step, which must name the picture itself.
#
# Is it only a bound, or can it be reached? For data $x_0\sim\mathcal N(0, c^2)$ every step back *is* a Gaussian, and all terms are short formulas. The truth, the average of
# $-\log p(x_0)$, is the entropy $\tfrac12\log(2\pi e c^2)$.

# %%
c2 = 0.5**2  # the data: N(0, 0.25)
entropy = 0.5 * math.log(2 * math.pi * math.e * c2)


def bound(chain, large):
    at, terms = chain.alpha_bar.tolist(), []
    kl = (1 - at[-1]) + at[-1] * c2 - 1 - math.log(1 - at[-1])
    terms.append(0.5 * kl)  # L_T
    for t in range(chain.T, 0, -1):
        guess = c2 * (1 - at[t]) / (at[t] * c2 + 1 - at[t])  # Var[x_0 | x_t]
        c1, tilde = (v.item() for v in chain.posterior(one, zero, t, t - 1))
        variance = chain.beta[t].item() if large else tilde + c1**2 * guess
        wrong_mean = c1**2 * guess / variance
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
    print(f"T = {n:4}   bound with the right variance {right:.5f}   with σ² = β {large:.5f}")

# %% [markdown]
# With the right mean *and* the right variance the bound is the truth itself, at any number of steps. With $\sigma^2=\beta$ it costs something, and less and less as steps grow many.
#
# ### 3.4 From the bound to the loss, term by term
#
# Two Gaussians with variances $\tilde\beta$ (posterior) and $\sigma^2$ (ours) are apart by
#
# $$\mathrm{KL} = \underbrace{\tfrac12\Big(\tfrac{\tilde\beta}{\sigma^2} - 1 - \log\tfrac{\tilde\beta}{\sigma^2}\Big)}_{\text{price of a wrong variance}} + \underbrace{\frac{(\tilde\mu-\mu_\theta)^2}{2\sigma^2}}_{\text{price of a wrong mean}} .$$
#
# DDPM fixes $\sigma^2$, so the first price is not to be trained. In the second, both means contain the same $c_2x_t$: their difference is $c_1(x_0-\hat x_0)$. Let the network tell
# the noise, $\hat\varepsilon$, and read its guess of the picture off the jump, $\hat x_0 = (x_t-\sqrt{1-\bar\alpha_t}\,\hat\varepsilon)/\sqrt{\bar\alpha_t}$. Then
# $x_0-\hat x_0 = \sqrt{\tfrac{1-\bar\alpha_t}{\bar\alpha_t}}\,(\hat\varepsilon-\varepsilon)$, and with $s=t-1$
#
# $$L_{t-1} = \frac{c_1^2}{2\sigma^2}\cdot\frac{1-\bar\alpha_t}{\bar\alpha_t}\,\|\varepsilon-\hat\varepsilon\|^2
#   = \underbrace{\frac{\beta_t^2}{2\sigma_t^2\,\alpha_t\,(1-\bar\alpha_t)}}_{w_t}\,\|\varepsilon-\hat\varepsilon\|^2 \qquad\text{(equation 12)}.$$
#
# Check: draw pictures, noise and wrong guesses; let torch compute the KL of the two Gaussians; divide by the squared error of the guess.

# %% tags=["nbval-check-output"]
x0 = handwriting[:4].double()
eps, wrong = (torch.randn(2, *x0.shape, generator=seeded(), dtype=torch.float64)).unbind()
weights = likelihood.eps_weights(linear)
for t in (2, 3, 10, 100, 500, 1000):
    x = linear.diffuse(x0, t, eps)
    guess = (x - linear.noise(t, x) * wrong) / linear.signal(t, x)
    mean, tilde = linear.posterior(x0, x, t, t - 1)
    mean_hat, _ = linear.posterior(guess, x, t, t - 1)
    kl = kl_divergence(Normal(mean, tilde.sqrt()), Normal(mean_hat, tilde.sqrt())).sum()
    print(
        f"t = {t:4}   KL / ‖ε − ε̂‖² = {kl / (eps - wrong).square().sum():.6f}   w_t = {weights[t]:.6f}"
    )
half = kl_divergence(Normal(0.0, 1.0), Normal(0.0, math.sqrt(2.0)))
print(f"a variance twice too large costs {half:.6f} nats for each pixel")

# %% [markdown]
# The weight at $t = 2$ is a hundred times that at $t = 500$. DDPM's boldest step is to **set all weights to 1**:
#
# $$\boxed{\;L_{\text{simple}} = \mathbb E_{t,\,x_0,\,\varepsilon}\;\big\|\varepsilon-\varepsilon_\theta\big(\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\varepsilon,\ t\big)\big\|^2\;}\qquad\text{(equation 14)}$$
#
# No bound any more. Why would anyone want that? See what the heavy weights are for:

# %%
figure, (left, right) = plots.subplots(1, 2, size=(10, 3.2))
left.semilogy(range(1, T + 1), weights[1:] / weights[1:].mean(), label="the bound, σ² = β̃")
left.semilogy([1, T], [1, 1], label="L_simple")
left.set(xlabel="time t", ylabel="weight, over its mean", title="What an error in ε costs")
left.legend()
right.plot(range(T + 1), weights.cumsum(0) / weights.sum(), label="the bound")
right.plot([0, T], [0, 1], label="L_simple")
right.set(xlabel="time t", ylabel="share of all weight up to t", title="Where the weight lies")
plots.show(
    figure,
    "Left: on a logarithmic scale, the bound's weight of an error is far above the mean at the first times and below it later, while L_simple's is flat. Right: the bound has a third of its weight in the first thirty times.",
)

# %%
eps = torch.randn(8, 1, 16, 16, generator=seeded())
pairs = torch.cat([handwriting[:8], linear.diffuse(handwriting[:8], 30, eps)])
plots.show(
    plots.image_grid(pairs, columns=8, rows=["t = 0", "t = 30"]),
    "Eight clean digits, and below them the same with the noise of time 30, which is barely visible.",
)
share = weights[:31].sum() / weights.sum()
print(f"share of the bound's weight at t ≤ 30: {share:.0%}; of L_simple's: {30 / T:.0%}")

# %% [markdown]
# The bound pays for bits, and most bits of a picture are in its finest grain. So it would have the network spend its effort telling $t=0$ from $t=30$. What the picture *shows* is decided at
# large $t$. $L_{\text{simple}}$ looks there. The paper's Table 1 (CIFAR-10) says what that buys and costs: training on the true bound gives FID 13.51 at ≤ 3.70 bits per dimension; $L_{\text{simple}}$ gives
# FID **3.17** at ≤ 3.75 bits. Much better pictures, slightly worse bits.
#
# **Must it be $\varepsilon$?** Ask the network for $x_0$ instead, and $\|x_0-\hat x_0\|^2 = \frac{1-\bar\alpha_t}{\bar\alpha_t}\|\varepsilon-\hat\varepsilon\|^2$: the same loss with other weights, which look to the noisy end even more. The network
# that ships with this course is small, and is asked for $x_0$; section 8.1 shows what the question changes.
#
# And the two terms at the ends? $L_0$ asks for the probability of one of 256 gray levels: the Gaussian's mass between the two neighboring half levels, with the outermost bins left open (equation 13).
# $L_T$ is a constant, and tiny if the schedule does its work:

# %% tags=["nbval-check-output"]
for name in ("linear", "cosine", "scaled_linear"):
    prior = likelihood.prior_term(schedules.by_name(name), handwriting).mean()
    print(f"L_T of the digits, {name:13}  {prior:.1e} bits per dimension")

# %% [markdown]
# (The paper reports about $10^{-5}$ bits for linear on CIFAR-10, section 4. Latent diffusion's schedule stops too early: lesson 02, "a bad schedule and its looks".)
#
# ## 4 · The real code
#
# Everything above, as it runs. The posterior, for any pair of times:

# %%
show_source(NoiseSchedule.posterior_weights, NoiseSchedule.posterior, docstring=False)

# %% [markdown]
# Algorithm 2, one ancestral step. `v` chooses between $\tilde\beta$ (0) and $\beta$ (1). It takes the pair $(t, s)$: so at $s=0$ nothing is left to draw, and there is no rule for "the last step".

# %%
show_source(sampler.ddpm, docstring=False)

# %% [markdown]
# Algorithm 1, the loss. Draw a time for each picture, noise it by one jump, ask the network, compare with what it was asked for.

# %%
show_source(NoiseSchedule.draw, Denoiser.loss, Denoiser.target, docstring=False)

# %% [markdown]
# ## 5 · The network
#
# What goes in is a picture and a time, what comes out is a picture of the same size. A **U-Net** does it at several resolutions: coarse maps see the whole digit, fine maps know where the
# edges are, and every map of the way down is kept and joined on the way up. The drawing is not a drawing: hooks on the real module wrote down what each part gave. Numbers are channels.

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
    "Two U-Nets, drawn as rows of boxes that descend to coarser maps and climb again, with gray lines from each map on the way down to its partner on the way up. Ours works on folded pictures; the paper's goes from 32 down to 4 pixels a side.",
)

# %% [markdown]
# Ours first *folds*: each square of pixels becomes channels of one, so that all the work is done on a small map, many times faster. The paper's network has 35.7 million parameters, as its
# code has. The forward pass is short enough to read:

# %%
show_source(UNet.forward, denoiser.net.middle[0].forward)

# %% [markdown]
# The network must know *when* it is: at $t=900$ it should paint boldly, at $t=20$ only clean up. The time comes as waves of many frequencies, like the hands of a clock: the fast
# ones tell neighbors apart, the slow ones tell early from late. Every residual block reads them.

# %%
waves = sinusoid(torch.arange(1, T + 1), 48)  # (T, 48)
figure, axes = plots.subplots(size=(8, 2.6))
axes.imshow(waves.T, aspect="auto", cmap="PuOr", extent=(1, T, 48, 0))
axes.grid(False)
axes.set(xlabel="time t", ylabel="entry", title="What the network is told about the time")
plots.show(
    figure,
    "The 48 entries of the time embedding over all times: fast waves in the first rows of each half, slower and slower ones below.",
)

# %% [markdown]
# ## 6 · Play: the walk, frame by frame
#
# Eight noises walk down to eight digits, in 250 ancestral steps. Above is $x_t$, below what the network believes at that moment, $\hat x_0$. **When is it decided which digit it becomes?** Choose a column,
# and find the first frame where you would bet on it. The guess knows long before $x_t$ shows it.

# %%
frames, labels = [], []
start = torch.randn(8, 1, 16, 16, generator=seeded(3))
clipped = MapX0(denoiser, clip)
for i, state in enumerate(sample(clipped, start, table.timesteps(250), generator=seeded(3))):
    if i % 8 == 0 or state.t == 0:
        pair = torch.cat([state.x / state.x.abs().amax().clamp(min=1), state.x0])
        frames.append(
            plots.image_grid(pair, columns=8, rows=["x_t (scaled)", "guess of x0"], scale=5)
        )
        labels.append(f"t = {state.t}, log-SNR {table.log_snr[max(state.t, 1)]:+.1f}")
widgets.Filmstrip(
    frames,
    labels,
    alt="Eight samples on the way from noise to digits: above the noisy picture, below the network's guess of the clean one",
    start=len(frames) * 5 // 9,
)

# %% [markdown]
# The first guesses are all the same gray cloud: the average of all digits, as lesson 02 promised. Then they part. In the last third hardly anything changes but the grain: what the heavy weights of section 3.4 would have paid for.
#
# ## 7 · Train it
#
# ### 7.1 From nothing to digits
#
# Here, on your machine: 512 updates with batches of 128 real digits. Nothing is hidden: `train` is a loop that yields after every update, and `watch` draws what comes. The samples use
# twelve DDIM steps (lesson 04 says why that works) and averaged weights (section 7.2 says why).

# %%
torch.manual_seed(0)
fresh = zoo.build("ddpm-digits")  # untrained: random weights
updates, probe = 512, torch.randn(16, 1, 16, 16, generator=seeded(4))
marks = [updates // 4, updates]  # where copies are kept for section 7.2
plain = deepcopy(fresh)  # an average without warm-up, for section 7.2
kept = {}


def lesson():
    """Trains; yields now and then what a watcher needs: the step, the mean loss, 16 samples."""
    losses = []
    for each in train(fresh, shuffled(handwriting, batch=128), steps=updates, lr=2e-3):
        losses.append(each.loss)
        with torch.no_grad():
            torch._foreach_lerp_([*plain.parameters()], [*fresh.parameters()], 0.001)
        if each.step in marks:
            kept[each.step] = [deepcopy(m.denoiser) for m in (fresh, each.ema, plain)]
        if each.step % (updates // 16) == 0 or each.step == updates:
            x = end(sample(MapX0(each.ema.denoiser, clip), probe, table.timesteps(12), step=ddim))
            yield each.step, sum(losses) / len(losses), x
            losses = []


# %%
def draw(figure, seen):
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
    at, losses = [each[0] for each in seen], [each[1] for each in seen]
    left.semilogy(at, losses, "o-", markersize=4)
    left.set(xlim=(0, updates), ylim=(0.05, 1.1), xlabel="update", ylabel="L_simple")
    left.set_yticks([0.05, 0.1, 0.2, 0.5, 1], ["0.05", "0.1", "0.2", "0.5", "1"])
    left.set_title(f"loss {losses[-1]:.4f}")
    tiles = seen[-1][2].clamp(-1, 1).view(2, 8, 16, 16).movedim(2, 1).reshape(32, 128)
    right.imshow(tiles, vmin=-1, vmax=1)
    right.set_title(f"16 samples after {at[-1]} updates")
    right.axis("off")


seen = widgets.watch(
    lesson(),
    draw,
    alt="Left: the training loss falls from about 0.6 to below 0.1. Right: sixteen samples of the network, readable digits at the end.",
    size=(10, 2.9),
)
print(f"each digit seen about {updates * 128 / len(handwriting):.0f} times")
assert seen[-1][1] < 0.3 * seen[0][1]

# %% [markdown]
# An untrained U-Net answers 0 everywhere, so the loss starts at the mean square of what it was asked for. It falls fast, then hardly at all, and yet the samples keep getting better: **the loss is a poor judge of
# pictures**, since most of what is left of it cannot be known from $x_t$ by anybody. Beside it what ships with the course: the same recipe, trained longer.

# %%
walk = torch.randn(10, 1, 16, 16, generator=seeded(7))
rows, times = {"just now": kept[updates][1], "shipped": denoiser}, table.timesteps(50)
images = [end(sample(MapX0(d, clip), walk, times, generator=seeded())) for d in rows.values()]
plots.show(
    plots.image_grid(torch.cat([*images, handwriting[200:210]]), columns=10, rows=[*rows, "real"]),
    "Three rows of ten digits: from the network trained in this notebook, from the one that ships, and real ones.",
)

# %% [markdown]
# ### 7.2 Averaged weights
#
# The samples above did not use the weights that the optimizer holds, but a running average of them (EMA): $\bar\theta \leftarrow d\,\bar\theta + (1-d)\,\theta$ after every update. Each update
# jitters the weights, and sampling calls the network many times, so that errors add up; an average over the last thousand updates jitters less. One trap: the average starts at *random*
# weights. With $d = 0.999$, after 500 updates it still holds $0.999^{500} = 61\,\%$ of them. So labkit lets $d$ grow, $\min(d, \frac{1+n}{10+n})$. The copies that we kept on the way:
#
# (All distances in this lesson: Fréchet, in the features of `classifier-digits`, divided by the variance of the real features, against all 1,797 digits. They cannot be compared with the FIDs of papers, taken in
# Inception's features; orders can. Fewer samples give larger distances, so each table says its N, and what as many *real* digits get: the floor.)

# %%
pick = [handwriting[torch.randperm(1797, generator=seeded(i))[:250]] for i in range(4)]
floor = torch.tensor([distance(images) for images in pick])
kinds = ("raw", "average", "average, no warm-up")
starts = [torch.randn(250, 1, 16, 16, generator=seeded(i)) for i in range(2)]
times, emas = table.timesteps(12), {}
for mark, networks in kept.items():
    for kind, network in zip(kinds, networks):
        images = [end(sample(MapX0(network, clip), x, times, step=ddim)) for x in starts]
        emas[mark, kind] = torch.tensor([distance(each) for each in images])
print("Fréchet distance, N = 250, 12 DDIM steps, mean ± sd of 2 noises;", end=" ")
print(f"250 real digits: {floor.mean():.3f} ± {floor.std():.3f}\n")
print("updates   " + "".join(f"{kind:>22}" for kind in kinds))
for mark in kept:
    cells = [f"{emas[mark, kind].mean():14.3f} ± {emas[mark, kind].std():.3f}" for kind in kinds]
    print(f"{mark:7}   " + "".join(cells))

# %%
early, times = kept[marks[0]], table.timesteps(12)
images = [end(sample(MapX0(each, clip), probe[:10], times, step=ddim)) for each in early]
plots.show(
    plots.image_grid(torch.cat(images), columns=10, rows=kinds, title=f"After {marks[0]} updates"),
    "Three rows of ten samples early in training: raw weights, the average with warm-up, and the average without warm-up, whose pictures are useless.",
)
assert emas[updates, kinds[2]].mean() > 2 * emas[updates, kinds[1]].mean()

# %% [markdown]
# The last column is the trap: after 512 updates more than half of that average is still the random start, $0.999^{512} = 60\,\%$. In our run
# the average was ahead of the raw weights early, while the learning rate was high (by about two spreads: a hint, no proof), and level with them at the end. That fits: the rate falls to 0, which calms the weights by itself. DDPM trained for 800,000 updates without
# that, and relied on the average, with $d = 0.9999$.
#
# ## 8 · Measure
#
# ### 8.1 Three questions for one network: eps, x0 or v
#
# From $x_t$ and any one of $\varepsilon$, $x_0$ and $v = \sqrt{\bar\alpha_t}\,\varepsilon-\sqrt{1-\bar\alpha_t}\,x_0$ the others follow. So it does not matter what the network is asked? For a perfect one, no. For a real one, an error
# made in one of them is multiplied on the way to another: from $\varepsilon$ to $x_0$ by $\sqrt{(1-\bar\alpha_t)/\bar\alpha_t}$, which is huge at the noisy end; from $x_0$ to $\varepsilon$ by its inverse, huge at the clean end.
#
# To see it without doubt we need the exact answer. So: six blobs in 2-D, whose best guess lesson 02 knows, a small network, and nine trainings: three questions, three seeds, equal budgets.

# %%
angle = torch.arange(6) / 6 * 2 * math.pi
ring = GaussianMixture(1.2 * torch.stack([angle.cos(), angle.sin()], 1), std=0.15)
points = ring.sample(5000, seeded())[0].float()  # (5000, 2)


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
        network = Denoiser(Small(), table, predicts=predicts)
        *_, last = train(network, shuffled(points, batch=256), steps=600, lr=1e-2, seed=seed)
        trained[predicts, seed] = last.ema

# %%
exact, eps = ring.denoiser(table), torch.randn(5000, 2, generator=seeded(1))
times = [5, 20, 50, 100, 200, 350, 500, 650, 800, 900, 950, 980, 995]
figure, axes = plots.subplots(1, 2, size=(10, 3.4))
for color, predicts in zip(plots.COLORS, ("eps", "x0", "v")):
    errors = torch.zeros(2, 3, len(times))
    for i, t in enumerate(times):
        x = table.diffuse(points, t, eps)
        right = exact(x, t)
        for seed in range(3):
            said = trained[predicts, seed](x, t)
            errors[0, seed, i] = (said.x0 - right.x0).square().mean()
            errors[1, seed, i] = (said.eps - right.eps).square().mean()
    for each, curves in zip(axes, errors.detach()):
        each.semilogy(times, curves.mean(0), color=color, label=predicts)
        each.fill_between(
            times, curves.amin(0), curves.amax(0), color=color, alpha=0.25, linewidth=0
        )
    print(f"{predicts:4} error in x0 at t = 20, 500, 980: ", end="")
    print(", ".join(f"{c.mean():.1e} ± {c.std():.0e}" for c in errors[0, :, [1, 6, 11]].T))
axes[0].set(xlabel="time t", ylabel="squared error", title="Error in x0, against the exact guess")
axes[1].set(xlabel="time t", title="The same networks' error in eps")
axes[0].legend(title="the network says")
plots.show(
    figure,
    "Squared error against the exact answer over time, for networks that predict eps, x0 and v, bands from three seeds: in x0 the eps network is far the worst at the noisy end; in eps the x0 network is the worst at the clean end; v has neither peak.",
)

# %% [markdown]
# In $x_0$, the network that says eps is more than a thousand times worse than the others at $t=980$; in eps, the one that says $x_0$ is the worst at the clean end. In the middle $x_0$ does best here and v stays between the two: it is
# best nowhere by much, and bad nowhere (Salimans and Ho introduced it for samplers of very few steps). That is a statement on six blobs, one small network and three seeds. On CIFAR-10 the DDPM paper chose eps; predicting $\tilde\mu$ with
# an unweighted loss was unstable (Table 2). labkit's small U-Net is asked for $x_0$, where it can be wrong by no more than a picture is wide, and its learned-variance twin for v,
# because the bound of section 8.4 has no mercy with an $x_0$ that is a little wrong at small $t$.
#
# ### 8.2 Why the guess is clipped
#
# Pixels live in $[-1,1]$; does the guess? The nine networks of section 8.1 walk by ancestral steps, in a hurry (10) and with time (50). The blobs lie within $\pm1.7$, so the clipped walks keep every guess there. What counts is how many of 1,000
# points end nowhere: farther from every blob than four of its standard deviations, where of the data themselves only 1 in 3,000 lies.


# %%
def box(x0):
    return x0.clamp(-1.7, 1.7)


walks = {"clipped": lambda network: MapX0(network, box), "not clipped": lambda network: network}
lost, clouds, first_guess = {}, {}, {}
for (predicts, seed), network in trained.items():
    for name, wrap in walks.items():
        for n in (10, 50):
            start = torch.randn(1000, 2, generator=seeded(seed))
            states = list(sample(wrap(network), start, table.timesteps(n), generator=seeded(seed)))
            nearest = torch.cdist(states[-1].x.double(), ring.means).amin(1)  # (1000,)
            lost[predicts, name, n, seed] = (nearest > 4 * 0.15).double().mean().item()
            clouds[predicts, name, n] = states[-1].x
            first_guess[predicts, name] = states[0].x0.abs().max().item()

# %%
print("share of points that end nowhere, mean ± sd of 3 networks, N = 1,000 points each\n")
print("the network says              largest first guess        10 steps           50 steps")
for predicts in ("eps", "x0", "v"):
    for name in walks:
        shares = torch.tensor(
            [[lost[predicts, name, n, seed] for n in (10, 50)] for seed in range(3)]
        )
        cells = [f"{m:9.1%} ± {sd:5.1%}" for m, sd in zip(shares.mean(0), shares.std(0))]
        print(f"{predicts:4} {name:14} {first_guess[predicts, name]:26.1f}   " + "   ".join(cells))
figure, axes = plots.subplots(1, 6, size=(10, 2.1))
for each, (predicts, name) in zip(axes, first_guess):
    each.scatter(*clouds[predicts, name, 10].T, s=1, color=plots.BLUE)
    each.set(xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), xticks=[], yticks=[], aspect="equal")
    each.set_title(f"{predicts}, {name}", fontsize=10)
plots.show(
    figure,
    "Six clouds of a thousand samples in ten steps: for networks that say eps, x0 and v, each with and without clipping. Without clipping nearly all points of the eps network have left the picture; all other clouds are closed rings, into which ten steps blur the six blobs.",
)
assert all(lost["eps", "not clipped", 10, seed] > 0.5 for seed in range(3))

# %% [markdown]
# At $t=T$ the eps network's error is divided by $\sqrt{\bar\alpha_T}\approx 0.00005$: its first guess lies thousands of units away, and ten steps are too few to come back. With fifty, each goes only a small part of the way, and
# most points come back; what clipping still saves there is no more than about two spreads of the three networks. Clipping costs one line and mends it at the root. For networks that say $x_0$ or v nothing is divided, and clipping changes nothing here. (A linear
# schedule leaves $\sqrt{\bar\alpha_T}=0.006$, so DDPM's own networks are off by less; their code clips all the same.)
#
# ### 8.3 Few steps: which variance?
#
# Section 3.2 said: the right variance lies between $\tilde\beta$ and $\beta$, and for long steps these are far apart. Improved DDPM lets the network choose, pixel by pixel, on a logarithmic scale between the two,
# $\sigma^2 = \beta^{v}\,\tilde\beta^{\,1-v}$. Since $L_{\text{simple}}$ knows no variance, a small part of the bound is added, $L_{\text{simple}} + 0.001\,L_{\text{vlb}}$, whose gradient may move only $v$.
# The learned-variance twin of our network, asked what it chose; and then three samplers with *its* means, so that nothing differs but the variance:

# %%
twin = zoo.load("ddpm-digits-learned-variance").denoiser
figure, axes = plots.subplots(size=(8, 2.8))
times = torch.arange(2, T + 1, 20)
with torch.no_grad():
    x = [
        table.diffuse(handwriting[:16], int(t), torch.randn(16, 1, 16, 16, generator=seeded()))
        for t in times
    ]
    chosen = torch.stack([twin(each, int(t)).var_frac.flatten() for each, t in zip(x, times)])
low, middle, high = chosen.quantile(torch.tensor([0.05, 0.5, 0.95]), dim=1)
axes.fill_between(
    times, low, high, color=plots.SKY, alpha=0.5, linewidth=0, label="90 % of the pixels"
)
axes.plot(times, middle, label="median")
axes.set(xlabel="time t", ylabel="v", title="0 is β̃ (fixed small), 1 is β (fixed large)")
axes.legend()
plots.show(
    figure,
    "The fraction v that the network chooses for its variance, over time: median and spread over pixels.",
)

# %% [markdown]
# Near the picture the network wants almost the whole $\beta$, and more for some pixels than for others; nobody had told it section 3.2. At large $t$ the curve strays below 0 (nothing squashes it), where it hardly matters: there $\tilde\beta$ and $\beta$ of a
# single step are nearly equal. Now the three samplers.


# %%
class Fixed:
    """A denoiser without its opinion on the variance."""

    def __init__(self, denoise):
        self.denoise, self.schedule = denoise, denoise.schedule

    def __call__(self, x, t, cond=None):
        return self.denoise(x, t, cond)._replace(var_frac=None)


walk = MapX0(twin, clip)
kinds = {
    "fixed small": (Fixed(walk), partial(ddpm, v=0.0)),
    "fixed large": (Fixed(walk), partial(ddpm, v=1.0)),
    "learned": (walk, ddpm),
}

# %%
starts = [torch.randn(200, 1, 16, 16, generator=seeded(i)) for i in range(2)]
found, ten = {}, []
for n in (5, 10, 20):
    for kind, (denoise, step) in kinds.items():
        times = table.timesteps(n)
        runs = [end(sample(denoise, x, times, step=step, generator=seeded(9))) for x in starts]
        found[n, kind] = torch.tensor([distance(images) for images in runs])
        ten += [runs[0][:10]] if n == 10 else []
plots.show(
    plots.image_grid(torch.cat(ten), columns=10, rows=list(kinds), title="10 steps"),
    "Three rows of ten samples in ten steps, with the small, the large and the learned variance.",
)

# %%
pick = [handwriting[torch.randperm(1797, generator=seeded(i))[:200]] for i in range(4)]
floor = torch.tensor([distance(images) for images in pick])
print("Fréchet distance, N = 200, mean ± sd of 2 seeds;", end=" ")
print(f"200 real digits: {floor.mean():.3f} ± {floor.std():.3f}\n")
print("steps  " + "".join(f"{kind:>18}" for kind in kinds))
for n in (5, 10, 20):
    cells = [f"{found[n, kind].mean():10.3f} ± {found[n, kind].std():.3f}" for kind in kinds]
    print(f"{n:5}  " + "".join(cells))

# %% [markdown]
# The large variance puts back, at every step, the noise that data without any structure would need. Short steps to come would take it away again; the last, long one cannot. That is the grain in the second row. The same
# happens in the papers' own size: DDIM's Table 1 has, for CIFAR-10 in 10, 20, 50, 100 and 1000 steps, FIDs of 367, 133, 32.7, 9.99 and **3.17** with the large variance ($\hat\sigma$) and 41.1, 18.4, 8.01, 5.78 and 4.73 with the small one
# ($\eta=1$): the large one is the best of all at a thousand steps, and by far the worst at ten. For learned variances Improved DDPM reports, as we know from secondary sources only, quality that stays nearly flat down to about a hundred steps.
#
# In our table the large variance is clearly the worst at 5 and 10 steps, in the same order. The learned one comes out a little before the small one there, but by less than two handfuls of 200 real digits differ (the ± of the floor): we claim no
# winner. At 20 steps all three are at the floor. Where the learned variance does pay comes next.
#
# ### 8.4 Bits per dimension
#
# The bound of section 3.3 in its own unit: bits for each pixel, $L/(D\ln 2)$. A picture of 256 gray levels takes 8 bits a pixel if you know nothing about it. The whole bound needs the network at all thousand times; here for 16 digits:

# %%
x0 = metrics.quantize(handwriting[:16])
kinds = {"fixed small": 0.0, "fixed large": 1.0, "learned": None}
bounds = {kind: torch.zeros(T + 1) for kind in kinds}
for times in torch.arange(1, T + 1).split(50):
    t = times.repeat_interleave(16)  # 16 digits at each of 50 times
    clean = x0.repeat(len(times), 1, 1, 1)
    x = table.diffuse(clean, t, torch.randn(clean.shape, generator=seeded(int(t[0]))))
    with torch.no_grad():
        said = MapX0(twin, clip)(x, t)
    for kind, v in kinds.items():
        one = said if v is None else said._replace(var_frac=None)
        cost = likelihood.term(table, one, clean, x, t, v or 0.0)  # (800,)
        bounds[kind][times] = cost.view(len(times), 16).mean(1).float()

# %%
prior = likelihood.prior_term(table, x0).mean()
print("bits per dimension    L_0      L_1 … L_50    the rest       L_T     total")
for kind, each in bounds.items():
    parts = each[1], each[2:52].sum(), each[52:].sum(), prior
    print(
        f"{kind:18} {parts[0]:8.4f} {parts[1]:13.4f} {parts[2]:11.4f}  {parts[3]:9.1e} {sum(parts):8.3f}"
    )
assert sum(bounds["learned"]) < sum(bounds["fixed large"])

# %%
figure, axes = plots.subplots(size=(8, 3))
for kind, each in bounds.items():
    axes.semilogx(range(1, T + 1), each[1:].cumsum(0), label=kind)
axes.axvline(50, color=plots.BLACK, linewidth=1, linestyle=":")
axes.set(xlabel="time t", ylabel="bits per dimension", ylim=(0, 4))
axes.set_title("What the steps from 1 to t cost together (dotted: t = 50)")
axes.legend(loc="lower right")
plots.show(
    figure,
    "The bits of the steps from 1 to t, added up, for three variances, over a logarithmic time axis: all begin near 1.4 bits at the very first step, rise above 3 by t = 50 and hardly any more after it; the small variance ends highest, the learned one lowest.",
)

# %% [markdown]
# About nine tenths of the bits are spent on the last fifty of the thousand steps, on grain that nobody sees; what the digit *is* costs the other tenth. And there the variance counts: a step too sure of itself is fined without mercy ($\sigma^2$ stands below the squared error), a step too
# modest pays for each pixel. The learned variance is the cheapest, because it may choose for every pixel: certain in the black background, careful on the edge of a stroke. Improved DDPM's tables, which we have from secondary sources only, show the same
# order on CIFAR-10: 3.37 bits with $L_{\text{simple}}$ alone, 3.26 with the hybrid loss (4,000 steps, linear schedule). DDPM's own figure is ≤ 3.75 bits (Table 1). Compare orders, not values: photographs have far more grain than these digits, which
# were scanned at 8 × 8 pixels with 17 gray levels; and the network was trained on the very digits that it codes here.
#
# ## 9 · Break it
#
# Five mistakes that everybody makes once, in ten steps each (a hurry shows them better). Each is one wrong line. Look at a row before you read what it is, and say what is wrong with it.

# %%
times = table.timesteps(10, trailing_spacing)  # [1000, 900, …, 100, 0]
rising = times[::-1]


class Respaced:
    """Our network on a schedule of ten steps, k = 10 … 0; at step k it is told the time asks[k]."""

    def __init__(self, schedule, asks):
        self.schedule, self.asks = schedule, asks

    def __call__(self, x, k, cond=None):
        eps = denoiser(x, self.asks[k]).eps
        x0 = from_eps(self.schedule, x, k, eps).x0
        return from_x0(self.schedule, x, k, x0.clamp(-1, 1))


def noise_at_the_end(schedule, pred, x, t, s, generator):
    beta = (1 - schedule.at(t, x) / schedule.at(s, x)).item()
    noise = torch.randn(x.shape, generator=generator)
    return schedule.posterior(pred.x0, x, t, s)[0] + math.sqrt(beta) * noise


def only_the_guess(schedule, pred, x, t, s, generator):
    variance = schedule.posterior(pred.x0, x, t, s)[1].item()
    return pred.x0 + math.sqrt(variance) * torch.randn(x.shape, generator=generator)


# %%
kept_betas = from_betas(1 - table.alpha_bar[rising][1:] / table.alpha_bar[rising][:-1])
sliced_betas = from_betas(table.beta[rising[1:]])
start = torch.randn(8, 1, 16, 16, generator=seeded(2))
clipped, tens = MapX0(denoiser, clip), list(range(10, -1, -1))
rows = {
    "right": sample(clipped, start, times, generator=seeded(2)),
    "A": sample(clipped, start, times, step=noise_at_the_end, generator=seeded(2)),
    "B": sample(clipped, start, times, step=only_the_guess, generator=seeded(2)),
    "C": sample(Respaced(sliced_betas, rising), start, tens, generator=seeded(2)),
    "D": sample(Respaced(kept_betas, range(11)), start, tens, generator=seeded(2)),
    "E": sample(clipped, torch.rand(start.shape, generator=seeded(2)), times, generator=seeded(2)),
}
images = {name: end(walk) for name, walk in rows.items()}
plots.show(
    plots.image_grid(torch.cat([*images.values()]), columns=8, rows=list(images)),
    "Six rows of eight samples in ten steps: right ones, then five mistakes, A to E; all but the last spoil them visibly.",
)

# %% [markdown]
# <details><summary>What the five did</summary>
#
# - **A: noise at the last step.** Right digits under grain. With a thousand steps the grain is too fine to see, so that this mistake can live long.
# - **B: the mean is the guess itself,** not $c_1\hat x_0+c_2x_t$. The network is shown far cleaner pictures than the time it is told, and the early blurred guess is all that is left.
# - **C: respaced by picking every hundredth $\beta$.** Each long step must take away the noise of a hundred short ones, but takes away that of one. The noise is still there at the end.
# - **D: told the network the new index.** At step 10 of 10 it was told "$t = 10$", where pictures are almost clean, and took the noise for the picture.
# - **E: `rand` for `randn`** at the start. Did you see it? At $t=T$ nothing of the picture is left, so the network does not look at $x_T$ at all, and the next step adds noise of the right kind. **Looks do not find every mistake: compare laws by number**, as the checks below do.
#
# </details>

# %%
right_schedule = sample(Respaced(kept_betas, rising), start, tens, generator=seeded(2))
torch.testing.assert_close(end(right_schedule), images["right"], atol=1e-3, rtol=1e-3)
print("ten steps on a schedule of their own, done right, are the ten long steps of `right`")

# %% [markdown]
# ## 10 · Exercises
#
# Write your function where it says `...`, run the cell, then the check below it. A check draws fresh random inputs each time, compares with
# labkit, and if it knows your mistake, it says its name. Hints and solutions are folded; a solution runs the same check as you.
#
# ### 1 · The posterior's mean ● 10 minutes
#
# For `x0` and `x` (= $x_t$) of the same shape, whole numbers `t` > `s` > 0, and the table `alpha_bar` (T+1,) in float64, return the mean of $q(x_s\mid x_t,x_0)$, in the dtype of `x`.
# The step may be long: $\alpha=\bar\alpha_t/\bar\alpha_s$. All samplers of this course stand on these two weights.


# %%
def posterior_mean(x0, x, t, s, alpha_bar): ...


# %%
checks.posterior_mean(posterior_mean)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The box of section 3.1. Compute $\alpha$ first, then $c_1$ and $c_2$ as plain numbers (`.item()`), so that the dtype of the pictures stays as it is. Test yourself: $c_1+c_2\sqrt{\bar\alpha_t}=\sqrt{\bar\alpha_s}$.
#
# </details>
#
# The solution is folded in the next cell: click on the three dots.


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
# $L_{\text{simple}}$ for one batch: pictures `x0` (B, C, H, W), a time `t` (B,) for each, the noise `eps`. The network is called as `net(x, t)` and tells the noise. Return one number, the mean over everything. This is
# all that training a diffusion model adds to a training loop that you know.


# %%
def simple_loss(net, x0, t, alpha_bar, eps): ...


# %%
checks.simple_loss(simple_loss)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `alpha_bar[t]` is (B,) in float64. To multiply pictures row by row it needs the shape (B, 1, 1, 1) and the pictures' dtype: `.view(-1, 1, 1, 1).to(x0.dtype)`, the root before the dtype.
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
# Algorithm 2 with the *large* variance $\sigma^2=\beta$, as in the paper's CIFAR-10 release. Given `x` at time `t`, the network's answer `eps`, and noise `z` of the same shape, return `x` at time `s`. Guess $x_0$ and clip it to
# $[-1,1]$; take the posterior's mean; add $\sqrt\beta\,z$, but nothing if `s` is 0. (With this variance, unlike $\tilde\beta$, algebra does not do that for you.)


# %%
def ancestral_step(x, eps, t, s, alpha_bar, z): ...


# %%
checks.ancestral_step(ancestral_step)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Three lines: `x0 = ((x - √(1−ᾱ_t) * eps) / √ᾱ_t).clamp(-1, 1)`; the mean, by your function of exercise 1 (its formula is right at `s = 0`, too); the noise. $\beta = 1-\bar\alpha_t/\bar\alpha_s$.
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
# The reward: fifty of *your* steps paint with the trained network. (If your function is still to do, the solution stands in.)

# %%
ready = checks.ancestral_step(ancestral_step).passed
step = ancestral_step if ready else ancestral_step_solution
x, generator, times = (
    torch.randn(10, 1, 16, 16, generator=seeded(6)),
    seeded(6),
    table.timesteps(50),
)
for t, s in zip(times, times[1:]):
    with torch.no_grad():
        eps = denoiser(x, t).eps
    z = torch.randn(x.shape, generator=generator)
    x = step(x, eps, t, s, table.alpha_bar, z)
plots.show(plots.image_grid(x, columns=10), "Ten digits, painted by the step of exercise 3.")

# %% [markdown]
# ### 4 · Fewer, longer steps ●● 10 minutes
#
# Keep only the times in `times`, a rising list from 0 to T. Return the variances of the new, longer steps, float64, as many as there are gaps, such that `from_betas` of them gives a table that equals the old one at the kept
# times. (You saw in row C what the obvious wrong way does.)


# %%
def respaced_betas(alpha_bar, times): ...


# %%
checks.respaced_betas(respaced_betas)

# %% [markdown]
# <details><summary>Hint</summary>
#
# What a long step keeps is $\bar\alpha_t/\bar\alpha_s$, however many short ones it is made of. `alpha_bar[times]` picks the kept entries; divide the later ones `[1:]` by the earlier ones `[:-1]`.
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
# One update of the running average, for one tensor: `average` and `weights` of the same shape, the number of updates done before, `step` (0, 1, 2, …), and `decay`. With warm-up: the share of the old average is the smaller one of
# `decay` and $\frac{1+\text{step}}{10+\text{step}}$. Return a new tensor; do not change the old one.


# %%
def ema_update(average, weights, step, decay): ...


# %%
checks.ema_update(ema_update)

# %% [markdown]
# <details><summary>Hint</summary>
#
# At `step = 0` the share of the old average is 0.1: nine tenths of the random start are gone after a single update. After many updates it is `decay`.
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
# The heart of Improved DDPM, and of section 8.4: one term $L_s = \mathrm{KL}\big(q(x_s\mid x_t,x_0)\,\|\,p_\theta(x_s\mid x_t)\big)$ with a learned variance, for each picture of a batch, in bits per dimension.
#
# You get the true `x0`, the network's `guess` of it, `x` at time `t`, and the network's second output `o`, all (B, C, H, W), with `t` > `s` > 0. Both Gaussians have the posterior's mean formula, one with `x0`, one with `guess`. The
# posterior has the variance $\tilde\beta$. The model has $\log\sigma^2 = v\log\beta + (1-v)\log\tilde\beta$ with $v = (o+1)/2$. Average over a picture's values, not over the batch: return (B,).


# %%
def bound_term(x0, guess, x, o, t, s, alpha_bar): ...


# %%
checks.bound_term(bound_term)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The KL of section 3.4, value by value: $\tfrac12\big(\tfrac{\tilde\beta}{\sigma^2} - 1 - \log\tfrac{\tilde\beta}{\sigma^2} + \tfrac{(\tilde\mu-\mu_\theta)^2}{\sigma^2}\big)$. The means differ by $c_1(x_0-\hat x_0)$ alone. Nats over $\ln 2$ are bits; `.flatten(1).mean(1)` averages each picture.
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
    r"A network tells the noise perfectly: it always says $\mathbb E[\varepsilon\mid x_t]$. Is its loss $L_{\text{simple}}$ zero?",
    {
        "Yes, it makes no mistake": r"It makes none that can be avoided, but $\varepsilon$ itself cannot be known from $x_t$: several pictures with several noises give the same $x_t$.",
        "No, and no network can bring it to zero": r"What remains is the spread of $\varepsilon$ around its mean. This is why the loss stands nearly still while the samples improve.",
        "It depends on the number of steps of the sampler": "The sampler is not in the loss. It only uses what was learned.",
    },
    answer="No, and no network can bring it to zero",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    r"Why is $\tilde\beta \le \sigma^2 \le \beta$ the sensible range for the variance of a step back?",
    {
        "Smaller ones make the walk too slow": "The variance does not decide how far the mean moves.",
        "The lower end is for data that are known, the upper for data that are standard normal": r"$\operatorname{Var}[x_s\mid x_t]=\tilde\beta+c_1^2\operatorname{Var}[x_0\mid x_t]$, and pixels in $[-1,1]$ spread less than a standard normal does.",
        "Otherwise the KL divergence is negative": "A KL divergence is never negative, whatever the variances are.",
    },
    answer="The lower end is for data that are known, the upper for data that are standard normal",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Your samples look right but for a fine grain over everything. Which line do you look at?",
    {
        "The learning rate": "A bad learning rate spoils shapes, or everything; an even grain over good shapes comes from the sampler.",
        "The last step of the sampler": "Noise was added once more when nothing was left to take it away again.",
        "The noise schedule's start at T": "A wrong start changes brightness and shapes. Grain is made at the end.",
    },
    answer="The last step of the sampler",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    r"You clip the guess $\hat x_0$ to $[-1,1]$ and then compute $\mu = \frac{1}{\sqrt{\alpha_t}}\big(x_t-\frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\hat\varepsilon\big)$. What has the clipping done?",
    {
        "Nothing at all": r"This mean is made of $\hat\varepsilon$, which does not know of the clipping. Use $c_1\hat x_0+c_2x_t$, or derive $\hat\varepsilon$ again from the clipped guess.",
        "It kept the pixels in range": "It would have, if the mean had used the clipped guess.",
        "It made the sampler deterministic": "Noise is drawn as before.",
    },
    answer="Nothing at all",
)

# %% [markdown]
# ## Recap
#
# - If $x_0$ were known, the step back would be a Gaussian: $\tilde\mu=c_1x_0+c_2x_t$, variance $\tilde\beta$. As it is not, put in the best guess; that is all the network must learn.
# - The bound is a sum of KL divergences of Gaussians. With the variance fixed, each is a weighted squared error in $\varepsilon$; with the weights dropped it is $L_{\text{simple}}$: better pictures, slightly worse bits.
# - Clip the guess; then derive everything from the clipped guess. Average the weights, with warm-up. Never add noise in the last step. Respace by ratios of $\bar\alpha$, and tell the network the original time.
# - The variance of a step hardly matters when steps are many, and very much when they are few.
#
# **Next.** A thousand network calls for a picture is a lot, and each step throws dice. Lesson 04 finds a whole family of walks for *this very network*, one of which needs no dice and only twenty steps.
#
# **References.** Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020 (equations 5 to 14, algorithms 1 and 2, Tables 1 and 2) · Nichol and Dhariwal, *Improved Denoising Diffusion Probabilistic Models*, ICML 2021
# (learned variance, hybrid loss, respacing) · Salimans and Ho, *Progressive Distillation for Fast Sampling of Diffusion Models*, ICLR 2022 (v) · Sohl-Dickstein et al., *Deep Unsupervised Learning using Nonequilibrium Thermodynamics*, ICML 2015
# (the bound) · Ronneberger, Fischer and Brox, *U-Net*, MICCAI 2015.
