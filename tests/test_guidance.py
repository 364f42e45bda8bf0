"""Guidance on mixtures, where the exact classifier and the exact condition are both known."""

from functools import partial

import pytest
import torch
from torch import nn

from labkit import schedule
from labkit.conditioning import Conditioning
from labkit.denoiser import MapX0, Prediction, clip, from_eps
from labkit.guidance import ClassifierFree, ScoreGuidance, gradient, mean_shift, of_x0
from labkit.mixture import GaussianMixture
from labkit.sampler import ddim, ddpm, sample

LINEAR = schedule.linear()
MIXTURE = GaussianMixture([[-1.0, 0.0], [1.0, 0.3], [0.0, 1.0]], [0.3, 0.2, 0.4], [1, 1, 2])
DENOISE = MIXTURE.denoiser(LINEAR)
NULL = Conditioning(vector=torch.ones(1, 3))
SECOND = Conditioning(vector=torch.eye(3)[1:2])


def log_prob(x, t):
    """The exact log p(second component | x_t)."""
    return MIXTURE.diffused(LINEAR, t).log_joint(x).log_softmax(1)[:, 1]


def noise(n=256, seed=0):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("n", [10, 50])
def test_the_exact_classifier_guides_to_the_conditional_samples(eta, n):
    ends = []
    for denoise, cond in ((ScoreGuidance(DENOISE, log_prob), None), (DENOISE, SECOND)):
        states = sample(
            denoise, noise(), LINEAR.timesteps(n), cond, partial(ddim, eta=eta),
            torch.Generator().manual_seed(1),
        )  # fmt: skip
        *_, end = states
        ends.append(end.x)
    torch.testing.assert_close(*ends, atol=1e-6, rtol=0)


def test_guided_eps_is_the_conditional_eps_at_every_time():
    for t in (1, 10, 300, 1000):
        x = noise(seed=t)
        guided = ScoreGuidance(DENOISE, log_prob)(x, t).eps
        torch.testing.assert_close(guided, DENOISE(x, t, SECOND).eps, atol=1e-10, rtol=1e-10)


def test_scale_one_is_conditional_and_zero_unconditional_bit_for_bit():
    x = noise()
    for scale, cond in ((1.0, SECOND), (0.0, NULL)):
        guided, plain = ClassifierFree(DENOISE, NULL, scale)(x, 300, SECOND), DENOISE(x, 300, cond)
        assert torch.equal(guided.eps, plain.eps)
        assert torch.equal(guided.x0, plain.x0)


@pytest.mark.parametrize("w", [-1.5, -0.5, 0.5, 1.0, 3.0])
def test_the_paper_s_w_is_scale_minus_one(w):
    x = noise()
    eps_c, eps_u = DENOISE(x, 300, SECOND).eps, DENOISE(x, 300, NULL).eps
    guided = ClassifierFree(DENOISE, NULL, scale=1 + w)(x, 300, SECOND)
    torch.testing.assert_close(guided.eps, (1 + w) * eps_c - w * eps_u, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(LINEAR.diffuse(guided.x0, 300, guided.eps), x)


def test_classifier_free_guidance_is_classifier_guidance_with_the_implicit_classifier():
    x = noise()
    for scale in (0.5, 2.0, 5.0):
        free = ClassifierFree(DENOISE, NULL, scale)(x, 200, SECOND)
        classifier = ScoreGuidance(DENOISE, log_prob, scale)(x, 200)
        torch.testing.assert_close(free.eps, classifier.eps, rtol=1e-8, atol=1e-8)


def test_guidance_on_a_conditional_model_needs_one_less():
    x = noise()
    a = ScoreGuidance(DENOISE, log_prob, scale=3.0)(x, 200)
    b = ScoreGuidance(DENOISE, log_prob, scale=2.0)(x, 200, SECOND)
    torch.testing.assert_close(a.eps, b.eps, rtol=1e-9, atol=1e-9)


def test_more_guidance_pushes_further_from_the_other_class_and_narrows():
    two = GaussianMixture([[-0.7], [0.7]], 0.5)
    denoise, null = two.denoiser(LINEAR), Conditioning(vector=torch.ones(1, 2))
    right = Conditioning(vector=torch.eye(2)[1:])
    expected = {0: (0.706, 0.483), 0.5: (0.839, 0.422), 1: (0.921, 0.398), 3: (1.090, 0.375)}
    for w, (mean, std) in expected.items():
        guided = ClassifierFree(denoise, null, 1 + w)
        x = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(0)).double()
        states = sample(guided, x, LINEAR.timesteps(200), right, ddpm,
                        torch.Generator().manual_seed(1))  # fmt: skip
        *_, end = states
        assert end.x.mean().item() == pytest.approx(mean, abs=0.02)
        assert end.x.std().item() == pytest.approx(std, abs=0.015)


