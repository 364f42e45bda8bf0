"""Released T5s that are cut, foreign or of another size: one sentence each."""

import json
from dataclasses import replace

import pytest
import safetensors.torch
import tokenizers
import torch
from huggingface_hub import constants

from labkit import hub
from labkit.nets.t5 import PAPER, T5Config, T5Net

CONFIG = T5Config(vocabulary=40, width=8, hidden=12, depth=2, heads=2, head_width=4, sentinel=39)


def refused(call, *words, error=ValueError):
    with pytest.raises(error) as caught:
        call()
    assert "\n" not in str(caught.value)  # a note may follow, in which all names stand
    for word in words:
        assert word in str(caught.value), caught.value


def as_released(config: T5Config = CONFIG) -> dict[str, torch.Tensor]:
    """The tensors of a small T5 under the names of released files."""
    torch.manual_seed(0)
    state, found = T5Net(config).state_dict(), {}
    for ours, theirs in hub.t5.t5_names(config).items():
        parts = state[ours].chunk(len(theirs)) if len(theirs) > 1 else [state[ours]]
        found |= {name: part.clone() for name, part in zip(theirs, parts, strict=True)}
    return found


@pytest.fixture
def files(tmp_path):
    """model.safetensors, with a decoder as released ones have, tokenizer.json, config.json."""
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    words += [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    pieces = tokenizers.Tokenizer(tokenizers.models.Unigram(words, unk_id=2))
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    pieces.add_special_tokens(["<pad>", "</s>", "<unk>"])
    pieces.save(str(tmp_path / "tokenizer.json"))
    tensors = as_released(replace(CONFIG, decoder=1))
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    configure(tmp_path)
    return tmp_path / "model.safetensors", tmp_path / "tokenizer.json"


def configure(folder, **changes):
    told = {"model_type": "t5", "feed_forward_proj": "gated-gelu", "num_heads": 2, "d_kv": 4,
            "vocab_size": 40, "d_model": 8, "d_ff": 12, "num_layers": 2,
            "num_decoder_layers": 1}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(told | changes))


def changed(files, change) -> tuple:
    tensors = safetensors.torch.load_file(files[0])
    change(tensors)
    safetensors.torch.save_file(tensors, files[0])
    return files


def test_what_is_whole_loads_without_its_decoder_or_with_it_in_half_precision_too(files):
    model = hub.load_t5(*files, CONFIG)
    assert model.net.decoder is None and model.encode(["ab c"]).tokens.shape == (1, 6, 8)
    whole = hub.load_t5(*files, replace(CONFIG, decoder=1))
    expected = model.encode(["ab c"]).tokens
    assert torch.equal(whole.encode(["ab c"]).tokens, expected)

    def older(tensors):
        for name in tensors:
            tensors[name] = tensors[name].half()
        tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"].clone()

    half = hub.load_t5(*changed(files, older), CONFIG)
    assert torch.allclose(half.encode(["ab c"]).tokens, expected, atol=2e-2)


def test_a_model_in_several_files_loads_as_one(files, tmp_path):
    tensors = safetensors.torch.load_file(files[0])
    names = sorted(tensors)
    halves = []
    for row, part in enumerate((names[::2], names[1::2])):
        halves.append(tmp_path / f"model-{row}.safetensors")
        safetensors.torch.save_file({name: tensors[name] for name in part}, halves[-1])
    model, whole = hub.t5.build(halves, files[1], CONFIG), hub.load_t5(*files, CONFIG)
    assert torch.equal(model.encode(["star"]).tokens, whole.encode(["star"]).tokens)
    refused(lambda: hub.t5.build(halves[:1], files[1], CONFIG), "missing", "model-0.safetensors")


def test_every_missing_and_every_unknown_name_is_listed(files):
    gone = ["shared.weight", "encoder.block.1.layer.0.SelfAttention.k.weight"]

    def change(tensors):
        for name in gone:
            del tensors[name]
        tensors["encoder.pooler.weight"] = torch.zeros(1)

    changed(files, change)
    refused(
        lambda: hub.load_t5(*files, CONFIG), *gone, "encoder.pooler.weight", "missing",
        "not known here", "model.safetensors",
    )  # fmt: skip


def test_another_configuration_is_told_by_all_that_differs_before_any_weight_is_read(files):
    files[0].write_bytes(b"never looked at")
    other = replace(CONFIG, vocabulary=48, width=16, hidden=24, depth=3, heads=4, head_width=2)
    refused(
        lambda: hub.load_t5(*files, other), "vocab_size is 40 instead of 48",
        "d_model is 8 instead of 16", "d_ff is 12 instead of 24", "num_layers is 2 instead of 3",
        "num_heads is 2 instead of 4", "d_kv is 4 instead of 2",
    )  # fmt: skip
    two = replace(CONFIG, decoder=2)
    refused(lambda: hub.load_t5(*files, two), "num_decoder_layers is 1 instead of 2")


