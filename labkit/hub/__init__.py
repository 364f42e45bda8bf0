"""Real released weights in labkit's own modules; see `labkit.hub.clip`, `labkit.hub.t5` and
`labkit.hub.stable_diffusion`."""

from labkit.hub.clip import CLIPS, load_clip
from labkit.hub.photo import look
from labkit.hub.released import load
from labkit.hub.stable_diffusion import STABLE_DIFFUSIONS, load_stable_diffusion
from labkit.hub.t5 import T5S, load_t5

__all__ = [
    "CLIPS", "STABLE_DIFFUSIONS", "T5S", "load", "load_clip", "load_stable_diffusion", "load_t5",
    "look",
]  # fmt: skip
