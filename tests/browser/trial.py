"""Try lessons in a real browser: run them, move everything that moves, time it, look at it.

    python -m tests.browser.trial 01_markov_chains --shots shots    # by name
    python -m tests.browser.trial --dark --json latency.json        # all of them

`make test` tries the sections in which something moves, each after the lesson's first cells alone
(nbval runs all cells there); this runs all cells.

The milliseconds are those from the key that moves a slider to the first frame with a new picture.
A control that lights a button instead is not slow: it waits for the button, which is pressed and
timed.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

from tests.browser.lab import FLAGS, NO_CHROMIUM, Lesson, Problem, Server, find_chromium

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
PATIENCE = 5000  # ms until a control that changes no picture counts as dead
SAMPLING = 300_000  # ms that what a button starts may take
NONSENSE = "qwxz ☃ 100 %"  # for every line of text; no sentence of the course


@dataclass
class Control:
    """What was seen of one slider, menu or box: the milliseconds from a move to a new picture.

    button: the name of the one that it waits for, if it does; first_picture and done: milliseconds
    from the press to the first new picture, and to the end of the work.
    """

    cell: int
    kind: str
    index: int
    milliseconds: list[float] = field(default_factory=list)
    missed: int = 0
    drag_pictures: int | None = None
    button: str = ""
    first_picture: float = 0.0
    done: float = 0.0

    @property
    def answers(self) -> bool:
        return bool(self.milliseconds or self.button)

    @property
    def median(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def percentile_90(self) -> float:
        return sorted(self.milliseconds)[int(0.9 * len(self.milliseconds))]

    def __str__(self) -> str:
        if self.button:
            return (
                f"cell {self.cell} {self.kind} {self.index}: waits for {self.button}, whose first "
                f"picture comes after {self.first_picture:.0f} ms, the last after {self.done:.0f}"
            )
        if not self.milliseconds:
            return f"cell {self.cell} {self.kind} {self.index}: no new picture"
        line = f"cell {self.cell} {self.kind} {self.index}: median {self.median:.0f} ms,"
        line += f" 90 % within {self.percentile_90:.0f} ms ({len(self.milliseconds)} moves)"
        drag = "" if self.drag_pictures is None else f", {self.drag_pictures} pictures in the drag"
        return line + drag


@dataclass
class Report:
    """One lesson's trial."""

    name: str
    kernel: str = ""
    run_seconds: float = 0.0
    controls: list[Control] = field(default_factory=list)
    quizzes: list[list[str]] = field(default_factory=list)
    nonsense: list[str] = field(default_factory=list)  # what was answered to it
    complaints: list[str] = field(default_factory=list)

    def milliseconds(self, kind: str) -> list[float]:
        return [ms for each in self.controls if each.kind == kind for ms in each.milliseconds]


