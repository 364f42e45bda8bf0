# %% [markdown]
# # 08 · Semantic guidance: any differentiable score can guide
#
# **The question.** One model generates scenes and takes no text. Another, lesson 07's CLIP, compares sentences with pictures and cannot generate. Can a *sentence* guide the first through the second? And can another picture?
#
# **Afterwards you can**
# - turn any differentiable score of pictures into guidance, and say when this gives the exact conditional distribution;
# - write the four scores of Semantic Diffusion Guidance (text, content, structure, style), and say what adding them assumes;
# - use CLIP on noisy pictures in two ways: train its encoder on noise, or apply the clean encoder to $\hat x_0$;
# - measure what a weight changes, by a separate network.
#
# **Before:** lesson 05 (Bayes on scores, Algorithm 2), lesson 07 (CLIP's space).
#
# **Time:** about 50 minutes to read and play, plus 80 for all exercises; about 90 seconds to run on one core.
#
# **On the map:** 06 classifier-free guidance → 07 CLIP → **08 semantic guidance** → 09 GLIDE.

# %%
import time
from functools import partial

import torch
from torch import nn

from labkit import scenes, zoo
from labkit.denoiser import MapX0
from labkit.denoiser import clip as clip_x0
from labkit.guidance import ScoreGuidance, gradient, of_x0
from labkit.lab import checks, plots, quiz, semantic_plot, show_source
from labkit.lab.widgets import watch
from labkit.lab.widgets.guidance_mixer import GuidanceMixer
from labkit.mixture import GaussianMixture
from labkit.nets.resnet import ConditionalBatchNorm2d
from labkit.sampler import ddim, sample
from labkit.scenes import Object, Scene
from labkit.scenes.scores import shown_parts, spread, valid
from labkit.schedule import linear
from labkit.systems.sdg import FIXED_SCALE, NoisyCLIP, gram, weighted
from labkit.train import train

torch.manual_seed(0)
plots.use_style()

# %% [markdown]
# The whole lesson uses the imports and the next four cells: after a restart, run these, then any section. Three networks have separate tasks. The **model** generates and takes no text. An **encoder** guides. The **reader** says what a finished picture shows; it never guides.
#
# Two facts about this model are not in the paper. It begins with the weights of lesson 09's network, without the parts that read the sentence, and was then trained on pictures alone. And in both trainings the loss was the squared error of $\hat x_0$ plus a *perceptual* term. That term compares $\hat x_0$ with $x_0$ in clean CLIP's feature maps (Johnson et al. 2016). So the model takes no text, but it is not independent of sentences or of clean CLIP.
#
# Every step adds new noise ($\eta=1$, lesson 04): more pictures are then valid scenes (`python -m benchmarks.valid_scenes`).

# %%
model = zoo.load("ddpm-scenes").denoiser  # unconditional: generates scenes of 32 x 32 pixels
clip = zoo.load("clip-scenes")  # lesson 07's: sentences and clean pictures in one space
noisy_clip = zoo.load("noisy-clip-scenes")  # an encoder of noisy pictures into CLIP's space
clean_clip = NoisyCLIP.clean(clip)  # CLIP's own image encoder, which ignores the time
reader = zoo.load("reader-scenes")  # says what a picture shows; it measures and never guides

STEPS = 15  # of sampling in this lesson, out of 1000
TEXT, CONTENT, STRUCTURE, STYLE = 200.0, 400.0, 300.0, 2000.0  # weights that work here
stochastic = partial(ddim, eta=1.0)  # new noise in every step, as in DDPM


# %%
def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0, **options):
    return torch.randn(*shape, generator=seeded(seed), **options)


def final(states):
    """The pictures (or points) after the last step."""
    *_, state = states
    return state.x


def embed(*sentences):
    """Sentences as CLIP's unit vectors, (B, 128)."""
    with torch.no_grad():
        return clip.encode_text(sentences)


# %%
def guided(score, x, scale=1.0, step=stochastic, seed=0):
    """Sampling from noise x, guided by a score, or by none; yields a state after each step."""
    denoise = MapX0(ScoreGuidance(model, score, scale) if score else model, clip_x0)
    times = model.schedule.timesteps(STEPS)
    steps_seed = 7_000 + seed  # not that of x, or the first new noise would be x again
    return sample(denoise, x, times, step=step, generator=seeded(steps_seed))


# %%
star = Object("star", "yellow", "large", "striped", x=0.36, y=0.38, radius=0.28)
heart = Object("heart", "red", "small", "plain", x=0.74, y=0.76, radius=0.15)
other = Scene([Object("cross", "green", "large", "plain", x=0.5, y=0.5, radius=0.3)], "rose")
references = scenes.tensors([Scene([star, heart], "sky"), other])
starry, crossed = scenes.render(references, 32)  # (3, 32, 32) each, in [−1, 1]


def named(color, shape):
    """Such as "a red star"."""
    return f"{'an' if color[0] in 'aeiou' else 'a'} {color} {shape}"


def all_four(sentence, reference):
    """The four scores of this lesson by name: one of a sentence, three of a picture."""
    return {
        "text": noisy_clip.language(embed(sentence)),
        "content": noisy_clip.content(reference[None]),
        "structure": noisy_clip.structure(reference[None]),
        "style": noisy_clip.style(reference[None]),
    }


def clean_about_x0(vectors):
    """The cosine of clean CLIP, applied to the model's prediction of the clean picture."""
    return of_x0(model, lambda x0: clean_clip.language(vectors)(x0, 1))


# %% [markdown]
# ## 1 · See it first
#
# Every row starts from the same six noises (the first six of their seed, not selected). The first row is not guided. The others are guided by a sentence, by the picture at the left in three ways, or by both.

# %%
x, sentence = noise(6, 3, 32, 32, seed=3), "a large blue circle"
score = all_four(sentence, starry)
rows = {
    "not guided": None,
    "text": weighted((TEXT, score["text"])),
    "content": weighted((CONTENT, score["content"])),
    "structure": weighted((STRUCTURE, score["structure"])),
    "style": weighted((STYLE, score["style"])),
    "text + content": weighted((TEXT, score["text"]), (CONTENT, score["content"])),
}
made = [torch.cat([starry[None], final(guided(each, x))]) for each in rows.values()]
plots.show(
    plots.image_grid(torch.cat(made), columns=7, titles=["reference", *[""] * 6],
                     rows=list(rows), title=f"text: “{sentence}”"),
    "Six rows of six generated scenes beside a reference with a striped yellow star and a red heart. "
    "Not guided: one or two things of several colors, most of them small. Text: large blue, round things, some with "
    "a small lump inside. Content: the blue background, warm colors. Structure: a striped yellow thing "
    "and a red one at the reference's places, often a star and a heart. Style: the blue background, and "
    "red, orange and yellow things at other places. Text and content: mostly blue things, smaller ones, on gray.",
)  # fmt: skip

# %% [markdown]
# The text gives blue things, most of them round, some with a lump inside. Structure copies places, colors and often the shapes. Content and style bring the background and warm colors, at other places. With text *and* content most things are blue and smaller, but the background is not the reference's.
#
# ## 2 · The idea
#
# The gradient of lesson 05's classifier, $\nabla\log p(7\mid x_t)$, said how to make a 7 more probable. Nothing there needs *classes*. Take any function $F(x_t,t)$ that is large for the pictures you want, a *guidance function* (Liu et al. 2021, section 3). Add its gradient while the model removes the noise. Below is one noisy scene and the gradients of four such functions. Middle gray means "leave this pixel"; a color means "more of this color".

# %%
t, scene = 350, scenes.render(scenes.draw(1, 4), 32)
x = model.schedule.diffuse(scene, t, noise(1, 3, 32, 32, seed=8))
scores = all_four("a large blue circle", starry)
pulls = [semantic_plot.as_picture(gradient(score, x, t)) for score in scores.values()]
plots.show(
    plots.image_grid(torch.cat([scene, x, *pulls]), columns=6,
                     titles=["clean", f"at t = {t}", *(f"∇ {name}" for name in scores)]),
    "A clean scene with a red ring and a red star outline, the same scene in noise, and the "
    "gradients of the four scores as colors around gray; the four differ.",
)  # fmt: skip

