"""What holds for every check of every lesson."""

import importlib
import inspect
import sys

import pytest
import torch

from labkit.lab import checks
from labkit.lab.checks import random_inputs

CALLED = [name for name in checks.names() if not isinstance(getattr(checks, name).against, str)]
COMPUTED = sorted(set(checks.names()) - set(CALLED))


def calls(function, *args, **kwargs):
    """The code of everything that is called on the way."""
    seen = set()

    def watch(frame, event, argument):
        seen.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        function(*args, **kwargs)
    finally:
        sys.setprofile(before)
    return seen


@pytest.mark.parametrize("name", CALLED)
def test_what_a_verdict_says_it_compared_with_exists_and_was_called(name):
    check = getattr(checks, name)
    module, _, rest = check.compared_with.partition(".")
    while rest.split(".")[0].islower() and "." in rest:  # the modules of labkit are in lower case
        part, _, rest = rest.partition(".")
        module = f"{module}.{part}"
    found = importlib.import_module(module)
    for part in rest.split("."):
        found = inspect.getattr_static(found, part)
    found = getattr(found, "fget", found)
    assert inspect.unwrap(found) is inspect.unwrap(check.against)
    assert module.startswith("labkit.")
    assert not module.startswith("labkit.lab")

    own = found.__call__ if isinstance(found, type) else found
    case = check.draw_inputs(torch.Generator().manual_seed(1))
    assert inspect.unwrap(own).__code__ in calls(check.reference, *case)
    assert check.compared_with in check(check.reference).message


@pytest.mark.parametrize("name", COMPUTED)
def test_a_check_that_computes_by_itself_names_no_function(name):
    check = getattr(checks, name)
    assert "labkit" not in check.compared_with
    assert "." not in check.compared_with


def shapes(value):
    """Every size that a lazy answer could hold fixed."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, (list, tuple)):
        return tuple(map(shapes, value))
    return None


@pytest.mark.parametrize("name", checks.names())
def test_no_size_is_the_same_in_all_rounds(name):
    check = getattr(checks, name)
    for seed in range(20):
        cases = [
            check.draw_inputs(torch.Generator().manual_seed(100 * seed + i))
            for i in range(check.rounds)
        ]
        for own in zip(*cases):
            sized = [shapes(value) for value in own]
            if isinstance(own[0], (torch.Tensor, list)) and any(sized):
                assert len(set(sized)) > 1


@pytest.mark.parametrize("name", checks.names())
def test_no_number_is_the_same_in_all_rounds(name):
    check = getattr(checks, name)
    cases = [check.draw_inputs(torch.Generator().manual_seed(i)) for i in range(check.rounds)]
    for own in zip(*cases):
        if isinstance(own[0], (int, float)):
            assert len(set(own)) > 1


def test_sizes_are_all_the_same_and_all_different_in_turn():
    for seed in range(10):
        drawn = random_inputs.sizes(torch.Generator().manual_seed(seed), 4)
        assert len(set(drawn)) == (1 if seed % 2 else 4)


def test_numbers_that_are_given_take_the_place_of_new_ones():
    z = torch.arange(3.0)
    with random_inputs.Given(randn=z):
        assert torch.randn(3) is z
        assert torch.rand(3) is not z
    assert torch.randn(3) is not z
