"""What the priors are measured by: the ceiling is another picture of the same sentence."""

import re
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import normalize

from benchmarks import priors
from labkit import scenes, zoo
from labkit.scenes.descriptions import descriptions


def test_another_picture_of_a_description_has_all_of_it_elsewhere():
    generator = torch.Generator().manual_seed(0)
    one, two = priors.elsewhere(scenes.draw(200, generator), generator)
    assert len(one.background) > 180
    assert descriptions(one, 0) == descriptions(two, 0)
    for name in ("shape", "color", "size", "fill", "inside", "background"):
        assert torch.equal(getattr(one, name), getattr(two, name))
    assert (one.place != two.place)[one.present].double().mean() > 0.7
    two.words()  # radii and all are those of this world


def test_the_ceiling_has_come_all_of_the_way_and_what_is_drawn_at_random_none():
    torch.manual_seed(0)
    true, other, drawn = (normalize(torch.randn(300, 6), dim=1) for _ in range(3))
    other = normalize(other + true, dim=1)
    texts = priors.Texts(true, torch.zeros(300, 2), torch.zeros(300, 2))
    found, shuffled, way, text, alike, distance = priors.figures(other, true, true, other, texts)
    assert way == 1 and found == text == alike > 0.5 > abs(shuffled)
    assert abs(priors.figures(drawn, drawn, true, other, texts)[2]) < 0.2
    assert distance < priors.figures(drawn + 1, drawn, true, other, texts)[-1]


class Guessing:
    """A prior that draws any direction."""

    def draw(self, texts, seed, **options):
        generator = torch.Generator().manual_seed(seed)
        return normalize(torch.randn(texts.embedding.shape, generator=generator), dim=1)


def test_every_table_is_printed(monkeypatch, capsys):
    shipped, embedded = zoo.load, priors.embedded_scenes

    def load(name, path=None):
        return Guessing() if "prior" in name else shipped(name)

    monkeypatch.setattr(priors, "zoo", SimpleNamespace(load=load))
    monkeypatch.setattr(priors, "wishes", lambda number, seed: ["a red star", "a blue disc"])
    monkeypatch.setattr(priors, "embedded_scenes", lambda clip, _, seed: embedded(clip, 200, seed))
    monkeypatch.setattr(sys, "argv", ["priors", "--samples", "160", "--seeds", "1"])
    priors.main()
    printed = capsys.readouterr().out
    assert printed.count("another picture") == 2 and "nan" not in printed
    (alike,) = re.findall(r"two real pictures . ([0-9.]+)", printed)
    assert 0.3 < float(alike) < 1
    assert "variance of 200 image embeddings" in printed


def test_too_few_scenes_for_a_distance_are_refused_before_any_work(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["priors", "--samples", "100"])
    with pytest.raises(SystemExit):
        priors.main()
    assert "at least 160" in capsys.readouterr().err
