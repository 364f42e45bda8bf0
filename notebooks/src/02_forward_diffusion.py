# %% [markdown]
# # 02 · Forward diffusion: how to lose a picture, gradually
#
# **The question.** A network can learn to paint only if somebody shows it the way from noise to
# a picture. Nobody knows that way. But the other direction, from a picture to noise, is easy:
# add a little noise, again and again. How much, how fast, and can we skip the "again and again"?
#
# **Afterwards you can**
# - noise any picture to any time in a single line, and prove that the line equals a thousand small steps;
# - read a noise schedule: what it keeps, what it destroys, and when;
# - tell a bad schedule by its looks, and mend it;
# - say why running time backwards needs just one thing that we do not have yet.
#
# **Before it:** a little torch, and the Gaussian chain at the end of lesson 01.
#
# **Time:** 50 minutes to read and play, 80 more for all exercises; about 25 seconds to run.
#
# **On the map:** 01 Markov chains → **02 forward diffusion** → 03 DDPM, where a network learns the way back → 04 DDIM, in fewer steps

# %%
import math

import torch
from torch import nn

from labkit import schedule
from labkit.data import digits, photos
from labkit.denoiser import Denoiser
from labkit.lab import checks, plots, quiz, show_source, widgets
from labkit.lab.forward_plot import draw_arc, draw_end, draw_explorer, film, normal, paint, scatter
from labkit.mixture import GaussianMixture
from labkit.sampler import sample
from labkit.schedule import NoiseSchedule

plots.use_style()
torch.manual_seed(0)
NAMES = ("linear", "cosine", "sigmoid", "scaled_linear")
schedules = {name: schedule.by_name(name) for name in NAMES}
linear, T = schedules["linear"], 1000

# %% [markdown]
# Three things to destroy. With these two cells run, every section works by itself, in any order.

# %%
flower = photos.photo("flower", 128)  # (1, 3, 128, 128), a real photograph in [-1, 1]
handwriting = digits.load(16)[0]  # (1797, 1, 16, 16), real digits in [-1, 1]
angle = torch.arange(5) / 5 * 2 * math.pi
petals = GaussianMixture(1.4 * torch.stack([angle.sin(), angle.cos()], 1), std=0.25)  # in 2-D
dots = petals.sample(2000, torch.Generator().manual_seed(0))[0].float()  # (2000, 2)

# %% [markdown]
# ## See it first
#
# A photograph, a handwritten five, and two thousand dots that form five petals. The same
# process eats all three. Look at the right end: could you tell which was which?

# %%
times, five = (0, 50, 150, 300, 500, 750, 1000), handwriting[5:6]
figure, axes = plots.subplots(3, len(times), size=(10, 4.5))
for column, t in enumerate(times):
    paint(axes[0, column], linear.diffuse(flower, t, normal(flower))[0], f"t = {t}")
    paint(axes[1, column], linear.diffuse(five, t, normal(five))[0])
    scatter(axes[2, column], linear.diffuse(dots, t, normal(dots)), size=0.7)
plots.show(
    figure,
    "A photograph of a flower, a digit and a cloud of five petals at seven times from 0 to 1000: "
    "all three dissolve, and at the end each is plain noise.",
)

# %% [markdown]
# ## The idea
#
# We want a chain $x_0 \to x_1 \to \dots \to x_T$ that starts at the picture $x_0$ and forgets it.
# One step adds Gaussian noise of variance $\beta_t$, a small number. Then why not simply
#
# $$x_t = x_{t-1} + \sqrt{\beta_t}\,\varepsilon_t \;?$$
#
# Because noise piles up. After a thousand steps the variance has grown without bound, and the place where
# the chain ends depends on how long we ran it. The way *back* must start somewhere known. So each
# step also **shrinks** what is there, by just so much that a variance of 1 stays 1:
#
# $$\boxed{\;x_t = \sqrt{1-\beta_t}\;x_{t-1} + \sqrt{\beta_t}\;\varepsilon_t,\qquad \varepsilon_t\sim\mathcal N(0, I)\;}$$
#
# Lesson 01 met this chain: its stationary law is $\mathcal N(0, I)$, from every start. Three
# recipes, one of them right:

# %%
recipes = {
    "add only": lambda variance, b: variance + b,
    "shrink by 1−β, root forgotten": lambda variance, b: (1 - b) ** 2 * variance + b,
    "shrink by √(1−β)": lambda variance, b: (1 - b) * variance + b,
}
figure, axes = plots.subplots(size=(8, 3.2))
for name, recipe in recipes.items():
    variances = [0.25]  # of the pixels at t = 0
    for b in linear.beta[1:].tolist():  # from 0.0001 to 0.02
        variances.append(recipe(variances[-1], b))
    axes.plot(variances, label=f"{name}: ends at {variances[-1]:.2f}")
axes.set(xlabel="time t", ylabel="variance of x_t", ylim=(0, 3), title="Which recipe ends at 1?")
axes.legend(loc="upper right")
plots.show(figure, "Adding only climbs past 10; without the root it ends at one half; right, at 1.")

