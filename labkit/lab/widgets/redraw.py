"""Sliders over a figure that is drawn again for each position."""

import inspect

import ipywidgets

from labkit.lab import plots
from labkit.lab.widgets.canvas import Canvas
from labkit.lab.widgets.controls import control
from labkit.lab.widgets.picture import Picture


class Redraw(ipywidgets.VBox):
    """Controls over a figure; `draw(figure, **values)` draws it for every change of them.

        def draw(figure, t, schedule):
            axes = figure.subplots()
            axes.plot(...)
        Redraw(draw, t=(0, 1000), schedule=["linear", "cosine"], alt="...")

    draw: gets an empty figure in the lessons' style. The default values of its parameters are
        where the controls start. Six times as fast, it may return a function that moves what it
        drew, `update(**values)`, which gives back the list of artists that it changed, as an
        update of matplotlib's FuncAnimation does; what it does not list stands still.
    alt: what the figure shows, or a function of the same values that says it.
    size: of the figure in inches, at 96 dots per inch.
    labels: the words beside a control, where its name does not do, e.g. {"t": "time t"}.
    play: the name of an integer slider that gets a play button.
    controls: see `labkit.lab.widgets.controls.control`.
    Raises ValueError for controls that `draw` does not take, or alternative text that is empty;
    an error in the first drawing is raised as it is, one in a later drawing is shown as a line.
    """

    def __init__(self, draw, *, alt, size=(8, 3.4), labels=None, play=None, **controls):
        starts = _starts(draw, controls)
        self.controls = {name: control(name, controls[name], starts.get(name)) for name in controls}
        for name, text in (labels or {}).items():
            self.controls[name].description = text
        self._draw, self._alt, self._canvas = draw, alt, Canvas(size)
        self.picture, self.message = Picture(), ipywidgets.HTML()
        self._canvas.draw(draw, **self.values)
        self._show()
        plots.still(self.picture.image, self.picture.alt)  # refuses a figure without words, now
        rows = [_with_play(each) if name == play else each for name, each in self.controls.items()]
        super().__init__([*rows, self.message, self.picture])
        for each in self.controls.values():
            each.observe(self._redraw, "value")

    @property
    def values(self) -> dict:
        """The controls' values by name."""
        return {name: each.value for name, each in self.controls.items()}

    def _show(self) -> None:
        alt = self._alt(**self.values) if callable(self._alt) else self._alt
        self.picture.show(self._canvas.png(fast=True), alt)

    def _redraw(self, _change) -> None:
        try:
            self._canvas.update(self._draw, **self.values)
            self._show()
            line = ""
        except Exception as error:  # a learner drags a slider: one line says what went wrong
            line = _error_line(error)
        if self.message.value != line:
            self.message.value = line

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        still = plots.still(self._canvas.png(), self.picture.alt)
        return live | still


def _starts(draw, controls) -> dict:
    parameters = list(inspect.signature(draw).parameters.values())[1:]
    names = [each.name for each in parameters]
    free = any(each.kind is each.VAR_KEYWORD for each in parameters)
    needed = [each.name for each in parameters if each.default is each.empty]
    extra = [] if free else [name for name in controls if name not in names]
    missing = [] if free else [name for name in needed if name not in controls]
    if extra or missing or not controls:
        raise ValueError(
            f"Redraw was given the controls ({', '.join(controls)}) for a draw function that takes "
            f"(figure, {', '.join(names)}); give one control for each name after the figure."
        )
    return {each.name: each.default for each in parameters if each.default is not each.empty}


def _with_play(slider):
    play = ipywidgets.Play(
        value=slider.value, min=slider.min, max=slider.max, step=slider.step, interval=100
    )
    ipywidgets.jslink((play, "value"), (slider, "value"))
    return ipywidgets.HBox([slider, play])


def _error_line(error: Exception) -> str:
    from html import escape

    text = (str(error).strip().splitlines() or [""])[0]
    return (
        '<span role="alert" style="color: var(--jp-error-color1, #b00020)">The figure could not be '
        f"drawn: {type(error).__name__}: {escape(text)}</span>"
    )
