# %% [markdown]
# # 14 · Looking back: the whole arc
#
# **The question.** Lessons 03 to 13 are about eleven systems, most of them a change to one before. Which change did what, and at which cost? And can you now build a pipeline of your own from the parts?
#
# **Afterwards you can**
# - draw the family of these systems, and say in one sentence what each changed;
# - compare what they are conditioned on, what is trained, and what that costs;
# - say which of the numbers in the course may be compared, and which may not;
# - put a pipeline together from shipped parts, and measure it against a floor and a ceiling;
# - look up a term, and find the lesson where you meet it.
#
# **Before:** as many of the lessons as you have worked through. Nothing here needs all of them.
#
# **Time:** about 20 minutes to read, plus as long as you like for the capstone; about 20 seconds to run on two cores.
#
# **On the map:** 13 multi-modality cross attention → **14 looking back**, the end of the course.

# %%
import torch

from labkit import zoo
from labkit.lab import arc, arc_plot, capstone, checks, glossary, plots, quiz, show_source
from labkit.scenes.scores import shown_parts
from labkit.scenes.synonyms import plainly

torch.manual_seed(0)
plots.use_style()

# %% [markdown]
# ## 1 · See it first
#
# The same four sentences, and every small text-to-image system of the course that has weights. The pictures are the first of seed 0, not selected. After each sentence you see how many of its parts are found by the *reader*, lesson 08's network that measures and never guides.

# %%
FOUR = ["a large red circle", "a small yellow star on a mint background",
        "a blue square left of a green heart", "three purple moons"]  # fmt: skip
small_systems = (
    "08 semantic guidance", "09 GLIDE, 32 pixels", "10 DALL·E 2", "12 latent diffusion",
)  # fmt: skip
shown = [name for name in small_systems if capstone.trained(capstone.PIPELINES[name][0])]
reader, rows = zoo.load("reader-scenes"), []
for name in shown:
    rows.append(capstone.small(capstone.course(name)(FOUR, 0), len(FOUR)))
    for sentence, parts in zip(FOUR, shown_parts(reader.read(rows[-1]), FOUR)):
        print(f"{name:22} {sentence:42} {sum(p.shown for p in parts)} of {len(parts)} parts")
plots.show(plots.image_grid(torch.cat(rows), columns=4, rows=[name[:2] for name in shown], scale=3),
           "Generated scenes: a row for each system, a column for each of the four sentences.")  # fmt: skip

# %% [markdown]
# A row has its lesson's number. In row 08, a model without a text input is guided by a second network. The colors that were asked for are there, most shapes are not, and there are objects that nobody asked for. In row 09, the model itself reads the sentence. Its third picture has a blue heart in place of the square, and a green square besides. In row 10, a prior first makes a CLIP vector from the sentence. The third picture has nothing blue, and the fourth has two moons instead of three. In row 12, the diffusion works on latents. The third picture has both objects and their colors. For the reader one part is missing: the square is *left* of the heart, but more below it. The fourth has two moons and a brown thing. (If an object of a group is missing, none of the group's parts count.) Four sentences prove nothing; section 5 asks sixty.
#
# ## 2 · The family
#
# One drawing of the course. An arrow leads from a lesson to one that changes it, and the second line of a box says what changed.

# %%
figure, axes = plots.subplots(size=(8.1, 7.0))
arc_plot.draw_family(axes)
plots.show(figure, "A tree. Markov chains, forward diffusion and DDPM follow each other. From DDPM come DDIM "
           "and classifier guidance; from that semantic guidance and classifier-free guidance, then GLIDE; from "
           "GLIDE latent diffusion, Imagen and DALL·E 2. CLIP begins a branch: it leads to semantic guidance, DALL·E 2 and cross "
           "attention.")  # fmt: skip

