"""Recipes of matching by cross attention: a text encoder, and the matcher that begins from it."""

from __future__ import annotations

import torch

from labkit import scenes
from labkit import train as training
from labkit.nets.bert import BertConfig
from labkit.recipes.recipe import Recipe
from labkit.scenes import corpus, matches, regions, tokenizer
from labkit.scenes.reader import Reader
from labkit.systems.bert import MaskedLM, hide
from labkit.systems.matcher import Matcher, MatcherConfig
from labkit.systems.mmca import MMCA

BERT = BertConfig(vocabulary=1010, context=32, width=64, depth=2, heads=4)
SENTENCES = 40_000  # of the text that BERT reads
GROUPS = 2_500  # of scenes that look alike, four each, with five captions each


def masked_sentence_batches(batch: int = 64) -> training.Batches:
    """Sentences of a fixed text, some of their words hidden. Those of a batch are of about the same
    length, so that hardly any padding is computed."""
    tokens = tokenizer.load().encode(corpus.sentences(SENTENCES, 0))
    order = tokens.mask.sum(1).argsort(stable=True)
    tokens = tokenizer.Tokens(tokens.ids[order], tokens.mask[order])

    def batches(generator: torch.Generator):
        at = int(torch.randint(SENTENCES - batch + 1, (), generator=generator))
        rows = slice(at, at + batch)
        some = tokenizer.Tokens(tokens.ids[rows], tokens.mask[rows])
        return hide(some, BERT.vocabulary, generator)

    return batches


def match_batches(reader: Reader) -> training.Batches:
    """64 pictures of a fixed pool with one of their captions each, in groups of four that look
    alike; the pool's regions are proposed once."""
    known = matches.pool(GROUPS, seed=0)
    seen = regions.propose(reader, scenes.render(known.scenes, 32))
    half = seen._replace(features=seen.features.half())  # 170 MB, of which a batch is made float32
    return matches.batches(known, half, groups=16)


RECIPES = {
    "bert-scenes": Recipe(
        about="guesses hidden words of sentences about scenes (lesson 13)",
        system=MaskedLM,
        config=BERT,
        batches=masked_sentence_batches,
        training={"steps": 1_000, "optimizer": "muon", "lr": 1e-2, "ema": 0.99},
        minutes=0.6,
    ),
    "matcher-scenes": Recipe(
        about="which sentence belongs to which regions of a scene (lesson 13)",
        system=Matcher,
        config=MatcherConfig(BERT, width=64, heads=4, hidden=128, filters=64, warmup=500, among=8),
        batches=match_batches,
        training={"steps": 3_000, "optimizer": "muon", "lr": 4e-3, "decay": "late", "ema": 0.99},
        minutes=9,
        begins_from="bert-scenes",
        teacher="reader-scenes",
    ),
    "mmca-scenes": Recipe(
        about="finds pictures of scenes by sentences, and sentences by pictures (lesson 13)",
        system=MMCA,
        parts={"reader": "reader-scenes", "matcher": "matcher-scenes"},
    ),
}
