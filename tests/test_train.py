"""The training loop: what it yields, what it averages, and that randomness is a matter of seeds."""

import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from labkit import checkpoint
from labkit.denoiser import Denoiser
from labkit.nets.unet import UNet, UNetConfig
from labkit.schedule import cosine
from labkit.train import batch_seed, shuffled, train

CONFIG = UNetConfig(
    size=8, channels=1, width=8, multipliers=(1, 2), blocks=1, attention=(), groups=4, dropout=0.1
)


def system(seed: int = 0) -> Denoiser:
    torch.manual_seed(seed)
    return Denoiser(UNet(CONFIG), cosine(50))


@pytest.fixture
def batches():
    return shuffled(torch.rand(40, 1, 8, 8, generator=torch.manual_seed(1)) * 2 - 1, batch=8)


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


class Line(nn.Module):
    """y = w x, to be fitted; the batch carries both."""

    def __init__(self, w: float = 0.0):
        super().__init__()
        self.w = nn.Parameter(torch.tensor([w]))

    def loss(self, batch):
        x, y = batch
        return (self.w * x - y).square().mean()


def test_every_update_is_yielded_with_its_loss(batches):
    steps = list(train(system(), batches, steps=5))
    assert [step.step for step in steps] == [1, 2, 3, 4, 5]
    assert steps[0].loss == pytest.approx(1, abs=0.2)  # the network starts at zero: E eps² = 1
    assert all(step.images_per_second > 0 for step in steps)


def test_training_lowers_the_loss_and_its_average_follows():
    model, x = Line(), torch.linspace(-1, 1, 64)
    *_, step = train(model, shuffled(x, 3 * x, batch=32), steps=300, lr=0.05, ema=0.9)
    assert model.w.item() == pytest.approx(3, abs=0.02)
    assert step.ema.w.item() == pytest.approx(3, abs=0.1)
    assert not step.ema.w.requires_grad and not step.ema.training


def test_the_same_seed_gives_the_same_weights_and_another_gives_others(batches):
    results = []
    for seed in (3, 3, 4):
        model = system()
        for _ in train(model, batches, steps=3, seed=seed):
            torch.rand(5)  # the watcher may draw what it likes
        results.append(weights(model))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_the_watchers_own_random_numbers_are_left_alone(batches):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    drawn = torch.cat([torch.rand(1) for _ in train(Line(), lambda g: (torch.ones(2),) * 2, 3)])
    assert torch.equal(drawn, expected)


