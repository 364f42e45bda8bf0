"""Checkpoints: one safetensors file each, whole or not there at all.

The tensors lie beside a JSON text, `about`, in the file's metadata. Nothing is ever unpickled, so
a checkpoint from a stranger can at worst be wrong, never run code. `labkit.model_file` builds a
trained system from its file alone; `labkit.run_file` is what training goes on from.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import secrets
import time
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

KEY = "labkit"  # the name in the metadata under which `about` is kept
SAME = "labkit.same"  # and the one of tensors that are another one under a second name
ABANDONED = 3600  # seconds after its last byte until a half-written file counts as left behind
COMPILED = "_orig_mod."  # what torch.compile puts into names


def save(
    path: str | Path, tensors: dict[str, Tensor], about: dict[str, Any], half: bool = False
) -> None:
    """Writes the file whole or not at all: a crash or a full disk leaves the old one as it was.

    A tensor that has several names, such as tied weights, is stored once. ``about`` may hold what
    JSON holds, numpy's numbers, and dataclasses, which are stored as their fields. half: floats of
    32 and 64 bits are stored in 16, where they fit.
    Raises ValueError for what such a file cannot hold, OSError, saying which file could not be
    written.
    """
    try:
        text = json.dumps(about, default=plain)
    except TypeError as error:
        raise ValueError(f"what {path} should say of itself is not JSON: {error}") from None
    first: dict[tuple, str] = {}
    same = {}
    for name, tensor in tensors.items():
        if (original := first.setdefault(place(name, tensor), name)) != name:
            same[name] = original
    try:
        data = safetensors.torch.save(
            {name: alone(tensors[name], half) for name in first.values()},
            metadata={KEY: text} | ({SAME: json.dumps(same)} if same else {}),
        )
    except (RuntimeError, ValueError, SafetensorError) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} cannot hold these tensors: {why}") from None
    write_whole(path, data)


def plain(value: Any) -> Any:
    """For JSON: a dataclass as its fields, numpy's and torch's numbers as Python's own."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, np.generic) or (isinstance(value, Tensor) and value.ndim == 0):
        return value.item()
    raise TypeError(f"{type(value).__name__} is not one of the types that JSON holds")


def as_json(value: Any) -> Any:
    """A value as a file gives it back: dicts for dataclasses, lists for tuples."""
    return json.loads(json.dumps(value, default=plain))


def place(name: str, tensor: Tensor) -> tuple:
    """Where a tensor lies in memory; two that agree in this are one."""
    if tensor.layout != torch.strided or tensor.is_meta or tensor.numel() == 0:
        return (name,)
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())


def alone(tensor: Tensor, half: bool) -> Tensor:
    """The tensor as the file holds it, in memory of its own."""
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        return tensor  # such as a sparse one, which no file of this kind can hold
    if half and tensor.dtype in (torch.float32, torch.float64):
        small = tensor.half()
        tensor = small if torch.equal(small.isfinite(), tensor.isfinite()) else tensor
    if tensor.untyped_storage().nbytes() > tensor.nbytes:
        tensor = tensor.clone()  # a part of something bigger, of which others may be parts, too
    return tensor.contiguous()


def write_whole(path: str | Path, data: bytes) -> None:
    """The file gets all these bytes, or stays as it was. Raises OSError."""
    target = Path(os.path.realpath(path))  # of a link, the file that it points to
    # Nobody else writes to a file of this name: not another process, thread or machine.
    part = target.with_name(f"{target.name}.{secrets.token_hex(8)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        write(part, data)
        os.replace(part, target)  # one name, either the old file or the new one
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink()
        if not isinstance(error, OSError):
            raise
        raise OSError(
            error.errno,
            f"{path} could not be written ({error.strerror}); an earlier file of that name is "
            f"untouched. Free some space or choose another folder, then go on",
        ) from error


def remove_leftovers(target: Path) -> None:
    """Removes what writers of that file left behind that were killed while they wrote."""
    for part in target.parent.glob(f"{glob.escape(target.name)}.*.part"):
        with contextlib.suppress(FileNotFoundError):  # its writer has just finished
            if time.time() - part.stat().st_mtime > ABANDONED:
                part.unlink()


def write(path: Path, data: bytes) -> None:
    """Writes the bytes and waits until the disk has them."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def load(path: str | Path, device: str | torch.device = "cpu") -> tuple[dict[str, Tensor], dict]:
    """The tensors and what `save` was given about them.

    Raises FileNotFoundError, or ValueError for a file that is cut, foreign or a pickle.
    """
    with opened(path, device) as file:  # once, since another process may replace it meanwhile
        about, same = facts(file, path)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return tensors | {name: tensors[original] for name, original in same.items()}, about


def read_about(path: str | Path) -> dict:
    """What a checkpoint says about itself, without reading its tensors. Raises as `load` does."""
    with opened(path) as file:
        return facts(file, path)[0]


def opened(path: str | Path, device: str | torch.device = "cpu") -> safe_open:
    """The file, for a with statement. Raises as `load` does, unless it is somebody else's."""
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a" if path.is_dir() else "is not there: no"
        raise FileNotFoundError(f"{path} {what} checkpoint; check the name and the folder.")
    try:
        return safe_open(path, framework="pt", device=str(device))
    except SafetensorError as error:
        with open(path, "rb") as file:  # only now: a good file may begin with the same bytes
            start = file.read(2)
        if start in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
            raise ValueError(
                f"{path} is a pickle (torch.save writes those), which could run any code when "
                "read; labkit opens only safetensors files, such as those of "
                "labkit.checkpoint.save."
            ) from None
        raise ValueError(
            f"{path} is cut short or is not a safetensors file ({error}); copy it again, or train "
            f"again from the last whole checkpoint."
        ) from None


def facts(file: safe_open, path: str | Path) -> tuple[dict, dict[str, str]]:
    """What an open file says about itself, and which names mean a tensor of another name. Raises
    ValueError if it is not one of ours."""
    metadata = file.metadata() or {}
    try:
        about, same = json.loads(metadata[KEY]), json.loads(metadata.get(SAME, "{}"))
        ours = isinstance(about, dict) and set(same.values()) <= set(file.keys())
    except (KeyError, ValueError, AttributeError, TypeError, RecursionError):
        ours = False
    if not ours:
        raise ValueError(
            f"{path} is a safetensors file, but not one of labkit's: it does not say what model "
            f"it belongs to. Load its tensors with safetensors and give them to a model yourself."
        )
    return about, same


def state(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of a model under the names that they have when it is not compiled. Raises
    ValueError if its state holds something else, which no checkpoint can hold."""
    found = {name.replace(COMPILED, ""): part for name, part in model.state_dict().items()}
    for name, part in found.items():
        if not isinstance(part, Tensor):
            raise ValueError(
                f"{name!r} in the state of this {type(model).__name__} is no tensor, but "
                f"{type(part).__name__}; a checkpoint holds tensors only"
            )
    return found


def fill(model: nn.Module, tensors: dict[str, Tensor], source: str | Path) -> None:
    """Puts the tensors into the model. ValueError, naming the first that differs, if they are of
    another configuration."""
    own = {name: tuple(tensor.shape) for name, tensor in state(model).items()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if own != given:
        name = next(name for name in own | given if own.get(name) != given.get(name))
        raise ValueError(
            f"{source} is of another configuration than this {type(model).__name__}: {name!r} has "
            f"shape {given.get(name, 'none')} in the file and {own.get(name, 'none')} in the "
            f"model; build the model with the configuration that the file names."
        )
    model.load_state_dict(
        {name: tensors[name.replace(COMPILED, "")] for name in model.state_dict()}
    )
