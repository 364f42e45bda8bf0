"""The exercises of a lesson, taken from its notebook: text, stub, hint and solution of each.

A lesson has for each exercise a stub `def name(...)` that holds nothing but a docstring, and below
it a folded cell with a function that solves it and proves it: `checks.name(solved).require()`.
"""

import ast
import builtins
import json
import re
import symtable
from dataclasses import dataclass

from labkit.inputs import nearest
from labkit.lab import course

SOLVED = re.compile(r"^checks\.(\w+)\((\w+)\)\.require\(\)", re.M)
HEADING = re.compile(r"^#{2,4} ", re.M)
OFTEN = re.compile("(import|from) (torch|math)")  # what a right answer may well need
HINT = re.compile(r"<details><summary>Hint.*?</details>", re.S)


@dataclass(frozen=True)
class Exercise:
    """One exercise.

    name: of the function to write, and of its check. text: Markdown. stub: the line `def ...` and
    its docstring. solution: the lines below it, indented. hint: Markdown, may be empty. points: 1
    to 3, the dots of its difficulty.
    """

    name: str
    text: str
    stub: str
    solution: str
    hint: str
    points: int


@dataclass(frozen=True)
class Exercises:
    """All exercises of a lesson: its file's name, its title, and the imports that they need."""

    lesson: str
    title: str
    setup: str
    exercises: tuple[Exercise, ...]


def read(lesson: str) -> Exercises:
    """The exercises of a lesson, given its number or name, such as "01" or "01_markov_chains".

    Raises ValueError for a lesson that does not exist, or an exercise that cannot be taken out.
    """
    paths = {path.stem: path for path in course.originals()}
    found = [name for name in paths if lesson in (name, name[:2])]
    if not found:
        raise nearest(lesson, paths, "lesson")
    cells = [
        (cell["cell_type"], "".join(cell["source"]))
        for cell in json.loads(paths[found[0]].read_text("utf-8"))["cells"]
    ]
    solved = {}  # name of the exercise -> (position of its solution, the function there)
    for position, (kind, source) in enumerate(cells):
        if kind == "code" and (match := SOLVED.search(source)):
            solved[match[1]] = position, match[2]
    names = {function: name for name, (_, function) in solved.items()}
    exercises = tuple(_exercise(cells, name, *solved[name], names) for name in solved)
    title = cells[0][1].splitlines()[0].removeprefix("# ").split(":")[0]
    return Exercises(found[0], title, _setup(cells, exercises), exercises)


def _exercise(cells: list, name: str, end: int, function: str, names: dict) -> Exercise:
    """The exercise whose solution is in the cell `end`; `names`: solutions to exercises."""
    code = [i for i, (kind, _) in enumerate(cells[:end]) if kind == "code"]
    try:
        start = next(i for i in reversed(code) if _function(cells[i][1], name))
        stub, solution = _function(cells[start][1], name), _function(cells[end][1], function)
        if ast.unparse(stub.args) != ast.unparse(solution.args):
            raise ValueError(f"its stub and its solution take other arguments in {name}")
    except (StopIteration, AttributeError):
        raise ValueError(f"the exercise {name} has no stub, or no solution") from None
    before = max((i for i in code if i < start), default=-1)
    text = "\n\n".join(source for kind, source in cells[before + 1 : start])
    text = text[[0, *(match.start() for match in HEADING.finditer(text))][-1] :]
    between = "\n\n".join(source for kind, source in cells[start:end] if kind == "markdown")
    hint = HINT.search(between)
    body = _lines(cells[end][1], solution.body[0].lineno, solution.end_lineno)
    body = re.sub(r"\b\w+\b", lambda word: names.get(word[0], word[0]), body)
    dots = re.search("●+", text)
    return Exercise(
        name,
        text.strip(),
        _head(cells[start][1], stub),
        body,
        hint[0] if hint else "",
        len(dots[0]) if dots else 1,
    )


def _function(code: str, name: str) -> ast.FunctionDef | None:
    """The function of that name, if the code defines it."""
    body = ast.parse(code).body
    return next((s for s in body if isinstance(s, ast.FunctionDef) and s.name == name), None)


def _lines(code: str, first: int, last: int) -> str:
    return "\n".join(code.splitlines()[first - 1 : last])


def _head(code: str, stub: ast.FunctionDef) -> str:
    """The stub without its `...`: the line `def name(...):` and the docstring."""
    last = stub.body[-1]
    whole = _lines(code, stub.lineno, last.lineno).splitlines()
    whole[-1] = whole[-1].encode()[: last.col_offset].decode()
    if not isinstance(last, ast.Expr) or ast.unparse(last) != "..." or len(stub.body) > 2:
        raise ValueError(
            f"the stub of {stub.name} holds more than a docstring and `...`: take lessons that "
            "nobody has worked in"
        )
    return "\n".join(whole).rstrip()


def _setup(cells: list, exercises: tuple[Exercise, ...]) -> str:
    """What the lesson imports and the solutions use, and what it imports of torch and math."""
    lines: dict[str, str] = {}  # name -> the line that imports it
    for source in (source for kind, source in cells if kind == "code"):
        for statement in ast.parse(source).body:
            if isinstance(statement, (ast.Import, ast.ImportFrom)):
                origin = f"from {statement.module} " if hasattr(statement, "module") else ""
                for alias in statement.names:
                    line = f"{origin}import {ast.unparse(alias)}"
                    lines.setdefault(alias.asname or alias.name, line)
    needed = {name for name, line in lines.items() if OFTEN.match(line)}
    own = {exercise.name for exercise in exercises}
    for exercise in exercises:
        used = _free(f"{exercise.stub}\n{exercise.solution}") - own
        if missing := sorted(used - set(lines)):
            raise ValueError(
                f"the solution of {exercise.name} uses {missing[0]}, which its lesson does not "
                "import: import it there, or define it within the solution"
            )
        needed |= used
    return "\n".join(
        sorted({lines[name] for name in needed}, key=lambda line: (line[0] == "f", line))
    )


def _free(code: str) -> set[str]:
    """The names that a function takes from outside, save Python's own."""

    def names(table: symtable.SymbolTable) -> set[str]:
        own = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
        return own.union(*map(names, table.get_children()))

    tables = symtable.symtable(code, "exercise", "exec").get_children()
    return set().union(*map(names, tables)) - set(dir(builtins))
