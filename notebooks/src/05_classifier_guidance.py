# %% [markdown]
# # 05 · Classifier guidance: a classifier steers the model
#
# **The question.** The model of lesson 03 generates *some* digit. You want a 7. Another network is a classifier of digits. Can the classifier steer the model,
# although the model has never seen a label and is not trained again?
#
# **Afterwards you can**
# - derive guidance from Bayes' rule in three lines, and prove by number that an exact classifier turns an unconditional model into a conditional one;
# - write ADM's Algorithms 1 and 2, say why they differ, and when it matters;
# - say what the guidance scale does to fidelity and to diversity, and what it is *not*;
# - say why a classifier that is asked about $x_t$ must know noise, and recognize four classic mistakes.
#
# **Before:** lesson 03 (section 3.5: the score in $\hat\varepsilon$), lesson 04 (the step from $\hat x_0$ and $\hat\varepsilon$). Bayes' rule.
#
# **Time:** about 50 minutes to read and play, plus 85 for all exercises; about 70 seconds of computing on two cores.
#
# **On the map:** 03 DDPM → 04 DDIM → **05 classifier guidance** → 06 classifier-free guidance (the same without a second network).

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
# The whole lesson uses three clouds of points, whose distribution is known exactly at every time, and five networks that ship with the course.
# After a restart, run these three cells, and then any section.

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
    guided = MapX0(ScoreGuidance(by, log_prob, scale), clip)
    return sample(guided, x, by.schedule.timesteps(steps), cond, step=ddim)


# %% [markdown]
# ## 1 · See it first
#
# One noise, one model, ten classes. Without guidance the model makes one digit from this noise (top row). In the rows below, a classifier adds its
# gradient at every step, for the class at the head of the column. The scale multiplies that gradient. (Samples in this lesson are uncurated.)

# %%
start = noise(1, 1, 16, 16, seed=5).expand(10, 1, 16, 16)
scales = (0, 1, 4, 12)
rows = [final(generate(range(10), scale, start)) for scale in scales]
plots.show(
    plots.image_grid(torch.cat(rows), columns=10, titles=range(10),
                     rows=[f"scale {scale}" for scale in scales]),
    "Four rows of ten digits from one noise. Top row, scale 0: ten equal digits that look like a 9. At "
    "scale 1 most columns show the digit asked for, but 1, 6, 7 and 8 are unclear. At scales 4 and 12 "
    "nearly all are clear.",
)  # fmt: skip

# %% [markdown]
# How can a network that never saw a label generate a 2? And what does guidance cost?
#
# ## 2 · The idea
#
# The score $\nabla\log p(x_t)$ points to where points are more likely (lesson 03, section 3.5). The gradient of a classifier, $\nabla\log p(\text{north}\mid x_t)$, points to where the class
# "north" is more likely. Guidance adds the two. Below: three clouds at $t=200$, the two fields of arrows, and their sum (black). Under the sum, in blue, is the score of the north cloud alone.

# %%
t, ticks = 200, torch.linspace(-2, 2, 13, dtype=torch.float64)
grid = torch.cartesian_prod(ticks, ticks)  # (169, 2)
noisy = clouds.diffused(schedule, t)
score, pull = noisy.score(grid), gradient(exact_log_prob, grid, t)
arrows = {"the score": score, "+ the classifier's gradient": pull, "= their sum": score + pull}
alone = GaussianMixture(noisy.means[north:], noisy.std[north:]).score(grid)
plots.show(
    guidance_plot.fields(noisy.sample(600, seeded())[0], grid, arrows, under=alone),
    "Three fields of arrows over three clouds. The score points from outside to the clouds. The "
    "classifier's gradient points to the north and is nearly zero in the north. Their sum points to the "
    "north cloud from everywhere, and covers the blue arrows of that cloud's own score.",
)  # fmt: skip

