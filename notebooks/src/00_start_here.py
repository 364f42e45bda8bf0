# %% [markdown]
# # 00 · Start here
#
# **The question.** Give a machine nothing but noise, and it paints a picture that nobody has ever seen. How can that be? And how can *you* build it, on a laptop, and know why it works?
#
# This course answers with things that run. Every picture you will see is made in front of you, every formula is checked by a number, and every function that you are shown is the one that runs.
#
# - **After this notebook you can** use the course: run cells, move widgets, do exercises, read what the checks say, and find your way on the map.
# - **Before it** you need Python and a little torch (tensors, shapes, `@`). No graphics card, no network, no account.
# - **Time** ten minutes to read and try; about fifteen seconds to run.
#
# Run a cell with **Shift + Enter**. The first one may take a few seconds, since it wakes up torch.

# %%
from pathlib import Path

import torch

from labkit import schedule, zoo
from labkit.data import digits, openml, photos
from labkit.lab import checks, course_map, doctor, plots, quiz, show_source
from labkit.lab.forward_plot import film, normal, paint, pixels, scatter
from labkit.lab.widgets import Filmstrip, Redraw
from labkit.mixture import GaussianMixture
from labkit.sampler import sample
from labkit.systems.sdg import SDG

plots.use_style()
torch.manual_seed(0)
linear = schedule.linear()
handwriting, labels = digits.load(16)  # (1797, 1, 16, 16) in [-1, 1], real digits

# %% [markdown]
# ## See it first
#
# Read the row below from left to right: a thousand dots of noise arrange themselves into a spiral. Nobody tells a dot where to go; at each moment it only asks "if I came from a spiral, where was I, on average?", and takes a small step there.

# %%
turn = torch.linspace(2.5, 12.5, 60)
spiral = GaussianMixture(turn[:, None] / 4.6 * torch.stack([turn.cos(), turn.sin()], 1), std=0.07)
noise = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
states = list(sample(spiral.denoiser(linear), noise, linear.timesteps(120)))

shown = [states[k] for k in (0, 89, 102, 109, 114, 119)]
figure, axes = plots.subplots(1, 6, size=(10, 2.1))
for each, state in zip(axes, shown):
    scatter(each, state.x, f"t = {state.t}")
plots.show(figure, "A round cloud of a thousand dots turns into a spiral in six pictures.")

# %% [markdown]
# Now the same with 256 numbers instead of two: each column starts as 16 × 16 pixels of noise and becomes a handwritten digit, in 40 steps. The rule is the same, only that "if I came from a spiral" is now "if I came from one of these 1,797 digits".

# %%
ink = GaussianMixture(handwriting.flatten(1), std=0.1)
noise = torch.randn(8, 1, 16, 16, generator=torch.Generator().manual_seed(4))
states = list(sample(ink.denoiser(linear), noise, linear.timesteps(40)))
shown = [states[k] for k in (0, 19, 25, 29, 39)]
rows = [f"t = {state.t}" for state in shown]
grid = plots.image_grid(torch.cat([state.x for state in shown]), columns=8, rows=rows, scale=4)
plots.show(grid, "Eight columns: noise at the top becomes a handwritten digit at the bottom.")

# %% [markdown]
# Impressed? Be careful. This denoiser is exact because it keeps all 1,797 digits in its pocket, and so it can only ever paint *those*, with a little grain. To paint digits that nobody wrote, a network has to learn the rule from examples and get it a little, fruitfully wrong. Here is one that did: 0.7 million numbers, trained on a laptop's processor, which come with the course. You will build it in lesson 03, and make it fast in lesson 04.

# %%
painter = zoo.load("ddpm-digits")
*_, end = painter.generate(20, steps=30, seed=1)
grid = plots.image_grid(end.x, columns=10, scale=3)
plots.show(grid, "Two rows of ten new handwritten digits, painted by a small network.")

# %% [markdown]
# Nobody wrote these digits, and nobody chose them. A sister of that network takes orders: each column was told its digit (lessons 05 and 06).

# %%
*_, end = zoo.load("adm-digits").generate([*range(10)] * 2, steps=30, scale=1.3, seed=1)
grid = plots.image_grid(end.x, columns=10, scale=3, titles=range(10))
plots.show(grid, "Two rows of new digits, 0 to 9, each as its column asked.")

# %% [markdown]
# The same code learns from photographs, too. This network has looked at those of CIFAR-10 for a good hour and a half of one core; the pictures are as large as its own. None of them was ever taken (lesson 06).

