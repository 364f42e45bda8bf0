# %% [markdown]
# # 09 · GLIDE: the sentence inside the network
#
# **The question.** In lesson 08 another network guided a model that cannot read. What changes if the model itself reads the sentence? Which guidance then makes better pictures: classifier-free, or CLIP's?
#
# **Afterwards you can**
# - draw the two routes by which text enters GLIDE's U-Net;
# - write attention over text and pixels with one softmax, and the empty caption;
# - see which words the pixels attend to, and say what such a map does not prove;
# - compare two kinds of guidance, and say by which measure each is better;
# - fill holes in pictures, and make pictures larger, by what stands beside $x_t$.
#
# **Before:** lesson 06 (classifier-free guidance); lesson 08 (CLIP guidance, noise-aware encoder); softmax and attention.
#
# **Time:** about 50 minutes to read and play, 75 for all exercises, 90 seconds to run on two cores.
#
# **On the map:** 08 semantic guidance → **09 GLIDE** → 10 DALL·E 2.

# %%
from dataclasses import replace

import torch
import torch.nn.functional as F

from labkit import scenes, zoo
from labkit.conditioning import Conditioning
from labkit.denoiser import MapX0, clip, keep_known
from labkit.guidance import ClassifierFree, gradient, mean_shift
from labkit.lab import checks, glide_plot, glide_table, grounding, plots, quiz, show_source
from labkit.lab.attention_maps import looked_at, over_text
from labkit.lab.standard_error import mean_and_error
from labkit.lab.widgets import watch
from labkit.lab.widgets.eraser import Eraser
from labkit.lab.widgets.prompt_explorer import PromptExplorer
from labkit.nets.attention import PixelAttention, attend, causal
from labkit.nets.transformer import TextConfig
from labkit.nets.unet import UNetConfig
from labkit.sampler import ancestral, ddim, ddpm, from_noise, noise_like
from labkit.scenes import Object, Scene, holes, small, tokenizer
from labkit.scenes.descriptions import descriptions
from labkit.scenes.scores import caption_accuracy, shown_parts, valid
from labkit.systems.ddpm import DDPMConfig, build_denoiser
from labkit.systems.glide import GLIDE, GLIDEConfig
from labkit.systems.glide_inputs import fast27
from labkit.train import train

torch.manual_seed(0)
plots.use_style()

# %% [markdown]
# The lesson uses three networks of one class, `GLIDE`. The **base model** draws 32 × 32 pixels from a sentence. The **upsampler** makes them 64 × 64. The **inpainter** fills holes. CLIP, the **reader** and the noise-aware encoder come from lessons 07 and 08. The reader says what a picture shows; it measures and never guides. After a restart, run these cells, then any section.

# %%
cascade = zoo.load("glide-scenes-64").requires_grad_(False)
model, upsampler = cascade.stages["base"], cascade.stages["upsampler"]
others = ("glide-scenes-inpaint", "reader-scenes", "clip-scenes", "noisy-clip-scenes")
inpainter, reader, read_clip, guide = (zoo.load(name).requires_grad_(False) for name in others)
schedule = model.denoiser.schedule
STEPS, SCALE = 20, 3.0  # of sampling in this lesson, out of 1000; and of guidance


# %%
def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def final(states):
    """The pictures after the last step."""
    *_, state = states
    return state.x.clamp(-1, 1)


def paint(sentences, scale=SCALE, seed=0, by=model, **options):
    """A picture of 32 x 32 pixels for each sentence; noise in every step (eta = 1)."""
    options = {"steps": STEPS, "eta": 1.0} | options
    return final(by.generate(sentences, scale=scale, seed=seed, **options))


def noised(pictures, t, seed=0):
    return schedule.diffuse(pictures, t, torch.randn(pictures.shape, generator=seeded(seed)))


# %%
new = scenes.draw(32, 3)  # 32 scenes that were not used in training
pictures, said = scenes.render(new, 32), descriptions(new, 3)  # sentences that leave nothing out
own = model.encode(said)
star = Object("star", "red", "large", "plain", x=0.32, y=0.36, radius=0.25)
moon = Object("moon", "blue", "small", "plain", x=0.76, y=0.74, radius=0.15)
scene = scenes.render(scenes.tensors([Scene([star, moon], "sand")]), 32)  # (1, 3, 32, 32)


@torch.no_grad()
def errors(cond, t):
    """The mean squared error of x0 for each of the 32 scenes, in thousandths, (32,)."""
    x0 = model.denoiser(noised(pictures, t), t, cond).x0
    return 1000 * (x0 - pictures).square().mean((1, 2, 3))


# %% [markdown]
# ## 1 · See it first
#
# Eight sentences, one picture each, 64 × 64 pixels. They are the first of seed 0. **Training showed purple things and stars, but no purple star** (number 8).

# %%
EIGHT = ["a large red circle", "a small yellow star on a mint background", "a striped blue heart",
         "two green squares", "a pink moon above a brown cross",
         "an outlined orange triangle in the top left", "a small red heart inside a large blue square",
         "a large purple star"]  # fmt: skip
eight = paint(EIGHT)  # 32 pixels
large = final(upsampler.generate(EIGHT, low=eight, seed=0, steps=6))  # 64 pixels
plots.show(plots.image_grid(large, columns=4, titles=range(1, 9)),
           "Eight generated scenes, numbered 1 to 8, for the eight sentences listed below.")  # fmt: skip
found = shown_parts(reader.read(eight), EIGHT)
for number, (sentence, parts) in enumerate(zip(EIGHT, found), 1):
    marks = (f"{part.kind} {'+' if part.shown else '−'}" for part in parts)
    print(f"{number}  {sentence:46}", ", ".join(marks))

# %% [markdown]
# Each part of a sentence has + if the reader finds it in the picture (at 32 pixels), − if not.
#
# What is wrong: the heart (3) has no stripes. In 5 a moon stands for the cross, and there is a second pink moon. The triangle (6) is not in the top left. In 7 the colors are exchanged, and nothing is clearly a heart. Several things have light dots that no sentence asks for.
#
# ## 2 · The idea
#
# GLIDE (Nichol et al. 2021) trains the model *with* the sentence. A **text transformer** reads the caption, and is trained together with the U-Net, by the same loss. Its output enters the U-Net by two routes:

# %%
plots.show(glide_plot.two_routes(),
           "A diagram: tokens and padding go into a text transformer. Its last position joins the time "
           "embedding; all positions become keys and values in the U-Net's attention.")  # fmt: skip

# %% [markdown]
# 1. **One vector.** The last position joins the time embedding, as a class does in lesson 06. It reaches every block, and there every pixel in the same way.
# 2. **All positions.** They become keys and values in every attention layer of the U-Net. There each pixel can attend to each word.
#
# Different pixels can use different words only by the second route.
#
# ## 3 · The derivation
#
# ### 3.1 Two routes, by number
#
# We add noise to 32 new scenes and measure the error of $\hat x_0$. Then we replace what goes through one route by that of another sentence.

