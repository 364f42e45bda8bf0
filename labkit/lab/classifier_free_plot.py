"""The drawings of lesson 06: two predictions and their difference, and what a scale changes."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor, tensor

from labkit.lab import plots


def predictions(panels: dict[str, Tensor], signed: str) -> Figure:
    """Pictures (1, 1, H, W) side by side; `signed` names the one that is drawn around zero."""
    figure, axes = plots.subplots(1, len(panels), size=(10, 2.5))
    for each, (name, picture) in zip(axes, panels.items(), strict=True):
        cmap = "PuOr" if name == signed else "gray"
        each.imshow(picture[0, 0], cmap=cmap, vmin=-1, vmax=1)
        each.set(title=name, xticks=[], yticks=[])
    return figure


def extrapolation(eps_u: Tensor, eps_c: Tensor, scale: float) -> Figure:
    """The arrow from eps_u (2,) to eps_c (2,), and on to the guided prediction."""
    guided = eps_u + scale * (eps_c - eps_u)
    figure, axes = plots.subplots(size=(7, 3.2))
    for start, stop, color in ((eps_c, guided, plots.VERMILLION), (eps_u, eps_c, plots.BLUE)):
        arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 2, "mutation_scale": 18}
        axes.annotate("", stop.tolist(), xytext=start.tolist(), arrowprops=arrow)
    marks = {"ε_u, scale 0": eps_u, "ε_c, scale 1": eps_c, f"guided, scale {scale:g}": guided}
    for (name, point), color in zip(marks.items(), (plots.BLACK, plots.BLUE, plots.VERMILLION)):
        axes.plot(*point, "o", color=color, markersize=5)
        axes.annotate(name, point.tolist(), xytext=(12, -2), textcoords="offset points")
    axes.set(xlabel="first number of ε", ylabel="second number of ε")
    axes.margins(x=0.3, y=0.15)
    axes.set_title("Guidance goes on along a straight line")
    return figure


def training(figure: Figure, losses: Sequence[float], title: str, window: int = 25) -> None:
    """The loss of a training, each mean at the middle of its window."""
    axes = figure.subplots()
    whole = len(losses) // window
    means = tensor(losses[: whole * window]).view(whole, window).mean(1)
    axes.plot(window * (0.5 + tensor(range(whole))), means, color=plots.BLUE)
    axes.set(title=title, xlabel="training step", ylabel=f"loss, mean of {window}")


def against_scale(
    scales: Sequence[float], columns: dict[str, tuple[Tensor, float | None]]
) -> Figure:
    """A panel for each name: (runs (scales, seeds), floor or None). The scales stand at equal
    distances, since those that matter lie close together; the first panel is logarithmic."""
    figure, axes = plots.subplots(1, len(columns), size=(10, 3))
    places = range(len(scales))
    for each, (name, (runs, floor)) in zip(axes, columns.items(), strict=True):
        each.errorbar(places, runs.mean(1), runs.std(1), fmt="o-", capsize=3, markersize=4)
        if floor is not None:
            each.axhline(floor, linestyle=":", color=plots.BLACK, linewidth=1)
        each.set_xticks(places, [f"{scale:g}" for scale in scales], fontsize=7)
        each.set(title=name, xlabel="scale")
    axes[0].set_yscale("log")
    ticks = [0.002, 0.005, 0.01, 0.02, 0.05]
    axes[0].set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes[0].minorticks_off()
    return figure


def clouds(data: Tensor, samples: dict[str, Tensor], right: str) -> Figure:
    """Samples (N, 2), a panel for each name, over the data in gray; `right` names the blue ones.
    More than four panels stand in two rows."""
    rows = 1 if len(samples) <= 4 else 2
    columns = -(-len(samples) // rows)
    figure, axes = plots.subplots(
        rows, columns, size=(10, 3.1 if rows == 1 else 8), sharex=True, sharey=True
    )
    for each, (name, points) in zip(axes.flat, samples.items()):
        each.scatter(*data.T, s=3, color="#DDDDDD")
        each.scatter(*points.T, s=3, color=plots.BLUE if name == right else plots.VERMILLION)
        each.set(aspect="equal", xlim=(-3, 4.2), ylim=(-2.4, 6))
        each.set_title(name, fontsize=9)
    return figure
