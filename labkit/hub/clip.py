"""Real released weights in labkit's own modules: OpenAI's CLIP.

    clip = hub.load("clip-vit-base-patch32")
    clip(hub.look("my_photo.jpg"), ["a photo of a cat", "a photo of a dog"]).softmax(1)

The files are fetched once and compared with the checksums below (see `labkit.fetch`); afterwards no
network is needed. Weights are safetensors files, so nothing is unpickled.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import tokenizers
import torch

from labkit.fetch import File, fetch
from labkit.hub.files import present, read_tensors, read_words, translated
from labkit.inputs import one_of, short
from labkit.nets.vit import ViTConfig
from labkit.scenes.tokenizer import Tokenizer, spaced
from labkit.systems.clip import CLIP, PAPER, CLIPConfig


class Release(NamedTuple):
    """What one released model consists of."""

    config: CLIPConfig
    weights: File
    tokenizer: File


BASE = "openai/clip-vit-base-patch32", "b33cedfd0df4e43b8238760678fcc89e1a0d38b3"
LARGE = "openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41"
WORDS = File(  # both models read with the same tokenizer
    *BASE, "tokenizer.json", 2_224_041,
    "b556ac8c99757ffb677208af34bc8c6721572114111a6e0aaf5fa69ff0b8d842",
)  # fmt: skip
CLIPS = {
    "clip-vit-base-patch32": Release(
        PAPER["ViT-B/32"],
        File(*BASE, "model.safetensors", 605_157_884,
             "99d28a652e6ec46629ab7047a0ac82c69b1fe11e0ce672c43af65d3a9a3fc05d"),
        WORDS,
    ),
    "clip-vit-large-patch14": Release(
        PAPER["ViT-L/14"],
        File(*LARGE, "model.safetensors", 1_710_540_580,
             "a2bf730a0c7debf160f7a6b50b3aaf3703e7e88ac73de7a314903141db026dcb"),
        WORDS,
    ),
}  # fmt: skip


class ReleasedTokenizer(Tokenizer):
    """The tokenizer of the released CLIPs, from its tokenizer.json.

    Byte pairs of lower-cased text in which word ends are marked; behind the end stand zeros, as in
    OpenAI's code, or the token ``pad``. That code also repairs broken unicode and HTML, which this
    does not.
    """

    def __init__(self, pieces: tokenizers.Tokenizer, context: int, pad: str | None = None):
        # Start, end and filling are put around each text by `encode`, whatever the file says.
        pieces.post_processor = tokenizers.processors.Sequence([])
        pieces.no_truncation()
        pieces.no_padding()
        self.pieces, self.context = pieces, context
        self.begin, self.end = map(pieces.token_to_id, ("<|startoftext|>", "<|endoftext|>"))
        self.pad = pieces.token_to_id(pad) if pad else 0
        if self.begin is None or self.end is None:
            raise ValueError(
                "the tokenizer has no <|startoftext|> and <|endoftext|>, so it is not one of CLIP: "
                "give the tokenizer.json that came with the weights"
            )

    def text_of(self, row: list[int]) -> str:
        """The text of one row of ids, up to its first end: the zeros behind it would be "!"."""
        row = row[: row.index(self.end)] if self.end in row else row
        text = self.pieces.decode([piece for piece in row if piece != self.begin])
        return text.replace("</w>", " ").strip()

    def split(self, text: str) -> list[str]:
        """The pieces of a text, to look at, without the marks of word ends."""
        return [piece.removesuffix("</w>") for piece in self.pieces.encode(spaced(text)).tokens]

    def unknown(self, text: str) -> list[str]:
        """None: 400 million captions of the internet left few words out, and all of them come
        apart into pieces that it has read."""
        return []


def load(name: str) -> CLIP:
    """The released CLIP of that name, a key of `CLIPS`, with its tokenizer, ready to use.

    Raises ValueError for an unknown name, ConnectionError, saying what to do, where the files are
    neither here nor to be had.
    """
    release = CLIPS[one_of(name, CLIPS, "released model")]
    return build(fetch(release.weights), fetch(release.tokenizer), release.config)


def load_clip(weights: str | Path, words: str | Path, config: CLIPConfig) -> CLIP:
    """A CLIP of that configuration, with a vision transformer, from files in the form in which the
    `transformers` library keeps it: model.safetensors and tokenizer.json, and beside the weights
    the config.json that came with them, since the weights do not show their activation.

    Raises ValueError, naming what differs, if the weights are of another architecture, or for a
    file that is cut or foreign; FileNotFoundError for one that is not there.
    """
    if not isinstance(config.image, ViTConfig):
        raise ValueError(
            "config has a ResNet, but released weights in this form exist for vision transformers "
            "only: give a configuration with a ViTConfig"
        )
    model = build(weights, words, config)
    check_config(Path(weights).with_name("config.json"), config)
    return model


def build(weights: str | Path, words: str | Path, config: CLIPConfig) -> CLIP:
    """`load_clip` for weights that are known to be OpenAI's."""
    tokenizer = ReleasedTokenizer(read_words(words), config.text.context)
    with torch.device("meta"):  # shapes without memory; the file's own tensors move in
        model = CLIP(config, tokenizer)
    tensors = translated(
        read_tensors(weights), clip_names(config), model, weights, ignored=COUNTING
    )
    model.load_state_dict(tensors, assign=True)
    return model.eval()