# %%
other = own.take(torch.arange(32).roll(1))  # each gets its neighbor's sentence
ways = {"its own sentence": own, "another's vector": own._replace(vector=other.vector),
        "another's words": own._replace(tokens=other.tokens), "another's both": other,
        "no sentence": model.null.rows(32)}  # fmt: skip
rows = {name: [errors(cond, t) for t in (900, 600, 300)] for name, cond in ways.items()}
print("error of x0, thousandths     t = 900    t = 600    t = 300")
for name, row in rows.items():
    print(f"{name:24}", "".join(f"{each.mean():11.1f}" for each in row))
more = {name: row[1] - rows["its own sentence"][1] for name, row in rows.items()}  # at t = 600
for name in ("another's vector", "another's words"):
    error = more[name].std() / 32**0.5
    print(f"{name}: {more[name].mean():+.1f} ± {error:.1f} at t = 600")
    assert more[name].mean() > 2 * error
mean = {name: each.mean() for name, each in more.items()}
assert (
    max(mean, key=mean.get) == "another's both" and mean["another's both"] > mean["no sentence"] + 5
)

# %% [markdown]
# (± is the standard error of 32 paired differences.) The network uses both routes: exchanging either one raises the error. (The two then contradict each other, so this is not what each route would carry alone.) The error is largest if both say the same wrong thing. The sentence helps most at $t=900$, and little at $t=300$.
#
# ### 3.2 One softmax over [text; pixels]
#
# In the U-Net of lesson 05 (ADM), the pixels of a feature map attend to each other: $\operatorname{softmax}(QK^\top/\sqrt d)\,V$. GLIDE computes further keys and values from the text, $K_T$ and $V_T$, and puts them *before* those of the pixels:
#
# $$\boxed{\;\operatorname{softmax}\!\Big(\tfrac1{\sqrt d}\,Q\,\big[K_T;\,K\big]^{\!\top}\Big)\,\big[V_T;\,V\big]\;}$$
#
# *One* softmax runs over both: the more weight a pixel gives to the words, the less is left for the pixels. We build the weights of one layer by hand, and compare:

# %% tags=["nbval-check-output"]
layer = next(each for each in model.denoiser.net.modules() if isinstance(each, PixelAttention))
cond = model.encode(["a red star", "two moons"])
h = torch.randn(2, layer.norm.num_channels, 8, 8, generator=seeded())  # a feature map
q, k, v, _ = layer.queries(h, cond)
a, b = (each.unflatten(2, (layer.heads, -1)).transpose(1, 2) for each in (q, k))  # by head
by_hand = (a @ b.mT / a.shape[-1] ** 0.5).softmax(-1)
out, weights = attend(q, k, v, layer.heads, weights=True)
print("queries", q.shape[1], " keys", k.shape[1], "= 32 positions of text + 64 pixels")
print("the weights by hand are labkit's:", torch.allclose(by_hand, weights, atol=1e-5))
print("each row sums to 1 over both:", torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-5))

# %% [markdown]
# ### 3.3 Length 0 is ADM's
#
# If the text has no position, $K_T$ and $V_T$ are empty. What remains is the self-attention of ADM. We check this for one layer, and for the whole network: we build the same U-Net *without* the second route, with the same weights.

# %% tags=["nbval-check-output"]
empty = cond._replace(tokens=cond.tokens[:, :0])
print("the layer:  ", torch.allclose(layer(h, cond=empty), layer(h)))
config = DDPMConfig(replace(model.config.net, tokens=None), predicts="x0")
adm = build_denoiser(config).eval()
weights = model.denoiser.state_dict()
adm.load_state_dict({name: each for name, each in weights.items() if "token_kv" not in name})
x = noised(pictures[:2], 500)
with torch.no_grad():
    same = model.denoiser(x, 500, empty).x0, adm(x, 500, Conditioning(vector=cond.vector)).x0
    usual = model.denoiser(x, 500, cond).x0
print("the network:", torch.allclose(*same, atol=1e-4))
print("with the words it says something else:", not torch.allclose(same[0], usual, atol=1e-2))

# %% [markdown]
# ### 3.4 Padding, and the empty caption
#
# All rows of a batch need the same number of positions. GLIDE fills the rest of a short sentence with **padding**. Padding is not a token: each position has a learned vector of its own, which stands there if no word does. So the last position always exists, and pixels may attend to padding too.
#
# The text transformer is **not causal**: each position attends to all others.
#
# The **empty caption** is nothing but padding. In training, some captions are emptied at random. GLIDE does this in a fine-tuning after the training (20 %, section 4.2), our base model from the start (15 %). So one network learns to draw with a sentence and without.

# %% tags=["nbval-check-output"]
tokens, changed = model.tokens(["a red star"]), model.tokens(["a red moon"])
split = tokenizer.load().split("a red star")
print(
    split, f"with begin and end: {int(tokens.mask.sum())} real of {tokens.ids.shape[1]} positions"
)
behind = tokens._replace(ids=torch.where(tokens.mask, tokens.ids, 7))  # other ids behind the end
with torch.no_grad():
    first, second, third = (model.condition(each).tokens for each in (tokens, changed, behind))
print("ids behind the end change nothing:", torch.equal(first, third))
print("the last word changes the first position:", not torch.allclose(first[0, 0], second[0, 0]))
print("real tokens of the empty caption:", int(model.tokens([None]).mask.sum()))

# %% [markdown]
# ### 3.5 Guidance, two ways
#
# **Classifier-free** (lesson 06): the empty caption $\varnothing$ is the null,
#
# $$\hat\varepsilon=\varepsilon(x_t\mid\varnothing)+s\,\big(\varepsilon(x_t\mid c)-\varepsilon(x_t\mid\varnothing)\big).$$
#
# Here $s=1$ is no guidance.
#
# **CLIP guidance** (GLIDE, section 2.4): the model reads the sentence at scale 1. The mean of each step moves by lesson 08's gradient,
#
# $$\hat\mu=\mu+s\,\Sigma\,\nabla_{x_t}\big(f(x_t,t)\cdot g(c)\big).$$
#
# $f$ is an image encoder that was trained on noisy pictures, $g$ is CLIP's text encoder, and $\Sigma$ the variance of the step. The two scales have different units: compare them only by what they give. Both by number:

# %% tags=["nbval-check-output"]
x, t, s = noised(pictures[:2], 600), 600, 550
with torch.no_grad():
    goal = guide.language(read_clip.encode_text(["a red star", "two moons"]))
    pred, free = model.denoiser(x, t, cond), model.denoiser(x, t, model.null.rows(2))
    guided = ClassifierFree(model.denoiser, model.null, 3.0)(x, t, cond)
by_hand = free.eps + 3 * (pred.eps - free.eps)
print("classifier-free:", torch.allclose(by_hand, guided.eps, atol=1e-4))
plain = ddpm(schedule, pred, x, t, s, seeded())
moved = mean_shift(schedule, pred, x, t, s, seeded(), log_prob=goal, scale=100.0)
variance = ancestral(schedule, pred, x, t, s, 0.0)[1].item()
by_hand = plain + 100 * variance * gradient(goal, x, t)
print("CLIP guidance:  ", torch.allclose(by_hand, moved, atol=1e-4))

