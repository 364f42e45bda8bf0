"""The checks of lesson 03: posterior, loss, one step back, respacing, averages, the bound."""

import math

import torch
from torch import Tensor

from labkit.lab.checks.framework import Check
from labkit.schedule import NoiseSchedule, from_betas

STEPS = 50  # of the tables that the checks draw; each β large enough to tell mistakes apart


def _random_table(g: torch.Generator) -> Tensor:
    return from_betas(0.02 + 0.1 * torch.rand(STEPS, generator=g, dtype=torch.float64)).alpha_bar


def _whole(low: int, high: int, g: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=g))


def _is_odd(g: torch.Generator) -> bool:
    """Turns with every draw, so that both kinds of case come in each round of a check."""
    return g.initial_seed() % 2 == 1


# 1. The mean of the posterior.


def _posterior_mean(x0: Tensor, x: Tensor, t: int, s: int, alpha_bar: Tensor) -> Tensor:
    return NoiseSchedule(alpha_bar).posterior(x0, x, t, s)[0]


def _mean(x0, x, at_t, at_s, alpha=None, below=None, root_s=0.5, root_alpha=0.5) -> Tensor:
    """The posterior's mean, with every piece of the formula open to a mistake."""
    alpha = at_t / at_s if alpha is None else alpha
    below = 1 - at_t if below is None else below
    from_x0 = at_s**root_s * (1 - alpha) / below
    from_x = alpha**root_alpha * (1 - at_s) / below
    return (from_x0 * x0 + from_x * x).to(x.dtype)


posterior_mean = Check(
    "posterior_mean",
    reference=_posterior_mean,
    draw_inputs=lambda g: (
        torch.randn(4, 3, generator=g),
        torch.randn(4, 3, generator=g),
        _whole(20, STEPS, g),
        _whole(3, 17, g),
        _random_table(g),
    ),
    mistakes={
        "The weights of x0 and x have changed places: near the end of the walk nearly all the "
        "weight must go to x0.": (
            lambda x0, x, t, s, alpha_bar: _mean(x, x0, alpha_bar[t], alpha_bar[s])
        ),
        "The weight of x0 holds ᾱ_s; the root is missing: √ᾱ_s (1−α)/(1−ᾱ_t).": (
            lambda x0, x, t, s, alpha_bar: _mean(x0, x, alpha_bar[t], alpha_bar[s], root_s=1)
        ),
        "The weight of x holds α; the root is missing: √α (1−ᾱ_s)/(1−ᾱ_t).": (
            lambda x0, x, t, s, alpha_bar: _mean(x0, x, alpha_bar[t], alpha_bar[s], root_alpha=1)
        ),
        "You take ᾱ_t for α; the step from s to t keeps only α = ᾱ_t/ᾱ_s.": (
            lambda x0, x, t, s, alpha_bar: _mean(
                x0, x, alpha_bar[t], alpha_bar[s], alpha=alpha_bar[t]
            )
        ),
        "You take α from the single step t−1 → t; here the step may be long: α = ᾱ_t/ᾱ_s.": (
            lambda x0, x, t, s, alpha_bar: _mean(
                x0, x, alpha_bar[t], alpha_bar[s], alpha=alpha_bar[t] / alpha_bar[t - 1]
            )
        ),
        "You divide by 1−ᾱ_s; both weights have the noise of x_t below them: 1−ᾱ_t.": (
            lambda x0, x, t, s, alpha_bar: _mean(
                x0, x, alpha_bar[t], alpha_bar[s], below=1 - alpha_bar[s]
            )
        ),
        "The weight of x0 holds √ᾱ_t; it is the picture's share where you arrive, √ᾱ_s.": (
            lambda x0, x, t, s, alpha_bar: (
                _mean(x0, x, alpha_bar[t], alpha_bar[s], root_s=0)
                + (
                    (alpha_bar[t].sqrt() - 1)
                    * (1 - alpha_bar[t] / alpha_bar[s])
                    / (1 - alpha_bar[t])
                    * x0
                ).to(x.dtype)
            )
        ),
        "Your times are off by one: alpha_bar[0] is ᾱ_0 = 1, so ᾱ_t is alpha_bar[t].": (
            lambda x0, x, t, s, alpha_bar: _mean(x0, x, alpha_bar[t - 1], alpha_bar[s - 1])
        ),
        "That is E[x_s | x_0], which does not look at x_t at all.": (
            lambda x0, x, t, s, alpha_bar: (alpha_bar[s].sqrt() * x0).to(x.dtype)
        ),
    },
    against="labkit's NoiseSchedule.posterior",
)