# %% [markdown]
# The sum equals the score of the north cloud, exactly. This is Bayes' rule.
#
# ## 3 · The derivation
#
# ### 3.1 Bayes on scores
#
# We want to sample $p(x_t\mid y)$. Bayes' rule, and its logarithm:
#
# $$p(x_t\mid y)=\frac{p(x_t)\,p(y\mid x_t)}{p(y)}\qquad\Longrightarrow\qquad\log p(x_t\mid y)=\log p(x_t)+\log p(y\mid x_t)-\log p(y).$$
#
# Take the gradient by $x_t$. The last term does not depend on $x_t$, so it disappears:
#
# $$\boxed{\;\nabla_{x_t}\log p(x_t\mid y)=\underbrace{\nabla_{x_t}\log p(x_t)}_{\text{the model}}+\underbrace{\nabla_{x_t}\log p(y\mid x_t)}_{\text{the classifier}}\;}$$
#
# The classifier is not asked about a finished picture. It is asked how likely it is that the noisy $x_t$ came from a $y$. For Gaussian clouds all three terms are known. We check at 500 random points and four times:

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
# Then $\hat x_0$ is computed from the new $\hat\varepsilon$, and any sampler takes the step. So guidance changes a denoiser. In labkit it is a wrapper: it takes a denoiser and gives a denoiser.
#
# With an exact classifier, guided sampling must equal conditional sampling at **every step**: same noise, same generator, same points. We check with $\eta=0$ and with $\eta=1$:

# %% tags=["nbval-check-output"]
x, times = noise(400, 2, dtype=torch.float64), schedule.timesteps(50)
for eta in (0.0, 1.0):
    step = partial(ddim, eta=eta)
    guided = sample(ScoreGuidance(exact_model, exact_log_prob), x, times, None, step, seeded(1))
    goal = sample(exact_model, x, times, north_condition, step, seeded(1))
    gap = max((a.x - b.x).abs().max().item() for a, b in zip(guided, goal, strict=True))
    print(f"eta {eta:g}: 400 points are equal to 1e-6 after each of 50 steps: {gap < 1e-6}")
    assert gap < 1e-6

# %% [markdown]
# An unconditional model and an exact classifier together *are* a conditional model. If a result differs, there are three possible causes: a network is not exact, the scale is not 1, or the step is wrong.
#
# ### 3.3 The scale
#
# ADM guided an unconditional ImageNet model by a trained classifier. At the end its classifier gave the desired class about 50 %, but people did not see that class in the pictures (section 4.3 in arXiv version 4). So the authors multiplied the gradient by a **scale** $s$. They explain:
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
# A sharper classifier is sure at $x=0.6$, and its gradient there is nearly 0. The scaled gradient still moves the point to the right.
#
# **What does guidance with a scale sample from?** One may guess: from the curves on the right, $p(x)\,p(y\mid x)^s$. We try three guides with exact classifiers:


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
x, times = noise(1000, 1, dtype=torch.float64), schedule.timesteps(100)
kinds = {"s ∇log p": scaled, "∇log p^s/Z(x)": sharper, "∇log E[p(y|x_0)^s]": power_inside}
print("s   p(x) p(y|x)^s   " + "   ".join(kinds), "  (mean ± sd of the samples)")
means = {}
for s in (1, 4):
    weights = (pair.log_prob(line) + s * pair.log_joint(line).log_softmax(1)[:, 1]).softmax(0)
    mean = (weights * line[:, 0]).sum()
    rows = [(mean, (weights * (line[:, 0] - mean) ** 2).sum().sqrt())]
    for make in kinds.values():
        guided = ScoreGuidance(pair.denoiser(schedule), make(s))
        drawn = final(sample(guided, x, times, None, partial(ddpm, v=1.0), seeded(1)))
        rows.append((drawn.mean(), drawn.std()))
    means[s] = [mean for mean, _ in rows]
    print(f"{s}    " + "     ".join(f"{mean:.2f} ± {sd:.2f}" for mean, sd in rows))
assert all(abs(mean - means[1][0]) < 0.05 for mean in means[1])
assert means[4][1] > means[4][0] + 0.15 and abs(means[4][3] - means[4][0]) < 0.05
assert means[4][2] < means[4][0]