# %% [markdown]
# ## 4 · The real code
#
# The keys and values of section 3.2, the text as a condition, and the loss:

# %%
show_source(PixelAttention.queries, GLIDE.condition, GLIDE.loss, docstring=False)

# %% [markdown]
# In `loss`, an emptied caption is a mask that is False everywhere. `training_loss` is lesson 03's: noise, a random time, a squared error. For our base model and inpainter it adds a perceptual term, a distance between features of clean CLIP.
#
# ## 5 · Where does a pixel look?
#
# Here is a noisy scene, and for each word the attention weight that the pixels give it: the mean over all heads and layers. Each map is scaled to its own maximum.

# %%
sentence, times = "a large red star and a small blue moon", (800, 500, 200)
words = tokenizer.load().split(sentence)
read = model.encode(sentence)
looked = {t: looked_at(model.denoiser, noised(scene, t), t, read) for t in times}
maps = [over_text(looked[t], 32)[0, 1 : 1 + len(words)] for t in times]  # position 0 is <begin>
plots.show(glide_plot.over_sentence([noised(scene, t)[0] for t in times], maps, words,
                                    rows=[f"t = {t}" for t in times]),
           "A scene in noise at three times, and for each word of its sentence a map of the weight "
           "that the pixels give it.")  # fmt: skip

# %% [markdown]
# Now the weights of one pixel of one layer, in the middle of the star:

# %%
found = next(each for each in looked[500] if each.side == 8)
at, positions = (2, 2), ["<begin>", *words, "<end>"]
positions += [""] * (32 - len(positions))  # padding
weights = found.weights[0].mean(0)[at[0] * 8 + at[1]]
plots.show(glide_plot.of_one_pixel(noised(scene, 500)[0], weights, positions, at, 8),
           "Left: the noisy scene with one square of pixels framed on the star. Middle: bars, the weight "
           "of each position of the text; the last ones are padding. Right: the weight of each other "
           "pixel.")  # fmt: skip
shares = [each.weights[..., :32].mean((0, 1, 2)) for each in looked[500]]  # (32,) of each layer
print(
    "share of the weight that goes to the text, layer by layer:",
    *(f"{w.sum():.0%}" for w in shares),
)
padding = sum(w[len(words) + 2 :].sum() for w in shares) / sum(w.sum() for w in shares)
print(f"of the weight of the text, padding gets {padding:.0%}")
assert padding > 0.4 and words[int(weights[1 : 1 + len(words)].argmax())] == "moon"

# %% [markdown]
# This pixel lies on the star, and yet the word with the most weight is *moon*. Is that usual? We take scenes of two separate things of different shape and color, and a sentence such as "the red star and the blue moon". For each color word and noun we compare two weights: from the pixels of its own object, and from those of the other object.

# %%
drawn, asked = grounding.two_apart(600, seed=17, most=60)
WORDS = {"color": (2, 6), "noun": (3, 7)}  # where they stand; position 0 is <begin>
inside = grounding.inside(drawn, 32)  # of each object, (N, 2, 32, 32)

# %%
looked = looked_at(model.denoiser, noised(scenes.render(drawn, 32), 500), 500, model.encode(asked))
maps = over_text(looked, 32)  # (N, 32 positions, 32, 32)
prefers = {}
for kind, places in WORDS.items():
    given = maps[:, list(places)]  # (N, 2 words, 32, 32)
    mean = (given[:, :, None] * inside[:, None]).sum((3, 4)) / inside.sum((2, 3))[:, None]
    own_object, other_object = mean.diagonal(dim1=1, dim2=2), mean.flip(2).diagonal(dim1=1, dim2=2)
    prefers[kind] = (own_object > other_object).double().mean().item()
    print(f"{kind}: its own object's pixels give it more weight than the other's in "
          f"{prefers[kind]:.0%} of {own_object.numel()} cases (chance 50 %)")  # fmt: skip
assert prefers["color"] > 0.65 and prefers["color"] > prefers["noun"]

# %% [markdown]
# (The standard error is 3 to 4 points if the two cases of each scene are independent.)
#
# A color word gets more weight from its own object far more often than by chance. So does a noun, but less often. Two warnings:
#
# - Much of the text's weight goes to padding, which names nothing.
# - A map shows where the network *attends*, not what its answer *depends on*. Section 12 hides the padding from the pixels, and the error hardly changes.
#
# ## 6 · Play: type a sentence
#
# Type a sentence, choose scale, steps and seed, and press *Sample*. "Not this" takes the place of the empty caption in guidance (exercise 13.3). Questions:
#
# 1. Flip through the strip. What becomes better with the scale, and what becomes worse?
# 2. "a star left of a moon" and "a moon left of a star": does the picture show the difference?
# 3. A held-out combination: "an orange heart". Then its parts: "an orange star", "a red heart".


# %%
def paint_64(prompts, *, steps, scale, **options):
    """The states of both stages; the upsampler takes 6 steps and no guidance."""
    steps, scale = {"base": steps, "upsampler": 6}, {"base": scale}
    return cascade.generate(prompts, steps=steps, scale=scale, eta={"base": 1.0}, **options)


sentences = ("a large blue star", "two red stars", "a star left of a moon", "an orange heart",
             "a small yellow circle inside a large green square", "three pink hearts")  # fmt: skip
PromptExplorer(paint_64, sentences, scales=(1, 3, 6), steps=15, columns=4)

# %% [markdown]
# <details><summary>What you may have found</summary>
#
# 1. Section 8 measures it.
# 2. and 3. Section 11 counts these.
# </details>
#
# ## 7 · Train it, from nothing
#
# Now train a text-to-image model from scratch, on 2,000 simpler pictures of 16 × 16 pixels: one large plain thing on gray, in four colors and four shapes. Three of the sixteen combinations are held out: a green triangle, a blue cross and a yellow moon. In the captions, *golden* is yellow and a *disc* is a circle.

# %%
known, captions = small.pairs(2_000, size=16)
plots.show(plots.image_grid(known[:8], columns=8), "Eight pictures of one large thing on gray.")
print(*captions[:8], sep=" · ")
net = UNetConfig(
    size=16, width=32, multipliers=(1, 2), blocks=1, attention=(8, 4), groups=8, head_channels=16,
    scale_shift_norm=True, residual_resampling=True, fold=2, vector=64, vector_bias=True, tokens=64,
)  # fmt: skip
pieces, CONTEXT = tokenizer.load(), 12  # positions: begin, these short captions, end, padding
brief = tokenizer.Tokenizer(pieces.pieces, CONTEXT, pieces.words)
reads = TextConfig(vocabulary=1009, context=CONTEXT, width=64, depth=2, heads=4, end=1008)
torch.manual_seed(0)
learner = GLIDE(GLIDEConfig(net, predicts="x0", text=reads, p_uncond=0.2), brief)
print(f"{sum(p.numel() for p in learner.parameters()) / 1e6:.1f} million weights, none trained")

# %%
UPDATES = 300
WANTED = {"trained": small.KNOWN * 2, "held out": small.HELD_OUT * 4}  # 26 and 12 pictures


