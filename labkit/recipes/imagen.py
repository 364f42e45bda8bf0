"""Recipes of Imagen's parts (lesson 11): the language model, the base, and what makes it larger."""

from __future__ import annotations

from random import Random

import torch

from labkit import train as training
from labkit.nets.t5 import T5Config
from labkit.recipes.recipe import Recipe
from labkit.scenes import corpus, tokenizer
from labkit.systems.span_corruption import corrupted, noise_spans
from labkit.systems.t5 import T5, Blanks, padded

SENTENCES = 40_000  # of the corpus: more than training gets to see twenty times
NEIGHBORS = 8  # batches are drawn from as many times their size of texts of about one length

SMALL_T5 = T5Config(
    vocabulary=1009 + 16,  # the course's tokens, then a sentinel for each blank
    width=128,
    hidden=256,
    depth=3,
    heads=4,
    head_width=32,
    decoder=1,
    sentinel=1009 + 15,
)


def corpus_batches(batch: int = 128) -> training.Batches:
    """Sentences of the text-only corpus with blanks, and what fills them: a quarter of the tokens,
    in spans of two on average. (The paper's 15 % in spans of three would be one blank in most of
    these sentences, which have a dozen tokens, not 512.)"""
    words = tokenizer.load()
    found = words.pieces.encode_batch(corpus.sentences(SENTENCES, 0))
    texts = sorted((pieces.ids for pieces in found if len(pieces) > 1), key=len)

    def batches(generator: torch.Generator) -> Blanks:
        first = int(torch.randint(len(texts) - NEIGHBORS * batch, (), generator=generator))
        chosen = torch.randperm(NEIGHBORS * batch, generator=generator)[:batch]
        random = Random(int(torch.randint(2**62, (), generator=generator)))
        pairs = []
        for row in (first + chosen).tolist():
            spans = noise_spans(len(texts[row]), random, density=0.25, mean=2.0, roll=True)
            text, filling = corrupted(texts[row], spans, SMALL_T5.sentinel, words.end)
            pairs.append(([words.begin, *text], filling))
        texts_with_blanks, fillings = (padded(rows, words.pad) for rows in zip(*pairs, strict=True))
        return Blanks(*texts_with_blanks, fillings.ids)

    return batches


RECIPES = {
    "t5-scenes": Recipe(
        about="a language model of the course's world that never saw a picture (lesson 11)",
        system=T5,
        config=SMALL_T5,
        batches=corpus_batches,
        training={
            "steps": 5_000,
            "optimizer": "muon",
            "lr": 2e-3,
            "ema": 0.998,
            "weight_decay": 0.01,
            "precision": "bf16-mixed",
        },
        minutes=15,
    ),
}
