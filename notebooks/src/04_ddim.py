# %% [markdown]
# # 04 · DDIM: the same network in twenty steps
#
# **The question.** The network of lesson 03 paints a digit in a thousand small steps, because a thousand small steps of noise
# were taken in training. Were they? If training never really looked at the steps, who says how many we must take?
#
# **Afterwards you can**
# - derive a whole family of processes that fit one trained network, and prove that each has the right marginals;
# - write the DDIM step, turn its dial $\eta$ from "no dice" to DDPM, and choose the times that it visits;
# - say what a deterministic sampler buys: one noise, one picture; pictures turned back into noise; paths between pictures;
# - recognize six classic mistakes by their looks.
#
# **Before:** lessons 02 (the jump) and 03 (the posterior, the loss, the network).
#
# **Time:** 60 minutes to read and play, plus 100 for all exercises; about a minute to run on two cores.
#
# **On the map:** 02 forward diffusion → 03 DDPM → **04 DDIM** → 05 classifier guidance (steer the same network).

# %%
import math
import time
from functools import partial

import torch
from torch import nn

from labkit import interpolate, metrics, sampler, zoo
from labkit.data import digits
from labkit.denoiser import Denoiser, MapX0, Prediction, clip, from_x0
from labkit.lab import checks, plots, quiz, show_source, widgets
from labkit.mixture import GaussianMixture
from labkit.sampler import sample
from labkit.schedule import linear, quadratic_spacing, trailing_spacing, uniform_spacing
from labkit.train import train

plots.use_style()
torch.manual_seed(0)
schedule, T = linear(), 1000  # DDPM's own
ddim = partial(sampler.ddim, eta=0.0)

# %% [markdown]
# What the whole lesson uses: three sets of data whose law we know exactly, and the network of lesson 03, which nobody will train today.
# After a restart, run these first cells, and then any section you like.

# %%
peaks = GaussianMixture([[-1.0], [1.2]], std=[0.15, 0.3], weights=[0.4, 0.6])  # in 1-D
angle = torch.arange(6) / 6 * 2 * math.pi
ring = GaussianMixture(1.3 * torch.stack([angle.cos(), angle.sin()], 1), std=0.12)  # in 2-D
guess = ring.denoiser(schedule)  # the exact one
cloud = ring.sample(1500, torch.Generator().manual_seed(0))[0]  # (1500, 2), to look at
handwriting = digits.load(16)[0]  # (1797, 1, 16, 16), real digits in [-1, 1]

# %%
trained = zoo.load("ddpm-digits").denoiser  # lesson 03's network, as it ships
network = MapX0(trained, clip)  # its guess of the picture kept in [-1, 1], as in lesson 03


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0, **options):
    return torch.randn(*shape, generator=seeded(seed), **options)


def end(states):
    """The picture at the end of a walk."""
    *_, state = states
    return state.x


def sigma_squared(t, s, eta):
    """The paper's scale for the noise of a step (equation 16); section 3.4 says where it comes from."""
    at_t, at_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
    return eta**2 * (1 - at_s) / (1 - at_t) * (1 - at_t / at_s)


# %% [markdown]
# ## 1 · See it first
#
# Eight noises, one network. The first row takes DDPM's way, a thousand questions to the network for each picture. The other three rows use the step of this lesson, with 50, 20 and 10 questions. *While it runs:* all four rows start from the
# same eight noises. What will the columns have in common?

# %%
start = noise(8, 1, 16, 16)
rows = {"DDPM, 1000 steps": end(sample(network, start, range(1000, -1, -1), generator=seeded()))}
for steps in (50, 20, 10):
    way = network.schedule.timesteps(steps)
    rows[f"DDIM, {steps} steps"] = end(sample(network, start, way, step=ddim))
plots.show(
    plots.image_grid(torch.cat(list(rows.values())), columns=8, rows=list(rows)),
    "Four rows of eight digits from the same network and the same noises: DDPM in 1000 steps, and DDIM in 50, 20 and 10 steps. All are clean; the three DDIM rows show the same digit in each column, the DDPM row shows others.",
)

# %% [markdown]
# Two surprises. The weights are the same to the last bit, and a fiftieth of the work gives digits as good as before. And the three lower rows agree: with the new step, **the noise decides the picture**, no matter how many steps we take. With DDPM it
# decides nothing.
#
# Where does such a step come from, and why may we use it on a network that was trained for another one?
#
# ## 2 · The idea
#
# Below are two crowds of walkers in one dimension. Both start at the right, as pure noise, from the *same* 24 places, and walk to the left,
# towards data with two peaks. The gray fog is the exact density $q(x_t)$ at every time. Both know the exact $\mathbb E[x_0|x_t]$.

# %%
starts, exact = noise(24, 1, seed=1), peaks.denoiser(schedule)
heights = torch.linspace(-3, 3, 200)[:, None]
fog = [peaks.diffused(schedule, t).log_prob(heights).exp() for t in range(0, 1001, 10)]
fog = torch.stack([each / each.max() for each in fog], 1)  # (200, 101)

figure, axes = plots.subplots(1, 2, size=(10, 3.4), sharey=True)
for each, eta, name in zip(
    axes, (1.0, 0.0), ("DDPM: new noise in every step", "DDIM: no new noise")
):
    walk = sample(
        exact, starts, range(1000, -1, -1), step=partial(sampler.ddim, eta=eta), generator=seeded()
    )
    paths = torch.cat([starts] + [state.x for state in walk], 1)  # (24, 1001)
    each.imshow(
        fog, aspect="auto", origin="lower", extent=(0, 1000, -3, 3), cmap="Greys", alpha=0.6
    )
    each.plot(range(1000, -1, -1), paths.T, linewidth=0.9, color=plots.BLUE, alpha=0.8)
    each.set(xlabel="time t", ylabel="x", title=name)
    each.grid(False)
plots.show(
    figure,
    "Paths of 24 walkers from noise at t = 1000 to two peaks at t = 0, over the fog of the exact density: DDPM's paths tremble and cross, DDIM's are smooth and never cross, and both fill the same fog.",
)

# %% [markdown]
# Look at any vertical line: the two crowds fill the same fog. Look along any single path: the two could not differ more. **The marginals are
# the same, the journeys are not.** And smooth journeys can be taken in long strides.
#
# That leaves three questions. Why are we free to choose the journey? Which journeys are there? And does the network care?
#
# ## 3 · The derivation
#
# ### 3.1 What did training look at?
#
# Here is the loss of lesson 03, the code that ran. Find the line where $x_{t-1}$ occurs, or $\beta_t$, or any *pair* of times:

# %%
show_source(Denoiser.loss, docstring=False)

# %% [markdown]
# There is none. A picture, one time $t$, one noise: training sees the marginals $q(x_t|x_0)=\mathcal N\big(\sqrt{\bar\alpha_t}\,x_0,\ (1-\bar\alpha_t)I\big)$, each on
# its own. How $x_t$ and $x_s$ hang *together* was never in the data. So any process with these marginals has an equal claim on this network.
#
# ### 3.2 A family with the right marginals
#
# Two times, $s < t$. Suppose $x_t$ is right: $x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\varepsilon$. We want $x_s$. Keep the picture, and use
# the *same* noise $\varepsilon$, only less of it. If we like, replace a part of it by fresh noise $z$ of variance $\sigma^2$:
#
# $$\boxed{\;x_s = \sqrt{\bar\alpha_s}\,x_0 + \sqrt{1-\bar\alpha_s-\sigma^2}\;\underbrace{\frac{x_t-\sqrt{\bar\alpha_t}\,x_0}{\sqrt{1-\bar\alpha_t}}}_{\varepsilon} + \sigma z\;}\qquad 0\le\sigma^2\le 1-\bar\alpha_s \qquad\text{(DDIM, equation 7)}$$
#
# **Claim.** If $q(x_t|x_0)$ is right, so is $q(x_s|x_0)$, whatever $\sigma$. **Proof.** Work in one pixel, and write $y = x_s-\sqrt{\bar\alpha_s}\,x_0$ and
# $a=\sqrt{1-\bar\alpha_s-\sigma^2}$. Given $\varepsilon$, $y$ is $\mathcal N(a\varepsilon,\sigma^2)$; to forget $\varepsilon$ we integrate over it:
#
# $$q(y|x_0)\;\propto\;\int \exp\Big(-\tfrac12\Big[\frac{(y-a\varepsilon)^2}{\sigma^2}+\varepsilon^2\Big]\Big)\,d\varepsilon .$$
#
# Sort the bracket by powers of $\varepsilon$, and complete the square:
#
# $$\frac{(y-a\varepsilon)^2}{\sigma^2}+\varepsilon^2=\frac{a^2+\sigma^2}{\sigma^2}\Big(\varepsilon-\frac{a\,y}{a^2+\sigma^2}\Big)^2+\frac{y^2}{a^2+\sigma^2} .$$
#
# (The left over piece is $\frac{y^2}{\sigma^2}-\frac{a^2y^2}{\sigma^2(a^2+\sigma^2)}=\frac{y^2}{\sigma^2}\cdot\frac{\sigma^2}{a^2+\sigma^2}$.) The square integrates to a constant that does not know $y$. What remains,
# $\exp\!\big(-\tfrac12\,y^2/(a^2+\sigma^2)\big)$, is a Gaussian of variance
#
# $$a^2+\sigma^2 = 1-\bar\alpha_s-\sigma^2+\sigma^2 = 1-\bar\alpha_s .\qquad\blacksquare$$
#
# (At $\sigma=0$ there is nothing to integrate: $y=a\varepsilon$.) **Induction** does the rest: start with the right $q(x_T|x_0)$, and step down through *any* list of times; every marginal on the way
# is right. Nobody asked that $s=t-1$. We carry the factor of $x_0$ and the variance of the noise down a list of ten steps, for three choices of $\sigma$, and compare them with the table:

# %% tags=["nbval-check-output"]
times, worst = schedule.timesteps(10), 0.0
for eta in (0.0, 0.5, 1.0):
    factor, variance = schedule.alpha_bar[T].sqrt(), 1 - schedule.alpha_bar[T]
    for t, s in zip(times, times[1:]):
        at_t, at_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
        kept = ((1 - at_s - sigma_squared(t, s, eta)).clamp(min=0) / (1 - at_t)).sqrt()
        factor = at_s.sqrt() + kept * (factor - at_t.sqrt())
        variance = kept**2 * variance + sigma_squared(t, s, eta)
        worst = max(worst, (factor - at_s.sqrt()).abs(), (variance - (1 - at_s)).abs())
        if s in (667, 334):
            print(f"eta {eta}   t = {s}   factor of x0 {factor:.6f}   variance {variance:.6f}")
print("agrees with the table at all times:", bool(worst < 1e-12))

# %% [markdown]
# Now with dice: 20,000 walkers, each of whom knows its own true $x_0$, drawn from the two peaks. (`from_x0` gives `sampler.ddim` that true picture in place of a guess.)
# Three members of the family, one below the other; the black line is the exact density. If the proof is right, the rows look alike.

# %%
x0 = peaks.sample(20_000, seeded())[0]  # (20000, 1)
seen = {}
for eta in (0.0, 0.5, 1.0):
    generator = seeded(1)
    x = schedule.diffuse(x0, T, torch.randn(x0.shape, generator=generator, dtype=x0.dtype))
    for t, s in zip(times, times[1:]):
        x = sampler.ddim(schedule, from_x0(schedule, x, t, x0), x, t, s, generator, eta)
        seen[eta, s] = x

figure, axes = plots.subplots(3, 3, size=(10, 4.6), sharex=True)
for row, eta in zip(axes, (0.0, 0.5, 1.0)):
    for each, t in zip(row, (667, 334, 112)):
        each.hist(seen[eta, t].flatten().numpy(), bins=80, density=True, color=plots.SKY)
        law = peaks.diffused(schedule, t).log_prob(heights).exp()
        each.plot(heights, law, color=plots.BLACK, linewidth=1.5)
        each.set(title=f"η = {eta:g}, t = {t}", yticks=[], xlim=(-3, 3))
plots.show(
    figure,
    "Nine histograms of 20,000 walkers, for eta 0, 0.5 and 1 at times 667, 334 and 112, each under the exact density: every column shows the same histogram.",
)

# %% [markdown]
# And by number: the largest distance between the walkers' distribution function and the exact one (Kolmogorov and Smirnov). For 20,000 draws of
# the *right* law it exceeds $1.95/\sqrt{20000}=0.0138$ once in a thousand times.


# %%
def distribution_gap(x, law):
    """The largest |share of the walkers below x − exact share|."""
    x = x.flatten().sort().values
    below = torch.special.ndtr((x[:, None] - law.means.T) / law.std) @ law.weights  # (N,)
    rank = torch.arange(len(x) + 1, dtype=x.dtype) / len(x)
    return torch.maximum(rank[1:] - below, below - rank[:-1]).max().item()


for eta in (0.0, 0.5, 1.0):
    gaps = [distribution_gap(seen[eta, t], peaks.diffused(schedule, t)) for t in (667, 334, 112)]
    print(f"eta {eta}   gap at t = 667, 334, 112:", "  ".join(f"{gap:.4f}" for gap in gaps))
    assert max(gaps) < 1.95 / math.sqrt(20_000)

# %% [markdown]
# ### 3.3 But the journey is another one
#
# The marginals agree, so what differs? The *joint* law. We fix one picture, $x_0 = 0.5$, and plot $x_t$ against $x_s$ for $t=600$, $s=300$: first for the forward chain of
# lesson 02, then for three members of the family. On the margins, all four clouds are the same two Gaussians.

# %%
t, s, n = 600, 300, 1500
clean = torch.full((n, 1), 0.5, dtype=torch.float64)
at_t, at_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
x_s = schedule.diffuse(clean, s, noise(n, 1, seed=1, dtype=torch.float64))
alpha = at_t / at_s  # of the noising jump from s to t
x_t = alpha.sqrt() * x_s + (1 - alpha).sqrt() * noise(n, 1, seed=2, dtype=torch.float64)
clouds = {"forward chain": (x_s, x_t)}
for eta in (1.0, 0.5, 0.0):
    x = schedule.diffuse(clean, t, noise(n, 1, seed=3, dtype=torch.float64))
    pred = from_x0(schedule, x, t, clean)
    clouds[f"family, η = {eta:g}"] = (sampler.ddim(schedule, pred, x, t, s, seeded(4), eta), x)

figure, axes = plots.subplots(1, 4, size=(10, 3), sharex=True, sharey=True)
for each, (name, (a, b)) in zip(axes, clouds.items()):
    each.scatter(a, b, s=2, color=plots.BLUE)
    correlation = torch.corrcoef(torch.cat([a, b], 1).T)[0, 1]
    each.set(title=f"{name}\ncorrelation {correlation:.2f}", xlabel=f"x at s = {s}")
axes[0].set_ylabel(f"x at t = {t}")
plots.show(
    figure,
    "Four scatter plots of x at time 600 against x at time 300 for one picture: the forward chain and eta = 1 give the same wide cloud with correlation near 0.25, eta = 0.5 a narrow slanted one, eta = 0 a straight line.",
)

# %% [markdown]
# $\eta=1$ looks like the chain, and at $\eta=0$ the cloud is a line: whoever knows $x_0$ and $x_s$ knows $x_t$. In the chain of lesson 02, once you know $x_s$, the picture $x_0$ tells
# you nothing new about $x_t$; that is what *Markov* means. Is it true of the family? We let $x_0$ vary too, and ask for the best straight line
# $\mathbb E[x_t|x_s,x_0]=A\,x_s+B\,x_0$. From the box: the correlation of the noises in $x_t$ and $x_s$ is $\rho=\sqrt{(1-\bar\alpha_s-\sigma^2)/(1-\bar\alpha_s)}$, so
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
    print(
        f"eta {eta}   A = {fitted[0]:.3f} (exact {A:.3f})   B = {fitted[1]:+.3f} (exact {B:+.3f})"
    )
    assert abs(fitted[0] - A) < 0.02 and abs(fitted[1] - B) < 0.02

# %% [markdown]
# Only at $\eta=1$ is $B = 0$. For every other $\eta$, the forward process of the family needs to know where it started: **same marginals, but no Markov chain.** That is the
# "implicit" in *denoising diffusion implicit models*, and it costs nothing, since nobody ever runs that forward process. Training uses the jump.
#
# ### 3.4 Which member is DDPM?
#
# DDPM's posterior (lesson 03) has the variance $\tilde\beta=\frac{1-\bar\alpha_s}{1-\bar\alpha_t}\big(1-\frac{\bar\alpha_t}{\bar\alpha_s}\big)$. Put $\sigma^2=\tilde\beta$ into the box. With $\alpha=\bar\alpha_t/\bar\alpha_s$:
#
# $$1-\bar\alpha_s-\tilde\beta=(1-\bar\alpha_s)\,\frac{(1-\bar\alpha_t)-(1-\alpha)}{1-\bar\alpha_t}=(1-\bar\alpha_s)\,\frac{\alpha-\alpha\bar\alpha_s}{1-\bar\alpha_t}=\frac{\alpha\,(1-\bar\alpha_s)^2}{1-\bar\alpha_t}.$$
#
# In the box, $x_t$ is multiplied by the root of this over $\sqrt{1-\bar\alpha_t}$, which is $\sqrt\alpha\,(1-\bar\alpha_s)/(1-\bar\alpha_t)$: exactly its coefficient in DDPM's posterior mean.
# Both means are right at the noiseless point $x_t=\sqrt{\bar\alpha_t}x_0$, so the coefficients of $x_0$ agree as well. Hence **DDPM is the member with $\sigma^2=\tilde\beta$**, and it is natural to measure all others by it:
#
# $$\boxed{\;\sigma(\eta)=\eta\,\sqrt{\frac{1-\bar\alpha_s}{1-\bar\alpha_t}}\sqrt{1-\frac{\bar\alpha_t}{\bar\alpha_s}}\;}\qquad\eta=1:\text{ DDPM},\quad\eta=0:\text{ no dice}\qquad\text{(equation 16)}$$
#
# Checked on the two functions themselves, with the same dice, for every stride:

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

