# %% [markdown]
# # 07 · CLIP: pictures and sentences in one space
#
# **The question.** So far a condition was one of ten classes. How can a network learn what *words* mean for pictures, if it gets no labels, only pictures and the sentences that stood beside them?
#
# **Afterwards you can**
# - write CLIP's loss as two cross-entropies on one matrix, and say what its gradient does to each pair;
# - say what the temperature is for, why its logarithm is learned, and why it is capped;
# - turn a sentence into one vector, and classify pictures by prompts alone;
# - measure what such a model does *not* see, change it with hard negatives, and say what that costs.
#
# **Before:** cross-entropy and softmax. You need nothing of the earlier lessons.
# **Time:** about 50 minutes to read and play, 80 for all exercises, 70 seconds to run on two cores.
#
# **On the map:** 06 classifier-free guidance → **07 CLIP** → 08 semantic guidance (CLIP's space guides a sampler).

# %%
import math
import re
from collections import Counter

import torch
import torch.nn.functional as F

from labkit import hub, scenes, zoo
from labkit.lab import (
    checks,
    clip_plot,
    hard_negatives,
    plots,
    quiz,
    show_source,
)
from labkit.lab.clip_scenes import distinct, single
from labkit.lab.hard_negatives import pair_sentences, true_and_swapped, two_objects
from labkit.lab.widgets import watch
from labkit.lab.widgets.similarity_explorer import SimilarityExplorer
from labkit.metrics import retrieval, zero_shot
from labkit.nets.attention import causal
from labkit.nets.resnet import ResNetConfig
from labkit.nets.transformer import TextConfig, TextTransformer
from labkit.scenes import pairs, tokenizer
from labkit.scenes.descriptions import descriptions
from labkit.systems.clip import CLIP, CLIPConfig, contrastive_loss
from labkit.systems.clip import distinct_loss as loss_without_duplicates
from labkit.train import train

torch.manual_seed(0)
plots.use_style()

# %% [markdown]
# The lesson uses a small CLIP that ships with the course, trained on pictures of scenes and sentences about them. We test it on other scenes.

# %%
clip = zoo.load("clip-scenes").requires_grad_(False)
words = tokenizer.load()  # cuts sentences into tokens
SHAPES, COLORS, FILLS = scenes.SHAPES, scenes.COLORS, scenes.FILLS
TEMPLATES = ["a {}", "a picture of a {}", "there is a {}", "you can see a {}"]


def picture_vectors(drawn, by=clip):
    """The vectors of those scenes' pictures, (N, D)."""
    with torch.no_grad():
        return by.encode_image(scenes.render(drawn, 32))


def text_vectors(texts, by=clip):
    """The vectors of those sentences, (N, D)."""
    with torch.no_grad():
        return by.encode_text(texts)


# %%
def states(ids, by=clip.text):
    """The text encoder's output at every position, (B, L, D)."""
    with torch.no_grad():
        x = by.tokens(ids) + by.pos_emb[: ids.shape[1]]
        x = by.transformer(x, causal(ids.shape[1]))
        return by.project(by.norm(x))


def nearest_class(features, classes, templates=TEMPLATES):
    """For each picture the number of the class whose vector is nearest, (N,)."""
    return (features @ zero_shot.class_vectors(clip, classes, templates).T).argmax(1)


def plus_minus(right):
    """A share and its standard error, from a yes or no for each (N,)."""
    share = right.double().mean().item()
    return f"{share:.3f} ± {(share * (1 - share) / len(right)) ** 0.5:.3f}"


# %% [markdown]
# ## 1 · See it first
#
# Here are six pictures, drawn for this cell, and six sentences. CLIP turns each of them into a vector of length 1, in one space of 128 dimensions. Each cell of the matrix shows the cosine of the angle between two vectors; 1 means the same direction. Only the order counts: the right pair must have a larger cosine than the wrong pairs. (All negative cosines have the darkest color.)

# %%
thing, scene = scenes.Object, scenes.Scene
six = [
    scene((thing("star", "purple", "large", "plain", 0.5, 0.5, 0.26),), "sand"),
    scene((thing("heart", "red", "large", "striped", 0.3, 0.3, 0.22),
          thing("heart", "red", "large", "striped", 0.7, 0.7, 0.22)), "gray"),
    scene((thing("moon", "blue", "large", "dotted", 0.5, 0.5, 0.28),), "rose"),
    scene((thing("square", "green", "large", "plain", 0.5, 0.5, 0.32),
          thing("circle", "red", "small", "plain", 0.5, 0.5, 0.145, inside=0)), "sky"),
    scene((thing("triangle", "yellow", "small", "plain", 0.3, 0.7, 0.15),), "lilac"),
    scene(tuple(thing("cross", "orange", "small", "plain", x, x, 0.14)
                for x in (0.2, 0.5, 0.8)), "mint"),
]  # fmt: skip
sentences = ["a purple star", "two hearts with stripes", "a spotted crescent", "a disc inside a box",
             "a tiny lemon triangle", "three crosses on a mint background"]  # fmt: skip

# %%
six = scenes.tensors(six)
cosines = picture_vectors(six) @ text_vectors(sentences).T  # (6, 6)
figure = plots.Figure(figsize=(8.1, 5.45), layout="constrained")
clip_plot.draw_pairs(figure, scenes.render(six, 32), sentences, cosines)
plots.show(figure, "Six pictures down the side, six sentences across the top, and their cosines: "
           "in every row and every column the largest stands on the diagonal.")  # fmt: skip
own = torch.arange(6)
assert (cosines.argmax(1) == own).all() and (cosines.argmax(0) == own).all()
assert not scenes.unseen(scenes.draw(2000, 0, "train"))["colors"].any()  # no purple star

# %% [markdown]
# Every picture finds its sentence, and every sentence its picture. Notice three things. There is **no list of classes**: you may type any sentence made of words that CLIP knows. It reads **synonyms** (a crescent is a moon, a disc is a circle), because its captions use both. And its training pictures showed **no purple star**: that combination was held out. CLIP combines the two words. (Section 3.3 shows a training batch.)
#
# ## 2 · The idea
#
# Take $N$ pictures, each with its own sentence. Ask one question: *which sentence belongs to which picture?* Nobody labels what is in a picture. The other $N-1$ sentences of the batch serve as wrong answers.
#
# All you need is the matrix of similarities. Along a **row**, a picture chooses among the sentences. Down a **column**, a sentence chooses among the pictures. In both cases the right answer is on the diagonal. Here are twelve scenes and their descriptions:

# %%
twelve = distinct(12, seed=3)
cosines = picture_vectors(twelve) @ text_vectors(descriptions(twelve, 3)).T
figure, axes = plots.subplots(1, 3, size=(8.1, 3))
panels = {
    "cosines": cosines,
    "softmax of each row": (5 * cosines).softmax(1),
    "softmax of each column": (5 * cosines).softmax(0),
}
for axis, (name, matrix) in zip(axes, panels.items()):
    clip_plot.draw_matrix(axis, matrix, name)
plots.show(figure, "Three matrices of twelve by twelve with a bright diagonal: cosines, probabilities "
           "along the rows, and probabilities down the columns.")  # fmt: skip

