"""The checks of lesson 09 pass what is right, however it is written, and name what is wrong."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.lab import checks
from tests.lab.check_soundness import assert_check_is_sound


def softmax_by_torch(q, k, v, text_k, text_v):
    k, v = torch.cat([text_k, k], 1), torch.cat([text_v, v], 1)
    return F.scaled_dot_product_attention(q, k, v)


def softmax_with_the_text_behind(q, k, v, text_k, text_v):
    k, v = torch.cat([k, text_k], 1), torch.cat([v, text_v], 1)
    return torch.softmax(q @ k.transpose(1, 2) / q.shape[-1] ** 0.5, dim=-1) @ v


def softmax_by_exp(q, k, v, text_k, text_v):
    pixels, text = ((q @ key.mT / q.shape[-1] ** 0.5).exp() for key in (k, text_k))
    total = pixels.sum(2, keepdim=True) + text.sum(2, keepdim=True)
    return (pixels @ v + text @ text_v) / total


def empty_by_where(mask, p, u):
    return torch.where((u < p)[:, None], torch.zeros_like(mask), mask)


def empty_row_by_row(mask, p, u):
    return torch.stack([row & bool(number >= p) for row, number in zip(mask, u)])


def away_by_weights(eps_text, eps_empty, eps_negative, has, scale):
    rows = zip(eps_text, eps_empty, eps_negative, has)
    return torch.stack([scale * c + (1 - scale) * (n if own else u) for c, u, n, own in rows])


def away_by_arithmetic(eps_text, eps_empty, eps_negative, has, scale):
    has = has.float()[:, None, None, None]
    null = has * eps_negative + (1 - has) * eps_empty
    return null + scale * (eps_text - null)


def entrance_by_slices(x, image, mask, weight):
    B, C, H, W = x.shape
    inputs = torch.zeros(B, 2 * C + 1, H, W)
    inputs[:, :C], inputs[:, C : 2 * C], inputs[:, 2 * C :] = x, image * mask, mask
    wider = torch.zeros(len(weight), 2 * C + 1, *weight.shape[2:])
    wider[:, :C] = weight
    return inputs, wider


def entrance_by_where(x, image, mask, weight):
    known = torch.where(mask.bool(), image, torch.zeros_like(image))
    extra = known.shape[1] + 1
    return torch.cat([x, known, mask], 1), F.pad(weight, (0, 0, 0, 0, 0, extra))


def hold_by_where(schedule, x, t, x0, image, mask):
    held = torch.where(mask.bool(), image, x0)
    alpha_bar = schedule.alpha_bar[t].item()
    return held, (x - alpha_bar**0.5 * held) / (1 - alpha_bar) ** 0.5


def low_by_bytes(x, low):
    bytes = ((low + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    large = F.interpolate(bytes.float() / 127.5 - 1, size=x.shape[2:], mode="bilinear")
    return torch.cat([x, large], 1)


RIGHT = {
    "one_softmax": [softmax_by_torch, softmax_with_the_text_behind, softmax_by_exp],
    "empty_captions": [empty_by_where, empty_row_by_row],
    "guide_away": [away_by_weights, away_by_arithmetic],
    "inpaint_entrance": [entrance_by_slices, entrance_by_where],
    "hold_known": [hold_by_where],
    "low_beside": [low_by_bytes],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_check_passes_what_is_right_and_names_each_known_mistake(name):
    assert_check_is_sound(getattr(checks, name), RIGHT[name])


def test_a_convolution_that_is_drawn_anew_is_refused():
    def drawn(x, image, mask, weight):
        inputs, _ = entrance_by_where(x, image, mask, weight)
        fresh = nn.Conv2d(inputs.shape[1], len(weight), weight.shape[-1]).weight.detach()
        return inputs, torch.cat([weight, fresh[:, weight.shape[1] :]], 1)

    assert not checks.inpaint_entrance(drawn)


def test_two_softmaxes_are_named_however_they_are_written():
    def two(q, k, v, text_k, text_v):
        scale = q.shape[-1] ** 0.5
        return (q @ k.mT / scale).softmax(2) @ v + (q @ text_k.mT / scale).softmax(2) @ text_v

    assert "two softmaxes" in checks.one_softmax(two).mistake


def test_held_pictures_that_are_clipped_as_well_are_refused():
    def clipped(schedule, x, t, x0, image, mask):
        return hold_by_where(schedule, x, t, x0.clamp(-1, 1), image, mask)

    assert not checks.hold_known(clipped)


def test_exactly_three_color_channels_are_not_enough():
    def rgb(x, image, mask, weight):
        inputs, _ = entrance_by_where(x, image, mask, weight)
        return inputs, torch.cat([weight, torch.zeros(len(weight), 4, *weight.shape[2:])], 1)

    assert not checks.inpaint_entrance(rgb)


def test_a_size_of_twice_the_small_picture_is_not_enough():
    def twice(x, low):
        low = ((low + 1) * 127.5).round().clamp(0, 255) / 127.5 - 1
        return torch.cat([x, F.interpolate(low, scale_factor=2, mode="bilinear")], 1)

    assert not checks.low_beside(twice)


def test_the_attention_of_the_exercise_is_self_attention_where_there_is_no_text():
    q, k, v = torch.randn(3, 2, 5, 4)
    none = torch.zeros(2, 0, 4)
    own = checks.one_softmax.reference(q, k, v, none, none)
    torch.testing.assert_close(own, F.scaled_dot_product_attention(q, k, v))
