"""Latent diffusion on tiny networks: latents and their scale, what is heard, what lies beside."""

import math
from dataclasses import replace

import pytest
import torch

from labkit import model_file, scenes, train, zoo
from labkit.denoiser import clip
from labkit.lab.attention_maps import cross_layers
from labkit.nets.autoencoder import AutoencoderConfig
from labkit.nets.transformer import TextConfig
from labkit.nets.unet import UNetConfig
from labkit.systems.autoencoder import FirstStage, FirstStageConfig
from labkit.systems.ldm import LDM, LDMConfig

TEXT = TextConfig(vocabulary=1009, context=32, width=16, depth=1, heads=2, end=1008)
PIXELS = AutoencoderConfig(
    size=16, width=8, multipliers=(1, 2), blocks=1, groups=4, latent=3, attention=False, fold=2
)
NET = UNetConfig(
    size=4, channels=3, width=16, multipliers=(1, 2), blocks=1, attention=(4,), groups=8, heads=2,
    mixer="spatial", tokens=16,
)  # fmt: skip
CONFIG = LDMConfig(net=NET, autoencoder=PIXELS, text=TEXT, T=50)
PLAIN = replace(CONFIG, net=replace(NET, tokens=None), text=None)
CLASSES = replace(CONFIG, text=None, classes=4)
INPAINTS = replace(CONFIG, net=replace(NET, image=4), inpaints=True)
UPSAMPLES = replace(CONFIG, net=replace(NET, image=12), upsamples=8)
STAR, DISC = "a red star", "a large blue disc on a mint background"


def awake(config=CONFIG, seed=0, scale=0.5) -> LDM:
    """Every weight drawn anew: branches that start at zero would hide mistakes."""
    system, generator = LDM(config).eval(), torch.Generator().manual_seed(seed)
    for weight in system.parameters():
        weight.data = 0.2 * torch.randn(weight.shape, generator=generator)
    system.scale.fill_(scale)
    return system


def attentive() -> LDM:
    """One whose pictures depend on where its places look."""
    system = awake()
    for layer in cross_layers(system.denoiser.net).values():
        layer.q.weight.data *= 5
        layer.kv.weight.data *= 5
    return system


def last(states):
    *_, state = states
    return state


def pictures(count=2, size=16, seed=0):
    return scenes.render(scenes.draw(count, seed, "all"), size)


