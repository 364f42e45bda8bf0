# %% [markdown]
# # 04 · DDIM: the same network in twenty steps
#
# **The question.** The network of lesson 03 makes a digit in a thousand small steps. Can the same network do it in twenty?
#
# **Afterwards you can**
# - derive a family of processes for one trained network, and prove that each has the right marginals;
# - write the DDIM step, set its $\eta$ from 0 (no new noise) to 1 (DDPM), and choose its times;
# - turn a picture back into noise, and join two noises by a path;
# - recognize six common mistakes.
#
# **Before:** lessons 02 and 03.
#
# **Time:** 55 minutes to read and play, 110 for all exercises; about a minute to run.
#
# **On the map:** 02 forward diffusion → 03 DDPM → **04 DDIM** → 05 classifier guidance.

# %%
import math
import time
from functools import partial

import torch
from torch import nn

from labkit import interpolate, sampler, zoo
from labkit.data import digits
from labkit.denoiser import Denoiser, MapX0, Prediction, clip, from_x0
from labkit.lab import checks, ddim_plot, ddim_table, plots, quiz, show_source, widgets
from labkit.lab.second_order import multistep
from labkit.mixture import GaussianMixture
from labkit.sampler import sample
from labkit.schedule import cosine, linear, quadratic_spacing, trailing_spacing, uniform_spacing
from labkit.train import train

plots.use_style()
torch.manual_seed(0)
schedule, T = linear(), 1000  # DDPM's own
ddim = partial(sampler.ddim, eta=0.0)

# %% [markdown]
# After a restart, run these cells first, then any section.

# %%
peaks = GaussianMixture([[-1.0], [1.2]], std=[0.15, 0.3], weights=[0.4, 0.6])  # in 1-D
angle = torch.arange(6) / 6 * 2 * math.pi
ring = GaussianMixture(1.3 * torch.stack([angle.cos(), angle.sin()], 1), std=0.12)  # in 2-D
exact_ring = ring.denoiser(schedule)  # E[x_0 | x_t], exactly
cloud = ring.sample(1500, torch.Generator().manual_seed(0))[0]  # (1500, 2), to look at
half_pixel = GaussianMixture([[0.0]], std=0.5).denoiser(schedule)  # one pixel, N(0, 0.5²)
handwriting = digits.load(16)[0]  # (1797, 1, 16, 16), real digits in [-1, 1]

# %%
trained = zoo.load("ddpm-digits").denoiser  # lesson 03's network, as it ships
network = MapX0(trained, clip)  # its predicted picture is clipped to [-1, 1], as in lesson 03


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0, **options):
    return torch.randn(*shape, generator=seeded(seed), **options)


def final(walk):
    """The sample at the end of a walk."""
    *_, state = walk
    return state.x


# %%
def sigma_squared(t, s, eta, schedule=schedule):
    """The variance of a step's new noise (equation 16 of the paper); section 3.4 derives it."""
    at_t, at_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    return eta**2 * (1 - at_s) / (1 - at_t) * (1 - at_t / at_s)


# %% [markdown]
# ## 1 · See it first
#
# The first row is DDPM: a thousand evaluations of the network for each picture. The other rows use this lesson's step: 50, 20 and 10 evaluations. All rows start from the same eight noises; DDPM's first step replaces almost all of its start. *While it runs:* what will the columns have in common?

# %%
start = noise(8, 1, 16, 16)
walk = list(sample(network, start, range(T, -1, -1), generator=seeded(1)))
rows = {"DDPM, 1000 steps": walk[-1].x}
kept = torch.corrcoef(torch.stack([start.flatten(), walk[0].x.flatten()]))[0, 1]
print(f"correlation of x at t = 1000 and t = 999, DDPM: {kept:.2f}")
assert abs(kept) < 0.1 and not torch.equal(start, noise(8, 1, 16, 16, seed=1))  # other noise
for steps in (50, 20, 10):
    times = network.schedule.timesteps(steps)
    rows[f"DDIM, {steps} steps"] = final(sample(network, start, times, step=ddim))
plots.show(
    plots.image_grid(torch.cat(list(rows.values())), columns=8, rows=list(rows)),
    "Four rows of eight digits from the same network and the same noises: DDPM in 1000 steps, and DDIM in 50, 20 and 10 steps. The DDIM rows show the same eight digits, except that in 10 steps the first one, a 2, is garbled. The DDPM row shows other digits. The third DDIM column, and the seventh picture of DDPM, are hard to read.",
)

# %% [markdown]
# The first eight noises are shown; some digits are hard to read. A fiftieth of the work gives digits that look much like those of DDPM (7.2). And the DDIM rows agree: **the noise decides the picture**, almost independently of the number of steps. Why does such a step fit a network that was trained for DDPM?
#
# ## 2 · The idea
#
# Follow 24 samples in one dimension: DDPM and DDIM start at the right from the *same* noises, and move to the left,
# towards data with two peaks. Gray is the exact density $q(x_t)$. Both use the exact $\mathbb E[x_0|x_t]$.

# %%
starts, exact = noise(24, 1, seed=1), peaks.denoiser(schedule)
paths = {}
for eta, name in ((1.0, "DDPM: new noise in every step"), (0.0, "DDIM: no new noise")):
    step = partial(sampler.ddim, eta=eta)
    walk = sample(exact, starts, range(T, -1, -1), step=step, generator=seeded())
    paths[name] = torch.cat([starts] + [state.x for state in walk], 1)  # (24, 1001)
plots.show(
    ddim_plot.over_density(peaks, schedule, paths),
    "Paths of 24 samples from noise at t = 1000 to two peaks at t = 0, over the exact density in gray: DDPM's paths are rough and cross all the time, DDIM's are smooth and never cross, and both end in the two peaks.",
)

# %% [markdown]
# At each time, both sets of samples follow the same density: the same **marginal** distribution. **The marginals are
# the same, the paths are not.** And a smooth path can be followed in long steps.
#
# ## 3 · The derivation
#
# ### 3.1 What did training look at?
#
# The loss of lesson 03. Look for $x_{t-1}$, for $\beta_t$, or for any *pair* of times:

# %%
show_source(Denoiser.loss, docstring=False)

# %% [markdown]
# There is none. Training uses the marginals $q(x_t|x_0)=\mathcal N\big(\sqrt{\bar\alpha_t}\,x_0,\ (1-\bar\alpha_t)I\big)$ only. How $x_t$ and $x_s$ depend on *each other* never occurs. So any process with these marginals has the same loss.
#
# ### 3.2 A family with the right marginals
#
# Take two times, $s < t$. Suppose $x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\varepsilon$. For $x_s$, keep the picture, and use
# the *same* noise $\varepsilon$ with a smaller factor. We may replace a part of it by new noise $\sigma z$, with $z$ standard normal:
#
# $$\boxed{\;x_s = \sqrt{\bar\alpha_s}\,x_0 + \sqrt{1-\bar\alpha_s-\sigma^2}\;\underbrace{\frac{x_t-\sqrt{\bar\alpha_t}\,x_0}{\sqrt{1-\bar\alpha_t}}}_{\varepsilon} + \sigma z\;}\qquad 0\le\sigma^2\le 1-\bar\alpha_s \qquad\text{(DDIM, equation 7)}$$
#
# **Claim.** If $q(x_t|x_0)$ is right, so is $q(x_s|x_0)$, for every such $\sigma$. **Proof.** For one pixel, write $y = x_s-\sqrt{\bar\alpha_s}\,x_0$ and
# $a=\sqrt{1-\bar\alpha_s-\sigma^2}$. Given $\varepsilon$, $y$ is $\mathcal N(a\varepsilon,\sigma^2)$. We integrate over $\varepsilon$:
#
# $$q(y|x_0)\;\propto\;\int \exp\Big(-\tfrac12\Big[\frac{(y-a\varepsilon)^2}{\sigma^2}+\varepsilon^2\Big]\Big)\,d\varepsilon .$$
#
# Sort the bracket by powers of $\varepsilon$, and complete the square:
#
# $$\frac{(y-a\varepsilon)^2}{\sigma^2}+\varepsilon^2=\frac{a^2+\sigma^2}{\sigma^2}\Big(\varepsilon-\frac{a\,y}{a^2+\sigma^2}\Big)^2+\frac{y^2}{a^2+\sigma^2} .$$
#
# The square integrates to a constant that does not depend on $y$. What remains,
# $\exp\!\big(-\tfrac12\,y^2/(a^2+\sigma^2)\big)$, is a Gaussian of variance
#
# $$a^2+\sigma^2 = 1-\bar\alpha_s-\sigma^2+\sigma^2 = 1-\bar\alpha_s .\qquad\blacksquare$$
#
# (At $\sigma=0$ there is nothing to integrate: $y=a\varepsilon$.) **Induction:** start with the right $q(x_T|x_0)$ and step down through *any* list of times. Every marginal on the list
# is right; nothing requires $s=t-1$. Check: the factor of $x_0$ and the variance of the noise over ten steps:

# %% tags=["nbval-check-output"]
ten, worst = schedule.timesteps(10), 0.0
for eta in (0.0, 0.5, 1.0):
    factor, variance = schedule.alpha_bar[T].sqrt(), 1 - schedule.alpha_bar[T]
    for t, s in zip(ten, ten[1:]):
        at_t, at_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
        kept = ((1 - at_s - sigma_squared(t, s, eta)).clamp(min=0) / (1 - at_t)).sqrt()
        factor = at_s.sqrt() + kept * (factor - at_t.sqrt())
        variance = kept**2 * variance + sigma_squared(t, s, eta)
        worst = max(worst, (factor - at_s.sqrt()).abs(), (variance - (1 - at_s)).abs())
        if s in (667, 334):
            print(f"eta {eta}   t = {s}   factor of x0 {factor:.6f}   variance {variance:.6f}")
print("agrees with the schedule at all times:", bool(worst < 1e-12))
assert worst < 1e-12

# %% [markdown]
# The same with 20,000 samples of $x_0$ from the two peaks. `from_x0` gives `sampler.ddim` the true $x_0$ in place of a prediction.
# The black line is the exact density.

