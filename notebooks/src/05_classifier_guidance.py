# %% [markdown]
# # 05 · Classifier guidance: a classifier steers the model
#
# **The question.** The model of lesson 03 generates *some* digit. You want a 7. Can a classifier of digits steer the model, although the model has never seen a label and is not trained again?
#
# **Afterwards you can**
# - derive guidance from Bayes' rule, and check it with an exact classifier;
# - write ADM's Algorithms 1 and 2, say why they differ, and when it matters;
# - say what the guidance scale does to fidelity and to diversity, and what it is *not*;
# - say why a classifier that is evaluated at $x_t$ must know noise, and recognize four classic mistakes.
#
# **Before:** lesson 03 (section 3.5: the score in $\hat\varepsilon$), lesson 04 (the step from $\hat x_0$ and $\hat\varepsilon$). Bayes' rule.
#
# **Time:** about 50 minutes to read and play, 85 for all exercises, 80 seconds to run on two cores.
#
# **On the map:** 04 DDIM → **05 classifier guidance** → 06 classifier-free guidance (the same without a second network).

# %%
from functools import partial

import torch

from labkit import metrics, zoo
from labkit.conditioning import Conditioning
from labkit.data import digits
from labkit.denoiser import MapX0, clip
from labkit.guidance import ScoreGuidance, gradient, mean_shift
from labkit.lab import checks, guidance_plot, plots, quiz, show_source
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
# The whole lesson uses three clouds of points, whose distribution is known exactly at every time, and five networks that ship with the course. After a restart, run the imports and the next two cells first, then any section.

# %%
clouds = GaussianMixture([[-1.2, -0.6], [1.2, -0.6], [0.0, 1.1]], 0.45)  # west, east, north
north, exact_model = 2, clouds.denoiser(schedule)  # an exact unconditional model
north_condition = Conditioning(vector=torch.eye(3)[north:])  # all weight on one cloud

model = zoo.load("ddpm-digits").denoiser  # lesson 03's network, unconditional
conditional = zoo.load("adm-digits")  # a model that receives the class
guide = zoo.load("noisy-classifier-digits")  # a classifier of noisy digits
clean = zoo.load("classifier-digits-b")  # a classifier of clean digits, tried as a guide
evaluator = zoo.load("classifier-digits")  # another one, which measures and never guides


# %%
def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0, **options):
    return torch.randn(*shape, generator=seeded(seed), **options)


def exact_log_prob(x, t):
    """log p(north | x_t), exactly: Bayes' rule among the clouds as they are at time t."""
    return clouds.diffused(schedule, t).log_joint(x).log_softmax(1)[:, north]


def final(states):
    """The samples at the end of sampling."""
    *_, state = states
    return state.x.detach()


def generate(labels, scale, x, steps=20, by=model, cond=None, log_prob=None):
    """The states of digits from noise x, guided to the labels."""
    log_prob = log_prob or guide.log_prob(torch.as_tensor(labels))
    guided = ScoreGuidance(by, log_prob, scale) if torch.as_tensor(scale).any() else by
    return sample(MapX0(guided, clip), x, by.schedule.timesteps(steps), cond, step=ddim)


# %% [markdown]
# ## 1 · See it first
#
# One noise, one model, ten classes. Without guidance the model makes one digit from this noise (top row). In the rows below, the gradient of a classifier is added at every step, for the class above the column. The scale multiplies that gradient. (Samples in this lesson are uncurated: first seeds.)

# %%
start = noise(1, 1, 16, 16, seed=0).expand(10, 1, 16, 16)
scales = (0, 1, 4, 12)
rows = [final(generate(range(10), scale, start)) for scale in scales]
plots.show(
    plots.image_grid(torch.cat(rows), columns=10, titles=range(10),
                     rows=[f"scale {scale}" for scale in scales]),
    "Four rows of ten digits from one noise. Top row, scale 0: ten equal 2s. At scale 1 most columns "
    "show their digit, but the 1 is a broad bar, the 7 is unclear and the 9 looks like an 8. At scales 4 "
    "and 12 the 9 is clear too; the 1 and the 7 are not.",
)  # fmt: skip

# %% [markdown]
# Most columns show their digit; the 1 and the 7 stay unclear. How can a network that never saw a label generate a 5?
#
# ## 2 · The idea
#
# The score $\nabla\log p(x_t)$ points to where points are more likely. The gradient of a classifier, $\nabla\log p(\text{north}\mid x_t)$, points to where the class "north" is more likely. Guidance adds the two. The picture shows the two fields of arrows at $t=200$, and their sum (black). Under the sum, in blue, is the score of the north cloud alone.

# %%
t, ticks = 200, torch.linspace(-2, 2, 13, dtype=torch.float64)
grid = torch.cartesian_prod(ticks, ticks)  # (169, 2)
noisy = clouds.diffused(schedule, t)
score, to_north = noisy.score(grid), gradient(exact_log_prob, grid, t)
arrows = {"the score": score, "+ the classifier's gradient": to_north,
          "= their sum": score + to_north}  # fmt: skip
alone = GaussianMixture(noisy.means[north:], noisy.std[north:]).score(grid)
plots.show(
    guidance_plot.fields(noisy.sample(600, seeded())[0], grid, arrows, under=alone),
    "Three fields of arrows over three clouds. The score points from outside to the clouds. The "
    "classifier's gradient points to the north and is nearly zero in the north. Their sum points to the "
    "north cloud from everywhere, and covers the blue arrows of that cloud's own score.",
)  # fmt: skip

# %% [markdown]
# The sum equals the score of the north cloud, exactly, by Bayes' rule.
#
# ## 3 · The derivation
#
# ### 3.1 Bayes on scores
#
# We want to sample $p(x_t\mid y)$. Take Bayes' rule, and its logarithm:
#
# $$p(x_t\mid y)=\frac{p(x_t)\,p(y\mid x_t)}{p(y)}\qquad\Longrightarrow\qquad\log p(x_t\mid y)=\log p(x_t)+\log p(y\mid x_t)-\log p(y).$$
#
# Take the gradient by $x_t$. The last term does not depend on $x_t$ and disappears:
#
# $$\boxed{\;\nabla_{x_t}\log p(x_t\mid y)=\underbrace{\nabla_{x_t}\log p(x_t)}_{\text{the model}}+\underbrace{\nabla_{x_t}\log p(y\mid x_t)}_{\text{the classifier}}\;}$$
#
# The classifier does not see a finished picture. It gives the probability that the noisy $x_t$ came from a $y$. For Gaussian clouds all three terms are known. We check at 500 random points and four times:

# %% tags=["nbval-check-output"]
points = 2 * noise(500, 2, dtype=torch.float64)
for t in (1, 100, 500, 1000):
    noisy = clouds.diffused(schedule, t)
    left = GaussianMixture(noisy.means[north:], noisy.std[north:]).score(points)
    right = noisy.score(points) + gradient(exact_log_prob, points, t)
    gap = (left - right).abs().max() / left.abs().max()
    print(f"t = {t:4}   equal to ten digits: {bool(gap < 1e-10)}")
    assert gap < 1e-10

