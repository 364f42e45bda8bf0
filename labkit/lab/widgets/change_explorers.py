"""DALL·E 2's three ways to change a picture, to play with: variations of it, what lies between it
and another, and what words make of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import ipywidgets
import torch
from torch import Tensor

from labkit.inputs import whole_number
from labkit.lab import plots
from labkit.lab.widgets.explorer import Explorer
from labkit.lab.widgets.filmstrip import Filmstrip
from labkit.sampler import State

States = Callable[..., Iterator[State]]


def _checked(pictures: Mapping[str, Tensor], least: int) -> dict[str, Tensor]:
    """The pictures by name, (1, C, H, W) each. Raises ValueError for too few of them."""
    if len(pictures) < least:
        raise ValueError(f"there are {len(pictures)} pictures to choose from; give {least} or more")
    return {name: picture[None] for name, picture in pictures.items()}


def _menu(names: Sequence[str], description: str, start: int = 0) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(
        options=list(names), value=list(names)[start], description=description
    )


def _last(states: Iterator[State]) -> Tensor:
    *_, state = states
    return state.pictures


class VariationExplorer(Explorer):
    """Above, a strip of what eta does to the first picture; below, any picture, eta and seed, drawn
    anew when the button is pressed. The original stands at left.

        VariationExplorer(dalle2.variations, {"a star": picture, ...}, etas=(0, 0.5, 1))

    variations: `variations(image, eta, steps=…, seed=…)` → states, as `DALLE2.variations`.
    pictures: (C, H, W) in [−1, 1] by name. etas: of the strip. columns: variations side by side.
    Raises ValueError for no pictures, fewer than two etas, or fewer than one column.
    """

    def __init__(
        self,
        variations: States,
        pictures: Mapping[str, Tensor],
        etas: Sequence[float] = (0, 0.5, 1),
        steps: int = 25,
        columns: int = 5,
    ):
        self._pictures, self._variations = _checked(pictures, 1), variations
        self._columns = whole_number(columns, "columns", 1)
        self._steps = whole_number(steps, "the number of steps", 2)
        if len(etas) < 2:
            raise ValueError(f"there are {len(etas)} etas for the strip; give two or more")
        self.choice = _menu(pictures, "picture")
        self.eta = ipywidgets.FloatSlider(
            1.0, min=0, max=1, step=0.05, description="eta", continuous_update=False
        )
        super().__init__(self._film(list(etas)), [[self.choice, self.eta]])

    @property
    def chosen(self) -> str:
        return f"{self.choice.value}: eta {self.eta.value:g}, seed {self.seed.value}"

    def states(self) -> Iterator[State]:
        return self._of(self.choice.value, self.eta.value, self.seed.value)

    def shown(self, images: Tensor):
        return self._beside(self._pictures[self.choice.value], images, self.chosen)

    def _of(self, name: str, eta: float, seed: int) -> Iterator[State]:
        image = self._pictures[name].expand(self._columns, -1, -1, -1)
        return self._variations(image, eta, steps=self._steps, seed=seed)

    def _beside(self, original: Tensor, images: Tensor, title: str = ""):
        titles = ["original", *[""] * len(images)]
        both = torch.cat([original, images.to(original)])
        return plots.image_grid(both, columns=len(both), titles=titles, title=title)

    def _film(self, etas: list[float]) -> Filmstrip:
        name, original = next(iter(self._pictures.items()))
        frames = [self._beside(original, _last(self._of(name, eta, 0))) for eta in etas]
        return Filmstrip(
            frames, labels=[f"eta {eta:g}" for eta in etas], speed=2, start=len(etas) - 1,
            title=f"Drawn beforehand: variations of {name}",
            alt=f"{name}, and {self._columns} variations of it",
        )  # fmt: skip


class InterpolationExplorer(Explorer):
    """Above, a strip that goes from the first picture to the second, flipped in the browser; below,
    any two of the pictures, and how many steps between them.

        InterpolationExplorer(dalle2.interpolate, {"a star": one, "a moon": two, ...})

    interpolate: `interpolate(a, b, n, steps=…)` → states, as `DALLE2.interpolate`. pictures:
        (C, H, W) in [−1, 1] by name, at least two. number: of pictures from one to the other.
    Raises ValueError for fewer than two pictures, from which to choose or to show.
    """

    def __init__(
        self,
        interpolate: States,
        pictures: Mapping[str, Tensor],
        number: int = 7,
        steps: int = 25,
    ):
        self._pictures, self._interpolate = _checked(pictures, 2), interpolate
        self._steps = whole_number(steps, "the number of steps", 2)
        self.start, self.end = _menu(pictures, "from"), _menu(pictures, "to", 1)
        self.number = ipywidgets.IntSlider(
            whole_number(number, "the number of pictures", 2), min=2, max=max(9, number),
            description="pictures", continuous_update=False,
        )  # fmt: skip
        super().__init__(self._film(), [[self.start, self.end, self.number]])
        self.seed.layout.display = "none"  # nothing is drawn at random

    @property
    def chosen(self) -> str:
        return f"from {self.start.value} to {self.end.value} in {self.number.value} pictures"

    def states(self) -> Iterator[State]:
        a, b = (self._pictures[menu.value] for menu in (self.start, self.end))
        return self._interpolate(a, b, self.number.value, steps=self._steps)

    def shown(self, images: Tensor):
        titles = [f"{share:.2f}" for share in torch.linspace(0, 1, len(images)).tolist()]
        return plots.image_grid(images, columns=len(images), titles=titles, title=self.chosen)

    def _film(self) -> Filmstrip:
        (first, a), (second, b), *_ = self._pictures.items()
        made = _last(self._interpolate(a, b, self.number.value, steps=self._steps))
        shares = torch.linspace(0, 1, len(made)).tolist()
        frames = [plots.image_grid(torch.cat([a, own[None].to(a), b]), columns=3,
                                   titles=[first, f"share {share:.2f}", second])
                  for own, share in zip(made, shares)]  # fmt: skip
        return Filmstrip(
            frames, labels=[f"share {share:.2f}" for share in shares], speed=3,
            title=f"Drawn beforehand: from {first} to {second}", start=len(frames) // 2,
            alt=f"{first}, {second}, and between them what lies between both",
        )  # fmt: skip


class TextDiffExplorer(Explorer):
    """Above, a slider over theta for the first picture and the first change of words; below, any
    picture and any two sentences, drawn at all thetas when the button is pressed.

        TextDiffExplorer(dalle2.text_diff, {"a star": picture}, ("a red star", "a blue star"))

    text_diff: `text_diff(image, before, after, thetas, steps=…)` → states, as `DALLE2.text_diff`;
        what it cannot read it refuses with a ValueError, which is shown. pictures: (C, H, W) in
        [−1, 1] by name. words: what the first picture is, and what it is to become. thetas: shares
        of the way, rising.
    Raises ValueError for no pictures, or fewer than two shares.
    """

    def __init__(
        self,
        text_diff: States,
        pictures: Mapping[str, Tensor],
        words: tuple[str, str],
        thetas: Sequence[float] = (0, 0.1, 0.2, 0.3, 0.4, 0.5),
        steps: int = 25,
    ):
        self._pictures, self._text_diff = _checked(pictures, 1), text_diff
        self._thetas, self._steps = list(thetas), whole_number(steps, "the number of steps", 2)
        if len(self._thetas) < 2:
            raise ValueError(f"there are {len(self._thetas)} shares theta; give two or more")
        self.choice = _menu(pictures, "picture")
        wide = {"layout": {"width": "380px"}, "continuous_update": False}
        self.before = ipywidgets.Text(words[0], description="it is", **wide)
        self.after = ipywidgets.Text(words[1], description="make it", **wide)
        super().__init__(self._film(), [[self.choice], [self.before, self.after]])
        self.seed.layout.display = "none"  # nothing is drawn at random

    @property
    def chosen(self) -> str:
        return f"{self.choice.value}: “{self.before.value}” → “{self.after.value}”"

    def states(self) -> Iterator[State]:
        return self._text_diff(
            self._pictures[self.choice.value], self.before.value, self.after.value, self._thetas,
            steps=self._steps,
        )  # fmt: skip

    def shown(self, images: Tensor):
        titles = [f"θ = {theta:g}" for theta in self._thetas]
        return plots.image_grid(images, columns=len(images), titles=titles, title=self.chosen)

    def _film(self) -> Filmstrip:
        original, made = self._pictures[self.choice.value], _last(self.states())
        frames = [
            plots.image_grid(torch.cat([original, own[None].to(original)]), columns=2,
                             titles=["original", f"θ = {theta:g}"])
            for own, theta in zip(made, self._thetas)
        ]  # fmt: skip
        return Filmstrip(
            frames, labels=[f"theta {theta:g}" for theta in self._thetas], speed=2,
            title=f"Drawn beforehand, {self.chosen}", start=len(frames) // 2,
            alt=f"The picture and what becomes of it, {self.chosen}",
        )  # fmt: skip