# 2. The loss.


class ToyNet:
    """What a check gives in place of a network: it depends on every x and on every t."""

    def __init__(self, g: torch.Generator):
        self.a, self.b = torch.randn(2, generator=g).tolist()

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(self.a * x + self.b) + 0.03 * t.view(-1, 1, 1, 1).to(x.dtype)


def _noised(x0, t, alpha_bar, eps, root=0.5) -> Tensor:
    left = alpha_bar[t].view(-1, 1, 1, 1)
    return (left**root).to(x0.dtype) * x0 + ((1 - left) ** root).to(x0.dtype) * eps


def _simple_loss(net, x0: Tensor, t: Tensor, alpha_bar: Tensor, eps: Tensor) -> Tensor:
    x = NoiseSchedule(alpha_bar).diffuse(x0, t, eps)
    return (net(x, t) - eps).square().mean()


def _columns(x0: Tensor, t: Tensor, alpha_bar: Tensor, eps: Tensor) -> Tensor:
    left = alpha_bar[t].to(x0.dtype)
    return left.sqrt() * x0 + (1 - left).sqrt() * eps


simple_loss = Check(
    "simple_loss",
    reference=_simple_loss,
    draw_inputs=lambda g: (
        ToyNet(g),
        torch.rand(4, 3, 4, 4, generator=g) * 2 - 1,
        torch.randint(2, STEPS + 1, (4,), generator=g),
        _random_table(g),
        torch.randn(4, 3, 4, 4, generator=g),
    ),
    mistakes={
        "You add the squares up; their mean is asked for, so that the learning rate does not "
        "depend on the size of the picture: .mean(), not .sum().": (
            lambda net, x0, t, alpha_bar, eps: (
                (net(_noised(x0, t, alpha_bar, eps), t) - eps).square().sum()
            )
        ),
        "You compare with x0; this network guesses the noise: compare with eps.": (
            lambda net, x0, t, alpha_bar, eps: (
                (net(_noised(x0, t, alpha_bar, eps), t) - x0).square().mean()
            )
        ),
        "The network is shown the clean x0, and has nothing to find out; show it x_t.": (
            lambda net, x0, t, alpha_bar, eps: (net(x0, t) - eps).square().mean()
        ),
        "The noise that you compare with is not the noise that you mixed in; draw it once.": (
            lambda net, x0, t, alpha_bar, eps: (
                (net(_noised(x0, t, alpha_bar, eps), t) - torch.randn_like(eps)).square().mean()
            )
        ),
        "x_t is mixed with ᾱ_t and 1−ᾱ_t, which are variances; take their roots.": (
            lambda net, x0, t, alpha_bar, eps: (
                (net(_noised(x0, t, alpha_bar, eps, root=1), t) - eps).square().mean()
            )
        ),
        "You take the distance |·|; L_simple is the mean of the squares.": (
            lambda net, x0, t, alpha_bar, eps: (
                (net(_noised(x0, t, alpha_bar, eps), t) - eps).abs().mean()
            )
        ),
        "You take the root of the mean square; leave it out, the bound holds squares.": (
            lambda net, x0, t, alpha_bar, eps: (
                (net(_noised(x0, t, alpha_bar, eps), t) - eps).square().mean().sqrt()
            )
        ),
        "The network is told t−1; in labkit its times are those of the table, 1 … T.": (
            lambda net, x0, t, alpha_bar, eps: (
                (net(_noised(x0, t, alpha_bar, eps), t - 1) - eps).square().mean()
            )
        ),
        "You mix with ᾱ_{t−1}: alpha_bar[0] is ᾱ_0 = 1, so ᾱ_t is alpha_bar[t].": (
            lambda net, x0, t, alpha_bar, eps: (
                (net(_noised(x0, t - 1, alpha_bar, eps), t) - eps).square().mean()
            )
        ),
        "Torch matches shapes from the right, so your ᾱ_t multiplies the columns of the pictures, "
        "not the rows of the batch: give it the shape (B, 1, 1, 1).": (
            lambda net, x0, t, alpha_bar, eps: (
                (net(_columns(x0, t, alpha_bar, eps), t) - eps).square().mean()
            )
        ),
    },
    against="DDPM's equation 14",
)


