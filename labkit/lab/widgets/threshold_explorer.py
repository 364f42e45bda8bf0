"""Guidance scales and thresholds, to play with: what they make of a guess, and of the picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import ipywidgets
import torch
from torch import Tensor

from labkit import devices
from labkit.conditioning import Conditioning
from labkit.denoiser import MapX0, clip, dynamic_threshold
from labkit.guidance import ClassifierFree
from labkit.inputs import whole_number
from labkit.lab import plots
from labkit.lab.forward_plot import pixels, show_picture
from labkit.lab.widgets.redraw import Redraw
from labkit.sampler import ddim, sample
from labkit.systems.imagen_stage import ImagenStage, embeddings, silence

EDGE = 3.05  # of the histogram; what lies beyond is counted in its outer bars
BARS = 61  # 0.1 wide, so that ±1 are in the middle of theirs
LEAST = 2e-4  # share of the numbers at which the histogram begins
SATURATED = 1 - 1 / 255  # beyond it a file's byte has its first or last value


class Walks(NamedTuple):
    """Sampling by R thresholds and S scales, from one noise; N steps."""

    before: Tensor  # (R, S, N, C, H, W): the guided guesses at x0
    after: Tensor  # (R, S, N, C, H, W): the same after the threshold
    final: Tensor  # (R, S, C, H, W)


class ThresholdExplorer(Redraw):
    """Sliders over the guidance scale, the threshold and the step: the guess after the threshold,
    the picture at the end, and how the numbers of the guess spread before and after the threshold;
    below, how many of them are at ±1 or beyond. All is sampled once, at the beginning and from one
    noise, without noise in the steps; a still shows every scale and threshold.

        ThresholdExplorer(model.stages["base"], model.encode("a red star"), scales=(1, 3, 10))

    stage: an `ImagenStage` that sees no smaller picture. text: embeddings of one sentence. p: of
    the dynamic thresholds. seed: of the noise.
    Raises ValueError for more than one sentence, fewer than two scales, fewer than two steps, and
    for a stage that makes pictures larger.
    """

    def __init__(
        self,
        stage: ImagenStage,
        text: Conditioning,
        scales: Sequence[float] = (1, 3, 5, 10),
        p: Sequence[float] = (0.95, 0.995),
        steps: int = 12,
        seed: int = 1,
    ):
        steps, rules = whole_number(steps, "the number of steps", 2), thresholds(p)
        if len(scales) < 2:
            raise ValueError(f"there are {len(scales)} scales; give two or more")
        self._scales, self._rules = [f"{scale:g}" for scale in scales], list(rules)
        self._walks = walked(stage, text, scales, rules, steps, seed)
        super().__init__(
            self._figure,
            alt=self._says,
            size=(8.1, 3.1),
            labels={"scale": "guidance scale"},
            scale=ipywidgets.SelectionSlider(options=self._scales, value=self._scales[-1]),
            threshold=ipywidgets.SelectionSlider(options=self._rules, value=self._rules[0]),
            step=ipywidgets.IntSlider(-(-steps // 3), 1, steps),
        )

    def _of(self, scale: str, threshold: str) -> tuple[int, int]:
        return self._rules.index(threshold), self._scales.index(scale)

    def _figure(self, figure, scale: str, threshold: str, step: int):
        left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.5))
        blank = torch.zeros_like(self._walks.final[0, 0])
        guess, final = show_picture(left, blank), show_picture(middle, blank, "at the end")
        title = left.set_title(" ")
        edges = torch.linspace(-EDGE, EDGE, BARS + 1).numpy()
        flat = [LEAST] * BARS
        first = right.stairs(flat, edges, baseline=LEAST, fill=True, color="#BBBBBB")
        second = right.stairs(flat, edges, baseline=LEAST, color=plots.BLUE, linewidth=1.5)
        first.set_label("before"), second.set_label("after the threshold")
        for x in (-1, 1):
            right.axvline(x, color=plots.VERMILLION, linewidth=1, linestyle="--")
        right.set(yscale="log", ylim=(LEAST, 1.5), xlim=(-EDGE, EDGE), xlabel="value in the guess")
        right.set_title("share of its numbers", fontsize=10)
        right.legend(loc="upper right", fontsize=8, ncols=2)
        lines = figure.text(0.01, 0.01, "\n", fontsize=10, va="bottom")
        figure.get_layout_engine().set(rect=(0, 0.14, 1, 0.86))

        def update(scale, threshold, step):
            at = self._of(scale, threshold)
            before, after = (part[at][step - 1] for part in self._walks[:2])
            guess.set_data(pixels(after))
            final.set_data(pixels(self._walks.final[at]))
            title.set_text(f"guess, step {step}")
            first.set_data(bars(before).numpy())
            second.set_data(bars(after).numpy())
            lines.set_text(self._lines(scale, threshold, step))
            return [guess, final, title, first, second, lines]

        update(scale, threshold, step)
        return update

    def _lines(self, scale: str, threshold: str, step: int) -> str:
        at = self._of(scale, threshold)
        before, after = (part[at][step - 1] for part in self._walks[:2])
        return (
            f"at ±1 or beyond: {saturation(before):.1%} of the guess before the threshold (largest "
            f"{before.abs().max():.2f}), {saturation(after):.1%} after it (largest "
            f"{after.abs().max():.2f});\nof the picture at the end "
            f"{saturation(self._walks.final[at]):.1%}"
        )

    def _says(self, scale: str, threshold: str, step: int) -> str:
        lines = self._lines(scale, threshold, step).replace("\n", " ")
        return (
            f"Guidance scale {scale}, threshold {threshold}, step {step} of "
            f"{self._walks.before.shape[2]}: the guess, the picture at the end, and a histogram of "
            f"the guess before and after the threshold. {lines}"
        )

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        grid = plots.image_grid(
            self._walks.final.flatten(0, 1),
            columns=len(self._scales),
            titles=[f"scale {scale}" for scale in self._scales],
            rows=self._rules,
        )
        said = [
            f"{rule}, scale {scale}: {saturation(self._walks.final[self._of(scale, rule)]):.0%}"
            for rule in self._rules
            for scale in self._scales
        ]
        alt = (
            "The picture at the end for each threshold (rows) and guidance scale (columns), and "
            f"how much of it is at ±1 or beyond. {'; '.join(said)}"
        )
        return live | plots.still(plots.png(grid), alt)


def thresholds(p: Sequence[float]) -> dict[str, Callable[[Tensor], Tensor]]:
    """No threshold, the static one, and a dynamic one for each p, by name."""
    dynamic = {f"dynamic, p = {100 * each:g} %": dynamic_threshold(each) for each in p}
    return {"none": lambda x0: x0, "static": clip} | dynamic


def saturation(x0: Tensor) -> float:
    """The share of all numbers that are at ±1 or beyond."""
    return (x0.abs() > SATURATED).double().mean().item()


def bars(x0: Tensor) -> Tensor:
    """The histogram: shares of all numbers, (BARS,), not below `LEAST`, where the axis begins."""
    counts = torch.histc(x0.clamp(-EDGE, EDGE), BARS, -EDGE, EDGE)
    return (counts / x0.numel()).clamp(min=LEAST)


@torch.no_grad()
def walked(
    stage: ImagenStage,
    text: Conditioning,
    scales: Sequence[float],
    rules: dict[str, Callable[[Tensor], Tensor]],
    steps: int,
    seed: int,
) -> Walks:
    """Every rule at every scale from the same noise, in one batch."""
    net, rows = stage.config.net, len(rules) * len(scales)
    text = embeddings(text, net.tokens)
    if len(text.tokens) != 1:
        raise ValueError(f"text has {len(text.tokens)} sentences, but one is to be explored")
    if stage.config.upsamples is not None:
        raise ValueError(
            f"this stage makes pictures of {stage.config.upsamples} pixels larger; give the base"
        )
    before, after, placed = [], [], devices.placed(stage)

    def each_its_own(x0: Tensor) -> Tensor:
        parts = x0.chunk(len(rules))
        found = torch.cat([rule(part) for rule, part in zip(rules.values(), parts, strict=True)])
        before.append(x0), after.append(found)
        return found

    text = text.rows(rows)
    null = stage.condition(silence(text))
    scale = torch.tensor(scales, dtype=torch.float32).repeat(len(rules))
    denoise = MapX0(ClassifierFree(stage.denoiser, null, scale), each_its_own)
    noise = torch.randn(
        1, net.channels, net.size, net.size, generator=torch.Generator().manual_seed(seed)
    )
    x = noise.to(**placed).expand(rows, -1, -1, -1)
    times = stage.denoiser.schedule.timesteps(steps)
    *_, last = sample(denoise, x, times, stage.condition(text), step=ddim)
    both = (torch.stack(each, 1).float().cpu() for each in (before, after))  # (rows, steps, …)
    split = (len(rules), len(scales))
    return Walks(
        *(each.unflatten(0, split) for each in both), last.x.float().cpu().unflatten(0, split)
    )
