# %% [markdown]
# # 05 · Classifier guidance: a judge takes the painter's arm
#
# **The question.** The network of lesson 03 paints *a* digit, whichever it likes. You want a 7. Somebody else has a classifier that knows
# a 7 when it sees one. Can the judge steer the painter, although the painter was never told about classes and is not trained again?
#
# **Afterwards you can**
# - derive guidance from Bayes' rule in three lines, and prove by number that a perfect classifier turns an unconditional model into a conditional one;
# - write ADM's Algorithms 1 and 2, say why they differ, and when it matters;
# - say what the guidance scale does to fidelity and to diversity, and what it does *not* do;
# - tell why the classifier has to know noise, and recognize four classic mistakes by their looks.
#
# **Before:** lesson 03 (the score in $\hat\varepsilon$), lesson 04 (the step from $\hat x_0$ and $\hat\varepsilon$). Bayes' rule.
#
# **Time:** about 50 minutes to read and play, plus 85 for all exercises; 60 seconds to run on two cores.
#
# **On the map:** 03 DDPM → 04 DDIM → **05 classifier guidance** → 06 classifier-free guidance (the same without a judge).

# %%
from functools import partial

import torch

from labkit import metrics, zoo
from labkit.conditioning import Conditioning
from labkit.data import digits
from labkit.denoiser import MapX0, clip
from labkit.guidance import ScoreGuidance, gradient, mean_shift
from labkit.lab import checks, plots, quiz, show_source
from labkit.lab.widgets import watch
from labkit.lab.widgets.guidance_explorer import GuidanceExplorer
from labkit.mixture import GaussianMixture
from labkit.sampler import ddim, ddpm, sample
from labkit.schedule import linear
from labkit.train import shuffled, train

plots.use_style()
torch.manual_seed(0)
schedule = linear()

# %% [markdown]
# What the whole lesson uses: three overlapping clouds whose every law is known exactly, and five networks that ship with the course. After a
# restart, run these two cells, and then any section you like.

# %%
clouds = GaussianMixture([[-1.2, -0.6], [1.2, -0.6], [0.0, 1.1]], 0.45)  # west, east, north
north, blind = 2, clouds.denoiser(schedule)  # a perfect painter that hears nothing
told_north = Conditioning(vector=torch.eye(3)[north:])  # all weight on one cloud

painter = zoo.load("ddpm-digits").denoiser  # lesson 03's network, which knows no classes
guide = zoo.load("noisy-classifier-digits")  # a classifier of noisy digits
told = zoo.load("adm-digits")  # a painter that is told the class
judge = zoo.load("classifier-digits")  # a classifier of clean digits; it measures, and never steers
clean = zoo.load("classifier-digits-b")  # another one; it will try to steer


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0, **options):
    return torch.randn(*shape, generator=seeded(seed), **options)


def exact_log_prob(x, t):
    """log p(north | x_t), exactly: Bayes' rule among the clouds as they are at time t."""
    return clouds.diffused(schedule, t).log_joint(x).log_softmax(1)[:, north]


def end(states):
    """Where a walk ends."""
    *_, state = states
    return state.x


def paint(labels, scale, x, steps=20, by=painter, cond=None):
    """Digits from noise x, steered to the labels by the guide; a generator of states."""
    guided = ScoreGuidance(by, guide.log_prob(torch.as_tensor(labels)), scale)
    return sample(MapX0(guided, clip), x, by.schedule.timesteps(steps), cond, step=ddim)


# %% [markdown]
# ## 1 · See it first
#
# One noise, one painter, ten wishes. The painter is lesson 03's, to the last bit: it knows no classes, and left alone it makes the same digit from
# this noise every time (top row). In the rows below, a classifier pulls at every step towards the digit at the head of the column, ever harder.

# %%
start = noise(1, 1, 16, 16, seed=5).expand(10, 1, 16, 16)
pulls = (0, 1, 4, 12)
rows = [end(paint(range(10), scale, start)) for scale in pulls]
plots.show(
    plots.image_grid(torch.cat(rows), columns=10, titles=range(10),
                     rows=[f"scale {scale}" for scale in pulls]),
    "Four rows of ten digits from one noise. In the top row, without guidance, all ten are the "
    "same digit; with a growing scale each column turns into the digit that was asked for.",
)  # fmt: skip

# %% [markdown]
# How can a network that never heard of sevens paint one? And what did we pay for it? Look along a column, then remember lesson 04: the same noise, once, meant the same
# picture.
#
# ## 2 · The idea
#
# A denoiser knows in which direction points get *likelier*: the score $\nabla\log p(x_t)$ (lesson 03). A classifier knows in which direction a point gets more *northern*: $\nabla\log p(\text{north}\mid x_t)$.
# Walk in both directions at once. Below, three clouds at $t=200$ and the two fields of arrows; on the right, their sum, in black, over the arrows of a model that knows the north cloud only, in blue. Can you see the blue?

# %%
t, ticks = 200, torch.linspace(-2, 2, 13, dtype=torch.float64)
grid = torch.cartesian_prod(ticks, ticks)  # (169, 2)
noisy = clouds.diffused(schedule, t)
score, pull = noisy.score(grid), gradient(exact_log_prob, grid, t)
alone = GaussianMixture(noisy.means[north:], noisy.std[north:]).score(grid)
figure, axes = plots.subplots(1, 3, size=(10, 3.6), sharex=True, sharey=True)
panels = {"score: to where points are": score, "+ classifier: to the north": pull}
for axis, (name, arrows) in zip(axes, (panels | {"= the north's own score": score + pull}).items()):
    axis.scatter(*noisy.sample(600, seeded())[0].T, s=3, color=plots.SKY, alpha=0.5)
    if name.startswith("="):
        axis.quiver(*grid.T, *alone.T, color=plots.BLUE, scale=60, width=0.012)
    axis.quiver(*grid.T, *arrows.T, color=plots.BLACK, scale=60, width=0.005)
    axis.set(title=name, xlim=(-2.1, 2.1), ylim=(-2.1, 2.1), aspect="equal")
plots.show(figure, "Three fields of arrows over three clouds: the score points to the nearest cloud, "
           "the classifier's gradient points north except in the north, and their sum points to "
           "the north cloud from everywhere, exactly as that cloud's own score does.")  # fmt: skip

