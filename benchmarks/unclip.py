"""What DALL·E 2 draws on the scenes (lesson 10), as tables in Markdown.

    python -m benchmarks.unclip [--decoder FILE] [--samples 200] [--seeds 3] [--steps 25]
                                [--scale 3] [--only sentences|variations|changes]

FILE: what `labkit train unclip-decoder-scenes` wrote; without it, the shipped weights.

*Sentences*: what pictures of a sentence show of it, with the image embedding that each prior draws,
with that of a real picture of it, with the sentence's own embedding in its place, and with the
caption alone (small-scale study of the paper's section 5.1: 7.99 with a prior, 9.16 and 16.55 with
two uses of the text embedding). Columns as in `benchmarks.text_to_scenes`; *spread*: how different
four pictures of one sentence are.

*Variations*: what is left of a picture of one thing after its embedding was drawn anew.

*Changes*: "a red star" → "a blue star" for pictures of one thing, by the share theta of the way;
*changed*: pictures that now show the new color; *kept*: of shape, size, fill and background, the
share that is as it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from benchmarks import tables, text_to_scenes
from labkit import scenes, zoo
from labkit.sampler import APART
from labkit.scenes.descriptions import descriptions
from labkit.scenes.scores import spread
from labkit.scenes.world import BACKGROUNDS, Scenes
from labkit.systems.dalle2 import DALLE2

EACH = 4  # pictures of one sentence, for their spread
KEPT = ("shape", "size", "fill", "background")


def system_of(decoder: Path | None) -> DALLE2:
    """The whole system, with the decoder of that file."""
    parts = {
        name: zoo.load(other, decoder if name == "decoder" else None)
        for name, other in zoo.recipe("dalle2-scenes").parts.items()
    }
    return DALLE2(**parts).eval()


def last(states) -> Tensor:
    *_, state = states
    return state.pictures


def from_sentences(system: DALLE2, given, seed: int) -> dict[str, list[float]]:
    """By the embedding's origin: the figures of one seed."""
    truth = scenes.draw(given.samples, 20_011 + seed)
    asked = descriptions(truth, seed)
    with torch.no_grad():
        own = system.clip.encode_image(scenes.render(truth, 32))
        text = system.clip.encode_text(asked)
    embeddings = {
        "diffusion prior": system.embed(asked, "diffusion", seed=seed),
        "autoregressive prior": system.embed(asked, "autoregressive", seed=seed),
        "a real picture's": own,
        "the sentence's": text,
        "caption alone": None,
    }
    options = {"steps": given.steps, "scale": given.scale, "eta": 1.0}
    found, reader = {}, zoo.load("reader-scenes")
    for name, z in embeddings.items():
        # Seeds that no prior has, or its noise would be the decoder's.
        drawn = last(system.decoder.generate(asked, embedding=z, seed=seed + APART, **options))
        few, own_z = asked[:16], None if z is None else z[:16]
        again = [
            last(system.decoder.generate(few, embedding=own_z, seed=further, **options))
            for further in (APART + 1_000 * (seed + 1) + k for k in range(EACH))
        ]
        alike = [spread(reader, rows) for rows in torch.stack(again, 1)]
        found[name] = [*text_to_scenes.evaluate(drawn, asked), sum(alike) / len(alike)]
    return found


def single(number: int, seed: int) -> Scenes:
    """That many scenes of one thing."""
    drawn = scenes.draw(8 * number, 30_011 + seed)
    return drawn.take(drawn.count == 1).take(slice(0, number))


def read_one(pictures: Tensor) -> list[dict[str, str | tuple] | None]:
    """What is in each picture, if it is one thing."""
    seen = zoo.load("reader-scenes").read(pictures)
    grounds = [BACKGROUNDS[row] for row in seen.background.tolist()]
    return [facts(things[0], ground) if len(things) == 1 else None
            for things, ground in zip(seen.objects(), grounds, strict=True)]  # fmt: skip


def facts(thing, background: str) -> dict[str, str | tuple]:
    return {name: getattr(thing, name) for name in (*scenes.ATTRIBUTES, "place")} | {
        "background": background
    }


def varied(system: DALLE2, given, seed: int) -> dict[str, list[float]]:
    """By eta: the share of pictures that still are of one thing, and of those that have each
    attribute as it was."""
    truth, found = single(given.samples, seed), {}
    own = [facts(scene.objects[0], scene.background) for scene in truth.words()]
    for eta in (0.0, 0.5, 1.0):
        made = system.variations(scenes.render(truth, 32), eta, steps=given.steps, seed=seed)
        seen = read_one(last(made))
        pairs = [(a, b) for a, b in zip(own, seen, strict=True) if b]
        same = [sum(a[name] == b[name] for a, b in pairs) / len(seen) for name in own[0]]
        found[f"eta {eta:g}"] = [len(pairs) / len(seen), *same]
    return found


def changed(system: DALLE2, given, seed: int) -> dict[str, list[float]]:
    """By theta: the shares of pictures with the new color, and of what else is as it was."""
    truth = single(given.samples, seed)
    thetas, colors = (0.0, 0.15, 0.25, 0.35, 0.5), list(scenes.COLORS)
    rows = {theta: [] for theta in thetas}
    for index, scene in enumerate(truth.words()):
        own = facts(scene.objects[0], scene.background)
        others = [
            color
            for color in colors
            if color != own["color"] and (color, own["shape"]) not in scenes.UNSEEN["colors"]
        ]
        new = others[index % len(others)]
        picture = scenes.render(truth.take(slice(index, index + 1)), 32)
        before, after = (f"a {color} {own['shape']}" for color in (own["color"], new))
        drawn = last(system.text_diff(picture, before, after, thetas, steps=given.steps))
        for theta, seen in zip(thetas, read_one(drawn), strict=True):
            kept = [bool(seen) and seen[name] == own[name] for name in KEPT]
            rows[theta].append([bool(seen) and seen["color"] == new, sum(kept) / len(kept), *kept])
    return {
        f"theta {theta:g}": torch.tensor(each, dtype=torch.float64).mean(0).tolist()
        for theta, each in rows.items()
    }


TABLES = {
    "sentences": (from_sentences, ("image embedding", *text_to_scenes.COLUMNS, "spread")),
    "variations": (varied, ("noise", "one thing", *scenes.ATTRIBUTES, "place", "background")),
    "changes": (changed, ("way", "changed", "kept", *KEPT)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decoder", type=Path)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--scale", type=float, default=3.0)
    parser.add_argument("--only", choices=TABLES, action="append")
    given = parser.parse_args()
    system = system_of(given.decoder)
    for name in given.only or TABLES:
        measure, columns = TABLES[name]
        print(f"\n{name}: {given.samples} for each of {given.seeds} seeds\n")
        print(tables.head(*columns))
        runs = [measure(system, given, seed) for seed in range(given.seeds)]
        for row in runs[0]:
            print(tables.row(row, [run[row] for run in runs], 3), flush=True)


if __name__ == "__main__":
    main()