# %% [markdown]
# ### 3.2 As a change of $\hat\varepsilon$: Algorithm 2
#
# Our samplers use $\hat\varepsilon$, not scores. By lesson 03, section 3.5, $\nabla\log p(x_t)=-\mathbb E[\varepsilon\mid x_t]/\sqrt{1-\bar\alpha_t}$. Multiply the boxed line by $-\sqrt{1-\bar\alpha_t}$, and write $g=\nabla_{x_t}\log p(y\mid x_t)$:
#
# $$\boxed{\;\hat\varepsilon\;=\;\varepsilon_\theta(x_t)-\sqrt{1-\bar\alpha_t}\;g\;}\qquad\text{(ADM, Algorithm 2)}$$
#
# Then $\hat x_0$ is computed from the new $\hat\varepsilon$, and any sampler takes the step. In labkit guidance is a wrapper: it takes a denoiser and gives a denoiser.
#
# With an exact classifier, guided sampling must equal conditional sampling at **every step**: same noise, same seed, same points. We check $\eta=0$ and $\eta=1$:

# %% tags=["nbval-check-output"]
x, times = noise(400, 2, dtype=torch.float64), schedule.timesteps(50)
for eta in (0.0, 1.0):
    step = partial(ddim, eta=eta)
    guided = sample(ScoreGuidance(exact_model, exact_log_prob), x, times, None, step, seeded(1))
    target = sample(exact_model, x, times, north_condition, step, seeded(1))
    gap = max((a.x - b.x).abs().max().item() for a, b in zip(guided, target, strict=True))
    print(f"eta {eta:g}: 400 points are equal to 1e-6 after each of 50 steps: {gap < 1e-6}")
    assert gap < 1e-6

# %% [markdown]
# An exact unconditional model and an exact classifier together *are* a conditional model.
#
# ### 3.3 The scale
#
# ADM guided an unconditional ImageNet model. The classifier gave the finished pictures a probability of about 50 % for the desired class. But by eye they did not show it (section 4.3 in arXiv version 4). So the authors multiplied the gradient by a **scale** $s$:
#
# $$s\,\nabla_x\log p(y\mid x)=\nabla_x\log\tfrac1Z\,p(y\mid x)^s,\qquad Z\text{ an arbitrary constant.}$$
#
# Is this "a sharper classifier"? No. A classifier's probabilities must sum to 1 at every $x$, so its normalizer is $Z(x)=\sum_k p(k\mid x)^s$. It depends on $x$, so it has a gradient too. In one dimension, with two classes at ±0.7 and standard deviation 0.5:

# %%
pair = GaussianMixture([[-0.7], [0.7]], 0.5)
line = torch.linspace(-2.5, 2.5, 151, dtype=torch.float64)[:, None]
plots.show(
    guidance_plot.scaled(pair, line, (1, 2, 4)),
    "Left: gradients fall from left to right. At the left the solid and dashed curves of one scale agree. "
    "From x = 0 on, the dashed ones of s = 2 and 4 fall to zero earlier than the solid ones. Right: "
    "p(x) has two peaks; the other curves have one, which moves to the right as s grows.",
)  # fmt: skip
at = torch.tensor([[0.6]], dtype=torch.float64)
slope = 4 * gradient(lambda x, _: pair.log_joint(x).log_softmax(1)[:, 1], at, 0).item()
sharp = gradient(lambda x, _: (4 * pair.log_joint(x)).log_softmax(1)[:, 1], at, 0).item()
print(f"x = 0.6, s = 4:   s ∇log p = {slope:.3f}    ∇log p^s/Z(x) = {sharp:.5f}")
assert slope > 0.7 and sharp < 1e-4

# %% [markdown]
# At $x=0.6$ a sharper classifier is sure, and its gradient is nearly 0. The scaled gradient is not.
#
# **What does guidance with a scale sample from?** A guess: from the curves on the right, $p(x)\,p(y\mid x)^s$. We try three exact guides and two samplers:


# %%
def log_right(x, t):
    return pair.diffused(schedule, t).log_joint(x).log_softmax(1)  # (B, 2), exact at time t


def scaled(s):
    """s log p(right | x_t): the usual guidance."""
    return lambda x, t: s * log_right(x, t)[:, 1]


def sharper(s):
    """log p(right | x_t)^s / Z(x_t): a sharper classifier."""
    return lambda x, t: (s * log_right(x, t)).log_softmax(1)[:, 1]


def power_inside(s):
    """log E[p(right | x_0)^s | x_t], by a sum over a grid of clean x_0."""

    def log_prob(x, t):
        signal, width = schedule.alpha_bar[t].sqrt(), 1 - schedule.alpha_bar[t]
        seen = pair.log_prob(line) - (x - signal * line.T) ** 2 / (2 * width)  # (B, 151)
        log_probs = pair.log_joint(line).log_softmax(1)[:, 1]
        return (seen.log_softmax(1) + s * log_probs).logsumexp(1)

    return log_prob


# %%
x, times = noise(2000, 1, dtype=torch.float64), schedule.timesteps(100)
kinds = {"s ∇log p": scaled, "∇log p^s/Z(x)": sharper, "∇log E[p(y|x_0)^s]": power_inside}
samplers = {"ancestral": partial(ddpm, v=1.0), "DDIM": ddim}
gaps = {}  # mean of the samples minus the mean of p(x) p(y|x)^s
for s in (1, 4):
    weights = (pair.log_prob(line) + s * pair.log_joint(line).log_softmax(1)[:, 1]).softmax(0)
    mean = (weights * line[:, 0]).sum()
    sd = (weights * (line[:, 0] - mean) ** 2).sum().sqrt()
    print(f"s = {s}: p(x) p(y|x)^s   {mean:.2f} ± {sd:.2f}        (mean ± sd)")
    for name, make in kinds.items():
        guided, cells = ScoreGuidance(pair.denoiser(schedule), make(s)), []
        for sampler, step in samplers.items():
            drawn = final(sample(guided, x, times, None, step, seeded(1)))
            gaps[s, name, sampler] = (drawn.mean() - mean).item()
            cells.append(f"{sampler} {drawn.mean():.2f} ± {drawn.std():.2f}")
        print(f"   {name:20} " + "    ".join(cells))

# %%
usual, sharp, inside = ([gaps[4, name, sampler] for sampler in samplers] for name in kinds)
assert all(abs(gap) < 0.05 for (s, *_), gap in gaps.items() if s == 1)
assert min(usual) > 0.15 and usual[1] > usual[0] + 0.15 and max(map(abs, inside)) < 0.05
assert sharp[0] < -0.03 and sharp[1] > 0.03