# %% [markdown]
# The sum of the two is not *like* the conditional score. It **is** the conditional score. That is Bayes' rule, and the whole lesson.
#
# ## 3 · The derivation
#
# ### 3.1 Bayes on scores
#
# We want to sample $p(x_t\mid y)$. Bayes' rule, and its logarithm:
#
# $$p(x_t\mid y)=\frac{p(x_t)\,p(y\mid x_t)}{p(y)}\qquad\Longrightarrow\qquad\log p(x_t\mid y)=\log p(x_t)+\log p(y\mid x_t)-\log p(y).$$
#
# Take the gradient with respect to $x_t$. The last term does not depend on it, so what is usually the hard part of Bayes' rule is simply gone:
#
# $$\boxed{\;\nabla_{x_t}\log p(x_t\mid y)=\underbrace{\nabla_{x_t}\log p(x_t)}_{\text{the painter}}+\underbrace{\nabla_{x_t}\log p(y\mid x_t)}_{\text{the judge}}\;}$$
#
# Note what the judge is asked: not whether the *finished picture* is a $y$, but whether the noisy $x_t$ **will become** one. Among Gaussian clouds all three are known, so we check at 500 random points and four times:

# %% tags=["nbval-check-output"]
points = 2 * noise(500, 2, dtype=torch.float64)
for t in (1, 100, 500, 1000):
    noisy = clouds.diffused(schedule, t)
    left = GaussianMixture(noisy.means[north:], noisy.std[north:]).score(points)
    right = noisy.score(points) + gradient(exact_log_prob, points, t)
    gap = (left - right).abs().max() / left.abs().max()
    print(f"t = {t:4}   equal to ten digits: {bool(gap < 1e-10)}")

# %% [markdown]
# ### 3.2 In the language of samplers: Algorithm 2
#
# Our samplers do not speak of scores but of $\hat\varepsilon$. Lesson 03 gave the dictionary: $\nabla\log p(x_t)=-\varepsilon/\sqrt{1-\bar\alpha_t}$. Multiply the boxed line by $-\sqrt{1-\bar\alpha_t}$, and write $g=\nabla_{x_t}\log p(y\mid x_t)$:
#
# $$\boxed{\;\hat\varepsilon\;=\;\varepsilon_\theta(x_t)-\sqrt{1-\bar\alpha_t}\;g\;}\qquad\text{(ADM, Algorithm 2)}$$
#
# Then $\hat x_0$ is derived from $\hat\varepsilon$ anew, and *any* sampler takes the step: DDIM, DDPM, whatever comes. Guidance is something done to a denoiser, so labkit makes it a wrapper that takes a denoiser and gives a
# denoiser. If the classifier is perfect, the guided walk must be the conditional walk, not on average but **step by step**: same noise, same dice, same points. With $\eta=0$ and with $\eta=1$:

# %% tags=["nbval-check-output"]
x, times = noise(400, 2, dtype=torch.float64), schedule.timesteps(50)
for eta in (0.0, 1.0):
    step = partial(ddim, eta=eta)
    steered = end(sample(ScoreGuidance(blind, exact_log_prob), x, times, None, step, seeded(1)))
    conditional = end(sample(blind, x, times, told_north, step, seeded(1)))
    gap = (steered - conditional).abs().max().item()
    print(f"eta {eta:g}: 400 walks of 50 steps end in the same places to 1e-6: {gap < 1e-6}")

# %% [markdown]
# A painter that knows no classes plus a perfect judge *is* a painter that knows them. From here on, every deviation has a name: the judge is not perfect, the judge pulls too hard, or we took the step wrongly.
#
# ### 3.3 Pulling harder
#
# Real judges are not perfect, and in ADM's experiments pulling with weight 1 gave pictures of which the classifier itself was sure, and people were not. So they multiplied the gradient by a **scale** $s$. What does that mean?
#
# $$s\,\nabla\log p(y\mid x)=\nabla\log p(y\mid x)^s=\nabla\log\frac{p(y\mid x)^s}{Z},$$
#
# where $Z$ normalizes over the classes; for the gradient we keep it out (it does not enter the walk). So $s>1$ obeys a **sharper** classifier. In one dimension, two classes at ±0.7 with standard deviation 0.5:

# %%
pair = GaussianMixture([[-0.7], [0.7]], 0.5)
line = torch.linspace(-2.5, 2.5, 151, dtype=torch.float64)[:, None]
log_right = pair.log_joint(line).log_softmax(1)  # (151, 2)
figure, (left, right) = plots.subplots(1, 2, size=(10, 3.1))
for s, color in zip((1, 2, 4, 8), plots.COLORS):
    left.plot(line, (s * log_right).softmax(1)[:, 1], color=color, label=f"s = {s}")
    tilted = (pair.log_prob(line) + s * log_right[:, 1]).softmax(0) / (line[1] - line[0])
    right.plot(line, tilted, color=color)
right.plot(line, pair.log_prob(line).exp(), "--", color=plots.BLACK, linewidth=1, label="p(x)")
left.set(title="Sharpened: p(right | x)^s / Z", xlabel="x", ylabel="probability")
right.set(title="p(x) p(right | x)^s, normalized", xlabel="x", ylabel="density")
left.legend()
right.legend()
plots.show(figure, "Left: the probability of the right class rises from 0 to 1, ever more steeply as "
           "s grows. Right: the density moves away from the other class as s grows.")  # fmt: skip

# %% [markdown]
# **A trap.** It is tempting to go on: "so guided sampling draws from the curves on the right, $p(x)\,p(y\mid x)^s$." Does it? We sample with the exact classifier, 100 steps, and compare:


# %%
def sharp_of_guess(s):
    """s log p(right | x_t): the classifier of noisy points, sharpened. What everybody does."""
    return lambda x, t: s * pair.diffused(schedule, t).log_joint(x).log_softmax(1)[:, 1]


def guess_of_sharp(s):
    """log E[p(right | x_0)^s | x_t], by a sum over a grid of clean x_0."""

    def log_prob(x, t):
        signal, width = schedule.alpha_bar[t].sqrt(), 1 - schedule.alpha_bar[t]
        seen = pair.log_prob(line) - (x - signal * line.T) ** 2 / (2 * width)  # (B, 151)
        return (seen.log_softmax(1) + s * log_right[:, 1]).logsumexp(1)

    return log_prob


x, times, exact = noise(1000, 1, dtype=torch.float64), schedule.timesteps(100), {}
print("  s   p(x) p(y|x)^s        s ∇log p(y|x_t)      ∇log E[p(y|x_0)^s | x_t]")
for s in (1, 2, 4):
    tilted = (pair.log_prob(line) + s * log_right[:, 1]).softmax(0)
    mean = (tilted * line[:, 0]).sum()
    cells = [(mean, (tilted * (line[:, 0] - mean) ** 2).sum().sqrt())]
    for log_prob in (sharp_of_guess(s), guess_of_sharp(s)):
        drawn = end(sample(ScoreGuidance(pair.denoiser(schedule), log_prob), x, times, step=ddpm,
                           generator=seeded(1)))  # fmt: skip
        cells.append((drawn.mean(), drawn.std()))
    exact[s] = cells
    print(f"  {s}   " + "        ".join(f"{m:.2f} ± {d:.2f}" for m, d in cells))
