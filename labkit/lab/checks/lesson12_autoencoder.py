"""The checks of lesson 12 on autoencoders: the KL divergence of a latent, and a codebook."""

import math
from functools import partial
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, size, sizes
from labkit.nets.autoencoder import Codebook, Posterior, straight_through
from labkit.systems.autoencoder import codebook_loss

# How far q(z | x) is from N(0, I), in each picture.


def _posterior_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    return Posterior(mean, log_var).kl()


def _sum(each: Tensor) -> Tensor:
    return 0.5 * each.sum((1, 2, 3))


def _each(mean: Tensor, log_var: Tensor) -> Tensor:
    """Twice the KL divergence of each number of the latent."""
    return mean**2 + log_var.exp() - 1 - log_var


def _reversed(mean: Tensor, log_var: Tensor) -> Tensor:
    return _sum((1 + mean**2) / log_var.exp() - 1 + log_var)


def _draw_moments(g: torch.Generator):
    shape = sizes(g, 4)
    mean, noise = torch.randn(2, *shape, generator=g)
    return mean.clone().requires_grad_(), (0.7 * noise - 0.5).requires_grad_()


posterior_kl = Check(
    "posterior_kl",
    reference=_posterior_kl,
    draw_inputs=_draw_moments,
    mistakes={
        "log_var is the logarithm of the variance: σ² = exp(log_var). You took it for that of σ.": [
            lambda mean, log_var: _posterior_kl(mean, 2 * log_var),
            lambda mean, log_var: _sum(mean**2 + (2 * log_var).exp() - 1 - log_var),
        ],
        "You put σ where σ² belongs: exp(log_var) is the variance already, without a root.": [
            lambda mean, log_var: _sum(mean**2 + (0.5 * log_var).exp() - 1 - log_var),
            lambda mean, log_var: _posterior_kl(mean, 0.5 * log_var),
        ],
        "The last term is the logarithm of σ², not of σ: log_var as it is, or twice log σ.": (
            lambda mean, log_var: _sum(mean**2 + log_var.exp() - 1 - 0.5 * log_var)
        ),
        "exp is missing: log_var is the logarithm of the variance, which also stands in the sum by "
        "itself.": lambda mean, log_var: _sum(mean**2 + log_var - 1 - log_var),
        "You take the mean over the numbers of a latent. They are independent, so their KL "
        "divergences add up: the sum.": (
            lambda mean, log_var: 0.5 * _each(mean, log_var).mean((1, 2, 3))
        ),
        "You take the mean over the channels; add them up, too.": (
            lambda mean, log_var: 0.5 * _each(mean, log_var).sum((2, 3)).mean(1)
        ),
        "You take the mean over the places; add them up, too.": (
            lambda mean, log_var: 0.5 * _each(mean, log_var).mean((2, 3)).sum(1)
        ),
        "You return one number for the whole batch; each picture has its own, (B,).": [
            lambda mean, log_var: 0.5 * _each(mean, log_var).sum(),
            lambda mean, log_var: 0.5 * _each(mean, log_var).mean(),
            lambda mean, log_var: _posterior_kl(mean, log_var).mean(),
        ],
        "The places are not added up: sum over the channels, the rows and the columns.": [
            lambda mean, log_var: 0.5 * _each(mean, log_var).sum(1),
            lambda mean, log_var: 0.5 * _each(mean, log_var).sum((2, 3)),
            lambda mean, log_var: 0.5 * _each(mean, log_var),
        ],
        "You add over the pictures, too; the first axis stays.": [
            lambda mean, log_var: 0.5 * _each(mean, log_var).sum((0, 2, 3)),
        ],
        "The sign is turned: a KL divergence is never below 0.": (
            lambda mean, log_var: -_posterior_kl(mean, log_var)
        ),
        "The logarithm has the wrong sign: it is subtracted, so that a small variance costs.": (
            lambda mean, log_var: _sum(mean**2 + log_var.exp() - 1 + log_var)
        ),
        "The factor ½ is missing.": lambda mean, log_var: 2 * _posterior_kl(mean, log_var),
        "The factor ½ belongs to all four terms, not to some of them: put the sum in brackets.": [
            lambda mean, log_var: 2 * _sum(0.5 * mean**2 + log_var.exp() - 1 - log_var),
            lambda mean, log_var: 2 * _sum(0.5 * (mean**2 + log_var.exp()) - 1 - log_var),
            lambda mean, log_var: 2 * _sum(0.5 * (mean**2 + log_var.exp() - 1) - log_var),
        ],
        "You count in bits, by a logarithm to the base 2; the formula counts in nats.": (
            lambda mean, log_var: _posterior_kl(mean, log_var) / math.log(2)
        ),
        "The −1 is missing: for mean 0 and variance 1 there must be 0.": (
            lambda mean, log_var: _sum(mean**2 + log_var.exp() - log_var)
        ),
        "The mean is not squared.": [
            lambda mean, log_var: _sum(mean + log_var.exp() - 1 - log_var),
            lambda mean, log_var: _sum(mean.abs() + log_var.exp() - 1 - log_var),
        ],
        "The mean is left out: far from 0 is far from N(0, I), too.": (
            lambda mean, log_var: _posterior_kl(0 * mean, log_var)
        ),
        "That is the other direction, KL(N(0, I) ‖ q).": _reversed,
    },
    against=Posterior.kl,
)


