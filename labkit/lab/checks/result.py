"""The verdict on a learner's function, as a notebook displays it."""

from dataclasses import dataclass
from html import escape

_MARKS = {
    "passed": ("Passed", "#009E73"),
    "todo": ("Still to do", "#0072B2"),
    "mistake": ("Nearly", "#E69F00"),
    "failed": ("Not yet", "#D55E00"),
}


@dataclass(frozen=True)
class Result:
    """The verdict on a function: truthy if it passed; a notebook displays it as a colored box.

    status: "passed", "todo" (the stub, untouched), "mistake" (a known one, see `mistake`) or
    "failed". difference: the largest one found, where numbers were compared.
    """

    name: str
    status: str
    message: str
    mistake: str | None = None
    difference: float | None = None

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    def __bool__(self) -> bool:
        return self.passed

    def require(self) -> "Result":
        """Itself if it passed; otherwise an AssertionError with the message."""
        if not self.passed:
            raise AssertionError(f"{self.name}: {self.message}")
        return self

    def __repr__(self) -> str:
        return f"{_MARKS[self.status][0]}: {self.name}. {self.message}"

    def _repr_html_(self) -> str:
        word, color = _MARKS[self.status]
        return (
            f'<div role="status" class="lab-check" style="border-left: 5px solid {color}; '
            'padding: 6px 12px; margin: 4px 0; max-width: 46em; line-height: 1.45">'
            f"<strong>{word}: <code>{escape(self.name)}</code></strong><br>"
            f"{escape(self.message)}</div>"
        )