# %% [markdown]
# This softmax is of *five times* the cosine, so that the probabilities are not all 0 or 1. Section 3.3 says how CLIP chooses that factor.
#
# ## 3 · The derivation
#
# ### 3.1 The loss: two cross-entropies on one matrix
#
# Let $u_i$ be the unit vector of picture $i$ and $v_j$ that of sentence $j$. Let $s$ be a positive number, the **scale**. The **logits** are $S_{ij}=s\,u_i\cdot v_j$. Picture $i$ gives sentence $j$ the probability $\mathrm{softmax}_j(S_{ij})$, and the right one is $j=i$. Sentence $j$ gives picture $i$ the probability $\mathrm{softmax}_i(S_{ij})$. The loss is the mean of the two cross-entropies:
#
# $$\boxed{\;L=\tfrac12\Big[\underbrace{-\tfrac1N\sum_i\log\frac{e^{S_{ii}}}{\sum_j e^{S_{ij}}}}_{\text{rows}}\;\underbrace{-\,\tfrac1N\sum_j\log\frac{e^{S_{jj}}}{\sum_i e^{S_{ij}}}}_{\text{columns}}\Big]\;}$$
#
# (Radford et al. 2021, figure 3.) The numerators pull right pairs together. The denominators push wrong pairs apart; without them, equal vectors would have the lowest loss. With them, equal vectors give every answer the probability $1/N$, and the loss is $\ln N$. **Training starts a little above it**: the sentence vectors of an untrained network differ already, but by chance. Four values can be worked out by hand:

# %% tags=["nbval-check-output"]
eye = torch.eye(8, dtype=torch.float64)  # eight pairs, each at right angles to all others
by_hand = math.log(1 + 7 * math.exp(-1 / 0.07))
loss = contrastive_loss(eye, eye, 1 / 0.07).item()
print(f"8 perfect pairs at scale 1/0.07: by hand {by_hand:.3e}, labkit {loss:.3e}")
pair = torch.eye(2, dtype=torch.float64)
print(f"2 perfect pairs at scale 2:      by hand {math.log(1 + math.exp(-2)):.6f}, "
      f"labkit {contrastive_loss(pair, pair, 2.0).item():.6f}")  # fmt: skip
same = torch.ones(64, 1, dtype=torch.float64)  # all vectors are equal
print(f"64 equal pairs at scale 100:     by hand {math.log(64):.6f}, "
      f"labkit {contrastive_loss(same, same, 100.0).item():.6f}")  # fmt: skip
print(f"32,768 equal pairs:              by hand {math.log(32_768):.6f}")

# %% [markdown]
# ### 3.2 What the gradient does to each pair
#
# Let $p_{ij}$ be the probabilities of the rows and $q_{ij}$ those of the columns. The derivative of a cross-entropy by its logits is "probability minus truth", so
#
# $$\frac{\partial L}{\partial S_{ij}}=\frac{1}{2N}\big(p_{ij}+q_{ij}-2\,[i=j]\big).$$
#
# The pull on a right pair is 1 minus its probability (the mean of both), divided by $N$. A wrong pair is pushed apart in proportion to its probability. A wrong pair with probability near 0 gets almost no gradient. A wrong pair that looks right (a red star, and the sentence "a crimson star with dots") gets a large gradient. We check the formula with automatic differentiation:

# %% tags=["nbval-check-output"]
generator = torch.Generator().manual_seed(0)
image, text = F.normalize(torch.randn(2, 6, 5, generator=generator, dtype=torch.float64), dim=2)
S = (7 * image @ text.T).requires_grad_(True)
own = torch.arange(6)
loss = (F.cross_entropy(S, own) + F.cross_entropy(S.T, own)) / 2
(slope,) = torch.autograd.grad(loss, S)
formula = (S.softmax(1) + S.softmax(0) - 2 * torch.eye(6)) / 12
print("labkit's loss is the two cross-entropies:",
      torch.allclose(loss, contrastive_loss(image, text, 7.0)))  # fmt: skip
print("the gradient is (p + q − 2 · truth) / 2N:", torch.allclose(slope, formula))
print(f"all pulls and pushes add up to zero: {abs(slope.sum().item()) < 1e-12}")

# %% [markdown]
# ### 3.3 The temperature
#
# Cosines lie between −1 and 1. A softmax of such small numbers gives no probability near 1. Suppose a right pair has cosine 1 and all wrong pairs have cosine 0. Among $N=64$ sentences, the right one gets the probability $e/(e+63)=4\,\%$. So the cosines are multiplied by the scale $s$. Its inverse $T=1/s$ is called the **temperature**. CLIP learns the scale, and three details matter (sections 2.3 and 2.5 of the paper):
#
# - The learned parameter is the **logarithm** $\ln s$ (`logit_scale` in the code). So $s$ stays positive, and a step changes it by a percentage.
# - It starts at $\ln(1/0.07)$, which is $s\approx14.3$.
# - It is **clamped** after each step, so that $s\le100$. The paper found this necessary to keep training stable.
#
# Which scale lowers the loss? The slope along $\ln s$ is $\sum_{ij}\frac{\partial L}{\partial S_{ij}}S_{ij}$. It is negative if the right pairs have larger logits than the mean, weighted with the probabilities $p$ and $q$. Then a larger scale lowers the loss. We compute both on 128 new pairs, for the shipped CLIP and an untrained one, and for the shipped CLIP on a training batch. These are the first sixteen pairs of that batch:

# %%
hard_pictures, hard_tokens = pairs.batches(128)(torch.Generator().manual_seed(17))
plots.show(plots.image_grid(hard_pictures[:16], columns=8), "Sixteen pictures of one object each, in "
           "groups of similar ones; ten of the sixteen are gray.")  # fmt: skip
print(*words.decode(hard_tokens[:16]), sep=" · ")

# %% [markdown]
# Half of a training batch comes in such groups, which differ in one or two words. Many are **gray**, so that no color belongs to a shape. The other half are random scenes with longer captions.

# %%
drawn = distinct(128, seed=17)
texts = descriptions(drawn, 17)
torch.manual_seed(0)
untrained = CLIP(clip.config).eval()
with torch.no_grad():
    hard = clip.encode_image(hard_pictures), clip.encode_text(hard_tokens)
vectors = {
    "shipped": (picture_vectors(drawn), text_vectors(texts)),
    "untrained": (picture_vectors(drawn, untrained), text_vectors(texts, untrained)),
    "shipped, training batch": hard,
}
logit_scale, curves = torch.linspace(0, math.log(300), 60), {}
for name, (image, text) in vectors.items():
    x = logit_scale.clone().requires_grad_(True)
    losses = torch.stack([contrastive_loss(image, text, each.exp()) for each in x])
    (slopes,) = torch.autograd.grad(losses.sum(), x)
    curves[name] = losses.detach(), slopes

