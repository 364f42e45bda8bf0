"""A sentence in the browser, of which one word is chosen: by pointing at it, or from Python."""

from collections.abc import Callable, Sequence
from pathlib import Path

import anywidget
import ipywidgets
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


class WordChoice:
    """A sentence's words and a slider that choose the same word; `changed()` is called once after
    either of them chose another.

    words, slider: the two widgets. chosen: the place of the chosen word, from 0.
    """

    def __init__(self, changed: Callable[[], None]):
        self.words = Words()
        self.slider = ipywidgets.IntSlider(0, 0, 1, description="word", layout={"width": "560px"})
        self._changed, self._listening = changed, True
        self.words.observe(lambda change: self._choose(change["new"]), "chosen")
        self.slider.observe(lambda change: self._choose(change["new"]), "value")

    @property
    def chosen(self) -> int:
        return self.slider.value

    def show(self, words: Sequence[str], chosen: int) -> None:
        """Other words; `changed` is not called."""
        self._listening = False
        # the old value might lie beyond the new end, and the new one beyond the old
        self.slider.value = min(chosen, self.slider.max)
        self.slider.max = max(1, len(words) - 1)
        self.slider.value = chosen
        self.words.show(words, chosen)
        self._listening = True

    def _choose(self, place: int) -> None:
        """Another word, whether pointed at or moved to."""
        if not self._listening:
            return
        place = min(place, len(self.words.words) - 1)  # the slider of a single word has two places
        self._listening = False
        self.words.chosen = self.slider.value = place
        self._listening = True
        self._changed()
