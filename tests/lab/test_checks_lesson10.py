"""The checks of lesson 10 pass what is right, however it is written, and name what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F

from labkit.lab import checks
from tests.lab.check_soundness import assert_check_is_sound


def noised_by_norm(schedule, z, t, eps, std):
    x0 = z / z.square().mean(1, keepdim=True).sqrt() * std
    alpha_bar = schedule.alpha_bar[t].item()
    return math.sqrt(alpha_bar) * x0 + math.sqrt(1 - alpha_bar) * eps


def codes_by_edges(z, mean, axes, low, high, count):
    coordinates = torch.einsum("nd,kd->nk", z - mean, axes)
    codes, middles = [], []
    for column, bottom, top in zip(coordinates.T, low.tolist(), high.tolist(), strict=True):
        edges = torch.linspace(bottom, top, count + 1)
        codes.append(torch.bucketize(column.contiguous(), edges[1:-1], right=True))
        middles.append(((edges[1:] + edges[:-1]) / 2)[codes[-1]])
    back = torch.stack(middles, 1) @ axes + mean
    return torch.stack(codes, 1), back / back.norm(dim=1, keepdim=True)


def best_row_by_row(candidates, text):
    rows = []
    for own, words in zip(candidates.transpose(0, 1), text, strict=True):
        rows.append(max(own, key=lambda z: F.cosine_similarity(z, words, dim=0).item()))
    return F.normalize(torch.stack(rows), dim=1)


def diff_by_sines(z, before, after, theta):
    change = after - before
    change = change / change.norm(dim=1, keepdim=True)
    angle = (z * change).sum(1, keepdim=True).arccos()
    return (torch.sin((1 - theta) * angle) * z + torch.sin(theta * angle) * change) / angle.sin()


def diff_by_turning(z, before, after, theta):
    change = F.normalize(after - before, dim=1)
    cosine = (z * change).sum(1, keepdim=True)
    across = F.normalize(change - cosine * z, dim=1)
    angle = theta * cosine.arccos()
    return angle.cos() * z + angle.sin() * across


def drop_by_where(mask, p_caption, p_embedding, u, v):
    lost = (u < p_caption).unsqueeze(1)
    return torch.where(lost, torch.zeros_like(mask), mask), ~(v < p_embedding)


RIGHT = {
    "noised_embedding": [noised_by_norm],
    "codes_and_back": [codes_by_edges],
    "best_of": [best_row_by_row],
    "text_diff": [diff_by_sines, diff_by_turning],
    "drop_each": [drop_by_where],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_check_passes_what_is_right_and_names_each_known_mistake(name):
    assert_check_is_sound(getattr(checks, name), RIGHT[name])


def noised_with(time=lambda t: t, exchanged=False, share=1.0):
    def wrong(schedule, z, t, eps, std):
        t, x0 = time(t), std * z.shape[1] ** 0.5 * z
        signal, noise = schedule.signal(t, z), schedule.noise(t, z)
        if exchanged:
            signal, noise = noise, signal
        return signal * x0 + noise * eps * (std if share is None else share)

    return wrong


def codes_of_unit_coordinates(z, mean, axes, low, high, count):
    width = (high - low) / count
    codes = (((z - mean) @ axes.T - low) / width).floor().long().clamp(0, count - 1)
    return codes, F.normalize((low + (codes + 0.5) * width) @ axes, dim=1) + mean


def by_the_factor_of_the_lesson(schedule, z, t, eps, std):
    return schedule.signal(t, z) * std * math.sqrt(128) * z + schedule.noise(t, z) * eps


def by_a_number(factor):
    def wrong(schedule, z, t, eps, std):
        return schedule.signal(t, z) * factor(z.shape[1]) * z + schedule.noise(t, z) * eps

    return wrong


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        ("noised_embedding", noised_with(lambda t: t - 1), "time t − 1 or t + 1"),
        ("noised_embedding", noised_with(exchanged=True), "Signal and noise are exchanged"),
        ("noised_embedding", noised_with(share=None), "The noise is scaled as well"),
        ("noised_embedding", by_the_factor_of_the_lesson, "√128"),
        ("noised_embedding", by_a_number(lambda D: 0.5375 * math.sqrt(D)), "lesson's own numbers"),
        ("noised_embedding", by_a_number(lambda D: 0.5375 * math.sqrt(128)), "lesson's own number"),
        ("noised_embedding", by_a_number(lambda D: 6.08), "lesson's own numbers"),
        ("noised_embedding", noised_with(share=-1.0), "The noise is subtracted"),
        ("codes_and_back", codes_of_unit_coordinates, "before the mean is added"),
    ],
)
def test_a_natural_mistake_is_named_each_time(name, wrong, words):
    for _ in range(5):
        assert words in getattr(checks, name)(wrong).mistake


def test_two_candidates_are_not_enough_for_best_of():
    def of_two(candidates, text):
        one, two = F.normalize(candidates[:2], dim=2)
        return torch.where(((one - two) * text).sum(1, keepdim=True) > 0, one, two)

    assert not checks.best_of(of_two)


def test_codes_that_are_no_whole_numbers_are_refused():
    def floats(z, mean, axes, low, high, count):
        codes, back = codes_by_edges(z, mean, axes, low, high, count)
        return codes.float(), back

    assert not checks.codes_and_back(floats)


def test_the_factor_of_the_exercise_is_the_papers_for_its_own_dimensions():
    z, eps = F.normalize(torch.randn(2, 1024), dim=1), torch.zeros(2, 1024)
    case = checks.noised_embedding.draw_inputs(torch.Generator().manual_seed(0))
    made = checks.noised_embedding.reference(case[0], z, 0, eps, 0.5375)
    torch.testing.assert_close(made, 17.2 * z)


def test_nobody_may_drop_both_by_one_number():
    def together(mask, p_caption, p_embedding, u, v):
        return mask & (u >= p_caption)[:, None], u >= p_embedding

    assert "One number decides both" in checks.drop_each(together).mistake
