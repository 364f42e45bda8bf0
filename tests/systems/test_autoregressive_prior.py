"""The autoregressive prior on a tiny network: its codes, what it asks for, and its temperature."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from labkit import train
from labkit.systems.autoregressive_prior import AutoregressivePrior
from labkit.systems.prior_inputs import read
from tests.systems.test_priors import CODES, STAR, awake, clip, pairs, unit


def test_codes_keep_nearly_all_of_an_embedding():
    system = awake(replace(CODES, net=replace(CODES.net, codes=8, buckets=256)))
    z = unit(100)
    assert ((system.embedding(system.codes(z)) * z).sum(1) > 0.999).all()
    few = awake(replace(CODES, net=replace(CODES.net, codes=2, buckets=256)))
    assert (few.embedding(few.codes(z)) * z).sum(1).mean() < 0.9


def test_untrained_its_loss_is_the_logarithm_of_the_number_of_buckets():
    system = AutoregressivePrior(CODES)
    nn.init.zeros_(system.net.out.weight)
    nn.init.zeros_(system.net.out.bias)
    system.fit(clip(), unit(200), unit(200, 1))
    assert system.loss(pairs(8)).item() == pytest.approx(torch.tensor(16.0).log().item())


def test_the_buckets_of_dot_products_are_equally_full_and_the_upper_half_is_asked_for():
    system, image, text = awake(CODES), unit(4000, 2), unit(4000, 3)
    system.fit(clip(), image, text)
    bucket = torch.bucketize((image * text).sum(1), system.dot_edges)
    assert torch.allclose(bucket.bincount(minlength=4) / 4000, torch.full((4,), 0.25), atol=0.01)
    asked = []
    system.net.dots.register_forward_pre_hook(lambda module, args: asked.append(args[0]))
    system.draw(read(clip(), [STAR] * 50))
    assert sorted(asked[0].unique().tolist()) == [2, 3]


def test_a_low_temperature_draws_what_is_most_likely_every_time():
    system, texts = awake(CODES), read(clip(), [STAR] * 30)
    system.dot_edges.fill_(0.0)
    system.net.dots.weight.data.zero_()  # all ask for the same
    cold, warm = (system.draw(texts, temperature=t) for t in (1e-6, 1.0))
    assert len(cold.unique(dim=0)) == 1 < len(warm.unique(dim=0))
    with pytest.raises(ValueError, match="temperature is 0"):
        system.draw(texts, temperature=0)


def test_codes_that_were_never_found_are_neither_learned_nor_drawn():
    system = AutoregressivePrior(CODES)
    for call in (lambda: system.loss(pairs(8)), lambda: system.draw(read(clip(), [STAR]))):
        with pytest.raises(ValueError, match="call fit"):
            call()
    with pytest.raises(ValueError, match="3 vectors to find 5 components"):
        system.fit(clip(), unit(3), unit(3, 1))
    assert not system.clip_mark.any()


@pytest.mark.parametrize("precision", train.PRECISIONS)
def test_its_targets_are_exact_whatever_the_precision_of_training(precision):
    system, seen = awake(replace(CODES, net=replace(CODES.net, buckets=1024, dots=16))), []
    system.net.register_forward_pre_hook(lambda module, args: seen.append(args[-2:]))
    image, *texts = batch = pairs(64)
    *_, step = train.train(system, lambda generator: batch, 1, precision=precision)
    (dot, codes), pca, buckets = seen[0], system.pca, system.buckets
    low, high = buckets.low.double(), buckets.high.double()
    at = ((image.double() - pca.mean) @ pca.axes.T.double() - low) / (high - low) * 1024
    expected = at.floor().long().clamp(0, 1023)
    between = (at - at.round()).abs() > 1e-3  # else it is float32 that decides
    assert between.double().mean() > 0.9
    assert torch.equal(codes[between], expected[between])
    dots = (image.double() * texts[0]).sum(1)
    assert torch.equal(dot, torch.bucketize(dots, system.dot_edges.double()))
    assert codes.dtype == dot.dtype == torch.long and step.step == 1
