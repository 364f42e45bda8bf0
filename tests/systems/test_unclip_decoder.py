"""The decoder of DALL·E 2 on a tiny network: GLIDE, with an embedding beside the caption."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from labkit import model_file, scenes, train
from labkit.systems.glide import GLIDE
from labkit.systems.prior_inputs import check_clip
from labkit.systems.unclip_decoder import UnCLIPDecoder, UnCLIPDecoderConfig
from tests.systems.test_glide import CONFIG as BASE
from tests.systems.test_glide import DISC, STAR, UPSAMPLES, last, pictures
from tests.systems.test_priors import clip, unit

CONFIG = UnCLIPDecoderConfig(replace(BASE, p_uncond=0.5), dim=8)


def awake(config=CONFIG, seed=0):
    """Every weight drawn anew: branches that start at zero would hide mistakes."""
    system, generator = UnCLIPDecoder(config).eval(), torch.Generator().manual_seed(seed)
    for weight in system.parameters():
        weight.data = 0.1 * torch.randn(weight.shape, generator=generator)
    system.fit(clip())
    return system


@torch.no_grad()
def answer(system, cond):
    x = torch.randn(len(cond.vector), 3, 16, 16, generator=torch.Generator().manual_seed(1))
    return system.glide.denoiser(x, 20, cond).x0


def test_without_an_embedding_it_draws_as_the_model_that_it_begins_from():
    base = GLIDE(BASE).eval()
    for weight in base.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    system = UnCLIPDecoder(CONFIG).eval()
    system.begin_from(base)
    (one,), (two,) = ([last(s.generate([STAR], steps=3))] for s in (base, system))
    assert torch.allclose(one, two, atol=1e-5)
    with pytest.raises(ValueError, match="differ in more"):
        system.begin_from(GLIDE(replace(BASE, predicts="eps")))


def test_the_embedding_enters_by_both_routes_and_beside_it_the_caption():
    system, z = awake(), unit(2)
    cond, other = system.encode([STAR, DISC], z), system.encode([STAR, DISC], -z)
    assert cond.tokens.shape == (2, 32 + 4, 16) and cond.mask.all()
    whole = answer(system, cond)
    assert not torch.allclose(answer(system, cond._replace(vector=other.vector)), whole, atol=1e-5)
    assert not torch.allclose(answer(system, cond._replace(tokens=other.tokens)), whole, atol=1e-5)
    assert not torch.allclose(answer(system, system.encode([DISC, STAR], z)), whole, atol=1e-5)


def test_where_there_is_no_embedding_none_is_looked_at():
    system = awake()
    none = system.encode([STAR])
    assert none.mask.sum() == 32 and not none.mask[0, 32:].any()
    assert torch.equal(none.vector, system.glide.encode([STAR]).vector)
    changed = none._replace(tokens=torch.cat([none.tokens[:, :32], none.tokens[:, 32:] + 1], 1))
    assert torch.equal(answer(system, none), answer(system, changed))


def test_caption_and_embedding_are_dropped_each_by_itself():
    system, seen = awake(), []
    forward = system.condition

    def condition(tokens, embedding, known):
        seen.append((tokens.mask.any(1), known))
        return forward(tokens, embedding, known)

    system.condition = condition
    torch.manual_seed(0)
    for _ in range(12):
        system.loss((torch.zeros(64, 3, 16, 16), [STAR] * 64, unit(64)))
    said, known = (torch.cat(part).double() for part in zip(*seen, strict=True))
    assert said.mean() == pytest.approx(0.5, abs=0.05)
    assert known.mean() == pytest.approx(0.9, abs=0.03)
    assert (said * known).mean() == pytest.approx(0.45, abs=0.05)
    assert ((1 - said) * (1 - known)).mean() == pytest.approx(0.05, abs=0.025)


@pytest.mark.parametrize("drops", ["caption", "embedding"])
def test_what_is_always_dropped_is_never_learned_from(drops):
    caption, embedding = float(drops == "caption"), float(drops == "embedding")
    system = awake(
        UnCLIPDecoderConfig(replace(BASE, p_uncond=caption), 8, p_no_embedding=embedding)
    )
    losses = []
    for captions, z in (
        ([STAR, DISC], unit(2)),
        ([DISC, STAR], unit(2)),
        ([STAR, DISC], unit(2, 5)),
    ):
        torch.manual_seed(0)
        losses.append(system.loss((pictures(), captions, z)).item())
    assert (losses[0] == losses[1]) is (drops == "caption")
    assert (losses[0] == losses[2]) is (drops == "embedding")


def test_training_brings_its_loss_down_and_reaches_both_projections():
    torch.manual_seed(0)
    system, draw, own = UnCLIPDecoder(CONFIG), scenes.batches(16, 16), clip()

    def batches(generator):
        made = draw(generator)
        with torch.no_grad():
            return made.pictures, made.captions, own.encode_image(made.pictures)

    before = [system.vector.weight.clone(), system.tokens.weight.clone()]
    losses = [step.loss for step in train.train(system, batches, steps=60, lr=3e-3, warmup=5)]
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    for old, layer in zip(before, (system.vector, system.tokens), strict=True):
        assert not torch.equal(old, layer.weight)


def test_the_same_seed_gives_the_same_pictures_and_the_embedding_matters():
    system, z = awake(), unit(2)
    options = {"steps": 3, "seed": 4, "embedding": z}
    one, again = (last(system.generate([STAR, None], **options)) for _ in range(2))
    assert torch.equal(one, again) and one.shape == (2, 3, 16, 16)
    assert not torch.equal(one, last(system.generate([STAR, None], **options | {"embedding": -z})))


def test_guidance_leads_away_from_neither_caption_nor_embedding():
    system, z = awake(), unit(1)
    unheard = last(system.generate([STAR], embedding=z, steps=3, scale=0))
    neither = last(system.generate([None], steps=3, scale=1))
    assert torch.allclose(unheard, neither, atol=1e-5)
    plain, strong = (last(system.generate([STAR], embedding=z, steps=3, scale=s)) for s in (1, 3))
    assert not torch.allclose(plain, strong, atol=1e-4)


def test_guidance_without_a_trained_null_is_refused():
    for config in (
        replace(CONFIG, p_no_embedding=0.0),
        UnCLIPDecoderConfig(replace(BASE, p_uncond=0.0), 8),
    ):
        system = awake(config)
        assert last(system.generate([STAR], embedding=unit(1), steps=2, scale=1)).isfinite().all()
        with pytest.raises(ValueError, match="no null to guide away from"):
            system.generate([STAR], embedding=unit(1))


def test_what_was_there_throughout_training_cannot_be_missing():
    always, said = (
        replace(CONFIG, p_no_embedding=0.0),
        UnCLIPDecoderConfig(replace(BASE, p_uncond=0.0), 8),
    )
    with pytest.raises(ValueError, match="without an embedding.*p_no_embedding above 0"):
        awake(always).generate([STAR], steps=2, scale=1)
    with pytest.raises(ValueError, match="without a caption.*glide.p_uncond above 0"):
        awake(said).generate([STAR, None], embedding=unit(2), steps=2, scale=1)
    assert last(awake(said).generate([STAR], steps=2, scale=1)).isfinite().all()


def test_a_glide_that_sees_another_picture_is_no_decoder():
    with pytest.raises(ValueError, match="also sees low"):
        UnCLIPDecoderConfig(UPSAMPLES, 8)


@pytest.mark.parametrize(
    ("prompts", "embedding", "says"),
    [
        ([STAR], unit(2), "2 image embeddings for 1 captions"),
        ([STAR], unit(1)[:, :6], "must be .B, 8."),
        ([STAR], 2 * unit(1), "unit vectors"),
        ([], unit(1), "at least one sentence"),
        (["a zebra"], unit(1), "zebra"),
        ([3], None, "must be a string"),
    ],
)
def test_what_it_cannot_draw_gets_a_sentence(prompts, embedding, says):
    with pytest.raises(ValueError, match=says):
        awake().generate(prompts, embedding=embedding)


def test_a_batch_that_does_not_fit_together_is_refused():
    with pytest.raises(ValueError, match="3 pictures and 2 captions"):
        awake().loss((torch.zeros(3, 3, 16, 16), [STAR, DISC], unit(2)))
    with pytest.raises(ValueError, match="p_no_embedding is 2"):
        replace(CONFIG, p_no_embedding=2)


def test_it_is_built_again_from_its_file_alone(tmp_path):
    system, z = awake(), F.normalize(torch.ones(1, 8), dim=1)
    model_file.save(tmp_path / "decoder.safetensors", system)
    again = model_file.load(tmp_path / "decoder.safetensors")
    assert again.config == CONFIG
    check_clip(again, clip(), "decoder")
    one, two = (last(s.generate([STAR], embedding=z, steps=3)) for s in (system, again))
    assert torch.allclose(one, two, atol=0.02)
