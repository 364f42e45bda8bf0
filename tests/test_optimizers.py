"""Learning rates, and Muon beside torch's own on plain matrices."""

import pytest
import torch
from torch import nn

from labkit import checkpoint, train
from labkit.nets.unet import UNet, UNetConfig
from labkit.optimizers import Muon, flat, learning_rate, optimizer_for
from tests.faults import tiny


def gradients(module: nn.Module, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in module.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator)


def stepped(module: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    for step in range(steps):
        gradients(module, step)
        optimizer.step()


def test_the_learning_rate_rises_then_falls():
    rates = [learning_rate(step, 100, 1.0, 10, "cosine") for step in range(100)]
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert max(rates) == pytest.approx(learning_rate(9, 100, 1.0, 10, "cosine"))
    assert learning_rate(100, 100, 1.0, 10, "cosine") == pytest.approx(0)
    assert learning_rate(50, 100, 1.0, 0, "linear") == pytest.approx(0.5)
    assert learning_rate(99, 100, 1.0, 0, "constant") == 1


def test_a_late_decay_stays_at_the_peak_for_four_fifths():
    assert learning_rate(79, 100, 1.0, 0, "late") == 1
    assert learning_rate(90, 100, 1.0, 0, "late") == pytest.approx(0.5)


def test_matrices_move_as_torch_s_muon_moves_them_and_the_rest_as_adamw():
    torch.manual_seed(0)
    here = nn.Sequential(nn.Linear(20, 24), nn.Embedding(30, 20), nn.Linear(20, 4))
    torch.manual_seed(0)
    there = nn.Sequential(nn.Linear(20, 24), nn.Embedding(30, 20), nn.Linear(20, 4))
    stepped(here, Muon(here, (0.9, 0.99), 0.1))
    matrix, *rest = there[0].weight, there[0].bias, *there[1:].parameters()
    theirs = [
        torch.optim.Muon([matrix], weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, betas=(0.9, 0.99), weight_decay=0.1),
    ]
    for step in range(3):
        gradients(there, step)
        for optimizer in theirs:
            optimizer.param_groups[0]["lr"] = 0.01
            optimizer.step()
    for one, other in zip(here.parameters(), there.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_convolution_moves_as_its_matrix_does_however_it_lies_in_memory(memory_format, kernel):
    torch.manual_seed(0)
    conv = nn.Conv2d(20, 24, kernel, bias=False).to(memory_format=memory_format)
    rows = conv.weight.detach().movedim(1, -1).flatten(1).clone()
    if memory_format == torch.contiguous_format:
        rows = conv.weight.detach().flatten(1).clone()
    matrix = nn.Linear(*rows.T.shape, bias=False)
    matrix.weight.data = rows.clone()
    gradients(conv)  # lies in memory as torch likes, which is not always as the weight lies
    matrix.weight.grad = flat(conv.weight.grad, conv.weight)
    for module in (conv, matrix):
        optimizer = optimizer_for(module, "muon", (0.9, 0.99), 0.0)
        optimizer.param_groups[0]["lr"] = 0.01
        optimizer.step()
    assert torch.allclose(flat(conv.weight), matrix.weight, atol=1e-6)
    assert not torch.equal(flat(conv.weight), rows)


def test_every_weight_that_learns_moves_and_no_other():
    torch.manual_seed(0)
    net = UNet(
        UNetConfig(size=8, channels=3, width=16, multipliers=(1, 2), attention=(4,), groups=8)
    )
    net.conv_in.requires_grad_(False)
    before = [weight.clone() for weight in net.parameters()]
    stepped(net, optimizer_for(net, "muon", (0.9, 0.99), 0.0), steps=1)
    moved = [not torch.equal(old, new) for old, new in zip(before, net.parameters())]
    assert moved == [weight.requires_grad for weight in net.parameters()]


def test_a_run_with_muon_that_was_stopped_goes_on_to_the_same_bits(tmp_path):
    options = {"optimizer": "muon", "lr": 3e-3, "warmup": 2, "weight_decay": 0.01, "save_every": 5}

    def run(steps_until: int | None, path):
        system = UNetLoss()
        for step in train.train(system, tiny.batches(), 12, checkpoint=path, **options):
            if step.step == steps_until:
                break
        return step.ema

    whole = run(None, tmp_path / "whole.run")
    run(7, tmp_path / "stopped.run")
    again = run(None, tmp_path / "stopped.run")
    assert torch.equal(tiny.weights(whole), tiny.weights(again))


class UNetLoss(nn.Module):
    """Wide enough that some of its weights are matrices for Muon."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.denoiser = tiny.system()
        self.wide = nn.Conv2d(1, 32, 3, padding=1)
        self.deep = nn.Conv2d(32, 32, 3, padding=1).to(memory_format=torch.channels_last)
        self.back = nn.Conv2d(32, 1, 3, padding=1)

    def loss(self, batch):
        images = batch[0] if isinstance(batch, tuple) else batch
        return self.denoiser.loss(images) + self.back(self.deep(self.wide(images))).square().mean()


def test_another_optimizer_is_another_run(tmp_path):
    path = tmp_path / "a.run"
    *_, _ = train.train(UNetLoss(), tiny.batches(), 2, checkpoint=path, optimizer="muon")
    with pytest.raises(ValueError, match="optimizer is muon, yours is adamw"):
        next(train.train(UNetLoss(), tiny.batches(), 2, checkpoint=path))
    with pytest.raises(ValueError, match="optimizer"):
        train.train(UNetLoss(), tiny.batches(), 2, optimizer="sgd")


def test_a_stopped_run_goes_on_in_another_memory_format(tmp_path):
    def run(last: bool, until: int | None, path):
        system = UNetLoss()
        if last:
            system.to(memory_format=torch.channels_last)
        steps = train.train(system, tiny.batches(), 12, checkpoint=path, optimizer="muon", lr=3e-3)
        for step in steps:
            if step.step == until:
                break
        return tiny.weights(step.ema)

    for first in (True, False):
        whole = run(first, None, tmp_path / f"whole{first}.run")
        run(first, 6, tmp_path / f"{first}.run")
        again = run(not first, None, tmp_path / f"{first}.run")
        assert torch.allclose(whole, again, atol=1e-4)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_all_that_a_loaded_state_holds_lies_where_torch_s_fused_adamw_wants_it(name):
    layer = nn.Linear(20, 20)
    optimizer = optimizer_for(layer, name, (0.9, 0.99), 0.0)
    stepped(layer, optimizer, steps=1)
    state = optimizer.state_dict()
    weights = [(weight, group) for group in optimizer.param_groups for weight in group["params"]]
    ((key, group),) = (
        (index, group) for index, (weight, group) in enumerate(weights) if weight is layer.bias
    )
    place = torch.optim.Optimizer._process_value_according_to_param_policy
    meta = nn.Parameter(torch.empty(20, device="meta"))
    step = place(meta, state["state"][key]["step"], key, [{**group, "params": [key]}], "step")
    assert step.device.type == "meta"


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_a_run_does_not_save_what_a_later_run_of_the_same_system_has_made(name, tmp_path):
    system, options = UNetLoss(), {"optimizer": name, "warmup": 0}
    path = tmp_path / "first.run"
    first = train.train(
        system, tiny.batches(), 9, checkpoint=path, save_every=100, lr=1e-3, **options
    )
    for _ in range(3):
        next(first)
    *_, _ = train.train(system, tiny.batches(), 4, lr=0.05, **options)
    first.close()
    assert checkpoint.read_about(path)["step"] == 0


def test_a_weight_that_would_have_to_be_copied_is_left_to_adamw():
    layer = nn.Linear(20, 24)
    layer.weight = nn.Parameter(torch.randn(24, 40)[:, ::2])
    before = layer.weight.detach().clone()
    conv = nn.Conv2d(24, 24, 3)
    conv.weight = nn.Parameter(torch.randn(24, 24, 3, 3).mT)
    for module in (layer, conv):
        optimizer = Muon(module, (0.9, 0.99), 0.0)
        old = module.weight.detach().clone()
        stepped(module, optimizer, steps=1)
        assert not torch.equal(old, module.weight)
    assert layer.weight.shape == before.shape
