"""Whatever a learner's function does, its check ends with one sentence."""

import inspect
import string
import sys
import textwrap
import time
import traceback

import numpy as np
import pytest
import torch

from labkit.lab import checks
from labkit.lab.checks import calling, compare, framework, sentences
from labkit.lab.checks.framework import Check

halved = Check(
    "halved",
    reference=lambda x, weights: (x * weights).sum() / 2,
    draw_inputs=lambda g: (
        torch.randn(3, generator=g),
        torch.randn(3, generator=g).requires_grad_(),
    ),
)
turned = Check(
    "turned",
    reference=lambda times, table: [table[t].item() for t in reversed(times)],
    draw_inputs=lambda g: ([3, 2, 0], torch.rand(4, generator=g)),
)


def message(function, check=halved):
    result = check(function)
    assert not result.passed
    assert "\n" not in result.message
    return result.message


# Arguments.


def test_a_list_that_is_changed_in_place_is_refused_by_its_name():
    def reversing(times, table):
        times.reverse()
        return [table[t].item() for t in times]

    assert "'times' in place" in message(reversing, turned)


def test_a_field_that_is_changed_in_place_is_refused_by_its_name():
    def spoiling(schedule, pred, x, t, s, generator, eta):
        pred.x0.clamp_(-0.1, 0.1)
        return checks.ddim_step.reference(schedule, pred, x, t, s, generator, eta)

    assert "'pred' in place" in message(spoiling, checks.ddim_step)


def test_a_schedule_that_is_changed_in_place_is_refused_by_its_name():
    def spoiling(schedule, x0, x, t, s, gradient, scale):
        schedule.alpha_bar[0] = 0.5
        return x

    assert "'schedule' in place" in message(spoiling, checks.guided_mean)


def test_noise_from_elsewhere_than_the_given_generator_is_named():
    def careless(x, beta, generator):
        return (1 - beta) ** 0.5 * x + beta**0.5 * torch.randn_like(x)

    assert checks.noising_step(careless).mistake == sentences.OWN_GENERATOR


def test_the_same_noise_at_every_call_is_named():
    def careless(x, beta, generator):
        generator = torch.Generator().manual_seed(0)
        return (1 - beta) ** 0.5 * x + beta**0.5 * torch.randn(x.shape, generator=generator)

    assert checks.noising_step(careless).mistake == sentences.SAME_NOISE


def test_no_noise_at_all_is_told_from_the_same_noise():
    def careless(x, beta, generator):
        return (1 - beta) * x  # the root is missing too, so no known mistake is the same

    assert checks.noising_step(careless).mistake == sentences.NO_NOISE


def test_a_wrong_whole_number_is_given_beside_the_right_one():
    assert compare.value_problem([3, 4], [3, 5], 0) == "Value 2 is 5, not 4."
    assert compare.value_problem(4, torch.tensor(1234567), 0) == "Your number is 1234567, not 4."

    def one_off(T, n):
        return [*checks.trailing_times.reference(T, n)[:-1], 1]

    assert "is 1, not 0." in checks.trailing_times(one_off).message


def test_noise_of_one_s_own_in_place_of_given_noise_is_named():
    def careless(x, eps, t, s, alpha_bar, z):
        z = torch.randn_like(x)
        return checks.ancestral_step.reference(x, eps, t, s, alpha_bar, z)

    assert checks.ancestral_step(careless).mistake == sentences.OWN_NOISE


# Poor numbers.


def test_float32_inside_a_computation_in_float64_gets_the_same_reason_each_time():
    def short(S, P, n):
        return checks.after_n_steps.reference(S.float(), P.float(), n).float().double()

    def table(beta):
        return torch.cat([torch.ones(1), (1 - beta).float().cumprod(0)]).double()

    assert {checks.after_n_steps(short).mistake for _ in range(20)} == {sentences.FEW_DIGITS}
    assert {checks.alpha_bar_table(table).mistake for _ in range(20)} == {sentences.FEW_DIGITS}


def test_an_overflow_that_no_check_knows_is_told_from_a_wrong_formula():
    softened = Check(
        "softened",
        reference=lambda x: torch.nn.functional.softplus(x),
        draw_inputs=lambda g: (torch.cat([torch.randn(3, generator=g), torch.tensor([100.0])]),),
    )
    assert softened(lambda x: (1 + x.exp()).log()).mistake == sentences.OVERFLOW
    assert softened(lambda x: x.exp().log()).status == "failed"


# Ends.


@pytest.mark.parametrize("leave", [exit, quit, sys.exit, lambda: exec("raise SystemExit(1)")])
def test_leaving_python_gets_a_sentence(leave):
    def leaving(x, weights):
        leave()

    assert "calls exit()" in message(leaving)