# %%
x0 = peaks.sample(20_000, seeded())[0]  # (20000, 1)
seen = {}
for seed, eta in enumerate((0.0, 0.5, 1.0), 1):
    generator = seeded(seed)
    x = schedule.diffuse(x0, T, torch.randn(x0.shape, generator=generator, dtype=x0.dtype))
    for t, s in zip(ten, ten[1:]):
        x = sampler.ddim(schedule, from_x0(schedule, x, t, x0), x, t, s, generator, eta)
        seen[eta, s] = x
plots.show(
    ddim_plot.histograms(peaks, schedule, seen, (667, 334, 112)),
    "Nine histograms of 20,000 samples, for eta 0, 0.5 and 1 at times 667, 334 and 112, each under the exact density: in every column the three histograms look alike.",
)

# %% [markdown]
# By number: the largest distance between the samples' distribution function and the exact one. For the *right* distribution it exceeds $1.95/\sqrt{20000}=0.0138$ about once in a thousand times (Kolmogorov–Smirnov).


# %%
def distribution_gap(x, exact):
    """The largest |share of the samples below x − exact share|."""
    x = x.flatten().sort().values
    below = torch.special.ndtr((x[:, None] - exact.means.T) / exact.std) @ exact.weights  # (N,)
    rank = torch.arange(len(x) + 1, dtype=x.dtype) / len(x)
    return torch.maximum(rank[1:] - below, below - rank[:-1]).max().item()


for eta in (0.0, 0.5, 1.0):
    gaps = [distribution_gap(seen[eta, t], peaks.diffused(schedule, t)) for t in (667, 334, 112)]
    print(f"eta {eta}   gap at t = 667, 334, 112:", "  ".join(f"{gap:.4f}" for gap in gaps))
    assert max(gaps) < 1.95 / math.sqrt(20_000)

# %% [markdown]
# ### 3.3 The joint distribution is another one
#
# Fix one picture, $x_0 = 0.5$, and plot $x_t$ against $x_s$ for $t=600$, $s=300$: for the forward chain of
# lesson 02, then for three members of the family. All four clouds have the same two marginals.

# %%
t, s, n = 600, 300, 1500
clean = torch.full((n, 1), 0.5, dtype=torch.float64)
at_t, at_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
x_s = schedule.diffuse(clean, s, noise(n, 1, seed=1, dtype=torch.float64))
alpha = at_t / at_s  # of the noising jump from s to t
x_t = alpha.sqrt() * x_s + (1 - alpha).sqrt() * noise(n, 1, seed=2, dtype=torch.float64)
pairs = {"forward chain": (x_s, x_t)}
for eta in (1.0, 0.5, 0.0):
    x = schedule.diffuse(clean, t, noise(n, 1, seed=3, dtype=torch.float64))
    pred = from_x0(schedule, x, t, clean)
    pairs[f"family, η = {eta:g}"] = sampler.ddim(schedule, pred, x, t, s, seeded(4), eta), x
plots.show(
    ddim_plot.clouds(pairs, f"x at s = {s}", f"x at t = {t}"),
    "Four scatter plots of x at time 600 against x at time 300 for one picture: the forward chain and eta = 1 give the same wide cloud with a correlation near 0.2, eta = 0.5 a narrow slanted one, eta = 0 a straight line.",
)

# %% [markdown]
# $\eta=1$ looks like the chain. At $\eta=0$ the cloud is a line: $x_0$ and $x_s$ determine $x_t$. A chain is *Markov* if $x_0$ tells you nothing new about $x_t$ once you know $x_s$. Is that true of the family? We let $x_0$ vary, and fit
# $\mathbb E[x_t|x_s,x_0]=A\,x_s+B\,x_0$. By the box, the noises in $x_t$ and $x_s$ have the correlation $\rho=\sqrt{(1-\bar\alpha_s-\sigma^2)/(1-\bar\alpha_s)}$, so
#
# $$A=\rho\sqrt{\frac{1-\bar\alpha_t}{1-\bar\alpha_s}},\qquad B=\sqrt{\bar\alpha_t}-A\sqrt{\bar\alpha_s}.$$

# %%
x0 = noise(100_000, 1, seed=5, dtype=torch.float64)
for eta in (1.0, 0.5, 0.0):
    x_t = schedule.diffuse(x0, t, noise(100_000, 1, seed=6, dtype=torch.float64))
    x_s = sampler.ddim(schedule, from_x0(schedule, x_t, t, x0), x_t, t, s, seeded(7), eta)
    fitted = torch.linalg.lstsq(torch.cat([x_s, x0], 1), x_t).solution.flatten()
    rho = ((1 - at_s - sigma_squared(t, s, eta)) / (1 - at_s)).sqrt()
    A = rho * ((1 - at_t) / (1 - at_s)).sqrt()
    B = at_t.sqrt() - A * at_s.sqrt()
    print(f"eta {eta}   A {fitted[0]:.3f} (exact {A:.3f})   B {fitted[1]:+.3f} (exact {B:+.3f})")
    assert abs(fitted[0] - A) < 0.02 and abs(fitted[1] - B) < 0.02

# %% [markdown]
# Only at $\eta=1$ is $B = 0$. For every smaller $\eta$, the forward process depends on $x_0$: **same marginals, but not a Markov chain.**
#
# ### 3.4 Which member is DDPM?
#
# DDPM's posterior has the variance $\tilde\beta=\frac{1-\bar\alpha_s}{1-\bar\alpha_t}\big(1-\frac{\bar\alpha_t}{\bar\alpha_s}\big)$. Put $\sigma^2=\tilde\beta$ into the box. With $\alpha=\bar\alpha_t/\bar\alpha_s$:
#
# $$1-\bar\alpha_s-\tilde\beta=(1-\bar\alpha_s)\,\frac{(1-\bar\alpha_t)-(1-\alpha)}{1-\bar\alpha_t}=(1-\bar\alpha_s)\,\frac{\alpha-\alpha\bar\alpha_s}{1-\bar\alpha_t}=\frac{\alpha\,(1-\bar\alpha_s)^2}{1-\bar\alpha_t}.$$
#
# In the box, $x_t$ is multiplied by the root of this over $\sqrt{1-\bar\alpha_t}$, which is $\sqrt\alpha\,(1-\bar\alpha_s)/(1-\bar\alpha_t)$. This is its coefficient in DDPM's posterior mean.
# Put $x_t=\sqrt{\bar\alpha_t}\,x_0$: both means give $\sqrt{\bar\alpha_s}\,x_0$. So the coefficients of $x_0$ are equal too. Hence **DDPM is the member with $\sigma^2=\tilde\beta$**. The $\sigma$ of each other member is a multiple of this one:
#
# $$\boxed{\;\sigma(\eta)=\eta\,\sqrt{\frac{1-\bar\alpha_s}{1-\bar\alpha_t}}\sqrt{1-\frac{\bar\alpha_t}{\bar\alpha_s}}\;}\qquad\eta=1:\text{ DDPM},\quad\eta=0:\text{ no new noise}\qquad\text{(equation 16)}$$
#
# Check with the two functions and the same noise:

# %% tags=["nbval-check-output"]
x, picture = noise(16, 3, seed=1, dtype=torch.float64), noise(16, 3, seed=2, dtype=torch.float64)
worst, pairs = 0.0, 0
for t in range(2, T + 1, 23):
    for s in range(0, t, 31):
        pred = from_x0(schedule, x, t, picture)
        one = sampler.ddpm(schedule, pred, x, t, s, seeded())
        other = sampler.ddim(schedule, pred, x, t, s, seeded(), eta=1.0)
        worst, pairs = max(worst, (one - other).abs().max().item()), pairs + 1
print(f"{pairs} pairs (t, s); ddim(eta=1) and ddpm agree to 1e-12:", worst < 1e-12)
assert worst < 1e-12

# %% [markdown]
# ### 3.5 One training for the whole family
#
# To *generate*, we put the predicted $\hat x_0$ into the box. The true step $q_\sigma(x_s|x_t,x_0)$ and ours, $p(x_s|x_t)$, are Gaussians
# of the same variance $\sigma^2$. Their KL divergence is the squared distance of their means over $2\sigma^2$:
#
# $$\mathrm{KL}(q_\sigma\,\|\,p)=\gamma\,\|x_0-\hat x_0\|^2,\qquad \gamma=\frac1{2\sigma^2}\Big(\sqrt{\bar\alpha_s}-\sqrt{1-\bar\alpha_s-\sigma^2}\,\sqrt{\tfrac{\bar\alpha_t}{1-\bar\alpha_t}}\Big)^2 .$$
#
# So the bound of every member with $\sigma>0$ has the *same* error at each time, with another weight $\gamma>0$ (the paper's Theorem 1). If the network can fit each time separately, the weights do not matter: the best $\hat x_0$ is
# $\mathbb E[x_0|x_t]$. **$\eta$ does not occur in training.** Check against torch's divergence:

# %% tags=["nbval-check-output"]
t, s, truth, predicted = 600, 300, torch.tensor(0.8), torch.tensor(0.3)
x, at_t, at_s = torch.tensor([[0.4]]), schedule.alpha_bar[t], schedule.alpha_bar[s]
for eta in (0.2, 0.5, 1.0):
    variance = sigma_squared(t, s, eta)
    kept = (1 - at_s - variance).sqrt() / (1 - at_t).sqrt()
    means = [at_s.sqrt() * x0 + kept * (x - at_t.sqrt() * x0) for x0 in (truth, predicted)]
    steps = [torch.distributions.Normal(mean, variance.sqrt()) for mean in means]
    divergence = torch.distributions.kl_divergence(*steps).item()
    gamma = (at_s.sqrt() - kept * at_t.sqrt()) ** 2 / (2 * variance)
    weighted = (gamma * (truth - predicted) ** 2).item()
    print(f"eta {eta}   gamma {gamma:7.4f}   gamma · error² {weighted:.5f}   KL {divergence:.5f}")
    assert abs(weighted - divergence) < 1e-4 * divergence

