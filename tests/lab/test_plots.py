"""Figures: shown once, with words for those who cannot see them, and pixel by pixel."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from labkit.lab import plots


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture
def displayed(monkeypatch):
    """What a cell would show, as a list of mime bundles."""
    shown = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, **options: shown.append((data, options))
    )
    return shown


def test_a_figure_is_shown_with_its_alternative_text(displayed):
    figure, _ = plots.subplots()
    plots.show(figure, 'a "line" & no more')
    ((data, options),) = displayed
    assert options == {"raw": True}
    assert data["text/plain"] == 'a "line" & no more'
    assert 'alt="a &quot;line&quot; &amp; no more"' in data["text/html"]
    assert data["image/png"] in data["text/html"]


def test_a_figure_of_pyplot_is_closed_after_it_was_shown(displayed):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure = pyplot.figure()
    plots.show(figure, "nothing yet")
    assert not pyplot.fignum_exists(figure.number)


@pytest.mark.parametrize("alt", ["", "  ", None])
def test_a_figure_without_words_is_refused(displayed, alt):
    figure, _ = plots.subplots()
    with pytest.raises(ValueError, match="alternative text"):
        plots.show(figure, alt)
    assert not displayed


def test_something_that_is_no_figure_is_refused():
    with pytest.raises(ValueError, match="plots.show was given list"):
        plots.show([1], "a list")


def test_a_small_png_is_the_figure_to_the_eye():
    figure, axes = plots.subplots()
    axes.plot([1, 3, 2], label="a line")
    axes.legend()
    exact = plots.pixels(figure).astype(int)
    data = plots.png(figure)
    assert np.abs(decode(data) - exact).max() <= 24
    assert len(data) < 30_000


def test_a_picture_of_many_colors_is_stored_without_loss():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(decode(plots.encode(noise)), noise)
    assert np.array_equal(decode(plots.encode(noise, fast=True)), noise)


def test_image_grid_shows_each_pixel_as_an_exact_square():
    images = torch.tensor([[[[-1.0, 1.0], [0.0, 1.0]]]])
    drawn = plots.pixels(plots.image_grid(images, scale=7))
    dark = np.argwhere((drawn == 0).all(-1))
    assert len(dark) == 49
    assert dark.max(0).tolist() == (dark.min(0) + 6).tolist()
    top, left = dark.min(0)
    assert (drawn[top + 7 : top + 14, left : left + 7] == 128).all()


def test_image_grid_cuts_to_the_range_and_paints_what_is_no_number():
    images = torch.full((3, 1, 2, 2), 5.0)
    images[1] = -5
    images[2] = float("nan")
    drawn = plots.pixels(plots.image_grid(images, columns=3, scale=4))
    colors = {tuple(color) for color in drawn.reshape(-1, 3).tolist()}
    assert colors == {(255, 255, 255), (0, 0, 0), (0xD5, 0x5E, 0x00)}


@pytest.mark.parametrize(
    "labels",
    [{}, {"titles": list("abcdef")}, {"titles": list("abc"), "rows": ["x", "y"], "title": "T"}],
)
def test_image_grid_takes_color_and_labels(labels):
    figure = plots.image_grid(torch.zeros(6, 3, 8, 8), columns=3, **labels)
    words = [text.get_text() for text in figure.texts]
    expected = [*labels.get("titles", []), *labels.get("rows", []), labels.get("title")]
    assert words == [word for word in expected if word]


@pytest.mark.parametrize(
    ("images", "options", "words"),
    [
        (torch.zeros(2, 2, 8, 8), {}, "C = 1 or 3"),
        (torch.zeros(8, 8), {}, "(N, C, H, W)"),
        (torch.zeros(0, 1, 8, 8), {}, "(N, C, H, W)"),
        (torch.zeros(6, 1, 8, 8), {"titles": ["a"]}, "6 pictures"),
        (torch.zeros(6, 1, 8, 8), {"columns": 0}, "columns=0"),
        (torch.zeros(6, 1, 8, 8), {"columns": 3, "rows": ["a"]}, "2 row labels"),
    ],
)
def test_image_grid_answers_nonsense_with_a_sentence(images, options, words):
    with pytest.raises(ValueError) as caught:
        plots.image_grid(images, **options)
    assert words in str(caught.value)


def test_a_wide_grid_still_fits_a_notebook():
    images = torch.zeros(20, 1, 16, 16)
    figure = plots.image_grid(images, columns=10, rows=["noisy", "clean"])
    assert 500 < plots.pixels(figure).shape[1] <= plots.WIDTH


def test_no_grid_lies_over_a_picture():
    figure, (left, right) = plots.subplots(1, 2)
    left.plot([1, 2])
    right.imshow(np.zeros((4, 4)))
    plots.pixels(figure)
    assert left.xaxis.get_gridlines()[0].get_visible()
    assert not right.xaxis.get_gridlines()[0].get_visible()


def test_the_style_is_everywhere_once_it_is_used():
    import matplotlib

    with matplotlib.rc_context():
        plots.use_style()
        assert matplotlib.rcParams["axes.titlelocation"] == "left"
        assert matplotlib.rcParams["axes.prop_cycle"].by_key()["color"][0] == plots.BLUE
    assert len(set(plots.COLORS)) == 8
