"""Figures for the lessons: one style, one way to show them, and grids of pictures."""

import base64
import io
import zlib
from html import escape
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

# Okabe and Ito's palette, told apart by eyes of every kind of color vision.
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW, BLACK = "#E69F00", "#56B4E9", "#F0E442", "#000000"
COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
DPI = 96
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
WIDTH = 780  # pixels that a notebook has room for; a wider picture is shrunk and blurred

STYLE = {
    "figure.dpi": DPI,
    "savefig.dpi": DPI,
    "figure.figsize": (8, 3.4),
    "figure.constrained_layout.use": True,
    "figure.facecolor": "white",
    "font.size": 11,
    "text.hinting": "no_hinting",  # as legible at 96 dots, in two thirds of the time
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # where it would be anyway; finding that out takes a third of a drawing
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.8,
    "axes.prop_cycle": matplotlib.cycler(color=COLORS),
    "lines.linewidth": 2,
    "legend.frameon": False,
    "image.cmap": "gray",
    "image.interpolation": "nearest",
}


def use_style() -> None:
    """Make the lessons' style the default of every figure made from here on."""
    matplotlib.rcParams.update(STYLE)


def subplots(rows: int = 1, columns: int = 1, size=(8, 3.4), **options):
    """A styled figure and its axes, as `pyplot.subplots` gives them, but never shown by itself.

    size: width and height in inches, at 96 dots per inch. `options` go to `Figure.subplots`.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        return figure, figure.subplots(rows, columns, **options)


def show(figure: Figure, alt: str) -> None:
    """Display `figure` once, as a PNG with the alternative text `alt`, and close it.

    alt: what the figure shows, in a sentence, for those who cannot see it. It reaches the <img>
    through HTML, because neither JupyterLab nor nbconvert takes it from an image's metadata.
    Raises ValueError if `figure` is not a Figure or `alt` says nothing.
    """
    if not isinstance(figure, Figure):
        raise ValueError(
            f"plots.show was given {type(figure).__name__}; give it a matplotlib Figure, "
            "for example the first value that plots.subplots() returns."
        )
    data = still(png(figure), alt)
    from IPython.display import display

    display(data, raw=True)
    _close(figure)


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a small PNG file (a palette is used where nobody can see it)."""
    return encode(pixels(figure))


def pixels(figure: Figure) -> np.ndarray:
    """The figure drawn at its own size: (H, W, 3) uint8."""
    with matplotlib.rc_context(STYLE):
        canvas = FigureCanvasAgg(figure)
        bare_images(figure)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # (H, W, 3)


def bare_images(figure: Figure) -> None:
    """Take the grid, which is drawn over pictures, from all axes that hold one."""
    for axes in figure.axes:
        if axes.images:
            axes.grid(False)


def encode(image: np.ndarray, fast: bool = False) -> bytes:
    """PNG bytes of a uint8 array (H, W) or (H, W, 3); `fast` trades size for time."""
    picture, buffer = Image.fromarray(image), io.BytesIO()
    if fast:
        picture.save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
        return buffer.getvalue()
    if picture.mode == "RGB":
        small = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        error = np.abs(np.asarray(small.convert("RGB"), int) - np.asarray(picture, int))
        if error.max() <= 24 and error.mean() <= 0.25:
            picture = small
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def file_format(path: Path) -> str:
    """The format that the suffix of a picture's file asks for; ValueError if it asks for none."""
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"{path} is to be a picture, but must then end in {', '.join(FORMATS)}")
    return FORMATS[suffix]


def in_format(figure: Figure, format: str) -> bytes:
    """The figure as the bytes of a file of one of the FORMATS."""
    if format == "PNG":
        return png(figure)
    buffer = io.BytesIO()
    exact = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}}
    Image.fromarray(pixels(figure)).save(buffer, format, **exact[format])
    return buffer.getvalue()


