"""Text as numbers: the pieces that the course's text encoders read.

    tokenizer = load()
    tokens = tokenizer.encode(["a red star"])     # ids (1, 32), mask (1, 32)
    tokenizer.decode(tokens.ids)                  # ["a red star"]

Byte-pair encoding over bytes (Sennrich et al. 2016, as GPT-2 and CLIP use it), learned from the
captions and the corpus by the `tokenizers` library: every word of theirs is one piece, any other
word comes apart into smaller ones, down to bytes, so that no text is impossible to write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from labkit import scenes
from labkit.inputs import short, whole_number
from labkit.scenes import corpus
from labkit.scenes.lexicon import WORDS

FILE = Path(__file__).parent / "tokenizer.json"
CONTEXT = 32  # tokens of a text, with begin and end: any caption fits
PIECES = 1024  # of the vocabulary, begin, end and padding among them
PAD, BEGIN, END = "<pad>", "<begin>", "<end>"


class Tokens(NamedTuple):
    """N texts as numbers."""

    ids: Tensor  # (N, L) long: begin, the text, end, then padding (0)
    mask: Tensor  # (N, L) bool: True = not padding


class Tokenizer:
    """Wraps a `tokenizers.Tokenizer`. ``end`` is the largest id of all, so that the end of each
    text can be found as CLIP's code finds it, by ``ids.argmax(-1)``."""

    def __init__(self, pieces, context: int = CONTEXT, words: Iterable[str] | None = None):
        """words: those that mean something to who reads; None: every piece does."""
        self.pieces = pieces
        pieces.encode_special_tokens = True  # "<end>" in a text is five letters, and ends nothing
        self.words = None if words is None else frozenset(words)
        self.context = whole_number(context, "the context", 3)
        self.pad, self.begin, self.end = (pieces.token_to_id(word) for word in (PAD, BEGIN, END))
        self.known = set(pieces.get_vocab())

    def __len__(self) -> int:
        """How many ids there are: the rows of an embedding table."""
        return self.pieces.get_vocab_size()

    def encode(self, texts: str | Sequence[str]) -> Tokens:
        """Texts as (N, context) ids. Upper and lower case are the same, and so are any spaces.

        Raises ValueError for an empty text (`null` is what stands for "no text"), for one that is
        too long, and for what is no text.
        """
        texts = [texts] if isinstance(texts, str) else texts
        if not isinstance(texts, Sequence) or not len(texts):
            raise ValueError(f"texts is {short(texts)}, but must be a list of at least one text")
        texts = [spaced(text) for text in texts]
        if "" in texts:
            raise ValueError(
                "a text is empty, but must say something; for no text at all take "
                "tokenizer.null(number)"
            )
        found = self.pieces.encode_batch(texts)
        rows = [self.framed(pieces.ids) for pieces in found]
        room = self.context - len(self.framed([]))
        for text, pieces in zip(texts, found):
            if len(pieces) > room:
                raise ValueError(
                    f"{short(text)} has {len(pieces)} tokens, but at most {room} fit; "
                    "say it in fewer words"
                )
        return self.padded(rows)

    def framed(self, ids: list[int]) -> list[int]:
        """The ids of a text with what stands around each."""
        return [self.begin, *ids, self.end]

    def null(self, number: int) -> Tokens:
        """What stands for "no text": begin and end with nothing between, ``number`` times."""
        return self.padded([self.framed([])] * whole_number(number, "the number", 1))

    def padded(self, rows: list[list[int]]) -> Tokens:
        ids = torch.full((len(rows), self.context), self.pad)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = torch.tensor(row)
        lengths = torch.tensor([len(row) for row in rows])
        return Tokens(ids, torch.arange(self.context) < lengths[:, None])

    def decode(self, ids: Tensor) -> list[str]:
        """The texts of ids (N, L); begin, end and padding are left out."""
        if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.is_floating_point():
            raise ValueError(f"ids is {short(ids)}, but must be whole numbers of shape (N, L)")
        if ids.numel() and not (int(ids.min()) >= 0 and int(ids.max()) < len(self)):
            raise ValueError(
                f"ids run from {int(ids.min())} to {int(ids.max())}, but must be from 0 to "
                f"{len(self) - 1}"
            )
        return [self.text_of(row) for row in ids.tolist()]

    def text_of(self, row: list[int]) -> str:
        """The text of one row of ids."""
        return self.pieces.decode(row).strip()

    def split(self, text: str) -> list[str]:
        """The pieces of a text, to look at. What is not ASCII shows as the letters of its bytes."""
        return [piece.replace("Ġ", "") for piece in self.pieces.encode(spaced(text)).tokens]

    def unknown(self, text: str) -> list[str]:
        """The words of a text that no caption has. They can be encoded, but whoever learned from
        captions never read them. (The corpus has more words than these.)"""
        text = self.pieces.normalizer.normalize_str(spaced(text))
        found = []
        for piece, where in self.pieces.pre_tokenizer.pre_tokenize_str(text):
            word = text[slice(*where)].strip()
            learned = self.words is None or not word.isalpha() or word in self.words
            if not (learned and piece in self.known):
                found.append(word)
        return found


def words_of(tokenizer: Tokenizer | None) -> str:
    """Which tokenizer it is: "" for the course's own, and else a short digest of its vocabulary, so
    that models which number words in another way are not taken for each other."""
    if tokenizer is None or tokenizer is load():
        return ""
    words = sorted(tokenizer.pieces.get_vocab().items(), key=lambda pair: pair[1])
    return f"tokenizer {sha256(repr(words).encode()).hexdigest()[:12]}"


def spaced(text: object) -> str:
    """The text with single spaces, and none at its ends. ValueError if it is no text."""
    if not isinstance(text, str):
        raise ValueError(f"a text is {short(text)}, but must be a string")
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"{short(text)} holds half of a character: decode it as UTF-8 first")
    return " ".join(text.split())


@cache
def load() -> Tokenizer:
    """The tokenizer that comes with labkit."""
    import tokenizers

    return Tokenizer(tokenizers.Tokenizer.from_file(str(FILE)), words=WORDS)


def train(texts: Iterable[str], pieces: int = PIECES, context: int = CONTEXT) -> Tokenizer:
    """Learns a vocabulary of at most that many pieces from texts. The same texts give the same."""
    from tokenizers import Tokenizer as Pieces
    from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

    pieces = whole_number(pieces, "the number of pieces", 256 + 3)
    made = Pieces(models.BPE())
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=pieces - 2,
            special_tokens=[PAD],  # id 0
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    made.add_special_tokens([BEGIN, END])  # the two largest ids
    return Tokenizer(made, context)


def learn() -> Tokenizer:
    """Learns the shipped tokenizer again, from the course's own texts: a few seconds."""
    drawn = scenes.draw(6_000, 0, "all")
    return train([*scenes.captions(drawn, 0), *corpus.sentences(12_000, 0, "all")])
