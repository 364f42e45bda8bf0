"""Checkpoints: one safetensors file each, with what is needed to build the model again.

The tensors lie beside a JSON text, `about`, in the file's metadata. Nothing is ever unpickled, so
a checkpoint from a stranger can at worst be wrong, never run code.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

KEY = "labkit"  # the name in the metadata under which `about` is kept


def save(path: str | Path, tensors: dict[str, Tensor], about: dict) -> None:
    """Writes the file whole or not at all: a crash or a full disk leaves the old one as it was.

    ``about`` may hold what JSON holds, and dataclasses, which are stored as their fields.
    Raises OSError, saying which file could not be written.
    """
    path = Path(path)
    text = json.dumps(about, default=asdict)
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    data = safetensors.torch.save(contiguous, metadata={KEY: text})
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(part, data)
        os.replace(part, path)  # one name, either the old file or the new one
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(
            error.errno,
            f"{path} could not be written ({error.strerror}); an earlier file of that name is "
            f"untouched. Free some space or choose another folder, then go on",
        ) from error


def write(path: Path, data: bytes) -> None:
    """Writes the bytes and waits until the disk has them."""
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def load(path: str | Path, device: str | torch.device = "cpu") -> tuple[dict[str, Tensor], dict]:
    """The tensors and what `save` was told about them.

    Raises FileNotFoundError, or ValueError for a file that is cut, foreign or a pickle.
    """
    path = Path(path)
    about = read_about(path)
    return safetensors.torch.load_file(path, device=str(device)), about


def read_about(path: str | Path) -> dict:
    """What a checkpoint says about itself, without reading its tensors. Raises as `load` does."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no checkpoint {path}; check the name and the folder.")
    with open(path, "rb") as file:
        start = file.read(2)
    if start in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        raise ValueError(
            f"{path} is a pickle (torch.save writes those), which could run any code when read; "
            f"labkit opens only safetensors files, such as those of labkit.checkpoint.save."
        )
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is cut short or is not a safetensors file ({error}); copy it again, or train "
            f"again from the last whole checkpoint."
        ) from None
    if KEY not in metadata:
        raise ValueError(
            f"{path} is a safetensors file, but not one of labkit's: it does not say what model "
            f"it belongs to. Load its tensors with safetensors and give them to a model yourself."
        )
    return json.loads(metadata[KEY])


def fill(model: nn.Module, tensors: dict[str, Tensor], source: str | Path) -> None:
    """Puts the tensors into the model. ValueError, naming the first that differs, if they are of
    another configuration."""
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if own != given:
        name = next(name for name in own | given if own.get(name) != given.get(name))
        raise ValueError(
            f"{source} is of another configuration than this {type(model).__name__}: {name!r} has "
            f"shape {given.get(name, 'none')} in the file and {own.get(name, 'none')} in the "
            f"model; build the model with the configuration that the file names."
        )
    model.load_state_dict(tensors)
