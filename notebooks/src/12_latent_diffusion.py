# %% [markdown]
# # 12 · Latent diffusion: draw small, decode large
#
# **The question.** A diffusion model works on every pixel in every step, and most pixels are nearly the same as their neighbors. Can another network take over such details, so that diffusion works on something smaller?
#
# **Afterwards you can**
# - say what an autoencoder keeps of a picture, and what is left for the diffusion model;
# - derive its losses, and scale latents;
# - train both stages, and read a sweep over the size of latents;
# - show where each word is looked at, and change a picture by its words.
#
# **Before:** lesson 03 (KL divergence, training); lesson 06 (guidance); lesson 09 (GLIDE, attention to text, inpainting).
#
# **Time:** about 50 minutes to read and play, plus 80 for all exercises; about 95 seconds to run on two cores, half of them the training of section 6.
#
# **On the map:** 11 Imagen → **12 Latent diffusion** → 13 Cross attention (matching pictures and sentences).

# %%
import math
import time
from dataclasses import replace

import torch
import torch.nn.functional as F

from labkit import hub, scenes, schedule, zoo
from labkit.denoiser import clip, keep_known
from labkit.lab import (
    checks,
    glide_plot,
    grounding,
    latent_plot,
    latent_table,
    plots,
    prompt_to_prompt,
    quiz,
    show_source,
)
from labkit.lab.attention_maps import looked_at, over_text, over_words, positions_of, sampled
from labkit.lab.prompt_to_prompt import edited, reweight, swap
from labkit.lab.standard_error import mean_and_error
from labkit.lab.widgets import watch
from labkit.lab.widgets.attention_explorer import AttentionExplorer
from labkit.lab.widgets.autoencoder_explorer import AutoencoderExplorer
from labkit.nets.autoencoder import AutoencoderConfig, Codebook, Posterior, straight_through
from labkit.nets.discriminator import PatchDiscriminator
from labkit.nets.spatial import SpatialTransformer
from labkit.nets.transformer import TextConfig
from labkit.nets.unet import UNet, UNetConfig
from labkit.scenes import holes, small, tokenizer
from labkit.scenes.descriptions import descriptions
from labkit.scenes.scores import agreement, caption_accuracy, shown_parts, valid
from labkit.systems.autoencoder import FirstStage, FirstStageConfig, codebook_loss, hinge_loss
from labkit.systems.ldm import LDM, LDMConfig
from labkit.systems.perceptual import PerceptualLoss
from labkit.train import shuffled, train

torch.manual_seed(0)
plots.use_style()

# %% [markdown]
# The lesson uses four **autoencoders** of scenes, the latent diffusion model `ldm-scenes`, and lesson 09's GLIDE to compare. The **reader** and CLIP only measure. After a restart, run these cells, then any section.

# %%
KINDS = ("f2", "f4", "f8", "f4-vq")
stages = {kind: zoo.load(f"autoencoder-scenes-{kind}").requires_grad_(False) for kind in KINDS}
model, cascade, reader, read_clip = (
    zoo.load(name).requires_grad_(False)
    for name in ("ldm-scenes", "glide-scenes-64", "reader-scenes", "clip-scenes")
)
autoencoder = stages["f4"].autoencoder
STEPS, SCALE = 25, 3.0  # of sampling, out of 1000; and of guidance
truth = scenes.draw(64, 12)  # 64 scenes that were not used in training
pictures = scenes.render(truth, 64)  # (64, 3, 64, 64)
again = {kind: stage.reconstruct(pictures) for kind, stage in stages.items()}
posterior = autoencoder.posterior(pictures)
spread = (0.5 * posterior.log_var).exp().mean().item()  # of a draw around its mean
perceptual = PerceptualLoss(read_clip, 0.2)  # in the features of lesson 07's CLIP


# %%
def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def final(states):
    """The pictures after the last step."""
    *_, state = states
    return state.pictures


def paint(sentences, scale=SCALE, seed=0, by=model, **options):
    """A picture for each sentence; noise in every step (eta = 1)."""
    options = {"steps": STEPS, "eta": 1.0} | options
    return final(by.generate(sentences, scale=scale, seed=seed, **options))


def seen(pictures):
    """What the reader sees in pictures, halved to the 32 pixels that it knows."""
    return reader.read(F.avg_pool2d(pictures, 2))


def rmse(a, b):
    return (a - b).square().mean().sqrt().item()


# %% [markdown]
# ## 1 · See it first
#
# Eight sentences, one picture each, 64 × 64 pixels, not selected (seed 0). The first two rows are by latent diffusion, the others by GLIDE's base model and upsampler.

# %%
EIGHT = ["a large red circle", "a small yellow star on a mint background", "a striped blue heart",
         "two green squares", "a pink moon above a brown cross",
         "an outlined orange triangle in the top left", "a small red heart inside a large blue square",
         "a large purple star"]  # fmt: skip
both, cost = {}, {}
for name, by, options in (
    ("latent diffusion", model, {}),
    (
        "GLIDE",
        cascade,
        {
            "steps": {"base": STEPS, "upsampler": 6},
            "scale": {"base": SCALE},
            "eta": {"base": 1.0, "upsampler": 0.0},
        },
    ),  # fmt: skip
):
    began = time.process_time()  # of the processor, so that other programs do not count
    both[name] = paint(EIGHT, by=by, **{"scale": SCALE} | options)
    cost[name] = time.process_time() - began
plots.show(plots.image_grid(torch.cat(list(both.values())), columns=4, titles=[*range(1, 9)] * 2),
           "Sixteen generated scenes: eight sentences, first by latent diffusion, then by GLIDE.")  # fmt: skip
for name, made in both.items():
    shown = caption_accuracy(seen(made), EIGHT).parts
    print(f"{name:17} {cost[name]:.1f} processor seconds, {shown:.0%} of the parts shown")
print(*(f"{number}  {sentence}" for number, sentence in enumerate(EIGHT, 1)), sep="\n")
assert 0.3 < cost["latent diffusion"] / cost["GLIDE"] < 3

# %% [markdown]
# With these numbers of steps, both cost about the same (section 2.3 says why). Section 7 counts over many sentences.
#
# What is wrong in the upper rows: one square (4) has a smear; 5 has three moons and no cross; the triangle (6) is not in the top left; the thing inside (7) is no heart. GLIDE makes similar ones: its 1 has a circle too many, and in its 7 the colors are exchanged.
#
# ## 2 · What an autoencoder keeps
#
# Latent diffusion (Rombach et al. 2022) has two stages. The first is an **autoencoder**: its encoder turns a picture $x$ into a **latent** $z$, a smaller picture of numbers, and its decoder turns $z$ back. The second is a diffusion model of latents.

# %%
plots.show(latent_plot.two_stages(),
           "A diagram: an encoder turns a picture of 64 x 64 x 3 numbers into a latent of 16 x 16 x 4. "
           "A U-Net, which a sentence's tokens reach by cross-attention, turns noise into such a "
           "latent, and a decoder turns that into a picture.")  # fmt: skip

# %% [markdown]
# ### 2.1 Rate and distortion
#
# The factor $f$ says how many times smaller the latent's side is. Ours have $f$ channels, so each keeps half as many numbers as the one before. One more, *VQ*, rounds the four numbers at each of the $16\times16$ **places** of an $f=4$ latent to one of 1,024 vectors (section 3.4). Five scenes, and what comes back:

# %%
rows = {"picture": pictures, "f = 2": again["f2"], "f = 4": again["f4"], "f = 8": again["f8"],
        "f = 4, VQ": again["f4-vq"]}  # fmt: skip
plots.show(plots.image_grid(torch.cat([each[:5] for each in rows.values()]), columns=5, rows=list(rows)),
           "Five scenes, and the same after encoding and decoding, by four autoencoders.")  # fmt: skip

