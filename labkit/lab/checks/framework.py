"""The checks of the exercises: compare a learner's function with labkit's own.

    posterior_mean = Check(
        "posterior_mean",                       # the function that the learner writes
        reference=lambda x0, x, t: ...,         # labkit's own, with the learner's arguments
        draw_inputs=lambda generator: (torch.randn(4, 2, generator=generator), ...),
        tolerance=1e-5,
        mistakes={"You took β_t where √β_t belongs.": lambda x0, x, t: ...},
        against=NoiseSchedule.posterior,        # what the reference calls
    )
    posterior_mean(my_function)                 # displays the verdict; truthy when passed

The inputs are fresh at every call, and the same again in a kernel that is restarted and seeded.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import torch

from labkit.lab import progress
from labkit.lab.checks import calling, compare, draws, gradients, sentences
from labkit.lab.checks.calling import LIMIT, Outcome, TooSlow
from labkit.lab.checks.result import Result


@dataclass(frozen=True)
class Check:
    """A check of the function `name`, called as `check(function)`, which gives a `Result`.

    name: the function that the learner writes.
    reference: labkit's own, with the same arguments and results.
    draw_inputs: `draw_inputs(generator)` gives fresh arguments, a tuple (by position) or a dict (by
        name), of other sizes each time. A torch.Generator among them reaches everyone in the same
        state. Where tensors, or the weights of modules, require a gradient and the reference's
        result carries one, the learner's must carry the same.
    tolerance: largest |yours - labkit's| allowed, in units of 1 + |labkit's|.
    mistakes: a sentence for each known mistake -> the function with that mistake, or several that
        are wrong in the same way.
    symptoms: a sentence for each fault that shows in the result itself -> `shows(right, yours)`.
    rounds: how many inputs are drawn.
    samples: for a function that draws at random, how many calls (at least 200), shared out among
        the inputs, to compare by mean and standard deviation where the numbers themselves differ;
        on inputs that leave nothing to chance, the numbers must agree. 0 compares the numbers only.
    against: labkit's function, or class, that the reference calls, and the verdict names; or, where
        labkit has none, the rule that the check computes by itself, in words.
    """

    name: str
    reference: Callable
    draw_inputs: Callable
    tolerance: float = 1e-5
    mistakes: Mapping[str, Callable | Sequence[Callable]] = field(default_factory=dict)
    symptoms: Mapping[str, Callable] = field(default_factory=dict)
    rounds: int = 5
    samples: int = 0
    against: Callable | str = "the right answer"
    _calls: itertools.count = field(default_factory=itertools.count, repr=False, compare=False)

    def __call__(self, function: Callable) -> Result:
        if torch.get_default_device().type == "cpu":
            result = self._verdict(function)
        else:
            with torch.device("cpu"):  # the lessons' own, whatever else runs in the notebook
                result = self._verdict(function)
        if result.passed:
            progress.passed(self.name, function)
        return result

    def _verdict(self, function: Callable) -> Result:
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
        problem = sentences.of_signature(function, cases[0], self.reference)
        if problem:
            return self._result("failed", problem)
        got, limit = [], LIMIT
        for case in cases:
            got.append(self._attempt(function, case, limit))
            for verdict in (self._unfinished(function, got[-1]), self._spoiled(got[-1])):
                if verdict is not None:
                    return verdict
            if isinstance(got[-1].error, TooSlow):  # less for each, but enough for a case that ends
                limit = max(limit / 5, LIMIT / 25)
        return self._judge(function, cases, got)

    def _attempt(self, function: Callable, case, limit: float | None = None, seed: int = 0):
        names = sentences.parameters(self.reference)
        return calling.attempt(function, case, names, limit, seed)

    def _unfinished(self, function: Callable, outcome: Outcome) -> Result | None:
        """The verdict on a stub, and on a function that forgets what it found."""
        error, value = outcome.error, outcome.value
        if isinstance(error, NotImplementedError) or "ellipsis" in sentences.text_of(error).lower():
            return self._todo()
        if error is not None or not compare.is_unfinished(value):
            return None
        if sentences.is_stub(function):
            return self._todo()
        if sentences.forgets_its_gradient(function, value):
            return self._named(sentences.EMPTY_GRAD)
        return self._result(
            "todo",
            f"Your function returns {compare.describe(value)}; end it with `return` and the "
            "result.",
        )

    def _spoiled(self, outcome: Outcome) -> Result | None:
        """The verdict on a function that does something to its arguments."""
        if outcome.changed:
            return self._result(
                "failed",
                f"Your function changes its argument {outcome.changed!r} in place, so the "
                "caller's tensor is changed; compute with a new tensor or list instead "
                "(x = x + 1, not x += 1).",
            )
        return None

    def _judge(self, function: Callable, cases: list, got: list[Outcome]) -> Result:
        """The verdict on the outcomes of all cases."""
        expected = [self._attempt(self.reference, case) for case in cases]
        broken = next((outcome.error for outcome in got if outcome.error is not None), None)
        pairs = [(a.value, b.value) for a, b in zip(expected, got, strict=True)]
        problem = None
        if broken is not None:
            problem = sentences.of_error(broken, function)
        problem = problem or compare.first(compare.shape_problem(a, b) for a, b in pairs)
        gaps = [] if problem else [compare.difference(a, b) for a, b in pairs]
        worst = max(gaps, default=float("inf"))
        if worst <= self.tolerance:
            return self._judge_right(cases, expected, got, worst)
        for sentence, wrong in self._known():
            if self._agrees(wrong, cases, got):
                return self._named(sentence, worst)
        if self.samples and not problem:
            return self._judge_samples(function, cases, pairs, worst)
        if problem:
            return self._result("failed", problem)
        if any(self._draws_elsewhere(function, *each) for each in zip(cases, got, strict=True)):
            return self._named(sentences.OWN_NOISE, worst)
        problem = compare.first(compare.kind_problem(a, b) for a, b in pairs)
        if problem:
            return self._result("failed", problem)
        for sentence, shows in self.symptoms.items():
            if any(shows(a, b) for a, b in pairs):
                return self._named(sentence, worst)
        poor = self._poor_numbers(function, cases, pairs, worst)
        if poor:
            return self._named(poor, worst)
        index = max(range(len(gaps)), key=gaps.__getitem__)
        message = compare.value_problem(*pairs[index], self.tolerance)
        return self._result("failed", message, difference=worst)

    def _judge_right(self, cases, expected: list[Outcome], got: list[Outcome], worst) -> Result:
        """The verdict on right numbers: of the right kind, with a gradient, leaving nothing."""
        pairs = list(zip(expected, got, strict=True))
        problem = compare.first(compare.kind_problem(a.value, b.value) for a, b in pairs)
        if problem:
            return self._result("failed", problem)
        littered = next((outcome.littered for outcome in got if outcome.littered), None)
        problem = sentences.of_litter(littered) if littered else None
        problem = problem or self._gradient_problem(cases, expected, got)
        recorded = next((outcome.recorded for outcome in got if outcome.recorded), None)
        if recorded and not problem:
            problem = sentences.of_recording(recorded)
        if problem:
            return self._named(problem, worst)
        return self._result("passed", self._praise(worst), difference=worst)

    def _gradient_problem(self, cases: list, expected: list[Outcome], got: list[Outcome]):
        """What is wrong with the gradient of right numbers: a known mistake, or in general."""
        pairs = zip(expected, got, strict=True)
        problem = compare.first(gradients.problem(a, b) for a, b in pairs)
        if problem in (None, gradients.NO_GRADIENT, gradients.BACKWARD):
            return problem
        for sentence, wrong in self._known():
            if self._agrees(wrong, cases, got):
                theirs = [self._attempt(wrong, case) for case in cases]
                if all(gradients.agree(a, b) for a, b in zip(theirs, got, strict=True)):
                    return sentence
        return problem

    def _judge_samples(self, function: Callable, cases: list, pairs: list, worst: float) -> Result:
        """The verdict by what is drawn; where nothing is drawn, the numbers must be the same."""
        noisy = [draws.is_random(self.reference, case) for case in cases]
        drawn = [case for case, random in zip(cases, noisy) if random]
        still = [i for i, random in enumerate(noisy) if not random]
        count = -(-self.samples // max(1, len(drawn)))
        try:
            mine = draws.sample(function, drawn, count, 1, LIMIT)
        except (Exception, SystemExit, TooSlow) as error:  # it may fail for some of its noise only
            return self._result("failed", sentences.of_error(error, function))
        problem = draws.problem(draws.sample(self.reference, drawn, count, 2), mine)
        gap = max(still, key=lambda i: compare.difference(*pairs[i]), default=None)
        if not problem and gap is not None and compare.difference(*pairs[gap]) > self.tolerance:
            problem = compare.value_problem(*pairs[gap], self.tolerance)
        problem = problem or compare.first(compare.kind_problem(a, b) for a, b in pairs)
        if not problem and any(draws.ignores_generator(function, case) for case in drawn):
            return self._named(sentences.OWN_GENERATOR)
        if not problem:
            return self._result(
                "passed",
                f"Over {self.samples} calls, mean and standard deviation agree with "
                f"{self.compared_with} within the noise of sampling.",
            )
        near = {}  # known mistake -> how far what it draws lies from what was drawn
        for sentence, wrong in self._known():
            outcomes = [Outcome(pairs[i][1]) for i in still]
            if not still or self._agrees(wrong, [cases[i] for i in still], outcomes):
                theirs = draws.sample(wrong, drawn, count, 3)
                if not draws.problem(theirs, mine):
                    near[sentence] = draws.distance(theirs, mine)
        if near:
            return self._named(min(near, key=near.get), worst)
        if problem == sentences.SAME_NOISE:
            draws_any = any(draws.uses_noise(function, case) for case in drawn)
            return self._named(problem if draws_any else sentences.NO_NOISE, worst)
        return self._result("failed", problem, difference=worst)

    def _known(self) -> list[tuple[str, Callable]]:
        """Every known mistake, with its sentence."""
        return [
            (sentence, wrong)
            for sentence, ways in self.mistakes.items()
            for wrong in ([ways] if callable(ways) else ways)
        ]

    def _agrees(self, wrong: Callable, cases: list, got: list[Outcome]) -> bool:
        """Whether a mistake comes to the same: the same numbers, and an end in the same cases."""
        met = False
        for case, mine in zip(cases, got, strict=True):
            theirs = self._attempt(wrong, case)
            if type(theirs.error) is not type(mine.error):
                return False
            if mine.error is None:
                a, b = theirs.value, mine.value
                if compare.shape_problem(a, b) or compare.difference(a, b) > self.tolerance:
                    return False
                met = True
        return met

    def _draws_elsewhere(self, function: Callable, case, mine: Outcome) -> bool:
        """Whether the result changes with the global noise, where all numbers were given."""
        if mine.error is not None:
            return False
        again = self._attempt(function, case, LIMIT, seed=1)
        if again.error is not None or compare.shape_problem(mine.value, again.value):
            return False
        return compare.difference(mine.value, again.value) > 0

    def _poor_numbers(self, function: Callable, cases: list, pairs: list, worst: float):
        """The numerical reason for which a right answer is refused, in a sentence, or None."""
        double = all(compare.is_double(right) for right, _ in pairs)
        # 0 has no first digits that could be right
        digits = max(compare.difference(a, b, zeros=False) for a, b in pairs) > self.tolerance
        if worst <= compare.SINGLE and double and digits:
            return sentences.FEW_DIGITS
        exact = [compare.in_double(case) for case in cases]
        right = [self._attempt(self.reference, case) for case in exact]
        mine = [self._attempt(function, case, LIMIT) for case in exact]
        for a, b in zip(right, mine, strict=True):
            if a.error or b.error or compare.shape_problem(a.value, b.value):
                return None
            if compare.difference(a.value, b.value) > self.tolerance:
                return None
        return sentences.OVERFLOW

    @property
    def compared_with(self) -> str:
        """What the result is compared with, as the learner finds it."""
        if isinstance(self.against, str):
            return self.against
        return f"{self.against.__module__}.{self.against.__qualname__}"

    def _praise(self, worst: float) -> str:
        found = f"largest difference {worst:.0e}, allowed {self.tolerance:.0e}"
        return f"Compared with {self.compared_with} on {self.rounds} random inputs: " + (
            f"{found}." if worst else "no difference at all."
        )

    def _todo(self) -> Result:
        arguments = ", ".join(sentences.parameters(self.reference))
        return self._result("todo", f"Write {self.name}({arguments}) above, then run this again.")

    def _named(self, sentence: str, worst: float | None = None) -> Result:
        """The verdict on a mistake that is known."""
        return self._result("mistake", sentence, mistake=sentence, difference=worst)

    def _result(self, status: str, message: str, **more) -> Result:
        return Result(self.name, status, message, **more)
