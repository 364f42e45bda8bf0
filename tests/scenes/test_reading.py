"""What a learner may write: read as it is meant, or refused in one sentence, never half read."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labkit.scenes.meaning import Meaning, Relation, Thing
from labkit.scenes.reading import read
from labkit.scenes.words import OPENINGS

STAR, MOON, RED_STAR = Thing("star"), Thing("moon"), Thing("star", "red")
LEFT, RIGHT = ({"column": side} for side in ("left", "right"))


def test_what_a_learner_may_write_is_understood():
    assert read("Red star.") == Meaning((Thing("star", "red"),))
    assert read("something blue").things == (Thing(color="blue"),)
    assert read("a small   crescent\nabove two boxes") == Meaning(
        (Thing("moon", size="small"), Thing("square", number=2)), (Relation(0, "above", 1),)
    )
    assert read("the heart is on the left").things == (Thing("heart", column="left"),)


@pytest.mark.parametrize(("sentence", "things"), [
    ("the star is red", [RED_STAR]),
    ("the star is red, and the moon is blue", [RED_STAR, Thing("moon", "blue")]),
    ("the star is red and striped and the moon is small",
     [Thing("star", "red", fill="striped"), Thing("moon", size="small")]),
    ("the star is red and striped moons", [RED_STAR, Thing("moon", fill="striped")]),
    ("the star is red on the left", [Thing("star", "red", **LEFT)]),
    ("the star is on the left and red", [Thing("star", "red", **LEFT)]),
    ("the star on the left is red", [Thing("star", "red", **LEFT)]),
    ("two stars are red", [Thing("star", "red", number=2)]),
    ("a moon and two stars are red", [MOON, Thing("star", "red", number=2)]),
    ("in the top left a red star", [Thing("star", "red", row="top", column="left")]),
    ("on the left is a red star", [Thing("star", "red", **LEFT)]),
    ("on the left, a red star", [Thing("star", "red", **LEFT)]),
    ("on the left there is a star", [Thing("star", **LEFT)]),
    ("on the left a star and on the right a moon", [Thing("star", **LEFT), Thing("moon", **RIGHT)]),
    ("on the left is a star; on the right is a moon",
     [Thing("star", **LEFT), Thing("moon", **RIGHT)]),
    ("a star and on the left there is a moon", [STAR, Thing("moon", **LEFT)]),
    ("a star, on the left, and a moon", [Thing("star", **LEFT), MOON]),
    ("the star is on the left and the moon is on the right",
     [Thing("star", **LEFT), Thing("moon", **RIGHT)]),
    ("a red star,a blue moon", [RED_STAR, Thing("moon", "blue")]),
    ("red star,moon;heart", [RED_STAR, MOON, Thing("heart")]),
    ("next to the star is a moon", [STAR, MOON]),
])  # fmt: skip
def test_things_and_what_is_said_of_them(sentence, things):
    assert read(sentence) == Meaning(tuple(things))


@pytest.mark.parametrize(("sentence", "things", "relations"), [
    ("a star is above a moon", [STAR, MOON], [(0, "above", 1)]),
    ("a star that is above a moon", [STAR, MOON], [(0, "above", 1)]),
    ("the star is red and left of a moon", [RED_STAR, MOON], [(0, "left of", 1)]),
    ("a moon below a star left of a heart", [MOON, STAR, Thing("heart")],
     [(0, "below", 1), (1, "left of", 2)]),
    ("above a moon is a star left of a heart", [STAR, MOON, Thing("heart")],
     [(0, "above", 1), (0, "left of", 2)]),
    ("a star is above a moon and the moon is left of a heart",
     [STAR, MOON, MOON, Thing("heart")], [(0, "above", 1), (2, "left of", 3)]),
    ("a moon with a star inside", [MOON, STAR], [(0, "around", 1)]),
])  # fmt: skip
def test_relations_have_the_subject_that_is_meant(sentence, things, relations):
    assert read(sentence) == Meaning(tuple(things), tuple(Relation(*one) for one in relations))


@pytest.mark.parametrize(("sentence", "message"), [
    ("", "says something"), ("   ", "says something"), (None, "says something"),
    ("a red elephant", "has no 'elephant'"), ("a rad star", "did you mean 'red'"),
    ("un círculo", "has no 'un'"), ("a ★", "has no '★'"), ("a red blue star", "two colors"),
    ("a star left of", "left of"), ("and also", "names nothing"), ("with", "names nothing"),
    ("a star in the top left on the right", "two places"),
    ("a star that is red and blue", "two colors"),
    ("the red star is blue", "two colors"),
    ("the star is red and blue", "two colors"),
    ("on the left a star on the right", "two places"),
    ("on the left on the right a star", "two places"),
    ("a star is above a moon and left of a heart", "leaves open of which thing it says 'left of'"),
    ("a star above a moon is left of a heart", "leaves open of which thing"),
    ("a star above a moon is red", "leaves open of which thing it says 'red'"),
    ("a star next to a moon is red", "leaves open of which thing"),
    ("a star and a moon are red", "leaves open of which thing"),
    ("a star and a moon, left of a heart", "leaves open of which thing"),
    ("a star above a moon, on the left", "leaves open of which thing it says 'on the left'"),
    ("on the left above a star is a moon", "leaves open of which thing"),
    ("a circle with a star inside above a moon", "leaves open of which thing"),
    ("the star is a moon", "one thing is another"),
    ("above a star is red", "of what something is above"),
    ("above below a star is a moon", "of what something is above"),
    ("on the left", "does not say what is on the left"),
    ("a star on a mint background on a beige background", "two backgrounds"),
    ("two shapes and one object", "how many there are in all"),
])  # fmt: skip
def test_what_says_nothing_or_two_things_is_refused_in_one_sentence(sentence, message):
    with pytest.raises(ValueError, match=message) as caught:
        read(sentence)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_the_same_background_may_be_said_twice():
    assert read("on mint, a star on a mint background") == Meaning((STAR,), background="mint")


def sound(text: str) -> bool:
    """Whether it is read. Relations must then be between two things that are there; otherwise one
    sentence must say why not."""
    try:
        meaning = read(text)
    except ValueError as error:
        assert "\n" not in str(error) and len(str(error)) < 400
        return False
    number = set(range(len(meaning.things)))
    assert all(a != b and {a, b} <= number for a, _, b in meaning.relations)
    return True


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from([*OPENINGS, "a", "two", "red", "star", "left of", "with",
                                 "inside", "on a mint background", "that is", "and", "is", ",",
                                 "on the left", "shapes", "above", "small"]),
                max_size=9))  # fmt: skip
def test_any_heap_of_known_words_is_read_or_refused_in_one_sentence(heap):
    sound(" ".join(heap))


def test_long_heaps_of_words_are_read_or_refused():
    words = ["a star", "the red moon", "two boxes", "is", "are", "and", ",", "with", "left of",
             "inside", "on the left", "red", "striped", "on sky", "that is", "shapes", "there is",
             "next to", "a picture of", ";", "two", "the"]  # fmt: skip
    random, understood = Random(0), 0
    for _ in range(4000):
        understood += sound(" ".join(random.choices(words, k=random.randint(1, 9))))
    assert understood > 1000
