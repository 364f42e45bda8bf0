# %% [markdown]
# # 10 · DALL·E 2: a picture's embedding between the sentence and the picture
#
# **The question.** GLIDE (lesson 09) goes from the sentence to the pixels in one model. What is gained if the sentence first becomes a CLIP *image* embedding, and only then a picture? And what can you do with a picture by moving its embedding?
#
# **Afterwards you can**
# - write the two steps of DALL·E 2 (in the paper: unCLIP) as an exact identity, and say what each model learns;
# - say why neither the sentence's own embedding nor a mean is good enough;
# - train a diffusion prior, and turn embeddings into codes for an autoregressive one;
# - compare priors by more than one number, beside a floor and a ceiling;
# - vary a picture, interpolate between two, and change one by words.
#
# **Before:** lesson 04 (DDIM, inversion, slerp); lesson 07 (CLIP); lesson 09 (GLIDE).
#
# **Time:** about 50 minutes to read and play, plus 70 for all exercises; about 90 seconds to run on two cores.
#
# **On the map:** 09 GLIDE → **10 DALL·E 2** → 11 Imagen (a language model in CLIP's place, and a cascade).

# %%
from dataclasses import replace

import torch
import torch.nn.functional as F

from labkit import scenes, zoo
from labkit.denoiser import clip as clip_x0
from labkit.lab import checks, dalle2_plot, dalle2_table, plots, quiz, show_source
from labkit.lab.glide_plot import draw_training
from labkit.lab.standard_error import mean_and_error
from labkit.lab.widgets import watch
from labkit.lab.widgets.change_explorers import (
    InterpolationExplorer,
    TextDiffExplorer,
    VariationExplorer,
)
from labkit.metrics import frechet_distance
from labkit.nets.prior import PriorConfig, PriorTransformer
from labkit.recipes.dalle2 import embedded_scenes
from labkit.scenes import Object, Scene, reading
from labkit.scenes.descriptions import descriptions
from labkit.scenes.scores import shown_parts
from labkit.systems.dalle2 import DALLE2
from labkit.systems.diffusion_prior import DiffusionPrior, DiffusionPriorConfig, nearest
from labkit.systems.embedding_codes import PCA, components_for, pca_error
from labkit.systems.prior_inputs import Texts, read
from labkit.systems.unclip_decoder import UnCLIPDecoder
from labkit.train import shuffled, train

torch.manual_seed(0)
plots.use_style()

# %% [markdown]
# The lesson uses five models. **CLIP** is lesson 07's. Two **priors** make an image embedding from a sentence. The **decoder** makes a picture from an embedding, a sentence, or both. The **reader** of lesson 08 only measures. After a restart, run the imports and these four cells, then any section.

# %%
dalle2 = zoo.load("dalle2-scenes").requires_grad_(False)
clip, decoder = dalle2.clip, dalle2.decoder
diffusion, autoregressive = dalle2.diffusion, dalle2.autoregressive
reader = zoo.load("reader-scenes").requires_grad_(False)
SCALE = 3.0  # of the decoder's guidance


def final(states):
    """The pictures after the last step."""
    *_, state = states
    return state.pictures


def paint(sentences, z=None, scale=SCALE, seed=0, **options):
    """A picture for each sentence (None: no caption) and embedding; noise in every step."""
    options = {"steps": 15, "eta": 1.0} | options
    return final(decoder.generate(sentences, embedding=z, scale=scale, seed=seed, **options))


# %%
def diffused(texts, seed, prior=diffusion, candidates=1, **options):
    """An embedding for each sentence, by a diffusion prior in 10 steps."""
    options = {"steps": 10, "eta": 1.0} | options
    return prior.draw(texts, seed=seed, candidates=candidates, **options)


def cosine(a, b):
    """Of unit vectors, row by row, (N,)."""
    return (a * b).sum(1)


def shares(seen, sentences):
    """The share of each sentence that is shown by what was seen, (N,)."""
    rows = shown_parts(seen, sentences)
    return torch.tensor([sum(part.shown for part in row) / len(row) for row in rows])


# %%
# 2,048 scenes of training (the priors had 32,768), each with two sentences: what people say, and all
# that there is to say.
known, known_texts = embedded_scenes(clip, 2_048)  # (4096, 128)
regressed = dalle2_plot.regression(known_texts.embedding, known)
generator = torch.Generator().manual_seed(10_500)
new, moved = dalle2_table.elsewhere(scenes.draw(170, generator), generator)  # not of training
own, other = (clip.encode_image(scenes.render(each, 32)) for each in (new, moved))
said, whole = scenes.captions(new, 3), descriptions(new, 3)
people, full = read(clip, said), read(clip, whole)  # what people say; what leaves nothing out
stored = dalle2_table.stored()  # what benchmarks/unclip_table.py measured of the shipped models

# %%
SMALL = DiffusionPriorConfig(
    PriorConfig(dim=128, tokens=32, context=32, width=64, depth=2, heads=4), vocabulary=1009
)
UPDATES, LEARNED = 160, {}  # and what was learned, by configuration


def updates(config):
    """The steps of training a small diffusion prior from nothing."""
    torch.manual_seed(0)
    batches = shuffled(known, *known_texts, batch=128)
    return train(DiffusionPrior(config), batches, UPDATES, optimizer="muon", lr=4e-3,
                 decay="late", warmup=20, ema=0.98)  # fmt: skip


def learned(config):
    """That prior, trained once."""
    if config not in LEARNED:
        *_, last = updates(config)
        LEARNED[config] = last.ema.eval().requires_grad_(False)
    return LEARNED[config]


# %% [markdown]
# ## 1 · See it first
#
# One sentence, three embeddings (a row each), five pictures of each. In a row only the decoder's noise changes. The pictures are not selected: seeds 0, 1 and 2 of the prior, the first five of the decoder.

# %%
sentence = "a star"
drawn = torch.cat([diffused(read(clip, sentence), seed) for seed in range(3)])  # (3, 128)
made = paint([sentence] * 15, drawn.repeat_interleave(5, 0), steps=20)
plots.show(plots.image_grid(made, columns=5, rows=[f"embedding {n}" for n in (1, 2, 3)]),
           f"Three rows of five pictures of “{sentence}”, each row from one embedding: orange on green, orange "
           "on rose, a green outline on rose. The place differs from picture to picture.")  # fmt: skip
for number, row in enumerate(made.split(5), 1):
    shown = shares(reader.read(row), [sentence] * 5).mean()
    print(f"embedding {number}: {shown:.0%} of the sentence is shown")

