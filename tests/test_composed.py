"""Several conditions at once, against closed forms on a Gaussian mixture."""

import pytest
import torch

from labkit import schedule
from labkit.conditioning import Conditioning
from labkit.denoiser import from_eps
from labkit.guidance import ClassifierFree, Composed

SCHEDULE = schedule.cosine(100)
NULL = Conditioning(vector=torch.zeros(1, 2))
ONE, TWO = (Conditioning(vector=row[None]) for row in torch.eye(2))
X = torch.randn(4, 1, 3, 3, generator=torch.Generator().manual_seed(0))


class Product:
    """p(x | a, b) ∝ N(x; 0, 1) exp(2 a x) exp(3 b x) at t = 0: both conditions are independent
    given x, which is when composing is exact."""

    schedule = SCHEDULE

    def __init__(self):
        self.calls = []

    def __call__(self, x, t, cond=None):
        self.calls.append(len(x))
        mean = (cond.vector * torch.tensor([2.0, 3.0])).sum(1).view(-1, 1, 1, 1)  # of N(mean, 1)
        # Data of variance 1 stay of variance 1, and the mean becomes √ᾱ mean: eps = −√(1−ᾱ) ∇log p.
        signal, noise = self.schedule.signal_and_noise(t, x)
        return from_eps(self.schedule, x, t, noise * (x - signal * mean))


@pytest.mark.parametrize("t", [1, 40, 99])
def test_independent_conditions_compose_to_the_exact_model_of_both(t):
    composed = Composed(Product(), NULL, [(ONE, 1.0), (TWO, 1.0)])
    both = Conditioning(vector=torch.ones(1, 2))
    exact = Product()(X, t, both.rows(4))
    assert torch.allclose(composed(X, t).eps, exact.eps, atol=1e-5)
    assert torch.allclose(composed(X, t).x0, exact.x0, atol=1e-3)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5, torch.tensor([0.0, 1.0, 2.0, 3.0])], ids=str)
def test_with_one_term_it_is_classifier_free_guidance(scale):
    composed = Composed(Product(), NULL, [(ONE, scale)])(X, 30)
    plain = ClassifierFree(Product(), NULL, scale)(X, 30, ONE)
    assert torch.allclose(composed.eps, plain.eps, atol=1e-5)


def test_a_negative_scale_leads_away_and_opposite_ones_cancel():
    away = Composed(Product(), NULL, [(ONE, -1.0)])(X, 50).x0
    assert (away < Product()(X, 50, NULL.rows(4)).x0).all()
    nothing = Composed(Product(), NULL, [(ONE, 2.0), (ONE, -2.0)])(X, 50)
    assert torch.allclose(nothing.eps, Product()(X, 50, NULL.rows(4)).eps, atol=1e-5)


def test_all_go_through_the_network_at_once_and_each_row_has_its_own_time():
    denoise, t = Product(), torch.tensor([1, 20, 50, 90])
    whole = Composed(denoise, NULL, [(ONE, 1.5), (TWO, 0.5)])(X, t)
    assert denoise.calls == [12]
    for row in range(4):
        alone = Composed(denoise, NULL, [(ONE, 1.5), (TWO, 0.5)])(X[[row]], int(t[row]))
        assert torch.allclose(whole.eps[[row]], alone.eps, atol=1e-5)


def test_a_row_whose_scale_is_zero_costs_nothing_beyond_the_first_term():
    denoise, scale = Product(), torch.tensor([0.5, 0.0, 0.0, 2.0])
    ragged = Composed(denoise, NULL, [(ONE, 1.5), (TWO, scale)])(X, 30)
    assert denoise.calls == [4 + 4 + 2]
    for row in range(4):
        terms = [(ONE, 1.5), (TWO, float(scale[row]))]
        alone = Composed(denoise, NULL, terms)(X[[row]], 30)
        assert torch.allclose(ragged.eps[[row]], alone.eps, atol=1e-5)
    with pytest.raises(ValueError, match="3 rows, but the batch has 4"):
        Composed(denoise, NULL, [(ONE, 1.0), (TWO, torch.ones(3))])(X, 30)


def test_no_term_a_further_condition_and_a_scale_that_is_none_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        Composed(Product(), NULL, [])
    with pytest.raises(ValueError, match="leave out cond"):
        Composed(Product(), NULL, [(ONE, 1.0)])(X, 3, ONE)
    with pytest.raises(ValueError, match="scale"):
        Composed(Product(), NULL, [(ONE, float("inf"))])
