"""A stopped run goes on with the same system and data, and names what differs in another."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from labkit import batches as contents
from labkit import checkpoint, schedule
from labkit.data.pictures import Pictures
from labkit.denoiser import Denoiser
from labkit.nets.unet import UNet, UNetConfig
from labkit.systems.ddpm import DDPM, DDPMConfig
from labkit.train import shuffled, train

NET = UNetConfig(
    size=8, channels=1, width=8, multipliers=(1,), blocks=1, attention=(), groups=4, dropout=0.1
)
IMAGES = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1


def ddpm(**changes) -> DDPM:
    torch.manual_seed(0)
    return DDPM(replace(DDPMConfig(NET, T=20), **changes))


def layers(p: float = 0.1) -> nn.Module:
    """A system without a configuration, known by its layers."""
    torch.manual_seed(0)
    return Squares(nn.Flatten(), nn.Linear(64, 4), nn.Dropout(p), nn.Linear(4, 4))


class Squares(nn.Sequential):
    def loss(self, batch):
        return self(batch).square().mean()


def weights(*modules: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for module in modules for p in module.parameters()])


def stop(system: nn.Module, batches, path, steps: int = 4, at: int = 2, **settings) -> None:
    for step in train(system, batches, steps, checkpoint=path, save_every=1, **settings):
        if step.step == at:
            return


def go_on(system: nn.Module, batches, path, steps: int = 4, **settings):
    *_, last = train(system, batches, steps, checkpoint=path, save_every=1, **settings)
    return last


OTHERS: dict[str, tuple[Callable, Callable, str]] = {
    "pictures": (ddpm, lambda: shuffled(-IMAGES, batch=4), "other data.*float32 .4, 1, 8, 8."),
    "order": (ddpm, lambda: shuffled(IMAGES.flip(0), batch=4), "other data"),
    "batch": (ddpm, lambda: shuffled(IMAGES, batch=5), "4, 1, 8, 8.*yours are .*5, 1, 8, 8"),
    "labels": (ddpm, lambda: shuffled(IMAGES, torch.arange(40), batch=4), "yours are .*int64"),
    "width": (lambda: ddpm(net=replace(NET, width=16)), None, "width is 8, yours is 16"),
    "schedule": (lambda: ddpm(schedule="sigmoid"), None, "schedule is cosine, yours is sigmoid"),
    "prediction": (lambda: ddpm(predicts="v"), None, "predicts is eps, yours is v"),
    "class": (lambda: Denoiser(UNet(NET), schedule.cosine(20)), None, "DDPM.*yours is Denoiser"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_run_does_not_go_on_with_another_system_or_other_data(name, tmp_path):
    path = tmp_path / "run.safetensors"
    stop(ddpm(), shuffled(IMAGES, batch=4), path)
    before = path.read_bytes()
    system, batches, words = OTHERS[name]
    with pytest.raises(ValueError, match=words) as caught:
        go_on(system(), batches() if batches else shuffled(IMAGES, batch=4), path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert path.read_bytes() == before


def test_what_is_no_weight_counts_too_where_no_configuration_tells_of_it(tmp_path):
    path = tmp_path / "run.safetensors"
    stop(layers(0.1), shuffled(IMAGES, batch=4), path)
    with pytest.raises(ValueError, match=r"system.2 is Dropout\(p=0.1.*yours is Dropout\(p=0.2"):
        go_on(layers(0.2), shuffled(IMAGES, batch=4), path)
    stop(Denoiser(UNet(NET), schedule.cosine(20)), shuffled(IMAGES, batch=4), tmp_path / "other")
    with pytest.raises(ValueError, match="another configuration"):
        go_on(
            Denoiser(UNet(NET), schedule.sigmoid(20)), shuffled(IMAGES, batch=4), tmp_path / "other"
        )


def test_rounding_is_not_other_data():
    """As another number of threads may do it."""
    noisy = IMAGES * (1 + 1e-6 * torch.randn(IMAGES.shape))
    prints = [contents.fingerprint((images, ["a"])) for images in (IMAGES, noisy, -IMAGES)]
    assert contents.difference(prints[0], checkpoint.as_json(prints[1])) is None
    assert "other values in tensor 1" in contents.difference(prints[0], prints[2])


def test_captions_labels_and_numbers_are_part_of_the_data():
    same = contents.fingerprint((IMAGES, torch.arange(40), ["a star", "a moon"], {"scale": 2.0}))
    for other in (
        (IMAGES, torch.arange(40).flip(0), ["a star", "a moon"], {"scale": 2.0}),
        (IMAGES, torch.arange(40), ["a moon", "a star"], {"scale": 2.0}),
        (IMAGES, torch.arange(40), ["a star", "a moon"], {"scale": 2.5}),
        IMAGES,
    ):
        assert contents.difference(same, contents.fingerprint(other))


def test_arrays_are_known_by_what_they_hold():
    for array in (IMAGES.numpy(), np.arange(40), np.array(["a", "b"])):
        same = contents.fingerprint({"x": array, "n": np.float32(0.5)})
        assert (
            contents.difference(same, contents.fingerprint({"x": array, "n": np.float32(0.5)}))
            is None
        )
        for other in (
            {"x": array[::-1].copy(), "n": np.float32(0.5)},
            {"x": array, "n": np.float32(1)},
        ):
            assert contents.difference(same, contents.fingerprint(other))


class Labeled(Squares):
    def loss(self, batch):
        return super().loss(batch[0] if isinstance(batch, tuple) else batch)


def other_last_row(tensor):
    return torch.cat([tensor[:-1], tensor[:1]])


@pytest.mark.parametrize("change", [lambda x: x[:-1], other_last_row])
def test_all_rows_are_part_of_the_data_not_only_those_of_the_first_batch(change, tmp_path):
    labels = torch.arange(2000)
    pictures = torch.arange(2000).remainder(251).byte().view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    for made in (
        lambda rows, labels: shuffled(rows / 127.5 - 1, batch=1),
        lambda rows, labels: Pictures(rows, labels, ("a",)).batches(1),
    ):
        path, first = tmp_path / f"{made}", made(pictures, labels)
        about = [first, made(change(pictures), change(labels))]
        known = [contents.fingerprint((draws(torch.Generator()), draws.rows)) for draws in about]
        assert contents.difference(*known)
        model = layers()
        model.__class__ = Labeled
        stop(model, first, path)
        with pytest.raises(ValueError, match="other data"):
            go_on(model, about[1], path)
        assert go_on(model, made(pictures, labels), path).step == 4


class Pair(NamedTuple):
    pictures: torch.Tensor
    texts: list


@dataclass(frozen=True)
class Sample:
    pictures: torch.Tensor
    weight: float


def test_batches_of_any_shape_are_counted_and_moved():
    x = torch.zeros(3, 2)
    for batch in (x, (x, x), Pair(x, ["a"] * 3), {"x": x}, Sample(x, 0.5), [(x,), None]):
        assert contents.rows(batch) == 3
        there = contents.moved(batch, torch.device("meta"))
        assert type(there) is type(batch)
        assert [leaf.device.type for leaf in contents.leaves(there) if torch.is_tensor(leaf)] == [
            "meta" for leaf in contents.leaves(batch) if torch.is_tensor(leaf)
        ]
    assert contents.rows("no tensor") == 0


def test_numpys_numbers_are_used_as_pythons_own_and_go_into_the_file(tmp_path):
    path = tmp_path / "run.safetensors"
    mine = {"lr": np.float32(1e-3), "warmup": np.int32(2), "betas": (np.float64(0.9), 0.99)}
    model = ddpm()
    stop(model, shuffled(IMAGES, batch=np.int64(4)), path, steps=np.int64(4), **mine)
    theirs = {"lr": float(np.float32(1e-3)), "warmup": 2, "betas": (0.9, 0.99)}
    last = go_on(ddpm(), shuffled(IMAGES, batch=4), path, **theirs)
    assert last.step == 4 and type(last.step) is int


class Extra(nn.Identity):
    def get_extra_state(self):
        return {"a": 1}

    def set_extra_state(self, state):
        pass


def unsavable(kind: str) -> nn.Module:
    model = layers()
    if kind == "sparse":
        model.register_buffer("odd", torch.eye(3).to_sparse())
    else:
        model.append(Extra())
    return model


@pytest.mark.parametrize(
    ("kind", "words"), [("sparse", "sparse"), ("extra", "no tensor, but dict")]
)
def test_what_cannot_be_saved_is_found_before_the_first_step(kind, words, tmp_path, monkeypatch):
    monkeypatch.setattr(Squares, "loss", lambda *_: pytest.fail("a step was trained"))
    with pytest.raises(ValueError, match=words):
        next(train(unsavable(kind), shuffled(IMAGES, batch=4), 4, checkpoint=tmp_path / "run"))
    assert not list(tmp_path.iterdir())


def test_a_folder_that_takes_no_file_is_found_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(Squares, "loss", lambda *_: pytest.fail("a step was trained"))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="could not be written"):
        next(
            train(layers(), shuffled(IMAGES, batch=4), 4, checkpoint=tmp_path / "file" / "run.file")
        )


class Helped(nn.Module):
    """A frozen encoder, of two names, before a layer that learns; statistics; tied weights."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.BatchNorm1d(6))
        self.encoder.requires_grad_(False)
        self.layer, self.again = nn.Linear(6, 6), nn.Linear(6, 6)
        self.again.weight = self.layer.weight
        self.norm = nn.BatchNorm1d(6)
        self.register_buffer("big", torch.tensor([70_000]))

    def loss(self, batch):
        return self.norm(self.again(self.layer(self.encoder(batch)))).sum(1).square().mean()


