"""Frames made once and flipped in the browser."""

from pathlib import Path

import anywidget
import numpy as np
import traitlets
from matplotlib.figure import Figure
from PIL import Image

from labkit.lab import plots


class Filmstrip(anywidget.AnyWidget):
    """A slider over frames that were made beforehand; no kernel is needed to flip them.

        Filmstrip([draw(t) for t in times], labels=[f"t = {t}" for t in times], alt="...")
        Filmstrip({"linear": [...], "cosine": [...]}, labels=..., alt="...", choose="schedule")

    frames: a list of figures, uint8 arrays (H, W) or (H, W, 3), PIL pictures or PNG bytes; or a
        dict from names to such lists, all of one length, with a menu to choose the name.
    labels: one for each frame of a list (numbers by default).
    alt: what the strip shows; the label of the frame is added to it.
    title: a line over the slider. choose: what the menu's names are. start: the first frame shown.
    scale: how many screen pixels a pixel becomes (for small arrays). speed: frames a second.
    Raises ValueError for no frames, lists of different lengths, or frames of another kind.
    """

    _esm = Path(__file__).with_name("filmstrip.js")
    _frames = traitlets.List(traitlets.List(traitlets.Bytes())).tag(sync=True)
    _names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    _labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    _options = traitlets.Dict().tag(sync=True)
    index = traitlets.Int(0).tag(sync=True)
    row = traitlets.Int(0).tag(sync=True)

    def __init__(
        self, frames, labels=None, *, alt, title="", choose="", start=0, scale=1, speed=10
    ):
        rows = frames if isinstance(frames, dict) else {"": frames}
        rows = {str(name): [_png(frame) for frame in strip] for name, strip in rows.items()}
        lengths = {len(strip) for strip in rows.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"Filmstrip was given strips of {sorted(lengths)} frames; give at least one frame, "
                "and strips of one length."
            )
        count = lengths.pop()
        labels = [str(label) for label in (range(count) if labels is None else labels)]
        if len(labels) != count or not 0 <= start < count:
            raise ValueError(
                f"Filmstrip was given {len(labels)} labels and start={start} for {count} frames; "
                f"give {count} labels, and a start from 0 to {count - 1}."
            )
        self._alt = alt
        plots.still(b"", alt)
        super().__init__(
            _frames=list(rows.values()),
            _names=list(rows),
            _labels=labels,
            _options={
                "alt": alt, "title": title, "choose": choose, "scale": scale, "speed": speed
            },
            index=start,
        )  # fmt: skip

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        if isinstance(live, tuple):
            live = live[0]
        name = f"{self._names[self.row]}, " if self._names[self.row] else ""
        alt = f"{self._alt} ({name}{self._labels[self.index]})"
        return live | plots.still(self._frames[self.row][self.index], alt)


# gray (H, W) or color (H, W, 3), as the kind of number and the shape after height and width
_PIXELS = ((np.uint8, ()), (np.uint8, (3,)))


def _png(frame) -> bytes:
    if isinstance(frame, bytes) and frame.startswith(b"\x89PNG"):
        return frame
    if isinstance(frame, Figure):
        return plots.png(frame)
    if isinstance(frame, Image.Image):
        return plots.encode(np.asarray(frame.convert("RGB")))
    if isinstance(frame, np.ndarray) and (frame.dtype, frame.shape[2:]) in _PIXELS:
        return plots.encode(frame)
    what = f"{type(frame).__name__} {getattr(frame, 'shape', '')}".strip()
    raise ValueError(
        f"Filmstrip was given a frame of {what}; give figures, uint8 arrays (H, W) or (H, W, 3), "
        "PIL pictures or the bytes of PNG files."
    )
