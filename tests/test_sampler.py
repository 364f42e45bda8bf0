"""Samplers on data whose law is known exactly."""

from functools import partial

import pytest
import torch

from labkit import schedule
from labkit.denoiser import MapX0, clip
from labkit.mixture import GaussianMixture
from labkit.sampler import State, ddim, ddpm, from_noise, invert, sample

LINEAR = schedule.linear()
TWO = GaussianMixture([[-0.7], [0.7]], 0.1)


def last(states):
    *_, state = states
    return state


def noise(n, seed=0):
    return torch.randn(n, 1, generator=torch.Generator().manual_seed(seed)).double()


def wasserstein(x, mixture):
    """W₁ between equally many draws, by sorting."""
    true, _ = mixture.sample(len(x), torch.Generator().manual_seed(99))
    return (x.sort(0).values - true.sort(0).values).abs().mean().item()


@pytest.mark.parametrize(
    ("n", "gain"),
    [(5, 0.22504), (10, 0.36161), (20, 0.43045), (50, 0.47192), (100, 0.48585), (1000, 0.49850)],
)
def test_ddim_on_one_gaussian_has_the_exact_gain(n, gain):
    denoise = GaussianMixture([[0.0]], 0.5).denoiser(LINEAR)
    end = last(sample(denoise, torch.ones(1, 1).double(), LINEAR.timesteps(n), step=ddim))
    assert end.x.item() == pytest.approx(gain, abs=1e-5)


STEPS = {
    "eta 0": (ddim, [0.095, 0.032, 0.017]),
    "eta 1": (partial(ddim, eta=1.0), [0.114, 0.039, 0.024]),
    "sigma hat": (partial(ddpm, v=1.0), [0.215, 0.085, 0.025]),
}


@pytest.mark.parametrize("name", STEPS)
def test_few_steps_miss_the_mixture_by_the_calibrated_distance(name):
    step, expected = STEPS[name]
    for n, distance in zip((10, 20, 50), expected, strict=True):
        generator = torch.Generator().manual_seed(1)
        states = sample(
            TWO.denoiser(LINEAR), noise(20_000), LINEAR.timesteps(n), step=step, generator=generator
        )
        assert wasserstein(last(states).x, TWO) == pytest.approx(distance, abs=0.012)


@pytest.mark.parametrize("step", [ddpm, partial(ddpm, v=1.0), ddim, partial(ddim, eta=1.0)])
def test_all_thousand_steps_reach_the_true_law(step):
    generator = torch.Generator().manual_seed(2)
    states = sample(
        TWO.denoiser(LINEAR), noise(10_000), LINEAR.timesteps(1000), step=step, generator=generator
    )
    assert wasserstein(last(states).x, TWO) < 0.025  # two true samples differ by about 0.01


@pytest.mark.parametrize(
    "space", [schedule.uniform_spacing, schedule.trailing_spacing, schedule.quadratic_spacing]
)
@pytest.mark.parametrize("n", [1, 7, 50])
def test_eta_one_is_the_ancestral_step_on_any_subset_of_times(space, n):
    denoise, times = TWO.denoiser(LINEAR), LINEAR.timesteps(n, space)
    runs = [
        list(
            sample(denoise, noise(64), times, step=step, generator=torch.Generator().manual_seed(3))
        )
        for step in (ddpm, partial(ddim, eta=1.0))
    ]
    for a, b in zip(*runs, strict=True):
        torch.testing.assert_close(a.x, b.x, rtol=1e-9, atol=1e-9)


def test_eta_one_is_the_ancestral_step_with_a_clipped_x0_too():
    denoise = MapX0(GaussianMixture([[0.9], [-0.9]], 0.3).denoiser(LINEAR), clip)
    runs = [
        last(
            sample(denoise, noise(64), LINEAR.timesteps(20), step=step,
                   generator=torch.Generator().manual_seed(3))
        ).x
        for step in (ddpm, partial(ddim, eta=1.0))
    ]  # fmt: skip
    torch.testing.assert_close(*runs, rtol=1e-9, atol=1e-9)


def test_a_single_point_is_found_exactly_by_every_deterministic_path():
    point = torch.tensor([[0.3, -0.8]])
    denoise = GaussianMixture(point).denoiser(LINEAR)
    for n in (1, 3, 50):
        end = last(sample(denoise, torch.randn(5, 2).double(), LINEAR.timesteps(n), step=ddim))
        torch.testing.assert_close(end.x, point.double().expand(5, 2), atol=1e-7, rtol=0)


def test_the_last_step_adds_no_noise():
    denoise, times = TWO.denoiser(LINEAR), [5, 0]
    for step in (ddpm, partial(ddpm, v=1.0), partial(ddim, eta=1.0)):
        end = last(sample(denoise, noise(8), times, step=step))
        torch.testing.assert_close(end.x, end.x0, rtol=0, atol=1e-9)


