# %% [markdown]
# # 06 · Classifier-free guidance: the classifier inside the model
#
# **The question.** Lesson 05 needed a second network, trained on noise, and a backward pass through it at every step. A conditional model is given the class. Can it guide itself, without a classifier?
#
# **Afterwards you can**
# - find the classifier in the difference of two predictions, and check that following it is classifier guidance;
# - train one network as both models, by dropping labels;
# - convert between the scales of the papers ($w$, $s$);
# - say what a large scale does to class, fidelity, diversity and contrast, what clipping changes, and what guidance costs.
#
# **Before:** lesson 05 (Bayes on scores, Algorithm 2).
#
# **Time:** about 45 minutes to read and play, 80 for all exercises, 85 seconds to run on two cores.
#
# **On the map:** 05 classifier guidance → **06 classifier-free guidance** → 07 CLIP.

# %%
import time
from functools import cache
from itertools import islice, product

import torch
import torch.nn.functional as F
from torch import nn

from labkit import metrics, zoo
from labkit.conditioning import Conditioning
from labkit.data import digits, openml
from labkit.denoiser import Denoiser, MapX0, clip, dynamic_threshold, from_eps
from labkit.guidance import ClassifierFree, Composed, ScoreGuidance, gradient
from labkit.lab import checks, classifier_free_plot, plots, quiz, show_source
from labkit.lab.widgets import watch
from labkit.lab.widgets.guidance_explorer import GuidanceExplorer
from labkit.metrics import Seen
from labkit.mixture import GaussianMixture
from labkit.sampler import ddim, sample
from labkit.schedule import linear
from labkit.systems.adm import ADM
from labkit.train import shuffled, train

plots.use_style()
torch.manual_seed(0)
schedule = linear()

# %% [markdown]
# The whole lesson uses three overlapping clouds, whose densities are known exactly, and networks that ship with the course. After a restart, run these three cells first, then any section. (Autoguidance in section 7 also needs section 5. The end of section 8 needs section 5 and `Interval` of section 7.)

# %%
clouds = GaussianMixture([[-1.2, -0.6], [1.2, -0.6], [0.0, 1.1]], 0.45)  # west, east, north
north, exact = 2, clouds.denoiser(schedule)
only_north = Conditioning(vector=torch.eye(3)[north:])  # all weight on one cloud
any_cloud = Conditioning(vector=torch.ones(1, 3))  # the null of an exact mixture

model = zoo.load("adm-digits")  # class-conditional; training dropped some labels
evaluator = zoo.load("classifier-digits")  # of clean digits; it measures, and never guides


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0, **options):
    return torch.randn(*shape, generator=seeded(seed), **options)


def final(states):
    """What sampling ends with."""
    *_, state = states
    return state.x


def generate(labels, scale, x, steps=20, threshold=clip):
    """Digits from noise x with classifier-free guidance, as a generator of states; threshold: a
    function of every x0."""
    guided = MapX0(ClassifierFree(model.denoiser, model.null, scale), threshold)
    return sample(guided, x, guided.schedule.timesteps(steps), model.encode(labels), step=ddim)


# %%
N, SEEDS, real_images = 200, 3, digits.load(16)[0]
classes = torch.arange(N) % 10  # the class that is asked for
real = metrics.see(evaluator, real_images)
splits = [metrics.halves(real, seed) for seed in range(SEEDS)]  # (reference, held out)


def coverage(real, fake, k=3):
    """The share of real pictures with a sample nearer than their k-th real neighbor."""
    radius = torch.cdist(real, real).kthvalue(k + 1, dim=1).values
    return (torch.cdist(real, fake).amin(1) <= radius).double().mean().item()


def spread(seen):
    """The mean distance of two samples of one class, in the evaluator's features."""
    label = seen.probs.argmax(1)
    return sum(torch.pdist(seen.features[label == k]).mean().item() for k in range(10)) / 10


def measure(seen, seed, accuracy=1.0):
    """(Fréchet, precision, recall, coverage, spread in a class, class accuracy)."""
    reference = splits[seed][0]
    covered, score = coverage(reference.features, seen.features), metrics.score(reference, seen)
    return score.frechet, score.precision, score.recall, covered, spread(seen), accuracy


def at_edge(images):
    return (images.abs() > 0.98).float().mean().item()


@cache  # sections 7 and 8 share some runs
def run(scale, seed, threshold):
    """What N digits measure, their contrast, their share at ±1, and the radius of a sample's
    neighborhood; the noise differs for each seed."""
    images = final(generate(classes, scale, noise(N, 1, 16, 16, seed=seed), threshold=threshold))
    seen = metrics.see(evaluator, images)
    accuracy = (seen.probs.argmax(1) == classes).double().mean().item()
    radius = torch.cdist(seen.features, seen.features).kthvalue(4, dim=1).values.mean().item()
    return *measure(seen, seed, accuracy), images.std().item(), at_edge(images), radius


# %% [markdown]
# ## 1 · See it first
#
# Ten noises, ten classes, **one network**, no classifier. In the top row the network gets no class. In the second row it gets the class above the column. The rows below go 2, 4 and 8 times as far from the first prediction towards the second.

# %%
names, scales = openml.SETS["cifar10"].names, (0, 1, 2, 4, 8)
photo_model = zoo.load("adm-cifar10")
rows = [final(photo_model.generate(range(10), scale=s, steps=25, seed=0)) for s in scales]
plots.show(
    plots.image_grid(torch.cat(rows), columns=10, titles=names, scale=3,
                     rows=[f"scale {scale}" for scale in scales]),
    "Five rows of ten small generated photographs; a column keeps its noise. At scales 0 and 1 most are "
    "patches of color without a clear object; at 4 and 8 most have stronger colors and contrast, and some "
    "objects, such as a horse and a ship, can be named.",
)  # fmt: skip
print("scale    contrast    values at the edge of the range (over 0.98)")
edges = [at_edge(row) for row in rows]
for scale, row, edge in zip(scales, rows, edges):
    print(f"{scale:5}    {row.std():8.2f}    {edge:6.1%}")
assert rows[4].std() > rows[3].std() > rows[2].std() and edges[4] > edges[3] > edges[2]

# %% [markdown]
# These samples are uncurated (the first seed, 0, here and below). They are weak; the model has only 3.3 million weights. At scales 0 and 1 most pictures show no object that we can name; at scale 4 some do. At scale 8 the bird and the cat are blurs, many colors are too strong, and more values lie at the edge of the range. The paper reports this saturation, too.
#
# Now digits, with another network. Here all columns share **one** noise:

# %%
start = noise(1, 1, 16, 16, seed=0).expand(10, 1, 16, 16)
scales = (0, 1, 3, 8)
rows = [final(generate(range(10), scale, start)) for scale in scales]
plots.show(
    plots.image_grid(torch.cat(rows), columns=10, titles=range(10),
                     rows=[f"scale {scale}" for scale in scales]),
    "Four rows of ten digits from one noise: without a class all ten are the same picture; at scale 1 "
    "the digits 0 to 9, the 1 a broad bar; at scale 3 the 9 is deformed, at scale 8 also the 3.",
)  # fmt: skip
for scale, row in zip(scales[1:], rows[1:]):
    lowest = metrics.see(evaluator, row).probs.diagonal().min().item()
    print(f"scale {scale}: the evaluator gives each class that is asked for at least {lowest:.2f}")
    assert lowest > 0.95