# %%
kinds = openml.SETS["cifar10"].names
*_, end = zoo.load("adm-cifar10").generate([*range(10)] * 2, steps=30, scale=3.0, seed=1)
grid = plots.image_grid(end.x, columns=10, scale=2, titles=kinds)
plots.show(
    grid, "Two rows of ten small blurred photographs: airplanes, automobiles, birds and so on."
)

# %% [markdown]
# And words can steer a network that never learned any. This one paints scenes of colored shapes, as they come; a second network, which knows which sentences and pictures belong together (lesson 07), leans on each of its steps (lesson 08). Mostly it gets the color; whether it gets the shape is another matter, and you will measure that, too.

# %%
wishes = ["a red heart", "a blue star", "a green circle", "a yellow moon", "a purple square"]
artist = SDG(*map(zoo.load, ("ddpm-scenes", "noisy-clip-scenes", "clip-scenes")))
*_, end = artist.generate(wishes * 2, steps=50, eta=1.0, seed=1)
grid = plots.image_grid(end.x, columns=5, scale=3, titles=wishes)
plots.show(grid, "Two rows of five painted scenes, each column steered by the sentence over it.")

# %% [markdown]
# What comes before such a network, the way from picture to noise, needs no learning at all.
#
# ## Is everything all right here?
#
# The doctor looks at your set-up, one line for each finding; where something is wrong, the line says what mends it. (`make doctor` does the same in a terminal.)

# %%
doctor.report()

# %% [markdown]
# ## How a lesson works
#
# ### Keys
#
# | key | what it does |
# |---|---|
# | Shift + Enter | run this cell and go to the next |
# | Ctrl + Enter | run this cell and stay |
# | Enter / Esc | start typing in a cell / stop |
# | A, B (after Esc) | a new cell above, below |
# | Ctrl + Z (while typing) | undo |
# | Tab, Shift + Tab | complete a name, show what a function wants |
# | 0, 0 (after Esc) | restart the kernel: all variables are gone, your text stays |
#
# You cannot break anything. Change numbers, run cells twice, delete what annoys you.
# **Try it:** in the next cell, change `t` to 50, then to 700, and run it each time.

# %%
t = 250
flower = photos.photo("flower", 128)  # (1, 3, 128, 128) in [-1, 1], a real photograph
figure, (left, right) = plots.subplots(1, 2, size=(5, 2.6))
paint(left, flower[0], "x₀, the photograph")
paint(right, linear.diffuse(flower, t, normal(flower))[0], f"x_t at t = {t}")
plots.show(figure, f"A photograph of a flower, and the same with noise at t = {t}.")

# %% [markdown]
# ### Code that you are shown is the code that runs
#
# `linear.diffuse` did that. What is inside? A lesson never shows a copy, but the very lines, with the file where they stand. You find that file in the browser at the left, and you can change it, too.

# %%
show_source(type(linear).diffuse)

# %% [markdown]
# ### Widgets
#
# There are two kinds. A **film** was made beforehand and flips in your browser as fast as you drag. Drag it, or press ▶; the menu changes the picture.

# %%
times, pictures = range(0, 1001, 50), {"flower": flower, "temple": photos.photo("china", 128)}


def noised_film(picture):
    def draw(figure, t):
        paint(figure.subplots(), linear.diffuse(picture, t, normal(picture))[0])

    return film(draw, (2.8, 2.8), t=times)


Filmstrip(
    {name: noised_film(picture) for name, picture in pictures.items()},
    [f"t = {t}" for t in times],
    start=5,
    choose="picture",
    alt="A photograph with more and more noise",
)

# %% [markdown]
# The other kind **computes** for every position of its sliders, so you can ask it what nobody has prepared. Here: any digit, at any time. Choose one that you can read easily, and find the time at which you no longer can.


# %%
def digit(figure, number=5, t=300):
    left, right = figure.subplots(1, 2)
    clean, noisy = paint(left, handwriting[number]), paint(right, handwriting[number])

    def update(number, t):
        x0 = handwriting[number][None]
        clean.set_data(pixels(x0[0]))
        noisy.set_data(pixels(linear.diffuse(x0, t, normal(x0, seed=number))[0]))
        words = left.set_title(f"a {labels[number]}"), right.set_title(f"at t = {t}")
        return [clean, noisy, *words]

    update(number, t)
    return update


# %%
Redraw(digit, number=(0, 1796), t=(0, 1000, 10), size=(5, 2.5), alt="A digit, clean and noised")

