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
        self.source, self.seen, self.averaged = system, {}, {}
        self.match(tensors(system))

    def match(self, own: dict[str, Tensor]) -> None:
        """Finds for each of the system's tensors its mean. A buffer may be another tensor than it
        was, or a new one: a module may assign its buffers anew whenever it likes."""
        means, frozen = tensors(self.system), {id(part) for part in frozen_tensors(self.source)}
        self.means, self.weights, self.copies, self.seen = [], [], [], own
        for name, weight in own.items():
            mean = means.get(name)
            if mean is weight:
                continue
            if id(weight) in frozen:
                put(self.system, name, weight, self.source)
                continue
            if mean is None or (mean.shape, mean.dtype) != (weight.shape, weight.dtype):
                mean = put(self.system, name, weight.detach().clone(), self.source)
            # A mask of -inf has no average, a count of whole numbers neither.
            dense = weight.is_floating_point() and weight.layout == torch.strided
            if name not in self.averaged:
                self.averaged[name] = dense and bool(weight.isfinite().all())
            if self.averaged[name] and dense:
                self.means.append(mean)
                self.weights.append(weight)
            else:
                self.copies.append((mean, weight))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """mean <- d mean + (1 - d) weight after update number ``step`` (0 is the first). d starts
        small, min(decay, (1 + n) / (10 + n)), so that the average forgets the untrained weights
        (the warm-up of latent-diffusion's code)."""
        own = tensors(self.source)
        if own.keys() != self.seen.keys() or any(own[name] is not self.seen[name] for name in own):
            self.match(own)
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.means, self.weights, 1 - decay)
        for mean, weight in self.copies:
            mean.copy_(weight)


def tensors(system: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers, each once, by name."""
    return dict(system.named_parameters()) | dict(system.named_buffers())


def put(system: nn.Module, name: str, tensor: Tensor, like: nn.Module) -> Tensor:
    """Makes that tensor the parameter or buffer of that name, stored in files if `like`'s is."""
    module, _, name = name.rpartition(".")
    stored = like.get_submodule(module).state_dict()
    module = system.get_submodule(module)
    if isinstance(tensor, nn.Parameter):
        setattr(module, name, tensor)
    else:
        module.register_buffer(name, tensor, persistent=name in stored)
    return tensor


def frozen_tensors(system: nn.Module) -> list[Tensor]:
    """The parameters that training leaves alone, and the buffers of modules that have no others."""
    found = [parameter for parameter in system.parameters() if not parameter.requires_grad]
    for module in system.modules():
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            found += module.buffers()
    return found