# %% [markdown]
# ## The derivation
#
# ### 1. One step keeps a variance of 1
#
# $x_{t-1}$ and the fresh noise are independent, so their variances add:
# $\operatorname{Var} x_t = (1-\beta_t)\operatorname{Var} x_{t-1} + \beta_t$. If
# $\operatorname{Var} x_{t-1} = 1$, the sum is $1-\beta_t+\beta_t = 1$. If it is not 1, its
# distance from 1 shrinks by the factor $1-\beta_t$. Let us see it for three starts and one large step:

# %% tags=["nbval-check-output"]
b = 0.3
for before in (0.25, 1.0, 4.0):
    after = (1 - b) * before + b
    print(
        f"variance {before:.2f} -> {after:.3f}    distance from 1: {before - 1:+.3f} -> {after - 1:+.3f}"
    )

# %% [markdown]
# ### 2. Two steps are one step
#
# Write $\alpha_t = 1-\beta_t$ for what a step keeps. Put the first step into the second:
#
# $$x_2 = \sqrt{\alpha_2}\,x_1 + \sqrt{1-\alpha_2}\,\varepsilon_2
#       = \sqrt{\alpha_2\alpha_1}\,x_0 + \underbrace{\sqrt{\alpha_2(1-\alpha_1)}\,\varepsilon_1 + \sqrt{1-\alpha_2}\,\varepsilon_2}_{\text{two independent Gaussians}}$$
#
# The sum of two independent Gaussians is a Gaussian, and its variance is the sum of theirs:
#
# $$\alpha_2(1-\alpha_1) + (1-\alpha_2) = 1-\alpha_2\alpha_1 .$$
#
# So two steps are one step, with $\alpha_1\alpha_2$ in place of $\alpha$. Nothing stops us from doing
# that again. With $\bar\alpha_t = \alpha_1\alpha_2\cdots\alpha_t$ (read "alpha bar"), **any number of steps is
# one jump**:
#
# $$\boxed{\;x_t = \sqrt{\bar\alpha_t}\;x_0 + \sqrt{1-\bar\alpha_t}\;\varepsilon\;}\qquad\text{(DDPM, equation 4)}$$
#
# The whole fate of the picture is in one table, $\bar\alpha_0 = 1, \bar\alpha_1, \dots, \bar\alpha_T \approx 0$.
# Does the algebra hold? We carry the factor of $x_0$ and the variance of the noise through a thousand
# steps, and compare with the table:

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

# %% [markdown]
# ### 3. Now with dice
#
# Algebra convinces; a simulation convinces in another way. Twenty thousand walkers start at the value
# $x_0 = 0.8$, one bright pixel, and take all thousand steps, each with fresh noise. The black line is what
# the jump says; the bars are where the walkers are. *Before you run it:* where is the peak at the end, and
# how far does the cloud reach?

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
    "Histograms of 20,000 simulated walkers at t = 20, 100, 300 and 1000, each under the curve of "
    "the one-jump formula: they coincide, and end as a standard normal.",
)

# %% [markdown]
# The pictures agree. Do the numbers? The mean of $n$ walkers is off by about $\sqrt{\operatorname{Var}/n}$
# and their variance by about $\operatorname{Var}\sqrt{2/n}$. A difference of a few such units is chance; of six, a bug.

# %%
for t, x in seen.items():
    mean, variance = 0.8 * linear.alpha_bar[t].sqrt().item(), 1 - linear.alpha_bar[t].item()
    off_mean = (x.mean().item() - mean) / math.sqrt(variance / len(x))
    off_variance = (x.var().item() - variance) / (variance * math.sqrt(2 / len(x)))
    print(
        f"t = {t:4}   mean {x.mean():.3f} (jump: {mean:.3f}, {off_mean:+.1f} units)"
        f"   variance {x.var():.3f} (jump: {variance:.3f}, {off_variance:+.1f} units)"
    )
    assert abs(off_mean) < 6 and abs(off_variance) < 6

# %% [markdown]
# ### 4. Signal and noise are the legs of a right triangle
#
# The two factors of the jump satisfy
#
# $$\left(\sqrt{\bar\alpha_t}\right)^2 + \left(\sqrt{1-\bar\alpha_t}\right)^2 = 1 .$$
#
# That is Pythagoras. Draw the signal $\sqrt{\bar\alpha_t}$ to the right and the noise $\sqrt{1-\bar\alpha_t}$
# upwards: the tip walks along a quarter circle, from "all picture" to "all noise". **Every schedule walks
# the same arc; schedules differ only in their pace.** The dots below are 100 steps apart. (The cosine's arc is
# drawn a little farther out, so that both can be seen.)

# %%
figure, _ = plots.subplots(size=(10, 4))
figure.clear()
two = {name: schedules[name] for name in ("linear", "cosine")}
draw_arc(figure, two, flower[0], normal(flower)[0])
plots.show(
    figure,
    "Left: a quarter circle, signal to the right and noise upwards, a right triangle with legs 0.8 "
    "and 0.6 in it, and the dots of the linear and the cosine schedule, spaced differently along "
    "the same arc. Right: the flower at angles 0, 30, 60, 75, 85 and 90 degrees.",
)

# %% [markdown]
# At 60° the noise is already larger than the signal, and you still see the flower: eyes average over many pixels
# (we will come back to that). And the linear schedule hurries through the middle: half of its dots crowd near the top.
#
# Is the triangle more than a picture of two factors? Take the photograph and the noise as vectors with 49,152 entries each.
# Two long random vectors are almost at a right angle, so Pythagoras holds for the pictures themselves:

# %%
x0, eps = flower.flatten(), normal(flower).flatten()
cosine = torch.dot(x0, eps) / (x0.norm() * eps.norm())
print(
    f"angle between picture and noise: {math.degrees(math.acos(cosine)):.2f}°, in {len(x0):,} dimensions"
)
for t in (100, 300, 600):
    x = linear.diffuse(flower, t, normal(flower)).flatten()
    legs = linear.alpha_bar[t] * x0.norm() ** 2 + (1 - linear.alpha_bar[t]) * eps.norm() ** 2
    print(f"t = {t}:  length² of x_t = {x.norm() ** 2:8.0f}   sum of the legs² = {legs:8.0f}")
    assert abs(x.norm() ** 2 / legs - 1) < 0.02

# %% [markdown]
# ## The real code
#
# This is what ran above, and what every later lesson runs. The jump is one line; the rest is care about
# shapes and about float64. `beta[0]` does not exist as a step, and `alpha_bar[0] == 1` is the clean picture,
# so times mean what they mean in the papers.

# %%
show_source(NoiseSchedule.diffuse, NoiseSchedule.signal, NoiseSchedule.noise)

# %% [markdown]
# And this is where $\bar\alpha$ comes from: DDPM's own choice, $\beta$ rising evenly from 0.0001 to 0.02, and the product.

# %%
show_source(schedule.linear, schedule.from_betas)

# %% [markdown]
# ## Four schedules, one ruler
#
# To compare schedules we need one number that says how noisy a moment is. The **signal-to-noise ratio** is
# signal variance over noise variance, and because it runs over many orders of magnitude, we take its logarithm:
#
# $$\mathrm{SNR}_t = \frac{\bar\alpha_t}{1-\bar\alpha_t},\qquad \lambda_t = \log \mathrm{SNR}_t .$$
#
# $\lambda = 0$ is the middle of the arc (45°): signal and noise are even. At $\lambda = +5$ the noise is
# hardly seen, at $\lambda = -5$ the picture is. Everything in between is where a network will have something
# to learn. How long does each schedule stay there?

# %% tags=["nbval-check-output"]
print("schedule        even at t   steps with −5 < λ < 5   signal left at T")
for name, each in schedules.items():
    even = int((each.log_snr > 0).sum())
    between = int((each.log_snr.abs() < 5).sum())
    print(f"{name:13} {even:9} {between:18} of {T} {each.alpha_bar[-1].sqrt():15.5f}")

# %% [markdown]
# ## Play: the schedule explorer
#
# **One question: two schedules start and end alike; what differs on the way?** Drag the time, then choose another
# schedule at the same time. Orange is the chosen one, gray are the others. The frames are made
# now, once, and flipped in your browser, so they follow your hand.
#
# Try this: stop where you can *just* still see the flower. Note $\lambda$. Do the same for the other schedules.
# Is it the same time? Is it the same $\lambda$?


# %%
times, nine = [0, 20, 50, *range(100, 500, 50), *range(500, 1001, 100)], handwriting[:9]


def explore(name):
    def draw(figure, t):
        move = draw_explorer(figure, schedules, name, flower, nine, dots)
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
# What you will have found: the *time* at which the flower goes depends on the schedule; the *log-SNR* does not. A
# schedule is only a map from time to $\lambda$. The linear one rushes: from $t = 700$ on there is nothing to see, and a
# third of all steps is spent on noise. That was the complaint of Improved DDPM (Nichol and Dhariwal 2021), and the cosine
# schedule its answer: it spends its time in the middle. The last one, `scaled_linear`, belongs to latent diffusion, and
# there is something odd at its right end. Keep it in mind for "Break it".
#
# **A second question: how large must the last β be before nothing is left?** DDPM chose 0.02. Was that wise?


# %%
def bend(figure, last=0.02):
    return draw_end(figure, flower, last)


def words(last):
    return f"Signal and noise over time for a last beta of {last:.3f}, and the flower at the end"


widgets.Redraw(bend, last=(0.001, 0.04, 0.001), labels={"last": "last β"}, alt=words)

# %% [markdown]
# ## Larger pictures need more noise
#
# Here is something that no formula above has told us. We noise the same photograph in four sizes, at the *same* time,
# so with the same $\bar\alpha$ in every pixel, and look at all four in the same frame:

# %%
t, sizes = 400, (32, 64, 128, 256)
figure, axes = plots.subplots(1, 4, size=(10, 2.9))
for each, size in zip(axes, sizes):
    picture = photos.photo("flower", size)
    paint(each, linear.diffuse(picture, t, normal(picture))[0], f"{size} × {size}, t = {t}")
plots.show(
    figure,
    "The flower at 32, 64, 128 and 256 pixels with the same noise level in each pixel: the larger "
    "the picture, the more of the flower can be seen.",
)

# %% [markdown]
# The same noise, and yet the flower comes out of the fog as the picture grows. The reason: neighboring pixels of a
# photograph say nearly the same, while their noises are independent. Your eye averages. Averaging $k\times k$ pixels
# leaves the signal almost as it was, but divides the *variance* of the noise by $k^2$. So the useful log-SNR rises by
#
# $$\log k^2 = 2\log k .$$
#
# Measured, on the photograph at 256 × 256: we average signal and noise apart, and compare their powers.