def test_both_conditions_go_through_the_network_as_one_batch():
    calls = []

    def spy(x, t, cond):
        calls.append((len(x), cond.vector[:, 1].tolist()))
        return DENOISE(x, t, cond)

    spy.schedule = LINEAR
    ClassifierFree(spy, NULL, 2.0)(noise(2), 300, Conditioning(vector=torch.eye(3)[[0, 0]]))
    assert calls == [(4, [0.0, 0.0, 1.0, 1.0])]


def test_a_learned_variance_stays_the_conditional_one():
    def denoise(x, t, cond):
        return Prediction(x, x, cond.vector[:, :1].expand_as(x))

    denoise.schedule = LINEAR
    null, cond = (Conditioning(vector=torch.full((1, 2), value)) for value in (0.1, 0.9))
    guided = ClassifierFree(denoise, null, 3.0)(noise(4).float(), 100, cond)
    assert torch.equal(guided.var_frac, torch.full((4, 2), 0.9))


def test_wrappers_nest_in_any_order():
    x = 2 * noise()
    inner = MapX0(ClassifierFree(ScoreGuidance(DENOISE, log_prob, 0.5), NULL, 2.0), clip)
    outer = ScoreGuidance(ClassifierFree(MapX0(DENOISE, clip), NULL, 2.0), log_prob, 0.5)
    assert inner(x, 300, SECOND).x0.abs().max() <= 1
    for denoise in (inner, outer):
        *_, end = sample(denoise, x, LINEAR.timesteps(10), SECOND)
        assert end.x.isfinite().all()


def test_each_row_s_gradient_is_its_own():
    x = noise(8)
    together = ScoreGuidance(DENOISE, log_prob, 2.0)(x, 300).eps
    alone = torch.cat([ScoreGuidance(DENOISE, log_prob, 2.0)(row[None], 300).eps for row in x])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (lambda x, t: log_prob(x, t).sum(), "one number per row"),
        (lambda x, t: x, "one number per row"),
        (lambda x, t: 3.0, "one number per row"),
        (lambda x, t: log_prob(x, t).detach(), "without a gradient"),
        (lambda x, t: log_prob(x, t).argmax().expand(len(x)), "without a gradient"),
        (lambda x, t: nn.Linear(2, 1).double()(x.detach())[:, 0], "without a gradient"),
    ],
)
def test_a_log_prob_that_cannot_guide_is_named(bad, sentence):
    with pytest.raises(ValueError, match=sentence):
        ScoreGuidance(DENOISE, bad)(noise(4), 300)


def test_every_row_may_have_its_own_scale():
    x = noise(3)
    scales = torch.tensor([0.0, 1.0, 4.0])
    together = ClassifierFree(DENOISE, NULL, scales)(x, 300, SECOND).eps
    classifier = ScoreGuidance(DENOISE, log_prob, scales)(x, 300).eps
    for row, scale in enumerate(scales.tolist()):
        alone = ClassifierFree(DENOISE, NULL, scale)(x[row : row + 1], 300, SECOND).eps
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-9, atol=1e-9)
        alone = ScoreGuidance(DENOISE, log_prob, scale)(x[row : row + 1], 300).eps
        torch.testing.assert_close(classifier[row : row + 1], alone, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="3 rows, but the batch has 4"):
        ClassifierFree(DENOISE, NULL, scales)(noise(4), 300, SECOND)


def test_algorithm_1_moves_the_mean_by_sigma_times_the_gradient():
    x, scale = noise(16), 2.5
    pred = DENOISE(x, 500)
    guided, plain = (
        mean_shift(LINEAR, pred, x, 500, 499, torch.Generator().manual_seed(0), log_prob=log_prob,
                   scale=factor, v=1.0)
        for factor in (scale, 0.0)
    )  # fmt: skip
    shift = scale * LINEAR.beta[500] * gradient(log_prob, x, 500)
    torch.testing.assert_close(guided - plain, shift, rtol=1e-9, atol=1e-12)
    same = ddpm(LINEAR, pred, x, 500, 499, torch.Generator().manual_seed(0), v=1.0)
    torch.testing.assert_close(plain, same, rtol=1e-12, atol=1e-12)


def test_the_shift_of_eps_moves_the_mean_by_beta_over_root_alpha():
    x, t = noise(16), 500
    guided, plain = ScoreGuidance(DENOISE, log_prob, 2.0)(x, t), DENOISE(x, t)
    means = [LINEAR.posterior(pred.x0, x, t, t - 1)[0] for pred in (guided, plain)]
    beta = LINEAR.beta[t]
    expected = 2.0 * beta / (1 - beta).sqrt() * gradient(log_prob, x, t)
    torch.testing.assert_close(means[0] - means[1], expected, rtol=1e-8, atol=1e-10)


