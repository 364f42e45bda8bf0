"""Inpainting by hand: drag a rectangle over a picture, and type what belongs there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import anywidget
import ipywidgets
import torch
import traitlets
from torch import Tensor

from labkit.inputs import whole_number
from labkit.lab import plots
from labkit.lab.widgets.explorer import Explorer
from labkit.sampler import State

Generate = Callable[..., Iterator[State]]  # as `labkit.systems.glide.GLIDE.generate`


class ErasedPicture(anywidget.AnyWidget):
    """A picture and a rectangle over it, which the pointer or the arrow keys choose.

    image: the bytes of a PNG file, `side` pixels a side. alt: what it shows. box: left, top, right
    and bottom of what is erased, in pixels; right and bottom are not in it.
    still: what a notebook without a kernel shows, a PNG file and its alternative text.
    """

    _esm = Path(__file__).with_name("eraser.js")
    image = traitlets.Bytes(b"").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    side = traitlets.Int(1).tag(sync=True)
    box = traitlets.List(traitlets.Int()).tag(sync=True)
    still = (b"", "nothing yet")

    def show(self, picture: Tensor, name: str) -> None:
        """Show a picture (3, S, S) in [−1, 1]."""
        bytes = ((picture.clamp(-1, 1) + 1) * 127.5).round().byte()
        with self.hold_sync():
            self.side, self.alt = picture.shape[-1], name
            self.image = plots.encode(bytes.permute(1, 2, 0).contiguous().numpy())

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        if isinstance(live, tuple):
            live = live[0]
        return live | plots.still(*self.still)


class Eraser(Explorer):
    """A picture in which a rectangle is erased by dragging, a sentence for what belongs there, and
    a button that fills it in, from several noises side by side.

        Eraser(model.generate, {"two stars": picture}, ["a red heart"], box=(4, 4, 16, 16))

    generate: `generate(prompts, known=(image, mask), seed=…)` → states, such as that of a GLIDE;
        mask is 1 where a pixel is known.
    pictures: names -> pictures (3, S, S) in [−1, 1], of one size. sentences: to choose from; others
        may be typed. box: what is erased at first, left, top, right, bottom, in pixels.
    columns: pictures side by side. The first picture is filled in beforehand, for the first
    sentence: a notebook without a kernel shows that.
    Raises ValueError for no picture, no sentence, or a box that is empty or leaves the picture.
    """

    def __init__(
        self,
        generate: Generate,
        pictures: Mapping[str, Tensor],
        sentences: Sequence[str],
        box: Sequence[int],
        columns: int = 4,
    ):
        if not pictures or not sentences or isinstance(sentences, str):
            raise ValueError(
                "Eraser was given no pictures, or no list of sentences; give at least one of each."
            )
        self._generate, self._columns = generate, whole_number(columns, "columns", 1)
        self._pictures = list(pictures.values())
        side = self._pictures[0].shape[-1]
        left, top, right, bottom = box
        if not (0 <= left < right <= side and 0 <= top < bottom <= side):
            raise ValueError(
                f"Eraser was given the box {tuple(box)} in a picture of {side} pixels; give left, "
                "top, right and bottom with left < right and top < bottom, inside the picture."
            )
        self.reference = ipywidgets.Dropdown(
            options=[(name, index) for index, name in enumerate(pictures)], description="picture"
        )
        self.sentence = ipywidgets.Combobox(
            value=sentences[0], options=list(sentences), description="sentence",
            ensure_option=False, continuous_update=False, layout={"width": "420px"},
        )  # fmt: skip
        self.erased = ErasedPicture(box=list(box))
        self._turn()
        super().__init__(self.erased, [[self.reference, self.sentence]])
        self.reference.observe(lambda _change: self._turn(), "value")
        self.erased.observe(lambda _change: self._remind(), "box")
        *_, last = self.states()
        self.erased.still = plots.png(self.shown(last.x)), f"Filled in: {self.chosen}"

    @property
    def chosen(self) -> str:
        left, top, right, bottom = self.erased.box
        where = f"columns {left}–{right - 1}, rows {top}–{bottom - 1} of {self.reference.label}"
        return f"“{self.sentence.value}” in {where}; seed {self.seed.value}"

    @property
    def known(self) -> tuple[Tensor, Tensor]:
        """The picture (1, 3, S, S), and what is known of it, (1, 1, S, S): 1, or 0 if erased."""
        left, top, right, bottom = self.erased.box
        image = self._pictures[self.reference.value][None]
        mask = torch.ones_like(image[:, :1])
        mask[..., top:bottom, left:right] = 0
        return image, mask

    def states(self) -> Iterator[State]:
        prompts = [self.sentence.value] * self._columns
        return self._generate(prompts, known=self.known, seed=self.seed.value)

    def shown(self, images: Tensor):
        """The picture with its hole, and what is filled in so far."""
        image, mask = self.known
        row = torch.cat([image * mask, images.to(image)])
        titles = ["erased", *[""] * len(images)]
        return plots.image_grid(row, columns=len(row), titles=titles, title=self.sentence.value)

    def _turn(self) -> None:
        """Bring the chosen picture under the rectangle."""
        self.erased.show(self._pictures[self.reference.value], self.reference.label)
