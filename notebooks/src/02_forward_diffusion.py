# %% [markdown]
# # 02 · Forward diffusion: from a picture to noise, step by step
#
# **The question.** A model that turns noise into pictures needs examples of both. Turning a picture into noise is easy: add a little noise, again and again. How much noise per step? Can one jump replace all steps?
#
# **Afterwards you can**
# - add noise to any picture in one jump, and prove that this has the same distribution as $t$ small steps;
# - read a noise schedule: what it keeps, what it destroys, and when;
# - recognize a bad schedule by its pictures, and correct it;
# - say what the reverse process needs besides the schedule.
#
# **Before it:** a little torch, and the Gaussian chain at the end of lesson 01.
#
# **Time:** 45 minutes to read and play, 80 more for all exercises; about 40 seconds to run.
#
# **On the map:** 01 Markov chains → **02 forward diffusion** → 03 DDPM, where a network learns the reverse process.

# %%
import math
from functools import partial

import torch
from torch import nn
from torch.nn.functional import avg_pool2d

from labkit import schedule
from labkit.data import digits, photos
from labkit.denoiser import Denoiser
from labkit.lab import checks, forward_plot, plots, quiz, show_source, widgets
from labkit.lab.forward_plot import film, mean_sd, normal, scatter, show_picture
from labkit.mixture import GaussianMixture
from labkit.sampler import ddim, ddpm, sample
from labkit.schedule import NoiseSchedule

plots.use_style()
torch.manual_seed(0)
NAMES = ("linear", "cosine", "sigmoid", "scaled_linear")
schedules = {name: schedule.by_name(name) for name in NAMES}
linear, T = schedules["linear"], 1000

# %% [markdown]
# Three data sets for this lesson. After these two cells, every section works by itself, in any order.

# %%
flower = photos.photo("flower", 128)  # (1, 3, 128, 128), a real photograph in [-1, 1]
handwriting = digits.load(16)[0]  # (1797, 1, 16, 16), real digits in [-1, 1]
angle = torch.arange(5) / 5 * 2 * math.pi
petals = GaussianMixture(1.4 * torch.stack([angle.sin(), angle.cos()], 1), std=0.25)  # in 2-D
dots = petals.sample(2000, torch.Generator().manual_seed(0))[0].float()  # (2000, 2)

# %% [markdown]
# ## See it first
#
# A photograph, a handwritten five, and two thousand dots that form five petals. The same process destroys all three. At the right end, can you still see what each was?

# %%
times, five = (0, 50, 150, 300, 500, 750, 1000), handwriting[5:6]
figure, axes = plots.subplots(3, len(times), size=(10, 4.5))
for column, t in enumerate(times):
    show_picture(axes[0, column], linear.diffuse(flower, t, normal(flower))[0], f"t = {t}")
    show_picture(axes[1, column], linear.diffuse(five, t, normal(five))[0])
    scatter(axes[2, column], linear.diffuse(dots, t, normal(dots)), size=0.7)
plots.show(
    figure,
    "A photograph of a flower, a digit five and a cloud of five petals at seven times from 0 to "
    "1000. The petals merge by t = 300, the digit is hard to see at 300 and the flower at 500. "
    "At 750 and 1000 all three look like plain noise.",
)

# %% [markdown]
# ## The idea
#
# We want a chain $x_0 \to x_1 \to \dots \to x_T$ that starts at the picture $x_0$ and ends at noise. One step adds Gaussian noise of variance $\beta_t$, a small number. Why not simply
#
# $$x_t=x_{t-1}+\sqrt{\beta_t}\,\varepsilon_t \;?$$
#
# This works, too (*variance exploding*). But the numbers grow, and their final size depends on the sum of all $\beta_t$. We want inputs whose variance stays near 1. We also want the same final distribution $\mathcal N(0, I)$ for every schedule: the reverse process starts there. So each step also **shrinks** $x$, so that a variance of 1 stays 1:
#
# $$\boxed{\;x_t=\sqrt{1-\beta_t}\;x_{t-1}+\sqrt{\beta_t}\;\varepsilon_t,\qquad \varepsilon_t\sim\mathcal N(0, I)\;}$$
#
# In lesson 01 all steps had the same $\beta$, and $\mathcal N(0, I)$ was the stationary distribution. Here $\beta_t$ changes. But **each step still leaves $\mathcal N(0, I)$ as it is**, and moves every other variance towards 1. Which of three recipes ends at 1?

# %%
recipes = {
    "add only": lambda variance, b: variance + b,
    "shrink by 1−β, root forgotten": lambda variance, b: (1 - b) ** 2 * variance + b,
    "shrink by √(1−β)": lambda variance, b: (1 - b) * variance + b,
}
(figure, axes), ends = plots.subplots(size=(8, 3.2)), []
for name, recipe in recipes.items():
    variances = [0.25]  # of the pixels at t = 0, for example
    for b in linear.beta[1:].tolist():  # from 0.0001 to 0.02
        variances.append(recipe(variances[-1], b))
    ends.append(variances[-1])
    axes.plot(variances, label=f"{name}: ends at {ends[-1]:.2f}")
ticks = (0.25, 0.5, 1, 2, 4, 8)
axes.set(xlabel="time t", ylabel="variance", title="Which recipe ends at 1?", yscale="log")
axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
axes.legend(loc="upper left")
plots.show(
    figure,
    "The variance of x_t over time, on a logarithmic axis, from 0.25 at t = 0. Adding only ends "
    "above 10, shrinking without the root at one half, shrinking by the root at 1.",
)
assert ends[0] > 10 and ends[1] < 0.51 and abs(ends[2] - 1) < 1e-3

# %% [markdown]
# ## The derivation
#
# ### 1. One step keeps a variance of 1
#
# $x_{t-1}$ and the fresh noise are independent, so their variances add: $\operatorname{Var} x_t = (1-\beta_t)\operatorname{Var} x_{t-1} + \beta_t$. If $\operatorname{Var} x_{t-1} = 1$, the sum is $1-\beta_t+\beta_t = 1$. If it is not 1, its distance from 1 shrinks by the factor $1-\beta_t$. Three starts and one large step:

# %% tags=["nbval-check-output"]
b = 0.3
for before in (0.25, 1.0, 4.0):
    after = (1 - b) * before + b
    print(
        f"variance {before:.2f} -> {after:.3f}    distance from 1: {before - 1:+.3f} -> {after - 1:+.3f}"
    )
    assert math.isclose(after - 1, (1 - b) * (before - 1), abs_tol=1e-12)

# %% [markdown]
# ### 2. Two steps are one step
#
# Write $\alpha_t = 1-\beta_t$: the share of the variance that a step keeps. Put the first step into the second:
#
# $$x_2=\sqrt{\alpha_2}\,x_1+\sqrt{1-\alpha_2}\,\varepsilon_2
#      =\sqrt{\alpha_2\alpha_1}\,x_0+\underbrace{\sqrt{\alpha_2(1-\alpha_1)}\,\varepsilon_1+\sqrt{1-\alpha_2}\,\varepsilon_2}_{\text{two independent Gaussians}}$$
#
# The sum of two independent Gaussians is a Gaussian, and its variance is the sum of theirs:
#
# $$\alpha_2(1-\alpha_1)+(1-\alpha_2)=1-\alpha_2\alpha_1 .$$
#
# So two steps are one step, with $\alpha_1\alpha_2$ in place of $\alpha$. A third step is added in the same way. With $\bar\alpha_t = \alpha_1\alpha_2\cdots\alpha_t$ (read "alpha bar"), **any number of steps is one jump**:
#
# $$\boxed{\;x_t=\sqrt{\bar\alpha_t}\;x_0+\sqrt{1-\bar\alpha_t}\;\varepsilon\;}\qquad\text{(DDPM, equation 4)}$$
#
# One table describes the whole process: $\bar\alpha_0 = 1, \bar\alpha_1, \dots, \bar\alpha_T \approx 0$. We compute the factor of $x_0$ and the variance of the noise step by step, and compare:

# %% tags=["nbval-check-output"]
signal, variance, worst = 1.0, 0.0, 0.0
for t in range(1, T + 1):
    b = linear.beta[t].item()
    signal, variance = math.sqrt(1 - b) * signal, (1 - b) * variance + b
    worst = max(
        worst, abs(signal - linear.alpha_bar[t].sqrt()), abs(variance - (1 - linear.alpha_bar[t]))
    )
    if t in (1, 10, 100, 500, 1000):
        print(f"t = {t:4}   factor of x0 {signal:.6f}   variance of the noise {variance:.6f}")
print("agrees with the table at all times:", bool(worst < 1e-12))
assert worst < 1e-12

# %% [markdown]
# ### 3. The same by simulation
#
# Twenty thousand values start at $x_0 = 0.8$, one bright pixel. Each takes all thousand steps, with its own noise. The bars show their density (each panel has its own vertical scale); the black line is the jump's prediction. *Before you run it:* where is the peak at $t = 1000$, and how wide is it?

# %%
generator = torch.Generator().manual_seed(0)
walkers = torch.full((20_000,), 0.8)
seen = {}
for t in range(1, T + 1):
    b = linear.beta[t].item()
    walkers = math.sqrt(1 - b) * walkers + math.sqrt(b) * torch.randn(20_000, generator=generator)
    if t in (20, 100, 300, 1000):
        seen[t] = walkers

figure, axes = plots.subplots(1, 4, size=(10, 2.8), sharex=True)
grid = torch.linspace(-3.5, 3.5, 400)[:, None]
for each, (t, x) in zip(axes, seen.items()):
    jump = GaussianMixture([[0.8]]).diffused(linear, t)  # N(√ᾱ_t 0.8, 1 − ᾱ_t)
    each.hist(x.numpy(), bins=60, density=True, color=plots.SKY)
    each.plot(grid, jump.log_prob(grid).exp(), color=plots.BLACK, linewidth=1.5)
    each.set(title=f"t = {t}", xlabel="x_t", yticks=[])
plots.show(
    figure,
    "Histograms of 20,000 simulated values at t = 20, 100, 300 and 1000, each under the curve of "
    "the one-jump formula. Bars and curves agree closely; the last is centered at 0.",
)

# %% [markdown]
# Do the numbers agree, too? The mean of $n$ values has a standard error of $\sqrt{\operatorname{Var}/n}$, and their variance one of about $\operatorname{Var}\sqrt{2/n}$. Two or three standard errors can be chance; six are almost surely a bug.

# %%
for t, x in seen.items():
    mean, variance = 0.8 * linear.alpha_bar[t].sqrt().item(), 1 - linear.alpha_bar[t].item()
    off_mean = (x.mean().item() - mean) / math.sqrt(variance / len(x))
    off_variance = (x.var().item() - variance) / (variance * math.sqrt(2 / len(x)))
    print(
        f"t = {t:4}   mean {x.mean():.3f} (jump: {mean:.3f}, {off_mean:+.1f} s.e.)"
        f"   variance {x.var():.3f} (jump: {variance:.3f}, {off_variance:+.1f} s.e.)"
    )
    assert abs(off_mean) < 6 and abs(off_variance) < 6

# %% [markdown]
# ### 4. Signal and noise are the legs of a right triangle
#
# The two factors of the jump satisfy
#
# $$\left(\sqrt{\bar\alpha_t}\right)^2+\left(\sqrt{1-\bar\alpha_t}\right)^2=1 .$$
#
# Draw the signal $\sqrt{\bar\alpha_t}$ to the right and the noise $\sqrt{1-\bar\alpha_t}$ upwards. The point moves along a quarter circle, from "all picture" to "all noise". **Every schedule of this kind (*variance preserving*) follows the same arc; they differ only in their speed.** The dots below are 100 steps apart. (Cosine's arc is drawn farther out, so that both can be seen.)

# %%
figure, _ = plots.subplots(size=(10, 4))
figure.clear()
two = {name: schedules[name] for name in ("linear", "cosine")}
forward_plot.draw_arc(figure, two, flower[0], normal(flower)[0])
plots.show(
    figure,
    "Left: two quarter circles, signal to the right and noise upwards, the inner one with a right "
    "triangle of legs 0.8 and 0.6. The dots of the linear schedule crowd at the top of the arc, "
    "those of the cosine schedule are evenly spaced. Right: the flower at 0, 30, 60, 75, 85 and 90 degrees.",
)
half = math.degrees(math.acos(linear.alpha_bar[500].sqrt()))
print(
    f"linear turns by {half:.0f}° in its first 500 steps, and by {90 - half:.0f}° in its last 500"
)

# %% [markdown]
# At 60° the noise is larger than the signal, and you still see the flower. We think that your eye averages over many pixels.
#
# The photograph and the noise are vectors with 49,152 entries. A long random vector is almost at a right angle to any fixed vector. So Pythagoras holds for the pictures, too:

# %%
x0, eps = flower.flatten(), normal(flower).flatten()
cosine = torch.dot(x0, eps) / (x0.norm() * eps.norm())
degrees = math.degrees(math.acos(cosine))
print(f"angle between picture and noise: {degrees:.2f}°, in {len(x0):,} dimensions")
assert abs(degrees - 90) < 6 * math.degrees(1 / math.sqrt(len(x0)))  # 6 standard deviations
for t in (100, 300, 600):
    x = linear.diffuse(flower, t, normal(flower)).flatten()
    legs = linear.alpha_bar[t] * x0.norm() ** 2 + (1 - linear.alpha_bar[t]) * eps.norm() ** 2
    print(f"t = {t}:  length² of x_t = {x.norm() ** 2:8.0f}   sum of the legs² = {legs:8.0f}")
    assert abs(x.norm() ** 2 / legs - 1) < 0.02

# %% [markdown]
# ## The real code
#
# In `diffuse`, the jump is one line; the rest checks shapes and takes the roots in float64. `alpha_bar[0] == 1` is the clean picture; `beta[t]` belongs to the step from $t-1$ to $t$.

# %%
show_source(NoiseSchedule.diffuse, NoiseSchedule.signal_and_noise)

# %% [markdown]
# This code makes the table $\bar\alpha$ of DDPM: $\beta$ rises evenly from 0.0001 to 0.02.

# %%
show_source(schedule.linear, schedule.from_betas)

# %% [markdown]
# Labkit has three more schedules; in all of them $\beta\le 0.999$. In `scaled_linear`, $\sqrt{\beta_t}$ rises evenly. The others are, with the sigmoid function $\sigma$,
#
# $$\text{cosine: }\bar\alpha_t\propto\cos^2\!\Big(\frac{\pi}{2}\cdot\frac{t/T+0.008}{1.008}\Big),\qquad
# \text{sigmoid: }\bar\alpha_t\propto\sigma(3)-\sigma(6\,t/T-3).$$

# %%
u = torch.arange(T, dtype=torch.float64) / T  # without the last time, where β is clipped
formulas = {
    "cosine": torch.cos(math.pi / 2 * (u + 0.008) / 1.008) ** 2,
    "sigmoid": torch.sigmoid(torch.tensor(3.0).double()) - torch.sigmoid(6 * u - 3),
}
for name, formula in formulas.items():
    assert torch.allclose(schedules[name].alpha_bar[:-1], formula / formula[0], atol=1e-12)
