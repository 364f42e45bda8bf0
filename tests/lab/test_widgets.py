"""What moves in a lesson: tested without a browser, clicks and drags as trait changes."""

import base64
import io
import time

import ipywidgets
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from labkit.lab import plots, widgets
from labkit.lab.widgets import watching
from labkit.lab.widgets.controls import control

VIEW = "application/vnd.jupyter.widget-view+json"


def decode(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def draw_line(figure, t=3, name="up"):
    axes = figure.subplots()
    axes.plot([0, t] if name == "up" else [t, 0])
    axes.set_title(f"{name} {t}")


def drawn_once(draw, *values) -> np.ndarray:
    with matplotlib.rc_context(plots.STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        draw(figure, *values)
    return plots.pixels(figure)


@pytest.fixture
def redraw():
    return widgets.Redraw(
        draw_line,
        alt=lambda t, name: f"a line going {name} to {t}",
        labels={"t": "time t"},
        t=(0, 10),
        name=["up", "down"],
    )


def test_redraw_starts_where_the_draw_function_does(redraw):
    assert redraw.values == {"t": 3, "name": "up"}
    assert redraw.controls["t"].description == "time t"
    assert redraw.picture.alt == "a line going up to 3"


def test_moving_a_control_draws_the_figure_again(redraw):
    before = decode(redraw.picture.image)
    redraw.controls["name"].value = "down"
    after = decode(redraw.picture.image)
    assert before.shape == after.shape == (326, 768, 3)
    assert not np.array_equal(before, after)
    assert redraw.picture.alt == "a line going down to 3"


def test_the_same_values_give_the_same_picture_again(redraw):
    before = redraw.picture.image
    redraw.controls["t"].value = 9
    redraw.controls["t"].value = 3
    assert redraw.picture.image == before


def test_a_redrawn_figure_looks_as_one_that_is_drawn_once(redraw):
    assert np.array_equal(decode(redraw.picture.image), drawn_once(draw_line, 3, "up"))


def test_axes_keep_their_places_until_their_number_changes():
    def draw(figure, n):
        for axes in figure.subplots(1, n, squeeze=False)[0]:
            axes.set_ylabel("words")

    moving = widgets.Redraw(draw, alt="axes", n=(1, 3))
    for n in (1, 2, 3):
        moving.controls["n"].value = n
        figure = moving._canvas.figure
        edges = [axes.get_tightbbox(figure.canvas.get_renderer()) for axes in figure.axes]
        assert len(edges) == n
        assert all(a.x1 <= b.x0 for a, b in zip(edges, edges[1:], strict=False))
        assert edges[0].x0 >= 0


def draw_moving(figure, t=3):
    axes = figure.subplots()
    axes.set(xlim=(0, 1), ylim=(0, 10), xlabel="x", ylabel="y")
    (line,) = axes.plot([0, 1], [0, t])
    title = axes.set_title(f"t = {t}")

    def update(t):
        line.set_ydata([0, t])
        title.set_text(f"t = {t}")
        return [line, title]

    return update


def test_only_what_moves_is_drawn_where_draw_returns_an_update():
    moving = widgets.Redraw(draw_moving, alt="a line", t=(0, 10))
    figure = moving._canvas.figure
    for t in (9, 2, 7):
        moving.controls["t"].value = t
        assert moving._canvas.figure is figure
        assert np.array_equal(decode(moving.picture.image), drawn_once(draw_moving, t))


def test_the_still_of_a_moving_figure_shows_what_moved():
    moving = widgets.Redraw(draw_moving, alt="a line", t=(0, 10))
    moving.controls["t"].value = 8
    still = decode(base64.b64decode(moving._repr_mimebundle_()["image/png"]))
    assert np.abs(still.astype(int) - drawn_once(draw_moving, 8)).max() <= 24


def test_what_is_listed_later_is_drawn_in_front():
    def draw(figure, t=0):
        axes = figure.subplots()
        bars = [axes.bar([0], [1], color=color)[0] for color in ("red", "lime", "blue")]
        return lambda t: bars

    moving = widgets.Redraw(draw, alt="three bars in one place", t=(0, 2))
    moving.controls["t"].value = 1
    colors = decode(moving.picture.image).reshape(-1, 3).tolist()
    assert [0, 0, 255] in colors and [255, 0, 0] not in colors and [0, 255, 0] not in colors


def test_an_update_that_lists_nothing_redraws_everything():
    def draw(figure, t=3):
        update = draw_moving(figure, t)
        return lambda t: update(t) and None

    moving = widgets.Redraw(draw, alt="a line", t=(0, 10))
    moving.controls["t"].value = 8
    assert np.array_equal(decode(moving.picture.image), drawn_once(draw_moving, 8))


def test_an_error_while_dragging_is_one_line_and_mends_itself():
    def draw(figure, t=1):
        figure.subplots().plot([1 / t])

    moving = widgets.Redraw(draw, alt="one over t", t=(0, 2))
    picture = moving.picture.image
    moving.controls["t"].value = 0
    assert "ZeroDivisionError: division by zero" in moving.message.value
    assert moving.picture.image == picture
    moving.controls["t"].value = 2
    assert moving.message.value == ""


def test_an_error_in_the_first_drawing_is_not_swallowed():
    def draw(figure, t):
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        widgets.Redraw(draw, alt="nothing", t=(0, 2))


@pytest.mark.parametrize(
    ("given", "kind", "value"),
    [
        ((0, 10), ipywidgets.IntSlider, 5),
        ((0, 100, 10), ipywidgets.IntSlider, 50),
        ((0.0, 1.0), ipywidgets.FloatSlider, 0.5),
        ((0.0, 2.0, 0.25), ipywidgets.FloatSlider, 1.0),
        (["a", "b"], ipywidgets.Dropdown, "a"),
        ({"one": 1, "two": 2}, ipywidgets.Dropdown, 1),
        (True, ipywidgets.Checkbox, True),
        (ipywidgets.IntText(7), ipywidgets.IntText, 7),
    ],
)
def test_plain_values_become_controls(given, kind, value):
    moving = widgets.Redraw(lambda figure, x: None, alt="nothing", x=given)
    assert isinstance(moving.controls["x"], kind)
    assert moving.values == {"x": value}


def test_a_bare_widget_is_dressed_as_its_neighbors_and_a_dressed_one_is_left_alone():
    bare = ipywidgets.SelectionSlider(options=[1, 5])
    own = ipywidgets.IntSlider(description="mine", layout={"width": "99px"})
    control("n_steps", bare), control("y", own)
    slider = control("z", (0, 1))
    assert bare.description == "n steps" and bare.layout.width == slider.layout.width
    assert bare.style.description_width == slider.style.description_width
    assert (own.description, own.layout.width) == ("mine", "99px")


@pytest.mark.parametrize(
    ("controls", "words"),
    [
        ({}, "takes \\(figure, t, name\\)"),
        ({"t": (0, 1), "typo": True}, "typo"),
        ({"t": (1, 0)}, "control 't' is \\(1, 0\\)"),
        ({"t": "words"}, "control 't' is 'words'"),
        ({"t": []}, "control 't' is \\[\\]"),
    ],
)
def test_controls_that_do_not_fit_are_refused(controls, words):
    with pytest.raises(ValueError, match=words):
        widgets.Redraw(draw_line, alt="a line", **controls)


def test_a_play_button_is_linked_to_its_slider(redraw):
    playing = widgets.Redraw(draw_line, alt="a line", t=(0, 10), play="t")
    kinds = {type(child) for child in playing.children[0].children}
    assert kinds == {ipywidgets.IntSlider, ipywidgets.Play}


def strips(count=4):
    return [np.full((5, 6), 40 * i, np.uint8) for i in range(count)]


def test_a_filmstrip_takes_every_kind_of_frame():
    figure, _ = plots.subplots(size=(1, 1))
    frames = [strips()[0], np.zeros((5, 6, 3), np.uint8), Image.new("L", (6, 5)), figure]
    frames.append(plots.encode(strips()[1]))
    film = widgets.Filmstrip(frames, alt="five kinds")
    assert len(film._frames[0]) == 5
    assert all(frame.startswith(b"\x89PNG") for frame in film._frames[0])
    assert np.array_equal(decode(film._frames[0][4])[..., 0], strips()[1])


def test_a_filmstrip_sends_its_frames_as_bytes_and_names_its_rows():
    film = widgets.Filmstrip(
        {"linear": strips(), "cosine": strips()}, labels="abcd", alt="two rows", start=2
    )
    assert film._names == ["linear", "cosine"]
    assert [len(row) for row in film._frames] == [4, 4]
    film.row, film.index = 1, 3
    bundle = film._repr_mimebundle_()
    assert 'alt="two rows (cosine, d)"' in bundle["text/html"]


@pytest.mark.parametrize(
    ("frames", "options", "words"),
    [
        ([], {}, "at least one frame"),
        ({"a": strips(2), "b": strips(3)}, {}, "strips of one length"),
        (strips(), {"labels": ["a"]}, "give 4 labels"),
        (strips(), {"start": 4}, "start from 0 to 3"),
        ([np.zeros((5, 6))], {}, "a frame of ndarray \\(5, 6\\)"),
        (["x"], {}, "a frame of str"),
        (strips(), {"alt": ""}, "alternative text"),
    ],
)
def test_a_filmstrip_that_cannot_run_is_refused(frames, options, words):
    with pytest.raises(ValueError, match=words):
        widgets.Filmstrip(frames, **{"alt": "a strip"} | options)


def test_the_browser_part_needs_no_network():
    for widget in (widgets.Filmstrip(strips(), alt="x"), widgets.redraw.Picture()):
        assert "http" not in str(widget._esm)
        assert "import" not in str(widget._esm)


@pytest.mark.parametrize(
    "make",
    [
        lambda: widgets.Redraw(draw_line, alt="a still", t=(0, 10)),
        lambda: widgets.Filmstrip(strips(), alt="a still"),
    ],
    ids=["Redraw", "Filmstrip"],
)
def test_a_rendered_notebook_has_a_still_beside_the_live_view(make):
    bundle = make()._repr_mimebundle_()
    assert set(bundle) == {VIEW, "text/html", "image/png", "text/plain"}
    assert bundle["text/plain"].startswith("a still")
    assert 'alt="a still' in bundle["text/html"]
    assert bundle["image/png"] in bundle["text/html"]


class Screen:
    """Stands for the notebook's display: one output, replaced in place."""

    def __init__(self, monkeypatch):
        self.shown = []
        monkeypatch.setattr("IPython.get_ipython", lambda: self)
        monkeypatch.setattr("IPython.display.display", self.display)

    def display(self, data, **options):
        assert options == {"raw": True, "display_id": True}
        assert not self.shown, "a second output was opened"
        self.shown.append(data)
        return self

    def update(self, data, **options):
        self.shown.append(data)


def counted(figure, seen):
    figure.subplots().plot(seen)
    figure.suptitle(str(len(seen)))


def test_watching_gives_back_what_came_and_leaves_the_last_picture(monkeypatch):
    screen = Screen(monkeypatch)
    assert widgets.watch(iter(range(50)), counted, alt="fifty") == list(range(50))
    assert screen.shown[-1]["text/plain"] == "fifty"
    last = decode(base64.b64decode(screen.shown[-1]["image/png"]))
    assert np.abs(last.astype(int) - drawn_once(counted, range(50))).max() <= 24


def test_watching_shows_progress_in_one_place(monkeypatch):
    screen = Screen(monkeypatch)

    def slow():
        for i in range(8):
            time.sleep(0.1)
            yield i

    widgets.watch(slow(), lambda figure, seen: None, alt="slow", every=2)
    assert 2 <= len(screen.shown) <= 5


def test_watching_can_forget_what_is_long_past():
    lengths = []
    seen = widgets.watch(
        range(10), lambda figure, seen: lengths.append(len(seen)), alt="ten", keep=2
    )
    assert seen == [8, 9]
    assert max(lengths) == 2


def test_a_loop_that_fails_shows_what_was_seen_and_fails(monkeypatch):
    screen = Screen(monkeypatch)

    def broken():
        yield 1
        raise FloatingPointError("the loss is nan")

    with pytest.raises(FloatingPointError, match="the loss is nan"):
        widgets.watch(broken(), counted, alt="broken", every=5)
    assert len(screen.shown) == 1


def test_an_error_of_the_drawing_is_not_swallowed(monkeypatch):
    Screen(monkeypatch)

    def draw(figure, seen):
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose") as caught:
        widgets.watch(range(3), draw, alt="broken")
    assert caught.value.__context__ is None


def test_without_a_notebook_nothing_is_displayed_but_the_drawing_is_tried():
    assert not watching._Display("x").live
    drawn = []
    widgets.watch(range(3), lambda figure, seen: drawn.append(seen), alt="three")
    assert drawn == [[0, 1, 2]]


@pytest.mark.parametrize("options", [{"alt": ""}, {"alt": "x", "every": 0}])
def test_watching_without_words_or_steps_is_refused(options):
    with pytest.raises(ValueError):
        widgets.watch(range(3), counted, **options)
