"""What autoencoders of scenes keep, to play with: a slider over f, and the pictures beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import ipywidgets
import torch
import torch.nn.functional as F
from torch import Tensor

from labkit import scenes
from labkit.lab import plots
from labkit.lab.forward_plot import pixels, show_picture
from labkit.lab.widgets.redraw import Redraw
from labkit.scenes import Scenes
from labkit.scenes.scores import agreement
from labkit.systems.autoencoder import FirstStage

LARGER = 4  # times the difference is shown as large as it is
TILE = 32  # pixels of each channel of a latent, on the screen
KINDS = ("shape", "color", "fill", "size", "place")


class Kept(NamedTuple):
    """What one autoencoder makes of N pictures."""

    again: Tensor  # (N, 3, S, S)
    misfit: list[float]  # of each, the root of the mean squared difference, 0 … 2
    tiles: Tensor  # (N, 3, W, W): the channels of the latent side by side, gray is their mean
    numbers: str  # how many a latent has, in words
    read: list[str]  # of how many objects the reader still sees what


class AutoencoderExplorer(Redraw):
    """A slider over autoencoders and one over pictures: the picture, its reconstruction, their
    difference (enlarged; gray is none), and the channels of its latent; below, the misfit, how many
    numbers a latent has, and how much the attribute reader still sees. All is computed once, at the
    beginning; a still shows every autoencoder.

        AutoencoderExplorer({"f = 2": small, "f = 8": large}, scenes.draw(8, 1), reader)

    stages: `FirstStage` by name, of pictures of one size, a multiple of the reader's. drawn: the
    scenes. reader: a `labkit.scenes.reader.Reader`. start: the name that is shown first.
    Raises ValueError for fewer than two autoencoders or scenes, for sizes that do not fit, and for
    a start that is none of the names.
    """

    def __init__(
        self, stages: Mapping[str, FirstStage], drawn: Scenes, reader, start: str | None = None
    ):
        size = checked(stages, drawn, reader)
        self._pictures = scenes.render(drawn, size)
        self._counts = [f"{n} object{'s' * (n > 1)}" for n in drawn.count.tolist()]
        self._real = read(reader, self._pictures, drawn)
        self._kept = {name: kept(s, self._pictures, drawn, reader) for name, s in stages.items()}
        names = list(stages)
        if start is not None and start not in names:
            raise ValueError(f"start is {start!r}, but must be one of {', '.join(names)}")
        super().__init__(
            self._figure,
            alt=self._says,
            size=(8.1, 2.9),
            labels={"name": "autoencoder"},
            name=ipywidgets.SelectionSlider(options=names, value=start or names[0]),
            picture=(1, len(self._pictures)),
        )

    def _figure(self, figure, name: str, picture: int = 1):
        axes = figure.subplots(1, 4)
        shown = [show_picture(axis, self._pictures[0]) for axis in axes]
        names = "picture", "again", f"difference × {LARGER}", "latent, by channel"
        titles = [axis.set_title(title, fontsize=10) for axis, title in zip(axes, names)]
        # Room for two lines, whatever they will say.
        lines = figure.text(0.01, 0.01, "\n", fontsize=10, va="bottom")
        figure.get_layout_engine().set(rect=(0, 0.16, 1, 0.84))

        def update(name, picture):
            own, n = self._kept[name], picture - 1
            difference = (own.again[n] - self._pictures[n]) * LARGER
            for image, each in zip(
                shown, (self._pictures[n], own.again[n], difference, own.tiles[n])
            ):
                image.set_data(pixels(each))
            titles[1].set_text(f"again, {name}")
            lines.set_text(self._lines(name, n))
            return [*shown, titles[1], lines]

        update(name, picture)
        return update

    def _lines(self, name: str, n: int) -> str:
        own = self._kept[name]
        return (
            f"misfit {own.misfit[n]:.3f}; {own.numbers}\n"
            f"the reader has right, of {self._counts[n]}: {own.read[n]} "
            f"(of the picture itself: {self._real[n]})"
        )

    def _says(self, name: str, picture: int) -> str:
        lines = self._lines(name, picture - 1).replace("\n", "; ")
        return (
            f"Picture {picture}, its reconstruction by {name}, their difference, and the channels "
            f"of its latent: {lines}"
        )

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        n = self.values["picture"] - 1
        again = [own.again[n] for own in self._kept.values()]
        titles = [f"{name}: {own.misfit[n]:.3f}" for name, own in self._kept.items()]
        grid = plots.image_grid(
            torch.stack([self._pictures[n], *again]),
            columns=1 + len(again),
            titles=["picture", *titles],
            title="A picture, and what comes back (with the misfit)",
        )
        said = [f"{name}: {self._lines(name, n)}".replace("\n", "; ") for name in self._kept]
        alt = f"Picture {n + 1} and its reconstructions. {'. '.join(said)}"
        return live | plots.still(plots.png(grid), alt)


def checked(stages: Mapping[str, FirstStage], drawn: Scenes, reader) -> int:
    """The side of the pictures. Raises ValueError for what does not fit together."""
    count = len(drawn.background)
    if len(stages) < 2 or count < 2:
        raise ValueError(
            f"AutoencoderExplorer was given {len(stages)} autoencoders and {count} scenes; give at "
            "least two of both"
        )
    sizes = {stage.config.net.size for stage in stages.values()}
    size, small = max(sizes), reader.config.size
    if len(sizes) > 1 or size % small:
        raise ValueError(
            f"the autoencoders are of pictures of {', '.join(map(str, sorted(sizes)))} pixels a "
            f"side; give some of one size, a multiple of the reader's {small}"
        )
    return size


@torch.no_grad()
def kept(stage: FirstStage, pictures: Tensor, drawn: Scenes, reader) -> Kept:
    """What an autoencoder makes of pictures (N, 3, S, S) of these scenes."""
    net, again = stage.autoencoder, stage.reconstruct(pictures)
    z = net.mean(pictures)  # (N, C, h, w)
    (C, h, w), of_pixels = z.shape[1:], pictures[0].numel()
    numbers = f"its latent has {C} × {h} × {w} = {z[0].numel()} numbers, the picture {of_pixels}"
    if net.codebook:
        z = net.codebook(z)
        entries = net.config.codebook
        numbers = f"its latent has {h} × {w} places, each one of {entries} entries"
    misfit = (again - pictures).square().mean((1, 2, 3)).sqrt().tolist()
    return Kept(again, misfit, tiled(z), numbers, read(reader, again, drawn))


def tiled(z: Tensor) -> Tensor:
    """The channels of latents (N, C, h, w) as gray tiles in a square, row by row, (N, 3, W, W) in
    [−1, 1]; from two standard deviations under the mean of each channel to two above it they go
    from black to white. Where there is no channel, it is white."""
    mean, std = z.mean((0, 2, 3), keepdim=True), z.std((0, 2, 3), keepdim=True)
    each = ((z - mean) / (2 * std).clamp(min=1e-9)).clamp(-1, 1)
    each = F.pad(F.interpolate(each, size=(TILE, TILE)), (1, 1, 1, 1), value=1.0)
    side = math.ceil(math.sqrt(z.shape[1]))
    each = F.pad(each, (0, 0, 0, 0, 0, side**2 - z.shape[1]), value=1.0)
    grid = each.unflatten(1, (side, side)).transpose(2, 3)  # (N, side, TILE, side, TILE)
    return grid.flatten(3).flatten(1, 2)[:, None].expand(-1, 3, -1, -1)


def read(reader, pictures: Tensor, drawn: Scenes) -> list[str]:
    """For each picture how many of its objects the reader sees rightly, by attribute."""
    small = F.avg_pool2d(pictures, pictures.shape[-1] // reader.config.size)
    seen, found = reader.read(small.clamp(-1, 1)), []
    for row, count in enumerate(drawn.count.tolist()):
        each = torch.tensor([row])
        scores = agreement(seen.take(each), drawn.take(each))
        right = {kind: round(scores[kind] * count) for kind in KINDS}
        said = ", ".join(f"{kind} {number}" for kind, number in right.items())
        found.append("all" if all(number == count for number in right.values()) else said)
    return found
