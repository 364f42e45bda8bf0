"""Pictures and their sentences, for learning by comparison, as CLIP does.

Who has to tell 128 random scenes apart can do so by color and background alone and never looks at
a shape. So half of every batch comes in groups of scenes in the same two colors on the same
background: there the rest of the sentence has to be read, and the rest of the picture looked at.
"""

from __future__ import annotations

from random import Random

import torch
from torch import Tensor

from labkit.data import tokenizer
from labkit.data.captions import captions
from labkit.data.descriptions import descriptions
from labkit.data.scenes_draw import draw, unseen
from labkit.data.scenes_render import render
from labkit.data.scenes_world import BACKGROUNDS, COLORS, Scenes, together
from labkit.inputs import number, whole_number
from labkit.train import Batches

GROUPS = 2  # of scenes that look alike, in each batch
COMPLETE = 0.3  # of the sentences leave nothing out; the others are what people would say


def batches(batch: int, size: int = 32, alike: float = 0.5) -> Batches:
    """For `labkit.train.train`: a function that draws pictures (batch, 3, size, size) in [−1, 1]
    and the tokens of one sentence for each, (batch, L) long, of the split "train".

    alike: the share of each batch that comes in groups of scenes that look alike.
    """
    batch = whole_number(batch, "the batch", 2)
    close = min(batch - 1, round(batch * number(alike, "alike", 0, 1)))

    def make(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        scenes = together([draw(batch - close, generator), lookalikes(close, generator)])
        random = Random(int(torch.randint(2**62, (), generator=generator)))
        short, whole = captions(scenes, random), descriptions(scenes, random)
        texts = [b if random.random() < COMPLETE else a for a, b in zip(short, whole)]
        return render(scenes, size), tokenizer.load().encode(texts).ids

    return make


def lookalikes(count: int, generator: torch.Generator) -> Scenes:
    """That many scenes, half of them of a single object, in `GROUPS` groups: the scenes of a group
    share two colors and a background. None shows a combination that training leaves out."""
    found = draw(1, generator).take(slice(0, 0))
    while len(found.background) < count:
        many = draw(3 * count, generator)
        many = many.take((many.inside < 0).all(1))  # what lies inside must differ in color
        alone = many.count == 1
        few = min(count // 2, int(alone.sum()))
        rows = torch.cat([alone.nonzero()[:few, 0], (~alone).nonzero()[:, 0]])
        made = in_two_colors(many.take(rows), generator)
        seen = ~torch.stack(list(unseen(made).values())).any(0)
        found = together([found, made.take(seen)]).take(slice(0, count))
    return found


def in_two_colors(scenes: Scenes, generator: torch.Generator) -> Scenes:
    """The same scenes in new colors, dealt out to `GROUPS` groups."""
    group = torch.arange(len(scenes.background)) % GROUPS
    order = torch.rand(GROUPS, len(COLORS), generator=generator).argsort(1)
    either = torch.randint(2, scenes.color.shape, generator=generator)
    color = order[group].gather(1, either)  # (N, 3)
    background = torch.randint(len(BACKGROUNDS), (GROUPS,), generator=generator)[group]
    return scenes._replace(color=torch.where(scenes.present, color, -1), background=background)
