"""Other readers than a frozen language model, to compare Imagen's with (lesson 11)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labkit.conditioning import Conditioning
from labkit.systems.clip import CLIP
from labkit.systems.imagen_stage import ImagenStage
from labkit.systems.t5 import T5


class CLIPReader(nn.Module):
    """The text tower of a CLIP, which has learned from pictures and their captions, as a frozen
    encoder: what it says of each token, (B, L, width), each having looked at those before it."""

    def __init__(self, clip: CLIP):
        super().__init__()
        self.clip = clip.requires_grad_(False)

    @property
    def config(self):
        """Of the text tower: ``width`` is the length of each token."""
        return self.clip.config.text

    def encode(self, texts: str | Sequence[str]) -> Conditioning:
        """Texts as Imagen hears them, 0 behind the end of each. Raises ValueError for what this
        CLIP cannot read, such as words that no caption of its training had."""
        ids, tower = self.clip.tokens(texts), self.clip.text
        with torch.no_grad():
            mask = torch.arange(ids.shape[1], device=ids.device) <= tower.ends(ids)[:, None]
            return Conditioning(tokens=tower.states(ids) * mask[..., None], mask=mask)


class TrainedAlong(nn.Module):
    """An encoder that begins anywhere and learns with a stage, from the pictures' captions alone,
    as GLIDE's does. After training, its ``text`` and ``stage`` are used like any others."""

    def __init__(self, text: T5, stage: ImagenStage):
        super().__init__()
        self.text, self.stage = text, stage

    def loss(self, batch: tuple[Tensor, Sequence[str]]) -> Tensor:
        """That of the stage, for pictures and their captions."""
        pictures, captions = batch
        return self.stage.loss((pictures, self.text.read(self.text.reads.encode(captions))))