def moving(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The lesson of which only the first cells run, and the sections with a widget or a quiz: the
    code of all others is shown, but is not for the kernel."""
    sections = [[]]
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and any(
            line.startswith("## ") for line in cell.source.splitlines()
        ):
            sections.append([])
        sections[-1].append(cell)
    for section in sections[1:]:
        if not any(moves(cell) for cell in section):
            for cell in section:
                if cell.cell_type == "code":
                    cell.cell_type = "raw"
                    del cell["outputs"], cell["execution_count"]
    return notebook


def moves(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell shows a widget, whose still picture is the cell's value, or a quiz."""
    if cell.cell_type != "code":
        return False
    stills = (o for o in cell.outputs if o.output_type == "execute_result")
    return any("image/png" in still.data for still in stills) or "quiz.ask(" in cell.source


def try_lesson(
    lesson: Lesson, shots: Path | None = None, moves: int = 12, drag_seconds: float = 1.0
) -> Report:
    """Runs one lesson as a learner would; raises Problem for what must not be."""
    report = Report(lesson.name)
    lesson.open()
    report.kernel = lesson.kernel
    report.run_seconds = lesson.run_all()
    for cell in lesson.cells():
        if cell["type"] != "code" or not cell["outputs"]:
            continue
        words = show(lesson, cell["index"])
        if "Error displaying widget" in words or "Loading widget" in words:
            raise Problem(
                f"{lesson.place(cell)} shows a widget that does not appear: {words[:200]}"
            )
        try_controls(lesson, cell, report, moves, drag_seconds, shots)
    report.complaints = lesson.complaints
    if shots:
        photograph(lesson, shots)
    return report


def show(lesson: Lesson, index: int) -> str:
    """Scrolls to a cell, waits for its pictures, and returns the words of its output."""
    words = lesson.page.evaluate("cell => probe.show(cell)", index)
    for _ in range(50):
        if "Loading widget" not in words and lesson.page.evaluate("c => probe.ready(c)", index):
            break
        lesson.page.wait_for_timeout(100)
        words = lesson.page.evaluate("cell => probe.show(cell)", index)
    return words


def try_controls(lesson, cell, report, moves, drag_seconds, shots) -> None:
    """Moves every control of one cell; each output with a slider must show a new picture."""
    index, page = cell["index"], lesson.page
    counts = page.evaluate("cell => probe.controls(cell)", index)
    tried = []
    for kind in ("filmstrip", "slider", "menu", "box"):
        for number in range(counts[kind]):
            control = Control(index, kind, number)
            timed = kind in ("filmstrip", "slider") and number < 2  # its siblings draw the same
            step(lesson, control, moves if timed else 2)
            if timed and control.milliseconds:
                drag(lesson, control, drag_seconds)
            tried.append(control)
    if shots and tried:
        lesson.screenshot(shots / f"{lesson.name}-cell{index:03}-moved.png")
    if tried and not any(control.answers for control in tried):
        raise Problem(f"{lesson.place(cell)} has controls that change no picture")
    report.controls += tried
    for number in range(counts["text"]):
        said = page.evaluate(
            "([...given]) => probe.type(...given)", [index, number, NONSENSE, SAMPLING]
        )
        if said is None or "Traceback" in said:
            raise Problem(f"{lesson.place(cell)} answers {NONSENSE!r} with {said!r}")
        report.nonsense.append(said)
    for number in range(counts["quiz"]):
        said = page.evaluate(
            "([cell, index, limit]) => probe.answerQuiz(cell, index, limit)",
            [index, number, PATIENCE],
        )
        if not said or None in said:
            raise Problem(f"{lesson.place(cell)} has a quiz that does not answer: {said}")
        report.quizzes.append(said)


def step(lesson: Lesson, control: Control, moves: int) -> None:
    """Moves a control to and fro by keys, and keeps the time to each new picture."""
    # The first move may meet the end of the slider, so both directions are tried first.
    for number in range(moves + 2):
        milliseconds = lesson.page.evaluate(
            "([...given]) => probe.move(...given)",
            [
                control.cell,
                control.kind,
                control.index,
                number % 2 == 0,
                PATIENCE if number < 2 else 1000,
            ],
        )
        lesson.page.wait_for_timeout(60)  # a fast reader's pause; the kernel comes to rest
        if number < 2:
            if milliseconds is None and press(lesson, control):
                return
            if number == 1 and milliseconds is None and not control.milliseconds:
                return
            if milliseconds is not None:
                control.milliseconds.append(milliseconds)
            continue
        if milliseconds is None:
            control.missed += 1
        else:
            control.milliseconds.append(milliseconds)


def press(lesson: Lesson, control: Control) -> bool:
    """Presses the button that the control has lit, and keeps its times; False if none is lit."""
    where = [control.cell, control.kind, control.index]
    name = lesson.page.evaluate("([...given]) => probe.lit(...given)", where)
    if not name:
        return False
    times = lesson.page.evaluate("([...given]) => probe.press(...given)", [*where, SAMPLING])
    if None in times:
        raise Problem(
            f"{lesson.name}, cell {control.cell}, has a button {name!r} that "
            + ("shows no new picture" if times[0] is None else "does not come to an end")
        )
    control.button, (control.first_picture, control.done) = name, times
    return True


def drag(lesson: Lesson, control: Control, seconds: float) -> None:
    """Drags the slider from left to right with the mouse, and counts the pictures that are seen.

    Then it goes back to where it was, so that the next control is tried in the lesson's own place.
    """
    page, where = lesson.page, [control.cell, control.kind, control.index]
    boxes = page.evaluate("([...given]) => probe.handle(...given)", where)
    handle, track = boxes["handle"], boxes["track"]
    height = handle["y"] + handle["height"] / 2
    left = handle["x"] + handle["width"] / 2
    page.mouse.move(left, height)
    page.mouse.down()
    page.evaluate("([...given]) => probe.watch(...given)", [*where, seconds * 1000 + 700])
    count, start = int(50 * seconds), time.monotonic()
    for number in range(count):
        page.mouse.move(track["x"] + track["width"] * (0.05 + 0.9 * number / (count - 1)), height)
        time.sleep(max(0.0, start + 0.02 * (number + 1) - time.monotonic()))
    page.mouse.move(left, height)
    page.mouse.up()
    control.drag_pictures = page.evaluate("() => probe.seen")


def photograph(lesson: Lesson, shots: Path) -> None:
    """The whole lesson from top to bottom, a window at a time."""
    lesson.page.keyboard.press("Escape")
    for cell in lesson.cells():
        if lesson.page.evaluate("cell => probe.top(cell)", cell["index"]):
            lesson.page.wait_for_timeout(150)
            lesson.screenshot(shots / f"{lesson.name}-{cell['index']:03}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="all lessons if none is given")
    parser.add_argument("--folder", type=Path, default=NOTEBOOKS, help="where the notebooks are")
    parser.add_argument("--shots", type=Path, help="folder for the screenshots")
    parser.add_argument("--json", type=Path, help="file for what was measured")
    parser.add_argument("--moves", type=int, default=24, help="moves of each slider")
    parser.add_argument("--dark", action="store_true", help="in JupyterLab's dark theme")
    given = parser.parse_args()
    if not (chromium := find_chromium()):
        parser.error(NO_CHROMIUM)
    names, failed, reports = (
        given.names or sorted(p.stem for p in given.folder.glob("*.ipynb")),
        0,
        [],
    )
    with (
        tempfile.TemporaryDirectory() as root,
        sync_playwright() as playwright,
        Server(Path(root), given.dark) as server,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS])
        for name in names:
            shutil.copy(given.folder / f"{name}.ipynb", root)
            with Lesson(server, browser, name) as lesson:
                try:
                    report = try_lesson(lesson, given.shots, given.moves, drag_seconds=2.0)
                except Problem as problem:
                    failed += 1
                    print(f"{name}: PROBLEM: {problem}")
                    if given.shots:
                        lesson.screenshot(given.shots / f"{name}-problem.png")
                    continue
            print(f"{name}: ran in {report.run_seconds:.1f} s on the kernel {report.kernel}")
            for line in [*report.controls, *report.complaints]:
                print(f"  {line}")
            for said in report.nonsense:
                print(f"  {NONSENSE!r} is answered: {' '.join(said.split())}")
            print(f"  {len(report.quizzes)} quizzes answered", flush=True)
            reports.append(asdict(report))
        browser.close()
    if given.json:
        given.json.write_text(json.dumps(reports, indent=1))
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
