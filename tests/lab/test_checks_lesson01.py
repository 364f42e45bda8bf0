"""The checks of lesson 01 pass what is right and name what is wrong."""

import math

import numpy as np
import pytest
import torch

from labkit.lab import checks
from labkit.lab.checks import sentences
from labkit.lab.checks.lesson01_forgetting import _draw_sticky
from labkit.markov import (
    by_eigenvector,
    by_linear_solve,
    by_power_iteration,
    total_variation,
)
from tests.lab.check_soundness import assert_check_is_sound


def step_by_step(S, P, n):
    for _ in range(n):
        S = torch.einsum("i,ij->j", S, P)
    return S


def one_row_at_a_time(path, n_states):
    rows = []
    for i in range(n_states):
        after = [b for a, b in zip(path, path[1:]) if a == i]
        rows.append([after.count(j) / len(after) for j in range(n_states)])
    return torch.tensor(rows, dtype=torch.float64)


def left_eigenvector(P):
    values, vectors = np.linalg.eig(P.numpy().T)
    pi = vectors[:, np.abs(values - 1).argmin()].real
    return torch.from_numpy(pi / pi.sum())


def lazy_steps(P):
    row = torch.eye(len(P), dtype=P.dtype)[0]
    P = 0.5 * P + 0.5 * torch.eye(len(P))  # lazy, so it settles even where P is periodic
    for _ in range(10_000):
        row = row @ P
    return row


def entry_by_entry(target, Q):
    n = len(target)
    P = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            if i != j:
                ratio = target[j] * Q[j, i] / (target[i] * Q[i, j])
                P[i, j] = Q[i, j] * min(1.0, ratio.item())
        P[i, i] = 1 - P[i].sum()
    return P


def rooted(x, beta, eps):
    return x.mul((1 - beta) ** 0.5).add(eps, alpha=beta**0.5)


def by_powers(P, tolerance, stationary=left_eigenvector):
    pi, n = stationary(P), 0
    while (torch.linalg.matrix_power(P, n) - pi).abs().sum(1).max() / 2 > tolerance:
        n += 1
    return torch.tensor(n)


def null_vector(P):
    vector = torch.linalg.svd(P.T - torch.eye(len(P)))[2][-1]
    return vector / vector.sum()


def least_squares(P):
    equations = torch.cat([P.T - torch.eye(len(P)), torch.ones(1, len(P))])
    right = torch.eye(len(equations), dtype=P.dtype)[-1:].T
    return torch.linalg.lstsq(equations, right).solution[:, 0]


def high_power(P):
    return torch.linalg.matrix_power(P, 20_000)[0]


