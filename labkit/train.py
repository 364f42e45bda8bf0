"""The one training loop, for every system of the course.

    for step in train(system, batches, steps=2000):
        print(step.step, step.loss)
    system = step.ema

A system is a module with ``loss(batch) -> Tensor``. The loop is a generator: a progress bar or a
live plot only watches it. Devices, precision and several processes are lightning-fabric's.

Every random draw of a step comes from (seed, step, process) alone. So a run that was stopped, even
by ``kill -9``, goes on to the same weights bit for bit, and a bad batch can be drawn again.
"""

import math
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from labkit import checkpoint as files
from labkit.inputs import number, one_of, whole_number

Batches = Callable[[torch.Generator], Any]


class Step(NamedTuple):
    """What one update brought."""

    step: int  # updates done so far, 1 after the first
    loss: float  # before this update
    images_per_second: float  # of training alone, since the start of this run
    ema: nn.Module  # the system with averaged weights: the one to sample from


def shuffled(*tensors: Tensor, batch: int) -> Batches:
    """Batches of that many rows, drawn at random from tensors of equal length; the same rows of
    each. One tensor gives tensors, several give tuples."""
    whole_number(batch, "the batch", 1)
    if len({len(tensor) for tensor in tensors}) != 1:
        raise ValueError(
            f"shuffled was given tensors of {', '.join(str(len(t)) for t in tensors)} rows; give "
            f"at least one, and all of the same length"
        )

    def draw(generator: torch.Generator):
        rows = torch.randint(len(tensors[0]), (batch,), generator=generator)
        drawn = tuple(tensor[rows] for tensor in tensors)
        return drawn if len(drawn) > 1 else drawn[0]

    return draw


# How the learning rate falls as progress goes from 0 to 1.
DECAYS = {
    "constant": lambda progress: 1.0,
    "linear": lambda progress: 1 - progress,
    "cosine": lambda progress: (1 + math.cos(math.pi * progress)) / 2,
}


def learning_rate(step: int, steps: int, peak: float, warmup: int, decay: str) -> float:
    """The rate of update number ``step`` (0 is the first): a linear rise, then the decay."""
    return peak * min(1, (step + 1) / max(1, warmup)) * DECAYS[decay](step / steps)


def batch_seed(seed: int, step: int, process: int = 0) -> int:
    """The seed of everything random in that step: the batch, the times, the noise, the dropout."""
    return int(np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)[0] >> 1)


@torch.no_grad()
def average(ema: list[Tensor], weights: list[Tensor], step: int, decay: float) -> None:
    """ema <- d ema + (1 - d) weights, in place. d starts small, min(decay, (1+n)/(10+n)), so that
    the average forgets the untrained weights (the warm-up of latent-diffusion's code)."""
    torch._foreach_lerp_(ema, weights, 1 - min(decay, (1 + step) / (10 + step)))


def train(
    system: nn.Module,
    batches: Batches,
    steps: int,
    *,
    lr: float = 1e-3,
    warmup: int = 100,
    decay: str = "cosine",
    betas: tuple[float, float] = (0.9, 0.99),
    weight_decay: float = 0.0,
    clip: float = 1.0,
    ema: float = 0.999,
    seed: int = 0,
    checkpoint: str | Path | None = None,
    save_every: int = 500,
    fabric: Fabric | None = None,
) -> Iterator[Step]:
    """Trains the system in place, yields a `Step` after every update.

    ``batches(generator)`` gives what ``system.loss`` takes, drawn with that generator alone.
    AdamW with the learning rate `learning_rate` gives, the gradient's norm clipped at ``clip``.
    With a ``checkpoint`` the run is saved there every ``save_every`` updates and at the end; if
    that file exists, the run goes on from it. Several processes: give a launched `Fabric`; each
    process then draws its own batches. On fp16 prefer bf16-mixed: a gradient that overflows stops.

    Raises ValueError for impossible settings or the checkpoint of another run, OSError if the disk
    does not take the checkpoint, FloatingPointError, naming step and seed, if the loss is not
    finite. What was saved stays whole in every case.
    """
    if not callable(batches):
        raise ValueError(
            "batches is not a function; give one that takes a torch.Generator and returns a batch, "
            "such as train.shuffled(images, batch=128)"
        )
    one_of(decay, DECAYS, "decay")
    whole_number(steps, "steps", 1)
    whole_number(warmup, "warmup", 0)
    whole_number(save_every, "save_every", 1)
    whole_number(seed, "seed", 0)
    for name, value in {"lr": lr, "clip": clip, "weight_decay": weight_decay}.items():
        number(value, name, 0)
    number(ema, "ema", 0, 1)
    recipe = {
        "steps": steps, "lr": lr, "warmup": warmup, "decay": decay, "betas": list(betas),
        "weight_decay": weight_decay, "clip": clip, "ema": ema, "seed": seed,
    }  # fmt: skip
    return run(system, batches, recipe, checkpoint, save_every, fabric or Fabric(devices=1))