# %% [markdown]
# Within a row, color, fill and background stay: they come from the embedding. The place changes: it comes from the decoder's noise. From row to row, the color, the fill or the background changes: "a star" does not say which, so the prior chooses. (Section 6.2 measures harder sentences.)
#
# ## 2 · The idea
#
# CLIP puts pictures and sentences into one space of unit vectors. DALL·E 2 (Ramesh et al. 2022) goes through that space:
#
# ```
#                  ┌── words ─────────────────────────────────────────────────┐
# sentence y ──────┤                                                          ├─ decoder ── picture x
#                  └── CLIP's text embedding, words ── prior ── z ────────────┘
#                                                           an image embedding
# ```
#
# 1. The **prior** draws $z$: what CLIP's image encoder would say of *some* picture of the sentence.
# 2. The **decoder** draws a picture that has this embedding. It is GLIDE with one more input, and adds what CLIP does not see.
#
# ## 3 · The derivation
#
# ### 3.1 Two steps, and nothing lost
#
# Let $z=f(x)$ be CLIP's image embedding of $x$. It is a function of $x$, so $P(x\mid y)=P(x,z\mid y)$, and the product rule gives
#
# $$\boxed{\;P(x\mid y)=P(x\mid z,y)\,P(z\mid y),\qquad z=f(x)\;}$$
#
# This is exact, whatever $f$ is. We check it in a world of eight pictures, and also try a decoder that is not given the sentence:

# %% tags=["nbval-check-output"]
generator = torch.Generator().manual_seed(0)
p_x = torch.rand(4, 8, generator=generator, dtype=torch.float64)
p_x /= p_x.sum(1, keepdim=True)  # P(x | y), a row for each sentence
z_of = torch.tensor([0, 0, 1, 1, 1, 2, 2, 2])  # f: the embedding of each picture
p_z = torch.zeros(4, 3, dtype=torch.float64).index_add_(1, z_of, p_x)  # P(z | y)
p_x_given_both = p_x / p_z[:, z_of]  # P(x | z, y)
print("with the sentence:   ", torch.allclose(p_x_given_both * p_z[:, z_of], p_x))
p_x_given_z = (p_x.sum(0) / p_z.sum(0)[z_of]).expand(4, 8)  # P(x | z), sentences equally likely
print("without the sentence:", torch.allclose(p_x_given_z * p_z[:, z_of], p_x))

# %% [markdown]
# So the decoder needs the sentence too, as long as $z$ leaves out something that the sentence says.
#
# ### 3.2 Why a prior: the gap
#
# The sentence has an embedding in the same space. Why not give that to the decoder? Here are 600 pictures and a sentence of each:

# %%
figure = plots.Figure(figsize=(8.1, 3.6), layout="constrained")
dalle2_plot.draw_gap(figure, known[:600], known_texts.embedding[:600])
plots.show(figure, "Left: pictures and sentences as two clouds of points. Right: how often which cosine "
           "comes between a picture and its sentence, another's sentence, and another picture.")  # fmt: skip
images, sentences = dalle2_plot.across_gap(known[:600], known_texts.embedding[:600])
apart = ((images[:, 0] > 0).double().mean() + (sentences[:, 0] < 0).double().mean()) / 2
pair = cosine(known[:600], known_texts.embedding[:600]).mean()
print(f"a plane between the centers has {apart:.1%} of both on its right side")
print(f"mean cosine of a picture and its own sentence: {pair:.2f}")
assert apart > 0.95 and 0.55 < pair < 0.75

# %% [markdown]
# This is the modality gap of lesson 07: pictures lie in one region, sentences in another. A decoder that was trained on image embeddings has never seen a vector from the region of sentences (section 6.2).
#
# ### 3.3 A prior must not be a mean
#
# A simple way across the gap is regression: predict $z$ from the sentence by least squares. But a short sentence fits many pictures, and a regression approximates the **mean** of their $z$. (This one learned from 2,048 scenes, the priors from 32,768.) Let $m=\mathbb E[z\mid y]$, with all $z$ unit vectors. Then
#
# - two independent draws have mean cosine $\mathbb E[z\cdot z']=m\cdot m=\lVert m\rVert^2$;
# - a fixed unit vector $u$ has mean cosine $u\cdot m\le\lVert m\rVert$, and $u=m/\lVert m\rVert$ reaches it.
#
# If the sentence leaves something open, $\lVert m\rVert<1$. **Then the mean (unless it is 0) has a higher cosine to true embeddings than a perfect prior has.** We check it with a sentence that says little. Its real pictures are those for which the caption generator says exactly that:

# %%
vague = "one object"
pool = scenes.draw(8_000, 5)
fits = [reading.read(text) == reading.read(vague) for text in scenes.captions(pool, 5)]
real = clip.encode_image(scenes.render(pool.take(torch.tensor(fits)), 32))
half = F.normalize(real[::2].mean(0, keepdim=True), dim=1)  # a mean of every second one
between, to_mean = dalle2_plot.alike(real), cosine(real[1::2], half).mean().item()
print(f"{len(real)} real pictures: two have cosine {between:.3f}, one and the mean {to_mean:.3f}")
print(f"root of the first: {between**0.5:.3f}")
assert abs(to_mean - between**0.5) < 0.03

# %%
asked = read(clip, vague).repeat(150)
answers = {"diffusion prior": diffused(asked, 1), "autoregressive prior": autoregressive.draw(asked, seed=1),
           "regression": F.normalize(regressed(asked.embedding), dim=1)}  # fmt: skip
figure = plots.Figure(figsize=(8.1, 3.8), layout="constrained")
dalle2_plot.draw_posterior(figure, real, answers)
plots.show(figure, "Left: embeddings of real pictures of “one object” as a cloud, the draws of both priors, "
           "and the regression's single answer. Right: the cosines between two of each.")  # fmt: skip
near = {"real pictures": between} | {name: dalle2_plot.alike(z) for name, z in answers.items()}
for name, value in near.items():
    print(f"{name:21} two answers: cosine {value:.2f}   "
          f"with a real picture: {(answers.get(name, real) @ real.T).mean():.2f}")  # fmt: skip
regression, others = answers["regression"][:1], real @ real.T - 2 * torch.eye(len(real))
close_to = {name: (z @ real.T).amax(1).mean().item() for name, z in answers.items()}
close_to["a real one"] = others.amax(1).mean().item()
print("nearest real picture:", ", ".join(f"{name} {value:.2f}" for name, value in close_to.items()))
assert all(abs(near[name] - between) < 0.06 for name in ("diffusion prior", "autoregressive prior"))
assert all(abs(value - 0.85) < 0.04 for name, value in close_to.items() if name != "regression")
assert near["regression"] > 0.999 and (regression @ real.T).max() < others.amax(1).mean() - 0.05