# %% [markdown]
# ### 3.5 One training for the whole family
#
# To *generate*, we do not know $x_0$; we put the network's guess $\hat x_0$ into the box. How wrong is that step? Both the true step $q_\sigma(x_s|x_t,x_0)$ and ours $p(x_s|x_t)$ are Gaussians
# of the same variance $\sigma^2$, and their means differ only in $x_0$ against $\hat x_0$. The divergence of two such Gaussians is the squared distance of the means over $2\sigma^2$:
#
# $$\mathrm{KL}(q_\sigma\,\|\,p)=\gamma\,\|x_0-\hat x_0\|^2,\qquad \gamma=\frac1{2\sigma^2}\Big(\sqrt{\bar\alpha_s}-\sqrt{1-\bar\alpha_s-\sigma^2}\,\sqrt{\tfrac{\bar\alpha_t}{1-\bar\alpha_t}}\Big)^2 .$$
#
# So every member's bound is the *same* denoising error at each time, only weighted by another $\gamma>0$ (the paper's Theorem 1). A network that gets each time right is optimal for all weights at once: the best $\hat x_0$ is
# $\mathbb E[x_0|x_t]$ in any case. **The dial $\eta$ does not occur in training.** The formula against torch's own divergence:

# %% tags=["nbval-check-output"]
t, s, truth, guessed, x = 600, 300, torch.tensor(0.8), torch.tensor(0.3), torch.tensor([[0.4]])
at_t, at_s = schedule.alpha_bar[t], schedule.alpha_bar[s]
for eta in (0.2, 0.5, 1.0):
    variance = sigma_squared(t, s, eta)
    true_step, our_step = (
        torch.distributions.Normal(
            at_s.sqrt() * x0
            + (1 - at_s - variance).sqrt() * (x - at_t.sqrt() * x0) / (1 - at_t).sqrt(),
            variance.sqrt(),
        )
        for x0 in (truth, guessed)
    )
    gamma = at_s.sqrt() - (1 - at_s - variance).sqrt() * (at_t / (1 - at_t)).sqrt()
    gamma = gamma**2 / (2 * variance)
    divergence = torch.distributions.kl_divergence(true_step, our_step).item()
    print(
        f"eta {eta}   gamma {gamma:8.4f}   gamma times the error {gamma * (truth - guessed) ** 2:.5f}   KL {divergence:.5f}"
    )

# %% [markdown]
# The weight $\gamma$ grows without bound as $\eta\to 0$: without dice there is no noise left that could hide a wrong guess. At $\eta=0$ itself the bound says nothing; what justifies that member is that its marginals are right, and what it does, measured below.
#
# ### 3.6 Without dice: an ordinary differential equation
#
# Set $\eta=0$, and divide the step by $\sqrt{\bar\alpha_s}$. With $\bar x=x/\sqrt{\bar\alpha}$ and $\varsigma=\sqrt{(1-\bar\alpha)/\bar\alpha}$ (the noise in units of the signal),
#
# $$\bar x_s=\hat x_0+\varsigma_s\,\hat\varepsilon,\qquad\text{and by the definition of }\hat x_0\qquad \bar x_t=\hat x_0+\varsigma_t\,\hat\varepsilon .$$
#
# Subtract:
#
# $$\boxed{\;\bar x_s=\bar x_t+(\varsigma_s-\varsigma_t)\,\hat\varepsilon(x_t,t)\;}$$
#
# That is one step of Euler's method, the simplest solver there is, for the equation $d\bar x=\hat\varepsilon\,d\varsigma$ (equations 13 and 14 of the paper). There is an *exact* curve from each noise to its
# picture, and DDIM follows it with straight strides. So $x_T$ decides the picture; more steps only follow the curve more closely. The two forms of the step, side by side:

# %% tags=["nbval-check-output"]
x, worst = noise(500, 2, dtype=torch.float64), 0.0
for t, s in zip(times, times[1:]):
    pred, at_t, at_s = guess(x, t), schedule.alpha_bar[t], schedule.alpha_bar[s]
    step = ((1 - at_s) / at_s).sqrt() - ((1 - at_t) / at_t).sqrt()
    euler = at_s.sqrt() * (x / at_t.sqrt() + step * pred.eps)
    x = ddim(schedule, pred, x, t, s)
    worst = max(worst, (euler - x).abs().max().item())
print("ten steps of ddim are ten steps of Euler's method:", worst < 1e-10)

# %% [markdown]
# How wrong are long strides? Take the simplest data, one pixel from $\mathcal N(0, 0.5^2)$. There, $\hat\varepsilon=\varsigma\bar x/(0.25+\varsigma^2)$, and the equation can be solved: $\bar x\propto\sqrt{0.25+\varsigma^2}$. So the exact curve takes every
# $x_T$ to $x_0=g\,x_T$, with $g=0.5/\sqrt{1-0.75\,\bar\alpha_T}$. And the strides?

# %% tags=["nbval-check-output"]
pixel = GaussianMixture([[0.0]], std=0.5).denoiser(schedule)
exact = 0.5 / math.sqrt(1 - 0.75 * schedule.alpha_bar[T])
one = torch.ones(1, 1, dtype=torch.float64)
print(f"exact gain {exact:.5f}")
for steps in (5, 10, 20, 50, 100, 200, 500, 1000):
    gain = end(sample(pixel, one, schedule.timesteps(steps), step=ddim)).item()
    print(f"{steps:4} steps   gain {gain:.5f}   short by {exact - gain:.5f}")

# %% [markdown]
# Twice the steps, half the error: the mark of Euler's method. And the error has a sign: **too few steps make too little contrast**, since a straight stride runs past a curve that bends, and always to the same side. Remember it when you see pale samples.
#
# The curves themselves, in two dimensions, for data on a ring of six clusters. From the same eight noises: DDPM's walks, DDIM's curves in 500 steps, and what ten strides make of them.

# %%
turn = torch.arange(8) / 8 * 2 * math.pi + 0.3
starts = torch.stack([turn.cos(), turn.sin()], 1) * torch.tensor([2.2, 0.7]).repeat(4)[:, None]
panels = (("DDPM, 500 steps", 1.0, 500), ("DDIM, 500 steps", 0.0, 500), ("DDIM, 10 steps", 0.0, 10))
figure, axes = plots.subplots(1, 3, size=(10, 3.6), sharex=True, sharey=True)
for each, (name, eta, steps) in zip(axes, panels):
    step, way = partial(sampler.ddim, eta=eta), schedule.timesteps(steps)
    walk = sample(guess, starts, way, step=step, generator=seeded(2))
    paths = torch.stack([starts] + [state.x for state in walk])  # (steps + 1, 8, 2)
    each.scatter(*cloud.T, s=1, color="#BBBBBB")
    style = {"marker": "o", "markersize": 3} if steps == 10 else {}
    for k in range(8):
        width = 0.5 if eta else 1.5
        each.plot(*paths[:, k].T, linewidth=width, color=plots.COLORS[k], **style)
    each.plot(*starts.T, "k.", markersize=6, zorder=5)
    each.set(title=name, aspect="equal", xlim=(-3, 3), ylim=(-3, 3), xticks=[], yticks=[])
plots.show(
    figure,
    "Paths of eight noises towards a ring of six clusters: DDPM scribbles over the plane, DDIM draws eight short smooth curves, and ten long strides of DDIM land near the ends of the same curves.",
)

# %% [markdown]
# ## 4 · The real code
#
# This is the step, all of it. Compare it line by line with the two boxes: `pred.x0` and `pred.eps` are the two views of the one guess.

# %%
show_source(sampler.ddim)

# %% [markdown]
# Three remarks. A step takes the *pair* $(t, s)$: no $\beta$, no "previous $\bar\alpha$", and any falling list of times is a sampler. `alpha_bar[0] == 1`, so the last step returns $\hat x_0$ by itself, without an `if`. And with $\eta=0$, nothing demands that $s$ be the
# cleaner time: the same line also walks *up*, from a picture to its noise.

# %%
show_source(sampler.invert)

# %% [markdown]
# ## 5 · Play: what does the dial do?
#
# 300 noises, always the same, and always the same dice. Each dot wears the color of the *direction* in which it started, and keeps it. Turn $\eta$, and choose the number of steps. On the left seven of the walks, on the right where all the dots end.
# **Find out:** how much dice does it take to forget the start? Does walking in more, smaller steps help the memory?

# %%
crowd = noise(300, 2, seed=4)
hue = torch.atan2(crowd[:, 1], crowd[:, 0]) / (2 * math.pi) % 1  # (300,) where each dot starts
side = torch.cdist(crowd.double(), ring.means).argmin(1)  # (300,) the cluster on its side
frame = {"xlim": (-3, 3), "ylim": (-3, 3), "xticks": [], "yticks": [], "aspect": "equal"}


