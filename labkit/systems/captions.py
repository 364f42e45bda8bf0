"""What models that hear sentences have in common: captions as tokens, and guidance by them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from labkit.conditioning import Conditioning
from labkit.denoiser import Denoises
from labkit.guidance import ClassifierFree, Composed
from labkit.inputs import short
from labkit.nets.transformer import TextConfig
from labkit.scenes.tokenizer import Tokenizer, Tokens
from labkit.systems.glide_inputs import listed, negatives


def padding(tokenizer: Tokenizer) -> Tokens:
    """Nothing but padding, one row: GLIDE's empty caption."""
    ids = torch.full((1, tokenizer.context), tokenizer.pad)
    return Tokens(ids, torch.zeros_like(ids, dtype=torch.bool))


def caption_tokens(
    prompts: str | Sequence[str | None],
    tokenizer: Tokenizer,
    text: TextConfig,
    null: Tokens,
    who: str,
) -> Tokens:
    """Captions as tokens, (B, L); None becomes the null, one row. who: the class of the model.
    Raises ValueError for no list, an empty text, one that is too long, words that nobody taught
    this model, and a tokenizer that is not the one of its text transformer."""
    prompts = listed(prompts)
    if len(tokenizer) != text.vocabulary or tokenizer.context != text.context:
        raise ValueError(
            f"this model knows {text.vocabulary} tokens and texts of {text.context}, but its "
            f"tokenizer has {len(tokenizer)} and makes texts of {tokenizer.context}: build it as "
            f"{who}(config, tokenizer)"
        )
    rows = [row for row, prompt in enumerate(prompts) if prompt is not None]
    if any(isinstance(prompts[row], str) and not prompts[row].strip() for row in rows):
        raise ValueError("a prompt is empty, but must say something, or be None for no sentence")
    ids, mask = (part.repeat(len(prompts), 1) for part in null)
    if rows:
        ids[rows], mask[rows] = tokenizer.encode([prompts[row] for row in rows])
    for row in rows:
        if unknown := tokenizer.unknown(prompts[row]):
            raise ValueError(
                f"{short(prompts[row])} has words that this model has never read "
                f"({', '.join(unknown)}): say it in words of the captions that it learned from"
            )
    return Tokens(ids, mask)


def guided(
    system: nn.Module,
    terms: Sequence[tuple[list, float | Tensor]],
    negative: str | Sequence | None,
    image: Tensor | None,
) -> tuple[Denoises, Conditioning | None]:
    """The system's denoiser under classifier-free guidance, and the condition to call it with.

    system: has ``denoiser``, ``encode(prompts)``, where None is the null, and config.p_uncond.
    terms: as `labkit.systems.glide_inputs.scaled_terms` gives them. negative: what to be led away
    from in place of the null, for all rows or for each. image: what the network sees beside x, the
    same with every condition. Raises ValueError for guidance by a null that was never trained.
    """
    rows = len(terms[0][0])
    away = negatives(negative, rows)
    null = system.encode(away).rows(rows)._replace(image=image)
    conds = [(system.encode(row)._replace(image=image), scales) for row, scales in terms]
    if len(conds) > 1:
        cond, scale, denoise = None, None, Composed(system.denoiser, null, conds)
    else:
        ((cond, scale),) = conds
        denoise = ClassifierFree(system.denoiser, null, scale)
    plain = not isinstance(scale, Tensor) and scale == 1
    if system.config.p_uncond == 0 and None in away and not plain:
        raise ValueError(
            "this model was never trained without a caption (p_uncond = 0), so it has no null "
            "to guide away from: use scale = 1 and one sentence a picture, or say a negative "
            "one for each"
        )
    return denoise, cond
