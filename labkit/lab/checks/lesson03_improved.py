"""The checks of lesson 03 on what came after DDPM: respacing, averaged weights."""

import torch
from torch import Tensor, nn

from labkit.ema import Average
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import (
    between,
    random_table,
    sizes,
    turn,
    whole,
)
from labkit.schedule import NoiseSchedule

# Respacing.


def _respaced_betas(alpha_bar: Tensor, times: list[int]) -> Tensor:
    return NoiseSchedule(alpha_bar[times]).beta[1:]


def _single(alpha_bar: Tensor) -> Tensor:
    return 1 - alpha_bar[1:] / alpha_bar[:-1]  # (T,), β_1 first


def _one_too_early(alpha_bar: Tensor, times: list[int]) -> Tensor:
    kept = alpha_bar[[t - 1 for t in times]]
    return 1 - kept[1:] / kept[:-1]


def _draw_times(g: torch.Generator) -> tuple[Tensor, list[int]]:
    table = random_table(g)
    T = len(table) - 1
    inside = torch.randperm(T - 1, generator=g)[: whole(4, 9, g)] + 1
    if turn(g, 5) == 3:  # as cosine's, the last step keeps next to nothing: its β is over 0.999
        table[-1] *= between(1e-5, 5e-4, g)
    return table, [0, *sorted(inside.tolist()), T]


def _summed(alpha_bar: Tensor, times: list[int]) -> Tensor:
    pairs = zip(times, times[1:])
    return torch.stack([_single(alpha_bar)[s:t].sum() for s, t in pairs])


respaced_betas = Check(
    "respaced_betas",
    reference=_respaced_betas,
    draw_inputs=_draw_times,
    tolerance=1e-9,
    mistakes={
        "You keep the β's of the times that stay. Each new step is as long as several old ones, "
        "and must add the noise of all of them: 1 − ᾱ_t/ᾱ_s.": (
            lambda alpha_bar, times: _single(alpha_bar)[[t - 1 for t in times[1:]]]
        ),
        "You add up the β's on the way, but each takes its share of what is left: "
        "1 − ᾱ_t/ᾱ_s.": _summed,
        "You multiply β_t by the number of steps; each takes its share of what is left: "
        "1 − ᾱ_t/ᾱ_s.": (
            lambda alpha_bar, times: (
                _single(alpha_bar)[[t - 1 for t in times[1:]]] * torch.tensor(times).diff()
            )
        ),
        "You cut β off at 0.999; the table of the kept times then ends too high.": (
            lambda alpha_bar, times: _respaced_betas(alpha_bar, times).clamp(max=0.999)
        ),
        "That is 1 − ᾱ_t, the noise since time 0; a step adds 1 − ᾱ_t/ᾱ_s.": (
            lambda alpha_bar, times: 1 - alpha_bar[times[1:]]
        ),
        "That is β̃, the posterior's variance; the noising step's is asked for, 1 − ᾱ_t/ᾱ_s.": (
            lambda alpha_bar, times: (
                _respaced_betas(alpha_bar, times)
                * (1 - alpha_bar[times[:-1]])
                / (1 - alpha_bar[times[1:]])
            )
        ),
        "You return √β, standard deviations; from_betas wants variances.": (
            lambda alpha_bar, times: _respaced_betas(alpha_bar, times).sqrt()
        ),
        "That is α, what the step keeps; β is what it adds: 1 − α.": (
            lambda alpha_bar, times: alpha_bar[times][1:] / alpha_bar[times][:-1]
        ),
        "The ratio is upside down, so that every β is negative: ᾱ_t/ᾱ_s, the later time above.": (
            lambda alpha_bar, times: 1 - alpha_bar[times][:-1] / alpha_bar[times][1:]
        ),
        "You take the difference ᾱ_s − ᾱ_t; divide it by ᾱ_s, what was left.": (
            lambda alpha_bar, times: alpha_bar[times][:-1] - alpha_bar[times][1:]
        ),
        "The β's come in the order of sampling; from_betas wants the first noising step first.": (
            lambda alpha_bar, times: _respaced_betas(alpha_bar, times).flip(0)
        ),
        "That is 1 − √(ᾱ_t/ᾱ_s); the variances themselves divide, without a root.": (
            lambda alpha_bar, times: 1 - (alpha_bar[times][1:] / alpha_bar[times][:-1]).sqrt()
        ),
        "Your times are off by one: alpha_bar[0] is ᾱ_0 = 1, so ᾱ_t is alpha_bar[t].": [
            _one_too_early,
            lambda alpha_bar, times: _one_too_early(alpha_bar, [1, *times[1:]]),
        ],
        "The first step is missing, from time 0 to the first time that stays.": (
            lambda alpha_bar, times: _respaced_betas(alpha_bar, times)[1:]
        ),
    },
    against=NoiseSchedule.beta.fget,
)


