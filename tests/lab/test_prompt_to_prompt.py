"""Prompt-to-prompt: maps of one sampling in another, in closed form and with nothing left over."""

import pytest
import torch

from labkit import zoo
from labkit.lab.attention_maps import cross_layers, noted
from labkit.lab.prompt_to_prompt import edited, looking, reweight, swap
from tests.systems.test_ldm import PLAIN, attentive, awake

ONE, TWO = "a red star", "a blue moon"
FEW = {"steps": 4, "seed": 3}


@pytest.fixture(scope="module")
def model():
    return attentive()


def last(walk):
    *_, pair = walk
    return pair


def alone(model, sentence, pictures=1, **options):
    *_, state = model.generate([sentence] * pictures, **FEW, **options)
    return state.x0


def glide():
    return zoo.load("glide-scenes")


def hooks(model):
    return [m for m in model.modules() if m._forward_hooks or m._forward_pre_hooks]


@pytest.mark.parametrize("scale", [1, 3])
def test_a_sentence_swapped_with_itself_is_unchanged(model, scale):
    before, after = last(swap(model, ONE, ONE, scale=scale, share=1, **FEW))
    torch.testing.assert_close(after.x0, before.x0)
    torch.testing.assert_close(after.x0, alone(model, ONE, scale=scale))


@pytest.mark.parametrize("scale", [1, 3])
def test_weight_1_leaves_a_picture_unchanged(model, scale):
    before, after = last(reweight(model, ONE, "red", 1, scale=scale, **FEW))
    torch.testing.assert_close(after.x0, before.x0)


def test_the_source_is_sampled_as_ever_and_both_begin_from_one_noise(model):
    walk = swap(model, ONE, TWO, share=0, pictures=2, **FEW)
    pairs = list(walk)
    assert [pair[0].t for pair in pairs] == [pair[1].t for pair in pairs]
    before, after = pairs[-1]
    assert torch.equal(before.x0, alone(model, ONE, 2))
    assert torch.equal(after.x0, alone(model, TWO, 2))  # no step is injected


def test_the_share_says_in_how_many_steps_the_source_s_maps_stand(model):
    ends = [last(swap(model, ONE, TWO, share=share, **FEW))[1].x0 for share in (0, 0.5, 0.6, 1)]
    torch.testing.assert_close(ends[1], ends[2])  # both are two steps of four
    gaps = [(end - ends[0]).abs().max().item() for end in ends]
    assert gaps[0] == 0 < gaps[1] and (ends[3] - ends[2]).abs().max() > 1e-4


def test_the_target_looks_where_the_source_does_in_every_layer_and_finds_its_own_words(model):
    net, x = model.denoiser.net, torch.randn(1, 3, 4, 4)
    one, two = model.encode([ONE]), model.encode([TWO])
    with noted(net) as looked:
        model.denoiser(x, 20, one)
    maps = {each.name: each.weights for each in looked}
    with looking(net, maps):
        mixed = model.denoiser(x, 20, two).eps
    answers = [model.denoiser(x, 20, cond).eps for cond in (one, two)]
    assert all((mixed - answer).abs().max() > 1e-3 for answer in answers)
    layer = next(iter(cross_layers(net).values()))
    name = next(iter(maps))
    h, weights = torch.randn(1, 16, 16), maps[name]
    with looking(net, maps):
        answer = layer(h, two.tokens, None)
    values = layer.kv(two.tokens).chunk(2, dim=2)[1].unflatten(2, (2, -1)).transpose(1, 2)
    torch.testing.assert_close(answer, layer.out((weights @ values).transpose(1, 2).flatten(2)))


@pytest.mark.parametrize("weight", [0, -2, 5])
def test_a_word_s_column_is_multiplied_and_no_row_is_brought_to_1_again(model, weight, monkeypatch):
    seen = []
    real = looking

    def spied(net, maps):
        seen.append(maps)
        return real(net, maps)

    monkeypatch.setattr("labkit.lab.prompt_to_prompt.looking", spied)
    walk = reweight(model, ONE, "red", weight, **FEW)
    next(walk)
    x = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(FEW["seed"]))
    with noted(model.denoiser.net) as looked:
        model.denoiser(x, model.denoiser.schedule.T, model.encode([ONE]))
    for own in looked:
        got, plain = seen[0][own.name], own.weights
        torch.testing.assert_close(got[..., 2], weight * plain[..., 2])  # begin, a, red
        others = [k for k in range(32) if k != 2]
        torch.testing.assert_close(got[..., others], plain[..., others])


def test_every_place_of_a_word_is_meant_or_one_by_its_number(model):
    both = "a red star and a blue star"
    word = {name: last(reweight(model, both, name, 0, **FEW))[1].x0 for name in ("star", 2, 6)}
    assert (word["star"] - word[2]).abs().max() > 1e-5 < (word[2] - word[6]).abs().max()


def test_of_a_guided_batch_the_null_s_half_is_not_touched(model):
    net = model.denoiser.net
    x, both = torch.randn(2, 3, 4, 4), model.encode([ONE, None])
    with noted(net) as looked:
        plain = model.denoiser(x, 20, both).eps
    with looking(net, {each.name: 0 * each.weights[:1] for each in looked}):
        changed = model.denoiser(x, 20, both).eps
    torch.testing.assert_close(changed[1], plain[1])
    assert (changed[0] - plain[0]).abs().max() > 1e-3


def test_twice_the_same_gives_the_same_and_nothing_is_left_behind(model):
    ends = []
    for _ in range(2):
        walk = swap(model, ONE, TWO, eta=1.0, **FEW)
        ends.append([after.x0 for _, after in walk if not hooks(model)])
        assert len(ends[-1]) == 4
    assert torch.equal(ends[0][-1], ends[1][-1])
    walk = swap(model, ONE, TWO, **FEW)
    next(walk)
    del walk
    assert not hooks(model)


def test_states_can_be_shown_as_pictures(model):
    before, after = last(swap(model, ONE, TWO, pictures=2, **FEW))
    assert before.pictures.shape == after.pictures.shape == (2, 3, 16, 16)


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (lambda m: swap(m, ONE, "a large red star"), "do not have the same number of tokens"),
        (lambda m: swap(m, ONE, TWO, share=1.5), "share"),
        (lambda m: swap(m, ONE, TWO, scale=0), "scale is 0"),
        (lambda m: swap(m, ONE, TWO, pictures=0), "pictures is 0"),
        (lambda m: reweight(m, ONE, "green", 2), "0 a, 1 red, 2 star"),
        (lambda m: reweight(m, ONE, 3, 2), "0 a, 1 red, 2 star"),
        (lambda m: reweight(m, ONE, "red", float("nan")), "weight"),
        (lambda m: edited(glide(), ONE, TWO, lambda maps: maps), "no cross attention"),
        (lambda m: edited(awake(PLAIN), ONE, TWO, lambda maps: maps), "number of pictures"),
    ],
)
def test_what_cannot_be_edited_gets_a_sentence_at_the_call(model, fails, says):
    with pytest.raises(ValueError, match=says):
        fails(model)
