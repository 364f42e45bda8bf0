"""The quiz: marked when an option is chosen, and silent about the answer until then."""

import pytest

from labkit.lab import quiz

OPTIONS = {
    "It adds noise": "Noise comes with <em>eta</em> above 0.",
    "It is deterministic": "No noise is drawn, so x_T decides everything.",
}


@pytest.fixture
def question():
    return quiz.ask("What does eta = 0 do?", OPTIONS, answer="It is deterministic")


def test_nothing_is_chosen_and_nothing_is_said_at_first(question):
    assert question.buttons.value is None
    assert question.feedback.value == ""
    assert not question.correct


def test_a_wrong_option_is_answered_by_its_own_reason(question):
    question.buttons.value = "It adds noise"
    assert not question.correct
    assert "Not this one." in question.feedback.value
    assert OPTIONS["It adds noise"] in question.feedback.value


def test_a_second_try_is_marked_anew(question):
    question.choose("It adds noise")
    assert question.choose("It is deterministic")
    assert "Right." in question.feedback.value
    assert OPTIONS["It adds noise"] not in question.feedback.value


def test_a_rendered_notebook_folds_the_answer_away(question):
    bundle = question._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    open_part, folded = bundle["text/html"].split("<details>")
    assert all(option in open_part for option in OPTIONS)
    assert "No noise is drawn" not in open_part
    assert "It is deterministic: No noise is drawn" in folded
    assert "Noise comes with" not in bundle["text/html"]
    assert "( ) It adds noise" in bundle["text/plain"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("", OPTIONS, "It adds noise"), "in words"),
        (("Q?", OPTIONS, "Something else"), "none of its options"),
        (("Q?", {"only": "one"}, "only"), "two options or more"),
        (("Q?", {"a": "reason", "b": ""}, "a"), "each with the reason"),
        (("Q?", {"$x$": "reason", "b": "reason"}, "b"), "plain text"),
    ],
)
def test_a_quiz_that_cannot_be_marked_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        quiz.ask(*arguments)
