"""The variational bound against closed forms, and against a law whose entropy is known."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from labkit import likelihood
from labkit.denoiser import Denoiser, MapX0, Prediction, clip
from labkit.metrics import quantize
from labkit.mixture import GaussianMixture
from labkit.schedule import NoiseSchedule, cosine, from_betas, linear

STD, D = 0.3, 8


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def levels():
    return (torch.arange(256, dtype=torch.float64) / 127.5 - 1)[None]  # (1, 256)


def gaussian(schedule):
    """The exact denoiser of N(0.1, STD² I), and what each of its 8-bit values really costs."""
    mixture = GaussianMixture(torch.full((1, D), 0.1), STD)
    return mixture.denoiser(schedule)


def gaussian_data(n):
    x0 = quantize(0.1 + STD * torch.randn(n, D, generator=seeded(), dtype=torch.float64))
    mean, log_var = torch.tensor(0.1), torch.tensor(2 * math.log(STD))
    truth = likelihood.bits(-likelihood.decoder_log_prob(x0, mean, log_var)).mean()
    return x0, float(truth)


# The parts


@pytest.mark.parametrize("mean, std", [(0.0, 0.01), (0.33, 0.2), (-0.97, 0.5), (3.0, 0.4)])
def test_the_decoder_is_a_distribution_over_the_256_levels(mean, std):
    mean, log_var = torch.tensor(mean), torch.tensor(2 * math.log(std))
    probs = likelihood.decoder_log_prob(levels(), mean, log_var).exp()
    assert probs.sum().item() == pytest.approx(1, abs=1e-12)
    assert probs.min() >= 0


def test_the_decoder_is_the_mass_of_the_bin_even_far_out_in_the_tail():
    stats = pytest.importorskip("scipy.stats")
    std = 0.05
    log_var = 2 * math.log(std)
    for level in (-100, -1, 40, 90, 120):
        x0 = torch.tensor([[level / 127.5 + 1 / 127.5]], dtype=torch.float64)
        low, high = x0.item() - 1 / 255, x0.item() + 1 / 255
        law = stats.norm(0, std)
        low, high = (low, high) if level < 0 else (-high, -low)
        expected = law.logcdf(high) + math.log1p(-math.exp(law.logcdf(low) - law.logcdf(high)))
        got = likelihood.decoder_log_prob(
            x0, torch.zeros(1), torch.tensor(log_var, dtype=torch.float64)
        )
        assert got.item() == pytest.approx(expected, rel=1e-9)


def test_the_divergence_of_gaussians_is_that_of_torch():
    draw = torch.randn(4, 100, generator=seeded(), dtype=torch.float64)
    normal = torch.distributions.Normal
    first, second = normal(draw[0], (draw[1] / 2).exp()), normal(draw[2], (draw[3] / 2).exp())
    expected = torch.distributions.kl_divergence(first, second)
    assert torch.allclose(likelihood.kl(*draw), expected)


def test_half_the_true_variance_costs_what_the_paper_sheet_says():
    zero = torch.zeros((), dtype=torch.float64)
    half = torch.tensor(0.5, dtype=torch.float64).log()
    assert likelihood.kl(zero, half, zero, zero).item() == pytest.approx(0.096574, abs=1e-6)


def test_what_is_left_at_the_end_of_the_linear_schedule_is_almost_nothing():
    x0 = torch.full((2, 1, 4, 4), math.sqrt(0.3))
    assert likelihood.prior_term(linear(1000), x0).tolist() == pytest.approx([8.7e-6] * 2, rel=0.01)


def test_the_weights_of_the_bound_are_those_of_the_reference_sheet():
    weights = likelihood.eps_weights(linear(1000))
    expected = [0.599672, 0.317995, 0.086437, 0.010267, 0.005508, 0.010205]
    assert weights[[2, 3, 10, 100, 500, 1000]].tolist() == pytest.approx(expected, abs=1e-6)
    assert weights[0] == 0


def test_with_the_posterior_variance_the_weights_are_differences_of_snr():
    schedule = cosine(100)
    snr = schedule.log_snr.exp()
    expected = 0.5 * (snr[1:-1] - snr[2:]) / snr[2:]
    assert torch.allclose(likelihood.eps_weights(schedule)[2:], expected)


@pytest.mark.parametrize("v", [0.0, 1.0])
@pytest.mark.parametrize("t", [2, 37, 100])
def test_an_error_in_eps_costs_its_weight_beside_the_wrong_variance(t, v):
    schedule = linear(100)
    x0, eps, error = torch.randn(3, 5, 2, 3, 3, generator=seeded(), dtype=torch.float64)
    x = schedule.diffuse(x0, t, eps)

    def cost(eps):
        pred = Prediction((x - schedule.noise(t, x) * eps) / schedule.signal(t, x), eps)
        return likelihood.term(schedule, pred, x0, x, t, v)

    added = (cost(eps + error) - cost(eps)) * math.log(2)
    expected = likelihood.eps_weights(schedule, v)[t] * error.square().flatten(1).mean(1)
    assert torch.allclose(added, expected)


def test_each_row_may_have_its_own_time():
    schedule = linear(50)
    x0, eps, wrong = quantize(torch.rand(3, 4, 1, 5, 5, generator=seeded()) * 2 - 1)
    t = torch.tensor([1, 2, 30, 50])
    x = schedule.diffuse(x0, t, eps)
    frac = torch.rand(x.shape, generator=seeded())
    together = likelihood.term(schedule, Prediction(wrong, eps, frac), x0, x, t)
    for row, time in enumerate(t.tolist()):
        one = slice(row, row + 1)
        pred = Prediction(wrong[one], eps[one], frac[one])
        alone = likelihood.term(schedule, pred, x0[one], x[one], time)
        assert together[one].item() == pytest.approx(alone.item(), rel=1e-5)


# The whole bound


def test_with_the_exact_denoiser_the_bound_lies_above_the_truth_and_comes_closer_with_more_steps():
    x0, truth = gaussian_data(6000)  # 48,000 values: the bound is known to about 0.005
    gaps = []
    for T in (5, 20, 80):
        bound = likelihood.bits_per_dim(gaussian(cosine(T)), x0, v=1.0, generator=seeded(1))
        gaps.append(bound.total - truth)
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0
    assert gaps[2] < 0.06
    assert 5 < truth < 8


@dataclass
class BestVariance:
    """The exact denoiser, with the variance that p(x_{t−1} | x_t) really has, as a fraction."""

    denoise: object

    @property
    def schedule(self):
        return self.denoise.schedule

    def __call__(self, x, t, cond=None):
        pred = self.denoise(x, t, cond)
        at_t, at_s = self.schedule.alpha_bar[t], self.schedule.alpha_bar[t - 1]
        marginal = at_s * STD**2 + 1 - at_s
        step = 1 - at_t / at_s
        truth = 1 / (1 / marginal + (1 - step) / step)  # Bayes for two Gaussians
        small = likelihood.log_variance(self.schedule, x, t, pred, 0.0)
        large = likelihood.log_variance(self.schedule, x, t, pred, 1.0)
        frac = (truth.log() - small) / (large - small) if t > 1 else torch.tensor(1.0)
        return pred._replace(var_frac=frac.expand(x.shape))


def test_the_right_variance_saves_bits_over_both_fixed_ones_and_reaches_the_truth_in_twenty_steps():
    x0, truth = gaussian_data(6000)
    for T, above in ((10, 0.025), (20, 0.002)):
        exact = gaussian(cosine(T))
        small, large, best = (
            likelihood.bits_per_dim(denoise, x0, v=v, generator=seeded(1)).total
            for denoise, v in ((exact, 0.0), (exact, 1.0), (BestVariance(exact), 0.0))
        )
        assert best < min(small, large) - 0.1
        assert best - truth == pytest.approx(above, abs=0.01)


def test_the_bound_is_the_sum_of_its_terms():
    x0, _ = gaussian_data(20)
    denoise = gaussian(linear(40))
    bound = likelihood.bits_per_dim(denoise, x0, generator=seeded(3))
    walked = dict(likelihood.terms(denoise, x0, generator=seeded(3)))
    assert list(walked) == list(range(40, 0, -1))
    assert bound.steps[1:].tolist() == [walked[t].mean().item() for t in range(1, 41)]
    assert bound.total == pytest.approx(bound.prior + bound.steps.sum().item())
    assert bound.steps.shape == (41,)


def test_a_model_that_knows_nothing_needs_more_than_one_that_knows():
    x0, truth = gaussian_data(50)
    nothing = GaussianMixture(torch.zeros(1, D), 1.0).denoiser(linear(100))
    assert likelihood.bits_per_dim(nothing, x0, generator=seeded()).total > truth + 0.5


def test_a_schedule_of_one_step_has_a_bound_too():
    x0, truth = gaussian_data(200)
    one = NoiseSchedule(torch.tensor([1.0, 0.5], dtype=torch.float64))
    bound = likelihood.bits_per_dim(gaussian(one), x0, generator=seeded())
    assert math.isfinite(bound.total) and bound.total > truth
    assert likelihood.bits_per_dim(
        gaussian(from_betas([0.5])), x0, generator=seeded()
    ).total == pytest.approx(bound.total)


def test_clipping_x0_may_only_help_where_pictures_are_in_range():
    x0, _ = gaussian_data(50)
    wild = GaussianMixture(torch.full((1, D), 1.3), 0.1).denoiser(linear(60))
    clipped = likelihood.bits_per_dim(MapX0(wild, clip), x0, generator=seeded())
    assert clipped.total < likelihood.bits_per_dim(wild, x0, generator=seeded()).total


# The hybrid loss


class Net(nn.Module):
    """A network with a mean and a variance half that share nothing."""

    def __init__(self, start=0.2):
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self.variance = nn.Parameter(torch.tensor(start, dtype=torch.float64))

    def forward(self, x, t, cond=None):
        return torch.cat([self.mean * x, self.variance * x], dim=1)


def loss_and_gradients(weight, predicts="eps"):
    x0 = quantize(torch.rand(16, 1, 4, 4, generator=seeded(), dtype=torch.float64) * 2 - 1)
    denoiser = Denoiser(Net(), linear(100), predicts, learned_variance=True)
    loss = likelihood.hybrid_loss(denoiser, x0, generator=seeded(5), weight=weight)
    loss.backward()
    return loss.item(), denoiser.net.mean.grad, denoiser.net.variance.grad


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_the_bound_in_the_hybrid_loss_moves_the_variance_and_never_the_mean(predicts):
    simple, mean, variance = loss_and_gradients(0.0, predicts)
    hybrid, hybrid_mean, hybrid_variance = loss_and_gradients(0.01, predicts)
    assert variance == 0 and hybrid_variance != 0
    assert torch.equal(mean, hybrid_mean)
    assert hybrid != simple


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_without_the_bound_the_hybrid_loss_is_the_denoisers_own(predicts):
    x0 = torch.rand(16, 1, 4, 4, generator=seeded(), dtype=torch.float64) * 2 - 1
    denoiser = Denoiser(Net(), linear(100), predicts, learned_variance=True)
    own = denoiser.loss(x0, generator=seeded(5)).item()
    hybrid = likelihood.hybrid_loss(denoiser, x0, generator=seeded(5), weight=0.0).item()
    assert hybrid == pytest.approx(own, rel=1e-6)


@pytest.mark.parametrize("learned", [False, True])
def test_a_model_is_trained_by_the_hybrid_loss_where_its_variance_is_learned(learned):
    x0 = quantize(torch.rand(16, 1, 4, 4, generator=seeded(), dtype=torch.float64) * 2 - 1)
    net = Net() if learned else lambda x, t, cond: 0.2 * x
    denoiser = Denoiser(net, linear(100), learned_variance=learned)
    torch.manual_seed(0)
    loss = likelihood.training_loss(denoiser, x0, also=lambda guess, x0, alpha_bar: 7.0)
    if learned:
        other = likelihood.hybrid_loss(denoiser, x0, generator=seeded())
    else:
        other = denoiser.loss(x0, generator=seeded())
    assert loss.item() == pytest.approx(other.item() + 7, rel=1e-12)


def test_the_hybrid_loss_adds_t_over_a_thousand_times_the_mean_term():
    x0 = quantize(torch.rand(16, 1, 4, 4, generator=seeded(), dtype=torch.float64) * 2 - 1)
    schedule = linear(100)
    denoiser = Denoiser(Net(), schedule, learned_variance=True)
    generator = seeded(5)
    t = torch.randint(1, 101, (16,), generator=generator)
    eps = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    x = schedule.diffuse(x0, t, eps)
    added = 0.1 * likelihood.term(schedule, denoiser(x, t), x0, x, t).mean().item()
    difference = loss_and_gradients(0.001)[0] - loss_and_gradients(0.0)[0]
    assert difference == pytest.approx(added)


def test_the_hybrid_loss_teaches_the_variance_that_the_data_have():
    schedule = cosine(20)
    exact = gaussian(schedule)
    x0, _ = gaussian_data(4000)
    x0 = x0[:, None]  # (N, 1, D): one channel of D values

    class Learner(nn.Module):
        def __init__(self):
            super().__init__()
            self.variance = nn.Parameter(torch.zeros(21, dtype=torch.float64))

        def forward(self, x, t, cond=None):
            alpha_bar = schedule.at(t, x)
            marginal = alpha_bar * STD**2 + 1 - alpha_bar
            eps = (1 - alpha_bar).sqrt() * (x - 0.1 * alpha_bar.sqrt()) / marginal
            return torch.cat([eps, self.variance[t].view(-1, 1, 1).expand_as(x)], dim=1)

    net = Learner()
    denoiser = Denoiser(net, schedule, learned_variance=True)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    for step in range(60):
        batch = x0[torch.randint(0, len(x0), (64,), generator=seeded(step))]
        loss = likelihood.hybrid_loss(denoiser, batch, generator=seeded(step), weight=1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    wanted = torch.stack([BestVariance(exact)(x0[0], t).var_frac.mean() for t in range(3, 15)])
    assert ((net.variance[3:15] + 1) / 2 - wanted).abs().max() < 0.1


# Bad input


def test_pictures_between_the_levels_are_refused_in_one_sentence():
    with pytest.raises(ValueError, match="^[^\n]*quantize[^\n]*$"):
        likelihood.terms(gaussian(cosine(10)), torch.rand(4, D))
    with pytest.raises(ValueError, match="quantize"):
        likelihood.bits_per_dim(gaussian(cosine(10)), torch.full((4, D), float("nan")))
    with pytest.raises(ValueError, match="quantize"):
        likelihood.bits_per_dim(gaussian(cosine(10)), torch.full((4, D), 1 + 2 / 127.5))


@pytest.mark.parametrize("v", [-0.1, 1.5, "small", None])
def test_a_variance_outside_both_bounds_is_refused(v):
    x0, _ = gaussian_data(4)
    with pytest.raises(ValueError, match="v is"):
        likelihood.bits_per_dim(gaussian(cosine(10)), x0, v=v)


def test_the_hybrid_loss_needs_a_variance_to_learn():
    net = nn.Conv2d(1, 1, 1)
    denoiser = Denoiser(lambda x, t, cond: net(x), cosine(10))
    with pytest.raises(ValueError, match="learned_variance=True"):
        likelihood.hybrid_loss(denoiser, torch.zeros(2, 1, 4, 4))