def run(system, batches, recipe, checkpoint, save_every, fabric) -> Iterator[Step]:
    """The loop itself, once `train` has found its arguments in order."""
    system.to(fabric.device).train()
    averaged = deepcopy(system).eval().requires_grad_(False)
    pairs = [
        (mean, weight)
        for mean, weight in zip(averaged.parameters(), system.parameters(), strict=True)
        if weight.requires_grad
    ]
    means, weights = map(list, zip(*pairs, strict=True))
    optimizer = torch.optim.AdamW(
        weights, lr=recipe["lr"], betas=recipe["betas"], weight_decay=recipe["weight_decay"],
        fused=True,
    )  # fmt: skip
    first, loss = 0, math.nan
    if checkpoint is not None and Path(checkpoint).exists():
        first, loss = restore(checkpoint, system, averaged, optimizer, recipe)
    model, optimizer = fabric.setup(system, optimizer)
    model.mark_forward_method("loss")
    if first == recipe["steps"]:
        yield Step(first, loss, math.nan, averaged)

    images = seconds = 0
    for step in range(first, recipe["steps"]):
        started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(
                step, recipe["steps"], recipe["lr"], recipe["warmup"], recipe["decay"]
            )
        seed = batch_seed(recipe["seed"], step, fabric.global_rank)
        cuda = [fabric.device] if fabric.device.type == "cuda" else []
        try:
            batch = fabric.to_device(batches(torch.Generator().manual_seed(seed)))
            with torch.random.fork_rng(devices=cuda):  # the watcher's own draws stay as they were
                torch.manual_seed(seed + 1)
                loss = model.loss(batch)
                fabric.backward(loss)
        except Exception as error:
            error.add_note(
                f"This was step {step + 1} of training; its batch is "
                f"batches(torch.Generator().manual_seed({seed}))."
            )
            raise
        norm = fabric.clip_gradients(
            model, optimizer, max_norm=recipe["clip"], error_if_nonfinite=False
        )
        loss = fabric.all_reduce(loss.detach(), reduce_op="mean").item()
        if not (math.isfinite(loss) and torch.isfinite(norm)):
            raise FloatingPointError(
                f"Step {step + 1} has loss {loss} and gradient norm {norm.item()}, so training "
                f"stopped before it could spoil the weights; look at its batch, "
                f"batches(torch.Generator().manual_seed({seed})), or lower lr."
            )
        optimizer.step()
        optimizer.zero_grad()
        average(means, weights, step, recipe["ema"])
        for mean, buffer in zip(averaged.buffers(), system.buffers(), strict=True):
            mean.copy_(buffer)

        done = step + 1
        images += fabric.world_size * (len(batch[0]) if isinstance(batch, tuple) else len(batch))
        seconds += time.perf_counter() - started
        ends = done % save_every == 0 or done == recipe["steps"]
        if checkpoint is not None and ends and fabric.is_global_zero:
            keep(checkpoint, system, averaged, optimizer, recipe, done, loss)
        yield Step(done, loss, images / seconds, averaged)


def keep(path, system, averaged, optimizer, recipe, step, loss) -> None:
    """Saves all that the rest of the run depends on."""
    tensors = {f"system.{name}": tensor for name, tensor in system.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in averaged.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    files.save(path, tensors, {"run": recipe, "step": step, "loss": loss})


def restore(path, system, averaged, optimizer, recipe) -> tuple[int, float]:
    """Puts everything back as `keep` found it; returns the updates done and the last loss."""
    tensors, about = files.load(path)
    if about.get("run") != recipe:
        other = about.get("run") or {}
        name = next((name for name in recipe if other.get(name) != recipe[name]), "steps")
        raise ValueError(
            f"{path} belongs to another run: its {name} is {other.get(name)}, yours is "
            f"{recipe[name]}; give another checkpoint file, or the same settings to go on with it"
        )
    groups = {"system": {}, "ema": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        group, rest = name.split(".", 1)
        groups[group][rest] = tensor
    files.fill(system, groups["system"], path)
    files.fill(averaged, groups["ema"], path)
    state = optimizer.state_dict()
    weights = optimizer.param_groups[0]["params"]
    for name, tensor in groups["optimizer"].items():
        index, key = name.split(".")
        # The moments must lie in memory as the weights do (channels last), or they would not meet.
        like = torch.empty_like(weights[int(index)]) if tensor.dim() else torch.empty(())
        state["state"].setdefault(int(index), {})[key] = like.copy_(tensor)
    optimizer.load_state_dict(state)
    return about["step"], about["loss"]
