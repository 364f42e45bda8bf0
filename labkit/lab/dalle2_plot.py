"""The drawings of lesson 10: where pictures and sentences lie in CLIP's space, what PCA loses, and
how broad the law of embeddings of one sentence is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.lab import plots

BINS = torch.linspace(-1, 1, 51)


def alike(z: Tensor) -> float:
    """The mean cosine of two different rows of unit vectors (N, D)."""
    N, total = len(z), z.double().sum(0)
    return ((total @ total - z.double().square().sum()) / (N * (N - 1))).item()


def regression(text: Tensor, image: Tensor, ridge: float = 1e-4) -> Callable[[Tensor], Tensor]:
    """The affine map from embeddings of sentences (N, D) to those of their pictures (N, D) of the
    least mean squared error, to be called on sentences (M, D). Of a sentence that fits many
    pictures it gives about their mean, (M, D), which is shorter than 1. ridge: how much large
    weights cost, for each row; without it, sentences that span less than D dimensions had no one
    answer."""
    centers = text.double().mean(0), image.double().mean(0)
    x, y = text - centers[0], image - centers[1]
    square = x.T @ x + ridge * len(x) * torch.eye(x.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(square, x.T @ y)  # (D, D)
    return lambda text: ((text - centers[0]) @ weight + centers[1]).to(text.dtype)


def across_gap(image: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings of pictures (N, D) and of sentences (M, D) on two axes, (N, 2) and (M, 2): the
    line from the center of the sentences to that of the pictures, 0 halfway, and, at right angles
    to it, the one along which both clouds together are broadest."""
    centers = image.mean(0), text.mean(0)
    first = F.normalize(centers[0] - centers[1], dim=0)
    middle = (centers[0] + centers[1]) / 2
    around = torch.cat([image - centers[0], text - centers[1]])
    around = around - (around @ first)[:, None] * first
    second = torch.linalg.svd(around, full_matrices=False).Vh[0]
    axes = torch.stack([first, second], 1)  # (D, 2)
    return (image - middle) @ axes, (text - middle) @ axes


def draw_gap(figure, image: Tensor, text: Tensor) -> None:
    """Embeddings of N pictures and of their N sentences, (N, D) each, as two clouds; at right how
    often which cosine comes between a picture and its own sentence, a picture and another's, and
    two pictures."""
    left, right = figure.subplots(1, 2)
    ways = zip(("pictures", "sentences"), across_gap(image, text), (plots.BLUE, plots.VERMILLION))
    for name, points, color in ways:
        left.scatter(*points.T.numpy(), s=5, color=color, label=name, linewidths=0)
        left.plot(*points.mean(0).tolist(), "x", color=plots.BLACK, markersize=9)
    left.set(title="CLIP's space", xlabel="from sentences to pictures", ylabel="largest variance")
    left.set_aspect("equal", adjustable="datalim")
    left.legend(markerscale=3, loc="lower right", fontsize=8)
    pairs = {
        "a picture, its sentence": (image * text).sum(1),
        "a picture, another's": (image * text.roll(1, 0)).sum(1),
        "two pictures": (image * image.roll(1, 0)).sum(1),
    }
    for (name, cosine), color in zip(pairs.items(), (plots.GREEN, plots.VERMILLION, plots.BLUE)):
        draw_shares(right, cosine, name, color)
    right.set(title="cosines of pairs", xlabel="cosine", ylabel="share of the pairs")
    right.legend(fontsize=8, loc="upper left")


def draw_shares(axes, values: Tensor, name: str, color: str) -> None:
    """How often a cosine comes, as an outline whose heights sum to 1."""
    shares = torch.histogram(values.float().cpu(), BINS).hist / len(values)
    axes.stairs(shares.tolist(), BINS.tolist(), color=color, label=name, linewidth=1.5)


def draw_pca_error(axes, errors: Mapping[str, Tensor], limit: float = 0.01) -> None:
    """The share of the variance that is lost against the number of components, a curve for each
    name, (D + 1,); where each comes under the limit, dotted, there is a mark, and its number."""
    for (name, error), color in zip(errors.items(), plots.COLORS):
        count = int((error > limit).sum())
        shown = error[:-1].clamp(min=1e-6)  # all components lose nothing, which has no logarithm
        axes.semilogy(range(len(shown)), shown.tolist(), color=color, label=f"{name}: {count}")
        axes.plot([count], [float(error[count])], "o", color=color)
    axes.axhline(limit, linestyle=":", color=plots.BLACK, linewidth=1)
    axes.set(xlabel="components", ylabel="share of the variance lost",
             title=f"components that lose less than {limit:.0%}")  # fmt: skip
    axes.legend()


def draw_posterior(figure, real: Tensor, answers: Mapping[str, Tensor]) -> None:
    """Embeddings of real pictures of one sentence, (N, D), and what models answer when they are
    asked for one, (M, D) each, such as a prior that draws and a regression, M times the same. At
    left on the two axes along which the real ones vary most; at right how near two of each are to
    each other: as far as two real ones, if the model draws from their law."""
    left, right = figure.subplots(1, 2)
    center = real.mean(0)
    axes = torch.linalg.svd(real - center, full_matrices=False).Vh[:2].T  # (D, 2)
    named = {"real pictures": real, **answers}
    for (name, z), color in zip(named.items(), plots.COLORS):
        still = alike(z) > 1 - 1e-5
        points = ((z[:1] if still else z) - center) @ axes
        mark = {"marker": "*", "s": 160, "zorder": 3} if still else {"s": 9}
        left.scatter(*points.T.numpy(), color=color, label=name, linewidths=0, **mark)
        if still:
            right.axvline(1.0, color=color, linewidth=2)
        else:
            one, two = torch.triu_indices(len(z), len(z), 1)
            draw_shares(right, (z[one] * z[two]).sum(1), name, color)
    left.set(title="embeddings of one sentence", xlabel="first axis", ylabel="second axis")
    right.set(title="two answers to it", xlabel="cosine", ylabel="share of the pairs")
    figure.legend(*left.get_legend_handles_labels(), ncols=len(named), fontsize=8,
                  loc="outside upper center")  # fmt: skip
