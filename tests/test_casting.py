"""Factors meet tensors in their dtype; numbers stay numbers."""

import pytest
import torch

from labkit import schedule
from labkit.casting import back, like, wide

X = torch.ones(3, 2, 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_factor_is_computed_wide_and_cast_once(dtype):
    made, t = schedule.linear(), torch.tensor([1, 500, 1000])
    exact = (1 - made.alpha_bar[t]).sqrt()
    noise = made.noise(t, X.to(dtype))
    assert noise.dtype == dtype and torch.equal(noise.flatten(), exact.to(dtype))


def test_a_single_number_is_not_copied_to_a_device():
    there = torch.ones(2, device="meta")
    assert like(torch.tensor(0.5), there).device.type == "cpu"
    assert like(torch.ones(2), there).device.type == "meta"


def test_what_is_computed_wide_comes_back_wide_where_the_device_can():
    assert wide(X).dtype == torch.float64
    assert back(X.double(), X).dtype == torch.float64


def test_every_loss_draws_the_same_for_the_same_seed():
    made = schedule.cosine(50)
    t, eps, x = made.draw(X, torch.Generator().manual_seed(3))
    again = made.draw(X, torch.Generator().manual_seed(3))
    assert all(torch.equal(a, b) for a, b in zip((t, eps, x), again))
    assert torch.equal(x, made.diffuse(X, t, eps)) and t.min() >= 1 and t.max() <= 50
    torch.manual_seed(3)
    assert torch.equal(made.draw(X)[1], eps)
