"""Training meets kill -9, a full disk, Ctrl-C and NaN; what was saved is never lost."""

import errno
import multiprocessing
import random
import re
import sys
import time
from pathlib import Path

import pytest
import torch

from labkit import checkpoint
from labkit.denoiser import Denoiser
from labkit.train import batch_seed, train
from tests.faults.tiny import batches, life, small_disk, system, weights

STEPS, SAVE_EVERY, KILLS = 100, 3, 20
posix = pytest.mark.skipif(sys.platform == "win32", reason="needs signals and limits of POSIX")


@pytest.fixture(scope="module")
def processes():
    """Processes forked from one that has imported labkit, but computed nothing: quick to start."""
    context = multiprocessing.get_context("forkserver")
    # torch._dynamo is what torch imports at the first update: each would spend a second on it
    context.set_forkserver_preload(["tests.faults.tiny", "torch._dynamo"])
    return context


def undisturbed(steps: int):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    model = system()
    *_, last = train(model, batches(), steps)
    torch.set_num_threads(threads)
    return weights(model, last.ema)


@posix
def test_killed_twenty_times_training_ends_in_the_same_bits(processes, tmp_path):
    path, chance = tmp_path / "run.safetensors", random.Random(0)
    saved, reached = [], 0
    for kill in range(KILLS + 1):
        here, there = processes.Pipe(duplex=False)
        process = processes.Process(target=life, args=(path, STEPS, SAVE_EVERY, there))
        process.start()
        there.close()
        if kill == KILLS:  # the last life is left in peace
            process.join(60)
            assert process.exitcode == 0
            break
        for _ in range(chance.randint(1, 5)):
            _, reached = here.recv()
        time.sleep(chance.uniform(0, 0.02))  # anywhere in a step, or in a save
        process.kill()
        process.join()
        assert process.exitcode == -9
        if path.exists():  # whole, and at a step that was to be saved
            saved.append(checkpoint.load(path)[1]["step"])
            assert saved[-1] % SAVE_EVERY == 0 and saved[-1] <= reached + SAVE_EVERY
    assert saved == sorted(saved) and saved[-1] > 0
    model = system()
    (last,) = train(model, batches(), STEPS, checkpoint=path)
    assert last.step == STEPS
    assert torch.equal(weights(model, last.ema), undisturbed(STEPS))
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]


@posix
def test_a_disk_that_takes_half_a_file_leaves_the_old_one_whole(processes, tmp_path):
    path = tmp_path / "run.safetensors"
    for step in train(system(), batches(), 6, checkpoint=path, save_every=3):
        if step.step == 3:
            break
    before = path.read_bytes()
    here, there = processes.Pipe(duplex=False)
    process = processes.Process(target=small_disk, args=(path, there))
    process.start()
    there.close()
    number, sentence = here.recv()
    process.join()
    assert number == errno.EFBIG and "run.safetensors could not be written" in sentence
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]


