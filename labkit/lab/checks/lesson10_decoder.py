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


def _change(before: Tensor, after: Tensor) -> Tensor:
    return F.normalize(after - before, dim=1)


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
            lambda z, before, after, theta: slerp(z, _change(after, before), theta)
        ),
        "The difference of two unit vectors has not length 1; normalize it, or the arc ends "
        "elsewhere.": lambda z, before, after, theta: slerp(z, after - before, theta),
        "You go towards the sentence `after` itself, with all that it says; the direction is what "
        "differs, after − before.": lambda z, before, after, theta: slerp(z, after, theta),
        "You take the difference between `after` and the picture; it is that of both sentences.": (
            lambda z, before, after, theta: slerp(z, _change(z, after), theta)
        ),
        "You go along the straight line, on which vectors are shorter than 1; slerp goes along "
        "the arc.": lambda z, before, after, theta: _line(z, _change(before, after), theta),
        "You go along the straight line and normalize: the length is right, but not the share of "
        "the angle. slerp takes sin((1−θ)ω)/sin ω and sin(θω)/sin ω.": (
            lambda z, before, after, theta: F.normalize(
                _line(z, _change(before, after), theta), dim=1
            )
        ),
        "You add θ times the direction to z, and do not come back to length 1.": (
            lambda z, before, after, theta: z + theta * _change(before, after)
        ),
        "You add θ times the direction to z and normalize; slerp goes the share θ of the angle.": (
            lambda z, before, after, theta: F.normalize(z + theta * _change(before, after), dim=1)
        ),
        "θ is exchanged with 1 − θ: at 0 the picture's embedding stays.": (
            lambda z, before, after, theta: slerp(z, _change(before, after), 1 - theta)
        ),
        "You take θ for an angle; it is the share of the angle between both.": (
            lambda z, before, after, theta: _by_radians(z, _change(before, after), theta)
        ),
        "One angle serves the whole batch; each row has its own.": (
            lambda z, before, after, theta: _one_angle(z, _change(before, after), theta)
        ),
    },
    tolerance=1e-4,  # arccos is steep where two vectors are alike
    against=slerp,
)


# Two things are left out, each by its own chance.


def _drop_each(
    mask: Tensor, p_caption: float, p_embedding: float, u: Tensor, v: Tensor
) -> tuple[Tensor, Tensor]:
    return mask & (u >= p_caption)[:, None], v >= p_embedding


def _left(mask: Tensor, said: Tensor) -> Tensor:
    """The captions of the rows that keep theirs."""
    return mask & said[:, None]


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
            lambda mask, p, q, u, v: (_left(mask, u >= p), u >= q),
            lambda mask, p, q, u, v: (_left(mask, v >= p), v >= q),
            lambda mask, p, q, u, v: (_left(mask, u >= p), u >= p),
        ],
        "You exchanged the two shares: captions are lost with p_caption.": (
            lambda mask, p, q, u, v: (_left(mask, u >= q), v >= p)
        ),
        "You exchanged the two numbers: u belongs to the captions, v to the embeddings.": (
            lambda mask, p, q, u, v: (_left(mask, v >= p), u >= q)
        ),
        "No row loses both, so that there is no null to guide away from: what becomes of one does "
        "not depend on the other.": (
            lambda mask, p, q, u, v: (_left(mask, u >= p), (v >= q) | (u < p))
        ),
        "An embedding is lost only where the caption is lost, too; each has its own chance.": (
            lambda mask, p, q, u, v: (_left(mask, u >= p), (v >= q) | (u >= p))
        ),
        "A caption is lost only where the embedding is lost, too; each has its own chance.": (
            lambda mask, p, q, u, v: (_left(mask, (u >= p) | (v >= q)), v >= q)
        ),
        "You lose them where the number is over the share, and so keep what should go.": (
            lambda mask, p, q, u, v: (_left(mask, u < p), v < q)
        ),
        "You return which embeddings are lost; asked for is which are known.": (
            lambda mask, p, q, u, v: (_left(mask, u >= p), v < q)
        ),
        "A row whose number is exactly the share goes, too; it is lost below, u < p, so that 0 "
        "loses none.": lambda mask, p, q, u, v: (_left(mask, u > p), v > q),
        "You decide once for the whole batch, by the first numbers; every row has its own.": (
            lambda mask, p, q, u, v: (mask & (u[0] >= p), (v[0] >= q).expand(len(v)))
        ),
        "No embedding is lost.": (
            lambda mask, p, q, u, v: (_left(mask, u >= p), torch.ones_like(v).bool())
        ),
        "No caption is lost.": lambda mask, p, q, u, v: (mask.clone(), v >= q),
    },
    against="the rule: row b loses its caption where u[b] < p_caption, and its embedding where "
    "v[b] < p_embedding",
)
