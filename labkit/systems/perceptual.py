"""A perceptual loss: a predicted picture shall also look right to a network that knows pictures.

Source: Johnson et al. 2016, section 3.2, and Zhang et al. 2018 (LPIPS), equation 1: the squared
distance of feature maps whose columns have unit length. There the network knows photographs, here
it is the image tower of a CLIP that was trained on the pictures in question. None of the papers of
the course's diffusion models uses it: it makes them learn faster, which two cores need.
"""

from __future__ import annotations

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit import devices
from labkit.inputs import number
from labkit.nets.resnet import ResNet
from labkit.systems.clip import CLIP, standardized


class PerceptualLoss:
    """weight · mean of ᾱ_t Σ_j ‖f_j(x̂0) − f_j(x0)‖² / (H_j W_j), a scalar; f_j are the maps of
    each stage of that CLIP's image tower, every column of length one.

    For `Denoiser.loss` (``also``). ᾱ_t, since of a picture that is nearly all noise only a blurred
    mean can be predicted, whose maps tell nothing. It looks through a copy of the tower, which is
    no part of what learns: it is neither averaged nor saved. Raises ValueError for a CLIP without a
    ResNet.
    """

    def __init__(self, clip: CLIP, weight: float):
        if not isinstance(clip.image, ResNet):
            raise ValueError(
                f"the CLIP's image tower is a {type(clip.image).__name__}, but only a ResNet has "
                "feature maps of several sizes to compare: give a CLIP with a ResNet"
            )
        self.weight = number(weight, "the weight of the perceptual loss", 0)
        self.tower = deepcopy(clip.image).requires_grad_(False).eval()

    def __call__(self, predicted: Tensor, x0: Tensor, alpha_bar: Tensor) -> Tensor:
        return self.weight * (alpha_bar * self.distance(predicted, x0)).mean()

    def distance(self, predicted: Tensor, x0: Tensor) -> Tensor:
        """Σ_j ‖f_j(predicted) − f_j(x0)‖² / (H_j W_j) of each row, (B,). The pictures may be
        larger than those that the CLIP knows: the maps are then larger, too."""
        if devices.of(self.tower) != x0.device:
            self.tower.to(x0.device)
        with torch.no_grad():
            wanted = self.maps(x0)
        gaps = zip(self.maps(predicted), wanted, strict=True)
        return sum((a - b).square().sum(1).mean((1, 2)) for a, b in gaps)  # (B,)

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """What each stage sees, (B, C, H, W) each, columns of unit length."""
        return [F.normalize(seen, dim=1) for seen in self.tower.maps(standardized(pictures))]

    def __deepcopy__(self, memo) -> PerceptualLoss:
        return self  # an average of the system shares it

    def __repr__(self) -> str:
        return f"PerceptualLoss(weight={self.weight:g})"
