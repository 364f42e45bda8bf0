"""Checkpoints: what goes in comes out, and a wrong file gets one clear sentence."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from labkit import checkpoint
from labkit.nets.unet import UNetConfig


def test_tensors_and_their_story_come_back_as_they_went_in(tmp_path):
    path = tmp_path / "folder" / "model.safetensors"
    tensors = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(2, 3).half()}
    config = UNetConfig(width=64)
    checkpoint.save(path, tensors, {"config": config, "step": 7, "metrics": {"frechet": 0.1}})
    back, about = checkpoint.load(path)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)
    assert back["c"].dtype == torch.float16
    assert UNetConfig(**about["config"]) == config
    assert (about["step"], about["metrics"]) == (7, {"frechet": 0.1})
    assert checkpoint.read_about(path) == about


def test_memory_order_does_not_matter(tmp_path):
    kernel = torch.randn(4, 3, 3, 3).contiguous(memory_format=torch.channels_last)
    checkpoint.save(tmp_path / "a", {"kernel": kernel}, {})
    assert torch.equal(checkpoint.load(tmp_path / "a")[0]["kernel"], kernel)


def test_the_same_content_makes_the_same_bytes(tmp_path):
    for name in "ab":
        checkpoint.save(tmp_path / name, {"x": torch.ones(3), "y": torch.zeros(2)}, {"k": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_half_written_file_stays_beside_it(tmp_path):
    checkpoint.save(tmp_path / "a", {"x": torch.ones(3)}, {})
    checkpoint.save(tmp_path / "a", {"x": torch.zeros(3)}, {})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert not checkpoint.load(tmp_path / "a")[0]["x"].any()


def test_filling_a_model_needs_the_same_names_and_shapes():
    model = nn.Linear(2, 3)
    checkpoint.fill(model, {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}, "file")
    assert torch.equal(model.weight, torch.ones(3, 2))
    for wrong in (
        {"weight": torch.ones(3, 2)},
        {"weight": torch.ones(2, 3), "bias": torch.zeros(3)},
        {"weight": torch.ones(3, 2), "bias": torch.zeros(3), "more": torch.ones(1)},
    ):
        with pytest.raises(ValueError, match="file is of another configuration than this Linear"):
            checkpoint.fill(model, wrong, "file")


def test_other_programs_can_read_the_tensors(tmp_path):
    checkpoint.save(tmp_path / "a", {"x": torch.ones(3)}, {"k": 1})
    assert torch.equal(safetensors.torch.load_file(tmp_path / "a")["x"], torch.ones(3))
    with safetensors.safe_open(tmp_path / "a", "pt") as file:
        assert json.loads(file.metadata()["labkit"]) == {"k": 1}


def test_a_tensor_of_two_names_is_stored_once_and_comes_back_under_both(tmp_path):
    weight = torch.randn(100, 100)
    checkpoint.save(tmp_path / "tied", {"a": weight, "b": weight, "c": weight.T}, {})
    checkpoint.save(tmp_path / "single", {"a": weight, "c": weight.T}, {})
    back, _ = checkpoint.load(tmp_path / "tied")
    assert torch.equal(back["a"], weight) and torch.equal(back["c"], weight.T)
    assert back["a"].data_ptr() == back["b"].data_ptr()
    assert (tmp_path / "tied").stat().st_size < (tmp_path / "single").stat().st_size + 200


def test_parts_of_one_tensor_are_stored_each_by_itself(tmp_path):
    whole = torch.arange(12.0).view(4, 3)
    parts = {"whole": whole, "first": whole[:2], "middle": whole[1:3], "column": whole[:, 1]}
    checkpoint.save(tmp_path / "a", parts, {})
    back, _ = checkpoint.load(tmp_path / "a")
    assert all(torch.equal(back[name], part) for name, part in parts.items())


def test_half_precision_is_for_floats_that_fit_into_it(tmp_path):
    tensors = {
        "weight": torch.tensor([0.1, -3.0]),
        "double": torch.tensor([0.1], dtype=torch.float64),
        "count": torch.tensor([70_000]),
        "number": torch.tensor([3]),
        "flag": torch.tensor([True]),
        "large": torch.tensor([1e6, 1.0]),
        "mask": torch.tensor([0.0, -torch.inf]),
        "brain": torch.tensor([1e-30, 0.5], dtype=torch.bfloat16),
    }
    checkpoint.save(tmp_path / "a", tensors, {}, half=True)
    back, _ = checkpoint.load(tmp_path / "a")
    kept = {name for name in tensors if back[name].dtype == tensors[name].dtype}
    assert kept == {"count", "number", "flag", "large", "brain"}
    for name, tensor in tensors.items():
        expected = tensor if name in kept else tensor.half()
        assert torch.equal(back[name], expected), name


@dataclass
class Scale:
    value: object


def test_numbers_of_numpy_and_torch_are_stored_as_plain_ones(tmp_path):
    about = {
        "steps": np.int64(3), "accuracy": np.float32(0.5), "good": np.True_,
        "loss": torch.tensor(0.25), "made": Scale(np.int32(2)), "shape": (1, 2),
    }  # fmt: skip
    checkpoint.save(tmp_path / "a", {}, about)
    assert checkpoint.read_about(tmp_path / "a") == {
        "steps": 3, "accuracy": 0.5, "good": True, "loss": 0.25, "made": {"value": 2},
        "shape": [1, 2],
    }  # fmt: skip
    with pytest.raises(ValueError, match="not JSON: function is not one of the types"):
        checkpoint.save(tmp_path / "b", {}, {"fn": lambda: 0})


def test_what_killed_writers_left_is_removed_and_what_living_ones_write_is_not(tmp_path):
    path = tmp_path / "run.safetensors"
    left, written = tmp_path / f"{path.name}.1f.part", tmp_path / f"{path.name}.2e.part"
    other = tmp_path / "b.part"
    for file in (left, written, other):
        file.write_text("half")
    yesterday = time.time() - 86400
    for file in (left, other):
        os.utime(file, (yesterday, yesterday))
    checkpoint.save(path, {"x": torch.ones(3)}, {})
    assert set(tmp_path.iterdir()) == {path, written, other}


@pytest.mark.parametrize("start", [b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK"])
def test_a_whole_file_is_read_whatever_the_length_of_its_header(tmp_path, start):
    """Which its first bytes say: those of a pickle are the length 640, those of a zip 19280."""
    length = int.from_bytes(start, "little")
    about = {"k": ""}
    for _ in range(2):  # the second time with what the first one lacked
        checkpoint.save(tmp_path / "a", {"x": torch.ones(3)}, about)
        data = (tmp_path / "a").read_bytes()
        about["k"] += " " * (length - int.from_bytes(data[:8], "little"))
    assert data.startswith(start)
    assert checkpoint.load(tmp_path / "a")[0]["x"].all()


def test_metadata_nested_without_end_is_not_ours_in_a_sentence(tmp_path):
    path = tmp_path / "a"
    safetensors.torch.save_file({"x": torch.ones(1)}, path, metadata={"labkit": "[" * 100_000})
    with pytest.raises(ValueError, match="not one of labkit's"):
        checkpoint.load(path)


def test_two_writers_of_one_file_never_meet_in_an_unfinished_one(tmp_path, monkeypatch):
    path, both, write = tmp_path / "a", threading.Barrier(2, timeout=30), checkpoint.write

    def slowly(part, data):
        both.wait()
        write(part, data[: len(data) // 2])
        both.wait()
        write(part, data)

    monkeypatch.setattr(checkpoint, "write", slowly)
    with ThreadPoolExecutor(2) as pool:
        for done in [
            pool.submit(checkpoint.save, path, {"x": torch.full((1000,), value)}, {"n": value})
            for value in (1.0, 2.0)
        ]:
            done.result()
    tensors, about = checkpoint.load(path)
    assert (tensors["x"] == about["n"]).all()
    assert [file.name for file in tmp_path.iterdir()] == ["a"]


def test_an_interrupted_writer_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "a"
    checkpoint.save(path, {"x": torch.ones(3)}, {})

    def interrupted(part, data):
        part.write_bytes(data[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, {"x": torch.zeros(3)}, {})
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    assert checkpoint.load(path)[0]["x"].all()


def test_a_link_stays_a_link_to_the_disk_that_has_room(tmp_path):
    (tmp_path / "big").mkdir()
    link = tmp_path / "run.safetensors"
    link.symlink_to(tmp_path / "big" / "run.safetensors")
    checkpoint.save(link, {"x": torch.ones(3)}, {})
    assert link.is_symlink() and (tmp_path / "big" / "run.safetensors").is_file()
    assert checkpoint.load(link)[0]["x"].all()


def test_a_file_may_be_read_by_whoever_may_read_the_folder(tmp_path):
    (tmp_path / "plain").write_text("")
    checkpoint.save(tmp_path / "a", {"x": torch.ones(3)}, {})
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"same": 1}'])
def test_a_file_that_lies_about_itself_gets_a_sentence(tmp_path, text):
    metadata = {"labkit": "{}", "labkit.same": '{"b": "nowhere"}'} if "same" in text else None
    data = {"x": torch.ones(3)}
    safetensors.torch.save_file(data, tmp_path / "a", metadata=metadata or {"labkit": text})
    with pytest.raises(ValueError, match="not one of labkit's"):
        checkpoint.load(tmp_path / "a")


def test_a_state_that_is_not_all_tensors_is_refused_by_name():
    class Extra(nn.Linear):
        def get_extra_state(self):
            return {"a": 1}

    with pytest.raises(ValueError, match="'_extra_state' in the state of this Extra is no tensor"):
        checkpoint.state(Extra(2, 2))
