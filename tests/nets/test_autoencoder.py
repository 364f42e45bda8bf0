"""The autoencoders and the patch discriminator: sizes, the posterior, the codebook, bad input."""

import json
from dataclasses import asdict, replace

import pytest
import torch

from labkit.nets.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    Codebook,
    Posterior,
    straight_through,
)
from labkit.nets.discriminator import PatchDiscriminator

TINY = AutoencoderConfig(size=16, width=8, multipliers=(1, 2), blocks=1, groups=4, latent=3)


def made(config: AutoencoderConfig) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(config).eval()


def pictures(count: int = 2, size: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_stable_diffusion_s_autoencoder_has_as_many_parameters_as_the_released_one():
    with torch.device("meta"):
        weights = sum(weight.numel() for weight in Autoencoder(AutoencoderConfig()).parameters())
    assert weights == 83_653_863


@pytest.mark.parametrize("codebook", [None, 10])
@pytest.mark.parametrize(
    ("f", "multipliers", "fold"),
    [(2, (1, 1), 1), (2, (1,), 2), (4, (1, 1, 2), 1), (4, (1, 2), 2), (8, (1, 1, 1, 2), 1)],
)
def test_a_latent_has_one_fth_of_the_side_and_pictures_come_back_in_their_size(
    f, multipliers, fold, codebook
):
    net = made(replace(TINY, multipliers=multipliers, fold=fold, codebook=codebook))
    assert net.config.f == f and net.config.latent_shape == (3, 16 // f, 16 // f)
    z = net.encode(pictures())
    assert z.shape == (2, 3, 16 // f, 16 // f)
    assert net.decode(z).shape == (2, 3, 16, 16)


def test_every_pixel_reaches_the_latent_and_every_latent_the_picture():
    net = made(replace(TINY, fold=2))
    for weight in net.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    x = pictures().requires_grad_()
    z = net.posterior(x).mean
    (by_pixel,) = torch.autograd.grad(z.square().sum(), x)
    assert (by_pixel != 0).all()
    z = z.detach().requires_grad_()
    (by_latent,) = torch.autograd.grad(net.decode(z).square().sum(), z)
    assert (by_latent != 0).all()


def test_the_divergence_from_the_standard_normal_has_its_closed_form():
    zero = torch.zeros(2, 3, 4, 4)
    assert torch.equal(Posterior(zero, zero).kl(), torch.zeros(2))
    assert torch.equal(Posterior(zero + 1, zero).kl(), torch.full((2,), 0.5 * 48))
    mean, log_var = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    torch_says = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, (0.5 * log_var).exp()), torch.distributions.Normal(0, 1)
    ).sum((1, 2, 3))
    torch.testing.assert_close(Posterior(mean, log_var).kl(), torch_says)


def test_a_draw_has_the_mean_and_the_spread_of_the_posterior_and_the_seed_repeats_it():
    posterior = Posterior(torch.full((1, 1, 200, 200), 3.0), torch.full((1, 1, 200, 200), 1.0))
    first, again, other = (
        posterior.sample(torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert abs(first.mean() - 3) < 0.03 and abs(first.std() - torch.tensor(0.5).exp()) < 0.02


def test_what_is_encoded_is_a_draw_and_the_log_variance_stays_in_its_bounds():
    net = made(TINY)
    draws = [net.encode(pictures(), torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    assert not torch.equal(*draws)
    with torch.no_grad():
        net.quant_conv.bias.fill_(100.0)
    assert net.posterior(pictures()).log_var.max() == 20


def test_each_place_takes_the_nearest_entry():
    book = Codebook(3, 2)
    with torch.no_grad():
        book.entries.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]))
    z = torch.tensor([[0.4, 0.6], [0.1, 1.9]]).T.view(1, 2, 1, 2)
    assert book.nearest(z).tolist() == [[[0, 2]]]
    z = torch.tensor([[0.6, 0.1]]).view(1, 2, 1, 1)
    assert book(z).flatten().tolist() == [1.0, 0.0]


def test_entries_begin_between_plus_and_minus_one_over_their_number():
    weights = Codebook(50, 40).entries.weight
    assert weights.abs().max() <= 1 / 50 and weights.std() > 0.5 / 50


def test_entries_of_the_size_of_latents_are_used_from_the_beginning():
    used = []
    for std in (None, 1.0):
        net = made(replace(TINY, codebook=100, entries_std=std))
        z = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(2))
        used.append(net.codebook.nearest(z).unique().numel())
    assert used[1] > 2 * used[0]
    assert abs(net.codebook.entries.weight.std() - 1) < 0.1


def test_the_gradient_goes_straight_through_the_codebook():
    z = torch.randn(2, 3, 4, 4, requires_grad=True)
    entries = torch.randn(2, 3, 4, 4)
    out = straight_through(z, entries)
    torch.testing.assert_close(out, entries)
    out.backward(towards := torch.randn(2, 3, 4, 4))
    assert torch.equal(z.grad, towards)


def test_with_a_codebook_what_is_encoded_is_not_yet_rounded_and_decoding_begins_with_that():
    net = made(replace(TINY, codebook=5))
    z = net.encode(pictures())
    assert torch.equal(z, net.moments(pictures())) and not torch.equal(z, net.codebook(z))
    assert torch.equal(net.decode(z), net.expand(net.codebook(z)))
    assert torch.equal(net.decode(z), net.decode(net.codebook(z)))
    with pytest.raises(ValueError, match="no posterior"):
        net.posterior(pictures())


def test_a_configuration_comes_back_from_json():
    config = replace(TINY, codebook=7, fold=2)
    assert AutoencoderConfig(**json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": 18}, "1/2 of it|1/4 of it"),
        ({"multipliers": ()}, "at least one level"),
        ({"groups": 5}, "5 groups"),
        ({"latent": 0}, "latent is 0"),
        ({"codebook": 1}, "codebook is 1"),
        ({"entries_std": -1.0}, "entries_std is -1"),
        ({"fold": 0}, "fold is 0"),
    ],
)
def test_what_cannot_be_built_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        replace(TINY, **{"multipliers": (1, 2, 2)} | change)


def test_pictures_and_latents_of_another_shape_or_kind_get_a_sentence():
    net = made(TINY)
    with pytest.raises(ValueError, match=r"\(B, 3, 16, 16\)"):
        net.encode(pictures(size=32))
    latent = r"pictures of 16 pixels from 1/2 of their side, takes \(B, 3, 8, 8\)"
    for z in (torch.zeros(2, 4, 8, 8), torch.zeros(2, 3, 4, 4), torch.zeros(3, 8, 8)):
        with pytest.raises(ValueError, match=latent):
            net.decode(z)
    with pytest.raises(ValueError, match="float64"):
        net.decode(torch.zeros(2, 3, 8, 8, dtype=torch.float64))
    with pytest.raises(ValueError, match="torch tensor"):
        net.decode([1, 2])


def test_the_discriminator_s_logits_see_seventy_pixels_each():
    judge = PatchDiscriminator().eval()
    x = torch.zeros(1, 3, 256, 256, requires_grad=True)
    logits = judge(x)
    assert logits.shape == (1, 1, 30, 30)
    (seen,) = torch.autograd.grad(logits[0, 0, 15, 15], x)
    rows = seen.abs().sum((0, 1, 3)).nonzero()
    assert rows.max() - rows.min() + 1 == 70
    assert sum(weight.numel() for weight in judge.parameters()) == 2_765_633