assert schedules["scaled_linear"].beta[1:].sqrt().diff().std() < 1e-12

# %% [markdown]
# ## Four schedules, one scale
#
# The **signal-to-noise ratio** (SNR) describes the noise level: the variance of the signal over that of the noise, for data of variance 1. We take its logarithm:
#
# $$\mathrm{SNR}_t=\frac{\bar\alpha_t}{1-\bar\alpha_t},\qquad \lambda_t=\log \mathrm{SNR}_t .$$
#
# $\lambda = 0$ is the middle of the arc (45°): signal and noise are equal. At $\lambda = +5$ the factor of the noise is 0.08, at $\lambda = -5$ the factor of the signal is 0.08. How many steps does each schedule spend between the two?

# %% tags=["nbval-check-output"]
print("schedule      λ = 0 at t   steps with −5 < λ < 5   with λ < −5   signal left at T")
for name, each in schedules.items():
    middle = int((each.log_snr > 1e-9).sum())  # 1e-9: not by rounding
    between, after = int((each.log_snr.abs() < 5).sum()), int((each.log_snr < -5).sum())
    left = each.alpha_bar[-1].sqrt()
    print(f"{name:13} {middle:10} {between:15} of {T} {after:13} {left:18.5f}")
other_release = schedule.scaled_linear(first=0.0015, last=0.0195).alpha_bar[-1].sqrt()
assert abs(other_release - 0.012) < 5e-4

# %% [markdown]
# ## Play: the schedule explorer
#
# **One question: what differs between the schedules?** For each, find the last time at which you can see the flower. Note $t$ and $\lambda$. Which of the two stays about the same? (The chosen schedule is orange.)


# %%
times = [0, 20, 50, *range(100, 500, 50), *range(500, 800, 100), *range(800, 1001, 50)]
nine = handwriting[:9]


def explore(name):
    def draw(figure, t):
        move = forward_plot.draw_explorer(figure, schedules, name, flower, nine, dots)
        move(t)
        return move

    return film(draw, (9, 5.2), t=times)


widgets.Filmstrip(
    {name: explore(name) for name in NAMES},
    [f"t = {t}" for t in times],
    start=times.index(300),
    title="The schedule explorer",
    choose="schedule",
    alt="alpha bar and log-SNR over time, and a photograph, digits and petals at the chosen time",
)

# %% [markdown]
# The *time* at which the flower is lost depends on the schedule. The *log-SNR* does not: with the same noise, the same $\lambda$ gives the same picture. A schedule only maps times to noise levels.

# %%
pictures = {}
for name, each in schedules.items():
    t = int((each.log_snr + 2).abs().argmin())  # where λ is closest to −2
    pictures[name] = each.diffuse(flower, t, normal(flower))
    difference = (pictures[name] - pictures["linear"]).abs().max()
    print(f"{name:13}  λ = −2 at t = {t}   difference from linear's picture {difference:.4f}")
    assert difference < 1 / 127.5  # one of the 256 gray levels of a screen

# %% [markdown]
# The linear schedule reaches almost pure noise early: about 300 of its 1000 steps have $\lambda < -5$. Improved DDPM (Nichol and Dhariwal 2021) criticized this, and proposed the cosine schedule, with 53 such steps. The last row, `scaled_linear`, is Stable Diffusion's, with $\beta$ from 0.00085 to 0.012. It ends with much more signal than the others; "Break it" shows what follows. (Other models of latent diffusion have 0.0015 to 0.0195, which leaves a signal of 0.012.)
#
# **A second question: how large must the last β be, so that almost nothing is left?** DDPM chose 0.02. Move the slider:


# %%
def bend(figure, last=0.02):
    return forward_plot.draw_end(figure, flower, last)


def words(last):
    return f"Signal and noise over time for a last beta of {last:.3f}, and the flower at the end"


widgets.Redraw(bend, last=(0.001, 0.04, 0.001), labels={"last": "last β"}, alt=words)

# %% [markdown]
# A last β of 0.01 leaves a signal of 0.079; 0.02 leaves 0.006.
#
# ## Larger pictures need more noise
#
# Here is the same photograph in four sizes, at the same $t$, so with the same $\bar\alpha$. The lower row averages each picture down to 32 × 32 pixels, and raises the contrast again:

# %%
sizes = {size: photos.photo("flower", size) for size in (32, 64, 128, 256)}


def noised_sizes(when, seed=0):
    """The flower in four sizes, each noised to its own time."""
    return {s: linear.diffuse(x0, when[s], normal(x0, seed))[0] for s, x0 in sizes.items()}


def show_sizes(when, alt):
    figure, axes = plots.subplots(2, 4, size=(10, 5))
    titles = {size: f"{size} × {size}, t = {t}" for size, t in when.items()}
    forward_plot.show_sizes(axes, noised_sizes(when), titles)
    plots.show(figure, alt)


same = dict.fromkeys(sizes, 400)
show_sizes(
    same,
    "The flower at 32, 64, 128 and 256 pixels at t = 400, and below each averaged to 32 × 32. The "
    "larger the picture, the clearer the flower; at 32 pixels it can hardly be seen.",
)

# %% [markdown]
# The flower is clearer in the larger pictures. The reason: neighboring pixels of a photograph are nearly equal, while their noises are independent. Averaging $k\times k$ pixels leaves the signal almost as it was, but divides the *variance* of the noise by $k^2$. So the log-SNR after averaging is higher by
#
# $$\log k^2=2\log k .$$
#
# We average signal and noise separately at 256 × 256, and compare their powers:

# %%
large, t = sizes[256], 400
signal, noise = linear.signal(t, large) * large, linear.noise(t, large) * normal(large)
ratio = {}  # log of signal power over noise power, for each k
print("averaged over   signal power kept   noise std    log-SNR   gain   2 log k")
for k in (1, 2, 4, 8):
    s, n = (avg_pool2d(part, k) for part in (signal, noise))
    ratio[k] = (s.square().mean() / n.square().mean()).log().item()
    kept, gain = s.square().mean() / signal.square().mean(), ratio[k] - ratio[1]
    line = f"{k} × {k} pixels {kept:14.1%} {n.std():16.3f} {ratio[k]:+11.2f} {gain:+7.2f}"
    print(line, f"{2 * math.log(k):7.2f}")
    assert abs(gain - 2 * math.log(k) - math.log(kept)) < 0.05  # the rest is chance in the noise
power = large.square().mean().log().item()
assert abs(ratio[1] - linear.log_snr[t].item() - power) < 0.02

# %% [markdown]
# At 8 × 8 the gain is 4.12, a little below $2\log k = 4.16$, because averaging also removes fine detail. (The flower's mean square is 0.48, not 1, so the first log-SNR is below $\lambda_{400} = -1.42$.)
#
# The consequence: a schedule that suits 32 × 32 adds too little noise at 256 × 256. For $k$ times as many pixels a side, Hoogeboom et al. (2023, "simple diffusion") **lower** $\lambda$ by $2\log k$. Below, each size gets the time at which the linear schedule has that lower $\lambda$:

