"""The figures of lesson 03: a U-Net with the shapes it really has, one step back in time, scores,
losses and errors. A function that draws all of a figure gives it back, for `plots.show`."""

from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from labkit.lab import plots
from labkit.mixture import GaussianMixture
from labkit.nets.attention import PixelAttention
from labkit.nets.layers import Downsample, Upsample
from labkit.nets.unet import UNet
from labkit.schedule import NoiseSchedule


class FeatureMap(NamedTuple):
    """What one part of a network gave when a picture went through."""

    part: str  # conv_in, down, middle, up, conv_out, or picture for what goes in and out
    channels: int
    size: int  # the side where the part worked; a part that doubles ends with twice as much
    attends: bool = False
    doubles: bool = False


def feature_maps(net: UNet, x: Tensor) -> list[FeatureMap]:
    """Sends a batch through the network and writes down every part's own output, by hooks."""
    seen, handles = [FeatureMap("picture", *x.shape[1:3])], []

    def listen(part, module, layers=()):
        kinds = {type(layer) for layer in layers}

        def write(_module, _inputs, output):
            doubles = Upsample in kinds or part == "up" and output.shape[2] > _inputs[0].shape[2]
            size = output.shape[2] // (2 if doubles else 1)
            seen.append(FeatureMap(part, output.shape[1], size, PixelAttention in kinds, doubles))

        handles.append(module.register_forward_hook(write))

    listen("conv_in", net.conv_in)
    for part, modules in (("down", net.down), ("middle", [net.middle]), ("up", net.up)):
        for module in modules:
            halves = part == "down" and any(isinstance(layer, Downsample) for layer in module)
            listen("halve" if halves else part, module, module)
    listen("conv_out", net.conv_out)
    with torch.no_grad():
        out = net(x, torch.ones(len(x), dtype=torch.long, device=x.device))
    for handle in handles:
        handle.remove()
    return [*seen, FeatureMap("picture", *out.shape[1:3])]


FILL = {
    "picture": "#DDDDDD", "conv_in": plots.YELLOW, "conv_out": plots.YELLOW, "down": plots.SKY,
    "up": plots.SKY, "middle": plots.ORANGE, "halve": plots.GREEN,
}  # fmt: skip


def draw_unet(axes, maps: list[FeatureMap], title: str = "") -> None:
    """The maps from left to right, the finest level on top, each with its number of channels;
    gray lines lead from the encoder's maps to the decoder's, where they are concatenated."""
    sizes = sorted({each.size for each in maps}, reverse=True)
    tall = {size: 0.86 - 0.5 * level / max(1, len(sizes) - 1) for level, size in enumerate(sizes)}
    middle = {size: -level for level, size in enumerate(sizes)}
    skips = [i for i, each in enumerate(maps) if each.part in ("conv_in", "down", "halve")]
    for i, each in enumerate(maps):
        y, height = middle[each.size], tall[each.size]
        if each.part == "up":
            source = skips.pop()
            below = sum(maps[other].size == each.size for other in skips)  # lines still to come
            lift = y + 0.5 * height + 0.03 + 0.035 * (2 - min(below, 2))
            axes.plot([source, source, i, i], [y, lift, lift, y], color="#BBBBBB", lw=1, zorder=0)
        color = plots.ORANGE if each.attends else FILL[each.part]
        corner = (i - 0.36, y - height / 2)
        axes.add_patch(Rectangle(corner, 0.72, height, facecolor=color, edgecolor="black", lw=0.6))
        axes.text(i, y, each.channels, rotation=90, ha="center", va="center", fontsize=8)
        if each.doubles:
            axes.text(i + 0.4, y + 0.42 * height, "↑", ha="left", va="center", fontsize=11)
    for size in sizes:
        axes.text(-1.0, middle[size], f"{size} × {size}", ha="right", va="center", fontsize=9)
    axes.set(xlim=(-3.4, len(maps)), ylim=(-len(sizes) + 0.4, 0.6), title=title)
    axes.axis("off")


def key(axes) -> None:
    """What the colors of `draw_unet` mean."""
    names = {
        "picture in, answer out": FILL["picture"], "convolution": FILL["conv_in"],
        "residual block": FILL["down"], "with attention": FILL["middle"],
        "half the size (↑: twice)": FILL["halve"],
    }  # fmt: skip
    boxes = [
        Rectangle((0, 0), 1, 1, facecolor=c, edgecolor="black", lw=0.6) for c in names.values()
    ]
    axes.legend(boxes, names, loc="lower center", ncols=len(names), fontsize=9, columnspacing=1.2)


def reverse_density(
    data: GaussianMixture, schedule: NoiseSchedule, t: int, s: int, x_t: float, grid: Tensor
) -> Tensor:
    """q(x_s | x_t) of data in 1-D by Bayes on an even grid (N,): a density (N,), float64."""
    alpha = (schedule.alpha_bar[t] / schedule.alpha_bar[s]).item()
    came_from = data.diffused(schedule, s) if s else data
    led_to = -((x_t - alpha**0.5 * grid) ** 2) / (2 * (1 - alpha))
    share = (came_from.log_prob(grid[:, None]) + led_to).softmax(0)
    return share / (grid[1] - grid[0])


