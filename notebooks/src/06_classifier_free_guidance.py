# %% [markdown]
# # 06 · Classifier-free guidance: the judge inside the painter
#
# **The question.** Lesson 05 needed a second network, trained on noise, and a backward pass through it at every step. Yet a model that is told the class
# must know something about classes itself. Can it be its own judge? And why does nearly every text-to-image model since 2021 do exactly that?
#
# **Afterwards you can**
# - find the classifier that hides in the difference of two predictions, and prove by number that following it is classifier guidance;
# - train one network that is both models, by dropping labels, and say how many to drop;
# - translate between the scales of the papers ($w$, $s$) without being off by one;
# - say what a large scale does to class, fidelity, diversity and contrast, why clipping is not innocent, and what it all costs.
#
# **Before:** lesson 05 (Bayes on scores, Algorithm 2). Lesson 03's clipping helps in section 8.
#
# **Time:** about 45 minutes to read and play, plus 80 for all exercises; 60 seconds to run on two cores.
#
# **On the map:** 04 DDIM → 05 classifier guidance → **06 classifier-free guidance** → 07 CLIP (where words come in).

# %%
import time
from itertools import islice, product

import torch
import torch.nn.functional as F
from torch import nn

from labkit import metrics, zoo
from labkit.conditioning import Conditioning
from labkit.data import digits, openml
from labkit.denoiser import Denoiser, MapX0, clip, dynamic_threshold, from_eps
from labkit.guidance import ClassifierFree, ScoreGuidance, gradient
from labkit.lab import checks, plots, quiz, show_source
from labkit.lab.widgets import watch
from labkit.lab.widgets.guidance_explorer import GuidanceExplorer
from labkit.mixture import GaussianMixture
from labkit.sampler import ddim, sample
from labkit.schedule import linear
from labkit.systems.adm import ADM
from labkit.train import shuffled, train

plots.use_style()
torch.manual_seed(0)
schedule = linear()

# %% [markdown]
# What the whole lesson uses: three overlapping clouds whose every law is known exactly, and networks that ship with the course. After a restart, run these
# three cells, and then any section you like.

# %%
clouds = GaussianMixture([[-1.2, -0.6], [1.2, -0.6], [0.0, 1.1]], 0.45)  # west, east, north
north, perfect = 2, clouds.denoiser(schedule)
told_north = Conditioning(vector=torch.eye(3)[north:])  # all weight on one cloud
none_told = Conditioning(vector=torch.ones(1, 3))  # the null of an exact mixture: every cloud

model = zoo.load("adm-digits")  # told the class, except where training dropped it
judge = zoo.load("classifier-digits")  # a classifier of clean digits; it measures, never steers


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0, **options):
    return torch.randn(*shape, generator=seeded(seed), **options)


def end(states):
    """Where a walk ends."""
    *_, state = states
    return state.x


def paint(labels, scale, x, steps=20, keep=clip):
    """Digits from noise x with classifier-free guidance; a generator of states."""
    guided = MapX0(ClassifierFree(model.denoiser, model.null, scale), keep)
    return sample(guided, x, guided.schedule.timesteps(steps), model.encode(labels), step=ddim)


# %%
N, (real_images, names) = 200, digits.load(16)
wish = torch.arange(N) % 10
real = metrics.see(judge, real_images)  # what the judge makes of all real digits


def mark(images, wish=None):
    """(Fréchet, precision, recall, inception-like score, share of the class asked for)."""
    fake = metrics.see(judge, images)
    right = float("nan") if wish is None else (fake.probs.argmax(1) == wish).double().mean().item()
    precision, recall = metrics.precision_recall(real.features, fake.features)
    distance = metrics.frechet_distance(real.features, fake.features)
    return distance, precision, recall, metrics.inception_score(fake.probs), right


# %% [markdown]
# ## 1 · See it first
#
# One noise, ten wishes, **one network**, no classifier anywhere. In the top row the network is told nothing. In the second it is told the digit at the head of the
# column. Below, we exaggerate: we take the step from the first answer to the second, and go three times as far, and eight times.

# %%
start = noise(1, 1, 16, 16, seed=5).expand(10, 1, 16, 16)
scales = (0, 1, 3, 8)
rows = [end(paint(range(10), scale, start)) for scale in scales]
plots.show(
    plots.image_grid(torch.cat(rows), columns=10, titles=range(10),
                     rows=[f"scale {scale}" for scale in scales]),
    "Four rows of ten digits from one noise: not told the class, all the same; told, the digits 0 to "
    "9; exaggerated three and eight times, cleaner and bolder.",
)  # fmt: skip

# %% [markdown]
# From the second row to the third nobody learned anything. It is arithmetic on two answers of the same network. Why should exaggerating make a picture *better*? And where is the edge?
#
# ## 2 · The idea
#
# Ask the network twice about the same noisy picture: "what is under the noise?", and "what is under the noise, **if it is a 4**?" The difference of the two answers is what the network thinks that fours have and other digits do not. Add more of it:

# %%
x0 = real_images[names == 9][8:9]
t = 600
x = model.denoiser.schedule.diffuse(x0, t, noise(1, 1, 16, 16, seed=1))
with torch.no_grad():
    untold = model.denoiser(x, t, model.null).x0
    told = model.denoiser(x, t, model.encode([4])).x0
    far = ClassifierFree(model.denoiser, model.null, 4.0)(x, t, model.encode([4])).x0
figure, axes = plots.subplots(1, 5, size=(10, 2.5))
panels = {
    "a 9 in noise": x,
    "untold": untold,
    "told: a 4": told,
    "difference": told - untold,
    "scale 4": far,
}
for axis, (name, picture) in zip(axes, panels.items()):
    odd = name == "difference"
    axis.imshow(picture[0, 0], cmap="PuOr" if odd else "gray", vmin=-1, vmax=1)
    axis.set(title=name, xticks=[], yticks=[])
plots.show(figure, "A 9 in noise; the network's guess untold and told that it is a 4; their difference, "
           "more ink in some places and less in others; and the exaggerated guess.")  # fmt: skip

