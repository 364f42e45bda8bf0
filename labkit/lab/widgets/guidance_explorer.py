"""A guided model to play with: class, scale and seed."""

from collections.abc import Callable, Iterator, Sequence

import ipywidgets
import torch
from torch import Tensor

from labkit.inputs import whole_number
from labkit.lab import plots
from labkit.lab.widgets.filmstrip import Filmstrip
from labkit.lab.widgets.picture import Picture
from labkit.sampler import State

Paint = Callable[[Sequence[int], Tensor, Tensor], Iterator[State]]


class GuidanceExplorer(ipywidgets.VBox):
    """Above, a strip of scales for each class, painted beforehand and flipped in the browser;
    below, any class, scale and seed, painted when the button is pressed, with a bar that shows how
    far it is. While the choice is not the one that is painted, the button is lit and says so.

        GuidanceExplorer(paint, classes=range(10), scales=(0, 1, 2, 4), shape=(1, 16, 16))

    paint: `paint(labels, scale, x)` → states; labels: B class numbers, scale: (B,) float, x: (B, …)
        noise at time T; yields a `State` after each step, whose last x are pictures in [−1, 1].
    classes: numbers, or a dict from names to numbers. scales: of the strip; also the ends of the
        slider. shape: of one picture, (C, H, W). columns: pictures side by side, one per noise; a
        column keeps its noise across classes and scales. seed: of the strip's noises.
    Raises ValueError for no classes or scales, or fewer than one column.
    """

    def __init__(
        self,
        paint: Paint,
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
        self._paint, self._shape = paint, tuple(shape)
        self._columns = whole_number(columns, "columns", 1)
        self._names = dict(names)
        self.strip = self._film(list(scales), seed, what)
        self.choice = ipywidgets.Dropdown(options=self._names, description="class")
        self.scale = ipywidgets.FloatSlider(
            value=scales[len(scales) // 2], min=min(scales), max=max(scales), step=0.1,
            description=what, continuous_update=False, layout={"width": "420px"},
        )  # fmt: skip
        self.seed = ipywidgets.BoundedIntText(1, min=0, max=10**6, description="seed")
        self.button = ipywidgets.Button(description="Paint", icon="paint-brush")
        self.progress = ipywidgets.FloatProgress(0, min=0, max=1, layout={"width": "140px"})
        self.message, self.picture = ipywidgets.HTML(), Picture()
        self._painted = ""
        self.button.on_click(lambda _button: self.paint())
        for each in (self.choice, self.scale, self.seed):
            each.observe(lambda _change: self._remind(), "value")
        self._remind()
        row = {"layout": {"flex_flow": "row wrap"}}
        super().__init__(
            [
                self.strip,
                ipywidgets.HTML("<b>Your own: choose, then press Paint</b>"),
                ipywidgets.Box([self.choice, self.scale, self.seed], **row),
                ipywidgets.Box([self.button, self.progress, self.message], **row),
                self.picture,
            ]
        )

    def noise(self, seed: int) -> Tensor:
        """The noise of each column, (columns, C, H, W)."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(self._columns, *self._shape, generator=generator)

    @property
    def chosen(self) -> str:
        """The choice in words."""
        scale = f"{self.scale.description} {self.scale.value:g}"
        return f"class {self.choice.label} at {scale} from seed {self.seed.value}"

    def _remind(self) -> None:
        """Light the button while the picture is not what was chosen."""
        waits = self.chosen != self._painted
        self.button.button_style = "primary" if waits else ""
        self.message.value = f"press Paint for {self.chosen}" if waits else ""
        self.progress.value = not waits

    def paint(self) -> None:
        """Paint the chosen class at the chosen scale from the chosen seed, and show it growing."""
        self.button.disabled, self.message.value = True, "painting …"
        try:
            x, label = self.noise(self.seed.value), self.choice.value
            scale = torch.full((len(x),), self.scale.value)
            first = None
            for state in self._paint([label] * len(x), scale, x):
                first = first or state.t or 1  # t falls from here to 0
                self.progress.value = 1 - state.t / (first + 1)
                self._show(state.x)
            self._painted = self.chosen
            self._remind()
        except Exception as error:  # a learner's own paint: one line says what went wrong
            from html import escape

            text = f"{type(error).__name__}: {str(error).strip()}".splitlines()[0]
            self.message.value = f'<span role="alert">Nothing was painted: {escape(text)}</span>'
        finally:
            self.button.disabled = False

    def _show(self, images: Tensor) -> None:
        grid = plots.image_grid(images, columns=self._columns, title=self.chosen)
        self.picture.show(plots.png(grid), f"{self._columns} pictures: {self.chosen}")

    def _film(self, scales: list[float], seed: int, what: str) -> Filmstrip:
        """Every class at every scale from the same noises, in one batch."""
        rows = [(label, scale) for label in self._names.values() for scale in scales]
        labels = [label for label, _ in rows for _ in range(self._columns)]
        scale = torch.tensor([scale for _, scale in rows for _ in range(self._columns)])
        *_, last = self._paint(labels, scale.float(), self.noise(seed).repeat(len(rows), 1, 1, 1))
        frames = last.x.unflatten(0, (len(self._names), len(scales), self._columns))
        strips = {
            name: [plots.image_grid(images, columns=self._columns) for images in strip]
            for name, strip in zip(self._names, frames)
        }
        return Filmstrip(
            strips, labels=[f"{what} {scale:g}" for scale in scales], choose="class", speed=2,
            title="Painted beforehand: choose a class and flip through the scales",
            start=len(scales) // 2,
            alt=f"{self._columns} pictures, one per noise, as the guidance grows",
        )  # fmt: skip

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        still = self.strip._repr_mimebundle_()
        return live | {key: still[key] for key in ("text/html", "image/png", "text/plain")}
