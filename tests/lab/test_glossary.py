"""Each word of the glossary is met in the lesson that it names, and not before."""

from functools import cache

from labkit.lab import course, glossary
from labkit.lab.glossary import occurs
from notebooks import build

LAST = 13  # the lesson that looks back names everything once more


@cache
def texts() -> dict[int, str]:
    """What can be read in each lesson that is there, by its number."""
    found = {}
    for name in build.names():
        cells = build.read_source(name).cells
        found[int(name[:2])] = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    return found


@cache
def package() -> str:
    """All of labkit's source."""
    return "\n".join(path.read_text("utf-8") for path in sorted(course.PACKAGE.rglob("*.py")))


def test_a_term_is_met_in_its_lesson_or_in_labkit_where_that_lesson_is_to_come():
    missing = [
        (word.term, word.lesson)
        for word in glossary.terms()
        if not occurs(word.term, texts().get(word.lesson) or package())
    ]
    assert missing == []


def test_no_lesson_before_has_a_term_but_those_that_are_listed():
    early = [
        (word.term, number)
        for word in glossary.terms()
        for number, text in texts().items()
        if number < word.lesson and number not in word.named and occurs(word.term, text)
    ]
    assert early == []


def test_each_meaning_is_one_short_sentence():
    for word in glossary.terms():
        assert 3 < len(word.meaning.split()) <= 25, word.term
        assert word.meaning[0].isupper() and word.meaning.endswith("."), word.term


def test_each_term_is_there_once_in_the_order_of_the_lessons():
    terms = [word.term.lower() for word in glossary.terms()]
    assert len(set(terms)) == len(terms) > 80
    lessons = [word.lesson for word in glossary.terms()]
    assert lessons == sorted(lessons) and set(lessons) == set(range(LAST + 1))


def test_a_word_is_found_whole_in_the_plural_and_abbreviations_by_their_case():
    assert occurs("token", "Two Tokens.") and not occurs("token", "tokenizer")
    assert occurs("end token", "the end\ntoken") and not occurs("hub", "labkit.hub")
    assert occurs("CLIP", "with CLIP, too") and not occurs("CLIP", "clip the values")


def test_a_notebook_unfolds_all_terms_by_lesson_or_finds_some():
    everything, some = glossary.show()._repr_html_(), glossary.show(" Guidance ")
    assert everything.count("<li>") == len(glossary.terms()) and "<details open>" not in everything
    assert everything.count("<details>") == LAST + 1
    assert 3 < len(some.found) < 30 and "<details open>" in some._repr_html_()
    assert all("guidance" in f"{word.term} {word.meaning}".lower() for word in some.found)
    assert "No term" in glossary.show("xyz")._repr_html_() and "lesson 05" in repr(some)