# %% [markdown]
# ## 3 · The derivation
#
# ### 3.1 Any log-probability can guide
#
# In lesson 05, $y$ was a class, but the derivation never used that. For *any* information $y$:
#
# $$\nabla_{x_t}\log p(x_t\mid y)=\nabla_{x_t}\log p(x_t)+\nabla_{x_t}\underbrace{\log p(y\mid x_t)}_{F(x_t,\,t)}$$
#
# A term that does not depend on $x_t$ may be added to $F$. Semantic Diffusion Guidance (Liu et al. 2021, section 3) starts here. The paper moves the mean of each step (lesson 05's Algorithm 1). We use Algorithm 2, which shifts $\varepsilon$, so that DDIM can take few steps.
#
# We check it where everything is known: three clouds in the plane, and a blurred observation of the clean point, $y=x_0+b\,\xi$ with $\xi\sim\mathcal N(0,I)$. Within cloud $k$, $x_0$ given $x_t$ is Gaussian with mean $\mu_k(x_t)$ and variance $v_k$ (lesson 03), so
#
# $$p(y\mid x_t)=\sum_k p(k\mid x_t)\;\mathcal N\big(y;\;\mu_k(x_t),\;(v_k+b^2)I\big).$$

# %%
schedule = linear()
clouds = GaussianMixture([[-1.2, -0.6], [1.2, -0.6], [0.0, 1.1]], 0.45)  # west, east, north
unconditional, north = clouds.denoiser(schedule), 2  # the exact denoiser of all three
seen_at, blur = torch.tensor([0.7, 0.3], dtype=torch.float64), 0.6  # y, and b


def by_cloud(x, t):
    """log p(k | x_t), and log p(y | x_t, k) up to a constant, (B, 3) each."""
    noisy, alpha_bar = clouds.diffused(schedule, t), schedule.at(t, x)
    gain = alpha_bar.sqrt() * clouds.std**2 / noisy.std**2  # (3,)
    mean = clouds.means + gain[:, None] * (x[:, None] - noisy.means)  # (B, 3, 2)
    variance = clouds.std**2 * (1 - alpha_bar) / noisy.std**2 + blur**2  # (3,)
    log_y = -variance.log() - (seen_at - mean).square().sum(2) / (2 * variance)
    return noisy.log_joint(x).log_softmax(1), log_y


def log_class(x, t):  # log p(north | x_t)
    return by_cloud(x, t)[0][:, north]


def log_seen(x, t):  # log p(y | x_t), up to a constant
    return sum(by_cloud(x, t)).logsumexp(1)


# %% [markdown]
# The conditional distribution is again a mixture: each cloud becomes narrower and moves towards $y$. So we can sample from it directly, with the same noise and the same steps.

# %% tags=["nbval-check-output"]
total = clouds.std**2 + blur**2  # (3,)
center = (clouds.means * blur**2 + seen_at * clouds.std[:, None] ** 2) / total[:, None]
near = torch.exp(-(seen_at - clouds.means).square().sum(1) / (2 * total)) / total
given_y = GaussianMixture(center, (clouds.std**2 * blur**2 / total).sqrt(), near)
start, times = noise(400, 2, dtype=torch.float64), schedule.timesteps(50)
goal = final(sample(given_y.denoiser(schedule), start, times, step=ddim))
guides = {"log p(y | x_t)": log_seen, "the same + 7": lambda x, t: log_seen(x, t) + 7}
for name, score in guides.items():
    points = final(sample(ScoreGuidance(unconditional, score), start, times, step=ddim))
    print(f"{name:14} 400 final points agree with those of the conditional mixture, to 1e-6:",
          bool((points - goal).abs().max() < 1e-6))  # fmt: skip

# %% [markdown]
# **With an exact denoiser and an exact log-probability, scale 1 is exact, whatever $y$ is.**
#
# ### 3.2 What adding two scores assumes
#
# The paper adds the scores of two signals. Is $\log p(y_1\mid x_t)+\log p(y_2\mid x_t)$ the right $F$? Only if the two are independent *given the noisy $x_t$*. In general
#
# $$\log p(y_1,y_2\mid x_t)=\log p(y_1\mid x_t)+\log p(y_2\mid x_t,\,y_1),$$
#
# and the second term is conditioned on $y_1$. Take $y_1$ = "from the north" and $y_2$ = "observed near the cross". Given $x_t$ they are not independent, because both depend on the unknown $x_0$.


# %%
def both(x, t):  # log p(north, y | x_t), exactly
    return sum(by_cloud(x, t))[:, north]


def added(x, t):
    return log_class(x, t) + log_seen(x, t)


panels = {"a class: north": log_class, "near the cross": log_seen, "both, exactly": both,
          "both, added": added}  # fmt: skip
points = {}
for name, score in panels.items():
    points[name] = final(sample(ScoreGuidance(unconditional, score), start, times, step=ddim))
    mean, std = points[name].mean(0), points[name].std(0)
    print(f"{name:16} mean ({mean[0]:5.2f}, {mean[1]:4.2f})   sd ({std[0]:.2f}, {std[1]:.2f})")
exact, summed = points["both, exactly"], points["both, added"]
assert (summed.std(0) < 0.9 * exact.std(0)).all()  # smaller sd, farther from 0:
assert summed.mean(0).norm() > exact.mean(0).norm() + 0.1
plots.show(semantic_plot.guided_points(points, clouds.sample(400, seeded(9))[0], seen_at),
           "Four clouds of guided points over the data in gray: in the north; spread around the cross "
           "where y was seen; by both exactly; and by the sum of the scores, narrower and higher.")  # fmt: skip

# %% [markdown]
# The sum is near the exact answer, but its sd is smaller and its mean lies farther from the data's. Other scales than 1, and sums, are *heuristics*.
#
# ### 3.3 From a cosine to a log-probability
#
# CLIP gives a cosine, not a probability. But lesson 07 trained it as a classifier among sentences, $p(\ell\mid x)=\operatorname{softmax}_\ell\big(s\cos(x,\ell)\big)$. Its learned scale $s$ is 33 for ours, and 100, the cap, for OpenAI's. With a *list* of sentences, this is lesson 05's classifier guidance. The paper takes the cosine alone. The difference is the normalizer:
#
# $$\nabla\log p(\ell\mid x_t)=s\,\Big(\nabla\cos(x_t,\ell)-\sum_k p(k\mid x_t)\,\nabla\cos(x_t,k)\Big).$$
#
# A classifier also pushes *away* from what it finds probable now. We check the formula with sixteen sentences and the noise-aware encoder, which was trained at $s=100$ (section 6):

# %% tags=["nbval-check-output"]
sixteen = embed(*(named(color, shape) for color in ("red", "blue") for shape in scenes.SHAPES))
x = model.schedule.diffuse(starry[None], 300, noise(1, 3, 32, 32))
log_probs = lambda x, t: (FIXED_SCALE * noisy_clip.encode(x, t) @ sixteen.T).log_softmax(1)  # noqa: E731
left = gradient(lambda x, t: log_probs(x, t)[:, 4], x, 300)
pulls = torch.cat([gradient(noisy_clip.language(row[None]), x, 300) for row in sixteen])
probs = log_probs(x, 300)[0].exp()
right = FIXED_SCALE * (pulls[4] - (probs[:, None, None, None] * pulls).sum(0))
print("sentences:", len(sixteen), f"  scale of our CLIP: {clip.scale.item():.0f}   both sides agree:",
      torch.allclose(left[0], right, rtol=1e-3, atol=1e-3 * right.abs().max().item()))  # fmt: skip

