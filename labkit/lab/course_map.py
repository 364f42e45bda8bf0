"""The map of the course, drawn."""

from collections.abc import Collection

from matplotlib.patches import FancyBboxPatch

from labkit.lab import plots

# (number, name, what it makes visible), in rows by theme
ROWS = {
    "The ground": [
        ("01", "Markov chains", "chains forget"),
        ("02", "Forward diffusion", "a picture becomes noise"),
        ("03", "DDPM", "the way back is learned"),
        ("04", "DDIM", "in 20 steps, not 1000"),
    ],
    "Steering": [
        ("05", "Classifier guidance", "say which class"),
        ("06", "Classifier-free guidance", "without a classifier"),
        ("07", "CLIP", "pictures meet words"),
        ("08", "Semantic guidance", "steer by anything"),
    ],
    "Text to image": [
        ("09", "GLIDE", "words into the U-Net"),
        ("10", "DALL·E 2", "a prior in CLIP's space"),
        ("11", "Imagen", "a cascade of sizes"),
        ("12", "Latent diffusion", "sample small, decode large"),
    ],
    "And back": [
        ("13", "Cross attention", "which word, which region"),
        ("14", "Looking back", "the whole arc"),
    ],
}


def draw_map(figure, available: Collection[str]) -> None:
    """Boxes for all lessons, row by row, with arrows; filled for those in `available`.

    available: numbers of lessons as they begin their files' names, such as {"00", "01"}.
    """
    axes = figure.subplots()
    axes.set(xlim=(-0.62, 4.0), ylim=(len(ROWS) - 0.45, -0.55))
    axes.axis("off")
    before = None
    for row, (theme, lessons) in enumerate(ROWS.items()):
        color = plots.COLORS[row]
        axes.text(-0.6, row, theme, color=color, va="center", fontsize=12, weight="bold")
        for column, (number, name, shows) in enumerate(lessons):
            _box(axes, column, row, color, number in available)
            ink = {"ha": "center", "color": "white" if number in available else "#444444"}
            axes.text(column + 0.48, row - 0.12, f"{number} · {name}", fontsize=9.2, **ink)
            axes.text(column + 0.48, row + 0.18, shows, fontsize=8.8, style="italic", **ink)
            if before:
                _arrow(axes, before, (column, row))
            before = (column, row)


def _box(axes, column: int, row: int, color: str, filled: bool) -> None:
    style = "round,pad=0,rounding_size=0.08"
    box = FancyBboxPatch((column + 0.03, row - 0.33), 0.9, 0.62, boxstyle=style, linewidth=1.5)
    box.set(edgecolor=color, facecolor=color if filled else "white")
    axes.add_patch(box)


def _arrow(axes, start: tuple[int, int], end: tuple[int, int]) -> None:
    line = {"color": "#777777", "linewidth": 1.5}
    if start[1] == end[1]:
        tail, head = (start[0] + 0.93, start[1] - 0.02), (end[0] + 0.03, end[1] - 0.02)
    else:  # from the end of a row, between the rows, to the head of the next
        out, between, into = start[0] + 0.48, start[1] + 0.48, end[0] + 0.48
        axes.plot([out, out, into], [start[1] + 0.29, between, between], **line)
        tail, head = (into, between), (into, end[1] - 0.33)
    arrow = {"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0, **line}
    axes.annotate("", head, tail, arrowprops=arrow)