# %% [markdown]
# Two lines meet. The left one asks how noise becomes a picture. The right one asks how a picture and a sentence can be compared. They meet in semantic guidance and in DALL·E 2. Some arrows are left out: DDIM's step is the default of all later samplers, and CLIP can also guide GLIDE (lesson 09). The arrows are the order of the course, not history: GLIDE and latent diffusion appeared in the same month.
#
# Some things never changed. Every diffusion model here keeps the kind of forward chain of lesson 02: it adds Gaussian noise, and at its end hardly anything of its start is left. Every one learns to predict the clean data, the noise, or a mixture of both, from $x_t$, $t$, and the condition if it has one. With $x_t$ and $\bar\alpha_t$, each of these predictions gives the others. And every kind of guidance adds a term to the score.
#
# ## 3 · What it is conditioned on, what is trained, what it costs
#
# The minutes come from the recipes in `labkit.recipes`. They count every training that a system rests on: its parts, the weights it begins from, and the networks that teach it. The parameters are those of all its networks. The minutes of semantic guidance include those of GLIDE's base model, because our model without text input begins with its weights (lesson 08). The paper's model does not. Where weights are not there yet, the minutes are an estimate.

# %%
arc.costs()

# %%
table = {row.step.lesson: row for row in arc.rows()}
ready = [name for row in table.values() if row.ready for name in row.step.systems]
spent = sum(zoo.recipe(name).minutes for name in arc.rests_on(ready))
print(f"all trainings behind the systems with weights: {spent / 60:.1f} hours of one core")
print(
    f"DDPM {table[3].parameters / 1e6:.1f} million parameters, GLIDE {table[9].parameters / 1e6:.1f}"
)
assert table[9].minutes > 5 * table[3].minutes and table[4].minutes == table[3].minutes

# %% [markdown]
# Read the table from top to bottom:
#
# - **The condition moves inward.** First there is none. Then a second network tells a class or a sentence to the sampler (05, 08). Then the model itself is given the class (06) and the sentence (09, 12). In lessons 10 and 11 another network, trained separately, reads the sentence, and the model is given its vectors.
# - **DDIM and classifier guidance need hardly any training.** DDIM trains nothing. Lesson 05 adds a small classifier to a finished model.
# - **Scenes with sentences cost more than digits.** GLIDE took more than five times as long as DDPM, and has more parameters. We think the pictures explain a part of it: the small ones have four times the pixels, and three color channels. An upsampler is counted, too.
#
# The systems of the papers are far larger. GLIDE's base model alone has 2.3 billion parameters, without its text transformer of 1.2 billion (Nichol et al. 2021, section 4.1). What its authors released is smaller: 385 million with the text transformer.
#
# ## 4 · What it reached, here and in its paper
#
# Nothing in the middle column is typed. Each number comes from a file that a benchmark of the course wrote. R@1 is given from picture to sentence, and back.

# %%
arc.results()

# %% [markdown]
# **You may not compare the two columns.** Most numbers of the papers are FIDs of photographs, with the features of an Inception network. We measure digits and drawn scenes with networks of our own. An FID and a share of what sentences say are not even the same kind of number. Within the column of the papers, too, only numbers of the same measure on one data set compare: FID on COCO for GLIDE, DALL·E 2, Imagen and latent diffusion.
#
# What may be compared is a *direction*: does the change that helped in the paper help here? We check two (the first and the third line), and compare two of our own systems.

# %%
few, noisy = (torch.tensor(arc.distances(name, "10")) for name in ("η = 0", "η = 1"))
saved = (noisy - few).mean() / ((noisy - few).std() / len(few) ** 0.5)
print(f"DDIM, 10 steps: distance {few.mean():.4f} without new noise, {noisy.mean():.4f} with it, "
      f"{saved:.1f} standard errors more")  # fmt: skip
stored = capstone.stored(capstone.NUMBER)
gained, error = capstone.ahead(stored["09 GLIDE, 32 pixels"], stored["08 semantic guidance"])
print(f"GLIDE shows {gained:+.3f} ± {error:.3f} more of the sentences than semantic guidance")
without, guided = arc.right_class("noisy-classifier-digits")
print(f"classifier guidance: {without:.0%} of the digits right without, {guided:.0%} with it")
assert saved > 2 and gained > 2 * error and guided > without + 0.5

