"""Plain captions mean what the others meant, and avoid the words that only the corpus uses."""

import re

import pytest

from labkit import scenes
from labkit.scenes import corpus, tokenizer
from labkit.scenes.reading import read
from labkit.scenes.synonyms import PLAIN, SYNONYMS, plainly

CAPTIONS = scenes.captions(scenes.draw(3000, 0, "all"), 0)


def words(texts):
    return set(re.findall(r"\w+", " ".join(texts)))


def test_each_avoided_word_has_the_plain_one_of_its_kind():
    assert SYNONYMS["color"]["crimson"] == SYNONYMS["color"]["scarlet"] == "red"
    assert SYNONYMS["shape"]["boxes"] == "squares" and SYNONYMS["shape"]["disc"] == "circle"
    assert SYNONYMS["number"] == {"a pair of": "two", "a trio of": "three"}


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("a pair of crimson discs", "two red circles"),
        ("an emerald star under an azure box", "a green star under a blue square"),
        ("a tangerine plus", "an orange cross"),
        ("a red star", "a red star"),
        ("A Crimson DISC and An azure Box", "A red circle and A blue square"),
        (
            "an hour with a unicorn and a one-eyed heart",
            "an hour with a unicorn and a one-eyed heart",
        ),
    ],
)
def test_the_article_goes_with_the_word_behind_it(text, plain):
    assert plainly(text) == plain


def test_a_plain_caption_means_what_the_caption_meant():
    assert [read(plainly(text)) for text in CAPTIONS] == [read(text) for text in CAPTIONS]


def test_plain_captions_never_use_the_avoided_words_and_the_corpus_uses_them_all():
    avoided = words(PLAIN) - {"a", "of"}
    assert avoided <= words(CAPTIONS) and avoided <= words(corpus.sentences(4000, 0))
    assert not avoided & words(map(plainly, CAPTIONS))
    pieces = tokenizer.load().split(" ".join(avoided))
    assert len(pieces) == len(avoided)  # each is one token


def test_what_is_no_text_is_refused():
    with pytest.raises(ValueError, match="a text is 3"):
        plainly(3)