assert exact[4][1][0] > exact[4][0][0] + 0.15 and abs(exact[4][2][0] - exact[4][0][0]) < 0.05

# %% [markdown]
# (1,000 draws in 100 ancestral steps: read the means to ±0.03; every width comes out a little small.) At $s=1$ all agree: that is Bayes. At $s=4$ the usual guidance (middle) goes well **beyond** $p(x)p(y|x)^s$, and is narrower. Why? At time $t$ the classifier knows only $p(y\mid x_t)=\mathbb E[p(y\mid x_0)\mid x_t]$, and the power of a mean is not the mean of
# powers. The right-hand column takes the power inside the mean, and lands where it should; but it needs all clean pictures under the noise, which no classifier gives us. So keep the honest sentence: **scale 1 is a theorem; any other scale is a heuristic** that pushes towards pictures of which the
# classifier is surer still.
#
# ### 3.4 A painter that knows already
#
# If the model is conditional, its score is already $\nabla\log p(x_t)+g$. Adding $s'g$ gives $\nabla\log p(x_t)+(1+s')g$. **Scale $s'$ on a conditional model is scale $s'+1$ on an unconditional one**, as long as both are exact:

# %% tags=["nbval-check-output"]
for t in (50, 300, 800):
    unconditional = ScoreGuidance(blind, exact_log_prob, scale=3.0)(points, t).eps
    conditional = ScoreGuidance(blind, exact_log_prob, scale=2.0)(points, t, told_north).eps
    print(f"t = {t:3}   3 on blind is 2 on told: {torch.allclose(unconditional, conditional)}")

# %% [markdown]
# ### 3.5 Algorithm 1, the older sister
#
# The paper has another algorithm, for the ancestral sampler of lesson 03. There a step draws $x_s\sim\mathcal N(\mu,\Sigma)$, and we want to multiply that density by $p(y\mid x_s)$. Take a step so short that the classifier's log is a straight line around $\mu$: $\log p(y\mid x_s)\approx\text{const}+(x_s-\mu)^\top g$. Then
#
# $$-\tfrac12(x_s-\mu)^\top\Sigma^{-1}(x_s-\mu)+(x_s-\mu)^\top g\;=\;-\tfrac12(x_s-\mu-\Sigma g)^\top\Sigma^{-1}(x_s-\mu-\Sigma g)+\tfrac12g^\top\Sigma g,$$
#
# (multiply the right side out: the terms in $\Sigma g$ give $+(x_s-\mu)^\top g-\frac12g^\top\Sigma g$, and the last one is cancelled.) A Gaussian again, with its mean moved:
#
# $$\boxed{\;x_s\sim\mathcal N(\mu+s\,\Sigma g,\;\Sigma)\;}\qquad\text{(ADM, Algorithm 1)}$$
#
# Do the two agree? Algorithm 2 changes $\hat\varepsilon$ by $-\sqrt{1-\bar\alpha_t}\,g$, hence $\hat x_0$ by $+\frac{1-\bar\alpha_t}{\sqrt{\bar\alpha_t}}g$, hence the posterior's mean, in which $\hat x_0$ has the factor $\frac{\sqrt{\bar\alpha_s}\,(1-\alpha)}{1-\bar\alpha_t}$ with $\alpha=\bar\alpha_t/\bar\alpha_s$, by
#
# $$\frac{\sqrt{\bar\alpha_s}\,(1-\alpha)}{1-\bar\alpha_t}\cdot\frac{1-\bar\alpha_t}{\sqrt{\bar\alpha_t}}\;g=\frac{1-\alpha}{\sqrt\alpha}\;g .$$
#
# Algorithm 1 moves it by $\Sigma g$: with the large variance, $\Sigma=1-\alpha$. So the two differ by the factor $\sqrt\alpha$. In a single step of a thousand $\alpha\approx1$, and nobody notices. In a stride of fifty steps or ten, $\alpha$ is far from 1:

# %% tags=["nbval-check-output"]
print("Algorithm 1's move / Algorithm 2's move: the smallest and the largest over all steps")
print("steps    Σ = 1 − α        Σ = β̃ (posterior)")
for n in (1000, 250, 50, 10):
    at = schedule.alpha_bar[schedule.timesteps(n)[:-1]]  # T … 1, without the last step to 0
    at_t, at_s = at[:-1], at[1:]
    large = (at_t / at_s).sqrt()
    small = large * (1 - at_s) / (1 - at_t)
    print(f"{n:5}   {large.min():.3f} … {large.max():.3f}    {small.min():.3f} … {small.max():.3f}")

# %% [markdown]
# (With the posterior's variance $\tilde\beta$, Algorithm 1 is timid near the end, where $\tilde\beta$ is much smaller than $\beta$, even with a thousand steps.) Now the walks. The same noise, the same dice, the exact classifier, scale 1; the goal is known exactly, so we measure how far each
# algorithm's points end from those of the *conditional* walk:

# %%
ends = {}
for n in (1000, 50, 10):
    x, times = noise(300, 2, seed=3, dtype=torch.float64), schedule.timesteps(n)
    walk = partial(sample, x=x, timesteps=times)
    ancestral = partial(ddpm, v=1.0)
    goal = end(walk(blind, cond=told_north, step=ancestral, generator=seeded(5)))
    first = partial(mean_shift, log_prob=exact_log_prob, v=1.0)
    one = end(walk(blind, step=first, generator=seeded(5)))
    two = end(walk(ScoreGuidance(blind, exact_log_prob), step=ancestral, generator=seeded(5)))
    ends[n] = goal, one, two
    off = [(points - goal).norm(dim=1).mean().item() for points in (one, two)]
    arrived = [
        (clouds.posterior(points).argmax(1) == north).double().mean() for points in (one, two)
    ]
    print(f"{n:4} steps   Algorithm 1: {off[0]:.1e} away, {arrived[0]:.1%} in the north"
          f"   Algorithm 2: {off[1]:.0e} away, {arrived[1]:.1%}")  # fmt: skip
gaps = {n: (one - goal).norm(dim=1).mean() for n, (goal, one, two) in ends.items()}
assert gaps[1000] < 0.01 < gaps[50] < gaps[10]
assert all((two - goal).abs().max() < 1e-6 for goal, one, two in ends.values())

