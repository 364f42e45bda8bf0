"""The autoencoders against those of diffusers, with the same weights: Stable Diffusion's form and
small ones of every f."""

from dataclasses import replace

import pytest
import torch

from labkit.hub.diffusers import as_today, autoencoder_names
from labkit.hub.files import translated
from labkit.nets.autoencoder import Autoencoder, AutoencoderConfig, straight_through
from labkit.systems.autoencoder import codebook_loss
from tests.parity.test_blocks import drawn

diffusers = pytest.importorskip("diffusers")

SMALL = AutoencoderConfig(size=16, width=16, multipliers=(1, 2), blocks=1, groups=8, latent=3)
CONFIGS = {
    "f = 2": SMALL,
    "f = 4, two blocks a level": replace(SMALL, multipliers=(1, 2, 2), blocks=2),
    "f = 8, as Stable Diffusion's": replace(
        SMALL, size=32, multipliers=(1, 2, 4, 4), blocks=2, latent=4
    ),
    "no attention": replace(SMALL, attention=False),
}


def theirs(config: AutoencoderConfig) -> torch.nn.Module:
    """The diffusers model of that configuration, every parameter drawn at random."""
    options = {"num_vq_embeddings": config.codebook} if config.codebook else {}
    kind = diffusers.VQModel if config.codebook else diffusers.AutoencoderKL
    levels = len(config.multipliers)
    return drawn(
        kind(
            block_out_channels=tuple(config.level_widths),
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            layers_per_block=config.blocks,
            latent_channels=config.latent,
            norm_num_groups=config.groups,
            mid_block_add_attention=config.attention,
            **options,
        )
    )


def both(config: AutoencoderConfig) -> tuple[Autoencoder, torch.nn.Module]:
    torch.manual_seed(0)
    their, ours = theirs(config), Autoencoder(config).eval()
    names = autoencoder_names(ours)
    ours.load_state_dict(translated(as_today(their.state_dict()), names, ours, "theirs"))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in their.parameters())
    return ours, their


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    assert expected.std() > 0.1
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("name", CONFIGS)
def test_a_kl_autoencoder_gives_the_moments_and_the_pictures_of_diffusers(name):
    config = CONFIGS[name]
    ours, their = both(config)
    x = torch.rand(2, 3, config.size, config.size) * 2 - 1
    posterior, expected = ours.posterior(x), their.encode(x).latent_dist
    close(posterior.mean, expected.mean)
    close(posterior.log_var, expected.logvar)
    close(posterior.kl(), expected.kl())
    z = torch.randn(2, *config.latent_shape)
    close(ours.decode(z), their.decode(z).sample)


@torch.no_grad()
@pytest.mark.parametrize("name", CONFIGS)
def test_a_vq_autoencoder_gives_the_latents_and_the_pictures_of_diffusers(name):
    config = replace(CONFIGS[name], codebook=32)
    ours, their = both(config)
    x = torch.rand(2, 3, config.size, config.size) * 2 - 1
    z = ours.encode(x)
    close(z, their.encode(x).latents)
    close(ours.decode(z), their.decode(z).sample)


def test_the_codebook_s_entries_loss_and_gradients_are_those_of_diffusers():
    ours, their = both(replace(SMALL, codebook=32))
    their.quantize.legacy = False
    z = torch.randn(2, 3, 4, 4, requires_grad=True)
    far = torch.randn(2, 3, 4, 4)
    entries, loss, (_, _, numbers) = their.quantize(z)
    (loss + (far * entries).sum()).backward()
    expected = z.grad.clone(), their.quantize.embedding.weight.grad
    z.grad = None
    nearest = ours.codebook(z)
    assert torch.equal(ours.codebook.nearest(z).flatten(), numbers)
    own = codebook_loss(z, nearest, commitment=0.25)
    (own + (far * straight_through(z, nearest)).sum()).backward()
    torch.testing.assert_close(own, loss)
    torch.testing.assert_close(z.grad, expected[0])
    torch.testing.assert_close(ours.codebook.entries.weight.grad, expected[1])


@torch.no_grad()
def test_files_of_earlier_versions_name_attention_otherwise():
    ours, their = both(SMALL)
    earlier = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = {}
    for name, tensor in their.state_dict().items():
        for today, before in earlier.items():
            name = name.replace(f".{today}.", f".{before}.")
        tensors[name] = tensor
    assert any(".proj_attn." in name for name in tensors)
    again = translated(as_today(tensors), autoencoder_names(ours), ours, "theirs")
    assert all(torch.equal(again[name], own) for name, own in ours.state_dict().items())