# %% [markdown]
# So compare a weight on the cosine with these scales.
#
# ### 3.4 The four scores
#
# The encoder $E(x_t,t)$ has feature maps $E_j$ (one of the stem, one of each level) and gives a unit vector. Liu et al. (section 3) read four scores from it:
#
# | score | formula | what it compares |
# |---|---|---|
# | **text** | $E(x_t,t)\cdot E_L(\ell)$ | the picture and a sentence |
# | **content** | $E(x_t,t)\cdot E(x'_t,t)$ | the two pictures as a whole |
# | **structure** | $-\sum_j\lVert E_j(x_t,t)-E_j(x'_t,t)\rVert^2/(C_jH_jW_j)$ | which feature is at *which position* |
# | **style** | $-\sum_j\lVert G_j-G'_j\rVert_F^2,\quad G_j=E_jE_j^\top/(C_jH_jW_j)$ | which features *occur together*, at any place |
#
# In the image scores the reference $x'$ is **noised to the same $t$**, with fresh noise each time.
#
# The **Gram matrix** $G$ multiplies channels with channels and sums over places. So shuffled places give the same $G$ and other maps:

# %% tags=["nbval-check-output"]
with torch.no_grad():
    maps = noisy_clip.maps(starry[None], 1)
for name, own in zip(("stem", "level 1", "level 2", "level 3"), maps):
    places = torch.randperm(own[0, 0].numel(), generator=seeded())
    shuffled = own.flatten(2)[..., places].view_as(own)
    print(f"{name:8} {tuple(own.shape[1:])}   same Gram matrix: "
          f"{torch.allclose(gram(own), gram(shuffled), rtol=1e-4, atol=1e-6)}   "
          f"same maps: {torch.allclose(own, shuffled)}")  # fmt: skip

# %% [markdown]
# ### 3.5 Noise, first answer: an encoder that receives the time
#
# CLIP was trained on clean pictures, and $x_t$ is noisy. The paper adds a scale and a shift that depend on $t$ after the batch norms (time-dependent batch normalization),
#
# $$h\;\leftarrow\;h\,\big(1+\gamma(t)\big)+\beta(t),$$
#
# and trains the encoder again on noisy pictures (our section 6). One small network computes all $\gamma$ and $\beta$ from $t$. In ours, the last layers start at zero. With $1+\gamma$, training then starts from exactly CLIP's encoder, at every time:

# %% tags=["nbval-check-output"]
fresh, pictures = zoo.build("noisy-clip-scenes").eval(), scenes.render(scenes.draw(8, 1), 32)
with torch.no_grad():
    own = clip.encode_image(pictures)
    for t in (1, 500, 1000):
        equal = torch.allclose(fresh.encode(pictures, t), own, atol=1e-5)
        print(f"t = {t:4}  γ = β = 0, equal to CLIP: {equal}")
    for norm in fresh.net.modules():
        if isinstance(norm, ConditionalBatchNorm2d) and norm.modulation is not None:
            nn.init.normal_(norm.modulation.weight, std=0.02, generator=seeded())
    equal = torch.allclose(fresh.encode(pictures, 500), own, atol=1e-2)
    print(f"with random γ and β, equal: {equal}")

# %% [markdown]
# ### 3.6 Noise, second answer: apply it to $\hat x_0$
#
# The other way needs no new training. At every step the model predicts the clean picture $\hat x_0(x_t)=\mathrm E[x_0\mid x_t]$. So apply the *clean* network to that, and differentiate through the model:
#
# $$\log p(y\mid x_t)\;\approx\;\log p\big(y\mid x_0=\hat x_0(x_t)\big).$$
#
# This is diffusion posterior sampling (Chung et al. 2023) and universal guidance (Bansal et al. 2023). It ignores how uncertain $x_0$ still is. For one Gaussian it uses the variance $b^2$ where the exact score has $v+b^2$, so its gradient is larger by the factor $(v+b^2)/b^2$. On our three clouds:

# %%
show_source(of_x0)


# %%
def seen_from(x0):  # log p(y | x_0), up to a constant
    return -(seen_at - x0).square().sum(1) / (2 * blur**2)


approximate = ScoreGuidance(unconditional, of_x0(unconditional, seen_from))
about_x0 = final(sample(approximate, start, times, step=ddim))
to_y = {}
for name, cloud in (("exact", goal), ("applied to x̂0", about_x0)):
    mean, to_y[name] = cloud.mean(0), (cloud - seen_at).norm(dim=1).mean()
    print(f"{name:15} mean ({mean[0]:.2f}, {mean[1]:.2f})   distance to y {to_y[name]:.2f}")
print(f"from the exact point {(about_x0 - goal).norm(dim=1).mean():.2f}, on average")
assert to_y["applied to x̂0"] < to_y["exact"]

# %% [markdown]
# The points end too close to $y$, as the formula says.
#
# ## 4 · The real code
#
# A score is a function of `(x, t)` that gives one number for each row:

# %%
four = (NoisyCLIP.language, NoisyCLIP.content, NoisyCLIP.structure, NoisyCLIP.style)
show_source(*four, docstring=False)

# %% [markdown]
# The Gram matrix is *one for each picture*, so that no picture depends on the others in its batch:

# %%
show_source(NoisyCLIP.likeness, NoisyCLIP.noised, gram)

# %% [markdown]
# The time-dependent norm. A small network turns $t$ into `emb`, and each norm has its own linear map from `emb` to its $\gamma$ and $\beta$:

# %%
show_source(ConditionalBatchNorm2d)

# %% [markdown]
# The rest is lesson 05's `ScoreGuidance`, which takes a denoiser and gives a denoiser. A weighted sum in one wrapper equals a wrapper around a wrapper:

# %% tags=["nbval-check-output"]
x = model.schedule.diffuse(crossed[None], 400, noise(1, 3, 32, 32))
score_1, score_2 = noisy_clip.language(embed("two red stars")), noisy_clip.language(embed("a moon"))
with torch.no_grad():
    one = ScoreGuidance(model, weighted((60.0, score_1), (40.0, score_2)))(x, 400)
    two = ScoreGuidance(ScoreGuidance(model, score_1, 60.0), score_2, 40.0)(x, 400)
equal = torch.allclose(one.eps, two.eps, atol=1e-4)
print(f"a sum in one wrapper equals a wrapper in a wrapper: {equal}")

# %% [markdown]
# ## 5 · Play: the mixer
#
# The menu sets the weight of the sentence, the slider that of the picture's content. Below, type a sentence, choose another picture, and set all four weights. Questions:
#
# 1. Both weights 0, then only the sentence, then only the picture: what changes in a column, and what stays?
# 2. The sentence and the picture contradict each other. Which one do you see at equal weights?
# 3. Only style with a large weight, then only structure. Which one keeps the places?

# %%
MIX = {"text": (0, 200, 400), "content": (0, 200, 400)}  # weights on the strip
MORE = {"structure": 600.0, "style": 3000.0}  # the largest weights of the live choice


def mix(sentence, reference, weights, x):
    """States of sampling with all four scores; weights by name, (B,) each."""
    scores = all_four(sentence, reference[0])
    used = [(weight, scores[name]) for name, weight in weights.items() if weight.any()]
    score = lambda x, t: sum(weight * each(x, t) for weight, each in used)  # noqa: E731
    return guided(score if used else None, x)


sentences = ("a large blue circle", "two red stars", "a striped moon above a green square")
pictures = {"star and heart": starry, "green cross": crossed}
GuidanceMixer(mix, sentences, pictures, MIX, MORE, columns=4)

# %% [markdown]
# <details><summary>What you may have found</summary>
#
# 1. Some of a column's layout often stays: it comes from the noise (lesson 04).
# 2. On the strip, at 200 and 200, the sentence: most things are blue.
# 3. Structure: it compares maps place by place. Style sums over all places.
# </details>
#
# ## 6 · Train the encoder, without a sentence
#
# Why not apply CLIP's own encoder to $x_t$? It has only seen clean pictures. Below are a scene under growing noise and the gradients towards *"a large red circle"*: by clean CLIP applied to $x_t$ and to $\hat x_0$, and by the encoder trained on noise.

