"""Real released weights in labkit's own modules: the encoders of FLAN-T5.

    t5 = hub.load("flan-t5-small")
    t5.encode(["a photo of a cat"]).tokens      # (1, 6, 512): what a diffusion model would hear

FLAN-T5 is T5 version 1.1, trained on with instructions (Chung et al. 2022). Its files are
safetensors with a tokenizer.json. Those of T5 version 1.1 itself, whose largest encoder is the one
of Imagen, are pickles, which labkit does not open. Imagen needs no decoder, so none is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tokenizers
import torch

from labkit.fetch import File, fetch
from labkit.hub.files import present, read_tensors, read_words, translated
from labkit.inputs import one_of, short
from labkit.nets.t5 import EPS, PAPER, T5Config
from labkit.scenes.tokenizer import Tokenizer
from labkit.systems.t5 import T5

CONTEXT = 512  # tokens of a text, its end included: those of T5's training


class Release(NamedTuple):
    """What one released encoder consists of."""

    config: T5Config
    weights: tuple[File, ...]  # a large model lies in several
    tokenizer: File


def release(size: str, commit: str, *weights: tuple[str, int | None, str | None]) -> Release:
    """weights: of each file its name, its bytes and its checksum."""
    repository = f"google/flan-t5-{size}"
    return Release(
        PAPER[size],
        tuple(File(repository, commit, *about) for about in weights),
        File(repository, commit, "tokenizer.json", 2_424_064, WORDS),
    )


WORDS = "fe2ebbbbde2985be723e0ce18217853e4020c5e9d35bd07be2c27ab9d3ead57a"  # the same for all sizes
T5S = {
    "flan-t5-small": release(
        "small", "0fc9ddf78a1e988dac52e2dac162b0ede4fd74ab",
        ("model.safetensors", 307_867_048,
         "495fa51e204676f1a857a9fc13c4c89f3f5ba9f480b898cebca02add25e6d749"),
    ),
    "flan-t5-base": release(
        "base", "7bcac572ce56db69c1ea7c8af255c5d7c9672fc2",
        ("model.safetensors", 990_345_061,
         "1dfb70afdcedceb9f9fae2f9b68e004ad934361fb35b9b2bd50b45ea90790fc8"),
    ),
    "flan-t5-large": release(
        "large", "0613663d0d48ea86ba8cb3d7a44f0f65dc596a2a",
        ("model.safetensors", None,
         "a9dd06ce490f139af36e9eb77dd3758b4fd07a08a73d5a1abe5ff2591e2d388e"),
    ),
    "flan-t5-xl": release(
        "xl", "7d6315df2c2fb742f0f5b556879d730926ca9001",
        ("model-00001-of-00002.safetensors", 9_449_619_912, None),
        ("model-00002-of-00002.safetensors", 1_949_477_672, None),
    ),
}  # fmt: skip


class ReleasedT5Tokenizer(Tokenizer):
    """The tokenizer of the released T5s, from its tokenizer.json: likeliest pieces of a text
    (Kudo and Richardson 2018), case kept; behind each text stands its end, before it nothing."""

    def __init__(self, pieces: tokenizers.Tokenizer, context: int = CONTEXT):
        # What stands behind a text is put there by `framed`, whatever the file says.
        pieces.post_processor = tokenizers.processors.Sequence([])
        pieces.no_truncation()
        pieces.no_padding()
        self.pieces, self.context = pieces, context
        self.pad, self.end = map(pieces.token_to_id, ("<pad>", "</s>"))
        if self.pad is None or self.end is None:
            raise ValueError(
                "the tokenizer has no <pad> and </s>, so it is not one of T5: give the "
                "tokenizer.json that came with the weights"
            )

    def framed(self, ids: list[int]) -> list[int]:
        return [*ids, self.end]

    def unknown(self, text: str) -> list[str]:
        """None: it learned from the texts of the internet, and other words come apart into pieces
        that it has read."""
        return []


def load(name: str) -> T5:
    """The released encoder of that name, a key of `T5S`, with its tokenizer, ready to use.

    Raises ValueError for an unknown name, ConnectionError, saying what to do, where the files are
    neither here nor to be had.
    """
    chosen = T5S[one_of(name, T5S, "released model")]
    weights = [fetch(file) for file in chosen.weights]
    return build(weights, fetch(chosen.tokenizer), chosen.config)


def load_t5(weights: str | Path, words: str | Path, config: T5Config) -> T5:
    """A T5 of that configuration from files in the form in which the `transformers` library keeps
    it: model.safetensors and tokenizer.json, and beside the weights the config.json that came with
    them, since the weights do not show their activation; it is looked at first. A decoder in the
    file is left there unless the configuration has one.

    Raises ValueError, naming what differs, if the weights are of another architecture, or for a
    file that is cut or foreign; FileNotFoundError for one that is not there.
    """
    present(weights, "are no weights")
    check_config(Path(weights).with_name("config.json"), config)
    return build([weights], words, config)


def build(weights: Sequence[str | Path], words: str | Path, config: T5Config) -> T5:
    """`load_t5` for weights, of one or several files, that are known to be of version 1.1."""
    tokenizer = ReleasedT5Tokenizer(read_words(words))
    with torch.device("meta"):  # shapes without memory; the file's own tensors move in
        model = T5(config, tokenizer)
    unneeded = () if config.decoder else ("decoder.", "lm_head.")
    tensors = {}
    for path in weights:
        tensors |= read_tensors(path, unneeded)
    state = translated(tensors, t5_names(config), model.net, weights[0], ignored=COPIES)
    model.net.load_state_dict(state, assign=True)
    return model.eval()


def check_config(path: Path, config: T5Config) -> None:
    """Raises ValueError, naming all that differs, unless the config.json at `path` agrees: in the
    sizes, and in what no shape shows, such as the activation and the epsilon of the norms."""
    present(path, "is no configuration")
    wanted = {
        "model_type": "t5", "feed_forward_proj": "gated-gelu", "vocab_size": config.vocabulary,
        "d_model": config.width, "d_ff": config.hidden, "num_layers": config.depth,
        "num_heads": config.heads, "d_kv": config.head_width,
        "relative_attention_num_buckets": config.buckets,
        "relative_attention_max_distance": config.reach, "layer_norm_epsilon": EPS,
    }  # fmt: skip
    if config.decoder:
        wanted["num_decoder_layers"] = config.decoder
    # What does not stand in a config.json has the default of `transformers`: version 1.0's.
    usual = {
        "model_type": None, "feed_forward_proj": "relu", "vocab_size": 32_128, "d_model": 512,
        "d_ff": 2048, "num_layers": 6, "num_heads": 8, "d_kv": 64,
        "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
        "layer_norm_epsilon": 1e-6,
    }  # fmt: skip
    try:
        given = usual | json.loads(path.read_text("utf-8"))
        given.setdefault("num_decoder_layers", given["num_layers"])
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{path} is cut short or is no config.json of a T5 ({short(error)}): fetch it again"
        ) from None
    odd = [
        f"{key} is {short(given[key])} instead of {value!r}"
        for key, value in wanted.items()
        if given[key] != value
    ]
    if odd:
        raise ValueError(
            f"{path} describes another model, which computes something else with its weights: "
            f"{', '.join(odd)}; give the configuration that belongs to the file, and weights of "
            "T5 version 1.1 or FLAN-T5"
        )


# The embedding once more under other names, as older files have it.
COPIES = frozenset(f"{stack}.embed_tokens.weight" for stack in ("encoder", "decoder"))

# Names: ours on the left, those of `transformers` on the right. What is one matrix here and several
# there is laid together in that order.

ENCODER = {
    "norm1": ["0.layer_norm"],
    "attention.qkv": ["0.SelfAttention.q", "0.SelfAttention.k", "0.SelfAttention.v"],
    "attention.out": ["0.SelfAttention.o"],
    "norm2": ["1.layer_norm"],
    "mlp.inner": ["1.DenseReluDense.wi_1", "1.DenseReluDense.wi_0"],  # the second is the gate
    "mlp.out": ["1.DenseReluDense.wo"],
}
DECODER = {
    "norm_cross": ["1.layer_norm"],
    "cross.q": ["1.EncDecAttention.q"],
    "cross.kv": ["1.EncDecAttention.k", "1.EncDecAttention.v"],
    "cross.out": ["1.EncDecAttention.o"],
} | {ours: [name.replace("1.", "2.", 1) for name in theirs] for ours, theirs in ENCODER.items()}


def t5_names(config: T5Config) -> dict[str, list[str]]:
    """Every tensor of such a T5: its name here, and its name or names in the file."""
    names = {"tokens.weight": ["shared.weight"]}
    stacks = {"encoder": (config.depth, ENCODER), "decoder": (config.decoder, DECODER)}
    for stack, (depth, table) in stacks.items():
        if not depth:
            continue
        distance = f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        names |= {f"{stack}.distance.bias.weight": [distance]}
        names |= {f"{stack}.norm.weight": [f"{stack}.final_layer_norm.weight"]}
        for layer in range(depth):
            for part, sources in table.items():
                names[f"{stack}.blocks.{layer}.{part}.weight"] = [
                    f"{stack}.block.{layer}.layer.{source}.weight" for source in sources
                ]
    return names | ({"decoder.out.weight": ["lm_head.weight"]} if config.decoder else {})
