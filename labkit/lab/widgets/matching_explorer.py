"""A gallery to search by a sentence, and the regions that each of its words attends to."""

from collections.abc import Sequence
from html import escape

import ipywidgets
import numpy as np
import torch
from torch import Tensor

from labkit.inputs import whole_number
from labkit.lab import plots
from labkit.lab.matching_plot import draw_ranked, draw_regions
from labkit.lab.widgets.canvas import Canvas
from labkit.lab.widgets.picture import Picture
from labkit.lab.widgets.words import WordChoice

_WIDE = {"width": "560px"}


class MatchingExplorer(ipywidgets.VBox):
    """A sentence to type, and the pictures of a gallery that score highest with it; below, one of
    these and the words. Point at a word, or move the slider, to see which regions it attends
    to.

        MatchingExplorer(mmca, pictures, ["a star left of a moon"])

    mmca: a `labkit.systems.mmca.MMCA` with a cross branch; what it cannot read it refuses with a
        ValueError, whose sentence is shown. pictures: (N, 3, S, S) in [−1, 1], N at least 2.
    examples: of what to type, for a menu. found: how many pictures are shown, or all where there
    are fewer. Raises ValueError for a gallery of one, no examples, or a first one that cannot be
    read.
    """

    def __init__(self, mmca, pictures: Tensor, examples: Sequence[str], found: int = 5):
        if len(pictures) < 2 or not examples or isinstance(examples, str):
            raise ValueError(
                f"MatchingExplorer was given {len(pictures)} pictures and the examples "
                f"{examples!r}; give at least two pictures, and a list of at least one sentence."
            )
        self._mmca, self._pictures = mmca, pictures
        self._count = min(whole_number(found, "found", 1), len(pictures))
        with torch.no_grad():  # the whole gallery, once
            regions = mmca.regions(pictures)
            self._places, self._gallery = regions.places, mmca.matcher.encode_image(regions)
        self.example = ipywidgets.Dropdown(options=list(examples), description="try", layout=_WIDE)
        self.sentence = ipywidgets.Text(
            examples[0], description="or type", continuous_update=False, layout=_WIDE
        )
        self.message = ipywidgets.HTML()
        self.rank = ipywidgets.IntSlider(
            1, 1, max(2, self._count), description="picture", layout=_WIDE
        )
        self._word = WordChoice(self._show)
        self.words, self.word = self._word.words, self._word.slider
        self.ranked, self.regions = Picture(), Picture()
        self._rows = Canvas((8.1, 1.9)), Canvas((8.1, 3.9))
        self._listening, self._drawn = True, None  # the sentence whose words are drawn
        self._search(examples[0])
        super().__init__(
            [
                self.example, self.sentence, self.message, self.ranked, self.rank, self.words,
                self.word, self.regions,
            ]
        )  # fmt: skip
        self.example.observe(lambda change: self._type(change["new"]), "value")
        self.sentence.observe(lambda change: self._answer(change["new"]), "value")
        self.rank.observe(lambda change: self._listening and self._look(), "value")

    def _type(self, text: str) -> None:
        self.sentence.value = text

    def _answer(self, text: str) -> None:
        """Search; of a sentence that cannot be read say why, in one line."""
        try:
            if not text.strip():
                raise ValueError("type a sentence")
            self._search(text)
        except ValueError as error:
            why = f"No answer: {' '.join(str(error).split())}. Below is still “{self._text}”."
            self.message.value = (
                f'<div role="alert" style="line-height: 1.4">{escape(why, quote=False)}</div>'
            )

    @torch.no_grad()
    def _search(self, text: str) -> None:
        """The best pictures of the gallery, and what the words attend to in each of them."""
        texts = self._mmca.encode_text([text])
        best = self._mmca.search(texts, self._gallery, self._count, of="pictures")
        self._text, self._said = text, self._mmca.matcher.words(text)
        self._best, self._scores = best.rows[0], best.scores[0]
        same = texts.take(torch.zeros(self._count, dtype=torch.long))
        looked = self._mmca.matcher.word_regions(self._gallery.take(self._best), same)
        self._most = int(self._gallery.lengths[self._best].max())
        self._looked = looked[:, : len(self._said), : self._most]  # (found, L, M)
        # The first word to see is one that attends to one object: begin, end and region 0 left out.
        objects = self._looked[0, 1:-1, 1:]
        first = 1 + int(objects.amax(1).argmax()) if self._most > 1 else 1
        self._listening = False
        self.rank.value = 1
        self._listening = True
        self._word.show(self._said, first)
        self.message.value = ""
        self._look()

    def _look(self) -> None:
        """Another picture of those that were found."""
        place = min(self.rank.value, self._count) - 1
        row = int(self._best[place])
        pictures = self._pictures[self._best]
        self._rows[0].update(draw_ranked, pictures=pictures, scores=self._scores, chosen=place)
        scores = ", ".join(f"{score:.2f}" for score in self._scores.tolist())
        self.ranked.show(
            self._rows[0].png(fast=True),
            f"The {self._count} pictures that score highest with “{self._text}”: {scores}; "
            f"number {place + 1} is framed",
        )
        self._weights = self._looked[place]  # (L, M)
        self._now = {"picture": self._pictures[row], "places": self._places[row, : self._most]}
        self._show()

    def _show(self) -> None:
        """The regions of that picture, for the chosen word."""
        values = {**self._now, "weights": self._weights, "chosen": self._word.chosen}
        if self._drawn == self._text:
            self._rows[1].update(draw_regions, **values)
        else:
            self._rows[1].forget_places()  # words of another length need another room
            self._rows[1].draw(draw_regions, words=self._said, **values)
            self._drawn = self._text
        said, given = self._said[self._word.chosen], self._weights[self._word.chosen]
        best = int(given.argmax())
        at = f"region {best}" if best else "the whole picture"
        self.regions.show(
            self._rows[1].png(fast=True),
            f"The regions of picture {min(self.rank.value, self._count)}, and what each word "
            f"attends to; “{said}” attends most to {at}, {given[best]:.2f}",
        )

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        both = np.concatenate([row.image for row in self._rows])
        return live | plots.still(plots.encode(both), f"{self.ranked.alt}. {self.regions.alt}")