# %% [markdown]
# In the difference, purple asks for more ink and orange for less. It is a map of *what makes a 4 a 4*, drawn by a network that was never asked to classify anything.
#
# ## 3 · The derivation
#
# ### 3.1 The implicit classifier
#
# Lesson 05 put Bayes' rule together: $\nabla\log p(x_t\mid y)=\nabla\log p(x_t)+\nabla\log p(y\mid x_t)$. Now solve for the judge:
#
# $$\nabla\log p(y\mid x_t)=\nabla\log p(x_t\mid y)-\nabla\log p(x_t)=-\frac{\varepsilon_c-\varepsilon_u}{\sqrt{1-\bar\alpha_t}},$$
#
# with $\varepsilon_c$ what the model predicts when told the class, and $\varepsilon_u$ when told nothing. **Whoever knows both scores has a classifier's gradient, without a classifier.** Among the clouds, both sides are known exactly:


# %%
def exact_log_prob(x, t):
    """log p(north | x_t), by Bayes' rule among the clouds as they are at time t."""
    return clouds.diffused(schedule, t).log_joint(x).log_softmax(1)[:, north]


# %% tags=["nbval-check-output"]
points = 2 * noise(500, 2, dtype=torch.float64)
for t in (1, 100, 500, 1000):
    difference = perfect(points, t, told_north).eps - perfect(points, t, none_told).eps
    implicit = -difference / schedule.noise(t, points)
    gap = (implicit - gradient(exact_log_prob, points, t)).abs().max() / implicit.abs().max()
    print(f"t = {t:4}   the difference is the classifier's gradient: {bool(gap < 1e-8)}")

# %% [markdown]
# ### 3.2 Guidance by it
#
# Put this gradient into lesson 05's Algorithm 2, $\hat\varepsilon=\varepsilon_u-s\sqrt{1-\bar\alpha_t}\,g$. The root cancels:
#
# $$\boxed{\;\hat\varepsilon=\varepsilon_u+s\,(\varepsilon_c-\varepsilon_u)\;}$$
#
# No gradient, no root, no second network: two answers and a number. For $s=0$ the model is not told, for $s=1$ it is just told, for $s>1$ it exaggerates. Is it the *same* guidance as in lesson 05, at every scale?

# %% tags=["nbval-check-output"]
for scale in (0.5, 1.0, 2.0, 5.0):
    free = ClassifierFree(perfect, none_told, scale)(points, 200, told_north).eps
    judged = ScoreGuidance(perfect, exact_log_prob, scale)(points, 200).eps
    print(f"scale {scale}: equal to classifier guidance: {torch.allclose(free, judged, rtol=1e-8)}")

# %% [markdown]
# So everything of lesson 05 holds here too: scale 1 is a theorem, the rest is a push towards what the (implicit) classifier is sure of, and it overshoots $p(x)\,p(y|x)^s$.
#
# ### 3.3 $w$, $s$, and being off by one
#
# Papers disagree on what the number means. This has cost more people an afternoon than any other line in the field:
#
# | where | formula | just told | not told |
# |---|---|---|---|
# | Ho and Salimans (the paper) | $(1+w)\,\varepsilon_c-w\,\varepsilon_u$ | $w=0$ | $w=-1$ |
# | GLIDE, DALL·E 2, Stable Diffusion, **labkit** | $\varepsilon_u+s\,(\varepsilon_c-\varepsilon_u)$ | $s=1$ | $s=0$ |
# | Imagen | $w\,\varepsilon_c+(1-w)\,\varepsilon_u$ | $w=1$ | $w=0$ |
#
# Expand the second: $s\,\varepsilon_c+(1-s)\,\varepsilon_u$. So $s=1+w_{\text{paper}}=w_{\text{Imagen}}$. And the two ends are exact, to the last bit, because labkit then asks the network only once:

# %% tags=["nbval-check-output"]
eps_c, eps_u = perfect(points, 200, told_north).eps, perfect(points, 200, none_told).eps
for w in (-0.5, 0.3, 3.0):
    guided = ClassifierFree(perfect, none_told, scale=1 + w)(points, 200, told_north).eps
    print(
        f"w = {w:4}   scale = {1 + w}   equal: {torch.allclose(guided, (1 + w) * eps_c - w * eps_u)}"
    )
ends = {1.0: eps_c, 0.0: eps_u}
for scale, plain in ends.items():
    guided = ClassifierFree(perfect, none_told, scale)(points, 200, told_north).eps
    print(f"scale {scale} is the plain answer, bit for bit: {torch.equal(guided, plain)}")

# %% [markdown]
# Does it matter that we mix eps? The three views of a prediction ($\hat\varepsilon$, $\hat x_0$, $v$) are straight-line functions of each other at a given $x_t$, and a mix whose weights sum to 1 goes through straight lines unharmed. So **mix in any of them, and get the same**; but a clip is not a straight line (section 8).

# %% tags=["nbval-check-output"]
mixed = ClassifierFree(perfect, none_told, 3.0)(points, 200, told_north)
x0_c, x0_u = perfect(points, 200, told_north).x0, perfect(points, 200, none_told).x0
print("mixing x0 is mixing eps:", torch.allclose(mixed.x0, x0_u + 3 * (x0_c - x0_u)))
clipped = clip(x0_u) + 3 * (clip(x0_c) - clip(x0_u))
print("clipping first and mixing then is the same:", torch.allclose(clip(mixed.x0), clip(clipped)))

# %% [markdown]
# ### 3.4 One network for both
#
# We need $\varepsilon_c$ and $\varepsilon_u$. Train two networks? Not necessary. In every batch, let each row lose its label with probability $p_\text{uncond}$, and put a **null** in its place (Ho and Salimans, algorithm 1). Why does that teach the unconditional score? The loss at a given input is least when the network answers the mean of the truth over all training rows
# *with that input*. Rows whose label is 7 average over sevens. Rows whose label is the null come from all classes alike, so they average over everything: $\varepsilon_u=\mathbb E[\varepsilon\mid x_t]$.
#
# The null is **data, not a flag**: some value of the condition that means "nothing said". Here it is a row of zeros where a one-hot row stands otherwise; in GLIDE it is the empty caption. And the throw of the dice is **per row**:

# %% tags=["nbval-check-output"]
labels = F.one_hot(torch.arange(10) % 3, 3).float()
dropped = Conditioning(vector=labels).drop(
    Conditioning(vector=torch.zeros(1, 3)), vector=0.3, generator=seeded(3)
)
print(
    "label of each row, - for the null:",
    *("-" if row.sum() == 0 else row.argmax().item() for row in dropped.vector),
)
many = Conditioning(vector=torch.ones(100_000, 1)).drop(
    Conditioning(vector=torch.zeros(1, 1)), vector=0.15, generator=seeded()
)
print(f"of 100,000 rows {1 - many.vector.mean():.1%} were dropped, asked for: 15.0%")

