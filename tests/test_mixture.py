"""Mixtures against automatic differentiation, Monte Carlo and single-component closed forms."""

import torch

from labkit import schedule
from labkit.conditioning import Conditioning
from labkit.mixture import GaussianMixture

MIXTURE = GaussianMixture([[-1.0, 0.5], [1.0, 0.0], [0.0, 2.0]], [0.2, 0.5, 0.3], [1, 2, 1])


def draws(n=200, seed=0):
    return 2 * torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)).double()


def test_the_score_is_the_gradient_of_log_prob():
    x = draws().requires_grad_(True)
    (gradient,) = torch.autograd.grad(MIXTURE.log_prob(x).sum(), x)
    torch.testing.assert_close(MIXTURE.score(x.detach()), gradient, rtol=1e-10, atol=1e-10)


def test_the_density_integrates_to_one():
    axis = torch.linspace(-5, 6, 400, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    total = MIXTURE.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    torch.testing.assert_close(total, torch.ones_like(total), rtol=1e-6, atol=0)


def test_samples_have_the_mixture_s_moments():
    x, k = MIXTURE.sample(100_000, torch.Generator().manual_seed(0))
    torch.testing.assert_close(x.mean(0), MIXTURE.weights @ MIXTURE.means, atol=0.015, rtol=0)
    share = torch.bincount(k).double() / len(k)
    torch.testing.assert_close(share, MIXTURE.weights, atol=0.01, rtol=0)


def test_the_posterior_is_bayes_rule():
    x = draws()
    parts = [
        weight * GaussianMixture(mean[None], std).log_prob(x).exp()
        for mean, std, weight in zip(
            MIXTURE.means, MIXTURE.std.tolist(), MIXTURE.weights, strict=True
        )
    ]
    together = torch.stack(parts, 1)
    expected = together / together.sum(1, keepdim=True)
    torch.testing.assert_close(MIXTURE.posterior(x), expected, atol=1e-12, rtol=0)


def test_the_exact_eps_is_the_score_of_the_diffused_mixture():
    made = schedule.linear()
    for t in (1, 100, 500, 1000):
        x = draws()
        eps = MIXTURE.denoiser(made)(x, t).eps
        score = MIXTURE.diffused(made, t).score(x)
        expected = -(1 - made.alpha_bar[t]).sqrt() * score
        torch.testing.assert_close(eps, expected, rtol=1e-8, atol=1e-8)


def test_x0_and_eps_agree_about_x():
    made, x = schedule.cosine(), draws()
    pred = MIXTURE.denoiser(made)(x, 300)
    torch.testing.assert_close(made.diffuse(pred.x0, 300, pred.eps), x, rtol=1e-12, atol=1e-12)


def test_the_exact_denoiser_beats_any_change_to_it():
    made, generator = schedule.linear(), torch.Generator().manual_seed(0)
    x0, _ = MIXTURE.sample(50_000, generator)
    x = made.diffuse(x0, 250, torch.randn(x0.shape, generator=generator).double())
    best = MIXTURE.denoiser(made)(x, 250).x0
    error = (best - x0).square().mean()
    for other in (best * 1.03, best + 0.03, 0.95 * best + 0.05 * x):
        assert (other - x0).square().mean() > error


def test_an_all_ones_condition_is_the_null_and_one_hot_is_the_component():
    made, x = schedule.linear(), draws()
    denoise = MIXTURE.denoiser(made)
    plain = denoise(x, 400)
    null = denoise(x, 400, Conditioning(vector=torch.ones(1, 3)))
    torch.testing.assert_close(null.x0, plain.x0, rtol=1e-12, atol=1e-12)
    one = denoise(x, 400, Conditioning(vector=torch.eye(3)[1:2]))
    alone = GaussianMixture(MIXTURE.means[1:2], MIXTURE.std[1:2]).denoiser(made)(x, 400)
    torch.testing.assert_close(one.x0, alone.x0, rtol=1e-12, atol=1e-12)


def test_a_data_set_of_points_is_a_mixture_without_width():
    made, points = schedule.cosine(), torch.randn(5, 1, 2, 2)
    denoise = GaussianMixture(points.flatten(1)).denoiser(made)
    pred = denoise(made.diffuse(points, 1, torch.randn_like(points)), 1)
    torch.testing.assert_close(pred.x0, points, atol=1e-5, rtol=0)
