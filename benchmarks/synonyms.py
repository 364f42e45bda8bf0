"""Do words that mean the same meet in a text encoder? As a table in Markdown.

    python -m benchmarks.synonyms [--weights FILE] [--count 500] [--seeds 3]

Plain captions avoid "crimson", "disc" or "a pair of" (`labkit.scenes.synonyms`); the corpus uses
them. Two tests on sentences that nobody trained on, each for the avoided words alone:

- linear probe: a logistic regression learns from what the encoder says of plain words in sentences
  ("red" → red); it is asked about avoided ones ("crimson" → ?).
- nearest sentence: of a sentence with an avoided word and its versions with each plain word of that
  kind in its place, is the right one nearest by the cosine of pooled vectors?
"""

from __future__ import annotations

import argparse
import re

import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from benchmarks import tables
from labkit import scenes, zoo
from labkit.scenes.synonyms import SYNONYMS, plainly
from labkit.scenes.words import COLOR_WORDS, NOUNS, NUMBERS
from labkit.systems.t5 import T5

SINGULAR = {plural: one for pairs in NOUNS.values() for one, plural in pairs}
PLAIN_WORDS = {
    "color": list(COLOR_WORDS),
    "shape": [word for (one, many), *_ in NOUNS.values() for word in (one, many)],
    "number": [NUMBERS[2][0], NUMBERS[3][0]],
}
CHANCE = {"color": 1 / 8, "shape": 1 / 8}


def sentences(count: int, seed: int) -> list[str]:
    """Captions of scenes of any combination; no training of the course draws these seeds."""
    return scenes.captions(scenes.draw(count, 10**9 + seed, "all"), 10**9 + seed)


def said_of(model: T5, texts: list[str], kind: str) -> tuple[Tensor, list[str], list[bool]]:
    """For each word of that kind, one token long, in the texts: what the encoder says of it,
    (N, width); the plain word that means the same; and whether plain captions avoid it."""
    plain = SYNONYMS[kind] | {word: word for word in PLAIN_WORDS[kind]}
    pieces = model.reads.pieces
    found = {word: pieces.encode(word).ids for word in plain}
    ids = {row[0]: word for word, row in found.items() if len(row) == 1}
    tokens = model.reads.encode(texts)
    cond = model.encode(texts)
    vectors, names, avoided = [], [], []
    for row, column in tokens.mask.nonzero().tolist():
        if word := ids.get(int(tokens.ids[row, column])):
            vectors.append(cond.tokens[row, column])
            names.append(SINGULAR.get(plain[word], plain[word]))
            avoided.append(word in SYNONYMS[kind])
    return torch.stack(vectors), names, avoided


def probe(model: T5, kind: str, count: int = 1000, seed: int = 0) -> tuple[float, float]:
    """The probe's share of right answers on plain words of new sentences, and on avoided ones."""
    x, y, avoided = said_of(model, sentences(count, seed), kind)
    learned = [row for row, away in enumerate(avoided) if not away]
    reader = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=300))
    reader.fit(x[learned].numpy(), [y[row] for row in learned])
    x, y, avoided = said_of(model, sentences(count, seed + 1), kind)
    right = [guess == name for guess, name in zip(reader.predict(x.numpy()), y, strict=True)]
    plain = [ok for ok, away in zip(right, avoided, strict=True) if not away]
    rare = [ok for ok, away in zip(right, avoided, strict=True) if away]
    return sum(plain) / len(plain), sum(rare) / len(rare)


def versions(text: str, kind: str) -> tuple[str, str, list[str], list[str]] | None:
    """The plain word for a text's one avoided word of that kind, the text, its versions with each
    plain word in that place, and these words; None for a text with none or several."""
    table = SYNONYMS[kind]
    found = re.findall(rf"\b(?:{'|'.join(table)})\b", text)
    if len(found) != 1:
        return None
    right = table[found[0]]
    others = [word for word in PLAIN_WORDS[kind] if (word in SINGULAR) == (right in SINGULAR)]
    swapped = [text.replace(found[0], word) for word in others]
    return right, text, [plainly(each) for each in swapped], others


def nearest(model: T5, kind: str, count: int = 1000, seed: int = 2) -> float:
    """The share of sentences whose nearest version is the one that means the same."""
    found = [v for text in sentences(count, seed) if (v := versions(text, kind))]
    right = 0
    for plain, text, others, words in found:
        pooled = F.normalize(model.pooled([text, *others]), dim=1)
        right += words[int((pooled[1:] @ pooled[0]).argmax())] == plain
    return right / len(found)


def untrained(model: T5) -> T5:
    """An encoder of the same configuration as it was drawn."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return T5(model.config, model.tokenizer).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", help="a file of t5-scenes; default: the shipped one")
    parser.add_argument("--count", type=int, default=500, help="sentences of each draw")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    model = zoo.load("t5-scenes", given.weights)
    names = ("probe: plain words", "probe: avoided words", "nearest sentence", "chance")
    print(tables.head("encoder, words of a", *names))
    for encoder, each in (("t5-scenes", model), ("untrained", untrained(model))):
        for kind, chance in CHANCE.items():
            seeds = range(0, 3 * given.seeds, 3)
            learned = [
                (*probe(each, kind, given.count, seed), nearest(each, kind, given.count, seed + 2))
                for seed in seeds
            ]
            runs = [(*row, chance) for row in learned]
            print(tables.row(f"{encoder}, {kind}", runs, digits=3), flush=True)


if __name__ == "__main__":
    main()
