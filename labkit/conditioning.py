"""The only routes by which a condition enters a network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from labkit.casting import moved
from labkit.inputs import number, short

ROUTES = {"vector": ("vector",), "tokens": ("tokens", "mask"), "image": ("image",)}


class Conditioning(NamedTuple):
    """What the network hears besides x and t. Every field may be missing (None)."""

    vector: Tensor | None = None  # (B, D)        joins the time embedding
    tokens: Tensor | None = None  # (B, L, D)     attended to
    mask: Tensor | None = None  # (B, L)        True = a real token
    image: Tensor | None = None  # (B, C, H, W)  concatenated to x

    def map(self, fn) -> Conditioning:
        """`fn` applied to every field that is there."""
        return Conditioning(*(None if field is None else fn(field) for field in self))

    def rows(self, n: int) -> Conditioning:
        """The same condition for n rows: a single row is repeated, n rows stay as they are.

        Raises ValueError if a field has neither 1 nor n rows.
        """

        def expand(field: Tensor) -> Tensor:
            if not isinstance(field, Tensor) or field.ndim < 2 or len(field) not in (1, n):
                raise ValueError(
                    f"the condition has {short(field)}, but the batch has {n}: give one row for "
                    "each sample, or a single row for all"
                )
            return field.expand(n, *field.shape[1:])

        return self.map(expand)

    def take(self, rows: Tensor) -> Conditioning:
        """The condition of those rows alone."""
        return self.map(lambda field: field[rows])

    def cat(self, other: Conditioning) -> Conditioning:
        """Both conditions as one batch; they must use the same routes."""
        check_same_routes(self, other)
        return Conditioning(
            *(None if a is None else torch.cat([a, b]) for a, b in zip(self, other, strict=True))
        )

    def drop(
        self, null: Conditioning, *, together: float = 0.0, generator=None, **p: float
    ) -> Conditioning:
        """Rows replaced by `null`, each row on its own: classifier-free guidance's training rule
        (Ho and Salimans, algorithm 1).

        null: what stands for "no condition", one row or B rows, the same routes.
        together: the probability that a row loses every route at once.
        p: a probability per route (vector=, tokens=, image=), independent of each other.
        Raises ValueError for an unknown route, a probability outside [0, 1], or another shape.
        """
        n = max((len(field) for field in self if field is not None), default=0)
        check_same_routes(self, null)
        for route in p:
            if route not in ROUTES:
                raise ValueError(f"unknown route {route!r}: choose from {', '.join(ROUTES)}")
        null = null.rows(n)
        fields = self.rows(n)._asdict()
        device = "cpu" if generator is None else generator.device

        def uniform() -> Tensor:
            return torch.rand(n, generator=generator, device=device)  # (B,)

        every = uniform() < number(together, "together", 0, 1)
        for route, names in ROUTES.items():
            chance = number(p.get(route, 0.0), f"the probability of dropping {route}", 0, 1)
            gone = every | (uniform() < chance)  # (B,)
            for name in names:
                if (field := fields[name]) is not None:
                    row = moved(gone, field.device).view(-1, *[1] * (field.ndim - 1))
                    fields[name] = torch.where(row, getattr(null, name).to(field.dtype), field)
        return Conditioning(**fields)


def check_same_routes(a: Conditioning, b: Conditioning) -> None:
    """Raises ValueError unless both fill the same fields with rows of the same shape."""
    for name, one, other in zip(Conditioning._fields, a, b, strict=True):
        shapes = [tuple(f.shape[1:]) if isinstance(f, Tensor) else repr(f) for f in (one, other)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"the two conditions differ in {name!r}, with rows of shape {short(shapes[0])} and "
                f"{short(shapes[1])}, but a condition and its null must "
                "use the same routes with the same shapes"
            )


def heard(
    cond: Conditioning | None,
    rows: int,
    *,
    vector: int | None = None,
    tokens: int | None = None,
    image: tuple[int, int, int] | None = None,
    needed: Sequence[str] = (),
    dtype: torch.dtype | None = None,
) -> Conditioning:
    """`cond` with a row for each of the batch, if a network can hear all of it and has what it
    cannot do without. Raises ValueError otherwise: a condition that nobody hears would guide
    nowhere, without a word.

    rows: of the batch. vector, tokens: the length of the vector, and of each token, that the
    network takes; image: (C, H, W) of the picture beside x. None: it has no such route. needed:
    the routes that may not be empty; dtype: of the weights, None where any will do.
    """
    cond = Conditioning() if cond is None else cond.rows(rows)
    for route in needed:
        if getattr(cond, route) is None:
            raise ValueError(
                f"the condition has no {route}, without which this network cannot work: "
                f"give Conditioning({route}=...)"
            )
    if cond.mask is not None and cond.tokens is None:
        raise ValueError("the condition has a mask, but no tokens that it could hide: give both")
    takes = {"vector": vector, "tokens": tokens, "image": image}
    for route, wanted in takes.items():
        field = getattr(cond, route)
        if field is None:
            continue
        if wanted is None:
            able = ", ".join(name for name, size in takes.items() if size is not None)
            raise ValueError(
                f"the condition has {route!r}, for which this network has no route "
                f"({able or 'it takes no condition'}): leave it out, or build the network with it"
            )
        middle = field.shape[1:2] if route == "tokens" else ()
        shape = (rows, *middle, *(wanted if route == "image" else (wanted,)))
        if tuple(field.shape) != shape:
            raise ValueError(
                f"the condition's {route} has shape {tuple(field.shape)}, but this network needs "
                f"{shape}: one row for each of the batch"
            )
        if dtype is not None and field.dtype != dtype:
            raise ValueError(
                f"the condition's {route} is {field.dtype}, but this network computes in {dtype}: "
                f"call .to({dtype}), and scale pictures to [-1, 1]"
            )
    mask = cond.mask
    if mask is not None and (mask.shape != cond.tokens.shape[:2] or mask.dtype != torch.bool):
        raise ValueError(
            f"the condition's mask is {mask.dtype} of shape {tuple(mask.shape)}, but its tokens "
            f"need torch.bool of shape {tuple(cond.tokens.shape[:2])}: True for each real token"
        )
    return cond
