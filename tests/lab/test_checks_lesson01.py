"""The checks of lesson 01 pass what is right and name what is wrong."""

import numpy as np
import pytest
import torch

from labkit.lab import checks
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


def running_mean(P):
    row, total = torch.eye(len(P), dtype=P.dtype)[0], 0
    P = 0.5 * P + 0.5 * torch.eye(len(P))  # lazy, so it settles even where P is periodic
    for _ in range(2000):
        row = row @ P
        total = total + row
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


def by_powers(P, tolerance):
    pi, n = left_eigenvector(P), 0
    while (torch.linalg.matrix_power(P, n) - pi).abs().sum(1).max() / 2 > tolerance:
        n += 1
    return torch.tensor(n)


@pytest.mark.parametrize(
    ("check", "right_answers"),
    [
        (checks.after_n_steps, [step_by_step]),
        (checks.count_transitions, [one_row_at_a_time]),
        (checks.stationary_distribution, [left_eigenvector, running_mean]),
        (checks.metropolis_matrix, [entry_by_entry]),
        (checks.gaussian_step, [rooted]),
        (checks.steps_to_forget, [by_powers]),
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

    assert not checks.stationary_distribution(of_two).passed


@pytest.mark.parametrize("most", [3, 5, 10])
def test_a_learner_who_stops_after_some_steps_is_refused(most):
    result = checks.after_n_steps(lambda S, P, n: step_by_step(S, P, min(n, most)))
    assert not result.passed