# %% [markdown]
# $\gamma$ grows without bound as $\eta\to 0$. At $\eta=0$ the bound says nothing; its marginals and our measurements justify that member.
#
# ### 3.6 Without new noise: an ordinary differential equation
#
# Set $\eta=0$, and divide the step by $\sqrt{\bar\alpha_s}$. With $\bar x=x/\sqrt{\bar\alpha}$ and $\varsigma=\sqrt{(1-\bar\alpha)/\bar\alpha}$ (the noise in units of the signal),
#
# $$\bar x_s=\hat x_0+\varsigma_s\,\hat\varepsilon,\qquad\text{and by the definition of }\hat x_0\qquad \bar x_t=\hat x_0+\varsigma_t\,\hat\varepsilon .$$
#
# Subtract:
#
# $$\boxed{\;\bar x_s=\bar x_t+(\varsigma_s-\varsigma_t)\,\hat\varepsilon(x_t,t)\;}$$
#
# This is one step of Euler's method for the equation $d\bar x=\hat\varepsilon\,d\varsigma$ (equations 13 and 14 of the paper). An *exact* curve leads from each noise to its
# picture, and DDIM follows it with straight steps: more steps follow it more closely. The two forms of the step agree:

# %% tags=["nbval-check-output"]
x, worst = noise(500, 2, dtype=torch.float64), 0.0
for t, s in zip(ten, ten[1:]):
    pred, at_t, at_s = exact_ring(x, t), schedule.alpha_bar[t], schedule.alpha_bar[s]
    change = ((1 - at_s) / at_s).sqrt() - ((1 - at_t) / at_t).sqrt()
    euler = at_s.sqrt() * (x / at_t.sqrt() + change * pred.eps)
    x = ddim(schedule, pred, x, t, s)
    worst = max(worst, (euler - x).abs().max().item())
print("ten steps of ddim are ten steps of Euler's method:", worst < 1e-10)
assert worst < 1e-10

# %% [markdown]
# How wrong are long steps? Take one pixel from $\mathcal N(0, 0.5^2)$. There $\hat\varepsilon=\varsigma\bar x/(0.25+\varsigma^2)$, and the equation has the solution $\bar x\propto\sqrt{0.25+\varsigma^2}$. So the exact curve takes every
# $x_T$ to $x_0=g\,x_T$, with the gain $g=0.5/\sqrt{1-0.75\,\bar\alpha_T}$.

# %% tags=["nbval-check-output"]
exact_gain = 0.5 / math.sqrt(1 - 0.75 * schedule.alpha_bar[T])
one, missing = torch.ones(1, 1, dtype=torch.float64), {}
print(f"exact gain {exact_gain:.5f}")
for steps in (5, 10, 20, 50, 100, 200, 500, 1000):
    gain = final(sample(half_pixel, one, schedule.timesteps(steps), step=ddim)).item()
    missing[steps] = exact_gain - gain
    print(f"{steps:4} steps   gain {gain:.5f}   missing {missing[steps]:.5f}")
assert all(missing[steps] > 0 for steps in missing)
assert all(1.9 < missing[n] / missing[2 * n] < 2.1 for n in (5, 10, 50, 100, 500))

# %% [markdown]
# Twice the steps, half the error: Euler's method is of first order. For Gaussian data the curve of $\bar x$ against $\varsigma$ is convex, so a straight step ends below it: **too few steps give too little contrast.** Our digits agree:

# %%
start, contrast = noise(200, 1, 16, 16, seed=2), {}
for steps in (5, 10, 20):
    images = final(sample(network, start, network.schedule.timesteps(steps), step=ddim))
    contrast[steps] = images.var(0).sum().item()
    print(f"{steps:2} steps: variance of the digits, summed over the pixels {contrast[steps]:.1f}")
print(f"real digits: {handwriting.var(0).sum():.1f}")
assert contrast[5] < contrast[10] < contrast[20] < handwriting.var(0).sum()

# %% [markdown]
# Data on a ring of six clusters; each panel starts from the same eight noises:

# %%
turn = torch.arange(8) / 8 * 2 * math.pi + 0.3
starts = torch.stack([turn.cos(), turn.sin()], 1) * torch.tensor([2.2, 0.7]).repeat(4)[:, None]
paths = {}
for name, eta, steps in (("DDPM", 1.0, 500), ("DDIM", 0.0, 500), ("DDIM", 0.0, 10)):
    step, times = partial(sampler.ddim, eta=eta), schedule.timesteps(steps)
    walk = sample(exact_ring, starts, times, step=step, generator=seeded(2))
    paths[f"{name}, {steps} steps"] = torch.stack([starts] + [state.x for state in walk])
plots.show(
    ddim_plot.plane(cloud, paths, thin=["DDPM, 500 steps"]),
    "Paths of eight noises towards a ring of six clusters: DDPM's cover the plane, DDIM's are eight short smooth curves that end in clusters. Ten long steps of DDIM bend the same way, but two of the eight paths stop between two clusters.",
)

# %% [markdown]
# ## 4 · The real code
#
# Compare it with the boxes of 3.2 and 3.4. `pred.x0` and `pred.eps` are two forms of one prediction.

# %%
show_source(sampler.ddim)

# %% [markdown]
# A step takes any *pair* $(t, s)$. `alpha_bar[0] == 1`, so the last step returns $\hat x_0$ by itself. And with $\eta=0$, $s$ need not be the
# cleaner time: the same line also leads *up*, from a picture to its noise.

# %%
show_source(sampler.invert)

# %% [markdown]
# ## 5 · Play: what does η do?
#
# 300 points, always with the same noises. A point's color is the *direction* in which it started. Left: seven of the paths; right: all final points.
# **Find out:** At which $\eta$ do the ends no longer depend on the starts? Do more steps change it?

# %%
crowd = noise(300, 2, seed=4)
side = torch.cdist(crowd.double(), ring.means).argmin(1)  # (300,) the cluster nearest to the start


def walks(eta, steps, seed=2):
    """All places of the points, (steps + 1, 300, 2), and the share that keep their side."""
    step, times = partial(sampler.ddim, eta=eta), schedule.timesteps(steps)
    walk = sample(exact_ring, crowd, times, step=step, generator=seeded(seed))
    paths = torch.stack([crowd] + [state.x for state in walk])
    ends = torch.cdist(paths[-1].double(), ring.means).argmin(1)
    return paths, (ends == side).double().mean()


# %%
def turn_eta(figure, eta=0.0, steps=10):
    return ddim_plot.dial(figure, cloud, walks, eta, steps)


widgets.Redraw(
    turn_eta,
    eta=(0.0, 1.0, 0.05),
    steps=[5, 10, 20, 50],
    labels={"eta": "η"},
    alt=lambda eta, steps: (
        f"Left: seven paths with eta {eta:.2f} in {steps} steps. Right: the final points of 300 paths around a ring of six clusters, colored by the direction of their start; {walks(eta, steps)[1]:.0%} end on the side where they began."
    ),
)

# %% tags=["nbval-check-output"]
kept = {}
for eta in (0.0, 0.25, 0.5, 1.0):
    for steps in (5, 50, 200):
        shares = torch.stack([walks(eta, steps, seed)[1] for seed in (2, 3, 5, 6)])
        kept[eta, steps] = shares
        texts = "  ".join(f"{share:4.0%}" for share in shares)
        print(f"eta {eta:<4}  {steps:3} steps: {texts} keep their side")
assert all(kept[0.0, steps].min() == 1 for steps in (5, 50, 200))
for eta in (0.25, 0.5):
    assert kept[eta, 50].max() < kept[eta, 5].min()
    assert abs(kept[eta, 200].mean() - kept[eta, 50].mean()) < 0.06

# %% [markdown]
# The columns are four seeds. At $\eta=0$ every point ends on its own side. At $\eta=1$ about one in six does, which is chance. In between, 50 steps keep fewer than 5; 200 keep about as many as 50.
#
# The same with the real network: as $\eta$ (eta) grows, digits turn into other digits.

# %%
starts, etas, strips = noise(10, 1, 16, 16, seed=5), [k / 10 for k in range(11)], {}
rows = {}
for steps in (10, 50):
    frames, times = [], network.schedule.timesteps(steps)
    for eta in etas:
        step = partial(sampler.ddim, eta=eta)
        images = final(sample(network, starts, times, step=step, generator=seeded(6)))
        frames.append(plots.image_grid(images, columns=10, scale=4))
        if steps == 10 and eta in (0.0, 0.5, 1.0):
            rows[f"η = {eta:g}"] = images
    strips[f"{steps} steps"] = frames
plots.show(
    plots.image_grid(torch.cat(list(rows.values())), columns=10, rows=list(rows)),
    "Three rows of ten digits from the same ten noises, in 10 steps, with eta 0, 0.5 and 1. In every column the first row shows another digit than the last; the row of 0.5 agrees with the last row in about half of the columns. A few pictures are hard to read.",
)
widgets.Filmstrip(
    strips,
    labels=[f"η = {eta:.1f}" for eta in etas],
    choose="sampler",
    title="One start, eleven etas",
    alt="Ten digits from the same ten noises",
)

# %% [markdown]
# ## 6 · Train it: once
#
# A small network learns the ring with the loss of lesson 03. We draw its samples in 20 DDIM steps.


# %%
class SmallNet(nn.Module):
    """(x, t) → noise, for points in the plane."""

    def __init__(self, width=128):
        super().__init__()
        self.register_buffer("level", (schedule.log_snr.clamp(max=10) / 5).float())
        self.body = nn.Sequential(
            *(nn.Linear(5, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()),
            *(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)),
        )

    def forward(self, x, t, cond=None):
        level = self.level[t][:, None]
        return self.body(torch.cat([x, level, level.sin(), level.cos()], 1))


# %%
def watch_training(figure, seen):
    walk = sample(seen[-1].ema, noise(300, 2, seed=4), schedule.timesteps(20), step=ddim)
    ddim_plot.training(figure, [step.loss for step in seen], final(walk))


torch.manual_seed(0)
small = Denoiser(SmallNet(), schedule)
learning = train(
    small, lambda g: ring.sample(256, g)[0].float(), steps=2000, lr=5e-3, ema=0.99, seed=0
)
seen = widgets.watch(
    learning,
    watch_training,
    every=50,
    alt="Left: the loss of the small network falls fast, then slowly. Right: its samples by DDIM in 20 steps lie on a ring; many are in the six clusters, some between them.",
)
learned = seen[-1].ema

