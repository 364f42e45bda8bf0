"""What pixels look at: taken from a network that runs, without a change to what it answers."""

from dataclasses import replace

import pytest
import torch

from labkit.conditioning import Conditioning
from labkit.denoiser import Denoiser
from labkit.lab.attention_maps import (
    Looked,
    cross_weights,
    looked_at,
    over_text,
    over_words,
    sampled,
)
from labkit.nets.attention import CrossAttention
from labkit.nets.unet import UNet, UNetConfig
from labkit.scenes import tokenizer
from labkit.schedule import linear
from labkit.systems.glide import GLIDE, GLIDEConfig
from tests.systems.test_ldm import TEXT, awake

TINY = UNetConfig(
    size=8, width=8, multipliers=(1, 2), blocks=1, attention=(8,), groups=4, head_channels=4,
    tokens=6,
)  # fmt: skip


def denoiser(config=TINY):
    torch.manual_seed(0)
    net = UNet(config)
    for weight in net.parameters():  # zero at first: nothing would be looked at
        torch.nn.init.normal_(weight, std=0.2)
    return Denoiser(net, linear(50))


def test_each_layer_says_what_its_pixels_look_at_text_first():
    denoise, x = denoiser(), torch.randn(2, 3, 8, 8)
    cond = Conditioning(tokens=torch.randn(2, 5, 6))
    found = looked_at(denoise, x, 20, cond)
    assert [(each.name, each.side) for each in found] == [
        ("down.0.1", 8), ("middle.1", 4), ("up.2.1", 8), ("up.3.1", 8),
    ]  # fmt: skip
    for each in found:
        heads = each.weights.shape[1]
        assert each.weights.shape == (2, heads, each.side**2, 5 + each.side**2)
        torch.testing.assert_close(each.weights.sum(3), torch.ones(2, heads, each.side**2))


def test_watching_changes_no_answer_and_leaves_nothing_behind():
    denoise, x = denoiser(), torch.randn(1, 3, 8, 8)
    cond = Conditioning(tokens=torch.randn(1, 5, 6))
    before = denoise(x, 20, cond).x0
    looked_at(denoise, x, 20, cond)
    torch.testing.assert_close(denoise(x, 20, cond).x0, before, rtol=0, atol=0)
    assert not any(module._forward_pre_hooks for module in denoise.net.modules())


def test_hidden_tokens_are_not_looked_at():
    mask = torch.tensor([[True, True, False, True, False]])
    cond = Conditioning(tokens=torch.randn(1, 5, 6), mask=mask)
    for each in looked_at(denoiser(), torch.randn(1, 3, 8, 8), 20, cond):
        to_text = each.weights[..., :5]
        assert (to_text[..., ~mask[0]] == 0).all() and (to_text[..., mask[0]] > 0).all()


def test_maps_over_the_text_are_the_mean_over_heads_and_layers_in_one_size():
    weights = torch.zeros(1, 2, 4, 2 + 4)
    weights[0, 0, 3, 1] = 1  # one head's last pixel looks at the second token
    layers = [Looked("a", 2, weights), Looked("b", 2, torch.zeros_like(weights))]
    maps = over_text(layers, 2)
    assert maps.shape == (1, 2, 2, 2)
    assert maps[0, 1, 1, 1] == pytest.approx(0.25) and maps.sum() == pytest.approx(0.25)


def test_a_network_whose_pixels_do_not_look_around_gets_a_sentence():
    class Plain(torch.nn.Module):
        def forward(self, x, t, cond=None):
            return x

    with pytest.raises(ValueError, match="no pixels that look at each other"):
        looked_at(Denoiser(Plain(), linear(50)), torch.randn(1, 3, 8, 8), 20)
    with pytest.raises(ValueError, match="nothing to average"):
        over_text([], 8)


# Latent diffusion: places of the latents look at words.

SENTENCES = ["a red star", "a large blue disc"]


def model():
    return awake()


def test_cross_attention_says_what_its_places_look_at_in_rows_that_sum_to_1():
    system = model()
    cond, x = system.encode(SENTENCES), torch.randn(2, 3, 4, 4)
    found = looked_at(system.denoiser, x, 20, cond)
    assert {each.name: each.side for each in found} == {
        "down.0.1.blocks.0": 4, "middle.1.blocks.0": 2, "up.2.1.blocks.0": 4, "up.3.1.blocks.0": 4,
    }  # fmt: skip
    for each in found:
        assert each.weights.shape == (2, 2, each.side**2, 32) and not each.pixels
        torch.testing.assert_close(each.weights.sum(3), torch.ones(2, 2, each.side**2))
    maps = over_text(found, 16)
    assert maps.shape == (2, 32, 16, 16)
    torch.testing.assert_close(maps.sum(1), torch.ones(2, 16, 16))


