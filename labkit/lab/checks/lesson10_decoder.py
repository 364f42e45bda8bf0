"""The checks of lesson 10 on the decoder: what it is not told, and where words lead a picture."""

import torch
import torch.nn.functional as F
from torch import Tensor

from labkit.interpolate import slerp
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import between, size, sizes

# The direction of words.


def _text_diff(z: Tensor, before: Tensor, after: Tensor, theta: float) -> Tensor:
    return slerp(z, F.normalize(after - before, dim=1), theta)


def _wrong_diff(
    change=lambda z, before, after: F.normalize(after - before, dim=1),
    between=slerp,
    share=lambda theta: theta,
):
    """A change by words in which one thing can be wrong."""
    return lambda z, before, after, theta: between(z, change(z, before, after), share(theta))


def _line(z1: Tensor, z2: Tensor, share: float) -> Tensor:
    return (1 - share) * z1 + share * z2


def _one_angle(z1: Tensor, z2: Tensor, share: float) -> Tensor:
    """The arc of the whole batch as one vector."""
    return slerp(z1.flatten()[None], z2.flatten()[None], share).view_as(z1)


def _by_radians(z1: Tensor, z2: Tensor, angle: float) -> Tensor:
    """That many radians along each arc."""
    whole = [(one @ two).arccos().item() for one, two in zip(z1, z2, strict=True)]
    rows = [slerp(z1[i : i + 1], z2[i : i + 1], angle / arc) for i, arc in enumerate(whole)]
    return torch.cat(rows)


def _draw_diff(g: torch.Generator):
    B, D = sizes(g, 2, 4, 9)
    z, before, after = F.normalize(torch.randn(3, B, D, generator=g), dim=2)
    after = F.normalize(before + 0.7 * after, dim=1)  # of two sentences that are much alike
    return z, before, after, between(0.15, 0.45, g)


text_diff = Check(
    "text_diff",
    reference=_text_diff,
    draw_inputs=_draw_diff,
    mistakes={
        "The difference is the wrong way round: from `before` to `after` leads after − before.": (
            _wrong_diff(lambda z, before, after: F.normalize(before - after, dim=1))
        ),
        "The difference of two unit vectors has not length 1; normalize it, or the arc ends "
        "elsewhere.": _wrong_diff(lambda z, before, after: after - before),
        "You go towards the sentence `after` itself, with all that it says; the direction is what "
        "differs, after − before.": _wrong_diff(lambda z, before, after: after),
        "You take the difference between `after` and the picture; it is that of both sentences.": (
            _wrong_diff(lambda z, before, after: F.normalize(after - z, dim=1))
        ),
        "You go along the straight line, on which vectors are shorter than 1; slerp goes along "
        "the arc.": _wrong_diff(between=_line),
        "You go along the straight line and normalize: the length is right, but not the share of "
        "the angle. slerp takes sin((1−θ)ω)/sin ω and sin(θω)/sin ω.": _wrong_diff(
            between=lambda z1, z2, share: F.normalize(_line(z1, z2, share), dim=1)
        ),
        "You add θ times the direction to z, and do not come back to length 1.": _wrong_diff(
            between=lambda z1, z2, share: z1 + share * z2
        ),
        "You add θ times the direction to z and normalize; slerp goes the share θ of the angle.": (
            _wrong_diff(between=lambda z1, z2, share: F.normalize(z1 + share * z2, dim=1))
        ),
        "θ is exchanged with 1 − θ: at 0 the picture's embedding stays.": _wrong_diff(
            share=lambda theta: 1 - theta
        ),
        "You take θ for an angle; it is the share of the angle between both.": _wrong_diff(
            between=_by_radians
        ),
        "One angle serves the whole batch; each row has its own.": _wrong_diff(between=_one_angle),
    },
    tolerance=1e-4,  # arccos is steep where two vectors are alike
    against=slerp,
)


