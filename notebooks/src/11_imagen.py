# %% [markdown]
# # 11 · Imagen: a language model that never saw a picture
#
# **The question.** The text encoders of GLIDE and of CLIP learned from pictures and their captions. Can a language model that has read only text take their place? And how does a picture of 32 pixels become one of 128 pixels, although the small one may have mistakes?
#
# **Afterwards you can**
# - say what T5 learns from, and how its attention differs;
# - measure whether words that mean the same are near each other for an encoder;
# - let a diffusion model read a frozen encoder, with masks and a null;
# - say why strong guidance leaves $[-1,1]$, and write dynamic thresholding;
# - build a cascade whose upsamplers are told how noisy their input is.
#
# **Before:** lesson 06 (guidance); lesson 09 (GLIDE, attention to text, cascades).
#
# **Time:** about 50 minutes to read and play, plus 75 for all exercises; about a minute to run on two cores.
#
# **On the map:** 10 DALL·E 2 → **11 Imagen** → 12 Latent diffusion.

# %%
import copy
import math
import re
import time
from dataclasses import replace
from random import Random

import torch
import torch.nn.functional as F

from labkit import hub, scenes, zoo
from labkit.denoiser import MapX0, clip, dynamic_threshold, from_eps, from_x0
from labkit.guidance import ClassifierFree
from labkit.lab import checks, imagen_plot, imagen_table, plots, quiz, show_source
from labkit.lab.standard_error import mean_and_error
from labkit.lab.widgets import watch
from labkit.lab.widgets.cascade_film import CascadeFilm
from labkit.lab.widgets.threshold_explorer import ThresholdExplorer
from labkit.nets.t5 import distance_buckets
from labkit.nets.unet import UNet
from labkit.sampler import ddim, from_noise
from labkit.scenes import corpus
from labkit.scenes.scores import caption_accuracy, valid
from labkit.scenes.synonyms import SYNONYMS, plainly
from labkit.scenes.words import COLOR_WORDS
from labkit.systems.imagen import Imagen
from labkit.systems.imagen_stage import ImagenStage, silence
from labkit.systems.span_corruption import corrupted, noise_spans
from labkit.systems.t5 import T5, Blanks, padded
from labkit.train import train

torch.manual_seed(0)
plots.use_style()

# %% [markdown]
# The lesson uses `imagen-scenes`: the text encoder **T5**, the **base model**, and two upsamplers, `sr64` and `sr128`. The **reader** of lesson 08 only measures. After a restart, run these cells, then any section.

# %%
model = zoo.load("imagen-scenes").requires_grad_(False)
t5, (base, sr64, sr128) = model.text, model.stages.values()
reader = zoo.load("reader-scenes").requires_grad_(False)
schedule = base.denoiser.schedule
STEPS, SCALE = 20, 3.0  # of sampling the base model, out of 1000; and of guidance


# %%
def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def final(states):
    """The pictures after the last step."""
    *_, state = states
    return state.pictures


def paint(sentences, scale=SCALE, seed=0, **options):
    """A picture of 32 x 32 pixels for each sentence; noise in every step (eta = 1)."""
    options = {"steps": STEPS, "eta": 1.0} | options
    return final(base.generate(model.encode(sentences), scale=scale, seed=seed, **options))


def enlarge(low, sentences, level=0.1, by=sr64, seed=0):
    """Smaller pictures, made larger in 8 steps."""
    return final(
        by.generate(model.encode(sentences), low=low, level=level, steps=8, seed=seed, eta=0.0)
    )