# %%
figure, axes = plots.subplots(1, 3, size=(10, 3.4), sharex=True, sharey=True)
for axis, (n, (_, one, two)) in zip(axes, ends.items()):
    axis.scatter(*clouds.sample(400, seeded())[0].T, s=4, color="#DDDDDD")
    axis.scatter(*two.T, s=5, color=plots.BLUE, label="Algorithm 2")
    axis.scatter(*one.T, s=5, color=plots.VERMILLION, alpha=0.7, label="Algorithm 1")
    axis.set(title=f"{n} steps", aspect="equal", xlim=(-2.6, 2.6), ylim=(-2, 2.6))
axes[0].legend(loc="lower left", markerscale=3)
plots.show(figure, "The ends of walks in 1000, 50 and 10 steps: with 1000 the points of both "
           "algorithms coincide in the north cloud; with fewer steps those of Algorithm 1 lag behind "
           "towards the other clouds.")  # fmt: skip

# %% [markdown]
# **Algorithm 2 with the exact classifier is the conditional walk at every number of steps**; Algorithm 1 only in the limit of short ones. And there is a case in which Algorithm 1 does nothing at all: DDIM with $\eta=0$ throws no dice, so $\Sigma=0$ and $\Sigma g=0$. That is why the paper needed
# a second algorithm, and why *eps shift* and *mean shift* are different things in labkit, with different names. One more warning: in the paper as printed, Algorithm 2 takes the scale $s$ as an input and then forgets it; the line must read $\hat\varepsilon=\varepsilon_\theta-s\sqrt{1-\bar\alpha_t}\,g$, as the authors' code has it.

# %% [markdown]
# ## 4 · The real code
#
# The wrapper is one line of arithmetic, $\hat\varepsilon=\varepsilon-s\sqrt{1-\bar\alpha_t}\,g$; $\hat x_0$ follows from it in `from_eps`:

# %%
show_source(ScoreGuidance.__call__)

# %% [markdown]
# The gradient is by automatic differentiation, with three details on which most home-made guidance fails: it switches gradients *on* (samplers run under `no_grad`), it takes the *sum* over the batch (each row's gradient is its own; a mean would divide it by the batch size), and it refuses what cannot work:

# %%
show_source(gradient)

# %% [markdown]
# Algorithm 1 is a step, not a wrapper, because it needs the step's variance. And what the judge answers is $\log p(y\mid x_t)$: `log_softmax`, then the row's own class, at the row's own time.

# %%
show_source(mean_shift, type(guide).log_prob)

# %% [markdown]
# ## 5 · Play: class, scale, seed
#
# The strip was painted beforehand and answers at once: each column keeps its noise while you change the class and the scale. Below it, choose freely, press *Paint*, and watch the digits come. Questions to take along:
#
# 1. At which scale does the class first obey? Is it the same scale for a 1 and for an 8?
# 2. At the largest scale, are the eight digits still eight *different* digits?
# 3. Find a noise that stubbornly refuses to become a certain class at scale 1. What did it become at scale 0?

# %%
GuidanceExplorer(paint, range(10), (0, 0.5, 1, 2, 4, 8, 16), shape=(1, 16, 16))

# %% [markdown]
# <details><summary>What you may have found</summary>
#
# 1. Mostly between 1 and 4, and it depends: a painter whose noise leads to a 9 has a short way to a 4 or a 7, and a long one to a 6.
# 2. They grow alike: slant and thickness converge to what the classifier finds easiest. Section 7 measures it.
# 3. The coarse shape is decided early, at high noise (lesson 03), and that is where the classifier is least sure and pulls least. Who is late has to pull hard.
# </details>
#
# ### What the judge sees, and where it pulls
#
# Here is a real 3, drowned in ever more noise. Below it, the gradient $\nabla_{x_t}\log p(8\mid x_t)$ of the shipped classifier: purple says "more ink here", orange "less". What would you change to make this 3 an 8?

# %%
pictures, labels = digits.load(16, "test")
three = pictures[labels == 3][:1]
moments, eps = (20, 150, 300, 450, 600, 800), noise(1, 1, 16, 16, seed=2)
figure, axes = plots.subplots(2, 6, size=(10, 3.6))
lengths = []
for (above, below), t in zip(axes.T, moments):
    x = guide.schedule.diffuse(three, t, eps)
    pull = gradient(guide.log_prob([8]), x, t)[0, 0]
    lengths.append(pull.norm().item())
    with torch.no_grad():
        sure = guide.log_prob([8])(x, t).exp().item()
    above.imshow(x[0, 0], cmap="gray", vmin=-1.5, vmax=1.5)
    below.imshow(pull, cmap="PuOr", vmin=-pull.abs().max(), vmax=pull.abs().max())
    above.set_title(f"t = {t}\np(8) = {sure:.2g}")
    below.set_title(f"length {pull.norm():.1f}")
    for axis in (above, below):
        axis.set(xticks=[], yticks=[])
plots.show(figure, "A 3 under growing noise, and below each picture the classifier's gradient "
           "towards 8: at low noise it asks for ink at the open left side of the 3, at high noise it "
           "is broad and vague.")  # fmt: skip
assert max(lengths[2:5]) > lengths[-1]

# %% [markdown]
# Where a 3 is open, an 8 is closed, and there the judge asks for ink. Under heavy noise it no longer knows where the strokes are, and its wish becomes broad and faint: a $p(8)$ near one in ten means "I cannot tell". In between lies the time at which a class is decided, and there the pull is strong. (Compare the lengths. Multiply by $\sqrt{1-\bar\alpha_t}$ in your head: that is what eps gets.)
#
# ## 6 · Train the judge: why it must know noise
#
# Why not use any good classifier, trained on clean pictures, of which the world is full? Because Bayes' rule asks for $p(y\mid x_t)$, with **noisy** $x_t$. First exactly. Among the clouds, the best classifier of *clean* points is known, too; we use it at all times, as if points were never noisy:


# %%
def clean_log_prob(x, t):
    """log p(north | x), by a judge that takes every noisy point for a clean one."""
    return clouds.log_joint(x).log_softmax(1)[:, north]


