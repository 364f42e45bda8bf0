"""A sentence in the browser, of which one word is chosen: by pointing at it, or from Python."""

from collections.abc import Sequence
from pathlib import Path

import anywidget
import traitlets


class Words(anywidget.AnyWidget):
    """Words side by side; the one that the mouse or the focus is on is chosen.

    words: of the sentence. chosen: the place of the chosen one, from 0.
    """

    _esm = Path(__file__).with_name("words.js")
    words = traitlets.List(traitlets.Unicode()).tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)

    def show(self, words: Sequence[str], chosen: int) -> None:
        """Change both in one message to the browser."""
        with self.hold_sync():
            self.words, self.chosen = list(words), chosen
