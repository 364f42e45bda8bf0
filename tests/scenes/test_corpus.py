"""The sentences without pictures: many words, reproducible, silent about unseen combinations."""

import re
from random import Random

import pytest

from labkit import scenes
from labkit.scenes import corpus, tokenizer, words
from labkit.scenes.reading import read

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


def test_a_rewording_says_the_same_of_a_thing_in_other_words():
    texts = corpus.rewordings(600, 0)
    assert texts == corpus.rewordings(600, 0) and len(set(texts)) > 500
    assert tokenizer.load().encode(texts).mask.any(1).all()
    forms = (
        r"every (.*?) is (an? .*)", r"if it is (.*), then it is (.*)",
        r"it is (.*), so it is (.*)", r"(.*), so (.*)", r"(.*?) are ((?:two|three|a) .*)",
        r"(.*?) is (an? .*)",
    )  # fmt: skip
    avoided = set()
    for text in texts:
        first, second = next(
            match for form in forms if (match := re.fullmatch(form, text))
        ).groups()
        assert first != second and read(first) == read(second), text
        avoided |= set(re.findall(r"\w+", text)) & vocabulary(words.COLOR_WORDS["red"])
    assert avoided == {"red", "crimson", "scarlet"}
    assert not [text for text in texts if forbidden(text)]


COLORS, FILLS, SIZES = (
    {word: idea for idea, names in table.items() for word in names}
    for table in (words.COLOR_WORDS, words.FILL_WORDS, words.SIZE_WORDS)
)
FILLS |= {ending: fill for fill, ending in words.FILL_ENDINGS.items()}
SHAPES = {word: shape for shape, pairs in words.NOUNS.items() for pair in pairs for word in pair}
RELATIONS = {word: name for name, said in words.RELATION_WORDS.items() for word in said}
OPPOSITE = {"left of": "right of", "above": "below"}
OPPOSITE |= {b: a for a, b in OPPOSITE.items()}


def any_of(table) -> str:
    return "(?:" + "|".join(sorted(table, key=len, reverse=True)) + ")"


ADJECTIVE = any_of(COLORS | FILLS | SIZES)
NAME = (  # "small red star with stripes", "star that is purple and dotted"
    rf"(?:{ADJECTIVE} )*\b{any_of(SHAPES)}\b"
    rf"(?: that (?:is|are) {ADJECTIVE}(?: and {ADJECTIVE})*)?(?: {any_of(FILLS)})?"
)
SIDES = re.compile(
    rf"(?P<before>{NAME})?(?: is| are| must be)?\s*\b(?P<relation>{any_of(RELATIONS)})\b"
    rf"(?: (?:a|an|the) (?P<after>{NAME}))?(?P<it> it\b)?"
    rf"(?:(?: is|\?) (?:an?|the) (?P<turned>{NAME}))?"
)


def idea(name: str, table: dict) -> str | None:
    """What of a table a name says."""
    return next((table[word] for word in re.findall(rf"\b{any_of(table)}\b", name)), None)


def forbidden(text: str) -> list:
    """The combinations kept from training of which a sentence speaks."""
    known = scenes.UNSEEN
    answer = rf"\bthe ({any_of(SHAPES)})\b.*\? (?:yes, )?it is (.*)"
    names = [f"{adjectives} {noun}" for noun, adjectives in re.findall(answer, text)]
    names += re.findall(NAME, text)
    found = [said for name in names for kind, table in (("colors", COLORS), ("fills", FILLS))
             if (said := (idea(name, table), idea(name, SHAPES))) in known[kind]]  # fmt: skip
    for match in SIDES.finditer(text):
        name = RELATIONS[match["relation"]]
        other = match["after"] or (re.search(NAME, text)[0] if match["it"] else None)
        # "above the box is a star", "what is above the box? a star"
        for one, is_what in ((match["before"] or match["turned"], name),
                             (other, OPPOSITE.get(name))):  # fmt: skip
            if one and (f"{idea(one, FILLS)} {idea(one, SHAPES)}", is_what) in known["relations"]:
                found.append((one, is_what))
    return found


@pytest.mark.parametrize("text", [
    "mira drew a purple star", "a violet small star", "two stars that are purple",
    "a star that is large and purple", "a circle with stripes", "tom lost a striped red disc",
    "is the moon red? yes, it is red and outlined", "what color is the heart? it is orange",
    "a hollow star above a box", "if the hollow star is over the box, then the box is red",
    "a box under an outlined star", "above a box is a hollow star",
    "what is above the red box? a hollow star", "draw a hollow star, then put a box below it",
    "so the heart that is plain must be below the box", "a triangle with stripes left of a box",
])  # fmt: skip
def test_an_unseen_combination_is_found_in_whatever_form(text):
    assert forbidden(text)


def test_no_sentence_for_training_speaks_of_an_unseen_combination():
    assert not [(text, found) for text in TEXTS if (found := forbidden(text))]
    for kind in scenes.UNSEEN:  # and where they may be spoken of, they are
        told = corpus.sentences(400, 1, f"unseen-{kind}")
        assert sum(bool(forbidden(text)) for text in told) > 20, kind


@pytest.mark.parametrize(("given", "message"), [
    ((0,), "number of sentences is 0"), ((3, -1), "seed is -1"), ((3, 0, "test"), "unknown split"),
])  # fmt: skip
def test_bad_input_gets_one_sentence(given, message):
    with pytest.raises(ValueError, match=f"^[^\n]*{message}[^\n]*$"):
        corpus.sentences(*given)
