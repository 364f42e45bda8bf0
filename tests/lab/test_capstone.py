"""The capstone: real pictures reach the ceiling, those of others the floor, and what is no picture
for each caption is named."""

import pytest
import torch

from benchmarks import capstone as benchmark
from labkit.lab import capstone
from labkit.lab.capstone import Marks, NoPictures


def real(captions, ten):
    return capstone.asked(ten).real


def test_real_pictures_show_their_sentences_and_not_those_of_others():
    top, bottom = capstone.ceiling(20), capstone.floor(20)
    assert top.parts > 0.95 and bottom.parts < 0.5 and top.whole > 0.8
    assert top.said.equal(bottom.said) and len(top.said) == 20
    assert 0 < bottom.error < 0.15


def test_a_short_run_is_the_beginning_of_a_long_one():
    short, long = capstone.floor(10), capstone.floor(20)
    assert long.shown[:10].equal(short.shown) and long.said[:10].equal(short.said)


def test_larger_pictures_are_made_small():
    def large(captions, ten):
        return capstone.asked(ten).real.repeat_interleave(2, 2).repeat_interleave(2, 3)

    assert capstone.benchmark(large, 10).parts == capstone.ceiling(10).parts


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda c, s: "pictures", r"returns pictures \(B, 3, S, S\)"),
        (lambda c, s: real(c, s)[:9], "for 10 captions: return one for each"),
        (lambda c, s: real(c, s)[..., :30, :30], "multiple of 32 pixels"),
        (lambda c, s: real(c, s) * 1.5, "clamp"),
        (lambda c, s: real(c, s) * torch.nan, "clamp"),
    ],
)
def test_what_is_no_picture_for_each_caption_is_named(wrong, said, capsys):
    with pytest.raises(NoPictures, match=said):
        capstone.benchmark(wrong, 10)
    assert capstone.mark(wrong, 10) is None
    assert capsys.readouterr().out.startswith("✗ ")


def test_the_untouched_stub_is_told_what_is_to_do(capsys):
    assert capstone.mark(lambda captions, seed: None, 10) is None
    assert "still to do" in capsys.readouterr().out


def test_sentences_come_in_tens():
    with pytest.raises(ValueError, match="multiple"):
        capstone.benchmark(real, 15)
    with pytest.raises(ValueError, match="10"):
        capstone.benchmark(real, 0)


def test_the_leaderboard_has_yours_between_ceiling_and_floor(capsys):
    ranked = list(capstone.leaderboard(capstone.ceiling(10), 10))
    assert ranked[0].startswith("ceiling") and ranked[1] == "yours"
    assert ranked[-1].startswith("floor") and set(ranked) >= set(capstone.stored(10))
    assert "yours" in capsys.readouterr().out


def test_how_far_one_is_ahead_is_asked_sentence_by_sentence():
    said, valid = torch.tensor([2.0, 2, 4]), torch.ones(3, dtype=torch.bool)
    one = Marks(torch.tensor([2.0, 1, 4]), said, valid, 0.0)
    other = Marks(torch.tensor([1.0, 1, 4]), said, valid, 0.0)
    gained, error = capstone.ahead(one, other)
    assert gained == pytest.approx(1 / 8) and error > 0
    assert capstone.ahead(one, one) == (0.0, 0.0)


def test_what_has_no_weights_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(capstone.zoo, "WEIGHTS", tmp_path)
    monkeypatch.setattr(capstone, "ceiling", lambda number: one)
    monkeypatch.setattr(capstone, "floor", lambda number: one)
    one = Marks(torch.ones(10), torch.ones(10), torch.ones(10).bool(), 0.0)
    assert not capstone.trained("glide-scenes-64")
    (tmp_path / "glide-scenes.safetensors").touch()
    assert capstone.trained("glide-scenes") and not capstone.trained("glide-scenes-64")
    monkeypatch.setattr(capstone, "stored", lambda number: {})
    capstone.leaderboard(number=10)
    lines = capsys.readouterr().out.splitlines()
    assert any("GLIDE, 32 pixels" in line and "not measured yet" in line for line in lines)
    assert any("Imagen" in line and "not trained yet" in line for line in lines)


def test_the_benchmark_keeps_what_is_measured_and_can_be_read_again(monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark.capstone, "course", lambda name: real)
    monkeypatch.setattr(benchmark.capstone, "trained", lambda name: name == "glide-scenes")
    file = tmp_path / "marks.json"
    benchmark.run(10, list(capstone.PIPELINES), False, file)
    found = capstone.stored(10, file)
    assert list(found) == ["09 GLIDE, 32 pixels"]
    assert found["09 GLIDE, 32 pixels"].parts == capstone.ceiling(10).parts
    assert capstone.stored(20, file) == {}