def test_the_two_algorithms_agree_over_a_thousand_steps_and_part_over_ten():
    def end(n, guided):
        step = partial(ddpm, v=1.0)
        denoise = ScoreGuidance(DENOISE, log_prob, 1.0)
        if not guided:
            denoise, step = DENOISE, partial(mean_shift, log_prob=log_prob, scale=1.0, v=1.0)
        states = sample(denoise, noise(200), LINEAR.timesteps(n), step=step,
                        generator=torch.Generator().manual_seed(5))  # fmt: skip
        *_, last = states
        return last.x

    gaps = [(end(n, True) - end(n, False)).abs().mean().item() for n in (10, 1000)]
    assert gaps[1] < 0.001
    assert gaps[0] > 20 * gaps[1]


def test_the_last_step_of_algorithm_1_is_the_guess_itself():
    x = noise(4)
    pred = DENOISE(x, 1)
    end = mean_shift(LINEAR, pred, x, 1, 0, log_prob=log_prob, scale=3.0, v=1.0)
    torch.testing.assert_close(end, pred.x0, rtol=0, atol=1e-12)


def test_a_scale_may_come_as_a_tensor_of_one_number():
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    number, tensor = (
        mean_shift(LINEAR, from_eps(LINEAR, x, 5, x), x, 5, 3, torch.Generator().manual_seed(0),
                   log_prob=lambda x, t: -x.square().sum(1), scale=scale)
        for scale in (2.0, torch.tensor(2.0))
    )  # fmt: skip
    assert torch.equal(number, tensor)


def covariance(x, t):
    """Cov[x0 | x_t] of the mixture, (B, 2, 2): within the components, and between their means."""
    noisy, alpha_bar = MIXTURE.diffused(LINEAR, t), LINEAR.alpha_bar[t]
    share = noisy.posterior(x)[:, :, None]  # (B, 3, 1)
    gain = alpha_bar.sqrt() * MIXTURE.std**2 / noisy.std**2
    means = MIXTURE.means + gain[:, None] * (x[:, None] - noisy.means)  # (B, 3, 2)
    apart = means - (share * means).sum(1, keepdim=True)
    within = (share[..., 0] * MIXTURE.std**2 * (1 - alpha_bar) / noisy.std**2).sum(1)
    return within[:, None, None] * torch.eye(2).double() + (share * apart).mT @ apart


@pytest.mark.parametrize("t", [1, 100, 300, 900])
def test_a_score_of_x0_is_followed_through_the_denoiser_by_the_posterior_s_covariance(t):
    """∇_x F(E[x0 | x]) = √ᾱ/(1−ᾱ) Cov[x0 | x] ∇F: the second-order form of Tweedie's formula."""
    x, way, alpha_bar = noise(seed=t), torch.tensor([0.6, -1.1]).double(), LINEAR.alpha_bar[t]
    pull = gradient(of_x0(DENOISE, lambda x0: (x0 @ way).sin()), x, t)
    slope = (DENOISE(x, t).x0 @ way).cos()[:, None] * way
    expected = alpha_bar.sqrt() / (1 - alpha_bar) * (covariance(x, t) @ slope[..., None])[..., 0]
    torch.testing.assert_close(pull, expected, rtol=1e-6, atol=1e-9)


def test_a_sighting_judged_by_x0_pulls_harder_by_the_variance_that_it_forgets():
    """One Gaussian and y = x0 + τ ξ: log p(y | x_t) has the variance v + τ², that of x0 only τ²."""
    one = GaussianMixture([[0.5, -0.2]], 0.4)
    denoise, y, blur, t = one.denoiser(LINEAR), torch.tensor([1.0, 1.0]).double(), 0.3, 400
    alpha_bar, noisy = LINEAR.alpha_bar[t], one.diffused(LINEAR, t)
    left = (0.4**2 * (1 - alpha_bar) / noisy.std**2).item()

    def seen(variance):
        return lambda x0: -(x0 - y).square().sum(1) / (2 * variance)

    x = noise()
    forgetful, exact = (
        gradient(of_x0(denoise, seen(variance)), x, t) for variance in (blur**2, left + blur**2)
    )
    torch.testing.assert_close(forgetful, exact * (left + blur**2) / blur**2)


def test_a_score_of_x0_hears_the_condition_and_guides_any_sampler():
    x, way = noise(8), torch.tensor([1.0, 0.0]).double()
    told = of_x0(DENOISE, lambda x0: x0 @ way, SECOND)
    torch.testing.assert_close(told(x, 300), DENOISE(x, 300, SECOND).x0 @ way)
    steered = ScoreGuidance(DENOISE, of_x0(DENOISE, lambda x0: x0 @ way), 20.0)
    *_, far = sample(steered, x, LINEAR.timesteps(20), step=ddim)
    *_, free = sample(DENOISE, x, LINEAR.timesteps(20), step=ddim)
    assert far.x[:, 0].mean() > free.x[:, 0].mean()
