"""A text-to-image model to play with: a sentence, the scale, the number of steps, and a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import ipywidgets

from labkit.inputs import whole_number
from labkit.lab import plots
from labkit.lab.widgets.explorer import Explorer
from labkit.lab.widgets.filmstrip import Filmstrip
from labkit.sampler import State

Generate = Callable[..., Iterator[State]]  # as `labkit.systems.glide.GLIDE.generate`


class PromptExplorer(Explorer):
    """Above, a strip of scales for one sentence, sampled beforehand and flipped in the browser;
    below, a sentence to type, another to be led away from, scale, steps and seed, sampled when the
    button is pressed, with a bar that shows how far it is.

        PromptExplorer(model.generate, ["a red star", "two moons"], scales=(1, 3, 6))

    generate: `generate(prompts, scale=…, steps=…, seed=…, negative=…)` → states, such as that of a
        GLIDE or of a cascade; what it cannot read it refuses with a ValueError, which is shown.
    sentences: to choose from; others may be typed. The strip is of the first.
    scales: of the strip; also the ends of the slider. steps: at first. columns: pictures side by
    side, from the same seed; a column keeps its noise. seed: of the strip.
    Raises ValueError for no sentence, fewer than two scales, or fewer than one column.
    """

    def __init__(
        self,
        generate: Generate,
        sentences: Sequence[str],
        scales: Sequence[float] = (1, 3, 6),
        steps: int = 25,
        columns: int = 4,
        seed: int = 0,
    ):
        if not sentences or isinstance(sentences, str) or len(scales) < 2:
            raise ValueError(
                "PromptExplorer was given no list of sentences, or fewer than two scales; give at "
                "least one sentence, and two scales."
            )
        self._generate, self._columns = generate, whole_number(columns, "columns", 1)
        wide = {"layout": {"width": "420px"}, "continuous_update": False}
        self.sentence = ipywidgets.Combobox(
            value=sentences[0], options=list(sentences), description="sentence",
            ensure_option=False, **wide,
        )  # fmt: skip
        self.negative = ipywidgets.Text("", description="not this", placeholder="(empty)", **wide)
        self.scale = ipywidgets.FloatSlider(
            value=sorted(scales)[len(scales) // 2], min=min(scales), max=max(scales), step=0.5,
            description="scale", continuous_update=False,
        )  # fmt: skip
        self.steps = ipywidgets.IntSlider(
            value=steps, min=5, max=max(50, steps), description="steps", continuous_update=False
        )
        strip = self._film(sentences[0], list(scales), steps, seed)
        super().__init__(strip, [[self.sentence, self.negative], [self.scale, self.steps]])

    @property
    def chosen(self) -> str:
        away = f", not “{self.negative.value}”" if self.negative.value.strip() else ""
        how = f"scale {self.scale.value:g}, {self.steps.value} steps, seed {self.seed.value}"
        return f"“{self.sentence.value}”{away}: {how}"

    def states(self) -> Iterator[State]:
        return self._generate(
            [self.sentence.value] * self._columns,
            scale=self.scale.value,
            steps=self.steps.value,
            seed=self.seed.value,
            negative=self.negative.value if self.negative.value.strip() else None,
        )

    def _film(self, sentence: str, scales: list[float], steps: int, seed: int) -> Filmstrip:
        """One sentence at every scale, from the same noises."""
        frames = []
        for scale in scales:
            prompts = [sentence] * self._columns
            *_, last = self._generate(prompts, scale=scale, steps=steps, seed=seed, negative=None)
            frames.append(plots.image_grid(last.x, columns=self._columns))
        return Filmstrip(
            frames, labels=[f"scale {scale:g}" for scale in scales], speed=2,
            title=f"Sampled beforehand: “{sentence}”", start=len(scales) // 2,
            alt=f"{self._columns} pictures, one per noise, of “{sentence}”",
        )  # fmt: skip
