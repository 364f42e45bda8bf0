"""CLIP against the one of the transformers library: features, logits, tokens, preprocessing.

The weights are drawn at random and go through `labkit.hub` as released ones would, so this needs
no network. At full size each model looks at one picture and reads one text.
"""

import json

import numpy as np
import pytest
import tokenizers
import torch
from PIL import Image

from labkit import hub
from labkit.nets.transformer import TextConfig
from labkit.nets.vit import ViTConfig
from labkit.systems.clip import CLIP, MEAN, PAPER, STD, CLIPConfig

transformers = pytest.importorskip("transformers")

CORPUS = [
    "a photo of a cat", "two cats and three dogs, aren't they?", "ein Käse für 3,50 Euro",
    "the red star left of the blue circle; it's large", "données, élève, naïveté", "猫と犬の写真",
]  # fmt: skip
AWKWARD = [
    "a photo of a cat",
    "A PHOTO  of\ta\n cat  ",
    "it's they're I'd we'll you've I'm",
    "12345 and 3.14 and 50%",
    "cafe\u0301 and caf\u00e9",  # two ways to write the same word
    "\u0130stanbul, STRASSE, stra\u00dfe, \ufb01ne",
    "猫 🐈‍⬛ 👩🏽‍🚀 ⅷ ½ ٣",
    "non\u00a0breaking, zero\u200bwidth, \u202eright-to-left\u202c",
    "Привет, мир! שלום नमस्ते",
    "don't---stop!!! <b>&amp;</b> #hash @at _under_score",
    "a" * 40,
    "<|startoftext|> inside, and 'quoted' 'tis",
    "\ud7ff \ue000 \ufffd",
]