# %%
large = photos.photo("flower", 256)
signal, noise = linear.signal(t, large) * large, linear.noise(t, large) * normal(large)
ratio = {}  # log of signal power over noise power, for each k
print("averaged over   signal power kept   noise std    log-SNR   gain   2 log k")
for k in (1, 2, 4, 8):
    s, n = (nn.functional.avg_pool2d(part, k) for part in (signal, noise))
    ratio[k] = (s.square().mean() / n.square().mean()).log().item()
    kept, gain = s.square().mean() / signal.square().mean(), ratio[k] - ratio[1]
    line = f"{k} × {k} pixels {kept:14.1%} {n.std():16.3f} {ratio[k]:+11.2f} {gain:+7.2f}"
    print(line, f"{2 * math.log(k):7.2f}")
    assert abs(gain - 2 * math.log(k)) < 0.25

# %% [markdown]
# The gain falls a little short of $2\log k$, by just the detail that averaging takes from the signal. The consequence: a
# schedule tuned for 32 × 32 is too gentle for 256 × 256. To destroy as much of what can be *seen*, a picture with $k$ times
# as many pixels a side needs its $\lambda$ moved **down** by $2\log k$ (Hoogeboom et al. 2023, "simple diffusion"; Chen 2023).
# Below, each size is noised at the time where the linear schedule has that lower $\lambda$. Now the four look alike:

# %%
figure, axes = plots.subplots(1, 4, size=(10, 2.9))
for each, size in zip(axes, sizes):
    picture, wanted = photos.photo("flower", size), linear.log_snr[t] - 2 * math.log(size / 32)
    later = int((linear.log_snr - wanted).abs().argmin())
    paint(each, linear.diffuse(picture, later, normal(picture))[0], f"{size} × {size}, t = {later}")
plots.show(
    figure,
    "The flower at 32, 64, 128 and 256 pixels, each noised later as it grows larger: now equally "
    "little of the flower can be seen in all four.",
)

# %% [markdown]
# Keep this for lesson 11 (Imagen's cascade noises each size in its own way) and lesson 12 (latent diffusion avoids the question
# by keeping pictures small).
#
# ## First sight of time running backwards
#
# Can the film run backwards? A dot $x_t$ in the fog came from *some* clean dot $x_0$. We cannot know which, but if we know
# the data, we can say what the clean dot was **on average**:
#
# $$\hat x_0(x_t) = \mathbb E[x_0 \mid x_t].$$
#
# For real photographs this average is what a network has to learn, in lesson 03. For our five petals, a mixture of
# Gaussians, it is known exactly: weigh the petals by how likely each is to have sent a dot *here*, and average. That is the
# whole content of `petals.denoiser`. Lesson 03 derives the small step backwards that it allows; today we only look. Each dot
# has the color of the petal where it will end. When is that decided?

# %%
start = torch.randn(2000, 2, generator=torch.Generator().manual_seed(1))  # nothing but noise
guess = petals.denoiser(linear)  # knows E[x0 | x_t], exactly
states = list(
    sample(guess, start, linear.timesteps(200), generator=torch.Generator().manual_seed(2))
)
home = petals.posterior(states[-1].x).argmax(1)  # (2000,) the petal where each dot ends


def backwards(figure, state):
    left, right = figure.subplots(1, 2)
    colors = [plots.COLORS[k] for k in home]
    scatter(left, state.x, "the dots x_t", colors)
    scatter(right, state.x0, "the guess E[x_0 | x_t]", colors)


# %%
shown = states[::8] + [states[-1]]
widgets.Filmstrip(
    film(backwards, (8, 4), state=shown),
    [f"t = {state.t}" for state in shown],
    start=len(shown) // 2,
    title="From noise to petals",
    alt="Dots flow from a round cloud into five petals; beside them, the guess where each will end",
)

# %% [markdown]
# At the beginning all guesses sit in the middle: seen from the fog, every petal is equally likely, and the average of five
# petals is nothing at all. The colors stay mixed for a long time. So when does a dot decide? We ask at each time whether the petal
# that is likeliest *now* is the one where the dot will end. Blind guessing would be right for one dot in five.

# %%
for state in states[20:200:30]:
    likeliest = petals.diffused(linear, state.t).posterior(state.x).argmax(1)
    print(f"t = {state.t:4}   already headed home: {(likeliest == home).double().mean():4.0%}")

# %% [markdown]
# The decision falls late: past the middle of the way, at $t \approx 440$, not even two dots in five lean to where they will end. (In pictures, too, the
# coarse shape is settled before the detail: you will watch it in lesson 03.) And is the result really the data? We
# ask the data's own density, and count the petals:

# %%
real = petals.sample(2000, torch.Generator().manual_seed(3))[0]
for name, x in (("real dots", real), ("from noise", states[-1].x)):
    share = petals.posterior(x).argmax(1).bincount(minlength=5) / len(x)
    shares = "  ".join(f"{each:.2f}" for each in share)
    print(f"{name:10}   mean log-density {petals.log_prob(x).mean():+.2f}   in each petal {shares}")
assert abs(petals.log_prob(states[-1].x).mean() - petals.log_prob(real).mean()) < 0.15

