"""Chains against the textbook's closed forms."""

import pytest
import torch

from labkit.markov import (
    Chain,
    GaussianChain,
    by_eigenvector,
    by_linear_solve,
    by_power_iteration,
    metropolis_hastings,
    total_variation,
)

WEATHER = Chain([[0.9, 0.075, 0.025], [0.15, 0.8, 0.05], [0.25, 0.25, 0.5]])
SWAP = Chain([[0, 1], [1, 0]])
SPLIT = Chain([[1, 0], [0, 1]])


@pytest.mark.parametrize("method", [by_linear_solve, by_eigenvector, by_power_iteration])
def test_three_ways_lead_to_the_stationary_law(method):
    expected = torch.tensor([0.625, 0.3125, 0.0625], dtype=torch.float64)
    torch.testing.assert_close(WEATHER.stationary(method), expected, atol=1e-11, rtol=0)
    two = Chain([[0.7, 0.3], [0.1, 0.9]]).stationary(method)
    torch.testing.assert_close(two, torch.tensor([0.25, 0.75]).double(), atol=1e-11, rtol=0)


def test_eigenvalues_come_largest_first():
    expected = [1, 0.6 + 0.1 * 2**0.5, 0.6 - 0.1 * 2**0.5]
    assert WEATHER.eigenvalues().real.tolist() == pytest.approx(expected, abs=1e-12)


def test_total_variation_falls_as_published():
    pi = WEATHER.stationary()
    distances = [total_variation(WEATHER.distribution(0, n), pi).item() for n in (1, 5, 10, 20)]
    assert distances == pytest.approx([0.275, 0.08183, 0.018289, 0.000918], abs=1e-6)


def test_total_variation_decays_at_the_rate_of_the_second_eigenvalue():
    pi = WEATHER.stationary()
    far, further = (total_variation(WEATHER.distribution(0, n), pi) for n in (40, 41))
    assert (further / far).item() == pytest.approx(0.7414214, abs=1e-4)


def test_m_plus_n_steps_are_m_steps_and_then_n():
    after = WEATHER.distribution(WEATHER.distribution(1, 4), 3)
    torch.testing.assert_close(after, WEATHER.distribution(1, 7))


def test_a_walk_visits_the_states_as_often_as_the_stationary_law_says():
    path = torch.tensor(WEATHER.walk(40_000, 2, torch.Generator().manual_seed(0)))
    share = torch.bincount(path, minlength=3).double() / len(path)
    assert total_variation(share, WEATHER.stationary()) < 0.02


def test_a_walk_takes_each_step_with_its_probability():
    path = torch.tensor(WEATHER.walk(40_000, 0, torch.Generator().manual_seed(1)))
    counts = torch.zeros(3, 3).index_put((path[:-1], path[1:]), torch.ones(()), accumulate=True)
    torch.testing.assert_close(
        (counts / counts.sum(1, keepdim=True)).double(), WEATHER.P, atol=0.02, rtol=0
    )


def test_a_periodic_chain_has_a_stationary_law_but_never_settles():
    assert SWAP.period() == 2
    assert SWAP.stationary().tolist() == [0.5, 0.5]
    assert SWAP.distribution(0, 101).tolist() == [0, 1]
    with pytest.raises(ValueError, match="periodic"):
        SWAP.stationary(by_power_iteration)


def test_a_reducible_chain_with_two_closed_classes_has_no_single_stationary_law():
    assert not SPLIT.reachable().all()
    assert SPLIT.closed_classes() == 2
    with pytest.raises(ValueError, match="2 closed classes"):
        SPLIT.stationary()


def test_a_chain_with_a_state_it_leaves_for_good_still_has_one_stationary_law():
    chain = Chain([[0.5, 0.5, 0], [0, 0.2, 0.8], [0, 0.6, 0.4]])
    assert chain.closed_classes() == 1
    expected = torch.tensor([0, 3 / 7, 4 / 7], dtype=torch.float64)
    torch.testing.assert_close(chain.stationary(), expected, atol=1e-14, rtol=0)


def test_a_chain_takes_its_own_stationary_law_as_a_start():
    """Also where a state has no probability left: the linear solve may round it below 0."""
    chain = Chain([[0.9, 0.1, 0], [0.3, 0.7, 0], [0.02, 0, 0.98]])
    pi = chain.stationary()
    assert pi.min() >= 0
    assert not chain.reachable().all()
    for start in (pi, *range(3)):
        after = chain.distribution(start, 2000)
        torch.testing.assert_close(after, pi, atol=1e-12, rtol=0)


def test_irreducible_and_aperiodic_is_what_the_weather_is():
    assert WEATHER.reachable().all()
    assert WEATHER.period() == 1
    ring = Chain(torch.roll(torch.eye(5), 1, dims=1))
    assert ring.period() == 5


def test_metropolis_hastings_has_the_target_and_detailed_balance():
    n = 12
    ring = torch.eye(n).roll(1, 1) / 3 + torch.eye(n).roll(-1, 1) * 2 / 3  # a lopsided proposal
    target = torch.arange(1, n + 1).double() ** 2
    chain = metropolis_hastings(target, Chain(ring.double() / ring.double().sum(1, keepdim=True)))
    pi = target / target.sum()
    torch.testing.assert_close(chain.stationary(), pi, atol=1e-12, rtol=0)
    flow = pi[:, None] * chain.P
    torch.testing.assert_close(flow, flow.T, atol=1e-12, rtol=0)


def test_the_gaussian_chain_has_the_published_moments():
    chain = GaussianChain(0.02)
    assert chain.moments(3, 0.5, 10) == pytest.approx((2.71176, 0.387195), abs=1e-5)
    assert chain.moments(3, 0.5, 100) == pytest.approx((1.09251, 0.900535), abs=1e-5)


def test_the_gaussian_chain_walks_to_its_moments():
    generator = torch.Generator().manual_seed(0)
    chain, x = GaussianChain(0.1), 3 + 0.5 * torch.randn(50_000, 1, generator=generator)
    for _ in range(15):
        x = chain.step(x, generator)
    mean, variance = chain.moments(3, 0.5, 15)
    assert x.mean().item() == pytest.approx(mean, abs=0.015)
    assert x.var().item() == pytest.approx(variance, abs=0.02)


def test_states_go_by_name_or_number():
    chain = Chain([[0.5, 0.5], [0.5, 0.5]], ("eat", "sleep"))
    assert chain.index("sleep") == chain.index(1) == 1
    with pytest.raises(ValueError, match="did you mean 'sleep'"):
        chain.index("slep")


def test_rows_computed_in_float32_are_rows_of_probabilities():
    lazy = 0.9 * torch.eye(3) + 0.1 * torch.full((3, 3), 1 / 3)
    chain = Chain(lazy)
    assert (chain.P.sum(1) - 1).abs().max() < 1e-15
    law = chain.distribution(torch.full((3,), 1 / 3), 1000)
    torch.testing.assert_close(law, torch.full((3,), 1 / 3).double(), atol=1e-7, rtol=0)
    with pytest.raises(ValueError, match="row 1 of P sums to 0.9999"):
        Chain([[0.5, 0.5], [0.5, 0.4999]])