def walks(eta, steps):
    """All places of the 300 dots, (steps + 1, 300, 2), and the share that end on their own side."""
    step, way = partial(sampler.ddim, eta=eta), schedule.timesteps(steps)
    walk = sample(guess, crowd, way, step=step, generator=seeded(2))
    paths = torch.stack([crowd] + [state.x for state in walk])
    ends = torch.cdist(paths[-1].double(), ring.means).argmin(1)
    return paths, (ends == side).double().mean()


# %%
def turn_dial(figure, eta=0.0, steps=10):
    left, right = figure.subplots(1, 2, subplot_kw=frame)
    left.scatter(*cloud.T, s=1, color="#CCCCCC")
    left.scatter(*crowd[:7].T, s=25, color=plots.COLORS[:7])
    lines = [left.plot([], [], linewidth=1.2, color=color)[0] for color in plots.COLORS[:7]]
    dots = right.scatter(*crowd.T, s=14, c=hue, cmap="twilight_shifted", vmin=0, vmax=1)
    dots.set(edgecolor="#888888", linewidth=0.4)  # some of the colors are pale
    words = [each.set_title(" ") for each in (left, right)]

    def update(eta, steps):
        paths, kept = walks(eta, steps)
        paths = paths.numpy()  # of a tensor matplotlib looks into each point
        for k, line in enumerate(lines):
            line.set_data(*paths[:, k].T)
        dots.set_offsets(paths[-1])
        words[0].set_text(f"η = {eta:.2f} in {steps} steps")
        words[1].set_text(f"{kept:.0%} end on the side where they began")
        return [*lines, dots, *words]

    update(eta, steps)
    return update


widgets.Redraw(
    turn_dial,
    eta=(0.0, 1.0, 0.05),
    steps=[5, 10, 20, 50],
    labels={"eta": "η"},
    alt=lambda eta, steps: (
        f"Left: seven paths with eta {eta:.2f} in {steps} steps. Right: the ends of 300 paths in six clusters, colored by the direction of their start: at eta 0 each cluster has one color, at eta 1 all are mixed."
    ),
)

# %% [markdown]
# At $\eta=0$ every dot ends on its own side: the map from noise to data keeps neighbors together. A quarter of DDPM's dice already makes half of them forget; at $\eta=1$ one in six is on its side, which is chance. And more steps do not help, on the contrary: at $\eta=0.25$ they throw the dice more often.
#
# The same dial on the real network. Ten noises, ten pictures; from frame to frame only $\eta$ changes. At $\eta=0$ nothing is random but the start. As $\eta$ grows, the fresh noise takes over, and the start is forgotten: watch digits turn into other digits.

# %%
faces, dial = noise(10, 1, 16, 16, seed=5), [k / 10 for k in range(11)]
strips = {}
for steps in (10, 50):
    frames = []
    for eta in dial:
        step, way = partial(sampler.ddim, eta=eta), network.schedule.timesteps(steps)
        images = end(sample(network, faces, way, step=step, generator=seeded(6)))
        frames.append(plots.image_grid(images, columns=10, scale=4))
    strips[f"{steps} steps"] = frames
widgets.Filmstrip(
    strips,
    labels=[f"η = {eta:.1f}" for eta in dial],
    choose="sampler",
    title="One start, eleven etas",
    alt="Ten digits made from the same ten noises",
)

# %% [markdown]
# ## 6 · Train it: once
#
# In this lesson no new training is needed, and *that is the point of the paper*: DDIM is a way to sample, not a way to train. Let us watch that, from scratch. A small network learns the ring; the loss is lesson 03's. While it
# learns, we look at it through DDIM with 20 steps, a sampler that the training knows nothing about.


# %%
class SmallNet(nn.Module):
    """(x, t) -> noise, for points in the plane."""

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


def watch_training(figure, seen):
    left, right = figure.subplots(1, 2, width_ratios=[1.6, 1])
    losses = torch.tensor([step.loss for step in seen])
    smooth = losses[: len(losses) // 20 * 20].view(-1, 20).mean(1)
    left.plot(20 * torch.arange(len(smooth)), smooth)
    left.set(xlabel="step", ylabel="loss, mean of 20", title="Training knows no sampler")
    dots = end(sample(seen[-1].ema, crowd, schedule.timesteps(20), step=ddim))
    right.scatter(*dots.T, s=3, color=plots.BLUE)
    right.set(xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal", title="DDIM, 20 steps")


# %%
torch.manual_seed(0)
student, crowd = Denoiser(SmallNet(), schedule), noise(300, 2, seed=4)
learning = train(
    student, lambda g: ring.sample(256, g)[0].float(), steps=2000, lr=5e-3, ema=0.99, seed=0
)
seen = widgets.watch(
    learning,
    watch_training,
    every=50,
    alt="Left: the loss of the small network falls and levels out. Right: its samples by DDIM in 20 steps form a ring of six clusters.",
)
learned = seen[-1].ema

# %% [markdown]
# Trained once. Now the one network under six samplers; over each cloud the mean log-density under the true law (higher is better, the real dots set the mark).

# %%
real = ring.sample(2000, seeded(1))[0]
dots = {"real": real}
for steps in (10, 100):
    for name, step in (
        ("DDIM", ddim),
        ("η = 0.5", partial(sampler.ddim, eta=0.5)),
        ("DDPM σ̂", partial(sampler.ddpm, v=1.0)),
    ):
        way = schedule.timesteps(steps)
        dots[f"{name}, {steps}"] = end(
            sample(learned, noise(2000, 2, seed=7), way, step=step, generator=seeded(8))
        )
scores = {name: ring.log_prob(x.double()).mean().item() for name, x in dots.items()}
figure, axes = plots.subplots(1, len(dots), size=(10.5, 2.1))
for each, (name, x) in zip(axes, dots.items()):
    each.scatter(*x.T, s=0.6, color=plots.BLUE)
    each.set_title(f"{name}\n{scores[name]:+.2f}", fontsize=9)
    each.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), xticks=[], yticks=[], aspect="equal")
plots.show(
    figure,
    "Seven clouds: the real ring, and samples of one trained network by DDIM, eta 0.5 and DDPM with the large variance, in 10 and in 100 steps. In 10 steps DDPM is a blur, DDIM a ring.",
)
assert scores["DDIM, 10"] > scores["DDPM σ̂, 10"] and scores["DDIM, 100"] > scores["DDIM, 10"]

# %% [markdown]
# The order you see there, at ten steps and at a hundred, is the paper's main result. Now properly, with numbers.
#
# ## 7 · Measure
#
# The paper's Table 1: FID on CIFAR-10 (32 × 32, 50,000 samples; lower is better) of one network, trained with $T=1000$, sampled in $S$ steps. $\hat\sigma$ is DDPM with the larger variance
# $\hat\sigma^2=1-\bar\alpha_t/\bar\alpha_s$.

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
INK = dict(zip(PAPER, plots.COLORS))


def show_table(header, rows, width=10):
    print(f"{header[0]:10}" + "".join(f"{word:>{width}}" for word in header[1:]))
    for name, cells in rows.items():
        name += " " * name.count("\u0302")  # the hat of σ̂ takes no room
        print(f"{name:10}" + "".join(f"{cell:>{width}}" for cell in cells))


show_table(["FID, S ="] + [10, 20, 50, 100, 1000], PAPER)

# %% [markdown]
# ### 7.1 The sampler alone, exactly
#
# A table like this mixes two errors: the network's and the sampler's. Let us first see the sampler's alone, in a world where the network is perfect, and the law of the samples is known without drawing a single one:
# Gaussian data with the mean and covariance *of our digits*. Along each principal direction, of variance $\lambda$, the best guess is a straight line, $\hat x_0=g\,x_t$ with
# $g=\sqrt{\bar\alpha_t}\lambda/(\bar\alpha_t\lambda+1-\bar\alpha_t)$. So every step multiplies the variance of the samples by a number and adds $\sigma^2$, and we can carry the variance $v$ down to $t=0$.
# The Fréchet distance between the true and the sampled Gaussian is $\sum(\sqrt\lambda-\sqrt v)^2$, here divided by $\sum\lambda$.


# %%
def sampled_variance(variance, way, eta, large=False):
    """What the sampler makes of Gaussian data with these variances (D,), with a perfect network."""
    table, v = schedule.alpha_bar, torch.ones_like(variance)
    for t, s in zip(way, way[1:]):
        at_t, at_s, sigma2 = table[t], table[s], sigma_squared(t, s, eta)
        g = at_t.sqrt() * variance / (at_t * variance + 1 - at_t)
        noise_in = (1 - at_t.sqrt() * g) / (1 - at_t).sqrt()  # eps = noise_in * x_t
        factor = at_s.sqrt() * g + (1 - at_s - sigma2).clamp(min=0).sqrt() * noise_in
        added = (1 - at_t / at_s) * (s > 0) if large else sigma2
        v = factor**2 * v + added
    return v