# %% [markdown]
# We measure the *energy distance* of samples and data, $2\,\mathbb E|x-y|-\mathbb E|x-x'|-\mathbb E|y-y'|$, which is 0 only between equal distributions. The floor compares real points with other real points. Mean ± sd over five sampling seeds; $\hat\sigma$ is DDPM with the larger variance $\hat\sigma^2=1-\bar\alpha_t/\bar\alpha_s$.


# %%
def energy_distance(x, y):
    x, y = x.double(), y.double()
    within = torch.cdist(x, x).mean() + torch.cdist(y, y).mean()
    return (2 * torch.cdist(x, y).mean() - within).item()


def points(step, steps, seed=0):
    """1000 points from the trained network."""
    generator = seeded(1000 + seed)
    start = torch.randn(1000, 2, generator=generator)
    return final(sample(learned, start, schedule.timesteps(steps), step=step, generator=generator))


def real_points(seed):
    return ring.sample(1000, seeded(seed))[0]


# %%
floor = torch.tensor([energy_distance(real_points(k), real_points(100 + k)) for k in range(5)])
print(f"real points        {floor.mean():.4f} ±{floor.std():.4f}")
steps_of = {f"η = {eta:g}": partial(sampler.ddim, eta=eta) for eta in (0.0, 0.5, 1.0)}
steps_of["large σ̂"] = partial(sampler.ddpm, v=1.0)
found = {}
for steps in (10, 100):
    for name, step in steps_of.items():
        runs = [energy_distance(real_points(k), points(step, steps, k)) for k in range(5)]
        found[name, steps] = torch.tensor(runs)
        room = 12 + name.count("\u0302")  # the hat takes no room
        print(
            f"{name:{room}} {steps:4}  {found[name, steps].mean():.4f} ±{found[name, steps].std():.4f}"
        )


def standard_errors(one, other):
    """How far the mean of `one` lies above that of `other`."""
    return ((one - other).mean() / ((one.var() + other.var()) / len(one)).sqrt()).item()


gaps = {key: standard_errors(runs, found["η = 0", key[1]]) for key, runs in found.items()}
assert gaps["large σ̂", 10] > 3
ahead = [standard_errors(found[name, 10], found["η = 0.5", 10]) for name in ("η = 0", "η = 1")]
assert min(ahead) > 1 and max(ahead) < 4  # η = 0.5 is lowest, by about two
assert all(abs(gaps[name, 100]) < 2 for name in steps_of)

# %%
shown = {"real": real_points(0)}
for steps in (10, 100):
    for name in ("η = 0", "η = 0.5", "large σ̂"):
        shown[f"{name}, {steps}\n{found[name, steps].mean():.4f}"] = points(steps_of[name], steps)
plots.show(
    ddim_plot.rings(shown),
    "Seven clouds: the real ring, and samples of one trained network by eta 0, eta 0.5 and the large variance, in 10 and in 100 steps. In 10 steps eta 0 and 0.5 give a thin hexagon and the large variance a wide blurred ring; in 100 steps all three give six clusters with a few points between them.",
)

# %% [markdown]
# In ten steps $\hat\sigma$ is the worst. Here $\eta=0.5$ is lowest, by about two standard errors; another training may give another order. In a hundred steps the differences are within the noise of the measurement.
#
# ## 7 · Measure
#
# The paper's Table 1: FID on CIFAR-10 (lower is better) of one network, trained with $T=1000$ and the linear schedule, sampled in $S$ steps.

# %%
PAPER = {  # Song, Meng and Ermon 2021, table 1, CIFAR-10; S = 10, 20, 50, 100, 1000
    "η = 0": (13.36, 6.84, 4.67, 4.16, 4.04),
    "η = 0.2": (14.04, 7.11, 4.77, 4.25, 4.09),
    "η = 0.5": (16.66, 8.35, 5.25, 4.46, 4.29),
    "η = 1": (41.07, 18.36, 8.01, 5.78, 4.73),
    "σ̂": (367.43, 133.37, 32.72, 9.99, 3.17),
}
SAMPLERS = {f"η = {eta:g}": partial(sampler.ddim, eta=eta) for eta in (0.0, 0.2, 0.5, 1.0)}
SAMPLERS["σ̂"] = partial(sampler.ddpm, v=1.0)
ddim_table.show("FID, S =", [10, 20, 50, 100, 1000], PAPER)

# %% [markdown]
# ### 7.1 The sampler alone, exactly
#
# Such a table mixes the errors of the network and the sampler. First the sampler alone, with a perfect network. The data are Gaussian, with the covariance *of our digits*. Along a principal direction of variance $\lambda$ the best prediction is $\hat x_0=g\,x_t$ with
# $g=\sqrt{\bar\alpha_t}\lambda/(\bar\alpha_t\lambda+1-\bar\alpha_t)$.
#
# So every step multiplies the variance $v$ of the samples by a number and adds $\sigma^2$. The Fréchet distance between the true and the sampled Gaussian is $\sum(\sqrt\lambda-\sqrt v)^2$, here divided by $\sum\lambda$.


# %%
def sampled_variance(variance, times, eta, large=False, schedule=schedule):
    """What the sampler makes of Gaussian data with these variances (D,), with a perfect network."""
    table, v = schedule.alpha_bar, torch.ones_like(variance)
    for t, s in zip(times, times[1:]):
        at_t, at_s, sigma2 = table[t], table[s], sigma_squared(t, s, eta, schedule)
        g = at_t.sqrt() * variance / (at_t * variance + 1 - at_t)
        noise_in = (1 - at_t.sqrt() * g) / (1 - at_t).sqrt()  # eps = noise_in * x_t
        factor = at_s.sqrt() * g + (1 - at_s - sigma2).clamp(min=0).sqrt() * noise_in
        added = (1 - at_t / at_s) * (s > 0) if large else sigma2
        v = factor**2 * v + added
    return v


# %%
# The same by the real sampler, as a check:
x, times = noise(20_000, 1, seed=9, dtype=torch.float64), schedule.timesteps(20)
for name, eta in (("η = 0.5", 0.5), ("σ̂", 1.0)):
    v = final(sample(half_pixel, x, times, step=SAMPLERS[name], generator=seeded())).var()
    exact = sampled_variance(torch.tensor([0.25]).double(), times, eta, name == "σ̂").item()
    print(f"one pixel, 20 steps, {name}: variance sampled {v:.4f}, carried {exact:.4f}")
    assert abs(v / exact - 1) < 6 * math.sqrt(2 / 20_000)

# %% tags=["nbval-check-output"]
spectrum = torch.linalg.eigvalsh(torch.cov(handwriting.flatten(1).double().T)).clamp(min=1e-9)
budgets, exact = (5, 10, 20, 50, 100, 1000), {}


def gaussian_distance(steps, eta, large=False, spacing=uniform_spacing, schedule=schedule):
    times = schedule.timesteps(steps, spacing)
    v = sampled_variance(spectrum, times, eta, large, schedule)
    return ((spectrum.sqrt() - v.sqrt()).square().sum() / spectrum.sum()).item()


for name, each in (("linear", schedule), ("cosine", cosine())):
    for row in SAMPLERS:
        eta, large = (1.0, True) if row == "σ̂" else (float(row[4:]), False)
        exact[name, row] = [gaussian_distance(n, eta, large, schedule=each) for n in budgets]
    rows = {row: [f"{value:.6f}" for value in exact[name, row]] for row in SAMPLERS}
    ddim_table.show(f"{name}, S =", budgets, rows)
columns = [list(each) for each in zip(*(exact["linear", row] for row in SAMPLERS))]
assert all(each == sorted(each) for each in columns[:3])  # 5, 10 and 20 steps
assert columns[3][-1] < columns[3][-2] and min(columns[-1]) == columns[-1][-1]  # 50 and 1000
none, some, half, full, large = (torch.tensor(exact["cosine", row]) for row in SAMPLERS)
assert max((some / none)[:3].max(), (half / none)[:3].max()) < 1.05  # up to 20 steps
assert (large < full).tolist() == [False, False, True, True, True, True]

# %% [markdown]
# On the linear schedule the main findings of Table 1 appear. Up to 20 steps the order is $\eta=0<0.2<0.5<1<\hat\sigma$. With a thousand steps $\hat\sigma$ is the
# best. On the cosine schedule, which our network uses, $\eta=0$, 0.2 and 0.5 differ by less than 5 % up to 20 steps. From 20 steps on $\hat\sigma$ is better than $\eta=1$.
#
# Why is $\hat\sigma$ best at $S=T$? $\eta=0$ has Euler's error (3.6). Both variants of DDPM use the same mean, which is exactly $\mathbb E[x_s|x_t]$ here. So only the added noise can be wrong. *Needed* is the variance $\big(1-\frac{\bar\alpha_t}{\bar\alpha_s}\big)\frac{m_s}{m_t}$, where $m=\bar\alpha\lambda+1-\bar\alpha$ is the marginal variance. Compare in four directions, from strong ($\lambda=9.8$) to weak (0.01):

# %% tags=["nbval-check-output"]
lam = torch.tensor([9.8, 1.0, 0.1, 0.01], dtype=torch.float64)
for t, s in ((200, 100), (200, 199), (2, 1)):
    at_t, at_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    large = (at_t * lam + 1 - at_t) / (at_s * lam + 1 - at_s)  # σ̂² over what is needed
    small = (1 - at_s) / (1 - at_t) * large  # the same for η = 1
    texts = ["  ".join(f"{each:.3f}" for each in ratio) for ratio in (small, large)]
    print(f"step {t} → {s}:  η = 1 adds {texts[0]}   σ̂ adds {texts[1]}   of what is needed")
    assert (small < 1).all() and (large[2:] > 1).all()