# The average of the weights.


def _ema_update(average: Tensor, weights: Tensor, step: int, decay: float) -> Tensor:
    system = nn.ParameterList([average.clone()])
    mean = Average(system, decay)
    with torch.no_grad():
        system[0].copy_(weights)
    mean.update(step)
    return mean.system[0].detach()


def _draw_weights(g: torch.Generator):
    """An update at the very first step, early, or late; then with a small decay, for which the
    warm-up ends before step 30, and with a large one, for which it lasts beyond step 500."""
    kind = turn(g, 5)
    late = whole(200_000, 900_000, g)  # where a decay of 0.9999 has ended its warm-up, too
    step = (0, whole(1, 20, g), late, whole(40, 90, g), whole(110, 500, g))[kind]
    decay = between(*((0.75, 0.98), (0.5, 0.75), (0.985, 0.995))[max(0, kind - 2)], g)
    average, weights = torch.randn(2, *sizes(g, whole(2, 4, g)), generator=g)
    return average, weights, step, decay


ema_update = Check(
    "ema_update",
    reference=_ema_update,
    draw_inputs=_draw_weights,
    mistakes={
        "There is no warm-up: in the first steps the average holds on to the random weights it "
        "began with; take the smaller of decay and (1+step)/(10+step), with the brackets.": (
            lambda average, weights, step, decay: decay * average + (1 - decay) * weights
        ),
        "The roles are exchanged: decay is the share of the old average, which stays large.": (
            lambda average, weights, step, decay: _ema_update(weights, average, step, decay)
        ),
        "You take the larger of the two; the warm-up must be the smaller one: min.": (
            lambda average, weights, step, decay: torch.lerp(
                weights, average, max(decay, (1 + step) / (10 + step))
            )
        ),
        "The limit is a number of your own; it is the argument `decay`.": [
            lambda average, weights, step, decay: _ema_update(average, weights, step, 0.99),
            lambda average, weights, step, decay: _ema_update(average, weights, step, 0.999),
            lambda average, weights, step, decay: _ema_update(average, weights, step, 0.9999),
        ],
        "You return the old average; the new weights have no part in it.": (
            lambda average, weights, step, decay: average.clone()
        ),
        "You return the new weights; the old average has no part in it.": (
            lambda average, weights, step, decay: weights.clone()
        ),
        "The decay never stops growing; it may be at most `decay`.": (
            lambda average, weights, step, decay: torch.lerp(
                weights, average, (1 + step) / (10 + step)
            )
        ),
        "The two shares do not add up to 1: decay · average + (1 − decay) · weights.": (
            lambda average, weights, step, decay: (
                min(decay, (1 + step) / (10 + step)) * average + weights
            )
        ),
        "Your steps are off by one: the warm-up is (1+step)/(10+step).": [
            lambda average, weights, step, decay: torch.lerp(
                weights, average, min(decay, step / (9 + step))
            ),
            lambda average, weights, step, decay: torch.lerp(
                weights, average, min(decay, (2 + step) / (11 + step))
            ),
        ],
        "That is how far the average moves; add it to the average.": (
            lambda average, weights, step, decay: (
                (1 - min(decay, (1 + step) / (10 + step))) * (weights - average)
            )
        ),
    },
    against=Average.update,
)