# %% [markdown]
# Two draws of each prior are about as different as two real pictures, and most of their points fall into the clusters of the real ones. The regression has one answer (the star), *between* the clusters. Its nearest real picture has a cosine of .66 with it. For a real picture this is .87, and for a draw .84 or .85. Yet its mean cosine with real pictures is the highest by far, .57 against about .33.
#
# ### 3.4 The diffusion prior
#
# The paper's first prior is a diffusion model of vectors. It differs from lesson 03 in four points:
#
# 1. **The network is a transformer.** Its sequence: the words, the sentence's embedding, the time, the noisy $z_t$, and a learned query, where the answer is read. The mask is causal.
# 2. **It predicts $z$ itself**, not the noise: $L=\mathbb E\lVert f_\theta(z_t,t,y)-z\rVert^2$.
# 3. **It draws two** embeddings and keeps the one with the larger dot product with the sentence's (best of two). In training, 10 % of the rows lose their sentence, for classifier-free guidance.
# 4. **Embeddings are made larger.** A unit vector of $d$ entries has entries of size about $1/\sqrt d$. A factor of $.5375\sqrt d$ makes them as large as ImageNet's pixels (17.2 in the paper's 1024 dimensions).
#
# What is left of $z$ in $z_t$, with and without the factor:

# %%
schedule, factor = diffusion.denoiser.schedule, diffusion.factor
eps = torch.randn(own.shape, generator=torch.Generator().manual_seed(0))
print(f"factor {factor:.2f}: entries of size {own.std():.3f} become {(factor * own).std():.3f}")
print("the cosine of z and its noisy version:")
left = {}
for t in (100, 300, 500, 700, 900):
    left[t] = [cosine(own, F.normalize(schedule.diffuse(k * own, t, eps), dim=1)).mean().item()
               for k in (1, factor)]  # fmt: skip
    print(f"t = {t}: {left[t][0]:.2f} unscaled, {left[t][1]:.2f} scaled")
assert abs(factor / 128**0.5 - 0.5375) < 1e-6 and left[300][0] < 0.3 < 0.7 < left[300][1]

# %% [markdown]
# Without the factor, little of $z$ is left from $t=300$ on. At those times the network must rely mostly on the sentence, as a regression does (section 8). Does the answer depend on each part of the sequence?

# %% tags=["nbval-check-output"]
cond, x = diffusion.encode(people), schedule.diffuse(factor * own, 500, eps)
with torch.no_grad():
    answer = diffusion.denoiser(x, 500, cond).x0
    changed = {
        "the words": diffusion.denoiser(x, 500, cond._replace(tokens=cond.tokens.roll(1, 0))),
        "the embedding": diffusion.denoiser(x, 500, cond._replace(vector=cond.vector.roll(1, 0))),
        "the time": diffusion.denoiser(x, 400, cond),
        "the noisy z": diffusion.denoiser(x.roll(1, 0), 500, cond),
        "hidden padding": diffusion.denoiser(
            x, 500, cond._replace(tokens=cond.tokens + 5.0 * ~cond.mask[..., None])
        ),
    }
for name, each in changed.items():
    print(f"{name:14} changes the answer: {not torch.allclose(each.x0, answer, atol=1e-2)}")

# %% [markdown]
# ### 3.5 The autoregressive prior: an embedding as a text
#
# The second prior writes $z$ like a text, one code after the other:
#
# - **PCA.** Keep the first principal components, so many that less than 1 % of the variance is lost.
# - **Buckets.** Cut the range of each component into equal parts (1,024 in the paper, 64 here). The number of the part is the code.
#
# A causal transformer reads the words, the sentence's embedding, and one more token: the bucket of the dot product $z\cdot z_{\text{text}}$. When sampling, that token is drawn from the upper half of its distribution, which asks for an embedding near the sentence's.
#
# How many components are enough?

# %%
untrained = zoo.build("clip-scenes").eval().requires_grad_(False)
random = torch.randn(2_048, 128, generator=torch.Generator().manual_seed(0))
spaces = {"pictures": known[:2_048], "sentences": known_texts.embedding[:2_048],
          "untrained CLIP": untrained.encode_image(scenes.render(pool.take(slice(0, 600)), 32)),
          "random directions": F.normalize(random, dim=1)}  # fmt: skip
figure, axes = plots.subplots(size=(6.6, 3.6))
dalle2_plot.draw_pca_error(axes, {name: pca_error(z) for name, z in spaces.items()})
plots.show(figure, "The share of the variance that is lost, falling with the number of components: "
           "steeply for pictures, hardly for random directions.")  # fmt: skip
enough = {name: components_for(z) for name, z in spaces.items()}
assert enough["pictures"] == 17 and enough["random directions"] > 110

# %% [markdown]
# Ours needs 17 of 128 components, 13 %. The paper's CLIP needs 319 of 1024, 31 %. (It was trained with sharpness-aware minimization, SAM, which lowers the rank.) The untrained network needs only 10, so a low number is no sign of a good CLIP.
#
# A bucket stands for its middle. So a coordinate inside the range is wrong by at most half a bucket:

# %% tags=["nbval-check-output"]
pca, buckets = autoregressive.pca, autoregressive.buckets
codes = autoregressive.codes(own)
print("codes of the first picture:", codes[0].tolist())
inside = pca(own).clamp(buckets.low, buckets.high)
width = (buckets.high - buckets.low) / buckets.count
wrong = (buckets.back(codes) - inside).abs() / width
print("largest error, in buckets, is at most 0.5:", bool(wrong.max() < 0.501))
back = cosine(autoregressive.embedding(codes), own)
print("cosine of an embedding and what comes back is above 0.98:", bool(back.mean() > 0.98))

# %% [markdown]
# ### 3.6 The decoder
#
# The decoder is GLIDE's base model. The embedding enters twice: a projection is added to the time embedding, and **four further tokens** stand beside the words. In training 10 % of the rows lose their embedding, and 50 % their caption. The two chances are *independent*, so 5 % lose both. So one network learns four cases; that with neither is the null for guidance.
#
# (Ours began from lesson 09's weights and was trained for one more hour on one core. DALL·E 2 adds two upsamplers; we stay at 32 × 32 pixels.)
#
# ## 4 · The real code

# %%
show_source(
    PriorTransformer.forward, DiffusionPrior.loss, nearest, UnCLIPDecoder.condition, docstring=False
)

# %% [markdown]
# In `loss`, `drop(..., together=...)` takes away words and embedding of the same rows. In `condition`, the rows that are not `known` hide their four tokens by the mask, and add nothing to the vector.
#
# ## 5 · Train a prior, from nothing
#
# A prior learns from embeddings, so it is cheap. This one has two layers of width 64, and learns from 4,096 pairs. We watch what it draws for 64 new scenes: the cosine with the embedding of the scene's own picture, and with that of another (shuffled).