def test_inversion_and_back_is_closer_the_more_steps():
    x0, _ = TWO.sample(5000, torch.Generator().manual_seed(0))
    denoise, errors = TWO.denoiser(LINEAR), []
    for n in (10, 50, 100, 1000):
        times = LINEAR.timesteps(n)
        code = last(invert(denoise, x0, times))
        assert code.t == 1000
        again = last(sample(denoise, code.x, times, step=ddim)).x
        errors.append((again - x0).square().mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == pytest.approx(9.4e-3, rel=0.15)
    assert errors[-1] == pytest.approx(7.5e-6, rel=0.15)


def test_the_ddim_step_is_euler_s_step_of_the_ode():
    denoise, x = TWO.denoiser(LINEAR), noise(32)
    for t, s in ((1000, 900), (500, 499), (3, 0)):
        pred = denoise(x, t)
        at = LINEAR.alpha_bar
        width_t, width_s = (((1 - at[i]) / at[i]).sqrt() for i in (t, s))
        euler = (x / at[t].sqrt() + (width_s - width_t) * pred.eps) * at[s].sqrt()
        torch.testing.assert_close(ddim(LINEAR, pred, x, t, s), euler, rtol=1e-9, atol=1e-9)


def test_a_learned_variance_takes_the_place_of_v():
    x = noise(20_000)
    pred = TWO.denoiser(LINEAR)(x, 500)
    for v in (0.0, 0.4, 1.0):
        learned = pred._replace(var_frac=torch.full_like(x, v))
        a, b = (
            ddpm(LINEAR, p, x, 500, 400, torch.Generator().manual_seed(0), v=w)
            for p, w in ((learned, 0.5), (pred, v))
        )
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_the_two_variances_are_the_posterior_s_and_the_noising_step_s():
    x = torch.zeros(200_000, 1, dtype=torch.float64)
    pred = TWO.denoiser(LINEAR)(x, 500)
    small = LINEAR.posterior(x, x, 500, 499)[1].item()
    for v, variance in ((0.0, small), (1.0, LINEAR.beta[500].item())):
        drawn = ddpm(LINEAR, pred, x, 500, 499, torch.Generator().manual_seed(0), v=v)
        assert drawn.var().item() == pytest.approx(variance, rel=0.02)


def test_the_same_seed_gives_the_same_pictures():
    def run(seed):
        generator = torch.Generator().manual_seed(seed)
        return last(sample(TWO.denoiser(LINEAR), noise(16), [1000, 500, 0], generator=generator)).x

    assert torch.equal(run(0), run(0))
    assert not torch.equal(run(0), run(1))


def test_sampling_leaves_the_watcher_s_gradients_alone():
    for _ in sample(TWO.denoiser(LINEAR), noise(2), LINEAR.timesteps(3)):
        assert torch.is_grad_enabled()


def test_bad_times_are_met_at_the_call_and_not_at_the_first_step():
    for times in ([], [5], [5, 5], [0, 5], [1001, 0], [2.5, 0], None, "no"):
        with pytest.raises(ValueError, match="time"):
            sample(TWO.denoiser(LINEAR), noise(2), times)


def test_a_state_shows_pictures_whatever_the_system_samples():
    x0 = torch.full((2, 1, 4, 4), 3.0)
    assert State(0, x0, x0).pictures.max() == 1
    latent = State(5, x0, x0 / 6, stage="base", decode=lambda z: z.repeat(1, 3, 2, 2) - 1)
    assert latent.pictures.shape == (2, 3, 8, 8) and latent.pictures.unique().tolist() == [-0.5]


def test_a_misspelt_option_of_the_step_is_named_at_the_call():
    denoise = GaussianMixture([[0.0]], 1.0).denoiser(schedule.linear())
    with pytest.raises(ValueError, match="unknown option of the step 'etta'.*did you mean 'eta'"):
        from_noise(denoise, (2, 1), 3, etta=0.5)
    with pytest.raises(ValueError, match="unknown option of the step 'guidance_scale'"):
        from_noise(denoise, (2, 1), 3, step=ddpm, guidance_scale=3.0)


def test_a_step_of_one_s_own_may_take_any_option():
    seen = {}

    def mine(schedule, pred, x, t, s, generator, **options):
        seen.update(options)
        return x

    denoise = GaussianMixture([[0.0]], 1.0).denoiser(schedule.linear())
    list(from_noise(denoise, (2, 1), 2, step=mine, eta=1.0, twist=3))
    assert seen == {"eta": 1.0, "twist": 3}
