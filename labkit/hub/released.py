"""Every released model that labkit can load, by name."""

from __future__ import annotations

from labkit.hub import clip, stable_diffusion, t5
from labkit.inputs import one_of
from labkit.systems.clip import CLIP
from labkit.systems.ldm import LDM
from labkit.systems.t5 import T5

LOADERS = (
    dict.fromkeys(clip.CLIPS, clip.load)
    | dict.fromkeys(t5.T5S, t5.load)
    | dict.fromkeys(stable_diffusion.STABLE_DIFFUSIONS, stable_diffusion.load)
)


def load(name: str) -> CLIP | T5 | LDM:
    """The released model of that name with its tokenizer, ready to use.

    Raises ValueError for an unknown name, ConnectionError, saying what to do, where the files are
    neither here nor to be had.
    """
    return LOADERS[one_of(name, LOADERS, "released model")](name)
