"""The file of a run that may stop and go on: all that the rest of it depends on, and of which
system and data it is, so that nobody goes on with another by accident."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from labkit import batches, checkpoint, ema
from labkit.inputs import short


class Progress:
    """How far a run has come, and what of that its file holds.

    path: of the file, None for none. run: what `save` says of the run. writes: whether this process
    is the one that saves; others only read.
    """

    def __init__(self, path: Path | None, run: dict, system, averaged, optimizer, writes: bool):
        self.path, self.run, self.writes = path, run, writes and path is not None
        self.system, self.averaged, self.optimizer = system, averaged, optimizer
        self.done = self.saved = 0  # updates
        self.loss = math.nan  # before the last one
        self.weights = None  # their `versions` since the last update; none while one is made

    def begin(self) -> None:
        """Goes on from the file, if there is one; else saves at once, so that what cannot be saved
        is found now. Raises as `restore` and `save` do."""
        if self.path is not None and self.path.exists():
            parts = self.system, self.averaged, self.optimizer
            self.done, self.loss = restore(self.path, *parts, self.run)
            self.saved = self.done
        else:
            self.save()

    def rest(self) -> None:
        """The weights as they are now are those that the last update left."""
        self.weights = versions(self.system)

    @contextmanager
    def update(self, loss: float) -> Iterator[None]:
        """Around an update of all weights, of which the loss was that."""
        self.weights = None
        yield
        # Fused steps do not count themselves, and `versions` would not see another run's.
        torch.autograd.graph.increment_version(self.system.parameters())
        self.done, self.loss = self.done + 1, loss
        self.rest()

    def save(self) -> None:
        """Writes the file, if this process does."""
        if self.writes:
            parts = self.system, self.averaged, self.optimizer
            save(self.path, *parts, self.run, self.done, self.loss)
            self.saved = self.done

    def save_the_rest(self) -> None:
        """Saves what was done since the last time, when a run is stopped. Not where the last update
        is gone, in part or by a later run of the same system, nor over what that run has saved
        since."""
        whole = self.done > self.saved and self.weights == versions(self.system)
        if whole and self.writes and stands_at(self.path, self.run, self.saved):
            self.save()


def versions(system: nn.Module) -> list[tuple[int, int | None]]:
    """Differs as soon as one of the system's weights or statistics has been changed."""
    parts = ema.tensors(system).values()
    return [(id(part), None if part.is_inference() else part._version) for part in parts]


def described(system: nn.Module) -> dict[str, Any]:
    """Of what kind a system is, part by part: the ``config`` where a part has one, which tells of
    all inside, and otherwise what torch prints of it."""
    found = {}

    def add(module: nn.Module, name: str) -> None:
        module = getattr(module, "_orig_mod", module)  # the same, whether compiled or not
        printed = " ".join(re.sub(r" at 0x\w+", "", module.extra_repr()).split())
        found[name] = f"{type(module).__name__}({printed})"
        config = getattr(module, "config", None)
        if is_dataclass(config):
            found[f"{name} configuration"] = jsonable(config)
            return
        for part, child in module.named_children():
            add(child, f"{name}.{part}")

    add(system, "system")
    return found | {"class names": jsonable(getattr(system, "names", None))}


def jsonable(value: Any) -> Any:
    """A value as JSON holds it; in words what JSON does not know, such as a dtype or a NaN."""
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return jsonable(value.tolist())
    if isinstance(value, list | tuple):
        return [jsonable(part) for part in value]
    if (
        value is None
        or isinstance(value, str | int)
        or (value == value and isinstance(value, float))
    ):
        return value
    return re.sub(r" at 0x\w+", "", str(value))


def save(path: str | Path, system, averaged, optimizer, run: dict, step: int, loss: float) -> None:
    """Saves the state after that many updates. run: "settings" as JSON holds them, "system" as
    `described`, "data" as `labkit.batches.fingerprint` gives it."""
    tensors = {f"system.{name}": tensor for name, tensor in checkpoint.state(system).items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in checkpoint.state(averaged).items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    checkpoint.save(path, tensors, {"run": run, "step": step, "loss": loss if step else None})


def stands_at(path: str | Path, run: dict, step: int) -> bool:
    """Whether that file is of the same run and was saved after that many updates."""
    if not Path(path).exists():
        return False
    about = checkpoint.read_about(path)
    return (about.get("run"), about.get("step")) == (checkpoint.as_json(run), step)


def restore(path: str | Path, system, averaged, optimizer, run: dict) -> tuple[int, float]:
    """Puts everything back as `save` found it; returns the updates done and the last loss. Raises
    ValueError, naming what differs, for another run."""
    tensors, about = checkpoint.load(path)
    check_same(path, about.get("run"), run)
    step, loss = about.get("step"), about.get("loss")
    whole = type(step) is int and 0 <= step <= run["settings"]["steps"]
    if not whole or not isinstance(loss, float | None):
        raise ValueError(
            f"{path} is damaged: it was saved after {short(step)} updates with loss {short(loss)}; "
            "give another checkpoint file"
        )
    groups = {"system": {}, "ema": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        group, rest = name.split(".", 1)
        groups[group][rest] = tensor
    checkpoint.fill(system, groups["system"], path)
    checkpoint.fill(averaged, groups["ema"], path)
    state = optimizer.state_dict()
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for name, tensor in groups["optimizer"].items():
        index, key = name.split(".")
        weight = weights[int(index)]
        if tensor.shape == weight.shape:
            # Moments must lie in memory as the weights do (channels last), or they would not meet.
            tensor = torch.empty_like(weight).copy_(tensor)
        state["state"].setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict(state)
    return step, math.nan if loss is None else loss


def check_same(path: str | Path, saved: dict | None, own: dict) -> None:
    """Raises ValueError, naming what differs, unless both say the same of a run."""
    kinds = {"settings": dict, "system": dict, "data": list}
    if not isinstance(saved, dict) or {name: type(part) for name, part in saved.items()} != kinds:
        raise ValueError(
            f"{path} does not say of which system and data it is a run (it holds a finished model, "
            "or comes from an earlier labkit); give another checkpoint file"
        )
    before = {"optimizer": "adamw"}  # all that there was until runs said which
    if other := first_difference(before | saved["settings"], own["settings"]):
        raise ValueError(
            f"{path} belongs to another run: its {other}; give another checkpoint file, or the "
            "same settings to go on with it"
        )
    if other := first_difference(saved["system"], own["system"]):
        raise ValueError(
            f"{path} belongs to a system of another configuration: its {other}; build the system "
            "as it was, or give another checkpoint file"
        )
    if own["data"] and (other := batches.difference(saved["data"], own["data"])):
        raise ValueError(
            f"{path} belongs to a run on other data: {other}; give the same data and batch, or "
            "another checkpoint file"
        )


def first_difference(saved: dict, own: dict) -> str | None:
    """The first entry in which they differ, in words, looked for inside of dicts of both."""
    for name in saved | own:
        theirs, ours = saved.get(name), own.get(name)
        if isinstance(theirs, dict) and isinstance(ours, dict):
            if inner := first_difference(theirs, ours):
                return f"{name}, {inner}"
        elif theirs != ours:
            theirs, ours = (
                value if isinstance(value, str) else short(value) for value in (theirs, ours)
            )
            return f"{name} is {theirs}, yours is {ours}"
    return None
