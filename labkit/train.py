"""The one training loop, for every system of the course.

    for step in train(system, batches, steps=2000):
        print(step.step, step.loss)
    system = step.ema

A system is a module with ``loss(batch) -> Tensor``. The loop is a generator: a progress bar or a
live plot only watches it. It trains where the system lies: ``system.to("cuda")`` first, if you
like. Several processes and mixed precision are lightning-fabric's, see `train`.

Every random draw of a step comes from (seed, step, process) alone. So a run that was stopped, even
by ``kill -9``, goes on to the same weights bit for bit, and a bad batch can be drawn again.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from labkit import devices, run_file
from labkit.batches import fingerprint, rows
from labkit.ema import Average
from labkit.inputs import number, one_of, short, whole_number
from labkit.optimizers import DECAYS, OPTIMIZERS, learning_rate, optimizer_for

if TYPE_CHECKING:  # importing it takes longer than torch: only who gives one pays for it
    from lightning_fabric import Fabric

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
    batch = whole_number(batch, "the batch", 1)
    lengths = [len(tensor) for tensor in tensors]
    if len(set(lengths)) != 1 or not lengths[0]:
        raise ValueError(
            f"shuffled was given tensors of {', '.join(map(str, lengths)) or 'no'} rows; give at "
            "least one tensor with rows, and all of the same length"
        )

    def draw(generator: torch.Generator):
        rows = torch.randint(lengths[0], (batch,), generator=generator, device=generator.device)
        drawn = tuple(tensor[rows] for tensor in tensors)
        return drawn if len(drawn) > 1 else drawn[0]

    draw.rows = tensors  # by which a run knows its data again
    return draw


def batch_seed(seed: int, step: int, process: int = 0) -> int:
    """The seed of everything random in that step: the batch, the times, the noise, the dropout."""
    return int(np.random.SeedSequence([seed, step, process]).generate_state(1, np.uint64)[0] >> 1)


PRECISIONS = ("32-true", "bf16-mixed")


def train(
    system: nn.Module,
    batches: Batches,
    steps: int,
    *,
    optimizer: str = "adamw",
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
    precision: str | None = None,
    fabric: Fabric | None = None,
) -> Iterator[Step]:
    """Trains the system in place, on the device where it lies; yields a `Step` after every update.

    ``batches(generator)`` gives what ``system.loss`` takes, drawn with that generator alone. A run
    knows its data again by the first batch, and by all that ``batches.rows`` holds, if it has that.
    The optimizer is "adamw", or "muon" for matrices (`labkit.optimizers`), its rate what
    `learning_rate` gives, the gradient's norm clipped at ``clip`` (0: not at all). With a
    ``checkpoint`` the run is saved there at once, every ``save_every`` updates, when it is stopped,
    and at the end; if that file exists, the run goes on from it.

    precision: "32-true" or "bf16-mixed" (weights in full precision, convolutions and products in
    bfloat16: faster where the processor has units for it; in float16 a gradient would soon
    overflow). None: full, or the Fabric's.

    fabric: a launched lightning Fabric, for several processes, each of which then draws batches of
    its own. Its device is where training runs. Without one there is one process, whatever the
    variables of a cluster say.

    Raises ValueError for impossible settings, for the checkpoint of another run, system or data,
    and for what no checkpoint can hold; OSError if the disk does not take the checkpoint;
    FloatingPointError, naming step and seed (and process), if the loss is not finite. What was
    saved stays whole in every case.
    """
    if not callable(batches):
        raise ValueError(
            "batches is not a function; give one that takes a torch.Generator and returns a batch, "
            "such as train.shuffled(images, batch=128)"
        )
    if not isinstance(system, nn.Module) or not callable(getattr(system, "loss", None)):
        raise ValueError(
            f"the system is a {type(system).__name__}, but must be a torch module with a method "
            "loss(batch)"
        )
    if any(map(nn.parameter.is_lazy, system.parameters())):
        raise ValueError("the system has weights without a shape (Lazy…): call it on a batch first")
    learned = [weight for weight in system.parameters() if weight.requires_grad]
    if not learned:
        raise ValueError("the system has no weight that training may change (requires_grad)")
    if half := {weight.dtype for weight in learned} & {torch.float16, torch.bfloat16}:
        raise ValueError(
            f"the system learns weights of {half.pop()}, in which small steps and the average's "
            "would be lost: bring it to float32 by system.float(), and for speed give "
            'precision="bf16-mixed"'
        )
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise ValueError(f"betas is {short(betas)}, but must be two numbers from 0 to below 1")
    recipe = {
        "steps": whole_number(steps, "steps", 1),
        "optimizer": one_of(optimizer, OPTIMIZERS, "optimizer"),
        "lr": number(lr, "lr", 0),
        "warmup": whole_number(warmup, "warmup", 0),
        "decay": one_of(decay, DECAYS, "decay"),
        "betas": [number(beta, "a beta", 0, math.nextafter(1, 0)) for beta in betas],
        "weight_decay": number(weight_decay, "weight_decay", 0),
        "clip": number(clip, "clip", 0),
        "ema": number(ema, "ema", 0, 1),
        "seed": whole_number(seed, "seed", 0),
    }
    save_every = whole_number(save_every, "save_every", 1)
    checkpoint = None if checkpoint is None else Path(checkpoint).expanduser()
    if fabric is None:
        precision = one_of(precision or PRECISIONS[0], PRECISIONS, "precision")
        fabric = devices.OneDevice(devices.of(system), bfloat16=precision == "bf16-mixed")
    else:
        own = one_of(fabric.strategy.precision.precision, PRECISIONS, "precision")
        if precision not in (None, own):
            raise ValueError(
                f"precision is {short(precision)}, but the Fabric's is {own}: leave it out, or "
                "build the Fabric with it"
            )
        precision = own
    recipe |= {"precision": precision, "processes": fabric.world_size}
    return run(system, batches, recipe, checkpoint, save_every, fabric)


def run(system, batches, recipe, checkpoint, save_every, fabric) -> Iterator[Step]:
    """The loop itself, once `train` has found its arguments in order."""
    system.to(fabric.device).train()
    optimizer = optimizer_for(system, recipe["optimizer"], recipe["betas"], recipe["weight_decay"])
    model, optimizer = fabric.setup(system, optimizer)  # all processes now have the first's weights
    if model is not system:  # a Fabric's: the gradients of several processes meet in its forward
        model.mark_forward_method("loss")
    optimizer.zero_grad()  # of a run that was stopped in the middle of a step
    average = Average(system, recipe["ema"])
    about = {"settings": recipe, "system": run_file.described(system), "data": None}
    if checkpoint is not None and fabric.is_global_zero:  # other processes may have other data
        with at_step(0, recipe["seed"], fabric):
            batch = drawn(batches, batch_seed(recipe["seed"], 0))
            about["data"] = fingerprint((batch, getattr(batches, "rows", ())))
    progress = run_file.Progress(
        checkpoint, about, system, average.system, optimizer, writes=fabric.is_global_zero
    )
    progress.begin()
    first = progress.done
    firsts = fabric.all_gather(torch.tensor(first, device=fabric.device)).reshape(-1).tolist()
    if len(set(firsts)) > 1:
        raise ValueError(
            f"the processes begin after {', '.join(map(str, firsts))} updates, since {checkpoint} "
            "is not the same file for each: give one on a disk that all of them share"
        )
    if first == recipe["steps"]:
        yield Step(first, progress.loss, math.nan, average.system)

    images = seconds = 0
    try:
        for step in range(first, recipe["steps"]):
            started = time.perf_counter()
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(
                    step, recipe["steps"], recipe["lr"], recipe["warmup"], recipe["decay"]
                )
            system.train()  # all of it: a watcher may have looked at it in evaluation
            progress.rest()
            seed = batch_seed(recipe["seed"], step, fabric.global_rank)
            with at_step(step, recipe["seed"], fabric):
                batch = fabric.to_device(drawn(batches, seed))
                with devices.seeded(seed + 1, fabric.device):  # the watcher's stay as they were
                    with fabric.autocast(), torch.enable_grad():
                        value = model.loss(batch)
                    fabric.backward(value)
            norm = fabric.clip_gradients(
                model, optimizer, max_norm=recipe["clip"] or math.inf, error_if_nonfinite=False
            )
            losses = fabric.all_gather(value.detach()).reshape(-1)
            *losses, norm = torch.cat([losses, norm.reshape(1).to(losses)]).tolist()
            mean = sum(losses) / len(losses)
            if not (math.isfinite(mean) and math.isfinite(norm)):
                raise not_finite(step, losses, norm, recipe["seed"])
            with progress.update(mean):
                optimizer.step()
                optimizer.zero_grad()
                average.update(step)

            images += fabric.world_size * rows(batch)
            seconds += time.perf_counter() - started
            if progress.done % save_every == 0 or progress.done == recipe["steps"]:
                progress.save()
            yield Step(progress.done, progress.loss, images / seconds, average.system)
    except (KeyboardInterrupt, GeneratorExit):
        progress.save_the_rest()
        raise


def drawn(batches: Batches, seed: int) -> Any:
    return batches(torch.Generator().manual_seed(seed))


def again(seed: int) -> str:
    """How the batch of that seed is drawn once more."""
    return f"batches(torch.Generator().manual_seed({seed}))"


@contextmanager
def at_step(step: int, seed: int, fabric) -> Iterator[None]:
    """An error inside says at which step it came, and how to draw that step's batch again."""
    try:
        yield
    except Exception as error:
        where = f" in process {fabric.global_rank}" if fabric.world_size > 1 else ""
        own = batch_seed(seed, step, fabric.global_rank)
        error.add_note(f"This was step {step + 1} of training{where}; its batch is {again(own)}.")
        raise


def not_finite(step: int, losses: list[float], norm: float, seed: int) -> FloatingPointError:
    """The error for a loss or gradient that is not finite; it names the process that had it."""
    bad = [process for process, loss in enumerate(losses) if not math.isfinite(loss)]
    what = f"loss {losses[bad[0]] if bad else losses[0]}"
    suspects = [again(batch_seed(seed, step, process)) for process in bad or range(len(losses))]
    if len(losses) > 1:
        what += f" in process {bad[0]}" if bad else " and so on in its processes"
    return FloatingPointError(
        f"Step {step + 1} has {what} and gradient norm {norm}, so training stopped before it could "
        f"spoil the weights; look at its batch, {' or '.join(suspects)}, or lower lr."
    )
