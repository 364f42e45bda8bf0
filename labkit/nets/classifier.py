"""A small classifier of pictures, and the space of features in which samples are judged.

What a classifier sees just before it decides describes a picture by what matters for its meaning,
not by its pixels. `labkit.metrics` compares samples with real pictures there, as the Fréchet
Inception distance does in the features of Inception-v3 (Heusel et al. 2017), which is far too big
for digits of 16 x 16 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.casting import moved
from labkit.inputs import class_labels, number, sized_pictures, whole_number


@dataclass(frozen=True)
class ClassifierConfig:
    """All that there is to choose about a `Classifier`. Each width but the last halves the side."""

    size: int = 16  # side of the square picture
    channels: int = 1
    classes: int = 10
    widths: tuple[int, ...] = (24, 48, 64)  # channels of the convolutions, one level each
    kernel: int = 3  # side of each convolution's window, odd
    features: int | None = None  # of a layer over all positions; None: the mean of each channel
    dropout: float = 0.2  # of the features, in training

    def __post_init__(self):
        object.__setattr__(self, "widths", tuple(self.widths))  # JSON knows only lists
        for name in ("size", "channels", "classes", "kernel"):
            whole_number(getattr(self, name), f"a classifier's {name}", 1)
        if self.features is not None:
            whole_number(self.features, "a classifier's features", 1)
        for width in self.widths:
            whole_number(width, "a classifier's width", 1)
        if not self.widths or self.kernel % 2 == 0 or self.size % 2 ** (len(self.widths) - 1):
            raise ValueError(
                f"a classifier with widths {self.widths}, kernel {self.kernel} and pictures of "
                f"{self.size} pixels a side cannot be built: give at least one width, an odd "
                "kernel, and a size that can be halved once for each width but the last"
            )
        number(self.dropout, "a classifier's dropout", 0, 0.99)


class Classifier(nn.Module):
    """Convolutions, a vector of features, and one linear decision.

    Called as ``net(x)``: x (B, C, H, W) in [−1, 1]; returns logits (B, classes). The features are
    the mean of each channel over the positions, as Inception's are, or one more layer's answer.
    """

    def __init__(self, config: ClassifierConfig):
        super().__init__()
        self.config = c = config
        self.convs, self.norms = nn.ModuleList(), nn.ModuleList()
        inputs = c.channels
        for width in c.widths:
            for _ in range(2):
                self.convs.append(nn.Conv2d(inputs, width, c.kernel, padding=c.kernel // 2))
                self.norms.append(nn.GroupNorm(1, width))
                inputs = width
        side = c.size // 2 ** (len(c.widths) - 1)
        self.describe = nn.Linear(inputs * side * side, c.features) if c.features else None
        self.decide = nn.Linear(c.features or inputs, c.classes)
        # Channels last in memory: the convolutions run faster on a CPU.
        self.to(memory_format=torch.channels_last)

    def features(self, x: Tensor) -> Tensor:
        """What the decision is made on, (B, D), for pictures x (B, C, H, W) in [−1, 1]."""
        c = self.config
        sized_pictures(x, c.channels, c.size, self.decide.weight, "this classifier")
        for index, (convolve, norm) in enumerate(zip(self.convs, self.norms)):
            x = F.silu(norm(convolve(x)))  # (B, width, H', W')
            if index % 2 == 1 and index < len(self.convs) - 1:
                x = F.avg_pool2d(x, 2)
        if self.describe is None:
            return x.mean((2, 3))  # (B, width)
        return F.silu(self.describe(x.flatten(1)))  # (B, features)

    def forward(self, x: Tensor) -> Tensor:
        features = F.dropout(self.features(x), self.config.dropout, self.training)
        return self.decide(features)  # (B, classes)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Cross-entropy, a scalar. batch: pictures, and labels (B,) long in 0 … classes − 1."""
        x, labels = batch
        return F.cross_entropy(self(x), class_labels(labels, self.config.classes, x))


def shifted(x: Tensor, pixels: int = 1, generator: torch.Generator | None = None) -> Tensor:
    """Each picture moved by up to `pixels` along both axes, background −1 flowing in: a classifier
    trained on these does not mind where a digit stands. (B, C, H, W) → the same shape."""
    B, C, H, W = x.shape
    padded = F.pad(x, [pixels] * 4, value=-1.0)  # (B, C, H + 2 pixels, W + 2 pixels)
    device = "cpu" if generator is None else generator.device
    steps = torch.randint(0, 2 * pixels + 1, (2, B, 1), generator=generator, device=device)
    down, right = moved(steps, x.device)
    rows = (down + torch.arange(H, device=x.device))[:, None, :, None]  # (B, 1, H, 1)
    columns = (right + torch.arange(W, device=x.device))[:, None, None, :]  # (B, 1, 1, W)
    batch = torch.arange(B, device=x.device)[:, None, None, None]
    channel = torch.arange(C, device=x.device)[None, :, None, None]
    return padded[batch, channel, rows, columns]
