"""The checks of lesson 11 pass what is right, however it is written, and name what is wrong."""

import math

import pytest
import torch
import torch.nn.functional as F

from labkit.lab import checks
from labkit.lab.checks import gradients, sentences
from tests.lab.check_soundness import assert_check_is_sound


def threshold_picture_by_picture(x0, p):
    made = []
    for picture in x0:
        s = max(1.0, torch.quantile(picture.abs(), p).item())
        made.append((picture / s).clamp(-1, 1))
    return torch.stack(made)


def threshold_by_sorting(x0, p):
    sizes = x0.abs().flatten(1).sort(1).values
    place = p * (sizes.shape[1] - 1)
    low, share = math.floor(place), place - math.floor(place)
    s = torch.lerp(sizes[:, low], sizes[:, min(low + 1, sizes.shape[1] - 1)], share)
    s = torch.maximum(s, torch.ones_like(s))[:, None, None, None]
    return torch.where(x0.abs() > s, x0.sign(), x0 / s)


def low_by_hand(low, side, levels, schedule, generator):
    seen = F.interpolate(low, size=side, mode="bilinear", align_corners=False)
    times = torch.round(levels * schedule.T).to(torch.long)
    eps = torch.randn(seen.shape, generator=generator)
    alpha_bar = schedule.alpha_bar[times].float().view(-1, 1, 1, 1)
    return alpha_bar.sqrt() * seen + (1 - alpha_bar).sqrt() * eps, times


def low_row_by_row(low, side, levels, schedule, generator):
    """Its noise comes in another order, so that only its distribution is right."""
    rows, times = [], [round(level * schedule.T) for level in levels.tolist()]
    for picture, t in reversed(list(zip(low, times, strict=True))):
        seen = F.interpolate(picture[None], (side, side), mode="bilinear")
        eps = torch.randn(seen.shape, generator=generator)
        rows.append(schedule.diffuse(seen, t, eps))
    return torch.cat(rows[::-1]), torch.tensor(times)


def corrupt_token_by_token(ids, spans, sentinel, end):
    text, filling = [], []
    for place, token in enumerate(ids):
        inside = [blank for blank, (first, last) in enumerate(spans) if first <= place < last]
        if not inside:
            text.append(token)
            continue
        if place == spans[inside[0]][0]:
            text.append(sentinel - inside[0])
            filling.append(sentinel - inside[0])
        filling.append(token)
    return text + [end], filling + [end]


def corrupt_from_behind(ids, spans, sentinel, end):
    text, filling = list(ids), []
    for blank in reversed(range(len(spans))):
        first, last = spans[blank]
        filling = [sentinel - blank, *text[first:last], *filling]
        text[first:last] = [sentinel - blank]
    return (*text, end), (*filling, end)


def pool_by_einsum(tokens, mask, W_q, W_k, W_v):
    real = mask.float()
    mean = torch.einsum("bld,bl->bd", tokens, real) / real.sum(1).clamp(min=1)[:, None]
    q, k, v = F.linear(mean, W_q), F.linear(tokens, W_k), F.linear(tokens, W_v)
    logits = torch.einsum("bd,bld->bl", q, k) / math.sqrt(q.shape[1])
    shares = logits.masked_fill(~mask, torch.finfo(logits.dtype).min).softmax(-1)
    return torch.einsum("bl,bld->bd", shares * real, v)


def pool_row_by_row(tokens, mask, W_q, W_k, W_v):
    rows = []
    for own, real in zip(tokens, mask, strict=True):
        own = own[real]
        if len(own) == 0:
            rows.append(tokens.new_zeros(tokens.shape[2]))
            continue
        logits = (own @ W_k.T) @ (W_q @ own.mean(0)) / len(W_q) ** 0.5
        rows.append(logits.softmax(0) @ (own @ W_v.T))
    return torch.stack(rows)


def bucket_in_float32(distance, buckets, reach):
    """As T5's own code has it, with a little added inside the logarithm."""
    n, exact = torch.maximum(-distance, torch.zeros_like(distance)), buckets // 2
    far = torch.log(n.float() / exact + torch.finfo(torch.float32).eps) / math.log(reach / exact)
    far = exact + (far * (buckets - exact)).clamp(min=-exact).long()
    return torch.where(n < exact, n, torch.minimum(far, torch.full_like(far, buckets - 1)))


def bucket_by_edges(distance, buckets, reach):
    """The first distance of each bucket, and how many of them are reached."""
    exact = buckets // 2
    factor = (reach / exact) ** (1 / (buckets - exact))
    edges = [*range(1, exact + 1), *(exact * factor**k for k in range(1, buckets - exact))]
    far = (-distance).clamp(min=0).double()
    return torch.bucketize(far, torch.tensor(edges).double(), right=True)


