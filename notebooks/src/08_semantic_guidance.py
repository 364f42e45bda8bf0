# %% [markdown]
# # 08 · Semantic guidance: whatever can be scored can steer
#
# **The question.** Here is a painter that learned from pictures alone: nobody ever told it a word. Here is lesson 07's CLIP, which knows which sentence
# fits which picture, and cannot paint at all. Can a *sentence* steer that painter, with neither of the two trained for it? And if a sentence can, what about another picture: what is in it, where it is, its style?
#
# **Afterwards you can**
# - turn any differentiable opinion about pictures into guidance, and say which opinions give the exact conditional law and which are a push;
# - write the four scores of Semantic Diffusion Guidance (text, content, structure, style), mix them, and say what mixing assumes;
# - teach CLIP to see through noise without a single sentence, and show by gradients why it has to learn that;
# - measure what a scale buys in the caption and costs in diversity, with a judge that did not steer.
#
# **Before:** lesson 05 (Bayes on scores, Algorithm 2), lesson 07 (CLIP's space).
#
# **Time:** about 50 minutes to read and play, plus 80 for all exercises; about 75 seconds to run on two cores.
#
# **On the map:** 06 classifier-free guidance → 07 CLIP → **08 semantic guidance** → 09 GLIDE (the words go into the painter itself).

# %%
from functools import cache, partial

import torch
from torch import nn

from labkit import scenes, zoo
from labkit.denoiser import MapX0
from labkit.denoiser import clip as clip_x0
from labkit.guidance import ScoreGuidance, gradient
from labkit.lab import checks, plots, quiz, show_source
from labkit.lab.widgets import watch
from labkit.lab.widgets.guidance_mixer import GuidanceMixer
from labkit.mixture import GaussianMixture
from labkit.nets.resnet import ConditionalBatchNorm2d
from labkit.sampler import ddim, sample
from labkit.scenes import Object, Scene
from labkit.scenes.scores import caption_accuracy, spread, valid
from labkit.schedule import linear
from labkit.systems.sdg import FIXED_SCALE, NoisyCLIP, gram, weighted
from labkit.train import train

torch.manual_seed(0)
plots.use_style()

# %% [markdown]
# What the whole lesson uses. Note who is who: the **painter** never heard a word, the **guide** steers, and the **reader**, a third network, looks at finished pictures and
# says what is in them. It never steers. After a restart, run these five cells, and then any section you like.

# %%
painter = zoo.load("ddpm-scenes").denoiser  # paints scenes of 32 x 32 pixels, whichever it likes
clip = zoo.load("clip-scenes")  # lesson 07's: sentences and clean pictures in one space
guide = zoo.load("noisy-clip-scenes")  # sees through noise what CLIP sees in the clean picture
clean = NoisyCLIP.clean(clip)  # CLIP's own picture tower, which takes all noise for picture
reader = zoo.load("reader-scenes")  # says what a picture shows; it measures, and never steers

STEPS = 20  # of the walks in this lesson, from 1000
TEXT, CONTENT, STRUCTURE, STYLE = 200.0, 400.0, 150.0, 1000.0  # weights that serve well here


# %%
def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(*shape, seed=0, **options):
    return torch.randn(*shape, generator=seeded(seed), **options)


def end(states):
    """Where a walk ends."""
    *_, state = states
    return state.x


def meaning(*sentences):
    """Sentences as CLIP's unit vectors, (B, 128)."""
    with torch.no_grad():
        return clip.encode_text(sentences)


def steered(score, x, scale=1.0, steps=STEPS, step=ddim):
    """Pictures from noise x, steered by a score; a generator of states."""
    denoise = MapX0(ScoreGuidance(painter, score, scale) if score else painter, clip_x0)
    times = painter.schedule.timesteps(steps)
    return sample(denoise, x, times, step=step, generator=seeded(1))


# %%
star = Object("star", "yellow", "large", "striped", x=0.36, y=0.38, radius=0.28)
heart = Object("heart", "red", "small", "plain", x=0.74, y=0.76, radius=0.15)
other = Scene([Object("cross", "green", "large", "plain", x=0.5, y=0.5, radius=0.3)], "rose")
models = scenes.tensors([Scene([star, heart], "sky"), other])  # to be like, and how they are meant
starry, crossed = scenes.render(models, 32)  # (3, 32, 32) each, in [−1, 1]


def named(color, shape):
    """Such as "a red star"."""
    return f"{'an' if color[0] in 'aeiou' else 'a'} {color} {shape}"


def all_four(sentence, reference):
    """The four scores of this lesson by name: one of a sentence, three of a picture."""
    return {
        "text": guide.language(meaning(sentence)), "content": guide.content(reference[None]),
        "structure": guide.structure(reference[None]), "style": guide.style(reference[None]),
    }  # fmt: skip


# %%
def own_scale(encoder):
    """The scale of the cosines at which an encoder was trained."""
    return clip.scale.item() if encoder is clean else FIXED_SCALE


def belief(encoder, pictures, t, vectors, wish):
    """How probable an encoder finds each picture's sentence, row `wish` of the vectors; the mean."""
    with torch.no_grad():
        probs = (own_scale(encoder) * encoder.encode(pictures, t) @ vectors.T).softmax(1)
    return probs.gather(1, wish[:, None]).mean().item()


def as_picture(pull):
    """A gradient (B, 3, H, W) as colors around middle gray, as strong as the screen allows."""
    return pull / pull.abs().flatten(1).quantile(0.995, 1).view(-1, 1, 1, 1)


# %% [markdown]
# ## 1 · See it first
#
# The same six noises in every row, the same painter, nothing retrained. At the top it paints as it likes. Then a sentence steers; then the picture at the left, in three ways; then a sentence *and* the picture.

# %%
x, sentence = noise(6, 3, 32, 32, seed=3), "a large blue circle"
score = all_four(sentence, starry)
rows = {
    "left alone": None,
    "text": weighted((TEXT, score["text"])),
    "content": weighted((CONTENT, score["content"])),
    "structure": weighted((STRUCTURE, score["structure"])),
    "style": weighted((STYLE, score["style"])),
    "text + content": weighted((TEXT, score["text"]), (CONTENT, score["content"])),
}
drawn = [torch.cat([starry[None], end(steered(each, x))]) for each in rows.values()]
plots.show(
    plots.image_grid(torch.cat(drawn), columns=7, titles=["to be like", *[""] * 6],
                     rows=list(rows), title=f"text: “{sentence}”"),
    "Six rows of six scenes, each row from the same noises, beside a picture with a striped yellow "
    "star and a red heart: left alone, all differ; with the sentence most show a large blue circle; "
    "with the picture as a guide they take its things, its places, or its colors and stripes.",
)  # fmt: skip

# %% [markdown]
# One painter, five kinds of wish, and the painter knows about none of them. What steers is the gradient of a number: *how well does this noisy picture fit the wish?* Where does such a number come from, when does it give what it promises, and what is special about the network that computes it?
#
# ## 2 · The idea
#
# Lesson 05's classifier said "this noisy thing will become a 7", and its gradient said what to change to make it more so. Nothing in there needs *classes*. Take any function $F(x_t,t)$ that is high where you want to go, and walk up its gradient while the painter walks down the noise. Here is one noisy scene, and the pulls of four such functions on its pixels; middle gray means "leave this pixel", a color means "more of this color".