# %%
def kept(steps):
    """The steps; after some of them, the averaged prior."""
    for step in steps:
        if step.step in (UPDATES // 8, UPDATES // 2, UPDATES):
            grown[step.step] = DiffusionPrior(SMALL).eval().requires_grad_(False)
            grown[step.step].load_state_dict(step.ema.state_dict())
        yield step


grown = {}
seen = watch(kept(updates(SMALL)), draw_training, every=20,
             alt="The loss falls steeply at first, and then slowly.")  # fmt: skip
LEARNED[SMALL] = grown[UPDATES]
few, short = Texts(*(field[:64] for field in full)), own[:64]
for step, prior in grown.items():
    z = diffused(few, 1, prior)
    result = [cosine(z, each).mean().item() for each in (short, short.roll(1, 0))]
    print(f"after {step:3} updates: cosine {result[0]:.2f}, shuffled {result[1]:.2f}")
assert result[0] > 0.9 and result[1] < 0.4

# %% [markdown]
# Now we decode without a caption, so all that is right came through the prior. The last row is the shipped prior: four layers of width 128, seven minutes of training.

# %%
shown = ["two blue squares", "a large red circle on a mint background", "a yellow star above a green cross",
         "a small pink heart", "a striped purple diamond"]  # fmt: skip
wishes = read(clip, shown)
rows = {f"{step} updates": diffused(wishes, 1, prior) for step, prior in grown.items()}
rows["shipped"] = diffused(wishes, 1)
made = paint([None] * 20, torch.cat(list(rows.values())))
plots.show(plots.image_grid(made, columns=5, rows=list(rows), titles=[f"({n})" for n in range(1, 6)]),
           "Pictures of five sentences from the priors after some updates, and from the shipped one. After 20: "
           "scenes of other things. After 160: two blue squares, a red ring, a green cross above a green star, "
           "a pink heart, a purple diamond; shipped: much the same, with a yellow cross in place of the star.")  # fmt: skip
print(*(f"({n}) {sentence}" for n, sentence in enumerate(shown, 1)), sep="   ")
for name, each in zip(rows, made.split(5)):
    print(f"{name:12} {shares(reader.read(each), shown).mean():.2f} of the sentences is shown")

# %% [markdown]
# After 20 updates the pictures are scenes, but not of these sentences. After 80 much is right, and after 160 the squares are blue and the circle is red. No row has column 3 right. The shipped prior's diamond (5) has no stripes.
#
# The cosine of *shuffled* pairs stays between .30 and .35: all image embeddings lie in one region. So read a cosine only beside it.
#
# ## 6 · Measure
#
# ### 6.1 Embeddings
#
# About 170 new scenes have two kinds of sentences. The *full* ones leave nothing out but the places. What *people* say leaves much out. For each we measure
#
# - **true**: the cosine with the embedding of the scene's own picture, and **shuffled**, with another's;
# - **alike**: the cosine of two draws for the same sentence;
# - **distance**: the Fréchet distance (lesson 05) of all draws from the embeddings of 2,048 other real pictures, in thousandths. Its floor is the distance of the scenes' own pictures.
#
# The ceiling for full sentences is a real picture with everything in another place.


# %%
def two_draws(texts):
    """By name, two embeddings for each sentence."""
    pair = [diffused(texts, seed) for seed in (1, 2)]
    flat = F.normalize(regressed(texts.embedding), dim=1)
    best = nearest(torch.stack(pair), texts.embedding)
    return {"diffusion prior": pair, "best of two": [best, best],
            "autoregressive prior": [autoregressive.draw(texts, seed=seed) for seed in (1, 2)],
            "regression": [flat, flat], "the sentence's own": [texts.embedding] * 2}  # fmt: skip


def judged(one, two, texts):
    """The columns: one number for each row, but for the distances of both draws."""
    far = [1000 * frechet_distance(known[:2_048], z) for z in (one, two)]
    return {"true": cosine(one, own), "shuffled": cosine(one, own.roll(1, 0)), "alike": cosine(one, two),
            "text": cosine(one, texts.embedding), "distance": far}  # fmt: skip


# %%
print(f"{'':30}{'true':>8}{'shuffled':>10}{'alike':>8}{'distance':>10}")
table = {}
for kind, texts in (("full", full), ("people", people)):
    rows = two_draws(texts) | {"real, own": [own, own]}
    if kind == "full":
        rows["real, elsewhere"] = [other, other]
    for name, pair in rows.items():
        table[kind, name] = row = judged(*pair, texts)
        alike = "–" if pair[0] is pair[1] else f"{row['alike'].mean():.3f}"
        print(f"{kind:8}{name:22}{row['true'].mean():8.3f}{row['shuffled'].mean():10.3f}{alike:>8}"
              f"{row['distance'][0]:10.1f}")  # fmt: skip

# %%
low, high = (table["full", "real, elsewhere"][name].mean() for name in ("shuffled", "true"))
for name in ("diffusion prior", "autoregressive prior", "regression"):
    way = (table["full", name]["true"].mean() - low) / (high - low)
    print(f"full sentences: {name:21} {way:.2f} of the way from shuffled to the ceiling")
    assert way > 0.9
one, two, best = (
    table["people", name] for name in ("diffusion prior", "autoregressive prior", "best of two")
)
pairs = {"diffusion prior: alike minus true": (one["alike"], one["true"]),
         "autoregressive prior: alike minus true": (two["alike"], two["true"]),
         "best of two minus one draw, cosine with the sentence": (best["text"], one["text"]),
         "best of two minus one draw, true": (best["true"], one["true"]),
         "diffusion minus autoregressive, true": (one["true"], two["true"])}  # fmt: skip
apart = {name: dalle2_table.mean_difference(*pair) for name, pair in pairs.items()}
print(f"people: distances of two draws {one['distance'][0]:.1f} and {one['distance'][1]:.1f} (diffusion), "
      f"{two['distance'][0]:.1f} and {two['distance'][1]:.1f} (autoregressive)")  # fmt: skip
print("\npeople's sentences, ± standard error of paired differences:")
for name, (mean, error) in apart.items():
    print(f"{name:55}{mean:+.3f} ± {error:.3f}")
assert all(mean > 2 * error for mean, error in list(apart.values())[:4])
far = {name: row["distance"] for (kind, name), row in table.items() if kind == "people"}
assert table["people", "regression"]["true"].mean() > one["true"].mean() + 0.03
assert abs(apart["diffusion minus autoregressive, true"][0]) < 0.04
assert max(far["diffusion prior"]) < min(far["autoregressive prior"])
assert max(far["autoregressive prior"]) < min(far["regression"])

# %% [markdown]
# **Full sentences.** All three go nearly the whole way to the ceiling: little is left to draw, so a mean is nearly as good as a draw.
#
# **What people say.** The regression has the highest cosine, .84 against .78 and .77, as section 3.3 predicts. But as a set, its answers (learned from fewer scenes) are farther from real embeddings than the draws of both priors are. The sentence's own embedding is much farther: that is the gap.
#
# **Are the distributions right?** A perfect prior's draw and the true embedding are two draws of one distribution, so *true* would equal *alike*. For ours, *alike* is about .05 larger: nearly five standard errors. So the priors' distributions are too narrow, or their mean is not the right one. This number cannot tell which.
#
# **Best of two** brings the draw nearer to the sentence by construction, and also to the true embedding.
#
# **Which prior wins?** In cosine, their difference is within two standard errors. For people's sentences the diffusion prior has the smaller distance, with both seeds.
#
# ### 6.2 Pictures
#
# Now with the decoder. Its noise is the same in all rows; only the embedding's origin changes:

# %%
SIX = ["a large red circle", "a blue star", "a striped green heart", "two pink moons",
       "a yellow square above a brown cross", "a purple triangle"]  # fmt: skip
wishes = read(clip, SIX)
rows = {"diffusion prior": diffused(wishes, 4), "autoregressive prior": autoregressive.draw(wishes, seed=4),
        "regression": F.normalize(regressed(wishes.embedding), dim=1),
        "the sentence's own": wishes.embedding}  # fmt: skip
made = {name: paint(SIX, z, seed=4) for name, z in rows.items()} | {"none": paint(SIX, seed=4)}
plots.show(plots.image_grid(torch.cat(list(made.values())), columns=6, rows=list(made)),
           "Six sentences in five rows of pictures from the same noise, by the origin of the embedding. The "
           "backgrounds are colored with the priors and nearly gray with the regression; the sentence's own "
           "embedding gives a green circle and stripes.")  # fmt: skip

# %% [markdown]
# No sentence names a background. With the regression all are nearly gray, as in a mean; with the priors, eleven of twelve have a color. The sentence's own embedding gives unasked stripes and dots, and a green circle; the diffusion prior, a blue diamond for the star. In columns 4 and 5, no row shows what was asked for and nothing else.
#
# `python -m benchmarks.unclip_table` took 80 sentences, and stored this:

# %%
rows, columns = stored["sentences"], ("parts", "valid", "spread")
print("{samples} sentences, {steps} steps, scale {scale:g}; ± standard error".format(**stored))
print(f"{'':22}" + "".join(f"{name:>14}" for name in columns) + f"{'distance':>12}")
for name, row in rows.items():
    cells = [mean_and_error(dalle2_table.of(row, each) * (100 if each == "spread" else 1))
             if each in row else "–" for each in columns]  # fmt: skip
    distance = f"{1000 * row['distance'][0]:.1f}" if "distance" in row else "–"
    print(f"{name:22}" + "".join(f"{cell:>14}" for cell in cells) + f"{distance:>12}")

# %%
parts = {name: dalle2_table.of(row, "parts") for name, row in rows.items()}
compared = {
    "parts": (("diffusion prior", "the sentence"), ("autoregressive prior", "the sentence"),
              ("diffusion prior", "none"), ("diffusion prior", "regression"),
              ("the real picture", "diffusion prior"), ("autoregressive prior", "diffusion prior")),
    "valid": (("diffusion prior", "the sentence"), ("autoregressive prior", "diffusion prior")),
    "spread": (("diffusion prior", "regression"), ("autoregressive prior", "diffusion prior"),
               ("none", "diffusion prior"), ("regression", "the real picture")),
}  # fmt: skip
for column, named in compared.items():
    for pair in named:
        mean, error = dalle2_table.mean_difference(
            *(dalle2_table.of(rows[name], column) for name in pair)
        )
        print("{:8}{} minus {}: {:+.3f} ± {:.3f}".format(column, *pair, mean, error))
more = (dalle2_table.of(rows[name], "spread") for name in ("none", "diffusion prior"))
mean, error = dalle2_table.mean_difference(*more)
assert mean > 2 * error
assert (
    parts["real"].mean() > 0.95 and parts["diffusion prior"].mean() > parts["shuffled"].mean() + 0.2
)

# %% [markdown]
# (*Spread* is in hundredths, of four pictures of one sentence, for twelve sentences; in the row *real*, of different ones. *Distance* is in thousandths, of the reader's first feature maps, averaged over places, and without an error; its floor is that of 80 real pictures, 28.)
#
# - **The sentence's own embedding** is a bad substitute. Of its pictures .64 are valid scenes, against .86 with the diffusion prior, and its distance is about twice as large.
# - **The mean** shows about as many parts as the priors; the difference is not decided. But its distance is 16 times as large. Its pictures of one sentence differ less, by three standard errors, since they share one embedding (those of one real embedding differ as little). So a mean keeps the sentence, and loses variety.
# - **No embedding**, the caption alone, does well: as many parts as with a prior, as many valid scenes, and more spread than with the diffusion prior (40 against 31; 9 ± 3 for the same sentences). So in this world a prior does not help to obey the sentence, but brings the pictures as a set nearer to real ones (distance 29 against 81).
# - **The real picture's embedding** is the ceiling of this decoder. It shows not measurably more parts than the priors do.
# - **Which prior wins?** The autoregressive one is ahead in parts, valid scenes and spread, each by less than two standard errors: not decided. The paper found its diffusion prior better, and cheaper to train.
#
# The paper compared small models by FID (section 5.1):
#
# | what the decoder gets | paper, FID | ours, distance |
# |---|---|---|
# | an embedding from a prior | 7.99 | 29 (28 with the autoregressive one) |
# | the text embedding, by a decoder that was trained with it | 9.16 | not tried |
# | the text embedding in place of an image embedding | 16.55 | 55 |
#
# In the two rows that we tried, the order is the same.
#
# ### 6.3 Guidance and diversity
#
# The paper claims that guidance costs unCLIP less diversity than GLIDE: it cannot change $z$. We draw four pictures of each of twelve sentences, each with its own $z$:

# %%
print("scale    unCLIP: parts        spread      GLIDE: parts        spread")
for scale in stored["guidance"]["GLIDE"]:
    cells = [mean_and_error(factor * dalle2_table.of(stored["guidance"][name][scale], column))
             for name in ("unCLIP", "GLIDE") for column, factor in (("parts", 1), ("spread", 100))]  # fmt: skip
    print(f"{scale:5}" + "".join(f"{cell:>16}" for cell in cells))
first, last = list(stored["guidance"]["GLIDE"])
lost = {name: dalle2_table.of(each[first], "spread") - dalle2_table.of(each[last], "spread")
        for name, each in stored["guidance"].items()}  # fmt: skip
gained = {}
for name, each in stored["guidance"].items():
    gained[name] = dalle2_table.mean_difference(
        *(dalle2_table.of(each[s], "parts") for s in (last, first))
    )
    print(
        "{}: parts gained from scale {} to {}: {:+.2f} ± {:.2f}".format(
            name, first, last, *gained[name]
        )
    )
for name, each in lost.items():
    cell = mean_and_error(100 * each)
    print(f"{name}: spread lost from scale {first} to {last}: {cell} for each sentence")
difference, error = dalle2_table.mean_difference(100 * lost["GLIDE"], 100 * lost["unCLIP"])
print(f"GLIDE loses more by {difference:+.2f} ± {error:.2f}")
assert gained["GLIDE"][0] > 2 * gained["GLIDE"][1]

# %% [markdown]
# GLIDE's parts rise with the scale, by .17 ± .05; unCLIP's rise (.10 ± .06) is not decided. But neither model loses measurable diversity. So with twelve sentences, this table neither shows the paper's claim nor contradicts it. (In the paper, people found unCLIP more diverse than GLIDE in 70.5 % of the comparisons; table 1.)
#
# ## 7 · A picture as two things
#
# Encode a given picture as **$(z, x_T)$**: its CLIP embedding, and the noise from which the decoder nearly returns to this picture, found by DDIM inversion (lesson 04). $z$ holds what CLIP sees, $x_T$ the rest.
#
# ### 7.1 Variations
#
# Keep $z$, and sample with noise in every step ($\eta>0$). What CLIP sees should stay. With $\eta=0$ the picture itself should nearly come back.

# %%
star = Scene([Object("star", "red", "large", "plain", x=0.35, y=0.4, radius=0.25)], "sky")
two = Scene([Object("heart", "pink", "large", "plain", x=0.3, y=0.35, radius=0.22),
             Object("square", "blue", "small", "plain", x=0.75, y=0.72, radius=0.15)], "sand")  # fmt: skip
moon = Scene([Object("moon", "purple", "large", "plain", x=0.6, y=0.6, radius=0.24)], "lilac")
pictures = dict(zip(("red star", "two things", "purple moon"),
                    scenes.render(scenes.tensors([star, two, moon]), 32)))  # fmt: skip
VariationExplorer(dalle2.variations, pictures, steps=20, columns=4)

# %% [markdown]
# How often is each attribute kept? The floor compares with another picture. *Number* is from pictures of two or three things, the rest from pictures of one.

# %%
kept_by, floor = (stored["variations"][name] for name in ("variation", "another's"))
print(f"{stored['pictures']} pictures, eta 1    variation         another picture")
survives = {}
for name in ("color", "shape", "background", "fill", "size", "number", "place"):
    survives[name] = dalle2_table.of(kept_by, name)
    print(f"{name:20}{mean_and_error(survives[name]):>16}"
          f"{mean_and_error(dalle2_table.of(floor, name)):>22}")  # fmt: skip
assert all(
    survives[name].mean() > 0.9 for name in ("color", "shape", "background", "size", "number")
)
assert survives["fill"].mean() > 0.7 and survives["place"].mean() < 0.2

# %% [markdown]
# Color, shape, background, size and number survive in more than nine of ten variations, the fill in about five of six. The **place** does not: it is right no more often than in another picture. So $z$ holds what a thing is, and hardly where it stands. We think that the captions are the reason: they name colors far more often than places.
#
# ### 7.2 Between two pictures
#
# Two pictures give two pairs $(z,x_T)$. Go along the arc (slerp, lesson 04) between them:

# %%
ends = [pictures[name][None] for name in ("red star", "purple moon")]
made = final(dalle2.interpolate(*ends, n=7, steps=20))
plots.show(plots.image_grid(torch.cat([ends[0], made, ends[1]]), columns=9,
                            titles=["original", *(f"{k / 6:.2f}" for k in range(7)), "original"]),
           "Seven pictures between a red star and a purple moon, with both originals at the ends.")  # fmt: skip

# %% [markdown]
# At both ends the originals nearly come back, places included: $x_T$ holds them. The thing in the middle is half red and half purple, so not every picture between two scenes is a scene.

# %%
InterpolationExplorer(dalle2.interpolate, pictures, steps=20)

# %% [markdown]
# ### 7.3 Text diffs: change a picture by words
#
# Two sentences give a direction, "from a red star to a blue star". Turn $z$ towards it, and keep $x_T$:
#
# $$z_d=\frac{z_{\text{after}}-z_{\text{before}}}{\lVert z_{\text{after}}-z_{\text{before}}\rVert},\qquad z_\theta=\operatorname{slerp}(z,z_d,\theta).$$
#
# Both sentences lie on the same side of the gap, so the gap cancels in the difference. The paper takes $\theta$ up to .25 or .5.

# %%
show_source(DALLE2.text_diff, docstring=False)

# %%
THETAS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
tries = {("a red star", "a blue star"): "red star", ("a red star", "a red heart"): "red star",
         ("a purple moon", "two purple moons"): "purple moon"}  # fmt: skip
made = [
    final(dalle2.text_diff(pictures[name][None], *words, THETAS, steps=20))
    for words, name in tries.items()
]
plots.show(plots.image_grid(torch.cat(made), columns=6, titles=[f"θ = {theta:g}" for theta in THETAS],
                            rows=[" → ".join(words) for words in tries]),
           "Three changes by words, each in six pictures with growing theta. A red star becomes blue from 0.2 "
           "on. A red star becomes a cross, then a heart. One moon becomes two, later with crosses.")  # fmt: skip

# %%
TextDiffExplorer(dalle2.text_diff, pictures, ("a red star", "a blue star"), steps=20)

# %% [markdown]
# How often does the new color come, and what else stays? (48 pictures of one thing.)

# %%
changes = stored["changes"]
print("theta" + "".join(f"{name:>14}" for name in next(iter(changes.values()))))
for theta, row in changes.items():
    cells = (mean_and_error(dalle2_table.of(row, name)) for name in row)
    print(f"{theta:5}" + "".join(f"{cell:>14}" for cell in cells))
for start in ("0.25", "0"):
    ends = (dalle2_table.of(changes[theta], "shape") for theta in (start, "0.5"))
    mean, error = dalle2_table.mean_difference(*ends)
    print(f"the shape falls from θ = {start} to 0.5 by {mean:.3f} ± {error:.3f}")
assert abs(mean - 0.15) < 0.01 and mean > 2 * error  # from 0

# %% [markdown]
# At $\theta=.25$ the new color is there in 85 % of the pictures, while shape, size and background stay in more than nine of ten, and the fill in five of six. At $\theta=.5$ the color comes in 98 %. The shape stays in 85 %, .15 ± .05 less than at $\theta=0$. (From $\theta=.25$ on, its fall is within two standard errors.)
#
# The last two rows above show harder changes. On the way to a heart, a cross appears. A second moon comes early, but from $\theta=.4$ on there are crosses, too. The place moves as well.
#
# ### 7.4 What the components hold
#
# The paper decodes embeddings of which only the first $k$ principal components are kept. We do so without a caption. Each column has its own noise, the same in all rows:

# %%
pca = PCA(128, 128)
pca.fit(known[:2_048])
originals = torch.cat([scenes.render(scenes.tensors([star, moon]), 32),
                       scenes.render(new.take(slice(0, 1)), 32)])  # fmt: skip
COUNTS = (0, 2, 8, 17, 128)


def cut_to(k, z):
    """Embeddings of which the first k components are kept, (N, 128)."""
    return F.normalize(pca.back(pca(z)[:, :k]), dim=1)


z = clip.encode_image(originals)
cut = torch.stack([cut_to(k, z) for k in COUNTS], 1)  # (3, 5, 128)
made = torch.cat([paint([None] * 5, each, seed=2) for each in cut]).unflatten(0, (3, 5))
grid = torch.cat([originals[:, None], made], 1)
titles = ["original", *(f"k = {k}" for k in COUNTS)]
plots.show(plots.image_grid(grid.flatten(0, 1), columns=6, titles=titles),
           "Three pictures, and what is decoded from a growing number of components of each: a blue ring and an "
           "orange diamond for 0, stars for 2, the right shapes and colors from 8 on, the right backgrounds "
           "from 17 on.")  # fmt: skip
for k, each in zip(COUNTS, cut.unbind(1)):
    print(f"k = {k:3}: cosine with the whole embedding {cosine(each, z).mean():.2f}")

# %%
sentence, z = "a pink heart and a blue square", clip.encode_image(pictures["two things"][None])
found = {}
for k in (17, 128):
    drawn = paint([None] * 16, cut_to(k, z).repeat(16, 1), seed=5)
    found[k] = shares(reader.read(drawn), [sentence] * 16)
    print(f"k = {k:3}, 16 draws: {mean_and_error(found[k])} of “{sentence}” is shown")
assert all(abs(found[k].mean() - 0.8) < 0.12 for k in found)

# %% [markdown]
# With $k=0$ all rows are decoded from the mean of all embeddings. With 2 components each row shows a star, also that of the moon. With 8 shapes and colors are right, but not the backgrounds. With 17 the cosine is 1.00 (rounded), and what is shown is right. Of a picture of two things, 17 and 128 components show as much: four fifths of the parts. The places come from the noise.
#
# ## 8 · Break it
#
# Four classic mistakes with a diffusion prior. The first two need a training of their own:
#
# - **ε-prediction**: the network predicts the noise, as in lesson 03;
# - **unscaled**: unit vectors are noised as they are;
# - **clipped**: $\hat z$ is clipped to $[-1,1]$ in each step, as pixels are;
# - **not causal**: the weights of a causal prior are used with a bidirectional mask.

# %%
right = learned(SMALL)
seeing = (
    DiffusionPrior(replace(SMALL, net=replace(SMALL.net, causal=False)))
    .eval()
    .requires_grad_(False)
)
seeing.load_state_dict(right.state_dict())
ways = {"right": (right, {}), "ε-prediction": (learned(replace(SMALL, predicts="eps")), {}),
        "unscaled": (learned(replace(SMALL, std=128**-0.5)), {}),
        "clipped": (right, {"map_x0": clip_x0}), "not causal": (seeing, {})}  # fmt: skip
asked, true = Texts(*(field[:64] for field in people)), own[:64]
print(f"{'':14}{'true':>8}{'shuffled':>10}{'alike':>8}")
broken, near_true = {}, {}
for name, (prior, options) in ways.items():
    one, two = (diffused(asked, seed, prior, **options) for seed in (1, 2))
    others = (true, true.roll(1, 0), two)
    broken[name] = [cosine(one, each).mean().item() for each in others]
    near_true[name] = (cosine(one, true) + cosine(two, true)) / 2
    print("{:14}{:8.2f}{:10.2f}{:8.2f}".format(name, *broken[name]))
for name in ("unscaled", "clipped"):
    mean, error = dalle2_table.mean_difference(near_true[name], near_true["right"])
    print(f"true, two draws each: {name} minus right {mean:+.3f} ± {error:.3f}")
    assert 2 * error < abs(mean) < 0.04 and (mean > 0) == (name == "unscaled")
assert (
    abs(broken["ε-prediction"][0]) < 0.1
    and broken["unscaled"][2] > 0.99 > 0.97 > broken["right"][2]
)
assert all(abs(broken[name][0] - broken["right"][0]) < 0.03 for name in ("clipped", "not causal"))

# %%
four = ["a red circle", "a blue star", "two squares", "a pink moon"]
drawn = [diffused(read(clip, four), 1, prior, **options) for prior, options in ways.values()]
made = paint([None] * len(four) * len(ways), torch.cat(drawn))
plots.show(plots.image_grid(made, columns=4, rows=list(ways), titles=four),
           "Four sentences in five rows: the right prior, and four mistakes. Red circles, blue stars and pink "
           "moons in all rows but that of ε-prediction; two squares only in the row unscaled.")  # fmt: skip

# %% [markdown]
# - **ε-prediction.** The cosine is about 0, and the pictures show something else. (After 160 updates; we think that longer training would help.)
# - **Unscaled.** Its cosine is *higher* than that of the right prior, by .024 ± .008. But *alike* is 1.00 (rounded): two draws are nearly the same. It has become a regression, as section 3.4 predicts. The cosine alone does not show this; two draws do.
# - **Clipped, and not causal.** Here they cost little: clipping .01 of the cosine. Entries of standard deviation .54 seldom leave $[-1,1]$. The wrong mask costs little, we think, because the query at the end sees the whole sequence under both masks. (Even the right prior draws no two squares: 160 updates are few.)
#
# ## 9 · Exercises
#
# Write into the stub and run the cell. The check draws new random inputs and names the usual mistakes. A hint is folded under each stub, a solution in the next cell (click its three dots).
#
# ### 9.1 As large as pixels &nbsp; ● 10 minutes
#
# `z` `(B, D)` are unit vectors, `eps` is noise. Give the entries of `z` the size `std` (section 3.4), and return their noisy version at time `t`. `schedule.signal(t, z)` and `schedule.noise(t, z)` are $\sqrt{\bar\alpha_t}$ and $\sqrt{1-\bar\alpha_t}$.


# %%
def noised_embedding(schedule, z, t, eps, std):
    """The scaled embedding at time t, (B, D)."""
    ...


checks.noised_embedding(noised_embedding)

# %% [markdown]
# <details><summary>Hint</summary>A unit vector of D entries has entries of about 1/√D. By what must they be multiplied to be about std? D is <code>z.shape[1]</code>.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def noised_embedding_solution(schedule, z, t, eps, std):
    larger = std * z.shape[1] ** 0.5 * z
    return schedule.signal(t, z) * larger + schedule.noise(t, z) * eps


checks.noised_embedding(noised_embedding_solution).require()

# %% [markdown]
# ### 9.2 Codes, and back &nbsp; ●● 20 minutes
#
# `z` `(B, D)`; `mean` `(D,)` and `axes` `(K, D)` are those of a PCA. `low` and `high` `(K,)` are the range of each component, cut into `count` equal buckets. Return the codes `(B, K)` long, $0\dots$ `count − 1`, and the unit vectors `(B, D)` that the middles of the buckets stand for.


# %%
def codes_and_back(z, mean, axes, low, high, count):
    """The codes (B, K), and the embeddings that come back (B, D)."""
    ...


checks.codes_and_back(codes_and_back)

# %% [markdown]
# <details><summary>Hint</summary>Coordinates: <code>(z − mean) @ axes.T</code>. How many whole bucket widths lie between low and the coordinate? <code>floor</code>, <code>long</code>, <code>clamp</code>. Back: low + (code + ½) · width, times the axes, plus the mean, to length 1.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def codes_and_back_solution(z, mean, axes, low, high, count):
    width = (high - low) / count
    codes = (((z - mean) @ axes.T - low) / width).floor().long().clamp(0, count - 1)
    middles = low + (codes + 0.5) * width
    return codes, F.normalize(middles @ axes + mean, dim=1)


checks.codes_and_back(codes_and_back_solution).require()

# %% [markdown]
# ### 9.3 Best of several &nbsp; ● 10 minutes
#
# `candidates` `(n, B, D)` are of any length, `text` `(B, D)` are unit vectors. Return for each row the candidate with the largest cosine, as a unit vector, `(B, D)`.


# %%
def best_of(candidates, text):
    """The best candidate of each row, (B, D), of length 1."""
    ...


checks.best_of(best_of)

# %% [markdown]
# <details><summary>Hint</summary>Normalize along the last dimension first. <code>(candidates * text).sum(2)</code> is (n, B); its <code>argmax(0)</code> says which candidate each row keeps: <code>candidates[index, torch.arange(B)]</code>.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def best_of_solution(candidates, text):
    candidates = F.normalize(candidates, dim=2)
    best = (candidates * text).sum(2).argmax(0)
    return candidates[best, torch.arange(len(text))]


checks.best_of(best_of_solution).require()

# %% [markdown]
# ### 9.4 Two independent drops &nbsp; ● 10 minutes
#
# `mask` `(B, L)` is True where a caption has a real token; `u` and `v` `(B,)` are random numbers in $[0,1)$. A row loses its caption where `u < p_caption`, and its embedding where `v < p_embedding`. Return the new mask, and which embeddings are still known, `(B,)` bool.


# %%
def drop_each(mask, p_caption, p_embedding, u, v):
    """The mask without lost captions (B, L), and which embeddings are known (B,)."""
    ...


checks.drop_each(drop_each)

# %% [markdown]
# <details><summary>Hint</summary>Kept is the opposite of lost: <code>u >= p_caption</code>. With <code>[:, None]</code> it broadcasts over the positions.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def drop_each_solution(mask, p_caption, p_embedding, u, v):
    return mask & (u >= p_caption)[:, None], v >= p_embedding


checks.drop_each(drop_each_solution).require()

# %% [markdown]
# ### 9.5 A change by words &nbsp; ●● 20 minutes
#
# `z`, `before` and `after` `(B, D)` are unit vectors: a picture's embedding and those of two sentences. Return $z_\theta$ of section 7.3, `(B, D)`. Write slerp yourself: for unit vectors with angle $\omega$ it is $\frac{\sin((1-\theta)\omega)}{\sin\omega}z+\frac{\sin(\theta\omega)}{\sin\omega}z_d$.


# %%
def text_diff(z, before, after, theta):
    """The embedding, turned towards the difference of both sentences, (B, D)."""
    ...


checks.text_diff(text_diff)

# %% [markdown]
# <details><summary>Hint</summary>Normalize <code>after − before</code> first. The angle of each row: <code>(z * z_d).sum(1, keepdim=True).arccos()</code>.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def text_diff_solution(z, before, after, theta):
    z_d = F.normalize(after - before, dim=1)
    angle = (z * z_d).sum(1, keepdim=True).clamp(-1, 1).arccos()
    return (((1 - theta) * angle).sin() * z + (theta * angle).sin() * z_d) / angle.sin()


checks.text_diff(text_diff_solution).require()

# %% [markdown]
# ## 10 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "A new prior has a lower cosine to the true embeddings than a linear regression has. What follows?",
    {
        "The prior is worse": "A perfect prior has a lower cosine than the mean, too: the norm of the mean, squared, against the norm.",
        "Nothing yet: also look at how different its draws are": "A mean has the highest cosine that a fixed answer can have, and no diversity at all. Compare the spread of the draws, and the Fréchet distance.",
        "The prior was trained on another CLIP": "That would give a cosine near that of shuffled pairs.",
    },
    answer="Nothing yet: also look at how different its draws are",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Captions are lost with 50 %, embeddings with 10 %, by one random number for both. What is missing?",
    {
        "Rows with neither": "Those are there: 10 % of all rows.",
        "Rows that lose the embedding but keep the caption": "With one number, each row that loses the embedding loses the caption, too. The decoder never learns to draw from a caption alone.",
        "Rows with an embedding alone": "Those are 40 % of all rows.",
    },
    answer="Rows that lose the embedding but keep the caption",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why are CLIP's unit vectors multiplied by .5375 √d before the diffusion prior noises them?",
    {
        "So that they have length 1 again": "They had length 1 before; now it is .5375 √d.",
        "So that something of them is left at most times": "Their entries are about 1/√d, tiny beside noise of standard deviation 1. Larger, they live through as much of the schedule as pixels do.",
        "So that the loss becomes smaller": "A larger target makes the squared error larger. That is not the point of it.",
    },
    answer="So that something of them is left at most times",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You train the autoregressive prior without its causal mask. What happens in training?",
    {
        "The loss falls to nearly 0, and the samples are useless": "Each position then sees the code that it has to predict, and copies it. When you sample, that code is not there yet.",
        "Nothing: a diffusion prior works without it, too": "A diffusion prior predicts nothing that stands in its input. A model that writes codes does.",
        "An error of shapes": "A mask changes no shape.",
    },
    answer="The loss falls to nearly 0, and the samples are useless",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "In a variation of a picture, things stand elsewhere. Which part of $(z, x_T)$ held the places?",
    {
        "z": "z was kept. If it held the places exactly, they could not have changed.",
        "Mostly the noise: x_T, and what is drawn in each step": "With eta above 0, that part is drawn anew.",
        "The caption": "A variation has no caption.",
    },
    answer="Mostly the noise: x_T, and what is drawn in each step",
)

