"""The shipped clip-scenes: what it names without having been taught to, and what it finds again."""

import pytest
import torch

from labkit import scenes, zoo
from labkit.metrics.retrieval import recall_at
from labkit.metrics.zero_shot import class_vectors, classify
from labkit.scenes import tokenizer
from labkit.scenes.descriptions import descriptions
from labkit.scenes.world import together

TEMPLATES = ("a {}", "a picture of a {}", "there is a {}", "you can see a {}")
WORDS = scenes.ATTRIBUTES


@pytest.fixture(scope="module")
def clip():
    return zoo.load("clip-scenes")


def alone(count: int, split: str, seed: int) -> scenes.Scenes:
    """That many scenes of a single object."""
    generator, found = torch.Generator().manual_seed(seed), []
    while sum(len(part.background) for part in found) < count:
        drawn = scenes.draw(2 * count, generator, split)
        found.append(drawn.take(drawn.count == 1))
    return together(found).take(slice(0, count))


def test_it_reads_with_the_course_s_own_tokenizer(clip):
    assert clip.config.text.vocabulary == len(tokenizer.load())
    assert clip.config.text.end == tokenizer.load().end


@pytest.fixture(scope="module")
def fresh():
    """Scenes of a single object and their pictures; unseen combinations come below."""
    drawn = alone(3000, "train", seed=11)
    return drawn, scenes.render(drawn, 32)


def named(clip, pictures: torch.Tensor, classes: list[str]) -> torch.Tensor:
    return classify(clip, pictures, class_vectors(clip, classes, TEMPLATES)).argmax(1)


@pytest.mark.parametrize("name", WORDS)
def test_it_names_each_attribute_of_a_single_object_by_prompts_alone(clip, fresh, name):
    drawn, pictures = fresh
    classes = [word if name == "shape" else f"{word} shape" for word in WORDS[name]]
    right = named(clip, pictures, classes) == getattr(drawn, name)[:, 0]
    assert right.double().mean() >= 0.98


@pytest.mark.parametrize(
    "kind, name, least",
    [("colors", "color", 0.98), ("fills", "fill", 0.68)],  # by chance 1/64 and 1/32
)
def test_it_names_most_combinations_that_no_training_picture_showed(clip, kind, name, least):
    drawn = alone(500, f"unseen-{kind}", seed=12)
    classes = [f"{word} {shape}" for word in WORDS[name] for shape in WORDS["shape"]]
    truth = getattr(drawn, name)[:, 0] * len(WORDS["shape"]) + drawn.shape[:, 0]
    found = named(clip, scenes.render(drawn, 32), classes)
    assert (found == truth).double().mean() >= least


def test_among_a_hundred_scenes_it_finds_the_picture_of_a_description_and_back(clip):
    found = []
    for seed in range(5):
        drawn = scenes.draw(100, 1000 + seed, "all")
        with torch.no_grad():
            similarity = clip(scenes.render(drawn, 32), descriptions(drawn, seed))
        found.append([recall_at(similarity), recall_at(similarity.T)])
    assert torch.tensor(found).mean(0).min() >= 0.95
