"""GLIDE on a tiny network: what it reads, the null, both routes of the text, what it refuses."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from labkit import scenes, train
from labkit.nets.transformer import BidirectionalTextTransformer, TextConfig
from labkit.nets.unet import UNet, UNetConfig
from labkit.scenes import tokenizer
from labkit.systems.glide import GLIDE, GLIDEConfig

TEXT = TextConfig(vocabulary=1009, context=32, width=16, depth=2, heads=2, end=1008)
NET = UNetConfig(
    size=16, width=16, multipliers=(1, 1), blocks=1, attention=(8,), head_channels=8, groups=8,
    scale_shift_norm=True, residual_resampling=True, vector=16, vector_bias=True, tokens=16,
)  # fmt: skip
CONFIG = GLIDEConfig(NET, T=50, predicts="x0", text=TEXT)
STAR, DISC = "a red star", "a large blue disc on a mint background"


def awake(config=CONFIG, seed=0):
    """Every weight drawn anew: branches that start at zero would hide mistakes."""
    system, generator = GLIDE(config).eval(), torch.Generator().manual_seed(seed)
    for weight in system.parameters():
        weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
    return system


def last(states):
    *_, state = states
    return state.x


@torch.no_grad()
def answer(system, cond):
    x = torch.randn(len(cond.tokens), 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return system.denoiser(x, 20, cond).x0


def test_at_the_release_s_configuration_it_has_the_release_s_number_of_parameters():
    net = UNetConfig(
        size=64, width=192, multipliers=(1, 2, 3, 4), blocks=3, attention=(32, 16, 8),
        head_channels=64, scale_shift_norm=True, residual_resampling=True, learned_variance=True,
        vector=512, vector_bias=True, tokens=512,
    )  # fmt: skip
    text = TextConfig(vocabulary=50_257, context=128, width=512, depth=16, heads=8, end=50_256)
    upsampling = replace(net, size=256, blocks=2, multipliers=(1, 1, 2, 2, 4, 4))
    nets = (net, replace(net, image=4), replace(upsampling, image=3), replace(upsampling, image=7))
    counts = []
    for each in nets:
        with torch.device("meta"):
            parts = UNet(each), BidirectionalTextTransformer(text)
        counts.append(sum(weight.numel() for part in parts for weight in part.parameters()))
    assert counts == [385_030_726, 385_037_638, 398_361_286, 398_368_198]


def test_every_position_of_a_text_looks_at_earlier_and_later_ones():
    net = awake().text
    tokens = tokenizer.load().encode([DISC])
    changed = tokens.ids.clone()
    changed[0, 5] += 1
    moved = (net(tokens.ids, tokens.mask) - net(changed, tokens.mask)).abs().amax(2)[0]
    assert (moved > 1e-6).all()


def test_where_the_mask_is_false_stands_the_padding_of_that_position_whatever_the_id():
    torch.manual_seed(0)
    net = BidirectionalTextTransformer(TEXT)
    tokens = tokenizer.load().encode([STAR])
    other = torch.where(tokens.mask, tokens.ids, 7)
    assert torch.equal(net(tokens.ids, tokens.mask), net(other, tokens.mask))
    with torch.no_grad():
        net.padding_emb[-1] += 1
    assert not torch.allclose(net(tokens.ids, tokens.mask), net(other, ~tokens.mask), atol=1e-3)


def test_it_is_torch_s_own_pre_norm_encoder_with_the_same_weights():
    torch.manual_seed(0)
    net, width = BidirectionalTextTransformer(TEXT).double(), TEXT.width
    layer = torch.nn.TransformerEncoderLayer(
        width, TEXT.heads, 4 * width, 0.0, F.gelu, batch_first=True, norm_first=True,
        dtype=torch.float64,
    )  # fmt: skip
    theirs = torch.nn.TransformerEncoder(layer, TEXT.depth, net.norm, enable_nested_tensor=False)
    for own, other in zip(net.transformer, theirs.layers, strict=True):
        pairs = (
            (other.self_attn.in_proj_weight, own.attention.qkv.weight),
            (other.self_attn.in_proj_bias, own.attention.qkv.bias),
            (other.self_attn.out_proj.weight, own.attention.out.weight),
            (other.self_attn.out_proj.bias, own.attention.out.bias),
            (other.linear1.weight, own.mlp[0].weight), (other.linear1.bias, own.mlp[0].bias),
            (other.linear2.weight, own.mlp[2].weight), (other.linear2.bias, own.mlp[2].bias),
        )  # fmt: skip
        for there, here in pairs:
            there.data = here.data
    tokens = tokenizer.load().encode([STAR, DISC])
    embedded = net.tokens(tokens.ids) + net.pos_emb
    embedded = torch.where(tokens.mask[..., None], embedded, net.padding_emb)
    assert torch.allclose(net(tokens.ids, tokens.mask), theirs(embedded), atol=1e-10)


def test_the_text_enters_by_both_routes():
    system = awake()
    star, disc = system.encode([STAR]), system.encode([DISC])
    whole = answer(system, star)
    assert not torch.allclose(answer(system, star._replace(vector=disc.vector)), whole, atol=1e-6)
    assert not torch.allclose(answer(system, star._replace(tokens=disc.tokens)), whole, atol=1e-6)
    assert torch.equal(star.vector, star.tokens[:, -1])


def test_none_is_the_empty_caption_which_is_the_null():
    system = awake()
    both = system.encode([STAR, None])
    assert torch.allclose(both.tokens[1:], system.null.tokens, atol=1e-6)
    assert not system.tokens([None]).mask.any()


def test_a_model_that_drops_every_caption_learns_nothing_from_them():
    batch = scenes.batches(4, 16)(torch.Generator().manual_seed(0))
    deaf = awake(replace(CONFIG, p_uncond=1.0))
    losses = []
    for captions in (batch.captions, batch.captions[::-1]):
        torch.manual_seed(5)
        losses.append(deaf.loss((batch.pictures, captions)).item())
    assert losses[0] == losses[1]
    hears = awake(replace(CONFIG, p_uncond=0.0))
    torch.manual_seed(5)
    one = hears.loss(batch).item()
    torch.manual_seed(5)
    assert hears.loss((batch.pictures, batch.captions[::-1])).item() != one


def test_about_a_fifth_of_the_rows_lose_their_caption():
    seen = []
    system = awake(replace(CONFIG, p_uncond=0.2))
    system.text.register_forward_pre_hook(lambda module, args: seen.append(~args[1].any(1)))
    torch.manual_seed(0)
    for _ in range(4):
        system.loss((torch.zeros(64, 3, 16, 16), [STAR] * 64))
    assert torch.cat(seen).double().mean() == pytest.approx(0.2, abs=0.08)


def test_training_brings_its_loss_down_and_reaches_the_text():
    system = GLIDE(CONFIG)
    batches = scenes.batches(16, 16)
    before = system.text.tokens.weight.clone()
    losses = [step.loss for step in train.train(system, batches, steps=60, lr=3e-3, warmup=5)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert not torch.equal(before, system.text.tokens.weight)


def test_the_same_seed_gives_the_same_pictures_and_the_caption_matters():
    system = awake()
    one, again = (last(system.generate([STAR, DISC], steps=3, seed=4)) for _ in range(2))
    assert torch.equal(one, again) and one.shape == (2, 3, 16, 16)
    assert not torch.equal(one, last(system.generate([DISC, STAR], steps=3, seed=4)))
    assert torch.equal(last(system.generate(STAR, steps=2)), last(system.generate([STAR], steps=2)))


def test_scale_zero_does_not_listen_and_scale_one_is_the_plain_model():
    system = awake()
    unguided = [last(system.generate([text], steps=3, scale=0)) for text in (STAR, None)]
    assert torch.allclose(*unguided, atol=1e-5)
    assert not torch.allclose(
        last(system.generate([STAR], steps=3, scale=1)),
        last(system.generate([STAR], steps=3, scale=3)),
        atol=1e-4,
    )


@pytest.mark.parametrize(
    ("prompts", "says"),
    [
        ([], "at least one sentence"),
        (3, "at least one sentence"),
        ([""], "empty"),
        (["a zebra"], "zebra"),
        (["a red star and " * 12 + "a red star"], "tokens"),
        ([3], "must be a string"),
    ],
)
def test_what_it_cannot_read_gets_a_sentence(prompts, says):
    with pytest.raises(ValueError, match=says):
        awake().generate(prompts)


def test_a_scale_without_a_null_a_foreign_tokenizer_and_other_widths_are_refused():
    never = awake(replace(CONFIG, p_uncond=0.0))
    with pytest.raises(ValueError, match="p_uncond = 0"):
        never.generate([STAR])
    with pytest.raises(ValueError, match="build it as GLIDE"):
        GLIDE(replace(CONFIG, text=replace(TEXT, context=20))).encode([STAR])
    with pytest.raises(ValueError, match="net.vector is 16"):
        replace(CONFIG, text=replace(TEXT, width=32))
    with pytest.raises(ValueError, match="3 pictures and 1 captions"):
        awake().loss((torch.zeros(3, 3, 16, 16), [STAR]))
