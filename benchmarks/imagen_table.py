"""Lesson 11: readers of the text, thresholds, the cascade and its noise, a small DrawBench.

    python -m benchmarks.imagen_table TABLE [NAME=FILE …] [--only ROW …] [--samples N]
                                      [--seeds N] [--updates 400]

TABLE: *readers, thresholds, augmentation, enlarged, cascade, drawbench*. FILE: weights of a recipe
that are not the shipped ones. Each row is stored when it is done, in --out, and takes the place of
an older one; each seed has its own sentences, scenes and noise.

Readers, the text encoders: each tells a base what a sentence says; the base, which begins as
GLIDE's U-Net, is trained with it for so many updates on the same pictures with captions in plain
words (`labkit.scenes.synonyms`). *T5* has read the corpus, in which the other words stand; *CLIP*
has seen pictures with plain captions alone (trained here, as wide and deep as T5); *random T5* has
read nothing and stays as it is; *trained along* begins as that and learns with the base. Scores are
of colors, shapes and numbers that have other words: *known*, asked in plain words; *rare*, the same
scenes asked in the others; *chance*, the pictures of the rare ones beside sentences of others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.latent_table import File
from benchmarks.scene_figures import COLUMNS, distance, measured, small
from benchmarks.text_to_scenes import evaluate, system_of
from labkit import scenes, train, zoo
from labkit.denoiser import clip, dynamic_threshold
from labkit.lab import capstone, imagen_table
from labkit.lab.widgets.threshold_explorer import saturation
from labkit.nets.transformer import TextConfig
from labkit.recipes.glide import MUON, captioned_scene_batches
from labkit.recipes.imagen import SMALL_T5, STAGES, embedded_scene_batches
from labkit.recipes.scenes import SCENE_TOWER
from labkit.scenes import pairs, tokenizer
from labkit.scenes.descriptions import descriptions
from labkit.scenes.meaning import Meaning
from labkit.scenes.reading import read
from labkit.scenes.scores import caption_accuracy, shown_parts
from labkit.scenes.synonyms import PLAIN, plainly, rarely
from labkit.scenes.words import NOUNS, NUMBERS
from labkit.systems.clip import CLIP, CLIPConfig
from labkit.systems.imagen import Imagen
from labkit.systems.imagen_stage import ImagenStage
from labkit.systems.t5 import T5
from labkit.systems.text_readers import CLIPReader, TrainedAlong

BASE = 32  # pixels a side of what the base draws
SEED = 1_111  # of weights and batches
FIRST = 50_021  # the seed of the first sentences
NONE = float("nan")
WITH_OTHER_WORDS = {
    "color": None,  # every color has one
    "shape": {shape for shape, nouns in NOUNS.items() if len(nouns) > 1},
    "number": {str(number) for number in NUMBERS if NUMBERS[number][0] in PLAIN.values()},
}
THRESHOLDS = {"none": lambda x: x, "static": clip, "dynamic": dynamic_threshold()}
SCALES = (1.0, 3.0, 5.0, 10.0)
OPTIONS = capstone.PIPELINES["11 Imagen"][1]  # how the cascade is sampled
FEW = OPTIONS["steps"]["sr64"]  # steps of an upsampler
LEVELS = (0.0, 0.1, 0.3, 0.5)
SYSTEMS = {
    "GLIDE": "09 GLIDE, 64 pixels",
    "DALL·E 2": "10 DALL·E 2",
    "Imagen": "11 Imagen",
    "latent diffusion": "12 latent diffusion",
}


# Readers


def plain_pairs(batch: int = 128) -> train.Batches:
    """Pictures and the tokens of sentences in plain words, for a CLIP."""
    words, make = tokenizer.load(), pairs.batches(batch)

    def batches(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        pictures, ids = make(generator)
        texts = [plainly(text) for text in words.pieces.decode_batch(ids.tolist())]
        return pictures, words.encode(texts).ids

    return batches


def plain_clip(updates: int) -> CLIP:
    """A CLIP whose text tower is as wide and as deep as the T5, and never read another word."""
    text = TextConfig(1009, 32, SMALL_T5.width, SMALL_T5.depth, SMALL_T5.heads, end=1008)
    torch.manual_seed(SEED)
    clip = CLIP(CLIPConfig(SCENE_TOWER, text, dim=SMALL_T5.width))
    options = {"steps": updates, "lr": 3e-3, "ema": 0.99, "seed": SEED}
    *_, last = train.train(clip.train(), plain_pairs(), **options)
    return last.ema.eval()


def plain_captions(batch: int) -> train.Batches:
    """Pictures and their captions in plain words."""
    draw = captioned_scene_batches(batch, 32)

    def batches(generator: torch.Generator):
        pictures, captions = draw(generator)
        return pictures, [plainly(caption) for caption in captions]

    return batches


def reader(row: str, updates: int) -> nn.Module:
    """The encoder of that row, before the base learns."""
    if row == "T5":
        return zoo.load("t5-scenes")
    if row == "CLIP":
        return CLIPReader(plain_clip(3 * updates))
    torch.manual_seed(SEED)
    return T5(SMALL_T5).eval()


def trained(row: str, updates: int) -> Imagen:
    """A base that has learned with that reader."""
    text = reader(row, updates)
    torch.manual_seed(SEED)
    stage = ImagenStage(STAGES["base"])
    stage.begin_from(zoo.load("glide-scenes"))
    options = MUON | {"steps": updates, "warmup": 20, "ema": 0.98, "seed": SEED}
    if row == "trained along":
        *_, last = train.train(TrainedAlong(text, stage).train(), plain_captions(64), **options)
        return Imagen(last.ema.eval().text, base=last.ema.stage)
    batches = embedded_scene_batches(text.requires_grad_(False), 64, 32)
    *_, last = train.train(stage.train(), batches, **options)
    return Imagen(text, base=last.ema.eval())


def shown_of_words(pictures: Tensor, captions: Sequence[str]) -> float:
    """The share of the colors, shapes and numbers said, of those that have other words, that the
    reader sees."""
    votes = []
    for row in shown_parts(zoo.load("reader-scenes").read(pictures), captions):
        for part in row:
            if part.kind in WITH_OTHER_WORDS:
                words = WITH_OTHER_WORDS[part.kind]
                if words is None or part.said.split()[0] in words:
                    votes.append(part.shown)
    return sum(votes) / len(votes)


def in_both_words(number: int, seed: int) -> tuple[Tensor, list[str], list[str]]:
    """Real pictures, sentences for them in plain words, and the same ones in the others."""
    drawn, random = scenes.draw(number, FIRST + seed, "train"), Random(seed)
    plain = [plainly(text) for text in scenes.captions(drawn, random)]
    return scenes.render(drawn, 32), plain, [rarely(text, random) for text in plain]


def paint(system: nn.Module, captions: Sequence[str], seed: int, **options) -> Tensor:
    """One picture for each sentence, drawn fifty at a time."""
    drawn = []
    for first in range(0, len(captions), 50):
        asked = list(captions[first : first + 50])
        *_, last = system.generate(asked, seed=10_000 * seed + first, **options)
        drawn.append(last.pictures)
    return torch.cat(drawn)


def measure_readers(file: File, only: Sequence[str], updates: int, samples: int, seeds: int):
    columns = ("known", "rare", "chance", "parts", "valid")
    facts = {"steps": 25, "scale": 3.0, "eta": 1.0}
    file.table("readers", columns, updates=updates, samples=samples, seeds=seeds, **facts)

    def figures(pictures: Tensor, rare: Tensor, plain: list[str]) -> list[float]:
        others = plain[1:] + plain[:1]
        scores = [shown_of_words(*pair) for pair in
                  ((pictures, plain), (rare, plain), (rare, others))]  # fmt: skip
        parts, _, scene, *_ = evaluate(pictures, plain)
        return [*scores, parts, scene]

    asked = [in_both_words(samples, seed) for seed in range(seeds)]
    file.row("readers", "real", [figures(real, real, plain) for real, plain, _ in asked])
    for row in only or ("T5", "random T5", "trained along", "CLIP"):
        system, runs = trained(row, updates), []
        for seed, (_, plain, rare) in enumerate(asked):
            drawn = (paint(system, texts, seed, **facts) for texts in (plain, rare))
            runs.append(figures(*drawn, plain))
        file.row("readers", row, runs)


# Thresholds


def measure_thresholds(file: File, base: nn.Module, only: Sequence[str], samples: int, seeds: int):
    columns = ("parts", "valid", "saturation", "distance")
    file.table("thresholds", columns, samples=samples, seeds=seeds, steps=25)
    asked = [in_both_words(samples, seed)[:2] for seed in range(seeds)]

    def figures(pictures: Tensor, captions: list[str]) -> list[float]:
        pictures = pictures.clamp(-1, 1)
        parts, _, scene, *_ = evaluate(pictures, captions)
        return [parts, scene, saturation(pictures), distance(pictures, BASE)]

    file.row("thresholds", "real", [figures(*pair) for pair in asked])
    for scale in SCALES:
        for name, threshold in THRESHOLDS.items():
            runs = []
            for seed, (_, captions) in enumerate(asked):
                drawn = paint(base, captions, seed, steps=25, scale=scale, map_x0=threshold)
                runs.append(figures(drawn, captions))
            file.row("thresholds", f"{name}, {scale:g}", runs)


# The cascade


def enlarge(stage: ImagenStage, text, low: Tensor, seed: int, **options) -> Tensor:
    """What one stage makes of smaller pictures, whose text the encoder has read."""
    *_, last = stage.generate(text, low=low, seed=seed, steps=FEW, **options)
    return last.x.clamp(-1, 1)


def measure_augmentation(file: File, system: Imagen, samples: int, seeds: int):
    """The first upsampler, on pictures that the base drew, by the level that it is told."""
    columns = COLUMNS
    file.table("augmentation", columns, samples=samples, seeds=seeds, steps=FEW)
    base, sr64 = Imagen(system.text, base=system.stages["base"]), system.stages["sr64"]
    drawn = []
    for seed in range(seeds):
        _, captions, _ = in_both_words(samples, seed)
        drawn.append((paint(base, captions, seed, steps=25, eta=1.0), captions))
    file.row("augmentation", "the base's own", [measured(*pair, BASE) for pair in drawn])
    enlarged = [(F.interpolate(x, scale_factor=2, mode="bicubic").clamp(-1, 1), c)
                for x, c in drawn]  # fmt: skip
    file.row("augmentation", "bicubic", [measured(*pair, BASE) for pair in enlarged])
    for level in LEVELS:
        runs = []
        for seed, (low, captions) in enumerate(drawn):
            made = enlarge(sr64, system.encode(captions), low, seed, level=level)
            runs.append(measured(made, captions, BASE))
        file.row("augmentation", f"level {level:g}", runs)


def measure_enlarged(file: File, system: Imagen, samples: int, seeds: int):
    """Real small pictures made larger: the root of the mean squared difference from the same scenes
    rendered large, 0 ... 2, and that of bicubic interpolation."""
    file.table("enlarged", ("64", "128", "32 to 128"), samples=samples, seeds=seeds, steps=FEW)
    asked = []
    for seed in range(seeds):
        drawn = scenes.draw(samples, FIRST + 1_000 + seed, "train")
        captions = [plainly(text) for text in scenes.captions(drawn, seed)]
        sizes = [scenes.render(drawn, size) for size in (32, 64, 128)]
        asked.append((*sizes, system.encode(captions)))
    bicubic = partial(F.interpolate, mode="bicubic")

    def apart(made: Tensor, real: Tensor) -> float:
        return (made.clamp(-1, 1) - real).square().mean((1, 2, 3)).sqrt().mean().item()

    rows = []
    for x32, x64, x128, _ in asked:
        twice, also = bicubic(x32, scale_factor=2), bicubic(x64, scale_factor=2)
        rows.append([apart(twice, x64), apart(also, x128),
                     apart(bicubic(x32, scale_factor=4), x128)])  # fmt: skip
    file.row("enlarged", "bicubic", rows)
    sr64, sr128 = system.stages["sr64"], system.stages["sr128"]
    for level in LEVELS:
        rows = []
        for seed, (x32, x64, x128, text) in enumerate(asked):
            first = enlarge(sr64, text, x32, seed, level=level)
            alone = enlarge(sr128, text, x64, seed, level=level)
            both = enlarge(sr128, text, first, seed, level=level)
            rows.append([apart(first, x64), apart(alone, x128), apart(both, x128)])
        file.row("enlarged", f"level {level:g}", rows)


def measure_cascade(file: File, system: Imagen, samples: int, seeds: int):
    columns = (*COLUMNS, "seconds a picture")
    file.table("cascade", columns, samples=samples, seeds=seeds, **OPTIONS)
    runs: dict[str, list] = {name: [] for name in ("real", "others", *system.stages)}
    for seed in range(seeds):
        real, captions, _ = in_both_words(samples, seed)
        others = captions[1:] + captions[:1]
        runs["real"].append([*measured(real, captions, BASE), NONE])
        made, started = {}, time.process_time()
        for state in system.generate(captions, seed=seed, **OPTIONS):
            if state.stage not in made:
                made[state.stage] = [None, time.process_time()]
            made[state.stage] = [state.pictures, time.process_time()]
        for name, (pictures, finished) in made.items():
            spent, started = (finished - started) / samples, finished
            runs[name].append([*measured(pictures, captions, BASE), spent])
        runs["others"].append([*measured(pictures, others, BASE), NONE])
    for name, row in runs.items():
        file.row("cascade", name, row)


# DrawBench


def misspelled(text: str, random: Random) -> str:
    """One letter doubled in one word, of five letters or more if there is one."""
    words = text.split(" ")
    place = random.choice([i for i, word in enumerate(words) if len(word) > 4] or [len(words) - 1])
    letter = random.randrange(1, len(words[place]))
    words[place] = words[place][:letter] + words[place][letter - 1] + words[place][letter:]
    return " ".join(words)


def prompts(number: int, seed: int) -> dict[str, list[tuple[str, Meaning]]]:
    """By category, sentences and what they mean."""
    random = Random(7_000 + seed)

    def thing() -> str:
        color, shape = random.choice(scenes.COLORS), random.choice(scenes.SHAPES)
        return f"{'an' if color[0] in 'o' else 'a'} {color} {shape}"

    def several() -> str:
        (_, plural), *_ = NOUNS[random.choice(scenes.SHAPES)]
        return f"{random.choice(('two', 'three'))} {random.choice(scenes.COLORS)} {plural}"

    def between() -> str:
        return random.choice(("to the left of", "to the right of", "above", "below"))

    def means(texts: Sequence[str]) -> list[tuple[str, Meaning]]:
        return [(text, read(text)) for text in texts]

    plain = in_both_words(number, 900 + seed)[1]
    long = descriptions(scenes.draw(8 * number, 910 + seed, "train"), random)
    long = [plainly(text) for text in sorted(long, key=len)[-number:]]
    unseen = scenes.captions(scenes.draw(8 * number, 920 + seed, "unseen"), random)
    unseen = [plainly(text) for text in sorted(unseen, key=len)[-number:]]
    rows = range(number)
    return {
        "colors": means([f"{thing()} and {thing()}" for _ in rows]),
        "counting": means([several() for _ in rows]),
        "positions": means([f"{thing()} {between()} {thing()}" for _ in rows]),
        "unseen": means(unseen),
        "rare words": means([rarely(text, random) for text in plain]),
        "long": means(long),
        "misspelled": [(misspelled(text, random), read(text)) for text in plain],
        "spelled right": means(plain),
    }


def measure_drawbench(file: File, files: dict[str, Path], only: Sequence[str], samples: int,
                      seeds: int):  # fmt: skip
    bench = [prompts(samples, seed) for seed in range(seeds)]
    file.table("drawbench", list(bench[0]), samples=samples, seeds=seeds)
    examples = {name: [text for text, _ in rows[:2]] for name, rows in bench[0].items()}
    file.tables["drawbench"]["examples"] = examples

    def figures(system: nn.Module, options: dict, seed: int) -> list[float]:
        found = []
        for rows in bench[seed].values():
            texts, meanings = zip(*rows, strict=True)
            try:
                pictures = paint(system, texts, seed, **options)
            except ValueError as refused:
                if "has never read" not in str(refused):
                    raise
                found.append(NONE)
                continue
            seen = zoo.load("reader-scenes").read(small(pictures))
            found.append(caption_accuracy(seen, meanings).parts)
        return found

    for name in only or SYSTEMS:
        recipe, options = capstone.PIPELINES[SYSTEMS[name]]
        system = imagen_of(files) if name == "Imagen" else zoo.load(recipe)
        runs = [figures(system, options, seed) for seed in range(seeds)]
        file.row("drawbench", name, runs)


def imagen_of(files: dict[str, Path]) -> Imagen:
    """The shipped system, or one of these files."""
    parts = zoo.recipe("imagen-scenes").parts
    return Imagen(**{part: system_of(files.get(name), name) for part, name in parts.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    tables = ("readers", "thresholds", "augmentation", "enlarged", "cascade", "drawbench")
    parser.add_argument("table", choices=tables)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--samples", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, default=400)
    parser.add_argument("--out", type=Path, default=imagen_table.STORED)
    given = parser.parse_args()
    files = {name: Path(path) for name, _, path in (each.partition("=") for each in given.files)}
    file, size = File(given.out), (given.samples, given.seeds)
    if given.table == "readers":
        measure_readers(file, given.only, given.updates, *size)
    elif given.table == "thresholds":
        name = "imagen-scenes-base"
        base = Imagen(zoo.load("t5-scenes"), base=system_of(files.get(name), name))
        measure_thresholds(file, base, given.only, *size)
    elif given.table == "drawbench":
        measure_drawbench(file, files, given.only, *size)
    else:
        measure = {"augmentation": measure_augmentation, "enlarged": measure_enlarged,
                   "cascade": measure_cascade}[given.table]  # fmt: skip
        measure(file, imagen_of(files), *size)


if __name__ == "__main__":
    main()