# %% [markdown]
# ### Exercises and checks
#
# Exercises carry dots (● five minutes, ●●● up to an hour). You write where it says `...`, run the cell, and then the check below it. Untouched, it says what is to do. Here is one to try the machinery on:
#
# **Exercise ● 2 minutes.** In a noised picture, `signal` is the factor of the photograph and `noise` the factor of the noise, and their *squares* sum to 1. Given the signal, return the noise. (`x ** 0.5` is a square root.)


# %%
def noise_share(signal):
    """signal: a number from 0 to 1. Returns a number."""
    ...


# %%
checks.noise_share(noise_share)

# %% [markdown]
# A check does not just say "wrong". It draws fresh numbers each time, compares with the truth, and knows the usual mistakes by name. This is what it says to two of them; make them yourself, if you like:

# %%
checks.noise_share(lambda signal: 1 - signal)

# %%
checks.noise_share(lambda signal: 1 - signal**2)

# %% [markdown]
# <details><summary>Hint (click to unfold)</summary>Solve signal² + noise² = 1 for the noise.</details>
#
# The solution is folded in the next cell: click on the bar at its left, or on the dots. It is put to the same check as yours, each time this notebook is built.


# %% jupyter={"source_hidden": true} tags=["solution"]
def noise_share_solution(signal):
    return (1 - signal**2) ** 0.5


checks.noise_share(noise_share_solution).require()

# %% [markdown]
# ### Quizzes
#
# Each answer is marked when you click it, and each wrong one says why. Try a wrong one first.

# %% jupyter={"source_hidden": true}
quiz.ask(
    "What is the best way through a lesson?",
    {
        "Read it from top to bottom, then run it": "You will have seen much and done nothing. Run each cell as you come to it.",
        "Before you run a cell, guess what will come out": "A wrong guess is the moment in which something is learned.",
        "Do only the exercises": "Possible, but the hints to them stand in the text, and the pictures are worth it.",
    },
    answer="Before you run a cell, guess what will come out",
)

# %% [markdown]
# ## The map
#
# Four lessons lay the ground: chains that forget, the way to noise, the way back, and a shortcut. Then come four on steering, four on painting from words, and one that looks in the other direction. Each stands on those before it. Filled boxes are in this folder; the others are still to be written.

# %%
here = {path.name[:2] for path in Path().glob("[0-9][0-9]_*.ipynb")}
figure, _ = plots.subplots(size=(10, 4.2))
figure.clear()
course_map.draw_map(figure, here)
plots.show(
    figure,
    "The map of the course. The ground: Markov chains, forward diffusion, DDPM, DDIM. Steering: "
    "classifier guidance, classifier-free guidance, CLIP, semantic guidance. Text to image: GLIDE, "
    "DALL·E 2, Imagen, latent diffusion. And back: cross attention.",
)

# %% [markdown]
# ## A GPU of your own
#
# The lessons run on the processor (CPU) on every machine, since their times and texts are measured there. In your own code you can use a GPU, of NVIDIA (`cuda`) or of Apple (`mps`). A model computes where it lies, and its pictures come out there:
#
# ```python
# device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
# model = zoo.load("ddpm-digits").to(device)
# *_, final = model.generate(20, steps=30, seed=1)
# ```
#
# `final.x.cpu()` brings them back. In a terminal, `labkit train` and `labkit sample` take `--device cuda`.

# %% [markdown]
# ## If something goes wrong
#
# - **A name is not defined:** cells were skipped. Run the first code cell of the lesson, then the cells of the section where you are. Every section works that way.
# - **It behaves oddly after many changes:** *Kernel → Restart Kernel and Run All Cells*.
# - **A widget shows a picture, but no slider:** the kernel is not running, or the cell was not run. Run it.
# - **You want the original back:** the lessons are plain files; `git checkout notebooks/` restores them, and so does a fresh copy from `labkit lab --to FOLDER`.
# - **Anything else:** run the doctor above.
#
# ## Words that all lessons share
#
# Time `t` runs from 0, the clean picture, to `T` = 1000, noise. `x0` is the clean picture, `x` the one at time `t`, `eps` the noise in it. Pictures are tensors (batch, channels, height, width) with values from −1, black, to 1, white. A comment such as `# (B, 3, 64, 64)` at the end of a line is the shape of what stands there.
#
# **Next:** [01 · Markov chains](01_markov_chains.ipynb). A cat eats, plays and sleeps, and you will be able to say what it does at midnight, although you do not know what it does now.
