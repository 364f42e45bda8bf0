"""The drawings of lessons 00 and 02: the forward process on pictures and on points."""

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from labkit.lab import plots
from labkit.lab.widgets.canvas import Canvas
from labkit.schedule import NoiseSchedule, linear


def normal(like: Tensor, seed: int = 0) -> Tensor:
    """Noise of the shape of `like`; one seed gives one noise, so that films do not flicker."""
    return torch.randn(like.shape, generator=torch.Generator().manual_seed(seed))


def pixels(image: Tensor) -> np.ndarray:
    """A picture (C, H, W) in [-1, 1], C = 1 or 3, as matplotlib wants it: (H, W, 3) in [0, 1]."""
    return ((image.detach().cpu().clamp(-1, 1) + 1) / 2).expand(3, -1, -1).movedim(0, -1).numpy()


def show_picture(axes, image: Tensor, title: str = ""):
    """A picture (C, H, W) in [-1, 1], C = 1 or 3, without ticks."""
    axes.set(xticks=[], yticks=[], title=title)
    axes.spines[:].set_visible(False)
    axes.grid(False)
    return axes.imshow(pixels(image))


def show_sizes(axes, noised: dict[int, Tensor], titles: dict[int, str], size: int = 32) -> None:
    """Two rows of axes. Above, pictures (C, H, W) of several sizes, by size. Below, the same after
    averaging to size × size pixels, divided by their spread so that their contrast is the same."""
    for column, (each, image) in enumerate(noised.items()):
        show_picture(axes[0, column], image, titles[each])
        small = avg_pool2d(image, each // size)
        show_picture(axes[1, column], small / small.square().mean().sqrt())
    axes[1, 0].set_ylabel(f"averaged to {size} × {size}")


def scatter(axes, points: Tensor, title: str = "", colors=plots.BLUE, size: float = 2):
    """Points (N, 2) in a fixed frame without ticks, so that frames of a film can be compared."""
    axes.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), xticks=[], yticks=[], aspect="equal", title=title)
    axes.spines[:].set(visible=True, color="#CCCCCC")
    return axes.scatter(*points.detach().cpu().T.numpy(), s=size, c=colors, linewidths=0)


