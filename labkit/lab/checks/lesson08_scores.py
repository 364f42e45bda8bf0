"""The checks of lesson 08 on the scores: a noised reference, and several scores at once."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import (
    STEPS,
    Given,
    between,
    random_schedule,
    sizes,
    turn,
    whole,
)
from labkit.schedule import NoiseSchedule
from labkit.systems.sdg import NoisyCLIP, weighted

Encode = Callable[[Tensor, int], Tensor]  # (x (B, C, H, W), t) → unit vectors (B, D)

# Image content: the reference must look as noisy as the picture.


class _Seeing(NoisyCLIP):
    """A NoisyCLIP with the encoder and the schedule of the exercise, for pictures of any size."""

    def __init__(self, encode: Encode, schedule: NoiseSchedule):
        nn.Module.__init__(self)
        self.encode, self.schedule = encode, schedule

    def check_size(self, *_):
        pass


def _content_score(
    encode: Encode, schedule: NoiseSchedule, x: Tensor, t: int, reference: Tensor, eps: Tensor
) -> Tensor:
    with Given(randn=eps):
        return _Seeing(encode, schedule).content(reference)(x, t)


def _cosines(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(1)  # of unit vectors, row by row


def _noised(schedule: NoiseSchedule, x: Tensor, t: int, reference: Tensor, eps: Tensor) -> Tensor:
    return schedule.diffuse(reference.expand_as(x), t, eps)


def _one_time_too_early(encode, schedule, x, t, reference, eps):
    return _cosines(encode(x, t), encode(_noised(schedule, x, t - 1, reference, eps), t))


def _clean_at(encode, schedule, x, t, reference, eps, time):
    return _cosines(encode(x, t), encode(reference, time))


def _noised_at(encode, schedule, x, t, reference, eps, time):
    return _cosines(encode(x, t), encode(_noised(schedule, x, t, reference, eps), time))


def _all_clean_at(encode, schedule, x, t, reference, eps, time):
    return _cosines(encode(x, time), encode(reference, time))


def _all_noised_at(encode, schedule, x, t, reference, eps, time):
    noised = _noised(schedule, x, t, reference, eps)
    return _cosines(encode(x, time), encode(noised, time))


def _picture_at(encode, schedule, x, t, reference, eps, time):
    return _cosines(encode(x, time), encode(_noised(schedule, x, t, reference, eps), t))


def _one_noise(encode, schedule, x, t, reference, eps):
    return _content_score(encode, schedule, x, t, reference, eps[:1].expand_as(eps))


def _mean_of_products(encode, schedule, x, t, reference, eps):
    return (encode(x, t) * encode(_noised(schedule, x, t, reference, eps), t)).mean(1)


def _without_roots(encode, schedule, x, t, reference, eps):
    share = schedule.alpha_bar[t].item()
    return _cosines(encode(x, t), encode(share * reference + (1 - share) * eps, t))


def _all_with_all(encode, schedule, x, t, reference, eps):
    return encode(x, t) @ encode(_noised(schedule, x, t, reference, eps), t).T


def _distance(encode, schedule, x, t, reference, eps):
    return (encode(x, t) - encode(_noised(schedule, x, t, reference, eps), t)).norm(dim=1)


def _draw_content(g: torch.Generator):
    """A small encoder that depends on the time, and pictures of which none is the reference."""
    B, C, H, W = sizes(g, 4)
    first = torch.randn(C * H * W, whole(4, 8, g), generator=g) / (C * H * W) ** 0.5
    rate = between(1.5, 2.5, g)

    def encode(x: Tensor, t: int) -> Tensor:
        return F.normalize(torch.tanh(x.flatten(1) @ first + rate * t / STEPS), dim=1)

    schedule, t = random_schedule(g), whole(8, 25, g)
    x, eps = torch.randn(2, B, C, H, W, generator=g)
    reference = torch.rand(1, C, H, W, generator=g) * 2 - 1
    return encode, schedule, x.requires_grad_(), t, reference, eps


content_score = Check(
    "content_score",
    reference=_content_score,
    draw_inputs=_draw_content,
    mistakes={
        "The reference stays clean, while x_t is noisy: the encoder at time t never learned what a "
        "clean picture looks like. Noise it to the same t.": (
            lambda encode, schedule, x, t, reference, eps: _clean_at(
                encode, schedule, x, t, reference, eps, time=t
            )
        ),
        "The reference stays clean, and the encoder is given the time 0 or 1; its vector is then "
        "compared with one of a noisy picture. Noise it to the same t.": [
            partial(_clean_at, time=0),
            partial(_clean_at, time=1),
        ],
        "The reference is noised to t, but the encoder is given the time 0 or 1: give it the same "
        "t.": [partial(_noised_at, time=0), partial(_noised_at, time=1)],
        "The encoder is given the time 0 or 1 for both pictures, though both are as noisy as t "
        "says: give it t.": [partial(_all_noised_at, time=0), partial(_all_noised_at, time=1)],
        "The encoder is given the time 0 or 1 for x_t, which is as noisy as t says: give it t for "
        "both pictures.": [partial(_picture_at, time=0), partial(_picture_at, time=1)],
        "The reference stays clean, and the encoder is given the time 0 or 1 for both pictures. "
        "Noise the reference to t, and give the encoder t for both.": [
            partial(_all_clean_at, time=0),
            partial(_all_clean_at, time=1),
        ],
        "All rows get the noise of the first, eps[:1]; each row has its own.": _one_noise,
        "You take the mean over the D products, which divides each cosine by D: sum over "
        "dimension 1.": _mean_of_products,
        "This is minus the cosine; a score grows with the likeness.": (
            lambda *given: -_content_score(*given)
        ),
        "The reference is noised to t − 1: ᾱ has an entry for time 0, so that of time t stands at "
        "t.": _one_time_too_early,
        "You noise x_t once more; it is as noisy as t says already. Only the reference is clean.": (
            lambda encode, schedule, x, t, reference, eps: _content_score(
                encode, schedule, schedule.diffuse(x, t, eps), t, reference, eps
            )
        ),
        "The roots are missing: √ᾱ_t and √(1−ᾱ_t), or use schedule.diffuse.": _without_roots,
        "This is a mean over the batch: every row would get the B-th part of its gradient. One "
        "number per row: sum over dimension 1.": (lambda *given: _content_score(*given).mean()),
        "You compare every row with every row, (B, B); compare each x_t with its own reference.": (
            _all_with_all
        ),
        "You give 1 minus the cosine, which is a distance; a score grows with the likeness.": (
            lambda *given: 1 - _content_score(*given)
        ),
        "You give the distance of the two vectors; a score grows with the likeness: the cosine.": (
            _distance
        ),
    },
    against=NoisyCLIP.content,
)


# Several scores at once.


def _weighted_score(
    scores: Sequence[Callable], weights: Sequence[float], x: Tensor, t: int
) -> Tensor:
    return weighted(*zip(weights, scores))(x, t)


def _draw_weighted(g: torch.Generator):
    """One to five scores; of several, the last one is unwanted."""
    n, B, D = turn(g, 5) + 1, *sizes(g, 2, 3, 12)

    def make():
        way, rate = torch.randn(D, generator=g), between(0.5, 1.5, g)
        return lambda x, t: torch.tanh(x.flatten(1) @ way / 5 + rate * t / STEPS)

    weights = [between(1.5, 4, g) for _ in range(n)]
    weights[-1] *= -0.4 if n > 1 else 1
    x = torch.randn(B, D, generator=g).requires_grad_()
    return [make() for _ in range(n)], weights, x, whole(5, 45, g)


weighted_score = Check(
    "weighted_score",
    reference=_weighted_score,
    draw_inputs=_draw_weighted,
    mistakes={
        "You make the weights sum to 1, so that two scores weigh no more than one, and no scale "
        "is left. Each weight is a scale of its own.": (
            lambda scores, weights, x, t: _weighted_score(scores, weights, x, t) / sum(weights)
        ),
        "You take the mean of the terms; their sum is asked for.": (
            lambda scores, weights, x, t: _weighted_score(scores, weights, x, t) / len(scores)
        ),
        "You leave out the terms with a negative weight: they are what pushes away.": (
            lambda scores, weights, x, t: sum(
                w * score(x, t) for w, score in zip(weights, scores) if w > 0
            )
        ),
        "You ask the scores at time 0 or 1; they have to know how noisy x_t is: score(x, t).": [
            lambda scores, weights, x, t: _weighted_score(scores, weights, x, 0),
            lambda scores, weights, x, t: _weighted_score(scores, weights, x, 1),
        ],
        "You lose the sign of a negative weight: it is what pushes away.": (
            lambda scores, weights, x, t: sum(
                abs(w) * score(x, t) for w, score in zip(weights, scores)
            )
        ),
        "The weights are missing.": (
            lambda scores, weights, x, t: sum(score(x, t) for score in scores)
        ),
        "The weights are in the wrong order: weight i belongs to score i.": (
            lambda scores, weights, x, t: _weighted_score(scores, weights[::-1], x, t)
        ),
        "Only the first score counts.": (
            lambda scores, weights, x, t: weights[0] * scores[0](x, t)
        ),
        "You sum over the batch as well; give one number per row, (B,).": (
            lambda scores, weights, x, t: _weighted_score(scores, weights, x, t).sum()
        ),
        "You average over the batch; give one number per row, (B,).": (
            lambda scores, weights, x, t: _weighted_score(scores, weights, x, t).mean()
        ),
        "You multiply the scores, each to the power of its weight; their logarithms were added "
        "already: a score is a log-probability, so add.": lambda scores, weights, x, t: torch.stack(
            [s(x, t) * w for s, w in zip(scores, weights)]
        ).prod(0),
    },
    against=weighted,
)
