"""A cascade as one film: what each of its stages sees and draws, in each of its steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.lab import plots
from labkit.lab.forward_plot import pixels, show_picture
from labkit.lab.widgets.canvas import Canvas
from labkit.lab.widgets.filmstrip import Filmstrip
from labkit.systems.cascade import Cascade
from labkit.systems.imagen import Imagen

SIZE = 8.1, 2.9  # of a frame, in inches


class Frame(NamedTuple):
    """One step of one stage, of the first picture."""

    stage: str
    side: int  # pixels of x
    t: int
    seen: Tensor | None  # (C, S, S) beside x, as the U-Net got it; None: nothing
    x: Tensor  # (C, S, S)
    x0: Tensor  # (C, S, S): the guess


class CascadeFilm(Filmstrip):
    """A slider over all steps of all stages: what the stage sees beside x (the smaller picture,
    enlarged, with the noise of its level), x itself, and the guess at the picture. All is sampled
    once, at the beginning; a still shows each stage in a row.

        CascadeFilm(model, "a red star", steps={"base": 7, "sr64": 4, "sr128": 4}, seed=1)

    model: an `Imagen`, or a `Cascade`. options: of ``model.generate``. Raises what that raises.
    """

    def __init__(self, model: Imagen | Cascade, sentence: str, **options):
        self.film = filmed(model, sentence, **options)
        canvas, frames = Canvas(SIZE), []
        for frame in self.film:
            canvas.update(draw, frame=frame)
            frames.append(canvas.png(fast=True))
        super().__init__(
            frames,
            labels=labels(self.film),
            alt=f"“{sentence}”: what the stage sees beside x, x itself, and the guess",
            title=f"“{sentence}”, step by step",
            start=len(frames) - 1,
            speed=3,
        )
        self._sentence = sentence

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        stages = list(dict.fromkeys(frame.stage for frame in self.film))
        side = max(frame.side for frame in self.film)
        tiles, names = [], []
        for stage in stages:
            own = [frame for frame in self.film if frame.stage == stage]
            seen = own[0].seen if own[0].seen is not None else torch.ones_like(own[0].x)
            shown = seen, *(own[at].x0 for at in (0, len(own) // 2, -1))
            tiles += [F.interpolate(each[None], (side, side))[0] for each in shown]
            names.append(f"{stage}, {own[0].side} × {own[0].side}")
        grid = plots.image_grid(
            torch.stack(tiles), columns=4, rows=names,
            titles=["sees", "first guess", "in the middle", "last guess"],
        )  # fmt: skip
        alt = (
            f"“{self._sentence}”, drawn by {', '.join(names)} pixels: in each row what the stage "
            "sees beside x, and its guess in the first step, in the middle and in the last step"
        )
        return live | plots.still(plots.png(grid), alt)


def labels(film: list[Frame]) -> list[str]:
    """Stage, step and time of each frame."""
    steps: dict[str, int] = {}
    found = []
    for frame in film:
        steps[frame.stage] = number = steps.get(frame.stage, 0) + 1
        count = sum(other.stage == frame.stage for other in film)
        found.append(f"{frame.stage}, step {number} of {count} (t = {frame.t})")
    return found


@contextmanager
def noting_what_is_seen(model: Imagen | Cascade) -> Iterator[dict[str, Tensor]]:
    """Inside it, what each stage's U-Net last got beside x, by name, (B, C, S, S); afterwards
    nothing is left behind."""
    seen: dict[str, Tensor] = {}

    def note(name: str):
        def before(net, given: tuple) -> None:
            _, _, cond = given
            if cond is not None and cond.image is not None:
                seen[name] = cond.image

        return before

    hooks = [
        stage.denoiser.net.register_forward_pre_hook(note(name))
        for name, stage in model.stages.items()
    ]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def filmed(model: Imagen | Cascade, sentence: str, **options) -> list[Frame]:
    """All steps of all stages, for one sentence."""
    film = []
    with noting_what_is_seen(model) as seen:
        for state in model.generate([sentence], **options):
            beside = seen.get(state.stage)
            parts = beside, state.x, state.pictures
            first = [None if part is None else part[0].float().cpu() for part in parts]
            film.append(Frame(state.stage, state.x.shape[-1], state.t, *first))
    return film


def draw(figure, frame: Frame):
    """What is seen, x and the guess, side by side; returns what shows another step or stage."""
    axes = figure.subplots(1, 3)
    shown = [show_picture(axis, frame.x) for axis in axes]
    titles = [axis.set_title("the guess", fontsize=10) for axis in axes]  # room for any words

    def update(frame):
        seen = torch.ones_like(frame.x) if frame.seen is None else frame.seen
        for image, each in zip(shown, (seen, frame.x, frame.x0), strict=True):
            image.set_data(pixels(each))
        size = f"{frame.side} × {frame.side}"
        sees = "sees no picture" if frame.seen is None else f"{frame.stage} sees"
        for title, text in zip(titles, (sees, f"x, {size}", "the guess"), strict=True):
            title.set_text(text)
        return [*shown, *titles]

    update(frame)
    return update