# %% [markdown]
# The first and the last go the way of the papers. The first depends on the number of steps: in 50 steps, new noise is a little better here (about two standard errors, and both are below the floor), and worse in the paper. Lesson 04 has the whole table. The last has another measure: the paper's is FID, and ours is the share of right classes, which guidance increases directly.
#
# The second compares two of our systems on the same sentences. The papers did not make this comparison. Our two differ in more than the place where the sentence enters: semantic guidance needs two more networks. And lesson 08 has stronger guides than the noise-aware encoder that is used here. On twelve other sentences, clean CLIP applied to $\hat x_0$ shows 0.66 to 0.71 of the parts, and the noise-aware encoder 0.56 to 0.66 (`benchmarks/results.md`). So this does not show what the cause is.
#
# A distance here may be below the floor: the network was trained on all digits, the reference included.
#
# ## 5 · Capstone: your own pipeline
#
# Now build a pipeline from sentences to pictures. You choose the parts:
#
# | part | choices that ship with the course | lesson |
# |---|---|---|
# | text encoder | CLIP's, GLIDE's own, T5 | 07, 09, 11 |
# | prior | none, diffusion, autoregressive | 10 |
# | base model | `ddpm-scenes`, `glide-scenes`, the unCLIP decoder, Imagen's base, latent diffusion | 08 to 12 |
# | upsampler | none, GLIDE's, Imagen's | 09, 11 |
# | guidance | classifier-free, CLIP's, both; the scale; when | 06, 08, 09 |
# | sampler | DDPM, DDIM; `eta`; the number of steps; second order | 03, 04 |
# | choice | draw several, and keep the best by CLIP | 08, 10 |
#
# `labkit list` says which of them have weights. A pipeline is a function: ten captions and a seed go in, ten pictures come out. This is the plainest one, GLIDE's base model:

# %%
glide = zoo.load("glide-scenes").requires_grad_(False)


def plain(captions, seed):
    *_, final = glide.generate(captions, steps=25, scale=3.0, eta=1.0, seed=seed)
    return final.pictures


# %% [markdown]
# **The benchmark.** It asks sentences in tens. Every second ten is about combinations that no training showed. A reader that guides none of our systems says which parts of a sentence the picture shows (`labkit.scenes.scores`). The **ceiling** is the score of real pictures of the sentences. The **floor** is the score of real pictures with another sentence: perfect pictures that ignore what was asked.

# %%
show_source(capstone.benchmark, capstone.floor, docstring=False)

# %%
ten = capstone.benchmark(plain, number=10)
before = capstone.stored(10)["09 GLIDE, 32 pixels"]
real, other = capstone.ceiling(10), capstone.floor(10)
print(f"ten sentences: {ten.parts:.3f} of the parts shown; stored {before.parts:.3f}")
print(f"ceiling {real.parts:.3f}, floor {other.parts:.3f}")
assert abs(ten.parts - before.parts) < 0.15 and real.parts > 0.95 and other.parts < ten.parts

# %% [markdown]
# The same on sixty sentences for the course's own pipelines, from a stored file (`python -m benchmarks.capstone`). The ± is a standard error over the sentences. "Whole" is the share of sentences with all parts shown, "scenes" of pictures that the reader takes for a scene.

# %%
board = capstone.leaderboard(number=capstone.NUMBER)
top, *systems, bottom = (marks.parts for marks in board.values())
assert bottom + 0.1 < min(systems) and max(systems) < top
larger = board["09 GLIDE, 64 pixels"].parts - board["09 GLIDE, 32 pixels"].parts
assert abs(larger) < 0.01
lead, error = capstone.ahead(board["10 DALL·E 2"], board["09 GLIDE, 32 pixels"])
print(f"\nDALL·E 2 shows {lead:+.3f} ± {error:.3f} more of the sentences than GLIDE, 32 pixels")
latents, wide = capstone.ahead(board["12 latent diffusion"], board["09 GLIDE, 64 pixels"])
print(f"latent diffusion {latents:+.3f} ± {wide:.3f} more than GLIDE, 64 pixels")
imagen, spread = capstone.ahead(board["11 Imagen"], board["09 GLIDE, 64 pixels"])
print(f"Imagen {imagen:+.3f} ± {spread:.3f} more than GLIDE, 64 pixels")
assert abs(lead) < 2 * error and abs(latents) < 2 * wide and abs(imagen) < 2 * spread

