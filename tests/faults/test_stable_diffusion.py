"""Stable Diffusion from files that are cut, foreign, missing or of another model: one sentence
each, and nothing half-loaded."""

import json
from dataclasses import replace

import pytest
import safetensors.torch
import tokenizers
import torch

from labkit import hub
from labkit.hub.diffusers import autoencoder_names, unet_names
from labkit.hub.stable_diffusion import load_stable_diffusion, text_names
from labkit.nets.autoencoder import AutoencoderConfig
from labkit.nets.transformer import TextConfig
from labkit.nets.unet import UNetConfig
from labkit.systems.ldm import LDM, LDMConfig

NET = UNetConfig(
    size=4, channels=4, width=8, multipliers=(1, 2), blocks=1, attention=(4,), heads=2, groups=4,
    mixer="spatial", tokens=8, first_time=0,
)  # fmt: skip
PIXELS = AutoencoderConfig(size=8, width=4, multipliers=(1, 2), blocks=1, groups=2)
LETTERS = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
PAIRS = [("c", "a"), ("ca", "t</w>"), ("d", "o")]
TEXT = TextConfig(vocabulary=517, context=6, width=8, depth=1, heads=2, end=516)
CONFIG = LDMConfig(net=NET, autoencoder=PIXELS, text=TEXT, clip_text=True)

CONFIGS = {
    "unet/config.json": {"attention_head_dim": 2, "norm_num_groups": 4},
    "vae/config.json": {"norm_num_groups": 2, "scaling_factor": 0.25},
    "text_encoder/config.json": {"num_attention_heads": 2},
    "scheduler/scheduler_config.json": {
        "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012
    },
}  # fmt: skip
V = {"prediction_type": "v_prediction"}
WEIGHTS = {
    "unet/diffusion_pytorch_model.safetensors": ("denoiser.net", unet_names),
    "vae/diffusion_pytorch_model.safetensors": ("autoencoder", autoencoder_names),
    "text_encoder/model.safetensors": ("condition.text", text_names),
}


def refused(call, *words, error=ValueError):
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)  # a note may follow, in which all names stand
    for word in words:
        assert word in str(caught.value), caught.value


@pytest.fixture
def folder(tmp_path):
    """A small model as the release lies in its folders."""
    torch.manual_seed(0)
    model = LDM(CONFIG)
    for name, (prefix, names) in WEIGHTS.items():
        part, found = model.get_submodule(prefix), {}
        for ours, theirs in names(part).items():
            tensor = part.state_dict()[ours]
            parts = tensor.chunk(len(theirs)) if len(theirs) > 1 else [tensor]
            found |= {
                each: piece.clone().contiguous() for each, piece in zip(theirs, parts, strict=True)
            }
        (tmp_path / name).parent.mkdir()
        safetensors.torch.save_file(found, tmp_path / name)
    for name, said in CONFIGS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(said))
    words = [*LETTERS, *(letter + "</w>" for letter in LETTERS), *map("".join, PAIRS)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "tokenizer").mkdir()
    numbers = {word: row for row, word in enumerate(words)}
    (tmp_path / "tokenizer/vocab.json").write_text(json.dumps(numbers))
    merges = "\n".join(["#version: 0.2", *map(" ".join, PAIRS)])
    (tmp_path / "tokenizer/merges.txt").write_text(merges)
    return tmp_path


def load(folder, config=CONFIG):
    return lambda: load_stable_diffusion(folder, config)


def test_what_is_whole_loads_and_says_what_it_cannot_read(folder):
    model = load(folder)()
    assert model.scale == 0.25
    ids = model.tokenizer.encode(["Cat  do"]).ids
    assert ids.tolist() == [[515, 513, LETTERS.index("d"), LETTERS.index("o") + 256, 516, 516]]
    assert model.encode(["cat", None]).tokens.shape == (2, 6, 8)
    *_, state = model.generate(["cat"], steps=2)
    assert state.pictures.shape == (1, 3, 8, 8)
    refused(lambda: model.generate(["cat cat cat cat cat"]), "at most 4 fit")


def test_a_tokenizer_in_one_file_will_do(folder):
    cat = load(folder)().tokenizer
    cat.pieces.save(str(folder / "tokenizer/tokenizer.json"))
    for name in ("vocab.json", "merges.txt"):
        (folder / "tokenizer" / name).unlink()
    assert load(folder)().tokenizer.encode(["cat"]).ids.tolist() == cat.encode(["cat"]).ids.tolist()


@pytest.mark.parametrize("name", [*WEIGHTS, *CONFIGS, "tokenizer/vocab.json"])
@pytest.mark.parametrize("share", [0.0, 0.95])
def test_a_cut_file_is_refused_by_its_name(folder, name, share):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: int(len(data) * share)])
    refused(load(folder), name, "cut short", "fetch")


def test_a_list_of_merges_that_was_cut_between_two_lines_is_noticed(folder):
    path = folder / "tokenizer/merges.txt"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    refused(load(folder), "merges.txt is cut short", "nothing is merged into do")


