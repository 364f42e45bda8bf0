"""Prompt-to-prompt: words of a sentence are changed, and the rest of its picture stays.

Source: Hertz et al. 2022, "Prompt-to-Prompt Image Editing with Cross Attention Control", algorithm
1. Two samplings begin from the same noise. Where the places of the first look, the places of the
second look, too: so things stay where they are, while other words say what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from labkit.inputs import number, short, whole_number
from labkit.lab.attention_maps import cross_layers, cross_weights, noted, positions_of, rows_of
from labkit.sampler import State

Pairs = Iterator[tuple[State, State]]


def swap(model: nn.Module, source: str, target: str, *, share: float = 0.8, **options) -> Pairs:
    """Samples ``source``, and beside it ``target``, in which words are exchanged: pairs of their
    states. In the first ``share`` of the steps, 0 … 1, the target's places look where the source's
    do ("word swap", section 3.2). With 0 nothing but the noise is shared.

    model: an `LDM` that hears sentences. options: as of `edited`. Raises ValueError, at the call,
    for sentences of different numbers of tokens: a map belongs to a position.
    """
    one, two = ([at for _, at in positions_of(s, model.tokenizer)] for s in (source, target))
    if one != two:
        raise ValueError(
            f"{short(source)} and {short(target)} do not have the same number of tokens, word by "
            "word, so the maps of one do not belong to the words of the other: only exchange words"
        )
    return edited(model, source, target, lambda maps: maps, share=share, **options)


def reweight(model: nn.Module, sentence: str, word: str | int, weight: float, **options) -> Pairs:
    """Samples a sentence, and beside it the same while all places look ``weight`` times as much at
    a word, and at the others as before: the rows do not sum to 1 any more ("attention
    re-weighting", section 3.2, with weights of −2 … 2).

    word: wherever it stands, or the number of one word, from 0. Otherwise as `edited`. Raises
    ValueError, at the call, for a word that the sentence does not have.
    """
    columns, weight = columns_of(model, sentence, word), number(weight, "weight")

    def scaled(maps: Tensor) -> Tensor:
        factor = maps.new_ones(maps.shape[-1])  # (L,)
        factor[columns] = weight
        return factor * maps

    return edited(model, sentence, sentence, scaled, **options)


def columns_of(model: nn.Module, sentence: str, word: str | int) -> list[int]:
    """The positions of a word's tokens. Raises ValueError for a word that is not there."""
    words = positions_of(sentence, model.tokenizer)
    found = [at for n, (own, at) in enumerate(words) if word in (own, n)]
    if not found:
        said = ", ".join(f"{n} {own}" for n, (own, _) in enumerate(words))
        raise ValueError(f"word is {short(word)}, but must be one of the sentence's: {said}")
    return sum(found, [])


def edited(
    model: nn.Module,
    source: str,
    target: str,
    edit: Callable[[Tensor], Tensor],
    *,
    share: float = 1.0,
    pictures: int = 1,
    steps: int | Sequence[int] = 50,
    seed: int = 0,
    **options,
) -> Pairs:
    """Both sentences, sampled step by step from the same noise: pairs of states of ``pictures``
    rows each. In the first ``share`` of the steps each cross attention of the second looks by
    edit(M): M (pictures, heads, places, L) is what the same layer looks at in the first. Of a
    guided model only the half that hears the sentence is edited.

    options: of ``model.generate``, such as scale. Raises ValueError, at the call, for what that
    does not take, and for a network without cross attention.
    """
    net, share = model.denoiser.net, number(share, "share", 0, 1)
    pictures, seed = whole_number(pictures, "pictures", 1), whole_number(seed, "seed", 0)
    times = list(steps) if isinstance(steps, Sequence) else model.denoiser.schedule.timesteps(steps)
    if not cross_layers(net):
        raise ValueError(
            "this network has no cross attention whose maps could be exchanged: give a latent "
            "diffusion model that hears sentences, such as ldm-scenes"
        )
    both = [[sentence] * pictures for sentence in (source, target)]
    rows_of(sum(both, []), options)
    first, second = (model.generate(s, steps=times, seed=seed, **options) for s in both)
    injected = round(share * (len(times) - 1))

    def walk():
        for step in range(len(times) - 1):
            with noted(net) as looked:
                before = next(first)
            maps = {own.name: edit(own.weights[:pictures]) for own in looked}
            with looking(net, maps) if step < injected else nullcontext():
                after = next(second)
            yield before, after

    return walk()


@contextmanager
def looking(net: nn.Module, maps: dict[str, Tensor]) -> Iterator[None]:
    """Inside it, the first rows of each cross attention look by these maps, (rows, heads, places,
    L) by the layer's name, and not by their own."""

    def look(name: str):
        def instead(layer: nn.Module, given: tuple, _answer: Tensor) -> Tensor:
            own, values = cross_weights(layer, *given)
            weights = torch.cat([maps[name], own[len(maps[name]) :]])
            return layer.out((weights @ values).transpose(1, 2).flatten(2))

        return instead

    handles = [layer.register_forward_hook(look(name)) for name, layer in cross_layers(net).items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
