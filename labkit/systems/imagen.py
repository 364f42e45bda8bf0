"""Imagen, the whole system: a frozen language model, and a cascade that draws what it reads.

Source: Saharia et al. 2022. The encoder has learned from text alone and never learns with the
pictures; each stage of the cascade has been trained by itself (`labkit.systems.imagen_stage`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from labkit.conditioning import Conditioning
from labkit.inputs import whole_number
from labkit.sampler import State
from labkit.systems.cascade import Cascade
from labkit.systems.glide_inputs import listed
from labkit.systems.imagen_stage import ImagenStage


class Reads(Protocol):
    """What Imagen asks of its text encoder, such as `labkit.systems.t5.T5`; config.width is the
    length of each token."""

    config: Any

    def encode(self, texts: Sequence[str]) -> Conditioning:
        """tokens (B, L, D) and mask (B, L); without gradients."""


class Imagen(nn.Module):
    """Sentences become pictures: Imagen(text, base=…, sr64=…, sr128=…).

    text: the encoder, which `Reads` and is frozen here; stages: by name, in the order in which they
    work. Raises ValueError for stages that do not fit together, or not the encoder.
    """

    hears = "sentences"

    def __init__(self, text: nn.Module, **stages: ImagenStage):
        super().__init__()
        for name, stage in stages.items():
            if not isinstance(stage, ImagenStage):
                raise ValueError(
                    f"the stage {name} is a {type(stage).__name__}, but must be an ImagenStage, "
                    "which hears what the encoder says"
                )
            if stage.config.net.tokens != text.config.width:
                raise ValueError(
                    f"the stage {name} hears tokens of length {stage.config.net.tokens}, but the "
                    f"encoder's have {text.config.width}: give the encoder that it learned with"
                )
        self.cascade = Cascade(**stages)
        self.text = text.requires_grad_(False)  # last: what was refused is not changed

    @property
    def parts(self) -> dict[str, nn.Module]:
        """What it is made of, as its constructor takes it."""
        return {"text": self.text, **self.stages}

    @property
    def stages(self) -> dict[str, ImagenStage]:
        """The diffusion models by name, in their order."""
        return self.cascade.parts

    def encode(self, prompts: str | Sequence[str | None]) -> Conditioning:
        """Sentences as all stages hear them; None is no text. Raises ValueError for no list, an
        empty sentence, and one that is too long."""
        return embedded(self.text, prompts)

    def generate(
        self,
        prompts: str | Sequence[str | None],
        *,
        steps: int | Mapping[str, int] | None = None,
        scale: float | Mapping[str, float] | None = None,
        level: float | Mapping[str, float] | None = None,
        seed: int = 0,
        **options,
    ) -> Iterator[State]:
        """A picture for each sentence: yields a `State` after each step of each stage, which its
        ``stage`` names; the last one's ``x`` are the pictures of the last stage.

        steps, scale, level: as in `ImagenStage.generate`, for all stages or by name; one level is
            for all that make pictures larger. options: further arguments of it, for every stage.
        Raises ValueError as `encode` and `ImagenStage.generate` do, and for known pixels.
        """
        if "known" in options:
            raise ValueError("Imagen keeps no known pixels as they are: leave out known")
        if level is not None and not isinstance(level, Mapping):
            level = dict.fromkeys([*self.stages][1:] or self.stages, level)
        levels = {} if level is None else {"level": level}
        return self.cascade.generate(
            self.encode(prompts), steps=steps, scale=scale, seed=seed, **levels, **options
        )


def embedded(reader: Reads, prompts: str | Sequence[str | None]) -> Conditioning:
    """What an encoder says of the sentences; a row of silence for each None. An encoder that has
    nothing to read is not asked."""
    prompts = listed(prompts)
    said = [prompt for prompt in prompts if prompt is not None]
    if not said:
        tokens = torch.zeros(len(prompts), 1, reader.config.width)
        return Conditioning(tokens=tokens, mask=torch.zeros(len(prompts), 1, dtype=torch.bool))
    cond = reader.encode(said)
    if len(said) == len(prompts):
        return cond
    rows = [row for row, prompt in enumerate(prompts) if prompt is not None]
    tokens = cond.tokens.new_zeros(len(prompts), *cond.tokens.shape[1:])
    mask = cond.mask.new_zeros(len(prompts), cond.mask.shape[1])
    tokens[rows], mask[rows] = cond.tokens, cond.mask
    return Conditioning(tokens=tokens, mask=mask)


class Remembering:
    """An encoder that says each sentence's embedding once and then knows it: what reads the
    captions of training costs nothing from the second time on.

    Kept on the CPU in half precision, ``most`` sentences, the oldest forgotten first.
    """

    def __init__(self, reader: Reads, most: int = 100_000):
        self.reader, self.most = reader, whole_number(most, "most", 1)
        self.known: dict[str, Tensor] = {}  # (L, D), as many rows as the sentence has tokens

    @property
    def config(self):
        """The encoder's."""
        return self.reader.config

    def encode(self, texts: str | Sequence[str]) -> Conditioning:
        """As the encoder's own, in half precision, on the CPU."""
        texts = listed(texts)
        new = list(dict.fromkeys(text for text in texts if text not in self.known))
        if new:
            cond = self.reader.encode(new).map(torch.Tensor.cpu)
            for text, row, real in zip(new, cond.tokens.half(), cond.mask, strict=True):
                self.known[text] = row[real]
        rows = [self.known[text] for text in texts]
        for text in list(self.known)[: max(0, len(self.known) - self.most)]:
            del self.known[text]
        tokens = pad_sequence(rows, batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        return Conditioning(tokens=tokens, mask=torch.arange(tokens.shape[1]) < lengths[:, None])