def test_a_full_disk_stops_training_with_a_sentence_and_room_lets_it_go_on(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    write, room = checkpoint.write, iter([True, True, False])  # for steps 0, 2 and 4

    def full(file, data):
        if not next(room, True):
            write(file, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, "No space left on device")
        write(file, data)

    monkeypatch.setattr(checkpoint, "write", full)
    with pytest.raises(OSError, match=r"could not be written \(No space left.*untouched") as caught:
        list(train(system(), batches(), 6, checkpoint=path, save_every=2))
    assert caught.value.errno == errno.ENOSPC
    assert checkpoint.load(path)[1]["step"] == 2
    model = system()
    *_, last = train(model, batches(), 6, checkpoint=path, save_every=2)
    assert torch.equal(weights(model), weights(resumed_free(6)))
    assert last.step == 6


def resumed_free(steps: int):
    model = system()
    list(train(model, batches(), steps))
    return model


def test_an_interrupt_inside_a_step_loses_nothing_that_was_saved(tmp_path):
    path, alarm = tmp_path / "run.safetensors", [True]

    class Interrupted(Denoiser):
        def loss(self, batch):
            if alarm and checkpoint.read_about(path)["step"] == 2:
                raise KeyboardInterrupt
            return super().loss(batch)

    model, again = system(), system()
    model.__class__ = again.__class__ = Interrupted
    with pytest.raises(KeyboardInterrupt):
        list(train(model, batches(), 5, checkpoint=path, save_every=2))
    assert checkpoint.load(path)[1]["step"] == 2
    alarm.clear()
    list(train(again, batches(), 5, checkpoint=path, save_every=2))
    assert torch.equal(weights(again), weights(resumed_free(5)))


CELL = """
import torch
torch.set_num_threads(1)
from labkit.train import train
from tests.faults.tiny import batches, system, weights
model = system()
for step in train(model, batches(), {steps}, checkpoint={path!r}, save_every=2):
    if step.step == 4:
        print("running", flush=True)
    {wait}
print("finished", weights(model).double().sum().item().hex())
"""


def outputs(client, ask, until):
    """Reads what the cell of that request prints until that word comes, or the cell ends."""
    text = ""
    while until not in text:
        message = client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != ask:
            continue
        content = message["content"]
        if message["msg_type"] == "stream":
            text += content["text"]
        elif message["msg_type"] == "error":
            text += f"{content['ename']} {content['evalue']}"
        elif content.get("execution_state") == "idle":
            break
    return text


@posix
def test_the_stop_button_of_a_notebook_loses_nothing_and_the_cell_can_run_again(tmp_path):
    from jupyter_client.manager import start_new_kernel

    path = str(tmp_path / "run.safetensors")
    manager, client = start_new_kernel(kernel_name="python3", cwd=Path(__file__).parents[2])
    try:
        wait = "__import__('time').sleep(30 if step.step == 5 else 0)"
        first = client.execute(CELL.format(steps=8, path=path, wait=wait), stop_on_error=False)
        assert outputs(client, first, "running").strip() == "running"
        time.sleep(0.5)
        manager.interrupt_kernel()
        assert "KeyboardInterrupt" in outputs(client, first, "KeyboardInterrupt")
        again = client.execute(CELL.format(steps=8, path=path, wait="pass"))
        text = outputs(client, again, "finished")
        assert "finished" in text, text
        total = float.fromhex(text.split()[-1])
        assert "running" not in text  # step 4 had been saved
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    assert total == weights(resumed_free(8)).double().sum().item()
    torch.set_num_threads(threads)


class Unlucky(Denoiser):
    """Its loss is not a number when the batch holds a pixel of exactly 0.25."""

    def loss(self, batch):
        return super().loss(batch) * (torch.nan if (batch == 0.25).any() else 1)


def test_a_nan_names_its_step_and_the_seed_of_its_batch_and_spoils_nothing(tmp_path):
    good, poison = batches(), batch_seed(0, 3)

    def poisoned(generator):
        batch = good(generator)
        if generator.initial_seed() == poison:
            batch[0, 0, 0, 0] = 0.25
        return batch

    model, path, before = system(), tmp_path / "run.safetensors", None
    model.__class__ = Unlucky
    with pytest.raises(FloatingPointError) as caught:
        for _ in train(model, poisoned, 6, checkpoint=path, save_every=2):
            before = weights(model)
    sentence = str(caught.value)
    assert sentence.startswith("Step 4 has loss nan")
    seed = int(re.search(r"manual_seed\((\d+)\)", sentence)[1])
    assert (poisoned(torch.Generator().manual_seed(seed)) == 0.25).any()
    assert torch.equal(weights(model), before) and before.isfinite().all()
    assert checkpoint.load(path)[1]["step"] == 2


def test_an_error_of_the_systems_own_says_at_which_step_it_came(tmp_path):
    def broken(generator):
        return batches()(generator) * (torch.nan if generator.initial_seed() == bad else 1)

    bad = batch_seed(0, 1)
    with pytest.raises(ValueError, match="nan") as caught:
        list(train(system(), broken, 6))
    assert caught.value.__notes__ == [
        f"This was step 2 of training; its batch is batches(torch.Generator().manual_seed({bad}))."
    ]
