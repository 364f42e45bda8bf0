"""A Markov chain whose transition matrix is edited with sliders, its distribution answering."""

import math
from collections.abc import Mapping

import ipywidgets
import torch
from torch import Tensor

from labkit.lab import plots
from labkit.lab.chain_plot import Graph
from labkit.lab.widgets.canvas import Canvas
from labkit.lab.widgets.picture import Picture
from labkit.markov import Chain

STEP = 0.005  # of the sliders


class ChainEditor(ipywidgets.VBox):
    """Sliders for every entry of P over the transition graph and S_n = S_0 Pⁿ.

        ChainEditor(cat, presets={"never sleeps in": Chain(P, cat.states)}, steps=40)

    Rows stay stochastic: when one entry moves, the others of its row share what is left, in the
    proportions they had. A menu chooses where the walk starts, another one among the presets.
    chain: what the editor starts from, 2 to 4 states; `editor.chain` is what it shows now.
    presets: name -> Chain with the same states. steps: how many steps the right plot shows.
    Raises ValueError for a chain of another size, or presets of other states.
    """

    def __init__(self, chain: Chain, presets: Mapping[str, Chain] | None = None, steps: int = 40):
        n = len(chain.states)
        if not 2 <= n <= 4:
            raise ValueError(
                f"ChainEditor was given a chain of {n} states; give one of 2 to 4, so that its "
                "sliders fit on the screen."
            )
        presets = {"as it was": chain} | dict(presets or {})
        for name, other in presets.items():
            if other.states != chain.states:
                raise ValueError(
                    f"The preset {name!r} has the states {other.states}; give it the states of "
                    f"the chain, {chain.states}."
                )
        self.chain, self.steps, self._guarded = chain, steps, False
        self._hand, self._row = None, None  # the slider moved last, and its row before
        self._canvas, self.picture = Canvas((8.4, 3.6)), Picture()
        self.sliders = [[_entry(chain, i, j) for j in range(n)] for i in range(n)]
        everyone = {name: k for k, name in enumerate(chain.states)} | {"anywhere, evenly": n}
        self.start = ipywidgets.Dropdown(options=everyone, value=0, description="starts in")
        self.preset = ipywidgets.Dropdown(options=presets, value=chain, description="matrix")
        grid = ipywidgets.GridBox(
            [slider for row in self.sliders for slider in row],
            layout={
                "grid_template_columns": f"repeat({n}, minmax(0, 1fr))",
                "width": "100%",
                "max_width": "930px",
            },
        )
        super().__init__([ipywidgets.HBox([self.preset, self.start]), grid, self.picture])
        for i, row in enumerate(self.sliders):
            for j, slider in enumerate(row):
                slider.observe(lambda change, i=i, j=j: self._moved(i, j, change["new"]), "value")
        self.preset.observe(lambda change: self._choose(change["new"]), "value")
        self.start.observe(lambda _change: self._redraw(), "value")
        self._canvas.draw(_draw, chain=chain, rows=self.distributions())
        self._redraw()

    def show(self, chain: Chain) -> None:
        """Make `chain` the one that is shown and edited."""
        self.chain, self._guarded = chain, True  # the sliders follow, they do not lead
        self._redraw()  # first: it is what the eye waits for
        for row, entries in zip(self.sliders, chain.P.tolist(), strict=True):
            for slider, entry in zip(row, entries, strict=True):
                slider.value = _shown(entry)
        self._guarded = False

    def _choose(self, chain: Chain | None) -> None:
        if chain is not None:
            self._hand = None
            self.show(chain)

    def distributions(self) -> Tensor:
        """S_0, …, S_steps, (steps + 1, n), from the start that is chosen."""
        n = len(self.chain.states)
        start = torch.eye(n, dtype=torch.float64)[self.start.value : self.start.value + 1]
        rows = [start[0] if len(start) else torch.full((n,), 1 / n, dtype=torch.float64)]
        for _ in range(self.steps):
            rows.append(rows[-1] @ self.chain.P)
        return torch.stack(rows)

    def _moved(self, i: int, j: int, value: float) -> None:
        if not self._guarded:
            P = self.chain.P.clone()
            if self._hand != (i, j):  # a slider drawn to its end and back finds what it left
                self._hand, self._row = (i, j), P[i].clone()
            P[i] = rescaled(self._row, j, value)
            self.show(Chain(P, self.chain.states))
            self.preset.value = None  # none of the menu's any more, and each can be chosen again

    def _redraw(self) -> None:
        rows = self.distributions()
        self._canvas.update(_draw, chain=self.chain, rows=rows)
        names, here = self.chain.states, rows[-1].tolist()
        shares = ", ".join(f"{name} {share:.3f}" for name, share in zip(names, here, strict=True))
        alt = (
            f"Transition graph of the states {', '.join(names)}, and the probability of each over "
            f"{self.steps} steps, which ends at {shares}: {verdict(self.chain)}."
        )
        self.picture.show(self._canvas.png(fast=True), alt)

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        return live | plots.still(self._canvas.png(), self.picture.alt)


