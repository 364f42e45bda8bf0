"""Sentences that leave nothing out, where `labkit.scenes.captioning` says what people would say.

    description(scene, random.Random(0))
    ->  "a big plain red star and a little dotted blue disc on a mint background"

Two scenes with the same description look alike but for where things stand, so such a sentence can
be told from others: it is what to search pictures with.
"""

from __future__ import annotations

from random import Random

from labkit.inputs import short, whole_number
from labkit.scenes.captioning import phrase
from labkit.scenes.meaning import Meaning, Thing
from labkit.scenes.world import Scene, Scenes

MOST_WORDS = 28  # commas included; with begin and end it fits the tokenizer's context


def descriptions(scenes: Scenes, seed: int | Random = 0) -> list[str]:
    """One random sentence for each scene that names every object with shape, color, size and fill,
    and the background; the same seed gives the same ones. Raises ValueError for what are no scenes
    or is no seed."""
    if not isinstance(scenes, Scenes):
        raise ValueError(f"scenes is {short(scenes)}, but must be Scenes, as `draw` gives them")
    random = seed if isinstance(seed, Random) else Random(whole_number(seed, "seed", 0))
    return [description(scene, random) for scene in scenes.words()]


def description(scene: Scene, random: Random) -> str:
    """One random sentence with everything in it but the places; the objects in any order."""
    things = [Thing(one.shape, one.color, one.size, one.fill) for one in scene.objects]
    random.shuffle(things)
    while True:  # one sentence in a few hundred is too long
        text = phrase(Meaning(tuple(things), (), scene.background), random)
        if len(text.replace(",", " ,").split()) <= MOST_WORDS:
            return text
