"""Random masks for inpainting."""

import pytest
import torch

from labkit.data.masks import erased, filled


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


def test_erased_pixels_take_their_values_from_the_known_ones_next_to_them_alone():
    image, mask = torch.rand(3, 2, 8, 8) * 2 - 1, torch.ones(3, 1, 8, 8)
    mask[0, ..., 5:], mask[1] = 0, 0
    made = filled(image, mask)
    beside = image[0, :, 2:5, 4].mean(1)  # the three known neighbors of the pixel at (3, 5)
    torch.testing.assert_close(made[0, :, 3, 5], beside)
    assert made[1].abs().max() == 0 and torch.equal(made[2], image[2])
    assert torch.equal(made[0, ..., :5], image[0, ..., :5])
    flat = filled(torch.where(mask == 1, 0.5, -1.0).expand(3, 2, 8, 8), mask)
    assert (flat[0] - 0.5).abs().max() < 1e-6
    other = filled(torch.where(mask == 1, image, -image), mask)
    assert torch.equal(other, filled(image, mask))
    one = torch.zeros(1, 1, 1, 5)
    one[..., 0] = 3.0
    known = torch.tensor([1.0, 0, 0, 0, 0]).view(1, 1, 1, 5)
    assert filled(one, known).eq(3).all()