# %% [markdown]
# All rows use the same weights. Only the arithmetic on two predictions differs. The evaluator recognizes all ten digits at every scale above 0, also those that scale 8 deforms. So *recognized* does not mean *good*.
#
# ## 2 · The idea
#
# Ask the network twice about the same noisy picture. Without a class, it predicts the mean of all clean pictures that fit the noisy one. With the class 4, it predicts the mean of all *fours* that fit. The difference says how fours differ from the rest at this $x_t$. Add more of it:

# %%
x0 = real_images[digits.load(16)[1] == 9][8:9]
t = 600
x = model.denoiser.schedule.diffuse(x0, t, noise(1, 1, 16, 16, seed=1))
with torch.no_grad():
    without = model.denoiser(x, t, model.null).x0
    given_4 = model.denoiser(x, t, model.encode([4])).x0
    far = ClassifierFree(model.denoiser, model.null, 4.0)(x, t, model.encode([4])).x0
figure = classifier_free_plot.predictions(
    {"x_t, of a 9": x, "no class: scale 0": without, "class 4: scale 1": given_4,
     "difference": given_4 - without, "scale 4": far}, signed="difference",
)  # fmt: skip
plots.show(figure, "A noisy 9; the prediction of the clean picture without a class, a blurred stroke like a "
           "3 or a 9; with class 4, a gray shape with a closed middle; their difference in purple and orange; "
           "and at scale 4 a clear white shape on black, nearly a 4.")  # fmt: skip

# %% [markdown]
# In the difference, purple makes a pixel brighter and orange makes it darker. The network was never trained to classify. For points with two numbers we can draw the rule. These are exact predictions for the clouds, at one point:

# %%
point = torch.tensor([[0.5, -0.1]], dtype=torch.float64)
eps_u, eps_c = exact(point, 300, any_cloud).eps, exact(point, 300, only_north).eps
plots.show(
    classifier_free_plot.extrapolation(eps_u[0], eps_c[0], 3.0),
    "Three points on a straight line: from the unconditional prediction an arrow leads to the conditional one, "
    "and an arrow in the same direction, twice as long, leads on to the guided prediction of scale 3.",
)

# %% [markdown]
# ## 3 · The derivation
#
# ### 3.1 The implicit classifier
#
# Lesson 05 used Bayes' rule: $\nabla\log p(x_t\mid y)=\nabla\log p(x_t)+\nabla\log p(y\mid x_t)$. Solve it for the classifier:
#
# $$\nabla\log p(y\mid x_t)=\nabla\log p(x_t\mid y)-\nabla\log p(x_t)=-\frac{\varepsilon_c-\varepsilon_u}{\sqrt{1-\bar\alpha_t}},$$
#
# where $\varepsilon_c$ is the conditional prediction and $\varepsilon_u$ the unconditional one. **Two scores give the gradient of a classifier, without a classifier.** For the clouds, both sides are known exactly:


# %%
def exact_log_prob(x, t):
    """log p(north | x_t), by Bayes' rule among the clouds as they are at time t."""
    return clouds.diffused(schedule, t).log_joint(x).log_softmax(1)[:, north]


# %% tags=["nbval-check-output"]
points = 2 * noise(500, 2, dtype=torch.float64)
for t in (1, 100, 500, 1000):
    difference = exact(points, t, only_north).eps - exact(points, t, any_cloud).eps
    implicit = -difference / schedule.noise(t, points)
    gap = (implicit - gradient(exact_log_prob, points, t)).abs().max() / implicit.abs().max()
    print(f"t = {t:4}   the difference is the classifier's gradient: {bool(gap < 1e-8)}")

# %% [markdown]
# ### 3.2 Guidance with this gradient
#
# Put this gradient $g$ into lesson 05's Algorithm 2, $\hat\varepsilon=\varepsilon_u-s\sqrt{1-\bar\alpha_t}\,g$. The root cancels:
#
# $$\boxed{\;\hat\varepsilon=\varepsilon_u+s\,(\varepsilon_c-\varepsilon_u)\;}$$
#
# There is no gradient and no second network. At $s=0$ the prediction is unconditional, at $s=1$ conditional, and for $s>1$ it goes beyond. Is it the *same* guidance as in lesson 05, at every scale?

# %% tags=["nbval-check-output"]
for scale in (0.5, 1.0, 2.0, 5.0):
    free = ClassifierFree(exact, any_cloud, scale)(points, 200, only_north).eps
    by_classifier = ScoreGuidance(exact, exact_log_prob, scale)(points, 200).eps
    same = torch.allclose(free, by_classifier, rtol=1e-8)
    print(f"scale {scale}: equal to classifier guidance: {same}")

# %% [markdown]
# So what lesson 05 found for exact scores holds here, too. At scale 1 sampling gives $p(x\mid y)$. At scales above 1 it does *not* give the density proportional to $p(x)\,p(y\mid x)^s$ (section 8).
#
# ### 3.3 $w$ and $s$ differ by one
#
# Papers use different conventions for the scale:
#
# | where | formula | conditional | unconditional |
# |---|---|---|---|
# | Ho and Salimans (the paper) | $(1+w)\,\varepsilon_c-w\,\varepsilon_u$ | $w=0$ | $w=-1$ |
# | GLIDE, Stable Diffusion, **labkit** | $\varepsilon_u+s\,(\varepsilon_c-\varepsilon_u)$ | $s=1$ | $s=0$ |
# | Imagen | $w\,\varepsilon_c+(1-w)\,\varepsilon_u$ | $w=1$ | $w=0$ |
#
# Expand the second: $s\,\varepsilon_c+(1-s)\,\varepsilon_u$. So $s=1+w_{\text{paper}}=w_{\text{Imagen}}$. At $s=0$ and $s=1$ labkit asks the network only once, so the result is exact to the last bit:

# %% tags=["nbval-check-output"]
eps_c, eps_u = exact(points, 200, only_north).eps, exact(points, 200, any_cloud).eps
for w in (-0.5, 0.3, 3.0):
    guided = ClassifierFree(exact, any_cloud, scale=1 + w)(points, 200, only_north).eps
    same = torch.allclose(guided, (1 + w) * eps_c - w * eps_u)
    print(f"w = {w:4}   scale = {1 + w}   equal: {same}")
for scale, plain in {1.0: eps_c, 0.0: eps_u}.items():
    guided = ClassifierFree(exact, any_cloud, scale)(points, 200, only_north).eps
    print(f"scale {scale} is the plain prediction, bit for bit: {torch.equal(guided, plain)}")

# %% [markdown]
# Must we mix $\hat\varepsilon$? At a given $x_t$, $\hat\varepsilon$, $\hat x_0$ and $v$ are affine functions of each other. The weights of the mix sum to 1, so **mixing any of them gives the same result**. A clip is not affine, so its place matters (section 8).