def test_a_layer_s_weights_are_the_ones_that_it_answers_with():
    layer, x, context = CrossAttention(8, 2, 6), torch.randn(2, 9, 8), torch.randn(2, 5, 6)
    mask = torch.tensor([[True, True, False, True, True]] * 2)[:, None, None]
    weights, values = cross_weights(layer, x, context, mask)
    again = layer.out((weights @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(again, layer(x, context, mask))
    assert (weights[..., 2] == 0).all()


def test_each_head_can_be_seen_by_itself_and_their_mean_is_the_map():
    system = model()
    found = looked_at(system.denoiser, torch.randn(2, 3, 4, 4), 20, system.encode(SENTENCES))
    each = over_text(found, 8, heads=True)
    assert each.shape == (2, 2, 32, 8, 8)
    torch.testing.assert_close(each.mean(1), over_text(found, 8))
    odd = Looked("odd", 2, torch.ones(2, 3, 4, 32), pixels=False)
    with pytest.raises(ValueError, match="2, 2, 2, 2, 3 heads"):
        over_text([*found, odd], 8, heads=True)


def test_watching_a_latent_model_changes_no_answer_and_leaves_nothing_behind():
    system = model()
    plain = [state.x for state in system.generate(SENTENCES, steps=3, seed=1)]
    for x, (state, _) in zip(plain, sampled(system, SENTENCES, steps=3, seed=1), strict=True):
        assert torch.equal(state.x, x)
        assert not any(module._forward_pre_hooks for module in system.modules())


def test_a_sampling_that_is_left_midway_leaves_nothing_behind():
    system = model()
    walk = sampled(system, SENTENCES, steps=3)
    next(walk)
    del walk
    assert not any(module._forward_pre_hooks for module in system.modules())


def test_of_a_guided_sampling_the_maps_are_those_of_the_sentence_not_of_the_null():
    system = model()
    _, plain = next(sampled(system, SENTENCES, steps=2, seed=1, scale=1))
    _, guided = next(sampled(system, SENTENCES, steps=2, seed=1, scale=3))
    _, null = next(sampled(system, ["two moons"] * 2, steps=2, seed=1, scale=1))
    assert [each.name for each in plain] == [each.name for each in guided]
    for one, two, other in zip(plain, guided, null, strict=True):
        assert two.weights.shape == one.weights.shape
        torch.testing.assert_close(two.weights, one.weights)
        assert (one.weights - other.weights).abs().max() > 1e-3


def test_pixel_attention_is_watched_over_a_sampling_too():
    config = GLIDEConfig(net=replace(TINY, tokens=16, vector=16), text=TEXT, T=50)
    system = GLIDE(config).eval()
    steps = list(sampled(system, "a red star", steps=2, scale=3))
    assert steps[-1][0].t == 0 and len(steps) == 2
    for _, found in steps:
        assert len(found) == 4 and all(each.weights.shape[0] == 1 for each in found)
        assert over_text(found, 8).shape == (1, 32, 8, 8)


def test_the_words_of_a_sentence_and_the_rest_share_all_attention():
    system = model()
    _, found = next(sampled(system, SENTENCES, steps=2))
    maps = over_text(found, 8)[1]
    words = over_words(maps, SENTENCES[1])
    assert words.words == ["a", "large", "blue", "disc"]
    assert torch.equal(words.maps, maps[1:5])
    torch.testing.assert_close(words.maps.sum(0) + words.others, torch.ones(8, 8))
    assert over_words(maps[None, None], SENTENCES[1]).maps.shape == (1, 1, 4, 8, 8)


def test_a_word_of_several_tokens_is_one_word():
    maps = torch.arange(1.0, 11.0).view(10, 1, 1) * torch.ones(10, 2, 2)
    assert tokenizer.load().split("a zebra") == ["a", "", "z", "e", "b", "ra"]
    words = over_words(maps, "  A   zebra ")
    assert words.words == ["A", "zebra"]
    assert words.maps[:, 0, 0].tolist() == [2, 3 + 4 + 5 + 6 + 7]
    assert words.others[0, 0] == 1 + 8 + 9 + 10


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (lambda m: looked_at(m.denoiser, torch.randn(1, 3, 4, 4), 20), "no tokens"),
        (lambda m: sampled(m, [{"a star": 2.0}]), "must be a sentence, or a list"),
        (lambda m: sampled(m, 3), "must be a sentence, or a list"),
        (lambda m: sampled(m, "a star", scale=0), "scale is 0"),
        (lambda m: sampled(m, "a zebra"), "never read"),
        (lambda m: over_words(torch.zeros(3, 2, 2), "a red star"), "3 positions, but .* needs 4"),
    ],
)
def test_what_cannot_be_watched_gets_a_sentence_at_the_call(fails, says):
    with pytest.raises(ValueError, match=says):
        fails(model())
