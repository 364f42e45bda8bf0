"""How far a learner has come, lesson by lesson: in a notebook a picture, in a terminal lines."""

from pathlib import Path

from labkit.lab import plots, progress
from labkit.lab.progress import Lesson

RIGHT = 10.3  # the column in which the quiz begins
HERE = "kept in progress.json beside these notebooks; `labkit progress --reset` forgets it"
NOWHERE = "not kept in this kernel, only in a JupyterLab that `labkit lab` opened"


def show() -> None:
    """Displays the strip of every lesson: a square for each check, a circle for each question.

    What is done is filled. A line below says where it is kept; a file that cannot be read gets one
    sentence there, and counts as empty.
    """
    where = HERE if progress.kept_in() else NOWHERE
    try:
        marks = progress.read(progress.kept_in())
    except (OSError, ValueError) as error:
        marks, where = progress.EMPTY, f"not shown: {error}"
    course = progress.lessons()
    plots.show(draw(course, marks), describe(course, marks))
    print(f"Your progress is {where}.")


def draw(lessons: list[Lesson], marks: dict[str, list[str]]):
    """The figure: a row for each lesson."""
    figure, axes = plots.subplots(size=(8, 0.75 + 0.27 * len(lessons)))
    axes.set(xlim=(-10.3, RIGHT + 9.8), ylim=(len(lessons) - 0.5, -1.6))
    axes.axis("off")
    for start, words in ((0, "exercises"), (RIGHT, "quiz")):
        axes.text(start - 0.3, -1, words, va="center", weight="bold")
    for row, lesson in enumerate(lessons):
        axes.text(-10.2, row, f"{lesson.number} · {lesson.title}", va="center")
        checks, questions = lesson.done(marks)
        for start, done, marker, color in (
            (0, checks, "s", plots.GREEN),
            (RIGHT, questions, "o", plots.BLUE),
        ):
            for column, filled in enumerate(done):
                axes.plot(
                    start + column, row, marker, markersize=11, markeredgewidth=1.3,
                    markeredgecolor=color, markerfacecolor=color if filled else "white",
                )  # fmt: skip
            if done:
                count = f"{sum(done)} of {len(done)}"
                axes.text(start + 6.8, row, count, va="center", color="#444444")
    return figure


def describe(lessons: list[Lesson], marks: dict[str, list[str]]) -> str:
    """The same in words."""
    counts = [f"{lesson.number}: {_counts([lesson], marks)}." for lesson in lessons]
    return " ".join(["Your progress.", *counts])


def report(path: Path) -> str:
    """The same as lines for a terminal, of the marks in that file, with their sum.

    Raises ValueError if the file is damaged, OSError if it cannot be read.
    """
    lessons, marks = progress.lessons(), progress.read(path)
    lines = [
        f"{f'{lesson.number} · {lesson.title}':40}{_counts([lesson], marks)}" for lesson in lessons
    ]
    where = f"kept in {path}" if path.exists() else "nothing is kept yet"
    return "\n".join([*lines, f"{'in all':40}{_counts(lessons, marks)}", where])


def _counts(lessons: list[Lesson], marks: dict[str, list[str]]) -> str:
    checks, questions = (
        [mark for lesson in lessons for mark in lesson.done(marks)[kind]] for kind in (0, 1)
    )
    return f"exercises {sum(checks)} of {len(checks)}, quiz {sum(questions)} of {len(questions)}"
