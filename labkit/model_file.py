"""The file of a trained system: its class, its configuration, its class names and its weights.

The system can be built from the file alone. A file names its class; only classes of labkit that
stand in `SYSTEMS` are ever built, so that a file from a stranger runs no code.

A system has a ``config``, from which its class builds it. One that is made of others has ``parts``,
by the names of its class's arguments; the file then says the same of each of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from labkit import checkpoint
from labkit.inputs import short
from labkit.scenes.tokenizer import words_of

SYSTEMS = {  # where each is found; imported when a file asks for it
    "ADM": "labkit.systems.adm",
    "AutoregressivePrior": "labkit.systems.autoregressive_prior",
    "Cascade": "labkit.systems.cascade",
    "CLIP": "labkit.systems.clip",
    "DALLE2": "labkit.systems.dalle2",
    "Classifier": "labkit.nets.classifier",
    "DDPM": "labkit.systems.ddpm",
    "DiffusionPrior": "labkit.systems.diffusion_prior",
    "FirstStage": "labkit.systems.autoencoder",
    "GLIDE": "labkit.systems.glide",
    "Imagen": "labkit.systems.imagen",
    "ImagenStage": "labkit.systems.imagen_stage",
    "LDM": "labkit.systems.ldm",
    "MaskedLM": "labkit.systems.bert",
    "MMCA": "labkit.systems.mmca",
    "Matcher": "labkit.systems.matcher",
    "NoisyCLIP": "labkit.systems.sdg",
    "NoisyGuide": "labkit.systems.adm",
    "Reader": "labkit.scenes.reader",
    "T5": "labkit.systems.t5",
    "SDG": "labkit.systems.sdg",
    "UnCLIPDecoder": "labkit.systems.unclip_decoder",
}


def class_named(name: Any) -> type[nn.Module] | None:
    """The class of that name; None if labkit has no such system."""
    module = SYSTEMS.get(name) if isinstance(name, str) else None
    return getattr(importlib.import_module(module), name) if module else None


def save(path: str | Path, system: nn.Module, **facts) -> None:
    """Writes the system in half precision, with whatever else there is to say about it, as JSON.
    Its class names are ``system.names``, if it has them. Raises ValueError for a system that is not
    one of labkit's, and as `labkit.checkpoint.save` does."""
    checkpoint.save(path, checkpoint.state(system), {**described(system), **facts}, half=True)


def described(system: nn.Module) -> dict[str, Any]:
    """What the file says of a system, and likewise of each of its parts, so that it can be built
    again. Raises ValueError for what could not be."""
    system = getattr(system, "_orig_mod", system)  # what torch.compile has wrapped
    kind = type(system).__name__
    if class_named(kind) is not type(system):
        raise ValueError(
            f"a file of a {kind} could not be built again: labkit knows {', '.join(SYSTEMS)}. Save "
            "its tensors with labkit.checkpoint.save, and build it yourself"
        )
    if other := words_of(getattr(system, "tokenizer", None)):
        raise ValueError(
            f"this {kind} reads with a tokenizer of its own ({other}), which the file could not "
            "hold, and the course's would read other words into it: save its tensors with "
            "labkit.checkpoint.save, and keep the tokenizer beside them"
        )
    about: dict[str, Any] = {"system": kind}
    if hasattr(system, "config"):
        about["config"] = system.config
    if hasattr(system, "parts"):
        about["parts"] = {name: described(part) for name, part in system.parts.items()}
    if words := getattr(system, "names", None):
        about["names"] = [str(word) for word in words]
        check_names(about["names"], system, "the system")
    return about


def load(path: str | Path) -> nn.Module:
    """The system that `save` wrote to that file, built from it alone, on the CPU, ready to use.

    Raises ValueError for another kind of file, and as `labkit.checkpoint.load` does.
    """
    return built(*checkpoint.load(path), path)


def built(tensors: dict[str, Tensor], about: dict, path: str | Path) -> nn.Module:
    """The system of which a file says that, with those weights. Nobody's random numbers are used up
    for the initial weights, which are replaced at once. Raises ValueError for parts of which the
    weights tell that they do not belong together, by the system's ``check``, if it has one."""
    with torch.random.fork_rng(devices=[]), at_most(sum(map(torch.numel, tensors.values()))):
        system = untrained(about, path)
    checkpoint.fill(system, tensors, path)
    if hasattr(system, "check"):
        system.check()
    return system.eval()


def untrained(about: dict, path: str | Path) -> nn.Module:
    """The system that a file describes, its parts first. Raises ValueError for what is none."""
    kind = class_named(about.get("system"))
    if kind is None:
        raise ValueError(
            f"{path} holds {what(about)}, not a trained system of labkit's ({', '.join(SYSTEMS)}); "
            "give a file that `labkit train` wrote at its end"
        )
    config = {"config": config_of(kind, about, path)} if "config" in about else {}
    try:
        parts = {name: untrained(part, path) for name, part in about.get("parts", {}).items()}
        system = kind(**config, **parts)
    except Exception as error:  # a stranger's configuration raises errors of every kind
        raise unbuildable(path, kind, error) from None
    if names := about.get("names"):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ValueError(
                f"{path} says its classes are called {short(names)}, not a list of words"
            )
        check_names(names, system, path)
        system.names = tuple(names)
    return system


def config_of(kind: type, about: dict, path: str | Path) -> Any:
    """The configuration in the file of such a system. An option that came later than the file has
    its default, which is what there was before. Raises ValueError for what is none."""
    try:
        return get_type_hints(kind.__init__)["config"](**about["config"])
    except Exception as error:  # as above
        raise unbuildable(path, kind, error) from None


def unbuildable(path: str | Path, kind: type, error: Exception) -> ValueError:
    return ValueError(
        f"{path} holds a {kind.__name__} of a configuration that this labkit cannot build "
        f"({short(str(error) or type(error).__name__)}); use the labkit that it was trained with, "
        "or train it again"
    )


def what(about: dict) -> str:
    """What kind of file it is that says this about itself."""
    return "a run that is not finished" if "run" in about else short(about.get("system", "tensors"))


@contextmanager
def at_most(numbers: int) -> Iterator[None]:
    """No module built inside has more weights than that together, which are as many as its file
    holds: a small file cannot ask for all memory, or for hours. Raises ValueError."""
    left = numbers

    def count(module: nn.Module, name: str, weight: nn.Parameter | None) -> None:
        nonlocal left
        left -= 0 if weight is None else weight.numel()
        if left < 0:
            raise ValueError(f"it needs more than the {numbers:,} numbers that the file holds")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def check_names(names: list[str], system: nn.Module, whose: Any) -> None:
    """Raises ValueError unless there is a name for each class."""
    classes = getattr(system, "classes", len(names))
    if len(names) != classes:
        raise ValueError(
            f"{whose} has {len(names)} names for {classes} classes, but each needs one: give as "
            "many names, or none"
        )