for steps in (20, 1000):
    for name, eta, large in (("η = 0", 0.0, False), ("η = 1", 1.0, False), ("σ̂", 1.0, True)):
        v = sampled_variance(lam, schedule.timesteps(steps), eta, large) / lam
        print(f"{steps:4} steps, {name:6} final variance / true:", "  ".join(f"{x:.3f}" for x in v))

# %% [markdown]
# $\eta=1$ adds too little in every direction: it treats $\hat x_0$ as the truth, although the truth varies around $\hat x_0$. $\hat\sigma$ is exact at $\lambda=1$, adds too much in weak directions and too little in strong ones.
#
# The excess of $\hat\sigma$ is large in long steps and small in short ones. Even with a thousand steps, $\eta=1$ adds less than half of what is needed in the step $2\to1$.
#
# ### 7.2 The real network
#
# Now lesson 03's network. How long does it take?

# %%
rates = []
for _ in range(3):
    began = time.process_time()  # of the processor, so that other programs do not count
    final(sample(network, noise(128, 1, 16, 16), network.schedule.timesteps(5), step=ddim))
    rates.append(128 * 5 / (time.process_time() - began))
rate = sorted(rates)[1]
print(f"{rate:,.0f} evaluations in a second of one core; so 1,000 digits take")
for steps in (10, 20, 50, 1000):
    print(f"{steps:5} steps {1000 * steps / rate:8.1f} s")

# %% [markdown]
# We measure two Fréchet distances, divided by the variance of the real data: in the features of `classifier-digits`, and in the pixels. The reference is a random half of the 1,797 digits. The other half is held out and gives the floor. Every run draws 898 digits. Distances are means over five splits.
#
# We add DPM-Solver++(2M), a *second-order solver*. It extrapolates $\hat x_0$ from the previous prediction in a straight line, then takes DDIM's step: also one evaluation.

# %%
show_source(multistep)

# %%
stored = ddim_table.stored()  # by benchmarks/ddim_table.py
budgets = sorted({S for row in stored["cells"].values() for S in row}, key=int)
names = [*SAMPLERS, "η = 0, trailing", "2M", "2M, trailing"]
for space, title in enumerate(("classifier", "pixels")):
    rows = {
        name: [
            ddim_table.spread(stored["cells"][name][S], space)
            if S in stored["cells"][name]
            else "-"
            for S in budgets
        ]
        for name in names
    }
    ddim_table.show(f"{title}, S =", budgets, rows, width=15)
    print(f"held-out real digits: {ddim_table.spread(stored['floor'], space)}\n")
runs = {name: [len(stored["cells"][name].get(S, ())) for S in budgets] for name in names}
ddim_table.show("runs, S =", budgets, runs)

# %% [markdown]
# The table is stored (`benchmarks/ddim_table.py`): mean ± sd over the runs of the last table, each with its own seed; for the held-out digits, over the five splits. "Trailing" is another list of times (7.6). A part of it, live, with a new seed:

# %%
classifier = zoo.load("classifier-digits")
real = ddim_table.views(classifier, handwriting)
live, off = {}, {}
for name, step in (SAMPLERS | {"2M": multistep()}).items():
    if name in ("η = 0", "η = 1", "σ̂", "2M"):
        for steps in (5, 10):
            generator = seeded(77)
            start = torch.randn(898, 1, 16, 16, generator=generator)
            times = network.schedule.timesteps(steps)
            images = final(sample(network, start, times, step=step, generator=generator))
            live[name, steps] = ddim_table.distances(real, ddim_table.views(classifier, images))
            shift = (images.mean(0) - handwriting.mean(0)).square().sum()
            off[name, steps] = (shift / handwriting.var(0).sum()).item()  # in units of the table

# %%
for (name, steps), pair in live.items():
    kept = torch.tensor(stored["cells"][name][str(steps)])
    means, sds = kept.mean(0), kept.std(0)
    print(
        f"{name:6} {steps:2} steps: now {pair[0]:.4f}, stored {means[0]:.4f} ±{sds[0]:.4f};",
        end=" ",
    )
    print(f"pixels now {pair[1]:.4f}, stored {means[1]:.4f} ±{sds[1]:.4f}")
    assert ((torch.tensor(pair) - means).abs() < 5 * sds).all()
part = {name: off[name, 5] for name in ("η = 0", "σ̂")}
print("5 steps, pixels, distance of the mean pictures:", {k: f"{v:.4f}" for k, v in part.items()})
assert part["σ̂"] < part["η = 0"]

# %%
panels = {"The paper, CIFAR-10": ({}, "FID", None)}
for name, values in PAPER.items():
    panels["The paper, CIFAR-10"][0][name] = (10, 20, 50, 100, 1000), values, None
for space, title in enumerate(("Ours, classifier, to S = 50", "Ours, pixels, to S = 50")):
    floor, rows = torch.tensor(stored["floor"])[:, space], {}
    for name in [*SAMPLERS, "2M"]:
        cells = {
            S: torch.tensor(c)[:, space] for S, c in stored["cells"][name].items() if len(c) > 1
        }
        means, sds = zip(*((each.mean(), each.std()) for each in cells.values()))
        rows[name] = [int(S) for S in cells], means, sds
    panels[title] = rows, "Fréchet distance", floor
plots.show(
    ddim_plot.by_steps(panels),
    "Distance against steps on logarithmic axes: the paper's table, ours in the classifier's features, and ours in pixels. In the paper the large variance starts far above the others and ends lowest. Ours stop at 50 steps and lie close together; 2M is lowest at 5, 10 and 20 steps; at 50 steps all are near the held-out digits, some below them.",
)


# %%
def compare(one, steps, other, other_steps):
    """How far `one` lies above `other`, in standard errors, in both distances."""
    runs = stored["cells"][one][str(steps)], stored["cells"][other][str(other_steps)]
    gaps = [ddim_table.standard_errors_apart(*runs, space) for space in (0, 1)]
    name = f"{one}, {steps} steps, above {other}, {other_steps} steps"
    count = min(map(len, runs))
    print(f"{name:52} {count:2} runs   classifier {gaps[0]:+5.1f}   pixels {gaps[1]:+5.1f}")
    return gaps


gaps = {}
for S in (5, 10, 20, 50):
    for one in ("η = 0.2", "η = 0.5", "η = 1", "σ̂", "2M", "η = 0, trailing"):
        gaps[one, S] = compare(one, S, "η = 0", S)
ddim_20, solver_20 = (compare(one, 20, "η = 1", 50) for one in ("η = 0", "2M"))

# %%
assert max(max(gaps["2M", S]) for S in (5, 10, 20, 50)) < -2
assert min(gaps["η = 0.5", 5] + gaps["η = 1", 5] + gaps["η = 1", 10]) > 2
assert gaps["σ̂", 5][0] > 3 and gaps["σ̂", 5][1] < -3
assert gaps["σ̂", 10][0] > 3 and abs(gaps["σ̂", 10][1]) < 2
trailing = [gaps["η = 0, trailing", S] for S in (5, 10, 20)]
assert max(trailing[0]) < -2 and max(pixels for _, pixels in trailing) < -2
assert abs(trailing[1][0]) < 2 < trailing[2][0]
for row in stored["cells"].values():  # more steps help, up to 20
    for few, many in (("5", "10"), ("10", "20")):
        fewer, more = row[few], row[many]
        assert min(ddim_table.standard_errors_apart(fewer, more, space) for space in (0, 1)) > 2
family = [gaps[one, S] for one in ("η = 0.2", "η = 0.5", "η = 1", "σ̂") for S in (20, 50)]
assert max(abs(gap) for pair in family for gap in pair) < 3
assert gaps["η = 1", 20][1] > 2 and max(gaps[one, 50][0] for one in ("η = 0.5", "η = 1", "σ̂")) < -2
assert min(ddim_20) > 2 and solver_20[0] > 2 > abs(solver_20[1])
for name in ("η = 1", "σ̂"):
    few, many = (torch.tensor(stored["cells"][name][S]) for S in ("50", "1000"))
    assert ((many[0] - few.mean(0)).abs() < 2 * few.std(0)).all()

# %% [markdown]
# All rows of a run start from the same noises, so we compare run by run. We read two standard errors as an effect. Of 52 comparisons, four or five reach that by chance, so those between 2 and 3 are *weak*.
#
# - **As in the paper:** up to 20 steps, more steps help every sampler. In 5 steps, $\eta=0.2$, 0.5 and 1 are behind $\eta=0$ in both distances; in 10 steps only 1 is. (In the features, 0.2 and the last are weak.)
# - **Not as in the paper:** with 5 steps $\hat\sigma$ is ahead of $\eta=0$ in pixels and behind it in the features. A part of the gain in pixels is that its mean picture is nearer to the real one. With 10 steps it is equal in pixels, within the error, and behind in the features.
# - **From 20 steps on:** every member, and $\hat\sigma$, lies within three standard errors of $\eta=0$, behind or ahead: only weak differences.
# - **The second-order solver** is ahead of $\eta=0$ in both distances at every number of steps, at the same cost.
# - **Trailing times** help $\eta=0$ in 5 steps in both distances, in 10 and 20 steps in pixels only. In 20 they are behind in the features.
#
# **Is DDIM in 20 steps as good as DDPM?** Not quite: DDPM ($\eta=1$) in 50 steps is ahead of it in both distances. It is ahead of the second-order solver in 20 steps in the features only, and weakly. In 1000 steps (one run) DDPM scores about as in 50. (A distance may fall below the floor: the network was trained on the reference, too.)
#
# Why is $\hat\sigma$ less bad here than in the paper? At $t=1$ the picture should hold noise of standard deviation $\sqrt{1-\bar\alpha_1}$. How much does it hold?

# %%
allowed, times = (1 - network.schedule.alpha_bar[1]).sqrt(), network.schedule.timesteps(10)
print(f"allowed at t = 1: {allowed:.4f}")
grain = {}
for name in ("η = 0", "η = 1", "σ̂"):
    start, step = noise(100, 1, 16, 16), SAMPLERS[name]
    walk = list(sample(network, start, times, step=step, generator=seeded(1)))
    grain[name] = (walk[-2].x - walk[-1].x).std()  # x at t = 1, less the final picture
    print(f"{name:6} {grain[name]:.3f} is removed by the last step")