# The same by the real sampler, as a check:
pixel, x = GaussianMixture([[0.0]], std=0.5), noise(20_000, 1, seed=9, dtype=torch.float64)
for large, step in ((False, SAMPLERS["η = 0.5"]), (True, SAMPLERS["σ̂"])):
    way = schedule.timesteps(20)
    v = end(sample(pixel.denoiser(schedule), x, way, step=step, generator=seeded())).var()
    law = sampled_variance(pixel.std**2, way, 1.0 if large else 0.5, large)
    print(f"one pixel, 20 steps: variance sampled {v:.4f}, carried {law.item():.4f}")
    assert abs(v / law - 1) < 6 * math.sqrt(2 / 20_000)

# %% tags=["nbval-check-output"]
spectrum = torch.linalg.eigvalsh(torch.cov(handwriting.flatten(1).double().T)).clamp(min=1e-9)
budgets, exact_table = (5, 10, 20, 50, 100, 1000), {}


def gaussian_distance(steps, eta, large=False, spaced=uniform_spacing):
    v = sampled_variance(spectrum, schedule.timesteps(steps, spaced), eta, large)
    return ((spectrum.sqrt() - v.sqrt()).square().sum() / spectrum.sum()).item()


for name in SAMPLERS:
    large = name == "σ̂"
    eta = 1.0 if large else float(name[4:])
    exact_table[name] = [gaussian_distance(steps, eta, large) for steps in budgets]
show_table(
    ["exact, S ="] + list(budgets),
    {name: [f"{each:.5f}" for each in row] for name, row in exact_table.items()},
)

# %% [markdown]
# No network, no image, no chance in it, and the whole story of Table 1 is there. Up to 20 steps the order is $\eta=0<0.2<0.5<1<\hat\sigma$. And at $S=T$ it turns around: with a thousand steps $\hat\sigma$ is the
# best of all, as it is in the paper (3.17). One difference is worth a thought: at 50 steps, our $\hat\sigma$ has already passed $\eta=1$. A perfect network repairs much of the excess noise in its next answer.
#
# ### 7.2 The real network
#
# Now lesson 03's network on digits, with two rulers. The first is Fréchet's distance in the features of the small classifier that ships with the course (`classifier-digits`; not the FID of the literature, whose features come from Inception). The second is the ruler
# of 7.1: the same distance in the 256 pixels themselves. Both are divided by the variance of the real data. Every sampler starts from the same noises. The floor is what as many *real* digits score. Before the long run, what does a picture cost?

# %%
images_per_second = []
for _ in range(3):
    began = time.perf_counter()
    end(sample(network, noise(128, 1, 16, 16), network.schedule.timesteps(5), step=ddim))
    images_per_second.append(128 * 5 / (time.perf_counter() - began))
rate = sorted(images_per_second)[1]
print(f"{rate:,.0f} pictures through the network in a second; so 1,000 digits take")
for steps in (5, 10, 20, 50, 1000):
    print(f"{steps:5} steps {1000 * steps / rate:8.1f} s")

# %% [markdown]
# The time grows with the number of steps and with nothing else; that is why the whole lesson is about steps.

# %%
N, SEEDS, STEPS = 400, 2, (5, 10, 20)
classifier = zoo.load("classifier-digits")


def both_views(images):
    """Features (N, D) and pixels (N, 256) of a set of pictures."""
    return metrics.see(classifier, images).features, images.flatten(1)


real = both_views(handwriting)


def distances(step, way):
    """Fréchet distances of N samples in features and in pixels, once for each seed: (SEEDS, 2)."""
    rows = []
    for seed in range(SEEDS):
        start = noise(N, 1, 16, 16, seed=seed)
        images = end(sample(network, start, way, step=step, generator=seeded(100 + seed)))
        rows.append([metrics.frechet_distance(*pair) for pair in zip(real, both_views(images))])
    return torch.tensor(rows)


# %%
floor = []
for seed in range(5):
    pick = torch.randperm(len(handwriting), generator=seeded(seed))[:N]
    some = both_views(handwriting[pick])
    floor.append([metrics.frechet_distance(*pair) for pair in zip(real, some)])
floor = torch.tensor(floor)  # (5, 2)
ours = {
    name: [distances(step, network.schedule.timesteps(steps)) for steps in STEPS]
    for name, step in SAMPLERS.items()
}

# %%
for ruler, title in enumerate(("classifier-digits", "pixels")):
    cells = {
        name: [f"{each[:, ruler].mean():.4f} ±{each[:, ruler].std():.4f}" for each in row]
        for name, row in ours.items()
    }
    show_table([title[:10]] + [f"S = {steps}" for steps in STEPS], cells, width=16)
    low, spread = floor[:, ruler].mean(), floor[:, ruler].std()
    print(f"in {title} ({real[ruler].shape[1]} values), floor {low:.4f} ±{spread:.4f}\n")
print(f"N = {N} samples, {SEEDS} seeds (floor: 5), mean ± sd, against all 1,797 digits")
features = {name: torch.stack(row)[..., 0] for name, row in ours.items()}  # (S, SEEDS)
few = {name: each[:2].mean() for name, each in features.items()}  # over 5 and 10 steps
assert (few["η = 0"] + few["η = 0.2"] + few["η = 0.5"]) / 3 < few["σ̂"]
assert all(each[0].mean() > each[2].mean() for each in features.values())

# %%
figure, (left, right) = plots.subplots(1, 2, size=(10, 3.6))
for name in SAMPLERS:
    left.plot((10, 20, 50, 100, 1000), PAPER[name], "o-", label=name, color=INK[name])
    means, sds = features[name].mean(1), features[name].std(1)
    right.errorbar(STEPS, means, sds, fmt="o-", color=INK[name], capsize=3)
right.axhline(floor[:, 0].mean(), color="#666666", linestyle=":")
right.annotate("floor: real digits", (5, floor[:, 0].mean()), va="bottom")
left.set(title="The paper, CIFAR-10", xlabel="steps S", ylabel="FID", xscale="log", yscale="log")
right.set(
    title="Ours, digits, classifier",
    xlabel="steps S",
    ylabel="Fréchet distance",
    xscale="log",
    yscale="log",
)
right.set_xticks(STEPS, STEPS)
right.minorticks_off()
left.legend()
plots.show(
    figure,
    "Distance against steps for eta 0, 0.2, 0.5, 1 and the large variance, the paper's table on the left, ours on the right. In both all curves fall, and with few steps the large variance lies highest; ours are far closer together, with wide error bars.",
)

# %% [markdown]
# Read it with the sd and the floor in mind. **What stands out of the noise:** five steps are far from the floor for every sampler, twenty are near it. With few steps $\hat\sigma$ stands last in features, and $\eta=1$ stands behind $\eta=0$ in pixels, as in the paper, but by not much more than the sd. **What does not:** between
# $\eta=0$, 0.2 and 0.5 the differences are smaller than their sd. The paper's 50,000 pictures can order those, and so can the exact table above; our 400 cannot, and we do not claim it. **What is different:** in pixels $\hat\sigma$ is no worse than the others, and with five steps it is the best. Few steps lack contrast (3.6), too much noise
# adds contrast, and a ruler that only knows variances lets one error pay for the other. A distance says as much as its ruler.
#
# Why is $\hat\sigma$ so much less terrible here than in the paper? Follow the walk to its last stride, from $t = 1$ to 0. At $t=1$ the picture should hold noise of standard deviation $\sqrt{1-\bar\alpha_1}$ and no more. What does it hold?

# %%
allowed, way = (1 - network.schedule.alpha_bar[1]).sqrt(), network.schedule.timesteps(10)
print(f"allowed at t = 1: {allowed:.4f}")
for name in ("η = 0", "η = 1", "σ̂"):
    walk = list(
        sample(network, noise(100, 1, 16, 16), way, step=SAMPLERS[name], generator=seeded())
    )
    before, final = walk[-2].x, walk[-1].x  # x at t = 1, and the picture
    print(f"{name}: {(before - final).std():.3f} before the last stride")

# %% [markdown]
# More than twenty times as much as it may: $\hat\sigma$ arrives grainy, just as the paper says. (The others show no more than the network's own error.) But the last stride returns the network's guess, and our network, which was trained to guess the *picture*, wipes most of the grain away. The paper's network predicts $\varepsilon$: at $t=1$ it takes away a noise
# of 0.01, and the grain stays in the picture. So we read the 367 of Table 1.
#
# ### 7.3 One noise, many budgets
#
# If $x_T$ decides the picture, then ten steps and two hundred steps must give the *same* picture. Each column starts from one noise:

# %%
start = noise(8, 1, 16, 16, seed=3)
by_steps = {
    steps: end(sample(network, start, network.schedule.timesteps(steps), step=ddim))
    for steps in (5, 10, 20, 50, 200)
}
rows = {f"DDIM, {steps} steps": images for steps, images in by_steps.items()}
for seed in (1, 2):
    way = network.schedule.timesteps(50)
    rows[f"η = 1, 50 steps, seed {seed}"] = end(
        sample(network, start, way, step=SAMPLERS["η = 1"], generator=seeded(seed))
    )
