"""The checks of lesson 03 on what came after DDPM: respacing, averaged weights, the bound."""

import math

import torch
from torch import Tensor, nn

from labkit import likelihood
from labkit.denoiser import Prediction
from labkit.ema import Average
from labkit.lab.checks.framework import Check
from labkit.lab.checks.random_inputs import (
    between,
    mistaken,
    random_table,
    random_times,
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
        "That is α, what the step keeps; β is what it adds: 1 − α.": (
            lambda alpha_bar, times: alpha_bar[times][1:] / alpha_bar[times][:-1]
        ),
        "The ratio is upside down, so that every β is negative: ᾱ_t/ᾱ_s, the later time above.": (
            lambda alpha_bar, times: 1 - alpha_bar[times][:-1] / alpha_bar[times][1:]
        ),
        "You take the difference ᾱ_s − ᾱ_t; divide it by ᾱ_s, what there was to lose.": (
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
    step = (0, whole(1, 20, g), whole(2_000, 9_000, g), whole(40, 90, g), whole(110, 500, g))[kind]
    decay = between(*((0.75, 0.98), (0.5, 0.75), (0.985, 0.995))[max(0, kind - 2)], g)
    average, weights = torch.randn(2, *sizes(g, whole(1, 4, g)), generator=g)
    return average, weights, step, decay


ema_update = Check(
    "ema_update",
    reference=_ema_update,
    draw_inputs=_draw_weights,
    mistakes={
        "There is no warm-up: in the first steps the average holds on to the random weights it "
        "began with; take the smaller of decay and (1+step)/(10+step).": (
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
        "The decay never stops growing: hold it at `decay` from above.": (
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


# One term of the bound, with a learned variance.


def _term(
    x0, guess, x, o, t, s, alpha_bar, v=None, mix="logarithms", turned=False, half=0.5, **other
) -> Tensor:
    """KL(posterior ‖ model) per row, with every piece open to a mistake."""
    schedule = NoiseSchedule(alpha_bar)
    true_mean, small = schedule.posterior(x0, x, t, s)
    mean, _ = schedule.posterior(guess, x, t, s)
    large = 1 - alpha_bar[t] / alpha_bar[s]
    v = (o + 1) / 2 if v is None else v
    log_model = MIXES[mix](small.log(), large.log(), v.double())  # (B, C, H, W)
    log_true = small.log().expand_as(log_model)
    first, second = (log_model, log_true) if turned else (log_true, log_model)
    square = other.get("gap", true_mean - mean).double().square()
    kl = half * (
        second - first + (first - second).exp() - 1 + square / other.get("below", second.exp())
    )
    bits = kl.flatten(1).mean(1) / math.log(2)
    return (bits * other.get("unit", 1)).to(x.dtype)


def _bound_term(
    x0: Tensor, guess: Tensor, x: Tensor, o: Tensor, t: int, s: int, alpha_bar: Tensor
) -> Tensor:
    schedule = NoiseSchedule(alpha_bar[[0, s, t]])  # in which s is time 1 and t is time 2
    return likelihood.term(schedule, Prediction(guess, x, (o + 1) / 2), x0, x, 2).to(x.dtype)


MIXES = {
    "logarithms": torch.lerp,
    "variances": lambda small, large, v: (v * large.exp() + (1 - v) * small.exp()).abs().log(),
    "swapped": lambda small, large, v: torch.lerp(large, small, v),
    "roots": lambda small, large, v: torch.lerp(small, large, v) / 2,
}


def _small(x0, guess, x, o, t, s, alpha_bar) -> Tensor:
    return NoiseSchedule(alpha_bar).posterior(x0, x, t, s)[1]  # β̃


def _only_means(x0, guess, x, o, t, s, alpha_bar) -> Tensor:
    same = _term(x0, x0, x, o, t, s, alpha_bar)
    return _term(x0, guess, x, o, t, s, alpha_bar) - same


def _draw_term(g: torch.Generator):
    """Pictures and an answer; what is learned is the variance, so it is o that has a gradient."""
    x0, guess, o = torch.rand(3, *sizes(g, 4), generator=g) * 2 - 1
    x = torch.randn(x0.shape, generator=g)
    return x0, guess, x, o.requires_grad_(), *random_times(g), random_table(g)


bound_term = Check(
    "bound_term",
    reference=_bound_term,
    draw_inputs=_draw_term,
    mistakes={
        "You use the network's output as v itself; it runs from −1 to 1: v = (o+1)/2.": mistaken(
            _term, v=lambda *args: args[3]
        ),
        "You squash the output with a sigmoid; Improved DDPM reads it as v = (o+1)/2.": mistaken(
            _term, v=lambda *args: torch.sigmoid(args[3])
        ),
        "You mix the variances; mix their logarithms: log σ² = v log β + (1−v) log β̃.": mistaken(
            _term, mix="variances"
        ),
        "v and 1−v have changed places: v = 1 is the large variance β.": mistaken(
            _term, mix="swapped"
        ),
        "You mix the logarithms to σ, not σ²: drop the ½, the formula takes variances.": mistaken(
            _term, mix="roots"
        ),
        "The term is turned round: KL(posterior ‖ model), the average is over the posterior.": (
            mistaken(_term, turned=True)
        ),
        "The ½ in front of the bracket is missing.": mistaken(_term, half=1.0),
        "You add up the pixels; bits per dimension are their mean.": mistaken(
            _term, unit=lambda *args: args[0][0].numel()
        ),
        "Those are nats; divide by log 2 for bits.": mistaken(_term, unit=math.log(2)),
        "You average over the batch as well; each picture has a term of its own: shape (B,).": (
            lambda *args: _term(*args).mean()
        ),
        "The weight of x0 is forgotten: the means differ by c₁ (x0 − guess), not by x0 − guess.": (
            mistaken(_term, gap=lambda x0, guess, *rest: x0 - guess)
        ),
        "You divide the gap of the means by β̃; below it stands the model's variance σ².": (
            mistaken(_term, below=_small)
        ),
        "The term holds only the means; what a wrong variance costs is missing.": _only_means,
    },
    against=likelihood.term,
)