# %%
goal = embed("a large red circle")
scores = {"clean, x_t": clean_clip.language(goal), "clean, x̂0": clean_about_x0(goal),
          "noise-aware": noisy_clip.language(goal)}  # fmt: skip
moments = (20, 150, 300, 450, 600, 800)
scene, eps = scenes.render(scenes.draw(1, 21), 32), noise(1, 3, 32, 32, seed=2)
noisy = {t: model.schedule.diffuse(scene, t, eps) for t in moments}
grid = {"x_t": list(noisy.values())}
for name, score in scores.items():
    grid[name] = [semantic_plot.as_picture(gradient(score, x, t)) for t, x in noisy.items()]
plots.show(
    plots.image_grid(torch.cat(sum(grid.values(), [])), columns=6,
                     titles=[f"t = {t}" for t in moments], rows=list(grid)),
    "A scene under growing noise and three rows of gradients. Clean CLIP applied to x_t: fine "
    "speckle around one patch. Clean CLIP applied to x̂0: edges of the things at small t, patches at large t. The "
    "noise-aware encoder: patches about as large as the things.",
)  # fmt: skip

# %% [markdown]
# The first gradient is mostly speckle. Average every 4 × 4 pixels: what share of the energy is left? For independent pixels it is one sixteenth, 6 %.


# %%
def coarse(pull):
    """The share of a gradient's energy that is left when 4 x 4 pixels are averaged to one."""
    small = nn.functional.avg_pool2d(pull, 4)
    return (16 * small.square().sum() / pull.square().sum()).item()


many, kept = scenes.render(scenes.draw(32, 22), 32), {}
print("t               ", *(f"{t:5}" for t in moments))
for name, score in scores.items():
    for t in moments:
        x = model.schedule.diffuse(many, t, noise(*many.shape, seed=t))
        kept[name, t] = coarse(gradient(score, x, t))
    print(f"{name:11} left:", *(f"{kept[name, t]:5.0%}" for t in moments))
assert all(kept["noise-aware", t] > kept["clean, x_t", t] + 0.2 for t in moments)
assert all(kept["clean, x̂0", t] > kept["clean, x_t", t] + 0.1 for t in moments[2:])

# %% [markdown]
# Applied to $x_t$, clean CLIP's gradient stays fine. The noise-aware one is coarse. So is that of clean CLIP applied to $\hat x_0$, at large $t$: it has passed through the model. We think the model removes what a fine gradient adds, as noise.
#
# ### The training
#
# We want an encoder that says about $x_t$ what CLIP says about the clean $x_0$. CLIP itself gives the targets, so training needs **pictures only**. Take a picture, add noise, and ask: *which clean picture of the batch does it belong to?* This is lesson 07's loss with clean pictures in place of sentences. The scale is fixed at 100.

# %%
show_source(NoisyCLIP.loss)

# %%
BATCH, UPDATES = 64, 60


def noisy_batches(generator):
    """New scenes, and CLIP's vectors of them while they are clean. No sentence."""
    pictures = scenes.render(scenes.draw(BATCH, generator, "train"), 32)
    with torch.no_grad():
        return pictures, clip.encode_image(pictures)


trained_here = zoo.build("noisy-clip-scenes")  # starts as CLIP's own encoder
updates = train(trained_here, noisy_batches, steps=UPDATES, lr=1e-3, warmup=20, ema=0.98)
guessing = 2 * torch.log(torch.tensor(BATCH)).item()
seen = watch(updates, partial(semantic_plot.draw_loss, guessing=guessing), every=5,
             alt="The loss starts far above the dashed line, falls steeply for 30 updates, then slowly, and ends above the line.")  # fmt: skip
trained_here = seen[-1].ema
losses = semantic_plot.smoothed(torch.tensor([step.loss for step in seen]))[1]
assert seen[0].loss > 2 * guessing and losses[-1] < seen[0].loss / 2

# %% [markdown]
# The loss starts far *above* that of guessing: on noisy pictures, CLIP's encoder is too confident and often wrong. After 60 updates it is still above, as a mean over all noise levels.
#
# We take 200 scenes that were not used in training. Which of the 200 clean ones is nearest to each noisy picture? How confident is the encoder (its largest softmax probability, at the scale of its own training)? A second test uses 128 scenes of one thing, and 64 sentences of a color and a shape. Which sentence is nearest?


# %%
def own_scale(encoder):
    """The scale of the cosines at which an encoder was trained."""
    return clip.scale.item() if encoder is clean_clip else FIXED_SCALE


@torch.no_grad()
def matched(encoder, pictures, t):
    """Share of noisy pictures whose own clean one is nearest, and the mean confidence."""
    x = noisy_clip.schedule.diffuse(pictures, t, noise(*pictures.shape, seed=t))
    match = encoder.encode(x, t) @ clip.encode_image(pictures).T  # (N, N)
    right = (match.argmax(1) == torch.arange(len(match))).float().mean().item()
    return right, (own_scale(encoder) * match).softmax(1).amax(1).mean().item()


# %%
texts = [named(color, shape) for color in scenes.COLORS for shape in scenes.SHAPES]  # all 64
choices, sizes = embed(*texts), {"large": (0.45, 0.28), "small": (0.55, 0.15)}
single = [Scene([Object(shape, color, size, "plain", x=x, y=x, radius=radius)], "sky")
          for size, (x, radius) in sizes.items()
          for color in scenes.COLORS for shape in scenes.SHAPES]  # fmt: skip
singles, named_as = scenes.render(scenes.tensors(single), 32), torch.arange(64).repeat(2)


@torch.no_grad()
def read_by(encoder, t):
    """Of the 128 scenes of one thing: share with the right color, and with the right shape."""
    x = noisy_clip.schedule.diffuse(singles, t, noise(*singles.shape, seed=t)) if t > 1 else singles
    best = (encoder.encode(x, t) @ choices.T).argmax(1)  # of the 64 sentences
    color, shape = best // 8 == named_as // 8, best % 8 == named_as % 8
    return color.float().mean().item(), shape.float().mean().item()


# %%
test = scenes.render(scenes.draw(200, 99, "all"), 32)
encoders = {"clean CLIP": clean_clip, "trained here": trained_here, "shipped": noisy_clip}
levels = (1, 100, 200, 400, 600, 1000)
found = {(name, t): (*matched(encoder, test, t), *read_by(encoder, t))
         for name, encoder in encoders.items() for t in levels}  # fmt: skip
panels = {"picture matched": 0, "confidence in it": 1, "shape, by the sentences": 3}
figure = semantic_plot.over_time(
    {panel: {name: [(t, found[name, t][k]) for t in levels] for name in encoders}
     for panel, k in panels.items()}, "share, or probability")  # fmt: skip
plots.show(figure, "Three panels against the time. Share of pictures matched: clean CLIP falls steeply, "
           "the shipped encoder stays near 1 up to t = 400. Confidence: clean CLIP's falls much more "
           "slowly. Share of shapes read: clean CLIP begins at 1, the shipped one near 0.6.")  # fmt: skip
for name in encoders:
    for t in (1, 100, 400):
        print(f"{name:13} t = {t:3}: matched {found[name, t][0]:4.0%}, confidence {found[name, t][1]:4.0%}"
              f"; by the sentences: color {found[name, t][2]:4.0%}, shape {found[name, t][3]:4.0%}")  # fmt: skip
right, confidence = found["clean CLIP", 400][:2]
assert right < 0.1 and confidence > 0.3 and found["shipped", 400][0] > 0.9
assert found["trained here", 400][0] < found["shipped", 400][0] - 0.3
assert found["shipped", 1][2] > 0.9 and found["shipped", 1][3] < found["clean CLIP", 1][3] - 0.2