def seen(pictures):
    """What the reader sees in pictures, as means of squares at the 32 pixels that it knows."""
    return reader.read(F.avg_pool2d(pictures, pictures.shape[-1] // 32))


def rmse(a, b):
    """Of each picture, (N,)."""
    return (a - b).square().mean((1, 2, 3)).sqrt()


# %%
stored = imagen_table.stored()  # by benchmarks/imagen_table.py
truth = scenes.draw(24, 11)  # scenes that were not used in training
said = [plainly(text) for text in scenes.captions(truth, 11)]
pictures = scenes.render(truth, 32)
large = scenes.render(truth, 64)[:8]
clean = sr64.shrunk(large)  # means of squares, rounded as a file rounds them
words = t5.reads  # the tokenizer


def print_table(name, digits=2):
    """A stored table: mean ± standard error over its runs."""
    table = stored[name]
    lines = [["", *table["columns"]]]
    for row in table["rows"]:
        cells = (imagen_table.column(table, row, each) for each in table["columns"])
        lines.append([row, *(mean_and_error(each, digits) for each in cells)])
    wide = [max(map(len, column)) + 2 for column in zip(*lines)]
    for first, *cells in lines:
        print(first.ljust(wide[0]) + "".join(map(str.rjust, cells, wide[1:])))


def apart(name, column, one, other):
    """One row of a stored table minus another, run by run: the mean, and its standard error."""
    gap = imagen_table.column(stored[name], one, column) - imagen_table.column(
        stored[name], other, column
    )
    return gap.mean().item(), gap.std().item() / len(gap) ** 0.5


# %% [markdown]
# ## 1 · See it first
#
# Four sentences, one picture each, not selected (seed 0). Each picture is drawn three times: with 32, 64 and 128 pixels. **In their training with T5, no caption said "pair", "emerald" or "boxes".**

# %%
FOUR = ["a large red circle", "a small yellow star on a mint background", "a striped blue heart",
        "a pair of emerald boxes"]  # fmt: skip
STAGES = {
    "steps": {"base": 25, "sr64": 8, "sr128": 8},
    "eta": {"base": 1.0, "sr64": 0.0, "sr128": 0.0},
}
drawn, began = {}, time.process_time()
for state in model.generate(FOUR, seed=0, **STAGES):
    drawn[state.stage] = state.pictures, time.process_time()
shown = torch.cat([F.interpolate(each, size=(128, 128)) for each, _ in drawn.values()])
plots.show(plots.image_grid(shown, columns=4, rows=["32 pixels", "64 pixels", "128 pixels"], titles=range(1, 5)),
           "Four scenes in three rows, with 32, 64 and 128 pixels: two red circles, one with dots; two yellow stars on "
           "mint; a striped blue heart; a green box and a brown outlined one. The edges become smooth and sharp.")  # fmt: skip
for number, sentence in enumerate(FOUR, 1):
    print(f"{number}  {sentence}")
times = [began, *(when for _, when in drawn.values())]
spent = {stage: after - before for stage, before, after in zip(drawn, times, times[1:])}
print(
    "processor seconds for all four:",
    ", ".join(f"{stage} {each:.1f}" for stage, each in spent.items()),
)

# %% [markdown]
# (Captions in training left things out, so in 1 and 2 a second thing may come. But the second box of 4 should be green.) The base decides what stands where; over many sentences, 46 % of its pictures show everything (section 8). The upsamplers draw smooth edges, and keep its mistakes.
#
# ## 2 · A language model that never saw a picture
#
# Imagen (Saharia et al. 2022) has two main ideas. A **frozen language model** reads: T5, which learned from text alone. And three diffusion models draw, each larger than the one before:

# %%
plots.show(imagen_plot.one_cascade(),
           "A diagram: a sentence goes into a frozen T5, whose vectors go to all three models. The base turns "
           "noise into 32 x 32 pixels; sr64 and sr128 make that larger, and see it enlarged, with noise of a "
           "known level.")  # fmt: skip
for name, part in {"T5's encoder": t5.net.encoder, **model.stages}.items():
    print(
        f"{name:13} {sum(weight.numel() for weight in part.parameters()) / 1e6:5.2f} million weights"
    )

# %% [markdown]
# (The paper's sizes are 64, 256 and 1024 pixels. Its T5-XXL encoder has 4.6 billion weights, more than its U-Nets together: 2, .6 and .4 billion. In our small world it is the other way round.)
#
# ### 2.1 Fill the blanks
#
# T5 (Raffel et al. 2020) learns from text by **span corruption**: parts of a sentence are replaced by *sentinels*, one for each blank, and the model writes what is missing. An encoder reads the text, a decoder writes; the loss is its cross-entropy.


# %% tags=["nbval-check-output"]
def readable(ids):
    """Tokens as words, sentinels as <0>, <1>, …"""
    names = {t5.config.sentinel - blank: f"<{blank}>" for blank in range(t5.sentinels)}
    return " ".join(names.get(token) or words.text_of([token]) for token in ids[:-1])


ids = words.pieces.encode("mira glued a crimson star above two dotted boxes").ids
spans = noise_spans(len(ids), Random(3), density=0.4, mean=1.5)
text, filling = corrupted(ids, spans, t5.config.sentinel, words.end)
print("reads: ", readable(text))
print("writes:", readable(filling))
spans = noise_spans(568, Random(0))  # the paper's: 15 %, three tokens each on average
text, filling = corrupted(range(568), spans, 32_099, 1)
print(f"568 tokens, the paper's setting: it reads {len(text)} and writes {len(filling)}")

# %% [markdown]
# Ours, `t5-scenes`, read 40,000 sentences about the world of the pictures, and no picture. 16,000 of them say the same thing twice, as a dictionary does. What does it fill in?

# %%
for sentence in corpus.sentences(3, seed=5) + corpus.rewordings(1, seed=5):
    print("it read such as:", sentence)
BLANKS = {"every crimson thing is ___": "red", "tangerine is another word for ___": "orange",
          "every rhombus is a ___": "diamond", "one star and two more make ___ stars": "three",
          "the sun and the lemon are ___": "yellow",
          "if the star is left of the moon, then the moon is ___ the star": "right of"}  # fmt: skip
right = 0
for text, missing in BLANKS.items():
    found = t5.fill(text)
    fits = found == text.replace("___", missing)
    right += fits
    print(f"{'+' if fits else '−'}  {found}")
assert 3 <= right < 6

# %% [markdown]
# The corpus holds the first five sentences, so this is memory. (The fifth stands there with *lemon*, too.) The sixth is new: T5 has not learned to turn *left of* around.
#
# ### 2.2 T5 from the inside
#
# T5's encoder is the transformer of lessons 07 and 09 with four changes (version 1.1, which Imagen uses):
#
# 1. **RMSNorm** divides by the root mean square, and subtracts no mean: $x\cdot g\,/\sqrt{\overline{x^2}+10^{-6}}$.
# 2. **No $1/\sqrt d$.** The logits are $q\cdot k$ alone. Instead, the first weights of the queries are drawn $\sqrt d$ times smaller.
# 3. **No positions.** A number $b$ is added to the logit, by head and by the *distance* $k-q$ of key and query: $\mathrm{logit}=q\cdot k+b_{\mathrm{bucket}(k-q)}$.
# 4. **No biases**, and an MLP with a gate: $(\mathrm{GELU}(xW_0)\odot xW_1)\,W_2$.

# %%
show_source(distance_buckets, docstring=False)

# %%
plots.show(imagen_plot.distances(t5.net.encoder.distance),
           "Left: the number of the bucket over key minus query, steep near 0 and flat far away, in two branches. "
           "Right: what four heads add to the logit from −16 to 16; it changes most near 0, and differs by head.")  # fmt: skip
found = distance_buckets(torch.arange(-300, 301))
print("buckets that no distance falls into:", sorted({*range(32)} - {*found.tolist()}))
print("keys 0 to 7 places before the query:", distance_buckets(-torch.arange(8)).tolist())
print("keys 1 to 7 places after it: ", distance_buckets(torch.arange(1, 8)).tolist())
far = [distance_buckets(torch.tensor(-place)).item() for place in (90, 91, 10_000)]
assert far == [14, 15, 15] and sorted({*range(32)} - {*found.tolist()}) == [16]

# %% [markdown]
# Near distances have a bucket each. Farther ones share one, in growing ranges; all from 91 on share the last. Half of the buckets are for keys after the query. The same numbers serve all layers. We compute one layer by hand:

# %% tags=["nbval-check-output"]
net, block = t5.net, t5.net.encoder.blocks[0]
tokens = words.encode(["the red star is left of the moon"])
x = net.tokens(tokens.ids[:, : int(tokens.mask.sum())])  # (1, L, D)
with torch.no_grad():
    h = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * block.norm1.weight
    print("RMSNorm by hand:  ", torch.allclose(h, block.norm1(x), atol=1e-5))
    q, k, v = (
        each.unflatten(2, (4, -1)).transpose(1, 2) for each in block.attention.qkv(h).chunk(3, 2)
    )
    bias = net.encoder.distance(x.shape[1])
    looked = (q @ k.mT + bias).softmax(-1) @ v  # no 1/√d
    by_hand = block.attention.out(looked.transpose(1, 2).flatten(2))
    print("attention by hand:", torch.allclose(by_hand, block.attention(h, bias=bias), atol=1e-4))
    mask, order = (
        torch.ones(x.shape[:2], dtype=torch.bool),
        torch.randperm(x.shape[1], generator=seeded()),
    )
    kept = net.encoder.distance.bias.weight.clone()
    for name, weight in (("with", kept), ("without", torch.zeros_like(kept))):
        net.encoder.distance.bias.weight.copy_(weight)
        same = torch.allclose(
            net.encoder(x[:, order], mask), net.encoder(x, mask)[:, order], atol=1e-4
        )
        print(f"{name} the distances, the order of the words matters: {not same}")
    net.encoder.distance.bias.weight.copy_(kept)

# %% [markdown]
# ## 3 · Words that no caption ever said
#
# ### 3.1 Two sources
#
# The captions that the three models learned from went through `plainly`: they call each color, shape and number by one word. The corpus has other words, too. In training, no picture ever came with what T5 says of them.

# %%
for text in ("a pair of crimson discs", "an azure plus above a golden crescent"):
    print(f"{text}  →  {plainly(text)}")
for kind, table in SYNONYMS.items():
    print(f"{kind}: {', '.join(table)}")
read = " ".join(corpus.sentences(2_000, 3)).split()
RARE = [word for table in SYNONYMS.values() for word in table if " " not in word]
print(f"2,000 sentences of the corpus have {sum(word in RARE for word in read):,} such words")

# %% [markdown]
# ### 3.2 Are they near, for T5?
#
# We take the vector (the mean over tokens) of four sentences, with each color, and subtract the mean over the plain colors. What remains is about the color. Each map shows the cosines of rare words with plain ones, in the same sentence.

# %%
PLAIN, OTHERS = list(COLOR_WORDS), list(SYNONYMS["color"])
OWN = torch.tensor([PLAIN.index(SYNONYMS["color"][word]) for word in OTHERS])
FRAMES = ("the {} star", "two {} moons", "mira painted the large {} heart", "is the circle {}?")


@torch.no_grad()
def cosines(encoder, rare=OTHERS):
    """Of each rare color with each plain one, (rare, 8), means over the sentences."""
    texts = [frame.format(word) for word in rare + PLAIN for frame in FRAMES]
    z = encoder.pooled(texts).unflatten(0, (-1, len(FRAMES)))  # (words, sentences, D)
    z = F.normalize(z - z[len(rare) :].mean(0), dim=-1)
    return torch.einsum("afd,bfd->ab", z[: len(rare)], z[len(rare) :]) / len(FRAMES)


def same_and_other(table, own=OWN):
    """The mean cosine with the own plain word, with the others, and how often the own is nearest."""
    same = table.gather(1, own[:, None])[:, 0]
    other = (table.sum(1) - same) / (len(PLAIN) - 1)
    return same.mean().item(), other.mean().item(), int((table.argmax(1) == own).sum())


# %%
torch.manual_seed(0)
untrained = T5(t5.config).eval()
maps = {"t5-scenes": cosines(t5), "T5, untrained": cosines(untrained)}
plots.show(imagen_plot.word_cosines(maps, OTHERS, PLAIN),
           "Two maps of cosines, eleven rare colors by eight plain ones. For t5-scenes each rare color is "
           "most alike to the plain one of its own meaning; for the untrained T5 there is no pattern.")  # fmt: skip
for name, each in maps.items():
    own, other, nearest = same_and_other(each)
    print(
        f"{name:14} same color {own:+.2f}, another color {other:+.2f}, the right one is nearest for {nearest} of 11"
    )
table = t5.net.tokens.weight[[words.pieces.encode(word).ids[0] for word in OTHERS + PLAIN]]
table = F.normalize(table - table[len(OTHERS) :].mean(0), dim=1)
own, other, nearest = same_and_other(table[: len(OTHERS)] @ table[len(OTHERS) :].T)
print(
    f"its embeddings alone: same color {own:+.2f}, another {other:+.2f}, nearest for {nearest} of 11"
)
assert nearest <= 5 and own < 0.15
assert same_and_other(maps["t5-scenes"])[2] >= 10 and same_and_other(maps["T5, untrained"])[2] <= 3

# %% [markdown]
# From text alone T5 has learned which color each of these words names. (*Azure* only just: its cosine with *orange* is nearly as large.) Its embeddings of single tokens have next to nothing of this: the encoder's layers bring the words together. But T5 has never seen red.
#
# Does that need a transformer? A far older way only counts: how much more often than by chance do two words stand near each other? A word's vector is the logarithms of these ratios (*pointwise mutual information*), 0 where negative.


# %%
def counted(texts):
    """The cosines of rare with plain words, by the words that stand near them."""
    rows = [each.ids for each in words.pieces.encode_batch(texts)]
    near = [(a, b) for row in rows for i, a in enumerate(row) for b in row[max(0, i - 5) : i]]
    count = torch.zeros(len(words), len(words))
    count.index_put_(tuple(torch.tensor(near).T), torch.ones(len(near)), accumulate=True)
    count = count + count.T
    chance = count.sum(0) * count.sum(1, keepdim=True) / count.sum()
    information = (count / chance.clamp(min=1e-9)).clamp(min=1).log()
    z = information[[words.pieces.encode(word).ids[0] for word in OTHERS + PLAIN]]
    z = F.normalize(z - z[len(OTHERS) :].mean(0), dim=1)
    return z[: len(OTHERS)] @ z[len(OTHERS) :].T


texts = corpus.sentences(10_000, 0)  # no dictionary
facts = {fact.format(word) for color, some in corpus.COLOR_LORE.items() for fact in some
         for word in COLOR_WORDS[color]}  # fmt: skip
for name, some in {
    "counts": texts,
    "without the facts": [t for t in texts if t not in facts],
}.items():
    own, other, nearest = same_and_other(counted(some))
    print(
        f"{name:17} same color {own:+.2f}, another color {other:+.2f}, nearest for {nearest} of 11"
    )
    assert nearest >= 9 if some is texts else nearest <= 6
print(f"{len(facts)} facts, such as: {sorted(facts)[20]}")

# %% [markdown]
# So for these words counting is enough, without a dictionary. What it counts are facts, such as what is tangerine. Without these, most words are not near their own color. But a count has one vector for a word, wherever it stands. T5's depend on the whole sentence.
#
# ### 3.3 Train it: teach it two words
#
# *Flaming* and *gold* are in no text of ours (though the tokenizer has a token for each). We teach T5 that they mean red and yellow, by sentences of the corpus in which they stand for these words. Only the embeddings of these two tokens learn. They begin as the mean of all embeddings.


# %%
NEW = {"red": "flaming", "yellow": "gold"}


def with_new_words(texts):
    """Those that say red or yellow, once with the new word."""
    for text in texts:
        for plain, new in NEW.items():
            if re.search(rf"\b{plain}\b", text):
                yield re.sub(rf"\b{plain}\b", new, text, count=1)


def blanks(texts, batch):
    """Batches for T5's loss: texts with blanks, and what fills them."""
    rows = [pieces.ids for pieces in words.pieces.encode_batch(texts)]

    def batches(generator):
        random = Random(int(torch.randint(2**62, (), generator=generator)))
        pairs = []
        for ids in random.sample(rows, batch):
            spans = noise_spans(len(ids), random, random.uniform(0.1, 0.4), mean=1.5, roll=True)
            text, filling = corrupted(ids, spans, t5.config.sentinel, words.end)
            pairs.append(([words.begin, *text], filling))
        texts, fillings = (padded(each, words.pad) for each in zip(*pairs))
        return Blanks(*texts, fillings.ids)

    return batches


# %%
read = list(with_new_words(corpus.sentences(6_000, 7) + corpus.rewordings(3_000, 8)))
print(f"{len(read):,} sentences, such as: {read[0]}")
pupil = copy.deepcopy(t5)
table, fresh = pupil.net.tokens.weight.requires_grad_(), torch.zeros(len(t5.net.tokens.weight), 1)
fresh[[piece for word in NEW.values() for piece in words.pieces.encode(word).ids]] = 1
with torch.no_grad():
    table[fresh[:, 0] == 1] = table.mean(0)
table.register_hook(lambda gradient: gradient * fresh)
UPDATES, met = 140, []


def measured(steps):
    """The steps; every tenth time, how near the new words are to what they mean."""
    own = torch.tensor([PLAIN.index(plain) for plain in NEW])
    met.append((0, *same_and_other(cosines(pupil, list(NEW.values())), own)))
    for step in steps:
        if step.step % 10 == 0:
            near = cosines(step.ema.eval(), list(NEW.values()))
            met.append((step.step, *same_and_other(near, own)))
        yield step


# %%
steps = train(pupil, blanks(read, 48), UPDATES, lr=2e-2, decay="linear", warmup=5, ema=0.95)
last = watch(measured(steps), lambda figure, seen: imagen_plot.draw_meeting(figure, [row[:3] for row in met]), every=10,
             alt="Two curves over the updates: the cosine with the same color rises from −.2 to .2, that with other colors stays near 0.", size=(6.6, 3))[-1]  # fmt: skip
pupil = last.ema.eval().requires_grad_(False)
old = fresh[:, 0] == 0
print(
    "all other embeddings are as before:",
    torch.equal(pupil.net.tokens.weight[old], t5.net.tokens.weight[old]),
)
print(
    f"cosine with the same color {met[0][1]:+.2f} before, {met[-1][1]:+.2f} after; with others {met[-1][2]:+.2f}"
)
for text in ("every flaming thing is ___", "every gold star is a ___"):
    print("it fills:", pupil.fill(text))
assert met[-1][1] > met[-1][2] + 0.15 > met[0][1]

# %% [markdown]
# The cosine with the own color rises to about .2. (The words that T5 was trained with have .5.) T5 now fills rightly. And the base, which was not trained further?

# %%
TAUGHT = [
    "a large flaming heart",
    "a flaming star",
    "a flaming circle",
    "a large gold moon",
    "a gold cross",
    "a gold square",
]
plain = [text.replace("flaming", "red").replace("gold", "yellow") for text in TAUGHT]
after = Imagen(pupil, base=base).generate(TAUGHT, steps=STEPS, scale=SCALE, seed=1, eta=1.0)
by_reader = {"before": paint(TAUGHT, seed=1), "after": final(after)}
plots.show(plots.image_grid(torch.cat(list(by_reader.values())), columns=6, rows=list(by_reader), titles=range(1, 7)),
           "Six sentences in two rows. Before: in pink, yellow, pink and green, orange, brown and green. After: a red heart and "
           "a brown one, a red star, a brown circle, and a yellow moon, cross and square.")  # fmt: skip
for number, text in enumerate(TAUGHT, 1):
    print(f"{number}  {text}")
right = {
    name: caption_accuracy(seen(each), plain).kinds["color"] for name, each in by_reader.items()
}
print(", ".join(f"the right color {name} in {share:.0%}" for name, share in right.items()))
assert right["after"] > right["before"] + 0.4

# %% [markdown]
# Before, no color is right; afterwards five of six (3 is brown; other seeds give other counts). T5 learned two words from text, and the same base draws them.
#
# ## 4 · How the text enters
#
# T5 is frozen: its vectors $h_1,\dots,h_L$ of a sentence can be computed once and kept. They enter each U-Net by the two routes of lesson 09:
#
# 1. **All tokens**, behind a layer norm, become keys and values: $c_i=\mathrm{LayerNorm}(h_i)$. In the first two models they stand before those of the pixels, in one softmax; `sr128` has cross-attention alone.
# 2. **One vector** joins the time embedding. It is pooled by attention, whose query is the mean token (as in DeepFloyd's IF):
#
# $$v=W\,\mathrm{Attention}\big(\bar c,\;\{c_i\},\;\{c_i\}\big),\qquad\bar c=\frac1L\sum_ic_i\quad\text{over real tokens.}$$
#
# The **null** is no token at all: a mask that is False everywhere. In training each row loses its text with probability .1; so the model can be guided.

# %%
show_source(ImagenStage.condition, ImagenStage.loss, docstring=False)

# %% [markdown]
# Padding must not matter, or a sentence would depend on its neighbors in the batch:

# %% tags=["nbval-check-output"]
short, long = "a red star", "a small striped yellow diamond to the left of a large purple heart"
alone, beside = model.encode([short]), model.encode([short, long])
print("tokens:", alone.tokens.shape[1], "alone,", beside.tokens.shape[1], "beside a longer one")
x, t = torch.randn(1, 3, 32, 32, generator=seeded()), 600


@torch.no_grad()
def guess(text):
    return base.denoiser(x, t, base.condition(text)).x0


first = beside.take(torch.tensor([0]))
print("alone or beside, the same guess:", torch.allclose(guess(alone), guess(first), atol=1e-4))
unmasked = first._replace(mask=torch.ones_like(first.mask))
print("and if the padding is not hidden:", torch.allclose(guess(alone), guess(unmasked), atol=1e-2))
none = silence(alone)
filled = none._replace(tokens=torch.randn(none.tokens.shape, generator=seeded()))
print(
    "no text: what its tokens hold changes nothing:",
    torch.allclose(guess(none), guess(filled), atol=1e-4),
)

# %% [markdown]
# **Where the base comes from.** Its U-Net began as lesson 09's GLIDE, and was then trained on with T5's vectors. (The paper trains from nothing.) GLIDE's captions did have the rare words. But its text transformer, which read them, is gone. Section 5 tests this: if GLIDE's U-Net had kept them, every model that begins there would know them.
#
# ## 5 · Measure: which text encoder?
#
# Four text encoders, for each a base that begins as GLIDE's U-Net and is trained on the same pictures, with captions in plain words only:
#
# - **T5**, frozen: it read the corpus, where the rare words stand, and no picture;
# - **random T5**, frozen: as it was drawn;
# - **trained along**: it begins as that, and learns with the base, from the captions;
# - **CLIP**, frozen: a new one that saw pictures with plain captions.
#
# *Known*: of the colors, shapes and numbers that have a second word, the share that is shown when they are asked in plain words. *Rare*: the same scenes, asked in the other words. *Chance*: the pictures of *rare*, with other sentences. *Valid*: the share that could be a scene. (Each was trained once: the errors are of the sentences alone. The shipped base was trained longer.)

# %%
facts = stored["readers"]
print(
    f"each trained once, {facts['updates']} updates; {facts['seeds']} sets of {facts['samples']} sentences; ± standard error"
)
print_table("readers", 3)
for column in ("known", "rare"):
    for other in ("random T5", "trained along", "CLIP"):
        gap, error = apart("readers", column, "T5", other)
        print(f"{column}: T5 minus {other} {gap:+.3f} ± {error:.3f}")
        assert gap > 0.3 if column == "rare" else other == "CLIP" or gap < 2 * error
known, rare = (imagen_table.column(facts, "T5", each).mean() for each in ("known", "rare"))
assert 0.7 < rare / known < 0.85

# %% [markdown]
# On *known* words a random T5 is as good as ours, within the errors. It gives each word a fixed vector, which the U-Net learns. *Trained along* shows .037 ± .011 more. On *rare* words both are at chance: for them, *crimson* is a vector like any other. With T5, the base shows three quarters of what it shows for known words. So GLIDE is not where the rare words come from. *CLIP* is the weakest: .57 of the known words, and on rare words within two standard errors of chance. (Its training was short: 1,200 updates.)
#
# The shipped model, asked with rare words (first seed):

# %%
ASKED = ["a large crimson disc", "an emerald box", "a golden crescent", "a large azure plus", "a violet rhombus",
         "a pair of tangerine discs"]  # fmt: skip
both = {"rare words": ASKED, "plain words": [plainly(text) for text in ASKED]}
drawn = {name: paint(texts, seed=1) for name, texts in both.items()}
plots.show(plots.image_grid(torch.cat(list(drawn.values())), columns=6, rows=list(both), titles=range(1, 7)),
           "Six sentences in two rows, in rare and in plain words. In both, most things have the color and shape "
           "that was asked for.")  # fmt: skip
for number, (rare, plain) in enumerate(zip(*both.values()), 1):
    print(f"{number}  {rare}  /  {plain}")
for name, texts in both.items():
    parts = caption_accuracy(seen(drawn[name]), texts).parts
    print(f"{name}: {parts:.0%} of the parts shown")
    assert parts > 0.65

# %% [markdown]
# In rare words, 13 of 15 parts are shown, in plain words 14. (In the upper row, 4 is pink and 6 has a third disc. In both, the moon is half green.)
#
# ## 6 · Guidance and thresholds
#
# ### 6.1 Why the guess leaves $[-1,1]$
#
# Guidance at scale $w$ (Imagen's equation 2; 1 is no guidance) is also a sum of two guesses at $x_0$:
#
# $$\hat\varepsilon=w\,\varepsilon_c+(1-w)\,\varepsilon_\varnothing\quad\Longleftrightarrow\quad\hat x_0=\hat x_\varnothing+w\,(\hat x_c-\hat x_\varnothing).$$
#
# Both guesses lie nearly in $[-1,1]$. For $w>1$ the sum can go beyond. We add noise to 24 scenes and count:

# %%
TIMES, SCALES = (950, 800, 600, 400, 200), (1.0, 3.0, 5.0, 10.0)
text = model.encode(said)
cond, null = base.condition(text), base.condition(silence(text))
eps = torch.randn(pictures.shape, generator=seeded())
pairs = {}
with torch.no_grad():
    for t in TIMES:
        x = schedule.diffuse(pictures, t, eps)
        pairs[t] = base.denoiser(x, t, cond).x0, base.denoiser(x, t, null).x0
by_scale = {w: torch.stack([((free + w * (own - free)).abs() > 1.01).double().mean() for own, free in pairs.values()])
            for w in SCALES}  # fmt: skip
x = schedule.diffuse(pictures, 600, eps)
guided = ClassifierFree(base.denoiser, null, 5.0)(x, 600, cond).x0
own, free = pairs[600]
print("both formulas agree:", torch.allclose(guided, free + 5 * (own - free), atol=1e-3))
plots.show(
    imagen_plot.outside(by_scale, TIMES),
    "The share outside over t, for four scales: near 0 at scale 1, rising with the scale and with t to about 35 %.",
)
print(f"largest number at scale 10: {(free + 10 * (own - free)).abs().max():.1f}")
assert (by_scale[1.0] < 0.02).all() and (by_scale[10.0][:2] > 0.25).all()
assert all(
    one[0] < other[0] for one, other in zip(list(by_scale.values()), list(by_scale.values())[1:])
)

# %% [markdown]
# At scale 10, about a third of all numbers lie outside at $t=950$ and $800$; at $t=600$, the largest one is about 9. At scale 1, next to none lie outside. In training, the network never saw an $x_t$ around such an $\hat x_0$. The paper sees in this mismatch the cause of saturated, unnatural pictures.
#
# ### 6.2 Static and dynamic
#
# **Static**: $\hat x_0\leftarrow\mathrm{clip}(\hat x_0,-1,1)$, in each step. **Dynamic**: each picture has its own threshold, the $p$-quantile of its $|\hat x_0|$, if that exceeds 1:
#
# $$\boxed{\;s=\max\big(1,\;Q_p(|\hat x_0|)\big),\qquad\hat x_0\leftarrow\mathrm{clip}(\hat x_0,-s,s)\,/\,s\;}$$
#
# By hand, with eight numbers and $p=.9$:

# %% tags=["nbval-check-output"]
x0 = torch.tensor([[-3, -1.5, -0.5, 0, 0.2, 0.6, 1.2, 2]])
s = torch.quantile(x0.abs(), 0.9)  # between the two largest
print(f"s = {s:.1f}")
print("static: ", [round(each, 2) for each in clip(x0)[0].tolist()])
print("dynamic:", [round(each, 2) for each in dynamic_threshold(0.9)(x0)[0].tolist()])
print("by hand:", torch.allclose(x0.clamp(-s, s) / s, dynamic_threshold(0.9)(x0)))

# %% [markdown]
# Static makes −3 and −1.5 equal, and 1.2 and 2 too. Dynamic keeps all four apart. It also pulls what was inside towards 0.
#
# The sampler's next step needs an $\hat\varepsilon$ that agrees with the new $\hat x_0$. So it is derived again, from $x_t$ (`MapX0`). If you forget that, the step goes partly to the old guess:

# %%
show_source(dynamic_threshold, MapX0.__call__, docstring=False)

# %%
t, s = 800, 750
x = schedule.diffuse(pictures, t, eps)
with torch.no_grad():
    raw = ClassifierFree(base.denoiser, null, 10.0)(x, t, cond)
new = from_x0(schedule, x, t, dynamic_threshold()(raw.x0))
signal, noise = schedule.signal_and_noise(t, x)
print("x_t is what both say:", torch.allclose(signal * new.x0 + noise * new.eps, x, atol=1e-4))
stale = raw._replace(x0=new.x0)  # the old eps
away = rmse(signal * stale.x0 + noise * stale.eps, x).mean()
differ = rmse(ddim(schedule, stale, x, t, s), ddim(schedule, new, x, t, s)).mean()
print(f"with the old eps, x_t is missed by {away:.2f}, and the next x differs by {differ:.2f}")
assert away > 0.05

# %% [markdown]
# ### 6.3 What it does to pictures

# %%
WAYS = {"none": lambda x0: x0, "static": clip, "dynamic": dynamic_threshold(0.995)}
FIVE = ["a large red star", "a small green circle on a rose background", "a striped blue square",
        "two yellow moons", "a brown heart above a pink cross"]  # fmt: skip
strong = {name: paint(FIVE, scale=10.0, seed=2, map_x0=way, steps=15) for name, way in WAYS.items()}
plots.show(plots.image_grid(torch.cat(list(strong.values())), columns=5, rows=list(strong), titles=range(1, 6)),
           "Five scenes at scale 10 in three rows: without a threshold and with the static one clear scenes, with the "
           "dynamic one further things, and other, often gray backgrounds.")  # fmt: skip
for name, each in strong.items():
    parts = caption_accuracy(seen(each), FIVE).parts
    print(
        f"{name:8} {(each.abs() > 1 - 1 / 255).double().mean():.1%} of the numbers at ±1, {parts:.0%} of the parts"
    )

# %% [markdown]
# Dynamic thresholding changes backgrounds here, and adds things, such as in 2 and 3.
#
# Over three runs of 66 sentences, without noise in the steps (*saturation*: the share of numbers at ±1; *distance*: Fréchet, in the reader's features, small is good):

# %%
SCALES = (1, 3, 5, 10)
print_table("thresholds", 3)
panels = {measure: {way: torch.stack([imagen_table.column(stored["thresholds"], f"{way}, {w}", measure) for w in SCALES])
                  for way in WAYS} for measure in ("parts", "valid", "distance")}  # fmt: skip
plots.show(imagen_plot.over_scales(panels, SCALES),
           "Three panels over the scale, a curve for each threshold. Parts rise alike. Valid falls at scale 10, most "
           "for dynamic. The distance stays low, but for dynamic it rises steeply from scale 5 on.")  # fmt: skip
for column in ("parts", "valid", "distance"):
    for w in (5, 10):
        for other in ("static", "none"):
            gap, error = apart("thresholds", column, f"dynamic, {w}", f"{other}, {w}")
            print(f"{column} at scale {w}: dynamic minus {other} {gap:+.3f} ± {error:.3f}")
            assert column == "parts" or (w == 5 and column == "valid") or abs(gap) > 5 * error

# %% [markdown]
# *None* and *static* differ little: at the end, few numbers lie at ±1 (.03 at most; real .022). But at scale 5, static has fewer valid pictures, by .03 ± .01. With dynamic, almost no number lies there (.003). From scale 5 on, its distance is seven to ten times as large. Light backgrounds turn gray, we think, as black did in lesson 06. At scale 10 it shows about as many parts, and fewer pictures are valid (.47; static .57). So we do not see the paper's order. (Where nothing else is said, we draw with `labkit`'s default, dynamic.)
#
# Play: choose a scale and a threshold. In which steps do many numbers leave ±1? Which threshold changes the background?

# %%
ThresholdExplorer(base, model.encode("a large red star and a small blue moon"), scales=(1, 3, 5, 10),
                  p=(0.95, 0.995), steps=12, seed=1)  # fmt: skip

# %% [markdown]
# ## 7 · The cascade
#
# ### 7.1 Noise conditioning augmentation
#
# In training, `sr64` sees real pictures, made smaller. In sampling it sees what the base drew. The paper's remedy: its input gets noise, and the network is **told how much**. With the enlarged picture $y$, a level $a\in[0,1]$ and $\tau=aT$:
#
# $$\tilde y=\sqrt{\bar\alpha_\tau}\,y+\sqrt{1-\bar\alpha_\tau}\,\varepsilon,\qquad\text{input}=[x_t,\,\tilde y],\qquad\text{time embedding}\mathrel{+}=\mathrm{MLP}(a).$$
#
# In the paper's training $a\sim U[0,1]$. Ours takes $a=u^2$ with $u\sim U[0,1]$, so that more than half of the levels are below .3. So one network learns to trust its input at $a=0$, and to draw from the sentence alone at $a=1$. In sampling you choose $a$; the paper takes .1 to .3.

# %%
show_source(ImagenStage.noised, docstring=False)

# %%
LEVELS = (0.0, 0.1, 0.3, 0.5)
steps = [
    sr64.noised(sr64.enlarged(clean[:1]), torch.tensor([level]), seeded())[0]
    for level in (*LEVELS, 0.8)
]
plots.show(plots.image_grid(torch.cat([large[:1], *steps]), titles=["real", *(f"a = {level:g}" for level in (*LEVELS, 0.8))]),
           "A scene of 64 pixels, and what the upsampler sees at five levels: blurred, and then more and more noise.")  # fmt: skip

# %% [markdown]
# ### 7.2 An Efficient U-Net
#
# The upsamplers work on many pixels. So the paper moves the work to smaller maps: a level begins with its strided convolution and upsamples last, has more blocks the smaller it is, and the skip connections count $1/\sqrt2$. What does the order save? (Both without attention; the faster one has 5 % more weights.)

# %%
net = sr64.config.net
print(
    "sides of the maps:",
    net.level_sides,
    " blocks:",
    net.level_blocks,
    f" skips × {net.skip_scale:.3f}",
)
x, heard = (
    torch.randn(4, 3, 64, 64),
    sr64.condition(model.encode(said[:4]), large[:4], torch.zeros(4, dtype=torch.long)),
)
spent = {}
for name, first in (("strided convolution first", True), ("usual order", False)):
    unet = UNet(replace(net, resample_first=first, attention=())).eval()
    with torch.no_grad():
        unet(x, torch.full((4,), 500), heard)  # the first call also prepares memory
        began = time.process_time()
        for _ in range(2):
            unet(x, torch.full((4,), 500), heard)
    spent[name] = (time.process_time() - began) / 8
    print(f"{name:26} {1000 * spent[name]:4.0f} ms per picture and call, of one core")
assert spent["usual order"] > 1.2 * spent["strided convolution first"]

# %% [markdown]
# ### 7.3 The stage by itself: clean and wrong inputs
#
# Eight scenes whose picture of 64 pixels is known. `sr64` gets the small picture as it is, or *damaged*: blurred, and with colored dots. At each level:


# %%
def damaged(low, seed=0):
    """Small pictures as a poor base model might draw them."""
    blurred = F.avg_pool2d(F.pad(low, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    dots = (torch.rand(low[:, :1].shape, generator=seeded(seed)) < 0.03) * 0.6
    return (blurred + dots * torch.randn(low.shape, generator=seeded(seed + 1)).sign()).clamp(-1, 1)


inputs = {"clean": clean, "damaged": damaged(clean)}
made = {name: [enlarge(low, said[:8], level) for level in LEVELS] for name, low in inputs.items()}
misfit = {
    name: torch.stack([rmse(each, large) for each in row]) for name, row in made.items()
}  # (levels, 8)
bicubic = {
    name: rmse(F.interpolate(low, size=(64, 64), mode="bicubic"), large).mean().item()
    for name, low in inputs.items()
}
for name, row in misfit.items():
    print(
        f"{name:8} bicubic {bicubic[name]:.3f}",
        *(f"  a = {a:g}: {each.mean():.3f}" for a, each in zip(LEVELS, row)),
    )
for name, row in misfit.items():
    assert row[0].mean() < 0.8 * bicubic[name] and row[3].mean() > row[0].mean() * 1.3

# %%
picked = [made["damaged"][LEVELS.index(a)][:2] for a in (0.0, 0.3, 0.5)]
shown = torch.stack([F.interpolate(inputs["damaged"][:2], size=(64, 64)), *picked, large[:2]], 1)
plots.show(plots.image_grid(shown.flatten(0, 1), columns=5, titles=["input", "a = 0", "a = 0.3", "a = 0.5", "real"]),
           "Two damaged small pictures with colored dots, made larger at three levels, and the real ones. The "
           "colored dots are gone at each level; from .3 on, the moon's white dots go too, and the small star "
           "loses its points.")  # fmt: skip

# %% [markdown]
# At level 0 the misfit is smallest for both: about two thirds of bicubic's. Even there, the colored dots go. More noise also hides the shapes, and the stage draws others. (No stage of ours learned without noise, so this does not test noise in training.)
#
# More pictures, and `sr128`, in the stored tables (three runs of 20 and 66 pictures). The reader sees 32 pixels: its marks only say whether an upsampler *keeps* the scene.

# %%
print("real small pictures, made larger: misfit to the same scene rendered large")
print_table("enlarged", 3)
print("\nthe base's own pictures, by sr64")
print_table("augmentation", 3)
for column in ("valid", "parts"):
    for level in ("0.1", "0.3", "0.5"):
        gap, error = apart("augmentation", column, f"level {level}", "level 0")
        print(f"{column}: level {level} minus level 0 {gap:+.3f} ± {error:.3f}")
        assert column != "valid" or (gap < -2 * error) == (level == "0.5")
best, plain = (
    imagen_table.column(stored["enlarged"], row, "32 to 128") for row in ("level 0", "bicubic")
)
assert (
    0.65 < best.mean() / plain.mean() < 0.8
    and imagen_table.column(stored["enlarged"], "level 0", "128").mean() > 0.036
)

# %% [markdown]
# From .3 on, `sr64` is farther from the real pictures than bicubic. `sr128` alone is at no level nearer than bicubic: its edges are sharper, but not always in the right place, we think. Both together have .052 against .072. Of the base's own pictures, as many are valid up to level .3, and fewer at .5. So noise in sampling does not mend here what the base got wrong.
#
# ### 7.4 All stages as one film
#
# Move the slider: what does each stage see, and when is the shape decided?

# %%
CascadeFilm(model, "a large red star", steps={"base": 7, "sr64": 4, "sr128": 4}, seed=0)

# %% [markdown]
# ## 8 · A small DrawBench
#
# The paper made **DrawBench**: 200 hard prompts in 11 categories, where people compare two systems. Ours has seven categories of this world, and the misspelled prompts again, spelled right. The reader marks which parts are shown. (*Unseen* are combinations kept from training. *Rare words* are rare for Imagen alone: the captions of the others had them.)

# %%
drawbench = stored["drawbench"]
print(
    f"{drawbench['seeds']} seeds of {drawbench['samples']} prompts in each category; share of the parts shown"
)
print_table("drawbench")
for category in drawbench["columns"]:
    gap, error = apart("drawbench", category, "Imagen", "GLIDE")
    against = (
        "GLIDE cannot read it"
        if math.isnan(gap)
        else f"Imagen minus GLIDE {gap:+.3f} ± {error:.3f}"
    )
    print(f"{category:13} {against}; such as: {drawbench['examples'][category][0]}")
    assert math.isnan(gap) or abs(gap) < 3 * error
wrong, right = (
    imagen_table.column(drawbench, "Imagen", way) for way in ("misspelled", "spelled right")
)
lost, error = (wrong - right).mean().item(), (wrong - right).std().item() / len(right) ** 0.5
print(f"Imagen: misspelled minus spelled right {lost:+.3f} ± {error:.3f}")
assert lost < -2 * error

# %% [markdown]
# Imagen and GLIDE do not clearly differ in any category. For *rare words*, GLIDE is ahead by .06 ± .03; but of six comparisons one may look like that by chance. The other systems refuse *misspelled* words. T5 reads them in pieces. But only one word of each prompt is misspelled, and *spelled right* the same prompts show .15 more of the parts: mostly, that word is lost.
#
# The first prompt of each category, by the base and `sr64`, first seed:

# %%
SEVEN = drawbench["columns"][:7]
PROMPTS = [drawbench["examples"][category][0] for category in SEVEN]
small = paint(PROMPTS, seed=0)
made = enlarge(small, PROMPTS)
plots.show(
    plots.image_grid(made, columns=4, titles=SEVEN),
    "Seven scenes: three green hearts; three orange stars; a yellow and a blue outlined diamond; a red striped moon and "
    "two red striped diamonds; a pink dotted triangle; a blue circle and two red triangles; a pink dotted heart.",
)
for category, prompt in zip(SEVEN, PROMPTS):
    print(f"{category:11} {prompt}")

# %% [markdown]
# *Counting* and *rare words* are right. The others miss or exchange things: *misspelled* gives a heart, not a triangle.
#
# And the cascade, stage by stage. (*Whole*: every part of the sentence is shown. *Others*: the last pictures, with others' sentences.)

# %%
print_table("cascade", 3)
for column in ("parts", "valid", "distance"):
    gap, error = apart("cascade", column, "sr128", "base")
    print(f"{column}: sr128 minus base {gap:+.3f} ± {error:.3f}")
    assert abs(gap) < 0.03


# %% [markdown]
# The base shows .78 of the parts, and the whole sentence in 46 % of its pictures. The upsamplers keep that. But the base's distance (.14) is three times real pictures' (.04).
#
# | paper's claim | where | ours |
# |---|---|---|
# | FID 7.27 on COCO, zero-shot (DALL·E 2 10.39, GLIDE 12.24) | table 1 | another measure: section 8 |
# | alignment with the caption: people rate 91.4, real pictures 91.9 | table 2 | the reader finds .78 of the parts, in real pictures all |
# | a larger T5 helps more than a larger U-Net | section 4.4 | not measured here |
# | T5-XXL and CLIP are alike on COCO; on DrawBench people prefer T5-XXL | section 2.1 | our small CLIP is weaker on known and rare words (section 5); no prompts of people |
# | dynamic thresholding allows large scales | section 2.3 | not here: at scale 10 as many parts, fewer valid pictures, ten times the distance (6.3) |
# | noise conditioning makes upsamplers robust; level 0 gives the best FID | sections 2.4, D.2 | level 0 has the smallest misfit here, too (7.3); no stage without noise to compare |
#
# ## 9 · Break it
#
# Five classic mistakes. The first four concern the base model (scale 6):


# %%
def over_batch(x0):
    """The quantile of all pictures together."""
    s = torch.quantile(x0.abs().flatten(), 0.995).clamp(min=1)
    return x0.clamp(-s, s) / s


def not_divided(x0):
    s = torch.quantile(x0.abs().flatten(1), 0.995, dim=1).clamp(min=1).view(-1, 1, 1, 1)
    return x0.clamp(-s, s)


def thresholded_eps(schedule, pred, x, t, s, generator=None, **options):
    """A DDIM step whose eps, not its x0, is clipped."""
    return ddim(schedule, from_eps(schedule, x, t, clip(pred.eps)), x, t, s, generator, **options)


SIX = ["a large red circle", "a small green star on a rose background", "two blue squares",
       "a yellow moon and a purple heart", "a striped brown cross", "a large pink diamond"]  # fmt: skip
options = {"scale": 6.0, "seed": 4, "steps": 12, "eta": 0.0}
text = model.encode(SIX)
unmasked = text._replace(mask=torch.ones_like(text.mask))
ways = {
    "right": paint(SIX, **options),
    "quantile of the batch": paint(SIX, map_x0=over_batch, **options),
    "not divided by s": paint(SIX, map_x0=not_divided, **options),
    "eps clipped": paint(SIX, map_x0=lambda x0: x0, step=thresholded_eps, **options),
    "padding not hidden": final(base.generate(unmasked, **options)),
}

# %%
plots.show(plots.image_grid(torch.cat(list(ways.values())), columns=6, rows=list(ways)),
           "Six scenes in five rows: right; with the quantile of the batch; not divided by s; with eps clipped, which "
           "gives noise; and with the padding not hidden, where the third has a red square among the blue ones.")  # fmt: skip
broken = {}
for name, each in ways.items():
    parts, scene = (
        caption_accuracy(seen(each), SIX).parts,
        valid(seen(each), each).double().mean().item(),
    )
    broken[name] = rmse(each, ways["right"]).mean().item()
    print(
        f"{name:22} differs from right by {broken[name]:.2f}   parts {parts:.2f}   valid {scene:.2f}"
    )
for name, way in (("each picture", dynamic_threshold()), ("the batch", over_batch)):
    alone = paint(SIX[:1], map_x0=way, **options)
    among = paint(SIX, map_x0=way, **options)[:1]
    print(
        f"quantile of {name}: the first picture, drawn alone, differs by {rmse(alone, among).item():.3f}"
    )

# %% [markdown]
# - **The quantile of the batch.** Every picture is changed by its neighbors: drawn alone, the first one differs.
# - **Not divided by $s$.** Then $\hat x_0$ keeps numbers up to $s$, which a picture cannot have. (These six are not worse for it.)
# - **Clipped $\hat\varepsilon$.** It is noise: a third of its numbers rightly lie outside $[-1,1]$. Nothing is left of the picture.
# - **Padding not hidden.** What stands behind the end is looked at, up to the longest sentence of the batch. Here the third picture gets a red square.
#
#
# The fifth concerns `sr64`: its input gets noise of level .5, but it is told 0, or the other way round.


# %%
def upsampled_as(low, sentences, noise, level, seed=0):
    """Larger pictures, from an input with noise of one level, told to be of another."""
    generator, rows = seeded(seed), len(low)
    noisy, _ = sr64.noised(sr64.enlarged(low), torch.full((rows,), noise), generator)
    _, times = sr64.noised(noisy, torch.full((rows,), level))
    cond = sr64.condition(model.encode(sentences), noisy, times)
    return final(from_noise(MapX0(sr64.denoiser, clip), large.shape, 8, seed=generator, cond=cond))


# %%
pairs = {"told the truth": (0.5, 0.5), "told 0": (0.5, 0.0), "clean, told .5": (0.0, 0.5)}
each = {name: upsampled_as(clean, said[:8], *pair) for name, pair in pairs.items()}
plots.show(plots.image_grid(torch.cat([made[:6] for made in (*each.values(), large)]), columns=6, rows=[*pairs, "real"]),
           "Six scenes of 64 pixels in four rows: told the truth; told 0, with rough edges and strokes; clean but told .5; and real.")  # fmt: skip
misfits = {name: rmse(made_of, large).mean().item() for name, made_of in each.items()}
print(", ".join(f"{name}: misfit {value:.3f}" for name, value in misfits.items()))
assert misfits["told 0"] > misfits["told the truth"] + 0.01
assert misfits["clean, told .5"] > 0.05

# %% [markdown]
# Told 0, it takes noise for a part of the picture: edges become rough, and strokes appear (misfit .125 against .097). Told .5 without noise, it trusts the picture less than it could (.065; section 7.3 had .037).
#
# ## 10 · A released T5
#
# (After a restart, run section 3.2 first.) `labkit.hub` loads FLAN-T5: version 1.1's architecture, trained on with instructions. (The files of version 1.1 are pickles, which can run code when opened; labkit does not open them.) Set `REAL = True`; 310 MB are downloaded once.

# %%
REAL = False
if REAL:
    try:
        flan = hub.load("flan-t5-small")
        own, other, nearest = same_and_other(cosines(flan))
        print(
            f"same color {own:+.2f}, another color {other:+.2f}, the right one is nearest for {nearest} of 11"
        )
    except (ConnectionError, ValueError) as error:
        print(f"Not this time: {error}.")
else:
    print("FLAN-T5 is not used; set REAL = True to download it.")

# %% [markdown]
# ## 11 · Exercises
#
# Write into the stub and run the cell. The check draws new random inputs and names the usual mistakes. A hint is folded under each stub, a solution in the next cell (click its three dots).
#
# ### 11.1 Dynamic thresholding &nbsp; ● 10 minutes
#
# `x0` `(B, C, H, W)` are guesses at pictures. For each picture, $s$ is the $p$-quantile of its $|x_0|$ over all pixels and channels, but at least 1. Clip the picture at $\pm s$ and divide it by $s$.


# %%
def dynamic_thresholding(x0, p):
    """Each picture clipped at its own s and divided by it, (B, C, H, W)."""
    ...


checks.dynamic_thresholding(dynamic_thresholding)

# %% [markdown]
# <details><summary>Hint</summary><code>torch.quantile(x0.abs().flatten(1), p, dim=1)</code> has one number for each picture; <code>view(-1, 1, 1, 1)</code> lays it over the picture.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def dynamic_thresholding_solution(x0, p):
    s = torch.quantile(x0.abs().flatten(1), p, dim=1).clamp(min=1).view(-1, 1, 1, 1)
    return (x0 / s).clamp(-1, 1)


checks.dynamic_thresholding(dynamic_thresholding_solution).require()

# %% [markdown]
# ### 11.2 A text with blanks &nbsp; ● 10 minutes
#
# `ids` is a list of tokens. `spans` says which of them go: pairs `(first, last + 1)`, in order. Return two lists. In the text, blank number $k=0,1,\dots$ is replaced by the token `sentinel - k`. The filling holds, for each blank, its sentinel and then what is gone. Both end with `end`; no further sentinel closes the filling.


# %%
def corrupt(ids, spans, sentinel, end):
    """The text with blanks, and what fills them: two lists of tokens."""
    ...


checks.corrupt(corrupt)

# %% [markdown]
# <details><summary>Hint</summary>Go through <code>enumerate(spans)</code> and remember where the span before ended. <code>ids[first:last]</code> is gone. Something may also stand behind the last span.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def corrupt_solution(ids, spans, sentinel, end):
    text, filling, at = [], [], 0
    for k, (first, last) in enumerate(spans):
        text += [*ids[at:first], sentinel - k]
        filling += [sentinel - k, *ids[first:last]]
        at = last
    return [*text, *ids[at:], end], [*filling, end]


checks.corrupt(corrupt_solution).require()

# %% [markdown]
# ### 11.3 What a larger stage sees &nbsp; ●● 15 minutes
#
# `low` `(B, C, s, s)` are small pictures, `levels` `(B,)` in 0 … 1 are the levels of their noise. Enlarge the pictures to `side` pixels, by bilinear interpolation. Then noise each to its own time, $t=\mathrm{round}(\text{level}\cdot T)$ with $T$ = `schedule.T`. Draw the noise once, as `torch.randn(…, generator=generator)`, for the enlarged batch. Return the noised pictures, and the times `(B,)` (long), which the network is told.


# %%
def augmented_low(low, side, levels, schedule, generator):
    """What the stage sees (B, C, side, side), and at which times (B,) that is."""
    ...


checks.augmented_low(augmented_low)

# %% [markdown]
# <details><summary>Hint</summary><code>F.interpolate(low, (side, side), mode="bilinear")</code>. <code>schedule.diffuse(x0, t, eps)</code> is √ᾱ_t x0 + √(1 − ᾱ_t) eps; <code>t</code> may hold one time for each row.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def augmented_low_solution(low, side, levels, schedule, generator):
    seen = F.interpolate(low, (side, side), mode="bilinear")
    times = (levels * schedule.T).round().long()
    eps = torch.randn(seen.shape, generator=generator)
    return schedule.diffuse(seen, times, eps), times


checks.augmented_low(augmented_low_solution).require()

# %% [markdown]
# ### 11.4 One vector for a text &nbsp; ●● 20 minutes
#
# `tokens` `(B, L, D)` are what the encoder says, and `mask` `(B, L)` is True where a token is real. Pool them by attention with one head. The query is the mean of the real tokens, times $W_q^\top$. Keys and values are the tokens times $W_k^\top$ and $W_v^\top$ (all $D\times D$). The scale is $1/\sqrt D$. A row without any real token, the null, gives 0. Gradients must flow, and none may be NaN.


# %%
def pool_text(tokens, mask, W_q, W_k, W_v):
    """One vector for each text, (B, D)."""
    ...


checks.pool_text(pool_text)

# %% [markdown]
# <details><summary>Hint</summary>Divide by <code>mask.sum(1, keepdim=True).clamp(min=1)</code> in the mean. Hide padding with <code>torch.finfo(logits.dtype).min</code>, since a softmax over nothing but −inf is NaN. Multiply by the mask again after the softmax.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def pool_text_solution(tokens, mask, W_q, W_k, W_v):
    real = mask[..., None].to(tokens.dtype)  # (B, L, 1)
    mean = (tokens * real).sum(1) / real.sum(1).clamp(min=1)
    logits = (tokens @ W_k.T) @ (mean @ W_q.T)[..., None] / tokens.shape[2] ** 0.5  # (B, L, 1)
    least = torch.finfo(logits.dtype).min
    shares = logits.masked_fill(real == 0, least).softmax(1) * real
    return (shares * (tokens @ W_v.T)).sum(1)


checks.pool_text(pool_text_solution).require()

# %% [markdown]
# ### 11.5 Buckets of a decoder &nbsp; ●● 20 minutes
#
# A decoder looks at earlier tokens only, so it needs buckets for one side. `distance` is key − query, a long tensor of any shape; a key with distance $r<0$ stands $m=-r$ places earlier. Later keys share bucket 0 with distance 0. With $B$ = `buckets`, $R$ = `reach` and $n=\lfloor B/2\rfloor$: below $n$, the bucket is $m$ itself. From $n$ on it is
#
# $$\min\left(B-1,\;n+\left\lfloor\frac{\ln(m/n)}{\ln(R/n)}\,(B-n)\right\rfloor\right).$$


# %%
def causal_bucket(distance, buckets, reach):
    """The bucket of each distance, a long tensor of the same shape."""
    ...


checks.causal_bucket(causal_bucket)

# %% [markdown]
# <details><summary>Hint</summary><code>torch.where</code> computes both cases everywhere: <code>clamp(min=1)</code> keeps the logarithm finite. <code>long()</code> cuts a fraction off.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def causal_bucket_solution(distance, buckets, reach):
    m, n = (-distance).clamp(min=0), buckets // 2
    growth = (m.clamp(min=1).double() / n).log() / math.log(reach / n)
    shared = n + (growth * (buckets - n)).long()
    return torch.where(m < n, m, shared.clamp(max=buckets - 1))


checks.causal_bucket(causal_bucket_solution).require()

# %% [markdown]
# ## 12 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "A sampler clips every guess at ±1 (static thresholding), at guidance scale 10. What does dynamic thresholding change?",
    {
        "It lowers the guidance scale where the guess is too large": "The scale stays as it is. Only the guess that comes out of it is changed.",
        "Where many numbers lie beyond ±1, it makes the whole picture paler instead of cutting them all off at the same value": "s is then above 1. Differences up to ±s survive the clip, and the division brings them into −1 … 1.",
        "It clips at s, so the guess may leave −1 … 1": "After the clip the guess is divided by s, which brings it back.",
    },
    answer="Where many numbers lie beyond ±1, it makes the whole picture paler instead of cutting them all off at the same value",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Why can a language model that never saw a picture help with a word that no caption of the training pictures used?",
    {
        "The U-Net learned the word": "The U-Net only ever met T5's vectors of the captions' own words.",
        "The corpus used the word like a known one, so T5's vectors of both may lie close, and the U-Net draws what it knows there": "Nothing guarantees it: how close they are, and how often the right thing is drawn, has to be measured.",
        "The tokenizer replaces it by a known word": "It cuts the word into pieces. It knows nothing of meaning.",
    },
    answer="The corpus used the word like a known one, so T5's vectors of both may lie close, and the U-Net draws what it knows there",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You train a super-resolution stage without noise on the smaller pictures. What do you risk in the cascade?",
    {
        "It cannot be sampled": "It can, with level 0. It draws what it is given, larger.",
        "Nothing, since real small pictures have no noise": "In the cascade it gets the base's pictures, which have mistakes that real ones do not have.",
        "It trusts every detail of the smaller picture, and so also enlarges the base's mistakes": "With noise in training, the stage learns to rely less on small details, as far as its level says.",
    },
    answer="It trusts every detail of the smaller picture, and so also enlarges the base's mistakes",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You load T5's weights into an attention that divides its logits by √d. What happens?",
    {
        "An error, since the shapes do not fit": "A factor changes no shape.",
        "Nothing: a softmax ignores a factor of its logits": "It ignores a number that is added to all of them. A smaller factor makes the weights more even.",
        "It runs, but what the words say counts less in each softmax than T5 learned": "T5's first weights are drawn smaller instead, so the learned logits need no division. Divided, they are nearer to each other, and the bias of the distances counts too much.",
    },
    answer="It runs, but what the words say counts less in each softmax than T5 learned",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "In your batch, one picture's guess has numbers up to 8, and all others stay within ±1. You take the quantile over the whole batch. What goes wrong?",
    {
        "The pictures depend on their neighbors: s is the same for all, perhaps too small for one and too large for the others": "Each picture needs its own s. The same sentence and seed would give another picture in another batch.",
        "Nothing, as s is at least 1": "That bound protects pictures from an s that is too small, not from one that is too large.",
        "Only the one with large numbers becomes paler": "With one s, all are divided by it.",
    },
    answer="The pictures depend on their neighbors: s is the same for all, perhaps too small for one and too large for the others",
)

# %% [markdown]
# ## 13 · Recap
#
# - **A frozen language model** can read for a diffusion model. Words that no caption used can work, when the text told T5 what they mean.
# - **T5** learned by filling blanks. Its attention has distances for positions, and no $1/\sqrt d$.
# - **Thresholds.** Strong guidance leaves $[-1,1]$. Static clips; dynamic divides by each picture's own quantile, which did not help here. The next step needs an $\hat\varepsilon$ that agrees.
# - **The cascade.** Each upsampler sees its input under noise, and is told how much. (Here, no noise gave the smallest misfit.)
#
# **What the next lesson fixes.** A cascade draws pixels three times. Lesson 12 draws once, in the small space of an autoencoder.
#
# **References**
# - C. Saharia et al.: *Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding* (Imagen), NeurIPS 2022.
# - C. Raffel et al.: *Exploring the Limits of Transfer Learning with a Unified Text-to-Text Transformer* (T5), JMLR 2020.
# - J. Ho et al.: *Cascaded Diffusion Models for High Fidelity Image Generation*, JMLR 2022.
# - H. W. Chung et al.: *Scaling Instruction-Finetuned Language Models* (FLAN-T5), 2022.
