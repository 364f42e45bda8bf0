"""A guided model to play with: class, scale and seed."""

from collections.abc import Callable, Iterator, Sequence

import ipywidgets
import torch
from torch import Tensor

from labkit.inputs import whole_number
from labkit.lab import plots
from labkit.lab.widgets.explorer import Explorer, noise
from labkit.lab.widgets.filmstrip import Filmstrip
from labkit.sampler import State

Sample = Callable[[Sequence[int], Tensor, Tensor], Iterator[State]]


class GuidanceExplorer(Explorer):
    """Above, a strip of scales for each class, sampled beforehand and flipped in the browser;
    below, any class, scale and seed, sampled when the button is pressed, with a bar that shows how
    far it is. While the choice is not the one that is sampled, the button is lit and says so.

        GuidanceExplorer(sample, classes=range(10), scales=(0, 1, 2, 4), shape=(1, 16, 16))

    sample: `sample(labels, scale, x)` → states; labels: B class numbers, scale: (B,) float, x:
        (B, …) noise at time T; yields a `State` after each step, the last one's x are pictures.
    classes: numbers, or a dict from names to numbers. scales: of the strip; also the ends of the
        slider. shape: of one picture, (C, H, W). columns: pictures side by side, one per noise; a
        column keeps its noise across classes and scales. seed: of the strip's noises.
    Raises ValueError for no classes or scales, or fewer than one column.
    """

    def __init__(
        self,
        sample: Sample,
        classes: Sequence[int] | dict[str, int],
        scales: Sequence[float],
        shape: tuple[int, int, int],
        columns: int = 8,
        seed: int = 0,
        what: str = "scale",
    ):
        names = classes if isinstance(classes, dict) else {str(label): label for label in classes}
        if not names or len(scales) < 2:
            raise ValueError(
                f"GuidanceExplorer was given {len(names)} classes and {len(scales)} scales; give "
                "at least one class, and two scales."
            )
        self._sample, self._shape = sample, tuple(shape)
        self._columns = whole_number(columns, "columns", 1)
        self._names = dict(names)
        strip = self._film(list(scales), seed, what)
        self.choice = ipywidgets.Dropdown(options=self._names, description="class")
        self.scale = ipywidgets.FloatSlider(
            value=scales[len(scales) // 2], min=min(scales), max=max(scales), step=0.1,
            description=what, continuous_update=False, layout={"width": "420px"},
        )  # fmt: skip
        super().__init__(strip, [[self.choice, self.scale]])

    def noise(self, seed: int) -> Tensor:
        """The noise of each column, (columns, C, H, W)."""
        return noise(seed, self._columns, self._shape)

    @property
    def chosen(self) -> str:
        scale = f"{self.scale.description} {self.scale.value:g}"
        return f"class {self.choice.label} at {scale} from seed {self.seed.value}"

    def states(self) -> Iterator[State]:
        x = self.noise(self.seed.value)
        scale = torch.full((len(x),), self.scale.value)
        return self._sample([self.choice.value] * len(x), scale, x)

    def _film(self, scales: list[float], seed: int, what: str) -> Filmstrip:
        """Every class at every scale from the same noises, in one batch."""
        rows = [(label, scale) for label in self._names.values() for scale in scales]
        labels = [label for label, _ in rows for _ in range(self._columns)]
        scale = torch.tensor([scale for _, scale in rows for _ in range(self._columns)])
        *_, last = self._sample(labels, scale.float(), self.noise(seed).repeat(len(rows), 1, 1, 1))
        frames = last.x.unflatten(0, (len(self._names), len(scales), self._columns))
        middle = len(frames) // 2
        self._still = (
            plots.png(
                plots.image_grid(
                    frames[middle].flatten(0, 1),
                    columns=self._columns,
                    rows=[f"{what} {each:g}" for each in scales],
                )
            ),
            f"Class {list(self._names)[middle]}: a row for each {what}, from {scales[0]:g} to "
            f"{scales[-1]:g}; each of the {self._columns} columns keeps its noise",
        )
        strips = {
            name: [plots.image_grid(images, columns=self._columns) for images in strip]
            for name, strip in zip(self._names, frames)
        }
        return Filmstrip(
            strips, labels=[f"{what} {scale:g}" for scale in scales], choose="class", speed=2,
            title="Sampled beforehand: choose a class and flip through the scales",
            start=len(scales) // 2,
            alt=f"{self._columns} pictures, one per noise, as the guidance grows",
        )  # fmt: skip

    def _repr_mimebundle_(self, **kwargs):
        """Without a kernel: one class at every scale, which shows what the scale does."""
        return (super()._repr_mimebundle_(**kwargs) or {}) | plots.still(*self._still)