# %%
figure = plots.Figure(figsize=(8.1, 3.3), layout="constrained")
clip_plot.draw_scales(figure, logit_scale.exp(), curves, clip.scale.item(), 128)
plots.show(figure, "Loss and slope against the scale. The shipped CLIP's loss falls by more than two orders of magnitude, with its minimum at a large "
           "scale; on its training batch the minimum is higher and at a smaller scale. The untrained one's "
           "loss only rises. Vertical lines mark the learned scale and 100.")  # fmt: skip
best = {name: logit_scale[losses.argmin()].exp().item() for name, (losses, _) in curves.items()}
print(f"learned scale {clip.scale.item():.1f}; the loss is smallest at {best['shipped']:.0f} on these "
      f"pairs, at {best['shipped, training batch']:.0f} on a training batch")  # fmt: skip
assert best["shipped, training batch"] < best["shipped"] > clip.scale and best["untrained"] < 1.01
assert abs(math.log(clip.scale / best["shipped, training batch"])) < 0.3

# %% [markdown]
# For the untrained network, a larger scale only raises the loss. The trained network's loss falls by more than two orders of magnitude. The learned scale (gray line) is close to the best one for a training batch. New pairs are easier, and their best scale is larger. (If no pair is confused, a larger scale always helps.) The paper's model reached the limit of 100 (dashed).
#
# ### 3.4 From a sentence to one vector
#
# A sentence is cut into **tokens**. A start token comes before it, an end token after it, then padding. A transformer reads them with **causal** attention: each position sees itself and what is before it. Only the **end token** sees the whole sentence. CLIP takes the state there. A norm and a matrix turn it into the sentence's vector.

# %% tags=["nbval-check-output"]
ids = words.encode(["a red star", "a red star above a tiny moon"]).ids
print("words:", words.split("a red star above a tiny moon"))
print("tokens:", ids[0, :8].tolist())
print(f"start is {words.begin}, end is {words.end}, padding is {words.pad}")
changed = ids.clone()
changed[0, 5:] = torch.randint(3, 900, changed[0, 5:].shape)  # anything, behind the end
same = torch.equal(text_vectors(ids), text_vectors(changed))
print("a change behind the end token changes nothing:", same)
changed = ids.clone()
changed[0, 1] = words.encode("two").ids[0, 1]
same = torch.allclose(text_vectors(ids)[0], text_vectors(changed)[0], atol=1e-3)
print("a change of the first word changes the vector:", not same)

# %% [markdown]
# We compare the final states of three sentences, position by position:

# %% tags=["nbval-check-output"]
three = words.encode(["a red star", "a red moon above a box", "a blue star"]).ids
at = states(three)
for place, name in enumerate(("start", "a", "red / blue", "star / moon")):
    equal = [torch.allclose(at[0, place], at[k, place], atol=1e-5) for k in (1, 2)]
    print(f"position {place} ({name:11}): as in the first sentence? {equal[0]!s:5} {equal[1]}")
ends = (three == words.end).int().argmax(1)
here = F.normalize(at[torch.arange(3), ends], dim=1)
print("the end token's state is the sentence's vector:",
      torch.allclose(here, text_vectors(three), atol=1e-5))  # fmt: skip

# %% [markdown]
# The start token has seen no word, so its state is the same in all three sentences. "a red …" is the same in the first two, until *star* and *moon* differ.
#
# ## 4 · The real code
#
# This is the loss. `scale * image @ text.T` is the matrix of logits, and `logits.T` turns columns into rows. Below it is the system's own `loss`, with the clamp:

# %%
show_source(contrastive_loss, CLIP.loss)

# %% [markdown]
# Next comes the text encoder. (`project` is missing where a later system wants every token, not one vector.) The picture encoder is a small ResNet with CLIP's changes (`labkit.nets.resnet`).

# %%
show_source(TextTransformer.states, TextTransformer.ends, TextTransformer.forward)

# %% [markdown]
# ## 5 · Play: search in the space
#
# Type a sentence and see the seven nearest of 300 pictures. Or choose a picture below, and see the nearest of the 300 sentences (its own is yellow). Try:
#
# 1. Add words one by one: "a star", "a red star", "a striped red star". How do the cosines change?
# 2. "a red star above a blue circle", and then "a blue circle above a red star". Do the pictures change? (Section 8.1 measures it.)
# 3. Type a word that no caption has. labkit refuses it and names the word.

# %%
gallery = distinct(300, seed=5)
SimilarityExplorer(
    clip,
    scenes.render(gallery, 32),
    descriptions(gallery, 5),
    examples=["a striped star", "a purple star", "two hearts", "objects on a mint background",
              "a red circle inside a green square", "a star above a circle", "a circle above a star"],
)  # fmt: skip

# %% [markdown]
# ## 6 · Train it
#
# Now train one from scratch. The picture encoder is half as wide and the text encoder half as deep. Each of 200 batches has 64 new pairs, and each sentence names everything in its picture. Watch the matrix of 64 test pairs, which are never trained on.

# %%
small = CLIPConfig(
    ResNetConfig(size=32, width=8, blocks=(1, 1, 1), heads=8, stem=2),
    TextConfig(vocabulary=1009, context=32, width=64, depth=1, heads=4, end=1008),
    dim=64,
)


# %%
def described(batch):
    """Batches of new scenes of the split "train", and a complete description of each."""

    def make(generator):
        drawn = scenes.draw(batch, generator, "train")
        seed = int(torch.randint(2**62, (), generator=generator))
        return scenes.render(drawn, 32), words.encode(descriptions(drawn, seed)).ids

    return make


# %%
test = distinct(64, seed=11)
test_pictures, test_texts = scenes.render(test, 32), descriptions(test, 11)


def test_matrix(by):
    """The cosines of the 64 test pairs, (64, 64)."""
    with torch.no_grad():
        return by.encode_image(test_pictures) @ by.encode_text(test_texts).T


def draw(figure, seen):
    """The test matrix before training and now, and the loss so far."""
    losses = [step.loss for step in seen]
    clip_plot.draw_training(figure, before, test_matrix(seen[-1].ema), losses, 64)


# %%
torch.manual_seed(0)
learner = CLIP(small)
before = test_matrix(learner.eval())
seen = watch(
    train(learner, described(64), 200, lr=4e-3, warmup=30, ema=0.98), draw, every=10, size=(8.1, 3),
    alt="A matrix of 64 pictures and 64 sentences before training, nearly the same in every row; after "
    "it, with a bright diagonal; and the loss, which starts a little above ln 64 and falls.",
)  # fmt: skip
trained = seen[-1].ema
losses = torch.tensor([step.loss for step in seen])
assert abs(losses[:3].mean() - math.log(64)) < 1 and losses[-20:].mean() < 1.2

# %% [markdown]
# Before training every row is nearly the same: an untrained network gives almost equal vectors to all pictures.
#
# We compare the trained one with the shipped CLIP: 3,600 updates of the same loop (16 minutes of one core), on batches of 128, of which half are similar scenes. How many of 100 scenes find their own description (**R@1**, section 7.3)? We use five sets of 100 scenes; the table has mean ± standard deviation:


