"""Both priors on tiny networks: what they learn from, what they hear, what they draw."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit import model_file, train
from labkit.nets.prior import CodesConfig, PriorConfig
from labkit.sampler import ddpm
from labkit.systems.autoregressive_prior import AutoregressivePrior, AutoregressivePriorConfig
from labkit.systems.clip import CLIP, CLIPConfig
from labkit.systems.diffusion_prior import DiffusionPrior, DiffusionPriorConfig, nearest
from labkit.systems.prior_inputs import Texts, check_clip, mark_of, read
from tests.machines.tiny import TOWER, WORDS

STAR, DISC = "a red star", "a large blue disc on a mint background"
DIFFUSION = DiffusionPriorConfig(
    PriorConfig(dim=8, tokens=8, context=32, width=16, depth=1, heads=2), vocabulary=1009, T=100
)
CODES = AutoregressivePriorConfig(
    CodesConfig(
        dim=8, vocabulary=1009, context=32, codes=5, buckets=16, dots=4, width=16, depth=1, heads=2
    )
)


def clip(seed=0):
    torch.manual_seed(seed)
    return CLIP(CLIPConfig(TOWER, WORDS, 8)).eval()


def unit(rows, seed=0):
    return F.normalize(torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)), dim=1)


def awake(config, seed=0):
    """Every weight drawn anew, so that nothing is without effect; components of random vectors."""
    system = DiffusionPrior(config) if config.__class__ is DiffusionPriorConfig else None
    system = system or AutoregressivePrior(config)
    torch.manual_seed(seed)
    for weight in system.parameters():
        nn.init.normal_(weight, std=0.3)
    vectors = (unit(200), unit(200, 1)) if isinstance(system, AutoregressivePrior) else ()
    system.fit(clip(), *vectors)
    return system.eval()


def pairs(rows=64):
    """Embeddings that a sentence decides: one for stars, one for discs, a little blurred."""
    texts = read(clip(), [STAR, DISC] * (rows // 2))
    image = F.normalize(unit(2, 7).repeat(rows // 2, 1) + 0.1 * unit(rows, 8), dim=1)
    return image, *texts


BOTH = pytest.mark.parametrize("config", [DIFFUSION, CODES], ids=["diffusion", "autoregressive"])


# Both


@BOTH
def test_a_prior_knows_the_clip_that_it_was_trained_with(config):
    system, own, other = awake(config), clip(), clip(1)
    if config is DIFFUSION:
        system.clip_mark.zero_()
        check_clip(system, other, "prior")  # never trained, so of no CLIP in particular
        system.fit(own)
    assert torch.equal(system.clip_mark, mark_of(own))
    check_clip(system, own, "prior")
    check_clip(system.half(), own, "prior")
    with pytest.raises(ValueError, match="prior was trained with another CLIP"):
        check_clip(system, other, "prior")
    for tower in ("text", "image"):  # the other in one tower alone
        mixed = clip()
        setattr(mixed, tower, getattr(other, tower))
        with pytest.raises(ValueError, match="prior was trained with another CLIP"):
            check_clip(system, mixed, "prior")
    torch.manual_seed(0)
    wider = CLIP(CLIPConfig(TOWER, WORDS, 12)).eval()
    with pytest.raises(ValueError, match="of 8 dimensions, than the one of 12"):
        check_clip(awake(config), wider, "prior")


@BOTH
def test_training_brings_the_loss_down_and_each_sentence_gets_its_own_embedding(config):
    torch.manual_seed(0)
    system = DiffusionPrior(config) if config is DIFFUSION else AutoregressivePrior(config)
    image, *texts = pairs()
    if config is CODES:
        system.fit(clip(), image, texts[0])
    steps = train.train(system, train.shuffled(image, *texts, batch=32), 250, lr=5e-3, warmup=5)
    losses = [step.loss for step in steps]
    assert sum(losses[-10:]) < 0.6 * sum(losses[:10])
    certain = {"temperature": 0.2} if config is CODES else {}
    drawn = system.eval().draw(Texts(*(field[:8] for field in texts)), **certain)
    assert torch.allclose(drawn.norm(dim=1), torch.ones(8), atol=1e-5)
    right = (drawn * image[:8]).sum(1)
    wrong = (drawn * image[1:9]).sum(1)
    assert (right > 0.8).all() and (right > wrong + 0.3).all()


@BOTH
def test_the_same_seed_draws_the_same_and_another_does_not(config):
    system, texts = awake(config), read(clip(), [STAR, DISC])
    one, again, other = (system.draw(texts, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(one, again) and not torch.equal(one, other)
    on = torch.Generator().manual_seed(4)
    assert torch.equal(system.draw(texts, seed=on), one)
    assert not torch.equal(system.draw(texts, seed=on), one)


@BOTH
def test_guidance_is_none_at_one_and_does_not_listen_at_zero(config):
    system, some = awake(config), [STAR, DISC] * 20
    texts, others = read(clip(), some), read(clip(), some[::-1])
    options = {"seed": 3, **one_candidate(config)}
    unconditional = [system.draw(each, scale=0.0, **options) for each in (texts, others)]
    assert torch.allclose(*unconditional, atol=1e-5)
    plain, one, strong = (
        system.draw(texts, **by, **options) for by in ({}, {"scale": 1.0}, {"scale": 4.0})
    )
    assert torch.equal(plain, one)
    assert not torch.allclose(plain, strong, atol=1e-3)


@BOTH
def test_guidance_without_a_trained_null_is_refused(config):
    system, texts = awake(replace(config, p_uncond=0.0)), read(clip(), [STAR])
    assert system.draw(texts, scale=1).shape == (1, 8)
    with pytest.raises(ValueError, match="no null to guide away from"):
        system.draw(texts, scale=2)


def one_candidate(config):
    # For of several the nearest to the sentence is kept.
    return {"candidates": 1} if config is DIFFUSION else {}


@BOTH
def test_a_prior_that_drops_every_sentence_learns_nothing_from_them(config):
    image, *texts = pairs(8)
    swapped = [field.roll(1, 0) for field in texts]
    for p_uncond, same in ((1.0, True), (0.0, False)):
        system, losses = awake(replace(config, p_uncond=p_uncond)), []
        if config is CODES:
            system.dot_edges.fill_(2.0)  # the dot product, which is no sentence, is the same then
        for given in (texts, swapped):
            torch.manual_seed(5)
            losses.append(system.loss((image, *given)).item())
        assert (losses[0] == losses[1]) is same


@BOTH
def test_embeddings_of_another_length_are_refused_by_the_loss(config):
    image, *texts = pairs(8)
    with pytest.raises(ValueError, match="unit vectors"):
        awake(config).loss((3 * image, *texts))


@BOTH
def test_it_is_built_again_from_its_file_alone(config, tmp_path):
    system, texts = awake(config), read(clip(), [STAR])
    model_file.save(tmp_path / "prior.safetensors", system)
    again = model_file.load(tmp_path / "prior.safetensors")
    assert again.config == config
    check_clip(again, clip(), "prior")
    assert torch.allclose(again.draw(texts), system.draw(texts), atol=0.05)


@BOTH
def test_sentences_that_clip_did_not_embed_are_refused_as_many_as_they_are(config):
    system, texts, (image, *_) = awake(config), read(clip(), [STAR, DISC]), pairs(2)
    for bad, says in ((5 * texts.embedding, "unit vectors"), (unit(2)[:, :6], r"shape .2, 6.")):
        given = texts._replace(embedding=bad)
        for call in (system.draw, lambda given: system.loss((image, *given))):
            with pytest.raises(ValueError, match=f"the sentences' embeddings has .*{says}"):
                call(given)
    if config is CODES:
        with pytest.raises(ValueError, match="the sentences' embeddings"):
            system.fit(clip(), unit(50), 2 * unit(50, 1))


@BOTH
def test_half_precision_draws_what_single_precision_does(config):
    system, texts = awake(config), read(clip(), [STAR, DISC] * 4)
    own = {"temperature": 1e-6} if config is CODES else {"steps": 8, "candidates": 1}
    drawn = system.draw(texts, **own)
    again = system.half().draw(texts._replace(embedding=texts.embedding.half()), **own)
    assert again.dtype == torch.half
    assert (again.float() * drawn).sum(1).median() > 0.99


# Diffusion


def test_embeddings_are_made_as_large_as_the_papers_and_its_own_factor_is_17_2():
    assert replace(DIFFUSION, net=replace(DIFFUSION.net, dim=1024)).std * 32 == pytest.approx(17.2)
    seen = []
    system = awake(DIFFUSION)
    system.denoiser.loss = lambda x0, cond: seen.append((x0, cond)) or x0.sum()
    image, *texts = pairs(8)
    system.loss((image, *texts))
    x0, _ = seen[0]
    assert x0.square().mean().sqrt().item() == pytest.approx(0.5375, rel=1e-4)


def test_its_loss_is_the_mean_squared_error_of_the_clean_embedding():
    system = awake(replace(DIFFUSION, p_uncond=0.0))
    image, *texts = pairs(8)
    torch.manual_seed(3)
    loss = system.loss((image, *texts))
    torch.manual_seed(3)
    torch.rand(8), torch.rand(8), torch.rand(8), torch.rand(8)  # which rows are dropped
    t, _, x = system.denoiser.schedule.draw(system.factor * image)
    with torch.no_grad():
        guess = system.denoiser.net(x, t, system.encode(Texts(*texts)))
    assert loss.item() == pytest.approx((guess - system.factor * image).square().mean().item())


def test_about_a_tenth_of_the_rows_lose_sentence_and_embedding_together():
    system, seen, batch = awake(DIFFUSION), [], pairs(64)
    system.denoiser.loss = lambda x0, cond: seen.append(cond) or x0.sum()
    torch.manual_seed(0)
    for _ in range(16):
        system.loss(batch)
    words = torch.cat([~cond.mask.any(1) for cond in seen])
    vectors = torch.cat([(cond.vector == 0).all(1) for cond in seen])
    assert torch.equal(words, vectors)
    assert words.double().mean() == pytest.approx(0.1, abs=0.03)


def test_of_candidates_the_nearest_to_the_sentence_is_kept():
    candidates, text = torch.stack([unit(5, 1), unit(5, 2), unit(5, 3)]), unit(5, 4)
    kept = (nearest(candidates, text) * text).sum(1)
    assert torch.equal(kept, (candidates * text).sum(2).amax(0))
    system, texts = awake(DIFFUSION), read(clip(), [STAR, DISC] * 20)
    dots = [
        (system.draw(texts, candidates=count, steps=4) * texts.embedding).sum(1).mean()
        for count in (1, 2, 8)
    ]
    assert dots[0] < dots[1] < dots[2]
    with pytest.raises(ValueError, match="candidates is 0"):
        system.draw(texts, candidates=0)


def test_every_sampler_walks_through_embeddings_and_x0_may_be_changed_on_the_way():
    system, texts = awake(DIFFUSION), read(clip(), [STAR, DISC])
    states = list(system.walk(texts, steps=5, step=ddpm))
    assert [state.x.shape for state in states] == [(2, 8)] * 5 and states[-1].t == 0

    def on_the_sphere(x0):
        return system.factor * F.normalize(x0, dim=1)

    *_, last = system.walk(texts, steps=5, map_x0=on_the_sphere)
    assert torch.allclose(last.x.norm(dim=1), torch.full((2,), system.factor), atol=1e-4)


def test_every_sentence_may_have_a_scale_of_its_own():
    system, texts = awake(DIFFUSION), read(clip(), [STAR, DISC])
    both = system.draw(texts, scale=torch.tensor([1.0, 3.0]), steps=4)
    for row, scale in enumerate((1.0, 3.0)):
        expected = system.draw(texts, scale=torch.tensor([scale, scale]), steps=4)[row]
        assert torch.allclose(both[row], expected, atol=1e-5)


def test_an_option_that_it_does_not_have_is_named_beside_those_that_it_has():
    system, texts = awake(DIFFUSION), read(clip(), [STAR])
    for name in ("stepz", "cond", "device"):
        with pytest.raises(ValueError, match="choose one of candidates, eta, .*steps"):
            system.draw(texts, **{name: 2})
    for own in ({"temperature": 0.5}, {"step": ddpm, "v": 1.0}, {"eta": 1.0}):
        assert system.draw(texts, steps=3, **own).isfinite().all()
