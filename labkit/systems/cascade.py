"""A cascade: a model draws small pictures, others make them larger, each with the same sentences.

Source: Ho et al. 2021, "Cascaded Diffusion Models for High Fidelity Image Generation"; GLIDE
(section 4), DALL·E 2 and Imagen are built like this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.inputs import one_of, short, whole_number
from labkit.sampler import State
from labkit.systems.glide_inputs import known_pictures, listed


class Stage(Protocol):
    """What a cascade asks of its stages, such as `labkit.systems.glide.GLIDE`. Its config says as
    ``net`` what it draws, and as ``upsamples`` what it sees: pixels a side, or None."""

    config: Any

    def generate(
        self,
        prompts: Any,
        *,
        steps: int | None,
        scale: float | None,
        seed: torch.Generator,
        low: Tensor | None,
        **options,
    ) -> Iterator[State]: ...


class Cascade(nn.Module):
    """Stages by name, in the order in which they work: Cascade(base=…, upsampler=…).

    Each stage is trained by itself; each after the first upsamples what the one before it draws.
    Raises ValueError for stages that do not fit together.
    """

    hears = "sentences"

    def __init__(self, **stages: Stage):
        super().__init__()
        if not stages:
            raise ValueError("a cascade has no stage, but needs one at least: Cascade(base=model)")
        self.stages, side = nn.ModuleDict(stages), None
        for name, stage in stages.items():
            if stage.config.upsamples != side:
                raise ValueError(
                    f"the stage {name} makes pictures of {stage.config.upsamples} pixels larger, "
                    f"but what comes before it draws {side}: give stages of matching sizes, in "
                    "their order"
                )
            side = stage.config.net.size

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What it is made of, as its constructor takes it."""
        return dict(self.stages)

    def generate(
        self,
        prompts: Any,
        *,
        steps: int | Mapping[str, int] | None = None,
        scale: float | Mapping[str, float] | None = None,
        seed: int = 0,
        known: tuple[Tensor, Tensor] | None = None,
        **options,
    ) -> Iterator[State]:
        """A picture for each prompt: yields a `State` after each step of each stage, which its
        ``stage`` names; the last one's ``x`` are the pictures of the last stage.

        prompts: what the stages' own ``generate`` takes, the same for each.
        steps, scale: for all stages, or by name; a stage that is not named is sampled as such a
            model usually is, see `GLIDE.generate`.
        known: (image, mask) as in `GLIDE.generate`, in the size of the last stage. A smaller stage
            knows a pixel where all that it stands for is known.
        options: further arguments of the stages' ``generate``: for every stage, or a mapping by
            name, for those named. One generator of noise goes through all stages, so that no two
            begin from the same.
        """
        if "low" in options:
            raise ValueError("a cascade draws its own small pictures: leave out low")
        steps, scale = self.by_stage(steps), self.by_stage(scale)
        generator = torch.Generator().manual_seed(whole_number(seed, "seed", 0, 2**63 - 1))
        named = {key: self.by_stage(value) for key, value in options.items()
                 if isinstance(value, Mapping)}  # fmt: skip
        if known is not None:
            last = list(self.stages.values())[-1].config.net
            known = known_pictures(known, last, len(listed(prompts)))

        def states_of(name: str, low: Tensor | None, generator=generator) -> Iterator[State]:
            stage, own = self.stages[name], dict(options)
            for key, values in named.items():
                own.pop(key)
                own |= {} if values[name] is None else {key: values[name]}
            if known is not None:
                own["known"] = shrunk(known, stage.config.net.size)
            return stage.generate(
                prompts, steps=steps[name], scale=scale[name], seed=generator, low=low, **own
            )

        first, *others = self.stages
        for name in others:  # what a stage cannot do is said now, not after those before it
            side = self.stages[name].config.upsamples
            channels = self.stages[name].config.net.channels
            states_of(name, torch.zeros(1, channels, side, side), torch.Generator())
        return self.walk(states_of(first, None), states_of)

    def walk(self, states: Iterator[State], states_of) -> Iterator[State]:
        """The states of the first stage, and then of all others."""
        low = None
        for name in self.stages:
            states = states if low is None else states_of(name, low)
            for state in states:
                yield state._replace(stage=name)
            low = state.pictures

    def by_stage(self, given) -> dict:
        """The value for each stage, None where none is given. Raises ValueError for a stage that
        is not there."""
        if not isinstance(given, Mapping):
            return dict.fromkeys(self.stages, given)
        for name in given:
            one_of(name, self.stages, "stage")
        if not given:
            raise ValueError(f"{short(given)} names no stage: give a number, or one by name")
        return dict.fromkeys(self.stages) | dict(given)


def shrunk(known: tuple[Tensor, Tensor], size: int) -> tuple[Tensor, Tensor]:
    """Image and mask in that size: means of the image, known where all of it is."""
    image, mask = (F.interpolate(part, size=(size, size), mode="area") for part in known)
    return image, (mask == 1).float()
