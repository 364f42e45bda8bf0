"""A CLIP's text tower as Imagen's encoder, and an encoder that learns along with the pictures."""

from random import Random

import pytest
import torch

from labkit import scenes, train
from labkit.nets.transformer import TextConfig
from labkit.nets.vit import ViTConfig
from labkit.systems.clip import CLIP, CLIPConfig
from labkit.systems.imagen import Imagen, Remembering, embedded
from labkit.systems.imagen_stage import ImagenStage
from labkit.systems.t5 import T5
from labkit.systems.text_readers import CLIPReader, TrainedAlong
from tests.systems.test_imagen import BASE, DISC, READS, STAR, awake, last, pictures

WORDS = TextConfig(vocabulary=1009, context=32, width=16, depth=1, heads=2, end=1008)


def clip():
    torch.manual_seed(0)
    return CLIP(
        CLIPConfig(ViTConfig(size=16, patch=8, width=16, depth=1, heads=2), WORDS, 6)
    ).eval()


def test_a_clips_tokens_are_those_whose_last_one_is_its_embedding():
    made = clip()
    cond = CLIPReader(made).encode([STAR, DISC])
    assert cond.tokens.shape == (2, 10, 16) and cond.mask.sum(1).tolist() == [5, 10]
    assert not cond.tokens[~cond.mask].any() and not cond.tokens.requires_grad
    ends = cond.tokens[torch.arange(2), cond.mask.sum(1) - 1]
    features = made.text_features([STAR, DISC])
    assert torch.allclose(made.text.project(ends), features, atol=1e-5)


def test_imagen_hears_a_clip_as_it_hears_a_t5():
    made = Imagen(CLIPReader(clip()), base=awake(ImagenStage(BASE)))
    assert last(made.generate([STAR, None], steps=2)).shape == (2, 3, 16, 16)
    assert embedded(Remembering(made.text), [STAR]).tokens.shape == (1, 5, 16)
    assert last(made.generate([None, None], steps=1)).shape == (2, 3, 16, 16)  # nothing to read
    with pytest.raises(ValueError, match="zebra"):
        made.encode(["a zebra"])


def test_an_encoder_that_learns_along_changes_with_the_stage():
    torch.manual_seed(0)
    both = TrainedAlong(T5(READS), ImagenStage(BASE))
    before = both.text.net.tokens.weight.clone()

    def draw(generator):
        drawn = scenes.draw(8, generator)
        seed = int(torch.randint(2**62, (), generator=generator))
        return scenes.render(drawn, 16), scenes.captions(drawn, Random(seed))

    losses = [step.loss for step in train.train(both, draw, steps=30, lr=3e-3, warmup=5)]
    assert losses[-1] < losses[0] and not torch.equal(before, both.text.net.tokens.weight)
    made = Imagen(both.text.eval(), base=both.stage.eval())
    assert last(made.generate(STAR, steps=1)).isfinite().all()


def test_a_picture_without_its_caption_is_refused():
    with pytest.raises(ValueError, match="2 pictures and 1 texts"):
        TrainedAlong(T5(READS), ImagenStage(BASE)).loss((pictures(), [STAR]))