def moments(density: Tensor, grid: Tensor) -> tuple[float, float]:
    """Mean and variance of a density on an even grid."""
    share = density * (grid[1] - grid[0])
    mean = (share * grid).sum()
    return mean.item(), (share * (grid - mean) ** 2).sum().item()


def gaussian(density: Tensor, grid: Tensor) -> Tensor:
    """The Gaussian density (N,) of the same mean and variance."""
    mean, variance = moments(density, grid)
    return torch.exp(-((grid - mean) ** 2) / (2 * variance)) / (2 * torch.pi * variance) ** 0.5


def misplaced(density: Tensor, grid: Tensor) -> float:
    """The total variation distance between the density and this Gaussian, 0 … 1."""
    return 0.5 * (density - gaussian(density, grid)).abs().sum().item() * (grid[1] - grid[0]).item()


def draw_step_back(
    figure, data: GaussianMixture, schedule: NoiseSchedule, t: int, steps: int, x_t: float
):
    """q(x_s | x_t) with s = t − steps, against the Gaussian of the same mean and variance.

    Gives back what a Redraw needs to move it: update(**values).
    """
    grid = torch.linspace(-6, 6, 4801, dtype=torch.float64)  # wide enough for pure noise
    axes, places = figure.subplots(), grid.numpy()
    empty = 0 * places
    prior = axes.fill_between(places, empty, color="#DDDDDD")
    (exact,) = axes.plot(places, empty, color=plots.BLUE, label="q(x_s | x_t), exact")
    (bell,) = axes.plot(
        places, empty, "--", color=plots.VERMILLION, label="the best Gaussian: same mean, variance"
    )
    (here,) = axes.plot([0], [0], "^", color=plots.BLACK, markersize=9, clip_on=False, label="x_t")
    axes.set(xlim=(-3, 3), ylim=(0, 1.25), xlabel="x_s", ylabel="density (scaled)", yticks=[])
    axes.legend(loc="upper left")
    title = axes.set_title("x")

    def update(t, steps, x_t):
        s = max(0, t - steps)
        density = reverse_density(data, schedule, t, s, x_t, grid)
        gauss = gaussian(density, grid)
        height = max(density.max(), gauss.max())
        # As arrays: matplotlib looks into each point of a tensor, which takes as long as the rest.
        exact.set_ydata((density / height).numpy())
        bell.set_ydata((gauss / height).numpy())
        marginal = data.diffused(schedule, s) if s else data
        marginal = marginal.log_prob(grid[:, None]).exp()
        prior.set_data(places, empty, (0.8 * marginal / marginal.max()).numpy())
        here.set_xdata([x_t])
        title.set_text(
            f"from t = {t} back to s = {s}: total variation distance {misplaced(density, grid):.4f}"
        )
        return [prior, exact, bell, here, title]

    update(t, steps, x_t)
    return update


def densities(grid: Tensor, log_densities: dict[str, Tensor], title: str) -> Figure:
    """Densities on an even grid (N,), each given by its logarithm (N,), except for a constant."""
    figure, axes = plots.subplots(size=(8, 2.8))
    for name, log_density in log_densities.items():
        density = log_density.softmax(0) / (grid[1] - grid[0])
        axes.plot(grid[::100], density[::100], label=name)
    axes.set(xlim=(-2.5, 2.5), xlabel="x_s", ylabel="density", title=title)
    axes.legend()
    return figure


def weights_of_times(weights: Tensor) -> Figure:
    """The bound's weight (T+1,) of an error at each t ≥ 2, its share up to t, and L_simple's."""
    T = len(weights) - 1
    figure, (left, right) = plots.subplots(1, 2, size=(10, 3.2))
    of = weights[2:]
    left.semilogy(range(2, T + 1), of / of.mean(), label="the bound, σ² = β̃")
    left.semilogy([2, T], [1, 1], label="L_simple")
    title = "Weight of an error in ε, linear schedule"
    left.set(xlabel="time t", ylabel="weight, over its mean", title=title)
    left.legend()
    right.plot(range(2, T + 1), of.cumsum(0) / of.sum(), label="the bound")
    right.plot([1, T], [0, 1], label="L_simple")
    right.set(xlabel="time t", ylabel="share of all weight", title="Share of the weight up to t")
    return figure


def scores(data: GaussianMixture, schedule: NoiseSchedule, times: list[int]) -> Figure:
    """The density of data in 1-D at several times, and its score below it."""
    figure, axes = plots.subplots(2, 1, size=(8, 4.4), sharex=True)
    x = torch.linspace(-2.5, 2.5, 501, dtype=torch.float64)[:, None]
    for t in times:
        noisy = data.diffused(schedule, t)
        axes[0].plot(x, noisy.log_prob(x).exp(), label=f"t = {t}")
        axes[1].plot(x, noisy.score(x), label=f"t = {t}")
    axes[1].axhline(0, color=plots.BLACK, linewidth=1)
    axes[0].set(ylabel="density", title="How likely x_t is")
    axes[1].set(
        xlabel="x_t",
        ylabel="score",
        ylim=(-10, 10),
        title="The score: the slope of the log-density",
    )
    axes[0].legend()
    return figure