# %% [markdown]
# Noise in, petals out. **Everything that this needed, besides today's schedule, was $\mathbb E[x_0 \mid x_t]$.**
#
# ## Train it
#
# The forward process has no parameters: there is nothing to train in it. But it is a machine that makes *examples*: a clean
# $x_0$, a random time $t$, noise $\varepsilon$, and the noised $x_t$, as many as we like. So we can ask a small network the question
# "here is $x_t$ and $t$; which noise is in it?" Knowing $\varepsilon$ is knowing $x_0$, by the jump solved for $x_0$. A network of 9,000
# numbers learns this for the petals, in seconds, and beside it we have what nobody has for photographs: the exact answer.


# %%
class SmallNet(nn.Module):
    """(x, t) -> noise: four layers; the time is told as log-SNR and as the height on the arc."""

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
    """Yields the loss of each step: draw data, noise it, ask for the noise, improve."""
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
# Before training, the answer to a question that puzzles everybody at first: *how low can this loss go?* Not to zero. Even the
# exact denoiser cannot know which noise was drawn, only its average. Its loss is the floor; we measure it first and draw it in.

# %%
exact, errors = petals.denoiser(linear), []
generator = torch.Generator().manual_seed(0)
for t in range(5, 1001, 5):
    x0 = petals.sample(500, generator)[0]
    eps = torch.randn(x0.shape, generator=generator, dtype=x0.dtype)
    errors.append((exact(linear.diffuse(x0, t, eps), t).eps - eps).square().mean())
floor = torch.stack(errors).mean().item()
print(f"No network can get below a loss of {floor:.3f}.")