# %% [markdown]
# At $t=100$, where you still see everything, clean CLIP matches only a third of the pictures. Its confidence falls too, **but far too slowly**: at $t=400$ it is 41 %, and 3 % are right. The shipped encoder matches nearly every picture up to $t=400$, and its confidence stays close to its share of right answers. Our own matches far fewer (60 updates against 1,500).
#
# **Matching pictures does not keep all that the sentences need.** On clean pictures, clean CLIP and the shipped encoder name every color. Of the shapes clean CLIP names all, and the shipped encoder 55 %.
#
# ### The guide's probability rises, the picture does not improve
#
# We guide with both encoders, applied to $x_t$: same noises, sentences and weight, and no new noise in the steps ($\eta=0$). On the way, each encoder says how probable it finds the sentence, among all 64. To test *where* it sees it, we also take the model's guess $\hat x_0$: in fresh noise, and as it is (by clean CLIP).

# %%
pairs = [("red", "circle"), ("blue", "star"), ("green", "square"), ("purple", "heart"),
         ("orange", "triangle"), ("pink", "moon")]  # fmt: skip
target = torch.tensor([8 * scenes.COLORS.index(c) + scenes.SHAPES.index(s) for c, s in pairs] * 2)


@torch.no_grad()
def probability(encoder, pictures, t):
    """How probable an encoder finds each picture's sentence among all 64; the mean."""
    probs = (own_scale(encoder) * encoder.encode(pictures, t) @ choices.T).softmax(1)
    return probs.gather(1, target[:, None]).mean().item()


def track(encoder, x, weight=200.0):
    """(t, probability) along guided sampling by DDIM: of x_t, and of its guess in two other ways."""
    own, renewed, guessed = [], [], []
    for state in guided(encoder.language(choices[target]), x, weight, step=ddim):
        own.append((state.t, probability(encoder, state.x, max(state.t, 1))))
        if state.t:
            with torch.no_grad():
                guess = model(state.x, state.t).x0.clamp(-1, 1)
            again = model.schedule.diffuse(guess, state.t, noise(*x.shape, seed=state.t))
            renewed.append((state.t, probability(encoder, again, state.t)))
            guessed.append((state.t, probability(clean_clip, guess, 1)))
    return {"x_t": own, "x̂0 in fresh noise": renewed, "x̂0, by clean CLIP": guessed}


# %%
x = noise(len(target), 3, 32, 32, seed=6)
curves = {name: track(encoder, x)
          for name, encoder in (("clean CLIP", clean_clip), ("noise-aware", noisy_clip))}  # fmt: skip
plots.show(semantic_plot.over_time(curves, "probability of the sentence", noisy_first=True),
           "The mean probability of the sentence while noise is removed, guided by two encoders. Clean "
           "CLIP: for x_t it rises to a peak in the middle and falls; for the guess it stays low. "
           "Noise-aware: for x_t, and for the guess by clean CLIP, it rises early, to about 0.2; in fresh noise later.")  # fmt: skip
peak_t, peak = max(curves["clean CLIP"]["x_t"], key=lambda point: point[1])
at_peak = {name: dict(curve)[peak_t] for name, curve in curves["clean CLIP"].items()}
print(f"clean CLIP guides, {len(target)} pictures, t = {peak_t}:",
      *(f"{name} {value:.0%};" for name, value in at_peak.items()),
      f"the final pictures {curves['clean CLIP']['x_t'][-1][1]:.0%}")  # fmt: skip

# %%
showing = singles[target]  # scenes that show the sentences
in_noise = model.schedule.diffuse(showing, peak_t, noise(*showing.shape, seed=5))
control = probability(clean_clip, showing, 1), probability(clean_clip, in_noise, peak_t)
print(f"scenes that show the sentences: {control[0]:.0%}; at t = {peak_t} {control[1]:.0%}")
for name in curves:
    print(f"{name:12} x_t, x̂0 in fresh noise:", *(
        f"  t = {t}: {dict(curves[name]['x_t'])[t]:.0%}, {value:.0%}"
        for t, value in curves[name]["x̂0 in fresh noise"][2::4]))  # fmt: skip
assert peak > 0.3 and curves["clean CLIP"]["x_t"][-1][1] < peak / 2
assert at_peak["x̂0, by clean CLIP"] < peak / 5 and control[1] < peak / 5 and control[0] > 0.9
own, renewed = (curves["noise-aware"][name] for name in ("x_t", "x̂0 in fresh noise"))
assert renewed[2][1] < own[2][1] / 2 and renewed[10][1] > 0.7 * own[10][1]

# %% [markdown]
# In the middle of sampling, clean CLIP gives the sentence that guides, one of 64, a probability of 57 %. In the final pictures 5 % is left.
#
# Where did it see the sentence? Not in the guess: there the same CLIP gives it 4 %; scenes that do show it get 96 %. In fresh noise even those scenes get only 2 %. So clean CLIP saw the sentence *in this noise*: its own gradient put it there, and the model removed it. Such inputs are called **adversarial examples**. *Never measure with the network that guides.* (For the noise-aware encoder, fresh noise takes away most at $t=786$, but little at $t=215$.)
#
# ## 7 · Measure: the match, the diversity and the weight
#
# The paper claims: a larger scale raises the match and lowers diversity, and the noise-aware encoder guides better than the clean one. We add clean CLIP applied to $\hat x_0$, and *both*: its score plus that of the noise-aware encoder. The simplest alternative is to sample *without* guidance, and let clean CLIP choose for each sentence the best two of all 40 pictures. It can also choose two of the four guided ones made for a sentence.
#
# Ten sentences, two noises each, two seeds: 40 pictures a row, and 40 real ones that show the sentences. The reader measures:
#
# - **shape**, **color**: the share of pictures that show this part of their sentence;
# - **valid**: the share of pictures that look like *some* scene of this world, up to small differences;
# - **diversity**: half the mean squared distance of two pictures *of the same sentence* in the reader's feature maps (0: all alike).

# %%
SENTENCES = ["a red circle", "a blue star", "a green square", "a yellow heart", "a purple triangle",
             "a pink moon", "an orange cross", "a brown diamond", "two blue circles",
             "a large green star"]  # fmt: skip
EACH, SEEDS = 2, 2
captions = [sentence for sentence in SENTENCES for _ in range(EACH)]
vectors = embed(*captions)
aware, about = noisy_clip.language(vectors), clean_about_x0(vectors)
METHODS = {  # score, weight
    "not guided": (None, 0),
    "noise-aware, 100": (aware, 100),
    "noise-aware, 200": (aware, 200),
    "noise-aware, 400": (aware, 400),
    "clean, x_t, 100": (clean_clip.language(vectors), 100),
    "clean, x̂0, 50": (about, 50),
    "both, 200 + 50": (weighted((200, aware), (50, about)), 1),
}
COLUMNS = ("shape", "color", "valid", "diversity")


# %%
def shows(seen, kind):
    """1 where a picture shows this part of its caption, else 0, (N,)."""
    rows = shown_parts(seen, captions)
    return torch.tensor([float(next(p.shown for p in row if p.kind == kind)) for row in rows])


def measured(pictures):
    """The four columns of each sentence, (10, 4)."""
    seen, groups = reader.read(pictures), pictures.unflatten(0, (len(SENTENCES), EACH))
    shares = [shows(seen, "shape"), shows(seen, "color"), valid(seen, pictures).float()]
    diversity = torch.tensor([float(spread(reader, group)) for group in groups])
    return torch.stack([*(each.view(-1, EACH).mean(1) for each in shares), diversity], 1)


# %%
table, made, seconds = {}, {}, {}
for name, (score, weight) in METHODS.items():
    began = time.process_time()
    made[name] = [
        final(
            guided(score, noise(len(captions), 3, 32, 32, seed=100 + seed), weight, seed=seed)
        ).clamp(-1, 1)
        for seed in range(SEEDS)
    ]
    table[name] = torch.stack([measured(pictures) for pictures in made[name]]).mean(0)
    seconds[name] = time.process_time() - began


# %%
asked, own = embed(*SENTENCES), torch.arange(len(SENTENCES)).repeat_interleave(EACH).repeat(SEEDS)


