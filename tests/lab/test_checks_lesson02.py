"""The checks of lesson 02 pass what is right, however it is written, and name what is wrong."""

import pytest
import torch

from labkit.lab import checks
from tests.lab.check_soundness import assert_check_is_sound


def step_by_torch_normal(x, beta, generator):
    return torch.normal((1 - beta) ** 0.5 * x, beta**0.5, generator=generator)


def table_by_a_loop(beta):
    left, table = 1.0, [1.0]
    for each in beta.tolist():
        left *= 1 - each
        table.append(left)
    return torch.tensor(table, dtype=torch.float64)


def table_by_logarithms(beta):
    start = torch.zeros(1, dtype=torch.float64)
    return torch.cat([start, torch.log1p(-beta).cumsum(0)]).exp()


def jump_row_by_row(x0, t, alpha_bar, eps):
    rows = []
    for picture, time, noise in zip(x0, t.tolist(), eps):
        left = alpha_bar[time].item()
        rows.append(left**0.5 * picture + (1 - left) ** 0.5 * noise)
    return torch.stack(rows)


def jump_by_the_angle(x0, t, alpha_bar, eps):
    angle = alpha_bar[t].sqrt().acos()[:, None, None, None]  # (B, 1, 1, 1)
    return (angle.cos() * x0 + angle.sin() * eps).float()


def shift_by_a_ratio(alpha_bar, k):
    return alpha_bar / (alpha_bar + k * k * (1 - alpha_bar))


def rescale_by_a_straight_line(alpha_bar):
    last = alpha_bar[-1] ** 0.5
    return torch.lerp(torch.ones(()).double(), alpha_bar.sqrt(), 1 / (1 - last)) ** 2


def rescale_in_place_of_a_copy(alpha_bar):
    signal = alpha_bar.clone() ** 0.5
    signal -= signal[-1].item()
    signal /= signal[0].item()
    return signal**2


def guess_by_a_loop(x, alpha_bar_t, points):
    rows = []
    for each in x:
        distance = (each - alpha_bar_t**0.5 * points).pow(2).sum(1)  # (N,)
        weight = torch.exp(-(distance - distance.min()) / 2 / (1 - alpha_bar_t))
        rows.append((weight[:, None] * points).sum(0) / weight.sum())
    return torch.stack(rows)


def guess_by_cdist(x, alpha_bar_t, points):
    distance = torch.cdist(x, alpha_bar_t**0.5 * points)
    return torch.softmax(-(distance**2) / (2 - 2 * alpha_bar_t), -1) @ points


RIGHT = {
    "noising_step": [step_by_torch_normal],
    "alpha_bar_table": [table_by_a_loop, table_by_logarithms],
    "jump": [jump_row_by_row, jump_by_the_angle],
    "shifted_alpha_bar": [shift_by_a_ratio],
    "rescaled_alpha_bar": [rescale_by_a_straight_line, rescale_in_place_of_a_copy],
    "best_guess": [guess_by_a_loop, guess_by_cdist],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_check_passes_what_is_right_and_names_each_known_mistake(name):
    assert_check_is_sound(getattr(checks, name), RIGHT[name])


def test_a_step_with_the_signs_of_the_noise_turned_is_as_right():
    def turned(x, beta, generator):
        return (1 - beta) ** 0.5 * x - beta**0.5 * torch.randn(x.shape, generator=generator)

    assert checks.noising_step(turned).passed


def test_two_steps_instead_of_one_are_refused_by_their_distribution():
    def twice(x, beta, generator):
        for _ in range(2):
            x = (1 - beta) ** 0.5 * x + beta**0.5 * torch.randn(x.shape, generator=generator)
        return x

    result = checks.noising_step(twice)
    assert not result.passed
    assert "two steps" in result.message or "standard errors" in result.message


def test_a_jump_in_float64_is_refused_by_its_dtype():
    def unconverted(x0, t, alpha_bar, eps):
        left = alpha_bar[t].view(-1, 1, 1, 1)
        return left.sqrt() * x0 + (1 - left).sqrt() * eps

    assert "float64" in checks.jump(unconverted).message


def other_noise(keep, add, shape=lambda x: x.shape):
    """A step whose noise is as random as labkit's, and another."""
    return lambda x, beta, generator: (
        keep(beta) * x - add(beta) * torch.randn(shape(x), generator=generator)
    )


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (other_noise(lambda beta: 1 - beta, lambda beta: beta**0.5), "without the root"),
        (other_noise(lambda beta: (1 - beta) ** 0.5, lambda beta: beta), "standard deviation β"),
        (
            other_noise(
                lambda beta: (1 - beta) ** 0.5, lambda beta: beta**0.5, lambda x: x[0].shape
            ),
            "one row of noise",
        ),
    ],
)
def test_a_mistake_is_named_by_its_distribution_where_the_noise_is_another(step, words):
    assert words in (checks.noising_step(step).mistake or "")


def step_with(noise):
    """A step whose noise comes from noise(shape, generator)."""
    return lambda x, beta, generator: (1 - beta) ** 0.5 * x + beta**0.5 * noise(x.shape, generator)


def uniform(shape, generator):
    return 12**0.5 * (torch.rand(shape, generator=generator) - 0.5)


def signs(shape, generator):
    return torch.randn(shape, generator=generator).sign()


def cut_off(shape, generator):
    return torch.randn(shape, generator=generator).clamp(-2, 2)


def test_noise_that_is_cut_off_is_refused_each_time():
    for seed in range(6):
        torch.manual_seed(seed)
        assert checks.noising_step(step_with(cut_off)).status == "failed"


@pytest.mark.parametrize("noise", [uniform, signs])
def test_noise_that_is_not_normal_is_refused_though_its_variance_is_right(noise):
    for seed in range(5):
        torch.manual_seed(seed)
        result = checks.noising_step(step_with(noise))
        assert result.status == "failed"
        assert "another shape" in result.message


def own_generator(shape, generator):
    return torch.randn(shape)


def one_number_a_row(shape, generator):
    return torch.randn(shape[0], 1, generator=generator)


@pytest.mark.parametrize(
    ("noise", "words"),
    [(own_generator, "generator that is given"), (one_number_a_row, "one number for each row")],
)
def test_noise_of_another_generator_or_one_number_a_row_is_named(noise, words):
    for seed in range(5):
        torch.manual_seed(seed)
        assert words in (checks.noising_step(step_with(noise)).mistake or "")