def test_frozen_tied_and_counted_parts_go_on_bit_for_bit_and_are_stored_once(tmp_path):
    path, draw = tmp_path / "run.safetensors", shuffled(IMAGES, batch=4)
    whole = Helped()
    *_, expected = train(whole, draw, 4)
    stop(Helped(), draw, path)
    parts = Helped()
    last = go_on(parts, draw, path)
    for one, other in ((whole, parts), (expected.ema, last.ema)):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, other.state_dict()[name]), name
    assert parts.again.weight is parts.layer.weight
    tensors, _ = checkpoint.load(path)
    assert tensors["system.big"].item() == 70_000
    for first, second in (
        ("system.layer.weight", "system.again.weight"),
        ("system.encoder.1.weight", "ema.encoder.1.weight"),
        ("system.encoder.2.running_mean", "ema.encoder.2.running_mean"),
    ):
        assert tensors[first].data_ptr() == tensors[second].data_ptr()
    assert (
        tensors["system.norm.running_mean"].data_ptr()
        != tensors["ema.norm.running_mean"].data_ptr()
    )


def test_a_compiled_system_leaves_a_file_that_a_plain_one_goes_on_from(tmp_path):
    path, draw = tmp_path / "run.safetensors", shuffled(IMAGES, batch=4)
    compiled = ddpm()
    compiled.denoiser.net = torch.compile(compiled.denoiser.net, backend="eager")
    stop(compiled, draw, path)
    assert not [name for name in checkpoint.load(path)[0] if "_orig_mod" in name]
    plain, whole = ddpm(), ddpm()
    go_on(plain, draw, path)
    list(train(whole, draw, 4))
    assert torch.equal(weights(plain), weights(whole))
    again = ddpm()
    again.denoiser.net = torch.compile(again.denoiser.net, backend="eager")
    assert go_on(again, draw, path).step == 4
    assert torch.equal(weights(again), weights(whole))


