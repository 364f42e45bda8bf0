"""What is stored for lesson 10: on copies of real pictures all is shown and kept."""

from types import SimpleNamespace

import pytest
import torch

from benchmarks import unclip_table as benchmark
from labkit import scenes, zoo
from labkit.lab import dalle2_table
from labkit.sampler import State


def copies(*pictures):
    yield State(0, *pictures, *pictures)


class Copying:
    """As if it were the system, its decoder or GLIDE: the picture that is asked for, or given."""

    def __init__(self, scenes_seed=20_011):
        self.clip, self.decoder = zoo.load("clip-scenes").requires_grad_(False), self
        self.seeds, self.pictures = [], scenes.render(scenes.draw(72, scenes_seed), 32)

    def embed(self, prompts, prior="diffusion", seed=0, **options):
        return torch.eye(len(prompts), 128)

    def generate(self, prompts, embedding=None, seed=0, **options):
        self.seeds.append(seed)
        return copies(self.pictures[: len(prompts)])

    def variations(self, image, eta, steps, seed):
        return copies(image)

    def text_diff(self, image, before, after, theta, steps):
        return copies(image.expand(len(theta), -1, -1, -1))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    system, glide = Copying(), Copying(20_511)
    file = tmp_path_factory.mktemp("table") / "table.json"
    given = SimpleNamespace(samples=72, pictures=12, steps=2, scale=3.0, only=None, out=file)
    with pytest.MonkeyPatch.context() as patch:
        load = zoo.load
        patch.setattr(
            benchmark.zoo, "load", lambda name, path=None: glide if "glide" in name else load(name)
        )
        benchmark.run(system, given)
    return dalle2_table.stored(file), system.seeds + glide.seeds


def test_copies_of_the_real_pictures_show_their_sentences_and_not_those_of_others(stored):
    rows = stored[0]["sentences"]
    for name in ("diffusion prior", "regression", "none", "real"):
        parts = dalle2_table.of(rows[name], "parts")
        assert parts.shape == (72,) and parts.mean() > 0.97
    assert dalle2_table.of(rows["shuffled"], "parts").mean() < 0.7
    assert len(rows["none"]["spread"]) == benchmark.FEW
    assert max(rows["none"]["spread"]) < 1e-6 < min(rows["real"]["spread"])


def test_a_copy_keeps_everything_and_changes_nothing(stored):
    kept = stored[0]["variations"]
    for name in kept["another's"]:
        own, other = (dalle2_table.of(kept[row], name).mean() for row in ("variation", "another's"))
        assert own > 0.9 and other < own
    for row in stored[0]["changes"].values():
        assert dalle2_table.of(row, "changed").mean() < 0.2
        assert all(dalle2_table.of(row, name).mean() > 0.8 for name in benchmark.KEPT)


def test_every_model_and_scale_of_guidance_has_its_row_and_no_noise_is_a_priors(stored):
    guidance, seeds = stored[0]["guidance"], stored[1]
    for rows in guidance.values():
        assert [float(scale) for scale in rows] == list(benchmark.SCALES)
        assert all(
            len(row["parts"]) == len(row["spread"]) == benchmark.FEW for row in rows.values()
        )
    assert min(seeds) >= benchmark.APART


def test_the_mean_difference_is_that_of_pairs():
    one, other = torch.tensor([0.5, 0.6, 0.7]), torch.tensor([0.4, 0.5, 0.5])
    apart = one - other
    assert dalle2_table.mean_difference(one, other) == pytest.approx(
        (apart.mean().item(), apart.std().item() / 3**0.5)
    )