# %% [markdown]
# (1,000 independent samples in 100 ancestral steps; a mean is known to about ±0.03, two standard errors.) At $s=1$ all agree: that is Bayes. At $s=4$ the usual guidance goes **beyond** $p(x)\,p(y\mid x)^s$. The sharper classifier falls short of it.
#
# Why beyond? At time $t$ the classifier knows $p(y\mid x_t)=\mathbb E[p(y\mid x_0)\mid x_t]$. The power of a mean is not the mean of powers. The last column takes the power inside the mean, and it agrees with $p(x)\,p(y\mid x)^s$. But it needs an integral over all clean pictures, which no classifier gives us. So: **scale 1 is a theorem; any other scale is a heuristic.**
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
# (Multiply the right side out: the terms in $\Sigma g$ give $+(x_s-\mu)^\top g-\frac12g^\top\Sigma g$.) This is a Gaussian again, with another mean:
#
# $$\boxed{\;x_s\sim\mathcal N(\mu+\text{scale}\cdot\Sigma g,\;\Sigma)\;}\qquad\text{(ADM, Algorithm 1)}$$
#
# Do the two algorithms agree? Algorithm 2 changes $\hat\varepsilon$ by $-\sqrt{1-\bar\alpha_t}\,g$, hence $\hat x_0$ by $+\frac{1-\bar\alpha_t}{\sqrt{\bar\alpha_t}}g$. In the posterior's mean, $\hat x_0$ has the factor $\frac{\sqrt{\bar\alpha_s}\,(1-\alpha)}{1-\bar\alpha_t}$ with $\alpha=\bar\alpha_t/\bar\alpha_s$. So Algorithm 2 moves the mean by
#
# $$\frac{\sqrt{\bar\alpha_s}\,(1-\alpha)}{1-\bar\alpha_t}\cdot\frac{1-\bar\alpha_t}{\sqrt{\bar\alpha_t}}\;g=\frac{1-\alpha}{\sqrt\alpha}\;g .$$
#
# Algorithm 1 moves it by $\Sigma g$. With the large variance, $\Sigma=1-\alpha$, so the two differ by the factor $\sqrt\alpha$. Over one step of a thousand it is at least 0.99. Over a long step it is far from 1:

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
# (With the posterior's variance $\tilde\beta$, Algorithm 1 moves the mean too little near the end, even with a thousand steps: $\tilde\beta$ is much smaller than $\beta$ there.)
#
# Now whole samples: the same noise, generators with the same seed, the exact classifier, scale 1. Conditional sampling gives the right answer. How far from it do the samples of each algorithm end?

# %%
ends = {}
for n in (1000, 50, 10):
    x, times = noise(300, 2, seed=3, dtype=torch.float64), schedule.timesteps(n)
    walk = partial(sample, x=x, timesteps=times)
    ancestral = partial(ddpm, v=1.0)
    goal = final(walk(exact_model, cond=north_condition, step=ancestral, generator=seeded(5)))
    shifted = partial(mean_shift, log_prob=exact_log_prob, v=1.0)
    one = final(walk(exact_model, step=shifted, generator=seeded(5)))
    guided = ScoreGuidance(exact_model, exact_log_prob)
    two = final(walk(guided, step=ancestral, generator=seeded(5)))
    ends[f"{n} steps"] = {"Algorithm 2": two, "Algorithm 1": one}
    off = [(points - goal).norm(dim=1).mean().item() for points in (one, two)]
    print(f"{n:4} steps   mean distance: Algorithm 1 {off[0]:.1e}, Algorithm 2 {off[1]:.0e}")
    assert off[1] < 1e-6 and off[0] > {1000: 1e-4, 50: 0.01, 10: 0.05}[n]

# %%
plots.show(
    guidance_plot.samples(clouds.sample(400, seeded())[0], ends, (-2.6, 2.6), (-2, 2.6)),
    "Samples of both algorithms in the north cloud. With 1000 steps the points of both coincide. With 50 "
    "they differ a little. With 10 steps most points of Algorithm 1 are visibly beside those of "
    "Algorithm 2.",
)  # fmt: skip

# %% [markdown]
# **Algorithm 2 with the exact classifier equals conditional sampling at every number of steps.** Algorithm 1 comes close only when steps are short. And with DDIM at $\eta=0$ Algorithm 1 does nothing: the step has no noise, so $\Sigma=0$ and $\Sigma g=0$. That is why the paper has a second algorithm.
#
# A warning: Algorithm 2 as printed takes the scale as an input and then does not use it. The line must read $\hat\varepsilon=\varepsilon_\theta-s\sqrt{1-\bar\alpha_t}\,g$, as in the authors' code.
#
# ## 4 · The real code
#
# The wrapper computes $\hat\varepsilon=\varepsilon-s\sqrt{1-\bar\alpha_t}\,g$. `from_eps` computes $\hat x_0$ from it:

# %%
show_source(ScoreGuidance.__call__)

# %% [markdown]
# The gradient comes from automatic differentiation. Three details matter. It switches gradients *on*, because samplers run under `no_grad`. It takes the *sum* over the batch, so that each row gets its own gradient; a mean would divide it by the batch size. And it refuses a `log_prob` without a gradient:

# %%
show_source(gradient)

