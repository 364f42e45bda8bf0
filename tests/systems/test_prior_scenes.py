"""The shipped priors of clip-scenes: how near they come to what CLIP sees in real pictures."""

import pytest

from benchmarks import priors
from labkit import zoo
from labkit.systems.prior_inputs import check_clip

NAMES = {"diffusion": "diffusion-prior-scenes", "autoregressive": "autoregressive-prior-scenes"}
OPTIONS = {"diffusion": {"steps": 16, "eta": 1.0}, "autoregressive": {}}


@pytest.fixture(scope="module")
def clip():
    return zoo.load("clip-scenes").requires_grad_(False)


@pytest.fixture(scope="module", params=NAMES)
def prior(request):
    return zoo.load(NAMES[request.param]), OPTIONS[request.param]


def test_they_were_trained_in_the_space_of_the_shipped_clip(clip, prior):
    check_clip(prior[0], clip, "prior")


@pytest.mark.parametrize(("split", "least"), [("train", 0.9), ("unseen", 0.8)])
def test_they_go_nearly_all_of_the_way_from_other_sentences_to_another_picture(
    clip, prior, split, least
):
    system, options = prior
    true, other, texts = priors.held_out(clip, 160, 0, split)
    drawn = system.draw(texts, **options)
    found, shuffled, way, *_, distance = priors.figures(drawn, drawn, true, other, texts)
    assert way > least and found > shuffled + 0.4
    # The sentence's own embedding lies where no picture does.
    assert distance < 0.2 * priors.figures(texts.embedding, drawn, true, other, texts)[-1]


def test_the_codes_keep_ninety_nine_percent_of_the_variance(clip):
    system = zoo.load(NAMES["autoregressive"])
    true, _, _ = priors.held_out(clip, 200, 1, "train")
    back = system.pca.back(system.pca(true))
    lost = (back - true).square().sum() / (true - true.mean(0)).square().sum()
    assert lost < 0.012
    assert ((system.embedding(system.codes(true)) * true).sum(1) > 0.97).all()
