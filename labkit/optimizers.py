"""What changes the weights: the optimizers of `labkit.train`, and how their learning rate falls."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# How the learning rate falls as progress goes from 0 to 1; "late" only in the last fifth.
DECAYS = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
    "late": lambda progress: min(1.0, 5 * (1 - progress)),
}
OPTIMIZERS = ("adamw", "muon")
LEAST = 16  # rows and columns of a matrix that is worth making orthogonal


def learning_rate(step: int, steps: int, peak: float, warmup: int, decay: str) -> float:
    """The rate of update number ``step`` (0 is the first): a linear rise, then the decay."""
    return peak * min(1, (step + 1) / max(1, warmup)) * DECAYS[decay](step / steps)


def optimizer_for(
    system: nn.Module, name: str, betas: tuple[float, float], weight_decay: float
) -> torch.optim.Optimizer:
    """The optimizer of that name, over all weights that learn; its rate is set before each step."""
    learned = [weight for weight in system.parameters() if weight.requires_grad]
    if name == "muon":
        return Muon(system, betas, weight_decay)
    return torch.optim.AdamW(learned, betas=betas, weight_decay=weight_decay, fused=True)


class Muon(torch.optim.Optimizer):
    """torch's Muon for the matrices of linear maps and convolutions, AdamW for everything else.

    Muon makes each update of a matrix nearly orthogonal, so that no direction of the weights is
    left behind (Jordan et al. 2024, "Muon: an optimizer for hidden layers"). Updates are scaled to
    the size that AdamW's have, so both take the same learning rate (Liu et al. 2025, section 2.2).
    A convolution counts as the matrix (outputs, k² · inputs). Muon's momentum is torch's own, .95;
    betas are AdamW's.
    """

    def __init__(self, system: nn.Module, betas: tuple[float, float], weight_decay: float):
        kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
        owners = [module for module in system.modules() if isinstance(module, kinds)]
        found = {id(owner.weight) for owner in owners if suits(owner.weight)}
        learned = [weight for weight in system.parameters() if weight.requires_grad]
        self.matrices = [weight for weight in learned if id(weight) in found]
        self.others = [weight for weight in learned if id(weight) not in found]
        # "fused" here, too: by it torch decides where a step's number lies when a state is loaded.
        groups = [{"params": self.matrices}, {"params": self.others, "fused": True}]
        super().__init__([group for group in groups if group["params"]], {"lr": 0.0})
        # In the same memory as the weights, and of the only shape that torch's Muon takes.
        self.views = [nn.Parameter(flat(weight.detach())) for weight in self.matrices]
        self.parts = []
        if self.views:
            scaled = {"weight_decay": weight_decay, "adjust_lr_fn": "match_rms_adamw"}
            self.parts.append(torch.optim.Muon(self.views, **scaled))
        if self.others:
            rest = {"betas": betas, "weight_decay": weight_decay, "fused": True}
            self.parts.append(torch.optim.AdamW(self.others, **rest))

    def step(self, closure=None) -> None:
        for weight, view in zip(self.matrices, self.views, strict=True):
            view.grad = None if weight.grad is None else flat(weight.grad, weight)
        for part, group in zip(self.parts, self.param_groups, strict=True):
            part.param_groups[0]["lr"] = group["lr"]
            part.step()
        for weight, view in zip(self.matrices, self.views, strict=True):
            view.grad = None  # or the next backward pass would find two of each in memory
            if held := self.parts[0].state[view]:
                self.state[weight] = {name: unflat(value, weight) for name, value in held.items()}
        for weight in self.others:
            self.state[weight] = self.parts[-1].state[weight]

    def load_state_dict(self, state_dict: dict) -> None:
        super().load_state_dict(state_dict)
        for weight, view in zip(self.matrices, self.views, strict=True):
            held = {name: flat(value, weight) for name, value in self.state[weight].items()}
            self.parts[0].state[view].update(held)
        for weight in self.others:
            self.parts[-1].state[weight].update(self.state[weight])


def suits(weight: Tensor) -> bool:
    """Whether Muon can move it: it is large enough, and is a matrix without being copied."""
    matrix = flat(weight.detach())
    shares = matrix.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr()
    return shares and min(matrix.shape) >= LEAST


def flat(tensor: Tensor, weight: Tensor | None = None) -> Tensor:
    """A weight, or with it its gradient or momentum, as a matrix. Of a convolution's weight that
    lies channels last in memory it is (outputs, k² · inputs), so that nothing has to be copied."""
    weight = tensor if weight is None else weight
    if weight.ndim > 2 and not weight.is_contiguous():
        tensor = tensor.movedim(1, -1)
    return tensor.flatten(1)


def unflat(matrix: Tensor, weight: Tensor) -> Tensor:
    """The matrix in the shape of the weight from which `flat` made it; the same memory."""
    if weight.ndim > 2 and not weight.is_contiguous():
        outputs, inputs, *kernel = weight.shape
        return matrix.view(outputs, *kernel, inputs).movedim(-1, 1)
    return matrix.view(weight.shape)
