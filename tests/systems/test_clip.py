"""CLIP: the loss against its definition, the temperature, the paper's sizes, and its doors."""

import json
import math
from dataclasses import asdict

import pytest
import torch
from torch import nn

from labkit.nets.resnet import ResNetConfig
from labkit.nets.transformer import TextConfig
from labkit.nets.vit import ViTConfig
from labkit.scenes import tokenizer
from labkit.systems.clip import (
    CLIP,
    MEAN,
    PAPER,
    STD,
    CLIPConfig,
    contrastive_loss,
    distinct_loss,
)
from labkit.train import train

TEXT = TextConfig(vocabulary=12, context=6, width=16, depth=1, heads=2, end=11)
VIT = CLIPConfig(ViTConfig(size=8, patch=4, width=16, depth=1, heads=2), TEXT, dim=8)
RESNET = CLIPConfig(ResNetConfig(size=8, width=4, blocks=(1, 1), heads=2, stem=1), TEXT, dim=8)
CONFIGS = {"ViT": VIT, "ResNet": RESNET}


def clip(config=VIT) -> CLIP:
    torch.manual_seed(0)
    return CLIP(config).eval()


def pictures(count: int, size: int = 8) -> torch.Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


def texts(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    words = torch.randint(1, 10, (count, 4), generator=generator)
    ends = torch.tensor([11, 0]).expand(count, 2)
    return torch.cat([words, ends], dim=1)


@pytest.mark.parametrize(
    "name, image, text",
    [
        ("ViT-B/32", 87_849_216, 63_428_096),
        ("ViT-L/14", 303_966_208, 123_650_304),
        ("RN50", 38_316_896, 63_690_240),
    ],
)
def test_at_the_paper_s_size_it_has_the_parameters_of_the_released_models(name, image, text):
    with torch.device("meta"):
        model = CLIP(PAPER[name])

    def count(module):
        return sum(parameter.numel() for parameter in module.parameters())

    assert (count(model.image), count(model.text)) == (image, text)
    assert count(model) == image + text + 1  # and the temperature


def test_orthonormal_pairs_have_the_loss_that_can_be_worked_out_by_hand():
    eye = torch.eye(8, dtype=torch.float64)
    expected = math.log(1 + 7 * math.exp(-1 / 0.07))  # 4.374e-6
    assert contrastive_loss(eye, eye, 1 / 0.07).item() == pytest.approx(expected, rel=1e-9)
    pair = torch.eye(2)
    assert contrastive_loss(pair, pair, 2.0).item() == pytest.approx(0.126928, abs=1e-6)


def test_the_loss_asks_in_both_directions():
    """Two pictures that look alike: each text is found among the pictures by a coin's toss only."""
    image = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    text = torch.eye(2)
    rows = (math.log(1 + math.exp(-5.0)) + math.log(1 + math.exp(5.0))) / 2
    columns = math.log(2)
    assert contrastive_loss(image, text, 5.0).item() == pytest.approx((rows + columns) / 2)
    assert contrastive_loss(text, image, 5.0).item() == pytest.approx((rows + columns) / 2)


def test_another_pair_with_the_same_caption_is_neither_right_nor_wrong():
    generator = torch.Generator().manual_seed(0)
    image, text = nn.functional.normalize(torch.randn(2, 4, 6, generator=generator), dim=2).double()
    captions = torch.tensor([0, 1, 0, 2])
    same = captions[:, None] == captions
    logits = 5.0 * image @ text.T
    total = 0.0
    for table in (logits, logits.T):
        for row in range(4):
            left = [other for other in range(4) if other == row or not same[row, other]]
            total += (table[row, left].logsumexp(0) - table[row, row]).item() / 8
    assert distinct_loss(image, text, 5.0, same).item() == pytest.approx(total)
    apart = torch.eye(4, dtype=torch.bool)
    assert torch.equal(distinct_loss(image, text, 5.0, apart), contrastive_loss(image, text, 5.0))


@pytest.mark.parametrize("name", CONFIGS)
def test_the_loss_starts_at_chance_and_does_not_care_for_the_order_of_the_pairs(name):
    model, x, t = clip(CONFIGS[name]), pictures(32), texts(32)
    order = torch.randperm(32)
    assert model.loss((x[order], t[order])).item() == pytest.approx(model.loss((x, t)).item())
    assert math.log(32) * 0.8 < model.loss((x, t)).item() < math.log(32) * 2


@pytest.mark.parametrize("name", CONFIGS)
def test_vectors_have_length_one_and_logits_are_scaled_cosines(name):
    model, x, t = clip(CONFIGS[name]), pictures(5), texts(3)
    image, text = model.encode_image(x), model.encode_text(t)
    assert torch.allclose(image.norm(dim=1), torch.ones(5))
    assert torch.allclose(text.norm(dim=1), torch.ones(3))
    logits = model(x, t)
    assert logits.shape == (5, 3)
    cosines = torch.cosine_similarity(
        model.image_features(x)[:, None], model.text_features(t)[None], dim=2
    )
    assert torch.allclose(logits, cosines / 0.07, atol=1e-5)


def test_pictures_are_shifted_and_scaled_by_the_statistics_of_clip():
    model = clip()
    seen = []
    model.image.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    pixels = torch.tensor(MEAN)[:, None, None].expand(1, 3, 8, 8)
    model.image_features(pixels * 2 - 1)
    model.image_features((pixels + torch.tensor(STD)[:, None, None]) * 2 - 1)
    assert torch.allclose(seen[0], torch.zeros(1, 3, 8, 8), atol=1e-6)
    assert torch.allclose(seen[1], torch.ones(1, 3, 8, 8), atol=1e-6)


def test_the_temperature_starts_at_7_percent_and_never_falls_below_1_percent():
    model = clip()
    assert model.scale.item() == pytest.approx(1 / 0.07)
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    assert model.scale.item() == pytest.approx(100)
    model.loss((pictures(4), texts(4)))
    assert model.logit_scale.item() == pytest.approx(math.log(100))


def test_pushed_to_the_cap_the_temperature_can_still_come_back():
    model = clip()
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    model.loss((pictures(4), texts(4))).backward()
    assert model.logit_scale.grad.item() != 0


@pytest.mark.parametrize("name", CONFIGS)
def test_trained_on_a_few_pairs_it_finds_each_again(name):
    x, t = pictures(6), texts(6)
    model = clip(CONFIGS[name])
    *_, last = train(model, lambda generator: (x, t), 60, lr=1e-2, warmup=5, ema=0.5)
    right = torch.arange(6)
    assert torch.equal(last.ema(x, t).argmax(1), right)
    assert torch.equal(last.ema(x, t).argmax(0), right)
    assert last.loss < 0.2


@pytest.mark.parametrize("config", [*CONFIGS.values(), *PAPER.values()])
def test_a_configuration_survives_json(config):
    assert CLIPConfig(**json.loads(json.dumps(asdict(config)))) == config


# Doors


def refused(call, *words):
    with pytest.raises(ValueError, match="^[^\n]+$") as caught:
        call()
    assert all(word in str(caught.value) for word in words), caught.value


def test_pictures_of_another_size_or_range_get_a_sentence():
    model = clip()
    refused(lambda: model.encode_image(pictures(2, size=10)), "(2, 3, 10, 10)", "(B, 3, 8, 8)")
    refused(lambda: model.encode_image(pictures(2)[:, :1]), "gray")
    refused(lambda: model.encode_image(pictures(2)[0]), "(B, C, H, W)")
    refused(lambda: model.encode_image(pictures(2) * 127.5 + 127.5), "[-1, 1]", "127.5")
    refused(lambda: model.encode_image(torch.zeros(1, 3, 8, 8).byte()), "uint8")
    refused(lambda: model.encode_image("cat.png"), "cat.png")


def test_tokens_that_it_cannot_read_get_a_sentence():
    model = clip()
    refused(lambda: model.encode_text(torch.full((1, 7), 11)), "(1, 7)", "6")
    refused(lambda: model.encode_text(torch.tensor([[1, 12, 11]])), "12", "0 to 11")
    refused(lambda: model.encode_text(torch.tensor([[1, -1, 11]])), "-1")
    refused(lambda: model.encode_text(torch.tensor([[1, 2], [2, 11]])), "end token")
    refused(lambda: model.encode_text(torch.tensor([[1.0, 11.0]])), "float32")
    refused(lambda: model.encode_text(torch.zeros(0, 4).long()), "(0, 4)")
    refused(lambda: model.encode_text("a red star"), "12 tokens", "CLIP(config, tokenizer)")


def test_captions_that_it_cannot_read_get_a_sentence():
    words = len(tokenizer.load())
    text = TextConfig(vocabulary=words, context=32, width=16, depth=1, heads=2, end=words - 1)
    model = CLIP(CLIPConfig(VIT.image, text, dim=8))
    assert model.encode_text(["A crimson  disc.", "two stars"]).shape == (2, 8)
    assert torch.equal(model.encode_text("a red star"), model.encode_text(["a red star"]))
    refused(lambda: model.encode_text("a purple zebra beside a star"), "never read (zebra)")
    refused(lambda: model.encode_text(["a star", "étoile 赤"]), "never read (étoile, 赤)")
    refused(lambda: model.encode_text("a star and " * 20), "tokens", "at most 30 fit")
    for empty in ("", "  ", [], ["a star", ""]):
        refused(lambda empty=empty: model.encode_text(empty))
    refused(lambda: model.encode_text(["a star", None]), "None")


def test_a_batch_of_unequal_halves_gets_a_sentence():
    refused(lambda: clip().loss((pictures(3), texts(4))), "3 pictures", "4 texts")