x, truth = noise(500, 2, dtype=torch.float64), clouds.sample(500, seeded(9))[0]
figure, axes = plots.subplots(1, 3, size=(10, 3.4), sharex=True, sharey=True)
for axis, (name, log_prob, scale) in zip(axes, (("knows noise, scale 1", exact_log_prob, 1.0),
                                                ("clean, scale 1", clean_log_prob, 1.0),
                                                ("clean, scale 4", clean_log_prob, 4.0))):  # fmt: skip
    drawn = end(sample(ScoreGuidance(blind, log_prob, scale), x, schedule.timesteps(50), step=ddim))
    axis.scatter(*truth.T, s=4, color="#DDDDDD")
    axis.scatter(*drawn.T, s=5, color=plots.BLUE)
    mean, std = drawn.mean(0), drawn.std(0)
    axis.set(title=f"{name}\nmean ({mean[0]:.2f}, {mean[1]:.2f})", aspect="equal")
    assert (mean[1] - 1.1).abs() < 0.1 if log_prob is exact_log_prob else mean[1] > 1.25
    print(f"{name:22} mean ({mean[0]:5.2f}, {mean[1]:.2f})   sd ({std[0]:.2f}, {std[1]:.2f})"
          f"   truth (0.00, 1.10), (0.45, 0.45)")  # fmt: skip
plots.show(figure, "Guided samples in the plane: the classifier that knows noise fills the north "
           "cloud; the clean one pushes them beyond and squeezes them.")  # fmt: skip

# %% [markdown]
# The clean judge believes in a sharp border between the classes, at any time, and drives everything away from it: at scale 1 the cloud becomes a wedge behind that border, at scale 4 most points are thrown out of the data altogether. How wrong is its pull? Between two clouds the slope of the log-odds is $|\Delta m|/\text{std}^2$ for clean points, but
# $\sqrt{\bar\alpha_t}\,|\Delta m|/(\bar\alpha_t\,\text{std}^2+1-\bar\alpha_t)$ for noisy ones. In pure noise, $\sqrt{\bar\alpha_T}=0.0064$, the clean judge pulls $1/(0.2025\cdot0.0064)\approx800$ times too hard, on points about which nothing at all can be known yet.
#
# A real network is worse off still: what a clean classifier says about pure noise is not even a formula, only whatever it happens to say about pictures it has never seen. So we train a judge on noise, by the recipe of the shipped one: a real digit, a uniform time, the jump $q(x_t|x_0)$, and cross-entropy. It is the down-going half of a U-Net, hears $t$, and
# pools by attention.

# %%
show_source(type(guide).loss)

# %%
pictures, labels = digits.load(16, "train")  # the last 360 are kept to test on
apprentice = zoo.build("noisy-classifier-digits")


def draw(figure, seen):
    axis = figure.subplots()
    losses = torch.tensor([step.loss for step in seen])
    axis.plot(losses, color=plots.SKY, linewidth=0.8)
    axis.plot(losses.unfold(0, min(20, len(losses)), 1).mean(1), color=plots.BLUE)
    axis.axhline(torch.log(torch.tensor(10.0)), linestyle="--", color=plots.BLACK, linewidth=1)
    axis.set(title=f"{seen[-1].step} steps, {seen[-1].images_per_second:.0f} pictures a second",
             xlabel="step", ylabel="cross-entropy", ylim=(0, 2.6))  # fmt: skip


seen = watch(train(apprentice, shuffled(pictures, labels, batch=128), steps=300, lr=2e-3),
             draw, every=10, alt="The cross-entropy falls from ln 10, a guess, to below 1.")  # fmt: skip
apprentice = seen[-1].ema

# %% [markdown]
# It cannot fall to 0: at late times nothing is left to read, and a good judge says "one in ten". How well do the three read, as noise grows? The clean classifier has only ever seen clean digits, and is excellent on them.

