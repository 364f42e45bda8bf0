"""What DALL·E 2's pictures are measured by: on real pictures all is as it was."""

import sys
from types import SimpleNamespace

import pytest
import torch

from benchmarks import unclip
from labkit import scenes, zoo
from labkit.sampler import State


class Copying:
    """Gives every picture back, whatever is asked; draws none of its own, and notes the seeds."""

    def __init__(self):
        self.clip, self.decoder = zoo.load("clip-scenes"), self
        self.seeds = {"prior": [], "decoder": []}

    def embed(self, prompts, prior, seed):
        self.seeds["prior"].append(seed)
        return torch.eye(len(prompts), 128)

    def generate(self, prompts, embedding, seed, **options):
        self.seeds["decoder"].append(seed)
        drawn = torch.rand(len(prompts), 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        yield State(0, drawn, drawn)

    def variations(self, image, eta, steps, seed):
        yield State(0, image, image)

    def text_diff(self, image, before, after, theta, steps):
        image = image.expand(len(theta), -1, -1, -1)
        yield State(0, image, image)


@pytest.fixture
def given():
    return SimpleNamespace(samples=24, steps=2, scale=3.0)


def test_a_real_picture_is_read_as_what_is_in_it():
    truth = unclip.single(40, 0)
    assert len(truth.background) == 40
    own = [unclip.facts(scene.objects[0], scene.background) for scene in truth.words()]
    seen = unclip.read_one(scenes.render(truth, 32))
    assert sum(a == b for a, b in zip(own, seen, strict=True)) >= 37
    two = scenes.draw(40, 1)
    two = two.take(two.count == 2)
    assert unclip.read_one(scenes.render(two, 32)).count(None) >= len(two.background) - 2


def test_a_picture_that_is_given_back_has_kept_everything_and_changed_nothing(given):
    for shares in unclip.varied(Copying(), given, 0).values():
        assert len(shares) == len(unclip.TABLES["variations"][1]) - 1
        assert min(shares) > 0.9
    for shares in unclip.changed(Copying(), given, 0).values():
        assert len(shares) == len(unclip.TABLES["changes"][1]) - 1
        assert shares[0] < 0.05 and min(shares[1:]) > 0.9


def test_a_smear_keeps_nothing(given):
    smear = SimpleNamespace(
        variations=lambda image, *_, **__: iter([State(0, image, torch.zeros_like(image))])
    )
    for shares in unclip.varied(smear, given, 0).values():
        assert max(shares) < 0.2


def test_no_noise_of_a_prior_nor_of_another_seed_is_the_decoders(given):
    given.samples, seeds = 4, []
    for seed in range(2):
        system = Copying()
        unclip.from_sentences(system, given, seed)
        seeds.append(set(system.seeds["decoder"]))
        assert len(seeds[-1]) == 1 + unclip.EACH
        assert seeds[-1].isdisjoint({*system.seeds["prior"], *range(1000)})
    assert seeds[0].isdisjoint(seeds[1])


def test_every_table_is_printed(monkeypatch, capsys):
    monkeypatch.setattr(unclip, "system_of", lambda decoder: Copying())
    monkeypatch.setattr(sys, "argv", ["unclip", "--samples", "6", "--seeds", "2"])
    unclip.main()
    printed = capsys.readouterr().out
    for row in ("diffusion prior", "caption alone", "eta 0.5", "theta 0.25"):
        assert f"| {row} |" in printed
