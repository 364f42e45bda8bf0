"""Sliders over a figure that is drawn again for each position."""

import inspect

import ipywidgets
import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from labkit.lab import plots
from labkit.lab.widgets.controls import control
from labkit.lab.widgets.picture import Picture


class Canvas:
    """One figure kept for good, drawn again and again as fast as matplotlib can.

    size: width and height in inches, at 96 dots per inch. `draw(figure, ...)` finds it empty.
    """

    def __init__(self, size):
        with matplotlib.rc_context(plots.STYLE):
            self.figure = Figure(figsize=size, layout="constrained")
        self.canvas = FigureCanvasAgg(self.figure)
        self._places = None

    def forget_places(self) -> None:
        """Lay the axes out afresh at the next drawing."""
        self._places = None

    def draw(self, draw, *args, **values) -> bytes:
        """The PNG bytes of the figure that `draw(figure, *args, **values)` makes."""
        figure = self.figure
        with matplotlib.rc_context(plots.STYLE):
            figure.clear()
            figure.set_layout_engine("constrained")
            draw(figure, *args, **values)
            self._lay_out()
            self.canvas.draw()
        return plots.encode(_rgb(self.canvas), fast=True)

    def _lay_out(self) -> None:
        # Constrained layout draws the figure twice more to measure it. The same axes again need
        # the same places, so it is asked once, and again only when the number of axes changes.
        axes = self.figure.axes
        if self._places is None or len(self._places) != len(axes):
            self.figure.draw_without_rendering()
            self._places = [each.get_position() for each in axes]
        self.figure.set_layout_engine("none")
        for each, place in zip(axes, self._places, strict=True):
            each.set_position(place)


class Redraw(ipywidgets.VBox):
    """Controls over a figure; `draw(figure, **values)` draws it for every change of them.

        def draw(figure, t, schedule):
            axes = figure.subplots()
            axes.plot(...)
        Redraw(draw, t=(0, 1000), schedule=["linear", "cosine"], alt="...")

    draw: gets an empty figure in the lessons' style. The default values of its parameters are
        where the controls start.
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
        self.picture = Picture()
        self.message = ipywidgets.HTML()
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
        values = self.values
        self.picture.image = self._canvas.draw(self._draw, **values)
        self.picture.alt = self._alt(**values) if callable(self._alt) else self._alt

    def _redraw(self, _change) -> None:
        try:
            self._show()
            line = ""
        except Exception as error:  # a learner drags a slider: one line says what went wrong
            line = _error_line(error)
        if self.message.value != line:
            self.message.value = line

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        still = plots.still(plots.png(self._canvas.figure), self.picture.alt)
        return live | still


def _rgb(canvas):
    import numpy as np

    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])  # (H, W, 3)


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