# %%
def draw(figure, losses):
    axes = figure.subplots()
    smooth = torch.tensor(losses)[: len(losses) // 20 * 20].view(-1, 20).mean(1)
    axes.plot(20 * torch.arange(len(smooth)), smooth, label="loss, mean of 20 steps")
    axes.axhline(floor, color=plots.VERMILLION, label="floor: the exact denoiser")
    axes.set(xlabel="step", ylabel="loss", ylim=(0.15, 0.6), title="Which noise was added?")
    axes.legend()


torch.manual_seed(0)
torch.set_num_threads(1)  # for so small a network, a second core costs more than it brings
learned = Denoiser(SmallNet(), linear)
alt = "The loss falls and settles just above the floor set by the exact denoiser"
losses = widgets.watch(train(learned), draw, every=20, alt=alt)
assert floor * 0.95 < sum(losses[-200:]) / 200 < floor * 1.25

# %% [markdown]
# How good is it? Where $x_t$ and $t$ are given, we can subtract the exact answer: what remains is the network's own error. And we can do
# with it what we did with the exact one: run time backwards.

# %%
generator = torch.Generator().manual_seed(0)
for t in (10, 50, 100, 200, 400, 800):
    x0, eps = petals.sample(4000, generator)[0].float(), torch.randn(4000, 2, generator=generator)
    x = linear.diffuse(x0, t, eps)
    with torch.no_grad():
        error = (learned(x, t).eps - exact(x, t).eps).square().mean()
    print(f"t = {t:4}   mean squared distance of the network from the exact answer: {error:.4f}")

# %%
clouds = {"real": petals.sample(2000, generator)[0].float()}
start = torch.randn(2000, 2, generator=generator)
for name, denoise in (("exact denoiser", exact), ("network", learned)):
    with torch.no_grad():
        *_, last = sample(denoise, start, linear.timesteps(200), generator=generator)
    clouds[name] = last.x
figure, axes = plots.subplots(1, 3, size=(10, 3.9))
for each, (name, x) in zip(axes, clouds.items()):
    scatter(each, x, f"{name}: {petals.log_prob(x).mean():+.2f}")
plots.show(
    figure,
    "Three clouds of five petals: real dots, dots made from noise by the exact denoiser, and dots "
    "made by the trained network, with a few strays between the petals.",
)

# %% [markdown]
# The number over each cloud is its mean log-density under the true law; higher is better, and the real dots set the mark. (The exact
# denoiser comes out a little *above* it: with 200 steps instead of 1000 the petals get slightly too tight. Steps cost something; lesson 04
# is about that.) The network is nearly there. Look for its strays between the petals, and at which times its error is largest: where the decision falls, the exact answer is
# a cliff, and small networks build slopes.
#
# ## Measure: is the end really noise?
#
# The way back starts from $\mathcal N(0, I)$. The way there ends at $q(x_T \mid x_0)$. The distance between the two is the one term of the
# DDPM bound without any network in it; for Gaussians it is a closed form, per pixel and in bits:
#
# $$L_T = \mathrm{KL}\big(q(x_T|x_0)\,\|\,\mathcal N(0,I)\big) = \frac{1}{2\ln 2}\big(\bar\alpha_T\,x_0^2 - \bar\alpha_T - \log(1-\bar\alpha_T)\big).$$
#
# DDPM reports about $10^{-5}$ bits per dimension on CIFAR-10 (section 4 of the paper). Lin et al. (2024, Table 1) list $\sqrt{\bar\alpha_T}$
# for three schedules in use. Ours beside theirs, with $x_0^2$ averaged over all 1,797 digits and over both photographs. Nothing here is
# random, so there is no spread to state:

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

# %% [markdown]
# The linear row is DDPM's "about $10^{-5}$". `scaled_linear` is a hundred times worse: 0.002 bits. Is that a lot? In one pixel, no. But a latent
# picture of Stable Diffusion has 64 × 64 places, and what they have *in common*, their brightness, adds up over all of them.
#
# ## Break it
#
# ### Signal left at the end
#
# Take a world of flat pictures, 64 × 64, each with a brightness between −1 (night) and +1 (snow), with a little grain. All of them lie along a
# single line in 4,096 dimensions, the direction $(1, \dots, 1)/64$, and nothing else distinguishes them. So we follow just the coordinate along that
# line: there, brightness $b$ sits at $64\,b$, and the noise has variance 1 as in any direction. The leftover signal of `scaled_linear` is
# $0.068 \cdot 64\,b = 4.4\,b$, more than four times the noise! A dark picture does *not* end as pure noise. But sampling starts from
# pure noise. With the exact denoiser and 250 steps:

# %%
levels = torch.linspace(-1, 1, 41)
world = GaussianMixture(64 * levels[:, None], std=1.0)


def brightness(each, seed, n=3000, steps=250):
    """Brightness of n pictures, sampled from noise with the world's exact denoiser."""
    generator = torch.Generator().manual_seed(seed)
    start, times = torch.randn(n, 1, generator=generator), each.timesteps(steps)
    *_, last = sample(world.denoiser(each), start, times, generator=generator)
    return last.x[:, 0] / 64


runs = {
    "the world": [world.sample(3000, torch.Generator().manual_seed(s))[0] / 64 for s in range(3)]
}
for name in ("linear", "scaled_linear"):
    runs[name] = [brightness(schedules[name], seed) for seed in range(3)]

# %%
figure, axes = plots.subplots(1, 3, size=(10, 2.8), sharex=True, sharey=True)
for each, (name, values) in zip(axes, runs.items()):
    spread = torch.tensor([x.std().item() for x in values])
    each.hist(values[0].flatten().numpy(), bins=40, range=(-1.1, 1.1), density=True)
    title = f"{name}: spread {spread.mean():.2f} ± {spread.std():.2f}"
    each.set(title=title, xlabel="brightness", yticks=[])
plots.show(
    figure,
    "Histograms of brightness: the world and the samples of the linear schedule are flat from "
    "−1 to 1; the samples of scaled_linear pile up around medium gray.",
)

# %% [markdown]
# (3,000 pictures, three seeds, mean ± sd; the world itself is the floor.) **Its looks:** everything comes out in medium brightness, no night and
# no snow, though the denoiser is perfect. This was a real and long unnoticed flaw of Stable Diffusion (Lin et al. 2024). In exercise 5
# you will mend it.
#
# ### Three more, by their looks
#
# Every one of these has been in somebody's code. Cover the labels with your hand and look at the strips: can you tell what went wrong in each?

# %%
small = photos.photo("flower", 64)
times, eps, alpha_bar = (0, 100, 250, 500, 750, 1000), normal(small), linear.alpha_bar.float()
fast = schedule.from_betas([0.02] * T)
mistakes = {
    "right": lambda t: linear.diffuse(small, t, eps),
    "roots forgotten": lambda t: alpha_bar[t] * small + (1 - alpha_bar[t]) * eps,
    "never shrunk": lambda t: small + linear.beta[: t + 1].sum().sqrt().float() * eps,
    "β = 0.02 from the start": lambda t: fast.diffuse(small, t, eps),
}
strip = torch.cat([noised(t) for noised in mistakes.values() for t in times])
titles = [f"t = {t}" for t in times]
plots.show(
    plots.image_grid(strip, len(times), titles, rows=list(mistakes), scale=2),
    "Four strips of the flower from t = 0 to 1000. Right; roots forgotten: pale in the middle; "
    "never shrunk: too harsh, and the flower stays; β 0.02 from the start: gone by t = 250.",
)
print(f"{'std at t =':24}", "".join(f"{t:7}" for t in times))
for name, noised in mistakes.items():
    print(f"{name:24}", "".join(f"{noised(t).std():7.2f}" for t in times))

# %% [markdown]
# - **Roots forgotten:** the picture turns pale halfway, and its spread dips before it comes back to 1. Variances where standard deviations belong.
# - **Never shrunk:** the spread grows past 3, and the flower never quite goes. (This is not nonsense: it is the *variance-exploding* family. But
#   then the way back must start from noise of that size, and with our sampler it would not.)
# - **β = 0.02 from the start:** nothing is wrong with a single formula. But at $t = 250$ all is over, and a network would spend three quarters of its
#   training on looking at noise.
#
# And one that labkit does not let you make. `linear` rescales β so that fewer steps make larger ones. Then how few can there be?

# %% tags=["nbval-check-output"]
try:
    schedule.linear(T=20)
except ValueError as error:
    print(error)

# %% [markdown]
# $\beta_{20} = 0.02\cdot 1000/20 = 1$: the last step would replace everything. With 21 steps it just works. To *sample* in 20 steps you do not need
# a schedule with 20 times: you visit 20 of the 1000. That is lesson 04.
#
# ## Exercises
#
# Write your function where it says `...`, run the cell, then the check below it. A check draws fresh random inputs each time, compares with
# labkit, and if it knows your mistake, it says its name. Hints and solutions are folded; a solution runs the same check as you.
#
# ### 1 · One step ● 5 minutes
#
# Write one step of the chain: from `x` at time $t-1$ to time $t$, given `beta` (a number). Draw the noise with the given
# `generator`, so that runs can be repeated. Everything else today rests on this line.


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
# The solution is folded in the next cell: click on the three dots. The next exercises have theirs in the same place.


# %% jupyter={"source_hidden": true} tags=["solution"]
def noising_step_solution(x, beta, generator):
    return math.sqrt(1 - beta) * x + math.sqrt(beta) * torch.randn(x.shape, generator=generator)


checks.noising_step(noising_step_solution).require()

# %% [markdown]
# ### 2 · The table ● 5 minutes
#
# From the variances `beta` of the steps $1 \dots T$, a float64 tensor (T,), make the table `alpha_bar`, (T+1,), float64. Half of all
# off-by-one errors in diffusion code are born in this table.


# %%
def alpha_bar_table(beta):
    """beta: (T,) float64, of the steps 1 ... T. Returns (T+1,) float64."""
    ...


# %%
checks.alpha_bar_table(alpha_bar_table)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `torch.cumprod` multiplies up. What is $\bar\alpha_0$? `torch.cat` puts it in front.
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
# In training, every picture of a batch gets its own time. Given `x0` and `eps` (B, C, H, W), float32, times `t` (B,) long, and the
# float64 table `alpha_bar` (T+1,), return `x_t` as float32. Two traps: shapes and dtype.


# %%
def jump(x0, t, alpha_bar, eps):
    """x0, eps: (B, C, H, W) float32; t: (B,) long; alpha_bar: (T+1,) float64. Returns x_t."""
    ...


# %%
checks.jump(jump)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `alpha_bar[t]` has shape (B,). To multiply a batch of pictures row by row, it needs the shape (B, 1, 1, 1): `.view(-1, 1, 1, 1)`. A float64 tensor times a float32
# tensor is float64, so convert the factors with `.to(x0.dtype)`, *after* taking the root.
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
# Given `alpha_bar` (T+1,) of a schedule that suits pictures of some size, return the table that suits pictures `k` times as wide and high: its log-SNR
# is lower by $2\log k$ at every time. At $t = 0$ the log-SNR is $+\infty$, and $\bar\alpha_0$ must still come out as 1.


# %%
def shifted_alpha_bar(alpha_bar, k):
    """alpha_bar: (T+1,) float64; k: a number. Returns (T+1,) float64."""
    ...


# %%
checks.shifted_alpha_bar(shifted_alpha_bar)

# %% [markdown]
# <details><summary>Hint</summary>
#
# $\log\frac{\bar\alpha}{1-\bar\alpha}$ is what torch calls `torch.logit`, and its inverse is `torch.sigmoid`; both know what to do with infinity. Or do it with fractions: which
# $\bar\alpha'$ has $\frac{\bar\alpha'}{1-\bar\alpha'} = \frac{1}{k^2}\,\frac{\bar\alpha}{1-\bar\alpha}$?
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def shifted_alpha_bar_solution(alpha_bar, k):
    return torch.sigmoid(torch.logit(alpha_bar) - 2 * math.log(k))


checks.shifted_alpha_bar(shifted_alpha_bar_solution).require()

# %% [markdown]
# ### 5 · Mend the end ●● 15 minutes
#
# Stable Diffusion's schedule leaves a signal of 0.068 at the end. The cure of Lin et al. (2024, Algorithm 1) works on the **signal** $\sqrt{\bar\alpha_t}$: move the whole
# curve down until it ends at 0, then stretch it so that it starts where it did. (The paper keeps its value at $t = 1$; our table has a $t = 0$, so keep
# $\sqrt{\bar\alpha_0} = 1$.) Return the new `alpha_bar`, (T+1,).


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
# Does the cure cure? The broken world of before, with the mended schedule. (An end of exactly 0 would make the last $\beta$ equal to 1; `from_alpha_bar` stops at 0.999.)

# %%
old = schedules["scaled_linear"]
mended = schedule.from_alpha_bar(rescaled_alpha_bar_solution(old.alpha_bar))
world = GaussianMixture(64 * torch.linspace(-1, 1, 41)[:, None], std=1.0)
generator, spread = torch.Generator(), {}
for name, each in (("scaled_linear", old), ("mended", mended)):
    start = torch.randn(3000, 1, generator=generator.manual_seed(0))
    *_, last = sample(world.denoiser(each), start, each.timesteps(250), generator=generator)
    spread[name] = (last.x / 64).std().item()
    left = each.alpha_bar[-1].sqrt()
    print(f"{name:14} signal left {left:.5f}   spread {spread[name]:.2f}   (the world: 0.59)")
assert spread["scaled_linear"] < 0.4 and spread["mended"] > 0.53

# %% [markdown]
# ### 6 · The best guess ●●● 30 minutes
#
# Write the denoiser that ran time backwards, for the simplest data there is: a finite set of `points` (N, D), all equally likely. Given dots `x` (B, D) at a time with
# $\bar\alpha_t$ = `alpha_bar_t`, return $\mathbb E[x_0 \mid x_t]$, (B, D). By Bayes, a point $x_i$ has sent $x_t$ with a probability proportional to the Gaussian
# $\mathcal N(x_t;\ \sqrt{\bar\alpha_t}\,x_i,\ (1-\bar\alpha_t) I)$; the guess is the average of the points with these shares.
#
# Why it matters: with all digits as points, this *is* the perfect denoiser of that data set, and the best that any network of lesson 03 could do on it.


# %%
def best_guess(x, alpha_bar_t, points):
    """x: (B, D); alpha_bar_t: a number; points: (N, D). Returns (B, D)."""
    ...


# %%
checks.best_guess(best_guess)

# %% [markdown]
# <details><summary>Hint</summary>
#
# All squared distances at once: `(x[:, None] - center).square().sum(-1)` is (B, N). A Gaussian is $e^{-\text{distance}^2/(2\,\text{variance})}$; shares that sum to 1 in each row
# are a `softmax` over the points, and it takes the exponent without the `exp`. Then `share @ points`.
#
# </details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def best_guess_solution(x, alpha_bar_t, points):
    distance = (x[:, None] - math.sqrt(alpha_bar_t) * points).square().sum(-1)  # (B, N)
    share = (-distance / (2 * (1 - alpha_bar_t))).softmax(1)  # (B, N), rows sum to 1
    return share @ points


checks.best_guess(best_guess_solution).require()

# %% [markdown]
# The reward: your function on real handwriting. All 1,797 digits are the points; one of them is noised, and the best guess looks at it through the fog. (If `best_guess` above is
# still to do, the solution stands in.)

# %%
mine = best_guess if checks.best_guess(best_guess).passed else best_guess_solution
points, times = handwriting.flatten(1).double(), (100, 300, 450, 550, 650, 750, 900)
noised = torch.cat([linear.diffuse(handwriting[5:6], t, normal(handwriting[5:6])) for t in times])
guesses = [
    mine(x.flatten()[None].double(), linear.alpha_bar[t].item(), points)
    for x, t in zip(noised, times)
]
both = torch.cat([noised, torch.cat(guesses).view(-1, 1, 16, 16).float()])
plots.show(
    plots.image_grid(
        both, columns=len(times), titles=[f"t = {t}" for t in times], rows=["noised", "best guess"]
    ),
    "Above, a digit noised more and more; below, the best guess of the clean digit: sharp at "
    "first, then a blend of several digits, at last the average of all.",
)

# %% [markdown]
# Far into the fog the guess is sharp and right; then it becomes a blend, because several digits could have sent this noise; and at the end it is the average of all handwriting,
# which is what you should say when you know nothing.
#
# ## Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    r"Someone noises a picture 500 times with small steps; you jump to $t = 500$ in one line. What do the two results have in common?",
    {
        "They are the same picture": "No: each drew its own noise. What agrees is the law from which they are drawn.",
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
        "At the network: it is too small": "A small network blurs or distorts. Here something is missing at both ends in the same way.",
        "At √ᾱ at the last time": r"If signal is left at $T$, the network learned to read the brightness there, and pure noise tells it: medium.",
        "At β at the first time": "The first steps decide the finest grain, not the brightness.",
    },
    answer="At √ᾱ at the last time",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "A schedule works well at 64 × 64. You train at 256 × 256 with the same one. What happens at a given time t?",
    {
        "Each pixel is noisier": "Each pixel has the same noise as before: ᾱ does not know the size.",
        "More of the picture can be seen": r"Averaging 4 × 4 pixels divides the variance of the noise by 16. The useful log-SNR is higher by $2\log 4$; shift the schedule down.",
        "Nothing changes": "In each pixel nothing changes. But neighbors say nearly the same, and their noises are independent.",
    },
    answer="More of the picture can be seen",
)

