"""The files of released models: read, and their tensors given the names that labkit has."""

from __future__ import annotations

from pathlib import Path

import tokenizers
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from labkit.inputs import listed, short


def present(path: str | Path, what: str) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"there {what} {path}: check the name and the folder")


def read_tensors(path: str | Path, without: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """All tensors of a safetensors file, but for those whose names begin so; FileNotFoundError or
    ValueError if it is not one."""
    present(path, "are no weights")
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if not name.startswith(without)]  # noqa: SIM118
            return {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is cut short or is no safetensors file ({short(error)}): fetch it again; a "
            "pytorch_model.bin is a pickle, which labkit does not open"
        ) from None


def read_words(path: str | Path) -> tokenizers.Tokenizer:
    """The tokenizer of a tokenizer.json; FileNotFoundError or ValueError if it is not one."""
    present(path, "is no tokenizer")
    try:
        return tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(
            f"{path} is cut short or is no tokenizer.json ({short(error)}): fetch it again"
        ) from None


def noted(error: ValueError, lines: list[str]) -> ValueError:
    """The error with all that its sentence cuts short, one a line."""
    error.add_note("\n".join(lines))
    return error


def translated(
    tensors: dict[str, Tensor],
    names: dict[str, list[str]],
    model: nn.Module,
    source: str | Path,
    ignored: frozenset[str] = frozenset(),
) -> dict[str, Tensor]:
    """The tensors under the model's names, in float32. ValueError, naming what differs, unless
    the file holds exactly what the model needs, and perhaps some of the ignored names; where that
    is much, the error's note has all of it."""
    wanted = {name for group in names.values() for name in group}
    missing, extra = wanted - tensors.keys(), tensors.keys() - wanted - ignored
    if missing or extra:
        error = ValueError(
            f"{source} holds another model than this {type(model).__name__}: missing "
            f"{listed(sorted(missing))}; not known here {listed(sorted(extra))}; give the "
            "configuration that belongs to the file"
        )
        raise noted(error, ["missing:", *sorted(missing), "not known here:", *sorted(extra)])
    if whole := [name for name in sorted(wanted) if not tensors[name].is_floating_point()]:
        raise ValueError(
            f"{source} holds whole numbers in place of weights, as files of few bits do "
            f"({listed(f'{name} {tensors[name].dtype}' for name in whole)}): give the file in full "
            "or half precision"
        )
    odd = []
    for name, own in model.state_dict().items():
        parts = names[name]
        shape = (own.shape[0] // len(parts), *own.shape[1:]) if own.ndim else ()
        odd += [
            f"{part} {tuple(tensors[part].shape)} instead of {tuple(shape)}"
            for part in parts
            if tensors[part].shape != shape
        ]
    if odd:
        error = ValueError(
            f"{source} holds a {type(model).__name__} of another size: {listed(odd)}; give the "
            "configuration that belongs to the file"
        )
        raise noted(error, odd)
    found = {name: [tensors[part] for part in parts] for name, parts in names.items()}
    return {
        name: (torch.cat(parts) if len(parts) > 1 else parts[0]).float()
        for name, parts in found.items()
    }