@pytest.fixture(scope="module")
def their_tokenizer():
    """A CLIP tokenizer with a small vocabulary, learned here."""
    bare = transformers.CLIPTokenizer()._tokenizer  # for its way of cutting a text into words
    learner = tokenizers.Tokenizer(tokenizers.models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer, learner.pre_tokenizer = bare.normalizer, bare.pre_tokenizer
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=700, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    learner.train_from_iterator(CORPUS * 3, trainer)
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    # As OpenAI orders it: bytes, bytes that end a word, merges, start, end.
    words = [*sorted(alphabet), *(letter + "</w>" for letter in sorted(alphabet))]
    words += [word for word in map("".join, merges) if word not in words]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return transformers.CLIPTokenizer({word: row for row, word in enumerate(words)}, merges)


def theirs(config: CLIPConfig) -> torch.nn.Module:
    """The transformers model of that configuration, its weights drawn at random, once only."""

    def tower(part, **sizes) -> dict:
        return sizes | {
            "hidden_size": part.width,
            "intermediate_size": 4 * part.width,
            "num_hidden_layers": part.depth,
            "num_attention_heads": part.heads,
        }

    image, text = config.image, config.text
    with torch.device("meta"):  # at full size its own way to draw takes twenty seconds
        their = transformers.CLIPModel(
            transformers.CLIPConfig(
                text_config=tower(
                    text,
                    vocab_size=text.vocabulary,
                    max_position_embeddings=text.context,
                    eos_token_id=text.end,
                ),
                vision_config=tower(image, image_size=image.size, patch_size=image.patch),
                projection_dim=config.dim,
            )
        )
    their.to_empty(device="cpu")
    with torch.no_grad():
        for embeddings in (their.text_model.embeddings, their.vision_model.embeddings):
            embeddings.position_ids.copy_(torch.arange(embeddings.position_ids.shape[1]))
        for name, parameter in their.named_parameters():
            if parameter.ndim < 2:  # norms stay near one, biases near zero
                parameter.uniform_(-0.2, 0.2).add_("norm" in name and name.endswith("weight"))
            else:
                bound = parameter[0].numel() ** -0.5
                parameter.uniform_(-bound, bound)
        their.logit_scale.fill_(2.0)
    return their.eval()


@torch.no_grad()
def compare(ours: CLIP, their, pictures: torch.Tensor, tokens: torch.Tensor) -> None:
    """Each model runs once; what its projections say on the way is overheard."""
    features = {}
    parts = {
        "our image": ours.image.project, "their image": their.visual_projection,
        "our text": ours.text.project, "their text": their.text_projection,
    }  # fmt: skip
    for name, part in parts.items():
        part.register_forward_hook(lambda _, inputs, out, name=name: features.update({name: out}))
    mean, std = (torch.tensor(row)[:, None, None] for row in (MEAN, STD))
    pixels = ((pictures + 1) / 2 - mean) / std
    expected = their(pixel_values=pixels, input_ids=tokens).logits_per_image
    logits = ours(pictures, tokens)
    assert logits.shape == (len(pictures), len(tokens))
    assert (logits - expected).abs().max() < 1e-4
    for kind in ("image", "text"):
        assert features[f"their {kind}"].std() > 0.1
        assert (features[f"our {kind}"] - features[f"their {kind}"]).abs().max() < 1e-4


def test_a_saved_model_loads_and_gives_the_same_features_and_logits(their_tokenizer, tmp_path):
    torch.manual_seed(0)
    words = len(their_tokenizer)
    config = CLIPConfig(
        ViTConfig(size=24, patch=8, width=48, depth=3, heads=4),
        TextConfig(vocabulary=words, context=64, width=32, depth=2, heads=2, end=words - 1),
        dim=20,
    )
    their = theirs(config)
    their.save_pretrained(tmp_path)
    their_tokenizer.save_pretrained(tmp_path)
    ours = hub.load_clip(tmp_path / "model.safetensors", tmp_path / "tokenizer.json", config)
    assert not ours.training
    pictures = torch.rand(5, 3, 24, 24) * 2 - 1
    tokens = ours.tokens(CORPUS)
    compare(ours, their, pictures, tokens)
    read = their_tokenizer(CORPUS, padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = their.get_text_features(**read).pooler_output
    assert (ours.text_features(CORPUS) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["ViT-B/32", "ViT-L/14"])
def test_at_full_size_features_and_logits_are_the_same(name):
    torch.manual_seed(0)
    config = PAPER[name]
    their = theirs(config)
    with torch.device("meta"):
        ours = CLIP(config)
    tensors = hub.files.translated(their.state_dict(), hub.clip.clip_names(config), ours, name)
    ours.load_state_dict(tensors, assign=True)
    text = torch.tensor([[49_406, 320, 1125, 539, 320, 2368, 49_407, 0, 0]])
    compare(ours, their, torch.rand(1, 3, 224, 224) * 2 - 1, text)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in their.parameters())


@pytest.mark.parametrize("text", AWKWARD)
def test_any_text_becomes_the_same_tokens(their_tokenizer, tmp_path, text):
    their_tokenizer.save_pretrained(tmp_path)
    ours = hub.clip.ReleasedTokenizer(
        hub.files.read_words(tmp_path / "tokenizer.json"), context=160
    )
    expected = their_tokenizer(text).input_ids
    tokens = ours.encode(text)
    assert tokens.ids.tolist() == [expected + [0] * (160 - len(expected))]
    assert tokens.mask.sum() == len(expected)
    spoken = their_tokenizer.decode(expected, skip_special_tokens=True).strip()
    assert ours.decode(tokens.ids) == [spoken]
    assert not any(piece.endswith("</w>") for piece in ours.split(text))
    assert expected[0] == len(ours) - 2 and expected[-1] == len(ours) - 1
    assert expected.count(expected[-1]) == 1  # nothing was unknown


@pytest.mark.parametrize("sides", [(300, 224), (224, 301), (640, 480), (100, 50), (224, 224)])
def test_a_photograph_is_resized_and_cropped_as_theirs_is(sides):
    pixels = np.random.default_rng(0).integers(0, 256, (sides[1] // 4, sides[0] // 4, 3), np.uint8)
    photo = Image.fromarray(pixels).resize(sides)
    processor = transformers.models.clip.image_processing_pil_clip.CLIPImageProcessorPil()
    expected = processor(photo, return_tensors="pt").pixel_values
    mean, std = (torch.tensor(row)[:, None, None] for row in (MEAN, STD))
    ours = ((hub.look(photo) + 1) / 2 - mean) / std
    assert (ours - expected).abs().max() < 1e-5