# The nearest entry of a codebook, and what learns from it.


def _numbers(z: Tensor, entries: Tensor) -> Tensor:
    """Of the nearest entry at each place, (B, h, w)."""
    book = SimpleNamespace(entries=SimpleNamespace(weight=entries))
    return Codebook.nearest(book, z)


def _nearest(z: Tensor, entries: Tensor) -> Tensor:
    return entries[_numbers(z, entries)].movedim(-1, 1)


def _quantize(z: Tensor, entries: Tensor, commitment: float) -> tuple[Tensor, Tensor]:
    e = _nearest(z, entries)
    return straight_through(z, e), codebook_loss(z, e, commitment)


def _with_entries(choose):
    """The right answer with entries (B, C, h, w) that are chosen in another way."""

    def answer(z: Tensor, entries: Tensor, commitment: float):
        e = choose(z, entries)
        return straight_through(z, e), codebook_loss(z, e, commitment)

    return answer


def _scored(z: Tensor, entries: Tensor, score) -> Tensor:
    """The entries with the largest score(places (N, 1, C), entries (K, C)) → (N, K)."""
    places = z.movedim(1, -1)
    best = score(places.reshape(-1, 1, z.shape[1]), entries).argmax(1)
    return entries[best].view(places.shape).movedim(-1, 1)


def _in_memory_s_order(z: Tensor, entries: Tensor) -> Tensor:
    best = torch.cdist(z.reshape(-1, z.shape[1]), entries).argmin(1)
    return entries[best].reshape(z.shape)


def _along_the_row(z: Tensor, entries: Tensor) -> Tensor:
    return entries[torch.cdist(z.flatten(0, 2), entries).argmin(1)].view(z.shape)


def _put_back_in_memory_s_order(z: Tensor, entries: Tensor) -> Tensor:
    return entries[_numbers(z, entries)].reshape(z.shape)


def _channels_last(z: Tensor, entries: Tensor, commitment: float) -> tuple[Tensor, Tensor]:
    places, e = z.movedim(1, -1), entries[_numbers(z, entries)]
    return straight_through(places, e), codebook_loss(places, e, commitment)


def _one_for_all(z: Tensor, entries: Tensor) -> Tensor:
    middles = z.mean((2, 3))  # (B, C)
    e = entries[torch.cdist(middles, entries).argmin(1)]
    return e[:, :, None, None].expand(z.shape)


def _passed_on(pass_on):
    """The right answer with another way from the entries to the decoder."""

    def answer(z: Tensor, entries: Tensor, commitment: float):
        e = _nearest(z, entries)
        return pass_on(z, e), codebook_loss(z, e, commitment)

    return answer


def _taught(loss):
    """The right answer with another loss(z, e, commitment)."""

    def answer(z: Tensor, entries: Tensor, commitment: float):
        e = _nearest(z, entries)
        return straight_through(z, e), loss(z, e, commitment)

    return answer


def _terms(z: Tensor, e: Tensor, to_entries: float, to_z: float, reduction="mean") -> Tensor:
    far = partial(F.mse_loss, reduction=reduction)
    return to_entries * far(e, z.detach()) + to_z * far(z, e.detach())


