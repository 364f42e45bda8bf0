"""An average of a system over its training: less noisy than its last weights, and the one to use.

It is exponential, as in DDPM. (torch.optim.swa_utils.AveragedModel would wrap the system, so that
it could no longer generate, and copy also what never changes.)
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn


class Average:
    """``system`` is the averaged copy, ready to use; `update` brings it on after each step. Raises
    ValueError for a system that cannot be copied.

    Frozen parts, such as an encoder that only helps, are not copied but shared. Statistics in
    buffers, such as those of BatchNorm, are averaged like weights, since they must belong to them.
    """

    def __init__(self, system: nn.Module, decay: float):
        self.decay = decay
        frozen = frozen_tensors(system)
        try:
            self.system = deepcopy(system, {id(tensor): tensor for tensor in frozen})
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f"this {type(system).__name__} cannot be copied, which its average needs "
                f"({' '.join(str(error).split())[:150]}): keep such a thing outside of the module"
            ) from None
        self.system.eval().requires_grad_(False)
        self.means, self.weights, self.copies = [], [], []
        known = {id(tensor) for tensor in frozen}
        for mean, own in zip(tensors(self.system), tensors(system), strict=True):
            if id(own) in known:
                continue
            # A mask of -inf has no average, a count of whole numbers neither.
            dense = own.is_floating_point() and own.layout == torch.strided
            if dense and own.isfinite().all():
                self.means.append(mean)
                self.weights.append(own)
            else:
                self.copies.append((mean, own))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """mean <- d mean + (1 - d) weight after update number ``step`` (0 is the first). d starts
        small, min(decay, (1 + n) / (10 + n)), so that the average forgets the untrained weights
        (the warm-up of latent-diffusion's code)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.means, self.weights, 1 - decay)
        for mean, own in self.copies:
            mean.copy_(own)


def tensors(system: nn.Module) -> list[Tensor]:
    """All parameters and buffers, each once, in an order that a copy shares."""
    return [*system.parameters(), *system.buffers()]


def frozen_tensors(system: nn.Module) -> list[Tensor]:
    """The parameters that training leaves alone, and the buffers of modules that have no others."""
    found = [parameter for parameter in system.parameters() if not parameter.requires_grad]
    for module in system.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            found += module.buffers()
    return found