def test_weights_of_another_size_than_their_configuration_are_refused_by_all_that_differs(files):
    configure(files[0].parent, num_layers=3)
    refused(
        lambda: hub.load_t5(*files, replace(CONFIG, depth=3)),
        *(f"encoder.block.2.layer.{part}.weight" for part in ("0.layer_norm", "0.SelfAttention.q")),
        "and 1 more",
    )
    configure(files[0].parent, d_model=16)
    refused(
        lambda: hub.load_t5(*files, replace(CONFIG, width=16)),
        "shared.weight (40, 8) instead of (40, 16)",
    )
    configure(files[0].parent, d_ff=24)
    refused(
        lambda: hub.load_t5(*files, replace(CONFIG, hidden=24)),
        "encoder.block.0.layer.1.DenseReluDense.wi_1.weight (12, 8) instead of (24, 8)",
    )


def test_version_1_0_whose_mlp_has_no_gate_is_refused(files):
    def change(tensors):
        for name in [name for name in tensors if name.endswith("wi_0.weight")]:
            tensors[name.replace("wi_0", "wi")] = tensors.pop(name)
            del tensors[name.replace("wi_0", "wi_1")]

    refused(lambda: hub.load_t5(*changed(files, change), CONFIG), "wi_1", "missing")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "mt5"), ("feed_forward_proj", "relu"), ("num_heads", 4), ("d_kv", 2),
        ("relative_attention_num_buckets", 16), ("layer_norm_epsilon", 1e-5),
    ],
)  # fmt: skip
def test_weights_of_the_same_shapes_that_mean_something_else_are_refused(files, key, value):
    configure(files[0].parent, **{key: value})
    refused(lambda: hub.load_t5(*files, CONFIG), f"{key} is {value!r} instead of", "config.json")


def test_a_configuration_is_demanded_and_must_be_one(files):
    path = files[0].with_name("config.json")
    for text in ("", "{", "[]"):
        path.write_text(text)
        refused(lambda: hub.load_t5(*files, CONFIG), "config.json", "fetch it again")
    path.write_text("{}")
    refused(lambda: hub.load_t5(*files, CONFIG), "feed_forward_proj is 'relu'", "num_heads is 8")
    path.unlink()
    refused(lambda: hub.load_t5(*files, CONFIG), "no configuration", error=FileNotFoundError)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_cut_files_are_refused(files, share):
    weights, words = (path.read_bytes() for path in files)
    files[0].write_bytes(weights[: int(len(weights) * share)])
    refused(lambda: hub.load_t5(*files, CONFIG), "model.safetensors", "cut short")
    files[0].write_bytes(weights)
    files[1].write_bytes(words[: int(len(words) * share)])
    refused(lambda: hub.load_t5(*files, CONFIG), "tokenizer.json", "cut short")


def test_a_pickle_and_another_model_s_tokenizer_are_named_for_what_they_are(files, tmp_path):
    pickle = tmp_path / "pytorch_model.bin"
    torch.save({"x": torch.ones(2)}, pickle)
    refused(lambda: hub.load_t5(pickle, files[1], CONFIG), "pickle")
    plain = tokenizers.Tokenizer(tokenizers.models.BPE({"a": 0}, []))
    plain.save(str(files[1]))
    refused(lambda: hub.load_t5(*files, CONFIG), "<pad> and </s>")


def test_a_tokenizer_with_more_tokens_than_the_weights_is_refused_when_it_reads(files):
    pieces = tokenizers.Tokenizer.from_file(str(files[1]))
    pieces.add_tokens([f"word{row}" for row in range(20)])
    pieces.save(str(files[1]))
    refused(lambda: hub.load_t5(*files, CONFIG).encode(["ab"]), "knows 40 tokens")


def test_the_table_names_flan_t5_s_sizes_of_the_paper_s_configurations():
    sizes = ("small", "base", "large", "xl")
    assert [*hub.T5S] == [f"flan-t5-{size}" for size in sizes]
    assert [release.config for release in hub.T5S.values()] == [PAPER[size] for size in sizes]
    for release in hub.T5S.values():
        for file in (*release.weights, release.tokenizer):
            assert len(file.commit) == 40 and file.name.endswith((".safetensors", ".json"))
            assert file.bytes or file.sha256


def test_an_unknown_name_gets_the_nearest_of_all_released_models():
    refused(lambda: hub.load("flan-t5-smal"), "'flan-t5-small'", "clip-vit-base-patch32")
    refused(lambda: hub.load("t5-v1_1-xxl"), "flan-t5-xl")


def test_without_a_network_one_sentence_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(
        lambda: hub.load("flan-t5-small"), "model.safetensors of google/flan-t5-small",
        "308 MB", "HF_HUB_OFFLINE", error=ConnectionError,
    )  # fmt: skip
    refused(lambda: hub.load("flan-t5-large"), "some GB are needed", error=ConnectionError)