# %%
t, scene = 350, scenes.render(scenes.draw(1, 4), 32)
x = painter.schedule.diffuse(scene, t, noise(1, 3, 32, 32, seed=8))
scores = all_four("a large blue circle", starry)
pulls = [as_picture(gradient(score, x, t)) for score in scores.values()]
plots.show(
    plots.image_grid(torch.cat([scene, x, *pulls]), columns=6,
                     titles=["under it", f"at t = {t}", *(f"∇ {name}" for name in scores)]),
    "A scene, the same scene in noise, and the gradients of the four scores as colors around gray: "
    "each pulls at other pixels.",
)  # fmt: skip

# %% [markdown]
# ## 3 · The derivation
#
# ### 3.1 Any log-probability is a guide
#
# In lesson 05 $y$ was a class. Read the derivation again, and see that it never used that. For *any* piece of information $y$ about the picture,
#
# $$\nabla_{x_t}\log p(x_t\mid y)=\nabla_{x_t}\log p(x_t)+\nabla_{x_t}\underbrace{\log p(y\mid x_t)}_{F(x_t,\,t)},$$
#
# and $F$ may be off by whatever does not depend on $x_t$. Semantic Diffusion Guidance (Liu et al. 2021, section 3) takes that as its starting point and calls $F$ a *guidance function*. It writes it one step at a time, $p(x_{t-1}\mid x_t,y)\propto p(x_{t-1}\mid x_t)\,e^{\gamma F(x_t,y,t)}$, and samples it by lesson 05's algorithm 1, which moves the mean of each step. We use algorithm 2, which moves $\varepsilon$, so that DDIM can walk it in few steps.
#
# Let us check it where everything is known. Three clouds in the plane, and somebody saw the clean point, but blurred: $y=x_0+\tau\,\xi$. That is no class; it is the plane's version of *"like this picture"*. Within cloud $k$, $x_0$ given $x_t$ is Gaussian with mean $\mu_k(x_t)$ and variance $v_k$ (lesson 03's posterior), so
#
# $$p(y\mid x_t)=\sum_k p(k\mid x_t)\;\mathcal N\big(y;\;\mu_k(x_t),\;v_k+\tau^2\big).$$

# %%
schedule = linear()
clouds = GaussianMixture([[-1.2, -0.6], [1.2, -0.6], [0.0, 1.1]], 0.45)  # west, east, north
blind, north = clouds.denoiser(schedule), 2  # a perfect painter of points, told nothing
seen_at, blur = torch.tensor([0.7, 0.3], dtype=torch.float64), 0.6  # y, and τ


def by_cloud(x, t):
    """log p(k | x_t), and log p(y | x_t, k) but for a constant, (B, 3) each."""
    noisy, alpha_bar = clouds.diffused(schedule, t), schedule.at(t, x)
    gain = alpha_bar.sqrt() * clouds.std**2 / noisy.std**2  # (3,)
    mean = clouds.means + gain[:, None] * (x[:, None] - noisy.means)  # (B, 3, 2)
    variance = clouds.std**2 * (1 - alpha_bar) / noisy.std**2 + blur**2  # (3,)
    log_y = -variance.log() - (seen_at - mean).square().sum(2) / (2 * variance)
    return noisy.log_joint(x).log_softmax(1), log_y


def log_class(x, t):  # log p(north | x_t)
    return by_cloud(x, t)[0][:, north]


def log_seen(x, t):  # log p(y | x_t), but for a constant
    return sum(by_cloud(x, t)).logsumexp(1)


# %% [markdown]
# The conditional law is a mixture again (each cloud narrows around a weighted mean of its own center and $y$). So we can walk in it exactly, and compare: same noise, same steps.

# %% tags=["nbval-check-output"]
total = clouds.std**2 + blur**2  # (3,)
center = (clouds.means * blur**2 + seen_at * clouds.std[:, None] ** 2) / total[:, None]
near = torch.exp(-(seen_at - clouds.means).square().sum(1) / (2 * total)) / total
given_y = GaussianMixture(center, (clouds.std**2 * blur**2 / total).sqrt(), near)
x, times = noise(400, 2, dtype=torch.float64), schedule.timesteps(50)
goal = end(sample(given_y.denoiser(schedule), x, times, step=ddim))
guides = {"log p(y | x_t)": log_seen, "the same + 7": lambda x, t: log_seen(x, t) + 7}
for name, score in guides.items():
    walked = end(sample(ScoreGuidance(blind, score), x, times, step=ddim))
    print(f"{name:14} 400 walks end where the conditional law's do, to 1e-6:",
          bool((walked - goal).abs().max() < 1e-6))  # fmt: skip

# %% [markdown]
# **Scale 1 with a true log-probability is a theorem, whatever the information is.** A class, a blurred sighting, and, if we had it, the exact probability of a sentence.
#
# ### 3.2 Adding two signals: what it assumes
#
# Two pieces of information, $y_1$ and $y_2$. The paper adds their scores with weights. Is $\log p(y_1\mid x_t)+\log p(y_2\mid x_t)$ the right $F$? Only if $p(y_1,y_2\mid x_t)=p(y_1\mid x_t)\,p(y_2\mid x_t)$: if, *given the noisy $x_t$*, the one tells nothing about the other. Take "it is from the north" and "it was seen about here". Given the clean point that may be so. Given a noisy one it is not: both speak of the same hidden $x_0$.

# %%
both = lambda x, t: sum(by_cloud(x, t))[:, north]  # noqa: E731  log p(north, y | x_t), exactly
added = lambda x, t: log_class(x, t) + log_seen(x, t)  # noqa: E731
panels = {"a class: north": log_class, "seen about here": log_seen, "both, exactly": both,
          "both, added": added}  # fmt: skip
figure, axes = plots.subplots(1, 4, size=(8.1, 2.5), sharex=True, sharey=True)
ends = {}
for axis, (name, score) in zip(axes, panels.items()):
    ends[name] = end(sample(ScoreGuidance(blind, score), x, times, step=ddim))
    axis.scatter(*clouds.sample(400, seeded(9))[0].T, s=3, color="#DDDDDD")
    axis.scatter(*ends[name].T, s=4, color=plots.VERMILLION if "added" in name else plots.BLUE)
    if name != "a class: north":
        axis.plot(*seen_at, "k+", markersize=12, markeredgewidth=2)
    mean, std = ends[name].mean(0), ends[name].std(0)
    axis.set(title=name, aspect="equal", xlim=(-2.6, 2.6), ylim=(-2, 2.4))
    print(f"{name:16} mean ({mean[0]:5.2f}, {mean[1]:4.2f})   sd ({std[0]:.2f}, {std[1]:.2f})")
gap = (ends["both, added"] - ends["both, exactly"]).norm(dim=1).mean().item()
print(f"adding ends {gap:.2f} away from the exact answer, on average")
assert gap > 0.02
plots.show(figure, "Four clouds of guided points: in the north; around the cross where the point was "
           "seen; by both exactly; and by the sum of the scores, which is another cloud.")  # fmt: skip