# 3. One ancestral step.


def _step(x, eps, t, s, alpha_bar, z, clip=True, guess=None, small=False, std=math.sqrt, last=0.0):
    """The step x_t → x_s, with every choice open to a mistake."""
    at_t, at_s = alpha_bar[t].item(), alpha_bar[s].item()
    x0 = (x - math.sqrt(1 - at_t) * eps) / math.sqrt(at_t) if guess is None else guess
    x0 = x0.clamp(-1, 1) if clip else x0
    mean, tilde = NoiseSchedule(alpha_bar).posterior(x0, x, t, s)
    variance = tilde.item() if small else 1 - at_t / at_s
    return mean + std(variance) * (last if s == 0 else 1.0) * z


def _ancestral_step(x: Tensor, eps: Tensor, t: int, s: int, alpha_bar: Tensor, z: Tensor) -> Tensor:
    return _step(x, eps, t, s, alpha_bar, z)


def _guess_by_variances(x, eps, t, alpha_bar):
    at_t = alpha_bar[t].item()
    return (x - (1 - at_t) * eps) / at_t


ancestral_step = Check(
    "ancestral_step",
    reference=_ancestral_step,
    draw_inputs=lambda g: (
        1.5 * torch.randn(4, 1, 4, 4, generator=g),
        torch.randn(4, 1, 4, 4, generator=g),
        _whole(12, STEPS, g),
        0 if _is_odd(g) else _whole(2, 10, g),
        _random_table(g),
        torch.randn(4, 1, 4, 4, generator=g),
    ),
    mistakes={
        "You add noise in the last step too, and the finished picture stays grainy: where s = 0, "
        "return the mean.": (
            lambda x, eps, t, s, alpha_bar, z: _step(x, eps, t, s, alpha_bar, z, last=1.0)
        ),
        "The guess of x0 that reaches the mean is not clipped to [−1, 1]. (The mean written with "
        "eps never sees a clipped x0: put the clipped one into the posterior's mean.)": (
            lambda x, eps, t, s, alpha_bar, z: _step(x, eps, t, s, alpha_bar, z, clip=False)
        ),
        "The noise has the standard deviation β: that is the variance; multiply z by √β.": (
            lambda x, eps, t, s, alpha_bar, z: _step(x, eps, t, s, alpha_bar, z, std=float)
        ),
        "Your noise has the posterior's variance β̃; this exercise asks for the large one, "
        "β = 1 − ᾱ_t/ᾱ_s.": (
            lambda x, eps, t, s, alpha_bar, z: _step(x, eps, t, s, alpha_bar, z, small=True)
        ),
        "You take the noise out of x and stop there: x_s is not x0 with noise β, its mean lies "
        "between x0 and x.": (
            lambda x, eps, t, s, alpha_bar, z: (
                ((x - (1 - alpha_bar[t]).sqrt() * eps) / alpha_bar[t].sqrt()).clamp(-1, 1)
                + (0 if s == 0 else 1) * (1 - alpha_bar[t] / alpha_bar[s]).sqrt() * z
            ).to(x.dtype)
        ),
        "The guess of x0 is made with ᾱ_t and 1−ᾱ_t; take their roots: (x − √(1−ᾱ_t) eps)/√ᾱ_t.": (
            lambda x, eps, t, s, alpha_bar, z: _step(
                x, eps, t, s, alpha_bar, z, guess=_guess_by_variances(x, eps, t, alpha_bar)
            )
        ),
        "No noise is added at all: this finds the mean of x_s, not a draw of it.": (
            lambda x, eps, t, s, alpha_bar, z: _step(x, eps, t, s, alpha_bar, 0 * z)
        ),
        "You add eps, the noise that the network saw, once more; the step draws noise of its "
        "own: z.": (lambda x, eps, t, s, alpha_bar, z: _step(x, eps, t, s, alpha_bar, eps)),
    },
    against="labkit.sampler.ddpm with v = 1 and a clipped x0",
)