def test_the_average_is_the_papers_recursion_with_warm_up():
    model = Line(5.0)
    seen, expected = [], 5.0
    for step in train(model, lambda g: (torch.ones(4), torch.zeros(4)), 20, lr=0.1, ema=0.6):
        n = step.step - 1
        decay = min(0.6, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * model.w.item()
        seen.append(step.ema.w.item())
        assert step.ema.w.item() == pytest.approx(expected, rel=1e-5)
    assert seen[0] != seen[-1]


def test_the_gradient_is_clipped_to_the_norm_asked_for():
    """Adam forgets the size of a lone gradient, but not how sizes change from step to step."""
    moves = []
    for clip in (1.0, 1e9, 0):
        model, targets = Line(), iter([1.0, 1e4])
        batches = lambda g: (torch.ones(2), torch.full((2,), next(targets)))  # noqa: B023, E731
        places = [model.w.item() for _ in train(model, batches, 2, lr=0.1, warmup=0, clip=clip)]
        moves.append(places[1] - places[0])
    # The two gradients are 1 and 1 when clipped, 2 and 20,000 when not; the rate is 0.05.
    assert moves[0] == pytest.approx(0.05, rel=1e-3)
    assert moves[1] == pytest.approx(0.05 * (0.1 / 0.19) / (0.01 / 0.0199) ** 0.5, rel=1e-3)
    assert moves[2] == moves[1]  # 0 is off


def test_a_watcher_without_gradients_does_not_stop_training():
    model = Line()
    with torch.no_grad():
        list(train(model, lambda g: (torch.ones(4), torch.ones(4)), 3, warmup=0))
        assert not torch.is_grad_enabled()
    assert model.w != 0


def test_each_step_and_process_has_a_seed_of_its_own():
    seeds = {batch_seed(s, n, p) for s in range(5) for n in range(50) for p in range(3)}
    assert len(seeds) == 5 * 50 * 3
    assert batch_seed(0, 0) == batch_seed(0, 0, 0) < 2**63


def test_shuffled_draws_the_same_rows_of_each_tensor():
    x = torch.arange(10)
    a, b = shuffled(x, x * 2, batch=6)(torch.Generator().manual_seed(0))
    assert len(a) == 6 and torch.equal(b, 2 * a)


def test_a_run_resumed_midway_ends_in_the_same_weights(batches, tmp_path):
    plain = system()
    *_, step = train(plain, batches, steps=7, warmup=2)
    expected = weights(plain), weights(step.ema)
    path = tmp_path / "run.safetensors"
    for step in train(system(), batches, steps=7, warmup=2, checkpoint=path, save_every=3):
        if step.step == 5:  # saved on the way out, too
            break
    again = system(seed=9)
    steps = list(train(again, batches, steps=7, warmup=2, checkpoint=path, save_every=3))
    assert [step.step for step in steps] == [6, 7]
    assert torch.equal(weights(again), expected[0])
    assert torch.equal(weights(steps[-1].ema), expected[1])


def test_a_finished_run_is_only_read_back(batches, tmp_path):
    path = tmp_path / "run.safetensors"
    *_, first = train(system(), batches, steps=2, checkpoint=path)
    (only,) = train(system(1), batches, steps=2, checkpoint=path)
    assert (only.step, only.loss) == (2, first.loss)
    assert torch.equal(weights(only.ema), weights(first.ema))


class Stopped(Line):
    """Somebody presses Ctrl-C within the fourth step."""

    def loss(self, batch):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == 4:
            raise KeyboardInterrupt
        return super().loss(batch)


def fitted(model, path, steps=6):
    x = torch.linspace(-1, 1, 64)
    return list(train(model, shuffled(x, 3 * x, batch=8), steps, checkpoint=path))


def test_what_was_done_before_ctrl_c_is_saved_and_the_rest_ends_in_the_same_bits(tmp_path):
    path, whole, rest = tmp_path / "run", Line(), Stopped()
    rest.calls = 4
    fitted(whole, None)
    with pytest.raises(KeyboardInterrupt):
        fitted(Stopped(), path)
    assert checkpoint.read_about(path)["step"] == 3
    assert [step.step for step in fitted(rest, path)] == [4, 5, 6]
    assert torch.equal(whole.w, rest.w)


def test_a_run_that_is_dropped_late_writes_nothing_over_what_came_after_it(tmp_path):
    path, model, x = tmp_path / "run", Line(), torch.linspace(-1, 1, 64)
    for change in (lambda: fitted(Line(), path), path.unlink, lambda: model.w.add_(1)):
        path.unlink(missing_ok=True)
        dropped = train(model, shuffled(x, 3 * x, batch=8), 6, checkpoint=path)
        next(dropped)
        with torch.no_grad():
            change()
        before = path.read_bytes() if path.exists() else None
        dropped.close()
        assert (path.read_bytes() if path.exists() else None) == before


def test_a_watcher_that_looks_in_evaluation_does_not_turn_dropout_off(batches):
    plain, watched = system(), system()
    list(train(plain, batches, 3))
    for _ in train(watched, batches, 3):
        watched.eval()
    assert torch.equal(weights(plain), weights(watched))


def test_processes_that_do_not_see_the_same_file_are_told_so(batches, tmp_path, monkeypatch):
    fabric = Fabric(accelerator="cpu", devices=1)
    monkeypatch.setattr(fabric, "all_gather", lambda first: torch.stack([first, first + 2]))
    with pytest.raises(ValueError, match="begin after 0, 2 updates.*all of them share"):
        next(train(system(), batches, 3, fabric=fabric, checkpoint=tmp_path / "run"))


TWO = """
import sys, torch
from lightning_fabric import Fabric
sys.path[:0] = sys.argv[2:]
from test_train import system, weights
from labkit.train import train

torch.set_num_threads(1)
images = torch.rand(40, 1, 8, 8, generator=torch.manual_seed(1)) * 2 - 1

class Told(torch.nn.Module):
    '''The denoiser, with time and noise as part of the batch: two halves are one whole.'''
    def __init__(self):
        super().__init__()
        self.denoiser = system().eval()
        for layer in self.denoiser.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.p = 0.0
    def loss(self, batch):
        x0, t, eps = batch
        out = self.denoiser.net(self.denoiser.schedule.diffuse(x0, t, eps), t, None)
        return (out - eps).square().mean()

def main(processes):
    strategy = "ddp" if processes > 1 else "auto"
    fabric = Fabric(accelerator="cpu", devices=processes, strategy=strategy)
    fabric.launch()
    count = [0]
    def batches(generator):
        generator.manual_seed(count[0])
        count[0] += 1
        rows = torch.randint(40, (8,), generator=generator)
        t = torch.randint(1, 51, (8,), generator=generator)
        eps = torch.randn(8, 1, 8, 8, generator=generator)
        part = slice(fabric.global_rank * 8 // processes, (fabric.global_rank + 1) * 8 // processes)
        return images[rows][part], t[part], eps[part]
    model = Told()
    losses = [step.loss for step in train(model, batches, 6, fabric=fabric)]
    if fabric.is_global_zero:
        torch.save((losses, weights(model)), sys.argv[1])

if __name__ == "__main__":
    import os
    main(int(os.environ.get("WORLD_SIZE", 1)))
"""


def test_two_processes_train_to_the_loss_of_one_with_twice_the_batch(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    here = Path(__file__).resolve().parent
    results = []
    for launcher in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]):
        out = tmp_path / f"out{len(results)}"
        command = [sys.executable, *launcher, script, out, here, here.parent]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        results.append(torch.load(out))
    (one, alone), (two, together) = results
    assert one[0] != one[-1]
    assert two == pytest.approx(one, rel=1e-5)
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-5)


def test_training_state_is_named_by_what_it_is(batches, tmp_path):
    path = tmp_path / "run.safetensors"
    list(train(system(), batches, steps=1, checkpoint=path))
    tensors, about = checkpoint.load(path)
    assert about["step"] == 1 and math.isfinite(about["loss"])
    assert {name.split(".")[0] for name in tensors} == {"system", "ema", "optimizer"}
