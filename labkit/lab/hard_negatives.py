"""Section 8.2 of lesson 07: hard negatives teach CLIP which object is left of which.

The shipped CLIP's convolutions stay as they are; their maps are computed once. Trained are the
attention pool behind them and the text encoder. `benchmarks/hard_negatives.py` stores the result.
"""

import json
from copy import deepcopy
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit import scenes
from labkit.lab.clip_scenes import distinct, single
from labkit.metrics import retrieval
from labkit.scenes.descriptions import descriptions
from labkit.systems.clip import CLIP, standardized

STORED = Path(__file__).with_name("hard_negatives.json")


def two_objects(number: int, seed: int, split: str) -> scenes.Scenes:
    """Of `number` scenes those with two objects of different shape and color."""
    drawn = scenes.draw(number, seed, split)
    differ = (drawn.shape[:, 0] != drawn.shape[:, 1]) & (drawn.color[:, 0] != drawn.color[:, 1])
    return drawn.take((drawn.count == 2) & differ)


def pair_sentences(drawn, between, colors=(0, 1), shapes=(0, 1)) -> list[str]:
    """A sentence for each scene: its first two objects, with a word of the list between them; the
    numbers say whose color and whose shape comes first."""
    texts = []
    for row, word in enumerate(between):
        names = [
            f"{scenes.COLORS[drawn.color[row, c]]} {scenes.SHAPES[drawn.shape[row, s]]}"
            for c, s in zip(colors, shapes)
        ]
        one, other = (f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in names)
        texts.append(f"{one} {word} {other}")
    return texts


def true_and_swapped(drawn) -> tuple[list[str], list[str]]:
    """The sentence on how the first object of each scene lies to the second, and a false one with
    the two objects swapped."""
    between = [scenes.RELATIONS[each] for each in drawn.relation[:, 0, 1]]
    return pair_sentences(drawn, between), pair_sentences(drawn, between, (1, 0), (1, 0))


@torch.no_grad()
def placed(clip: CLIP, number: int, seed: int, split: str) -> tuple[Tensor, Tensor, Tensor]:
    """Of `number` scenes those of two objects, one left of, right of, above or below the other:
    the maps behind the convolutions, and the tokens of the true and of the swapped sentences."""
    drawn = two_objects(number, seed, split)
    relation = drawn.relation[:, 0, 1]
    drawn = drawn.take((relation >= 0) & (relation < 4))
    *_, maps = clip.image.maps(standardized(scenes.render(drawn, 32)))
    right, swapped = (clip.tokens(texts) for texts in true_and_swapped(drawn))
    return maps, right, swapped


class Tuned(nn.Module):
    """A CLIP's attention pool, text encoder and scale, to be trained on. hard: whether each picture
    gets its own sentence with the objects swapped as one more wrong answer."""

    def __init__(self, clip: CLIP, hard: bool):
        super().__init__()
        copy = deepcopy(clip).requires_grad_(True)
        self.pool, self.text, self.logit_scale = copy.image.pool, copy.text, copy.logit_scale
        self.hard = hard

    def vectors(self, maps: Tensor, *tokens: Tensor) -> list[Tensor]:
        """Unit vectors (N, D) of the pictures, and of each list of sentences."""
        return [F.normalize(x, dim=1) for x in (self.pool(maps), *map(self.text, tokens))]

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        image, right, swapped = self.vectors(*batch)
        options = torch.cat([right, swapped]) if self.hard else right
        own, scale = torch.arange(len(image)), self.logit_scale.exp()
        rows = F.cross_entropy(scale * image @ options.T, own)
        columns = F.cross_entropy(scale * right @ image.T, own)
        return (rows + columns) / 2


@torch.no_grad()
def share_right(tuned: Tuned, held_out: tuple[Tensor, Tensor, Tensor]) -> float:
    """How often the true sentence is nearer to the picture than the swapped one."""
    image, right, swapped = tuned.vectors(*held_out)
    return ((image * right).sum(1) > (image * swapped).sum(1)).double().mean().item()


class Skills:
    """What CLIP can do besides left and right, measured on scenes that are drawn once."""

    def __init__(self, clip: CLIP, single_objects: int = 500, nested: int = 400, sets: int = 3):
        self.clip = clip
        self.sets = [distinct(100, 100 + seed) for seed in range(sets)]
        self.single = single(single_objects, "train", 11)
        drawn = two_objects(15 * nested, 22, "all")
        self.nested = drawn.take(drawn.relation[:, 0, 1] >= 4).take(slice(0, nested))

    def vectors(self, tuned: Tuned, drawn: scenes.Scenes, *texts: list[str]) -> list[Tensor]:
        *_, maps = self.clip.image.maps(standardized(scenes.render(drawn, 32)))
        return tuned.vectors(maps, *map(self.clip.tokens, texts))

    @torch.no_grad()
    def measure(self, tuned: Tuned) -> dict[str, float]:
        """R@1 among 100 scenes (the mean of both directions), the share of single objects whose
        attribute is named right, and of nested ones whose true sentence is nearer."""
        recalls = []
        for seed, drawn in enumerate(self.sets):
            image, text = self.vectors(tuned, drawn, descriptions(drawn, seed))
            recalls += [retrieval.recall_at(each) for each in (image @ text.T, text @ image.T)]
        found = {"R@1 among 100": sum(recalls) / len(recalls)}
        for name, classes in scenes.ATTRIBUTES.items():
            texts = [f"a {word}" if name == "shape" else f"a {word} shape" for word in classes]
            image, text = self.vectors(tuned, self.single, texts)
            right = (image @ text.T).argmax(1) == getattr(self.single, name)[:, 0]
            found[name] = right.double().mean().item()
        image, right, swapped = self.vectors(tuned, self.nested, *true_and_swapped(self.nested))
        nearer = (image * right).sum(1) > (image * swapped).sum(1)
        return {**found, "inside, around": nearer.double().mean().item()}


def stored(file: Path = STORED) -> dict:
    """The stored result: steps, the number of held-out scenes, runs by name, (seeds, steps), and
    other skills: before training, and after it a table for each run whose skills were measured."""
    return json.loads(file.read_text("utf-8"))
