"""The benchmarks' own arithmetic; the race itself is run by hand."""

import math

import pytest
import torch

from benchmarks import (
    autoencoders,
    ddim_table,
    guided_step,
    imports,
    photos_by_class,
    profile_step,
    race,
    reader,
    sdg_sweep,
    text_to_scenes,
)
from benchmarks.__main__ import table
from benchmarks.contenders import CHUNK, Labkit, sizes
from labkit import scenes, zoo
from labkit.data import digits
from labkit.data.pictures import Pictures
from labkit.systems.autoencoder import FirstStage


class FakeEvaluator:
    """Distances that fall as 1/t, and a list of the snapshots that had to be sampled from."""

    def __init__(self):
        self.asked = []

    def distance(self, snapshot, at):
        self.asked.append(at)
        return 1 / at


def test_the_first_snapshot_below_a_threshold_is_found_without_judging_all():
    snapshots = dict.fromkeys([1, 5, 10, 20, 30, 50, 60, 80, 100])
    for threshold, expected in ((0.05, 20), (0.02, 50), (0.01, 100), (2.0, 1), (0.001, None)):
        evaluator = FakeEvaluator()
        assert race.first_below(evaluator, snapshots, threshold) == expected
        assert len(evaluator.asked) <= 5


def test_labkit_trains_for_the_time_it_is_given_and_leaves_snapshots_on_the_way():
    images, _ = digits.load(16)
    # A clock that goes on by one at every look: the trial makes two steps in four seconds, so six
    # seconds are planned as three steps, each of which then takes one.
    ticks = iter(range(100_000))
    contender, facts, snapshots = race.train(Labkit, images, 6, [2, 4], lambda: next(ticks))
    assert facts["steps"] == contender.count == facts["seconds"] == 3
    assert list(snapshots) == [2, 3.0]
    assert contender.sample(snapshots[2], 3, steps=2, seed=0).shape == (3, 1, 16, 16)


def test_pictures_are_sampled_in_chunks_that_add_up():
    assert sizes(CHUNK) == [CHUNK]
    assert sizes(2 * CHUNK + 7) == [CHUNK, CHUNK, 7]


def test_an_import_that_fails_is_not_a_number_and_spoils_no_other():
    found = imports.measure(1, {"torch": "import math", "missing": "import no_such_module"})
    assert 0 <= found["torch"] < 5
    assert found["missing"] != found["missing"]


@pytest.mark.parametrize(
    "operation, expected",
    [
        ("aten::convolution_backward", "convolutions, backward"),
        ("aten::mkldnn_convolution", "convolutions, forward"),
        ("aten::native_group_norm_backward", "group norm"),
        ("aten::linalg_vector_norm", "clipping"),
        ("aten::_fused_adamw_", "optimizer"),
        ("aten::addmm", "linear layers"),
        ("aten::uniform_", "everything else"),
    ],
)
def test_every_operation_is_counted_once_where_it_belongs(operation, expected):
    assert profile_step.part(operation) == expected


def test_the_table_has_a_column_for_each_contender():
    scores = {
        "frechet": 0.0123, "precision": 0.9, "recall": 0.8, "class_use": 9.9, "confidence": 0.97,
    }  # fmt: skip
    final = {"sampling": 4.2, "classifier-digits": scores, "classifier-digits-b": scores}
    results = [
        {
            "name": name, "parameters": 1_200_000, "batch": 64, "images/s": 1234.5, "final": final,
            "reached": {"0.05": 12.0, "0.02": 44.0, "0.01": None}, "peak MB": 512.0,
        }
        for name in ("labkit", "diffusers bf16")
    ]  # fmt: skip
    taken = {"torch": 1.0, "labkit.zoo": 1.5, "diffusers": 4.0}
    lines = table(results, taken, 60, 1000).splitlines()
    assert lines[0] == "|  | labkit | diffusers bf16 |"
    assert {line.count("|") for line in lines} == {4}
    assert "| seconds to distance 0.01 | > 60 | > 60 |" in lines
    assert "| import | 1.5 s (1.50 x torch) | 4.0 s (4.00 x torch) |" in lines


def test_a_guided_step_is_measured_beside_a_plain_one():
    medians = guided_step.measure(batch=2, rounds=1)
    assert list(medians) == ["plain", "classifier-free", "classifier"]
    assert all(seconds > 0 for seconds in medians.values())


