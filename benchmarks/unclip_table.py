"""Lesson 10: what pictures by way of a CLIP embedding show, keep and change.

    python -m benchmarks.unclip_table [--decoder FILE] [--samples 80] [--pictures 48]
                                      [--steps 15] [--scale 3] [--only TABLE] [--out FILE]

FILE of the decoder: what `labkit train unclip-decoder-scenes` wrote, or the ``.run`` of a training
that goes on; without it, the shipped weights. It is for the tables that lesson 10 prints with
standard errors over pictures; `benchmarks.unclip` measures the same with more seeds.

*sentences*: new sentences, each drawn once from the same noise with an embedding of each origin.
*guidance*: four pictures of each of a few sentences, by the whole system and by GLIDE.
*variations*: pictures of one thing, and of several. *changes*: another color, by words. FILE is
written after each table; the defaults take about five minutes of one core.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import text_to_scenes
from benchmarks.unclip import KEPT, facts, last, read_one, single
from labkit import scenes, zoo
from labkit.lab import dalle2_table, glide_table
from labkit.lab.dalle2_plot import regression
from labkit.metrics import frechet_distance
from labkit.recipes.dalle2 import embedded_scenes
from labkit.sampler import APART
from labkit.scenes.scores import shown_parts, spread, valid
from labkit.systems.dalle2 import DALLE2

EACH = 4  # pictures of one sentence, for their spread
FEW = 12  # sentences that are drawn so often
REFERENCE = 512  # real pictures that the distance is to
SCALES = (1.0, 4.0)
THETAS = (0.0, 0.15, 0.25, 0.35, 0.5)


def shares(seen, asked: list[str]) -> list[float]:
    """What share of each sentence its picture shows."""
    rows = shown_parts(seen, asked)
    return [round(sum(part.shown for part in row) / len(row), 4) for row in rows]


class Measure:
    """Measures pictures by the reader, which had no part in any training."""

    def __init__(self):
        self.reader = zoo.load("reader-scenes").requires_grad_(False)
        real = scenes.render(scenes.draw(REFERENCE, glide_table.REFERENCE), 32)
        self.real = glide_table.features(self.reader, real)

    def __call__(self, pictures: Tensor, asked: list[str]) -> dict[str, list[float]]:
        """By picture: the share of its sentence's parts, and whether it is a scene."""
        seen = self.reader.read(pictures)
        return {"parts": shares(seen, asked), "valid": valid(seen, pictures).int().tolist()}

    def distance(self, pictures: Tensor) -> list[float]:
        """Of all pictures from real ones."""
        found = glide_table.features(self.reader, pictures)
        return [round(frechet_distance(self.real, found), 5)]

    def spread(self, groups: Tensor) -> list[float]:
        """Of each group of pictures (N, EACH, 3, S, S)."""
        return [round(spread(self.reader, group), 5) for group in groups]


def origins(system: DALLE2, asked: list[str], truth) -> dict:
    """By name: from a seed to an embedding of each sentence, or to none."""
    image, texts = embedded_scenes(system.clip, 2_048)
    mean = regression(texts.embedding, image)
    with torch.no_grad():
        own = system.clip.encode_image(scenes.render(truth, 32))
        text = system.clip.encode_text(asked)
    return {
        "diffusion prior": lambda seed: system.embed(asked, seed=seed, steps=20, eta=1.0),
        "autoregressive prior": lambda seed: system.embed(asked, "autoregressive", seed=seed),
        "regression": lambda seed: F.normalize(mean(text), dim=1),
        "the real picture": lambda seed: own,
        "the sentence": lambda seed: text,
        "none": lambda seed: None,
    }


def from_sentences(system: DALLE2, measure: Measure, given) -> dict:
    truth = scenes.draw(given.samples, 20_011)
    asked, found = scenes.captions(truth, 0), {}

    def draw(z: Tensor | None, rows: int, seed: int) -> Tensor:
        z = None if z is None else z[:rows]
        return last(system.decoder.generate(asked[:rows], embedding=z, scale=given.scale, eta=1.0,
                                            steps=given.steps, seed=APART + seed))  # fmt: skip

    for name, embed in origins(system, asked, truth).items():
        drawn = draw(embed(0), len(asked), 0)
        again = [drawn[:FEW], *(draw(embed(k), FEW, k) for k in range(1, EACH))]
        found[name] = measure(drawn, asked) | {
            "distance": measure.distance(drawn),
            "spread": measure.spread(torch.stack(again, 1)),
        }
        if name == "diffusion prior":
            found["shuffled"] = measure(drawn, asked[1:] + asked[:1])
        print(name, figures(found[name]), flush=True)
    real = scenes.render(truth, 32)
    found["real"] = measure(real, asked) | {"distance": measure.distance(real)}
    found["real"]["spread"] = measure.spread(real[: FEW * EACH].unflatten(0, (-1, EACH)))
    return found


