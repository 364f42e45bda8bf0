"""The checks of the exercises: compare a learner's function with labkit's own.

    posterior_mean = Check(
        "posterior_mean",                       # the function that the learner writes
        reference=lambda x0, x, t: ...,         # labkit's own
        draw_inputs=lambda generator: (torch.randn(4, 2, generator=generator), ...),
        tolerance=1e-5,
        mistakes={"You took β_t where √β_t belongs.": lambda x0, x, t: ...},
    )
    posterior_mean(my_function)                 # displays the verdict; truthy when passed

The inputs are fresh at every call, and the same again in a kernel that is restarted and seeded.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from html import escape
from zlib import crc32

import torch

from labkit.lab.checks import calling, compare, draws

_MARKS = {
    "passed": ("Passed", "#009E73"),
    "todo": ("Still to do", "#0072B2"),
    "mistake": ("Nearly", "#E69F00"),
    "failed": ("Not yet", "#D55E00"),
}


@dataclass(frozen=True)
class Result:
    """The verdict on a function: truthy if it passed; a notebook displays it as a colored box.

    status: "passed", "todo" (the stub, untouched), "mistake" (a known one, see `mistake`) or
    "failed". difference: the largest one found, where numbers were compared.
    """

    name: str
    status: str
    message: str
    mistake: str | None = None
    difference: float | None = None

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    def __bool__(self) -> bool:
        return self.passed

    def require(self) -> "Result":
        """Itself if it passed; otherwise an AssertionError with the message."""
        if not self.passed:
            raise AssertionError(f"{self.name}: {self.message}")
        return self

    def __repr__(self) -> str:
        return f"{_MARKS[self.status][0]}: {self.name}. {self.message}"

    def _repr_html_(self) -> str:
        word, color = _MARKS[self.status]
        return (
            f'<div role="status" class="lab-check" style="border-left: 5px solid {color}; '
            'padding: 6px 12px; margin: 4px 0; max-width: 46em; line-height: 1.45">'
            f"<strong>{word}: <code>{escape(self.name)}</code></strong><br>"
            f"{escape(self.message)}</div>"
        )


@dataclass(frozen=True)
class Check:
    """A check of the function `name`, called as `check(function)`, which gives a `Result`.

    name: the function that the learner writes.
    reference: labkit's own, with the same arguments and results.
    draw_inputs: `draw_inputs(generator)` gives fresh arguments, a tuple (by position) or a dict (by
        name). A torch.Generator among them reaches everyone in the same state.
    tolerance: largest |yours - labkit's| allowed, in units of 1 + |labkit's|.
    mistakes: a sentence for each known mistake -> the function with that mistake.
    rounds: how many inputs are drawn.
    law: for a function that draws at random, how many calls (at least 200), shared out among the
        inputs, to compare by mean and standard deviation where the numbers themselves differ; on
        inputs that leave nothing to chance, the numbers must agree. 0 compares the numbers only.
    against: what is compared with, as the learner knows it, e.g. "labkit.sampler.ddim".
    """

    name: str
    reference: Callable
    draw_inputs: Callable
    tolerance: float = 1e-5
    mistakes: Mapping[str, Callable] = field(default_factory=dict)
    rounds: int = 5
    law: int = 0
    against: str = "labkit's own"
    _calls: itertools.count = field(default_factory=itertools.count, repr=False, compare=False)

    def __call__(self, function: Callable) -> Result:
        if not callable(function):
            return self._result(
                "todo" if function is None or function is ... else "failed",
                f"The check was given {compare.describe(function)}; give it the function itself, "
                f"without calling it: checks.{self.name}({self.name}).",
            )
        seed = crc32(f"{torch.initial_seed()} {self.name} {next(self._calls)}".encode())
        cases = [
            self.draw_inputs(torch.Generator().manual_seed(seed + i)) for i in range(self.rounds)
        ]
        expected = [calling.call(self.reference, case) for case in cases]
        got = []
        for case in cases:
            outcome = self._try(function, case)
            if isinstance(outcome, Result):
                return outcome
            got.append(outcome)
        return self._compare(function, cases, expected, got)

    def _try(self, function: Callable, case):
        """What the function gives for one case, or the verdict if it gives nothing to compare."""
        problem = calling.cannot_call(function, case, self.reference)
        if problem:
            return self._result("failed", problem)
        try:
            value, changed = calling.watched_call(function, case)
        except NotImplementedError:
            return self._todo()
        except Exception as error:  # whatever the learner's code does, it gets one sentence
            if "ellipsis" in str(error).lower():
                return self._todo()
            return self._result("failed", calling.sentence_of(error, function))
        if compare.is_unfinished(value):
            return self._todo() if calling.is_stub(function) else self._nothing(value)
        if changed:
            return self._result(
                "failed",
                f"Your function changes its argument {changed!r} in place, which surprises "
                "whoever called it; compute with a new tensor instead (x = x + 1, not x += 1).",
            )
        return value

    def _compare(self, function, cases, expected, got) -> Result:
        pairs = list(zip(expected, got, strict=True))
        problem = compare.first(compare.shape_problem(a, b) for a, b in pairs)
        differences = [] if problem else [compare.difference(a, b) for a, b in pairs]
        worst = max(differences, default=float("inf"))
        if worst <= self.tolerance:
            problem = compare.first(compare.kind_problem(a, b) for a, b in pairs)
            if problem:
                return self._result("failed", problem)
            return self._result("passed", self._praise(worst), difference=worst)
        for sentence, mistake in self.mistakes.items():
            if self._agrees(mistake, cases, got):
                return self._result("mistake", sentence, mistake=sentence, difference=worst)
        if self.law and not problem:
            return self._compare_law(function, cases, expected, got, worst)
        problem = problem or compare.first(compare.kind_problem(a, b) for a, b in pairs)
        index = max(range(len(differences)), key=differences.__getitem__, default=0)
        message = problem or compare.value_problem(*pairs[index], self.tolerance)
        return self._result("failed", message, difference=None if problem else worst)

    def _compare_law(self, function, cases, expected, got, worst: float) -> Result:
        """The verdict by what is drawn; where nothing is drawn, the numbers must be the same."""
        noisy = [draws.is_random(self.reference, case) for case in cases]
        drawn = [case for case, random in zip(cases, noisy) if random]
        still = [i for i, random in enumerate(noisy) if not random]
        count = -(-self.law // max(1, len(drawn)))
        try:
            mine = draws.sample(function, drawn, count, 1)
        except Exception as error:  # it may fail for some of its noise only
            return self._result("failed", calling.sentence_of(error, function))
        problem = draws.problem(draws.sample(self.reference, drawn, count, 2), mine)
        gaps = {i: compare.difference(expected[i], got[i]) for i in still}
        gap = max(gaps, key=gaps.get, default=None)
        if not problem and gap is not None and gaps[gap] > self.tolerance:
            problem = compare.value_problem(expected[gap], got[gap], self.tolerance)
        problem = problem or compare.first(map(compare.kind_problem, expected, got))
        if not problem:
            return self._result(
                "passed",
                f"Over {self.law} calls, mean and standard deviation agree with {self.against} "
                "within the noise of sampling.",
            )
        near = {}  # known mistake -> how far what it draws lies from what was drawn
        for sentence, mistake in self.mistakes.items():
            if self._agrees(mistake, [cases[i] for i in still], [got[i] for i in still]):
                theirs = draws.sample(mistake, drawn, count, 3)
                if not draws.problem(theirs, mine):
                    near[sentence] = draws.distance(theirs, mine)
        if near:
            sentence = min(near, key=near.get)
            return self._result("mistake", sentence, mistake=sentence, difference=worst)
        return self._result("failed", problem, difference=worst)

    def _agrees(self, mistake: Callable, cases, got) -> bool:
        try:
            values = [calling.call(mistake, case) for case in cases]
        except Exception:  # a mistake that cannot run on these inputs is not the learner's
            return False
        return all(
            not compare.shape_problem(value, mine)
            and compare.difference(value, mine) <= self.tolerance
            for value, mine in zip(values, got, strict=True)
        )

    def _praise(self, worst: float) -> str:
        found = f"largest difference {worst:.0e}, allowed {self.tolerance:.0e}"
        return f"Compared with {self.against} on {self.rounds} random inputs: " + (
            f"{found}." if worst else "no difference at all."
        )

    def _todo(self) -> Result:
        arguments = ", ".join(calling.parameters(self.reference))
        return self._result("todo", f"Write {self.name}({arguments}) above, then run this again.")

    def _nothing(self, value) -> Result:
        return self._result(
            "todo",
            f"Your function returns {compare.describe(value)}; "
            "end it with `return` and the result.",
        )

    def _result(self, status: str, message: str, **more) -> Result:
        return Result(self.name, status, message, **more)