# %% [markdown]
# The sum lies near the truth and is not it: its cloud is narrower and further from the middle, because it counts twice what the two signals both know. So keep the sentence from lesson 05 and add a half: *scale 1 with one true log-probability is a theorem; other scales, and sums, are a push in a sensible direction.*
#
# ### 3.3 From a cosine to a log-probability
#
# CLIP gives a cosine, not a probability. But lesson 07 trained it as a classifier among sentences: $p(\ell\mid x)=\operatorname{softmax}_\ell\big(s\cos(x,\ell)\big)$ with a scale $s$ that it learned: 33 for ours, and 100, the cap, for OpenAI's. (Our encoder of noisy pictures was trained at a fixed 100, as the authors' was.) So $\log p(\ell\mid x_t)$, a softmax over a *list* of sentences, makes CLIP a classifier, and guidance by it is lesson 05's classifier guidance, to the letter. The paper takes the cosine alone. The difference is the normalizer:
#
# $$\nabla\log p(\ell\mid x_t)=s\,\Big(\nabla\cos(x_t,\ell)-\sum_k p(k\mid x_t)\,\nabla\cos(x_t,k)\Big).$$
#
# A classifier also pulls *away* from what it believes now; the cosine only pulls towards $\ell$. We check the formula with the shipped encoder and sixteen sentences:

# %% tags=["nbval-check-output"]
list_of = meaning(*(named(color, shape) for color in ("red", "blue") for shape in scenes.SHAPES))
x = painter.schedule.diffuse(starry[None], 300, noise(1, 3, 32, 32))
log_probs = lambda x, t: (FIXED_SCALE * guide.encode(x, t) @ list_of.T).log_softmax(1)  # noqa: E731
left = gradient(lambda x, t: log_probs(x, t)[:, 4], x, 300)
pulls = torch.cat([gradient(guide.language(row[None]), x, 300) for row in list_of])
believed = log_probs(x, 300)[0].exp()
right = FIXED_SCALE * (pulls[4] - (believed[:, None, None, None] * pulls).sum(0))
print("sentences:", len(list_of), "  the two sides agree:",
      torch.allclose(left[0], right, rtol=1e-3, atol=1e-3 * right.abs().max().item()))  # fmt: skip

# %% [markdown]
# So the weight of a cosine is not free of meaning: 33 is what our CLIP itself would use, 100 the encoder of noisy pictures. (Exercise 9.6 makes the classifier, and you can see whether its extra term pays.)
#
# ### 3.4 The four scores
#
# The encoder $E(x_t,t)$ is a network with feature maps $E_j$ (one for the stem, one for each level) and a unit vector at its end. Liu et al. read four things from it (their section 3):
#
# | score | formula | what it holds on to |
# |---|---|---|
# | **text** | $E(x_t,t)\cdot E_L(\ell)$ | what a sentence says |
# | **content** | $E(x_t,t)\cdot E(x'_t,t)$ | what a sentence could say about the picture $x'$ |
# | **structure** | $-\sum_j\lVert E_j(x_t,t)-E_j(x'_t,t)\rVert^2/(C_jH_jW_j)$ | *what is where* in $x'$ |
# | **style** | $-\sum_j\lVert G_j-G'_j\rVert_F^2,\quad G_j=E_jE_j^\top/(C_jH_jW_j)$ | which features *go together* in $x'$, wherever |
#
# (The structure score is described in the paper; the authors' released code does not have it.) Two things deserve a proof. First, the **Gram matrix** $G$ multiplies channel by channel and sums over places. A sum does not care about order, so shuffling the places changes nothing in $G$, and everything in the structure:

# %% tags=["nbval-check-output"]
with torch.no_grad():
    maps = guide.maps(starry[None], 1)
for name, own in zip(("stem", "level 1", "level 2", "level 3"), maps):
    places = torch.randperm(own[0, 0].numel(), generator=seeded())
    shuffled = own.flatten(2)[..., places].view_as(own)
    print(f"{name:8} {tuple(own.shape[1:])}   same Gram matrix: "
          f"{torch.allclose(gram(own), gram(shuffled), rtol=1e-4, atol=1e-6)}   "
          f"same maps: {torch.allclose(own, shuffled)}")  # fmt: skip

# %% [markdown]
# Second, in the image scores the reference $x'$ is **noised to the same $t$**, with fresh noise at every look. The encoder is asked to compare like with like: two pictures through the same fog. (Section 8 tries what happens otherwise.)
#
# ### 3.5 An encoder that hears the time
#
# CLIP's tower was made for clean pictures. The paper gives it ears: behind every batch norm, a scale and a shift that depend on $t$ (time-dependent batch normalization, in section 3 there),
#
# $$h\;\leftarrow\;h\,\big(1+\gamma(t)\big)+\beta(t),$$
#
# all $\gamma$ and $\beta$ coming from one network that hears $t$. Ours begins with zeros in its last layers (the authors' released code does not). Why that, and why $1+\gamma$ and not $\gamma$? So that training *begins as CLIP*, not as rubble. Exactly so, at any time, until the last layers say something:

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
    print(f"as soon as γ, β ≠ 0, equal: {equal}")

# %% [markdown]
# ## 4 · The real code
#
# A score is a function of `(x, t)` that gives one number for each row. These are the very ones that run above:

# %%
four = (NoisyCLIP.language, NoisyCLIP.content, NoisyCLIP.structure, NoisyCLIP.style)
show_source(*four, docstring=False)

# %% [markdown]
# What structure and style share, the look through equal noise, and the Gram matrix, *one for each picture*:

# %%
show_source(NoisyCLIP.likeness, NoisyCLIP.noised, gram)

# %% [markdown]
# The norm that hears the time. `emb` is what a small network makes of $t$, the same for every norm; each norm has a linear map of its own, from `emb` to its $\gamma$ and $\beta$, with zeros at first:

# %%
show_source(ConditionalBatchNorm2d)

# %% [markdown]
# Everything else is lesson 05's `ScoreGuidance`. And because that wrapper takes a denoiser and gives a denoiser, there are two ways to mix signals, a weighted sum in one wrapper, or a wrapper around a wrapper, and they are the same:

# %% tags=["nbval-check-output"]
x = painter.schedule.diffuse(crossed[None], 400, noise(1, 3, 32, 32))
score_1, score_2 = guide.language(meaning("two red stars")), guide.language(meaning("a moon"))
with torch.no_grad():
    one = ScoreGuidance(painter, weighted((60.0, score_1), (40.0, score_2)))(x, 400)
    two = ScoreGuidance(ScoreGuidance(painter, score_1, 60.0), score_2, 40.0)(x, 400)
equal = torch.allclose(one.eps, two.eps, atol=1e-4)
print(f"a sum in one wrapper is a wrapper in a wrapper: {equal}")

# %% [markdown]
# ## 5 · Play: the mixer
#
# The strip was painted beforehand: the menu sets the weight of the sentence, the slider that of the picture's content. Below, choose or type your own sentence (in words that CLIP has read: colors, shapes, sizes, places), another picture, and any of the four weights. Take along:
#
# 1. With both weights at 0, then only the sentence, then only the picture: what changes in a column, and what stays?
# 2. Where sentence and picture contradict each other, who wins at equal weights?
# 3. At which weight do the five columns become alike? At which do they stop looking like scenes?
# 4. Give style alone a large weight, then structure alone. Which of the two keeps the places?

# %%
MIX = {"text": (0, 200, 400), "content": (0, 100, 200, 400)}  # weights on the strip
MORE = {"structure": 300.0, "style": 3000.0}  # the largest of the live choice