# %% [markdown]
# (2,000 samples in 100 steps: two standard errors of a mean are about 0.02.) At $s=1$ all agree, as Bayes' rule says. At $s=4$ the mean of the usual guidance is **larger** than that of $p(x)\,p(y\mid x)^s$, with either sampler. The two samplers do not agree with each other: for $s\ne1$ the guided scores of all times do not belong to one distribution under noise. The sharper classifier's mean depends on the sampler, too.
#
# Why not the same? At time $t$ the classifier knows $p(y\mid x_t)=\mathbb E[p(y\mid x_0)\mid x_t]$. The power of a mean is not the mean of powers. The last guide takes the power inside the mean, and its samples agree with $p(x)\,p(y\mid x)^s$. A classifier trained as in section 6 does not give this mean. **Only scale 1 (and 0) is exact; a scale above 1 is a heuristic.**
#
# ### 3.4 A model that is conditional already
#
# The score of a conditional model is $\nabla\log p(x_t)+g$. Adding $s'g$ gives $\nabla\log p(x_t)+(1+s')g$. So **scale $s'$ on a conditional model is scale $s'+1$ on an unconditional one**, if both are exact:

# %% tags=["nbval-check-output"]
points = 2 * noise(500, 2, dtype=torch.float64)
for t in (50, 300, 800):
    three = ScoreGuidance(exact_model, exact_log_prob, scale=3.0)(points, t).eps
    two = ScoreGuidance(exact_model, exact_log_prob, scale=2.0)(points, t, north_condition).eps
    print(f"t = {t:3}   unconditional at 3 is conditional at 2: {torch.allclose(three, two)}")

# %% [markdown]
# ### 3.5 Algorithm 1: a change of the mean
#
# The paper has another algorithm, for ancestral sampling. Its step draws $x_s\sim\mathcal N(\mu,\Sigma)$, and we want to multiply that density by $p(y\mid x_s)$. If the step is short, $\log p(y\mid x_s)$ is nearly linear around $\mu$: $\log p(y\mid x_s)\approx\text{const}+(x_s-\mu)^\top g$. Then
#
# $$-\tfrac12(x_s-\mu)^\top\Sigma^{-1}(x_s-\mu)+(x_s-\mu)^\top g\;=\;-\tfrac12(x_s-\mu-\Sigma g)^\top\Sigma^{-1}(x_s-\mu-\Sigma g)+\tfrac12g^\top\Sigma g .$$
#
# (Multiply the right side out: the terms in $\Sigma g$ give $+(x_s-\mu)^\top g-\frac12g^\top\Sigma g$.) This is a Gaussian with another mean:
#
# $$\boxed{\;x_s\sim\mathcal N(\mu+\text{scale}\cdot\Sigma g,\;\Sigma)\;}\qquad\text{(ADM, Algorithm 1)}$$
#
# The derivation takes $g$ at $\mu$ and time $s$. The authors' code, and ours, takes it at $x_t$ and time $t$: nearly the same for a short step.
#
# Do the two algorithms agree? Algorithm 2 changes $\hat\varepsilon$ by $-\sqrt{1-\bar\alpha_t}\,g$, hence $\hat x_0$ by $+\frac{1-\bar\alpha_t}{\sqrt{\bar\alpha_t}}g$. In the posterior's mean, $\hat x_0$ has the factor $\frac{\sqrt{\bar\alpha_s}\,(1-\alpha)}{1-\bar\alpha_t}$ with $\alpha=\bar\alpha_t/\bar\alpha_s$. So Algorithm 2 moves the mean by
#
# $$\frac{\sqrt{\bar\alpha_s}\,(1-\alpha)}{1-\bar\alpha_t}\cdot\frac{1-\bar\alpha_t}{\sqrt{\bar\alpha_t}}\;g=\frac{1-\alpha}{\sqrt\alpha}\;g .$$
#
# Algorithm 1 moves it by $\Sigma g$. With the large variance, $\Sigma=1-\alpha$, so its move is $\sqrt\alpha$ times that of Algorithm 2: it guides too little. We check single steps, then the factor for whole samplers:

# %% tags=["nbval-check-output"]
x, guided = 2 * noise(500, 2, dtype=torch.float64), ScoreGuidance(exact_model, exact_log_prob)
for t, s in ((1000, 999), (1000, 980), (500, 400)):
    step = {"x": x, "t": t, "s": s, "v": 1.0}
    plain = ddpm(schedule, exact_model(x, t), generator=seeded(), **step)
    two = ddpm(schedule, guided(x, t), generator=seeded(), **step) - plain
    one = mean_shift(
        schedule, exact_model(x, t), log_prob=exact_log_prob, generator=seeded(), **step
    )
    root = (schedule.alpha_bar[t] / schedule.alpha_bar[s]).sqrt()
    assert torch.allclose(one - plain, root * two, atol=1e-9)
    print(f"{t} → {s}: Algorithm 1's move is √α = {root:.3f} times Algorithm 2's")

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
# Over one step of a thousand $\sqrt\alpha$ is at least about 0.99; over a long step it is far from 1. With $\Sigma=\tilde\beta$, Algorithm 1 guides too little near $t=0$ even with a thousand steps.
#
# Now we draw whole samples, with the same noise and seed, the exact classifier and scale 1. How far are they from those of conditional sampling?

# %%
results, heights = {}, {}
for n in (1000, 50, 10):
    x, times = noise(300, 2, dtype=torch.float64), schedule.timesteps(n)
    walk = partial(sample, x=x, timesteps=times)
    ancestral = partial(ddpm, v=1.0)
    target = final(walk(exact_model, cond=north_condition, step=ancestral, generator=seeded(1)))
    shifted = partial(mean_shift, log_prob=exact_log_prob, v=1.0)
    one = final(walk(exact_model, step=shifted, generator=seeded(1)))
    two = final(walk(guided, step=ancestral, generator=seeded(1)))
    results[f"{n} steps"] = {"Algorithm 2": two, "Algorithm 1": one}
    off = [(points - target).norm(dim=1).mean().item() for points in (one, two)]
    heights[n] = [points.mean(0)[1].item() for points in (target, one)]
    print(f"{n:4} steps   mean distance: Algorithm 1 {off[0]:.1e}, Algorithm 2 {off[1]:.0e}")
    assert off[1] < 1e-6 and off[0] > {1000: 1e-4, 50: 0.01, 10: 0.05}[n]
print(f"10 steps   mean height: conditional {heights[10][0]:.2f}, Algorithm 1 {heights[10][1]:.2f}")
assert heights[10][1] < heights[10][0] - 0.08

# %%
plots.show(
    guidance_plot.samples(clouds.sample(400, seeded())[0], results, (-2.6, 2.6), (-2, 2.6)),
    "Samples of both algorithms in the north cloud. With 1000 steps the points of both coincide. With 50 "
    "they differ a little. With 10 steps most points of Algorithm 1 are visibly beside those of "
    "Algorithm 2.",
)  # fmt: skip