@torch.no_grad()
def ranked(pictures, own=None):
    """For each sentence the two pictures, of all or of its own, that clean CLIP finds best."""
    cosines = asked @ clip.encode_image(pictures).T  # (10, N)
    if own is not None:
        cosines[own != torch.arange(len(asked))[:, None]] = -1  # made for another sentence
    return pictures[cosines.topk(EACH).indices.flatten()]


def real(sentence, number):
    """Real pictures that show the sentence, (number, 3, 32, 32)."""
    found, generator = [], seeded(8)
    while len(found) < number:
        some = scenes.draw(500, generator)
        rows = shown_parts(some, [sentence] * 500)
        fits = torch.tensor([all(part.shown for part in row) for row in rows])
        found.extend(scenes.render(some.take(fits), 32) if fits.any() else [])
    return torch.stack(found[:number])


# %%
guided_best, best, actual = "both, best 2 of 4", "not guided, best 2", "real pictures"
made[guided_best] = [ranked(torch.cat(made["both, 200 + 50"]), own)]
made[best] = [ranked(torch.cat(made["not guided"]))]  # of 40 pictures, the same for all sentences
pictures = torch.stack([real(sentence, EACH * SEEDS) for sentence in SENTENCES])
made[actual] = [each.flatten(0, 1) for each in pictures.split(EACH, dim=1)]
for name in (guided_best, best, actual):
    table[name] = torch.stack([measured(each) for each in made[name]]).mean(0)

# %%
print(" " * 20, *(f"{column:13}" for column in COLUMNS))
for name, each in table.items():
    error = each.std(0) / len(each) ** 0.5
    print(f"{name:20}", *(f"{m:.2f} ± {e:.2f}  " for m, e in zip(each.mean(0), error)))
print(f"N = {len(own)} (best 2: {len(captions)}), {STEPS} steps, {SEEDS} seeds; ± by sentence")
taken = {name: seconds[name] for name in ("noise-aware, 100", "clean, x̂0, 50")}
print("processor time:", *(f" {name}: {each:.0f} s" for name, each in taken.items()))


# %%
def gap(a, b, column):
    """Method a minus method b, sentence by sentence; with its standard error."""
    each = (table[a] - table[b])[:, COLUMNS.index(column)]
    return each.mean().item(), each.std().item() / len(each) ** 0.5


free, aware_1, aware_4 = "not guided", "noise-aware, 100", "noise-aware, 400"
about_xt, about_x0, mixed = "clean, x_t, 100", "clean, x̂0, 50", "both, 200 + 50"
aware_2 = "noise-aware, 200"  # at its weight in the sum
PAIRS = {  # a, b, column: what the text below says of a − b
    (aware_1, free, "color"): 0.70, (aware_1, free, "shape"): 0.17,
    (aware_1, about_xt, "color"): 0.38, (aware_1, about_xt, "shape"): 0.08,
    (about_x0, free, "color"): 0.57, (about_x0, free, "shape"): 0.38,
    (about_x0, aware_1, "color"): -0.12, (about_x0, aware_1, "shape"): 0.20,
    (mixed, about_x0, "color"): 0.12, (mixed, about_x0, "shape"): -0.03,
    (mixed, aware_2, "color"): -0.08, (mixed, aware_2, "shape"): 0.25,
    (aware_4, aware_1, "color"): 0.08, (aware_4, aware_1, "shape"): 0.05,
    (aware_4, free, "valid"): -0.32, (aware_4, free, "diversity"): -0.28,
    (aware_4, actual, "diversity"): -0.25, (best, mixed, "valid"): 0.25,
    (guided_best, best, "color"): 0.40, (guided_best, best, "shape"): 0.15,
    (mixed, best, "color"): 0.28, (mixed, best, "shape"): 0.00,
}  # fmt: skip
gaps = {pair: gap(*pair) for pair in PAIRS}
for (a, b, column), (mean, error) in gaps.items():
    print(f"{column:9}  {a} − {b}:  {mean:5.2f} ± {error:.2f}")

# %%
assert all(abs(gaps[pair][0] - stated) < 0.1 for pair, stated in PAIRS.items())
pairs = list(PAIRS)
effects = [gaps[pairs[k]] for k in (0, 2, 4, 5, 14, 15, 16, 17, 18)]  # called so in the text
assert all(abs(mean) > 2 * error for mean, error in effects)
assert all(0.5 < table[name][:, 2].mean() < 0.85 for name in METHODS if name != free)
assert 1.5 < taken[about_x0] / taken[aware_1] < 4

# %%
plots.show(
    plots.image_grid(torch.cat([each[0][: 5 * EACH : EACH] for each in made.values()]), columns=5,
                     titles=[text.split(" ", 1)[1] for text in SENTENCES[:5]], rows=list(made)),
    "Ten rows of five scenes, the first of each sentence. Not guided: unrelated to the sentences. "
    "Guided: most colors are right, and some shapes; some things have a core of another color. Both, "
    "best 2 of 4: a red circle, a blue moon, a green square, a yellow heart, a purple triangle. Not "
    "guided, best 2: small things, a red ring, a blue star, a green heart, a yellow square, a pink "
    "triangle. Real pictures: they show the sentences, each beside another thing.",
)  # fmt: skip

# %% [markdown]
# (Above: the first picture of five sentences; in the rows “best 2”, the best one; one real picture fits two of them. ± is the standard error over the ten sentences; guided rows have the same noises.)
#
# **A sentence guides a model that takes no text.** The noise-aware encoder raises the share of right colors from 12 % to 82 %. The share of right shapes rises far less, by about two standard errors (0.17 ± 0.08). We think section 6 shows a reason: by the sentences, this encoder reads only 55 % of the shapes even on clean pictures. Compared with clean CLIP applied to $x_t$ it shows more colors (0.38 ± 0.08), as the paper says, and not measurably more shapes (0.08 ± 0.09).
#
# **Clean CLIP applied to $\hat x_0$** needs no training of an encoder, and raises both: colors by 0.57 ± 0.13, shapes by 0.38 ± 0.10. Part of this may come from the model, whose training used clean CLIP's features. Against the noise-aware encoder, neither part is decided (colors −0.12 ± 0.10, shapes 0.20 ± 0.13). It needs two to three times the processor time: one more pass and a backward pass through the model in each step.
#
# **Both together** show more shapes than the noise-aware encoder alone at the same weight, 200 (0.25 ± 0.11). They show more colors than clean CLIP alone (0.12 ± 0.06). Both differences are about two standard errors. Against the first we measure no difference in colors (−0.08 ± 0.08), against the second none in shapes (−0.03 ± 0.11). With 25 steps and twelve other sentences the sum is not measurably better than clean CLIP alone (`benchmarks/results.md`).
#
# **The weight.** From 100 to 400, the noise-aware encoder's colors and shapes rise by less than two standard errors (0.08 ± 0.08 and 0.05 ± 0.05). So here we cannot confirm that a larger scale raises the match.
#
# **The price.** Against no guidance, weight 400 lowers the diversity by 0.28 ± 0.05, and the share of valid scenes by 0.32 ± 0.09. *Real* pictures of the same sentences differ more than these, by 0.25 ± 0.05. So more is lost than what the sentence itself fixes.
#
# **The simple alternative.** Ranking needs no gradient. Of the ranked unguided pictures more are valid than of those guided by both (0.25 ± 0.08). In shapes we measure no difference (0.00 ± 0.15). In colors, guidance is ahead by less than two standard errors (0.28 ± 0.15). Ranking guided ones instead shows more colors (0.40 ± 0.15), and not measurably more shapes (0.15 ± 0.17).
#
# **What is wrong with the pictures.** Many guided things have a core of another color. No guided row above shows the blue star. Without guidance nearly all pictures are valid scenes, with it 60 to 75 %.
#
# ## 8 · Break it
#
# **The wrong time.** A sampler with 15 steps counts 0 … 15. The encoder wants the model's own time, 0 … 1000. If you pass the *number of the step*, nothing raises an error. First the encoder itself, as in section 6:


# %%
def step_number(t):
    return max(1, round(STEPS * t / 1000))


