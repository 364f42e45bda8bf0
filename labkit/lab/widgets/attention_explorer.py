"""Words to point at, and where in a picture each of them is looked at, over the steps."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets
import numpy as np
import torch
from torch import Tensor, nn

from labkit.inputs import whole_number
from labkit.lab import plots
from labkit.lab.attention_maps import over_text, over_words, sampled
from labkit.lab.forward_plot import pixels, show_picture
from labkit.lab.widgets.canvas import Canvas
from labkit.lab.widgets.picture import Picture
from labkit.lab.widgets.words import WordChoice

_WIDE = {"width": "560px"}
DARK = 0.15  # of the picture where a word is looked at least


class AttentionExplorer(ipywidgets.VBox):
    """A sentence is sampled; point at one of its words, or move the slider, to see from which
    places it is looked at, in any of the steps. Left, the guess of the picture; in the middle, the
    same, bright where the word gets most (from its least to its largest share, which are written
    above); right, the share of each word, the mean over all places.

        AttentionExplorer(model, "a large red star and a small blue moon", steps=20)

    model: an `LDM` or `GLIDE`. options: of ``model.generate``, such as scale and seed. The maps are
    means over heads and layers. Raises ValueError for fewer than two steps, and for what cannot be
    sampled.
    """

    def __init__(self, model: nn.Module, sentence: str, steps: int = 20, **options):
        steps, self.sentence = whole_number(steps, "the number of steps", 2), sentence
        found = list(sampled(model, sentence, steps=steps, **options))
        self._pictures = torch.cat([state.pictures[:1] for state, _ in found])  # (steps, 3, S, S)
        maps = torch.cat([over_text(own, self._pictures.shape[-1]) for _, own in found])
        self._maps = over_words(maps, sentence, model.tokenizer)  # its maps: (steps, words, S, S)
        self._shares = self._maps.maps.mean((2, 3))  # (steps, words)
        said = self._maps.words
        self._word = WordChoice(self._show)
        self._word.show(said, int(self._spread().argmax()))
        self.words, self.word = self._word.words, self._word.slider
        self.step = ipywidgets.IntSlider(
            -(-len(found) // 2), 1, len(found), description="step", layout=_WIDE
        )
        self.picture, self._canvas = Picture(), Canvas((8.1, 2.9))
        self._show()
        super().__init__([self.words, self.word, self.step, self.picture])
        self.step.observe(lambda change: self._show(), "value")

    def _spread(self) -> Tensor:
        """By how much the places differ in looking at each word, in the middle step, (words,)."""
        maps = self._maps.maps[len(self._pictures) // 2]
        return maps.amax((1, 2)) - maps.amin((1, 2))

    def _show(self) -> None:
        step, chosen = self.step.value - 1, self._word.chosen
        own, others = self._maps.maps[step, chosen], self._maps.others[step].mean().item()
        values = {
            "picture": self._pictures[step], "looked": own, "shares": self._shares[step],
            "others": others, "chosen": chosen,
        }  # fmt: skip
        self._canvas.update(draw_looked, words=self._maps.words, **values)
        word, share = self._maps.words[chosen], self._shares[step, chosen]
        x, y = where(own)
        self.picture.show(
            self._canvas.png(fast=True),
            f"Step {step + 1} of {len(self._pictures)} of “{self.sentence}”: the guess, and where "
            f"“{word}” is looked at, from {own.min():.3f} to {own.max():.3f}, most at {x:.2f} of "
            f"the width and {y:.2f} of the height; it gets {share:.1%} of all attention, the "
            f"begin, the end and the padding {others:.0%}",
        )

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        still = np.concatenate([self._still(), self._canvas.image])
        alt = (
            f"“{self.sentence}”: for each word, where in the finished picture it was looked at in "
            f"this step. {self.picture.alt}"
        )
        return live | plots.still(plots.encode(still), alt)

    def _still(self) -> np.ndarray:
        """Every word in the step that is shown, as one row of pictures as wide as the figure."""
        maps, picture = self._maps.maps[self.step.value - 1], self._pictures[-1]
        rows = Canvas((8.1, 1.3))
        rows.draw(draw_row, picture=picture, maps=maps, words=self._maps.words)
        return rows.image


def lit(picture: Tensor, looked: Tensor) -> Tensor:
    """The picture (3, S, S) as bright as each place looks, (S, S): `DARK` where it looks least."""
    low, high = looked.amin(), looked.amax()
    light = DARK + (1 - DARK) * (looked - low) / (high - low).clamp(min=1e-9)
    return (picture.clamp(-1, 1) + 1) * light - 1


def where(looked: Tensor) -> tuple[float, float]:
    """The place that looks most, in shares of the width and height."""
    y, x = divmod(int(looked.argmax()), looked.shape[1])
    return (x + 0.5) / looked.shape[1], (y + 0.5) / looked.shape[0]


def draw_looked(
    figure,
    words: Sequence[str],
    picture: Tensor,
    looked: Tensor,
    shares: Tensor,
    others: float,
    chosen: int,
):
    """The guess (3, S, S); the same, lit where a word is looked at, (S, S); and bars of the shares
    (words,), with that of the chosen word in another color. Returns what shows another step or
    word: update of the same values."""
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.3))
    guess = show_picture(left, picture, "the guess")
    light, title = show_picture(middle, picture), middle.set_title(" ", fontsize=10)
    places = range(len(words))
    bars = right.barh(places, [0.0] * len(words), color=plots.BLUE)
    right.set_yticks(places, words, fontsize=min(10, 150 / len(words)))
    right.set(ylim=(len(words) - 0.5, -0.5), xlim=(0, 1))
    heading = right.set_title(" ", fontsize=10)
    right.xaxis.set_visible(False)
    right.grid(False)
    numbers = [right.text(0, k, "", va="center", fontsize=min(9, 150 / len(words))) for k in places]

    def update(picture, looked, shares, others, chosen, words=words):
        guess.set_data(pixels(picture))
        light.set_data(pixels(lit(picture, looked)))
        title.set_text(f"“{words[chosen]}”: {looked.min():.3f} … {looked.max():.3f}")
        heading.set_text(f"share (begin, end, padding: {others:.0%})")
        high = max(shares.max().item(), 1e-9) * 1.25
        for place, (bar, text, share) in enumerate(zip(bars, numbers, shares.tolist())):
            bar.set(width=share / high, color=plots.VERMILLION if place == chosen else plots.BLUE)
            text.set(text=f" {share:.1%}", x=share / high)
        return [guess, light, *bars, *numbers, title, heading]

    update(picture, looked, shares, others, chosen)
    return update


def draw_row(figure, picture: Tensor, maps: Tensor, words: Sequence[str]) -> None:
    """A picture (3, S, S) once for each word, lit where that is looked at, (words, S, S)."""
    axes = figure.subplots(1, len(words), squeeze=False)[0]
    for axis, word, looked in zip(axes, words, maps):
        show_picture(axis, lit(picture, looked))
        axis.set_title(word, fontsize=min(9, 70 / len(words)), loc="center")
