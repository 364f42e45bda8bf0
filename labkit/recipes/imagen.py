"""Recipes of Imagen's parts (lesson 11): the language model, the base, and what makes it larger."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import torch

from labkit import train as training
from labkit.nets.t5 import T5Config
from labkit.nets.unet import UNetConfig
from labkit.recipes.glide import MUON, captioned_scene_batches
from labkit.recipes.recipe import Recipe
from labkit.scenes import corpus, tokenizer
from labkit.scenes.synonyms import plainly
from labkit.systems.imagen import Imagen
from labkit.systems.imagen_stage import ImagenConfig, ImagenStage
from labkit.systems.span_corruption import corrupted, noise_spans
from labkit.systems.t5 import T5, Blanks, padded

SENTENCES, REWORDINGS = 24_000, 16_000  # of the corpus; training sees each some eight times
DENSITY = 0.1, 0.4  # of the blanks; as many in each text would soon be no surprise
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
    """Sentences of the text-only corpus with blanks, and what fills them: a tenth to four tenths of
    the tokens, in spans of one or two. (The paper's 15 % in spans of three would be one blank of
    two tokens in most of these sentences, which have a dozen tokens, not 512.) Four in ten say the
    same thing twice, each time in words of their own, as dictionaries do."""
    words = tokenizer.load()
    said = corpus.sentences(SENTENCES, 0) + corpus.rewordings(REWORDINGS, 1)
    found = words.pieces.encode_batch(said)
    texts = sorted((pieces.ids for pieces in found if len(pieces) > 1), key=len)

    def batches(generator: torch.Generator) -> Blanks:
        first = int(torch.randint(len(texts) - NEIGHBORS * batch, (), generator=generator))
        chosen = torch.randperm(NEIGHBORS * batch, generator=generator)[:batch]
        random = Random(int(torch.randint(2**62, (), generator=generator)))
        pairs = []
        for row in (first + chosen).tolist():
            density = random.uniform(*DENSITY)
            spans = noise_spans(len(texts[row]), random, density, mean=1.5, roll=True)
            text, filling = corrupted(texts[row], spans, SMALL_T5.sentinel, words.end)
            pairs.append(([words.begin, *text], filling))
        texts_with_blanks, fillings = (padded(rows, words.pad) for rows in zip(*pairs, strict=True))
        return Blanks(*texts_with_blanks, fillings.ids)

    return batches


def embedded_scene_batches(reader: T5, batch: int, size: int) -> training.Batches:
    """New scenes, size x size pixels, none of the combinations that are held out, and what the
    frozen encoder says of a sentence for each, in plain words (`labkit.scenes.synonyms`). Half are
    what people might say, half leave nothing out."""

    draw = captioned_scene_batches(batch, size)

    def batches(generator: torch.Generator):
        pictures, captions = draw(generator)
        return pictures, reader.encode([plainly(caption) for caption in captions])

    return batches


# What all three networks have in common.
NET = UNetConfig(
    groups=8,
    head_channels=16,
    scale_shift_norm=True,
    vector=128,
    vector_bias=True,
    tokens=SMALL_T5.width,
)
# Those that make pictures larger are Efficient U-Nets (Imagen, appendix B.1).
LARGER = replace(
    NET,
    image=3,
    width=32,
    multipliers=(1, 2, 3),
    blocks=(1, 2, 2),
    resample_first=True,
    skip_scale=0.5**0.5,
)
STAGES = {
    "base": ImagenConfig(
        net=replace(
            NET,
            size=32,
            width=64,
            multipliers=(1, 1.25, 1.5),
            blocks=1,
            attention=(8, 4),
            residual_resampling=True,
            fold=2,
        ),
        predicts="x0",
    ),
    "sr64": ImagenConfig(net=replace(LARGER, size=64, attention=(8,)), predicts="x0", upsamples=32),
    "sr128": ImagenConfig(
        net=replace(
            LARGER,
            size=128,
            width=48,  # 32 would hold no square of 4 x 4 pixels, which one place stands for
            multipliers=(1, 4 / 3, 2),
            attention=(16, 8),
            mixer="cross",
            fold=2,
        ),
        predicts="x0",
        upsamples=64,
        crop=64,
    ),
}


def stage(name: str, about: str, batch: int, steps: int, minutes: float, **options) -> Recipe:
    config = STAGES[name]
    return Recipe(
        about=about,
        system=ImagenStage,
        config=config,
        batches=lambda reader: embedded_scene_batches(reader, batch, config.net.size),
        training=MUON | {"steps": steps, "ema": 0.998},
        minutes=minutes,
        teacher="t5-scenes",
        **options,
    )


RECIPES = {
    "t5-scenes": Recipe(
        about="a language model of the course's world that never saw a picture (lesson 11)",
        system=T5,
        config=SMALL_T5,
        batches=corpus_batches,
        training={
            "steps": 2_500,
            "optimizer": "muon",
            "lr": 2e-3,
            "ema": 0.998,
            "weight_decay": 0.01,
            "precision": "bf16-mixed",
        },
        minutes=6.5,
    ),
    # Its network is that of glide-scenes, which has learned the pictures: from there on it learns
    # what another reader makes of the text.
    "imagen-scenes-base": stage(
        "base",
        "scenes of 32 x 32 pixels from what t5-scenes reads (lesson 11)",
        64,
        3_200,
        59,
        begins_from="glide-scenes",
        perceptual={"clip-scenes": 0.2},
    ),
    "imagen-scenes-sr64": stage(
        "sr64", "makes scenes of 32 x 32 pixels twice as large (lesson 11)", 16, 3_000, 30
    ),
    "imagen-scenes-sr128": stage(
        "sr128", "makes scenes of 64 x 64 pixels twice as large (lesson 11)", 32, 2_200, 29
    ),
    "imagen-scenes": Recipe(
        about="scenes of 128 x 128 pixels from a sentence, by a cascade of three (lesson 11)",
        system=Imagen,
        parts={
            "text": "t5-scenes",
            "base": "imagen-scenes-base",
            "sr64": "imagen-scenes-sr64",
            "sr128": "imagen-scenes-sr128",
        },
    ),
}
