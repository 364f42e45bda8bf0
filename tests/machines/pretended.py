"""A pretended accelerator: finds on any machine what would fail on one with a GPU.

    with pretended("mps") as machine:
        system.to("mps").loss(pictures.to("mps"))
    machine.waits  # which line waited for the device, and how often

All work is done on the CPU, so results can be compared bit for bit; that a tensor lies on the
device is written on its storage, which views share. What real devices do, this one does:

- What an operation gives lies where its tensors lie; a new tensor where ``device=`` says.
- Tensors of both places in one operation: RuntimeError. Only copies may mix them, an index may lie
  on the CPU, and so may one number, a tensor without axes, beside a device tensor.
- On "mps" float64 is a TypeError, and an operation for which torch's own table lists no MPS kernel
  a NotImplementedError.
- A copy with non_blocking=True is refused unless it goes to "cuda": real devices give garbage.
- numpy() of a device tensor is a TypeError, a generator of the other place a RuntimeError.

Two modes of torch share the work. Below autograd, `Machine` sees every single operation, those of
the backward pass and inside of composite functions included. Above it, `Speech` answers what is
said in Python about devices, and keeps their names from torch, which has no such device here.
torch's FakeTensorMode knows the first two rules, but its tensors hold no numbers, so that neither
results nor code that looks at them could be tested; `test_pretended` compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tests.machines.machine import Machine, leaves, line

# These look at their numbers on a CPU, and trust them on a device.
TRUSTS = {torch.nn.functional.one_hot}
READS = {Tensor.numpy, Tensor.__array__}
GROUPS = "_group_tensors_by_device_and_dtype"  # optimizers ask it where their weights are


class Speech(TorchFunctionMode):
    """Speaks of the device in Python's words: ``x.device``, ``x.to("mps")``, ``device="mps"``."""

    def __init__(self, machine: Machine):
        super().__init__()
        self.machine = machine
        self.answers = {
            Tensor.to: self.to,
            Tensor.type_as: self.to,
            Tensor.cpu: lambda x, **options: self.to(x, "cpu"),
            Tensor.cuda: lambda x, device=None, **options: self.to(x, device or "cuda"),
            Tensor.tolist: self.tolist,
            Tensor.__deepcopy__: self.deepcopy,
            Tensor.device.__get__: lambda x: machine.device if machine.has(x) else x.device,
            Tensor.is_cpu.__get__: lambda x: not machine.has(x),
            Tensor.is_cuda.__get__: lambda x: machine.has(x) and machine.kind == "cuda",
            Tensor.is_mps.__get__: lambda x: machine.has(x) and machine.kind == "mps",
        }

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, machine = dict(kwargs or {}), self.machine
        if func in self.answers:
            return self.answers[func](*args, **kwargs)
        if func in READS and machine.has(args[0]):
            raise TypeError(
                f"can't convert {machine.device} device type tensor to numpy. "
                "Use Tensor.cpu() to copy the tensor to host memory first."
            )
        asked = self.means(kwargs.get("device"))
        if func is Tensor.new_tensor and asked is None:
            asked = machine.has(args[0])
        if asked:
            kwargs["device"] = "cpu"
        given = list(leaves(args, kwargs))
        around = any(machine.has(x) for x in given)
        self.check_generator(given, around if asked is None else asked)
        before = machine.asked, machine.around, machine.trusts
        machine.asked, machine.around, machine.trusts = asked, around, func in TRUSTS
        try:
            out = func(*args, **kwargs)
        finally:
            machine.asked, machine.around, machine.trusts = before
        # as_tensor gives back what it was given; tensor and new_tensor work out of sight.
        if asked is not None and isinstance(out, Tensor) and machine.has(out) != asked:
            out = Move.apply(out, machine, asked)
        return out

    def check_generator(self, leaves: list, there: bool) -> None:
        """Raises RuntimeError if a generator is to draw where it does not live."""
        place = self.machine.kind if there else "cpu"
        for leaf in leaves:
            if isinstance(leaf, Generator) and leaf.device.type != place:
                raise RuntimeError(
                    f"Expected a '{place}' device type for generator but found '{leaf.device.type}'"
                )

    def means(self, device: object) -> bool | None:
        """Is this a name of the device, or of another? None where none was named."""
        if device is None or isinstance(device, Tensor):
            return None if device is None else self.machine.has(device)
        return torch.device(device).type == self.machine.kind

    def to(self, x: Tensor, *args, **kwargs) -> Tensor:
        named = kwargs.get("device", kwargs.get("other", args[0] if args else None))
        if isinstance(named, bool | torch.dtype):
            named = None
        goes = self.means(named)
        if isinstance(named, str | torch.device) and goes:
            kwargs = {name: "cpu" if name == "device" else value for name, value in kwargs.items()}
            args = ("cpu", *args[1:]) if "device" not in kwargs else args
        if kwargs.get("non_blocking") and (not goes or self.machine.kind == "mps"):
            raise RuntimeError("nobody waits for this copy, so it may be read before it is there")
        if goes is False and self.machine.has(x):
            x = Move.apply(x, self.machine, False)
        x = x.to(*args, **kwargs)  # another type is made on the way: float64 may stay behind
        return Move.apply(x, self.machine, True) if goes and not self.machine.has(x) else x

    def tolist(self, x: Tensor) -> list:
        self.machine.waits[line()] += self.machine.has(x)
        return x.tolist()

    def deepcopy(self, x: Tensor, memo: dict) -> Tensor:
        out = x.__deepcopy__(memo)  # of the bare memory, where no operation is seen
        if self.machine.has(x):
            self.machine.put(out)
        return out