def mix(sentence, reference, weights, x):
    """States of a walk by all four scores; weights by name, (B,) each."""
    scores = all_four(sentence, reference[0])
    used = [(weight, scores[name]) for name, weight in weights.items() if weight.any()]
    score = lambda x, t: sum(weight * each(x, t) for weight, each in used)  # noqa: E731
    return steered(score if used else None, x)


said = ("a large blue circle", "two red stars", "a striped moon above a green square")
likes = {"star and heart": starry, "green cross": crossed}
GuidanceMixer(mix, said, likes, MIX, MORE, columns=5)

# %% [markdown]
# <details><summary>What you may have found</summary>
#
# 1. The coarse layout of a column often stays: it is in the noise (lesson 04). Colors and shapes move first.
# 2. On the strip, at 200 and 200, mostly the sentence: things turn blue, and little of star and heart is left. Raise the picture's weight, and lower the sentence's, to see where it turns.
# 3. Section 7 measures both.
# 4. Structure: it compares maps place by place. The Gram matrices of style have forgotten all places.
# </details>
#
# ## 6 · Train the guide, without a word
#
# Why not steer with CLIP's own tower? It has only ever seen clean pictures; $x_t$ is mostly noise. Let us look at its pull. Here is a scene under growing noise; below it, the gradient towards *"a large red circle"* by CLIP's own tower, and by the encoder that was trained on noise.

# %%
moments = (20, 150, 300, 450, 600, 800)
scene, wish = scenes.render(scenes.draw(1, 21), 32), meaning("a large red circle")
grid, pulls = {"x_t": []}, {}
for t in moments:
    x = painter.schedule.diffuse(scene, t, noise(1, 3, 32, 32, seed=2))
    grid["x_t"].append(x)
    for name, encoder in (("clean CLIP", clean), ("knows noise", guide)):
        pulls[name, t] = gradient(encoder.language(wish), x, t)
        grid.setdefault(name, []).append(as_picture(pulls[name, t]))
plots.show(
    plots.image_grid(torch.cat(sum(grid.values(), [])), columns=6,
                     titles=[f"t = {t}" for t in moments], rows=list(grid)),
    "A scene under growing noise; the gradient of the clean encoder is a fine speckle at every "
    "time; that of the one that knows noise has patches as large as things.",
)  # fmt: skip

# %% [markdown]
# The upper gradient is speckle: neighboring pixels are asked for opposite things. The lower one has patches as large as things and parts of things. A painter can follow a patch; speckle it takes for noise, and removes. How coarse is a pull, in numbers? Blur it, every 4 × 4 pixels to one, and ask which share of its energy is left. Of pure pixel noise, one sixteenth would be: 6 %.


# %%
def coarse(pull):
    """The share of a pull's energy that is left when 4 x 4 pixels are averaged to one."""
    small = nn.functional.avg_pool2d(pull, 4)
    return (16 * small.square().sum() / pull.square().sum()).item()


many, goals, left_of = scenes.render(scenes.draw(32, 22), 32), meaning("a large red circle"), {}
for name, encoder in (("clean CLIP", clean), ("knows noise", guide)):
    for t in moments:
        x = painter.schedule.diffuse(many, t, noise(*many.shape, seed=t))
        left_of[name, t] = coarse(gradient(encoder.language(goals), x, t))
    print(f"{name:12} left of the pull:", *(f"{left_of[name, t]:5.0%}" for t in moments))
assert all(left_of["knows noise", t] > left_of["clean CLIP", t] for t in moments[1:5])

# %% [markdown]
# ### The training
#
# What do we want? An encoder that says about $x_t$ what CLIP says about the clean picture $x_0$. CLIP is there and can be asked. So the training needs **pictures only**: take one, noise it, and ask *which clean picture does this noisy one belong to?* among all of a batch. That is lesson 07's loss with clean pictures in the place of the sentences. No caption occurs; and because the clean vectors lie in CLIP's space, where the sentences lie too, the encoder understands sentences for free. The paper calls it self-supervised fine-tuning without text annotations; as in the authors' code, the scale of the similarities is fixed at 100, and the two cross-entropies are added.

# %%
show_source(NoisyCLIP.loss)

# %%
BATCH, UPDATES = 64, 120


def noisy_batches(generator):
    """New scenes, and what CLIP sees in them while they are clean. No sentence."""
    pictures = scenes.render(scenes.draw(BATCH, generator, "train"), 32)
    with torch.no_grad():
        return pictures, clip.encode_image(pictures)


def draw(figure, seen):
    axis = figure.subplots()
    losses = torch.tensor([step.loss for step in seen])
    axis.plot(losses, color=plots.SKY, linewidth=0.8)
    axis.plot(losses.unfold(0, min(20, len(losses)), 1).mean(1), color=plots.BLUE)
    axis.axhline(2 * torch.log(torch.tensor(BATCH)), linestyle="--", color=plots.BLACK, linewidth=1)
    axis.set(title=f"{seen[-1].step} updates, {seen[-1].images_per_second:.0f} pictures a second",
             xlabel="update", ylabel="loss (dashed: guessing)", ylim=(0, None))  # fmt: skip


apprentice = zoo.build("noisy-clip-scenes")  # begins as CLIP's own tower
updates = train(apprentice, noisy_batches, steps=UPDATES, lr=1e-3, warmup=20, ema=0.98)
seen = watch(updates, draw, every=5, alt="The loss falls, steeply at first, then slowly.")
apprentice = seen[-1].ema

# %% [markdown]
# The loss begins far *above* guessing: CLIP's own tower is not ignorant about noisy pictures, it is sure and wrong. Within a hundred updates it unlearns that, and begins to see.
#
# How well does each see through noise? 200 scenes that nobody trained on. For each noisy picture: which of the 200 clean ones lies nearest, and how sure is the encoder of that (the largest probability in a softmax, at the scale at which it was trained)? Cosines themselves cannot be compared between encoders: the training only asks that the right one be *larger than the others*.

# %%
scene_test = scenes.render(scenes.draw(200, 99, "all"), 32)
encoders = {"clean CLIP": clean, "trained here": apprentice, "shipped": guide}
times_seen = (1, 100, 200, 300, 400, 500, 600, 700, 800, 900, 1000)
figure, (left, right) = plots.subplots(1, 2, size=(8.1, 3))
found = {}
with torch.no_grad():
    targets = clip.encode_image(scene_test)
    for (name, encoder), color in zip(encoders.items(), (plots.VERMILLION, plots.SKY, plots.BLUE)):
        rows = []
        for t in times_seen:
            x = guide.schedule.diffuse(scene_test, t, noise(*scene_test.shape, seed=t))
            match = encoder.encode(x, t) @ targets.T  # (200, 200)
            nearest = (match.argmax(1) == torch.arange(200)).float().mean()
            sure = (own_scale(encoder) * match).softmax(1).amax(1).mean()
            rows.append((nearest.item(), sure.item()))
        found[name], sure = zip(*rows)
        left.plot(times_seen, found[name], "o-", color=color, label=name)
        right.plot(times_seen, sure, "o-", color=color)
        print(f"{name:13}", " ".join(f"{share:4.0%}" for share in found[name]))
left.set(title="Its own clean picture is nearest", xlabel="time t", ylabel="share of 200 scenes")
right.set(title="How sure it is", xlabel="time t", ylabel="largest probability, mean")
left.legend()
plots.show(figure, "Against time: the share of noisy pictures whose clean one is found, and how sure the "
           "encoder is; the clean one fails at once, those trained on noise hold out.")  # fmt: skip