# 4. Respacing.


def _respaced_betas(alpha_bar: Tensor, times: list[int]) -> Tensor:
    kept = alpha_bar[times]
    return 1 - kept[1:] / kept[:-1]


def _single(alpha_bar: Tensor) -> Tensor:
    return 1 - alpha_bar[1:] / alpha_bar[:-1]  # (T,), β_1 first


def _draw_times(g: torch.Generator) -> list[int]:
    inside = torch.randperm(STEPS - 1, generator=g)[: _whole(4, 9, g)] + 1
    return [0, *sorted(inside.tolist()), STEPS]


def _summed(alpha_bar: Tensor, times: list[int]) -> Tensor:
    pairs = zip(times, times[1:])
    return torch.stack([_single(alpha_bar)[s:t].sum() for s, t in pairs])


respaced_betas = Check(
    "respaced_betas",
    reference=_respaced_betas,
    draw_inputs=lambda g: (_random_table(g), _draw_times(g)),
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
        "Your times are off by one: alpha_bar[0] is ᾱ_0 = 1, so ᾱ_t is alpha_bar[t].": (
            lambda alpha_bar, times: _respaced_betas(alpha_bar, [max(t - 1, 0) for t in times])
        ),
    },
    against="1 − ᾱ_t/ᾱ_s, the noise of the whole jump",
)


# 5. The average of the weights.


def _ema_update(average: Tensor, weights: Tensor, step: int, decay: float) -> Tensor:
    warm = min(decay, (1 + step) / (10 + step))
    return warm * average + (1 - warm) * weights


ema_update = Check(
    "ema_update",
    reference=_ema_update,
    draw_inputs=lambda g: (
        torch.randn(5, 3, generator=g),
        torch.randn(5, 3, generator=g),
        # before and after the warm-up: with these decays it ends between step 26 and step 440
        _whole(2_000, 9_000, g) if _is_odd(g) else _whole(1, 20, g),
        0.75 + 0.23 * torch.rand((), generator=g).item(),
    ),
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
        "Your steps are off by one: the warm-up is (1+step)/(10+step).": (
            lambda average, weights, step, decay: _ema_update(average, weights, step - 1, decay)
        ),
    },
    against="the average with the warm-up (1+step)/(10+step)",
)


# 6. One term of the bound, with a learned variance.


def _term(
    x0, guess, x, o, t, s, alpha_bar, v=None, mix=torch.lerp, turned=False, half=0.5, unit=None
) -> Tensor:
    """KL(posterior ‖ model) per row, with every piece open to a mistake."""
    schedule = NoiseSchedule(alpha_bar)
    true_mean, small = schedule.posterior(x0, x, t, s)
    mean, _ = schedule.posterior(guess, x, t, s)
    large = 1 - alpha_bar[t] / alpha_bar[s]
    v = (o + 1) / 2 if v is None else v
    log_model = mix(small.log(), large.log(), v.double())  # (B, C, H, W)
    log_true = small.log().expand_as(log_model)
    first, second = (log_model, log_true) if turned else (log_true, log_model)
    square = (true_mean - mean).double().square()
    kl = half * (second - first + (first - second).exp() - 1 + square / second.exp())
    kl = kl.flatten(1)
    return (kl.mean(1) / math.log(2) if unit is None else unit(kl)).to(x.dtype)


