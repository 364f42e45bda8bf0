"""Every lesson in JupyterLab and Chromium: what moves shows new pictures, in good time.

A section with a widget runs after the lesson's first cells alone, as the lessons promise. nbval
runs all cells in their order, and `python -m tests.browser.trial` does so in the browser.

The bounds are generous, so that a busy machine passes; the milliseconds are kept in
runs/browser.json, and `make test` prints them.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path

import nbformat
import pytest

from notebooks import build

if os.environ.get("LABKIT_REQUIRE_BROWSER") != "1":
    pytest.importorskip("playwright")

from playwright.sync_api import sync_playwright  # noqa: E402

from tests.browser.lab import FLAGS, NO_CHROMIUM, Lesson, Problem, Server, find_chromium  # noqa: E402
from tests.browser.trial import Report, moving, show, try_lesson  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
MEASURED = ROOT / "runs" / "browser.json"
# median milliseconds to a new picture; a quiet laptop needs about a tenth
BOUNDS = {"slider": 700, "filmstrip": 100}

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium():
    if path := find_chromium():
        return path
    if os.environ.get("LABKIT_REQUIRE_BROWSER") == "1":
        pytest.fail(NO_CHROMIUM)
    pytest.skip(NO_CHROMIUM)


@pytest.fixture(scope="module")
def browser(chromium):
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory):
    with Server(tmp_path_factory.mktemp("lessons")) as server:
        yield server


def keep(report: Report) -> None:
    """Adds what was measured to the file of the last run."""
    MEASURED.parent.mkdir(exist_ok=True)
    reports = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    reports[report.name] = asdict(report)
    MEASURED.write_text(json.dumps(reports, indent=1))


@pytest.mark.parametrize("name", build.names())
def test_a_learner_can_run_what_moves_in_a_lesson_and_move_it(
    name, server, browser, record_property
):
    lesson = moving(nbformat.read(build.FOLDER / f"{name}.ipynb", as_version=4))
    nbformat.write(lesson, server.root / f"{name}.ipynb")
    with Lesson(server, browser, name) as lesson:
        report = try_lesson(lesson, moves=6, drag_seconds=0.5)
    keep(report)
    for control in report.controls:
        record_property("browser", f"{name} {control}")
    assert report.kernel == "labkit"
    assert report.complaints == []
    for kind, bound in BOUNDS.items():
        slow = [
            c for c in report.controls if c.kind == kind and c.milliseconds and c.median > bound
        ]
        assert not slow, f"over {bound} ms: {'; '.join(map(str, slow))}"


def test_a_section_in_which_nothing_moves_does_not_run():
    new, ran = nbformat.v4, {"execution_count": 1}
    still = new.new_output("execute_result", {"image/png": "", "text/html": ""}, **ran)
    plot = new.new_output("display_data", {"image/png": ""})
    cells = [
        new.new_markdown_cell("# Title"),
        new.new_code_cell("import labkit", **ran),
        new.new_markdown_cell("A rule\n## 1 · Measure\nNumbers"),
        new.new_code_cell("measure()", outputs=[plot], **ran),
        new.new_markdown_cell("## 2 · Play"),
        new.new_code_cell("x = 1", **ran),
        new.new_code_cell("widget", outputs=[still], **ran),
        new.new_markdown_cell("## 3 · Quiz"),
        new.new_code_cell('quiz.ask("Why?")', **ran),
    ]
    notebook = moving(new.new_notebook(cells=cells))
    nbformat.validate(notebook)
    assert [cell.source for cell in notebook.cells if cell.cell_type == "raw"] == ["measure()"]


PICTURE = """
from labkit.lab import widgets
def draw(figure, slope=1):
    figure.subplots().plot([0, {height}])
