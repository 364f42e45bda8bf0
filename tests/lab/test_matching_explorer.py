"""The matching explorer: a gallery searched by a sentence, and what its words attend to."""

import pytest
import torch

from labkit import scenes, zoo
from labkit.lab.widgets.matching_explorer import MatchingExplorer
from labkit.nets.bert import BertConfig
from labkit.systems.matcher import Matcher, MatcherConfig
from labkit.systems.mmca import MMCA

EXAMPLES = ["a red star left of a moon", "two discs"]


@pytest.fixture(scope="module")
def mmca():
    torch.manual_seed(0)
    text = BertConfig(vocabulary=1010, context=32, width=16, depth=1, heads=2)
    config = MatcherConfig(text, width=16, heads=2, hidden=16, filters=8)
    return MMCA(zoo.load("reader-scenes"), Matcher(config)).eval()


@pytest.fixture(scope="module")
def pictures():
    return scenes.render(scenes.draw(12, 0), 32)


@pytest.fixture
def explorer(mmca, pictures):
    return MatchingExplorer(mmca, pictures, EXAMPLES, found=3)


def test_it_begins_with_the_first_example_its_best_picture_and_a_word(explorer):
    assert explorer.sentence.value == EXAMPLES[0]
    assert (
        "The 3 pictures that score highest with “a red star left of a moon”" in explorer.ranked.alt
    )
    assert explorer.ranked.alt.endswith("number 1 is framed")
    assert explorer.words.words == [
        "<begin>",
        "a",
        "red",
        "star",
        "left",
        "of",
        "a",
        "moon",
        "<end>",
    ]
    assert explorer.words.chosen == explorer.word.value > 0
    assert explorer.ranked.image.startswith(b"\x89PNG")
    assert explorer.regions.image.startswith(b"\x89PNG")


def test_the_best_picture_is_the_one_with_the_highest_score(explorer, mmca, pictures):
    scores = mmca(pictures, EXAMPLES[:1])[:, 0]
    said = ", ".join(f"{score:.2f}" for score in scores.topk(3).values)
    assert said in explorer.ranked.alt


def test_a_word_pointed_at_and_a_word_moved_to_are_the_same(explorer):
    explorer.words.chosen = 3
    assert explorer.word.value == 3
    pointed = explorer.regions.image, explorer.regions.alt
    assert "; “star” attends most to " in explorer.regions.alt
    explorer.word.value = 7
    assert explorer.words.chosen == 7
    assert "; “moon” attends most to " in explorer.regions.alt
    assert explorer.regions.image != pointed[0]
    explorer.word.value = 3
    assert (explorer.regions.image, explorer.regions.alt) == pointed


def test_another_of_the_pictures_found_is_looked_at_with_the_same_word(explorer):
    word, before = explorer.word.value, explorer.regions.image
    explorer.rank.value = 2
    assert "number 2 is framed" in explorer.ranked.alt
    assert explorer.regions.alt.startswith("The regions of picture 2")
    assert explorer.word.value == word and explorer.regions.image != before


def test_a_sentence_typed_or_chosen_is_searched(explorer):
    explorer.rank.value = 3
    explorer.example.value = "two discs"
    assert explorer.sentence.value == "two discs"
    assert explorer.words.words == ["<begin>", "two", "discs", "<end>"]
    assert explorer.word.max == 3 and explorer.rank.value == 1
    explorer.sentence.value = EXAMPLES[0]
    assert explorer.word.max == 8


@pytest.mark.parametrize("typed", ["a red asdf", "<script>alert(1)</script>", "   "])
def test_nonsense_gets_one_line_and_what_was_shown_stays(explorer, typed):
    before = explorer.ranked.image, explorer.regions.image
    explorer.sentence.value = typed
    said = explorer.message.value
    assert said.startswith('<div role="alert"') and "\n" not in said
    assert ">No answer: " in said and f"Below is still “{EXAMPLES[0]}”." in said
    assert said.count("<") == 2  # what was typed is shown, not obeyed
    assert (explorer.ranked.image, explorer.regions.image) == before
    explorer.sentence.value = "two discs"
    assert explorer.message.value == ""


def test_a_notebook_without_a_kernel_shows_both_pictures(explorer):
    bundle = explorer._repr_mimebundle_()
    assert bundle["image/png"] and "<img" in bundle["text/html"]
    assert "score highest" in bundle["text/plain"] and "attends most to" in bundle["text/plain"]


def test_a_gallery_of_two_is_shown_whole(mmca, pictures):
    small = MatchingExplorer(mmca, pictures[:2], EXAMPLES)
    assert "The 2 pictures" in small.ranked.alt
    small.rank.value = 2
    assert "number 2 is framed" in small.ranked.alt


@pytest.mark.parametrize(("count", "examples"), [(1, EXAMPLES), (3, []), (3, "a star")])
def test_a_gallery_of_one_and_no_examples_are_refused_in_one_sentence(
    mmca, pictures, count, examples
):
    with pytest.raises(ValueError, match="^MatchingExplorer was given[^\n]+$"):
        MatchingExplorer(mmca, pictures[:count], examples)