assert grain["σ̂"] > 20 * allowed and grain["σ̂"] > 5 * grain["η = 0"]

# %% [markdown]
# $\hat\sigma$ arrives with more than twenty times the allowed noise. The last step returns $\hat x_0$, and our network, trained to predict the *picture*, removes most of it. The paper's network predicts $\varepsilon$. We think that there the noise stays: $\hat\varepsilon$ of variance 1 at $t=1$ removes only 0.01.
#
# ### 7.3 One noise, many step counts
#
# If $x_T$ decides the picture, 10 and 200 steps should give nearly the *same* one. Each column starts from one noise:

# %%
start = noise(8, 1, 16, 16, seed=3)
by_steps = {}
for steps in (5, 10, 20, 50, 200):
    by_steps[steps] = final(sample(network, start, network.schedule.timesteps(steps), step=ddim))
rows = {f"DDIM, {steps} steps": images for steps, images in by_steps.items()}
for seed in (1, 2):
    walk = sample(
        network,
        start,
        network.schedule.timesteps(50),
        step=SAMPLERS["η = 1"],
        generator=seeded(seed),
    )
    rows[f"η = 1, 50 steps, seed {seed}"] = final(walk)
plots.show(
    plots.image_grid(torch.cat(list(rows.values())), columns=8, rows=list(rows)),
    "Eight columns, one noise each. From 10 steps on, DDIM gives the same digit in each column; in 5 steps two of the digits are unclear. With eta = 1 the same noise gives two different pictures in every column; one of them is a white block.",
)
# %%
reference = by_steps[200]
apart = (reference[:, None] - reference).square().mean((2, 3, 4)).sum() / (8 * 7)  # two noises
for steps in (5, 10, 20, 50):
    off = (by_steps[steps] - reference).square().mean() / apart
    print(f"{steps:3} steps: {off:6.2%} of the mean squared distance between two different digits")
assert off < 0.01

# %% [markdown]
# The noise is a *code* for the picture. At $\eta=1$ it is not. (One picture there, a white block, is no digit.)
#
# ### 7.4 From the picture to its noise
#
# *Inversion*: go *up* a list of times (`sampler.invert`). Then go down: do we get the picture back? The paper's Table 2 gives the mean squared error per value, for pictures in $[0, 1]$. We add our network on 60 digits, and an exact network on two peaks, in the same units.
#
# At $t=1$ the noise is $\sqrt{1-\bar\alpha_1}=0.006$. Our network's $\hat x_0$ has a larger error, which makes $\hat\varepsilon=(x-\sqrt{\bar\alpha}\hat x_0)/\sqrt{1-\bar\alpha}$ much too large. (Its standard deviation should be at most 1.)

# %%
originals = handwriting[::30]  # (60, 1, 16, 16)
with torch.no_grad():
    for t in (1, 5, 25, 100):
        pred, level = trained(originals, t), (1 - trained.schedule.alpha_bar[t]).sqrt()
        off = (pred.x0 - originals).std()
        print(f"t = {t:3}   noise {level:.4f}   error of x0 {off:.4f}   eps {pred.eps.std():.2f}")

# %% [markdown]
# From $t=25$ on, the error is smaller than the noise, so our list begins there. We use the clean picture as $x_{25}$.

# %%
PAPER_2 = {10: 0.014, 20: 0.0065, 50: 0.0023, 100: 0.0009, 200: 0.0004, 500: 0.0001, 1000: 0.0001}
pair = GaussianMixture([[-0.7], [0.7]], std=0.1).denoiser(schedule)
values = pair.mixture.sample(500, seeded())[0]
codes, returned, errors = {}, {}, {}


def there_and_back(denoise, x, times):
    code = final(sampler.invert(denoise, x, times))
    return code, final(sample(denoise, code, times, step=ddim))


print("mean squared error of values in [0, 1]")
print("steps   paper, CIFAR-10   our digits: mean, median   two peaks, exact")
for steps, paper in PAPER_2.items():
    back = there_and_back(pair, values, schedule.timesteps(steps))[1]
    ours = ""
    if steps <= 100:
        times = [24 + t for t in uniform_spacing(T - 24, steps)][:-1] + [0]  # T, …, 25, 0
        codes[steps], returned[steps] = there_and_back(trained, originals, times)
        errors[steps] = (returned[steps] - originals).square().mean((1, 2, 3)) / 4  # in [0, 1]
        ours = f"{errors[steps].mean():.5f}   {errors[steps].median():.5f}"
    print(f"{steps:5} {paper:17} {ours:>26} {(back - values).square().mean() / 4:18.7f}")
assert errors[10].mean() > errors[20].mean() > errors[50].mean() > errors[100].mean()

# %%
pictures = {"original": originals[:10], "its noise": codes[100][:10] / 2.5}
pictures |= {f"back, {steps} steps": returned[steps][:10] for steps in (10, 20, 100)}
plots.show(
    plots.image_grid(torch.cat(list(pictures.values())), columns=10, rows=list(pictures)),
    "Ten real digits, the noise that inversion finds for each, and what sampling makes of that noise with 10, 20 and 100 steps: with 10 steps half of the digits are distorted, with 20 the second and the ninth are, with 100 only the ninth is.",
)
code = codes[100]
print(f"the codes: mean {code.mean():+.2f}, standard deviation {code.std():.2f} (noise: 0 and 1)")
lost = (errors[100] > 0.01).sum()
print(f"{lost} of 60 digits comes back as another shape from 100 steps")
spreads = {}
for low in (25, 100):  # from pictures that do hold the noise of this time
    noisy = trained.schedule.diffuse(originals, low, noise(*originals.shape, seed=3))
    times = [low - 1 + t for t in uniform_spacing(T - low + 1, 100)][:-1] + [0]
    spreads[low] = final(sampler.invert(trained, noisy, times)).std().item()
    print(f"from pictures with the noise of t = {low}: standard deviation {spreads[low]:.2f}")
assert lost <= 2 and errors[100].max() > 0.5 * errors[100].sum() and 0.5 < code.std() < 0.9
assert spreads[25] > 1.1 and abs(spreads[100] - 1) < 0.03

# %% [markdown]
# The error falls with $S$, as in the paper. At 100 steps one lost digit of the sixty makes up most of the mean. The codes have standard deviation 0.69, not 1: a clean picture has no noise at $t=25$, and inversion adds none. If we add that noise first, the codes have 1.16; with the noise of $t=100$, 1.01. There the network's error is a quarter of the noise; at $t=25$ it is nearly as large.
#
# Inversion evaluates the network at the *lower* end of each step, sampling at the upper end. This section uses `trained`, not `network`: what is clipped in inversion is lost.
#
# ### 7.5 Between two noises
#
# What lies between two codes on the straight line, $(1-a)z_1+a z_2$? *Before you run it:* $z_1$ and $z_2$ are standard normal in 256 dimensions. What is the standard deviation of the entries halfway?

# %%
shares = torch.linspace(0, 1, 41).tolist()
z1, z2 = noise(20, 1, 16, 16, seed=11), noise(20, 1, 16, 16, seed=12)
lengths = {}
for path in (interpolate.lerp, interpolate.slerp):
    between = [path(z1, z2, a).flatten(1).norm(dim=1) for a in shares]
    lengths[path.__name__] = torch.stack(between)  # (41, 20)
plots.show(
    ddim_plot.code_lengths(shares, lengths, (16 - 2 * 0.71, 16 + 2 * 0.71)),
    "Length of the interpolated code against the share for 20 pairs: along the straight line it falls from 16 to between 10 and 12.5 halfway, along the arc it stays close to the lengths of its two ends.",
)
assert abs(lengths["lerp"][20].mean() - 11.3) < 0.5

# %% [markdown]
# Independent variances add: $\tfrac14+\tfrac14=\tfrac12$. So halfway the length falls from $\sqrt{256}=16$ to 11.3, but nearly all noise vectors have a length close to 16. On an arc the length stays near 16: *spherical* interpolation, slerp.

# %%
show_source(interpolate.slerp, docstring=False)

# %%
shares, times = [k / 8 for k in range(9)], network.schedule.timesteps(50)
between, names = [], []
for k in (0, 3):
    for path in (interpolate.slerp, interpolate.lerp):
        between += [path(z1[k : k + 1], z2[k : k + 1], a) for a in shares]
        names.append(path.__name__)
images = final(sample(network, torch.cat(between), times, step=ddim))
plots.show(
    plots.image_grid(images, columns=9, rows=names, titles=[f"{k}/8" for k in range(9)]),
    "Two pairs of digits and what lies between them, along the arc and along the straight line. Most pictures are digits; the change of digit is sudden, and lerp and slerp look the same.",
)

# %% [markdown]
# We measure the variance of many pictures, also for the mean of 30 noises, whose length is $16/\sqrt{30}$.

# %%
quick, variety = network.schedule.timesteps(10), {}
for seed in range(3):
    z1, z2, *many = noise(32, 150, 1, 16, 16, seed=seed)
    starts = {"ends": z1, "mean of 30 noises": torch.stack(many).mean(0)}
    starts |= {
        f"{path.__name__}, halfway": path(z1, z2, 0.5)
        for path in (interpolate.slerp, interpolate.lerp)
    }
    for name, code in starts.items():
        images = final(sample(network, code, quick, step=ddim))
        variety.setdefault(name, []).append(images.var(0).sum().item())
for name, found in variety.items():
    found = torch.tensor(found)
    print(f"{name:18} variance of the pictures {found.mean():5.1f} ±{found.std():.1f}")
assert max(variety["lerp, halfway"]) < 0.95 * min(variety["slerp, halfway"])
assert max(variety["mean of 30 noises"]) < 0.4 * min(variety["ends"])

# %%
factors, z = (0.05, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0), noise(6, 1, 16, 16, seed=13)
scaled = torch.cat([factor * z[k : k + 1] for k in (0, 3, 5) for factor in factors])
images = final(sample(network, scaled, times, step=ddim))
plots.show(
    plots.image_grid(images, columns=len(factors), titles=[f"× {factor:g}" for factor in factors]),
    "Three noises, each scaled by eight factors from 0.05 to 3 before sampling: at 0.05 all three give an eight, at 0.3 to 0.7 a one, an eight, and an eight or a zero. The first changes from 1.4 on, the other two from 1 on; at 3 the strokes are irregular.",
)

