"""Released weights that are cut, foreign or of another size, and photographs of every kind: one
sentence each, and nothing half-loaded."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.torch
import tokenizers
import torch
from PIL import Image

from labkit import hub
from labkit.nets.resnet import ResNetConfig
from labkit.nets.transformer import TextConfig
from labkit.nets.vit import ViTConfig
from labkit.systems.clip import CLIP, CLIPConfig

CONFIG = CLIPConfig(
    ViTConfig(size=8, patch=4, width=8, depth=2, heads=2),
    TextConfig(vocabulary=514, context=6, width=8, depth=2, heads=2, end=513),
    dim=4,
)


def refused(call, *words, error=ValueError):
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)  # a note may follow, in which all names stand
    for word in words:
        assert word in str(caught.value), caught.value


def as_released() -> dict[str, torch.Tensor]:
    """The tensors of a small CLIP under the names of released files."""
    torch.manual_seed(0)
    state, found = CLIP(CONFIG).state_dict(), {}
    for ours, theirs in hub.clip.clip_names(CONFIG).items():
        parts = state[ours].chunk(len(theirs)) if len(theirs) > 1 else [state[ours]]
        found |= {name: part.clone() for name, part in zip(theirs, parts, strict=True)}
    return found


@pytest.fixture
def files(tmp_path):
    """model.safetensors and tokenizer.json of that CLIP, and config.json beside them."""
    letters = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    pieces = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            {word: row for row, word in enumerate(words)}, [], end_of_word_suffix="</w>"
        )
    )
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.save(str(tmp_path / "tokenizer.json"))
    safetensors.torch.save_file(as_released(), tmp_path / "model.safetensors")
    configure(tmp_path)
    return tmp_path / "model.safetensors", tmp_path / "tokenizer.json"


def configure(folder, **changes):
    """Writes config.json; changes: by the name of a tower, or of a setting of the whole."""
    told = {"model_type": "clip", "projection_dim": 4}
    for part in ("text_config", "vision_config"):
        told[part] = {"hidden_act": "quick_gelu", "num_attention_heads": 2, "hidden_size": 8}
        told[part] |= changes.pop(part, {})
    (folder / "config.json").write_text(json.dumps(told | changes))


def changed(files, change) -> tuple:
    tensors = safetensors.torch.load_file(files[0])
    change(tensors)
    safetensors.torch.save_file(tensors, files[0])
    return files


def test_what_is_whole_loads_with_its_tokenizer_in_half_precision_too(files):
    model = hub.load_clip(*files, CONFIG)
    expected = model.encode_text("ab c")
    assert model.encode_image(torch.zeros(1, 3, 8, 8)).shape == (1, 4)
    positions = torch.arange(6)[None]  # older files count their positions

    def halve(tensors):
        for name in tensors:
            tensors[name] = tensors[name].half()
        tensors["text_model.embeddings.position_ids"] = positions

    half = hub.load_clip(*changed(files, halve), CONFIG)
    assert half.logit_scale.dtype == torch.float32
    assert torch.allclose(half.encode_text("ab c"), expected, atol=1e-2)


def test_every_missing_and_every_unknown_name_is_listed(files):
    gone = [
        "text_projection.weight",
        "vision_model.encoder.layers.1.self_attn.k_proj.bias",
        "logit_scale",
    ]

    def change(tensors):
        for name in gone:
            del tensors[name]
        tensors["vision_model.head.weight"] = torch.zeros(1)
        tensors["lora.up"] = torch.zeros(1)

    changed(files, change)
    refused(
        lambda: hub.load_clip(*files, CONFIG),
        *gone,
        "vision_model.head.weight",
        "lora.up",
        "missing",
        "not known here",
        "model.safetensors",
    )


def test_another_architecture_is_refused_by_all_that_differs(files):
    deeper = replace(CONFIG, image=replace(CONFIG.image, depth=3))
    refused(
        lambda: hub.load_clip(*files, deeper),
        *(f"vision_model.encoder.layers.2.{part}.weight" for part in ("mlp.fc1", "layer_norm2")),
    )
    wider = replace(CONFIG, text=replace(CONFIG.text, width=16))
    refused(
        lambda: hub.load_clip(*files, wider),
        "text_model.embeddings.token_embedding.weight (514, 8) instead of (514, 16)",
        "and 29 more",
    )
    resnet = replace(CONFIG, image=ResNetConfig(size=8, width=4, blocks=(1,), heads=2, stem=1))
    refused(lambda: hub.load_clip(*files, resnet), "ResNet", "ViTConfig")


def test_a_large_foreign_model_is_refused_in_a_sentence_that_can_be_read(files):
    names = [
        f"encoder.layers.{layer}.attention.{part}.weight" for layer in range(99) for part in "qkv"
    ]
    safetensors.torch.save_file({name: torch.zeros(1) for name in names}, files[0])
    with pytest.raises(ValueError, match="holds another model .* and 289 more; give") as caught:
        hub.load_clip(*files, CONFIG)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("part", ["text_config", "vision_config"])
@pytest.mark.parametrize(
    "key, value", [("hidden_act", "gelu"), ("num_attention_heads", 4), ("layer_norm_eps", 1e-6)]
)
def test_weights_of_the_same_shapes_that_mean_something_else_are_refused(files, part, key, value):
    configure(files[0].parent, **{part: {key: value}})
    refused(
        lambda: hub.load_clip(*files, CONFIG), f"{part}.{key} is {value!r} instead of", "config"
    )


def test_a_configuration_is_demanded_and_must_be_one_of_a_clip(files):
    path = files[0].with_name("config.json")
    configure(files[0].parent, model_type="siglip")
    refused(lambda: hub.load_clip(*files, CONFIG), "model_type is 'siglip' instead of 'clip'")
    for text in ("", "{", "[]", "{}", '{"model_type": "clip", "text_config": 3}'):
        path.write_text(text)
        refused(lambda: hub.load_clip(*files, CONFIG), "config.json", "fetch it again")
    path.unlink()
    refused(lambda: hub.load_clip(*files, CONFIG), "no configuration", error=FileNotFoundError)


def test_what_a_configuration_leaves_out_is_as_usual(files):
    config = replace(
        CONFIG, text=replace(CONFIG.text, heads=8), image=replace(CONFIG.image, heads=4)
    )
    path = files[0].with_name("config.json")
    path.write_text('{"model_type": "clip", "text_config": {}, "vision_config": {}}')
    refused(lambda: hub.load_clip(*files, config), "vision_config.num_attention_heads is 12")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_cut_files_are_refused(files, share):
    weights, words = (path.read_bytes() for path in files)
    files[0].write_bytes(weights[: int(len(weights) * share)])
    refused(lambda: hub.load_clip(*files, CONFIG), "model.safetensors", "cut short")
    files[0].write_bytes(weights)
    files[1].write_bytes(words[: int(len(words) * share)])
    refused(lambda: hub.load_clip(*files, CONFIG), "tokenizer.json", "cut short")


def test_foreign_files_are_named_for_what_they_are(files, tmp_path):
    pickle, text = tmp_path / "pytorch_model.bin", tmp_path / "tokens.json"
    torch.save({"x": torch.ones(2)}, pickle)
    refused(lambda: hub.load_clip(pickle, files[1], CONFIG), "pickle")
    text.write_text('{"version": "1.0"}')
    refused(lambda: hub.load_clip(files[0], text, CONFIG), "tokens.json", "tokenizer.json")
    nowhere = tmp_path / "none"
    refused(lambda: hub.load_clip(nowhere, files[1], CONFIG), "no weights", error=FileNotFoundError)
    plain = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, []))
    plain.save(str(text))
    refused(lambda: hub.load_clip(files[0], text, CONFIG), "<|endoftext|>")


def test_an_unknown_name_gets_the_nearest():
    refused(lambda: hub.load("clip-vit-base-patch23"), "'clip-vit-base-patch32'")


def test_what_is_no_picture_is_refused(tmp_path):
    page = tmp_path / "photo.jpg"
    page.write_text("<html>")
    for photo in (page, tmp_path / "none.png", 3, None):
        refused(lambda photo=photo: hub.look(photo), "cannot be read as a picture")


def test_photographs_are_read_as_the_pictures_of_folders_are():
    hidden = Image.new("RGBA", (20, 10), (0, 255, 0, 0))
    assert (hub.look(hidden, 8) == 1).all()
    shades = np.linspace(0, 65535, 8).round().astype(np.uint16)
    ramp = hub.look(Image.fromarray(shades[None].repeat(8, 0)), 8)
    assert torch.allclose(ramp[0, 0, 0], torch.linspace(-1, 1, 8), atol=0.005)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side: its left is its top
    half = Image.new("L", (16, 16))
    half.paste(255, (0, 0, 8, 16))
    data = io.BytesIO()
    half.save(data, "JPEG", exif=exif, quality=95)
    seen = hub.look(data, 16)[0, 0]
    assert seen[:7].min() > 0.9 and seen[9:].max() < -0.9


def test_a_long_thin_picture_does_not_become_a_huge_one(monkeypatch):
    resize, areas = Image.Image.resize, []

    def watched(image, size, *options):
        areas.append(size[0] * size[1])
        return resize(image, size, *options)

    monkeypatch.setattr(Image.Image, "resize", watched)
    for size in ((2, 3000), (3000, 2)):
        stripe = Image.new("L", size)
        stripe.paste(255, (max(0, size[0] // 2 - 4), max(0, size[1] // 2 - 4), size[0] // 2 + 4,
                           size[1] // 2 + 4))  # fmt: skip
        seen = hub.look(stripe, 16)
        assert seen.shape == (1, 3, 16, 16) and seen.min() > 0.8
    assert max(areas) <= 16 * 160


@pytest.mark.parametrize("sides", [(90, 11), (110, 11), (111, 11), (11, 300), (1, 1), (7, 200)])
def test_the_middle_of_a_photograph_is_what_resizing_all_of_it_gives(sides):
    across, down = np.meshgrid(*(np.linspace(0, 255, side) for side in sides))
    photo = Image.fromarray(np.stack([across, down, 255 - across], 2).astype(np.uint8))
    scale = 16 / min(sides)
    whole = photo.resize([int(side * scale) for side in sides], Image.Resampling.BICUBIC)
    left, top = (round((side - 16) / 2) for side in whole.size)
    expected = np.asarray(whole.crop((left, top, left + 16, top + 16)), float) / 127.5 - 1
    away = np.abs(hub.look(photo, 16)[0].permute(1, 2, 0).numpy() - expected).max()
    assert away < (1e-5 if max(sides) <= 10 * min(sides) else 0.02)