widgets.Redraw(draw, slope=(0, 4), alt="a line")
"""


def small_lesson(server, *sources):
    """A notebook of these cells, where the server finds it."""
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in sources]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": build.KERNEL})
    nbformat.write(notebook, server.root / "small.ipynb")
    return "small"


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        ("1 / 0", "raised ZeroDivisionError"),
        ("import sys; print('careful', file=sys.stderr)", "wrote to stderr: careful"),
        (PICTURE.format(height=1), "controls that change no picture"),
    ],
)
def test_the_trial_finds_what_a_learner_would_trip_over(
    cell, complaint, server, browser, monkeypatch
):
    monkeypatch.setattr("tests.browser.trial.PATIENCE", 1_000)  # ms; in vain need not be long
    with (
        Lesson(server, browser, small_lesson(server, cell)) as lesson,
        pytest.raises(Problem, match=complaint),
    ):
        try_lesson(lesson)


def test_the_trial_moves_a_slider_and_sees_the_picture_change(server, browser):
    name = small_lesson(server, PICTURE.format(height="slope"))
    with Lesson(server, browser, name) as lesson:
        (control,) = try_lesson(lesson, drag_seconds=0.5).controls
    assert control.kind == "slider"
    assert len(control.milliseconds) > 8 and control.drag_pictures > 2


BUTTON = """
from labkit.lab.widgets.guidance_explorer import GuidanceExplorer
from labkit.sampler import State
def sample(labels, scale, x):
    for t in (2, 1, 0):
        yield State(t, {picture}, x)
GuidanceExplorer(sample, range(2), (0, 1, 2), shape=(1, 8, 8), columns=2)
"""


def test_the_trial_presses_the_button_that_a_choice_waits_for(server, browser):
    name = small_lesson(server, BUTTON.format(picture="x * scale.view(-1, 1, 1, 1)"))
    with Lesson(server, browser, name) as lesson:
        controls = try_lesson(lesson, drag_seconds=0.5).controls
    assert [(each.kind, each.button) for each in controls] == [
        ("filmstrip", ""), ("slider", "Sample"), ("menu", ""), ("menu", "Sample"),
    ]  # fmt: skip
    assert all(0 < each.first_picture <= each.done for each in controls if each.button)
    assert all(each.answers and bool(each.button) != bool(each.milliseconds) for each in controls)


def test_the_trial_finds_a_button_that_samples_nothing(server, browser, monkeypatch):
    monkeypatch.setattr("tests.browser.trial.SAMPLING", 1_000)  # ms; in vain need not be long
    source = BUTTON.format(picture="x if len(labels) > 2 else 1 / 0")
    with (
        Lesson(server, browser, small_lesson(server, source)) as lesson,
        pytest.raises(Problem, match="'Sample' that shows no new picture"),
    ):
        try_lesson(lesson)


STRIP = """
import numpy as np
from labkit.lab.widgets import Filmstrip
def grays(first):
    return [np.full((8, 8), first + k, np.uint8) for k in range(3)]
Filmstrip({"dark": grays(0), "light": grays(200)}, alt="gray")
"""
MOVE_BOTH = """async () => {
    await probe.move(0, "filmstrip", 0, true, 1000);
    await probe.move(0, "menu", 0, true, 1000);
    await new Promise(done => setTimeout(done, 1000));
    return ["input.lab-filmstrip", "select.lab-filmstrip-choose"]
        .map(name => document.querySelector(`.jp-OutputArea ${name}`).value);
}"""


def test_a_strip_keeps_its_row_when_the_slider_and_the_menu_move_at_once(server, browser):
    with Lesson(server, browser, small_lesson(server, STRIP)) as lesson:
        lesson.open()
        lesson.run_all()
        show(lesson, 0)
        assert lesson.page.evaluate(MOVE_BOTH) == ["1", "1"]


WORDS = """
import ipywidgets
from labkit.lab.widgets.words import Words
words, said = Words(words=["a", "red", "star"]), ipywidgets.Label("nothing")
words.observe(lambda change: setattr(said, "value", f"word {change['new']}"), "chosen")
ipywidgets.VBox([words, said])
"""


def test_a_word_that_is_pointed_at_or_reached_by_tab_is_chosen(server, browser):
    with Lesson(server, browser, small_lesson(server, WORDS)) as lesson:
        lesson.open()
        lesson.run_all()
        show(lesson, 0)
        output, star = (
            lesson.page.locator(".jp-OutputArea"),
            lesson.page.locator(".lab-word").nth(2),
        )
        star.hover()
        output.get_by_text("word 2").wait_for()
        assert star.get_attribute("aria-pressed") == "true"
        lesson.page.locator(".lab-word").nth(1).focus()
        output.get_by_text("word 1").wait_for()
        assert star.get_attribute("aria-pressed") == "false"
