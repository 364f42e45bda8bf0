"""Several signals that steer at once, each with a weight: a sentence, and a picture to be like."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import ipywidgets
import torch
from torch import Tensor

from labkit.lab import plots
from labkit.lab.widgets.explorer import Explorer, noise
from labkit.lab.widgets.filmstrip import Filmstrip
from labkit.sampler import State

Sample = Callable[[str, Tensor, dict[str, Tensor], Tensor], Iterator[State]]
FIRST = "reference"  # stands over the reference, which is the first picture of every row


class GuidanceMixer(Explorer):
    """Above, a grid of two weights, sampled beforehand and flipped in the browser; below, a
    sentence to type, a picture to be like, and every weight by itself, sampled when the button is
    pressed.

        GuidanceMixer(sample, ["a red star"], {"two moons": picture},
                      grid={"text": (0, 50, 100), "content": (0, 50, 100)}, others={"style": 10})

    sample: `sample(sentence, reference, weights, x)` → states; reference: (1, C, H, W); weights: by
        name a (B,) float; x: (B, C, H, W) noise at time T; yields a `State` after each step, whose
        last x are pictures in [−1, 1].
    sentences: to choose from; others may be typed. references: names -> pictures (C, H, W) in
        [−1, 1]. The strip is of the first of each.
    grid: two names of weights, each with at least two values, the first in a menu and the second
        on the strip's slider. others: further weights that only the live choice has, name -> the
        largest; the largest of the two is that of the grid.
    columns: pictures side by side, one per noise; a column keeps its noise. seed: of the strip's.
    Raises ValueError for no sentence or reference, or unless the grid has two weights.
    """

    def __init__(
        self,
        sample: Sample,
        sentences: Sequence[str],
        references: Mapping[str, Tensor],
        grid: Mapping[str, Sequence[float]],
        others: Mapping[str, float] | None = None,
        columns: int = 6,
        seed: int = 0,
    ):
        if not sentences or isinstance(sentences, str) or not references:
            raise ValueError(
                "GuidanceMixer was given no list of sentences, or no pictures to be like; give at "
                "least one of each."
            )
        if len(grid) != 2 or min(map(len, grid.values())) < 2:
            raise ValueError(
                f"GuidanceMixer was given a grid of {dict(grid)}; give two weights by name, each "
                "with at least two values."
            )
        self._sample, self._columns = sample, columns
        self._shape = tuple(next(iter(references.values())).shape)
        self.sentence = ipywidgets.Combobox(
            value=sentences[0], options=list(sentences), description="sentence",
            ensure_option=False, continuous_update=False, layout={"width": "380px"},
        )  # fmt: skip
        self.reference = ipywidgets.Dropdown(
            options=[(name, index) for index, name in enumerate(references)],
            description=FIRST, layout={"width": "300px"},
        )  # fmt: skip
        self._pictures = list(references.values())
        largest = {name: max(values) for name, values in grid.items()} | dict(others or {})
        starts = {name: sorted(values)[len(values) // 2] for name, values in grid.items()}
        self.weights = {
            name: _weight(name, most, starts.get(name, 0)) for name, most in largest.items()
        }
        strip = self._film(grid, sentences[0], next(iter(references)), seed)
        super().__init__(strip, [[self.sentence, self.reference], [*self.weights.values()]])

    @property
    def mixture(self) -> str:
        """The weights and the seed in words, short enough for a title."""
        named = [f"{name} {each.value:g}" for name, each in self.weights.items() if each.value]
        return f"{', '.join(named) or 'all weights 0'}; seed {self.seed.value}"

    @property
    def chosen(self) -> str:
        return f"“{self.sentence.value}”, like {self.reference.label}; {self.mixture}"

    def states(self) -> Iterator[State]:
        x = noise(self.seed.value, self._columns, self._shape)
        weights = {
            name: torch.full((len(x),), float(each.value)) for name, each in self.weights.items()
        }
        reference = self._pictures[self.reference.value][None]
        return self._sample(self.sentence.value, reference, weights, x)

    def shown(self, images: Tensor):
        return _beside(self._pictures[self.reference.value], images, self.mixture)

    def _film(self, grid, sentence: str, like: str, seed: int) -> Filmstrip:
        """Every pair of weights from the same noises, in one batch."""
        (down, rows), (across, steps) = grid.items()
        pairs = torch.cartesian_prod(torch.tensor(rows).float(), torch.tensor(steps).float())
        each = pairs.repeat_interleave(self._columns, 0)  # (rows · steps · columns, 2)
        weights = dict(zip(grid, each.T)) | {
            name: torch.zeros(len(each)) for name in self.weights if name not in grid
        }
        x = noise(seed, self._columns, self._shape).repeat(len(pairs), 1, 1, 1)
        *_, last = self._sample(sentence, self._pictures[0][None], weights, x)
        frames = last.x.unflatten(0, (len(rows), len(steps), self._columns))
        strips = {
            f"{weight:g}": [_beside(self._pictures[0], images) for images in strip]
            for weight, strip in zip(rows, frames)
        }
        film = Filmstrip(
            strips, labels=[f"{across} {weight:g}" for weight in steps], choose=f"{down} weight",
            title=f"Sampled beforehand: “{sentence}”, like {like}", speed=2, start=len(steps) // 2,
            alt=f"Beside the reference, {self._columns} pictures, one per noise, for "
            f"“{sentence}”, weights of {down} and {across}",
        )  # fmt: skip
        film.row = len(rows) // 2
        return film


def _weight(name: str, most: float, start: float) -> ipywidgets.FloatSlider:
    return ipywidgets.FloatSlider(
        value=start, min=0, max=most, step=most / 20, description=name, readout_format=".3g",
        continuous_update=False, layout={"width": "320px"},
    )  # fmt: skip


def _beside(reference: Tensor, images: Tensor, title: str = ""):
    """The reference and the pictures in one row."""
    row = torch.cat([reference[None].to(images), images])
    titles = [FIRST, *[""] * len(images)]
    return plots.image_grid(row, columns=len(row), titles=titles, title=title)