def test_exit_by_name_does_not_reach_the_notebook_s_own():
    asked = []
    names = {"exit": lambda: asked.append("exit"), "quit": lambda: asked.append("quit")}
    exec("def leaving(x, weights):\n    exit()", names)
    assert "calls exit()" in message(names["leaving"])
    assert not asked
    names["exit"]()
    assert asked == ["exit"]


def test_the_learner_s_own_interrupt_passes_through():
    def interrupted(x, weights):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        halved(interrupted)


def test_a_function_that_calls_itself_without_end_gets_a_sentence():
    def endless(x, weights):
        return endless(x, weights)

    assert "calls itself without end" in message(endless)


def test_a_loop_that_never_ends_is_stopped_and_shown(monkeypatch):
    monkeypatch.setattr(framework, "LIMIT", 0.2)

    def endless(x, weights):
        stop = time.monotonic() + 20  # so that this test ends in any case
        while time.monotonic() < stop:
            try:
                x = x + 1
            except Exception:
                continue

    lines = [line.strip() for line in inspect.getsource(endless).splitlines()]
    started = time.monotonic()
    said = message(endless)
    assert time.monotonic() - started < 10
    assert "takes too long" in said
    assert any(said.endswith(f"in the line: {line}") for line in lines)


def test_a_walk_until_it_settles_is_told_that_a_periodic_chain_does_not(monkeypatch):
    monkeypatch.setattr(framework, "LIMIT", 1.0)

    def until_it_settles(P):
        row = torch.eye(len(P), dtype=P.dtype)[0]
        stop = time.monotonic() + 20
        while time.monotonic() < stop:
            row, before = row @ P, row
            if (row - before).abs().max() < 1e-12:
                return row

    assert (
        "periodic chain never settles" in checks.stationary_distribution(until_it_settles).mistake
    )


def test_a_debugger_keeps_its_own_trace():
    def watch(frame, event, argument):
        return None

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        with calling.time_limit(10):
            assert sys.gettrace() is watch
    finally:
        sys.settrace(before)


def test_what_a_library_loads_at_its_first_use_is_not_the_function_s_time():
    names = [f"loaded_at_first_use_{number}" for number in range(30)]

    def first_use(x):
        if names[0] not in sys.modules:
            sys.modules.update(dict.fromkeys(names, sys))
            time.sleep(0.3)
        return x + 1

    try:
        outcome = calling.attempt(first_use, (torch.ones(1),), limit=0.2)
        assert outcome.error is None and outcome.value == 2
    finally:
        for name in names:
            sys.modules.pop(name, None)


def test_a_library_is_never_stopped_in_the_middle():
    def slow(x):
        for number in range(10**6):
            textwrap.fill("many words " * 300, width=10 + number % 60)
        return x

    outcome = calling.attempt(slow, (torch.ones(1),), limit=0.3)
    assert isinstance(outcome.error, calling.TooSlow)
    frames = list(traceback.walk_tb(outcome.error.__traceback__))
    assert not any(frame.f_code.co_filename == textwrap.__file__ for frame, _ in frames)


def test_what_a_library_calls_of_a_string_is_not_stopped_either():
    names = {}
    exec("class Itself(dict):\n    def __getitem__(self, key):\n        return key", names)

    def slow(x):
        text = string.Template("$a " * 300_000).substitute(names["Itself"]())
        return text

    outcome = calling.attempt(slow, (torch.ones(1),), limit=0.05)
    assert isinstance(outcome.error, calling.TooSlow)
    frames = list(traceback.walk_tb(outcome.error.__traceback__))
    assert not any(frame.f_code.co_filename == "<string>" for frame, _ in frames)


class Silent(Exception):
    def __str__(self):
        raise ValueError("no words")


@pytest.mark.parametrize(
    "error",
    [ValueError("first\nsecond"), KeyError("a"), Silent(), MemoryError(), OSError("x" * 999)],
)
def test_any_error_gets_one_short_sentence(error):
    def failing(x, weights):
        raise error

    said = message(failing)
    assert type(error).__name__ in said
    assert len(said) < 300


class Broken:
    def __eq__(self, other):
        raise ValueError("never equal")

    def __array__(self, *args, **kwargs):
        raise ValueError("no array")


@pytest.mark.parametrize(
    "value",
    [
        "text",
        b"bytes",
        [],
        {},
        object(),
        Broken(),
        [Broken()],
        1j,
        np.array(["text"]),
        torch.zeros(2, device="meta"),
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(2, dtype=torch.complex64),
        torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]),
        iter([1]),
        int,
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("name", ["clip_loss", "jump", "trailing_times", "guide_then_clip"])
def test_any_value_gets_one_sentence(name, value):
    message(lambda *args: value, getattr(checks, name))