def still(image: bytes, alt: str) -> dict:
    """What a notebook stores for a picture: HTML with the alternative text, PNG, plain text.

    image: the bytes of a PNG file. Raises ValueError if `alt` says nothing.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(
            f"The alternative text is {alt!r}; say in a sentence what the figure shows, "
            "for those who cannot see it: alt='...'."
        )
    text = base64.b64encode(image).decode()
    html = f'<img alt="{escape(alt)}" src="data:image/png;base64,{text}">'
    return {"text/html": html, "image/png": text, "text/plain": alt}


def image_grid(
    images, columns: int | None = None, titles=None, rows=None, title: str = "", scale=None
) -> Figure:
    """A grid of pictures, each pixel an exact square on the screen.

    images: (N, C, H, W) or (N, H, W) in [-1, 1], C = 1 or 3; values outside are cut to the range,
    and what is not a number is drawn in vermillion, so that it cannot hide.
    columns: pictures in a row (at most 10 by default). titles: over each picture, or one for each
    column. rows: one label for each row. scale: screen pixels for a pixel of the picture.
    Raises ValueError for another shape, or titles and rows that do not fit the grid.
    """
    tiles = _tiles(images)  # (N, H, W, 3) uint8
    count, height, width = tiles.shape[:3]
    columns = min(count, 10) if columns is None else columns
    if not isinstance(columns, int) or columns < 1:
        raise ValueError(f"image_grid was given columns={columns!r}; give a whole number above 0.")
    lines = -(-count // columns)
    titles, rows = list(titles or ()), list(rows or ())
    if titles and len(titles) not in (count, columns) or rows and len(rows) != lines:
        raise ValueError(
            f"image_grid was given {len(titles)} titles and {len(rows)} row labels for {count} "
            f"pictures in {lines} rows of {columns}; give {count} or {columns} titles, "
            f"and {lines} row labels, or none."
        )
    gap, line = 6, 20
    left = max((8 * len(str(row)) for row in rows), default=0) + gap
    room = (WIDTH - left) // columns - gap
    scale = scale or max(1, min(round(96 / width), room // width))
    height, width = height * scale, width * scale
    each = bool(titles) and len(titles) == count and count != columns
    top = gap + (line + 6) * bool(title) + line * (bool(titles) and not each)
    step = height + gap + line * each
    canvas_size = (left + columns * (width + gap), top + lines * step)
    figure = Figure(figsize=(canvas_size[0] / DPI, canvas_size[1] / DPI), dpi=DPI)
    canvas = np.full((canvas_size[1], canvas_size[0], 3), 255, np.uint8)
    label = {"fontsize": 10, "va": "center"}

    def write(x, y, text, **options):
        figure.text(x / canvas_size[0], 1 - y / canvas_size[1], str(text), **label | options)

    for index, tile in enumerate(tiles):
        y = top + step * (index // columns) + line * each
        x = left + (width + gap) * (index % columns)
        canvas[y : y + height, x : x + width] = tile.repeat(scale, 0).repeat(scale, 1)
        if each or titles and index < columns:
            write(x + width / 2, y - line / 2, titles[index], ha="center")
    for index, text in enumerate(rows):
        write(left - gap, top + step * (index + 0.5) - gap / 2, text, ha="right")
    if title:
        write(left, gap + line / 2, title, fontsize=12)
    figure.figimage(canvas, origin="upper", zorder=-1)
    return figure


def _tiles(images) -> np.ndarray:
    if hasattr(images, "detach"):
        images = images.detach().cpu().float().numpy()
    array = np.asarray(images, dtype=float)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in (1, 3) or 0 in array.shape:
        raise ValueError(
            f"image_grid was given an array of shape {array.shape}; give (N, C, H, W) with "
            "C = 1 or 3, for example images[:16]."
        )
    broken = ~np.isfinite(array).all(1)  # (N, H, W)
    array = np.nan_to_num(array).clip(-1, 1).transpose(0, 2, 3, 1)  # (N, H, W, C)
    tiles = np.rint((array + 1) * 127.5).astype(np.uint8).repeat(3 // array.shape[3], 3)
    tiles[broken] = (0xD5, 0x5E, 0x00)
    return tiles


def _close(figure: Figure) -> None:
    # Only a figure that pyplot made is known to pyplot, which would show it a second time.
    import sys

    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close(figure)