def _linear_mix(log_small: Tensor, log_large: Tensor, v: Tensor) -> Tensor:
    return (v * log_large.exp() + (1 - v) * log_small.exp()).clamp(min=1e-9).log()


def _swapped_mix(log_small: Tensor, log_large: Tensor, v: Tensor) -> Tensor:
    return torch.lerp(log_large, log_small, v)


def _std_mix(log_small: Tensor, log_large: Tensor, v: Tensor) -> Tensor:
    return torch.lerp(log_small, log_large, v) / 2


def _bound_term(
    x0: Tensor, guess: Tensor, x: Tensor, o: Tensor, t: int, s: int, alpha_bar: Tensor
) -> Tensor:
    return _term(x0, guess, x, o, t, s, alpha_bar)


def _mistaken(**changes):
    return lambda x0, guess, x, o, t, s, alpha_bar: _term(
        x0, guess, x, o, t, s, alpha_bar, **changes
    )


bound_term = Check(
    "bound_term",
    reference=_bound_term,
    draw_inputs=lambda g: (
        torch.rand(3, 1, 4, 4, generator=g) * 2 - 1,
        torch.rand(3, 1, 4, 4, generator=g) * 2 - 1,
        torch.randn(3, 1, 4, 4, generator=g),
        torch.rand(3, 1, 4, 4, generator=g) * 2 - 1,
        _whole(12, STEPS, g),
        _whole(2, 10, g),
        _random_table(g),
    ),
    mistakes={
        "You use the network's output as v itself; it runs from −1 to 1: v = (o+1)/2.": (
            lambda x0, guess, x, o, t, s, alpha_bar: _term(x0, guess, x, o, t, s, alpha_bar, v=o)
        ),
        "You squash the output with a sigmoid; Improved DDPM reads it as v = (o+1)/2.": (
            lambda x0, guess, x, o, t, s, alpha_bar: _term(
                x0, guess, x, o, t, s, alpha_bar, v=torch.sigmoid(o)
            )
        ),
        "You mix the variances; mix their logarithms: log σ² = v log β + (1−v) log β̃.": _mistaken(
            mix=_linear_mix
        ),
        "v and 1−v have changed places: v = 1 is the large variance β.": _mistaken(
            mix=_swapped_mix
        ),
        "You mix the logarithms to σ, not σ²: drop the ½, the formula takes variances.": _mistaken(
            mix=_std_mix
        ),
        "The term is turned round: KL(posterior ‖ model), the average is over the posterior.": (
            _mistaken(turned=True)
        ),
        "The ½ in front of the bracket is missing.": _mistaken(half=1.0),
        "You add up the pixels; bits per dimension are their mean.": _mistaken(
            unit=lambda kl: kl.sum(1) / math.log(2)
        ),
        "Those are nats; divide by log 2 for bits.": _mistaken(unit=lambda kl: kl.mean(1)),
        "You average over the batch as well; each picture has a term of its own: shape (B,).": (
            lambda x0, guess, x, o, t, s, alpha_bar: _term(x0, guess, x, o, t, s, alpha_bar).mean()
        ),
        "The term holds only the means; what a wrong variance costs is missing.": (
            lambda x0, guess, x, o, t, s, alpha_bar: _only_means(x0, guess, x, o, t, s, alpha_bar)
        ),
    },
    against="the closed form of the KL divergence of two Gaussians",
)


def _only_means(x0, guess, x, o, t, s, alpha_bar) -> Tensor:
    same = _term(x0, x0, x, o, t, s, alpha_bar)
    return _term(x0, guess, x, o, t, s, alpha_bar) - same
