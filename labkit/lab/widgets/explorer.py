"""What the explorers share: a strip that was sampled beforehand, and a choice that is sampled live.

An explorer says what its controls stand for, `chosen` in words and `states` as a walk; this class
has the button, the bar that shows how far the walk is, and one line for what went wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

import anywidget
import ipywidgets
import torch
from torch import Tensor

from labkit.inputs import whole_number
from labkit.lab import plots
from labkit.lab.widgets.picture import Picture
from labkit.sampler import State


class Explorer(ipywidgets.VBox):
    """Above, a strip that is flipped in the browser; below, the controls of `rows`, a seed and a
    button. While the choice is not the one that is sampled, the button is lit and says so.

    strip: a `Filmstrip`, or another widget; its still picture is that of the whole in a rendered
    notebook.
    rows: the controls under it, row by row; the seed joins the last row.
    """

    def __init__(self, strip: anywidget.AnyWidget, rows: Sequence[Sequence[ipywidgets.Widget]]):
        self.strip, self._sampled = strip, ""
        self.seed = ipywidgets.BoundedIntText(1, min=0, max=10**6, description="seed")
        self.button = ipywidgets.Button(description="Sample", icon="play")
        self.progress = ipywidgets.FloatProgress(0, min=0, max=1, layout={"width": "140px"})
        self.message, self.picture = ipywidgets.HTML(), Picture()
        self.button.on_click(lambda _button: self.sample())
        rows = [*map(list, rows[:-1]), [*rows[-1], self.seed]]
        for each in (control for row in rows for control in row):
            each.observe(lambda _change: self._remind(), "value")
        self._remind()
        wrap = {"layout": {"flex_flow": "row wrap"}}
        super().__init__(
            [
                self.strip,
                ipywidgets.HTML("<b>Your own: choose, then press Sample</b>"),
                *(ipywidgets.Box(row, **wrap) for row in rows),
                ipywidgets.Box([self.button, self.progress, self.message], **wrap),
                self.picture,
            ]
        )

    @property
    def chosen(self) -> str:
        """The choice in words."""
        raise NotImplementedError

    def states(self) -> Iterator[State]:
        """The walk that samples the choice."""
        raise NotImplementedError

    def shown(self, images: Tensor):
        """The figure of what is sampled so far, (columns, C, H, W)."""
        return plots.image_grid(images, columns=len(images), title=self.chosen)

    def _remind(self) -> None:
        """Light the button while the picture is not what was chosen."""
        waits = self.chosen != self._sampled
        self.button.button_style = "primary" if waits else ""
        self.message.value = f"press Sample for {escape(self.chosen)}" if waits else ""
        self.progress.value = not waits

    def sample(self) -> None:
        """Sample what is chosen, and show it growing."""
        self.button.disabled, self.message.value = True, "sampling …"
        try:
            first = None
            for state in self.states():
                first = first or state.t or 1  # t falls from here to 0
                self.progress.value = 1 - state.t / (first + 1)
                png = plots.png(self.shown(state.x))
                self.picture.show(png, f"{len(state.x)} pictures: {self.chosen}")
            self._sampled = self.chosen
            self._remind()
        except Exception as error:  # a learner's own sample: one line says what went wrong
            text = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
            self.message.value = f'<span role="alert">Nothing was sampled: {escape(text)}</span>'
        finally:
            self.button.disabled = False

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        still = self.strip._repr_mimebundle_()
        return live | {key: still[key] for key in ("text/html", "image/png", "text/plain")}


def noise(seed: int, columns: int, shape: Sequence[int]) -> Tensor:
    """The noise of each column, (columns, C, H, W)."""
    columns = whole_number(columns, "columns", 1)
    return torch.randn(columns, *shape, generator=torch.Generator().manual_seed(seed))