# %% [markdown]
# Algorithm 1 is a step, not a wrapper, because it needs the variance of the step. The classifier gives $\log p(y\mid x_t)$: `log_softmax`, then the class of each row, at time $t$.

# %%
show_source(mean_shift, type(guide).log_prob)

# %% [markdown]
# ## 5 · Play: class, scale, seed
#
# The strip was generated beforehand and answers at once. Each column keeps its noise while you change the class and the scale. Below it, choose freely, press *Paint*, and watch the digits appear. Questions:
#
# 1. At which scale does the class first obey? Is it the same scale for a 6 and for an 8?
# 2. At the largest scale, are the eight digits still eight *different* digits?
# 3. Find a noise that does not become a certain class at scale 1. What did it become at scale 0?

# %%
GuidanceExplorer(generate, range(10), (0, 0.5, 1, 2, 4, 8, 16), shape=(1, 16, 16))

# %% [markdown]
# <details><summary>What you may have found</summary>
#
# 1. It depends on the class. In the runs of section 7, 85 % of the 6s and 40 % of the 8s are right at scale 1. At scale 4 it is 98 % and 90 %.
# 2. They become more alike: section 7 measures that recall falls.
# 3. There are many: at scale 1, 28 % of the digits of section 7 are not the class asked for.
# </details>
#
# ### What the classifier asks for
#
# Below, a real 3 under growing noise. Under it is the gradient $\nabla_{x_t}\log p(8\mid x_t)$ of the guide: purple means more ink, orange less. What would you change to make an 8 of this 3?

# %%
pictures, labels = digits.load(16, "test")
threes, moments = pictures[labels == 3], (20, 150, 300, 450, 600, 800, 900, 1000)
views, pulls, above, below, lengths = [], [], [], [], {}
for t in moments:
    x = guide.schedule.diffuse(threes, t, noise(*threes.shape, seed=2))
    pull = gradient(guide.log_prob([8]), x, t)
    lengths[t] = pull.flatten(1).norm(dim=1).mean().item()
    with torch.no_grad():
        above.append(f"t = {t}\np(8) = {guide.log_prob([8])(x, t)[0].exp():.1g}")
    views.append(x[0, 0]), pulls.append(pull[0, 0]), below.append(f"length {pull[0].norm():.1f}")
figure = guidance_plot.requests(
    torch.stack(views[:6]), torch.stack(pulls[:6]), above[:6], below[:6]
)
plots.show(figure, "A 3 under growing noise, and below it the classifier's gradient towards 8. At every "
           "time shown it asks for ink at the open left side of the 3.")  # fmt: skip
shift = {t: length * guide.schedule.noise(t, pictures).item() for t, length in lengths.items()}
print("t                               " + " ".join(f"{t:5}" for t in moments))
print("mean length, all 3s             " + " ".join(f"{v:5.2f}" for v in lengths.values()))
print("times √(1−ᾱ): the change of eps " + " ".join(f"{v:5.2f}" for v in shift.values()))
assert max(lengths, key=lengths.get) in (450, 600) and max(shift, key=shift.get) == 600
assert lengths[1000] < 0.3

# %% [markdown]
# A 3 is open at the left and an 8 is closed. That is where the classifier asks for ink. Over all 3s of the test set the gradient is longest between $t=450$ and $600$. At $t=1000$ it is short: a picture there holds almost no information about its class. Eps is changed most near $t=600$, and little near 0.
#
# ## 6 · Train the classifier: what it must know
#
# Good classifiers of clean pictures exist. Why not use one? Bayes' rule asks for $p(y\mid x_t)$ with a **noisy** $x_t$. First the exact case. For the clouds, the best classifier of *clean* points is known too. We use it in two ways: asked about $x_t$ as if $x_t$ were clean, and asked about the prediction $\hat x_0(x_t)$. The second one is differentiated through the model.


# %%
def clean_log_prob(x, t):
    """log p(north | x): x_t is taken for a clean point."""
    return clouds.log_joint(x).log_softmax(1)[:, north]


def predicted_log_prob(x, t):
    """log p(north | x̂_0(x_t)): the clean classifier is asked about the model's prediction."""
    return clean_log_prob(exact_model(x, t).x0, t)


tries = [("knows noise", exact_log_prob, 1.0), ("clean, about x_t", clean_log_prob, 1.0),
         ("clean, about x_t", clean_log_prob, 4.0), ("clean, about x̂0", predicted_log_prob, 1.0)]  # fmt: skip
