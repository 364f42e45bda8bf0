"""Below Python on a pretended accelerator; `tests.machines.pretended` tells what it is."""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
import torchgen
import yaml
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import labkit

aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._foreach_copy_.default}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
# torch itself brings the numbers of these to the device, however many there are.
BRINGS_NUMBERS = {aten.where, aten.masked_fill, aten.masked_fill_, aten.fill_}
LOOKS = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Machine(TorchDispatchMode):
    """What happens on a machine with an accelerator of that kind, "cuda" or "mps".

    waits: how often each line of labkit made the CPU wait for the device, since it asked for a
    value that lies there. copies: how often each brought something to the device.
    """

    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.device = kind, torch.device(kind, 0)
        self.waits, self.copies = Counter(), Counter()
        self.asked: bool | None = None  # is a new tensor to lie there? None: nobody said
        self.trusts = False  # does a function of torch run that would not look at its numbers?
        self.around = False  # does a function of Python run that was given tensors of the device?

    def has(self, x: object) -> bool:
        """Does this tensor lie on the device?"""
        return isinstance(x, Tensor) and hasattr(x.untyped_storage(), "pretended")

    def put(self, x: Tensor) -> None:
        """From now on this tensor lies on the device, and all that share its memory."""
        if self.kind == "mps" and x.dtype in (torch.float64, torch.complex128):
            raise TypeError(
                f"Cannot convert a MPS Tensor to {str(x.dtype)[6:]} dtype as the MPS framework "
                f"doesn't support {str(x.dtype)[6:]}. Please use float32 instead."
            )
        x.untyped_storage().pretended = True

    def copied(self, x: Tensor, there: bool) -> Tensor:
        """A copy of x on the device, or on the CPU."""
        (self.copies if there else self.waits)[line()] += 1
        out = x.detach().clone()
        if there:
            self.put(out)
        else:
            del out.untyped_storage().pretended
        return out

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = [leaf for leaf in leaves(args, kwargs) if isinstance(leaf, Tensor)]
        there = [self.has(x) for x in given]
        if any(there):
            self.examine(func, args, given, there)
        new = any(argument.name == "device" for argument in func._schema.arguments)
        guessed = False
        if new and self.asked is not None:
            goes = self.asked
        else:
            # What autograd makes on its own, such as a zero, says nothing of where it belongs.
            guessed = new and not given and self.around
            goes = any(there) or guessed
        if goes and self.kind == "mps":
            check_kernel(func.name().removeprefix("aten::"))
        out = func(*args, **kwargs)
        if goes and func not in COPIES:
            for x in leaves(out):
                wide = isinstance(x, Tensor) and x.dtype == torch.float64
                if isinstance(x, Tensor) and not (guessed and wide and self.kind == "mps"):
                    self.put(x)
        return out

    def examine(self, func, args, given: list[Tensor], there: list[bool]) -> None:
        """Raises where tensors of both places meet, and counts where the CPU has to wait."""
        name = func.overloadpacket
        if func in COPIES:
            into, source = (self.has(next(leaves(each))) for each in args[:2])
            if into != source:
                (self.copies if into else self.waits)[line()] += 1
            return
        if name in INDEXING and there[0]:
            indices = [x for x in args[1] if x is not None]
            given = [x for x in given if not any(x is index for index in indices)]
            masks = any(index.dtype in (torch.bool, torch.uint8) for index in indices)
            if masks and not (len(args) > 2 and args[2].numel() == 1):  # that is a masked_fill
                self.waits[line()] += 1
            self.copies[line()] += sum(not self.has(index) for index in indices)
        elif LOOKS & set(func.tags) and not self.trusts:
            self.waits[line()] += 1
        here = [x for x in given if not self.has(x)]
        numbers = [x for x in here if x.ndim == 0]
        takes_one = torch.Tag.pointwise in func.tags and len(numbers) == 1
        writes_here = func._schema.is_mutable and not self.has(next(leaves(args)))
        fine = len(numbers) == len(here) and (takes_one or name in BRINGS_NUMBERS | INDEXING)
        if here and (writes_here or not fine):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{self.device} and cpu! (in {func.name()})"
            )


@functools.cache
def without_mps_kernel() -> set[str]:
    """The operations that torch's own table knows for some devices, but not for MPS."""
    table = Path(torchgen.__file__).parent / "packaged/ATen/native/native_functions.yaml"
    entries = yaml.load(table.read_text("utf-8"), yaml.CSafeLoader)
    named = {entry["func"].partition("(")[0]: entry for entry in entries}
    missing = set()
    for name, entry in named.items():
        written = named[entry["structured_delegate"]] if "structured_delegate" in entry else entry
        kinds = ",".join(written.get("dispatch", ["MPS"])).replace(" ", "").split(",")
        # A composite is made of other operations, so it needs no kernel of its own.
        if "MPS" not in kinds and not any(kind.startswith("Composite") for kind in kinds):
            missing.add(name)
    return missing


def check_kernel(name: str) -> None:
    """Raises NotImplementedError for an operation that MPS does not have."""
    # Of scaled_dot_product_attention's kernels a CPU chooses one of its own, as MPS does.
    if name in without_mps_kernel() and "_for_cpu" not in name:
        raise NotImplementedError(
            f"The operator 'aten::{name}' is not currently implemented for the MPS device."
        )


def leaves(*values: object) -> Iterator:
    """What lies in lists, tuples and dicts, however deep."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from leaves(*value)
        elif isinstance(value, dict):
            yield from leaves(*value.values())
        else:
            yield value


def line() -> str:
    """The innermost line of labkit that is running, such as "schedule.py:75"."""
    root, frame = str(Path(labkit.__file__).parent), sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith(root):
            return f"{frame.f_code.co_filename[len(root) + 1 :]}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"