# %%
def recall_at_1(by, seeds=range(5), number=100):
    """R@1 from picture to sentence, and back: (seeds, 2)."""
    found = []
    for seed in seeds:
        drawn = distinct(number, 100 + seed)
        texts = descriptions(drawn, seed)
        cosines = picture_vectors(drawn, by) @ text_vectors(texts, by).T
        found.append([retrieval.recall_at(cosines), retrieval.recall_at(cosines.T)])
    return torch.tensor(found)


results = {name: recall_at_1(by) for name, by in {"trained here": trained, "shipped": clip}.items()}
figure, axes = plots.subplots(1, 2, size=(8.1, 3.9))
for axis, (name, by) in zip(axes, {"trained here": trained, "shipped": clip}.items()):
    clip_plot.draw_matrix(axis, test_matrix(by), name)
plots.show(figure, "The matrix of 64 pairs for the CLIP trained here and for the shipped one: both have a "
           "bright diagonal; off it the shipped one's cells are darker.")  # fmt: skip
print("R@1 among 100       picture → sentence   sentence → picture    (chance: 0.01)")
for name, runs in results.items():
    cells = "".join(f"{m:13.3f} ± {sd:.3f}" for m, sd in zip(runs.mean(0), runs.std(0)))
    print(f"{name:18}{cells}")
assert results["trained here"].mean() > 0.4 and results["shipped"].mean() > 0.95

# %% [markdown]
# ### What $N$ changes
#
# With $N$ pairs, chance is $1/N$ and the loss starts near $\ln N$. A batch has $N(N-1)$ wrong pairs, but needs only $2N$ passes through the encoders. Is a larger batch better *if the number of pairs seen is the same*? We train the same network on 3,200 pairs, 16 or 64 at a time. Each training is repeated with three seeds (start and data):

