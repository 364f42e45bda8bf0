"""The ancestral step with a learned variance against diffusers' scheduler, `learned_range`.

Its tables are replaced by float64 ones, so that the formulas are compared; its times are ours
minus one.
"""

import pytest
import torch

from labkit import likelihood, schedule
from labkit.denoiser import Denoiser, MapX0, clip
from labkit.sampler import ddpm, sample

diffusers = pytest.importorskip("diffusers")


def network(x, t, cond=None):
    """A fixed, bounded, nonlinear function: eps in the first channels, the variance in the last."""
    time = t.view(-1, 1, 1, 1).double() / 1000
    eps = torch.tanh(1.3 * x + time) + 0.3 * torch.sin(3 * x)
    return torch.cat([eps, torch.sin(2 * x + 5 * time)], dim=1)  # (B, 2C, H, W)


def theirs_of(n, clipped):
    theirs = diffusers.DDPMScheduler(
        1000, 1e-4, 0.02, "linear", variance_type="learned_range", clip_sample=clipped
    )
    theirs.set_timesteps(n)
    theirs.betas = schedule.linear().beta[1:]
    theirs.alphas = 1 - theirs.betas
    theirs.alphas_cumprod = torch.cumprod(theirs.alphas, 0)
    theirs.one = torch.tensor(1.0, dtype=torch.float64)
    return theirs


@pytest.mark.parametrize("clipped", [False, True])
@pytest.mark.parametrize("n", [7, 50, 1000])
def test_a_whole_walk_with_learned_variance_is_that_of_diffusers(n, clipped):
    denoiser = Denoiser(network, schedule.linear(), learned_variance=True)
    denoise = MapX0(denoiser, clip) if clipped else denoiser
    theirs = theirs_of(n, clipped)
    start = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).double()

    x, generator = start, torch.Generator().manual_seed(1)
    for t in theirs.timesteps:
        out = network(x, torch.full((2,), int(t) + 1))
        x = theirs.step(out, t, x, generator=generator).prev_sample

    times = [int(t) + 1 for t in theirs.timesteps] + [0]
    generator = torch.Generator().manual_seed(1)
    for state in sample(denoise, start, times, step=ddpm, generator=generator):
        ours = state.x
    assert (ours - x).abs().max() < 1e-5 * max(1, x.abs().max())


@pytest.mark.parametrize("t", [2, 3, 500, 1000])
def test_the_bound_uses_the_very_variance_that_the_sampler_draws_with(t):
    denoiser = Denoiser(network, schedule.linear(), learned_variance=True)
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).double()
    raw = network(x, torch.full((2,), t))[:, 3:]
    expected = theirs_of(1000, False)._get_variance(t - 1, predicted_variance=raw)
    got = likelihood.log_variance(denoiser.schedule, x, t, denoiser(x, t))
    assert torch.allclose(got, expected, atol=1e-9)