# %% [markdown]
# **Algorithm 2 with the exact classifier equals conditional sampling, also in ten steps.** Algorithm 1 comes close only when steps are short. With DDIM at $\eta=0$ it does nothing: the step has no noise, so $\Sigma g=0$. That is why the paper has a second algorithm.
#
# A warning: Algorithm 2 as printed does not use its scale. The line must read $\hat\varepsilon=\varepsilon_\theta-s\sqrt{1-\bar\alpha_t}\,g$.
#
# ## 4 · The real code
#
# The wrapper computes $\hat\varepsilon=\varepsilon-s\sqrt{1-\bar\alpha_t}\,g$. `from_eps` computes $\hat x_0$ from it:

# %%
show_source(ScoreGuidance.__call__)

# %% [markdown]
# Three details of `gradient` matter. It switches gradients *on*, because samplers run under `no_grad`. It takes the *sum* over the batch, so that each row gets its own gradient. And it refuses a `log_prob` without a gradient:

# %%
show_source(gradient)

# %% [markdown]
# Algorithm 1 is a step, because it needs the variance of the step. The classifier gives $\log p(y\mid x_t)$: `log_softmax`, then the class of each row, at time $t$.

# %%
show_source(mean_shift, type(guide).log_prob)

# %% [markdown]
# ## 5 · Play: class, scale, seed
#
# Each column keeps its noise while you change the class and the scale. Below, choose freely and press *Sample*. Questions:
#
# 1. From which scale on does the digit belong to the class you chose? Is it the same scale for a 6 and for an 8?
# 2. At the largest scale, are the eight digits still eight *different* digits?
# 3. Find a noise that does not become the class you chose at scale 1.

# %%
GuidanceExplorer(generate, range(10), (0, 1, 2, 4, 16), shape=(1, 16, 16))

# %% [markdown]
# <details><summary>What you may have found</summary>
#
# 1. It depends on the class and on the noise.
# 2. They are more alike than real ones (section 7: mean distances 5.7 and 8.1).
# 3. There are many: 28 % of the digits of section 7.
# </details>
#
# ### What the gradient looks like
#
# The top row shows a real 3 under growing noise. Under it is the gradient $\nabla_{x_t}\log p(8\mid x_t)$ of the guide: purple adds ink, orange takes it away. What would you change to make an 8 of this 3?

# %%
pictures, labels = digits.load(16, "test")
threes, moments = pictures[labels == 3], (20, 150, 300, 450, 600, 800, 900, 1000)
views, gradients, above, below, lengths = [], [], [], [], {}
for t in moments:
    x = guide.schedule.diffuse(threes, t, noise(*threes.shape))
    slope = gradient(guide.log_prob([8]), x, t)
    lengths[t] = slope.flatten(1).norm(dim=1).mean().item()
    with torch.no_grad():
        above.append(f"t = {t}\np(8) = {guide.log_prob([8])(x, t)[0].exp():.1g}")
    views.append(x[0, 0]), gradients.append(slope[0, 0])
    below.append(f"length {slope[0].norm():.1f}")
figure = guidance_plot.ink(torch.stack(views[:6]), torch.stack(gradients[:6]), above[:6], below[:6])
plots.show(figure, "A 3 under growing noise, and below it the classifier's gradient towards 8. At every "
           "time shown it adds ink at the open left side of the 3.")  # fmt: skip
shift = {t: length * guide.schedule.noise(t, pictures).item() for t, length in lengths.items()}
print("t                               " + " ".join(f"{t:5}" for t in moments))
print("mean length, all 3s             " + " ".join(f"{v:5.2f}" for v in lengths.values()))
print("times √(1−ᾱ): the change of eps " + " ".join(f"{v:5.2f}" for v in shift.values()))
assert max(lengths, key=lengths.get) in (450, 600) and max(shift, key=shift.get) == 600
assert lengths[1000] < 0.3

# %% [markdown]
# A 3 is open at the left and an 8 is closed: there the gradient adds ink. Over all test 3s the gradient is longest near $t=450$ and $600$. At $t=1000$ it is short: a picture holds almost no information about its class. The change of eps is largest near $t=600$, and small near $t=0$.
#
# ## 6 · Train the classifier: what it must know
#
# Why not use a classifier of clean pictures? Bayes' rule has $p(y\mid x_t)$ with a **noisy** $x_t$. We begin with the clouds, where the best classifier of *clean* points is known, too. We evaluate it in two ways: at $x_t$, as if $x_t$ were clean, and at the prediction $\hat x_0(x_t)$. The second gradient goes back through the model.


# %%
def clean_log_prob(x, t):
    """log p(north | x): x_t is taken for a clean point."""
    return clouds.log_joint(x).log_softmax(1)[:, north]


def predicted_log_prob(x, t):
    """log p(north | x̂_0(x_t)): the clean classifier at the model's prediction."""
    return clean_log_prob(exact_model(x, t).x0, t)


cases = [("knows noise", exact_log_prob, 1.0), ("clean, at x_t", clean_log_prob, 1.0),
         ("clean, at x_t", clean_log_prob, 4.0), ("clean, at x̂0", predicted_log_prob, 1.0)]  # fmt: skip
x, panels, stats = noise(500, 2, dtype=torch.float64), {}, []
for name, log_prob, scale in cases:
    guided = ScoreGuidance(exact_model, log_prob, scale)
    drawn = final(sample(guided, x, schedule.timesteps(50), step=ddim))
    far = ((drawn - clouds.means[north]).norm(dim=1) > 3 * 0.45).double().mean().item()
    stats.append((drawn.mean(0)[1].item(), drawn.std(0).mean().item(), far))
    panels[f"{name}\nscale {scale:g}"] = {name: drawn}
    print(f"{name:13} scale {scale:g}: mean height {stats[-1][0]:.2f} (true 1.10), "
          f"sd {stats[-1][1]:.2f} (true 0.45), over 3 sd away {far:.0%}")  # fmt: skip
assert abs(stats[0][0] - 1.1) < 0.1 and stats[1][0] > 1.25 and stats[2][2] > 0.5
assert abs(stats[3][0] - 1.1) < 0.1 and stats[3][1] < 0.35

# %%
plots.show(
    guidance_plot.samples(clouds.sample(500, seeded(9))[0], panels, (-2.6, 2.6), (-2.2, 4.6)),
    "Guided samples in four panels. With the classifier that knows noise they fill the north cloud. With "
    "the clean one at x_t they form a wedge at scale 1; at scale 4 most are far above the data. With the "
    "clean one at the prediction they form a wedge too, in the middle of the north cloud.",
)  # fmt: skip

# %% [markdown]
# Evaluated at $x_t$, the clean classifier has a sharp border between the clouds at every time, and pushes points away from it. How wrong is that? Between two clouds at distance $|\Delta m|$, the slope of the log-odds is $|\Delta m|/\text{std}^2$ for clean points. For noisy ones it is $\sqrt{\bar\alpha_t}\,|\Delta m|/(\bar\alpha_t\,\text{std}^2+1-\bar\alpha_t)$. At $t=T$, $\sqrt{\bar\alpha_T}=0.00635$: the clean slope is about $1/(0.2025\cdot0.00635)\approx780$ times too large.
#
# Evaluated at $\hat x_0$, the same classifier finds the right place, but the samples are too narrow. It gives $p(y\mid\mathbb E[x_0\mid x_t])$, where Bayes' rule has $\mathbb E[p(y\mid x_0)\mid x_t]$.
#
# So we train a classifier on noise, as the shipped one was: a real digit, a uniform time, noise added in one step by $q(x_t\mid x_0)$, and cross-entropy. The network is the encoder half of a U-Net. It receives $t$. Its last layer, an attention layer, averages over the picture with learned weights.