def obeys(network, wanted, scale=SCALE):
    """The pictures; the shares with the right color, the right shape, and both."""
    made = paint(small.sentences(wanted, 5), scale, seed=1, by=network, steps=12)
    pairs = [(*seen, *asked) for seen, asked in zip(small.nearest(made).pairs, wanted)]
    color = sum(seen == asked for seen, _, asked, _ in pairs) / len(pairs)
    shape = sum(seen == asked for _, seen, _, asked in pairs) / len(pairs)
    return made, color, shape, sum(pair[:2] == pair[2:] for pair in pairs) / len(pairs)


def keep_some(steps):
    """The steps; after some of them, what the averaged weights paint."""
    for step in steps:
        if step.step in (UPDATES // 8, UPDATES // 2, UPDATES):
            grown[step.step] = obeys(step.ema.eval(), WANTED["trained"])
        yield step


# %%
grown = {}
updates = train(learner, small.batches(known, captions, 32), UPDATES, optimizer="muon", lr=4e-3,
                decay="late", warmup=20, ema=0.98)  # fmt: skip
seen = watch(keep_some(updates), glide_plot.draw_training, every=20,
             alt="The loss falls steeply for some dozens of updates, and then slowly.")  # fmt: skip
trained_here = seen[-1].ema.eval().requires_grad_(False)
for step, (_, color, shape, _) in grown.items():
    print(f"after {step:3} updates: color {color:.0%}, shape {shape:.0%} of 26 pictures")
_, color, shape, _ = grown[UPDATES]
assert color > 0.9 and shape > 0.6 and seen[-1].loss < seen[0].loss / 5

# %%
shown = torch.cat([made[:13:2] for made, *_ in grown.values()])  # every second combination
plots.show(plots.image_grid(shown, columns=7, rows=[f"{n} updates" for n in grown],
                            titles=[" ".join(pair) for pair in small.KNOWN[::2]]),
           "Seven sentences, painted after some updates, after half of them, and at the end: first "
           "blobs, then things of the right color and mostly of the right shape.")  # fmt: skip
result = {name: obeys(trained_here, wanted) for name, wanted in WANTED.items()}
for name, (_, color, shape, both) in result.items():
    print(f"{name:9} color {color:.0%}, shape {shape:.0%}, both {both:.0%} of {len(WANTED[name])}")
assert color > 0.5 and both <= 0.5 and shape < result["trained"][2] - 0.1  # of the held-out ones
plots.show(plots.image_grid(result["held out"][0], columns=6,
                            titles=[" ".join(pair) for pair in (small.HELD_OUT * 2)]),
           "Twelve pictures of combinations that training never showed.")  # fmt: skip

# %% [markdown]
# (By chance, color and shape are each right in 25 %. A picture is read as the most similar real one.) The colors come first, the shapes later. After 300 updates all colors are right, and all shapes but one of 26. The pictures are still soft.
#
# For the held-out combinations both shares are lower. The green triangles are almost empty, the blue crosses are blobs, and two of the four yellow moons are moons. (The empty pictures are read as triangles, so 58 % of shapes is too high.) Color *and* shape are right in 3 of the 12. So this model seldom combines a known color and a known shape in a new way. (This is one training, and three combinations.)
#
# The shipped base model is larger, and was trained longer. It has seen 58 of 64 combinations of color and shape. Section 11 asks it for the other six.
#
# ## 8 · Measure: classifier-free against CLIP guidance
#
# Both ways use the same model, noises and sentences. Here are six:

# %%
SIX = ["a large red circle", "a blue star", "a striped green heart", "two pink moons",
       "a yellow square above a brown cross", "a purple star"]  # fmt: skip
with torch.no_grad():
    vectors = read_clip.encode_text(SIX)
rows = {
    name: paint(SIX, scale, seed=4)
    for name, scale in (("not guided", 1), ("classifier-free, 3", 3))
}
rows |= {f"CLIP, {weight:g}": glide_table.by_clip(model, SIX, weight, STEPS, 4, guide, vectors)
         for weight in (100.0, 1000.0)}  # fmt: skip
plots.show(plots.image_grid(torch.cat(list(rows.values())), columns=6, rows=list(rows), titles=range(1, 7)),
           "Six sentences, numbered 1 to 6, in four rows of pictures from the same noises: not guided, classifier-free "
           "guidance of scale 3, and CLIP guidance with a small and a large weight.")  # fmt: skip

# %% [markdown]
# Without guidance, the first picture shows a moon instead of a circle. No row shows two moons, or a square above a cross. At weight 1000 the blue star has become a square, and five of six backgrounds are gray.
#
# A benchmark drew 300 pictures for each way and scale. It stored five measures:
#
# - **parts**: the share of what a sentence says that the *reader* finds;
# - **valid**: the share that looks like some scene, by the reader;
# - **distance**: the Fréchet distance from real pictures in the reader's first features (small is good);
# - **CLIP score**: the mean cosine of picture and sentence by *clean* CLIP;
# - **guide's score**: the same by the network that guides in CLIP guidance.

# %%
table = glide_table.stored()  # by benchmarks/glide_table.py
guidance, ceiling = table["guidance"], table["rows"]["real"]
MEASURES = ("parts", "valid", "distance", "CLIP score", "guide's score")
mean_of = {}  # of each way at each scale, (measures, seeds)
print(
    f"{table['seeds']} seeds of {table['samples']} sentences, {table['steps']} steps; ± standard error over seeds"
)
print(" " * 24 + "".join(f"{name:>15}" for name in MEASURES))
for way, table_of in guidance.items():
    for scale, runs in zip(table_of["scales"], table_of["runs"]):
        mean_of[way, scale] = torch.stack([glide_table.column(runs, name) for name in MEASURES])
mean_of["real pictures", None] = torch.stack(
    [glide_table.column(ceiling, name) for name in MEASURES]
)
for (way, scale), each in mean_of.items():
    name = f"{way}, {scale:g}" if scale else way
    print(f"{name:24}" + "".join(f"{mean_and_error(row, tight=True):>15}" for row in each))
free, clip_guided = ([mean_of[way, scale] for scale in guidance[way]["scales"]]
                     for way in (glide_table.FREE, glide_table.BY_CLIP))  # fmt: skip
apart = {
    "classifier-free, 3 minus CLIP, 100": (free[3], clip_guided[1]),
    "CLIP, 1000 minus CLIP, 300": (clip_guided[3], clip_guided[2]),
}
for name, (one, other) in apart.items():
    print(f"\n{name}, seed by seed:")
    print(*(f"{measure} {(a - b).mean():+.3f} ± {(a - b).std() / 3**0.5:.3f}"
            for measure, a, b in zip(MEASURES, one, other)), sep=", ")  # fmt: skip
apart_by = glide_table.standard_errors_apart
for one in free[1:]:  # the scales above 1
    assert all(apart_by(one[0], other[0]) > 2 for other in clip_guided)  # parts
assert max(other[0].mean() for other in clip_guided) < free[0][0].mean() + 0.02
assert all(apart_by(other[4], mean_of["real pictures", None][4]) > 2 for other in clip_guided[2:])
assert clip_guided[3][1].mean() < 0.5 and clip_guided[3][2].mean() > 5 * free[0][2].mean()
assert all(apart_by(free[3][3], other[3]) > 2 for other in clip_guided)  # by clean CLIP
assert apart_by(clip_guided[3][3], clip_guided[2][3]) < -2  # it falls, and the guide's rises
assert apart_by(clip_guided[3][4], clip_guided[2][4]) > 2

# %%
plots.show(glide_plot.against_scale(
    {measure: {way: (table_of["scales"], glide_table.column(table_of["runs"], measure)) for way, table_of in guidance.items()}
     for measure in ("parts", "valid", "distance", "guide's score")},
    {measure: glide_table.column(ceiling, measure).mean().item() for measure in MEASURES}),
    "Four panels over the scale, from weak to strong, for both ways of guidance. Parts: classifier-free "
    "guidance rises, CLIP guidance stays level and then falls. Valid: both fall, CLIP guidance to less than "
    "half. Distance: low, but high for strong CLIP guidance. The guide's score: CLIP guidance climbs far "
    "above the dotted line of real pictures.")  # fmt: skip

# %% [markdown]
# **By the reader**, classifier-free guidance from scale 1.5 on shows more parts than CLIP guidance does. Over no guidance, CLIP guidance gains less than 0.02. Scale 3 and weight 100 have about the same share of valid scenes and about the same guide's score. Of these two, classifier-free guidance shows 6 more of 100 parts (0.056 ± 0.013). (Three seeds give only a rough standard error.)
#
# **By the guide**, the stronger CLIP guidance is, the better. At weight 1000 its score is *far above that of real pictures*, yet fewer than half of its pictures are valid. So **never measure with the network that guides**.
#
# **Clean CLIP** agrees with the reader: scale 3 is above CLIP guidance of every weight. But clean CLIP is not neutral: the guide was trained from it, and its features are in the base model's loss (section 4).
#
# **The distance** decides only that CLIP guidance of weight 300 and 1000 is farther away than other real pictures are.
#
# We trust the reader most: it took no part in training or guidance. A strong alternative is not in the table: clean CLIP on $\hat x_0$, as in lesson 08.
#
# The paper's results, on photographs (MS-COCO) and by people who compared pairs, beside ours (`python -m benchmarks.glide_table`):
#
# | paper's claim (GLIDE) | where | ours |
# |---|---|---|
# | people prefer classifier-free guidance: Elo for photorealism 82.7 ($s=3$) against −73.2 ($s=2$), unguided −88.6 | table 1 | *valid* (another question): 0.81 (scale 3) against 0.80 (weight 100), not decided; unguided is highest, 0.86, in the paper lowest |
# | and for the match with the caption 110.9 against 29.3, unguided −106.2 | table 1 | *parts*: 0.79 (scale 3) against 0.73 (best weight), unguided 0.72 |
# | CLIP guidance wins by the CLIP score; the authors suspect adversarial examples | section 5 | yes by the guide's score: 0.22 (weight 1000) against 0.18 (scale 3), real 0.17; no by clean CLIP: at most 0.63 against 0.65 |
#
# ## 9 · Inpainting: erase, write, paint
#
# ### 9.1 What stands beside $x_t$
#
# To fill a hole, the network must see what is around it:
#
# $$\text{input}=\big[\,x_t,\;\text{image}\odot\text{mask},\;\text{mask}\,\big],\qquad 3+3+1=7\ \text{channels},\quad\text{mask}=1\text{ where known}.$$
#
# The first convolution gets four more input channels. Their weights **start at zero**, so the new network first does exactly what the base model does. Then its training goes on, with random holes. The image is 0 where nothing is known, but also in known gray pixels. So the network needs the mask.

# %% tags=["nbval-check-output"]
fresh = zoo.build("glide-scenes-inpaint").eval()  # begins from the base model's weights
x, half = noised(pictures[:2], 500), torch.ones(2, 1, 32, 32)
half[..., 16:] = 0  # the right half is erased
cond = model.encode(said[:2])
beside = fresh.beside(None, pictures[:2], half)
entrance = fresh.denoiser.net.conv_in.weight
print("beside x:", tuple(beside.shape[1:]), " first convolution:", tuple(entrance.shape))
with torch.no_grad():
    before = fresh.denoiser(x, 500, cond._replace(image=beside)).x0
    base = model.denoiser(x, 500, cond).x0
    after = inpainter.denoiser(x, 500, inpainter.encode(said[:2])._replace(image=beside)).x0
print("untrained, it answers as the base model:", torch.allclose(before, base, atol=1e-5))
print("trained, it does not:", not torch.allclose(after, base, atol=1e-2))

# %% [markdown]
# (Our U-Net folds 2 × 2 pixels into channels first, so its convolution has $7\cdot4=28$ inputs.)
#
# At each step, the known pixels of $\hat x_0$ are also set to the true ones. So they come out unchanged:

# %%
show_source(GLIDE.beside, keep_known, docstring=False)

# %% [markdown]
# ### 9.2 Without training
#
# A model that was not trained to inpaint can be *held* to the known pixels. Two ways:
#
# - **held in $\hat x_0$**: as above, but the network does not see the known pixels beside $x_t$;
# - **blended** (SDEdit, Meng et al. 2021; Blended Diffusion, Avrahami et al. 2022): after each step, the known part of $x_s$ is replaced by the true picture with noise of time $s$.
#
# In both, the network sees the known pixels only under the noise of $x_t$: at large $t$, hardly at all. We erase the right halves of the 32 scenes:


# %%
def blended(image, mask):
    """A DDIM step; then the known pixels are those of the picture, with noise of time s."""

    def step(schedule, pred, x, t, s, generator=None, **options):
        free = ddim(schedule, pred, x, t, s, generator, **options)
        known = schedule.diffuse(image, s, noise_like(image, generator)) if s else image
        return torch.where(mask.bool(), known, free)

    return step


mask = torch.ones(32, 1, 32, 32)
mask[..., 16:] = 0  # the right half is erased
options = {"seed": 2, "steps": 12}
filled = {
    "trained to inpaint": paint(said, by=inpainter, known=(pictures, mask), **options),
    "base, held in x̂0": paint(said, known=(pictures, mask), **options),
    "base, blended": paint(said, step=blended(pictures, mask), **options),
}

# %%
shown = {"real": pictures, "erased": pictures * mask} | filled
plots.show(plots.image_grid(torch.cat([each[:6] for each in shown.values()]), columns=6, rows=list(shown)),
           "Six scenes, the same with their right halves erased, and three rows of halves painted "
           "anew: by the trained inpainter, and by the base model in two ways.")  # fmt: skip
jump = {}
for name, each in {"real": pictures, **filled}.items():
    jump[name], seen = holes.jump(each, mask), reader.read(each)
    kept = bool(((each == pictures) | (mask == 0)).all())
    print(f"{name:19} jump at the seam {1000 * jump[name].mean():3.0f} thousandths   "
          f"parts {caption_accuracy(seen, said).parts:.2f}   "
          f"valid {valid(seen, each).double().mean():.2f}   known pixels kept: {kept}")  # fmt: skip
for name in list(filled)[1:]:
    more = 1000 * (jump[name] - jump["trained to inpaint"])
    print(f"{name} minus trained: jump {more.mean():+.0f} ± {more.std() / 32**0.5:.0f}")
    assert more.mean() > 2 * more.std() / 32**0.5

# %% [markdown]
# (The jump is the mean difference between a known pixel and its painted neighbor. Real pictures have one too, since some things cross the middle.)
#
# The trained inpainter has a smaller jump, by more than two standard errors, and more valid scenes. (It began from the base model, and was trained 19 minutes longer.) In the first column it completes the triangle; the base model paints another one, or another piece. But in the fifth column the inpainter adds a second moon.
#
#
# ### 9.3 Play: the eraser
#
# Drag a rectangle over the picture, type what the whole picture shows, and press *Sample*. Questions:
#
# 1. Erase the moon. Ask for a heart, then for a star alone.
# 2. Erase half of the star. Does the rest fit?


# %%
def fill(prompts, *, known, seed):
    return inpainter.generate(prompts, known=known, seed=seed, steps=STEPS, scale=SCALE, eta=1.0)


Eraser(fill, {"star and moon": scene[0], "diamond": pictures[1]},
       ["a large red star and a small green heart", "a large red star and a small blue moon", "a large red star"],
       box=(19, 17, 31, 30))  # fmt: skip

# %% [markdown]
# ## 10 · Upsampling
#
# The upsampler sees the small picture beside $x_t$, made large by bilinear interpolation, and reads the sentence too. Two details of GLIDE's published code:
#
# - **The small picture is rounded** to the 256 levels of a file, since in training it came from files.
# - **27 steps**, most of them at small $t$, from a little below pure noise.
#
# We take 16 scenes whose large picture is known, and measure the root mean square distance from it.

# %%
truth = scenes.draw(16, 90)
low, high, texts = scenes.render(truth, 32), scenes.render(truth, 64), descriptions(truth, 9)


def not_rounded(low, texts, seed=0):
    """The upsampler, but it sees the small picture with all digits."""
    cond = upsampler.encode(texts)._replace(image=upsampler.beside(low, None, None))
    shape, times = (len(low), 3, 64, 64), fast27(upsampler.config.T)
    denoise = MapX0(upsampler.denoiser, clip)
    return final(from_noise(denoise, shape, times, seed=seed, temperature=0.997, cond=cond))


larger = {
    "bilinear": F.interpolate(low, scale_factor=2, mode="bilinear"),
    "upsampler": final(upsampler.generate(texts, low=low, seed=0)),
    "not rounded": not_rounded(low, texts),
    "6 even steps": final(upsampler.generate(texts, low=low, seed=0, steps=6)),
    "another's sentence": final(upsampler.generate(texts[1:] + texts[:1], low=low, seed=0)),
}

# %%
away = {name: (each - high).square().mean((1, 2, 3)).sqrt() for name, each in larger.items()}
for name, each in away.items():
    more = each - away["upsampler"]
    print(f"{name:19} {1000 * each.mean():5.1f} thousandths   minus the upsampler's "
          f"{1000 * more.mean():+5.1f} ± {1000 * more.std() / 4:.1f}")  # fmt: skip
mean = {name: 1000 * each.mean().item() for name, each in away.items()}
assert mean["upsampler"] < 0.6 * mean["bilinear"]
assert (
    abs(mean["not rounded"] - mean["upsampler"]) < 1 > abs(mean["6 even steps"] - mean["upsampler"])
)
assert mean["another's sentence"] - mean["upsampler"] < 0.1 * mean["upsampler"]
shown = {"32 pixels": F.interpolate(low, scale_factor=2), **{n: larger[n] for n in ("bilinear", "upsampler")},
         "real, 64": high}  # fmt: skip
plots.show(plots.image_grid(torch.cat([each[:5] for each in shown.values()]), columns=5, rows=list(shown)),
           "Five scenes at 32 pixels, made larger by bilinear interpolation and by the upsampler, and "
           "real at 64 pixels.")  # fmt: skip

# %% [markdown]
# The upsampler comes much nearer to the real picture than bilinear interpolation: its edges are sharp. The other rows differ little:
#
# - **Rounding**, and 27 steps instead of **six even ones**, make no difference here that we can measure.
# - **Another's sentence** costs little. We think that the small picture leaves little to decide.
#
# This may differ for generated pictures, or for photographs.
#
# ## 11 · What it fails at
#
# The stored benchmark also counted each kind of part, at the scale with the most parts. The floor is what a model reaches that ignores its sentence: we compare pictures with the sentences of *others* (shuffled). The ceiling is what the reader finds in real pictures.

# %%
NAMES = {"train": "as in training", "held out": "held out", "shuffled": "shuffled", "real": "real"}
shown, often = ({NAMES[n]: table[part][n] for n in NAMES} for part in ("kinds", "said"))
order = sorted(shown["real"], key=lambda kind: -shown["as in training"][kind])
plots.show(glide_plot.by_kind(shown, order),
           "Bars for each kind of part: the share that the pictures show, for sentences as in training, "
           "for held-out combinations, for sentences of others, and for real pictures.")  # fmt: skip
print(f"scale {table['best']:g}; ± standard error over {table['seeds']} seeds")
print(f"{'':24}" + "".join(f"{name:>16}" for name in shown))
rows = {NAMES[n]: table["rows"][n] for n in NAMES}
for name, measure in (("all parts", "parts"), ("whole sentences", "whole"), ("valid", "valid")):
    columns = (glide_table.column(each, measure) for each in rows.values())
    cells = (mean_and_error(each, tight=True) for each in columns)
    print(f"{name:24}" + "".join(f"{cell:>16}" for cell in cells))
for kind in order:
    cells = (each.get(kind, float("nan")) for each in shown.values())
    print(
        f"{kind:12}(N = {often['real'][kind]:4})    " + "".join(f"{cell:16.2f}" for cell in cells)
    )
share = {name: glide_table.column(each, "parts").mean() for name, each in rows.items()}
assert share["real"] > 0.97 > 0.9 > share["as in training"] > share["shuffled"] + 0.3
assert abs(share["held out"] - share["as in training"]) < 0.05
fewer = [glide_table.column(rows[name], "whole") for name in ("held out", "as in training")]
less, error = (fewer[0] - fewer[1]).mean(), ((fewer[0].var() + fewer[1].var()) / 3) ** 0.5
print(f"whole sentences, held out minus as in training: {less:+.2f} ± {error:.2f}")
assert less < -2 * error
chance, obeyed = shown["shuffled"], shown["as in training"]
assert min(obeyed[kind] for kind in ("background", "size", "shape", "color")) > 0.8
assert obeyed["number"] > chance["number"] + 0.2 and obeyed["relation"] > chance["relation"] + 0.2
assert abs(obeyed["place"] - chance["place"]) < 0.06

# %% [markdown]
# (With N parts of a kind, the standard error of a share is at most $0.5/\sqrt N$: 0.06 for N = 65.)
#
# In all parts together, the model is far above the floor, and below the ceiling. It shows backgrounds, sizes, shapes and colors in more than four of five. **Numbers** are shown in six of ten and **relations** in half, both far above chance. **Places** are shown in half, no more often than by chance.
#
# **Held-out** sentences come from scenes with a new combination of a color, a fill or a relation. Their share of parts is about the same; whole sentences are shown less often (−0.08 ± 0.03). But these sentences also say slightly more, and some leave the new combination out. So we ask for the new combinations themselves: the six pairs of a color and a shape that training never showed. For comparison, we take six known pairs of the same words.

# %%
pairs = scenes.UNSEEN["colors"]  # a color and a shape each
mixed = [(color, shape) for (color, _), (_, shape) in zip(pairs, pairs[1:] + pairs[:1])]
both = {}
for name, chosen in (("held out", pairs), ("as in training", mixed)):
    texts = [f"{'an' if color[0] in 'aeiou' else 'a'} {color} {shape}"
             for color, shape in chosen for _ in range(4)]  # fmt: skip
    parts = shown_parts(reader.read(paint(texts, seed=11, steps=12)), texts)
    both[name] = torch.tensor([all(part.shown for part in row) for row in parts]).double()
    print(f"{name:15} color and shape both right in {both[name].mean():.0%} of {len(texts)}")
assert both["held out"].mean() > 0.7

# %% [markdown]
# In all 24 pictures of the new pairs the reader finds the color and the shape, as for the known pairs. (After 24 of 24, the true share may still be as low as 0.88, the 95 % bound. Other things in a picture are not counted.) So the model can combine known words in a new way, at least for a single thing.
#
# Now a number, a relation and a new pair, four noises each:

# %%
hard = ["three red circles", "a star left of a moon", "a yellow moon"]
plots.show(plots.image_grid(paint([text for text in hard for _ in range(4)], seed=6), columns=4, rows=hard),
           "Four pictures for each of three sentences: a number, a relation, and a held-out "
           "combination.")  # fmt: skip

# %% [markdown]
# The number is right in three of the four pictures. A star is left of a moon in one, the last, with a third thing. All four yellow moons are right.
#
# ## 12 · Break it
#
# You rebuild such a model and load its weights. Four habits from other networks raise no error:
#
# - a **causal mask** in the text transformer, as in CLIP;
# - the vector of the **end token**, as in CLIP, where GLIDE takes the last position;
# - **padding hidden** from the pixels, as in most cross-attention;
# - another **empty caption**: begin and end with nothing between, as in CLIP.
#
# Does section 3.1's error of $\hat x_0$ find them, at $t=900$?


# %%
def causal_text(tokens):
    """What the text transformer says if each position sees only those before it."""
    text = model.text
    real = text.tokens(tokens.ids) + text.pos_emb
    x = torch.where(tokens.mask[..., None], real, text.padding_emb)
    x = text.norm(text.transformer(x, causal(x.shape[1])))
    return Conditioning(vector=x[:, -1], tokens=x)


# %%
tokens, t = model.tokens(said), 900
ends = tokens.mask.sum(1) - 1  # where each text ends
begin_end = model.condition(tokenizer.load().null(1)).rows(32)
broken = {
    "right": own,
    "causal mask": causal_text(tokens),
    "the end token's vector": own._replace(vector=own.tokens[torch.arange(32), ends]),
    "padding hidden": own._replace(mask=tokens.mask),
    "the empty caption": model.null.rows(32),
    "begin and end as empty": begin_end,
}
wrong = {name: errors(cond, t) for name, cond in broken.items()}
for name, each in wrong.items():
    right = "the empty caption" if name.startswith("begin") else "right"
    more = each - wrong[right]
    gap = f"{more.mean():+5.1f} ± {more.std() / 32**0.5:.1f}"
    print(f"{name:23} {each.mean():6.1f}   minus {right}: {gap}")
for name, least in (("the end token's vector", 15), ("causal mask", 1)):
    more = wrong[name] - wrong["right"]
    assert more.mean() > least and more.mean() > 2 * more.std() / 32**0.5
assert (wrong["padding hidden"] - wrong["right"]).mean().abs() < 1

# %% [markdown]
# The vector of the end token costs most here, about as much as no sentence. The causal mask costs less, but measurably. Hiding the padding costs this model little or nothing. So does the other empty caption, compared with the right one. The mean error finds two of the four.
#
# A better test: compare the outputs for fixed inputs with those of the original, number by number.
#
# ## 13 · Exercises
#
# Write into the stub and run the cell. A hint is folded under each stub, a solution in the next cell.
#
# ### 13.1 One softmax &nbsp; ●● 15 minutes
#
# Pixels `q`, `k`, `v` `(B, N, D)` and the text's `text_k`, `text_v` `(B, L, D)`; one head. Return what section 3.2 says, `(B, N, D)`. `L` may be 0.


# %%
def one_softmax(q, k, v, text_k, text_v):
    """softmax(q [text_k; k]ᵀ / √D) [text_v; v], (B, N, D)."""
    ...


checks.one_softmax(one_softmax)

# %% [markdown]
# <details><summary>Hint</summary><code>torch.cat([text_k, k], dim=1)</code> is (B, L + N, D). Then it is plain attention: <code>q @ k.mT</code>, divided by √D, softmax over the last dimension, times the values.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def one_softmax_solution(q, k, v, text_k, text_v):
    k, v = torch.cat([text_k, k], dim=1), torch.cat([text_v, v], dim=1)
    return (q @ k.mT / q.shape[2] ** 0.5).softmax(2) @ v


checks.one_softmax(one_softmax_solution).require()

# %% [markdown]
# ### 13.2 Empty captions &nbsp; ● 5 minutes
#
# `mask` `(B, L)` is True where a real token stands. `u` `(B,)` are random numbers in $[0,1)$. Return the mask in which the rows with `u < p` have lost their caption.


# %%
def empty_captions(mask, p, u):
    """The mask after dropping captions with probability p, (B, L) bool."""
    ...


checks.empty_captions(empty_captions)

# %% [markdown]
# <details><summary>Hint</summary>A row stays if <code>u >= p</code>. <code>(u >= p)[:, None]</code> is (B, 1) and broadcasts over the positions.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def empty_captions_solution(mask, p, u):
    return mask & (u >= p)[:, None]


checks.empty_captions(empty_captions_solution).require()

# %% [markdown]
# ### 13.3 Not this &nbsp; ●● 10 minutes
#
# A *negative prompt* takes the place of the empty caption. `eps_text`, `eps_empty` and `eps_negative` are predictions `(B, C, H, W)`; `has` `(B,)` is True for the rows that have a negative prompt. Return the guided prediction, with GLIDE's `scale`.


# %%
def guide_away(eps_text, eps_empty, eps_negative, has, scale):
    """Guidance away from the negative prompt where there is one, (B, C, H, W)."""
    ...


checks.guide_away(guide_away)

# %% [markdown]
# <details><summary>Hint</summary><code>torch.where(has.view(-1, 1, 1, 1), eps_negative, eps_empty)</code> chooses for each row. Then the formula of section 3.5 with that in place of $\varnothing$.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def guide_away_solution(eps_text, eps_empty, eps_negative, has, scale):
    away = torch.where(has.view(-1, 1, 1, 1), eps_negative, eps_empty)
    return away + scale * (eps_text - away)


checks.guide_away(guide_away_solution).require()

# %% [markdown]
# ### 13.4 Seven channels &nbsp; ●● 15 minutes
#
# Turn a model into an inpainter. `x` and `image` are `(B, C, H, H)`, `mask` is `(B, 1, H, H)`, and `weight` `(out, C, k, k)` belongs to the first convolution. Return the input of the new network, `(B, 2C + 1, H, H)`, and its weight, `(out, 2C + 1, k, k)`.


# %%
def inpaint_entrance(x, image, mask, weight):
    """The input [x, known pixels, mask], and the wider weight; a pair."""
    ...


checks.inpaint_entrance(inpaint_entrance)

# %% [markdown]
# <details><summary>Hint</summary>Known pixels: <code>image * mask</code>. The new part of the weight: <code>weight.new_zeros(out, C + 1, k, k)</code>, behind the old one along dimension 1.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def inpaint_entrance_solution(x, image, mask, weight):
    out, C, *kernel = weight.shape
    extra = weight.new_zeros(out, C + 1, *kernel)
    return torch.cat([x, image * mask, mask], dim=1), torch.cat([weight, extra], dim=1)


checks.inpaint_entrance(inpaint_entrance_solution).require()

# %% [markdown]
# ### 13.5 Hold what is known &nbsp; ●●● 20 minutes
#
# The network guessed `x0` `(B, C, H, W)` for `x` at time `t`. Set the known pixels of the guess to those of `image`, and return the new $\hat x_0$ and the $\hat\varepsilon$ that belongs to it. `schedule.signal(t, x)` and `schedule.noise(t, x)` are $\sqrt{\bar\alpha_t}$ and $\sqrt{1-\bar\alpha_t}$.


# %%
def hold_known(schedule, x, t, x0, image, mask):
    """The held x0 and its eps, (B, C, H, W) each."""
    ...


checks.hold_known(hold_known)

# %% [markdown]
# <details><summary>Hint</summary><code>mask * image + (1 − mask) * x0</code>. From $x_t=\sqrt{\bar\alpha_t}\,x_0+\sqrt{1-\bar\alpha_t}\,\varepsilon$, solve for ε with the <em>new</em> x0.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def hold_known_solution(schedule, x, t, x0, image, mask):
    held = mask * image + (1 - mask) * x0
    return held, (x - schedule.signal(t, x) * held) / schedule.noise(t, x)


checks.hold_known(hold_known_solution).require()

# %% [markdown]
# ### 13.6 A smaller picture beside x &nbsp; ● 10 minutes
#
# The input of the upsampler: `x` `(B, C, S, S)` and beside it `low` `(B, C, s, s)`, which may leave $[-1,1]$ a little. Round `low` to the 256 levels of a file (0 is −1, 255 is 1). Make it as large as `x` by bilinear interpolation, and return `(B, 2C, S, S)`.


# %%
def low_beside(x, low):
    """[x, the rounded small picture made large], (B, 2C, S, S)."""
    ...


checks.low_beside(low_beside)

# %% [markdown]
# <details><summary>Hint</summary><code>((low + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1</code>, then <code>F.interpolate(…, size=x.shape[2:], mode="bilinear")</code>.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def low_beside_solution(x, low):
    levels = ((low + 1) * 127.5).round().clamp(0, 255)
    large = F.interpolate(levels / 127.5 - 1, size=x.shape[2:], mode="bilinear")
    return torch.cat([x, large], dim=1)


checks.low_beside(low_beside_solution).require()

# %% [markdown]
# ## 14 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "A pixel gives 70 % of its attention weight to the words in one of GLIDE's layers. How much is left for the other pixels?",
    {
        "100 %: the text has an attention layer of its own": "That is cross-attention, as in Stable Diffusion (lesson 12). In GLIDE there is one softmax.",
        "30 %": "One softmax runs over the words and the pixels, and its weights sum to 1.",
        "It depends on the length of the sentence": "The sum over both is 1 for every length.",
    },
    answer="30 %",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "By the guide's own score, CLIP guidance is above real pictures. What follows?",
    {
        "The pictures match their sentences better than real ones": "Then a network that had no part in the guidance would say so, too.",
        "Nothing about the match: that score is what guidance raised": "Only a network that took no part in the guidance can say. Lesson 08 showed that a gradient also finds what only the guide sees.",
        "The real pictures have bad captions": "Each of ours was written from its picture, and the reader finds nearly all parts.",
    },
    answer="Nothing about the match: that score is what guidance raised",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "An inpainting model gets the known pixels without the mask. What goes wrong?",
    {
        "Nothing: erased pixels are 0, so they can be recognized": "A known pixel that is middle gray is 0, too.",
        "A known gray pixel looks like an erased one": "Both are 0. The mask says which is which.",
        "The shapes do not match": "One channel fewer is still a valid input for a network that was built for it.",
    },
    answer="A known gray pixel looks like an erased one",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why do the weights of the new input channels start at zero?",
    {
        "So that the new network first does what the base model does": "Training then only has to add how to use the known pixels.",
        "So that the known pixels are never used": "Training changes these weights from the first update on: their gradient is not zero.",
        "To save memory": "Zeros take as much memory as other numbers.",
    },
    answer="So that the new network first does what the base model does",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "The share of correct relations is 0.6. Is that good?",
    {
        "Yes: it is more than half": "Half is not the floor. A picture may show the relation by chance.",
        "It cannot be said without two other numbers": "What pictures of other sentences reach (shuffled) is the floor, and what the reader finds in real pictures is the ceiling.",
        "No: it must be 1": "1 is the most that could be reached. How far 0.6 is from useless, only the floor says.",
    },
    answer="It cannot be said without two other numbers",
)

# %% [markdown]
# ## 15 · Recap
#
# - **Text enters twice**: its last position in the time embedding, all positions as keys and values before those of the pixels. One softmax runs over both.
# - **The empty caption** is nothing but learned padding. It makes classifier-free guidance possible.
# - **CLIP guidance** moves each step by the gradient of another network. Compare by a network that guides nothing.
# - **What stands beside $x_t$** makes the same class an inpainter or an upsampler. New channels start at zero.
# - **Relations and new combinations** need a measure of their own, beside a floor.
#
# **Next.** DALL·E 2 (lesson 10) first makes a CLIP *image* embedding from the sentence, and then a picture from it.
#
# **References**
# - A. Nichol et al., ICML 2022 (GLIDE).
# - C. Meng et al., ICLR 2022 (SDEdit).
# - O. Avrahami et al., CVPR 2022 (blended diffusion).
# - A. Lugmayr et al., CVPR 2022 (RePaint, in `benchmarks.inpainting`).
# - J. Ho et al., JMLR 2022 (cascades).