def time_embedding(waves: Tensor) -> Figure:
    """The entries of the time embedding (T, D), a row for each."""
    figure, axes = plots.subplots(size=(8, 2.6))
    times, entries = waves.shape
    image = axes.imshow(waves.T.numpy(), aspect="auto", cmap="PuOr", extent=(1, times, entries, 0))
    figure.colorbar(image, ax=axes, label="value")
    axes.set(xlabel="time t", ylabel="entry", title="The time, as the network receives it")
    return figure


def decided(times: list[int], shares: list[float]) -> Figure:
    """The share of samples whose class is already the final one, over time."""
    figure, axes = plots.subplots(size=(8, 2.6))
    axes.plot(times, shares, "o-", markersize=4)
    axes.set(xlabel="time t", ylabel="share", ylim=(0, 1.03), title="Samples in their final class")
    axes.invert_xaxis()  # sampling goes from T to 0
    return figure


def draw_training(figure: Figure, seen: list, updates: int, levels: dict[str, float]) -> None:
    """Losses (update, mean loss, samples) as they come, beside the latest samples; `levels` are
    losses to compare with, drawn as lines."""
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.1])
    at, losses = [each[0] for each in seen], [each[1] for each in seen]
    left.semilogy(at, losses, "o-", markersize=4)
    for (name, level), color in zip(levels.items(), plots.COLORS[1:], strict=False):
        left.axhline(level, color=color, linewidth=1.5, linestyle="--", label=name)
    left.set(xlim=(0, updates), ylim=(0.05, 1.1), xlabel="update", ylabel="L_simple")
    left.set_yticks([0.05, 0.1, 0.2, 0.5, 1], ["0.05", "0.1", "0.2", "0.5", "1"])
    left.set_title(f"loss {losses[-1]:.4f}")
    left.legend(loc="upper right")
    tiles = seen[-1][2].clamp(-1, 1).view(2, 8, 16, 16).movedim(2, 1).reshape(32, 128)
    right.imshow(tiles.numpy(), vmin=-1, vmax=1)
    right.set_title("16 samples")
    right.axis("off")


def errors_over_time(times: list[int], errors: dict[str, Tensor], views: tuple) -> Figure:
    """Mean and range over trainings of squared errors, for each kind (views, trainings, times)."""
    figure, axes = plots.subplots(1, len(views), size=(10, 3.4))
    for color, (name, curves) in zip(plots.COLORS, errors.items(), strict=False):
        for each, view in zip(axes, curves, strict=True):
            each.semilogy(times, view.mean(0), color=color, label=name)
            low, high = view.amin(0), view.amax(0)
            each.fill_between(times, low, high, color=color, alpha=0.25, linewidth=0)
    for each, view in zip(axes, views, strict=True):
        each.set(xlabel="time t", ylabel="squared error", title=f"Error in {view}")
    axes[0].legend(title="the network predicts")
    return figure


def clouds(points: dict[str, Tensor], reach: float) -> Figure:
    """Clouds of points (N, 2), each in a square of its own from −reach to reach."""
    figure, axes = plots.subplots(1, len(points), size=(10, 1.9))
    for each, (name, cloud) in zip(axes, points.items(), strict=True):
        each.scatter(*cloud.T, s=1, color=plots.BLUE)
        each.set(xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[], aspect="equal")
        each.set_title(name, fontsize=9)
    return figure


def chosen_fractions(times: Tensor, fractions: Tensor) -> Figure:
    """Median and range of the fraction v over pixels; fractions: (times, pixels)."""
    figure, axes = plots.subplots(size=(8, 2.8))
    low, middle, high = fractions.quantile(torch.tensor([0.05, 0.5, 0.95]), dim=1)
    axes.fill_between(times, low, high, color=plots.SKY, alpha=0.5, label="90 % of the pixels")
    axes.plot(times, middle, label="median")
    axes.set(xlabel="time t", ylabel="v", title="0 is β̃ (fixed small), 1 is β (fixed large)")
    axes.legend()
    return figure


def bits_added_up(bounds: dict[str, Tensor], mark: int) -> Figure:
    """What the steps 1 … t cost together, each bound (T+1,) in bits, 0 where not evaluated."""
    figure, axes = plots.subplots(size=(8, 3))
    for name, each in bounds.items():
        at = each.nonzero()[:, 0]  # the times that were evaluated
        axes.semilogx(at, each[at].cumsum(0), label=name)
    axes.axvline(mark, color=plots.BLACK, linewidth=1, linestyle=":")
    title = f"What the steps from 1 to t cost together (dotted: t = {mark})"
    axes.set(xlabel="time t", ylabel="bits per dimension", ylim=(0, 4), title=title)
    axes.legend(loc="lower right")
    return figure
