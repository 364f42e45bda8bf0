"""The similarity explorer: nearest pictures of a sentence, nearest sentences of a picture."""

import pytest
import torch
import torch.nn.functional as F

from labkit.lab.widgets.similarity_explorer import SimilarityExplorer

WORDS = ("red", "green", "blue")


class Colors:
    """A CLIP of three words: it hears them, and sees which channels of a picture are bright."""

    def encode_text(self, texts):
        for text in texts:
            if unknown := [word for word in text.split() if word not in WORDS]:
                raise ValueError(f"'{text}' has words that nobody knows ({', '.join(unknown)})")
        rows = [[float(text.split().count(word)) for word in WORDS] for text in texts]
        return F.normalize(torch.tensor(rows), dim=1)

    def encode_image(self, pictures):
        return F.normalize((pictures.mean((2, 3)) + 1) / 2, dim=1)


SENTENCES = ["red", "green", "blue", "red green", "green blue"]


@pytest.fixture
def explorer():
    rows = Colors().encode_text(SENTENCES)
    pictures = (2 * rows - 1)[:, :, None, None].expand(-1, -1, 8, 8).clone()
    examples = ["green", "red red green"]
    return SimilarityExplorer(Colors(), pictures, SENTENCES, examples, found=3, said=2)


def test_it_begins_with_the_first_example_and_the_first_picture(explorer):
    assert explorer.sentence.value == "green"
    assert "The 3 pictures nearest to “green”; those of “green” 1.00, “" in explorer.pictures.alt
    assert "Picture 0 and the 2 sentences nearest to it, “red” 1.00" in explorer.sentences.alt
    assert explorer.pictures.image.startswith(b"\x89PNG")
    assert explorer.sentences.image.startswith(b"\x89PNG")


def test_a_sentence_typed_finds_other_pictures(explorer):
    before = explorer.pictures.image
    explorer.sentence.value = "green green blue"
    assert "those of “green blue” 0.95, “green” 0.89 come first" in explorer.pictures.alt
    assert explorer.pictures.image != before and explorer.message.value == ""


def test_the_menu_types_its_example(explorer):
    explorer.example.value = "red red green"
    assert explorer.sentence.value == "red red green"
    assert "“red green” 0.95" in explorer.pictures.alt


def test_a_picture_chosen_gets_its_sentences_and_says_where_its_own_is(explorer):
    explorer.number.value = 3
    assert "Picture 3" in explorer.sentences.alt and "“red green” 1.00" in explorer.sentences.alt
    assert explorer.sentences.alt.endswith("its own is number 1")


def test_where_its_own_sentence_is_not_near_it_says_so():
    wrong = ["green", "red", "red"]
    pictures = torch.full((3, 3, 8, 8), -1.0)
    pictures[torch.arange(3), torch.tensor([0, 1, 1])] = 1.0  # a red one, two green ones
    explorer = SimilarityExplorer(Colors(), pictures, wrong, said=2, found=2)
    assert explorer.sentence.value == "green"  # without examples, the first of the sentences
    assert explorer.sentences.alt.endswith("its own is not among them")


@pytest.mark.parametrize("typed", ["red asdf", "<script>alert(1)</script>", "🙂", "   "])
def test_nonsense_gets_one_line_and_what_was_shown_stays(explorer, typed):
    before = explorer.pictures.image, explorer.pictures.alt
    explorer.sentence.value = typed
    said = explorer.message.value
    assert said.startswith('<div role="alert"') and "\n" not in said
    assert ">No answer: " in said and "Below is still “green”." in said
    assert said.count("<") == 2  # what was typed is shown, not obeyed
    assert (explorer.pictures.image, explorer.pictures.alt) == before
    explorer.sentence.value = "blue"  # and it goes on
    assert explorer.message.value == "" and "“blue” 1.00" in explorer.pictures.alt


def test_a_notebook_without_a_kernel_shows_both_answers(explorer):
    bundle = explorer._repr_mimebundle_()
    assert bundle["image/png"] and "<img" in bundle["text/html"]
    assert "nearest to “green”" in bundle["text/plain"]
    assert "Picture 0" in bundle["text/plain"]


@pytest.mark.parametrize("count", [1, 3])
def test_a_small_gallery_is_shown_whole(count):
    small = SimilarityExplorer(Colors(), torch.zeros(count, 3, 8, 8), SENTENCES[:count])
    assert f"The {count} pictures nearest to “red”" in small.pictures.alt


def test_a_first_example_that_cannot_be_read_is_refused():
    with pytest.raises(ValueError, match="words that nobody knows"):
        SimilarityExplorer(Colors(), torch.zeros(1, 3, 8, 8), ["red"], ["zebra"])


@pytest.mark.parametrize("count", [0, 2])
def test_pictures_without_their_sentences_are_refused_in_one_sentence(count):
    with pytest.raises(ValueError, match="^SimilarityExplorer was given[^\n]+$"):
        SimilarityExplorer(Colors(), torch.zeros(count, 3, 8, 8), ["red"])
