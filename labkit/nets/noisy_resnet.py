"""CLIP's ResNet for pictures that are partly noise: behind every norm the time has its say.

Source: Liu et al. 2021, "More Control for Free! Image Synthesis with Semantic Diffusion Guidance",
section 3 (time-dependent batch normalization), and the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn

from labkit.inputs import whole_number
from labkit.nets.layers import sinusoid, zero
from labkit.nets.resnet import ResNet, ResNetConfig

WAVES = 128  # of the time, as in the authors' code


class NoisyResNet(nn.Module):
    """One vector for a noisy picture: called as net(x, t), x (B, 3, S, S), t (B,) times in 1 … T;
    returns (B, dim).

    A small network turns t into a scale γ and a shift β for every channel of every norm:
    h ← h (1 + γ(t)) + β(t). Both start at zero, so that with the weights of a `ResNet` it begins
    as that very network.
    """

    def __init__(self, config: ResNetConfig, dim: int, hidden: int = 512):
        super().__init__()
        whole_number(hidden, "the width of the network that hears the time", 1)
        self.config = config
        self.net = ResNet(config, dim)
        self.time = nn.Sequential(
            nn.Linear(WAVES, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
            zero(nn.Linear(hidden, 2 * sum(self.net.normed))),
        )  # fmt: skip

    def maps(self, x: Tensor, t: Tensor) -> Iterator[Tensor]:
        """The feature maps on the way, (B, C, H, W) each: of the stem, then of every level."""
        return self.net.maps(x, self.told(t))

    def told(self, t: Tensor) -> Callable[[Tensor], Tensor]:
        """For one pass through the net: a function that scales and shifts one norm after another,
        as the times t (B,) ask for."""
        waves = sinusoid(t, WAVES).to(self.time[0].weight.dtype)
        said = self.time(waves)[:, :, None, None]  # (B, 2 Σ C, 1, 1)
        scales, shifts = (part.split(self.net.normed, dim=1) for part in said.chunk(2, dim=1))
        pairs = iter(zip(scales, shifts, strict=True))

        def behind_norm(h: Tensor) -> Tensor:
            scale, shift = next(pairs)
            return h * (1 + scale) + shift

        return behind_norm

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        *_, last = self.maps(x, t)
        return self.net.pool(last)