plots.show(
    plots.image_grid(torch.cat(list(rows.values())), columns=8, rows=list(rows)),
    "Eight columns, one noise each. DDIM in 5, 10, 20, 50 and 200 steps gives the same digit in each column, ever crisper; with eta = 1 the same noise gives two different digits.",
)
final = by_steps[200]
apart = (final[:, None] - final).square().mean((2, 3, 4))
apart = apart.sum() / (8 * 7)  # between two different noises
for steps in (5, 10, 20, 50):
    off = (by_steps[steps] - final).square().mean() / apart
    print(f"{steps:3} steps: {off:6.1%} of the distance between two different digits")

# %% [markdown]
# The noise is a *code* for the picture. With dice ($\eta=1$) it is not: the same start gives another digit whenever the dice fall otherwise. The next two sections use the code, in both directions.
#
# ### 7.4 From the picture to its noise
#
# An ordinary differential equation can be solved in both directions. Walk *up* a list of times (`sampler.invert`), then down the same list: do we get the picture back? The paper's Table 2 measures it on CIFAR-10, as the mean squared error per
# value with pictures in $[0, 1]$. Beside it, our network on 60 digits, and an exact network on two peaks at ±0.7.
#
# Where does the way up begin? At $t=1$ the noise is $\sqrt{1-\bar\alpha_1}=0.006$. Our network guesses $\hat x_0$, and no network guesses every value to 0.006. Read as noise, its small error becomes a huge $\hat\varepsilon=(x-\sqrt{\bar\alpha}\hat x_0)/\sqrt{1-\bar\alpha}$. We look first:

# %%
originals = handwriting[::30]  # (60, 1, 16, 16)
with torch.no_grad():
    for t in (1, 5, 25, 100):
        pred, level = trained(originals, t), (1 - trained.schedule.alpha_bar[t]).sqrt()
        off = (pred.x0 - originals).std()
        print(
            f"t = {t:3}   noise {level:.4f}   error of the guess {off:.4f}   as noise {pred.eps.std():.2f}"
        )

# %% [markdown]
# From $t=25$ on, the error is about as small as the noise, so that is where our list begins: $S$ strides between 0, 25 and $T$. The clean picture stands for $x_{25}$.

# %%
PAPER_2 = {10: 0.014, 20: 0.0065, 50: 0.0023, 100: 0.0009, 200: 0.0004, 500: 0.0001, 1000: 0.0001}
pair = GaussianMixture([[-0.7], [0.7]], std=0.1).denoiser(schedule)
points = pair.mixture.sample(500, seeded())[0]
codes, returned, errors = {}, {}, {}


def there_and_back(denoise, x, way):
    code = end(sampler.invert(denoise, x, way))
    return code, end(sample(denoise, code, way, step=ddim))


print("steps   paper, CIFAR-10   our digits   two peaks, exact")
for steps, paper in PAPER_2.items():
    _, back = there_and_back(pair, points, schedule.timesteps(steps))
    if steps <= 100:
        way = [24 + t for t in uniform_spacing(T - 24, steps)][:-1] + [0]  # T, …, 25, 0
        codes[steps], returned[steps] = there_and_back(trained, originals, way)
        errors[steps] = (returned[steps] - originals).square().mean().item() / 4  # in [0, 1]
    ours_too = f"{errors[steps]:.5f}" if steps in errors else "-"
    print(f"{steps:5} {paper:17} {ours_too:>12} {(back - points).square().mean():18.7f}")
assert errors[10] > errors[20] > errors[50] > errors[100]

# %%
pictures = {
    "original": originals[:10],
    "its noise": codes[100][:10] / 2.5,
    "back, 10 steps": returned[10][:10],
    "back, 20 steps": returned[20][:10],
    "back, 100 steps": returned[100][:10],
}
plots.show(
    plots.image_grid(torch.cat(list(pictures.values())), columns=10, rows=list(pictures)),
    "Ten real digits, the noise that inversion finds for each, and what the way down makes of that noise with 10, 20 and 100 steps: with 10 steps some digits are distorted, with 100 they are the originals.",
)
code = codes[100]
print(f"the codes: mean {code.mean():+.2f}, standard deviation {code.std():.2f} (noise: 0 and 1)")

# %% [markdown]
# The error falls with $S$, as in the paper, until the network's own last guess sets the limit. The codes look like noise, only a little too faint: a clean picture has no noise at $t=25$, and the way up does not invent any.
#
# Two honest remarks. The way up asks the network about the *lower* end of each stride, the way down about the upper end; that is the whole error, so it falls with the length of the strides. And no clipping here: what is cut off on the way up cannot be put back on the way down, so this section uses `trained`, not `network`.
#
# ### 7.5 Between two noises
#
# If noise is a code, what lies between two codes? The straight line, $(1-a)z_1+a z_2$, is the obvious way. *Before you run it:* $z_1$ and $z_2$ are standard normal in 256 dimensions. What is the standard deviation of the entries halfway?

# %%
shares = torch.linspace(0, 1, 41).tolist()
z1, z2 = noise(20, 1, 16, 16, seed=11), noise(20, 1, 16, 16, seed=12)
figure, axes = plots.subplots(size=(8, 3))
for way, color in ((interpolate.lerp, plots.VERMILLION), (interpolate.slerp, plots.BLUE)):
    lengths = [way(z1, z2, a).flatten(1).norm(dim=1) for a in shares]
    axes.plot(shares, torch.stack(lengths), color=color, linewidth=1, label=way.__name__)
axes.axhspan(16 - 2 * 0.71, 16 + 2 * 0.71, color="#DDDDDD", label="95 % of all noise")
handles = dict(zip(*axes.get_legend_handles_labels()[::-1]))
axes.legend(handles.values(), handles.keys(), loc="lower left")
axes.set(
    xlabel="share a",
    ylabel="length of the code",
    title="The chord leaves the shell of noise, the arc stays in it",
)
plots.show(
    figure,
    "Length of the interpolated code against the share for 20 pairs: along the straight line it falls from 16 to about 11.3 halfway, along the arc it stays within the gray band where 95 percent of all noise lies.",
)

# %% [markdown]
# Independent variances add: $\tfrac14+\tfrac14=\tfrac12$. So halfway the entries have a standard deviation of 0.71, and the length falls from $\sqrt{256}=16$ to 11.3. In 256 dimensions no noise is ever that short: almost all of it lies in a thin shell of radius $\sqrt d$. The
# network has never seen such an $x_T$. The remedy is to walk along the shell, on the arc between the two: *spherical* interpolation, slerp.

# %%
show_source(interpolate.slerp, docstring=False)

# %%
shares, way = [k / 8 for k in range(9)], network.schedule.timesteps(50)
between, names = [], []
for k in (0, 3):
    for path in (interpolate.slerp, interpolate.lerp):
        between += [path(z1[k : k + 1], z2[k : k + 1], a) for a in shares]
        names.append(path.__name__)
images = end(sample(network, torch.cat(between), way, step=ddim))
plots.show(
    plots.image_grid(images, columns=9, rows=names, titles=[f"{k}/8" for k in range(9)]),
    "Two pairs of digits and the way between them, along the arc and along the straight line: nearly all pictures are digits, and the two ways differ little.",
)

# %% [markdown]
# Do the pictures show it? Honestly: hardly. A length of 0.7 is not far enough off for this network; it guesses the *picture*, and forgives a code that is somewhat short. In the Gaussian world of 7.1 the map from noise to picture is a straight line, and the chord would cost half of the variance. What does it
# cost here? And what if we go further, as an average of *many* noises would, whose length falls like $1/\sqrt n$?

# %%
z1, z2 = noise(150, 1, 16, 16, seed=13), noise(150, 1, 16, 16, seed=14)
quick = network.schedule.timesteps(10)
codes_at = {
    "ends": z1,
    "slerp, halfway": interpolate.slerp(z1, z2, 0.5),
    "lerp, halfway": interpolate.lerp(z1, z2, 0.5),
    "mean of 30 noises": z1.view(5, 30, 1, 16, 16).mean(1),
}
for name, code in codes_at.items():
    images = end(sample(network, code, quick, step=ddim))
    length = code.flatten(1).norm(dim=1).mean()
    print(f"{name:18} length {length:5.1f}   variance of the pictures {images.var(0).sum():5.1f}")

# %%
lengths = (0.05, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0)
scaled = torch.cat([factor * z1[k : k + 1] for k in (0, 3, 5) for factor in lengths])
images = end(sample(network, scaled, way, step=ddim))
plots.show(
    plots.image_grid(images, columns=len(lengths), titles=[f"× {factor:g}" for factor in lengths]),
    "Three noises, each scaled by eight factors from 0.05 to 3 before sampling: very short codes all give much the same rounded digit, codes of the right length give three different digits, codes three times too long give overdrawn strokes.",
)

# %% [markdown]
# Halfway on the chord a tenth of the variety is gone, in the mean of thirty noises half of it. The rows show where it goes: the shorter the code, the more all pictures become the same one, a rounded eight, the digit in the middle of all digits. Codes that are too long are overdrawn. So the arc is the right way, and the reason is worth more than the effect on these small digits: **a sampler may only be given what the training could have produced.**
#
# ### 7.6 Which times to visit
#
# Twenty steps: which twenty of the thousand times? `labkit.schedule` has three answers. Where the dots lie dense, the strides are short.