# %%
pictures, labels = digits.load(16, "test")
moments = (1, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
readers = {
    "clean": lambda x, t: clean(x),
    "trained here": lambda x, t: apprentice.net(x, torch.full((len(x),), t)),
    "shipped": lambda x, t: guide.net(x, torch.full((len(x),), t)),
}
figure, (left, right) = plots.subplots(1, 2, size=(10, 3.3))
for (name, read), color in zip(readers.items(), (plots.VERMILLION, plots.SKY, plots.BLUE)):
    right_share, sure = [], []
    for t in moments:
        with torch.no_grad():
            probs = read(guide.schedule.diffuse(pictures, t, noise(*pictures.shape)), t).softmax(1)
        right_share.append((probs.argmax(1) == labels).float().mean().item())
        sure.append(probs.max(1).values.mean().item())
    left.plot(moments, right_share, "o-", color=color, label=name)
    right.plot(moments, sure, "o-", color=color)
    print(f"{name:13}", " ".join(f"{share:5.0%}" for share in right_share))
left.set(title="How often it is right", xlabel="time t", ylabel="share of 360 digits")
right.set(title="How sure it is", xlabel="time t", ylabel="mean of its largest probability")
left.legend()
plots.show(figure, "Accuracy and confidence against time: those trained on noise stay right longer and "
           "grow unsure as they fail; the clean one fails early and stays sure.")  # fmt: skip

# %% [markdown]
# The clean classifier reads noise that it has never seen surprisingly far. But look at the right-hand panel: when it fails, it does not know. In pure noise, where nobody can do better than one in ten, its first choice still gets nearly four fifths, and it is another one every time. Those who were trained on noise lower their voices as they go blind, and a judge who says "one in ten" has **no gradient**: exactly
# what Bayes' rule asks for.
#
# And as guides? The same painter, the same noises, every digit four times, scale 4: once led by the clean classifier, once by the shipped guide. Neither is asked afterwards whether it succeeded: **never measure with the classifier that did the steering**; the pictures were just pushed up its own hill. The judge, who steered nobody, marks both.

# %%
wish, x = torch.arange(10).repeat(4), noise(40, 1, 16, 16, seed=1)
reads_clean = lambda x, t: clean(x).log_softmax(1).gather(1, wish[:, None])[:, 0]  # noqa: E731
led_by_clean = MapX0(ScoreGuidance(painter, reads_clean, 4.0), clip)
by_clean = end(sample(led_by_clean, x, painter.schedule.timesteps(20), step=ddim))
by_guide = end(paint(wish, 4.0, x))
plots.show(
    plots.image_grid(torch.cat([by_clean[:10], by_guide[:10]]), columns=10, titles=range(10),
                     rows=["clean", "knows noise"]),
    "Two rows of ten digits: led by the clean classifier, many are not the digit asked for; led by "
    "the one that knows noise, nearly all are.",
)  # fmt: skip
with torch.no_grad():
    own = (clean(by_clean).argmax(1) == wish).float().mean()
    marks = [(judge(drawn).argmax(1) == wish).float().mean() for drawn in (by_clean, by_guide)]
print(f"led by the clean classifier: it says {own:.0%} are right, the judge says {marks[0]:.0%}")
print(f"led by the one that knows noise: the judge says {marks[1]:.0%}")
assert marks[1] > marks[0] + 0.2

# %% [markdown]
# The clean classifier leads the walk astray while the digit is being decided, and cannot repair it when it has become readable. Look at its row: these are often fine digits, only not the ones that were asked for. The painter keeps everything looking like a digit; the judge chooses which.
#
# ## 7 · Measure: what guidance trades
#
# The paper's Table 3, ImageNet 256 × 256: an unconditional and a conditional ADM, without guidance and at two scales. Read down a column. What does the scale buy, and what does it cost? And what went wrong at scale 1 on the unconditional model?

# %%
PAPER = {  # Dhariwal and Nichol 2021, table 3: FID, inception score, precision, recall
    "unconditional": (26.21, 39.70, 0.61, 0.63),
    "unconditional, scale 1": (33.03, 32.92, 0.56, 0.65),
    "unconditional, scale 10": (12.00, 95.41, 0.76, 0.44),
    "conditional": (10.94, 100.98, 0.69, 0.63),
    "conditional, scale 1": (4.59, 186.70, 0.82, 0.52),
    "conditional, scale 10": (9.11, 283.92, 0.88, 0.32),
}
print(f"{'paper, ImageNet 256':25}    FID      IS   precision  recall")
for name, (fid, score, precision, recall) in PAPER.items():
    print(f"{name:25} {fid:6.2f}  {score:6.2f}     {precision:.2f}      {recall:.2f}")

# %% [markdown]
# Now ours. $N$ digits in equal numbers per class, 20 DDIM steps; precision, recall and the Fréchet distance are measured in the features of `classifier-digits` (no number of the literature: those come from Inception), the class is read by the same clean judge, which never steered. Two seeds each, and the **floor**: what as many *real* digits score, as many per class.

# %%
N, SEEDS = 200, 2
SCALES = {"unconditional": (0, 1, 2, 4, 16), "conditional": (0, 1, 4)}
real_images, names = digits.load(16)
real = metrics.see(judge, real_images)  # what the judge makes of all real digits
wish = torch.arange(N) % 10


def mark(images, wish=None):
    """(Fréchet, precision, recall, share of the class asked for) of pictures."""
    fake = metrics.see(judge, images)
    right = float("nan") if wish is None else (fake.probs.argmax(1) == wish).double().mean().item()
    precision, recall = metrics.precision_recall(real.features, fake.features)
    return metrics.frechet_distance(real.features, fake.features), precision, recall, right


def sweep(kind, scale):
    for seed in range(SEEDS):
        by, cond = (
            (painter, None) if kind == "unconditional" else (told.denoiser, told.encode(wish))
        )
        yield mark(end(paint(wish, scale, noise(N, 1, 16, 16, seed=seed), by=by, cond=cond)), wish)


ours = {(kind, scale): torch.tensor(list(sweep(kind, scale)))
        for kind, scales in SCALES.items() for scale in scales}  # fmt: skip

# %%
picks = [torch.randperm(len(real_images), generator=seeded(seed)) for seed in range(5)]
picks = [torch.cat([pick[names[pick] == k][: N // 10] for k in range(10)]) for pick in picks]
floor = torch.tensor([mark(real_images[pick])[:3] for pick in picks]).mean(0)
print(
    f"{'ours, digits':15} scale   Fréchet            precision        recall           right class"
)
for (kind, scale), runs in ours.items():
    cells = zip(runs.mean(0).tolist(), runs.std(0).tolist())
    print(f"{kind:15} {scale:4}    " + "  ".join(f"{m:.4f} ± {d:.4f}" for m, d in cells))
print(f"{'floor, real':15}         " + "           ".join(f"{v:.4f}" for v in floor.tolist()))
print(
    f"N = {N}, {SEEDS} seeds, mean ± sd; features of classifier-digits; floor: N real digits, 5 draws"
)
free, one, strong = (ours["unconditional", scale].mean(0) for scale in (0, 1, 16))
assert strong[3] > 0.9 > free[3] and strong[2] < free[2] and one[1] < free[1] < strong[1]

# %%
figure, axes = plots.subplots(1, 4, size=(10, 3))
for column, (axis, name) in enumerate(zip(axes, ("Fréchet", "precision", "recall", "right class"))):
    for kind, color in zip(SCALES, (plots.BLUE, plots.VERMILLION)):
        runs = torch.stack([ours[kind, scale][:, column] for scale in SCALES[kind]])
        axis.errorbar(
            SCALES[kind], runs.mean(1), runs.std(1), fmt="o-", color=color, capsize=3, label=kind
        )
    if column < 3:
        axis.axhline(floor[column], linestyle=":", color=plots.BLACK, linewidth=1)
    axis.set(title=name, xlabel="scale", xscale="symlog")
    axis.set_xticks((0, 1, 4, 16), (0, 1, 4, 16))
axes[1].legend(loc="lower right")
plots.show(figure, "Fréchet distance, precision, recall and class accuracy against the scale, for the "
           "unconditional and the conditional painter, with the floor as a dotted line.")  # fmt: skip

# %% [markdown]
# Read our columns as you read the paper's. **The class** comes in with the scale: on the blind painter, scale 1 is not enough, since a real judge is unsure where it would have to speak, and the paper, too, needed a scale of 10 there; on the painter that is told, hardly anything is left to do. **Precision rises, recall falls**: samples move to the middle of what the judge is sure of, and the unusual sevens have no neighbor any more. The **distance** weighs both, and hides that trade.
#
# And scale 1 on the blind painter: in the paper it made things *worse* than no guidance (FID 26.21 → 33.03). By the theorem of section 3.2 it should make the model conditional; so what is wrong there is the judge, not the theory. Our first two rows repeat it: from scale 0 to 1 precision *falls* and recall *rises*, as in the paper's, and the distance gains nothing. A judge who cannot decide pulls towards the in-between. (A difference that is smaller than its ± is none.)

# %% [markdown]
# ## 8 · Break it
#
# Four mistakes that run without any error. All on the clouds, scale 1, where the right answer (first panel) is known. The softmax deserves a sentence: $\nabla p=p\,\nabla\log p$, so where the classifier is *sure* that a point is not in the north, $p\approx0$ and the gradient vanishes: the points that need help most get none.


# %%
def flat_noise(x, t):
    """Its gradient is that of log p over √(1−ᾱ_t), which undoes the factor in the wrapper."""
    return exact_log_prob(x, t) / schedule.noise(t, x)


mistakes = {
    "right": (exact_log_prob, 1.0),
    "sign": (exact_log_prob, -1.0),
    "no √(1−ᾱ)": (flat_noise, 1.0),
    "softmax": (lambda x, t: exact_log_prob(x, t).exp(), 1.0),
    "mean over batch": (lambda x, t: exact_log_prob(x, t) / len(x), 1.0),
}

x, truth = noise(400, 2, dtype=torch.float64), clouds.sample(400, seeded(9))[0]
figure, axes = plots.subplots(1, 5, size=(10, 2.7), sharex=True, sharey=True)
for axis, (name, (log_prob, scale)) in zip(axes, mistakes.items()):
    drawn = end(sample(ScoreGuidance(blind, log_prob, scale), x, schedule.timesteps(50), step=ddim))
    axis.scatter(*truth.T, s=3, color="#DDDDDD")
    axis.scatter(*drawn.T, s=3, color=plots.BLUE if name == "right" else plots.VERMILLION)
    arrived = (clouds.posterior(drawn).argmax(1) == north).double().mean()
    axis.set(
        title=f"{name}\n{arrived:.0%} north", aspect="equal", xlim=(-2.8, 2.8), ylim=(-2.4, 2.8)
    )
plots.show(figure, "Five clouds of guided samples: right, all in the north; with the wrong sign, all "
           "elsewhere; without the root, squeezed into a wedge; with softmax or a mean over the batch, spread "
           "over all three clouds.")  # fmt: skip

# %% [markdown]
# **Sign**: the points flee from the north, and farther than any data lie. **No root**: everything arrives, so this one survives in code for a long time, but look at the shape: as $t\to0$ the shift is too large by $1/\sqrt{1-\bar\alpha_t}$, up to a hundred times, and the border drives the points before it into a wedge. (Where did you see that wedge before?) **Softmax**: half of the
# points get no help. **Mean over the batch**: with 400 rows the pull is 400 times too weak, and the picture looks like no guidance at all; whoever "repairs" it with a scale of 400 gets other results for every batch size.
#
# ## 9 · Exercises
#
# Write into the stub, run the cell, read what the check says: it draws fresh inputs every time and knows the usual mistakes by name. A hint is folded under each; a solution is folded in the cell below it (click its three dots to see it), and every run of this notebook puts it to the same check.
#
# ### 9.1 A sharper judge &nbsp; ● 5 minutes
#
# `log_probs` `(B, K)` holds $\log p(y\mid x)$ for every class. Return the log of the sharpened classifier, $\log\big(p(y\mid x)^s/Z\big)$, whose rows are distributions again. This is what a scale really means.


# %%
def sharpen(log_probs, scale):
    """log of p^scale / Z, (B, K), for log_probs (B, K)."""
    ...


checks.sharpen(sharpen)

# %% [markdown]
# <details><summary>Hint</summary>log p^s = s log p. For Z, subtract the log of the sum of exponentials over the classes; <code>log_softmax</code> does just that.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def sharpen_solution(log_probs, scale):
    return (scale * log_probs).log_softmax(1)


checks.sharpen(sharpen_solution).require()

# %% [markdown]
# ### 9.2 Algorithm 2 in one line &nbsp; ● 5 minutes
#
# The line on which everything hangs. `gradient` is $g=\nabla_{x_t}\log p(y\mid x_t)$, of the shape of `eps`; `alpha_bar` is the number $\bar\alpha_t$. The model does not know the class.


# %%
def shift_eps(eps, gradient, alpha_bar, scale):
    """The guided eps, (B, C, H, W)."""
    ...


checks.shift_eps(shift_eps)

# %% [markdown]
# <details><summary>Hint</summary>eps is −√(1−ᾱ_t) times a score, and scores add. Do not forget what the paper's printed line forgot.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def shift_eps_solution(eps, gradient, alpha_bar, scale):
    return eps - scale * (1 - alpha_bar) ** 0.5 * gradient


checks.shift_eps(shift_eps_solution).require()

# %% [markdown]
# ### 9.3 Ask the judge for its gradient &nbsp; ●● 15 minutes
#
# `classifier(x)` gives logits `(B, K)`; `y` `(B,)` holds a class for each row. Return $\nabla_x\log p(y\mid x)$, of the shape of `x`. Each row gets its own gradient, whoever else is in the batch.


# %%
def class_gradient(classifier, x, y):
    """∇_x log p(y | x), (B, D), for x (B, D) and y (B,) long."""
    ...


checks.class_gradient(class_gradient)

# %% [markdown]
# <details><summary>Hint</summary><code>x = x.detach().requires_grad_(True)</code>; log_softmax over the classes; pick with <code>gather(1, y[:, None])</code>; sum; <code>torch.autograd.grad(total, x)[0]</code>. Inside a sampler you would need <code>with torch.enable_grad():</code> around it.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def class_gradient_solution(classifier, x, y):
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        log_probs = classifier(x).log_softmax(1).gather(1, y[:, None])
        return torch.autograd.grad(log_probs.sum(), x)[0]


checks.class_gradient(class_gradient_solution).require()

# %% [markdown]
# ### 9.4 The perfect judge of noisy points &nbsp; ●● 20 minutes
#
# Class $k$ of the *clean* points is $\mathcal N(\text{means}_k,\text{std}_k^2I)$, with weight $\text{weights}_k$. Return $\log p(k\mid x_t)$, `(B, K)`, for **noisy** points at a time with the given $\bar\alpha_t$. (Where do the clouds lie at that time, and how wide are they?)


# %%
def noisy_log_posterior(means, std, weights, x, alpha_bar):
    """log p(k | x_t), (B, K); means (K, D), std (K,), weights (K,), x (B, D)."""
    ...


checks.noisy_log_posterior(noisy_log_posterior)

# %% [markdown]
# <details><summary>Hint</summary>Lesson 02's jump: means shrink by √ᾱ, and the variance becomes ᾱ std² + 1 − ᾱ. Bayes: log weight + log density, then log_softmax. The density of a wide Gaussian is lower by its width to the power D.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def noisy_log_posterior_solution(means, std, weights, x, alpha_bar):
    variance = alpha_bar * std**2 + 1 - alpha_bar  # (K,)
    square = (x[:, None] - alpha_bar**0.5 * means).square().sum(2)  # (B, K)
    log_joint = weights.log() - x.shape[1] / 2 * variance.log() - square / (2 * variance)
    return log_joint.log_softmax(1)


checks.noisy_log_posterior(noisy_log_posterior_solution).require()

# %% [markdown]
# ### 9.5 Algorithm 1's mean &nbsp; ●● 15 minutes
#
# The mean of the guided ancestral step from `t` to `s`, over a stride of any length, with the large variance $\Sigma=1-\bar\alpha_t/\bar\alpha_s$. `schedule.posterior(x0, x, t, s)` gives mean and variance of $q(x_s\mid x_t,x_0)$ (which of the two can you use?).


# %%
def guided_mean(schedule, x0, x, t, s, gradient, scale):
    """μ + scale Σ gradient, (B, D), for the guess x0 (B, D), x (B, D), times s < t."""
    ...


checks.guided_mean(guided_mean)

# %% [markdown]
# <details><summary>Hint</summary>The mean is the posterior's. Its variance is β̃, not the Σ that is asked for: take 1 − schedule.alpha_bar[t] / schedule.alpha_bar[s]. Tables are in float64; <code>.item()</code> keeps x's dtype.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def guided_mean_solution(schedule, x0, x, t, s, gradient, scale):
    mean, _ = schedule.posterior(x0, x, t, s)
    variance = 1 - schedule.alpha_bar[t] / schedule.alpha_bar[s]
    return mean + scale * variance.item() * gradient


checks.guided_mean(guided_mean_solution).require()

# %% [markdown]
# ### 9.6 A 3 or an 8 &nbsp; ●●● 25 minutes
#
# Any event can guide, if you have the log of its probability. From the classifier's `logits` `(B, K)`, return $\log p(y\in\{a,b\}\mid x)$, `(B,)`. When it passes, use it: guide the painter to "3 or 8" (the cell after the solution), and then to "not a 1". What does guidance towards the *sum of the logs* paint, and why is that something else?


# %%
def either_class(logits, a, b):
    """log p(y = a or y = b | x), (B,), for logits (B, K)."""
    ...


checks.either_class(either_class)

# %% [markdown]
# <details><summary>Hint</summary>The probabilities of exclusive events add: log(p_a + p_b). <code>logsumexp</code> of the two log-probabilities does it without underflow.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def either_class_solution(logits, a, b):
    return logits.log_softmax(1)[:, [a, b]].logsumexp(1)


checks.either_class(either_class_solution).require()


# %%
def wished(x, t, event=either_class_solution):
    return event(guide.net(x, torch.full((len(x),), int(t))), 3, 8)


both = lambda logits, a, b: logits.log_softmax(1)[:, [a, b]].sum(1)  # noqa: E731
x, rows = noise(10, 1, 16, 16, seed=4), {}
for name, event in (("3 or 8", either_class_solution), ("3 and 8", both)):
    steered = MapX0(ScoreGuidance(painter, partial(wished, event=event), 6.0), clip)
    rows[name] = end(sample(steered, x, painter.schedule.timesteps(20), step=ddim))
plots.show(plots.image_grid(torch.cat(list(rows.values())), columns=10, rows=list(rows)),
           "Above, ten digits guided to 3 or 8; below, ten guided to both at once.")  # fmt: skip

# %% [markdown]
# ## 10 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why does guidance need no $p(y)$, although Bayes' rule has it?",
    {
        "Because all classes are equally likely": "It would drop out just the same if they were not.",
        "Because it does not depend on x, so its gradient is 0": "What is usually the hard part of Bayes' rule is a constant here, and the score does not see constants.",
        "Because the classifier was trained with it": "True in a way (p(y|x) contains the training frequencies), but that is not why the term vanishes.",
    },
    answer="Because it does not depend on x, so its gradient is 0",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You have an excellent classifier of clean digits. Why not guide with it?",
    {
        "It has no gradient": "It has one everywhere; that is how it was trained.",
        "It answers about x_t as if it were clean, so its pull is wrong where the class is decided": "Bayes' rule asks for p(y | x_t): will this noisy thing become a y? A clean judge is confidently wrong there.",
        "It would be too slow": "It is the faster of the two; it does not even hear t.",
    },
    answer="It answers about x_t as if it were clean, so its pull is wrong where the class is decided",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "DDIM with η = 0, guided by Algorithm 1. What happens?",
    {
        "The same as with Algorithm 2": "Algorithm 2 shifts eps, and DDIM follows eps. Algorithm 1 shifts the mean by Σg.",
        "Nothing: the step has variance 0, so the mean moves by 0": "Σ = 0. That is why the paper has a second algorithm.",
        "It diverges": "A shift of zero does not diverge.",
    },
    answer="Nothing: the step has variance 0, so the mean moves by 0",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "As the scale grows, what do precision and recall do?",
    {
        "Both rise, until the scale is too large": "Only one of them does.",
        "Precision rises, recall falls": "Samples move to where the classifier is surest, away from the rare and the ambiguous: fidelity is bought with diversity.",
        "Precision falls, recall rises": "That would be a scale below 0.",
    },
    answer="Precision rises, recall falls",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "What does guided sampling with the exact classifier at scale 4 draw from?",
    {
        "p(x | y)": "That is scale 1.",
        "p(x) p(y|x)⁴, normalized": "It would, if log E[p⁴ | x_t] guided. The usual guidance takes the power after the mean, and goes farther (section 3.3).",
        "Something beyond p(x) p(y|x)⁴, for which there is no simple formula": "Scale 1 is a theorem; any other scale is a heuristic.",
    },
    answer="Something beyond p(x) p(y|x)⁴, for which there is no simple formula",
)

# %% [markdown]
# ## 11 · Recap
#
# - **Bayes on scores**: conditional score = painter's score + judge's gradient. With a perfect judge, guided sampling *is* conditional sampling, step by step.
# - **Algorithm 2** shifts eps by $-s\sqrt{1-\bar\alpha_t}\,g$ and serves every sampler. **Algorithm 1** shifts the mean by $s\,\Sigma g$; they agree over short steps, part over long ones, and without dice Algorithm 1 does nothing.
# - The judge has to **know noise**: it is asked about $x_t$, not about pictures.
# - The **scale** sharpens the judge. 1 is a theorem; more buys fidelity with diversity.
# - log_softmax, the sum over the batch, gradients switched on, the right sign, and never measure with the classifier that steered.
#
# **What the next lesson fixes.** A second network, trained on noise, with a backward pass in every step, and a gradient that can be fooled. Look at section 3.1 again, and solve it for the judge: $\nabla\log p(y\mid x_t)=\nabla\log p(x_t\mid y)-\nabla\log p(x_t)$. A model that knows both scores *contains* a classifier. Lesson 06 uses that one.
#
# **References**
# - P. Dhariwal, A. Nichol: *Diffusion Models Beat GANs on Image Synthesis*, NeurIPS 2021. Section 4, Algorithms 1 and 2, table 3, figure 4.
# - J. Sohl-Dickstein et al.: *Deep unsupervised learning using nonequilibrium thermodynamics*, ICML 2015. Section 2.5: multiplying by a second distribution.
# - Y. Song et al.: *Score-based generative modeling through stochastic differential equations*, ICLR 2021. Section 5: Bayes on scores.
# - T. Kynkäänniemi et al.: *Improved precision and recall metric for assessing generative models*, NeurIPS 2019.