assert found["shipped"][3] > found["clean CLIP"][3] + 0.3
assert found["trained here"][3] > found["clean CLIP"][3]

# %% [markdown]
# The clean encoder is perfect on clean pictures and lost at the first mist: at $t=100$, where you still see everything, it finds the right picture in a third of the cases, at $t=300$ in one of twenty. And on the right: **it hardly notices.** At $t=400$, where three in a hundred are right, its first choice of 200 still gets four tenths of the probability, much as lesson 05's clean classifier was sure of its mistakes. That is no flaw of CLIP; nothing in its training ever asked. The shipped guide finds nearly every picture up to $t=400$, and where it no longer can, it lowers its voice.
#
# The one that we trained for 120 updates stands in between. It has begun to see through noise, has lost more than half of its eyesight for clean pictures, and is still too sure of itself: the shipped one had 1,500 updates, of twice as many pictures each.
#
# ### Who is fooled
#
# The same noises, the same sentences, the same weight, once led by CLIP's own tower and once by the guide. We follow each one's *own* belief along the walk: how probable it finds the sentence, among all 64 of a color and a shape. At the end we ask the reader, who led nobody.

# %%
FOOLED, EACH = 200.0, 4  # the weight for both, and noises for each sentence
pairs = [("red", "circle"), ("blue", "star"), ("green", "square"), ("purple", "heart"),
         ("orange", "triangle"), ("pink", "moon")]  # fmt: skip
said = [named(*pair) for pair in pairs]
alone = [Scene([Object(shape, color, "large", "plain", x=0.5, y=0.5, radius=0.27)], "gray")
         for color, shape in pairs]  # fmt: skip
truth = scenes.render(scenes.tensors(alone), 32)  # what they might have painted

# %%
choices = meaning(*(named(color, shape) for color in scenes.COLORS for shape in scenes.SHAPES))
wish = torch.tensor([8 * scenes.COLORS.index(c) + scenes.SHAPES.index(s) for c, s in pairs])
wishes, asked = wish.repeat_interleave(EACH), [text for text in said for _ in range(EACH)]
x, led = noise(len(asked), 3, 32, 32, seed=6), {}

# %%
figure, axis = plots.subplots(size=(8, 2.8))
for (name, encoder), color in zip((("clean CLIP", clean), ("knows noise", guide)),
                                  (plots.VERMILLION, plots.BLUE)):  # fmt: skip
    when, beliefs = [], []
    for state in steered(encoder.language(choices[wishes]), x, FOOLED):
        when.append(state.t)
        beliefs.append(belief(encoder, state.x, max(state.t, 1), choices, wishes))
    shown = caption_accuracy(reader.read(state.x.clamp(-1, 1)), asked)
    led[name] = state.x, shown, beliefs
    axis.plot(when, beliefs, "o-", color=color, label=name)
    print(f"{name:12} believes its pictures at {beliefs[-1]:.0%}, real ones at"
          f" {belief(encoder, truth, 1, choices, wish):.0%}; the reader finds {shown.parts:.0%} of what was"
          f" said in its {shown.number}")  # fmt: skip
axis.set(title="What it believes of its own pictures", xlabel="time t", ylabel="probability",
         xlim=(1000, 0))  # fmt: skip
axis.legend()
plots.show(figure, "The probability of the sentence that each encoder sees in the pictures it leads, along the walk: "
           "the clean encoder's rises to two thirds in the middle and falls to a tenth at the end; the "
           "other's rises slowly to a quarter, and stays.")  # fmt: skip

# %%
plots.show(
    plots.image_grid(torch.cat([led[name][0][::EACH] for name in led]), columns=6,
                     titles=[" ".join(pair) for pair in pairs], rows=list(led)),
    "Six scenes led by the clean encoder, and six from the same noises led by the one that knows "
    "noise: for five of the six the color that was asked for comes out purer below.",
)  # fmt: skip
assert max(led["clean CLIP"][2]) > 0.5 > 2 * led["clean CLIP"][2][-1]  # convinced, then not

# %% [markdown]
# Look at the red curve. In the middle of the walk the clean encoder gives **two thirds** to what was asked for, against 63 other sentences: it is convinced of pictures that are mostly noise. Then the noise goes, and the conviction goes with it, down to a tenth. (Of real pictures it believes 97 %, the other one 65 %: read each curve against its own.) What had convinced it was *in the noise*: speckle, laid there by its own gradient, which nobody else would take for a star, and which the painter, whose business it is, removed. In the study of classifiers such inputs are called **adversarial examples**. The blue curve rises slowly, and what it reaches it keeps.
#
# (Twenty-four pictures are too few to rank the two by what the reader finds; section 7 does that.) So it is not that the clean encoder pulls too little. It pulls at the wrong thing, and believes that it succeeded. And it also says how (not) to measure: had we asked it at $t=300$, it would have reported a triumph. *Never measure with what steers.*
#
# ## 7 · Measure: what a scale buys and costs
#
# The paper's claims (section 4; measured there on faces and on LSUN's pictures, with FID, the diversity in LPIPS, and retrieval): with the scale the match rises and diversity falls; the encoder that knows noise guides better than the one that does not. Ours: ten sentences, four noises for each, at three weights, two seeds. What is said and shown is read by `reader-scenes`; diversity is half the mean squared distance between two pictures *of the same sentence* in the reader's feature maps (as LPIPS, without its learned weights; 0: all alike). The **ceiling** is what the reader finds in 300 real pictures of what their own captions say.

# %%
SENTENCES = ["a red circle", "a blue star", "a green square", "a yellow heart", "a purple triangle",
             "a pink moon", "an orange cross", "a brown diamond", "two blue circles", "a large green star"]  # fmt: skip
EACH, SEEDS, WEIGHTS = 4, 2, (0, 100, 400)
asked = [sentence for sentence in SENTENCES for _ in range(EACH)]
WISHED = torch.arange(len(SENTENCES)).repeat_interleave(EACH)  # which sentence each picture has


@cache
def unguided(seed):
    """What the painter makes of the same noises when it is left alone."""
    return end(steered(None, noise(len(asked), 3, 32, 32, seed=100 + seed)))


def run(encoder, weight, seed):
    """(share of parts, of whole sentences, own belief, spread) of one set of pictures."""
    pictures, x = unguided(seed), noise(len(asked), 3, 32, 32, seed=100 + seed)
    if weight:
        pictures = end(steered(encoder.language(meaning(*asked)), x, weight))
    shown = caption_accuracy(reader.read(pictures.clamp(-1, 1)), asked)
    own = belief(encoder, pictures, 1, meaning(*SENTENCES), WISHED)
    groups = pictures.unflatten(0, (len(SENTENCES), EACH))
    return shown.parts, shown.complete, own, sum(spread(reader, g) for g in groups) / len(groups)


ours = {("knows noise", weight): torch.tensor([run(guide, weight, seed) for seed in range(SEEDS)])
        for weight in WEIGHTS}  # fmt: skip
ours |= {("clean CLIP", weight): torch.tensor([run(clean, weight, seed) for seed in range(SEEDS)])
         for weight in WEIGHTS}  # fmt: skip

# %%
print("encoder      weight   parts shown     all shown       own belief      diversity")
for (name, weight), runs in ours.items():
    cells = zip(runs.mean(0).tolist(), runs.std(0).tolist())
    print(f"{name:12} {weight:5}    " + "   ".join(f"{m:.3f} ± {d:.3f}" for m, d in cells))