# %%
show_source(uniform_spacing, quadratic_spacing, trailing_spacing)

# %%
figure, axes = plots.subplots(size=(9, 1.9))
for height, spaced in enumerate((trailing_spacing, quadratic_spacing, uniform_spacing)):
    axes.plot(spaced(T, 20), [height] * 21, "|", markersize=16, markeredgewidth=2)
axes.set_yticks(range(3), ["trailing", "quadratic", "uniform"])
axes.set(xlabel="time t", ylim=(-0.6, 2.6), title="Twenty steps, three spacings")
plots.show(
    figure,
    "The 21 times of three spacings: uniform and trailing lie evenly, quadratic is dense near 0 and thin near 1000.",
)

# %%
STEPS_2 = (5, 10, 20, 50)
for name, eta in (("exact, η = 0", 0.0), ("exact, η = 1", 1.0)):
    rows = {
        spaced.__name__.removesuffix("_spacing"): [
            f"{gaussian_distance(steps, eta, spaced=spaced):.5f}" for steps in STEPS_2
        ]
        for spaced in (uniform_spacing, quadratic_spacing, trailing_spacing)
    }
    show_table([f"{name[7:]}, S ="] + list(STEPS_2), rows)
found = {"uniform": ours["η = 0"][1]}  # measured above
for spaced in (quadratic_spacing, trailing_spacing):
    found[spaced.__name__.removesuffix("_spacing")] = distances(
        ddim, network.schedule.timesteps(10, spaced)
    )
for name, each in found.items():
    cells = "   ".join(f"{mean:.4f} ±{sd:.4f}" for mean, sd in zip(each.mean(0), each.std(0)))
    print(f"digits, η = 0, 10 steps, {name:10} features and pixels: {cells}")

# %% [markdown]
# Where the law is known exactly, quadratic spacing wins at $\eta=0$ from ten steps on, and trailing at five: with the linear schedule most of the curve bends near the picture, so that is where short strides belong. (The paper used quadratic spacing for CIFAR-10.) On the digits, whose network has the *cosine* schedule, quadratic is the
# worst: that schedule already spends its time near the picture, and doing it twice starves the rest. There is no best spacing, only one for each schedule; where you change one, measure the other again.
#
# ## 8 · Break it
#
# Six classics, each a single line. Learn their faces.


# %%
def with_mistake(mistake):
    """A step of DDIM, or of DDPM for the first, with one line wrong."""

    def step(schedule, pred, x, t, s, generator=None):
        at_t, at_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
        if (
            mistake == "β_t for the ratio"
        ):  # the formula of lesson 03, with the table of single steps
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
start, way = noise(8, 1, 16, 16, seed=3), network.schedule.timesteps(20)
broken = {"right": end(sample(network, start, way, step=ddim))}
for mistake in ("β_t for the ratio", "ᾱ of t − 1", "σ̂ in the direction", "last ᾱ is ᾱ_1"):
    broken[mistake] = end(
        sample(network, start, way, step=with_mistake(mistake), generator=seeded())
    )
plots.show(
    plots.image_grid(torch.cat(list(broken.values())), columns=8, rows=list(broken)),
    "Five rows of digits. Right: clean. Beta for the ratio, and alpha-bar of t minus 1: gray blotches. Sigma-hat in the direction: not a number anywhere, painted in red. Last alpha-bar wrong: looks right.",
)
left_over = (broken["last ᾱ is ᾱ_1"] - broken["right"]).std()
print(
    f"last ᾱ is ᾱ_1: differs from the right one by {left_over:.4f} (√(1−ᾱ_1) = {(1 - network.schedule.alpha_bar[1]).sqrt():.4f})"
)

# %% [markdown]
# - **β_t for the ratio**, and **ᾱ of t − 1**: one cause, one face. The strides are fifty times longer than the noise that they take away, so the picture is still nearly pure noise when the network is told that it is clean. A network that predicts $\varepsilon$ would leave the noise standing; ours
#   makes blotches of it.
# - **σ̂ in the direction**: for long strides $\hat\sigma^2 > 1-\bar\alpha_s$, and the root of a negative number is not a number. `image_grid` paints it red, so that it cannot hide.
# - **last ᾱ is ᾱ_1**: the treacherous one. Nothing to see, nothing that a distance notices: $\sqrt{1-\bar\alpha_1}\,\hat\varepsilon$ stays behind; the root is 0.006 here, and 0.03 in the schedule of latent diffusion, whose published code returns just this. A *test* finds it: the last step must return $\hat x_0$, exactly.
#
# The fifth: somebody changes $\hat x_0$ and keeps the old $\hat\varepsilon$. With the usual clipping to $[-1, 1]$, our well-behaved network hides it. So we clip harder, at ±0.6, and stretch the result for display. `MapX0` derives $\hat\varepsilon$ anew:


# %%
def harder(x0):
    return x0.clamp(-0.6, 0.6)


def keeps_eps(schedule, pred, x, t, s, generator=None):
    return sampler.ddim(schedule, Prediction(harder(pred.x0), pred.eps), x, t, s)


rows = {
    "ε derived anew": end(sample(MapX0(trained, harder), start, way, step=ddim)),
    "ε kept": end(sample(trained, start, way, step=keeps_eps)),
}
plots.show(
    plots.image_grid(torch.cat(list(rows.values())) / 0.6, columns=8, rows=list(rows)),
    "Eight digits whose guess was clipped at 0.6 in every step. With the noise derived anew they are digits in hard black and white; with the old noise kept, most fall apart into pieces.",
)

# %% [markdown]
# With the old $\hat\varepsilon$, $x_s$ is *neither* picture at the right level of noise; the error adds up over the steps. Guidance (lesson 06) pushes $\hat x_0$ far out of range, and then this mistake ruins everything.
#
# The sixth is in the interpolation. An arc belongs to *whole* vectors. Whoever computes the angle along one axis (`torch.cosine_similarity` takes axis 1, the channels, if not told otherwise) turns each small piece on its own. Over rows of 16 values, and over single values, on one gray channel:

# %%
z1, z2, shares = noise(1, 256, seed=11), noise(1, 256, seed=12), [k / 8 for k in range(9)]
pieces = {"whole picture": (1, 256), "each row": (16, 16), "each pixel": (256, 1)}


def unguarded_slerp(z1, z2, a):
    """The formula alone; labkit's own refuses rows that point in opposite ways."""
    angle = nn.functional.cosine_similarity(z1.double(), z2.double()).clamp(-1, 1).arccos()[:, None]
    arc = (torch.sin((1 - a) * angle) * z1 + torch.sin(a * angle) * z2) / torch.sin(angle)
    return torch.where(angle > 0, arc, (1 - a) * z1 + a * z2).float()


rows, lengths = [], {}
for name, shape in pieces.items():
    cut = [z.reshape(shape) for z in (z1, z2)]
    arc = torch.cat([unguarded_slerp(*cut, a).view(1, 1, 16, 16) for a in shares])
    lengths[name] = arc[4].norm().item()
    rows.append(end(sample(network, arc, way, step=ddim)))
labels = [f"{name}, {lengths[name]:.3g}" for name in pieces]
plots.show(
    plots.image_grid(torch.cat(rows), columns=9, rows=labels, titles=[f"{k}/8" for k in range(9)]),
    "The way between two digits where the angle is taken over the whole picture, over each row, and over each pixel; beside it the length of the code halfway. Whole picture and rows look alike; with single pixels everything between the ends is noise.",
)

# %% [markdown]
# Beside each row stands the length of the code halfway; 16 is right. In the last row, two numbers of the same sign have no arc at all, and two of opposite sign are half a turn apart, where $1/\sin\theta$ explodes. In the middle row there is *nothing to see*: sixteen
# values are already a long vector, and its arc is nearly right. That is the treacherous kind of mistake: on color pictures with three large channels, the angle per channel looks fine as well.
#
# ## 9 · Exercises
#
# Write your function where it says `...`, run the cell, then the check below it. A check draws fresh inputs each time, compares with labkit, and if it knows your mistake, it says its name. Hints and solutions are folded; a
# solution runs the same check as you.
#
# ### 9.1 How much dice? ● 5 minutes
#
# Write $\sigma(\eta)$ of the box in 3.4, for two numbers $\bar\alpha_t$ and $\bar\alpha_s$ ($s$ is the cleaner time) and `eta`. Everything that the family has to choose is in this line.


# %%
def sigma(alpha_bar_t, alpha_bar_s, eta): ...


# %%
checks.sigma(sigma)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `math.sqrt` takes the root of a number. Try $\bar\alpha_t=\bar\alpha_s$: a step of no length must have no noise.
#
# </details>
#
# The solution is folded in the next cell: click on the three dots.

# %% jupyter={"source_hidden": true}
# Solution 1


def solution_1(alpha_bar_t, alpha_bar_s, eta):
    left = (1 - alpha_bar_s) / (1 - alpha_bar_t)
    return eta * math.sqrt(left) * math.sqrt(1 - alpha_bar_t / alpha_bar_s)


checks.sigma(solution_1).require()

