"""Guidance on mixtures, where the exact classifier and the exact condition are both known."""

from functools import partial

import pytest
import torch

from labkit import schedule
from labkit.conditioning import Conditioning
from labkit.denoiser import MapX0, Prediction, clip
from labkit.guidance import ClassifierFree, ScoreGuidance
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
    ],
)
def test_a_log_prob_that_cannot_guide_is_named(bad, sentence):
    with pytest.raises(ValueError, match=sentence):
        ScoreGuidance(DENOISE, bad)(noise(4), 300)