real = scenes.draw(300, 7)
words = scenes.captions(real, 7)
top = caption_accuracy(reader.read(scenes.render(real, 32)), words)
print(
    f"ceiling: 300 real pictures show {top.parts:.3f} of their captions' parts, all in {top.complete:.3f}"
)
print(
    f"N = {len(asked)}: {len(SENTENCES)} sentences x {EACH} noises, {STEPS} steps, {SEEDS} seeds,"
    " mean ± sd"
)
free, best = (ours["knows noise", weight].mean(0) for weight in (0, 400))
assert best[0] > 2 * free[0] and ours["knows noise", 400].mean(0)[3] < free[3]

# %%
figure, axes = plots.subplots(1, 4, size=(8.1, 2.6))
titles = ("parts shown", "all shown", "own belief", "diversity")
for column, (axis, title) in enumerate(zip(axes, titles)):
    for who, color in (("knows noise", plots.BLUE), ("clean CLIP", plots.VERMILLION)):
        rows = {w: runs[:, column] for (name, w), runs in ours.items() if name == who}
        runs = torch.stack(list(rows.values()))
        axis.errorbar(
            list(rows), runs.mean(1), runs.std(1), fmt="o-", color=color, capsize=3, label=who
        )
    axis.set(title=title, xlabel="weight", xticks=(0, 100, 400))
axes[0].axhline(top.parts, linestyle=":", color=plots.BLACK, linewidth=1)
axes[1].axhline(top.complete, linestyle=":", color=plots.BLACK, linewidth=1)
axes[1].legend(loc=(0.02, 0.55), fontsize=9)
plots.show(figure, "Against the weight: the share of the sentence that is shown rises with both encoders, with "
           "the one that knows noise to 0.56 and with the clean one to 0.40; the own belief rises "
           "with both; diversity falls.")  # fmt: skip

# %% [markdown]
# Read the blue curves first. **A sentence steers a painter that never heard a word**: the share of what is said that is shown more than doubles, against a painter left alone, which shows some of it by accident. It is far from the ceiling. **Diversity falls** at once and goes on falling: the pictures of one sentence grow alike.
#
# Now the red ones. The clean encoder steers, too, but less: of the *parts* it shows 0.35 where the other shows 0.45, and 0.40 where the other shows 0.56. (Whole sentences are too rare in forty pictures to rank the two.) That is the paper's reason to train it, in numbers.
#
# The same at greater length, `python -m benchmarks.sdg_sweep`, and with `--encoder clean`: twelve sentences of a color and a shape, eight noises each, 25 steps, two seeds, mean ± sd.
#
# | weight | parts shown | all shown | a scene at all | diversity | parts, clean encoder | a scene at all, clean encoder |
# |---|---|---|---|---|---|---|
# | 0 | 0.19 ± 0.04 | 0.04 ± 0.01 | 0.38 ± 0.01 | 0.53 ± 0.02 | | |
# | 50 | 0.47 ± 0.01 | 0.13 ± 0.01 | 0.16 ± 0.00 | 0.39 ± 0.01 | 0.29 ± 0.01 | 0.11 ± 0.02 |
# | 100 | 0.51 ± 0.02 | 0.17 ± 0.01 | 0.20 ± 0.02 | 0.39 ± 0.00 | 0.32 ± 0.01 | 0.09 ± 0.02 |
# | 200 | 0.56 ± 0.01 | 0.21 ± 0.02 | 0.20 ± 0.01 | 0.34 ± 0.01 | 0.38 ± 0.02 | 0.05 ± 0.01 |
# | 400 | 0.62 ± 0.02 | 0.28 ± 0.02 | 0.12 ± 0.01 | 0.29 ± 0.02 | 0.41 ± 0.02 | 0.02 ± 0.01 |
# | real pictures | 1.00 | 1.00 | 1.00 | 0.52 | | |
#
# One column is new: *a scene at all*, the share of pictures that look, but for small differences, like some scene of this world, whatever it shows. Guidance costs half of them or more, and by the clean encoder nearly all: pictures that are pushed leave the road on which the painter learned to walk. (Our painter is small and walks unsteadily even when left alone: 0.38.)
#
# ### Dice help
#
# All these walks were DDIM's, which throws dice once, at the start. The authors' sampler throws them at every step, as DDPM does, and lesson 04's dial $\eta$ goes from one to the other. Turn it:

# %%
with_dice = partial(ddim, eta=1.0)
for name, step in {"once": ddim, "at every step": with_dice}.items():
    x = noise(len(asked), 3, 32, 32, seed=100)
    made = end(steered(guide.language(meaning(*asked)), x, TEXT, step=step)).clamp(-1, 1)
    seen = reader.read(made)
    print(f"noise {name:14} parts shown {caption_accuracy(seen, asked).parts:.2f}, "
          f"a scene at all {valid(seen, made).double().mean():.2f}   (N = {len(asked)})")  # fmt: skip

# %% [markdown]
# Forty pictures are few. The table from above once more, now with `--eta 1`:
#
# | weight | parts shown | all shown | a scene at all | diversity |
# |---|---|---|---|---|
# | 0 | 0.23 ± 0.01 | 0.04 ± 0.01 | 0.55 ± 0.04 | 0.53 ± 0.00 |
# | 50 | 0.44 ± 0.02 | 0.15 ± 0.01 | 0.38 ± 0.02 | 0.45 ± 0.01 |
# | 100 | 0.56 ± 0.00 | 0.25 ± 0.00 | 0.34 ± 0.03 | 0.42 ± 0.01 |
# | 200 | 0.62 ± 0.02 | 0.29 ± 0.04 | 0.29 ± 0.01 | 0.38 ± 0.01 |
# | 400 | 0.64 ± 0.01 | 0.32 ± 0.03 | 0.27 ± 0.05 | 0.32 ± 0.01 |
#
# At every weight more scenes and more diversity, and, within the spread, as much of the sentence or more. Left alone, too: 55 ± 3 of 100 pictures are scenes with dice and 38 ± 2 without, in 25 steps (`python -m benchmarks.valid_scenes`, 3 × 200 pictures). Why? Without dice, whatever the painter gets wrong, or guidance pushed wrong, is carried along to the end. Fresh noise covers small faults up, and the painter paints the place again. In lesson 04 dice *cost* quality at few steps: that painter was good, and had little to correct. (That is our explanation; what is measured is the table.)
#
# ## 8 · Break it
#
# **The wrong time.** The content score shows the reference $x'$ through as much noise as there is in $x_t$, and the encoder is told that time. Two ways to get it wrong, both without an error: forget to noise the reference; or hand the encoder the *number of the step*, 0 … 20, where it wants the time, 0 … 1000. (That one is easy: a sampler with few steps counts them, and somebody has to translate back to the painter's own times. The authors' code keeps a table for it.) Eight noises for each of our two pictures; we measure how near the finished pictures come to theirs in CLIP's clean space.


# %%
def content_at(reference, noised_to, told):
    """The content score, with two times that can be wrong."""
    generator = seeded(0)

    def score(x, t):
        eps = torch.randn(x.shape, generator=generator)
        other = guide.schedule.diffuse(reference, noised_to(int(t)), eps)
        with torch.no_grad():
            other = guide.encode(other, told(int(t)))
        return (guide.encode(x, told(int(t))) * other).sum(1)

    return score