# %%
show_source(type(guide).loss)

# %%
pictures, labels = digits.load(16, "train")  # the last 360 are kept to test on
trained_here = zoo.build("noisy-classifier-digits")


def draw(figure, seen):
    title = f"{seen[-1].step} updates, {seen[-1].images_per_second:.0f} pictures a second"
    guidance_plot.training(figure, [step.loss for step in seen], title)


seen = watch(train(trained_here, shuffled(pictures, labels, batch=128), steps=300, lr=2e-3),
             draw, every=10, alt="The cross-entropy starts near ln 10, the dashed line, falls below 1 "
             "in 80 updates, and ends near 0.6.")  # fmt: skip
trained_here = seen[-1].ema

# %% [markdown]
# The loss does not fall to 0: a very noisy picture holds too little information. Now compare three classifiers on the 360 test digits as noise grows.

# %%
pictures, labels = digits.load(16, "test")
wrong = (labels + torch.randint(1, 10, labels.shape, generator=seeded())) % 10
moments = (1, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
classifiers = {
    "clean": lambda x, t: clean(x),
    "trained here": lambda x, t: trained_here.net(x, torch.full((len(x),), t)),
    "shipped": lambda x, t: guide.net(x, torch.full((len(x),), t)),
}
curves = {name: [] for name in classifiers}
for name, read in classifiers.items():
    chosen = lambda x, t: read(x, t).log_softmax(1).gather(1, wrong[:, None])[:, 0]  # noqa: E731, B023
    for t in moments:
        x = guide.schedule.diffuse(pictures, t, noise(*pictures.shape, seed=t))
        with torch.no_grad():
            probs = read(x, t).softmax(1)
        right, sure = (probs.argmax(1) == labels).float().mean(), probs.amax(1).mean()
        curves[name].append((right, sure, gradient(chosen, x, t).flatten(1).norm(dim=1).mean()))
    curves[name] = torch.tensor(curves[name]).T
    print(f"{name:13} right:", " ".join(f"{share:4.0%}" for share in curves[name][0]))

# %%
titles = ("share that is right", "mean largest probability", "gradient towards a wrong class")
plots.show(
    guidance_plot.readings(moments, curves, titles, ("share", "probability", "mean length")),
    "Three panels over time. Accuracy: the clean classifier is slightly better up to t = 200, clearly "
    "worse from t = 600 to 900, and all end at chance. Confidence: the two trained on noise fall to about "
    "0.15, the clean one stays near 0.8. Gradient: the clean one's is long throughout, the others' is "
    "short and falls nearly to zero at t = 1000.",
)  # fmt: skip
assert curves["clean"][1, -1] > 0.7 and curves["shipped"][1, -1] < 0.2
assert curves["clean"][2, -1] > 10 * curves["shipped"][2, -1]

# %% [markdown]
# Up to $t=400$ the clean classifier is about as good as the others. At $t=600$ it is clearly worse (61 % against 79 % and 83 %), but its probabilities stay high. In pure noise it is right about as often as chance, and its largest probability is still nearly 0.8. Its gradient there is over ten times as long as the shipped guide's.
#
# How do they guide? We take the same model, scale 4, and 40 digits from each of three seeds. The fourth row evaluates the guide itself at $\hat x_0$, with $t=1$. **Never measure with the classifier that guided**: its probability is what guidance raises. So the evaluator, which guides nothing, reads the class. Precision is the share of samples that lie among the real digits in its features.

# %%
real = metrics.see(evaluator, digits.load(16)[0])
reference, _ = metrics.halves(real, 0)
classes = torch.arange(10).repeat(4)
read_clean = lambda x: clean(x).log_softmax(1).gather(1, classes[:, None])[:, 0]  # noqa: E731
guides = {
    "clean, at x_t": lambda x, t: read_clean(x),
    "clean, at x̂0": lambda x, t: read_clean(model(x, t).x0),
    "guide, at x_t": guide.log_prob(classes),
    "guide, at x̂0": lambda x, t: guide.log_prob(classes)(model(x, t).x0, 1),
}
grid, shares = [], {}
for name, log_prob in guides.items():
    scores = []
    for seed in range(3):
        drawn = final(generate(classes, 4.0, noise(40, 1, 16, 16, seed=seed), log_prob=log_prob))
        fake = metrics.see(evaluator, drawn)
        right = (fake.probs.argmax(1) == classes).double().mean().item()
        precision, _ = metrics.precision_recall(reference.features, fake.features)
        scores.append((right, precision))
        grid += [drawn[:10]] if seed == 0 else []
    mean, sd = torch.tensor(scores).mean(0).tolist(), torch.tensor(scores).std(0).tolist()
    shares[name] = mean
    print(f"{name:13} right class {mean[0]:.2f} ± {sd[0]:.2f}   "
          f"precision {mean[1]:.2f} ± {sd[1]:.2f}")  # fmt: skip
others = [shares[name] for name in guides if name != "guide, at x_t"]
assert all(shares["guide, at x_t"][0] > right + 0.05 for right, _ in others)
assert all(shares["guide, at x_t"][1] > precision + 0.08 for _, precision in others)
assert shares["clean, at x̂0"][0] > shares["clean, at x_t"][0] + 0.2

# %%
plots.show(
    plots.image_grid(torch.cat(grid), columns=10, titles=range(10), rows=list(guides)),
    "Four rows of ten digits for the classes 0 to 9. Clean, at x_t: 0, 4 and 6 are right, most others are "
    "other digits or unclear. Clean, at the prediction: 0, 3, 4, 6, 8 and 9 are right, the 5 and the 7 "
    "look like 9s. Guide, at x_t: all are right, the 7 unclear. Guide, at the prediction: 0, 3, 4, 6, 8 "
    "and 9 are right, the 1 looks like a 6, the 2 like a 7, the 5 and the 7 are unclear.",
)

# %% [markdown]
# Evaluated at $x_t$, the clean classifier mostly fails, and about half of its samples are not typical digits. Evaluated at $\hat x_0$ it gets most classes right, without any training on noise. But each step needs a backward pass through the model, and precision is lower. The guide at $x_t$ is best in both; the same network is worse at $\hat x_0$. So a guide must know noise **if it is evaluated at $x_t$**.
#
# ## 7 · Measure: what guidance trades
#
# First the paper's table, for ImageNet 256 × 256. What does the scale improve, and what does it cost? What happens at scale 1 on the unconditional model?

# %%
PAPER = {  # Dhariwal and Nichol 2021, table 3 (NeurIPS; table 4 in arXiv version 4)
    "unconditional": (26.21, 39.70, 0.61, 0.63),
    "unconditional, scale 1": (33.03, 32.92, 0.56, 0.65),
    "unconditional, scale 10": (12.00, 95.41, 0.76, 0.44),
    "conditional": (10.94, 100.98, 0.69, 0.63),
    "conditional, scale 1": (4.59, 186.70, 0.82, 0.52),
    "conditional, scale 10": (9.11, 283.92, 0.88, 0.32),
}
print(f"{'paper, ImageNet 256':25}    FID      IS   precision  recall")
for name, (fid, inception, precision, recall) in PAPER.items():
    print(f"{name:25} {fid:6.2f}  {inception:6.2f}     {precision:.2f}      {recall:.2f}")

# %% [markdown]
# Now ours: 100 digits, ten of each class, in 20 DDIM steps, from four seeds. Distance, precision and recall are measured in the features of `classifier-digits`, the paper's in those of Inception, so the numbers are not comparable. Each is a mean over five random halves of the real digits as reference. The **floor** is the score of 100 real digits of the *other* half, ten of each class (by the evaluator). The last column is the mean distance of two digits of one class, in pixels.

# %%
N, SEEDS = 100, 4
SCALES = {"unconditional": (0, 1, 2, 4, 16), "conditional": (0, 1, 4)}
real = metrics.see(evaluator, digits.load(16)[0])
splits = [metrics.halves(real, seed) for seed in range(5)]  # reference, held out
classes = torch.arange(N) % 10


def compare(fake, references):
    """Fréchet distance, precision and recall, the mean over references."""
    scores = [metrics.score(reference, fake) for reference in references]
    return torch.tensor([(s.frechet, s.precision, s.recall) for s in scores]).mean(0)


def alike(pictures, labels):
    """Mean distance (in pixels' values) of two pictures of one class, the mean over classes."""
    each = [torch.pdist(pictures[labels == k].flatten(1)).mean() for k in range(10)]
    return torch.stack(each).mean()


def evaluate(drawn):
    """Five numbers for N digits: distance, precision, recall, right class, distance in a class."""
    fake = metrics.see(evaluator, drawn)
    right = (fake.probs.argmax(1) == classes).double().mean()
    scores = compare(fake, [reference for reference, _ in splits])
    return torch.cat([scores, torch.stack([right, alike(drawn, classes)])])


def measure(kind, scale, seed, log_prob=None):
    by, cond = model, None
    if kind == "conditional":
        by, cond = conditional.denoiser, conditional.encode(classes)
    x = noise(N, 1, 16, 16, seed=seed)
    return evaluate(final(generate(classes, scale, x, by=by, cond=cond, log_prob=log_prob)))


ours = {(kind, scale): torch.stack([measure(kind, scale, seed) for seed in range(SEEDS)])
        for kind, scales in SCALES.items() for scale in scales}  # fmt: skip


# %%
def per_class(seen, part):
    """The part-th N/10 pictures of each class, as the evaluator reads it."""
    of = [(seen.probs.argmax(1) == k).nonzero()[:, 0] for k in range(10)]
    rows = torch.cat([each[part * N // 10 : (part + 1) * N // 10] for each in of])
    return metrics.Seen(seen.features[rows], seen.probs[rows])


floor = torch.stack([compare(per_class(held_out, part), [reference])
                     for reference, held_out in splits for part in range(4)])  # fmt: skip
print(f"{'':13} scale  Fréchet          precision      recall         right class    one class")
for (kind, scale), runs in (ours | {("real, held out", ""): floor}).items():
    cells = [f"{m:.3f} ± {d:.3f}" for m, d in zip(runs.mean(0).tolist(), runs.std(0).tolist())]
    print(f"{kind:14} {scale:4}  " + "  ".join(cells))
mean = {key: runs.mean(0) for key, runs in ours.items()}
none, one, two, four, most = (mean["unconditional", scale] for scale in (0, 1, 2, 4, 16))
real_distance = alike(*digits.load(16))
print(f"mean distance of two real digits of one class: {real_distance:.2f}")
assert one[4] > two[4] > four[4] > most[4] and most[4] < real_distance - 1
assert one[1] < none[1] - 0.03 and most[2] < none[2] - 0.2 and most[3] > 0.95
assert four[1] > floor.mean(0)[1] + 0.02 and mean["conditional", 1][1] > floor.mean(0)[1] + 0.02

# %%
plots.show(
    guidance_plot.trade(ours, ("Fréchet", "precision", "recall", "right class"), floor.mean(0)),
    "Four panels over the scale; dotted, the floor. Unconditional: the distance falls towards the floor; "
    "precision dips at scale 1, then rises above the floor; recall falls from scale 1 on, below the floor; "
    "the right class rises from 0.1 to 0.99. Conditional: distance and class are good at every scale, "
    "precision rises above the floor, recall falls below it.",
)

# %% [markdown]
# **The share of the right class** grows with the scale. On the unconditional model scale 1 gives 72 %; the conditional model has 98 % without guidance.
#
# **Recall falls** from scale 1 on. Digits of one class become more alike: at scale 16 they are nearer to each other than real ones are. At scales 0 and 1 recall is above the floor. We do not think that this is a gain. Recall counts the real digits in a ball around any sample. The ball reaches to the third nearest sample, so a sample far from the others has a large one.
#
# **Precision** falls from scale 0 to 1 on the unconditional model, then rises. From scale 4 on it is *above* the floor: guided digits are **more typical than real ones**. This is not "better than real": recall is far below the floor. The Fréchet distance does not show it: from scale 4 to 16 recall falls, the distance does not change.
#
# In the paper, scale 1 on the unconditional model was *worse* than no guidance: FID 33.03 against 26.21, precision .56 against .61. Ours repeats the fall of precision; our distances at 0 and 1 differ by less than two standard errors.
#
# The exact classifier of section 3.2 does no harm at scale 1, so we look for the cause in the networks. We double the gradient at some times only. Then we compare its change of eps with the one that the conditional model implies: its $\hat\varepsilon$ without the class minus that with it.


# %%
def doubled(when):
    """The guide's log-probability, multiplied by 2 at the times t where when(t) is true."""
    log_prob = guide.log_prob(classes)
    return lambda x, t: log_prob(x, t) * (2 if when(int(t)) else 1)


parts = {"t > 500": lambda t: t > 500, "t ≤ 500": lambda t: t <= 500}
print(f"scale 1                precision {one[1]:.3f}   right class {one[3]:.3f}")
for name, when in parts.items():
    runs = [measure("unconditional", 1, seed, doubled(when)) for seed in range(SEEDS)]
    parts[name] = torch.stack(runs).mean(0)
    print(
        f"scale 2 at {name} only   precision {parts[name][1]:.3f}   right class {parts[name][3]:.3f}"
    )
print(f"scale 2                precision {two[1]:.3f}   right class {two[3]:.3f}")
assert (parts["t > 500"] - two)[[1, 3]].abs().max() < 0.04
assert (parts["t ≤ 500"] - one)[[1, 3]].abs().max() < 0.05

# %%
pictures, labels = digits.load(16, "test")
wrong = (labels + torch.randint(1, 10, labels.shape, generator=seeded())) % 10
null, cond = conditional.null.rows(len(wrong)), conditional.encode(wrong)
print("mean length of the change of eps, and how far the two changes point the same way")
cosines = {}
for t in (100, 300, 500, 700, 900):
    x = guide.schedule.diffuse(pictures, t, noise(*pictures.shape, seed=t))
    by_guide = gradient(guide.log_prob(wrong), x, t) * guide.schedule.noise(t, pictures)
    with torch.no_grad():
        implied = conditional.denoiser(x, t, null).eps - conditional.denoiser(x, t, cond).eps
    changes = [each.flatten(1) for each in (by_guide, implied)]
    lengths = [each.norm(dim=1).mean().item() for each in changes]
    cosines[t] = torch.cosine_similarity(*changes).mean().item()
    print(f"t = {t}   by the guide {lengths[0]:.2f}   implied by the model {lengths[1]:.2f}   "
          f"cosine {cosines[t]:.2f}")  # fmt: skip
assert [*cosines.values()] == sorted(cosines.values())
assert cosines[700] < 0.7 and lengths[0] < lengths[1]

# %% [markdown]
# Doubling the gradient only at $t>500$ does about all that scale 2 does; doubling it only below changes little. The guide's change of eps is shorter than the implied one. It also points elsewhere: at $t=700$ their cosine is 0.59, at $t=300$ only 0.23. So the guide finds only a *part* of what the class changes for the other network (which is not exact either). We think that a larger scale makes up for the missing part, at high noise.
#
# ### A simpler way: generate more, and choose
#
# Must we guide at all? We take 1,000 digits without guidance. The guide reads the finished digits, and we keep ten of each class: the first ten, or the ten of which it is surest.

# %%
many = final(generate([0], 0, noise(1000, 1, 16, 16, seed=100)))  # scale 0: no guidance
with torch.no_grad():
    probs = guide.net(many, torch.full((1000,), 1)).softmax(1)  # at t = 1, almost clean
found = [(probs.argmax(1) == k).nonzero()[:, 0] for k in range(10)]
first = [torch.stack([rows[10 * part : 10 * part + 10] for rows in found]) for part in range(4)]
chosen = {"the first ten": first, "the surest ten": [probs.topk(10, dim=0).indices.T]}
kept = {}
print("kept              Fréchet   precision   recall   right class   one class")
for name, sets in chosen.items():  # each (10 classes, 10 digits)
    scores = torch.stack([evaluate(many[rows.T.flatten()]) for rows in sets])
    kept[name] = scores.mean(0)
    print(f"{name:15}   " + "       ".join(f"{score:.3f}" for score in kept[name]))
a, b = kept.values()
assert a[3] > 0.93 and a[2] > two[2] + 0.02 and b[1] > a[1] + 0.08 and b[2] < a[2] - 0.2

# %% [markdown]
# (The first line is the mean of four sets of 100, the second is one set.) The *first ten* show the right class about as often as scale 4, with about the recall of unguided digits. Guidance at scale 2 has less of both. The *surest ten* repeat the trade of a large scale: precision near 1, low recall.
#
# The price is the number of samples. If you want only sevens, nine of ten digits are thrown away. With guidance you keep every sample.
#
# ## 8 · Break it
#
# Here are four mistakes that raise no error, with the exact classifier of the clouds and scale 1. The first panel is the right answer. Why is softmax wrong? $\nabla p=p\,\nabla\log p$: where the classifier is *sure* that a point is not in the north, the gradient vanishes.


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
x, panels, shares, widths = noise(400, 2, dtype=torch.float64), {}, {}, {}
for name, (log_prob, scale) in mistakes.items():
    guided = ScoreGuidance(exact_model, log_prob, scale)
    drawn = final(sample(guided, x, schedule.timesteps(50), step=ddim))
    shares[name] = (clouds.posterior(drawn).argmax(1) == north).double().mean()
    widths[name] = drawn.std(0).mean()
    panels[f"{name}\n{shares[name]:.0%} north"] = {name: drawn}
plots.show(
    guidance_plot.samples(clouds.sample(400, seeded(9))[0], panels, (-2.8, 2.8), (-2.4, 2.8), 2.7),
    "Five panels of guided samples. Right: nearly all in the north cloud. Sign: most lie below and beside "
    "the data, few in the north. No root: a narrow wedge in the north. Softmax: all three clouds, the "
    "north one fullest. Mean over the batch: all three clouds evenly.",
)  # fmt: skip
assert shares["no √(1−ᾱ)"] > 0.99 and shares["sign"] < 0.1 and 0.4 < shares["softmax"] < 0.7
print(f"sd: right {widths['right']:.2f}, no √(1−ᾱ) {widths['no √(1−ᾱ)']:.2f}")
assert widths["no √(1−ᾱ)"] < widths["right"] - 0.04

# %% [markdown]
# - **Sign**: the points move away from the north, many out of the data and the picture.
#
# - **No root**: every point is in the north, so a measure of the class does not find this mistake. But the shape is too narrow. The change of eps is too large by $1/\sqrt{1-\bar\alpha_t}$: 100 at $t=1$, and 1 at $T$.
#
# - **Softmax**: points with $p\approx0$ are hardly moved, and 45 % are not in the north.
#
# - **Mean over the batch**: with 400 rows the gradient is 400 times too small. A third is in the north, as without guidance.
#
# ## 9 · Exercises
#
# Write into the stub and run the cell. The check draws fresh inputs every time and names the usual mistakes. Under each exercise are a folded hint and a folded solution (click the three dots).
#
# ### 9.1 A sharper classifier is not a scale &nbsp; ● 5 minutes
#
# `log_probs` `(B, K)` holds $\log p(y\mid x)$ for every class. Return the log of the sharper classifier, $\log\big(p(y\mid x)^s/Z(x)\big)$. Each row must be a distribution again. The cell after the solution compares its gradient with $s\,\nabla\log p$.


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


# %%
def sharpened(x, t, power=sharpen_solution):
    """log p(right | x) of two classes at ±0.7, after `power` with s = 4."""
    return power(GaussianMixture([[-0.7], [0.7]], 0.5).log_joint(x).log_softmax(1), 4.0)[:, 1]


x = torch.tensor([[-0.6], [0.0], [0.6]], dtype=torch.float64)
times_s = gradient(partial(sharpened, power=lambda log_probs, s: s * log_probs), x, 0)
for place, a, b in zip(x[:, 0], times_s[:, 0], gradient(sharpened, x, 0)[:, 0]):
    print(f"x = {place:4.1f}   s ∇log p {a:6.2f}   gradient of the sharper classifier {b:6.2f}")

# %% [markdown]
# ### 9.2 Algorithm 2 in one line &nbsp; ● 5 minutes
#
# `gradient` is $g=\nabla_{x_t}\log p(y\mid x_t)$, of the shape of `eps`; `alpha_bar` is the number $\bar\alpha_t$. The model is unconditional.


# %%
def shift_eps(eps, gradient, alpha_bar, scale):
    """The guided eps, (B, C, H, W)."""
    ...


checks.shift_eps(shift_eps)

# %% [markdown]
# <details><summary>Hint</summary>eps is −√(1−ᾱ_t) times a score, and scores add. The paper's printed line lacks the scale; yours must have it.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def shift_eps_solution(eps, gradient, alpha_bar, scale):
    return eps - scale * (1 - alpha_bar) ** 0.5 * gradient


checks.shift_eps(shift_eps_solution).require()

# %% [markdown]
# ### 9.3 The gradient of a classifier &nbsp; ●● 15 minutes
#
# `classifier(x)` gives logits `(B, K)`; `y` `(B,)` holds a class for each row. Return $\nabla_x\log p(y\mid x)$, of the shape of `x`. The gradient of a row does not depend on the other rows.


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
# ### 9.4 The exact classifier of noisy points &nbsp; ●● 20 minutes
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
# Return the mean of the guided ancestral step from `t` to `s`, of any length, with the large variance $\Sigma=1-\bar\alpha_t/\bar\alpha_s$. `schedule.posterior(x0, x, t, s)` gives mean and variance of $q(x_s\mid x_t,x_0)$.


# %%
def guided_mean(schedule, x0, x, t, s, gradient, scale):
    """μ + scale Σ gradient, (B, D), for the prediction x0 (B, D), x (B, D), times s < t."""
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
# Any event can guide. From the classifier's `logits` `(B, K)`, return $\log p(y\in\{a,b\}\mid x)$, `(B,)`. The cell after the solution guides the model to "3 or 8". Then write "not a 1" for any number of classes. What does guidance towards the *sum of the logs* generate, and why?


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
def event_log_prob(x, t, event):
    """The log-probability of an event, from the noisy classifier's logits."""
    return event(guide.net(x, torch.full((len(x),), int(t))), 3, 8)


both = lambda logits, a, b: logits.log_softmax(1)[:, [a, b]].sum(1)  # noqa: E731
x, rows = noise(10, 1, 16, 16), {}
for name, event in (("3 or 8", either_class_solution), ("3 and 8", both)):
    log_prob = partial(event_log_prob, event=event)
    rows[name] = final(generate(None, 6.0, x, log_prob=log_prob))
plots.show(plots.image_grid(torch.cat(list(rows.values())), columns=10, rows=list(rows)),
           "Above, guided to 3 or 8: seven 3s and three 8s. Below, guided to both at once: ten shapes "
           "between a 3 and an 8; most are closed at the bottom and half open at the top.")  # fmt: skip

# %% [markdown]
# <details><summary>Answers</summary>
#
# - Not a 1: <code>logsumexp</code> of the log-probabilities of all the other classes.
# - The sum of the logs is $\log\big(p(3\mid x)\,p(8\mid x)\big)$. It is largest where both are likely, so the samples are shapes between a 3 and an 8. No digit is both.
# </details>
#
# ## 10 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why does guidance need no $p(y)$, although Bayes' rule has it?",
    {
        "Because all classes are equally likely": "It would vanish for unequal classes too.",
        "Because it does not depend on x, so its gradient is 0": "A constant has the gradient 0.",
        "Because the classifier was trained with it": "True in a way (p(y|x) contains the training frequencies), but that is not why the term vanishes.",
    },
    answer="Because it does not depend on x, so its gradient is 0",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You have an excellent classifier of clean digits. Why not evaluate it at x_t?",
    {
        "It has no gradient": "It has one everywhere; that is how it was trained.",
        "It takes x_t for a clean picture, so its gradient is wrong at high noise": "Bayes' rule has p(y | x_t). At high noise the clean classifier is sure and wrong. It can be evaluated at the prediction of x_0, with a backward pass through the model.",
        "It would be too slow": "Guiding with it costs what guiding with the other costs: a pass forward and a pass back.",
    },
    answer="It takes x_t for a clean picture, so its gradient is wrong at high noise",
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
    "As the scale grows from 1 on, what do precision and recall do?",
    {
        "Both rise, until the scale is too large": "Only one of them does.",
        "Precision rises, recall falls": "Samples move to where the classifier is sure, away from rare and ambiguous digits: more fidelity, less diversity.",
        "Precision falls, recall rises": "In section 7 it is the other way round from scale 1 on.",
    },
    answer="Precision rises, recall falls",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "What does guided sampling with the exact classifier of section 3.3 sample from at scale 4?",
    {
        "p(x | y)": "That is scale 1.",
        "p(x) p(y|x)⁴, normalized": "It would, if the guide were log E[p(y|x_0)⁴ | x_t]. The usual guidance takes the power after the mean.",
        "Neither: the mean of its samples is larger": "Larger than that of p(x) p(y|x)⁴, with either sampler. A scale above 1 is a heuristic.",
    },
    answer="Neither: the mean of its samples is larger",
)

# %% [markdown]
# ## 11 · Recap
#
# - **Bayes on scores**: conditional score = the model's score + the classifier's gradient. With an exact classifier, guided sampling *is* conditional sampling, step by step.
#
# - **Algorithm 2** changes eps by $-s\sqrt{1-\bar\alpha_t}\,g$ and serves every sampler. **Algorithm 1** changes the mean by $s\,\Sigma g$. Over long steps it guides too little, and where a step has no noise, it does nothing.
#
# - A classifier that is evaluated at $x_t$ has to **know noise**. A clean one can be evaluated at $\hat x_0$.
#
# - Keeping the first ten of each class among many unguided samples keeps diversity, but costs more samples.
#
# - The **scale** is not a sharper classifier. Only scale 1 (and 0) is exact; a larger scale is a heuristic, which gives more typical samples and less diversity.
#
# - In code: log_softmax, the sum over the batch, the right sign. Never measure with the classifier that guided.
#
# **What the next lesson fixes.** Guidance here needs a second network and a backward pass in every step. Solve section 3.1 for the classifier: $\nabla\log p(y\mid x_t)=\nabla\log p(x_t\mid y)-\nabla\log p(x_t)$. A model that has both scores *contains* a classifier. Lesson 06 uses it.
#
# **References**
# - P. Dhariwal, A. Nichol: *Diffusion Models Beat GANs on Image Synthesis*, NeurIPS 2021 (arXiv:2105.05233, version 4). Section 4, Algorithms 1 and 2.
#
# - J. Sohl-Dickstein et al., ICML 2015. Section 2.5: multiplying by a second distribution.
#
# - Y. Song et al., ICLR 2021. Section 5: Bayes on scores.
#
# - T. Kynkäänniemi et al., NeurIPS 2019 (precision and recall).
#
# - H. Chung et al.: *Diffusion posterior sampling for general noisy inverse problems*, ICLR 2023; A. Bansal et al.: *Universal guidance for diffusion models*, 2023. Both evaluate at $\hat x_0$.
