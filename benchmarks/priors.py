"""How near a prior's embeddings come to those of real pictures (lesson 10), as tables in Markdown.

    python -m benchmarks.priors [--diffusion FILE] [--autoregressive FILE] [--samples 256]
                                [--seeds 3] [--steps 20]

FILE: what `labkit train diffusion-prior-scenes` and `autoregressive-prior-scenes` wrote; without
it, the shipped weights. Each seed has its own scenes, none of them trained on, with a sentence that
leaves nothing out but the places, and its own noise.

*True*: the cosine of a prior's embedding with that of the sentence's own picture; *shuffled*: with
those of other sentences' pictures; *way*: how far it has come from there to *another picture*, the
ceiling: a real picture of the same sentence, in which everything stands elsewhere. *Text*: the
cosine with the sentence's own embedding. *Alike*: of two draws for one sentence; a prior that
answers with a mean has more than two real pictures have. *Distance*: the Fréchet distance of all
its embeddings from those of the own pictures. The row *text embedding* takes the sentence's
embedding for a picture's, *mean of 8* is the unit vector of the mean of eight draws. *unseen* asks
for combinations that training never showed.

Then short sentences, which fit many pictures: two draws, and two real pictures, of each; the real
ones may show more than is said, where people mostly say all there is. Then: what PCA loses, and the
gap between the embeddings of pictures and of sentences.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks import tables
from benchmarks.sdg_sweep import real, wishes
from labkit import scenes, zoo
from labkit.lab.dalle2_table import elsewhere
from labkit.metrics import frechet_distance
from labkit.recipes.dalle2 import embedded_scenes
from labkit.scenes.descriptions import descriptions
from labkit.systems.embedding_codes import components_for, pca_error
from labkit.systems.prior_inputs import Texts, read

LEAST = 160  # scenes: of these more are left than CLIP has dimensions, as the distance needs
COLUMNS = ("true", "shuffled", "way", "text", "alike", "distance")


@torch.no_grad()
def held_out(clip, number: int, seed: int, split: str) -> tuple[Tensor, Tensor, Texts]:
    """Embeddings of about that many new pictures, of another picture of each description, and the
    descriptions."""
    generator = torch.Generator().manual_seed(10_007 + seed)
    own, other = elsewhere(scenes.draw(number, generator, split), generator)
    one, two = (clip.encode_image(scenes.render(each, 32)) for each in (own, other))
    return one, two, read(clip, descriptions(own, seed))


def cosine(a: Tensor, b: Tensor) -> float:
    return (a * b).sum(1).double().mean().item()


def figures(drawn: Tensor, again: Tensor, true: Tensor, other: Tensor, texts: Texts) -> list[float]:
    """The columns, for two draws of each sentence."""
    found, shuffled, ceiling = (
        cosine(drawn, true),
        cosine(drawn, true.roll(1, 0)),
        cosine(other, true),
    )
    return [
        found,
        shuffled,
        (found - shuffled) / (ceiling - shuffled),
        cosine(drawn, texts.embedding),
        cosine(drawn, again),
        frechet_distance(true, drawn),
    ]


def draws(diffusion, autoregressive, steps: int) -> dict:
    """By name: how one embedding is drawn for each sentence, given a seed."""

    def diffuse(**options):
        return lambda texts, seed: diffusion.draw(texts, seed=seed, steps=steps, **options)

    def mean(texts, seed):
        each = (diffuse(eta=1.0, candidates=1)(texts, 100 * seed + 1 + k) for k in range(8))
        return F.normalize(sum(each), dim=1)

    def write(**options):
        return lambda texts, seed: autoregressive.draw(texts, seed=seed, **options)

    return {
        "diffusion, one draw": diffuse(eta=1.0, candidates=1),
        "diffusion, best of two": diffuse(eta=1.0),
        "diffusion, eta 0": diffuse(candidates=1),
        "diffusion, scale 2": diffuse(eta=1.0, candidates=1, scale=2.0),
        "diffusion, mean of 8": mean,
        "autoregressive": write(),
        "autoregressive, temperature 0.7": write(temperature=0.7),
        "autoregressive, scale 2": write(scale=2.0),
        "text embedding": lambda texts, seed: texts.embedding,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--diffusion", type=Path)
    parser.add_argument("--autoregressive", type=Path)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    given = parser.parse_args()
    if given.samples < LEAST:
        parser.error(f"--samples is {given.samples}, but must be at least {LEAST}")
    clip = zoo.load("clip-scenes").requires_grad_(False)
    ways = draws(
        zoo.load("diffusion-prior-scenes", given.diffusion),
        zoo.load("autoregressive-prior-scenes", given.autoregressive),
        given.steps,
    )
    for split in ("train", "unseen"):
        data = [held_out(clip, given.samples, seed, split) for seed in range(given.seeds)]
        print(f"\n{split}, about {given.samples} scenes for each of {given.seeds} seeds\n")
        print(tables.head("image embedding", *COLUMNS))
        others = [figures(other, true, true, other, texts) for true, other, texts in data]
        print(tables.row("another picture", others, 3), flush=True)
        for name, draw in ways.items():
            started = time.process_time()
            runs = [
                figures(draw(texts, seed), draw(texts, 1000 + seed), true, other, texts)
                for seed, (true, other, texts) in enumerate(data)
            ]
            spent = (time.process_time() - started) / sum(len(texts.ids) for *_, texts in data) / 2
            print(tables.row(f"{name} ({1000 * spent:.1f} ms)", runs, 3), flush=True)

    asked = wishes(24, 0)
    texts = read(clip, asked)
    print(f"\n{len(asked)} short sentences, {given.seeds} times two draws of each\n")
    print(tables.head("image embedding", "alike", "text"))
    runs = []
    for seed in range(given.seeds):
        with torch.no_grad():
            shown = clip.encode_image(real([text for text in asked for _ in range(2)], 5 + seed))
        runs.append([cosine(shown[::2], shown[1::2]), cosine(shown[::2], texts.embedding)])
    print(tables.row("two real pictures", runs, 3), flush=True)
    for name, draw in ways.items():
        each = ((draw(texts, seed), draw(texts, 1000 + seed)) for seed in range(given.seeds))
        runs = [[cosine(one, two), cosine(one, texts.embedding)] for one, two in each]
        print(tables.row(name, runs, 3), flush=True)

    pictures, texts = embedded_scenes(clip, 2_000, 10_007)
    pictures, sentences = pictures[: len(pictures) // 2], texts.embedding
    error = pca_error(pictures)
    print("\nWhat PCA loses of the variance of", len(pictures), "image embeddings\n")
    print(tables.head("components", "lost"))
    for k in (1, 2, 4, 8, 12, 14, 15, 16, 17, 18, 20, 24, 32, 64):
        print(f"| {k} | {error[k]:.4f} |")
    print(f"\n{components_for(pictures)} lose less than 1 %\n")

    print(tables.head("the gap", "cosine"))
    centers = [F.normalize(each.mean(0), dim=0) for each in (pictures, sentences)]
    gaps = {
        "two pictures": cosine(pictures, pictures.roll(1, 0)),
        "two sentences": cosine(sentences, sentences.roll(1, 0)),
        "a picture and another's sentence": cosine(pictures, sentences[: len(pictures)].roll(1, 0)),
        "the centers of pictures and of sentences": (centers[0] @ centers[1]).item(),
    }
    for name, value in gaps.items():
        print(f"| {name} | {value:.3f} |")


if __name__ == "__main__":
    main()