same, number = (lambda t: t), (lambda t: max(1, round(STEPS * t / 1000)))
both_like = torch.stack([starry, crossed]).repeat_interleave(8, 0)  # (16, 3, 32, 32)
ways = {
    "unguided": None,
    "right": content_at(both_like, same, same),
    "clean reference": content_at(both_like, lambda t: 0, same),
    "step for time": content_at(both_like, same, number),
}

# %%
x, drawn, near = noise(16, 3, 32, 32, seed=12), {}, {}
for name, score in ways.items():
    drawn[name] = end(steered(score, x, CONTENT)).clamp(-1, 1)
    with torch.no_grad():
        cosine = (clip.encode_image(drawn[name]) * clip.encode_image(both_like)).sum(1)
    near[name] = cosine.mean().item()
    print(f"{name:15} cosine {near[name]:.2f} ± {cosine.std().item() / 4:.2f}")
rows = [torch.cat([starry[None], made[:3], crossed[None], made[8:11]]) for made in drawn.values()]
plots.show(plots.image_grid(torch.cat(rows), columns=8, rows=list(drawn)),
           "Four rows of scenes painted like a picture with star and heart, and like one with a "
           "cross: without guidance, right, with a clean reference, and told the step's number.")  # fmt: skip
assert near["right"] > near["step for time"] + 0.03 > near["unguided"] + 0.03

# %% [markdown]
# (± is the standard error of the mean of 16.) The wrong *time* costs likeness: told "10" at $t=500$, the encoder takes noise for picture, as the clean one does (0.46 against 0.55, about two standard errors). The *clean reference* did no harm: it even came out nearer, 0.65, though by less than two standard errors. Why no harm? Because our encoder learned just that: to say of a noisy picture what it says of the clean one. To noise the reference is what the paper does, and right by construction; but do not believe that every deviation from a paper shows in the result. Measure.
#
# **A Gram matrix of the whole batch.** The authors' released code folds the batch into the channels before it multiplies: one matrix of $(B\cdot C)\times(B\cdot C)$. Then what a picture is pulled to depends on *who else is in the batch*. Here is the pull on one and the same noisy picture, alone, and in company:


# %%
def batch_gram(maps):
    """What the released code does: one matrix for all pictures, over √ of everything."""
    rows = maps.reshape(maps.shape[0] * maps.shape[1], -1) / maps.numel() ** 0.5
    return rows @ rows.T


def style_pull(told, x):
    """The pull on the first picture of a batch, with all noise drawn alike."""
    eps = noise(1, 3, 32, 32, seed=4).expand_as(x)
    with torch.no_grad():
        other = guide.maps(guide.schedule.diffuse(starry.expand_as(x), 300, eps), 300)

    def score(x, t):
        total = -sum((told(a) - told(b)).square().sum() for a, b in zip(guide.maps(x, t), other))
        return total.expand(len(x)) / len(x)

    return gradient(score, x, 300)[0].flatten()


x = guide.schedule.diffuse(scenes.render(scenes.draw(4, 30), 32), 300, noise(4, 3, 32, 32))
for name, told in (("one matrix for each picture", gram), ("one for the batch", batch_gram)):
    alone, company = style_pull(told, x[:1]), style_pull(told, x)
    angle = nn.functional.cosine_similarity(alone, company, dim=0).item()
    print(f"{name:28} cosine of the pull alone with the pull in company: {angle:.3f}")
    assert (angle > 0.999) == (told is gram)

# %% [markdown]
# With one matrix for each picture the pull is the same, but for rounding, with whoever a picture shares its batch. With one for all, changing the batch size changes the pictures, and nobody will find out why. The test for this kind of mistake takes two lines: *compute a row alone and in a batch, and compare.* Write it whenever you write a score.
#
# ## 9 · Exercises
#
# Write into the stub, run the cell, read what the check says: it draws fresh inputs every time and knows the usual mistakes by name. A hint is folded under each; a solution is folded in the cell below it (click its three dots to see it), and every run of this notebook puts it to the same check.
#
# ### 9.1 A norm that hears the time &nbsp; ● 5 minutes
#
# `h` `(B, C, H, W)` comes out of a batch norm; `gamma` and `beta` `(B, C)` are what the time's network says to each picture and channel. Return $h\,(1+\gamma)+\beta$.


# %%
def hear_time(h, gamma, beta):
    """h (1 + γ) + β, (B, C, H, W)."""
    ...


checks.hear_time(hear_time)

# %% [markdown]
# <details><summary>Hint</summary><code>gamma[:, :, None, None]</code> is (B, C, 1, 1) and stretches along all pixels.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def hear_time_solution(h, gamma, beta):
    return h * (1 + gamma[:, :, None, None]) + beta[:, :, None, None]


checks.hear_time(hear_time_solution).require()

# %% [markdown]
# ### 9.2 From a score to eps &nbsp; ●● 15 minutes
#
# All of guidance in one function. `eps` is the painter's answer at `x` and `t`; `score(x, t)` gives `(B,)`; `alpha_bar` is the number $\bar\alpha_t$. Return the guided $\hat\varepsilon=\varepsilon-s\sqrt{1-\bar\alpha_t}\,\nabla_xF(x,t)$. Each row's gradient must be its own.


# %%
def guided_eps(eps, x, t, score, scale, alpha_bar):
    """The guided eps, (B, C, H, W)."""
    ...


checks.guided_eps(guided_eps)

# %% [markdown]
# <details><summary>Hint</summary><code>x = x.detach().requires_grad_(True)</code>, then <code>torch.autograd.grad(score(x, t).sum(), x)[0]</code>. Sum, not mean: why?</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def guided_eps_solution(eps, x, t, score, scale, alpha_bar):
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        (pull,) = torch.autograd.grad(score(x, t).sum(), x)
    return eps - scale * (1 - alpha_bar) ** 0.5 * pull


checks.guided_eps(guided_eps_solution).require()

# %% [markdown]
# ### 9.3 Through the same fog &nbsp; ●● 15 minutes
#
# The content score. `encode(x, t)` gives unit vectors `(B, D)`; `x` `(B, C, H, W)` is at time `t`; `reference` `(1, C, H, W)` is clean, and `eps` `(B, C, H, W)` the noise for it. Return the cosine of each row with the noised reference, `(B,)`.


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
# ### 9.4 Which features go together &nbsp; ●● 10 minutes
#
# The Gram matrices of feature maps `(B, C, H, W)`: $G=FF^\top/(CHW)$, one for each picture, `(B, C, C)`.


# %%
def gram_matrix(maps):
    """F Fᵀ / (C H W), (B, C, C)."""
    ...


checks.gram_matrix(gram_matrix)

# %% [markdown]
# <details><summary>Hint</summary><code>rows = maps.flatten(2)</code> is (B, C, H·W); <code>rows.mT</code> turns the last two dimensions.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def gram_matrix_solution(maps):
    rows = maps.flatten(2)
    return rows @ rows.mT / maps[0].numel()


checks.gram_matrix(gram_matrix_solution).require()

