"""The checks of lesson 12 pass what is right, however it is written, and name what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.distributions import Normal, kl_divergence

from labkit.lab import checks
from labkit.lab.checks import sentences
from tests.lab.check_soundness import assert_check_is_sound


def kl_by_torch(mean, log_var):
    q, p = Normal(mean, (log_var / 2).exp()), Normal(torch.zeros(()), torch.ones(()))
    return kl_divergence(q, p).flatten(1).sum(1)


def kl_by_std(mean, log_var):
    std = torch.exp(log_var / 2)
    rows = [0.5 * (m**2 + s**2 - 1).sum() - s.log().sum() for m, s in zip(mean, std, strict=True)]
    return torch.stack(rows)


def quantize_by_squares(z, entries, commitment):
    places = z.permute(0, 2, 3, 1)
    far = (places.unsqueeze(-2) - entries).square().sum(-1)  # (B, h, w, K)
    e = F.embedding(far.argmin(-1), entries).permute(0, 3, 1, 2)
    loss = (z.detach() - e).square().mean() + commitment * (z - e.detach()).square().mean()
    return z - z.detach() + e.detach(), loss


def quantize_by_one_hot(z, entries, commitment):
    B, C, h, w = z.shape
    flat = z.detach().transpose(0, 1).reshape(C, -1)  # (C, B h w)
    far = entries.detach().square().sum(1, keepdim=True) - 2 * entries.detach() @ flat
    chosen = F.one_hot(far.argmin(0), len(entries)).to(z.dtype)
    e = (chosen @ entries).reshape(B, h, w, C).permute(0, 3, 1, 2)
    losses = F.mse_loss(e, z.detach()), F.mse_loss(z, e.detach())
    return z + (e - z).detach(), losses[0] + commitment * losses[1]


def latents_by_steps(mean, log_var, scale, decode, generator):
    eps = torch.randn(mean.shape, generator=generator)
    latents = (mean + torch.sqrt(log_var.exp()) * eps).mul(scale)
    return latents, decode(latents / scale)


def latents_by_normal(mean, log_var, scale, decode, generator):
    z = torch.normal(mean, (log_var / 2).exp(), generator=generator)
    return scale * z, decode(z)


def look_by_torch(x, words, W_q, W_k, W_v, mask):
    q, k, v = F.linear(x, W_q), F.linear(words, W_k), F.linear(words, W_v)
    logits = torch.einsum("bnd,bld->bnl", q, k) / q.shape[-1] ** 0.5
    logits = logits + torch.where(mask, 0.0, -torch.inf)[:, None]
    weights = torch.softmax(logits, dim=-1)
    return torch.bmm(weights, v), weights


def look_by_exp(x, words, W_q, W_k, W_v, mask):
    logits = (x @ W_q.T / len(W_q) ** 0.5) @ (words @ W_k.T).transpose(1, 2)
    share = logits.exp() * mask[:, None]
    weights = share / share.sum(2, keepdim=True)
    return weights @ (words @ W_v.T), weights


def term_by_hand(h, last, x, judge, factor):
    again = last(h)
    misfit, fooled = F.l1_loss(again, x), -judge(again).mean()
    norms = [
        torch.autograd.grad(each, last.weight, retain_graph=True)[0].square().sum().sqrt()
        for each in (misfit, fooled)
    ]
    return fooled * min(norms[0].item() / (norms[1].item() + 1e-4), 1e4) * factor


def term_with_a_graph(h, last, x, judge, factor):
    again = last(h)
    misfit, fooled = (again - x).abs().mean(), judge(again).mean().neg()
    one, two = (
        torch.autograd.grad(each, last.weight, create_graph=True)[0].norm()
        for each in (misfit, fooled)
    )
    return factor * torch.clamp(one / (two + 1e-4), max=1e4).detach() * fooled


def quantize_with(back):
    """The lesson's way, with another way from the entries (N, C) of all places to z's shape."""

    def wrong(z, entries, commitment):
        places = z.movedim(1, -1)
        e = back(entries[torch.cdist(places.flatten(0, 2), entries).argmin(1)], z, places)
        passed = z + (e - z).detach()
        return passed, F.mse_loss(e, z.detach()) + commitment * F.mse_loss(z, e.detach())

    return wrong


def quantize_with_channels_last(z, entries, commitment):
    places = z.permute(0, 2, 3, 1)
    far = (places.unsqueeze(-2) - entries).square().sum(-1)
    e = F.embedding(far.argmin(-1), entries)
    loss = (places.detach() - e).square().mean() + commitment * (places - e.detach()).pow(2).mean()
    return places + (e - places).detach(), loss


def look_with_hidden(hide_words=False):
    def wrong(x, words, W_q, W_k, W_v, mask):
        words = words.masked_fill(~mask.unsqueeze(-1), 0.0) if hide_words else words
        v = F.linear(words, W_v) * mask.unsqueeze(-1)
        logits = torch.einsum("bnd,bld->bnl", F.linear(x, W_q), F.linear(words, W_k))
        weights = F.softmax(logits / len(W_q) ** 0.5, dim=-1)
        return torch.bmm(weights, v), weights

    return wrong


def kl_by_formula(formula):
    return lambda mean, log_var: formula(mean, log_var).flatten(1).sum(1)


def term_with_misfit(far):
    def wrong(h, last, x, judge, factor):
        again = last(h)
        losses = far(again, x), -judge(again).mean()
        one, two = (
            torch.autograd.grad(each, last.weight, retain_graph=True)[0].norm() for each in losses
        )
        return factor * (one / (two + 1e-4)).clamp(0, 1e4).detach() * losses[1]

    return wrong


ALL_FOUR = "½ belongs to all four terms"
NATURAL = [
    ("quantize", quantize_with(lambda e, z, places: e.reshape(z.shape)), "into z's shape as they"),
    ("quantize", quantize_with(lambda e, z, places: e.view(places.shape)), "still last"),
    ("quantize", quantize_with_channels_last, "still last"),
    ("look_at_words", look_with_hidden(), "The mask hides the values"),
    ("look_at_words", look_with_hidden(hide_words=True), "The mask hides the values"),
    ("posterior_kl", kl_by_formula(lambda m, v: m**2 / 2 + v.exp() - 1 - v), ALL_FOUR),
    ("posterior_kl", kl_by_formula(lambda m, v: (m**2 + v.exp()) / 2 - 1 - v), ALL_FOUR),
    ("posterior_kl", kl_by_formula(lambda m, v: (m**2 + v.exp() - 1) / 2 - v), ALL_FOUR),
    ("posterior_kl", lambda m, v: kl_by_torch(m, v) / m.shape[1], "the mean over the channels"),
    ("posterior_kl", lambda m, v: kl_by_torch(m, v) / m[0, 0].numel(), "mean over the places"),
    ("posterior_kl", lambda m, v: kl_by_std(m, v) * math.log2(math.e), "in bits"),
    ("adversarial_term", term_with_misfit(lambda a, b: (a - b).pow(2).mean()), "squared"),
    ("adversarial_term", term_with_misfit(lambda a, b: (a - b).abs().sum()), "add up the misfit"),
]


@pytest.mark.parametrize(("name", "wrong", "words"), NATURAL)
def test_a_natural_mistake_is_named_each_time(name, wrong, words):
    for _ in range(5):
        assert words in getattr(checks, name)(wrong).mistake


RIGHT = {
    "posterior_kl": [kl_by_torch, kl_by_std],
    "quantize": [quantize_by_squares, quantize_by_one_hot],
    "latents_and_back": [latents_by_steps, latents_by_normal],
    "look_at_words": [look_by_torch, look_by_exp],
    "adversarial_term": [term_by_hand, term_with_a_graph],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_check_passes_what_is_right_and_names_each_known_mistake(name):
    assert_check_is_sound(getattr(checks, name), RIGHT[name], times=2)


def test_a_draw_that_is_not_the_generator_s_is_named():
    def own(mean, log_var, scale, decode, generator):
        return latents_by_steps(mean, log_var, scale, decode, None)

    def always_the_same(mean, log_var, scale, decode, generator):
        return latents_by_steps(mean, log_var, scale, decode, torch.Generator().manual_seed(1))

    assert checks.latents_and_back(own).mistake == sentences.OWN_GENERATOR
    assert checks.latents_and_back(always_the_same).mistake == sentences.SAME_NOISE


def test_the_noise_of_one_picture_does_not_do_for_all():
    def shared(mean, log_var, scale, decode, generator):
        z = mean + (0.5 * log_var).exp() * torch.randn(mean.shape[1:], generator=generator)
        return scale * z, decode(z)

    assert not checks.latents_and_back(shared)


def test_a_codebook_of_a_fixed_size_and_a_fixed_commitment_are_not_enough():
    def fixed(z, entries, commitment):
        return quantize_by_squares(z, entries, 0.25)

    def first_five(z, entries, commitment):
        return quantize_by_squares(z, entries[:5], commitment)

    assert not checks.quantize(fixed) and not checks.quantize(first_five)


def test_a_gradient_that_goes_wrong_is_named_though_all_numbers_are_right():
    def blocked(z, entries, commitment):
        _, loss = quantize_by_squares(z, entries, commitment)
        far = (z.movedim(1, -1).unsqueeze(-2) - entries).norm(dim=-1)
        return entries[far.argmin(-1)].movedim(-1, 1).detach(), loss

    assert checks.quantize(blocked).mistake.startswith("No gradient flows through the entries")

    def moving(h, last, x, judge, factor):
        again = last(h)
        losses = (again - x).abs().mean(), -judge(again).mean()
        one, two = (
            torch.autograd.grad(each, last.weight, create_graph=True)[0].norm() for each in losses
        )
        return factor * (one / (two + 1e-4)).clamp(0, 1e4) * losses[1]

    assert checks.adversarial_term(moving).mistake.startswith("λ carries a gradient itself")


def test_the_kl_divergence_of_the_exercise_is_0_for_the_standard_normal_and_half_for_mean_1():
    zero = torch.zeros(1, 2, 3, 3)
    assert checks.posterior_kl.reference(zero, zero).item() == 0
    assert checks.posterior_kl.reference(zero + 1, zero).item() == 9
