"""Things that move in a lesson, each of which leaves a still picture in a rendered notebook.

Redraw     sliders over a figure that is drawn again for each position
Filmstrip  frames made once and flipped in the browser, for what can be computed beforehand
watch      a figure that follows a loop: training, sampling, any iterator
"""

from labkit.lab.widgets.filmstrip import Filmstrip
from labkit.lab.widgets.redraw import Redraw
from labkit.lab.widgets.watching import watch

__all__ = ["Filmstrip", "Redraw", "watch"]
