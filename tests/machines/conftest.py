"""The machines on which the tests of this folder run: two that are pretended, and a real GPU."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from tests.machines.pretended import Machine, pretended


class Place(NamedTuple):
    """Where a test's system lies."""

    device: str
    machine: Machine | None = None  # None: a real one


@contextmanager
def on(machine: str) -> Iterator[Place]:
    if machine != "gpu":
        with pretended(machine) as made:
            yield Place(machine, made)
    elif torch.cuda.is_available():
        yield Place("cuda")
    else:
        pytest.skip("there is no GPU here")


@pytest.fixture(params=["mps", "cuda", "gpu"])
def machine_name(request) -> str:
    return request.param


@pytest.fixture
def place(machine_name) -> Iterator[Place]:
    with on(machine_name) as place:
        yield place


@pytest.fixture
def alike(machine_name) -> Callable:
    """Asserts that a piece of work, called with a device, gives the same numbers there as on the
    CPU, in tensors that lie there.

    rounded: a CPU computes some of it in float64, "mps" in float32.
    """

    def check(work: Callable, rounded: bool = False) -> None:
        close: dict = {}  # as torch rounds
        if machine_name == "gpu" or (rounded and machine_name == "mps"):
            close = {"rtol": 1e-3, "atol": 1e-5}
        with on(machine_name) as place:
            got = tree_leaves(work(place.device))
            assert all(x.device.type == place.device for x in got if isinstance(x, Tensor))
            got = [x.cpu() if isinstance(x, Tensor) else x for x in got]
        expected = tree_leaves(work("cpu"))
        assert len(got) == len(expected) > 0
        for ours, theirs in zip(got, expected):
            if theirs is None or isinstance(theirs, str):
                assert ours == theirs
            else:
                torch.testing.assert_close(ours, theirs, **close, equal_nan=True)

    return check
