"""DALL·E 2 at random weights: its parts fit, sentences become pictures, pictures are changed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from labkit import model_file
from labkit.interpolate import slerp
from labkit.nets.resnet import ResNetConfig
from labkit.systems.clip import CLIP, CLIPConfig
from labkit.systems.dalle2 import DALLE2
from tests.machines.tiny import WORDS
from tests.systems import test_glide, test_priors, test_unclip_decoder
from tests.systems.test_glide import CONFIG, DISC, NET, STAR, last, pictures
from tests.systems.test_priors import CODES, DIFFUSION, clip, unit


def parts() -> dict:
    return {
        "clip": clip(),
        "decoder": test_unclip_decoder.awake(),
        "diffusion": test_priors.awake(DIFFUSION),
        "autoregressive": test_priors.awake(CODES),
    }


@pytest.fixture(scope="module")
def system():
    return DALLE2(**parts()).eval()


UPSAMPLER = replace(CONFIG, net=replace(NET, size=32, image=3), upsamples=16)


# From sentences


@pytest.mark.parametrize("prior", ["diffusion", "autoregressive", None])
def test_a_sentence_becomes_a_picture_by_way_of_either_prior_or_of_none(system, prior):
    states = list(system.generate([STAR, DISC], prior=prior, steps=3, seed=1))
    assert [state.stage for state in states] == ["decoder"] * 3 == system.stages * 3
    assert states[-1].x.shape == (2, 3, 16, 16) and states[-1].x.isfinite().all()
    assert torch.equal(
        last(system.generate([STAR, DISC], prior=prior, steps=3, seed=1)), states[-1].x
    )


def test_the_decoder_is_told_what_the_prior_draws_and_has_the_same_noise_for_each(system):
    drawn = {}
    for prior in ("diffusion", "autoregressive", None):
        z = None if prior is None else system.embed([STAR], prior, seed=7)
        noise = torch.Generator().manual_seed(7 + 1_000_003)
        expected = last(system.decoder.generate([STAR], embedding=z, steps=3, seed=noise))
        drawn[prior] = last(system.generate([STAR], prior=prior, steps=3, seed=7))
        assert torch.equal(drawn[prior], expected)
    assert not torch.equal(drawn["diffusion"], drawn["autoregressive"])
    assert not torch.equal(drawn["diffusion"], drawn[None])


def test_a_prior_may_have_a_seed_of_its_own(system):
    one, again, other = (
        last(system.generate([STAR], steps=2, seed=1, prior_options=own))
        for own in ({}, {"seed": 1}, {"seed": 2})
    )
    assert torch.equal(one, again) and not torch.equal(one, other)


def test_options_of_a_prior_reach_it(system):
    few, many = (system.embed([STAR] * 8, candidates=count, steps=4) for count in (1, 8))
    text = system.clip.encode_text([STAR])
    assert (many @ text.T).mean() > (few @ text.T).mean()
    assert torch.allclose(few.norm(dim=1), torch.ones(8), atol=1e-5)


def test_an_upsampler_makes_the_decoder_s_pictures_larger():
    larger = DALLE2(**parts(), upsampler=test_glide.awake(UPSAMPLER)).eval()
    assert larger.stages == ["decoder", "upsampler"]
    states = list(larger.generate([STAR], steps=2))
    assert {state.stage: state.x.shape[-1] for state in states} == {"decoder": 16, "upsampler": 32}


# From pictures


def test_variations_without_noise_bring_the_picture_back_and_with_noise_do_not(system):
    config = replace(
        test_unclip_decoder.CONFIG,
        glide=replace(CONFIG, predicts="eps", schedule="scaled_linear", T=200),
    )
    inverting = DALLE2(clip(), test_unclip_decoder.awake(config)).eval()
    image, errors = pictures(2), []
    for steps in (5, 20, 100):
        back = last(inverting.variations(image, 0.0, steps=steps, t0=1))
        errors.append((back - image).square().mean().item())
    assert errors[0] > errors[1] > errors[2] < 0.01  # nor does the noise of t = 1 come off
    one, other = (last(inverting.variations(image, 1.0, steps=10, seed=seed)) for seed in (0, 1))
    assert not torch.allclose(one, other, atol=0.05)
    assert torch.equal(one, last(inverting.variations(image, 1.0, steps=10, seed=0)))


def test_interpolation_goes_from_one_picture_to_the_other_along_both_arcs(system):
    a, b = pictures(1, seed=1), pictures(1, seed=2)
    between = last(system.interpolate(a, b, 5, steps=10))
    assert between.shape == (5, 3, 16, 16)
    for picture, end in ((a, between[:1]), (b, between[-1:])):
        assert torch.allclose(last(system.variations(picture, 0.0, steps=10)), end, atol=1e-3)
    (z1, x1, times), (z2, x2, _) = (system.taken_apart(picture, 10) for picture in (a, b))
    middle = last(system.drawn(slerp(z1, z2, 0.5), slerp(x1, x2, 0.5), times, 1.0))
    assert torch.allclose(between[2:3], middle, atol=1e-3)


def test_a_change_of_words_turns_the_embedding_and_leaves_the_noise(system):
    image = pictures(1)
    states = system.text_diff(image, STAR, "a blue star", [0.0, 0.5, 1.0], steps=10)
    none, half, whole = last(states)
    assert torch.allclose(none, last(system.variations(image, 0.0, steps=10))[0], atol=1e-3)
    z, x_T, times = system.taken_apart(image, 10)
    with torch.no_grad():
        before, after = system.clip.encode_text([STAR, "a blue star"])
    change = F.normalize(after - before, dim=0)[None]
    assert torch.allclose(last(system.drawn(change, x_T, times, 1.0))[0], whole, atol=1e-3)
    assert torch.allclose(
        last(system.drawn(slerp(z, change, 0.5), x_T, times, 1.0))[0], half, atol=1e-3
    )
    assert last(system.text_diff(image, STAR, "a blue star", 0.25, steps=4)).shape[0] == 1
    listed = last(system.text_diff(image, STAR, "a blue star", [0.0, 0.5], steps=4))
    for shares in (torch.linspace(0, 0.5, 2), np.linspace(0, 0.5, 2)):
        assert torch.equal(
            last(system.text_diff(image, STAR, "a blue star", shares, steps=4)), listed
        )


NOISY = replace(test_unclip_decoder.CONFIG, glide=replace(CONFIG, schedule="cosine", T=1000))


def test_a_decoder_that_is_a_little_wrong_still_finds_noise_that_leads_back():
    clear = DALLE2(clip(), test_unclip_decoder.awake(NOISY)).eval()
    image = pictures(2)
    wrong = 0.03 * torch.randn(image.shape, generator=torch.Generator().manual_seed(3)).sign()
    clear.decoder.glide.denoiser.net.forward = lambda x, t, cond: image + wrong
    z, x_T, times = clear.taken_apart(image)
    assert times[0] == 1000 and times[-1] == 0 and 100 in times and len(times) == 51
    assert x_T.std().item() == pytest.approx(1.0, abs=0.05)
    assert torch.allclose(last(clear.variations(image, 0.0)), image + wrong, atol=1e-4)
    _, from_the_start, _ = clear.taken_apart(image, t0=1)
    assert from_the_start.std() > 4
    drawn_anew, again = (clear.taken_apart(image, seed=seed)[1] for seed in (1, 0))
    assert torch.equal(again, x_T) and not torch.allclose(drawn_anew, x_T, atol=0.5)


# What is refused


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda s: s.generate([STAR], prior="diffuse"), "did you mean 'diffusion'"),
        (lambda s: s.generate([]), "at least one sentence"),
        (lambda s: s.generate(["a zebra"]), "zebra"),
        (lambda s: s.generate([STAR], seed=-1), "seed is -1"),
        (lambda s: s.generate([STAR], ets=1.0), "did you mean 'eta'"),
        (lambda s: s.embed([STAR], stepz=2), "option of the prior 'stepz'.* steps, "),
        (lambda s: s.embed([STAR], "autoregressive", steps=3), "one of scale, seed, temperature"),
        (lambda s: s.variations(pictures(1), scale=float("nan")), "scale is nan"),
        (lambda s: s.variations(pictures(1), seed=-1), "seed is -1"),
        (lambda s: s.text_diff(pictures(1), STAR, DISC, torch.tensor([0.5, 1.5])), "theta is 1.5"),
        (lambda s: s.variations(pictures(1), 1.5), "eta is 1.5"),
        (lambda s: s.variations(pictures(1), t0=0), "t0 is 0"),
        (lambda s: s.interpolate(pictures(1), pictures(1), t0=10**4), "t0 is 10000"),
        (lambda s: s.text_diff(pictures(1), STAR, DISC, steps=1), "number of steps is 1"),
        (lambda s: s.variations(pictures(1, 32)), "do not fit this CLIP"),
        (lambda s: s.variations(100 * pictures(1)), "lie in"),
        (lambda s: s.variations(pictures(1)[0]), "pictures are .B, C, H, W."),
        (lambda s: s.interpolate(pictures(2), pictures(1)), "a holds 2 pictures"),
        (lambda s: s.interpolate(pictures(1), pictures(1), 1), "number of pictures is 1"),
        (lambda s: s.interpolate(pictures(1), pictures(1, 8)), "do not fit this CLIP"),
        (lambda s: s.text_diff(pictures(1), STAR, DISC, 1.5), "theta is 1.5"),
        (lambda s: s.text_diff(pictures(1), STAR, DISC, [0.2, -0.1]), "theta is -0.1"),
        (lambda s: s.text_diff(pictures(1), STAR, DISC, []), "0 shares"),
        (lambda s: s.text_diff(pictures(2), STAR, DISC), "2 images"),
        (lambda s: s.text_diff(pictures(1), STAR, STAR), "are the same to this CLIP"),
        (lambda s: s.decoder.generate([STAR], embedding=2 * unit(1)), "unit vectors"),
    ],
)
def test_bad_input_gets_a_sentence_at_once(system, call, says):
    with pytest.raises(ValueError, match=says):
        call(system)


def test_parts_of_another_clip_or_size_are_refused():
    for name in ("decoder", "diffusion", "autoregressive"):
        given = parts()
        given[name].clip_mark.copy_(unit(1)[0])
        with pytest.raises(ValueError, match=f"{name}.* was trained with another CLIP"):
            DALLE2(**given)
    torch.manual_seed(0)
    larger = CLIP(
        CLIPConfig(ResNetConfig(size=32, width=8, blocks=(1, 1), heads=4, stem=1), WORDS, 8)
    )
    given = parts() | {"clip": larger}
    for name in ("decoder", "diffusion", "autoregressive"):
        given[name].fit(larger, *([unit(50), unit(50, 1)] if name == "autoregressive" else []))
    with pytest.raises(ValueError, match="this CLIP looks at 32"):
        DALLE2(**given)
    wrong = test_glide.awake(test_glide.UPSAMPLES)
    with pytest.raises(ValueError, match="pictures of 8 pixels larger"):
        DALLE2(**parts(), upsampler=wrong)


def test_a_prior_that_is_not_there_cannot_be_asked(system):
    alone = DALLE2(system.clip, system.decoder)
    assert last(alone.generate([STAR], prior=None, steps=2)).shape == (1, 3, 16, 16)
    with pytest.raises(ValueError, match="unknown prior 'diffusion'"):
        alone.generate([STAR])


def test_all_of_it_is_built_again_from_one_file(system, tmp_path):
    model_file.save(tmp_path / "dalle2.safetensors", system)
    again = model_file.load(tmp_path / "dalle2.safetensors")
    assert list(again.parts) == list(system.parts)
    one, two = (last(s.generate([STAR], prior=None, steps=3)) for s in (system, again))
    assert torch.allclose(one, two, atol=0.02)


def test_a_file_of_parts_of_different_clips_is_refused(tmp_path):
    whole = DALLE2(**parts())
    whole.diffusion.clip_mark.copy_(unit(1)[0])
    model_file.save(tmp_path / "mixed.safetensors", whole)
    with pytest.raises(ValueError, match="diffusion prior was trained with another CLIP"):
        model_file.load(tmp_path / "mixed.safetensors")


def test_a_prior_that_reads_less_than_its_clip_is_refused():
    for name, config in (
        ("diffusion", replace(DIFFUSION, vocabulary=1000)),
        ("autoregressive", replace(CODES, net=replace(CODES.net, context=20))),
    ):
        given = parts() | {name: test_priors.awake(config)}
        with pytest.raises(ValueError, match=f"the {name} prior reads captions of"):
            DALLE2(**given)


def test_a_decoder_that_always_had_a_caption_changes_no_pictures():
    config = replace(test_unclip_decoder.CONFIG, glide=replace(CONFIG, p_uncond=0.0))
    system, image = DALLE2(clip(), test_unclip_decoder.awake(config)).eval(), pictures(1)
    for call in (
        lambda: system.variations(image),
        lambda: system.interpolate(image, image),
        lambda: system.text_diff(image, STAR, DISC),
    ):
        with pytest.raises(ValueError, match="never trained without a caption"):
            call()
