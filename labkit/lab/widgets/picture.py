"""A picture in the browser whose bytes and alternative text Python may change at any time."""

from pathlib import Path

import anywidget
import traitlets


class Picture(anywidget.AnyWidget):
    """An <img> with alternative text (which ipywidgets.Image lacks).

    image: the bytes of a PNG file. alt: what it shows.
    """

    _esm = Path(__file__).with_name("picture.js")
    image = traitlets.Bytes(b"").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)

    def show(self, image: bytes, alt: str) -> None:
        """Change both in one message to the browser."""
        with self.hold_sync():
            self.image, self.alt = image, alt