# Two things are left out, each by its own chance.


def _drop_each(
    mask: Tensor, p_caption: float, p_embedding: float, u: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    return mask & (u >= p_caption)[:, None], v >= p_embedding


def _wrong_drop(
    said=lambda p_caption, p_embedding, u, v: u >= p_caption,
    known=lambda p_caption, p_embedding, u, v: v >= p_embedding,
):
    """The same, in which either can be wrong."""

    def drop_each(mask, *given):
        return mask & said(*given)[:, None], known(*given)

    return drop_each


def _draw_drops(g: torch.Generator):
    """Rows that lose the caption, the embedding, both, and neither; of each number one is p."""
    B, L = size(g, 9, 13), size(g, 4, 8)
    lengths = torch.randint(2, L + 1, (B,), generator=g)
    p, q = between(0.45, 0.6, g), between(0.15, 0.3, g)
    u, v = torch.rand(2, B, generator=g)
    order = torch.randperm(B, generator=g)
    u[order[:8]] = torch.tensor([0.05, 0.1, 0.4, 0.9, 0.95, 0.8, p, 0.02])
    v[order[:8]] = torch.tensor([0.05, 0.9, 0.8, 0.1, 0.7, q, 0.95, 0.35])
    p, q = u[order[6]].item(), v[order[5]].item()  # as float32 knows them
    return torch.arange(L) < lengths[:, None], p, q, u, v


drop_each = Check(
    "drop_each",
    reference=_drop_each,
    draw_inputs=_draw_drops,
    mistakes={
        "One number decides both, so that no row loses its embedding alone: u is for captions, v "
        "for embeddings.": [
            _wrong_drop(known=lambda p, q, u, v: u >= q),
            _wrong_drop(said=lambda p, q, u, v: v >= p),
            _wrong_drop(known=lambda p, q, u, v: u >= p),
        ],
        "You exchanged the two shares: captions are lost with p_caption.": _wrong_drop(
            lambda p, q, u, v: u >= q, lambda p, q, u, v: v >= p
        ),
        "You exchanged the two numbers: u belongs to the captions, v to the embeddings.": (
            _wrong_drop(lambda p, q, u, v: v >= p, lambda p, q, u, v: u >= q)
        ),
        "No row loses both, so that there is no null to guide away from: what becomes of one does "
        "not depend on the other.": _wrong_drop(known=lambda p, q, u, v: (v >= q) | (u < p)),
        "An embedding is lost only where the caption is lost, too; each has its own chance.": (
            _wrong_drop(known=lambda p, q, u, v: (v >= q) | (u >= p))
        ),
        "A caption is lost only where the embedding is lost, too; each has its own chance.": (
            _wrong_drop(said=lambda p, q, u, v: (u >= p) | (v >= q))
        ),
        "You lose them where the number is over the share, and so keep what should go.": (
            _wrong_drop(lambda p, q, u, v: u < p, lambda p, q, u, v: v < q)
        ),
        "You return which embeddings are lost; asked for is which are known.": _wrong_drop(
            known=lambda p, q, u, v: v < q
        ),
        "A row with exactly the share is kept: it is lost below, u < p, so that 0 loses none.": (
            _wrong_drop(lambda p, q, u, v: u > p, lambda p, q, u, v: v > q)
        ),
        "You decide once for the whole batch, by the first numbers; every row has its own.": (
            _wrong_drop(
                lambda p, q, u, v: (u[0] >= p).expand(len(u)),
                lambda p, q, u, v: (v[0] >= q).expand(len(v)),
            )
        ),
        "No embedding is lost.": _wrong_drop(known=lambda p, q, u, v: torch.ones_like(v) > 0),
        "No caption is lost.": _wrong_drop(said=lambda p, q, u, v: torch.ones_like(u) > 0),
    },
    against="the rule: row b loses its caption where u[b] < p_caption, and its embedding where "
    "v[b] < p_embedding",
)