# %% [markdown]
# ## 4 · The real code
#
# The wrapper. Both conditions go through the network as **one batch** (`cat`), since a network is faster on one batch of 2B than on two of B; if the network also predicts a variance, that stays the conditional one, because only eps is guided:

# %%
show_source(ClassifierFree.__call__)

# %% [markdown]
# Training is the loss of lesson 03 with one more line, the drop:

# %%
show_source(ADM.loss, Conditioning.drop)

# %% [markdown]
# ## 5 · Train it: how many labels to drop?
#
# In two dimensions a small network trains in seconds, and the truth is known. Four of them: $p_\text{uncond}=0$ (never dropped), 0.1, 0.2 and 0.5, as in the paper, each with 700 steps. The network is a plain one: point, time and label in, noise out.


# %%
class Small(nn.Module):
    """x (B, 2), t (B,), label (B, 3) → eps (B, 2)."""

    def __init__(self, width=64):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2 + 3 + 8, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2),
        )  # fmt: skip

    def forward(self, x, t, cond):
        waves = t[:, None] / schedule.T * torch.tensor([1.0, 2.0, 4.0, 8.0])  # (B, 4)
        return self.layers(torch.cat([x, cond.vector, waves.sin(), waves.cos()], 1))


class Free(nn.Module):
    """The system: a denoiser of clouds that loses its label with probability p."""

    null = Conditioning(vector=torch.zeros(1, 3))

    def __init__(self, p):
        super().__init__()
        self.p, self.denoiser = p, Denoiser(Small(), schedule)

    def loss(self, batch):
        x, label = batch
        cond = Conditioning(vector=F.one_hot(label, 3).float()).drop(self.null, vector=self.p)
        return self.denoiser.loss(x, cond)


# %%
x, label = clouds.sample(20_000, seeded())
cloud_batches = shuffled(x.float(), label, batch=256)


def draw(figure, seen):
    axis = figure.subplots()
    losses = torch.tensor([step.loss for step in seen])
    axis.plot(losses.unfold(0, min(25, len(losses)), 1).mean(1), color=plots.BLUE)
    axis.set(title=f"p = {p}: {seen[-1].step} steps", xlabel="step", ylabel="loss, mean of 25")


trained = {}
for p, seed in [*product((0.1, 0.2, 0.5), (0, 1)), (0.0, 0)]:
    torch.manual_seed(seed)
    steps = train(Free(p), cloud_batches, steps=700, lr=5e-3, seed=seed)
    if (p, seed) == (0.1, 0):
        seen = watch(steps, draw, every=25, alt="The loss of the first network falls and settles.")
    else:
        seen = list(steps)
    trained[p, seed] = seen[-1].ema.denoiser

# %% [markdown]
# How wrong is each? We know the exact $\varepsilon_c$ and $\varepsilon_u$, so no samples are needed: the root of the mean squared error over points $x_t$ at twenty times, relative to the size of the noise that is to be predicted (which is 1).


# %%
def errors(net):
    """(error of eps_c, of eps_u, of guided eps at scale 3), over clouds, points and times."""
    total = torch.zeros(3)
    for t in range(25, 1000, 50):
        x0, label = clouds.sample(600, seeded(t))
        x = schedule.diffuse(x0, t, noise(600, 2, seed=t + 1, dtype=torch.float64))
        told = Conditioning(vector=F.one_hot(label, 3).float())
        with torch.no_grad():
            c, u = (net(x.float(), t, cond).eps for cond in (told, Free.null.rows(600)))
            true_c, true_u = perfect(x, t, told).eps, perfect(x, t, none_told).eps
        pairs = (c, true_c), (u, true_u), (u + 3 * (c - u), true_u + 3 * (true_c - true_u))
        total += torch.tensor([(a - b).square().mean() for a, b in pairs])
    return (total / 20).sqrt()


print("mean of 2 trainings ± half their gap")
print("p_uncond    error of eps_c     of eps_u           guided, scale 3")
for p in (0.1, 0.2, 0.5):
    pair = torch.stack([errors(trained[p, seed]) for seed in (0, 1)])
    cells = zip(pair.mean(0), (pair[0] - pair[1]).abs() / 2)
    print(f"{p:8}    " + "    ".join(f"{mean:.4f} ± {gap:.4f}" for mean, gap in cells))
never = errors(trained[0.0, 0])
print(f"{0.0:8}    " + "             ".join(f"{value:.4f}" for value in never))
assert never[1] > 1.5 * errors(trained[0.1, 0])[1]

# %% [markdown]
# Read down the columns. The fewer labels are dropped, the worse is $\varepsilon_u$: it is taught by a share $p$ of the rows. The more are dropped, the worse is $\varepsilon_c$. And the guided prediction, which extrapolates, multiplies what is wrong: at scale 3 the error of $\varepsilon_u$ counts twice. A network that never lost a label ($p=0$) answers *something* to a row of zeros, but not the unconditional score.
#
# Our small network, after seconds, is best guided with many drops; the paper's large one, after 400,000 steps, prefers 0.1 or 0.2 to 0.5 (section 7). The two ends of the trade-off are the same, the best point is not: it is a matter of how much capacity and training there is to share, so measure it for yours.
#
# ### Is it really a classifier?
#
# Among the clouds, the difference of the *exact* predictions is the gradient of a function, $\log p(y\mid x_t)$. For a *trained* network nobody guarantees that. A field of arrows is a gradient only if it has no **curl**: $\partial g_1/\partial x_2=\partial g_2/\partial x_1$. We measure how much of the Jacobian of $\varepsilon_c-\varepsilon_u$ is curl:


# %%
def curl_share(denoise, null, told, x, t):
    """|∂g₁/∂x₂ − ∂g₂/∂x₁| over the size of the Jacobian, root mean squares over points (B, 2)."""
    x = x.detach().requires_grad_(True)
    g = denoise(x, t, told.rows(len(x))).eps - denoise(x, t, null.rows(len(x))).eps
    J = torch.stack(
        [torch.autograd.grad(g[:, i].sum(), x, retain_graph=True)[0] for i in (0, 1)], 1
    )
    return ((J[:, 0, 1] - J[:, 1, 0]).square().mean() / J.square().sum((1, 2)).mean()).sqrt().item()


