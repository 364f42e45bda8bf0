"""DALL·E 2's recipes: what its parts are shown, and that they fit together."""

import pytest
import torch

from labkit import zoo
from labkit.recipes import dalle2, glide
from labkit.scenes import tokenizer
from labkit.systems.dalle2 import DALLE2
from labkit.systems.embedding_codes import components_for
from labkit.systems.glide import GLIDE
from labkit.systems.prior_inputs import mark_of


@pytest.fixture(scope="module")
def clip():
    return zoo.load("clip-scenes").requires_grad_(False)


def test_each_picture_comes_with_what_people_say_and_with_a_sentence_that_leaves_nothing_out(
    clip, monkeypatch
):
    monkeypatch.setattr(dalle2, "CHUNK", 16)
    image, texts = dalle2.embedded_scenes(clip, 40, seed=3)
    assert image.shape == texts.embedding.shape == (80, 128)
    assert torch.equal(image[:40], image[40:])
    assert len(image[:40].unique(dim=0)) == 40
    said, whole = texts.mask.sum(1).split(40)
    assert whole.double().mean() > said.double().mean() + 2
    sentences = tokenizer.load().decode(texts.ids)
    with torch.no_grad():
        assert torch.allclose(clip.encode_text(sentences), texts.embedding, atol=1e-5)
    again, _ = dalle2.embedded_scenes(clip, 40, seed=3)
    other, _ = dalle2.embedded_scenes(clip, 40, seed=4)
    assert torch.equal(image, again) and not torch.equal(image, other)


def test_a_batch_of_the_decoder_is_pictures_captions_and_what_clip_sees(clip):
    pictures, captions, z = dalle2.embedded_scene_batches(clip)(torch.Generator().manual_seed(0))
    assert pictures.shape == (64, 3, 32, 32) and len(captions) == 64
    with torch.no_grad():
        assert torch.equal(z, clip.encode_image(pictures))
    assert not z.requires_grad


@pytest.fixture(scope="module")
def priors(clip):
    """Both, as their recipes begin them, the codes from fewer embeddings."""
    diffusion, recipe = (
        zoo.build("diffusion-prior-scenes"),
        zoo.recipe("autoregressive-prior-scenes"),
    )
    codes = recipe.system(recipe.config)
    codes.fit(clip, *dalle2.embeddings(clip, 400))
    return {"diffusion": diffusion, "autoregressive": codes}


@pytest.mark.parametrize("name", ["diffusion", "autoregressive"])
def test_a_prior_is_small_learns_from_its_batches_and_knows_its_clip(clip, priors, name):
    system = priors[name]
    assert 2 * sum(tensor.numel() for tensor in system.state_dict().values()) < 2e6  # bytes
    assert torch.equal(system.clip_mark, mark_of(clip))
    batch = dalle2.embedding_batches(clip, 64)(torch.Generator().manual_seed(0))
    assert system.loss(batch).isfinite()


def test_the_codes_are_as_many_as_keep_ninety_nine_percent_of_the_variance(clip):
    image, _ = dalle2.embeddings(clip, 600)
    assert components_for(image, 0.01) == zoo.recipe("autoregressive-prior-scenes").config.net.codes


def test_the_decoder_is_the_network_of_glide_scenes_and_all_parts_make_one_system(clip, priors):
    made = zoo.recipe("unclip-decoder-scenes")
    torch.manual_seed(0)
    decoder, base = made.system(made.config), GLIDE(glide.RECIPES["glide-scenes"].config)
    decoder.begin_from(base)
    decoder.fit(clip)
    assert made.begins_from == "glide-scenes"
    whole = zoo.recipe("dalle2-scenes")
    assert whole.system is DALLE2 and set(whole.parts.values()) <= set(zoo.names())
    system = DALLE2(clip, decoder, **priors)
    assert list(system.parts) == list(whole.parts)
    *_, last = system.eval().generate(["a red star"], steps=2, prior_options={"steps": 2})
    assert last.pictures.shape == (1, 3, 32, 32)
