"""Questions that are marked on the spot, with a reason for every answer."""

from html import escape

import ipywidgets

from labkit.lab import progress

_RIGHT, _WRONG = "#009E73", "#D55E00"

# ipywidgets keeps an option on one line and cuts off the rest; a long one should wrap.
_WRAP = (
    "<style>.lab-quiz .widget-radio-box label { display: flex; align-items: flex-start; gap: 8px; "
    "white-space: normal; height: auto; line-height: 1.4; margin-bottom: 4px } "
    ".lab-quiz .widget-radio-box input { order: -1; flex: none; position: static; "
    "margin: -1px 0 0 }</style>"
)


class Quiz(ipywidgets.VBox):
    """One question with a single right answer, as radio buttons; see `ask`."""

    def __init__(self, question: str, options: dict[str, str], answer: str):
        self.question, self.options, self.answer = question, dict(options), answer
        _validate(question, self.options, answer)
        self.buttons = ipywidgets.RadioButtons(
            options=list(self.options), index=None, layout={"width": "auto", "max_width": "46em"}
        )
        self.feedback = ipywidgets.HTMLMath()
        super().__init__(
            [
                ipywidgets.HTMLMath(f"{_WRAP}<strong>{question}</strong>"),
                self.buttons,
                self.feedback,
            ]
        )
        self.add_class("lab-quiz")
        self.buttons.observe(self._mark, "value")

    @property
    def correct(self) -> bool:
        """Whether the right answer is chosen now."""
        return self.buttons.value == self.answer

    def choose(self, option: str) -> bool:
        """Choose an option, as a click does, and say whether it is right."""
        self.buttons.value = option
        return self.correct

    def _mark(self, change) -> None:
        if change["new"] is None:
            self.feedback.value = ""
            return
        color, word = (_RIGHT, "Right.") if self.correct else (_WRONG, "Not this one.")
        trouble = progress.answered(self.question) if self.correct else ""
        self.feedback.value = (
            f'<div role="status" style="border-left: 5px solid {color}; padding: 4px 12px; '
            f'max-width: 46em; line-height: 1.45"><strong>{word}</strong> '
            f"{self.options[change['new']]}</div>{escape(trouble)}"
        )

    def _repr_mimebundle_(self, **kwargs):
        live = super()._repr_mimebundle_(**kwargs) or {}
        return live | {"text/html": self._html(), "text/plain": self._text()}

    def _html(self) -> str:
        items = "".join(f"<li>{escape(option)}</li>" for option in self.options)
        return (
            f"<p><strong>{self.question}</strong></p><ul>{items}</ul>"
            f"<details><summary>Answer</summary><p>{escape(self.answer)}: "
            f"{self.options[self.answer]}</p></details>"
        )

    def _text(self) -> str:
        return "\n".join([self.question, *(f"  ( ) {option}" for option in self.options)])


def ask(question: str, options: dict[str, str], answer: str) -> Quiz:
    """A question to put at the end of a cell; it is marked when an option is chosen, and a right
    answer is kept where `labkit.lab.progress` says.

        ask("What does eta = 0 do?", {"It removes the noise": "...", "Nothing": "..."},
            answer="It removes the noise")

    question: HTML, with $...$ for mathematics. options: each option in plain text -> why it is
    right or wrong (HTML and $...$ again). answer: the right option. A rendered notebook shows the
    question, its options, and the answer folded away.
    Raises ValueError unless there are two options or more, each with a reason, and `answer` is one.
    """
    return Quiz(question, options, answer)


def _validate(question, options, answer) -> None:
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"The quiz was given the question {question!r}; give it in words.")
    if len(options) < 2 or not all(isinstance(why, str) and why for why in options.values()):
        raise ValueError(
            f"The quiz {question!r} needs two options or more, each with the reason why it is "
            "right or wrong."
        )
    formula = next((option for option in options if "$" in option), None)
    if formula:
        raise ValueError(
            f"The quiz {question!r} has the option {formula!r}, but options are plain text; "
            "write √ᾱ_t, not a formula between dollars."
        )
    if answer not in options:
        raise ValueError(
            f"The quiz {question!r} has the answer {answer!r}, which is none of its options; "
            f"give one of {list(options)}."
        )