# %% [markdown]
# ### 9.5 Several wishes, one of them unwanted &nbsp; ● 5 minutes
#
# `scores` is a list of functions of `(x, t)`, `weights` a list of numbers, some of them negative. Return the weighted sum, `(B,)`. When it passes, run the cell after the solution: *a large star, and not a red thing*. (Stars are more than this painter can be talked into; look at how much red is left.)


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
terms = [guide.language(meaning(text)) for text in ("a large star", "a red shape")]
for name, weights in (("a large star", (TEXT, 0)), ("… not a red shape", (TEXT, -TEXT / 2))):
    score = lambda x, t, weights=weights: weighted_score_solution(terms, weights, x, t)  # noqa: E731
    rows[name] = end(steered(score, x))
plots.show(plots.image_grid(torch.cat(list(rows.values())), columns=8, rows=list(rows)),
           "Eight scenes guided to a large star, and the same with red things unwanted.")  # fmt: skip

# %% [markdown]
# ### 9.6 CLIP as a classifier &nbsp; ●●● 30 minutes
#
# Section 3.3 in code. `images` `(B, D)` are unit vectors of noisy pictures, `sentences` `(K, D)` of all sentences in the list, `labels` `(B,)` says which one each row shall become. Return $\log p(\ell\mid x_t)$, `(B,)`, with the scale of 100 at which this encoder was trained. Then the cell after the solution steers by it, beside the plain cosine at the same weight. Which of the two knows what a picture is *not*?


# %%
def class_score(images, sentences, labels):
    """log softmax of 100 cos over the sentences, at each row's own label, (B,)."""
    ...


checks.class_score(class_score)

# %% [markdown]
# <details><summary>Hint</summary>The logits are <code>100 * images @ sentences.T</code>; then <code>log_softmax(1)</code>, and <code>gather(1, labels[:, None])</code> picks one in each row. See lesson 05, exercise 9.3.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def class_score_solution(images, sentences, labels):
    log_probs = (100 * images @ sentences.T).log_softmax(1)
    return log_probs.gather(1, labels[:, None])[:, 0]


checks.class_score(class_score_solution).require()

# %%
texts = [named(color, shape) for color in scenes.COLORS for shape in scenes.SHAPES]  # all 64
choices, wish = meaning(*texts), torch.tensor([4, 12, 27, 33, 45, 55])
x, asked_for = noise(6, 3, 32, 32, seed=15), [texts[k] for k in wish]
ways = {
    "cosine": lambda x, t: TEXT * (guide.encode(x, t) * choices[wish]).sum(1),
    "classifier": lambda x, t: TEXT / 100 * class_score_solution(guide.encode(x, t), choices, wish),
}
rows = {name: end(steered(score, x)) for name, score in ways.items()}
for name, pictures in rows.items():
    shown = caption_accuracy(reader.read(pictures.clamp(-1, 1)), asked_for)
    print(f"{name:10} {shown.parts:.0%} of what was said is shown, in {shown.number} pictures")
plots.show(
    plots.image_grid(torch.cat(list(rows.values())), columns=6,
                     titles=[text.split(" ", 1)[1] for text in asked_for], rows=list(rows)),
    "Six scenes guided by the cosine with their sentence, and six by CLIP as a classifier among "
    "sixty-four sentences.",
)  # fmt: skip

# %% [markdown]
# (Six pictures prove nothing about which is better. `TEXT` is a number you can turn, in both lines, and section 7 shows how to measure.)
#
# ## 10 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "The classifier of lesson 05 is replaced by a network that says log p(y | x_t), where y is a melody that fits the picture. What changes in the derivation?",
    {
        "Nothing": "Bayes' rule never asked what y is. If the log-probability is true, scale 1 samples p(x | melody).",
        "The painter must be trained with melodies": "The painter only has to know p(x_t). That is the point of guidance by a score.",
        "The gradient must be taken with respect to the melody": "The picture is what moves, so the gradient is with respect to x_t.",
    },
    answer="Nothing",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Guided by the clean encoder, its belief rises high in the middle of the walk, and the finished picture does not show what was asked for. Why?",
    {
        "A cosine is a bad measure of anything": "By the encoder that knows noise it is a good one. The question is who computes it.",
        "Its gradient makes noise that only it takes for the thing": "An adversarial example. On inputs that a network never saw there are always directions that raise its number and mean nothing. So never measure with what steered, either.",
        "The weight is too small": "The belief rose, so it did pull. And section 7's longer table has weights up to twice this one: it stays behind.",
    },
    answer="Its gradient makes noise that only it takes for the thing",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "The encoder of noisy pictures is trained without a single sentence. Why does it understand sentences?",
    {
        "It does not; the text encoder is trained along with it": "The text tower is frozen; in this training nobody calls it.",
        "Its targets are CLIP's vectors of clean pictures, and sentences lie in the same space": "Whoever lands where the clean picture lies, lands near the sentences that lesson 07 put there.",
        "The painter tells it": "The painter and the encoder meet only in the walk.",
    },
    answer="Its targets are CLIP's vectors of clean pictures, and sentences lie in the same space",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You want the stripes and colors of a photograph, but your own arrangement. Which score?",
    {
        "structure": "It compares maps place by place, so it copies the arrangement.",
        "style": "A Gram matrix sums over places, so it knows which features go together and not where.",
        "content": "It holds on to what the picture is about, not only to its texture.",
    },
    answer="style",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "In guidance code of your own, without labkit's checks, a score returns scores.mean() instead of one number per row. What do you see?",
    {
        "An error: the shapes do not match": "A mean is a number, and has a gradient. (labkit checks, and refuses it. Your code runs on, and looks right.)",
        "The pull is B times weaker, so results depend on the batch size": "The gradient of a mean is the B-th part of each row's own gradient.",
        "The pictures become alike": "A mean of separate terms still pulls each row by its own term.",
    },
    answer="The pull is B times weaker, so results depend on the batch size",
)

# %% [markdown]
# ## 11 · Recap
#
# - **Any score guides.** With a true $\log p(y\mid x_t)$ at scale 1 the walk samples $p(x\mid y)$, whatever $y$ is. A cosine, another weight, a sum of two: a push in a sensible direction, to be measured.
# - **Four readings of one encoder**: the end vector for text and content, the maps place by place for structure, their Gram matrices for style. Signals mix by adding.
# - **The encoder must know noise.** CLIP's own tower is soon convinced, by speckle of its own making, which the painter then removes. The remedy needs no captions: match noisy pictures with CLIP's vectors of the clean ones.
# - **The reference looks through the same fog** as $x_t$; one Gram matrix for each picture; one number for each row.
# - **Weight against diversity**, as ever. And the judge must not be the guide.
#
# **What the next lesson fixes.** A backward pass in every step, an encoder of its own, a sentence that reaches the painter only as a push from outside. Lesson 09 puts the words *into* the painter (GLIDE), and lets this lesson's guidance and lesson 06's compete.
#
# **References**
# - X. Liu et al.: *More Control for Free! Image Synthesis with Semantic Diffusion Guidance*, 2021 (WACV 2023). Section 3: guidance functions, the noise-aware encoder, its self-supervised training.
# - A. Radford et al.: *Learning Transferable Visual Models From Natural Language Supervision* (CLIP), ICML 2021.
# - P. Dhariwal, A. Nichol: *Diffusion Models Beat GANs on Image Synthesis*, NeurIPS 2021. Section 4: classifier guidance.
# - L. Gatys, A. Ecker, M. Bethge: *Image Style Transfer Using Convolutional Neural Networks*, CVPR 2016: Gram matrices as style.
# - R. Zhang et al.: *The Unreasonable Effectiveness of Deep Features as a Perceptual Metric* (LPIPS), CVPR 2018.
