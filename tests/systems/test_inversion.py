"""From a picture to its noise: exact where the model is, and noise where it is a little wrong."""

import pytest
import torch

from labkit.denoiser import Denoiser, from_x0
from labkit.mixture import GaussianMixture
from labkit.sampler import ddim, invert, sample
from labkit.schedule import cosine, linear
from labkit.systems.inversion import inverted, times_through

COSINE = cosine()


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def last(states):
    *_, state = states
    return state.x


def there_and_back(denoise, x0, t0=None, steps=50):
    above, below = times = times_through(t0, steps, denoise.schedule.T)
    x_T = inverted(denoise, x0, times)
    return x_T, last(sample(denoise, x_T, above + below[1:], step=ddim))


@pytest.mark.parametrize("schedule", [COSINE, linear()], ids=["cosine", "linear"])
def test_an_exact_model_comes_back_to_the_picture(schedule):
    pictures = 0.5 * normal(3, 64, seed=1)  # all that there are
    denoise = GaussianMixture(pictures).denoiser(schedule)
    x_T, back = there_and_back(denoise, pictures[[2, 0]])
    torch.testing.assert_close(back, pictures[[2, 0]], atol=1e-6, rtol=0)
    assert x_T.std().item() == pytest.approx(1, abs=0.15)


class Wrong:
    """Predicts x0, always wrong by 0.03."""

    schedule = COSINE

    def __init__(self, x0):
        self.x0 = x0 + 0.03 * normal(*x0.shape, seed=2).sign()

    def __call__(self, x, t, cond=None):
        return from_x0(self.schedule, x, t, self.x0)


def test_a_small_error_of_x0_leaves_the_noise_as_large_as_noise():
    x0 = 0.5 * normal(4, 3, 16, 16, seed=1)
    x_T, back = there_and_back(Wrong(x0), x0)
    assert x_T.std().item() == pytest.approx(1, abs=0.05)
    assert (back - x0).abs().amax() == pytest.approx(0.03, abs=1e-3)


def test_from_the_clean_picture_that_error_would_become_five_times_as_much_noise():
    x0 = 0.5 * normal(4, 3, 16, 16, seed=1)
    guessed = last(invert(Wrong(x0), x0, COSINE.timesteps(50)))
    assert guessed.std().item() == pytest.approx(4.7, abs=0.3)
    x_T, _ = there_and_back(Wrong(x0), x0, t0=1)
    assert x_T.std() > 4


def test_a_wide_law_comes_back_but_for_what_the_drawn_noise_covers():
    x0 = 0.5 * normal(500, 1, seed=1)
    denoise = GaussianMixture([[0.0]], 0.5).denoiser(COSINE)
    begins, errors = (1, 50, 100, 200), []
    for t0 in begins:
        _, back = there_and_back(denoise, x0, t0, steps=300)
        errors.append((back - x0).std().item())
        assert errors[-1] < (1 - COSINE.alpha_bar[t0]).sqrt() + 0.01
    assert errors == sorted(errors)


def test_the_seed_draws_the_noise_and_it_is_not_that_of_a_sampler():
    x0 = 0.5 * normal(2, 40)
    denoise, times = Wrong(x0), times_through(None, 10, 1000)
    one, again, other = (inverted(denoise, x0, times, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one, again) and not torch.allclose(one, other, atol=0.5)
    assert abs(torch.corrcoef(torch.stack([one.flatten(), normal(80, seed=3)]))[0, 1]) < 0.4


def test_it_lies_in_the_dtype_of_the_picture_and_hears_its_condition():
    heard = []

    class Net(torch.nn.Module):
        def forward(self, x, t, cond):
            heard.append(cond)
            return x

    x0 = 0.5 * normal(2, 3, 4, 4).float()
    x_T = inverted(Denoiser(Net(), COSINE, "x0"), x0, times_through(100, 4, 1000), "told")
    assert x_T.dtype == torch.float32 and x_T.shape == x0.shape and set(heard) == {"told"}


@pytest.mark.parametrize("T", [2, 3, 7, 20, 50])
def test_the_times_fall_all_the_way_and_one_of_them_is_t0(T):
    for steps in range(2, T + 1):
        for t0 in (None, *range(1, T)):
            above, below = times_through(t0, steps, T)
            times = above + below[1:]
            assert len(times) == steps + 1 and times[0] == T and times[-1] == 0
            assert all(t > s for t, s in zip(times, times[1:], strict=False))
            assert above[-1] == below[0] == (max(T // 10, 1) if t0 is None else t0)


def test_the_steps_are_nearly_even():
    above, below = times_through(None, 50, 1000)
    assert below == [100, 80, 60, 40, 20, 0]
    assert {t - s for t, s in zip(above, above[1:], strict=False)} == {20}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((0, 50, 1000), "t0 is 0"),
        ((1000, 50, 1000), "t0 is 1000"),
        ((1.5, 50, 1000), "t0 is 1.5"),
        ((None, 1, 1000), "number of steps is 1"),
        ((None, 1001, 1000), "number of steps is 1001"),
    ],
)
def test_impossible_times_get_a_sentence(given, says):
    with pytest.raises(ValueError, match=says):
        times_through(*given)