for t in (50, 200, 500):
    x = schedule.diffuse(clouds.sample(500, seeded())[0], t, noise(500, 2, dtype=torch.float64))
    exact = curl_share(perfect, none_told, told_north, x, t)
    learned = curl_share(trained[0.1, 0], Free.null, told_north, x.float(), t)
    print(
        f"t = {t:3}   curl in the exact difference {exact:.0e}   in the learned one {learned:.2f}"
    )
    assert exact < 1e-9 < learned

# %% [markdown]
# The learned difference has curl, so it is **no** classifier's gradient, only nearly one. Ho and Salimans point this out themselves: guidance works although the implicit classifier need not exist. (That also means that it cannot be "an adversarial attack on a classifier", which was one suspicion about lesson 05.)
#
# ## 6 · Play: class, scale, seed
#
# Each column keeps its noise. Flip through the scales, then paint your own below. Look for three things:
#
# 1. At scale 1 some digits are wrong or half-baked. At which scale are they repaired?
# 2. At scale 8, compare the eight columns. What has become alike: slant, thickness, style?
# 3. Which class changes least from scale 0 to scale 1, and why would that be?

# %%
GuidanceExplorer(paint, range(10), (0, 0.5, 1, 1.5, 2, 3, 5, 8), shape=(1, 16, 16))

# %% [markdown]
# ## 7 · Measure
#
# The paper's Table 1, ImageNet 64 × 64. Note three things: where the FID is least, what the inception score does, and how little $p_\text{uncond}$ matters between 0.1 and 0.2.

# %%
PAPER = {  # Ho and Salimans 2022, table 1: w -> FID and IS for p_uncond = 0.1, 0.2, 0.5
    0.0: ((1.80, 1.80, 2.21), (53.7, 52.9, 47.6)),
    0.1: ((1.55, 1.62, 1.91), (66.1, 64.6, 56.1)),
    0.3: ((3.03, 2.93, 2.65), (92.8, 88.6, 74.9)),
    0.5: ((5.74, 5.19, 4.34), (119, 112, 93)),
    1.0: ((12.6, 11.2, 9.1), (170, 158, 131)),
    2.0: ((21.0, 18.8, 16.2), (226, 213, 183)),
    4.0: ((26.2, 23.8, 21.5), (260, 249, 225)),
}
PAPER_128 = {
    0.0: (7.27, 82),
    0.3: (2.43, 158),
    1.0: (7.86, 298),
    4.0: (21.5, 422),
}  # table 2, T = 256
print("paper, ImageNet 64 (table 1)          FID                     inception score")
print("  w  scale      p = 0.1   0.2    0.5          0.1    0.2    0.5")
for w, (fid, score) in PAPER.items():
    print(
        f"{w:4} {1 + w:5}      "
        + "".join(f"{v:7.2f}" for v in fid)
        + "      "
        + "".join(f"{v:7.0f}" for v in score)
    )
print("ImageNet 128 (table 2, T = 256)")
for w, (fid, score) in PAPER_128.items():
    print(f"{w:4} {1 + w:5}      FID {fid:5.2f}     inception score {score}")

# %% [markdown]
# (The paper's text says that FID falls monotonically with $w$; its tables say otherwise, and it is the tables that the world has reproduced: a minimum at a *small* $w$.)
#
# **Ours, the drop rate.** The recipe of `adm-digits` three times, from the same weights with the same batches; only $p_\text{uncond}$ differs. (`python -m benchmarks.p_uncond --samples 500` takes half an hour of one core: 1,500 updates each; $N$ = 500, 50 steps, mean of 2 seeds; standard deviations up to 0.0003 for the distance, 0.004 at scale 0; 0.01 for the class, 0.024 for recall.)
#
# | scale | Fréchet, p = 0.1 | 0.2 | 0.5 | right class, p = 0.1 | 0.2 | 0.5 | recall, p = 0.1 | 0.2 | 0.5 |
# |---|---|---|---|---|---|---|---|---|---|
# | 0 | 0.0433 | 0.0294 | 0.0141 | | | | 0.97 | 0.96 | 0.94 |
# | 1 | 0.0012 | 0.0016 | 0.0022 | 0.979 | 0.967 | 0.944 | 0.89 | 0.89 | 0.90 |
# | 1.15 | 0.0010 | 0.0011 | 0.0012 | 0.997 | 0.990 | 0.980 | 0.82 | 0.83 | 0.84 |
# | 1.3 | 0.0014 | 0.0013 | 0.0013 | 1.000 | 0.998 | 0.990 | 0.73 | 0.76 | 0.79 |
# | 1.6 | 0.0025 | 0.0021 | 0.0017 | 1.000 | 1.000 | 0.998 | 0.57 | 0.62 | 0.68 |
# | 2 | 0.0035 | 0.0028 | 0.0023 | 1.000 | 1.000 | 0.999 | 0.45 | 0.52 | 0.59 |
# | 3 | 0.0048 | 0.0036 | 0.0031 | 1.000 | 1.000 | 1.000 | 0.30 | 0.41 | 0.47 |
# | 5 | 0.0072 | 0.0047 | 0.0038 | 1.000 | 1.000 | 1.000 | 0.23 | 0.34 | 0.44 |
#
# The paper's pattern, column by column: without guidance few drops have the least distance, with much of it many drops have; and the fewer the drops, the surer the class. But do not conclude that 0.5 is "better at scale 3". Compare where *recall* is the same: $p=0.1$ at scale 1.6 (0.57, distance 0.0025) and $p=0.5$ at scale 2 (0.59, 0.0023) are nearly one point. A network that saw more nulls is *steered less by the same number*. The drop rate moves you along the trade-off more than it changes it.
#
# **Ours, the scale.** The shipped network ($p$ = 0.15) at seven scales, $N$ digits in equal numbers per class, 20 DDIM steps; in the features of `classifier-digits` (no FID of the literature), the class read by the same judge, which never steers. The floor is what as many *real* digits score.

# %%
SEEDS, SCALES = 2, (0, 1, 1.15, 1.3, 2, 3, 8)


def run(scale, seed, keep=clip):
    return mark(end(paint(wish, scale, noise(N, 1, 16, 16, seed=seed), keep=keep)), wish)


