"""The checks of lesson 06 pass what is right, however it is written, and name what is wrong."""

import pytest
import torch

from labkit.lab import checks
from tests.lab.check_soundness import assert_check_is_sound


def guide_in_the_paper_s_words(eps_c, eps_u, w):
    return (1 + w) * eps_c - w * eps_u


def guide_from_the_conditional(eps_c, eps_u, w):
    return eps_c + w * (eps_c - eps_u)


def implicit_by_two_scores(eps_c, eps_u, alpha_bar):
    sigma = (1 - alpha_bar) ** 0.5
    return (-eps_c / sigma) - (-eps_u / sigma)


def drop_by_arithmetic(vector, null, p, u):
    gone = (u < p).float()[:, None]
    return gone * null + (1 - gone) * vector


def drop_row_by_row(vector, null, p, u):
    return torch.stack([null if number < p else row for row, number in zip(vector, u)])


def channels_by_index(out_c, out_u, scale):
    out, half = out_c.clone(), out_c.shape[1] // 2
    out[:, :half] = out_u[:, :half] + scale * (out_c[:, :half] - out_u[:, :half])
    return out


def channels_by_split(out_c, out_u, scale):
    (eps_c, variance), (eps_u, _) = (torch.tensor_split(out, 2, 1) for out in (out_c, out_u))
    return torch.cat([scale * eps_c + (1 - scale) * eps_u, variance], 1)


def compose_by_weights(eps_u, wanted, scales):
    return (1 - sum(scales)) * eps_u + sum(s * eps for s, eps in zip(scales, wanted))


def compose_in_a_loop(eps_u, wanted, scales):
    eps = eps_u
    for scale, each in zip(scales, wanted):
        eps = eps + scale * (each - eps_u)
    return eps


def clip_in_eps(schedule, x, t, eps_c, eps_u, scale):
    alpha_bar = schedule.alpha_bar[t].item()
    eps = eps_u + scale * (eps_c - eps_u)
    x0 = ((x - (1 - alpha_bar) ** 0.5 * eps) / alpha_bar**0.5).clamp(-1, 1)
    return x0, (x - alpha_bar**0.5 * x0) / (1 - alpha_bar) ** 0.5


def clip_in_x0(schedule, x, t, eps_c, eps_u, scale):
    signal, noise = schedule.signal(t, x), schedule.noise(t, x)
    c, u = (x - noise * eps_c) / signal, (x - noise * eps_u) / signal
    x0 = torch.clip(scale * c + (1 - scale) * u, -1, 1)
    return x0, (x - signal * x0) / noise


RIGHT = {
    "guide_by_w": [guide_in_the_paper_s_words, guide_from_the_conditional],
    "implicit_gradient": [implicit_by_two_scores],
    "drop_labels": [drop_by_arithmetic, drop_row_by_row],
    "guide_channels": [channels_by_index, channels_by_split],
    "compose": [compose_by_weights, compose_in_a_loop],
    "guide_then_clip": [clip_in_eps, clip_in_x0],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_check_passes_what_is_right_and_names_each_known_mistake(name):
    assert_check_is_sound(getattr(checks, name), RIGHT[name])


def test_a_difference_the_wrong_way_round_is_named():
    assert "wrong way round" in checks.guide_by_w(lambda c, u, w: c + w * (u - c)).mistake


def test_conditions_one_after_another_are_told_from_conditions_side_by_side():
    def sequentially(eps_u, wanted, scales):
        eps = eps_u.clone()
        for each, scale in zip(wanted, scales):
            eps = eps + scale * (each - eps)
        return eps

    assert "one after another" in checks.compose(sequentially).mistake


def test_three_channels_are_no_half_of_any_number():
    def rgb(out_c, out_u, scale):
        eps = out_u[:, :3] + scale * (out_c[:, :3] - out_u[:, :3])
        return torch.cat([eps, out_c[:, 3:]], 1)

    assert "three channels" in checks.guide_channels(rgb).mistake


def test_exactly_three_conditions_are_not_enough():
    def three(eps_u, wanted, scales):
        return eps_u + sum(scales[i] * (wanted[i] - eps_u) for i in range(3))

    assert not checks.compose(three)


def test_a_row_with_exactly_p_keeps_its_label():
    def at_most(vector, null, p, u):
        return torch.where((u <= p)[:, None], null, vector)

    assert {checks.drop_labels(at_most).mistake for _ in range(20)} == {
        sentence for sentence in checks.drop_labels.mistakes if "exactly p" in sentence
    }


def test_dropping_labels_in_place_is_refused():
    def in_place(vector, null, p, u):
        vector[u < p] = null
        return vector

    assert "'vector'" in checks.drop_labels(in_place).message


def test_dropping_with_numbers_of_one_s_own_is_refused():
    def own_u(vector, null, p, u):
        return torch.where((torch.rand(len(vector)) < p)[:, None], null, vector)

    assert not checks.drop_labels(own_u)


def test_a_vector_may_be_long_and_need_not_be_one_hot():
    def ten(vector, null, p, u):
        return torch.where((u < p)[:, None], null[:10], vector[:, :10])

    def one_hot(vector, null, p, u):
        kept = torch.nn.functional.one_hot(vector.argmax(1), vector.shape[1]).float()
        return torch.where((u < p)[:, None], null, kept)

    assert not checks.drop_labels(ten) and not checks.drop_labels(one_hot)


def test_any_condition_may_be_the_unwanted_one():
    def last_alone_keeps_its_sign(eps_u, wanted, scales):
        scales = [*map(abs, scales[:-1]), scales[-1]]
        return eps_u + sum(s * (eps - eps_u) for s, eps in zip(scales, wanted))

    assert not checks.compose(last_alone_keeps_its_sign)


def test_the_negative_prompt_of_other_programs_is_named():
    def last_for_unconditional(eps_u, wanted, scales):
        if len(wanted) == 1:
            return eps_u + scales[0] * (wanted[0] - eps_u)
        start = wanted[-1]
        return start + sum(s * (eps - start) for s, eps in zip(scales, wanted[:-1]))

    assert "negative prompt" in checks.compose(last_for_unconditional).mistake
