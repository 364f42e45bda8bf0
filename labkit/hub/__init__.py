"""Real released weights in labkit's own modules; see `labkit.hub.clip` and `labkit.hub.t5`."""

from labkit.hub.clip import CLIPS, load_clip
from labkit.hub.photo import look
from labkit.hub.released import load
from labkit.hub.t5 import T5S, load_t5

__all__ = ["CLIPS", "T5S", "load", "load_clip", "load_t5", "look"]
