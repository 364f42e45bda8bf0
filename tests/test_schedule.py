"""Schedules against reference values, and the algebra that every schedule must obey."""

import pytest
import torch

from labkit import schedule

SCHEDULES = [
    schedule.linear(),
    schedule.cosine(),
    schedule.scaled_linear(),
    schedule.sigmoid(),
    schedule.linear(50),
    schedule.cosine(7),
]


@pytest.mark.parametrize(
    ("made", "times", "values"),
    [
        (schedule.linear(), [250, 500, 750, 1000], [0.524085, 0.078587, 0.0033506, 4.0358e-5]),
        (
            schedule.linear(4000),
            [1000, 2000, 3000, 4000],
            [0.523781, 0.078945, 0.0034186, 4.247e-5],
        ),
        (schedule.cosine(), [250, 500, 750, 1000], [0.847012, 0.493844, 0.144272, 2.43e-9]),
        (
            schedule.scaled_linear(first=0.0015, last=0.0195),
            [250, 500, 750, 1000],
            [0.510514, 0.115844, 0.0084448, 1.423e-4],
        ),
        (
            schedule.scaled_linear(),
            [250, 500, 750, 1000],
            [0.675432, 0.277670, 0.0566235, 4.660e-3],
        ),
    ],
    ids=["linear", "linear at T=4000", "cosine", "scaled linear", "text-to-image"],
)
def test_alpha_bar_has_the_published_values(made, times, values):
    torch.testing.assert_close(
        made.alpha_bar[times], torch.tensor(values, dtype=torch.float64), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(
    ("made", "first", "last"),
    [
        (schedule.linear(), 1e-4, 0.02),
        (schedule.linear(4000), 2.5e-5, 0.005),
        (schedule.cosine(), 4.12842e-5, 0.999),
        (schedule.scaled_linear(), 0.00085, 0.012),
    ],
)
def test_the_first_and_last_beta_are_the_published_ones(made, first, last):
    assert made.beta[0] == 0
    assert made.beta[1].item() == pytest.approx(first, abs=1e-9)
    assert made.beta[-1].item() == pytest.approx(last, abs=1e-9)


def test_only_the_last_cosine_beta_is_clipped():
    assert (schedule.cosine().beta > 0.9985).sum() == 1


def test_the_first_cosine_step_stays_below_one_pixel_level():
    assert schedule.cosine().beta[1].sqrt().item() == pytest.approx(0.00643, abs=1e-5)
    assert schedule.cosine(4000).beta[1].sqrt().item() == pytest.approx(0.00314, abs=1e-5)


def test_the_sigmoid_schedule_is_symmetric_about_its_middle():
    alpha_bar = schedule.sigmoid().alpha_bar
    torch.testing.assert_close(alpha_bar[1:-1], 1 - alpha_bar.flip(0)[1:-1], atol=1e-9, rtol=0)


@pytest.mark.parametrize("made", SCHEDULES)
def test_betas_give_the_schedule_back(made):
    again = schedule.from_betas(made.beta[1:])
    torch.testing.assert_close(again.alpha_bar, made.alpha_bar, rtol=1e-10, atol=0)
    torch.testing.assert_close(made.log_snr[1:].sigmoid(), made.alpha_bar[1:], rtol=1e-9, atol=0)


def test_a_table_that_ends_at_zero_keeps_a_thousandth_per_step():
    made = schedule.from_alpha_bar([2.0, 1.0, 0.0])
    torch.testing.assert_close(
        made.alpha_bar, torch.tensor([1, 0.5, 0.0005], dtype=torch.float64), rtol=1e-9, atol=0
    )


@pytest.mark.parametrize("made", SCHEDULES)
def test_signal_and_noise_are_the_sides_of_a_right_triangle(made):
    x = torch.zeros(made.T + 1, 1, dtype=torch.float64)
    t = torch.arange(made.T + 1)
    hypotenuse = made.signal(t, x) ** 2 + made.noise(t, x) ** 2
    torch.testing.assert_close(hypotenuse, torch.ones_like(x), rtol=1e-12, atol=0)


@pytest.mark.parametrize("made", SCHEDULES)
def test_the_posterior_keeps_mean_and_variance_of_the_marginal(made):
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    for t in range(1, made.T + 1, max(1, made.T // 50)):
        for s in {0, t // 2, t - 1}:
            from_x0, variance = made.posterior(one, zero, t, s)
            from_x, _ = made.posterior(zero, one, t, s)
            at_t, at_s = made.alpha_bar[t], made.alpha_bar[s]
            torch.testing.assert_close((from_x0 + from_x * at_t.sqrt()).squeeze(), at_s.sqrt())
            spread = from_x.squeeze() ** 2 * (1 - at_t) + variance
            torch.testing.assert_close(spread, 1 - at_s, atol=1e-12, rtol=1e-9)


def test_the_last_step_returns_the_guess_itself():
    x0, x = torch.randn(2, 3, 1, 4, 4).double()
    mean, variance = schedule.linear().posterior(x0, x, 1, 0)
    assert variance == 0
    torch.testing.assert_close(mean, x0, rtol=0, atol=1e-15)


def test_posterior_variances_shrink_beta_by_the_published_ratios():
    made, x = schedule.linear(), torch.zeros(1, 1)
    ratios = [(made.posterior(x, x, t, t - 1)[1] / made.beta[t]).item() for t in (2, 3, 4)]
    assert ratios == pytest.approx([0.454736, 0.611336, 0.692537], abs=1e-6)


def test_one_step_at_a_time_gives_the_jump():
    made, x = schedule.cosine(40), torch.ones(1, 1, dtype=torch.float64)
    mean, variance = 3.0, 0.25
    for t in range(1, made.T + 1):
        kept = 1 - made.beta[t].item()
        mean, variance = kept**0.5 * mean, kept * variance + made.beta[t].item()
        assert mean == pytest.approx(3 * made.signal(t, x).item(), rel=1e-10)
        jump = made.alpha_bar[t].item() * 0.25 + 1 - made.alpha_bar[t].item()
        assert variance == pytest.approx(jump, rel=1e-10)


def test_standard_normal_data_stay_standard_normal_at_every_time():
    made, generator = schedule.linear(), torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 100_000, 1, generator=generator)
    for t in (1, 300, 700, 1000):
        x = made.diffuse(x0, t, eps)
        assert abs(x.mean().item()) < 0.015
        assert abs(x.var().item() - 1) < 0.02


def test_a_time_per_row_equals_one_time_for_each():
    made, generator = schedule.cosine(), torch.Generator().manual_seed(0)
    x0, eps = torch.randn(2, 3, 1, 4, 4, generator=generator)
    t = torch.tensor([0, 10, 1000])
    together = made.diffuse(x0, t, eps)
    for row, time in enumerate(t.tolist()):
        alone = made.diffuse(x0[row : row + 1], time, eps[row : row + 1])
        assert torch.equal(together[row : row + 1], alone)
    assert torch.equal(together[0], x0[0])


def test_uniform_spacing_has_the_published_stride():
    times = schedule.linear().timesteps(10)
    assert [t - 1 for t in times[:-1]] == [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]
    assert times[-1] == 0


@pytest.mark.parametrize(
    "space", [schedule.uniform_spacing, schedule.trailing_spacing, schedule.quadratic_spacing]
)
@pytest.mark.parametrize("T", [1, 2, 7, 100, 1000])
def test_every_spacing_falls_from_T_to_0_in_n_steps(space, T):
    made = schedule.cosine(T)
    for n in {1, 2, T // 3, T // 2, T - 1, T} & set(range(1, T + 1)):
        times = made.timesteps(n, space)
        assert len(times) == n + 1
        assert (times[0], times[-1]) == (T, 0)
        assert all(s < t for t, s in zip(times, times[1:], strict=False))


def test_sections_of_the_times_are_visited_as_often_as_their_counts_say():
    """Improved DDPM's code, whose times are one lower: 300 in sections of 10, 15 and 20."""
    times = schedule.section_spacing(300, (10, 15, 20))
    assert len(times) == 46 and times[-1] == 0
    assert [t - 1 for t in times[:-1]][::-1][:10] == [0, 11, 22, 33, 44, 55, 66, 77, 88, 99]
    assert [sum(low < t <= low + 100 for t in times) for low in (0, 100, 200)] == [10, 15, 20]
    assert schedule.section_spacing(7, (2, 1, 2)) == [7, 6, 4, 3, 1, 0]
    for counts in ((4, 1), (0, 2)):
        with pytest.raises(ValueError, match="give counts from 1 to 3"):
            schedule.section_spacing(6, counts)


def test_quadratic_spacing_is_denser_near_the_picture():
    times = schedule.linear().timesteps(10, schedule.quadratic_spacing)
    assert times == [1000, 810, 640, 490, 360, 250, 160, 90, 40, 10, 0]
