"""A figure that is drawn many times, fast enough to follow a slider."""

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from labkit.lab import plots


class Canvas:
    """Draws figures of one size, either whole or only what moves in them.

    size: width and height in inches, at 96 dots per inch.
    image: the last drawing, (H, W, 3) uint8. figure: the one that it shows.
    """

    def __init__(self, size):
        self.size, self.figure, self.image = size, None, None
        self._places, self._update, self._moving = None, None, None

    def draw(self, draw, *args, **values) -> None:
        """Draw the whole figure: `draw(figure, *args, **values)` gets it empty, in our style.

        What `draw` gives back, if anything, is kept for `update`.
        """
        with matplotlib.rc_context(plots.STYLE):
            # A new figure costs a twentieth of clearing the old one.
            figure = Figure(figsize=self.size, layout="constrained")
            canvas = FigureCanvasAgg(figure)
            update = draw(figure, *args, **values)
            plots.bare_images(figure)
            self._lay_out(figure)
            canvas.draw()
        self.figure, self._canvas = figure, canvas
        self._update, self._moving = update if callable(update) else None, None
        self._keep()

    def update(self, draw, **values) -> None:
        """Bring the figure to new values: by the function that `draw` gave back, or anew."""
        if self._update is None:
            self.draw(draw, **values)
            return
        with matplotlib.rc_context(plots.STYLE):
            moved = list(self._update(**values) or ())
            if not moved:
                self._canvas.draw()
            else:
                self._move(moved)
        self._keep()

    def forget_places(self) -> None:
        """Lay the axes out afresh at the next drawing."""
        self._places = None

    def png(self, fast: bool = False) -> bytes:
        """The last drawing as a PNG file."""
        return plots.encode(self.image, fast=fast)

    def _move(self, moved) -> None:
        # All that rests is drawn once and kept as pixels; the moved artists are drawn over it, and
        # the spines, which are cheap, over them.
        if self._moving is None or any(artist not in self._moving for artist in moved):
            spines = [spine for each in moved if each.axes for spine in each.axes.spines.values()]
            # Each once; those of one height stay in the order in which they were listed.
            every = dict.fromkeys([*(self._moving or ()), *moved, *spines])
            self._moving = sorted(every, key=lambda each: each.zorder)
            for artist in self._moving:
                artist.set_animated(True)
            self._canvas.draw()
            self._resting = self._canvas.copy_from_bbox(self.figure.bbox)
        self._canvas.restore_region(self._resting)
        for artist in self._moving:
            self.figure.draw_artist(artist)

    def _lay_out(self, figure: Figure) -> None:
        # Constrained layout measures every word twice. The same axes again need the same places,
        # so it is asked once, and again only when the number of axes changes.
        if self._places is None or len(self._places) != len(figure.axes):
            figure.draw_without_rendering()
            self._places = [axes.get_position() for axes in figure.axes]
        figure.set_layout_engine("none")
        for axes, place in zip(figure.axes, self._places, strict=True):
            axes.set_position(place)

    def _keep(self) -> None:
        drawn = np.asarray(self._canvas.buffer_rgba())  # (H, W, 4)
        self.image = np.empty((*drawn.shape[:2], 3), np.uint8)
        for channel in range(3):  # a seventh of the time that a copy of drawn[..., :3] takes
            self.image[..., channel] = drawn[..., channel]
