"""Pictures and their sentences, for learning by comparison, as CLIP does.

Who has to tell 128 random scenes apart can do so by color and background alone and never looks at
a shape. So half of every batch comes in groups of eight single objects on one background that
differ in little, with short sentences: "a star" among all shapes of one color, "a striped shape"
among four fills of two shapes. In other groups neither word is enough: among four shapes in two
fills each, "a striped star" stands beside a dotted star and a striped moon. Who can tell those
apart has learned each word by itself, and so understands pairs of words that it never read.

Many pictures of these groups are gray, where no color is in question. Without them the network
takes for granted that whatever is pink is no square, as long as it has met no pink square.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import torch
from torch import Tensor

from labkit.inputs import number, whole_number
from labkit.scenes import tokenizer
from labkit.scenes.captioning import captions, phrase
from labkit.scenes.descriptions import descriptions
from labkit.scenes.drawing import draw, unseen
from labkit.scenes.meaning import Meaning, Thing
from labkit.scenes.rendering import render
from labkit.scenes.world import BACKGROUNDS, COLORS, FILLS, SHAPES, Scenes, together

GROUP = len(SHAPES)  # scenes that look alike
COMPLETE = 0.5  # of the other sentences leave nothing out; the rest is what people would say
GRAY = 0.5  # of the scenes that look alike and whose color is not in question
LUMA = torch.tensor([0.299, 0.587, 0.114])[:, None, None]  # how bright red, green and blue are
ALSO = 0.3  # how often a short sentence says an attribute that is not in question
SAID = (  # in each kind of group, in turn: one of these is said
    # Every shape once, in one fill: a third of the sentences says that fill, and fits all eight.
    (("shape",), ("shape",), ("fill",)),
    (("shape",), ("fill",), ("fill",)),  # two shapes in all four fills
    (("shape", "fill"),),  # four shapes in two fills each
    (("shape", "color"),),  # four shapes in two colors each
)


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
        close, kinds = lookalikes(rows, generator)
        random = Random(int(torch.randint(2**62, (), generator=generator)))
        gray = ["color" not in SAID[kind][0] and random.random() < GRAY for kind in kinds]
        texts = hints(close, kinds, gray, random)
        others = draw(batch - len(texts), generator)
        people, whole = captions(others, random), descriptions(others, random)
        texts += [b if random.random() < COMPLETE else a for a, b in zip(people, whole)]
        pictures = render(together([close, others]), size)
        colorless = torch.tensor([*gray, *[False] * (batch - len(gray))])
        pictures[colorless] = (LUMA * pictures[colorless]).sum(1, keepdim=True)
        return pictures, tokenizer.load().encode(texts).ids

    return make


def hints(scenes: Scenes, kinds: list[int], gray: list[bool], random: Random) -> list[str]:
    """A short sentence for each scene of one object: most say what is in question, and little else.

    kinds: the number of each scene's group in `SAID`; gray: whether it will show no color.
    """
    texts = []
    for (one,), kind, colorless in zip(scenes.objects(), kinds, gray, strict=True):
        said = random.choice(SAID[kind])
        shown = {
            name: getattr(one, name)
            for name in ("shape", "fill", "color", "size")
            if name in said
            or (random.random() < ALSO / len(said) and not (colorless and name == "color"))
        }
        texts.append(phrase(Meaning((Thing(**shown),)), random))
    return texts


def lookalikes(count: int, generator: torch.Generator) -> tuple[Scenes, list[int]]:
    """At most that many scenes of one object, in groups of `GROUP` on one background, and for each
    the kind of its group. What would show a combination that training leaves out is missing."""
    drawn = draw(4 * count + 50, generator)  # a quarter of all scenes has a single object
    drawn = drawn.take(drawn.count == 1).take(slice(0, count))
    groups = len(drawn.background) // GROUP
    drawn = drawn.take(slice(0, groups * GROUP))
    kind = (torch.arange(groups) % len(SAID))[:, None].expand(-1, GROUP)

    def one(options) -> Tensor:  # for the whole group
        return torch.randint(len(options), (groups, 1), generator=generator).expand(-1, GROUP)

    def two(options) -> Tensor:  # different ones for the two of a pair of neighbors
        shuffled = torch.rand(groups, GROUP // 2, len(options), generator=generator).argsort(2)
        return shuffled[..., :2].flatten(1)

    every = torch.rand(groups, GROUP, generator=generator).argsort(1)  # every shape once
    fours, pairs = every[:, :2].repeat_interleave(4, 1), every[:, :4].repeat_interleave(2, 1)
    all_fills = torch.arange(GROUP).expand(groups, -1) % len(FILLS)
    changed = {
        "shape": (every, fours, pairs, pairs),
        "fill": (one(FILLS), all_fills, two(FILLS), one(FILLS)),
        "color": (*[one(COLORS)] * 3, two(COLORS)),
    }
    for name, by_kind in changed.items():
        table = getattr(drawn, name).clone()  # (N, 3), the first slot is the one object's
        table[:, 0] = torch.stack(by_kind).gather(0, kind[None]).flatten()
        drawn = drawn._replace(**{name: table})
    drawn = drawn._replace(background=one(BACKGROUNDS).flatten())
    seen = ~torch.stack(list(unseen(drawn).values())).any(0)
    return drawn.take(seen), kind.flatten()[seen].tolist()
