"""A space of pictures and sentences to walk in: what lies nearest to a sentence, or a picture."""

from collections.abc import Sequence
from html import escape

import ipywidgets
import numpy as np
import torch
from torch import Tensor

from labkit.inputs import whole_number
from labkit.lab import plots
from labkit.lab.clip_plot import draw_found, draw_said
from labkit.lab.widgets.canvas import Canvas
from labkit.lab.widgets.picture import Picture

_WIDE = {"width": "560px"}


class SimilarityExplorer(ipywidgets.VBox):
    """Above, a sentence to type and the pictures of a gallery that lie nearest to it; below, one
    picture of the gallery and the sentences that lie nearest to that.

        SimilarityExplorer(clip, pictures, sentences, examples=["a striped star"])

    clip: has encode_image and encode_text, which give unit vectors (B, D); what it cannot read it
        refuses with a ValueError, whose sentence is shown. pictures: (N, 3, S, S) in [−1, 1].
    sentences: N of them, each true of its picture. examples: of what to type, for a menu.
    found, said: how many pictures and sentences are shown, or all where there are fewer.
    Raises ValueError for no pictures, unless each comes with its sentence, or if the first example
    cannot be read.
    """

    def __init__(
        self,
        clip,
        pictures: Tensor,
        sentences: Sequence[str],
        examples: Sequence[str] = (),
        found: int = 7,
        said: int = 5,
    ):
        if not len(pictures) or len(pictures) != len(sentences):
            raise ValueError(
                f"SimilarityExplorer was given {len(pictures)} pictures and {len(sentences)} "
                "sentences; give at least one picture, and a sentence for each."
            )
        self._clip, self._pictures, self._sentences = clip, pictures, list(sentences)
        self._found = min(whole_number(found, "found", 1), len(pictures))
        self._said = min(whole_number(said, "said", 1), len(pictures))
        with torch.no_grad():  # the whole gallery, once
            self._of_pictures = clip.encode_image(pictures)  # (N, D)
            self._of_sentences = clip.encode_text(self._sentences)  # (N, D)
        examples = list(examples) or self._sentences[:1]
        self.example = ipywidgets.Dropdown(options=examples, description="try", layout=_WIDE)
        self.sentence = ipywidgets.Text(
            examples[0], description="or type", continuous_update=False, layout=_WIDE
        )
        self.message = ipywidgets.HTML()
        self.number = ipywidgets.IntSlider(
            0, 0, len(pictures) - 1, description="picture", layout=_WIDE
        )
        self.pictures, self.sentences = Picture(), Picture()
        self._answered = ""  # the sentence whose pictures are shown
        self._rows = Canvas((8.1, 1.55)), Canvas((8.1, 2.15))
        self._show(self.sentence.value)
        self._describe(self.number.value)
        super().__init__(
            [self.example, self.sentence, self.message, self.pictures, self.number, self.sentences]
        )
        self.example.observe(lambda change: self._type(change["new"]), "value")
        self.sentence.observe(lambda change: self._search(change["new"]), "value")
        self.number.observe(lambda change: self._describe(change["new"]), "value")

    def _type(self, text: str) -> None:
        self.sentence.value = text

    def _search(self, text: str) -> None:
        """Show the pictures nearest to a sentence; of one that cannot be read say why."""
        if not text.strip():
            self._refuse("type a sentence")
            return
        try:
            self._show(text)
        except ValueError as error:
            self._refuse(str(error))

    def _show(self, text: str) -> None:
        with torch.no_grad():
            similarity = self._of_pictures @ self._clip.encode_text([text])[0]  # (N,)
        self._answered = text
        best = similarity.topk(self._found)
        values = {"pictures": self._pictures[best.indices], "similarity": best.values}
        self._rows[0].update(draw_found, **values)
        shown = ", ".join(f"“{self._sentences[i]}” {value:.2f}" for value, i in zip(*_first(best)))
        alt = f"The {self._found} pictures nearest to “{text}”; those of {shown} come first"
        self.pictures.show(self._rows[0].png(fast=True), alt)
        self.message.value = ""

    def _refuse(self, why: str) -> None:
        """One line instead of an answer; the pictures stay as they were."""
        line = f"No answer: {' '.join(why.split())}. Below is still “{self._answered}”."
        line = escape(line, quote=False)
        self.message.value = f'<div role="alert" style="line-height: 1.4">{line}</div>'

    def _describe(self, number: int) -> None:
        """Show the sentences nearest to a picture."""
        best = (self._of_sentences @ self._of_pictures[number]).topk(self._said)
        places = best.indices.tolist()
        own = places.index(number) if number in places else -1
        self._rows[1].update(
            draw_said, picture=self._pictures[number], similarity=best.values, own=own,
            sentences=[self._sentences[place] for place in places],
        )  # fmt: skip
        shown = ", ".join(f"“{self._sentences[i]}” {value:.2f}" for value, i in zip(*_first(best)))
        where = f"its own is number {own + 1}" if own >= 0 else "its own is not among them"
        alt = (
            f"Picture {number} and the {self._said} sentences nearest to it, {shown} first; {where}"
        )
        self.sentences.show(self._rows[1].png(fast=True), alt)

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        both = np.concatenate([row.image for row in self._rows])
        return live | plots.still(plots.encode(both), f"{self.pictures.alt}. {self.sentences.alt}")


def _first(best) -> tuple[list[float], list[int]]:
    """The two nearest of a topk: their similarities, and their numbers."""
    return best.values[:2].tolist(), best.indices[:2].tolist()
