"""Random masks for inpainting."""

import pytest
import torch

from labkit.data.masks import erased


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_masks_are_ones_and_zeros_and_the_same_for_the_same_seed():
    masks = erased(50, 16, seeded())
    assert masks.shape == (50, 1, 16, 16) and set(masks.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(masks, erased(50, 16, seeded()))
    assert not torch.equal(masks, erased(50, 16, seeded(1)))


def test_each_erases_something_and_about_one_in_ten_everything():
    erases = 1 - erased(600, 32, seeded()).mean((1, 2, 3))
    assert (erases > 0.02).all()
    assert (erases == 1).double().mean() == pytest.approx(0.1, abs=0.04)
    assert 0.2 < erases[erases < 1].mean() < 0.5


def test_rectangles_and_halves_have_straight_edges_and_strokes_do_not():
    gone = erased(400, 32, seeded())[:, 0] == 0
    box = gone.any(1).sum(1) * gone.any(2).sum(1)  # the area of what encloses it
    full = gone.sum((1, 2)) == box
    assert full.double().mean() == pytest.approx(0.8, abs=0.08)


def test_every_pixel_is_erased_now_and_then():
    share = (erased(300, 16, seeded()) == 0).double().mean(0)
    assert share.min() > 0.15 and share.max() < 0.85


@pytest.mark.parametrize("bad", [(0, 16), (3, 2), (2.5, 16)])
def test_other_numbers_and_sizes_are_refused(bad):
    with pytest.raises(ValueError, match="must be"):
        erased(*bad)
