"""The checks of lesson 13 on one softmax over two modalities, and on padding."""

from collections.abc import Callable

import torch
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import is_odd, size, sizes, turn, whole
from labkit.lab.matching import block_shares as _block_shares
from labkit.nets.pooling import average
from labkit.systems.joint import blocks

# How much of the attention falls into each of the four blocks.


def _real_rows(rows: Tensor, mask: Tensor) -> Tensor:
    """The mean (B, 2) of the rows (B, L, 2) that are real."""
    real = mask.to(rows.dtype)[..., None]  # (B, L, 1)
    return (rows * real).sum(1) / real.sum(1)


def _all_rows(rows: Tensor, mask: Tensor) -> Tensor:
    return rows.mean(1)


def _wrong_shares(mean=_real_rows, heads=lambda x: x.mean(1), block=lambda x: x.sum(2)):
    """Shares in which one thing can be wrong: which rows count, the heads, what a row gives."""

    def shares(attention, mask, regions):
        m, weights = regions, heads(attention)  # (B, L, L)
        columns = torch.stack([block(weights[..., :m]), block(weights[..., m:])], 2)  # (B, L, 2)
        parts = mean(columns[:, :m], mask[:, :m]), mean(columns[:, m:], mask[:, m:])
        return torch.stack(parts, 1)

    return shares


def _draw_attention(g: torch.Generator):
    """Attention of regions and words, whose padding is attended to by nobody, but attends. In
    turn none of it is padding."""
    B, heads, m, n = sizes(g, 4, 2, 6)
    L = m + n
    mask = torch.rand(B, L, generator=g) < 0.6
    mask[:, 0] = mask[:, m] = True
    if turn(g, 5) == 0:
        mask[:] = True
    else:
        mask[0, m - 1] = mask[0, L - 1] = False
    logits = 2 * torch.randn(B, heads, L, L, generator=g)
    logits[..., :m] += 1
    attention = logits.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1)
    return attention, mask, m


block_shares = Check(
    "block_shares",
    reference=_block_shares,
    draw_inputs=_draw_attention,
    mistakes={
        "You average the numbers of a block, so that a block of many columns looks faint; add up "
        "along each row, and average the rows.": _wrong_shares(block=lambda x: x.mean(2)),
        "Rows of padding count: padding attends to others too, but nobody uses what it finds. "
        "Average the real rows only.": _wrong_shares(mean=_all_rows),
        "Rows of padding are set to 0 and still counted; divide by the number of real rows.": (
            _wrong_shares(mean=lambda rows, mask: (rows * mask[..., None]).mean(1))
        ),
        "You add up the heads; each is a softmax of its own: average them.": (
            _wrong_shares(heads=lambda x: x.sum(1))
        ),
        "You take the first head only; average all of them.": (
            _wrong_shares(heads=lambda x: x[:, 0])
        ),
        "You add up all rows of a block; take their mean, so that the shares of a row add up to "
        "1.": _wrong_shares(mean=lambda rows, mask: (rows * mask[..., None]).sum(1)),
        "You count one region too many: the words begin at `regions`, not at `regions` + 1.": (
            lambda attention, mask, regions: _block_shares(attention, mask, regions + 1)
        ),
        "You have words and regions exchanged: the regions come first.": (
            lambda attention, mask, regions: _block_shares(attention, mask, regions).flip(1, 2)
        ),
        "Your table is transposed: a row is the modality of the queries, a column that of the "
        "keys.": lambda attention, mask, regions: _block_shares(
            attention, mask, regions
        ).mT.contiguous(),
    },
    against=blocks,
)


# Pooling without padding.


def _max(x: Tensor, mask: Tensor) -> Tensor:
    return x.masked_fill(~mask[..., None], -torch.inf).amax(1)


