"""Where things run: on the device where the system already is. Nobody's device is guessed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, distributed, nn

from labkit.batches import moved
from labkit.inputs import nearest

COUNTS = {  # how many there are of each kind
    "cpu": lambda: 1,
    "cuda": lambda: torch.cuda.device_count() if torch.cuda.is_available() else 0,
    "mps": lambda: int(torch.backends.mps.is_available()),
}


def named(name: str) -> torch.device:
    """The device of that name, such as "cpu", "mps", "cuda" or "cuda:1". Raises ValueError if it is
    misspelt or is not here."""
    kind, colon, index = str(name).partition(":")
    if kind not in COUNTS or (colon and not index.isdecimal()):
        raise nearest(name, COUNTS, "device")
    count = COUNTS[kind]()
    if int(index or 0) >= count:
        what = f"has {count} of that kind" if count else "has none, or this torch cannot use it"
        raise ValueError(f"the device {name} is not here: this machine {what}; choose another")
    return torch.device(name)


def faster() -> str | None:
    """The name of a device that is faster than the CPU, if one is here."""
    return next((kind for kind in ("cuda", "mps") if COUNTS[kind]()), None)


def of(system: nn.Module) -> torch.device:
    """Where the system lies. Raises ValueError if it lies in several places."""
    found = list(dict.fromkeys(parameter.device for parameter in system.parameters()))
    if len(found) != 1:
        raise ValueError(
            f"the weights of this {type(system).__name__} lie on "
            f"{', '.join(map(str, found)) or 'no device, since it has none'}, but must lie on one: "
            "move it, such as system.to('cpu')"
        )
    return found[0]


def placed(system: nn.Module) -> dict[str, Any]:
    """device= and dtype= of the system's weights, for what shall meet them. Raises as `of` does."""
    return {"device": of(system), "dtype": next(system.parameters()).dtype}


@contextmanager
def evaluating(system: nn.Module) -> Iterator[None]:
    """In evaluation inside, and as it was afterwards, whatever happens."""
    training = system.training
    system.eval()
    try:
        yield
    finally:
        system.train(training)


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Whatever is drawn on the CPU and on that device begins from the seed; afterwards everybody's
    own random numbers go on as if nothing had been drawn."""
    others = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(others, device_type=device.type):
        # torch.manual_seed would also start every other device anew, and nobody would restore them.
        torch.default_generator.manual_seed(seed)
        for other in others:  # the module's own manual_seed would mean the current device
            state = torch.Generator(other).manual_seed(seed).get_state()
            torch.get_device_module(other).set_rng_state(state, other)
        yield


class OneDevice:
    """What `labkit.train` asks of a Fabric, for one process: all stays where the system is,
    whatever a cluster's variables say. bfloat16: what autocast chooses is computed in it."""

    world_size, global_rank, is_global_zero = 1, 0, True

    def __init__(self, device: torch.device, bfloat16: bool = False):
        self.device, self.bfloat16 = device, bfloat16

    def setup(self, system: nn.Module, optimizer: torch.optim.Optimizer):
        return system, optimizer

    def to_device(self, batch: Any) -> Any:
        return moved(batch, self.device)

    def autocast(self) -> AbstractContextManager:
        return torch.autocast(self.device.type, torch.bfloat16) if self.bfloat16 else nullcontext()

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def clip_gradients(
        self, system: nn.Module, optimizer, max_norm: float, error_if_nonfinite: bool
    ) -> Tensor:
        return nn.utils.clip_grad_norm_(
            system.parameters(), max_norm, error_if_nonfinite=error_if_nonfinite
        )

    def all_gather(self, tensor: Tensor) -> Tensor:
        return tensor


def gathered(rows: Tensor) -> Tensor:
    """The rows (B, D) of all processes, (processes · B, D), one process after the other; with one
    process, the rows themselves. Every process must call it, with as many rows as the others.

    The gradient flows back to where each row came from, from the losses of all processes.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return rows
    return _Gather.apply(rows) if distributed.get_world_size() > 1 else rows


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.clone()
        distributed.all_reduce(gradient)  # the sum of what all losses say
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]