def draw_arc(figure, schedules: dict[str, NoiseSchedule], image: Tensor, eps: Tensor) -> None:
    """The quarter circle of signal and noise with a triangle in it, the speed of two schedules
    (a dot for every tenth of the time), and the picture (C, H, W) at six angles."""
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.35])
    arc = torch.linspace(0, math.pi / 2, 100)
    for radius, (name, each), color in zip((1, 1.09), schedules.items(), plots.COLORS):
        signal, noise = each.alpha_bar.sqrt(), (1 - each.alpha_bar).sqrt()
        tenth = each.T // 10
        left.plot(radius * arc.cos(), radius * arc.sin(), color="#BBBBBB", linewidth=1)
        left.plot(radius * signal[::tenth], radius * noise[::tenth], "o", color=color, label=name)
    left.fill([0, 0.8, 0.8], [0, 0, 0.6], color=plots.ORANGE, alpha=0.4)
    left.text(0.4, 0.03, "signal 0.8", ha="center")
    left.text(0.77, 0.3, "noise 0.6", rotation=90, ha="right", va="center")
    left.text(0.37, 0.34, "length 1", rotation=37, ha="center", va="center")
    left.set(xlim=(0, 1.14), ylim=(0, 1.14), aspect="equal", title="One arc, two speeds")
    left.set(xlabel="signal √ᾱ", ylabel="noise √(1−ᾱ)")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.1), ncols=2, frameon=False)
    right.axis("off")
    for index, degrees in enumerate((0, 30, 60, 75, 85, 90)):
        place = right.inset_axes([0.34 * (index % 3), 0.54 - 0.54 * (index // 3), 0.32, 0.42])
        turn = math.radians(degrees)
        show_picture(place, math.cos(turn) * image + math.sin(turn) * eps, f"{degrees}°")


def draw_explorer(
    figure,
    schedules: dict[str, NoiseSchedule],
    name: str,
    photo: Tensor,
    digits: Tensor,
    points: Tensor,
) -> Callable:
    """ᾱ and log-SNR of the schedule `name` among all, and what it makes of three data.

    photo: (1, 3, H, W); digits: (9, 1, S, S); points: (N, 2). Their noise is always the same.
    Returns the function that moves everything to a time t.
    """
    layout = [["curve"] * 3 + ["ratio"] * 3, ["photo"] * 2 + ["digits"] * 2 + ["points"] * 2]
    axes, chosen = figure.subplot_mosaic(layout, height_ratios=[1, 1.35]), schedules[name]
    for other, each in sorted(schedules.items(), key=lambda item: item[0] == name):
        color, width = (plots.VERMILLION, 2.5) if other == name else ("#BBBBBB", 1)
        axes["curve"].plot(each.alpha_bar, color=color, linewidth=width)
        axes["ratio"].plot(each.log_snr, color=color, linewidth=width)
    axes["curve"].set(title="ᾱ", ylim=(-0.05, 1.05), xlabel="time t")
    axes["ratio"].set(title="log-SNR λ", ylim=(-12, 12), xlabel="time t")
    (share,) = axes["curve"].plot([0], [1], "o", color=plots.BLACK)
    (ratio,) = axes["ratio"].plot([0], [11.5], "o", color=plots.BLACK)
    picture = show_picture(axes["photo"], photo[0], "photograph")
    nine = show_picture(axes["digits"], tiles(digits), "digits")
    cloud = scatter(axes["points"], points, "petals")
    noises = [normal(data) for data in (photo, digits, points)]

    def update(t):
        share.set_data([t], chosen.alpha_bar[[t]])
        ratio.set_data([t], chosen.log_snr[[t]].clamp(-11.5, 11.5))
        titles = [
            axes["curve"].set_title(f"t = {t}:  ᾱ = {chosen.alpha_bar[t]:.4f}"),
            axes["ratio"].set_title(f"log-SNR λ = {chosen.log_snr[t]:+.2f}"),
        ]
        x = [chosen.diffuse(x0, t, eps) for x0, eps in zip((photo, digits, points), noises)]
        picture.set_data(pixels(x[0][0]))
        nine.set_data(pixels(tiles(x[1])))
        cloud.set_offsets(x[2])
        return [share, ratio, picture, nine, cloud, *titles]

    return update


def draw_dots(figure, clouds: dict[str, Tensor], labels: list[Tensor]) -> None:
    """Clouds of points (N, 2) side by side, by title; each point has the color of its label, a
    whole number: (N,) for each cloud."""
    panels = figure.subplots(1, len(clouds))
    for axes, (title, points), label in zip(panels, clouds.items(), labels, strict=True):
        scatter(axes, points, title, [plots.COLORS[k] for k in label.tolist()])


def draw_loss(figure, losses: list[float], floor: float, window: int = 20) -> None:
    """The loss of each step, averaged over windows and drawn at their middles, above its floor."""
    axes = figure.subplots()
    whole = torch.tensor(losses, dtype=torch.float32)[: len(losses) // window * window].view(
        -1, window
    )
    middles = window * torch.arange(len(whole)) + (window + 1) / 2  # the first step is step 1
    axes.plot(middles, whole.mean(1), label=f"loss, mean of {window} steps")
    axes.axhline(floor, color=plots.VERMILLION, label="floor: the exact denoiser")
    axes.set(xlabel="step", ylabel="loss", ylim=(0.15, 0.6), title="Training loss")
    axes.legend()


def mean_sd(values: Iterable[float], digits: int = 2) -> str:
    """Mean ± standard deviation of what several seeds gave, as text."""
    values = torch.tensor(list(values), dtype=torch.float64)
    return f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def tiles(nine: Tensor) -> Tensor:
    """Nine pictures (9, C, S, S) as a square of three by three, (C, 3S, 3S)."""
    _, channels, size, _ = nine.shape
    square = nine.view(3, 3, channels, size, size).permute(2, 0, 3, 1, 4)  # (C, 3, S, 3, S)
    return square.reshape(channels, 3 * size, 3 * size)


def draw_end(figure, image: Tensor, last: float) -> Callable:
    """Signal and noise over a thousand steps whose β rises evenly from 0.0001 to `last`, and the
    picture (1, 3, H, W) at the end. Returns the function that moves both to another `last`."""
    left, right = figure.subplots(1, 2, width_ratios=[2, 1])
    empty = np.zeros(1001)
    (signal,) = left.plot(empty, color=plots.BLUE, label="signal √ᾱ")
    (noise,) = left.plot(empty, color=plots.VERMILLION, label="noise √(1−ᾱ)")
    left.set(xlabel="time t", ylim=(-0.02, 1.05))
    left.legend(loc="center right")
    end = show_picture(right, image[0], "the picture at t = 1000")
    eps = normal(image)

    def update(last):
        bent = linear(first=1e-4, last=last)
        signal.set_ydata(bent.alpha_bar.sqrt().numpy())  # of a tensor matplotlib sees each point
        noise.set_ydata((1 - bent.alpha_bar).sqrt().numpy())
        title = left.set_title(f"signal left at the end: {bent.alpha_bar[-1].sqrt():.4f}")
        end.set_data(pixels(bent.diffuse(image, 1000, eps)[0]))
        return [signal, noise, title, end]

    update(last)
    return update


def film(draw, size: tuple[float, float], **moments: Iterable) -> list[bytes]:
    """The frames of a film, PNG files, one for each value of the single keyword in `moments`.

        film(draw, (8, 4), t=[0, 100, 200])     # draw(figure, t)

    draw: as `widgets.Redraw` takes it; if it gives back a function, that moves to the next value.
    size: width and height in inches, at 96 dots per inch.
    """
    ((name, values),) = moments.items()
    canvas, frames = Canvas(size), []
    for value in values:
        canvas.update(draw, **{name: value})
        frames.append(canvas.png(fast=True))
    return frames