def guided(system: DALLE2, measure: Measure, given) -> dict:
    asked, found = scenes.captions(scenes.draw(FEW, 20_511), 1), {}
    glide = zoo.load("glide-scenes")
    z = [system.embed(asked, seed=k, steps=20, eta=1.0) for k in range(EACH)]
    for name in ("unCLIP", "GLIDE"):
        for scale in SCALES:
            options = {"scale": scale, "eta": 1.0, "steps": given.steps}
            drawn = [
                last(
                    system.decoder.generate(asked, embedding=z[k], seed=APART + k, **options)
                    if name == "unCLIP"
                    else glide.generate(asked, seed=APART + k, **options)
                )
                for k in range(EACH)
            ]
            row = measure(torch.cat(drawn), asked * EACH)
            # A mean over the pictures of a sentence: what is asked for is the same in all of them.
            row |= {column: dalle2_table.of(row, column).view(EACH, -1).mean(0).tolist()
                    for column in ("parts", "valid")}  # fmt: skip
            row["spread"] = measure.spread(torch.stack(drawn, 1))
            found.setdefault(name, {})[f"{scale:g}"] = row
            print(name, scale, figures(row), flush=True)
    return found


def varied(system: DALLE2, measure: Measure, given) -> dict:
    """By attribute: for each picture of one thing, whether its variation has it as it was, and
    whether another picture has it, too. `number`: of pictures of two or three things."""
    truth = single(given.pictures, 0)
    own = [facts(scene.objects[0], scene.background) for scene in truth.words()]
    made = last(system.variations(scenes.render(truth, 32), 1.0, steps=given.steps + 10, seed=0))
    seen = read_one(made)
    rows = {"variation": {}, "another's": {}}
    for name in own[0]:
        rows["variation"][name] = [int(bool(b) and a[name] == b[name]) for a, b in zip(own, seen)]
        others = own[1:] + own[:1]
        rows["another's"][name] = [int(a[name] == b[name]) for a, b in zip(own, others)]
    rows["variation"]["one thing"] = [int(bool(b)) for b in seen]
    several = scenes.draw(2 * given.pictures, 31_011)
    several = several.take(several.count > 1).take(slice(0, given.pictures))
    made = last(system.variations(scenes.render(several, 32), 1.0, steps=given.steps + 10, seed=0))
    count = zoo.load("reader-scenes").read(made).count
    rows["variation"]["number"] = (count == several.count).int().tolist()
    rows["another's"]["number"] = (several.count.roll(1) == several.count).int().tolist()
    print({name: sum(row) / len(row) for name, row in rows["variation"].items()}, flush=True)
    return rows


def changed(system: DALLE2, measure: Measure, given) -> dict:
    """By theta and column, for each picture of one thing."""
    truth, colors = single(given.pictures, 1), list(scenes.COLORS)
    columns = ("changed", *KEPT)
    rows = {f"{theta:g}": {name: [] for name in columns} for theta in THETAS}
    for index, scene in enumerate(truth.words()):
        own = facts(scene.objects[0], scene.background)
        others = [color for color in colors if color != own["color"]
                  and (color, own["shape"]) not in scenes.UNSEEN["colors"]]  # fmt: skip
        new = others[index % len(others)]
        picture = scenes.render(truth.take(slice(index, index + 1)), 32)
        before, after = (f"a {color} {own['shape']}" for color in (own["color"], new))
        drawn = last(system.text_diff(picture, before, after, THETAS, steps=given.steps + 10))
        for row, seen in zip(rows.values(), read_one(drawn), strict=True):
            row["changed"].append(int(bool(seen) and seen["color"] == new))
            for name in KEPT:
                row[name].append(int(bool(seen) and seen[name] == own[name]))
    for theta, row in rows.items():
        print(theta, {name: sum(each) / len(each) for name, each in row.items()}, flush=True)
    return rows


def figures(row: dict) -> dict:
    return {name: round(sum(values) / len(values), 3) for name, values in row.items()}


TABLES = {"sentences": from_sentences, "guidance": guided, "variations": varied, "changes": changed}


def run(system: DALLE2, given) -> None:
    about = {name: getattr(given, name) for name in ("samples", "pictures", "steps", "scale")}
    measure = Measure()
    for name in given.only or TABLES:
        table = TABLES[name](system, measure, given)
        result = dalle2_table.stored(given.out) if given.out.exists() else {}
        result |= about | {name: table}
        given.out.write_text(json.dumps(result) + "\n", "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decoder", type=Path)
    parser.add_argument("--samples", type=int, default=80)
    parser.add_argument("--pictures", type=int, default=48)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--scale", type=float, default=3.0)
    parser.add_argument("--only", choices=TABLES, action="append", help="the others stay")
    parser.add_argument("--out", type=Path, default=dalle2_table.STORED)
    given = parser.parse_args()
    parts = {name: zoo.load(other) for name, other in zoo.recipe("dalle2-scenes").parts.items()
             if name != "decoder"}  # fmt: skip
    decoder = text_to_scenes.system_of(given.decoder, "unclip-decoder-scenes")
    run(DALLE2(decoder=decoder, **parts).eval().requires_grad_(False), given)


if __name__ == "__main__":
    main()
