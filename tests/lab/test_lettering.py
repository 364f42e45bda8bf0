"""Text set from remembered pieces looks as matplotlib sets it, and stands where it does."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from labkit.lab.lettering import Lettering, LetteringCanvas

WORDS = ["0.305", "t = 250:  ᾱ = 0.1234", "Tomorrow's fish, AVTe y.", "|λ₂| = 1", "two\nlines 7"]


def drawn(canvas, text, x=20 / 384, **options) -> np.ndarray:
    figure = Figure(figsize=(4, 1), dpi=96)
    # on a whole pixel, where matplotlib's own letters stand as ours do
    figure.text(x, 48 / 96, text, **{"va": "baseline", "fontsize": 12} | options)
    drawing = canvas(figure)
    drawing.draw()
    return 255 - np.asarray(drawing.buffer_rgba())[..., :3].astype(int)  # (H, W, 3) of ink


def box(ink) -> np.ndarray:
    rows, columns = ink.any((1, 2)).nonzero()[0], ink.any((0, 2)).nonzero()[0]
    return np.array([rows[0], rows[-1], columns[0], columns[-1]])


@pytest.mark.parametrize("text", WORDS)
@pytest.mark.parametrize("options", [{}, {"ha": "center", "x": 0.5}, {"weight": "bold"}])
def test_text_stands_where_matplotlib_puts_it_with_as_much_ink(text, options):
    ours, theirs = drawn(LetteringCanvas, text, **options), drawn(FigureCanvasAgg, text, **options)
    assert np.abs(box(ours) - box(theirs)).max() <= 1
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.05)
    assert np.abs(ours - theirs).sum() < 0.35 * theirs.sum()  # a whole pixel off is beyond 0.6


def test_a_word_on_a_whole_pixel_is_the_same_to_the_last_grays():
    ours, theirs = drawn(LetteringCanvas, "word"), drawn(FigureCanvasAgg, "word")
    assert theirs.max() > 200 and np.abs(ours - theirs).max() <= 3


@pytest.mark.parametrize("options", [{"color": "#D55E00"}, {"alpha": 0.5}, {"color": "#0072B280"}])
def test_color_and_transparency_are_kept(options):
    ours, theirs = (
        drawn(LetteringCanvas, "word", **options),
        drawn(FigureCanvasAgg, "word", **options),
    )
    assert np.abs(ours - theirs).max() <= 4


@pytest.mark.parametrize(("text", "options"), [(r"$x^2$", {}), ("word", {"rotation": 90})])
def test_formulas_and_turned_text_are_matplotlib_s_own(text, options):
    ours, theirs = drawn(LetteringCanvas, text, **options), drawn(FigureCanvasAgg, text, **options)
    assert np.array_equal(ours, theirs)


def test_text_is_cut_off_where_its_axes_end():
    def ink(clip):
        figure = Figure(figsize=(4, 1), dpi=96)
        axes = figure.add_axes((0, 0, 0.5, 1))
        axes.axis("off")
        axes.text(0.9, 0.5, "a long word", clip_on=clip)
        canvas = LetteringCanvas(figure)
        canvas.draw()
        return 255 - np.asarray(canvas.buffer_rgba())[:, 193:, 0].astype(int)

    assert ink(False).any() and not ink(True).any()


@pytest.mark.parametrize("text", WORDS[:4])
def test_text_is_measured_as_matplotlib_measures_it(text):
    font = FontProperties(size=11)
    ours = Lettering(10, 10, 96).get_text_width_height_descent(text, font, False)
    theirs = RendererAgg(10, 10, 96).get_text_width_height_descent(text, font, False)
    assert np.abs(np.subtract(ours, theirs)).max() <= 1.5


def test_what_was_remembered_changes_nothing_and_stays_bounded(monkeypatch):
    monkeypatch.setattr(Lettering, "_kept", {})
    first = drawn(LetteringCanvas, "t = 0.123")
    assert np.array_equal(first, drawn(LetteringCanvas, "t = 0.123"))
    monkeypatch.setattr("labkit.lab.lettering.KEPT", 10)
    for number in range(40):
        drawn(LetteringCanvas, f"word {number} and more")
        assert len(Lettering._kept) <= 10
    assert np.array_equal(first, drawn(LetteringCanvas, "t = 0.123"))
