"""GLIDE on a tiny network: what it reads, the null, both routes of the text, what it refuses."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from labkit import model_file, scenes, train
from labkit.data.pictures import quantize
from labkit.nets.transformer import BidirectionalTextTransformer, TextConfig
from labkit.nets.unet import UNet, UNetConfig
from labkit.sampler import ddpm
from labkit.scenes import tokenizer
from labkit.systems.ddpm import DDPM, DDPMConfig
from labkit.systems.glide import GLIDE, GLIDEConfig
from labkit.systems.glide_inputs import fast27

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
    x = torch.randn(len(cond.vector), 3, 16, 16, generator=torch.Generator().manual_seed(1))
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
    dropping = awake(replace(CONFIG, p_uncond=1.0))
    losses = []
    for captions in (batch.captions, batch.captions[::-1]):
        torch.manual_seed(5)
        losses.append(dropping.loss((batch.pictures, captions)).item())
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
        ([""], "None for no sentence"),
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


# Other pictures beside x

INPAINTS = replace(CONFIG, net=replace(NET, image=4), inpaints=True)
UPSAMPLES = replace(CONFIG, net=replace(NET, image=3), upsamples=8)


def pictures(count=2, size=16, seed=0):
    return scenes.render(scenes.draw(count, seed, "all"), size)


def half_known(size=16):
    mask = torch.zeros(1, 1, size, size)
    mask[..., : size // 2] = 1
    return mask


def test_an_inpainting_model_begins_as_the_model_that_it_begins_from():
    base, wider = awake(), GLIDE(INPAINTS).eval()
    wider.begin_from(base)
    cond = base.encode([STAR, DISC])
    image = torch.cat([pictures(), half_known().expand(2, -1, -1, -1)], 1)
    assert torch.allclose(answer(base, cond), answer(wider, cond._replace(image=image)), atol=1e-6)
    others = (
        CONFIG,  # sees less
        replace(INPAINTS, net=replace(INPAINTS.net, multipliers=(1, 2))),
        replace(INPAINTS, predicts="eps"),
        replace(INPAINTS, T=60),
    )
    for other in others:
        with pytest.raises(ValueError, match="differ in more"):
            GLIDE(other).begin_from(wider)


def test_a_model_that_hears_nothing_begins_as_one_whose_sentence_is_empty_and_not_looked_at():
    base = awake()
    bare = replace(NET, vector=None, vector_bias=False, tokens=None)
    alone = DDPM(DDPMConfig(bare, T=50, predicts="x0")).eval()
    alone.begin_from(base)
    before = answer(base, base.encode([None, None])._replace(tokens=None))
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(before, alone.denoiser(x, 20, None).x0, atol=1e-6)
    for other in (replace(bare, multipliers=(1, 2)), NET):
        with pytest.raises(ValueError, match="differ in more"):
            DDPM(DDPMConfig(other, T=50, predicts="x0")).begin_from(base)
    with pytest.raises(ValueError, match="differ in more"):
        alone.begin_from(awake(INPAINTS))


def test_what_learned_known_pixels_goes_on_with_them_where_a_smaller_picture_joins():
    """In the authors' order: x, known pixels, mask, smaller picture."""
    both = replace(CONFIG, net=replace(NET, image=7), inpaints=True, upsamples=8)
    assert list(both.beside) == ["known", "mask", "low"]
    image = torch.cat([pictures(), half_known().expand(2, -1, -1, -1)], 1)
    large = torch.nn.functional.interpolate(pictures(size=8), size=(16, 16), mode="bilinear")
    for config, seen in ((INPAINTS, image), (UPSAMPLES, large)):
        narrow, wide = awake(config), GLIDE(both).eval()
        wide.begin_from(narrow)
        cond = narrow.encode([STAR, DISC])
        joined = torch.cat([image, large], 1)
        one = answer(narrow, cond._replace(image=seen))
        assert torch.allclose(one, answer(wide, cond._replace(image=joined)), atol=1e-5)


@pytest.mark.parametrize("config", [CONFIG, INPAINTS])
def test_known_pixels_stay_bit_for_bit_and_the_others_are_drawn(config):
    system, image, mask = awake(config), pictures(), half_known()
    drawn = last(system.generate([STAR, DISC], steps=4, known=(image, mask), eta=1.0))
    assert torch.equal(drawn[..., :8], image[..., :8])
    assert not torch.allclose(drawn[..., 8:], image[..., 8:], atol=0.05)
    one = last(system.generate([STAR, DISC], steps=4, known=(image[:1], mask.bool()), eta=1.0))
    assert torch.equal(one[:, ..., :8], image[:1, ..., :8].expand(2, -1, -1, -1))