test = scenes.render(scenes.draw(200, 99, "all"), 32)
with torch.no_grad():
    targets = clip.encode_image(test)
    for t in (200, 500):
        x, right = noisy_clip.schedule.diffuse(test, t, noise(*test.shape, seed=t)), {}
        for given in (t, step_number(t)):
            nearest = (noisy_clip.encode(x, given) @ targets.T).argmax(1)
            right[given] = (nearest == torch.arange(len(test))).float().mean().item()
            print(f"x_t at t = {t}, encoder given t = {given:3}: right {right[given]:4.0%}")
        assert right[step_number(t)] < right[t] - 0.05


# %% [markdown]
# Now the pictures, by the content score: right, with the step's number for the time, and with a reference that stays clean (time 1). Six noises for each of two references, two seeds. The similarity with the reference is measured by CLIP's cosine, and by that of the reader's first feature maps, place by place.


# %%
def content_at(reference, given, seed, clean_reference=False):
    """The content score of an encoder that is given the time given(t)."""
    generator = seeded(seed)

    @torch.no_grad()
    def other(x, t):
        if clean_reference:
            return noisy_clip.encode(reference, 1)
        eps = torch.randn(x.shape, generator=generator)
        return noisy_clip.encode(noisy_clip.schedule.diffuse(reference, t, eps), given(t))

    return lambda x, t: (noisy_clip.encode(x, given(t)) * other(x, t)).sum(1)


# %%
each_reference = torch.stack([starry, crossed]).repeat_interleave(6, 0)  # (12, 3, 32, 32)


@torch.no_grad()
def similarity(pictures):
    """To the reference: CLIP's cosine, that of the reader's maps; and 1 for valid scenes; (3, N)."""
    in_clip = (clip.encode_image(pictures) * clip.encode_image(each_reference)).sum(1)
    a, b = (
        nn.functional.normalize(reader.first(each), dim=1) for each in (pictures, each_reference)
    )
    whole = valid(reader.read(pictures), pictures).float()
    return torch.stack([in_clip, (a * b).sum(1).mean((1, 2)), whole])


# %%
near, shown = {}, {}
for seed in (12, 13):
    scores = {
        "not guided": None,
        "right": content_at(each_reference, int, seed + 100),
        "step for time": content_at(each_reference, lambda t: step_number(int(t)), seed + 100),
        "clean reference": content_at(each_reference, int, seed + 100, clean_reference=True),
    }
    for name, score in scores.items():
        x = noise(len(each_reference), 3, 32, 32, seed=seed)
        pictures = final(guided(score, x, CONTENT, seed=seed)).clamp(-1, 1)
        row = torch.cat([starry[None], pictures[:3], crossed[None], pictures[6:9]])
        shown.setdefault(name, row)
        near.setdefault(name, []).append(similarity(pictures))

# %%
less = {}
for name, values in near.items():
    more = torch.cat(values, 1) - torch.cat(near["right"], 1)  # (3, 24)
    mean, error = more.mean(1), more.std(1) / more.shape[1] ** 0.5
    less[name] = mean / error.clamp(min=1e-9)  # in standard errors
    print(f"{name:15} minus right, {more.shape[1]} pairs:", *(
        f" {kind} {m:5.2f} ± {e:.2f}"
        for kind, m, e in zip(("CLIP", "the reader's maps", "valid"), mean, error)))  # fmt: skip
plots.show(plots.image_grid(torch.cat(list(shown.values())), columns=8, rows=list(shown),
                            titles=["reference", "", "", "", "reference", "", "", ""]),
           "Four rows of scenes beside their references, a star with a heart and a cross: not "
           "guided, guided right, with the step for the time, with a clean reference. No row copies "
           "the references. Right: their backgrounds in most. Step for time: other ones. Clean "
           "reference: red and brown discs with a core of another color in most.")  # fmt: skip
assert (less["not guided"][:2] < -2).all() and (less["step for time"][:2] < -2).all()
assert less["clean reference"][2] < -2

# %% [markdown]
# (± is the standard error of 24 differences, each on the same noise.) Given time 8 at $t=500$, the encoder is right in 1 % instead of 81 %. In the pictures, the wrong *time* lowers CLIP's cosine (by 0.13 ± 0.05) and the reader's similarity (by 0.19 ± 0.03).
#
# With the *clean reference* the pictures are not measurably nearer to the reference (0.09 ± 0.05 and 0.03 ± 0.04). But fewer of them are valid scenes (by 0.25 ± 0.11): most above show a red or brown disc with a core of another color. The right way does not copy the references either: above it brings most backgrounds, but not their star or cross.
#
# ## 9 · Exercises
#
# Write into the stub and run the cell. The check draws new random inputs and names the usual mistakes. A hint is folded under each stub, a solution in the next cell (click its three dots).
#
# ### 9.1 A norm that depends on the time &nbsp; ● 5 minutes
#
# `h` `(B, C, H, W)` is the output of a batch norm. `gamma` and `beta` `(B, C)` come from the time, one for each picture and channel. Return $h\,(1+\gamma)+\beta$.


# %%
def time_norm(h, gamma, beta):
    """h (1 + γ) + β, (B, C, H, W)."""
    ...


checks.time_norm(time_norm)

# %% [markdown]
# <details><summary>Hint</summary><code>gamma[:, :, None, None]</code> is (B, C, 1, 1) and broadcasts over all pixels.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def time_norm_solution(h, gamma, beta):
    return h * (1 + gamma[:, :, None, None]) + beta[:, :, None, None]


checks.time_norm(time_norm_solution).require()

# %% [markdown]
# ### 9.2 From a score to eps &nbsp; ●● 15 minutes
#
# `eps` is the model's prediction at `x` and `t`; `score(x, t)` gives `(B,)`; `alpha_bar` is the number $\bar\alpha_t$. Return the guided $\hat\varepsilon=\varepsilon-s\sqrt{1-\bar\alpha_t}\,\nabla_xF(x,t)$. Each row's gradient must be its own.


# %%
def guided_eps(eps, x, t, score, scale, alpha_bar):
    """The guided eps, (B, C, H, W)."""
    ...


checks.guided_eps(guided_eps)

# %% [markdown]
# <details><summary>Hint</summary>Samplers run under <code>no_grad</code>, so begin with <code>with torch.enable_grad():</code>. In it <code>x = x.detach().requires_grad_(True)</code>, then <code>torch.autograd.grad(score(x, t).sum(), x)[0]</code>. Sum, not mean: why?</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def guided_eps_solution(eps, x, t, score, scale, alpha_bar):
    with torch.enable_grad():  # samplers run under no_grad
        x = x.detach().requires_grad_(True)
        (grad,) = torch.autograd.grad(score(x, t).sum(), x)
    return eps - scale * (1 - alpha_bar) ** 0.5 * grad


checks.guided_eps(guided_eps_solution).require()

# %% [markdown]
# ### 9.3 The same noise level for both &nbsp; ●● 15 minutes
#
# The content score of the paper. `encode(x, t)` gives unit vectors `(B, D)`; `x` `(B, C, H, W)` is at time `t`; `reference` `(1, C, H, W)` is clean, and `eps` `(B, C, H, W)` is the noise for it. Return the cosine of each row with the noised reference, `(B,)`.


# %%
def content_score(encode, schedule, x, t, reference, eps):
    """cos(E(x_t, t), E(x'_t, t)), (B,)."""
    ...


checks.content_score(content_score)

# %% [markdown]
# <details><summary>Hint</summary><code>schedule.diffuse(clean, t, eps)</code> jumps to time t; <code>reference.expand_as(x)</code> gives every row its copy. Both pictures go through the encoder with the same t.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def content_score_solution(encode, schedule, x, t, reference, eps):
    noised = schedule.diffuse(reference.expand_as(x), t, eps)
    return (encode(x, t) * encode(noised, t)).sum(1)


checks.content_score(content_score_solution).require()

# %% [markdown]
# ### 9.4 Which features occur together &nbsp; ●● 10 minutes
#
# The Gram matrices of feature maps `(B, C, H, W)`: $G=FF^\top/(CHW)$, one for each picture, `(B, C, C)`.


