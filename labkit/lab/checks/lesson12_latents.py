"""The checks of lesson 12 on latent diffusion: latents as large as noise, and places that look at
words."""

from types import SimpleNamespace

import torch
from torch import Tensor, nn

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, is_odd, size, sizes
from labkit.nets.attention import attend
from labkit.nets.autoencoder import Posterior
from labkit.systems.ldm import LDM

# From the posterior to what is diffused, and back to pictures.


def _latents_and_back(mean, log_var, scale, decode, generator) -> tuple[Tensor, Tensor]:
    posterior = Posterior(mean, log_var)
    pixels = SimpleNamespace(encode=lambda _, g: posterior.sample(g), decode=decode)
    system = SimpleNamespace(scale=scale, autoencoder=pixels, check_measured=lambda: None)
    z = LDM.latents(system, None, generator)
    return z, LDM.decode(system, z)


def _noise(mean: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(mean.shape, generator=generator)


def _drawn(mean: Tensor, log_var: Tensor, generator: torch.Generator) -> Tensor:
    return mean + (0.5 * log_var).exp() * _noise(mean, generator)


def _from(draw):
    """The answer with latents that are drawn in another way."""

    def answer(mean, log_var, scale, decode, generator):
        z = draw(mean, log_var, generator)
        return scale * z, decode(z)

    return answer


def _ways(change):
    """The answer with other ways there and back: change(z, scale) → both."""

    def answer(mean, log_var, scale, decode, generator):
        latents, back = change(_drawn(mean, log_var, generator), scale)
        return latents, decode(back)

    return answer


def _mean_decoded(mean, log_var, scale, decode, generator):
    return scale * _drawn(mean, log_var, generator), decode(mean)


def _scaled_in_part(mean, log_var, scale, decode, generator):
    std = (0.5 * log_var).exp() * _noise(mean, generator)
    return mean + scale * std, decode((mean + scale * std) / scale)


def _mean_scaled(mean, log_var, scale, decode, generator):
    std = (0.5 * log_var).exp() * _noise(mean, generator)
    return scale * mean + std, decode((scale * mean + std) / scale)


def _drawn_twice(mean, log_var, scale, decode, generator):
    z = scale * _drawn(mean, log_var, generator)
    return z, decode(_drawn(mean, log_var, generator))


def _pictures_clipped(mean, log_var, scale, decode, generator):
    z, pictures = _latents_and_back(mean, log_var, scale, decode, generator)
    return z, pictures.clamp(-1, 1)


def _draw_posterior(g: torch.Generator):
    """Latents in turn too small and too large; a decoder of one convolution, which goes beyond
    [−1, 1] now and then, as a real one may."""
    B, C, h, w = sizes(g, 4)
    mean, noise = torch.randn(2, B, C, h, w, generator=g)
    scale = between(0.2, 0.5, g) if is_odd(g) else between(2.0, 5.0, g)
    decode = nn.utils.skip_init(nn.Conv2d, C, size(g, 1, 4), 1).requires_grad_(False)
    for part in decode.parameters():
        part.copy_(torch.randn(part.shape, generator=g))
    return (
        2 * mean / scale,
        0.5 * noise - 1,
        scale,
        decode,
        torch.Generator().manual_seed(g.initial_seed()),
    )


latents_and_back = Check(
    "latents_and_back",
    reference=_latents_and_back,
    draw_inputs=_draw_posterior,
    samples=1000,  # noise that pictures share shows in how they vary together
    mistakes={
        "You take the posterior's mean; what is diffused is a draw from it.": _from(
            lambda mean, log_var, generator: mean
        ),
        "You multiply the noise by the variance: the standard deviation is exp(½ log_var).": _from(
            lambda mean, log_var, g: mean + log_var.exp() * _noise(mean, g)
        ),
        "You multiply the noise by log_var itself: the standard deviation is exp(½ log_var).": [
            _from(lambda mean, log_var, g: mean + log_var * _noise(mean, g)),
            _from(lambda mean, log_var, g: mean + 0.5 * log_var * _noise(mean, g)),
        ],
        "The noise is not multiplied by the standard deviation.": _from(
            lambda mean, log_var, g: mean + _noise(mean, g)
        ),
        "Your noise is uniform: torch.rand draws from 0 … 1, torch.randn from N(0, 1).": _from(
            lambda mean, log_var, g: (
                mean + (0.5 * log_var).exp() * torch.rand(mean.shape, generator=g)
            )
        ),
        "The latents are not multiplied by the scale, so that they are not as large as noise.": [
            _ways(lambda z, scale: (z, z)),
            _ways(lambda z, scale: (z, z / scale)),
        ],
        "You do not divide by the scale before decoding: the decoder never saw latents of that "
        "size.": _ways(lambda z, scale: (scale * z, scale * z)),
        "You multiply by the scale a second time before decoding; divide by it.": _ways(
            lambda z, scale: (scale * z, scale**2 * z)
        ),
        "The scale is turned round: multiply by it to diffuse, divide by it to decode.": [
            _ways(lambda z, scale: (z / scale, z)),
            _ways(lambda z, scale: (z / scale, z / scale)),
        ],
        "You clip the latents, which have no bounds: only pictures lie in [−1, 1].": [
            _ways(lambda z, scale: ((scale * z).clamp(-1, 1), (scale * z).clamp(-1, 1) / scale)),
            _ways(lambda z, scale: (scale * z, (scale * z).clamp(-1, 1) / scale)),
            _ways(lambda z, scale: (scale * z, z.clamp(-1, 1))),
        ],
        "You clip the pictures here; asked for is what the decoder says.": _pictures_clipped,
        "You decode the mean; decode the latents that were drawn.": _mean_decoded,
        "You draw a second time to decode; decode the latents that were drawn.": _drawn_twice,
        "Only the noise is multiplied by the scale; the mean belongs to the latent, too.": (
            _scaled_in_part
        ),
        "Only the mean is multiplied by the scale; the noise belongs to the latent, too.": (
            _mean_scaled
        ),
    },
    against=LDM.latents,
)


# The places of a latent look at words.


def _look_at_words(x, words, W_q, W_k, W_v, mask) -> tuple[Tensor, Tensor]:
    q, k, v = x @ W_q.T, words @ W_k.T, words @ W_v.T
    found, weights = attend(q, k, v, 1, mask[:, None, None], weights=True)
    return found, weights[:, 0]


def _logits(x: Tensor, words: Tensor, W_q: Tensor, W_k: Tensor) -> Tensor:
    """Of every place and word, not yet divided: (B, N, L)."""
    return (x @ W_q.T) @ (words @ W_k.T).mT


def _scaled(x: Tensor, words: Tensor, W_q: Tensor, W_k: Tensor) -> Tensor:
    return _logits(x, words, W_q, W_k) / len(W_q) ** 0.5


def _hidden(logits: Tensor, mask: Tensor, by: float = -torch.inf) -> Tensor:
    return logits.masked_fill(~mask[:, None], by)


def _by_weights(weigh):
    """The answer with other weights: weigh(x, words, W_q, W_k, mask) → (B, N, L)."""

    def answer(x, words, W_q, W_k, W_v, mask):
        weights = weigh(x, words, W_q, W_k, mask)
        return weights @ (words @ W_v.T), weights

    return answer


def _values_of_places(x, words, W_q, W_k, W_v, mask):
    weights = _hidden(_scaled(x, words, W_q, W_k), mask).softmax(2)
    return weights @ (x @ W_v.T), weights


def _keys_of_places(x, words, W_q, W_k, W_v, mask):
    weights = _hidden(_scaled(x, x, W_q, W_k), mask).softmax(2)
    return weights @ (words @ W_v.T), weights


def _words_look(x, words, W_q, W_k, W_v, mask):
    weights = _scaled(words, x, W_q, W_k).softmax(2)
    return weights @ (x @ W_v.T), weights


def _values_hidden(x, words, W_q, W_k, W_v, mask):
    weights = _scaled(x, words, W_q, W_k).softmax(2)
    return weights @ (mask[..., None] * (words @ W_v.T)), weights


def _words_hidden(x, words, W_q, W_k, W_v, mask):
    words = mask[..., None] * words
    weights = _scaled(x, words, W_q, W_k).softmax(2)
    return weights @ (words @ W_v.T), weights


def _draw_attention(g: torch.Generator):
    """Places and words; of each sentence some words are padding, and one at least is not."""
    B, N, L, D, E, A = sizes(g, 6, 3, 8)
    x, words = torch.randn(B, N, D, generator=g), torch.randn(B, L, E, generator=g)
    W_q, W_k = (0.7 * torch.randn(A, width, generator=g) for width in (D, E))
    W_v = torch.randn(A if is_odd(g) else size(g, 2, 6), E, generator=g)
    lengths = torch.randint(1, L, (B,), generator=g)
    lengths[0] = L - 1
    mask = torch.arange(L) < lengths[:, None]
    return *(part.requires_grad_() for part in (x, words, W_q, W_k, W_v)), mask


look_at_words = Check(
    "look_at_words",
    reference=_look_at_words,
    draw_inputs=_draw_attention,
    mistakes={
        "The factor 1/√d is missing.": _by_weights(
            lambda *given: _hidden(_logits(*given[:4]), given[4]).softmax(2)
        ),
        "You divide by d; divide by its root.": _by_weights(
            lambda x, words, W_q, W_k, mask: _hidden(
                _logits(x, words, W_q, W_k) / len(W_q), mask
            ).softmax(2)
        ),
        "You multiply by √d; divide by it.": _by_weights(
            lambda x, words, W_q, W_k, mask: _hidden(
                _logits(x, words, W_q, W_k) * len(W_q) ** 0.5, mask
            ).softmax(2)
        ),
        "Your d is not the length of a query: d is q.shape[-1], which is len(W_q).": [
            _by_weights(
                lambda x, words, W_q, W_k, mask: _hidden(
                    _logits(x, words, W_q, W_k) / x.shape[2] ** 0.5, mask
                ).softmax(2)
            ),
            _by_weights(
                lambda x, words, W_q, W_k, mask: _hidden(
                    _logits(x, words, W_q, W_k) / words.shape[2] ** 0.5, mask
                ).softmax(2)
            ),
        ],
        "The softmax runs over the places; what each place gives to all words has to sum to 1, the "
        "last dimension.": _by_weights(
            lambda *given: _hidden(_scaled(*given[:4]), given[4], -1e30).softmax(1)
        ),
        "The values come from the places; what a place finds are the values of the words.": (
            _values_of_places
        ),
        "The keys come from the places, which then look at each other: self-attention.": (
            _keys_of_places
        ),
        "The words look at the places; the queries come from the places.": _words_look,
        "The mask is ignored: the places look at padding.": _by_weights(
            lambda *given: _scaled(*given[:4]).softmax(2)
        ),
        "The mask is turned round: True is a word, which may be looked at.": _by_weights(
            lambda *given: _hidden(_scaled(*given[:4]), ~given[4]).softmax(2)
        ),
        "The weights of padding are set to 0 after the softmax, so that the others sum to less "
        "than 1: hide it before, with −inf.": _by_weights(
            lambda *given: _scaled(*given[:4]).softmax(2) * given[4][:, None]
        ),
        "The mask hides the values of padding (or its words) and not the logits, so that padding "
        "still gets weight: hide the logits with −inf.": [
            _values_hidden,
            _words_hidden,
        ],
        "The logits of padding are 0, which a softmax gives weight: hide it with −inf.": (
            _by_weights(lambda *given: _hidden(_scaled(*given[:4]), given[4], 0.0).softmax(2))
        ),
        "There is no softmax: the products themselves are no weights.": _by_weights(
            lambda *given: _hidden(_scaled(*given[:4]), given[4], 0.0)
        ),
        "Keys and values have changed places.": lambda x, words, W_q, W_k, W_v, mask: (
            _look_at_words(x, words, W_q, W_v, W_k, mask)
        ),
    },
    against=attend,
)