# %%
rivals = {16: [], 64: []}
for N, runs in rivals.items():
    for seed in (1, 2, 3):
        torch.manual_seed(seed)
        settings = {"lr": 3e-3, "warmup": 15, "ema": 0.95, "seed": seed}
        *_, last = train(CLIP(small), described(N), 3200 // N, **settings)
        runs.append(recall_at_1(last.ema).mean().item())
    print(f"3,200 pairs, {N} at a time: R@1 among 100", *(f"{found:.2f}" for found in runs))
assert min(rivals[16] + rivals[64]) > 0.05  # all above chance, 0.01; which is larger is open

# %% [markdown]
# All are far above chance, but the larger batch shows no advantage here. Its mean is lower by 0.07 ± 0.03, about two standard errors. (Three seeds, one learning rate; the larger batch has only 50 updates, the smaller 200.) The paper used large batches *and* many updates: $N=32{,}768$, and 400 million pairs for 32 epochs, which is about 390,000 updates.
#
# The score of one trained model depends on $N$, too. Never compare losses or R@1 at different $N$:

# %%
thousand = distinct(1000, seed=7)
u, v = picture_vectors(thousand), text_vectors(descriptions(thousand, 7))
print("candidates    chance      ln N     loss     R@1")
by_N = []
for N in (10, 100, 1000):
    cosines = u[:N] @ v[:N].T
    by_N.append(contrastive_loss(u[:N], v[:N], clip.scale).item())
    print(f"{N:10}    {1 / N:6.3f}    {math.log(N):6.2f}   {by_N[-1]:6.4f}   "
          f"{retrieval.recall_at(cosines):.3f}")  # fmt: skip
assert by_N == sorted(by_N)

# %% [markdown]
# ## 7 · Measure
#
# ### 7.1 Classes without training: zero-shot
#
# A linear **classifier** is a matrix with one row for each class. CLIP makes it from words: encode "a red shape", "a blue shape", …, and take the vectors as rows. No labeled picture is needed. We test it on scenes of a single object. Some are new scenes of the training kind. Others show a combination that training left out:

# %%
singles = {
    "known": single(1000, "train", 11),
    "unseen color + shape": single(500, "unseen-colors", 12),
    "unseen fill + shape": single(500, "unseen-fills", 13),
}
features_of = {name: picture_vectors(drawn) for name, drawn in singles.items()}
print("one attribute      chance   " + "   ".join(f"{name:>20}" for name in singles))
for name, list_of in scenes.ATTRIBUTES.items():
    classes = [word if name == "shape" else f"{word} shape" for word in list_of]
    cells = [plus_minus(nearest_class(features_of[kind], classes) == getattr(drawn, name)[:, 0])
             for kind, drawn in singles.items()]  # fmt: skip
    print(f"{name:16}   {1 / len(classes):6.3f}   " + "   ".join(f"{cell:>20}" for cell in cells))

# %% [markdown]
# Now a harder question: the **pair**, among all 64 colors and shapes, or all 32 fills and shapes. A purple star must have a larger cosine than every other purple object and every other star, although training never showed one:

# %%
print("unseen pairs            chance    both right        color or fill right   shape right")
both = {}
for kind, name in (("unseen color + shape", "color"), ("unseen fill + shape", "fill")):
    drawn, list_of = singles[kind], scenes.ATTRIBUTES[name]
    classes = [f"{word} {shape}" for word in list_of for shape in SHAPES]
    guess = nearest_class(features_of[kind], classes)
    first = guess // 8 == getattr(drawn, name)[:, 0]
    second = guess % 8 == drawn.shape[:, 0]
    both[name] = (first & second).double().mean().item()
    print(f"{kind:22}   {1 / 8 / len(list_of):.3f}    {plus_minus(first & second)}     "
          f"{plus_minus(first)}         {plus_minus(second)}")  # fmt: skip
by_pair = {}
for fill, shape in scenes.UNSEEN["fills"]:  # of the last line, one by one
    these = drawn.shape[:, 0] == SHAPES.index(shape)
    by_pair[shape] = (guess // 8)[these].bincount(minlength=4) / these.sum()
    taken = ", ".join(f"{n} {share:.0%}" for n, share in zip(FILLS, by_pair[shape]) if share > 0.02)
    print(f"   {fill} {shape:10} {' ' * 16}{plus_minus((first & second)[these])}     {taken}")
assert both["color"] > 0.95 and both["fill"] > 0.6 and by_pair["moon"].argmax() == 1  # striped

# %%
moons = [scenes.Scene([scenes.Object("moon", "blue", size, fill, 0.5, 0.5, radius)], "sand")
         for size, radius in (("large", 0.25), ("small", 0.14)) for fill in FILLS]  # fmt: skip
plots.show(plots.image_grid(scenes.render(scenes.tensors(moons), 32), columns=4, titles=2 * FILLS),
           "A large and a small crescent, each plain, striped, dotted and outlined.")  # fmt: skip
moon = drawn.shape[:, 0] == SHAPES.index("moon")  # outlined ones: no other fill is unseen
for number, size in enumerate(scenes.ATTRIBUTES["size"]):
    these = moon & (drawn.size[:, 0] == number)
    found = (guess // 8)[these].bincount(minlength=4) / these.sum()
    print(f"{these.sum():3} {size} outlined moons:",
          ", ".join(f"{fill} {share:.0%}" for fill, share in zip(FILLS, found)))  # fmt: skip
features, fill = features_of["unseen fill + shape"], drawn.fill[:, 0]
alone = nearest_class(features, [f"{one} shape" for one in FILLS]) == fill
averaged = nearest_class(features, FILLS, [f"{{}} {shape}" for shape in SHAPES]) == fill
print(
    f"fill right, asked by {alone.double().mean():.3f} 'shape', {averaged.double().mean():.3f} the "
    f"mean over shape words, {(guess // 8 == fill).double().mean():.3f} each shape's own word"
)

# %% [markdown]
# Every unseen pair of color and shape is right. Of the unseen pairs of fill and shape about three in four are right. Every shape is right there, so only the fill can be wrong; its chance is one in four. Dotted diamonds and striped circles are nearly all right, but most **outlined moons** are taken for *striped* ones, the small ones above all.
#
# Asked for the fill *alone*, CLIP does worse. An average over all shape words helps little, so the *right* shape word helps.
#
# ### 7.2 Prompts and ensembles
#
# Captions are sentences, so CLIP rarely reads a bare word. In the paper (section 3.1.4, ImageNet), "A photo of a {label}." gains **+1.3 points** over the bare label. An ensemble of 80 prompts gains another **+3.5**: the text vectors are **averaged and brought back to length 1**. We ask for the fill of 1,000 known and 3,000 unseen single objects. All prompts are tested on the same pictures, so we look at the *difference* for each picture, with its standard error:

# %%
prompts = [
    "a {} shape",
    "a picture of a {} shape",
    "there is a {} thing",
    "you can see a {} object",
]
rare = single(3000, "unseen-fills", 14)
questions = {"known": (features_of["known"], singles["known"]),
             "unseen": (picture_vectors(rare), rare)}  # fmt: skip


def difference(right, other):
    """The mean difference of two rows of right answers, and its standard error."""
    step = right - other
    return step.mean().item(), step.std().item() / len(step) ** 0.5


# %%
print("          bare   each of the four prompts     ensemble   mean prompt − bare   ensemble − mean"
      "    ensemble − second")  # fmt: skip
gains = {}
for name, (features, drawn) in questions.items():
    bare, *each, four = [
        (nearest_class(features, FILLS, templates) == drawn.fill[:, 0]).double()
        for templates in (["{}"], *([one] for one in prompts), prompts)
    ]
    mean = torch.stack(each).mean(0)
    gains[name] = [difference(mean, bare), difference(four, mean), difference(four, each[1])]
    print(f"{name:8}  {bare.mean():.3f}  " + " ".join(f"{one.mean():.3f}" for one in each)
          + f"      {four.mean():.3f}  "
          + "".join(f"     {mean:+.3f} ± {error:.3f}" for mean, error in gains[name]))  # fmt: skip
print("paper, ImageNet (section 3.1.4): one prompt − bare +0.013, 80 prompts − one +0.035")
assert gains["known"][0][0] > 2 * gains["known"][0][1] and gains["known"][0][0] > 0.01
assert abs(gains["unseen"][1][0]) < 0.01 and gains["unseen"][2][0] < 0

# %% [markdown]
# On known combinations the sentence removes about half of the errors. On unseen ones most errors stay. An ensemble is about as good as an average single prompt here; the best single prompt is as good or better.
#
# Why average *vectors*? Then 80 prompts cost no more than one for each picture. Why back to length 1? The mean of unit vectors gets shorter if the prompts disagree, and such a class would have smaller logits.
#
# ### 7.3 Search: R@K
#
# **Retrieval** chooses among everything in a collection. R@K is the share of queries whose right answer is among the K nearest. Section 6 has R@1; here is R@5, in both directions, on the same five sets of 100 distinct scenes:

# %%
print("among 100 distinct scenes   picture → sentence   sentence → picture   chance")
K, runs = 5, []
for seed in range(5):
    drawn = distinct(100, 100 + seed)
    cosines = picture_vectors(drawn) @ text_vectors(descriptions(drawn, seed)).T
    runs.append([retrieval.recall_at(cosines, K), retrieval.recall_at(cosines.T, K)])
runs = torch.tensor(runs)
cells = "".join(f"       {m:.3f} ± {sd:.3f}" for m, sd in zip(runs.mean(0), runs.std(0)))
print(f"R@{K}                      {cells}       {K / 100:.2f}")
assert runs.mean() > 0.95

# %% [markdown]
# ### 7.4 What the features hold: a linear probe
#
# How good is zero-shot? Compare it with a classifier that *does* get labels: a logistic regression on the same frozen features, with $k$ labeled pictures for each class. In the paper (section 3.1.5), zero-shot CLIP does about as well as a probe on its own features with **four** labels a class. We test ours on 1,000 pictures, with five draws of the labeled pictures:

# %%
shots, probed = (1, 2, 4, 8, 16, 24, 32), {}
truth_of, test_features = singles["known"], features_of["known"].numpy()
pools = [single(600, "train", 31 + seed) for seed in range(5)]
pool_features = [picture_vectors(pool) for pool in pools]
for name, list_of in scenes.ATTRIBUTES.items():
    truth, scores = getattr(truth_of, name)[:, 0], torch.zeros(5, len(shots))
    for number, (pool, features) in enumerate(zip(pools, pool_features)):
        labels = getattr(pool, name)[:, 0]
        for column, k in enumerate(shots):
            rows = torch.cat([(labels == c).nonzero()[:k, 0] for c in range(len(list_of))])
            probe = zero_shot.linear_probe(features[rows], labels[rows], C=100.0)
            scores[number, column] = probe.score(test_features, truth.numpy())
    classes = [word if name == "shape" else f"{word} shape" for word in list_of]
    zero = (nearest_class(features_of["known"], classes) == truth).double().mean().item()
    probed[name] = scores, zero

# %%
figure, axis = plots.subplots(size=(8, 3.4))
clip_plot.draw_probes(axis, shots, probed)
plots.show(figure, "Four curves of a linear probe's accuracy against the number of labels for each class, "
           "means of five draws with bars of one standard deviation, rising towards the dotted "
           "lines of zero-shot; the curve for fill stays below its line.")  # fmt: skip
print("        zero-shot   labels a class until the probe is within a point of it, in five draws")
for name, (scores, zero) in probed.items():
    enough = [next((k for k, score in zip(shots, row) if score >= zero - 0.01), ">32")
              for row in scores.tolist()]  # fmt: skip
    print(f"{name:6}      {zero:.3f}   " + "  ".join(f"{k:>3}" for k in enough))
assert all(scores[:, 0].max() < zero for scores, zero in probed.values())

# %% [markdown]
# A prompt replaces several labeled pictures here. For shape and color, the probe needs 8 to 16 labels a class; for size 16 to 32; for fill more than 32.
#
# ### 7.5 The real CLIP
#
# The paper's ViT-L/14 (336 pixels) reaches **76.2 %** zero-shot on ImageNet (table 1). `labkit.hub` puts OpenAI's released weights into our modules. Set `REAL = True` and give the path of a photograph. The weights (605 MB) are downloaded once.

# %%
REAL, PHOTO = False, "my_photograph.jpg"
CLASSES = ["cat", "dog", "person", "bicycle", "plate of food", "landscape", "street", "book"]


def classify_photo(photo, classes):
    """Prints the three likeliest classes of a photograph, by the real CLIP."""
    pixels = hub.look(photo)
    real = hub.load("clip-vit-base-patch32")
    templates = ["a photo of a {}", "a blurry photo of a {}", "my {}"]
    vectors = zero_shot.class_vectors(real, classes, templates)
    best = zero_shot.classify(real, pixels, vectors)[0].topk(3)
    for share, place in zip(*best):
        print(f"{classes[place]:15} {share:.0%}")


if REAL:
    try:
        classify_photo(PHOTO, CLASSES)
    except (ConnectionError, ValueError) as error:
        print(f"Not this time: {error}.")
else:
    print("The real CLIP is not used; set REAL = True to download it.")

# %% [markdown]
# ## 8 · What it does not see, and break it
#
# ### 8.1 A bag of words?
#
# "A red star and a blue circle", "a blue star and a red circle": the same words. To tell a picture from *random other* pictures, the word order hardly matters. So does the network learn it? Each picture gets a true and a false sentence. We count how often the true one is nearer.


# %%
def prefers(drawn, right, wrong):
    """For each picture whether the right sentence is nearer than the wrong one, (N,)."""
    features = picture_vectors(drawn)
    return (features * text_vectors(right)).sum(1) > (features * text_vectors(wrong)).sum(1)


# %%
pool = two_objects(8000, 22, "all")
relation = pool.relation[:, 0, 1]  # of the first object to the second, a row of RELATIONS
room = torch.tensor([SHAPES.index(name) for name in ("circle", "square", "diamond")])
cases = {
    "left of / right of": (relation == 0) | (relation == 1),
    "above / below": (relation == 2) | (relation == 3),
    "inside / around": relation >= 4,
    "… and both can contain": (relation >= 4) & torch.isin(pool.shape[:, :2], room).all(1),
}
tests = {}
for name, holds in cases.items():
    drawn = pool.take(holds).take(slice(0, 400))
    tests[name] = prefers(drawn, *true_and_swapped(drawn))

# %%
drawn, between = pool.take(slice(0, 600)), ["and"] * 600
right = pair_sentences(drawn, between)
swapped = pair_sentences(drawn, between, colors=(1, 0))
tests["which color on which shape"] = prefers(drawn, right, swapped)
other = (drawn.color[:, 0] + 1) % 8
other = torch.where(other == drawn.color[:, 1], (other + 1) % 8, other)  # in neither of the two
absent = drawn._replace(color=torch.stack([other, drawn.color[:, 1]], 1))
tests["control: a color that is absent"] = prefers(drawn, right, pair_sentences(absent, between))

# %%
three = scenes.draw(2500, 24, "all")
three = three.take(three.count == 3)
kinds = [Counter(one.shape for one in scene.objects).most_common() for scene in three.words()]
rows = [row for row, found in enumerate(kinds) if len(found) == 2][:300]
many = {shape: "two " + shape + ("es" if shape == "cross" else "s") for shape in SHAPES}
counts = [[shape for shape, _ in kinds[row]] for row in rows]  # first the shape that occurs twice
tests["two of which, one of which"] = prefers(
    three.take(torch.tensor(rows)),
    [f"{many[double]} and a {one}" for double, one in counts],
    [f"a {double} and {many[one]}" for double, one in counts],
)

# %%
counted = scenes.draw(2500, 23, "all")
counted = counted.take(torch.cat([(counted.count == k).nonzero()[:300, 0] for k in (1, 2, 3)]))
classes, templates = ["one shape", "two shapes", "three shapes"], ["{}", "a picture of {}"]
guess = nearest_class(picture_vectors(counted), classes, templates)
print("the true one of two sentences      N   share right     chance")
for name, right in tests.items():
    print(f"{name:31} {len(right):4}   {plus_minus(right)}   0.5")
counting = guess == counted.count - 1
print(f"how many objects: 1, 2 or 3     {len(guess):4}   {plus_minus(counting)}   0.333")
shares = {name: right.double().mean().item() for name, right in tests.items()}
assert abs(shares["left of / right of"] - 0.5) < 0.06 and abs(shares["above / below"] - 0.5) < 0.06
assert shares["which color on which shape"] < 0.6
assert shares["control: a color that is absent"] > 0.95

# %% [markdown]
# How often do its training captions say such things? And how similar are the two sentences to CLIP?

# %%
generator = torch.Generator().manual_seed(5)
make, captions = pairs.batches(128), []
for _ in range(30):
    captions += words.decode(make(generator)[1])
patterns = {"left of, right of": r"(left|right) of", "above, below, …": "above|over|below|under|beneath",
            "inside, around, …": "inside|within|around|surrounding",
            "a number": "one|single|two|pair|three|trio"}  # fmt: skip
rates = {name: sum(bool(re.search(rf"\b({each})\b", text)) for text in captions) / len(captions)
         for name, each in patterns.items()}  # fmt: skip
print(f"of {len(captions):,} training captions:", {k: f"{share:.1%}" for k, share in rates.items()})
drawn = pool.take(relation < 4).take(slice(0, 400))
one, other = (
    text_vectors(texts) for texts in true_and_swapped(drawn.take(drawn.relation[:, 0, 1] >= 0))
)
print(f"cosine of a sentence on a place and its swap: {(one * other).sum(1).mean():.3f}")
assert (
    rates["left of, right of"] > rates["inside, around, …"] and (one * other).sum(1).mean() > 0.99
)

# %% [markdown]
# Start with the last rows. **Counting** is a known weakness of the paper's model (section 3.1.5 and figure 5, CLEVRCounts). Ours counts to three; about one training caption in fourteen gives a number. **Inside** and **around** are learned, nearly without error if both shapes can contain the other. (In these scenes a star contains nothing, so CLIP never read "a square inside a star".) An **absent color** is noticed almost always.
#
# But **left and right, above and below are at chance**, although about one training caption in eighteen says such a relation. *Which* color is on which shape is at chance, or within two standard errors of it. To this CLIP, a sentence on a place and its swap are nearly the same (cosine 0.997). (In "two of which", the plural words differ, so a list of words is enough.)
#
# Why? We think that in a random batch of 128 scenes, other captions rarely differ in the order alone. Red, blue, star, circle and the background are mostly enough to find the right one. (Yuksekgonul et al. measured the same in released models.) This cannot be the whole reason: *inside* is also a matter of order and was learned, though fewer captions say it. We think that size helps there: the outer object is the large one.
#
# ### 8.2 Hard negatives
#
# Is the order lost because the picture encoder cannot see it, or because the loss does not depend on it? We change only the wrong answers. Each picture now also gets its *own sentence with the two objects swapped*, as one more wrong answer: a **hard negative** (Yuksekgonul et al. call the method NegCLIP).
#
# We keep the shipped CLIP's convolutions, and train only the attention pool behind them, the text encoder and the scale. A control gets the same pictures and sentences, but no swapped ones:

# %%
show_source(hard_negatives.Tuned.loss)

# %% [markdown]
# The result is stored: three seeds, each with new scenes and batches. `python -m benchmarks.hard_negatives` repeats it. The test scenes are held out:

# %%
stored = hard_negatives.stored()
runs = {name: torch.tensor(shares) for name, shares in stored["runs"].items()}  # (seeds, steps)
figure, axis = plots.subplots(size=(7, 3.2))
clip_plot.draw_hard_negatives(axis, stored["steps"], runs)
plots.show(
    figure,
    "Share right on held-out scenes against steps, a curve for each seed. With hard negatives they "
    "rise from chance to between 0.7 and 0.95; those of the control stay near the dotted line.",
)
print(
    f"{stored['held_out']} held-out scenes, after {stored['steps'][-1]} steps, {len(runs['hard'])} seeds:"
)
for name, shares in runs.items():
    print(f"{name:8}", *(f"{share:.3f}" for share in shares[:, -1]))
assert runs["hard"][:, -1].min() > 0.65 and runs["control"][:, -1].max() < 0.55

# %% [markdown]
# What do the other skills become? The same benchmark measured them before, and after the last step of the first two seeds:

# %%
before, after = stored["skills"]["before"], {}
for name in ("hard", "control"):
    rows = [list(each.values()) for each in stored["skills"][name].values()]
    after[name] = dict(zip(before, torch.tensor(rows).T))  # (seeds,) each
print("skill               before   with hard negatives      control")
for skill, value in before.items():
    cells = [" ".join(f"{one:.3f}" for one in after[name][skill]) for name in after]
    print(f"{skill:18} {value:7.3f}   {cells[0]:20}   {cells[1]}")
for name in after:
    assert max(after[name]["size"].max(), after[name]["fill"].max()) < 0.9 < before["fill"]
    assert after[name]["R@1 among 100"].max() < 0.95
nested = {name: skills["inside, around"] for name, skills in after.items()}
assert (nested["hard"] < nested["control"] - 0.1).all() and nested["hard"].min() < 0.1

# %% [markdown]
# With swapped sentences, 70 to 93 % become right; the seeds differ a lot. The control stays near chance. So the convolutions do keep where the objects are, and a loss that depends on the order teaches left and right.
#
# It has a **price**, shown here for two seeds. R@1 falls, and much of *size* and *fill* is forgotten. The control forgets them, too; its sentences never say size or fill. *Inside* loses more with swapped sentences, but how much depends on the seed: the true one is preferred in 3 % and 64 %.
#
# ### 8.3 Break it: duplicate captions
#
# Take a batch of 64 single objects, with captions such as "a star" and "a moon". There are eight shapes, so each caption comes about eight times. The loss asks which of eight *equal* sentences belongs to the picture. One counts as right, and the other seven are **false negatives**. With $m$ equal captions no network gets below $\ln m$:

# %%
crowd = single(64, "train", 3)
captions = [f"a {SHAPES[each]}" for each in crowd.shape[:, 0]]
same = crowd.shape[:, :1] == crowd.shape[:, 0]  # (64, 64)
floor = same.sum(1).double().log().mean().item()
u64, v64 = picture_vectors(crowd), text_vectors(captions)


# %%
def without_duplicates(image, text, scale):
    """The loss that exercise 9.6 asks for."""
    return loss_without_duplicates(image, text, scale, same)


kinds_of_loss = {"plain": contrastive_loss, "without duplicates": without_duplicates}
plain, mended = (f(u64, v64, clip.scale).item() for f in kinds_of_loss.values())
print(f"64 pictures, {len(set(captions))} captions: loss {plain:.3f}, lower bound {floor:.3f}; "
      f"without duplicates {mended:.3f}")  # fmt: skip
print(f"R@1: {retrieval.recall_at(u64 @ v64.T):.2f}; if every equal caption is right: "
      f"{retrieval.recall_at(u64 @ v64.T, 1, same):.2f}")  # fmt: skip
assert plain > floor > 10 * mended

# %% [markdown]
# labkit counts a tie as wrong, so R@1 is 0 here. Both numbers suggest that nothing was learned, but every picture is nearest to its own shape's caption. Duplicates also make the best scale smaller, as the plot shows. A remedy is to leave the duplicates out of the loss (exercise 9.6). Another is to count every equal caption as right (UniCL):

# %%
scales = torch.logspace(0, math.log10(300), 60)
curves = {name: torch.stack([loss(u64, v64, each) for each in scales])
          for name, loss in kinds_of_loss.items()}  # fmt: skip
figure = plots.Figure(figsize=(8.1, 3.2), layout="constrained")
clip_plot.draw_duplicates(figure, scales, curves, floor)
plots.show(figure, "The loss against the scale, with duplicate captions. Plain: smallest at a scale in the "
           "middle, above the dotted bound, then rising. Without duplicates: it falls to about 0.")  # fmt: skip
assert scales[curves["plain"].argmin()] < 100 < scales[curves["without duplicates"].argmin()]

# %% [markdown]
# ### 8.4 Break it: read the wrong position
#
# This mistake gives no error and no warning: take the *last* position of each row, which is padding. Retrieval among 100 scenes:

# %%
drawn = distinct(100, 100)
ids = words.encode(descriptions(drawn, 0)).ids
ends = (ids == words.end).int().argmax(1)
rows, at = torch.arange(100), states(ids)
positions = {"the end token": at[rows, ends], "one position before": at[rows, ends - 1],
             "the last position (padding)": at[:, -1], "the start token": at[:, 0]}  # fmt: skip
recalls = {}
for name, vectors in positions.items():
    cosines = picture_vectors(drawn) @ F.normalize(vectors, dim=1).T
    recalls[name] = retrieval.recall_at(cosines)
    print(f"{name:28} R@1 {recalls[name]:.2f}")
assert recalls["the end token"] > 0.9 and recalls["the start token"] == 0
assert 0.3 < recalls["the last position (padding)"] < 0.8

# %% [markdown]
# Padding comes after the sentence, so causal attention lets it see everything. But the loss never trained that position: R@1 falls to about half. At the start token all sentences have the same vector.
#
# ## 9 · Exercises
#
# Write into the stub, run the cell, and read what the check says. A hint and a solution are folded below each (click the three dots).
#
# ### 9.1 The loss &nbsp; ● 10 minutes
#
# This is CLIP's loss, in four lines. `image` and `text` `(N, D)` are features of any length: bring them to length 1. `scale` is a number. Row $n$ of one belongs to row $n$ of the other.


# %%
def clip_loss(image, text, scale):
    """The contrastive loss, a scalar."""
    ...


checks.clip_loss(clip_loss)

# %% [markdown]
# <details><summary>Hint</summary>Logits (N, N); the right answers are <code>torch.arange(N)</code>; one cross-entropy on the matrix, one on its transpose.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def clip_loss_solution(image, text, scale):
    logits = scale * F.normalize(image, dim=1) @ F.normalize(text, dim=1).T
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


checks.clip_loss(clip_loss_solution).require()

# %% [markdown]
# ### 9.2 One step of the temperature &nbsp; ● 5 minutes
#
# You get the logarithm of the scale (a tensor of any shape), the gradient of the loss by it, and the learning rate. Take a step of plain gradient descent, and keep the scale at 100 or less. Return the new **logarithm**.


# %%
def step_scale(logit_scale, gradient, lr):
    """The logarithm of the scale after the step, of the same shape."""
    ...


checks.step_scale(step_scale)

# %% [markdown]
# <details><summary>Hint</summary><code>.clamp(max=…)</code>, of the logarithm: which number is the largest?</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def step_scale_solution(logit_scale, gradient, lr):
    return (logit_scale - lr * gradient).clamp(max=math.log(100))


checks.step_scale(step_scale_solution).require()

# %% [markdown]
# ### 9.3 The state of the end token &nbsp; ● 10 minutes
#
# `states` `(B, L, D)` is the transformer's output, `tokens` `(B, L)` its input, and `end` the id of the end token. Return for each text the state at its end token, `(B, D)`. Some tokenizers use the end token as padding too: then the *first* one counts.


# %%
def end_state(states, tokens, end):
    """The state of each text's end token, (B, D)."""
    ...


checks.end_state(end_state)

# %% [markdown]
# <details><summary>Hint</summary><code>(tokens == end).int().argmax(1)</code> is the position of the first True; then index with two lists: rows and positions.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def end_state_solution(states, tokens, end):
    positions = (tokens == end).int().argmax(1)
    return states[torch.arange(len(states)), positions]


checks.end_state(end_state_solution).require()

# %% [markdown]
# ### 9.4 An ensemble of prompts &nbsp; ●● 10 minutes
#
# `features` `(K, T, D)` are the text encoder's outputs for $K$ classes in $T$ templates, of any length. Return one unit vector for each class, `(K, D)`.


# %%
def ensemble(features):
    """The classifier, (K, D), rows of length 1."""
    ...


checks.ensemble(ensemble)

# %% [markdown]
# <details><summary>Hint</summary>Length 1 twice: before the mean, so that all prompts have the same weight, and after it.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def ensemble_solution(features):
    return F.normalize(F.normalize(features, dim=2).mean(1), dim=1)


checks.ensemble(ensemble_solution).require()

# %% [markdown]
# ### 9.5 Recall at K &nbsp; ●● 15 minutes
#
# In `similarity` `(N, N)` row $n$ is a query, and column $n$ its right answer. Return the share of rows whose right answer is among the `k` most similar, a number. A tie counts as wrong, as in labkit: the right answer is found if fewer than `k` *others* are at least as similar.


# %%
def recall_at_k(similarity, k):
    """R@K, between 0 and 1."""
    ...


checks.recall_at_k(recall_at_k)

# %% [markdown]
# <details><summary>Hint</summary>Compare each row with its own right similarity, <code>similarity.diagonal()[:, None]</code>, and count. The right answer is as similar as itself.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def recall_at_k_solution(similarity, k):
    own = similarity.diagonal()[:, None]
    return ((similarity >= own).sum(1) <= k).double().mean().item()


checks.recall_at_k(recall_at_k_solution).require()

# %% [markdown]
# ### 9.6 No false negatives &nbsp; ●●● 30 minutes
#
# Correct the loss of section 8.3. `image` and `text` `(N, D)` have length 1. `same` `(N, N)` is True where two rows have the same caption (always on the diagonal). Another pair with the same caption is neither right nor wrong: it must not count, in rows and in columns.


# %%
def distinct_loss(image, text, scale, same):
    """The contrastive loss without false negatives, a scalar."""
    ...


checks.distinct_loss(distinct_loss)

# %% [markdown]
# <details><summary>Hint</summary>Which logit disappears from a softmax? <code>masked_fill(mask, -torch.inf)</code>, with a mask that leaves the diagonal alone.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def distinct_loss_solution(image, text, scale, same):
    duplicates = same & ~torch.eye(len(same), dtype=torch.bool)
    logits = (scale * image @ text.T).masked_fill(duplicates, -torch.inf)
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


checks.distinct_loss(distinct_loss_solution).require()

# %% [markdown]
# ## 10 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You train with 256 pairs in a batch. The scale is still near 14, every probability near 1/256, and the loss stays at 5.545. What has the network learned?",
    {
        "Much: the loss is half of its first value": "The first value is a little above ln 256 = 5.545.",
        "Nothing yet: that is ln 256": "Every answer gets 1/256. Look at the learning rate, and whether pictures and captions are still in the same order.",
        "It depends on the temperature": "If every probability is 1/256, all logits are equal, and so are they at any scale.",
    },
    answer="Nothing yet: that is ln 256",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why is the logarithm of the scale learned, and not the temperature itself?",
    {
        "Because a logarithm is always between 0 and 1": "It is any number; the scale, its exponential, is always positive.",
        "So that the scale stays positive and a step changes it by a percentage": "A step of 0.01 is one percent, at scale 5 and at scale 90.",
        "Because cross-entropy needs logarithms": "It computes its own logarithm, of the probabilities.",
    },
    answer="So that the scale stays positive and a step changes it by a percentage",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "One caption occurs four times in your batch. All else is distinct, and the network is perfect. What is the smallest mean loss of those four rows?",
    {
        "0": "Four equal sentences get equal probabilities, whatever the network does.",
        "ln 4": "One of four equal answers counts as right, and all four get the same probability: at most 1/4.",
        "ln N": "The other sentences can get probability 0.",
    },
    answer="ln 4",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "CLIP cannot tell “a star above a circle” from “a circle above a star”. What would help most?",
    {
        "More prompts in the ensemble": "All prompts go through the same encoders. If the features lack the order, no prompt finds it.",
        "Batches in which both sentences occur": "Then only the order separates the two, and the loss falls if the network learns it. Section 8.2 shows it, and what it costs.",
        "A larger scale": "It multiplies all logits by the same number, so it changes no ranking.",
    },
    answer="Batches in which both sentences occur",
)

# %% [markdown]
# ## 11 · Recap
#
# - **One matrix, two cross-entropies.** Rows choose sentences, columns choose pictures. Equal vectors cost $\ln N$.
# - **Easily confused** pairs get a large gradient.
# - **The scale** lets a probability come near 1. Its logarithm is learned, and clamped at $\ln100$.
# - A sentence's vector is the state of its **end token**.
# - Prompts make **zero-shot** classifiers. Their vectors are averaged at length 1.
# - Ordinary batches did not teach left and right. **Hard negatives** did, at the cost of other skills. Duplicate captions are false negatives.
#
# **What the next lesson fixes.** Lesson 05 guided a sampler with a classifier. In lesson 08 any sentence, or any picture, guides it through CLIP's space.
#
# **References**
# - A. Radford et al.: *Learning Transferable Visual Models From Natural Language Supervision* (CLIP), ICML 2021: figure 3, sections 2.3 to 2.5, 3.1, 3.2, table 1.
# - A. van den Oord et al., 2018: InfoNCE, the loss in one direction.
# - M. Yuksekgonul et al.: *When and Why Vision-Language Models Behave like Bags-of-Words*, ICLR 2023: sections 8.1 and 8.2, on released models.
# - F. Faghri et al.: *VSE++*, BMVC 2018: R@K, and hard negatives.
# - J. Yang et al.: *Unified Contrastive Learning in Image-Text-Label Space* (UniCL), CVPR 2022: equal captions all count as right.