@pytest.mark.parametrize("name", [*WEIGHTS, *CONFIGS, "tokenizer/merges.txt"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    refused(load(folder), name, error=FileNotFoundError)
    refused(load(folder / "nowhere"), "nowhere", error=FileNotFoundError)


@pytest.mark.parametrize("name", WEIGHTS)
def test_every_missing_and_every_unknown_name_is_listed(folder, name):
    tensors = safetensors.torch.load_file(folder / name)
    gone = sorted(tensors)[:3]
    kept = {key: part for key, part in tensors.items() if key not in gone}
    safetensors.torch.save_file(kept | {"lora.up": torch.zeros(1)}, folder / name)
    refused(load(folder), *gone, "missing", "not known here", "lora.up", name)
    safetensors.torch.save_file({f"{key}.up": part for key, part in tensors.items()}, folder / name)
    with pytest.raises(ValueError, match=f"and {len(tensors) - 8} more; not known") as caught:
        load(folder)()
    (note,) = caught.value.__notes__
    both = ["missing:", *sorted(tensors), "not known here:", *(f"{k}.up" for k in sorted(tensors))]
    assert note.splitlines() == both


def test_weights_of_few_bits_are_refused(folder):
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    whole = {name: (100 * part).to(torch.int8) for name, part in tensors.items()}
    safetensors.torch.save_file(whole, path)
    refused(load(folder), str(path), "whole numbers in place of weights", "torch.int8")


def test_another_architecture_is_refused_by_what_differs(folder):
    deeper = replace(CONFIG, text=replace(TEXT, depth=2))
    refused(load(folder, deeper), "text_encoder", "missing", "encoder.layers.1.")
    wider = replace(CONFIG, net=replace(NET, width=16))
    refused(load(folder, wider), "unet", "another size", "conv_in.weight (8, 4, 3, 3) instead of")
    large = replace(CONFIG, autoencoder=replace(PIXELS, size=16, multipliers=(1, 2, 2)))
    refused(load(folder, large), "vae", "missing", "decoder.up_blocks.2.resnets.0")


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("unet/config.json", "attention_head_dim", 4),
        ("unet/config.json", "norm_eps", 1e-6),
        ("unet/config.json", "flip_sin_to_cos", False),
        ("unet/config.json", "downsample_padding", 0),
        ("unet/config.json", "resnet_out_scale_factor", 2.0),
        ("vae/config.json", "norm_num_groups", 4),
        ("vae/config.json", "shift_factor", 0.1),
        ("text_encoder/config.json", "hidden_act", "gelu"),
        ("scheduler/scheduler_config.json", "prediction_type", "v_prediction"),
        ("scheduler/scheduler_config.json", "beta_schedule", "linear"),
        ("scheduler/scheduler_config.json", "rescale_betas_zero_snr", True),
        ("scheduler/scheduler_config.json", "trained_betas", [0.1]),
    ],
)
def test_weights_of_the_same_shapes_that_mean_something_else_are_refused(folder, name, key, value):
    (folder / name).write_text(json.dumps(CONFIGS[name] | {key: value}))
    refused(load(folder), f"{name}: {key} is {value!r} instead of", "another model")


def test_a_model_that_predicts_something_else_or_has_another_schedule_takes_the_files_of_its_own(
    folder,
):
    path = folder / "scheduler/scheduler_config.json"
    of_v = replace(CONFIG, predicts="v")
    refused(load(folder, of_v), "prediction_type is 'epsilon' instead of 'v_prediction'")
    path.write_text(json.dumps(CONFIGS["scheduler/scheduler_config.json"] | V))
    assert load(folder, of_v)().denoiser.predicts == "v"
    linear = replace(CONFIG, schedule="linear")
    path.write_text(json.dumps({"beta_schedule": "linear", "beta_start": 0.00085}))
    refused(load(folder, linear), "beta_start is 0.00085 instead of 0.0001")
    path.write_text("{}")  # that of the library itself
    assert load(folder, linear)().denoiser.schedule.alpha_bar[-1] < 1e-4
    refused(load(folder, replace(CONFIG, schedule="sigmoid")), "unknown schedule of a release")


def test_a_configuration_that_no_release_has_is_refused(folder):
    bare = replace(NET, tokens=None)
    refused(load(folder, replace(CONFIG, net=bare, text=None, clip_text=False)), "no clip_text")
    refused(load(folder, replace(CONFIG, clip_text=False)), "no clip_text")
    for change in ({"mixer": "pixels"}, {"residual_resampling": True}):
        other = replace(CONFIG, net=replace(NET, **change))
        refused(load(folder, other), "no file of the diffusers library has", "down.")


def test_a_scale_of_zero_by_which_nothing_can_be_divided_is_refused(folder):
    (folder / "vae/config.json").write_text('{"norm_num_groups": 2, "scaling_factor": 0}')
    refused(load(folder), "scaling_factor of vae/config.json is 0")


def test_all_that_differs_is_said_at_once(folder):
    for name in CONFIGS:
        (folder / name).write_text("{}")
    refused(
        load(folder), "attention_head_dim is 8", "norm_num_groups is 32", "beta_start is 0.0001"
    )


def test_without_a_network_it_says_so_in_one_sentence(monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
        "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}",
    )
    for name, size in (("stable-diffusion-v1-5", "1.7 GB"), ("stable-diffusion-v1-5-fp32", "3.4")):
        refused(
            lambda name=name: hub.load(name), "unet/", "cannot be fetched", size,
            error=ConnectionError,
        )  # fmt: skip
    refused(lambda: hub.load("stable-difusion-v1-5"), "'stable-diffusion-v1-5'")