def half_known(size=16):
    mask = torch.zeros(1, 1, size, size)
    mask[..., : size // 2] = 1
    return mask


def loss(system, batch):
    torch.manual_seed(0)
    return system.loss(batch)


# Latents


def test_the_first_batch_of_training_makes_latents_of_unit_size_and_later_ones_change_nothing():
    system = awake(scale=torch.inf).train()
    x = pictures(16)
    system.loss((x, [STAR] * 16))
    measured = system.scale.clone()
    assert abs(system.latents(x).std() - 1) < 0.1
    system.loss((x / 10, [STAR] * 16))
    assert torch.equal(system.scale, measured)


def test_no_average_blurs_the_scale_and_the_file_keeps_it(tmp_path):
    batches = scenes.batches(4, 16)
    draw = lambda generator: batches(generator)[:2]  # noqa: E731
    system = LDM(CONFIG)
    steps = [(step, step.ema.scale.item()) for step in train.train(system, draw, 3, ema=0.9)]
    assert {scale for _, scale in steps} == {system.scale.item()} != {torch.inf}
    path = tmp_path / "ldm.safetensors"
    model_file.save(path, steps[-1][0].ema)
    again = model_file.load(path)
    assert again.config == CONFIG and again.scale == pytest.approx(system.scale.item(), rel=1e-3)


def test_decoding_divides_by_the_scale_that_encoding_multiplied_by():
    system, x = awake(scale=0.2), pictures()
    z = system.latents(x, torch.Generator().manual_seed(1))
    raw = system.autoencoder.encode(x, torch.Generator().manual_seed(1))
    torch.testing.assert_close(z, 0.2 * raw)
    torch.testing.assert_close(system.decode(z), system.autoencoder.decode(raw))
    assert not torch.allclose(system.autoencoder.decode(z), system.decode(z), atol=1e-2)


def test_training_diffuses_draws_from_the_posterior_and_leaves_the_autoencoder_alone():
    system = awake().train()
    before = [weight.clone() for weight in system.autoencoder.parameters()]
    optimizer = torch.optim.SGD([w for w in system.parameters() if w.requires_grad], lr=0.1)
    loss(system, (pictures(), [STAR, DISC])).backward()
    optimizer.step()
    assert all(map(torch.equal, before, system.autoencoder.parameters()))
    assert all(weight.grad is None for weight in system.autoencoder.parameters())
    torch.manual_seed(0)
    first = system.autoencoder.encode(pictures())
    assert not torch.equal(first, system.autoencoder.encode(pictures()))


def test_the_text_transformer_learns_along():
    system = awake().train()
    loss(system, (pictures(), [STAR, DISC])).backward()
    assert all(weight.grad.any() for weight in system.condition.text.transformer.parameters())


def test_it_takes_over_an_autoencoder_and_refuses_one_of_another_size_or_f():
    first, system = FirstStage(FirstStageConfig(PIXELS)), LDM(CONFIG)
    system.begin_from(first)
    assert torch.equal(system.autoencoder.mean(pictures()), first.autoencoder.mean(pictures()))
    for other, says in (
        (replace(PIXELS, size=32), "1/4 of 32"),
        (replace(PIXELS, fold=1), "1/2 of 16"),
        (replace(PIXELS, latent=4), r"\(4, 4, 4\)"),
        (replace(PIXELS, width=16), "its width is 16 instead of 8"),
    ):
        with pytest.raises(ValueError, match=says):
            system.begin_from(FirstStage(FirstStageConfig(other)))


# Pictures of states


def test_every_state_can_be_shown_as_pictures_and_the_last_one_is_its_latents_decoded():
    system = awake()
    states = list(system.generate([STAR, DISC], steps=3))
    assert [state.x.shape for state in states] == [(2, 3, 4, 4)] * 3
    assert [state.pictures.shape for state in states] == [(2, 3, 16, 16)] * 3
    final = states[-1]
    assert torch.equal(final.pictures, system.decode(final.x).detach().clamp(-1, 1))


def test_latents_are_not_clipped_unless_somebody_says_so():
    system = awake(scale=5.0)
    free, bound = (
        last(system.generate([STAR], steps=3, scale=1, **options)).x
        for options in ({}, {"map_x0": clip})
    )
    assert bound.abs().max() <= 1 < free.abs().max()


def test_the_same_seed_gives_the_same_pictures():
    first, again, other = (
        last(awake().generate([STAR], steps=2, seed=seed)).pictures for seed in (0, 0, 1)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)


# What it hears


def test_sentences_change_the_picture_and_the_null_is_padding():
    system = awake()
    one, other = (last(system.generate([text], steps=2, scale=1)).x for text in (STAR, DISC))
    assert not torch.allclose(one, other, atol=1e-4)
    unguided = [last(system.generate([text], steps=2, scale=0)).x for text in (STAR, None)]
    torch.testing.assert_close(*unguided)
    padding = system.condition.text.padding_emb[None]
    plain = system.condition.text.norm(system.condition.text.transformer(padding))
    torch.testing.assert_close(system.encode([None]).tokens, plain)


def test_a_row_loses_its_caption_as_often_as_it_should():
    always, never = (awake(replace(CONFIG, p_uncond=p)).train() for p in (1.0, 0.0))
    x = pictures()
    assert torch.equal(loss(always, (x, [STAR, DISC])), loss(always, (x, [DISC, DISC])))
    assert torch.equal(loss(always, (x, [STAR, DISC])), loss(never, (x, [None, None])))
    assert not torch.equal(loss(never, (x, [STAR, DISC])), loss(never, (x, [DISC, DISC])))


def test_classes_are_one_token_each_and_the_last_is_none_of_them():
    system = awake(CLASSES)
    assert system.hears == "classes" and system.classes == 4
    cond = system.encode(torch.tensor([3, 0]))
    assert cond.tokens.shape == (2, 1, 16)
    assert torch.equal(cond.tokens[0, 0], system.condition.tokens.weight[3])
    assert torch.equal(system.encode([None]).tokens[0, 0], system.condition.tokens.weight[4])
    one, other = (last(system.generate([label], steps=2)).x for label in (0, 1))
    assert not torch.allclose(one, other, atol=1e-4)
    assert torch.equal(one, last(system.generate(torch.tensor([0]), steps=2)).x)
    assert loss(system.train(), (pictures(), torch.tensor([0, 3]))).isfinite()


def test_without_a_condition_it_is_told_how_many():
    system = awake(PLAIN)
    assert system.hears is None
    assert last(system.generate(3, steps=2)).pictures.shape == (3, 3, 16, 16)
    assert loss(system.train(), pictures()).isfinite()
    with pytest.raises(ValueError, match="leave out scale"):
        system.generate(2, scale=2.0)
    with pytest.raises(ValueError, match="leave out negative"):
        system.generate(2, negative=STAR)
    with pytest.raises(ValueError, match="number of pictures"):
        system.generate(0)


def test_several_sentences_and_a_negative_one_guide_it():
    system = awake()
    options = {"steps": 2, "scale": 2.0}
    plain, both, away = (
        last(system.generate(prompts, negative=negative, **options)).x
        for prompts, negative in (
            ([STAR], None), ([{STAR: 2.0, DISC: 1.0}], None), ([STAR], DISC)
        )
    )  # fmt: skip
    assert not torch.allclose(plain, both, atol=1e-4)
    assert not torch.allclose(plain, away, atol=1e-4)


# Other pictures beside the latents


def test_known_pixels_stay_bit_for_bit_and_the_others_are_drawn():
    for config in (CONFIG, INPAINTS):
        system, image = awake(config), pictures()
        drawn = last(system.generate([STAR, DISC], steps=3, known=(image, half_known()), eta=1.0))
        assert torch.equal(drawn.pictures[..., :8], image[..., :8])
        assert not torch.allclose(drawn.pictures[..., 8:], image[..., 8:], atol=0.05)


def test_what_is_erased_has_no_part_in_the_picture():
    for config in (CONFIG, INPAINTS):
        system, image = awake(config), pictures()
        other = torch.where(half_known().bool(), image, -image.roll(1, 0))
        drawn = [
            last(system.generate([STAR, DISC], steps=3, known=(x, half_known()))).x
            for x in (image, other)
        ]
        assert torch.equal(*drawn)


def test_a_place_of_the_latents_is_known_where_all_of_its_pixels_are():
    system, mask = awake(), half_known()
    assert torch.equal(system.known_places(mask)[0, 0, 0], torch.tensor([1.0, 1, 0, 0]))
    mask[..., 3, 7] = 0
    assert system.known_places(mask).sum() == 7


def test_an_inpainting_model_sees_the_known_pixels_alone_and_a_plain_one_does_not():
    system, image, mask = awake(INPAINTS), pictures(), half_known()
    other = torch.where(mask.bool(), image, image.roll(1, 0))
    seen = [system.beside(x, mask.expand(2, -1, -1, -1), None) for x in (image, other)]
    assert torch.equal(*seen) and seen[0].shape == (2, 4, 4, 4)
    torch.testing.assert_close(seen[0][:, :3], system.scale * system.autoencoder.mean(image * mask))
    assert awake().beside(image, mask, None) is None


def test_it_learns_to_inpaint_from_masks_of_its_batch():
    system = awake(INPAINTS).train()
    x, captions = pictures(), [STAR, DISC]
    ones, zeros = torch.ones(2, 1, 16, 16), torch.zeros(2, 1, 16, 16)
    losses = [loss(system, (x, captions, mask)) for mask in (ones, zeros)]
    assert losses[0] != losses[1]
    for bad in ((), (torch.ones(2, 1, 8, 8),), (0.5 * ones,)):
        with pytest.raises(ValueError, match="learns from|nothing between"):
            system.loss((x, captions, *bad))


def test_an_upsampler_sees_the_smaller_picture():
    system, low = awake(UPSAMPLES), pictures(size=8)
    assert system.beside(None, None, low).shape == (2, 12, 4, 4)
    one, other = (
        last(system.generate([STAR, DISC], low=x, steps=2)).pictures for x in (low, low.flip(0))
    )
    assert one.shape == (2, 3, 16, 16) and not torch.allclose(one, other, atol=1e-3)
    assert loss(system.train(), (pictures(), [STAR, DISC])).isfinite()


def test_an_upsampler_sees_all_of_a_smaller_picture_that_is_larger_than_the_latents():
    system, low = awake(UPSAMPLES), pictures(size=8)
    chess = torch.tensor([[0.1, -0.1], [-0.1, 0.1]]).repeat(4, 4)  # the same means of squares
    assert not torch.allclose(*(system.beside(None, None, x) for x in (low, low + chess)))
    small = awake(replace(CONFIG, net=replace(NET, image=3), upsamples=2))
    assert small.beside(None, None, pictures(size=8)[..., :2, :2]).shape == (2, 3, 4, 4)


def test_an_upsampler_learns_from_the_smaller_pictures_of_its_batch_where_there_are_some():
    system, x, low = awake(UPSAMPLES).train(), pictures(), torch.zeros(2, 3, 8, 8)
    captions, means = [STAR, DISC], torch.nn.functional.avg_pool2d(x, 2)
    assert loss(system, (x, captions, means)) == loss(system, (x, captions))
    assert loss(system, (x, captions, low)) != loss(system, (x, captions))
    with pytest.raises(ValueError, match="low has shape"):
        system.loss((x, captions, x))


def test_training_in_bfloat16_diffuses_latents_and_noise_of_full_precision():
    system, seen = awake().train(), []
    system.denoiser.net.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(system, (pictures(), [STAR, DISC])).dtype == torch.float32
    assert seen == [torch.float32]


def test_with_a_codebook_unrounded_latents_are_diffused_and_decoding_rounds_them():
    config = replace(CONFIG, autoencoder=replace(PIXELS, codebook=7))
    system = awake(config)
    final = last(system.generate([STAR], steps=2))
    rounded = system.autoencoder.codebook(final.x / system.scale)
    assert torch.equal(final.pictures, system.autoencoder.expand(rounded).detach().clamp(-1, 1))
    assert torch.equal(system.latents(pictures()), system.latents(pictures()))


def test_the_recipes_fit_each_other_and_each_f_keeps_half_as_many_numbers_as_the_one_before():
    stages = [zoo.recipe(f"autoencoder-scenes-f{f}").config.net for f in (2, 4, 8)]
    assert [net.f for net in stages] == [2, 4, 8] and {net.size for net in stages} == {64}
    kept = [math.prod(net.latent_shape) for net in stages]
    assert kept == [2048, 1024, 512]
    vq = zoo.recipe("autoencoder-scenes-f4-vq").config.net
    assert vq.codebook and replace(vq, codebook=None, entries_std=None) == stages[1]
    assert zoo.recipe("ldm-scenes").config.autoencoder == stages[1]
    pictures, captions = zoo.recipe("ldm-scenes").batches()(torch.Generator().manual_seed(0))
    assert pictures.shape[1:] == (3, 64, 64) and len(captions) == len(pictures)


# Bad input


@pytest.mark.parametrize(
    ("config", "options", "says"),
    [
        (CONFIG, {"low": pictures(size=8)}, "makes no picture larger"),
        (UPSAMPLES, {}, "8 pixels a side larger"),
        (CONFIG, {"known": (pictures(size=8), half_known(8))}, "known picture has shape"),
        (replace(CONFIG, p_uncond=0.0), {"scale": 2.0}, "no null"),
        (CONFIG, {"scale": float("nan")}, "finite"),
        (CONFIG, {"negative": "a zebra"}, "zebra"),
        (CONFIG, {"eta": 2.0}, "eta"),
        (CONFIG, {"etta": 1.0}, "'eta'"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(config, options, says):
    with pytest.raises(ValueError, match=says):
        list(awake(config).generate([STAR, DISC], **options))


def test_latents_of_another_shape_and_an_untrained_model_get_a_sentence():
    with pytest.raises(ValueError, match=r"takes \(B, 3, 4, 4\)"):
        awake().decode(torch.zeros(1, 4, 4, 4))
    with pytest.raises(ValueError, match="torch tensor"):
        awake().decode([1.0])
    new = LDM(CONFIG).eval()
    for call in (
        lambda: new.generate([STAR]),
        lambda: new.latents(pictures()),
        lambda: new.decode(torch.zeros(1, 3, 4, 4)),
        lambda: new.loss((pictures(), [STAR, DISC])),
    ):
        with pytest.raises(ValueError, match="has not been trained"):
            call()
    with pytest.raises(ValueError, match="zebra"):
        awake().encode(["a zebra"])
    with pytest.raises(ValueError, match="from 0 to 3"):
        awake(CLASSES).encode([4])
    with pytest.raises(ValueError, match="2 pictures and 1 sentences"):
        awake().loss((pictures(), [STAR]))
    with pytest.raises(ValueError, match="2 pictures and no classes"):
        awake(CLASSES).loss(pictures())
    with pytest.raises(ValueError, match=r"a class for each: \[3\]"):
        awake(CLASSES).generate(3)


@pytest.mark.parametrize(
    ("config", "more", "takes"),
    [
        (PLAIN, ([STAR, DISC],), "pictures"),
        (CONFIG, ([STAR, DISC], torch.ones(2, 1, 16, 16)), "pictures, sentences"),
        (INPAINTS, ([STAR, DISC], torch.ones(2, 1, 16, 16), 0), "sentences, masks"),
        (UPSAMPLES, ([STAR, DISC], torch.zeros(2, 3, 8, 8), 0), "sentences, smaller pictures"),
    ],
)
def test_nothing_of_a_batch_is_ignored(config, more, takes):
    with pytest.raises(ValueError, match=f"does not take: give .*{takes} alone"):
        awake(config).train().loss((pictures(), *more))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"net": replace(NET, channels=4)}, "net.channels is 4, but must be 3"),
        ({"net": replace(NET, size=8)}, "net.size is 8, but must be 4"),
        ({"net": replace(NET, tokens=8)}, "net.tokens is 8, but must be 16"),
        ({"text": None}, "net.tokens is 16, but must be None"),
        ({"classes": 3}, "text and classes are both set"),
        ({"inpaints": True}, "net.image is 0, but must be 4"),
        ({"upsamples": 16}, "upsamples is 16, but .* from 1 to 15"),
        ({"upsamples": 6}, "upsamples is 6, but .* multiple"),
        ({"upsamples": 8}, "net.image is 0, but must be 12"),
        ({"net": replace(NET, learned_variance=True)}, "no 8-bit levels"),
        ({"clip_text": True, "text": None, "net": replace(NET, tokens=None)}, "clip_text"),
        ({"text": None, "classes": 3, "net": replace(NET, tokens=None)}, "net.tokens is None"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        replace(CONFIG, **change)