# %%
fitted = scenes.render(scenes.draw(300, 13), 64)  # other scenes
print(f"{'':7}{'numbers':>9}{'misfit':>9}{'linear':>9}{'all read correctly':>20}")
for kind, each in again.items():
    net = stages[kind].config.net
    linear = latent_plot.squares_pca(fitted, net.f, net.latent)(pictures)
    whole = agreement(seen(each), truth)["everything"]
    count = net.latent * (64 // net.f) ** 2
    misfits = rmse(each, pictures), rmse(linear, pictures)
    print(f"{kind:7}{count:9,}{misfits[0]:9.3f}{misfits[1]:9.3f}{whole:20.0%}")
    assert misfits[0] < 0.4 * misfits[1]
whole = agreement(seen(pictures), truth)["everything"]
print(f"{'real':7}{pictures[0].numel():9,}{0:9.3f}{'':9}{whole:20.0%}")
assert rmse(again["f4"], pictures) < 0.032

# %% [markdown]
# *Misfit* is the root mean squared error, in pictures of $-1\dots1$. *Linear* is the best linear map of each square of $f\times f$ pixels to as many numbers (its principal components). It sees one square at a time, the encoder more.
#
# All four lose about a third of what the linear map loses, or less. The reader misses nothing in these 64 scenes (see 7.3). Small details go first: in the last scene, the spots and stripes of both stars.
#
# Play: choose a scene and an autoencoder. What is lost first?

# %%
named = {"f = 2": "f2", "f = 4": "f4", "f = 8": "f8", "f = 4, VQ": "f4-vq"}
few = {name: stages[kind] for name, kind in named.items()}
AutoencoderExplorer(few, truth.take(torch.tensor([4, 3, 1, 2, 0, 7])), reader, start="f = 8")

# %% [markdown]
# ### 2.2 Near in pixels, near to the eye
#
# Here is one scene with four changes. Each difference is multiplied so that the misfit is exactly 0.1; the numbers are means of 64 scenes. A **perceptual distance** compares the feature maps of a network that knows pictures, here our CLIP's (the paper uses LPIPS: Zhang et al. 2018):
#
# $$d(x,\hat x)=\sum_j\frac1{H_jW_j}\lVert f_j(x)-f_j(\hat x)\rVert^2,\qquad\text{each column of }f_j\text{ of length 1}.$$

# %%
wide = F.pad(pictures, (4, 4, 4, 4), mode="replicate")
blurred = F.avg_pool2d(wide, 9, stride=1)
changes = {"brighter": torch.ones_like(pictures), "shifted": wide[..., 4:-4, 3:-5] - pictures,
           "blurred": blurred - pictures, "noise": torch.randn(pictures.shape, generator=seeded())}  # fmt: skip
changed = {name: pictures + 0.1 * each / each.square().mean((1, 2, 3), keepdim=True).sqrt()
           for name, each in changes.items()}  # fmt: skip
far = {name: perceptual.distance(each, pictures).mean().item() for name, each in changed.items()}
titles = ["picture", *(f"{name}: {value:.2f}" for name, value in far.items())]
plots.show(plots.image_grid(torch.stack([pictures[1], *(each[1] for each in changed.values())]), titles=titles),
           "A scene, and four changes of it with the same squared error: brighter, shifted, blurred, "
           "and with noise.")  # fmt: skip
assert all(abs(rmse(each, pictures) - 0.1) < 1e-4 for each in changed.values())
assert (
    far["noise"] > 3 * far["blurred"] > 4.2 * far["brighter"]
    and far["blurred"] > 1.4 * far["shifted"]
)

# %% [markdown]
# In pixels all four are equally far. To this network the noise is about five times as far as the blur, and the blur about twice as far as the other two. As a **perceptual loss**, it makes an autoencoder pay more for blur than for a shift of equal misfit.
#
# ### 2.3 What the diffusion model need not learn
#
# The decoder draws the pixels. The diffusion model decides what stands where, in which color and pattern, on $16\times16$ places, not $64\times64$. A call of the same U-Net costs far less on fewer places (four at a time):

# %%
net = model.config.net
print("f   latent          places   ms for each picture and call")
milliseconds = {}
for f, channels in ((1, 3), (2, 2), (4, 4), (8, 8)):
    own = replace(
        net, size=64 // f, channels=channels, attention=(32 // f, 16 // f)
    )  # the same levels
    unet = UNet(own).eval()
    x, heard = torch.randn(4, channels, 64 // f, 64 // f), model.encode("a red star").rows(4)
    with torch.no_grad():
        unet(x, torch.full((4,), 500), heard)  # the first call also prepares memory
        began = time.process_time()
        for _ in range(3):
            unet(x, torch.full((4,), 500), heard)
    milliseconds[f] = 1000 * (time.process_time() - began) / 12
    shape = f"{64 // f} × {64 // f} × {channels}"
    print(f"{f}   {shape:14} {(64 // f) ** 2:6} {milliseconds[f]:10.0f}")
    assert sum(isinstance(each, SpatialTransformer) for each in unet.modules()) == 7
assert milliseconds[1] > 4 * milliseconds[4] > 3 * milliseconds[8]

# %% [markdown]
# The first doublings of $f$ save most; from 4 to 8, only a few milliseconds are gained. (Lesson 09's GLIDE saves in other ways: it folds squares of pixels into channels, and draws 32 pixels before 64.)
#
# ## 3 · The autoencoder's losses
#
# $$L=\underbrace{|x-\hat x|+w_p\,d(x,\hat x)}_{\text{misfit}}+\underbrace{w_k\,\mathrm{KL}}_{\text{or the codebook's}}+\underbrace{\lambda\,w_d\cdot\big(-D(\hat x)\big)}_{\text{adversarial}}$$
#
# Here and in section 3.2, *misfit* is this sum, not the root mean square of section 2.1. $w_p$, $w_k$ and $w_d$ are fixed weights; $\lambda$ adapts (section 3.2). Our shipped autoencoders learned from $|x-\hat x|$ and the KL or codebook term only. The paper uses all four, for photographs.
#
# ### 3.1 KL: a limit on a latent
#
# The encoder answers with a normal distribution, $q(z\mid x)=\mathcal N(\mu,\sigma^2)$ for each number of $z$. The decoder gets a *draw*. A second term pulls $q$ to $\mathcal N(0,1)$. With $\log q(z)-\log p(z)=-\log\sigma-\frac{(z-\mu)^2}{2\sigma^2}+\frac{z^2}2$ and $\mathbb E(z-\mu)^2=\sigma^2$, $\mathbb Ez^2=\mu^2+\sigma^2$:
#
# $$\boxed{\;\mathrm{KL}=\mathbb E_q\big[\log q-\log p\big]=\tfrac12\big(\mu^2+\sigma^2-1-\log\sigma^2\big)\;}$$

# %% tags=["nbval-check-output"]
for mean, std in ((0.0, 1.0), (1.0, 1.0), (0.7, 0.3)):
    mu, log_var = (torch.full((1, 1, 1, 1), value) for value in (mean, 2 * math.log(std)))
    q, p = torch.distributions.Normal(mean, std), torch.distributions.Normal(0.0, 1.0)
    z = mean + std * torch.randn(400_000, generator=seeded())
    drawn = (q.log_prob(z) - p.log_prob(z)).mean().item()
    closed = Posterior(mu, log_var).kl().item()
    print(f"mean {mean}, std {std}: {closed:.3f} nats, from draws {drawn:.2f}")
    assert abs(drawn - closed) < 0.02

# %%
z = posterior.sample(seeded())
nats = posterior.kl().mean().item() / z[0].numel()
print(f"latents: standard deviation {z.std():.2f}; of a draw around its mean {spread:.4f}")
print(f"KL: {nats:.0f} nats for each of {z[0].numel():,} numbers")
draws = [rmse(autoencoder.decode(each), pictures) for each in (posterior.mean, z)]
print(f"misfit of the mean's picture {draws[0]:.4f}, of a draw's {draws[1]:.4f}")
assert abs(draws[0] - draws[1]) < 1e-3 and z.std() > 3 and spread < 0.02

# %% [markdown]
# The weight $w_k=10^{-6}$ is tiny, in the paper and here. The latents are nowhere near $\mathcal N(0,1)$, and a draw is nearly its mean. The KL's derivatives are $\mu$ (by $\mu$) and $\sigma^2-1$ (by $\log\sigma$). With such a weight they can only keep the latents from growing, and $\sigma$ from shrinking, without bound.
#
# ### 3.2 A discriminator, patch by patch
#
# $|x-\hat x|$ asks little of small details: a blurred edge costs few pixels. The paper lets a discriminator $D$ judge patches: one logit for each. It minimizes the **hinge loss** $\frac12\mathbb E\big[\max(0,1-D(x))+\max(0,1+D(\hat x))\big]$, and the autoencoder minimizes $-D(\hat x)$. The factor $\lambda$ of this term adapts to the gradients at the decoder's last layer $W$:
#
# $$\lambda=\frac{\lVert\nabla_W\,\text{misfit}\rVert}{\lVert\nabla_W(-D(\hat x))\rVert+10^{-4}},\qquad\text{without gradient itself.}$$

# %%
discriminator = PatchDiscriminator(width=8).eval()
x = torch.randn(1, 3, 256, 256, generator=seeded()).requires_grad_()
logits = discriminator(x)
logits[0, 0, 15, 15].backward()
reach = int((x.grad.abs().sum((0, 1)) > 0).any(0).sum())
print(f"256 x 256 pixels: {tuple(logits.shape[2:])} logits, each of {reach} x {reach} pixels")
print("hinge loss of zeros:", hinge_loss(torch.zeros(4), torch.zeros(4)).item())
taught = FirstStage(replace(stages["f4"].config, adversarial=0.5, judge=16))
taught.begin_from(stages["f4"])
taught.perceptual = perceptual
terms, last = taught.terms(pictures[:4]), taught.autoencoder.decoder[-1].weight
print("terms:", ", ".join(f"{name} {value.item():.4f}" for name, value in terms.items()))


def gradient(*names):
    """The length of these terms' gradient at the decoder's last layer."""
    loss = sum(terms[name] for name in names)
    return torch.autograd.grad(loss, last, retain_graph=True)[0].norm().item()


share = gradient("adversarial") / gradient("reconstruction", "perceptual")
print(f"adversarial gradient / misfit's gradient: {share:.2f}")
assert reach == 70 and abs(share - 0.5) < 0.05

# %% [markdown]
# Whatever $D$ says, its gradient at $W$ is half as large as the misfit's ($w_d=0.5$).
#
# ### 3.3 The real code

# %%
show_source(FirstStage.terms, docstring=False)

# %% [markdown]
# ### 3.4 VQ: rounding to a codebook
#
# The other way to limit a latent: each place takes the nearest of $K$ vectors $e_k$. A place then carries at most $\log_2 K$ bits, 10 for $K=1{,}024$. But rounding has gradient 0 almost everywhere. The **straight-through** gradient pretends that it is the identity:
#
# $$\tilde z=z+\operatorname{sg}[e-z],\qquad L_{\text{codebook}}=\lVert\operatorname{sg}[z]-e\rVert^2+\beta\,\lVert z-\operatorname{sg}[e]\rVert^2$$
#
# $\operatorname{sg}$ stops the gradient. Forward, $\tilde z=e$. Backward, $\partial\tilde z/\partial z=1$. The first loss pulls the entries to the latents, the second the latents to the entries.

# %% tags=["nbval-check-output"]
torch.manual_seed(0)
book, z = Codebook(16, 4, std=1.0), torch.randn(2, 4, 3, 3, requires_grad=True)
entries, weights = book(z), torch.randn(2, 4, 3, 3)
distances = (z.movedim(1, -1)[..., None, :] - book.entries.weight).square().sum(-1)  # (2, 3, 3, 16)
print("the nearest:", torch.equal(distances.argmin(-1), book.nearest(z)))
rounded = straight_through(z, entries)
print("forward, it is the entry:", torch.allclose(rounded, entries))
(to_z,) = torch.autograd.grad((weights * rounded).sum(), z, retain_graph=True)
print("backward, it is the identity:", torch.equal(to_z, weights))
to_z, to_book = torch.autograd.grad(codebook_loss(z, entries, 0.25), (z, book.entries.weight))
print("the codebook's loss moves both:", bool(to_z.any()), bool(to_book.any()))
print("entries that no place chose do not move:",
      not to_book[~torch.isin(torch.arange(16), book.nearest(z))].any())  # fmt: skip

# %%
vq = stages["f4-vq"].autoencoder
chosen = vq.codebook.nearest(vq.encode(pictures)).flatten()
shares = chosen.unique(return_counts=True)[1] / len(chosen)
bits = -(shares * shares.log2()).sum().item()
used = len(shares)
others = vq.codebook.nearest(vq.encode(scenes.render(scenes.draw(128, 99), 64))).flatten()
both = len(torch.cat([chosen, others]).unique())
z = posterior.sample(seeded())
fits = torch.distributions.Normal(z.mean(), z.std())  # as well fitted as the entries' frequencies
own = torch.distributions.Normal(posterior.mean, (0.5 * posterior.log_var).exp())
kl_bits = torch.distributions.kl_divergence(own, fits).sum((1, 2, 3)).mean().item() / math.log(2)
print(f"VQ: {used} of 1,024 entries used, {bits:.1f} bits for a place; "
      f"together with 128 other scenes {both} entries")  # fmt: skip
print(
    f"bits for a picture: VQ {256 * bits:,.0f}, KL {kl_bits:,.0f}, its pixels {8 * 64 * 64 * 3:,}"
)
print(f"misfit: VQ {rmse(again['f4-vq'], pictures):.3f}, KL {rmse(again['f4'], pictures):.3f}")
assert rmse(again["f4"], pictures) < 0.03 < rmse(again["f4-vq"], pictures) < 0.045
assert 5 < kl_bits / (256 * bits) < 7.5 and 450 < used < both < 1.05 * used

# %% [markdown]
# The KL model's misfit is smaller, .027 against .039, but VQ needs about a sixth of the bits. (Both are counted by a simple code that fits: the frequencies of the entries, and a normal distribution as large as the latents.) About half of the entries are used; with 128 other scenes, hardly more. An entry that no place chooses does not move (the cell before).
#
# For diffusion, a VQ latent is taken *before* rounding. The rounding becomes the decoder's first step, so small errors of the diffusion model are rounded away.
#
# ## 4 · Latents
#
# ### 4.1 What they look like

# %%
z = posterior.sample(seeded())
plots.show(latent_plot.channels(pictures[:4], z[:4]),
           "Four scenes, each with the four channels of its latent as small gray pictures in which "
           "the things can be recognized.")  # fmt: skip
moved = z[:24].clone()
moved[:, :, 8, 8] += z.std()  # one place of 256
change = (autoencoder.decode(moved) - autoencoder.decode(z[:24])).square().sum(1)  # (24, 64, 64)
inside = {}
for side in (4, 12):
    around = slice(34 - side // 2, 34 + side // 2)
    inside[side] = (change[:, around, around].sum((1, 2)) / change.sum((1, 2))).mean().item()
print("one place changed: of the squared change of the pictures,",
      ", ".join(f"{part:.0%} lies in {side} x {side} pixels" for side, part in inside.items()))  # fmt: skip
assert inside[12] > 0.93 and 0.25 < inside[4] < 0.45

# %% [markdown]
# In every channel you can recognize the things. If one place changes, about a third of the squared change falls into its own $4\times4$ pixels (means of 24 scenes). Nearly all of it falls into $12\times12$. So a latent is a small picture. It is not a summary of the whole, as CLIP's vector is (lesson 10).
#
# So what lies halfway between two latents?

# %%
pair = pictures[[0, 1]]
ends = autoencoder.mean(pair)
shares = torch.linspace(0, 1, 5)
with torch.no_grad():
    in_latents = autoencoder.decode(torch.stack([torch.lerp(*ends, s) for s in shares]))
in_pixels = torch.stack([torch.lerp(*pair, s) for s in shares])
plots.show(plots.image_grid(torch.cat([in_latents, in_pixels]), columns=5, rows=["latents", "pixels"],
                            titles=[f"{s:.2f}" for s in shares]),
           "Two rows from one scene to another: mixed as latents, and mixed as pixels.")  # fmt: skip
halves = autoencoder.mean(pictures[:63]).lerp(autoencoder.mean(pictures[1:]), 0.5)
halves = autoencoder.decode(halves).clamp(-1, 1)
mixed = pictures[:63].lerp(pictures[1:], 0.5)
ends_apart = rmse(pictures[:63], pictures[1:])
print(
    f"halfway, both ways differ by {rmse(halves, mixed):.2f}, and both ends by {ends_apart:.2f} (63 pairs)"
)
assert rmse(halves, mixed) < 0.3 * ends_apart

# %% [markdown]
# Both rows show a double picture: nothing moves or changes its form. What things there are is left to the diffusion model.
#
# ### 4.2 As large as the noise
#
# The latents have a standard deviation of about 5 (Stable Diffusion's of $1/0.18215\approx5.5$). The noise has 1. In $z_t=\sqrt{\bar\alpha_t}\,z+\sqrt{1-\bar\alpha_t}\,\varepsilon$ the signal-to-noise ratio is $\mathrm{SNR}_t=\frac{\bar\alpha_t}{1-\bar\alpha_t}\operatorname{Var}(z)$. A factor of 5 in $z$ is a factor of 25 in the ratio, at every $t$. The correlation of $z_t$ with $z$ is
#
# $$\rho_t=\sqrt{\frac{\bar\alpha_t\operatorname{Var}(z)}{\bar\alpha_t\operatorname{Var}(z)+1-\bar\alpha_t}}$$

# %%
z = posterior.sample(seeded())
raw = z.std().item()
paper, cosine = schedule.scaled_linear(), schedule.cosine()
by_name = {"√-linear (the paper's)": paper, "cosine (ldm-scenes')": cosine}
plots.show(latent_plot.signal_left(by_name, {"unit size": 1.0, f"raw, {raw:.1f}": raw}),
           "Two panels, one for each schedule: the correlation falls from 1 over t. For raw latents it stays "
           "near 1 far longer. In the paper's schedule .31 is left of it at the end, in the cosine schedule 0.")  # fmt: skip
eps = torch.randn(z.shape, generator=seeded())
left = {}
print("correlation of a latent and its noisy version, paper's schedule:")
for t in (250, 500, 750, 1000):
    row = []
    for factor in (1 / raw, 1.0):
        centered = factor * (z - z.mean())
        both_ways = torch.stack([paper.diffuse(centered, t, eps).flatten(), centered.flatten()])
        row.append(both_ways.corrcoef()[0, 1].item())
    print(f"t = {t:4}: {row[0]:.2f} of unit size, {row[1]:.2f} raw")
    left[t] = row
std = (paper.alpha_bar[t] * raw**2).sqrt()
assert abs(row[1] - std / (std**2 + 1 - paper.alpha_bar[t]) ** 0.5) < 0.02
long = [(k**2 * paper.alpha_bar > 0.81 * (k**2 * paper.alpha_bar + 1 - paper.alpha_bar)).double().mean()
        for k in (raw, 1.0)]  # fmt: skip
print(f"above 0.9 for {long[0]:.0%} of all times raw, and for {long[1]:.0%} of unit size")
assert (
    long[0] > 0.5 > 0.25 > long[1]
    and left[500][1] > 0.93
    and abs(left[500][0] - 0.52) < 0.03
    and abs(row[1] - 0.31) < 0.03
)

# %% [markdown]
# In the paper's schedule, at $t=500$, the correlation of raw latents is still .95, and of unit size about .5. Raw, it is above .9 for 61 % of all times. We think that these times teach little. And at $t=1000$, .31 is left, where sampling begins from pure noise.
#
# The remedy is one number. Latents are multiplied by $1/\operatorname{std}(z)$ of the *first training batch*, and divided by it before the decoder. (One for all channels, as in the paper's code. Their means differ, so it leaves three of ours at half of the noise's size.)

# %%
scaled = model.latents(pictures, seeded())
print(f"scale {model.scale.item():.4f}: standard deviation {scaled.std():.2f}; "
      f"by channel {', '.join(f'{each:.2f}' for each in scaled.std((0, 2, 3)))}")  # fmt: skip
try:
    model.denoiser.loss(posterior.sample(), model.encode("a red star").rows(64))
except ValueError as error:
    print("raw latents:", error)
assert 0.9 < scaled.std() < 1.1

# %% [markdown]
# `labkit` refuses to train on numbers that are much larger than the noise.
#
# ## 5 · The model
#
# The paper replaces ADM's attention layers by a **spatial transformer**. The places of the feature map look at each other, then at the text, and then go through an MLP (so in the code; the paper's table 16 lists the MLP second). A last projection starts at zero and is added to the input:

# %%
show_source(LDM.latents, LDM.loss, SpatialTransformer.forward, docstring=False)

# %% [markdown]
# GLIDE's layer has *one* softmax over text and pixels (lesson 09). Here the text has a softmax of its own, $\operatorname{softmax}\big(Q(z_t)K(y)^\top/\sqrt d\big)V(y)$. So a place's weights over the text's positions always sum to 1.

# %%
fresh = SpatialTransformer(channels=64, heads=4, groups=8, context=128)
heard, x = model.encode("a red star"), torch.randn(1, 64, 8, 8)
print("untrained, it is the identity:", torch.equal(fresh(x, cond=heard), x))
place = next(each for each in model.denoiser.net.modules() if isinstance(each, SpatialTransformer))
x = torch.randn(1, place.norm.num_channels, 8, 8, generator=seeded())
attended = [place(x, cond=model.encode(text)) for text in ("a red star", "a blue star")]
print("trained, its output depends on the words:", not torch.allclose(*attended, atol=1e-3))
parts = {"U-Net": model.denoiser, "text transformer": model.condition, "autoencoder": autoencoder}
for name, part in parts.items():
    count = sum(weight.numel() for weight in part.parameters()) / 1e6
    print(f"{name:17} {count:5.2f} million weights")

# %% [markdown]
# The autoencoder is frozen while the U-Net and the text transformer learn.
#
# ## 6 · Train it, from nothing
#
# Both stages from scratch, in lesson 09's small world: one large plain thing on gray. There we drew $16\times16$ pixels, now $32\times32$, and the U-Net still works at $8\times8$ places.

# %%
known, captions = small.pairs(2_000, size=32)
FIRST = FirstStageConfig(AutoencoderConfig(
    size=32, width=32, multipliers=(1,), blocks=1, latent=4, attention=False, groups=8, fold=4
))  # fmt: skip
torch.manual_seed(0)
learner, ROUNDS, tried, grown = FirstStage(FIRST), 300, small.pairs(7, seed=9, size=32)[0], {}


def kept(steps, of, at):
    """The steps; after some of them, what the averaged weights make."""
    for step in steps:
        if step.step in at:
            grown[step.step] = of(step.ema.eval())
        yield step


steps = train(learner, shuffled(known, batch=16), ROUNDS, optimizer="muon", lr=4e-3, decay="late",
              warmup=20, ema=0.98)  # fmt: skip
steps = kept(steps, lambda system: system.reconstruct(tried), (25, 100, ROUNDS))
losses = watch(steps, latent_plot.draw_losses, every=50,
               alt="The autoencoder's loss falls steeply at first, and then slowly.")  # fmt: skip
first = losses[-1].ema.eval().requires_grad_(False)

# %%
shown = {"picture": tried} | {f"{n} updates": each for n, each in grown.items()}
plots.show(plots.image_grid(torch.cat(list(shown.values())), columns=7, rows=list(shown)),
           "Seven pictures, and their reconstructions after 25, 100 and 300 updates: first a checkered pattern, "
           "then soft blobs, at the end almost the same.")  # fmt: skip
for n, each in grown.items():
    print(f"after {n:3} updates: misfit {rmse(each, tried):.3f}")
assert rmse(grown[ROUNDS], tried) < 0.11

# %% [markdown]
# The second stage, with lesson 09's captions:

# %%
pieces, CONTEXT = tokenizer.load(), 12  # positions: begin, these short captions, end, padding
brief = tokenizer.Tokenizer(pieces.pieces, CONTEXT, pieces.words)
net = UNetConfig(
    size=8, channels=4, width=32, multipliers=(1, 2), blocks=1, attention=(4,), groups=8,
    head_channels=16, scale_shift_norm=True, mixer="spatial", tokens=64,
)  # fmt: skip
reads = TextConfig(vocabulary=1009, context=CONTEXT, width=64, depth=2, heads=4, end=1008)
SMALL = LDMConfig(net=net, autoencoder=FIRST.net, predicts="x0", text=reads, p_uncond=0.2)
torch.manual_seed(0)
latent_learner = LDM(SMALL, brief)
latent_learner.begin_from(first)
UPDATES, WANTED = 240, small.KNOWN * 2  # 26 pictures


def obeys(by, **options):
    """The pictures; the shares with the right color, the right shape, and both."""
    made = paint(small.sentences(WANTED, 5), by=by, **{"steps": 12, "seed": 1} | options)
    pairs = list(zip(small.nearest(made).pairs, WANTED))
    color, shape = (sum(a[k] == b[k] for a, b in pairs) / len(pairs) for k in (0, 1))
    return made, color, shape, sum(a == b for a, b in pairs) / len(pairs)


# %%
grown = {}
steps = train(latent_learner, small.batches(known, captions, 32), UPDATES, optimizer="muon", lr=4e-3,
              decay="late", warmup=20, ema=0.98)  # fmt: skip
losses = watch(kept(steps, obeys, (UPDATES // 8, UPDATES // 2, UPDATES)), latent_plot.draw_losses,
               every=20, alt="The loss of the latent model falls steeply for some dozens of updates, "
               "and then slowly.")  # fmt: skip
trained_here = losses[-1].ema.eval().requires_grad_(False)
SIX = [0, 1, 2, 3, 8, 12]  # of the 13 combinations
shown = torch.cat([made[SIX] for made, *_ in grown.values()])
plots.show(plots.image_grid(shown, columns=6, rows=[f"{n} updates" for n in grown],
                            titles=[" ".join(small.KNOWN[k]) for k in SIX]),
           "Six sentences, painted after 30, 120 and 240 updates: first nearly all yellow blobs, then blobs of "
           "the right colors, at the end some of the right shapes.")  # fmt: skip
for n, (_, color, shape, _) in grown.items():
    print(f"after {n:3} updates: color {color:.0%}, shape {shape:.0%} of 26 pictures")
print(f"scale, measured on the first batch: {trained_here.scale.item():.3f}")
_, color, shape, _ = grown[UPDATES]
assert color > 0.9 and shape > 0.6

# %% [markdown]
# (By chance, about a quarter of each is right. A picture is read as the most similar real one.) The colors are right sooner than the shapes. At the end you can recognize the moons and the triangle, but the crosses have hardly any arms. All edges are soft.
#
# ## 7 · Measure
#
# ### 7.1 The sweep over f
#
# `benchmarks/latent_table.py` trained one model for each $f$, all for about the same time. ($f=1$: the pixels themselves, clipped in each step.) They differ in their latents, and in one more level of the U-Net for each doubling of the side. *Pixels, folded by 4* has squares of $4\times4$ pixels as channels, without any autoencoder. *Not scaled* has the latents of $f=4$ as they come; `labkit`'s refusal was switched off for it.
#
# *Parts*: the share of what is said that the reader finds (.24 with the sentences of other scenes); *valid*: the share of pictures that could be a scene; *distance*: the Fréchet distance to real pictures in the reader's features (smaller is better).

# %%
stored = latent_table.stored()  # by benchmarks/latent_table.py
sweep = stored["sweep"]
SHOWN = {
    "updates": 0,
    "seconds": 0,
    "training pictures/s": 0,
    "sampled pictures/s": 1,
    "parts": 2,
    "valid": 2,
    "distance": 2,
}


def print_table(table, shown, rows):
    """Rows of a stored table."""
    lines = [["", *shown]]
    for row in rows:
        columns = (latent_table.column(table, row, name) for name in shown)
        cells = zip(columns, shown.values())
        lines.append([row, *(mean_and_error(*cell, tight=True) for cell in cells)])
    wide = [max(map(len, column)) + 2 for column in zip(*lines)]
    for first, *cells in lines:
        print(first.ljust(wide[0]) + "".join(map(str.rjust, cells, wide[1:])))


print(
    f"each trained for about {sweep['seconds'] / 60:.0f} minutes of one core; "
    f"{sweep['samples']} pictures, eta = {sweep['eta']:g}"
)
SWEPT = ("f = 1", "f = 2", "f = 4", "f = 8")
print_table(sweep, SHOWN, (*SWEPT, "pixels, folded by 4", "f = 4, not scaled", "real"))
plots.show(latent_plot.over_f(
    {name: {row[4:]: latent_table.column(sweep, row, name) for row in SWEPT}
     for name in ("training pictures/s", "parts", "valid", "distance")}, logarithmic=("distance",)),
    "Four panels over f = 1, 2, 4, 8: training pictures a second, the share of parts shown, the share of "
    "valid scenes, and the distance to real pictures. The first rises with f; parts are nearly equal; valid is "
    "highest at 8; the distance, on a logarithmic axis, is by far the largest at 1.")  # fmt: skip
far = {row: latent_table.column(sweep, row, "distance").mean().item() for row in sweep["rows"]}
assert far["f = 1"] > 3 * max(far["f = 2"], far["f = 4"], far["f = 8"])
floor = latent_table.column(sweep, "real", "distance")  # of eight sets
assert len(floor) == 8 and floor.min() < 0.005 and 0.085 < floor.max() < 0.095
assert far["pixels, folded by 4"] > 8 * far["f = 4"] and far["f = 4, not scaled"] > 2 * far["f = 4"]
for name, least in (("training pictures/s", 6), ("sampled pictures/s", 12)):
    faster = latent_table.column(sweep, "f = 4", name) / latent_table.column(sweep, "f = 1", name)
    assert faster > least

# %% [markdown]
# In about the same time, $f=4$ sees more than six times as many pictures as $f=1$. It draws more than twelve times as many a second. *Distance* is by far the largest at $f=1$. The rest is less certain. Each row is one training, of 72 pictures. Eight sets of 72 *real* pictures have distances of .00 to .09, and another, somewhat longer training of $f=8$ had .035, not .11. So 4 and 8 do not differ in *distance*, and 2 is behind them only in this run. *Valid* is highest at 8 (.21; its standard error is .05). *Parts* lie near the floor (a standard error is .04).
#
# In the paper, quality over $f$ is a U: small $f$ learns slowly, and too large $f$ loses details. We see only the slow start, at $f=1$: all these models are far from fully trained.
#
# *Pixels, folded by 4* cost about as much as $f=4$, with nine times its distance: so the autoencoder seems to give more than fewer places. *Not scaled* has five times the distance of $f=4$; in *valid* the two do not differ (.10 and .04).
#
# ### 7.2 Beside the model of pixels
#
# The shipped `ldm-scenes` beside GLIDE's cascade. *Whole* is the share of sentences of which every part is shown. *Shuffled* compares each picture with another's sentence: the floor.

# %%
models = stored["models"]
print(
    f"{models['seeds']} seeds of {models['samples']} sentences, {models['steps']} steps, scale {models['scale']:g}; ± standard error over seeds"
)
ROWS = (
    "ldm-scenes",
    "glide-scenes-64",
    "ldm-scenes, shuffled",
    "glide-scenes-64, shuffled",
    "real",
)
measures = {"sampled pictures/s": 1, "parts": 3, "whole": 3, "valid": 3, "distance": 3}
print_table(models, measures, ROWS)
for name in ("parts", "valid", "distance"):
    one, other = (latent_table.column(models, row, name) for row in ROWS[:2])
    difference = mean_and_error(one - other, digits=3, tight=True)
    print(f"{name}, ldm-scenes minus GLIDE, seed by seed: {difference}")
for parts in (("ldm-scenes", "autoencoder-scenes-f4"), ("glide-scenes", "glide-scenes-upsample")):
    print(
        " + ".join(parts),
        f"trained for {sum(zoo.recipe(part).minutes for part in parts):.0f} minutes of a core",
    )
for name in ("parts", "valid", "distance"):
    apart = latent_table.column(models, ROWS[0], name) - latent_table.column(models, ROWS[1], name)
    assert apart.mean().abs() < 2 * apart.std() / len(apart) ** 0.5
rates = [latent_table.column(models, row, "sampled pictures/s").mean() for row in ROWS[:2]]
assert 1.3 < rates[0] / rates[1] < 1.6

# %% [markdown]
# Nothing but the speed differs by two standard errors, and the speed is a matter of steps: GLIDE's upsampler makes its usual 27 here, and 6 in section 1, where both cost the same. Both show about .77 of the parts, far above the floor, but less than half of the sentences as a whole. So at 64 pixels we measure no advantage over a folded cascade.
#
# ### 7.3 The autoencoders, and the paper's numbers

# %%
tables = stored["autoencoders"]
names = [f"autoencoder-scenes-{kind}" for kind in KINDS]
kinds = {"misfit": 3, "everything": 3}
print_table(tables, kinds, [*names, "real"])
PAPER = {"f2": ("KL, f = 2", 0.086, 32.47), "f4": ("KL, f = 4", 0.27, 27.53), "f8": ("KL, f = 8", 0.90, 24.19),
         "f4-vq": ("VQ, f = 4", 0.58, 27.43)}  # fmt: skip
print("\nthe paper's, ImageNet (tables 8 and 9)    R-FID    PSNR     ours: PSNR")
for kind, (name, fid, psnr) in PAPER.items():
    own = 20 * (2 / latent_table.column(tables, f"autoencoder-scenes-{kind}", "misfit")).log10()
    print(f"{name:38}{fid:9.3f}{psnr:8.2f}{own.mean():15.2f}")
misfits = [latent_table.column(tables, name, "misfit").mean() for name in names[:3]]
assert misfits[0] < misfits[1] < 0.032 < misfits[2]
whole = latent_table.column(tables, "autoencoder-scenes-f8", "everything").mean()
assert (
    0.98 < whole < 0.99 < latent_table.column(tables, "autoencoder-scenes-f4", "everything").mean()
)

# %% [markdown]
# The misfit grows with $f$, as in the paper. Of all scenes the reader sees .985 correctly at $f=8$, .995 at $f=4$, and .997 of real pictures. (Our PSNR is higher. We think: scenes are simpler than photographs, and at $f=4$ and 8 our latents have more channels.)
#
# | paper's claim | where | ours |
# |---|---|---|
# | after 2 million steps each, $f=8$ is 38 FID better than $f=1$ | section 4.1, figure 6 | after about equal time, distance .11 against 1.2 (7.1) |
# | $f=4$ to 16 are best, $f=1$ and 2 learn slowly, $f=32$ saturates | figure 6 | in distance, $f=2$, 4 and 8 are ahead of 1 (one training each); between them nothing is certain |
# | $f=4$ needs 271 V100-days where ADM needs 916, and draws .7 pictures a second where ADM draws .12 | table 18 | beside GLIDE's cascade, not ADM: no advantage (7.2) |
# | unscaled latents have too high a signal-to-noise ratio, which hurts larger pictures | sections 4.3.2, D.1 | distance .46 against .09 (7.1) |
#
# ## 8 · What each word looks at
#
# ### 8.1 Maps
#
# We keep the weights of cross-attention while a picture is drawn: the mean over heads and layers. Each map is scaled to its own maximum.

# %%
sentence = "a large red star and a small blue moon"
steps = list(sampled(model, [sentence], steps=STEPS, scale=SCALE, seed=1, eta=1.0))
picked = [steps[n] for n in (1, 8, 24)]
maps = [over_words(over_text(looked, 64)[0], sentence, model.tokenizer) for _, looked in picked]
plots.show(glide_plot.over_sentence([state.pictures[0] for state, _ in picked], [each.maps for each in maps],
                                    maps[0].words, rows=[f"t = {state.t}" for state, _ in picked]),
           "What a picture looks like after 2, 9 and 25 steps, and for each word of its sentence where "
           "it is looked at. At the end there are a red moon, a red star and a blue star; the map of red is "
           "bright at both red things, that of blue at the blue star.")  # fmt: skip
others = [each.others.mean().item() for each in maps]
print("weight of begin, end and padding:", ", ".join(f"{share:.0%}" for share in others))
one = "a large red star"
*_, (state, looked) = sampled(model, [one], steps=STEPS, scale=SCALE, seed=1, eta=1.0)
own = over_words(over_text(looked, 64)[0], one, model.tokenizer)
plots.show(glide_plot.over_sentence([state.pictures[0]], [own.maps], own.words, rows=["t = 0"]),
           "A picture of one red star, and four maps, one for each word of its sentence: that of red is bright "
           "at the star and dark elsewhere; those of a, large and star have no clear place.")  # fmt: skip

# %% [markdown]
# The first picture does not follow its sentence: the moon is red, and there is a blue star too many. At $t=0$, *red* is looked at from both red things, and *blue* from the blue star. In the second picture, the map of *red* shows the star; that of *star* does not.
#
# Play: point at a word, and move through the steps. When does a word find its place? Which words have none?

# %%
AttentionExplorer(model, sentence, steps=15, scale=SCALE, seed=1, eta=1.0)

# %% [markdown]
# Does a map show where the thing is? We take real scenes of two things, with sentences such as "the red star and the blue moon". How often does a word get more weight from the places of its own thing than from those of the other?

# %%
drawn, asked = grounding.two_apart(600, seed=17, most=60)
inside = grounding.inside(drawn, 64)  # of each thing, (N, 2, 64, 64)
z = model.latents(scenes.render(drawn, 64), seeded())
noisy = model.denoiser.schedule.diffuse(z, 500, torch.randn(z.shape, generator=seeded()))
maps = over_text(looked_at(model.denoiser, noisy, 500, model.encode(asked)), 64)
prefers = {}
for kind, places in {"color": (2, 6), "noun": (3, 7)}.items():  # position 0 is <begin>
    mean = (maps[:, list(places)][:, :, None] * inside[:, None]).sum((3, 4)) / inside.sum((2, 3))[
        :, None
    ]
    own, other = mean.diagonal(dim1=1, dim2=2), mean.flip(2).diagonal(dim1=1, dim2=2)
    prefers[kind] = (own > other).double().mean().item()
    print(
        f"{kind}: its own thing gives it more weight in {prefers[kind]:.0%} of {own.numel()} cases (chance 50 %)"
    )
assert prefers["color"] > 0.9 and 0.5 < prefers["noun"] < prefers["color"] - 0.1


# %% [markdown]
# A color word gets more weight from its own thing in all 120 cases. A noun does in about three of four (± 4 points if the cases are independent). In the first picture, about two thirds of the weight goes to the begin, the end and the padding. (Section 8.3 shows what the padding carries.)
#
# ### 8.2 Change the words, keep the maps
#
# In **prompt-to-prompt** (Hertz et al. 2022) two samplings begin from the same noise. During the first steps (a *share* of all), the second one uses the maps of the first one. Only the values come from its own words. In a guided batch only the half with the sentence is changed.

# %%
show_source(prompt_to_prompt.looking, docstring=False)

# %% [markdown]
# We exchange one color in each of six sentences, two pictures each. With share 0, only the noise is the same.

# %%
SWAPS = [("a large red circle on a mint background", "red", "blue"), ("a large blue star", "blue", "yellow"),
         ("a large green heart on a sand background", "green", "pink"), ("a small pink square", "pink", "green"),
         ("a striped blue circle", "blue", "red"), ("a large pink moon", "pink", "red")]  # fmt: skip
KEPT = ("new color", "shape", "place", "background")


def compare(before, after, target):
    """Of each pair: is the new color there, and what stayed?"""
    one, two = seen(before), seen(after)
    same_shape = (one.shape[:, 0] == two.shape[:, 0]) & (two.count > 0)
    near = torch.hypot(one.x[:, 0] - two.x[:, 0], one.y[:, 0] - two.y[:, 0]) < 0.1
    new = [
        all(p.shown for p in row if p.kind == "color")
        for row in shown_parts(two, [target] * len(after))
    ]
    return torch.stack([torch.tensor(new), same_shape, near, one.background == two.background], 1)


# %%
edits, kept = {0.0: [], 0.8: []}, {}
for number, (text, old, word) in enumerate(SWAPS):
    target, same = text.replace(old, word), {"steps": 12, "seed": number, "scale": SCALE}
    *_, (before, after) = swap(model, text, target, share=0.8, pictures=2, **same)
    before, alone = before.pictures, final(model.generate([target] * 2, **same))
    for share, made in ((0.0, alone), (0.8, after.pictures)):
        edits[share].append((before, made, compare(before, made, target)))
for share, rows in edits.items():
    kept[share] = torch.cat([each for *_, each in rows]).double().mean(0)
    print(
        f"share {share:.1f}: "
        + ", ".join(f"{name} {value:.0%}" for name, value in zip(KEPT, kept[share]))
    )
columns = {"before": [row[0][0] for row in edits[0.0][:5]]}
columns |= {f"share {share:.1f}": [row[1][0] for row in rows[:5]] for share, rows in edits.items()}
plots.show(plots.image_grid(torch.stack(sum(columns.values(), [])), columns=5, rows=list(columns),
                            titles=[f"{old} → {word}" for _, old, word in SWAPS[:5]]),
           "Five scenes, and below each the same with another color word: with the same noise alone, and "
           "with the maps held in ten of twelve steps.")  # fmt: skip
assert kept[0.8][0] > 0.8 and kept[0.8][2] > 0.8 and kept[0.8][2] - kept[0.0][2] > 0.5


# %% [markdown]
# With the same noise alone, most things move. With the maps held, all but one of 12 stay where they were, and the new color comes in all. What the sentence leaves open, such as pattern and background, can still change. In one of the five shown (blue → yellow), a second thing comes. The other differences are within two standard errors.
#
# ### 8.3 What the picture depends on
#
# A map shows where a word is looked at, not what depends on it. So we take columns of the maps away: one word's by `reweight`, or all but some by `edited`. After `edited`, the weights of each place are made to sum to 1 again; after `reweight`, as in the paper, they are not.


# %%
def only(columns):
    """Of the maps, these columns alone."""
    return lambda maps: maps * columns / (maps * columns).sum(-1, keepdim=True)


def taken_away(text, word, **options):
    """Pictures by what the places may look at, by name."""
    places = [at for _, own in positions_of(text, model.tokenizer) for at in own]
    words = torch.zeros(32).index_fill(0, torch.tensor(places), 1.0)
    padding = (torch.arange(32) > places[-1] + 1).float()  # what stands behind the end
    *_, (whole, colorless) = reweight(model, text, word, 0.0, **options)
    made = {"all": whole.pictures, "its color × 0": colorless.pictures}
    for name, columns in (("words only", words), ("padding only", padding)):
        *_, (_, after) = edited(model, text, text, only(columns), **options)
        made[name] = after.pictures
    return made


# %%
TEXTS = {"a large striped blue heart": "blue", "a small green square": "green"}
options = {"pictures": 4, "steps": 10, "seed": 3, "scale": SCALE}
left = {text: taken_away(text, word, **options) for text, word in TEXTS.items()}
columns = [
    torch.cat([made[name][:2] for made in left.values()]) for name in next(iter(left.values()))
]
names = list(next(iter(left.values())))
plots.show(plots.image_grid(torch.cat(columns), columns=4, rows=names),
           "Two pictures of a large striped blue heart and two of a small green square, in four rows, "
           "by what the places may look at: all; all but the color, which changes; the words alone, with too "
           "many or too large things; the padding alone, with blue hearts, a red and a blue square.")  # fmt: skip
found = {}
for text, ways in left.items():
    for name, made in ways.items():
        rows = shown_parts(seen(made), [text] * 4)
        parts = {
            kind: sum(p.shown for row in rows for p in row if p.kind == kind)
            for kind in ("color", "shape")
        }
        found[text, name] = parts["color"]
        print(
            f"{text:28}{name:15}",
            ", ".join(f"{kind} {count} of 4" for kind, count in parts.items()),
        )
heart, square = TEXTS
assert max(found[text, "its color × 0"] for text in TEXTS) <= 1
assert min(found[heart, name] for name in ("padding only", "words only")) >= 3
assert found[square, "words only"] >= 3 and found[square, "padding only"] <= 1


# %% [markdown]
# (An example of eight pictures in each way, no measurement.) Without its color word, the heart keeps its form, stripes and place, and takes another color. The square, too, loses its green. But with the padding alone, without *all* words, the heart is blue again; the square is not green. With the words alone, three of the four pictures have too many things. So the text transformer writes parts of the sentence into the padding, too.

# %% [markdown]
# ## 9 · Beside the latents
#
# ### 9.1 Inpainting by known pixels
#
# `ldm-scenes` never learned to inpaint. As in lesson 09, it can be *held*: in each step, the latents of the known pixels replace those of $\hat z_0$. At the end the true pixels are put back. We erase the right halves of 12 scenes, whose sentences leave nothing out. What should the encoder see in the erased half? Gray, or as `labkit` does it: each erased pixel is the mean of its neighbors, ring by ring.

# %%
few, mask = pictures[:12], torch.ones(12, 1, 64, 64)
mask[..., 32:] = 0  # the right half is erased
said = descriptions(truth.take(slice(0, 12)), 3)
options = {"steps": 20, "scale": SCALE, "seed": 2}
hold = keep_known(model.known_latents(few, mask), model.known_places(mask))
gray = paint(said, map_x0=hold, **options)
filled = {
    "real": few,
    "beside gray": torch.where(mask == 1, few, gray),
    "beside filling": paint(said, known=(few, mask), **options),
}

# %%
shown = {"real": few, "erased": few * mask} | dict(list(filled.items())[1:])
plots.show(plots.image_grid(torch.cat([each[:4] for each in shown.values()]), columns=4, rows=list(shown), scale=2),
           "Four scenes; their right halves erased; and the halves painted anew: with a visible line at the "
           "seam if the known half was encoded beside gray, and without one beside the filling.")  # fmt: skip
jump = {name: holes.jump(each, mask).mean().item() for name, each in filled.items()}
for name, each in filled.items():
    look = seen(each)
    scene = valid(look, F.avg_pool2d(each, 2)).double().mean()
    print(f"{name:14} jump at the seam {1000 * jump[name]:3.0f} thousandths   "
          f"parts {caption_accuracy(look, said).parts:.2f}   valid {scene:.2f}")  # fmt: skip
assert jump["beside filling"] < 1.6 * jump["real"] < jump["beside gray"] / 2

# %% [markdown]
# The first way shows a seam: its jump is five times that of real pictures. Encoded beside the filling, the halves jump no more than real pictures do. An encoder's places see their neighbors (section 4.1): so do not show them a gray half.
#
# Both ways make mistakes in what they paint: in the second scene the heart is hardly one, and the third's new disc is too large and uneven.
#
# ### 9.2 Inpainting and super-resolution by concatenation
#
# The paper *trains* for these tasks: what is known stands beside $z_t$ as further channels. No such weights ship here, but the class is complete:

# %%
show_source(LDM.beside, docstring=False)

# %% [markdown]
# ## 10 · Break it
#
# Three mistakes, and one that is none here, with 20 new sentences. The third is easily made: in the paper's code, "linear" means that $\sqrt\beta$ rises evenly. (Ours learned with *cosine*, and is sampled with √-linear.)

# %%
truly = schedule.from_betas(torch.linspace(0.00085, 0.012, 1000, dtype=torch.float64))
print("alpha_bar    t = 250   t = 500   t = 750   t = 1000")
for name, each in (
    ("√-linear", schedule.scaled_linear()),
    ("linear", truly),
    ("cosine", schedule.cosine()),
):
    print(f"{name:10}", "".join(f"{each.alpha_bar[t]:10.3f}" for t in (250, 500, 750, 1000)))
outside = ((model.scale * posterior.mean).abs() > 1).double().mean().item()
print(f"{outside:.0%} of the scaled latents' numbers lie outside of −1 … 1")
print(
    f"a draw differs from the mean by {spread / posterior.mean.std():.2%} of the latents' standard deviation"
)
asked = scenes.captions(truth.take(slice(0, 20)), 5)
*_, state = model.generate(asked, steps=15, scale=SCALE, seed=5, eta=1.0)
own = model.denoiser.schedule
ways = {"right": state.pictures, "no division": autoencoder.decode(state.x0).clamp(-1, 1),
        "clipped": paint(asked, steps=15, seed=5, map_x0=clip)}  # fmt: skip
model.denoiser.schedule = schedule.scaled_linear()  # it was trained with cosine
ways["another schedule"] = paint(asked, steps=15, seed=5)
model.denoiser.schedule = own

# %%
plots.show(plots.image_grid(torch.cat([each[:4] for each in ways.values()]), columns=4, rows=list(ways)),
           "Four pictures in four rows: right; decoded without the division, pale and full of dots; clipped, "
           "paler; and by another schedule, mottled, two with more things.")  # fmt: skip
broken = {}
for name, each in ways.items():
    look = seen(each)
    broken[name] = (
        caption_accuracy(look, asked).parts,
        valid(look, F.avg_pool2d(each, 2)).double().mean().item(),
    )
    print(f"{name:17} parts {broken[name][0]:.2f}   valid {broken[name][1]:.2f}")
assert 0.2 < outside < 0.35 and 0.45 < broken["no division"][0] < broken["right"][0] - 0.1
assert broken["no division"][1] < 0.7 * broken["right"][1]
assert broken["clipped"][1] < broken["right"][1] - 0.2


# %% [markdown]
# - **No division** before decoding. The decoder gets latents that are five times too small. The things are pale and full of dots. Of the parts, the reader still finds .62 (.82 when right), so a check of parts alone could miss this mistake. *Valid* halves.
# - **Clipped** $\hat z_0$ in each step. Unit size does not mean $-1\dots1$: a quarter of all numbers lie outside. Colors become paler, and fewer pictures are valid (.60 against .90).
# - **Another schedule.** The network is told $t$, and gets another amount of noise than it learned for that $t$. Surfaces become mottled. With 20 pictures the drop in both numbers is within two standard errors.
# - **The encoder's mean** is diffused, not a draw. Here we expect no effect: a draw differs by less than a thousandth of the latents' size.
#
# ## 11 · Stable Diffusion's own weights
#
# Stable Diffusion 1.5 is this class with larger numbers: $f=8$, latents of $64\times64\times4$, a U-Net of 860 million weights, an autoencoder of 84 million, and CLIP's text transformer, frozen. `labkit.hub` loads the released weights into this lesson's modules. Set `REAL = True` and write a sentence. 2.1 GB are downloaded once. We estimate minutes for a picture on a CPU, and some seconds on a GPU.

# %%
REAL, SENTENCE = False, "a photograph of a lighthouse at dawn"


def paint_really(sentence, device="cpu"):
    """A picture of 512 x 512 pixels, by Stable Diffusion 1.5."""
    real = hub.load("stable-diffusion-v1-5").requires_grad_(False)
    real = real.to(device, torch.float16) if device != "cpu" else real
    return paint([sentence], scale=7.5, seed=0, by=real, steps=20, eta=0.0)


if REAL:
    try:
        made = paint_really(SENTENCE)
        plots.show(
            plots.image_grid(made.float(), scale=1),
            f"What Stable Diffusion painted for: {SENTENCE}",
        )
    except (ConnectionError, ValueError) as error:
        print(f"Not this time: {error}.")
else:
    print("Stable Diffusion is not used; set REAL = True to download it.")

# %% [markdown]
# Beside its size, it differs from `ldm-scenes` in four points. Its schedule is √-linear. It predicts the noise (ours predicts $v$). Its text transformer is frozen. Its autoencoder was also taught by the perceptual and the adversarial loss.

# %% [markdown]
# ## 12 · Exercises
#
# Write into the stub and run the cell. A hint is folded under each stub, a solution in the next cell (click its three dots).
#
# ### 12.1 How far from a standard normal &nbsp; ● 10 minutes
#
# A KL autoencoder's encoder answers with two tensors `(B, C, h, w)`: `mean` is $\mu$, and `log_var` is $\log\sigma^2$. Return $\mathrm{KL}(q\,\Vert\,\mathcal N(0,I))$ of each picture, `(B,)`, in nats. All numbers are independent, so their KL (section 3.1) adds up. Gradients must be able to flow: this is a loss.


# %%
def posterior_kl(mean, log_var):
    """KL(q ‖ N(0, I)) of each picture, (B,)."""
    ...


checks.posterior_kl(posterior_kl)

# %% [markdown]
# <details><summary>Hint</summary>σ² is <code>log_var.exp()</code>, and log σ² is <code>log_var</code> itself. <code>sum((1, 2, 3))</code> leaves the first axis.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def posterior_kl_solution(mean, log_var):
    each = mean.square() + log_var.exp() - 1 - log_var
    return 0.5 * each.sum((1, 2, 3))


checks.posterior_kl(posterior_kl_solution).require()

# %% [markdown]
# ### 12.2 Latents to diffuse, and back &nbsp; ● 10 minutes
#
# `mean` and `log_var` `(B, C, h, w)` are an encoder's answer, `scale` is one over the standard deviation of the first batch, and `decode` is a decoder. Return the latents that are diffused, and the pictures that come back from them. Draw the noise as `torch.randn(mean.shape, generator=generator)`.


# %%
def latents_and_back(mean, log_var, scale, decode, generator):
    """The latents that are diffused (B, C, h, w), and their pictures."""
    ...


checks.latents_and_back(latents_and_back)

# %% [markdown]
# <details><summary>Hint</summary>The standard deviation is <code>(0.5 * log_var).exp()</code>. The decoder has learned from latents of their own size: undo the scale before it. Latents have no bounds, so nothing is clipped.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def latents_and_back_solution(mean, log_var, scale, decode, generator):
    eps = torch.randn(mean.shape, generator=generator)
    latents = scale * (mean + (0.5 * log_var).exp() * eps)
    return latents, decode(latents / scale)


checks.latents_and_back(latents_and_back_solution).require()

# %% [markdown]
# ### 12.3 Places look at words &nbsp; ●● 15 minutes
#
# `x` `(B, N, D)` are the places of a latent, `words` `(B, L, E)` a sentence's tokens. `mask` `(B, L)` is True where a token may be looked at. With $Q=xW_Q^\top$, $K=\text{words}\,W_K^\top$ and $V=\text{words}\,W_V^\top$, return what each place finds, $\mathrm{softmax}(QK^\top/\sqrt d)\,V$, and the weights `(B, N, L)` themselves. Gradients must flow through both. There is one head; $d$ is the length of a query.


# %%
def look_at_words(x, words, W_q, W_k, W_v, mask):
    """What each place finds (B, N, A), and what it looks at (B, N, L)."""
    ...


checks.look_at_words(look_at_words)

# %% [markdown]
# <details><summary>Hint</summary>Queries come from the places; keys and values come from the words. Hide padding before the softmax: <code>logits.masked_fill(~mask[:, None], -torch.inf)</code>. The weights of a place, over all words, sum to 1.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def look_at_words_solution(x, words, W_q, W_k, W_v, mask):
    q, k, v = x @ W_q.T, words @ W_k.T, words @ W_v.T
    logits = q @ k.mT / q.shape[2] ** 0.5
    weights = logits.masked_fill(~mask[:, None], -torch.inf).softmax(2)
    return weights @ v, weights


checks.look_at_words(look_at_words_solution).require()

# %% [markdown]
# ### 12.4 The nearest entry, and a gradient through it &nbsp; ●● 20 minutes
#
# `z` `(B, C, h, w)` is a latent, `entries` `(K, C)` a codebook $e_1\dots e_K$. Each place takes the entry with the smallest Euclidean distance to its C numbers. Return two things:
#
# 1. these entries `(B, C, h, w)`, for the decoder. Its gradient must go to `z` as if nothing had been rounded, and none of it to `entries` (*straight-through*);
# 2. the loss $\overline{(\mathrm{sg}[z]-e)^2}+\text{commitment}\cdot\overline{(z-\mathrm{sg}[e])^2}$. The bar is the mean over all numbers; $\mathrm{sg}$ is `detach()`.


# %%
def quantize(z, entries, commitment):
    """The nearest entries, with the gradient of z, (B, C, h, w); and the loss of both."""
    ...


checks.quantize(quantize)

# %% [markdown]
# <details><summary>Hint</summary>Move the channels to the end: <code>places = z.movedim(1, -1)</code>. <code>torch.cdist(places.flatten(0, 2), entries)</code> are all distances; <code>argmin(1)</code> the numbers of the nearest. <code>z + (e - z).detach()</code> has the value of e and the gradient of z.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def quantize_solution(z, entries, commitment):
    places = z.movedim(1, -1)  # (B, h, w, C)
    nearest = torch.cdist(places.flatten(0, 2), entries).argmin(1)
    e = entries[nearest].view(places.shape).movedim(-1, 1)
    loss = F.mse_loss(e, z.detach()) + commitment * F.mse_loss(z, e.detach())
    return z + (e - z).detach(), loss


checks.quantize(quantize_solution).require()

# %% [markdown]
# ### 12.5 How much the discriminator counts &nbsp; ●●● 25 minutes
#
# `h` goes into `last`, the decoder's last layer, which gives the reconstruction $\hat x$. `discriminator` answers with logits: high ones mean "a real picture". There are two losses, the misfit $m=\overline{|\hat x-x|}$ and $g=-\overline{D(\hat x)}$ (means). Return the term of the total loss $\text{factor}\cdot\lambda\cdot g$, a scalar, with
#
# $$\lambda=\mathrm{clamp}\Big(\frac{\Vert\nabla_w m\Vert}{\Vert\nabla_w g\Vert+10^{-4}},\,0,\,10^4\Big),$$
#
# where $w$ is `last.weight` alone. $\lambda$ is a number: no gradient flows through it.


# %%
def adversarial_term(h, last, x, discriminator, factor):
    """factor · λ · g, a scalar that carries the gradient of g alone."""
    ...


checks.adversarial_term(adversarial_term)

# %% [markdown]
# <details><summary>Hint</summary><code>torch.autograd.grad(m, last.weight, retain_graph=True)[0]</code> is a gradient that leaves the graph in place for the next one. <code>norm()</code>, <code>clamp(0, 1e4)</code>, <code>detach()</code>.</details>


# %% jupyter={"source_hidden": true} tags=["solution"]
def adversarial_term_solution(h, last, x, discriminator, factor):
    again = last(h)
    misfit, fooled = (again - x).abs().mean(), -discriminator(again).mean()
    by_misfit, by_fooled = (
        torch.autograd.grad(loss, last.weight, retain_graph=True)[0] for loss in (misfit, fooled)
    )
    weight = (by_misfit.norm() / (by_fooled.norm() + 1e-4)).clamp(0, 1e4).detach()
    return factor * weight * fooled


checks.adversarial_term(adversarial_term_solution).require()

# %% [markdown]
# ## 13 · Quiz

# %% jupyter={"source_hidden": true}
quiz.ask(
    "You forget to divide by the scale before decoding. The scale is about 0.2. What do you see?",
    {
        "An error of shapes": "A scale changes no shape. That is why this mistake is not noticed by itself.",
        "Pictures, but poor ones: the decoder gets latents that are five times too small": "The decoder learned from latents of their own size. Times 0.2, they are all near 0: the things are pale and full of dots.",
        "The same pictures": "Only a decoder that does not care about the size of its input would give those.",
    },
    answer="Pictures, but poor ones: the decoder gets latents that are five times too small",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Which latent does the diffusion model of a KL autoencoder learn from?",
    {
        "The posterior's mean": "It is close to a draw where σ is small. But the decoder was trained on draws, and so is the diffusion model (appendix G).",
        "A draw from the posterior, times the scale": "Mean plus σ times noise, and then one factor, so that the latents are about as large as the noise of diffusion.",
        "A draw from N(0, I)": "That is where sampling begins. The KL weight of 1e-6 does not bring the latents there.",
    },
    answer="A draw from the posterior, times the scale",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "The autoencoder of f = 8 blurs small spots. You train its diffusion model four times as long. Do its samples get sharp spots?",
    {
        "Yes: the diffusion model adds the details": "The diffusion model only draws latents. Whatever they are, the decoder has to make the pixels.",
        "Hardly: the decoder has to draw them, and it was trained no further": "The first stage bounds the second. A small f, on the other hand, leaves more for the diffusion model to learn. Which f is best has to be measured.",
        "As sharp as those of f = 4": "No part of the system of f = 8 has seen the other autoencoder.",
    },
    answer="Hardly: the decoder has to draw them, and it was trained no further",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "Rounding to the nearest entry has a gradient of 0 almost everywhere. What does straight-through do about it?",
    {
        "It makes the rounding soft, by a softmax over the entries": "That is another way, and gives another value. Straight-through keeps the rounded value.",
        "It uses the entry's value going forward, and treats rounding as the identity going backward": "z + (e − z).detach() has the value e and the gradient of z. The entries then need a loss of their own.",
        "It trains the encoder without the decoder": "The decoder's gradient is what reaches the encoder this way.",
    },
    answer="It uses the entry's value going forward, and treats rounding as the identity going backward",
)

# %% jupyter={"source_hidden": true}
quiz.ask(
    "A map of cross-attention is bright at the star for the word “moon”. What follows?",
    {
        "The model confuses both words": "One map of one picture proves nothing. What do the maps of many pictures say?",
        "Places of the star look at “moon”; whether that changes the picture, only an intervention shows": "Weights say what is looked at, not what it is used for. Reweight the word, or exchange it, and compare the pictures with the same noise.",
        "The map is wrong": "The weights are the network's own, at its own inputs.",
    },
    answer="Places of the star look at “moon”; whether that changes the picture, only an intervention shows",
)

# %% [markdown]
# ## 14 · Recap
#
# - **Two stages.** An autoencoder makes pictures small; diffusion draws the small ones. With a larger $f$ a U-Net call costs less, and more is lost.
# - **Its losses.** A misfit of pixels and features; KL or a codebook; a discriminator whose weight adapts.
# - **Scale.** Multiply latents by one over the standard deviation of the first batch; divide before decoding; do not clip.
# - **Cross-attention** gives the text a softmax of its own. Held maps keep the place. But words also reach the picture through the padding.
#
# **What the next lesson fixes.** Lesson 13 asks the other way round: which sentences and pictures belong together.
#
# **References**
# - R. Rombach, A. Blattmann, D. Lorenz, P. Esser, B. Ommer: *High-Resolution Image Synthesis with Latent Diffusion Models*, CVPR 2022.
# - P. Esser, R. Rombach, B. Ommer: *Taming Transformers for High-Resolution Image Synthesis* (VQGAN), CVPR 2021.
# - A. van den Oord, O. Vinyals, K. Kavukcuoglu: *Neural Discrete Representation Learning* (VQ-VAE), NeurIPS 2017.
# - R. Zhang et al.: *The Unreasonable Effectiveness of Deep Features as a Perceptual Metric* (LPIPS), CVPR 2018.
# - A. Hertz et al.: *Prompt-to-Prompt Image Editing with Cross Attention Control*, 2022 (ICLR 2023).
