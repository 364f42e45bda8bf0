"""Pictures and their sentences, for learning by comparison, as CLIP does.

Who has to tell 128 random scenes apart can do so by color and background alone and never looks at
a shape. So half of every batch comes in groups of eight single objects of one color on one
background, with short sentences: "a star", not "a striped star", against "a dotted heart".
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
from torch import Tensor

from labkit.data import tokenizer
from labkit.data.captions import captions, phrase
from labkit.data.descriptions import descriptions
from labkit.data.scenes_draw import draw, unseen
from labkit.data.scenes_meaning import Meaning, Thing
from labkit.data.scenes_render import render
from labkit.data.scenes_world import BACKGROUNDS, COLORS, FILLS, SHAPES, Scenes, together
from labkit.inputs import number, whole_number

GROUP = len(SHAPES)  # scenes that look alike
COMPLETE = 0.5  # of the other sentences leave nothing out; the rest is what people would say
ALSO = 0.3  # how often a short sentence says an attribute that is not the one in question


def batches(
    batch: int, size: int = 32, alike: float = 0.5
) -> Callable[[torch.Generator], tuple[Tensor, Tensor]]:
    """For `labkit.train.train`: a function that draws pictures (batch, 3, size, size) in [−1, 1]
    and the tokens of one sentence for each, (batch, L) long, of the split "train".

    alike: about the share of each batch that comes in groups of scenes that look alike.
    """
    batch = whole_number(batch, "the batch", 2)
    rows = min(batch - 1, round(batch * number(alike, "alike", 0, 1))) // GROUP * GROUP

    def make(generator: torch.Generator) -> tuple[Tensor, Tensor]:
        close = lookalikes(rows, generator)
        random = Random(int(torch.randint(2**62, (), generator=generator)))
        texts = hints(close, random)
        others = draw(batch - len(texts), generator)
        people, whole = captions(others, random), descriptions(others, random)
        texts += [b if random.random() < COMPLETE else a for a, b in zip(people, whole)]
        pictures = render(together([close, others]), size)
        return pictures, tokenizer.load().encode(texts).ids

    return make


def hints(scenes: Scenes, random: Random) -> list[str]:
    """A short sentence for each scene of one object: its shape, or its fill, and little else."""
    texts = []
    for (one,) in scenes.objects():
        said = random.choice(("shape", "shape", "fill"))
        told = {
            name: getattr(one, name)
            for name in ("shape", "fill", "color", "size")
            if name == said or random.random() < ALSO
        }
        texts.append(phrase(Meaning((Thing(**told),)), random))
    return texts


def lookalikes(count: int, generator: torch.Generator) -> Scenes:
    """At most that many scenes of one object, in groups of `GROUP`: a group shares color and
    background, and either its fill too, and shows every shape once, or it shows two shapes in all
    four fills. What would show a combination that training leaves out is missing."""
    drawn = draw(4 * count + 50, generator)  # a quarter of all scenes has a single object
    drawn = drawn.take(drawn.count == 1).take(slice(0, count))
    groups = len(drawn.background) // GROUP
    drawn = drawn.take(slice(0, groups * GROUP))
    every = torch.rand(groups, GROUP, generator=generator).argsort(1)  # every shape once
    two, four = every[:, :2].repeat_interleave(4, 1), torch.arange(4).repeat(2).expand(groups, -1)
    by_shape = torch.arange(groups)[:, None] % 2 == 0

    def common(options) -> Tensor:
        return torch.randint(len(options), (groups, 1), generator=generator).expand(-1, GROUP)

    changed = {
        "shape": torch.where(by_shape, every, two),
        "fill": torch.where(by_shape, common(FILLS), four),
        "color": common(COLORS),
    }
    for name, words in changed.items():
        table = getattr(drawn, name).clone()  # (N, 3), the first slot is the one object's
        table[:, 0] = words.flatten()
        drawn = drawn._replace(**{name: table})
    drawn = drawn._replace(background=common(BACKGROUNDS).flatten())
    return drawn.take(~torch.stack(list(unseen(drawn).values())).any(0))