# %% [markdown]
# ### 9.2 The DDIM step ●● 20 minutes
#
# *The* exercise. Write one step of the family, from `x` at time `t` to time `s`. You get the schedule (`schedule.alpha_bar[t]` is a float64 number), the network's guess (`pred.x0` and `pred.eps`), a generator for the fresh noise, and
# `eta`. Return $x_s$ in the shape and dtype of `x`. When it passes, you can give it to `sample` like labkit's own, and you will.


# %%
def ddim_step(schedule, pred, x, t, s, generator=None, eta=0.0): ...


# %%
checks.ddim_step(ddim_step)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The box of 3.2, with $\hat x_0$ for $x_0$ and $\hat\varepsilon$ for the fraction. At $\eta=1$ and $s=0$ the radicand is zero but for rounding, which may make it negative: `max(..., 0)`. The fresh noise is
# `torch.randn(x.shape, generator=generator, dtype=x.dtype)`. `.item()` turns a table's entry into a plain number, and plain numbers leave the dtype of a tensor alone.
#
# </details>

# %% jupyter={"source_hidden": true}
# Solution 2


def solution_2(schedule, pred, x, t, s, generator=None, eta=0.0):
    at_t, at_s = schedule.alpha_bar[t].item(), schedule.alpha_bar[s].item()
    std = solution_1(at_t, at_s, eta)
    direction = math.sqrt(max(1 - at_s - std**2, 0))
    fresh = torch.randn(x.shape, generator=generator, dtype=x.dtype)
    return math.sqrt(at_s) * pred.x0 + direction * pred.eps + std * fresh


checks.ddim_step(solution_2).require()

# %% [markdown]
# A step is a plain function, so yours plugs in where labkit's did. Put your name in the place of `solution_2`:

# %%
start = noise(10, 1, 16, 16, seed=8)
plots.show(
    plots.image_grid(end(sample(network, start, network.schedule.timesteps(20), step=solution_2))),
    "Ten digits, sampled in twenty steps with the step written in the exercise.",
)

# %% [markdown]
# ### 9.3 Which times? ● 10 minutes
#
# Write the list of times with equal strides: $n$ steps, so $n+1$ times $i\,T/n$, rounded to whole numbers, falling from $T$ to 0. A famous one-liner, `range(0, T, T // n)`, takes more than $n$ steps whenever $n$ does not divide $T$. Yours must not.


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
# Write the deterministic step in the coordinates of section 3.6: turn $x_t$ into $\bar x_t$, take one Euler step along $\varsigma$ with slope $\hat\varepsilon$, and come back to $x_s$. Nothing new happens; but in this form you can replace Euler by any
# better solver from a textbook of numerical analysis, which is where the fast samplers after DDIM come from.


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
# `z.flatten(1)` makes (B, D) of (B, C, H, W); `.norm(dim=1)` are the lengths. `angle[:, None, None, None]` has the shape (B, 1, 1, 1), which multiplies pictures.
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
# Write inversion as a loop. You get a denoiser (`denoise(x, t)` gives `x0` and `eps`; its `.schedule` has `signal(t, x)` and `noise(t, x)`, the two factors of the jump), clean data `x0` and the falling list of times that sampling would walk. Return the noise at `times[0]`. The clean
# picture stands for $x$ at the smallest time above 0.
#
# Then use it: invert two of *your favorite* digits, walk the arc between their codes with `slerp`, and sample what lies between. Is a three and a half a picture?


# %%
def encode(denoise, x0, times): ...


# %%
checks.encode(encode)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Drop the 0 and turn the list around: `rising = [t for t in times if t > 0][::-1]`. In each step from `t` up to `u`, ask about the time where $x$ *is*. Then it is the DDIM step with $\eta=0$: $x_u=\sqrt{\bar\alpha_u}\,\hat x_0+\sqrt{1-\bar\alpha_u}\,\hat\varepsilon$.
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
# And the second half, with a three and an eight:

# %% jupyter={"source_hidden": true}
labels = digits.load(16)[1]
way = [24 + t for t in uniform_spacing(T - 24, 50)][:-1] + [0]  # as in 7.4
pairs = [handwriting[labels == k][:2] for k in (3, 8)]
with torch.no_grad():
    three, eight = (solution_6(trained, pair, way) for pair in pairs)
arc = torch.cat([solution_5(three[:1], eight[:1], k / 8) for k in range(9)])
images = end(sample(network, arc, way, step=ddim))
images = torch.cat([pairs[0][:1], images, pairs[1][:1]])
titles = ["the three", *[f"{k}/8" for k in range(9)], "the eight"]
plots.show(
    plots.image_grid(images, columns=11, titles=titles),
    "A real three, nine pictures along the arc between its code and that of a real eight, and the eight: the ends give the two originals back, between them one shape turns into the other.",
)

# %% [markdown]
# ## 10 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why does DDIM not need a training of its own?",
    {
        "Because it is only an approximation of DDPM": "It approximates nothing of DDPM's: it is another process, with exactly the same marginals.",
        "Because the loss only sees single times, and all members of the family agree there": "The loss draws x_t from q(x_t|x_0). How x_t and x_s hang together never occurs in it.",
        "Because the network is told the number of steps": "It is told t, and nothing else. It does not know which times come before or after.",
    },
    answer="Because the loss only sees single times, and all members of the family agree there",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You sample twice from the same $x_T$, first with η = 0 in 20 and 50 steps, then with η = 1 in 20 and 50 steps. Which two pictures show the same thing?",
    {
        "The two with η = 0": "Both follow the same curve, only in shorter or longer strides. The noise decides the picture.",
        "The two with 20 steps": "The number of steps says how closely the curve is followed; without new noise there is a curve, with it there is none.",
        "All four: they share x_T": "With η = 1 fresh noise comes in at every step, and it decides as much as the start.",
    },
    answer="The two with η = 0",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why is $\\hat\\sigma$ so bad in 10 steps, and so good in 1,000?",
    {
        "It has too little noise for long steps": "It has too much: σ̂ is larger than the posterior's own σ at every stride.",
        "Its mean is wrong for long steps": "It uses the same mean as η = 1, only the noise on top is larger.",
        "It puts more noise into x_s than its time allows; for short steps the excess vanishes": "The factor (1−ᾱ_s)/(1−ᾱ_t) that it leaves out goes to 1 as s comes near t. For long strides it does not, and x_s is noisier than the network was told.",
    },
    answer="It puts more noise into x_s than its time allows; for short steps the excess vanishes",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You change $\\hat x_0$ (by clipping, say) before the step. What else must change?",
    {
        "Nothing: the noise is the network's own answer": "Then the step walks towards one picture along the noise of another, and x_s has the wrong size.",
        "ε̂, derived anew from x_t and the changed guess": "Both views must describe the same x_t. labkit's MapX0 does it for you.",
        "σ, since the variance has shrunk": "σ depends on the two times and η, not on the picture.",
    },
    answer="ε̂, derived anew from x_t and the changed guess",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Inversion with 20 steps gives back a blurred, slightly wrong picture. What helps most?",
    {
        "More steps": "Up and down ask the network at different ends of each stride. The shorter the stride, the less they disagree.",
        "η = 1 on the way down": "Fresh noise destroys what the code said.",
        "Clipping on the way up": "What is cut off on the way up is lost; the way down cannot put it back.",
    },
    answer="More steps",
)

# %% [markdown]
# ## 11 · Recap
#
# - Training sees marginals only. So there is a **family** of processes for one network: $x_s=\sqrt{\bar\alpha_s}\,\hat x_0+\sqrt{1-\bar\alpha_s-\sigma^2}\,\hat\varepsilon+\sigma z$.
# - $\eta=1$ is DDPM, over a stride of any length. $\eta=0$ throws no dice: Euler's method on an ordinary differential equation.
# - With few steps, fewer dice are better; with all steps, DDPM's larger variance is. Few steps cost contrast.
# - Without dice the noise is a code: same noise, same picture; pictures can be inverted, and joined along arcs.
# - Keep in step: $\bar\alpha$ of $s$, never of $t-1$; ratios, never $\beta$; $\hat\varepsilon$ derived anew when $\hat x_0$ is changed; $\bar\alpha_0=1$ at the end.
#
# **What is still missing.** We get *a* digit, never *the* digit we want. Lesson 05 takes this very step and bends $\hat\varepsilon$ with the gradient of a classifier. Keep the pair (`x0`, `eps`) in mind: it is why steering DDIM and steering DDPM are two different algorithms there.
#
# **References**
# - J. Song, C. Meng, S. Ermon: *Denoising Diffusion Implicit Models*, ICLR 2021. Equations 7, 12, 13, 14, 16; tables 1 and 2.
# - J. Ho, A. Jain, P. Abbeel: *Denoising Diffusion Probabilistic Models*, NeurIPS 2020.
# - A. Nichol, P. Dhariwal: *Improved Denoising Diffusion Probabilistic Models*, ICML 2021. Section 4: strides.
# - S. Lin, B. Liu, J. Li, X. Yang: *Common Diffusion Noise Schedules and Sample Steps Are Flawed*, WACV 2024. Table 2: spacings.