# %% tags=["nbval-check-output"]
mixed = ClassifierFree(exact, any_cloud, 3.0)(points, 200, only_north)
x0_c, x0_u = exact(points, 200, only_north).x0, exact(points, 200, any_cloud).x0
print("mixing x0 is mixing eps:", torch.allclose(mixed.x0, x0_u + 3 * (x0_c - x0_u)))
clipped = clip(x0_u) + 3 * (clip(x0_c) - clip(x0_u))
print("clipping first and mixing then is the same:", torch.allclose(clip(mixed.x0), clip(clipped)))

# %% [markdown]
# ### 3.4 One network for both
#
# We need $\varepsilon_c$ and $\varepsilon_u$, but not two networks. In every batch, each row loses its label with the **drop rate** $p$ (the paper's $p_\text{uncond}$). It gets a **null** in its place (Ho and Salimans, algorithm 1).
#
# Why does that teach the unconditional score? For each input, the squared error is least at the mean of the targets over all training rows *with that input*. For rows with label 7, this is the mean over sevens. Rows with the null come from all classes, so theirs is the mean over all: $\varepsilon_u=\mathbb E[\varepsilon\mid x_t]$.
#
# The null is **data, not a flag**. Here it is a row of zeros instead of a one-hot row; in GLIDE it is the empty caption. Each **row** is dropped or kept on its own:

# %% tags=["nbval-check-output"]
labels = F.one_hot(torch.arange(10) % 3, 3).float()
null = Conditioning(vector=torch.zeros(1, 3))
dropped = Conditioning(vector=labels).drop(null, vector=0.3, generator=seeded(3)).vector
shown = ["-" if row.sum() == 0 else row.argmax().item() for row in dropped]
print("label of each row, - for the null:", *shown)
many = Conditioning(vector=torch.ones(100_000, 3)).drop(null, vector=0.15, generator=seeded())
print(f"of 100,000 rows {1 - many.vector[:, 0].mean():.1%} were dropped, asked for: 15.0%")

# %% [markdown]
# ## 4 · The real code
#
# Both conditions go through the network as **one batch** (`cat`). If the network also predicts a variance, the conditional one is kept, because only eps is guided:

# %%
show_source(ClassifierFree.__call__)

# %% [markdown]
# Training is the loss of lesson 03 with one more line, the drop:

# %%
show_source(ADM.loss, Conditioning.drop)

# %% [markdown]
# ## 5 · Train it: how many labels to drop?
#
# In two dimensions a small network trains in seconds. We try the drop rate $p=0$ (never dropped), and the paper's 0.1 and 0.5, each with 700 steps.


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


class DropsLabels(nn.Module):
    """A denoiser of clouds; in training a row loses its label with probability p."""

    null = Conditioning(vector=torch.zeros(1, 3))

    def __init__(self, p):
        super().__init__()
        self.p, self.denoiser = p, Denoiser(Small(), schedule)

    def loss(self, batch):
        x, label = batch
        cond = Conditioning(vector=F.one_hot(label, 3).float()).drop(self.null, vector=self.p)
        return self.denoiser.loss(x, cond)


# %%
def draw(figure, seen):
    title = f"p = 0.1: {seen[-1].step} steps"
    classifier_free_plot.training(figure, [step.loss for step in seen], title)


@cache  # sections 5 and 8 share a network
def trained(p, seed, updates=700):
    """A small denoiser; data, first weights and batches all come from the seed."""
    torch.manual_seed(seed)
    x, label = clouds.sample(20_000, seeded(seed))
    steps = train(
        DropsLabels(p), shuffled(x.float(), label, batch=256), steps=updates, lr=5e-3, seed=seed
    )
    if (p, seed, updates) != (0.1, 0, 700):
        return list(steps)[-1].ema.denoiser
    alt = (
        "The loss of one training falls from about 1 to 0.2 in 150 steps, and then stays near 0.18."
    )
    return watch(steps, draw, every=25, alt=alt)[-1].ema.denoiser


for p, seed in product((0.1, 0.5, 0.0), (0, 1)):
    trained(p, seed)

# %% [markdown]
# How large is the error of each? We take the root mean squared error against the exact predictions, over points $x_t$ at twenty times. (The noise to be predicted has size 1.)


# %%
def errors(net):
    """(error of eps_c, of eps_u, of guided eps at scale 3, relative error of eps_c − eps_u)."""
    total, size = torch.zeros(4), 0.0
    for t in range(25, 1000, 50):
        x0, label = clouds.sample(600, seeded(t))
        x = schedule.diffuse(x0, t, noise(600, 2, seed=t + 1, dtype=torch.float64))
        cond = Conditioning(vector=F.one_hot(label, 3).float())
        with torch.no_grad():
            c, u = (net(x.float(), t, each).eps for each in (cond, DropsLabels.null.rows(600)))
            true_c, true_u = exact(x, t, cond).eps, exact(x, t, any_cloud).eps
        d, true_d = c - u, true_c - true_u
        pairs = (c, true_c), (u, true_u), (u + 3 * d, true_u + 3 * true_d), (d, true_d)
        total += torch.tensor([(a - b).square().mean() for a, b in pairs])
        size += true_d.square().mean()
    return (total / torch.tensor([20, 20, 20, size])).sqrt()


# %%
print("two trainings for each drop rate")
print("  p    error of eps_c    of eps_u          guided, scale 3   eps_c − eps_u, relative")
error = {}
for p in (0.0, 0.1, 0.5):
    error[p] = torch.stack([errors(trained(p, seed)) for seed in (0, 1)])
    print(f"{p:3}    " + "    ".join(f"{a:.4f}, {b:.4f}" for a, b in zip(*error[p])))
assert (error[0.1][:, 0] < error[0.5][:, 0]).all()  # eps_c: few drops
for p, more in ((0.0, 0.1), (0.1, 0.5)):  # all others: many
    assert error[p][:, 1:].amin(0).gt(error[more][:, 1:].amax(0)).all()

# %% [markdown]
# With fewer drops, $\varepsilon_u$ is worse: only a share $p$ of the rows teaches it. From $p=0.1$ to 0.5, $\varepsilon_c$ gets worse. At scale 3 the guided prediction is $3\varepsilon_c-2\varepsilon_u$, so it multiplies both errors. A network that never lost a label ($p=0$) still predicts *something* for the null, and that has the largest error. In the last column, the difference is wrong by more than eight tenths of its size at $p=0.1$, and by half at 0.5. Section 8 shows what that does.
#
# Here $p=0.5$ is best at scale 3. In the paper's table (section 7), $p=0.5$ also has the lowest FID from $w=0.3$ on. But the lowest FID of all is at $p=0.1$, $w=0.1$. So the best drop rate depends on the scale.
#
# ### Optional: is it really a classifier's gradient?
#
# For *exact* predictions the difference is, up to a factor, the gradient of $\log p(y\mid x_t)$. For a *trained* network nothing guarantees that. In the plane a field $g$ is a gradient only if it has no **curl**: $\partial g_1/\partial x_2=\partial g_2/\partial x_1$. We measure the curl of $\varepsilon_c-\varepsilon_u$ relative to its Jacobian:


# %%
def curl_share(denoise, null, cond, x, t):
    """|∂g₁/∂x₂ − ∂g₂/∂x₁| over the size of the Jacobian, root mean squares over points (B, 2)."""
    x = x.detach().requires_grad_(True)
    g = denoise(x, t, cond.rows(len(x))).eps - denoise(x, t, null.rows(len(x))).eps
    rows = [torch.autograd.grad(g[:, i].sum(), x, retain_graph=True)[0] for i in (0, 1)]
    J = torch.stack(rows, 1)
    return ((J[:, 0, 1] - J[:, 1, 0]).square().mean() / J.square().sum((1, 2)).mean()).sqrt().item()


print("curl in the difference:   exact     learned, two trainings")
for t in (50, 200, 500):
    x = schedule.diffuse(clouds.sample(500, seeded())[0], t, noise(500, 2, dtype=torch.float64))
    none = curl_share(exact, any_cloud, only_north, x, t)
    learned = [
        curl_share(trained(0.1, s), DropsLabels.null, only_north, x.float(), t) for s in (0, 1)
    ]
    print(f"t = {t:3}                   {none:.0e}     {learned[0]:.2f}, {learned[1]:.2f}")
    assert none < 1e-9 and min(learned) > 0.01

# %% [markdown]
# The learned difference has curl, so it is **not** exactly the gradient of any classifier. Ho and Salimans make this point: guidance works although the implicit classifier need not exist.
#
# ## 6 · Play: class, scale, seed
#
# Each column keeps its noise. Move through the scales, then generate your own below. Look for two things:
#
# 1. At scale 0 the columns show any digit. At which scale do all of them show the class?
# 2. Compare the columns at scale 1 and at scale 3. Where do they differ more from each other?
#
# <details><summary>What to expect</summary>At scale 1 nearly all samples have the class. At scale 3 the columns are more alike: section 7 measures it (spread).</details>

# %%
GuidanceExplorer(generate, range(10), (0, 0.5, 1, 1.5, 2, 3, 5, 8), shape=(1, 16, 16))

# %% [markdown]
# ## 7 · Measure
#
# First the paper's Tables 1 and 2. Look for the lowest FID, and for the effect of the drop rate $p$.

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
PAPER_128 = {0.0: (7.27, 82), 0.3: (2.43, 158), 1.0: (7.86, 298), 4.0: (21.5, 422)}  # T = 256
print("paper, ImageNet 64 (table 1)          FID                     inception score")
print("  w  scale      p = 0.1   0.2    0.5          0.1    0.2    0.5")
for w, (fid, score) in PAPER.items():
    cells = "".join(f"{v:7.2f}" for v in fid) + "      " + "".join(f"{v:7.0f}" for v in score)
    print(f"{w:4} {1 + w:5}      " + cells)
assert all(a < b for low, high in zip([*PAPER.values()], [*PAPER.values()][1:])
           for a, b in zip(low[1], high[1]))  # fmt: skip
print("ImageNet 128 (table 2, T = 256)")
for w, (fid, score) in PAPER_128.items():
    print(f"{w:4} {1 + w:5}      FID {fid:5.2f}     inception score {score}")

# %% [markdown]
# FID is lowest at a *small* $w$, 0.1 or 0.3. The inception score (how sure and how varied a classifier's answers are) rises at every step of $w$, at every $p$.
#
# **Ours, the drop rate.** We trained once for each drop rate by the recipe of `adm-digits`, with the same first weights and batches. (`python -m benchmarks.p_uncond --samples 500`: 1,500 updates, $N$ = 500, 50 steps, the mean of 2 sampling seeds, against all real digits. Standard deviations: up to 0.0003 for the distance, 0.004 at scale 0; 0.01 for the class, 0.024 for recall.)
#
# | scale | Fréchet, p = 0.1 | 0.5 | class accuracy, p = 0.1 | 0.5 | recall, p = 0.1 | 0.5 |
# |---|---|---|---|---|---|---|
# | 0 | 0.0433 | 0.0141 | | | 0.97 | 0.94 |
# | 1 | 0.0012 | 0.0022 | 0.979 | 0.944 | 0.89 | 0.90 |
# | 1.15 | 0.0010 | 0.0012 | 0.997 | 0.980 | 0.82 | 0.84 |
# | 1.6 | 0.0025 | 0.0017 | 1.000 | 0.998 | 0.57 | 0.68 |
# | 2 | 0.0035 | 0.0023 | 1.000 | 0.999 | 0.45 | 0.59 |
# | 3 | 0.0048 | 0.0031 | 1.000 | 1.000 | 0.30 | 0.47 |
#
# At scale 1, $p=0.1$ has the lower distance; at 0 and from 1.6 on, $p=0.5$ has. But do not conclude that 0.5 is "better at scale 3". Compare where *recall* is nearly equal: $p=0.1$ at scale 1.6, and $p=0.5$ at scale 2. There the distances differ by less than the noise. So with more drops, the same scale seems to guide less. (This is one training for each drop rate.)
#
# **Ours, the scale.** We use the shipped network ($p$ = 0.15), with as many digits of each class and 20 DDIM steps. Features and classes come from `classifier-digits`, which never guides. The reference is a random half of the real digits. The floor is as many digits of the other half, held out.

# %%
SCALES = (0, 1, 1.15, 1.5, 3, 8)
ours = {scale: torch.tensor([run(scale, s, clip)[:6] for s in range(SEEDS)]) for scale in SCALES}