ours = {scale: torch.tensor([run(scale, seed) for seed in range(SEEDS)]) for scale in SCALES}

# %%
picks = [torch.randperm(len(real_images), generator=seeded(seed)) for seed in range(5)]
picks = [torch.cat([pick[names[pick] == k][: N // 10] for k in range(10)]) for pick in picks]
floor = torch.tensor([mark(real_images[pick])[:4] for pick in picks]).mean(0)
print("scale     w   Fréchet          precision      recall         IS-like        right class")
for scale, runs in ours.items():
    (distance, spread), *cells = zip(runs.mean(0).tolist(), runs.std(0).tolist())
    print(f"{scale:5} {scale - 1:5.2f}   {distance:.4f} ± {spread:.4f}  "
          + "  ".join(f"{mean:.3f} ± {sd:.3f}" for mean, sd in cells))  # fmt: skip
print(f"floor         {floor[0]:.4f}           "
      + "          ".join(f"{value:.3f}" for value in floor[1:].tolist()))  # fmt: skip
print(f"N = {N}, {SEEDS} seeds, mean ± sd; 20 DDIM steps; floor: {N} real digits, 5 draws")
by_scale = {scale: runs.mean(0) for scale, runs in ours.items()}
best = min(SCALES, key=lambda scale: by_scale[scale][0])
print(f"least distance at scale {best}, w = {best - 1:.2f}; most of the right class at scale "
      f"{max(SCALES, key=lambda scale: by_scale[scale][4])}")  # fmt: skip
assert best not in (SCALES[0], SCALES[-1]) and by_scale[3][3] > by_scale[1][3]
assert by_scale[1][4] > 0.8 and by_scale[3][4] > 0.95 and by_scale[3][2] < by_scale[1][2]
assert by_scale[1][1] < by_scale[3][1] > by_scale[8][1]  # precision rises, and falls again

# %%
figure, axes = plots.subplots(1, 4, size=(10, 3))
for axis, column, name in zip(
    axes, (0, 1, 2, 4), ("Fréchet", "precision", "recall", "right class")
):
    runs = torch.stack([ours[scale][:, column] for scale in SCALES])
    axis.errorbar(SCALES, runs.mean(1), runs.std(1), fmt="o-", capsize=3)
    if column < 4:
        axis.axhline(floor[column], linestyle=":", color=plots.BLACK, linewidth=1)
    axis.axvline(1, color="#999999", linewidth=1)
    axis.set(title=name, xlabel="scale")
plots.show(figure, "Fréchet distance, precision, recall and class accuracy against the scale, with the "
           "floor as a dotted line and scale 1 marked.")  # fmt: skip

# %% [markdown]
# The paper's trend, at our size. From scale 0 to 1 the *class* comes in: that is conditioning, not yet guidance. From 1 to 3 the class gets surer, precision and the inception-like score rise, as the paper's do, and **recall falls**, from most of the real digits to about half: the rest has no sample in its neighborhood any more. The Fréchet
# distance weighs both, and so it has its least value *inside*, at a modest scale, and is worse at both ends. Which number you should use depends on what you want to have: one good 7, or all the sevens that people write.
#
# Beyond 3 something else begins. **Precision falls again**, although the class is certain: a picture can be unmistakably a 7, and look like no 7 that anybody wrote. (And recall, which counts the real digits near a sample, rises a little: samples that scatter outside of the data have wide neighborhoods. It is no diversity regained. Look at the bottom row of the first figure.)
#
# Two cautions. With so few samples the distances at 1, 1.15 and 1.3 differ by hardly more than their standard deviation: do not read an order into them. And whoever looks at class accuracy alone sees nothing of all this.
#
# ### What it costs
#
# Classifier-free guidance asks the painter twice. Classifier guidance asks it once, and goes forward *and backward* through a classifier. Seconds for a batch of 100 digits and six steps, the median of five:

# %%
guide = zoo.load("noisy-classifier-digits")
x, labels = noise(100, 1, 16, 16), torch.arange(100) % 10
told, times = model.encode(labels), model.denoiser.schedule.timesteps(6)
ways = {
    "told, no guidance": model.denoiser,
    "classifier-free": ClassifierFree(model.denoiser, model.null, 3.0),
    "classifier": ScoreGuidance(model.denoiser, guide.log_prob(labels), 3.0),
}
clock = {name: [] for name in ways}
for _ in range(5):  # in turns, so that whatever else the machine does hits all alike
    for name, denoise in ways.items():
        began = time.perf_counter()
        end(sample(denoise, x, times, told, step=ddim))
        clock[name].append(time.perf_counter() - began)
cost = {name: sorted(seconds)[2] for name, seconds in clock.items()}
assert cost["classifier-free"] < 2.6 * cost["told, no guidance"]
for name, seconds in cost.items():
    print(f"{name:18} {seconds:.2f} s   {seconds / cost['told, no guidance']:.2f} × a plain step")
sizes = [sum(p.numel() for p in net.parameters()) for net in (model, guide)]
print(f"networks to train and keep: painter {sizes[0]:,} weights, classifier {sizes[1]:,} more")

# %% [markdown]
# Two rows for each picture cost about twice the time, or less where one small batch would leave the cores waiting. What classifier guidance costs depends on the classifier: a pass forward and a pass back through *it*. Ours is small; one as deep as the paper's (54 million weights beside 554) is no free ride either, and must be trained on noise for every painter and every schedule. Between two methods at the same price, the field took the one without the second network. (And the
# factor of two can be trained away: a student network that learns the *guided* answer needs one call.)
#
# ## 8 · Saturation, and why clipping is not innocent
#
# In the paper's samples at large $w$, colors saturate. Here is why. Pictures live in $[-1,1]$, and a guess $\hat x_0$ that extrapolates *beyond* the conditional one leaves that range. We look at the guesses at the start of the walk, unclipped:

# %%
x, wish100 = noise(100, 1, 16, 16, seed=7), torch.arange(100) % 10
t = model.denoiser.schedule.timesteps(20)[3]
print(f"guesses x0 at t = {t} of 20 steps, unclipped")
for scale in (1, 2, 4, 8):
    *_, fourth = islice(paint(wish100, scale, x, keep=lambda x0: x0), 4)
    guess = fourth.x0
    print(
        f"scale {scale}: {(guess.abs() > 1.05).float().mean():6.1%} of the pixels out of range, the farthest at {guess.abs().max():.1f}"
    )

# %% [markdown]
# What can one do? Nothing; **clip** every guess to $[-1,1]$ (static thresholding); or shrink each guess until nearly all of it fits (*dynamic* thresholding, which Imagen introduced for exactly this, lesson 11). They do not merely repair the end: each changes what the *next* step is asked about.

# %%
ways = {"nothing": lambda x0: x0, "clip": clip, "dynamic, p = 0.95": dynamic_threshold(0.95)}
start, rows, contrast = noise(10, 1, 16, 16, seed=6), [], {"real": real_images.std().item()}
print(
    f"scale 8                Fréchet   precision   recall   right class   contrast (real: {contrast['real']:.2f})"
)
for name, keep in ways.items():
    rows.append(end(paint(range(10), 8.0, start, keep=keep)))
    images = end(paint(wish, 8.0, noise(N, 1, 16, 16), keep=keep))
    distance, precision, recall, _, right = mark(images, wish)
    print(
        f"{name:20} {distance:8.3f}    {precision:6.3f}     {recall:6.3f}     {right:6.1%}       {images.std():.2f}"
    )
    contrast[name] = images.std().item()
assert contrast["nothing"] > contrast["dynamic, p = 0.95"]
plots.show(plots.image_grid(torch.cat(rows), columns=10, titles=range(10), rows=list(ways)),
           "Digits at scale 8 in three rows: without any thresholding, clipped, and with dynamic "
           "thresholding.")  # fmt: skip

# %% [markdown]
# Left alone, the last picture may lie beyond the range, and the screen cuts it off. The clip keeps every guess inside, and pushes many pixels onto its *edge*. Dynamic thresholding divides instead, and gives contrast away (last column). And it is not only a matter of looks: the guesses are what the next steps are asked about, so the three columns before differ, too. Precision falls from row to row and recall rises, which at this scale is
# scatter as much as diversity (section 7). None of the three is "what the model wanted"; the scale took us where no score was ever learned, and thresholding is a second decision about what to do there. Report it beside your scale.
#
# ### The same on photographs
#
# Does it hold where pictures are rich? `adm-cifar10` is the same code with color and twice the side: 3.3 million numbers, which looked at the 50,000 training photographs of CIFAR-10 for a good hour and a half of one core. (The papers' networks are a hundred times as large and look for days.) Each column keeps its noise.

# %%
photographer = zoo.load("adm-cifar10")
kinds = openml.SETS["cifar10"].names
scales = (0, 1, 2, 4, 8)
rows = [end(photographer.generate(range(10), scale=scale, steps=25, seed=4)) for scale in scales]
plots.show(
    plots.image_grid(torch.cat(rows), columns=10, titles=kinds, scale=3,
                     rows=[f"scale {scale}" for scale in scales]),
    "Five rows of ten photographs from ten noises: told nothing; told airplane, automobile, bird and so "
    "on; and exaggerated twice, four and eight times, with ever stronger colors.",
)  # fmt: skip
print("scale    contrast    numbers at the edge of the range")
for scale, row in zip(scales, rows):
    edge = (row.abs() > 0.98).float().mean()
    print(f"{scale:5}    {row.std():8.2f}    {edge:6.1%}")
assert rows[4].std() > rows[2].std() > 0.9 * rows[1].std()

# %% [markdown]
# The same story, and now you can see it. Told or untold, this small network paints mush with a hint of the right colors (its noise decides more than its class). At scale 4 there is a car, a horse, a ship. At 8 the colors burn, the edges of the range fill up, and the picture has a poster's contrast: the saturation that the paper speaks of.
#
# Are they recognised? A classifier was trained on nine tenths of the real photographs; it is right about 69.4 % of the tenth that it never saw. (`python -m benchmarks.photos_by_class CIFAR.zip --samples 200`: 50 steps, $N$ = 200, mean ± sd of 2 seeds.)
#
# | scale | 1 | 2 | 3 | 5 | real photographs |
# |---|---|---|---|---|---|
# | right class | 0.50 ± 0.04 | 0.83 ± 0.04 | 0.91 ± 0.01 | 0.95 ± 0.00 | 0.69 |
# | its confidence | 0.59 ± 0.01 | 0.74 ± 0.01 | 0.81 ± 0.01 | 0.85 ± 0.01 | 0.66 |
#
# From scale 2 on the painted pictures are recognised more often than real ones. They are no better photographs for that. Look at them: the scale has put in more of what is typical of a class, and a judge of classes asks for nothing else.
#
# ### Break it
#
# Three mistakes that run without an error, on the clouds with the exact model, except for the third, which needs a network of section 5. The walk asks for the north at scale 3.

# %%
x, truth = noise(400, 2, dtype=torch.float64), clouds.sample(400, seeded(9))[0]
west = Conditioning(vector=torch.eye(3)[:1])
walks = {
    "right": (ClassifierFree(perfect, none_told, 3.0), x),
    "paper's w = 0\nput in as scale": (ClassifierFree(perfect, none_told, 0.0), x),
    "null = class 0\n(the west)": (ClassifierFree(perfect, west, 3.0), x),
    "never dropped:\nno null learned": (ClassifierFree(trained[0.0, 0], Free.null, 3.0), x.float()),
}
figure, axes = plots.subplots(1, 4, size=(10, 3.1), sharex=True, sharey=True)
for axis, (name, (denoise, begin)) in zip(axes, walks.items()):
    drawn = end(sample(denoise, begin, schedule.timesteps(50), told_north, step=ddim))
    axis.scatter(*truth.T, s=3, color="#DDDDDD")
    axis.scatter(*drawn.T, s=3, color=plots.BLUE if name == "right" else plots.VERMILLION)
    axis.set(title=name, aspect="equal", xlim=(-3, 4.2), ylim=(-2.4, 6))
    arrived = (clouds.posterior(drawn.double()).argmax(1) == north).double().mean()
    mean, std = drawn.mean(0), drawn.std(0)
    print(
        f"{name.splitlines()[0]:15} {arrived:4.0%} north   mean ({mean[0]:5.2f}, {mean[1]:5.2f})   sd ({std[0]:.2f}, {std[1]:.2f})"
    )
plots.show(figure, "Four clouds of samples: right, in the north; with w for scale, all over the three "
           "clouds; with class 0 as null, driven far away from the west to where no data lie; with a null "
           "that was never learned, beyond the north.")  # fmt: skip

# %% [markdown]
# **$w$ put in as a scale**: whoever means "no guidance" and writes 0 gets no *condition* at all. **Class 0 as null**: the guided score is three times the north's minus twice the west's, which for Gaussians of one width is the score of a Gaussian around $3\,(0,1.1)-2\,(-1.2,-0.6)=(2.4,4.5)$: and there they are, where no data lie. (And who asks for class 0 itself gets no guidance at any scale.) **A null that was never learned**: the "unconditional" answer is some accident,
# and guidance exaggerates the accident. labkit's `ADM.generate` refuses a scale for a model that never lost a label.
#
# Now look at the middle column of the print. A classifier calls both of the last two perfect, *100 % north*. **A high class accuracy alone says nothing about the pictures**; that is why section 7 has four columns.
#
# ## 9 · Exercises
#
# Write into the stub, run the cell, read what the check says: it draws fresh inputs every time and knows the usual mistakes by name. A hint is folded under each; a solution is folded in the cell below it (click its three dots to see it), and every run of this notebook puts it to the same check.
#
# ### 9.1 In the paper's words &nbsp; ● 5 minutes
#
# The guided eps from both predictions, in the convention **of the paper**: $w=0$ is just the condition.


# %%
def guide_by_w(eps_c, eps_u, w):
    """The guided eps, (B, C, H, W), with Ho and Salimans' w."""
    ...


checks.guide_by_w(guide_by_w)

# %% [markdown]
# <details><summary>Hint</summary>(1 + w) times one, minus w times the other. Which of them must be left alone at w = 0?</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def guide_by_w_solution(eps_c, eps_u, w):
    return (1 + w) * eps_c - w * eps_u


checks.guide_by_w(guide_by_w_solution).require()

# %% [markdown]
# ### 9.2 The hidden judge &nbsp; ● 5 minutes
#
# Return the gradient of the implicit classifier, $\nabla_{x_t}\log p(y\mid x_t)$, from the two predictions and $\bar\alpha_t$.


# %%
def implicit_gradient(eps_c, eps_u, alpha_bar):
    """∇ log p(y | x_t), (B, C, H, W)."""
    ...


checks.implicit_gradient(implicit_gradient)

# %% [markdown]
# <details><summary>Hint</summary>Each eps is −√(1−ᾱ_t) times a score. Turn both into scores, and subtract.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def implicit_gradient_solution(eps_c, eps_u, alpha_bar):
    return (eps_u - eps_c) / (1 - alpha_bar) ** 0.5


checks.implicit_gradient(implicit_gradient_solution).require()

# %% [markdown]
# ### 9.3 Drop the labels &nbsp; ● 10 minutes
#
# Algorithm 1's rule. `vector` `(B, D)` holds a condition for each row, `null` `(D,)` what stands for none, and `u` `(B,)` a uniform number between 0 and 1 for each row (given, so that yours can be compared number by number): a row whose number is **below** `p` loses its label. Do not change `vector` itself.


# %%
def drop_labels(vector, null, p, u):
    """The conditions (B, D), with the null in the rows that lost theirs."""
    ...


checks.drop_labels(drop_labels)

# %% [markdown]
# <details><summary>Hint</summary><code>torch.where(condition, a, b)</code> broadcasts: give it a condition of shape (B, 1).</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def drop_labels_solution(vector, null, p, u):
    return torch.where((u < p)[:, None], null, vector)


checks.drop_labels(drop_labels_solution).require()

# %% [markdown]
# (Dropping a whole batch at once would be right *on average*, and it trains. But then a batch teaches either all of one score or all of the other, and the gradients are noisier. With image and text as two conditions, sharing one throw is worse: the network never sees one without the other.)
#
# ### 9.4 A network that also says how unsure it is &nbsp; ●● 10 minutes
#
# With learned variance (lesson 03), the network's output has $2C$ channels: eps first, then the variance. From `out_c` and `out_u` `(B, 2C, H, W)`, return the guided output of the same shape: what is guided, and what is not?


# %%
def guide_channels(out_c, out_u, scale):
    """The guided output (B, 2C, H, W), scale 1 being just the condition."""
    ...


checks.guide_channels(guide_channels)

# %% [markdown]
# <details><summary>Hint</summary><code>out.chunk(2, dim=1)</code>. An extrapolated variance could be anything, even negative: keep the one that belongs to the condition.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def guide_channels_solution(out_c, out_u, scale):
    eps_c, variance = out_c.chunk(2, dim=1)
    eps_u, _ = out_u.chunk(2, dim=1)
    return torch.cat([eps_u + scale * (eps_c - eps_u), variance], dim=1)


checks.guide_channels(guide_channels_solution).require()

# %% [markdown]
# ### 9.5 Guide, clip, and stay consistent &nbsp; ●● 20 minutes
#
# One whole prediction: mix the two eps (scale 1 is just the condition), derive $\hat x_0$, clip it to $[-1,1]$, and derive $\hat\varepsilon$ **again**, so that both describe the same $x_t$. Return the pair `(x0, eps)`. `schedule.signal(t, x)` and `schedule.noise(t, x)` are the two roots.


# %%
def guide_then_clip(schedule, x, t, eps_c, eps_u, scale):
    """(x0, eps), each (B, C, H, W)."""
    ...


checks.guide_then_clip(guide_then_clip)

# %% [markdown]
# <details><summary>Hint</summary>x = signal · x0 + noise · eps, solved first for x0, and after the clip for eps.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def guide_then_clip_solution(schedule, x, t, eps_c, eps_u, scale):
    signal, sigma = schedule.signal(t, x), schedule.noise(t, x)
    eps = eps_u + scale * (eps_c - eps_u)
    x0 = ((x - sigma * eps) / signal).clamp(-1, 1)
    return x0, (x - signal * x0) / sigma


checks.guide_then_clip(guide_then_clip_solution).require()

# %% [markdown]
# ### 9.6 Not that one: several conditions, some unwanted &nbsp; ●●● 30 minutes
#
# Every condition contributes its own pull, $s_i(\varepsilon_i-\varepsilon_u)$, and pulls add. A **negative** scale pushes away. `wanted` is a list of predictions, `scales` a list of numbers. Return $\varepsilon_u+\sum_is_i(\varepsilon_i-\varepsilon_u)$. When it passes, run the cell after the solution and answer: which of its rows is a *negative prompt*, which is half-way between two classes, and is mixing predictions the same as mixing labels?


# %%
def compose(eps_u, wanted, scales):
    """The composed eps, (B, C, H, W), from eps_u, a list of eps and a list of scales."""
    ...


checks.compose(compose)

# %% [markdown]
# <details><summary>Hint</summary>Start from eps_u and loop over <code>zip(scales, wanted)</code>. eps_u counts once.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def compose_solution(eps_u, wanted, scales):
    return eps_u + sum(scale * (eps - eps_u) for scale, eps in zip(scales, wanted))


checks.compose(compose_solution).require()


# %%
class Composed:
    """A denoiser that follows several labels at once."""

    def __init__(self, labels, scales):
        self.schedule, self.labels, self.scales = model.denoiser.schedule, labels, scales

    def __call__(self, x, t, cond=None):
        ask = lambda cond: model.denoiser(x, t, cond.rows(len(x))).eps  # noqa: E731
        wanted = [ask(model.encode([label])) for label in self.labels]
        return from_eps(self.schedule, x, t, compose_solution(ask(model.null), wanted, self.scales))


x, times = noise(10, 1, 16, 16, seed=8), model.denoiser.schedule.timesteps(20)
wishes = {
    "9": ([9], [2.0]),
    "9, not 4": ([9, 4], [2.0, -1.0]),
    "4 + 9, halves": ([4, 9], [1.0, 1.0]),
}
rows = {
    name: end(sample(MapX0(Composed(*wish_), clip), x, times, step=ddim))
    for name, wish_ in wishes.items()
}
halves = Conditioning(
    vector=(F.one_hot(torch.tensor([4]), 10) + F.one_hot(torch.tensor([9]), 10)) / 2
)
mixed = MapX0(ClassifierFree(model.denoiser, model.null, 2.0), clip)
rows["label ½ 4, ½ 9"] = end(sample(mixed, x, times, halves, step=ddim))
plots.show(plots.image_grid(torch.cat(list(rows.values())), columns=10, rows=list(rows)),
           "Ten noises, four wishes: nine; nine but not four; four and nine pulled half each; and a "
           "label that is half four, half nine.")  # fmt: skip

# %% [markdown]
# <details><summary>What to see</summary>
#
# "9, not 4" is the negative prompt: it pushes away from what fours have, such as the open top. Halves of two pulls multiply densities ($p(4|x)\,p(9|x)$: something that is *both*); a half-and-half label is whatever the network makes of an input that it never saw in training. For an exact mixture it would mean "one of the two". Three different things, easily confused.
# </details>
#
# ## 10 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    'A blog says: "use guidance 7.5", for Stable Diffusion. What is that in the paper\'s w?',
    {
        "7.5": "Stable Diffusion writes ε_u + s(ε_c − ε_u), in which 1 is no guidance. The paper's 0 is no guidance.",
        "6.5": "s = 1 + w.",
        "8.5": "The other way round: w is one less than s.",
    },
    answer="6.5",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why does a network that sees the null in 10 % of its rows learn the unconditional score?",
    {
        "Because zeros carry no information": "Zeros would carry as much as anything else, if they always came with sevens.",
        "Because the best answer to an input is the mean over all rows with that input, and the null comes with every class": "That is what the squared error does: E[ε | x_t, null] = E[ε | x_t].",
        "Because 10 % is too little to learn a class": "With 50 % it learns the unconditional score as well, and the conditional one a little worse.",
    },
    answer="Because the best answer to an input is the mean over all rows with that input, and the null comes with every class",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You take the label of class 0 as the null, in a model that was trained with another null. You ask for class 0 at scale 5. What happens?",
    {
        "A very strong 0": "The difference ε_c − ε_u is what guidance multiplies. Here both are the same.",
        "A plain 0, as at scale 1": "ε_c = ε_u, so nothing is added, at any scale. All other classes flee from zeros.",
        "An error": "None at all, which is why it is a classic.",
    },
    answer="A plain 0, as at scale 1",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Which of these is the same, whether done before or after mixing the two predictions?",
    {
        "Clipping x̂_0 to [−1, 1]": "A clip is not a straight line; section 3.3 shows the difference.",
        "Turning eps into x̂_0": "At a given x_t that is a straight line, and a mix with weights that sum to 1 goes through it.",
        "Dynamic thresholding": "That is a clip with a moving edge, and a division on top.",
    },
    answer="Turning eps into x̂_0",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "What does classifier-free guidance cost in sampling?",
    {
        "Nothing, the network is the same": "The same network is asked twice.",
        "About twice a plain step": "Two rows for each picture, in one batch.",
        "A backward pass at each step": "That is classifier guidance.",
    },
    answer="About twice a plain step",
)

# %% [markdown]
# ## 11 · Recap
#
# - **The difference of two predictions is a classifier's gradient**, up to $-\sqrt{1-\bar\alpha_t}$. So $\hat\varepsilon=\varepsilon_u+s(\varepsilon_c-\varepsilon_u)$ is classifier guidance without a classifier: exactly so for exact scores, nearly so for a network.
# - **One network** learns both by losing its label now and then, per row; the null is data.
# - **$s=1+w$.** Say which one you mean.
# - A large scale buys class and fidelity with **diversity**; the best distance lies at a small scale. It also leaves the range, and how you bring it back (clip, dynamic threshold) changes the picture.
# - It costs two answers per step, and no second network.
#
# **What the next lesson fixes.** Ten classes are a poor language. Lesson 07 builds CLIP, a model in which pictures and sentences meet, so that from lesson 08 on the condition can be *words*.
#
# **References**
# - J. Ho, T. Salimans: *Classifier-Free Diffusion Guidance*, 2022 (workshop 2021). Algorithms 1 and 2, equation 6, tables 1 and 2.
# - P. Dhariwal, A. Nichol: *Diffusion Models Beat GANs on Image Synthesis*, NeurIPS 2021.
# - A. Nichol et al.: *GLIDE*, ICML 2022. Section 2.3: the scale in its other convention.
# - C. Saharia et al.: *Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding* (Imagen), NeurIPS 2022. Section 2.3: thresholding.
# - N. Liu et al.: *Compositional Visual Generation with Composable Diffusion Models*, ECCV 2022: sums of pulls, and negative ones.
