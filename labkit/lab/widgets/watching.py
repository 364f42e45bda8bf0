"""A figure that follows a loop: training, sampling, any iterator."""

import time
from collections import deque

from labkit.lab import plots
from labkit.lab.widgets.canvas import Canvas


def watch(events, draw, *, alt: str, every: int = 1, keep: int | None = None, size=(8, 3.4)):
    """Run through `events`, drawing what came so far, and return the list of it.

        seen = watch(train(...), draw, alt="...", every=10)
        def draw(figure, seen):
            figure.subplots().plot([each.loss for each in seen])

    events: an iterator, such as a training loop or a sampler. draw: `draw(figure, seen)` gets an
    empty figure and the list of events so far. every: events between two drawings; drawing is
    also held to about a fifth of the time, so that watching costs little. keep: how many of the
    last events to keep (all by default). alt: what the finished figure shows.
    The picture changes in its place; the notebook keeps only the last one. If the loop is stopped
    or fails, what was seen up to there is drawn. Without a notebook, nothing is shown.
    Raises ValueError if `every` is below 1 or `alt` says nothing.
    """
    if every < 1:
        raise ValueError(
            f"watch was given every={every}; give a whole number of events, 1 or more."
        )
    plots.still(b"", alt)
    canvas, display, seen = Canvas(size), _Display(alt), deque(maxlen=keep)
    ready, broken = 0.0, False
    try:
        for count, event in enumerate(events, 1):
            seen.append(event)
            if display.live and count % every == 0 and time.perf_counter() >= ready:
                began, broken = time.perf_counter(), True
                canvas.draw(draw, list(seen))
                display.show(canvas.png())
                now, broken = time.perf_counter(), False
                ready = now + max(0.1, 4 * (now - began))
    finally:
        if seen and not broken:
            canvas.forget_places()
            canvas.draw(draw, list(seen))
            display.show(canvas.png())
    return list(seen)


class _Display:
    """One output of the cell, replaced in place."""

    def __init__(self, alt: str):
        from IPython import get_ipython

        self.alt, self.handle = alt, None
        self.live = get_ipython() is not None

    def show(self, image: bytes) -> None:
        if not self.live:
            return
        from IPython.display import display

        data = plots.still(image, self.alt)
        if self.handle is None:
            self.handle = display(data, raw=True, display_id=True)
        else:
            self.handle.update(data, raw=True)