def _draw_codebook(g: torch.Generator):
    B, C, h, w = sizes(g, 4, 2, 5)
    entries = torch.randn(size(g, 5, 9), C, generator=g)
    z = torch.randn(B, C, h, w, generator=g)
    return z.requires_grad_(), entries.requires_grad_(), between(0.2, 0.8, g)


quantize = Check(
    "quantize",
    reference=_quantize,
    draw_inputs=_draw_codebook,
    mistakes={
        "You cut the latents into pieces of C numbers as they lie in memory, which are numbers of "
        "one channel. The C channels of a place belong together: z.movedim(1, -1) first.": (
            _with_entries(_in_memory_s_order)
        ),
        "The numbers of each entry are last, and you put them into z's shape as they lie in "
        "memory. Move the channels back: .view(B, h, w, C), then .movedim(-1, 1).": (
            _with_entries(_put_back_in_memory_s_order)
        ),
        "The channels are still last, (B, h, w, C). Move them back, .movedim(-1, 1): the decoder "
        "reads (B, C, h, w).": [
            _channels_last,
            _with_entries(lambda z, entries: entries[_numbers(z, entries)]),
        ],
        "The distance runs along the last axis, which is a row of the latent; the axis of the "
        "channels is 1.": _with_entries(_along_the_row),
        "You choose one entry for a whole picture; each place has its own.": (
            _with_entries(_one_for_all)
        ),
        "You take the farthest entry.": _with_entries(
            partial(_scored, score=lambda places, entries: (places - entries).norm(dim=2))
        ),
        "You take the entry with the largest dot product, so that long entries win; asked for is "
        "the nearest.": _with_entries(
            partial(_scored, score=lambda places, entries: (places * entries).sum(2))
        ),
        "You compare directions by the cosine; asked for is the nearest entry.": _with_entries(
            partial(
                _scored,
                score=lambda places, entries: F.cosine_similarity(places, entries, dim=2),
            )
        ),
        "You add up the absolute differences; near is what has a small sum of squares.": (
            _with_entries(
                partial(_scored, score=lambda places, entries: -(places - entries).abs().sum(2))
            )
        ),
        "You add up the differences without squares: those above and below cancel.": _with_entries(
            partial(_scored, score=lambda places, entries: -(places - entries).sum(2).abs())
        ),
        "You return z itself: it is e + (z − e). The other way round: z + (e − z).detach().": (
            _passed_on(lambda z, e: e + (z - e).detach())
        ),
        "No gradient flows through the entries to z, so the decoder cannot teach the encoder: "
        "z + (e − z).detach().": _passed_on(lambda z, e: e.detach()),
        "The decoder's gradient goes to the codebook, and not to z: entries[numbers] alone is no "
        "straight-through. z + (e − z).detach().": _passed_on(lambda z, e: e),
        "The decoder's gradient goes to z, but to the codebook as well: all of (e − z) has to be "
        "detached.": _passed_on(lambda z, e: z + e - z.detach()),
        "The commitment is the weight of the other term: the entries move to z with weight 1, z to "
        "the entries with the commitment.": _taught(lambda z, e, c: _terms(z, e, c, 1.0)),
        "No side of the two terms is held fixed (sg), so that both move in each of them.": (
            _taught(lambda z, e, c: (1 + c) * F.mse_loss(z, e))
        ),
        "In both terms the entries are held fixed: the codebook never learns.": (
            _taught(lambda z, e, c: (1 + c) * F.mse_loss(z, e.detach()))
        ),
        "In both terms z is held fixed: the encoder is not bound to its entries.": (
            _taught(lambda z, e, c: (1 + c) * F.mse_loss(e, z.detach()))
        ),
        "The first term is missing, so that the codebook never learns.": (
            _taught(lambda z, e, c: _terms(z, e, 0.0, c))
        ),
        "The second term is missing, so that the encoder is not bound to its entries.": (
            _taught(lambda z, e, c: _terms(z, e, 1.0, 0.0))
        ),
        "Both terms have weight 1; the second one has the commitment.": (
            _taught(lambda z, e, c: _terms(z, e, 1.0, 1.0))
        ),
        "Your loss is a sum; it is the mean of the squares over all numbers.": (
            _taught(lambda z, e, c: _terms(z, e, 1.0, c, reduction="sum"))
        ),
        "Your loss is a distance, with a root; it is the mean of the squares.": (
            _taught(lambda z, e, c: _terms(z, e, 1.0, c).sqrt())
        ),
    },
    against=straight_through,
)