def by_halving(P, tolerance):
    """The distance never grows, so the place where it passes the tolerance can be searched for."""
    pi = by_linear_solve(P)

    def too_far(n):
        return total_variation(torch.linalg.matrix_power(P, n), pi).max() > tolerance

    low, high = -1, 1
    while too_far(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if too_far(middle) else (low, middle)
    return high


@pytest.mark.parametrize(
    ("check", "right_answers"),
    [
        (checks.after_n_steps, [step_by_step]),
        (checks.count_transitions, [one_row_at_a_time]),
        (checks.stationary_distribution, [left_eigenvector, lazy_steps]),
        (checks.metropolis_matrix, [entry_by_entry]),
        (checks.gaussian_step, [rooted]),
        (checks.steps_to_forget, [by_powers, by_halving]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_check_passes_the_right_and_names_the_wrong(check, right_answers):
    assert_check_is_sound(check, right_answers)


def test_a_learner_who_writes_the_right_eigenvector_is_told_so():
    def right_eigenvector(P):
        values, vectors = torch.linalg.eig(P)
        pi = vectors[:, (values - 1).abs().argmin()].real
        return pi / pi.sum()

    assert "a left one" in checks.stationary_distribution(right_eigenvector).message


def test_a_learner_who_keeps_the_complex_numbers_is_told_so():
    def complex_pi(P):
        values, vectors = torch.linalg.eig(P.T)
        pi = vectors[:, (values - 1).abs().argmin()]
        return pi / pi.sum()

    assert "complex128" in checks.stationary_distribution(complex_pi).message


@pytest.mark.parametrize("steps", [100, 501, 1000])
@pytest.mark.parametrize("even_start", [True, False])
def test_a_learner_who_iterates_on_a_periodic_chain_is_told_so(steps, even_start):
    def iterate(P):
        k = len(P)
        row = torch.full_like(P[0], 1 / k) if even_start else torch.eye(k, dtype=P.dtype)[0]
        for _ in range(steps):
            row = row @ P
        return row

    assert "never settles" in checks.stationary_distribution(iterate).message


def test_a_learner_who_leaves_the_eigenvector_unscaled_is_told_so():
    def unscaled(P):
        values, vectors = torch.linalg.eig(P.T)
        return vectors[:, (values - 1).abs().argmin()].real.abs()

    assert "has length 1" in checks.stationary_distribution(unscaled).message


def test_a_learner_who_returns_the_right_eigenvector_as_it_comes_is_told_so():
    def raw(P):
        values, vectors = torch.linalg.eig(P)
        return vectors[:, (values - 1).abs().argmin()].real

    assert "all of its entries are equal" in checks.stationary_distribution(raw).message


def test_a_learner_who_ignores_the_noise_that_is_given_is_told_so():
    def own(x, beta, eps):
        return (1 - beta) ** 0.5 * x + beta**0.5 * torch.randn(x.shape)

    assert "your own noise" in checks.gaussian_step(own).message


@pytest.mark.parametrize("eig", [torch.linalg.eig, lambda P: np.linalg.eig(P.numpy())])
@pytest.mark.parametrize("part", [torch.abs, torch.real])
def test_a_learner_who_takes_the_first_eigenvector_is_refused(eig, part):
    def first_column(P):
        vector = part(torch.as_tensor(eig(P.T)[1])[:, 0])
        return vector / vector.sum()

    assert not checks.stationary_distribution(first_column).passed


def test_a_learner_who_averages_two_steps_fails_where_the_period_is_three():
    def of_two(P):
        row = torch.full_like(P[0], 1 / len(P)) @ torch.linalg.matrix_power(P, 1000)
        return (row + row @ P) / 2

    assert "a few successive steps" in checks.stationary_distribution(of_two).message


@pytest.mark.parametrize("many", [3, 4, 6, 10, 12, 60])
def test_a_mean_of_successive_steps_is_refused_though_it_suits_some_periods(many):
    def mean(P):
        return sum(torch.linalg.matrix_power(P, 1000 + i)[0] for i in range(many)) / many

    for seed in range(3):
        torch.manual_seed(seed)
        assert not checks.stationary_distribution(mean).passed


@pytest.mark.parametrize("eig", [torch.linalg.eig, lambda P: np.linalg.eig(P.numpy())])
def test_a_learner_who_keeps_the_sign_of_the_eigenvector_is_told_so_each_time(eig):
    def by_sizes(P):
        values, vectors = map(torch.as_tensor, eig(P.T))
        vector = vectors[:, values.real.argmax()].real
        return vector / vector.abs().sum()

    for seed in range(5):
        torch.manual_seed(seed)
        assert "turns the sign" in (checks.stationary_distribution(by_sizes).mistake or "")


@pytest.mark.parametrize("most", [3, 5, 10, 20, 24, 50, 100])
def test_a_learner_who_stops_after_some_steps_is_refused(most):
    result = checks.after_n_steps(lambda S, P, n: step_by_step(S, P, min(n, most)))
    assert not result.passed


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "stationary",
    [
        by_linear_solve,
        by_eigenvector,
        by_power_iteration,
        left_eigenvector,
        lazy_steps,
        null_vector,
        least_squares,
        high_power,
    ],
)
def test_every_way_to_the_stationary_distribution_forgets_at_the_same_step(stationary):
    """Also where the distance is equal to the tolerance, whatever the last digit of π is."""
    for seed in (1, 2, 3):
        P, tolerance = _draw_sticky(seeded(seed))
        assert by_powers(P, tolerance, stationary) == by_halving(P, tolerance)
    assert checks.steps_to_forget(lambda P, t: by_powers(P, t, stationary)).passed


def test_each_check_of_the_steps_draws_a_tie_and_a_slow_chain():
    P, tolerance = _draw_sticky(seeded(1))
    assert total_variation(P, by_linear_solve(P)).max() == tolerance
    assert by_halving(P, tolerance) == 1
    for seed in range(2, 82, 8):
        assert 100 < by_halving(*_draw_sticky(seeded(seed))) < 500


@pytest.mark.parametrize("most", [30, 60, 100])
def test_a_learner_who_counts_up_to_a_limit_is_refused(most):
    result = checks.steps_to_forget(lambda P, tolerance: min(by_halving(P, tolerance), most))
    assert not result.passed


@pytest.mark.parametrize("kind", [float, torch.tensor, np.float64])
def test_a_learner_who_returns_a_float_for_a_number_of_steps_is_told_so(kind):
    def as_float(P, tolerance):
        return kind(float(by_halving(P, tolerance)))

    assert "should be a whole number" in checks.steps_to_forget(as_float).message


@pytest.mark.parametrize("kind", [int, torch.tensor, np.int64])
def test_a_number_of_steps_may_be_any_kind_of_whole_number(kind):
    assert checks.steps_to_forget(lambda P, t: kind(by_halving(P, t))).passed


@pytest.mark.parametrize("stationary", [by_linear_solve, by_eigenvector])
def test_a_learner_who_waits_below_the_tolerance_is_told_so(stationary):
    def strictly(P, tolerance):
        pi, n = stationary(P), 0
        while total_variation(torch.linalg.matrix_power(P, n), pi).max() >= tolerance:
            n += 1
        return n

    assert "may be equal" in checks.steps_to_forget(strictly).message


def test_a_learner_who_adds_with_tensors_as_indices_is_told_so():
    def at_once(path, k):
        counts, steps = torch.zeros(k, k, dtype=torch.float64), torch.tensor(path)
        counts[steps[:-1], steps[1:]] += 1
        return counts / counts.sum(1, keepdim=True)

    assert "each pair once" in checks.count_transitions(at_once).message


def test_a_learner_who_takes_the_step_before_the_first_is_told_so():
    def wrapped(path, k):
        counts = torch.zeros(k, k, dtype=torch.float64)
        for n in range(len(path)):
            counts[path[n - 1], path[n]] += 1
        return counts / counts.sum(1, keepdim=True)

    assert "back to the first" in checks.count_transitions(wrapped).message


def test_a_learner_who_fills_the_diagonal_anew_is_told_so():
    def filled(target, Q):
        P = Q * torch.clamp(target * Q.T / (target[:, None] * Q), max=1)
        P[range(len(P)), range(len(P))] = 1 - P.sum(1)
        return P

    assert "over the diagonal" in checks.metropolis_matrix(filled).message


def test_a_learner_who_takes_the_last_eigenvector_is_told_so():
    def last(P):
        vector = torch.linalg.eig(P.T)[1][:, -1].real
        return vector / vector.sum()

    assert "wrong column" in checks.stationary_distribution(last).message


def test_a_stationary_distribution_that_went_through_float32_is_told_so():
    def short(P):
        values, vectors = torch.linalg.eig(P.float().T)
        pi = vectors[:, (values - 1).abs().argmin()].real
        return (pi / pi.sum()).double()

    for seed in range(3):
        torch.manual_seed(seed)
        assert checks.stationary_distribution(short).mistake == sentences.FEW_DIGITS


def counts_of(path, k):
    counts = torch.zeros(k, k, dtype=torch.float64)
    for i, j in zip(path, path[1:]):
        counts[i, j] += 1
    return counts


def with_a_small_number(path, k):
    counts = counts_of(path, k)
    return counts / (counts.sum(1, keepdim=True) + 1e-6)


def without_the_last_step(path, k):
    counts = counts_of(path[: len(path) - 1], k)
    return counts / counts.sum(1, keepdim=True)


def of_length_1(path, k):
    return torch.nn.functional.normalize(counts_of(path, k), dim=-1)


def without_a_diagonal(target, Q):
    P = torch.zeros_like(Q)
    for i in range(len(Q)):
        for j in range(len(Q)):
            if i != j:
                P[i, j] = Q[i, j] * min(1, (target[j] * Q[j, i] / (target[i] * Q[i, j])).item())
    return P


def with_the_sums_of_columns(target, Q):
    P = Q * ((target * Q.T) / (target[:, None] * Q)).clamp(max=1)
    return P + torch.diag(1 - P.sum(0))


def by_euler(x, beta, eps):
    return x - 0.5 * beta * x + beta**0.5 * eps


def over_the_starts(P, tolerance):
    pi, n = by_linear_solve(P), 0
    while (torch.linalg.matrix_power(P, n) - pi).abs().sum(0).max() / 2 > tolerance:
        n += 1
    return n


def by_the_gap(P, tolerance):
    second = sorted(torch.linalg.eigvals(P).abs().tolist())[-2]
    return math.ceil(1 / (1 - second))


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        ("count_transitions", with_a_small_number, "small number to the sums"),
        ("count_transitions", without_the_last_step, "leave out the last step"),
        ("count_transitions", of_length_1, "rows have length 1"),
        ("metropolis_matrix", without_a_diagonal, "rows do not sum to 1"),
        ("metropolis_matrix", with_the_sums_of_columns, "sums of the columns"),
        ("metropolis_matrix", lambda target, Q: Q.clone(), "the proposal itself"),
        ("gaussian_step", by_euler, "1 − β/2"),
        ("gaussian_step", lambda x, beta, eps: x + beta * eps, "do not shrink x"),
        ("steps_to_forget", over_the_starts, "down the columns"),
        ("steps_to_forget", by_the_gap, "with the gap"),
    ],
)
def test_a_natural_mistake_is_answered_with_its_own_reason(name, wrong, words):
    for seed in range(3):
        torch.manual_seed(seed)
        assert words in (getattr(checks, name)(wrong).mistake or "")
