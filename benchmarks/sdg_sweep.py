"""What the weight of a sentence buys and costs, on the shipped scenes, as a table in Markdown.

    python -m benchmarks.sdg_sweep [--guide noisy|clean|x0|both] [--weights 0 50 100] ...

Sentences are drawn, a color and a shape each; several noises for each sentence. `reader-scenes`,
which never steers, says how much of the sentence is shown, how many pictures show a scene of this
world at all, and how different the pictures of one sentence are. The last row is the ceiling: real
pictures that have what their sentence says. The guides: the noise-aware encoder, clean CLIP's own
encoder for x_t, the same for the model's prediction of x0, and the sum of the first and a quarter
of the third.
"""

from __future__ import annotations

import argparse
import random

import torch
from torch import Tensor

from benchmarks import tables
from labkit import scenes, zoo
from labkit.denoiser import MapX0, clip
from labkit.guidance import ScoreGuidance, of_x0
from labkit.sampler import from_noise
from labkit.scenes.captioning import noun_phrase
from labkit.scenes.meaning import Thing
from labkit.scenes.scores import caption_accuracy, shown_parts, spread, valid
from labkit.systems.sdg import NoisyCLIP, Score, weighted

CHUNK = 160  # pictures sampled at once
GUIDES = ("noisy", "clean", "x0", "both")


def wishes(number: int, seed: int) -> list[str]:
    """That many sentences, each of one thing with a color and a shape that go together in the
    scenes that the model was trained on."""
    rng = random.Random(seed)
    pairs = [(color, shape) for color in scenes.COLORS for shape in scenes.SHAPES]
    pairs = [pair for pair in pairs if pair not in scenes.UNSEEN["colors"]]
    chosen = (Thing(color=color, shape=shape) for color, shape in rng.sample(pairs, number))
    return [noun_phrase(thing, rng) for thing in chosen]


def guide(name: str, sentences: list[str]) -> Score:
    """How well a picture fits its sentence in the eyes of that guide, one of `GUIDES`."""
    space, noisy = zoo.load("clip-scenes"), zoo.load("noisy-clip-scenes")
    with torch.no_grad():
        vectors = space.encode_text(sentences)
    aware, clean = (each.language(vectors) for each in (noisy, NoisyCLIP.clean(space)))
    about_x0 = of_x0(zoo.load("ddpm-scenes").denoiser, lambda x0: clean(x0, 1))
    if name == "both":
        return weighted((1.0, aware), (0.25, about_x0))
    return {"noisy": aware, "clean": clean, "x0": about_x0}[name]


def draw(
    name: str, sentences: list[str], weight: float, steps: int, seed: int, eta: float
) -> Tensor:
    """A picture for each sentence, (B, 3, 32, 32)."""
    denoise = zoo.load("ddpm-scenes").denoiser
    if weight:
        denoise = ScoreGuidance(denoise, guide(name, sentences), weight)
    shape = (len(sentences), 3, 32, 32)
    *_, last = from_noise(MapX0(denoise, clip), shape, steps, seed=seed, eta=eta)
    return last.x.clamp(-1, 1)


def evaluate(pictures: Tensor, asked: list[str], each: int) -> list[float]:
    """Parts shown, whole sentences shown, valid pictures, spread within a sentence."""
    reader = zoo.load("reader-scenes")
    seen = reader.read(pictures)
    shown = caption_accuracy(seen, asked)
    groups = pictures.split(each)
    spreads = [spread(reader, group) for group in groups] if each > 1 else [float("nan")]
    whole = valid(seen, pictures).double().mean().item()
    return [shown.parts, shown.complete, whole, sum(spreads) / len(spreads)]


def real(asked: list[str], seed: int) -> Tensor:
    """For each sentence a real picture that shows it, another one each time it is asked for."""
    many = scenes.draw(400 + 64 * len(set(asked)), seed)
    pictures, left, found = scenes.render(many, 32), {}, []
    for sentence in asked:
        if not left.get(sentence):
            rows = shown_parts(many, [sentence] * len(pictures))
            left[sentence] = [i for i, row in enumerate(rows) if all(part.shown for part in row)]
        found.append(pictures[left[sentence].pop()])
    return torch.stack(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--guide", choices=GUIDES, default="noisy")
    parser.add_argument("--weights", type=float, nargs="+", default=[0, 50, 100, 200, 400])
    parser.add_argument("--sentences", type=int, default=12)
    parser.add_argument("--each", type=int, default=8, help="noises for each sentence")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--eta", type=float, default=1.0, help="0: DDIM, 1: new noise in each step")
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    asked = [text for text in wishes(given.sentences, 0) for _ in range(given.each)]
    print(tables.head("weight", "parts shown", "all shown", "a scene at all", "spread"))
    for weight in given.weights:
        runs = []
        for seed in range(given.seeds):
            starts = range(0, len(asked), CHUNK)
            made = [
                draw(
                    given.guide,
                    asked[i : i + CHUNK],
                    weight,
                    given.steps,
                    1000 * seed + i,
                    given.eta,
                )
                for i in starts
            ]
            runs.append(evaluate(torch.cat(made), asked, given.each))
        print(tables.row(f"{weight:g}", runs, digits=3), flush=True)
    ceiling = evaluate(real(asked, 5), asked, given.each)
    print("| real | " + " | ".join(f"{value:.3f}" for value in ceiling) + " |")


if __name__ == "__main__":
    main()
