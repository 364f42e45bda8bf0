"""Checkpoints: what goes in comes out, and a wrong file gets one clear sentence."""

import json

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
