"""Real released weights in labkit's own modules: Stable Diffusion 1.5.

    model = hub.load("stable-diffusion-v1-5")              # fetched once: 2.1 GB
    *_, state = model.generate(["a photo of a cat"], steps=20, scale=7.5)
    state.pictures                                         # (1, 3, 512, 512) in [−1, 1]

A CPU needs minutes for a picture, and 5 GB of memory; a GPU some seconds: after
``model.to("cuda", torch.float16)``. It is the U-Net, the autoencoder and CLIP's text transformer of
lesson 12, at full size; the filter of unsuitable pictures that comes with the release is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import tokenizers
import torch
from torch import Tensor

from labkit.fetch import File, fetch
from labkit.hub.clip import BLOCK, ReleasedTokenizer
from labkit.hub.diffusers import as_today, autoencoder_names, unet_names
from labkit.hub.diffusers_config import check_configs, read_config
from labkit.hub.files import present, read_tensors, read_words, translated
from labkit.inputs import listed, number, one_of, short
from labkit.nets.autoencoder import AutoencoderConfig
from labkit.nets.transformer import TextConfig, TextTransformer
from labkit.nets.unet import UNetConfig
from labkit.systems.ldm import LDM, LDMConfig

V1 = LDMConfig(  # Stable Diffusion 1.1 to 1.5
    net=UNetConfig(
        size=64, channels=4, width=320, multipliers=(1, 2, 4, 4), attention=(64, 32, 16), heads=8,
        mixer="spatial", tokens=768, first_time=0,
    ),
    autoencoder=AutoencoderConfig(size=512),
    text=TextConfig(width=768, heads=12),
    clip_text=True,
)  # fmt: skip
SCALE = 0.18215  # of the latents; this f = 8 autoencoder's


class Release(NamedTuple):
    """The files of one release."""

    unet: File
    autoencoder: File
    text: File
    vocabulary: File
    merges: File


def release(*weights: tuple[str, int, str]) -> Release:
    """weights: of each file its name, its bytes and its checksum."""
    words = (
        ("tokenizer/vocab.json", 1_059_962,
         "e089ad92ba36837a0d31433e555c8f45fe601ab5c221d4f607ded32d9f7a4349"),
        ("tokenizer/merges.txt", 524_619,
         "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"),
    )  # fmt: skip
    repository = "stable-diffusion-v1-5/stable-diffusion-v1-5"
    commit = "451f4fe16113bff5a5d2269ed5ad43b0592e9a14"
    return Release(*(File(repository, commit, *about) for about in (*weights, *words)))


STABLE_DIFFUSIONS = {
    "stable-diffusion-v1-5": release(  # in half precision
        ("unet/diffusion_pytorch_model.fp16.safetensors", 1_719_125_304,
         "c83908253f9a64d08c25fc90874c9c8aef9a329ce1ca5fb909d73b0c83d1ea21"),
        ("vae/diffusion_pytorch_model.fp16.safetensors", 167_335_342,
         "4fbcf0ebe55a0984f5a5e00d8c4521d52359af7229bb4d81890039d2aa16dd7c"),
        ("text_encoder/model.fp16.safetensors", 246_144_864,
         "77795e2023adcf39bc29a884661950380bd093cf0750a966d473d1718dc9ef4e"),
    ),
    "stable-diffusion-v1-5-fp32": release(
        ("unet/diffusion_pytorch_model.safetensors", 3_438_167_540,
         "19da7aaa4b880e59d56843f1fcb4dd9b599c28a1d9d9af7c1143057c8ffae9f1"),
        ("vae/diffusion_pytorch_model.safetensors", 334_643_276,
         "a2b5134f4dbc140d9c11f11cba3233099e00af40f262f136c691fb7d38d2194c"),
        ("text_encoder/model.safetensors", 492_265_874,
         "d008943c017f0092921106440254dbbe00b6a285f7883ec8ba160c3faad88334"),
    ),
}  # fmt: skip


def load(name: str) -> LDM:
    """The released model of that name, a key of `STABLE_DIFFUSIONS`, with its tokenizer, in full
    precision on the CPU.

    Raises ValueError for an unknown name, ConnectionError, saying what to do, where the files are
    neither here nor to be had.
    """
    files = STABLE_DIFFUSIONS[one_of(name, STABLE_DIFFUSIONS, "released model")]
    unet, autoencoder, text, vocabulary, merges = map(fetch, files)
    return build(unet, autoencoder, text, byte_pairs(vocabulary, merges), V1, SCALE)


def load_stable_diffusion(folder: str | Path, config: LDMConfig = V1) -> LDM:
    """A model of that configuration from a folder in the form in which the diffusers library keeps
    it: unet, vae and text_encoder with their weights (full precision or fp16) and config.json, a
    tokenizer, and the scheduler's configuration, since weights do not show their noise.

    Raises ValueError, naming what differs, if the weights are of another architecture or mean
    something else, or for a file that is cut or foreign; FileNotFoundError for one that is not
    there. Nothing is loaded unless all of it is.
    """
    folder = Path(folder)
    if not config.clip_text:
        raise ValueError(
            "the configuration has no clip_text, but a Stable Diffusion reads with the transformer "
            "of a CLIP: give its text=TextConfig(...) and clip_text=True"
        )
    check_configs(folder, config)
    words = folder / "tokenizer" / "tokenizer.json"
    if words.is_file():
        pieces = read_words(words)
    else:
        pieces = byte_pairs(words.with_name("vocab.json"), words.with_name("merges.txt"))
    scale = read_config(folder / "vae" / "config.json").get("scaling_factor", SCALE)
    weights = [
        weights_in(folder / part, stem)
        for part, stem in (
            ("unet", "diffusion_pytorch_model"),
            ("vae", "diffusion_pytorch_model"),
            ("text_encoder", "model"),
        )
    ]
    scale = number(scale, "scaling_factor of vae/config.json", 1e-6)  # decoding divides by it
    return build(*weights, pieces, config, scale)


def build(unet, autoencoder, text, pieces, config: LDMConfig, scale: float) -> LDM:
    """`load_stable_diffusion` for files that are known to belong to that configuration."""
    tokenizer = ReleasedTokenizer(pieces, config.text.context, pad="<|endoftext|>")
    with torch.device("meta"):  # shapes without memory; the files' own tensors move in
        model = LDM(config, tokenizer)
    state = {"scale": torch.tensor(scale)}

    def read(prefix: str, source: str | Path, names: Callable, as_named: Callable) -> None:
        part = model.get_submodule(prefix)
        tensors = as_named(read_tensors(source))
        found = translated(tensors, names(part), part, source, ignored=COUNTING)
        state.update({f"{prefix}.{name}": tensor for name, tensor in found.items()})

    read("denoiser.net", unet, unet_names, as_today)
    read("autoencoder", autoencoder, autoencoder_names, as_today)
    read("condition.text", text, text_names, without_prefix)
    model.load_state_dict(state, assign=True)
    for part in (model.denoiser.net, model.autoencoder):
        part.to(memory_format=torch.channels_last)
    return model.eval()


# The text transformer: CLIP's, alone. Earlier files put "text_model." before every name.
COUNTING = frozenset({"embeddings.position_ids"})  # 0, 1, 2, …; no weights


def without_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}


def text_names(model: TextTransformer) -> dict[str, list[str]]:
    """Every tensor of the text transformer: its name here, and its name or names in the file."""
    names = {
        "tokens.weight": ["embeddings.token_embedding.weight"],
        "pos_emb": ["embeddings.position_embedding.weight"],
        "norm.weight": ["final_layer_norm.weight"],
        "norm.bias": ["final_layer_norm.bias"],
    }
    for layer in range(model.config.depth):
        for part, sources in BLOCK.items():
            for kind in ("weight", "bias"):
                names[f"transformer.{layer}.{part}.{kind}"] = [
                    f"encoder.layers.{layer}.{source}.{kind}" for source in sources
                ]
    return names


def byte_pairs(vocabulary: str | Path, merges: str | Path) -> tokenizers.Tokenizer:
    """CLIP's tokenizer from its vocab.json and merges.txt. Raises ValueError for files that are
    cut or foreign, FileNotFoundError for one that is not there."""
    for path in (vocabulary, merges):
        present(path, "is no tokenizer")
    try:
        numbers = json.loads(Path(vocabulary).read_text("utf-8"))
        lines = Path(merges).read_text("utf-8").splitlines()
        pairs = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
        model = tokenizers.models.BPE(numbers, pairs, end_of_word_suffix="</w>")
        joined = {first + second for first, second in pairs}
        left = [word for word in numbers if len(word.removesuffix("</w>")) > 1]
        if unmade := [word for word in left if word not in joined and not word.startswith("<|")]:
            raise ValueError(f"nothing is merged into {listed(unmade, 3)}")
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(
            f"{vocabulary} or {merges} is cut short or is no tokenizer of CLIP ({short(error)}): "
            "fetch both again"
        ) from None
    pieces = tokenizers.Tokenizer(model)
    pieces.add_special_tokens(["<|startoftext|>", "<|endoftext|>"])
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    normal, cut = tokenizers.normalizers, tokenizers.pre_tokenizers
    pieces.normalizer = normal.Sequence(
        [normal.NFC(), normal.Replace(tokenizers.Regex(r"\s+"), " "), normal.Lowercase()]
    )
    pieces.pre_tokenizer = cut.Sequence(
        [cut.Split(tokenizers.Regex(words), "removed", invert=True), cut.ByteLevel(False)]
    )
    pieces.decoder = tokenizers.decoders.ByteLevel()
    return pieces


def weights_in(folder: Path, stem: str) -> Path:
    """The weights in a part's folder, in full precision if both are there."""
    paths = [folder / f"{stem}{kind}.safetensors" for kind in ("", ".fp16")]
    found = next((path for path in paths if path.is_file()), paths[0])
    present(found, "are no weights")
    return found
