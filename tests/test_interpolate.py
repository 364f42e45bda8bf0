"""Interpolation between noises: the arc keeps the length, the chord loses it."""

import math

import pytest
import torch

from labkit.interpolate import lerp, slerp


def noises(d: int = 3072) -> tuple[torch.Tensor, torch.Tensor]:
    z = torch.randn(2, 8, 3, d // 3, generator=torch.Generator().manual_seed(0))
    return z[0], z[1]


def test_the_ends_are_the_two_noises():
    z1, z2 = noises()
    for between in (lerp, slerp):
        assert torch.allclose(between(z1, z2, 0.0), z1, atol=1e-6)
        assert torch.allclose(between(z1, z2, 1.0), z2, atol=1e-6)


def test_the_arc_keeps_the_length_of_noise_and_the_chord_falls_to_seven_tenths():
    z1, z2 = noises()
    arc, chord = (f(z1, z2, 0.5).flatten(1).norm(dim=1) for f in (slerp, lerp))
    assert (arc - math.sqrt(3072)).abs().max() < 2.5  # 55.4, give or take 0.7 a row
    assert (chord - math.sqrt(3072 / 2)).abs().max() < 2.5  # 39.2


def test_halfway_between_right_angles_is_the_diagonal():
    x, y = torch.eye(2)[:1], torch.eye(2)[1:]
    assert torch.allclose(slerp(x, y, 0.5), torch.full((1, 2), math.sqrt(0.5)))
    assert torch.allclose(slerp(x, y, 1 / 3), torch.tensor([[math.sqrt(3) / 2, 0.5]]))


def test_rows_do_not_mix_and_a_row_is_taken_as_a_whole():
    z1, z2 = noises()
    together = slerp(z1, z2, 0.3)
    alone = torch.cat([slerp(z1[i : i + 1], z2[i : i + 1], 0.3) for i in range(8)])
    assert torch.equal(together, alone)
    flat = slerp(z1.flatten(1), z2.flatten(1), 0.3).view_as(z1)
    assert torch.equal(together, flat)


def test_two_equal_noises_give_themselves():
    z, _ = noises()
    assert torch.allclose(slerp(z, z, 0.7), z, atol=1e-6)


@pytest.mark.parametrize(
    ("z1", "z2", "a", "words"),
    [
        (torch.ones(2, 3), torch.ones(2, 4), 0.5, "shapes"),
        (torch.zeros(2, 3), torch.ones(2, 3), 0.5, "points nowhere"),
        (torch.ones(2, 3), torch.ones(2, 3), float("nan"), "must be a finite number"),
        (torch.ones(2, 3).long(), torch.ones(2, 3).long(), 0.5, "floating point"),
    ],
)
def test_nonsense_gets_one_sentence(z1, z2, a, words):
    with pytest.raises(ValueError, match=words) as error:
        slerp(z1, z2, a)
    assert "\n" not in str(error.value)
