"""The measures of lesson 09's guidance: real pictures near the ceiling, the same noise for both."""

import pytest
import torch

from benchmarks import glide_table as benchmark
from labkit import zoo
from labkit.lab import glide_table
from labkit.lab.glide_table import BY_CLIP, FREE, Measure


@pytest.fixture(scope="module")
def clip():
    return zoo.load("clip-scenes")


@pytest.fixture(scope="module")
def measure(clip):
    return Measure(zoo.load("reader-scenes"), clip, zoo.load("noisy-clip-scenes"), 100)


def test_real_pictures_show_their_sentences_and_not_those_of_others(measure):
    pictures, captions = glide_table.asked(100, 0)
    own = dict(zip(glide_table.COLUMNS, measure(pictures, captions)))
    other = dict(zip(glide_table.COLUMNS, measure(pictures, captions[1:] + captions[:1])))
    assert own["parts"] > 0.9 and own["valid"] > 0.9
    assert other["parts"] < own["parts"] - 0.3 and other["CLIP score"] < own["CLIP score"] - 0.3
    assert other["guide's score"] < own["guide's score"] - 0.2
    assert other["distance"] == own["distance"]
    noise = torch.rand(100, 3, 32, 32) * 2 - 1
    assert measure(noise, captions)[3] > 5 * own["distance"]


def test_sentences_are_new_for_each_seed_and_may_ask_for_held_out_combinations():
    captions = {seed: glide_table.asked(20, seed)[1] for seed in (0, 1)}
    assert captions[0] != captions[1] and captions[0] == glide_table.asked(20, 0)[1]
    assert glide_table.asked(20, 0, "unseen")[1] != captions[0]


def test_clip_guidance_without_weight_is_the_model_at_scale_one(clip):
    model = untrained()
    captions = ["a red star", "two moons"]
    guide, vectors = zoo.load("noisy-clip-scenes"), clip.encode_text(captions).detach()
    plain = glide_table.free(model, captions, 1.0, 3, 5)
    still = glide_table.by_clip(model, captions, 0.0, 3, 5, guide, vectors)
    torch.testing.assert_close(still, plain, rtol=0, atol=1e-4)
    pushed = glide_table.by_clip(model, captions, 400.0, 3, 5, guide, vectors)
    assert (pushed - plain).abs().max() > 5e-3


def untrained():
    """A model whose answers depend on what it hears, if not yet in a way that makes sense."""
    model = zoo.build("glide-scenes").eval()
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.denoiser.net.conv_out.parameters():
            weight.normal_(std=0.1)
    return model


def test_the_benchmark_stores_every_way_and_every_row(tmp_path, monkeypatch):
    load = zoo.load
    monkeypatch.setattr(
        benchmark.zoo, "load", lambda name, path=None: None if "glide" in name else load(name)
    )

    def real(model, captions, scale, steps, seed, *guide):
        """As if the model drew the very pictures, the better the larger the scale."""
        pictures, _ = glide_table.asked(len(captions), seed)
        return pictures * min(scale, 3.0) / 3

    monkeypatch.setattr(glide_table, "free", real)
    monkeypatch.setattr(glide_table, "by_clip", real)
    file = tmp_path / "table.json"
    benchmark.run(None, 70, 2, 25, [1.0, 3.0], [100.0], file)
    found = glide_table.stored(file)
    assert found["guidance"][FREE]["scales"] == [1.0, 3.0]
    assert found["guidance"][BY_CLIP]["scales"] == [100.0]
    parts = glide_table.column(found["guidance"][FREE]["runs"], "parts")
    assert parts.shape == (2, 2) and (parts[1] > parts[0]).all()
    assert found["best"] == 3.0 and found["rows"]["train"] == found["rows"]["real"]
    assert set(found["rows"]) == {"train", "held out", "shuffled", "real", "real, held out"}
    shares = [found["kinds"][name]["shape"] for name in ("real", "shuffled")]
    assert shares[0] > 0.9 > 0.6 > shares[1]


def test_rows_are_told_apart_in_standard_errors_of_their_differences():
    one, other = torch.tensor([0.5, 0.6, 0.7]), torch.tensor([0.4, 0.5, 0.5])
    apart = one - other
    wanted = float(apart.mean() / apart.std() * 3**0.5)
    assert glide_table.standard_errors_apart(one, other) == pytest.approx(wanted)


def test_the_stored_table_holds_both_ways_and_all_rows_for_each_seed():
    stored = glide_table.stored()
    assert set(stored["guidance"]) == {FREE, BY_CLIP} and stored["seeds"] >= 3
    for own in stored["guidance"].values():
        runs = torch.tensor(own["runs"])
        assert runs.shape == (len(own["scales"]), stored["seeds"], len(glide_table.COLUMNS))
    assert set(stored["rows"]) == {"train", "held out", "shuffled", "real", "real, held out"}
    parts = {name: glide_table.column(runs, "parts") for name, runs in stored["rows"].items()}
    assert all(len(row) == stored["seeds"] for row in parts.values())
    assert parts["real"].mean() > parts["train"].mean() > parts["shuffled"].mean()
    assert stored["kinds"]["real"].keys() == stored["said"]["real"].keys()
