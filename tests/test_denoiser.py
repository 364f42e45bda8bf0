"""Denoisers: three readings of a network that say the same, the loss, and wrappers on x0."""

import pytest
import torch
from torch import nn

from labkit import schedule
from labkit.conditioning import Conditioning
from labkit.denoiser import (
    Denoiser,
    MapX0,
    clip,
    dynamic_threshold,
    from_eps,
    from_v,
    from_x0,
    keep_known,
)

LINEAR = schedule.linear()


class Oracle(nn.Module):
    """A network that is never wrong about one known x0, whatever the denoiser predicts."""

    def __init__(self, x0, predicts):
        super().__init__()
        self.x0, self.predicts = x0, predicts

    def forward(self, x, t, cond):
        pred = from_x0(LINEAR, x, t, self.x0.expand_as(x))
        v = LINEAR.signal(t, x) * pred.eps - LINEAR.noise(t, x) * pred.x0
        return {"eps": pred.eps, "x0": pred.x0, "v": v}[self.predicts]


class Constant(nn.Module):
    def __init__(self, value, channels=1):
        super().__init__()
        self.value, self.channels = value, channels

    def forward(self, x, t, cond):
        return x.new_full((len(x), self.channels, *x.shape[2:]), self.value)


def test_reading_a_prediction_any_way_round_gives_the_same():
    x = torch.randn(4, 1, 3, 3, dtype=torch.float64)
    t = torch.tensor([1, 50, 500, 1000])
    pred = from_eps(LINEAR, x, t, torch.randn_like(x))
    v = LINEAR.signal(t, x) * pred.eps - LINEAR.noise(t, x) * pred.x0
    for again in (from_x0(LINEAR, x, t, pred.x0), from_v(LINEAR, x, t, v)):
        torch.testing.assert_close(again.x0, pred.x0, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(again.eps, pred.eps, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("predicts", ["eps", "x0", "v"])
def test_a_perfect_network_has_no_loss_and_finds_x0(predicts):
    x0 = torch.rand(1, 1, 3, 3, dtype=torch.float64) * 2 - 1
    denoise = Denoiser(Oracle(x0, predicts), LINEAR, predicts)
    batch = x0.expand(8, 1, 3, 3)
    assert denoise.loss(batch) < 1e-20
    x = LINEAR.diffuse(batch, 700, torch.randn_like(batch))
    torch.testing.assert_close(denoise(x, 700).x0, batch, rtol=1e-9, atol=1e-9)


def test_a_network_that_says_nothing_has_the_loss_of_its_target():
    generator = torch.Generator().manual_seed(0)
    x0 = torch.full((4000, 1, 4, 4), 0.5)
    assert Denoiser(Constant(0.0), LINEAR, "eps").loss(
        x0, generator=generator
    ).item() == pytest.approx(1, abs=0.02)
    assert Denoiser(Constant(0.0), LINEAR, "x0").loss(x0).item() == pytest.approx(0.25, abs=1e-6)
    at_uniform_time = (LINEAR.alpha_bar[1:] + 0.25 * (1 - LINEAR.alpha_bar[1:])).mean().item()
    loss = Denoiser(Constant(0.0), LINEAR, "v").loss(x0, generator=generator)
    assert loss.item() == pytest.approx(at_uniform_time, abs=0.03)


def test_the_network_hears_the_schedule_s_own_times_from_1_to_T():
    class Listener(Constant):
        def forward(self, x, t, cond):
            heard.append(t)
            return super().forward(x, t, cond)

    heard: list = []
    denoise = Denoiser(Listener(0.0), schedule.linear(30))
    denoise.loss(torch.zeros(5000, 1, 1, 1))
    assert heard[0].min() == 1
    assert heard[0].max() == 30
    denoise(torch.zeros(2, 1, 1, 1), 17)
    assert heard[1].tolist() == [17, 17]


def test_learned_variance_is_the_second_half_of_the_channels_unsquashed():
    denoise = Denoiser(Constant(0.5, channels=2), LINEAR, learned_variance=True)
    pred = denoise(torch.zeros(3, 1, 2, 2), 10)
    assert pred.eps.shape == pred.var_frac.shape == (3, 1, 2, 2)
    assert (pred.var_frac == 0.75).all()


def test_a_changed_x0_takes_eps_along():
    denoise = MapX0(Denoiser(Constant(0.0), LINEAR), clip)
    x = 3 * torch.randn(4, 1, 5, 5, dtype=torch.float64)
    pred = denoise(x, 200)
    assert pred.x0.abs().max() <= 1
    torch.testing.assert_close(LINEAR.diffuse(pred.x0, 200, pred.eps), x)


def test_dynamic_threshold_has_the_worked_example():
    x0 = torch.tensor([[-3, -1.5, -0.5, 0, 0.2, 0.6, 1.2, 2]], dtype=torch.float64)
    expected = torch.tensor([[-1, -0.652, -0.217, 0, 0.087, 0.261, 0.522, 0.870]])
    torch.testing.assert_close(dynamic_threshold(0.9)(x0), expected.double(), atol=5e-4, rtol=0)


def test_dynamic_threshold_treats_each_picture_alone_and_leaves_tame_ones_be():
    tame, wild = torch.rand(1, 3, 4, 4), 5 * torch.randn(1, 3, 4, 4)
    both = dynamic_threshold(0.99)(torch.cat([tame, wild]))
    assert torch.equal(both[:1], tame)
    assert torch.equal(both[1:], dynamic_threshold(0.99)(wild))


def test_known_pixels_stay():
    image, x0 = torch.randn(2, 2, 3, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    kept = keep_known(image, mask)(x0)
    assert torch.equal(kept[..., :2], image[..., :2])
    assert torch.equal(kept[..., 2:], x0[..., 2:])


def test_dropping_is_per_row_and_at_the_stated_rates():
    generator, n = torch.Generator().manual_seed(0), 20_000
    cond = Conditioning(
        vector=torch.ones(n, 2), tokens=torch.ones(n, 3, 2), mask=torch.ones(n, 3) > 0
    )
    null = cond.map(lambda field: torch.zeros_like(field[:1]))
    dropped = cond.drop(null, vector=0.1, tokens=0.5, generator=generator)
    no_vector, no_tokens = dropped.vector[:, 0] == 0, dropped.tokens[:, 0, 0] == 0
    assert no_vector.float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert no_tokens.float().mean().item() == pytest.approx(0.5, abs=0.015)
    assert (no_vector & no_tokens).float().mean().item() == pytest.approx(0.05, abs=0.01)
    assert torch.equal(no_tokens, ~dropped.mask[:, 0])
    together = cond.drop(null, together=0.2, generator=generator)
    assert torch.equal(together.vector[:, 0], together.tokens[:, 0, 0])
    assert (together.vector[:, 0] == 0).float().mean().item() == pytest.approx(0.2, abs=0.015)


def test_dropping_never_and_always():
    cond = Conditioning(vector=torch.randn(50, 4))
    null = Conditioning(vector=torch.zeros(1, 4))
    assert torch.equal(cond.drop(null).vector, cond.vector)
    assert not cond.drop(null, vector=1.0).vector.any()


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("learned", [False, True])
def test_a_loss_is_of_an_answer_of_the_right_shape_or_refused(channels, learned):
    class Says(torch.nn.Module):
        def forward(self, x, t, cond):
            return torch.zeros(len(x), channels, *x.shape[2:])

    denoiser = Denoiser(Says(), schedule.cosine(20), learned_variance=learned)
    with pytest.raises(ValueError, match="the network.* and x have shapes"):
        denoiser.loss(torch.zeros(4, 3, 2, 2))


def test_what_keeps_the_known_may_not_change_the_number_of_pictures():
    four = keep_known(torch.zeros(4, 1, 2, 2), torch.ones(4, 1, 2, 2))
    with pytest.raises(ValueError, match="MapX0's function"):
        MapX0(Denoiser(Constant(0.0), LINEAR), four)(torch.zeros(1, 1, 2, 2), 3)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float64, torch.float32])
def test_the_known_may_be_marked_in_any_dtype(dtype):
    x0, image = torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2).double()
    kept = keep_known(image, torch.tensor([[1, 0], [0, 1]]).to(dtype))(x0)
    assert kept.dtype == x0.dtype and kept[0, 0].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_time_is_not_rounded_to_the_pictures_dtype(dtype):
    times = LINEAR.for_network(999, torch.zeros(2, 1, dtype=dtype))
    assert times.dtype == torch.long and times.tolist() == [999, 999]
