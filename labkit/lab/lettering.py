"""Text from letters that were drawn before, since text is most of what a moving figure costs."""

import re

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg

# Digits change, so each is a piece of its own; words rest, and keep their kerning.
PIECES = re.compile(r"\d|[^\d\s]+|\s+")
PHASES = 4  # places within a pixel that a piece may begin at
KEPT = 4000  # pieces of about 1 kB


class LetteringCanvas(FigureCanvasAgg):
    """A canvas of matplotlib's that remembers the text it drew."""

    def get_renderer(self):
        size = (*self.figure.bbox.size, self.figure.dpi)
        if getattr(self, "_size", None) != size:
            self.renderer, self._size = Lettering(*size), size
        return self.renderer


class Lettering(RendererAgg):
    """A renderer of matplotlib's whose level text is put together from pieces it drew before.

    A word looks as matplotlib sets it; it begins on a quarter of a pixel and stands on a whole one.
    """

    _kept: dict = {}  # for all figures: they share a style

    def draw_text(self, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        if ismath or angle:
            super().draw_text(gc, x, y, s, prop, angle, ismath, mtext)
            return
        font, color = self._font(prop), gc.get_rgb()  # with the transparency in it
        bottom = round(self.height - y)
        for piece in PIECES.findall(s):
            width = self._size(piece, font, prop)[0]
            if not piece.isspace():
                place, phase = divmod(round(x * PHASES), PHASES)
                image, left, below = self._drawn(piece, font, phase, color, prop)
                self.draw_image(gc, place + left, bottom - below, image)
            x += width

    def get_text_width_height_descent(self, s, prop, ismath):
        if ismath:
            return super().get_text_width_height_descent(s, prop, ismath)
        font = self._font(prop)
        sizes = [self._size(piece, font, prop) for piece in PIECES.findall(s)] or [(0, 0, 0)]
        descent = max(below for _, _, below in sizes)
        rise = max(height - below for _, height, below in sizes)
        return sum(width for width, _, _ in sizes), rise + descent, descent

    def _font(self, prop) -> tuple:
        return hash(prop), self.dpi  # matplotlib's own test of whether two fonts are the same

    def _size(self, piece: str, font: tuple, prop) -> tuple[float, float, float]:
        key = piece, font
        if key not in self._kept:
            self._keep(key, super().get_text_width_height_descent(piece, prop, False))
        return self._kept[key]

    def _drawn(self, piece: str, font: tuple, phase: int, color: tuple, prop):
        """(h, w, 4) uint8, how far right of its place it begins, and how far below it ends."""
        key = piece, font, phase, color
        if key not in self._kept:
            width, height, below = (int(n) + 8 for n in self._size(piece, font, prop))
            sheet = RendererAgg(width + 8, height + below, self.dpi)
            gc = sheet.new_gc()
            gc.set_foreground(color, isRGBA=True)
            sheet.draw_text(gc, 8 + phase / PHASES, height, piece, prop, 0)
            image = np.asarray(sheet.buffer_rgba()).copy()  # (h, w, 4)
            rows, columns = image[..., 3].any(1).nonzero()[0], image[..., 3].any(0).nonzero()[0]
            top, end = (rows[0], rows[-1] + 1) if len(rows) else (0, 1)
            left, right = (columns[0], columns[-1] + 1) if len(columns) else (0, 1)
            image = np.ascontiguousarray(image[top:end, left:right][::-1])
            self._keep(key, (image, int(left) - 8, int(end) - height))
        return self._kept[key]

    def _keep(self, key, value) -> None:
        if len(self._kept) >= KEPT:
            self._kept.clear()
        self._kept[key] = value
