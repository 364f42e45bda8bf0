"""A discriminator that judges a picture patch by patch.

Source: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks",
section 3.2.2, in the form in which latent diffusion uses it (appendix G).
"""

from __future__ import annotations

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """One logit, "is this real?", for each patch: (B, channels, S, S) → (B, 1, s, s).

    ``layers`` convolutions of 4 x 4 halve the picture, two more do not: with three layers each
    logit sees 70 x 70 pixels, and 256 pixels give 30 x 30 logits.
    """

    def __init__(self, channels: int = 3, width: int = 64, layers: int = 3):
        super().__init__()
        widths = [width * min(2**level, 8) for level in range(layers + 1)]
        parts = [nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for level in range(1, layers + 1):
            stride = 2 if level < layers else 1
            parts += [
                nn.Conv2d(widths[level - 1], widths[level], 4, stride, padding=1, bias=False),
                nn.BatchNorm2d(widths[level]),
                nn.LeakyReLU(0.2),
            ]
        self.net = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, padding=1))
        for part in self.net:
            if isinstance(part, nn.Conv2d):
                nn.init.normal_(part.weight, std=0.02)
            elif isinstance(part, nn.BatchNorm2d):
                nn.init.normal_(part.weight, 1.0, 0.02)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)