def test_the_sentences_of_the_semantic_sweep_are_shown_by_the_real_pictures_of_its_ceiling():
    asked = [text for text in sdg_sweep.wishes(4, 0) for _ in range(3)]
    assert len(set(asked)) == 4
    pictures = sdg_sweep.real(asked, 5)
    assert len(pictures.flatten(1).unique(dim=0)) == 12
    parts, whole, scene, spread = sdg_sweep.evaluate(pictures, asked, 3)
    assert min(parts, whole, scene) > 0.9 and 0 < spread < 1
    parts, whole, *_ = sdg_sweep.evaluate(pictures.roll(3, 0), asked, 3)
    assert whole < 0.5 and parts < 0.8


def test_an_evaluator_of_photos_never_learns_from_the_pictures_it_is_asked_about():
    real = Pictures(torch.arange(40).view(40, 1, 1, 1), torch.arange(40) % 2, ("cat", "dog"))
    known, unseen = photos_by_class.split(real)
    assert len(unseen.labels) == 4
    assert sorted(torch.cat([known.bytes, unseen.bytes]).flatten().tolist()) == list(range(40))
    assert (unseen.labels == unseen.bytes.flatten() % 2).all()


def test_the_reader_has_less_right_the_worse_it_sees():
    rows = list(reader.table("reader-scenes", 60).values())
    clean, *blurs = rows[:3]
    assert clean["everything"] > 0.95
    assert clean["fill"] >= blurs[0]["fill"] > blurs[1]["fill"] - 0.05
    assert rows[5]["everything"] < clean["everything"]


def test_two_readers_judge_spoiled_pictures_alike_and_their_greatest_difference_is_told(capsys):
    """What looks like samples: shapes partly blurred, partly another's."""
    truth = [scenes.draw(100, seed, "all") for seed in (1, 2)]
    asked = [scenes.captions(one, 0) for one in truth]
    spoiled = []
    for one in truth:
        pictures = scenes.render(one, 32)
        pictures[:30, :, :, 16:] = pictures[:30].roll(1, 0)[:, :, :, 16:]
        spoiled.append(reader.blurred(pictures, 0.6))
    table = text_to_scenes.Table()
    table.row("spoiled", [*zip(spoiled, asked)])
    table.close()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| spoiled", "| second"]
    assert lines[2] != lines[3]  # they are two
    assert len(table.apart) == len(text_to_scenes.COLUMNS)
    assert max(table.apart.values()) < 0.03
    assert lines[4].endswith(f"by {100 * max(table.apart.values()):.1f} points")


def test_a_blur_keeps_the_mean_and_smears_a_point():
    point = torch.zeros(1, 3, 16, 16)
    point[..., 8, 8] = 1
    seen = reader.blurred(point, 1.0)
    assert seen.sum().item() == pytest.approx(3, rel=1e-4)
    assert seen[0, 0, 8, 8].item() == pytest.approx(1 / (2 * math.pi), rel=0.02)


def test_the_table_of_samplers_goes_on_where_it_stopped(tmp_path):
    file, rows = tmp_path / "table.json", ["η = 0", "2M"]
    first = ddim_table.fill(file, rows, [2], 1, 520)
    again = ddim_table.fill(file, rows, [2], 2, 520)
    assert first["real"] == 520 and first["samples"] == 260
    for row in rows:
        cell = again["cells"][row]["2"]
        assert len(cell) == 2 and cell[0] == first["cells"][row]["2"][0] != cell[1]


def test_neighbors_of_a_latent_are_alike_in_a_ramp_and_not_in_noise():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(50, 4, 16, 16, generator=generator)
    assert abs(autoencoders.neighbors(noise)) < 0.02
    ramp = torch.linspace(0, 1, 16).expand(2, 4, 16, 16)
    assert autoencoders.neighbors(ramp) > 0.8


def test_an_autoencoder_is_measured_in_every_column():
    stage = FirstStage(zoo.recipe("autoencoder-scenes-f4").config).eval()
    found = autoencoders.evaluate(stage, scenes.draw(6, 0, "all"))
    assert len(found) == len(autoencoders.COLUMNS) and found[0] == 1024
    assert all(math.isfinite(value) for value in found) and 0.1 < found[2] < 2