def test_a_file_of_something_else_is_not_a_run(tmp_path):
    path = tmp_path / "model.safetensors"
    checkpoint.save(path, checkpoint.state(ddpm()), {"name": "ddpm-digits"})
    with pytest.raises(ValueError, match="does not say of which system and data"):
        go_on(ddpm(), shuffled(IMAGES, batch=4), path)
    with pytest.raises(FileNotFoundError, match="is a folder"):
        go_on(ddpm(), shuffled(IMAGES, batch=4), tmp_path)


@dataclass
class Odd:
    """What a configuration of somebody's own may hold."""

    dtype: torch.dtype = torch.float32
    file: Path = Path("x")
    sizes: dict = field(default_factory=lambda: {(1, 2): math.nan, "inf": math.inf})
    table: object = field(default_factory=lambda: np.arange(3))
    depth: int = 1


@pytest.mark.parametrize("names", [{"b", "a"}, np.array(["a", "b"]), str.lower, torch.arange(2)])
def test_a_configuration_may_hold_what_json_does_not_know(names, tmp_path):
    path, draw = tmp_path / "run", shuffled(IMAGES, batch=4)

    def odd(**changes):
        system = layers()
        system.config, system.names = Odd(**changes), names
        return system

    stop(odd(), draw, path)
    assert go_on(odd(), draw, path).step == 4
    with pytest.raises(ValueError, match="dtype is torch.float32, yours is torch.float64"):
        go_on(odd(dtype=torch.float64), draw, path)


@pytest.mark.parametrize(
    "change",
    [{"step": "x"}, {"step": None}, {"step": -5}, {"step": 10**9}, {"step": True}, {"loss": "x"}],
)
def test_a_run_that_says_impossible_things_is_damaged(change, tmp_path):
    path, draw = tmp_path / "run", shuffled(IMAGES, batch=4)
    stop(layers(), draw, path)
    tensors, about = checkpoint.load(path)
    checkpoint.save(path, tensors, about | change)
    with pytest.raises(ValueError, match="is damaged"):
        go_on(layers(), draw, path)


@pytest.mark.parametrize("change", [{"settings": []}, {"system": 3}, {"data": None}])
def test_a_run_that_does_not_say_what_it_is_is_none(change, tmp_path):
    path, draw = tmp_path / "run", shuffled(IMAGES, batch=4)
    stop(layers(), draw, path)
    tensors, about = checkpoint.load(path)
    checkpoint.save(path, tensors, about | {"run": about["run"] | change})
    with pytest.raises(ValueError, match="does not say"):
        go_on(layers(), draw, path)