def rescaled(row: Tensor, j: int, value: float) -> Tensor:
    """The row (n,) with entry j set to `value` in [0, 1] and the others scaled to share the rest.

    Where the others are all 0, they share it evenly. All entries come out as multiples of STEP,
    so that the sliders show the row as it is.
    """
    others = torch.ones_like(row) if row.sum() - row[j] < STEP / 2 else row.clone()
    others[j] = 0
    ideal = others / others.sum() * (1 - value) / STEP
    steps = ideal.floor()
    missing = round((1 - value) / STEP) - int(steps.sum())
    steps[(ideal - steps).argsort(descending=True)[:missing]] += 1  # what was cut off most, first
    steps[j] = 0
    steps[j] = round(1 / STEP) - steps.sum()
    return (steps * STEP).round(decimals=6)


def verdict(chain: Chain) -> str:
    """What becomes of the start, in a few words, from the sizes of the eigenvalues."""
    if (many := chain.closed_classes()) > 1:
        return f"{many} groups that are never left; the end depends on the start"
    second = chain.eigenvalues()[1].abs().item()
    if second > 1 - 1e-9:
        return "|λ₂| = 1: periodic, it never settles"
    for n in range(1, len(chain.P)):  # an eigenvalue of 0 may still take several steps
        rows = torch.linalg.matrix_power(chain.P, n)
        if (rows - rows[0]).abs().max() < 1e-9:
            return f"λ₂ = 0: the start is forgotten after {n} step{'s' * (n > 1)}"
    return f"|λ₂| = {second:.3f}: halves every {math.log(0.5) / math.log(second):.1f} steps"


def _shown(entry: float) -> float:
    """The number nearest to `entry` that a slider can show. Given any other, even one that is off
    by the last bit, the browser sends back its own, as if somebody had moved the slider."""
    whole = round(1 / STEP)
    return round(entry * whole) / whole


def _entry(chain: Chain, i: int, j: int) -> ipywidgets.FloatSlider:
    return ipywidgets.FloatSlider(
        value=_shown(chain.P[i, j].item()), min=0, max=1, step=STEP, readout_format=".3f",
        description=f"{chain.states[i]} → {chain.states[j]}",
        style={"description_width": "98px"}, layout={"width": "auto"},
    )  # fmt: skip


def _draw(figure, chain: Chain, rows: Tensor):
    """The graph beside the curves; gives back what brings both to another chain."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.45))
    graph, steps = Graph(left, chain.states), range(len(rows))
    left.set_title(f"P, and where it is at n = {len(rows) - 1}")
    right.set(xlabel="steps n", ylabel="probability", ylim=(-0.02, 1.2))
    title = right.set_title("λ")
    right.set_yticks([0, 0.25, 0.5, 0.75, 1])
    lines = [right.plot(steps, rows[:, k], label=name)[0] for k, name in enumerate(chain.states)]
    goals = [
        right.axhline(0, color=line.get_color(), linewidth=1, linestyle="--") for line in lines
    ]
    right.legend(loc="upper right", ncols=len(lines))

    def update(chain: Chain, rows: Tensor):
        graph.update(chain.P, rows[-1])
        several = chain.closed_classes() > 1
        pi = [math.nan] * len(lines) if several else chain.stationary().tolist()
        for line, goal, share, column in zip(lines, goals, pi, rows.T.numpy(), strict=True):
            line.set_ydata(column)
            goal.set_ydata([share, share])
        title.set_text(verdict(chain))
        return [*graph.artists(), *goals, *lines, title]

    update(chain, rows)
    return update