# %% [markdown]
# ## 11 · Recap
#
# - **Two steps:** $P(x\mid y)=P(x\mid z,y)\,P(z\mid y)$ is exact, since $z$ is a function of $x$.
# - **The gap:** a sentence's embedding is no image embedding. A prior draws one.
# - **Not a mean:** the mean has a high cosine and no diversity. Judge a prior also by the spread of its draws and by a distance of distributions.
# - **The diffusion prior** predicts $z$ itself, scaled to the size of pixels. **The autoregressive prior** writes PCA components as codes.
# - **$(z,x_T)$** stands for a picture. Variations add new noise, interpolations go along both arcs, text diffs turn $z$.
#
# **What the next lesson fixes.** What CLIP does not see, $z$ cannot carry. Imagen (lesson 11) leaves CLIP out: a language model that never saw a picture reads the sentence.
#
# **References**
# - A. Ramesh, P. Dhariwal, A. Nichol, C. Chu, M. Chen: *Hierarchical Text-Conditional Image Generation with CLIP Latents* (DALL·E 2, unCLIP), 2022.
# - A. Nichol et al.: *GLIDE*, 2021. J. Song et al.: *Denoising Diffusion Implicit Models*, ICLR 2021.
# - W. Liang et al.: *Mind the Gap: Understanding the Modality Gap in Multi-modal Contrastive Representation Learning*, NeurIPS 2022.
