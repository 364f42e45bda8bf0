"""The averaged system: its statistics belong to its weights, and what is frozen is shared."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from labkit.ema import Average
from labkit.train import shuffled, train


class Fit(nn.Module):
    """y from x (B, 2), by any network."""

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.net = nn.Sequential(*layers)

    def loss(self, batch):
        x, y = batch
        return (self.net(x)[:, 0] - y).square().mean()


@pytest.fixture
def waves():
    x = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)) * 3 + 2
    return x, torch.sin(x[:, 0]) * x[:, 1] / 3


@torch.no_grad()
def with_fresh_statistics(system, batch, parts=10):
    """A copy whose BatchNorms took their statistics from the data, under the system's weights."""
    system = deepcopy(system)
    for norm in (layer for layer in system.modules() if isinstance(layer, nn.BatchNorm1d)):
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
    system.train()
    for part in range(parts):
        system.loss([tensor[part::parts] for tensor in batch])
    return system.eval()


def test_the_statistics_of_batch_norm_belong_to_the_averaged_weights(waves):
    torch.manual_seed(0)
    model = Fit(
        nn.Linear(2, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32),
        nn.ReLU(), nn.Linear(32, 1),
    )  # fmt: skip
    *_, last = train(model, shuffled(*waves, batch=64), 300, lr=0.03, decay="constant")
    right = with_fresh_statistics(last.ema, waves).loss(waves).item()
    assert last.ema.loss(waves).item() == pytest.approx(right, rel=0.03)
    wrong = deepcopy(last.ema)
    for own, other in zip(wrong.buffers(), model.buffers()):
        own.copy_(other)
    assert wrong.loss(waves).item() > 1.1 * right  # what copied statistics would have given
    assert last.ema.loss(waves) < model.eval().loss(waves)


def test_counts_and_masks_are_copied_since_they_have_no_average():
    model = Fit(nn.BatchNorm1d(2), nn.Linear(2, 1))
    model.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    average = Average(model, 0.5)
    model.net(torch.randn(8, 2))
    average.update(100)
    assert average.system.net[0].num_batches_tracked == 1
    assert torch.equal(average.system.mask, model.mask)


def test_a_frozen_part_is_shared_and_still_each_has_its_own_mode(waves):
    encoder = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8)).requires_grad_(False)
    model = Fit(encoder, nn.Linear(8, 1))
    *_, last = train(model, shuffled(*waves, batch=16), 3)
    for own, shared in zip(encoder.state_dict().values(), last.ema.net[0].state_dict().values()):
        assert own.data_ptr() == shared.data_ptr()
    assert last.ema.net[1].weight.data_ptr() != model.net[1].weight.data_ptr()
    assert model.training and encoder.training
    assert not any(module.training for module in last.ema.modules())


def test_tied_weights_stay_tied_in_the_average(waves):
    model = Fit(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    model.net[1].weight = model.net[0].weight
    *_, last = train(model, shuffled(*waves, batch=16), 3)
    assert last.ema.net[1].weight is last.ema.net[0].weight


class Running(Fit):
    """Assigns its statistics anew at each step, as much code does, and finds a scale at the first,
    as latent diffusion does."""

    def __init__(self):
        super().__init__(nn.Linear(2, 1))
        self.register_buffer("running", torch.zeros(2))
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("later", None)

    def loss(self, batch):
        self.running = 0.9 * self.running + 0.1 * batch[0].mean(0)
        if self.later is None:
            del self.scale
            self.register_buffer("scale", 1 / batch[0].std())
            self.later = torch.ones(3)
        return super().loss(batch)


def test_a_buffer_that_the_system_assigns_anew_is_averaged_like_one_that_it_changes(waves):
    model, expected = Running(), torch.zeros(2)
    for step in train(model, shuffled(*waves, batch=64), 60, ema=0.9):
        decay = min(0.9, step.step / (9 + step.step))
        expected = decay * expected + (1 - decay) * model.running
    torch.testing.assert_close(step.ema.running, expected)
    assert step.ema.scale.item() == pytest.approx(model.scale.item(), rel=1e-3)
    assert torch.equal(step.ema.later, model.later) and step.ema.later is not model.later


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_half_precision_are_refused_since_their_average_would_stand_still(waves, dtype):
    model = Fit(nn.Linear(2, 1)).to(dtype)
    with pytest.raises(ValueError, match="float32.*bf16-mixed"):
        train(model, shuffled(*waves, batch=4), 1)
    frozen = nn.Linear(2, 2).to(dtype).requires_grad_(False)
    train(Fit(frozen, nn.Linear(2, 1)), shuffled(*waves, batch=4), 1)  # a part that only helps


def test_what_no_file_holds_of_the_system_no_file_holds_of_its_average():
    class Remembers(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.ones(2))
            self.register_buffer("cache", torch.zeros(2), persistent=False)

    system = Remembers()
    average = Average(system, 0.9)
    system.cache = torch.zeros(5)
    average.update(0)
    assert average.system.cache.shape == (5,) and list(average.system.state_dict()) == ["w"]
