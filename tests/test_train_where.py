"""Where and how training computes: the system's own device, its precision, several processes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from labkit.train import batch_seed, shuffled, train
from tests.faults import tiny

HERE = Path(__file__).resolve().parents[1]


def python(*words, **variables):
    """A fresh process in the project's folder."""
    command = [sys.executable, *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"} | variables
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=environment, cwd=HERE
    )


def trained(fabric=None):
    model = tiny.system()
    *_, last = train(model, tiny.batches(), 4, fabric=fabric)
    return tiny.weights(model, last.ema)


def test_a_system_on_the_cpu_is_trained_there_whatever_else_the_machine_has(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    model = tiny.system()
    (step,) = train(model, tiny.batches(), 1)
    assert {weight.device.type for weight in step.ema.parameters()} == {"cpu"}


def test_the_variables_of_a_cluster_are_not_obeyed_by_default(monkeypatch):
    expected = trained()
    for name, value in {
        "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "jupyterhub", "SLURM_PROCID": "2", "RANK": "1",
        "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LT_DEVICES": "2",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert torch.equal(trained(), expected)


def test_importing_and_training_need_no_fabric_unless_one_is_given():
    code = (
        "import sys, labkit.train, labkit.zoo; from tests.faults import tiny;"
        "list(labkit.train.train(tiny.system(), tiny.batches(), 1));"
        "print([name for name in sys.modules if name.startswith('lightning')])"
    )
    done = python("-c", code)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_a_fabric_of_one_process_trains_to_the_same_bits_as_none():
    assert torch.equal(trained(Fabric(accelerator="cpu", devices=1)), trained())


def test_a_system_whose_weights_lie_in_several_places_is_refused_in_a_sentence():
    model = tiny.system()
    model.far = nn.Linear(1, 1, device="meta")
    with pytest.raises(ValueError, match="lie on cpu, meta, but must lie on one"):
        train(model, tiny.batches(), 1)


class Product(nn.Module):
    """Remembers in which dtype its matrix product came out."""

    def __init__(self):
        super().__init__()
        self.layer, self.seen = nn.Linear(4, 4), []

    def loss(self, batch):
        out = self.layer(batch)
        self.seen.append(out.dtype)
        return out.float().square().mean()


def test_mixed_precision_is_felt_in_one_process_and_weights_stay_in_full_precision():
    for precision, dtype in (("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)):
        model = Product()
        fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
        *_, last = train(model, shuffled(torch.randn(8, 4), batch=4), 3, fabric=fabric)
        assert model.seen == [dtype] * 3
        assert last.ema.layer.weight.dtype == model.layer.weight.dtype == torch.float32


def test_without_a_fabric_mixed_precision_is_the_same_as_with_one():
    found = []
    for options in ({"precision": "bf16-mixed"}, {"fabric": "bf16-mixed"}):
        if precision := options.get("fabric"):
            options = {"fabric": Fabric(accelerator="cpu", devices=1, precision=precision)}
        torch.manual_seed(0)
        model, data = Product(), torch.randn(8, 4)
        *_, step = train(model, shuffled(data, batch=4), 3, **options)
        assert model.seen == [torch.bfloat16] * 3
        found.append(step.ema.state_dict())
    assert all(map(torch.equal, found[0].values(), found[1].values()))


def test_two_precisions_that_contradict_each_other_are_refused():
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    with pytest.raises(ValueError, match="the Fabric's is 32-true"):
        train(tiny.system(), tiny.batches(), 1, precision="bf16-mixed", fabric=fabric)
    with pytest.raises(ValueError, match="precision"):
        train(tiny.system(), tiny.batches(), 1, precision="16-mixed")


@pytest.mark.parametrize("precision", ["16-true", "bf16-true", "64-true"])
def test_a_precision_that_would_not_work_is_refused_at_the_call(precision):
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    with pytest.raises(ValueError, match=f"{precision}.*32-true"):
        train(tiny.system(), tiny.batches(), 1, fabric=fabric)


TWO = """
import sys, torch
from lightning_fabric import Fabric
from labkit.nets.transformer import TextConfig
from labkit.nets.vit import ViTConfig
from labkit.systems.clip import CLIP, CLIPConfig
from labkit.train import train
from tests.faults import tiny

torch.set_num_threads(1)
fabric = Fabric(accelerator="cpu", devices=int(sys.argv[1]), strategy=sys.argv[2])
fabric.launch()
rank, processes = fabric.global_rank, fabric.world_size

def clip():
    torch.manual_seed(0)
    image = ViTConfig(size=8, patch=4, width=16, depth=1, heads=2)
    text = TextConfig(vocabulary=20, context=6, width=16, depth=1, heads=2, end=19)
    return CLIP(CLIPConfig(image, text, dim=8))

def pairs(generator):
    generator.manual_seed(5)
    pictures = torch.rand(8, 3, 8, 8, generator=generator) * 2 - 1
    texts = torch.randint(19, (8, 6), generator=generator)
    texts[:, -1] = 19
    part = slice(rank * 8 // processes, (rank + 1) * 8 // processes)
    return pictures[part], texts[part]

model = clip()
if rank == 1:
    model.logit_scale.data += 1  # it was built otherwise; the first process's weights count
steps = list(train(model, pairs, 3, lr=1e-2, warmup=0, fabric=fabric, checkpoint=sys.argv[4]))
averages = fabric.all_gather(tiny.weights(steps[-1].ema)).view(processes, -1)
if fabric.is_global_zero:
    print("losses", [step.loss for step in steps])
    print("weights", tiny.weights(model).double().norm().item())
    print("all the same" if (averages == averages[0]).all() else "different averages")

def poisoned(generator):
    batch = tiny.batches()(generator)
    return batch * (torch.inf if rank == 1 and generator.initial_seed() == int(sys.argv[3]) else 1)

class Careless(type(tiny.system())):
    def loss(self, batch):
        return self.net(batch, torch.ones(len(batch), dtype=torch.long), None).square().mean()

model = tiny.system()
model.__class__ = Careless
try:
    list(train(model, poisoned, 4, fabric=fabric))
except FloatingPointError as error:
    print(f"rank {rank}: {error}", flush=True)
if processes > 1:  # gloo's threads would sometimes abort a process that ends without it
    torch.distributed.destroy_process_group()
"""


def test_two_processes_share_their_negatives_and_name_the_one_that_had_a_nan(tmp_path):
    script = tmp_path / "two.py"
    script.write_text(TWO)
    bad = batch_seed(0, 2, 1)  # step 3 of process 1
    together = python(
        "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script, 2, "ddp", bad,
        tmp_path / "two.safetensors",
    )  # fmt: skip
    assert together.returncode == 0, together.stderr
    alone = python(script, 1, "auto", bad, tmp_path / "one.safetensors")
    assert alone.returncode == 0, alone.stderr
    two, one = (
        [float(word) for word in re.findall(r"\d+\.\d+(?:e-?\d+)?", text.split("rank")[0])]
        for text in (together.stdout, alone.stdout)
    )
    assert len(one) == 4 and one[0] > 1.5
    assert two == pytest.approx(one, rel=1e-5)  # eight pairs in one matrix, not twice four
    for rank in (0, 1):
        assert f"rank {rank}: Step 3 has loss nan in process 1" in together.stdout
    assert together.stdout.count(f"manual_seed({bad})") == 2
    assert str(batch_seed(0, 2, 0)) not in together.stdout
    assert "rank" not in alone.stdout
    assert "all the same" in together.stdout
