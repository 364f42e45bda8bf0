import pytest
import torch

from labkit.data import digits, photos


def test_digits_are_pictures_of_ten_classes():
    images, labels = digits.load()
    assert images.shape == (1797, 1, 16, 16)
    assert images.dtype == torch.float32
    assert (images.min(), images.max()) == (-1, 1)
    assert labels.bincount(minlength=10).min() > 170


def test_the_splits_are_all_of_it_and_share_nothing():
    everything, train, test = (digits.load(8, split)[0] for split in ("all", "train", "test"))
    assert torch.equal(torch.cat([train, test]), everything)


def test_the_scan_is_kept_at_its_own_size():
    from sklearn.datasets import load_digits

    images, _ = digits.load(size=8)
    expected = torch.tensor(load_digits().images).float()
    torch.testing.assert_close((images[:, 0] + 1) * 8, expected)


def test_a_larger_digit_shrinks_back_to_the_scan():
    small, large = digits.load(8)[0], digits.load(16)[0]
    again = torch.nn.functional.avg_pool2d(large, 2)
    assert (again - small).abs().mean() < 0.1  # of a range of 2


@pytest.mark.parametrize("name", photos.NAMES)
def test_a_photo_is_one_square_picture(name):
    picture = photos.photo(name, 48)
    assert picture.shape == (1, 3, 48, 48)
    assert -1 <= picture.min() < -0.5
    assert 0.3 < picture.max() <= 1
