"""CLIP's ResNet for pictures that are partly noise: every batch norm hears the time.

Source: Liu et al. 2021, "More Control for Free! Image Synthesis with Semantic Diffusion Guidance",
section 3 (time-dependent batch normalization), and the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from labkit.inputs import whole_number
from labkit.nets.layers import sinusoid
from labkit.nets.resnet import ResNet, ResNetConfig

WAVES = 128  # of the time, as in the authors' code


class NoisyResNet(nn.Module):
    """One vector for a noisy picture: called as net(x, t), x (B, 3, S, S), t (B,) times in 1 … T;
    returns (B, dim).

    A small network turns t into an embedding, from which every norm has its scale γ and shift β.
    Both start at zero, so that with the weights of a `ResNet` it begins as that very network.
    """

    def __init__(self, config: ResNetConfig, dim: int, hidden: int = 512):
        super().__init__()
        whole_number(hidden, "the width of the network that hears the time", 1)
        self.config = config
        self.net = ResNet(config, dim, emb=hidden)
        self.time = nn.Sequential(
            nn.Linear(WAVES, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )

    def embedding(self, t: Tensor) -> Tensor:
        """What the norms hear of the times t (B,): (B, hidden)."""
        return self.time(sinusoid(t, WAVES).to(self.time[0].weight.dtype))

    def maps(self, x: Tensor, t: Tensor) -> Iterator[Tensor]:
        """The feature maps on the way, (B, C, H, W) each: of the stem, then of every level."""
        return self.net.maps(x, self.embedding(t))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.net(x, self.embedding(t))