def test_an_inpainting_model_sees_only_the_known_pixels():
    system, image, mask = awake(INPAINTS), pictures(), half_known()
    other = torch.where(mask.bool(), image, image.roll(1, 0))
    options = {"steps": 3, "seed": 1}
    one, same = (
        last(system.generate([STAR, DISC], known=(picture, mask), **options))
        for picture in (image, other)
    )
    assert torch.equal(one, same)
    none = last(system.generate([STAR, DISC], **options))
    nothing = last(system.generate([STAR, DISC], known=(image, 0 * mask), **options))
    assert torch.allclose(none, nothing, atol=1e-5)


def test_it_learns_to_inpaint_from_masks_of_its_batch():
    system = awake(INPAINTS)
    losses = []
    for mask in (torch.ones(2, 1, 16, 16), torch.zeros(2, 1, 16, 16)):
        torch.manual_seed(0)
        losses.append(system.loss((pictures(), [STAR, DISC], mask)).item())
    assert losses[0] != losses[1]
    for bad in ((), (torch.ones(2, 1, 8, 8),), ([1, 2],)):
        with pytest.raises(ValueError, match="learns from .pictures, captions, masks."):
            system.loss((pictures(), [STAR, DISC], *bad))


def test_an_upsampler_sees_the_smaller_picture_as_a_file_would_hold_it():
    system, low = awake(UPSAMPLES), quantize(pictures(size=8))
    drawn = last(system.generate([STAR, DISC], low=low, steps=3))
    assert drawn.shape == (2, 3, 16, 16)
    nudged = last(system.generate([STAR, DISC], low=low + 0.2 / 127.5, steps=3))
    assert torch.equal(drawn, nudged)
    assert not torch.allclose(drawn, last(system.generate([STAR, DISC], low=-low, steps=3)))
    assert system.shrunk(pictures()).shape == (2, 3, 8, 8)
    means = pictures().reshape(2, 3, 8, 2, 8, 2).mean((3, 5))
    assert torch.allclose(system.shrunk(pictures()), means, atol=0.5 / 127.5 + 1e-6)
    assert system.loss((pictures(), [STAR, DISC])).isfinite()


def test_the_smaller_pictures_may_come_with_the_batch_after_the_masks():
    both = replace(CONFIG, net=replace(NET, image=7), inpaints=True, upsamples=8)
    for config, masks in ((UPSAMPLES, ()), (both, (half_known().expand(2, 1, -1, -1),))):
        system, losses = awake(config), []
        for low in ((), (system.shrunk(pictures()),), (-system.shrunk(pictures()),)):
            torch.manual_seed(0)
            losses.append(system.loss((pictures(), [STAR, DISC], *masks, *low)).item())
        assert losses[0] == losses[1] != losses[2]
    with pytest.raises(ValueError, match="low has shape"):
        awake(UPSAMPLES).loss((pictures(), [STAR, DISC], pictures()[..., ::4, ::4]))


def test_an_upsampler_walks_as_the_authors_do_unguided_and_from_a_little_less_noise():
    release = fast27(1000)
    assert len(release) == 28 and release[:8] == [998, 801, 800, 601, 600, 501, 401, 400]
    assert release[-11:] == [200, 178, 156, 134, 112, 89, 67, 45, 23, 1, 0]
    system, low, called = awake(UPSAMPLES), pictures(size=8), []
    system.denoiser.register_forward_pre_hook(lambda module, args: called.append(args))
    plain = last(system.generate([STAR, DISC], low=low))
    times = [int(t) for _, t, _ in called]
    assert times == fast27(50)[:-1] and {len(x) for x, _, _ in called} == {2}
    noise = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(called[0][0], 0.997 * noise)
    own = {"steps": fast27(50), "scale": 1.0, "temperature": 0.997}
    assert torch.equal(plain, last(system.generate([STAR, DISC], low=low, **own)))


def test_a_base_model_is_guided_by_three_in_25_steps_from_all_of_the_noise():
    system, own = awake(), {"steps": 25, "scale": 3.0, "temperature": 1.0}
    plain, same = (last(system.generate([STAR], **options)) for options in ({}, own))
    assert torch.equal(plain, same)
    assert not torch.equal(plain, last(system.generate([STAR], temperature=0.5)))


# Other guidance


def test_a_negative_sentence_stands_in_for_the_null():
    system, options = awake(), {"steps": 3, "scale": 2.0}
    plain, negative = (
        last(system.generate([STAR], negative=words, **options)) for words in (None, DISC)
    )
    assert not torch.allclose(plain, negative, atol=1e-5)
    itself = last(system.generate([STAR], negative=[STAR], **options))
    assert torch.allclose(itself, last(system.generate([STAR], steps=3, scale=1)), atol=1e-4)


