"""Plain captions mean what the others meant, and avoid the words that only the corpus uses."""

import re
from random import Random

import pytest

from labkit import scenes
from labkit.scenes import corpus, tokenizer
from labkit.scenes.reading import read
from labkit.scenes.synonyms import PLAIN, SYNONYMS, plainly, rarely

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


def test_a_caption_in_other_words_means_the_same_and_uses_no_plain_word_that_has_one():
    random = Random(0)
    other = [rarely(plainly(text), random) for text in CAPTIONS]
    assert [read(text) for text in other] == [read(text) for text in CAPTIONS]
    assert [plainly(text) for text in other] == [plainly(text) for text in CAPTIONS]
    kept = re.sub("pale (blue|green|pink)", "", " ".join(other))
    assert not words(PLAIN.values()) & words([kept])
    assert rarely("an orange cross on a pale blue background", random) == (
        "a tangerine plus on a pale blue background"
    )
    assert {rarely("a red star", random) for _ in range(20)} == {"a crimson star", "a scarlet star"}
    assert rarely("a green star", random) == "an emerald star"


def test_plain_captions_never_use_the_avoided_words_and_the_corpus_uses_them_all():
    avoided = words(PLAIN) - {"a", "of"}
    assert avoided <= words(CAPTIONS) and avoided <= words(corpus.sentences(4000, 0))
    assert not avoided & words(map(plainly, CAPTIONS))
    pieces = tokenizer.load().split(" ".join(avoided))
    assert len(pieces) == len(avoided)  # each is one token


def test_what_is_no_text_is_refused():
    with pytest.raises(ValueError, match="a text is 3"):
        plainly(3)
    with pytest.raises(ValueError, match="a text is 3"):
        rarely(3, Random(0))
