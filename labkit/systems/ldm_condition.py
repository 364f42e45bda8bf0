"""What a latent diffusion model looks at, τ(y): a sentence's tokens, or a class's one.

Source: Rombach et al. 2022, section 3.3 and appendix E.2.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labkit import devices
from labkit.casting import moved
from labkit.conditioning import Conditioning
from labkit.inputs import class_labels
from labkit.nets.transformer import BidirectionalTextTransformer, TextConfig, TextTransformer
from labkit.scenes.tokenizer import Tokenizer, Tokens
from labkit.scenes.tokenizer import load as course_tokenizer
from labkit.systems.captions import caption_tokens, padding
from labkit.systems.glide_inputs import listed


class Sentences(nn.Module):
    """Called as encoder(prompts, gone): sentences, None for none, and which of them are left out,
    (B,) bool; returns their tokens (B, L, width).

    The transformer is the paper's own, whose tokens all look at each other, or with ``clip`` the
    frozen one of CLIP, as in Stable Diffusion. No sentence is nothing but padding, or to CLIP a
    text of no words.
    """

    hears = "sentences"

    def __init__(self, text: TextConfig, clip: bool = False, tokenizer: Tokenizer | None = None):
        super().__init__()
        self.config, self.clip, self.tokenizer = text, clip, tokenizer
        if clip:
            self.text = TextTransformer(text, None).requires_grad_(False)
        else:
            self.text = BidirectionalTextTransformer(text)

    def forward(self, prompts: str | Sequence[str | None], gone: Tensor | None = None):
        tokenizer, device = self.tokenizer or course_tokenizer(), devices.of(self)
        null = tokenizer.null(1) if self.clip else padding(tokenizer)
        tokens = caption_tokens(prompts, tokenizer, self.config, null, "LDM")
        if gone is not None:
            tokens = Tokens(*(torch.where(gone[:, None], b, a) for a, b in zip(tokens, null)))
        ids, mask = moved(tokens.ids, device), moved(tokens.mask, device)
        return Conditioning(tokens=self.text(ids) if self.clip else self.text(ids, mask))


class Classes(nn.Module):
    """Called as encoder(labels, gone): numbers (B,) from 0, None for none, and which of them are
    left out, (B,) bool; returns one token for each, (B, 1, width)."""

    hears = "classes"

    def __init__(self, classes: int, width: int):
        super().__init__()
        self.classes = classes
        self.tokens = nn.Embedding(classes + 1, width)  # the last one: no class in particular

    def forward(self, prompts: Sequence[int | None] | Tensor, gone: Tensor | None = None):
        prompts = listed(prompts.tolist() if hasattr(prompts, "tolist") else prompts)
        real = [row for row, label in enumerate(prompts) if label is not None]
        labels = torch.full((len(prompts),), self.classes)
        if real:
            labels[real] = class_labels([prompts[row] for row in real], self.classes)
        if gone is not None:
            labels = torch.where(gone, self.classes, labels)
        return Conditioning(tokens=self.tokens(moved(labels, devices.of(self)))[:, None])