def check_config(path: Path, config: CLIPConfig) -> None:
    """Raises ValueError unless the config.json at `path` agrees in what the weights do not show:
    the kind of model, its activation, its heads, and the epsilon of its norms."""
    present(path, "is no configuration")
    odd = []
    try:
        given_config = json.loads(path.read_text("utf-8"))
        if given_config.get("model_type") != "clip":
            odd.append(f"model_type is {short(given_config.get('model_type'))} instead of 'clip'")
        # What does not stand in a config.json has the default of `transformers`.
        same = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
        for part, usual, heads in (
            ("text_config", 8, config.text.heads),
            ("vision_config", 12, config.image.heads),
        ):
            given = same | {"num_attention_heads": usual} | given_config[part]
            for key, own in (same | {"num_attention_heads": heads}).items():
                if given[key] != own:
                    odd.append(f"{part}.{key} is {short(given[key])} instead of {own!r}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is cut short or is no config.json of a CLIP ({short(error)}): fetch it again"
        ) from None
    if odd:
        raise ValueError(
            f"{path} describes another model, which computes something else with its weights: "
            f"{', '.join(odd)}; give the configuration that belongs to the file, and weights that "
            "were trained with OpenAI's QuickGELU"
        )


# Names: ours on the left, those of `transformers` on the right. What is one matrix here and three
# there is laid together in that order.

BLOCK = {
    "norm1": ["layer_norm1"],
    "attention.qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "attention.out": ["self_attn.out_proj"],
    "norm2": ["layer_norm2"],
    "mlp.0": ["mlp.fc1"],
    "mlp.2": ["mlp.fc2"],
}
WHOLE = {
    "logit_scale": ["logit_scale"],
    "image.patches.weight": ["vision_model.embeddings.patch_embedding.weight"],
    "image.cls_token": ["vision_model.embeddings.class_embedding"],
    "image.pos_emb": ["vision_model.embeddings.position_embedding.weight"],
    "image.norm_in.weight": ["vision_model.pre_layrnorm.weight"],  # spelled so
    "image.norm_in.bias": ["vision_model.pre_layrnorm.bias"],
    "image.norm_out.weight": ["vision_model.post_layernorm.weight"],
    "image.norm_out.bias": ["vision_model.post_layernorm.bias"],
    "image.project.weight": ["visual_projection.weight"],
    "text.tokens.weight": ["text_model.embeddings.token_embedding.weight"],
    "text.pos_emb": ["text_model.embeddings.position_embedding.weight"],
    "text.norm.weight": ["text_model.final_layer_norm.weight"],
    "text.norm.bias": ["text_model.final_layer_norm.bias"],
    "text.project.weight": ["text_projection.weight"],
}
# The numbers 0, 1, 2, ... that older files keep beside the embeddings; no weights.
COUNTING = frozenset(f"{tower}_model.embeddings.position_ids" for tower in ("text", "vision"))


def clip_names(config: CLIPConfig) -> dict[str, list[str]]:
    """Every tensor of such a CLIP: its name here, and its name or names in the file."""
    names = dict(WHOLE)
    for ours, theirs, depth in (
        ("image", "vision", config.image.depth),
        ("text", "text", config.text.depth),
    ):
        for layer in range(depth):
            for part, sources in BLOCK.items():
                for kind in ("weight", "bias"):
                    names[f"{ours}.transformer.{layer}.{part}.{kind}"] = [
                        f"{theirs}_model.encoder.layers.{layer}.{name}.{kind}" for name in sources
                    ]
    return names
