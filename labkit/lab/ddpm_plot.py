"""The drawings of lesson 03: a U-Net with the shapes it really has, and one step back in time."""

from typing import NamedTuple

import torch
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

    part: (
        str  # "conv_in", "down", "middle", "up", "conv_out", or "picture" for what goes in and out
    )
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
    gray lines are the maps that are kept on the way down and joined on the way up."""
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


def reverse_law(
    data: GaussianMixture, schedule: NoiseSchedule, t: int, s: int, x_t: float, grid: Tensor
) -> Tensor:
    """q(x_s | x_t) of data in 1-D by Bayes on an even grid (N,): a density (N,), float64."""
    alpha = (schedule.alpha_bar[t] / schedule.alpha_bar[s]).item()
    came_from = data.diffused(schedule, s) if s else data
    log_likelihood = -((x_t - alpha**0.5 * grid) ** 2) / (2 * (1 - alpha))
    share = (came_from.log_prob(grid[:, None]) + log_likelihood).softmax(0)
    return share / (grid[1] - grid[0])


def moments(density: Tensor, grid: Tensor) -> tuple[float, float]:
    """Mean and variance of a density on an even grid."""
    share = density * (grid[1] - grid[0])
    mean = (share * grid).sum()
    return mean.item(), (share * (grid - mean) ** 2).sum().item()


def draw_step_back(
    figure, data: GaussianMixture, schedule: NoiseSchedule, t: int, steps: int, x_t: float
):
    """q(x_s | x_t) with s = t − steps, against the Gaussian of the same mean and variance.

    Gives back what a Redraw needs to move it: update(**values).
    """
    grid = torch.linspace(-3, 3, 1201, dtype=torch.float64)
    axes, places = figure.subplots(), grid.numpy()
    empty = 0 * places
    prior = axes.fill_between(places, empty, color="#DDDDDD")
    (exact,) = axes.plot(places, empty, color=plots.BLUE, label="q(x_s | x_t), exact")
    (bell,) = axes.plot(
        places, empty, "--", color=plots.VERMILLION, label="the best Gaussian: same mean, variance"
    )
    (here,) = axes.plot([0], [0], "^", color=plots.BLACK, markersize=9, clip_on=False, label="x_t")
    axes.set(xlim=(-3, 3), ylim=(0, 1.25), xlabel="x_s", yticks=[])
    axes.set_ylabel("density (scaled)")
    axes.legend(loc="upper left")
    title = axes.set_title("x")

    def update(t, steps, x_t):
        s = max(0, t - steps)
        density = reverse_law(data, schedule, t, s, x_t, grid)
        mean, variance = moments(density, grid)
        gauss = torch.exp(-((grid - mean) ** 2) / (2 * variance)) / (2 * torch.pi * variance) ** 0.5
        gap = 0.5 * (density - gauss).abs().sum().item() * (grid[1] - grid[0]).item()
        height = max(density.max(), gauss.max())
        # As arrays: matplotlib looks into each point of a tensor, which takes as long as the rest.
        exact.set_ydata((density / height).numpy())
        bell.set_ydata((gauss / height).numpy())
        marginal = data.diffused(schedule, s) if s else data
        marginal = marginal.log_prob(grid[:, None]).exp()
        prior.set_data(places, empty, (0.8 * marginal / marginal.max()).numpy())
        here.set_xdata([x_t])
        title.set_text(
            f"from t = {t} back to s = {s}: {gap:.1%} of the probability is in the wrong place"
        )
        return [prior, exact, bell, here, title]

    update(t, steps, x_t)
    return update