def balanced(seen):
    """N held-out digits, as many of each class as the samples have."""
    label = seen.probs.argmax(1)
    rows = torch.cat([(label == k).nonzero()[: N // 10, 0] for k in range(10)])
    return Seen(seen.features[rows], seen.probs[rows])


floor = torch.tensor([measure(balanced(splits[s][1]), s) for s in range(SEEDS)])
print(f"N = {N}, {SEEDS} seeds, mean ± sd\n")
print("scale     w   Fréchet           precision     recall        coverage      spread"
      "        class accuracy")  # fmt: skip
for scale, runs in ours.items():
    (distance, deviation), *cells = zip(runs.mean(0).tolist(), runs.std(0).tolist())
    print(f"{scale:5} {scale - 1:5.2f}   {distance:.4f} ± {deviation:.4f}   "
          + "   ".join(f"{mean:.2f} ± {sd:.2f}" for mean, sd in cells))  # fmt: skip
(distance, deviation), *cells = zip(floor.mean(0).tolist(), floor.std(0).tolist())
print(f"held out      {distance:.4f} ± {deviation:.4f}   "
      + "   ".join(f"{mean:.2f} ± {sd:.2f}" for mean, sd in cells[:-1]))  # fmt: skip

# %%
panels = {"Fréchet distance": 0, "precision": 1, "recall": 2, "coverage": 3, "class accuracy": 5}
columns = {
    name: (
        torch.stack([runs[:, k] for runs in ours.values()]),
        floor[:, k].mean() if k < 5 else None,
    )
    for name, k in panels.items()
}
plots.show(
    classifier_free_plot.against_scale(SCALES, columns),
    "Five panels against the scale, whose values stand at equal distances. The Fréchet distance, on a logarithmic axis, falls steeply from scale 0 to 1, changes little to 1.5, and rises to 8. Precision rises above the dotted floor, and is below it at 8. Recall falls to scale 3 and rises at 8. Coverage is highest in the middle. The class accuracy rises from a tenth to all.",
)

# %% [markdown]
# A seed uses the same noise and the same reference at every scale. So we compare scales **within** a seed, and count a difference only if it is over two standard errors. (With three seeds this is a rough test.)

# %%
CHANGES = [("Fréchet", 0, 1, 0), ("precision", 1, 3, 1), ("precision", 3, 8, 1), ("recall", 1, 3, 2),
           ("recall", 3, 8, 2), ("coverage", 1, 3, 3), ("coverage", 3, 8, 3), ("spread", 1, 3, 4),
           ("spread", 3, 8, 4), ("Fréchet", 1, 1.15, 0), ("Fréchet", 1, 3, 0)]  # fmt: skip
read = {}
for name, a, b, column in CHANGES:
    change = ours[b][:, column] - ours[a][:, column]
    error = change.std() / SEEDS**0.5
    read[name, a, b] = change.mean().sign().item() if change.mean().abs() > 2 * error else 0
    verdict = {1: "rises", -1: "falls", 0: "within the noise"}[read[name, a, b]]
    print(
        f"{name:9} from {a} to {b:4}: {change.mean():7.4f} ± {error:.4f} (standard error): {verdict}"
    )
radius = {k: sum(run(k, s, clip)[8] for s in range(SEEDS)) / SEEDS for k in (3, 8)}
print(f"mean radius of a sample's neighborhood: {radius[3]:.2f} at 3, {radius[8]:.2f} at 8")
above = ours[3][:, 1] - floor[:, 1]
assert above.mean() > 2 * above.std() / SEEDS**0.5 and ours[1][:, 5].mean() > 0.9
assert read["Fréchet", 0, 1] == -1 and read["Fréchet", 1, 3] == 1
assert read["precision", 1, 3] == 1 and read["precision", 3, 8] == -1
assert read["recall", 1, 3] == read["coverage", 3, 8] == -1 and read["recall", 3, 8] == 1
assert read["spread", 1, 3] == -1 and read["spread", 3, 8] == 1 and radius[8] > radius[3]
assert (ours[1.5] - floor)[:, 3].min() > 0  # coverage over the floor
assert abs((ours[1.15] - ours[1])[:, 0].mean()) < 0.0007

# %% [markdown]
# This is the paper's trend, at our size. From scale 0 to 1 the samples take the *class*: that is the condition, not yet guidance. From 1 to 3 precision rises and **recall falls**, and the distance grows. With $N=200$ the change from 1 to 1.15 is within the noise. The larger run above shows the paper's gain where the drop rate is high: at $p=0.5$, 0.0022 → 0.0012.
#
# **Spread** measures diversity directly: it is the mean distance of two samples of one class. At scale 1 it is near that of real digits; at 3 it is about half. Coverage does not show this. At 1.5 it is even above held-out digits.
#
# At scale 3, precision is *above* that of held-out real digits. Guided samples are **more typical than real ones**. That does not make them better digits.
#
# At scale 8 **precision falls again**, although the class is right. Recall and spread rise, but that is no gain. Recall measures by the spacing of the *samples*, and scattered samples have wide neighborhoods (the radius in the print). **Coverage** measures by the spacing of the real digits, and it falls.
#
# ### Guidance in an interval
#
# Must the scale be the same at every noise level? Kynkäänniemi et al. (2024) report that guidance harms diversity at high noise, and is hardly needed at low noise. So we guide only at times 250 to 750 of 1,000, and use the plain conditional prediction elsewhere.


# %%
class Interval:
    """Guides only at times low < t ≤ high; elsewhere the conditional prediction."""

    def __init__(self, guided, low, high):
        self.guided, self.low, self.high = guided, low, high
        self.schedule = guided.schedule

    def __call__(self, x, t, cond=None):
        return (self.guided if self.low < t <= self.high else self.guided.denoise)(x, t, cond)


# %%
times, rows = model.denoiser.schedule.timesteps(20), []
for seed in range(SEEDS):
    guided = ClassifierFree(model.denoiser, model.null, 3.0)
    inside = MapX0(Interval(guided, 250, 750), clip)
    x = noise(N, 1, 16, 16, seed=seed)
    seen = metrics.see(evaluator, final(sample(inside, x, times, model.encode(classes), step=ddim)))
    accuracy = (seen.probs.argmax(1) == classes).double().mean().item()
    rows.append(measure(seen, seed, accuracy))
inside = torch.tensor(rows)
table = {"3, at all times": ours[3], "3, 250 < t ≤ 750": inside, "1.5, at all times": ours[1.5]}
print("scale              Fréchet    precision  recall     coverage   spread     class accuracy")
for name, runs in table.items():
    cells = runs.mean(0).tolist()
    print(f"{name:18} {cells[0]:.4f}     " + "      ".join(f"{mean:.3f}" for mean in cells[1:]))
for name, other in {"3": ours[3], "1.5": ours[1.5]}.items():
    change = inside - other
    cells = zip(change.mean(0)[1:4], change.std(0)[1:4] / SEEDS**0.5)
    print(f"interval minus {name:>3} (precision, recall, coverage): "
          + ", ".join(f"{mean:+.3f} ± {error:.3f}" for mean, error in cells))  # fmt: skip
assert ((inside - ours[3]).mean(0) > 2 * (inside - ours[3]).std(0) / SEEDS**0.5)[2]  # recall
assert (change.mean(0).abs() < 2 * change.std(0) / SEEDS**0.5)[:3].all()  # all but coverage

# %% [markdown]
# At scale 3 the interval keeps more recall than guidance at all times. But guidance at all times with scale 1.5 has the same distance, precision and recall within the noise, and no less coverage. So this interval acts like a smaller scale on our digits, and is no gain. (We tried one interval at one scale. The authors report a gain on ImageNet-512: FID 1.81 → 1.40.)
#
# ### Autoguidance: a worse model in place of the null
#
# Karras et al. (2024) replace $\varepsilon_u$ by the *conditional* prediction of a worse model, smaller or less trained. The difference then points away from the errors of the worse model, not away from the other classes. We try it in the plane. The good network is that of section 5 ($p=0.1$, 700 updates); the bad one had only 200 updates, or 60.


# %%
class Autoguided:
    """The bad prediction plus scale times (good − bad), both with the condition."""

    def __init__(self, good, bad, scale):
        self.good, self.bad, self.scale = good, bad, scale
        self.schedule = good.schedule

    def __call__(self, x, t, cond=None):
        good, bad = self.good(x, t, cond).eps, self.bad(x, t, cond).eps
        return from_eps(self.schedule, x, t, bad + self.scale * (good - bad))


# %%
x, times, found = noise(1000, 2), schedule.timesteps(50), {}
for seed in (0, 1):
    good, bad, worse = trained(0.1, seed), trained(0.1, seed, 200), trained(0.1, seed, 60)
    for name, denoise in {
        "good, scale 1": good, "bad (200), scale 1": bad,
        "classifier-free, scale 2": ClassifierFree(good, DropsLabels.null, 2.0),
        "autoguidance (200), scale 2": Autoguided(good, bad, 2.0),
        "autoguidance (60), scale 2": Autoguided(good, worse, 2.0),
    }.items():  # fmt: skip
        drawn = final(sample(denoise, x, times, only_north.rows(len(x)), step=ddim)).double()
        far = ((drawn - clouds.means[north]).norm(dim=1) > 3 * 0.45).double().mean()
        found.setdefault(name, []).append((drawn[:, 1].mean(), drawn.std(0).mean(), far))
print("two trainings                 mean height    sd            over 3 sd from the mean")
print("true                          1.10           0.45          0.011")
for name, runs in found.items():
    columns = (
        ", ".join(f"{value:.{n}f}" for value in column) for column, n in zip(zip(*runs), (2, 2, 3))
    )
    print(f"{name:28}  " + "    ".join(columns))
height, sd, _ = torch.tensor(found["autoguidance (200), scale 2"]).T
assert (height - 1.1).abs().max() < 0.1 and sd.min() > 0.3
assert max(sd for _, sd, _ in found["classifier-free, scale 2"]) < 0.25

# %% [markdown]
# With the bad network of 200 updates, autoguidance leaves the cloud in its place, but narrower. Classifier-free guidance at the same scale makes it a small spot above its place. There is no gain over scale 1 here. And the choice of the bad network matters: with one of only 60 updates the samples collapse to a point. (The authors report better FID than with classifier-free guidance, on ImageNet.)
#
# ### What it costs
#
# Classifier-free guidance evaluates the model for two conditions. Classifier guidance evaluates it once, and goes forward *and backward* through a classifier. We take the seconds for 100 digits and six steps, the median of three:

# %%
guide = zoo.load("noisy-classifier-digits")
x, labels = noise(100, 1, 16, 16), torch.arange(100) % 10
cond, times = model.encode(labels), model.denoiser.schedule.timesteps(6)
methods = {
    "conditional": model.denoiser,
    "classifier-free": ClassifierFree(model.denoiser, model.null, 3.0),
    "classifier": ScoreGuidance(model.denoiser, guide.log_prob(labels), 3.0),
}
clock = {name: [] for name in methods}
for _ in range(3):  # in turns, so that whatever else the machine does slows all alike
    for name, denoise in methods.items():
        began = time.perf_counter()
        final(sample(denoise, x, times, cond, step=ddim))
        clock[name].append(time.perf_counter() - began)
cost = {name: sorted(seconds)[1] for name, seconds in clock.items()}
assert cost["classifier-free"] < 2.6 * cost["conditional"]
for name, seconds in cost.items():
    print(f"{name:18} {seconds:.2f} s   {seconds / cost['conditional']:.2f} × a plain step")
sizes = [sum(p.numel() for p in net.parameters()) for net in (model, guide)]
print(f"networks to train and keep: model {sizes[0]:,} weights, classifier {sizes[1]:,} more")

# %% [markdown]
# Two rows for each picture cost up to twice the time. Classifier guidance costs about the same here. So classifier-free guidance saves no time; it saves the second network and its training on noise.
#
# ## 8 · Saturation, and why the place of a clip matters
#
# At a large scale colors saturate (section 1). One reason: pictures lie in $[-1,1]$, and an extrapolated $\hat x_0$ leaves that range. These are predictions early in sampling, without a clip:

# %%
x, hundred = noise(100, 1, 16, 16, seed=7), torch.arange(100) % 10
t, shares = model.denoiser.schedule.timesteps(20)[3], []
print(f"predictions of x0 at t = {t} of 1,000, the fourth of 20 steps, without a clip")
for scale in (1, 2, 4, 8):
    *_, fourth = islice(generate(hundred, scale, x, threshold=lambda x0: x0), 4)
    guess = fourth.x0
    shares.append((guess.abs() > 1.05).float().mean().item())
    farthest = guess.abs().max()
    print(
        f"scale {scale}: {shares[-1]:6.1%} of the pixels out of range, the farthest at {farthest:.1f}"
    )
assert shares == sorted(shares) and shares[-1] > 0.2

# %% [markdown]
# There are three answers. Do nothing. **Clip** every prediction to $[-1,1]$ (static thresholding). Or, if many pixels lie outside, clip at a larger value and *divide* by it (*dynamic thresholding*, from Imagen, lesson 11). A changed $\hat x_0$ changes every later step.


# %%
def unchanged(x0):
    return x0


def black_clipped(x0):
    """The dynamic threshold where x0 > 0, and a clip where x0 ≤ 0."""
    return torch.where(x0 > 0, dynamic(x0), clip(x0))


dynamic = dynamic_threshold(0.95)
methods = {"nothing": unchanged, "clip": clip, "dynamic, p = 0.95": dynamic,
           "dynamic, black clipped": black_clipped}  # fmt: skip
start, rows, runs = noise(10, 1, 16, 16, seed=0), [], {}
print(f"scale 8, mean of {SEEDS} seeds")
print(" " * 24 + "Fréchet   precision   coverage   class accuracy   contrast   at ±1")
for name, threshold in methods.items():
    rows.append(final(generate(range(10), 8.0, start, threshold=threshold)))
    runs[name] = torch.tensor([run(8, seed, threshold) for seed in range(SEEDS)])
    distance, precision, _, covered, _, accuracy, contrast, edge, _ = runs[name].mean(0).tolist()
    print(f"{name:24}{distance:.4f}    {precision:.3f}       {covered:.3f}      {accuracy:6.1%}"
          f"           {contrast:.2f}       {edge:6.1%}")  # fmt: skip
print(f"{'real digits':24}{'':49}{real_images.std():.2f}       {at_edge(real_images):6.1%}")
assert (real_images < -0.98).float().mean() > 0.85 * at_edge(real_images)  # background
none, clipped, divided, black = (runs[name].mean(0) for name in methods)
assert none[6] > clipped[6] > divided[6] + 0.03  # contrast
assert abs(black - clipped)[1] < 0.03 < abs(divided - clipped)[1]  # precision
assert clipped[0] < black[0] < (clipped + divided)[0] / 2  # more than half of the distance
plots.show(plots.image_grid(torch.cat(rows), columns=10, titles=range(10), rows=list(methods)),
           "Digits at scale 8 in four rows. Without thresholding and with a clip: bright strokes on black. With "
           "dynamic thresholding: less contrast, on a background that is gray in places. With the black side "
           "clipped: less bright strokes on black.")  # fmt: skip

# %% [markdown]
# Without thresholding precision is highest, and the distance is near that of a clip. Dynamic thresholding gives less contrast, the lowest precision and coverage, and the largest distance.
#
# Most of the added distance comes from the black background. 43 % of the pixels of real digits lie at the edge of the range, most of these at $-1$. Dynamic thresholding divides *all* pixels as soon as 5 % lie outside, and so turns black to gray. The last method divides only the pixels above 0, and clips the others. Its precision is near that of a clip again, and most of that distance is gone. (On photographs Imagen reports a gain from dynamic thresholding.)
#
# ### Photographs: recognized does not mean good
#
# A classifier of real photographs recognizes 69 % of those that it never saw. Of 200 by section 1's model at scale 3, it recognizes 91 ± 1 % (`python -m benchmarks.photos_by_class CIFAR.zip --samples 200`). They are not better photographs.
#
# ### Break it
#
# Here are three mistakes that raise no error. We ask for the north cloud at scale 3, with the exact model. The third mistake needs a network of section 5 that never lost a label, and we compare it with two that did.

# %%
x, data = noise(1000, 2, dtype=torch.float64), clouds.sample(400, seeded(9))[0]
west = Conditioning(vector=torch.eye(3)[:1])
cases = {
    "right": ClassifierFree(exact, any_cloud, 3.0),
    "w = 0 used as scale": ClassifierFree(exact, any_cloud, 0.0),
    "null = class 0, west": ClassifierFree(exact, west, 3.0),
    "no null learned": ClassifierFree(trained(0.0, 0), DropsLabels.null, 3.0),
    "null learned, p = 0.1": ClassifierFree(trained(0.1, 0), DropsLabels.null, 3.0),
    "null learned, p = 0.5": ClassifierFree(trained(0.5, 0), DropsLabels.null, 3.0),
}
times, drawn = schedule.timesteps(50), {}
print("                      classified as north   mean             sd")
for name, guided in cases.items():
    start = x.float() if "learned" in name else x  # the networks work in float32
    drawn[name] = final(sample(guided, start, times, only_north, step=ddim)).double()
    accuracy = (clouds.posterior(drawn[name]).argmax(1) == north).double().mean()
    (a, b), (c, d) = drawn[name].mean(0), drawn[name].std(0)
    print(f"{name:22}{accuracy:8.0%}              ({a:5.2f}, {b:5.2f})   ({c:.2f}, {d:.2f})")
plots.show(classifier_free_plot.clouds(data, drawn, right="right"),
           "Six panels of samples over the three clouds in gray. Right: a wedge in the upper half of the north "
           "cloud, its tip down. w used as scale: all three clouds. Class 0 as null: far up on the right, where "
           "no data lie. No null learned: above the north cloud, where hardly any data lie. "
           "Null learned: for p = 0.1 one small spot above the north cloud; for p = 0.5 a spot at its upper edge.")  # fmt: skip

# %% [markdown]
# First the right answer: its shape is a **wedge**, narrow at the bottom and wide at the top. Where the diffused clouds overlap, guidance pushes each sample away from both others. We think that these pushes add up over the steps: guidance at $t>200$ alone gives nearly the same. The density proportional to $p(x)\,p(\text{north}\mid x)^3$ is lower:

# %%
grid = torch.cartesian_prod(*2 * [torch.linspace(-3, 5, 321, dtype=torch.float64)])
posterior = lambda points: clouds.posterior(points)[:, north]  # noqa: E731
sharpened = (clouds.log_prob(grid) + 3 * posterior(grid).log()).softmax(0) @ grid
conditional = final(sample(exact, x, times, only_north, step=ddim))
late = Interval(cases["right"], 200, 1000)
early = final(sample(late, x, times, only_north, step=ddim))
for name, points in {"scale 1": conditional, "scale 3": drawn["right"],
                     "scale 3, only at t > 200": early}.items():  # fmt: skip
    height, lowest = points[:, 1].mean(), posterior(points).min()
    order = points[points[:, 1].argsort(), 0]
    bottom, top = order[: len(x) // 5].std(), order[-len(x) // 5 :].std()
    print(f"{name:24} mean height {height:.2f}, lowest p(north | x) {lowest:.4f}, "
          f"sd of x in the lowest fifth {bottom:.2f}, in the highest {top:.2f}")  # fmt: skip
print(f"exact mean height: p(x | north) {1.1:.2f}, p(x) p(north | x)^3 {sharpened[1]:.2f}")
assert conditional[:, 1].mean() + 0.1 < drawn["right"][:, 1].mean() > sharpened[1] + 0.1
assert posterior(drawn["right"]).min() > 0.99 and abs(early - drawn["right"])[:, 1].mean() < 0.1

# %% [markdown]
# So the wedge does not come from this third power: at all samples $p(\text{north}\mid x)$ is near 1.
#
# Now the mistakes:
#
# - **$w$ used as scale.** You want no guidance and write 0, and you get no *condition*.
# - **Class 0 as null.** The guided score is three times the north's minus twice the west's. For Gaussians of one width this is the score of a Gaussian around $3\,(0,1.1)-2\,(-1.2,-0.6)=(2.4,4.5)$, where no data lie. (Class 0 itself is not guided.)
# - **A null that was never learned.** Nothing determines the "unconditional" prediction, and guidance multiplies its error. With a learned null ($p=0.1$) the samples stop lower, but collapse to one spot. $p=0.5$ is nearer to the right answer, and still too narrow.
#
# The exact classifier calls all samples of the last two mistakes *north* (the first column of the print). **A high class accuracy alone does not show that the pictures are good.**
#
# ## 9 · Exercises
#
# Write into the stub and run the cell. The check draws fresh inputs and names the usual mistakes. A hint is folded under each exercise, and a solution in the cell below it (click its three dots).
#
# ### 9.1 In the paper's words &nbsp; ● 5 minutes
#
# Return the guided eps from both predictions, in the convention **of the paper**: $w=0$ is the conditional prediction.


# %%
def guide_by_w(eps_c, eps_u, w):
    """The guided eps, (B, C, H, W), with Ho and Salimans' w."""
    ...


checks.guide_by_w(guide_by_w)

# %% [markdown]
# <details><summary>Hint</summary>(1 + w) times one, minus w times the other. Which one must stay unchanged at w = 0?</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def guide_by_w_solution(eps_c, eps_u, w):
    return (1 + w) * eps_c - w * eps_u


checks.guide_by_w(guide_by_w_solution).require()

# %% [markdown]
# ### 9.2 The implicit classifier &nbsp; ● 5 minutes
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
# Algorithm 1's rule. `vector` `(B, D)` holds a condition for each row, and `null` `(D,)` stands for none. `u` `(B,)` holds a uniform number between 0 and 1 for each row, so that your result can be compared exactly. A row whose number is **below** `p` loses its label. Do not change `vector` itself.


# %%
def drop_labels(vector, null, p, u):
    """The conditions (B, D), with the null in the rows that lose their label."""
    ...


checks.drop_labels(drop_labels)

# %% [markdown]
# <details><summary>Hint</summary><code>torch.where(condition, a, b)</code> broadcasts: give it a condition of shape (B, 1).</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def drop_labels_solution(vector, null, p, u):
    return torch.where((u < p)[:, None], null, vector)


checks.drop_labels(drop_labels_solution).require()

# %% [markdown]
# (With image and text as two conditions, draw two random numbers. If you drop both with one, the network never sees the image alone or the text alone.)
#
# ### 9.4 A network with a learned variance &nbsp; ●● 10 minutes
#
# With learned variance (lesson 03), the network's output has $2C$ channels: eps first, then the variance. From `out_c` and `out_u` `(B, 2C, H, W)`, return the guided output of the same shape. What is guided, and what is not?


# %%
def guide_channels(out_c, out_u, scale):
    """The guided output (B, 2C, H, W), where scale 1 is the conditional prediction."""
    ...


checks.guide_channels(guide_channels)

# %% [markdown]
# <details><summary>Hint</summary><code>out.chunk(2, dim=1)</code>. An extrapolated variance can leave its range: keep the conditional one.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def guide_channels_solution(out_c, out_u, scale):
    eps_c, variance = out_c.chunk(2, dim=1)
    eps_u, _ = out_u.chunk(2, dim=1)
    return torch.cat([eps_u + scale * (eps_c - eps_u), variance], dim=1)


checks.guide_channels(guide_channels_solution).require()

# %% [markdown]
# ### 9.5 Guide, then clip, then derive eps again &nbsp; ●● 20 minutes
#
# One whole prediction: mix the two eps (scale 1 is conditional), derive $\hat x_0$, clip it to $[-1,1]$, and derive $\hat\varepsilon$ **again**, so that both describe the same $x_t$. Return the pair `(x0, eps)`. `schedule.signal(t, x)` and `schedule.noise(t, x)` are the two roots.


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
# ### 9.6 Several conditions, some unwanted &nbsp; ●●● 30 minutes
#
# Every condition contributes a difference, $s_i(\varepsilon_i-\varepsilon_u)$, and the differences add up. A **negative** scale leads away from a condition. `wanted` is a list of predictions, `scales` a list of numbers. Return $\varepsilon_u+\sum_is_i(\varepsilon_i-\varepsilon_u)$.
#
# When it passes, run the cell after the solution. Which row is a *negative prompt*, and what does it do? Does mixing predictions give the same as mixing labels?


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
x, times = noise(40, 1, 16, 16, seed=8), model.denoiser.schedule.timesteps(20)
asked = {"not 4": {4: -1.0}, "4 and 9": {4: 1.0, 9: 1.0}, "4 and 9, scale 2 each": {4: 2.0, 9: 2.0}}
denoisers = {"no label": (model.denoiser, model.null)}
for name, terms in asked.items():
    terms = [(model.encode([label]), scale) for label, scale in terms.items()]
    denoisers[name] = Composed(model.denoiser, model.null, terms), None
half = Conditioning(vector=F.one_hot(torch.tensor([4, 9]), 10).float().mean(0, keepdim=True))
denoisers["label ½ 4, ½ 9"] = ClassifierFree(model.denoiser, model.null, 2.0), half
rows = {}
for name, (denoise, cond) in denoisers.items():
    rows[name] = final(sample(MapX0(denoise, clip), x, times, cond, step=ddim))
    probs = metrics.see(evaluator, rows[name]).probs[:, [4, 9]]
    four, nine = probs.mean(0)
    print(f"{name:22} mean probability of a 4: {four:.2f}, of a 9: {nine:.2f}; "
          f"both over 0.1: {(probs.amin(1) > 0.1).double().mean():.0%} of {len(x)}")  # fmt: skip
plots.show(plots.image_grid(torch.cat([images[:10] for images in rows.values()]), columns=10, rows=list(rows)),
           "Ten noises in five rows. No label: several digits. Not 4: other digits, no four. 4 and 9, at scale 1 "
           "and 2 each: fours, nines, and a few shapes between them. With the half-and-half label: mostly "
           "fours and nines.")  # fmt: skip

# %% [markdown]
# <details><summary>What to see</summary>
#
# "not 4" is the negative prompt: without it some samples are fours, with it none. "4 and 9": for exact scores, each noise level then has the score of $p(x)\,p(4\mid x)\,p(9\mid x)$, of something that is *both*. To the evaluator, a part of the samples looks like both. For an exact mixture, the half-and-half label means "one of the two", and here few samples look like both. With 40 samples these shares are rough.
# </details>
#
# ## 10 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    'A blog says: "use guidance 7.5", for Stable Diffusion. What is that in the paper\'s w?',
    {
        "7.5": "In ε_u + s(ε_c − ε_u), 1 is no guidance. In the paper, 0 is no guidance.",
        "6.5": "s = 1 + w.",
        "8.5": "The other way round: w is one less than s.",
    },
    answer="6.5",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why does a network that sees the null in 10 % of its rows learn the unconditional score?",
    {
        "Because zeros carry no information": "If zeros always came with sevens, they would mean a seven.",
        "Because the best prediction for an input is the mean over all rows with that input, and the null comes with every class": "That is what the squared error does: E[ε | x_t, null] = E[ε | x_t].",
        "Because 10 % is too little to learn a class": "With 50 % it learns the unconditional score even better, and the conditional one worse (section 5).",
    },
    answer="Because the best prediction for an input is the mean over all rows with that input, and the null comes with every class",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You take the label of class 0 as the null, in a model that was trained with another null. You ask for class 0 at scale 5. What happens?",
    {
        "A very strong 0": "The difference ε_c − ε_u is what guidance multiplies. Here both are the same.",
        "A plain 0, as at scale 1": "ε_c = ε_u, so nothing is added, at any scale. All other classes are led away from class 0.",
        "An error": "No error is raised, so it is easy to miss.",
    },
    answer="A plain 0, as at scale 1",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Which of these is the same, whether done before or after mixing the two predictions?",
    {
        "Clipping x̂_0 to [−1, 1]": "A clip is not affine; section 3.3 shows the difference.",
        "Turning eps into x̂_0": "At a given x_t that is an affine function, and the weights of the mix sum to 1.",
        "Dynamic thresholding": "It clips at a value that depends on the prediction, and divides by it: not affine.",
    },
    answer="Turning eps into x̂_0",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "What does classifier-free guidance cost in sampling?",
    {
        "Nothing, the network is the same": "The same network is evaluated for two conditions.",
        "About twice a plain step": "Two rows for each picture, in one batch.",
        "A backward pass at each step": "That is classifier guidance.",
    },
    answer="About twice a plain step",
)

# %% [markdown]
# ## 11 · Recap
#
# - **The difference of two predictions is a classifier's gradient**, up to $-\sqrt{1-\bar\alpha_t}$. So $\hat\varepsilon=\varepsilon_u+s(\varepsilon_c-\varepsilon_u)$ is classifier guidance without a classifier, for exact scores. For a network it holds only as far as both predictions are right.
# - **One network** learns both by losing its label in some rows; the null is data.
# - **$s=1+w$.** Say which one you mean.
# - A larger scale gives more of the class. Up to a point it also gives more fidelity (precision falls from 3 to 8) and less **diversity**.
# - At a large scale, predictions leave the range of pictures. A clip and a dynamic threshold repair that differently.
# - Guidance costs two predictions a step, and no second network.
#
# **What the next lesson adds.** Ten classes cannot describe much. Lesson 07 builds CLIP, which compares pictures with sentences. From lesson 08 on, *words* can guide.
#
# **References**
# - J. Ho, T. Salimans: *Classifier-Free Diffusion Guidance*, 2022. Algorithms 1 and 2, equation 6, tables 1 and 2.
# - A. Nichol et al.: *GLIDE*, ICML 2022. Section 2.3: the scale in its other convention.
# - C. Saharia et al.: *Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding* (Imagen), NeurIPS 2022. Section 2.3: thresholding.
# - N. Liu et al.: *Compositional Visual Generation with Composable Diffusion Models*, ECCV 2022.
# - T. Kynkäänniemi et al., NeurIPS 2024: guidance in an interval.
# - T. Karras et al.: *Guiding a Diffusion Model with a Bad Version of Itself*, NeurIPS 2024.