# %% [markdown]
# ## Recap
#
# - One step: $x_t = \sqrt{1-\beta_t}\,x_{t-1} + \sqrt{\beta_t}\,\varepsilon_t$. It shrinks and adds, so that the end is $\mathcal N(0, I)$ whatever the start.
# - Any number of steps is one jump: $x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\varepsilon$, with $\bar\alpha_t = \prod_{s\le t}(1-\beta_s)$.
# - Signal and noise are the legs of a right triangle. A schedule is the pace along one and the same arc; log-SNR is the ruler.
# - A good schedule leaves nothing at the end, wastes few steps on noise, and fits the size of the picture.
# - The way back needs $\mathbb E[x_0\mid x_t]$ and nothing else.
#
# **Next.** For petals we knew that average. For pictures nobody does. Lesson 03 lets a U-Net learn it from the very examples that
# you can make now, and derives the step backwards that we only watched today.
#
# **References.** Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, 2020 (the chain, equation 4, the linear schedule, $L_T$ in section 4) ·
# Nichol and Dhariwal, *Improved Denoising Diffusion Probabilistic Models*, 2021 (cosine) · Rombach et al., *High-Resolution Image Synthesis with Latent Diffusion
# Models*, 2022 (scaled linear) · Hoogeboom, Heek and Salimans, *simple diffusion*, 2023, and Chen, *On the Importance of Noise Scheduling for Diffusion Models*, 2023
# (size and noise) · Lin et al., *Common Diffusion Noise Schedules and Sample Steps Are Flawed*, WACV 2024 (Table 1, Algorithm 1) · Jabri, Fleet and Chen, *Scalable Adaptive Computation for
# Iterative Generation*, 2022 (sigmoid).
