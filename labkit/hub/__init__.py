"""Real released weights in labkit's own modules; see `labkit.hub.clip`."""

from labkit.hub.clip import CLIPS, load, load_clip
from labkit.hub.photo import look

__all__ = ["CLIPS", "load", "load_clip", "look"]
