"""The arc: costs follow from the recipes, results from stored files, and nothing is claimed of what
is not trained."""

import pytest
import torch
from matplotlib.figure import Figure

from benchmarks import arc as benchmark
from labkit import zoo
from labkit.lab import arc, arc_plot, capstone
from labkit.lab.course_map import ROWS


def test_every_lesson_of_the_map_is_there_in_order():
    numbers = [int(number) for row in ROWS.values() for number, _, _ in row]
    assert [step.lesson for step in arc.STEPS] == numbers[:-1]  # but the one that looks back
    for step in arc.STEPS:
        assert all(before < step.lesson for before in step.before)
        assert bool(step.systems) == bool(step.condition) == bool(step.trained) == bool(step.paper)


def test_a_system_rests_on_its_parts_on_what_it_begins_from_and_on_its_teachers():
    assert arc.rests_on(["ddpm-digits"]) == ["ddpm-digits"]
    assert set(arc.rests_on(["sdg-scenes"])) == {
        "ddpm-scenes", "glide-scenes", "clip-scenes", "noisy-clip-scenes",
    }  # fmt: skip
    assert set(arc.rests_on(["matcher-scenes"])) == {
        "bert-scenes", "reader-scenes", "matcher-scenes",
    }  # fmt: skip
    assert "glide-scenes" in arc.rests_on(["dalle2-scenes"])  # where its decoder begins


def test_parameters_are_counted_without_weights():
    shipped = zoo.load("ddpm-digits")
    assert arc.parameters("ddpm-digits") == sum(p.numel() for p in shipped.parameters())


def test_the_table_says_what_was_reached_or_that_nothing_is_trained():
    for row in arc.rows():
        assert row.minutes > 0 and row.parameters > 100_000
        assert row.reached
        if not row.ready:
            assert row.reached == "not trained yet"
    lines = (
        arc.costs()._repr_markdown_().splitlines() + arc.results()._repr_markdown_().splitlines()
    )
    assert len(lines) == 2 * (2 + len(arc.rows())) and "13 Cross attention" in repr(arc.results())


def test_a_system_without_weights_is_marked_by_code(monkeypatch, tmp_path):
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path)
    assert {row.reached for row in arc.rows()} == {"not trained yet"}
    assert arc.costs()._repr_markdown_().count("not trained yet") == len(arc.rows())


def test_a_trained_system_that_was_not_marked_says_so(monkeypatch):
    monkeypatch.setattr(capstone, "stored", lambda number: {})
    glide = next(step for step in arc.STEPS if step.lesson == 9)
    assert arc.reached(glide) == "not measured yet"


def test_the_tree_names_every_lesson_and_no_boxes_overlap():
    figure = Figure()
    arc_plot.draw_family(axes := figure.subplots())
    words = [text.get_text() for text in axes.texts]
    assert all(f"{step.lesson:02} {step.name}" in words for step in arc.STEPS)
    places = [arc_plot.PLACES[step.lesson] for step in arc.STEPS]
    assert len(set(places)) == len(places)
    kinds = [number for numbers in arc_plot.KINDS.values() for number in numbers]
    assert sorted(kinds) == [step.lesson for step in arc.STEPS]


def test_guidance_is_counted_by_class_and_recall_in_both_directions(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "right", lambda pictures: float(torch.isfinite(pictures).all()))
    monkeypatch.setattr(benchmark, "STEPS", 2)
    result = benchmark.run(1, 12, tmp_path / "arc.json")
    assert result["adm-digits"]["guided"] == [1.0]
    for name in ("clip-scenes", "mmca-scenes"):
        assert all(0.2 < share <= 1 for share in result[name]["recall"])
    monkeypatch.setattr(arc, "STORED", tmp_path / "arc.json")
    assert arc.right_class("adm-digits") == (1.0, 1.0)
    assert arc.distances("η = 0", "10")[0] == pytest.approx(0.0122, abs=0.01)
