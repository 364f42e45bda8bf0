"""The checks of lesson 13 on one softmax over two modalities, and on padding."""

import torch
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import is_odd, size, sizes, turn, whole
from labkit.lab.matching import block_shares as _block_shares
from labkit.nets.pooling import average
from labkit.systems.joint import blocks

# How much of the attention falls into each of the four blocks.


def _block_rows(attention: Tensor, regions: int) -> Tensor:
    """What each position gives to the regions and to the words, (B, L, 2), over all heads."""
    weights = attention.mean(1)  # (B, L, L)
    return torch.stack([weights[..., :regions].sum(2), weights[..., regions:].sum(2)], 2)


def _two(rows: Tensor, mask: Tensor, regions: int) -> Tensor:
    """The mean of the rows (B, L, 2) that are real, of each modality: (B, 2, 2)."""
    real = mask.to(rows.dtype)[..., None]  # (B, L, 1)
    parts = (rows * real).tensor_split([regions], 1), real.tensor_split([regions], 1)
    return torch.stack([part.sum(1) / count.sum(1) for part, count in zip(*parts)], 1)


def _mean_of_a_block(attention: Tensor, mask: Tensor, regions: int) -> Tensor:
    weights = attention.mean(1)
    rows = torch.stack([weights[..., :regions].mean(2), weights[..., regions:].mean(2)], 2)
    return _two(rows, mask, regions)


def _by_all_positions(attention: Tensor, mask: Tensor, regions: int) -> Tensor:
    rows = _block_rows(attention, regions) * mask[..., None]
    return torch.stack([part.mean(1) for part in rows.tensor_split([regions], 1)], 1)


def _sum_of_rows(attention: Tensor, mask: Tensor, regions: int) -> Tensor:
    rows = _block_rows(attention, regions) * mask[..., None]
    return torch.stack([part.sum(1) for part in rows.tensor_split([regions], 1)], 1)


def _draw_attention(g: torch.Generator):
    """Attention of regions and words, whose padding is attended to by nobody, but attends. In
    turn none of it is padding."""
    B, heads, m, n = sizes(g, 4, 2, 6)
    L = m + n + (n == m + 1)  # or L // 2 would be the number of regions here, too
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
        "along each row, and average the rows.": _mean_of_a_block,
        "Rows of padding count: padding attends to others too, but nobody uses what it finds. "
        "Average the real rows only.": (
            lambda attention, mask, regions: _block_shares(
                attention, torch.ones_like(mask), regions
            )
        ),
        "Rows of padding are set to 0 and still counted; divide by the number of real rows.": (
            _by_all_positions
        ),
        "You add up the heads; each is a softmax of its own: average them.": (
            lambda attention, mask, regions: (
                attention.shape[1] * _block_shares(attention, mask, regions)
            )
        ),
        "You take the first head only; average all of them.": (
            lambda attention, mask, regions: _block_shares(attention[:, :1], mask, regions)
        ),
        "You add up all rows of a block; take their mean, so that the shares of a row add up to "
        "1.": _sum_of_rows,
        "You count one region too many: the words begin at `regions`, not at `regions` + 1.": (
            lambda attention, mask, regions: _block_shares(attention, mask, regions + 1)
        ),
        "You exchanged words and regions: the regions come first.": (
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
            lambda x, mask: (x.mean(1), x.amax(1))
        ),
        "Padding counts in the mean.": (lambda x, mask: (x.mean(1), _max(x, mask))),
        "Padding counts in the maximum.": (lambda x, mask: (average(x, mask), x.amax(1))),
        "You set padding to 0, but divide by all positions: divide by the number of real ones.": (
            lambda x, mask: (_zeroed(x, mask).mean(1), _max(x, mask))
        ),
        "You set padding to 0, but 0 is the largest number where all real ones are below it; fill "
        "in −∞.": (lambda x, mask: (average(x, mask), _zeroed(x, mask).amax(1))),
        "You set padding to 0 in both: the mean still divides by all positions, and 0 may be the "
        "largest number.": (lambda x, mask: (_zeroed(x, mask).mean(1), _zeroed(x, mask).amax(1))),
        "0 · (−∞) is nan, also at real positions: use masked_fill or torch.where.": (
            lambda x, mask: (average(x, mask), (x + ~mask[..., None] * -torch.inf).amax(1))
        ),
        "You fill in a number that is too large: where all real ones are below it, it is the "
        "largest; fill in −∞.": (
            lambda x, mask: (average(x, mask), x.masked_fill(~mask[..., None], -100.0).amax(1))
        ),
        "You divide by the number of real positions of the whole batch; each row has its own.": (
            lambda x, mask: (_zeroed(x, mask).sum(1) / mask.sum(), _max(x, mask))
        ),
        "You return the sum of the real positions; divide by their number.": (
            lambda x, mask: (_zeroed(x, mask).sum(1), _max(x, mask))
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


def _shared(share: Tensor, logits: Tensor, values: Tensor, regions: int):
    """This share, beside the right parts."""
    return share, *_split(logits, values, regions)[1:]


def _by_the_largest(logits: Tensor, values: Tensor, regions: int):
    share = (logits[:, :regions].amax(1) - logits[:, regions:].amax(1)).sigmoid()
    return _shared(share, logits, values, regions)


def _by_the_mean(logits: Tensor, values: Tensor, regions: int):
    share = (logits[:, :regions].mean(1) - logits[:, regions:].mean(1)).sigmoid()
    return _shared(share, logits, values, regions)


def _by_the_sum(logits: Tensor, values: Tensor, regions: int):
    share = (logits[:, :regions].sum(1) - logits[:, regions:].sum(1)).sigmoid()
    return _shared(share, logits, values, regions)


def _by_number(logits: Tensor, values: Tensor, regions: int):
    share = torch.full_like(logits[:, 0], regions / logits.shape[1])
    return _shared(share, logits, values, regions)


def _share_of_words(logits: Tensor, values: Tensor, regions: int):
    share, first, second = _split(logits, values, regions)
    return 1 - share, first, second


def _exchanged(logits: Tensor, values: Tensor, regions: int):
    share, first, second = _split(logits, values, regions)
    return share, second, first


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
    n += n == m + 1  # or half of all positions would be the regions here, too
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
            _by_number
        ),
        "You compare the largest logits; all of them count: compare the sums of the exponentials, "
        "logsumexp.": _by_the_largest,
        "You compare the means of the logits; a softmax adds up exponentials: logsumexp.": (
            _by_the_mean
        ),
        "You compare the sums of the logits; a softmax adds up exponentials: logsumexp.": (
            _by_the_sum
        ),
        "You return the share of the words; the regions' was asked for.": _share_of_words,
        "Your two parts are exchanged: what comes from the regions stands before what comes from "
        "the words.": _exchanged,
        "Your formula is right, but where one modality gets nearly nothing, float32 has 0 in its "
        "place, or infinity: take the softmax of each part, and the sigmoid of the difference of "
        "two logsumexp.": [_divided_parts, _by_exp],
    },
    against="two softmaxes, and the sigmoid of the difference of their logsumexp",
)