class Move(torch.autograd.Function):
    """From one place to the other; the gradient goes back."""

    @staticmethod
    def forward(ctx, x: Tensor, machine: Machine, there: bool) -> Tensor:
        ctx.machine, ctx.there = machine, there
        return machine.copied(x, there)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        return ctx.machine.copied(gradient, not ctx.there), None, None


def grouped(machine: Machine, by_torch: Callable) -> Callable:
    """torch's function that groups tensors by their places, which it does not ask in Python."""

    def group(lists: list[list[Tensor | None]], with_indices: bool = False) -> dict:
        return {
            (machine.device if machine.has(inner[0][0]) else device, dtype): (inner, indices)
            for (device, dtype), (inner, indices) in by_torch(lists, with_indices).items()
        }

    return group


class Generator(torch.Generator):
    """torch.Generator, which also says that it lives on the device."""

    def __new__(cls, device: str | torch.device = "cpu"):
        made = super().__new__(cls, "cpu")
        made.place = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        return self.place


@contextmanager
def available(*kinds: str) -> Iterator[None]:
    """torch says that there are accelerators of these kinds. Nothing else is pretended, so that
    who takes one unasked gets torch's own error."""
    yes, first = (lambda *args, **kwargs: True), torch.device(kinds[0])
    said = [
        (torch.accelerator, "is_available", yes),
        (torch.accelerator, "device_count", lambda: 1),
        (torch.accelerator, "current_accelerator", lambda *args, **kwargs: first),
        # Every optimizer asks, wherever its weights are.
        (torch.accelerator, "current_stream", lambda: SimpleNamespace(is_capturing=lambda: False)),
    ]
    if "mps" in kinds:
        said += [(torch.backends.mps, name, yes) for name in ("is_available", "is_built")]
    if "cuda" in kinds:
        said += [(torch.cuda, "is_available", yes), (torch.cuda, "device_count", lambda: 1)]
    with replaced(said):
        yield


@contextmanager
def pretended(kind: str) -> Iterator[Machine]:
    """Inside, this machine has an accelerator of that kind, "cuda" or "mps"."""
    machine, own = Machine(kind), getattr(torch, kind)
    said = [
        (torch, "Generator", Generator),
        (torch._C, GROUPS, grouped(machine, getattr(torch._C, GROUPS))),
        # One stream of random numbers serves both places.
        (own, "manual_seed", lambda seed: torch.default_generator.manual_seed(seed)),
        (own, "get_rng_state", lambda *_: torch.get_rng_state()),
        (own, "set_rng_state", lambda state, *_: torch.set_rng_state(state)),
    ]
    with available(kind), replaced(said), machine, Speech(machine):
        yield machine


@contextmanager
def replaced(said: list[tuple]) -> Iterator[None]:
    """Inside, each module's attribute of that name is another."""
    with ExitStack() as stack:
        for module, name, other in said:
            stack.enter_context(patch.object(module, name, other))
        yield
