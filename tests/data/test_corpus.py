"""The sentences without pictures: many words, reproducible, silent about unseen combinations."""

import re
from random import Random

import pytest

from labkit.data import corpus, scenes, tokenizer
from labkit.data import scenes_words as words
from labkit.data.caption_reader import read

TEXTS = corpus.sentences(6000, 0)


def vocabulary(texts):
    return set(re.findall(r"[\w-]+", " ".join(texts)))


def test_the_same_seed_gives_the_same_sentences():
    assert corpus.sentences(200, 3) == corpus.sentences(200, 3) != corpus.sentences(200, 4)
    random = Random(3)
    assert corpus.sentences(50, random) != corpus.sentences(50, random)


def test_the_vocabulary_holds_that_of_the_captions_and_twice_as_many_words():
    captions = vocabulary(scenes.captions(scenes.draw(4000, 0), 0))
    texts = vocabulary(TEXTS)
    assert captions <= texts and len(texts) > 2 * len(captions)


def test_every_sentence_fits_the_context_and_hardly_any_comes_twice():
    assert tokenizer.load().encode(TEXTS).ids.shape == (len(TEXTS), tokenizer.CONTEXT)
    assert len(set(TEXTS)) > 0.8 * len(TEXTS)


@pytest.mark.parametrize("kind", corpus.KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_of_sentence_has_something_to_say(kind):
    drawn, random = scenes.draw(300, 1), Random(0)
    said = set()
    for scene, relations in zip(drawn.words(), drawn.relation.tolist()):
        facts = [(a, scenes.RELATIONS[relations[a][b]], b) for a in range(3) for b in range(3)
                 if relations[a][b] >= 0]  # fmt: skip
        said.add(kind(scene, relations, facts, random))
    assert len(said) > 30
    assert all("  " not in text and "{" not in text and "None" not in text for text in said)


def test_what_is_said_of_relations_is_true():
    """Read apart from how it was written: "if a is left of b, then b is right of a"."""
    opposite = {"left of": "right of", "above": "below", "inside": "around"}
    opposite |= {b: a for a, b in opposite.items()}
    checked = 0
    for text in TEXTS:
        match = re.fullmatch(r"if (.*), then (.*)", text)
        if match:
            (one, two), ((_, name, _),) = read(match[1]).things, read(match[1]).relations
            (two_again, one_again), ((_, back, _),) = (
                read(match[2]).things,
                read(match[2]).relations,
            )
            assert (one, two) == (one_again, two_again) and back == opposite[name], text
            checked += 1
    assert checked > 50


def test_no_sentence_for_training_names_an_object_of_an_unseen_combination():
    colors = {word: idea for idea, names in words.COLOR_WORDS.items() for word in names}
    shapes = {
        word: shape for shape, pairs in words.NOUNS.items() for pair in pairs for word in pair
    }
    fills = {word: idea for idea, names in words.FILL_WORDS.items() for word in names}
    for text in TEXTS:
        said = re.findall(r"[\w-]+|[^\w\s]", text)
        for index, word in enumerate(said):
            while word in shapes and index and (said[index - 1] in {**colors, **fills}):
                index -= 1  # through all adjectives in front of the noun
                assert (colors.get(said[index]), shapes[word]) not in scenes.UNSEEN["colors"], text
                assert (fills.get(said[index]), shapes[word]) not in scenes.UNSEEN["fills"], text


@pytest.mark.parametrize(("given", "message"), [
    ((0,), "number of sentences is 0"), ((3, -1), "seed is -1"), ((3, 0, "test"), "unknown split"),
])  # fmt: skip
def test_bad_input_gets_one_sentence(given, message):
    with pytest.raises(ValueError, match=f"^[^\n]*{message}[^\n]*$"):
        corpus.sentences(*given)