x, panels, stats = noise(500, 2, dtype=torch.float64), {}, []
for name, log_prob, scale in tries:
    guided = ScoreGuidance(exact_model, log_prob, scale)
    drawn = final(sample(guided, x, schedule.timesteps(50), step=ddim))
    far = ((drawn - clouds.means[north]).norm(dim=1) > 3 * 0.45).double().mean().item()
    stats.append((drawn.mean(0)[1].item(), drawn.std(0).mean().item(), far))
    panels[f"{name}\nscale {scale:g}"] = {name: drawn}
    print(f"{name:16} scale {scale:g}: mean height {stats[-1][0]:.2f} (true 1.10), "
          f"sd {stats[-1][1]:.2f} (true 0.45), over 3 sd away {far:.0%}")  # fmt: skip
assert abs(stats[0][0] - 1.1) < 0.1 and stats[1][0] > 1.25 and stats[2][2] > 0.5
assert abs(stats[3][0] - 1.1) < 0.1 and stats[3][1] < 0.35

# %%
plots.show(
    guidance_plot.samples(clouds.sample(500, seeded(9))[0], panels, (-2.6, 2.6), (-2.2, 4.6)),
    "Guided samples in four panels. With the classifier that knows noise they fill the north cloud. With "
    "the clean one asked about x_t they form a wedge at scale 1; at scale 4 most are far above the data. "
    "Asked about the prediction, they form a wedge too, in the middle of the north cloud.",
)  # fmt: skip

# %% [markdown]
# Asked about $x_t$, the clean classifier pushes points away from a sharp border, at every time. How wrong is that? Between two clouds at distance $|\Delta m|$, the slope of the log-odds is $|\Delta m|/\text{std}^2$ for clean points. For noisy ones it is $\sqrt{\bar\alpha_t}\,|\Delta m|/(\bar\alpha_t\,\text{std}^2+1-\bar\alpha_t)$. At $t=T$, $\sqrt{\bar\alpha_T}=0.0064$: the clean slope is about $1/(0.2025\cdot0.0064)\approx800$ times too large.
#
# Asked about $\hat x_0$, the same classifier finds the right place, but the samples are too narrow. It gives $p(y\mid\mathbb E[x_0\mid x_t])$, where Bayes asks for $\mathbb E[p(y\mid x_0)\mid x_t]$. (This is the approximation of DPS and Universal Guidance.)
#
# So we train a classifier on noise, by the recipe of the shipped one: a real digit, a uniform time, the jump $q(x_t\mid x_0)$, and cross-entropy. The network is the down-going half of a U-Net. It receives $t$, and ends in an attention pool.

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
# The loss does not fall to 0: at late times a picture holds too little information. Now compare three classifiers on the 360 test digits as noise grows. The clean one has seen clean digits only. The last panel shows the length of the gradient towards a wrong class.