RIGHT = {
    "dynamic_thresholding": [threshold_picture_by_picture, threshold_by_sorting],
    "augmented_low": [low_by_hand, low_row_by_row],
    "corrupt": [corrupt_token_by_token, corrupt_from_behind],
    "pool_text": [pool_by_einsum, pool_row_by_row],
    "causal_bucket": [bucket_in_float32, bucket_by_edges],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_check_passes_what_is_right_and_names_each_known_mistake(name):
    assert_check_is_sound(getattr(checks, name), RIGHT[name], times=2)


def threshold_with(axes, limit):
    def wrong(x0, p):
        s = torch.quantile(x0.abs().flatten(axes), p, dim=-1)
        s = s.view(*s.shape, *[1] * (x0.ndim - s.ndim)) if limit is None else limit
        return x0.clamp(-s, s) / s

    return wrong


def low_with(side_of=lambda seen: seen.shape, told=None, level=None):
    def wrong(low, side, levels, schedule, generator):
        seen = F.interpolate(low, (side, side), mode="bilinear")
        eps = torch.randn(side_of(seen), generator=generator)
        own = levels if level is None else level(levels)
        times = torch.round(own * schedule.T).long()
        made = schedule.diffuse(seen, times, eps.expand_as(seen))
        return made, times if told is None else told(times)

    return wrong


def pool_of_where(tokens, mask, W_q, W_k, W_v):
    """What one would write first: −inf, and no thought of a row without a token."""
    mean = (tokens * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    logits = (mean @ W_q.T)[:, None] @ (tokens @ W_k.T).mT / len(W_q) ** 0.5
    weights = logits.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
    return (weights @ (tokens @ W_v.T))[:, 0]


def bucket_with(far=lambda r: max(-r, 0), rounding=int, share=2):
    def wrong(distance, buckets, reach):
        exact, found = buckets // share, []
        for r in distance.flatten().tolist():
            n = far(r)
            if n >= exact:
                steps = math.log(n / exact) / math.log(reach / exact) * (buckets - exact)
                n = min(buckets - 1, exact + rounding(steps))
            found.append(n)
        return torch.tensor(found).view(distance.shape)

    return wrong


NATURAL = [
    ("dynamic_thresholding", threshold_with(0, None), "that of the whole batch"),
    ("dynamic_thresholding", threshold_with(1, None), "may fall below 1"),
    ("dynamic_thresholding", threshold_with(1, 1.0), "static thresholding"),
    ("augmented_low", low_with(lambda seen: (1, *seen.shape[1:])), "the same noise"),
    ("augmented_low", low_with(told=torch.zeros_like), "do not tell the network"),
    ("augmented_low", low_with(level=lambda levels: 1 - levels), "turned round"),
    ("pool_text", pool_of_where, "becomes NaN"),
    ("causal_bucket", bucket_with(lambda r: max(r, 0)), "The sign is turned"),
    ("causal_bucket", bucket_with(abs), "Later keys count like earlier ones"),
    ("causal_bucket", bucket_with(lambda r: -r), "a bucket below 0"),
    ("causal_bucket", bucket_with(rounding=round), "You round the logarithm;"),
    ("causal_bucket", bucket_with(rounding=math.ceil), "round the logarithm up"),
    ("causal_bucket", bucket_with(share=4), "A quarter of the buckets"),
]


@pytest.mark.parametrize(("name", "wrong", "words"), NATURAL)
def test_a_natural_mistake_is_named_each_time(name, wrong, words):
    for _ in range(3):
        assert words in getattr(checks, name)(wrong).mistake


def test_noise_that_is_not_the_generator_s_is_named():
    def own(low, side, levels, schedule, generator):
        return low_by_hand(low, side, levels, schedule, None)

    def always_the_same(low, side, levels, schedule, generator):
        return low_by_hand(low, side, levels, schedule, torch.Generator().manual_seed(1))

    assert checks.augmented_low(own).mistake == sentences.OWN_GENERATOR
    assert checks.augmented_low(always_the_same).mistake == sentences.SAME_NOISE


def test_numbers_that_are_held_fixed_are_not_enough():
    wrong = [
        ("dynamic_thresholding", lambda x0, p: threshold_by_sorting(x0, 0.9)),
        ("augmented_low", lambda low, side, *rest: low_by_hand(low, 2 * low.shape[-1], *rest)),
        ("corrupt", lambda ids, spans, *rest: corrupt_from_behind(ids, spans[:2], *rest)),
        ("causal_bucket", lambda r, buckets, reach: bucket_by_edges(r, buckets, 128)),
        ("causal_bucket", lambda r, buckets, reach: bucket_by_edges(r, 32, reach)),
    ]
    for name, fixed in wrong:
        assert not getattr(checks, name)(fixed), name


def test_buckets_that_are_no_whole_numbers_are_refused():
    def floats(distance, buckets, reach):
        return bucket_by_edges(distance, buckets, reach).float()

    assert "int64" in checks.causal_bucket(floats).message


def test_a_gradient_that_nan_to_num_only_hides_is_refused():
    def hidden(*given):
        return torch.nan_to_num(pool_of_where(*given))

    assert "nan or infinite" in checks.pool_text(hidden).mistake

    def detached(tokens, mask, W_q, W_k, W_v):
        return pool_by_einsum(tokens, mask, W_q.detach(), W_k, W_v)

    assert "reaches `W_q`" in checks.pool_text(detached).mistake
    assert checks.pool_text(lambda *given: pool_by_einsum(*given).detach()).mistake == (
        gradients.NO_GRADIENT
    )


def test_the_papers_examples_come_out_of_the_references():
    x0 = torch.tensor([[-3, -1.5, -0.5, 0, 0.2, 0.6, 1.2, 2]])
    made = checks.dynamic_thresholding.reference(x0, 0.9)
    expected = torch.tensor([[-1, -0.652, -0.217, 0, 0.087, 0.261, 0.522, 0.870]])
    torch.testing.assert_close(made, expected, atol=5e-4, rtol=0)
    far = torch.tensor([0, -15, -16, -18, -113, -900, 1, 91])
    assert checks.causal_bucket.reference(far, 32, 128).tolist() == [
        0, 15, 16, 16, 31, 31, 0, 0
    ]  # fmt: skip
    said = checks.corrupt.reference([11, 12, 13, 14, 15], [(1, 3), (4, 5)], 99, 1)
    assert said == ([11, 99, 14, 98, 1], [99, 12, 13, 98, 15, 1])
