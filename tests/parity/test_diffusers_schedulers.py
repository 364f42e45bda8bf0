"""Our schedules and steps against those of an independent library, diffusers.

It keeps its tables in float32; they are replaced by float64 ones here, so that what is compared is
the formulas. Its times are ours minus one.
"""

from functools import partial

import pytest
import torch

from labkit import schedule
from labkit.denoiser import READ, MapX0, clip
from labkit.sampler import ddim, ddpm, sample

diffusers = pytest.importorskip("diffusers")

COUNTS = [7, 37, 50, 1000]
NAMES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}


class Reader:
    """A fixed, bounded, nonlinear function in the network's place."""

    def __init__(self, made, predicts="eps"):
        self.schedule, self.predicts = made, predicts

    def net(self, x, t):
        return torch.tanh(1.3 * x + 0.001 * t) + 0.3 * torch.sin(3 * x)

    def __call__(self, x, t, cond=None):
        return READ[self.predicts](self.schedule, x, t, self.net(x, t))


def in_float64(theirs, n):
    theirs.set_timesteps(n)
    theirs.betas = schedule.linear().beta[1:]
    theirs.alphas = 1 - theirs.betas
    theirs.alphas_cumprod = torch.cumprod(theirs.alphas, 0)
    theirs.one = theirs.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    return theirs


def compare(theirs, denoise, step, **options):
    generators = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    reader = denoise.denoise if isinstance(denoise, MapX0) else denoise
    times = [int(t) + 1 for t in theirs.timesteps] + [0]
    for state in sample(denoise, x, times, step=step, generator=generators[0]):
        t = times[times.index(state.t) - 1]
        out = reader.net(x, t)
        x = theirs.step(out, t - 1, x, generator=generators[1], **options).prev_sample
        torch.testing.assert_close(state.x, x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_ddim_takes_the_same_path(n, eta, predicts):
    theirs = diffusers.DDIMScheduler(
        clip_sample=False, prediction_type=NAMES[predicts], set_alpha_to_one=True
    )
    denoise = Reader(schedule.linear(), predicts)
    compare(in_float64(theirs, n), denoise, partial(ddim, eta=eta), eta=eta)


@pytest.mark.parametrize("n", COUNTS)
def test_ddim_takes_the_same_path_when_x0_is_clipped(n):
    theirs = diffusers.DDIMScheduler(clip_sample=True)
    denoise = MapX0(Reader(schedule.linear()), clip)
    compare(in_float64(theirs, n), denoise, ddim, use_clipped_model_output=True)


@pytest.mark.parametrize("n", COUNTS)
@pytest.mark.parametrize(("v", "name"), [(0.0, "fixed_small"), (1.0, "fixed_large")])
@pytest.mark.parametrize("clipped", [False, True])
def test_ddpm_takes_the_same_path(n, v, name, clipped):
    theirs = diffusers.DDPMScheduler(variance_type=name, clip_sample=clipped)
    reader = Reader(schedule.linear())
    compare(in_float64(theirs, n), MapX0(reader, clip) if clipped else reader, partial(ddpm, v=v))


@pytest.mark.parametrize(
    ("ours", "name", "options"),
    [
        (schedule.linear(), "linear", {}),
        (schedule.cosine(), "squaredcos_cap_v2", {}),
        (schedule.scaled_linear(), "scaled_linear", {"beta_start": 0.00085, "beta_end": 0.012}),
    ],
    ids=["linear", "cosine", "scaled linear"],
)
def test_schedules_and_the_jump_agree(ours, name, options):
    theirs = diffusers.DDPMScheduler(beta_schedule=name, **options)
    torch.testing.assert_close(ours.alpha_bar[1:].float(), theirs.alphas_cumprod, atol=1e-5, rtol=0)
    x0, eps = torch.randn(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([1, 400, 1000])
    torch.testing.assert_close(
        ours.diffuse(x0, t, eps), theirs.add_noise(x0, eps, t - 1), atol=1e-5, rtol=0
    )