def _pool(x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    return average(x, mask), _max(x, mask)


def _zeroed(x: Tensor, mask: Tensor) -> Tensor:
    return x * mask[..., None]


def _wrong_pool(mean=average, top=_max):
    return lambda x, mask: (mean(x, mask), top(x, mask))


def _draw_padded(g: torch.Generator):
    """Positions of which some are padding, which has the largest and the smallest numbers; the real
    ones are below 0 throughout in one row."""
    B, L, D = size(g, 2, 4), whole(4, 7, g), whole(2, 5, g)
    x = torch.randn(B, L, D, generator=g)
    mask = torch.rand(B, L, generator=g) < 0.5
    mask[:, whole(0, L - 1, g)] = True
    x[0] = -x[0].abs() - (0.1 if is_odd(g) else 1e3)  # in turn below any number to fill in
    if is_odd(g):
        mask[-1] = True  # no padding at all
    mask[0, : L // 2] = ~mask[0, L - L // 2 :]  # both occur
    mask[0, whole(0, L // 2 - 1, g)] = True
    mask[0, L - 1] = False
    x = torch.where(mask[..., None], x, 3 * x.abs() + 1)
    return x.requires_grad_(), mask


masked_pool = Check(
    "masked_pool",
    reference=_pool,
    draw_inputs=_draw_padded,
    mistakes={
        "Padding counts in both: the mean is that of all positions, and so is the largest.": (
            _wrong_pool(lambda x, mask: x.mean(1), lambda x, mask: x.amax(1))
        ),
        "Padding counts in the mean.": _wrong_pool(mean=lambda x, mask: x.mean(1)),
        "Padding counts in the maximum.": _wrong_pool(top=lambda x, mask: x.amax(1)),
        "You set padding to 0, but divide by all positions: divide by the number of real ones.": (
            _wrong_pool(mean=lambda x, mask: _zeroed(x, mask).mean(1))
        ),
        "You set padding to 0, but 0 is the largest number where all real ones are below it; fill "
        "in −∞.": _wrong_pool(top=lambda x, mask: _zeroed(x, mask).amax(1)),
        "You set padding to 0 in both: the mean still divides by all positions, and 0 may be the "
        "largest number.": _wrong_pool(
            lambda x, mask: _zeroed(x, mask).mean(1), lambda x, mask: _zeroed(x, mask).amax(1)
        ),
        "0 · (−∞) is nan, also at real positions: use masked_fill or torch.where.": _wrong_pool(
            top=lambda x, mask: (x + ~mask[..., None] * (-torch.inf)).amax(1)
        ),
        "You fill in a number that is too large: where all real ones are below it, it is the "
        "largest; fill in −∞.": _wrong_pool(
            top=lambda x, mask: x.masked_fill(~mask[..., None], -100.0).amax(1)
        ),
        "You divide by the number of real positions of the whole batch; each row has its own.": (
            _wrong_pool(mean=lambda x, mask: _zeroed(x, mask).sum(1) / mask.sum())
        ),
        "You return the sum of the real positions; divide by their number.": (
            _wrong_pool(mean=lambda x, mask: _zeroed(x, mask).sum(1))
        ),
        "You return the maximum first; the mean comes first.": lambda x, mask: _pool(x, mask)[::-1],
    },
    against="the mean and the maximum of the real positions, row by row",
)


# One softmax as a mixture of two.


def _split(logits: Tensor, values: Tensor, regions: int) -> tuple[Tensor, Tensor, Tensor]:
    m = regions
    share = (logits[:, :m].logsumexp(1) - logits[:, m:].logsumexp(1)).sigmoid()
    return share, logits[:, :m].softmax(1) @ values[:m], logits[:, m:].softmax(1) @ values[m:]


def _share_by(strength: Callable[[Tensor], Tensor]):
    """The parts are right; the share compares the two modalities by another number."""

    def split(logits, values, regions):
        share = (strength(logits[:, :regions]) - strength(logits[:, regions:])).sigmoid()
        return share, *_split(logits, values, regions)[1:]

    return split


def _raw_parts(logits: Tensor, values: Tensor, regions: int) -> tuple[Tensor, Tensor, Tensor]:
    joint = logits.softmax(1)
    return (
        joint[:, :regions].sum(1), joint[:, :regions] @ values[:regions],
        joint[:, regions:] @ values[regions:],
    )  # fmt: skip


def _divided_parts(logits: Tensor, values: Tensor, regions: int) -> tuple[Tensor, Tensor, Tensor]:
    share, first, second = _raw_parts(logits, values, regions)
    return share, first / share[:, None], second / (1 - share)[:, None]


def _by_exp(logits: Tensor, values: Tensor, regions: int) -> tuple[Tensor, Tensor, Tensor]:
    e = logits.exp()
    first, second = e[:, :regions], e[:, regions:]
    share = first.sum(1) / e.sum(1)
    return (
        share, first @ values[:regions] / first.sum(1, keepdim=True),
        second @ values[regions:] / second.sum(1, keepdim=True),
    )  # fmt: skip


def _draw_logits(g: torch.Generator):
    """Queries over regions and words; in turn one of them attends to one modality so much more that
    the other one's share is nearly nothing, and one has logits that no exponential can hold."""
    L, m, n, D = sizes(g, 4, 2, 6)
    logits, values = torch.randn(L, m + n, generator=g), torch.randn(m + n, D, generator=g)
    logits = 1.5 * logits
    if turn(g, 2) == 0:
        logits[0, :m] += 115
        logits[1, m:] += 115
    return logits.requires_grad_(), values.requires_grad_(), m


split_attention = Check(
    "split_attention",
    reference=_split,
    draw_inputs=_draw_logits,
    mistakes={
        "Your two parts are not weighted means: the weights of each part must add up to 1 by "
        "themselves, a softmax of its own.": _raw_parts,
        "The share is not the number of regions among all positions; it depends on the logits.": (
            lambda logits, values, regions: (
                torch.full_like(logits[:, 0], regions / logits.shape[1]),
                *_split(logits, values, regions)[1:],
            )
        ),
        "You compare the largest logits; all of them count: compare the sums of the exponentials, "
        "logsumexp.": _share_by(lambda part: part.amax(1)),
        "You compare the means of the logits; a softmax adds up exponentials: logsumexp.": (
            _share_by(lambda part: part.mean(1))
        ),
        "You compare the sums of the logits; a softmax adds up exponentials: logsumexp.": (
            _share_by(lambda part: part.sum(1))
        ),
        "You return the share of the words; the regions' was asked for.": (
            lambda logits, values, regions: (
                1 - _split(logits, values, regions)[0],
                *_split(logits, values, regions)[1:],
            )
        ),
        "Your two parts are exchanged: what comes from the regions stands before what comes from "
        "the words.": lambda logits, values, regions: (
            _split(logits, values, regions)[0],
            *_split(logits, values, regions)[:0:-1],
        ),
        "Your formula is right, but where one modality gets nearly nothing, float32 has 0 in its "
        "place, or infinity: take the softmax of each part, and the sigmoid of the difference of "
        "two logsumexp.": [_divided_parts, _by_exp],
    },
    against="two softmaxes, and the sigmoid of the difference of their logsumexp",
)