# %% [markdown]
# Halfway on the straight line a tenth of the variance is lost, with the mean of thirty noises more than two thirds. At $\times\,0.05$ all three are eights. So **give a sampler only an $x_T$ that is distributed like those of the training.**
#
# ### 7.6 Which times to visit
#
# Which twenty of the thousand times? `labkit.schedule` has three lists.

# %%
show_source(uniform_spacing, quadratic_spacing, trailing_spacing)

# %%
SPACINGS = {
    "uniform": uniform_spacing, "quadratic": quadratic_spacing, "trailing": trailing_spacing,
}  # fmt: skip
plots.show(
    ddim_plot.spacings({name: spacing(T, 20) for name, spacing in SPACINGS.items()}),
    "The 21 times of three spacings: uniform and trailing are evenly spaced, except that uniform ends with a short step from 1 to 0; quadratic has many times near 0 and few near 1000.",
)

# %% tags=["nbval-check-output"]
best = {}
for name, each in (("linear", schedule), ("cosine", cosine())):
    for eta in (0.0, 1.0):
        found = {
            spaced: [gaussian_distance(n, eta, False, spacing, each) for n in (5, 10, 20, 50)]
            for spaced, spacing in SPACINGS.items()
        }
        rows = {spaced: [f"{value:.5f}" for value in row] for spaced, row in found.items()}
        ddim_table.show(f"{name}, η = {eta:g}", [5, 10, 20, 50], rows)
        best[name, eta] = [min(found, key=lambda spaced: found[spaced][k]) for k in range(4)]
assert best["linear", 0.0] == ["trailing"] + 3 * ["quadratic"]
assert all(spaced != "quadratic" for eta in (0.0, 1.0) for spaced in best["cosine", eta])

# %% [markdown]
# By the exact distances of 7.1: on the linear schedule at $\eta=0$, quadratic spacing is best from ten steps on. On the cosine schedule it is the
# worst in every column: we think because that schedule already spends many steps near the picture.
#
# ## 8 · Break it


# %%
def with_mistake(mistake):
    """A step of DDIM, or of DDPM for the first mistake, with one line wrong."""

    def step(schedule, pred, x, t, s, generator=None):
        at_t, at_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
        if mistake == "β_t for the ratio":  # lesson 03's formula, with the table of single steps
            beta = schedule.beta[t].item()
            mean = (x - beta / math.sqrt(1 - at_t) * pred.eps) / math.sqrt(1 - beta)
            return mean + math.sqrt(beta * (s > 0)) * torch.randn(x.shape, generator=generator)
        if mistake == "ᾱ of t − 1":
            at_s = schedule.alpha_bar[t - 1].item()
        if mistake == "last ᾱ is ᾱ_1":
            at_s = schedule.alpha_bar[max(s, 1)].item()
        if mistake == "σ̂ in the direction":
            room = torch.tensor(1 - at_s - (1 - at_t / at_s))
            return math.sqrt(at_s) * pred.x0 + room.sqrt() * pred.eps
        return math.sqrt(at_s) * pred.x0 + math.sqrt(1 - at_s) * pred.eps

    return step


# %%
start, times = noise(8, 1, 16, 16, seed=3), network.schedule.timesteps(20)
broken = {"right": final(sample(network, start, times, step=ddim))}
for mistake in ("β_t for the ratio", "ᾱ of t − 1", "σ̂ in the direction", "last ᾱ is ᾱ_1"):
    walk = sample(network, start, times, step=with_mistake(mistake), generator=seeded())
    broken[mistake] = final(walk)
plots.show(
    plots.image_grid(torch.cat(list(broken.values())), columns=8, rows=list(broken)),
    "Five rows of eight pictures. Right: digits. Beta for the ratio, and alpha-bar of t minus 1: random black and white spots. Sigma-hat in the direction: not a number anywhere, drawn in orange. Last alpha-bar wrong: looks the same as the right row.",
)
left_over = (broken["last ᾱ is ᾱ_1"] - broken["right"]).std()
root = (1 - network.schedule.alpha_bar[1]).sqrt()
print(f"last ᾱ is ᾱ_1: differs from the right row by {left_over:.4f}", end=" ")
print(f"= {root:.4f} · {left_over / root:.1f}")
assert broken["σ̂ in the direction"].isnan().all() and 0 < left_over < 0.05

# %% [markdown]
# - **β_t for the ratio**, and **ᾱ of t − 1**: a step covers about fifty times but removes the noise of one.
# - **σ̂ in the direction**: for long steps $\hat\sigma^2 > 1-\bar\alpha_s$; at $s=0$ it holds for every step. The root of a negative number is not a number.
# - **last ᾱ is ᾱ_1**: nothing to see. $\sqrt{1-\bar\alpha_1}\,\hat\varepsilon$ stays in the picture. The root is 0.006 here. A *test* finds it: the last step must return exactly $\hat x_0$.
#
# The fifth mistake: $\hat x_0$ is clipped and the old $\hat\varepsilon$ is kept. At ±1 this changes almost nothing (0.00004), so we clip at ±0.6. `MapX0` computes $\hat\varepsilon$ again:


# %%
def keeps_eps(limit, schedule, pred, x, t, s, generator=None):
    return sampler.ddim(schedule, Prediction(pred.x0.clamp(-limit, limit), pred.eps), x, t, s)


rows, apart = {}, {}
for limit in (1.0, 0.6):
    clipped = MapX0(trained, partial(torch.clamp, min=-limit, max=limit))
    rows["ε computed again"] = final(sample(clipped, start, times, step=ddim))
    rows["ε kept"] = final(sample(trained, start, times, step=partial(keeps_eps, limit)))
    apart[limit] = (rows["ε kept"] - rows["ε computed again"]).square().mean()
    print(f"clipped at {limit}: mean squared difference of the two {apart[limit]:.5f}")
plots.show(
    plots.image_grid(torch.cat(list(rows.values())) / 0.6, columns=8, rows=list(rows)),
    "Eight digits whose predicted picture was clipped at 0.6 in every step. With the noise computed again most are digits in hard black and white, the first is a broken zero; with the old noise kept, most fall apart into pieces.",
)
assert apart[1.0] < 0.001 and apart[0.6] > 0.05

# %% [markdown]
# With the old $\hat\varepsilon$, $x_s$ belongs to *neither* picture.
#
# The sixth mistake: an arc needs the angle of *whole* vectors. `torch.cosine_similarity` takes axis 1, the channels, by default: one angle per pixel. Here the angle is taken over rows of 16 values, then over single values:


# %%
def unguarded_slerp(z1, z2, a):
    """The formula alone; labkit's own refuses rows that point in opposite directions."""
    angle = nn.functional.cosine_similarity(z1.double(), z2.double()).clamp(-1, 1).arccos()[:, None]
    arc = (torch.sin((1 - a) * angle) * z1 + torch.sin(a * angle) * z2) / torch.sin(angle)
    return torch.where(angle > 0, arc, (1 - a) * z1 + a * z2).float()


# %%
z1, z2, shares = noise(1, 256, seed=11), noise(1, 256, seed=12), [k / 8 for k in range(9)]
rows = {}
for name, shape in {"whole picture": (1, 256), "rows": (16, 16), "pixels": (256, 1)}.items():
    cut = [z.reshape(shape) for z in (z1, z2)]
    arc = torch.cat([unguarded_slerp(*cut, a).view(1, 1, 16, 16) for a in shares])
    label = f"{name}, {arc[4].norm().item():.3g}"
    rows[label] = final(sample(network, arc, network.schedule.timesteps(20), step=ddim))
plots.show(
    plots.image_grid(
        torch.cat(list(rows.values())),
        columns=9,
        rows=list(rows),
        titles=[f"{k}/8" for k in range(9)],
    ),
    "What lies between two digits if the angle is taken over the whole picture, over each row, and over each pixel; beside it the length of the code halfway. Whole picture and rows look alike; with single pixels everything between the ends is a meaningless pattern.",
)

# %% [markdown]
# Beside each row stands the length of the code halfway; about 16 is right. For two single numbers of opposite sign, $\theta=\pi$, where $1/\sin\theta$ grows without bound. With rows there is *nothing to see*; a test finds it.
#
# ## 9 · Exercises
#
# Write your function where it says `...`, then run the check below it. Hints and solutions are folded.
#
# ### 9.1 How much noise? ● 5 minutes
#
# Write $\sigma(\eta)$ of the box in 3.4, for two numbers $\bar\alpha_t$ and $\bar\alpha_s$ ($s$ is the cleaner time) and `eta`.


# %%
def sigma(alpha_bar_t, alpha_bar_s, eta): ...


# %%
checks.sigma(sigma)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Try $\bar\alpha_t=\bar\alpha_s$: a step of no length must have no noise.
#
# </details>

# %% jupyter={"source_hidden": true}
# Solution 1


def solution_1(alpha_bar_t, alpha_bar_s, eta):
    left = (1 - alpha_bar_s) / (1 - alpha_bar_t)
    return eta * math.sqrt(left) * math.sqrt(1 - alpha_bar_t / alpha_bar_s)


checks.sigma(solution_1).require()

# %% [markdown]
# ### 9.2 The DDIM step ●● 20 minutes
#
# Write one step of the family, from `x` at time `t` to time `s`. You get the schedule (`schedule.alpha_bar[t]` is a float64 number), the prediction (`pred.x0` and `pred.eps`), a generator for the new noise, and
# `eta`. Return $x_s$ in the shape and dtype of `x`.


# %%
def ddim_step(schedule, pred, x, t, s, generator=None, eta=0.0): ...


# %%
checks.ddim_step(ddim_step)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The box of 3.2, with $\hat x_0$ for $x_0$ and $\hat\varepsilon$ for the fraction. The new noise is
# `torch.randn(x.shape, generator=generator, dtype=x.dtype)`. `.item()` turns a table's entry into a plain number, which does not change dtypes.
#
# </details>