# %%
shifted = {s: linear.log_snr[400] - 2 * math.log(s / 32) for s in sizes}
later = {s: int((linear.log_snr - wanted).abs().argmin()) for s, wanted in shifted.items()}
show_sizes(
    later,
    "The flower at 32, 64, 128 and 256 pixels, at t = 400, 531, 644 and 742, and below each "
    "averaged to 32 × 32: the flower can hardly be seen in any of them.",
)
for name, when in (("same t", same), ("shifted", later)):
    found = {s: [] for s in sizes}  # correlation with the clean flower, at 32 × 32
    for seed in range(5):
        for s, x in noised_sizes(when, seed).items():
            both = torch.stack([avg_pool2d(x, s // 32).flatten(), sizes[32].flatten()])
            found[s].append(torch.corrcoef(both)[0, 1].item())
    print(f"{name}: ", *(f"{s} px {mean_sd(values)}  " for s, values in found.items()))
assert all(abs(sum(values) / 5 - sum(found[32]) / 5) < 0.06 for values in found.values())

# %% [markdown]
# (Correlation of the averaged picture with the clean flower, five seeds; here and below, mean ± sd.) With $t = 400$ for all, it rises from 0.24 at 32 pixels to 0.90 at 256. At the shifted times it stays near 0.24: all four pictures show equally little. Lesson 11 needs this.
#
# ## A first look at the reverse process
#
# A noisy dot $x_t$ came from *some* clean dot $x_0$. We cannot know which. But if we know the data, we can say what the clean dot was **on average**. This is the **posterior mean**:
#
# $$\hat x_0(x_t)=\mathbb E[x_0 \mid x_t].$$
#
# In lesson 03 a network learns this average for pictures. For our petals, a mixture of Gaussians, it is known exactly. Each petal has its own posterior mean, by a formula. Average these, each weighted by the probability that its petal produced this dot. `petals.denoiser` does this.
#
# Two samplers use it below. The **DDPM** step (lesson 03) adds fresh noise at every step; the **DDIM** step (lesson 04) adds none. Each dot has the color of its final petal. When is the final petal decided?


# %%
def reverse(step, seed, n=2000, steps=200, data=petals):
    """The states of n dots in the reverse process, from noise to the data."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(n, 2, generator=generator)  # nothing but noise
    guess = data.denoiser(linear)  # knows E[x0 | x_t], exactly
    return list(sample(guess, start, linear.timesteps(steps), step=step, generator=generator))


def petal(x):
    """The petal to which each dot (N, 2) belongs, (N,)."""
    return petals.posterior(x).argmax(1)


random, fixed = reverse(ddpm, 0, 1000), reverse(ddim, 0, 1000)
colors = [petal(states[-1].x) for states in (random, random, fixed)]


def draw(figure, pair):
    a, b = pair
    clouds = {"DDPM: x_t": a.x, "DDPM: guess used in the last step": a.x0, "DDIM: x_t": b.x}
    forward_plot.draw_dots(figure, clouds, colors)


# %%
shown = [*zip(random, fixed)][::8] + [(random[-1], fixed[-1])]
widgets.Filmstrip(
    film(draw, (10, 3.6), pair=shown),
    [f"t = {a.t}" for a, _ in shown],
    start=len(shown) // 2,
    title="From noise to petals",
    alt="Dots that move from noise to five petals, by DDPM, with the guess, and by DDIM; the "
    "colors of the final petals are mixed with DDPM, and sorted with DDIM",
)

# %% [markdown]
# With DDPM, all guesses start in the middle: from pure noise, every petal is equally likely, and their average is 0. The colors stay mixed for a long time. With DDIM they are sorted from the beginning. At each time, is the petal that is likeliest *now* also the final one? One dot in five is right by chance.


# %%
moments = (0, 50, 80, 110, 140, 170, 184)  # of the 200 steps


def decided(step, seed):
    """The share of dots whose likeliest petal is already the final one, at some times."""
    states = reverse(step, seed)
    final = petal(states[-1].x)
    some = [states[i] for i in moments]
    now = [petals.diffused(linear, s.t).posterior(s.x).argmax(1) for s in some]
    return [(each == final).double().mean().item() for each in now]


shares = {step.__name__: [decided(step, seed) for seed in range(4)] for step in (ddpm, ddim)}
print("t    ", *(f"{random[i].t:>12}" for i in moments))
for name, rows in shares.items():
    print(f"{name} ", *(f"{mean_sd(column):>12}" for column in zip(*rows)))
middle = torch.tensor(shares["ddpm"]).mean(0)
assert middle[3] < 0.4 and middle[6] > 0.95 and torch.tensor(shares["ddim"]).min() > 0.99
assert random[0].x0.norm(dim=1).max() < 0.1  # the first guess is near 0 for every dot

# %% [markdown]
# (Four seeds, 2,000 dots each.) With DDPM the decision is late. At $t = 443$, after more than half of the steps, the likeliest petal is the final one for fewer than two dots in five. With DDIM **the start decides everything**: no randomness comes after it. Does each dot end at the center that is nearest to its start?

# %%
uneven = GaussianMixture([[0.0, 0.0], [1.5, 0.0], [-0.5, 1.6], [2.0, -1.0]], std=0.2)


def nearest(data, seed):
    """The share of dots that end at the center nearest to their start, by DDIM."""
    start = torch.randn(2000, 2, generator=torch.Generator().manual_seed(seed))  # as in reverse
    last = reverse(ddim, seed, steps=50, data=data)[-1].x
    closest = torch.cdist(start.double(), data.means).argmin(1)
    return (data.posterior(last).argmax(1) == closest).double().mean().item()


ends = {
    name: [nearest(data, seed) for seed in range(3)]
    for name, data in (("five petals", petals), ("four uneven centers", uneven))
}
print(*(f"{name}: {mean_sd(values)}" for name, values in ends.items()), sep="   ")
assert min(ends["five petals"]) > 0.99 and 0.5 < max(ends["four uneven centers"]) < 0.7

# %% [markdown]
# With our five petals it does, because they are symmetric. With four uneven centers only three dots in five do.
#
# Do the generated dots have the distribution of the data? We look at two numbers: the mean log-density under the true distribution, and the spread of the dots within their petal. (Its true value is 0.25.) The real dots are the reference: higher is not better. The last row shows why. DDPM's step has two usual variances: the smaller one ($v = 0$) and the larger one ($v = 1$).


# %%
def spread(x):
    """Root mean square distance of dots (N, 2) from the center of their petal, for each axis."""
    return (x - petals.means[petal(x)]).square().mean().sqrt().item()


larger = partial(ddpm, v=1.0)
rows = {
    "real dots": lambda seed: petals.sample(2000, torch.Generator().manual_seed(seed))[0],
    "DDPM, v = 0, 50 steps": lambda seed: reverse(ddpm, seed, steps=50)[-1].x.double(),
    "DDPM, v = 0, 200 steps": lambda seed: reverse(ddpm, seed)[-1].x.double(),
    "DDPM, v = 1, 50 steps": lambda seed: reverse(larger, seed, steps=50)[-1].x.double(),
    "DDPM, v = 1, 200 steps": lambda seed: reverse(larger, seed)[-1].x.double(),
    "DDIM, 200 steps": lambda seed: reverse(ddim, seed)[-1].x.double(),
    "all at the centers": lambda seed: petals.means.repeat(400, 1),
}
table = {}
for name, make in rows.items():
    clouds = [make(seed) for seed in range(4)]
    density = [petals.log_prob(x).mean().item() for x in clouds]
    table[name] = sum(density) / 4, sum(map(spread, clouds)) / 4
    print(f"{name:22}  log-density {mean_sd(density)}   spread {mean_sd(map(spread, clouds), 3)}")
assert table["all at the centers"][0] > table["real dots"][0] + 0.9
order = ("v = 0, 50", "v = 0, 200", "v = 1, 200", "v = 1, 50")
width = [table[f"DDPM, {name} steps"][1] for name in order]
assert width[0] < width[1] < 0.245 and 0.25 < width[2] < width[3]

# %% [markdown]
# A model that puts all dots at the five centers has the *highest* density and is useless. With the smaller step variance, DDPM's petals are too narrow; with the larger, too wide (lesson 03). With 50 steps both are worse than with 200 (lesson 04).
#
# **Besides the schedule, all of this needed only $\mathbb E[x_0 \mid x_t]$ and a choice of the step's variance.**
#
# ## Train it
#
# The forward process has no parameters. But it makes *examples*: a clean $x_0$, a random time $t$, noise $\varepsilon$, and the noised $x_t$. So we can train a small network to predict the noise from $x_t$ and $t$. If we know $\varepsilon$, the jump gives $x_0$. The network has 8,898 parameters, and we can compare it with the exact answer.


# %%
class SmallNet(nn.Module):
    """(x, t) -> noise: four linear layers; t enters as log-SNR and as the factor of the noise."""

    def __init__(self, width=64):
        super().__init__()
        self.register_buffer("log_snr", linear.log_snr.clamp(max=10).float())
        self.register_buffer("noise", (1 - linear.alpha_bar).sqrt().float())
        layers = [nn.Linear(6, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        self.body = nn.Sequential(*layers, nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, x, t, cond=None):
        level = self.log_snr[t][:, None] / 5
        when = torch.cat([level, level.sin(), level.cos(), self.noise[t][:, None]], 1)  # (B, 4)
        return self.body(torch.cat([x, when], 1))


# %%
def train(denoise, steps=2000, batch=256):
    """Yields the loss of each step: draw data, noise it, predict the noise, improve."""
    optimizer = torch.optim.Adam(denoise.parameters())
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(steps):
        loss = denoise.loss(petals.sample(batch)[0].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        yield loss.item()


# %% [markdown]
# Before we train: *how low can this loss go?* Not to zero. Even the exact denoiser cannot know which noise was drawn, only its average. Its mean loss is the floor. We measure it first:

# %%
exact, errors, variances = petals.denoiser(linear), [], []
generator = torch.Generator().manual_seed(0)
for t in range(3, T, 5):  # the middle of 1 … 5, of 6 … 10, and so on
    x0 = petals.sample(500, generator)[0]
    eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype)
    error = (exact(linear.diffuse(x0, t, eps), t).eps - eps).square().mean(1)
    errors.append(error.mean())
    variances.append(error.var() / len(error))
floor = torch.stack(errors).mean().item()
uncertain = torch.stack(variances).sum().sqrt().item() / len(errors)
print(f"On average, no network has a loss below {floor:.4f} (standard error {uncertain:.4f}).")


# %%
def excess(network, seed, n=500):
    """Mean squared distance of the network's prediction from the exact one, over all times."""
    generator, total = torch.Generator().manual_seed(seed), 0
    for t in (times := range(3, T, 10)):
        x0 = petals.sample(n, generator)[0].float()
        x = linear.diffuse(x0, t, torch.randn(n, 2, generator=generator))
        with torch.no_grad():
            total += (network(x, t).eps - exact(x, t).eps).square().mean().item()
    return total / len(times)


# %%
torch.set_num_threads(1)  # for so small a network, a second core costs more than it brings
networks = []
for seed in range(3):  # a seed sets everything: the weights, the data, the times and the noise
    torch.manual_seed(seed)
    networks.append(Denoiser(SmallNet(), linear))
    if seed == 0:
        draw_loss = partial(forward_plot.draw_loss, floor=floor)
        alt = (
            "The loss falls steeply below 0.3, stays above the floor of the exact denoiser until "
            "about step 1200, then fluctuates about it"
        )
        losses = widgets.watch(train(networks[0]), draw_loss, every=20, alt=alt)
    else:
        losses = list(train(networks[-1]))
    final, above = sum(losses[-200:]) / 200, excess(networks[-1], seed)
    print(f"seed {seed}: mean loss of the last 200 steps {final:.4f}   own error {above:.4f}")
    assert 0.001 < above < 0.006 and abs(final - floor - above) < 0.01

# %% [markdown]
# The mean squared difference from the exact answer is the network's own error, 0.002 to 0.003. Its expected loss is above the floor by this much. *Where* is this error? We call a dot **between petals** if no petal has a probability over 99 %.

# %%
table = {}  # t -> each network's error, and the share of it that is between petals
print(
    "   t   error of 3 networks   likeliest petal right   dots between   their share of the error"
)
for t in (5, 20, 75, 200, 400, 800):
    errors, shares, right = [], [], []
    for seed, network in enumerate(networks):
        generator = torch.Generator().manual_seed(seed)
        x0, own = petals.sample(4000, generator)
        x0 = x0.float()
        x = linear.diffuse(x0, t, torch.randn(4000, 2, generator=generator))
        with torch.no_grad():
            error = (network(x, t).eps - exact(x, t).eps).square().mean(1)
        probability = petals.diffused(linear, t).posterior(x)
        between = probability.amax(1) < 0.99
        right.append((probability.argmax(1) == own).double().mean().item())
        errors.append(error.mean().item())
        shares.append((error[between].sum() / error.sum()).item())
    table[t], dots_between = (errors, shares, right), between.double().mean()
    line = f"{t:4}   {mean_sd(errors, 4):>19}   {sum(right) / 3:21.1%}   {dots_between:12.0%}"
    print(f"{line}   {mean_sd(shares):>24}")
assert all(max(errors) < min(table[75][0]) for t, (errors, *_) in table.items() if t != 75)
assert min(table[75][1]) > 0.6 and min(table[75][2]) > 0.97

# %% [markdown]
# Of these times, the error is largest at $t = 75$. There the likeliest petal is the right one for 98 % of the dots. But 18 % of the dots are between petals, and have about three quarters of the error. We think the reason is the exact answer: between petals it changes steeply, and a small network makes it smoother. Now we generate with each denoiser:

# %%
clouds, numbers = {}, {"real": [], "exact denoiser": [], "network": []}
for seed, network in enumerate(networks):
    generator = torch.Generator().manual_seed(100 + seed)
    clouds["real"] = petals.sample(10_000, generator)[0].float()
    rare = petals.log_prob(petals.sample(100_000, generator)[0]).quantile(0.01)
    for name, denoise in (("exact denoiser", exact), ("network", network)):
        start = torch.randn(10_000, 2, generator=generator)
        *_, last = sample(denoise, start, linear.timesteps(200), generator=generator)
        clouds[name] = last.x
    for name, x in clouds.items():
        density = petals.log_prob(x)
        numbers[name].append((density.mean().item(), (density < rare).double().mean().item()))
figure, axes = plots.subplots(1, 3, size=(10, 3.9))
for each, (name, x) in zip(axes, clouds.items()):
    scatter(each, x[:2000], name)
    density, outliers = zip(*numbers[name])
    print(f"{name:15} log-density {mean_sd(density)}   share of outliers {mean_sd(outliers, 4)}")
plots.show(
    figure,
    "Three clouds of five petals: real dots, dots generated with the exact denoiser, and dots "
    "generated with the trained network, with more outliers between the petals.",
)
few, usual, many = ([o for _, o in numbers[k]] for k in ("exact denoiser", "real", "network"))
assert max(few) < min(usual) and min(many) > 1.5 * max(usual)

# %% [markdown]
# (The picture shows 2,000 of the 10,000 dots of the last network.) An **outlier** lies where the true density is lower than at 99 % of real dots. The exact denoiser makes fewer: with $v = 0$ its petals are too narrow. The network makes two to three times as many as real dots have.
#
# ## Measure: is the end really noise?
#
# The reverse process starts from $\mathcal N(0, I)$. The forward process ends at $q(x_T \mid x_0)$. The distance between the two is the one term of the DDPM bound that contains no network. For Gaussians it has a closed form, per pixel and in bits:
#
# $$L_T=\mathrm{KL}\big(q(x_T|x_0)\,\|\,\mathcal N(0,I)\big)=\frac{1}{2\ln 2}\big(\bar\alpha_T\,x_0^2-\bar\alpha_T-\log(1-\bar\alpha_T)\big).$$
#
# DDPM reports about $10^{-5}$ bits per dimension on CIFAR-10 (section 4 of the paper). Lin et al. (2024, Table 1) list $\sqrt{\bar\alpha_T}$ for three schedules. We average $x_0^2$ over all digits, or over both photographs:

# %% tags=["nbval-check-output"]
reported = {"linear": "0.006353", "cosine": "4.928e-05", "scaled_linear": "0.068265"}
power = {"digits": handwriting.square().mean().item()}
power["photos"] = sum(photos.photo(name, 128).square().mean().item() for name in photos.NAMES) / 2
print("schedule        √ᾱ_T here   Lin et al.   L_T digits   L_T photos   (bits per dimension)")
for name, each in schedules.items():
    left = each.alpha_bar[-1].item()
    bits = [(left * p - left - math.log1p(-left)) / (2 * math.log(2)) for p in power.values()]
    print(
        f"{name:13} {math.sqrt(left):11.4g} {reported.get(name, '–'):>12} {bits[0]:12.1e} {bits[1]:12.1e}"
    )
    if name in reported:
        assert math.isclose(math.sqrt(left), float(reported[name]), rel_tol=2e-4)

# %% [markdown]
# The linear row has the size that DDPM reports. `scaled_linear` is about a hundred times larger: 0.002 bits. In one pixel this is little. But a latent picture of Stable Diffusion has 64 × 64 positions. What they have *in common*, such as their mean, adds up.
#
# ## Break it
#
# ### Signal left at the end
#
# Take flat pictures of 64 × 64 pixels. Their brightness $b$ takes 41 values from −1 (black) to +1 (white), and the pixel noise has standard deviation 0.1. Apart from this noise, they differ only along one direction in 4,096 dimensions, $(1, \dots, 1)/64$. So we follow only the coordinate in that direction: it is $64\,b$, and the noise of the process has variance 1, as in any direction.
#
# `scaled_linear` leaves a signal of $0.068 \cdot 64\,b = 4.4\,b$. At $b = -1$ this is four times the noise, so $x_T$ is *not* pure noise. But sampling starts from pure noise. With the exact denoiser and 250 steps:

# %%
flat = GaussianMixture(64 * torch.linspace(-1, 1, 41)[:, None], std=0.1)


def brightness(each, seed, n=3000, steps=250):
    """Brightness of n pictures, generated from noise with the exact denoiser of the flat data."""
    generator = torch.Generator().manual_seed(seed)
    start, times = torch.randn(n, 1, generator=generator), each.timesteps(steps)
    *_, last = sample(flat.denoiser(each), start, times, generator=generator)
    return last.x[:, 0] / 64


real = [flat.sample(3000, torch.Generator().manual_seed(s))[0][:, 0] / 64 for s in range(3)]
runs = {"real": real}
for name in ("linear", "scaled_linear"):
    runs[name] = [brightness(schedules[name], seed) for seed in range(3)]

# %%
figure, axes = plots.subplots(1, 3, size=(10, 2.8), sharex=True, sharey=True)
for each, (name, values) in zip(axes, runs.items()):
    each.hist(values[0].numpy(), bins=43, range=(-1.075, 1.075), density=True)
    extreme = [(x.abs() > 0.75).double().mean().item() for x in values]
    sd = mean_sd(x.std().item() for x in values)
    each.set(title=f"{name}: sd {sd}", xlabel="brightness", yticks=[])
    print(f"{name:14} darker than −0.75 or brighter than 0.75: {mean_sd(extreme)}")
    assert min(extreme) > 0.2 if name != "scaled_linear" else max(extreme) < 0.05
plots.show(
    figure,
    "Histograms of brightness: real pictures and samples of the linear schedule are spread evenly "
    "from −1 to 1; the samples of scaled_linear pile up around medium gray.",
)
wide = [brightness(schedules["sigmoid"], seed, 1000).std().item() for seed in range(3)]
slow = brightness(schedules["sigmoid"], 0, 1000, steps=1000).std().item()
print(f"sigmoid: sd of brightness {mean_sd(wide)} in 250 steps, {slow:.2f} in 1000 (real: 0.59)")
assert min(wide) > 0.4 and max(wide) < 0.52 < slow

# %% [markdown]
# (3,000 pictures, three seeds.) **How to recognize it:** most pictures have medium brightness. Only 2 % are very dark or very bright; it should be 27 %. Yet the denoiser is exact. Stable Diffusion had this flaw (Lin et al. 2024); exercise 5 corrects it.
#
# But a small signal at $T$ is not enough. The sigmoid schedule leaves only 0.0005, and its brightness still has a standard deviation below 0.5, not 0.59. We think that its last times are too far apart for this data: with all 1000 steps it reaches about 0.55.
#
# ### Three more mistakes
#
# What went wrong in each strip?

# %%
small = photos.photo("flower", 64)
times, eps, alpha_bar = (0, 100, 250, 500, 750, 1000), normal(small), linear.alpha_bar.float()
fast = schedule.from_betas([0.02] * T)
ADDED = "never shrunk"
mistakes = {
    "right": lambda t: linear.diffuse(small, t, eps),
    "roots forgotten": lambda t: alpha_bar[t] * small + (1 - alpha_bar[t]) * eps,
    ADDED: lambda t: small + linear.beta[: t + 1].sum().sqrt().float() * eps,
    "β = 0.02 from the start": lambda t: fast.diffuse(small, t, eps),
}
strip = torch.cat([noise(t) for noise in mistakes.values() for t in times])
plots.show(
    plots.image_grid(strip, len(times), [f"t = {t}" for t in times], rows=[*mistakes], scale=2),
    "Four strips of the flower from t = 0 to 1000. Right; roots forgotten: paler at t = 100 and "
    "250; never shrunk: harsh, and a trace of the flower stays to the end; β = 0.02 from the start: "
    "faint at t = 100, gone at 250.",
)
stds = {name: [noise(t).std().item() for t in times] for name, noise in mistakes.items()}
print(f"{'std at t =':38}", "".join(f"{t:7}" for t in times))
for name, row in stds.items():
    print(f"{name:38}", "".join(f"{each:7.2f}" for each in row))
assert stds["roots forgotten"][1] < stds["roots forgotten"][0] and stds[ADDED][-1] > 3

# %% [markdown]
# - **Roots forgotten:** at $t = 100$ the picture is paler, with a lower standard deviation than at the start.
# - **Never shrunk:** the standard deviation grows past 3, and a trace of the flower stays. (This is *variance exploding*. It is right if the reverse process starts from noise of that size.)
# - **β = 0.02 from the start:** at $t = 250$ the signal is down to 0.08. A network would spend three quarters of its training on what is almost pure noise.
#
# Labkit refuses one more mistake. With fewer steps, `linear` makes each $\beta$ larger. What is the smallest number of steps?

# %% tags=["nbval-check-output"]
try:
    schedule.linear(T=20)
except ValueError as error:
    print(error)
print("with 21 steps the signal left is", f"{schedule.linear(T=21).alpha_bar[-1].sqrt():.5f}")

# %% [markdown]
# $\beta_{20} = 0.02\cdot 1000/20 = 1$: the last step would replace everything. To *sample* in 20 steps, you visit 20 of the 1000 times (lesson 04).
#
# ## Exercises
#
# Write your function where it says `...`, run the cell, then the check below it. The check names your mistake if it knows it.
#
# ### 1 · One step ● 5 minutes
#
# Write one step of the chain: from `x` at time $t-1$ to time $t$, given `beta` (a number). Draw the noise with the given `generator`, so that runs can be repeated.


# %%
def noising_step(x, beta, generator):
    """x = x_{t-1}, (B, D) float32; beta: a number. Returns x_t."""
    ...


# %%
checks.noising_step(noising_step)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The boxed formula of "The idea". `torch.randn(x.shape, generator=generator)` draws noise for every entry of `x`; `math.sqrt` takes the root of a number.
#
# </details>
#
# The solution is folded in the next cell: click on the three dots.


# %% jupyter={"source_hidden": true} tags=["solution"]
def noising_step_solution(x, beta, generator):
    return math.sqrt(1 - beta) * x + math.sqrt(beta) * torch.randn(x.shape, generator=generator)


checks.noising_step(noising_step_solution).require()

# %% [markdown]
# ### 2 · The table ● 5 minutes
#
# `beta` (T,), float64, has the variances of the steps $1 \dots T$. Make the table `alpha_bar`, (T+1,), float64. If it starts at the wrong time, every later formula is off by one.


# %%
def alpha_bar_table(beta):
    """beta: (T,) float64, of the steps 1 ... T. Returns (T+1,) float64."""
    ...


# %%
checks.alpha_bar_table(alpha_bar_table)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `torch.cumprod` gives the products of the first entries. What is $\bar\alpha_0$? `torch.cat` puts it in front.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def alpha_bar_table_solution(beta):
    clean = torch.ones(1, dtype=torch.float64)  # ᾱ_0: no step has been taken
    return torch.cat([clean, torch.cumprod(1 - beta, 0)])


checks.alpha_bar_table(alpha_bar_table_solution).require()

# %% [markdown]
# ### 3 · The jump, for a batch ●● 10 minutes
#
# In training, every picture of a batch gets its own time. Given `x0` and `eps` (B, C, H, W), float32, times `t` (B,) long, and the float64 table `alpha_bar` (T+1,), return `x_t` as float32.


# %%
def jump(x0, t, alpha_bar, eps):
    """x0, eps: (B, C, H, W) float32; t: (B,) long; alpha_bar: (T+1,) float64. Returns x_t."""
    ...


# %%
checks.jump(jump)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `alpha_bar[t]` has shape (B,), but needs the shape (B, 1, 1, 1): `.view(-1, 1, 1, 1)`. A float64 tensor times a float32 tensor is float64, so convert the factors with `.to(x0.dtype)`, *after* taking the root.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def jump_solution(x0, t, alpha_bar, eps):
    left = alpha_bar[t].view(-1, 1, 1, 1)  # (B, 1, 1, 1)
    signal, noise = left.sqrt().to(x0.dtype), (1 - left).sqrt().to(x0.dtype)
    return signal * x0 + noise * eps


checks.jump(jump_solution).require()

# %% [markdown]
# ### 4 · A schedule for a larger picture ●● 15 minutes
#
# `alpha_bar` (T+1,) is the table of a schedule for pictures of some size. Return the table for pictures `k` times as wide and high: its log-SNR is lower by $2\log k$ at every time. At $t = 0$ the log-SNR is $+\infty$, and $\bar\alpha_0$ must still come out as 1.


# %%
def shifted_alpha_bar(alpha_bar, k):
    """alpha_bar: (T+1,) float64; k: a number. Returns (T+1,) float64."""
    ...


# %%
checks.shifted_alpha_bar(shifted_alpha_bar)

# %% [markdown]
# <details><summary>Hint</summary>
#
# $\log\frac{\bar\alpha}{1-\bar\alpha}$ is what torch calls `torch.logit`, and its inverse is `torch.sigmoid`; both handle infinity. Or use fractions: which $\bar\alpha'$ has $\frac{\bar\alpha'}{1-\bar\alpha'} = \frac{1}{k^2}\,\frac{\bar\alpha}{1-\bar\alpha}$?
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def shifted_alpha_bar_solution(alpha_bar, k):
    return torch.sigmoid(torch.logit(alpha_bar) - 2 * math.log(k))


checks.shifted_alpha_bar(shifted_alpha_bar_solution).require()

# %% [markdown]
# ### 5 · Zero terminal SNR ●● 15 minutes
#
# Stable Diffusion's schedule leaves a signal of 0.068 at the end. Lin et al. (2024, Algorithm 1) want 0 there, called **zero terminal SNR**. They change the **signal** $\sqrt{\bar\alpha_t}$: move the whole curve down until it ends at 0, then stretch it so that it starts where it did. (The paper keeps its value at $t = 1$. Our table has a $t = 0$, so keep $\sqrt{\bar\alpha_0} = 1$.) Return the new `alpha_bar`, (T+1,).


# %%
def rescaled_alpha_bar(alpha_bar):
    """alpha_bar: (T+1,) float64. Returns (T+1,) float64 that ends at 0."""
    ...


# %%
checks.rescaled_alpha_bar(rescaled_alpha_bar)

# %% [markdown]
# <details><summary>Hint</summary>
#
# With $s_t = \sqrt{\bar\alpha_t}$: $s'_t = (s_t - s_T)\cdot c$. Which $c$ makes $s'_0 = 1$? Square at the end.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def rescaled_alpha_bar_solution(alpha_bar):
    signal = alpha_bar.sqrt()
    return ((signal - signal[-1]) / (1 - signal[-1])) ** 2


checks.rescaled_alpha_bar(rescaled_alpha_bar_solution).require()

# %% [markdown]
# Does it help? Here are the flat pictures of "Break it" with the rescaled schedule. A simple alternative keeps the old schedule, and starts from noise of the variance that $x_T$ really has. (`from_alpha_bar` clips the last $\beta$ to 0.999.)

# %%
old = schedules["scaled_linear"]
rescaled = schedule.from_alpha_bar(rescaled_alpha_bar_solution(old.alpha_bar))
flat = GaussianMixture(64 * torch.linspace(-1, 1, 41)[:, None], std=0.1)
real = flat.sample(3000, torch.Generator().manual_seed(9))[0]
size = math.sqrt(old.alpha_bar[-1] * real.var() + 1 - old.alpha_bar[-1])  # sd of x_T
settings = {"scaled_linear": (old, 1), "larger start": (old, size), "rescaled": (rescaled, 1)}
for name, (each, scale) in settings.items():
    spreads = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        start = scale * torch.randn(1000, 1, generator=generator)
        *_, last = sample(flat.denoiser(each), start, each.timesteps(250), generator=generator)
        spreads.append((last.x / 64).std().item())
    left = each.alpha_bar[-1].sqrt()
    print(f"{name:14} signal left {left:.5f}   sd of brightness {mean_sd(spreads)}   (real: 0.59)")
    assert max(spreads) < 0.4 if name == "scaled_linear" else min(spreads) > 0.53

# %% [markdown]
# Both help, and neither quite reaches 0.59 in 250 steps. The alternative needs the variance of the data.
#
# Zero terminal SNR has two consequences. At $\bar\alpha_T = 0$ a prediction of $\varepsilon$ says nothing about $x_0$. So the network must predict $x_0$, or $v = \sqrt{\bar\alpha_t}\,\varepsilon - \sqrt{1-\bar\alpha_t}\,x_0$ (**v prediction**, lesson 03). And sampling must start at $T$.
#
# ### 6 · The posterior mean ●●● 30 minutes
#
# Write the denoiser of "A first look" for a data set of finitely many `points` (N, D), all equally likely. Given `x` (B, D) at a time with $\bar\alpha_t$ = `alpha_bar_t`, return $\mathbb E[x_0 \mid x_t]$, (B, D). By Bayes, the probability that $x_t$ comes from the point $x_i$ is proportional to the Gaussian $\mathcal N(x_t;\ \sqrt{\bar\alpha_t}\,x_i,\ (1-\bar\alpha_t) I)$. The guess is the average of the points with these weights. On average, no network has a lower squared error on that data set.


# %%
def best_guess(x, alpha_bar_t, points):
    """x: (B, D), points: (N, D) float64; alpha_bar_t: a number. Returns (B, D) float64."""
    ...


# %%
checks.best_guess(best_guess)

# %% [markdown]
# <details><summary>Hint</summary>
#
# All squared distances at once: `(x[:, None] - center).square().sum(-1)` is (B, N). A Gaussian is $e^{-\text{distance}^2/(2\,\text{variance})}$. `softmax` over the points takes the exponents and gives weights that sum to 1 in each row. Then `weight @ points`.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def best_guess_solution(x, alpha_bar_t, points):
    distance = (x[:, None] - math.sqrt(alpha_bar_t) * points).square().sum(-1)  # (B, N)
    weight = (-distance / (2 * (1 - alpha_bar_t))).softmax(1)  # (B, N), rows sum to 1
    return weight @ points


checks.best_guess(best_guess_solution).require()

# %% [markdown]
# Now all 1,797 digits are the points. One of them gets noise, and your function denoises it. (If it is still to do, the solution is used.)

# %%
mine = best_guess if checks.best_guess(best_guess).passed else best_guess_solution
points, five = handwriting.flatten(1).double(), handwriting[5:6]
times = (100, 300, 450, 550, 650, 750, 900)


def noisy_five(t, seed=0):
    return linear.diffuse(five, t, normal(five, seed))


def guess(x, t):
    return mine(x.flatten(1).double(), linear.alpha_bar[t].item(), points)


noisy = [noisy_five(t) for t in times]
guesses = [guess(x, t) for x, t in zip(noisy, times)]
both = torch.cat([*noisy, torch.cat(guesses).view(-1, 1, 16, 16).float()])
assert (guesses[1] - points[5]).abs().max() < 0.05  # t = 300: the original digit
assert (guesses[-1] - points.mean(0)).abs().max() < 0.1  # t = 900: nearly the mean of all
plots.show(
    plots.image_grid(
        both, columns=len(times), titles=[f"t = {t}" for t in times], rows=["noisy", "best guess"]
    ),
    "Above, a digit five noised more and more; below, the best guess of the clean digit: sharp at "
    "t = 100 and 300, a blend of several digits at 450, and close to the average of all at 900.",
)
for t in (200, 300):
    sharp = [(guess(noisy_five(t, s), t) - points[5]).abs().max() < 0.05 for s in range(40)]
    print(f"t = {t}: the original digit for {sum(sharp)} of 40 noises")
    assert sum(sharp) == 40 if t == 200 else 10 < sum(sharp) < 30

# %% [markdown]
# With this noise, the guess is the original digit up to $t = 300$. Of 40 noises, all give the original at $t = 200$, but only about half at $t = 300$. At $t = 450$ it is a blend, because several digits could have led to this picture. At the end it is almost the average of all. This denoiser can only blend the 1,797 digits.
#
# ## Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    r"Someone adds noise to a picture in 500 small steps; you jump to $t = 500$ in one line. What do the two results have in common?",
    {
        "They are the same picture": "No: each drew its own noise. What agrees is the distribution from which they are drawn.",
        "They are draws from the same distribution": r"Sums of independent Gaussians are Gaussian, and mean and variance agree: $\sqrt{\bar\alpha_t}x_0$ and $1-\bar\alpha_t$.",
        "They agree only if T is large": "The jump is exact for every number of steps, even for two.",
        "They agree only on average": r"Means agree, but also the variances and the whole shape: both are Gaussian.",
    },
    answer="They are draws from the same distribution",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    r"At some time $\bar\alpha_t = 0.36$. How much of $x_0$, and how much noise, is in $x_t$?",
    {
        "0.36 of x₀ and 0.64 of noise": r"These are the variances, $\bar\alpha_t$ and $1-\bar\alpha_t$. The factors are their roots.",
        "0.6 of x₀ and 0.8 of noise": r"$\sqrt{0.36} = 0.6$ and $\sqrt{0.64} = 0.8$, legs of a right triangle with hypotenuse 1.",
        "0.6 of x₀ and 0.4 of noise": r"The factors do not sum to 1, their squares do: $0.6^2 + 0.8^2 = 1$.",
    },
    answer="0.6 of x₀ and 0.8 of noise",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Your samples are all of medium brightness, though training went well. Where do you look first?",
    {
        "At the network: it is too small": "A small network blurs or distorts. Here dark and bright pictures are both missing.",
        "At √ᾱ at the last time": r"If signal is left at $T$, the network learned to read the brightness there. Pure noise has a mean near 0, so it predicts medium brightness. If it is small, look next at the number of steps near $T$.",
        "At β at the first time": "The first steps change only the finest detail, not the brightness.",
    },
    answer="At √ᾱ at the last time",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "A schedule works well at 64 × 64. You train at 256 × 256 with the same one. What happens at a given time t?",
    {
        "Each pixel is noisier": "Each pixel has the same noise as before: ᾱ does not know the size.",
        "More of the picture can be seen": r"Averaging 4 × 4 pixels divides the variance of the noise by 16. After averaging, the log-SNR is higher by $2\log 4$; lower the schedule's $\lambda$ by as much.",
        "Nothing changes": "In each pixel nothing changes. But neighboring pixels are nearly equal, and their noises are independent.",
    },
    answer="More of the picture can be seen",
)

# %% [markdown]
# ## Recap
#
# - One step shrinks and adds noise: $x_t = \sqrt{1-\beta_t}\,x_{t-1} + \sqrt{\beta_t}\,\varepsilon_t$. It leaves $\mathcal N(0, I)$ as it is.
# - Any number of steps is one jump: $x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\varepsilon$, with $\bar\alpha_t = \prod_{s\le t}(1-\beta_s)$.
# - All variance-preserving schedules follow the same arc; log-SNR compares them.
# - A good schedule leaves almost no signal at $T$, and spends its steps at the noise levels where the data changes: for larger pictures, at lower log-SNR.
# - The reverse process needs only the schedule, the posterior mean $\mathbb E[x_0\mid x_t]$, and a choice of the step's variance.
#
# **Next.** In lesson 03 a U-Net learns this average, and we derive the reverse step.
#
# **References.**
#
# - Ho et al., NeurIPS 2020 (DDPM): the chain, linear schedule, $L_T$.
# - Nichol and Dhariwal, ICML 2021 (Improved DDPM): cosine.
# - Rombach et al., CVPR 2022 (latent diffusion): scaled linear.
# - Jabri et al., *Scalable Adaptive Computation for Iterative Generation*, 2022: sigmoid.
# - Hoogeboom et al., *simple diffusion*, 2023: larger pictures.
# - Lin et al., WACV 2024: Table 1, Algorithm 1.