# %%
pictures, labels = digits.load(16, "test")
wrong = (labels + torch.randint(1, 10, labels.shape, generator=seeded())) % 10
moments = (1, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
readers = {
    "clean": lambda x, t: clean(x),
    "trained here": lambda x, t: trained_here.net(x, torch.full((len(x),), t)),
    "shipped": lambda x, t: guide.net(x, torch.full((len(x),), t)),
}
curves = {name: [] for name in readers}
for name, read in readers.items():
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
titles = ("share that is right", "mean largest probability", "mean length of the gradient")
plots.show(
    guidance_plot.readings(moments, curves, titles),
    "Three panels over time. Accuracy: the clean classifier is slightly better up to t = 200, clearly "
    "worse from t = 600 to 900, and all end at chance. Confidence: the two trained on noise fall to about "
    "0.15, the clean one stays near 0.8. Gradient: the clean one's is long throughout, the others' is "
    "short and falls nearly to zero at t = 1000.",
)  # fmt: skip
assert curves["clean"][1, -1] > 0.7 and curves["shipped"][1, -1] < 0.2
assert curves["clean"][2, -1] > 10 * curves["shipped"][2, -1]

# %% [markdown]
# Up to $t=300$ the clean classifier is as good as the others. After that it fails, and it does not know that it fails. In pure noise it is right one time in ten, like chance, and yet its largest probability is nearly 0.8. Its gradient there is more than ten times as long as the shipped guide's.
#
# How do they guide? The same model, scale 4, 40 digits from each of three seeds. **Never measure with the classifier that guided**: it is the number that guidance raised. The evaluator, which guides nothing, reads the class. Precision is the share of samples that lie among the real digits in its features.

# %%
real = metrics.see(evaluator, digits.load(16)[0])
reference, _ = metrics.halves(real, 0)
wish = torch.arange(10).repeat(4)
read_clean = lambda x: clean(x).log_softmax(1).gather(1, wish[:, None])[:, 0]  # noqa: E731
guides = {
    "clean, about x_t": lambda x, t: read_clean(x),
    "clean, about x̂0": lambda x, t: read_clean(model(x, t).x0),
    "knows noise": guide.log_prob(wish),
}
grid, shares = [], {}
for name, log_prob in guides.items():
    marks = []
    for seed in range(3):
        drawn = final(generate(wish, 4.0, noise(40, 1, 16, 16, seed=seed), log_prob=log_prob))
        fake = metrics.see(evaluator, drawn)
        right = (fake.probs.argmax(1) == wish).double().mean().item()
        precision, _ = metrics.precision_recall(reference.features, fake.features)
        marks.append((right, precision))
        grid += [drawn[:10]] if seed == 0 else []
    mean, sd = torch.tensor(marks).mean(0).tolist(), torch.tensor(marks).std(0).tolist()
    shares[name] = mean
    print(
        f"{name:17} right class {mean[0]:.2f} ± {sd[0]:.2f}   precision {mean[1]:.2f} ± {sd[1]:.2f}"
    )
assert shares["knows noise"][0] > shares["clean, about x̂0"][0] + 0.05
assert shares["clean, about x̂0"][0] > shares["clean, about x_t"][0] + 0.2
assert shares["knows noise"][1] > max(shares[name][1] for name in list(guides)[:2]) + 0.1

# %%
plots.show(
    plots.image_grid(torch.cat(grid), columns=10, titles=range(10), rows=list(guides)),
    "Three rows of ten digits for the classes 0 to 9. About x_t: 0, 4 and 6 are as asked, most others are "
    "other digits or unclear. About the prediction: 0, 3, 4, 6, 8 and 9 are as asked, for 5 and 7 there "
    "are 9s. The classifier that knows noise: all as asked, the 7 unclear.",
)

# %% [markdown]
# Asked about $x_t$, the clean classifier mostly fails, and about half of its samples are not typical digits. Asked about $\hat x_0$ it gets most classes right, without any training on noise. Each step then needs a backward pass through the model, and precision is still low. The classifier that knows noise is best in both. So a guide must know noise **if it is asked about $x_t$**.
#
# ## 7 · Measure: what guidance trades
#
# The paper's table, for ImageNet 256 × 256: an unconditional and a conditional model, without guidance and at two scales. What does the scale improve, and what does it cost? And what happens at scale 1 on the unconditional model?

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
# Now ours: 100 digits, ten of each class, in 20 DDIM steps, from four seeds. Distance, precision and recall are measured in the features of `classifier-digits` (the paper's come from Inception, so the numbers are not comparable). They are means over five random halves of the real digits as reference. The **floor** is what real digits of the *other* half score, also 100, ten of each class.

# %%
N, SEEDS = 100, 4
SCALES = {"unconditional": (0, 1, 2, 4, 16), "conditional": (0, 1, 4)}
real = metrics.see(evaluator, digits.load(16)[0])
splits = [metrics.halves(real, seed) for seed in range(5)]  # reference, held out
wish = torch.arange(N) % 10


def compare(fake, references):
    """Fréchet distance, precision and recall, the mean over references."""
    scores = [metrics.score(reference, fake) for reference in references]
    return torch.tensor([(s.frechet, s.precision, s.recall) for s in scores]).mean(0)


def measure(kind, scale, seed):
    by, cond = model, None
    if kind == "conditional":
        by, cond = conditional.denoiser, conditional.encode(wish)
    x = noise(N, 1, 16, 16, seed=seed)
    fake = metrics.see(evaluator, final(generate(wish, scale, x, by=by, cond=cond)))
    right = (fake.probs.argmax(1) == wish).double().mean()
    return torch.cat([compare(fake, [reference for reference, _ in splits]), right[None]])


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
print(f"{'':13} scale  Fréchet          precision      recall         right class")
for (kind, scale), runs in (ours | {("real, held out", ""): floor}).items():
    cells = [f"{m:.3f} ± {d:.3f}" for m, d in zip(runs.mean(0).tolist(), runs.std(0).tolist())]
    print(f"{kind:14} {scale:4}  " + "  ".join(cells))
mean = {key: runs.mean(0) for key, runs in ours.items()}
none, one, four, most = (mean["unconditional", scale] for scale in (0, 1, 4, 16))
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
# **The class** comes with the scale. On the unconditional model scale 1 gives 72 % of the classes; the conditional model has nearly all without guidance. **Recall falls** from scale 1 on: samples move to where the classifier is sure, and rare digits are no longer reached.
#
# **Precision** falls from scale 0 to 1 on the unconditional model, then rises. From scale 4 on it is *above* the floor: guided digits are **more typical than real ones**. This is not "better than real": they crowd where real digits are dense, and recall is far below the floor. The Fréchet distance does not show this trade: from scale 4 to 16 recall falls, and the distance stays the same.
#
# In the paper, scale 1 on the unconditional model was *worse* than no guidance: FID 33.03 against 26.21, precision .56 against .61. Ours repeats the fall of precision; our distances at 0 and 1 differ by less than two standard errors. The exact classifier of section 3.2 does no harm at scale 1. So the cause is in the networks; we think it is the classifier, which is unsure at high noise.

# %% [markdown]
# ## 8 · Break it
#
# Four mistakes that raise no error. All use the exact classifier of the clouds and scale 1, so the first panel is the right answer. Why is softmax wrong? $\nabla p=p\,\nabla\log p$: where the classifier is *sure* that a point is not in the north, $p\approx0$ and the gradient vanishes.


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
x, panels, shares = noise(400, 2, dtype=torch.float64), {}, {}
for name, (log_prob, scale) in mistakes.items():
    guided = ScoreGuidance(exact_model, log_prob, scale)
    drawn = final(sample(guided, x, schedule.timesteps(50), step=ddim))
    shares[name] = (clouds.posterior(drawn).argmax(1) == north).double().mean()
    panels[f"{name}\n{shares[name]:.0%} north"] = {name: drawn}
plots.show(
    guidance_plot.samples(clouds.sample(400, seeded(9))[0], panels, (-2.8, 2.8), (-2.4, 2.8), 2.7),
    "Five panels of guided samples. Right: nearly all in the north cloud. Sign: most lie below and beside "
    "the data, few in the north. No root: a narrow wedge in the north. Softmax: all three clouds, the "
    "north one fullest. Mean over the batch: all three clouds evenly.",
)  # fmt: skip
assert shares["no √(1−ᾱ)"] > 0.99 and shares["sign"] < 0.1 and 0.4 < shares["softmax"] < 0.7

# %% [markdown]
# - **Sign**: the points move away from the north, and many end outside the data and the picture.
#
# - **No root**: every point arrives, so a measure of the class does not find this mistake. But the shape is wrong. As $t\to0$ the change of eps is too large by $1/\sqrt{1-\bar\alpha_t}$, which is 100 at $t=1$. Compare the wedge with that of section 6.
#
# - **Softmax**: the points that need help most get none; 45 % do not arrive.
#
# - **Mean over the batch**: with 400 rows the gradient is 400 times too small, so a third is in the north, as without guidance. If you "repair" it with a scale of 400, results depend on the batch size.
#
# ## 9 · Exercises
#
# Write into the stub, run the cell, and read what the check says. It draws fresh inputs every time and names the usual mistakes. Under each exercise is a folded hint, and below it a folded solution (click the three dots).
#
# ### 9.1 A sharper classifier is not a scale &nbsp; ● 5 minutes
#
# `log_probs` `(B, K)` holds $\log p(y\mid x)$ for every class. Return the log of the sharper classifier, $\log\big(p(y\mid x)^s/Z(x)\big)$. Each row must be a distribution again. The cell after the solution compares its gradient with $s\,\nabla\log p$: this is what a scale does *not* mean.


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
# This line is the whole of classifier guidance. `gradient` is $g=\nabla_{x_t}\log p(y\mid x_t)$, of the shape of `eps`; `alpha_bar` is the number $\bar\alpha_t$. The model is unconditional.


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
# The mean of the guided ancestral step from `t` to `s`, over a stride of any length, with the large variance $\Sigma=1-\bar\alpha_t/\bar\alpha_s$. `schedule.posterior(x0, x, t, s)` gives mean and variance of $q(x_s\mid x_t,x_0)$ (which of the two can you use?).


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
# Any event can guide, if you have the log of its probability. From the classifier's `logits` `(B, K)`, return $\log p(y\in\{a,b\}\mid x)$, `(B,)`. When it passes, use it: the cell after the solution guides the model to "3 or 8". Then try "not a 1". What does guidance towards the *sum of the logs* generate, and why?


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
def asked(x, t, event):
    """What the event says of the noisy classifier's logits."""
    return event(guide.net(x, torch.full((len(x),), int(t))), 3, 8)


both = lambda logits, a, b: logits.log_softmax(1)[:, [a, b]].sum(1)  # noqa: E731
x, rows = noise(10, 1, 16, 16, seed=4), {}
for name, event in (("3 or 8", either_class_solution), ("3 and 8", both)):
    log_prob = partial(asked, event=event)
    rows[name] = final(generate(None, 6.0, x, log_prob=log_prob))
plots.show(plots.image_grid(torch.cat(list(rows.values())), columns=10, rows=list(rows)),
           "Above, guided to 3 or 8: seven 3s and three 8s. Below, guided to both at once: ten shapes "
           "between a 3 and an 8, closed at the bottom and half open at the top.")  # fmt: skip

# %% [markdown]
# ## 10 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why does guidance need no $p(y)$, although Bayes' rule has it?",
    {
        "Because all classes are equally likely": "It would drop out just the same if they were not.",
        "Because it does not depend on x, so its gradient is 0": "A constant has the gradient 0.",
        "Because the classifier was trained with it": "True in a way (p(y|x) contains the training frequencies), but that is not why the term vanishes.",
    },
    answer="Because it does not depend on x, so its gradient is 0",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You have an excellent classifier of clean digits. Why not ask it about x_t?",
    {
        "It has no gradient": "It has one everywhere; that is how it was trained.",
        "It takes x_t for a clean picture, so its gradient is wrong at high noise": "Bayes' rule asks for p(y | x_t). At high noise the clean classifier is sure and wrong. It can be asked about the prediction of x_0, at the price of a backward pass through the model.",
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
    "What does guided sampling with the exact classifier at scale 4 draw from?",
    {
        "p(x | y)": "That is scale 1.",
        "p(x) p(y|x)⁴, normalized": "It would, if the guide were log E[p(y|x_0)⁴ | x_t]. The usual guidance takes the power after the mean, and goes farther (section 3.3).",
        "Neither: its samples lie beyond p(x) p(y|x)⁴": "Scale 1 is a theorem; any other scale is a heuristic.",
    },
    answer="Neither: its samples lie beyond p(x) p(y|x)⁴",
)

# %% [markdown]
# ## 11 · Recap
#
# - **Bayes on scores**: conditional score = the model's score + the classifier's gradient. With an exact classifier, guided sampling *is* conditional sampling, step by step.
#
# - **Algorithm 2** changes eps by $-s\sqrt{1-\bar\alpha_t}\,g$ and serves every sampler. **Algorithm 1** changes the mean by $s\,\Sigma g$. They agree over short steps and differ over long ones. Where a step has no noise, Algorithm 1 does nothing.
#
# - A classifier that is asked about $x_t$ has to **know noise**. A clean one can be asked about $\hat x_0$.
#
# - The **scale** is not a sharper classifier. Scale 1 is a theorem; a larger scale gives more typical samples and less diversity.
#
# - In code: log_softmax, the sum over the batch, gradients switched on, the right sign. Never measure with the classifier that guided.
#
# **What the next lesson fixes.** Guidance here needs a second network, trained on noise, and a backward pass in every step. Solve section 3.1 for the classifier: $\nabla\log p(y\mid x_t)=\nabla\log p(x_t\mid y)-\nabla\log p(x_t)$. A model that has both scores *contains* a classifier. Lesson 06 uses it.
#
# **References**
# - P. Dhariwal, A. Nichol: *Diffusion Models Beat GANs on Image Synthesis*, NeurIPS 2021 (arXiv:2105.05233, version 4). Section 4, Algorithms 1 and 2; the table of guidance is number 3 at NeurIPS and number 4 on arXiv.
#
# - J. Sohl-Dickstein et al.: *Deep unsupervised learning using nonequilibrium thermodynamics*, ICML 2015. Section 2.5: multiplying by a second distribution.
#
# - Y. Song et al.: *Score-based generative modeling through stochastic differential equations*, ICLR 2021. Section 5: Bayes on scores.
#
# - T. Kynkäänniemi et al.: *Improved precision and recall metric for assessing generative models*, NeurIPS 2019.
#
# - H. Chung et al.: *Diffusion posterior sampling for general noisy inverse problems*, ICLR 2023; A. Bansal et al.: *Universal guidance for diffusion models*, 2023. Asking about $\hat x_0$.