sentences = [text for ten in range(capstone.NUMBER // 10) for text in capstone.asked(ten).captions]
rare = torch.tensor([plainly(text) != text for text in sentences])
print(f"{rare.sum()} sentences have rare words. Parts shown without and with one:")
for name in ("09 GLIDE, 64 pixels", "11 Imagen"):
    marks = board[name]
    shares = [(marks.shown[rows].sum() / marks.said[rows].sum()).item() for rows in (~rare, rare)]
    print(f"{name:22}{shares[0]:.2f} {shares[1]:8.2f}")
assert shares[0] > shares[1] + 0.05

# %% [markdown]
# All pipelines are above the floor, and below the ceiling. DALL·E 2 is first, but its lead over GLIDE is less than two standard errors. Its decoder also trained longer: it begins with GLIDE's weights. Latent diffusion shows as many parts as GLIDE with its upsampler, within the error, for pictures of the same 64 pixels and in less than half of the time. Imagen is level with GLIDE, too. But its captions in training never used the rare words of lesson 11, which most of these sentences have: it shows fewer parts of those. GLIDE's captions used all words. "Scenes" shows why the parts alone are not enough: a picture can show what was asked, and still have blurred things beside it. GLIDE's upsampler changes nothing in the first columns here: the reader looks at 32 pixels, and the large picture, averaged, is almost the small one again. So this benchmark cannot show what an upsampler adds.
#
# ### 5.1 A part that is missing: keep the best &nbsp; ● 10 minutes
#
# DALL·E 2 draws two embeddings and keeps the one that fits the sentence better. The same works for pictures, with any score of picture and sentence. `pictures` `(k, B, C, S, S)` are $k$ drawings for each of $B$ captions, `match` `(k, B)` says how well each fits its caption. Return the best drawing of each caption, `(B, C, S, S)`.


# %%
def keep_best(pictures, match):
    """Of each caption's k drawings the one with the largest match, (B, C, S, S)."""
    ...


checks.keep_best(keep_best)

# %% [markdown]
# <details><summary>Hint</summary><code>match.argmax(0)</code> is the number of the best drawing for each caption, (B,). Index with two lists at once: the numbers of the drawings, and the numbers of the captions, <code>torch.arange(B)</code>.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def keep_best_solution(pictures, match):
    return pictures[match.argmax(0), torch.arange(match.shape[1])]


checks.keep_best(keep_best_solution).require()

# %% [markdown]
# ### 5.2 Your pipeline &nbsp; ●●● as long as you like
#
# Write yours, and compare it on the same sentences. Twenty are quick. Do not read a difference under two standard errors as an effect; ask sixty then. Some ideas: a scale that changes with `t`; CLIP guidance and classifier-free guidance together; several drawings, of which CLIP chooses one; another `eta`.


# %%
def pipeline(captions, seed):
    """Ten captions and a seed; returns pictures (10, 3, S, S) in [−1, 1], S = 32, 64 or 128."""
    ...


capstone.mark(pipeline, number=20)

# %% [markdown]
# <details><summary>Hint</summary>Ask for every caption twice in one call: <code>glide.generate([*captions, *captions], …)</code>. The match of each picture with its sentence is <code>(clip.encode_image(pictures) * clip.encode_text(captions)).sum(1)</code>. CLIP is not the benchmark's reader, so it may choose.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
clip = zoo.load("clip-scenes").requires_grad_(False)


def pipeline_solution(captions, seed):
    twice = [*captions, *captions]
    *_, final = glide.generate(twice, steps=25, scale=3.0, eta=1.0, seed=seed)
    match = (clip.encode_image(final.pictures) * clip.encode_text(twice)).sum(1)
    return keep_best_solution(final.pictures.unflatten(0, (2, -1)), match.view(2, -1))


yours = capstone.mark(pipeline_solution, number=10)
assert yours is not None and yours.parts > capstone.floor(10).parts

# %% [markdown]
# Ten sentences only show that it runs: look at the standard error of the difference. Sixty cost twice GLIDE's time: `capstone.mark(pipeline_solution, number=60)`. When we asked them, the better of two showed no more than GLIDE: the difference was 0.004 ± 0.032.
#
# ## 6 · Glossary
#
# Each term with the lesson where you meet it first. Unfold a lesson:

# %%
glossary.show()

# %% [markdown]
# Or search: change the word, and run the cell. It looks through the terms and their meanings.

# %%
glossary.show("guidance")

# %% [markdown]
# ## 7 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You have a trained DDPM and need pictures in 20 steps instead of 1,000. What must be trained again?",
    {
        "The network, with 20 times": "DDIM's step works for any pair of times of the same network.",
        "Nothing": "DDIM has the same marginals as DDPM, so the same network serves.",
        "Only the noise schedule": "The schedule stays; the sampler uses some of its times.",
    },
    answer="Nothing",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "What do classifier guidance, classifier-free guidance and semantic guidance have in common?",
    {
        "A second network that sees noisy pictures": "Classifier-free guidance has one network alone.",
        "They add a term to the score that a model predicts": "A classifier's gradient, a multiple of the difference of two predictions, or the gradient of any guidance function.",
        "They need labels for training": "Semantic guidance needs none: its encoder of noisy pictures learns from CLIP's embeddings.",
    },
    answer="They add a term to the score that a model predicts",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "GLIDE's paper reports FID 12.24, DDPM's 3.17. Is DDPM the better model?",
    {
        "Yes, its distance is smaller": "The one is measured on COCO, the other on CIFAR-10.",
        "No, GLIDE is newer": "Age proves nothing about either.",
        "The two numbers cannot be compared": "They have other data sets, sizes and tasks. FID compares only on one data set, with the same features and the same N.",
    },
    answer="The two numbers cannot be compared",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Where does the sentence enter DALL·E 2, Imagen and latent diffusion?",
    {
        "In all three by a CLIP vector": "Only DALL·E 2 makes one. Imagen reads a language model's vectors; latent diffusion trains a text transformer.",
        "By a prior's CLIP vector, a frozen language model, and cross-attention to a trained text transformer": "These are the changes of lessons 10, 11 and 12.",
        "Nowhere: they are guided from outside": "That was semantic guidance, lesson 08.",
    },
    answer="By a prior's CLIP vector, a frozen language model, and cross-attention to a trained text transformer",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Your pipeline shows 0.03 ± 0.04 more of the parts than GLIDE, on the same twenty sentences. What do you write?",
    {
        "It is better by 3 points": "The difference is smaller than its standard error.",
        "It is as good as GLIDE": "The interval also holds differences of many points, in both directions.",
        "Nothing yet: I ask more sentences": "Twice the standard error is 8 points. With nine times as many sentences it is about a third of that.",
    },
    answer="Nothing yet: I ask more sentences",
)

# %% [markdown]
# ## 8 · Recap, and on from here
#
# - **One chain, one task.** Noise is added by a fixed rule. A network learns to predict the clean data, or the noise.
# - **A sampler is a choice**, made after training. So is the scale of guidance.
# - **A condition** enters from outside (a gradient), as a vector, as tokens with attention, or beside the picture.
# - **Smaller spaces and cascades** are there to save work: latents, CLIP vectors, small pictures first. Section 3 does not show that at our size.
# - **A number needs** a floor, a ceiling, N, seeds, and a measure that guided nothing.
#
# **An open challenge.** How good do scenes get if GLIDE's base model may look at each picture only once, twice or four times? You write one function, the sampler. `labkit challenge FILE.py` scores it, and shows it beside DDIM, DDPM and second order. The rules are in `docs/challenge.md`.
#
# The modules of this course also load released weights: `labkit.hub` has the tables for CLIP, T5 and Stable Diffusion. Their papers are listed at the end of each lesson. If you teach, `docs/for_teachers.md` says how to take parts of this course into your own.
#
# **References.** Each lesson lists its own. The papers behind section 4: Ho et al. 2020 · Song et al. 2021 · Dhariwal and Nichol 2021 · Ho and Salimans 2022 · Radford et al. 2021 · Liu et al. 2023 · Nichol et al. 2021 · Ramesh et al. 2022 · Saharia et al. 2022 · Rombach et al. 2022 · Wei et al. 2020.