# %% jupyter={"source_hidden": true}
# Solution 2


def solution_2(schedule, pred, x, t, s, generator=None, eta=0.0):
    at_t, at_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    std = solution_1(at_t, at_s, eta)
    direction = math.sqrt(1 - at_s - std**2)
    fresh = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return math.sqrt(at_s) * pred.x0 + direction * pred.eps + std * fresh


checks.ddim_step(solution_2).require()

# %% [markdown]
# Your step works in place of labkit's. Write its name instead of `solution_2`:

# %%
start = noise(10, 1, 16, 16, seed=8)
plots.show(
    plots.image_grid(
        final(sample(network, start, network.schedule.timesteps(20), step=solution_2))
    ),
    "Ten digits, sampled in twenty steps with the step written in the exercise.",
)

# %% [markdown]
# ### 9.3 Which times? ● 10 minutes
#
# Write the list of times with equal gaps: $n$ steps, so $n+1$ times $i\,T/n$, rounded to whole numbers, falling from $T$ to 0.


# %%
def trailing_times(T, n): ...


# %%
checks.trailing_times(trailing_times)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `round(T * i / n)` for $i=n, n-1, \dots, 0$. `reversed(range(n + 1))` counts down.
#
# </details>

# %% jupyter={"source_hidden": true}
# Solution 3


def solution_3(T, n):
    return [round(T * i / n) for i in reversed(range(n + 1))]


checks.trailing_times(solution_3).require()

# %% [markdown]
# ### 9.4 The step as Euler's ●● 15 minutes
#
# Write the deterministic step in the coordinates of section 3.6: turn $x_t$ into $\bar x_t$, take one Euler step along $\varsigma$ with slope $\hat\varepsilon$, and come back to $x_s$.


# %%
def ode_step(x, eps, alpha_bar_t, alpha_bar_s): ...


# %%
checks.ode_step(ode_step)

# %% [markdown]
# <details><summary>Hint</summary>
#
# $\bar x=x/\sqrt{\bar\alpha}$ and $\varsigma=\sqrt{(1-\bar\alpha)/\bar\alpha}$, each at its own time. What is $\bar x_s$ times $\sqrt{\bar\alpha_s}$?
#
# </details>

# %% jupyter={"source_hidden": true}
# Solution 4


def solution_4(x, eps, alpha_bar_t, alpha_bar_s):
    ratio_t = math.sqrt((1 - alpha_bar_t) / alpha_bar_t)
    ratio_s = math.sqrt((1 - alpha_bar_s) / alpha_bar_s)
    x_bar = x / math.sqrt(alpha_bar_t) + (ratio_s - ratio_t) * eps
    return math.sqrt(alpha_bar_s) * x_bar


checks.ode_step(solution_4).require()

# %% [markdown]
# ### 9.5 The arc ●● 15 minutes
#
# Write slerp for a batch of pictures (B, C, H, W): one angle for each *row of the batch*, over all its entries.
#
# $$\frac{\sin((1-a)\theta)}{\sin\theta}\,z_1+\frac{\sin(a\theta)}{\sin\theta}\,z_2,\qquad\cos\theta=\frac{z_1\cdot z_2}{|z_1||z_2|}$$


# %%
def slerp(z1, z2, a): ...


# %%
checks.slerp(slerp)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `z.flatten(1)` makes (B, D) of (B, C, H, W); `.norm(dim=1)` are the lengths. `angle[:, None, None, None]` multiplies pictures.
#
# </details>

# %% jupyter={"source_hidden": true}
# Solution 5


def solution_5(z1, z2, a):
    p, q = z1.flatten(1), z2.flatten(1)
    cosine = (p * q).sum(1) / (p.norm(dim=1) * q.norm(dim=1))
    angle = cosine.arccos()[:, None, None, None]  # (B, 1, 1, 1)
    return (((1 - a) * angle).sin() * z1 + (a * angle).sin() * z2) / angle.sin()


checks.slerp(solution_5).require()

# %% [markdown]
# ### 9.6 From a picture to its noise ●●● 45 minutes
#
# Write inversion as a loop. You get a denoiser, clean data `x0`, and the falling list of times that sampling would visit. (`denoise(x, t)` gives `x0` and `eps`; its `.schedule` has the factors of the jump, `signal(t, x)` and `noise(t, x)`.) Return the noise at `times[0]`. Use the clean
# picture as $x$ at the smallest time above 0.
#
# Then invert two digits of your choice, and sample along the arc between their codes.


# %%
def encode(denoise, x0, times): ...


# %%
checks.encode(encode)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `rising = [t for t in times if t > 0][::-1]`. In each step from `t` up to `u`, call the denoiser with the time where $x$ *is*, then take the DDIM step with $\eta=0$: $x_u=\sqrt{\bar\alpha_u}\,\hat x_0+\sqrt{1-\bar\alpha_u}\,\hat\varepsilon$.
#
# </details>

# %% jupyter={"source_hidden": true}
# Solution 6


def solution_6(denoise, x0, times):
    rising, x = [t for t in times if t > 0][::-1], x0
    for t, u in zip(rising, rising[1:]):
        pred = denoise(x, t)
        x = denoise.schedule.signal(u, x) * pred.x0 + denoise.schedule.noise(u, x) * pred.eps
    return x


checks.encode(solution_6).require()

# %% [markdown]
# The second part, with a three and an eight:

# %% jupyter={"source_hidden": true}
labels = digits.load(16)[1]
times = [24 + t for t in uniform_spacing(T - 24, 50)][:-1] + [0]  # as in 7.4
pairs = [handwriting[labels == k][:2] for k in (3, 8)]
with torch.no_grad():
    three, eight = (solution_6(trained, pair, times) for pair in pairs)
arc = torch.cat([solution_5(three[:1], eight[:1], k / 8) for k in range(9)])
images = final(sample(network, arc, times, step=ddim))
images = torch.cat([pairs[0][:1], images, pairs[1][:1]])
titles = ["the three", *[f"{k}/8" for k in range(9)], "the eight"]
plots.show(
    plots.image_grid(images, columns=11, titles=titles),
    "A real three, nine pictures along the arc between its code and that of a real eight, and the eight: the two ends give the originals back; from 1/8 to 3/8 the shapes look like a six or are unclear, from 4/8 on like an eight.",
)

# %% [markdown]
# ## 10 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why does DDIM not need a training of its own?",
    {
        "Because it is only an approximation of DDPM": "It does not approximate DDPM. It is another process, with exactly the same marginals.",
        "Because the loss only sees single times, and all members of the family agree there": "The loss draws x_t from q(x_t|x_0). How x_t and x_s depend on each other never occurs in it.",
        "Because the network is told the number of steps": "It gets t, and nothing else. It does not know which times come before or after.",
    },
    answer="Because the loss only sees single times, and all members of the family agree there",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You sample four times from the same $x_T$, first with η = 0 in 20 and 50 steps, then with η = 1 in 20 and 50 steps. Which two pictures show the same thing?",
    {
        "The two with η = 0": "Both follow the same curve, in shorter or longer steps. The noise decides the picture.",
        "The two with 20 steps": "The number of steps says how closely a curve is followed. With η = 1 there is no such curve.",
        "All four: they share x_T": "With η = 1 new noise comes in at every step, and it decides more than the start.",
    },
    answer="The two with η = 0",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "In the paper's Table 1, why is $\\hat\\sigma$ so bad in 10 steps, and so good in 1,000?",
    {
        "It has too little noise for long steps": "It has too much: σ̂ is larger than the posterior's own σ in every step.",
        "Its mean is wrong for long steps": "It uses the same mean as η = 1, only the noise on top is larger.",
        "It adds more noise than is needed; for short steps the excess vanishes": "So it is with the Gaussian data of 7.1, which give the same order. What is needed lies near 1−ᾱ_t/ᾱ_s when the step is short. In long steps it is less in weak directions, and x_s is noisier than its time allows. η = 1 adds too little; η = 0 keeps Euler's error.",
    },
    answer="It adds more noise than is needed; for short steps the excess vanishes",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You change $\\hat x_0$ (by clipping, say) before the step. What else must change?",
    {
        "Nothing: the noise is the network's own prediction": "Then the step combines one picture with the noise of another, and x_s has the wrong noise level.",
        "ε̂, computed again from x_t and the changed prediction": "Both views must describe the same x_t. labkit's MapX0 does it for you.",
        "σ, since the variance has shrunk": "σ depends on the two times and η, not on the picture.",
    },
    answer="ε̂, computed again from x_t and the changed prediction",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Inversion with 20 steps gives back a slightly wrong picture. What helps most?",
    {
        "More steps": "The two directions evaluate the network at different ends of each step. The shorter the step, the less they differ.",
        "η = 1 in sampling": "New noise destroys what the code holds.",
        "Clipping in inversion": "What is clipped there is lost; sampling cannot put it back.",
    },
    answer="More steps",
)

# %% [markdown]
# ## 11 · Recap
#
# - Training uses marginals only. So one network serves a **family** of processes: $x_s=\sqrt{\bar\alpha_s}\,\hat x_0+\sqrt{1-\bar\alpha_s-\sigma^2}\,\hat\varepsilon+\sigma z$.
# - $\eta=1$ is DDPM, over a step of any length. $\eta=0$ adds no noise: Euler's method for a differential equation.
# - Too few steps give too little contrast. A second-order solver was better at the same cost.
# - At $\eta=0$, $x_T$ is a code. Pictures can be inverted, and joined along arcs.
# - Compute $\hat\varepsilon$ again when $\hat x_0$ is changed. Use ratios of $\bar\alpha$, and $\bar\alpha_0=1$ in the last step.
#
# **What is still missing.** We get *some* digit, not the one we want. Lesson 05 changes $\hat\varepsilon$ with the gradient of a classifier.
#
# **References**
# - J. Song et al., ICLR 2021 (DDIM).
# - Ho et al., NeurIPS 2020 (DDPM).
# - Nichol and Dhariwal, ICML 2021 (long steps).
# - Lu et al., *DPM-Solver++*, 2022 (2M).
# - Lin et al., WACV 2024 (trailing times).