def test_one_sentence_with_its_own_scale_is_plain_guidance():
    system = awake()
    plain = last(system.generate([STAR, DISC], steps=3, scale=2.0))
    own = last(system.generate([{STAR: 2.0}, DISC], steps=3, scale=2.0))
    assert torch.allclose(plain, own, atol=1e-4)


def test_several_sentences_add_up_and_each_row_has_its_own():
    system = awake()
    both = last(system.generate([{STAR: 2.0, DISC: 1.0}, STAR], steps=3, scale=2.0))
    alone = last(system.generate([STAR, STAR], steps=3, scale=2.0))
    assert torch.allclose(both[1], alone[1], atol=1e-4)
    assert not torch.allclose(both[0], alone[0], atol=1e-4)


@pytest.mark.parametrize(
    ("config", "options", "says"),
    [
        (CONFIG, {"low": pictures(size=8)}, "makes no picture larger"),
        (UPSAMPLES, {}, "8 pixels a side larger"),
        (UPSAMPLES, {"low": pictures()}, "low has shape"),
        (CONFIG, {"known": pictures()}, "must be .image, mask."),
        (CONFIG, {"known": (pictures(), half_known(8))}, "the mask has shape"),
        (CONFIG, {"known": (pictures(), 0.5 * half_known())}, "nothing between"),
        (CONFIG, {"known": (pictures(3), half_known())}, "the known picture has shape"),
        (CONFIG, {"known": (100 * pictures(), half_known())}, "lie in"),
        (CONFIG, {"negative": "a zebra"}, "zebra"),
        (CONFIG, {"negative": []}, "negative is"),
        (CONFIG, {"negative": [STAR] * 3}, "one for each of 2"),
        (CONFIG, {"scale": torch.ones(3)}, "3,. for 2 prompts"),
        (CONFIG, {"scale": "3"}, "scale"),
        (replace(CONFIG, p_uncond=0.0), {"negative": [None]}, "no null"),
        (CONFIG, {"scale": float("nan")}, "finite"),
        (CONFIG, {"temperature": -1}, "temperature"),
        (CONFIG, {"steps": [50, 50, 0]}, "below the one before"),
    ],
)
def test_other_pictures_and_guidance_that_do_not_fit_get_a_sentence(config, options, says):
    with pytest.raises(ValueError, match=says):
        awake(config).generate([STAR, DISC], **options)


def test_a_configuration_that_contradicts_itself_is_refused():
    with pytest.raises(ValueError, match="net.image is 0, but must be 4"):
        replace(CONFIG, inpaints=True)
    with pytest.raises(ValueError, match="upsamples is 16, but .* from 1 to 15"):
        replace(UPSAMPLES, upsamples=16)
    with pytest.raises(ValueError, match="empty mapping"):
        awake().generate([{}])


def test_masks_of_training_are_met_as_those_of_sampling_are():
    for bad in (255 * torch.ones(2, 1, 16, 16), torch.full((2, 1, 16, 16), 0.5)):
        with pytest.raises(ValueError, match="nothing between"):
            awake(INPAINTS).loss((pictures(), [STAR, DISC], bad))


def test_a_scale_of_one_number_may_be_a_tensor():
    system = awake()
    plain, tensor = (
        last(system.generate([STAR], steps=2, scale=scale)) for scale in (1.0, torch.tensor(1.0))
    )
    assert torch.equal(plain, tensor)


def test_each_row_keeps_its_own_sentence_s_variance_beside_a_composed_one():
    config = replace(CONFIG, net=replace(NET, learned_variance=True), predicts="eps")
    system, options = awake(config), {"steps": 3, "scale": 2.0, "step": ddpm}
    mixed = last(system.generate([{STAR: 2.0, DISC: 1.0}, STAR], **options))
    plain = last(system.generate([STAR, STAR], **options))
    assert torch.allclose(mixed[1], plain[1], atol=1e-4)


def test_a_tokenizer_of_its_own_cannot_be_saved_in_the_file_nor_gone_on_without(tmp_path):
    own = tokenizer.Tokenizer(tokenizer.load().pieces)
    system = GLIDE(CONFIG, own)
    assert tokenizer.words_of(None) == tokenizer.words_of(tokenizer.load()) == ""
    with pytest.raises(ValueError, match="tokenizer of its own"):
        model_file.save(tmp_path / "own.safetensors", system)
    first = train.train(system, scenes.batches(2, 16), 3, checkpoint=tmp_path / "a.run")
    next(first)
    with pytest.raises(ValueError, match="tokenizer"):
        next(train.train(GLIDE(CONFIG), scenes.batches(2, 16), 3, checkpoint=tmp_path / "a.run"))