# %%
def gram_matrix(maps):
    """F Fᵀ / (C H W), (B, C, C)."""
    ...


checks.gram_matrix(gram_matrix)

# %% [markdown]
# <details><summary>Hint</summary><code>rows = maps.flatten(2)</code> is (B, C, H·W); <code>rows.mT</code> transposes the last two dimensions.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def gram_matrix_solution(maps):
    rows = maps.flatten(2)
    return rows @ rows.mT / maps[0].numel()


checks.gram_matrix(gram_matrix_solution).require()

# %% [markdown]
# ### 9.5 Several scores, one of them unwanted &nbsp; ● 5 minutes
#
# `scores` is a list of functions of `(x, t)`, `weights` a list of numbers, some of them negative. Return the weighted sum, `(B,)`. The cell after the solution shows *a large circle, and not a blue thing*. How much blue is left?


# %%
def weighted_score(scores, weights, x, t):
    """Σ weight · score(x, t), (B,)."""
    ...


checks.weighted_score(weighted_score)

# %% [markdown]
# <details><summary>Hint</summary><code>zip(scores, weights)</code>. A negative weight needs no special case: it pushes away.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def weighted_score_solution(scores, weights, x, t):
    return sum(weight * score(x, t) for score, weight in zip(scores, weights))


checks.weighted_score(weighted_score_solution).require()

# %%
x, rows = noise(8, 3, 32, 32, seed=14), {}
terms = [noisy_clip.language(embed(text)) for text in ("a large circle", "a blue shape")]
for name, weights in (("a large circle", (TEXT, 0)), ("… not a blue shape", (TEXT, -TEXT / 2))):
    score = lambda x, t, weights=weights: weighted_score_solution(terms, weights, x, t)  # noqa: E731
    rows[name] = final(guided(score, x))
plots.show(plots.image_grid(torch.cat(list(rows.values())), columns=8, rows=list(rows)),
           "Eight scenes guided to a large circle: half are round, and four have blue; below, the same "
           "noises with blue shapes unwanted: hardly any blue is left.")  # fmt: skip

# %% [markdown]
# ### 9.6 CLIP as a classifier &nbsp; ●●● 30 minutes
#
# Section 3.3 in code. `images` `(B, D)` are unit vectors of noisy pictures, `sentences` `(K, D)` of all sentences in the list; `labels` `(B,)` is the index of each row's target sentence. Return $\log p(\ell\mid x_t)$, `(B,)`, with the scale of 100 at which this encoder was trained. The cell after the solution guides by it, beside the cosine of the same weight.


# %%
def class_score(images, sentences, labels):
    """log softmax of 100 cos over the sentences, at each row's own label, (B,)."""
    ...


checks.class_score(class_score)

# %% [markdown]
# <details><summary>Hint</summary>The logits are <code>100 * images @ sentences.T</code>; then <code>log_softmax(1)</code>, and <code>gather(1, labels[:, None])</code> picks one in each row.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def class_score_solution(images, sentences, labels):
    log_probs = (100 * images @ sentences.T).log_softmax(1)
    return log_probs.gather(1, labels[:, None])[:, 0]


checks.class_score(class_score_solution).require()

# %%
texts = [named(color, shape) for color in scenes.COLORS for shape in scenes.SHAPES]  # all 64
list_of, labels = embed(*texts), torch.tensor([4, 12, 27, 33, 45, 55])
x, encode = noise(6, 3, 32, 32, seed=15), noisy_clip.encode
scores = {
    "cosine": lambda x, t: TEXT * (encode(x, t) * list_of[labels]).sum(1),
    "classifier": lambda x, t: TEXT / 100 * class_score_solution(encode(x, t), list_of, labels),
}
rows = {name: final(guided(score, x)) for name, score in scores.items()}
plots.show(
    plots.image_grid(torch.cat(list(rows.values())), columns=6,
                     titles=[texts[k].split(" ", 1)[1] for k in labels], rows=list(rows)),
    "Six scenes guided by the cosine with their sentence, and below, from the same noises, six guided "
    "by CLIP as a classifier. Most colors are right in both rows; the shape is right in two of six "
    "above, in three below.",
)  # fmt: skip

# %% [markdown]
# ## 10 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "The classifier of lesson 05 is replaced by a network that computes log p(y | x_t), where y is a melody that fits the picture. What changes in the derivation?",
    {
        "Nothing": "Bayes' rule does not ask what y is. With an exact log-probability, scale 1 samples p(x | melody).",
        "The model must be trained with melodies": "The model only has to describe p(x_t). That is the point of guidance by a score.",
        "The gradient must be taken with respect to the melody": "We change the picture, so the gradient is with respect to x_t.",
    },
    answer="Nothing",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Clean CLIP guides, applied to x_t. The probability that it gives to the sentence rises high in the middle of sampling, and the final picture does not show the sentence. Why?",
    {
        "A cosine is a bad score": "The same cosine works better when the encoder was trained on noise, or is applied to x̂0.",
        "Its gradient makes noise that only it reads as the sentence": "An adversarial example: the same CLIP, applied to the guess x̂0 at that step, finds the sentence hardly at all. So do not measure with the network that guides.",
        "The weight is too small": "The probability rose, so the weight was large enough to change x_t. What changed was the noise.",
    },
    answer="Its gradient makes noise that only it reads as the sentence",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You have a classifier of clean pictures and cannot train it again. How can it guide?",
    {
        "Not at all: a guide must be trained on noise": "Only a network that is applied to x_t must be trained on noise.",
        "Apply it to the model's x̂0, and differentiate through the model": "The network then sees something near a clean picture. It costs a second pass and a backward pass through the model in every step.",
        "Apply it to x_t with a larger weight": "A larger weight makes more of the same gradient, which is mostly fine.",
    },
    answer="Apply it to the model's x̂0, and differentiate through the model",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You want the stripes and colors of a photograph, but your own arrangement. Which score?",
    {
        "structure": "It compares maps place by place, so it copies the arrangement.",
        "style": "A Gram matrix sums over places: it keeps which features occur together and not where.",
        "content": "It compares the pictures as a whole, not only their texture.",
    },
    answer="style",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "In guidance code of your own, without labkit's checks, a score returns scores.mean() instead of one number per row. What do you see?",
    {
        "An error: the shapes do not match": "A mean is a number and has a gradient. (labkit checks this and refuses it. Your code runs on, and looks right.)",
        "The gradient is B times smaller, so results depend on the batch size": "The gradient of a mean is the B-th part of each row's own gradient.",
        "The pictures become alike": "A mean of separate terms still moves each row by its own term.",
    },
    answer="The gradient is B times smaller, so results depend on the batch size",
)

# %% [markdown]
# ## 11 · Recap
#
# - **Any differentiable score can guide.** With an exact $\log p(y\mid x_t)$ and an exact model, scale 1 samples $p(x\mid y)$. A cosine, another weight or a sum is a heuristic: measure it.
# - **Four scores of one encoder**: its vector for text and content, its maps for structure, their Gram matrices for style.
# - **An encoder that is applied to $x_t$ should be trained on noise.** This needs no captions, but here it kept the colors and lost almost half of the shapes. Or apply the clean encoder to $\hat x_0$: no training of an encoder, more time in each step.
# - **Give the encoder the model's own time.**
# - **Guidance shows more of the sentence; a large weight lowers diversity.** Measure with a separate network, and beside ranking.
#
# **What the next lesson fixes.** Here the sentence only pushes from outside, with a backward pass in every step. Lesson 09 puts the text *into* the model (GLIDE).
#
# **References**
# - Liu et al., *More Control for Free!*, WACV 2023. Section 3.
# - Chung et al., ICLR 2023 (diffusion posterior sampling); Bansal et al., CVPR workshops 2023 (universal guidance).
# - Gatys et al., CVPR 2016 (Gram matrices as style); Johnson et al., ECCV 2016 (perceptual losses).
